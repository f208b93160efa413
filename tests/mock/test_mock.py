#!/usr/bin/env python3
"""test_mock.py - does the mock store answer as a Chroma does, and does its script work?

The same requests go to the mock and, where $CHROMA_URL names a real server, to that; statuses and
whole answers are compared after what differs by nature (ids, times, positions in messages) is taken
out.  Without a server each answer of the mock is held to the status and error class written here.
Output is TAP.
"""

import base64
import http.client
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.parse

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import server  # noqa: E402
ROOT = "/api/v2/tenants/default_tenant/databases/default_database/collections"
UNKNOWN = "123e4567-e89b-42d3-a456-426614174000"
TAG = "mock%d-%d" % (os.getpid(), int(time.time()))
count = failed = 0


def report(good, name, *notes):
    global count, failed
    count += 1
    if not good:
        failed += 1
    print("%sok %d - %s" % ("" if good else "not ", count, name))
    if not good:
        for n in notes:
            print("# " + str(n).replace("\n", "\n# ")[:2000])
    sys.stdout.flush()
    return good


def check(got, want, name):
    return report(got == want, name, " got: %r" % (got,), "want: %r" % (want,))


def wait_until(true, seconds=600):
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


# ---- clients ----


class Server:
    def __init__(self, url):
        u = urllib.parse.urlsplit(url)
        self.host, self.port = u.hostname, u.port or 8000
        self.link = None
        self.uuid = UNKNOWN

    def ask(self, method, path, body=None, headers=None, timeout=30):
        """(status, headers, bytes) over a kept connection; raises OSError or HTTPException."""
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        if isinstance(body, str):
            body = body.encode()
        if headers is None:
            headers = {"Content-Type": "application/json"} if body is not None else {}
        if not self.link:
            link = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
            link.connect()
            link.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.link = link
        try:
            self.link.sock.settimeout(timeout)
            self.link.request(method, path, body, headers)
            r = self.link.getresponse()
            data = r.read()
        except (OSError, http.client.HTTPException):
            self.drop()
            raise
        if r.will_close or r.status == 413 or r.status in (404, 405) and not data:
            self.drop()    # where it has not read the body a real one closes without saying so
        return r.status, {k.lower(): v for k, v in r.getheaders()}, data

    def drop(self):
        if self.link:
            self.link.close()
        self.link = None

    def connect(self):
        s = socket.create_connection((self.host, self.port))
        s.settimeout(10)
        return s


class Mock(Server):
    def __init__(self, *options, program="chroma.py"):
        self.process = subprocess.Popen([sys.executable, os.path.join(HERE, program), *options],
                                        stdout=subprocess.PIPE, text=True)
        super().__init__("http://127.0.0.1:" + self.process.stdout.readline().strip())
        self.panel = Server("http://127.0.0.1:%d" % self.port)

    def control(self, method, what, body=None):
        status, _, data = self.panel.ask(method, "/_mock/" + what, body)
        self.panel.drop()
        if status != 200:
            raise AssertionError("%s: %d %r" % (what, status, data))
        return json.loads(data)

    def script(self, *rules):
        self.control("POST", "script", list(rules))

    def end(self):
        self.drop()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


# ---- the requests that both answer ----


def b64(*numbers):
    return base64.b64encode(struct.pack("<%df" % len(numbers), *numbers)).decode()


NAN = float("nan")
BAD, WRONG, NONE, OTHER = "InvalidArgumentError", "ChromaError", "NotFoundError", "InternalError"
META = {"repo": "r", "path": "x/a", "n": 1, "f": 1.5, "b": True, "big": 2 ** 63, "least": -2 ** 63,
        "huge": 10 ** 30, "arr": ["a", "b"], "one": 1.0}

# name, method, path ($C: the collections, $U: the collection by id, $N: its name), body, status, class
SCRIPT = [
    ("heartbeat", "GET", "/api/v2/heartbeat", None, 200, None),
    ("heartbeat at the root", "GET", "/api/v2", None, 200, None),
    ("healthcheck", "GET", "/api/v2/healthcheck", None, 200, None),
    ("version", "GET", "/api/v2/version", None, 200, None),
    ("pre-flight", "GET", "/api/v2/pre-flight-checks", None, 200, None),
    ("identity", "GET", "/api/v2/auth/identity", None, 200, None),
    ("HEAD", "HEAD", "/api/v2/version", None, 200, None),
    ("the old API", "GET", "/api/v1/heartbeat", None, 410, "Unimplemented"),
    ("no such route", "GET", "/nope", None, 404, None),
    ("wrong method", "POST", "/api/v2/heartbeat", {}, 405, None),
    ("wrong method, PATCH", "PATCH", "/api/v2/heartbeat", None, 405, None),
    ("reset is off", "POST", "/api/v2/reset", None, 403, WRONG),
    ("tenant", "GET", "/api/v2/tenants/default_tenant", None, 200, None),
    ("unknown tenant", "GET", "/api/v2/tenants/nobody", None, 404, NONE),
    ("database", "GET", "/api/v2/tenants/default_tenant/databases/default_database", None, 200, None),
    ("unknown database", "GET", "/api/v2/tenants/default_tenant/databases/nodb", None, 404, NONE),
    ("new tenant", "POST", "/api/v2/tenants", {"name": "$N-t"}, 200, None),
    ("new database", "POST", "/api/v2/tenants/$N-t/databases", {"name": "$N-d"}, 200, None),
    ("database again", "POST", "/api/v2/tenants/$N-t/databases", {"name": "$N-d"}, 409, WRONG),
    ("collection there", "POST", "/api/v2/tenants/$N-t/databases/$N-d/collections",
     {"name": "Code", "get_or_create": True}, 200, None),
    ("found there", "GET", "/api/v2/tenants/$N-t/databases/$N-d/collections/Code", None, 200, None),
    ("list of one", "GET", "/api/v2/tenants/$N-t/databases/$N-d/collections", None, 200, None),
    ("list with limit", "GET", "/api/v2/tenants/$N-t/databases/$N-d/collections?limit=1&offset=1", None, 200,
     None),
    ("count of one", "GET", "/api/v2/tenants/$N-t/databases/$N-d/collections_count", None, 200, None),

    ("missing collection", "GET", "$C/$N", None, 404, NONE),
    ("missing, by uuid", "GET", "$C/" + UNKNOWN, None, 404, NONE),
    ("missing, escaped", "GET", "$C/a%20b", None, 404, NONE),
    ("delete missing", "DELETE", "$C/$N", None, 404, NONE),
    ("name too short", "POST", "$C", {"name": "f"}, 400, BAD),
    ("name with blanks", "POST", "$C", {"name": "x y z"}, 400, BAD),
    ("no name", "POST", "$C", {}, 422, WRONG),
    ("name a number", "POST", "$C", {"name": 5}, 422, WRONG),
    ("create, cut body", "POST", "$C", "{", 400, BAD),
    ("unknown space", "POST", "$C", {"name": "$N", "configuration": {"hnsw": {"space": "foo"}}}, 422,
     WRONG),
    ("unknown setting", "POST", "$C", {"name": "$N", "configuration": {"hnsw": {"foo": 1}}}, 422, WRONG),
    ("empty metadata", "POST", "$C", {"name": "$N", "metadata": {}}, 400, BAD),
    ("nested metadata", "POST", "$C", {"name": "$N", "metadata": {"a": {}}}, 422, WRONG),
    ("in no database", "POST", "/api/v2/tenants/default_tenant/databases/nodb/collections",
     {"name": "$N"}, 400, BAD),
    ("look in no database", "GET", "/api/v2/tenants/default_tenant/databases/nodb/collections/$N", None,
     404, NONE),
    ("create", "POST", "$C", {"name": "$N", "get_or_create": True, "metadata": {"k": "v"},
                              "configuration": {"hnsw": {"space": "cosine"}}}, 200, None),
    ("create again", "POST", "$C", {"name": "$N"}, 409, WRONG),
    ("get or create", "POST", "$C", {"name": "$N", "get_or_create": True, "metadata": {"z": "v"},
                                     "configuration": {"hnsw": {"space": "l2"}}}, 200, None),
    ("look up", "GET", "$C/$N", None, 200, None),
    ("by id", "GET", "$C/by-id/$I", None, 200, None),
    ("uuid as name", "GET", "$C/$I", None, 404, NONE),

    ("count 0", "GET", "$U/count", None, 200, None),
    ("get of nothing", "POST", "$U/get", {}, 200, None),
    ("query of nothing", "POST", "$U/query", {"query_embeddings": [[1, 0, 0]]}, 200, None),
    ("upsert of nothing", "POST", "$U/upsert", {"ids": [], "embeddings": []}, 200, None),
    ("dimension still open", "GET", "$C/$N", None, 200, None),
    ("upsert", "POST", "$U/upsert", {"ids": ["a", "b"], "embeddings": [[1, 2, 3], [4, 5, 6]],
                                     "documents": ["text a", None], "metadatas": [META, None]}, 200, None),
    ("dimension fixed", "GET", "$C/$N", None, 200, None),
    ("upsert base64", "POST", "$U/upsert", {"ids": ["c"], "embeddings": [b64(1, 0, 0)],
                                            "documents": ["c\0c"], "metadatas": [{}]}, 200, None),
    ("count 3", "GET", "$U/count", None, 200, None),
    ("get everything", "POST", "$U/get",
     {"include": ["documents", "metadatas", "embeddings", "uris"]}, 200, None),
    ("get by id", "POST", "$U/get", {"ids": ["c", "a", "zz", "c"]}, 200, None),
    ("get, no columns", "POST", "$U/get", {"ids": ["c", "a", "zz"], "include": []}, 200, None),
    ("get no ids", "POST", "$U/get", {"ids": []}, 200, None),
    ("a page", "POST", "$U/get", {"limit": 2, "offset": 1, "include": ["metadatas"]}, 200, None),
    ("a page of ids", "POST", "$U/get", {"ids": ["a", "b", "c"], "limit": 1, "offset": 1,
                                         "include": []}, 200, None),
    ("page of 0", "POST", "$U/get", {"limit": 0}, 200, None),
    ("page beyond", "POST", "$U/get", {"limit": 2, "offset": 99}, 200, None),
    ("negative limit", "POST", "$U/get", {"limit": -1}, 422, WRONG),
    ("unknown column", "POST", "$U/get", {"include": ["bogus"]}, 422, WRONG),
    ("get where", "POST", "$U/get", {"where": {"path": "x/a"}, "include": []}, 200, None),
    ("get where $in", "POST", "$U/get", {"where": {"path": {"$in": ["x/a", "q"]}}, "include": []}, 200,
     None),
    ("get, bad filter", "POST", "$U/get", {"where": {"a": {"$foo": 1}}}, 400, BAD),
    ("get, empty body", "POST", "$U/get", "", 400, BAD),
    ("get, more behind", "POST", "$U/get", "{} x", 400, BAD),
    ("get, a list", "POST", "$U/get", "[]", 422, WRONG),
    ("get, null", "POST", "$U/get", "null", 422, WRONG),
    ("too many ids", "POST", "$U/get", {"ids": [str(i) for i in range(40000)], "include": []}, 500,
     OTHER),
    ("many ids", "POST", "$U/get", {"ids": [str(i) for i in range(32000)], "include": []}, 200, None),
    ("query", "POST", "$U/query", {"query_embeddings": [[1, 0, 0], [0, 1, 0]], "n_results": 2,
                                   "include": ["documents", "metadatas", "distances"]}, 200, None),
    ("query where", "POST", "$U/query", {"query_embeddings": [[1, 0, 0]], "where": {"path": "x/a"}},
     200, None),
    ("query dimension", "POST", "$U/query", {"query_embeddings": [[1, 0]]}, 400, BAD),
    ("query without vector", "POST", "$U/query", {}, 422, WRONG),
    ("query of none", "POST", "$U/query", {"query_embeddings": []}, 200, None),
    ("query base64", "POST", "$U/query", {"query_embeddings": [b64(1, 0, 0)]}, 422, WRONG),
    ("query for 0", "POST", "$U/query", {"query_embeddings": [[1, 0, 0]], "n_results": 0}, 200, None),

    ("wrong dimension", "POST", "$U/upsert", {"ids": ["a"], "embeddings": [[1, 2]]}, 400, BAD),
    ("wrong dimension, base64", "POST", "$U/upsert", {"ids": ["a"], "embeddings": [b64(1, 2)]}, 400, BAD),
    ("mixed dimensions", "POST", "$U/upsert", {"ids": ["a", "b"], "embeddings": [[1, 2, 3], [1, 2]]},
     400, BAD),
    ("fewer vectors", "POST", "$U/upsert", {"ids": ["a", "b"], "embeddings": [[1, 2, 3]]}, 400, BAD),
    ("more documents", "POST", "$U/upsert", {"ids": ["a"], "embeddings": [[1, 2, 3]],
                                             "documents": ["a", "b"]}, 400, BAD),
    ("no metadatas", "POST", "$U/upsert", {"ids": ["a"], "embeddings": [[1, 2, 3]], "metadatas": []},
     400, BAD),
    ("vectors missing", "POST", "$U/upsert", {"ids": ["a"], "documents": ["x"]}, 422, WRONG),
    ("vectors null", "POST", "$U/upsert", {"ids": ["a"], "embeddings": None}, 422, WRONG),
    ("a null vector", "POST", "$U/upsert", {"ids": ["a"], "embeddings": [None]}, 422, WRONG),
    ("a vector of text", "POST", "$U/upsert", {"ids": ["a"], "embeddings": [["x", 2, 3]]}, 422, WRONG),
    ("numbers and base64", "POST", "$U/upsert", {"ids": ["a", "b"],
                                                 "embeddings": [[1, 2, 3], b64(1, 2, 3)]}, 422, WRONG),
    ("an empty vector", "POST", "$U/upsert", {"ids": ["a"], "embeddings": [[]]}, 400, BAD),
    ("too big for float32", "POST", "$U/upsert", {"ids": ["a"], "embeddings": [[1e39, 1, 1]]}, 400, BAD),
    ("NaN", "POST", "$U/upsert", '{"ids":["a"],"embeddings":[[NaN,1,2]]}', 400, BAD),
    ("1e999", "POST", "$U/upsert", '{"ids":["a"],"embeddings":[[1e999,1,2]]}', 400, BAD),
    ("base64 NaN", "POST", "$U/upsert", {"ids": ["a"], "embeddings": [b64(NAN, 0, 1)]}, 400, BAD),
    ("bad base64", "POST", "$U/upsert", {"ids": ["a"], "embeddings": ["!!!"]}, 400, BAD),
    ("base64 of 3 bytes", "POST", "$U/upsert", {"ids": ["a"], "embeddings": ["AAAA"]}, 400, BAD),
    ("nested value", "POST", "$U/upsert", {"ids": ["a"], "embeddings": [[1, 2, 3]],
                                           "metadatas": [{"a": {"b": 1}}]}, 422, WRONG),
    ("mixed list value", "POST", "$U/upsert", {"ids": ["a"], "embeddings": [[1, 2, 3]],
                                               "metadatas": [{"k": [1, "a"]}]}, 422, WRONG),
    ("empty key", "POST", "$U/upsert", {"ids": ["a"], "embeddings": [[1, 2, 3]],
                                        "metadatas": [{"": 1}]}, 400, BAD),
    ("reserved key", "POST", "$U/upsert", {"ids": ["a"], "embeddings": [[1, 2, 3]],
                                           "metadatas": [{"#document": "1"}]}, 400, BAD),
    ("id a number", "POST", "$U/upsert", {"ids": [1], "embeddings": [[1, 2, 3]]}, 422, WRONG),
    ("id empty", "POST", "$U/upsert", {"ids": [""], "embeddings": [[1, 2, 3]]}, 400, BAD),
    ("no ids", "POST", "$U/upsert", {"embeddings": [[1, 2, 3]]}, 422, WRONG),
    ("document a number", "POST", "$U/upsert", {"ids": ["a"], "embeddings": [[1, 2, 3]],
                                                "documents": [5]}, 422, WRONG),
    ("ids twice", "POST", "$U/upsert", '{"ids":["a"],"embeddings":[[1,2,3]],"ids":["b"]}', 422, WRONG),
    ("byte order mark", "POST", "$U/upsert", b'\xef\xbb\xbf{"ids":["a"],"embeddings":[[1,2,3]]}', 400,
     BAD),
    ("a line break in a string", "POST", "$U/upsert",
     '{"ids":["a"],"embeddings":[[1,2,3]],"documents":["a\nb"]}', 400, BAD),
    ("cut body", "POST", "$U/upsert", '{"ids":["a"', 400, BAD),
    ("empty body", "POST", "$U/upsert", "", 400, BAD),
    ("more behind", "POST", "$U/upsert", '{"ids":[],"embeddings":[]} x', 400, BAD),
    ("lone surrogate", "POST", "$U/upsert",
     '{"ids":["a"],"embeddings":[[1,2,3]],"documents":["\\ud800"]}', 400, BAD),
    ("bad UTF-8", "POST", "$U/upsert", b'{"ids":["a"],"embeddings":[[1,2,3]],"documents":["\xff"]}',
     400, BAD),
    ("a list", "POST", "$U/upsert", "[]", 422, WRONG),
    ("slash at the end", "POST", "$U/upsert/", {"ids": ["a"], "embeddings": [[1, 2, 3]]}, 404, None),
    ("wrong method on a record call", "GET", "$U/upsert", None, 405, None),
    ("no such call", "POST", "$U/bogus", {}, 404, None),
    ("indexing status", "GET", "$U/indexing_status", None, 500, OTHER),
    ("nothing of that was stored", "POST", "$U/get",
     {"include": ["documents", "metadatas", "embeddings"]}, 200, None),

    ("an id twice", "POST", "$U/upsert", {"ids": ["d", "d"], "embeddings": [[1, 2, 3], [1, 0, 0]],
                                          "documents": ["first", "last"]}, 200, None),
    ("extra fields", "POST", "$U/upsert", {"ids": ["d"], "embeddings": [[1, 0, 0]], "foo": 1}, 200, None),
    ("empty list value", "POST", "$U/upsert", {"ids": ["q"], "embeddings": [[1, 2, 3]],
                                               "metadatas": [{"k": []}]}, 200, None),
    ("merge", "POST", "$U/upsert", {"ids": ["a"], "embeddings": [[9, 9, 9]], "documents": [None],
                                    "metadatas": [{"n": None, "new": 1}]}, 200, None),
    ("merge without columns", "POST", "$U/upsert", {"ids": ["c"], "embeddings": [[1, 1, 0]]}, 200, None),
    ("remove what is not there", "POST", "$U/upsert", {"ids": ["n"], "embeddings": [[1, 1, 0]],
                                                       "metadatas": [{"gone": None}]}, 200, None),
    ("after merging", "POST", "$U/get", {"include": ["documents", "metadatas", "embeddings"]}, 200, None),
    ("clear", "POST", "$U/upsert", {"ids": ["a"], "embeddings": [[9, 9, 9]], "documents": [""],
                                    "metadatas": [dict.fromkeys([*META, "new"])]}, 200, None),
    ("after clearing", "POST", "$U/get", {"ids": ["a"], "include": ["documents", "metadatas"]}, 200, None),
    ("add", "POST", "$U/add", {"ids": ["a", "z"], "embeddings": [[1, 1, 1], [1, 1, 1]],
                               "documents": ["new", "new"]}, 201, None),
    ("update of a missing id", "POST", "$U/update", {"ids": ["a3"], "embeddings": [[1, 2, 3]]}, 200, None),
    ("after add", "POST", "$U/get", {"include": ["documents"]}, 200, None),
    ("in another database", "POST", "/api/v2/tenants/default_tenant/databases/nodb/collections/$I/get",
     {"ids": ["a"]}, 200, None),

    ("delete", "POST", "$U/delete", {"ids": ["b", "zz", "zz"]}, 200, None),
    ("delete missing", "POST", "$U/delete", {"ids": ["zz"]}, 200, None),
    ("delete empty id", "POST", "$U/delete", {"ids": [""]}, 200, None),
    ("delete of nothing", "POST", "$U/delete", {}, 200, None),
    ("delete null", "POST", "$U/delete", {"ids": None}, 200, None),
    ("delete no ids", "POST", "$U/delete", {"ids": []}, 400, BAD),
    ("delete where nothing", "POST", "$U/delete", {"where": {}}, 400, BAD),
    ("delete a number", "POST", "$U/delete", {"ids": [1]}, 422, WRONG),
    ("delete cut", "POST", "$U/delete", "{", 400, BAD),
    ("delete limit", "POST", "$U/delete", {"ids": ["zz"], "limit": 1}, 400, BAD),
    ("upsert to be deleted", "POST", "$U/upsert", {"ids": ["w1", "w2"],
                                                   "embeddings": [[1, 2, 3], [1, 2, 3]],
                                                   "metadatas": [{"p": "x"}, {"p": "x"}]}, 200, None),
    ("delete ids and where", "POST", "$U/delete", {"ids": ["a", "w2"], "where": {"p": "x"}}, 200, None),
    ("delete where", "POST", "$U/delete", {"where": {"p": {"$in": ["x"]}}}, 200, None),
    ("after deletes", "POST", "$U/get", {"include": []}, 200, None),
    ("back again at the end", "POST", "$U/upsert", {"ids": ["b"], "embeddings": [[4, 5, 6]]}, 200, None),
    ("storage order", "POST", "$U/get", {"include": []}, 200, None),

    ("count by name", "GET", "$C/$N/count", None, 400, BAD),
    ("upsert by name", "POST", "$C/$N/upsert", {"ids": ["a"], "embeddings": [[1, 2, 3]]}, 400, BAD),
    ("count, unknown", "GET", "$C/" + UNKNOWN + "/count", None, 404, NONE),
    ("get, unknown", "POST", "$C/" + UNKNOWN + "/get", {"ids": ["a"]}, 404, NONE),
    ("query, unknown", "POST", "$C/" + UNKNOWN + "/query", {"query_embeddings": [[1, 2, 3]]}, 404, NONE),
    ("delete, unknown", "POST", "$C/" + UNKNOWN + "/delete", {"ids": ["a"]}, 404, NONE),
    ("upsert, unknown", "POST", "$C/" + UNKNOWN + "/upsert", {"ids": ["a"], "embeddings": [[1, 2, 3]]},
     404, NONE),
]

LAST = [
    ("delete the collection", "DELETE", "$C/$N", None, 200, None),
    ("count, deleted", "GET", "$U/count", None, 404, NONE),
    ("upsert, deleted", "POST", "$U/upsert", {"ids": ["a"], "embeddings": [[1, 2, 3]]}, 404, NONE),
    ("create anew", "POST", "$C", {"name": "$N", "get_or_create": True}, 200, None),
    ("empty again", "GET", "$U/count", None, 404, NONE),
]


def filled(value, server):
    if isinstance(value, str):
        for mark, text in (("$U", "$C/$I"), ("$C", ROOT), ("$I", server.uuid), ("$N", TAG)):
            value = value.replace(mark, text)
        return value
    if isinstance(value, dict):
        return {filled(k, server): filled(v, server) for k, v in value.items()}
    return value


def plain(value, key=None):
    """An answer without what differs from server to server and from time to time."""
    if key in ("nanosecond heartbeat", "log_position", "version"):
        return type(value).__name__
    if isinstance(value, dict):
        if key == "keys":    # of a schema: a real one adds those of the metadata as they come
            value = {k: v for k, v in value.items() if k[0] == "#"}
        return {k: plain(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return float("%.4g" % value)
    if isinstance(value, str):
        value = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID", value)
        if key == "message":
            value = re.sub(r"(parse the request body as JSON|JSON body into the target type): .*", r"\1",
                           value, flags=re.S)
            value = re.sub(r"(Invalid base64 string).*", r"\1", value)
    return value


def answered(server, method, path, body):
    status, headers, data = server.ask(method, path, body)
    try:
        value = json.loads(data)
    except ValueError:
        value = data.decode()
    return status, headers.get("content-type"), value


def converse(mock, real, steps):
    for name, method, path, body, status, error in steps:
        got = answered(mock, method, filled(path, mock), filled(body, mock))
        value = got[2]
        good = check((got[0], value.get("error") if isinstance(value, dict) else None), (status, error),
                     "mock: " + name)
        if real:
            other = answered(real, method, filled(path, real), filled(body, real))
            mine, others = (g[:2] + (plain(g[2]),) for g in (got, other))
            check(mine, others, "as a real one: " + name)
            if name == "create":
                real.uuid = other[2]["id"]
        if name == "create" and good:
            mock.uuid = value["id"]


# ---- what lies below JSON ----


def until_end(s, answers=1):
    """All that comes, and how it ended; open is what stays silent for a second after its answers."""
    out = b""
    try:
        while True:
            s.settimeout(10 if out.count(b"HTTP/1.1 ") < answers else 1)
            data = s.recv(65536)
            if not data:
                return out, "closed"
            out += data
    except TimeoutError:
        return out, "open"
    except OSError:
        return out, "reset"
    finally:
        s.settimeout(10)


def exchange(server, data, answers=1):
    s = server.connect()
    s.sendall(data)
    return s, until_end(s, answers)


def status_line(data):
    return data.split(b"\r\n")[0].decode()


def post(path, body, headers=""):
    return ("POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n"
            % (path, headers, len(body))).encode() + body


def body_413(server):
    s = server.connect()
    size = 45 * 1024 * 1024
    s.sendall(post(filled("$U/upsert", server), b"", "")[:-len("Content-Length: 0\r\n\r\n")]
              + b"Content-Length: %d\r\n\r\n{" % size)
    block, sent = b" " * 65536, 1
    try:
        while sent < size:
            sent += s.send(block[:size - sent])
    except OSError:
        pass
    out, how = until_end(s)
    head, _, body = out.partition(b"\r\n\r\n")
    return status_line(head), body, b"content-type" in head.lower(), how != "open"


def wire(server):
    """[(name, what was seen)] of the transport."""
    out = []
    body = b'{"ids":["wire"],"embeddings":[[1,2,3]]}'
    path = filled("$U/upsert", server)
    out.append(("413 in plain text, then closed", body_413(server)))
    chunked = post(path, b"")[:-len("Content-Length: 0\r\n\r\n")] + b"Transfer-Encoding: chunked\r\n\r\n"
    for i in range(0, len(body), 7):
        chunked += b"%x\r\n%s\r\n" % (len(body[i:i + 7]), body[i:i + 7])
    s, (data, how) = exchange(server, chunked + b"0\r\n\r\n")
    out.append(("a chunked request", (status_line(data), how)))
    s.sendall(post(path, body))
    out.append(("another one behind it", status_line(s.recv(4096))))
    s, (data, how) = exchange(server, post(path, body, "Expect: 100-continue\r\n")[:-len(body)])
    s.sendall(body)
    out.append(("100-continue", (status_line(data), status_line(s.recv(4096)))))
    s, (data, how) = exchange(server, post(path, body) + post(path, body), answers=2)
    out.append(("two at once", (data.count(b"HTTP/1.1 200 OK"), how)))
    for name, where, body_ in (("405", "/api/v2/heartbeat", b""), ("405", "/api/v2/heartbeat", b"{}"),
                               ("405", "/api/v2/heartbeat", b"{}" * 40000), ("404", path + "/", b"{}"),
                               ("404", filled("$C/" + UNKNOWN + "/upsert", server), body)):
        s, (data, how) = exchange(server, post(where, body_))
        out.append(("%s after %d bytes" % (name, len(body_)), (status_line(data), how)))
    s, (data, how) = exchange(server, b"GET /api/v2/version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    out.append(("Connection: close", (status_line(data), data[-7:], how)))
    s, (data, how) = exchange(server, b"GET /api/v2/version HTTP/1.0\r\n\r\n")
    out.append(("HTTP/1.0", (status_line(data)[9:], how)))
    for name, headers in (("text/plain", {"Content-Type": "text/plain"}), ("no type", {}),
                          ("charset", {"Content-Type": "application/json; charset=utf-8"}),
                          ("gzip is not decoded", {"Content-Type": "application/json",
                                                   "Content-Encoding": "gzip"})):
        out.append(("Content-Type: " + name, server.ask("POST", path, body, headers)[0]))
    return out


WIRE_WANT = {"413 in plain text, then closed": ("HTTP/1.1 413 Payload Too Large", b"Payload too large",
                                                False, True),
             "a chunked request": ("HTTP/1.1 200 OK", "open"),
             "100-continue": ("HTTP/1.1 100 Continue", "HTTP/1.1 200 OK"),
             "two at once": (2, "open"), "Content-Type: text/plain": 415, "Content-Type: no type": 200}


# ---- the control plane, the mock alone ----


def scripted(mock):
    """Every kind of rule."""
    mock.control("POST", "reset")
    path = ROOT + "/" + json.loads(mock.ask("POST", ROOT, {
        "name": "Code", "get_or_create": True,
        "configuration": {"hnsw": {"space": "cosine"}}})[2])["id"]

    def upsert(*ids, timeout=30, text="text"):
        return mock.ask("POST", path + "/upsert", {
            "ids": list(ids), "embeddings": [[1, 0, 0]] * len(ids), "documents": [text] * len(ids),
            "metadatas": [{"file_path": "src/" + i, "repository": "R", "sync_digest": "d-" + i}
                          for i in ids]}, timeout=timeout)

    def outcome(*ids, **options):
        try:
            return upsert(*ids, **options)[0]
        except (OSError, http.client.HTTPException) as e:
            return type(e).__name__

    def stored():
        return list(mock.control("GET", "dump?settle=1")["Code"]["records"])

    def arrives(record):
        return wait_until(lambda: record in stored())

    def last():
        return mock.control("GET", "log")[-1]

    LOST = {"RemoteDisconnected", "ConnectionResetError"}

    check(upsert("a", "b")[0], 200, "an upsert without a script")
    dump = mock.control("GET", "dump")["Code"]
    check((dump["dimension"], dump["space"], dump["records"]["a"]["embedding_length"],
           dump["records"]["a"]["document_sha256"]),
          (3, "cosine", 3, "982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1"), "dump")
    entry = last()
    check((entry["kind"], entry["ids"], entry["paths"], entry["digests"], entry["status"],
           entry["applied"], entry["fault"], entry["end"]),
          ("upsert", ["a", "b"], ["src/a", "src/b"], ["d-a", "d-b"], 200, True, None, "answered"), "log")

    mock.script({"match": {"kind": "upsert|delete", "path": "src/c"}, "times": 2,
                 "do": {"status": 503, "headers": {"Retry-After": "7"}}})
    status, headers, data = upsert("b", "c")
    check((status, headers.get("retry-after"), "message" in json.loads(data)), (503, "7", True),
          "a status with a header")
    check([outcome("b"), outcome("c"), outcome("c")], [200, 503, 200], "matched by path, two times")
    check(last()["fault"], None, "the log names no fault then")
    mock.script({"match": {"id": "x"}, "do": {"status": 500, "body": {"error": "E", "message": "m"}}},
                {"match": {"digest": "d-y"}, "do": {"status": 422}},
                {"match": {"content": "poison"}, "do": {"refuse_objects": True}},
                {"match": {"repo": "R", "min_objects": 3}, "do": {"status": 413}})
    check([outcome("x"), outcome("y"), outcome("z", text="a poison"), outcome("1", "2", "3"),
           outcome("1", "2")], [500, 422, 422, 413, 200], "matched by id, digest, content, repo, size")
    mock.script({"match": {"kind": "upsert", "nth": 2}, "do": {"status": 429}},
                {"match": {"kind": "upsert", "every": 3}, "do": {"status": 500}},
                {"match": {"kind": "upsert", "after": 7}, "do": {"status": 502}})
    check([outcome("n") for _ in range(8)], [200, 429, 500, 200, 200, 500, 200, 502], "nth, every, after")
    check([r["hits"] for r in mock.control("GET", "script")], [1, 2, 1], "hits are counted")

    mock.script({"match": {"kind": "upsert"}, "do": {"apply_then_drop": True}})
    check((outcome("atd") in LOST, "atd" in stored(), last()["applied"], last()["status"]),
          (True, True, True, None), "apply, then drop")
    mock.script({"do": {"drop": True}})
    check((outcome("dropped") in LOST, "dropped" in stored()), (True, False), "drop")
    mock.script({"match": {"kind": "upsert"}, "do": {"drop": True, "rst": True}})
    check(outcome("dropped"), "ConnectionResetError", "drop with a reset")
    mock.script({"match": {"kind": "upsert"}, "do": {"drop": True, "delay_apply_ms": 2000}})
    lost = outcome("late")
    dump = mock.control("GET", "dump")["Code"]["records"]
    check((lost in LOST, "late" in dump, "late" in stored(), last()["applied"]),
          (True, False, True, True), "a late arrival")
    mock.script({"match": {"kind": "upsert"}, "do": {"delay_ms": 250}})
    start = time.monotonic()
    check((outcome("slow"), time.monotonic() - start > 0.24), (200, True), "delay")
    mock.script({"match": {"kind": "upsert"}, "do": {"answer_delay_ms": 2000}})
    check((outcome("slow2", timeout=0.2), arrives("slow2")), ("TimeoutError", True),
          "done at once, answered late")
    mock.script({"match": {"kind": "upsert"}, "do": {"delay_ms": 2000}})
    check((outcome("slow3", timeout=0.2), arrives("slow3")), ("TimeoutError", True),
          "done though the client has gone")
    mock.script({"match": {"kind": "upsert"}, "do": {"if_gone": {"ms": 2000, "do": {"drop": True}}}})
    check((outcome("gone", timeout=0.2), outcome("slow4"), arrives("slow4"), "gone" in stored()),
          ("TimeoutError", 200, True, False), "what is done only if the client has gone")
    mock.script({"match": {"kind": "upsert"}, "do": {"hang": True}})
    check((outcome("hung", timeout=0.2), "hung" in stored()), ("TimeoutError", False), "hang")
    mock.script({"match": {"kind": "upsert"}, "do": {"hang": True, "apply": True}})
    check((outcome("hung", timeout=0.2), arrives("hung")), ("TimeoutError", True), "do it and hang")
    mock.script({"match": {"kind": "upsert"}, "do": {"partial": 5}})
    check((outcome("part") in LOST | {"BadStatusLine", "IncompleteRead"}, "part" in stored()),
          (True, True), "an answer cut in its head")
    mock.script({"match": {"kind": "get"}, "do": {"partial": 90}})
    try:
        got = mock.ask("POST", path + "/get", {})[0]
    except http.client.IncompleteRead:
        got = "IncompleteRead"
    check(got, "IncompleteRead", "an answer cut in its body")
    mock.script({"match": {"kind": "upsert"}, "do": {"slow_bytes": {"bytes": 10, "ms": 20}}})
    start = time.monotonic()
    check((outcome("sb"), time.monotonic() - start > 0.1), (200, True), "slow bytes")
    mock.script({"match": {"kind": "get"}, "do": {"chunked": True}})
    status, headers, data = mock.ask("POST", path + "/get", {"ids": ["a"]})
    check((status, headers.get("transfer-encoding"), json.loads(data)["ids"]), (200, "chunked", ["a"]),
          "a chunked answer")
    mock.script({"match": {"kind": "upsert"}, "do": {"raw": "HTTP/1.1 200 OK\r\nContent-Le"}})
    check((outcome("raw") in LOST | {"IncompleteRead", 200}, "raw" in stored()), (True, False), "raw text")
    mock.script({"match": {"kind": "upsert"}, "do": {"status": 500, "apply": True}})
    check((outcome("e500"), "e500" in stored()), (500, True), "500, but stored")
    mock.script({"match": {"kind": "upsert"}, "do": {"close_after": True}})
    check((outcome("ca"), outcome("ca") in LOST | {"BrokenPipeError"}, outcome("ca")), (200, True, 200),
          "closed without a word after an answer")
    mock.drop()
    mock.script({"match": {"kind": "preflight"}, "do": {"status": 200, "body": {
        "max_batch_size": 10, "supports_base64_encoding": False}}})
    check(json.loads(mock.ask("GET", "/api/v2/pre-flight-checks")[2])["max_batch_size"], 10,
          "an answer of one's own")
    mock.script({"match": {"method": "GET", "url": "/heart.*$"}, "do": {
        "status": 307, "headers": {"Location": "http://other/"}}})
    check(mock.ask("GET", "/api/v2/heartbeat")[1].get("location"), "http://other/", "a redirect")
    check(mock.ask("POST", "/_mock/script", [{"do": {"explode": 1}}])[0], 400, "an unknown deed is refused")
    check(mock.ask("POST", "/_mock/script", {"do": {}})[0], 400, "a script is a list")

    mock.script()
    mock.control("POST", "down", {"ms": 2000})
    check((wait_until(lambda: outcome("down") == "ConnectionRefusedError"),
           wait_until(lambda: outcome("down") == 200)), (True, True), "down for a while")
    wait_until(lambda: not mock.control("GET", "stats")["in_flight"])
    stats = mock.control("GET", "stats")
    check((stats["kinds"]["upsert"] > 20, stats["in_flight"], stats["pending"]), (True, 0, 0), "stats")
    mock.control("POST", "clear")
    check((mock.control("GET", "log"), "a" in stored()), ([], True), "clear keeps the records")
    mock.control("POST", "save", {"name": "before"})
    before = mock.control("GET", "dump")
    upsert("a", "z", text="other")
    mock.ask("POST", path + "/delete", {"ids": ["b"]})
    changed = mock.control("GET", "dump") != before
    mock.control("POST", "load", {"name": "before"})
    check((changed, mock.control("GET", "dump") == before, mock.control("GET", "log"), outcome("z")),
          (True, True, [], 200), "save and load")
    check(mock.ask("POST", "/_mock/load", {"name": "none"})[0], 400, "nothing was saved under that name")
    mock.control("POST", "reset")
    check(mock.control("GET", "dump"), {}, "reset drops them")


def contract_file(name):
    try:
        import jsonschema  # noqa: F401 (is it there?)
    except ImportError:
        return None
    return server.contract_path(name)


def contract(mock):
    """The contract's own eyes; the conversation before has left violations of requests only."""
    found = mock.control("GET", "violations")
    check([v for v in found if v["side"] == "answer"], [], "no answer breaks the contract")
    texts = " ".join(v["text"] for v in found)
    check([w for w in ("'name' is a required property", "'foo' was unexpected",
                       "not described: GET /api/v1", "no JSON object",
                       "no Content-Type") if w not in texts], [], "requests that break it are noted")
    mock.control("POST", "clear")
    mock.ask("GET", "/api/v2/heartbeat")
    mock.ask("POST", ROOT, {"name": "Good", "get_or_create": True})
    mock.ask("GET", ROOT + "/Good?foo=1")
    check([v["text"] for v in mock.control("GET", "violations")], ["unknown query parameter foo"],
          "good requests are not")


def endings():
    m = Mock("--token", "secret")
    check((m.ask("GET", "/api/v2/heartbeat")[0],
           m.ask("GET", "/api/v2/heartbeat", None, {"x-chroma-token": "secret"})[0]), (401, 200), "a key")
    check("secret" in json.dumps(m.control("GET", "log")), False, "the log does not show it")
    check(m.end(), 0, "TERM ends it")
    shell = subprocess.Popen(["sh", "-c", '"$0" "$1" & read x', sys.executable,
                              os.path.join(HERE, "chroma.py")],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    orphan = Server("http://127.0.0.1:" + shell.stdout.readline().strip())
    shell.kill()
    shell.wait()

    def gone():
        try:
            orphan.connect().close()
            return False
        except OSError:
            return True
    report(wait_until(gone), "it ends with its parent")


def main():
    real = Server(os.environ["CHROMA_URL"]) if os.environ.get("CHROMA_URL") else None
    described = contract_file("chroma.openapi.json")
    mock = Mock(*(["--contract", described] if described else []))
    try:
        converse(mock, real, SCRIPT)
        seen = wire(mock)
        for name, got in seen:
            if name in WIRE_WANT:
                check(got, WIRE_WANT[name], "mock: " + name)
        if real:
            for (name, mine), (_, others) in zip(seen, wire(real)):
                check(mine, others, "as a real one: " + name)
        converse(mock, real, LAST)
        if real:
            for path in (ROOT + "/" + TAG,
                         "/api/v2/tenants/%s-t/databases/%s-d/collections/Code" % (TAG, TAG)):
                real.ask("DELETE", path)
        if described:
            contract(mock)
        else:
            report(True, "the contract # SKIP the store's description or jsonschema is not there")
        scripted(mock)
        if described:
            check([v for v in mock.control("GET", "violations") if v["side"] == "answer"], [],
                  "no scripted answer is beyond what is known")
        endings()
    finally:
        mock.end()
    if not real:
        print("# not compared with a real server: CHROMA_URL is not set")
    print("1..%d" % count)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
