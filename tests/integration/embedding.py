#!/usr/bin/env python3
"""embedding.py [-v] [NAME...] - an embedding server beside the store: each text gets its own vector and is
paid for once, whatever either server does; what it cannot embed fails, alone; nothing is in doubt for it;
and the state keeps two kinds of vectors apart.  NAMEs: only these."""

import collections
import fcntl
import json
import os
import re
import signal
import struct
import sys
import termios
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import (Hands, NoEnd, Steered, World, delete, embedder, put, record, report,  # noqa: E402
                     run_tests)

same, test = report.same, report.test
WORD = "word"                 # what it is asked for to see whether it is there
ONE_BY_ONE = ["--embed-batch-size", "1"]
WHOLE = ["--chunk-bytes", "0", "--chunk-lines", "0"]
D = ("R", "d")


# ---- what is looked at ----


Object = collections.namedtuple("Object", "path chunk text vector")


def records_of(w, path=None):
    """The objects that the store holds, of one path or all, in the order of their numbers."""
    found = [Object(meta["file_path"], int(meta["chunk_index"]), text, list(vector))
             for _, meta, text, vector in w.store.objects()]
    return sorted(o for o in found if path in (None, o.path))


def texts(w, path):
    return [o.text for o in records_of(w, path)]


def misplaced(w, prefix="", path=False, model=None):
    """The stored objects whose vector is not that of their own text, with what is put before it."""
    wrong = []
    for o in records_of(w):
        before = prefix + (o.path + "\n" if path else "")
        if o.vector != embedder.vector(before + o.text, model, w.embedder.dimension):
            wrong.append((o.path, o.chunk, o.text[:40]))
    return wrong


def made(w):
    """{text: how often a vector of it was made}, without the word that asks whether it is there."""
    return {t: n for t, n in w.embedder.dump()["inputs"].items() if t != WORD}


def requests(w):
    """The texts of each request to the embedding server."""
    with w.embedder.lock:
        return [list(e["ids"]) for e in w.embedder.log if e["ids"] != [WORD]]


def words_of_path(n, **more):
    """Lines of n documents, no two of which have a word in common."""
    return [put("f%02d" % i, "text%d of%d document%d" % (i, i, i), **more) for i in range(n)]


def text_lines(n, word="line"):
    """n lines of about 50 bytes, no two alike."""
    return "".join("%s %06d %s\n" % (word, i, "x" * 36) for i in range(n))


def prepared(w, lines, *options):
    ended = w.sync([*lines, record("P0")], *options)
    same((ended.rc, w.position("R")), (0, "P0"), "prepared")
    w.embedder.clear_all()
    w.store.clear_log()


def in_doubt(w):
    """What the state says of documents under way."""
    rc, out = w.ask("changeset", "--touched", "R", "-z")
    return rc, set(out.split("\0")[:-1])


def unread(pipe):
    """Bytes that nobody has read from it yet."""
    return struct.unpack("i", fcntl.ioctl(pipe.fileno(), termios.FIONREAD, b"\0\0\0\0"))[0]


# ---- vectors, and where they go ----


def placed(w):
    """By index, never by position; asked for and given as numbers or base64."""
    w.add_embedder()
    lines = words_of_path(40)
    ended = w.sync([*lines, record("P0")])
    same((ended.rc, ended.statuses(41), w.position("R")), (0, ["completed"] * 41, "P0"), "stored")
    same(misplaced(w), [], "each text has its own vector")
    same((made(w), ended.err), ({x["content"]: 1 for x in lines},
                                "linesync: collection 'Code' was created (cosine distance)\n"
                                "linesync: collection 'Code': vectors of 8 numbers, embedder url::8\n"),
         "one was made of each, and what was decided is said")
    w.store.clear_log()
    w.embedder.clear_all()
    ended = w.sync(lines)
    same((ended.statuses(40), w.writes(), requests(w)), (["skipped:unchanged"] * 40, [], []),
         "the same again asks neither for anything")
    for i, how in enumerate(({"order": "reverse"}, {"format": "float"}, {"format": "base64"},
                             {"format": "refuse"}, {"chunked": True}, {"close_after": True},
                             {"no_index": "zero"}, {"no_index": "zero", "order": "reverse"}, {"no_index": True})):
        w.embedder.set_rules([{"do": how}])
        lines = [put(x["path"], "%s round%d" % (x["content"], i)) for x in words_of_path(40)]
        ended = w.sync(lines)
        same((ended.rc, misplaced(w), sorted(texts(w, None)) == sorted(x["content"] for x in lines)),
             (0, [], True), "also with %s" % how)
        if "close_after" not in how:
            same({made(w)[x["content"]] for x in lines}, {1}, "and none is made twice")


def given_vectors(w):
    """A line's own vector comes before the server's."""
    w.add_embedder()
    own = [1, 0, 0, 0, 0, 0, 0, 0.5]
    ended = w.sync([dict(put("own", "a text"), vector=own), put("other", "another text"),
                    dict(put("short", "a text"), vector=[1, 0, 0])])
    same((ended.rc, ended.verdicts()), (1, {1: "completed", 2: "completed", 3: "failed:bad-vector"}),
         "one of another length fails")
    same((list(records_of(w, "own")[0].vector), made(w)), (own, {"another text": 1}),
         "it is stored, unasked")


def before_the_text(w):
    """--embed-prefix, --embed-path, --embed-model reach the server as documented; the text alone is stored."""
    for options, prefix, path, model in (
            (["--embed-prefix", "passage: "], "passage: ", False, None),
            (["--embed-path"], "", True, None),
            (["--embed-path", "--embed-prefix", "search_document: ", "--embed-model", "nomic"],
             "search_document: ", True, "nomic")):
        v = World(w.verbose)
        try:
            v.add_embedder(*options)
            models = set()
            v.embedder.on_request = lambda _n, call, models=models: models.add(call.json.get("model"))
            ended = v.sync([put("src/a.c", "some text\n"), put("b \u00e9", text_lines(60))])
            same((ended.rc, misplaced(v, prefix, path, model), models), (0, [], {model}),
                 " ".join(options))
            same((texts(v, "src/a.c"), "".join(texts(v, "b \u00e9")), len(texts(v, "b \u00e9")) > 1),
                 (["some text\n"], text_lines(60), True), "what is stored is the text")
            before = prefix + ("src/a.c\n" if path else "")
            same(made(v).get(before + "some text\n"), 1, "what is embedded is %r and the text" % before)
        finally:
            v.close()


def requests_fit(w):
    """32 texts and 1.5 MB a request."""
    w.add_embedder(*WHOLE)
    w.sync([put("first", "text")])
    w.embedder.clear_all()
    ended = w.sync(words_of_path(100), "--flush-ms", "60000")
    same((ended.rc, [len(r) for r in requests(w)]), (0, [32, 32, 32, 4]), "of small texts 32")
    w.embedder.clear_all()
    ended = w.sync([put("big%d" % i, "%d" % i + "\n" * 300000) for i in range(5)], "--flush-ms", "60000")
    with w.embedder.lock:
        sizes = [(len(e["ids"]), e["bytes"] <= 1500200) for e in w.embedder.log if e["ids"] != [WORD]]
    same((ended.rc, sizes), (0, [(2, True), (2, True), (1, True)]),
         "of large ones what 1.5 MB hold, as they are sent")
    w.embedder.clear_all()
    w.sync(words_of_path(9, repo="S"), "--embed-batch-size", "4", "--flush-ms", "60000")
    same([len(r) for r in requests(w)], [4, 4, 1], "or as many as --embed-batch-size says")
    ended = w.sync([put("big%d" % i, "x%d" % i * 300) for i in range(6)], "--embed-batch-bytes", "2k",
                   "--flush-ms", "60000")
    same((ended.rc, max(len(r) for r in requests(w)[-3:])), (0, 3), "and --embed-batch-bytes")


def age(w):
    """--flush-ms counts from the line: what has waited for its vectors does not wait as long again for the
    store.  The clock moves by hand, and the input stays open: nothing else closes a batch."""
    w.add_embedder("--chunk-bytes", "0", "--chunk-lines", "2")
    prepared(w, [put("shrinks", "one\ntwo\nthree\n")])
    hands = Hands(w)
    sync = Steered(w, *ONE_BY_ONE, "--batch-size", "100", "--flush-ms", "60000", env=hands.env)
    for n, (line, moves) in enumerate(((put("old", "some words"), (60000, 0)),
                                       (put("young", "other words"), (20000, 40000)),
                                       (put("shrinks", "less\n"), (70000, 0)))):
        gate = w.hold_vectors(line["content"])
        sync.feed(line)
        gate.wait_arrived()
        hands.move(moves[0], sync)
        gate.open()
        hands.move(moves[1], sync)
        sync.wait_results(n + 1)
    ended = sync.end()
    same((ended.rc, ended.statuses(3)), (0, ["completed"] * 3), "old enough when its vector comes: it goes at once; "
         "else when it is, counted from the line; and so do chunks that are too many")
    same((w.writes()[-1][0], texts(w, "shrinks")), ("delete", ["less\n"]), "which were there")


def chunked(w):
    """On by default, at 1,500 bytes; 0 is off."""
    w.add_embedder()
    whole = text_lines(100)
    ended = w.sync([put("long", whole), put("short", "a line\n")])
    found = texts(w, "long")
    same((ended.rc, ended.of(1)["objects"], "".join(found)), (0, len(found), whole),
         "a long text is cut")
    same([len(t) <= 1500 < len(t) + 51 for t in found[:-1]] + [len(found)], [True] * (len(found) - 1) + [4],
         "at line ends, at most 1,500 bytes each")
    same((misplaced(w), made(w)), ([], dict.fromkeys([*found, "a line\n"], 1)),
         "each has a vector of its own")
    w.embedder.clear_all()
    ended = w.sync([put("long", whole.replace("000001", "changed"))])
    same((ended.rc, misplaced(w), len(texts(w, "long"))), (0, [], 4), "changed")
    w.embedder.clear_all()
    ended = w.sync([put("long", whole), put("short", "a line\n")], *WHOLE)
    same((ended.rc, texts(w, "long"), texts(w, "short"), made(w)), (0, [whole], ["a line\n"],
                                                                    {whole: 1, "a line\n": 1}),
         "--chunk-bytes 0 --chunk-lines 0 is off, and sends what is named again")
    ended = w.sync([put("long", whole)])
    same(ended.status(1), "skipped:unchanged", "and stays off")


# ---- bad answers ----


BAD = {"an entry is missing": {"drop_entry": 0}, "one was left out, and counted on": {"renumber": 0},
       "one too many": {"extra": True}, "one too few": {"fewer": 1}, "another form": {"no_data": True},
       "NaN": {"nan": 0}, "NaN in numbers": {"nan": 0, "format": "float"},
       "null for a number": {"nan": 0, "format": "float", "nan_as": "null"}, "all zero": {"zero": 0},
       "cut": {"partial": 60}, "no JSON": {"status": 200, "body": "<html>no</html>"},
       "an error as 200": {"status": 200, "body": {"error": {"message": "no"}}},
       "no answer": {"drop": True}, "answered too late": {"hang": True}, "500": {"status": 500},
       "502": {"status": 502}, "503": {"status": 503}, "429": {"status": 429}, "408": {"status": 408},
       "424": {"status": 424}, "504": {"status": 504}}


def hurry(do):
    """How long an answer may take where one never comes; elsewhere a busy machine takes as long as it does."""
    return ["--embed-timeout", "2s"] if do and "hang" in do else []


def bad_once(w):
    """Any answer that is not good leads to another request; none to a wrong vector or a failed line."""
    w.add_embedder()
    w.sync([put("first", "text")])
    for i, (name, do) in enumerate({**BAD, "one twice": {"double": 1}}.items()):
        lines = [put("%d-%d" % (i, k), "a%d b%d" % (i, k)) for k in range(8)]
        w.embedder.set_rules([{"match": {"min_objects": 2}, "times": 1, "do": do}])
        w.embedder.clear_log()
        ended = w.sync(lines, "--flush-ms", "60000", *hurry(do))
        again = [r["retries"] for r in ended.results]
        test(ended.rc == 0 and ended.statuses(8) == ["completed"] * 8 and not misplaced(w) and
             len(requests(w)) > 1 and (max(again) == 1 or "drop" in do or "hang" in do),
             name, ended.rc, ended.results, misplaced(w), requests(w))


def bad_always(w):
    """One text that never gets a good answer fails its line, by itself."""
    w.add_embedder("--max-retries", "1")
    w.sync([put("first", "text")])
    for i, (name, do) in enumerate(BAD.items()):
        n = 2 if "hang" in do else 8
        lines = [put("%d-%d" % (i, k), "%s b%d" % ("bad" if k == 0 else "a%d" % i, k)) for k in range(n)]
        w.embedder.set_rules([{"match": {"content": "bad b0"}, "do": do}])
        ended = w.sync(lines, "--no-retry", *hurry(do))
        want = {1: "failed:embed-failed", **dict.fromkeys(range(2, n + 1), "completed")}
        error = (ended.of(1) or {}).get("error", {})
        test((ended.rc, ended.verdicts(), misplaced(w)) == (1, want, []) and error.get("retryable") is True
             and "away" not in ended.err and records_of(w, "%d-0" % i) == [], name, ended.rc, ended.results,
             ended.err)
    w.embedder.set_rules([])
    ended = w.again()
    same((ended.rc, {r["status"] for r in ended.results}, len(ended.results), misplaced(w)),
         (0, {"completed"}, len(BAD), []), "tried again, when it is well: all are stored")


MISFITS = {"one too few": ({"fewer": 1}, "vectors came for"), "one too many": ({"extra": True}, "vectors came for"),
           "another form": ({"no_data": True}, "another form")}


def misfits(w):
    """An embedding server whose answers never fit is not away: 78, with what was seen, and nobody is charged."""
    w.add_embedder()
    prepared(w, [put("first", "text")])
    for name, (do, said) in MISFITS.items():
        lines = [put("%s %d" % (name, k), "%s a%d b" % (name, k)) for k in range(40)]
        for at, rules in (("at the start", [{"do": do}]), ("later", [{"match": {"content": name}, "do": do}])):
            w.embedder.set_rules(rules)
            w.embedder.clear_log()
            ended = w.sync(lines, "--embed-batch-size", "4", "--give-up", "1h", "--retry-max-wait", "2ms")
            same((ended.rc, ended.results), (78, []), "%s %s: 78" % (name, at))
            test(said in ended.err and "--embed" in ended.err and " away" not in ended.err, "it says what was seen",
                 ended.err)
            n = len(requests(w))
            test(n <= 40, "and does not go on for long: %d requests" % n)
        w.embedder.set_rules([{"match": {"content": name}, "do": do}])
        ended = w.sync(lines[:1], "--give-up", "1h", "--retry-max-wait", "2ms", "--max-retries", "1")
        same((ended.rc, ended.verdicts()), (1, {1: "failed:embed-failed"}),
             "of one text, while the word is answered well: its line fails")
        w.embedder.set_rules([])
        w.again()
    w.embedder.set_rules([])
    ended = w.sync(lines)
    same((ended.rc, misplaced(w)), (0, []), "the same command resumes")


def alone(w):
    """Where no other text waits, one word is the witness."""
    w.add_embedder()
    prepared(w, [put("d", "A")])
    w.embedder.set_rules([{"match": {"content": "poison"}, "do": {"status": 500}}])
    ended = w.sync([put("d", "poison")], "--max-retries", "2")
    error = (ended.of(1) or {}).get("error", {})
    same((ended.rc, error.get("code"), error.get("http"), error.get("message")),
         (1, "embed-failed", 500, "scripted"), "it fails, in the server's words")
    with w.embedder.lock:
        asked = [e["ids"][0] for e in w.embedder.log]
    same(asked, [WORD, *["poison"] * 3, WORD], "after one witness")
    same((texts(w, "d"), w.writes(), ended.of(1)["retries"]), (["A"], [], 2),
         "the store was asked nothing")
    same(in_doubt(w), (0, {"d"}), "its document is as it was, and to be listed again")


LONG_WORDS = {"llama.cpp": (600, 500), "tei-strict": (600, 413), "vllm": (600, 400), "openai": (9000, 400)}


def too_long(w):
    """Isolated by halving, each server in its own words: the others are stored, and paid for once."""
    for like, (n, http) in LONG_WORDS.items():
        v = World(w.verbose)
        try:
            v.add_embedder(*WHOLE, "--embed-model", "text-embedding-3-small")
            v.embedder.like = like
            lines = [*words_of_path(20), put("long1", "long " * n),
                     *[put("s%d" % i, "other%d" % i) for i in range(9)],
                     put("long2", "longer " * n)]
            ended = v.sync(lines)
            failed = {21: "failed:embed-rejected", 31: "failed:embed-rejected"}
            same((ended.rc, ended.verdicts()), (1, {**dict.fromkeys(range(1, 32),
                 "completed"), **failed}),
                 "%s: what is too long fails, the others are stored" % like)
            error = (ended.of(21) or {}).get("error", {})
            same((error.get("http"), error.get("retryable"),
                  bool(re.search("too large|maximum context|less than 512", error.get("message", "")))),
                 (http, True, True), "with status and words of the server")
            same((misplaced(v, model="text-embedding-3-small"), set(made(v).values()), len(v.objects())),
                 ([], {1}, 29), "each with its own vector, made once")
        finally:
            v.close()
    for like, model in (("ollama", "nomic-embed-text"), ("tei", None)):
        v = World(w.verbose)
        try:
            v.add_embedder(*WHOLE, "--embed-batch-size", "64", *(["--embed-model", model] if model else []))
            v.embedder.like = like
            ended = v.sync([put("long", "long " * 3000), *words_of_path(33)])
            same((ended.rc, len(v.objects())), (0, 34),
                 "%s cuts it in silence, and may want fewer at once" % like)
        finally:
            v.close()


def chunk_refused(w):
    """One chunk that the server refuses fails its line before anything of it reaches the store."""
    w.add_embedder("--chunk-lines", "2")
    prepared(w, [put("a", "old 1\nold 2\nold 3\n")])
    w.embedder.set_rules([{"match": {"content": "bad"}, "do": {"status": 400}}])
    ended = w.sync([put("a", "1\n2\n3\nbad\n5\n"), put("b", "1\n2\n3\n"), record("P1")])
    same((ended.rc, ended.verdicts()), (1, {1: "failed:embed-rejected", 2: "completed", 3: "held"}),
         "it fails, and holds the changeset")
    same((texts(w, "a"), texts(w, "b")), (["old 1\nold 2\n", "old 3\n"], ["1\n2\n", "3\n"]),
         "the document is as it was")
    w.embedder.set_rules([])
    ended = w.sync([put("a", "1\n2\n3\nbad\n5\n")])
    same((ended.rc, texts(w, "a"), misplaced(w), w.position("R")),
         (0, ["1\n2\n", "3\nbad\n", "5\n"], [], "P1"), "with another server it is stored, and the changeset goes on")


def other_length(w):
    """A model of another dimension stops the run, wherever it is seen; no line fails for it."""
    w.add_embedder()
    lines = words_of_path(8)
    w.embedder.set_rules([{"match": {"content": "text3"}, "do": {"dimension": 9, "at": 0}}])
    ended = w.sync(lines, *ONE_BY_ONE)
    same((ended.rc, [s for s in ended.verdicts().values() if s != "completed"]), (78, []),
         "in the middle: 78")
    test("vectors of 9 numbers came, not of 8" in ended.err and "--embed-model" in ended.err,
         "is said", ended.err)
    w.embedder.set_rules([])
    ended = w.sync(lines)
    same((ended.rc, misplaced(w), len(w.objects())), (0, [], 8), "the same command resumes")
    w.embedder.dimension = 9
    ended = w.sync([put("new", "text")])
    same((ended.rc, ended.results), (78, []), "at the start: 78")
    test("vectors of 9 numbers came, not of 8" in ended.err, "is said", ended.err)
    v = World(w.verbose)
    try:
        v.sync([put("a", "A")])
        v.ask("forget", "--all")
        v.add_embedder()
        v.embedder.dimension = 16
        ended = v.sync([put("a", "A")])
        same((ended.rc, ended.results), (78, []), "not that of the collection: 78")
        test("vectors of 8 numbers, not 16" in ended.err and "another collection" in ended.err,
             "is said", ended.err)
    finally:
        v.close()


# ---- trouble with the server ----


def retry_after(w):
    """Obeyed; and retries are told."""
    w.add_embedder()
    w.sync([put("first", "text")])
    w.embedder.clear_log()
    w.embedder.set_rules([{"times": 1, "match": {"content": "more"},
                           "do": {"status": 429, "headers": {"Retry-After": "1"}}}])
    ended = w.sync([put("d", "more text")])
    with w.embedder.lock:
        times = [e["time"] for e in w.embedder.log if e["ids"] != [WORD]]
    same((ended.rc, len(times), ended.of(1)["retries"]), (0, 2, 1), "asked again, once, which is told")
    test(times[1] - times[0] >= 0.99, "a second later", times)
    w.embedder.set_rules([{"times": 2, "match": {"content": "both"}, "do": {"status": 503}}])
    w.script({"times": 1, "match": {"kind": "upsert"}, "do": {"status": 503}})
    ended = w.sync([put("d", "both")])
    same((ended.rc, ended.of(1)["retries"]), (0, 3), "further attempts at both servers are told")


def away_at_start(w):
    w.add_embedder()
    port = w.stop_embedder()
    ended = w.sync([put("d", "A")], "--give-up", "0")
    same((ended.rc, ended.results), (75, []), "not there at the start: 75")
    test("the embedding server at 'http://127.0.0.1:%d' is away" % port in ended.err and "--embed" in ended.err,
         "is said", ended.err)
    w.start_embedder(port)
    same(w.sync([put("d", "A")]).rc, 0, "the same command works when it is")


def goes_away(w):
    """Nobody is charged, reading pauses, 75, and the same command resumes."""
    w.add_embedder()
    prepared(w, [put("first", "text")])
    asked, again = threading.Event(), threading.Event()

    def count(_n, call):
        if call.ids != [WORD]:
            (again if asked.is_set() else asked).set()
    w.embedder.on_request = count
    w.embedder.set_rules([{"match": {"after": 1}, "do": {"status": 503}}])    # the first asks the length
    lines = words_of_path(40)
    s = Steered(w, "--give-up", "1h", "--max-retries", "0", "--retry-max-wait", "5ms")
    s.feed(*lines[:4])
    if not again.wait(600):
        raise NoEnd("it does not ask again")
    s.feed(*lines[4:])
    fed = unread(s.child.stdin)
    for _ in range(5):
        again.clear()
        again.wait(600)
    same((unread(s.child.stdin), fed > 0), (fed, True), "while it is away nothing is read")
    w.embedder.set_rules([])
    ended = s.end()
    same((ended.rc, ended.statuses(40), misplaced(w)), (0, ["completed"] * 40, []), "then all goes on")
    w.embedder.set_rules([{"match": {"content": "again"}, "do": {"status": 503}}])
    lines = [put(x["path"], x["content"] + " again") for x in lines]
    ended = w.sync([*lines, record("P1")], "--give-up", "50ms", "--max-retries", "1")
    same((ended.rc, ended.verdicts(), w.position("R")), (75, {}, "P0"),
         "away for too long: 75, nobody failed")
    test("the embedding server at" in ended.err and "the same command resumes" in ended.err,
         "is said", ended.err)
    same(in_doubt(w)[1] - {x["path"] for x in lines}, set(), "nothing else is in doubt")
    w.embedder.set_rules([])
    ended = w.sync([*lines, record("P1")])
    same((ended.rc, w.position("R"), misplaced(w), len(ended.results)), (0, "P1", [], 41),
         "the same command resumes")


STOPS = {401: (77, "--embed-key-file"), 403: (77, "--embed-key-file"), 404: (78, "--embed"),
         302: (78, "redirect"), 405: (78, "embedding")}


def stopped(w):
    """What it would say of any text stops the run; lines stay unfinished, not failed."""
    w.add_embedder()
    prepared(w, [put("first", "text")])
    for status, (rc, said) in STOPS.items():
        for content in ("", "bad"):
            w.embedder.set_rules([{"match": {"content": content},
                                   "do": {"status": status, "headers": {"Location": "http://elsewhere/"}}}])
            lines = [put("a", "good %d%s" % (status, content)), put("b", "bad %d%s" % (status, content))]
            ended = w.sync(lines, *ONE_BY_ONE)
            failed = [v for v in ended.verdicts().values() if not v.startswith(("completed", "skipped"))]
            same((ended.rc, failed), (rc, []),
                 "%d %s: %d" % (status, "later" if content else "at once", rc))
            test(said in ended.err and "embedding server" in ended.err and "--api-key-file" not in ended.err,
                 "is said", ended.err)
            w.embedder.set_rules([])
            ended = w.sync(lines)
            same((ended.rc, misplaced(w)), (0, []), "the same command resumes")


WAITS = [{"Retry-After": "0"}, {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-remaining-requests": "9"},
         {"RateLimit": "\"minute\";r=0;t=1"}]


def means_wait(w):
    """401 and 403 with a time, or where a rate-limit header says that 0 are left, are a pause as 429 is."""
    w.add_embedder()
    prepared(w, [put("first", "text")])
    for status in (401, 403):
        for i, headers in enumerate(WAITS):
            text = "%d %d" % (status, i)
            for match in ({}, {"content": text}):
                w.embedder.set_rules([{"times": 2, "match": match, "do": {"status": status, "headers": headers}}])
                ended = w.sync([put("d", text)], "--retry-max-wait", "2ms")
                same((ended.rc, ended.err, w.documents()[D]), (0, "", text),
                     "%d with %s, %s: waited for" % (status, headers, "later" if match else "at the start"))
        w.embedder.set_rules([{"match": {"after": 1}, "do": {"status": status, "headers": headers}}])
        ended = w.sync([put("d", "for ever")], "--give-up", "50ms", "--max-retries", "1", "--retry-max-wait", "2ms")
        same((ended.rc, ended.results), (75, []), "%d so for ever: 75, nobody is charged" % status)
        w.embedder.set_rules([])
        same(w.sync([put("d", "for ever")]).rc, 0, "the same command resumes")


SPENT = {"Budget has been exceeded! Current cost: 10.2, Max budget: 10": (400, 77, "pays or raises|payment or"),
         "Your credit balance is too low": (400, 77, "pays or raises|payment or"),
         "Insufficient Balance": (402, 77, "payment or"),
         "Quota exceeded for this project": (400, 75, "Quota exceeded"),
         "Rate limit reached, try again in 20s": (400, 75, "Rate limit")}


def spent(w):
    """A quota or a budget that is used up is no fault of the texts: 75 or 77, and no line fails."""
    w.add_embedder()
    prepared(w, [put("first", "text")])
    for i, (words, (status, rc, said)) in enumerate(SPENT.items()):
        lines = [put("s%d-%d" % (i, k), "s%d text%d" % (i, k)) for k in range(60)]
        for at, after in (("at the start", 0), ("after a success", 3)):
            w.embedder.clear_log()
            w.embedder.set_rules([{"match": {"after": after} if after else {},
                                   "do": {"status": status, "body": {"error": {"message": words}}}}])
            ended = w.sync(lines, "--embed-batch-size", "4", "--give-up", "50ms", "--max-retries", "1",
                           "--retry-max-wait", "2ms")
            same((ended.rc, {v for v in ended.verdicts().values()} - {"completed", "skipped:unchanged"}), (rc, set()),
                 "%d %s, %s: %d, nobody is charged" % (status, words, at, rc))
            test(re.search(said, ended.err) and "--embed-key-file" not in ended.err, "it says why", ended.err)
            n = len(requests(w))
            test(n < 40, "and does not go on: %d requests" % n)
        w.embedder.set_rules([])
        ended = w.sync(lines)
        same((ended.rc, misplaced(w)), (0, []), "the same command resumes")
    w.embedder.set_rules([{"match": {"content": "poor"}, "do": {"status": 429, "body": {"error": {
        "message": "You exceeded your current quota", "code": "insufficient_quota"}}}}])
    ended = w.sync([put("d", "poor")], "--give-up", "1h")
    same((ended.rc, ended.results), (77, []), "429 of an account that is used up is not waited for")
    w.embedder.set_rules([{"match": {"content": "my credit"}, "do": {"status": 400, "body": {"error": {
        "message": "cannot embed 'my credit'"}}}}])
    ended = w.sync([put("d", "my credit"), put("e", "other")])
    same((ended.rc, ended.verdicts()), (1, {1: "failed:embed-rejected", 2: "completed"}),
         "a text of its own that is repeated in such words fails alone")


def all_refused(w):
    """In whatever words: what is refused three batches in a row has the word for its witness."""
    w.add_embedder()
    prepared(w, [put("first", "text")])
    lines = words_of_path(40)
    w.embedder.set_rules([{"match": {"after": 1}, "do": {"status": 400, "body": {"error": {"message": "no"}}}}])
    options = ["--embed-batch-size", "4", "--retry-max-wait", "2ms"]
    ended = w.sync(lines, *options)
    same((ended.rc, set(ended.verdicts().values()), len(ended.results)), (78, {"failed:embed-rejected"}, 8),
         "that is refused too: 78, and only the first two are charged")
    test("cannot be used as configured: no" in ended.err, "in its words", ended.err)
    w.embedder.set_rules([{"match": {"content": "text"}, "do": {"status": 400, "body": {"error": {"message": "no"}}}}])
    ended = w.sync(lines, *options)
    same((ended.rc, set(ended.statuses(40))), (1, {"failed"}), "it is taken: the texts are to blame")


def no_such_model(w):
    w.add_embedder("--embed-model", "nosuch")
    w.embedder.like = "openai"
    ended = w.sync([put("d", "A")])
    same((ended.rc, ended.results), (78, []), "a model that it has not got: 78")
    test("nosuch" in ended.err and "--embed-model" in ended.err, "is said", ended.err)


def keys(w):
    """Of its own, from file or environment, never to the store, never where others could read it."""
    w.add_embedder()
    w.embedder.token = "k3y-of-embedder"
    leaked = []
    w.store.on_request = lambda _n, call: leaked.extend(v for v in call.headers.values() if "k3y" in v)
    ended = w.sync([put("d", "A")])
    same((ended.rc, ended.results), (77, []), "without a key: 77")
    test("--embed-key-file" in ended.err, "is said", ended.err)
    name = os.path.join(w.dir, "key")
    with open(name, "w", encoding="ascii") as f:
        f.write("k3y-of-embedder\n")
    os.chmod(name, 0o600)
    os.mkdir(os.path.join(w.dir, "credentials"))
    os.link(name, os.path.join(w.dir, "credentials", "linesync-embed-key"))
    env = dict(w.env)

    def watched(lines, *options):
        ended = w.sync(lines, *options, on_request=lambda _n, call: leaked.extend(
            v for v in call.headers.values() if "k3y" in v))
        test("k3y" not in ended.err + ended.out.decode(), "it is not shown", ended.err)
        return ended
    w.env = dict(env, LINESYNC_API_KEY="k3y-of-embedder", CHROMA_TOKEN="k3y-of-embedder")
    same(w.sync([put("d", "A")]).rc, 77, "the store's key is not sent to it")
    for i, (why, extra, options) in enumerate((
            ("the file", {}, ["--embed-key-file", name]),
            ("systemd's", {"CREDENTIALS_DIRECTORY": os.path.join(w.dir, "credentials")}, []),
            ("LINESYNC_EMBED_API_KEY",
             {"LINESYNC_EMBED_API_KEY": "k3y-of-embedder", "OPENAI_API_KEY": "other"}, []),
            ("OPENAI_API_KEY", {"OPENAI_API_KEY": "k3y-of-embedder"}, []))):
        w.env = {**env, **extra}
        same(watched([put("d", "text %d" % i)], *options).rc, 0, why)
    w.env = env
    os.chmod(name, 0o640)
    ended = watched([put("d", "B")], "--embed-key-file", name)
    same((ended.rc, ended.results), (77, []), "a file that others can read is refused")
    os.chmod(name, 0o600)
    w.embedder.clear_log()
    ended = watched([put("d", "B")], "--embed-key-file", name, "--embed", "http://192.0.2.7:9")
    same((ended.rc, ended.results), (77, []), "over plain http to another machine it is not sent")
    test("--insecure-http" in ended.err, "is said", ended.err)
    same(leaked, [], "the store never sees it")


# ---- the store's trouble ----


def paid_once(w):
    """What the store answers is no reason to ask for a vector again."""
    w.add_embedder("--chunk-lines", "2", "--batch-size", "8")
    lines = [put(x["path"], x["content"] + "\n2 %s\n3 %s\n" % (x["path"], x["path"])) for x in words_of_path(20)]
    w.sync([put("first", "text")])
    for i, (name, do, times) in enumerate((
            ("503", {"status": 503}, 4), ("500", {"status": 500}, 3), ("429", {"status": 429}, 3),
            ("lost, and not done", {"drop": True}, 3), ("done, and lost", {"apply_then_drop": True}, 3),
            ("an answer cut", {"partial": 5}, 2), ("refused as a whole", {"refuse_objects": True}, 3))):
        w.embedder.clear_all()
        w.script({"match": {"kind": "upsert", "min_objects": 2}, "times": times, "do": do})
        round_i = [dict(x, content=x["content"].replace("text", "round%dtext" % i)) for x in lines]
        ended = w.sync(round_i)
        same((ended.rc, set(made(w).values()), misplaced(w)), (0, {1}, []),
             "%s: each vector was made once" % name)
        same(len(made(w)), 40, "of each chunk")


def store_away(w):
    """75, and what is done is not paid for again when the same command resumes."""
    w.add_embedder()
    w.sync([put("first", "text")])
    w.embedder.clear_all()
    lines = words_of_path(40)
    w.script({"match": {"kind": "upsert|delete", "after": 30}, "do": {"status": 503}})
    options = [*ONE_BY_ONE, "--batch-size", "1", "--connections", "1"]
    ended = w.sync(lines, *options, "--give-up", "60ms")
    same((ended.rc, set(made(w).values())), (75, {1}),
         "the store goes away: 75, each vector was made once")
    done = {x["content"] for i, x in enumerate(lines) if ended.status(i + 1) == "completed"}
    same(len(done), 30, "thirty were stored")
    w.script()
    w.embedder.clear_all()
    ended = w.sync(lines, *options)
    same((ended.rc, misplaced(w)), (0, []), "the same command resumes")
    same(made(w), {x["content"]: 1 for x in lines if x["content"] not in done},
         "what was done is not paid for again")


def refused_by_store(w):
    """The store's refusal fails a line; what it was embedded by is no doubt about it, nor paid for twice."""
    w.add_embedder()
    prepared(w, [put("a", "A"), put("b", "B")])
    for name, do in (("well", None), ("after a lost request", {"hang": True}), ("after a 503", {"status": 503})):
        w.embedder.clear_all()
        w.embedder.set_rules([{"match": {"content": "bad"}, "times": 1, "do": do}] if do else [])
        w.script({"match": {"kind": "upsert", "content": "bad"}, "do": {"refuse_objects": True}})
        ended = w.sync([put("a", "bad"), put("b", "B " + name), record("P1")], "--no-retry", *hurry(do))
        same((ended.rc, ended.verdicts()), (1, {1: "failed:store-rejected", 2: "completed", 3: "held"}),
             "embedded " + name + ", and refused by the store")
        same(set(made(w).values()), {1}, "each vector was made once")
        same(json.loads(w.ask("status", "--held", "--json")[1])["in_doubt"], 0, "nothing is in doubt")
        w.store.clear_log()
        w.script()
        ended = w.sync([put("c", "C " + name)], "--no-retry")
        same([e["kind"] for e in w.store.log if e["kind"] == "get"], [], "and nothing is read back")
    w.embedder.clear_all()
    ended = w.again()
    same(([r["status"] for r in ended.results if r["op"] == "modify"], made(w), texts(w, "a")),
         (["completed"], {"bad": 1}, ["bad"]),
         "tried again in a later run it is paid for once more")


# ---- what is only being embedded ----


def killed_while_embedding(w):
    """The store has been asked nothing: nothing is marked, nothing is read back."""
    w.add_embedder()
    prepared(w, [put("d", "A")])
    gate = w.hold_vectors("B")
    s = Steered(w)
    s.feed(put("d", "B"), put("new", "B"))
    gate.wait_arrived()
    s.signal(signal.SIGKILL)
    s.ended()
    gate.open()
    w.embedder.on_applied = None
    same((in_doubt(w), w.writes()), ((0, set()), []), "killed there: nothing is in doubt")
    w.store.clear_log()
    ended = w.sync([put("d", "A"), record("P1")])
    same((ended.rc, ended.verdicts(), w.position("R")), (0, {1: "skipped:unchanged", 2: "completed"},
         "P1"),
         "what it held is known to be there")
    same([e["kind"] for e in w.store.log if e["kind"] in w.store.reads | w.store.upserts | w.store.deletes], [],
         "without a look at the store")


def terminated_while_embedding(w):
    """TERM: no new request to either, what is at the store is finished, the rest is left and said."""
    w.add_embedder(*ONE_BY_ONE, "--batch-size", "1", "--connections", "1")
    prepared(w, [put("first", "text")])
    store, vectors = w.hold_answers("upsert"), w.hold_vectors("second")
    s = Steered(w, "--grace", "30s")
    s.feed(put("a", "first a"), put("b", "second b"), put("c", "third c"))
    store.wait_arrived()
    vectors.wait_arrived()
    s.signal(signal.SIGTERM)
    store.open()
    s.wait_results(1)
    ended = s.ended()
    vectors.open()
    w.embedder.on_applied = w.store.on_applied = None
    same((ended.rc, ended.verdicts()), (143, {1: "completed"}),
         "what was at the store is told, then it dies by TERM")
    test("2 lines" in ended.err and "the same command resumes" in ended.err,
         "it says what is left", ended.err)
    same(w.documents().get(("R", "b")), None, "which was not sent")
    same(in_doubt(w)[1], {"a"}, "nor is it in doubt")
    w.embedder.clear_all()
    ended = w.sync([put("a", "first a"), put("b", "second b"), put("c", "third c"), record("P1")])
    same((ended.rc, ended.statuses(4), made(w), w.position("R")),
         (0, ["completed"] * 4, {"second b": 1, "third c": 1}, "P1"), "the same command resumes")


def terminated_at_the_start(w):
    """TERM while the embedding server is asked whether it is there."""
    w.add_embedder()
    asked = threading.Event()
    w.embedder.on_request = lambda _n, call: asked.set()
    w.embedder.set_rules([{"do": {"hang": True}}])
    s = Steered(w)
    s.feed(put("d", "A"))
    asked.wait(600)
    s.signal(signal.SIGTERM)
    ended = s.ended()
    same((ended.rc, ended.results), (143, []), "it ends by TERM")
    test("before a line was read" in ended.err, "and says that nothing was done", ended.err)


# ---- order ----


def later_line(w):
    """It waits while the earlier one is embedded, and is superseded while it waits."""
    w.add_embedder(*ONE_BY_ONE, "--embed-connections", "2")
    prepared(w, [put("d", "A")])
    gate = w.hold_vectors("B")
    s = Steered(w)
    s.feed(put("d", "B"))
    gate.wait_arrived()
    s.feed(put("d", "C"), put("d", "D"), put("e", "E"))
    s.wait_results(1)
    same(json.loads(s.out.split(b"\n")[0])["line"], 4, "another document goes on meanwhile")
    gate.open()
    ended = s.end(record("P1"))
    same((ended.rc, ended.statuses(5), w.position("R")),
         (0, ["completed", "superseded", "completed", "completed", "completed"], "P1"), "the last line wins")
    same(([t for _, d, t in w.store.history if d == D], made(w), w.documents()[D]),
         (["A", "B", "D"], {"B": 1, "D": 1, "E": 1}, "D"), "in this order, and what is superseded is not embedded")


def same_again(w):
    """What is only being embedded is not taken for unchanged, nor paid for twice."""
    w.add_embedder(*ONE_BY_ONE, "--embed-connections", "2")
    gate = w.hold_vectors("B")
    s = Steered(w)
    s.feed(put("d", "B"))
    gate.wait_arrived()
    s.feed(put("d", "B"), put("e", "E"))
    s.wait_results(1)
    gate.open()
    ended = s.end()
    same(([r["line"] for r in ended.results], made(w)), ([3, 1, 2], {"B": 1, "E": 1}), "it waits")
    same((ended.rc, ended.statuses(3)), (0, ["completed", "skipped:unchanged", "completed"]),
         "and is unchanged then")


def complete_listing(w):
    """What is not stored yet, or cannot be, is no reason to delete what is not listed too early."""
    w.add_embedder()
    prepared(w, [put("a", "A"), put("b", "B"), put("c", "C")])
    gate = w.hold_vectors("A2")
    s = Steered(w)
    s.feed(put("a", "A2"), put("b", "B"), record("P1", complete=True))
    gate.wait_arrived()
    s.wait_results(1)
    same((w.documents(), w.position("R")), ({("R", "a"): "A", ("R", "b"): "B", ("R", "c"): "C"}, "P0"),
         "while it is embedded nothing is deleted")
    gate.open()
    same((s.end().rc, w.documents(), w.position("R")), (0, {("R", "a"): "A2", ("R", "b"): "B"}, "P1"),
         "then it is")
    w.embedder.on_applied = None
    w.embedder.set_rules([{"match": {"content": "bad"}, "do": {"status": 400}}])
    ended = w.sync([put("a", "bad"), record("P2", complete=True)])
    same((ended.rc, ended.statuses(2), w.documents()),
         (1, ["failed", "held"], {("R", "a"): "A2", ("R", "b"): "B"}), "where a line cannot be embedded nothing is")


def delete_waits(w):
    w.add_embedder()
    for name, first in (("stored", [put("d", "A")]), ("new", [delete("d")])):
        prepared(w, first)
        w.store.history.clear()
        gate = w.hold_vectors("B")
        s = Steered(w)
        s.feed(put("d", "B"))
        gate.wait_arrived()
        s.feed(delete("d"))
        gate.open()
        ended = s.end()
        w.embedder.on_applied = None
        same((ended.rc, ended.statuses(2), w.documents(), [t for _, _, t in w.store.history]),
             (0, ["completed"] * 2, {}, ["B", None]), "a delete after a line of a %s document" % name)


def own_vector_waits(w):
    """A line that needs no embedding does not pass one of its document that does, nor the other way."""
    w.add_embedder()
    own = [0, 0, 0, 1, 0, 0, 0, 0]
    gate = w.hold_vectors("B")
    s = Steered(w)
    s.feed(put("d", "B"))
    gate.wait_arrived()
    s.feed(dict(put("d", "C"), vector=own), dict(put("e", "E"), vector=own))
    s.wait_results(1)
    same(json.loads(s.out.split(b"\n")[0])["line"], 3, "another document's does")
    gate.open()
    ended = s.end()
    same((ended.rc, [t for _, d, t in w.store.history if d == D], list(records_of(w, "d")[0].vector)),
         (0, ["B", "C"], own), "the last line wins")


def renames(w):
    w.add_embedder()
    prepared(w, [put("a", "A"), put("c", "C")])
    gate = w.hold_vectors("B")
    s = Steered(w)
    s.feed({"repo": "R", "op": "rename", "old_path": "a", "path": "b", "content": "B"})
    gate.wait_arrived()
    same(w.documents(), {("R", "a"): "A", ("R", "c"): "C"},
         "while the new one is embedded the old one stays")
    gate.open()
    ended = s.end(put("a", "A2"))
    w.embedder.on_applied = None
    same((ended.rc, w.documents(), ended.statuses(2)),
         (0, {("R", "a"): "A2", ("R", "b"): "B", ("R", "c"): "C"}, ["completed"] * 2), "then it goes, and comes anew")
    w.embedder.set_rules([{"match": {"content": "bad"}, "do": {"status": 400}}])
    ended = w.sync([{"repo": "R", "op": "rename", "old_path": "c", "path": "d", "content": "bad"}])
    same((ended.rc, ended.verdicts(), w.documents()),
         (1, {1: "failed:embed-rejected"}, {("R", "a"): "A2", ("R", "b"): "B"}),
         "where the new one cannot be embedded the old one goes all the same")
    w.embedder.set_rules([])
    ended = w.again()
    same((ended.rc, ended.results[0]["path"], w.documents().get(D)), (0, "d", "bad"),
         "tried again, it is stored")


def changeset_waits(w):
    """Nothing is called done that is only embedded."""
    w.add_embedder(*ONE_BY_ONE, "--embed-connections", "2")
    prepared(w, [put("d", "A")])
    gate = w.hold_vectors("B")
    s = Steered(w)
    s.feed(put("d", "B"), put("e", "E"), record("P1"), put("f", "F", "S"), record("S1", "S"))
    s.wait_results(3)
    gate.wait_arrived()
    same(({json.loads(r)["line"] for r in s.out.split(b"\n")[:-1]}, w.position("R"), w.position("S")),
         ({2, 4, 5}, "P0", "S1"), "the record waits, another repository's does not")
    gate.open()
    same((s.end().rc, w.position("R")), (0, "P1"), "then it is done")


def both_at_once(w):
    """Requests to the one are under way beside those to the other."""
    w.add_embedder(*ONE_BY_ONE, "--batch-size", "1", "--connections", "1")
    w.sync([put("first", "text")])
    store = w.hold_answers("upsert")
    vectors = w.hold_vectors("b")
    s = Steered(w)
    s.feed(put("a", "a"))
    store.wait_arrived()
    s.feed(put("b", "b"))
    vectors.wait_arrived()
    same((w.store.in_flight, w.embedder.in_flight), (1, 1), "both are under way")
    vectors.open()
    store.open()
    same(s.end().rc, 0, "and both end well")
    w.embedder.on_applied = w.store.on_applied = None
    store, vectors = w.hold_answers("upsert"), w.hold_vectors("c")
    s = Steered(w)
    s.feed(put("c", "c"))
    vectors.wait_arrived()
    s.feed(dict(put("d", "d"), vector=[1] * 8))
    store.wait_arrived()
    same((w.store.in_flight, w.embedder.in_flight), (1, 1),
         "also where the embedding server is the slower one")
    store.open()
    s.wait_results(1)
    vectors.open()
    ended = s.end()
    same((ended.rc, [r["line"] for r in ended.results]), (0, [2, 1]), "results come as they are done")


def killed(w):
    """Killed at each request to either, before and after it is done: the same input, a newer one, or all
    forgotten; nothing stale, nothing missing, every vector its text's."""
    test(killed_on("chroma", (1, 2, 3, 4), w.verbose) >= 12, "most of them are reached")


def killed_on_weaviate(w):
    """Where sending again is more than an upsert."""
    test(killed_on("weaviate", (1, 3), w.verbose) >= 6, "most of them are reached")


def killed_on(store, numbers, verbose):
    def document(n, word):
        return "".join("%s %d\n" % (word, i) for i in range(n))
    first = [put("a", document(5, "a1")), put("b", document(1, "b1")), put("c", document(3, "c1")), record("P0")]
    then = [put("a", document(2, "a2")), put("b", document(6, "b2")), delete("c"), put("e", "e2"), record("P1")]
    newer = [put("a", document(3, "a3")), put("b", document(2, "b3")), put("c", "c3"), delete("e"), record("P2")]
    ends = {"same": then, "newer": newer, "forget": newer}
    points = [(which, when, n) for n in numbers for which in ("embedder", "store")
              for when in ("on_request", "on_applied")]
    tried = 0
    for i, (which, when, n) in enumerate(points):
        after = list(ends)[i % 3]
        v = World(verbose, store)
        try:
            v.add_embedder("--chunk-lines", "2", "--embed-batch-size", "2", "--batch-size", "3")
            v.sync(first)
            tried += killed_at(v, then, getattr(v, which), when, n)
            if after == "forget":
                v.ask("forget", "--all")
            ended = v.sync(ends[after])
            v.settle()
            want = {x["path"]: x["content"] for x in ends[after] if "content" in x}
            found = {p: "".join(texts(v, p)) for p in "abce" if texts(v, p)}
            position = ends[after][4]["new_changeset"]["commit"]
            test(ended.rc == 0 and found == want and not misplaced(v) and v.position("R") == position,
                 "%s %s %d, then %s" % (which, when, n, after), ended.rc, ended.err, found, misplaced(v))
        finally:
            v.close()
    return tried


def killed_at(w, lines, mock, when, n):
    """Kills it when this mock sees or has done the nth request that embeds or writes."""
    seen = [0]
    kinds = mock.upserts | mock.deletes | ({"embeddings"} if mock is w.embedder else set())
    child = []

    def kill(_n, call):
        if call.kind in kinds and call.ids != [WORD]:
            seen[0] += 1
            if seen[0] == n:
                child[0].signal(signal.SIGKILL)
    setattr(mock, when, kill)
    child.append(Steered(w))
    try:
        child[0].feed(*lines)
    except OSError:
        pass
    ended = child[0].end()
    setattr(mock, when, None)
    w.hung_up()
    return ended.rc == 128 + signal.SIGKILL


# ---- commands ----


def search(w):
    """A question is embedded as the texts were, with its own prefix and model where those are named."""
    w.add_embedder("--embed-prefix", "passage: ", "--embed-query-prefix", "query: ", "--embed-path")
    w.sync([put("soup.txt", "soup salad fish"), put("car.txt", "wheel engine brake"),
            put("sky.txt", "moon star sun")])
    asked = []
    w.embedder.on_request = lambda _n, call: asked.append((call.ids, call.json.get("model")))
    rc, out = w.ask("search", "-n", "1", "salad", "soup")
    same((rc, json.loads(out)["path"]), (0, "soup.txt"), "found")
    same([a for a in asked if a[0] != [WORD]], [(["query: salad soup"], None)],
         "by the question with its prefix")
    asked.clear()
    w.ask("search", "--embed-query-prefix", "ask: ", "--embed-query-model", "other", "moon")
    same([a for a in asked if a[0] != [WORD]], [(["ask: moon"], "other")],
         "or as the search names them")
    asked.clear()
    w.sync([put("new", "text")], "--embed-query-model", "query-model")
    asked.clear()
    w.ask("search", "moon")
    same([a for a in asked if a[0] != [WORD]], [(["query: moon"], "query-model")],
         "the newest is kept in the state")
    w.embedder.dimension = 9
    same(w.ask("search", "moon")[0], 78, "another model: 78")
    w.embedder.dimension = 8
    w.stop_embedder()
    same(w.ask("search", "moon")[0], 75, "nobody is there: 75")


def check(w):
    w.add_embedder()
    w.sync([put("a", "A")])
    same(w.ask("check")[0], 0, "all is well")
    w.embedder.set_rules([{"do": {"status": 401}}])
    rc, out = w.ask("check")
    same((rc, "--embed-key-file" in said_of(out, "embedder")), (77, True), "no key")
    w.embedder.set_rules([])
    w.embedder.dimension = 9
    rc, out = w.ask("check")
    same((rc, "9" in said_of(out, "embedder")), (78, True), "another model")
    w.embedder.dimension = 8
    port = w.stop_embedder()
    rc, out = w.ask("check")
    said = said_of(out, "embedder")
    same((rc, said[:3], "127.0.0.1:%d" % port in said, "--embed" in said), (75, "bad", True, True),
         "it is away")


def said_of(out, what):
    found = re.findall(r"^(?:ok|bad|-)\s+%s\b.*" % what, out, re.M)
    return found[0] if found else out


def dry_run(w):
    """Asks neither server, and says what would happen."""
    w.add_embedder("--embed-path")
    lines = [put("a", "A"), put("b", text_lines(60))]

    def planned():
        ended = w.sync(lines, "--dry-run")
        return ended.rc, [r.get("action") for r in ended.results]
    same(planned(), (0, ["upsert", "upsert"]), "of a new state")
    same((w.embedder.log, w.store.log, os.path.exists(w.state)), ([], [], False),
         "nobody is asked, nothing made")
    w.sync(lines)
    w.embedder.clear_log()
    w.store.clear_log()
    same(planned(), (0, ["skip", "skip"]), "of what is stored")
    lines[0] = put("a", "A2")
    same(planned(), (0, ["upsert", "skip"]), "of what has changed")
    same((w.embedder.log, w.store.log), ([], []), "nobody is asked")


# ---- the state ----


def kept_in_state(w):
    """Not named, it is as the state says; another one is refused in words that help; a URL may move."""
    w.add_embedder("--embed-model", "m", "--embed-prefix", "p: ", "--embed-path")
    lines = [put("a", text_lines(60)), put("b", "B")]
    w.sync(lines)
    at = w.options.index("--embed")
    url = w.embed_url()
    del w.options[at:]
    ended = w.sync([*lines, put("c", "C")])
    same((ended.rc, ended.statuses(3), misplaced(w, "p: ", True, "m")),
         (0, ["skipped:unchanged", "skipped:unchanged", "completed"], []), "not named: as before")
    w.store.clear_log()
    w.embedder.clear_log()
    for options in (["--embed", "hash:8"], ["--embed", "hash"], ["--embed-model", "n"],
                    ["--embed-prefix", "q: "], ["--embed-prefix", ""],
                    ["--embed", url, "--embed-model", "n"]):
        ended = w.sync([put("d", "D")], *options)
        same((ended.rc, ended.results), (78, []), " ".join(options) + ": refused")
        test("'url:m:8 path prefix=p: '" in ended.err and "another collection" in ended.err and
             "forget --all" in ended.err and "feed everything" in ended.err and options[-2] in ended.err,
             "with what to do", ended.err)
    same((w.writes(), w.embedder.log), ([], []), "and nothing was sent")
    ended = w.sync([put("d", "D")], "--embed", url, "--embed-model", "m", "--embed-prefix", "p: ",
                   "--embed-path")
    same((ended.rc, ended.status(1)), (0, "completed"), "the same, named")
    w.stop_embedder()
    w.start_embedder()
    ended = w.sync([put("e", "E")], "--embed", w.embed_url() + "/v1")
    same((ended.rc, w.embed_url() == url), (0, False), "it has moved")
    ended = w.sync([*lines, put("f", "F")])
    same((ended.rc, ended.statuses(3), misplaced(w, "p: ", True, "m")),
         (0, ["skipped:unchanged", "skipped:unchanged", "completed"], []), "which the state keeps")


def path_named_later(w):
    w.add_embedder()
    w.sync([put("a", "A")])
    ended = w.sync([put("b", "B")], "--embed-path")
    same((ended.rc, ended.results), (78, []), "--embed-path where it was not: refused")
    test("--embed-path" in ended.err and "forget --all" in ended.err, "with what to do", ended.err)
    v = World(w.verbose)
    try:
        v.sync([put("a", "A")])
        v.add_embedder()
        ended = v.sync([put("b", "B")])
        same((ended.rc, ended.results), (78, []), "a server where the vectors were of hash: refused")
        test("'hash-1:8'" in ended.err and v.embed_url() in ended.err, "with what it was", ended.err)
    finally:
        v.close()


def chosen_anew(w):
    """After forget --all another may come; after forget of one repository not."""
    w.sync([put("a", "A"), put("b", "B", "S")])
    w.add_embedder()
    w.ask("forget", "R")
    same(w.sync([put("a", "A")]).rc, 78, "one repository forgotten: the vectors are still of hash")
    w.ask("forget", "--all")
    ended = w.sync([put("a", "A"), put("b", "B", "S")])
    same((ended.rc, ended.statuses(2), misplaced(w)), (0, ["completed"] * 2, []),
         "all forgotten: another may come")
    w.ask("forget", "--all", "--delete")
    ended = w.sync([put("a", "A")], "--embed-prefix", "p: ")
    same((ended.rc, misplaced(w, "p: ")), (0, []), "also with their objects")


def model_without_server(w):
    """--embed-model means a server: where neither --embed nor the state names one it is a mistake."""
    del w.options[w.options.index("--embed"):]
    ended = w.sync([put("a", "A")], "--embed-model", "m")
    same((ended.rc, ended.results, w.documents()), (64, [], {}), "64")
    test("--embed URL" in ended.err, "is said", ended.err)


def chunks_named_anew(w):
    w.add_embedder()
    whole = text_lines(100)
    w.sync([put("a", whole), put("b", whole.replace("line", "b"))])
    ended = w.sync([put("a", whole)], "--chunk-bytes", "3000")
    same((ended.rc, ended.status(1), len(texts(w, "a")), len(texts(w, "b")), misplaced(w)),
         (0, "completed", 2, 4, []), "another chunking: what is named is sent again, and nothing of it stays")
    ended = w.sync([put("a", whole), put("b", whole.replace("line", "b"))])
    same((ended.statuses(2), len(texts(w, "b"))), (["skipped:unchanged", "completed"], 2),
         "the state keeps it")


def as_azure(w):
    """A path of one's own with a query behind it, and a key in a header that is not Authorization."""
    w.add_embedder()
    w.embedder.moved = ("/openai/deployments/small/embeddings", "/v1/embeddings")
    at, seen = w.embed_url(), []
    w.embedder.on_request = lambda _n, call: seen.append((*call.query.get("api-version", ""), call.headers.get("api-key"),
                                                          call.headers.get("authorization")))
    header = os.path.join(w.dir, "header")
    with open(os.open(header, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as f:
        f.write("api-key: canary-of-azure\n")
    w.options[w.options.index("--embed") + 1] = at + "/openai/deployments/small/embeddings?api-version=2024-02-01"
    lines = words_of_path(5)
    ended = w.sync(lines, "--embed-header-file", header)
    same((ended.rc, misplaced(w), w.embedder.violations), (0, [], []), "stored")
    same(set(seen), {("2024-02-01", "canary-of-azure", None)}, "each request has the query and the header")
    same([h for e in w.store.log for h in e["headers"] if h == "api-key"], [], "the store gets neither")
    del w.options[w.options.index("--embed"):]
    w.env["LINESYNC_EMBED_HEADER_FILE"] = header
    seen.clear()
    ended = w.sync([*lines, put("more", "more")])
    same((ended.rc, ended.status(6), set(seen)), (0, "completed", {("2024-02-01", "canary-of-azure", None)}),
         "the state keeps the address with its query")
    same(w.ask("search", "more")[0], 0, "for search, too")
    with open(w.state, "rb") as f:
        test(b"canary" not in f.read(), "and not the header")
    for spelt in ("?api-version=1&api-key=canary", "?code=canary", "?%6bey=canary"):
        ended = w.sync(lines, "--embed", at + spelt, "--state", w.state + ".2")
        same((ended.rc, ended.results, "canary" in ended.err, os.path.exists(w.state + ".2")), (64, [], False, False),
             "a key in the query is refused, and not repeated")
        test("--embed-header-file" in ended.err, "it says what to do", ended.err)


TESTS = [as_azure, placed, given_vectors, before_the_text, requests_fit, age, chunked, bad_once, bad_always,
         misfits, alone, too_long, chunk_refused, other_length, retry_after, away_at_start, goes_away,
         stopped, means_wait, spent, all_refused, no_such_model, keys, paid_once, store_away, refused_by_store,
         killed_while_embedding, terminated_while_embedding, later_line, same_again,
         complete_listing, delete_waits, own_vector_waits, renames, changeset_waits, both_at_once,
         killed, killed_on_weaviate, terminated_at_the_start, search, check, dry_run,
         kept_in_state, path_named_later, chosen_anew, model_without_server, chunks_named_anew]


if __name__ == "__main__":
    sys.exit(run_tests(TESTS))
