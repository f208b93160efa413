#!/usr/bin/env python3
"""check.py [-v] [NAME...] - linesync check: what it says of store, collection, embedder and state, that its
exit status is the one that a sync then has, and that it changes nothing.  NAMEs: only these."""

import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import Steered, delete, program, put, report, run_tests  # noqa: E402

same, test = report.same, report.test
NAMES = ["store", "authorised", "version", "collection", "dimension", "embedder", "state", "lock"]
WORDS = {True: "ok", False: "bad", None: "-"}


def run(w, *args, **env):
    """(exit status, standard output, standard error) of a command; env adds, None takes away."""
    full = {k: v for k, v in {**w.env, **env}.items() if v is not None}
    done = subprocess.run([program(), *args], env=full, cwd=w.dir, stdin=subprocess.DEVNULL,
                          capture_output=True, check=False, timeout=600)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def check(w, *args, **env):
    """(exit status, the report, {name: its finding})"""
    rc, out, err = run(w, "check", "--json", *args, **env)
    same((out.count("\n"), err), (1, ""), "one object, and nothing on standard error")
    said = json.loads(out)
    return rc, said, {c["name"]: c for c in said["checks"]}


def bad(found):
    return [n for n in NAMES if found[n]["ok"] is False]


def agrees(w, want, which, name, *args, **env):
    """check finds just this bad, in text too, and a sync stops so.  Returns what is said of it."""
    rc, said, found = check(w, *args, **env)
    same((rc, said["status"], bad(found)), (want, want, which), name)
    same(list(found), NAMES, "of everything something is said")
    rc, text, err = run(w, "check", *args, **env)
    table = "".join("%-4s %-11s %s\n" % (WORDS[found[n]["ok"]], n, found[n]["text"]) for n in NAMES)
    took = re.compile(r"after \d+ ms")     # each time another
    same((rc, err, took.sub("", text)), (want, "", took.sub("", table)), "the text says the same")
    full = {k: v for k, v in {**w.env, **env}.items() if v is not None}
    done = subprocess.run([program(), *args, "--give-up", "0", "--late", "0"], env=full, cwd=w.dir,
                          input=b'{"repo":"R","path":"new","content":"n"}\n', capture_output=True, check=False,
                          timeout=600)
    same(done.returncode, want, "and a sync ends so")
    for n in which:
        test(not want or want == 1 or found[n]["text"] in done.stderr.decode().replace("\nlinesync: error: ", "; "),
             "for this reason", found[n]["text"], done.stderr)
    return " ".join(found[n]["text"] for n in which)


def requests(w):
    seen = []
    w.store.on_request = lambda _n, call: seen.append(call.kind)
    return seen


def collection(w):
    [c] = w.store.by_name.values()
    return c


def call_it(w, ident):
    """Gives the collection another id, as one that was made anew has."""
    with w.store.lock:
        c = collection(w)
        w.store.by_id = {ident: c}
        c.id = ident


# ---- all is well ----


def well(w):
    w.sync([put("a", "A"), put("b", "B"), put("a", "A", "S")])
    seen = requests(w)
    rc, said, found = check(w)
    same(seen, ["heartbeat", "preflight", "collection_get", "count", "count"], "what the store is asked")
    same((rc, bad(found), {c["ok"] for c in found.values()}), (0, [], {True}), "all is well")
    del said["checks"]
    same(said, {"store": w.env["LINESYNC_STORE"].replace("127.0.0.1", "localhost"), "collection": "Code",
                "state": w.state, "version": None, "objects": 3, "dimension": 8, "embedder": "hash-1:8",
                "documents": 3, "holder": None, "status": 0}, "in figures")
    same([found[n]["text"] for n in NAMES],
         ["'%s' answers" % w.env["LINESYNC_STORE"][len("chroma:"):], "no key is given, and none is wanted",
          "the server does not tell it", "'Code' holds 3 objects", "vectors of 8 numbers", "hash-1:8",
          "'%s' holds 3 documents of 2 repositories" % w.state, "nobody works on the state"], "in words")
    agrees(w, 0, [], "the text, and a sync")


def before_the_first(w):
    folder = os.path.join(w.dir, "none", "yet")
    names = sorted(os.listdir(w.dir))
    rc, said, found = check(w, LINESYNC_STATE=None, LINESYNC_STATE_DIR=folder)
    same((rc, bad(found)), (0, []), "neither collection nor state")
    same((said["objects"], said["documents"], said["dimension"], said["embedder"]), (None, None, None, "hash-1:1024"),
         "no figures")
    test("makes it" in found["collection"]["text"] and folder in found["state"]["text"] and
         "makes it" in found["state"]["text"], "which the first sync makes", found)
    same((sorted(os.listdir(w.dir)), list(w.store.by_name)), (names, []), "nothing was made")
    same(check(w, "--embed", "hash:16")[1]["embedder"], "hash-1:16", "the embedder that is asked for")
    agrees(w, 78, ["collection"], "--no-create", "--no-create")
    same(os.path.exists(w.state), False, "and no state is left behind")
    agrees(w, 0, [], "and a sync")


def only_state(w):
    w.sync([put("a", "A")])
    bare = dict(LINESYNC_STORE=None, LINESYNC_COLLECTION=None)
    same(run(w, "check", **bare)[1].replace("localhost", "127.0.0.1"), run(w, "check")[1],
         "the only state says which store and collection")
    same(check(w, **bare, LINESYNC_STATE=None, LINESYNC_STATE_DIR=w.dir)[1]["documents"], 1, "in its folder too")
    rc, out, err = run(w, "check", **bare, LINESYNC_STATE=None, LINESYNC_STATE_DIR=os.path.join(w.dir, "no"))
    same((rc, out), (66, ""), "without a state somebody has to say it")
    test("there is no state" in err, "as the message says", err)


def changes_nothing(w):
    w.sync([put("a", "A")])
    os.unlink(w.state + ".lock")
    with open(w.state, "rb") as f:
        state = f.read()
    files, store = sorted(os.listdir(w.dir)), w.store.dump(True, True)
    check(w)
    with open(w.state, "rb") as f:
        same(f.read() == state, True, "the state is as it was")
    same((sorted(os.listdir(w.dir)), w.store.dump(True, True) == store), (files, True), "and files, and store")


# ---- the store ----


def away(w):
    w.sync([put("a", "A")])
    w.script({"match": {"kind": "heartbeat"}, "do": {"status": 503, "body": "\x1b[2J later\n"}})
    text = agrees(w, 75, ["store"], "the store says: later")
    test("\x1b" not in text and "later" in text, "in its words, printable", text)
    found = check(w)[2]
    same([found[n]["ok"] for n in NAMES], [False, None, None, None, None, True, True, True],
         "what cannot be asked is neither ok nor bad")
    for kind in ("collection_get", "count"):
        w.script({"match": {"kind": kind}, "do": {"status": 500}})
        agrees(w, 75, ["collection"], "%s: error 500" % kind)
    w.script()
    w.stop_store()
    seen = agrees(w, 75, ["store"], "nobody is there")
    test("is it running" in seen, "what to do is said", seen)


def no_chroma(w):
    w.script({"match": {"kind": "heartbeat"}, "do": {"status": 404, "body": "404 page not found"}})
    agrees(w, 78, ["store"], "something else answers")
    w.script({"match": {"kind": "collection_get"}, "do": {"status": 302}})
    agrees(w, 78, ["collection"], "a redirect")


def keys(w):
    w.sync([put("a", "A")])
    for kind, status in (("heartbeat", 401), ("heartbeat", 403), ("collection_get", 401), ("count", 403)):
        w.script({"match": {"kind": kind}, "do": {"status": status}})
        text = agrees(w, 77, ["authorised"], "%s: %d" % (kind, status))
        test("--api-key-file" in text, "what to do is said", text)
        same(check(w)[2]["store"]["ok"], True, "the store itself answers")
    w.script()
    same(check(w, LINESYNC_API_KEY="secret")[2]["authorised"]["text"], "the key is accepted", "a key")
    name = os.path.join(w.dir, "key")
    with open(name, "w", encoding="ascii") as f:
        f.write("secret\n")
    os.chmod(name, 0o644)
    seen = requests(w)
    agrees(w, 77, ["authorised"], "a key that others can read", "--api-key-file", name)
    same(seen, [], "and nothing is asked")


# ---- the collection ----


def other_metric(w):
    w.sync([put("a", "A")])
    with w.store.lock:
        collection(w).space = "l2"
    test("'l2'" in agrees(w, 78, ["collection"], "another metric"), "is named")


def gone(w):
    w.sync([put("a", "A"), put("b", "B"), put("c", "C")])
    c = collection(w)
    kept = c.id
    call_it(w, "2e586de9-54d1-4727-82e4-a13df1138a64")
    test("another one" in agrees(w, 78, ["collection"], "another collection"), "of the same name")
    call_it(w, kept)
    with w.store.lock:
        lost = [c.records.popitem(), c.records.popitem()]
    test("only 1 are there" in agrees(w, 78, ["collection"], "less than half is there"), "of 3 that were looked for")
    with w.store.lock:
        c.records.update(lost[:1])
    rc, said, found = check(w)
    same((rc, bad(found), said["objects"], said["documents"]), (1, ["collection"], 2, 3),
         "objects are gone: bad, though a sync would go on")
    test("forget --all" in found["collection"]["text"], "what to do is said", found["collection"]["text"])
    same(check(w, "--embed", "hash:16")[0], 78, "what stops a sync comes first")
    with w.store.lock:
        c.records.clear()
    test("is empty" in agrees(w, 78, ["collection"], "an empty one"), "is named")
    with w.store.lock:
        w.store.by_name.clear()
    rc, said, found = check(w)
    same((rc, bad(found), said["objects"], list(w.store.by_name)), (78, ["collection"], None, []), "one that is gone")
    text = found["collection"]["text"]
    test("'Code' is not there" in text and "3 documents" in text and "forget --all" in text, "as it says", text)
    same((len(lost), w.sync([put("a", "A")]).rc), (2, 78), "and a sync ends so")


def embedders(w):
    w.sync([put("a", "A")])
    text = agrees(w, 78, ["embedder"], "another dimension", "--embed", "hash:16")
    test("hash-1:8" in text, "than the collection has", text)
    rc, out, err = run(w, "check", "--embed", "nosuch")
    same((rc, out), (78, ""), "one that nobody knows")
    test("'nosuch' is not known" in err, "is named", err)
    os.unlink(w.state)
    same((check(w)[0], check(w)[1]["embedder"], check(w, "--embed", "hash:16")[0]), (0, "hash-1:8", 78),
         "without a state, the collection's dimension counts")


# ---- the state ----


def damage(w, at, text):
    with open(w.state, "r+b") as f:
        f.seek(at)
        f.write(text)


def damaged(w):
    w.sync([put("f%04d" % n, str(n)) for n in range(1500)])
    with open(w.state, "rb") as f:
        whole = f.read()
    damage(w, 0, b"\0" * 64)
    agrees(w, 74, ["state"], "no state at all")
    with open(w.state, "wb") as f:
        f.write(whole)
    digest = bytes.fromhex(w.objects()["R", "f1499"]["sync_digest"])
    for m in re.finditer(re.escape(digest), whole):
        damage(w, m.start(), b"XXX")
    rc, said, found = check(w)
    same((rc, said["status"], bad(found)), (74, 74, ["state"]), "a damaged page: 74")
    test("is damaged" in found["state"]["text"] and "feed everything" in found["state"]["text"],
         "what to do is said", found["state"]["text"])
    same((said["objects"], found["store"]["ok"], found["lock"]["ok"], found["embedder"]["ok"]),
         (1500, True, True, None), "the rest of the report is there")
    rc, out, err = run(w, "check")
    same((rc, err, [x[:4].strip() for x in out.splitlines()]),
         (74, "", ["ok", "ok", "ok", "ok", "ok", "-", "bad", "ok"]), "as text too")
    with open(w.state, "rb") as f:
        same(len(f.read()), len(whole), "the file is left as it is")


def of_another(w):
    w.sync([put("a", "A")])
    text = agrees(w, 78, ["state"], "a state of another collection", "--collection", "Other")
    test("belongs to collection 'Code'" in text, "is named", text)
    same(check(w, "--collection", "Other")[1]["documents"], None, "its figures are not given")


def no_room(w):
    plain = os.path.join(w.dir, "plain")
    with open(plain, "w", encoding="ascii"):
        pass
    none = os.path.join(w.dir, "none")
    for env, folder in (({"LINESYNC_STATE": os.path.join(plain, "state.tdb")}, plain),
                        ({"LINESYNC_STATE": os.path.join(none, "state.tdb")}, none),
                        ({"LINESYNC_STATE": None, "LINESYNC_STATE_DIR": os.path.join(plain, "x", "y")}, plain)):
        rc, _, found = check(w, **env)
        same((rc, bad(found)), (73, ["state"]), "a state that cannot be made")
        text = found["state"]["text"]
        test("cannot be made" in text and "folder '%s': " % folder in text, "and where", text)
        full = {k: v for k, v in {**w.env, **env}.items() if v is not None}
        same(subprocess.run([program()], env=full, cwd=w.dir, input=b'{"path":"a","content":"A"}\n',
                            capture_output=True, check=False, timeout=600).returncode, 73, "as a sync finds")
    out = run(w, "check", LINESYNC_STATE=os.path.join(w.dir, "x\x1b[2J.tdb"))[1]
    test("\x1b" not in out and "/x\\x1b[2J.tdb'" in out, "names are printed escaped", out)
    rc, _, found = check(w, LINESYNC_STATE=None, LINESYNC_STATE_DIR=os.path.join(none, "x", "y"))
    same((rc, bad(found), os.path.exists(none)), (0, [], False), "a folder that a sync makes")


def locked(w):
    s = Steered(w)
    s.feed(put("a", "A"))
    s.wait_results(1)
    rc, said, found = check(w)
    same((rc, bad(found)), (75, ["lock"]), "while a sync is at work")
    test(re.match("pid %d, host .*, since " % s.pid, said["holder"]), "who it is", said["holder"])
    test(said["holder"] in found["lock"]["text"] and "--wait-lock" in found["lock"]["text"], "and what to do")
    same((said["documents"], found["state"]["ok"]), (1, True), "its state can be read")
    with w.store.lock:
        collection(w).space = "l2"
    rc, _, found = check(w)
    same((rc, bad(found)), (75, ["collection", "lock"]), "of several, the status is that of the first")
    with w.store.lock:
        collection(w).space = "cosine"
    same(s.end().rc, 0, "and it is not disturbed")
    same(check(w)[0], 0, "afterwards all is well")


def deleted(w):
    w.sync([put("a", "A"), delete("a")])
    same((check(w)[0], check(w)[1]["documents"]), (0, 0), "an empty collection that the state knows as empty")


TESTS = [well, before_the_first, only_state, changes_nothing, away, no_chroma, keys, other_metric, gone, embedders,
         damaged, of_another, no_room, locked, deleted]


if __name__ == "__main__":
    sys.exit(run_tests(TESTS))
