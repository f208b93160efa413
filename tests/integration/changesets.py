#!/usr/bin/env python3
"""changesets.py [-v] [NAME...] - when a repository's position moves, and what holds it: complete
listings, `since`, failed lines and their retries, documents in doubt, runs that go on, renames.
What can be written as data is in ../cases.  NAMEs: only these."""

import json
import os
import signal
import sys
import time
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import Ended, Steered, as_line, delete, find_list, from_file, put, record, report, \
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


def run_statuses(w):
    return {r["run"]: r["status"]
            for r in find_list(json.loads(w.ask("status", "--runs", "--json")[1]), "runs")}


# ---- complete: true ----

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


# ---- since ----

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


# ---- failed lines ----

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


# ---- renames that fail ----

def rename(old, new, text=None):
    line = dict(repo="R", op="rename", old_path=old, path=new)
    return line if text is None else dict(line, content=text)


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


def exported(w, kind):
    """The records of this type that `export` prints."""
    return [x for x in map(json.loads, w.ask("export")[1].splitlines()) if x["type"] == kind]


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


def left_open(w):
    """A dirty file holds a record, and is listed again as it was, in an input without a record: what is said
    to do then moves it."""
    same(w.sync([put("a", "A"), put("b", "B"), record("P0")]).rc, 0, "prepared")
    w.sync([put("a", "dirty")], "--uncommitted")
    same(w.sync([record("P0", since="P0")]).status(1), "held", "a dirty file holds it")
    same(w.sync([put("a", "A")]).rc, 1, "changed back")
    test("'linesync changeset --touched' names, with a" in w.ask("status", "--held")[1], "what to do",
         w.ask("status", "--held")[1])
    touched = w.ask("changeset", "--touched", "R")[1].split()
    same(touched, ["a"], "what is named")
    ended = w.sync([put(p, "A") for p in touched] + [record("P0", since="P0")])
    same((ended.rc, ended.status(2), w.position("R")), (0, "completed", "P0"), "in one input it moves")


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


# ---- runs that go on ----

def letters(n, version=""):
    return [put(c, c.upper() + version) for c in "abcdefgh"[:n]]


def resumed(ended):
    return [r["line"] for r in ended.results if r.get("resumed")]


def run_ids(*endeds):
    return [sorted({r["run"] for r in e.results}) for e in endeds]


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


# ---- renames ----

def rename_stores_first(w):
    stored(w, a="A")
    w.script({"match": {"kind": "upsert"}, "do": {"delay_ms": 80}})
    same(w.sync([rename("a", "b", "A")], "--connections", "2").rc, 0, "a slow store")
    same([(d, text) for _, d, text in w.store.history[-2:]], [(("R", "b"), "A"), (("R", "a"), None)],
         "the old one goes when the new one is there")


def delete_and_add_again(w):
    stored(w, a="A")
    for options in (("--flush-ms", "10000"), ONE_BY_ONE):
        text = "again " + options[0]
        ended = w.sync([delete("a"), put("a", text), delete("b"), put("b", text), delete("b")], *options)
        same((ended.rc, texts(w)), (0, {"a": text}), "deleted and added in one input")
        test({ended.status(n) for n in (2, 5)} <= {"completed", "skipped:unchanged"},
             "the last line counts")


TESTS = [complete_in_a_namespace, unfilled, retry_as_it_was_read, retry_without_a_folder,
         undecided_record_supersedes_nothing, uncommitted_by_environment, left_open, changed_while_read,
         changed_before_the_run, changed_before_the_difference, resume_early_end,
         resume_difference_behind_the_position, resume_settings, resume_older_line, resume_no_content,
         rename_stores_first, delete_and_add_again]


if __name__ == "__main__":
    sys.exit(run_tests(TESTS))
