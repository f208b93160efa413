#!/usr/bin/env python3
"""openings.py [-v] [NAME...] - how an input begins: without a line, with one that comes late, and input of
another kind.  NAMEs: only these tests."""

import bz2
import gzip
import json
import lzma
import os
import re
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import HERE, Steered, World, as_line, caught, delete, put, record, report, run_tests, was_read  # noqa: E402

same, test = report.same, report.test
BAR = b"Detecting changes...   0% -:--:--   "
NO_REPOSITORY = b"No repositories found in the specified path."
PATHS = ("--input-format", "paths")
# (what it is, bytes, options)
IDLE = (
    ("nothing", b"", ()),
    ("a newline", b"\n", ()),
    ("blank lines", b" \n\t\r\n\n  ", ()),
    ("more blank lines than a buffer holds", b"\n" * 300000, ()),
    ("a byte order mark", b"\xef\xbb\xbf", ()),
    ("a mark and blank lines", b"\xef\xbb\xbf\r\n\n", ()),
    ("empty records", b"\0\0", ("-z", *PATHS)),
    ("mgit's progress bar", BAR + b"\n", ()),
    ("a bar that was cut", BAR, ()),
    ("that there is no repository", BAR + b"\n" + NO_REPOSITORY + b"\n\n", ()),
    ("messages, with a form fixed", b"\n" + NO_REPOSITORY + b"\n", ("--input-format", "json")),
)


def figures(w):
    """What the state says, but for what the clock says."""
    rc, out = w.ask("status", "--json")
    s = json.loads(out)
    rc_held, held = w.ask("status", "--held")
    return (rc, s["failed"], s["held"], s["in_doubt"], s["documents"], s["last_clean"], s["run"],
            rc_held, held, w.ask("status", "--failed")[1], w.ask("changeset", "--touched", "R")[1])


def file_bytes(w):
    with open(w.state, "rb") as f:
        return f.read()


def idle(w, asked, data, options):
    """A sync of it asks the store nothing, and says so."""
    before = len(asked)
    ended = w.sync(data, *options)
    messages = sum(line.strip() != b"" for line in data.split(b"\n")) if b"%" in data or b"No" in data else 0
    same((ended.rc, [(r["run"], r["status"], r["reason"]) for r in ended.results]),
         (0, [("none", "skipped", "not-a-change")] * messages), "0, and a result for each message")
    test("no run was begun" in ended.err, "it says so", ended.err)
    ended = w.sync(data, "-q", *options)
    same((ended.rc, ended.err, ended.out, len(asked) - before), (0, "", b"", 0),
         "-q says nothing, and no store is asked")


def watch(w):
    asked = []
    w.store.on_request = lambda _n, call: asked.append(call.kind)
    on_request = w.store.on_request
    sync = w.sync

    def watched(lines, *options, **how):
        return sync(lines, *options, **{"on_request": on_request, **how})
    w.sync = watched
    return asked


def nothing_anew(w):
    """Before the first run: no collection, no state, no lock."""
    asked = watch(w)
    for name, data, options in IDLE:
        report.note(name)
        idle(w, asked, data, options)
        same((w.store.by_name, sorted(os.listdir(w.dir))), ({}, ["root"]), "nothing is made")
        same(w.sync(data, "--dry-run", *options).rc, 0, "nor by a dry run")
    same(w.ask("status", "--max-age", "1h")[0], 66, "nothing was synced")


def nothing_later(w):
    """Where a run was interrupted, a line has failed, a changeset is held and a document is in doubt."""
    asked = watch(w)
    w.script({"match": {"kind": "upsert", "content": "poison"}, "do": {"refuse_objects": True}},
             {"match": {"kind": "upsert", "content": "slow"}, "do": {"hang": True}})
    w.sync([put("a", "A"), record("P0")])
    w.sync([put("p", "poison"), record("P1", since="P0")])
    lines = [put("b", "B"), put("s", "slow"), put("c", "C")]
    w.sync(lines, "--batch-size", "1", "--connections", "1", "--no-retry", kill_request=2)
    w.hung_up()
    w.script()
    before, held = figures(w), file_bytes(w)
    same((before[1], before[2], before[6]["status"]), (1, 1, "interrupted"), "prepared")
    for name, data, options in IDLE:
        report.note(name)
        idle(w, asked, data, options)
        same(w.sync(data, "--wait-lock", "1h", "--new-run", "--force", *options).rc, 0, "nor with other options")
        test(file_bytes(w) == held, "the state is as it was")
        same(figures(w), before, "and so is what is said of it")
    ended = w.sync(lines, "--batch-size", "1")
    same((ended.rc, ended.of(1).get("resumed"), ended.of(1, True)["path"], w.position("R")),
         (0, True, "p", "P1"), "the interrupted run goes on, what failed is tried again")


def nobody_is_waited_for(w):
    """The lock is another's, the store is gone: an input without a line needs neither."""
    with Steered_on(w) as first:
        same([w.sync(data, *options).rc for _, data, options in IDLE], [0] * len(IDLE), "beside another one")
        same(first.end().rc, 0, "which is not disturbed")
    w.stop_store()
    try:
        same([w.sync(data, "--give-up", "0", *options).rc for _, data, options in IDLE], [0] * len(IDLE),
             "without a store")
    finally:
        w.start_store()


class Steered_on:
    """A sync that has the lock."""

    def __init__(self, w):
        self.sync = Steered(w)
        self.sync.feed(put("a", "A"))
        self.sync.wait_results(1)

    def __enter__(self):
        return self.sync

    def __exit__(self, *_):
        if self.sync.child.poll() is None:
            self.sync.child.kill()


def no_clean_run(w):
    """The producer is dead: what it says does not keep `status --max-age` content."""
    w.sync([put("a", "A"), record("P0")])
    clean = json.loads(w.ask("status", "--json")[1])["last_clean"]
    for name, data, options in IDLE:
        w.sync(data, *options)
    s = json.loads(w.ask("status", "--json")[1])
    same((s["last_clean"], s["run"]["number"]), (clean, 1), "the last clean run is the one with a line")
    # more messages than are waited for begin a run, which counts nothing
    ended = w.sync((BAR + b"\n") * 3000)
    same((ended.rc, len(ended.results), {r["status"] for r in ended.results}), (0, 3000, {"skipped"}),
         "thousands of messages")
    s = json.loads(w.ask("status", "--json")[1])
    same((s["last_clean"], s["run"]["number"], s["run"]["status"]), (clean, 2, "interrupted"),
         "a run that counts nothing is not completed")
    same(w.sync([put("a", "A"), record("P1")]).rc, 0, "a living producer")
    same(w.ask("status", "--max-age", "1h")[0], 0, "is a clean run")


def comes_late(w):
    """Until there is a line nothing is touched, however long that takes."""
    asked = watch(w)
    sync = Steered(w)
    caught(sync.pid)
    for i, part in enumerate((b"\n", b"  \n", BAR + b"\n", b'{"repo":"R","pa', b'th":"a","content"')):
        sync.child.stdin.write(part)
        was_read(sync)
        sync.signal(signal.SIGUSR1)
        sync.wait("that it waits", lambda n=i + 1: sync.said().count("waiting for the first line") == n)
        same((asked, os.path.exists(w.state), os.path.exists(w.state + ".lock")), ([], False, False),
             "after %r" % part)
    ended = sync.end(':"A"}')
    same((ended.rc, ended.statuses(4)), (0, [None, None, "skipped:not-a-change", "completed"]),
         "then it is read as it came")
    same(len({r["run"] for r in ended.results}), 1, "in one run")


def first_lines(w):
    """Whatever stands before the first change, lines keep their numbers and bytes."""
    for data, want in ((b"\n\n" + as_line(put("a", "A")) + b"\n", {3: "completed"}),
                       (b"\xef\xbb\xbf \n" + BAR + b"\r\n\n" + as_line(put("a", "B")),
                        {2: "skipped:not-a-change", 4: "completed"}),
                       (b"\0\0deleted\0", {3: "failed:no-such-file"})):
        options = ("-z", *PATHS) if b"\0" in data else ()
        ended = w.sync(data, *options)
        same(ended.verdicts(), want, repr(data))
    long = as_line(put("l", "x" * 70000))
    same(w.sync(b"\n" + long + b"\n", "--max-line", "1k").verdicts(), {2: "failed:line-too-long"},
         "a line that is too long, first")
    same(w.sync(b"\n" + long).verdicts(), {2: "completed"}, "a long one")
    same(w.sync(b'{"repo":"R","path":"a","content":"A"').verdicts(), {1: "failed:cut-line"}, "a cut one")
    same(w.sync(b"Error during change detection: no\n").verdicts(), {1: "failed:producer-error"},
         "a producer that fails is no message: a run begins")


# ---- input of another kind ----

RECORDS = [put("a", "A"), put("b", "B")]
TEXT = b"".join(as_line(r) + b"\n" for r in RECORDS)
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0"
ZSTD = b"\x28\xb5\x2f\xfd\x04\x58\x11\0\0a\n\0"
# (what it is, bytes, the command to name, options)
FOREIGN = (
    ("an array", json.dumps(RECORDS).encode(), "jq -c '.[]'", ()),
    ("an array of paths", b'["a", "b"]\n', "jq -c '.[]'", ()),
    ("an empty array", b"[]\n", "jq -c '.[]'", ()),
    ("an array over several lines", json.dumps(RECORDS, indent=2).encode(), "jq -c '.[]'", ()),
    ("an array of arrays, with the form fixed", b"[[1]]\n", "jq -c '.[]'", ("--input-format", "json")),
    ("a record over several lines", json.dumps(RECORDS[0], indent=2).encode(), "jq -c .", ()),
    ("records over several lines, after a blank one",
     b"\n" + b"\n".join(json.dumps(r, indent=1).encode() for r in RECORDS) + b"\n", "jq -c .", ()),
    ("a record that goes on", b'{"repo":"R",\n"path":"a"}\n', "jq -c .", ()),
    ("gzip", gzip.compress(TEXT), "zcat", ()),
    ("zstd", ZSTD, "zstd -dc", ()),
    ("bzip2", bz2.compress(TEXT), "bzcat", ()),
    ("xz", lzma.compress(TEXT), "xzcat", ()),
    ("gzip, where names end with NUL", gzip.compress(b"a\0b\0"), "zcat", ("-z", *PATHS)),
    ("UTF-16", TEXT.decode().encode("utf-16"), "iconv -f UTF-16 -t UTF-8", ()),
    ("UTF-16 without a mark", TEXT.decode().encode("utf-16-le"), "iconv -f UTF-16LE -t UTF-8", ()),
    ("the other UTF-16", TEXT.decode().encode("utf-16-be"), "iconv -f UTF-16BE -t UTF-8", ()),
    ("paths in UTF-16", "a.c\nb.c\n".encode("utf-16"), "iconv -f UTF-16 -t UTF-8", PATHS),
    ("names that end with NUL", b"a.c\0dir/b.c\0", "-z", ()),
    ("name-status with NUL", b"M\0a.c\0D\0b.c\0", "-z", ()),
    ("names of one letter, with NUL", b"M\0a\0D\0b\0", "-z", ()),
    ("an image", PNG, "binary", ()),
    ("a program", b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\0>\0", "binary", ()),
    ("zeros", bytes(100000), "binary", ()),
)
# what only looks like it: (what, bytes, verdicts, options)
LINES = (
    ("paths in brackets", b"[x]\n[[...slug]]/page.tsx\n[\n[]x\n", dict.fromkeys((1, 2, 3, 4), "completed"), ()),
    ("a path in two brackets", b"[[...slug]]/page.tsx\n", {1: "completed"}, ()),
    ("a path that is a bracket", b"[\nother\n", dict.fromkeys((1, 2), "completed"), ()),
    ("brackets, with the form fixed", b'[{\n', {1: "failed:no-such-file"}, PATHS),
    ("a brace, with the form fixed", b"{\n[]\n", {1: "failed:no-such-file", 2: "failed:no-such-file"}, PATHS),
    ("broken JSON", b'{"repo":"R","op":\n', {1: "failed:bad-json"}, ()),
    ("NUL in JSON", b'{"repo":"R","path":"a","content":"a\0b"}\n', {1: "failed:control-character"}, ()),
    ("another kind further on", as_line(put("c", "C")) + b'\n[{"path":"a"}]\n{\n\x1f\x8b\n',
     {1: "completed", 2: "failed:no-such-file", 3: "failed:bad-json", 4: "failed:bad-path"}, ()),
    ("a name that is no UTF-8", b"caf\xe9\n", {1: "failed:bad-path"}, ()),
)


def other_kinds(w):
    asked = watch(w)
    for name, data, command, options in FOREIGN:
        for more in ((), ("--dry-run",)):
            ended = w.sync(data, *options, *more)
            same((ended.rc, ended.out), (64, b""), name)
            test(command in ended.err and ended.err.count("\n") == 1, "and the command is named", ended.err)
    same((asked, sorted(os.listdir(w.dir))), ([], ["root"]), "nothing is made of any of them")
    sync = Steered(w)
    sync.child.stdin.write(gzip.compress(TEXT)[:5])
    same(sync.ended().rc, 64, "a few bytes are enough")
    sync = Steered(w)
    sync.child.stdin.write(b"[\n")
    sync.feed("")
    ended = sync.end('{"path":"a"}')
    same(ended.rc, 64, "what follows is waited for")


def only_looks_so(w):
    for name in ("[x]", "[[...slug]]/page.tsx", "[", "[]x", "other"):
        w.write_file("", name, "text of " + name)
    for name, data, want, options in LINES:
        v = World(w.verbose)
        try:
            os.rmdir(v.root)
            os.symlink(w.root, v.root)
            ended = v.sync(data, *options)
            same(ended.verdicts(), want, name)
        finally:
            os.unlink(v.root)
            v.close()


# ---- fields that no change has ----

def embedded(path, **more):
    return dict(repo="R", path=path, embedding=[0.5] * 8, **more)


def misspelt_first(w):
    """Nothing is stored of a line whose vector or text has another program's name."""
    w.write_file("R", "a", "the file's own text, which was not meant")
    for name, line in (("embedding", embedded("a", content="A")), ("text", dict(repo="R", path="a", text="A")),
                       ("body", dict(repo="R", path="a", body="A")),
                       ("contents", dict(repo="R", path="a", contents="A", content=None)),
                       ("page_content", dict(page_content="A", metadata={"source": "a"})),
                       ("file", dict(repo="R", file="a", op="delete"))):
        for more in ((), ("-q",), ("--dry-run",)):
            ended = w.sync([line, put("b", "B")], *more)
            same((ended.rc, ended.verdicts() if more != ("--dry-run",) else [r["line"] for r in ended.results]),
                 (78, {1: "failed:misspelt-field"} if more != ("--dry-run",) else [1]), name)
            test("line 1: there is '%s' and no '" % name in ended.err and "jq -c" in ended.err, "it says so",
                 ended.err)
            test("are ignored" not in ended.err, "and nothing else of that field", ended.err)
        test("stopped with 2 lines read" in w.sync([line, put("b", "B")]).err, "and what is left")
        same((w.documents(), w.writes()), ({}, []), "nothing is stored")
    same(json.loads(w.ask("status", "--json")[1])["failed"], 0, "and nobody is charged")
    same(w.ask("status", "--max-age", "1h")[0], 1, "no such run is clean")
    ended = w.sync([put("a", "A", vector=[0.5] * 8), put("b", "B")])
    same((ended.rc, list(w.objects()[("R", "a")]["vector"])), (0, [0.5] * 8), "mended, its vector is stored")


def misspelt_and_mended(w):
    """The command that is named mends the lines that want it and leaves the others what they say."""
    lines = [put("a", "one"), dict(repo="R", path="b", text="two"), put("c", "three"),
             dict(repo="R", path="d", content="four", vector=[0.5] * 8), embedded("e", content="five"),
             record("P0", complete=True)]
    data = b"".join(as_line(line) + b"\n" for line in lines)
    for name in ("text", "embedding"):
        ended = w.sync(data)
        test(ended.rc == 78 and "'%s'" % name in ended.err and "feed all of it again" in ended.err, name, ended.err)
        command = re.search(r"\((jq -c 'if [^']*')\)", ended.err)[1]
        data = subprocess.run(command, shell=True, input=data, stdout=subprocess.PIPE, check=True).stdout
    ended = w.sync(data)
    same((ended.rc, w.position("R"), {d[1]: t for d, t in w.documents().items()}),
         (0, "P0", {"a": "one", "b": "two", "c": "three", "d": "four", "e": "five"}), "all of it is stored")
    same([list(w.objects()[("R", d)]["vector"]) for d in "de"], [[0.5] * 8] * 2, "with the vectors that were given")


def misspelt_later(w):
    """The lines before it are settled, those after it left; what is mended goes on from there."""
    w.sync([put("z", "Z"), record("P0")])
    good = [put("a", "A"), delete("z"), record("P1", since="P0"), put("b", "B"), put("c", "C"), record("P2")]
    for options in ((), ("--batch-size", "1", "--connections", "1")):
        v = World(w.verbose)
        try:
            v.sync([put("z", "Z"), record("P0")])
            gate = v.hold_answers("upsert")
            sync = Steered(v, *options)
            sync.feed(*good[:4], embedded("e"), *good[4:])
            gate.wait_arrived()
            gate.open()
            ended = sync.end()
            v.store.on_applied = None
            same((ended.rc, ended.verdicts()),
                 (78, {1: "completed", 2: "completed", 3: "completed", 4: "completed", 5: "failed:misspelt-field"}),
                 "what stands before it is settled")
            test("stopped with 3 lines read" in ended.err, "three lines are left", ended.err)
            s = json.loads(v.ask("status", "--json")[1])
            same((s["failed"], s["run"]["status"], s["run"]["lines"]["failed"], v.position("R")),
                 (0, "interrupted", 0, "P1"), "nobody is charged")
            run = ended.results[0]["run"]
            v.store.clear_log()
            ended = v.sync(good[:4] + [put("e", "E")] + good[4:])
            same((ended.rc, {r["run"] for r in ended.results}, [r["line"] for r in ended.results if r.get("resumed")]),
                 (0, {run}, [1, 2, 3, 4]), "mended, the same run goes on")
            same((v.position("R"), len([k for k, _ in v.writes() if k == "upsert"])), ("P2", 1), "to its end")
        finally:
            v.close()


def misspelt_before_a_resumed_line(w):
    """A run that can go on is not given up for it, and a complete listing before it does what it says."""
    w.sync([put("z", "Z"), record("P0")])
    lines = [put("a", "A"), put("b", "B"), record("P1", complete=True), put("c", "slow")]
    w.script({"match": {"kind": "upsert", "content": "slow"}, "do": {"hang": True}})
    w.sync(lines, "--batch-size", "1", "--connections", "1", kill_request=3)
    w.hung_up()
    w.script()
    same(w.sync([embedded("a"), *lines]).rc, 78, "its first line")
    ended = w.sync(lines)
    same((ended.rc, ended.of(1).get("resumed")), (0, True), "the right input goes on")
    w.store.clear_log()
    ended = w.sync([put("a", "A"), record("P2", complete=True), embedded("a")], "--max-delete", "9")
    same((ended.rc, ended.status(2), w.documents()), (78, "completed", {("R", "a"): "A"}),
         "a listing that was complete before it")


def unknown_named(w):
    """Once in a run, and never so that a terminal acts on it."""
    ended = w.sync([put("a", "A", odd=1, **{"\u009b31m\u202e": 2}), put("b", "B", odd=3), put("c", "C", new=1)])
    said = [line for line in ended.err.splitlines() if "no change has" in line]
    same((ended.rc, len(said)), (0, 2), "two lines of three")
    test("line 1: " in said[0] and "'odd'" in said[0] and "line 3: " in said[1] and "'new'" in said[1] and
         "odd" not in said[1], "each is named once", said)
    test("\x9b" not in ended.err, "escaped", said)
    for i in range(2):
        ended = w.sync([put("d", "D%d" % i, **{"k%d" % k: k for k in range(n, n + 7)}) for n in range(0, 70, 7)],
                       *(["--dry-run"] if i else []))
        names = {"k%d" % k for k in range(70) if "'k%d'" % k in ended.err}
        test(len(names) == 16 and "no more of them are named" in ended.err, "no more than 16", ended.err)
    same(w.sync([put("e", "E", odd=1)], "-q").err, "", "not with -q")
    for name in ("mgit/diff.jsonl", "mgit/diff-embed-content.jsonl", "tiers.jsonl"):
        with open(os.path.join(HERE, "fixtures", name), "rb") as f:
            test("no change has" not in w.sync(f.read(), "--dry-run").err, "none in " + name)
    with open(os.path.join(HERE, "fixtures", "tiers.jsonl"), "rb") as f:
        test("no change has" not in w.sync(f.read()).err, "nor when it is fed")


TESTS = [nothing_anew, nothing_later, nobody_is_waited_for, no_clean_run, comes_late, first_lines,
         other_kinds, only_looks_so, misspelt_first, misspelt_and_mended, misspelt_later, misspelt_before_a_resumed_line, unknown_named]

if __name__ == "__main__":
    sys.exit(run_tests(TESTS))
