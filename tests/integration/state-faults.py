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
from harness import HERE, Steered, program, put, record, report, run_tests  # noqa: E402

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
    done = subprocess.run([program(), *args], env=env, cwd=w.dir, check=False, timeout=600,
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
                          capture_output=True, check=False, timeout=600, stdin=subprocess.DEVNULL)
    err = done.stderr.decode()
    test(done.returncode in (0, 74) and not any(t in err for t in DESTROYS), "four descriptors", err)
    done = subprocess.run(["bash", "-c", 'ulimit -n 3; exec "$0" changeset', program()], env=w.env, cwd=w.dir,
                          capture_output=True, check=False, timeout=600, stdin=subprocess.DEVNULL)
    err = done.stderr.decode()
    test(done.returncode != 0 and not any(t in err for t in DESTROYS), "three", done.returncode, err)
    same(read(w.state), whole, "the file is as it was")


# ---- no memory ----

def no_memory(w):
    """Each allocation of what only reads fails once, and each tenth and some of a sync: 71, or no harm."""
    whole = fill(w)

    def want(rc, out, err, clean=None):
        if any(t in err for t in DESTROYS):
            return "advice that destroys"
        return None if rc == 71 or (clean and (rc, out) == clean) else "neither 71 nor the answer"
    for args in (["changeset"], ["export", "--documents", "A"]):
        clean = run(w, *args)[:2]
        total, bad = each(w, args, "malloc", errno.ENOMEM, lambda *how, c=clean: want(*how, c))
        test(not bad and total > 20, "%s: each of %d allocations" % (" ".join(args), total), *bad[:3])
    same(read(w.state), whole, "the file is as it was")
    lines = [put("n", "text\n", "N", metadata={"k1": 1, "k2": [2]}), record("n1", "N")]
    total = run(w, *w.options, "--no-retry", lines=lines, fault=("malloc", 0, errno.ENOMEM))[3]
    bad = []
    for n in range(1, total + 1, max(1, total // 150)):
        write(w.state, whole)
        rc, _, err, _ = run(w, *w.options, "--no-retry", lines=lines, fault=("malloc", n, errno.ENOMEM))
        # a library may do without, or say that it could not: never a signal, nor "damaged"
        if rc not in (0, 1, 71, 75) or any(t in err for t in DESTROYS):
            bad.append((n, rc, err[:200]))
    test(not bad, "some of the %d allocations of a sync" % total, *bad[:3])


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


# ---- the file's name ----

def failing(n, size=60000, path="p"):
    """n lines that fail, each kept in the state."""
    return [{"repo": "P", "path": "%s%d" % (path, i), "content_error": "no", "pad": "x" * size} for i in range(n)]


def large(w):
    """A state of more than 8 MiB, which the next commits must give more room; returns its bytes."""
    w.sync([put("a", "one\n", "A"), record("c1", "A"), *failing(110)])
    return read(w.state)


NEXT = [put("b", "two\n", "A"), record("c2", "A"), *failing(60, path="q"), put("c", "three\n", "A"), record("c3", "A")]
NEXT_OPTIONS = ["--no-retry", "--batch-size", "1", "--connections", "1"]


def completed(out):
    results = [json.loads(x) for x in out.splitlines()]
    return ({r["path"] for r in results if r["status"] == "completed" and "path" in r},
            [r["changeset"]["commit"] for r in results if r["status"] == "completed" and "changeset" in r])


def is_kept(w, out):
    """Whether what was printed as completed is in the state."""
    paths, commits = completed(out)
    kept = set(run(w, "export", "--documents", "A")[1].splitlines())
    return paths <= kept and (not commits or w.position("A") == commits[-1])


def a_rewrite_whose_syncs_fail(w):
    """From the rename on the new file is the state, or the process ends."""
    before = large(w)
    inode = os.stat(w.state).st_ino
    rc, out, _, total = run(w, *w.options, *NEXT_OPTIONS, lines=NEXT, fault=("fsync", 0, 0))
    same((rc, is_kept(w, out), os.stat(w.state).st_ino != inode), (1, True, True), "the state is rewritten")
    test(total >= 3, "%d syncs" % total)
    ended = {}
    for call, error in (("fsync", errno.EIO), ("fsync", errno.EINVAL), ("folder", errno.EACCES)):
        write(w.state, before)
        total = run(w, *w.options, *NEXT_OPTIONS, lines=NEXT, fault=(call, 0, 0))[3]
        for n in range(1, total + 1):
            write(w.state, before)
            rc, out, err, _ = run(w, *w.options, *NEXT_OPTIONS, lines=NEXT, fault=(call, n, error))
            ended.setdefault((call, errno.errorcode[error]), []).append(rc)
            test(rc in (1, 66, 74) and is_kept(w, out), "%s %d fails, %s: %d, and what was printed is kept"
                 % (call, n, errno.errorcode[error], rc), err)
            rc, out, err, _ = run(w, *w.options, *NEXT_OPTIONS, lines=NEXT)
            test(rc == 1 and is_kept(w, out) and w.position("A") == "c3", "and the next run goes on", rc, err)
    test(74 in ended["fsync", "EIO"], "a name that may not be on disk is not used", ended)
    test(1 in ended["fsync", "EIO"], "a copy that cannot be made is done without", ended)
    same(ended["fsync", "EINVAL"], [1] * len(ended["fsync", "EINVAL"]), "a file system without syncs of folders will do")


def a_creation_whose_syncs_fail(w):
    lines = [put("a", "one\n", "A"), record("c1", "A")]
    total = run(w, *w.options, lines=lines, fault=("fsync", 0, 0))[3]
    for n in range(1, total + 1):
        os.unlink(w.state)
        rc, out, err, _ = run(w, *w.options, lines=lines, fault=("fsync", n, errno.EIO))
        same((rc, out, os.path.exists(w.state), os.path.exists(w.state + ".new")), (73, "", False, False),
             "sync %d of %d fails as the state is made: none is left" % (n, total))
        run(w, *w.options, lines=lines)
        same(w.position("A"), "c1", "the next run makes it")
    os.unlink(w.state)
    rc, out, err, _ = run(w, *w.options, lines=lines, fault=("fsync", total, errno.EINVAL))
    same((rc, w.position("A")), (0, "c1"), "EINVAL of the folder: there is no such thing to wait for")


def leaves_nothing(w, rc, name, *options, env=None, lines=()):
    """A sync that ends before anything is settled: neither a state nor a lock file is left."""
    done = subprocess.run([program(), *w.options, *options], env={**w.env, **(env or {})}, cwd=w.dir, check=False,
                          input="".join(json.dumps(x) + "\n" for x in lines or [put("a", "one")]).encode(),
                          capture_output=True, timeout=60)
    left = [x for x in os.listdir(w.dir) if x.startswith("state.tdb")]
    test(done.returncode == rc and not left, "%s: %d, and nothing is left" % (name, rc), done.returncode, left,
         done.stderr.decode())


def attempts_that_fail(w):
    """No state before the store has answered, and collection and embedder are settled."""
    leaves_nothing(w, 75, "the wrong port", "--give-up", "0", "--store", "chroma:http://127.0.0.1:1")
    leaves_nothing(w, 78, "the wrong driver", "--store",
                   w.env["LINESYNC_STORE"].replace("chroma:", "weaviate:"))
    w.store.undescribed.clear()    # what it asked is not Chroma's
    leaves_nothing(w, 78, "a misspelt collection", "--no-create", "--collection", "Coed")
    leaves_nothing(w, 75, "an embedding server that is away", "--give-up", "0", "--embed", "http://127.0.0.1:1",
                   "--embed-model", "m")
    w.sync([put("a", "one")])
    for name in (w.state, w.state + ".lock"):
        os.unlink(name)
    leaves_nothing(w, 78, "vectors of another length", "--embed", "hash:16")
    same(run(w, "status")[0], 66, "there is no state")
    same(run(w, *w.options, lines=[put("a", "one"), record("c1")])[0], 0, "the right command makes it")
    test(os.path.exists(w.state) and os.path.exists(w.state + ".lock"), "with its lock file")


def stopped_before_it_is_settled(w):
    gate = w.hold_answers("ready", "heartbeat", "version", "get_collection", "open")
    s = Steered(w)
    s.feed(put("a", "one"))
    gate.wait_arrived()
    test(not os.path.exists(w.state), "while the store is asked, there is none")
    s.signal(15)
    gate.open()
    same(s.ended().signal, 15, "stopped")
    same([x for x in os.listdir(w.dir) if x.startswith("state.tdb")], [], "and none is left")


def a_folder_whose_name_is_not_on_disk(w):
    env = dict(w.env)
    w.env.update(LINESYNC_STATE_DIR=os.path.join(w.dir, "x", "y"))
    del w.env["LINESYNC_STATE"]
    for n in (1, 2):
        rc, out, err, _ = run(w, *w.options, lines=[put("a", "one")], fault=("fsync", n, errno.EIO))
        same((rc, out, os.path.exists(os.path.join(w.dir, "x", "y"))), (73, "", False),
             "sync %d of a new folder fails: it is not used" % n)
    same(run(w, *w.options, lines=[put("a", "one")])[0], 0, "the next run makes it")
    w.env = env


# ---- another writer ----

def interrupted_by(w, what):
    """A sync that has printed a first result and waits for an answer while what() is done: how it ended."""
    s = Steered(w, "--batch-size", "1", "--connections", "1")
    s.feed(put("a1", "one\n", "I"))
    s.wait_results(1)
    gate = w.hold_answers("upsert")
    s.feed(put("a2", "two\n", "I"))
    gate.wait_arrived()
    w.store.on_applied = None
    writes = len(w.writes())
    what()
    gate.open()
    ended = s.end(put("a3", "three\n", "I"), record("I1", "I"))
    test(ended.rc == 74 and "run the same command again" in ended.err, "the first one: 74", ended.rc, ended.err)
    same([r["path"] for r in ended.results], ["a1"], "and nothing more of it is printed")
    return w.writes()[writes:]


def the_lock_is_removed(w):
    others = []

    def second():
        os.unlink(w.state + ".lock")
        rc, out, err, _ = run(w, *w.options, lines=[put("b1", "b\n", "B"), record("B1", "B")])
        test(rc == 0 and "b1" in completed(out)[0], "a second one gets in, and works", rc, err)
        others.append(w.writes()[-1])
    sent = interrupted_by(w, second)
    same([x for x in sent if x not in others], [], "nor sent")
    kept = {(x.get("repo"), x.get("path")) for x in map(json.loads, run(w, "export")[1].splitlines())}
    test(kept >= {("I", "a1"), ("B", "b1")} and w.position("B") == "B1", "what both have printed is in the state")
    ended = w.sync([put("a1", "one\n", "I"), put("a2", "two\n", "I"), record("I1", "I")])
    same((ended.rc, w.position("I"), w.position("B")), (0, "I1", "B1"), "the same command goes on")


def the_lock_is_removed_and_the_state_rewritten(w):
    large(w)

    def second():
        os.unlink(w.state + ".lock")
        inode = os.stat(w.state).st_ino
        run(w, *w.options, *NEXT_OPTIONS, lines=NEXT)
        test(os.stat(w.state).st_ino != inode, "a second one rewrites it")
    w.options.append("--no-retry")
    interrupted_by(w, second)
    same(w.position("A"), "c3", "what the second has printed is in the state")


def the_state_is_replaced(w):
    def replace():
        copy = w.state + ".copy"
        write(copy, read(w.state))
        os.rename(copy, w.state)
    interrupted_by(w, replace)
    same(w.sync([put("a1", "one\n", "I"), put("a2", "two\n", "I"), record("I1", "I")]).rc, 0,
         "a copy: the next one takes it")


def the_state_is_moved_away(w):
    interrupted_by(w, lambda: os.rename(w.state, w.state + ".away"))
    test(not os.path.exists(w.state), "and none is made in its place")


# ---- no room ----

def the_state_is_full(w):
    """A small limit: most of it is used, nothing is sent that could not be settled, forgetting makes room."""
    usual = os.environ.get("LINESYNC")
    os.environ["LINESYNC"] = os.path.join(os.path.dirname(FAULTS), "linesync-small")
    try:
        fill_up(w, 64 << 20)
    finally:
        os.environ["LINESYNC"] = usual or program()


def fill_up(w, limit):
    w.sync([put("a", "one\n", "A"), record("c1", "A")])
    rc, said, sizes, lost = 1, "", [0], []
    while rc == 1 and len(sizes) < 100:
        rc, out, said, _ = run(w, *w.options, *NEXT_OPTIONS,
                               lines=[put("d%d" % len(sizes), "text\n", "A"), *failing(10, path="f%d-" % len(sizes))])
        lost += [] if is_kept(w, out) else [out]
        sizes.append(os.path.getsize(w.state))
    kept = sum(len(x) for x in run(w, "export", "--failed")[1].splitlines())
    test(rc == 74 and "is full" in said and "linesync forget REPO --state" in said, "it is full, and says so", rc, said)
    test(not lost and max(sizes) <= limit, "all that was printed is kept, and the limit is", lost, max(sizes), limit)
    test(kept > limit * 2 / 5, "%d MB of lines in a file of at most %d" % (kept >> 20, limit >> 20))
    for i in range(3):
        writes = len(w.writes())
        rc, out, said, _ = run(w, *w.options, *NEXT_OPTIONS, lines=[put("z", "text %d\n" % i, "A")])
        same((rc, out, "is full" in said, w.writes()[writes:]), (74, "", True, []), "another run: nothing is sent")
    same(w.position("A"), "c1", "it can be read")
    same(run(w, "forget", "P")[0], 0, "forgetting what failed")
    ended = w.sync([put("z", "text\n", "Z"), record("z1", "Z")])
    same((ended.rc, w.position("Z")), (0, "z1"), "makes room")


if __name__ == "__main__":
    sys.exit(run_tests([a_rewrite_whose_syncs_fail, a_creation_whose_syncs_fail,
                        attempts_that_fail, stopped_before_it_is_settled, a_folder_whose_name_is_not_on_disk,
                        the_lock_is_removed,
                        the_lock_is_removed_and_the_state_rewritten, the_state_is_replaced,
                        the_state_is_moved_away, the_state_is_full,
                        a_flipped_bit_hides_the_head, reads_that_fail, a_sync_whose_reads_fail,
                        descriptors_run_out, no_memory, layout_1_is_read, layout_1_of_nothing]))
