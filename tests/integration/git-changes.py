#!/usr/bin/env python3
"""git-changes.py [-v] [NAME...] - what git-changes prints of a repository, and what keeps it from
saying something untrue.  NAMEs: only these."""

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import open_terminal, program, put, record, report, run_tests  # noqa: E402
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
    same(list_changes(w, repo.dir)[:2], (1, []), "a branch without a commit is nothing to go on to")


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


def without_index(w):
    """Never checked out, or the index is lost: nothing was removed from it."""
    repo, clone = Repo(w, "up"), Repo(w, "app", init=False)
    head = repo.commit(a="a\n", b="b\n")
    subprocess.run(["git", "clone", "-q", "--no-checkout", repo.dir, clone.dir], check=True, env=w.env)
    same(changes(w, clone.dir), ({"a": "a\n", "b": "b\n"}, {"commit": head, "complete": True}), "HEAD has it")
    clone.git("reset", "-q", "--hard")
    clone.write(b"a", b"edited\n")
    os.unlink(clone.path(b".git/index"))
    same(changes(w, clone.dir)[0], {"a": ("edited\n", "uncommitted"), "b": "b\n"}, "what is there is looked at")


def fetched_later(w):
    """A partial clone gets a text when it is listed; where it cannot, that is said."""
    repo, clone, other = Repo(w, "up"), Repo(w, "app", init=False), Repo(w, "other")
    repo.git("config", "uploadpack.allowFilter", "true")
    repo.git("config", "uploadpack.allowAnySHA1InWant", "true")
    other.commit(x="x\n")
    synced(w, other)
    want = {"a": "1\n", "dir/b": "1\n"}
    head = repo.commit(**want)
    for kind in ("blob:none", "tree:0"):
        shutil.rmtree(clone.dir, ignore_errors=True)
        subprocess.run(["git", "clone", "-q", "--no-checkout", "--filter=" + kind,
                        b"file://" + repo.dir, clone.dir], check=True, env=w.env)
        os.rename(repo.dir, repo.dir + b".away")
        left_out(w, clone, kind + ", and the server is away", "from promisor remote")
        os.rename(repo.dir + b".away", repo.dir)
        same(changes(w, clone.dir), (want, {"commit": head, "complete": True}), kind + ", and it is back")


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


# ---- what git would store ----

FILTERS = {"up": "tr a-z A-Z", "crypt": r"printf '\000CRYPT'; tr a-z n-za-m", "crs": r"tr '|' '\r'",
           "here": "cat mark - %f", "off": ""}
CONVERTED = b"""*.auto text=auto
*.text text
*.crlf eol=crlf
*.auto-lf text=auto eol=lf
*.old crlf=input
*.raw -text
*.id ident
*.id-auto ident text=auto
*.utf16 text working-tree-encoding=UTF-16LE
*.up filter=up
*.crypt filter=crypt
*.crs-auto filter=crs text=auto
*.here filter=here
*.off filter=off
*.unknown filter=unknown
"""
RAW = {"lf": b"one\ntwo\n", "crlf": b"one\r\ntwo\r\n", "mixed": b"one\r\ntwo\n", "lone": b"one\rtwo\r\n",
       "nul": b"\0one\r\n",
       "id": b"$Id$ $Id: 0123 $\n", "id-crlf": b"$Id: 0123 $\r\n", "bars": b"one|\ntwo|\n", "empty": b""}


def snapshot(repo):
    """All files that the repository has of its own, byte for byte."""
    out = {}
    for folder, _, names in os.walk(repo.path(b".git")):
        for name in names:
            with open(os.path.join(folder, name), "rb") as f:
                out[os.path.join(folder, name)] = f.read()
    return out


def text_of(line):
    r = json.loads(line)
    if "content_base64" in r:
        return base64.b64decode(r["content_base64"]), r.get("uncommitted", False)
    return r["content"].encode() if "content" in r else r, r.get("uncommitted", False)


def conversions(w):
    """Every kind of file, committed under one setting and changed under another: git says what is right."""
    for n, setting in enumerate(["false false", "false true", "false input", "true true"]):
        before, after = setting.split()
        repo = Repo(w, "app%d" % n)
        for name, command in FILTERS.items():
            repo.git("config", "filter.%s.clean" % name, command)
        repo.git("config", "core.autocrlf", before)
        repo.write(b"mark", b"mark\n")
        kinds = [k.split(b" ")[0][2:] for k in CONVERTED.split(b"\n")[:-1]] + [b"plain"]
        names = [r.encode() + b"." + k for k in kinds if k != b"utf16" for r in RAW]
        for name in names:
            repo.write(b"old/" + name, RAW[name.split(b".")[0].decode()])
        repo.commit()
        repo.write(b".gitattributes", CONVERTED)
        repo.git("config", "core.autocrlf", after)
        repo.commit()
        for name in names:
            repo.write(b"new/" + name, RAW[name.split(b".")[0].decode()])
            repo.write(b"old/" + name, RAW[name.split(b".")[0].decode()] + b"more\r\n")
        repo.write(b"new/a.utf16", "é\r\n".encode("utf-16-le"))
        repo.write(b"new/.gitattributes", b"lf.up !filter\nmixed.auto text=auto ident\n")
        untouched = snapshot(repo)
        want = {n.decode(): t for n, t in repo.would_store().items()}
        head = {n.decode(): t for n, t in repo.blobs("ls-tree", "-r", "-z", "HEAD").items()}
        rc, lines, err = list_changes(w, repo.dir, TMPDIR=w.dir)
        same((rc, err), (0, ""), "autocrlf=%s, then %s: it lists" % (before, after))
        got = {json.loads(line)["path"]: text_of(line) for line in lines[:-1]}
        kept = {p for p in got if isinstance(got[p][0], dict)}
        same({p: t for p, t in got.items() if p not in kept},
             {p: (t, head.get(p) != t) for p, t in want.items() if p not in kept}, "what git would store")
        # git hash-object does not know that the index has CRLF, and the attributes cannot be told otherwise
        same({p.split(".")[1] for p in kept} <= {"crs-auto", "id-auto"}, True, "but for a filter before text=auto")
        same(all(p.startswith("old/") and "content_error" in got[p][0] for p in kept), True, "which is said")
        same(snapshot(repo), untouched, "and the repository is left as it was")
        same([n for n in os.listdir(w.dir) if n.startswith("git-changes")], [], "so is the temporary folder")


def modes_and_dates(w):
    """Differs for git's eye, and not in what it would store."""
    repo = Repo(w, "app")
    repo.git("config", "filter.up.clean", FILTERS["up"])
    repo.write(b".gitattributes", b"*.w eol=crlf\n*.up filter=up\n")
    repo.commit(**{"x.w": "a\r\n", "y": "a\n", "z.up": "a\n"})
    want = {"x.w": "a\n", "y": "a\n", "z.up": "A\n"}
    for name in want:
        os.chmod(repo.path(name.encode()), 0o755)
    same(changes(w, repo.dir)[0], dict(want, **{".gitattributes": "*.w eol=crlf\n*.up filter=up\n"}),
         "it is HEAD's text, and is not uncommitted")
    synced(w, repo)
    same(changes(w, repo.dir)[0], want, "each time")
    repo.write(b"x.w", b"a\n")
    repo.write(b"z.up", b"A\n")
    os.chmod(repo.path(b"z.up"), 0o755)
    same(changes(w, repo.dir)[0], want, "another form of the same text")


def no_conversion(w):
    """The text that git would store cannot be had: clear text is never taken in its place."""
    filters = {"fails": "cat; exit 1", "missing": "/nonexistent/filter", "killed": "kill -9 $$", "a=b": "cat"}
    repo = Repo(w, "app")
    attributes = ["*.%s filter=%s\n" % (n, n) for n in filters]
    attributes += ["*.process filter=process\n", "*.none filter=none\n",
                   "*.wrong working-tree-encoding=UTF-16LE\n", "*.true working-tree-encoding\n"]
    repo.commit(a="a\n", b="b\n", **{".gitattributes": "".join(attributes)})
    synced(w, repo)
    for name, command in filters.items():
        repo.git("config", "filter.%s.clean" % name, command)
    repo.git("config", "filter.process.process", "exit 1")
    repo.git("config", "filter.none.required", "true")
    bad = ["x." + n for n in [*filters, "process", "none", "wrong", "true"]]
    for name in bad:
        repo.write(name.encode(), b"password!")
    repo.write(b"a", b"edited\n")
    rc, lines, err = list_changes(w, repo.dir)
    records = {json.loads(line).get("path"): json.loads(line) for line in lines}
    same((rc, err), (0, ""), "it lists")
    same({p for p, r in records.items() if "content_error" in r}, set(bad), "none of them has a text")
    test(b"password" not in b"".join(lines), "anywhere")
    why = records["x.missing"]["content_error"]
    test("clean filter 'missing' failed" in why, "but why", why)
    ended = w.sync(lines)
    statuses = [r["status"] for r in ended.results]
    same((ended.rc, statuses.count("failed"), statuses[-1]), (1, len(bad), "held"),
         "each fails its line, and they hold the changeset")
    same(w.documents().get(("app", "a")), "edited\n", "what has nothing to do with it is stored")
    for name in bad:
        os.unlink(repo.path(name.encode()))
    w.sync(list_changes(w, repo.dir)[1])
    synced(w, repo)
    repo.git("config", "filter.crypt.clean", FILTERS["crypt"])
    repo.write(b".gitattributes", b"*.crypt filter=crypt\n")
    repo.git("add", ".gitattributes")
    os.unlink(repo.path(b".gitattributes"))
    repo.write(b"x.crypt", b"password!")
    got = {json.loads(line).get("path"): json.loads(line) for line in list_changes(w, repo.dir)[1]}
    test("content_error" in got["x.crypt"], "a filter that only the index asks for", got["x.crypt"])
    repo.git("config", "--unset", "filter.crypt.clean")
    repo.write(b".gitattributes", b"*.crypt filter=crypt\n")
    same(changes(w, repo.dir)[0]["x.crypt"], ("password!", "uncommitted"),
         "one that is no more than a name, as git takes it")


def failing_filter(w):
    """Where git status itself has to run the filter, and that fails: it does not know what has changed."""
    repo, other = Repo(w, "app"), Repo(w, "other")
    other.commit(x="x\n")
    for name, required in (("soft", "false"), ("hard", "true")):
        repo.git("config", "filter.%s.clean" % name, "tr a-z A-Z")
        repo.git("config", "filter.%s.required" % name, required)
    repo.commit(**{".gitattributes": "*.soft filter=soft\n*.hard filter=hard\n", "x.soft": "one\n",
                   "x.hard": "one\n"})
    synced(w, other)
    synced(w, repo)
    for name in ("soft", "hard"):
        repo.git("config", "filter.%s.clean" % name, "/nonexistent/filter")
        repo.write(b"x." + name.encode(), b"two\n")
        left_out(w, repo, "filter " + name, "failed")
        repo.git("config", "filter.%s.clean" % name, "tr a-z A-Z")
    same(changes(w, repo.dir)[0], {"x.soft": ("TWO\n", "uncommitted"), "x.hard": ("TWO\n", "uncommitted")},
         "mended")


def talking_filter(w):
    """git status runs a filter, too, which may say what it likes; it is passed on."""
    repo = Repo(w, "app")
    repo.git("config", "filter.talks.clean", "echo 'cleaned: 1 file, \033 all well' >&2; tr a-z A-Z")
    repo.commit(a="one\n", **{".gitattributes": "a filter=talks\n"})
    synced(w, repo)
    repo.write(b"a", b"two\n")
    rc, lines, err = list_changes(w, repo.dir)
    same((rc, told(lines)[0]), (0, {"a": ("TWO\n", "uncommitted")}), "it is no reason to leave the repository out")
    test("cleaned: 1 file, \\x1B all well" in err, "and is shown, as far as it can be", err)


def big_and_converted(w):
    """What counts is how long the stored text is: git-lfs keeps a pointer of a large file."""
    repo = Repo(w, "app")
    repo.git("config", "filter.lfs.clean", "printf 'pointer '; wc -c")
    repo.commit(**{".gitattributes": "*.big filter=lfs\n*.txt text\n"})
    repo.write(b"x.big", b"x" * 20000000)
    repo.write(b"fits.txt", b"123456789\r\n" * 600000)
    repo.write(b"long.txt", b"123456789\r\n" * 600000 + b"x")
    same({p: t[0][:20] for p, t in changes(w, repo.dir)[0].items() if p != ".gitattributes"},
         {"x.big": "pointer 20000000\n", "fits.txt": "123456789\n" * 2, "long.txt": "longer than 6000000 "},
         "its text after the filter")


def processes(w):
    """How many a clean working tree and a changed one need: git says when one is started."""
    repo = Repo(w, "app")
    repo.commit(**{"f%d" % n: "text %d\n" % n for n in range(30)}, **{"dos/x": "a\r\n"})
    synced(w, repo)
    counted = os.path.join(w.dir, "counted")
    env = script(w, "git", 'echo "$*" >>%s; exec %s "$@"\n' % (counted, REAL_GIT))

    def count():
        open(counted, "w").close()
        changes(w, repo.dir, **env)
        with open(counted, encoding="utf-8") as f:
            return len(f.readlines())
    clean = count()
    for n in range(0, 30, 2):
        repo.write(b"f%d" % n, b"edited\r\n")
    repo.write(b"binary", b"\0\r\n")
    same(count() - clean, 2, "attributes and configuration are asked for once, line ends or not")
    repo.write(b".gitattributes", b"dos/* text=auto\n")
    before = count()
    repo.write(b"dos/new", b"a\r\n")
    test(count() - before <= 4, "a file that is converted needs a few")


def nothing_is_left(w):
    """Ended while a filter is at work: the temporary folder is gone."""
    repo = Repo(w, "app")
    begun, held, tmp = (os.path.join(w.dir, n) for n in ("begun", "held", "tmp"))
    os.mkdir(tmp)
    pipes = []
    for name in (begun, held):
        os.mkfifo(name)
        pipes.append(os.open(name, os.O_RDWR))
    repo.git("config", "filter.waits.clean", "echo >%s; read line <%s" % (begun, held))
    repo.commit(**{".gitattributes": "*.waits filter=waits\n"})
    repo.write(b"a.waits", b"a\n")
    for how in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        child = start_producer(w, repo.dir, TMPDIR=tmp)
        same(select.select(pipes[:1], [], [], 60)[0], pipes[:1], "the filter begins")
        os.read(pipes[0], 1)
        same(len(os.listdir(tmp)), 1, "there is a folder for what git stores")
        child.send_signal(how)
        same((child.wait(600), os.listdir(tmp)), (-how, []), "%s: it is gone" % how.name)
        os.write(pipes[1], b"\n")
        child.communicate()
    for pipe in pipes:
        os.close(pipe)


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


def left_out(w, repo, what, said):
    """Nothing of it is listed, nothing is deleted, and that is said; another repository is listed."""
    rc, lines, err = list_changes(w, repo.dir, os.path.join(w.root, "other"))
    same((rc, {json.loads(line)["repo"] for line in lines}), (1, {"other"}), what + ": it is left out")
    test("app' is left out: " in err and said in err, "it is said", err)
    held = w.documents()
    w.sync(lines)
    same(w.documents(), held, "nothing of it is deleted")


def not_seen(w):
    """What git only warns of, and goes on as if it were not there."""
    repo, other = Repo(w, "app"), Repo(w, "other")
    repo.commit(a="a\n", **{"known/f": "f\n", ".gitignore": "*.o\n", ".gitattributes": "x text\n"})
    other.commit(x="x\n")
    repo.write(b"new/f", b"new\n")
    repo.write(b"a", b"edited\n")
    repo.write(b"secret.o", b"secret\n")
    synced(w, repo)
    synced(w, other)
    for name, mode, said in [(b"new", 0, "could not open directory 'new/'"), (b"known", 0, "known/f: "),
                             (b"known", 0o644, "known/f: "), (b".gitignore", 0, "unable to access '.gitignore'"),
                             (b".git/info/exclude", 0, "unable to access '.git/info/exclude'"),
                             (b".gitattributes", 0, "unable to access '.gitattributes'"),
                             (b".git/index", 0, "index file open failed"), (b".git/config", 0, ".git/config"),
                             (b".git/objects", 0, "not a git repository"),
                             (b".git", 0, "not a git repository")]:
        was = os.stat(repo.path(name)).st_mode
        os.chmod(repo.path(name), mode)
        left_out(w, repo, "%s with mode %o" % (name.decode(), mode), said)
        os.chmod(repo.path(name), was)
        synced(w, repo)
    os.unlink(repo.path(b".gitignore"))
    os.symlink("elsewhere", repo.path(b".gitignore"))
    repo.write(b".git/info/exclude", b"*.o\n")
    got, _ = changes(w, repo.dir)
    same(got[".gitignore"], ("symlink", "uncommitted"),
         "a .gitignore that is a link, which git does not follow, is no fault")
    rc, lines, err = list_changes(w, repo.dir, LC_ALL="C.UTF-8", LANGUAGE="de", GIT_TRACE="1")
    same((rc, last_of(lines) is None, err), (0, False, ""), "nor is what is asked for in the environment")


def head_not_seen(w):
    """HEAD does not lead to a commit, and that is not because there is none."""
    repo, other = Repo(w, "app"), Repo(w, "other")
    head = repo.commit(a="a\n", b="b\n")
    other.commit(x="x\n")
    repo.git("tag", "v1")
    synced(w, repo)
    synced(w, other)
    subprocess.run(["git", "clone", "-q", "--mirror", repo.dir, repo.dir + b".mirror"], check=True, env=w.env)
    with open(repo.dir + b".mirror/refs/tags/v1", "w", encoding="ascii") as f:
        f.write(head + "\n")
    os.unlink(repo.dir + b".mirror/packed-refs")

    def at(git_dir, name, text=None, mode=None):
        path = os.path.join(git_dir, name)
        if text is None and mode is None:
            os.unlink(path)
        elif text is not None:
            with open(path, "wb") as f:
                f.write(text)
        else:
            os.chmod(path, mode)
    missing = b"1234567890" * 4 + b"\n"
    for how, said in [((b"refs/heads/main",), "names the branch 'main', which is not there"),
                      ((b"refs/heads/main", b""), "cannot be read"),
                      ((b"refs/heads/main", b"no commit\n"), "cannot be read"),
                      ((b"refs/heads/main", missing), ""), ((b"HEAD", missing), ""), ((b"HEAD", b""), ""),
                      ((b"HEAD", b"ref: refs/heads/renamed\n"), "'renamed', which is not there"),
                      ((b"refs/heads/main", None, 0), "cannot be read"),
                      ((b"refs/heads", None, 0), "cannot be read")]:
        for kind in ("repository", "mirror"):
            kept = repo.dir + b".kept"
            os.rename(repo.dir, kept)
            shutil.copytree(kept if kind == "repository" else kept[:-5] + b".mirror", repo.dir)
            git_dir = repo.path(b".git") if kind == "repository" else repo.dir
            at(git_dir, b"refs/heads/main", head.encode() + b"\n")
            at(git_dir, *how)
            left_out(w, repo, "%s, %r" % (kind, how), said)
            if how[0] == b"refs/heads":
                os.chmod(os.path.join(git_dir, b"refs/heads"), 0o755)
            shutil.rmtree(repo.dir)
            os.rename(kept, repo.dir)
    repo.git("tag", "-d", "v1")
    repo.git("update-ref", "-d", "refs/heads/main")
    left_out(w, repo, "all branches are gone", "no commit any more")
    shutil.rmtree(repo.path(b".git"))
    repo.git("init", "-q")
    left_out(w, repo, "made anew", "no commit any more, and linesync knows it at '%s'" % head)
    w.ask("forget", "app")
    w.sync([put("a", "a\n", "app"), record("told", "app")])
    left_out(w, repo, "known as told", "no commit any more, and linesync knows it at 'told'")


def renamed_upstream(w):
    """A mirror whose HEAD names a branch that upstream has given another name."""
    repo, other = Repo(w, "up"), Repo(w, "other")
    repo.commit(a="one\n")
    other.commit(x="x\n")
    mirror = Repo(w, "app", init=False)
    subprocess.run(["git", "clone", "-q", "--mirror", repo.dir, mirror.dir], check=True, env=w.env)
    w.sync(list_changes(w, mirror.dir, other.dir)[1])
    repo.git("branch", "-m", "main", "trunk")
    repo.commit(a="two\n")
    mirror.git("fetch", "-q", "--prune")
    left_out(w, mirror, "a mirror", "symbolic-ref HEAD")
    mirror.git("symbolic-ref", "HEAD", "refs/heads/trunk")
    got, _ = changes(w, mirror.dir)
    same(got, {"a": "two\n"}, "what the message says to type mends it")


def worktree_without_repository(w):
    repo, other = Repo(w, "main"), Repo(w, "other")
    repo.commit(a="a\n")
    other.commit(x="x\n")
    repo.git("worktree", "add", "-q", b"../app")
    w.sync(list_changes(w, os.path.join(w.root, "app"), other.dir)[1])
    shutil.rmtree(repo.dir)
    left_out(w, Repo(w, "app", init=False), "its repository is gone", "not a git repository")


def ignored(w):
    """Was tracked once, is ignored now: git would not store it, so neither do we."""
    repo = Repo(w, "app")
    repo.commit(a="a\n", secret="one\n", other="one\n")
    repo.write(b"loose", b"in no commit\n")
    synced(w, repo)
    repo.git("rm", "-q", "--cached", "secret", "other")
    repo.write(b".git/info/exclude", b"secret\nloose\n")
    repo.write(b"secret", b"two\n")
    got, _ = changes(w, repo.dir)
    same(got, {"secret": ("delete", "uncommitted"), "other": "one\n", "loose": "delete"},
         "removed from the index, or never in it: a delete; without a word in .gitignore it is still there")
    synced(w, repo)
    repo.git("add", "other")
    repo.git("commit", "-q", "-m", "m")
    synced(w, repo)
    same({p for _, p in w.documents()}, {"a", "other"}, "committed, too")


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
    bad = os.path.join(os.fsencode(w.root), b"bad\xff")
    subprocess.run(["git", "init", "-q", bad], check=True, env=w.env)
    broken, dangling = os.path.join(w.root, "broken"), os.path.join(w.root, "dangling")
    os.makedirs(broken + "/.git")
    os.symlink("nowhere", dangling)
    for name, left in [("nothing", os.path.join(w.root, "no")), ("a link to nothing", dangling),
                       ("an empty .git", broken), ("its .git", repo.path(b".git")),
                       ("a name that is not UTF-8", bad)]:
        rc, lines, err = list_changes(w, left, other.dir)
        same((rc, {json.loads(line)["repo"] for line in lines}), (1, {"other"}),
             name + " is left out, others are not")
        test("' is left out: " in err, "it is named", err)
    rc, _, err = list_changes(w, os.path.join(w.root, "turned\u202e\u2066\u200b"))
    same((rc, r"turned\xE2\x80\xAE\xE2\x81\xA6\xE2\x80\x8B' is left out" in err, "\u202e" in err), (1, True, False),
         "what turns text is shown as codes")
    same(list_changes(w, repo.dir, broken + "/../app")[:2], (64, []), "two of one name are refused")
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


def watched(w, *dirs):
    """What it says on a terminal, and its exit status."""
    master, slave = open_terminal()
    child = subprocess.Popen([os.path.join(TOP, "scripts/git-changes"), *dirs], cwd=w.dir,
                             stdin=subprocess.DEVNULL, env={"LINESYNC": program(), **w.env}, stdout=subprocess.DEVNULL, stderr=slave)
    os.close(slave)
    said = b""
    try:
        while piece := os.read(master, 4096):
            said += piece
    except OSError:     # nobody holds the other end any more
        pass
    os.close(master)
    return child.wait(600), said.decode()


def no_repositories(w):
    """What a pattern like ~/src/* names besides: nobody wants to hear of it each quarter of an hour."""
    repo = Repo(w, "app")
    repo.commit(a="a\n", **{"inside/b": "b\n"})
    plain, file = os.path.join(w.root, "plain"), os.path.join(w.root, "file")
    os.makedirs(plain)
    with open(file, "w", encoding="utf-8"):
        pass
    for name, left in [("a folder", plain), ("a file", file),
                       ("a folder within a repository", repo.path(b"inside"))]:
        rc, lines, err = list_changes(w, left, repo.dir)
        same((rc, err, {json.loads(line)["repo"] for line in lines}), (0, "", {"app"}), name + " is passed over")
        shown = os.fsdecode(left) + "' is no git repository"
        rc, _, err = list_changes(w, "-v", left, repo.dir)
        test(rc == 0 and shown in err, "-v names it", err)
        rc, err = watched(w, left, repo.dir)
        test(rc == 0 and shown in err, "and so it is on a terminal", err)
        rc, lines, err = list_changes(w, left)
        same((rc, lines), (1, []), "not if there is nothing else")
        test("is left out: it is no git repository" in err, "it is said", err)
    same(list_changes(w, plain, file, repo.path(b"inside"))[0], 1, "nor if there are several, and no repository")
    os.makedirs(os.path.join(w.root, "elsewhere", "app"))
    same(list_changes(w, os.path.join(w.root, "elsewhere", "app"), repo.dir)[::2], (0, ""),
         "it has no name, so none is in its way")


def no_repository_any_more(w):
    """Its .git is gone, or what was mounted there: never in silence."""
    gone, failed, other = Repo(w, "gone"), Repo(w, "failed"), Repo(w, "other")
    for repo in (gone, failed, other):
        repo.commit(a="a\n")
    w.script({"match": {"kind": "upsert", "content": "a\n"}, "do": {"refuse_objects": True}})
    w.sync(list_changes(w, failed.dir)[1])
    w.script()
    for options in ((), ("--namespace", "N")):
        w.sync(list_changes(w, *options, gone.dir, other.dir)[1], *options)
        for repo in (gone, failed) if not options else (gone,):
            os.rename(repo.path(b".git"), repo.path(b"git"))
            rc, lines, err = list_changes(w, *options, repo.dir, other.dir)
            same((rc, {json.loads(line)["repo"] for line in lines}), (1, {"other"}), "it is left out")
            test("is no git repository any more" in err and
                 "forget %s --delete" % "/".join([*options[1:], repo.name]) in err, "it is said", err)
            os.rename(repo.path(b"git"), repo.path(b".git"))
    same(list_changes(w, gone.dir, other.dir, **fake_linesync(w, "exit 75"))[0], 75, "a repository asks")
    shutil.rmtree(gone.path(b".git"))
    same(list_changes(w, gone.dir, other.dir, **fake_linesync(w, "exit 75"))[:2], (75, []),
         "where linesync does not answer, nothing is guessed")


def one_repository(w):
    """Several working trees, and other ways to the same repository."""
    repo = Repo(w, "app")
    repo.commit(a="a\n")
    repo.git("worktree", "add", "-q", b"../fix")
    subprocess.run(["git", "clone", "-q", "--bare", repo.dir, repo.dir + b".bare"], check=True, env=w.env)
    subprocess.run(["git", "-C", repo.dir + b".bare", "worktree", "add", "-q", b"../one"], check=True,
                   env=w.env)
    other = Repo(w, "other")
    other.commit(x="x\n")
    os.symlink("app", os.path.join(w.root, "link"))

    def at(name):
        return os.path.join(w.root, name)

    def repos(lines):
        return [json.loads(line)["repo"] for line in lines if b"new_changeset" in line]
    for first, main in [("fix", "app"), ("one", "app.bare"), ("link", "app")]:
        for dirs in ([at(first), at(main), other.dir], [at(main), at(first), other.dir]):
            rc, lines, err = list_changes(w, *dirs)
            same((rc, sorted(repos(lines))), (0, sorted([first, main, "other"])), "%s and %s are listed" % (first, main))
            test(err.count("\n") == 1 and "/%s' and '" % first in err and
                 "/%s' are one repository" % main in err, "that they are one repository is said", err)
            rc, lines, err = list_changes(w, "--once", *dirs)
            same((rc, sorted(repos(lines)), err), (0, sorted([main, "other"]), ""), "--once: the main one")
        w.sync(list_changes(w, *dirs)[1])
        same(list_changes(w, *dirs)[::2], (0, ""), "but not again, once linesync knows both")
        test("are one repository" in list_changes(w, "--verbose", *dirs)[2], "unless asked with -v")
        test("the first is left out" in list_changes(w, "-v", "--once", *dirs)[2], "which says also what --once does")
        test("are one repository" in watched(w, *dirs)[1], "as on a terminal")
    same(list_changes(w, at("fix"), other.dir)[::2], (0, ""), "one alone is like any other")


def no_output(w):
    repo = Repo(w, "app")
    for lines in (1, 100000):
        repo.commit(a="a\n" * lines)
        with open("/dev/full", "wb") as full:
            child = start_producer(w, repo.dir, stdout=full)
            err = child.communicate(timeout=600)[1].decode()
        same(child.returncode, 74, "a full disk")
        test("cannot write" in err, "is said", err)


def unreadable(w):
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
                               capture_output=True, check=False, timeout=600)
        producer.stdout.close()
        said = producer.stderr.read()
        producer.stderr.close()
        same((producer.wait(), said, child.returncode, child.stdout), (0, b"", 0, b""), "it is silent")
        same(w.documents(), want, "and all is stored")
    same([w.position(r.name) for r in repos], [r.head() for r in repos], "each stands at its HEAD")


CASES = [working_tree, as_told, commits, names, texts, long_texts, no_documents, sparse,
         without_index, fetched_later, without_commit, bare_and_linked, merging, conversions,
         modes_and_dates, no_conversion, failing_filter, talking_filter, big_and_converted, processes,
         nothing_is_left, lost_position, hostile_position, linesync_fails, what_is_asked,
         git_fails, not_seen, head_not_seen, renamed_upstream, worktree_without_repository,
         ignored, head_moves, link_meanwhile, hostile_repository, environment, folders,
         no_repositories, no_repository_any_more, one_repository, no_output, unreadable, together]


if __name__ == "__main__":
    sys.exit(run_tests(CASES))
