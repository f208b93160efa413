#!/usr/bin/env python3
"""commands.py [-v] [NAME...] - the commands beside the filter, on the whole program: what each prints,
as text and as JSON, what it changes, and how it exits.  NAMEs: only these."""

import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import (World, as_line, delete, find_list, from_file, on_terminal, open_terminal,  # noqa: E402
                     program, put, record, report, run_tests)

same, test = report.same, report.test
POISON = {"match": {"kind": "upsert", "content": "poison"}, "do": {"refuse_objects": True}}
HANG = {"match": {"kind": "upsert", "content": "slow"}, "do": {"hang": True}}
HOSTILE = "x\x1b[2J\r\n\t\x07\x9b\x7f'\"\\ $(id)"    # what a terminal, a shell or a list would act on


def bad(path, repo="R"):
    """A line that can only fail."""
    return {"repo": repo, "path": path, "op": "nothing", "content": "x" * 100}


# ---- running commands ----


def call(w, *args, stdin=b"", **env):
    """Runs a command; env adds to the environment, None takes away.  The result has bytes."""
    full = {k: v for k, v in {**w.env, **env}.items() if v is not None}
    return subprocess.run([program(), *args], env=full, cwd=w.dir, input=stdin, capture_output=True,
                          check=False, timeout=600)


def typed(w, command):
    """Types a command line that linesync has printed into a shell: (exit status, standard output)."""
    env = dict(w.env, PATH=os.path.dirname(program()) + ":" + os.environ["PATH"])
    done = subprocess.run(["bash", "-c", command], env=env, cwd=w.dir, stdin=subprocess.DEVNULL,
                          capture_output=True, check=False, timeout=600)
    return done.returncode, done.stdout.decode()


def acting(shown):
    """The bytes of it that a terminal would act on, ends of lines aside."""
    return re.findall(rb"[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]", shown.replace(b"\r\n", b"\n"))


def status(w, *options):
    """(exit status, the object that `status --json` prints)."""
    done = call(w, "status", "--json", *options)
    return done.returncode, json.loads(done.stdout)


def text(w, *args):
    return call(w, *args).stdout.decode()


def row(w, label, *options):
    """What `status` says beside a label."""
    found = re.findall("^%s +(.*)$" % label, text(w, "status", *options), re.M)
    return found[0] if len(found) == 1 else None


def lines_of(run):
    """The counts of a run that are not zero."""
    return {k: n for k, n in run["lines"].items() if n}


def holders(w, repo="R"):
    """What `status --held` says holds the changeset of a repository."""
    found = [c for c in status(w, "--held")[1]["changesets"] if c["repo"] == repo]
    return found[0]["holders"] if found else []


class Under:
    """A sync that stays under way until it is killed: the store never answers for "slow"."""

    def __init__(self, w, lines, *options):
        self.w, seen = w, threading.Event()

        def look(_n, call_):
            if any("slow" in (d or "") for d in call_.documents):
                seen.set()
        w.script(HANG, POISON)
        w.store.on_request = look
        self.child = w.start("--batch-size", "1", "--connections", "1", *options)
        self.child.stdin.write(b"".join(as_line(x) + b"\n" for x in lines))
        if not seen.wait(600):
            raise RuntimeError("the store has seen no slow document")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.kill()
        self.child.communicate()
        self.w.store.on_request = None
        self.w.script()
        self.w.hung_up()


# ---- status ----


def counts(w):
    ended = w.sync([put("a", "A"), put("b", "B"), delete("c"),
                    {"repo": "R", "op": "rename", "old_path": "b", "path": "d", "content": "D"},
                    record("P1"), put("e", "E", "S")])
    same(ended.rc, 0, "a clean run")
    rc, s = status(w)
    run = s["run"]
    same((rc, run["status"], s["running"]), (0, "completed", False), "is completed, and status exits 0")
    same(lines_of(run), {"completed": 6}, "lines by status")
    same({k: n for k, n in run["ops"].items() if n},
         {"modify": 3, "delete": 1, "rename": 1, "changeset": 1}, "lines by operation")
    same((s["documents"], s["repositories"], s["failed"], s["held"], s["in_doubt"]), (3, 2, 0, 0, 0),
         "what the collection holds")
    same((run["objects"], run["deletes"], run["retried"]), (4, 2, 0), "what was sent")
    same((s["state"], s["collection"], s["last_clean"]), (w.state, "Code", run["end"]), "where, and when")
    same(row(w, "state"), w.state, "the text says the same: state")
    test(row(w, "collection").endswith(", 3 documents in 2 repositories"), "documents")
    same(row(w, "run"), "%s (number 1), completed" % ended.results[0]["run"], "run")
    same(row(w, "lines"), "6: 6 completed", "lines")
    same(row(w, "asked for"), "3 modify, 1 delete, 1 rename, 1 changeset", "operations")
    test(row(w, "sent").startswith("4 objects, 2 deletes, "), "objects")
    same((row(w, "failed"), row(w, "held")), ("none", "none"), "no trouble")
    w.sync([put("a", "A"), delete("c"), put("e", "E2", "S"), ""])
    run = status(w)[1]["run"]
    same((lines_of(run), run["unchanged"]), ({"completed": 1, "skipped": 2}, 2), "unchanged lines")
    same(row(w, "lines"), "3: 1 completed, 2 skipped (2 unchanged)", "also as text")


def counts_failed(w):
    w.script(POISON)
    ended = w.sync([put("a", "A"), put("p", "poison"), '{"broken', record("P1"), put("a", "A2")])
    rc, s = status(w)
    same((ended.rc, rc, s["run"]["status"]), (1, 1, "failed"), "a run with failed lines, and status, exit 1")
    same((s["failed"], s["held"], s["last_clean"]), (2, 1, None), "what waits")
    same(sum(s["run"]["lines"].values()), 5, "each line counts once")
    same(lines_of(s["run"]), {"completed": 2, "failed": 2, "held": 1}, "by status")
    test(row(w, "failed").startswith("2 lines; see linesync status "), "the text names the next command")
    rc, out = typed(w, row(w, "failed").split("see ")[1])
    same((rc, out), (1, text(w, "status", "--failed")), "which works")
    rc, out = typed(w, row(w, "held").split("see ")[1])
    same((rc, out), (1, text(w, "status", "--held")), "for held ones, too")
    w.script()
    ended = w.sync([put("p", "better"), put("a", "A2"), record("P2")])
    rc, s = status(w, "--summary")
    same((ended.rc, rc, s["failed"], s["held"]), (0, 0, 0, 0), "a later run that closes the block ends that")


def counts_held(w):
    """A run that exits 1 because a changeset is held, of whatever run, was no clean one."""
    w.sync([put("a", "A"), record("P1", since="elsewhere")])
    ended = w.sync([put("b", "B", "S"), record("S1", "S")])
    rc, s = status(w)
    same((ended.rc, ended.statuses(2)), (1, ["completed", "completed"]), "an older changeset is held")
    same((rc, s["run"]["status"], lines_of(s["run"]), s["last_clean"]), (1, "failed", {"completed": 2}, None),
         "status says so")


def counts_interrupted(w):
    lines = [put("f%d" % i, "slow" if i == 7 else "text %d" % i) for i in range(10)] + [record("P1")]
    with Under(w, lines) as u:
        rc, s = status(w)
        same((rc, s["run"]["status"], s["running"]), (0, "running", True), "a run under way is running")
        test(("pid %d, " % u.child.pid) in s["holder"], "status says who works on the state")
        same((s["run"]["pid"], lines_of(s["run"])), (u.child.pid, {"completed": 7}), "and how far it is")
        same(row(w, "run").split(", ")[-1], "running", "also as text")
        same([r["status"] for r in status(w, "--runs")[1]["runs"]], ["running"], "--runs")
        same(status(w, "--summary")[1]["summary"]["running"], 1, "--summary")
    rc, s = status(w)
    same((rc, s["run"]["status"], s["running"]), (1, "interrupted", False), "killed, it is interrupted")
    same(lines_of(s["run"]), {"completed": 7}, "with what it had done")
    same(row(w, "run").split(", ")[-1], "interrupted", "also as text")
    same([r["status"] for r in status(w, "--runs")[1]["runs"]], ["interrupted"], "--runs")
    same(status(w, "--summary")[1]["summary"]["interrupted"], 1, "--summary")
    lines[7] = put("f7", "fast")
    ended = w.sync(lines)
    same((ended.rc, len(status(w, "--runs")[1]["runs"])), (0, 2), "with another line, a new run begins")
    runs = status(w, "--runs")[1]["runs"]
    same([r["status"] for r in runs], ["interrupted", "completed"], "the old one stays interrupted")


def counts_resumed(w):
    lines = [put("f%d" % i, "slow" if i == 5 else "text %d" % i) for i in range(8)] + [put("f0", "new")]
    with Under(w, lines):
        pass
    ended = w.sync(lines)
    rc, s = status(w)
    same((ended.rc, rc, s["run"]["status"], s["run"]["number"]), (0, 0, "completed", 1), "a run goes on")
    same(lines_of(s["run"]), {"completed": 9}, "and counts each line once")
    same({k: n for k, n in s["run"]["ops"].items() if n}, {"modify": 9}, "also by operation")
    same((s["documents"], len(w.documents())), (8, 8), "and each document")
    ended = w.sync([put("x%d" % i, "X") for i in range(5)], "--batch-size", "1", kill_request=2,
                   how=signal.SIGINT)
    same((ended.rc, status(w)[1]["run"]["status"]), (130, "interrupted"), "one that was stopped is interrupted")


def counts_resumed_files(w):
    """What a part of a run has stored stays stored when a later part finds it so."""
    for i in range(9):
        w.write_file("R", "f%d" % i, "slow" if i == 6 else "text %d" % i)
    w.sync([put("gone", "text"), from_file("f8")])
    lines = [from_file("f%d" % i) for i in range(9)] + [from_file("f0"), delete("gone")]
    for n in range(3):
        with Under(w, lines):
            rc, s = status(w)
            same((rc, lines_of(s["run"]), s["run"]["unchanged"]), (0, {"completed": 6, "skipped": 2}, 2),
                 "killed %d times: as its first part left it" % n)
    w.write_file("R", "f6", "fast")
    ended = w.sync(lines, "-v")
    rc, s = status(w)
    same((ended.rc, rc, lines_of(s["run"]), s["run"]["unchanged"]),
         (0, 0, {"completed": 9, "skipped": 2}, 2), "a run that goes on counts each line as it was done")
    test(re.search(": 8 stored, 1 deleted, 2 unchanged, 0 failed, 0 held in", ended.err), "and sums up so", ended.err)
    same((ended.status(1), ended.status(2)), ("superseded", "skipped:unchanged"), "its results say what this part found")


def counts_resumed_again(w):
    """A line that is done again, and otherwise, counts as it is now."""
    for i in range(4):
        w.write_file("R", "f%d" % i, "slow" if i == 3 else "text %d" % i)
    lines = [from_file("f%d" % i) for i in range(4)]
    w.sync(lines[:2])
    lines.insert(0, dict(put("f4", ""), content_error="denied"))
    for n in range(2):
        with Under(w, lines):
            run = status(w)[1]["run"]
            same((lines_of(run), run["unchanged"]), ({"completed": 1, "skipped": 2, "failed": 1}, 2),
                 "killed %d times" % n)
    w.write_file("R", "f0", "changed")
    w.write_file("R", "f1", "")
    w.write_file("R", "f3", "fast")
    ended = w.sync(lines, "-v")
    run = status(w)[1]["run"]
    same((ended.rc, lines_of(run), run["unchanged"]), (1, {"completed": 3, "skipped": 1, "failed": 1}, 0),
         "by status, and unchanged ones")


def continued_has_no_end(w):
    """The end of a part is not the end of a run that goes on; nor does a run go on that is given up."""
    lines = [put("a", "A"), put("s", "slow"), put("b", "B")]
    with Under(w, lines, "--grace", "10ms") as u:
        u.child.send_signal(signal.SIGINT)
        u.child.wait()
    ended = status(w)[1]["run"]
    same((ended["status"], ended["end"] is None), ("interrupted", False), "a run is stopped")
    with Under(w, lines):
        rc, s = status(w)
        same((rc, s["run"]["number"], s["run"]["status"], s["run"]["end"]), (0, 1, "running", None),
             "continued, it has no end")
    rc, s = status(w)
    same((rc, s["run"]["status"], s["run"]["end"]), (1, "interrupted", None), "killed, neither")
    before = {k: v for k, v in s["run"].items() if k not in ("end", "rate")}
    w.sync([put("x", "X")])
    old = status(w, "--run", "1")[1]["run"]
    same(({k: v for k, v in old.items() if k not in ("end", "rate")}, old["end"]), (before, before["update"]),
         "given up, it is as it was, and ended when it last said something")


def exits_as_the_sync(w):
    """Whatever the last sync exited with, status does."""
    def check(name, ended, want):
        same((ended.rc, status(w)[0], status(w, "--run", str(status(w)[1]["run"]["number"]))[0]), (want,) * 3, name)
    failing = dict(put("a", "A"), content=None, content_error="denied")
    check("a clean run", w.sync([put("first", "text"), record("P0")]), 0)
    check("what failed is superseded by a later line", w.sync([failing, put("a", "A")]), 1)
    check("a run without it", w.sync([put("a", "A")]), 0)
    w.sync([failing])
    check("tried again, it fails, and is superseded", w.sync([put("a", "A")]), 1)
    w.sync(["{x"])
    same(status(w)[1]["failed"], 1, "a failed line waits")
    check("but not one of the last run", w.sync([put("a", "A")], "--no-retry"), 0)
    w.sync([bad("b")])
    same(status(w)[1]["failed"], 1, "a failed line of a document waits")
    check("nor is that one", w.sync([put("a", "A")]), 0)
    check("a changeset is held", w.sync([put("a", "A"), record("P9", since="NOWHERE")]), 1)
    check("and holds still", w.sync([put("z", "Z", "S")]), 1)
    check("held, and then not", w.sync([record("P9", since="NOWHERE"), *[put(p, p) for p in ("first", "a", "b")],
                                        record("P1", complete=True)]), 0)
    check("messages alone", w.sync(b"Detecting changes...  50% -:--:--\n" * 3000), 0)
    w.script({"match": {"kind": "delete"}, "do": {"status": 400, "body": {"error": "X", "message": "no"}}})
    check("what --exclude names cannot be deleted",
          w.sync([put("c", "C")], "--exclude", "a", "--max-retries", "0"), 1)
    w.script()
    check("it can", w.sync([put("c", "C")], "--exclude", "a"), 0)
    check("more lines failed than may", w.sync([bad(p) for p in "defg"], "--max-failures", "1"), 1)


def running_only_by_its_own(w):
    """Who holds the lock may be at work on something else."""
    with Under(w, [put("a", "A"), put("s", "slow")]):
        pass
    w.script({"match": {"kind": "collection_get|collection_create|preflight"}, "do": {"hang": True}})
    asked = threading.Event()
    w.store.on_request = lambda _n, _call: asked.set()
    child = w.start()
    try:
        child.stdin.write(as_line(put("b", "B")) + b"\n")
        test(asked.wait(600), "a sync has the lock and waits for the store")
        rc, s = status(w)
        same((rc, s["run"]["status"], s["running"]), (1, "interrupted", False), "the killed run is not running")
        test(("pid %d, " % child.pid) in s["holder"], "status says who works on the state", s["holder"])
        same([r["status"] for r in status(w, "--runs")[1]["runs"]], ["interrupted"], "nor is it in --runs")
    finally:
        child.kill()
        child.communicate()
        w.store.on_request = None
        w.script()


def percentage(w):
    lines = [put("f%d" % i, "text %d" % i) for i in range(20)]
    w.sync(lines)
    test("percent" not in status(w)[1]["run"], "of a pipe nobody knows how much is left")
    w.write_file("", "input", "".join(json.dumps(x) + "\n" for x in lines))
    with open(os.path.join(w.root, "input"), "rb") as f:
        done = subprocess.run([program(), *w.options], env=w.env, cwd=w.dir, stdin=f, check=False,
                              capture_output=True, timeout=600)
    run = status(w)[1]["run"]
    same((done.returncode, run["percent"], run["source"]), (0, 100.0, "file"), "of a file, it is known")


def max_age(w):
    w.script(POISON)
    w.sync([put("p", "poison")])
    done = call(w, "status", "--max-age", "26h")
    same(done.returncode, 1, "--max-age: no clean run")
    test(b"no run of " in done.stderr, "which is said", done.stderr)
    w.script()
    w.sync([put("p", "better")])
    done = call(w, "status", "--max-age", "26h")
    same((done.returncode, done.stderr), (0, b""), "one that is young enough")
    until = time.monotonic() + 60000
    while call(w, "status", "--max-age", "1s").returncode == 0 and time.monotonic() < until:
        time.sleep(0.1)
    done = call(w, "status", "--max-age", "1s")
    same(done.returncode, 1, "one that is older")
    test(b"ended " in done.stderr, "which is said", done.stderr)
    same(call(w, "status").returncode, 0, "nothing else is wrong")
    same(call(w, "status", "--max-age", "never").returncode, 64, "no time: usage")


def runs(w):
    w.sync([put("a", "A"), put("b", "B")])
    w.script(POISON)
    w.sync([put("p", "poison"), put("a", "A")])
    with Under(w, [put("c", "C"), put("s", "slow")], "--no-retry"):
        pass
    rc, s = status(w, "--runs")
    same((rc, [r["status"] for r in s["runs"]], [r["number"] for r in s["runs"]]),
         (1, ["completed", "failed", "interrupted"], [1, 2, 3]), "all runs")
    table = [x.split() for x in text(w, "status", "--runs").splitlines()]
    same([r[0:3] for r in table[1:]],
         [[str(r["number"]), r["run"], r["status"]] for r in s["runs"]], "as a table")
    at = {name: table[0].index(name) + 1 for name in ("COMPLETED", "SKIPPED", "FAILED")}    # TOOK: "0 s"
    same([{k: int(r[at[k]]) for k in at} for r in table[1:]],
         [{k: r["lines"][k.lower()] for k in at} for r in s["runs"]], "with the same numbers")
    rc, sums = status(w, "--summary")
    sums = sums["summary"]
    same({k: sums[k] for k in ("runs", "completed", "failed", "interrupted", "running", "dropped")},
         {"runs": 3, "completed": 1, "failed": 1, "interrupted": 1, "running": 0, "dropped": 0},
         "--summary: runs")
    same(sums["lines"], {k: sum(r["lines"][k] for r in s["runs"]) for k in sums["lines"]}, "lines")
    same((sums["objects"], sums["requests"]), tuple(sum(r[k] for r in s["runs"])
                                                   for k in ("objects", "requests")), "what was sent")
    same((row(w, "runs", "--summary"), row(w, "lines", "--summary")),
         ("3: 1 interrupted, 1 completed, 1 failed", "5: 3 completed, 1 skipped, 1 failed"), "as text")
    for r in s["runs"]:
        want = 0 if r["status"] == "completed" else 1
        by_number, by_id = status(w, "--run", str(r["number"])), status(w, "--run", r["run"])
        same((by_number[0], by_number[1]["run"], by_id), (want, r, by_number), "--run: a %s one" % r["status"])
        test(row(w, "run", "--run", r["run"]).endswith(r["status"]), "as text")
    for name in ("4", "0", "nonsense"):
        done = call(w, "status", "--run", name)
        same((done.returncode, done.stdout), (1, b""), "--run %s: there is none" % name)
        test(b"status --runs" in done.stderr, "and what lists them is named")
    same(call(w, "status", "--runs", "--held").returncode, 64, "one list at a time")


def failed(w):
    same(text(w, "status", "--failed"), "", "no state, no list")
    w.sync([put("ok", "OK")])
    same((text(w, "status", "--failed"), status(w, "--failed")[1]["failures"]), ("no failed lines\n", []),
         "no failed lines")
    w.script(POISON)
    ended = w.sync([put("p", "poison"), from_file("gone"), '{"broken', record("P1")], "--max-rounds", "2")
    run = ended.results[0]["run"]
    rc, s = status(w, "--failed")
    same((rc, [(f["line"], f.get("repo"), f.get("path"), f.get("op"), f["error"]["code"], f["retries"])
               for f in s["failures"]]),
         (1, [(1, "R", "p", "modify", "store-rejected", 0), (2, "R", "gone", "modify", "no-such-file", 0),
              (3, None, None, None, "bad-json", 0)]), "--failed lists them in order")
    for f in s["failures"]:
        same({k: v for k, v in f["error"].items()},
             {k: v for k, v in ended.of(f["line"])["error"].items() if k != "offset"},
             "line %d: with the error of its result" % f["line"])
    same([f["run"] for f in s["failures"]], [run] * 3, "and its run")
    shown = text(w, "status", "--failed")
    for f in s["failures"]:
        same(shown.count("%s:%d  " % (run, f["line"])), 1, "the text names line %d" % f["line"])
        test("%s" % f["error"]["message"] in shown and f["error"]["code"] in shown, "and says why")
    test("store-rejected, HTTP 422, " in shown, "with the answer's status")
    w.sync([put("z", "Z", "Z")], "--max-rounds", "2")
    same(text(w, "status", "--failed").count("tried again in 1 run, last "), 2, "they are tried again")
    w.sync([put("z", "Z", "Z")], "--max-rounds", "2")
    w.sync([put("z", "Z", "Z")], "--max-rounds", "2")
    retries = {f.get("path"): f["retries"] for f in status(w, "--failed")[1]["failures"]}
    same(retries, {"p": 2, "gone": 2, None: 0}, "in how many runs they were tried again, two at most")
    test("tried again in 2 runs" in text(w, "status", "--failed"), "also as text")
    same(status(w, "--failed")[1]["failed"], 3, "as many as are counted")


def repos(w):
    w.script(POISON)
    w.sync([put("a", "A"), record("P1"), put("b", "B", "S"), put("p", "poison", "S"), record("S1", "S"),
            put("c", "C", "")])
    rc, s = status(w, "--repos")
    same({r["repo"]: r["whole"] for r in s["repos"]}, {"": False, "R": False, "S": False}, "which are whole")
    got = {r["repo"]: (r["position"], r.get("held"), r["documents"], r["failed"], r["in_doubt"])
           for r in s["repos"]}
    same((rc, got), (1, {"": (None, None, 1, 0, 0), "R": ("P1", None, 1, 0, 0), "S": (None, "S1", 1, 1, 0)}),
         "--repos")
    table = [x.split() for x in text(w, "status", "--repos").splitlines()[1:]]
    same([(r[0], r[1], r[-3:]) for r in table],
         [("''", "-", ["1", "0", "0"]), ("R", "P1", ["1", "0", "0"]), ("S", "-", ["1", "1", "0"])],
         "as a table")
    test("S1 (lines)" in text(w, "status", "--repos"), "with what is held")


# ---- what holds a changeset ----


def released(w, by, commit="P1", count=1):
    """One thing holds R's changeset; typing its command releases it."""
    found = holders(w)
    same([h["by"] for h in found], by, "--held names it")
    shown = text(w, "status", "--held")
    test(shown.startswith("R: changeset %s (" % commit), "also as text", shown)
    for h in found:
        test("\n      %s\n" % h["command"] in shown, "with the command", shown)
    for h in found:
        same(typed(w, h["command"])[0], 0, "which can be typed")
    same((w.position("R"), holders(w), text(w, "status", "--held")), (commit, [], "no changeset is held\n"),
         "and frees the changeset")


def held_by_line(w):
    w.script(POISON)
    run = w.sync([put("p", "poison"), put("q", "poison"), record("P1"), put("r", "poison")]).results[0]["run"]
    found = holders(w)
    same([(h["by"], h["path"], h["reason"]) for h in found],
         [("%s:%d" % (run, n), p, "failed, store-rejected") for n, p in ((1, "p"), (2, "q"))],
         "--held names the failed lines before the record, not those after it")
    rc, out = typed(w, found[0]["command"])
    test((rc, w.position("R")) == (0, None) and "still held" in out, "one is freed, the other holds", out)
    released(w, ["%s:2" % run])


def held_by_unknown(w):
    run = w.sync([put("a", "A"), '{"broken', record("P1"), put("b", "B", "S"), record("S1", "S")]).results[0]["run"]
    same([h["by"] for h in holders(w, "S")], ["%s:2" % run], "broken JSON holds every repository after it")
    released(w, ["%s:2" % run])
    same(w.position("S"), "S1", "with the other one's")


def in_doubt(w, path):
    """Leaves a document of R in doubt, and P1 held by that."""
    with Under(w, [put(path, "slow")]):
        pass
    ended = w.sync([put("e", "E"), record("P1")])
    same((ended.rc, ended.status(2)), (1, "held"), "a document in doubt holds the record")


def held_by_doubt(w):
    in_doubt(w, "d")
    same([h.get("path") for h in holders(w)], ["d"], "--held names the document")
    rc, s = status(w)
    same((rc, s["in_doubt"], s["held"]), (1, 1, 1), "status counts it")
    test(row(w, "in doubt").startswith("1 document of which"), "also as text")
    same([r["in_doubt"] for r in status(w, "--repos")[1]["repos"]], [1], "and --repos")
    released(w, ["a document"])
    ended = w.sync([put("d", "slow")])
    same((ended.rc, ended.status(1)), (0, "completed"), "what was accepted is never unchanged")
    in_doubt(w, "other")
    ended = w.sync([delete("other"), put("d", "slow"), record("P2")])
    same((ended.rc, ended.status(1), w.position("R")), (0, "completed", "P2"), "a line ends a doubt as well")


def held_by_retry(w):
    w.sync([put("d", "D"), put("e", "E"), record("P0")])
    w.script(POISON)
    w.sync([put("d", "poison"), put("e", "poison"), record("P1", since="P0")])
    w.script({"match": {"kind": "upsert", "path": "d"}, "do": {"refuse_objects": True}})
    w.sync([put("d", "new"), record("P2", since="P0")])
    w.script()
    ended = w.sync([put("d", "new"), record("P3", since="P0")])
    same((ended.rc, w.position("R")), (1, "P0"), "a document that a retry has stored holds a record without it")
    found = holders(w)
    same([(h["by"], h.get("path")) for h in found], [("a document", "e")], "--held names it")
    test("retry" in found[0]["reason"], "and says why", found)
    rc, out = typed(w, found[0]["command"])
    same((rc, out.split()), (0, ["d", "e"]), "the command prints what to list")
    ended = w.sync([put(p, "newest") for p in out.split()] + [record("P4", since="P0")])
    same((ended.rc, w.position("R"), holders(w)), (0, "P4", []), "listed, the changeset advances")


def held_by_open_lines(w):
    w.sync([put("x", "X"), record("P0")])
    ended = w.sync([put("d", "D"), record("P1", since="elsewhere"), put("e", "E"), record("P2", since="P0")])
    same([ended.of(n).get("why") for n in (2, 4)], ["not-from-here", "lines"], "a record that did not count")
    found = holders(w)
    same([(h["by"], h.get("path")) for h in found], [("a document", "d")],
         "leaves its lines open, which hold the next one")
    rc, out = typed(w, found[0]["command"])
    same((rc, out.split()), (0, ["d", "e"]), "the command prints what to list")
    w.sync([put("f", "F")])
    ended = w.sync([put(p, p) for p in "de"] + [record("P3", since="P0")])
    same([h.get("path") for h in holders(w)], ["f"], "so do lines of a run without a record")
    ended = w.sync([put(p, p) for p in "def"] + [record("P3", since="P0")])
    same((ended.rc, w.position("R"), holders(w)), (0, "P3", []), "listed, the changeset advances")


def not_held_by_the_next_block(w):
    for options in ((), ("--batch-size", "1", "--connections", "1")):
        ended = w.sync([put("a", "A"), record("P1"), put("u", "U", uncommitted=True)], "--force", *options)
        same((ended.rc, ended.statuses(3), w.position("R")), (0, ["completed"] * 3, "P1"),
             "text in no commit after a record does not hold it, batched %s" % " ".join(options))
        same(w.touched("R"), {"u"}, "but is to be listed again")
        w.ask("forget", "--all")


def held_by_itself(w):
    w.sync([put(p, p) for p in "abcd"] + [record("P0")])
    w.sync([put("a", "A"), record("P2", since="P1")])
    found = holders(w)
    same([(h["by"], typed(w, h["command"])) for h in found], [("the record", (0, "P0\n"))],
         "not-from-here: the command prints the position to begin at")
    w.sync([put("a", "A"), record("P2", since="P0")])
    same((w.position("R"), holders(w)), ("P2", []), "from there, it advances")
    w.sync([put("a", "A"), record("P3", complete=True)])
    found = holders(w)
    same([(h["by"], w.position("R")) for h in found], [("the record", "P2")], "too-many-deletes")
    option = re.findall("--max-delete [0-9]+", found[0]["advice"])
    same(option, ["--max-delete 3"], "the advice has the number")
    ended = w.sync([put("a", "A"), record("P3", complete=True)], *option[0].split())
    same((ended.rc, w.position("R"), sorted(w.documents())), (0, "P3", [("R", "a")]), "which is enough")
    w.script(POISON)
    w.sync([put("p", "poison"), record("P4", complete=True)], "--max-delete", "9")
    found = holders(w)
    same([(h["by"], sorted(w.documents())) for h in found], [("the record", [("R", "a")])], "incomplete")
    w.script()
    ended = w.sync([put("p", "mended"), record("P4", complete=True)], "--max-delete", "9")
    same((ended.rc, w.position("R"), sorted(w.documents())), (0, "P4", [("R", "p")]), "complete, it advances")


# ---- skip ----


def skip_line(w):
    w.script(POISON)
    run = w.sync([put("p", "poison"), record("P1")]).results[0]["run"]
    for wrong, rc in (("%s:9" % run, 1), ("%s:2" % run, 1), ("99:1", 64), ("nonsense:1", 64), (run, 64),
                      ("%s:" % run, 64), ("%s:x" % run, 64)):
        done = call(w, "skip", wrong)
        same((done.returncode, done.stdout), (rc, b""), "skip %s" % wrong)
        test(b"status --" in done.stderr, "says where to look")
    same((w.position("R"), status(w)[1]["failed"]), (None, 1), "and changes nothing")
    same((call(w, "skip").returncode, call(w, "skip", "1:1", "--path", "p").returncode), (64, 64), "usage")
    done = call(w, "skip", "1:1")
    same((done.returncode, done.stdout.decode().splitlines()),
         (0, ["accepted %s:1, R p (store-rejected)" % run, "the changeset of R moved to P1"]),
         "a failed line, by the number of its run")
    same(call(w, "skip", "1:1").returncode, 1, "once")
    w.sync([put("q", "poison")], "--no-retry")
    w.sync([put("r", "poison")], "--no-retry")
    same((call(w, "skip", "3:1").returncode, [f["path"] for f in status(w, "--failed")[1]["failures"]]),
         (0, ["q"]), "the line of that run alone")
    call(w, "skip", "2:1")
    w.store.clear_log()
    ended = w.sync([put("e", "E")])
    same((ended.rc, [r["line"] for r in ended.results]), (0, [1]), "it is not tried again")
    same(w.sync([put("p", "poison")]).status(1), "failed", "but its document can fail again")


def skip_counts(w):
    """What was accepted counts as skipped, and what it released as completed."""
    w.script(POISON)
    w.sync([put("a", "A"), put("p", "poison"), '{"broken', record("P1"), put("q", "poison")])
    same([call(w, "skip", "1:%d" % n).returncode for n in (2, 3)], [0, 0], "two of three are accepted")
    rc, s = status(w)
    same((rc, lines_of(s["run"])), (1, {"completed": 2, "skipped": 2, "failed": 1}), "and counted so")
    same(call(w, "skip", "1:5").returncode, 0, "the third")
    rc, s = status(w)
    same((rc, lines_of(s["run"])), (0, {"completed": 2, "skipped": 3}), "then all is well, says status")
    same(call(w, "status", "--max-age", "1h").returncode, 1, "but it was no clean run")


def skip_and_resume(w):
    lines = [put("a", "A"), put("p", "poison"), record("P1"), put("s", "slow"), put("b", "B"), record("P2")]
    with Under(w, lines):
        pass
    same(lines_of(status(w)[1]["run"]), {"completed": 1, "failed": 1}, "a run is killed")
    same(call(w, "skip", "1:2").returncode, 0, "its failed line is accepted")
    ended = w.sync(lines)
    same((ended.rc, ended.status(2), ended.of(2).get("resumed")), (0, "skipped:accepted", True),
         "and not done again")
    run = status(w)[1]["run"]
    same((run["status"], lines_of(run), w.position("R")),
         ("completed", {"completed": 5, "skipped": 1}, "P2"), "each line counts once")


def skip_with_a_doubt(w):
    """A document that a killed run left under way holds, before another run has begun as well."""
    w.sync([put("b", "B"), record("P0")])
    w.script(POISON)
    w.sync([put("p", "poison"), record("P1", since="P0")])
    with Under(w, [put("b", "slow")], "--no-retry"):
        pass
    done = call(w, "skip", "2:1")
    same((done.returncode, w.position("R")), (0, "P0"), "what failed is accepted, what is in doubt holds")
    test(b"still held" in done.stdout, "and that is said", done.stdout)
    same([h.get("path") for h in holders(w)], ["b"], "--held names the document")
    same((call(w, "skip", "--path", "b", "--repo", "R").returncode, w.position("R")), (0, "P1"),
         "accepted as well, it releases")


def skip_path(w):
    w.script(POISON)
    w.sync([put("p", "poison"), put("p", "poison", "S"), record("P1"), record("S1", "S")])
    done = call(w, "skip", "--path", "p")
    same((done.returncode, w.position("R"), w.position("S")), (1, None, None), "skip --path without its --repo")
    test(b"--repo" in done.stderr, "says what is missing", done.stderr)
    done = call(w, "skip", "--path", "p", "--repo", "S")
    same((done.returncode, w.position("R"), w.position("S")), (0, None, "S1"), "of one repository alone")
    same(call(w, "skip", "--path", "p", LINESYNC_REPO="R").returncode, 0, "the repository from the environment")
    same(w.position("R"), "P1", "is released as well")
    w.sync([put("p", "poison", ""), record("E1", "")])
    same((call(w, "skip", "--path", "p").returncode, w.position("")), (0, "E1"), "of the repository without a name")


def skip_doubt_and_failure(w):
    """The failure of a document that is in doubt as well: skip --path accepts both."""
    in_doubt(w, "d")
    w.script({"match": {"kind": "upsert", "content": "poison"}, "do": {"refuse_objects": True}})
    w.sync([put("d", "poison"), record("P2")])
    done = call(w, "skip", "--path", "d", "--repo", "R")
    same((done.returncode, len(done.stdout.splitlines()), w.position("R")), (0, 3, "P2"), "both are accepted")


def skip_in_flight(w):
    """What was accepted is never taken for unchanged, neither as it was before nor as absent."""
    w.sync([put("d", "D"), delete("e"), record("P0")])
    for path, line in (("d", put("d", "D")), ("e", delete("e"))):
        with Under(w, [put(path, "slow")], "--new-run"):
            pass
        same(call(w, "skip", "--path", path, "--repo", "R").returncode, 0, "a request under way is accepted")
        same(call(w, "skip", "--path", path, "--repo", "R").returncode, 1, "once")
        same(w.sync([line], "--new-run").status(1), "completed", "the same line as before is done again")
    same(w.documents(), {("R", "d"): "D"}, "and the store is as it says")


def skip_folder(w):
    w.write_file("X", "newdir/f", "text")
    run = w.sync([from_file("newdir/", "X"), record("X1", "X")]).results[0]["run"]
    same([h["by"] for h in holders(w, "X")], ["%s:1" % run], "a folder holds")
    same(typed(w, holders(w, "X")[0]["command"])[0], 0, "its line can be accepted")
    same((w.position("X"), status(w)[1]["failed"]), ("X1", 0), "and is released")


def skip_rename(w):
    """Both halves of a rename are one line."""
    w.sync([put("old", "O"), record("P0")])
    w.script(POISON, {"match": {"kind": "delete"}, "times": 3, "do": {"status": 422}})
    lines = [{"repo": "R", "op": "rename", "old_path": "old", "path": "new", "content": "poison"}, record("P1")]
    ended = w.sync(lines)
    same((ended.rc, ended.status(1)), (1, "failed"), "a rename fails")
    same([f["path"] for f in status(w, "--failed")[1]["failures"]], ["new", "old"], "with both halves")
    same(call(w, "export", "--failed").stdout, as_line(lines[0]) + b"\n", "exported, it is one line")
    same((call(w, "skip", "2:1").returncode, w.position("R"), status(w, "--failed")[1]["failures"]),
         (0, "P1", []), "accepted, nothing of it is left")


# ---- forget ----


def two_repositories(w):
    w.script(POISON)
    w.sync([put("a", "A"), put("b", "B"), record("P1"), put("a", "A", "S"), record("S1", "S"),
            put("p", "poison"), put("p", "poison", "S"), record("P2")])
    w.script()


def forget_one(w):
    two_repositories(w)
    done = call(w, "forget", "R")
    same(done.returncode, 0, "forget one repository")
    same((w.position("R"), w.position("S")), (None, "S1"), "its position is dropped, not the other's")
    same([(f["repo"], f["path"]) for f in status(w, "--failed")[1]["failures"]], [("S", "p")],
         "its failures too")
    same((status(w)[1]["documents"], holders(w)), (1, []), "its documents, and what it held")
    same(len(w.documents()), 3, "the store is as it was")
    w.store.clear_log()
    ended = w.sync([put("a", "A"), put("a", "A", "S")], "--no-retry")
    same(ended.statuses(2), ["completed", "skipped:unchanged"], "its documents are sent again, others not")
    with w.store.lock:
        kinds = [e["kind"] for e in w.store.log]
    same("get" in kinds and kinds.index("get") < kinds.index("upsert"), True, "after the collection was read")
    same(w.repos()["R"]["documents"], 2, "which tells what it held besides")
    call(w, "forget", "R")
    same(sorted(w.repos()), ["S"], "--repos lists it no more")
    for wrong in ("R", "T"):
        done = call(w, "forget", wrong)
        same((done.returncode, done.stdout), (1, b""), "an unknown repository is refused")
    same((call(w, "forget").returncode, call(w, "forget", "R", "--all").returncode), (64, 64), "usage")


def forget_all(w):
    two_repositories(w)
    w.sync([put("c", "C", "")], "--no-retry")
    same(text(w, "forget", "").split(",")[0], "forgot 1 document of ''", "the repository without a name")
    w.sync([delete("c", "")], "--no-retry")
    same(call(w, "forget", "--all").returncode, 0, "forget --all")
    s = status(w)[1]
    same((s["documents"], s["failed"], s["held"], s["repositories"]), (0, 0, 0, 0), "nothing is known")
    same((w.ask("changeset"), len(w.documents())), ((1, ""), 3), "no position; the store is as it was")
    ended = w.sync([put("a", "A")], "--embed", "hash:8")
    same((ended.rc, ended.status(1), w.repos()["S"]["documents"]), (0, "completed", 1), "then it is read again")


def forget_delete(w):
    two_repositories(w)
    w.script({"match": {"kind": "delete"}, "times": 1, "do": {"status": 503}})
    done = call(w, "forget", "R", "--delete")
    same((done.returncode, w.documents()), (0, {("S", "a"): "A"}), "forget --delete: its objects are gone")
    test(b"deleted 2 objects" in done.stdout, "and counted", done.stdout)
    same((w.position("R"), w.position("S")), (None, "S1"), "with the position")
    w.store.clear_log()
    ended = w.sync([put("a", "A"), put("a", "A", "S")], "--no-retry")
    same(ended.statuses(2), ["completed", "skipped:unchanged"], "the other repository is as it was")
    same((call(w, "forget", "--all", "--delete").returncode, w.documents()), (0, {}), "of all")
    ended = w.sync([put("a", "A")], "--no-retry")
    same((ended.rc, ended.status(1), w.documents()), (0, "completed", {("R", "a"): "A"}), "and fed again")


def forget_too_large(w):
    """More objects than the store takes in one request."""
    w.sync([put("f%d" % n, "text %d" % n) for n in range(12)])
    w.script({"match": {"kind": "delete", "min_objects": 4}, "do": {"status": 413}})
    done = call(w, "forget", "R", "--delete")
    same((done.returncode, w.documents()), (0, {}), "a delete that is refused as too large is halved")
    test(b"deleted 12 objects" in done.stdout, "and each object counted once", done.stdout)
    w.sync([put("f%d" % n, "text %d" % n) for n in range(3)])
    w.script({"match": {"kind": "delete"}, "do": {"status": 413}})
    done = call(w, "forget", "R", "--delete")
    same((done.returncode, len(w.documents()), done.stderr.count(b"cannot delete objects")), (78, 3, 1),
         "one that is refused alone ends it")


def forget_refused(w):
    """Where the store cannot be asked, or is another one, nothing is forgotten."""
    two_repositories(w)
    before = exported(w)
    w.script({"match": {"kind": "collection_get|collection_create|preflight|heartbeat|version"},
              "do": {"status": 503}})
    done = call(w, "forget", "--all", "--delete")
    same((done.returncode, done.stdout), (75, b""), "a store that is away")
    w.script()
    done = call(w, "forget", "--all", "--delete", "--store", "chroma:http://127.0.0.1:9")
    same((done.returncode, done.stdout), (78, b""), "another store")
    done = call(w, "forget", "--all", "--delete", "--collection", "Other")
    same((done.returncode, done.stdout), (78, b""), "another collection")
    w.script({"match": {"kind": "collection_get"}, "do": {"status": 401}})
    same(call(w, "forget", "--all", "--delete").returncode, 77, "not authorised")
    w.script()
    same((exported(w) == before, len(w.documents())), (True, 3), "state and store are as they were")


def forget_killed(w):
    """Killed while it deletes: what is gone is never taken for unchanged."""
    w.sync([put("a", "A"), put("b", "B"), record("P1"), put("a", "A", "S")])
    children = []
    w.store.on_applied = lambda _n, call_: children and call_.kind == "delete" and children[0].kill()
    children.append(subprocess.Popen([program(), "forget", "R", "--delete"], env=w.env, cwd=w.dir,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    same((children[0].wait(600), w.documents()), (-signal.SIGKILL, {("S", "a"): "A"}),
         "killed when the objects are gone")
    w.store.on_applied = None
    same(w.position("R"), None, "the position is dropped already")
    ended = w.sync([put("a", "A"), put("b", "B"), put("a", "A", "S")])
    same((ended.rc, ended.statuses(3), len(w.documents())),
         (0, ["completed", "completed", "skipped:unchanged"], 3), "they are stored again, others not")


def forget_doubt(w):
    """What may be under way may still arrive: --delete removes that as well, and the doubt stays."""
    in_doubt(w, "d")
    same(call(w, "forget", "R", "--delete").returncode, 0, "a repository with a document in doubt")
    same(w.documents(), {}, "is deleted")
    deleted = [i for kind, ids in w.writes() if kind == "delete" for i in ids]
    same(len(set(deleted)), 2, "with what may be under way")
    same(w.touched("R"), {"d"}, "the doubt stays")


def forget_open_run(w):
    lines = [put("a", "A"), put("s", "slow")]
    with Under(w, lines):
        same(call(w, "forget", "R").returncode, 75, "not while another works on the state")
        done = call(w, "skip", "1:1")
        same(done.returncode, 75, "nor skip")
        test(b"--wait-lock" in done.stderr, "which says how to wait", done.stderr)
    same(call(w, "forget", "R").returncode, 0, "a run that could go on is given up")
    ended = w.sync(lines)
    same((ended.rc, [bool(r.get("resumed")) for r in ended.results]), (0, [False, False]), "a new one begins")
    same(status(w)[1]["run"]["number"], 2, "with its own number")


# ---- changeset ----


def changeset(w):
    same(w.ask("changeset", "R"), (1, ""), "nothing synced yet: no position")
    w.sync([put("a", "A")])
    done = call(w, "changeset")
    same((done.returncode, done.stdout, b"no repository has a position" in done.stderr), (1, b"", True),
         "a list of none, and why")
    w.sync([put("a", "A"), put("b", "B", "S"), record("S-1", "S", branch="main"), put("c", "C")])
    done = call(w, "changeset", "R")
    same((done.returncode, done.stdout), (1, b""), "no record: no position")
    test(b"no position" in done.stderr, "which is said")
    same(call(w, "changeset", "S").stdout, b"S-1\n", "the plain commit")
    same([x.split()[::2] for x in text(w, "changeset").splitlines()], [["S-1", "S"]], "the list")
    w.sync([put("a", "A"), put("c", "C"), record("P1"), put("x", "X", "a/ä %"), record("U1", "a/ä %")])
    same([(x.split()[0], x.split(None, 2)[2]) for x in text(w, "changeset").splitlines()],
         [("P1", "R"), ("S-1", "S"), ("U1", "a/ä %")], "all positions, by name")
    out = os.path.join(w.dir, "out")
    os.mkdir(out)
    same(call(w, "changeset", "S", "--dir", out).returncode, 0, "--dir for one")
    same(os.listdir(out), ["S.changeset"], "writes its file alone")
    with open(os.path.join(out, "S.changeset"), encoding="utf-8") as f:
        same(json.load(f), {"commit": "S-1", "branch": "main"}, "which has the whole record")
    same(call(w, "changeset", "--dir", out).returncode, 0, "--dir for all")
    same(sorted(os.listdir(out)), ["R.changeset", "S.changeset", "a%2F%C3%A4%20%25.changeset"],
         "names are percent-encoded")
    same(call(w, "changeset", "--dir", os.path.join(w.dir, "nowhere")).returncode, 74, "no such folder")
    same([call(w, "changeset", *a).returncode for a in (["-z"], ["R", "-z"], ["R", "S"], ["R", "--touched", "R"])],
         [64] * 4, "usage")


def long_names(w):
    """changeset --dir: names that no file system takes get short ones, each its own."""
    names = ["構" * 27, "構" * 28, "構" * 100, "構" * 101, "x" * 245, "x" * 246, "x" * 58 + "ä" * 60, "x" * 59 + "ä" * 60,
             "x" * 60 + "ä" * 60, "%" * 100, "kept"]
    w.sync([line for n in names for line in (put("a", "A", n), record("C-%d" % names.index(n), n))])
    out = os.path.join(w.dir, "out")
    os.mkdir(out)
    same(call(w, "changeset", "--dir", out).returncode, 0, "all are written")

    def file_of(name):
        whole = urllib.parse.quote(name, safe="-._~")
        if len(whole) + len(".changeset") <= 255:
            return whole + ".changeset"
        return re.sub("%.?$", "", whole[:60]) + "+" + hashlib.sha256(name.encode()).hexdigest()[:32] + ".changeset"
    same(sorted(os.listdir(out)), sorted(map(file_of, names)), "under the names that the manual says")
    test(len(set(map(file_of, names))) == len(names), "each under its own")
    for i, n in enumerate(names):
        with open(os.path.join(out, file_of(n)), encoding="utf-8") as f:
            same(json.load(f)["commit"], "C-%d" % i, "%s... has its record" % n[:5])
    before = sorted(os.listdir(out))
    same((call(w, "changeset", names[1], "--dir", out).returncode, sorted(os.listdir(out))), (0, before), "and again")
    for n in names:
        os.unlink(os.path.join(out, file_of(n)))
    os.makedirs(os.path.join(out, file_of(names[4]), "in the way"))
    done = call(w, "changeset", "--dir", out)
    same((done.returncode, len(done.stdout.splitlines()), len(os.listdir(out))), (74, len(names), len(names)),
         "one that cannot be written keeps no other from it")
    test(b"cannot write" in done.stderr and b"directory" in done.stderr.lower(), "and is named", done.stderr)
    same([n for n in os.listdir(out) if n.startswith(".")], [], "nothing else is left there")


def touched(w):
    same(w.ask("changeset", "--touched", "R"), (1, ""), "--touched without a state")
    names = ["plain", 'qu"ötë', "tab\there", "back\\slash", "new\nline", "ünï", "sp ace"]
    quoted = ["plain", '"qu\\"ötë"', '"tab\\there"', '"back\\\\slash"', '"new\\nline"', "ünï", "sp ace"]
    w.sync([put(n, n) for n in names] + [put("other", "O", "S")])
    same(text(w, "changeset", "--touched", "R", "-z").split("\0"), sorted(names, key=str.encode) + [""],
         "no position: all that the state knows, sorted, each ended by NUL")
    same(text(w, "changeset", "--touched", "R").splitlines(),
         [q for _, q in sorted(zip(names, quoted), key=lambda x: x[0].encode())], "or quoted as git does")
    w.sync([put(n, n) for n in names] + [record("P1")])
    same(w.touched("R"), set(), "nothing after the position")
    w.script(POISON)
    w.sync([put("plain", "new"), put("ünï", "poison"), put("gone", "G", uncommitted=True)])
    same(w.touched("R"), {"plain", "ünï", "gone"}, "what was changed and what failed since")
    w.script()
    w.sync([put("plain", "new"), put("ünï", "new"), put("gone", "G", uncommitted=True), record("P2")])
    same(w.touched("R"), {"gone"}, "text that is in no commit")
    same(w.touched("S"), {"other"}, "another repository has its own")
    same(w.touched("T"), set(), "an unknown one has nothing")
    with Under(w, [put("plain", "slow")]):
        same(w.touched("R"), {"gone", "plain"}, "what is under way")
    same(w.touched("R"), {"gone", "plain"}, "and stays in doubt")


def whole(w):
    """Positions at which everything has been listed once, and those that are believed."""
    w.sync([put("a", "A"), record("P1", complete=True), put("b", "B", "S"), record("S1", "S"),
            put("c", "C", "T")])
    same([w.ask("changeset", "--whole", r) for r in ("R", "S", "T")], [(0, "P1\n"), (1, ""), (1, "")],
         "of one repository: only a whole one")
    test(b"'S' stands at 'S1' as told" in call(w, "changeset", "--whole", "S").stderr, "what it is else")
    test(b"'T' has no position yet" in call(w, "changeset", "--whole", "T").stderr, "or that there is none")
    same([w.position(r) for r in "RST"], ["P1", "S1", None], "without --whole both count")
    same([x.split()[::2] for x in text(w, "changeset", "--whole").splitlines()], [["P1", "R"]], "the list")
    out = os.path.join(w.dir, "out")
    os.mkdir(out)
    same([call(w, "changeset", "--whole", *a, "--dir", out).returncode for a in ((), ("R",), ("S",))], [0, 0, 1],
         "--dir")
    same(os.listdir(out), ["R.changeset"], "writes the whole ones")
    touched_by = {r: (w.touched(r), set(text(w, "changeset", "-z", "--whole", "--touched", r).split("\0")[:-1]))
                  for r in "RST"}
    same(touched_by, {"R": (set(), set()), "S": (set(), {"b"}), "T": ({"c"}, {"c"})},
         "--touched: where no position counts, all that the state knows")
    same([r["whole"] for r in status(w, "--repos")[1]["repos"]], [True, False, False], "status --repos")
    table = [re.split("  +", x.strip())[:3] for x in text(w, "status", "--repos").splitlines()]
    same(table, [["REPOSITORY", "POSITION", "IT IS"], ["R", "P1", "whole"], ["S", "S1", "as told"],
                 ["T", "-", "-"]], "also as a table")
    exported = [json.loads(x) for x in text(w, "export").splitlines()]
    same([x["whole"] for x in exported if x["type"] == "repository"], [True, False, False], "export")
    w.script(POISON)
    w.sync([put("a", "poison"), record("P2", since="P1"), put("b", "poison", "S"), record("S2", "S", since="S1")])
    same([(r["held"], r["held_whole"]) for r in status(w, "--repos")[1]["repos"][:2]],
         [("P2", True), ("S2", False)], "what is held says what it will be")
    w.sync([put("a", "A"), put("b", "B", "S")], "--no-retry")
    same([(r["position"], r["whole"]) for r in status(w, "--repos")[1]["repos"][:2]],
         [("P2", True), ("S2", False)], "and so it is, released")
    w.ask("forget", "R")
    w.sync([put("a", "A")])
    same([(r["position"], r["whole"]) for r in status(w, "--repos")[1]["repos"][:1]], [(None, False)], "forgotten")
    w.ask("forget", "--all")
    done = call(w, "changeset", "--whole")
    same((done.returncode, done.stdout, b'"complete":true' in done.stderr), (1, b"", True),
         "none, and what makes one")


def skip_makes_whole(w):
    w.script(POISON)
    run = w.sync([put("a", "A"), put("p", "poison"), record("P1")]).results[0]["run"]
    w.ask("skip", run + ":2")
    same((w.position("R"), w.repos()["R"]["whole"]), ("P1", False), "what skip releases is as told")
    w.sync([put("a", "A"), record("P2", complete=True)])
    run = w.sync([put("p", "poison"), record("P3", since="P2")]).results[0]["run"]
    w.ask("skip", run + ":1")
    same((w.position("R"), w.repos()["R"]["whole"]), ("P3", True), "or whole, as it was held")


# ---- readers ----


def readers(w):
    """While a run commits, whoever asks sees one moment of it, and does not hold it up."""
    w.sync([put("f", "F", "old%d" % i) for i in range(200)])
    n = 90
    lines = [put("f%d" % i, "text %d" % i if i % 3 else "poison") for i in range(n)]
    w.script(POISON)
    ended, looks = [], threading.Semaphore(0)

    def wait_for_a_look(_n, call):
        if call.kind == "upsert" and not looks.acquire(timeout=600):
            raise RuntimeError("nobody looks")
    sync = threading.Thread(target=lambda: ended.append(w.sync(lines, "--batch-size", "1", on_request=wait_for_a_look)))
    sync.start()
    seen, odd, exports = [], [], []
    while sync.is_alive():
        for options in ((), ("--repos",), (), ("--runs",), (), ("--held",), (), ("--failed",)):
            looks.release(4)    # so far the run may come meanwhile
            done = call(w, "status", "--json", *options)
            s = json.loads(done.stdout)
            if not options and s["run"]["number"] == 2:
                seen.append(s["run"]["lines"]["completed"])
                if (s["documents"], s["failed"]) != (200 + seen[-1], s["run"]["lines"]["failed"]):
                    odd.append(s)
        call(w, "changeset", "--touched", "R", "-z")
        names = [x["path"] for x in exported(w)["document"] if x["repo"] == "R"]
        exports.append(len(names) == len(set(names)) and names == sorted(names) and len(names))
    sync.join()
    same((ended[0].rc, len(ended[0].results)), (1, n), "the run comes to its end")
    test(len(seen) > 3 and seen == sorted(seen), "status follows it", seen)
    same(odd, [], "each look sees one moment")
    test(False not in exports and exports == sorted(exports), "export has each document once", exports)
    s = status(w)[1]
    same((s["documents"], s["failed"]), (200 + n - n // 3, n // 3), "at the end, all is there")


def slow_reader(w):
    """One that nobody reads from keeps no lock."""
    w.sync([put("%04d" % i + "x" * 200, "x") for i in range(1000)])
    with subprocess.Popen([program(), "export"], env=w.env, cwd=w.dir, stdout=subprocess.PIPE) as reader:
        waiting = [0]
        until = time.monotonic() + 60000
        while waiting[0] < 65536 and time.monotonic() < until:
            waiting = struct.unpack("i", fcntl.ioctl(reader.stdout, termios.FIONREAD, b"1234"))
            time.sleep(0.01)
        same(waiting[0], 65536, "export waits for its reader")
        ended = w.sync([put("new", "N")], limit=600)
        same((ended.rc, w.repos()["R"]["documents"]), (0, 1001), "a sync goes on meanwhile")
        out = [json.loads(x) for x in reader.stdout.read().splitlines()]
        names = [x["path"] for x in out if x["type"] == "document"]
        same((len(names) >= 1000, names == sorted(set(names)), reader.wait(600)), (True, True, 0),
             "and the rest is as it should be")


# ---- export ----


def exported(w, *args):
    """What `export` prints: its records by type."""
    done = call(w, "export", *args)
    same((done.returncode, done.stderr), (0, b""), "export " + " ".join(ascii(a) for a in args))
    out = {}
    for line in done.stdout.splitlines():
        x = json.loads(line)
        out.setdefault(x.pop("type"), []).append(x)
    return out


def without(x, *names):
    return {k: v for k, v in x.items() if k not in names}


def export_state(w):
    w.script(POISON)
    w.sync([put("a", "A"), delete("gone"), record("P1", branch="main"), put("u", "U", uncommitted=True),
            put("p", "poison"), '{"broken', record("P2"), put("b", "B", "S")])
    with Under(w, [put("d", "slow"), delete("never")], "--no-retry"):
        before = files(w)
        out = exported(w)
        same((out["run"][1]["status"], files(w) == before), ("running", True), "while a run is under way")
    before, out = files(w), exported(w)
    same(files(w) == before, True, "nothing is changed")
    same(sorted(out), ["document", "failure", "mark", "repository", "run", "state"], "each kind of record")
    s = status(w)[1]
    same([(x["store"], x["collection"], x["documents"], x["layout"], x["embedder"], x["dimension"])
          for x in out["state"]], [(s["store"], "Code", 3, 2, "hash-1:8", 8)], "whose state it is")
    same([without(x, "settings") for x in out["run"]], status(w, "--runs")[1]["runs"], "runs, as status has them")
    test("root=" + w.root in out["run"][0]["settings"], "with their settings")
    same([without(x, "changeset", "held_changeset") for x in out["repository"]],
         status(w, "--repos")[1]["repos"], "repositories, too")
    same([x.get("changeset") for x in out["repository"]], [{"commit": "P1", "branch": "main"}, None],
         "with their changesets")
    same([x.get("held_changeset") for x in out["repository"]], [{"commit": "P2"}, None], "also held ones")
    same([without(x, "root", "folder") for x in out["failure"]], status(w, "--failed")[1]["failures"],
         "failed lines")
    run = out["run"][0]["run"]
    same([(x["repo"], x["path"], x["stored"], x["ordinal"], x["run"] == run, x.get("uncommitted"))
          for x in out["document"]],
         [("R", "a", True, 1, True, None), ("R", "gone", False, 2, True, None), ("R", "u", True, 4, True, True),
          ("S", "b", True, 8, True, None)], "documents")
    with w.store.lock:
        kept = {(m["repository"], m["file_path"]): m["sync_digest"] for c in w.store.by_name.values()
                for m in (x.metadata for x in c.records.values())}
    same({(x["repo"], x["path"]): x["digest"] for x in out["document"] if x["stored"]}, kept,
         "with the digest of what is stored")
    same([(x["path"], x["action"], x["in_doubt"], x["settled"]) for x in out["mark"]],
         [("d", "upsert", False, False)], "what was under way")
    w.again("--no-retry")
    same([(x["path"], x["in_doubt"]) for x in exported(w)["mark"]], [("d", True)], "then in doubt")
    w.sync([put("b", "B", "S"), record("S1", "S")])
    w.sync([put("b", "B", "S")])
    out = exported(w, "S")
    same([x.get("same") for x in out["document"]], [True], "a document that is as at the position")
    same(([x["path"] for x in out["document"]], [x["repo"] for x in out["repository"]], "failure" in out),
         (["b"], ["S"], False), "of one repository")
    for args in (["--failed", "--documents"], ["-z"], ["--documents", "-z"], ["R", "S"]):
        same(call(w, "export", *args).returncode, 64, "usage: export %s" % " ".join(args))


def export_failed(w):
    """Fail, export, mend, feed again: nothing is left."""
    w.script(POISON)
    lines = [as_line(x) for x in (put("p", "poison"), b'{"repo":"R","path":"q", "content":"Q"', put("r", "R"),
                                  b'{"a\xff\x00\x01"', b'{"repo":"R","path":"s","op":"none"}\t',
                                  {"repo": "R", "op": "rename", "old_path": "r", "path": "t", "content": "poison"},
                                  record("P1"))]
    ended = w.sync(lines)
    same((ended.rc, ended.statuses(7)),
         (1, ["failed", "failed", "completed", "failed", "failed", "failed", "held"]), "five of seven lines fail")
    done = call(w, "export", "--failed")
    same((done.returncode, done.stderr, done.stdout.split(b"\n")),
         (0, b"", [lines[i] for i in (0, 1, 3, 4, 5)] + [b""]), "export --failed: exactly their bytes")
    same(call(w, "export", "--failed", "R").stdout.split(b"\n"), [lines[i] for i in (0, 4, 5)] + [b""],
         "of one repository: without those of none")
    same(call(w, "export", "--failed", "T").stdout, b"", "of another one, none")
    w.script()
    mended = done.stdout.replace(b'"Q"', b'"Q"}').replace(b'"none"', b'"modify","content":"S"')
    mended = mended.replace(lines[3] + b"\n", b"") + as_line(put("r", "R")) + b"\n" + as_line(record("P2")) + b"\n"
    fed = call(w, *w.options, "--no-retry", stdin=mended)
    same((fed.returncode, [json.loads(x)["status"] for x in fed.stdout.splitlines()].count("completed")), (0, 6),
         "mended and fed again, all are done")
    same((w.position("R"), status(w)[1]["failed"], call(w, "export", "--failed").stdout), ("P2", 0, b""),
         "and nothing is left")


def export_failed_pipe(w):
    """What fails again while it is exported is not exported again."""
    w.script(POISON)
    n = 3000
    w.sync([bad("f%d" % i) for i in range(n)])
    rc, out = typed(w, "linesync export --failed | linesync --root '%s' --late 0 -q | wc -l" % w.root)
    same((rc, out.strip()), (0, str(n)), "export --failed | linesync ends")
    same(status(w)[1]["failed"], n, "a document's newer failure has taken the place of the older one")
    run = status(w, "--runs")[1]["runs"][-1]
    same(lines_of(run), {"failed": n}, "and was fed once")


def export_not_kept(w):
    w.script(POISON)
    run = w.sync([put("p", "poison"), put("big", "poison" + "x" * 70000), "x" * 2000],
                 "--max-line", "80k").results[0]["run"]
    done = call(w, "export", "--failed")
    same((done.returncode, done.stdout.split(b"\n")), (1, [as_line(put("p", "poison")), b"x" * 2000, b""]),
         "a line that was not kept is not exported, the others are")
    test(("%s:2 was not kept (R big: store-rejected)" % run).encode() in done.stderr, "it is named", done.stderr)
    same(done.stderr.count(b"was not kept"), 1, "it alone")
    same([f["kept"] for f in status(w, "--failed")[1]["failures"]], [True, False, True], "status says so as well")


def export_nul(w):
    """Lines read with -z are exported so, and others not."""
    data = b"M\0gone\nfile\0R100\0a\0b\0"
    call(w, *w.options, "-z", "--input-format", "name-status", "--repo", "R", stdin=data)
    done = call(w, "export", "--failed", "-z")
    same((done.returncode, done.stdout, done.stderr), (0, data, b""), "export --failed -z: exactly their bytes")
    done = call(w, "export", "--failed")
    same((done.returncode, done.stdout), (1, b""), "without it they are left out")
    test(b"2 failed lines were read with -z" in done.stderr, "which is said", done.stderr)
    w.sync([bad("p")], "--no-retry")
    done = call(w, "export", "--failed", "-z")
    same((done.returncode, done.stdout), (1, data), "nor are others mixed in")
    test(b"1 failed line was read without -z" in done.stderr, "which is said", done.stderr)
    call(w, *w.options, "--repo", "S", "--no-retry", stdin=b"gone\n")
    done = call(w, "export", "--failed")
    test(b"different --repo" in done.stderr, "lines of several settings: a warning", done.stderr)
    done = call(w, "export", "--failed", "S")
    same((done.returncode, done.stdout, done.stderr), (0, b"gone\n", b""), "of one repository: none")
    call(w, *w.options, "--repo", "S", "--no-retry", "--uncommitted", stdin=b"away\n")
    test(b"or --uncommitted, which" in call(w, "export", "--failed", "S").stderr,
         "whether their texts are in a commit is a setting, too")


def export_documents(w):
    def git(*args):
        return subprocess.run(["git", "-C", os.path.join(w.root, "app"), *args], env=w.env, check=True, capture_output=True,
                              timeout=600).stdout

    if not shutil.which("git"):
        return report.note("there is no git")
    names = ["plain", "dir/a", "dir.b", "dir/sub/ü", "sp ace", 'qu"ötë', "tab\there", "new\nline", "back\\slash"]
    for n in names:
        w.write_file("app", n, "text of " + n)
    w.env.update(GIT_CONFIG_NOSYSTEM="1", GIT_CONFIG_GLOBAL="/dev/null")
    git("init", "-q")
    git("add", "-A")
    done = call(w, *w.options, "-z", "--input-format", "paths", "--repo", "app", stdin=git("ls-files", "-z"))
    same(done.returncode, 0, "the files of a repository are stored")
    w.sync([put("other", "O", "S")])
    same(call(w, "export", "--documents", "app", "-z").stdout, git("ls-files", "-z"),
         "--documents REPO -z is what git ls-files -z prints")
    same(call(w, "export", "--documents", "app").stdout, git("-c", "core.quotePath=off", "ls-files"),
         "and without -z, quoted like git's")
    out = exported(w, "--documents")
    same([(x["repo"], x["path"]) for x in out["document"]],
         [("S", "other")] + [("app", n) for n in sorted(names, key=str.encode)], "of all: records")
    same((list(out), {x["stored"] for x in out["document"]}), (["document"], {True}), "of documents alone")
    w.sync([delete("plain", "app")])
    same(call(w, "export", "--documents", "app").stdout.splitlines().count(b"plain"), 0, "a deleted one is gone")
    same("plain" in [x["path"] for x in exported(w)["document"]], True, "though the state knows of it")
    done = call(w, "export", "--documents", "unknown")
    same((done.returncode, done.stdout), (0, b""), "an unknown repository has none")


def export_output(w):
    """Where standard output is closed, or full."""
    w.sync([put("d%d/%s" % (i, "long" * 50), "x") for i in range(500)])
    for args in (["export"], ["export", "--documents"], ["export", "--documents", "R"]):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([program(), *args], env=w.env, stdout=full, stderr=subprocess.PIPE,
                                  check=False, timeout=600)
        same((done.returncode, b"cannot write standard output" in done.stderr), (74, True),
             "%s to a full disk" % " ".join(args))
        r, wr = os.pipe()
        os.close(r)
        done = subprocess.run([program(), *args], env=w.env, stdout=wr, stderr=subprocess.PIPE, check=False,
                              timeout=600)
        os.close(wr)
        same((done.returncode, done.stderr), (-signal.SIGPIPE, b""), "to nobody: ends quietly")


# ---- which state ----


def states(w):
    folder = os.path.join(w.dir, "states")
    env = {"LINESYNC_STATE": None, "LINESYNC_STATE_DIR": folder, "LINESYNC_COLLECTION": None,
           "LINESYNC_STORE": None}
    commands = (["status"], ["changeset"], ["skip", "1:1"], ["forget", "--all"], ["changeset", "R"],
                ["changeset", "--touched", "R"], ["export"], ["export", "--failed"])
    want = {"changeset": 1}
    for c in commands:
        done = call(w, *c, **env)
        same((done.returncode, done.stdout, os.path.exists(folder)), (want.get(c[0], 66), b"", False),
             "no state: %s" % " ".join(c))
        test(b"there is no state" in done.stderr, "says so", done.stderr)
    here = dict(LINESYNC_STATE=None, LINESYNC_STATE_DIR=folder)
    line = json.dumps(put("a", "A")).encode() + b"\n" + json.dumps(record("P1")).encode() + b"\n"
    same(call(w, "--root", w.root, stdin=line, **here).returncode, 0, "one state")
    same((call(w, "status", **env).returncode, call(w, "changeset", "R", **env).stdout), (0, b"P1\n"),
         "is taken without a name")
    same(call(w, "--root", w.root, stdin=line, **here, LINESYNC_COLLECTION="Other").returncode, 0, "two states")
    done = call(w, "status", **env)
    same((done.returncode, len(re.findall(rb"^run ", done.stdout, re.M))), (0, 2), "status lists all")
    done = call(w, "status", "--json", **env)
    same([json.loads(x)["collection"] for x in done.stdout.splitlines()], ["Code", "Other"],
         "as JSON, each on its line")
    for c in commands[1:]:
        done = call(w, *c, **env)
        same((done.returncode, done.stdout), (64, b""), "several states: %s" % " ".join(c))
        test(done.stderr.count(b"--state ") == 2, "lists them", done.stderr)
        option = re.findall(rb"--state (\S+): collection 'Other'", done.stderr)[0].decode()
    same(call(w, "changeset", "R", "--state", option, **env).stdout, b"P1\n", "one can be named by its file")
    same(call(w, "changeset", "R", "-c", "Other", **env).stdout, b"P1\n", "or its collection")
    done = call(w, "status", "-c", "None", **env)
    same((done.returncode, done.stdout), (66, b""), "another collection has none")
    with open(os.path.join(w.dir, "junk"), "wb") as f:
        f.write(b"junk" * 1000)
    for c in commands:
        same(call(w, *c, LINESYNC_STATE="junk").returncode, 74, "a file that is no state: %s" % " ".join(c))
    with open(os.path.join(w.dir, "junk"), "rb") as f:
        same(f.read(), b"junk" * 1000, "which is left as it is")


READING = (["status"], ["status", "--repos"], ["changeset"], ["changeset", "R"], ["changeset", "--touched", "R"],
           ["export"], ["export", "--failed"], ["search", "x"], ["check"], ["skip", "1:1"], ["forget", "--all"])


def unreadable(w):
    """Only what is not there is not there: no command takes an error for that."""
    loop = os.path.join(w.dir, "loop")
    os.symlink("loop", loop)    # what root cannot open either
    line = as_line(put("a", "A")) + b"\n"
    folder = {"LINESYNC_STATE": None, "LINESYNC_STATE_DIR": loop}
    unnamed = {**folder, "LINESYNC_STORE": None, "LINESYNC_COLLECTION": None}
    file = {"LINESYNC_STATE": os.path.join(loop, "s.tdb")}
    for what, env in (("a folder", unnamed), ("a state's folder", folder), ("a state", file)):
        for c in READING:
            done = call(w, *c, **env)
            said = done.stderr + (done.stdout if c == ["check"] else b"")
            same(done.returncode, 74, "%s that cannot be looked at: %s" % (what, " ".join(c)))
            test(b"Too many levels of symbolic links" in said, "it says why", said)
    done = call(w, "sync", "--dry-run", "--root", w.root, stdin=line, **file)
    same((done.returncode, done.stdout), (74, b""), "a dry run does not plan without it")
    here = os.path.join(w.dir, "some")
    env = {"LINESYNC_STATE": None, "LINESYNC_STATE_DIR": here}
    same(call(w, "--root", w.root, stdin=line + as_line(record("P1")) + b"\n", **env).returncode, 0, "a state")
    with open(os.path.join(here, "junk.tdb"), "wb") as f:
        f.write(b"junk")
    one = {**env, "LINESYNC_STORE": None}
    done = call(w, "changeset", "R", "-c", "Other", **one)
    same((done.returncode, done.stdout), (74, b""), "one that cannot be read may be the one that is meant")
    test(b"junk.tdb" in done.stderr and b"there is no state" not in done.stderr, "it is named", done.stderr)
    done = call(w, "changeset", "R", "-c", "Code", **one)
    same((done.returncode, done.stdout), (64, b""), "or another one than that which can")
    done = call(w, "status", **one, LINESYNC_COLLECTION=None)
    same((done.returncode, len(re.findall(rb"^run ", done.stdout, re.M))), (74, 1), "status shows the other")


def unreadable_lock(w):
    with Under(w, [put("slow", "slow")]):
        lock = w.state + ".lock"
        os.rename(lock, lock + ".away")
        os.symlink("nowhere", lock)
        for c in (["status"], ["status", "--json"], ["export"], ["check"]):
            done = call(w, *c)
            same(done.returncode, 74, "a lock that cannot be looked at: %s" % " ".join(c))
            test(b"cannot look at lock" in done.stderr + done.stdout, "it says so", done.stderr)
        os.unlink(lock)
        os.rename(lock + ".away", lock)
        same(status(w)[1]["running"], True, "one that can")


def make_states(w):
    """A folder with a good state of Code, a clean one of Other, and one that is none: (folder, environment)."""
    folder = os.path.join(w.dir, "states")
    env = {"LINESYNC_STATE": None, "LINESYNC_STATE_DIR": folder}
    lines = b"".join(as_line(x) + b"\n" for x in (put("a", "A"), put("b", "B"), record("P1"), bad("c")))
    same(call(w, "--root", w.root, stdin=lines, **env).returncode, 1, "a state with a failed line")
    same(call(w, "--root", w.root, "-c", "Other", stdin=as_line(put("a", "A")), **env).returncode, 0, "another")
    with open(os.path.join(folder, "junk.tdb"), "wb") as f:
        f.write(b"junk")
    return folder, env


def list_states(w):
    folder, env = make_states(w)
    done = call(w, "states", **env)
    same(done.returncode, 74, "one that cannot be read is said by the exit status")
    test(b"junk.tdb" in done.stderr and b"no linesync state" in done.stderr, "and on standard error", done.stderr)
    rows = [re.split(" {2,}", x) for x in done.stdout.decode().splitlines()]
    same(rows[0], ["FILE", "COLLECTION", "STORE", "DOCUMENTS", "LAST RUN", "STATUS", "SIZE"], "a table")
    store = w.env["LINESYNC_STORE"].replace("127.0.0.1", "localhost")
    same([(r[1], r[2], r[3], r[5]) for r in rows[1:3]],
         [("Code", store, "2", "failed"), ("Other", store, "1", "completed")], "what they know")
    same((sorted(r[0] for r in rows[1:]), rows[3][1:6]),
         (sorted(f for f in os.listdir(folder) if f.endswith(".tdb")), ["-", "-", "-", "-", "cannot be read"]),
         "all are there by their names")
    done = call(w, "states", "--json", **env)
    got = [json.loads(x) for x in done.stdout.splitlines()]
    same([(s.get("collection"), s.get("documents"), s.get("failed"), (s["run"] or {}).get("status"), "error" in s)
          for s in got], [("Code", 2, 1, "failed", False), ("Other", 1, 0, "completed", False),
                          (None, None, None, None, True)], "the same as JSON")
    same([s["bytes"] for s in got], [os.path.getsize(s["state"]) for s in got], "their sizes")
    done = call(w, "states", LINESYNC_STATE_DIR=os.path.join(w.dir, "nowhere"))
    same((done.returncode, done.stdout), (66, b""), "no folder, no states")


def remove_states(w):
    folder, env = make_states(w)
    names = sorted(f for f in os.listdir(folder) if f.endswith(".tdb"))
    other = os.path.join(folder, names[1])
    with open(other + ".new", "wb") as f:
        f.write(b"left behind")
    outside = os.path.join(w.dir, "letter.tdb")
    shutil.copy(os.path.join(folder, "junk.tdb"), outside)
    for name in (names[0][:-4], names[0][:10], "*.tdb", "../states/nothing.tdb"):
        same(call(w, "states", "--remove", name, **env).returncode, 66, "not exactly its name: %s" % name)
    same(call(w, "states", "--remove", outside, **env).returncode, 74, "a file elsewhere that is no state")
    same((os.path.exists(outside), sorted(f for f in os.listdir(folder) if f.endswith(".tdb"))), (True, names),
         "nothing was removed")
    done = call(w, "states", "--remove", names[1], **env)
    same((done.returncode, sorted(os.listdir(folder))), (0, [names[0], names[0] + ".lock", "junk.tdb"]),
         "a state goes with its lock and what was left of making it")
    test(b"1 document," in done.stdout and b"collection Other of " in done.stdout, "what is lost is said", done.stdout)
    done = call(w, "states", "--remove", "junk.tdb", **env)
    same((done.returncode, os.listdir(folder).count("junk.tdb")), (0, 0), "one that cannot be read goes, too")
    test(b"could not be read" in done.stdout, "and that is said", done.stdout)
    done = call(w, "states", "--remove", os.path.join(folder, names[0]), **env)
    same((done.returncode, os.listdir(folder)), (0, []), "by its path")
    test(b"2 documents, 1 repository, 1 failed line" in done.stdout, "what it knew", done.stdout)
    lines = as_line(put("a", "A")) + b"\n"
    done = call(w, "--root", w.root, stdin=lines, **env)
    same((done.returncode, json.loads(done.stdout)["status"]), (0, "completed"), "the next sync begins anew")


def remove_locked(w):
    with Under(w, [put("slow", "slow")]):
        done = call(w, "states", "--remove", w.state)
        same((done.returncode, os.path.exists(w.state), os.path.exists(w.state + ".lock")), (75, True, True),
             "not while a sync works on it")
        test(b"another linesync works on this state (pid " in done.stderr, "it says who", done.stderr)
    done = call(w, "states", "--remove", w.state)
    same((done.returncode, os.path.exists(w.state), os.path.exists(w.state + ".lock")), (0, False, False), "then it goes")
    test(b"1 request that may still arrive, 1 run that could go on" in done.stdout, "what may still come is said",
         done.stdout)


# ---- names ----


def hostile_names(w):
    """Names go to a terminal escaped, and the commands to type still mean them."""
    w.script(POISON)
    hostile = "R" + HOSTILE
    long = "l/" * 2000 + "g"
    w.sync([put(HOSTILE, "poison", hostile), put(long, "poison", hostile),
            record("P1", hostile, note=HOSTILE), put("ok" + HOSTILE, "OK", hostile)])
    w.sync(["{" + HOSTILE.replace("\n", "")], "--no-retry")
    same(exported(w, hostile)["document"][0]["path"], "ok" + HOSTILE, "export has the names")
    shown = on_terminal(w, "export", "--documents", hostile)
    test(b"ok" in shown and not acting(shown), "and shows them escaped", acting(shown), shown)
    for args in (["status"], ["status", "--failed"], ["status", "--held"], ["status", "--repos"],
                 ["status", "--failed", "--json"], ["status", "--held", "--json"], ["status", "--repos", "--json"],
                 ["changeset", "--touched", hostile], ["changeset", HOSTILE], ["export"],
                 ["export", "--failed"], ["export", HOSTILE],
                 ["status", "--run", HOSTILE], ["skip", HOSTILE + ":1"], ["skip", "--path", HOSTILE],
                 ["forget", HOSTILE], ["status", HOSTILE], [HOSTILE], ["status", "--" + HOSTILE]):
        shown = on_terminal(w, *args)
        test(shown and not acting(shown), "on a terminal: %s" % " ".join(args)[:30].encode("unicode_escape").decode(),
             acting(shown), shown)
    failures = [f for f in status(w, "--failed")[1]["failures"] if "path" in f]
    same([(f["repo"], f["path"]) for f in failures], [(hostile, HOSTILE), (hostile, long)], "JSON has the names")
    test(long in text(w, "status", "--failed"), "long ones are not cut")
    same(call(w, "skip", "--path", HOSTILE, "--repo", hostile).returncode, 0, "they can be given to skip")
    shown = on_terminal(w, "skip", "--path", long, "--repo", hostile)
    test(b"moved to P1" in shown and not acting(shown), "which shows them escaped", shown)
    same(call(w, "changeset", hostile).stdout, b"P1\n", "and to changeset")
    test(not acting(on_terminal(w, "changeset")), "whose list is escaped")
    same(call(w, "forget", hostile).returncode, 0, "and to forget")


def hostile_doubt(w):
    in_doubt(w, HOSTILE)
    released(w, ["a document"])


# ---- options of the filter ----


def requests_seen(w):
    with w.store.lock:
        return len(w.store.log)


def files(w):
    """Name, bytes and time of change of everything beside the root."""
    out = {}
    for name in sorted(os.listdir(w.dir)):
        if name != "root":
            with open(os.path.join(w.dir, name), "rb") as f:
                out[name] = (f.read(), os.stat(f.fileno()).st_mtime_ns)
    return out


def dry_run(w):
    w.write_file("R", "file", "text")
    w.write_file("R", "binary", "a\0b")
    lines = [put("a", "A"), delete("b"), from_file("file"), from_file("binary"), from_file("gone"),
             '{"broken', record("P1"), put("e", ""), "Detecting changes...   0% -:--:--", "",
             {"repo": "R", "op": "rename", "old_path": "a", "path": "n", "content": "N"}]
    planned = {1: "upsert", 2: "delete", 3: "upsert", 4: "delete:not-text", 7: "upsert", 8: "delete:empty",
               9: "skip:not-a-change", 11: "upsert"}

    def check(ended, want, name):
        got = {r["line"]: r.get("action", r["status"]) + (":" + r["reason"] if "reason" in r else "")
               for r in ended.results}
        same(got, {**want, 5: "failed", 6: "failed"}, name)
        same({r["status"] for r in ended.results if "action" in r}, {"planned"}, "each is planned")
        same((ended.rc, {r["run"] for r in ended.results}), (1, {"dry-run"}), "and two lines would fail")

    w.env["LINESYNC_STORE"] = "chroma:http://127.0.0.1:9"
    check(w.sync(lines, "--dry-run"), {**planned, 4: "skip:not-text", 8: "skip:empty"},
          "--dry-run without state and with no store running: what was never stored needs no delete")
    same(files(w), {}, "makes nothing")
    w.env["LINESYNC_STORE"] = "chroma:http://127.0.0.1:%d" % w.server.port
    w.sync([put("a", "A"), put("e", "E"), delete("b"), put("old", "O")])
    before, seen = files(w), requests_seen(w)
    check(w.sync(lines, "--dry-run"), {**planned, 1: "skip:unchanged", 2: "skip:unchanged", 4: "skip:not-text"},
          "with a state, what is there is skipped")
    check(w.sync(lines, "--dry-run", "--force"), planned, "with --force it is not")
    renames = [{"repo": "R", "op": "rename", "old_path": p, "path": "a", "content": "A"} for p in ("old", "b")]
    same([(r["action"], r.get("reason")) for r in w.sync(renames, "--dry-run").results],
         [("delete", None), ("skip", "unchanged")], "where a rename's new half is there, the old one goes")
    ended = w.sync([put("a", "A"), delete("b")], "--dry-run")
    same(ended.rc, 0, "without a failed line it exits 0")
    same((files(w) == before, requests_seen(w), len(w.documents())), (True, seen, 3),
         "neither state nor store has changed, no request was made")
    with Under(w, [put("a", "slow")]):
        before = files(w)
        same(w.sync([put("a", "A")], "--dry-run").results[0]["action"], "upsert",
             "a document under way is not unchanged; another linesync at work is no hindrance")
        same(files(w) == before, True, "and is left alone")
    ended = w.sync([put("a", "A")], "--dry-run", "--collection", "Other")
    same((ended.rc, ended.results), (78, []), "the state of another collection tells nothing")


def force(w):
    lines = [put("a", "A"), put("b", "B"), delete("c"), record("P1")]
    w.sync(lines)
    w.store.clear_log()
    same(w.sync(lines).statuses(3), ["skipped:unchanged"] * 3, "unchanged lines")
    same(w.writes(), [], "are not sent")
    ended = w.sync(lines, "--force")
    same((ended.rc, ended.statuses(3)), (0, ["completed"] * 3), "with --force they are done")
    same(sorted((kind, len(ids)) for kind, ids in w.writes()), [("delete", 1), ("upsert", 2)], "and sent")
    w.env["LINESYNC_FORCE"] = "yes"
    same(w.sync(lines).statuses(3), ["completed"] * 3, "also from the environment")
    w.env["LINESYNC_FORCE"] = "no"
    same(w.sync(lines).statuses(3), ["skipped:unchanged"] * 3, "which can say no")
    w.env["LINESYNC_FORCE"] = "perhaps"
    ended = w.sync(lines)
    same((ended.rc, ended.results), (64, []), "and nothing else")
    test("LINESYNC_FORCE" in ended.err, "a wrong one is named", ended.err)


def new_run(w):
    lines = [put("a", "A"), put("s", "slow"), put("b", "B")]
    with Under(w, lines):
        pass
    ended = w.sync(lines, "--new-run")
    same((ended.rc, [bool(r.get("resumed")) for r in ended.results]), (0, [False] * 3), "--new-run does not resume")
    same(ended.status(1), "skipped:unchanged", "but knows what is stored")
    test("--new-run" in ended.err, "and says why", ended.err)
    same([r["status"] for r in status(w, "--runs")[1]["runs"]], ["interrupted", "completed"],
         "the old run stays interrupted")


def wait_lock(w):
    w.sync([put("a", "A"), put("b", "B"), record("P1")])
    with Under(w, [put("c", "slow")]) as u:
        ended = w.sync([put("d", "D")])
        same((ended.rc, ended.results), (75, []), "one writer at a time")
        test("pid %d, " % u.child.pid in ended.err, "the other is told who", ended.err)
        ended = w.sync([put("d", "D")], "--wait-lock", "100ms")
        same((ended.rc, ended.results), (75, []), "--wait-lock waits so long")
        waiting = w.start("--wait-lock", "60")
        waiting.stdin.write(json.dumps(put("d", "D")).encode() + b"\n")
        waiting.stdin.close()
        forget = subprocess.Popen([program(), "forget", "R", "--wait-lock", "60"], env=w.env, cwd=w.dir,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    out = waiting.stdout.read()
    same((waiting.wait(600), json.loads(out)["status"]), (0, "completed"), "or until the other ends")
    same(forget.wait(600), 0, "also forget")
    waiting.stdout.close()
    waiting.stderr.close()


def environment(w):
    """The command line, then LINESYNC_*, then the default."""
    def run(*options, **env):
        return call(w, *options, "--root", w.root, stdin=b"src/a\n", **env)

    w.write_file("E", "src/a", "text")
    w.write_file("C", "src/a", "text")
    repo = lambda done: [json.loads(x).get("repo") for x in done.stdout.splitlines()]
    same(repo(run(LINESYNC_REPO="E")), ["E"], "from the environment")
    same(repo(run("--repo", "C", LINESYNC_REPO="E")), ["C"], "the command line comes first")
    same(repo(run("--repo", "C", LINESYNC_REPO="")), ["C"], "an empty variable counts as none")
    done = run("--repo", "C", LINESYNC_BATCH_SIZE="many")
    same((done.returncode, b"LINESYNC_BATCH_SIZE" in done.stderr), (64, True), "a wrong one is named")
    done = run("--repo", "C", "--batch-size", "1", LINESYNC_BATCH_SIZE="many")
    same(done.returncode, 0, "where the command line says it, the variable is not looked at")
    same(call(w, "status", LINESYNC_BATCH_SIZE="many").returncode, 0, "nor by commands that do not use it")
    same(repo(run("--repo", "C", LINESYNC_RESULTS="none")), [], "words")
    same(json.loads(run("--repo", "C", LINESYNC_EXCLUDE="x:src/*:y").stdout)["reason"], "excluded", "lists")
    same(json.loads(run("--repo", "C", LINESYNC_DRY_RUN="1").stdout)["run"], "dry-run", "flags")


TESTS = [counts, counts_failed, counts_held, counts_interrupted, counts_resumed,
         counts_resumed_files, counts_resumed_again, continued_has_no_end, exits_as_the_sync,
         running_only_by_its_own, percentage, max_age, runs, failed, repos, held_by_line,
         held_by_unknown, held_by_doubt, held_by_retry, held_by_open_lines,
         not_held_by_the_next_block, held_by_itself, skip_line, skip_counts, skip_and_resume,
         skip_with_a_doubt, skip_path, skip_doubt_and_failure, skip_in_flight, skip_folder,
         skip_rename, forget_one, forget_all, forget_delete, forget_too_large, forget_refused, forget_killed,
         forget_doubt, forget_open_run, changeset, long_names, touched, whole, skip_makes_whole, readers, slow_reader, export_state,
         export_failed, export_failed_pipe, export_not_kept, export_nul, export_documents,
         export_output, states, unreadable, unreadable_lock, list_states, remove_states,
         remove_locked, hostile_names, hostile_doubt, dry_run,
         force, new_run, wait_lock, environment]


if __name__ == "__main__":
    sys.exit(run_tests(TESTS))
