#!/usr/bin/env python3
"""order.py [-v] [NAME...] - schedules in which a document could end as something other than its last
line says, or a changeset could be ahead of the store.  NAMEs: only these."""

import json
import os
import resource
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import Steered, World, delete, find_list, from_file, put, record, report, run_tests  # noqa: E402

D, E = ("R", "d"), ("R", "e")
UPSERT = {"kind": "upsert"}
same, test = report.same, report.test


def stored(w, **texts):
    """Prepares: these documents of R are there, the position is P0."""
    ended = w.sync([put(p, t) for p, t in texts.items()] + [record("P0")])
    same((ended.rc, w.position("R")), (0, "P0"), "prepared")


def upserts_of(w, text):
    return [t for _, _, t in w.store.history].count(text)


def back_and_forth(w):
    stored(w, d="A")
    ended = w.sync([put("d", "B"), put("d", "A")], "--batch-size", "4", "--flush-ms", "80")
    w.settle()
    same(ended.statuses(2), ["completed", "completed"], "both lines are sent")
    same(w.documents(), {D: "A"}, "the store ends as the last line says")
    ended = w.sync([put("d", "B"), put("d", "A")], "--batch-size", "4", "--flush-ms", "40",
                   pause_ms=[0, 15])
    same((ended.rc, w.documents()), (0, {D: "A"}), "also where the second line comes later")


def small_stack():
    resource.setrlimit(resource.RLIMIT_STACK, (256 << 10, 256 << 10))


def long_chains(w):
    """However many lines wait for one another, to settle them takes no stack."""
    for name, lines in (
            ("lines of one document", [put("d", "text %d" % i) for i in range(20000)]),
            ("renames of one document", [put("r0", "text")] + [
                dict(repo="R", path="r%d" % (i + 1), old_path="r%d" % i, op="rename", content="text")
                for i in range(3000)])):
        last = lines[-1]["path"]
        sync = Steered(w, "--batch-size", "20000", "--flush-ms", "60000", preexec_fn=small_stack)
        ended = sync.end(*lines)
        same((ended.rc, len(ended.results), [p for _, p in w.documents() if p[0] == last[0]]),
             (0, len(lines), [last]), name)


def lose_first(w, kind):
    """The first request of this kind is cut off: [that call], to arrive when the test says so, and what
    collects it."""
    lost = []
    w.script({"match": {"kind": kind}, "times": 1, "do": {"drop": True}})
    return lost, lambda _n, call: call.kind == kind and not lost and lost.append(call)


def arrive(w, lost):
    lost[0].do = {}
    w.store.perform(lost[0])


def late_arrival(w):
    stored(w, d="A")
    lost, collect = lose_first(w, "upsert")
    first = w.sync([put("d", "B")], "--late", "1h", on_request=collect)
    same((first.rc, first.status(1)), (0, "completed"), "the repeat is answered")
    lines = [put("d", "C"), put("e", "E")]
    second = Steered(w, "--late", "1h")
    second.feed(*lines)
    second.wait_results(1)
    same([(d, t) for _, d, t in w.store.history], [(D, "A"), (D, "B"), (E, "E")],
         "the next version waits, in the next run, too; another document does not")
    arrive(w, lost)
    same(w.documents()[D], "B", "the first request arrives")
    second.signal(signal.SIGKILL)
    second.ended()
    third = w.sync(lines, "--late", "20ms")
    same((third.rc, third.status(1)), (0, "completed"), "when it is over, the next version is stored")
    same(w.documents(), {D: "C", E: "E"}, "which stays")


def late_arrival_of_delete(w):
    stored(w, d="A")
    lost, w.store.on_request = lose_first(w, "delete")
    lines = [delete("d"), put("d", "B"), put("e", "E")]
    run = Steered(w, "--late", "1h")
    run.feed(*lines)
    run.wait_results(2)
    same((len(lost), w.documents()), (1, {E: "E"}), "a delete is lost, and done again: what follows it waits")
    arrive(w, lost)
    run.signal(signal.SIGKILL)
    run.ended()
    ended = w.sync(lines, "--late", "20ms")
    same((ended.rc, w.documents()), (0, {D: "B", E: "E"}), "a delete that arrives late takes nothing away")


def refused_repeat(w):
    stored(w, d="A")
    w.script({"match": {"kind": "upsert", "content": "B"}, "times": 1,
              "do": {"apply_then_drop": True}},
             {"match": {"kind": "upsert", "content": "B"}, "do": {"refuse_objects": True}})
    run = Steered(w)
    run.feed(put("d", "B"))
    run.wait_results(1)
    ended = run.end(put("d", "A"))
    same(ended.statuses(2), ["failed", "completed"], "the line after it is sent")
    same(w.documents(), {D: "A"}, "and the store ends as it says")
    w.script({"match": {"kind": "upsert", "content": "B"}, "times": 1,
              "do": {"apply_then_drop": True}},
             {"match": {"kind": "upsert", "content": "B"}, "do": {"refuse_objects": True}})
    w.sync([put("d", "B")])
    same(w.documents(), {D: "B"}, "applied, and never acknowledged")
    ended = w.sync([put("d", "A")], "--no-retry")
    same((ended.status(1), w.documents()), ("completed", {D: "A"}), "also in the next run")


def superseded_place(w):
    lines = [put("d", "A"), put("d", "B"), record("P1"), put("d", "C")]
    for name, kill in (("with A in flight", {"kill_request": 2}),
                       ("with A applied", {"kill_applied": 2}),
                       ("with C in flight", {"kill_request": 3})):
        v = World(w.verbose)
        try:
            v.sync([put("x", "X"), record("P0")])
            v.script({"match": {"kind": "upsert", "content": "A"}, "do": {"delay_ms": 40}},
                     {"match": {"kind": "upsert", "content": "C"}, "times": 1, "do": {"drop": True}})
            ended = v.sync([put("y", "Y"), *lines], "--batch-size", "1", "--connections", "1", **kill)
            same(ended.rc, 128 + signal.SIGKILL, "killed " + name)
            same(v.position("R"), "P0", "the changeset has not advanced")
            v.settle()
            ended = v.sync([put("y", "Y"), *lines])
            same((ended.rc, v.documents().get(D), v.position("R")), (0, "C", "P1"),
                 "resumed, it has")
        finally:
            v.close()


def file_then_delete(w):
    w.write_file("R", "a", "text")
    lines = [from_file("a"), delete("a"), put("b", "B"), put("c", "C")]
    w.script({"match": {"kind": "upsert", "content": "B"}, "do": {"hang": True}})
    ended = w.sync(lines, "--batch-size", "1", "--connections", "1", kill_line=2)
    same(ended.rc, 128 + signal.SIGKILL, "killed after line 2")
    w.hung_up()
    w.script()
    w.write_file("R", "a", "another text")
    ended = w.sync(lines)
    w.settle()
    same(ended.rc, 0, "resumed")
    same(w.documents(), {("R", "b"): "B", ("R", "c"): "C"}, "what line 2 deleted is gone")


def retried_only(w):
    stored(w, d="D0", e="E0")
    w.script({"match": UPSERT, "do": {"refuse_objects": True}})
    ended = w.sync([put("d", "D1"), put("e", "E1"), record("P1", since="P0")])
    same((ended.rc, ended.statuses(3)), (1, ["failed", "failed", "held"]), "the record is held")
    same(w.touched("R") >= {"d", "e"}, True, "--touched names what failed")
    w.script({"match": {"kind": "upsert", "content": "D1"}, "do": {"refuse_objects": True}},
             {"match": {"kind": "upsert", "content": "D2"}, "do": {"refuse_objects": True}})
    # the producer lists again from the position, where e is as it was
    ended = w.sync([put("d", "D2"), record("P2", since="P0")])
    same(w.documents(), {D: "D0", E: "E1"}, "e was stored by the retry, d fails again")
    same((w.position("R"), ended.status(2)), ("P0", "held"), "the record is held")
    w.script()
    ended = w.sync([put("d", "D2"), record("P3", since="P0")])
    same((w.position("R"), ended.status(2)), ("P0", "held"), "also when d is done")
    test("e" in w.touched("R"), "--touched names what the retry stored")
    ended = w.sync([put("e", "E0"), put("d", "D2"), record("P4")])
    same((ended.rc, w.position("R")), (0, "P4"), "it is released where the input names it")
    same(w.documents(), {D: "D2", E: "E0"}, "and the store is as that says")
    same(w.touched("R"), set(), "nothing is left to list")


def forgotten(w):
    old = w.sync([put("old", "an old text")])
    same(old.rc, 0, "prepared")
    lines = [put("f%03d" % i, "text %d" % i) for i in range(1000)]
    ended = w.sync(lines, "--batch-size", "20", "--connections", "2", kill_line=900)
    same(ended.rc, 128 + signal.SIGKILL, "killed at line 900")
    w.settle()
    same(w.ask("forget", "--all")[0], 0, "forgotten")
    w.store.clear_log()
    ended = w.sync(lines, "--batch-size", "200")
    same((ended.rc, sum(r["status"] == "completed" and "resumed" not in r for r in ended.results)),
         (0, 1000), "the same input: each line is done")
    same(sum(len(ids) for kind, ids in w.writes() if kind == "upsert"), 1000, "and sent")
    same(w.repos()["R"]["documents"], 1001, "what the collection held besides is known again")
    ended = w.sync([put("old", "an old text")])
    same(ended.status(1), "completed", "but not taken for unchanged")


def poison(w):
    w.script({"match": UPSERT, "do": {"status": 500}})
    ended = w.sync([put("d", "A")], "--max-retries", "2")
    same((ended.rc, ended.status(1)), (1, "failed"), "it fails")
    error = (ended.of(1) or {}).get("error", {})
    same((error.get("code"), error.get("http")), ("store-failed", 500), "as the store says")
    test("away" not in ended.err, "the store is not called away", ended.err)
    same([kind for kind, _ in w.writes()].count("delete"), 1, "after one witness")


def failed_folder(w):
    w.write_file("X", "newdir/f", "text")

    def failed():
        return [(f.get("repo"), f["error"]["code"]) for f in
                find_list(json.loads(w.ask("status", "--failed", "--json")[1]), "failures")]

    def held():
        return w.repos().get("X", {}).get("held")

    ended = w.sync([from_file("newdir/", "X"), record("X1", "X")])
    same((ended.rc, ended.statuses(2)), (1, ["failed", "held"]), "a folder fails and holds")
    same(ended.of(1)["error"]["code"], "is-a-directory", "as a folder")
    before = failed()
    same(len(before), 1, "it is listed")
    ended = w.sync([put("d", "A", "Y"), record("Y1", "Y")])
    same((ended.statuses(2), w.position("Y")), (["completed"] * 2, "Y1"), "a run of another repository")
    same((failed(), held(), w.position("X")), (before, "X1", None), "changes nothing about it")
    w.again()
    same((failed(), held(), w.position("X")), (before, "X1", None), "nor does an empty one")
    ended = w.sync([put("newdir/f", "text", "X"), record("X2", "X")])
    same((ended.rc, w.position("X")), (0, "X2"), "a record without it supersedes it")
    same((failed(), held()), ([], None), "and nothing is left")


def given_up_twice(w):
    """One run takes over lines of another, and then its input is another one altogether."""
    w.script({"match": {"kind": "upsert", "content": "poison"}, "times": 1, "do": {"refuse_objects": True}},
             {"match": {"kind": "upsert", "content": "B"}, "do": {"hang": True}})
    lines = [put("p", "poison"), put("d", "A"), put("e", "B"), put("f", "F")]
    w.sync(lines, "--batch-size", "1", "--connections", "1", kill_request=3)
    w.hung_up()
    ended = w.sync(lines[:2] + [put("g", "B")], "--batch-size", "1", kill_request=2)
    same(ended.rc, 128 + signal.SIGKILL, "another line, and killed again")
    w.script()
    w.settle()
    counts = [r["lines"] for r in find_list(json.loads(w.ask("status", "--runs", "--json")[1]), "runs")]
    test(all(0 <= n <= 4 for c in counts for n in c.values()), "a run counts what it did itself: %s" % counts)
    ended = w.sync([put("h", "H"), record("P1")])
    same((ended.rc, ended.status(2), w.position("R")), (1, "held", None),
         "a record that names nothing of what both had done is held")
    same(set(w.touched("R")) >= {"d", "e", "g", "p"}, True, "--touched names it")
    ended = w.sync([put(p, "new") for p in sorted(w.touched("R"))] + [record("P2")])
    same((ended.rc, w.position("R")), (0, "P2"), "named, it is not")


def absent_and_complete(w):
    """What a complete listing leaves out and the store has not got is as the listing says."""
    for name, gone in (("by a line that no record closed", delete("d")),
                       ("by a line in no commit", dict(delete("d"), uncommitted=True))):
        w.sync([put("d", "A"), put("e", "E"), record("P0")])
        ended = w.sync([gone])
        same((ended.rc, w.touched("R")), (0, {"d"}), "deleted " + name)
        ended = w.sync([put("e", "E"), record("P1", complete=True)], "--max-delete", "0")
        same((ended.rc, ended.status(2), w.position("R")), (0, "completed", "P1"), "a complete listing without it")
        same(w.touched("R"), set(), "is all that there is to say of it")
        ended = w.sync([record("P2", since="P1")])
        same((ended.rc, w.position("R")), (0, "P2"), "and holds nothing later")


def poison_at_the_head(w):
    """One object for which the store always says that it is away, in a request with others, on the only
    connection."""
    for status in (503, 429):
        w.script({"match": {"kind": "upsert", "content": "poison"}, "do": {"status": status}})
        ended = w.sync([put("p", "poison"), *[put("f%d" % i, "%d of %d" % (i, status)) for i in range(20)]],
                       "--max-retries", "2", "--connections", "1", "--batch-size", "5", "--no-retry")
        same((ended.rc, ended.verdicts()),
             (1, {1: "failed:store-failed", **dict.fromkeys(range(2, 22), "completed")}),
             "%d: it fails, and nobody else" % status)
        test("away" not in ended.err, "the store is not called away", ended.err)


SCHEDULES = [poison_at_the_head, back_and_forth, long_chains, late_arrival, late_arrival_of_delete, refused_repeat, superseded_place,
             file_then_delete, retried_only, forgotten, poison, failed_folder, given_up_twice,
             absent_and_complete]


if __name__ == "__main__":
    sys.exit(run_tests(SCHEDULES))
