#!/usr/bin/env python3
"""test_weaviate.py - does the mock store answer as a Weaviate does, does it keep apart what is stored,
what filters match and what search finds, and is every request and answer held to the description?

The same requests go to the mock and, where $WEAVIATE_URL names a real server (1.39.0, without keys and
with text2vec-openai), to that; statuses and whole answers are compared after what differs by nature
(times, names of shards) is taken out.  Output is TAP.
"""

import http.client
import json
import os
import re
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import test_mock  # noqa: E402
from test_mock import Mock, Server, check, contract_file, report, wait_until  # noqa: E402

TAG = "Mock%d" % os.getpid()
LOST = {"RemoteDisconnected", "ConnectionResetError", "ConnectionRefusedError", "BadStatusLine"}


def ident(n):
    return "00000000-0000-4000-8000-%012x" % n


def obj(n, vector=(1, 0, 0), path=None, **more):
    out = {"class": "$N", "id": ident(n), "properties": {"file_path": path or "f%d" % n, "repository": "R",
                                                         "content": "text %d" % n}}
    if vector is not None:
        out["vector"] = list(vector)
    return {**out, **more}


def batch(*objects):
    return {"objects": list(objects)}


def ids_where(*ids, **more):
    return {"match": {"class": "$N", "where": {"path": ["id"], "operator": "ContainsAny",
                                               "valueTextArray": [ident(i) for i in ids]}}, **more}


def where(**clause):
    return {"match": {"class": "$N", "where": clause}}


def gql(text):
    return {"query": text}


def near(vector, *ids, limit=100):
    """The index check: which of these ids search finds."""
    return gql("{Get{$N(nearVector:{vector:%s}where:{path:[\"id\"],operator:ContainsAny,valueText:%s}"
               "limit:%d){_additional{id distance}}}}"
               % (json.dumps(list(vector)), json.dumps([ident(i) for i in ids]), limit))


PROPERTIES = [{"name": "file_path", "dataType": ["text"], "tokenization": "field"},
              {"name": "repository", "dataType": ["text"], "tokenization": "field"},
              {"name": "content", "dataType": ["text"]},
              {"name": "line_count", "dataType": ["int"]}, {"name": "truncated", "dataType": ["boolean"]},
              {"name": "metadata", "dataType": ["text"], "indexFilterable": False,
               "indexSearchable": False}]
CLASS = {"class": "$N", "vectorizer": "none", "vectorIndexConfig": {"distance": "cosine"},
         "properties": PROPERTIES}

# name, method, path below /v1 ($N: the class), body, status, a text of the answer
SCRIPT = [
    ("ready", "GET", "/.well-known/ready", None, 200, ""),
    ("live", "GET", "/.well-known/live", None, 200, ""),
    ("live with a query", "GET", "/.well-known/live?x=1", None, 501, "WellknownLiveness"),
    ("no such path", "GET", "/nope", None, 404, "was not found"),
    ("wrong method", "PATCH", "/schema", None, 405, "not allowed"),
    ("wrong method on a batch", "PUT", "/batch/objects", {}, 405, "not allowed"),
    ("no class", "GET", "/schema/$N", None, 404, ""),
    ("delete no class", "DELETE", "/schema/$N", None, 200, ""),
    ("bad name", "POST", "/schema", {"class": "Bad-name"}, 422, "not a valid class name"),
    ("no name", "POST", "/schema", {}, 422, "not a valid class name"),
    ("unknown vectoriser", "POST", "/schema", {"class": "$Nx", "vectorizer": "nope"}, 422, "no module"),
    ("reserved property", "POST", "/schema", {"class": "$Nx", "properties": [
        {"name": "id", "dataType": ["text"]}]}, 422, "reserved property"),
    ("unknown type", "POST", "/schema", {"class": "$Nx", "properties": [
        {"name": "a", "dataType": ["zzz"]}]}, 422, "invalid dataType"),
    ("bad property", "POST", "/schema", {"class": "$Nx", "properties": [
        {"name": "a b", "dataType": ["text"]}]}, 422, "not a valid property name"),
    ("bad tokenization", "POST", "/schema", {"class": "$Nx", "properties": [
        {"name": "a", "dataType": ["text"], "tokenization": "zz"}]}, 422, "\"code\":606"),
    ("property twice", "POST", "/schema", {"class": "$Nx", "properties": [
        {"name": "a", "dataType": ["text"]}, {"name": "A", "dataType": ["text"]}]}, 422, "conflict"),
    ("none of them was made", "GET", "/schema/$Nx", None, 404, ""),
    ("create", "POST", "/schema", CLASS, 200, "\"vectorizer\":\"none\""),
    ("create again", "POST", "/schema", CLASS, 422, "already exists"),
    ("create with a small letter", "POST", "/schema", {"class": "$n"}, 422, "already exists"),
    ("class", "GET", "/schema/$N", None, 200, "\"tokenization\":\"field\""),
    ("class with a small letter", "GET", "/schema/$n", None, 200, "\"class\":\"$N\""),
    ("names are raised and lowered", "POST", "/schema", {"class": "$nlow", "properties": [
        {"name": "Code", "dataType": ["text"]}, {"name": "old", "dataType": ["string"]}]}, 200,
     "\"class\":\"$Nlow\""),
    ("delete it", "DELETE", "/schema/$nlow", None, 200, ""),
    ("half created", "POST", "/schema", {"class": "$Nbd", "vectorIndexConfig": {"distance": "zzz"}}, 422,
     "unrecognized distance"),
    ("but there", "GET", "/schema/$Nbd", None, 200, ""),
    ("stores nothing", "POST", "/batch/objects", batch(obj(1, **{"class": "$Nbd"})), 200,
     "non-existing index"),
    ("nor nothing", "POST", "/batch/objects", batch({"class": "$Nbd", "id": ident(1), "vector": [1]}), 200,
     "could not find index"),
    ("delete that", "DELETE", "/schema/$Nbd", None, 200, ""),
    ("a property", "POST", "/schema/$N/properties", {"name": "x1", "dataType": ["text"]}, 200, "word"),
    ("a property again", "POST", "/schema/$N/properties", {"name": "x1", "dataType": ["text"]}, 422,
     "conflict"),
    ("a property of no class", "POST", "/schema/$Nx/properties", {"name": "x1", "dataType": ["text"]}, 422,
     "not found"),
    ("shards", "GET", "/schema/$N/shards", None, 200, "READY"),
    ("no shards", "GET", "/schema/$Nx/shards", None, 404, "non-existing"),

    ("count 0", "POST", "/graphql", gql("{Aggregate{$N{meta{count}}}}"), 200, "{\"count\":0}"),
    ("search in nothing", "POST", "/graphql", near((1, 0, 0), 1), 200, "[]"),
    ("no object", "GET", "/objects/$N/" + ident(1), None, 404, ""),
    ("no object, HEAD", "HEAD", "/objects/$N/" + ident(1), None, 404, ""),
    ("no object, DELETE", "DELETE", "/objects/$N/" + ident(1), None, 204, ""),
    ("no object, PUT", "PUT", "/objects/$N/" + ident(1), obj(1), 404, ""),
    ("bad id", "GET", "/objects/$N/zzz", None, 422, "\"code\":601"),
    ("bad id, DELETE", "DELETE", "/objects/$N/zzz", None, 422, "\"code\":601"),
    ("delete in no class", "DELETE", "/objects/$Nx/" + ident(1), None, 500, "non-existing index"),
    ("get in no class", "GET", "/objects/$Nx/" + ident(1), None, 404, ""),

    ("a batch", "POST", "/batch/objects",
     batch(obj(1, (1, 0.1, 0)), obj(2, (0, 1, 0), "b ", vectorWeights={}), obj(3, None),
           obj(4, (0, 0, 1), properties={"line_count": "x"})), 200, "requires an integer"),
    ("an empty batch", "POST", "/batch/objects", batch(), 422, "cannot be empty"),
    ("no objects", "POST", "/batch/objects", {}, 422, "cannot be empty"),
    ("no body", "POST", "/batch/objects", "", 422, "\"code\":602"),
    ("a list", "POST", "/batch/objects", [1], 400, "\"code\":400"),
    ("a cut body", "POST", "/batch/objects", "{\"objects\":", 400, "\"code\":400"),
    ("a control character", "POST", "/batch/objects", b"{\"objects\":[{\"class\":\"a\nb\"}]}", 400,
     "\"code\":400"),
    ("text in a vector", "POST", "/batch/objects", batch(obj(5, ("x",))), 400, "float32"),
    ("too big for float32", "POST", "/batch/objects", batch(obj(5, (1e39, 0, 0))), 400, "float32"),
    ("NaN", "POST", "/batch/objects", batch(obj(5, (float("nan"), 0, 0))), 400, "\"code\":400"),
    ("a number as id", "POST", "/batch/objects", batch(obj(5, id=5)), 400, "\"code\":400"),
    ("no uuid", "POST", "/batch/objects", batch(obj(5), obj(6, id="zz")), 422, "body.objects.1.id"),
    ("null", "POST", "/batch/objects", batch(obj(5), None), 200, ""),
    ("no class of an object", "POST", "/batch/objects", batch(obj(5), obj(6, **{"class": ""})), 200, ""),
    ("bad consistency level", "POST", "/batch/objects?consistency_level=BAD", batch(obj(5)), 400,
     "unrecognized consistency level"),
    ("nothing of that is there", "POST", "/graphql", gql("{Aggregate{$N{meta{count}}}}"), 200,
     "{\"count\":3}"),
    ("wrong values", "POST", "/batch/objects",
     batch(*(obj(10 + i, properties=p) for i, p in enumerate((
         {"line_count": 3.5}, {"truncated": "x"}, {"file_path": 5}, "x", {"line_count": 2 ** 63})))),
     200, "could not recognize"),
    ("wrong length", "POST", "/batch/objects", batch(obj(5, (1, 0))), 200, "Validate vector index for"),
    ("the last copy counts", "POST", "/batch/objects",
     batch(obj(7, (0, 1, 0), "first"), obj(7, (0, 0, 1), "last")), 200, ""),
    ("even where it failed", "POST", "/batch/objects", batch(obj(8), obj(8, (1, 0))), 200, "Validate"),
    ("then nothing is stored", "GET", "/objects/$N/" + ident(8), None, 404, ""),
    ("odd values", "POST", "/batch/objects", batch(obj(
        9, (0.1, 1e-50, None), properties={"line_count": 2 ** 53 + 1, "content": "a\0b", "x1": None},
        zzz=1)), 200, "9007199254740992"),
    ("a lone surrogate", "POST", "/batch/objects",
     "{\"objects\":[{\"class\":\"$N\",\"id\":\"%s\",\"properties\":{\"content\":\"\\ud800\"}}]} x"
     % ident(20), 200, "SUCCESS"),
    ("bad UTF-8", "POST", "/batch/objects",
     b"{\"objects\":[{\"class\":\"$N\",\"id\":\"%s\",\"properties\":{\"content\":\"\xff\"}}]}"
     % ident(21).encode(), 200, "SUCCESS"),
    ("an id in other letters", "POST", "/batch/objects", batch(obj(0xab, id=ident(0xab).upper())), 200,
     ident(0xab).upper()),
    ("names the same object", "GET", "/objects/$n/" + ident(0xab), None, 200, ident(0xab)),
    ("a new property", "POST", "/batch/objects", batch(obj(22, properties={"newp": True})), 200, "SUCCESS"),

    ("object", "GET", "/objects/$N/%s?include=vector" % ident(9), None, 200, "9007199254740992"),
    ("object without vector", "GET", "/objects/$N/" + ident(1), None, 200, "\"file_path\":\"f1\""),
    ("object, HEAD", "HEAD", "/objects/$N/" + ident(1), None, 204, ""),
    ("PUT", "PUT", "/objects/$N/" + ident(1), obj(1, (1, 0.1, 0), "put"), 200, "\"put\""),
    ("POST of a known one", "POST", "/objects", obj(1), 422, "already exists"),
    ("POST", "POST", "/objects", obj(23), 200, ident(23)),
    ("list", "GET", "/objects?class=$N&limit=4&after=", None, 200, ident(1)),
    ("list, further", "GET", "/objects?class=$N&limit=4&after=" + ident(3), None, 200, ident(7)),
    ("list, end", "GET", "/objects?class=$N&limit=4&after=" + ident(0xff), None, 200, "\"objects\":[]"),
    ("list with vectors", "GET", "/objects?class=$N&limit=2&include=vector", None, 200, "\"vector\""),
    ("list of 0", "GET", "/objects?class=$N&limit=0", None, 200, "\"objects\":[]"),
    ("list of too many", "GET", "/objects?class=$N&limit=20000", None, 422, "QUERY_MAXIMUM_RESULTS"),
    ("list, bad after", "GET", "/objects?class=$N&limit=2&after=zz", None, 422, "not a valid uuid"),
    ("list of no class", "GET", "/objects?class=$Nx&limit=2", None, 404, ""),

    ("index check", "POST", "/graphql", near((1, 0, 0), 1, 2, 3, 99), 200, ident(2)),
    ("search", "POST", "/graphql", gql("{Get{$N(nearVector:{vector:[1,0.1,0]}limit:1){file_path line_count "
                                       "_additional{id certainty distance}}}}"), 200, "put"),
    ("search in a repository", "POST", "/graphql",
     gql("{Get{$N(nearVector:{vector:[1,0.1,0]} where:{path:[\"repository\"] operator:Equal valueText:\"R\"} "
         "limit:1){p:file_path}}}"), 200, "put"),
    ("search with a wrong length", "POST", "/graphql", near((1, 0), 1), 200, "vector lengths don't match"),
    ("search without a vectoriser", "POST", "/graphql",
     gql("{Get{$N(nearText:{concepts:[\"x\"]}){file_path}}}"), 200, "Unknown argument"),
    ("find by id", "POST", "/graphql", gql(
        "{Get{$N(where:{path:[\"id\"],operator:ContainsAny,valueText:[\"%s\",\"%s\"]}){file_path truncated "
        "_additional{id vector distance}}}}" % (ident(1), ident(99))), 200, "put"),
    ("field trims", "POST", "/graphql", gql("{Get{$N(where:{path:[\"file_path\"],operator:Equal,valueText:"
                                            "\"b\"}){file_path}}}"), 200, "\"b \""),
    ("words", "POST", "/graphql", gql("{Get{$N(where:{path:[\"content\"],operator:Equal,valueText:"
                                      "\"TEXT 2\"}){content}}}"), 200, "text 2"),
    ("two conditions", "POST", "/graphql", gql(
        "{Get{$N(where:{operator:And operands:[{path:[\"file_path\"],operator:Equal,valueText:\"put\"}"
        "{path:[\"repository\"],operator:Equal,valueText:\"R\"}]}){file_path}}}"), 200, "put"),
    ("no values", "POST", "/graphql", near((1, 0, 0)), 200, "no value<Type> field set"),
    ("find by an unknown property", "POST", "/graphql", gql(
        "{Get{$N(where:{path:[\"nope\"],operator:Equal,valueText:\"b\"}){file_path}}}"), 200,
     "no such prop"),
    ("a page", "POST", "/graphql", gql("{Get{$N(after:\"%s\" limit:2){_additional{id}}}}" % ident(1)), 200,
     ident(2)),
    ("two at once", "POST", "/graphql", gql("query q{Get{a:$N(limit:1){file_path} b:$N(limit:1 offset:1)"
                                            "{file_path}} Aggregate{$N{meta{count}}}}"), 200, "\"b \""),
    ("limit 0", "POST", "/graphql", gql("{Get{$N(limit:0){file_path}}}"), 200, "invalid default limit"),
    ("unknown property", "POST", "/graphql", gql("{Get{$N(limit:1){nope}}}"), 200, "Cannot query field"),
    ("unknown additional", "POST", "/graphql", gql("{Get{$N{_additional{nope}}}}"), 200,
     "Cannot query field"),
    ("unknown class", "POST", "/graphql", gql("{Get{Zzzzzzzz{nope}}}"), 200, "Cannot query field"),
    ("a class with a small letter", "POST", "/graphql", gql("{Get{$n{file_path}}}"), 200,
     "Cannot query field"),
    ("unknown argument", "POST", "/graphql", gql("{Get{$N(nope:1){file_path}}}"), 200, "Unknown argument"),
    ("no selection", "POST", "/graphql", gql("{Get{$N(limit:1)}}"), 200, "must have a sub selection"),
    ("cut query", "POST", "/graphql", gql("{Get{$N(limit:"), 200, "Syntax Error"),
    ("count in no class", "POST", "/graphql", gql("{Aggregate{Zzzzzzzz{meta{count}}}}"), 200,
     "Cannot query field"),
    ("no query", "POST", "/graphql", {"query": ""}, 422, "cannot be empty"),
    ("a number as query", "POST", "/graphql", {"query": 5}, 400, "\"code\":400"),

    ("delete unknown ids", "DELETE", "/batch/objects", ids_where(99, 98), 200, "\"matches\":0"),
    ("delete", "DELETE", "/batch/objects", ids_where(2, 2, 99, output="verbose"), 200, "\"successful\":1"),
    ("delete for show", "DELETE", "/batch/objects", ids_where(3, dryRun=True), 200, "\"successful\":0"),
    ("delete with other letters", "DELETE", "/batch/objects",
     where(path=["id"], operator="ContainsAny", valueTextArray=[ident(0xab), ident(7).replace("-", ""), "zz"]),
     200, "\"matches\":0"),
    ("the letters that were stored", "DELETE", "/batch/objects",
     where(path=["id"], operator="ContainsAny", valueTextArray=[ident(0xab).upper()]), 200,
     "\"matches\":1"),
    ("delete no ids", "DELETE", "/batch/objects", ids_where(), 422, "no value<Type> field set"),
    ("delete text for a list", "DELETE", "/batch/objects",
     where(path=["id"], operator="ContainsAny", valueText=ident(1)), 500, "should be []string"),
    ("delete where nothing", "DELETE", "/batch/objects", {"match": {"class": "$N"}}, 422, "empty match.where"),
    ("delete with a bad operator", "DELETE", "/batch/objects",
     where(path=["id"], operator="Bad", valueTextArray=[ident(1)]), 422, "\"code\":606"),
    ("delete by an unknown property", "DELETE", "/batch/objects",
     where(path=["nope"], operator="Equal", valueText="x"), 422, "no such prop"),
    ("delete in no class", "DELETE", "/batch/objects",
     {"match": {"class": "$Nx", "where": {"path": ["id"], "operator": "Equal", "valueText": ident(1)}}},
     422, "failed to get class"),
    ("delete by path", "DELETE", "/batch/objects", where(path=["file_path"], operator="Equal",
                                                         valueText="f7"), 200, "\"matches\":0"),
    ("single delete", "DELETE", "/objects/$N/" + ident(3), None, 204, ""),
    ("all that is left", "GET", "/objects?class=$N&limit=100&after=", None, 200, ident(1)),

    ("read-only", "PUT", "/schema/$N/shards/$S", {"status": "READONLY"}, 200, "READONLY"),
    ("an unknown status", "PUT", "/schema/$N/shards/$S", {"status": "ZZ"}, 500, "invalid storage status"),
    ("the trap: one says so", "POST", "/batch/objects", batch(
        obj(30, properties={"line_count": "x"}), obj(31), obj(32)), 200, "manually set by user"),
    ("nothing is stored", "GET", "/objects/$N/" + ident(32), None, 404, ""),
    ("read-only delete", "DELETE", "/batch/objects", ids_where(1, 7), 200, "\"failed\":1"),
    ("read-only delete of nothing", "DELETE", "/batch/objects", ids_where(99), 200, "\"failed\":1"),
    ("read-only single delete", "DELETE", "/objects/$N/" + ident(1), None, 500, "read-only"),
    ("read-only PUT", "PUT", "/objects/$N/" + ident(1), obj(1), 500, "read-only"),
    ("ready again", "PUT", "/schema/$N/shards/$S", {"status": "READY"}, 200, "READY"),

    ("a class with a vectoriser", "POST", "/schema", {
        "class": "$Nvec", "vectorizer": "text2vec-openai",
        "moduleConfig": {"text2vec-openai": {"baseURL": "http://127.0.0.1:9", "model": "m"}},
        "properties": [{"name": "content", "dataType": ["text"]}]}, 200, "text2vec-openai"),
    ("its objects may have vectors", "POST", "/batch/objects",
     batch(obj(1, **{"class": "$Nvec", "properties": {"content": "x"}})), 200, "SUCCESS"),
    ("search by text needs a key", "POST", "/graphql",
     gql("{Get{$Nvec(nearText:{concepts:[\"x\"]}){content}}}"), 200, "no api key found"),
    ("delete its class", "DELETE", "/schema/$Nvec", None, 200, ""),
    ("a first batch of two lengths", "POST", "/batch/objects",
     batch(obj(1, (1, 0, 0), **{"class": "$Nauto"}), obj(2, (1, 0), **{"class": "$Nauto"})), 200,
     "vector lengths don't match"),
    ("the loser is stored as well", "GET", "/objects/$Nauto/%s?include=vector" % ident(2), None, 200,
     "\"vector\":[1,0]"),
    ("made by auto-schema", "GET", "/schema/$Nauto", None, 200, "auto-schema"),
    ("delete that class", "DELETE", "/schema/$Nauto", None, 200, ""),
    ("delete the class", "DELETE", "/schema/$N", None, 200, ""),
]
UNLIKE = {"a first batch of two lengths", "the loser is stored as well"}    # a race on a real one


def filled(value, shard=""):
    if isinstance(value, bytes):
        return filled(value.decode("latin-1"), shard).encode("latin-1")
    if isinstance(value, str):
        for mark, text in (("$N", TAG), ("$n", TAG[0].lower() + TAG[1:]), ("$S", shard)):
            value = value.replace(mark, text)
        return value
    if isinstance(value, dict):
        return {filled(k, shard): filled(v, shard) for k, v in value.items()}
    return [filled(v, shard) for v in value] if isinstance(value, (list, tuple)) else value


def plain(text):
    """An answer without what differs from server to server and from time to time."""
    text = re.sub(r'("(?:creation|lastUpdate)TimeUnix":)"?\d+"?', r"\1T", text)
    text = re.sub(r"because .*", "because W", text)
    text = re.sub(r' Did you mean .*?\?",', '",', text)
    text = re.sub(r"Unexpected EOF.*?\",", 'Unexpected EOF",', text)
    text = re.sub(r'feature on [^"]*"', 'feature on D"', text)
    text = re.sub(r'(shard[ =\\"]*)[A-Za-z0-9_]+(_)?', r"\1S", text)
    text = re.sub(r'("(?:distance|certainty)":\d\.\d{4})\d+', r"\1", text)
    text = re.sub(r'"name":"[A-Za-z0-9]{12}","status"', '"name":"S","status"', text)
    try:
        value = json.loads(re.sub(r":T([,}])", r':"T"\1', text))
    except ValueError:
        return text
    if isinstance(value, dict) and "auto-schema" in str(value.get("description")):
        value["properties"].sort(key=lambda p: p["name"])
    return json.dumps(value, sort_keys=True)


def converse(mock, real):
    shards = {}
    for name, method, path, body, status, text in SCRIPT:
        answers = []
        for who in (mock, real) if real else (mock,):
            if "$S" in path and who not in shards:
                shards[who] = json.loads(who.ask("GET", filled("/v1/schema/$N/shards"))[2])[0]["name"]
            answers.append(who.ask(method, "/v1" + filled(path, shards.get(who, "")),
                                   body if body is None else filled(body)))
        got, _, data = answers[0]
        report((got, filled(text) in data.decode()) == (status, True), "mock: " + name,
               "%d %s" % (got, data.decode()))
        if real and name not in UNLIKE:
            mine, others = ((a[0], a[1].get("content-type"), plain(a[2].decode())) for a in answers)
            check(mine, others, "as a real one: " + name)


# ---- what is stored, what filters match, what search finds ----


class Client:
    def __init__(self, mock):
        self.mock = mock

    def ask(self, method, path, body=None, headers=None, timeout=10):
        if headers is not None:
            headers = {"Content-Type": "application/json", **headers}
        return self.mock.ask(method, "/v1" + filled(path), body if body is None else filled(body), headers,
                             timeout=timeout)

    def fresh(self, **more):
        self.mock.control("POST", "reset")
        self.ask("POST", "/schema", {**CLASS, **more})

    def upsert(self, *objects, **how):
        """The verdicts: SUCCESS or the message of each, or how the request ended."""
        try:
            status, _, data = self.ask("POST", "/batch/objects", batch(*objects), **how)
        except (OSError, http.client.HTTPException) as e:
            return "lost" if type(e).__name__ in LOST else type(e).__name__
        if status != 200 or not data:
            return status
        return [r["result"]["errors"]["error"][0]["message"] if r["result"]["status"] == "FAILED"
                else "SUCCESS" for r in json.loads(data)]

    def delete(self, *ids):
        r = json.loads(self.ask("DELETE", "/batch/objects", ids_where(*ids))[2])["results"]
        return r["matches"], r["successful"], r["failed"]

    def single(self, n):
        return self.ask("DELETE", "/objects/$N/" + ident(n))[0]

    def found(self, *ids, vector=(1, 0, 0)):
        """Which of these ids search finds."""
        data = json.loads(self.ask("POST", "/graphql", near(vector, *ids))[2])
        return sorted(int(o["_additional"]["id"][-12:], 16) for o in data["data"]["Get"][TAG])

    def filtered(self, *ids):
        return json.loads(self.ask("DELETE", "/batch/objects", ids_where(*ids, dryRun=True))[2])[
            "results"]["matches"]

    def count(self):
        return json.loads(self.ask("POST", "/graphql", gql("{Aggregate{$N{meta{count}}}}"))[2])[
            "data"]["Aggregate"][TAG][0]["meta"]["count"]

    def seen(self, *ids):
        """(stored by GET, in the list, counted, matched by a filter, found by search)."""
        got = [n for n in ids if self.ask("GET", "/objects/$N/" + ident(n))[0] == 200]
        listed = json.loads(self.ask("GET", "/objects?class=$N&limit=100&after=")[2])["objects"]
        return len(got), len(listed), self.count(), self.filtered(*ids), len(self.found(*ids))

    def killed(self):
        before = self.restarts()
        self.mock.control("POST", "kill", {"ms": 20})
        self.back(before)

    def restarts(self):
        try:
            return self.mock.control("GET", "stats")["restarts"]
        except (OSError, http.client.HTTPException):
            return None

    def back(self, before):
        """Waits until it was down once more and answers again."""
        report(wait_until(lambda: self.restarts() == before + 1), "killed and back")
        self.mock.drop()


def unindexed(c):
    """B1: a repeat does not heal what an interrupted batch left."""
    four = [obj(n, (1, n, 0)) for n in range(4)]
    c.fresh()
    c.mock.script({"match": {"kind": "upsert"}, "times": 1,
                   "do": {"apply_then_drop": True, "partly": {"indexed": 1}}})
    check((c.upsert(*four), c.seen(0, 1, 2, 3)), ("lost", (4, 4, 4, 4, 1)), "stored, and one is indexed")
    check((c.upsert(*four), c.found(0, 1, 2, 3)), (["SUCCESS"] * 4, [0]), "a repeat: SUCCESS, found 1")
    check((c.ask("PUT", "/objects/$N/" + ident(1), four[1])[0], c.found(0, 1)), (200, [0]),
          "PUT does not heal it")
    check((c.upsert(obj(1, (1, 1, 0), "another")), c.found(0, 1)), (["SUCCESS"], [0]),
          "nor do other properties")
    check((c.upsert(obj(1, None)), c.upsert(four[1]), c.found(0, 1)), (["SUCCESS"], ["SUCCESS"], [0, 1]),
          "without a vector and then with it: found")
    check((c.upsert(obj(2, (1, 2.001, 0))), c.found(2)), (["SUCCESS"], [2]), "another vector: found")
    check((c.single(3), c.upsert(four[3]), c.found(3)), (204, ["SUCCESS"], [3]),
          "a delete and then the upsert: found")
    c.fresh()
    c.mock.script({"match": {"kind": "upsert"}, "times": 1,
                   "do": {"apply_then_drop": True, "partly": {"stored": 3, "filtered": 2, "indexed": 1}}})
    check((c.upsert(*four), c.seen(0, 1, 2, 3)), ("lost", (3, 3, 3, 2, 1)), "stored 3, filter 2, index 1")
    check((c.delete(0, 1, 2, 3), c.seen(0, 1, 2, 3)), ((2, 2, 0), (1, 1, 1, 0, 0)),
          "a batch delete leaves what its filter does not match")
    check((c.upsert(four[2]), c.seen(2)), (["SUCCESS"], (1, 1, 1, 0, 0)), "a repeat does not heal that")
    check((c.single(2), c.upsert(four[2]), c.seen(2)), (204, ["SUCCESS"], (1, 1, 1, 1, 1)),
          "a single delete and then the upsert does")
    c.fresh()
    c.mock.script({"match": {"kind": "upsert"}, "times": 1, "do": {"partly": {
        "indexed": 1, "message": "insert to vector index: not enough memory"}}})
    check((c.upsert(*four[:2]), c.seen(0, 1)),
          (["SUCCESS", "insert to vector index: not enough memory"], (2, 2, 2, 2, 1)),
          "FAILED, and stored all the same")


def late(c):
    """A batch that is still under way when its objects are deleted and sent again."""
    c.fresh()
    c.mock.script({"match": {"kind": "upsert"}, "times": 1,
                   "do": {"drop": True, "delay_apply_ms": 300, "partly": {"indexed": 0}}})
    one = obj(1)
    check((c.upsert(one), c.single(1), c.seen(1)), ("lost", 204, (0, 0, 0, 0, 0)), "deleted too early")
    c.mock.control("GET", "dump?settle=1")
    check((c.upsert(one), c.seen(1)), (["SUCCESS"], (1, 1, 1, 1, 0)), "then the upsert does not heal it")


def lost_tail(c):
    """B3: what a kill takes from acknowledged batches."""
    c.fresh()
    check((c.upsert(obj(1), obj(2)), c.upsert(obj(3))), (["SUCCESS"] * 2, ["SUCCESS"]), "two batches")
    c.killed()
    check((c.found(1, 2, 3), c.seen(3)), ([1, 2], (1, 3, 3, 1, 0)), "the last one is lost from the index")
    check((c.upsert(obj(3)), c.found(3)), (["SUCCESS"], []), "a repeat does not heal it")
    check((c.single(3), c.upsert(obj(3)), c.delete(99), c.killed(), c.found(3)),
          (204, ["SUCCESS"], (0, 0, 0), None, [3]), "a batch delete of an unknown id after it keeps it")
    check((c.upsert(obj(4)), c.single(99), c.ask("PUT", "/objects/$N/" + ident(1), obj(1))[0], c.killed(),
           c.found(4)), (["SUCCESS"], 204, 200, None, []), "a single DELETE or PUT does not")
    c.mock.script({"match": {"kind": "delete"}, "do": {"apply_then_drop": True}})
    c.upsert(obj(5))
    try:
        c.delete(99)
    except (OSError, http.client.HTTPException):
        pass
    c.mock.script()
    c.killed()
    check(c.found(5), [], "nor does a write that was not answered")
    c.fresh()
    c.mock.script({"match": {"kind": "upsert", "id": ident(6)}, "do": {"kill": {"ms": 20}, "partly": {
        "stored": 2, "filtered": 1, "indexed": 0}}})
    c.upsert(obj(5))
    before = c.restarts()
    check(c.upsert(obj(6), obj(7), obj(8)), "lost", "killed in a batch")
    c.back(before)
    check((c.seen(5), c.seen(6, 7, 8)), ((1, 3, 3, 1, 0), (2, 3, 3, 1, 0)),
          "stored and filtered as was said, and the batch before it lost")


def overlapping(mock):
    """A write that was sent before the answer does not make it last."""
    c, other = Client(mock), Client(Server("http://127.0.0.1:%d" % mock.port))
    c.fresh()
    mock.script({"match": {"kind": "upsert", "id": ident(1)}, "times": 1, "do": {"answer_delay_ms": 200}},
                {"match": {"kind": "delete"}, "times": 1, "do": {"delay_ms": 600}})
    import threading
    early = threading.Thread(target=lambda: other.delete(99))
    first = threading.Thread(target=lambda: c.upsert(obj(1)))
    first.start()
    early.start()
    first.join()
    early.join()
    c.killed()
    check(c.found(1), [], "one that was sent before does not keep it")


def verdicts(c):
    c.fresh()
    c.mock.script({"match": {"kind": "upsert", "path": "f2"}, "do": {"fail_objects": {"message": "M"}}})
    check((c.upsert(obj(1), obj(2), obj(3)), c.seen(1, 2, 3)),
          (["SUCCESS", "M", "SUCCESS"], (2, 2, 2, 2, 2)), "one FAILED, and not stored")
    c.mock.script({"match": {"kind": "upsert"}, "do": {"fail_objects": {"message": "M", "stored": True}}})
    check((c.upsert(obj(4)), c.seen(4)), (["M"], (1, 3, 3, 1, 0)), "FAILED, and stored")
    c.mock.script({"match": {"kind": "upsert"}, "do": {"read_only": "resource pressure"}})
    check((c.upsert(obj(5), obj(6)), c.seen(5, 6)),
          (["store is read-only due to: resource pressure", "SUCCESS"], (0, 3, 3, 0, 0)),
          "read-only: one says so")
    c.mock.script({"match": {"kind": "delete", "id": ident(1)}, "do": {"fail_objects": {"message": "M"}}})
    check((c.delete(1, 3), c.seen(1, 3)), ((2, 1, 1), (1, 2, 2, 1, 1)), "a delete that fails for one")
    for say, status, text in (("io-timeout", 400, "i/o timeout"), ("quota", 429, "USAGE_LIMIT_EXCEEDED"),
                              ("no-memory", 500, "not enough memory"), ("panic", 200, "")):
        c.mock.script({"match": {"kind": "upsert"}, "do": {"say": say}})
        got, _, data = c.ask("POST", "/batch/objects", batch(obj(9)))
        check((got, text in data.decode(), bool(data)), (status, True, bool(text)), say)
    c.mock.script({"match": {"kind": "upsert"}, "do": {"status": 503}})
    check(c.upsert(obj(9)), 503, "503")
    c.mock.script({"match": {"kind": "upsert"}, "do": {"hang": True, "apply": True}})
    check((c.upsert(obj(9), timeout=0.2), wait_until(lambda: c.seen(9)[0] == 1)), ("TimeoutError", True),
          "done, and never answered")
    c.mock.script()
    check([len(json.loads(c.ask("GET", "/objects?class=$N&limit=2&after=" + a)[2])["objects"])
           for a in ("", ident(4))], [2, 1], "pages")


def vectorisers(c):
    config = {"vectorizer": "text2vec-openai", "properties": [{"name": "content", "dataType": ["text"]}]}
    key = {"X-OpenAI-Api-Key": "k"}
    c.fresh(**config)
    one, two = (obj(n, None, properties={"content": "text %d" % n}) for n in (1, 2))
    check("no api key found" in c.upsert(one)[0], True, "a provider wants its key")
    check((c.upsert(one, two, headers=key), len(c.found(1, 2, vector=[1] * 8))), (["SUCCESS"] * 2, 2),
          "the provider makes the vectors")
    check("api-key" in json.dumps(c.mock.control("GET", "log")), False, "the log does not show the key")
    status, _, data = c.ask("POST", "/graphql", gql(
        "{Get{$N(nearText:{concepts:[\"text 2\"]}limit:1){content}}}"), key)
    check((status, "text 2" in data.decode()), (200, True), "and finds by them")
    c.mock.script({"match": {"kind": "upsert", "content": "text 2"}, "do": {"fail_objects": {
        "message": "connection to: OpenAI API failed with status: 429 error: rate limit"}}})
    check((c.upsert(obj(3, None, properties={"content": "text 2b"}),
                    obj(4, None, properties={"content": "y"}), headers=key), c.count()),
          (["connection to: OpenAI API failed with status: 429 error: rate limit", "SUCCESS"], 3),
          "a failure of the provider keeps nothing")
    c.mock.script({"match": {"kind": "upsert"}, "do": {"no_vector": True}})
    status, _, data = c.ask("POST", "/batch/objects", batch(obj(5, None, properties={"content": "z"})), key)
    check((json.loads(data)[0]["result"]["status"], "vector" in json.loads(data)[0]), ("SUCCESS", False),
          "an empty vector of the provider is stored as none")
    c.mock.script()
    check((c.upsert(obj(6, [0.5] * 8, properties={"content": "kept"})),
           c.upsert(obj(6, None, properties={"content": "kept"}), headers=key),
           json.loads(c.ask("GET", "/objects/$N/%s?include=vector" % ident(6))[2])["vector"]),
          (["SUCCESS"], ["SUCCESS"], [0.5] * 8), "a text that stays the same keeps its vector")
    c.mock.control("POST", "reset")


def authentication():
    m = Mock("--token", "secret", program="weaviate.py")
    try:
        got = [m.ask("GET", "/v1" + path, None, {"Authorization": key} if key else {})[0]
               for path, key in (("/.well-known/ready", None), ("/meta", None), ("/meta", "Bearer secret"),
                                 ("/meta", "bearer secret"), ("/meta", "Bearer x"))]
        check(got, [200, 401, 200, 401, 401], "a key")
        check("secret" in json.dumps(m.control("GET", "log")), False, "the log does not show it")
    finally:
        check(m.end(), 0, "TERM ends it")


def contract(c):
    """What breaks the description is noted, on either side."""
    def noted(side):
        return [v["text"] for v in c.mock.control("GET", "violations") if v["side"] == side]

    c.fresh()
    c.mock.control("POST", "clear")
    good = [c.ask("POST", "/batch/objects?consistency_level=QUORUM", batch(obj(1)))[0],
            c.ask("GET", "/objects?class=$N&limit=5&after=")[0], c.ask("POST", "/graphql", near((1, 0, 0), 1))[0],
            c.ask("DELETE", "/batch/objects", ids_where(1, output="minimal"))[0],
            c.ask("GET", "/objects/$N/" + ident(1))[0], c.ask("DELETE", "/objects/$N/" + ident(1))[0]]
    check((good, c.mock.control("GET", "violations")), ([200, 200, 200, 200, 404, 204], []),
          "good requests are not noted")
    for name, ask, text in (
            ("a member that is not described", ("POST", "/batch/objects", batch(obj(1, zzz=1))), "zzz"),
            ("an id that is a number", ("POST", "/batch/objects", batch(obj(1, id=1))), "not of type"),
            ("a vector of texts", ("POST", "/batch/objects", batch(obj(1, ["1"]))), "not of type 'number'"),
            ("an unknown operator", ("DELETE", "/batch/objects", where(operator="Is")), "is not one of"),
            ("an unknown parameter", ("GET", "/objects?class=$N&first=1"), "first"),
            ("a parameter that is no number", ("GET", "/objects?class=$N&limit=x"), "limit"),
            ("a path that is not described", ("GET", "/object/$N"), "not described"),
            ("a method that is not described", ("PATCH", "/schema"), "not described"),
            ("a body where none belongs", ("GET", "/meta", {}), "a body"),
            ("a class with a wrong member", ("POST", "/schema", {"class": "$Nb", "vectoriser": "none"}),
             "vectoriser")):
        c.mock.control("POST", "clear")
        c.ask(*ask)
        check(any(text in t for t in noted("request")), True, "noted: " + name)
    c.mock.control("POST", "clear")
    check((c.ask("POST", "/graphql", gql("{Get{$N(bm25:{query:\"x\"}){content}}}"))[0], len(noted("mock"))),
          (501, 1), "what the mock does not know it refuses, and says so")
    check(c.ask("POST", "/graphql", gql("query($x:Int){Get{$N(limit:$x){content}}}"))[0], 501,
          "variables too")


def wrong_answers(path):
    """Answers of a mock that is broken on purpose."""
    import weaviate
    described = weaviate.contract(path)

    def judged(method, target, body, status):
        call = weaviate.Call(method, "/v1" + target, {}, b"")
        return list(described.judge_answer(call, weaviate.Answer(status, body), False))

    good = {"class": "C", "id": ident(1), "properties": {}, "deprecations": None,
            "result": {"status": "SUCCESS"}}
    check(judged("POST", "/batch/objects", [good], 200), [], "a good answer")
    for name, args in (
            ("a status that is none", ("POST", "/batch/objects",
                                       [dict(good, result={"status": "OK"})], 200)),
            ("a member too many", ("POST", "/batch/objects", [dict(good, verdict=1)], 200)),
            ("an object for a list", ("POST", "/batch/objects", good, 200)),
            ("an id of another type", ("GET", "/objects/C/" + ident(1), dict(id=5), 200)),
            ("a status code that is not described", ("GET", "/schema/C", None, 418)),
            ("another shape of errors", ("DELETE", "/batch/objects", {"error": "x"}, 422)),
            ("no body", ("GET", "/meta", None, 200)),
            ("a body where none belongs", ("DELETE", "/objects/C/" + ident(1), {"x": 1}, 204))):
        check(bool(judged(*args)), True, "a wrong answer is noted: " + name)


def main():
    real = Server(os.environ["WEAVIATE_URL"]) if os.environ.get("WEAVIATE_URL") else None
    described = contract_file("weaviate.openapi.json")
    mock = Mock(*(["--contract", described] if described else []), program="weaviate.py")
    c = Client(mock)
    try:
        converse(mock, real)
        for test in (unindexed, late, lost_tail, verdicts, vectorisers):
            test(c)
        overlapping(mock)
        if described:
            check([v for v in mock.control("GET", "violations") if v["side"] != "request"], [],
                  "no answer breaks the contract")
            contract(c)
            wrong_answers(described)
        else:
            report(True, "the contract # SKIP the store's description or jsonschema is not there")
        authentication()
    finally:
        mock.end()
    if not real:
        print("# not compared with a real server: WEAVIATE_URL is not set")
    print("1..%d" % test_mock.count)
    return 1 if test_mock.failed else 0


if __name__ == "__main__":
    sys.exit(main())
