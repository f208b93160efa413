#!/usr/bin/env python3
"""layers.py - calls go down: the table of src/README has every file, and none calls one that stands above it,
so that there is no circle.  (A callback that is handed over is no call here.)  Reads the symbols of the objects
in the folder one builds in."""

import collections
import glob
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import report  # noqa: E402


def calls(folder):
    """{file: {the files that it needs something of: what}}"""
    defines, needs = {}, collections.defaultdict(set)
    for name in glob.glob(os.path.join(folder, "*.o")):
        file = os.path.basename(name)[:-2]
        out = subprocess.run(["nm", name], check=True, capture_output=True, text=True).stdout
        for fields in (line.split() for line in out.splitlines()):
            if fields[0] == "U":
                needs[file].add(fields[1])
            elif len(fields) == 3 and fields[1] in "TDBR":
                defines[fields[2]] = file
    graph = {file: {} for file in set(defines.values()) | set(needs)}
    for file, symbols in needs.items():
        for s in sorted(symbols):
            if defines.get(s, file) != file:
                graph[file].setdefault(defines[s], s)
    return graph


def table():
    """The files in the order of src/README."""
    with open(os.path.join(os.environ["abs_top_srcdir"], "src/README"), encoding="utf-8") as f:
        text = f.read().partition("Calls go down this table.")[2].partition("\nLibraries\n")[0]
    return [name for line in text.splitlines() if line[:1].strip()
            for name in re.findall(r"\b([a-z_]+)\.c\b", line.partition("  ")[0])]


def upwards(graph, order):
    """The calls that go up."""
    at = {file: n for n, file in enumerate(order)}
    return [(a, symbol, b) for a in order for b, symbol in graph.get(a, {}).items() if at.get(b, 0) < at[a]]


def main():
    graph = calls(os.path.join(os.environ["abs_top_builddir"], "src"))
    order = table()
    files = {f for f in graph if not f.startswith("tests_")}
    report.test("task" in graph.get("intake", {}), "the objects are there", sorted(graph))
    report.same((sorted(files - set(order)), sorted(set(order) - files)), ([], []), "the table has every file, once")
    report.same(len(order), len(set(order)), "and none twice")
    report.same(upwards(graph, order), [], "calls go down")
    report.same(upwards({"a": {"b": "f"}, "b": {"a": "g"}}, ["a", "b"]), [("b", "g", "a")], "one that goes up is seen")
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
