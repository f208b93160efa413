#!/usr/bin/env python3
"""layers.py - calls go down: no file of src calls another that calls it back, directly or around.  (A callback
that is handed over is no call here.)  Reads the symbols of the objects in the folder one builds in."""

import collections
import glob
import os
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


def circle(graph):
    """The files of a circle, in order; [] if there is none."""
    done, path = set(), []

    def visit(file):
        if file in path:
            return path[path.index(file):] + [file]
        if file in done:
            return []
        path.append(file)
        for callee in sorted(graph[file]):
            found = visit(callee)
            if found:
                return found
        done.add(path.pop())
        return []

    for file in sorted(graph):
        found = visit(file)
        if found:
            return found
    return []


def main():
    graph = calls(os.path.join(os.environ["abs_top_builddir"], "src"))
    report.test("pipeline" in graph and "task" in graph["intake"], "the objects are there", sorted(graph))
    around = circle(graph)
    report.same([(a, graph[a][b], b) for a, b in zip(around, around[1:])], [], "calls go down")
    report.same(circle({"a": {"b": "f"}, "b": {"c": "g"}, "c": {"a": "h"}}), ["a", "b", "c", "a"],
                "a circle would be found")
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
