#!/usr/bin/env python3
"""foreign.py [-v] [NAME...] - texts from outside: a key that a server repeats is nowhere kept or shown, and
what turns, hides or steers text reaches no terminal.  NAMEs: only these."""

import base64
import json
import os
import sys
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import Skipped, on_terminal, put, record, report, run_tests  # noqa: E402

KEY = "Canary/7Zq9+xW3"
HEADER = "header-canary"
same, test = report.same, report.test


def spellings(key):
    """The key, and as JSON, URLs and base64 write it."""
    return [key, key.replace("/", "\\/"), key.replace("/", "\\u002F").replace("+", "\\u002B"), urllib.parse.quote(key, safe=""),
            base64.b64encode(key.encode()).decode().rstrip("="),
            base64.b64encode(b"user:" + key.encode()).decode()[8:]]


def holds(data, keys=(KEY, HEADER)):
    """The spellings of a key that some bytes have."""
    if isinstance(data, str):
        data = data.encode()
    return [s for key in keys for s in spellings(key) if s[:-1].encode() in data]


def shown(w, *args):
    """On a terminal, where one can be had."""
    try:
        return on_terminal(w, *args)
    except Skipped:
        return w.ask(*args)[1]


def everything(w, ended):
    """{where: all that is kept or shown after a run}."""
    out = {"standard output": ended.out, "standard error": ended.err}
    for name in os.listdir(w.dir):
        path = os.path.join(w.dir, name)
        if name.startswith("state.tdb") and os.path.isfile(path):
            with open(path, "rb") as f:
                out[name] = f.read()
    for args in (("status",), ("status", "--failed"), ("status", "--failed", "--json"), ("status", "--held"),
                 ("export",), ("check", "--json"), ("check",), ("search", "words")):
        out[" ".join(args)] = shown(w, *args)
    return out


def is_blank(w, ended, what):
    leaks = {where: found for where, found in ((k, holds(v)) for k, v in everything(w, ended).items()) if found}
    same(leaks, {}, "%s: the key is nowhere" % what)


def header_file(w, name, text):
    path = os.path.join(w.dir, name)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as f:
        f.write(text)
    return path


def words(key):
    """Answers in which a server repeats what it was sent, in its ways and others'."""
    yield "as a message", {"error": "ChromaError", "message": "key '%s' may not" % key}
    yield "as OpenAI's", {"error": {"message": "Incorrect API key provided: %s." % key}}
    yield "in a shape of its own", {"detail": {"headers": ["x-chroma-token: " + key]}}
    yield "as a page", "<html><pre>Authorization: Bearer %s\nurl=/?k=%s</pre>" % (key, urllib.parse.quote(key, safe=""))
    yield "as PHP's", '{"fehler":"%s"}' % key.replace("/", "\\/")
    yield "as .NET's", '{"title":"%s"}' % key.replace("/", "\\u002F").replace("+", "\\u002B")
    yield "as base64", "Basic " + base64.b64encode(("user:%s" % key).encode()).decode()
    yield "where a text is cut", "x" * 150 + key


def from_the_store(w):
    w.env["LINESYNC_API_KEY"] = KEY
    options = ["-v", "-v", "-v", "--max-retries", "1", "--no-retry",
               "--store-header-file", header_file(w, "headers", "X-More: Token %s\n" % HEADER)]
    w.env["LINESYNC_STORE_HEADER_FILE"] = options[-1]
    w.options[w.options.index("--give-up") + 1] = "0"
    lines = [put("a", "text a"), put("b", "text b")]
    for status in (401, 403, 400, 422, 500, 503):
        for how, body in words(KEY + " " + HEADER if status == 422 else KEY):
            w.script({"match": {"kind": "upsert"}, "do": {"status": status, "body": body, "unlisted": True}})
            ended = w.sync(lines, *options)
            test(ended.rc != 0 and "***" in ended.err + ended.out.decode(), "%d: the rest is said" % status, ended.err)
            is_blank(w, ended, "%d %s" % (status, how))
    for left in range(4, len(KEY)):     # a body is kept up to 64 KiB
        w.script({"match": {"kind": "upsert"}, "do": {"status": 401, "body": " " * (65536 - left) + KEY, "unlisted": True}})
        ended = w.sync(lines, *options)
        same((ended.rc, [n for n in range(4, len(KEY)) if KEY[:n] in ended.err]), (77, []), "cut within the key")
    for kind in ("heartbeat", "collection_get", "count"):
        w.script({"match": {"kind": kind}, "do": {"status": 403, "body": "no '%s'" % KEY, "unlisted": True}})
        is_blank(w, w.sync(lines, *options), "asked for " + kind)
    w.script({"do": {"status": 307, "headers": {"location": "http://127.0.0.1:9/%s/x" % KEY}}})
    is_blank(w, w.sync(lines, *options), "in a redirect")
    w.script({"do": {"raw": "HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n" % KEY}})
    is_blank(w, w.sync(lines, *options), "in what libcurl says")


def from_an_embedding_server(w):
    w.add_embedder()
    w.env["LINESYNC_EMBED_API_KEY"] = KEY
    w.env["LINESYNC_EMBED_HEADER_FILE"] = header_file(w, "embed-headers", "api-key: %s\n" % HEADER)
    w.options[w.options.index("--give-up") + 1] = "0"
    for status in (200, 302, 400, 401, 404, 429, 500):
        for _, body in words(KEY + " " + HEADER):
            w.embedder.set_rules([{"do": {"status": status, "body": body, "unlisted": True,
                                          "headers": {"location": "/%s" % HEADER}}}])
            ended = w.sync([put("a", "text a")], "-v", "-v", "--no-retry", "--max-retries", "1")
            test(ended.rc != 0, "%d stops or fails" % status)
            is_blank(w, ended, "%d" % status)


def from_a_proxy(w):
    w.env["LINESYNC_STORE"] = "chroma:http://store.invalid:80"
    w.env["http_proxy"] = "http://user:%s@127.0.0.1:%d" % (urllib.parse.quote(KEY, safe=""), w.server.port)
    w.options[w.options.index("--give-up") + 1] = "0"
    for _, body in words(KEY):
        w.script({"do": {"status": 403, "body": body, "unlisted": True}})
        ended = w.sync([put("a", "text a")], "-v", "-v")
        test(ended.rc in (75, 77, 78) and "***" in ended.err, "a proxy that refuses", ended.err)
        is_blank(w, ended, "a proxy's page")
    w.store.undescribed.clear()    # no store would be asked so
    w.env["http_proxy"] = "http://user:%s@[127.0.0.1" % urllib.parse.quote(KEY, safe="")
    is_blank(w, w.sync([put("a", "text a")], "-v", "-v"), "a proxy that libcurl does not understand")


def short(w):
    w.env["LINESYNC_API_KEY"] = "key"
    w.script({"match": {"kind": "upsert"}, "do": {"status": 422, "body": {"message": "the key of monkeys"}}})
    ended = w.sync([put("a", "text")])
    same(ended.of(1)["error"]["message"], "the key of monkeys", "a key of three bytes does not blank half of a text")


# ---- terminals ----

TURNED = "in\u202evoice\u2066.txt\u200b\u2028\x9b"
ACTS = [c.encode() for c in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200b\u200e\u200f\u061c\u2028\u2029\x9b"]


def acting(data):
    return [c for c in ACTS if c in data]


def turned(w):
    said = "refused \u202eabc\u2069\x9b"
    w.script({"match": {"kind": "upsert", "path": TURNED}, "do": {"status": 422, "body": {"message": said}}})
    ended = w.sync([put("a", TURNED, TURNED), put(TURNED, "text", TURNED), record("P1", TURNED), put(TURNED, "text", "S")],
                   "-v", "--no-retry", "--batch-size", "1", "--progress", "always")
    same((ended.rc, ended.status(2)), (1, "failed"), "a name that turns text fails")
    same((ended.of(1)["repo"], ended.of(2)["path"]), (TURNED, TURNED), "results name it as it is")
    same((acting(ended.out), acting(ended.err.encode())), ([], []), "and show it as codes")
    test("\\u202e" in ended.out.decode(), "as JSON does")
    same(ended.of(2)["error"]["message"], r"refused \xe2\x80\xaeabc\xe2\x81\xa9\xc2\x9b", "what the store says, too")
    for args in (("status",), ("status", "--failed"), ("status", "--failed", "--json"), ("status", "--held"),
                 ("status", "--repos"), ("status", "--repos", "--json"), ("export",), ("export", "--failed"),
                 ("export", "--documents"), ("changeset",), ("changeset", "--touched", TURNED), ("check",),
                 ("check", "--json"), ("search", "invoice"), ("search", "invoice", "--chunks")):
        shown = on_terminal(w, *args)
        test(shown and not acting(shown), " ".join(args[:2]), shown)
    failed = json.loads(w.ask("status", "--failed", "--json")[1])
    test(TURNED in json.dumps(failed, ensure_ascii=False), "a program reads the name as it is")
    same(w.touched(TURNED), {TURNED, "a"}, "also with NULs between")


if __name__ == "__main__":
    sys.exit(run_tests([from_the_store, from_an_embedding_server, from_a_proxy, short, turned]))
