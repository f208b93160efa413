#!/usr/bin/env python3
"""weaviate.py [-v] [NAME...] - what the user is promised of a Weaviate, on the mock that keeps apart what
is stored, what a filter matches and what a search finds.  NAMEs: only these."""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import Steered, delete, put, record, report, run_tests, weaviate  # noqa: E402

UPSERT = {"kind": "upsert"}
PATHS = ["d%d" % n for n in range(6)]
same, test = report.same, report.test


def lines(text, paths=PATHS):
    return [put(p, "%s %s" % (text, p)) for p in paths]


def holds(w, text, what, paths=PATHS):
    """A test: the store has these documents, filters match and searches find all of it."""
    same((w.documents(), w.store.not_filtered(), w.store.not_indexed()),
         ({("R", p): "%s %s" % (text, p) for p in paths}, [], []), what)


def prepared(w):
    ended = w.sync([*lines("old"), record("P0")])
    same((ended.rc, w.position("R")), (0, "P0"), "prepared")


def make_class(w, name="Code", **more):
    c = weaviate.Class(weaviate.described({"class": name, **more}, "none"))
    with w.store.lock:
        w.store.classes[name] = c
    return c


# ---- what was cut off is found again ----


# how an attempt ends, and how far it came
CUTS = [("no answer", {"apply_then_drop": True, "partly": {"indexed": 0}}),
        ("no answer, half of it done", {"apply_then_drop": True, "partly": {
            "stored": 4, "filtered": 3, "indexed": 1}}),
        ("no answer, and no filter knows of it", {"apply_then_drop": True, "partly": {"filtered": 0}}),
        ("half an answer", {"partial": 200, "partly": {"indexed": 2}}),
        ("an answer in vain", {"raw": "HTTP/1.1 200 OK\r\n", "apply": True, "partly": {"indexed": 0}}),
        ("the server is killed", {"kill": {"ms": 50}, "partly": {"stored": 5, "filtered": 2, "indexed": 1}}),
        ("a proxy's 504", {"status": 504, "apply": True, "partly": {"indexed": 0}}),
        ("502", {"status": 502, "apply": True, "partly": {"indexed": 3}}),
        ("500", {"status": 500, "apply": True, "partly": {"indexed": 0}}),
        ("503", {"status": 503, "apply": True, "partly": {"indexed": 0}}),
        ("an empty answer", {"status": 200, "body": "", "apply": True, "partly": {"indexed": 0}}),
        ("an answer that is no list", {"status": 200, "body": {}, "apply": True, "partly": {"indexed": 0}}),
        ("some failed, and are stored", {"partly": {
            "indexed": 2, "message": "insert to vector index: not enough memory"}}),
        ("a full disk", {"fail_objects": {"stored": True, "message":
                                          "put object: write segment.wal: no space left on device"}})]


def cut_off(w):
    prepared(w)
    for n, (name, do) in enumerate(CUTS):
        w.script({"match": UPSERT, "times": 1, "do": do})
        text = "new%d" % n
        ended = w.sync([*lines(text), record("P%d" % (n + 1))], "--connections", "1")
        same((ended.rc, ended.statuses(6), w.position("R")), (0, ["completed"] * 6, "P%d" % (n + 1)), name)
        holds(w, text, name + ": stored and found")


def cut_repeats(w):
    """The repeat is cut off as well, at each of its requests."""
    prepared(w)
    for n, kind in enumerate(("object_delete", "upsert", "query")):
        w.script({"match": UPSERT, "times": 1, "do": {"apply_then_drop": True, "partly": {"indexed": 0}}},
                 {"match": {"kind": kind, "after": kind == "upsert"}, "times": 2,
                  "do": {"apply_then_drop": True, "partly": {"indexed": 0}}})
        text = "new%d" % n
        ended = w.sync(lines(text), "--connections", "1")
        same((ended.rc, ended.statuses(6)), (0, ["completed"] * 6), "%s of the repeat is cut too" % kind)
        holds(w, text, "stored and found")


def late_arrival(w):
    """The lost attempt arrives after the delete of the repeat and before its upsert, which then says
    SUCCESS and is not indexed."""
    prepared(w)
    lost, arrive = w.late_within_the_repeat()
    ended = w.sync(lines("new"), "--connections", "1", on_request=arrive)
    same((ended.rc, ended.statuses(6)), (0, ["completed"] * 6), "a late arrival within the repeat")
    holds(w, "new", "stored and found")


def in_doubt(w):
    prepared(w)
    w.script({"match": UPSERT, "times": 1, "do": {"partly": {"filtered": 2, "indexed": 1}}})
    killed = w.sync([*lines("new"), record("P1")], kill_applied=1)
    same((killed.rc, len(w.store.not_indexed())), (137, 5), "linesync is killed in a batch")
    w.settle()
    other = w.sync([put("other", "new other"), record("P2")], "--no-retry")
    same((w.position("R"), other.status(1)), ("P0", "completed"), "another input does not settle it")
    test(set(PATHS) - w.touched("R") <= {"d0"}, "what no search finds counts as changed",
         w.touched("R"))
    ended = w.sync([*lines("new"), record("P3")])
    same((ended.rc, w.position("R")), (0, "P3"), "fed again: done")
    holds(w, "new", "stored and found", [*PATHS, "other"])


def read_back(w):
    """What was stored, found and never acknowledged is done without being sent again."""
    prepared(w)
    killed = w.sync(lines("new"), kill_applied=1)
    same(killed.rc, 137, "linesync is killed after a whole batch")
    w.settle()
    w.store.clear_log()
    ended = w.sync([put("other", "new other")], "--no-retry")
    same((ended.rc, [p for e in w.store.log for p in e["paths"]]), (0, ["other"]),
         "it is read back, not sent again")
    same(sorted(w.touched("R")), sorted([*PATHS, "other"]), "it counts as changed since the position")
    holds(w, "new", "stored and found", [*PATHS, "other"])


def read_back_lasts(w):
    """What was read back lasts too, though it was never acknowledged: the server is killed after the run."""
    unanswered = {"match": {"kind": "delete"}, "do": {"status": 503}}
    for text, script, status in (("new", [], "skipped:unchanged"), ("newer", [unanswered], "completed")):
        prepared(w)
        killed = w.sync(lines(text), kill_applied=1)
        w.settle()
        w.script(*script)
        ended = w.again("--no-retry")
        w.script()
        w.kill_store()
        same((killed.rc, ended.rc), (137, 0), "linesync is killed after a whole batch, which is read back")
        ended = w.sync(lines(text))
        same((ended.rc, ended.statuses(6)), (0, [status] * 6), "the server is killed, and the same is fed; "
             "a later write was %sanswered before" % ("not " if script else ""))
        holds(w, text, "stored and found")


def deletes_in_doubt(w):
    """A batch delete does not see what no filter matches."""
    w.script({"match": UPSERT, "times": 1, "do": {"partly": {"filtered": 0}}})
    killed = w.sync(lines("new"), kill_applied=1)
    same((killed.rc, len(w.store.not_filtered())), (137, 6), "linesync is killed in a batch")
    w.settle()
    ended = w.sync([delete(p) for p in PATHS])
    same((ended.rc, ended.statuses(6), w.documents()), (0, ["completed"] * 6, {}), "deleted all the same")
    w.script()
    prepared(w)
    w.script({"match": {"kind": "delete"}, "times": 1, "do": {"apply_then_drop": True}})
    ended = w.sync([delete(p) for p in PATHS[:3]], "--connections", "1")
    same((ended.rc, ended.statuses(3), sorted(p for _, p in w.documents())),
         (0, ["completed"] * 3, PATHS[3:]), "a delete whose answer was lost")


# ---- what an answer says ----


def read_only(w):
    prepared(w)
    w.script({"match": UPSERT, "times": 2, "do": {"read_only": "resource pressure"}})
    ended = w.sync(lines("new"))
    same((ended.rc, ended.statuses(6)), (0, ["completed"] * 6), "one says read-only: all are sent again")
    holds(w, "new", "stored and found")
    w.script({"match": {"kind": "delete|object_delete"}, "times": 2,
              "do": {"read_only": "resource pressure"}})
    ended = w.sync([delete("d0"), delete("d1")], "--connections", "1")
    same(ended.rc, 0, "read-only for deletes")
    holds(w, "new", "which are done afterwards", PATHS[2:])
    c = w.store.classes["Code"]
    c.read_only = "manually set by user"
    ended = w.sync(lines("newer"), "--give-up", "100ms")
    same((ended.rc in (75, 78), [s for s in ended.statuses(6) if s]), (True, []),
         "set by a user: it stops, with nobody charged")
    test("READY" in ended.err, "and says how to open it", ended.err)
    c.read_only = None
    ended = w.sync(lines("newer"))
    same(ended.rc, 0, "opened: the same command resumes")
    holds(w, "newer", "stored and found")


def refused_objects(w):
    prepared(w)
    w.script({"match": {"kind": "upsert", "path": "d2"}, "do": {"fail_objects": {
        "message": "invalid text property 'content' on class 'Code': not a string"}}})
    ended = w.sync(lines("new"))
    same((ended.rc, ended.statuses(6)), (1, ["completed"] * 2 + ["failed"] + ["completed"] * 3),
         "an object that is refused fails alone")
    e = ended.of(3)["error"]
    same((e["code"], "invalid text property" in e["message"]), ("store-rejected", True), "in the store's words")
    same(w.documents()["R", "d2"], "old d2", "the old one stays")
    w.script()
    ended = w.again()
    same((ended.rc, w.documents()["R", "d2"]), (0, "new d2"), "and it is tried again")
    holds(w, "new", "stored and found")


def no_body(w):
    prepared(w)
    w.script({"match": {"kind": "upsert", "content": "new d4"}, "do": {"say": "panic"}})
    ended = w.sync(lines("new"), "--max-retries", "2")
    same((ended.rc, ended.statuses(6)), (1, ["completed"] * 4 + ["failed", "completed"]),
         "a 200 without a body is no success: only the object that it belongs to fails")
    same(ended.of(5)["error"]["message"], "not an answer of Weaviate's: HTTP 200 without a text", "it says why")
    same({p: t for (_, p), t in w.documents().items() if p != "d4"},
         {p: "new " + p for p in PATHS if p != "d4"}, "the others are stored")
    same(w.store.not_indexed(), [], "and found")


OTHERS = [{"error": {"message": "upstream is down", "code": 503}}, {"success": False}, {"detail": "no"},
          {"message": "no healthy upstream"}, {"errors": None}, {"results": {"matches": 0, "successful": 0}},
          {"status": "ok"}, [{"result": {"status": "SUCCESS"}}], "<html>Sign in</html>", {"data": {}}]


def others_answers(w):
    """A 200 of somebody else's, to any request: asked again, until the store itself has answered."""
    wrong = []
    prepared(w)
    for i, body in enumerate(OTHERS):
        gone, new = "gone%d" % (i - 1), "gone%d" % i
        w.script(*({"match": {"kind": kind}, "times": 1, "do": {"status": 200, "body": body}} for kind in
                   ("ready", "meta", "class_get", "shards", "count", "query", "upsert", "delete", "object_delete")))
        want = {**{("R", p): "%d %s" % (i, p) for p in PATHS}, ("R", new): new}
        ended = w.sync([*lines("%d" % i), delete(gone), put(new, new)], "--late", "1ms")
        if ended.rc or w.documents() != want or w.store.not_indexed() or \
                {r["status"] for r in ended.results} != {"completed"}:
            wrong.append((body, ended.rc, ended.err, ended.results))
    same(wrong, [], "answers of others to everything: nobody is charged, the store ends right")
    for kind in ("upsert", "delete"):
        w.script({"match": {"kind": kind}, "do": {"status": 200, "body": OTHERS[0]}})
        ended = w.sync([put("d0", "never"), delete("d1")], "--late", "1ms", "--give-up", "50ms", "--batch-size", "1",
                       "--max-retries", "1")
        test(ended.rc in (1, 75) and "completed" not in ended.verdicts().get(1 if kind == "upsert" else 2, ""),
             "for ever, to %s: it is never done" % kind, ended.rc, ended.results)


def means_wait(w):
    """403 with a time is no refusal, neither of access nor of a look at the shards."""
    for kind in ("ready", "meta", "class_get", "class_create", "shards", "upsert", "delete"):
        w.env["LINESYNC_COLLECTION"] = kind.title()
        w.env["LINESYNC_STATE"] = w.state + kind
        w.script({"match": {"kind": kind}, "times": 1, "do": {"status": 403, "headers": {"retry-after": "0"}}})
        ended = w.sync([put("a", kind), delete("b")], "--retry-max-wait", "2ms")
        same((ended.rc, ended.statuses(2), w.store.not_indexed()), (0, ["completed"] * 2, []), kind + ": waited for")


def slow_or_small(w):
    """400 'i/o timeout' and 'not enough memory' are no refusals."""
    prepared(w)
    for say in ("io-timeout", "no-memory"):
        w.script({"match": {"kind": "upsert", "min_objects": 3}, "do": {"say": say}})
        ended = w.sync(lines(say), "--connections", "1")
        same((ended.rc, ended.statuses(6)), (0, ["completed"] * 6), say + ": sent again, smaller")
        holds(w, say, "stored and found")


def quota(w):
    prepared(w)
    w.script({"match": UPSERT, "do": {"say": "quota"}})
    ended = w.sync(lines("new"))
    same((ended.rc, ended.results), (78, []), "no room by contract: it stops, with nobody charged")
    test("limit reached" in ended.err, "in the store's words", ended.err)


# ---- what lasts ----


def lasts(w):
    """After exit 0 a kill of the server takes nothing."""
    for n, options in enumerate(((), ("--batch-size", "1"), ("--connections", "1"),
                                 ("--batch-size", "2", "--connections", "2"), ("--flush-ms", "1"))):
        text = "v%d" % n
        ended = w.sync(lines(text), *options)
        w.kill_store()
        same(ended.rc, 0, "a run with %s" % " ".join(options or ["nothing special"]))
        holds(w, text, "the server is killed, and all is found")


def printed_lasts(w):
    """What was printed lasts: the server is killed after some results, and the run goes on."""
    for stop in (1, 3, 5):
        run = Steered(w, "--batch-size", "1", "--connections", "1", "--flush-ms", "1")
        text = "s%d" % stop
        run.feed(*lines(text))
        run.wait_results(stop)
        done = [r["path"] for r in map(weaviate.json.loads, run.out.decode().split("\n")[:stop])]
        w.kill_store()
        with w.store.lock:
            found = {p["file_path"] for i, p, t, _ in w.store.objects()
                     if i not in w.store.not_indexed() and t.startswith(text)}
        same([p for p in done if p not in found], [], "killed after %d results: those are found" % stop)
        ended = run.end()
        same((ended.rc, sorted(w.documents())), (0, [("R", p) for p in PATHS]), "the run goes on")


def killed_between(w):
    """The server is killed after an answer and is back before the next request, which cannot know."""
    for n in range(3):
        text = "k%d" % n
        w.store.clear_log()
        run = Steered(w, "--batch-size", "1", "--connections", "1", "--flush-ms", "1h")
        run.feed(put("d0", text + " d0"))
        while not any(e["kind"] == "upsert" and e["status"] for e in list(w.store.log)):
            time.sleep(0.002)
        w.kill_store()
        ended = run.end(*lines(text, PATHS[1:]))
        same(ended.rc, 0, "killed after an answer, and the run goes on")
        holds(w, text, "all is found in the end")


def no_witness(w):
    """A proxy that drops every DELETE with a body."""
    w.script({"match": {"kind": "delete"}, "do": {"drop": True}})
    w.store.clear_log()
    ended = w.sync(lines("new"), "--give-up", "2s", "--retry-wait", "200ms", "--retry-max-wait", "400ms")
    same((ended.rc, [r for r in ended.results if r["status"] == "completed"]), (75, []),
         "without any later answer nothing is done, and it gives up")
    test(len(w.store.log) < 600, "without storming the store", len(w.store.log))


def vanishes(w):
    """A class that is deleted meanwhile comes back by auto-schema, without what it held."""
    seen = []

    def vanish(_n, call):
        if call.kind == "upsert":
            seen.append(call)
            if len(seen) == 2:
                w.store.classes.pop("Code")
    ended = w.sync([*lines("new"), record("P1")], "--batch-size", "2", "--connections", "1",
                   on_request=vanish)
    test(ended.rc != 0 and w.position("R") is None, "that is no success", ended.rc, w.documents())


def cut_witness(w):
    """The later write itself gets no answer."""
    w.script({"match": {"kind": "delete"}, "times": 2, "do": {"apply_then_drop": True}})
    ended = w.sync(lines("new"))
    w.kill_store()
    same(ended.rc, 0, "the smallest write is cut off twice")
    holds(w, "new", "the server is killed after the end, and all is found")


# ---- deletes ----


def many_deletes(w):
    many = ["m%d" % n for n in range(35)]
    w.sync(lines("old", [*many, "d5"]))

    def take_fewer(_n, call):    # not before: what is there at the start is looked for in one request
        if call.kind == "delete":
            w.store.max_results = 10
    ended = w.sync([delete(p) for p in many], on_request=take_fewer)
    w.store.max_results = 10000
    same((ended.rc, ended.statuses(35), w.documents()), (0, ["completed"] * 35, {("R", "d5"): "old d5"}),
         "a store that deletes ten at a time is asked until all are gone")
    w.sync(lines("new"))
    first = w.objects()["R", "d0"]["id"]
    w.script({"match": {"kind": "delete", "id": first}, "times": 1,
              "do": {"fail_objects": {"message": "context deadline exceeded"}}})
    ended = w.sync([delete("d0"), delete("d1")], "--connections", "1")
    same((ended.rc, ended.statuses(2), sorted(p for _, p in w.documents())),
         (0, ["completed"] * 2, PATHS[2:]), "one that failed is deleted later")
    ended = w.sync([delete("never"), delete("d0")])
    same((ended.rc, ended.status(1), ended.status(2)), (0, "completed", "skipped:unchanged"),
         "what is not there counts as deleted")


def delete_too_large(w):
    """More objects of one document than go into one request: with one that gets no answer, and is sent again
    one by one; with a server that is killed between two parts."""
    w.options += ["--chunk-lines", "1", "--chunk-bytes", "0"]
    long = "".join("line %d\n" % i for i in range(30))

    def kill_after_two(_n, call):
        if call.kind == "delete" and len(call.ids) > 1:
            seen.append(call)
            if len(seen) == 3:
                w.store.kill()

    for name, rule, on_request in (
            ("413", {"match": {"kind": "delete", "min_objects": 4}, "do": {"status": 413, "unlisted": True}}, None),
            ("no answer", {"match": {"kind": "delete", "min_objects": 8}, "times": 1, "do": {"apply_then_drop": True}},
             None),
            ("killed", {"match": {"kind": "never"}, "do": {}}, kill_after_two)):
        seen = []
        w.sync([put("long", long), put("stays", "text")])
        w.script(rule)
        ended = w.sync([delete("long")], "--batch-size", "10", on_request=on_request)
        same((ended.rc, ended.statuses(1), w.documents()), (0, ["completed"], {("R", "stays"): "text"}),
             name + ": all of it is deleted")
        w.script()
        w.kill_store()
        same(w.documents(), {("R", "stays"): "text"}, name + ": which lasts")


# ---- collections ----


def names(w):
    state = ("--state", os.path.join(w.dir, "named"))
    ended = w.sync(lines("x"), "--collection", "myCode", *state)
    same((ended.rc, list(w.store.classes)), (0, ["MyCode"]), "a small first letter is raised")
    test("MyCode" in ended.err, "which is said", ended.err)
    ended = w.sync(lines("x"), "--collection", "MyCode", *state)
    same((ended.rc, ended.statuses(6)), (0, ["skipped:unchanged"] * 6), "it is the same collection")
    ended = w.sync(lines("x"), "--collection", "my-code", "--state", os.path.join(w.dir, "another"))
    same((ended.rc, "My_code" in ended.err, list(w.store.classes)), (64, True, ["MyCode"]),
         "a name that cannot be is refused, with one that can")


def described(w):
    prepared(w)
    config = w.store.classes["Code"].config
    tokens = {p["name"]: p.get("tokenization") for p in config["properties"]}
    same((config["vectorizer"], config["vectorIndexConfig"]["distance"], tokens["file_path"],
          tokens["repository"]), ("none", "cosine", "field", "field"), "the class is made explicitly")
    test(not any("auto-schema" in str(p.get("description")) for p in config["properties"]),
         "and nothing is left to auto-schema", config["properties"])


def unfit(w):
    w.store.auto_schema = True
    c = make_class(w, "Auto", description=weaviate.generated())
    c.add_property(weaviate.guessed_property("file_path", "a"))
    make_class(w, "Euclid", vectorIndexConfig={"distance": "l2-squared"})
    for name, word in (("Auto", "auto-schema"), ("Euclid", "l2-squared")):
        ended = w.sync(lines("x"), "--collection", name, "--state", os.path.join(w.dir, name))
        same((ended.rc, ended.results, w.store.classes[name].objects), (78, [], {}), "refused: " + name)
        test(word in ended.err, "it says why", ended.err)
    ended = w.sync(lines("x"), "--no-create")
    same((ended.rc, "Code" in w.store.classes), (78, False), "--no-create makes none")
    prepared(w)
    ended = w.sync(lines("new"), "--embed", "hash:16", "--state", os.path.join(w.dir, "16"))
    same((ended.rc, ended.results), (78, []), "another length of vectors: 78")
    holds(w, "old", "and nothing is stored")


def vanished(w):
    prepared(w)
    w.store.classes.clear()
    ended = w.sync(lines("new"))
    same((ended.rc, ended.results, w.store.classes), (78, [], {}), "a class that is gone: 78")
    same(w.ask("forget", "--all")[0], 0, "forgotten")
    ended = w.sync([*lines("new"), record("P1")])
    same((ended.rc, w.position("R")), (0, "P1"), "then everything is fed again")
    holds(w, "new", "stored and found")


def keys(w):
    w.store.token = "secret"
    ended = w.sync(lines("x"))
    same((ended.rc, ended.results), (77, []), "without the key: 77")
    w.env["WEAVIATE_API_KEY"] = "secret"
    ended = w.sync(lines("x"))
    same(ended.rc, 0, "with it")
    w.store.token = None
    ended = w.sync(lines("y"))
    same((ended.rc, ended.results), (77, []), "a key that the server does not know of: 77")
    test("key" in ended.err, "it says what to do", ended.err)


TESTS = [cut_off, cut_repeats, late_arrival, in_doubt, read_back, deletes_in_doubt, read_only, refused_objects, no_body,
         others_answers, means_wait,
         slow_or_small, quota, lasts, printed_lasts, cut_witness, many_deletes, delete_too_large, names, described, unfit,
         vanished, keys, read_back_lasts, killed_between, no_witness, vanishes]

if __name__ == "__main__":
    sys.exit(run_tests(TESTS, "weaviate"))
