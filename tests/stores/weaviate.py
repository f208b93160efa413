#!/usr/bin/env python3
"""weaviate.py [-v] - a git repository in a real Weaviate server, and the fixtures, read by Weaviate's
own client: see realstore.py.  Where either cannot be installed this is skipped."""

import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import realstore  # noqa: E402
from harness import as_line  # noqa: E402
from realstore import object_id, same, test  # noqa: E402

PROPERTIES = {
    "file_path", "file_name", "repository", "content", "language", "extension", "mime_type", "size_bytes",
    "line_count", "content_hash", "truncated", "chunk_index", "chunk_count", "start_line", "end_line",
    "charset", "synced_at", "metadata", "sync_digest"}


def schema(p):
    made = p.store.schema("Code")
    properties = {x["name"]: x for x in made["properties"]}
    same(set(properties), PROPERTIES, "schema: its properties are those that are described")
    same([n for n, x in properties.items() if "auto-schema" in x.get("description", "")], [],
         "schema: the server has guessed none of them")
    same(made["vectorizer"], "none", "schema: vectors are given")
    same([properties[n].get("tokenization") for n in ("file_path", "repository")], ["field"] * 2,
         "schema: paths and repositories are compared whole")
    same([properties["metadata"].get(k) for k in ("indexFilterable", "indexSearchable")], [False] * 2,
         "schema: metadata is only kept")


def names(p):
    line = as_line({"path": "a.txt", "content": "text\n", "metadata": {"kind": "note"}}) + b"\n"
    ended = p.sync(line, "--collection", "lower")
    same((ended.rc, sorted(p.store.records("Lower"))), (0, [object_id("Lower", "app", "a.txt")]),
         "a name is raised as the server raises it, also in ids")
    test("Lower" in ended.err, "and that is said", ended.err)
    same([r[1]["metadata"] for r in p.store.records("Lower").values()], ['{"kind":"note"}'],
         "metadata is stored as one text")
    ended = p.sync(line, "--collection", "my-code")
    same((ended.rc in (64, 78), ended.results), (True, []), "a name that the server refuses stops it")
    would_do = re.search("'([A-Z][A-Za-z0-9_]*)' would do", ended.err)
    test(would_do, "and says which would do", ended.err)
    if would_do:
        same((p.sync(line, "--collection", would_do[1]).rc, len(p.store.records(would_do[1]))), (0, 1),
             "which it does")


def made_by_auto_schema(p):
    """A class that the server has guessed from an object."""
    realstore.call("POST", p.store.url + "/v1/objects", {
        "class": "Guessed", "id": object_id("Guessed", "else", "x"),
        "properties": {"file_path": "x", "repository": "else", "content": "x"}, "vector": [1.0] * 4})
    before = p.store.records("Guessed")
    ended = p.sync(p.git("ls-files"), "--collection", "Guessed")
    same((ended.rc, ended.results, p.store.records("Guessed")), (78, [], before),
         "a class that auto-schema made is refused")
    test("Guessed" in ended.err, "and named", ended.err)


if __name__ == "__main__":
    sys.exit(realstore.main(realstore.Weaviate, realstore.fixtures, realstore.chunks, schema, names,
                            made_by_auto_schema, alone=True))
