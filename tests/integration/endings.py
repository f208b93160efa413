#!/usr/bin/env python3
"""endings.py [-v] [NAME...] - result records, what is said at the end, exit statuses, options and
keys: what a script around linesync builds on.  NAMEs: only these."""

import hashlib
import json
import os
import re
import resource
import shlex
import signal
import socket
import subprocess
import sys
import threading
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import (Ended, Steered, World, chroma, delete, from_file, open_terminal,  # noqa: E402
                     program, put, record, report, run_tests)

UPSERT = {"kind": "upsert"}
RUN_ID = r"\d{8}T\d{6}Z-\d+-[0-9a-f]{4}"
SUMMARY = re.compile(r"linesync: run (?P<run>" + RUN_ID + r"): (?P<stored>\d+) stored, (?P<deleted>\d+) "
                     r"deleted, (?P<unchanged>\d+) unchanged, (?P<failed>\d+) failed, (?P<held>\d+) held "
                     r"in (?P<seconds>\d+\.\d) s(?P<rest>.*)")
KEY = "canary-7b1f0c55e0"
same, test = report.same, report.test


def run(w, *args, lines=(), env=None, **how):
    """linesync with exactly these arguments."""
    given = dict(input="".join(json.dumps(x) + "\n" if not isinstance(x, str) else x + "\n"
                               for x in lines).encode(),
                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=w.dir, timeout=600, check=False,
                 env={**w.env, **(env or {})})
    given.update(how)
    if "stdin" in how:
        del given["input"]
    done = subprocess.run([program(), *args], **given)
    ended = Ended(done.returncode, b"", (done.stderr or b"").decode())
    ended.out = (done.stdout or b"").decode()
    if w.verbose:
        report.note("linesync %s -> %d\n%s%s" % (" ".join(args), ended.rc, ended.err, ended.out))
    return ended


def summary(ended):
    """The last line of standard error, taken apart; None if it is no summary."""
    lines = ended.err.splitlines()
    found = SUMMARY.fullmatch(lines[-1]) if lines else None
    return found and {k: int(v) if v.isdigit() else v for k, v in found.groupdict().items()}


def figures(ended):
    s = summary(ended)
    return s and tuple(s[k] for k in ("stored", "deleted", "unchanged", "failed", "held"))


def ends(ended, rc, name, *texts):
    """The exit status, and what the message has to say."""
    test(ended.rc == rc and all(t in ended.err for t in texts), "%s: %d" % (name, rc), ended.rc,
         ended.err)


def object_id(path, repo="R"):
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "linesync:Code/%s/%s#0" % (repo, path)))


def without(result, *names):
    """A result without fields whose values are no promise; they must be there, and whole numbers."""
    for n in names:
        if not isinstance(result.get(n), int) or result[n] < 0:
            return "no number %s in %s" % (n, result)
    return {k: v for k, v in result.items() if k not in names}


def prepare(w, *lines):
    """So that nothing is created or decided in the runs that follow."""
    ended = w.sync([put("first", "text"), record("P0"), *lines])
    same((ended.rc, w.position("R")), (0, "P0"), "prepared")


# ---- result records ----


def shapes(w):
    w.sync([put("o", "O"), put("u", "U")])
    w.script({"match": {"kind": "upsert", "content": "BAD"}, "do": {"refuse_objects": True}})
    ended = w.sync([put("a", "A"), dict(repo="R", op="rename", old_path="o", path="n", content="O"),
                    delete("gone"), put("u", "U"), put("e", ""), put("b", "BAD"), "{x", record("C1"),
                    dict(repo="X", op="add", path="f"), dict(repo="R", new_changeset={}),
                    "Detecting changes...   0% -:--:--", record("Y1", "Y")], "--batch-size", "1")
    same(ended.rc, 1, "one of each")
    name = ended.results[0]["run"]
    test(re.fullmatch(RUN_ID, name), "a run has an id: %s" % name)

    def expect(line, what, want, *numbers):
        r = ended.of(line)
        same(r and without(r, *numbers), dict(run=name, line=line, **want), what)

    def document(path, op, status, **more):
        return dict(repo="R", path=path, op=op, status=status, **more)

    expect(1, "completed", document("a", "modify", "completed", id=object_id("a"), objects=1, retries=0),
           "ms")
    expect(2, "a rename", document("n", "rename", "completed", old_path="o", id=object_id("n"), objects=2,
                                   retries=0), "ms")
    expect(3, "a delete", document("gone", "delete", "completed", id=object_id("gone"), objects=1,
                                   retries=0), "ms")
    expect(4, "unchanged", document("u", "modify", "skipped", reason="unchanged"))
    expect(5, "skipped", document("e", "modify", "skipped", reason="empty"))
    refused = {"code": "store-rejected", "http": 422, "retryable": True,
               "message": "Failed to deserialize the JSON body into the target type: refused"}
    expect(6, "refused by the store",
           document("b", "modify", "failed", id=object_id("b"), retries=0, error=refused), "ms")
    bad = ended.of(7)
    message = bad["error"].pop("message")
    test(message and "\n" not in message, "an error has a message: %s" % message)
    expect(7, "a bad line", dict(status="failed", error={"code": "bad-json", "retryable": False,
                                                         "offset": 1}))
    expect(8, "held", dict(repo="R", op="changeset", status="held", changeset={"commit": "C1"},
                           why="lines", waiting=2))
    ended.of(9)["error"].pop("message")
    expect(9, "without a file", dict(repo="X", path="f", op="add", status="failed",
                                     error={"code": "no-such-file", "retryable": True}))
    expect(10, "no commit", dict(repo="R", op="changeset", status="skipped", reason="no-commit"))
    expect(11, "no change", dict(status="skipped", reason="not-a-change"))
    expect(12, "a changeset held for a line of no known repository",
           dict(repo="Y", op="changeset", status="held", changeset={"commit": "Y1"}, why="lines",
                waiting=1))
    ended = w.sync([record("Z1", "Z")])
    name = ended.of(1)["run"]
    expect(1, "a changeset", dict(repo="Z", op="changeset", status="completed",
                                  changeset={"commit": "Z1"}))


def superseded(w):
    gate = w.hold_answers("upsert")
    sync = Steered(w, "--batch-size", "1")
    sync.feed(put("d", "1"))
    gate.wait_arrived()
    sync.feed(put("d", "2"), put("d", "3"), put("d", "4"), put("u", ""))
    sync.wait_results(1)
    gate.open()
    ended = sync.end()
    same((ended.rc, ended.signal), (0, 0), "a later line takes the place of one that waits")
    name = ended.results[0]["run"]
    for line in (2, 3):
        same(ended.of(line), dict(run=name, line=line, repo="R", path="d", op="modify",
                                  status="superseded"),
             "superseded")
    lines = [r["line"] for r in ended.results]
    same((lines[:2], sorted(lines[2:])), ([5, 1], [2, 3, 4]),
         "results come in the order in which lines are settled")
    same(w.documents(), {("R", "d"): "4"}, "and the last wins")


def retries_counted(w):
    w.script({"match": UPSERT, "times": 2, "do": {"status": 503}})
    ended = w.sync([put("a", "A")])
    same((ended.rc, ended.of(1)["retries"]), (0, 2), "retries counts further attempts")
    w.script({"match": {"kind": "upsert", "content": "BAD"}, "do": {"status": 500}})
    ended = w.sync([put("b", "BAD")], "--max-retries", "3")
    same(without(ended.of(1), "ms"), {
        "run": ended.of(1)["run"], "line": 1, "repo": "R", "path": "b", "op": "modify",
                                      "status": "failed",
        "id": object_id("b"), "retries": 3, "error": {"code": "store-failed", "http": 500,
                                                      "retryable": True, "message": "scripted"}},
         "also of a line that fails")


def retried(w):
    prepare(w)
    w.script({"match": {"kind": "upsert", "content": "BAD"}, "do": {"refuse_objects": True}})
    first = w.sync(["", put("b", "BAD"), put("c", "C"), record("C1")])
    old = first.of(2)["run"]
    same(first.statuses(4)[1:], ["failed", "completed", "held"], "a line fails")
    again = w.sync([put("x", "X", "Other")])
    r = again.of(2, retried=True)
    same((again.rc, r and (r["run"], r["status"], r["retried"])), (1, (old, "failed", True)),
         "a later run tries it again, and names the earlier run and line")
    w.script()
    last = w.sync([put("y", "Y", "Other")])
    new = last.of(1)["run"]
    same(last.rc, 0, "until it is done")
    same([without(r, "ms") if "ms" in r else r for r in last.results if r.get("retried")], [
        dict(run=old, line=2, repo="R", path="b", op="modify", status="completed", id=object_id("b"),
             objects=1, retries=0, retried=True),
        dict(run=old, line=4, repo="R", op="changeset", status="completed", changeset={"commit": "C1"},
             retried=True)], "with the changeset that it held")
    test(new != old and "retried" not in last.of(1), "beside this invocation's own")


def resumed(w):
    lines = [put("a", "A"), "", delete("gone"), put("e", ""), record("P1"), put("b", "B"), put("c", "C")]
    w.script({"match": {"kind": "upsert", "content": "B"}, "times": 1, "do": {"hang": True}})
    sync = Steered(w, "--batch-size", "1", "--grace", "10ms")
    sync.feed(*lines)
    sync.wait_results(4)
    sync.signal(signal.SIGTERM)
    first = sync.ended()
    name = first.results[0]["run"]
    ended = w.sync(lines)
    same((ended.rc, len(ended.results)), (0, 6), "one result for each line that is not blank")
    same([ended.of(n) for n in (1, 3, 4, 5)], [
        dict(run=name, line=1, status="completed", resumed=True),
        dict(run=name, line=3, status="completed", resumed=True),
        dict(run=name, line=4, status="skipped", reason="empty", resumed=True),
        dict(run=name, line=5, status="completed", resumed=True)], "what was done is told as it was")
    same([(r["run"], r["status"], "resumed" in r) for r in (ended.of(6), ended.of(7))],
         [(name, "completed", False)] * 2, "what was not is done")


def which_results(w):
    prepare(w)
    lines = [put("a", "A"), "{x", put("first", "text"), record("P1")]
    for i, (options, want) in enumerate((
            (["--results", "all"], [1, 2, 3, 4]), (["--results", "problems"], [2, 4]), (["-q"], [2, 4]),
            (["--quiet"], [2, 4]), (["--results", "none"], []),
                                         (["-q", "--results", "all"], [1, 2, 3, 4]))):
        ended = w.sync([dict(lines[0], content=str(i)), *lines[1:]], *options)
        same((ended.rc, sorted(r["line"] for r in ended.results), figures(ended)),
             (1, want, (1, 0, 1, 1, 1)), " ".join(options))


# ---- what is said ----


def quiet_when_well(w):
    first = w.sync([put("a", "A"), record("P0")])
    same((first.rc, len(first.err.splitlines())), (0, 2),
         "the first run says what it created and decided")
    test("collection 'Code' was created" in first.err and "hash-1:8" in first.err,
         "the collection, the embedder", first.err)
    for name, lines in (("unchanged", [put("a", "A"), record("P1")]),
                        ("new", [put("b", "B"), record("P2")]),
                        ("skipped", [put("e", ""), record("P3")]),
                        ("lines after the last record", [put("c", "C")])):
        ended = w.sync(lines)
        same((ended.rc, ended.err), (0, ""), "a clean run says nothing: " + name)
    w.script({"match": UPSERT, "times": 2, "do": {"status": 503}})
    ended = w.sync([put("d", "D")])
    same((ended.rc, ended.err), (0, ""), "nor does one that had to try again")
    ended = w.sync([put("a", "A"), put("g", "G"), delete("d")], "-v")
    same((ended.rc, figures(ended)), (0, (1, 1, 1, 0, 0)), "with -v it sums up")


def sums_up(w):
    prepare(w, put("d", "D"))
    ended = w.sync([put("a", "A"), put("first", "text"), delete("d"), "{x", record("C1")])
    same((ended.rc, figures(ended)), (1, (1, 1, 1, 1, 1)), "a run that is not clean sums up")
    same((summary(ended)["run"], len(ended.err.splitlines())), (ended.results[0]["run"], 1),
         "in one line")


def typed(w, ended):
    """Types the command that the summary names, in the folder and environment of the run."""
    found = re.search(r"; see: (linesync .*)$", ended.err.strip())
    if not found:
        return None, ended.err
    words = shlex.split(found.group(1))
    done = run(w, *words[1:])
    return done.rc, done.out


def next_command(w):
    prepare(w)
    states = [("--state", os.path.join(w.dir, "a state's file.tdb")), ("--state", "near.tdb"),
              ("--state-dir", os.path.join(w.dir, "a $folder"))]
    del w.env["LINESYNC_STATE"]
    for option, where in states:
        name = os.path.basename(where)
        w.sync([put("first", "text"), record("P0")], option, where)
        ended = w.sync(["{x", record("C1")], option, where)
        rc, out = typed(w, ended)
        test(rc == 1 and "bad-json" in out, "%s: what it says to type shows the failed line" % name,
             ended.err, out)
        w.sync([put("first", "text"), record("P1")], option, where)
        ended = w.sync([record("C9", since="NOWHERE")], option, where)
        rc, out = typed(w, ended)
        test(rc == 1 and "C9" in out and "NOWHERE" in out, "%s: the held changeset" % name, ended.err,
             out)
    w.env["LINESYNC_STATE_DIR"] = os.path.join(w.dir, "of the environment")
    w.sync([put("first", "text")])
    rc, out = typed(w, w.sync(["{x"]))
    test(rc == 1 and "bad-json" in out, "a state folder from the environment", out)


def nothing_waits(w):
    """No command is named that would show nothing."""
    w.sync([put("first", "text")])
    bad, good = dict(put("a", "A"), content=None, content_error="denied"), put("a", "A")
    ended = w.sync([bad, good])
    same((ended.rc, figures(ended), summary(ended)["rest"]),
         (1, (1, 0, 0, 1, 0), "; later lines superseded what failed"), "a later line of the document")
    w.sync([bad])
    ended = w.sync([good])
    same((ended.rc, figures(ended), summary(ended)["rest"]),
         (1, (0, 0, 1, 1, 0), "; later lines superseded what failed"), "a line that was tried again")
    ended = w.sync([bad, good, record("C9", since="NOWHERE")])
    test("superseded what failed; see: linesync status --held" in ended.err, "a held changeset", ended.err)
    ended = w.sync([bad, good, "{x"])
    rc, out = typed(w, ended)
    test(rc == 1 and "bad-json" in out and "superseded" not in ended.err, "another failed line", ended.err)


def unclosed(w):
    prepare(w)
    ended = w.sync([put("a", "A"), put("b", "B", "NEW")], "-v")
    same((ended.rc, w.position("R")), (0, "P0"),
         "lines after the last record of a repository with a position")
    test("after the last changeset record of 1 repository" in summary(ended)["rest"],
         "are mentioned; those of one without are not", ended.err)
    ended = w.sync([put("a", "A"), record("P1"), put("b", "B", "NEW")], "-v")
    same(summary(ended)["rest"], "", "nor are lines that a record closed")
    for name, failing in (("with a document", from_file("missing")),
                          ("without", dict(repo="R", op="modify", path="c", size="x"))):
        for lines, mentioned in (([failing], True),
                                 ([failing, record("P2", since="P1")], False)):
            ended = w.sync(lines)
            test((ended.rc, "after the last changeset record of 1 repository" in ended.err) == (1, mentioned),
                 "a failed line %s is open until a record follows" % name, ended.err)
            w.sync([put("missing", "x"), put("c", "x"), record("P1")])


def on_a_terminal(w):
    prepare(w)
    ended, seen = with_terminal(w, [put("a", "A"), record("P1")])
    same(ended.rc, 0, "a clean run, standard error is a terminal")
    test(SUMMARY.search(seen) and "\n" in seen, "it sums up", seen)
    test("\r1 lines" in seen or "\r0 lines" in seen or "\r2 lines" in seen, "there was a bar", seen)
    test(re.search(r"\r\x1b\[Klinesync: run", seen), "which is gone before the summary", seen)
    ended, seen = with_terminal(w, [put("a", "B"), record("P2")], "--progress", "never")
    test(ended.rc == 0 and "\x1b" not in seen and SUMMARY.search(seen), "--progress never: no bar", seen)
    w.env["TERM"] = "dumb"
    ended, seen = with_terminal(w, [put("a", "C"), record("P3")])
    test(ended.rc == 0 and "\x1b" not in seen and SUMMARY.search(seen), "nor on a dumb one", seen)
    del w.env["TERM"]
    os.mkdir(os.path.join(w.root, "R"))
    w.write_file("R", "evil\x1b[2Jname", "text")
    gate = w.hold_answers("upsert")
    sync = terminal_sync(w)
    sync.feed(from_file("evil\x1b[2Jname"))
    gate.wait_arrived()
    sync.wait_said("evil\\x1b[2Jname")
    gate.open()
    ended = sync.end()
    test(ended.rc == 0 and "\x1b[2J" not in ended.err, "a path cannot steer the terminal",
         repr(ended.err))


def terminal_sync(w, *options):
    """A sync whose standard error is a terminal."""
    ours, theirs = open_terminal()
    sync = Steered(w, *options, stderr=theirs)
    os.close(theirs)
    sync.read(os.fdopen(ours, "rb", buffering=0), sync.err)
    return sync


def with_terminal(w, lines, *options):
    """(How it ended, what stood on the terminal.)"""
    ended = terminal_sync(w, *options).end(*lines)
    return ended, ended.err.replace("\r\n", "\n")


# ---- exit statuses ----


def one(w):
    prepare(w)
    ended = w.sync(["{x"])
    same((ended.rc, figures(ended)[3:]), (1, (1, 0)), "a line fails: 1")
    ended = w.sync([record("C1", since="ELSEWHERE")])
    same((ended.rc, figures(ended)[3:]), (1, (0, 1)), "a changeset is held: 1")
    ended = w.sync([put("x", "X", "Other"), record("O1", "Other")])
    same((ended.rc, figures(ended)[3:]), (1, (0, 1)), "one of an earlier run is still held: 1")
    test("--held" in summary(ended)["rest"], "and the command to see it is named", ended.err)
    ended = w.sync([record("P1")])
    same((ended.rc, ended.err), (0, ""), "it is replaced: 0")


def max_failures(w):
    lines = ["{x", "{y", "{z", put("a", "A")]
    ended = w.sync(lines, "--max-failures", "3")
    same((ended.rc, ended.statuses(4)), (1, ["failed"] * 3 + ["completed"]),
         "as many failures as --max-failures")
    lines = ["{x", put("b", "B"), "{y", "{z", put("c", "C"), put("d", "D")]
    ended = w.sync(lines, "--max-failures", "2", "--batch-size", "1")
    same((ended.rc, ended.of(6)), (1, None), "one more stops it: 1")
    test("--max-failures" in ended.err and "the same command resumes" in ended.err,
         "and that is said", ended.err)
    left = re.search(r"stopped with (\d+) lines", ended.err)
    test(left, "with the number of lines that are left", ended.err)
    ended = w.sync(lines)
    same((ended.rc, ended.statuses(6)), (1, ["failed", "completed", "failed", "failed", "completed",
                                             "completed"]),
         "the same command goes on")
    same(w.documents()[("R", "d")], "D", "to the end")


def usage(w):
    for args, text in ((["--no-such"], "--no-such"), (["--batch-size", "0"], "'0'"),
                       (["--rate", "many"], "many"),
                       (["--results", "some"], "all, problems, none"), (["--give-up", "soon"], "soon"),
                       (["--results"], "needs a value"), (["nonsense"], "nonsense"),
                       (["-z"], "--input-format"),
                       (["sync", "more"], "more"), (["--runs"], "--runs"),
                       (["--store", "weird:x"], "weird"),
                       (["--store", "chroma:ftp://h"], "ftp"), (["--collection", "a b"], "collection")):
        ended = run(w, *args, lines=[put("a", "A")])
        test(ended.rc == 64 and text in ended.err and ended.out == "", " ".join(args) + ": 64",
             ended.rc, ended.err)
    same(w.store.asked, 0, "and the store is not asked")
    env = {k: v for k, v in w.env.items() if k not in ("LINESYNC_STORE", "LINESYNC_COLLECTION")}
    for name, args in (("no store", ["--collection", "Code"]), ("neither store nor collection", [])):
        ended = run(w, *args, lines=[put("a", "A")], env=dict(LINESYNC_STORE="", LINESYNC_COLLECTION=""))
        test(ended.rc == 64 and "chroma:http://localhost:8000" in ended.err,
             name + ": 64, and the forms that there are", ended.err)
    ended = run(w, "--store", w.env["LINESYNC_STORE"], lines=[put("a", "A")],
                env=dict(LINESYNC_COLLECTION=""))
    ends(ended, 64, "no collection", "--collection")
    ours, theirs = open_terminal()
    ended = run(w, stdin=theirs, env=env)
    os.close(ours)
    os.close(theirs)
    ends(ended, 64, "standard input is a terminal", "usage: PRODUCER | linesync")
    test(len(ended.err.splitlines()) < 12, "with a short help", ended.err)


def unreadable_input(w):
    prepare(w)
    folder = os.open(w.root, os.O_RDONLY)
    ended = run(w, stdin=folder)
    os.close(folder)
    ends(ended, 66, "a folder as input", "cannot read the input: Is a directory")
    ended = subprocess.run(["sh", "-c", '"$0" <&-', program()], env=w.env, capture_output=True,
                           check=False, cwd=w.dir, timeout=600)
    same((ended.returncode, b"cannot read the input" in ended.stderr), (66, True), "a closed one: 66")
    ended = run(w, "--root", os.path.join(w.dir, "nowhere"), lines=[put("a", "A")])
    ends(ended, 66, "no --root", "nowhere")
    ended = w.sync([put("a", "A")])
    same((ended.rc, ended.err), (0, ""), "the state is none the worse")


def no_state(w):
    plain = os.path.join(w.dir, "plain")
    with open(plain, "w", encoding="ascii") as f:
        f.write("a file")
    for args, what in ((["--state", os.path.join(w.dir, "no", "folder.tdb")], "a folder that is missing"),
                       (["--state", os.path.join(plain, "x.tdb")], "a file where a folder should be")):
        ended = run(w, *args, lines=[put("a", "A")])
        test(ended.rc == 73 and "cannot" in ended.err and len(ended.err.splitlines()) == 1,
             what + ": 73", ended.err)
    ended = run(w, "--state-dir", os.path.join(plain, "x"), lines=[put("a", "A")],
                env=dict(LINESYNC_STATE=""))
    ends(ended, 73, "a state folder that cannot be made", "plain")
    same(w.store.asked, 0, "and the store is not asked")


def bad_state(w):
    prepare(w)
    with open(w.state, "rb") as f:
        good = f.read()
    layout = os.path.join(w.dir, "layout.tdb")

    def refused(name, content, text):
        with open(layout, "wb") as f:
            f.write(content)
        for args in ([], ["status"], ["changeset", "R"]):
            ended = run(w, *args, "--state", layout, lines=[put("a", "A")])
            ends(ended, 74, "%s: %s" % (name, " ".join(args) or "sync"), text)
        with open(layout, "rb") as f:
            same(f.read() == content, True, name + " is left as it is")

    refused("a text", b"this is no state\n" * 100, "no linesync state")
    refused("an empty file", b"", "no linesync state")
    refused("one cut short", good[:good.index(b"P0")], "layout.tdb")
    zeroed = bytearray(good)
    zeroed[4096:-4096] = bytes(len(good) - 8192)
    refused("one full of zeros", bytes(zeroed), "layout.tdb")
    ended = run(w, "--state", w.root, lines=[put("a", "A")])
    ends(ended, 74, "a folder", "is not a file")
    os.symlink(w.state, os.path.join(w.dir, "link.tdb"))
    ended = run(w, "--state", os.path.join(w.dir, "link.tdb"), lines=[put("a", "A")])
    ends(ended, 74, "a symbolic link", "symbolic link")
    ended = run(w, "--collection", "Other", lines=[put("a", "A")])
    ends(ended, 78, "another collection's state", "belongs to collection 'Code'")
    same(w.position("R"), "P0", "the state is none the worse")


def newer_state(w):
    prepare(w)
    with open(w.state, "rb") as f:
        content = bytearray(f.read())
    newer = newer_layout(content)
    with open(w.state, "wb") as f:
        f.write(newer)
    for args in ([], ["status"]):
        ended = run(w, *args, lines=[put("a", "A")])
        test(ended.rc == 74 and "newer linesync" in ended.err,
             "a newer layout: %s: 74" % (args or ["sync"])[0], ended.rc, ended.err)
    with open(w.state, "rb") as f:
        same(f.read() == bytes(newer), True, "is left as it is")


def full_output(w):
    prepare(w)
    full = os.open("/dev/full", os.O_WRONLY)
    ended = run(w, *w.options, lines=[put("a", "A")], stdout=full)
    test(ended.rc == 74 and ended.err.count("cannot write results: No space left on device") == 1,
         "a full disk behind standard output: 74", ended.err)
    test("same command resumes" in ended.err, "the same command resumes", ended.err)
    ended = w.sync([put("a", "A")])
    same((ended.rc, ended.of(1) and ended.of(1)["status"]), (0, "completed"),
         "and prints what could not be printed")
    gate = w.hold_answers("upsert")
    sync = Steered(w, "--batch-size", "1", stdout=full)
    sync.feed("{x", put("b", "B"), put("c", "C"))
    gate.wait_arrived()
    sync.wait_said("cannot write results")
    gate.open()
    ended = sync.end()
    same((ended.rc, ended.err.count("cannot write results")), (74, 1),
         "it is said once while requests are under way")
    for args in (["--help"], ["--version"], ["status"], ["changeset"]):
        ended = run(w, *args, stdout=full)
        test(ended.rc == 74 and "cannot write standard output" in ended.err, args[0] + ": 74",
             ended.rc, ended.err)
    os.close(full)
    ended = subprocess.run(["sh", "-c", '"$0" >&-', program()], env=w.env, stdin=subprocess.DEVNULL,
                           capture_output=True, check=False, cwd=w.dir, timeout=600)
    same(ended.returncode, 0, "a closed standard output that nothing is written to: 0")
    ended = subprocess.run(["sh", "-c", '"$0" >&-', program()], env=w.env, input=b"{x\n", check=False,
                           capture_output=True, cwd=w.dir, timeout=600)
    same((ended.returncode, b"cannot write results" in ended.stderr), (74, True), "that something is: 74")


def full_state(w):
    """No room for the state: a limit on the size of files is as a full disk."""
    lines = [put("doc%d" % i, "text %d" % i) for i in range(300)]

    def limited(size):
        return run(w, *w.options, lines=lines,
                   preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))
    for size in (4096, 300 << 10):
        ended = limited(size)
        ends(ended, 73, "no room to create it", "cannot write state", "is the disk full?")
        test("No such file" not in ended.err, "no other reason is named", ended.err)
        same([n for n in os.listdir(w.dir) if "tdb" in n and not n.endswith(".lock")], [],
             "nothing of it is left")
    prepare(w)
    ended = limited(os.path.getsize(w.state))
    ends(ended, 74, "no room to write it", "cannot commit", "File too large", "the same command resumes")
    ended = w.sync(lines)
    same((ended.rc, ended.statuses(300), len(w.documents())), (0, ["completed"] * 300, 301),
         "with room, the same command does all")


def store_away(w):
    prepare(w)
    lines = [put("a", "A"), put("b", "B")]
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        away = "chroma:http://127.0.0.1:%d" % s.getsockname()[1]
        ended = w.sync(lines, "--store", away, "--state", os.path.join(w.dir, "away.tdb"),
                       "--give-up", "0")
    test(ended.rc == 75 and "is away" in ended.err and not ended.results, "nobody listens: 75", ended.err)
    for name, do in (("503", {"status": 503}), ("no answer", {"drop": True})):
        w.script({"match": UPSERT, "do": do})
        ended = w.sync(lines, "--give-up", "0", "--max-retries", "0")
        ends(ended, 75, "%s to each write" % name, "is away", "the same command resumes")
        same(figures(ended) and figures(ended)[3], 0, "nobody is charged")
        test("2 lines" in ended.err, "and the lines that are left are counted", ended.err)
    w.script({"match": {"kind": "heartbeat"}, "do": {"status": 503}})
    ended = w.sync(lines, "--give-up", "0")
    ends(ended, 75, "503 before anything was read", "is away")
    w.script()
    ended = w.sync(lines)
    same((ended.rc, ended.statuses(2)), (0, ["completed"] * 2), "the same command resumes")


def locked(w):
    prepare(w)
    first = Steered(w)
    first.feed(put("a", "A"))
    first.wait_results(1)
    for args in ([], ["--wait-lock", "10ms"]):
        ended = w.sync([put("b", "B")], *args)
        test(ended.rc == 75 and "pid %d, host %s, since 20" % (first.pid,
                                                               socket.gethostname()) in ended.err,
             "another linesync works on it: 75, and who it is %s" % " ".join(args), ended.err)
    same(run(w, "status").out.count("running"), 1, "readers do not mind")
    second = Steered(w, "--wait-lock", "1m")
    same(first.end().rc, 0, "it ends")
    ended = second.end(put("b", "B"))
    same((ended.rc, ended.status(1), ended.err), (0, "completed", ""),
         "who waits with --wait-lock comes next")


def not_authorised(w):
    prepare(w)
    for status in (401, 403):
        for kind, what in (("upsert", "a write"), ("collection_get", "the opening")):
            w.script({"match": {"kind": kind}, "do": {"status": status}})
            ended = w.sync([put("a", "A"), put("b", "B")])
            ends(ended, 77, "%d to %s" % (status, what), "refuses access")
            same([r for r in ended.results if r["status"] == "failed"], [], "nobody is charged")
    w.script()
    ended = w.sync([put("a", "A"), put("b", "B")])
    same((ended.rc, ended.statuses(2)), (0, ["completed"] * 2), "with a key the same command resumes")


def misconfigured(w):
    lines = [put("a", "A")]
    ended = w.sync(lines, "--no-create")
    ends(ended, 78, "--no-create without a collection", "Code")
    same(sorted(w.store.by_name), [], "and none is made")
    with w.store.lock:
        for name, space in (("Euclid", "l2"), ("Wide", "cosine")):
            c = chroma.Collection("default_tenant", "default_database", name, space, None)
            c.dimension = 16 if name == "Wide" else None
            w.store.by_name["default_tenant", "default_database", name] = c
            w.store.by_id[c.id] = c
    for name, text in (("Euclid", "metric 'l2'"), ("Wide", "16 numbers")):
        ended = w.sync(lines, "--collection", name, "--state", os.path.join(w.dir, name))
        test(ended.rc == 78 and text in ended.err, "another %s: 78" % text.split()[0], ended.err)
    w.script({"match": UPSERT,
              "do": {"status": 307, "headers": {"location": "http://127.0.0.1:9/elsewhere?key=secret"}}})
    ended = w.sync(lines)
    ends(ended, 78, "a redirect", "redirects (HTTP 307) to 'http://127.0.0.1:9/elsewhere'")
    same([r["status"] for r in ended.results], [], "nobody is charged")
    w.script()
    same(w.sync(lines).rc, 0, "mended, the same command resumes")
    ended = w.sync(lines, "--embed", "hash:16")
    ends(ended, 78, "another dimension than the state's", "hash-1:8")
    ended = w.sync(lines, "--embed", "word2vec")
    ends(ended, 78, "an unknown embedder", "word2vec")
    w.script({"match": UPSERT, "do": {"refuse_objects": {
        "status": 400, "message": "Collection expecting embedding with dimension of 9, got 8"}}})
    ended = w.sync([put("x%d" % i, "X") for i in range(9)], "--batch-size", "2")
    test(ended.rc == 78 and "dimension" in ended.err and not ended.results,
         "a wrong dimension in three batches in a row: 78, nobody charged", ended.err)


def wrong_root(w):
    prepare(w)
    lines = ["file%d" % i for i in range(30)]
    ended = w.sync(lines, "--repo", "R")
    ends(ended, 78, "the first 20 changes have no file", "--root")
    same([r["error"]["code"] for r in ended.results], ["no-such-file"] * 20, "they have failed")
    ended = w.sync(lines[:19] + [put("a", "A")] + lines[19:], "--repo", "R")
    same((ended.rc, len(ended.results)), (1, 31), "one of the first 20 has: it goes on")


def out_of_memory(w):
    """A long line is allowed, and there is no room for it."""
    prepare(w)
    room = 160 << 20

    def little():
        resource.setrlimit(resource.RLIMIT_AS, (room, room))
    if run(w, "--version", preexec_fn=little).rc != 0:
        report.note("this program needs more room from the start: not tested")
        return
    sync = Steered(w, "--max-line", "1g", preexec_fn=little)
    ended = sync.end(put("a", "A"), b'{"path":"b","content":"' + b"x" * room)
    ends(ended, 71, "no memory", "memory")
    ended = w.sync([put("a", "A")])
    same((ended.rc, ended.status(1)), (0, "completed"), "the state is none the worse")


# ---- options ----


def help_and_version(w):
    bare = dict(LINESYNC_STORE="", LINESYNC_COLLECTION="", LINESYNC_STATE="")
    for args in (["--help"], ["-h"], ["sync", "--help"]):
        ended = run(w, *args, env=bare)
        same((ended.rc, ended.err), (0, ""), " ".join(args))
        test("--batch-size N" in ended.out and "78 configuration" in ended.out,
             "names options and exit statuses", ended.out)
    same(run(w, "--help", "--batch-size", "0").rc, 0, "help comes first")
    for args in (["--version"], ["-V"]):
        ended = run(w, *args, env=bare)
        same((ended.rc, ended.err), (0, ""), " ".join(args))
        names = [line.split()[0] for line in ended.out.splitlines()[:5]]
        same(names, ["linesync", "json-c", "libcurl", "tdb", "nettle"], "names the libraries")
        test(all(re.fullmatch(r"\S+ \d+(\.\d+)+\S*", line) for line in ended.out.splitlines()[:5]),
             "with their versions", ended.out)


def environment(w):
    prepare(w)
    w.script({"match": {"kind": "upsert", "min_objects": 2}, "do": {"status": 401}})
    lines = [put("a%d" % i, "A") for i in range(4)]
    w.env["LINESYNC_BATCH_SIZE"] = "1"
    ended = w.sync(lines)
    same(ended.rc, 0, "LINESYNC_BATCH_SIZE is obeyed")
    lines = [put("b%d" % i, "B") for i in range(4)]
    ended = w.sync(lines, "--batch-size", "4")
    same(ended.rc, 77, "the command line wins")
    w.script()
    w.env.update(LINESYNC_RESULTS="none", LINESYNC_EXCLUDE="*.o:*.tmp", LINESYNC_VERBOSE="1",
                 LINESYNC_FORCE="no", LINESYNC_GIVE_UP="")
    ended = w.sync([put("x.o", "X"), put("x.tmp", "X"), put("y", "Y")])
    same((ended.rc, ended.results, figures(ended)), (0, [], (1, 0, 0, 0, 0)),
         "others too; an empty one is none")
    test("LINESYNC_GIVE_UP" not in ended.err, "in silence", ended.err)
    del w.env["LINESYNC_VERBOSE"], w.env["LINESYNC_RESULTS"]
    ended = w.sync([put("y", "Y")])
    same((ended.rc, ended.status(1)), (0, "skipped:unchanged"), "LINESYNC_FORCE=no is none")
    for name, value in (("LINESYNC_BATCH_SIZE", "lots"), ("LINESYNC_RESULTS", "some"),
                        ("LINESYNC_FORCE", "maybe"),
                        ("LINESYNC_GIVE_UP", "later"), ("LINESYNC_PROGRESS", "1")):
        ended = run(w, lines=[put("y", "Y")], env={name: value})
        test(ended.rc == 64 and name in ended.err and "'%s'" % value in ended.err,
             "%s=%s: 64" % (name, value), ended.err)
    option = ["--results", "all"]
    same(run(w, *option, lines=[put("y", "Y")], env=dict(LINESYNC_RESULTS="some")).rc, 0,
         "one that the command line overrides is not looked at")
    same(run(w, "status", env=dict(LINESYNC_BATCH_SIZE="lots")).rc, 0, "nor one of another command")


# ---- keys ----


def key_stays_secret(w):
    """The key is known to the store and to nobody else, however the run ends."""
    key_file = os.path.join(w.dir, "key")
    with open(key_file, "w", encoding="ascii") as f:
        f.write(KEY + "\n")
    os.chmod(key_file, 0o600)
    w.store.token = KEY
    seen = []

    def told(name, env, rc, *options, script=()):
        w.script(*script)
        gate = w.hold_answers("heartbeat")
        sync = Steered(w, "-vv", *options, env={**w.env, **env})
        sync.feed(put("a", "text %d" % len(seen)))
        gate.wait_arrived()
        for what in ("cmdline", "status"):
            with open("/proc/%d/%s" % (sync.pid, what), "rb") as f:
                seen.append(f.read())
        gate.open()
        ended = sync.end("{x", record("C1"))
        seen.extend([bytes(sync.out), bytes(sync.err)])
        same(ended.rc, rc, name)

    for where, env, options in (("in the environment", {"LINESYNC_API_KEY": KEY}, []),
                                ("in a file", {}, ["--api-key-file", key_file])):
        told("a key %s" % where, env, 1, *options)
        told("refused", env, 77, *options, script=[{"match": UPSERT, "do": {"status": 403}}])
        told("redirected", env, 78, *options, script=[
            {"match": UPSERT, "do": {"status": 302, "headers": {"location": "http://127.0.0.1:9/"}}}])
        told("away", env, 75, *options, "--give-up", "0", script=[{"match": UPSERT,
                                                                   "do": {"drop": True}}])
        told("a page of a proxy", env, 75, *options, "--give-up", "0", "--max-retries", "0", script=[
            {"match": UPSERT, "do": {"status": 503, "body": "<html>no</html>"}}])
    w.script()
    for args in (["status", "--json"], ["status", "--failed"], ["changeset"]):
        seen.append(run(w, *args, env={"LINESYNC_API_KEY": KEY}).out.encode())
    for folder, _, names in os.walk(w.dir):
        for n in names:
            if n != "key":
                with open(os.path.join(folder, n), "rb") as f:
                    seen.append(f.read())
    same([s for s in seen if KEY.encode() in s], [],
         "it stands in no output, no state and no command line")
    with w.store.lock:
        same([e["n"] for e in w.store.log if not e["authorized"]], [], "the store has it in each request")


def key_sources(w):
    w.store.token = KEY
    key_file = os.path.join(w.dir, "key")
    folder = os.path.join(w.dir, "credentials")
    os.mkdir(folder)
    for name in (key_file, os.path.join(folder, "linesync-api-key")):
        with open(name, "w", encoding="ascii") as f:
            f.write(KEY)
        os.chmod(name, 0o600)
    lines = [put("a", "A")]
    for env in ({"LINESYNC_API_KEY": KEY}, {"CHROMA_TOKEN": KEY}, {"CREDENTIALS_DIRECTORY": folder},
                {"LINESYNC_API_KEY_FILE": key_file}, {"LINESYNC_API_KEY": KEY, "CHROMA_TOKEN": "another"},
                {"CREDENTIALS_DIRECTORY": folder, "LINESYNC_API_KEY": "another"}):
        same(run(w, lines=lines, env=env).rc, 0, "a key from " + ", then not ".join(env))
    ended = run(w, "--api-key-file", key_file, lines=lines, env={"CREDENTIALS_DIRECTORY": w.root,
                                                                "LINESYNC_API_KEY": "another"})
    same(ended.rc, 0, "--api-key-file comes first")
    ended = run(w, lines=lines)
    same(ended.rc, 77, "no key: 77")
    for mode in (0o640, 0o604, 0o620):
        os.chmod(key_file, mode)
        ended = run(w, "--api-key-file", key_file, lines=lines)
        test(ended.rc == 77 and "chmod 600" in ended.err, "a key file of mode %o is refused" % mode,
             ended.err)
    os.chmod(key_file, 0o600)
    ended = run(w, "--api-key-file", os.path.join(w.dir, "nokey"), lines=lines)
    test(ended.rc == 77 and "nokey" in ended.err, "so is one that is not there", ended.err)


def key_in_clear(w):
    """A proxy of our own stands for another machine: nothing leaves this one."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen(8)
        heard = []
        thread = threading.Thread(target=listen, args=(s, heard), daemon=True)
        thread.start()
        proxy = {"http_proxy": "http://127.0.0.1:%d" % s.getsockname()[1], "LINESYNC_API_KEY": KEY}
        away = ["--store", "chroma:http://store.example", "--give-up", "0", "--state",
                os.path.join(w.dir, "away.tdb")]
        ended = run(w, *away, lines=[put("a", "A")], env=proxy)
        ends(ended, 77, "a key over plain http to another machine", "in clear", "--insecure-http")
        same(heard, [], "nothing was sent")
        run(w, *away, lines=[put("a", "A")], env={**proxy, "LINESYNC_API_KEY": ""})
        test(heard and b"store.example" in heard[0], "without a key it is asked")
        heard.clear()
        run(w, *away, "--insecure-http", lines=[put("a", "A")], env=proxy)
        test(heard and KEY.encode() in heard[0], "with --insecure-http it is sent")
        heard.clear()
        same(run(w, lines=[put("a", "A")], env=proxy).rc, 0, "the store on this machine")
        same(heard, [], "is asked without a proxy")


def listen(s, heard):
    """Notes the head of each request and refuses it."""
    while True:
        try:
            c, _ = s.accept()
        except OSError:
            return
        with c:
            heard.append(c.recv(65536))
            c.sendall(b"HTTP/1.1 503 no\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")


def newer_layout(content):
    """A copy of a state whose identity says a later layout, under a good checksum: key (9 bytes),
    checksum (8), magic, layout, then two texts, each with its length before it."""
    out = bytearray(content)
    at = out.index(b"linesync state\n")
    layout = at + len(b"linesync state\n")
    end = layout + 1
    for _ in range(2):
        end += 1 + out[end]
    out[layout] += 1
    out[at - 8:at] = hashlib.sha256(bytes(out[at - 17:at - 8] + out[at:end])).digest()[:8]
    return out


TESTS = [shapes, superseded, retries_counted, retried, resumed, which_results, quiet_when_well, sums_up,
         next_command, nothing_waits, unclosed, on_a_terminal, one, max_failures, usage, unreadable_input,
         no_state, bad_state, newer_state, full_output, full_state, store_away, locked, not_authorised,
         misconfigured, wrong_root, out_of_memory, help_and_version, environment, key_stays_secret,
         key_sources, key_in_clear]


if __name__ == "__main__":
    sys.exit(run_tests(TESTS))
