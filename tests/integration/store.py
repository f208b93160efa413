#!/usr/bin/env python3
"""store.py [-v] [NAME...] - what is promised of batches, of a store that refuses, fails or is away, of
collections, keys and addresses; counted by the requests that the store saw.  NAMEs: only these."""

import fcntl
import json
import math
import os
import re
import select
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import uuid
from email.utils import formatdate
from urllib.parse import quote

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import Steered, World, as_line, chroma, delete, find_list, program, put, record, \
    report, run_tests  # noqa: E402

UPSERT = {"kind": "upsert"}
LATER = "3600000"       # --flush-ms: never within a test
PATIENCE = 600          # seconds for what must happen
same, test = report.same, report.test


def lines(n, text="text", repo="R", first=0):
    return [put("f%03d" % i, "%s %d" % (text, i), repo) for i in range(first, first + n)]


def logged(w, kinds="upsert"):
    with w.store.lock:
        return [e for e in w.store.log if e["kind"] in kinds.split("|")]


def sizes(w):
    """How many objects each upsert that the store saw had."""
    return [len(e["ids"]) for e in logged(w)]


def prepared(w, *more):
    """A collection that has had its first write, and an empty log."""
    ended = w.sync([put("first", "first"), *more])
    same(ended.rc, 0, "prepared")
    w.store.clear_log()
    w.store.history.clear()


def failures(w):
    """{path: (code, http)} of the failed lines that wait."""
    rc, out = w.ask("status", "--failed", "--json")
    found = find_list(json.loads(out), "failures") if rc in (0, 1) and out else []
    return {f.get("path"): (f["error"]["code"], f["error"].get("http")) for f in found}


def run_status(w):
    runs = find_list(json.loads(w.ask("status", "--runs", "--json")[1]), "runs")
    return [r["status"] for r in runs]


def codes(ended):
    """{path: (code, http)} of the results that say failed."""
    return {r["path"]: (r["error"]["code"], r["error"].get("http")) for r in ended.results
            if r["status"] == "failed"}


def stored(w, wanted, repo="R"):
    """Whether the store holds these lines, and of this repository nothing else but `first`."""
    have = {p: t for (r, p), t in w.documents().items() if r == repo and p != "first"}
    return have == {x["path"]: x["content"] for x in wanted}


def wait_for(what, happens):
    until = time.monotonic() + PATIENCE
    while not happens():
        if time.monotonic() > until:
            raise RuntimeError("waited in vain for " + what)
        time.sleep(0.002)


class Fed:
    """linesync with its input open."""

    def __init__(self, w, *options):
        self.child = w.start(*options)
        self.out = self.said = b""
        self.threads = [threading.Thread(target=self.read_out, daemon=True),
                        threading.Thread(target=self.read_err, daemon=True)]
        for t in self.threads:
            t.start()

    def read_out(self):
        for data in iter(lambda: os.read(self.child.stdout.fileno(), 65536), b""):
            self.out += data

    def read_err(self):
        for data in iter(lambda: os.read(self.child.stderr.fileno(), 65536), b""):
            self.said += data

    def feed(self, *some):
        self.child.stdin.write(b"".join(as_line(x) + b"\n" for x in some))

    def results(self):
        return [json.loads(line) for line in self.out.split(b"\n")[:-1]]

    def stuff(self, data, most):
        """Writes data again and again until nobody takes it, or `most` bytes are written: how many."""
        fd, n = self.child.stdin.fileno(), 0
        os.set_blocking(fd, False)
        while n < most and select.select([], [fd], [], 0.3)[1]:
            try:
                n += os.write(fd, data[n % len(data):][:65536])
            except BlockingIOError:
                pass
        return n

    def memory_kb(self, name):
        with open("/proc/%d/status" % self.child.pid, encoding="ascii") as f:
            return int(re.search(name + r":\s+(\d+) kB", f.read())[1])

    def end(self, how=None):
        """Exit status, as a shell shows it."""
        if how:
            self.child.send_signal(how)
        try:
            self.child.stdin.close()
        except OSError:
            pass
        try:
            rc = self.child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.child.kill()
            raise
        for t in self.threads:
            t.join()
        return rc if rc >= 0 else 128 - rc


def sanitized():
    with open(program(), "rb") as f:
        return b"__asan_init" in f.read()


# ---- batches ----


def batch_limits(w):
    prepared(w)
    some = lines(25)
    ended = w.sync(some, "--batch-size", "10", "--flush-ms", LATER)
    same((ended.rc, sizes(w), stored(w, some)), (0, [10, 10, 5], True),
         "--batch-size closes a batch")
    w.store.clear_log()
    some = [put("f%03d" % i, "%03d" % i + "x" * 3000) for i in range(25)]
    some[7]["content"] += "y" * 30000
    ended = w.sync(some, "--batch-bytes", "20k", "--flush-ms", LATER)
    same((ended.rc, sum(sizes(w)), stored(w, some)), (0, 25, True), "--batch-bytes: all are stored")
    long = [e for e in logged(w) if e["bytes"] > 20 * 1024]
    same([len(e["ids"]) for e in long], [1], "only what is longer by itself is in a longer request")
    test(len(sizes(w)) <= 9, "and requests are filled: %s" % sizes(w))
    w.store.clear_log()
    w.sync([delete(x["path"]) for x in some], "--batch-size", "10", "--flush-ms", LATER)
    same([len(e["ids"]) for e in logged(w, "delete")], [10, 10, 5], "deletes go in batches too")


def batch_bytes_on_the_wire(w):
    w.options[-1] = "hash:512"
    prepared(w)
    w.sync([put("f%03d" % i, '"\\\n\t\x01' * 400) for i in range(30)], "--batch-bytes", "64k",
           "--flush-ms", LATER)
    test(max(e["bytes"] for e in logged(w)) <= 65536,
         "vectors and escapes count: %s" % [e["bytes"] for e in logged(w)])
    w.store.clear_log()
    w.script({"match": {"kind": "preflight"}, "do": {"status": 404}})
    w.sync([put("f%03d" % i, "%d" % i) for i in range(30)], "--batch-bytes", "64k", "--flush-ms",
           LATER)
    test(max(e["bytes"] for e in logged(w)) <= 65536,
         "also where numbers are sent: %s" % [e["bytes"] for e in logged(w)])
    with w.store.lock:
        dimensions = {len(r.embedding) for c in w.store.by_name.values() for r in c.records.values()}
    same(dimensions, {512}, "which the store reads as vectors")


def server_limit(w):
    prepared(w)
    w.script({"match": {"kind": "preflight"},
              "do": {"status": 200,
                     "body": {"max_batch_size": 3, "supports_base64_encoding": True}}})
    some = lines(10)
    ended = w.sync(some, "--flush-ms", LATER)
    same((ended.rc, sizes(w), stored(w, some)), (0, [3, 3, 3, 1], True),
         "the server's limit closes a batch")
    w.store.clear_log()
    w.sync(lines(10, "more"), "--batch-size", "2", "--flush-ms", LATER)
    same(sizes(w), [2] * 5, "unless --batch-size is smaller")


def slow_producer(w):
    prepared(w)
    f = Fed(w, "--flush-ms", "20", "--batch-size", "100")
    f.feed(put("a", "A"))
    wait_for("a result while the input is open", f.results)
    f.feed(put("b", "B"))
    wait_for("another", lambda: len(f.results()) == 2)
    same((f.end(), sizes(w)), (0, [1, 1]), "a slow producer sees results")
    w.store.clear_log()
    f = Fed(w, "--flush-ms", LATER, "--batch-size", "3")
    for x in lines(3):
        f.feed(x)
        time.sleep(0.01)
    wait_for("a full batch", lambda: len(f.results()) == 3)
    same((f.end(), sizes(w)), (0, [3]), "lines wait for each other until then")


def first_write(w):
    gate, seen, done, beside = threading.Barrier(4), [], [], []

    def arrives(_n, call):
        if call.kind != "upsert":
            return
        with w.store.lock:
            seen.append(call.ids)
            beside.append(len(seen) - 1 - len(done))
        if 1 < len(seen) <= 5:
            gate.wait(PATIENCE)

    def answered(_n, call):    # just before it is, so that what follows it is not counted beside it
        if call.kind == "upsert":
            done.append(call.ids)

    some = lines(30)
    run = Steered(w, "--batch-size", "2", "--connections", "4")
    w.store.on_request, w.store.on_applied = arrives, answered
    ended = run.end(*some)
    same((ended.rc, stored(w, some)), (0, True), "a new collection")
    same(beside[:2], [0, 0], "its first write is alone")
    same((gate.broken, max(beside)), (False, 3), "then as many as --connections says")
    used = {e["conn"] for e in logged(w)}
    test(len(used) <= 4, "on connections that are kept: %d" % len(used))


def superseded(w):
    prepared(w)
    gate = threading.Event()

    def arrives(_n, call):
        if call.kind == "upsert" and "A" in call.documents:
            gate.wait(PATIENCE)
        elif call.kind == "upsert" and "X" in call.documents:
            gate.set()      # lines before it have been taken up

    some = [put("d", "A"), put("d", "B"), put("d", "C"), put("d", "D"), put("x", "X")]
    ended = w.sync(some, "--batch-size", "1", "--connections", "2", on_request=arrives)
    same(ended.statuses(5), ["completed", "superseded", "superseded", "completed", "completed"],
         "one in flight, one waiting, the others superseded")
    same([t for _, d, t in w.store.history if d == ("R", "d")], ["A", "D"], "two are sent")
    same(w.documents()["R", "d"], "D", "the last wins")


def window(w):
    prepared(w)
    w.script({"match": UPSERT, "do": {"hang": True}})
    f = Fed(w, "--connections", "2", "--batch-size", "4", "--batch-bytes", "256k", "--flush-ms",
            "5",
            "--timeout", "1h")
    line = b"".join(as_line(put("g%04d" % i, "x" * 60000)) + b"\n" for i in range(1000))
    taken = f.stuff(line, len(line))
    test(taken < 3 * 256 * 1024 + 2 * 1024 * 1024, "reading stops: %d bytes were taken" % taken)
    if not sanitized():
        kb = f.memory_kb("RssAnon")
        test(kb < 3 * 256 + 3 * 60 + 8192, "memory is bounded: %d KiB" % kb)
    same((f.end(signal.SIGKILL), w.store.most_in_flight), (137, 2), "two requests were in flight")


# ---- refusals ----


def poisoned(mode, k, n=16):
    """n lines, the kth of which the store refuses; and the script for it."""
    some = lines(n, "%s %d" % (mode, k), first=100 * k)
    some[k]["content"] += " poison"
    return some


def refusals(w, mode, do, positions, error, requests, *options):
    good, seen = [], set()
    for k in positions:
        some = poisoned(mode, k)
        w.store.clear_log()
        w.store.history.clear()
        w.script({"match": {"kind": "upsert", "content": "poison"}, "do": do})
        ended = w.sync(some, "--flush-ms", LATER, "--no-retry", "--batch-size", "16", *options)
        w.settle()
        times = {}
        for _, (_, path), _ in w.store.history:
            times[path] = times.get(path, 0) + 1
        seen.add(len(logged(w)))
        good.append(ended.rc == 1 and codes(ended) == {some[k]["path"]: error} and
                    [r["status"] for r in ended.results].count("completed") == 15 and
                    all(times.get(x["path"]) == 1 for x in some if "poison" not in x["content"]))
    same(good, [True] * len(good),
         "%s: exactly the poison fails, the others are stored once" % mode)
    test(max(seen) <= requests, "%s: in at most %d requests: %s" % (mode, requests, sorted(seen)))


SOME = (0, 6, 9, 15)


def refused_whole(w):
    prepared(w)
    halves = 1 + 2 * math.log2(16)
    for status, positions in ((400, SOME), (413, SOME), (422, range(16))):
        refusals(w, "HTTP %d" % status, {"status": status}, positions, ("store-rejected", status),
                 halves)


def fails_whole(w):
    prepared(w)
    requests = 1 + 2 * math.log2(16) + 2
    refusals(w, "HTTP 500", {"status": 500}, range(0, 16, 3), ("store-failed", 500), requests,
             "--max-retries", "2")
    # libcurl sends what a kept connection lost once more by itself
    refusals(w, "no answer", {"drop": True}, SOME, ("store-failed", None), requests + 7,
             "--max-retries", "2", "--late", "1ms")
    refusals(w, "time-out", {"hang": True}, (13,), ("store-failed", None), requests,
             "--max-retries", "1", "--timeout", "2s", "--late", "1ms")


def all_refused(w):
    prepared(w)
    w.script({"match": UPSERT, "do": {"refuse_objects": True}})
    some = lines(16)
    ended = w.sync(some, "--flush-ms", LATER)
    same((ended.rc, set(codes(ended).values()), len(codes(ended))),
         (1, {("store-rejected", 422)}, 16),
         "all of a batch refused: all fail")
    same(sorted(sizes(w)), [1] * 16 + [2] * 8 + [4] * 4 + [8] * 2 + [16],
         "each half is asked about once")
    same(stored(w, []), True, "nothing is stored")
    w.script()
    ended = w.again()
    same((ended.rc, stored(w, some), failures(w)), (0, True, {}), "the next run tries them again")


def too_large(w):
    prepared(w)
    w.script({"match": {"kind": "upsert", "min_objects": 5}, "do": {"status": 413}})
    some = lines(16)
    ended = w.sync(some, "--flush-ms", LATER)
    same((ended.rc, sorted(sizes(w)), stored(w, some)), (0, [4, 4, 4, 4, 8, 8, 16], True),
         "413: halved until it fits")
    w.script()
    w.store.clear_log()
    w.store.max_body = 100000
    some = [put("g%d" % i, str(i) + "x" * 30000) for i in range(8)] + [put("big", "x" * 200000)]
    ended = w.sync(some, "--flush-ms", LATER)
    same((ended.rc, codes(ended)), (1, {"big": ("store-rejected", 413)}),
         "a store that hangs up on what is too large: only what can never fit fails")
    same([p for (_, p) in w.documents() if p[0] == "g"], ["g%d" % i for i in range(8)],
         "the others are stored")


def delete_too_large(w):
    """A document of more objects than go into one request: its delete is cut, and halved."""
    cut = ("--chunk-lines", "1", "--chunk-bytes", "0")
    long = "".join("line %d\n" % i for i in range(40))

    w.options += cut
    for name, options, rule, most in (
            ("--batch-size", ["--batch-size", "15"], [], 15), ("--batch-bytes", ["--batch-bytes", "1k"], [], 25),
            ("413", [], [{"match": {"kind": "delete", "min_objects": 7}, "do": {"status": 413}}], 41),
            ("no answer", [], [{"match": {"kind": "delete", "min_objects": 20}, "do": {"drop": True}}], 41)):
        prepared(w, put("long", long), put("shrinks", long))
        w.store.clear_log()
        w.script(*rule)
        ended = w.sync([delete("long"), delete("never" + name), put("shrinks", "short\n")], *options)
        same((ended.rc, ended.statuses(3), ended.of(1)["objects"]), (0, ["completed"] * 3, 40),
             name + ": a delete of 40 objects, and one of 39 behind a shorter text")
        test(max(len(e["ids"]) for e in logged(w, "delete")) <= most, name + ": so many ids in a request",
             [len(e["ids"]) for e in logged(w, "delete")])
        same({p: t for (_, p), t in w.documents().items() if p in ("long", "shrinks")}, {"shrinks": "short\n"},
             name + ": nothing of it is left")
        w.script()


def delete_refused(w):
    """One object of several that cannot be deleted."""
    w.options += ["--chunk-lines", "1", "--chunk-bytes", "0"]
    long = "".join("line %d\n" % i for i in range(20))
    stays = object_id("R", "long", 17)
    prepared(w, put("long", long), record("c1"))
    w.store.clear_log()
    w.script({"match": {"kind": "delete", "id": stays}, "do": {"status": 413}})
    ended = w.sync([delete("long"), record("c2")])
    same((ended.rc, codes(ended), w.position("R")), (1, {"long": ("store-rejected", 413)}, "c1"),
         "the document is not deleted")
    same([i for i, meta, _, _ in w.store.objects() if meta["file_path"] == "long"], [stays], "only that one is left")
    test([stays] in [e["ids"] for e in logged(w, "delete")], "it was tried alone")
    w.script()
    ended = w.sync([put("long", long)], "--no-retry")
    same((ended.rc, ended.status(1), w.position("R")), (0, "completed", "c2"),
         "the text that was there before is not unchanged")
    same(len([1 for _, meta, _, _ in w.store.objects() if meta["file_path"] == "long"]), 20, "it comes back whole")


# ---- trouble ----

OK = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
FAULTS = [(str(s), {"status": s}) for s in (408, 425, 429, 500, 502, 503, 504)] + [
    ("503 as a page", {"status": 503, "body": "<html>\x1b[31m" + "busy " * 1000}),
    ("500 stored all the same", {"status": 500, "apply": True}),
    ("dropped", {"drop": True}),
    ("reset", {"drop": True, "rst": True}),
    ("done and dropped", {"apply_then_drop": True}),
    ("done and cut at once", {"partial": 0}),
    ("cut in the status line", {"partial": 10}),
    ("cut in the head", {"partial": 40}),
    ("a refusal cut in its head", {"raw": "HTTP/1.1 422 Unprocessable Entity\r\ncontent-le"}),
    ("103 with a pause before a 503", {"raw": "HTTP/1.1 103 Early Hints\r\nretry-after: 99\r\n\r\n"
                                              "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"}),
    ("cut in the body", {"raw": OK + "content-length: 20\r\n\r\n{", "apply": True}),
    ("a length too long", {"raw": OK + "content-length: 9\r\n\r\n{}", "apply": True}),
    ("a length too short", {"raw": OK + "content-length: 1\r\n\r\n{}", "apply": True}),
    ("a length that is none", {"raw": OK + "content-length: -2\r\n\r\n{}", "apply": True}),
    ("two lengths",
     {"raw": OK + "content-length: 2\r\ncontent-length: 1\r\n\r\n{}", "apply": True}),
    ("no HTTP", {"raw": "SSH-2.0-OpenSSH_9.2\r\n"}),
    ("HTML as 200", {"status": 200, "body": "<html><body>Sign in</body></html>"}),
    ("no JSON", {"status": 200, "body": "{\"deleted\":"}),
    ("JSON and more", {"status": 200, "body": "{} {}"}),
    ("an empty 200", {"status": 200, "body": ""}),
    ("null", {"status": 200, "body": "null"}),
    ("a list", {"status": 200, "body": []}),
    ("true", {"status": 200, "body": True}),
    ("an error as 200", {"status": 200, "body": {"error": "InternalError", "message": "no"}}),
    *[("200 of another's: %s" % json.dumps(body), {"status": 200, "body": body}) for body in (
        {"error": {"message": "upstream is down", "code": 503}}, {"success": False, "errors": [{"code": 1000}]},
        {"message": "no healthy upstream"}, {"status": "maintenance"}, {"detail": "Not authenticated"},
        {"ids": ["a"]}, {"deleted": -1})],
    ("202", {"status": 202, "body": {}, "unlisted": True}),
    ("204", {"raw": "HTTP/1.1 204 No Content\r\n\r\n"}),
    ("507", {"status": 507, "unlisted": True}),
    ("compressed", {"raw": OK + "content-encoding: gzip\r\ncontent-length: 4\r\n\r\n\x1f\x08ab"}),
    ("chunks that end early",
     {"raw": OK + "transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n", "apply": True}),
]
ODDITIES = [
    ("100 before it",
     {"raw": "HTTP/1.1 100 Continue\r\n\r\n" + OK + "content-length: 2\r\n\r\n{}", "apply": True}),
    ("103 before it", {"raw": "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + OK +
                              "content-length: 2\r\n\r\n{}", "apply": True}),
    ("byte by byte", {"slow_bytes": {"bytes": 1, "ms": 1}}),
    ("in chunks", {"chunked": True}),
    ("closed after it", {"close_after": True}),
    ("closed a little later", {"close_after_ms": 2}),
    ("HTTP/1.0, to the end", {"raw": "HTTP/1.0 200 OK\r\n\r\n{}", "apply": True}),
]


def charged_nobody(w, faults, requests=None):
    """Each of the faults to five upserts and five deletes: also to batches of one, where those of four
    are halved.  What it did wrong."""
    wrong, old = [], []
    for i, (name, do) in enumerate(faults):
        new = lines(4, name, "R%d" % i)
        w.store.clear_log()
        w.script(*({"match": {"kind": kind}, "times": 5, "do": do}
                   for kind in ("upsert", "delete")))
        ended = w.sync(new + [delete(x["path"], x["repo"]) for x in old], "--flush-ms", LATER,
                       "--late", "1ms",
                       "--timeout", "20s", "--retry-wait", "1ms", "--retry-max-wait", "2ms")
        w.settle()
        n = len(logged(w)), len(logged(w, "delete"))
        if (ended.rc or ended.err or {r["status"] for r in ended.results} != {"completed"} or
                not stored(w, new, "R%d" % i) or not stored(w, [], "R%d" % (i - 1)) or
                requests and n != (requests, requests if old else 0)):
            wrong.append((name, ended.rc, n, ended.err, ended.results))
        old = new
    return wrong


def transient(w):
    prepared(w)
    same(charged_nobody(w, FAULTS), [],
         "%d kinds of trouble: nobody is charged, the store ends right" % len(FAULTS))


def odd_answers(w):
    prepared(w)
    same(charged_nobody(w, ODDITIES, 1), [], "unusual answers count as answers: one request each")
    headers = logged(w)[-1]["headers"]
    same((headers.get("accept-encoding"), headers.get("expect")), (None, None),
         "no compressed answer is asked for, no 100 waited for")


def trouble_at_the_start(w):
    wrong = []
    for i, (name, do) in enumerate(FAULTS):
        if "apply" in do or name in ("408", "425"):     # slow to count
            continue
        w.env["LINESYNC_COLLECTION"] = "Code%d" % i
        w.env["LINESYNC_STATE"] = "%s.%d" % (w.state, i)
        w.script(*({"match": {"kind": kind}, "times": 1, "do": do}
                   for kind in ("heartbeat", "preflight", "collection_get", "collection_create", "count",
                                "get")))
        ended = w.sync([put("a", "A")])
        if ended.rc != 0 or ended.status(1) != "completed" or len(w.store.by_name) == 0:
            wrong.append((name, ended.rc, ended.err))
    same(wrong, [], "the same when the collection is opened")


def reset_in_request(w):
    prepared(w)
    front = Proxy(w.server.port, cut=4)
    some = [put("f%d" % i, "%d" % i * 200000) for i in range(4)]
    ended = w.sync(some, "--store", "chroma:http://127.0.0.1:%d" % front.at, "--state",
                   w.state + ".2",
                   "--late", "1ms", "--flush-ms", LATER)
    front.close()
    same((ended.rc, front.cut, stored(w, some)), (0, 0, True),
         "a connection that is reset while a request is sent")
    same({r["status"] for r in ended.results}, {"completed"}, "nobody is charged")


def long_error(w):
    prepared(w)
    text = "no " * (21 << 20)
    w.script({"match": UPSERT, "times": 1,
              "do": {"status": 500, "body": {"error": "E", "message": text}}},
             {"match": UPSERT, "times": 1, "do": {"status": 500, "body": text}})
    f = Fed(w)
    peak = []
    w.store.on_request = lambda _n, call: peak.append(f.memory_kb("VmHWM"))
    f.feed(put("a", "A"))
    wait_for("the result", f.results)
    same((f.end(), f.results()[0]["status"]), (0, "completed"), "an error text of 63 MB")
    if not sanitized():
        test(max(peak) - peak[0] < 8192, "takes %d KiB of memory" % (max(peak) - peak[0]))
    w.script({"match": UPSERT,
              "do": {"status": 422,
                     "body": {"error": "E\x1b[2J", "message": "\x1b]0;x\x07" + text}}})
    ended = w.sync([put("b", "B")])
    message = ended.of(1)["error"]["message"]
    test(ended.rc == 1 and 0 < len(message) < 200, "what is kept of it is short")
    test(not re.search(r"[\0-\x1f\x7f]", message + ended.err.replace("\n", "")), "and printable",
         message)


def retry_after(w):
    prepared(w)

    def times(value):
        w.store.clear_log()
        w.script({"match": UPSERT, "times": 1,
                  "do": {"status": 503, "headers": {"retry-after": value}}})
        ended = w.sync([put("a", "at " + value)])
        asked = [e["time"] for e in logged(w)]
        return asked if ended.rc == 0 and len(asked) == 2 else [math.inf, 0]

    asked, again = times("1")
    test(again - asked >= 0.99, "Retry-After in seconds is obeyed")
    then = math.floor(time.time()) + 2
    test(times(formatdate(then, usegmt=True))[1] >= then - 0.05, "Retry-After as a date is obeyed")
    for value in ("-5", "soon", "", "1e3", "0", "Thu, 01 Jan 1970 00:00:00 GMT", "99 bottles"):
        test(times(value)[1] > 0, "Retry-After: '%s' does no harm" % value)
    w.script({"match": UPSERT,
              "do": {"status": 429, "headers": {"retry-after": "99999999999999999999"}}})
    f = Fed(w, "-v")
    f.feed(put("a", "a week"))
    wait_for("the pause", lambda: b"the next in" in f.said)
    test(b"the next in 300.0 s" in f.said, "a huge one is at most 300 s", f.said)
    same(f.end(signal.SIGTERM), 143, "and does not hold up a signal")


def no_hammering(w):
    prepared(w)
    w.script({"match": UPSERT, "do": {"status": 503, "headers": {"retry-after": "0"}}})
    ended = w.sync([put("a", "A"), put("b", "B")], "--give-up", "1s", "--retry-wait", "100ms",
                   "--retry-max-wait", "400ms")
    same(ended.rc, 75, "a store that asks for no pause")
    test(len(logged(w)) <= 40, "is not asked without end: %d requests" % len(logged(w)))


# ---- away ----


def comes_back(w):
    prepared(w)
    down = []

    def arrives(_n, call):
        if call.kind == "upsert" and len(logged(w)) >= 4 and not down:
            down.append(True)
            w.server.down(150)

    some = lines(60)
    ended = w.sync(some, "--batch-size", "4", "--connections", "2", "--late", "1ms",
                   on_request=arrives)
    same((ended.rc, len(down), stored(w, some), failures(w)), (0, 1, True, {}),
         "a store that goes and comes back: nothing is charged")
    same(ended.statuses(60), ["completed"] * 60, "every line is done")


def reading_pauses(w):
    f = Fed(w, "-v", "--batch-size", "100000", "--flush-ms", "5")
    f.feed(put("first", "first"))
    wait_for("the first result", f.results)
    w.stop_store()
    some = lines(1, "before")
    f.feed(*some)
    wait_for("the failure", lambda: b"in a row failed" in f.said)
    rest = lines(40000, "after", first=1)
    data = b"".join(as_line(x) + b"\n" for x in rest)
    taken = f.stuff(data, len(data))
    pipe = fcntl.fcntl(f.child.stdin.fileno(), fcntl.F_GETPIPE_SZ)
    test(taken <= pipe + 65536,
         "while the store is away, reading stops: %d bytes, the pipe holds %d" % (taken, pipe))
    w.start_store()
    os.set_blocking(f.child.stdin.fileno(), True)
    whole = data.find(b"\n", taken) + 1
    f.child.stdin.write(data[taken:whole])
    some += rest[:data.count(b"\n", 0, whole)]
    same((f.end(), stored(w, some)), (0, True), "when it is back, all goes on")
    same((failures(w), {r["status"] for r in f.results()}), ({}, {"completed"}),
         "and nobody is charged")


def give_up(w):
    prepared(w)
    some = lines(8)
    w.script({"match": {"kind": "upsert", "nth": 1}, "do": {"delay_ms": 0}},
             {"match": UPSERT, "do": {"status": 503}})
    for limit in ("0", "150ms"):
        ended = w.sync(some, "--batch-size", "2", "--give-up", limit)
        same((ended.rc, codes(ended), failures(w)), (75, {}, {}),
             "--give-up %s: 75, nobody is charged" % limit)
        test("away" in ended.err and re.search(r"\d+ lines read and not settled: the same command resumes", ended.err),
             "it says what to do", ended.err)
        test(all(r["status"] == "completed" for r in ended.results),
             "only what is done has a result")
    same(run_status(w)[-1], "interrupted", "the run is interrupted")
    w.script()
    w.store.clear_log()
    ended = w.sync(some, "--batch-size", "2")
    same((ended.rc, ended.statuses(8), stored(w, some)), (0, ["completed"] * 8, True),
         "the same command does the rest")
    same((sum(bool(r.get("resumed")) for r in ended.results), sum(sizes(w))), (2, 6), "and no more")
    w.script({"match": {"kind": "upsert|delete"}, "do": {"status": 500}})
    ended = w.sync(lines(1, "new"), "--max-retries", "1", "--give-up", "600ms")
    same((ended.rc, ended.results, failures(w)), (75, [], {}),
         "500 to everything, the witness too: 75, nobody is charged")


def not_there(w):
    w.stop_store()
    for limit in ("0", "100ms"):
        ended = w.sync(lines(3), "--give-up", limit)
        same((ended.rc, ended.results), (75, []), "no store at the start, --give-up %s: 75" % limit)
        test("is away" in ended.err and "127.0.0.1" in ended.err, "it names it", ended.err)
    w.start_store()
    w.script({"match": {"kind": "heartbeat"}, "do": {"hang": True}})
    ended = w.sync(lines(3), "--give-up", "0", "--timeout", "50ms")
    same((ended.rc, ended.results), (75, []), "one that never answers, and --timeout: 75")
    w.script()
    some = lines(3)
    ended = w.sync(some)
    same((ended.rc, stored(w, some)), (0, True), "and when it is there")


def one_poison(w):
    for status in (500, 503):
        v = World(w.verbose)
        try:
            prepared(v)
            v.script({"match": {"kind": "upsert", "content": "poison"}, "do": {"status": status}})
            some = [put("p", "poison"), *lines(30)]
            ended = v.sync(some, "--batch-size", "1", "--connections", "1", "--max-retries", "2",
                           "--give-up", "10m")
            same((ended.rc, codes(ended)), (1, {"p": ("store-failed", status)}),
                 "%d for ever for one object: it alone fails" % status)
            same(stored(v, some[1:]), True, "the others are stored")
            test("away" not in ended.err, "the store is not called away", ended.err)
            test(ended.results[0]["line"] != 1, "it does not hold up those behind it")
            same(ended.of(1)["retries"], [e["paths"] for e in logged(v)].count(["p"]) - 1,
                 "its retries are counted")
            test(ended.of(1)["retries"] >= 2, "they are at least --max-retries")
        finally:
            v.close()


# ---- what stops a run ----


def access(w):
    prepared(w)
    some = lines(6)
    for status in (401, 403):
        for kind in ("heartbeat", "collection_get", "upsert"):
            w.store.clear_log()
            w.script({"match": {"kind": kind}, "do": {"status": status}})
            ended = w.sync(some, "--batch-size", "2")
            same((ended.rc, ended.results, failures(w)), (77, [], {}),
                 "%d to %s: 77, nobody is charged" %
                 (status, kind))
            same(len(logged(w, kind)), 1, "at once")
            test("--api-key-file" in ended.err, "it says what to do", ended.err)
    w.script()
    ended = w.sync(some, "--batch-size", "2")
    same((ended.rc, stored(w, some)), (0, True), "the same command does the rest")


def means_wait(w):
    prepared(w)
    for i, headers in enumerate(({"retry-after": "0"}, {"x-ratelimit-remaining": "0"},
                                 {"ratelimit": "limit=9, remaining=0, reset=1"})):
        for status in (401, 403):
            name = "%d %d" % (i, status)
            w.script(*({"match": {"kind": kind}, "times": 1, "do": {"status": status, "headers": headers}}
                       for kind in ("heartbeat", "preflight", "collection_get", "count", "upsert", "delete")))
            ended = w.sync([put("a", name), delete("b" + name)], "--retry-max-wait", "2ms")
            same((ended.rc, ended.err, ended.statuses(2), stored(w, [put("a", name)])),
                 (0, "", ["completed"] * 2, True), "%d with %s means wait" % (status, headers))
    w.script({"match": {"kind": "upsert|delete"}, "do": {"status": 403, "headers": headers}})
    ended = w.sync([put("a", "new")], "--give-up", "50ms", "--max-retries", "1", "--retry-max-wait", "2ms")
    same((ended.rc, ended.results, failures(w)), (75, [], {}), "for ever: 75, nobody is charged")


def spent(w):
    prepared(w)
    for words, status, rc in (("Your budget is used up", 400, 77), ("Payment Required", 402, 77),
                              ("Quota exceeded: 'Number of records'", 400, 75)):
        w.store.clear_log()
        w.script({"match": {"kind": "upsert", "nth": 1}, "do": {"delay_ms": 0}},
                 {"match": UPSERT, "do": {"status": status, "unlisted": True, "body": {"error": "E", "message": words}}})
        ended = w.sync(lines(40, words), "--batch-size", "4", "--flush-ms", LATER)
        same((ended.rc, set(ended.verdicts().values()), failures(w)), (rc, {"completed"}, {}),
             "%d %s after a success: %d, nobody is charged" % (status, words, rc))
        test(words in ended.err and len(logged(w)) < 60, "it says why, and goes on no further", ended.err)
        w.script()
        same(w.sync(lines(40, words), "--batch-size", "4").rc, 0, "the same command resumes")


def redirect(w):
    prepared(w)
    w.store.token = w.env["CHROMA_TOKEN"] = "secret-key"
    target = socket.create_server(("127.0.0.1", 0))
    target.setblocking(False)
    where = "http://127.0.0.1:%d/secret-path?token=t" % target.getsockname()[1]
    for status in (301, 302, 307, 308):
        for kind in ("heartbeat", "upsert"):
            w.script({"match": {"kind": kind},
                      "do": {"status": status, "headers": {"location": where}}})
            ended = w.sync(lines(3), "--connections", "1")
            same((ended.rc, ended.results, failures(w)), (78, [], {}),
                 "%d to %s: 78" % (status, kind))
            test("redirects" in ended.err and where.partition("?")[0] in ended.err and "token" not in ended.err,
                 "it names the target, without its query", ended.err)
    try:
        target.accept()
        test(False, "nothing is ever sent to the target")
    except BlockingIOError:
        test(True, "nothing is ever sent to the target")
    target.close()


SHAPE = {"status": 400, "message": "Collection expecting embedding with dimension of 9, got 8"}


def wrong_shape(w):
    prepared(w)
    some = lines(12)
    w.script({"match": UPSERT, "do": {"refuse_objects": SHAPE}})
    ended = w.sync(some, "--batch-size", "2", "--flush-ms", LATER)
    same((ended.rc, ended.results, failures(w)), (78, [], {}),
         "a wrong dimension on every object of three batches: 78, unfinished and not failed")
    test("dimension of 9" in ended.err, "it says what the store says", ended.err)
    w.script()
    ended = w.sync(some, "--batch-size", "2")
    same((ended.rc, stored(w, some)), (0, True), "the same command does the rest")
    w.script({"match": {"kind": "upsert", "content": "new 1"}, "do": {"refuse_objects": SHAPE}})
    ended = w.sync(lines(12, "new"), "--batch-size", "4", "--flush-ms", LATER)
    same((ended.rc, sorted(codes(ended))), (1, ["f001", "f010", "f011"]), "single ones fail alone")
    ended = w.sync([put("v", "V", vector=[1.0] * 9), put("u", "U", vector=[0.5] * 8),
                    put("t", "T")], "--no-retry")
    same((ended.rc, codes(ended)), (1, {"v": ("bad-vector", None)}),
         "a vector of another length fails alone, before it is sent")


def max_failures(w):
    prepared(w)
    some = lines(12)
    w.script({"match": UPSERT, "do": {"refuse_objects": True}})
    ended = w.sync(some, "--batch-size", "1", "--connections", "1", "--max-failures", "3")
    same((ended.rc, len(codes(ended))), (1, 4), "--max-failures 3: stops when there are more")
    test("--max-failures" in ended.err and "resumes" in ended.err, "and says so", ended.err)
    same(run_status(w)[-1], "interrupted", "the run is interrupted")
    w.script()
    ended = w.sync(some)
    same((ended.rc, stored(w, some), failures(w)), (0, True, {}), "the same command does the rest")


def rate(w):
    prepared(w)
    w.sync(lines(13), "--rate", "20", "--batch-size", "3", "--flush-ms", LATER)
    times = [e["time"] for e in logged(w)]
    same(sizes(w), [3, 3, 3, 3, 1], "--rate, in batches")
    test(times[-1] - times[0] >= 0.59,
         "12 objects at 20 a second take %.2f s" % (times[-1] - times[0]))


# ---- collections ----


def make(w, name="Code", space="cosine", dimension=None, database="default_database"):
    c = chroma.Collection("default_tenant", database, name, space, None)
    c.dimension = dimension
    with w.store.lock:
        w.store.by_name[c.tenant, c.database, name] = w.store.by_id[c.id] = c
    return c


def drop(w):
    with w.store.lock:
        w.store.by_name.clear()
        w.store.by_id.clear()


def created(w):
    ended = w.sync([put("a", "A")], "--no-create")
    same((ended.rc, ended.results, len(w.store.by_name)), (78, [], 0),
         "--no-create: 78, and nothing is made")
    test("Code" in ended.err, "it names the collection", ended.err)
    ended = w.sync([put("a", "A")])
    spaces = [c.space for c in w.store.by_name.values()]
    same((ended.rc, spaces), (0, ["cosine"]), "created, with cosine distance")
    test("'Code' was created (cosine" in ended.err, "and that is said", ended.err)
    ended = w.sync([put("b", "B")], "--no-create")
    same((ended.rc, ended.err), (0, ""), "the second time it is there, and nothing is said")


def unfit(w):
    for space in ("l2", "ip"):
        drop(w)
        make(w, space=space)
        ended = w.sync(lines(2))
        same((ended.rc, ended.results, len(logged(w))), (78, [], 0), "the metric %s: 78" % space)
        test("metric" in ended.err and space in ended.err and "cosine" in ended.err,
             "both are named", ended.err)
    drop(w)
    make(w, dimension=16)
    ended = w.sync(lines(2))
    same((ended.rc, ended.results, len(logged(w))), (78, [], 0), "another dimension: 78")
    test("16" in ended.err and "8" in ended.err, "both are named", ended.err)
    w.options = w.options[:-2]
    ended = w.sync(lines(2))
    same((ended.rc, ended.statuses(2)), (0, ["completed"] * 2),
         "--embed not named: the collection's")


def gone(w):
    """The state holds two documents; the collection is not what it was."""
    some = lines(2)

    def vanish():
        drop(w)

    def empty():
        with w.store.lock:
            for c in w.store.by_name.values():
                c.records.clear()

    def replace():
        drop(w)
        c = make(w, dimension=8)
        for i in range(5):
            c.records[str(i)] = chroma.Record()
            c.records[str(i)].merge("x", {}, chroma.array.array("f", [1] * 8), None)

    for name, change, counts in (("vanished", vanish, ["2"]), ("emptied", empty, ["0", "2"]),
                                 ("replaced", replace, ["5", "2"])):
        drop(w)
        w.ask("forget", "--all")
        w.sync(some)
        change()
        w.store.clear_log()
        path = os.path.join(w.dir, "input")
        with open(path, "wb") as f:
            f.write(b"".join(as_line(x) + b"\n" for x in lines(3, "new")))
        with open(path, "rb") as f:
            done = subprocess.run([program(), *w.options], env=w.env, cwd=w.dir, stdin=f,
                                  timeout=PATIENCE,
                                  capture_output=True, check=False)
        same((done.returncode, done.stdout, len(logged(w, "upsert|delete|collection_create"))),
             (78, b"", 0), "%s: 78, before a line is taken or anything is made" % name)
        said = done.stderr.decode()
        test(all(re.search(r"\b%s (objects|documents)" % n, said) for n in counts),
             "it names the counts", said)
        test("--store" in said and "linesync forget --all" in said, "and what to do", said)
        same(w.ask("forget", "--all")[0], 0, "forget --all")
        ended = w.sync(some)
        same((ended.rc, ended.statuses(2), stored(w, some)), (0, ["completed"] * 2, True),
             "and feed everything")


def only_in_doubt(w):
    w.sync([put("a", "A")])
    same(w.sync([put("a", "B")], kill_request=1).rc, 137, "killed with the only document in flight")
    w.settle()
    drop(w)
    ended = w.sync([put("a", "B")])
    same((ended.rc, ended.status(1), w.documents()), (0, "completed", {("R", "a"): "B"}),
         "documents in doubt are not counted: a collection that is gone is made anew")


def partly_lost(w):
    some = lines(4)
    w.sync(some)
    with w.store.lock:
        for c in w.store.by_name.values():
            del c.records[next(iter(c.records))]
    for _ in range(2):
        ended = w.again()
        test(ended.rc == 0 and "3 objects" in ended.err and "4 documents" in ended.err,
             "fewer objects than documents: a warning, in each run", ended.rc, ended.err)
    found = re.search("run 'linesync (forget --all --state [^']*)'", ended.err)
    same(found and w.ask(*found[1].split())[0], 0, "the command that it names")
    ended = w.sync(some)
    same((ended.rc, stored(w, some), w.again().err), (0, True, ""), "and feed everything")


def lose(w, paths):
    """Takes the objects of these documents of R out of the store, behind linesync's back."""
    gone = {i for i, meta, _, _ in w.store.objects() if meta["repository"] == "R" and meta["file_path"] in paths}
    with w.store.lock:
        for c in w.store.classes.values() if hasattr(w.store, "classes") else w.store.by_name.values():
            kept = c.objects if hasattr(c, "objects") else c.records
            for i in gone:
                del kept[i]


def chunks_lost(w):
    """Not only a document's first object is looked for."""
    text = "".join("line %d of it\n" % i for i in range(200))
    w.sync([put("f%d" % i, text + str(i)) for i in range(20)], "--chunk-bytes", "200")
    gone = {i for i, meta, _, _ in w.store.objects() if meta["chunk_index"] > 0}
    test(len(gone) >= 200, "each has ten chunks or more", len(gone))
    with w.store.lock:
        for c in w.store.by_name.values():
            for i in gone:
                del c.records[i]
    ended = w.sync([put("new", "new")])
    same((ended.rc, ended.results), (78, []), "of each the first alone is left: 78")


def mostly_lost(w):
    """Others keep theirs in the same collection: its number of objects says nothing of ours."""
    for store, n in (("chroma", 40), ("weaviate", 40), ("chroma", 1000)):
        v = World(w.verbose, store)
        try:
            some, names = lines(n), ["f%03d" % i for i in range(n)]
            v.sync(some, "--batch-size", "200")
            same(v.sync(lines(n, repo="Other"), "--batch-size", "200", "--state", v.state + ".other").rc, 0, "prepared")
            ended = v.again()
            same((ended.rc, ended.err), (0, ""), "%d of %s: others' objects are not missed" % (n, store))
            lose(v, names[:n * 3 // 10])
            ended = v.again()
            said = re.search(r"holds (\d+) objects, .* (\d+) documents; but of (\d+) that were looked for (\d+) are gone",
                             ended.err)
            test(ended.rc == 0 and said and [int(x) for x in said.groups()[:3]] == [2 * n - n * 3 // 10, n, min(n, 250)]
                 and int(said[4]) > 0, "3 of 10 gone: a warning", ended.rc, ended.err)
            if n <= 250:
                lose(v, names[n * 3 // 10:n // 2])
                ended = v.again()
                test(ended.rc == 0 and "%d are gone" % (n // 2) in ended.err, "half of them: a warning", ended.err)
                lose(v, names[n // 2:n // 2 + 1])
            else:
                lose(v, names[n * 3 // 10:n * 9 // 10])
            v.store.clear_log()
            ended = v.sync([put("new", "new")])
            same((ended.rc, ended.results, v.writes()), (78, [], []), "less than half is there: 78, and nothing is done")
            said = re.search(r"holds (\d+) objects, .* (\d+) documents; .* only (\d+) are there", ended.err)
            test(said and int(said[2]) == n and "mend --store" in ended.err, "it names the counts", ended.err)
            rc, out = v.ask("check")
            test(rc == 78 and re.search("bad +collection.* only", out), "check says the same", rc, out)
            same(v.ask(*re.search("run 'linesync (forget --all --state [^']*)'", ended.err)[1].split())[0], 0,
                 "the command that it names")
            ended = v.sync(some, "--batch-size", "200")
            same((ended.rc, set(ended.statuses(n)), {d: t for d, t in v.documents().items() if d[0] == "R"}, v.again().err),
                 (0, {"completed"}, {("R", x["path"]): x["content"] for x in some}, ""), "and feed everything")
        finally:
            v.close()


def lost_in_doubt(w):
    """What is in doubt, and what skip accepted, is not looked for."""
    w.sync(lines(3))
    w.script({"match": UPSERT, "do": {"hang": True}})
    same(w.sync(lines(2, "new"), "--batch-size", "2", kill_request=1).rc, 137, "killed with two of three in flight")
    w.script()
    w.settle()
    lose(w, ["f000", "f001"])
    ended = w.sync([put("f000", "again")])
    same((ended.rc, ended.status(1), "gone" in ended.err), (0, "completed", False), "the third is there, and enough")


def not_found(w):
    prepared(w)
    some = lines(6)
    w.script({"match": UPSERT, "times": 1, "do": {"status": 404}})
    ended = w.sync(some, "--flush-ms", LATER)
    same((ended.rc, len(sizes(w)), len(logged(w, "collection_get")), stored(w, some)),
         (0, 2, 2, True),
         "404 once: the collection is looked up again")
    w.script({"match": UPSERT, "do": {"status": 404}})
    ended = w.sync(lines(6, "new"), limit=600)
    same((ended.rc, ended.results, failures(w)), (78, [], {}),
         "404 again and again: 78, nobody is charged")


def vanishes(w):
    for name, remake in (("vanishes", False), ("is replaced", True)):
        v = World(w.verbose)
        try:
            prepared(v)
            some = lines(12)

            def arrives(_n, call, v=v, remake=remake):
                if call.kind == "upsert" and len(logged(v)) == 3:
                    drop(v)
                    if remake:
                        make(v)

            ended = v.sync(some, "--batch-size", "2", "--connections", "1", on_request=arrives)
            same((ended.rc, codes(ended), failures(v)), (78, {}, {}),
                 "%s during the run: 78, nobody is charged" % name)
            test("forget --all" in ended.err and len(logged(v, "collection_create")) == 0,
                 "it says what to do",
                 ended.err)
            same(v.ask("forget", "--all")[0], 0, "forget --all")
            ended = v.sync([put("first", "first"), *some])
            same((ended.rc, ended.statuses(13), stored(v, some)), (0, ["completed"] * 13, True),
                 "and feed everything")
        finally:
            v.close()


def object_id(repo, path, chunk=0):
    def quoted(s):
        return quote(s, safe="-._~")
    return str(uuid.uuid5(uuid.NAMESPACE_URL,
                          "linesync:Code/%s/%s#%d" % (quoted(repo), quoted(path), chunk)))


def ours(path, chunk=0, repo="R", **more):
    return {"repository": repo, "file_path": path, "chunk_index": chunk, "sync_digest": "0" * 32,
            **more}


FOREIGN = [("not a uuid", ours("x")), (str(uuid.uuid4()) + "0", ours("x")), ("n1", None),
           ("n2", {}),
           (str(uuid.uuid4()), {"repository": "R"}),
           (str(uuid.uuid4()), {"file_path": "x", "chunk_index": 0}),
           (str(uuid.uuid4()), {"repository": 1, "file_path": ["x"], "chunk_index": "0"}),
           (str(uuid.uuid4()), {**ours("x"), "chunk_index": -1}), ("é" * 18, ours("x")),
           (str(uuid.uuid4()), ours("x")), (str(uuid.uuid4()), ours("f0001", 4294967295))]


def fill(c, i, meta, text):
    c.records[i] = chroma.Record()
    c.records[i].merge(text, meta, chroma.array.array("f", [1] * 8), None)


def not_empty(w):
    c = make(w, dimension=8)
    for i in range(1200):
        fill(c, object_id("R", "f%04d" % i), ours("f%04d" % i), "old %d" % i)
        if i % 100 == 0:
            for i, meta in ((str(uuid.uuid4()), None), ("foreign %d" % i, {"source": "other"})):
                fill(c, i, meta, "foreign")
    for i, meta in FOREIGN:
        fill(c, i, meta, "foreign")
    for chunk in range(4):
        fill(c, object_id("S", "long", chunk), ours("long", chunk, "S"), "chunk")
        fill(c, object_id("S", "gone", chunk), ours("gone", chunk, "S"), "chunk")
    foreign = {i for i, r in c.records.items() if r.document == "foreign"}
    n = len(c.records)
    w.script({"match": {"kind": "get", "nth": 2}, "do": {"status": 503}})
    ended = w.sync([put("f0001", "old 1"), put("long", "short now", "S"), delete("gone", "S")])
    same((ended.rc, ended.statuses(3)), (0, ["completed"] * 3),
         "a collection that is not empty: nothing is unchanged")
    gets = [e for e in logged(w, "get") if e["status"] == 200]
    same(len(gets), 2, "it is read page by page")
    test("%d objects" % n in ended.err, "which is said", ended.err)
    repos = w.repos()
    same((repos["R"]["documents"], repos["S"]["documents"], len(repos)), (1200, 1, 2),
         "its documents are known")
    same({i for i, r in c.records.items() if r.metadata.get("repository") == "S"} - foreign,
         {object_id("S", "long")},
         "chunks that a shorter document and a delete leave are deleted")
    with w.store.lock:
        same({i for i, r in c.records.items() if r.document == "foreign"}, foreign,
             "what is foreign stays")
    w.store.clear_log()
    ended = w.sync([put("f0001", "old 1"), put("f0002", "old 2")])
    same((ended.statuses(2), len(logged(w, "get"))), (["skipped:unchanged", "completed"], 0),
         "read once; unchanged is only what a line has finished")


def stopped_between_chunks(w):
    """A document that has shrunk is in doubt until what it had beyond is deleted."""
    c = make(w, dimension=8)
    for chunk in range(2):
        fill(c, object_id("R", "long", chunk), ours("long", chunk), "chunk")
    same(w.sync([put("b", "B"), {"repo": "R", "new_changeset": {"commit": "P0"}}]).rc, 0, "prepared")
    w.script({"match": {"kind": "delete"}, "do": {"status": 429, "headers": {"retry-after": "300"}}})
    sync = Steered(w, "-v")
    sync.feed(put("long", "short now"))
    sync.wait_said("the next in 300.0 s")
    sync.signal(signal.SIGTERM)
    same(sync.ended().signal, signal.SIGTERM, "stopped when it is stored, and the rest is not deleted")
    w.script()
    same(w.touched("R"), {"long"}, "the document is in doubt")
    ended = w.sync([put("b", "B1"), {"repo": "R", "new_changeset": {"commit": "P1", "since": "P0"}}])
    same((ended.rc, ended.status(2), w.position("R")), (1, "held", "P0"), "and holds its changeset")
    ended = w.sync([put("long", "short now"), put("b", "B1"), {"repo": "R", "new_changeset": {"commit": "P1"}}])
    same((ended.rc, set(c.records)), (0, {object_id("R", "b"), object_id("R", "long")}), "until a line finishes it")


def embedders(w):
    w.sync(lines(2))
    w.store.clear_log()
    for how in ("hash:16", "hash"):
        w.options[-1] = how
        ended = w.sync(lines(2, "new"))
        if how == "hash":
            same((ended.rc, ended.err), (0, ""),
                 "--embed hash: the state's dimension is one of its own")
            continue
        same((ended.rc, ended.results, len(logged(w))), (78, [], 0), "another embedder: 78")
        test("hash-1:8" in ended.err and how in ended.err and "forget" in ended.err,
             "it says what to do", ended.err)
    w.options = w.options[:-2]
    ended = w.sync(lines(2, "newer"))
    same((ended.rc,
          {len(r.embedding) for c in w.store.by_name.values() for r in c.records.values()}),
          (0, {8}),
         "not named: the state's")
    for how in ("hash:7", "hash:4097", "hash:", "hash:x", "store", "word2vec"):
        ended = w.sync(lines(1), "--embed", how)
        same((ended.rc, ended.results), (78, []), "--embed %s: 78" % how)


def given_vectors(w):
    w.options = w.options[:-2]
    some = [put("v%d" % i, "V", vector=[i, 1, 0.5, 1e-9, -3.25]) for i in range(4)]
    ended = w.sync(some)
    same((ended.rc, ended.statuses(4)), (0, ["completed"] * 4),
         "vectors that come with the records")
    with w.store.lock:
        vectors = {r.metadata["file_path"]: r.embedding.tolist()
                   for c in w.store.by_name.values() for r in c.records.values()}
    same({p: [round(x, 10) for x in v] for p, v in vectors.items()},
         {x["path"]: x["vector"] for x in some},
         "are stored as they are")
    ended = w.sync([put("v0", "V", vector=some[0]["vector"]),
                    put("v1", "V", vector=[1, 1, 0.5, 1e-9, -3])])
    same(ended.statuses(2), ["skipped:unchanged", "completed"], "and compared")
    for n in (5, 4097, 60000):
        drop(w)
        w.ask("forget", "--all")
        ended = w.sync([put("v", "V", vector=[1] * n), put("t", "text " * 999)], "--no-retry")
        same((ended.rc, ended.status(1), codes(ended)),
             (1, "completed", {"t": ("bad-vector", None)}),
             "vectors of %d numbers: a line without one fails, none is made up" % n)


# ---- addresses and keys ----


def keys(w):
    prepared(w)
    w.store.token = "right"
    path = os.path.join(w.dir, "key")
    folder = os.path.join(w.dir, "credentials")
    os.mkdir(folder)

    def write(name, text, mode=0o600):
        with open(name, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(name, mode)

    def attempt(name, want, *options, **env):
        w.env.update(env)
        w.store.clear_log()
        ended = w.sync([put("k", name)], *options, "-v", "-v")
        same(ended.rc, want, name)
        test(not re.search("right|wrong-", ended.err), "and is not shown", ended.err)
        return ended

    attempt("no key: 77", 77)
    attempt("a wrong key: 77", 77, CHROMA_TOKEN="wrong-1")
    attempt("CHROMA_TOKEN", 0, CHROMA_TOKEN="right")
    same({e["authorized"] for e in w.store.log}, {True}, "goes with each request")
    attempt("LINESYNC_API_KEY comes before it", 77, LINESYNC_API_KEY="wrong-2")
    attempt("LINESYNC_API_KEY", 0, LINESYNC_API_KEY="right", CHROMA_TOKEN="wrong-1")
    write(os.path.join(folder, "linesync-api-key"), "right\n", 0o440)
    attempt("$CREDENTIALS_DIRECTORY comes before them", 0, LINESYNC_API_KEY="wrong-2",
            CREDENTIALS_DIRECTORY=folder)
    write(path, "wrong-3\n")
    attempt("--api-key-file before that", 77, "--api-key-file", path)
    write(path, "right\n")
    os.chmod(os.path.join(folder, "linesync-api-key"), 0o600)
    write(os.path.join(folder, "linesync-api-key"), "wrong-4\n")
    attempt("--api-key-file", 0, "--api-key-file", path)
    write(path, "right\n", 0o640)
    ended = attempt("a key file that others can read: 77", 77, "--api-key-file", path)
    test("chmod 600" in ended.err and not w.store.log, "it says what to do, and nothing is sent",
         ended.err)
    write(path, "ri\nx-other: ght\n")
    attempt("a key that is two lines: 77", 77, "--api-key-file", path)
    ended = attempt("a key in clear to another machine: 77", 77, "--store",
                    "chroma:http://192.0.2.1:8000",
                    "--state", w.state + ".2")
    test("--insecure-http" in ended.err, "it says what allows it", ended.err)


class Proxy:
    """Takes requests for any host and passes them to one port; knows their first lines and heads."""

    def __init__(self, port, tls=None, cut=0):
        self.port, self.tls = port, tls
        self.cut = cut      # so many requests are reset when a part of them has come
        self.heads = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.at = self.listener.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                s = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def serve(self, s):
        try:
            if self.tls:
                s = self.tls.wrap_socket(s, server_side=True)
            up = socket.create_connection(("127.0.0.1", self.port))
            back = threading.Thread(target=self.copy, args=(up, s, False), daemon=True)
            back.start()
            self.copy(s, up, True)
            back.join()
        except OSError:
            pass
        finally:
            s.close()

    def copy(self, source, to, requests):
        try:
            for data in iter(lambda: source.recv(65536), b""):
                if requests and re.match(rb"(GET|POST) ", data):
                    self.heads.append(data.partition(b"\r\n\r\n")[0].decode())
                    if self.cut and b"/upsert" in data:
                        self.cut -= 1
                        to.sendall(data[:-1])
                        source.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                          struct.pack("ii", 1, 0))
                        source.close()
                        break
                    data = re.sub(rb"\A(GET|POST) http://[^/]+/", rb"\1 /", data)
                to.sendall(data)
        except OSError:
            pass
        try:
            to.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        self.listener.close()


def proxies(w):
    proxy = Proxy(w.server.port)
    url = "http://127.0.0.1:%d" % proxy.at
    w.env.update(http_proxy=url, https_proxy=url, all_proxy=url, ALL_PROXY=url, HTTPS_PROXY=url)
    prepared(w)
    same(proxy.heads, [], "a store on this machine is asked without a proxy")
    w.env["LINESYNC_STORE"] = "chroma:http://store.example:8000"
    w.env["LINESYNC_STATE"] = w.state + ".2"
    ended = w.sync([put("a", "A")])
    same((ended.rc, ended.status(1)), (0, "completed"),
         "another through the proxy of the environment")
    test(proxy.heads and all(" http://store.example:8000/" in h for h in proxy.heads),
         "which is told of it",
         *proxy.heads[:1])
    w.env["no_proxy"] = "store.example"
    proxy.heads.clear()
    w.sync([put("a", "A")], "--give-up", "0")
    same(proxy.heads, [], "unless no_proxy says otherwise")
    proxy.close()


def certificate(w):
    key, cert = os.path.join(w.dir, "key.pem"), os.path.join(w.dir, "cert.pem")
    try:
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes",
                        "-days", "2", "-subj", "/CN=localhost", "-addext",
                        "subjectAltName=DNS:localhost",
                        "-keyout", key, "-out", cert], check=True, capture_output=True,
                        timeout=PATIENCE)
    except (OSError, subprocess.CalledProcessError):
        return None
    return key, cert


def tls(w):
    made = certificate(w)
    if not made:
        report.note("no openssl: https is not tested")
        return
    key, cert = made
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    front = Proxy(w.server.port, context)
    w.store.token = w.env["CHROMA_TOKEN"] = "secret-key"
    w.env["LINESYNC_STORE"] = "chroma:https://localhost:%d" % front.at
    ended = w.sync([put("a", "A")], "--cacert", cert)
    same((ended.rc, ended.status(1)), (0, "completed"), "https with --cacert")
    front.heads.clear()
    ended = w.sync([put("a", "B")], "--give-up", "20s")
    same((ended.rc, ended.results, front.heads), (78, [], []),
         "an unknown certificate: 78, and nothing is sent")
    test("certificate" in ended.err and "--cacert" in ended.err, "it says what to do", ended.err)
    ended = w.sync([put("a", "B")], "--cacert", cert, "--store",
                   "chroma:https://127.0.0.1:%d" % front.at,
                   "--state", w.state + ".2")
    same((ended.rc, front.heads), (78, []), "nor is anything to a host of another name")
    ended = w.sync([put("a", "B")], "--cacert", os.path.join(w.dir, "nothing.pem"))
    same((ended.rc, front.heads), (78, []), "--cacert that is not there: 78")
    test("nothing.pem" in ended.err, "it is named", ended.err)
    front.close()


def databases(w):
    base = w.env["LINESYNC_STORE"]
    with w.store.lock:
        w.store.tenants.add("ten")
        w.store.databases["ten", "data base"] = str(uuid.uuid4())
    ended = w.sync([put("a", "A")], "--store", base + "/ten/data%20base")
    same((ended.rc, [k[:2] for k in w.store.by_name]), (0, [("ten", "data base")]),
         "TENANT/DATABASE in the URL")
    ended = w.sync([put("a", "A")], "--store", base, "--state", w.state + ".2")
    same((ended.rc, len(w.store.by_name)), (0, 2), "another than the default one")
    ended = w.sync([put("a", "A")], "--store", base + "/ten/nowhere", "--state", w.state + ".3")
    same((ended.rc, ended.results), (78, []), "a database that is not there: 78")
    test("ten/nowhere" in ended.err and "does not exist" in ended.err, "it is named", ended.err)
    for path in ("/ten", "/ten/db/more", "/ten/..", "/ten/a%2Fb", "/ten/a%0Ab", "?x=1", "#x"):
        same(w.sync([], "--store", base + path).rc, 64, "'%s' is no address: 64" % path)


def behind_a_path(w):
    """A proxy in front serves Chroma's /api/v2 below a path of its own."""
    base = w.env["LINESYNC_STORE"]
    w.store.moved = ("/vectors/one/api/v2/", "/api/v2/")
    with w.store.lock:
        w.store.tenants.add("ten")
        w.store.databases["ten", "base"] = str(uuid.uuid4())
    w.env["LINESYNC_STORE"] = base + "/vectors/one/api/v2"
    some = lines(4)
    same((w.sync(some).rc, stored(w, some), len(w.store.violations)), (0, True, 0), "stored")
    same([w.ask(*words.split())[0] for words in ("check", "search text", "retry")], [0, 0, 64], "other commands, too")
    ended = w.sync(some, "--store", base.replace("127.0.0.1", "LocalHost") +
                   "/vectors/%6fne/api/v2/default_tenant/default_database/")
    same((ended.rc, ended.statuses(1)), (0, ["skipped:unchanged"]), "another spelling of it is the same store")
    ended = w.sync(some, "--store", base)
    same((ended.rc, "belongs" in ended.err), (78, True), "without the path it is another one")
    ended = w.sync(some, "--store", base, "--state", w.state + ".2")
    same((ended.rc, "no Chroma with API v2" in ended.err), (78, True), "where none answers: 78")
    ended = w.sync(some, "--store", base + "/vectors/one/api/v2/ten/base", "--state", w.state + ".3")
    same((ended.rc, sorted(k[:2] for k in w.store.by_name)),
         (0, [("default_tenant", "default_database"), ("ten", "base")]), "with tenant and database")
    w.store.undescribed.clear()    # by the requests without the path


def names(w):
    for name in ("Code.v2", "a-b_c", "0" * 512, "x..y"):
        ended = w.sync([put("a", "A")], "--collection", name, "--state", w.state + str(len(name)))
        same(ended.rc, 0, "a collection named %s" % name[:10])
    w.store.clear_log()
    for name in ("ab", "-abc", "abc.", "a/b/c", "../../version", "a b c", "caf\u00e9", "a%2Fb",
                 "a\nb", "0" * 513):
        ended = w.sync([put("a", "A")], "--collection", name, "--state", w.state + ".bad")
        same((ended.rc, ended.results, len(w.store.log)), (64, [], 0),
             "%r is refused: 64" % name[:12])
        test("3 to 512" in ended.err, "it says what a name may be", ended.err)


TESTS = [batch_limits, batch_bytes_on_the_wire, server_limit, slow_producer, first_write,
         superseded, window, refused_whole, fails_whole, all_refused, too_large, delete_too_large, delete_refused, transient,
         odd_answers, trouble_at_the_start, reset_in_request, long_error, retry_after,
         no_hammering, comes_back, reading_pauses, give_up, not_there, one_poison, access,
         means_wait, spent, redirect, wrong_shape, max_failures, rate, created, unfit, gone, only_in_doubt,
         partly_lost, chunks_lost, mostly_lost, lost_in_doubt, not_found, vanishes, not_empty, stopped_between_chunks, embedders, given_vectors, keys,
         proxies, tls, databases, behind_a_path, names]


if __name__ == "__main__":
    sys.exit(run_tests(TESTS))
