#!/usr/bin/env python3
"""examples.py [-v] [NAME...] - the examples of linesync(1) and of README.md that list changes, as they
stand there, typed into a shell: what they store, and that a command which fails in them leaves no record
of changes that were not listed.  NAMEs: only these."""

import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import Report, program, report, run_tests  # noqa: E402
from gitrepo import TOP, Repo  # noqa: E402
from manual import Page  # noqa: E402

same, test = report.same, report.test


def of_manual(*words):
    """The one example of linesync(1) with all of these in it."""
    [text] = [x for x in Page("linesync.1").examples("EXAMPLES") if all(w in x for w in words)]
    return text


def shell(w, text, cwd):
    """What a user types: linesync and git-changes are in PATH, and know only what the text says."""
    folder = os.path.join(w.dir, "path")
    if not os.path.isdir(folder):
        os.mkdir(folder)
        os.symlink(program(), os.path.join(folder, "linesync"))
        os.symlink(os.path.join(TOP, "scripts/git-changes"), os.path.join(folder, "git-changes"))
    text = re.sub(r"(chroma:http://)localhost:8000", r"\g<1>127.0.0.1:%d" % w.server.port, text)
    known = {k: v for k, v in w.env.items() if not k.startswith("LINESYNC_")}
    known["LINESYNC_STATE_DIR"] = os.path.join(w.dir, "states")
    path = ":".join([os.path.join(w.dir, "bin"), folder, known.get("PATH", "/usr/bin:/bin")])
    done = subprocess.run(["bash", "-c", text], cwd=cwd, env={**known, "PATH": path},
                          stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=120)
    if w.verbose:
        Report.note("%s-> %d\n%s%s" % (text, done.returncode, done.stderr.decode(), done.stdout.decode()))
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def in_place_of(w, name, text):
    """A program that comes before the real one."""
    folder = os.path.join(w.dir, "bin")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
        f.write("#!/bin/sh\n" + text + "\n")
    os.chmod(os.path.join(folder, name), 0o755)


def no_more(w):
    shutil.rmtree(os.path.join(w.dir, "bin"))


def position(w, repo):
    rc, out, _ = shell(w, "linesync changeset -c Code " + repo.name, w.dir)
    return out.strip() if rc == 0 else None


# ---- by hand ----


EVERYTHING = "git ls-files", '"complete":true'
DIFFERENCE = "git diff --name-status", "--touched", '"since"'


def by_hand(w):
    repo = Repo(w, "app")
    first = repo.commit(kept="kept\n", edited="one\n", gone="gone\n", moved="moved\n" * 9)
    rc, _, err = shell(w, of_manual(*EVERYTHING), repo.dir)
    same((rc, w.documents(), position(w, repo)), (0, repo.of_head(), first), "all files, and the commit")
    repo.git("mv", "moved", "there")
    repo.git("rm", "-q", "gone")
    second = repo.commit(edited="two\n", new="new\n")
    w.store.clear_log()
    rc, _, err = shell(w, of_manual(*DIFFERENCE), repo.dir)
    same((rc, w.documents(), position(w, repo)), (0, repo.of_head(), second), "what has changed" + err)
    test(not any("kept" in str(w.store.names.get(i)) for _, ids in w.writes() for i in ids), "and only that")


def without_a_position(w):
    """Where no position is known, or it cannot be had, nothing is fed."""
    repo = Repo(w, "app")
    repo.commit(a="a\n")
    rc, _, err = shell(w, of_manual(*DIFFERENCE), repo.dir)
    same((rc, w.writes()), (1, []), "nothing was synced yet: it ends with 1, and nothing is stored")
    shell(w, of_manual(*EVERYTHING), repo.dir)
    first = repo.commit(a="b\n")
    w.store.clear_log()
    for status in (1, 64, 74, 127):
        in_place_of(w, "linesync", "[ $1 = changeset ] && exit %d; echo fed >>'%s/fed'; cat >/dev/null" %
                    (status, w.dir))
        rc, _, _ = shell(w, of_manual(*DIFFERENCE), repo.dir)
        same((rc, os.path.exists(os.path.join(w.dir, "fed"))), (status, False),
             "linesync changeset ends with %d: nothing is fed" % status)
    no_more(w)
    test(position(w, repo) != first, "the position stays")


def cut_short(w):
    """A command that fails after lines were fed leaves no record."""
    repo = Repo(w, "app")
    first = repo.commit(a="a\n", b="b\n")
    shell(w, of_manual(*EVERYTHING), repo.dir)
    repo.commit(a="a2\n", b="b2\n")
    real = shutil.which("git")
    for command, block in (("diff", DIFFERENCE), ("ls-files", EVERYTHING), ("rev-parse", DIFFERENCE),
                           ("rev-parse", EVERYTHING)):
        in_place_of(w, "git", 'case " $* " in *" %s "*) "%s" "$@" | head -n 1; exit 3 ;; esac\nexec "%s" "$@"'
                    % (command, real, real))
        shell(w, of_manual(*block), repo.dir)
        same(position(w, repo), first, "git %s fails: the position stays" % command)
    in_place_of(w, "git", 'exec "%s" "$@"' % real)
    in_place_of(w, "linesync", '[ "$*" = "changeset -c Code --touched app -z" ] && exit 74\n'
                'exec "%s" "$@"' % program())
    shell(w, of_manual(*DIFFERENCE), repo.dir)
    same(position(w, repo), first, "linesync changeset --touched fails: the position stays")
    no_more(w)
    shell(w, of_manual(*DIFFERENCE), repo.dir)
    same((position(w, repo), w.documents()), (repo.head(), repo.of_head()), "and the next one goes on from it")


TESTS = [by_hand, without_a_position, cut_short]


if __name__ == "__main__":
    sys.exit(run_tests(TESTS))
