#!/usr/bin/env python3
"""forms.py [-v] [NAME...] - valid input in all its forms: what each line asks for, where its text is
taken from, what is stored, and what must go.  NAMEs: only these."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import urllib.parse
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import HERE, World, delete, put, record, report, run_tests  # noqa: E402

FIXTURES = os.path.join(HERE, "fixtures")
GIT_ENV = dict(GIT_CONFIG_NOSYSTEM="1", GIT_CONFIG_GLOBAL=os.devnull, GIT_AUTHOR_NAME="test",
               GIT_AUTHOR_EMAIL="test@example.org", GIT_COMMITTER_NAME="test",
               GIT_COMMITTER_EMAIL="test@example.org")
DONE, UNCHANGED, OK = "completed", "skipped:unchanged", "ok"
same, test = report.same, report.test


# ---- helpers ----


def write(w, path, data="", root=None):
    """A file below the root, with the folders that lead there; names may be bytes."""
    name = os.path.join(os.fsencode(root or w.root), os.fsencode(path))
    os.makedirs(os.path.dirname(name), exist_ok=True)
    with open(name, "wb") as f:
        f.write(data if isinstance(data, bytes) else data.encode())
    return name


def read(path):
    with open(path, "rb") as f:
        return f.read()


def link(w, path, target):
    write(w, path)
    os.unlink(os.path.join(w.root, path))
    os.symlink(target, os.path.join(w.root, path))


def texts(w, repo="R"):
    return {path: text for (r, path), text in w.documents().items() if r == repo}


def sha256(text):
    return hashlib.sha256(text if isinstance(text, bytes) else text.encode()).hexdigest()


def object_id(repo, path, chunk=0):
    parts = [urllib.parse.quote(x, safe="") for x in ("Code", repo, path)]
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "linesync:%s/%s/%s#%d" % (*parts, chunk)))


def git(where, *args):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    return subprocess.run(["git", "-C", where, *args], env=dict(clean, **GIT_ENV),
                          stdout=subprocess.PIPE, check=True, timeout=600).stdout


def git_init(where):
    os.makedirs(where, exist_ok=True)
    git(where, "init", "-q", "-b", "main")


def commit_all(where):
    git(where, "add", "-A")
    git(where, "commit", "-q", "-m", "a version")
    return git(where, "rev-parse", "HEAD").decode().strip()


def expect(ended, rc, verdicts, name):
    """verdicts: of the lines from 1 on; None where there is no result, OK where it is a matter of time
    which of several lines for one document is sent."""
    want = {i + 1: v for i, v in enumerate(verdicts) if v}
    got = {
        n: OK if want.get(n) == OK and v in (DONE, UNCHANGED, "superseded") else v
        for n, v in ended.verdicts().items()}
    return same((ended.rc, got), (rc, want), name) or report.note(ended.err)


def in_order(ended):
    return sorted(ended.results, key=lambda r: r["line"])


# ---- what mgit prints ----


def fixture(*name):
    return read(os.path.join(FIXTURES, *name))


def make_repos(w):
    w.root = os.path.join(w.dir, "repos")
    clean = {k: v for k, v in w.env.items() if not k.startswith("GIT_")}
    subprocess.run([os.path.join(FIXTURES, "mgit", "make-repos"), w.root], env=dict(clean, **GIT_ENV),
                   check=True, timeout=600)
    w.options += ["--root", w.root]


def mgit(w, *repos):
    """What mgit prints of these repositories, made from git's own output as mgit makes it."""
    out = []
    for repo in repos:
        where = os.path.join(w.root, repo)
        for entry in git(where, "status", "--porcelain").decode().splitlines():
            op = {"??": "add", "D ": "delete"}.get(entry[:2], "modify")
            out.append(dict(repo=repo, op=op, path=entry[3:]))
        commit = git(where, "rev-parse", "HEAD").decode().strip()
        out.append(dict(repo=repo, new_changeset=dict(commit=commit, branch="main")))
    return out


MGIT_VERDICTS = [
    "skipped:not-a-change", DONE, DONE, DONE, DONE, DONE, DONE, "skipped:empty", DONE, "skipped:not-text",
    "skipped:not-text", DONE, "failed:is-a-directory", "skipped:not-text", DONE, "held"]
COMMIT_A = "4ea7b4c39a3c39c90d2fc06d54489235d9a2e89f"
COMMIT_B = "9caad57a3f39ee7c0675c9d95066f8ecf70631f6"


def mgit_documents(w):
    names = ("config.json", "src/main.py", "src/new.py", "café menu.txt", "large.py", "medium.py",
             "untracked.py")
    return {n: read(os.path.join(w.root, "ServiceA", n)).decode() for n in names}


def mgit_checks(w, lines):
    make_repos(w)
    before = [
        put(p, "old", "ServiceA") for p in ("gone.py", "src/old.py", "logo.png", "empty.py", "latin1.py")]
    same(w.sync(before).rc, 0, "what the last commit held is in the store")
    ended = w.sync(lines)
    expect(ended, 1, MGIT_VERDICTS, "each line ends as it should")
    same(texts(w, "ServiceA"), mgit_documents(w),
         "the store holds the files, whole, and nothing of the old ones")
    same(len(w.documents()["ServiceA", "large.py"].encode()), 280890, "also the large one")
    six = ended.of(6)
    same((six["op"], six["path"], six.get("old_path")), ("rename", "src/new.py", "src/old.py"),
         "'old -> new' is a rename")
    same((ended.of(7)["path"], ended.of(16)["waiting"]), ("café menu.txt", 1),
         "the quoted name; one is waited for")
    said = ended.of(13)["error"]["message"]
    test("showUntrackedFiles all" in said, "the message says how git lists the files in it", said)
    same((w.position("ServiceA"), w.position("ServiceB")), (None, COMMIT_B),
         "only the clean repository has a position")


def mgit_diff(w):
    mgit_checks(w, fixture("mgit", "diff.jsonl"))


def mgit_embedded(w):
    mgit_checks(w, fixture("mgit", "diff-embed-content.jsonl"))
    objects = w.objects()
    for path, text in mgit_documents(w).items():
        got = objects["ServiceA", path]
        same((got["content_hash"], got["truncated"], got["size_bytes"]),
             (sha256(text), False, len(text.encode())), "%s: hash, size, and not truncated" % path)
    ended = w.sync(fixture("mgit", "diff.jsonl"), "--force")
    same((ended.rc, texts(w, "ServiceA")), (1, mgit_documents(w)), "the same texts as without content")


def mgit_untracked(w):
    lines = fixture("mgit", "diff.jsonl")
    make_repos(w)
    printed = [json.loads(x) for x in lines.splitlines()[1:]]
    same(mgit(w, "ServiceB", "ServiceA"), printed, "the fixture is what git says")
    expect(w.sync(lines), 1, MGIT_VERDICTS, "the untracked folder holds the changeset")
    for repo in "ServiceA", "ServiceB":
        git(os.path.join(w.root, repo), "config", "status.showUntrackedFiles", "all")
    printed = mgit(w, "ServiceB", "ServiceA")
    same([x for x in printed if "newdir" in x.get("path", "")],
         [dict(repo="ServiceA", op="add", path="newdir/z.py")], "git lists its file")
    ended = w.sync([lines.splitlines()[0], *printed])
    expect(ended, 0, ["skipped:not-a-change", DONE] + [UNCHANGED] * 5 + ["skipped:empty", UNCHANGED] +
           ["skipped:not-text"] * 2 + [UNCHANGED, DONE, "skipped:not-text", UNCHANGED, DONE],
           "the next run is done with everything")
    same(w.position("ServiceA"), COMMIT_A, "the changeset is released")
    same(w.documents()["ServiceA", "newdir/z.py"], "Z = 26\n", "and the folder's file is there")
    same([r["failed"] for r in w.repos().values()], [0, 0], "no failure is left")


def tiers(w):
    before = [put(p, "old", "ServiceA") for p in ("docs/manual.pdf", "node_modules/lodash/lodash.js")]
    same(w.sync([*before, put("old.py", "old", "ServiceB")]).rc, 0, "prepared")
    ended = w.sync(fixture("tiers.jsonl"), "--root", FIXTURES)
    expect(ended, 1, [DONE] * 3 + ["skipped:skip-index"] * 2 + [DONE] * 3 + ["failed:no-such-file"] * 2,
           "both changesets completed, lines 9 and 10 failed")
    same((w.position("ServiceA"), w.position("ServiceB")), ("xyz789", "abc123"), "and are the positions")
    same(w.documents(),
        {("ServiceA", "config.json"): '{"api": "v2"}',
         ("ServiceA", "src/auth.py"): 'import os\n\ndef token():\n    return os.environ["TOKEN"]\n',
         ("ServiceA", "docs/large.md"): fixture("refs", "large.md").decode()},
        "each way to carry content; what is not to be indexed is gone")
    same([(ended.of(n).get("repo", ""), ended.of(n)["path"]) for n in (9, 10)],
         [("", "src/plain/path.py"), ("", "src/json/string.py")], "the two that have no file")
    objects = w.objects()
    same([objects["ServiceA", p]["mime_type"] for p in ("config.json", "src/auth.py", "docs/large.md")],
         ["application/json", "text/x-python", "text/markdown"], "with the media types that were given")


def base64_history(w):
    """A history of which each record carries bytes, as a producer replays it: files that become empty, and
    are filled again."""
    def step(path, text, **more):
        return dict(repo="H", op="modify", path=path, size=float(len(text)), line_count=1e0,
                    content_base64=base64.b64encode(text.encode()).decode(), **more)
    write(w, "pkg/__init__.py", "a file of that name that is none of the history's", os.path.join(w.root, "H"))
    ended = w.sync([step("pkg/__init__.py", ""), step("a", "one\n"), record("h1", "H"),
                    step("a", ""), step("pkg/__init__.py", "import a\n"), record("h2", "H", since="h1"),
                    step("pkg/__init__.py", "", content=None), step("a", "two\n"),
                    record("h3", "H", since="h2")])
    same((ended.rc, w.position("H"), w.documents()), (0, "h3", {("H", "a"): "two\n"}), "the last state of each")
    test({ended.status(1), ended.status(7)} <= {"skipped:empty", "superseded"} and ended.status(7) == "skipped:empty",
         "empty ones are empty documents", ended.results)
    same(w.sync([step("a", ""), record("h4", "H", since="h3")]).rc, 0, "the last one becomes empty")
    same(w.documents(), {}, "and is deleted")


# ---- the forms of a line ----


def forms(w):
    for name in "json", "string", "plain", "M\tnot a status", "café", "m", "a", "t", "new", "copy", "old -> x":
        write(w, name, "text of " + name)
    same(w.sync([put(p, "old") for p in ("gone", "old")]).rc, 0, "prepared")
    ended = w.sync([
        '{"path":"json"}', ' {"path":"json","op":"delete"} ', '"str\\u0069ng"', '"caf\\303\\251"',
        "plain", "M\tm", "A\ta", "T\tt", "D\tgone", "R100\told\tnew", "C075\tplain\tcopy",
        '"M\\tnot a status"', "old -> x", "M050\tm", "Detecting changes...   0% -:--:--"], "--repo", "R")
    expect(ended, 0, [OK, OK] + [DONE] * 3 + [OK] + [DONE] * 7 + [OK] + ["skipped:not-a-change"],
           "every form, told apart line by line")
    same([(r.get("op"), r.get("path"), r.get("old_path")) for r in in_order(ended)],
         [("modify", "json", None), ("delete", "json", None), ("modify", "string", None),
          ("modify", "café", None), ("modify", "plain", None), ("modify", "m", None), ("add", "a", None),
          ("modify", "t", None), ("delete", "gone", None), ("rename", "new", "old"),
          ("add", "copy", None), ("modify", "M\tnot a status", None), ("modify", "old -> x", None),
          ("modify", "m", None), (None, ) * 3], "asks for what it says")
    names = "string", "café", "plain", "m", "a", "t", "new", "copy", "M\tnot a status", "old -> x"
    same(texts(w), {n: "text of " + n for n in names}, "and the store holds that")


def fixed_forms(w):
    for name in "plain", '{"path":"plain"}', "M\tplain":
        write(w, name, "text of " + name)
    ended = w.sync(['{"path":"plain"}', "M\tplain", "plain", '"plain"'], "--repo", "R", "--input-format",
                   "paths")
    expect(ended, 0, [DONE, DONE, OK, OK], "paths: braces and tabs are part of a name")
    same(sorted(texts(w)), ["M\tplain", "plain", '{"path":"plain"}'], "which is stored")
    ended = w.sync(['{"path":"plain"}', '"plain"', "plain", "M\tplain"], "--repo", "R", "--input-format",
                   "json")
    expect(ended, 1, [UNCHANGED, UNCHANGED, "failed:bad-form", "failed:bad-form"], "json: nothing else")
    ended = w.sync(["M\tplain", 'M\t"pl\\141in"', "plain", '"plain"', '{"path":"plain"}'], "--repo", "R",
                   "--input-format", "name-status")
    expect(ended, 1, [UNCHANGED] * 2 + ["failed:bad-form"] * 3, "name-status: nothing else")
    ended = w.sync(["plain"], "-z")
    same((ended.rc, ended.results), (64, []), "-z needs one of the last two")


def line_ends(w):
    for name in "crlf", "cut", "café", "bom":
        write(w, name, name)
    lines = ['{"path":"crlf"}', "M\tcrlf", "crlf", "", " \t ", '"crlf"']
    ended = w.sync(b"\xef\xbb\xbf" + "\r\n".join(lines).encode() + b"\r\n\r\n", "--repo", "R")
    expect(ended, 0, [OK, OK, OK, None, None, OK],
           "a byte order mark, CRLF, and blank lines, which count and have no result")
    planned = w.sync(b"\xef\xbb\xbf" + "\r\n".join(lines).encode() + b"\r\n\r\n", "--repo", "R",
                     "--dry-run")
    same([r["line"] for r in planned.results], [1, 2, 3, 6], "--dry-run sees the same lines")
    ended = w.sync(b"\xef\xbb\xbfbom", "--repo", "R")
    expect(ended, 0, [DONE], "a byte order mark before a path")
    for end, name in ((b'{"repo":"R","path":"d","content":"D"}', "an object"),
                      (b'"cut"', "a JSON string"), (b'{"repo":"R","path":"d","content":"D"} \r',
                                                    "an object and a carriage return"),
                      (b"cut", "a path whose file exists"), (b'"caf\\303\\251"', "a quoted one")):
        ended = w.sync(b"bom\n" + end, "--repo", "R")
        same((ended.rc, len(ended.results), ended.of(2)["status"] in ("completed", "skipped")),
             (0, 2, True), "a last line without its newline: " + name)
    for end, name in ((b"cu", "a path without a file"), (b'"caf\\303', "a quote that is cut"),
                      (b"D\tcut", "name-status"), (b'{"repo":"R","path":"d"', "an object that is cut")):
        ended = w.sync(b"bom\n" + end, "--repo", "R", "--no-retry")
        expect(ended, 1, [UNCHANGED, "failed:cut-line"], "it fails: " + name)
    same(texts(w), dict(crlf="crlf", bom="bom", cut="cut", café="café", d="D"),
         "the store holds what was whole")
    for form, data, verdict in (("paths", b"bom\0cut", UNCHANGED), ("paths", b"bom\0cu", "failed:cut-line"),
                                ("name-status", b"M\0bom\0M\0cut", "failed:cut-line"),
                                ("name-status", b"M\0bom\0R100\0cut\0", "failed:cut-line")):
        ended = w.sync(data, "--repo", "R", "--no-retry", "-z", "--input-format", form)
        same((ended.status(1), ended.verdicts()[2]), (UNCHANGED, verdict), "-z: %r" % data)


ODD_NAMES = [
    b"plain.py", b'quo"te', b"back\\slash", b"tab\there", b"new\nline", b"return\r", "café".encode(),
    b"-dash", b"--exclude", b"trailing ", b" leading", b"a -> b", b"old => new", b'"quoted"',
    b"M\tlike-status", b"R100\tx\ty", b"bell\a", b"dir with blank/'single'/$(x)",
    b"\xe2\x80\xa8separator", b"*.[ch]?"]
RAW_NAMES = [b" ", b"{brace", b"Detecting changes...   0% -:--:--", b"A"]


def git_names(w):
    """All names that a file can have, as git prints them."""
    git_init(w.root)
    names = ODD_NAMES + RAW_NAMES
    for name in names:
        write(w, name, b"text of " + name)
    git(w.root, "add", "-A")
    want = {n.decode(): "text of " + n.decode() for n in names}
    ended = w.sync(git(w.root, "ls-files", "-z"), "-z", "--input-format", "paths", "--repo", "R")
    expect(ended, 0, [DONE] * len(names), "git ls-files -z")
    same(texts(w), want, "every name is stored as it is")
    for name in RAW_NAMES:
        os.unlink(os.path.join(os.fsencode(w.root), name))
    git(w.root, "add", "-A")
    for form in "auto", "paths":
        option = [] if form == "auto" else ["--input-format", form]
        for quote in "true", "false":
            listed = git(w.root, "-c", "core.quotePath=" + quote, "ls-files")
            ended = w.sync(listed, *option, "--repo", "R", "--new-run")
            expect(ended, 0, [UNCHANGED] * len(ODD_NAMES),
                   "git ls-files, core.quotePath %s, %s" % (quote, form))
    write(w, b"\xff\xfe", b"x")
    git(w.root, "add", "-A")
    for option in ["-z"], []:
        ended = w.sync(git(w.root, "ls-files", *option), "--input-format", "paths", "--repo", "R",
                       "--no-retry", *option)
        same((ended.rc, sorted(ended.verdicts().values())[0], len(ended.results)),
             (1, "failed:bad-path", len(ODD_NAMES) + 1), "a name that is not UTF-8 %s" % option)


def change_tree(w, moved):
    """Names are modified, deleted, renamed, copied; returns what the store should hold then."""
    for i, name in enumerate(ODD_NAMES):
        if i % 4 == 0:
            write(w, name, b"new text of " + name)
        elif i % 4 == 1:
            os.unlink(os.path.join(os.fsencode(w.root), name))
        elif i % 4 == 2:
            old, new = (os.path.join(os.fsencode(w.root), x) for x in (name, moved + name))
            os.makedirs(os.path.dirname(new), exist_ok=True)
            os.rename(old, new)
    source = os.path.join(w.root, "a -> b")
    shutil.copy(source, os.path.join(w.root, "a\tcopy "))
    with open(source, "ab") as f:
        f.write(b" and more\n")
    out = {}
    for folder, folders, files in os.walk(w.root):
        folders[:] = [f for f in folders if f != ".git"]
        for f in files:
            name = os.path.join(folder, f)
            out[os.path.relpath(name, w.root)] = read(name).decode()
    return out


def git_name_status(w):
    """R, C, A, M and D of two commits, with odd names, applied one after the other in each form."""
    git_init(w.root)
    for name in ODD_NAMES:
        write(w, name, b"text of " + name + b"\n" + b"a line\n" * 20)
    versions = [commit_all(w.root)]
    for form in ("-z", "true", "false"):
        git(w.root, "checkout", "-q", "-B", "main", versions[0])
        v = World(w.verbose)
        v.root = w.root
        try:
            ended = v.sync(git(w.root, "ls-files", "-z"), "--root", w.root, "--repo", "R", "-z",
                           "--input-format", "paths")
            same(ended.rc, 0, "the first version")
            want = change_tree(w, b'moved "here"/')
            after = commit_all(w.root)
            diff = ["diff", "--name-status", "-M", "-C", "--find-copies-harder", versions[0], after]
            if form == "-z":
                printed = git(w.root, *diff, "-z")
                letters = [
                    f[:1] for f in printed.split(b"\0")
                    if f[:1] in b"AMDRC" and f[1:].isdigit() or f in (b"M", b"D")]
                ended = v.sync(printed, "--root", w.root, "--repo", "R", "-z", "--input-format",
                               "name-status")
            else:
                printed = git(w.root, "-c", "core.quotePath=" + form, *diff)
                letters = [line[:1] for line in printed.splitlines()]
                ended = v.sync(printed, "--root", w.root, "--repo", "R")
            same(sorted(set(letters)), [b"C", b"D", b"M", b"R"],
                 "git prints modified, deleted, renamed and copied")
            expect(ended, 0, [DONE] * len(letters), "git diff --name-status, " + form)
            same(texts(v), want, "the store holds the second version")
        finally:
            v.close()


def type_changes(w):
    git_init(w.root)
    for name in "to-link", "to-file", "to-folder":
        write(w, name, "a file")
    link(w, "to-file", "to-link")
    before = commit_all(w.root)
    ended = w.sync(git(w.root, "ls-files"), "--repo", "R")
    expect(ended, 0, ["skipped:symlink", DONE, DONE], "a link and two files")
    os.unlink(os.path.join(w.root, "to-file"))
    write(w, "to-file", "a file now")
    link(w, "to-link", "to-file")
    os.unlink(os.path.join(w.root, "to-folder"))
    write(w, "to-folder/inside", "inside")
    after = commit_all(w.root)
    printed = git(w.root, "diff", "--name-status", "--no-renames", before, after)
    same(printed, b"T\tto-file\nD\tto-folder\nA\tto-folder/inside\nT\tto-link\n", "git says so")
    ended = w.sync(printed, "--repo", "R")
    expect(ended, 0, [DONE, DONE, DONE, "skipped:symlink"], "types change")
    same(texts(w), {"to-file": "a file now", "to-folder/inside": "inside"},
         "and what became a link is gone")


# ---- fields ----


def json_paths(w):
    """The path of a record: quoted as git does, mgit's arrow, and what is none."""
    for name in "café", "a -> b", "new name.py", 'x -> "y"', "kept.py":
        write(w, name, "text of " + name)
    same(w.sync([put(p, "old") for p in ("a", "b", "old name.py", "x -> z", "kept.py")]).rc, 0, "prepared")
    ended = w.sync([
        dict(repo="R", path='"caf\\303\\251"'),
        dict(repo="R", path="a -> b"),
        dict(repo="R", path='"old name.py" -> "new name.py"'),
        dict(repo="R", path='"x -> z" -> "caf\\303\\251"'),
        dict(repo="R", path='"x -> \\"y\\""'),
        put("p -> q", "with content"),
        dict(repo="R", op="delete", path="s -> t")], "--repo", "R")
    expect(ended, 0, [OK, DONE, DONE, OK, DONE, DONE, DONE], "names and arrows")
    same([(r["op"], r.get("old_path"), r["path"]) for r in in_order(ended)], [
        ("modify", None, "café"), ("modify", None, "a -> b"), ("rename", "old name.py", "new name.py"),
        ("rename", "x -> z", "café"), ("modify", None, 'x -> "y"'), ("modify", None, "p -> q"),
        ("delete", None, "s -> t")],
         "an arrow is a rename, unless a file has that name, or content comes with it")
    same(texts(w), {
        "a": "old", "b": "old", "kept.py": "old", "p -> q": "with content", **{
                n: "text of " + n for n in ("café", "a -> b", "new name.py", 'x -> "y"')}},
        "and only then is something deleted")
    ended = w.sync([
        dict(repo="R", op="rename", old_path='"kept.py"', path='"moved\\056py"', content="moved"),
        dict(repo="R", op="rename", path="a -> new name.py")], "--repo", "R")
    expect(ended, 0, [DONE, DONE], "op rename, with old_path or with an arrow")
    same((sorted(texts(w)), texts(w)["moved.py"]),
         (['a -> b', 'b', 'café', 'moved.py', 'new name.py', 'p -> q', 'x -> "y"'], "moved"), "moves")
    left = sorted(texts(w))
    ended = w.sync([dict(repo="R", path='"b -> nowhere"')], "--repo", "R", "--no-retry")
    expect(ended, 1, ["failed:no-such-file"], "a quoted name has no arrow")
    same(sorted(texts(w)), left, "nothing is deleted for it")


def only_given_vectors(w):
    w.options = w.options[:-2]
    ended = w.sync([put("a", "text", vector=[1, 0, 0]), put("b", "text"), put("c", "text", vector=[1, 0])])
    expect(ended, 1, [DONE, "failed:bad-vector", "failed:bad-vector"],
           "nobody named an embedder, and the first line brought its vector: each must")
    test("bring its own, of 3 numbers" in ended.of(2)["error"]["message"], "and that is said", ended.results)
    same(list(w.objects()), [("R", "a")], "no vector is made up among them")
    ended = w.sync([put("d", "text", vector=[0, 1, 0])], "--no-retry")
    same(ended.status(1), DONE, "later lines that bring theirs are stored")
    ended = w.sync([put("b", "text")], "--no-retry", "--embed", "hash:3")
    same((ended.rc, ended.results), (78, []), "another embedder is refused")


def vectors(w):
    given = [0.5, -1.25, 3e-5, 7, 0, -2, 1, 0]
    ended = w.sync([
        put("a", "text", vector=given),
        put("b", "text", vector=[1, 0, 0, 0.0] * 2),
        put("c", "text")])
    expect(ended, 0, [DONE] * 3, "some lines bring theirs")
    objects = w.objects()
    close = all(abs(x - y) <= 1e-7 * abs(y) for x, y in zip(objects["R", "a"]["vector"], given))
    same((len(objects["R", "a"]["vector"]), close, objects["R", "b"]["vector"]), (8, True, [1, 0, 0, 0] * 2),
         "they are stored")
    same((len(objects["R", "c"]["vector"]), any(objects["R", "c"]["vector"])), (8, True),
         "one that is not given is made")
    same(w.sync([put("a", "text", vector=given)]).status(1), UNCHANGED, "the same vector is unchanged")
    same(w.sync([put("a", "text", vector=list(range(8)))]).status(1), DONE, "another is not")
    same(w.objects()["R", "a"]["vector"], list(range(8)), "and takes its place")
    same((w.sync([put("a", "text")]).status(1), w.objects()["R", "a"]["vector"]),
         (DONE, objects["R", "c"]["vector"]), "nor does it stay when none is given")


# ---- what is stored ----


def properties(w):
    same((object_id("ServiceA", "src/main.py"), object_id("team/ServiceA", "café menu.txt", 3)),
         ("e417b55a-2ea2-5a2a-9306-c568b130e26b", "02c8f33a-02dd-512e-81e3-64a0c03bb0dc"),
         "ids, computed here as well")
    text = "import os\nprint(1)"
    ended = w.sync([
        put("src/Main.PY", text, "ServiceA"),
        put("src/main.py", text, "ServiceA"),
        put("no extension", "é\n", "ServiceA"),
        put(".hidden", "x\n\n", "")])
    expect(ended, 0, [DONE] * 4, "stored")
    same([ended.of(n)["id"] for n in (2, 1)],
         ["e417b55a-2ea2-5a2a-9306-c568b130e26b",
          object_id("ServiceA", "src/Main.PY")], "ids")
    objects = w.objects()
    same({o["id"] for o in objects.values()}, {object_id(*d) for d in objects}, "of all objects")
    for o in objects.values():
        del o["vector"], o["id"]
        test(len(o.pop("sync_digest")) == 32 and o.pop("synced_at")[10] == "T",
            "digest and time: " + o["file_path"])
    common = dict(repository="ServiceA", truncated=False, chunk_index=0, chunk_count=1, start_line=1)
    same(objects["ServiceA", "src/Main.PY"],
        dict(common, file_path="src/Main.PY", file_name="Main.PY", content=text, language="Python",
             extension="py", mime_type="text/x-python", size_bytes=18, line_count=2,
             content_hash=sha256(text), end_line=2), "all properties")
    same(objects["ServiceA", "no extension"],
        dict(common, file_path="no extension", file_name="no extension", content="é\n", size_bytes=3,
             line_count=1, content_hash=sha256("é\n"), end_line=1), "of a file of no known kind")
    same(objects["", ".hidden"],
        dict(common, repository="", file_path=".hidden", file_name=".hidden", content="x\n\n",
             size_bytes=3, line_count=2, content_hash=sha256("x\n\n"), end_line=2),
        "without a repository")


def replaced(w):
    """A replaced object keeps nothing of the old one."""
    full = dict(size=1, mime="text/odd", charset="x", is_truncated=True, line_count=9, metadata={"a": 1},
                vector=[1] * 8)
    same(w.sync([put("d", "bare"), put("twin", "bare")]).rc, 0, "stored bare")
    bare = w.objects()["R", "d"]
    same(w.sync([put("d", "full", **full)]).status(1), DONE, "with all there can be")
    got = w.objects()["R", "d"]
    same((set(got) - set(bare), got["vector"]), ({"mime_type", "charset", "metadata"}, [1] * 8),
         "it has more")
    same(w.sync([put("d", "bare")]).status(1), DONE, "bare again")
    back = w.objects()["R", "d"]
    bare["synced_at"] = back["synced_at"]
    same(back, bare, "nothing is left of it")
    same(w.sync([put("d.py", "p"),
                dict(repo="R", op="rename", old_path="d.py", path="e", content="p")]).rc, 0, "renamed")
    same(("language" in w.objects()["R", "e"], ("R", "d.py") in w.objects()), (False, False),
         "nothing of its old name either")


def repositories(w):
    """--repo, --namespace: ids, properties, positions."""
    for folder in "", "own", "ServiceA":
        write(w, os.path.join(folder, "f"), "in '%s'" % folder)
    lines = [
        "f",
        dict(path="f", repo=None),
        dict(path="f", repo=""),
        dict(path="f", repo="own"),
        dict(repo="ServiceA", path="src/main.py", content="x"),
        record("1", "ServiceA"),
        dict(new_changeset=dict(commit="2"))]
    verdicts = [OK, OK, OK, DONE, DONE, DONE, DONE]
    expect(w.sync(lines), 0, verdicts, "no repository, and given ones")
    same(sorted(w.documents()), [("", "f"), ("ServiceA", "src/main.py"), ("own", "f")],
         "they are the properties")
    expect(w.sync(lines, "--repo", "D", "--new-run"), 0, verdicts[:3] + [UNCHANGED] * 2 + verdicts[5:],
           "--repo")
    same(w.documents()["D", "f"], "in ''", "is that of lines that name none")
    expect(w.sync(lines, "--repo", "D", "--namespace", "team", "--new-run"), 0, verdicts, "--namespace")
    objects = w.objects()
    same(sorted(d for d in objects if d[0].startswith("team")),
         [("team/D", "f"), ("team/ServiceA", "src/main.py"), ("team/own", "f")], "stands before each")
    same((objects["team/own", "f"]["content"], objects["team/D", "f"]["content"]), ("in 'own'", "in ''"),
         "but is no part of a folder's name")
    same(objects["team/ServiceA", "src/main.py"]["id"], object_id("team/ServiceA", "src/main.py"),
         "and is in the id")
    same([w.position(r) for r in ("", "ServiceA", "D", "team/ServiceA", "team/D")],
         ["2", "1", "2", "1", "2"], "each repository has its position")
    expect(w.sync(["f"], "--namespace", "team", "--new-run"), 0, [DONE], "a namespace alone")
    same(w.documents()["team", "f"], "in ''", "is the name then")


# ---- files ----


def folders(w):
    """Where the files of a repository are: the first of five rules that fits, once for each."""

    def of(*options, repo="R", **files):
        root = os.path.join(w.dir, "root%d" % len(os.listdir(w.dir)))
        os.mkdir(root)
        for name, text in files.items():
            write(w, name.replace("_", "/"), text, root)
        for folder in [f for f in options if not f.startswith("--")]:
            if folder == "worktree":
                write(w, "R/.git", "gitdir: /elsewhere\n", root)
            else:
                os.makedirs(os.path.join(root, folder))
        given = [o for o in options if o.startswith("--")]
        line = dict(repo=repo, path="f") if not given else dict(path="f")
        ended = w.sync([line], "--root", root, *given, *(["R"] if given else []), "--force", "--no-retry")
        return w.documents().get((repo, "f")) if ended.rc == 0 else ended.verdicts()[1]

    both = dict(f="root", R_f="folder")
    same(of("R/.git", ".git", **both), "folder", "1: ROOT/repo with .git")
    same(of("worktree", ".git", **both), "folder", "1: .git may be a file, as in a worktree")
    same(of("R/.git", ".git", f="root"), "failed:no-such-file", "1: and nowhere else")
    same(of(".git", **both), "root", "2: ROOT with .git")
    same(of(".git", R_f="folder"), "failed:no-such-file", "2: and nowhere else")
    same(of(**both), "folder", "3: ROOT/repo")
    same(of("R", f="root"), "failed:no-such-file", "3: and nowhere else")
    same(of("--repo", **both), "folder", "3: also with --repo")
    same(of("--repo", f="root"), "root", "4: ROOT for --repo")
    same(of(repo="", f="root"), "root", "4: and for none")
    same(of(f="root"), "failed:no-such-file", "5: else there is none")
    same(of("--repo", "R/.git", **both), "folder", "1 comes before 4")
    same(of("g/R/.git", repo="g/R", f="root", g_R_f="folder"), "folder",
         "a repository's name may have slashes")

    write(w, "f", "root")
    ended = w.sync([
        put("other", "x"), dict(path="f"),
        dict(path="g"), dict(path="g", repo="S")], "--repo", "R", "--no-retry")
    expect(ended, 1, [DONE, DONE, "failed:no-such-file", "failed:no-such-file"], "chosen")
    write(w, "R/f", "folder")
    write(w, "g", "root")
    write(w, "R/g", "folder")
    elsewhere = os.path.join(w.dir, "elsewhere")
    os.mkdir(elsewhere)
    ended = w.sync([put("h", "H")], "--root", elsewhere)
    same([r["status"] for r in ended.results if r.get("retried") and r["line"] == 3], [DONE],
         "a retry from elsewhere")
    same(w.documents().get(("R", "g")), "root", "reads where the line was looked for")


def default_root(w):
    """Without --root: the current folder, which World makes the one above its root."""
    w.options = [o for o in w.options if o not in ("--root", w.root)]
    write(w, "f", "F")
    same((w.sync(["root/f"]).rc, w.documents()), (0, {("", "root/f"): "F"}), "the current folder")


def absolute_paths(w):
    for name in "R/.git/x", "R/src/a", "R/src/c", "S/b", "top":
        write(w, name, "text of " + name)
    same(w.sync([put("src/old", "old"), put("src/old2", "old")]).rc, 0, "prepared")
    os.symlink(w.root, os.path.join(w.dir, "linked"))
    root = os.path.join(w.dir, "linked")
    for given, name in (([], "--root"), (["--root", root], "--root that is a link")):
        top = given[-1] if given else w.root
        ended = w.sync([
            dict(repo="R", path=top + "/R/src/a"),
            dict(repo="R", op="delete", path=top + "/R/src/old"),
            dict(repo="R", path=top + "//R/./src/x/../a"),
            dict(repo="R", path="src//./a"),
            "M\t" + top + "/S/b",
            top + "/top",
            dict(repo="R", op="rename", path=top + "/R/src/c", old_path=top + "/R/src/old2")],
            *given, "--force")
        expect(ended, 0, [OK, OK, OK, OK, DONE, DONE, DONE], "absolute paths below " + name)
        same([(r.get("repo", ""), r["path"]) for r in in_order(ended)],
             [("R", "src/a"), ("R", "src/old"), ("R", "src/a"), ("R", "src/a"), ("", "S/b"), ("", "top"),
              ("R", "src/c")], "are relative to the folder")
    same(sorted(w.documents()), [("", "S/b"), ("", "top"), ("R", "src/a"), ("R", "src/c")],
         "and stored so")


def outside(w):
    write(w, "secret", "secret", w.dir)
    write(w, "R/.git/x")
    write(w, "S/f", "of another repository")
    link(w, "R/up", w.dir)
    link(w, "R/inside", "src")
    write(w, "R/src/f", "f")
    link(w, "R/away", "../../secret")
    link(w, "T", w.dir)
    held = [put(p, "old") for p in ("up/secret", "away", "inside/f")] + [put("secret", "old", "T")]
    same(w.sync(held).rc, 0, "prepared")
    before = w.documents()
    lines = [
        dict(repo="R", path="../secret"),
        dict(repo="R", path="src/../../../secret"),
        dict(repo="R", path="/etc/passwd"),
        dict(repo="R", path=w.dir + "/secret"),
        dict(repo="R", path=w.root + "/S/f"),
        dict(repo="R", path="../S/f"),
        dict(repo="R", path="up/secret"),
        dict(repo="R", path="inside/f"),
        dict(repo="T", path="secret"),
        dict(repo="R", path="x", content_ref="../secret"),
        dict(repo="R", path="x", content_ref=w.dir + "/secret"),
        dict(repo="R", path="x", content_ref="R/up/secret"),
        dict(repo="R", path="x", content_ref="R/away"),
        dict(repo="R", path="x", content_ref="R/../../secret"),
        dict(repo="../..", path="secret"),
        dict(repo="R", op="delete", path="../secret"),
        dict(repo="R", op="rename", old_path="../secret", path="src/f")]
    ended = w.sync(lines)
    expect(ended, 1, ["failed:outside-root"] * 14 + ["failed:no-such-file"] + ["failed:outside-root"] * 2,
           "nothing outside is read")
    same(w.documents(), before, "nor changed")
    write(w, "R/closed/f", "F")
    os.chmod(os.path.join(w.root, "R/closed"), 0o311)
    ended = w.sync([dict(repo="R", path="closed/f")], "--no-retry")
    os.chmod(os.path.join(w.root, "R/closed"), 0o755)
    expect(ended, 0, [DONE], "a folder need not be listed to read from it")
    ended = w.sync([dict(repo="R", path="away"), dict(repo="R", path="up")], "--no-retry")
    expect(ended, 0, ["skipped:symlink"] * 2, "a link by itself is skipped")
    same(("R", "away") in w.documents(), False, "and what the store held of it deleted")


# ---- what is not stored ----


def skipped(w):
    """Each reason, what the store held of it, and that it is settled with that."""
    write(w, "R/.git/x")
    write(w, "R/binary", b"a\0b")
    write(w, "R/latin1", b"caf\xe9")
    write(w, "R/surrogate", b"\xed\xa0\x80")
    write(w, "R/overlong", b"\xc0\xaf")
    write(w, "R/empty", b"")
    write(w, "R/large", b"x" * 51)
    write(w, "R/fits", b"x" * 50)
    write(w, "R/docs/x.min.js", "minified")
    write(w, "R/docs/a.md", "left out")
    link(w, "R/link", "fits")
    link(w, "R/dangling", "nowhere")
    link(w, "R/tolink", "docs")
    write(w, "R/sub/.git/HEAD", "x")
    write(w, "R/worktree/.git", "gitdir: x")
    os.mkdir(os.path.join(w.root, "R/uninitialised"))
    given = base64.b64encode(b"a\0b").decode()
    reasons = [("binary", "not-text"), ("latin1", "not-text"), ("surrogate", "not-text"),
               ("overlong", "not-text"), ("empty", "empty"), ("large", "too-large"),
               ("docs/x.min.js", "excluded"), ("docs/a.md", "excluded"), ("link", "symlink"),
               ("dangling", "symlink"), ("tolink", "symlink"), ("sub", "submodule"),
               ("worktree/", "submodule"), ("uninitialised", "submodule"),
               (dict(path="g1", content="a\0b"), "not-text"),
               (dict(path="g2", content_base64=given), "not-text"),
               (dict(path="g3", content=""), "empty"),
               (dict(path="g4", content="é" * 25 + "x"), "too-large"),
               (dict(path="lib/y.min.js", content="x"), "excluded"),
               (dict(path="g5", content_ref="R/binary"), "not-text"),
               (dict(path="g6", content_ref="R/empty"), "empty"),
               (dict(path="g7", content_ref="R/large"), "too-large"),
               (dict(path="g8", content="x", skip_index=True), "skip-index"),
               (dict(path="g9", skip_index=True, skip_reason="vendor"), "skip-index")]
    lines = [dict(p if isinstance(p, dict) else dict(path=p), repo="R") for p, _ in reasons]
    verdicts = ["skipped:" + r for _, r in reasons]
    options = "--max-content", "50", "--exclude", "*.min.js", "--exclude", "docs/*.md"
    expect(w.sync([*lines, record("0")], *options), 0, [*verdicts, DONE], "nothing of them is stored")
    same((w.writes(), w.position("R")), ([], "0"), "no request is sent for what was never there")
    paths = [line["path"].rstrip("/") for line in lines]
    same(w.sync([put(p, "old") for p in paths] + [put("fits", "old")]).rc, 0, "stored in an earlier form")
    ended = w.sync([*lines, dict(repo="R", path="fits"), record("1")], *options)
    expect(ended, 0, [*verdicts, DONE, DONE], "each with its reason")
    same((texts(w), w.position("R")), ({"fits": "x" * 50}, "1"),
         "what the store held is deleted, and the changeset advances")
    n = len(w.writes())
    expect(w.sync([*lines, record("2")], *options), 0, [*verdicts, DONE], "once more")
    same(len(w.writes()), n, "without a request")
    same(w.sync([delete(p) for p in paths]).verdicts(), {i + 1: UNCHANGED for i in range(len(paths))},
        "they are known to be gone")


# ---- renames ----


def rename(old, new, text=None):
    line = dict(repo="R", op="rename", old_path=old, path=new)
    return dict(line, content=text) if text is not None else line


def swap(w):
    """git's renames are simultaneous."""
    git_init(w.root)
    for name in "a", "b":
        write(w, name, "".join("line %d of %s\n" % (i, name) for i in range(50)))
    before = commit_all(w.root)
    same(w.sync(["a", "b"], "--repo", "R").rc, 0, "prepared")
    first = texts(w)
    for old, new in (("a", "x"), ("b", "a"), ("x", "b")):
        os.rename(os.path.join(w.root, old), os.path.join(w.root, new))
    after = commit_all(w.root)
    for option in [], ["-z"]:
        printed = git(w.root, "diff", "-B", "-M", "--name-status", *option, before, after)
        same(printed.replace(b"\0", b"\t").replace(b"\n", b"\t"), b"R100\tb\ta\tR100\ta\tb\t",
            "git says so")
        ended = w.sync(printed, "--repo", "R", "--force", *option,
                       *(["--input-format", "name-status"] if option else []))
        same((ended.rc, texts(w)), (0, {"a": first["b"], "b": first["a"]}),
             "both names are there, and what was in them is swapped")


TESTS = [forms, fixed_forms, line_ends, json_paths, only_given_vectors, vectors, properties, replaced,
         repositories, folders, default_root, absolute_paths, outside, skipped, tiers, base64_history]
GIT_TESTS = [mgit_diff, mgit_embedded, mgit_untracked, git_names, git_name_status, type_changes, swap]

if __name__ == "__main__":
    if shutil.which("git"):
        TESTS += GIT_TESTS
    else:
        report.note("git is not there: what it prints is left out")
    sys.exit(run_tests(TESTS))
