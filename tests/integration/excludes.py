#!/usr/bin/env python3
"""excludes.py [-v] [NAME...] - --exclude: its patterns mean what git means by them, and what is named later
goes, whatever is fed.  NAMEs: only these tests."""

import itertools
import json
import os
import random
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from gitrepo import TOP, Repo  # noqa: E402
from harness import program, put, record, report, run_tests  # noqa: E402

same, test = report.same, report.test

PARTS = ["a", "b", "ab", "a.log", "x", "!a", "[a]", "b-c", "A7"]
PIECES = ["a", "b", "x", "*", "?", "[ab]", "[!a]", "[[:alpha:]]", "\\*", "\\a", ".log", "-", "7", "*.log", "a*"]


def paths():
    found = set(PARTS)
    for p in PARTS[:6]:
        for q in PARTS:
            found.add(p + "/" + q)
            found |= {"%s/%s/%s" % (p, q, r) for r in ("a", "b", "a.log")}
    # a name cannot be a file and a folder
    return sorted(f for f in found if not any(g.startswith(f + "/") for g in found))


def a_pattern(rnd):
    parts = []
    for _ in range(rnd.choice((1, 1, 1, 2, 2, 3))):
        parts.append("**" if rnd.random() < .2 else "".join(rnd.choice(PIECES)
                                                            for _ in range(rnd.choice((1, 1, 2)))))
    text = "/".join(parts).replace("**.", "*.").replace("***", "**")
    # git takes a "**" behind plain characters for one that is a part by itself, against its manual
    if any("**" in p and p != "**" for p in parts):
        text = text.replace("**", "*")
    return ("!" if rnd.random() < .15 else "") + ("/" if rnd.random() < .2 else "") + text + \
        ("/" if rnd.random() < .2 else "")


def as_git(w, patterns, names):
    """The names that git ignores by these patterns."""
    with open(os.path.join(w.root, ".gitignore"), "w", encoding="utf-8") as f:
        f.write("".join(p + "\n" for p in patterns))
    done = subprocess.run(["git", "-c", "core.excludesFile=/dev/null", "check-ignore", "-z", "--stdin", "--no-index"],
                          cwd=w.root, input="\0".join(names).encode(), stdout=subprocess.PIPE, check=False)
    return set(done.stdout.decode().split("\0")[:-1])


def patterns_as_in_git(w):
    names = paths()
    subprocess.run(["git", "init", "-q", w.root], check=True)
    for n in names:
        w.write_file("", n, "x")
    rnd = random.Random(19)
    sets = [["node_modules"], ["a/"], ["/x/**"], ["*.log"], ["a/b"], ["a", "!a/b"], ["a/*", "!a/b"], ["**/b"],
            ["a/**/b"], ["**"], ["*", "!*.log", "!*/"], ["[[:none:]]"], ["[a"], ["a\\"]]
    sets += [[a_pattern(rnd) for _ in range(rnd.choice((1, 1, 2, 3)))] for _ in range(120)]
    lines = [put(n, "x") for n in names]
    wrong, ignored = [], 0
    for patterns in sets:
        want = as_git(w, patterns, names)
        ended = w.sync(lines, "--dry-run", *[x for p in patterns for x in ("--exclude=" + p,)])
        got = {r["path"] for r in ended.results if r.get("reason") == "excluded"}
        ignored += len(want)
        if got != want:
            wrong.append((patterns, sorted(got - want)[:5], sorted(want - got)[:5], ended.err))
    same(wrong, [], "%d sets of patterns and %d paths: as git check-ignore" % (len(sets), len(names)))
    test(ignored > 1000, "git ignores %d of them" % ignored)
    for p in ("", "/", "!"):
        ended = w.sync([put("a", "x")], "--dry-run", "--exclude=" + p)
        same(ended.rc, 64, "a pattern that names nothing: '%s'" % p)


def held(w):
    return {p for _, p in w.documents()}


def flags(w, flag):
    """The documents of which the state says that."""
    found = [json.loads(line) for line in w.ask("export")[1].splitlines()]
    return {r["path"] for r in found if r.get(flag)}


def fill(w, n=6):
    """Documents below sec/ and elsewhere, at a position."""
    ended = w.sync([put("sec/%d" % i, "secret %d" % i) for i in range(n)] +
                   [put("a", "one"), record("P1")])
    same((ended.rc, w.position("R"), len(held(w))), (0, "P1", n + 1), "prepared")


def named_later(w):
    """What is stored goes, though no line names it; the position stays."""
    fill(w)
    ended = w.sync([put("b", "two"), record("P2", since="P1")], "--exclude", "sec/")
    same((ended.rc, held(w), w.position("R")), (0, {"a", "b"}, "P2"), "it goes")
    same([r["path"] for r in ended.results if "path" in r], ["b"], "each line has its result, no other has")
    test(" 6 documents" in ended.err and "--exclude" in ended.err, "the number is said", ended.err)
    same((w.touched("R"), flags(w, "excluded")), (set(), {"sec/%d" % i for i in range(6)}), "no producer is bothered")
    ended = w.sync([put("b", "three"), put("sec/1", "new"), record("P3", since="P2")], "--exclude", "sec/")
    same((ended.rc, ended.err, ended.status(2), held(w), w.position("R")), (0, "", "skipped:excluded", {"a", "b"}, "P3"),
         "the same patterns again: nothing is looked through")
    ended = w.sync([put("c", "x"), record("P4", since="P3")], "--exclude", "sec/", "--exclude", "a")
    same((ended.rc, held(w)), (0, {"b", "c"}), "one more pattern")


def named_no_more(w):
    """What was left out counts as changed until it is listed."""
    ended = w.sync([put("sec/0", "x"), put("sec/1", "y"), put("a", "one"), dict(repo="R", op="delete", path="sec/2"),
                    record("P1")], "--exclude", "sec/")
    same((ended.rc, w.position("R"), w.touched("R")), (0, "P1", set()), "prepared")
    ended = w.sync([put("a", "two"), record("P2", since="P1")])
    same((ended.rc, w.position("R"), w.touched("R")), (1, "P1", {"a", "sec/0", "sec/1"}),
         "documents that were left out are named, and waited for")
    test(" 2 documents" in ended.err and "--touched" in ended.err, "and that is said", ended.err)
    test("left out by --exclude" in w.ask("status", "--held")[1], "status says what is waited for",
         w.ask("status", "--held")[1])
    ended = w.sync([put("a", "two"), record("P2", since="P1")], "--exclude", "sec/")
    same((ended.rc, w.position("R"), w.touched("R")), (0, "P2", set()), "named again: nobody waits any more")
    w.sync([put("a", "three")])
    ended = w.sync([put("a", "three"), put("sec/0", "x"), put("sec/1", "y"), record("P3", since="P2")])
    same((ended.rc, w.position("R"), held(w), w.touched("R")), (0, "P3", {"a", "sec/0", "sec/1"}, set()),
         "listed, they are there again")


def killed(w):
    """Killed at each write of the sweep; whatever the next patterns are, nothing is lost."""
    for at, after in itertools.product(range(1, 7), ("same", "none", "other")):
        for f in os.listdir(w.dir):
            if f.startswith("state.tdb"):
                os.unlink(os.path.join(w.dir, f))
        with w.store.lock:
            w.store.by_name.clear()
        fill(w)
        first = w.sync([put("b", "two"), record("P2", since="P1")], "--exclude", "sec/", "--batch-size", "1",
                       "--connections", "1", kill_applied=at)
        options = {"same": ("--exclude", "sec/"), "none": (), "other": ("--exclude", "sec/[0-2]")}[after]
        ended = w.sync([put("b", "two"), record("P2", since="P1")], *options)
        known = held(w) | w.touched("R")
        want = {"same": set(), "none": {"sec/%d" % i for i in range(6)}, "other": {"sec/%d" % i for i in range(3, 6)}}
        name = "killed at write %d (%d), then with %s patterns" % (at, first.rc, after)
        same({p for p in known if p.startswith("sec/")}, want[after], name + ": each is there, or named to producers")
        same({p for p in held(w) if p.startswith("sec/")} - want[after], set(), name + ": what is named is gone")
        lost = want[after] - held(w)
        same((ended.rc, w.position("R")), (1, "P1") if lost else (0, "P2"), name + ": the position")
        ended = w.sync([put("b", "two"), *[put(p, "again") for p in sorted(want[after])], record("P3", since=w.position("R"))],
                       *options)
        same((ended.rc, held(w)), (0, {"a", "b"} | want[after]), name + ": listed, all is there")


def refused(w):
    """A delete that fails: said, exit 1, and tried again by the next run."""
    fill(w, 2)
    w.script({"match": {"kind": "delete"}, "do": {"status": 400, "body": {"error": "X", "message": "no"}}})
    ended = w.sync([put("b", "two")], "--exclude", "sec/", "--max-retries", "0")
    same((ended.rc, held(w)), (1, {"a", "b", "sec/0", "sec/1"}), "exit 1")
    test("could not be deleted" in ended.err, "and said", ended.err)
    same(w.ask("export", "--failed")[1], "", "it is no line's failure")
    w.script()
    ended = w.sync([put("b", "three")], "--exclude", "sec/")
    same((ended.rc, held(w)), (0, {"a", "b"}), "the next run tries again")


def dry_run(w):
    """--dry-run tells the numbers and does nothing."""
    fill(w)
    ended = w.sync([put("b", "x"), put("sec/0", "x")], "--exclude", "sec/", "--dry-run")
    test(" 6 documents" in ended.err and "would be" in ended.err, "how many would go", ended.err)
    same((ended.of(2).get("reason"), len(held(w))), ("excluded", 7), "nothing is done")
    w.sync([put("b", "x")], "--exclude", "sec/")
    ended = w.sync([put("b", "x")], "--dry-run")
    test(" 6 documents" in ended.err and "any more" in ended.err, "how many would be waited for", ended.err)


def other_ways(w):
    """A collection that was there before the state, and a state that was forgotten."""
    fill(w)
    w.ask("forget", "--all")
    ended = w.sync([put("b", "x")], "--exclude", "sec/")
    same((ended.rc, held(w)), (0, {"a", "b"}), "found in the collection: it goes")
    w.sync([put("sec/9", "x")])
    os.unlink(w.state)
    ended = w.sync([put("b", "y")], "--exclude", "sec/")
    same((ended.rc, held(w)), (0, {"a", "b"}), "with a new state too")
    w.sync([put("sec/other", "x")], "--state", w.dir + "/other.tdb")
    w.ask("forget", "--all")
    ended = w.sync([put("b", "y")], "--exclude", "sec/")
    same((ended.rc, held(w)), (0, {"a", "b"}), "found by a state that has these patterns already")
    ended = w.sync([put("sec/big", "x" * 200), put("sec/gone", "x")], "--max-content", "100")
    same(ended.statuses(2), ["skipped:too-large", "completed"], "prepared")
    ended = w.sync([put("b", "z"), record("P1")], "--exclude", "sec")
    same((ended.rc, held(w), w.position("R")), (0, {"a", "b"}, "P1"), "among documents that are absent already")


def without_a_text(w):
    """What the producer could not read is left out like all else that a pattern names."""
    line = dict(repo="R", path="n.need", content_error="it cannot be read")
    ended = w.sync([line, record("P0")])
    same((ended.rc, ended.verdicts()[1], w.position("R")), (1, "failed:content-error", None), "it fails, and holds")
    ended = w.sync([line, record("P1")], "--exclude", "*.need")
    same((ended.rc, ended.of(1).get("reason"), w.position("R")), (0, "excluded", "P1"), "excluded, it does not")
    ended = w.sync([dict(line, skip_index=True), record("P2")])
    same((ended.rc, w.position("R")), (0, "P2"), "nor where its line says so")


def with_git_changes(w):
    """A pattern comes and goes beside a producer that lists differences."""
    repo = Repo(w, "app")
    repo.commit(**{"sec/k": "key", "sec/gone": "x", "a": "text"})

    def sync(*options):
        listed = subprocess.run([os.path.join(TOP, "scripts/git-changes"), repo.dir], cwd=w.dir, check=True,
                                env={"LINESYNC": program(), **w.env}, stdout=subprocess.PIPE)
        return w.sync(listed.stdout, *options)
    same((sync().rc, held(w)), (0, {"sec/k", "sec/gone", "a"}), "all is stored")
    same((sync("--exclude", "/sec").rc, held(w)), (0, {"a"}), "nothing has changed, and what is named goes")
    repo.git("rm", "-q", "sec/gone")
    head = repo.commit(**{"sec/k": "another key"})
    same((sync("--exclude", "/sec").rc, held(w), w.position("app")), (0, {"a"}, head), "it changes meanwhile")
    ended = sync()
    test("any more" in ended.err, "named no more: said", ended.err)
    same((sync().rc, w.documents().get(("app", "sec/k")), held(w), w.touched("app")),
         (0, "another key", {"a", "sec/k"}, set()), "and listed by the next run")


TESTS = [patterns_as_in_git, named_later, named_no_more, killed, refused, dry_run, other_ways, without_a_text, with_git_changes]


if __name__ == "__main__":
    sys.exit(run_tests(TESTS))
