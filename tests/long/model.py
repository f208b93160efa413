#!/usr/bin/env python3
"""model.py - random schedules against linesync and a mock store, judged by a model of order.

    model.py [--store NAME] [--seed N] [--count N] [--seconds N] [--jobs N] [--no-shrink] [-v]

A schedule is a list of invocations: an input (a new one, the same again, an older one, one that
differs from some line on, an empty one, one that asks for nothing), faults of the store (refusals, 500s, lost answers, requests
that arrive late), and perhaps a kill.  On Weaviate's mock documents are cut into chunks, texts go
through an embedding server, which fails too, batches are done by half, the store is killed and loses
what it acknowledged last; and now and then everything is forgotten.  After each of them the model says
what must hold:

  store      each document is what its last line says: all its chunks and none beyond, found by filters
             and searches, with the vectors of their texts; where that failed or was cut off, one of
             the versions that were asked for since, or what was there before, or chunks of these
  results    one for each line; `unchanged` only where the store really held it; a finished line is
             not done again; nothing fails without a cause
  position   a repository's tree at a commit is that of the commit before it with the lines of the
             block.  Where the position is, the store holds that tree, but for what later lines say;
             what differs from it is named by --touched
             It is whole where the commit says that its listing is complete, or is since one that is
  progress   where nothing goes wrong and the block names what --touched names, the position moves;
             at the end two clean runs that name everything leave nothing held, failed or in doubt,
             and the second sends nothing

Schedule N is made from seed N; --seed N --count 1 makes it again (timing is not in it).  A schedule
that fails is made smaller and printed.  -v: all that happens.  LINESYNC names the program.
"""

import argparse
import copy
import json
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import LIMIT_S, NOTHING, Report, World, delete, embedder, from_file, put, record  # noqa: E402

REPOS = ("R", "S")
PATHS = ("a", "b", "c")
CHUNK_LINES = 2            # where documents are cut


def text_of(name, lines):
    return "".join("%s %d\n" % (name, n + 1) for n in range(lines))


def pieces(text):
    lines = text.splitlines(True)
    return ["".join(lines[i:i + CHUNK_LINES]) for i in range(0, len(lines), CHUNK_LINES)]


TEXTS = (text_of("text A", 1), text_of("text B", 5), text_of("text C", 3))
FILE_TEXTS = (text_of("file A", 2), text_of("file B", 3))
WHOLE = {piece: text for text in TEXTS + FILE_TEXTS for piece in [text, *pieces(text)]}
MODEL = "m"
LATE_MS = 150
MOST_LATE_MS = 60          # a request that arrives later than this
TOO_LATE_S = 0.12          # arrived later than linesync must wait for: this machine was too slow
ANY = "any"                # a document of a tree of which nothing is known
# of a document that is not one whole version: chunks are missing, or of several versions, or stand
# beyond, or are not found, or have a vector of another text
TORN = "torn"
DELETES = "delete|object_delete"
WRITES = "upsert|" + DELETES
FORGOTTEN = "before it was forgotten"    # a commit
STOPPED = (128 + signal.SIGKILL, 128 + signal.SIGTERM, 75, 78)
MISFITS = {"nan", "zero", "fewer", "drop_entry"}    # of vectors: 78 where they do not heal


# ---- schedules ----


def random_lines(rng, names, most):
    """Symbolic lines: [kind, repository, ...]."""
    lines = []
    one = rng.random() < 0.5
    style = {r: rng.choices(("position", "none", "held"), (74, 16, 10))[0] for r in REPOS}
    for _ in range(rng.randint(1, most)):
        repo = "R" if one or rng.random() < 0.6 else "S"
        path, text = rng.choice(PATHS), rng.choice(TEXTS)
        kind = rng.choices(("put", "delete", "rename", "file", "skip", "record", "bad", "bad-op",
                            "folder", "blank", "message", "no-content"),
                           (46, 12, 8, 7, 3, 14, 2, 1, 1, 1, 1, 5))[0]
        if kind == "record":
            lines.append(random_record(rng, repo, names, style))
        elif kind == "rename":
            lines.append([kind, repo, path, rng.choice([p for p in PATHS if p != path]), text])
        elif kind == "put":
            lines.append([kind, repo, path, text])
        else:
            lines.append([kind, repo, path])
    for repo in REPOS:
        if rng.random() < 0.6:
            lines.append(random_record(rng, repo, names, style))
    return lines


def random_record(rng, repo, names, style):
    names[0] += 1
    since = rng.choice(("bogus", "nothing")) if rng.random() < 0.05 else style[repo]
    return ["record", repo, "c%d" % names[0], since, rng.random() < 0.06]


def random_partly(rng):
    """How far a batch gets."""
    return {k: rng.randint(0, 3) for k in rng.sample(("stored", "filtered", "indexed"), 2)}


# what only a Weaviate does
WEAVIATE_RULES = {
    "done by half, no answer": lambda rng: {"apply_then_drop": True, "partly": random_partly(rng)},
    "arrives late, by half": lambda rng: {"drop": True, "delay_apply_ms": rng.randint(1, MOST_LATE_MS),
                                          "partly": random_partly(rng)},
    "done by half, 500": lambda rng: {"status": 500, "apply": True, "partly": random_partly(rng)},
    "some failed": lambda rng: {"partly": random_partly(rng)},
    "failed and stored": lambda _: {"fail_objects": {
        "stored": True, "message": "insert to vector index: not enough memory"}},
    "refused": lambda _: {"fail_objects": {
        "message": "invalid text property 'content' on class 'Code': not a string"}},
    "read-only": lambda _: {"read_only": "resource pressure"},
    "panic": lambda _: {"say": "panic"},
    "killed": lambda rng: {"kill": {"ms": rng.randint(0, 20)}, "partly": random_partly(rng)},
    "killed after it": lambda rng: {"kill": {"ms": rng.randint(0, 20)}},
}


def random_weaviate_rule(rng):
    what = rng.choice(list(WEAVIATE_RULES))
    match = {"kind": "upsert"}
    if what in ("refused", "failed and stored") or rng.random() < 0.2:
        match["content"] = rng.choice(list(WHOLE))
    elif rng.random() < 0.5:
        match["nth"] = rng.randint(1, 4)
    rule = {"match": match, "times": 1 if "killed" in what else rng.choice((1, 1, 2, 4)),
            "do": WEAVIATE_RULES[what](rng)}
    if what == "refused" and rng.random() < 0.5:
        del rule["times"]
    return rule


def random_embed_rule(rng):
    """Of an embedding server."""
    rule = {"match": {"kind": "embeddings"}, "times": rng.choice((1, 1, 2, 4)),
            "do": rng.choice(({"status": 500}, {"status": 503}, {"drop": True}, {"nan": 0},
                              {"apply_then_drop": True}, {"drop_entry": 0}, {"order": "reverse"},
                              {"fewer": 1}, {"zero": 0}, {"delay_ms": 20}, {"partial": 60}))}
    if rng.random() < 0.5:
        rule["match"]["content"] = rng.choice(list(WHOLE))
        if rng.random() < 0.3:
            rule["do"] = {"status": 400}
        if rule["do"] != {"status": 503} and rng.random() < 0.3:    # which is no fault of a text
            del rule["times"]
    return rule


def random_rule(rng):
    what = rng.choices(("refuse", "500", "lost", "arrives late", "done, no answer", "done, 500",
                        "slow", "slow answer", "503", "read lost", "cut answer"),
                       (20, 12, 12, 14, 14, 4, 14, 6, 3, 2, 4))[0]
    match = {"kind": rng.choice(("upsert", "upsert", DELETES, WRITES))}
    times = rng.choice((1, 1, 1, 2, 3, 6))
    if what == "refuse" or rng.random() < 0.3:
        match = {"kind": "upsert", "content": rng.choice([pieces(t)[-1] for t in TEXTS + FILE_TEXTS[:1]])}
    elif rng.random() < 0.4:
        match["nth"] = rng.randint(1, 4)
    rule = {"match": match, "times": times}
    rule["do"] = {
        "refuse": {"refuse_objects": True},
        "500": {"status": 500},
        "lost": {"drop": True, "rst": rng.random() < 0.3},
        "arrives late": {"drop": True, "delay_apply_ms": rng.randint(1, MOST_LATE_MS)},
        "done, no answer": {"apply_then_drop": True},
        "done, 500": {"status": 500, "apply": True},
        "slow": {"delay_ms": rng.randint(1, 30)},
        "slow answer": {"answer_delay_ms": rng.randint(1, 30)},
        "503": {"status": 503},
        "read lost": {"drop": True},
        "cut answer": {"partial": rng.randint(0, 40)},
    }[what]
    if what == "read lost":
        rule["match"] = {"kind": rng.choice(("get", "query", "get|query"))}
    if what in ("refuse", "500") and match["kind"] == "upsert" and "nth" not in match and \
            rng.random() < 0.4:
        del rule["times"]
    return rule


def random_kill(rng):
    return rng.choice(({"kill_request": rng.randint(1, 6)}, {"kill_applied": rng.randint(1, 6)},
                       {"kill_line": rng.randint(1, 8)}, {"kill_ms": rng.randint(3, 40)}))


def random_schedule(seed, store):
    rng = random.Random(seed)
    on_weaviate = store == "weaviate"
    names = [0]
    steps = []
    most = rng.choice((4, 8, 12))
    for n in range(rng.randint(2, 6)):
        feed = "new"
        if n:
            stopped = bool(steps[-1]["kill"])
            feed = rng.choices(("new", "same", "changed", "older", "nothing", "empty"),
                               (30, 46, 12, 4, 12, 6) if stopped else (70, 12, 4, 6, 8, 4))[0]
        step = {"feed": feed, "lines": random_lines(rng, names, most),
                "cut": rng.randint(0, 6), "back": rng.randint(1, 3), "files": [],
                "options": {"batch": rng.randint(1, 4), "connections": rng.randint(1, 2)},
                "rules": [], "kill": {}, "rest": rng.random() < 0.5}
        for repo in REPOS:
            for path in PATHS:
                if rng.random() < (0.7 if n == 0 else 0.15):
                    step["files"].append([repo, path, rng.choice(FILE_TEXTS + (None,))])
        if rng.random() < 0.55:
            step["rules"] = [random_weaviate_rule(rng) if on_weaviate and rng.random() < 0.5 else
                             random_rule(rng) for _ in range(rng.randint(1, 3))]
        if on_weaviate:
            add_weaviate(rng, step)
        if rng.random() < 0.04:
            step["rules"].append({"match": {"kind": WRITES, "after": rng.randint(0, 3)},
                                  "do": {"status": 503}})
            step["options"]["give-up"] = 100
        if rng.random() < 0.45:
            step["kill"] = random_kill(rng)
            if rng.random() < 0.25:
                step["kill"]["how"] = int(signal.SIGTERM)
        if "kill_request" in step["kill"] and rng.random() < 0.4:
            # what is under way at the kill arrives while the next invocation runs
            step["rest"] = False
            step["rules"].insert(0, {"match": {"kind": WRITES,
                                               "nth": step["kill"]["kill_request"]}, "times": 1,
                                     "do": {"drop": True, "delay_apply_ms":
                                            rng.randint(20, MOST_LATE_MS)}})
        elif "kill_request" in step["kill"] and on_weaviate:
            # a client that hangs up has its batch done by half
            step["rules"].insert(0, {"match": {"kind": WRITES, "nth": step["kill"]["kill_request"]},
                                     "times": 1, "do": {"partly": random_partly(rng)}})
        if rng.random() < 0.25:
            step["pause"] = [rng.choice((0, 0, 1, 4, 12)) for _ in range(most)]
        if rng.random() < 0.1:
            step["options"]["no-retry"] = True
        step["skip"] = rng.random() < 0.1
        steps.append(step)
    return {"seed": seed, "store": store, "steps": steps}


def add_weaviate(rng, step):
    """What else may happen to it: before, during and after the invocation."""
    step["forget"] = rng.random() < 0.08
    if rng.random() < 0.3:
        step["embed_rules"] = [random_embed_rule(rng) for _ in range(rng.randint(1, 2))]
    if rng.random() < 0.15:
        step["store_killed_ms"] = rng.randint(3, 60)
    step["store_killed_after"] = rng.random() < 0.3


# ---- inputs: symbolic lines made real ----


class Line:
    """effects: [(document, value)] in order, value a text, None for absent, or ANY.  leaves: a document
    that it names and says nothing of."""

    def __init__(self, kind, text, repo=None, effects=(), own=True, fails=False, about=None,
                 leaves=None):
        self.kind, self.text, self.repo, self.own, self.fails = kind, text, repo, own, fails
        self.effects = list(effects)
        self.name = self.since = None
        self.complete = False
        self.documents = [d for d, _ in self.effects]
        self.about = set(self.documents) | ({about} if about else set())
        self.leaves = leaves
        self.names = self.documents + ([leaves] if leaves else [])

    def value(self, document):
        for d, v in self.effects:
            if d == document:
                return v
        return ANY


class Problem(Exception):
    """The model and linesync differ."""


class Void(Exception):
    """The schedule says nothing: this machine was too slow for it."""


def union(sets):
    out = set()
    for s in sets:
        out |= s
    return out


class Model:
    """What must hold of one world, from one invocation to the next."""

    def __init__(self, world, log):
        self.w, self.log = world, log
        self.on_weaviate = world.embedder is not None
        self.files = {}
        self.forgotten = False
        self.inputs = []          # the symbolic lines of each input, with since made real
        self.trees = {}           # commit: {document: set of values}, what it does not name is absent
        self.said_after = {}      # commit: {document: values that lines after its record said}
        self.decided = set()      # commits that have been the position, or held
        self.whole = set()        # commits of complete listings, and of changes since those
        self.closed = {}          # repository: the last record that closed a block
        self.partial = set()      # complete listings with failed lines: they delete nothing
        self.from_files = set()   # documents with failed lines that take their text from a file
        self.repos = {}
        self.touched = {r: set() for r in REPOS}
        self.held_now = {}
        self.accepted = set()     # documents of lines that a person accepted, perhaps to be read again
        self.failing = {}         # document: values of failed lines that may be tried again
        self.prior = {}           # document: values that the store may hold now
        self.printed = {}         # line number: result of the last invocation, if it was stopped
        self.was_stopped = False  # the last invocation left a run to be resumed, perhaps
        # that run goes on from a difference: lines before it are not done again, though what was
        # given up may have changed their documents
        self.went_on = False
        self.runs = set()
        self.last_feed = None
        self.seen = {}
        self.documents = [(r, p) for r in REPOS for p in PATHS]
        self.broken = {}          # failed lines of no known repository, (run, line): text

    def count(self, what, n=1):
        self.seen[what] = self.seen.get(what, 0) + n

    def fail(self, text, *args):
        raise Problem(text % args)

    # ---- inputs ----

    def position(self, repo):
        return self.repos.get(repo, {}).get("position")

    def held(self, repo):
        r = self.repos.get(repo, {})
        return r.get("held") if r.get("why") == "lines" else None

    def resolve(self, lines):
        """Gives each record its since."""
        out, before = [], {}
        # what follows a complete listing must say so: where that may not delete, it does not count
        complete = {line[1] for line in lines if line[0] == "record" and line[4]}
        for line in lines:
            if line[0] != "record":
                out.append(line)
                continue
            _, repo, name, mode, _ = line
            position, held = self.position(repo), self.held(repo)
            if mode == "bogus":
                since = "nowhere"
            elif mode == "nothing":
                since = ""
            elif mode == "none" and repo not in complete:
                since = None
            elif mode == "held" and held:
                since = held
            else:
                since = before.get(repo, position)
            if since != "nowhere" and (since != "" or line[4]):
                before[repo] = name
            out.append(["resolved", repo, name, since, line[4]])
        return out

    def real(self, line):
        kind, repo = line[0], line[1]
        document = (repo, line[2]) if len(line) > 2 else None
        if kind == "put":
            return Line(kind, put(line[2], line[3], repo), repo, [(document, line[3])])
        if kind == "delete":
            return Line(kind, delete(line[2], repo), repo, [(document, None)])
        if kind == "skip":
            return Line(kind, put(line[2], "left out", repo, skip_index=True), repo,
                        [(document, None)])
        if kind == "rename":
            new, old = (repo, line[3]), (repo, line[2])
            return Line(kind, dict(repo=repo, op="rename", old_path=line[2], path=line[3],
                                   content=line[4]), repo, [(new, line[4]), (old, None)])
        if kind == "no-content" and self.files.get(document) is None:
            return Line(kind, dict(from_file(line[2], repo), content=None), repo, own=False,
                        leaves=document)
        if kind in ("file", "no-content"):
            text = self.files.get(document)
            how = {"content": None} if kind == "no-content" else {}
            return Line("file", dict(from_file(line[2], repo), **how), repo,
                        [(document, ANY if text is None else text)], False, text is None)
        if kind == "bad":
            return Line(kind, '{"repo":"%s","path":' % repo, fails=True)
        if kind == "bad-op":
            return Line(kind, dict(repo=repo, op="frob", path=line[2]), repo, fails=True,
                        about=document)
        if kind == "folder":
            return Line(kind, from_file("folder/", repo), repo, fails=True)
        if kind == "no-commit":
            return Line(kind, NOTHING)
        if kind == "blank":
            return Line(kind, "")
        if kind == "message":
            return Line(kind, "Detecting changes...   0% -:--:--")
        _, repo, name, since, complete = line
        more = {} if since is None else {"since": since}
        if complete:
            more["complete"] = True
        out = Line("record", record(name, repo, **more), repo)
        out.name, out.since, out.complete = name, since, complete
        return out

    def choose_input(self, step):
        """The symbolic lines of this invocation, resolved, and what kind of feed it is."""
        feed = step["feed"]
        if feed == "empty":
            return [], feed
        if feed == "nothing":
            return [["no-commit", None]], feed
        if not self.inputs:
            feed = "new"
        if feed == "same":
            return self.inputs[-1], feed
        if feed == "older":
            return self.inputs[max(0, len(self.inputs) - 1 - step["back"])], feed
        if feed == "changed":
            kept = self.inputs[-1][:step["cut"]]
            names = {line[2] for line in kept if line[0] == "resolved"}
            fresh = [line for line in step["lines"] if line[0] != "record" or line[2] not in names]
            return kept + self.resolve_after(kept, fresh), feed
        return self.resolve(step["lines"]), "new"

    def resolve_after(self, kept, fresh):
        """Records that follow others of the same input continue those."""
        out = self.resolve(fresh)
        for repo in REPOS:
            last = [line[2] for line in kept if line[0] == "resolved" and line[1] == repo]
            first = [line for line in out if line[0] == "resolved" and line[1] == repo][:1]
            if last and first and first[0][3] not in (None, "nowhere"):
                first[0][3] = last[-1]
        return out

    def plant(self, lines):
        """Makes the trees of the input's commits, and notes what is said after each record."""
        before = {}
        for i, line in enumerate(lines):
            if line.kind != "record":
                continue
            if line.complete or line.since in self.whole:
                self.whole.add(line.name)
            tree = self.tree_of(lines, i, before.get(line.repo))
            old = self.trees.get(line.name)
            if old is not None and tree is not None and line.name in (self.position(line.repo), self.held(line.repo)):
                # files may have changed meanwhile
                tree = {d: old.get(d, {None}) | tree.get(d, {None}) for d in set(old) | set(tree)}
            self.trees[line.name] = tree
            if tree is not None:
                before[line.repo] = line.name
        said = self.values_of(lines)
        mine = {line.name: i for i, line in enumerate(lines) if line.name}
        for name in set(self.said_after) | set(mine):
            after = self.said_after.setdefault(name, {})
            if name in mine and name not in self.decided:
                self.add_values(after, self.values_of(lines[mine[name] + 1:]))
            else:
                self.add_values(after, said)

    def tree_of(self, lines, at, before):
        """The repository at the record: what it continues, and the lines of its block.  A record that
        does not say what it continues continues the last one, of this input or that is known."""
        repo, since, complete = lines[at].repo, lines[at].since, lines[at].complete
        base = since or before or self.closed.get(repo) or self.nowhere()
        if since == "nowhere" or since == "" and not complete or \
                base in self.trees and self.trees[base] is None:
            return None
        tree = {} if base is None or complete else dict(self.trees[base])
        first = 0
        for i in range(at):    # the block: what follows the record that it continues, in this input
            if lines[i].name is not None and lines[i].name == base and not complete:
                first = i + 1
        for line in lines[first:at]:
            for d, v in line.effects if line.repo == repo else ():
                tree[d] = {ANY} if d in self.accepted else {v}
            if line.leaves and line.repo == repo:
                tree[line.leaves] = {ANY}
        return tree

    @staticmethod
    def values_of(lines):
        out = {}
        for line in lines:
            for d, v in line.effects:
                out.setdefault(d, set()).add(v)
            if line.leaves:
                out.setdefault(line.leaves, set()).add(ANY)
            for path in PATHS if line.complete else ():
                out.setdefault((line.repo, path), set()).add(None)
        return out

    @staticmethod
    def add_values(into, values):
        for d, v in values.items():
            into.setdefault(d, set()).update(v)

    # ---- one invocation ----

    def step(self, step):
        for repo, path, text in step["files"]:
            self.files[repo, path] = text
            self.w.write_file(repo, path, text)
        symbolic, feed = self.choose_input(step)
        lines = [self.real(s) for s in symbolic]
        if feed not in ("empty", "nothing") and (not self.inputs or self.inputs[-1] is not symbolic):
            self.inputs.append(symbolic)
        if step.get("forget"):
            self.forget()
        idle = all(line.kind in ("blank", "message") for line in lines)
        if not idle:
            self.plant(lines)
        self.w.script(*step["rules"])
        if self.on_weaviate:
            self.w.embedder.set_rules(step.get("embed_rules", []))
        before = len(self.w.store.history)
        asked, state = len(self.w.store.log), self.state_bytes()
        late = self.values_arriving()
        prior = {d: set(v) | late.get(d, set()) for d, v in self.prior.items()}
        options = step["options"]
        args = ["--batch-size", str(options["batch"]), "--connections", str(options["connections"]),
                "--max-retries", "2", "--late", "%dms" % LATE_MS,
                "--give-up", "%dms" % options.get("give-up", 5000)]
        if options.get("no-retry"):
            args.append("--no-retry")
        if options.get("new-run"):
            args.append("--new-run")
        kill = dict(step["kill"])
        if self.on_weaviate:
            args += ["--chunk-lines", str(CHUNK_LINES)]
        crash = None
        if step.get("store_killed_ms"):
            crash = threading.Timer(step["store_killed_ms"] / 1000, self.w.server.kill, (10,))
            crash.start()
        ended = self.w.sync([line.text for line in lines], *args, pause_ms=step.get("pause"), **kill)
        if crash:
            crash.cancel()
            crash.join()
        self.w.hung_up()
        if step["rest"]:
            self.w.settle()
        if step.get("store_killed_after"):
            self.w.kill_store()
            self.count("store killed")
        self.check_arrivals()
        more = {k: step[k] for k in ("forget", "embed_rules", "store_killed_ms", "store_killed_after")
                if step.get(k)}
        self.log("%s input, options %s, rules %s, kill %s, %s -> %d\n%s\n%s\n%s" % (
            feed, options, json.dumps(step["rules"]), step["kill"], json.dumps(more), ended.rc,
            "\n".join("  %d < %s" % (i + 1, line.text if isinstance(line.text, str) else
                                     json.dumps(line.text)) for i, line in enumerate(lines)),
            "\n".join("  > " + json.dumps({k: v for k, v in r.items() if k not in
                                           ("id", "ms", "objects")}) for r in ended.results),
            ended.err.strip()))
        if idle:
            self.judge_idle(lines, ended, asked, state)
            return
        applied = {}
        for _, d, v in self.w.store.history[before:]:
            applied.setdefault(d, set()).add(WHOLE.get(v, v))
        held_before, touched_before = self.held_state(), dict(self.touched)
        position_before = {r: self.position(r) for r in REPOS}
        self.look()
        self.judge(step, feed, lines, ended, prior, applied)
        self.note_closed(lines, {r["line"]: r for r in ended.results if not r.get("retried")})
        self.judge_positions(feed, lines, ended, position_before, held_before)
        self.judge_progress(step, feed, lines, ended, position_before, held_before, touched_before)
        self.after(feed, lines, ended)
        self.judge_broken(lines, ended)
        if step.get("skip"):
            self.accept()

    def state_bytes(self):
        if not os.path.exists(self.w.state):
            return None
        with open(self.w.state, "rb") as f:
            return f.read()

    def judge_idle(self, lines, ended, asked, state):
        """An input that asks for nothing changes nothing."""
        if len(self.w.store.log) != asked or self.state_bytes() != state:
            self.fail("the input has no line, and something was done")
        if ended.rc not in STOPPED and (ended.rc != 0 or [r["line"] for r in ended.results] != [
                n for n, line in enumerate(lines, 1) if line.kind == "message"]):
            self.fail("the input has no line: exit status %d, results %s", ended.rc, ended.results)
        self.count("idle")
        self.look()

    def accept(self):
        """A person accepts the first failed line that names its document."""
        rc, out = self.w.ask("status", "--failed", "--json")
        found = [f for f in json.loads(out)["failures"] if f.get("path")] if rc in (0, 1) else []
        if not found:
            return
        first = found[0]
        name = "%s:%d" % (first["run"], first["line"])
        rc, out = self.w.ask("skip", name)
        self.log("skip %s -> %d\n%s" % (name, rc, out.strip()))
        if rc != 0:
            self.fail("skip %s ends with %d", name, rc)
        self.count("accepted")
        for d in {(f["repo"], f["path"]) for f in found if (f["run"], f["line"]) ==
                  (first["run"], first["line"])}:
            for tree in self.trees.values():
                if tree is not None:
                    tree[d] = {ANY}
            self.failing[d] = set()
            self.accepted.add(d)
        self.look()
        self.note_decided()

    def forget(self):
        """The state forgets everything, but for what may be under way."""
        rc, out = self.w.ask("forget", "--all")
        self.log("forget --all -> %d\n%s" % (rc, out.strip()))
        if not os.path.exists(self.w.state):
            return
        if rc != 0:
            self.fail("forget --all ends with %d", rc)
        self.count("forgotten")
        # nothing is known of what the commits were, but that a record which begins anew says it
        for name in self.trees:
            self.trees[name] = {d: {ANY} for d in self.documents}
        self.trees[FORGOTTEN] = {d: {ANY} for d in self.documents}
        self.forgotten = True
        self.broken = {}
        self.closed = {}
        self.from_files, self.failing, self.printed = set(), {}, {}
        self.was_stopped = self.went_on = False
        self.look()

    def nowhere(self):
        """The commit of a tree without a position."""
        return FORGOTTEN if self.forgotten else None

    def held_state(self):
        return {r: self.repos.get(r, {}).get("held") for r in REPOS}

    def values_arriving(self):
        out = {}
        for versions, _, done in list(self.w.store.arriving):
            for d, v in versions if done is None else ():
                out.setdefault(d, set()).add(WHOLE.get(v, v))
                if self.on_weaviate:
                    out[d] |= {TORN, None}
        return out

    def may_be_lost(self):
        """Documents with an object that a kill of the store would take out of the index: no write has been
        answered since."""
        if not self.on_weaviate:
            return set()
        with self.w.store.lock:
            return {(o.properties["repository"], o.properties["file_path"])
                    for c in self.w.store.classes.values() for o in c.objects.values()
                    if any(o.number in numbers for _, numbers in c.loose)}

    def check_arrivals(self):
        now = time.monotonic()
        for _, cut, done in list(self.w.store.arriving):
            if (done or now) - cut > TOO_LATE_S:
                raise Void

    def broken_lines(self):
        rc, out = self.w.ask("status", "--failed", "--json")
        found = json.loads(out)["failures"] if rc in (0, 1) and out else []
        return {(f["run"], f["line"]) for f in found if f["error"]["code"] == "bad-json"}

    def judge_broken(self, lines, ended):
        """None goes but by a record that closes a block."""
        now = self.broken_lines()
        results = {r["line"]: r for r in ended.results if not r.get("retried")}
        failed = {(r["run"], n): lines[n - 1].text for n, r in results.items()
                  if lines[n - 1].kind == "bad" and r["status"] == "failed"}
        texts = [line.text for line in lines]    # the same line again takes its place
        closed = any(line.kind == "record" and (ended.rc in STOPPED or n not in results or
                                                results[n]["status"] == "completed" or
                                                results[n].get("why") == "lines")
                     for n, line in enumerate(lines, 1))
        if set(failed) - now:
            self.fail("failed lines are not kept: %s", sorted(set(failed) - now))
        gone = {at for at, text in self.broken.items() if at not in now and text not in texts}
        if gone and not closed:
            self.fail("failed lines are gone, and no record was read: %s", sorted(gone))
        self.count("broken lines kept", len(set(self.broken) & now))
        self.broken = {at: {**self.broken, **failed}.get(at) for at in now}

    def look(self):
        """What linesync and the store say now."""
        there = self.stored()
        late, lost = self.values_arriving(), self.may_be_lost()
        self.prior = {d: there.get(d, {None}) | late.get(d, set()) | ({TORN} if d in lost else set())
                      for d in self.documents}
        strange = set(there) - set(self.documents)
        if strange:
            self.fail("the store holds %s", sorted(strange))
        self.repos = self.w.repos()
        for r in REPOS:
            self.touched[r] = self.w.touched(r)
        self.log("  store %s, positions %s, touched %s" % (
            {"/".join(d): sorted(map(str, v)) for d, v in self.prior.items() if v != {None}},
            {r: [self.position(r), self.repos.get(r, {}).get("held")] for r in REPOS},
            {r: sorted(v) for r, v in self.touched.items()}))

    def stored(self):
        """{document: {text}} where it is whole, else {TORN, the texts that it has chunks of}."""
        chunks, lost = {}, set()
        if self.on_weaviate:
            with self.w.store.lock:
                lost = set(self.w.store.not_indexed() + self.w.store.not_filtered())
        for i, meta, text, vector in self.w.store.objects():
            found = not self.on_weaviate or i not in lost and \
                list(vector) == embedder.vector(text, MODEL)
            chunks.setdefault((meta["repository"], meta["file_path"]), []).append(
                (meta["chunk_index"], meta["chunk_count"], meta["sync_digest"], text, found))
        out = {}
        for d, have in chunks.items():
            have.sort()
            text = "".join(c[3] for c in have)
            whole = [c[:2] for c in have] == [(i, len(have)) for i in range(len(have))] and \
                len({c[2] for c in have}) == 1 and all(c[4] for c in have)
            out[d] = {text} if whole else {TORN} | {WHOLE.get(c[3], c[3]) for c in have}
        return out

    # ---- results and the store ----

    def judge(self, step, feed, lines, ended, prior, applied):
        stopped = ended.rc in STOPPED
        if not stopped and ended.rc not in (0, 1):
            self.fail("exit status %d: %s", ended.rc, ended.err)
        if ended.rc == 75 and "give-up" not in step["options"] and not step.get("store_killed_ms"):
            self.fail("stopped as away: %s", ended.err)
        if ended.rc == 78 and not any(MISFITS & set(r["do"]) for r in step.get("embed_rules", ())):
            self.fail("stopped without a cause: %s", ended.err)
        results = self.judge_results(step, feed, lines, ended, stopped)
        self.judge_resumed(feed, lines, results, ended)
        for n, r in results.items():
            line = lines[n - 1]
            if r["status"] == "skipped" and r["reason"] == "unchanged" and not r.get("resumed"):
                self.count("unchanged")
                for d, v in line.effects:
                    if line.kind == "rename" and any(d in x.documents for x in lines[n:]):
                        continue    # this half may be superseded
                    may = prior.get(d, {None}) | applied.get(d, set())
                    if v != ANY and v not in may:
                        self.fail("line %d: unchanged, but the store never held %r at %s, only %s",
                                  n, v, d, sorted(map(str, may)))
        for d in self.documents:
            allowed = self.allowed(feed, lines, results, ended, prior.get(d, {None}), stopped, d)
            if ANY not in allowed and not self.prior[d] <= allowed:
                self.fail("%s is %s in the store; it may be %s", "/".join(d),
                          sorted(map(str, self.prior[d])), sorted(map(str, allowed)))

    def judge_results(self, step, feed, lines, ended, stopped):
        results = {}
        for r in ended.results:
            if r.get("retried"):
                self.count("retried " + r["status"])
                continue
            if r["line"] in results:
                self.fail("line %d has two results", r["line"])
            results[r["line"]] = r
        wanted = {i + 1 for i, line in enumerate(lines) if line.kind != "blank"}
        if set(results) - wanted or (not stopped and set(results) != wanted):
            self.fail("results of lines %s, not %s", sorted(results), sorted(wanted))
        for n, r in results.items():
            self.judge_status(step, feed, lines, n, r)
        bad = any(r["status"] == "failed" for r in ended.results) or any(self.held_state().values())
        if not stopped and ended.rc != int(bad):
            self.fail("exit status %d", ended.rc)
        return results

    @staticmethod
    def troubled(step):
        return step["rules"] or step.get("embed_rules") or step.get("store_killed_ms")

    def judge_status(self, step, feed, lines, n, r):
        line, status = lines[n - 1], r["status"]
        self.count(status)
        if r.get("resumed"):
            self.count("resumed")
        may = {"completed", "skipped", "superseded"}
        if line.kind == "record":
            may = {"completed", "held"}
        elif line.kind in ("message", "no-commit"):
            may = {"skipped"}
        elif line.fails:
            may = {"failed", "superseded"} if line.about else {"failed"}
        elif self.troubled(step):
            may.add("failed")
        if r.get("reason") == "accepted" and r.get("resumed"):
            may.add("skipped")
        if status not in may:
            self.fail("line %d is %s: %s", n, status, r)
        if status == "superseded" and (feed == "same" or not self.was_stopped):
            if not line.about & {d for later in lines[n:] for d in later.names}:
                self.fail("line %d is superseded by no line", n)

    def judge_resumed(self, feed, lines, results, ended):
        """What was printed before a kill is not taken back (I2), and not done again (I5)."""
        if feed != "same" or not self.printed or self.last_feed == "nothing":
            return
        again = {n for n, r in results.items() if r.get("resumed")}
        if not again and ended.rc not in STOPPED:
            # the run had come to its end: every line must have been done
            return
        for n, old in self.printed.items():
            if n not in results or not lines[n - 1].own or lines[n - 1].kind == "message" or \
                    old["status"] in ("failed", "held"):
                continue
            new = results[n]
            if n not in again and again:
                self.fail("line %d was %s before the kill, and is done again: %s", n, old["status"],
                          new)
            if n in again and new["status"] != old["status"]:
                self.fail("line %d was %s before the kill, and is %s now", n, old["status"],
                          new["status"])

    def allowed(self, feed, lines, results, ended, prior, stopped, d):
        """The values that the store may hold of a document."""
        mine = [i + 1 for i, line in enumerate(lines) if d in line.documents]
        swept = {None} if self.may_sweep(lines, d) else set()
        if not mine:
            again = swept | self.retried(ended, d)
            return self.loose(prior | again) if again else prior
        done = [n for n in mine if n in results and results[n]["status"] in ("completed", "skipped")
                and results[n].get("reason") != "accepted"]
        last = mine[-1]
        resumed_elsewhere = set()
        if done and results[done[-1]]["run"] in self.runs and (feed != "same" or self.went_on):
            resumed_elsewhere = prior
        if stopped and done and results[done[-1]].get("resumed"):
            resumed_elsewhere = prior    # an earlier invocation may have done later lines, too
        if stopped:
            # a rename is also done where a later line has superseded this half of it
            sure = [n for n in done if n == last or lines[n - 1].kind != "rename"]
            after = [n for n in mine if not sure or n >= sure[-1]]
            allowed = {lines[n - 1].value(d) for n in after}
            if not sure:
                allowed |= prior | self.failing.get(d, set())
            allowed |= swept | resumed_elsewhere
            return allowed if sure and allowed == {lines[sure[-1] - 1].value(d)} and \
                after == sure[-1:] else self.loose(allowed)
        if self.was_stopped and any(x.leaves == d for x in lines[last:]):
            resumed_elsewhere = prior    # that line had a file when it was read before
        if last in done:
            return {lines[last - 1].value(d)} | resumed_elsewhere
        if results[last]["status"] == "failed" or results[last].get("reason") == "accepted":
            return self.loose(prior | {lines[n - 1].value(d) for n in mine} | self.failing.get(d, set()))
        if feed != "same" and self.was_stopped:    # by a line of the interrupted run that was given up
            return self.loose(prior | {lines[n - 1].value(d) for n in mine} | self.failing.get(d, set()))
        if lines[last - 1].kind == "rename":
            return {lines[last - 1].value(d)}
        self.fail("the last line of %s, %d, is %s", "/".join(d), last, results[last]["status"])
        return set()

    def loose(self, values):
        """Where a document may have been left on the way to one of these: some chunks, or none."""
        return values | {TORN, None} if self.on_weaviate else values

    @staticmethod
    def may_sweep(lines, d):
        """A complete listing may delete what no line before its record names."""
        return any(line.complete and line.repo == d[0] and
                   not any(d == x.leaves for x in lines[:n]) for n, line in enumerate(lines))

    def retried(self, ended, d):
        """What a retry of an earlier run's failure may have made of a document."""
        values = set(self.failing.get(d, set()))
        if values and self.files.get(d) is not None:
            values.add(self.files[d])
        return values

    # ---- positions ----

    def judge_positions(self, feed, lines, ended, position_before, held_before):
        for repo in REPOS:
            position = self.position(repo)
            if position != position_before[repo]:
                self.count("advanced")
                self.judge_advance(repo, position, lines, ended, held_before)
            if position is None and position_before[repo] is not None:
                self.fail("the position of %s is gone", repo)
            whole = self.repos.get(repo, {}).get("whole", False)
            if whole != (position in self.whole):
                self.fail("the position of %s, %s, is %swhole", repo, position, "" if whole else "not ")
            self.count("whole", whole)
            tree = self.trees.get(position or self.nowhere(), {})
            if tree is None:
                self.fail("the position of %s is %s, which was not from here", repo, position)
            after = self.said_after.get(position, {})
            for d in self.documents:
                if d[0] != repo:
                    continue
                there, want = self.prior[d], tree.get(d, {None})
                if ANY in want or position in self.partial:
                    continue
                later = after.get(d, set())
                if d in self.from_files:    # a retry reads the file as it is then
                    later = later | {ANY}
                elif later:
                    later = self.loose(later)
                if position and ANY not in later and not there <= want | later:
                    self.fail("%s is at %s, where %s is %s; the store holds %s, and only %s was "
                              "said later", repo, position, d[1], sorted(map(str, want)),
                              sorted(map(str, there)), sorted(map(str, later)))
                if not there <= want and d[1] not in self.touched[repo]:
                    self.fail("%s is at %s, where %s is %s; the store holds %s, and --touched does "
                              "not name it", repo, position, d[1], sorted(map(str, want)),
                              sorted(map(str, there)))

    def judge_advance(self, repo, position, lines, ended, held_before):
        """I3, line by line, where the record is in this input and all results are known."""
        at = [i for i, line in enumerate(lines) if line.name == position]
        if not at:
            if position not in (held_before[repo], *self.decided):
                self.fail("%s is at %s, which this input does not name", repo, position)
            return
        if ended.rc in STOPPED:
            return
        results = {r["line"]: r["status"] for r in ended.results if not r.get("retried")}
        if results.get(at[-1] + 1) != "completed":
            return    # released from an earlier run
        good = ("completed", "skipped")
        for n, line in enumerate(lines[:at[-1]], 1):
            if line.kind == "bad" and results[n] == "failed":
                self.fail("%s went past line %d, which failed and whose repository is unknown",
                          repo, n)
            if line.repo != repo or line.kind == "record" or results[n] in good:
                continue
            # one half of a rename may have taken this line's place, and the other have failed; the
            # rename answers for that itself
            later = {d for m, x in enumerate(lines[n:], n + 1) for d in x.names
                     if results[m] in good or x.kind == "rename"}
            if not later & line.about:
                self.fail("%s went to %s, past line %d, which is %s", repo, position, n, results[n])

    def judge_progress(self, step, feed, lines, ended, position_before, held_before, touched_before):
        """Nothing is held without need."""
        if feed != "new" or self.troubled(step) or ended.rc in STOPPED or \
                step["options"].get("no-retry") or any(line.fails for line in lines):
            return
        for repo in REPOS:
            records = [(i, line) for i, line in enumerate(lines)
                       if line.kind == "record" and line.repo == repo]
            if not records or any(self.trees[x.name] is None or x.complete for _, x in records):
                continue
            first, record_line = records[0]
            if record_line.since is not None and (record_line.since != position_before[repo] or
                                                  held_before[repo]):
                continue
            if any(r.get("resumed") for r in ended.results):
                continue    # of an interrupted run that went another way after these lines
            named = {d[1] for line in lines[:first] for d in line.documents if d[0] == repo}
            if not touched_before[repo] <= named:
                continue
            self.count("must advance")
            if self.position(repo) != records[-1][1].name:
                self.fail("%s is at %s: nothing stands between it and %s", repo, self.position(repo),
                          records[-1][1].name)

    # ---- what the next invocation begins with ----

    def after(self, feed, lines, ended):
        results = {r["line"]: r for r in ended.results if not r.get("retried")}
        stopped = ended.rc in STOPPED
        if stopped:
            self.count("stopped")
        for n, line in enumerate(lines, 1):
            if line.kind == "file" and (stopped or results[n]["status"] == "failed"):
                self.from_files |= set(line.documents)
        for d in self.documents:
            mine = [i + 1 for i, line in enumerate(lines) if d in line.documents]
            values = {lines[n - 1].value(d) for n in mine}
            if stopped:
                self.failing.setdefault(d, set()).update(values)
            elif mine and results[mine[-1]]["status"] == "failed":
                self.failing.setdefault(d, set()).update(values)
            elif mine:
                self.failing[d] = set()
                self.from_files.discard(d)
        self.note_decided()
        self.printed = results if stopped else {}
        self.was_stopped = stopped
        self.went_on = stopped and (self.went_on or feed != "same" and
                                    any(r.get("resumed") for r in results.values()))
        self.last_feed = feed
        self.runs |= {r["run"] for r in ended.results}

    def note_decided(self):
        for r in REPOS:
            for name in (self.position(r), self.held_state()[r]):
                if name:
                    self.decided.add(name)

    def note_closed(self, lines, results):
        for n, line in enumerate(lines, 1):
            r = results.get(n, {})
            if line.kind == "record" and not r.get("resumed") and (
                    r.get("status") == "completed" or r.get("why") == "lines"):
                self.closed[line.repo] = line.name
        for repo in REPOS:    # of a killed run: decided, and not printed
            names = [line.name for line in lines if line.name and line.repo == repo]
            position, closed = self.position(repo), self.closed.get(repo)
            if position in names and (closed not in names or
                                      names.index(position) > names.index(closed)):
                self.closed[repo] = position
            # nothing is deleted where a line failed: other documents may be there or not
            failed = any(results.get(n, {}).get("status") == "failed" and line.repo in (repo, None)
                         for n, line in enumerate(lines, 1))
            for line in lines:
                if line.complete and line.repo == repo and (failed or line.name in self.partial):
                    self.partial.add(line.name)

    # ---- the end ----

    def finish(self):
        """Clean runs that name everything: nothing stays held, failed or in doubt."""
        self.w.settle()
        for n in range(3):
            lines = [["put", r, p, TEXTS[(i + (n == 0)) % 3]] for i, (r, p) in
                     enumerate(self.documents)]
            lines += [["record", r, "end%d%s" % (n, r), "position", False] for r in REPOS]
            writes = len(self.w.store.history)
            self.step({"feed": "new", "lines": lines, "files": [], "rules": [], "kill": {},
                       "rest": True, "options": {"batch": 4, "connections": 1, "new-run": True}})
        rc, out = self.w.ask("status")
        if rc != 0:
            self.fail("at the end status exits with %d:\n%s", rc, out)
        if len(self.w.store.history) != writes:
            self.fail("what had not changed was sent: %s", self.w.store.history[writes:])
        for r in REPOS:
            s = self.repos[r]
            if s["position"] != "end2" + r or s.get("held") or s["failed"] or s["in_doubt"]:
                self.fail("at the end %s is %s", r, s)
            if self.touched[r]:
                self.fail("at the end %s has touched %s", r, self.touched[r])


# ---- running ----


def run_schedule(schedule, verbose=False):
    """(problem or None, log, figures); problem "void" where it says nothing."""
    said = []
    figures = {}

    def log(text):
        said.append(text)
        if verbose:
            Report.note(text)

    world = World(store=schedule["store"])
    if schedule["store"] == "weaviate":
        world.add_embedder("--embed-model", MODEL)
    for repo in REPOS:
        world.write_file(repo, "folder/inside", "text")
    try:
        model = Model(world, log)
        figures = model.seen
        for step in schedule["steps"]:
            model.step(step)
        model.finish()
        model.count("late arrivals", sum(len(a[0]) for a in world.store.arriving))
        return None, said, figures
    except Problem as e:
        return str(e), said, figures
    except Void:
        return "void", said, figures
    except Exception:    # of the test itself, or results that are no JSON
        return traceback.format_exc(), said, figures
    finally:
        world.close()


def smaller(schedule):
    """Schedules with something left out, the most first."""
    steps = schedule["steps"]
    for i in range(len(steps)):
        yield dict(schedule, steps=steps[:i] + steps[i + 1:])
    for i, step in enumerate(steps):
        for key, nothing in (("rules", []), ("kill", {}), ("pause", None), ("files", []),
                             ("embed_rules", []), ("forget", False), ("store_killed_ms", 0),
                             ("store_killed_after", False)):
            if step.get(key):
                yield changed(schedule, i, key, nothing)
        for key in ("lines", "rules", "files", "embed_rules"):
            for k in range(len(step.get(key, ()))):
                yield changed(schedule, i, key, step[key][:k] + step[key][k + 1:])


def changed(schedule, i, key, value):
    out = copy.deepcopy(schedule)
    out["steps"][i][key] = value
    return out


def shrink(schedule, seconds):
    """A smaller schedule that fails too, with its problem and log."""
    end = time.monotonic() + seconds
    best = None
    again = True
    while again and time.monotonic() < end:
        again = False
        for candidate in smaller(schedule):
            if time.monotonic() > end:
                break
            problem, said, _ = run_schedule(candidate)
            if problem and problem != "void":
                schedule, best, again = candidate, (problem, said), True
                break
    return schedule, best


def job(seed, store):
    problem, said, figures = run_schedule(random_schedule(seed, store))
    return seed, problem, said, figures


def seeds(first, count, seconds):
    end = time.monotonic() + seconds
    n = 0
    while (not count or n < count) and (count or time.monotonic() < end):
        yield first + n
        n += 1


def in_turn(pool, wanted, store, jobs):
    """Results of job() for the wanted seeds, with no more under way than there are jobs."""
    waiting = []
    for seed in wanted:
        waiting.append(pool.apply_async(job, (seed, store)))
        while len(waiting) >= 2 * jobs:
            yield waiting.pop(0).get(LIMIT_S)
    for w in waiting:
        yield w.get(LIMIT_S)


def tell_failure(o, report, store, seed, problem, said):
    report.test(False, "%s: schedule %d" % (store, seed), problem)
    report.note("again: %s --store %s --seed %d --count 1" % (sys.argv[0], store, seed))
    for text in said:
        report.note(text)
    if o.no_shrink:
        return
    schedule, best = shrink(random_schedule(seed, store), o.shrink)
    if best is None:
        report.note("it did not fail a second time, or not when made smaller")
        return
    report.note("made smaller, it fails so: " + best[0])
    for text in best[1]:
        report.note(text)


def main():
    p = argparse.ArgumentParser(description="random schedules against a model of order")
    p.add_argument("--store", choices=("both", "chroma", "weaviate"), default="both",
                   help="whose mock")
    p.add_argument("--seed", type=int, help="of the first schedule")
    p.add_argument("--count", type=int, default=0, help="how many; 0: as many as --seconds allow, for each")
    p.add_argument("--seconds", type=float, default=180)
    p.add_argument("--jobs", type=int, default=4)
    p.add_argument("--shrink", type=float, default=30, help="seconds to make a failing one smaller")
    p.add_argument("--no-shrink", action="store_true")
    p.add_argument("--failures", type=int, default=3, help="stop after so many")
    p.add_argument("-v", "--verbose", action="store_true")
    o = p.parse_args()
    first = o.seed if o.seed is not None else int.from_bytes(os.urandom(4), "big")
    report = Report()
    report.note("seed %d" % first)
    for store in ("chroma", "weaviate") if o.store == "both" else (o.store,):
        (show if o.verbose else judge_all)(o, report, store, first)
    return report.end()


def show(o, report, store, first):
    for seed in seeds(first, o.count or 1, o.seconds):
        problem, _, _ = run_schedule(random_schedule(seed, store), True)
        report.test(not problem, "%s: schedule %d" % (store, seed), problem)


def judge_all(o, report, store, first):
    figures, failures, good, void = {}, [], 0, 0
    with multiprocessing.get_context("fork").Pool(o.jobs) as pool:
        for seed, problem, said, seen in in_turn(pool, seeds(first, o.count, o.seconds), store, o.jobs):
            for k, v in seen.items():
                figures[k] = figures.get(k, 0) + v
            if problem == "void":
                void += 1
            elif problem:
                failures.append((seed, problem, said))
                if len(failures) == o.failures:
                    break
            else:
                good += 1
    report.test(good > 0, "%s: %d schedules hold (from seed %d)" % (store, good, first))
    report.note("%d were too slow to say anything" % void)
    report.note("seen: " + ", ".join("%s %d" % kv for kv in sorted(figures.items())))
    for failure in failures:
        tell_failure(o, report, store, *failure)


if __name__ == "__main__":
    sys.exit(main())
