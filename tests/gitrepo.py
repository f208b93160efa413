"""gitrepo.py - git repositories below a World's root, git-changes over them, and what must be true of
the store afterwards."""

import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile

from harness import HERE, Report, program

TOP = os.path.dirname(HERE)

for needed in ("git", "perl"):
    if not shutil.which(needed):
        print("1..0 # SKIP %s is not there" % needed)
        sys.exit(0)


class Repo:
    """The repository of this name below the World's root; init: a new one."""

    def __init__(self, w, name, init=True):
        self.w, self.name = w, name
        self.dir = os.path.join(os.path.realpath(w.root), name).encode()
        for k in [k for k in w.env if k.startswith("GIT_")]:
            del w.env[k]
        w.env["GIT_CONFIG_NOSYSTEM"] = "1"
        with open(os.path.join(w.dir, ".gitconfig"), "w", encoding="utf-8") as f:
            f.write("[user]\nname = test\nemail = test@example.org\n[init]\ndefaultBranch = main\n"
                    "[gc]\nauto = 0\n[safe]\ndirectory = *\n[protocol \"file\"]\nallow = always\n")
        if init:
            os.makedirs(self.dir)
            self.git("init", "-q")

    def git(self, *args, check=True):
        done = subprocess.run(["git", "-C", self.dir, *args], env=self.w.env, stdin=subprocess.DEVNULL,
                              capture_output=True, check=False)
        if check and done.returncode != 0:
            raise RuntimeError("git %r: %s" % (args, done.stderr.decode(errors="replace")))
        return done.stdout

    def head(self):
        return self.git("rev-parse", "-q", "--verify", "HEAD", check=False).decode().strip() or None

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, data):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        if os.path.lexists(self.path(name)):
            os.unlink(self.path(name))
        with open(self.path(name), "wb") as f:
            f.write(data)

    def commit(self, **files):
        """Writes the files, commits all there is, and returns the commit's name."""
        for name, text in files.items():
            self.write(name.encode(), text.encode())
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "m")
        return self.head()

    def record(self, head, position):
        """The changeset record of a listing."""
        if position and self.git("cat-file", "-t", position, check=False) == b"commit\n":
            return {"commit": head, "since": position}
        return {"commit": head, "complete": True}

    def would_store(self):
        """{path: bytes} that git would store if all there is were committed.  It says so itself, in an index
        and with objects of their own."""
        with tempfile.TemporaryDirectory(dir=self.w.dir) as scratch:
            env = {**self.w.env, "GIT_INDEX_FILE": scratch + "/index", "GIT_OBJECT_DIRECTORY": scratch,
                   "GIT_ALTERNATE_OBJECT_DIRECTORIES": self.path(b".git/objects")}
            if os.path.exists(self.path(b".git/index")):
                # with its date, from which git concludes what it need not look at
                shutil.copy2(self.path(b".git/index"), scratch + "/index")
            subprocess.run(["git", "-C", self.dir, "add", "-A", "--ignore-errors", "."], env=env, check=False,
                           capture_output=True)
            return self.blobs("ls-files", "-s", "-z", env=env)

    def blobs(self, *command, env=None):
        """{path: bytes} of the files that git ls-files -s or ls-tree -r lists."""
        def git(*words, **how):
            return subprocess.run(["git", "-C", self.dir, *words], env=env or self.w.env, check=True,
                                  capture_output=True, **how).stdout
        entries = [e.split(b"\t", 1) for e in git(*command).split(b"\0")[:-1]]
        files = [(name, about.replace(b"blob ", b"").split()[1]) for about, name in entries if about.startswith(b"100")]
        texts, out, at = git("cat-file", "--batch", input=b"".join(i + b"\n" for _, i in files)), {}, 0
        for name, _ in files:
            start = texts.index(b"\n", at) + 1
            size = int(texts[at:start].split()[2])
            out[name] = texts[start:start + size]
            at = start + size + 1
        return out

    def of_head(self):
        """{(repo, path): text} of HEAD's text files."""
        return self.of_texts(self.blobs("ls-tree", "-r", "-z", "HEAD"))

    def of_tree(self):
        """The same of the working tree: what git knows or would take, as it would store it."""
        # a pipe in the place of a file git passes over, and keeps the file
        return self.of_texts({n: t for n, t in self.would_store().items() if os.path.isfile(self.path(n))})

    def of_texts(self, files):
        """Only what can be stored: text, under a name that JSON can carry."""
        out = {}
        for name, data in files.items():
            try:
                if data and b"\0" not in data and len(data) <= 1000000:
                    out[self.name, name.decode()] = data.decode()
            except UnicodeDecodeError:
                pass
        return out


# ---- rounds ----


def modes_count():
    """In a child: from now on a file's mode counts for root, too."""
    libc = ctypes.CDLL(None)
    for capability in (1, 2) if os.geteuid() == 0 else ():     # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        if libc.prctl(24, capability, 0, 0, 0) != 0:           # PR_CAPBSET_DROP
            raise OSError("cannot give up the right to read all")


def start_producer(w, *words, stdout=subprocess.PIPE, **env):
    return subprocess.Popen([os.path.join(TOP, "scripts/git-changes"), *words], cwd=w.dir,
                            env={"LINESYNC": program(), **w.env, "TMPDIR": w.dir, **env},
                            stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, preexec_fn=modes_count)


def list_changes(w, *dirs, **env):
    """git-changes: (exit status, its lines, standard error)."""
    child = start_producer(w, *dirs, **env)
    out, err = child.communicate(timeout=600)
    if w.verbose:
        Report.note("git-changes %r -> %d\n%s%s" % (dirs, child.returncode, err.decode(errors="replace"),
                                                   out.decode(errors="replace")))
    return child.returncode, out.split(b"\n")[:-1], err.decode(errors="replace")


def cut_listing(w, lines, *dirs):
    """The input of linesync when git-changes is killed after so many lines."""
    child = start_producer(w, *dirs)
    out = b"".join(child.stdout.readline() for _ in range(lines))
    child.kill()
    child.communicate()
    return out


OPTIONS = ("--batch-size", "3", "--max-delete", "1000000")


def paths_once(lines):
    """True if no path of a repository stands twice."""
    seen = [(r["repo"], r["path"]) for r in map(json.loads, lines) if "path" in r]
    return len(seen) == len(set(seen))


def clean_round(w, repo, between=lambda: None):
    """Lists, lets `between` change things, syncs; says what is not as it was listed.

    After a stop the new input may begin like the one that was stopped and then differ: the run goes on
    from there, and what the old one had done beyond counts as changed.  Its record may then be held, and
    the next round must be as it should."""
    want, head = repo.of_tree(), repo.head()
    record = repo.record(head, w.position(repo.name, "--whole"))
    rc, lines, err = list_changes(w, repo.dir)
    between()
    ended = w.sync(lines, *OPTIONS)
    w.settle()
    got = {d: t for d, t in w.documents().items() if d[0] == repo.name}
    wrong = {d: (got.get(d), want.get(d)) for d in set(got) | set(want) if got.get(d) != want.get(d)}
    faults = []
    if not paths_once(lines):
        faults.append("a path stands twice")
    if lines and json.loads(lines[-1]).get("new_changeset") != record:
        faults.append("the record is %s, not %s" % (lines[-1].decode(), record))
    if wrong:
        faults.append("stored, and not as listed (got, want): %r" % wrong)
    problems = [r["status"] for r in ended.results if r["status"] in ("failed", "held")]
    if not faults and problems == ["held"] and "a new one goes on from here" in ended.err:
        return clean_round(w, repo)
    if rc != 0 or ended.rc != 0:
        faults.append("exit status %d, linesync %d: %s%s" % (rc, ended.rc, err, ended.err))
        faults.append("held: %s" % w.ask("status", "--held")[1])
        faults.append(b"\n".join(lines).decode())
    if w.position(repo.name) != head:
        faults.append("the position is %s, HEAD was %s" % (w.position(repo.name), head))
    return faults
