#!/usr/bin/env python3
"""state-faults.py [-v] [NAME...] - what must not be taken for something else in a state: a value that is
missing for one that never was, an error for damage, an older layout for none.  NAMEs: only these."""

import errno
import gzip
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import HERE, program, put, record, report, run_tests  # noqa: E402

same, test = report.same, report.test
FAULTS = os.path.join(os.environ.get("abs_top_builddir", os.path.dirname(HERE)), "tests", "faults.so")
DESTROYS = ("move it away", "forget --all", "is damaged")
UNREADABLE = {"repo": "A", "path": "b", "content_error": "no"}


def run(w, *args, lines=(), fault=None, keep=False):
    """linesync under a fault: (exit status, standard output, standard error, how often the call was
    made, where that is known)."""
    count = os.path.join(w.dir, "count")
    env = dict(w.env)
    if fault:
        call, at, error, *on = fault
        env.update(LD_PRELOAD=FAULTS, FAULT_CALL=call, FAULT_AT=str(at), FAULT_ERRNO=str(error),
                   FAULT_COUNT=count, ASAN_OPTIONS="verify_asan_link_order=0:detect_leaks=0")
        if on:
            env["FAULT_ON"] = "1"
    if os.path.exists(count) and not keep:
        os.unlink(count)
    done = subprocess.run([program(), *args], env=env, cwd=w.dir, check=False, timeout=120,
                          input="".join(json.dumps(x) + "\n" for x in lines).encode(), capture_output=True)
    seen = 0
    if os.path.exists(count):
        with open(count, encoding="ascii") as f:
            seen = int(f.read())
    if w.verbose:
        report.note("linesync %s %s -> %d\n%s" % (" ".join(args), fault, done.returncode, done.stderr.decode()))
    return done.returncode, done.stdout.decode(), done.stderr.decode(), seen


def read(path):
    with open(path, "rb") as f:
        return f.read()


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)


def fill(w):
    """A state with a position, a held changeset and a failed line; returns its bytes."""
    w.sync([put("a", "one\n", "A"), UNREADABLE, record("c1", "A"), put("x", "x\n", "B"), record("b1", "B")])
    return read(w.state)


# ---- what is missing ----

def a_flipped_bit_hides_the_head(w):
    whole = bytearray(fill(w))
    key = b"\x99\x19\x01&H" + bytes(8)    # TDB's mark of a record that is in use, and the key of the head
    at = whole.find(key)
    test(at > 0, "the head is found in the file")
    while at >= 0:
        whole[at - 3] ^= 0x80             # in the hash before it: the live one, and old copies
        at = whole.find(key, at + 1)
    write(w.state, whole)
    for args in (["changeset"], ["status"], ["export"], ["skip", "--path", "b"], ["forget", "A"]):
        rc, out, err, _ = run(w, *args)
        test(rc == 74 and not out and "its head is missing" in err, "%s: 74" % " ".join(args), rc, out, err)
    ended = w.sync([record("c2", "A")])
    same((ended.rc, ended.results), (74, []), "a sync: 74, and nothing completes over it")
    same(read(w.state), bytes(whole), "the file is as it was")


# ---- what cannot be read ----

def each(w, args, call, error, want, lines=(), before=None):
    """Each call of this kind fails once: [(n, exit status, ...)] of those that end otherwise than want
    says; the whole state is there before each."""
    total = run(w, *args, lines=lines, fault=(call, 0, error))[3]
    bad = []
    for n in range(1, total + 1):
        if before is not None:
            write(w.state, before)
        rc, out, err, _ = run(w, *args, lines=lines, fault=(call, n, error))
        why = want(rc, out, err)
        if why:
            bad.append((call, n, rc, why, err[:300]))
    return total, bad


def reads_that_fail(w):
    whole = fill(w)
    for args in (["changeset"], ["status", "--failed", "--json"], ["export"]):
        clean = run(w, *args)[:2]

        def want(rc, out, err, clean=clean):
            if any(t in err for t in DESTROYS):
                return "advice that destroys"
            # who holds the lock is asked too, and is not known then
            return None if (rc, out) == clean or (rc == 74 and "Input/output error" in err) else "false"
        total, bad = each(w, args, "pread", errno.EIO, want)
        test(not bad and total > 10, "%s: each of %d reads fails: 74 with its errno" % (" ".join(args), total),
             *bad[:3])

        def want_same(rc, out, err, clean=clean):
            return None if (rc, out) == clean else "another answer"
        total, bad = each(w, args, "pread", 0, want_same)
        test(not bad, "%s: each of %d reads comes back short: read again" % (" ".join(args), total), *bad[:3])
    same(read(w.state), whole, "the file is as it was")


def a_sync_whose_reads_fail(w):
    """None of them makes it forget: the next one finds all that was there."""
    whole = fill(w)
    next_lines = [put("b", "now\n", "A"), record("c2", "A")]
    forgot = []

    def want(rc, _out, err):
        if any(t in err for t in DESTROYS):
            return "advice that destroys"
        if rc not in (0, 1, 74):    # 1: the failed line was tried again first, and superseded
            return "exit status"
        if w.position("B") != "b1" or w.position("A") not in (None, "c2"):
            forgot.append(err)
            return "it has forgotten"
        return None
    total, bad = each(w, w.options, "pread", errno.EIO, want, next_lines, whole)
    test(not bad and total > 20, "each of %d reads of a sync fails" % total, *bad[:3])


def descriptors_run_out(w):
    whole = fill(w)
    done = subprocess.run(["bash", "-c", 'ulimit -n 4; exec "$0" changeset', program()], env=w.env, cwd=w.dir,
                          capture_output=True, check=False, timeout=60, stdin=subprocess.DEVNULL)
    err = done.stderr.decode()
    test(done.returncode in (0, 74) and not any(t in err for t in DESTROYS), "four descriptors", err)
    done = subprocess.run(["bash", "-c", 'ulimit -n 3; exec "$0" changeset', program()], env=w.env, cwd=w.dir,
                          capture_output=True, check=False, timeout=60, stdin=subprocess.DEVNULL)
    err = done.stderr.decode()
    test(done.returncode != 0 and not any(t in err for t in DESTROYS), "three", done.returncode, err)
    same(read(w.state), whole, "the file is as it was")


# ---- an older layout ----

def sample(w, name):
    with gzip.open(os.path.join(HERE, "fixtures", "states", name + ".tdb.gz")) as f:
        write(w.state, f.read())
    return read(w.state)


def layout(w):
    return json.loads(run(w, "export")[1].splitlines()[0])["layout"]


def layout_1_is_read(w):
    before = sample(w, "layout-1")
    same((run(w, "changeset", "B")[:2], layout(w)), ((0, "b1\n"), 1), "its position, its layout")
    exported = [json.loads(x) for x in run(w, "export")[1].splitlines()][1:]
    same(sorted((x["type"], x.get("repo"), x.get("path")) for x in exported),
         sorted([("run", None, None), ("repository", "A", None), ("repository", "B", None),
                 ("document", "A", "a"), ("document", "B", "x"), ("document", "B", "y"),
                 ("failure", "A", "src/b")]), "all that it holds")
    same(run(w, "export", "--failed")[1], '{"repo":"A","path":"src/b","content_error":"no"}\n', "a failed line")
    same(read(w.state), before, "reading changes nothing")
    rc = run(w, "skip", "--path", "src/b", "--repo", "A")[0]
    same((rc, layout(w), w.position("A"), w.position("B")), (0, 2, "c1", "b1"),
         "the first write makes it layout 2, with all that it held")


def layout_1_of_nothing(w):
    before = sample(w, "layout-1-new")
    same((run(w, "changeset", "A")[0], layout(w)), (1, 1), "one that nothing was ever put into: no position")
    same(read(w.state), before, "reading changes nothing")
    same((run(w, "forget", "--all")[0], layout(w)), (0, 2), "the first write makes it layout 2")


if __name__ == "__main__":
    sys.exit(run_tests([a_flipped_bit_hides_the_head, reads_that_fail, a_sync_whose_reads_fail,
                        descriptors_run_out, layout_1_is_read, layout_1_of_nothing]))
