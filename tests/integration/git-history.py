#!/usr/bin/env python3
"""git-history.py [-v] [--seed N] [--steps N] [NAME...] - histories of git repositories through
git-changes and linesync, with changes that are never committed, and stops in between.  What must hold:

After each round that ended well the store holds exactly the text files as git would have stored them when
git-changes listed them, byte for byte, under their paths, and nothing else; at the end, those of HEAD; the position
is HEAD's commit, nothing is held, nothing is left to list, and one more round writes nothing."""

import os
import random
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import program, report, run_tests  # noqa: E402
from gitrepo import (OPTIONS, TOP, Repo, clean_round, cut_listing, list_changes,  # noqa: E402
                     start_producer)

same, test = report.same, report.test
SEEDS, STEPS, COMMITS = range(1, 4), 50, 60


def option(name, default):
    """Takes --NAME VALUE out of the command line."""
    if name not in sys.argv:
        return default
    at = sys.argv.index(name)
    value = int(sys.argv[at + 1])
    del sys.argv[at:at + 2]
    return value


def check_end(w, repo, name):
    """All is committed: HEAD is what the store holds, and the state knows it."""
    faults = clean_round(w, repo)
    w.store.clear_log()
    faults += clean_round(w, repo)
    same(faults, [], name + ": every round")
    same({d: t for d, t in w.documents().items() if d[0] == repo.name}, repo.of_head(),
         name + ": the store holds HEAD's text files")
    same((w.position(repo.name), w.repos()[repo.name].get("held"), w.touched(repo.name)),
         (repo.head(), None, set()), name + ": at HEAD, nothing held, nothing left to list")
    same(w.writes(), [], name + ": a round without changes writes nothing")


# ---- a history made at random ----

NAMES = [b"a", b"b", b"c", b"dir/a", b"dir/b", b"dir/deep/a", b"with blank", b" blank ", b"tab\there",
         b"new\nline", b"\nnewline", b"cr\r", b'quo"te', b'"quoted"', b'"a', b"a -> b", b"back\\slash",
         b"-dash", b"--help", b":(top)x", b"*", b"#", b"{", b'{"repo":1}', b"~", b"\xc3\xa9",
         b"cafe\xcc\x81", b"\xf0\x9f\x92\xa1", b"\xff", b"bad\xc3", b"\xed\xa0\x80", b"\x01\x1b[1m", b"M\ta", b"x" * 200]
TEXTS = [b"one\n", b"two\n", b"three\r\nlines\n\n", b"\xc3\xa9\t\"\\\x01\x7f", b"no end", b"", b"\0",
         b"\xff\xfe", b"four\n", b"\xef\xbb\xbfmark\n", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xef\xbf\xbf"]

ATTRIBUTES = [b"", b"* text=auto\n", b"* text\n", b"* eol=crlf\n*b -text\n", b"a filter=up\ndir/* filter=up\n",
              b"* ident\n*a -text\n", b"c filter=twice text\n"]
IGNORED = [b"", b"/a\n", b"*b\ndir/deep\n", b"*\n!/dir\n"]


class History:
    """Random operations on one repository, all of them from one seed."""

    def __init__(self, w, seed):
        self.rng = random.Random(seed)
        self.w = w
        self.repo = Repo(w, "app")
        self.repo.git("config", "filter.up.clean", "tr a-z A-Z")
        self.repo.git("config", "filter.twice.clean", "sed p")
        self.done = []

    def files(self):
        names = self.repo.git("ls-files", "-z", "--cached", "--others").split(b"\0")[:-1]
        return sorted(n for n in set(names) if os.path.lexists(self.repo.path(n)) and
                      not os.path.isdir(self.repo.path(n)))

    def some(self):
        return self.rng.choice(self.files() or [b"a"])

    def free_way(self, name):
        """A folder or file may stand where the other kind is to be."""
        path = self.repo.path(name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        above = os.path.dirname(path)
        while len(above) > len(self.repo.dir):
            if os.path.lexists(above) and (os.path.islink(above) or not os.path.isdir(above)):
                os.unlink(above)
            above = os.path.dirname(above)

    def op_write(self):
        name = self.rng.choice(NAMES)
        self.free_way(name)
        self.repo.write(name, self.rng.choice(TEXTS))

    def op_edit(self):
        name = self.some()
        self.free_way(name)
        self.repo.write(name, self.rng.choice(TEXTS))

    def op_remove(self):
        path = self.repo.path(self.some())
        if os.path.lexists(path) and not os.path.isdir(path):
            os.unlink(path)

    def op_rename(self):
        old, new = self.some(), self.rng.choice(NAMES)
        if not (new + b"/").startswith(old + b"/") and not (old + b"/").startswith(new + b"/") and \
                os.path.lexists(self.repo.path(old)):
            self.free_way(new)
            os.makedirs(os.path.dirname(self.repo.path(new)), exist_ok=True)
            os.rename(self.repo.path(old), self.repo.path(new))

    def op_swap(self):
        a, b = self.repo.path(self.some()), self.repo.path(self.some())
        if a != b and os.path.lexists(a) and os.path.lexists(b):
            os.rename(a, a + b".x")
            os.rename(b, a)
            os.rename(a + b".x", b)

    def op_mode(self):
        path = self.repo.path(self.some())
        if os.path.isfile(path) and not os.path.islink(path):
            os.chmod(path, self.rng.choice([0o644, 0o755]))

    def op_link(self):
        path = self.repo.path(self.some())
        if os.path.lexists(path) and not os.path.isdir(path):
            os.unlink(path)
            os.symlink(self.rng.choice([b"a", b"dir", b"/etc/passwd", b"nowhere"]), path)

    def op_file_to_folder(self):
        name = self.some()
        path = self.repo.path(name)
        if os.path.lexists(path) and not os.path.isdir(path):
            os.unlink(path)
            self.repo.write(name + b"/in", self.rng.choice(TEXTS))

    def op_nested(self):
        path = self.repo.path(b"nested")
        if os.path.isdir(path):
            shutil.rmtree(path)
        else:
            self.repo.write(b"nested/file", b"nested\n")
            if self.rng.random() < 0.5:
                self.repo.git("init", "-q", path)

    def op_stage(self):
        self.repo.git("--literal-pathspecs", "add", "-A", "--", self.some(), check=False)

    def op_stage_and_edit(self):
        name = self.some()
        self.repo.git("--literal-pathspecs", "add", "-A", "--", name, check=False)
        self.free_way(name)
        self.repo.write(name, self.rng.choice(TEXTS))

    def op_unstage(self):
        self.repo.git("--literal-pathspecs", "rm", "-q", "--cached", "--", self.some(), check=False)

    def op_intend(self):
        self.repo.git("--literal-pathspecs", "add", "-N", "--", self.some(), check=False)

    def op_attributes(self):
        """What git stores of a file is other than its bytes."""
        self.free_way(b".gitattributes")
        self.repo.write(b".gitattributes", self.rng.choice(ATTRIBUTES))

    def op_line_ends(self):
        self.repo.git("config", "core.autocrlf", self.rng.choice(["false", "true", "input"]))

    def op_ignore(self):
        self.repo.write(b".git/info/exclude", self.rng.choice(IGNORED))

    def op_undo(self):
        if self.repo.head():
            self.repo.git("reset", "-q", "--hard")

    def op_undo_one(self):
        if self.repo.head():
            self.repo.git("--literal-pathspecs", "checkout", "HEAD", "--", self.some(), check=False)

    def op_clean(self):
        self.repo.git("clean", "-ffdq")

    def op_stash(self):
        self.repo.git("stash", "-q", "-u", check=False)

    def op_stash_pop(self):
        self.repo.git("stash", "pop", "-q", check=False)

    def op_commit(self):
        self.repo.git("commit", "-q", "--allow-empty", "-a", "-m", "m", check=False)

    def op_commit_all(self):
        self.repo.git("add", "-A", check=False)
        self.repo.git("commit", "-q", "--allow-empty", "-m", "m", check=False)

    def op_amend(self):
        self.repo.git("commit", "-q", "--amend", "-a", "--allow-empty", "-m", "amended", check=False)

    def op_back(self):
        how = self.rng.choice(["--hard", "--soft", "--mixed"])
        self.repo.git("reset", "-q", how, "HEAD~1", check=False)

    def op_branch(self):
        if self.repo.head():
            self.repo.git("checkout", "-q", "-f", "-B", self.rng.choice(["one", "two"]),
                          self.rng.choice(["HEAD", "HEAD~1", "HEAD~2"]), check=False)

    def op_merge(self):
        """May stop at a conflict, which is left alone until something ends it."""
        self.repo.git("merge", "-q", "-m", "m", self.rng.choice(["one", "two", "main"]), check=False)

    def op_forced(self):
        """A history that forgets the position."""
        if self.repo.head():
            self.repo.git("checkout", "-q", "-f", "--orphan", "new", check=False)
            self.repo.git("commit", "-q", "--allow-empty", "-a", "-m", "new", check=False)
            for branch in self.repo.git("for-each-ref", "--format=%(refname)").decode().split():
                if branch != "refs/heads/new":
                    self.repo.git("update-ref", "-d", branch)
            self.repo.git("checkout", "-q", "-f", "-B", "main", check=False)
            self.repo.git("branch", "-q", "-D", "new", check=False)
            self.repo.git("reflog", "expire", "--expire=now", "--all")
            self.repo.git("prune", "--expire=now", check=False)

    def change(self):
        ops = [n for n in dir(self) if n.startswith("op_")]
        often = ["op_write", "op_edit", "op_commit", "op_commit_all", "op_remove", "op_rename", "op_undo"]
        weights = [4 if n in often else 1 for n in ops]
        op = self.rng.choices(ops, weights)[0]
        self.done.append(op)
        getattr(self, op)()

    # ---- rounds that do not end well ----

    def stop_linesync(self):
        _, lines, _ = list_changes(self.w, self.repo.dir)
        kind = self.rng.choice(["kill_request", "kill_applied", "kill_line"])
        self.w.sync(lines, *OPTIONS, how=self.rng.choice([signal.SIGKILL, signal.SIGTERM]),
                    **{kind: self.rng.randint(1, 4)})
        self.w.hung_up()

    def stop_producer(self):
        data = cut_listing(self.w, self.rng.randint(0, 6), self.repo.dir)
        cut = self.rng.randint(0, 20) if self.rng.random() < 0.5 else 0
        child = self.w.start(*OPTIONS)
        child.communicate(data[:len(data) - cut], timeout=600)

    def refuse(self):
        """The store refuses some objects; the record is held."""
        text = self.rng.choice([t for t in TEXTS if t.isascii() and len(t) > 1])
        self.w.script({"match": {"kind": "upsert", "content": text.decode()},
                       "do": {"refuse_objects": True}})
        _, lines, _ = list_changes(self.w, self.repo.dir)
        self.w.sync(lines, *OPTIONS)
        self.w.script()

    def piped(self):
        """As in cron: both at once."""
        producer = start_producer(self.w, self.repo.dir)
        child = subprocess.Popen([program(), *self.w.options, *OPTIONS], env=self.w.env, cwd=self.w.dir,
                                 stdin=producer.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        producer.stdout.close()
        child.communicate(timeout=600)
        producer.stderr.close()
        producer.wait()

    def round(self):
        kind = self.rng.choices([None, self.stop_linesync, self.stop_producer, self.refuse, self.piped],
                                [8, 3, 2, 2, 1])[0]
        self.done.append("round" if kind is None else kind.__name__)
        if kind is not None:
            kind()
            return []
        return clean_round(self.w, self.repo, self.change if self.rng.random() < 0.3 else lambda: None)

    def run(self, steps):
        """What was wrong, if anything."""
        for _ in range(steps):
            for _ in range(self.rng.randint(0, 4)):
                self.change()
            if self.repo.head() is None:
                continue
            faults = self.round()
            if faults:
                return ["after %s" % " ".join(self.done)] + faults
        shutil.rmtree(self.repo.path(b"nested/.git"), ignore_errors=True)
        self.repo.write(b".git/info/exclude", b"")
        self.repo.commit()
        return []


def at_random(seed, steps):
    def t(w):
        h = History(w, seed)
        faults = h.run(steps)
        if test(not faults, "seed %d: every round" % seed,
                "git-history.py --seed %d --steps %d" % (seed, steps), *faults):
            check_end(w, h.repo, "seed %d" % seed)
    t.__name__ = "seed_%d" % seed
    return t


# ---- the history of linesync ----


def checkout():
    """Where linesync's own history is: scripts/test says it, because it tests a copy."""
    for top in (os.environ.get("LINESYNC_TEST_CHECKOUT"), TOP):
        if top and os.path.exists(os.path.join(top, ".git")):
            return top
    return None


def own_history(w):
    """Commit by commit, with an edit of each commit's that comes and goes, and stops."""
    if checkout() is None:
        report.skip("linesync's own history", "this is no git checkout")
        return
    repo, rng = Repo(w, "linesync", init=False), random.Random(1)
    subprocess.run(["git", "clone", "-q", "--no-checkout", checkout(), repo.dir], check=True, env=w.env,
                   stdin=subprocess.DEVNULL)
    log = repo.git("log", "--first-parent", "--reverse", "--format=%H", "-%d" % COMMITS)
    commits = log.decode().split()
    faults = []
    for n, commit in enumerate(commits):
        repo.git("checkout", "-q", "-f", commit)
        if n % 3 == 1:
            repo.write(b"README.md", b"edited at %d\n" % n)
            os.unlink(repo.path(b"LICENSE"))
            repo.write(b"new", b"in no commit\n")
        if n % 4 == 3:
            w.sync(list_changes(w, repo.dir)[1], *OPTIONS, kill_request=rng.randint(1, 3))
            w.hung_up()
        else:
            faults += clean_round(w, repo)
        repo.git("clean", "-fdq")
        if faults:
            break
    if test(not faults, "%d commits: every round" % len(commits), *faults):
        repo.git("checkout", "-q", "-f", commits[-1])
        check_end(w, repo, "linesync's own history")


if __name__ == "__main__":
    seed, steps = option("--seed", None), option("--steps", STEPS)
    tests = [at_random(n, steps) for n in (SEEDS if seed is None else [seed])]
    sys.exit(run_tests(tests if seed is not None else tests + [own_history]))
