#!/usr/bin/env python3
"""findable.py [-v] [--all] [--walk] [--seed N] [--only VICTIM[:MOMENT]] - what is stored must be found.

Weaviate can keep an object that no search finds: where a request ends early, or the server dies, it may
have written the object and not indexed it, and sending it once more says SUCCESS and leaves it so.  Here
linesync is killed, its connection is cut, and the server is killed and started again on its data: in a
batch (at any part of the time that one takes), between two batches, and at the end.  After the next run
of the same input, and already after one that ended well, the index must hold every object: nearVector with
a filter that names its id finds it.

A request that ended early can also leave objects in the index to which no link leads; only a search without
such a filter misses them.  How many a walk of the whole graph misses is noted; with --walk it must be none.
(The vectors are random ones: a graph of vectors that lie close together has such objects in any case.)

Each collection is filled once under attack, and changed once under attack.  Where there is no server this
is skipped."""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import netns  # noqa: E402
from cutproxy import Proxy  # noqa: E402
from harness import FOREIGN, NoEnd, Steered, as_line, feed, program, report  # noqa: E402
from realstore import Weaviate, call, object_id  # noqa: E402

DOCUMENTS = 400
DIMENSION = 64
BATCHES = 50, 100, 200          # objects in each
VICTIMS = "linesync", "connection", "server"
MOMENTS = "batch", "between", "end"
ROUNDS, ALL_ROUNDS = 8, 25      # of each victim at each moment
PAUSE_S = {"between": 0.03, "end": 0.005}   # so long after an answer, at most
LIMIT_S = 120                   # for one linesync
OPTIONS = ["--late", "1", "--retry-wait", "50ms", "--retry-max-wait", "500ms", "--give-up", "60"]


class Place:
    """A server behind a proxy, and one collection after another."""

    def __init__(self, folder, seed):
        self.dir = folder
        self.random = random.Random(seed)
        self.store = Weaviate(os.path.join(folder, "server"))
        self.proxy = Proxy(self.store.port)
        self.turn = -1
        self.seconds = 0.0005   # that an object of a batch takes; learned
        self.hidden = 0         # rounds that left something that no search found
        self.missed = 0         # rounds without a strike
        self.walk = False       # is what no link leads to a failure?
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)
                    and not k.lower().endswith("_proxy")}
        self.env.update(HOME=folder, LC_ALL="C.UTF-8", TZ="UTC",
                        LINESYNC_STORE="weaviate:http://127.0.0.1:%d" % self.proxy.port,
                        LINESYNC_STATE_DIR=os.path.join(folder, "state"))

    def start(self, *options, **how):
        """What Steered takes of a World."""
        given = dict(env=self.env, cwd=self.dir, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                     stderr=subprocess.PIPE, bufsize=0)
        return subprocess.Popen([program(), *OPTIONS, *options], **{**given, **how})

    def collection(self):
        return "Find%d" % (self.turn // 2)

    def next_input(self):
        """For a new collection and the one before it is dropped; or, every other time, changed."""
        self.turn += 1
        if self.turn and self.turn % 2 == 0:
            call("DELETE", "%s/v1/schema/Find%d" % (self.store.url, self.turn // 2 - 1))
        return [as_line({"repo": "R", "path": path, "content": "version %d of %s\n" % (self.turn, path),
                         "vector": [round(self.random.gauss(0, 1), 4) for _ in range(DIMENSION)]})
                for path in PATHS]

    def lost(self):
        """What is wrong with the collection: numbers of objects that are missing or too many, that are
        not in the index, and that have no link in it."""
        name = self.collection()
        want = {object_id(name, "R", path) for path in PATHS}
        unfindable = self.store.unfindable(name)
        return (len(want ^ set(self.store.stored(name))), len(unfindable),
                len(set(self.store.unreachable(name)) - set(unfindable)))

    def revive(self):
        """The server was killed: again, on its data, at its port."""
        self.store.restart()
        self.proxy.listen()


PATHS = ["part%d/file%03d.c" % (n % 7, n) for n in range(DOCUMENTS)]


class Strike:
    """When it comes, and what it does.  The hooks are the proxy's."""

    def __init__(self, place, victim, moment):
        self.p, self.victim, self.moment = place, victim, moment
        r = place.random
        self.batch, connections = r.choice(BATCHES), r.choice((1, 2))
        self.batches = DOCUMENTS // self.batch
        self.number = r.randint(1, self.batches - (moment == "between")) if moment != "end" else self.batches
        self.part = r.random()
        self.options = ["--collection", place.collection(), "--batch-size", str(self.batch),
                        "--connections", str(connections)]
        self.at_exit = victim == "server" and moment == "end"
        self.struck = threading.Event()
        self.child = None       # Popen
        self.sent = {}          # batch: when

    def __str__(self):
        when = {"batch": "%d %% into" % (self.part * 110),
                "between": "%d ms after" % (self.part * PAUSE_S["between"] * 1000),
                "end": "right after the end," if self.at_exit else
                       "%.1f ms after the last," % (self.part * PAUSE_S["end"] * 1000)}[self.moment]
        what = {"linesync": "linesync is killed", "connection": "the connection is cut",
                "server": "the server is killed"}[self.victim]
        return "%s %s batch %d of %d" % (what, when, self.number, self.batches)

    def on_sent(self, n):
        self.sent[n] = time.monotonic()
        if self.moment == "batch" and n == self.number:
            time.sleep(self.part * 1.1 * self.batch * self.p.seconds)
            self.strike()

    def on_answered(self, n):
        took = (time.monotonic() - self.sent[n]) / self.batch
        self.p.seconds += (took - self.p.seconds) / 10
        if self.moment == "batch" or n != self.number or self.at_exit:
            return
        if self.moment == "between":
            self.p.proxy.gate.clear()
        time.sleep(self.part * PAUSE_S[self.moment])
        self.strike()
        self.p.proxy.gate.set()

    def strike(self):
        """Once."""
        self.p.proxy.watch()
        if self.victim == "server":
            self.p.store.kill()
            self.p.proxy.refuse()
        else:
            if self.victim == "linesync":
                self.child.kill()
            self.p.proxy.cut()      # as the system does for a process that is gone
        self.struck.set()


def judge(p, name, ended):
    """A run that must have ended well, and what is in the store now."""
    lost = p.lost()
    what = "of %d objects %d are missing or too many, %d not in the index, %d in it without a link" % (
        DOCUMENTS, *lost)
    good = (ended.rc, lost[:2 + p.walk]) == (0, (0, 0, 0)[:2 + p.walk])
    report.test(good, name, "status %d; %s" % (ended.rc, what), ended.err)
    if good and lost[2]:
        report.note(what)


def attack(p, victim, moment):
    lines = p.next_input()
    s = Strike(p, victim, moment)
    p.proxy.watch(s.on_sent, s.on_answered)
    child = Steered(p, *s.options)
    s.child = child.child
    feeder = threading.Thread(target=feed, args=(child.child.stdin, lines, None))
    feeder.start()
    if s.at_exit:
        ended = child.ended(LIMIT_S)
        s.strike()
        p.revive()
    else:
        while not s.struck.wait(0.01) and child.child.poll() is None:
            pass
        if s.struck.is_set() and victim == "server":
            p.revive()
        ended = child.ended(LIMIT_S)
    feeder.join()
    p.proxy.watch()
    p.missed += not s.struck.is_set()
    if ended.signal:
        time.sleep(0.2)         # what the server still does
        lost = p.lost()
        p.hidden += lost[1:] != (0, 0)
        report.note("%s: left %d out of the index, %d in it without a link" % (s, *lost[1:]))
    else:
        judge(p, "%s: all is found" % s, ended)
    again = Steered(p, *s.options).end(*lines, limit=LIMIT_S)
    judge(p, "%s: all is found after the next run" % s, again)
    report.test(len(again.results) == DOCUMENTS, "and each line has a result", len(again.results))


def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("-v", action="store_true")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--walk", action="store_true")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", default=":")
    return parser.parse_args()


def main():
    args = options()
    why = Weaviate.missing()
    if why:
        print("1..0 # SKIP " + why)
        return 0
    if not netns.isolate():
        report.note("in the machine's own network: some ports are open on all addresses")
    report.note("--seed %d" % args.seed)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = tempfile.mkdtemp(prefix="linesync-findable.")
    victim, _, moment = args.only.partition(":")
    plan = [(v, m) for v in VICTIMS for m in MOMENTS if v.startswith(victim) and m.startswith(moment)]
    p = None
    try:
        p = Place(folder, args.seed)
        p.walk = args.walk
        for _ in range(ALL_ROUNDS if args.all else ROUNDS):
            for v, m in plan:
                attack(p, v, m)
            if report.failed and not args.v:
                report.note("no more rounds")
                break
        report.note("%d rounds left what no search found until linesync mended it" % p.hidden)
        report.test(p.missed <= report.count // 20, "the moments came", "%d did not" % p.missed)
    except NoEnd as e:
        report.test(False, str(e))
    finally:
        if p:
            p.store.close()
        shutil.rmtree(folder, ignore_errors=True)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
