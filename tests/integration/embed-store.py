#!/usr/bin/env python3
"""embed-store.py [-v] [NAME...] - vectors of the store's own vectoriser: when it is taken, what it is given,
that nothing counts as stored without a vector, how its provider fails, and the headers that carry the
provider's key.  NAMEs: only these."""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import Steered, World, delete, put, record, report, run_tests, weaviate  # noqa: E402

UPSERT = {"kind": "upsert"}
MODULE, KEYED = "text2vec-ollama", "text2vec-openai"
PATHS = ["d%d" % n for n in range(6)]
same, test = report.same, report.test


def lines(text, paths=PATHS):
    return [put(p, "%s %s" % (text, p)) for p in paths]


def holds(w, text, what, paths=PATHS):
    """A test: the store has these documents, filters match and searches find all of it, and each has the
    vector of its text."""
    wrong = [p for (_, p), o in w.objects().items()
             if o["vector"] != list(weaviate.Provider().vector(o["content"]))]
    same((w.documents(), w.store.not_filtered(), w.store.not_indexed(), wrong),
         ({("R", p): "%s %s" % (text, p) for p in paths}, [], [], []), what)


def embeds(w, module=MODULE):
    """From now on each new class embeds, and no option says how to."""
    at = w.options.index("--embed")
    del w.options[at:at + 2]
    w.store.default_vectoriser = module


def prepared(w, module=MODULE):
    embeds(w, module)
    ended = w.sync([*lines("old"), record("P0")])
    same((ended.rc, w.position("R")), (0, "P0"), "prepared")


def make_class(w, vectoriser="none", **more):
    c = weaviate.Class(weaviate.described({"class": "Code", **more}, vectoriser))
    with w.store.lock:
        w.store.classes["Code"] = c
    return c


def sent(w, run):
    """The writes that run() makes the store see."""
    before = len(w.writes())
    ended = run()
    return ended, len(w.writes()) - before


def state_of(w):
    return json.loads(w.ask("export")[1].split("\n")[0])


# ---- when it is taken ----


def by_default(w):
    embeds(w)
    given = []
    ended = w.sync([*lines("old"), record("P0")],
                   on_request=lambda n, call: given.extend(call.given if call.kind == "upsert" else ()))
    same((ended.rc, ended.statuses(6), w.position("R")), (0, ["completed"] * 6, "P0"), "nothing is named")
    holds(w, "old", "the server's default embeds a new class")
    same((len(given), [o for o in given if "vector" in o]), (6, []), "objects are sent without vectors")
    same(sorted(w.store.embedded), sorted("old " + p for p in PATHS), "the text alone is embedded, once")
    same((w.store.classes["Code"].config["vectorizer"], list(w.store.classes)), (MODULE, ["Code"]),
         "and no other class is left")
    test("store:" + MODULE in ended.err, "it is said", ended.err)
    s = state_of(w)
    same((s["embedder"], s["dimension"]), ("store:" + MODULE, 0), "and kept")
    for options in ((), ("--embed", "store")):
        again, writes = sent(w, lambda o=options: w.sync(lines("old"), *o))
        same((again.rc, again.statuses(6), writes, again.err), (0, ["skipped:unchanged"] * 6, 0, ""),
             "the same again: unchanged " + " ".join(options))


def named(w):
    embeds(w)
    ended = w.sync(lines("old"), "--embed", "store")
    same((ended.rc, w.store.classes["Code"].config["vectorizer"]), (0, MODULE), "--embed store, a new class")
    holds(w, "old", "stored and found")


def by_hand(w):
    """A class that somebody made, with a vectoriser; the server has no default."""
    embeds(w, "none")
    c = make_class(w, MODULE)
    rc, out = w.ask("check", "--json")
    same((rc, json.loads(out)["embedder"], c.config.get("properties")), (0, "store:" + MODULE, None),
         "check: a class without properties will do, and gets none")
    w.store.embedded.clear()
    ended = w.sync(lines("old"))
    same((ended.rc, state_of(w)["embedder"]), (0, "store:" + MODULE), "a class made by hand, nothing is named")
    holds(w, "old", "stored and found")
    same(sorted(w.store.embedded), sorted("old " + p for p in PATHS),
         "properties that it lacked are not for the vectoriser")


def otherwise(w):
    """hash, where nothing embeds texts or something else is named."""
    embeds(w, "none")
    same((w.sync(lines("old")).rc, state_of(w)["embedder"]), (0, "hash-1:1024"), "no vectoriser: hash")
    for name, vectoriser, options, kind in (
            ("Images", "img2vec-neural", (), "hash-1:1024"),
            ("Given", MODULE, ("--embed", "hash:8"), "hash-1:8")):
        state = ("--state", os.path.join(w.dir, name))
        with w.store.lock:
            w.store.classes[name] = weaviate.Class(weaviate.described({"class": name}, vectoriser))
        ended = w.sync(lines("old"), "--collection", name, *options, *state)
        said = json.loads(w.ask("export", "--collection", name, *state)[1].split("\n")[0])
        same((ended.rc, said["embedder"], w.store.embedded), (0, kind, []), "%s: %s" % (vectoriser, kind))


def nothing_embeds(w):
    embeds(w, "none")
    run = Steered(w, "--embed", "store")
    run.feed(*lines("x"))
    run.wait_said("--embed store")    # the input is still open, and nothing of it was done
    ended = run.end()
    same((ended.rc, ended.results, list(w.store.classes)), (78, [], []), "no default: 78, and nothing is made")
    same(os.path.exists(w.state), False, "and nothing is decided")
    make_class(w)
    before = json.dumps(w.store.classes["Code"].config)
    ended = w.sync(lines("x"), "--embed", "store")
    same((ended.rc, ended.results, json.dumps(w.store.classes["Code"].config)), (78, [], before),
         "a class without one: 78, and it stays as it is")
    test("no vectoriser" in ended.err, "it says why", ended.err)
    ended = w.sync(lines("x"), "--embed", "store", "--dry-run")
    same(ended.rc, 0, "--dry-run asks no store")
    other = World(w.verbose, "chroma")
    try:
        seen = []
        for options in ((), ("--dry-run",)):
            ended = other.sync(lines("x"), "--embed", "store", *options, on_request=lambda n, c: seen.append(c))
            same((ended.rc, ended.results, seen, os.path.exists(other.state)), (78, [], [], False),
                 "a store whose collections embed nothing: 78 " + " ".join(options))
        test("vectoriser" in ended.err, "it says why", ended.err)
    finally:
        other.close()


INPUT = (("--embed-path",), ("--embed-prefix", "p: "), ("--embed-query-prefix", "q: "), ("--embed-model", "m"),
         ("--embed-query-model", "m"))


def not_for_it(w):
    """Options that change what is embedded."""
    embeds(w)
    seen = []
    for options in INPUT:
        ended = w.sync(lines("x"), "--embed", "store", *options, on_request=lambda n, c: seen.append(c))
        same((ended.rc, ended.results, seen), (64, [], []), "%s with --embed store" % options[0])
    c = make_class(w, MODULE)
    for options in INPUT:
        ended = w.sync(lines("x"), *options)
        same((ended.rc, ended.results, c.objects), (64, [], {}), "%s where it is the default" % options[0])
        test("--embed store" in ended.err or "--embed URL" in ended.err, "it says why", ended.err)
    ended = w.sync(lines("old"), "--embed-prefix", "", "--embed-query-prefix", "")
    same(ended.rc, 0, "an empty prefix is none")
    holds(w, "old", "stored and found")
    for options in INPUT:
        ended = w.sync(lines("x"), *options)
        same((ended.rc, ended.results), (64, []), "%s where the state says so" % options[0])
    same(w.ask("search", "--embed-query-prefix", "q: ", "old d1")[0], 64, "nor for a search")
    for options in INPUT[:2]:
        state = os.path.join(w.dir, options[0])
        w.store.classes.clear()
        ended = w.sync(lines("old"), *options, "--state", state)
        same((ended.rc, w.store.classes["Code"].config["vectorizer"]), (0, "none"),
             "%s and a new class: without a vectoriser" % options[0])
        test("hash-1:1024" in ended.err, "which is said", ended.err)


def another(w):
    prepared(w)
    c = w.store.classes["Code"]
    for module in (KEYED, "none"):
        c.config["vectorizer"] = module
        ended = w.sync(lines("new"))
        same((ended.rc, ended.results), (78, []), "another vectoriser, %s: 78" % module)
        test(module == "none" or "embedded with 'store:%s', not what is there now, 'store:%s'" % (MODULE, module)
             in ended.err, "it says which was which", ended.err)
    c.config["vectorizer"] = MODULE
    for how in ("hash", "hash:8", "http://127.0.0.1:9/v1"):
        ended = w.sync(lines("new"), "--embed", how)
        same((ended.rc, ended.results), (78, []), "--embed %s: 78" % how)
        test("store:" + MODULE in ended.err and "forget --all" in ended.err, "and what to do", ended.err)
    holds(w, "old", "nothing was stored")
    same(w.ask("forget", "--all", "--delete")[0], 0, "forgotten")
    ended = w.sync(lines("new"), "--embed", "hash:8")
    same((ended.rc, ended.statuses(6)), (0, ["completed"] * 6), "then another is chosen")
    ended = w.sync(lines("newer"), "--embed", "store")
    same((ended.rc, ended.results), (78, []), "of which this is another: 78")


# ---- what is stored ----


def brings_vector(w):
    prepared(w)
    w.store.embedded.clear()
    mine = [0.5, -0.25, 0, 0, 0, 0, 0, 1]
    ended = w.sync([put("d0", "old d0", vector=mine), put("d1", "old d1")])
    same((ended.rc, ended.statuses(2)), (0, ["completed", "skipped:unchanged"]), "a line that brings a vector")
    same((w.objects()["R", "d0"]["vector"], w.store.embedded), (mine, []), "keeps it, and nobody embeds")
    same(w.sync([put("d0", "old d0", vector=mine)]).status(1), "skipped:unchanged",
         "with the same one: unchanged")
    ended = w.sync([put("d0", "old d0", vector=[1, 2, 3]), put("d1", "new d1")])
    same((ended.rc, ended.verdicts()), (1, {1: "failed:bad-vector", 2: "completed"}),
         "of another length: it fails alone")
    ended = w.sync([put("d0", "old d0")])
    same((ended.rc, ended.status(1), w.objects()["R", "d0"]["vector"]), (0, "completed", mine),
         "without one it is sent again, and the store keeps the vector of a text that stays the same")
    same(w.sync([put("d0", "new d0")]).rc, 0, "another text")
    same(w.objects()["R", "d0"]["vector"], list(weaviate.Provider().vector("new d0")),
         "has the provider's vector")


def learnt(w):
    """How long vectors are is known once the first was made."""
    embeds(w)
    run = Steered(w)
    run.feed(put("d0", "old d0"))
    run.wait_results(1)
    ended = run.end(put("d1", "old d1", vector=[1, 2, 3]), put("d2", "old d2", vector=[1] * 8))
    same((ended.rc, ended.verdicts()), (1, {1: "completed", 2: "failed:bad-vector", 3: "completed"}),
         "the first text tells the length, in the same run")


def long_ones(w):
    """Chunks are on by default; they grow, shrink and go."""
    embeds(w)
    text = "".join("line %d of a long document\n" % n for n in range(200))
    for name, content in (("new", text), ("shrunk", text[:2000]), ("grown", text + text[:900])):
        ended = w.sync([put("long", content)])
        chunks = sorted((m["chunk_index"], m["chunk_count"], t) for _, m, t, _ in w.store.objects())
        same((ended.rc, "".join(t for _, _, t in chunks), w.store.not_indexed()), (0, content, []), name)
        test(all(len(t) <= 1500 for _, _, t in chunks) and len(chunks) > 1 and
             [c[:2] for c in chunks] == [(n, len(chunks)) for n in range(len(chunks))],
             "in chunks of 1500 bytes", [(i, n, len(t)) for i, n, t in chunks])
        same(all(t in w.store.embedded for _, _, t in chunks), True, "each embedded by itself")
    same((w.sync([put("long", text + text[:900])]).status(1)), "skipped:unchanged",
         "the chunking is the state's")
    ended = w.sync([put("long", text)], "--chunk-bytes", "0")
    same((ended.rc, w.documents()), (0, {("R", "long"): text}), "--chunk-bytes 0: whole")
    same((w.sync([delete("long")]).rc, w.documents()), (0, {}), "deleted")


def empty_vector(w):
    prepared(w)
    w.store.provider.empty = "new d2"
    ended = w.sync([*lines("new"), record("P1")], "--max-retries", "2")
    same((ended.rc, ended.verdicts()[3], w.position("R")), (1, "failed:store-failed", "P0"),
         "SUCCESS without a vector is none")
    test("without a vector" in ended.of(3)["error"]["message"], "it says what is missing", ended.of(3))
    same([ended.status(n) for n in (1, 2, 4, 5, 6)], ["completed"] * 5, "the others are stored")
    test("d2" in w.touched("R"), "it is to be listed again", w.touched("R"))
    ended = w.sync([put("other", "new other")], "--no-retry")
    test("d2" in w.touched("R"), "nor is it taken for stored when it is read back", w.touched("R"))
    w.store.provider.empty = None
    ended = w.again()
    same((ended.rc, w.position("R")), (0, "P1"), "tried again, and embedded")
    holds(w, "new", "stored and found", [*PATHS, "other"])


def other_length(w):
    """The provider's model was changed for one with longer vectors."""
    prepared(w)
    w.store.provider.dimension = 16
    ended = w.sync([put("d1", "new d1")])
    same((ended.rc, ended.verdicts()), (1, {1: "failed:store-rejected"}), "a vector of another length")
    holds(w, "old", "the old version stays")
    ended = w.sync(lines("new"), "--batch-size", "1", "--no-retry")
    same((ended.rc, ended.results), (78, []), "of all: it stops")
    holds(w, "old", "with nothing stored")
    w.store.provider.dimension = 8
    same(w.sync(lines("new")).rc, 0, "changed back")
    holds(w, "new", "stored and found")


# ---- what is cut off ----


CUTS = [("no answer", {"apply_then_drop": True, "partly": {"indexed": 0}}),
        ("no answer, and no filter knows of it", {
            "apply_then_drop": True, "partly": {"stored": 4, "filtered": 0}}),
        ("the server is killed", {"kill": {"ms": 50}, "partly": {"stored": 5, "filtered": 2, "indexed": 1}}),
        ("502", {"status": 502, "apply": True, "partly": {"indexed": 3}})]


def cut_off(w):
    prepared(w)
    for n, (name, do) in enumerate(CUTS):
        w.script({"match": UPSERT, "times": 1, "do": do})
        text = "new%d" % n
        ended = w.sync([*lines(text), record("P%d" % (n + 1))], "--connections", "1")
        same((ended.rc, ended.statuses(6), w.position("R")), (0, ["completed"] * 6, "P%d" % (n + 1)), name)
        holds(w, text, name + ": stored and found")


def late_arrival(w):
    """The lost attempt arrives after the delete of the repeat and before its upsert, which then says
    SUCCESS with the vector that is there, and is not indexed."""
    prepared(w)
    lost, arrive = w.late_within_the_repeat()
    ended = w.sync(lines("new"), "--connections", "1", on_request=arrive)
    same((ended.rc, ended.statuses(6), bool(lost[0].do.get("partly"))), (0, ["completed"] * 6, True),
         "a late arrival within the repeat")
    holds(w, "new", "stored and found")


def in_doubt(w):
    prepared(w)
    w.script({"match": UPSERT, "times": 1, "do": {"partly": {"filtered": 2, "indexed": 1}}})
    killed = w.sync([*lines("new"), record("P1")], kill_applied=1)
    same((killed.rc, len(w.store.not_indexed())), (137, 5), "linesync is killed in a batch")
    w.settle()
    w.sync([put("other", "new other")], "--no-retry")
    test(set(PATHS) - w.touched("R") <= {"d0"}, "what no search finds counts as changed", w.touched("R"))
    ended = w.sync([*lines("new", [*PATHS, "other"]), record("P2")])
    same((ended.rc, w.position("R")), (0, "P2"), "fed again: done")
    holds(w, "new", "stored and found", [*PATHS, "other"])


def read_back(w):
    """What was stored, found and never acknowledged is done without being sent, or embedded, again."""
    prepared(w)
    killed = w.sync(lines("new"), kill_applied=1)
    same(killed.rc, 137, "linesync is killed after a whole batch")
    w.settle()
    w.store.clear_log()
    w.store.embedded.clear()
    ended = w.sync([put("other", "new other")], "--no-retry")
    same((ended.rc, [p for e in w.store.log for p in e["paths"]], w.store.embedded),
         (0, ["other"], ["new other"]), "it is read back")
    same(w.sync(lines("new")).statuses(6), ["skipped:unchanged"] * 6, "and known")
    holds(w, "new", "stored and found", [*PATHS, "other"])


def lasts(w):
    embeds(w)
    for n, options in enumerate(((), ("--batch-size", "1"), ("--batch-size", "2", "--connections", "2"))):
        ended = w.sync(lines("v%d" % n), *options)
        w.kill_store()
        same(ended.rc, 0, "a run with %s" % " ".join(options or ["nothing special"]))
        holds(w, "v%d" % n, "the server is killed, and all is found")


def again_without_provider(w):
    """The repeat has deleted, and then nobody embeds: nothing is called done, and the next run heals."""
    prepared(w)
    down = []

    def go_down(_n, call):
        if call.kind == "object_delete" and not down:
            down.append(call)
            w.store.provider.down = 503
    w.script({"match": UPSERT, "times": 1, "do": {"apply_then_drop": True, "partly": {"indexed": 0}}})
    ended = w.sync([*lines("new"), record("P1")], "--connections", "1", "--give-up", "200ms",
                   on_request=go_down)
    same((ended.rc, bool(down), w.position("R"), [s for s in ended.statuses(6) if s]), (75, True, "P0", []),
         "the repeat finds no provider: it stops")
    w.store.provider.down = None
    w.script()
    ended = w.sync([*lines("new"), record("P1")])
    same((ended.rc, w.position("R")), (0, "P1"), "the same command resumes")
    holds(w, "new", "stored and found")


# ---- how the provider fails ----


AWAY = [500, 429, 503, "send POST request: Post \"http://127.0.0.1:9/v1/embeddings\": EOF",
        "failed to parse vectorization response (status 502): invalid character '<' looking for beginning of "
        "value",
        "send POST request: Post \"http://127.0.0.1:9\": dial tcp 127.0.0.1:9: connect: connection refused",
        "send POST request: Post \"http://127.0.0.1:9\": context deadline exceeded",
        "vectorizer returned fewer vectors than requested"]


def short_trouble(w):
    prepared(w)
    for n, message in enumerate(AWAY):
        said = weaviate.Provider.failed(message, "overloaded") if isinstance(message, int) else message
        w.script({"match": {"kind": "upsert", "path": "d3"}, "times": 2,
                  "do": {"fail_objects": {"message": said}}})
        text = "new%d" % n
        ended = w.sync(lines(text))
        same((ended.rc, ended.statuses(6)), (0, ["completed"] * 6), "for a while: %s" % message)
        holds(w, text, "all is embedded in the end")


def away(w):
    """Without a provider nothing fails, however few the texts and whatever else succeeds."""
    prepared(w)
    for down in AWAY:
        w.store.provider.down = down
        for some in (lines("new"), lines("new", ["d0"])):
            ended = w.sync([*some, record("P1")], "--give-up", "300ms", "--max-retries", "1")
            same((ended.rc, [r for r in ended.results if r["status"] == "failed"], w.position("R")),
                 (75, [], "P0"), "the provider is away, %d lines: %s" % (len(some), down))
        holds(w, "old", "the old versions stay")
    w.store.provider.down = None
    ended = w.sync([*lines("new"), record("P1")])
    same((ended.rc, w.position("R")), (0, "P1"), "it is back: the same command resumes")
    holds(w, "new", "stored and found")


def deletes_go_on(w):
    """Deletes need no provider, nor does what is stored to be known to last."""
    prepared(w)
    w.store.provider.down = 503
    ended = w.sync([delete("d0"), delete("d1"), put("d2", "old d2", vector=[1] * 8)])
    same((ended.rc, ended.statuses(3), sorted(p for _, p in w.documents())), (0, ["completed"] * 3, PATHS[2:]),
         "without a provider: deletes, and a line that brings its vector")


def bad_text(w):
    """What the provider does not take: it fails alone, with its words, whoever was sent beside it."""
    prepared(w)
    w.store.provider.bad = {"new d4": 400}
    for n, (group, options) in enumerate(((1, ()), (50, ()), (3, ()), (50, ("--batch-size", "1")))):
        w.store.provider.group = group
        text = ["new", "newer", "new", "newer"][n]
        w.store.provider.bad = {text + " d4": 400}
        ended = w.sync(lines(text), "--no-retry", *options)
        same((ended.rc, ended.verdicts()), (1, {i + 1: "failed:store-rejected" if i == 4 else "completed"
                                               for i in range(6)}), "%d in a request: one fails" % group)
        test("cannot be embedded" in ended.of(5)["error"]["message"], "in the provider's words", ended.of(5))
        same({p: t for (_, p), t in w.documents().items()},
             {p: "old d4" if p == "d4" else "%s %s" % (text, p) for p in PATHS}, "its old version stays")
    w.store.provider.bad = {}
    ended = w.again()
    same((ended.rc, w.documents()["R", "d4"]), (0, "newer d4"), "it is tried again")
    holds(w, "newer", "stored and found")


def crashing_text(w):
    """A text for which the provider answers 500: it fails alone too, after its retries."""
    prepared(w)
    for group in (1, 50):
        w.store.provider.group = group
        for text, paths in (("new%d" % group, PATHS), ("last%d" % group, ["d4"])):
            w.store.provider.bad = {text + " d4": 500}
            ended = w.sync(lines(text, paths), "--max-retries", "2", "--no-retry")
            same((ended.rc, [r["path"] for r in ended.results if r["status"] == "failed"], len(ended.results)),
                 (1, ["d4"], len(paths)), "%d in a request, %d lines" % (group, len(paths)))
    w.store.provider.bad = {}
    same(w.again().rc, 0, "it is tried again")


# ---- keys ----


def key_file(w, text, name="headers", mode=0o600):
    path = os.path.join(w.dir, name)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    os.chmod(path, mode)
    return path


def provider_key(w):
    embeds(w, KEYED)
    w.store.provider.key = "sesame"
    for name, options in (("none", ()), ("a wrong one", ("--store-header-file", key_file(
            w, "X-OpenAI-Api-Key: wrong\n")))):
        ended = w.sync(lines("x"), *options)
        same((ended.rc, ended.results, w.documents()), (78, [], {}), "the provider's key, %s: 78" % name)
        test("--store-header-file" in ended.err, "and what to do", ended.err)
    good = key_file(w, "X-OpenAI-Api-Key: sesame\n")
    more = key_file(w, "\nX-Trace: 7\n", "more")
    seen = []
    ended = w.sync([*lines("old"), delete("none")], "-v", "-v", "-v", "--store-header-file", good,
                   "--store-header-file", more, on_request=lambda n, call: seen.append((
                       call.headers.get("x-openai-api-key"), call.headers.get("x-trace"))))
    same((ended.rc, len(seen) > 5, set(seen)), (0, True, {("sesame", "7")}), "the right one, with each request")
    test("sesame" not in ended.err + ended.out.decode(), "and it is not shown", ended.err)
    holds(w, "old", "stored and found")
    w.env["LINESYNC_STORE_HEADER_FILE"] = more + ":" + good
    same(w.sync(lines("new")).rc, 0, "by the environment")
    same(w.ask("search", "old d1")[0], 0, "for a search, too")
    same(w.ask("check")[0], 0, "and for check")
    for name, text, mode in (("others can read it", "X-OpenAI-Api-Key: sesame\n", 0o644),
                             ("no header", "sesame\n", 0o600), ("linesync's own", "Host: x\n", 0o600),
                             ("the store's key", "Authorization: Bearer x\n", 0o600)):
        key_file(w, text, "headers", mode)
        seen.clear()
        ended = w.sync(lines("newer"), on_request=lambda n, call: seen.append(call))
        same((ended.rc, ended.results, seen), (77, [], []), "refused: " + name)
        test(good in ended.err and "sesame" not in ended.err, "naming the file, not what is in it", ended.err)
    holds(w, "new", "nothing was stored")


# ---- search and check ----


def search(w):
    prepared(w)
    w.store.embedded.clear()
    seen = []
    w.store.on_request = lambda n, call: seen.append(call.kind)
    rc, out = w.ask("search", "-n", "3", "old d3")
    hits = [json.loads(x) for x in out.split("\n")[:-1]]
    same((rc, len(hits), hits[0]["path"], hits[0]["text"], abs(hits[0]["distance"]) < 1e-5),
         (0, 3, "d3", "old d3", True), "search: the text of a document is nearest to it")
    same([h["distance"] for h in hits], sorted(h["distance"] for h in hits), "search: nearest first")
    same((w.store.embedded, seen[-1]), (["old d3"], "query"), "search: the text is embedded as it is")
    w.store.provider.down = 503
    same(w.ask("search", "old d3")[0], 75, "search: without a provider, 75")


def checks(w):
    def check(*options):
        rc, out = w.ask("check", "--json", *options)
        return rc, {c["name"]: c for c in json.loads(out)["checks"]}

    def says(rc, ok, word, name, *options):
        got, found = check(*options)
        same((got, found["embedder"]["ok"]), (rc, ok), "check: " + name)
        test(word in found["embedder"]["text"], "it says so", found["embedder"])
    embeds(w)
    says(0, True, "vectoriser", "no class yet, nothing is named")
    says(0, True, "store", "no class yet, --embed store", "--embed", "store")
    same((w.store.classes, w.writes(), os.path.exists(w.state)), ({}, [], False), "check makes nothing")
    w.again("--embed", "hash:8", "--state", os.path.join(w.dir, "other"))
    says(78, False, "--embed store", "a class without", "--embed", "store")
    same(w.sync(lines("x"), "--embed", "store").rc, 78, "as a sync then says")
    w.store.classes.clear()
    w.sync(lines("old"))
    says(0, True, "store:" + MODULE, "it is there")
    says(78, False, "store:" + MODULE, "another is named", "--embed", "hash:8")
    says(64, False, "--embed-path", "a path for it", "--embed-path")
    w.store.provider.down = 503
    says(75, False, "503", "the provider is away")
    w.store.provider.down, w.store.provider.key = None, "sesame"
    says(78, False, "--store-header-file", "the provider's key is wrong")
    w.store.provider.key = None
    w.stop_store()
    rc, found = check()
    same((rc, found["store"]["ok"], found["embedder"]["ok"]), (75, False, None),
         "the store is away: of that nothing is said")
    w.start_store()
    other = World(w.verbose, "chroma")
    try:
        rc, out = other.ask("check", "--json", "--embed", "store")
        found = {c["name"]: c for c in json.loads(out)["checks"]}
        same((rc, found["embedder"]["ok"]), (78, False), "check: a store whose collections embed nothing")
    finally:
        other.close()


TESTS = [by_default, named, by_hand, otherwise, nothing_embeds, not_for_it, another, brings_vector, learnt,
         long_ones, empty_vector, other_length, cut_off, late_arrival, in_doubt, read_back, lasts,
         again_without_provider, short_trouble, away, deletes_go_on, bad_text, crashing_text, provider_key,
         search, checks]

if __name__ == "__main__":
    sys.exit(run_tests(TESTS, "weaviate"))
