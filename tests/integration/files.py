#!/usr/bin/env python3
"""files.py [-v] [NAME...] - documents whose files cannot be seen for a while, or change while they are
read.  The calls are failed, or stopped at, by strace.  NAMEs: only these tests."""

import os
import shlex
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import (Skipped, World, from_file, program, put, record, report,  # noqa: E402
                     run_tests)

same, test = report.same, report.test

STAT = "?newfstatat,?fstatat64,?fstatat"


def traced(w, *options):
    """A program that runs linesync under strace."""
    if not shutil.which("strace") or subprocess.run(["strace", "-o", "/dev/null", "true"],
                                                    stderr=subprocess.DEVNULL, check=False).returncode:
        raise Skipped("strace may not trace here")
    name = os.path.join(w.dir, "traced")
    with open(name, "w", encoding="utf-8") as f:
        # a sanitizer cannot look for leaks while it is traced
        f.write("#!/bin/sh\nASAN_OPTIONS=detect_leaks=0 exec %s \"$@\"\n" % shlex.join(["strace", "-f", "-qq", "-o", w.dir + "/trace",
                                                           *options, program()]))
    os.chmod(name, 0o755)
    return name


def sync_where(w, path, calls, how, lines, *options):
    """A sync in which calls that name this path fail, or whatever strace is to inject."""
    real = program()
    os.environ["LINESYNC"] = traced(w, "-P", path, "-e", "trace=" + calls, "-e",
                                    "inject=%s:%s" % (calls, how))
    try:
        ended = w.sync(lines, *options)
    finally:
        os.environ["LINESYNC"] = real
    with open(w.dir + "/trace", encoding="utf-8") as f:
        test("INJECTED" in f.read(), "a call has failed")
    return ended


def failed(w):
    return w.ask("export", "--failed")[1].count("\n")


def rename(w):
    """It cannot be seen whether the old path of a rename still has a file: that half fails, and is looked at
    again."""
    for there in (True, False):
        repo = "R%s" % there
        line = dict(repo=repo, op="rename", old_path="old", path="new")
        w.write_file(repo, "old", "old text")
        w.write_file(repo, "new", "new text")
        w.sync([from_file("old", repo), record("P0", repo)])
        ended = sync_where(w, "old", STAT, "error=EIO", [line, record("P1", repo)])
        same((ended.rc, ended.of(1)["error"]["code"], ended.status(2)), (1, "unreadable", "held"), "it fails")
        test("'old'" in ended.of(1)["error"]["message"] and ended.of(1)["error"]["retryable"], "and says at what")
        same({d: t for d, t in w.documents().items() if d[0] == repo},
             {(repo, "old"): "old text", (repo, "new"): "new text"}, "the new document is stored, the old one left")
        if not there:
            os.unlink(os.path.join(w.root, repo, "old"))
        ended = w.sync([put("other", str(there))])
        same((ended.rc, failed(w), w.position(repo)), (0, 0, "P1"), "seen again, it is done")
        same((repo, "old") in w.documents(), there, "the old document is there as its file is")


def both_halves(w):
    """The new half failed too: both are done again, and the old file, seen by then, keeps its document."""
    w.write_file("R", "old", "old text")
    w.sync([from_file("old")])
    line = dict(repo="R", op="rename", old_path="old", path="new")
    ended = sync_where(w, "old", STAT, "error=EMFILE", [line])
    same((ended.rc, failed(w)), (1, 1), "both halves fail")
    w.write_file("R", "new", "new text")
    ended = w.sync([put("other", "x")])
    same((ended.rc, failed(w), w.documents()),
         (0, 0, {("R", "old"): "old text", ("R", "new"): "new text", ("R", "other"): "x"}), "both are done")


def arrow(w):
    """It cannot be seen whether a file has an arrow in its name."""
    w.write_file("R", "b", "text of b")
    w.sync([put("a", "text of a")])
    ended = sync_where(w, "a -> b", STAT, "error=EIO", [from_file("a -> b"), record("P1")])
    same((ended.rc, ended.of(1)["error"]["code"], w.position("R")), (1, "unreadable", None), "the line fails")
    same(w.documents(), {("R", "a"): "text of a"}, "nothing is stored or deleted")
    ended = w.sync([put("other", "x")])
    same((ended.rc, failed(w), w.position("R")), (0, 0, "P1"), "seen again, it is a rename")
    same(w.documents(), {("R", "b"): "text of b", ("R", "other"): "x"}, "and done")


def folder(w):
    """It cannot be seen which folder is a repository's: ROOT's file is never taken for its own."""
    w.write_file("", ".git/HEAD", "x")
    w.write_file("R", ".git/HEAD", "x")
    w.write_file("", "f", "text of ROOT")
    w.write_file("R", "f", "text of R")
    for path, calls in (("R", "openat"), (".git", STAT)):
        ended = sync_where(w, path, calls, "error=EMFILE", [from_file("f"), record("P1")])
        same((ended.rc, ended.of(1)["error"]["code"], ended.status(2), w.documents()),
             (1, "unreadable", "held", {}), "%s cannot be looked at: the line fails" % path)
    ended = w.sync([put("other", "x", "S")])
    same((ended.rc, w.documents().get(("R", "f")), w.position("R")), (0, "text of R", "P1"),
         "looked at again, it is done")


def changing(w):
    """A file that changes whenever it is read counts as changed since the position until it is read whole."""
    w.write_file("R", "f", "half old, half new")
    w.write_file("R", "g", "quiet")
    lines = [from_file("f"), from_file("g"), record("P1")]
    # it is opened, and then its name is seen to be gone
    ended = sync_where(w, "f", STAT, "error=ENOENT", lines)
    same((ended.rc, ended.statuses(3), w.position("R")), (0, ["completed"] * 3, "P1"), "it is stored as it was read")
    same(w.touched("R"), {"f"}, "and --touched names it")
    ended = sync_where(w, "f", STAT, "error=ENOENT", [from_file("f"), record("P2")])
    same((ended.status(1), w.position("R"), w.touched("R")), ("skipped:unchanged", "P2", {"f"}),
         "the same text, read as badly: it still counts as changed")
    ended = w.sync([from_file("g"), record("P3")])
    same((ended.rc, w.position("R")), (1, "P2"), "a record that does not name it waits for it")
    w.write_file("R", "f", "all new")
    ended = w.sync([from_file("f"), record("P4")])
    same((ended.rc, w.position("R"), w.documents()[("R", "f")]), (0, "P4", "all new"), "read whole, it is closed")
    w.sync([from_file("f"), record("P5")])
    same(w.touched("R"), set(), "and no more named")


TESTS = [rename, both_halves, arrow, folder, changing]


if __name__ == "__main__":
    sys.exit(run_tests(TESTS))
