#!/usr/bin/env python3
"""chroma.py - a scriptable stand-in for a Chroma server (v2 API), for tests.

    chroma.py [--port N] [--port-file FILE] [--contract [FILE]] [--token KEY] [--stay]

Listens on 127.0.0.1 only and prints its port on the first line of standard output.  It ends on
SIGTERM or SIGINT, and when its parent dies (--stay: not then).  With --contract every request and
every answer is checked against the OpenAPI description of the store (openapi.py); without a file it
looks for chroma.openapi.json in $LINESYNC_CONTRACTS, then in ../shared/contracts beside the project, and
without it checks nothing.
--token KEY answers 401 to requests whose x-chroma-token is another.  server.py says how it is steered.

What it answers follows a real server (1.5.9); test_mock.py holds it to that.  Kept: one merging
record per id, storage order, a dimension fixed by the first write, all-or-nothing validation, deletes
that count what was asked for, 413 as plain text.  Not kept: filters on documents, search, forks.

A dump is {NAME: {"id","dimension","space","records": {ID: {"metadata", "document_sha256" (null: no
text), "embedding_length"}}}}; NAME is TENANT/DATABASE/NAME outside the default database.
"""

import array
import base64
import binascii
import copy
import hashlib
import json
import math
import operator
import re
import sys
import time
import uuid

sys.dont_write_bytecode = True
import server  # noqa: E402
from openapi import Contract, Seen  # noqa: E402
from server import Answer, Raw, Routes  # noqa: E402

MAX_BODY = 40 * 1024 * 1024
MAX_SQL_IDS = 32766
MAX_BATCH = 5461
ERROR_CLASS = {400: "InvalidArgumentError", 401: "AuthError", 403: "AuthError",
               404: "NotFoundError", 500: "InternalError"}

SEEN = Seen(
    statuses={400: "stores.md 2.1: bad JSON, names, lengths, dimension, numbers",
              401: "stores.md 2.1: authentication",
              404: "stores.md 2.1: no such route", 405: "stores.md 2.1: wrong method",
              413: "stores.md 2.1: body over 40 MiB, plain text", 415: "stores.md 2.1: content type",
              422: "stores.md 2.1: JSON of another shape", 429: "stores.md 2.1: overload"},
    answers={("collection_create", 409): "stores.md 2.1: exists",
             ("database_create", 409): "stores.md 2.1: exists",
             ("healthcheck", 200): "stores.md 2.1: an object, described as a string",
             ("reset", 403): "a server of 1.5.9: disabled by configuration",
             ("v1", 410): "stores.md 2.1: the old API"},
    null_values={"HashMap": "stores.md 0.5: null removes a key"})


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


class Call(server.Call):
    def __init__(self, method, target, headers, body):
        super().__init__(ROUTES, method, target, headers, body)
        if self.path.startswith("/api/v1/"):
            self.kind, self.handler, self.params = "v1", answer_v1, {}
        self.metadatas = []
        if self.handler and method in ("POST", "PUT", "PATCH") and self.kind != "reset":
            self.read_body()
        self.paths, self.repos, self.digests = map(self.meta, ("file_path", "repository", "sync_digest"))

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
            if self.kind == "get" and self.ids and self.json.get("include") == []:
                self.kind = "count"    # of those, and nothing else of them

    def meta(self, key):
        return [m[key] for m in self.metadatas if key in m]

    def stored(self):
        if self.kind != "upsert" or not isinstance(self.json, dict):
            return []
        return list(zip(self.ids, self.json.get("metadatas") or [], self.documents))


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
ROUTES = Routes([
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
])


# ---------------------------------------------------------------------------------------------


class Store(server.Store):
    call_class = Call
    contract_name = "chroma.openapi.json"
    max_body = MAX_BODY

    def empty(self):
        self.tenants = {"default_tenant"}
        self.databases = {("default_tenant", "default_database"): str(uuid.UUID(int=0))}
        self.by_name, self.by_id = {}, {}

    def copied(self):
        return (set(self.tenants), dict(self.databases), [c.copy() for c in self.by_name.values()])

    def put(self, copied):
        tenants, databases, collections = copied
        self.tenants, self.databases = set(tenants), dict(databases)
        for c in [c.copy() for c in collections]:
            self.by_name[(c.tenant, c.database, c.name)] = self.by_id[c.id] = c

    def collection_of(self, call):
        name = call.params.get("collection")
        if name and call.kind not in ("collection_get", "collection_delete"):
            c = self.by_id.get(name.lower())
            return c.name if c else None
        if call.kind == "collection_create" and isinstance(call.json, dict):
            return call.json.get("name")
        return name

    def authorized(self, call):
        return not self.token or call.headers.get("x-chroma-token") == self.token

    def refusal(self, call):
        if not call.log["authorized"]:
            return error(401, "Unauthorized", "AuthError")
        if call.kind == "other":
            return Answer(404, None, (), not call.read_early)
        if not call.handler:
            return Answer(405, None, [("allow", call.kind[4:])], not call.read_early)
        return None

    def refused(self, status, message):
        return error(status, message or "Failed to deserialize the JSON body into the target type: refused")

    def error_body(self, status):
        return "Payload too large" if status == 413 else error(status, "scripted").body

    def objects(self):
        with self.lock:
            return [(i, r.metadata, r.document, r.embedding)
                    for c in self.by_name.values() for i, r in c.records.items()]

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


def contract(path):
    return Contract(path, SEEN)


if __name__ == "__main__":
    server.main(Store, contract, __doc__)
