#!/usr/bin/env python3
"""chunks.py [-v] [NAME...] - documents of several objects: what is stored of them, that nothing stale of
them stays, whatever is cut short, and that they end as one.  NAMEs: only these."""

import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import World, delete, put, record, report, run_tests  # noqa: E402

same, test = report.same, report.test
BY_TWO = ["--chunk-lines", "2"]


def text(n, word="line"):
    """n lines, no two alike."""
    return "".join("%s %d\n" % (word, i + 1) for i in range(n))


def by_two(whole):
    lines = whole.splitlines(keepends=True)
    return ["".join(lines[i:i + 2]) for i in range(0, len(lines), 2)]


def records_of(w, path, repo="R"):
    """The objects of a document as the store holds them, by their number."""
    with w.store.lock:
        found = [r for c in w.store.by_name.values() for r in c.records.values()
                 if r.metadata["file_path"] == path and r.metadata["repository"] == repo]
    return sorted(found, key=lambda r: r.metadata["chunk_index"])


def texts(w, path):
    return [r.document for r in records_of(w, path)]


def holds(w, path, whole, name):
    """The store holds exactly the chunks of this text."""
    w.settle()
    found = records_of(w, path)
    want = by_two(whole) if whole is not None else []
    same([(r.metadata["chunk_index"], r.metadata["chunk_count"], r.document) for r in found],
         [(i, len(want), t) for i, t in enumerate(want)], name)
    same(len({r.metadata["sync_digest"] for r in found}), 1 if want else 0, "with one digest")


def world():
    w = World()
    w.options += BY_TWO
    return w


def what_is_stored(w):
    w.options += BY_TWO
    ended = w.sync([put("long", text(5)), put("short", text(2)), record("P0")])
    same((ended.rc, ended.statuses(3), w.position("R")), (0, ["completed"] * 3, "P0"), "stored")
    same((ended.of(1)["objects"], ended.of(2)["objects"]), (3, 1), "results say how many objects")
    holds(w, "long", text(5), "each chunk is an object")
    found = records_of(w, "long")
    same([(r.metadata["start_line"], r.metadata["end_line"]) for r in found], [(1, 2), (3, 4), (5, 5)],
         "with its lines")
    same({(r.metadata["line_count"], r.metadata["size_bytes"], r.metadata["content_hash"]) for r in found},
         {(5, len(text(5)), found[0].metadata["content_hash"])}, "and what the whole document is")
    test(len({tuple(r.embedding) for r in found}) == 3, "and a vector of its own")
    w.store.clear_log()
    ended = w.sync([put("long", text(5)), put("short", text(2))])
    same((ended.rc, ended.statuses(2), w.writes()), (0, ["skipped:unchanged"] * 2, []),
         "the same again sends nothing")
    rc, out = w.ask("export", "--documents")
    test(rc == 0 and '"path":"long","stored":true,"objects":3' in out, "export says how many", out)


def grows_and_shrinks(w):
    w.options += BY_TWO
    w.sync([put("a", text(3))])
    for n, why in ((9, "grown"), (4, "shrunk"), (1, "shrunk to one"), (7, "grown again")):
        ended = w.sync([put("a", text(n, why.replace(" ", "-")))])
        same((ended.rc, ended.status(1)), (0, "completed"), why)
        holds(w, "a", text(n, why.replace(" ", "-")), "nothing else of it stays")
    ended = w.sync([put("a", text(6)), put("a", text(2))], "--batch-size", "2")
    same(ended.rc, 0, "twice in one input")
    holds(w, "a", text(2), "the last line wins")


def goes_away(w):
    w.options += BY_TWO
    w.sync([put("a", text(7)), put("b", text(5)), put("c", text(5)), put("d", text(6))])
    ended = w.sync([delete("a"), {"repo": "R", "op": "rename", "old_path": "b", "path": "b2",
                                  "content": text(5)},
                    put("c", ""), put("d", "bin\0ary")])
    same((ended.rc, ended.statuses(4)), (0, ["completed", "completed", "skipped:empty", "skipped:not-text"]),
         "deleted, renamed, emptied, not text any more")
    for path in "abcd":
        holds(w, path, None, "all chunks of %s are gone" % path)
    holds(w, "b2", text(5), "and stand under the new name")


def another_chunking(w):
    w.sync([put("a", text(6)), put("b", text(6))], *BY_TWO)
    ended = w.sync([put("a", text(6)), put("b", text(6))])
    same(ended.statuses(2), ["skipped:unchanged"] * 2, "not named: the state's chunking")
    ended = w.sync([put("a", text(6))], "--chunk-lines", "4")
    same((ended.rc, ended.status(1), texts(w, "a")), (0, "completed", [text(6)[:28], text(6)[28:]]),
         "another one: what is named is sent again, and nothing stale of it stays")
    holds(w, "b", text(6), "what is not named stays as it was")
    ended = w.sync([put("b", text(6))])
    same((ended.status(1), len(texts(w, "b"))), ("completed", 2), "the state keeps the newer one")
    ended = w.sync([put("a", text(6))], "--chunk-lines", "0")
    same((ended.rc, texts(w, "a")), (0, [text(6)]), "0 is off")


def own_vector(w):
    w.options += BY_TWO
    ended = w.sync([dict(put("a", text(6)), vector=[1] * 8)])
    same((ended.rc, texts(w, "a")), (0, [text(6)]), "a document that brings its vector is one object")


def fails_as_one(w):
    w.options += BY_TWO
    w.sync([put("a", text(6, "old")), record("P0")])
    w.script({"match": {"content": "bad 3"}, "do": {"refuse_objects": True}})
    ended = w.sync([put("a", text(6, "bad")), put("b", text(4)), record("P1")])
    same((ended.rc, ended.verdicts()), (1, {1: "failed:store-rejected", 2: "completed", 3: "held"}),
         "one chunk is refused: the line fails, others do not")
    same(w.touched("R") >= {"a"}, True, "its document is in doubt: some chunks are stored")
    w.script()
    ended = w.sync([put("c", text(2))])
    same((ended.rc, w.position("R")), (0, "P1"), "tried again: the changeset goes on")
    holds(w, "a", text(6, "bad"), "all of it is there")


def killed(w):
    """Killed at each write of a document that grows, of one that shrinks, with the same input or a newer
    one after it, also across forget --all: nothing stale, nothing missing."""
    first = [put("a", text(9, "a1")), put("b", text(1, "b1")), put("c", text(4, "c1")), record("P0")]
    then = [put("a", text(3, "a2")), put("b", text(8, "b2")), put("c", text(4, "c2")), record("P1")]
    newer = [put("a", text(5, "a3")), put("b", text(2, "b3")), put("c", text(1, "c3")), record("P2")]
    for at in ("kill_request", "kill_applied"):
        for n in range(1, 7):
            for after, name in ((then, "same"), (newer, "newer"), (None, "forget")):
                v = world()
                try:
                    v.sync(first)
                    v.store.clear_log()
                    ended = v.sync(then, "--batch-size", "3", **{at: n})
                    v.hung_up()
                    if ended.rc == 0:
                        continue        # there are not so many writes
                    if after is None:
                        v.ask("forget", "--all")
                    ended = v.sync(after or newer)
                    v.settle()
                    bad = [p for p, t in (("a", 0), ("b", 1), ("c", 2))
                           if texts(v, p) != by_two((after or newer)[t]["content"])]
                    test(ended.rc == 0 and not bad and v.position("R") == (after or newer)[3]["new_changeset"]["commit"],
                         "%s %d, then %s" % (at, n, name), ended.rc, ended.err, bad)
                finally:
                    v.close()


def read_back(w):
    """A document in doubt that the input does not name is read back with all its chunks."""
    w.options += BY_TWO
    w.sync([put("a", text(6, "old")), record("P0")])
    ended = w.sync([put("a", text(8, "new"))], kill_applied=1)
    same(ended.rc, 128 + signal.SIGKILL, "killed when it was stored and not known to be")
    w.hung_up()
    same(w.touched("R"), {"a"}, "it is in doubt")
    ended = w.sync([put("b", "B")])
    same((ended.rc, '"waiting":0' in ended.out.decode()), (0, False), "another input")
    w.store.clear_log()
    ended = w.sync([put("a", text(8, "new"))])
    same((ended.status(1), w.writes()), ("skipped:unchanged", []), "has read it back")
    w.script({"match": {"kind": "delete"}, "do": {"hang": True}})
    ended = w.sync([put("a", text(4, "less"))], "--batch-size", "2", kill_request=2)
    w.hung_up()
    w.script()
    same(ended.rc, 128 + signal.SIGKILL, "killed before what it had beyond was deleted")
    ended = w.sync([put("b", "B2")])
    same((ended.rc, w.touched("R") >= {"a"}), (0, True), "chunks stand beyond: the doubt stays")
    ended = w.sync([put("a", text(4, "less"))])
    same(ended.status(1), "completed", "until a line finishes it")
    holds(w, "a", text(4, "less"), "and nothing stale stays")


TESTS = [what_is_stored, grows_and_shrinks, goes_away, another_chunking, own_vector, fails_as_one, killed,
         read_back]

if __name__ == "__main__":
    sys.exit(run_tests(TESTS))
