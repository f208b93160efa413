#!/usr/bin/env python3
"""git-changes.py [-v] [NAME...] - what git-changes prints of a repository, and what keeps it from
saying something untrue.  NAMEs: only these."""

import json
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import program, put, record, report, run_tests  # noqa: E402
from gitrepo import TOP, Repo, clean_round, list_changes, start_producer  # noqa: E402

same, test = report.same, report.test
REAL_GIT = shutil.which("git")


def script(w, name, text):
    """A program in a folder of its own, that stands first in PATH."""
    folder = os.path.join(w.dir, "bin")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
        f.write("#!/bin/sh\n" + text)
    os.chmod(os.path.join(folder, name), 0o755)
    return {"PATH": folder + ":" + w.env.get("PATH", "/usr/bin:/bin")}


def fake_git(w, command, do):
    """A git that does something else, or more, when it is to run this command."""
    return script(w, "git", 'case " $* " in *" %s "*) %s ;; esac\nexec %s "$@"\n' %
                  (command, do, REAL_GIT))


def fake_linesync(w, do):
    script(w, "fake-linesync", do + "\n")
    return {"LINESYNC": os.path.join(w.dir, "bin", "fake-linesync")}


def changes(w, *dirs, **env):
    """{path: what is said of it} of the one repository, and its changeset record."""
    rc, lines, err = list_changes(w, *dirs, **env)
    same((rc, err), (0, ""), "it lists")
    return told(lines)


def told(lines):
    records = [json.loads(line) for line in lines]
    last = records.pop()["new_changeset"] if records and "new_changeset" in records[-1] else None
    out = {}
    for r in records:
        text = r.get("content", r.get("skip_reason", r.get("op")))
        test(r["path"] not in out, "each path once")
        out[r["path"]] = (text, "uncommitted") if r.get("uncommitted") else text
    return out, last


def last_of(lines):
    return json.loads(lines[-1])["new_changeset"] if lines and b"new_changeset" in lines[-1] else None


def synced(w, repo):
    same(clean_round(w, repo), [], "synced")


# ---- what is listed ----


def working_tree(w):
    repo = Repo(w, "app")
    head = repo.commit(**{n: n + "\n" for n in ["as_is", "edited", "gone", "staged", "back", "untracked",
                                                "mode", "linked", "moved", "touched"]})
    want = {n: n + "\n" for n in ["as_is", "back", "untracked", "mode", "touched"]}
    repo.write(b"edited", b"new\n")
    os.unlink(repo.path(b"gone"))
    repo.write(b"staged", b"new\n")
    repo.write(b"back", b"new\n")
    repo.git("add", "staged", "back")
    repo.write(b"back", b"back\n")
    repo.git("rm", "-q", "--cached", "untracked")
    os.chmod(repo.path(b"mode"), 0o755)
    os.unlink(repo.path(b"linked"))
    os.symlink("as_is", repo.path(b"linked"))
    repo.git("mv", "moved", "there")
    os.utime(repo.path(b"touched"), (1, 1))
    repo.write(b"intended", b"new\n")
    repo.git("add", "-N", "intended")
    repo.write(b"folder/new", b"new\n")
    repo.write(b"ignored", b"new\n")
    repo.write(b".git/info/exclude", b"ignored\n")
    want.update({n: ("new\n", "uncommitted") for n in ["edited", "staged", "intended", "folder/new"]})
    want.update(gone=("delete", "uncommitted"), linked=("symlink", "uncommitted"),
                moved=("delete", "uncommitted"), there=("moved\n", "uncommitted"))
    with open(repo.path(b".git/index"), "rb") as f:
        index = f.read()
    got, last = changes(w, repo.dir)
    same(got, want, "all files, and which of them are in no commit")
    same(last, {"commit": head, "complete": True}, "no position: the listing is complete")
    synced(w, repo)
    got, last = changes(w, repo.dir)
    same(got, {n: t for n, t in want.items() if n not in ["as_is", "touched"]}, "then only what differs")
    same(last, {"commit": head, "since": head}, "since the position")
    with open(repo.path(b".git/index"), "rb") as f:
        same(f.read(), index, "the index is left alone")
    repo.git("reset", "-q", "--hard")
    repo.git("clean", "-fdq")
    got, _ = changes(w, repo.dir)
    same({n: got.get(n) for n in ["edited", "gone", "folder/new", "intended", "there", "as_is"]},
         {"edited": "edited\n", "gone": "gone\n", "folder/new": "delete", "intended": "delete",
          "there": "delete", "as_is": None}, "what was changed back is listed once more")
    synced(w, repo)
    same(changes(w, repo.dir)[0], {}, "and then nothing is")


def as_told(w):
    """A position that another producer has told, and that no complete listing has filled, is nothing to
    build on: what did not change since may never have been listed."""
    repo = Repo(w, "app")
    head = repo.commit(kept="kept\n", edited="one\n")
    ended = w.sync([record(head, "app")])
    same((ended.rc, w.position("app"), w.documents()), (0, head, {}), "the position is HEAD, nothing is stored")
    got, last = changes(w, repo.dir)
    same((got, last), ({"kept": "kept\n", "edited": "one\n"}, {"commit": head, "complete": True}),
         "everything is listed all the same")
    synced(w, repo)
    same((w.documents(), changes(w, repo.dir)), (repo.of_head(), ({}, {"commit": head, "since": head})),
         "once: its own position is whole")
    second = repo.commit(edited="two\n")
    same(w.sync([put("edited", "two\n", "app"), record(second, "app", since=head)]).rc, 0,
         "whoever lists changes since that keeps it whole")
    same(changes(w, repo.dir), ({}, {"commit": second, "since": second}), "and it goes on from there")
    w.sync([record(second, "app")])
    same(changes(w, repo.dir)[1], {"commit": second, "complete": True}, "one who does not say since when does not")
    repo.git("checkout", "-q", "--orphan", "new")
    repo.git("rm", "-q", "-f", "kept")
    got, last = changes(w, repo.dir)
    same((got, last), ({"edited": ("two\n", "uncommitted"), "kept": "delete"}, None),
         "before a first commit, what the store may hold is all that the state knows")


def commits(w):
    repo = Repo(w, "app")
    first = repo.commit(kept="kept\n", edited="one\n", gone="gone\n", moved="moved\n", file="file\n")
    synced(w, repo)
    repo.git("mv", "moved", "there")
    repo.git("rm", "-q", "gone", "file")
    repo.write(b"file/inside", b"inside\n")
    repo.write(b"later", b"later\n")
    second = repo.commit(edited="two\n", new="new\n")
    os.unlink(repo.path(b"edited"))
    got, last = changes(w, repo.dir)
    same(got, {"edited": ("delete", "uncommitted"), "gone": "delete", "moved": "delete",
               "there": "moved\n", "file": "delete", "file/inside": "inside\n", "new": "new\n", "later": "later\n"},
         "what changed since the position")
    same(last, {"commit": second, "since": first}, "is what the record says")
    rc, lines, _ = list_changes(w, repo.dir)
    ops = [json.loads(line).get("op") for line in lines]
    same((rc, ops), (0, ["modify"] * 4 + ["delete"] * 4 + [None]), "texts, deletes, and last the record")
    synced(w, repo)


def names(w):
    odd = [b"a b", b" ", b"\t", b"\n", b"\r", b'"', b'"quoted"', b'"q\\"', b"a -> b", b'"a" -> b', b"\\",
           b"-x", b":(glob)*", b"*", b"{", b"\x01\x7f", b"\xc3\xa9", b"\xf0\x9f\x92\xa1", b"M\tx",
           b"dir/a -> b/c"]
    bad = [b"\xff", b"a\xc3", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80"]
    repo = Repo(w, "app")
    for n in odd + bad:
        repo.write(n, b"text of " + n.hex().encode())
    repo.write(b"arrow -> link", b"x")
    for kind in ("committed", "uncommitted"):
        rc, lines, err = list_changes(w, repo.dir)
        same((rc, err.count("\n")), (0, len(bad)), "each name that JSON cannot carry is named, %s" % kind)
        test(r"app/\xFF' is left out: its name is not UTF-8" in err, "escaped", err)
        same(sum(b'"path"' in line for line in lines), len(odd) + 1, "and left out")
        ended = w.sync(lines)
        same((ended.rc, {p for _, p in w.documents()}),
             (0, {n.decode() for n in odd} | ({"arrow -> link"} if kind == "committed" else set())),
             "each other is stored under its name")
        same(w.documents(), repo.of_tree(), "with its text")
        for n in odd:
            repo.write(n, b"other text of " + n.hex().encode())
        repo.git("add", "-A")
        os.unlink(repo.path(b"arrow -> link"))
        os.symlink("a b", repo.path(b"arrow -> link"))
    repo.git("add", "-A")
    repo.commit()
    for n in odd + bad:
        os.unlink(repo.path(n))
    repo.commit()
    same(w.sync(list_changes(w, repo.dir)[1], "--max-delete", "100").rc, 0, "they are deleted")
    same(w.documents(), {}, "all of them")


def texts(w):
    kinds = {"text": b"a\r\n\t\"\\/\x01\x7f\xc3\xa9\xef\xbb\xbf\xe2\x80\xa8\xef\xbf\xbf", "nul": b"a\0b",
             "latin": b"\xe9t\xe9", "surrogate": b"\xed\xa0\x80", "beyond": b"\xf4\x90\x80\x80",
             "overlong": b"\xc0\x80", "five": b"\xf8\x88\x80\x80\x80", "cut": b"\xe2\x82",
             "empty": b"", "blank": b"\n"}
    repo = Repo(w, "app")
    for name, data in kinds.items():
        repo.write(name.encode(), data)
        repo.write(name.encode() + b".new", data)
    repo.git("add", *kinds)
    repo.git("commit", "-q", "-m", "m")
    want = repo.of_tree()
    ended = w.sync(list_changes(w, repo.dir)[1])
    same((ended.rc, w.documents()), (0, want), "what is text is stored, byte for byte")
    same({p for _, p in want}, {"text", "text.new", "blank", "blank.new"}, "and only that")


def long_texts(w):
    repo = Repo(w, "app")
    sizes = {"longest": 6000000, "longer": 6000001}
    for name, size in sizes.items():
        repo.write(name.encode(), b"0123456789abcde\n" * (size // 16) + b"x" * (size % 16))
        repo.write(name.encode() + b".new", b"fedcba9876543210\n" * 10 + b"x" * (size - 170))
    repo.write(b"escapes", b"\x01" * 3000000)
    repo.write(b"binary", b"\0" * 6000000)
    repo.git("add", "longest", "longer", "escapes", "binary")
    repo.git("commit", "-q", "-m", "m")
    rc, lines, _ = list_changes(w, repo.dir)
    skipped = {json.loads(line)["path"] for line in lines if b"skip_index" in line}
    same((rc, skipped), (0, {"longer", "longer.new"}), "what is too long for a line is left out")
    ended = w.sync(lines, "--max-content", "6000000")
    same((ended.rc, {p: len(t) for (_, p), t in w.documents().items()}),
         (0, {"longest": 6000000, "longest.new": 6000000, "escapes": 3000000}), "no line is too long")


def no_documents(w):
    """Links, submodules, repositories within, special files."""
    other = Repo(w, "other")
    other.commit(f="f\n")
    repo = Repo(w, "app")
    head = repo.commit(file="file\n", pipe="pipe\n", **{"dir/secret": "mine\n"})
    synced(w, repo)
    repo.git("submodule", "--quiet", "add", other.dir, "sub")
    os.symlink("/etc/passwd", repo.path(b"link"))
    repo.commit()
    repo.write(b"sub/f", b"changed within\n")
    repo.write(b"nested/file", b"nested\n")
    repo.git("init", "-q", "nested")
    outside = os.path.join(w.dir, "outside")
    os.makedirs(outside)
    with open(os.path.join(outside, "secret"), "w", encoding="utf-8") as f:
        f.write("not mine\n")
    repo.git("rm", "-q", "-r", "--cached", "dir")
    os.unlink(repo.path(b"dir/secret"))
    os.rmdir(repo.path(b"dir"))
    os.symlink(outside, repo.path(b"dir"))
    os.unlink(repo.path(b"pipe"))
    os.mkfifo(repo.path(b"pipe"))
    got, last = changes(w, repo.dir)
    same(last["since"], head, "since the first")
    del got[".gitmodules"]
    same(got, {"link": "symlink", "sub": "submodule", "dir/secret": ("delete", "uncommitted"),
               "dir": ("symlink", "uncommitted"), "pipe": ("not a regular file", "uncommitted")},
         "none of them is read")
    synced(w, repo)


def sparse(w):
    """git is told not to look at some files: HEAD's text counts."""
    repo = Repo(w, "app")
    repo.commit(assumed="assumed\n", **{"in/a": "a\n", "out/b": "b\n"})
    repo.git("update-index", "--assume-unchanged", "assumed")
    repo.write(b"assumed", b"changed\n")
    repo.git("config", "core.sparseCheckout", "true")
    repo.write(b".git/info/sparse-checkout", b"/in/\n/assumed\n")
    repo.git("read-tree", "-mu", "HEAD")
    test(not os.path.exists(repo.path(b"out/b")), "a file is not in the working tree")
    same(changes(w, repo.dir)[0], {"assumed": "assumed\n", "in/a": "a\n", "out/b": "b\n"}, "HEAD has it")


def without_commit(w):
    repo = Repo(w, "app")
    same(changes(w, repo.dir), ({}, None), "nothing is in it, nothing is listed")
    repo.write(b"a", b"a\n")
    repo.write(b"b", b"b\n")
    repo.git("add", "a")
    got, last = changes(w, repo.dir)
    same((got, last), ({"a": ("a\n", "uncommitted"), "b": ("b\n", "uncommitted")}, None),
         "before the first commit there is no record")
    w.sync(list_changes(w, repo.dir)[1])
    os.unlink(repo.path(b"b"))
    same(changes(w, repo.dir)[0], {"a": ("a\n", "uncommitted"), "b": "delete"},
         "what is gone again is deleted")
    repo.commit()
    synced(w, repo)
    same(w.documents(), {("app", "a"): "a\n"}, "the first commit begins like every other")


def bare_and_linked(w):
    repo = Repo(w, "app")
    first = repo.commit(a="a\n", b="b\n")
    subprocess.run(["git", "clone", "-q", "--bare", repo.dir, repo.dir + b".git"], check=True, env=w.env)
    got, last = changes(w, repo.dir + b".git/")
    same((got, last), ({"a": "a\n", "b": "b\n"}, {"commit": first, "complete": True}), "a bare repository")
    same(json.loads(list_changes(w, repo.dir + b".git")[1][0])["repo"], "app", "is called without .git")
    repo.git("worktree", "add", "-q", b"../linked")
    repo.write(b"../linked/a", b"new\n")
    got, last = changes(w, os.path.join(w.root, "linked"))
    same((got, last["commit"]), ({"a": ("new\n", "uncommitted"), "b": "b\n"}, first),
         "another working tree")
    empty = os.path.join(w.root, "empty.git")
    subprocess.run(["git", "init", "-q", "--bare", empty], check=True, env=w.env)
    same(changes(w, empty), ({}, None), "an empty bare repository")


def merging(w):
    repo = Repo(w, "app")
    repo.commit(a="a\n", b="b\n", c="c\n")
    repo.git("checkout", "-q", "-b", "other")
    repo.git("rm", "-q", "b")
    repo.commit(a="theirs\n")
    repo.git("checkout", "-q", "main")
    head = repo.commit(a="ours\n", b="ours\n")
    repo.git("merge", "-q", "other", check=False)
    os.unlink(repo.path(b"b"))
    got, last = changes(w, repo.dir)
    test(got["a"][1] == "uncommitted" and "<<<<<<<" in got["a"][0], "a conflict is text in no commit")
    same((got["b"], got["c"], last["commit"]), (("delete", "uncommitted"), "c\n", head), "HEAD is ours")
    synced(w, repo)


# ---- positions ----


def lost_position(w):
    repo = Repo(w, "app")
    repo.commit(a="a\n", b="b\n", c="c\n")
    synced(w, repo)
    repo.git("checkout", "-q", "--orphan", "new")
    repo.git("rm", "-q", "--cached", "b")
    os.unlink(repo.path(b"b"))
    head = repo.commit(a="other\n")
    repo.git("update-ref", "-d", "refs/heads/main")
    repo.git("reflog", "expire", "--expire=now", "--all")
    repo.git("prune", "--expire=now")
    rc, lines, err = list_changes(w, repo.dir)
    same((rc, told(lines)), (0, ({"a": "other\n", "c": "c\n"}, {"commit": head, "complete": True})),
         "everything is listed")
    test("is not, or not whole, in the repository" in err, "and why is said", err)
    ended = w.sync(lines)
    same((ended.rc, w.documents(), w.position("app")),
         (0, {("app", "a"): "other\n", ("app", "c"): "c\n"}, head), "what is gone is deleted")
    repo.git("rm", "-q", "a", "c")
    repo.write(b"d", b"d\n")
    repo.commit()
    position = w.position("app")
    ended = w.sync(list_changes(w, repo.dir, **fake_git(w, "diff-tree", "exit 128"))[1])
    same((ended.rc, ended.results[-1].get("why"), w.position("app")), (1, "too-many-deletes", position),
         "but not more than --max-delete allows")
    synced(w, repo)


def hostile_position(w):
    repo = Repo(w, "app")
    head = repo.commit(a="a\n")
    blob = repo.git("rev-parse", "HEAD:a").decode().strip()
    trap = os.path.join(w.dir, "trap")
    for position in ["--output=" + trap, "--", "-h", "HEAD", "main", head[:10], head + "^{tree}",
                     head + "..main", blob, "0" * 40, "$(touch %s)" % trap, "a\n" + head, ""]:
        env = fake_linesync(w, "case $2 in -z) ;; *) printf '%%s\\n' '%s' ;; esac" % position)
        rc, lines, _ = list_changes(w, repo.dir, **env)
        same((rc, last_of(lines)), (0, {"commit": head, "complete": True}),
             "position %r is none" % position)
    test(not os.path.exists(trap), "and nothing else came of it")
    w.sync([record("HEAD", "app")])
    same(w.position("app"), "HEAD", "a position of another producer")
    same(last_of(list_changes(w, repo.dir)[1]), {"commit": head, "complete": True}, "is none either")


def linesync_fails(w):
    repo = Repo(w, "app")
    repo.commit(a="a\n")
    for name, do, status in [("75", "exit 75", 75), ("damaged", "echo damaged >&2; exit 74", 74),
                             ("66", "exit 66", 66), ("killed", "kill -9 $$", 137),
                             ("1 with a word", "echo word; exit 1", 1), ("not there", None, 127)]:
        env = {"LINESYNC": "/nonexistent/linesync"} if do is None else fake_linesync(w, do)
        rc, lines, err = list_changes(w, repo.dir, **env)
        same((rc, lines), (status, []), "linesync ends with %s: nothing is listed" % name)
        test("git-changes: " in err, "it is said", err)
        if do and "damaged" in do:
            test(err.startswith("damaged\n"), "after what linesync says", err)
    loop = os.path.join(w.dir, "loop")
    os.symlink("loop", loop)
    same(list_changes(w, repo.dir, LINESYNC_STATE="", LINESYNC_STORE="", LINESYNC_STATE_DIR=loop)[:2], (74, []),
         "a state folder that cannot be read is not an empty one")
    late = fake_linesync(w, "case $2 in -z) exec %s \"$@\" ;; *) exit 75 ;; esac" % program())
    same(list_changes(w, repo.dir, **late)[:2], (75, []), "also when only the second question fails")
    same(list_changes(w, repo.dir, **fake_linesync(w, "echo quiet >&2; exit 1"))[2], "",
         "that there is no position is no message")


def what_is_asked(w):
    repo = Repo(w, "-app")
    repo.commit(a="a\n")
    env = fake_linesync(w, 'echo "$LINESYNC_COLLECTION $LINESYNC_STORE $LINESYNC_STATE '
                           '$LINESYNC_STATE_DIR $*" >>asked; exit 1')
    list_changes(w, "-c", "C", "--store=chroma:http://x", "--state", "s", "--state-dir", "d",
                 "--namespace", "N", repo.dir, **env)
    with open(os.path.join(w.dir, "asked"), encoding="utf-8") as f:
        same(f.read().splitlines(), ["C chroma:http://x s d changeset -z --whole --touched N/-app",
                                     "C chroma:http://x s d changeset --whole -- N/-app"], "with these options")
    same(w.sync(list_changes(w, repo.dir)[1]).rc, 0, "a name that begins with a dash")
    same(last_of(list_changes(w, repo.dir)[1]).get("since"), repo.head(), "is asked for by that name")


# ---- what must not come through ----


def git_fails(w):
    repo, other = Repo(w, "app"), Repo(w, "other")
    repo.commit(a="a\n", b="b\n", c="c\n")
    synced(w, repo)
    repo.commit(a="2\n", b="2\n", c="2\n")
    repo.write(b"d", b"d\n")
    other.commit(x="x\n")
    for command in ["rev-parse", "status", "ls-tree", "cat-file"]:
        for how in ["exit 3", "kill -9 $$", "%s \"$@\" </dev/null; exit 1" % REAL_GIT,
                    "%s \"$@\"; exit 1" % REAL_GIT]:
            env = fake_git(w, command, "case $* in *app*) %s ;; esac" % how)
            rc, lines, err = list_changes(w, repo.dir, other.dir, **env)
            records = [json.loads(line)["repo"] for line in lines if b"new_changeset" in line]
            same((rc, records), (1, ["other"]), "git %s ends with %s: no record" % (command, how[:10]))
            test("app' is left out: " in err, "it is said", err)
            same(w.sync(lines).rc, 0, "and what was listed is no fault")
    same(w.position("app") != repo.head(), True, "the position stays")
    synced(w, repo)
    blob = repo.git("rev-parse", "HEAD:b").decode().strip()
    os.unlink(repo.path(b".git/objects/%s/%s" % (blob[:2].encode(), blob[2:].encode())))
    w.ask("forget", "app")
    rc, lines, err = list_changes(w, repo.dir)
    same((rc, last_of(lines)), (1, None), "an object is missing: no record")


def head_moves(w):
    """Someone commits, and changes files, while git-changes is at work."""
    repo = Repo(w, "app")
    first = repo.commit(a="1\n", b="1\n", c="1\n")
    flag = os.path.join(w.dir, "moved")
    move = ("[ -e %s ] || { touch %s; cd %s; echo 2 >a; rm b; echo 2 >new; %s add -A; %s commit -qm m; "
            "echo 3 >c; }" % (flag, flag, repo.dir.decode(), REAL_GIT, REAL_GIT))
    for command in ["ls-tree", "cat-file"]:
        got, last = changes(w, repo.dir, **fake_git(w, command, move))
        same((got, last["commit"]), ({"a": "1\n", "b": "1\n", "c": "1\n"}, first),
             "the record is of what was listed")
        os.unlink(flag)
        repo.git("reset", "-q", "--hard", first)
    repo.write(b"c", b"edited\n")
    c = repo.path(b"c").decode()
    rc, lines, _ = list_changes(w, repo.dir, **fake_git(w, "ls-tree", "rm %s; mkdir %s" % (c, c)))
    got, _ = told(lines)
    same((rc, got["c"]), (0, ("delete", "uncommitted")), "a file that goes meanwhile is gone")
    w.sync(lines)
    os.rmdir(repo.path(b"c"))
    synced(w, repo)


def link_meanwhile(w):
    """A folder becomes a link to another place after git has looked."""
    repo = Repo(w, "app")
    repo.commit(**{"dir/secret": "mine\n"})
    repo.write(b"dir/secret", b"mine, edited\n")
    outside = os.path.join(w.dir, "outside")
    os.makedirs(outside)
    with open(os.path.join(outside, "secret"), "w", encoding="utf-8") as f:
        f.write("not mine\n")
    swap = "rm -rf %s/dir; ln -s %s %s/dir" % (repo.dir.decode(), outside, repo.dir.decode())
    rc, lines, _ = list_changes(w, repo.dir, **fake_git(w, "ls-tree", swap))
    same((rc, told(lines)[0]), (0, {"dir/secret": ("delete", "uncommitted")}),
         "nothing is read through it")


def hostile_repository(w):
    repo = Repo(w, "app")
    repo.commit(a="a\n", **{".gitattributes": "* diff=trap filter=off\n"})
    synced(w, repo)
    trap = os.path.join(w.dir, "trap")
    os.makedirs(repo.path(b".git/hooks"), exist_ok=True)
    spring = script(w, "spring", "touch %s\n" % trap)["PATH"].split(":")[0] + "/spring"
    for name, value in [("core.fsmonitor", spring), ("diff.external", spring), ("diff.trap.textconv", spring),
                        ("diff.trap.command", spring), ("core.pager", spring),
                        ("core.hooksPath", os.path.dirname(spring)), ("status.showUntrackedFiles", "no"),
                        ("status.relativePaths", "true"), ("status.renames", "copies"),
                        ("status.branch", "true"), ("status.showStash", "true"), ("diff.relative", "true"),
                        ("diff.noprefix", "true"), ("diff.orderFile", "/nonexistent"),
                        ("core.quotePath", "true"), ("color.ui", "always"),
                        ("diff.ignoreSubmodules", "none")]:
        repo.git("config", name, value)
    repo.write(b"stashed", b"x\n")
    repo.git("-c", "core.fsmonitor=false", "stash", "-q", "-u")
    if os.path.exists(trap):
        os.unlink(trap)
    os.rename(repo.path(b"a"), repo.path(b"b"))
    repo.write(b".git/index.lock", b"")
    got, _ = changes(w, repo.dir)
    same(got, {"a": ("delete", "uncommitted"), "b": ("a\n", "uncommitted")},
         "its configuration changes nothing")
    test(not os.path.exists(trap), "and runs nothing")
    repo.git("config", "core.worktree", os.path.join(w.dir, "elsewhere"))
    os.makedirs(os.path.join(w.dir, "elsewhere"))
    rc, lines, err = list_changes(w, repo.dir)
    same((rc, lines), (1, []), "a working tree elsewhere is left out")
    test("is left out" in err, "it is said", err)


def environment(w):
    """As in a hook: variables that are another repository's."""
    repo, other = Repo(w, "app"), Repo(w, "other")
    repo.commit(a="a\n")
    other.commit(x="x\n")
    dot = os.path.join(other.dir.decode(), ".git")
    got, _ = changes(w, repo.dir, GIT_DIR=dot, GIT_WORK_TREE=other.dir.decode(),
                     GIT_INDEX_FILE=dot + "/index", GIT_OBJECT_DIRECTORY=dot + "/objects",
                     GIT_COMMON_DIR=dot, GIT_PREFIX="x/")
    same(got, {"a": "a\n"}, "the folder counts")


# ---- the command line ----


def folders(w):
    repo, other = Repo(w, "app"), Repo(w, "other")
    repo.commit(a="a\n", **{"inside/b": "b\n"})
    other.commit(x="x\n")
    plain = os.path.join(w.root, "plain")
    os.makedirs(plain)
    bad = os.path.join(os.fsencode(w.root), b"bad\xff")
    subprocess.run(["git", "init", "-q", bad], check=True, env=w.env)
    with open(os.path.join(w.root, "file"), "w", encoding="utf-8"):
        pass
    for name, left in [("a folder", plain), ("a file", os.path.join(w.root, "file")),
                       ("nothing", plain + "/no"), ("a folder within one", repo.path(b"inside")), ("its .git", repo.path(b".git")),
                       ("a name that is not UTF-8", bad)]:
        rc, lines, err = list_changes(w, left, other.dir)
        same((rc, {json.loads(line)["repo"] for line in lines}), (1, {"other"}),
             name + " is left out, others are not")
        test("' is left out: " in err, "it is named", err)
    same(list_changes(w, repo.dir, plain + "/../app")[:2], (64, []), "two of one name are refused")
    for words in [[], [""], ["-c"], ["--collection"], ["--unknown", repo.dir], ["-x", repo.dir]]:
        same(list_changes(w, *words)[:2], (64, []), "usage: %r" % words)
    same(list_changes(w, "--help")[0], 0, "--help")
    for spelled in [repo.dir + b"/", repo.dir + b"//", repo.dir + b"/.", repo.dir + b"/inside/..",
                    b"root/app"]:
        rc, lines, _ = list_changes(w, "--", spelled)
        same((rc, {json.loads(line)["repo"] for line in lines}), (0, {"app"}),
             "it is called app: %r" % spelled[-10:])
    child = subprocess.run([os.path.join(TOP, "scripts/git-changes"), "."], cwd=repo.dir, check=False,
                           env={"LINESYNC": program(), **w.env}, capture_output=True)
    same((child.returncode, json.loads(child.stdout.split(b"\n")[0])["repo"]), (0, "app"),
         "the current folder")


def no_output(w):
    repo = Repo(w, "app")
    for lines in (1, 100000):
        repo.commit(a="a\n" * lines)
        with open("/dev/full", "wb") as full:
            child = start_producer(w, repo.dir, stdout=full)
            err = child.communicate(timeout=60)[1].decode()
        same(child.returncode, 74, "a full disk")
        test("cannot write" in err, "is said", err)


def unreadable(w):
    if os.geteuid() == 0:
        report.skip("a file that may not be read", "root may read all")
        return
    repo = Repo(w, "app")
    repo.commit(a="a\n")
    repo.write(b"new", b"new\n")
    os.chmod(repo.path(b"new"), 0)
    rc, lines, _ = list_changes(w, repo.dir)
    ended = w.sync(lines)
    same((rc, ended.rc, w.position("app")), (0, 1, None), "fails its line and holds the changeset")


def together(w):
    """As in cron: both at once, several repositories, again and again."""
    repos = [Repo(w, n) for n in ("one", "two", "three")]
    want = {}
    for n in range(4):
        for i, repo in enumerate(repos):
            repo.commit(f="%d of %d\n" % (n, i), **{"file%d" % n: "x\n"})
            repo.write(b"loose", b"%d\n" % n)
            want.update(repo.of_tree())
        producer = start_producer(w, *[r.dir for r in repos])
        child = subprocess.run([program(), *w.options, "-q"], env=w.env, cwd=w.dir, stdin=producer.stdout,
                               capture_output=True, check=False, timeout=60)
        producer.stdout.close()
        said = producer.stderr.read()
        producer.stderr.close()
        same((producer.wait(), said, child.returncode, child.stdout), (0, b"", 0, b""), "it is silent")
        same(w.documents(), want, "and all is stored")
    same([w.position(r.name) for r in repos], [r.head() for r in repos], "each stands at its HEAD")


CASES = [working_tree, as_told, commits, names, texts, long_texts, no_documents, sparse, without_commit,
         bare_and_linked, merging, lost_position, hostile_position, linesync_fails, what_is_asked, git_fails, head_moves,
         link_meanwhile, hostile_repository, environment, folders, no_output, unreadable, together]


if __name__ == "__main__":
    sys.exit(run_tests(CASES))
