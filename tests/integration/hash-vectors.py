#!/usr/bin/env python3
"""hash-vectors.py - the vectors of --embed hash, as the store gets them, are those of linesync-hash(7):
the algorithm is here once more, written from that page.  Its examples hold, and are those of the unit
test.  The version of the algorithm is kept, and another one is refused."""

import hashlib
import math
import os
import random
import re
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import World, report, run_tests  # noqa: E402

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
PAGE = os.path.join(TOP, "man", "linesync-hash.7")
UNIT = os.path.join(TOP, "tests", "unit", "test_embed_hash.c")

# ---- the page in Python ----

ALL = (1 << 64) - 1
OTHER, DIGIT, SMALL, CAPITAL, UNDERSCORE = range(5)


def mix(v):
    v ^= v >> 33
    v = v * 0xff51afd7ed558ccd & ALL
    v ^= v >> 33
    v = v * 0xc4ceb9fe1a85ec53 & ALL
    return v ^ v >> 33


def fold(h, v):
    return mix((h * 0x9e3779b97f4a7c15 + v) & ALL)


def fnv(data):
    h = 0xcbf29ce484222325
    for byte in data:
        h = (h ^ byte) * 0x100000001b3 & ALL
    return h


def kind(c):
    u = ord(c)
    if "0" <= c <= "9":
        return DIGIT
    if "A" <= c <= "Z":
        return CAPITAL
    if "a" <= c <= "z":
        return SMALL
    if c == "_":
        return UNDERSCORE
    if (u < 0xc0 or u in (0xd7, 0xf7) or 0x2000 <= u <= 0x206f or 0x3000 <= u <= 0x303f
            or 0xd800 <= u <= 0xdfff):     # a surrogate stands for a byte that is not UTF-8
        return OTHER
    return SMALL


def words_of(run):
    """Of a run of letters, digits and underscores."""
    words, word = [], ""
    for i, c in enumerate(run):
        k, before = kind(c), kind(run[i - 1]) if i else OTHER
        after = kind(run[i + 1]) if i + 1 < len(run) else OTHER
        letters = k in (SMALL, CAPITAL) and before in (SMALL, CAPITAL)
        if k == CAPITAL:
            goes_on = letters and before == CAPITAL and after != SMALL
        else:
            goes_on = letters or (k == DIGIT and before == DIGIT)
        if word and not goes_on:
            words.append(word)
            word = ""
        if k != UNDERSCORE:
            word += chr(ord(c) + 32) if k == CAPITAL else c
    return words + [word] if word else words


def features(text):
    """{hash: [count, weight]}"""
    found = {}

    def count(h, weight):
        found.setdefault(h or 1, [0, weight])[0] += 1

    before, run = None, ""
    for c in text + " ":
        if kind(c) != OTHER:
            run += c
            continue
        words = words_of(run)
        run, identifier = "", 105
        for word in words:
            f = fnv(word.encode())
            count(fold(119, f), 4)
            identifier = fold(identifier, f)
            if before is not None:
                count(fold(fold(98, before), f), 3)
            before = f
            for x, y, z in zip(word, word[1:], word[2:]):
                count(fold(116, ord(x) << 42 | ord(y) << 21 | ord(z)), 2)
        if len(words) > 1:
            count(identifier, 4)
    return found


def vector(text, dim):
    """The numbers, times 2^30."""
    sums = [0] * dim
    for h, (c, weight) in features(text).items():
        value = weight * math.isqrt(min(c, 1 << 24) << 24)
        sums[(h >> 32) * dim >> 32] += -value if h & 1 else value
    largest = max(map(abs, sums))
    if largest == 0:
        return [1 << 30] + [0] * (dim - 1)
    shift = 50 - largest.bit_length()
    roots = [math.isqrt(abs(s) << shift if shift >= 0 else abs(s) >> -shift) for s in sums]
    n = math.isqrt(sum(a * a for a in roots))
    return [(-1 if s < 0 else 1) * to_24_bits(a * (1 << 30) // n) for s, a in zip(sums, roots)]


def to_24_bits(v):
    return int(struct.unpack("<f", struct.pack("<f", v))[0])


def digest(numbers):
    return hashlib.sha256(b"".join(struct.pack("<f", n / (1 << 30)) for n in numbers)).hexdigest()


# ---- what linesync sends ----

def sent(texts, dim):
    """The vectors that reach the store, times 2^30."""
    w = World()
    try:
        w.options[w.options.index("hash:8")] = "hash:%d" % dim
        lines = [{"repo": "r", "path": "%05d" % i, "content": t} for i, t in enumerate(texts)]
        r = w.sync(lines)
        if r.rc != 0:
            raise RuntimeError("exit %d: %s" % (r.rc, r.err))
        with w.store.lock:
            by_path = {x.metadata["file_path"]: x.embedding
                       for c in w.store.by_name.values() for x in c.records.values()}
        return [[v * (1 << 30) for v in by_path["%05d" % i]] for i in range(len(texts))]
    finally:
        w.close()


def same_vectors(texts, dim, name):
    bad = [(t, g, v) for t, g in zip(texts, sent(texts, dim)) for v in [vector(t, dim)] if g != v]
    report.test(not bad, name, *["%r\n got: %r\nwant: %r" % (t[:200], g[:16], v[:16])
                                 for t, g, v in bad[:3]])


# ---- texts ----

LONG = {"numbers": "".join("%d_word%c\n" % (i * i, 97 + i % 26) for i in range(50000)),
        "names": "".join("get_Item%dOf(list_%d, HTTPServer)\n" % (i % 97, i % 31) for i in range(3000)),
        "letters": "".join("\u00e9tat \u03bb%d \u6587\u5b57\u5217%d\n" % (i % 7, i % 50) for i in range(2000))}


def random_text(rng):
    """Of all that matters to the page: cases, digits, underscores, the edges of its ranges."""
    some = ("abcxyz" "ABCXYZ" "0189" "__" "  \n.,(-" "\u00bf\u00c0\u00d6\u00d7\u00d8\u00f7\u00f8\u1fff"
            "\u2000\u206f\u2070\u3000\u303f\u3040\ud7ff\ue000\ufffd\U00010000\U0010ffff\x7f\x80")
    pieces = ["static", "int", "HTTPServer", "parse_line", "x2", "return", "\n\t", " ", "== 0x1F;"]
    return "".join(rng.choice(some if rng.random() < .7 else pieces) for _ in range(rng.randrange(1, 300)))


def random_texts(_):
    rng = random.Random(7)
    for dim in (8, 100, 1024, 4096):
        same_vectors([random_text(rng) for _ in range(100)], dim, "random texts, %d numbers" % dim)


def files(_):
    texts = []
    for name in ("src/embed_hash.c", "README.md", "tests/integration/hash-vectors.py"):
        with open(os.path.join(TOP, name), encoding="utf-8") as f:
            texts.append(f.read())
    same_vectors(texts + list(LONG.values()), 768, "files and long texts")


def no_word(_):
    texts = [" ", "  .,;\n\t(){}", "___", "\u201c\u2026\u201d", "\u00d7", "\u0080"]
    want = [[1 << 30] + [0] * 7] * len(texts)
    report.same(sent(texts, 8), want, "without a word: axis 0")
    report.same([vector(t, 8) for t in texts], want, "without a word, by the page")


# ---- the page's examples ----

def examples():
    """[(text, numbers)] and {name: digest} of the page."""
    with open(PAGE, encoding="utf-8") as f:
        page = f.read().replace("\\e", "\\").replace("\\-", "-")
    eight = re.findall(r'^"(.*)"((?:\s+-?\d+){8})$', page, re.M)
    digests = dict(re.findall(r"^\.It Li (\w+)\n(?:.*\n)*?\.Li ([0-9a-f]{64})$", page, re.M))
    return [(t, [int(n) for n in numbers.split()]) for t, numbers in eight], digests


def page_examples(_):
    eight, digests = examples()
    report.test(len(eight) >= 4 and len(digests) == len(LONG), "the page has examples", eight, digests)
    texts = [t.encode().decode("unicode_escape") for t, _ in eight]
    want = [numbers for _, numbers in eight]
    report.same([vector(t, 8) for t in texts], want, "its vectors, by the page")
    report.same(sent(texts, 8), want, "its vectors, by linesync")
    report.same({n: digest(vector(t, 1024)) for n, t in LONG.items()}, digests, "its digests, by the page")
    got = sent(list(LONG.values()), 1024)
    report.same({n: digest(g) for n, g in zip(LONG, got)}, digests, "its digests, by linesync")
    with open(UNIT, encoding="utf-8") as f:
        unit = re.sub(r"\s+", " ", f.read())
    report.test(all(", ".join(map(str, numbers)) in unit for numbers in want) and
                all(d in unit for d in digests.values()), "they are those of the unit test")


def kept(w):
    w.options = w.options[:w.options.index("--embed")]
    line = {"repo": "r", "path": "a", "content": "int a;\n"}
    r = w.sync([line])
    with w.store.lock:
        lengths = [len(x.embedding) for c in w.store.by_name.values() for x in c.records.values()]
    report.same((r.rc, lengths), (0, [1024]), "1024 numbers, where nothing is asked for")
    report.test("embedder hash-1:1024" in r.err, "and that is said, with the version", r.err)
    for more in ((), ("--dry-run",)):
        r = w.sync([line], "--embed", "hash:8", *more)
        report.same((r.rc, r.results), (78, []), "another length stops the run " + " ".join(more))
        report.test("hash-1:1024" in r.err and "forget --all" in r.err, "and says what to do", r.err)
    report.same(w.sync([line], "--embed", "hash").statuses(1), ["skipped:unchanged"], "the same one goes on")


if __name__ == "__main__":
    sys.exit(run_tests([random_texts, files, no_word, page_examples, kept]))
