#!/usr/bin/env python3
"""changesets.py [-v] [NAME...] - when a repository's position moves, and what holds it: complete
listings, `since`, failed lines and their retries, documents in doubt, runs that go on, renames.
NAMEs: only these."""

import json
import os
import re
import signal
import sys
import time
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import Ended, Steered, World, as_line, delete, find_list, from_file, put, record, report, \
    run_tests  # noqa: E402

same, test = report.same, report.test
KILLED = 128 + signal.SIGKILL
ONE_BY_ONE = ("--batch-size", "1", "--connections", "1")


# ---- what the tests share ----

def stored(w, commit="P0", repo="R", **texts):
    """Prepares: these documents are there, and this is the position."""
    ended = w.sync([put(p, t, repo) for p, t in texts.items()] + [record(commit, repo)])
    same((ended.rc, w.position(repo)), (0, commit), "prepared")


def refuse(w, *texts):
    """From now on the store refuses these texts, and does nothing else wrong."""
    w.script(*[{"match": {"kind": "upsert", "content": t}, "do": {"refuse_objects": True}}
               for t in texts])


def object_id(repo, path):
    def part(text):
        return "".join(chr(c) if chr(c).isalnum() and c < 128 or chr(c) in "-._~" else "%%%02X" % c
                       for c in text.encode())
    name = "linesync:Code/%s/%s#0" % (part(repo), part(path))
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


def texts(w, repo="R"):
    return {path: text for (r, path), text in w.documents().items() if r == repo}


def upserts(w):
    """The texts that the store was sent since its log was cleared, in order."""
    with w.store.lock:
        return [p for e in w.store.log if e["kind"] == "upsert" for p in e["paths"]]


def deletes(w):
    return [i for kind, ids in w.writes() if kind == "delete" for i in ids]


def verdict(ended, line, retried=False):
    """(status, why, waiting) of a record."""
    r = ended.of(line, retried) or {}
    return r.get("status"), r.get("why"), r.get("waiting")


def failures(w):
    """What `status --failed` lists: [(repository, path, code, retries)]."""
    rc, out = w.ask("status", "--failed", "--json")
    return [(f.get("repo"), f.get("path"), f["error"]["code"], f["retries"])
            for f in find_list(json.loads(out), "failures")]


def held(w, repo="R"):
    return w.repos().get(repo, {}).get("held")


def retried(ended):
    """What earlier runs' lines came to: [(line, status)]."""
    return [(r["line"], r["status"]) for r in ended.results if r.get("retried")]


def holders(w):
    """The paths that `status --held` names."""
    return sorted(re.findall(r"^  \S.*?  (.*?):", w.ask("status", "--held")[1], re.M))


def run_statuses(w):
    return {r["run"]: r["status"]
            for r in find_list(json.loads(w.ask("status", "--runs", "--json")[1]), "runs")}


# ---- complete: true ----

def complete_deletes_the_rest(w):
    stored(w, a="A", b="B", c="C", d="D")
    stored(w, "S0", "S", c="other", x="X")
    w.store.clear_log()
    ended = w.sync([put("a", "A"), put("b", "B2"), put("e", "E"), record("P1", complete=True)])
    same((ended.rc, ended.statuses(4)),
         (0, ["skipped:unchanged", "completed", "completed", "completed"]), "a complete listing")
    same(texts(w), {"a": "A", "b": "B2", "e": "E"}, "what it does not name is gone")
    same(sorted(deletes(w)), sorted(object_id("R", p) for p in "cd"), "by its ids, and no other")
    same(texts(w, "S"), {"c": "other", "x": "X"}, "another repository keeps what it has")
    same((w.position("R"), w.position("S")), ("P1", "S0"), "and where it stands")
    same((w.touched("R"), w.repos()["R"]["documents"]), (set(), 3), "nothing is left to list")
    w.store.clear_log()
    ended = w.sync([delete("c"), delete("d")])
    same((ended.statuses(2), w.writes()), (["skipped:unchanged"] * 2, []),
         "they are known to be gone")


def complete_at_most_half(w):
    stored(w, a="A", b="B", c="C", d="D", e="E")
    before = texts(w)
    ended = w.sync([put("a", "A"), put("b", "B"), record("P1", complete=True)])
    same((ended.rc, verdict(ended, 3)), (1, ("held", "too-many-deletes", 3)),
         "more than half: held")
    test("--max-delete 3" in ended.err, "the message says what allows it", ended.err)
    same((texts(w), w.position("R"), held(w)), (before, "P0", "P1"), "nothing is deleted")
    ended = w.sync([record("P2", since="P1")])
    same(verdict(ended, 1)[:2], ("held", "not-from-here"), "nothing can follow it")
    ended = w.sync([put(p, p.upper()) for p in "abc"] + [record("P3", complete=True)])
    same((ended.rc, w.position("R"), held(w)), (0, "P3", None),
         "half: done, and it takes its place")
    same(sorted(texts(w)), ["a", "b", "c"], "and they are deleted")


def complete_max_delete(w):
    stored(w, **{p: p for p in "abcdef"})
    lines = [put("a", "a"), record("P1", complete=True)]
    for most in ("0", "4"):
        ended = w.sync(lines, "--max-delete", most)
        same((ended.rc, verdict(ended, 2)), (1, ("held", "too-many-deletes", 5)),
             "--max-delete %s: held" % most)
        same((len(texts(w)), w.position("R")), (6, "P0"), "nothing is deleted")
    ended = w.sync([put(p, p) for p in sorted(w.touched("R") | {"g"})] + [record("P2")])
    same((ended.rc, w.position("R"), held(w)), (0, "P2", None), "any later record takes its place")
    ended = w.sync([put("a", "a"), put("g", "g"), record("P3", complete=True)], "--max-delete", "5")
    same((ended.rc, w.position("R"), texts(w)), (0, "P3", {"a": "a", "g": "g"}), "allowed: deleted")
    ended = w.sync([record("P4", complete=True)])
    same((ended.rc, verdict(ended, 1)), (1, ("held", "too-many-deletes", 2)),
         "an empty listing: held")
    ended = w.sync([record("P5", complete=True)], "--max-delete", "2")
    same((ended.rc, w.position("R"), texts(w)), (0, "P5", {}), "it can be allowed, too")


def complete_with_a_failure(w):
    stored(w, a="A", b="B", c="C", d="D")
    refuse(w, "poison")
    lines = [put("a", "A"), put("b", "poison"), put("c", "C"), record("P1", complete=True)]
    ended = w.sync(lines)
    same((ended.rc, ended.status(2), verdict(ended, 4)[:2]), (1, "failed", ("held", "incomplete")),
         "a line of the listing fails: held")
    same((sorted(texts(w)), w.position("R")), (["a", "b", "c", "d"], "P0"), "nothing is deleted")
    w.script()
    ended = w.again()
    same((retried(ended), held(w), w.position("R")), ([(2, "completed")], "P1", "P0"),
         "that it succeeds later does not release it")
    same(texts(w), {"a": "A", "b": "poison", "c": "C", "d": "D"}, "nor delete anything")
    ended = w.sync(lines[:3] + [record("P2", complete=True)])
    same((ended.rc, w.position("R"), held(w), sorted(texts(w))), (0, "P2", None, ["a", "b", "c"]),
         "the next listing does")
    ended = w.sync([put("a", "A"), put("b", "poison"), '{"repo":"R",', record("P3", complete=True)])
    same((ended.rc, verdict(ended, 4)[:2], sorted(texts(w))),
         (1, ("held", "incomplete"), ["a", "b", "c"]),
         "nor where it is not known what the failed line names")


def complete_failures_elsewhere(w):
    """Failed lines of another repository, or after the record, are no part of the listing."""
    stored(w, a="A", b="B")
    ended = w.sync([dict(repo="S", op="frob", path="x"), put("a", "A1"), record("P1", complete=True),
                    dict(repo="R", op="frob", path="c")])
    same(ended.statuses(4), ["failed", "completed", "completed", "failed"], "they fail")
    same((w.position("R"), texts(w)), ("P1", {"a": "A1"}), "the listing is complete all the same")
    same({(r, p) for r, p, _, _ in failures(w)}, {("R", "c"), ("S", "x")}, "and they stay failed")


def complete_without_its_record(w):
    stored(w, a="A", b="B", c="C")
    lines = [put("a", "A1"), put("b", "B1"), record("P1", complete=True)]
    ended = w.sync(lines[:2])
    same((ended.rc, sorted(texts(w)), w.position("R")), (0, ["a", "b", "c"], "P0"),
         "an input that ends before the record deletes nothing")
    ended = w.sync([put("a", "A2"), put("b", "B2"), record("P1", complete=True)], *ONE_BY_ONE,
                   kill_request=2)
    w.settle()
    same((ended.rc, sorted(texts(w)), w.position("R")), (KILLED, ["a", "b", "c"], "P0"),
         "nor one that was killed before it")
    ended = w.sync([put("a", "A2")])
    same((ended.rc, sorted(texts(w))), (0, ["a", "b", "c"]),
         "nor one that is resumed and ends early")


def complete_killed_while_deleting(w):
    stored(w, **{p: p for p in "abcdef"})
    lines = [put(p, p) for p in "abc"] + [record("P1", complete=True)]
    killed(w, lines, kill_request=2)
    same((sorted(texts(w)), w.position("R")), (list("abcef"), "P0"), "one is deleted, one under way")
    ended = w.sync(lines)
    same((ended.rc, ended.status(4), sorted(texts(w))), (0, "completed", ["a", "b", "c"]),
         "the same input does the rest")
    same(deletes(w), [object_id("R", p) for p in "ef"], "and no more")
    same((w.position("R"), w.touched("R")), ("P1", set()), "and the position moves")


def complete_supersedes_failures(w):
    stored(w, a="A", b="B", c="C", d="D")
    refuse(w, "poison")
    ended = w.sync([put("c", "poison"), put("n", "poison"), put("a", "A"), record("P1", since="P0")])
    same((ended.rc, verdict(ended, 4)), (1, ("held", "lines", 2)), "two documents fail")
    w.store.clear_log()
    ended = w.sync([put(p, p.upper()) for p in "abd"] + [record("P2", complete=True)], "--no-retry")
    same((ended.rc, w.position("R"), held(w)), (0, "P2", None), "a listing without them")
    same((failures(w), sorted(texts(w))), ([], ["a", "b", "d"]), "settles what failed")
    same((upserts(w), w.touched("R")), ([], set()), "without another attempt")
    ended = w.again()
    same((ended.rc, ended.results), (0, []), "and nothing of it is tried again")


def complete_deletes_doubt(w):
    """Documents in doubt that the listing does not name."""
    stored(w, a="A", b="B", c="C", d="D")
    for name, path, how in (("was stored", "c", "kill_applied"), ("never arrived", "d", "kill_request"),
                            ("is new and was stored", "n", "kill_applied"),
                            ("is new and never arrived", "m", "kill_request")):
        killed(w, [put(path, "new")], **{how: 1})
        test(path in w.touched("R"), "in doubt: one that " + name)
        listed = sorted(set(texts(w)) - {path})
        commit = "P-" + path
        ended = w.sync([put(p, p.upper()) for p in listed] + [record(commit, complete=True)])
        same((ended.rc, w.position("R"), held(w)), (0, commit, None), "the listing is complete")
        same(deletes(w), [object_id("R", path)], "it is deleted")
        same((sorted(texts(w)), w.touched("R")), (listed, set()), "and out of doubt")


def complete_leaves_what_has_no_content(w):
    """A line whose content cannot be had names its document, one in doubt as well."""
    stored(w, a="A", b="B", c="C")
    commit = "P0"
    for path, how in (("m", "kill_applied"), ("a", "kill_applied"), ("n", "kill_request")):
        killed(w, [put(path, "new")], **{how: 1})
        there = texts(w)
        rest = [put(p, t) for p, t in there.items() if p != path]
        since, commit = commit, "P-" + path
        ended = w.sync(rest + [dict(repo="R", path=path, content=None),
                               record(commit, since=since, complete=True)])
        same((deletes(w), texts(w)), ([], there), "%s is listed: it is not deleted" % path)
        if how == "kill_request":
            same((ended.rc, w.position("R")), (1, since), "but in doubt")
        else:
            same((ended.rc, w.position("R")), (0, commit), "and read back")


def complete_in_a_namespace(w):
    stored(w, a="plain", b="plain")
    team = ("--namespace", "team")
    ended = w.sync([put("a", "team"), put("b", "team"), record("T1")], *team)
    same((ended.rc, w.position("team/R"), w.position("R")), (0, "T1", "P0"), "two of the same name")
    same({r for r, _ in w.documents()}, {"R", "team/R"}, "lie apart")
    ended = w.sync([put("a", "team"), record("T2", complete=True)], *team)
    same((ended.rc, w.position("team/R"), w.position("R")), (0, "T2", "P0"), "a listing of one")
    same((texts(w, "team/R"), texts(w)), ({"a": "team"}, {"a": "plain", "b": "plain"}),
         "leaves the other alone")
    ids = {i for c in w.store.by_name.values() for i in c.records}
    same(ids, {object_id("team/R", "a"), object_id("R", "a"), object_id("R", "b")}, "by its ids")


def complete_counts_earlier_lines(w):
    """All lines of the repository in the input count, also those before another record, before a
    difference to the run that goes on, and done by an earlier invocation."""
    stored(w, a="A", b="B", c="C", d="D", e="E", f="F")
    ended = w.sync([put("a", "A"), put("b", "B"), record("P1"), put("c", "C"), put("d", "D"),
                    record("P2", complete=True), put("g", "G")])
    same((ended.rc, sorted(texts(w))), (0, list("abcdg")), "two blocks are one listing")
    lines = [put("a", "A3"), put("b", "B3"), put("c", "C3")]
    ended = w.sync(lines, *ONE_BY_ONE, kill_request=3)
    w.settle()
    same(ended.rc, KILLED, "killed in a listing")
    w.store.clear_log()
    ended = w.sync(lines[:2] + [put("d", "D3"), record("P4", complete=True)])
    same((ended.rc, w.position("R")), (0, "P4"), "it goes on with another line")
    same(texts(w), {"a": "A3", "b": "B3", "d": "D3"}, "the lines before it are listed")
    same(upserts(w), ["d"], "and not sent again")


def complete_after_a_difference(w):
    """A document that a part of an interrupted run finished which the listing does not share, and that
    a line before the difference names as well."""
    stored(w, a="A", b="B")
    lines = [put("a", "A1"), put("a", "A2"), put("b", "B1")]
    ended = w.sync(lines, *ONE_BY_ONE, kill_request=3)
    w.settle()
    same((ended.rc, texts(w)["a"]), (KILLED, "A2"), "killed after both lines of a document")
    listing = [put("a", "A1"), put("b", "B2"), record("P1", complete=True)]
    ended = w.sync(listing)
    same((ended.rc, verdict(ended, 3)[:2], w.position("R")), (1, ("held", "incomplete"), "P0"),
         "a listing that shares the first line is held")
    same((sorted(texts(w)), "a" in w.touched("R")), (["a", "b"], True), "nothing is deleted")
    ended = w.sync(listing)
    same((ended.rc, w.position("R"), texts(w)), (0, "P1", {"a": "A1", "b": "B2"}), "until it is fed again")


def complete_not_from_here(w):
    stored(w, a="A", b="B", c="C")
    ended = w.sync([put("a", "A"), put("b", "B"), record("P1", since="elsewhere", complete=True)])
    same((ended.rc, verdict(ended, 3)[:2]), (1, ("held", "not-from-here")), "from elsewhere: held")
    same((sorted(texts(w)), w.position("R")), (["a", "b", "c"], "P0"), "nothing is deleted")


def complete_behind_a_held_record(w):
    """A complete listing since the position, while a record is held or has just been released."""
    stored(w, a="A", b="B")
    refuse(w, "poison")
    ended = w.sync([put("a", "poison"), record("P1", since="P0")])
    same((ended.rc, verdict(ended, 2)[0]), (1, "held"), "held")
    ended = w.sync([put("d", "D"), record("P2", since="P0", complete=True)], "--no-retry", "--max-delete", "2")
    same((ended.rc, verdict(ended, 2)[0], w.position("R")), (0, "completed", "P2"),
         "what the listing deletes does not hold it")
    same((texts(w), w.touched("R")), ({"d": "D"}, set()), "and is deleted")
    ended = w.sync([put("a", "poison"), record("P3", since="P2")])
    same((ended.rc, verdict(ended, 2)[0]), (1, "held"), "held again")
    ended = w.sync([put("a", "good"), record("P4", since="P2", complete=True)], "--no-retry",
                   "--max-delete", "1")
    same((ended.rc, w.position("R"), texts(w)), (0, "P4", {"a": "good"}), "nor where the listing released one")


def complete_skipped_documents(w):
    """A listed document that is left out goes as one, whatever the listing deletes besides."""
    stored(w, a="A", b="B", c="C", d="D")
    ended = w.sync([put("a", "A"), put("b", ""), put("c", "x" * 20), record("P1", complete=True)],
                   "--max-content", "10", "--max-delete", "1")
    same((ended.rc, ended.statuses(4)),
         (0, ["skipped:unchanged", "skipped:empty", "skipped:too-large", "completed"]), "left out")
    same((w.position("R"), texts(w)), ("P1", {"a": "A"}), "only the unlisted one counts as deleted")


# ---- since ----

def since_the_position(w):
    stored(w, a="A")
    ended = w.sync([put("a", "A1"), record("P1", since="P0")])
    same((ended.rc, w.position("R")), (0, "P1"), "since the position")
    ended = w.sync([put("b", "B"), record("P2", since="P1"), put("c", "C"), record("P3", since="P2")])
    same((ended.rc, ended.statuses(4), w.position("R")), (0, ["completed"] * 4, "P3"),
         "two records in one input, each since the one before")
    order = [r["line"] for r in ended.results]
    test(order.index(2) < order.index(4), "decided in order")
    ended = w.sync([put("d", "D"), record("P4")])
    same((ended.rc, w.position("R")), (0, "P4"), "one that does not say since when")
    ended = w.sync([record("P4", since="P4")])
    same((ended.rc, w.position("R")), (0, "P4"), "the same once more, with nothing in between")


def since_nothing(w):
    """An empty since is what a script says that asked for the position and was told none: it lists a
    difference to nothing that anybody knows."""
    ended = w.sync([put("a", "A"), record("P0", since="")])
    same((ended.rc, ended.status(2), ended.of(2).get("why"), w.position("R")),
         (1, "held", "not-from-here", None), "where there is no position")
    test("is empty" in w.ask("status", "--held")[1], "status says what is wrong")
    same(w.sync([put("a", "A"), record("P0", since=None)]).rc, 0, "null says nothing")
    ended = w.sync([put("b", "B"), record("P1", since="")])
    same((ended.rc, ended.of(2).get("why"), w.position("R")), (1, "not-from-here", "P0"),
         "where there is one, it stays")
    same(w.touched("R"), {"b"}, "and what the lines changed counts as changed")
    ended = w.sync([put("c", "C"), record("P2", since="", complete=True)])
    same((ended.rc, w.position("R"), {p for _, p in w.documents()}), (1, "P0", {"a", "b", "c"}),
         "a complete listing is from nothing: it is judged by what it would delete")
    same(ended.of(2).get("why"), "too-many-deletes", "here too much")
    ended = w.sync([put("a", "A"), put("c", "C"), record("P2", since="", complete=True)])
    same((ended.rc, w.position("R"), {p for _, p in w.documents()}), (0, "P2", {"a", "c"}),
         "and otherwise counts")


UNFILLED = "nothing of it is stored"


def unfilled(w):
    """A position that is as told, of a repository of which nothing is stored, is said when it is taken."""
    stored(w, a="A")

    def said(*lines):
        ended = w.sync(lines)
        same(ended.rc, 0, "all is well")
        return ended.err.count(UNFILLED)

    same(said(record("S1", "S")), 1, "nothing of it is stored: it is said")
    test("'S' stands at 'S2'" in w.sync([record("S2", "S")]).err, "which, and where")
    same([said(record("S2", "S")), said(record("S2", "S", since="S2"))], [0, 0], "the same position again: no more")
    same(said(record("S3", "S")), 1, "another one: once more")
    same(said(put("b", "", "S"), record("S4", "S")), 1, "what cannot be stored fills nothing")
    same(said(record("S4", "S", complete=True), record("S5", "S", since="S4")), 0,
         "an empty repository that was listed whole is empty")
    same(said(put("b", "B", "S"), record("S6", "S")), 0, "something is stored: what else there is, who knows")
    same(said(record("P1")), 0, "also of an earlier run")
    w.script({"match": {"kind": "upsert", "content": "poison"}, "do": {"refuse_objects": True}})
    ended = w.sync([put("c", "poison", "T"), record("T1", "T")])
    same((ended.rc, UNFILLED in ended.err), (1, False), "a held one is no position")
    ended = w.sync([put("c", "", "T")], "--no-retry")
    same((w.position("T"), ended.err.count(UNFILLED)), ("T1", 1), "until it is released")


def since_a_held_record(w):
    stored(w, a="A", b="B")
    refuse(w, "poison")
    ended = w.sync([put("a", "poison"), record("P1", since="P0")])
    same((ended.rc, verdict(ended, 2)), (1, ("held", "lines", 1)), "a record is held for a line")
    ended = w.sync([put("b", "B2"), record("P2", since="P1")])
    same((ended.rc, verdict(ended, 2)[:2]), (1, ("held", "lines")),
         "one since that is held for it, too")
    same((held(w), w.position("R"), texts(w)["b"]), ("P2", "P0", "B2"), "its lines are done")
    ended = w.sync([put("a", "A2"), record("P3", since="P2")], "--no-retry")
    same((ended.rc, w.position("R"), held(w)), (0, "P3", None),
         "one that names the document counts")
    same((texts(w), w.touched("R")), ({"a": "A2", "b": "B2"}, set()), "for all of them")


def since_what_a_retry_releases(w):
    """The input was made before the retry at its run's begin moved the position."""
    stored(w, a="A", b="B")
    for n, (since, named, want) in enumerate((("held", [], (0, "completed", None)),
                                              ("position", ["a"], (0, "completed", None)),
                                              ("position", [], (1, "held", "not-from-here")))):
        before, first, second = w.position("R"), "first%d" % n, "second%d" % n
        refuse(w, "poison")
        w.sync([put("a", "poison %d" % n), record(first, since=before)])
        same((held(w), w.position("R")), (first, before), "held for a line")
        w.script()
        ended = w.sync([put(p, p) for p in ["b"] + named] +
                       [record(second, since=first if since == "held" else before)])
        same((1, "completed") in retried(ended) and (2, "completed") in retried(ended), True,
             "a retry releases it")
        same((ended.rc, *verdict(ended, 2 + len(named))[:2]), want,
             "one since the %s, which names %s" % (since, named or "nothing of it"))
        same(w.position("R"), second if want[0] == 0 else first, "stands where it should")


def since_held_in_one_input(w):
    stored(w, a="A")
    refuse(w, "poison")
    ended = w.sync([put("a", "poison"), record("P1", since="P0"), put("b", "B"),
                    record("P2", since="P1")])
    same((verdict(ended, 2)[:2], verdict(ended, 4)[:2]), (("held", "lines"), ("held", "lines")),
         "two records wait for one line")
    w.script()
    ended = w.again()
    same((ended.rc, w.position("R")), (0, "P2"), "and the last one counts")


def since_neither(w):
    stored(w, a="A", b="B")
    ended = w.sync([put("a", "A1"), record("P2", since="P1")])
    same((ended.rc, verdict(ended, 2)[:2]), (1, ("held", "not-from-here")),
         "since a commit never seen")
    same((ended.status(1), texts(w)["a"]), ("completed", "A1"),
         "lines before it are done all the same")
    same((w.position("R"), held(w)), ("P0", "P2"), "the position stays")
    same(w.touched("R"), {"a"}, "what they changed is to be listed")
    ended = w.again()
    same((ended.rc, w.position("R"), held(w)), (1, "P0", "P2"), "nothing releases it")
    ended = w.sync([put("b", "B1"), record("P3", since="P2")])
    same(verdict(ended, 2)[:2], ("held", "not-from-here"), "nothing can follow it")
    ended = w.sync([put("c", "C"), record("P4", since="P0")])
    same((ended.rc, verdict(ended, 2)), (1, ("held", "lines", 2)),
         "a record that does not name what they changed is held")
    ended = w.sync([put("a", "A1"), put("b", "B1"), put("c", "C"), record("P5", since="P0")])
    same((ended.rc, w.position("R"), held(w), w.touched("R")), (0, "P5", None, set()),
         "one that does takes its place")


def since_neither_in_one_input(w):
    stored(w, a="A")
    ended = w.sync([put("a", "A1"), record("P2", since="P1"), put("b", "B"), record("P3", since="P2"),
                    put("a", "A2"), put("b", "B"), record("P4", since="P0")])
    same([verdict(ended, n)[:2] for n in (2, 4)], [("held", "not-from-here")] * 2,
         "two records that do not begin here")
    same((ended.rc, ended.status(7), w.position("R"), held(w)), (0, "completed", "P4", None),
         "a third one that does takes their place")
    same(texts(w), {"a": "A2", "b": "B"}, "all lines are done")


# ---- failed lines ----

def superseded_place_beyond_the_record(w):
    """What a line before the record left to a line after it holds the record until that is done."""
    stored(w, d="D")
    lines = [put("d", "D1"), put("d", "D2"), record("P1", since="P0"), put("d", "poison")]
    refuse(w, "poison")
    ended = w.sync(lines, "--flush-ms", "10000")
    same(ended.statuses(2) + [ended.status(4)], ["completed", "superseded", "failed"],
         "a line after the record takes over and fails")
    same((ended.rc, verdict(ended, 3), w.position("R")), (1, ("held", "lines", 1), "P0"),
         "the record is held for it")
    w.script()
    ended = w.again()
    same((ended.rc, retried(ended), w.position("R")), (0, [(4, "completed"), (3, "completed")], "P1"),
         "and released by its retry")
    lines[2]["new_changeset"].update(commit="P2", since="P1")
    lines[0]["content"], lines[3]["content"] = "D3", "D4"
    ended = w.sync(lines, "--flush-ms", "10000")
    same((ended.rc, ended.statuses(4)), (0, ["completed", "superseded", "completed", "completed"]),
         "where it succeeds")
    order = [r["line"] for r in ended.results]
    test(order.index(4) < order.index(3), "the record waits for it", str(order))
    same((w.position("R"), w.touched("R")), ("P2", {"d"}), "it stands after the record")


def retry_releases(w):
    stored(w, a="A", b="B")
    refuse(w, "poison")
    ended = w.sync([put("b", "B1"), put("a", "poison"), record("P1", since="P0")])
    first = ended.results[0]["run"]
    same((ended.rc, ended.statuses(2), verdict(ended, 3)),
         (1, ["completed", "failed"], ("held", "lines", 1)), "a failed line holds")
    same((texts(w), w.position("R"), w.touched("R")), ({"a": "A", "b": "B1"}, "P0", {"a", "b"}),
         "its document stays as it was")
    same(failures(w), [("R", "a", "store-rejected", 0)], "it is listed as failed")
    w.script()
    ended = w.sync([put("c", "C")])
    again, free, mine = ended.of(2, True), ended.of(3, True), ended.of(1)
    same((ended.rc, len(ended.results)), (0, 3), "the next run tries it again")
    same([again.get(k) for k in ("run", "line", "repo", "path", "op", "status", "retried")],
         [first, 2, "R", "a", "modify", "completed", True], "it is printed with its own run and line")
    same([free.get(k) for k in ("run", "line", "repo", "op", "status", "changeset", "retried")],
         [first, 3, "R", "changeset", "completed", {"commit": "P1"}, True], "so is the record")
    test(mine["run"] != first and "retried" not in mine, "and lines of this run with theirs")
    test(ended.results.index(again) < ended.results.index(free), "the line comes first")
    same((w.position("R"), held(w), failures(w)), ("P1", None, []), "the changeset is free")
    same((texts(w), w.touched("R")), ({"a": "poison", "b": "B1", "c": "C"}, {"c"}), "all is done")


def retry_rounds(w):
    stored(w, a="A")
    refuse(w, "poison")
    w.sync([put("a", "poison"), record("P1", since="P0")])
    rounds = ("--max-rounds", "2")
    for n in (1, 2):
        ended = w.again(*rounds)
        same((ended.rc, retried(ended)), (1, [(1, "failed")]), "tried again")
        same(failures(w), [("R", "a", "store-rejected", n)], "and counted: %d" % n)
    w.store.clear_log()
    ended = w.again(*rounds)
    same((ended.rc, ended.results, w.writes()), (1, [], []), "not more often than --max-rounds")
    same((held(w), failures(w)), ("P1", [("R", "a", "store-rejected", 2)]),
         "it stays failed, and holds")
    ended = w.again("--no-retry")
    same((ended.rc, ended.results, w.writes()), (1, [], []), "--no-retry leaves it alone")
    same(failures(w), [("R", "a", "store-rejected", 2)], "and does not count")
    w.script()
    ended = w.again("--max-rounds", "3")
    same((ended.rc, retried(ended), w.position("R")), (0, [(1, "completed"), (2, "completed")], "P1"),
         "one round more is done")


def retries_come_first_in_order(w):
    stored(w, a="A")
    refuse(w, "poison")
    w.sync([put("c", "poison c"), put("a", "poison a")])
    w.sync([put("b", "poison b")], "--no-retry")
    w.script()
    w.store.clear_log()
    ended = w.sync([put("z", "Z")], *ONE_BY_ONE)
    same((ended.rc, upserts(w)), (0, ["c", "a", "b", "z"]), "by run and line, before the input")
    same([r["line"] for r in ended.results if r.get("retried")], [1, 2, 1], "each once")


def retry_as_it_was_read(w):
    """The options and the folder of the run that failed count, not those of the one that tries again."""
    other = os.path.join(w.dir, "elsewhere")
    os.makedirs(os.path.join(other, "X"))
    os.mkdir(os.path.join(w.root, "X"))
    ended = w.sync(["M\ta", "R100\told\tb", "D\tc"], "--input-format", "name-status", "--repo", "X",
                   "--namespace", "team")
    same((ended.rc, ended.statuses(3)), (1, ["failed", "failed", "completed"]), "files are not there")
    w.write_file("X", "a", "A")
    w.write_file("X", "b", "B")
    with open(os.path.join(other, "X", "a"), "w", encoding="utf-8") as f:
        f.write("another file")
    ended = w.sync([put("z", "Z")], "--root", other, "--input-format", "json", "--repo", "Y")
    same((ended.rc, sorted(retried(ended))), (0, [(1, "completed"), (2, "completed")]), "tried again")
    same(w.documents(), {("team/X", "a"): "A", ("team/X", "b"): "B", ("R", "z"): "Z"},
         "the same files of the same repository")


def retry_without_a_folder(w):
    """Where a repository had no folder, another run's root is not looked into either."""
    other = os.path.join(w.dir, "elsewhere")
    os.makedirs(os.path.join(other, ".git"))
    with open(os.path.join(other, "a"), "w", encoding="utf-8") as f:
        f.write("of another repository")
    ended = w.sync([dict(repo="X", path="a")])
    same((ended.rc, ended.status(1)), (1, "failed"), "there is no folder")
    ended = w.sync([put("z", "Z")], "--root", other)
    same((ended.rc, retried(ended)), (1, [(1, "failed")]), "nor elsewhere")
    same(w.documents(), {("R", "z"): "Z"}, "no file of another repository is stored")
    w.write_file("X", "a", "A")
    ended = w.sync([put("z", "Z")], "--root", other)
    same((ended.rc, retried(ended)), (0, [(1, "completed")]), "there is one now")
    same(w.documents(), {("X", "a"): "A", ("R", "z"): "Z"}, "its own file is stored")


def rename_of_which_both_halves_fail(w):
    stored(w, a="A", c="C")
    w.script({"match": {"kind": "delete"}, "do": {"refuse_objects": True}},
             {"match": {"kind": "upsert", "content": "poison"}, "do": {"refuse_objects": True}})
    ended = w.sync([rename("a", "b", "poison"), record("P1", since="P0")])
    same((ended.rc, ended.status(1), texts(w)), (1, "failed", {"a": "A", "c": "C"}), "both halves fail")
    ended = w.again()
    same((ended.rc, retried(ended)), (1, [(1, "failed")]), "tried again as one line")
    same([f[1:] for f in failures(w)], [("b", "store-rejected", 1), ("a", "store-rejected", 1)],
         "each is counted")
    w.script()
    ended = w.again()
    same((ended.rc, texts(w), w.position("R"), failures(w)), (0, {"b": "poison", "c": "C"}, "P1", []),
         "and done")
    same(retried(ended), [(1, "completed"), (2, "completed")], "with one result")


def newer_line_supersedes(w):
    stored(w, a="A")
    refuse(w, "poison")
    w.sync([put("a", "poison"), record("P1", since="P0")])
    ended = w.sync([put("a", "A2")], "--no-retry")
    same((ended.rc, ended.status(1), retried(ended)), (0, "completed", [(2, "completed")]),
         "a newer line of the document releases what the failed one held")
    same((w.position("R"), failures(w), texts(w)), ("P1", [], {"a": "A2"}), "and settles it")
    same(w.touched("R"), {"a"}, "it stands after the record")
    w.sync([put("a", "poison 2")])
    w.script()
    ended = w.sync([put("a", "A3")])
    same((texts(w), failures(w)), ({"a": "A3"}, []),
         "also where the failed one is tried again first")
    refuse(w, "poison")
    w.sync([put("a", "poison 3")])
    ended = w.sync([delete("a")], "--no-retry")
    same((ended.rc, failures(w), texts(w)), (0, [], {}), "a delete does as well")
    w.sync([put("a", "poison 4")])
    ended = w.sync([put("a", "")], "--no-retry")
    same((ended.rc, ended.status(1), failures(w)), (0, "skipped:empty", []),
         "and a skipped document")


def newer_failure_takes_the_place(w):
    stored(w, a="A")
    refuse(w, "poison")
    w.sync([put("a", "poison 1"), record("P1", since="P0")])
    ended = w.sync([put("a", "poison 2"), record("P2", since="P1")], "--no-retry")
    same((ended.statuses(1), len(failures(w))), (["failed"], 1),
         "a document has one failure, the last")
    same((w.position("R"), held(w)), ("P0", "P2"), "both changesets are held")
    w.script()
    ended = w.again()
    same((retried(ended), texts(w)), ([(1, "completed"), (2, "completed")], {"a": "poison 2"}),
         "and only the last one is tried again")
    same((ended.rc, w.position("R")), (0, "P2"), "which releases them")


def older_failure_holds(w):
    """The place of a failed line is kept by the failure that takes it over."""
    stored(w, a="A", b="B")
    refuse(w, "poison")
    ended = w.sync([put("a", "poison 1"), record("P1", since="P0"), put("a", "poison 2")])
    same((ended.rc, verdict(ended, 2), failures(w)),
         (1, ("held", "lines", 1), [("R", "a", "store-rejected", 0)]),
         "a failed line after the record does not free it")


def not_retryable(w):
    stored(w, a="A")
    bad = dict(repo="R", op="frob", path="a")
    ended = w.sync([bad, record("P1", since="P0")])
    error = ended.of(1)["error"]
    same((ended.rc, error["code"], error["retryable"], verdict(ended, 2)),
         (1, "bad-op", False, ("held", "lines", 1)), "a bad line holds")
    w.store.clear_log()
    ended = w.again()
    same((ended.rc, ended.results, w.writes()), (1, [], []), "it is not tried again")
    same(failures(w), [("R", "a", "bad-op", 0)], "and not counted")
    ended = w.sync([put("a", "A", vector=[1, 2])], "--no-retry")
    same((ended.of(1)["error"]["code"], w.again().results), ("bad-vector", []), "nor is a bad vector")
    ended = w.sync([put("a", "A1"), record("P2", since="P1")])
    same((ended.rc, w.position("R"), failures(w)), (0, "P2", []),
         "a newer line of its document settles it")
    ended = w.sync([bad, record("P3", since="P2")])
    run = ended.results[0]["run"]
    rc, said = w.ask("skip", run + ":1")
    same((rc, w.position("R"), failures(w)), (0, "P3", []),
         "`skip` accepts it and releases the record")
    test("moved to P3" in said, "and says so", said)


def broken_line_holds_all(w):
    """A failed line of which not even the repository is known."""
    for name, line, options in (("broken JSON", '{"repo":"R","op":', ()),
                                ("a line too long", put("x", "x" * 2000), ("--max-line", "1k")),
                                ("mgit's error", "Error during change detection: no repository", ())):
        v = World(w.verbose)
        try:
            stored(v, a="A")
            stored(v, "S0", "S", a="A")
            stored(v, "T0", "T", a="A")
            ended = v.sync([put("a", "A1"), record("P1", since="P0"), line, put("a", "A2"),
                            record("P2", since="P1"), put("a", "A1", "S"), record("S1", "S")], *options)
            if not same((ended.rc, ended.status(3)), (1, "failed"), name + " fails"):
                continue
            same((ended.status(2), verdict(ended, 5), verdict(ended, 7)),
                 ("completed", ("held", "lines", 1), ("held", "lines", 1)), "and holds what follows")
            same((v.position("R"), v.position("S")), ("P1", "S0"), "what came before it is done")
            ended = v.sync([put("a", "A1", "T"), record("T1", "T")])
            same((v.position("T"), len(failures(v)), held(v), held(v, "S")), ("T1", 1, "P2", "S1"),
                 "a run of another repository is not held, and frees nothing")
            ended = v.sync([put("a", "A3"), record("P3", since="P1")])
            same((v.position("R"), held(v, "S"), len(failures(v))), ("P3", "S1", 1),
                 "one that closes a block without it frees its repository")
            ended = v.sync([put("a", "A2", "S"), record("S2", "S")])
            same((ended.rc, v.position("S"), held(v, "S"), failures(v)), (0, "S2", None, []),
                 "it is superseded when all that it held were closed")
        finally:
            v.close()


def broken_line_that_holds_nothing(w):
    stored(w, a="A")
    ended = w.sync([put("a", "A1"), '{"broken'])
    same((ended.rc, ended.status(2), len(failures(w))), (1, "failed", 1), "after the last record")
    w.script({"match": {"kind": "upsert"}, "do": {"hang": True}})
    ended = w.sync([put("b", "B")], kill_request=1)
    w.hung_up()
    w.script()
    same((ended.rc, len(failures(w))), (KILLED, 1), "a run that is killed does not supersede it")
    same((w.ask("status")[0], figures(w)), (1, (1, 0)), "it counts")
    w.sync([])
    same(figures(w), (1, 0), "after an input without a line too")
    ended = w.sync([put("a", "A1"), put("b", "B"), record("P1", since="P0")])
    same((ended.rc, len(failures(w)), w.position("R")), (0, 1, "P1"),
         "a run that reads its whole input without it leaves it, and is clean")
    same(figures(w), (0, 1), "it does not count any more")
    said = w.ask("status")[1]
    test("left over" in said and "1 line; see" in said, "status says that it is there", said)
    same((w.ask("status", "--max-age", "1h")[0], w.ask("status", "--summary")[0]), (0, 0), "all is well")
    same(w.ask("export", "--failed")[1], '{"broken\n', "it is exported as it came")
    for _ in range(3):
        w.sync([put("b", "B")])
    same((len(failures(w)), figures(w)), (1, (0, 1)), "however many runs come")
    for _ in range(3):
        ended = w.sync(['{"broken', put("b", "B")])
        same((ended.rc, broken(w), figures(w)), (1, ['{"broken'], (1, 0)), "the same line again is listed once")
    w.sync([put("b", "B")])
    run = ended.results[0]["run"]
    ended = w.sync([put("b", "B"), '{"broken too'])
    same((ended.rc, w.ask("status")[0], figures(w)), (1, 1, (1, 1)), "another one counts")
    w.sync([put("b", "B")])
    same((w.ask("status")[0], figures(w)), (0, (0, 2)), "until a run comes without it")
    same((w.ask("skip", run + ":1")[0], figures(w), w.ask("export", "--failed")[1]),
         (0, (0, 1), '{"broken too\n'), "`skip` accepts it")
    same((w.ask("forget", "--all")[0], failures(w)), (0, []), "`forget --all` forgets it")


def broken_lines_hold_what_follows(w):
    """Each failed line is superseded with the last of the repositories that it holds itself."""
    stored(w, a="A")
    stored(w, "S0", "S", a="A")
    ended = w.sync(['{"one', put("a", "A1"), record("P1", since="P0"), '{"two', put("a", "A1", "S"),
                    record("S1", "S"), '{"three'])
    same((ended.rc, verdict(ended, 3), verdict(ended, 6)), (1, ("held", "lines", 1), ("held", "lines", 2)),
         "one holds two, two hold one")
    w.sync([put("a", "A2", "S"), record("S2", "S")])
    same((broken(w), figures(w), held(w)), (['{"one', '{"three'], (1, 1), "P1"),
         "what held S alone goes with it; what held nothing does not count")
    same(w.ask("status")[0], 1, "what holds R counts")
    w.sync([put("a", "A2"), record("P2", since="P1")])
    same((broken(w), figures(w), w.ask("status")[0], w.position("R")), (['{"three'], (0, 1), 0, "P2"),
         "what held both goes with the last; what held nothing stays")


def undecided_record_supersedes_nothing(w):
    """A run that ends before its record is decided has closed no block."""
    stored(w, a="A")
    w.sync([dict(repo="R", op="modify")])
    same(len(failures(w)), 1, "a line without a path")
    refuse(w, "poison")
    sync = Steered(w)
    sync.feed(put("p", "poison"), record("P1", since="P0"), put("b", "B"))
    sync.wait_results(2)
    sync.signal(signal.SIGKILL)
    sync.ended()
    same([f[1] for f in failures(w)], [None, "p"], "both are there")
    ended = w.sync([put("p", "poison"), record("P1", since="P0"), put("b", "B")])
    same((verdict(ended, 2), [f[1] for f in failures(w)]), (("held", "lines", 1), ["p"]),
         "the record that is decided closes without the first")


def figures(w):
    """Failed lines that count, and those that are left over."""
    s = json.loads(w.ask("status", "--json")[1])
    return s["failed"], s["left_over"]


def broken(w):
    """The failed lines as they came."""
    return w.ask("export", "--failed")[1].split("\n")[:-1]


def broken_line_again(w):
    stored(w, a="A")
    lines = [put("a", "A1"), '{"broken', record("P1", since="P0")]
    for _ in range(2):
        ended = w.sync(lines)
        same((ended.rc, verdict(ended, 3)), (1, ("held", "lines", 1)),
             "the same broken line holds again")
        same(len(failures(w)), 1, "and is there once")
    run = ended.results[0]["run"]
    same((w.ask("skip", run + ":2")[0], w.position("R"), failures(w)), (0, "P1", []),
         "`skip` releases it")


def line_without_a_path(w):
    """The repository is known, the document is not."""
    stored(w, a="A")
    stored(w, "S0", "S", a="A")
    ended = w.sync([dict(repo="R", op="modify"), put("a", "A1", "S"), record("S1", "S"),
                    put("a", "A1"), record("P1", since="P0")])
    same((ended.rc, ended.status(1), w.position("S"), verdict(ended, 5)),
         (1, "failed", "S1", ("held", "lines", 1)), "it holds its own repository only")
    w.sync([put("a", "A2", "S"), record("S2", "S")])
    same((len(failures(w)), held(w)), (1, "P1"), "a block of another one leaves it")
    ended = w.sync([put("a", "A2"), record("P2", since="P1")])
    same((ended.rc, w.position("R"), failures(w)), (0, "P2", []),
         "a block of its own supersedes it")


# ---- renames that fail ----

def rename(old, new, text=None):
    line = dict(repo="R", op="rename", old_path=old, path=new)
    return line if text is None else dict(line, content=text)


def half_a_rename_fails(w):
    stored(w, a="A", c="C")
    refuse_old = {"match": {"kind": "delete", "id": object_id("R", "a")}, "do": {"refuse_objects": True}}
    w.script(refuse_old)
    ended = w.sync([rename("a", "b", "A"), record("P1", since="P0")])
    same((ended.rc, ended.status(1), verdict(ended, 2)), (1, "failed", ("held", "lines", 1)),
         "a rename of which the old half fails")
    same(texts(w), {"a": "A", "b": "A", "c": "C"}, "the new one is stored")
    same([f[:3] for f in failures(w)], [("R", "a", "store-rejected")], "the old one has failed")
    w.script()
    w.store.clear_log()
    ended = w.again("--force")
    r = ended.of(1, True)
    same([r.get(k) for k in ("op", "old_path", "path", "status")], ["rename", "a", "b", "completed"],
         "it is tried again")
    same((upserts(w), deletes(w)), ([], [object_id("R", "a")]), "only the half that failed")
    same((ended.rc, texts(w), w.position("R")), (0, {"b": "A", "c": "C"}, "P1"), "and releases")
    refuse(w, "poison")
    ended = w.sync([rename("b", "d", "poison"), record("P2", since="P1")])
    same((ended.rc, ended.status(1), texts(w)), (1, "failed", {"c": "C"}),
         "where the new half fails the old one goes all the same")
    same([f[:3] for f in failures(w)], [("R", "d", "store-rejected")], "the new one has failed")
    w.script()
    w.store.clear_log()
    ended = w.again("--force")
    same((ended.rc, upserts(w), deletes(w)), (0, ["d"], []), "only that is tried again")
    same((texts(w), w.position("R"), w.touched("R")), ({"c": "C", "d": "poison"}, "P2", set()),
         "and done")


def half_a_rename_tried_with_the_file_back(w):
    """The old half was to go when the line was read; that a file has come back is another line's to say."""
    names = ("--repo", "R", "--input-format", "name-status")
    w.write_file("R", "new", "N")
    stored(w, old="O")
    w.script({"match": {"kind": "delete"}, "do": {"refuse_objects": True}})
    ended = w.sync(["R100\told\tnew"], *names)
    same((ended.rc, [f[1] for f in failures(w)]), (1, ["old"]), "the old half fails")
    w.script()
    w.write_file("R", "old", "again")
    ended = w.again()
    same((ended.rc, retried(ended), failures(w)), (0, [(1, "completed")], []), "it is tried again, once")
    same(texts(w), {"new": "N"}, "and deleted")


def failed_rename_superseded(w):
    """Each half is superseded with its own document."""
    stored(w, a="A", c="C")
    w.script({"match": {"kind": "delete"}, "do": {"refuse_objects": True}},
             {"match": {"kind": "upsert", "content": "poison"}, "do": {"refuse_objects": True}})
    ended = w.sync([rename("a", "b", "poison"), record("P1", since="P0")])
    same((ended.rc, sorted(f[1] for f in failures(w))), (1, ["a", "b"]), "both halves fail")
    ended = w.sync([put("b", "B2")], "--no-retry")
    same((sorted(f[1] for f in failures(w)), w.position("R")), (["a"], "P0"), "one is superseded")
    ended = w.sync([put("a", "A2")], "--no-retry")
    same((ended.rc, failures(w), w.position("R")), (0, [], "P1"), "both are: released")
    same(texts(w), {"a": "A2", "b": "B2", "c": "C"}, "by what came later")


# ---- what holds, and what does not ----

def lines_after_the_record(w):
    """What came after a record is not passed by it, whoever did it: it counts as changed since."""
    stored(w, a="A", b="B", c="C", d="D")
    refuse(w, "poison")
    ended = w.sync([put("a", "poison"), record("P1", since="P0"), put("b", "poison"),
                    put("c", "C1", uncommitted=True)])
    same((ended.rc, verdict(ended, 2)), (1, ("held", "lines", 1)), "held for the line before it")
    w.sync([put("d", "D1")], "--no-retry")
    same(holders(w), ["a"], "and for no other one")
    w.script()
    ended = w.again()
    same((ended.rc, sorted(retried(ended)), w.position("R")),
         (0, [(n, "completed") for n in (1, 2, 3)], "P1"),
         "released by its retry")
    same(w.touched("R"), {"b", "c", "d"}, "what came later counts as changed")
    ended = w.sync([put("e", "E"), record("P2", since="P1")])
    same((ended.rc, verdict(ended, 2), holders(w)), (1, ("held", "lines", 3), ["b", "c", "d"]),
         "and holds a record that does not name it")
    ended = w.sync([put(p, p) for p in "bcde"] + [record("P3", since="P1")])
    same((ended.rc, w.position("R"), w.touched("R")), (0, "P3", set()), "one that does is free")


def lines_left_open(w):
    """A record that does not begin here closes nothing."""
    stored(w, a="A")
    ended = w.sync([put("a", "A1"), record("P2", since="P1"), put("b", "B"), record("P3", since="P0")])
    same((ended.rc, verdict(ended, 4), w.position("R")), (1, ("held", "lines", 1), "P0"),
         "a line before it holds the next one")
    same(holders(w), ["a"], "and is said to")
    w.sync([put("a", "A2"), put("b", "B2"), record("P4", since="P0")])
    ended = w.sync([put("a", "A3"), record("P6", since="P5"), put("b", "B3"), record("P7")])
    same((ended.rc, verdict(ended, 4), w.position("R")), (1, ("held", "lines", 1), "P4"),
         "also one that does not say since when")


# ---- in doubt ----

def killed(w, lines, *options, **when):
    """A run that is killed when the store has done the Nth write (kill_applied), or has read it and
    never does it (kill_request)."""
    if "kill_request" in when:
        w.script({"match": {"kind": "upsert|delete", "nth": when["kill_request"]},
                  "do": {"hang": True}})
    ended = w.sync(lines, *ONE_BY_ONE, *options, **when)
    same(ended.rc, KILLED, "killed")
    w.hung_up()
    w.script()
    w.store.clear_log()
    return ended


def doubt_read_back(w):
    stored(w, a="A")
    stored(w, "S0", "S", a="A")
    killed(w, [put("a", "A1"), record("P1", since="P0")], kill_applied=1)
    same((w.position("R"), w.touched("R"), texts(w)), ("P0", {"a"}, {"a": "A1"}),
         "done, not acknowledged")
    ended = w.sync([put("b", "B"), record("P2", since="P0"), put("a", "A1", "S"),
                    record("S1", "S", since="S0")])
    same((verdict(ended, 2), w.position("R")), (("held", "lines", 1), "P0"),
         "it holds its changeset")
    same(w.position("S"), "S1", "and no other")
    same(upserts(w), ["b", "a"], "it is not sent, but read back")
    same(w.touched("R"), {"a", "b"}, "and is still to be listed")
    w.store.clear_log()
    ended = w.sync([put("a", "A1"), put("b", "B"), record("P3", since="P0")])
    same((ended.rc, ended.statuses(3)), (0, ["skipped:unchanged"] * 2 + ["completed"]),
         "it is known to be there")
    same((w.writes(), w.touched("R")), ([], set()), "and nothing is sent")


def doubt_about_a_delete(w):
    stored(w, a="A", b="B")
    killed(w, [delete("a")], kill_applied=1)
    same((w.again().rc, w.touched("R")), (0, {"a"}), "read back")
    same(w.sync([delete("a")]).status(1), "skipped:unchanged", "it is known to be gone")


def doubt_about_what_was_there(w):
    """The request never arrived: the store holds what it held before."""
    stored(w, a="A")
    killed(w, [put("a", "A1")], kill_request=1)
    same((w.touched("R"), texts(w)), ({"a"}, {"a": "A"}), "in doubt")
    w.again()
    ended = w.sync([put("a", "A"), record("P1", since="P0")])
    same((ended.rc, ended.status(1), w.position("R")), (0, "skipped:unchanged", "P1"),
         "read back: it is what it was")


def doubt_about_an_open_change(w):
    """A line that never arrived does not close what an earlier one had changed."""
    stored(w, a="A", b="B")
    killed(w, [put("a", "A1"), put("b", "B1")], kill_request=2)
    ended = w.sync([put("b", "B"), record("P1", since="P0")])
    same((ended.rc, verdict(ended, 2)), (1, ("held", "lines", 1)), "a run that was given up changed one")
    killed(w, [delete("a")], kill_request=1)
    ended = w.again()
    same((ended.rc, w.position("R"), held(w), texts(w)["a"]), (1, "P0", "P1", "A1"),
         "it still holds the record")
    same(w.touched("R"), {"a", "b"}, "and is to be listed")


def doubt_that_stays(w):
    """Neither what was sent nor what was there before can be told."""
    stored(w, a="A")
    killed(w, [put("n", "N")], kill_request=1)
    for n in (1, 2):
        ended = w.sync([put("b", "B"), record("P%d" % n, since="P0")])
        same((ended.rc, verdict(ended, 2)[:2], w.position("R")), (1, ("held", "lines"), "P0"),
             "it holds")
        test("n" in w.touched("R"), "it is to be listed")
    said = w.ask("status", "--held")[1]
    test("skip" in said and "--path n" in said, "what frees it is said", said)
    ended = w.sync([put("b", "B"), put("n", "N"), record("P3", since="P0")])
    same((ended.rc, ended.status(2), w.position("R")), (0, "completed", "P3"), "a line finishes it")
    same((texts(w), w.touched("R")), ({"a": "A", "b": "B", "n": "N"}, set()), "and it is there")


def doubt_accepted(w):
    stored(w, a="A")
    killed(w, [put("n", "N")], kill_applied=1)
    w.script({"match": {"kind": "get"}, "do": {"status": 500}})
    ended = w.sync([put("b", "B"), record("P1", since="P0")])
    same((ended.rc, verdict(ended, 2)), (1, ("held", "lines", 1)),
         "it cannot be read back: it holds")
    w.script()
    rc, said = w.ask("skip", "--path", "n", "--repo", "R")
    same((rc, w.position("R"), held(w)), (0, "P1", None),
         "`skip` accepts it and releases the record")
    test("moved to P1" in said, "and says so", said)
    w.store.clear_log()
    ended = w.sync([put("n", "N")])
    same((ended.status(1), upserts(w)), ("completed", ["n"]), "it is not taken for unchanged")
    for path, line in (("m", delete("m")), ("a", put("a", "A"))):
        killed(w, [put(path, "new")], kill_request=1)
        same(w.ask("skip", "--path", path, "--repo", "R")[0], 0, "one that was not stored")
        ended = w.sync([line])
        same((ended.status(1), "are gone" in ended.err), ("completed", False),
             "nor for what it was before, nor is it missed")


def doubt_is_never_unchanged(w):
    stored(w, a="A")
    lines = [put("a", "A1"), record("P1", since="P0")]
    killed(w, lines, kill_applied=1)
    ended = w.sync(lines)
    same((ended.rc, ended.statuses(2), upserts(w)), (0, ["completed"] * 2, ["a"]),
         "the same input sends it again")
    killed(w, [put("a", "A2")], kill_request=1)
    ended = w.sync([put("a", "A1"), put("b", "B"), record("P2", since="P1")])
    same((ended.rc, ended.status(1), sorted(upserts(w))), (0, "completed", ["a", "b"]),
         "so does another one, also with what was there before")
    same((w.position("R"), w.touched("R")), ("P2", set()), "and the doubt is over")


def failed_and_in_doubt(w):
    stored(w, a="A")
    w.script({"match": {"kind": "upsert", "content": "lost"}, "do": {"drop": True}})
    ended = w.sync([put("a", "lost"), put("b", "B"), record("P1", since="P0")], "--max-retries", "2")
    same((ended.rc, ended.status(1), verdict(ended, 3)[:2]), (1, "failed", ("held", "lines")),
         "a line whose requests are lost fails")
    same(ended.of(1)["error"]["code"], "store-failed", "for the store's sake")
    same((w.position("R"), w.touched("R")), ("P0", {"a", "b"}), "it holds")
    w.script()
    ended = w.again()
    same((ended.rc, retried(ended), w.position("R")), (0, [(1, "completed"), (3, "completed")], "P1"),
         "a retry releases it")
    same((texts(w), w.touched("R")), ({"a": "lost", "b": "B"}, set()), "and ends the doubt")


# ---- changed since ----

def sync_around(w, first, act, then):
    """Feeds lines, calls act(process) when they have their results, feeds more."""
    child = w.start()
    out = b""
    child.stdin.write(b"".join(as_line(x) + b"\n" for x in first))
    while out.count(b"\n") < len(first):
        data = os.read(child.stdout.fileno(), 65536)
        if not data:
            break
        out += data
    act(child)
    child.stdin.write(b"".join(as_line(x) + b"\n" for x in then))
    child.stdin.close()
    out += child.stdout.read()
    err = child.stderr.read().decode()
    child.stdout.close()
    child.stderr.close()
    return Ended(child.wait(), out, err)


def ctime(w, name):
    return os.stat(os.path.join(w.root, name)).st_ctime_ns


def uncommitted(w):
    stored(w, a="A", b="B")
    ended = w.sync([put("a", "A1", uncommitted=True), put("b", "B1"), record("P1", since="P0")])
    same((ended.rc, w.position("R"), w.touched("R")), (0, "P1", {"a"}), "it counts as changed")
    ended = w.sync([put("b", "B2"), record("P2", since="P1")])
    same((ended.rc, verdict(ended, 2), w.position("R")), (1, ("held", "lines", 1), "P1"),
         "a record whose block does not name it is held")
    ended = w.sync([put("a", "A2", uncommitted=True), put("b", "B2"), record("P3", since="P1")])
    same((ended.rc, w.position("R"), w.touched("R")), (0, "P3", {"a"}),
         "one whose block does is not")
    ended = w.sync([put("a", "A2"), record("P4", since="P3")])
    same((ended.rc, ended.status(1), w.touched("R")), (0, "skipped:unchanged", set()),
         "a line without the field ends it")
    ended = w.sync([put("b", "B3"), record("P5", since="P4"), put("a", "A3", uncommitted=True)])
    same((ended.rc, ended.statuses(3), w.position("R")), (0, ["completed"] * 3, "P5"),
         "one after the record does not hold it")
    same(w.touched("R"), {"a"}, "and counts as changed")


def exported(w, kind):
    """The records of this type that `export` prints."""
    return [x for x in map(json.loads, w.ask("export")[1].splitlines()) if x["type"] == kind]


def in_no_commit(w):
    return {d["path"] for d in exported(w, "document") if d.get("uncommitted")}


def uncommitted_by_option(w):
    """--uncommitted says it of every line that does not say itself, in whatever form."""
    for n in ("p", "m", "new", "q"):
        w.write_file("R", n, "text of " + n)
    stored(w, a="A", b="B", old="O", gone="G")
    lines = [put("a", "A1"), put("b", "B1", uncommitted=False), put("c", "C", uncommitted=None),
             put("d", "D", uncommitted=True), "p", '"q"', "M\tm", "R100\told\tnew", "D\tgone",
             record("P1", since="P0")]
    ended = w.sync(lines, "--repo", "R", "--uncommitted")
    same((ended.rc, w.position("R")), (0, "P1"), "all are done")
    same(w.touched("R"), {"a", "c", "d", "p", "q", "m", "new", "old", "gone"},
         "all but what says itself, also a delete and both paths of a rename")
    same(in_no_commit(w), w.touched("R"), "export says so")
    ended = w.sync(["p", put("a", "A1"), record("P2", since="P1")], "--repo", "R")
    same((verdict(ended, 3), in_no_commit(w)), (("held", "lines", 7), {"c", "d", "q", "m", "new", "old", "gone"}),
         "a line without it ends that; the others hold the next record")
    for form, data, names in (("paths", b"p\0", {"p"}), ("name-status", b"M\0a\0R100\0b\0p\0", {"b", "p"})):
        w.sync([put(n, "again") for n in names])
        test(not in_no_commit(w) & names, "committed")
        w.sync(data, "-z", "--input-format", form, "--repo", "R", "--uncommitted")
        test(in_no_commit(w) >= names, "names that end with NUL, %s" % form, in_no_commit(w))


def uncommitted_by_environment(w):
    stored(w, a="A", b="B")
    w.env["LINESYNC_UNCOMMITTED"] = "1"
    w.sync([put("a", "A1"), record("P1", since="P0")])
    del w.env["LINESYNC_UNCOMMITTED"]
    same((w.position("R"), w.touched("R")), ("P1", {"a"}), "LINESYNC_UNCOMMITTED")
    before = exported(w, "document")
    ended = w.sync([put("b", "B1"), put("a", "A1")], "--uncommitted", "--dry-run")
    same(([r["status"] for r in ended.results], [r["action"] for r in ended.results]),
         (["planned"] * 2, ["upsert", "skip"]), "--dry-run prints what it would print without")
    same((exported(w, "document"), w.touched("R")), (before, {"a"}), "and changes nothing")


def uncommitted_is_kept(w):
    """With a failed line, for its retry, however the run that tries it again is started."""
    stored(w, a="A", b="B")
    refuse(w, "poison")
    w.sync([put("a", "poison"), put("b", "poison", uncommitted=False), record("P1", since="P0")], "--uncommitted")
    w.sync([put("c", "poison", "S")], "--no-retry")
    same([(f["path"], f.get("default_uncommitted")) for f in exported(w, "failure")],
         [("a", True), ("b", True), ("c", None)], "export shows how each was read")
    w.script()
    ended = w.sync([put("d", "D", "S")])
    same(sorted((r["line"], r["status"]) for r in ended.results if r.get("retried")),
         [(1, "completed"), (1, "completed"), (2, "completed"), (3, "completed")], "all are tried again")
    same((w.position("R"), exported(w, "failure")), ("P1", []), "the record is released")
    same((texts(w), in_no_commit(w)), ({"a": "poison", "b": "poison"}, {"a"}),
         "and that line's text is in no commit still")


def uncommitted_and_resumed(w):
    """Lines that were read with it and without are not read in the same way."""
    stored(w, a="A")
    lines = [put("a", "A1"), put("b", "B"), record("P1", since="P0")]
    killed(w, lines, "--uncommitted", kill_applied=2)
    ended = w.sync(lines)
    test("the input is read in another way" in ended.err, "another run begins", ended.err)
    same((w.position("R"), w.touched("R")), ("P1", set()), "whose lines say what they say")
    killed(w, lines[:1] + [put("c", "C"), record("P2", since="P1")], "--uncommitted", "--force", kill_applied=2)
    ended = w.sync(lines[:1] + [put("c", "C"), record("P2", since="P1")], "--uncommitted", "--force")
    same((ended.of(1).get("resumed"), w.position("R"), w.touched("R")), (True, "P2", {"a", "c"}),
         "with it again, the run goes on")


def unchanged_outside_a_block(w):
    """Lines that no record closes and that change nothing are nothing to wait for."""
    stored(w, a="A", b="B", c="C")
    same(w.sync([put("a", "A"), put("b", "B"), delete("x")]).rc, 0, "a list without a record")
    same(w.touched("R"), {"x"}, "what is as it was is not changed")
    same(w.sync([put("a", "A"), put("c", "C1"), put("x", "X")]).rc, 0, "another changes one")
    ended = w.sync([put("b", "B"), put("c", "C1")])
    same((ended.statuses(2), w.touched("R")), (["skipped:unchanged"] * 2, {"c", "x"}),
         "which is changed also when a later line finds it unchanged")
    ended = w.sync([put("d", "D"), put("x", "X"), record("P1", since="P0")])
    same((ended.rc, verdict(ended, 3), w.position("R")), (1, ("held", "lines", 1), "P0"),
         "a record waits for that one alone")
    ended = w.sync([put("c", "C1"), put("d", "D"), put("x", "X"), record("P1", since="P0")])
    same((ended.rc, w.position("R"), w.touched("R")), (0, "P1", set()), "until it is named")
    w.sync([put("a", "A"), put("b", "B")])
    w.sync([put("a", "A1"), put("b", "B", uncommitted=True)])
    same(w.touched("R"), {"a", "b"}, "a change after it counts, and so does a text in no commit")
    ended = w.sync([put("d", "D"), record("P2", since="P1")])
    same((ended.rc, verdict(ended, 2)), (1, ("held", "lines", 2)), "and holds the next record")


def changed_while_read(w):
    """A file that changed after its run began may hold more than the listing knew."""
    for name in ("a", "b"):
        w.write_file("R", name, "before")
    same(w.sync([from_file("a"), from_file("b"), record("P0")]).rc, 0, "prepared")
    same(w.touched("R"), set(), "files from before the run are as they were listed")

    def change(_child):
        w.write_file("R", "mark", "")
        while True:    # a file system's clock has ticks
            w.write_file("R", "a", "edited")
            if ctime(w, "R/a") > ctime(w, "R/mark"):
                return
    ended = sync_around(w, [put("c", "C")], change,
                        [from_file("a"), from_file("b"), record("P1", since="P0")])
    same((ended.rc, ended.status(2), w.position("R")), (0, "completed", "P1"),
         "one changes meanwhile")
    same((texts(w)["a"], w.touched("R")), ("edited", {"a"}),
         "it counts as changed, the other does not")
    ended = w.sync([from_file("a"), record("P2", since="P1")])
    same((ended.rc, w.position("R"), w.touched("R")), (0, "P2", set()),
         "until a later run reads it")


def changed_before_the_run(w):
    """The producer may have listed a file while the store was still being opened."""
    for name in ("a", "b"):
        w.write_file("R", name, "listed")
    same(w.sync([from_file("a"), from_file("b"), record("P0")]).rc, 0, "prepared")

    def change(n, _call):
        if n == 1:
            w.write_file("R", "mark", "")
            while ctime(w, "R/a") <= ctime(w, "R/mark"):
                w.write_file("R", "a", "edited")
            time.sleep(0.03)    # some ticks more, before linesync goes on
    w.store.clear_log()
    ended = w.sync([from_file("a"), from_file("b"), record("P1", since="P0")], on_request=change)
    same((ended.rc, texts(w)["a"], w.touched("R")), (0, "edited", {"a"}),
         "what changed since linesync was started counts as changed")


def changed_before_the_retry(w):
    stored(w, b="B")
    ended = w.sync([from_file("a"), record("P1", since="P0")])
    same((ended.rc, ended.of(1)["error"]["code"], verdict(ended, 2)[1]), (1, "no-such-file", "lines"),
         "a file is not there")
    w.write_file("R", "a", "late")
    ended = w.again()
    same((ended.rc, retried(ended), w.position("R")), (0, [(1, "completed"), (2, "completed")], "P1"),
         "a retry reads it later than it was listed")
    same((texts(w)["a"], w.touched("R")), ("late", {"a"}), "it counts as changed")
    ended = w.sync([from_file("a"), record("P2", since="P1")])
    same((ended.rc, w.touched("R")), (0, set()), "until a later run reads it")


def changed_before_the_resume(w):
    stored(w, b="B")
    w.write_file("R", "a", "listed")
    w.write_file("R", "c", "as listed")
    lines = [put("b", "B1"), from_file("a"), from_file("c"), record("P1", since="P0")]
    killed(w, lines, kill_request=1)
    w.write_file("R", "a", "edited")
    ended = w.sync(lines)
    same((ended.rc, w.position("R"), texts(w)["a"]), (0, "P1", "edited"),
         "read when the run goes on")
    same(w.touched("R"), {"a"}, "it counts as changed, another that is of the same second does not")


def changed_before_the_difference(w):
    """Lines from a difference on belong to a run that began with this process, not at that line."""
    stored(w, b="B")
    for name in ("a", "k"):
        w.write_file("R", name, "listed")
    killed(w, [put("b", "B1"), put("c", "C"), put("d", "D")], kill_request=2)
    sync = Steered(w)
    sync.feed(put("b", "B1"))
    sync.wait_results(1)
    w.write_file("R", "mark", "")
    while ctime(w, "R/a") <= ctime(w, "R/mark"):
        w.write_file("R", "a", "edited")
    ended = sync.end(put("c", "C1"), from_file("a"), from_file("k"), record("P1", since="P0"))
    same((ended.rc, resumed(ended), w.position("R"), texts(w)["a"]), (0, [1], "P1", "edited"),
         "a run goes another way")
    same(w.touched("R"), {"a"}, "what changed since linesync was started counts as changed")


def touched_names_exactly(w):
    stored(w, a="A", b="B", c="C", d="D", e="E", f="F")
    refuse(w, "poison")
    same(w.sync([put("b", "B1"), put("c", "C1", uncommitted=True), record("P1", since="P0")]).rc, 0,
         "one uncommitted")
    w.sync([put("d", "D1"), delete("f"), put('q"\t', "Q"), put("e", "poison")])
    killed(w, [put("n", "N")], "--no-retry", kill_request=1)
    w.sync([put("x", "X", "S"), put("y", "Y", "S"), delete("y", "S"), put("z", "", "S")], "--no-retry")
    rc, out = w.ask("changeset", "--touched", "R", "-z")
    same((rc, out.split("\0")), (0, ["c", "d", "e", "f", "n", 'q"\t', ""]),
         "changed, deleted, uncommitted, failed, in doubt: once each, sorted")
    same(w.ask("changeset", "--touched", "R"), (0, 'c\nd\ne\nf\nn\n"q\\"\\t"\n'),
         "as git quotes them")
    test({"x", "y"} <= w.touched("S"), "without a position all that is known")
    lines = [put("c", "C1"), put("d", "D1"), put("e", "E1"), put("n", "N"), delete("f"),
             delete('q"\t'), record("P2", since="P1")]
    ended = w.sync(lines)
    same((w.position("R"), w.touched("R"), failures(w)), ("P2", set(), []),
         "listed, nothing is left")


# ---- runs that go on ----

def letters(n, version=""):
    return [put(c, c.upper() + version) for c in "abcdefgh"[:n]]


def resumed(ended):
    return [r["line"] for r in ended.results if r.get("resumed")]


def run_ids(*endeds):
    return [sorted({r["run"] for r in e.results}) for e in endeds]


def resume_same_input(w):
    lines = letters(5) + [record("P1")]
    first = killed(w, lines, kill_applied=3)
    second = w.sync(lines)
    same((second.rc, sorted(r["line"] for r in second.results)), (0, [1, 2, 3, 4, 5, 6]),
         "the same input goes on: one result for each line")
    same((resumed(second), {r["status"] for r in second.results}), ([1, 2], {"completed"}),
         "what was done is told from the record")
    same(upserts(w), ["c", "d", "e"], "and not sent again")
    same(run_ids(second), run_ids(first), "it is the same run")
    same((w.position("R"), run_statuses(w)), ("P1", {run_ids(first)[0][0]: "completed"}),
         "which is complete")
    w.store.clear_log()
    third = w.sync(lines)
    same((third.statuses(6), resumed(third), w.writes()),
         (["skipped:unchanged"] * 5 + ["completed"], [], []),
         "once more: a new run, which sends nothing")
    test(run_ids(third) != run_ids(first), "with another name")


def resume_twice(w):
    lines = letters(6) + [record("P1")]
    killed(w, lines, kill_applied=2)
    second = killed(w, lines, kill_applied=2)
    third = w.sync(lines)
    same((third.rc, sorted(r["line"] for r in third.results)), (0, [1, 2, 3, 4, 5, 6, 7]),
         "killed twice")
    same((resumed(second) + resumed(third), upserts(w)), ([1, 1, 2], ["c", "d", "e", "f"]),
         "each goes on where the last was done")


def resume_another_first_line(w):
    lines = letters(3)
    first = killed(w, lines, kill_applied=2)
    second = w.sync([put("a", "other")] + lines[1:])
    same((second.rc, resumed(second), upserts(w)), (0, [], ["a", "b", "c"]),
         "another first line: a new run")
    test(run_ids(second) != run_ids(first), "with another name")
    test(run_ids(first)[0][0] in second.err and "new run" in second.err,
         "which is said", second.err)
    same(run_statuses(w), {run_ids(first)[0][0]: "interrupted", run_ids(second)[0][0]: "completed"},
         "the old one stays interrupted")


def resume_early_end(w):
    lines = letters(4)
    first = killed(w, lines, kill_applied=4)
    second = w.sync(lines[:2])
    same((second.rc, resumed(second), upserts(w)), (0, [1, 2], []), "an input that ends early")
    test(run_ids(first)[0][0] in second.err and "ends" in second.err, "is said to", second.err)
    same(run_statuses(w)[run_ids(first)[0][0]], "interrupted", "and stays interrupted")
    same(w.touched("R"), set("abcd"), "what it did is known")
    ended = w.sync([put("e", "E"), record("P1")])
    same((ended.rc, verdict(ended, 2)[:2]), (1, ("held", "lines")), "and must be named")
    ended = w.sync(letters(5) + [record("P2")])
    same((ended.rc, w.position("R")), (0, "P2"), "before the position moves")


def resume_difference(w):
    stored(w, x="X")
    lines = letters(4)
    killed(w, lines, kill_applied=4)
    changed = lines[:2] + [put("c", "other"), record("P1", since="P0")]
    second = w.sync(changed)
    same((sorted(r["line"] for r in second.results), resumed(second)), ([1, 2, 3, 4], [1, 2]),
         "a difference in the middle: lines before it are done")
    same(upserts(w), ["c"], "the line itself is new")
    test("line 3" in second.err, "which is said", second.err)
    same((verdict(second, 4), w.position("R")), (("held", "lines", 1), "P0"),
         "what was done from there on and is not named holds")
    same(w.touched("R") >= {"d"}, True, "and is to be listed")
    third = w.sync(letters(4, "3") + [record("P2", since="P0")])
    same((third.rc, w.position("R"), w.touched("R")), (0, "P2", set()), "listed, it does not")


def resume_difference_behind_the_position(w):
    """Lines before the difference are not done again, and what they say is not what is there now."""
    stored(w, a="A")
    w.script({"match": {"kind": "upsert", "content": "slow"}, "do": {"hang": True}})
    sync = Steered(w, *ONE_BY_ONE)
    for n, line in enumerate([put("a", "X"), put("a", "Y"), record("P1", since="P0"), put("a", "Y")]):
        sync.feed(line)
        sync.wait_results(n + 1)
    sync.feed(put("z", "slow"))
    sync.signal(signal.SIGKILL)
    ended = sync.end()
    same(ended.statuses(4), ["completed"] * 3 + ["skipped:unchanged"], "killed behind the position")
    w.hung_up()
    w.script()
    ended = w.sync([put("a", "X"), record("P2", since="P1")])
    same((ended.rc, resumed(ended), verdict(ended, 2)[:2], w.position("R")), (1, [1], ("held", "lines"), "P1"),
         "a record that goes by a line before the difference is held")
    test("a" in w.touched("R"), "the document counts as changed")
    ended = w.sync([put("a", "X")] + [put(p, "Z") for p in w.touched("R") - {"a"}] + [record("P2", since="P1")])
    same((ended.rc, w.position("R"), texts(w)["a"]), (0, "P2", "X"), "until a line finishes it")


def resume_lines_added(w):
    lines = letters(3)
    first = killed(w, lines, kill_applied=3)
    second = w.sync(letters(5) + [record("P1")])
    same((second.rc, resumed(second), upserts(w)), (0, [1, 2], ["c", "d", "e"]),
         "lines added at the end")
    same((run_ids(second), w.position("R")), (run_ids(first), "P1"), "the run goes on with them")


def resume_ignores_what_is_no_change(w):
    lines = letters(4) + [record("P1")]
    first = killed(w, ["", lines[0], "Detecting changes...   0% -:--:--", *lines[1:]], kill_applied=3)
    second = w.sync([lines[0], "", "Detecting changes...  10% -:--:--", "  ", "", *lines[1:]])
    same((second.rc, run_ids(second)), (0, run_ids(first)),
         "blank lines and progress bars take no part")
    same([(r["line"], r["status"]) for r in sorted(second.results, key=lambda r: r["line"])],
         [(1, "completed"), (3, "skipped"), (6, "completed"), (7, "completed"), (8, "completed"),
          (9, "completed")], "each line but blank ones has a result, by its number in this input")
    same((resumed(second), upserts(w)), ([1, 6], ["c", "d"]), "and nothing is sent again")


def resume_settings(w):
    other_root = os.path.join(w.dir, "elsewhere")
    os.mkdir(other_root)
    for n, options in enumerate((("--input-format", "json"), ("--repo", "X"), ("--namespace", "team"),
                                 ("--root", other_root), ("--exclude", "*.x"), ("--max-content", "900"),
                                 ("--force",), ("--new-run",))):
        lines = [put(p + str(n), "text") for p in "abc"]
        killed(w, lines, kill_applied=2)
        ended = w.sync(lines, *options)
        repo = "team/R" if "--namespace" in options else "R"
        same((ended.rc, resumed(ended), len(ended.results)), (0, [], 3),
             "not with " + " ".join(options))
        test("new run" in ended.err and options[-1 if options[0] == "--new-run" else 0] in
             ended.err + "--input-format--repo--namespace--root--exclude--max-content--force",
             "which is said", ended.err)
        same({p: texts(w, repo).get(p + str(n)) for p in "abc"}, dict.fromkeys("abc", "text"),
             "all is done")
    for n, options in enumerate((("--batch-size", "7"), ("--connections", "2"), ("--no-retry",),
                                 ("--results", "all"))):
        lines = [put(p + str(n), "text 2") for p in "abc"]
        killed(w, lines, kill_applied=2)
        same(resumed(w.sync(lines, *options)), [1], "but with " + " ".join(options))


def resume_failed_lines(w):
    lines = [put("a", "poison"), *letters(4)[1:], record("P1")]
    w.script({"match": {"kind": "upsert", "content": "poison"}, "do": {"refuse_objects": True}},
             {"match": {"kind": "upsert", "content": "C"}, "do": {"hang": True}})
    first = w.sync(lines, *ONE_BY_ONE, kill_request=3)
    w.hung_up()
    same((first.rc, first.status(1), first.status(2)), (KILLED, "failed", "completed"),
         "killed after a failure")
    w.script()
    w.store.clear_log()
    second = w.sync(lines)
    same((second.rc, sorted(r["line"] for r in second.results)), (0, [1, 2, 3, 4, 5]), "it goes on")
    same((second.status(1), resumed(second), retried(second)), ("completed", [2], []),
         "a failed line is done again in its place, once")
    same((upserts(w), failures(w), w.position("R")), (["a", "c", "d"], [], "P1"),
         "and holds no more")


def resume_reads_files_again(w):
    for name in ("a", "b", "c"):
        w.write_file("R", name, name)
    lines = [from_file(p) for p in "abc"] + [put("d", "D"), put("e", "E")]
    killed(w, lines, kill_applied=5)
    w.write_file("R", "a", "another text")
    ended = w.sync(lines)
    same(ended.statuses(5),
         ["completed", "skipped:unchanged", "skipped:unchanged", "completed", "completed"],
         "a file that changed is sent, others are not")
    same((ended.rc, resumed(ended), upserts(w)), (0, [4], ["a", "e"]),
         "though their lines were done")
    same(texts(w)["a"], "another text", "as it is now")


def resume_older_line(w):
    """A line that is done again does not overwrite what a later one of its run has done."""
    w.write_file("R", "a", "from a file")
    lines = [from_file("a"), put("a", "last"), put("b", "B")]
    ended = sync_around(w, lines[:2], lambda child: child.kill(), [])
    same((ended.rc, texts(w)), (KILLED, {"a": "last"}), "killed after both")
    w.hung_up()
    w.store.clear_log()
    w.write_file("R", "a", "edited")
    ended = w.sync(lines)
    same((ended.rc, ended.statuses(3)), (0, ["superseded", "completed", "completed"]),
         "it is superseded")
    same((texts(w), upserts(w)), ({"a": "last", "b": "B"}, ["b"]), "and not sent")


def resume_no_content(w):
    """A line without a text does not take the place of an earlier one that was not done."""
    stored(w, a="A")
    w.script({"match": {"kind": "upsert", "content": "Q"}, "do": {"hang": True}})
    lines = [put("q", "Q"), put("a", "A1"), dict(repo="R", path="a", content=None)]
    ended = w.sync(lines, *ONE_BY_ONE, kill_line=1)
    same((ended.rc, ended.verdicts()), (KILLED, {3: "skipped:no-content"}), "killed before it was sent")
    w.hung_up()
    w.script()
    ended = w.sync(lines, *ONE_BY_ONE)
    same((ended.rc, ended.statuses(3)), (0, ["completed", "completed", "skipped:no-content"]),
         "all is done")
    same(texts(w), {"a": "A1", "q": "Q"}, "the text is stored")


def older_input(w):
    """An input that is fed after a newer one is the last word."""
    killed(w, letters(2, "1"), kill_applied=2)
    same(w.sync(letters(2, "2")).rc, 0, "another input")
    ended = w.sync(letters(2, "1"))
    same((ended.rc, resumed(ended), ended.statuses(2)), (0, [], ["completed"] * 2),
         "and the first again")
    same(texts(w), {"a": "A1", "b": "B1"}, "the last one counts")


# ---- renames ----

def rename_chains(w):
    stored(w, a="1", z="Z")
    for n, (old, new) in enumerate((("a", "b"), ("b", "c"), ("c", "a"))):
        ended = w.sync([rename(old, new, "1"), record("P%d" % (n + 1), since="P%d" % n)])
        same((ended.rc, ended.status(1), texts(w)), (0, "completed", {new: "1", "z": "Z"}),
             "from run to run: %s" % new)
    ended = w.sync([rename("a", "b", "1"), rename("b", "c", "1"), rename("c", "d", "1"),
                    record("P4", since="P3")])
    same((ended.rc, texts(w), w.position("R"), w.touched("R")), (0, {"d": "1", "z": "Z"},
         "P4", set()),
         "in one input")
    same({r["status"] for r in ended.results} <= {"completed", "superseded"}, True,
         "done, or passed over")


def rename_stores_first(w):
    stored(w, a="A")
    w.script({"match": {"kind": "upsert"}, "do": {"delay_ms": 80}})
    same(w.sync([rename("a", "b", "A")], "--connections", "2").rc, 0, "a slow store")
    same([(d, text) for _, d, text in w.store.history[-2:]], [(("R", "b"), "A"), (("R", "a"), None)],
         "the old one goes when the new one is there")


def rename_swap(w):
    """git's renames are simultaneous: the old path of one is the new path of another."""
    for name, text in (("a", "first"), ("b", "second"), ("c", "third")):
        w.write_file("R", name, text)
    git = ("--repo", "R")
    same(w.sync(["a", "b", "c"], *git).rc, 0, "prepared")
    w.write_file("R", "a", "second")
    w.write_file("R", "b", "first")
    ended = w.sync(["R100\ta\tb", "R100\tb\ta"], *git)
    same((ended.rc, ended.statuses(2)), (0, ["completed"] * 2), "two names are swapped")
    same(texts(w), {"a": "second", "b": "first", "c": "third"}, "both are there")
    w.write_file("R", "a", "third")
    w.write_file("R", "b", "second")
    w.write_file("R", "c", "first")
    ended = w.sync(["R100\tb\tc", "R100\tc\ta", "R100\ta\tb"], *git, *ONE_BY_ONE)
    same((ended.rc, texts(w)), (0, {"a": "third", "b": "second", "c": "first"}), "three go round")
    w.write_file("R", "d", "first")
    w.write_file("R", "c", None)
    w.store.clear_log()
    ended = w.sync(["R100\tc\td"], *git)
    same((ended.rc, texts(w)), (0, {"a": "third", "b": "second", "d": "first"}),
         "an old name without a file")
    same(w.writes(), [("upsert", [object_id("R", "d")]), ("delete", [object_id("R", "c")])],
         "is deleted when the new one is stored")


def rename_in_doubt(w):
    stored(w, z="Z")
    killed(w, [put("a", "A")], kill_applied=1)
    ended = w.sync([rename("a", "b", "A"), record("P1", since="P0")])
    same((ended.rc, ended.statuses(2), texts(w)), (0, ["completed"] * 2, {"b": "A", "z": "Z"}),
         "the old path is in doubt")
    same((w.position("R"), w.touched("R")), ("P1", set()), "and is no more")
    killed(w, [put("c", "C")], kill_request=1)
    ended = w.sync([rename("b", "c", "A"), record("P2", since="P1")])
    same((ended.rc, texts(w), w.position("R")), (0, {"c": "A", "z": "Z"}, "P2"),
         "so is the new one")


def rename_and_other_lines(w):
    stored(w, a="A", b="B")
    ended = w.sync([rename("a", "c", "A"), put("a", "new"), record("P1", since="P0")])
    same((ended.rc, texts(w), w.position("R")), (0, {"a": "new", "b": "B", "c": "A"}, "P1"),
         "the old path is stored again by a later line")
    ended = w.sync([put("b", "B2"), rename("b", "d", "B"), record("P2", since="P1")])
    same((ended.rc, texts(w), w.position("R")), (0, {"a": "new", "c": "A", "d": "B"}, "P2"),
         "or was by an earlier one")
    ended = w.sync([rename("d", "e", "B"), put("e", "E"), delete("a"), rename("c", "a", "A"),
                    record("P3", since="P2")], *ONE_BY_ONE)
    same((ended.rc, texts(w), w.position("R")), (0, {"a": "A", "e": "E"}, "P3"),
         "so is the new one")
    ended = w.sync([rename("e", "e", "E2"), record("P4", since="P3")])
    same((texts(w), w.position("R")), ({"a": "A", "e": "E2"}, "P4"),
         "a rename onto itself loses nothing")


def delete_and_add_again(w):
    stored(w, a="A")
    for options in (("--flush-ms", "10000"), ONE_BY_ONE):
        text = "again " + options[0]
        ended = w.sync([delete("a"), put("a", text), delete("b"), put("b", text), delete("b")], *options)
        same((ended.rc, texts(w)), (0, {"a": text}), "deleted and added in one input")
        test({ended.status(n) for n in (2, 5)} <= {"completed", "skipped:unchanged"},
             "the last line counts")


def rename_killed_between(w):
    stored(w, a="A")
    lines = [rename("a", "b", "A"), put("c", "C"), record("P1", since="P0")]
    killed(w, lines, kill_request=2)
    same((texts(w), w.position("R")), ({"a": "A", "b": "A"}, "P0"),
         "the new half is done, the old is not")
    ended = w.sync(lines)
    same((ended.rc, ended.statuses(3), texts(w)), (0, ["completed"] * 3, {"b": "A", "c": "C"}),
         "the same input does the rest")
    same((w.position("R"), w.touched("R")), ("P1", set()), "and nothing is left")


TESTS = [complete_deletes_the_rest, complete_at_most_half, complete_max_delete,
         complete_with_a_failure, complete_failures_elsewhere, complete_without_its_record,
         complete_killed_while_deleting, complete_supersedes_failures, complete_deletes_doubt,
         complete_leaves_what_has_no_content, complete_in_a_namespace,
         complete_counts_earlier_lines, complete_after_a_difference, complete_not_from_here, complete_behind_a_held_record,
         complete_skipped_documents, since_the_position, since_nothing, unfilled, since_a_held_record,
         since_what_a_retry_releases, since_held_in_one_input, since_neither,
         since_neither_in_one_input, superseded_place_beyond_the_record, retry_releases,
         retry_rounds, retries_come_first_in_order, retry_as_it_was_read, retry_without_a_folder,
         rename_of_which_both_halves_fail, newer_line_supersedes, newer_failure_takes_the_place,
         older_failure_holds, not_retryable, broken_line_holds_all, broken_line_that_holds_nothing,
         broken_lines_hold_what_follows, undecided_record_supersedes_nothing,
         broken_line_again, line_without_a_path, half_a_rename_fails,
         half_a_rename_tried_with_the_file_back, failed_rename_superseded, lines_after_the_record,
         lines_left_open, doubt_read_back, doubt_about_a_delete, doubt_about_what_was_there,
         doubt_about_an_open_change, doubt_that_stays, doubt_accepted, doubt_is_never_unchanged,
         failed_and_in_doubt, uncommitted, uncommitted_by_option,
         uncommitted_by_environment, uncommitted_is_kept, uncommitted_and_resumed, unchanged_outside_a_block, changed_while_read,
         changed_before_the_run, changed_before_the_retry, changed_before_the_resume,
         changed_before_the_difference, touched_names_exactly, resume_same_input, resume_twice,
         resume_another_first_line, resume_early_end, resume_difference,
         resume_difference_behind_the_position, resume_lines_added,
         resume_ignores_what_is_no_change, resume_settings, resume_failed_lines,
         resume_reads_files_again, resume_older_line, resume_no_content, older_input, rename_chains,
         rename_stores_first, rename_swap, rename_in_doubt, rename_and_other_lines,
         delete_and_add_again, rename_killed_between]


if __name__ == "__main__":
    sys.exit(run_tests(TESTS))
