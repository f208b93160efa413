#!/usr/bin/env python3
"""readers.py [-v] [NAME...] - commands that read a state which is damaged, or which another process does
not let go of: what was read is printed, what was not is never told of as if it were not there, and none
waits for ever.  NAMEs: only these."""

import errno
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import HERE, as_line, program, put, record, report, run_tests  # noqa: E402

same, test = report.same, report.test
FAULTS = os.path.join(os.environ.get("abs_top_builddir", os.path.dirname(HERE)), "tests", "faults.so")
READING = (["status"], ["status", "--json"], ["status", "--summary"], ["status", "--runs"], ["status", "--failed"],
           ["status", "--held"], ["status", "--repos"], ["changeset"], ["changeset", "R"],
           ["changeset", "--touched", "R"], ["export"], ["export", "--failed"], ["export", "--documents", "R"],
           ["search", "--repo", "R", "x"], ["check"])


def call(w, *args, stdin=b"", **env):
    full = {k: v for k, v in {**w.env, **env}.items() if v is not None}
    return subprocess.run([program(), *args], env=full, cwd=w.dir, input=stdin, capture_output=True,
                          check=False, timeout=600)


def damage(w, path):
    """Changes a byte of the page that holds a document, in every copy of it."""
    digest = bytes.fromhex(w.objects()["R", path]["sync_digest"])
    with open(w.state, "r+b") as f:
        whole = f.read()
        for m in re.finditer(re.escape(digest), whole):
            f.seek(m.start())
            f.write(bytes([digest[0] ^ 1]))


def said_once(done, text=b"is damaged"):
    said = done.stderr + (done.stdout if text not in done.stderr else b"")
    return said.count(text) == 1


# ---- damage ----


def far_in(w):
    """A page among many: whatever comes before it in the list is there."""
    names = ["f%04d" % n for n in range(1500)]
    w.sync([put(n, n) for n in names])
    whole = call(w, "export").stdout.splitlines()
    damage(w, "f1000")
    done = call(w, "export")
    lines = done.stdout.splitlines()
    test(done.returncode == 74 and said_once(done), "export: 74, said once", done.returncode, done.stderr)
    documents = [json.loads(x)["path"] for x in lines if json.loads(x)["type"] == "document"]
    test(500 < len(documents) < 1001 and documents == names[:len(documents)], "with the documents before it",
         len(documents))
    same(lines, whole[:len(lines)], "and nothing in it is other than it was")
    done = call(w, "export", "--documents", "R")
    same((done.returncode, done.stdout.decode().split()), (74, documents), "their names")
    done = call(w, "changeset", "--touched", "R")
    same((done.returncode, done.stdout.decode().split()), (74, documents), "what was touched")
    lines = b"".join(as_line(put(n, n)) + b"\n" for n in ("f0000", "f0001", "f1000", "f0002"))
    done = call(w, "sync", "--dry-run", "--embed", "hash:8", "--root", w.root, stdin=lines)
    same((done.returncode, [json.loads(x)["reason"] for x in done.stdout.splitlines()]), (74, ["unchanged"] * 2),
         "a dry run tells of the lines before it, and plans nothing without it")


def everything(w):
    """The only page: nothing that is asked for is not there."""
    w.sync([put("a", "a"), record("P1")])
    damage(w, "a")
    for c in READING:
        done = call(w, *c)
        test(done.returncode == 74 and said_once(done), "%s: 74, said once" % " ".join(c), done.returncode,
             done.stderr, done.stdout)
        test(not re.search(rb"no position|no repository|no run|no failed|is held\n|nothing", done.stderr + done.stdout),
             "and not that there is nothing", done.stderr, done.stdout)
    for c in (["skip", "1:1"], ["forget", "R"]):
        same(call(w, *c).returncode, 74, "%s, too" % c[0])


def one_of_two(w):
    """status of several states."""
    w.sync([put("a", "a"), record("P1")])
    good = w.state
    folder = os.path.join(w.dir, "states")
    os.mkdir(folder)
    for damaged in ("b.tdb", "a.tdb"):
        w.state = os.path.join(folder, damaged)
        for name in ("a.tdb", "b.tdb"):
            shutil.copy(good, os.path.join(folder, name))
        damage(w, "a")
        env = {"LINESYNC_STATE": None, "LINESYNC_STATE_DIR": folder, "LINESYNC_STORE": None,
               "LINESYNC_COLLECTION": None}
        done = call(w, "status", **env)
        same((done.returncode, len(re.findall(rb"^run ", done.stdout, re.M))), (74, 1),
             "with %s damaged the other one is shown" % damaged)
        done = call(w, "status", "--json", **env)
        same((done.returncode, [os.path.basename(json.loads(x)["state"]) for x in done.stdout.splitlines()]),
             (74, [n for n in ("a.tdb", "b.tdb") if n != damaged]), "as JSON")
        done = call(w, "states", **env)
        test(done.returncode == 74 and said_once(done) and done.stdout.count(b"cannot be read") == 1 and
             done.stdout.count(b"completed") == 1, "and listed", done.stdout, done.stderr)


def no_folder(w):
    """A file in the place of the state folder is not a folder without states."""
    path = os.path.join(w.dir, "file")
    with open(path, "w", encoding="utf-8"):
        pass
    env = {"LINESYNC_STATE": None, "LINESYNC_STATE_DIR": path, "LINESYNC_STORE": None, "LINESYNC_COLLECTION": None}
    for args in (("changeset", "R"), ("status",), ("export",), ("states",)):
        done = call(w, *args, **env)
        same((done.returncode, b"Not a directory" in done.stderr), (74, True), " ".join(args))


def each_read(w):
    """Every read in turn fails: what is printed is as it is, or is not printed."""
    w.sync([put("a", "a"), put("b", "b"), record("P1"), {"repo": "R", "path": "c", "op": "nothing"}])
    w.sync([put("d", "d", uncommitted=True), record("P2", since="P1")])
    count = os.path.join(w.dir, "count")

    def fail(c, n):
        return call(w, *c, LD_PRELOAD=FAULTS, FAULT_CALL="pread", FAULT_AT=str(n), FAULT_ERRNO=str(errno.EIO),
                    FAULT_COUNT=count, ASAN_OPTIONS="verify_asan_link_order=0:detect_leaks=0")

    def goes_well(done, good, whole):
        """Tried again with success; or told as what it is, after a part of it.  whole: what is printed is
        gathered first."""
        if done.returncode == good.returncode:
            return (done.stdout, done.stderr) == (good.stdout, good.stderr)
        lines, got = good.stdout.splitlines(), done.stdout.splitlines()
        return done.returncode == 74 and (got == [] or whole or got == lines[:len(got)]) and \
            done.stderr.count(b"Input/output error") == 1 and b"move it away" not in done.stderr
    for c in (["export"], ["status"], ["status", "--failed"], ["status", "--held"], ["changeset", "R"], ["changeset"],
              ["changeset", "--touched", "R"]):
        good = fail(c, 0)
        with open(count, encoding="ascii") as f:
            reads = int(f.read())
        ended = [(n, fail(c, n)) for n in range(1, reads + 1)]
        wrong = [(n, e.returncode, e.stdout, e.stderr) for n, e in ended if not goes_well(e, good, c[0] == "status")]
        test(reads > 10 and not wrong, "%s, when each of %d reads fails" % (" ".join(c), reads), *wrong[:3])


# ---- a commit that does not end ----


def slow_sync(w):
    """A sync that waits for the store between two commits: (its process, how to end it)."""
    seen = threading.Event()
    w.script({"match": {"kind": "upsert"}, "do": {"hang": True}})
    w.store.on_request = lambda _n, call_: seen.set() if call_.kind == "upsert" else None
    child = w.start()
    child.stdin.write(as_line(put("slow", "slow")) + b"\n")
    test(seen.wait(600), "a sync is at work")

    def end():
        child.send_signal(signal.SIGKILL)
        child.communicate()
        w.store.on_request = None
        w.script()
        w.hung_up()
    return child, end


def in_a_commit(w):
    """What libtdb has locked during a commit: everything, or, before it comes to that, all but what is
    locked to open the file."""
    w.sync([put("a", "a"), record("P1")])
    child, end = slow_sync(w)
    readers = READING + (["search", "x"], ["states", "--state-dir", w.dir])
    for what, start in (("opens", 0), ("reads", 128)):
        with open(w.state, "r+b") as f:
            fcntl.lockf(f, fcntl.LOCK_EX, 0, start)
            running = [(c, subprocess.Popen([program(), *c], env=w.env, cwd=w.dir, stdin=subprocess.DEVNULL,
                                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)) for c in readers]
            for c, p in running:
                out, err = p.communicate(timeout=600)
                same(p.returncode, 75, "who %s does not wait for ever: %s" % (what, " ".join(c)))
                test(b"(pid %d, host " % child.pid in out + err, "and says for whom", out, err)
    for c in readers:
        done = call(w, *c)
        test(done.returncode in (0, 1) or c == ["check"], "the commit ended: %s" % " ".join(c), done.returncode,
             done.stderr)
    end()


TESTS = [far_in, everything, one_of_two, no_folder, each_read, in_a_commit]


if __name__ == "__main__":
    sys.exit(run_tests(TESTS))
