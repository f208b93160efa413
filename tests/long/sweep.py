#!/usr/bin/env python3
"""sweep.py - does linesync keep its promises when it is killed?

    sweep.py [-v] sweep [--all] [--store chroma|weaviate] [--point MODE:CALL:N]
    sweep.py [-v] kills --store URL [--seed N] [--kills N]

sweep: linesync is killed at its Nth system call of each name (strace), on an input with most of what
there is: see the_input().  From a copy of the state and of the store as they are then, it is
started again in these ways: with the same input; with an old text of a document that was being sent
(so a new run), then the same input; with an input that does not name that document, then the same
input; on Weaviate also with the same input after `forget --all`.  What must hold then is worked out
here from the inputs alone, ids included.

On Weaviate documents are cut into chunks, which an embedding server gives vectors; a batch whose client
hangs up is done by half; and where linesync was killed, or at the end, the store is killed too, now and
then, and loses what it acknowledged last.  A document is what it is only if all its chunks are there,
none stands beyond, filters and searches find each, and its vector is that of its text.

kills: the same at random moments, against a real Chroma, with one input after another on one state.

The current folder must be empty; LINESYNC names the program.  Results are TAP.
"""

import argparse
import collections
import hashlib
import json
import os
import queue
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
import urllib.parse
import urllib.request
import uuid
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path[:0] = [os.path.join(HERE, "..", "mock"), os.path.join(HERE, "..")]
import cutproxy  # noqa: E402
import embedder  # noqa: E402
LINESYNC = os.environ.get("LINESYNC", "linesync")
COLLECTION = "Code"
LIMIT_S = 600           # for what must come, such as the end of one linesync
REPOS = "Alpha", "Beta", "Files"
REFUSED = "the store will not have this"
LATE_MS = 50
DELAY_MS = 100          # how long the slow store takes to begin with a write
HANG_UP_MS = 12         # for so long a batch of a Weaviate can be cut short
SLOW_LATE_MS = 350
PATIENT_LATE_MS = 10000    # where the machine was too busy for that

# How many points of each call are tried without --all, and how many there must be in a clean run.
MODES = {
    "main": {"read": (16, 15), "sendto": (40, 12), "recvfrom": (40, 12), "pwrite64": (50, 50),
             "fdatasync": (25, 30), "write": (12, 6)},
    # without a state and a collection: what makes them, and the first batches
    "first": {"openat": (6, 3), "link": (1, 1), "unlink": (2, 1), "fsync": (4, 2), "ftruncate": (4, 1),
              "pwrite64": (10, 5), "fdatasync": (8, 4), "sendto": (8, 4)},
    # killed before, at a request, and now while that run is resumed
    "twice": {"sendto": (12, 12), "pwrite64": (20, 50)},
    # writes arrive late, some after the next linesync has begun
    "slow": {"poll": (12, 20)},
    # the same four on Weaviate
    "weaviate-main": {"read": (6, 15), "sendto": (24, 20), "recvfrom": (20, 20), "pwrite64": (16, 50),
                      "fdatasync": (10, 30), "write": (6, 6)},
    "weaviate-first": {"pwrite64": (3, 5), "sendto": (5, 4)},
    "weaviate-twice": {"sendto": (8, 12), "pwrite64": (8, 50)},
    "weaviate-slow": {"poll": (8, 20)}}
FIRST_SENDS = 8         # in "first": until so many requests; the state is made once the collection is there

SAME, OLD, OTHER, FORGOTTEN = "same", "old", "other", "forgotten"
WAYS = {SAME: "then the same input",
        OLD: "then an old text of a document that was under way, then the same input",
        OTHER: "then nothing of what was under way, then the same input",
        FORGOTTEN: "then everything is forgotten, then the same input"}
MODEL = "m"
CHUNK_LINES = 2
MOST_CHUNKS = 6         # of a document of the input
# how far a batch of a Weaviate gets when its client hangs up
HALVES = ({"indexed": 0}, {"stored": 2, "filtered": 1, "indexed": 1}, {"filtered": 0}, {"stored": 1},
          {"indexed": 1}, {"filtered": 1})


def is_weaviate(mode):
    return mode.startswith("weaviate-")


def kind(mode):
    return mode.rsplit("-", maxsplit=1)[-1]

verbose = False
tap_count = tap_failed = 0


def tap(good, name, *notes):
    global tap_count, tap_failed
    tap_count += 1
    tap_failed += not good
    print("%sok %d - %s" % ("" if good else "not ", tap_count, name))
    for note in notes if not good else ():
        print("\n".join("# " + line for line in str(note).splitlines()))
    sys.stdout.flush()


def note(text):
    print("\n".join("# " + line for line in str(text).splitlines()), flush=True)


def tap_end():
    print("1..%d" % tap_count)
    sys.exit(1 if tap_failed else 0)


# ---------------------------------------------------------------------------------------------
# Inputs, and what they ask for


def object_id(doc, chunk=0, collection=COLLECTION):
    parts = [urllib.parse.quote(s, safe="") for s in (collection, *doc)]
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "linesync:%s/%s/%s#%d" % (*parts, chunk)))


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


class Input:
    """Lines, and what each of them asks for: effects[n] (n from 1) is a list of (document, text), text
    None where the document is to go; records[n] is (repository, commit)."""

    def __init__(self):
        self.lines = []
        self.effects, self.records, self.from_file = {}, {}, set()

    def add(self, line, effects):
        self.lines.append(json.dumps(line, ensure_ascii=False))
        self.effects[len(self.lines)] = effects

    def store(self, repo, path, text):
        self.add({"repo": repo, "path": path, "content": text}, [((repo, path), text)])

    def file(self, repo, path, text):
        """text: what the file holds."""
        self.add({"repo": repo, "path": path}, [((repo, path), text)])
        self.from_file.add(len(self.lines))

    def delete(self, repo, path):
        self.add({"repo": repo, "op": "delete", "path": path}, [((repo, path), None)])

    def rename(self, repo, old, new, text):
        self.add({"repo": repo, "op": "rename", "old_path": old, "path": new, "content": text},
                 [((repo, new), text), ((repo, old), None)])

    def record(self, repo, commit):
        self.add({"repo": repo, "new_changeset": {"commit": commit, "branch": "main"}}, [])
        self.records[len(self.lines)] = repo, commit

    def data(self):
        return "".join(line + "\n" for line in self.lines).encode()

    def versions(self, doc):
        """[(line, text)] of a document, in order."""
        return [(n, text) for n, effects in self.effects.items() for d, text in effects if d == doc]

    def documents(self):
        return {d for effects in self.effects.values() for d, _ in effects}

    def several(self):
        """Documents that more than one line names."""
        return {d for d in self.documents() if len(self.versions(d)) > 1}

    def after(self, before, upto=None):
        """What the store holds after the first lines, when it held before."""
        docs = dict(before)
        for n, effects in self.effects.items():
            for doc, text in effects:
                if (upto is None or n <= upto) and (text is None or REFUSED not in text):
                    docs[doc] = text
        return {d: t for d, t in docs.items() if t is not None}


def the_preparation():
    p = Input()
    for name in ("a1", "a2", "a3", "a-same", "a-old", "a-gone", "src/deep/a b.py"):
        p.store("Alpha", name, "def first_%s(): pass\n" % name)
    for name in ("b1", "b2", "bad", "b-gone"):
        p.store("Beta", name, "first of %s\n" % name)
    for name in ("f1.txt", "f2.txt", "f-gone.txt"):
        p.store("Files", name, "first of %s\n" % name)
    for repo in REPOS:
        p.record(repo, repo + "-0")
    return p


FILES = {"f1.txt": "second of f1\n", "f2.txt": "second of f2\n", "sub/f3.txt": "a new file\n",
         "f4.md": "# another\n"}


def the_input():
    """Three repositories, one of them read from files; deletes, a rename, a document that changes four
    times, one that goes and comes back, one that is stored already, one that the store refuses; a
    record of each repository in the middle and one at the end."""
    m = Input()
    m.store("Alpha", "a1", "def second_a1(): pass\n")
    m.store("Alpha", "hot", "hot 1\n")
    m.store("Beta", "b1", "second of b1\n")
    m.file("Files", "f1.txt", FILES["f1.txt"])
    m.store("Alpha", "a-same", "def first_a-same(): pass\n")
    m.store("Alpha", "hot", "hot 2\n")
    m.delete("Alpha", "a-gone")
    m.rename("Alpha", "a-old", "a-new", "def first_a-old(): pass\n# moved\n")
    m.store("Beta", "bad", REFUSED + "\n")
    m.store("Alpha", "src/deep/a b.py", "def second_deep(): pass\n")
    m.record("Alpha", "Alpha-1")
    m.store("Beta", "b2", "second of b2\n")
    m.record("Beta", "Beta-1")
    m.file("Files", "f2.txt", FILES["f2.txt"])
    m.store("Alpha", "hot", "hot 3\n")
    m.delete("Files", "f-gone.txt")
    m.record("Files", "Files-1")
    m.delete("Alpha", "a3")
    m.store("Alpha", "a2", "def second_a2(): pass\n")
    m.delete("Beta", "b-gone")
    m.store("Alpha", "hot", "hot 4\n")
    m.file("Files", "sub/f3.txt", FILES["sub/f3.txt"])
    m.store("Beta", "b3", "a new one\n")
    m.store("Alpha", "a3", "def third_a3(): pass\n")
    m.file("Files", "f4.md", FILES["f4.md"])
    for repo in REPOS:
        m.record(repo, repo + "-2")
    return m


def text_of(name, lines):
    return "".join("%s, line %d\n" % (name, n + 1) for n in range(lines))


def the_chunked_preparation():
    p = Input()
    for name, lines in (("grows", 2), ("shrinks", 8), ("same", 6), ("old", 3), ("gone", 6), ("back", 5)):
        p.store("Alpha", name, text_of("first of " + name, lines))
    for name, lines in (("b1", 7), ("bad", 4), ("b-gone", 1)):
        p.store("Beta", name, text_of("first of " + name, lines))
    for name, lines in (("f1.txt", 5), ("f-gone.txt", 4)):
        p.store("Files", name, text_of("first of " + name, lines))
    for repo in REPOS:
        p.record(repo, repo + "-0")
    return p


CHUNKED_FILES = {"f1.txt": text_of("second of f1", 9), "sub/f2.txt": text_of("a new file", 3)}


def the_chunked_input():
    """The same of documents that grow and shrink; the store refuses the second chunk of one."""
    m = Input()
    m.store("Alpha", "grows", text_of("second of grows", 9))
    m.store("Alpha", "hot", text_of("hot 1", 5))
    m.store("Beta", "b1", text_of("second of b1", 1))
    m.file("Files", "f1.txt", CHUNKED_FILES["f1.txt"])
    m.store("Alpha", "same", text_of("first of same", 6))
    m.store("Alpha", "hot", text_of("hot 2", 2))
    m.delete("Alpha", "back")
    m.rename("Alpha", "old", "new", text_of("second of old", 7))
    m.store("Beta", "bad", text_of("second of bad", 2) + REFUSED + "\n" + text_of("more of bad", 3))
    m.record("Alpha", "Alpha-1")
    m.store("Alpha", "shrinks", text_of("second of shrinks", 1))
    m.record("Beta", "Beta-1")
    m.store("Alpha", "hot", text_of("hot 3", 11))
    m.delete("Files", "f-gone.txt")
    m.file("Files", "sub/f2.txt", CHUNKED_FILES["sub/f2.txt"])
    m.record("Files", "Files-1")
    m.delete("Alpha", "gone")
    m.delete("Beta", "b-gone")
    m.store("Alpha", "hot", text_of("hot 4", 4))
    m.store("Alpha", "back", text_of("third of back", 3))
    m.store("Beta", "b3", text_of("a new one", 5))
    for repo in REPOS:
        m.record(repo, repo + "-2")
    return m


# What a line may come to where nothing was done before; see judge_results().
def may_be(inp, n, several):
    if n in inp.records:
        repo = inp.records[n][0]
        return {"held"} if repo == "Beta" else {"completed"}
    if any(text and REFUSED in text for _, text in inp.effects[n]):
        return {"failed"}
    may = {"completed", "skipped"}
    if any(d in several for d, _ in inp.effects[n]):
        may.add("superseded")
    return may


# ---------------------------------------------------------------------------------------------
# linesync, and the mock store


class Torn(frozenset):
    """What a document is that is no whole version: the digests of the texts that it has chunks of."""


class Wrong(Exception):
    """Something that must hold does not."""


def want_counted(printed, run):
    """The state counts each line that was printed.  One that an earlier part of the run had done, and that was
    found so, counts as it did: what is printed as skipped or superseded then may stay completed."""
    done = "completed", "skipped", "superseded"
    if not printed:         # there may be no run yet
        return
    known = run["lines"]
    for status, n in printed.items():
        if status in ("skipped", "superseded"):
            continue
        if known[status] < n:
            raise Wrong("%d lines were printed as %s, the state knows of %d" % (n, status, known[status]))
    if sum(known[s] for s in done) < sum(printed[s] for s in done):
        raise Wrong("%s lines were printed, the state knows of %s" % (dict(printed), known))


class Run:
    def __init__(self, rc, out, err, whole):
        self.rc, self.err = rc, err
        lines = out.split("\n")
        if lines[-1] != "" and whole:
            raise Wrong("half a result: %r" % lines[-1])
        self.results = [json.loads(line) for line in lines[:-1]]
        self.own = [r for r in self.results if not r.get("retried")]

    def of_line(self):
        return {r["line"]: r for r in self.own}


class Worker:
    """A folder with a state and files, for one collection of a store."""

    store = "chroma"

    def __init__(self, name, url, collection=COLLECTION):
        self.dir = os.path.abspath(name)
        self.root = os.path.join(self.dir, "root")
        self.state = os.path.join(self.dir, "s.tdb")
        os.makedirs(self.root)
        self.url, self.collection = url, collection
        self.said = []

    def arguments(self):
        return ["--store", self.store + ":" + self.url, "--collection", self.collection, "--state", self.state,
                "--root", self.root]

    def command(self, *words):
        done = subprocess.run([LINESYNC, *words], stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=LIMIT_S, check=False)
        return done.returncode, done.stdout, done.stderr.decode(errors="replace")

    def feed(self, inp, before=(), slowly=False, whole=True, kill_s=None):
        """Runs linesync on an input.  before: words in front of the command.  slowly: line by line.
        kill_s: it is killed then.  whole: it must not be, and leave no half result."""
        names = [os.path.join(self.dir, n) for n in ("in", "out", "err")]
        with open(names[0], "wb") as f:
            f.write(inp.data())
        command = [*before, LINESYNC, *self.arguments()]
        self.said.append("%s <<%d lines" % (" ".join(command), len(inp.lines)))
        with open(names[0], "rb") as i, open(names[1], "wb") as o, open(names[2], "wb") as e:
            p = subprocess.Popen(command, stdin=subprocess.PIPE if slowly else i, stdout=o, stderr=e)
            if slowly:
                self.trickle(p, inp)
            try:
                rc = p.wait(LIMIT_S if kill_s is None else kill_s)
            except subprocess.TimeoutExpired:
                p.kill()
                rc = p.wait()
                if kill_s is None:
                    raise Wrong("no end after %d s" % LIMIT_S) from None
        with open(names[1], encoding="utf-8") as o, open(names[2], errors="replace") as e:
            run = Run(rc, o.read(), e.read(), whole)
        self.said.append("-> %d\n%s%s" % (rc, "".join(json.dumps(r) + "\n" for r in run.results), run.err))
        return run

    @staticmethod
    def trickle(p, inp):
        try:
            time.sleep(0.05)
            for line in inp.lines:
                p.stdin.write(line.encode() + b"\n")
                p.stdin.flush()
                time.sleep(0.004)
            p.stdin.close()
        except OSError:
            pass

    def look(self):
        """What the state says, or None where it cannot be read without being mended first."""
        rc, out, err = self.command("status", "--json", "--repos", "--state", self.state)
        if rc not in (0, 1) or not out:
            self.said.append("status: %d %s" % (rc, err))
            return None
        known = json.loads(out)
        known["position"] = {r["repo"]: r["position"] for r in known["repos"]}
        known["run"] = json.loads(self.command("status", "--json", "--state", self.state)[1])["run"]
        known["touched"] = {}
        for repo in REPOS:
            rc, out, err = self.command("changeset", "--touched", repo, "-z", "--state", self.state)
            if rc != 0:
                raise Wrong("changeset --touched: %d %s" % (rc, err))
            known["touched"][repo] = set(out.decode().split("\0")[:-1])
        self.said.append("state: %s" % {k: known[k] for k in ("position", "touched", "in_doubt", "failed")})
        return known


class Mocked(Worker):
    """The same with a scriptable store of its own."""

    store = "chroma"
    writes = "upsert", "delete"

    def __init__(self, name):
        self.servers = []
        super().__init__(name, self.serve(self.store + ".py", "--contract"))
        self.late_ms = LATE_MS

    def serve(self, *words):
        """The URL of a mock."""
        self.servers.append(subprocess.Popen(
            [sys.executable, os.path.join(HERE, "..", "mock", words[0]), *words[1:]],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True))
        return "http://127.0.0.1:%d" % int(self.servers[-1].stdout.readline())

    def end(self):
        for server in self.servers:
            server.terminate()
            server.wait()

    def control(self, method, what, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + "/_mock/" + what, data, method=method)
        with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
            return json.loads(answer.read())

    def script(self, slow=False, half=None):
        """half: one of HALVES."""
        rules = [{"match": {"kind": "upsert", "content": REFUSED}, "do": {"refuse_objects": True}}]
        if slow:
            rules.append({"match": {"kind": "upsert|delete"}, "do": {"delay_ms": DELAY_MS}})
        self.control("POST", "script", rules)

    def quiet(self):
        """Waits until the store has done all that it was asked for."""
        until = time.monotonic() + LIMIT_S
        while time.monotonic() < until:
            stats = self.control("GET", "stats")
            if not stats["open"] and not stats["in_flight"] and not stats["pending"]:
                return
            time.sleep(0.002)
        raise Wrong("the mock does not come to rest")

    def save(self, name):
        self.control("POST", "save", {"name": name})
        kept = self.state + "." + name
        if os.path.exists(self.state):
            shutil.copyfile(self.state, kept)
        elif os.path.exists(kept):      # of an earlier point: this one has no state
            os.unlink(kept)

    def load(self, name):
        self.control("POST", "load", {"name": name})
        kept = self.state + "." + name
        if os.path.exists(self.state):
            os.unlink(self.state)
        if os.path.exists(kept):
            shutil.copyfile(kept, self.state)
            os.chmod(self.state, 0o600)

    def stored(self):
        """{document: digest of its text}; every id is looked at, and what the store made of requests."""
        self.described()
        docs = {}
        dump = self.control("GET", "dump")
        for i, r in dump.get(COLLECTION, {"records": {}})["records"].items():
            m = r["metadata"]
            doc = m["repository"], m["file_path"]
            if i != object_id(doc):
                raise Wrong("%s has the id %s, not %s" % (doc, i, object_id(doc)))
            if m["content_hash"] != r["document_sha256"]:
                raise Wrong("%s holds a text that is not its content_hash's" % (doc,))
            docs[doc] = r["document_sha256"]
        return docs

    def described(self):
        undescribed = self.control("GET", "violations")
        if undescribed:
            raise Wrong("not as the store describes it: %s" % undescribed[:3])

    def sent(self):
        """The ids that writes named since the last load or clear, in order."""
        return [i for e in self.control("GET", "log") if e["kind"] in self.writes for i in e["ids"]
                if i != NO_ID]

    def arguments(self):
        return super().arguments() + [
            "--batch-size", "2", "--connections", "2", "--flush-ms", "5", "--late", "%dms" % self.late_ms,
            "--retry-wait", "10ms", "--retry-max-wait", "40ms"]


NO_ID = "00000000-0000-5000-8000-000000000000"    # of nothing: in the smallest write


class MockedWeaviate(Mocked):
    """A Weaviate, with an embedding server."""

    store = "weaviate"
    writes = "upsert", "delete", "object_delete"

    def __init__(self, name):
        super().__init__(name)
        self.embedder = self.serve("embedder.py")

    def script(self, slow=False, half=None):
        rules = [{"match": {"kind": "upsert", "content": REFUSED}, "do": {"fail_objects": {
            "message": "invalid text property 'content' on class 'Code': not a string"}}}]
        delay = {"delay_ms": DELAY_MS} if slow else {}
        if half:
            rules.append({"match": {"kind": "upsert"}, "do": {
                **delay, "if_gone": {"ms": 0 if slow else HANG_UP_MS, "do": {"partly": half}}}})
        if slow:
            rules.append({"match": {"kind": "delete|object_delete"}, "do": delay})
        self.control("POST", "script", rules)

    def kill_store(self):
        """It is killed, and there again."""
        before = self.control("GET", "stats")["restarts"]
        self.control("POST", "kill", {"ms": 1})
        until = time.monotonic() + LIMIT_S
        while time.monotonic() < until:
            try:
                if self.control("GET", "stats")["restarts"] > before:
                    return
            except OSError:
                pass
            time.sleep(0.005)
        raise Wrong("the mock does not come back")

    def stored(self):
        """{document: digest of its text, or Torn}; every id is looked at, and what the store made of
        requests."""
        self.described()
        chunks = collections.defaultdict(list)
        dump = self.control("GET", "dump?documents=1&embeddings=1")
        for i, r in dump.get(COLLECTION, {"records": {}})["records"].items():
            m = r["metadata"]
            doc = m["repository"], m["file_path"]
            if i != object_id(doc, m["chunk_index"]):
                raise Wrong("%s has the id %s, not %s" % (doc, i, object_id(doc, m["chunk_index"])))
            found = r["filtered"] and r["indexed"] and \
                r["embedding"] == embedder.vector(r["document"], MODEL)
            chunks[doc].append((m["chunk_index"], m["chunk_count"], r["document"], m["sync_digest"],
                                m["content_hash"], found))
        return {doc: self.version(sorted(have)) for doc, have in chunks.items()}

    @staticmethod
    def version(have):
        hashes = {h for *_, h, _ in have}
        whole = [c[:2] for c in have] == [(i, len(have)) for i in range(len(have))] and \
            len({c[3] for c in have}) == 1 and hashes == {sha256("".join(c[2] for c in have))} and \
            all(c[-1] for c in have)
        return hashes.pop() if whole else Torn(hashes)

    def arguments(self):
        return super().arguments() + ["--embed", self.embedder, "--embed-model", MODEL,
                                      "--chunk-lines", str(CHUNK_LINES), "--batch-size", "4"]


# ---------------------------------------------------------------------------------------------
# What must hold


def differs(got, want):
    """got: {document: digest}; want: {document: text}."""
    want = {d: sha256(t) for d, t in want.items()}
    return ["%s/%s %s" % (*d, "is missing" if d not in got else "should not be there" if d not in want
                          else "is torn" if isinstance(got[d], Torn) else "is another version") for d in sorted(set(got) | set(want))
            if got.get(d) != want.get(d)]


def want_store(worker, want, loose):
    """loose: {document: digests of which it may have chunks}."""
    worker.quiet()
    stored = worker.stored()
    wrong = differs({d: x for d, x in stored.items() if d not in loose},
                    {d: x for d, x in want.items() if d not in loose})
    wrong += ["%s/%s is no part of what it was or should be" % d for d in loose
              if not parts(stored.get(d)) <= loose[d]]
    if wrong:
        raise Wrong("the store: " + ", ".join(wrong))


def parts(value):
    """Of which texts a stored document has something."""
    return value if isinstance(value, Torn) else {value} - {None}


def digest_of(text):
    return None if text is None else sha256(text)


class Judge:
    """Knows the preparation and the input, and says what may be."""

    def __init__(self, mode):
        prepared = kind(mode) != "first"
        self.chunked = is_weaviate(mode)
        self.prep = the_chunked_preparation() if self.chunked else the_preparation()
        self.inp = the_chunked_input() if self.chunked else the_input()
        self.files = CHUNKED_FILES if self.chunked else FILES
        self.before = self.prep.after({}) if prepared else {}
        self.final = self.inp.after(self.before)
        self.start = {r: r + "-0" if prepared else None for r in REPOS}
        self.end = dict(self.start, Alpha="Alpha-2", Files="Files-2")
        self.docs = set(self.before) | self.inp.documents()
        self.lines_of = {commit: n for n, (_, commit) in self.inp.records.items()}
        self.several = self.inp.several()
        # what is sent again is deleted first, and one chunk may be refused where others are stored
        refused = {d for d in self.docs for _, t in self.inp.versions(d) if t and REFUSED in t}
        self.loose = {d: self.from_line(d, 0) for d in refused} if self.chunked else {}
        self.ids = {object_id(d, c): d for d in self.docs for c in range(MOST_CHUNKS)}

    def fits(self, value, doc, n):
        """Whether a stored document may be so once line n has been done."""
        may = self.from_line(doc, n)
        if value in may:
            return True
        # a later version is on its way
        later = self.chunked and any(k > n for k, _ in self.inp.versions(doc))
        return later and parts(value) <= may

    def from_line(self, doc, n):
        """Digests that the document may have once line n has been done: its text then, or a later one."""
        texts = [self.before.get(doc)] + [t for k, t in self.inp.versions(doc) if k <= n]
        later = [t for k, t in self.inp.versions(doc) if k > n]
        return {digest_of(t) for t in texts[-1:] + later}

    def position_line(self, commit):
        return self.lines_of.get(commit, 0)

    def judge_position(self, stored, repo, commit, exempt=()):
        """I3: all that stands before the record is in the store."""
        n = self.position_line(commit)
        for doc in self.docs:
            if doc[0] == repo and doc not in exempt and not self.fits(stored.get(doc), doc, n):
                raise Wrong("the position of %s is %s, but %s is not what it was then, or later" %
                            (repo, commit, doc[1]))

    def at_position(self, repo, commit):
        """{document: digest} of a repository at a position."""
        docs = self.inp.after(self.before, self.position_line(commit))
        return {d: sha256(t) for d, t in docs.items() if d[0] == repo}

    def judge_touched(self, stored, known, exempt=()):
        for repo in self.start:
            then = self.at_position(repo, known["position"].get(repo))
            now = {d: x for d, x in stored.items() if d[0] == repo}
            if known["position"].get(repo) is None and not now:
                continue
            for doc in set(then) | set(now):
                if then.get(doc) != now.get(doc) and doc not in exempt and \
                        doc[1] not in known["touched"].get(repo, ()):
                    raise Wrong("%s/%s changed since %s, but --touched does not say so" %
                                (*doc, known["position"].get(repo)))

    def judge_killed(self, run, stored, known):
        """After a kill: what was printed is true and durable, and no position is ahead."""
        counted = collections.Counter()
        for r in run.own:
            n = r["line"]
            counted[r["status"]] += 1
            if r["status"] in ("failed", "held"):
                continue
            for doc, _ in self.inp.effects[n]:
                if not self.fits(stored.get(doc), doc, n):
                    raise Wrong("line %d was printed as %s, but the store holds something older of %s" %
                                (n, r["status"], doc[1]))
            if n in self.inp.records and known:
                repo, commit = self.inp.records[n]
                if self.position_line(known["position"].get(repo)) < n:
                    raise Wrong("changeset %s was printed, but the position is %s" %
                                (commit, known["position"].get(repo)))
        if not known:
            return
        if run.own and known["run"]["run"] != run.own[0]["run"]:
            raise Wrong("the state does not know the run whose results were printed")
        want_counted(counted, known["run"])
        for repo in self.start:
            self.judge_position(stored, repo, known["position"].get(repo))
        self.judge_touched(stored, known)

    def judge_results(self, run, inp, several=()):
        """One result for each line, none that cannot be, and the exit status that follows."""
        seen = collections.Counter(r["line"] for r in run.own)
        want = collections.Counter(range(1, len(inp.lines) + 1))
        if seen != want:
            raise Wrong("lines without a result: %s; with several: %s" %
                        (sorted((want - seen)), sorted((seen - want))))
        bad = any(r["status"] in ("failed", "held") for r in run.results)
        if run.rc != (1 if bad else 0):
            raise Wrong("exit status %d" % run.rc)
        for r in run.own:
            if r["status"] == "failed" and r["error"]["code"] != "store-rejected":
                raise Wrong("line %d failed: %s" % (r["line"], r["error"]))
            if inp is self.inp and r["status"] not in may_be(inp, r["line"], several):
                raise Wrong("line %d is %s" % (r["line"], r["status"]))
            if r["status"] == "skipped" and r["reason"] not in ("unchanged", "no-commit"):
                raise Wrong("line %d is skipped: %s" % (r["line"], r["reason"]))

    def judge_resumed(self, killed, known, run, sent):
        """Lines that were printed and carry their own content are not done again."""
        if not killed.own or not known or known["run"]["status"] not in ("running", "interrupted"):
            return
        of_line = run.of_line()
        if run.own[0]["run"] != killed.own[0]["run"]:
            raise Wrong("the run was not continued")
        for r in killed.own:
            n = r["line"]
            if n in self.inp.from_file or r["status"] in ("failed", "held"):
                continue
            if not of_line[n].get("resumed") or of_line[n]["status"] != r["status"]:
                raise Wrong("line %d was printed as %s; resumed, it is %s" % (n, r, of_line[n]))
            again = [d for d, _ in self.inp.effects[n]
                     if d not in self.several and d in {self.ids.get(i) for i in sent}]
            if again:
                raise Wrong("line %d was done, but sent again: %s" % (n, again))

    def judge_end(self, worker, run, exempt=()):
        """The whole input has been done."""
        self.judge_results(run, self.inp, self.several)
        known = worker.look()
        if not known:
            raise Wrong("the state cannot be read")
        for repo, commit in self.end.items():
            if repo not in exempt and known["position"].get(repo) != commit:
                raise Wrong("the position of %s is %s, not %s" % (repo, known["position"].get(repo), commit))
            if repo != "Beta" and known["touched"][repo]:
                raise Wrong("all of %s was closed by a record, but touched is %s" %
                            (repo, known["touched"][repo]))
        for r in known["repos"]:
            # what was refused stays in doubt if it was when it was sent: an earlier attempt may have
            # stored something
            may = (1, (0, 1)) if r["repo"] == "Beta" else (0, (0,))
            if r["failed"] != may[0] or r["in_doubt"] not in may[1]:
                raise Wrong("%s: failed %d, in doubt %d" % (r["repo"], r["failed"], r["in_doubt"]))
        return known


class Case:
    """One kill, and what comes after it."""

    def __init__(self, worker, judge, mode, call, n):
        self.w, self.judge, self.mode, self.call, self.n = worker, judge, kind(mode), call, n
        self.on_weaviate = is_weaviate(mode)
        # which of several ways is gone: no regular one, as points are k calls apart
        self.pick = zlib.crc32(("%s:%s:%d" % (mode, call, n)).encode())

    @staticmethod
    def killer(call, n):
        return ["strace", "-o", "/dev/null", "-e", "trace=" + call, "-e",
                "inject=%s:signal=KILL:when=%d" % (call, n)]

    def kill(self):
        """Returns whether linesync was killed (else it ended before that call)."""
        w = self.w
        w.load("start")
        w.script(self.mode == "slow", HALVES[self.pick % len(HALVES)])
        if self.mode == "twice":
            w.feed(self.judge.inp, self.killer("sendto", 5 + self.pick % 7), whole=False)
            w.quiet()
        self.run = w.feed(self.judge.inp, self.killer(self.call, self.n), self.call == "read", whole=False)
        if self.mode == "slow":
            w.script()
            self.under_way = w.sent()
            return self.run.rc == -signal.SIGKILL
        w.quiet()
        self.under_way = w.sent()
        w.script()
        if self.on_weaviate and self.pick % 3 == 1:
            w.kill_store()
        w.save("killed")
        self.stored = w.stored()
        self.known = w.look() if os.path.exists(w.state) else None
        return self.run.rc == -signal.SIGKILL

    def document(self):
        """One that was under way."""
        docs = [self.judge.ids[i] for i in self.under_way if i in self.judge.ids]
        if self.mode == "first":    # it is refused, and would keep the old text that nobody stored before
            docs = [d for d in docs if d != ("Beta", "bad")]
        return docs[-1 - self.pick % min(2, len(docs))] if docs else ("Alpha", "hot")

    def want_final(self, more=()):
        if self.on_weaviate and self.pick % 3 == 2:    # what was acknowledged lasts
            self.w.quiet()
            self.w.kill_store()
        want_store(self.w, {**self.judge.final, **dict(more)}, self.judge.loose)

    def then_same(self):
        run = self.w.feed(self.judge.inp)
        self.judge.judge_end(self.w, run)
        self.want_final()
        if self.mode in ("main", "twice"):
            self.judge.judge_resumed(self.run, self.known, run, self.w.sent())
        self.once_more()

    def once_more(self):
        """After the end nothing is left to do, but for what the input itself undoes, and for what was
        refused."""
        self.w.control("POST", "clear")
        self.judge.judge_end(self.w, self.w.feed(self.judge.inp))
        self.want_final()
        more = {self.judge.ids.get(i, i) for i in self.w.sent()} - self.judge.several - {("Beta", "bad")}
        if more:
            raise Wrong("sent although nothing changed: %s" % more)

    def then_old(self):
        doc = self.document()
        old = self.judge.before.get(doc) or "%s as it was long ago\n" % doc[1]
        inp = Input()
        inp.store(*doc, old)
        if self.pick % 2:
            inp.record(doc[0], doc[0] + "-old")
        self.go_on(inp, {doc: old}, doc)
        run = self.w.feed(self.judge.inp)
        self.judge.judge_end(self.w, run, {"Beta"} if doc[0] == "Beta" else ())
        self.want_final()

    def then_other(self):
        inp = Input()
        new = {}
        if self.pick % 2:
            inp.store("Other", "o", "of another repository\n")
            new = {("Other", "o"): "of another repository\n"}
        elif self.pick // 2 % 2:        # else no line at all, which touches nothing
            inp.add({"repo": "nobody", "new_changeset": {}}, [])    # asks for nothing, so all else is looked after
        self.go_on(inp, new, None)
        if self.on_weaviate and self.pick % 3 == 2:    # what was read back lasts too
            self.w.kill_store()
        run = self.w.feed(self.judge.inp)
        self.judge.judge_end(self.w, run)
        self.want_final(new)

    def then_forgotten(self):
        """The state knows nothing but what may be under way; what the collection holds stays, but for
        what the input names."""
        if os.path.exists(self.w.state):
            rc, _, err = self.w.command("forget", "--all", "--state", self.w.state)
            if rc != 0:
                raise Wrong("forget: %d %s" % (rc, err))
        run = self.w.feed(self.judge.inp)
        self.judge.judge_end(self.w, run, {"Beta"})
        self.want_final()
        self.w.control("POST", "clear")
        self.judge.judge_end(self.w, self.w.feed(self.judge.inp), {"Beta"})
        self.want_final()

    def go_on(self, inp, new, doc):
        """Another input than the one that was killed: it changes what it names, and nothing else."""
        run = self.w.feed(inp)
        self.judge.judge_results(run, inp)
        if doc is None and any(r["status"] != "completed" and r.get("reason") != "no-commit"
                               for r in run.own if r["line"] not in inp.records):
            raise Wrong("not done")
        self.w.quiet()
        stored = self.w.stored()
        if self.mode == "slow":
            for d, text in new.items():
                if stored.get(d) != sha256(text):
                    raise Wrong("%s is not what the last line says" % (d,))
            return
        want = {**self.stored, **{d: sha256(t) for d, t in new.items()}}
        changed = {d for d in set(want) | set(stored) if want.get(d) != stored.get(d)}
        if changed - set(self.judge.loose):
            raise Wrong("the store changed where it was not asked to: %s" % changed)
        if not inp.lines and not os.path.exists(self.w.state):    # killed before there was one
            return
        after = self.w.look()
        if not after:
            raise Wrong("the state cannot be read")
        self.judge_positions(inp, stored, after, doc)

    def judge_positions(self, inp, stored, after, doc):
        exempt = {doc} if doc else set()
        for repo in self.judge.start:
            now = after["position"].get(repo)
            if (repo, now) in inp.records.values():
                then = self.known["position"].get(repo) if self.known else None
                if not self.known:
                    continue
                was = self.judge.at_position(repo, then)
                for d in self.judge.docs:
                    if d[0] == repo and d != doc and was.get(d) != stored.get(d):
                        raise Wrong("the position went from %s to %s, but %s changed and was not named" %
                                    (then, now, d[1]))
                continue
            self.judge.judge_position(stored, repo, now, exempt)
            if self.known and self.judge.position_line(now) < \
                    self.judge.position_line(self.known["position"].get(repo)):
                raise Wrong("the position of %s went back" % repo)
        if not any((r, after["position"].get(r)) in inp.records.values() for r in self.judge.start):
            self.judge.judge_touched(stored, after, exempt)

    def judge_state(self):
        if self.mode != "slow":
            self.judge.judge_killed(self.run, self.stored, self.known)

    def ways(self):
        ways = {SAME: self.then_same, OLD: self.then_old, OTHER: self.then_other}
        if self.on_weaviate:
            ways[FORGOTTEN] = self.then_forgotten
        return ways


# ---------------------------------------------------------------------------------------------
# The sweep


class Sweep:
    def __init__(self, options):
        self.o = options
        self.workers = []
        self.judges = {m: Judge(m) for m in MODES}
        self.lock = threading.Lock()
        self.wrong = collections.defaultdict(list)      # (mode, call, way) -> [(n, text)]
        self.killed = collections.Counter()
        self.tried = collections.Counter()
        self.unreadable = 0

    def prepare(self, w, mode):
        w.control("POST", "reset")
        for name in os.listdir(w.dir):
            if name.startswith("s.tdb"):
                os.unlink(os.path.join(w.dir, name))
        w.late_ms = SLOW_LATE_MS if kind(mode) == "slow" else LATE_MS
        w.script()
        if kind(mode) != "first":
            run = w.feed(self.judges[mode].prep)
            if run.rc != 0:
                raise Wrong("the preparation: %d %s" % (run.rc, run.err))
        for name, text in self.judges[mode].files.items():
            path = os.path.join(w.root, "Files", name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if not os.path.exists(path):    # untouched since, in every run
                with open(path, "w", encoding="utf-8") as f:
                    f.write(text)
        w.save("start")

    def learn(self, mode):
        """Counts the calls of a clean run: {call: (first, last)} of those worth trying: from where
        linesync makes its pipe for signals, not those of the dynamic loader."""
        w = self.workers[0]
        judge = self.judges[mode]
        calls = MODES[mode]
        span = {}
        for slowly in {c == "read" for c in calls}:
            w.load("start")
            trace = os.path.join(w.dir, "trace")
            some = [c for c in calls if (c == "read") == slowly]
            w.script(kind(mode) == "slow", HALVES[0])
            watched = "trace=?pipe,pipe2,sendto," + ",".join(some)
            run = w.feed(judge.inp, ["strace", "-o", trace, "-e", watched], slowly)
            judge.judge_end(w, run)
            want_store(w, judge.final, judge.loose)
            with open(trace, encoding="utf-8", errors="replace") as f:
                names = [re.match(r"[a-z0-9_]+", line) for line in f]
            names = [m.group() for m in names if m]
            start = next((i for i, name in enumerate(names) if name.startswith("pipe")), 0)
            if kind(mode) == "first":
                sends = [i for i, name in enumerate(names) if name == "sendto"]
                names = names[:sends[FIRST_SENDS] if len(sends) > FIRST_SENDS else None]
            for call in some:
                span[call] = (names[:start].count(call) + 1, names.count(call))
        return span

    def points(self, mode, span):
        for call, (most, _) in MODES[mode].items():
            first, last = span[call]
            step = 1 if self.o.all else max(1, -(-(last - first + 1) // most))
            yield from ((mode, call, n) for n in range(first, last + 1, step))

    def one(self, w, mode, call, n):
        case, killed, found = self.try_point(w, mode, call, n)
        if found and kind(mode) == "slow":    # what arrives late may have come later than linesync waits for it
            w.late_ms = PATIENT_LATE_MS
            case, killed, found = self.try_point(w, mode, call, n)
            w.late_ms = SLOW_LATE_MS
        with self.lock:
            self.tried[mode, call] += 1
            self.killed[mode, call] += killed
            self.unreadable += kind(mode) == "main" and case.known is None
            for way, (text, said) in found.items():
                self.wrong[mode, call, way].append((n, text, said))

    def try_point(self, w, mode, call, n):
        """(its case, whether it was killed, {way: what is wrong and what was said})"""
        case = Case(w, self.judges[mode], mode, call, n)
        del w.said[:]
        found = {}
        killed = False
        try:
            killed = case.kill()
            case.judge_state()
        except Wrong as e:
            found["kill"] = str(e), list(w.said)
        if getattr(case, "run", None):
            for at, (way, go) in enumerate(case.ways().items()):
                del w.said[:]
                try:
                    if kind(mode) == "slow" and at:
                        case.kill()
                    elif at:
                        w.load("killed")
                    w.control("POST", "clear")
                    go()
                except Wrong as e:
                    found[way] = str(e), list(w.said)
        return case, killed, found

    def work(self, w, jobs):
        while True:
            try:
                job = jobs.get_nowait()
            except queue.Empty:
                return
            try:
                self.one(w, *job)
            except Exception:
                with self.lock:
                    self.wrong[job[0], job[1], "kill"].append(
                        (job[2], traceback.format_exc(), list(w.said)))

    def run_points(self, points):
        jobs = queue.Queue()
        for p in points:
            jobs.put(p)
        threads = [threading.Thread(target=self.work, args=(w, jobs)) for w in self.workers]
        for t in threads:
            t.start()
        for t in threads:
            t.join()

    def report(self, mode, call, way, name):
        wrong = sorted(self.wrong.get((mode, call, way), ()), key=lambda e: e[0])
        notes = []
        for n, text, said in wrong[:8]:
            notes += ["%s %d: %s" % (call, n, text), "    again: tests/long/sweep.sh -k -v --point %s:%s:%d" %
                      (mode, call, n)]
            if verbose:
                notes += said
        if len(wrong) > 8:
            notes.append("and at %s" % [n for n, _, _ in wrong[8:]])
        tap(not wrong, name, *notes)

    def mode(self, mode):
        if not self.workers or is_weaviate(mode) != isinstance(self.workers[0], MockedWeaviate):
            self.end_workers()
            make, name = (MockedWeaviate, "v%d") if is_weaviate(mode) else (Mocked, "w%d")
            self.workers = [make(name % i) for i in (1, 2)]
        for w in self.workers:
            self.prepare(w, mode)
        try:
            span = self.learn(mode)
        except Wrong as e:
            tap(False, "%s: a run without a kill" % mode, e, *self.workers[0].said)
            return
        tap(True, "%s: a run without a kill" % mode)
        points = list(self.points(mode, span))
        if self.o.point:
            points = [p for p in [self.o.point] if p[0] == mode]
        started = time.monotonic()
        self.run_points(points)
        note("%s: %d points in %.0f s" % (mode, len(points), time.monotonic() - started))
        for call, (_, least) in MODES[mode].items():
            tried, killed = self.tried[mode, call], self.killed[mode, call]
            if self.o.point and not tried:
                continue
            what = "%s: %s" % (mode, call)
            first, last = span[call]
            tap(last - first + 1 >= least, "%s: there are calls enough" % what,
                "%d of at least %d" % (last - first + 1, least))
            # runs differ a little, so the last of a clean one need not come in another; how many lines
            # one read finds even depends on how fast the store is
            # (so does how many results one write prints)
            tenths = 3 if call == "read" else 6 if call == "write" else 8 if kind(mode) in ("main", "first") else 5
            tap(killed * 10 >= tried * tenths,
                "%s: killed at %d of %d points" % (what, killed, tried))
            if kind(mode) != "slow":
                self.report(mode, call, "kill", "%s: what the state and the results say then" % what)
            for way, text in list(WAYS.items())[:None if is_weaviate(mode) else -1]:
                self.report(mode, call, way, "%s, %s" % (what, text))

    def end_workers(self):
        for w in self.workers:
            w.end()

    def run(self):
        try:
            for mode in MODES:
                if self.o.point and self.o.point[0] != mode or \
                        self.o.store and is_weaviate(mode) != (self.o.store == "weaviate"):
                    continue
                self.mode(mode)
        finally:
            self.end_workers()
        note("states that could not be read right after a kill: %d" % self.unreadable)
        tap_end()


# ---------------------------------------------------------------------------------------------
# Random moments, a real store


class Real(Worker):
    """A folder with a state, and a collection of a real Chroma."""

    def __init__(self, name, url, collection):
        super().__init__(name, url, collection)
        self.proxy = cutproxy.Proxy(int(url.rsplit(":", 1)[1]))
        self.url = "http://127.0.0.1:%d" % self.proxy.port
        self.base = url + "/api/v2/tenants/default_tenant/databases/default_database/collections/"

    def ask(self, what, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + what, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
            return json.loads(answer.read())

    def records(self, *more):
        """{document: (text, sync_digest, ...)}; every id is looked at."""
        page = self.ask(self.ask(self.collection)["id"] + "/get",
                        {"limit": 10000, "include": ["documents", "metadatas", *more]})
        docs = {}
        for k, i in enumerate(page["ids"]):
            m = page["metadatas"][k]
            doc = m["repository"], m["file_path"]
            if i != object_id(doc, collection=self.collection):
                raise Wrong("%s has the id %s" % (doc, i))
            docs[doc] = (page["documents"][k], m["sync_digest"], *(page[x][k] for x in more))
        return docs

    def quiet(self):
        """Waits until the store has answered all that a killed linesync has sent: how late it may be for
        that depends on how busy the machine is."""
        if not self.proxy.wait_idle(LIMIT_S):
            raise Wrong("the store does not answer")

    def arguments(self):
        return super().arguments()[:8] + ["--batch-size", "8", "--connections", "3", "--flush-ms", "5",
                                          "--late", "300ms", "--retry-wait", "10ms"]


class Kills:
    DOCUMENTS, LINES = 25, 60

    def __init__(self, options):
        self.seed = options.seed if options.seed is not None else random.randrange(1 << 32)
        self.random = random.Random(self.seed)
        self.wanted = options.kills
        self.url = options.store
        self.real = Real("w1", self.url, COLLECTION)
        self.docs, self.all = {}, Input()
        self.done = self.again = 0
        self.takes_s = 0.5

    def input(self, number):
        r, inp = self.random, Input()
        for k in range(self.LINES):
            repo, path = r.choice(REPOS), "src/d %d.c" % r.randrange(self.DOCUMENTS)
            deed = r.random()
            if deed < 0.1:
                inp.delete(repo, path)
            elif deed < 0.17:
                inp.rename(repo, path, "moved/%d.py" % r.randrange(5), "moved %d, %d\n" % (number, k))
            elif deed < 0.25 and (repo, path) in self.docs:
                inp.store(repo, path, self.docs[repo, path])
            else:
                inp.store(repo, path, "text %d of %d\n" % (k, number) + "words and more\n" * r.randrange(60))
            if deed > 0.95:
                inp.record(repo, "%s-%d-%d" % (repo, number, k))
        for repo in REPOS:
            inp.record(repo, "%s-%d" % (repo, number))
        return inp

    def round(self, number):
        """One input: killed once or more, then to its end."""
        w, inp = self.real, self.input(number)
        killed = []
        del w.said[:]
        while self.done < self.wanted:
            run = w.feed(inp, kill_s=self.random.uniform(0, self.takes_s), whole=False)
            if run.rc != -signal.SIGKILL:
                self.judge(inp, run)
                break
            self.done += 1
            w.quiet()
            known = w.look() if os.path.exists(w.state) else None
            if known and known["run"]:
                killed.append((run, known["run"]))
            if self.random.random() < 0.75:
                break
            self.again += 1
        start = time.monotonic()
        run = w.feed(inp)
        self.takes_s += (0.9 * (time.monotonic() - start) - self.takes_s) / 8
        self.judge(inp, run)
        for before, state in killed:
            self.judge_resumed(before, state, run)
        self.docs = inp.after(self.docs)
        wrong = differs({d: sha256(r[0]) for d, r in w.records().items()}, self.docs)
        if wrong:
            raise Wrong("the store: " + ", ".join(wrong))
        known = w.look()
        for repo in REPOS:
            if known["position"].get(repo) != "%s-%d" % (repo, number) or known["touched"][repo]:
                raise Wrong("%s: position %s, touched %s" %
                            (repo, known["position"].get(repo), known["touched"][repo]))
        for n in sorted(inp.effects):
            self.all.lines.append(inp.lines[n - 1])

    @staticmethod
    def judge(inp, run):
        if sorted(r["line"] for r in run.own) != list(range(1, len(inp.lines) + 1)):
            raise Wrong("not one result for each line")
        wrong = [r for r in run.results if r["status"] in ("failed", "held")]
        if wrong or run.rc != 0:
            raise Wrong("exit status %d, %s" % (run.rc, wrong[:3]))

    @staticmethod
    def judge_resumed(before, state, run):
        """What was printed was durable: the state knew it, and it was not done again."""
        counted = collections.Counter(r["status"] for r in before.own)
        if before.own and state["run"] == before.own[0]["run"]:
            want_counted(counted, state)
        if not before.own or state["status"] not in ("running", "interrupted"):
            return
        if state["run"] != before.own[0]["run"]:
            raise Wrong("the state does not know the run whose results were printed")
        of_line = run.of_line()
        for r in before.own:
            now = of_line[r["line"]]
            if run.own[0]["run"] == r["run"] and r["status"] != "held" and \
                    (not now.get("resumed") or now["status"] != r["status"]):
                raise Wrong("line %d was printed as %s; resumed, it is %s" % (r["line"], r, now))

    def clean(self):
        """One run over all inputs, another collection and state: the same must be there."""
        other = Real("w2", self.url, "Clean")
        run = other.feed(self.all)
        if run.rc != 0:
            raise Wrong("exit status %d: %s" % (run.rc, run.err))
        got, want = self.real.records("embeddings"), other.records("embeddings")
        wrong = [d for d in set(got) | set(want) if got.get(d) != want.get(d)]
        if wrong:
            raise Wrong("differs: %s" % sorted(wrong))

    def run(self):
        note("seed %d: again with: tests/long/kills.sh --seed %d" % (self.seed, self.seed))
        started = time.monotonic()
        number = 0
        try:
            while self.done < self.wanted and number < 5 * self.wanted:
                number += 1
                self.round(number)
            tap(self.done >= self.wanted, "%d kills, each followed by the same input" % self.done)
        except Wrong as e:
            tap(False, "kill %d, input %d" % (self.done, number), e, *(self.real.said if verbose else ()))
            tap_end()
        note("%d inputs, %d killed again while resumed, %.0f s" %
             (number, self.again, time.monotonic() - started))
        try:
            self.clean()
            tap(True, "at the end the store holds what one clean run makes")
        except Wrong as e:
            tap(False, "at the end the store holds what one clean run makes", e)
        tap_end()


def point(text):
    mode, call, n = text.split(":")
    if call not in MODES[mode]:
        raise ValueError
    return mode, call, int(n)


def main():
    global verbose
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("-v", dest="verbose", action="store_true", help="show what linesync said")
    sub = p.add_subparsers(dest="command", required=True)
    s = sub.add_parser("sweep")
    s.add_argument("--all", action="store_true", help="every point, not every k-th")
    s.add_argument("--store", choices=("chroma", "weaviate"), help="only on its mock")
    s.add_argument("--point", type=point, metavar="MODE:CALL:N", help="this one only")
    k = sub.add_parser("kills")
    k.add_argument("--store", required=True, metavar="URL", help="of a real Chroma")
    k.add_argument("--seed", type=int, help="for the moments and the inputs")
    k.add_argument("--kills", type=int, default=100)
    o = p.parse_args()
    verbose = o.verbose
    if o.command == "sweep":
        Sweep(o).run()
    else:
        Kills(o).run()


if __name__ == "__main__":
    main()
