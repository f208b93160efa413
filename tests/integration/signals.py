#!/usr/bin/env python3
"""signals.py [-v] [NAME...] - stopped from outside: INT, TERM and HUP at any place, a reader that is
gone or does not read, an input that pauses; and progress, which a signal asks for.  NAMEs: only
these."""

import fcntl
import json
import os
import re
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import NOTHING, Gate, Steered, as_line, caught, delete, put, record, report, \
    run_tests, was_read  # noqa: E402

UPSERT = {"kind": "upsert"}
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ONE = ("--batch-size", "1", "--connections", "1")
same, test = report.same, report.test


def left(ended):
    """How many lines are left, as the message says."""
    found = re.search(r"; stopped with (\d+) lines read and not settled.*: the same command resumes$",
                      ended.err.strip())
    return found and int(found.group(1))


def prepare(w):
    same(w.sync([put("first", "text")]).rc, 0, "prepared")
    w.store.clear_log()


def upserts(w):
    return [i for kind, ids in w.writes() if kind == "upsert" for i in ids]


# ---- stopped ----


def in_flight(w):
    """Requests under way end, nothing new is sent, and the same command goes on."""
    prepare(w)
    for sig in STOPS:
        lines = [put("%d-%d" % (sig, i), "text %d" % sig) for i in range(10)]
        w.store.clear_log()
        gate = w.hold_answers("upsert")
        sync = Steered(w, *ONE)
        sync.feed(*lines)
        gate.wait_arrived()
        sync.signal(sig)
        gate.open()
        ended = sync.ended()
        same(ended.signal, sig, "it dies by %s" % sig.name)
        same((len(upserts(w)), [(r["line"], r["status"]) for r in ended.results]),
             (1, [(1, "completed")]),
             "the request under way ends, no other begins")
        same(left(ended), 9, "it says how many lines are left")
        run = ended.results[0]["run"]
        w.store.clear_log()
        ended = w.sync(lines)
        same((ended.rc, ended.statuses(10), {r["run"] for r in ended.results}),
             (0, ["completed"] * 10, {run}), "the same command resumes")
        same(([r["line"] for r in ended.results if r.get("resumed")], len(upserts(w))), ([1], 9),
             "and does only what is left")


def in_a_retry(w):
    """A failed line that is being tried again is not one that was read."""
    prepare(w)
    w.script({"match": UPSERT, "do": {"refuse_objects": True}})
    same(w.sync([put("a", "A")]).rc, 1, "a line fails")
    w.store.clear_log()
    w.script({"match": UPSERT, "do": {"hang": True}})
    sync = Steered(w, "--grace", "100ms")
    sync.feed(NOTHING)
    stored(w, 1)
    sync.signal(signal.SIGTERM)
    ended = sync.ended()
    same((ended.signal, left(ended)), (signal.SIGTERM, 0), "stopped while it is tried again, no line is left")


def read_ahead(w):
    """Lines that were read and have not found room yet are left, too."""
    prepare(w)
    name = os.path.join(w.dir, "input")
    with open(name, "wb") as f:
        f.write(b"".join(as_line(put("d%d" % i, "D")) + b"\n\n" for i in range(200)))
    gate = w.hold_answers("upsert")
    with open(name, "rb") as f:
        sync = Steered(w, *ONE, stdin=f)
    gate.wait_arrived()
    sync.signal(signal.SIGTERM)
    gate.open()
    ended = sync.ended()
    same((ended.signal, len(ended.results), left(ended)), (signal.SIGTERM, 1, 199),
         "199 of 200 lines are left")


def idle(w):
    prepare(w)
    for sig in STOPS:
        lines = [put("%d" % sig, "A"), put("%d" % sig, "B")]
        sync = Steered(w)
        sync.feed(lines[0])
        sync.wait_results(1)
        sync.signal(sig)
        ended = sync.ended()
        same((ended.signal, left(ended)), (sig, 0), "%s while the input pauses" % sig.name)
        ended = w.sync(lines)
        same((ended.rc, [r.get("resumed") for r in ended.results]), (0, [True, None]),
             "the same command resumes")


def hanging(w):
    prepare(w)
    lines = [put("a", "A"), put("b", "B")]
    w.script({"match": UPSERT, "do": {"hang": True}})
    gate = w.hold_answers()
    arrived = watch(w, "upsert")
    sync = Steered(w, *ONE, "--grace", "50ms")
    sync.feed(*lines)
    arrived.wait_arrived()
    sync.signal(signal.SIGTERM)
    ended = sync.ended()
    same((ended.signal, ended.results, left(ended)), (signal.SIGTERM, [], 2),
         "a request that hangs: --grace ends it")
    arrived = watch(w, "upsert")
    sync = Steered(w, *ONE, "--grace", "1h", "-v")
    sync.feed(*lines)
    arrived.wait_arrived()
    sync.signal(signal.SIGINT)
    sync.wait_said("stopping")
    sync.signal(signal.SIGTERM)
    ended = sync.ended()
    same(ended.signal, signal.SIGTERM, "a second signal stops at once")
    gate.open()
    w.script()
    w.store.on_request = None
    w.settle()
    ended = w.sync(lines)
    same((ended.rc, ended.statuses(2), w.documents()[("R", "a")]), (0, ["completed"] * 2, "A"),
         "the same command resumes")


def watch(w, *kinds):
    """Tells when a request of these kinds arrives."""
    gate = Gate()
    w.store.on_request = lambda _n, call: call.kind in kinds and gate.arrived.set()
    return gate


def asking(w):
    """While the store is asked something else than to store, and does not answer."""
    prepare(w)
    w.script({"match": UPSERT, "times": 1, "do": {"status": 404}},
             {"match": {"kind": "collection_get", "nth": 2}, "do": {"hang": True}})
    seen = []
    gate = Gate()

    def arrived(_n, call):
        seen.append(call.kind)
        if seen[-2:] == ["upsert", "collection_get"]:
            gate.arrived.set()
    w.store.on_request = arrived
    sync = Steered(w, *ONE, "--grace", "50ms")
    sync.feed(put("a", "A"))
    gate.wait_arrived()
    sync.signal(signal.SIGTERM)
    ended = sync.ended()
    same((ended.signal, left(ended)), (signal.SIGTERM, 1), "TERM while the collection is looked up again")
    w.script({"match": UPSERT, "times": 1, "do": {"apply_then_drop": True}})
    same(w.sync([put("a", "A")], kill_applied=1).rc, 128 + signal.SIGKILL,
         "killed: a document is in doubt")
    w.script({"match": {"kind": "get"}, "do": {"hang": True}})
    gate = watch(w, "get")
    sync = Steered(w, "--grace", "50ms", "--new-run")
    sync.feed(put("b", "B"))
    sync.child.stdin.close()
    gate.wait_arrived()
    sync.signal(signal.SIGTERM)
    same(sync.ended().signal, signal.SIGTERM, "TERM while it is read back")
    w.store.on_request = None
    w.script()
    ended = w.sync([put("b", "B")])
    same((ended.rc, ended.of(1)["status"], ended.of(1).get("resumed")), (0, "completed", True),
         "the same command resumes")


class LookedUp:
    """Two upserts at once: the first does not find the collection, and has it looked up, which is held like
    the answer to the second."""

    def __init__(self, w):
        self.w, self.other, self.lookup, self.kinds = w, Gate(), Gate(), []
        prepare(w)
        w.script({"match": {**UPSERT, "path": "a"}, "times": 1, "do": {"status": 404}})
        w.store.on_request = lambda _n, call: self.kinds.append(call.kind)
        w.store.on_applied = self.hold
        self.sync = Steered(w, "--batch-size", "1", "--connections", "2", "--grace", "1h")
        self.sync.feed(put("a", "A"), put("b", "B"))
        self.other.wait_arrived()
        self.lookup.wait_arrived()

    def hold(self, n, call):
        if call.kind == "upsert":
            self.other.hold(lambda _call: True)(n, call)
        elif "upsert" in self.kinds:
            self.lookup.hold(lambda _call: True)(n, call)

    def serve(self):
        self.other.open()
        self.sync.wait_results(1)
        self.sync.feed(put("first", "text"))
        self.sync.wait_results(2)
        self.sync.signal(signal.SIGUSR1)
        self.sync.wait_said(": 2 lines, ")
        same(sorted(self.kinds[self.kinds.index("upsert"):]), ["collection_get", "upsert", "upsert"],
             "nothing else is sent meanwhile")

    def ended(self):
        self.lookup.open()
        ended = self.sync.ended()
        self.w.store.on_request = self.w.store.on_applied = None
        self.w.settle()
        return ended


def looked_up(w):
    """While the store does not say whether the collection is there, all else goes on: answers, results, lines
    that need no request, SIGUSR1; and who stops does not wait for it."""
    held = LookedUp(w)
    held.serve()
    held.lookup.open()
    held.sync.wait_results(3)
    held.sync.child.stdin.close()
    ended = held.ended()
    same((ended.rc, ended.verdicts()), (0, {1: "completed", 2: "completed", 3: "skipped:unchanged"}),
         "it is there: all goes on")
    w.sync([delete("a"), delete("b")])
    held = LookedUp(w)
    held.serve()
    held.sync.signal(signal.SIGTERM)
    held.sync.child.wait()
    ended = held.ended()
    same((ended.signal, ended.verdicts(), left(ended)),
         (signal.SIGTERM, {2: "completed", 3: "skipped:unchanged"}, 1), "TERM does not wait for it")
    w.script()
    ended = w.sync([put("a", "A"), put("b", "B"), put("first", "text")])
    same((ended.rc, ended.status(1), w.documents()[("R", "a")]), (0, "completed", "A"), "the same command resumes")


def in_backoff(w):
    prepare(w)
    lines = [put("a", "A"), put("b", "B")]
    for sig in STOPS:
        w.script({"match": UPSERT, "do": {"status": 503, "headers": {"retry-after": "300"}}})
        sync = Steered(w, *ONE, "-v")
        sync.feed(*lines)
        sync.wait_said("the next in 300.0 s")
        sync.signal(sig)
        ended = sync.ended()
        same((ended.signal, ended.results, left(ended)), (sig, [], 2),
             "%s in a pause of 300 s" % sig.name)
    w.script()
    ended = w.sync(lines)
    same((ended.rc, ended.statuses(2)), (0, ["completed"] * 2), "the same command resumes")


def before_the_first_line(w):
    """While the store is asked whether it is there: hanging, and between two attempts."""
    prepare(w)
    for name, do, said in (("an answer", {"hang": True}, None),
                           ("the next attempt", {"status": 503, "headers": {"retry-after": "300"}},
                            "trying again")):
        w.script({"match": {"kind": "heartbeat"}, "do": do})
        arrived = watch(w, "heartbeat")
        sync = Steered(w, "-v")
        sync.feed(put("a", "A"))
        arrived.wait_arrived()
        sync.signal(signal.SIGUSR1)
        if said:
            sync.wait_said(said)
            sync.signal(signal.SIGUSR1)
            waiting = r"^linesync: cannot reach the store yet: .*; trying again in \d+\.\d s$"
            sync.wait("what it waits for", lambda: re.search(waiting, sync.said(), re.M))
        sync.signal(signal.SIGTERM)
        ended = sync.end()
        same((ended.signal, ended.results), (signal.SIGTERM, []), "TERM while it waits for " + name)
        test("stopped before a line was read" in ended.err, "it says so", ended.err)
    w.store.on_request = None
    w.script({"match": {"kind": "heartbeat"}, "times": 1,
              "do": {"status": 503, "headers": {"retry-after": "1"}}})
    sync = Steered(w, "-v")
    sync.feed(put("a", "A"))
    sync.wait_said("trying again")
    sync.signal(signal.SIGUSR1)
    ended = sync.end()
    same((ended.rc, ended.status(1)), (0, "completed"), "USR1 there disturbs nothing")


def waiting_for_the_lock(w):
    prepare(w)
    first = Steered(w)
    first.feed(put("a", "A"))
    first.wait_results(1)
    for sig in STOPS:
        second = Steered(w, "--wait-lock", "1h")
        second.feed(put("b", "B"))
        was_read(second)
        second.signal(signal.SIGUSR1)
        second.signal(sig)
        same(second.end().signal, sig, "%s while it waits for the lock" % sig.name)
    same(first.end().rc, 0, "who has it is not disturbed")


def before_a_resumed_line(w):
    """A run can go on, and its input has not begun."""
    prepare(w)
    lines = [put("a", "A"), put("b", "B")]
    sync = Steered(w)
    sync.feed(lines[0])
    sync.wait_results(1)
    sync.signal(signal.SIGTERM)
    sync.ended()
    for sig in STOPS:
        sync = Steered(w)
        caught(sync.pid)
        sync.signal(signal.SIGUSR1)
        sync.wait_said("waiting for the first line of the input")
        sync.signal(sig)
        ended = sync.ended()
        same((ended.signal, ended.results), (sig, []), "%s there ends at once" % sig.name)
        test("stopped before a line was read" in ended.err, "it says so", ended.err)
    ended = w.sync(lines)
    same((ended.rc, [r.get("resumed") for r in ended.results]), (0, [True, None]),
         "the same command resumes")


def dry_run(w):
    prepare(w)
    sync = Steered(w, "--dry-run")
    sync.feed(put("a", "A"))
    sync.wait_results(1)
    sync.signal(signal.SIGUSR1)
    sync.feed(put("b", "B"))
    sync.wait_results(2)
    sync.signal(signal.SIGTERM)
    ended = sync.ended()
    same((ended.signal, [r["status"] for r in ended.results]), (signal.SIGTERM, ["planned"] * 2),
         "a dry run")


def ignored(w):
    """nohup and the shell's background jobs give signals that are ignored on purpose."""
    prepare(w)
    sync = Steered(w, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    sync.feed(put("a", "A"))
    sync.wait_results(1)
    sync.signal(signal.SIGHUP)
    ended = sync.end(put("b", "B"))
    same((ended.rc, ended.statuses(2)), (0, ["completed"] * 2), "a signal that was ignored stays ignored")


def while_printing(w):
    """All is done, but nobody has read the results."""
    prepare(w)
    lines = [put("d%04d" % i, "") for i in range(2000)]
    sync = Steered(w, read_output=False)
    sync.child.stdin.write(b"".join(as_line(x) + b"\n" for x in lines))
    sync.child.stdin.close()
    at_line(sync, 2000)
    sync.signal(signal.SIGTERM)
    sync.read_on()
    ended = sync.ended()
    same(ended.signal, signal.SIGTERM, "TERM while results wait for their reader")
    ended = w.sync(lines)
    same((ended.rc, ended.statuses(2000)), (0, ["skipped:empty"] * 2000), "the same command")
    same({r.get("resumed") for r in ended.results}, {True}, "prints them as they were")


# ---- standard output ----


def reader_gone(w):
    prepare(w)
    lines = [put("d%03d" % i, "text") for i in range(300)]
    sync = Steered(w, "--batch-size", "10", "--connections", "1", read_output=False)
    gate = w.hold_answers("upsert")
    sync.feed(*lines[:10])
    gate.wait_arrived()
    gate.open()
    first = b""
    while b"\n" not in first:
        first += os.read(sync.child.stdout.fileno(), 1)
    gate = w.hold_answers("upsert")
    sync.feed(*lines[10:50])
    gate.wait_arrived()
    sync.child.stdout.close()
    sync.child.stdout = None
    gate.open()
    try:
        sync.feed(*lines[50:])
    except OSError:
        pass
    ended = sync.ended()
    same(ended.signal, signal.SIGPIPE, "the reader is gone: it dies by SIGPIPE")
    test(left(ended) is not None, "and says what is left", ended.err)
    sent = len(upserts(w))
    test(sent < 300, "it has sent no more than was under way: %d" % sent)
    w.store.on_applied = None
    w.settle()
    ended = w.sync(lines)
    same((ended.rc, ended.statuses(300)), (0, ["completed"] * 300), "the same command prints all of them")
    resumed = sum(bool(r.get("resumed")) for r in ended.results)
    same(resumed, sent, "also those that were done and not printed")
    same(len(upserts(w)), 300, "nothing is sent twice")


def gone_at_the_end(w):
    """The reader goes when all is done and nothing was printed."""
    prepare(w)
    lines = [put("a", "A", "New"), record("P1", "New"), put("b", "B")]
    gate = w.hold_answers("upsert")
    sync = Steered(w, read_output=False)
    sync.feed(*lines)
    sync.child.stdin.close()
    gate.wait_arrived()
    sync.child.stdout.close()
    sync.child.stdout = None
    gate.open()
    ended = sync.ended()
    same(ended.signal, signal.SIGPIPE, "it dies by SIGPIPE")
    ended = w.sync(lines)
    same((ended.rc, ended.statuses(3), [r.get("resumed") for r in ended.results]),
         (0, ["completed"] * 3, [True] * 3), "the same command prints what was done, as it was")


def cpu(pid):
    """CPU time of a process, in ticks."""
    with open("/proc/%d/stat" % pid, encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def rests(w, pid):
    """Waits until nothing is under way and the process has used no CPU time for a while; False if it
    never rests."""
    ticks, calm = cpu(pid), 0
    for _ in range(600):
        time.sleep(0.05)
        now = cpu(pid)
        calm = calm + 1 if now == ticks and w.store.in_flight == 0 else 0
        ticks = now
        if calm == 6:
            return True
    return False


def stored(w, n):
    """Waits until the store has so many objects."""
    until = time.monotonic() + 6000
    while len(upserts(w)) < n:
        if time.monotonic() > until:
            raise RuntimeError("%d objects of %d" % (len(upserts(w)), n))
        time.sleep(0.01)


def at_line(sync, n):
    """Waits until so many lines are done, by asking for it."""
    caught(sync.pid)
    text = ": %d lines" % n
    for _ in range(600):
        sync.signal(signal.SIGUSR1)
        if text in sync.said():
            return
        time.sleep(0.05)
    raise RuntimeError("no '%s'" % text)


def slow_reader(w):
    prepare(w)
    w.store.clear_log()
    n = 12000
    data = b"".join(as_line(put("d%05d" % i, "t", repo="R" + "x" * 100)) + b"\n" for i in range(n))
    sync = Steered(w, "--batch-size", "50", "--connections", "2", read_output=False)
    fd = sync.child.stdin.fileno()
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_NONBLOCK)
    fed = stuff(fd, data)
    test(fed < len(data), "with nobody reading it stops taking lines: %d bytes of %d" % (fed, len(data)))
    stored(w, 1000)
    test(rests(w, sync.pid), "and rests, when what was under way has ended")
    sent = len(upserts(w))
    test(sent * 300 < 2 << 20, "about 1 MiB of results waits: %d, of up to 300 bytes each" % sent)
    with open("/proc/%d/fdinfo/1" % sync.pid, encoding="ascii") as f:
        flags = int(re.search(r"flags:\s*(\d+)", f.read()).group(1), 8)
    same(flags & os.O_NONBLOCK, 0, "standard output's flags are as they were")
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) & ~os.O_NONBLOCK)
    sync.read_on()
    sync.child.stdin.write(data[fed:])
    ended = sync.end()
    same((ended.rc, ended.cut, sorted(r["line"] for r in ended.results)), (0, b"", list(range(1, n + 1))),
         "when it reads again, all results come, whole, once")
    same(len(upserts(w)), n, "and all is stored")


def slow_reader_of_embedded(w):
    w.add_embedder("--embed-batch-size", "50")
    slow_reader(w)


def stuff(fd, data):
    """Writes what a pipe takes until it has taken nothing for a while: how much that was."""
    at, idle_since = 0, time.monotonic()
    while at < len(data) and time.monotonic() - idle_since < 1:
        try:
            at += os.write(fd, data[at:at + 65536])
            idle_since = time.monotonic()
        except BlockingIOError:
            time.sleep(0.01)
    return at


def slow_reader_stopped(w):
    """Nobody reads, and more waits than a pipe holds: a signal ends it all the same."""
    prepare(w)
    data = b"".join(as_line(put("d%05d" % i, "t", repo="R" + "x" * 100)) + b"\n" for i in range(12000))
    sync = Steered(w, "--batch-size", "50", "--grace", "50ms", read_output=False)
    fd = sync.child.stdin.fileno()
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_NONBLOCK)
    stuff(fd, data)
    stored(w, 1000)
    sync.signal(signal.SIGTERM)
    ended = sync.ended()
    same(ended.signal, signal.SIGTERM, "TERM with a reader that does not read")
    test(re.search(r"\d+ results not printed: the same command resumes", ended.err),
         "it says what was not printed", ended.err)


def slow_reader_at_the_end(w):
    """All is done, and a request that was lost is not over yet when the results begin to wait."""
    prepare(w)
    w.store.clear_log()
    n = 2000
    w.script({"match": {"kind": "upsert", "nth": 2}, "times": 1, "do": {"apply_then_drop": True}})
    sync = Steered(w, "--late", "2s", read_output=False)
    sync.feed(*[put("d%05d" % i, "t", repo="R" + "x" * 100) for i in range(n)])
    sync.child.stdin.close()
    while not all(("R" + "x" * 100, "d%05d" % i) in w.documents() for i in (0, n - 1)):
        time.sleep(0.05)
    time.sleep(2.2)
    test(rests(w, sync.pid), "nothing wakes it but the reader")
    sync.read_on()
    ended = sync.ended()
    same((ended.rc, sorted(r["line"] for r in ended.results)), (0, list(range(1, n + 1))), "all results come")


def flags_untouched(w):
    """The descriptor may be shared with a shell: its flags stay, and either kind is written to."""
    prepare(w)
    lines = [put("d%03d" % i, "text") for i in range(500)]
    for nonblocking in (0, os.O_NONBLOCK):
        r, wr = os.pipe()
        before = fcntl.fcntl(wr, fcntl.F_GETFL) | nonblocking
        fcntl.fcntl(wr, fcntl.F_SETFL, before)
        sync = Steered(w, "--force", stdout=wr)
        sync.read(os.fdopen(r, "rb", buffering=0), sync.out)
        sync.feed(*lines[:1])
        sync.wait_results(1)
        same(fcntl.fcntl(wr, fcntl.F_GETFL), before, "standard output's flags are left alone")
        sync.feed(*lines[1:])
        sync.child.stdin.close()
        sync.child.wait(600)
        same(fcntl.fcntl(wr, fcntl.F_GETFL), before, "to the end")
        os.close(wr)
        ended = sync.ended()
        same((ended.rc, ended.cut, len(ended.results)), (0, b"", 500), "and all results came")


def whole_lines(w):
    """A pipe that keeps what was written at once together: no write ends within a line."""
    prepare(w)
    r, wr = os.pipe2(getattr(os, "O_DIRECT", 0))
    sync = Steered(w, stdout=wr)
    os.close(wr)
    sync.feed(*(put("d%03d" % i, "") for i in range(200)))
    sync.child.stdin.close()
    packets = list(iter(lambda: os.read(r, 65536), b""))
    os.close(r)
    same(sync.ended().rc, 0, "200 results")
    same((sum(p.count(b"\n") for p in packets), [p for p in packets if not p.endswith(b"\n")]), (200, []),
         "are written in whole lines: %d writes" % len(packets))


# ---- input that pauses ----


def pausing_input(w):
    prepare(w)
    sync = Steered(w, "--flush-ms", "20", "--batch-size", "100")
    for i in range(3):
        sync.feed(put("a%d" % i, "A"), put("b%d" % i, ""), "{x")
        sync.wait_results(3 * (i + 1))
        same(sync.child.poll(), None, "results come while the input is open")
    sync.child.stdin.write(b'{"repo":"R","path":"c","con')
    sync.child.stdin.write(b'tent":"C"}\n\n\n')
    sync.wait_results(10)
    same(sync.end().status(12), None, "blank lines give none")
    same(w.documents()[("R", "c")], "C", "a line may come in pieces")


def printing_nothing(w):
    """What --results leaves out is committed all the same when it is --flush-ms old."""
    prepare(w)
    def told():
        run = json.loads(w.ask("status", "--json")[1])["run"]
        return run["run"], run["lines"]["skipped"]
    for options in (["-q"], ["--results", "none"], ["--results", "all"]):
        before = told()[0]
        sync = Steered(w, "--flush-ms", "300", *options)
        fed, run, seen = 0, before, 0
        while (run == before or not seen) and fed < 3000:   # each comes before the one ahead of it is old enough
            sync.feed(put("first", "text"))
            fed += 1
            if fed % 10 == 0:
                run, seen = told()
        test(run != before and 0 < seen <= fed and sync.child.poll() is None,
             "%s: the state knows of lines" % options, (fed, seen))
        same(sync.end().rc, 0, "and the run ends well")


# ---- progress ----


def asked_for(w):
    """SIGUSR1 prints a line, with a terminal or not."""
    prepare(w)
    gate = w.hold_answers("upsert")
    sync = Steered(w, *ONE, "--total", "200")
    sync.feed("{x", put("a", "A"), put("b", "B"))
    sync.wait_results(1)
    gate.wait_arrived()
    sync.signal(signal.SIGUSR1)
    line = r"^linesync: reading: 1 of 200 lines \(0%\), \d+/s(, \d+:\d\d:\d\d to go)?, 1 failed, 2 in flight, at 'b'$"
    sync.wait("a line of progress", lambda: re.search(line, sync.said(), re.M))
    sync.signal(signal.SIGUSR1)
    sync.wait("another", lambda: len(re.findall(line, sync.said(), re.M)) == 2)
    gate.open()
    ended = sync.end()
    same((ended.rc, len(ended.results), len(ended.err.splitlines())), (1, 3, 3), "and the run goes on")


def waiting_for_the_store(w):
    """What it waits for, why and until when."""
    prepare(w)
    sync = Steered(w, *ONE, "--retry-wait", "60s", "--retry-max-wait", "60s", "--give-up", "600")
    sync.feed(put("a", "A"))
    sync.wait_results(1)
    w.stop_store()
    sync.feed(put("b", "B"))
    line = r"^linesync: waiting for the store: ((?!port).)*port ((?!port).)*, again in \d+\.\d s, giving up in \d{3} s: 1 lines"

    def told():
        sync.signal(signal.SIGUSR1)
        return re.search(line, sync.said(), re.M)
    sync.wait("the reason", told)
    sync.signal(signal.SIGTERM)
    same(sync.ended().signal, signal.SIGTERM, "and it can be stopped")
    w.start_store()


def bars(w):
    prepare(w)
    ended = w.sync([put("a", "A")], "--progress", "auto")
    same((ended.rc, ended.err), (0, ""), "without a terminal there is no bar")
    gate = w.hold_answers("upsert")
    sync = Steered(w, "--progress", "always", "--total", "4")
    sync.feed(put("a", "B"), put("e", ""))
    gate.wait_arrived()
    sync.wait("a bar", lambda: re.search(r"\r1 of 4 lines \(25%\), .*0 failed, 1 in flight, ",
                                         sync.said()))
    gate.open()
    sync.wait("its next state", lambda: "\r2 of 4 lines (50%)" in sync.said())
    ended = sync.end()
    same((ended.rc, ended.err.endswith("\r\x1b[K")), (0, True),
         "--progress always draws it, and clears it at the end")
    name = os.path.join(w.dir, "input")
    with open(name, "wb") as f:
        f.write(b"".join(as_line(put("f%d" % i, "F")) + b"\n" for i in range(100)))
    gate = w.hold_answers("upsert")
    with open(name, "rb") as f:
        sync = Steered(w, "--progress", "always", "--batch-size", "10", stdin=f)
    gate.wait_arrived()
    sync.wait("a percentage", lambda: re.search(r"\r\d+ lines \(\d+%\)", sync.said()))
    gate.open()
    same(sync.ended().rc, 0, "a file's size tells how far it is")


TESTS = [in_flight, in_a_retry, read_ahead, idle, hanging, asking, looked_up, in_backoff,
         before_the_first_line, waiting_for_the_lock, before_a_resumed_line, dry_run, ignored,
         while_printing, reader_gone, gone_at_the_end, slow_reader, slow_reader_of_embedded, slow_reader_stopped,
         slow_reader_at_the_end, flags_untouched, whole_lines, pausing_input, printing_nothing, asked_for, waiting_for_the_store, bars]


if __name__ == "__main__":
    sys.exit(run_tests(TESTS))
