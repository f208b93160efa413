#!/usr/bin/env python3
"""chroma.py [-v] - a git repository in a real Chroma server: after each step the collection is read
back, not through linesync, and must hold the work tree byte for byte, and nothing else.

Where no server can be installed this is skipped, unless LINESYNC_TEST_STRICT is set."""

import hashlib
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import FOREIGN, Ended, as_line, program, record, report  # noqa: E402

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
SERVER = os.path.join(TOP, "scripts", "chroma")
DIMENSION = 48
FILES = 300
same, test = report.same, report.test
verbose = "-v" in sys.argv


# ---- the server ----

class Chroma:
    """Its HTTP interface, as far as this test needs it."""

    def __init__(self, url):
        self.base = url + "/api/v2/tenants/default_tenant/databases/default_database/collections"

    def call(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as answer:
            return json.load(answer)

    def create(self, name, metric, **records):
        made = self.call("", {"name": name, "configuration": {"hnsw": {"space": metric}}})
        self.call("/%s/add" % made["id"], records)

    def collection(self, name):
        try:
            return self.call("/" + name)
        except urllib.error.HTTPError:
            return None

    def records(self, name):
        """{id: (document, metadata without nulls, vector)} of a collection."""
        what = {"include": ["documents", "metadatas", "embeddings"], "limit": 10000}
        got = self.call("/%s/get" % self.collection(name)["id"], what)
        return {i: (d, {k: v for k, v in (m or {}).items() if v is not None}, e) for i, d, m, e in
                zip(got["ids"], got["documents"], got["metadatas"], got["embeddings"])}

    def tamper(self, name, text):
        """Puts another text into every object, behind linesync's back."""
        ids = list(self.records(name))
        self.call("/%s/update" % self.collection(name)["id"],
                  {"ids": ids, "documents": [text] * len(ids), "embeddings": None})


def start_server(folder):
    """The URL of a new server; None where there is none to be had."""
    if subprocess.run([SERVER, "install"], stdout=subprocess.DEVNULL, check=False).returncode != 0:
        return None
    return subprocess.run([SERVER, "start", folder], stdout=subprocess.PIPE, check=True,
                          text=True).stdout.strip()


# ---- what should be there ----

def percent(text):
    return "".join(chr(c) if c < 128 and (chr(c).isalnum() or chr(c) in "-._~") else "%%%02X" % c
                   for c in text.encode())


def object_id(collection, repo, path):
    name = "linesync:%s/%s/%s#0" % (percent(collection), percent(repo), percent(path))
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


def is_document(data):
    """Whether the bytes of a file are something to store."""
    try:
        return bool(data) and b"\0" not in data and data.decode() is not None
    except UnicodeDecodeError:
        return False


def properties(repo, path, data):
    """The metadata that follows from the specification alone."""
    name = path.split("/")[-1]
    lines = data.count(b"\n") + (not data.endswith(b"\n"))
    out = {"file_path": path, "file_name": name, "repository": repo, "truncated": False,
           "content_hash": hashlib.sha256(data).hexdigest(), "size_bytes": len(data),
           "line_count": lines, "start_line": 1, "end_line": lines, "chunk_index": 0,
           "chunk_count": 1}
    if "." in name[1:] and not name.endswith("."):
        out["extension"] = name.rsplit(".", 1)[1].lower()
    return out


class Place:
    """A folder with a git repository, a server and a state."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="linesync-chroma.")
        self.tree = os.path.join(self.dir, "app")
        self.server = os.path.join(self.dir, "server")
        url = start_server(self.server)
        self.chroma = url and Chroma(url)
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)
                    and not k.lower().endswith("_proxy")}
        self.env.update(HOME=self.dir, LC_ALL="C.UTF-8", TZ="UTC", GIT_CONFIG_NOSYSTEM="1",
                        GIT_AUTHOR_NAME="test", GIT_AUTHOR_EMAIL="test@example.org",
                        GIT_COMMITTER_NAME="test", GIT_COMMITTER_EMAIL="test@example.org",
                        LINESYNC_STORE="chroma:%s" % url, LINESYNC_COLLECTION="Code",
                        LINESYNC_STATE_DIR=os.path.join(self.dir, "state"),
                        LINESYNC_EMBED="hash:%d" % DIMENSION)

    def close(self):
        if os.path.isdir(self.server):
            subprocess.run([SERVER, "stop", self.server], check=False)
        shutil.rmtree(self.dir, ignore_errors=True)

    # ---- the repository ----

    def git(self, *args):
        done = subprocess.run(["git", *args], cwd=self.tree, env=self.env, check=True,
                              stdout=subprocess.PIPE)
        return done.stdout

    def commit(self):
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "a step")
        return self.head()

    def head(self):
        return self.git("rev-parse", "HEAD").decode().strip()

    def write(self, path, data):
        name = os.path.join(self.tree, path)
        os.makedirs(os.path.dirname(name), exist_ok=True)
        with open(name, "wb") as f:
            f.write(data if isinstance(data, bytes) else data.encode())

    def read(self, path):
        with open(os.path.join(self.tree, path), "rb") as f:
            return f.read()

    def documents(self):
        """{path: bytes} of what is to be stored."""
        out = {}
        for path in self.git("ls-files", "-z").decode().split("\0")[:-1]:
            if not os.path.islink(os.path.join(self.tree, path)):
                data = self.read(path)
                if is_document(data):
                    out[path] = data
        return out

    def closing(self, **more):
        return as_line(record(self.head(), "app", **more)) + b"\n"

    # ---- linesync ----

    def start(self, *options):
        return subprocess.Popen([program(), "--repo", "app", *options], env=self.env, cwd=self.tree,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def sync(self, text, *options):
        child = self.start(*options)
        out, err = child.communicate(text, timeout=120)
        if verbose:
            report.note("linesync %s -> %d\n%s" % (" ".join(options), child.returncode, err.decode()))
        return Ended(child.returncode, out, err.decode())

    def stopped(self, lines, after, how, *options):
        """Feeds lines, keeps the input open, and sends a signal after so many results."""
        child = self.start(*options)
        child.stdin.write(b"".join(lines))
        child.stdin.flush()
        out = b""
        while out.count(b"\n") < after:
            data = os.read(child.stdout.fileno(), 65536)
            if not data:
                break
            out += data
        child.send_signal(how)
        more, err = child.communicate(timeout=120)
        return Ended(child.returncode, out + more, err.decode())

    def ask(self, *args):
        return subprocess.run([program(), *args], env=self.env, cwd=self.tree, check=False,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)

    def position(self):
        return self.ask("changeset", "app").stdout.strip()

    # ---- what the server holds ----

    def check(self, name, collection="Code", besides=None):
        """The collection holds exactly the work tree, and `besides` ({id: record}) as it was."""
        want, got = self.documents(), self.chroma.records(collection)
        for i, r in (besides or {}).items():
            same(got.pop(i, None) == r, True, name + ": what is not ours is as it was")
        ids = {object_id(collection, "app", path): path for path in want}
        same(sorted(set(got) ^ set(ids)), [], name + ": one object for each file, by its id")
        found = {ids[i]: r for i, r in got.items() if i in ids}
        same([p for p, r in found.items() if r[0] is None or r[0].encode() != want[p]], [],
             name + ": byte for byte")
        wrong = [(p, k, r[1].get(k), v) for p, r in found.items()
                 for k, v in properties("app", p, want[p]).items() if r[1].get(k) != v]
        same(wrong[:3], [], name + ": with its properties")
        same([p for p, r in found.items() if len(r[2]) != DIMENSION or
              abs(math.sqrt(sum(x * x for x in r[2])) - 1) > 1e-3], [], name + ": with a unit vector")
        return found


# ---- the steps ----

def fill(p):
    """A few hundred small files, some with names and bytes that are easily got wrong."""
    os.mkdir(p.tree)
    p.git("init", "-q", "-b", "main")
    for n in range(FILES):
        p.write("src/part%d/file%03d.py" % (n % 7, n),
                "".join("def name_%d_%d(): return %d\n" % (n, i, i * n) for i in range(n % 9 + 1)))
    for path, data in (("README.md", "# app\n"), ("with space.txt", "space\n"), ("tab\there.txt", "tab\n"),
                       ('quo"te.txt', "quote\n"), ("back\\slash.txt", "slash\n"),
                       ("caf\u00e9 menu.txt", "caf\u00e9 \u2615 \U0001f375\n"), ("\u6587/\u4ef6.txt", "\u6587\u4ef6\n"),
                       ("a#b%20c?d.txt", "escapes\n"), (".hidden", "no extension\n"),
                       ("Makefile", "all:\n\ttrue\n"), ("UPPER.TXT", "upper\n"), ("twin1", "same text\n"),
                       ("twin2", "same text\n"), ("no newline", "cut"), ("crlf.txt", "one\r\ntwo\r\n"),
                       ("bom.txt", "\ufeffmarked\n"), ("control.txt", "\x01\x1b[31m\x7f\n"),
                       ("blank.txt", " \n\n"), ("separators.txt", "a\u2028b\u0085c\n"),
                       ("long.txt", "0123456789abcdef" * 4000),
                       ("left.txt", "".join("left %d\n" % n for n in range(99))),
                       ("right.txt", "".join("%d right\n" % n for n in range(99))),
                       ("empty", ""), ("binary", b"\0\1\2"),
                       ("latin1.txt", b"caf\xe9\n")):
        p.write(path, data)
    os.symlink("README.md", os.path.join(p.tree, "link"))
    p.commit()


def first_sync(p):
    ended = p.sync(p.git("ls-files") + p.closing())
    lines = len(p.git("ls-files").splitlines())
    same((ended.rc, len(ended.results)), (0, lines + 1), "git ls-files: one result for each line")
    kinds = {}
    for r in ended.results:
        kind = r.get("reason", r["status"])
        kinds[kind] = kinds.get(kind, 0) + 1
    same(kinds, {"completed": len(p.documents()) + 1, "empty": 1, "not-text": 2, "symlink": 1},
         "what is no text is left out")
    got = p.check("first sync")
    same(p.position(), p.head(), "the changeset is where git is")
    made = p.chroma.collection("Code")
    same((made["dimension"], made["configuration_json"]["hnsw"]["space"]), (DIMENSION, "cosine"),
         "the collection measures by cosine")
    test(all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", r[1]["synced_at"]) and
             re.fullmatch("[0-9a-f]{32}", r[1]["sync_digest"]) for r in got.values()),
         "each object says when it was stored, and has a digest")
    same(got["twin1"][2], got["twin2"][2], "equal texts have equal vectors")
    same((got["src/part0/file000.py"][1].get("language"), got["README.md"][1].get("language")),
         ("Python", "Markdown"), "with the language, by its name")


def found(p, *args):
    return [json.loads(x) for x in p.ask("search", *args).stdout.split("\n")[:-1]]


def search(p):
    """The text of a document is nearest to that document; the order is that of the stored vectors."""
    records = p.chroma.records("Code")
    query = [v for text, _, v in records.values() if text == "cut"][0]
    distances = {m["file_path"]: 1 - sum(x * y for x, y in zip(query, v)) for _, m, v in records.values()}
    hits = found(p, "-n", "20", "cut")
    same((hits[0]["path"], hits[0]["text"], abs(hits[0]["distance"]) < 1e-3), ("no newline", "cut", True),
         "search: a document by its text")
    same([h["path"] for h in hits if abs(h["distance"] - distances[h["path"]]) > 1e-3], [],
         "search: the distance is the cosine's")
    got = [h["distance"] for h in hits]
    same((len(got), got == sorted(got), got[-1] <= sorted(distances.values())[19] + 1e-3), (20, True, True),
         "search: the nearest ones, in order")
    inside = found(p, "-n", "20", "--repo", "app", "cut")
    same(([h["distance"] for h in inside], {h["repo"] for h in inside}), (got, {"app"}),
         "search: in its repository")
    same(found(p, "-n", "1", "a\u2028b\u0085c\n")[0]["text"], "a\u2028b\u0085c", "search: other separators")


def nothing_sent(p):
    p.chroma.tamper("Code", "tampered")
    ended = p.sync(p.git("ls-files") + p.closing())
    documents = len(p.documents())
    same((ended.rc, sum(r.get("reason") == "unchanged" for r in ended.results)), (0, documents),
         "the same input again: unchanged")
    same({r[0] for r in p.chroma.records("Code").values()}, {"tampered"}, "nothing was sent")
    same(p.sync(p.git("ls-files") + p.closing(), "--force").rc, 0, "--force sends everything")
    p.check("forced")


def edit(p):
    before = p.head()
    p.write("src/part1/file001.py", "def edited(): pass\n")
    p.write("new file.txt", "new\n")
    p.write("empty", "not empty any more\n")
    p.write("crlf.txt", "")
    p.write("long.txt", b"\0")
    p.git("mv", "src/part2/file002.py", "moved.py")
    p.git("mv", "caf\u00e9 menu.txt", "caf\u00e9 men\u00fa.txt")
    p.git("mv", "twin1", "twin3")
    p.git("rm", "-q", "src/part3/file003.py", 'quo"te.txt')
    os.unlink(os.path.join(p.tree, "with space.txt"))
    os.symlink("README.md", os.path.join(p.tree, "with space.txt"))
    p.commit()
    diff = p.git("diff", "--name-status", "-M", before, "HEAD")
    same({line[:1] for line in diff.decode().splitlines()}, set("AMDRT"),
         "git diff: every kind of change")
    ended = p.sync(diff + p.closing(since=before))
    same((ended.rc, p.position()), (0, p.head()), "edited, renamed, deleted, added")
    p.check("git diff --name-status")


def swap(p):
    """Names that change places, which git shows as two renames."""
    before = p.head()
    left, right = p.read("left.txt"), p.read("right.txt")
    p.write("left.txt", right)
    p.write("right.txt", left)
    p.commit()
    diff = p.git("diff", "--name-status", "-z", "-B", "-M", before, "HEAD")
    same(diff.count(b"R100"), 2, "git shows two renames")
    same(p.sync(diff, "-z", "--input-format", "name-status").rc, 0, "names change places")
    p.check("swap")
    same(p.sync(p.closing(since=before)).rc, 1, "a record of its own names nothing of it")
    ended = p.sync(p.git("diff", "--name-status", before, "HEAD") + p.closing(since=before))
    same((ended.rc, p.position()), (0, p.head()), "listed with its changes it counts")


def stop_and_resume(p):
    old = p.documents()
    for path, data in old.items():
        p.write(path, data + b"\nanother line\n")
    p.commit()
    new = p.documents()
    lines = [as_line({"repo": "app", "path": path, "content": data.decode()}) + b"\n"
             for path, data in new.items()]
    small = ("--batch-size", "7", "--connections", "2", "--flush-ms", "20")
    done = set()
    for how, after in ((signal.SIGINT, 40), (signal.SIGKILL, 120), (signal.SIGTERM, 200)):
        ended = p.stopped(lines, after, how, *small)
        same(ended.rc, 128 + how, "stopped by %s" % how.name)
        test(done <= {r["line"] for r in ended.results if r.get("resumed")},
             "what was printed before is not done again")
        same([r["status"] for r in ended.results if r["status"] != "completed"], [],
             "nothing fails")
        done |= {r["line"] for r in ended.results}
        paths = list(new)
        held = {r[1]["file_path"]: r[0].encode() for r in p.chroma.records("Code").values()}
        same([paths[n - 1] for n in done if held[paths[n - 1]] != new[paths[n - 1]]], [],
             "what was called done is there")
        same([q for q in held if held[q] not in (old[q], new[q])], [], "all else is old or new")
        same(set(held), set(new), "and nothing else is there")
        test("resumes" in ended.err or how == signal.SIGKILL, "what to do next is said", ended.err)
    ended = p.sync(b"".join(lines) + p.closing(), *small)
    same((ended.rc, len(ended.results), p.position()), (0, len(lines) + 1, p.head()),
         "resumed to its end")
    test(done <= {r["line"] for r in ended.results if r.get("resumed")}, "and nothing done twice")
    p.check("resumed")


def complete(p):
    gone = sorted(path for path in p.documents() if path.startswith("src/part6/"))
    test(len(gone) > 30, "a folder of %d files" % len(gone))
    p.git("rm", "-q", "-r", "src/part6")
    p.commit()
    same(p.sync(p.git("ls-files"), "--results", "none").rc, 0, "a list without its record")
    present = {r[1]["file_path"] for r in p.chroma.records("Code").values()}
    test(set(gone) <= present, "deletes nothing")
    ended = p.sync(p.git("ls-files") + p.closing(complete=True))
    same((ended.rc, p.position()), (0, p.head()), "a complete listing")
    p.check("complete")


def state_lost(p):
    """With an empty state and a full collection: nothing is believed, nothing is left behind."""
    shutil.rmtree(p.env["LINESYNC_STATE_DIR"])
    p.git("rm", "-q", "moved.py")
    p.commit()
    ended = p.sync(p.git("ls-files") + p.closing(complete=True))
    same((ended.rc, sum(r.get("reason") == "unchanged" for r in ended.results)), (0, 0),
         "a new state on a full collection: everything is sent")
    p.check("a new state")


def foreign_collection(p):
    """Someone else has filled the collection; what is theirs stays as it is."""
    theirs = [object_id("Theirs", "else", "x"), "short id", "caf\u00e9"]
    p.chroma.create("Shared", "cosine", ids=theirs, documents=["one", "two", None],
                    metadatas=[{"repository": "else", "file_path": "x"}, {"kind": "note"}, None],
                    embeddings=[[1.0] + [0.0] * (DIMENSION - 1)] * 3)
    before = p.chroma.records("Shared")
    same(sorted(before), sorted(theirs), "a collection of another one's")
    shared = ("--collection", "Shared")
    same(p.sync(p.git("ls-files") + p.closing(), *shared).rc, 0, "synced into it")
    p.check("beside others", "Shared", before)
    same(p.sync(p.git("ls-files") + p.closing(complete=True), *shared).rc, 0, "a complete listing")
    p.check("complete beside others", "Shared", before)


def wrong_collection(p):
    for name, metric, dimension in (("Wide", "cosine", DIMENSION + 1), ("Metric", "l2", DIMENSION)):
        p.chroma.create(name, metric, ids=["x"], documents=["x"], metadatas=[{"kind": "note"}],
                        embeddings=[[1.0] + [0.0] * (dimension - 1)])
        before = p.chroma.records(name)
        ended = p.sync(p.git("ls-files"), "--collection", name)
        same((ended.rc, ended.results), (78, []), "%s: another %s stops it" %
             (name, "metric" if metric == "l2" else "dimension"))
        test((str(dimension) in ended.err and str(DIMENSION) in ended.err) if metric == "cosine"
             else "l2" in ended.err, "and is named", ended.err)
        same(p.chroma.records(name), before, "nothing was stored")


STEPS = [fill, first_sync, search, nothing_sent, edit, swap, stop_and_resume, complete, state_lost,
         foreign_collection, wrong_collection]


def main():
    if not shutil.which("git"):
        print("1..0 # SKIP git is not there")
        return 0
    signal.signal(signal.SIGINT, signal.default_int_handler)    # a shell's background job ignores it
    p = Place()
    try:
        if p.chroma is None and not os.environ.get("LINESYNC_TEST_STRICT"):
            print("1..0 # SKIP there is no Chroma server")
            return 0
        for step in STEPS:
            report.note(step.__name__)
            step(p)
    finally:
        p.close()
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
