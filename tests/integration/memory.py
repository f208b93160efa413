#!/usr/bin/env python3
"""memory.py [-v] [NAME...] - memory is bounded by the window: it grows neither with the number of
repositories nor by holding a text twice; and what is left out of memory for that is still there.

What counts is the process's own peak (VmHWM), looked at when every line has its result and the input is
still open, so nothing here depends on how fast anything is.  NAMEs: only these tests."""

import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import Gate, Skipped, Steered, as_line, program, put, record, report, \
    run_tests  # noqa: E402

same, test = report.same, report.test
MB = 1024


def peak_kb(pid):
    try:
        with open("/proc/%d/status" % pid, encoding="ascii", errors="replace") as f:
            return int(re.search(r"^VmHWM:\s+(\d+) kB", f.read(), re.M).group(1))
    except (OSError, AttributeError) as e:
        raise Skipped("the peak of a process's memory is not told here: %s" % e) from e


def comparable():
    with open(program(), "rb") as f:
        if b"__asan_init" in f.read():
            raise Skipped("a sanitizer keeps memory of its own")


def run_kb(w, lines, *options, want=("completed",)):
    """Feeds the lines to a state of its own; the peak once each has its result."""
    comparable()
    for name in os.listdir(w.dir):
        if name.startswith("state.tdb"):
            os.unlink(os.path.join(w.dir, name))
    s = Steered(w, *options)
    for at in range(0, len(lines), 1000):
        s.feed(*lines[at:at + 1000])
    s.wait_results(len(lines))
    kb = peak_kb(s.pid)
    ended = s.end()
    others = [r for r in ended.results if r["status"] not in want]
    same((ended.rc, len(ended.results), others[:3]), (0, len(lines), []), "all lines are settled")
    return kb


def grows_less(w, limit_kb, few, many, *options, want=("completed",)):
    first, second = (run_kb(w, lines, *options, want=want) for lines in (few, many))
    test(second - first < limit_kb, "their number costs no memory",
         "%d kB for %d lines, %d kB for %d" % (first, len(few), second, len(many)))


def name_of(i):
    return "Some group of repositories/Service%06d" % i


def repositories(w):
    """Left out documents that nobody stored need no request."""
    lines = [put("src/main.py", "text", name_of(i), skip_index=True) for i in range(40000)]
    grows_less(w, 5 * MB, lines[:10000], lines, want=["skipped"])


def closed_repositories(w):
    lines = [line for i in range(40000)
             for line in (put("src/main.py", "text", name_of(i), skip_index=True), record("C1", name_of(i)))]
    grows_less(w, 5 * MB, lines[:20000], lines, want=["skipped", "completed"])


def folders_of_repositories(w):
    """All repositories have their folder in one, and its file is empty: that needs no request either."""
    w.write_file(".git", "HEAD", "")
    w.write_file("", "main.py", "")
    lines = [{"repo": name_of(i), "path": "main.py"} for i in range(60000)]
    grows_less(w, 5 * MB, lines[:20000], lines, want=["skipped"])


def texts(w):
    """A text is in memory once, and once more in the body of its request."""
    def lines(n, text):
        return [put("f%04d" % i, "%d %s" % (i, text)) for i in range(n)]
    size, batch, ahead = 34 << 10, 100, 1 << 20
    options = ["--batch-size", str(batch), "--batch-bytes", str(4 * ahead), "--connections", "1",
               "--flush-ms", "3600000"]
    text = 'a "quoted" line of some\n' * (size // 24)
    first = run_kb(w, lines(1000, "-"), *options)
    second = run_kb(w, lines(1000, text), *options)
    room = 2 * batch * size + ahead
    test(second - first < (room + room // 4) // 1024, "a text is held once, and once more in its request",
         "%d kB for short texts, %d kB for long ones, room for %d kB" % (first, second, room // 1024))


def slow_embedder(w):
    """What waits for an embedding server is bounded by the window too."""
    w.add_embedder("--batch-bytes", "1m")
    w.embedder.set_rules([{"do": {"delay_ms": 2}}])
    lines = [put("f%04d" % i, ("%d" % i + "y" * 59 + "\n") * 2000) for i in range(90)]
    grows_less(w, 3 * MB, lines[:30], lines)


WRITTEN = [
    '{"repo":"R","op":"modify","path":"a","content":"x\\ny \\"q\\" \\\\ \\t/"}',
    '{"repo":"R","path":"b","content":"\\u000a\\/ \\u00e9"}',
    '{"content":"first, then the others \u00e9\u20ac","path":"c","repo":"R"}',
    ' { "repo" : "R" , "path" : "d" , "content" : "blanks" , "metadata" : {"content":"blanks"} } ',
    '{"repo":"R","path":"e","cont\\u0065nt":"an escaped name"}',
    '{"repo":"R","path":"f","content":"\\ud83d\\ude00 \U0001f600 \u007f\u0085"}',
    '{"repo":"R","path":"g","content":"x","content_hash":"'
    '2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"}',
    '{"repo":"R","path":"h","content_base64":"eA=="}',
    '{"repo":"R","op":"rename","old_path":"i0","path":"i","content":"renamed"}',
    '{"repo":"R","path":"j","content":"' + "long \\n" * 8000 + '"}',
    '{"repo":"R","path":"k","content":"\\u000b\\f\\b\\u001f\\u001F"}',
]


def failed_lines(w):
    """What failed is exported byte for byte as it came, and can be tried again, by each way to fail."""
    w.script({"match": {"kind": "upsert"}, "do": {"status": 422, "body": {"error": "no"}}})
    lines = [text.encode() for text in WRITTEN]
    ended = w.sync(lines)
    same((ended.rc, sorted(set(ended.verdicts().values()))), (1, ["failed:store-rejected"]),
         "the store rejects all")
    rc, out = w.ask("export", "--failed")
    same((rc, out.encode().split(b"\n")[:-1]), (0, lines), "they are exported as they came")
    w.script()
    ended = w.again()
    same([r["status"] for r in ended.results if r.get("retried")], ["completed"] * len(lines),
         "and tried again")
    want = {("R", json.loads(x)["path"]): json.loads(x).get("content", "x") for x in WRITTEN}
    same(w.documents(), want, "what they say is stored")


def failed_delete(w):
    """Of a rename that has stored the new document: its text is not in memory any more."""
    w.script({"match": {"kind": "delete"}, "do": {"status": 422, "body": {"error": "no"}}})
    line = dict(repo="R", op="rename", old_path="a", path="b", content="the text")
    ended = w.sync([line])
    same((ended.rc, w.documents()), (1, {("R", "b"): "the text"}), "a rename is done half")
    same(w.ask("export", "--failed")[1].encode(), as_line(line) + b"\n", "its line is exported")


def failed_again(w):
    """A failure is kept whole also where a later line of its document came before its verdict."""
    gate = Gate()

    def hold(_n, call):
        if call.kind == "upsert":
            gate.arrived.set()
            gate.opened.wait(600)
    w.store.on_request = hold
    w.script({"match": {"kind": "upsert"}, "do": {"status": 422, "body": {"error": "no"}}})
    s = Steered(w, "--batch-size", "1", "--connections", "1")
    first, second = put("a", 'the "first"\n'), put("a", 'the "second"\n')
    s.feed(first)
    gate.wait_arrived()
    s.feed(second)
    gate.open()
    s.wait_results(2)
    s.end()
    same(w.ask("export", "--failed")[1].encode(), as_line(second) + b"\n", "the later one is kept")


if __name__ == "__main__":
    sys.exit(run_tests([repositories, closed_repositories, folders_of_repositories, texts, slow_embedder,
                        failed_lines, failed_delete, failed_again]))
