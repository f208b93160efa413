#!/usr/bin/env python3
"""chroma.py - a scriptable stand-in for a Chroma server (v2 API), for tests.

    chroma.py [--port N] [--port-file FILE] [--contract [FILE]] [--token KEY] [--stay]

Listens on 127.0.0.1 only and prints its port on the first line of standard output.  It ends on
SIGTERM or SIGINT, and when its parent dies (--stay: not then).  Only the standard library is needed;
with --contract every request and every answer is checked against the OpenAPI description of the
store, by jsonschema where that can be imported.  --contract without a file looks for
chroma.openapi.json in $LINESYNC_CONTRACTS, then in ../shared/contracts beside the project.
--token KEY answers 401 to requests whose x-chroma-token is another.

What it answers follows a real server (1.5.9); test_mock.py holds it to that.  Kept: one merging
record per id, storage order, a dimension fixed by the first write, all-or-nothing validation, deletes
that count what was asked for, 413 as plain text.  Not kept: filters on documents, search, forks.

The control plane is below /_mock/ and is neither logged nor scripted nor checked:

    POST /_mock/reset       drop collections, log, script, violations, pending writes, hung requests
    POST /_mock/clear       drop log and violations only
    GET  /_mock/dump        {NAME: {"id","dimension","space","records": {ID: {"metadata",
                            "document_sha256" (null: no text), "embedding_length"}}}}
                            NAME is TENANT/DATABASE/NAME outside the default database;
                            ?documents=1 adds "document", ?embeddings=1 "embedding",
                            ?settle=1 first waits for writes that are still to arrive
    POST /_mock/save        {"name": NAME}: keep a copy of the collections
    POST /_mock/load        {"name": NAME}: put it back; drops the log and pending writes, not the script
    GET  /_mock/log         a list, one entry per request: n, time, conn, method, path, kind, bytes,
                            headers (the key left out), authorized, ids, paths, digests (metadata
                            file_path and sync_digest of an upsert), applied (null: not yet or never),
                            status (null: none was sent), fault (what the script did, or null), end
    GET  /_mock/stats       requests by kind, connections, in_flight, most_in_flight, pending
    POST /_mock/script      replace the script: a list of rules, see below; GET shows it with hits
    GET  /_mock/violations  a list of {"n","side": "request"|"answer","text"}
    POST /_mock/down        {"ms": N}: close the port and every connection for N ms

A rule is {"match": {...}, "times": T, "do": {...}}.  Every key of "match" must hold; none matches
everything:

    kind        "upsert|delete|get|count|query|add|update|collection_get|collection_create|
                collection_delete|collection_list|heartbeat|preflight|version|...": any of those named
    collection  its name
    id, path, repo, digest
                some object of the request has this id, file_path, repository, sync_digest
                (id: also in delete and get; the others: upsert)
    content     some document contains this text
    method, url the method; a regular expression found in the path
    min_objects, max_objects
                how many ids the request names
    nth         only the Nth request (from 1) for which all the above holds
    every       only each Kth of those
    after       only those after the first A

"times" is how often the rule acts at most (default: for ever).  Rules are counted independently; the
first one that is due acts, the others do not.  "do" may combine:

    delay_ms N          wait before doing anything (the write is done even if the client has gone)
    answer_delay_ms N   do it, then wait, then answer
    status S            answer S instead, applying nothing.  body: text or JSON (default: what a Chroma
                        says with S), headers: {...}.  apply: true applies the write all the same
                        unlisted: true allows a status that no store or proxy is known to give
    refuse_objects      true, or {"status","message"}: refuse the batch as invalid (422)
    apply_then_drop     do it, then close without an answer
    drop                close without doing it; rst: true closes with a reset
    delay_apply_ms N    with drop: close at once, and do it N ms later (a late arrival)
    hang                never answer (until the client goes, or reset); apply: true does it first
    partial N           do it, send N bytes of the answer, close
    slow_bytes          true, or {"bytes","ms"}: send the answer in small pieces (1 byte, 20 ms)
    chunked             answer with chunked transfer coding
    raw TEXT            send this instead of an answer, then close; apply: true does it first
    close_after         answer, then close without having said so; close_after_ms N: that much later
"""

import argparse
import array
import base64
import binascii
import copy
import hashlib
import json
import math
import operator
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
import uuid

MAX_BODY = 40 * 1024 * 1024
MAX_HEAD = 64 * 1024
MAX_SQL_IDS = 32766
MAX_BATCH = 5461
REASONS = {200: "OK", 201: "Created", 301: "Moved Permanently", 302: "Found",
           307: "Temporary Redirect", 308: "Permanent Redirect", 400: "Bad Request",
           401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
           408: "Request Timeout", 409: "Conflict", 410: "Gone", 413: "Payload Too Large",
           415: "Unsupported Media Type", 422: "Unprocessable Entity", 425: "Too Early",
           429: "Too Many Requests", 500: "Internal Server Error", 501: "Not Implemented",
           502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout"}
ERROR_CLASS = {400: "InvalidArgumentError", 401: "AuthError", 403: "AuthError",
               404: "NotFoundError", 500: "InternalError"}

# Answers that the description leaves out or gets wrong, with where they come from.
EXTRA_ANY = {400: "bad JSON, names, lengths, dimension, numbers",
             404: "no such route", 405: "wrong method", 413: "body over 40 MiB, plain text",
             415: "content type", 422: "JSON of another shape", 429: "overload"}
EXTRA_KIND = {("collection_create", 409): "exists", ("database_create", 409): "exists",
              ("healthcheck", 200): "an object, described as a string",
              ("reset", 403): "disabled by configuration", ("v1", 410): "the old API"}
EXTRA_SCRIPTED = {200, 201, 301, 302, 307, 308, 401, 403, 408, 425, 500, 502, 503, 504}


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
        if isinstance(self.body, str):
            return self.body.encode(), None
        return dumps(self.body), "application/json"


def dumps(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def error(status, message, name=None):
    name = name or ERROR_CLASS.get(status, "ChromaError")
    return Answer(status, {"error": name, "message": message})


def shape_error(text):
    return error(422, "Failed to deserialize the JSON body into the target type: " + text)


# ---------------------------------------------------------------------------------------------
# JSON as the server reads it


class Repeated(dict):
    """An object in which a name stood twice."""


def _pairs(pairs):
    d = dict(pairs)
    return d if len(d) == len(pairs) else Repeated(d)


def _constant(name):
    raise ValueError("expected value: " + name)


def parse_json(body):
    try:
        text = body.decode("utf-8")
        if text[:1] == "\ufeff":
            raise ValueError("expected value")
        value = json.loads(text, object_pairs_hook=_pairs, parse_constant=_constant)
        if "\\ud" in text or "\\uD" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as e:
        raise error(400, "Failed to parse the request body as JSON: %s" % e) from None
    return value


def want_object(value, name):
    if not isinstance(value, dict):
        raise shape_error("invalid type: expected struct " + name)
    if isinstance(value, Repeated):
        raise shape_error("duplicate field")
    return value


def want_strings(body, field, required=False, nulls=False):
    value = body.get(field)
    if value is None:
        if required:
            raise shape_error("missing field `%s`" % field if field not in body
                              else field + ": invalid type: null, expected a sequence")
        return None
    if not isinstance(value, list):
        raise shape_error(field + ": invalid type, expected a sequence")
    for i, s in enumerate(value):
        if not isinstance(s, str) and not (nulls and s is None):
            raise shape_error("%s[%d]: invalid type, expected a string" % (field, i))
    return value


def want_u32(body, field):
    value = body.get(field)
    if value is not None and (type(value) is not int or not 0 <= value < 1 << 32):
        raise shape_error(field + ": invalid value, expected u32")
    return value


def numbers(vector):
    return isinstance(vector, list) and set(map(type, vector)) <= {int, float}


def want_vectors(body, field="embeddings", nulls=False):
    """The raw vectors, checked for their type; see float_vectors()."""
    value = body.get(field)
    if field not in body:
        raise shape_error("missing field `%s`" % field)
    if isinstance(value, list):
        given = [v for v in value if v is not None] if nulls else value
        if all(map(numbers, given)) or all(isinstance(v, str) for v in given):
            return value
    raise shape_error(field + ": data did not match any variant of untagged enum EmbeddingsPayload")


def float_vectors(raw):
    """float32 arrays of numbers or of base64 text (little-endian float32)."""
    out = []
    for i, v in enumerate(raw):
        if v is None:
            out.append(None)
            continue
        if isinstance(v, str):
            try:
                data = base64.b64decode(v, validate=True)
            except binascii.Error:
                raise error(400, "Invalid base64 string: Invalid symbol.") from None
            if len(data) % 4:
                raise error(400, "Invalid byte length: %d bytes cannot be converted to f32 values "
                            "(must be divisible by 4)" % len(data))
            a = array.array("f")
            a.frombytes(data)
            if sys.byteorder == "big":
                a.byteswap()
            if not math.isfinite(sum(a)) and not all(map(math.isfinite, a)):
                raise error(400, "Non-finite float value at embedding index %d: NaN" % i)
        else:
            if math.inf in v or -math.inf in v:
                raise error(400, "Failed to parse the request body as JSON: embeddings[%d]: number "
                            "out of range" % i)
            try:
                a = array.array("f", v)
            except OverflowError:
                a = array.array("f", [math.inf])
            if not math.isfinite(sum(a)) and not all(map(math.isfinite, a)):
                raise error(400, "Validation error: embeddings: Embeddings must not contain NaN or "
                            "Infinity values")
        out.append(a)
    if any(a is not None and not len(a) for a in out):
        raise error(400, "Validation error: embeddings: Each embedding must have at least 1 dimension")
    if len({len(a) for a in out if a is not None}) > 1:
        raise error(400, "Inconsistent dimensions in provided embeddings")
    return out


def good_metadata_value(v, nulls):
    if v is None:
        return nulls
    if isinstance(v, (str, bool, int, float)):
        return True
    if isinstance(v, list):
        kinds = set(map(type, v))
        return kinds <= {str} or kinds <= {bool} or kinds <= {int, float}
    return isinstance(v, dict) and v.get("#type") == "sparse_vector"


def check_metadata(m, where, nulls):
    if not isinstance(m, dict):
        raise shape_error(where + ": invalid type, expected a map")
    for k, v in m.items():
        if not good_metadata_value(v, nulls):
            raise shape_error("%s.%s: data did not match any variant of untagged enum %s" %
                              (where, k, "UpdateMetadataValue" if nulls else "MetadataValue"))


def stored_value(v):
    if type(v) is int and not -(1 << 63) <= v < 1 << 63:
        return float(v)
    return v


def want_metadatas(body):
    value = body.get("metadatas")
    if value is None:
        return None
    if not isinstance(value, list):
        raise shape_error("metadatas: invalid type, expected a sequence")
    for i, m in enumerate(value):
        if m is not None:
            check_metadata(m, "metadatas[%d]" % i, True)
    return value


# ---------------------------------------------------------------------------------------------
# Collections


class Record:
    __slots__ = ("document", "metadata", "embedding", "uri")

    def __init__(self):
        self.document = self.uri = self.embedding = None
        self.metadata = {}

    def copy(self):
        r = copy.copy(self)
        r.metadata = dict(self.metadata)
        return r

    def merge(self, document, metadata, embedding, uri):
        if document is not None:
            self.document = document
        if uri is not None:
            self.uri = uri
        if embedding is not None:
            self.embedding = embedding
        for k, v in (metadata or {}).items():
            if v is None or v == []:
                self.metadata.pop(k, None)
            else:
                self.metadata[k] = stored_value(v)


class Collection:
    def __init__(self, tenant, database, name, space, metadata):
        self.tenant, self.database, self.name = tenant, database, name
        self.id = str(uuid.uuid4())
        self.space = space
        self.metadata = metadata
        self.dimension = None
        self.records = {}

    def copy(self):
        c = copy.copy(self)
        c.records = {i: r.copy() for i, r in self.records.items()}
        return c

    def label(self):
        if (self.tenant, self.database) == ("default_tenant", "default_database"):
            return self.name
        return "/".join((self.tenant, self.database, self.name))

    def describe(self):
        def on(v, **config):
            return {"enabled": v, "config": config}
        hnsw = {"ef_construction": 100, "max_neighbors": 16, "ef_search": 100, "num_threads": 2,
                "batch_size": 100, "sync_threshold": 1000, "resize_factor": 1.2}
        sparse = {"embedding_function": {"type": "unknown"}, "bm25": False}
        return {
            "id": self.id, "name": self.name,
            "configuration_json": {
                "hnsw": {"space": self.space, "ef_construction": 100, "ef_search": 100,
                         "max_neighbors": 16, "resize_factor": 1.2, "sync_threshold": 1000},
                "spann": None, "embedding_function": None},
            "schema": {
                "defaults": {
                    "string": {"fts_index": on(False), "string_inverted_index": on(True)},
                    "float_list": {"vector_index": on(False, space=self.space, hnsw=hnsw)},
                    "sparse_vector": {"sparse_vector_index": on(False, **sparse)},
                    "int": {"int_inverted_index": on(True)},
                    "float": {"float_inverted_index": on(True)},
                    "bool": {"bool_inverted_index": on(True)}},
                "keys": {
                    "#embedding": {"float_list": {"vector_index": on(
                        True, space=self.space, source_key="#document", hnsw=hnsw)}},
                    "#document": {"string": {"fts_index": on(True),
                                             "string_inverted_index": on(False)}}}},
            "metadata": self.metadata, "dimension": self.dimension,
            "tenant": self.tenant, "database": self.database, "log_position": 0, "version": 0}

    def check_dimension(self, vectors):
        for v in vectors:
            if v is not None and self.dimension not in (None, len(v)):
                raise error(400, "Collection expecting embedding with dimension of %d, got %d" %
                            (self.dimension, len(v)))

    def distance(self, a, b):
        if self.space == "l2":
            return sum((x - y) ** 2 for x, y in zip(a, b))
        dot = sum(map(operator.mul, a, b))
        if self.space == "ip":
            return 1 - dot
        size = math.sqrt(sum(map(operator.mul, a, a)) * sum(map(operator.mul, b, b)))
        return 1 - dot / size if size else 1.0


COMPARE = {"$eq": operator.eq, "$ne": operator.ne, "$gt": operator.gt, "$gte": operator.ge,
           "$lt": operator.lt, "$lte": operator.le, "$in": lambda v, to: v in to,
           "$nin": lambda v, to: v not in to}


def where_holds(where, metadata):
    """Whether metadata passes a filter; raises the server's 400 for a filter that is none."""
    if not isinstance(where, dict) or len(where) != 1:
        raise error(400, "Invalid where clause")
    (key, to), = where.items()
    if key in ("$and", "$or"):
        if not isinstance(to, list):
            raise error(400, "Invalid where clause")
        each = [where_holds(w, metadata) for w in to]
        return all(each) if key == "$and" else any(each)
    if not isinstance(to, dict):
        to = {"$eq": to}
    if len(to) != 1 or next(iter(to)) not in COMPARE:
        raise error(400, "Invalid where clause")
    (op, to), = to.items()
    if key not in metadata:
        return op in ("$ne", "$nin")
    try:
        return COMPARE[op](metadata[key], to)
    except TypeError:
        return False


# ---------------------------------------------------------------------------------------------
# The API: each handler takes (store, call), checks, and returns an Answer.  One that writes returns
# it through call.write(), so that a script can put the write off.


class Call:
    """One API request: what came, what it asks for, what became of it."""

    def __init__(self, method, target, headers, body):
        self.method, self.headers, self.body = method, headers, body
        path, _, query = target.partition("?")
        self.path = path
        self.query = urllib.parse.parse_qs(query, keep_blank_values=True)
        self.kind, self.handler, self.params = route(method, path)
        self.read_early = True
        self.whole = True
        self.in_flight = None
        self.json = None
        self.json_error = None
        self.ids, self.metadatas, self.documents = [], [], []
        self.log = None
        if self.handler and method in ("POST", "PUT", "PATCH") and self.kind != "reset":
            self.read_body()

    def read_body(self):
        ctype = self.headers.get("content-type", "application/json").split(";")[0].strip().lower()
        try:
            if ctype != "application/json":
                raise error(415, "Expected request with `Content-Type: application/json`")
            self.json = parse_json(self.body)
        except Answer as a:
            self.json_error = a
            return
        if isinstance(self.json, dict):
            def of(field, kind):
                v = self.json.get(field)
                return [x for x in v if isinstance(x, kind)] if isinstance(v, list) else []
            self.ids = of("ids", str)
            self.metadatas = of("metadatas", dict)
            self.documents = of("documents", str)

    def meta(self, key):
        return [m[key] for m in self.metadatas if key in m]


def answer_heartbeat(_store, _call):
    return Answer(200, {"nanosecond heartbeat": time.time_ns()})


def answer_healthcheck(_store, _call):
    return Answer(200, {"is_executor_ready": True, "is_log_client_ready": True})


def answer_version(_store, _call):
    return Answer(200, Raw('"1.0.0"'))


def answer_preflight(_store, _call):
    return Answer(200, {"max_batch_size": MAX_BATCH, "supports_base64_encoding": True})


def answer_identity(_store, _call):
    return Answer(200, {"user_id": "", "tenant": "default_tenant", "databases": ["default_database"]})


def answer_v1(_store, _call):
    return error(410, "The v1 API is deprecated. Please use /v2 apis", "Unimplemented")


def answer_reset(_store, _call):
    return error(403, "Reset is disabled by config", "ChromaError")


class Raw(dict):
    """JSON text that is to be sent as it stands."""

    def __init__(self, text):
        super().__init__()
        self.text = text


def bad_name(name):
    return not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9._-]{1,510}[a-zA-Z0-9]", name)


def want_name(body, name):
    body = want_object(body, name)
    if "name" not in body:
        raise shape_error("missing field `name`")
    if not isinstance(body["name"], str):
        raise shape_error("name: invalid type, expected a string")
    return body["name"]


def name_error(name):
    return error(400, "Validation error: name: Expected a name containing 3-512 characters from "
                 "[a-zA-Z0-9._-], starting and ending with a character in [a-zA-Z0-9]. Got: " + name)


def tenant_create(store, call):
    name = want_name(call.json, "CreateTenantPayload")
    with store.lock:
        if name in store.tenants:
            raise error(409, "Tenant [%s] already exists" % name)
        store.tenants.add(name)
    return Answer(200, {})


def tenant_get(store, call):
    name = call.params["tenant"]
    if name not in store.tenants:
        raise error(404, "Tenant [%s] not found" % name)
    return Answer(200, {"name": name, "resource_name": None})


def database_create(store, call):
    name = want_name(call.json, "CreateDatabasePayload")
    if bad_name(name):
        raise name_error(name)
    with store.lock:
        if (call.params["tenant"], name) in store.databases:
            raise error(409, "Database [%s] already exists" % name)
        store.databases[call.params["tenant"], name] = str(uuid.uuid4())
    return Answer(200, {})


def database_get(store, call):
    key = call.params["tenant"], call.params["database"]
    if key not in store.databases:
        raise error(404, "Database [%s] not found. Are you sure it exists?" % key[1])
    return Answer(200, {"id": store.databases[key], "name": key[1], "tenant": key[0]})


def wanted_space(body):
    """The distance asked for, l2 if none; raises what the server says of a bad configuration."""
    metadata = body.get("metadata")
    if metadata is not None:
        check_metadata(metadata, "metadata", False)
        if not metadata:
            raise error(400, "Validation error: metadata: Metadata cannot be empty")
    conf = body.get("configuration")
    if conf is None:
        conf = {}
    if not isinstance(conf, dict):
        raise shape_error("configuration: invalid type, expected struct")
    hnsw = conf.get("hnsw")
    if hnsw is None:
        hnsw = {}
    if not isinstance(hnsw, dict):
        raise shape_error("configuration.hnsw: invalid type, expected struct")
    for key in hnsw:
        if key not in ("space", "ef_construction", "ef_search", "max_neighbors", "num_threads",
                       "resize_factor", "sync_threshold", "batch_size"):
            raise shape_error("configuration.hnsw.%s: unknown field `%s`" % (key, key))
    space = hnsw.get("space") or (metadata or {}).get("hnsw:space") or "l2"
    if space not in ("l2", "cosine", "ip"):
        raise shape_error("configuration.hnsw.space: unknown variant `%s`, expected one of `l2`, "
                          "`cosine`, `ip`" % space)
    return space


def collection_create(store, call):
    name = want_name(call.json, "CreateCollectionPayload")
    get = call.json.get("get_or_create", False)
    if not isinstance(get, bool):
        raise shape_error("get_or_create: invalid type, expected a boolean")
    space = wanted_space(call.json)
    if bad_name(name):
        raise name_error(name)
    key = call.params["tenant"], call.params["database"], name

    def write():
        if key[:2] not in store.databases:
            raise error(400, "Database [%s] does not exist" % key[1])
        c = store.by_name.get(key)
        if c and not get:
            raise error(409, "Collection [%s] already exists" % name)
        if not c:
            c = Collection(*key, space, call.json.get("metadata"))
            store.by_name[key] = store.by_id[c.id] = c
        return Answer(200, c.describe())
    return write


def named(store, call):
    key = call.params["tenant"], call.params["database"], call.params["collection"]
    c = store.by_name.get(key)
    if not c:
        raise error(404, "Collection [%s] does not exist" % key[2])
    return c


def collection_get(store, call):
    with store.lock:
        return Answer(200, named(store, call).describe())


def collection_delete(store, call):
    def write():
        c = named(store, call)
        del store.by_name[c.tenant, c.database, c.name]
        del store.by_id[c.id]
        return Answer(200, {})
    return write


def query_u32(call, name):
    text = call.query.get(name, [None])[0]
    if text is not None and not re.fullmatch(r"\d+", text):
        raise error(400, "Failed to deserialize query string: %s: invalid digit found in string" % name)
    return None if text is None else int(text)


def collection_list(store, call):
    limit, offset = query_u32(call, "limit"), query_u32(call, "offset") or 0
    with store.lock:
        all_ = [c.describe() for c in store.by_name.values()
                if (c.tenant, c.database) == (call.params["tenant"], call.params["database"])]
    return Answer(200, all_[offset:None if limit is None else offset + limit])


def collections_count(store, call):
    return Answer(200, Raw(str(len(collection_list(store, call).body))))


def identified(store, call):
    text = call.params["collection"]
    try:
        c = store.by_id.get(str(uuid.UUID(text)))
    except ValueError:
        raise error(400, "Collection ID is not a valid UUIDv4") from None
    if not c:
        raise error(404, "Collection [%s] does not exist." % text)
    return c


def collection_by_id(store, call):
    with store.lock:
        return Answer(200, identified(store, call).describe())


def records_write(store, call, op):
    """upsert, add and update; all or nothing."""
    body = want_object(call.json, op.capitalize() + "CollectionRecordsPayload")
    ids = want_strings(body, "ids", required=True)
    if op == "update" and body.get("embeddings") is None:
        raw = [None] * len(ids)
    else:
        raw = want_vectors(body, nulls=op == "update")
    documents = want_strings(body, "documents", nulls=True)
    uris = want_strings(body, "uris", nulls=True)
    metadatas = want_metadatas(body)
    identified(store, call)
    vectors = float_vectors(raw)
    for column in (vectors, documents, uris, metadatas):
        if column is not None and len(column) != len(ids):
            raise error(400, "Inconsistent number of IDs, embeddings, documents, URIs and metadatas")
    for i, m in enumerate(metadatas or ()):
        if m and any(not k or k[0] == "#" for k in m):
            raise error(400, "Validation error: metadatas: Invalid metadata at index %d" % i)
    if "" in ids:
        raise error(400, "Empty ID, ID must have at least one character")
    empty = [None] * len(ids)

    def write():
        c = identified(store, call)
        c.check_dimension(vectors)
        for v in vectors:
            if v is not None:
                c.dimension = len(v)
        for i, d, m, v, u in zip(ids, documents or empty, metadatas or empty, vectors, uris or empty):
            known = i in c.records
            if op == "add" and known or op == "update" and not known:
                continue
            if not known:
                c.records[i] = Record()
            c.records[i].merge(d, m, v, u)
        return Answer(201 if op == "add" else 200, {})
    return write


def upsert(store, call):
    return records_write(store, call, "upsert")


def add(store, call):
    return records_write(store, call, "add")


def update(store, call):
    return records_write(store, call, "update")


def selected(c, ids, where):
    """The ids of c that are named and pass the filter, in storage order."""
    if ids is None:
        some = list(c.records)
    elif len(ids) < 64:
        known = {i for i in ids if i in c.records}
        some = list(known) if len(known) < 2 else [i for i in c.records if i in known]
    else:
        known = set(ids)
        some = [i for i in c.records if i in known]
    if where is not None:
        where_holds(where, {})
        some = [i for i in some if where_holds(where, c.records[i].metadata)]
    return some


def delete(store, call):
    body = want_object(call.json, "DeleteCollectionRecordsPayload")
    ids = want_strings(body, "ids")
    where = body.get("where")
    limit = want_u32(body, "limit")
    identified(store, call)
    if where is not None:
        where_holds(where, {})
    elif limit is not None:
        raise error(400, "Validation error: limit, where: limit can only be specified when a where "
                    "clause is provided")
    elif ids == []:
        raise error(400, "Validation error: ids, where: Either ids or where must be specified")

    def write():
        c = identified(store, call)
        if where is None:
            for i in ids or ():
                c.records.pop(i, None)
            return Answer(200, {"deleted": len(ids or ())})
        gone = selected(c, ids, where)[:limit]
        for i in gone:
            del c.records[i]
        return Answer(200, {"deleted": len(gone)})
    return write


def want_include(body, default):
    include = body.get("include")
    if include is None:
        return default
    for i, name in enumerate(want_strings(body, "include")):
        if name not in ("distances", "documents", "embeddings", "metadatas", "uris"):
            raise shape_error("include[%d]: unknown variant `%s`" % (i, name))
    return include


def columns(c, ids, include):
    found = [c.records[i] for i in ids]
    return {
        "ids": ids,
        "embeddings": [r.embedding.tolist() for r in found] if "embeddings" in include else None,
        "documents": [r.document for r in found] if "documents" in include else None,
        "uris": [r.uri for r in found] if "uris" in include else None,
        "metadatas": [dict(r.metadata) or None for r in found] if "metadatas" in include else None}


def get(store, call):
    body = want_object(call.json, "GetRequestPayload")
    ids = want_strings(body, "ids")
    limit, offset = want_u32(body, "limit"), want_u32(body, "offset") or 0
    include = want_include(body, ["documents", "metadatas"])
    with store.lock:
        c = identified(store, call)
        if len(ids or ()) > MAX_SQL_IDS:
            raise error(500, "Error executing plan: Internal error: error returned from database: "
                        "(code: 1) too many SQL variables")
        some = selected(c, ids, body.get("where"))
        some = some[offset:None if limit is None else offset + limit]
        out = columns(c, some, include)
    out["include"] = include
    return Answer(200, out)


def count(store, call):
    with store.lock:
        return Answer(200, Raw(str(len(identified(store, call).records))))


def query(store, call):
    body = want_object(call.json, "QueryRequestPayload")
    raw = want_vectors(body, "query_embeddings")
    if any(isinstance(v, str) for v in raw):
        raise shape_error("query_embeddings[0]: invalid type: string, expected a sequence")
    n = want_u32(body, "n_results")
    include = want_include(body, ["documents", "metadatas", "distances"])
    ids = want_strings(body, "ids")
    vectors = float_vectors(raw)
    out = {k: [] for k in ("ids", "embeddings", "documents", "uris", "metadatas", "distances")}
    with store.lock:
        c = identified(store, call)
        c.check_dimension(vectors)
        some = selected(c, ids, body.get("where"))
        for v in vectors:
            near = sorted((c.distance(v, c.records[i].embedding), k, i) for k, i in enumerate(some))
            near = near[:10 if n is None else n]
            for k, column in columns(c, [i for _, _, i in near], include).items():
                out[k].append(column)
            out["distances"].append([d for d, _, _ in near])
    for k in out:
        if k != "ids" and k not in include:
            out[k] = None
    out["include"] = include
    return Answer(200, out)


def indexing_status(_store, _call):
    return error(500, "Method scout_logs is not implemented")


def not_mocked(_store, call):
    return Answer(501, "chroma.py does not know %s %s" % (call.method, call.path))


_C = "/api/v2/tenants/{tenant}/databases/{database}/collections"
ROUTES = [
    ("GET", "/api/v2", "heartbeat", answer_heartbeat),
    ("GET", "/api/v2/heartbeat", "heartbeat", answer_heartbeat),
    ("GET", "/api/v2/healthcheck", "healthcheck", answer_healthcheck),
    ("GET", "/api/v2/version", "version", answer_version),
    ("GET", "/api/v2/pre-flight-checks", "preflight", answer_preflight),
    ("GET", "/api/v2/auth/identity", "identity", answer_identity),
    ("POST", "/api/v2/reset", "reset", answer_reset),
    ("POST", "/api/v2/tenants", "tenant_create", tenant_create),
    ("GET", "/api/v2/tenants/{tenant}", "tenant_get", tenant_get),
    ("POST", "/api/v2/tenants/{tenant}/databases", "database_create", database_create),
    ("GET", "/api/v2/tenants/{tenant}/databases/{database}", "database_get", database_get),
    ("GET", _C + "_count", "collections_count", collections_count),
    ("GET", _C, "collection_list", collection_list),
    ("POST", _C, "collection_create", collection_create),
    ("GET", _C + "/by-id/{collection}", "collection_by_id", collection_by_id),
    ("GET", _C + "/{collection}", "collection_get", collection_get),
    ("DELETE", _C + "/{collection}", "collection_delete", collection_delete),
    ("PUT", _C + "/{collection}", "collection_update", not_mocked),
    ("POST", _C + "/{collection}/upsert", "upsert", upsert),
    ("POST", _C + "/{collection}/add", "add", add),
    ("POST", _C + "/{collection}/update", "update", update),
    ("POST", _C + "/{collection}/delete", "delete", delete),
    ("POST", _C + "/{collection}/get", "get", get),
    ("POST", _C + "/{collection}/query", "query", query),
    ("POST", _C + "/{collection}/search", "search", not_mocked),
    ("GET", _C + "/{collection}/count", "count", count),
    ("GET", _C + "/{collection}/indexing_status", "indexing_status", indexing_status),
]


def template_re(template):
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(template)) + r"\Z")


ROUTES_RE = [(m, template_re(t), kind, handler) for m, t, kind, handler in ROUTES]


def route(method, path):
    """(kind, handler, parameters); no handler for an unknown path or method."""
    if path.startswith("/api/v1/"):
        return "v1", answer_v1, {}
    allowed = []
    for m, pattern, kind, handler in ROUTES_RE:
        found = pattern.match(path)
        if not found:
            continue
        if m == method or (m, method) == ("GET", "HEAD"):
            return kind, handler, {k: urllib.parse.unquote(v) for k, v in found.groupdict().items()}
        allowed += [m, "HEAD"] if m == "GET" else [m]
    return ("405:" + ",".join(allowed) if allowed else "other"), None, {}


# ---------------------------------------------------------------------------------------------
# The contract


def reduced(value):
    """value with one element for each kind of element of its long lists: enough to judge types by,
    and quick to judge."""
    if isinstance(value, dict):
        return {k: reduced(v) for k, v in value.items()}
    if not isinstance(value, list) or len(value) <= 8:
        return [reduced(v) for v in value] if isinstance(value, list) else value
    kinds = {}
    for v in value:
        kinds.setdefault(kind_of(v), v)
    return [reduced(v) for v in kinds.values()]


def kind_of(value):
    if isinstance(value, dict):
        return frozenset((k, kind_of(v)) for k, v in value.items())
    if isinstance(value, list):
        types = frozenset(map(type, value))
        return types if not types & {list, dict} else frozenset(map(kind_of, value))
    return type(value)


class Contract:
    """Judges requests and answers by an OpenAPI description.

    The description is read with two corrections: oneOf counts as anyOf (1 is both an integer and a
    number, [] both kinds of vectors), and a metadata value may be null in a request."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as f:
            self.doc = json.load(f)
        try:
            import jsonschema
            self.validator = jsonschema.Draft202012Validator
        except ImportError:
            self.validator = None
            sys.stderr.write("chroma.py: no jsonschema: only paths and names are checked\n")
        self.operations = []
        for template, methods in self.doc["paths"].items():
            for method, op in methods.items():
                self.operations.append((method.upper(), template_re(template), self.prepare(op)))
        # fixed parts before parameters: /collections/by-id/X is not a collection named by-id
        self.operations.sort(key=lambda o: o[1].pattern.count("(?P"))

    def prepare(self, op):
        content = op.get("requestBody", {}).get("content", {})
        schema = content.get("application/json", {}).get("schema")
        request = self.inlined(schema, True) if schema else None
        responses = {}
        for status, r in op["responses"].items():
            kinds = list(r.get("content", {}).values())
            responses[int(status)] = self.compiled(self.inlined(kinds[0]["schema"], False)
                                                   if kinds else None)
        return {"names": names_of(request), "request": self.compiled(request),
                "required": set(required_of(request)), "takes": request is not None,
                "query": {p["name"] for p in op.get("parameters", ()) if p["in"] == "query"},
                "responses": responses}

    def compiled(self, schema):
        return self.validator(schema) if self.validator and schema is not None else None

    def inlined(self, schema, request, above=()):
        if isinstance(schema, list):
            return [self.inlined(s, request, above) for s in schema]
        if not isinstance(schema, dict):
            return schema
        ref = schema.get("$ref")
        if ref:
            if ref in above:
                return {}
            name = ref.rsplit("/", 1)[1]
            out = self.inlined(self.doc["components"]["schemas"][name], request, above + (ref,))
            if name == "HashMap" and request:
                out["additionalProperties"]["anyOf"].append({"type": "null"})
            return out
        return {"anyOf" if k == "oneOf" else k: self.inlined(v, request, above)
                for k, v in schema.items() if k not in ("example", "format")}

    def find(self, method, path):
        method = "GET" if method == "HEAD" else method
        for m, pattern, op in self.operations:
            if m == method and pattern.match(path):
                return op
        return None

    def judge_request(self, call):
        """Yields what is wrong with a request."""
        op = self.find(call.method, call.path)
        if not op:
            yield "not described: %s %s" % (call.method, call.path)
            return
        for name in call.query:
            if name not in op["query"]:
                yield "unknown query parameter " + name
        if not op["takes"]:
            if call.body:
                yield "a body where none is described"
            return
        if "content-type" not in call.headers:
            yield "no Content-Type"
        if call.json_error or not isinstance(call.json, dict):
            yield "the body is no JSON object"
            return
        for name in sorted(set(call.json) - op["names"]):
            yield "unknown field " + name
        if not op["request"]:
            for name in sorted(op["required"] - set(call.json)):
                yield "missing field " + name
            return
        for e in op["request"].iter_errors(reduced(call.json)):
            yield "%s: %s" % ("/".join(map(str, e.absolute_path)), e.message[:300])

    def judge_answer(self, call, answer, scripted):
        """Yields what is wrong with an answer of ours."""
        status = answer.status
        op = self.find(call.method, call.path)
        if not op and not scripted:
            return
        known = (status in EXTRA_ANY or (call.kind, status) in EXTRA_KIND
                 or scripted and status in EXTRA_SCRIPTED)
        if scripted or not op or status not in op["responses"]:
            if not known and not (op and status in op["responses"]):
                yield "a status that is not described: %d to %s" % (status, call.kind)
            return
        if (call.kind, status) in EXTRA_KIND or not op["responses"][status] or answer.body is None:
            return
        body = json.loads(answer.body.text) if isinstance(answer.body, Raw) else answer.body
        for e in op["responses"][status].iter_errors(reduced(body)):
            yield "%d to %s: %s" % (status, call.kind, e.message[:300])


def names_of(schema):
    """The property names of an object's schema, allOf included."""
    out = set((schema or {}).get("properties", ()))
    for part in (schema or {}).get("allOf", ()):
        out |= names_of(part)
    return out


def required_of(schema):
    out = list((schema or {}).get("required", ()))
    for part in (schema or {}).get("allOf", ()):
        out += required_of(part)
    return out


def contract_path(given):
    if given:
        return given
    name = "chroma.openapi.json"
    here = os.path.dirname(os.path.abspath(__file__))
    for folder in (os.environ.get("LINESYNC_CONTRACTS"),
                   os.path.join(here, "..", "..", "..", "shared", "contracts")):
        if folder and os.path.exists(os.path.join(folder, name)):
            return os.path.join(folder, name)
    sys.exit("chroma.py: no %s found; set LINESYNC_CONTRACTS" % name)


# ---------------------------------------------------------------------------------------------
# The script


DOINGS = {"delay_ms", "answer_delay_ms", "status", "body", "headers", "apply", "unlisted",
          "refuse_objects", "apply_then_drop", "drop", "rst", "delay_apply_ms", "hang", "partial",
          "slow_bytes", "chunked", "raw", "close_after", "close_after_ms"}
MATCHES = {"kind", "collection", "id", "path", "repo", "digest", "content", "method", "url",
           "min_objects", "max_objects", "nth", "every", "after"}


class Rule:
    def __init__(self, spec):
        if not isinstance(spec, dict) or not isinstance(spec.get("do"), dict):
            raise ValueError("a rule is an object with \"do\"")
        self.spec = spec
        self.match = spec.get("match", {})
        self.do = spec["do"]
        wrong = (set(spec) - {"match", "times", "do", "name"}) | (set(self.match) - MATCHES) \
            | (set(self.do) - DOINGS)
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
                    or "path" in m and m["path"] not in call.meta("file_path")
                    or "repo" in m and m["repo"] not in call.meta("repository")
                    or "digest" in m and m["digest"] not in call.meta("sync_digest")
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
    def __init__(self, contract, token):
        self.lock = threading.RLock()
        self.contract = contract
        self.token = token
        self.generation = 0
        self.released = threading.Event()
        self.connections = 0
        self.saved = {}
        self.clear_all()

    def clear_all(self):
        with self.lock:
            self.generation += 1
            self.released.set()
            self.released = threading.Event()
            self.tenants = {"default_tenant"}
            self.databases = {("default_tenant", "default_database"): str(uuid.UUID(int=0))}
            self.by_name, self.by_id = {}, {}
            self.rules = []
            self.pending = 0
            self.in_flight = 0
            self.clear_log()

    def save(self, name):
        with self.lock:
            self.saved[name] = (set(self.tenants), dict(self.databases),
                                [c.copy() for c in self.by_name.values()])

    def load(self, name):
        with self.lock:
            if name not in self.saved:
                raise ValueError("nothing was saved as %r" % (name,))
            rules = self.rules
            self.clear_all()
            self.rules = rules
            tenants, databases, collections = self.saved[name]
            self.tenants, self.databases = set(tenants), dict(databases)
            for c in [c.copy() for c in collections]:
                self.by_name[(c.tenant, c.database, c.name)] = self.by_id[c.id] = c

    def clear_log(self):
        with self.lock:
            self.log, self.violations, self.kinds = [], [], {}
            self.most_in_flight = 0
            self.asked = 0

    def collection_of(self, call):
        name = call.params.get("collection")
        if name and call.kind not in ("collection_get", "collection_delete"):
            c = self.by_id.get(name.lower())
            return c.name if c else None
        if call.kind == "collection_create" and isinstance(call.json, dict):
            return call.json.get("name")
        return name

    def note(self, call, conn):
        """Logs and counts a request, judges it, and picks the rule that acts on it."""
        with self.lock:
            self.asked += 1
            authorized = not self.token or call.headers.get("x-chroma-token") == self.token
            call.log = {
                "n": self.asked, "time": round(time.time(), 6), "conn": conn, "method": call.method,
                "path": call.path, "kind": call.kind, "bytes": len(call.body),
                "headers": {k: v for k, v in call.headers.items()
                            if k not in ("x-chroma-token", "authorization")},
                "authorized": authorized, "ids": call.ids, "paths": call.meta("file_path"),
                "digests": call.meta("sync_digest"), "applied": None, "status": None, "fault": None,
                "end": None}
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
        if self.contract and call.whole:
            self.blame(call, "request", self.contract.judge_request(call))
        return acting.do if acting else {}

    def begin(self, call):
        with self.lock:
            call.in_flight = self.generation
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)

    def finish(self, call):
        with self.lock:
            if call.in_flight == self.generation:
                self.in_flight -= 1
            call.in_flight = None

    def blame(self, call, side, texts):
        for text in texts:
            with self.lock:
                self.violations.append({"n": call.log["n"], "side": side, "text": text})

    def perform(self, call):
        """Does what a request asks for and returns the answer."""
        try:
            if not call.log["authorized"]:
                raise error(401, "Unauthorized", "AuthError")
            if not call.handler:
                if call.kind == "other":
                    raise Answer(404, None, (), not call.read_early)
                raise Answer(405, None, [("allow", call.kind[4:])], not call.read_early)
            if call.json_error:
                raise call.json_error
            out = call.handler(self, call)
            if callable(out):
                with self.lock:
                    out = out()
            call.log["applied"] = True
            return out
        except Answer as a:
            call.log["applied"] = False
            return a

    def perform_later(self, call, ms):
        generation = self.generation

        def late():
            with self.lock:
                if generation == self.generation:
                    self.perform(call)
                    self.pending -= 1
        with self.lock:
            self.pending += 1
        t = threading.Timer(ms / 1000, late)
        t.daemon = True
        t.start()

    def dump(self, documents=False, embeddings=False):
        out = {}
        with self.lock:
            for c in self.by_name.values():
                records = {}
                for i, r in c.records.items():
                    text = r.document
                    records[i] = {
                        "metadata": dict(r.metadata),
                        "document_sha256": None if text is None else
                        hashlib.sha256(text.encode()).hexdigest(),
                        "embedding_length": len(r.embedding) if r.embedding is not None else 0}
                    if documents:
                        records[i]["document"] = text
                    if embeddings:
                        records[i]["embedding"] = r.embedding.tolist()
                out[c.label()] = {"id": c.id, "dimension": c.dimension, "space": c.space,
                                  "records": records}
        return out


# ---------------------------------------------------------------------------------------------
# HTTP


class Gone(Exception):
    """The client closed, or we are to close."""


class Connection:
    def __init__(self, server, sock, number):
        self.server, self.store, self.sock, self.number = server, server.store, sock, number
        self.buffer = bytearray()

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
                if len(out) + n > MAX_BODY:
                    return None
                out += self.take(n)
                self.take(2)
        n = int(headers.get("content-length") or 0)
        if n > MAX_BODY:
            self.take(MAX_BODY)
            return None
        return self.take(n)

    def one(self):
        """Serves one request; whether the connection stays."""
        method, target, version, headers = self.head()
        keep = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
        at_once = len(self.buffer)
        body = self.body(headers)
        if target.startswith("/_mock/"):
            self.send(method, control(self.server, method, target, body or b""))
            return keep
        call = Call(method, target, headers, body or b"")
        # a real one closes where it refuses a request before it has seen all of it
        call.read_early = len(call.body) <= min(at_once, 8192)
        call.whole = body is not None
        store = self.store
        do = store.note(call, self.number)
        store.begin(call)
        try:
            if body is None:
                call.log["applied"] = False
                self.finish(call, Answer(413, "Payload too large"), {})
                self.linger()
                return False
            return self.serve(call, do) and keep
        except Gone:
            call.log["end"] = call.log["end"] or "closed"
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
        if do.get("drop"):
            if "delay_apply_ms" in do:
                store.perform_later(call, do["delay_apply_ms"])
            else:
                call.log["applied"] = False
            self.cut(call, do)
        instead = "status" in do or "refuse_objects" in do or "raw" in do or "hang" in do
        answer = None
        if not instead or do.get("apply"):
            answer = store.perform(call)
        elif instead:
            call.log["applied"] = False
        if do.get("apply_then_drop"):
            self.cut(call, do)
        if do.get("hang"):
            self.hang(call)
        if "answer_delay_ms" in do:
            time.sleep(do["answer_delay_ms"] / 1000)
        if "raw" in do:
            self.sock.sendall(do["raw"].encode())
            call.log["end"] = "raw"
            raise Gone
        if "status" in do or "refuse_objects" in do:
            answer = scripted_answer(do)
        self.finish(call, answer, do, instead)
        if do.get("close_after") or "close_after_ms" in do:
            time.sleep(do.get("close_after_ms", 0) / 1000)
            return False
        return not answer.close

    def cut(self, call, do):
        call.log["end"] = "dropped"
        if do.get("rst"):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Gone

    def hang(self, call):
        call.log["end"] = "hung"
        released = self.store.released
        while not released.is_set():
            if select.select([self.sock], [], [], 0.05)[0]:
                if not self.sock.recv(4096):
                    break
        raise Gone

    def finish(self, call, answer, do, instead=False):
        call.log["status"] = answer.status
        if self.store.contract and not do.get("unlisted"):
            self.store.blame(call, "answer",
                             self.store.contract.judge_answer(call, answer, instead))
        call.log["end"] = "answered"
        if not do.get("slow_bytes"):
            self.store.finish(call)    # before the client can ask what is in flight
        self.send(call.method, answer, do, call.log)

    def send(self, method, answer, do=None, log=None):
        do = do or {}
        if isinstance(answer.body, Raw):
            payload, ctype = answer.body.text.encode(), "application/json"
        else:
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
        elif "content-length" not in names:
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


def scripted_answer(do):
    if "refuse_objects" in do:
        how = do["refuse_objects"] if isinstance(do["refuse_objects"], dict) else {}
        return error(how.get("status", 422), how.get(
            "message", "Failed to deserialize the JSON body into the target type: refused"))
    status = do["status"]
    body = do.get("body")
    if body is None:
        body = "Payload too large" if status == 413 else error(status, "scripted").body
    elif isinstance(body, (list, bool, int, float)):
        body = Raw(json.dumps(body))
    close = any(k.lower() == "connection" and v.lower() == "close"
                for k, v in do.get("headers", {}).items())
    return Answer(status, body, do.get("headers", {}).items(), close or status == 413)


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
                                    "connections": store.connections, "in_flight": store.in_flight,
                                    "most_in_flight": store.most_in_flight,
                                    "pending": store.pending})
        elif what == ("POST", "script"):
            if not isinstance(given, list):
                raise ValueError("a script is a list of rules")
            rules = [Rule(r) for r in given]
            with store.lock:
                store.rules = rules
        elif what == ("GET", "script"):
            return Answer(200, [dict(r.spec, seen=r.seen, hits=r.hits) for r in store.rules])
        elif what == ("POST", "down"):
            server.down(float((given or {}).get("ms", 1000)))
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

    def end(self, *_):
        self.ended = True
        try:
            self.wake_w.send(b"e")
        except OSError:
            pass

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
        with self.lock:
            for c in self.connections:
                try:
                    c.sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        time.sleep(wait)
        self.listen(self.port)


def watch_parent(server):
    parent = os.getppid()
    while os.getppid() == parent and parent != 1:
        time.sleep(0.2)
    if parent != 1:
        server.end()


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("--port", type=int, default=0, help="0: a free one (default)")
    p.add_argument("--port-file", metavar="FILE", help="also write the port there")
    p.add_argument("--contract", nargs="?", const="", metavar="FILE",
                   help="check everything against this OpenAPI description")
    p.add_argument("--token", help="the key that x-chroma-token must carry")
    p.add_argument("--stay", action="store_true", help="do not end when the parent does")
    o = p.parse_args()
    contract = None if o.contract is None else Contract(contract_path(o.contract))
    server = Server(o.port, Store(contract, o.token))
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


if __name__ == "__main__":
    main()
