#!/usr/bin/env python3
"""examples.py [-v] [NAME...] - the examples of linesync(1) and of README.md that list changes, as they
stand there, typed into a shell: what they store, and that a command which fails in them leaves no record
of changes that were not listed.  NAMEs: only these."""

import json
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import forms  # noqa: E402
from harness import Report, as_line, program, report, run_tests  # noqa: E402
from gitrepo import TOP, Repo  # noqa: E402
from manual import Page  # noqa: E402

same, test = report.same, report.test


def of_manual(*words):
    """The one example of linesync(1) with all of these in it."""
    [text] = [x for x in Page("linesync.1").examples("EXAMPLES") if all(w in x for w in words)]
    return text


def of_readme(*words):
    """The one example of README.md with all of these in it."""
    with open(os.path.join(TOP, "README.md"), encoding="utf-8") as f:
        blocks = re.findall(r"(?:^    .*\n)+", f.read(), re.M)
    [text] = [re.sub("^    ", "", x, flags=re.M) for x in blocks if all(w in x for w in words)]
    return text


def shell(w, text, cwd, **env):
    """What a user types: linesync and git-changes are in PATH, and know only what the text and env say."""
    folder = os.path.join(w.dir, "path")
    if not os.path.isdir(folder):
        os.mkdir(folder)
        os.symlink(program(), os.path.join(folder, "linesync"))
        os.symlink(os.path.join(TOP, "scripts/git-changes"), os.path.join(folder, "git-changes"))
    text = re.sub(r"(chroma:http://)localhost:8000", r"\g<1>127.0.0.1:%d" % w.server.port, text)
    known = {k: v for k, v in w.env.items() if not k.startswith("LINESYNC_")}
    known["LINESYNC_STATE_DIR"] = os.path.join(w.dir, "states")
    path = ":".join([os.path.join(w.dir, "bin"), folder, known.get("PATH", "/usr/bin:/bin")])
    done = subprocess.run(["bash", "-c", text], cwd=cwd, env={**known, **env, "PATH": path},
                          stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=600)
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
    rc, _, _ = shell(w, of_manual(*EVERYTHING), repo.dir)
    same((rc, w.documents(), position(w, repo)), (0, repo.of_head(), first), "all files, and the commit")
    repo.git("mv", "moved", "there")
    repo.git("rm", "-q", "gone")
    second = repo.commit(edited="two\n", new="new\n")
    w.store.clear_log()
    rc, _, _ = shell(w, of_manual(*DIFFERENCE), repo.dir)
    same((rc, w.documents(), position(w, repo)), (0, repo.of_head(), second), "what has changed")
    test(not any("kept" in str(w.store.names.get(i)) for _, ids in w.writes() for i in ids), "and only that")


def without_a_position(w):
    """Where no position is known, or it cannot be had, nothing is fed."""
    repo = Repo(w, "app")
    repo.commit(a="a\n")
    rc, _, _ = shell(w, of_manual(*DIFFERENCE), repo.dir)
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


# ---- mgit ----


NOT_A_FILE = "newdir/"      # which mgit lists where git lists no untracked files one by one


def mgit_prints(w, data):
    with open(os.path.join(w.dir, "mgit.out"), "wb") as f:
        f.write(data)
    in_place_of(w, "mgit", "exec cat '%s/mgit.out'" % w.dir)


def mgit_lists(w):
    """What mgit would print now."""
    bar = forms.fixture("mgit", "diff.jsonl").splitlines()[0]
    mgit_prints(w, b"\n".join([bar, *map(as_line, forms.mgit(w, "ServiceB", "ServiceA"))]) + b"\n")


def fixture_repos(w):
    """The two repositories of the fixture, and what mgit 0.13.0 printed of them."""
    forms.make_repos(w)
    repos = [Repo(w, n, init=False) for n in ("ServiceA", "ServiceB")]
    mgit_prints(w, forms.fixture("mgit", "diff.jsonl"))
    return repos


def typed(w, text):
    """A line of an example, in the folder of the repositories."""
    return shell(w, text, w.root, LINESYNC_STORE="chroma:http://127.0.0.1:%d" % w.server.port)


def asked(w, *words, collection="Code"):
    return typed(w, "linesync %s -c %s" % (" ".join(words), collection))[1]


def texts(repos, of):
    return {d: t for repo in repos for d, t in of(repo).items()}


def revert(repo):
    repo.git("reset", "-q", "--hard")
    repo.git("clean", "-fdq")


def mgit_and_git_changes(w):
    """The pair: mgit for now, git-changes for the whole.  What mgit has stored and does not list any more is
    listed by git-changes, so HEAD's text comes back."""
    repos = fixture_repos(w)
    for block in (of_manual("mgit diff", "git-changes"), of_readme("mgit diff", "git-changes")):
        now, whole = [x.strip() for x in re.split(r"\n(?=git-changes)", block)]
        changed, clean = [os.path.join(w.dir, n) for n in ("changed", "clean")]
        shutil.copytree(w.root, changed, symlinks=True)
        revert(repos[0])
        rc, _, _ = typed(w, whole)
        same((rc, w.documents()), (0, texts(repos, Repo.of_head)), "git-changes: all of both repositories")
        os.rename(w.root, clean)
        os.rename(changed, w.root)
        rc, out, _ = typed(w, now)
        same((rc, [json.loads(x)["path"] for x in out.splitlines()]), (1, [NOT_A_FILE]),
             "mgit: all of it is done, but for the folder that it lists")
        same({p: t for (r, p), t in w.documents().items() if r == "ServiceA"}, forms.mgit_documents(w),
             "the store holds what is being worked on")
        same(asked(w, "changeset", "--whole").count("Service"), 2, "the positions stay, and stay whole")
        revert(repos[0])
        mgit_lists(w)
        rc, out, _ = typed(w, now)
        same((rc, out), (0, ""), "all is changed back: mgit has nothing to list")
        test(w.documents() != texts(repos, Repo.of_head), "and the store holds what is in no commit")
        listed = [json.loads(x) for x in typed(w, whole.split("|")[0])[1].splitlines()]
        same(sorted(x["path"] for x in listed if "path" in x),
             sorted(x["path"] for x in listed if "path" in x and x["repo"] == "ServiceA"), "git-changes lists it")
        test({"config.json", "gone.py", "src/main.py", "src/new.py", "src/old.py", "untracked.py"} <=
             {x.get("path") for x in listed}, "also what was deleted, renamed and new", listed)
        same([list(x["new_changeset"]) for x in listed if "new_changeset" in x], [["commit", "since"]] * 2,
             "without listing everything")
        rc, _, _ = typed(w, whole)
        same((rc, w.documents()), (0, texts(repos, Repo.of_head)), "HEAD's texts are back")
        same([asked(w, "changeset", "--touched", r.name) for r in repos], ["", ""], "nothing is left to list")
        shutil.rmtree(w.root)
        shutil.rmtree(clean)
        repos = fixture_repos(w)


def mgit_alone(w):
    """mgit's own records: a position as told, which is held once mgit does not name a document any more
    that it named before; without --uncommitted nobody would know."""
    repos = fixture_repos(w)
    for repo in repos:
        repo.git("config", "status.showUntrackedFiles", "all")
    mgit_lists(w)
    block = of_manual("mgit diff", "pipefail")
    unsaid = block.replace("-c Code --uncommitted", "-c Unsaid")
    test(unsaid != block, "the manual's line says --uncommitted")
    for text, collection in ((block, "Code"), (unsaid, "Unsaid")):
        rc, _, err = typed(w, text)
        same((rc, err.count("nothing of it is stored"), "'ServiceB' stands at" in err), (0, 1, True),
             "%s: one is stored; of the clean one it is said that nothing is" % collection)
    named = {x["path"] for x in forms.mgit(w, "ServiceA") if "path" in x}
    same(asked(w, "changeset", "--whole"), "", "both positions are as told")
    test("config.json" in named and "config.json" in asked(w, "changeset", "--touched", "ServiceA").splitlines(),
         "what it has listed counts as changed")
    repos[0].git("checkout", "-q", "config.json")
    mgit_lists(w)
    rc, _, _ = typed(w, block)
    same((rc, re.findall("a document.*config.json", asked(w, "status", "--held")) != []), (1, True),
         "one is changed back: the record is held, and status --held names it")
    rc, _, _ = typed(w, unsaid)
    same((rc, asked(w, "changeset", "--touched", "ServiceA", collection="Unsaid")), (0, ""),
         "without --uncommitted it stays in the store, and nobody knows")
    rc, _, _ = typed(w, "git-changes -c Code ./*/ | linesync -q -c Code")
    with w.store.lock:
        [code] = [c for c in w.store.by_name.values() if c.name == "Code"]
        got = {(r.metadata["repository"], r.metadata["file_path"]): r.document for r in code.records.values()}
    same((rc, got), (0, texts(repos, Repo.of_tree)), "git-changes lists everything")
    same(asked(w, "changeset", "--whole").count("Service"), 2, "and the positions are whole")


def mgit_records_alone(w):
    """For programs that read JSON: without the progress bar."""
    fixture_repos(w)
    for text in (of_manual("mgit diff", "jq"), of_readme("mgit diff", "jq")):
        keep, query = text.strip().rsplit(" | ", 1)
        rc, out, _ = typed(w, keep)
        records = [json.loads(x) for x in out.splitlines()]
        same((rc, len(records)), (0, len(forms.fixture("mgit", "diff.jsonl").splitlines()) - 1), "all records, and no bar")
        same(query, "jq -r '.path // empty'", "and jq can read them")


TESTS = [by_hand, without_a_position, cut_short, mgit_and_git_changes, mgit_alone, mgit_records_alone]


if __name__ == "__main__":
    sys.exit(run_tests(TESTS))
