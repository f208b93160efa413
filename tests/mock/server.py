"""server.py - what the mock stores share: HTTP, the script of faults, the log, the control plane.

The control plane is below /_mock/ and is neither logged nor scripted nor checked:

    POST /_mock/reset       drop collections, log, script, pending writes, hung requests
    POST /_mock/clear       drop log and violations only
    GET  /_mock/dump        what the store holds, as the store's own mock says; ?documents=1 adds texts,
                            ?embeddings=1 vectors, ?settle=1 first waits for writes still to arrive
    POST /_mock/save        {"name": NAME}: keep a copy of the collections
    POST /_mock/load        {"name": NAME}: put it back; drops the log and pending writes, not the script
    GET  /_mock/log         a list, one entry per request: n, time, conn, method, path, kind, bytes,
                            headers (keys left out), authorized, ids, paths, digests (file_path and
                            sync_digest of an upsert), applied (null: not yet or never),
                            status (null: none was sent), fault (what the script did, or null), end
    GET  /_mock/stats       requests by kind, connections ever, open (now, but for the one that asks: those that
                            came before it are counted, and one stays open until all that came over it is
                            done), in_flight, most_in_flight, pending, and how often it was down and is back
    POST /_mock/script      replace the script: a list of rules, see below; GET shows it with hits
    GET  /_mock/violations  a list of {"n","side": "request"|"answer"|"mock","text"}
    POST /_mock/down        {"ms": N}: close the port and every connection for N ms
    POST /_mock/kill        the same, and what a SIGKILL takes from the store is gone

A rule is {"match": {...}, "times": T, "do": {...}}.  Every key of "match" must hold; none matches
everything:

    kind        "upsert|delete|...": any of those named, as the store's mock names its routes
    collection  its name
    id, path, repo, digest
                some object of the request has this id, file_path, repository, sync_digest
                (id: also in deletes and reads; the others: upsert)
    content     some document contains this text
    method, url the method; a regular expression found in the path
    min_objects, max_objects
                how many ids the request names
    nth         only the Nth request (from 1) for which all the above holds
    every       only each Kth of those
    after       only those after the first A

"times" is how often the rule acts at most (default: for ever).  Rules are counted independently; the
first one that is due acts, the others do not.  "do" may combine (a store's mock may know more):

    delay_ms N          wait before doing anything (the write is done even if the client has gone)
    answer_delay_ms N   do it, then wait, then answer
    status S            answer S instead, applying nothing.  body: text or JSON (default: what such a
                        store says with S), headers: {...}.  apply: true applies the write all the same
                        unlisted: true allows a status that no store or proxy is known to give
    refuse_objects      true, or {"status","message"}: refuse the whole request as invalid (422)
    apply_then_drop     do it, then close without an answer
    drop                close without doing it; rst: true closes with a reset
    delay_apply_ms N    with drop: close at once, and do it N ms later (a late arrival)
    hang                never answer (until the client goes, or reset); apply: true does it first
    partial N           do it, send N bytes of the answer, close
    slow_bytes          true, or {"bytes","ms"}: send the answer in small pieces (1 byte, 20 ms)
    chunked             answer with chunked transfer coding
    raw TEXT            send this instead of an answer, then close; apply: true does it first
    close_after         answer, then close without having said so; close_after_ms N: that much later
    if_gone {"ms","do"} wait so long (0); where the client hangs up meanwhile, "do" holds as well
    kill                true, or {"ms"}: do it, then the server is killed, and away so long (100 ms);
                        nothing that is under way is answered, nothing arrives late
"""

import argparse
import json
import os
import re
import select
import signal
import socket
import struct
import sys
import threading
import time
import urllib.parse

MAX_HEAD = 64 * 1024
KEYS = re.compile(r"authorization|x-chroma-token|.*-api-key")    # headers that hold one
REASONS = {200: "OK", 201: "Created", 204: "No Content", 301: "Moved Permanently", 302: "Found",
           307: "Temporary Redirect", 308: "Permanent Redirect", 400: "Bad Request",
           401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
           408: "Request Timeout", 409: "Conflict", 410: "Gone", 413: "Payload Too Large",
           415: "Unsupported Media Type", 422: "Unprocessable Entity", 425: "Too Early",
           429: "Too Many Requests", 500: "Internal Server Error", 501: "Not Implemented",
           502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout"}


class Answer(Exception):
    """An answer other than the usual one; raised or returned."""

    def __init__(self, status, body, headers=(), close=False):
        super().__init__(status)
        self.status = status
        self.body = body
        self.headers = list(headers)
        self.close = close

    def payload(self):
        """The body's bytes and its Content-Type, or None."""
        if self.body is None:
            return b"", None
        if isinstance(self.body, Raw):
            return self.body.text.encode(), "application/json"
        if isinstance(self.body, str):
            return self.body.encode(), None
        return dumps(self.body), "application/json"


class Raw(dict):
    """JSON text that is to be sent as it stands."""

    def __init__(self, text):
        super().__init__()
        self.text = text


def dumps(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


# ---------------------------------------------------------------------------------------------
# Requests


def template_re(template):
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(template)) + r"\Z")


class Routes:
    """Which handler serves a request: (method, template, kind, handler) each."""

    def __init__(self, routes):
        self.routes = [(m, template_re(t), kind, handler) for m, t, kind, handler in routes]

    def find(self, method, path):
        """(kind, handler, parameters); no handler for an unknown path or method."""
        allowed = []
        for m, pattern, kind, handler in self.routes:
            found = pattern.match(path)
            if not found:
                continue
            if m == method or (m, method) == ("GET", "HEAD"):
                return kind, handler, {k: urllib.parse.unquote(v) for k, v in found.groupdict().items()}
            allowed += [m, "HEAD"] if m == "GET" else [m]
        return ("405:" + ",".join(allowed) if allowed else "other"), None, {}


class Call:
    """One API request: what came, what it asks for, what became of it.  A store's own fills in the
    lists, for the script and the log."""

    def __init__(self, routes, method, target, headers, body):
        self.method, self.headers, self.body = method, headers, body
        path, _, query = target.partition("?")
        self.path = path
        self.query = urllib.parse.parse_qs(query, keep_blank_values=True)
        self.kind, self.handler, self.params = routes.find(method, path)
        self.read_early = True      # the whole request was there at once
        self.whole = True           # all of it was read
        self.in_flight = None
        self.life = None            # of the store; a later one has forgotten this request
        self.begun = self.over = 0  # by the store's clock
        self.do, self.match = {}, {}    # of the rule that acts
        self.json = None
        self.json_error = None
        self.ids, self.paths, self.repos, self.digests, self.documents = [], [], [], [], []
        self.log = None

    def stored(self):
        """[(id, properties, text)] of the objects that it would store."""
        return []


# ---------------------------------------------------------------------------------------------
# The script


DOINGS = {"delay_ms", "answer_delay_ms", "status", "body", "headers", "apply", "unlisted",
          "refuse_objects", "apply_then_drop", "drop", "rst", "delay_apply_ms", "hang", "partial",
          "slow_bytes", "chunked", "raw", "close_after", "close_after_ms", "kill", "if_gone"}
MATCHES = {"kind", "collection", "id", "path", "repo", "digest", "content", "method", "url",
           "min_objects", "max_objects", "nth", "every", "after"}


class Rule:
    def __init__(self, spec, more=()):
        if not isinstance(spec, dict) or not isinstance(spec.get("do"), dict):
            raise ValueError("a rule is an object with \"do\"")
        self.spec = spec
        self.match = spec.get("match", {})
        self.do = spec["do"]
        wrong = (set(spec) - {"match", "times", "do", "name"}) | (set(self.match) - MATCHES) \
            | (set(self.do) - DOINGS - set(more))
        if wrong:
            raise ValueError("unknown in a rule: " + ", ".join(sorted(wrong)))
        if "delay_apply_ms" in self.do and not self.do.get("drop"):
            raise ValueError("delay_apply_ms needs drop")
        self.seen = self.hits = 0

    def holds(self, call, collection):
        m = self.match
        if "kind" in m and m["kind"] != "*" and call.kind not in m["kind"].split("|"):
            return False
        return not ("method" in m and m["method"] != call.method
                    or "url" in m and not re.search(m["url"], call.path)
                    or "collection" in m and m["collection"] != collection
                    or "id" in m and m["id"] not in call.ids
                    or "path" in m and m["path"] not in call.paths
                    or "repo" in m and m["repo"] not in call.repos
                    or "digest" in m and m["digest"] not in call.digests
                    or "content" in m and not any(m["content"] in d for d in call.documents)
                    or "min_objects" in m and len(call.ids) < m["min_objects"]
                    or "max_objects" in m and len(call.ids) > m["max_objects"])

    def due(self):
        """Counts a request that matches; whether the rule would act on it."""
        self.seen += 1
        m = self.match
        return not ("nth" in m and self.seen != m["nth"]
                    or "every" in m and self.seen % m["every"]
                    or "after" in m and self.seen <= m["after"]
                    or "times" in self.spec and self.hits >= self.spec["times"])


# ---------------------------------------------------------------------------------------------
# The store with its memory of what was asked


class Store:
    """What a store's mock makes its own:"""

    call_class = Call
    doings = frozenset()       # what else its script may do
    upserts = {"upsert"}       # kinds of requests that store objects
    deletes = {"delete"}       # that delete those that they name
    reads = {"get"}            # that look at objects
    instead = {"status", "refuse_objects", "raw", "hang"}    # deeds that do not do what is asked for
    max_body = 1 << 40         # bytes; a longer request is answered with 413
    contract_name = None       # the file with its description
    moved = None               # (path, path): what begins with the first is served as the second, nothing else

    def empty(self):
        """Drops what it holds."""
        raise NotImplementedError

    def copied(self):
        """A copy of what it holds, for put()."""
        raise NotImplementedError

    def put(self, copied):
        raise NotImplementedError

    def collection_of(self, call):
        raise NotImplementedError

    def refusal(self, call):
        """The answer to what no handler is asked about: no key, no such path; None: go on."""
        raise NotImplementedError

    def authorized(self, call):
        raise NotImplementedError

    def error_body(self, status):
        """What it says with a status that a script wants."""
        raise NotImplementedError

    def dump(self, documents=False, embeddings=False):
        raise NotImplementedError

    def objects(self):
        """[(id, properties, text, vector)] of all that it holds."""
        raise NotImplementedError

    def lose(self):
        """Forgets what a SIGKILL takes from it."""

    # ---- the same for all ----

    def found_behind(self, target):
        """What a proxy in front, if there is one, makes of a request's target."""
        if not self.moved:
            return target
        seen, meant = self.moved
        return meant + target[len(seen):] if target.startswith(seen) else "/not-here" + target

    def __init__(self, contract, token):
        self.lock = threading.RLock()
        self.contract = contract
        self.token = token
        self.generation = 0    # of clear_all()
        self.life = 0          # of kill()
        self.clock = 0         # orders beginnings and ends of requests
        self.released = threading.Event()
        self.connections = 0
        self.saved = {}
        self.violations = []
        self.clear_all()

    def clear_all(self):
        with self.lock:
            self.generation += 1
            self.released.set()
            self.released = threading.Event()
            self.empty()
            self.rules = []
            self.pending = 0
            self.in_flight = 0
            self.clear_log()

    def clear_log(self):
        with self.lock:
            self.log, self.kinds = [], {}
            self.most_in_flight = 0
            self.asked = 0

    def save(self, name):
        with self.lock:
            self.saved[name] = self.copied()

    def load(self, name):
        with self.lock:
            if name not in self.saved:
                raise ValueError("nothing was saved as %r" % (name,))
            rules = self.rules
            self.clear_all()
            self.rules = rules
            self.put(self.saved[name])

    def set_rules(self, specs):
        rules = [Rule(s, self.doings) for s in specs]
        with self.lock:
            self.rules = rules

    def kill(self):
        """What is under way ends without an answer; nothing of it is done from here on."""
        with self.lock:
            self.life += 1
            self.lose()

    def tick(self):
        with self.lock:
            self.clock += 1
            return self.clock

    def alive(self, call):
        return call.life == self.life

    def note(self, call, conn):
        """Logs and counts a request, judges it, and picks what the script does with it."""
        with self.lock:
            self.asked += 1
            call.log = {
                "n": self.asked, "time": round(time.time(), 6), "conn": conn, "method": call.method,
                "path": call.path, "kind": call.kind, "bytes": len(call.body),
                "headers": {k: v for k, v in call.headers.items() if not KEYS.fullmatch(k)},
                "authorized": self.authorized(call), "ids": call.ids, "paths": call.paths,
                "digests": call.digests, "applied": None, "status": None, "fault": None, "end": None}
            self.log.append(call.log)
            self.kinds[call.kind] = self.kinds.get(call.kind, 0) + 1
            collection = self.collection_of(call)
            acting = None
            for rule in self.rules:
                if rule.holds(call, collection) and rule.due() and not acting:
                    acting = rule
                    rule.hits += 1
            if acting:
                call.log["fault"] = acting.spec.get("name", acting.do)
                call.do, call.match = acting.do, acting.match
        if self.contract and call.whole:
            self.blame(call, "request", self.contract.judge_request(call))
        return call.do

    def begin(self, call):
        with self.lock:
            call.in_flight = self.generation
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)

    def finish(self, call):
        """The request ends: with an answer, or without."""
        with self.lock:
            if call.in_flight == self.generation:
                self.in_flight -= 1
            call.in_flight = None
            call.over = call.over or self.tick()

    def blame(self, call, side, texts):
        for text in texts:
            with self.lock:
                self.violations.append({"n": call.log["n"], "side": side, "text": text})

    def perform(self, call):
        """Does what a request asks for and returns the answer."""
        try:
            refusal = self.refusal(call)
            if refusal:
                raise refusal
            if call.json_error:
                raise call.json_error
            out = call.handler(self, call)
            if callable(out):
                with self.lock:
                    if not self.alive(call):
                        raise Gone
                    out = out()
            call.log["applied"] = True
            return out
        except Answer as a:
            call.log["applied"] = False
            return a

    def perform_later(self, call, ms, done=lambda: None):
        """Does it in so many ms, then calls done; neither if the store was reset or killed."""
        generation = self.generation

        def late():
            with self.lock:
                if generation == self.generation:
                    if self.alive(call):
                        self.perform(call)
                        done()
                    self.pending -= 1
        with self.lock:
            self.pending += 1
        t = threading.Timer(ms / 1000, late)
        t.daemon = True
        t.start()

    def scripted_answer(self, do):
        """The answer that a rule wants instead of the usual one."""
        if "refuse_objects" in do:
            how = do["refuse_objects"] if isinstance(do["refuse_objects"], dict) else {}
            return self.refused(how.get("status", 422), how.get("message"))
        status = do["status"]
        body = do.get("body")
        if body is None:
            body = self.error_body(status)
        elif isinstance(body, (list, bool, int, float)):
            body = Raw(json.dumps(body))
        close = any(k.lower() == "connection" and v.lower() == "close"
                    for k, v in do.get("headers", {}).items())
        return Answer(status, body, do.get("headers", {}).items(), close or status == 413)

    def refused(self, status, message):
        """A refusal of a whole request as invalid; message None: the store's own words."""
        raise NotImplementedError


# ---------------------------------------------------------------------------------------------
# HTTP


class Gone(Exception):
    """The client closed, or we are to close."""


class Connection:
    def __init__(self, server, sock, number):
        self.server, self.store, self.sock, self.number = server, server.store, sock, number
        self.buffer = bytearray()
        self.life = server.store.life    # what comes over it later is asked of a process that is dead

    def run(self):
        try:
            while self.one():
                pass
        except (Gone, OSError):
            pass
        finally:
            self.server.forget(self)
            self.sock.close()

    def fill(self):
        data = self.sock.recv(262144)
        if not data:
            raise Gone
        self.buffer += data

    def take(self, n):
        while len(self.buffer) < n:
            self.fill()
        out = bytes(memoryview(self.buffer)[:n])
        del self.buffer[:n]
        return out

    def line(self):
        while True:
            at = self.buffer.find(b"\n")
            if at >= 0:
                return self.take(at + 1).strip()
            if len(self.buffer) > MAX_HEAD:
                raise Gone
            self.fill()

    def head(self):
        first = self.line()
        while not first:
            first = self.line()
        headers = {}
        while True:
            line = self.line()
            if not line:
                break
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        method, target, version = (first.decode("latin-1").split(" ") + ["", ""])[:3]
        return method, target, version, headers

    def body(self, headers):
        """The body, or None if it is too long (the rest of it is still to come)."""
        if headers.get("expect", "").lower() == "100-continue":
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if headers.get("transfer-encoding", "").lower() == "chunked":
            out = bytearray()
            while True:
                n = int(self.line().split(b";")[0], 16)
                if not n:
                    while self.line():
                        pass
                    return bytes(out)
                if len(out) + n > self.store.max_body:
                    return None
                out += self.take(n)
                self.take(2)
        n = int(headers.get("content-length") or 0)
        if n > self.store.max_body:
            self.take(self.store.max_body)
            return None
        return self.take(n)

    def one(self):
        """Serves one request; whether the connection stays."""
        method, target, version, headers = self.head()
        keep = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
        store = self.store
        life, begun = self.life, store.tick()
        at_once = len(self.buffer)
        body = self.body(headers)
        if target.startswith("/_mock/"):
            self.send(method, control(self.server, method, target, body or b""))
            return keep
        call = store.call_class(method, store.found_behind(target), headers, body or b"")
        call.life, call.begun = life, begun
        # a real one closes where it refuses a request before it has seen all of it
        call.read_early = len(call.body) <= min(at_once, 8192)
        call.whole = body is not None
        do = store.note(call, self.number)
        store.begin(call)
        try:
            if body is None:
                call.log["applied"] = False
                self.finish(call, Answer(413, store.error_body(413)), {})
                self.linger()
                return False
            return self.serve(call, do) and keep
        except Gone:
            call.log["end"] = call.log["end"] or ("closed" if store.alive(call) else "killed")
            raise
        except OSError:
            call.log["end"] = "client gone"
            raise
        finally:
            store.finish(call)

    def serve(self, call, do):
        store = self.store
        if "delay_ms" in do:
            time.sleep(do["delay_ms"] / 1000)
        if "if_gone" in do and self.gone_within(do["if_gone"].get("ms", 0)):
            do = call.do = {**do, **do["if_gone"]["do"]}
        if do.get("drop"):
            if "delay_apply_ms" in do:
                store.perform_later(call, do["delay_apply_ms"])
            else:
                call.log["applied"] = False
            self.cut(call, do)
        instead = store.instead & set(do)
        answer = None
        if not instead or do.get("apply"):
            answer = store.perform(call)
        elif instead:
            call.log["applied"] = False
        if do.get("kill"):
            how = do["kill"] if isinstance(do["kill"], dict) else {}
            self.server.kill(how.get("ms", 100))
        self.still_alive(call)
        if do.get("apply_then_drop"):
            self.cut(call, do)
        if do.get("hang"):
            self.hang(call)
        if "answer_delay_ms" in do:
            time.sleep(do["answer_delay_ms"] / 1000)
        self.still_alive(call)
        if "raw" in do:
            self.sock.sendall(do["raw"].encode())
            call.log["end"] = "raw"
            raise Gone
        if instead:
            answer = store.scripted_answer(do)
        self.finish(call, answer, do, {"status", "refuse_objects"} & instead)
        if do.get("close_after") or "close_after_ms" in do:
            time.sleep(do.get("close_after_ms", 0) / 1000)
            return False
        return not answer.close

    def still_alive(self, call):
        if not self.store.alive(call):
            call.log["end"] = "killed"
            raise Gone

    def gone_within(self, ms):
        """Whether the client hangs up within so many ms."""
        try:
            return select.select([self.sock], [], [], ms / 1000)[0] and \
                not self.sock.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    def cut(self, call, do):
        call.log["end"] = "dropped"
        if do.get("rst"):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Gone

    def hang(self, call):
        call.log["end"] = "hung"
        released = self.store.released
        while not released.is_set() and self.store.alive(call):
            if select.select([self.sock], [], [], 0.05)[0]:
                if not self.sock.recv(4096):
                    break
        raise Gone

    def finish(self, call, answer, do, scripted=()):
        call.log["status"] = answer.status
        if self.store.contract and not do.get("unlisted"):
            self.store.blame(call, "answer",
                             self.store.contract.judge_answer(call, answer, bool(scripted)))
        call.log["end"] = "answered"
        if not do.get("slow_bytes"):
            self.store.finish(call)    # before the client can ask what is in flight
        self.send(call.method, answer, do, call.log)

    def send(self, method, answer, do=None, log=None):
        do = do or {}
        payload, ctype = answer.payload()
        lines = ["HTTP/1.1 %d %s" % (answer.status, REASONS.get(answer.status, "Unknown"))]
        names = {k.lower() for k, _ in answer.headers}
        if ctype and "content-type" not in names:
            lines.append("content-type: " + ctype)
        lines += ["%s: %s" % h for h in answer.headers]
        if do.get("chunked"):
            lines.append("transfer-encoding: chunked")
            step = max(1, len(payload) // 3)
            parts = [payload[i:i + step] for i in range(0, len(payload), step)]
            payload = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in parts) + b"0\r\n\r\n"
        elif "content-length" not in names and answer.status != 204:
            lines.append("content-length: %d" % len(payload))
        whole = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        if method != "HEAD":
            whole += payload
        if "partial" in do:
            log["end"] = "cut"
            self.sock.sendall(whole[:do["partial"]])
            raise Gone
        if do.get("slow_bytes"):
            how = do["slow_bytes"] if isinstance(do["slow_bytes"], dict) else {}
            step = how.get("bytes", 1)
            for i in range(0, len(whole), step):
                self.sock.sendall(whole[i:i + step])
                time.sleep(how.get("ms", 20) / 1000)
        else:
            self.sock.sendall(whole)

    def linger(self):
        """Ends a connection whose client is still sending, so that it can read our answer."""
        self.sock.shutdown(socket.SHUT_WR)
        until = time.monotonic() + 2
        self.sock.settimeout(0.2)
        while time.monotonic() < until:
            try:
                if not self.sock.recv(262144):
                    return
            except TimeoutError:
                return


def control(server, method, target, body):
    """Answers a request to the control plane."""
    store = server.store
    path, _, query_text = target.partition("?")
    flags = urllib.parse.parse_qs(query_text)
    what = method, path[len("/_mock/"):]
    try:
        given = json.loads(body) if body.strip() else None
        if what == ("POST", "reset"):
            store.clear_all()
        elif what == ("POST", "clear"):
            store.clear_log()
            store.violations = []
        elif what in (("POST", "save"), ("POST", "load")):
            getattr(store, what[1])(given["name"])
        elif what == ("GET", "dump"):
            while "settle" in flags and store.pending:
                time.sleep(0.01)
            return Answer(200, store.dump("documents" in flags, "embeddings" in flags))
        elif what == ("GET", "log"):
            with store.lock:
                return Answer(200, [dict(e) for e in store.log])
        elif what == ("GET", "violations"):
            return Answer(200, list(store.violations))
        elif what == ("GET", "stats"):
            with store.lock:
                return Answer(200, {"requests": store.asked, "kinds": dict(store.kinds),
                                    "connections": store.connections, "open": server.count_open() - 1,
                                    "in_flight": store.in_flight,
                                    "most_in_flight": store.most_in_flight,
                                    "pending": store.pending, "restarts": server.restarts})
        elif what == ("POST", "script"):
            if not isinstance(given, list):
                raise ValueError("a script is a list of rules")
            store.set_rules(given)
        elif what == ("GET", "script"):
            return Answer(200, [dict(r.spec, seen=r.seen, hits=r.hits) for r in store.rules])
        elif what == ("POST", "down"):
            server.down(float((given or {}).get("ms", 1000)))
        elif what == ("POST", "kill"):
            server.kill(float((given or {}).get("ms", 1000)))
        else:
            return Answer(404, "no such thing below /_mock/: %s %s\n" % what)
    except (ValueError, TypeError, AttributeError, KeyError) as e:
        return Answer(400, "%s\n" % e)
    return Answer(200, {})


class Server:
    def __init__(self, port, store):
        self.store = store
        self.connections = set()
        self.lock = threading.Lock()
        self.down_s = None
        self.restarts = 0
        self.ended = False
        self.wake_r, self.wake_w = socket.socketpair()
        self.listen(port)

    def listen(self, port):
        s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", port))
        s.listen(256)
        self.listener = s
        self.port = s.getsockname()[1]

    def down(self, ms):
        self.down_s = ms / 1000
        self.wake_w.send(b"d")

    def kill(self, ms):
        """Ends and comes back as a process that was killed does."""
        self.store.kill()
        self.down(ms)

    def end(self, *_):
        self.ended = True
        try:
            self.wake_w.send(b"e")
        except OSError:
            pass

    def count_open(self):
        with self.lock:
            return len(self.connections)

    def forget(self, connection):
        with self.lock:
            self.connections.discard(connection)

    def run(self):
        while not self.ended:
            ready = select.select([self.listener, self.wake_r], [], [])[0]
            if self.wake_r in ready:
                self.wake_r.recv(64)
                if self.down_s is not None and not self.ended:
                    self.stay_down()
                continue
            sock, _ = self.listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.store.lock:
                self.store.connections += 1
                number = self.store.connections
            c = Connection(self, sock, number)
            with self.lock:
                self.connections.add(c)
            threading.Thread(target=c.run, daemon=True).start()

    def stay_down(self):
        wait, self.down_s = self.down_s, None
        self.listener.close()
        time.sleep(0.02)  # lets the answer to this very request out
        self.cut_all()
        time.sleep(wait)
        self.listen(self.port)
        self.restarts += 1

    def cut_all(self):
        with self.lock:
            for c in self.connections:
                try:
                    c.sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass


def watch_parent(server):
    parent = os.getppid()
    while os.getppid() == parent and parent != 1:
        time.sleep(0.2)
    if parent != 1:
        server.end()


def contract_path(name):
    """Where a store's description is, or None."""
    here = os.path.dirname(os.path.abspath(__file__))
    for folder in (os.environ.get("LINESYNC_CONTRACTS"),
                   os.path.join(here, "..", "..", "..", "shared", "contracts")):
        if folder and os.path.exists(os.path.join(folder, name)):
            return os.path.join(folder, name)
    return None


def main(store_class, contract, doc):
    """contract: makes one of a file's name."""
    p = argparse.ArgumentParser(description=doc.split("\n", maxsplit=1)[0])
    p.add_argument("--port", type=int, default=0, help="0: a free one (default)")
    p.add_argument("--port-file", metavar="FILE", help="also write the port there")
    p.add_argument("--contract", nargs="?", const="", metavar="FILE",
                   help="check everything against this OpenAPI description")
    p.add_argument("--token", help="the key that every request must carry")
    p.add_argument("--stay", action="store_true", help="do not end when the parent does")
    o = p.parse_args()
    described = None
    if o.contract is not None:
        path = o.contract or contract_path(store_class.contract_name)
        try:
            described = contract(path) if path else None
        except ImportError:
            pass
        if not described:
            sys.stderr.write("nothing is checked: no jsonschema, or no %s: set LINESYNC_CONTRACTS\n" %
                             store_class.contract_name)
    server = Server(o.port, store_class(described, o.token))
    signal.signal(signal.SIGTERM, server.end)
    signal.signal(signal.SIGINT, server.end)
    if not o.stay:
        threading.Thread(target=watch_parent, args=(server,), daemon=True).start()
    if o.port_file:
        with open(o.port_file + ".new", "w", encoding="ascii") as f:
            f.write("%d\n" % server.port)
        os.rename(o.port_file + ".new", o.port_file)
    print(server.port, flush=True)
    server.run()
