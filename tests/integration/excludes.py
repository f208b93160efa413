#!/usr/bin/env python3
"""excludes.py [-v] [NAME...] - --exclude: its patterns mean what git means by them, and what is named later
goes, whatever is fed.  NAMEs: only these tests."""

import os
import random
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import put, record, report, run_tests  # noqa: E402

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


TESTS = [patterns_as_in_git]


if __name__ == "__main__":
    sys.exit(run_tests(TESTS))
