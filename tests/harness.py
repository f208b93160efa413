"""harness.py - what the tests in Python share: the mock store in this very process, so that a test
sees and steers each request, and linesync beside it, which it may kill at any of them.

LINESYNC names the program.  A World is one scratch folder with one store, one state and one folder of
files; close() removes it.  Report prints TAP.
"""

import fcntl
import functools
import json
import os
import pty
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "mock"))
import chroma  # noqa: E402
import embedder  # noqa: E402
import server as mock_server  # noqa: E402
import weaviate  # noqa: E402

COLLECTION = "Code"
LIMIT_S = 600           # for what must come: only what never comes runs into it, however busy the machine is
FOREIGN = ("CHROMA_", "WEAVIATE_", "WCD_", "QDRANT_", "OPENAI_", "LINESYNC_", "STATE_DIRECTORY",
           "CREDENTIALS_DIRECTORY")


def program():
    return os.path.abspath(os.environ.get("LINESYNC") or os.path.join(os.path.dirname(HERE), "linesync"))


class Report:
    """TAP on standard output."""

    def __init__(self):
        self.count = self.failed = 0

    def test(self, good, name, *notes):
        self.count += 1
        self.failed += not good
        print("%sok %d - %s" % ("" if good else "not ", self.count, name))
        if not good:
            for n in notes:
                self.note(n)
        sys.stdout.flush()
        return good

    def same(self, got, want, name):
        return self.test(got == want, name, " got: %r" % (got,), "want: %r" % (want,))

    def skip(self, name, why):
        self.count += 1
        print("ok %d - %s # SKIP %s" % (self.count, name, why), flush=True)

    @staticmethod
    def note(text):
        print("# " + str(text).replace("\n", "\n# "), flush=True)

    def end(self):
        for store, why in unchecked.items():
            self.skip("requests and answers are as %s describes them" % store, why)
        print("1..%d" % self.count)
        sys.stdout.flush()
        return 1 if self.failed else 0


report = Report()
unchecked = {}    # stores whose description is not to be had: why


@functools.lru_cache
def contract(store):
    """The description that every request to a mock and every answer of it must fit; None where that or
    jsonschema is not there."""
    path = mock_server.contract_path(STORES[store].Store.contract_name)
    why = "../shared/contracts is not there"
    if path:
        try:
            return STORES[store].contract(path)
        except ImportError as e:
            why = e
    unchecked[store] = why
    return None


class Watched:
    """A mock's store, which tells of each request and of each version that it comes to hold."""

    def __init__(self, described):
        self.on_request = None        # called with the number of the request, before it is served
        self.undescribed = []         # what was wrong with requests and answers, by the description
        self.on_applied = None        # called after a write was done, before its answer
        self.history = []             # (time, (repo, path), text or None)
        self.arriving = []            # [versions, when it was cut off, done when] of late writes
        self.names = {}               # id: (repo, path)
        super().__init__(described, None)

    def blame(self, call, side, texts):
        self.undescribed += ["%s of %s: %s" % (side, call.kind, text) for text in texts]

    def note(self, call, conn):
        do = super().note(call, conn)
        if self.on_request:
            self.on_request(call.log["n"], call)
        return do

    def versions(self, call):
        """[(document, text or None)] of a write; deletes of what was never stored have no name."""
        out = []
        for i, meta, text in call.stored():
            self.names[i] = meta["repository"], meta["file_path"]
            out.append((self.names[i], text))
        if call.kind in self.deletes:
            out += [(self.names[i], None) for i in call.ids if i in self.names]
        return out

    def perform(self, call):
        with self.lock:
            versions = self.versions(call)
            answer = super().perform(call)
            if call.log["applied"]:
                now = time.monotonic()
                self.history += [(now, d, text) for d, text in versions]
        if self.on_applied:
            self.on_applied(call.log["n"], call)
        return answer

    def perform_later(self, call, ms, done=None):
        with self.lock:
            entry = [self.versions(call), time.monotonic(), None]
            self.arriving.append(entry)

        def arrived():
            entry[2] = time.monotonic()
        super().perform_later(call, ms, arrived)

    def kill(self):
        with self.lock:
            super().kill()
            for entry in self.arriving:    # nothing more of it comes
                entry[2] = entry[2] or time.monotonic()


class WatchedChroma(Watched, chroma.Store):
    pass


class WatchedWeaviate(Watched, weaviate.Store):
    pass


class WatchedEmbedder(Watched, embedder.Store):
    pass


STORES = {"chroma": chroma, "weaviate": weaviate}
WATCHED = {"chroma": WatchedChroma, "weaviate": WatchedWeaviate}


class Ended:
    """How an invocation ended: rc as a shell shows it, the signal that it died by (0: none), its
    results, also as they came, and its standard error."""

    def __init__(self, rc, out, err):
        self.rc, self.signal = rc if rc >= 0 else 128 - rc, -rc if rc < 0 else 0
        self.out, self.err = out, err
        whole = out.split(b"\n")
        self.cut = whole.pop()
        self.results = [json.loads(line) for line in whole]

    def of(self, line, retried=False):
        found = [r for r in self.results if r["line"] == line and bool(r.get("retried")) == retried]
        return found[0] if len(found) == 1 else None

    def status(self, line):
        r = self.of(line)
        return r and r["status"] + (":" + r["reason"] if "reason" in r else "")

    def statuses(self, n):
        return [self.status(i + 1) for i in range(n)]

    def verdicts(self):
        """{line: status, and with a colon its reason or error code}, retried lines left out."""
        out = {}
        for r in self.results:
            if not r.get("retried"):
                why = r.get("reason") or r.get("error", {}).get("code")
                out[r["line"]] = r["status"] + (":" + why if why else "")
        return out


class NoEnd(Exception):
    """linesync ran into the limit of its time."""


def wait_for(what, happens):
    until = time.monotonic() + LIMIT_S
    while not happens():
        if time.monotonic() > until:
            raise NoEnd("waited in vain for " + what)
        time.sleep(0.002)


def serve(port, store):
    """A server of a mock: (server, its thread)."""
    server = mock_server.Server(port, store)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    return server, thread


def stop_serving(server, thread):
    """Closes its port; connections stay."""
    server.end()
    thread.join(5)
    server.listener.close()


class World:
    def __init__(self, verbose=False, store="chroma"):
        self.verbose = verbose
        self.dir = tempfile.mkdtemp(prefix="linesync-world.")
        self.root = os.path.join(self.dir, "root")
        os.mkdir(self.root)
        self.state = os.path.join(self.dir, "state.tdb")
        self.store = WATCHED[store](contract(store))
        self.server, self.thread = serve(0, self.store)
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)
                    and not k.lower().endswith("_proxy")}
        self.env.update(HOME=self.dir, LC_ALL="C.UTF-8", TZ="UTC",
                        LINESYNC_STORE="%s:http://127.0.0.1:%d" % (store, self.server.port),
                        LINESYNC_COLLECTION=COLLECTION, LINESYNC_STATE=self.state)
        self.embedder = self.embed_server = None
        self.options = ["--late", "100ms", "--retry-wait", "5ms", "--retry-max-wait", "20ms",
                        "--give-up", "1h", "--flush-ms", "5", "--root", self.root,
                        "--embed", "hash:8"]

    def close(self):
        stop_serving(self.server, self.thread)
        shutil.rmtree(self.dir, ignore_errors=True)
        undescribed = self.store.undescribed
        if self.embedder:
            stop_serving(*self.embed_server)
            undescribed = undescribed + self.embedder.undescribed
        if undescribed:
            report.test(False, "requests and answers are as the store describes them", *undescribed[:5])

    # ---- the embedding server beside it ----

    def add_embedder(self, *options):
        """From now on vectors come from an embedding server, w.embedder; options: others to embed by."""
        self.embedder = WatchedEmbedder(None)
        self.start_embedder()
        at = self.options.index("--embed")
        self.options[at + 1:] = [self.embed_url(), *options]

    def embed_url(self):
        return "http://127.0.0.1:%d" % self.embed_server[0].port

    def start_embedder(self, port=0):
        self.embed_server = serve(port, self.embedder)

    def stop_embedder(self):
        """Closes its port and its connections; returns the port."""
        stop_serving(*self.embed_server)
        self.embed_server[0].cut_all()
        return self.embed_server[0].port

    # ---- the store ----

    def stop_store(self):
        """Closes its port and its connections."""
        stop_serving(self.server, self.thread)
        self.server.cut_all()

    def start_store(self):
        """Opens the port again."""
        self.server, self.thread = serve(self.server.port, self.store)

    def kill_store(self):
        """What a SIGKILL of the server does, and a new start."""
        self.store.kill()
        self.stop_store()
        self.start_store()

    def script(self, *rules):
        self.store.set_rules(rules)

    def settle(self):
        """Waits until no client is connected and nothing is still to arrive."""
        self.hung_up()
        wait_for("the mock store to come to rest", lambda: not self.store.pending and not self.store.in_flight)

    def hung_up(self):
        """Waits until what a dead client sent has been read and done."""
        self.all_accepted()
        wait_for("the connections to the mock store to end", lambda: not self.server.connections)

    def all_accepted(self):
        """A connection of a client that is dead by now may still wait to be accepted: they come in turn."""
        try:
            with socket.create_connection(("127.0.0.1", self.server.port), timeout=LIMIT_S) as s:
                s.sendall(b"GET /_mock/stats HTTP/1.0\r\n\r\n")
                while s.recv(65536):
                    pass
        except OSError:
            pass    # its port is closed

    def hold_answers(self, *kinds):
        """From now on the store does requests of these kinds and answers once the gate is open."""
        gate = Gate()
        self.store.on_applied = gate.hold(lambda call: call.kind in kinds)
        return gate

    def hold_vectors(self, text=""):
        """The same of the embedding server, for requests with this text in them."""
        gate = Gate()
        self.embedder.on_applied = gate.hold(lambda call: any(text in t for t in call.ids))
        return gate

    def late_within_the_repeat(self):
        """The next upsert is lost, and arrives after the delete of its repeat and before the upsert of that:
        ([that call], what sync() is to have as on_request)."""
        lost, deleted = [], []

        def arrive(_n, call):
            if call.kind == "object_delete":
                deleted.append(call)
            if call.kind == "upsert" and not lost:
                lost.append(call)
            elif call.kind == "upsert" and deleted and not lost[0].do.get("partly"):
                lost[0].do = {"partly": {"indexed": 1}}
                self.store.perform(lost[0])
        self.script({"match": {"kind": "upsert"}, "times": 1, "do": {"drop": True, "rst": True}})
        return lost, arrive

    def documents(self):
        """{(repo, path): text} that the store holds now."""
        return {(meta["repository"], meta["file_path"]): text
                for _, meta, text, _ in self.store.objects() if "file_path" in meta}

    def objects(self):
        """{(repo, path): its properties, with "id", "content" and "vector"} that the store holds."""
        return {(meta["repository"], meta["file_path"]): dict(meta, id=i, content=text,
                                                              vector=list(vector))
                for i, meta, text, vector in self.store.objects()}

    def writes(self):
        """The writes that the store has seen: (kind, ids)."""
        with self.store.lock:
            return [(e["kind"], list(e["ids"])) for e in self.store.log
                    if e["kind"] in self.store.upserts | self.store.deletes]

    def write_file(self, repo, path, text):
        name = os.path.join(self.root, repo, path)
        os.makedirs(os.path.dirname(name), exist_ok=True)
        if text is None:
            if os.path.exists(name):
                os.unlink(name)
        else:
            with open(name + ".new", "w", encoding="utf-8") as f:
                f.write(text)
            os.rename(name + ".new", name)

    # ---- linesync ----

    def start(self, *options, **how):
        """A sync with its three descriptors as pipes; how: what Popen is to do otherwise."""
        given = dict(env=self.env, cwd=self.dir, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                     stderr=subprocess.PIPE, bufsize=0)
        return subprocess.Popen([program(), *self.options, *options], **{**given, **how})

    def sync(self, lines, *options, kill_request=None, kill_applied=None, kill_line=None,
             kill_ms=None, how=signal.SIGKILL, pause_ms=None, limit=LIMIT_S, on_request=None):
        """Feeds lines (bytes, str or objects; one bytes object: as it is).  on_request: see Watched.
        kill_*: sends the signal `how` when the store sees the Nth write (request), has done it and
        not answered (applied), when the Nth result is printed (line), or after so many ms.
        pause_ms: a list of pauses before the lines."""
        if not isinstance(lines, bytes):
            lines = [as_line(x) for x in lines]
        seen, writes = [0], self.store.upserts | self.store.deletes
        self.store.on_request = on_request
        child = self.start(*options)
        lock = threading.Lock()

        def kill():
            with lock:
                if child.returncode is None:
                    child.send_signal(how)

        def count_request(_n, call):
            if call.kind in writes | self.store.reads:
                seen[0] += 1
                if seen[0] == kill_request:
                    kill()

        def count_applied(_n, call):
            if call.kind in writes and seen[0] == kill_applied:
                kill()

        if kill_request or kill_applied:
            self.store.on_request = count_request
        self.store.on_applied = count_applied if kill_applied else None
        late = []

        def no_end():
            late.append(True)
            child.send_signal(signal.SIGABRT)

        timers = [threading.Timer(limit, no_end)]
        if kill_ms is not None:
            timers.append(threading.Timer(kill_ms / 1000, kill))
        for t in timers:
            t.daemon = True
            t.start()
        err = []
        helpers = [threading.Thread(target=feed, args=(child.stdin, lines, pause_ms)),
                   threading.Thread(target=lambda: err.append(child.stderr.read()))]
        for h in helpers:
            h.start()
        out, left = b"", kill_line
        while True:
            data = os.read(child.stdout.fileno(), 65536)
            if not data:
                break
            out += data
            if left is not None and out.count(b"\n") >= left:
                kill()
                left = None
        for h in helpers:
            h.join()
        with lock:
            rc = child.wait()
        for t in timers:
            t.cancel()
        child.stdout.close()
        child.stderr.close()
        self.store.on_request = self.store.on_applied = None
        ended = Ended(rc, out, b"".join(err).decode())
        if late:
            raise NoEnd("linesync %s: no end after %d s\n%s" % (" ".join(options), limit, ended.err))
        if self.verbose:
            Report.note("linesync %s -> %d\n%s%s" % (" ".join(options), ended.rc, ended.err,
                                                     out.decode()))
        return ended

    def ask(self, *args):
        """Runs another command: (exit status, standard output)."""
        done = subprocess.run([program(), *args], env=self.env, cwd=self.dir, capture_output=True,
                              stdin=subprocess.DEVNULL, check=False, timeout=LIMIT_S)
        if self.verbose:
            Report.note("linesync %s -> %d\n%s" % (" ".join(args), done.returncode,
                                                   (done.stderr + done.stdout).decode()))
        return done.returncode, done.stdout.decode()

    def again(self, *options, **how):
        """A later sync whose one line asks for nothing: what failed is tried again, what is in doubt is
        looked after.  The line's own result is left out."""
        ended = self.sync([NOTHING], *options, **how)
        ended.results = [r for r in ended.results if r.get("reason") != "no-commit"]
        return ended

    def position(self, repo, *options):
        rc, out = self.ask("changeset", repo, *options)
        return out.strip() if rc == 0 else None

    def touched(self, repo):
        out = self.ask("changeset", "--touched", repo, "-z")[1]
        return set(out.split("\0")[:-1])

    def repos(self):
        """{repo: what status --repos says of it}."""
        rc, out = self.ask("status", "--repos", "--json")
        if rc not in (0, 1) or not out.strip():
            return {}
        return {r["repo"]: r for r in find_list(json.loads(out), "repos")}


class Gate:
    """Between requests that were done and their answers."""

    def __init__(self):
        self.arrived, self.opened = threading.Event(), threading.Event()
        self.open = self.opened.set

    def hold(self, matches):
        """What a mock is to call: waits here with the requests that match."""
        def wait(_n, call):
            if matches(call):
                self.arrived.set()
                self.opened.wait(LIMIT_S)
        return wait

    def wait_arrived(self):
        if not self.arrived.wait(LIMIT_S):
            raise NoEnd("no such request comes")


class Hands:
    """The hands of the monotonic clock of a program, which stands still but for them: start it with
    env=hands.env."""

    def __init__(self, w):
        self.name, self.ms = os.path.join(w.dir, "clock"), 0
        self.write()
        built = os.environ.get("abs_top_builddir", os.path.dirname(HERE))
        self.env = dict(w.env, LD_PRELOAD=os.path.join(built, "tests", "handclock.so"), CLOCK_FILE=self.name,
                        ASAN_OPTIONS="verify_asan_link_order=0:detect_leaks=0")

    def write(self):
        with open(self.name, "r+b" if self.ms else "wb") as f:
            f.write(struct.pack("=q", self.ms))

    def move(self, ms, sync):
        """So much time passes; the sync looks at its clock."""
        self.ms += ms
        self.write()
        sync.signal(signal.SIGUSR1)


class Steered:
    """A sync whose input stays open, and whose output is read as it comes.  how: as for World.start;
    read_output=False leaves standard output unread until read_on()."""

    def __init__(self, w, *options, read_output=True, **how):
        self.options = options
        self.child = w.start(*options, **how)
        self.pid = self.child.pid
        self.out, self.err = bytearray(), bytearray()
        self.changed = threading.Condition()
        self.readers = []
        self.read(self.child.stderr, self.err)
        if read_output:
            self.read_on()

    def read(self, pipe, into):
        if pipe:
            self.readers.append(threading.Thread(target=self.collect, args=(pipe, into), daemon=True))
            self.readers[-1].start()

    def read_on(self):
        self.read(self.child.stdout, self.out)

    def collect(self, pipe, into):
        while True:
            try:
                data = os.read(pipe.fileno(), 65536)
            except OSError:    # a terminal whose other side is gone
                data = b""
            with self.changed:
                into += data
                self.changed.notify_all()
            if not data:
                return

    def wait(self, what, holds, limit=LIMIT_S):
        """Waits until holds() is true of what was printed so far."""
        with self.changed:
            if self.changed.wait_for(holds, limit):
                return
        self.child.kill()
        raise NoEnd("linesync %s: %s does not come\n%s" % (" ".join(self.options), what, self.said()))

    def said(self):
        return self.err.decode(errors="replace")

    def wait_said(self, text):
        self.wait("'%s'" % text, lambda: text in self.said())

    def wait_results(self, n):
        self.wait("result %d" % n, lambda: self.out.count(b"\n") >= n)

    def feed(self, *lines):
        self.child.stdin.write(b"".join(as_line(x) + b"\n" for x in lines))

    def signal(self, sig):
        self.child.send_signal(sig)

    def end(self, *lines, limit=LIMIT_S):
        """Feeds the last lines, closes the input, and waits for the end."""
        try:
            self.feed(*lines)
            self.child.stdin.close()
        except OSError:
            pass
        return self.ended(limit)

    def ended(self, limit=LIMIT_S):
        try:
            rc = self.child.wait(limit)
        except subprocess.TimeoutExpired:
            self.child.kill()
            raise NoEnd("linesync %s: no end\n%s" % (" ".join(self.options), self.said())) from None
        for r in self.readers:
            r.join()
        for pipe in (self.child.stdin, self.child.stdout, self.child.stderr):
            if pipe:
                pipe.close()
        return Ended(rc, bytes(self.out), self.said())


def caught(pid):
    """Waits until the process catches TERM."""
    for _ in range(6000):
        with open("/proc/%d/status" % pid, encoding="ascii") as f:
            mask = re.search(r"SigCgt:\s*(\w+)", f.read())
        if int(mask.group(1), 16) >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.01)
    raise RuntimeError("TERM is never caught")


def was_read(sync):
    """Waits until the process has read what it was fed."""
    for _ in range(6000):
        if int.from_bytes(fcntl.ioctl(sync.child.stdin, termios.FIONREAD, bytes(4)), sys.byteorder) == 0:
            return
        time.sleep(0.01)
    raise RuntimeError("it does not read")


class Skipped(Exception):
    """The rest of a test cannot be made here: why."""


def open_terminal():
    """Two ends of a terminal: (what a person sees and types, what a program has)."""
    try:
        return pty.openpty()
    except OSError as e:
        raise Skipped("no terminal can be had: %s" % e) from e


def on_terminal(w, *args):
    """What a command shows on a terminal."""
    parent, child = open_terminal()
    with subprocess.Popen([program(), *args], env=w.env, cwd=w.dir, stdin=child, stdout=child,
                          stderr=child) as p:
        os.close(child)
        shown = b""
        while True:
            try:
                data = os.read(parent, 65536)
            except OSError:    # Linux's way to say that nobody has it open any more
                break
            if not data:
                break
            shown += data
        p.wait()
    os.close(parent)
    return shown


def run_tests(tests, store="chroma"):
    """The end of a file of tests: functions that take a new World, all of them, or those that the
    command line names.  -v shows what linesync says.  Returns the exit status."""
    names = [a for a in sys.argv[1:] if a != "-v"]
    verbose = "-v" in sys.argv
    for t in tests:
        if names and t.__name__ not in names:
            continue
        report.note(t.__name__)
        w = World(verbose, store)
        try:
            t(w)
        except Skipped as e:
            report.skip(t.__name__, e)
        except Exception as e:    # the other tests say more
            report.test(False, "%s: %s: %s" % (t.__name__, type(e).__name__, e))
            if verbose:
                raise
        finally:
            w.close()
    return report.end()


def find_list(value, name):
    """The list that a --json answer has under a name, however deep."""
    if isinstance(value, dict):
        if isinstance(value.get(name), list):
            return value[name]
        value = list(value.values())
    if isinstance(value, list):
        for v in value:
            found = find_list(v, name)
            if found:
                return found
    return []


def as_line(x):
    if isinstance(x, bytes):
        return x
    return (x if isinstance(x, str) else json.dumps(x)).encode()


def feed(pipe, lines, pause_ms):
    try:
        if isinstance(lines, bytes):
            pipe.write(lines)
        elif not pause_ms:
            pipe.write(b"".join(line + b"\n" for line in lines))
        else:
            for i, line in enumerate(lines):
                if i < len(pause_ms) and pause_ms[i]:
                    time.sleep(pause_ms[i] / 1000)
                pipe.write(line + b"\n")
        pipe.close()
    except (BrokenPipeError, OSError):
        try:
            pipe.close()
        except OSError:
            pass


# ---- lines ----

NOTHING = {"repo": "nobody", "new_changeset": {}}    # is skipped (no-commit)


def put(path, text, repo="R", **more):
    return dict(repo=repo, op="modify", path=path, content=text, **more)


def delete(path, repo="R"):
    return dict(repo=repo, op="delete", path=path)


def from_file(path, repo="R"):
    return dict(repo=repo, op="modify", path=path)


def record(commit, repo="R", **more):
    return dict(repo=repo, new_changeset=dict(commit=commit, **more))
