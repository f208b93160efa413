"""realstore.py - a git repository in a real server: after each step the collection is read back, not
through linesync, and must hold the work tree byte for byte, and nothing else.  A test names its server
with a Store, and runs run_steps()."""

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
import urllib.request
import uuid

import netns
from harness import FOREIGN, HERE, Ended, as_line, program, record, report

TOP = os.path.dirname(HERE)
DIMENSION = 48
FILES = 300
same, test = report.same, report.test
verbose = "-v" in sys.argv


# ---- the server ----

def call(method, url, body=None):
    """An HTTP request with JSON, and its answer; urllib's exceptions."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=600) as answer:
        text = answer.read()
    return json.loads(text) if text else None


class Reader:
    """The store's own client, in a process with the Python that has it."""

    def __init__(self, store, python, url):
        self.child = subprocess.Popen(
            [python, "-W", "ignore", os.path.join(HERE, "storeread.py"), store, url], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def records(self, name):
        """{id: (content, other properties, vector)}; None where there is no such collection."""
        self.child.stdin.write(name + "\n")
        self.child.stdin.flush()
        got = json.loads(self.child.stdout.readline())
        return got and {i: tuple(r) for i, r in got.items()}

    def close(self):
        self.child.stdin.close()
        self.child.wait()
        self.child.stdout.close()


class Store:
    """A server of its own folder.  Below: what differs from store to store."""

    name = None         # as in --store and of the script that starts it
    needs = ("install", "client")   # what is installed
    settings = {}       # variables for linesync
    foreign = []        # ids of objects that somebody else has stored
    other_metric = None     # than cosine

    def __init__(self, folder):
        self.folder = folder
        self.reader = None
        self.url = self.script("start", folder)
        self.port = int(self.url.rsplit(":", 1)[1])

    @classmethod
    def script(cls, *args):
        done = subprocess.run([os.path.join(TOP, "scripts", cls.name), *args], check=True, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        return done.stdout.strip()

    @classmethod
    def missing(cls):
        """Installs the server and its client; says what cannot be had."""
        try:
            for what in cls.needs:
                cls.script(what)
        except subprocess.CalledProcessError:
            return "there is no %s %s" % (cls.name, "client" if what == "client" else "server")
        return None

    def close(self):
        if self.reader:
            self.reader.close()
        self.script("stop", self.folder)

    def kill(self):
        with open(os.path.join(self.folder, "pid"), encoding="ascii") as f:
            os.kill(int(f.read()), signal.SIGKILL)

    def restart(self):
        """It was killed: again, on its data, at its port."""
        self.script("start", self.folder, str(self.port))

    def records(self, name):
        """Its own client reads."""
        if self.reader is None:
            self.reader = Reader(self.name, self.script("client"), self.url)
        return self.reader.records(name)

    def shape(self, name):
        """(dimension, metric) of a collection."""
        raise NotImplementedError

    def create(self, name, metric, objects):
        """A collection of another one's: objects are (id, content or None, properties, vector)."""
        raise NotImplementedError

    def tamper(self, name, text):
        """Puts another text into every object, behind linesync's back."""
        raise NotImplementedError

    def unfindable(self, name):
        """The ids of the objects that are stored, and that its search does not find."""
        return []


class Chroma(Store):
    """Its HTTP interface, as far as a test needs it."""

    name = "chroma"
    foreign = ["short id", "caf\u00e9"]
    other_metric = "l2"

    def __init__(self, folder):
        super().__init__(folder)
        self.base = self.url + "/api/v2/tenants/default_tenant/databases/default_database/collections"

    def collection(self, name):
        return call("GET", self.base + "/" + name)

    def shape(self, name):
        made = self.collection(name)
        return made["dimension"], made["configuration_json"]["hnsw"]["space"]

    def create(self, name, metric, objects):
        made = call("POST", self.base, {"name": name, "configuration": {"hnsw": {"space": metric}}})
        ids, documents, metadatas, embeddings = zip(*objects)
        call("POST", "%s/%s/add" % (self.base, made["id"]),
             {"ids": ids, "documents": documents, "metadatas": metadatas, "embeddings": embeddings})

    def tamper(self, name, text):
        ids = list(self.records(name))
        call("POST", "%s/%s/update" % (self.base, self.collection(name)["id"]),
             {"ids": ids, "documents": [text] * len(ids), "embeddings": None})


class Weaviate(Store):
    name = "weaviate"
    settings = {"LINESYNC_LATE": "1"}
    MOST = 10000        # objects that a search gives
    foreign = ["00000000-0000-4000-8000-00000000000a"]
    other_metric = "l2-squared"

    def schema(self, name):
        return call("GET", "%s/v1/schema/%s" % (self.url, name))

    def shape(self, name):
        page = call("GET", "%s/v1/objects?class=%s&limit=1&include=vector" % (self.url, name))
        return len(page["objects"][0]["vector"]), self.schema(name)["vectorIndexConfig"]["distance"]

    def create(self, name, metric, objects):
        """Made like Code, which linesync has made."""
        made = self.schema("Code")
        made.update({"class": name, "vectorIndexConfig": {"distance": metric}})
        call("POST", self.url + "/v1/schema", made)
        for i, text, properties, vector in objects:
            call("POST", self.url + "/v1/objects", {
                "class": name, "id": i, "properties": dict(properties or {}, content=text), "vector": vector})

    def tamper(self, name, text):
        for i in self.records(name):
            call("PATCH", "%s/v1/objects/%s/%s" % (self.url, name, i),
                 {"class": name, "id": i, "properties": {"content": text}})

    def stored(self, name):
        """{id: vector}"""
        out, after = {}, ""
        while True:
            page = call("GET", "%s/v1/objects?class=%s&limit=1000&include=vector&after=%s" %
                        (self.url, name, after))["objects"]
            if not page:
                return out
            out.update((o["id"], o.get("vector")) for o in page)
            after = page[-1]["id"]

    def search(self, name, vector, limit, where=""):
        """The ids of the nearest objects."""
        got = call("POST", self.url + "/v1/graphql", {"query": """{ Get { %s(limit: %d,
            nearVector: {vector: %s}%s) { _additional { id } } } }""" % (name, limit, vector, where)})
        if "errors" in got:
            raise RuntimeError(got["errors"])
        return {o["_additional"]["id"] for o in got["data"]["Get"][name]}

    def unfindable(self, name):
        """Of ids that a filter names, a search returns those that the vector index holds."""
        vectors = self.stored(name)
        ids, found = sorted(vectors), set()
        for n in range(0, len(ids), 200):
            found |= self.search(name, vectors[ids[0]] or [0] * DIMENSION, 200, """, where: {path: ["id"],
                operator: ContainsAny, valueText: %s}""" % json.dumps(ids[n:n + 200]))
        return [i for i in ids if i not in found]

    def unreachable(self, name):
        """A search for as many as there are walks the whole graph.  It misses what the index holds
        without links, which a filter finds.  (With vectors that lie close together it also misses some
        where nothing went wrong: the graph is pruned.)"""
        vectors = self.stored(name)
        found = self.search(name, next(iter(vectors.values())), self.MOST) if vectors else set()
        return sorted(set(vectors) - found)


# ---- what should be there ----

def percent(text):
    return "".join(chr(c) if c < 128 and (chr(c).isalnum() or chr(c) in "-._~") else "%%%02X" % c
                   for c in text.encode())


def object_id(collection, repo, path, chunk=0):
    name = "linesync:%s/%s/%s#%d" % (percent(collection), percent(repo), percent(path), chunk)
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

    def __init__(self, store):
        self.dir = tempfile.mkdtemp(prefix="linesync-%s." % store.name)
        self.tree = os.path.join(self.dir, "app")
        self.store = store(os.path.join(self.dir, "server"))
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)
                    and not k.lower().endswith("_proxy")}
        self.env.update(HOME=self.dir, LC_ALL="C.UTF-8", TZ="UTC", GIT_CONFIG_NOSYSTEM="1",
                        GIT_AUTHOR_NAME="test", GIT_AUTHOR_EMAIL="test@example.org",
                        GIT_COMMITTER_NAME="test", GIT_COMMITTER_EMAIL="test@example.org",
                        LINESYNC_STORE="%s:%s" % (store.name, self.store.url),
                        LINESYNC_COLLECTION="Code",
                        LINESYNC_STATE_DIR=os.path.join(self.dir, "state"),
                        LINESYNC_EMBED="hash:%d" % DIMENSION, **store.settings)

    def close(self):
        self.store.close()
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
        out, err = child.communicate(text, timeout=600)
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
        more, err = child.communicate(timeout=600)
        return Ended(child.returncode, out + more, err.decode())

    def ask(self, *args):
        return subprocess.run([program(), *args], env=self.env, cwd=self.tree, check=False,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)

    def position(self):
        return self.ask("changeset", "app").stdout.strip()

    # ---- what the server holds ----

    def check(self, name, collection="Code", besides=None):
        """The collection holds exactly the work tree, and `besides` ({id: record}) as it was."""
        want, got = self.documents(), self.store.records(collection)
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
        same(self.store.unfindable(collection), [], name + ": the search finds each")
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
    same(p.store.shape("Code"), (DIMENSION, "cosine"), "the collection measures by cosine")
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
    records = p.store.records("Code")
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
    p.store.tamper("Code", "tampered")
    ended = p.sync(p.git("ls-files") + p.closing())
    documents = len(p.documents())
    same((ended.rc, sum(r.get("reason") == "unchanged" for r in ended.results)), (0, documents),
         "the same input again: unchanged")
    same({r[0] for r in p.store.records("Code").values()}, {"tampered"}, "nothing was sent")
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
        held = {r[1]["file_path"]: r[0].encode() for r in p.store.records("Code").values()}
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
    present = {r[1]["file_path"] for r in p.store.records("Code").values()}
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
    theirs = [object_id("Theirs", "else", "x"), *p.store.foreign]
    p.store.create("Shared", "cosine", [
        (i, text, properties, [1.0] + [0.0] * (DIMENSION - 1)) for i, text, properties in
        zip(theirs, ("one", "two", None),
            ({"repository": "else", "file_path": "x"}, {"language": "note"}, None))])
    before = p.store.records("Shared")
    same(sorted(before), sorted(theirs), "a collection of another one's")
    shared = ("--collection", "Shared")
    same(p.sync(p.git("ls-files") + p.closing(), *shared).rc, 0, "synced into it")
    p.check("beside others", "Shared", before)
    same(p.sync(p.git("ls-files") + p.closing(complete=True), *shared).rc, 0, "a complete listing")
    p.check("complete beside others", "Shared", before)


def wrong_collection(p):
    for name, metric, dimension in (("Wide", "cosine", DIMENSION + 1), ("Metric", p.store.other_metric,
                                                                        DIMENSION)):
        p.store.create(name, metric, [(object_id(name, "else", "x"), "x", {"language": "note"},
                                       [1.0] + [0.0] * (dimension - 1))])
        before = p.store.records(name)
        ended = p.sync(p.git("ls-files"), "--collection", name)
        same((ended.rc, ended.results), (78, []), "%s: another %s stops it" %
             (name, "dimension" if metric == "cosine" else "metric"))
        test((str(dimension) in ended.err and str(DIMENSION) in ended.err) if metric == "cosine"
             else metric in ended.err, "and is named", ended.err)
        same(p.store.records(name), before, "nothing was stored")


def fixtures(p):
    """What mgit printed, and each way in which a line carries its text."""
    here = os.path.join(HERE, "fixtures")

    def fixture(*name):
        with open(os.path.join(here, *name), "rb") as f:
            return f.read()

    def texts(collection):
        return {(r[1]["repository"], r[1]["file_path"]): r[0]
                for r in p.store.records(collection).values()}
    ended = p.sync(fixture("tiers.jsonl"), "--collection", "Tiers", "--root", here)
    same((ended.rc, ended.verdicts()[9], ended.verdicts()[10]), (1, *["failed:no-such-file"] * 2),
         "tiers: two lines name files that are not there")
    same(texts("Tiers"),
         {("ServiceA", "config.json"): '{"api": "v2"}',
          ("ServiceA", "src/auth.py"): 'import os\n\ndef token():\n    return os.environ["TOKEN"]\n',
          ("ServiceA", "docs/large.md"): fixture("refs", "large.md").decode()}, "tiers: the others' texts")
    repos = os.path.join(p.dir, "repos")
    subprocess.run([os.path.join(here, "mgit", "make-repos"), repos], check=True,
                   env={k: v for k, v in os.environ.items() if not k.startswith("GIT_")})
    mgit = ("--collection", "Mgit", "--root", repos)
    old = [{"repo": "ServiceA", "path": n, "content": "old"} for n in ("gone.py", "src/old.py", "logo.png")]
    same(p.sync(b"".join(as_line(x) + b"\n" for x in old), *mgit).rc, 0, "mgit: what was there")
    want = {}
    for name in ("config.json", "src/main.py", "src/new.py", "caf\u00e9 menu.txt", "large.py", "medium.py",
                 "untracked.py"):
        with open(os.path.join(repos, "ServiceA", name), encoding="utf-8") as f:
            want["ServiceA", name] = f.read()
    for lines in ("diff.jsonl", "diff-embed-content.jsonl"):
        p.sync(fixture("mgit", lines), *mgit)
        same(texts("Mgit") == want, True, "mgit, %s: the files, whole, and nothing of the old ones" % lines)
    same(p.store.unfindable("Mgit"), [], "mgit: the search finds each")


def chunks(p):
    """Long documents that grow, shrink, move and go away."""
    if b"--chunk-lines" not in subprocess.run([program(), "--help"], capture_output=True,
                                              check=True).stdout:
        report.skip("chunks", "linesync does not cut documents")
        return
    cut = ("--collection", "Chunks", "--chunk-lines", "10", "--chunk-overlap", "0")

    def text(lines, what):
        return "".join("line %d of %s\n" % (n, what) for n in range(lines))

    def check(name, want):
        got = {}
        for i, r in p.store.records("Chunks").items():
            got.setdefault(r[1]["file_path"], []).append((r[1]["chunk_index"], r[1]["chunk_count"], r[0], i))
        same({path: "".join(c[2] for c in sorted(found)) for path, found in got.items()}, want,
             name + ": their chunks are their texts")
        test(all([c[:2] for c in sorted(found)] == [(n, len(found)) for n in range(len(found))]
                 for found in got.values()), name + ": each chunk once")
        same(sorted(c[3] for found in got.values() for c in found),
             sorted(object_id("Chunks", "app", path, n) for path, found in got.items()
                    for n in range(len(found))), name + ": by their ids")
        same(p.store.unfindable("Chunks"), [], name + ": the search finds each")

    def put(path, content):
        return as_line({"repo": "app", "path": path, "content": content}) + b"\n"
    want = {"long": text(95, "long"), "other": text(31, "other"), "short": text(3, "short")}
    same(p.sync(b"".join(put(*x) for x in want.items()), *cut).rc, 0, "three documents in chunks")
    check("new", want)
    want.update(long=text(25, "shrunk"), short=text(77, "grown"))
    same(p.sync(b"".join(put(*x) for x in want.items()), *cut).rc, 0, "one shrinks, one grows")
    check("changed", want)
    want["moved"] = want.pop("short")
    same(p.sync(as_line({"repo": "app", "op": "rename", "old_path": "short", "path": "moved",
                         "content": want["moved"]}) + b"\n", *cut).rc, 0, "one is renamed")
    check("renamed", want)
    del want["long"]
    same(p.sync(as_line({"repo": "app", "op": "delete", "path": "long"}) + b"\n", *cut).rc, 0,
         "one is deleted")
    check("deleted", want)


STEPS = [fill, first_sync, search, nothing_sent, edit, swap, stop_and_resume, complete, state_lost,
         foreign_collection, wrong_collection]


def main(store, *more, alone=False):
    """A test of its own: the steps on a new server, and more of them.  alone: in a network of its own,
    where one can be had.  Returns the exit status."""
    signal.signal(signal.SIGINT, signal.default_int_handler)    # a shell's background job ignores it
    if not shutil.which("git"):
        print("1..0 # SKIP git is not there")
        return 0
    why = store.missing()
    if why:
        print("1..0 # SKIP " + why)
        return 0
    if alone and not netns.isolate():
        report.note("in the machine's own network: some ports are open on all addresses")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    p = Place(store)
    try:
        for step in (*STEPS, *more):
            report.note(step.__name__)
            step(p)
    finally:
        p.close()
    return report.end()
