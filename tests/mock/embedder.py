#!/usr/bin/env python3
"""embedder.py - a scriptable stand-in for an embedding server (OpenAI's /v1/embeddings), for tests.

    embedder.py [--like NAME] [--dimension N] [--port N] [--port-file FILE] [--token KEY] [--stay]

Listens on 127.0.0.1 only and prints its port on the first line of standard output.  It ends on
SIGTERM or SIGINT, and when its parent dies (--stay: not then).  --token KEY answers 401 to requests
whose Authorization is another.  server.py says how it is steered.

A vector depends on the words of a text and on the name of the model, and on nothing else: texts with
words in common are near each other.  vector() is the same for tests.

--like NAME limits and words errors as a server does that is known (stores.md section 3); LIKE has
them: openai, llama.cpp, ollama, tei, tei-strict, vllm.  Without it nothing is too long or too much.  A
token is a word or a sign.

A dump is {"inputs": {TEXT: how often a vector of it was made}, "made": their sum}: what was paid for,
also where the answer did not arrive.  In the log "ids" are the texts of a request.  Requests that OpenAI
would not take are noted as violations.  "do" of a rule knows besides:

    order "reverse"     entries in another order, their index right
    drop_entry I        entry I is missing, a gap in the indexes
    renumber I          entry I is missing, and those behind it have the index before theirs
    double I            entry I stands twice: also instead of the next (of the one before the last)
    extra               one entry more, with the next index
    fewer N             the last N entries are missing
    no_index            entries without an index; "zero": only that whose index is 0, as protobuf's JSON has it
    no_data             the same vectors as another server's {"embeddings": [...]}
    dimension N         vectors of that many numbers (of all; with "at": I of that one)
    nan I               in entry I a number is NaN; as "null" or "NaN" where numbers are sent ("nan_as")
    zero I              entry I is all zero
    format "float"      (or "base64") whatever was asked for; "refuse": 400 to base64
    like NAME           this request as such a server answers it
"""

import argparse
import base64
import hashlib
import json
import math
import re
import struct
import sys

sys.dont_write_bytecode = True
import server  # noqa: E402
from server import Answer, Raw, Routes  # noqa: E402

DIMENSION = 8

# inputs: most in a request; tokens: of one text; too_long: status and words (None: cut in silence);
# too_many: status and words; body: most bytes; empty: status for an empty text; models: None: any
LIKE = {
    None: {},
    "openai": {"inputs": 2048, "tokens": 8192, "empty": 400, "too_many": (400, "too many inputs"),
               "too_long": (400, "This model's maximum context length is 8192 tokens, however you "
                                 "requested {n} tokens. Please reduce your prompt."),
               "models": ("text-embedding-3-small", "text-embedding-3-large")},
    "llama.cpp": {"tokens": 512,
                  "too_long": (500, "input ({n} tokens) is too large to process. increase the physical "
                                    "batch size (current batch size: 512)")},
    "ollama": {"tokens": 2048, "models": ("nomic-embed-text",)},
    "tei": {"inputs": 32, "tokens": 512, "body": 2000000, "empty": 400,
            "too_many": (422, "batch size {n} > maximum allowed batch size 32")},
    "tei-strict": {"inputs": 32, "tokens": 512, "body": 2000000, "empty": 400,
                   "too_many": (422, "batch size {n} > maximum allowed batch size 32"),
                   "too_long": (413, "Input validation error: `inputs` must have less than 512 tokens. "
                                     "Given: {n}")},
    "vllm": {"tokens": 512,
             "too_long": (400, "This model's maximum context length is 512 tokens. However, you requested "
                               "{n} tokens in the input for embedding generation. Please reduce the "
                               "length of the input.")},
}


def tokens(text):
    return re.findall(r"\w+|[^\w\s]", text)


def vector(text, model=None, dimension=DIMENSION):
    """Of unit length, as float32; empty for no dimension."""
    out = [0.0] * dimension
    if not dimension:
        return out
    for word in re.findall(r"\w+", text.lower()) or [""]:
        digest = hashlib.sha256(("%s/%s" % (model or "", word)).encode()).digest()
        out[int.from_bytes(digest[:4], "big") % dimension] += 1 if digest[4] & 1 else -1
        out[int.from_bytes(digest[5:9], "big") % dimension] += 0.5
    size = math.sqrt(sum(x * x for x in out))
    if not size:
        out[0] = size = 1.0
    return float32([x / size for x in out])


def float32(numbers):
    return list(struct.unpack("<%df" % len(numbers), struct.pack("<%df" % len(numbers), *numbers)))


def error(status, message, code=None):
    return Answer(status, {"error": {"message": message, "type": "invalid_request_error", "param": None,
                                     "code": code}})


# ---- what is asked for ----


def fault_of(call):
    """What OpenAI would not take of a request, or None."""
    body = call.json
    if call.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        return "no Content-Type of JSON"
    if not isinstance(body, dict):
        return "no JSON object"
    unknown = set(body) - {"model", "input", "encoding_format", "dimensions", "user"}
    if unknown:
        return "unknown member " + ", ".join(sorted(unknown))
    if body.get("encoding_format", "float") not in ("float", "base64"):
        return "encoding_format %r" % (body["encoding_format"],)
    if not isinstance(body.get("model", ""), str):
        return "model is no string"
    if not call.ids or len(call.ids) != len(given_texts(body)):
        return "input is no list of texts"
    if "" in call.ids:
        return "an empty text"
    return None


def given_texts(body):
    texts = body.get("input")
    return [texts] if isinstance(texts, str) else texts if isinstance(texts, list) else []


class Call(server.Call):
    def __init__(self, method, target, headers, body):
        super().__init__(ROUTES, method, target, headers, body)
        if self.kind != "embeddings":
            return
        try:
            self.json = json.loads(body.decode())
        except ValueError:
            self.json_error = error(400, "invalid JSON body")
        if isinstance(self.json, dict):
            self.ids = self.documents = [t for t in given_texts(self.json) if isinstance(t, str)]


def embeddings(store, call):
    like = LIKE[call.do.get("like", store.like)]
    if not isinstance(call.json, dict) or not call.ids or len(call.ids) != len(given_texts(call.json)):
        raise error(400, "'input' must be a string or an array of strings")
    refuse_model(like, call.json.get("model"))
    if len(call.ids) > like.get("inputs", math.inf):
        raise error(like["too_many"][0], like["too_many"][1].format(n=len(call.ids)))
    if "" in call.ids and "empty" in like:
        raise error(like["empty"], "'input' cannot be an empty string")
    if call.json.get("encoding_format") == "base64" and call.do.get("format") == "refuse":
        raise error(400, "encoding_format must be float")
    texts = [fitting(like, t) for t in call.ids]
    with store.lock:
        for t in call.ids:
            store.inputs[t] = store.inputs.get(t, 0) + 1
    return answer(store, call, texts)


def refuse_model(like, model):
    if "models" in like and model not in like["models"]:
        raise error(404, "model %r not found" % (model,), "model_not_found")


def fitting(like, text):
    """The text, cut in silence where such a server does; raises its error where it does not."""
    words = tokens(text)
    if len(words) <= like.get("tokens", math.inf):
        return text
    if "too_long" in like:
        raise error(like["too_long"][0], like["too_long"][1].format(n=len(words)))
    return " ".join(words[:like["tokens"]])


# ---- what is answered ----


def answer(store, call, texts):
    do, model = call.do, call.json.get("model")
    vectors = []
    for i, text in enumerate(texts):
        dimension = do.get("dimension", store.dimension) if do.get("at", i) == i else store.dimension
        v = vector(text, model, dimension)
        if do.get("zero") == i:
            v = [0.0] * dimension
        if do.get("nan") == i:
            v[dimension // 2] = math.nan
        vectors.append(v)
    form = do.get("format")
    if form not in ("float", "base64"):
        form = call.json.get("encoding_format", "float")
    entries = [{"object": "embedding", "index": i, "embedding": written(v, form, do)}
               for i, v in enumerate(vectors)]
    count = sum(len(tokens(t)) for t in texts)
    if do.get("no_data"):
        return Answer(200, Raw(json.dumps({"embeddings": [e["embedding"] for e in entries]})))
    return Answer(200, Raw(json.dumps({
        "object": "list", "data": spoiled(entries, do), "model": model or "mock",
        "usage": {"prompt_tokens": count, "total_tokens": count}})))


def written(v, form, do):
    if form == "base64":
        return base64.b64encode(struct.pack("<%df" % len(v), *v)).decode()
    if do.get("nan_as") == "null":
        return [None if math.isnan(x) else x for x in v]
    return v


def spoiled(entries, do):
    """The entries as a rule wants them."""
    if "drop_entry" in do:
        del entries[do["drop_entry"]]
    if "renumber" in do:
        del entries[do["renumber"]]
        for i, e in enumerate(entries):
            e["index"] = i
    if "double" in do:
        i = do["double"]
        other = i + 1 if i + 1 < len(entries) else i - 1
        entries[other] = dict(entries[i])
    if do.get("extra"):
        entries.append(dict(entries[-1], index=len(entries)))
    if "fewer" in do:
        del entries[len(entries) - do["fewer"]:]
    for e in entries:
        if do.get("no_index") is True or (do.get("no_index") == "zero" and e["index"] == 0):
            del e["index"]
    return entries[::-1] if do.get("order") == "reverse" else entries


def models(store, _call):
    names = LIKE[store.like].get("models", ("mock",))
    return Answer(200, {"object": "list", "data": [{"id": n, "object": "model"} for n in names]})


def health(_store, _call):
    return Answer(200, {"status": "ok"})


ROUTES = Routes([("POST", "/v1/embeddings", "embeddings", embeddings),
                 ("GET", "/v1/models", "models", models),
                 ("GET", "/health", "health", health)])


class Store(server.Store):
    """The server with its memory of what was asked.  like and dimension may be set at any time."""

    call_class = Call
    doings = {"order", "drop_entry", "renumber", "double", "extra", "fewer", "no_index", "no_data", "dimension", "at",
              "nan", "nan_as", "zero", "format", "like"}
    upserts = deletes = frozenset()
    reads = {"embeddings"}
    like, dimension = None, DIMENSION

    @property
    def max_body(self):
        return LIKE[self.like].get("body", 1 << 40)

    def empty(self):
        self.inputs = {}

    def copied(self):
        return dict(self.inputs)

    def put(self, copied):
        self.inputs = dict(copied)

    def collection_of(self, call):
        return None

    def authorized(self, call):
        return not self.token or call.headers.get("authorization") == "Bearer " + self.token

    def note(self, call, conn):
        do = super().note(call, conn)
        fault = fault_of(call) if call.kind == "embeddings" and call.whole else None
        if fault:
            self.blame(call, "request", [fault])
        return do

    def refusal(self, call):
        if not call.log["authorized"]:
            return error(401, "Incorrect API key provided", "invalid_api_key")
        if not call.handler:
            return Answer(404 if call.kind == "other" else 405, "404 page not found")
        return None

    def refused(self, status, message):
        return error(status, message or "refused")

    def error_body(self, status):
        words = {413: "Payload too large", 424: "backend failure", 429: "Model is overloaded",
                 503: "server busy, please try again. maximum pending requests exceeded"}
        return error(status, words.get(status, "scripted")).body

    def objects(self):
        return []

    def dump(self, documents=False, embeddings=False):    # what it keeps has neither
        with self.lock:
            return {"inputs": dict(self.inputs), "made": sum(self.inputs.values())}


def main():
    p = argparse.ArgumentParser(add_help=False)
    p.add_argument("--like", choices=[n for n in LIKE if n])
    p.add_argument("--dimension", type=int, default=DIMENSION)
    o, rest = p.parse_known_args()
    Store.like, Store.dimension = o.like, o.dimension
    sys.argv[1:] = rest
    server.main(Store, None, __doc__)


if __name__ == "__main__":
    main()
