#!/usr/bin/env python3
"""case-runner.py - what is no case is refused, and what a case expects and does not come is told: by the runner of
cases/NAME.case, cases.py."""

import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from casefile import Wrong, steps  # noqa: E402
from cases import run_case, store_of  # noqa: E402
from harness import HERE, World, report  # noqa: E402

GOOD = """== sync
{"repo":"R","path":"a","content":"A"}
== exit 0
== results
{"line":1,"status":"completed"}
== documents
{"repo":"R","path":"a","content":"A"}
== repos
{"repo":"R","position":null}
== touched R
"a"
== sent
{"request":"upsert","path":"a"}
== said
created
== run changeset R
== exit 1
== output
"""
MISTAKES = [
    ("an unknown section", "== exit 0\n", "== exits 0\n"),
    ("words that no section has", "documents\n", "documents all\n"),
    ("an order that there is not", "== sent\n", "== sent sorted\n"),
    ("a sync without its exit", "== exit 0\n", ""),
    ("a run without its exit", "== exit 1\n", ""),
    ("a sync without its results", '== results\n{"line":1,"status":"completed"}\n', ""),
    ("a step without a command", "== sync\n", "== store\n"),
    ("no step at all", GOOD, ""),
    ("something behind the last step", "== output\n", "== output\n== store\n"),
    ("a section twice", "== exit 0\n", "== exit 0\n== exit 0\n"),
    ("no JSON", '{"line":1,', '{"line":1 '),
    ("another kind of JSON", '"a"\n==', '{"path":"a"}\n=='),
    ("a member of no name", '"status":"completed"', '"statsu":null'),
    ("no member", '{"line":1,"status":"completed"}', "{}"),
    ("a text that is none", "created\n", ""),
    ("lines where none can be", "== exit 1\n", "== exit 1\n1\n"),
    ("lines before all sections", "== sync\n", "sync\n== sync\n"),
    ("an unknown store", "== sync\n", "== on tape\n== sync\n"),
    ("an unknown death", "== sync\n", "== killed by write 1\n== sync\n"),
    ("a run's section below a sync", "== said\n", "== printed\n"),
    ("a fault that the mock does not know", "== sync\n", '== store\n{"match":{"kind":"upsert"},"do":{"explode":true}}\n== sync\n')]
DIFFERENT = [
    ("exit", "== exit 0", "== exit 1"),
    ("a result's member", '"completed"', '"skipped"'),
    ("a result too many", '{"line":1,"status":"completed"}\n', ""),
    ("a result too few", '"completed"}\n', '"completed"}\n{"line":2,"status":"completed"}\n'),
    ("a member that is there", '"status":"completed"', '"path":null'),
    ("a document", 'content":"A"}\n== repos', 'content":"B"}\n== repos'),
    ("a document too many", '== documents\n{"repo":"R","path":"a","content":"A"}\n', "== documents\n"),
    ("a position", '"position":null', '"position":"P1"'),
    ("what counts as changed", '"a"\n==', '"b"\n=='),
    ("a request", '"upsert"', '"delete"'),
    ("what is said", "created", "erased"),
    ("what is not", "== said", "== unsaid"),
    ("what a command prints", "== output\n", "== output\nP1\n"),
    ("a command's exit", "== exit 1", "== exit 0")]


def of_text(text):
    """(the mistake in a case, or None; what is different)."""
    try:
        steps(text)
        w = World(store=store_of(text))
    except Wrong as e:
        return e, []
    try:
        return None, run_case(w, text)
    except Exception as e:    # as run_file has it
        return e, []
    finally:
        w.close()


def main():
    report.same(of_text(GOOD), (None, []), "a case that holds")
    with open(os.path.join(HERE, "cases", "README"), encoding="utf-8") as f:
        example = "\n".join(line[4:] for line in f.read().split("\n") if re.match("    (?! )", line))
    report.same(of_text(example), (None, []), "the example of README")
    for name, old, new in MISTAKES:
        wrong, _ = of_text(GOOD.replace(old, new))
        report.test(wrong and old in GOOD, "a mistake: " + name)
    for name, old, new in DIFFERENT:
        wrong, found = of_text(GOOD.replace(old, new))
        report.test(not wrong and len(found) == 2 and old in GOOD, "a difference: " + name, wrong, found)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
