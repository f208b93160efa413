#!/usr/bin/env python3
"""dry-run.py [-v] [NAME...] - what --dry-run says of a line is what a sync then does.  Each line of a list, of
the producers' samples and of the fuzzers' corpus is planned and then synced, over a state that grows with
them.  NAMEs: only these tests."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import delete, from_file, put, report, run_tests  # noqa: E402

TESTS_DIR = os.path.join(os.environ.get("abs_top_srcdir", os.path.join(os.path.dirname(__file__), "../..")), "tests")
SAMPLES = [os.path.join(TESTS_DIR, "fixtures/mgit", n) for n in ("diff.jsonl", "diff-embed-content.jsonl")]
CORPUS = os.path.join(TESTS_DIR, "fuzz/corpus/change")
SYNC = ("--no-retry", "--batch-size", "1", "--retry-wait", "1ms")
same, test = report.same, report.test


def rename(old, new, **more):
    return {"repo": "R", "op": "rename", "old_path": old, "path": new, **more}


def planned(ended):
    """{line: what it would come to}."""
    out = {}
    for r in ended.results:
        out[r["line"]] = ("failed:" + r["error"]["code"] if r["status"] == "failed" else
                          "done" if r["action"] != "skip" and "reason" not in r else "skipped:" + r["reason"])
    return out


def done(ended):
    out = {}
    for r in ended.results:
        if r["status"] in ("completed", "held", "failed"):
            out[r["line"]] = "failed:" + r["error"]["code"] if r["status"] == "failed" else "done"
        else:
            out[r["line"]] = r["status"] + (":" + r["reason"] if "reason" in r else "")
    return out


def agrees(w, line, *options):
    """Plans the line, syncs it, and compares."""
    plan = w.sync([line], "--dry-run", *options)
    ended = w.sync([line], *SYNC, *options)
    # a plan judges no record: what is held already makes the sync exit 1
    rc = 0 if ended.rc == 1 and not any(r["status"] == "failed" for r in ended.results) else ended.rc
    test((planned(plan), plan.rc) == (done(ended), rc), "%s %s" % (ascii(line)[:60], " ".join(options)),
         "planned", plan.rc, planned(plan), "done", ended.rc, done(ended), plan.err, ended.err)


def files(w):
    w.write_file("R", "text", "text")
    w.write_file("R", "empty", "")
    w.write_file("R", "binary", "a\0b")
    w.write_file("R", "big", "x" * 200000)
    w.write_file("R", "folder/inside", "inside")


LINES = [
    put("a", "A"), put("a", "A"), put("a", "B"), put("e", ""), put("e", "E"), put("e", ""), put("e", ""),
    delete("never"), delete("a"), delete("a"), put("a", "A"),
    from_file("text"), from_file("text"), from_file("empty"), from_file("binary"), from_file("big"),
    from_file("gone"), from_file("folder"), from_file("folder/inside"), from_file("../out"),
    {"repo": "R", "path": "v", "content": "V", "vector": [1, 2, 3]},
    {"repo": "R", "path": "v", "content": "V", "vector": [0.5] * 1024},
    {"repo": "R", "path": "v", "content": "V", "vector": []},
    {"repo": "R", "path": "n", "content": None}, {"repo": "R", "path": "n"},
    {"repo": "R", "path": "c", "content_error": "too slow"}, {"repo": "R", "path": "b64", "content_base64": "!!"},
    {"repo": "R", "path": "b64", "content_base64": "QQ=="}, {"repo": "R", "path": "b64", "content_base64": "AAE="},
    rename("a", "m", content="A"), rename("a", "m", content="A"), rename("m", "text"), rename("text", "text2"),
    rename("m", "gone"), rename("never", "e2", content=""), rename("m", "m2", content=""),
    rename("m2", "m3", content="M"), rename("m3", "v2", content="V", vector=[1, 2]),
    rename("m3", "m4", content_error="no"), rename("../x", "m5", content="M"), rename("m5", "../x", content="M"),
    {"repo": "R", "path": "x -> y", "content": "X"}, {"repo": "R", "path": "x -> y"},
    {"repo": "", "path": "p", "content": "P"}, {"path": "p", "content": "P"}, {"repo": "R", "path": ""},
    {"repo": "R", "path": "a", "op": "chmod"}, {"repo": "R", "path": "a\nb", "content": "A"},
    {"repo": "R", "path": "u", "status": "U"}, {"repo": "R", "new_changeset": {"commit": "c1"}}, "{bad", "[]", "{}",
    {"repo": "R", "path": "a", "text": "A"}, "message: nothing", {"repo": "S/T", "path": "a", "content": "A"},
]


def listed(w):
    files(w)
    for line in LINES:
        agrees(w, line)
    for line in LINES[:24]:
        agrees(w, line, "--force")


def excluded(w):
    files(w)
    for line in LINES[:20] + LINES[29:40]:
        agrees(w, line, "--exclude=e*", "--exclude=m*")
    for line in LINES[:20]:
        agrees(w, line)


def too_long(w):
    agrees(w, put("long", "x" * 5000), "--max-line", "1k")
    agrees(w, put("cut", "x" * 5000), "--max-content", "1k")


def own_vectors(w):
    """The first vector says how long all are; nobody has named an embedder."""
    for line in ({"repo": "R", "path": "a", "content": "A", "vector": [1, 2, 3]}, put("b", "B"),
                 {"repo": "R", "path": "c", "content": "C", "vector": [1, 2]},
                 {"repo": "R", "path": "d", "content": "D", "vector": [3, 2, 1]}):
        agrees(w, line)


def hopeless(w):
    """--root is wrong: both say so at the twentieth line."""
    lines = [from_file("no%d" % i) for i in range(25)]
    plan = w.sync(lines, "--dry-run")
    ended = w.sync(lines, *SYNC)
    same((plan.rc, len(plan.results), "is --root right?" in plan.err), (78, 20, True), "the plan stops there")
    same((ended.rc, len(ended.results), "is --root right?" in ended.err), (78, 20, True), "and so does the sync")


def samples(w):
    for name in SAMPLES:
        with open(name, encoding="utf-8") as f:
            for line in f:
                agrees(w, line.rstrip("\n"))


def corpus(w):
    """Bytes of any kind, as far as they are one line."""
    n = 0
    for name in sorted(os.listdir(CORPUS)):
        with open(os.path.join(CORPUS, name), "rb") as f:
            data = f.read()[1:]
        if b"\n" in data or not data.strip() or len(data) > 20000:
            continue
        agrees(w, data + b"\n", "--repo", "R")
        n += 1
    test(n > 100, "lines of the corpus", n)


TESTS = [listed, excluded, too_long, own_vectors, hopeless, samples, corpus]

if __name__ == "__main__":
    sys.exit(run_tests(TESTS))
