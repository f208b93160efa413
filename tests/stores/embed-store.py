#!/usr/bin/env python3
"""embed-store.py [-v] - --embed store with a real Weaviate: its text2vec-openai embeds, and asks the mock of
an embedding server, in this process, which can fail.  What is stored is read by Weaviate's own client.
Where the server or the client cannot be installed this is skipped."""

import base64
import json
import os
import signal
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness  # noqa: E402, F401  (where the mocks are)
import embedder  # noqa: E402
import netns  # noqa: E402
import realstore  # noqa: E402
import server as mock_server  # noqa: E402
from harness import delete, put, record, report  # noqa: E402

MODULE = "text2vec-openai"
MODEL = "text-embedding-3-small"    # that the module asks for where nothing else is said
DIMENSION = 48
KEY = "sesame"
# Which file OpenAI's tokenizer is fetched into: the sum of its address
TOKENIZER = "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"
PATHS = ["d%d" % n for n in range(8)]
FAST = ("--late", "1", "--retry-wait", "20ms", "--retry-max-wait", "100ms", "--max-retries", "2")
same, test = report.same, report.test


class Server(realstore.Weaviate):
    def __init__(self, folder):
        words = os.path.join(folder, "words")
        os.makedirs(words)
        with open(os.path.join(words, TOKENIZER), "wb") as f:    # every byte is a word
            f.writelines(b"%s %d\n" % (base64.b64encode(bytes([n])), n) for n in range(256))
        os.environ.update(DEFAULT_VECTORIZER_MODULE=MODULE, TIKTOKEN_CACHE_DIR=words)
        super().__init__(folder)


class Provider(embedder.Store):
    limits = False      # it tells of its limits: then it gets many texts in a request

    def perform(self, call):
        answer = super().perform(call)
        if self.limits:
            answer.headers += [("x-ratelimit-%s-%s" % (a, b), "1s" if a == "reset" else "100000")
                               for a in ("limit", "remaining", "reset") for b in ("requests", "tokens")]
        return answer


class Place(realstore.Place):
    """Beside the server, whom it asks for vectors."""

    def __init__(self):
        super().__init__(Server)
        os.mkdir(self.tree)
        self.provider = Provider(None, None)
        self.provider.token = KEY
        self.provider.dimension = DIMENSION
        self.listening = mock_server.Server(0, self.provider)
        self.thread = threading.Thread(target=self.listening.run, daemon=True)
        self.thread.start()
        headers = os.path.join(self.dir, "headers")
        with open(headers, "w", encoding="ascii", opener=lambda p, f: os.open(p, f, 0o600)) as f:
            f.write("X-OpenAI-Api-Key: %s\n" % KEY)
            f.write("X-OpenAI-Baseurl: http://127.0.0.1:%d\n" % self.listening.port)
        del self.env["LINESYNC_EMBED"]
        self.env["LINESYNC_STORE_HEADER_FILE"] = headers

    def close(self):
        self.listening.end()
        self.thread.join(5)
        self.listening.listener.close()
        super().close()

    def feed(self, lines, *options):
        return self.sync(b"".join(harness.as_line(x) + b"\n" for x in lines), *FAST, *options)

    def asked(self):
        """The texts that the provider was asked for since the last time."""
        with self.provider.lock:
            out, self.provider.inputs = dict(self.provider.inputs), {}
        return out

    def fails(self, *rules):
        self.provider.set_rules(rules)


def lines(text, paths=PATHS):
    return [put(p, "%s of %s" % (text, p), "app") for p in paths]


def holds(p, text, name, paths=PATHS, mine=None):
    """A test: these documents, each with the provider's vector of its text, and found."""
    got = {r[1]["file_path"]: r for r in p.store.records("Code").values()}
    same({q: r[0] for q, r in got.items()}, {q: "%s of %s" % (text, q) for q in paths}, name + ": the texts")
    want = {q: embedder.vector(r[0], MODEL, DIMENSION) for q, r in got.items()}
    want.update(mine or {})
    far = [q for q, r in got.items() if len(r[2]) != DIMENSION or
           max(abs(x - y) for x, y in zip(r[2], want[q])) > 1e-4]
    same((far, p.store.unfindable("Code")), ([], []), name + ": with their vectors, and found")


def first(p):
    ended = p.feed([*lines("first"), record("P0", "app")])
    same((ended.rc, p.position()), (0, "P0"), "a new class on a server with a default vectoriser")
    made = p.store.schema("Code")
    same(made["vectorizer"], MODULE, "has it")
    same([x["name"] for x in p.store.schema("Code")["properties"] if not x["moduleConfig"][MODULE]["skip"]],
         ["content"], "for the content alone")
    holds(p, "first", "new")
    same(p.asked(), {"first of " + q: 1 for q in PATHS}, "each text was embedded once, and nothing else")
    same(len(realstore.call("GET", p.store.url + "/v1/schema")["classes"]), 1, "no other class is left")
    ended = p.feed(lines("first"), "--embed", "store")
    same((ended.rc, [r.get("reason") for r in ended.results], p.asked()), (0, ["unchanged"] * 8, {}),
         "again: unchanged")


def changes(p):
    long = "".join("line %d of what is long\n" % n for n in range(150))
    ended = p.feed([put("d0", "second of d0", "app"), delete("d1", "app"), put("long", long, "app")])
    same(ended.rc, 0, "changed, deleted, and a long one")
    chunks = sorted((r[1]["chunk_index"], r[0], len(r[2])) for r in p.store.records("Code").values()
                    if r[1]["file_path"] == "long")
    same(("".join(c[1] for c in chunks), len(chunks) > 2, {c[2] for c in chunks}), (long, True, {DIMENSION}),
         "in chunks, each with a vector")
    same((p.feed([put("long", "short", "app")]).rc, len(p.store.records("Code"))), (0, 8), "it shrinks")
    same(p.feed([delete("long", "app"), *lines("third")]).rc, 0, "and goes")
    holds(p, "third", "changed")


def vectors(p):
    """A line that brings its vector; the server keeps that of a text that stays the same."""
    p.asked()
    mine = [1.0] + [0.0] * (DIMENSION - 1)
    ended = p.feed([put("d2", "third of d2", "app", vector=mine)])
    same((ended.rc, p.asked()), (0, {}), "a line that brings its vector: nobody embeds")
    holds(p, "third", "brought", mine={"d2": mine})
    ended = p.feed([put("d2", "third of d2", "app", vector=[1.0, 0.0])])
    same((ended.rc, ended.verdicts()), (1, {1: "failed:bad-vector"}), "one of another length fails")
    ended = p.feed([put("d2", "third of d2", "app")])
    same((ended.rc, ended.verdicts(), p.asked()), (0, {1: "completed"}, {}), "without one it is sent again")
    holds(p, "third", "but a text that stays the same keeps its vector", mine={"d2": mine})


def trouble(p):
    p.fails({"match": {"kind": "embeddings"}, "times": 3, "do": {"status": 500}},
            {"match": {"kind": "embeddings"}, "times": 2, "do": {"status": 429}},
            {"match": {"kind": "embeddings"}, "times": 2, "do": {"drop": True}})
    ended = p.feed(lines("fourth"))
    same(ended.rc, 0, "the provider fails for a while")
    holds(p, "fourth", "after that")
    p.fails({"match": {"kind": "embeddings", "content": "fifth of d4"}, "do": {"status": 400}})
    ended = p.feed(lines("fifth"))
    same((ended.rc, ended.verdicts()), (1, {n + 1: "failed:store-rejected" if n == 4 else "completed"
                                           for n in range(8)}), "a text that it does not take fails alone")
    for status in (500, 503, 429):
        p.fails({"match": {"kind": "embeddings"}, "do": {"status": status}})
        ended = p.feed([put("d5", "sixth of d5", "app")], "--give-up", "2", "--no-retry")
        same((ended.rc, ended.results), (75, []), "away (%d): it stops, and nobody is blamed" % status)
        test(str(status) in ended.err, "it says why", ended.err)
    p.fails()
    same(p.feed(lines("sixth")).rc, 0, "it is back")
    holds(p, "sixth", "back")
    p.provider.token = "another key"
    ended = p.feed(lines("seventh"))
    same((ended.rc, ended.results), (78, []), "the key is refused: it stops")
    test("--store-header-file" in ended.err and KEY not in ended.err, "it says what to do", ended.err)
    p.provider.token = KEY
    headers = p.env.pop("LINESYNC_STORE_HEADER_FILE")
    ended = p.feed(lines("seventh"))
    same((ended.rc, ended.results), (78, []), "no key: it stops")
    test("--store-header-file" in ended.err, "it says what to do", ended.err)
    p.env["LINESYNC_STORE_HEADER_FILE"] = headers
    holds(p, "sixth", "nothing was stored")


def together(p):
    """Many texts in a request of the server's: one that is bad makes all of them fail there."""
    p.provider.limits = True
    paths = ["t%02d" % n for n in range(60)]
    same(p.feed(lines("old", paths), "--batch-size", "60").rc, 0, "a provider that tells its limits")
    p.provider.clear_log()
    p.fails({"match": {"kind": "embeddings", "content": "new of t40"}, "do": {"status": 400}})
    ended = p.feed(lines("new", paths), "--batch-size", "60", "--no-retry")
    sizes = [len(e["ids"]) for e in p.provider.log]
    test(max(sizes) > 20, "gets many texts in a request", sizes)
    same((ended.rc, ended.verdicts()), (1, {n + 1: "failed:store-rejected" if n == 40 else "completed"
                                           for n in range(60)}), "the bad one fails alone")
    p.fails()
    same(p.feed([delete(q, "app") for q in paths]).rc, 0, "deleted")
    p.provider.limits = False
    holds(p, "sixth", "the others")


def empty(p):
    """A vector without numbers, which the server takes for one."""
    p.provider.dimension = 0
    ended = p.feed([put("d6", "seventh of d6", "app")])
    p.provider.dimension = DIMENSION
    same((ended.rc, ended.verdicts()), (1, {1: "failed:store-failed"}), "an empty vector is none")
    same(p.feed(lines("seventh")).rc, 0, "the next run")
    holds(p, "seventh", "mended")


def search(p):
    hits = realstore.found(p, "-n", "3", "seventh of d3")
    same((len(hits), hits[0]["path"], abs(hits[0]["distance"]) < 1e-3), (3, "d3", True), "search: by the text")
    said = json.loads(p.ask("check", "--json").stdout)
    same((said["status"], said["embedder"], said["dimension"]), (0, "store:" + MODULE, DIMENSION), "check")
    p.fails({"match": {"kind": "embeddings"}, "do": {"status": 401}})
    same([p.ask(*c).returncode for c in (("search", "x"), ("check",))], [78, 78],
         "without a provider's good will")
    p.fails()


def stopped(p):
    """Killed in the middle, and resumed."""
    some = [harness.as_line(x) + b"\n" for x in lines("eighth", ["s%03d" % n for n in range(150)])]
    ended = p.stopped(some, 20, signal.SIGKILL, *FAST, "--batch-size", "10", "--flush-ms", "5")
    same(ended.rc, 137, "killed")
    same(p.sync(b"".join(some), *FAST).rc, 0, "resumed")
    same((len(p.store.records("Code")), p.store.unfindable("Code")), (158, []), "all is stored and found")


def nothing_embeds(p):
    realstore.call("POST", p.store.url + "/v1/schema", {"class": "Mute", "vectorizer": "none"})
    ended = p.feed(lines("x"), "--collection", "Mute", "--embed", "store")
    same((ended.rc, ended.results), (78, []), "a class without a vectoriser: 78")
    same(len(p.store.schema("Mute").get("properties") or []), 0, "and it stays as it is")


def main():
    why = Server.missing()
    if why:
        print("1..0 # SKIP " + why)
        return 0
    if not netns.isolate():
        report.note("in the machine's own network: some ports are open on all addresses")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    p = Place()
    try:
        for step in (first, changes, vectors, trouble, together, empty, search, stopped, nothing_embeds):
            report.note(step.__name__)
            step(p)
    finally:
        p.close()
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
