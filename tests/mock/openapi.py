"""openapi.py - judges what goes over the wire between a client and a mock store by the store's own
OpenAPI description (3.x, or 2.0): paths, methods, parameters, members, types, enums.

What running servers do beyond their description stands in the mock's SEEN, each with the place where
it is written down.  The schemas are judged by jsonschema (Debian: python3-jsonschema); without it a Contract cannot be had
(ImportError)."""

import json

from server import Raw, template_re

# What proxies, and any server, may answer; a script may ask for it.
SCRIPTED = {200, 201, 301, 302, 307, 308, 401, 403, 408, 425, 500, 502, 503, 504}
METHODS = {"get", "put", "post", "delete", "head", "patch"}


class Seen:
    """What a server was seen to do, and its description leaves out or gets wrong.  The values are the
    places where that is written down.

    statuses     {status: place} of any request
    answers      {(kind, status): place}; the body is not judged.  {(kind, status, ""): place}: no body
    members      {(kind, status, path of the member): place}; a member that may have any value
    nulls        {(kind, status, path of the member): place}; one that may be null
    shapes       {frozenset of the members of an object: place}; an answer of any status but 2xx
    null_values  {name of a definition: place}; the values of this map may be null in a request"""

    def __init__(self, statuses, answers, members=(), nulls=(), shapes=(), null_values=()):
        self.statuses, self.answers, self.shapes = statuses, answers, shapes
        self.null_values = null_values
        self.paths = {}    # (kind, status): [(path, whether only a null is allowed)]
        for listed, null in ((members, False), (nulls, True)):
            for kind, status, path in listed:
                self.paths.setdefault((kind, status), []).append((path.split("/"), null))


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
    """Judges requests and answers by a description.

    It is read with these corrections: oneOf counts as anyOf (1 is both an integer and a number, [] both
    kinds of vectors), and an object whose members are described has no others."""

    def __init__(self, path, seen):
        import jsonschema
        self.validator = jsonschema.Draft202012Validator
        with open(path, encoding="utf-8") as f:
            self.doc = json.load(f)
        self.seen = seen
        self.base = self.doc.get("basePath", "")
        self.operations = []
        for template, methods in self.doc["paths"].items():
            for method in METHODS & set(methods):
                self.operations.append((method.upper(), template_re(self.base + template),
                                        self.prepare(methods[method])))
        # fixed parts before parameters: /collections/by-id/X is not a collection named by-id
        self.operations.sort(key=lambda o: o[1].pattern.count("(?P"))

    # ---- reading the description ----

    def prepare(self, op):
        parameters = [self.resolved(p) for p in op.get("parameters", ())]
        body, required = self.body_of(op, parameters)
        request = self.inlined(body, True) if body else None
        return {"request": request and self.validator(request),
                "body_required": required,
                "query": {p["name"]: p for p in parameters if p["in"] == "query"},
                "responses": {int(status): self.answer_of(r) for status, r in op["responses"].items()
                              if status.isdigit()}}

    @staticmethod
    def body_of(op, parameters):
        """The schema of a request's body, and whether there must be one."""
        for p in parameters:
            if p["in"] == "body":
                return p["schema"], p.get("required", False)
        body = op.get("requestBody", {})
        return body.get("content", {}).get("application/json", {}).get("schema"), True

    def answer_of(self, response):
        """What judges an answer's body; None: it is not described."""
        schema = response.get("schema")
        for content in response.get("content", {}).values():
            schema = schema or content["schema"]
        return self.validator(self.inlined(schema, False)) if schema else None

    def resolved(self, part):
        """What a $ref points to."""
        at = part
        while "$ref" in at:
            path = at["$ref"].split("/")[1:]
            at = self.doc
            for name in path:
                at = at[name]
        return at

    def inlined(self, schema, request, above=()):
        """A schema without references, closed to members that it does not name."""
        if isinstance(schema, list):
            return [self.inlined(s, request, above) for s in schema]
        if not isinstance(schema, dict):
            return schema
        ref = schema.get("$ref")
        if ref:
            if ref in above:
                return {}
            out = self.inlined(self.resolved(schema), request, above + (ref,))
            if request and ref.rsplit("/", 1)[1] in self.seen.null_values:
                out["additionalProperties"]["anyOf"].append({"type": "null"})
            return out
        out = {}
        for k, v in schema.items():
            if k in ("properties", "patternProperties"):
                out[k] = {name: self.inlined(s, request, above) for name, s in v.items()}
            elif k not in ("example", "format", "description", "default", "x-omitempty", "x-nullable"):
                out["anyOf" if k == "oneOf" else k] = self.inlined(v, request, above)
        if schema.get("x-nullable") and "type" in out:
            out["type"] = [out["type"], "null"]
        return closed(out)

    def find(self, method, path):
        for m, pattern, op in self.operations:
            if m == method and pattern.match(path):
                return op
        return self.find("GET", path) if method == "HEAD" else None

    # ---- judging ----

    def judge_request(self, call):
        """Yields what is wrong with a request."""
        op = self.find(call.method, call.path)
        if not op:
            yield "not described: %s %s" % (call.method, call.path)
            return
        yield from judge_query(call.query, op["query"])
        if not op["request"]:
            if call.body:
                yield "a body where none is described"
            return
        if not call.body and not op["body_required"]:
            return
        if "content-type" not in call.headers:
            yield "no Content-Type"
        if call.json_error or not isinstance(call.json, (dict, list)):
            yield "the body is no JSON object"
            return
        for e in op["request"].iter_errors(reduced(call.json)):
            yield "%s: %s" % ("/".join(map(str, e.absolute_path)), e.message[:300])

    def judge_answer(self, call, answer, scripted):
        """Yields what is wrong with an answer of ours."""
        status = answer.status
        op = self.find(call.method, call.path)
        if not op and not scripted:
            return    # the request is to blame
        responses = op["responses"] if op else {}
        known = (status in responses or status in self.seen.statuses
                 or (call.kind, status) in self.seen.answers or scripted and status in SCRIPTED)
        if not known:
            yield "a status that is not described: %d to %s" % (status, call.kind)
        if scripted or (call.kind, status) in self.seen.answers or status not in responses:
            return
        yield from self.judge_body(call.kind, status, responses[status], answer.body)

    def judge_body(self, kind, status, schema, body):
        if body is None:
            if schema and status < 300 and (kind, status, "") not in self.seen.answers:
                yield "%d to %s: no body" % (status, kind)
            return
        if isinstance(body, Raw):
            body = json.loads(body.text)
        if status >= 300 and isinstance(body, dict) and frozenset(body) in self.seen.shapes:
            return
        if schema is None:
            yield "%d to %s: a body where none is described" % (status, kind)
            return
        body = self.without_seen(kind, status, body)
        for e in schema.iter_errors(reduced(body)):
            yield "%d to %s: %s: %s" % (status, kind, "/".join(map(str, e.absolute_path)),
                                        e.message[:300])

    def without_seen(self, kind, status, body):
        """body without the members that were seen to be otherwise than described."""
        for path, null in self.seen.paths.get((kind, status), ()):
            body = without(body, path, null)
        return body


def without(value, path, null):
    """value without the member at this path, if it is null or need not be; "*": in each element of a
    list."""
    if path[0] == "*" and isinstance(value, list):
        return [without(v, path[1:], null) for v in value]
    if not isinstance(value, dict) or path[0] not in value:
        return value
    out = dict(value)
    if len(path) > 1:
        out[path[0]] = without(out[path[0]], path[1:], null)
    elif not null or out[path[0]] is None:
        del out[path[0]]
    return out


def judge_query(query, described):
    for name, values in query.items():
        if name not in described:
            yield "unknown query parameter " + name
        elif described[name].get("type") == "integer" and not values[0].lstrip("-").isdigit():
            yield "query parameter %s is no integer: %s" % (name, values[0])
    for name, p in described.items():
        if p.get("required") and name not in query:
            yield "no query parameter " + name


def closed(schema):
    """An object's schema without members beside those that it names; its allOf parts become one."""
    parts = schema.pop("allOf", None)
    if parts:
        whole = {"type": "object", "properties": {}, "required": []}
        for part in [*parts, schema]:
            whole["properties"].update(part.get("properties", {}))
            whole["required"] += part.get("required", [])
        schema = whole
    if "properties" in schema:
        schema.setdefault("additionalProperties", False)
    return schema
