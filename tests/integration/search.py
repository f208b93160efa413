#!/usr/bin/env python3
"""search.py [-v] [NAME...] - linesync search: what it finds and prints, on a pipe and on a terminal, what it
asks the store, that it changes nothing, and how it exits.  NAMEs: only these."""

import json
import math
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import (World, Steered, chroma, delete, on_terminal, program, put, report,  # noqa: E402
                     run_tests)

same, test = report.same, report.test
FIELDS = ["repo", "path", "start_line", "end_line", "distance", "id", "text"]
HOSTILE = "x\x1b[2J\r\n\t\x07\x9b\x7f'\"\\ $(id)"    # what a terminal would act on
DOCUMENTS = [put("src/reader.c", "int read_line(FILE *f)\n{\n\treturn getc(f);\n}\n"),
             put("src/writer.c", "int write_page(FILE *f, const char *page)\n{\n\treturn fputs(page, f);\n}\n"),
             put("doc/menu.txt", "soup\nsalad\nfish\nbread\n", "Kitchen")]


# ---- running it ----


def search(w, *args, **env):
    """(exit status, the objects printed, standard error)"""
    full = {k: v for k, v in {**w.env, **env}.items() if v is not None}
    done = subprocess.run([program(), "search", *args], env=full, cwd=w.dir, stdin=subprocess.DEVNULL,
                          capture_output=True, check=False, timeout=600)
    return done.returncode, [json.loads(x) for x in done.stdout.splitlines()], done.stderr.decode()


def paths(w, *args):
    return [h["path"] for h in search(w, *args)[1]]


def search_on_terminal(w, *args):
    """What it shows on a terminal."""
    return on_terminal(w, "search", *args).replace(b"\r\n", b"\n")


def requests(w):
    """Watches what the store is asked from now on: a list of (kind, JSON body)."""
    seen = []
    w.store.on_request = lambda _n, call: seen.append((call.kind, call.json))
    return seen


def collection(w):
    [c] = w.store.by_name.values()
    return c


def foreign(w, ident, vector, text, **metadata):
    """Puts an object of somebody else's into the collection."""
    r = chroma.Record()
    r.merge(text, metadata, chroma.array.array("f", vector), None)
    with w.store.lock:
        collection(w).records[ident] = r


def cosine_distance(a, b):
    return 1 - sum(x * y for x, y in zip(a, b)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


# ---- what is found ----


def nearest(w):
    w.sync(DOCUMENTS + [put("question", "read a line")], "--embed", "hash:512")
    objects = w.objects()
    asked = objects["R", "question"]["vector"]
    w.sync([delete("question")], "--embed", "hash:512")
    rc, hits, err = search(w, "read a line")
    same((rc, len(hits), err), (0, 3, ""), "found: 0, and nothing on standard error")
    same([list(h) for h in hits], [FIELDS] * 3, "each object has its fields, in this order")
    by_distance = sorted((cosine_distance(asked, o["vector"]), path) for (_, path), o in objects.items()
                         if path != "question")
    same([h["path"] for h in hits], [p for _, p in by_distance], "nearest first")
    test(all(abs(h["distance"] - d) < 1e-5 for h, (d, _) in zip(hits, by_distance)),
         "the distance is the cosine's, of the text embedded as a document is", hits, by_distance)
    first = hits[0]
    same({k: v for k, v in first.items() if k != "distance"},
         {"repo": "R", "path": "src/reader.c", "start_line": 1, "end_line": 4,
          "id": objects["R", "src/reader.c"]["id"], "text": "int read_line(FILE *f)\n{\n\treturn getc(f);"},
         "where it is, and its first three lines")
    test(search(w, "soup salad fish bread")[1][0]["distance"] < 0.2, "the words of a text are near it")


def words(w):
    w.sync(DOCUMENTS)
    seen = requests(w)
    one = search(w, "fputs page")
    several = search(w, "fputs", "page")
    same((several, len(seen)), (one, 4), "several words are one text")
    same(seen[1], seen[3], "and one question")
    same(search(w, "--", "-n")[0], 0, "after -- a word may begin with -")
    same(seen[5][1]["n_results"], 10, "and is no option")


def asked_as_embedded(w):
    w.sync(DOCUMENTS, "--embed", "hash:24")
    seen = requests(w)
    search(w, "page", LINESYNC_EMBED="hash:8")
    [(look, _), (query, body)] = seen
    same((look, query), ("collection_get", "query"), "two requests, neither of which makes anything")
    same((len(body["query_embeddings"]), len(body["query_embeddings"][0])), (1, 24),
         "the state's embedder, whatever the settings say")
    same(("where" in body, body["include"]), (False, ["documents", "metadatas", "distances"]), "no filter")


def how_many(w):
    w.sync([put("f%d" % n, "word number %d\n" % n) for n in range(12)])
    same([len(paths(w, *a, "word")) for a in ((), ("-n", "1"), ("--limit", "12"), ("-n", "1000"))],
         [10, 1, 12, 12], "10, or as many as -n says")
    same(paths(w, "-n", "3", "word number 7"), paths(w, "word number 7")[:3], "the nearest ones")
    for n in ("0", "1001", "x", "-1"):
        same(search(w, "-n", n, "word")[0], 64, "-n %s is refused" % n)


def one_repository(w):
    w.sync(DOCUMENTS + [put("no.txt", "soup", ""), put("x", "soup", "Kitch\"en\\")])
    same({h["repo"] for h in search(w, "soup")[1]}, {"R", "Kitchen", "", "Kitch\"en\\"}, "of all repositories")
    for repo in ("R", "Kitchen", "", "Kitch\"en\\"):
        rc, hits, _ = search(w, "--repo", repo, "soup")
        same((rc, {h["repo"] for h in hits}), (0, {repo}), "of %r alone" % repo)
    same({h["repo"] for h in search(w, "soup", LINESYNC_REPO="Kitchen")[1]}, {"Kitchen"}, "by the environment")
    w.sync([put("n%d" % n, "soup", "Near") for n in range(3)] + [put("far", "nothing like it", "Far")])
    same(paths(w, "--repo", "Far", "-n", "1", "soup"), ["far"], "though others have nearer ones")
    rc, hits, err = search(w, "--repo", "kitchen", "soup")
    same((rc, hits), (1, []), "one that is not known: nothing is found")
    test("no repository 'kitchen'" in err, "and that is said", err)
    w.sync([delete("doc/menu.txt", "Kitchen")])
    same(search(w, "--repo", "Kitchen", "soup"), (1, [], ""), "one that has no documents any more")


def wide_filter(w):
    """A store whose filter matches more than it should."""
    w.sync([put("a", "soup"), put("a", "soup", "R ")])
    ids = [w.objects()[r, "a"]["id"] for r in ("R ", "R")]
    metas = [{"repository": r, "file_path": "a", "chunk_index": 0, "start_line": 1, "end_line": 1}
             for r in ("R ", "R")]
    w.script({"match": {"kind": "query"}, "do": {"status": 200, "body": {
        "ids": [ids], "documents": [["soup"] * 2], "metadatas": [metas], "distances": [[0, 0]], "include": []}}})
    same([(h["repo"], h["path"]) for h in search(w, "--repo", "R", "soup")[1]], [("R", "a")],
         "what is of another repository is left out")


def others(w):
    w.sync([put("a", "ours\n")], "--embed", "hash:8")
    vector = w.objects()["R", "a"]["vector"]
    foreign(w, "0e984725-c51c-4bf4-9960-e1c80e27aba0", vector, "theirs", repository="R", file_path="b",
            chunk_index=0, start_line=3, end_line=4)
    foreign(w, "an id that is much longer than any of linesync's", vector, None, kind="note")
    rc, hits, _ = search(w, "ours")
    same((rc, len(hits)), (0, 3), "what others have stored is found too")
    hits = {h["text"]: h for h in hits}
    empty = dict.fromkeys(("repo", "path", "start_line", "end_line"))
    same({k: hits["theirs"][k] for k in empty}, empty, "without names, though it has properties of such names")
    same(hits["theirs"]["id"], "0e984725-c51c-4bf4-9960-e1c80e27aba0", "with its id and text")
    same((hits[None]["id"], hits[None]["path"]), (None, None), "unless the id is none of linesync's form")
    same(paths(w, "--repo", "R", "ours"), ["a"], "none of them is of a repository")
    shown = search_on_terminal(w, "ours").decode()
    same(len(re.findall(r"^0\.0000  .*  \(not linesync's\)$", shown, re.M)), 2, "a terminal shows it so")


def texts(w):
    long = "\u00e9" * 300
    mug = "x" + "\U0001f375" * 200
    w.sync([put("long", long), put("mug", mug), put("lines", "1\n2\n3\n4\n"), put("three", "1\n2\n3\n"),
            put("one", "1"), put("blank", "\n\n\nx"), put("hostile", HOSTILE)])
    got = {h["path"]: h["text"] for h in search(w, "1 2 3")[1]}
    same((got["lines"], got["three"], got["one"], got["blank"]), ("1\n2\n3", "1\n2\n3", "1", "\n\n"),
         "three lines, without the last newline")
    same((got["long"], got["mug"]), (long[:200], mug[:100]), "at most 400 bytes, whole characters")
    same(got["hostile"], HOSTILE, "other bytes as they are")


def terminal(w):
    w.sync([put("a" + HOSTILE, "a\tb\r\n\x1b]0;title\x07\n" + "\u0085\u00e9\n", "R" + HOSTILE),
            put("src/reader.c", DOCUMENTS[0]["content"])])
    shown = search_on_terminal(w, "read line")
    same(re.findall(rb"[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]", shown), [], "nothing that a terminal acts on")
    text = shown.decode()
    test(re.search(r"^\d\.\d{4}  src/reader\.c:1-4  R\n    int read_line\(FILE \*f\)\n    \{\n"
                   r"        return getc\(f\);\n", text, re.M), "distance, path, lines, repository, text", text)
    test("\n    a    b\n    \\x1b]0;title\\x07\n    \\xc2\\x85\u00e9\n" in text, "the text, escaped", text)


# ---- what it leaves alone, and how it exits ----


def changes_nothing(w):
    w.sync(DOCUMENTS)
    with open(w.state, "rb") as f:
        state = f.read()
    files, store = sorted(os.listdir(w.dir)), w.store.dump(True, True)
    search(w, "soup")
    search(w, "--repo", "R", "soup")
    with open(w.state, "rb") as f:
        same(f.read() == state, True, "the state is as it was")
    same((sorted(os.listdir(w.dir)), w.store.dump(True, True) == store), (files, True), "and files, and store")


def while_a_sync_runs(w):
    s = Steered(w)
    s.feed(*DOCUMENTS)
    s.wait_results(3)
    same(paths(w, "-n", "1", "soup salad fish"), ["doc/menu.txt"], "a sync at work does not hinder it")
    same(s.end().rc, 0, "nor is it hindered")


def nothing_found(w):
    w.sync([put("a", "A")])
    w.sync([delete("a")])
    same(search(w, "soup"), (1, [], ""), "nothing is there: 1, in silence")


def usage(w):
    w.sync(DOCUMENTS)
    seen = requests(w)
    for args in ((), ("",), (" \n", "\t")):
        rc, hits, err = search(w, *args)
        same((rc, hits), (64, []), "no text: 64")
        test("takes a text" in err, "and that is said", err)
    same(search(w, b"caf\xe9")[0], 64, "not UTF-8")
    same(search(w, "--force", "soup")[0], 64, "an option of others")
    same(seen, [], "nothing was asked")


def without_state(w):
    rc, _, err = search(w, "soup")
    same(rc, 66, "without a state: 66")
    test("there is no state" in err and w.state in err, "it is named", err)
    seen = requests(w)
    rc, _, err = search(w, "soup", LINESYNC_STATE=None, LINESYNC_STATE_DIR=w.dir, LINESYNC_STORE=None)
    same((rc, seen, os.path.exists(w.state)), (66, [], False), "nor with a folder of none")


def only_state(w):
    """Where neither store nor collection is named, the only state says both."""
    w.sync(DOCUMENTS)
    bare = dict(LINESYNC_STORE=None, LINESYNC_COLLECTION=None)
    same(search(w, "soup salad", **bare)[:2], search(w, "soup salad")[:2], "the state says where")
    rc, _, err = search(w, "soup", LINESYNC_COLLECTION="Other")
    same(rc, 78, "another collection than the state's")
    test("belongs to collection 'Code'" in err, "is named", err)


def forgotten(w):
    w.sync(DOCUMENTS)
    w.ask("forget", "--all")
    rc, hits, err = search(w, "soup")
    same((rc, hits), (78, []), "everything forgotten: how it was embedded is not known")
    test("embedded" in err and "next sync" in err, "and that is said", err)


def other_collection(w):
    w.sync(DOCUMENTS)
    with w.store.lock:
        collection(w).id = "2e586de9-54d1-4727-82e4-a13df1138a64"
        w.store.by_id = {collection(w).id: collection(w)}
    rc, hits, err = search(w, "soup")
    same((rc, hits), (78, []), "a collection of the same name that is another one")
    test("another one" in err, "is refused", err)
    with w.store.lock:
        w.store.by_name.clear()
    rc, hits, err = search(w, "soup")
    same((rc, hits, len(w.store.by_name)), (78, [], 0), "one that is gone is not made")


def trouble(w):
    w.sync(DOCUMENTS)
    for kind in ("collection_get", "query"):
        for status, want in ((401, 77), (403, 77), (500, 75), (503, 75), (429, 75), (404, 78), (302, 78)):
            w.script({"match": {"kind": kind}, "do": {"status": status}})
            seen = requests(w)
            rc, hits, err = search(w, "soup")
            same((rc, hits, [k for k, _ in seen].count(kind)), (want, [], 1),
                 "%s answered by %d: asked once, and %d" % (kind, status, want))
            test(err.startswith("linesync: error: cannot "), "and that is said", err)
    w.script({"match": {"kind": "query"}, "do": {"status": 200, "body": {"ids": [["x"]]}}})
    same(search(w, "soup")[:2], (75, []), "an answer that is none")
    w.script()
    w.stop_store()
    same(search(w, "soup")[:2], (75, []), "nobody is there")


TESTS = [nearest, words, asked_as_embedded, how_many, one_repository, wide_filter, others, texts, terminal,
         changes_nothing, while_a_sync_runs, nothing_found, usage, without_state, only_state, forgotten,
         other_collection, trouble]


if __name__ == "__main__":
    sys.exit(run_tests(TESTS))
