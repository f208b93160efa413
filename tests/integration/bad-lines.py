#!/usr/bin/env python3
"""bad-lines.py [-v] [NAME...] - every kind of line that asks for nothing that can be done: each has one
result, with its own code and the place in the line, and harms no other line, no document, no changeset
and no terminal.  NAMEs: only these tests."""

import json
import os
import re
import shutil
import socket
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import (as_line, find_list, program, put, record, report,  # noqa: E402
                     run_tests)

same, test = report.same, report.test

RETRYABLE = {"content-error", "no-such-file", "unreadable", "store-rejected", "store-failed"}
ESC = b"\x1b[31m\x1b]0;owned\x07\r"


def rec(more, path="p"):
    """The text of a record of R with these members, which need not be JSON."""
    more = more if isinstance(more, bytes) else more.encode()
    return b'{"repo":"R","path":"%s",%s}' % (path.encode(), more)


def at(line, part, offset=0):
    """Where part stands in line."""
    return line.index(part) + offset


def failed(name, line, code, offset=None):
    """offset: a number, or the part of the line where it is."""
    line = as_line(line)
    if isinstance(offset, bytes):
        offset = line.index(offset)
    return name, line, "failed:" + code, offset


def skipped(name, line, reason):
    return name, as_line(line), "skipped:" + reason, None


def deep(levels):
    return rec('"x":' + "[" * (levels - 1) + "]" * (levels - 1))


JSON = [
    failed("a brace alone", b"{", "bad-json", 1),
    failed("no end", b'{"repo":"R","path":"p"', "bad-json", 22),
    failed("text after it", b'{"repo":"R","path":"p"} x', "bad-json", 24),
    failed("two on a line", b'{"path":"p"}{"path":"q"}', "bad-json", 12),
    failed("a comma too many", b'{"path":"p",}', "bad-json", 12),
    failed("a comment", b'{"path":"p"/* c */}', "bad-json", 11),
    failed("single quotes", b"{'path':'p'}", "bad-json", 1),
    failed("no quotes", b'{path:"p"}', "bad-json", 1),
    failed("NaN", rec('"x":NaN'), "bad-json", b"NaN"),
    failed("Infinity", rec('"x":Infinity'), "bad-json", b"Infinity"),
    failed("-Infinity", rec('"x":-Infinity'), "bad-json", b"Infinity"),
    failed("a leading zero", rec('"x":01'), "bad-json", b"1}"),
    failed("a plus sign", rec('"x":+1'), "bad-json", b"+1"),
    failed("a hexadecimal number", rec('"x":0x1'), "bad-json", b"x1"),
    failed("True", rec('"x":True'), "bad-json", b"True"),
    failed("NUL outside of strings", rec(b'"x":\0'), "bad-json", b"\0"),
    failed("a number beyond a double", rec('"x":[1e400]'), "bad-number", b"1e400"),
    failed("a raw TAB", rec(b'"x":"a\tb"'), "control-character", b"\t"),
    failed("a raw NUL", rec(b'"x":"a\0b"'), "control-character", b"\0"),
    failed("a raw ESC", rec(b'"x":"a' + ESC + b'b"'), "control-character", b"\x1b"),
    failed("a raw control character in a name", b'{"pa\x01th":"p"}', "control-character", b"\x01"),
    failed("an unknown escape", rec('"x":"a\\qb"'), "bad-escape", b"\\q"),
    failed("a short escape", rec('"x":"a\\u12g4"'), "bad-escape", b"\\u"),
    failed("a lone high surrogate", rec('"x":"a\\ud800"'), "bad-escape", b"\\u"),
    failed("a lone low surrogate", rec('"x":"a\\udc00"'), "bad-escape", b"\\u"),
    failed("surrogates the wrong way round", rec('"x":"\\udc00\\ud800"'), "bad-escape", b"\\u"),
    failed("NUL in a name", b'{"path\\u0000x":"p"}', "nul-in-name", b"\\u"),
    failed("NUL in a name inside", rec('"metadata":{"a\\u0000b":1}'), "nul-in-name", b"\\u"),
    failed("an overlong slash", rec(b'"x":"\xc0\xaf"'), "bad-utf8", b"\xc0"),
    failed("an overlong NUL", rec(b'"x":"\xe0\x80\x80"'), "bad-utf8", b"\xe0"),
    failed("an overlong letter of 4 bytes", rec(b'"x":"\xf0\x80\x80\x80"'), "bad-utf8", b"\xf0"),
    failed("a surrogate in UTF-8", rec(b'"x":"\xed\xa0\x80"'), "bad-utf8", b"\xed"),
    failed("beyond U+10FFFF", rec(b'"x":"\xf4\x90\x80\x80"'), "bad-utf8", b"\xf4"),
    failed("far beyond it", rec(b'"x":"\xf5\x80\x80\x80"'), "bad-utf8", b"\xf5"),
    failed("a continuation alone", rec(b'"x":"\x80"'), "bad-utf8", b"\x80"),
    failed("half a character", rec(b'"x":"\xc3"'), "bad-utf8", b"\xc3"),
    failed("UTF-16", '{"path":"p"}'.encode("utf-16-be"), "bad-path", 0),
    failed("bytes that are no UTF-8, outside of strings", b'{\xff"path":"p"}', "bad-utf8", 1),
    failed("a known field twice", rec('"path":"q"'), "duplicate-field", b'"path":"q"'),
    failed("once with an escape", rec('"p\\u0061th":"q"'), "duplicate-field", b'"p\\u'),
    failed("commit twice", b'{"repo":"R","new_changeset":{"commit":"a","commit":"b"}}',
           "duplicate-field", b'"commit":"b"'),
    failed("33 levels", deep(33), "too-deep", at(deep(33), b"[", 31)),
    failed("100,000 levels", deep(100000), "too-deep", at(deep(33), b"[", 31)),
]

FIELDS = [
    failed("an empty object", b"{}", "no-path"),
    failed("no path", b'{"repo":"R","content":"x"}', "no-path"),
    failed("an empty path", b'{"repo":"R","path":""}', "no-path"),
    failed("a null path", b'{"repo":"R","path":null}', "no-path"),
    failed("a path that is a number", b'{"repo":"R","path":7}', "bad-field", b"7"),
    failed("NUL in a path", b'{"repo":"R","path":"a\\u0000b"}', "bad-path", b'"a'),
    failed("a path of 5,000 bytes", rec('"content":"x"', "a" * 5000), "bad-path", b'"aaaa'),
    failed("a quoted path that is not UTF-8", b'{"repo":"R","path":"\\"\\\\377\\""}', "bad-path",
           b'"\\"'),
    failed("an unknown op", rec('"op":"remove"'), "bad-op", b'"remove"'),
    failed("op with NUL", rec('"op":"delete\\u0000"'), "bad-op", b'"delete'),
    failed("op in capitals", rec('"op":"DELETE"'), "bad-op", b'"DELETE'),
    failed("op with control characters", rec('"op":"\\u001b[31m\\u009b\\u007f"'), "bad-op",
           b'"\\u001b'),
    failed("op of a wrong type", rec('"op":["delete"]'), "bad-field", b"["),
    failed("a rename from nowhere", rec('"op":"rename"'), "bad-field"),
    failed("a rename from a bad path", rec('"op":"rename","old_path":"\\u0000"'), "bad-path",
           b'"\\u0000'),
    failed("a repository of a wrong type", b'{"repo":{},"path":"p"}', "bad-field", b"{}"),
    failed("a repository with NUL", b'{"repo":"R\\u0000","path":"p"}', "bad-field", b'"R\\'),
    failed("a repository's name too long", b'{"repo":"%s","path":"p"}' % (b"r" * 1025), "bad-field",
           b'"rr'),
    failed("content that is a number", rec('"content":5'), "bad-field", b"5"),
    failed("metadata that is a list", rec('"content":"x","metadata":[]'), "bad-field", b"[]"),
    failed("size that is a string", rec('"content":"x","size":"1"'), "bad-field", b'"1"'),
    failed("size that is not whole", rec('"content":"x","size":1.5'), "bad-field", b"1.5"),
    failed("size below zero", rec('"content":"x","size_bytes":-1'), "bad-field", b"-1"),
    failed("size beyond 64 bits", rec('"content":"x","size":18446744073709551617'), "bad-field",
           b"184"),
    failed("size beyond 2^53", rec('"content":"x","size":9007199254740992'), "bad-field", b"900"),
    failed("skip_index that is a number", rec('"skip_index":1'), "bad-field", b"1}"),
    failed("a short content_hash", rec('"content":"x","content_hash":"ab"'), "bad-field", b'"ab"'),
    failed("a character that is no base64", rec('"content_base64":"AAA*"'), "bad-base64", b"*"),
    failed("base64 without its padding", rec('"content_base64":"AAA"'), "bad-base64", b'"}'),
    failed("base64 with bits left over", rec('"content_base64":"AAF="'), "bad-base64", b"F="),
    failed("an empty vector", rec('"content":"x","vector":[]'), "bad-vector", b"[]"),
    failed("a vector of zeros", rec('"content":"x","vector":[0,-0.0]'), "bad-vector", b"[0"),
    failed("a word in a vector", rec('"content":"x","vector":[1,"2"]'), "bad-vector", b'"2"'),
    failed("a list in a vector", rec('"content":"x","vector":[1,[2]]'), "bad-vector", b"[2"),
    failed("a vector beyond a float", rec('"content":"x","vector":[1,1e39]'), "bad-vector", b"1e39"),
    failed("a vector too long", rec('"content":"x","vector":[%s]' % ",".join(["1"] * 65537)),
           "bad-vector", b"[1"),
    failed("a vector of another length", rec('"content":"x","vector":[1,2,3]'), "bad-vector"),
    failed("a commit like an option", b'{"repo":"R","new_changeset":{"commit":"--all"}}', "bad-commit",
           b'"--all'),
    failed("a commit with control characters",
           b'{"repo":"R","new_changeset":{"commit":"\\u001b[2J\\u009b"}}', "bad-commit", b'"\\u001b'),
    failed("a commit of 129 characters",
           b'{"repo":"R","new_changeset":{"commit":"%s"}}' % (b"c" * 129), "bad-commit", b'"cc'),
    failed("a bad since", b'{"repo":"R","new_changeset":{"commit":"a","since":"b c"}}', "bad-commit",
           b'"b c'),
    failed("complete that is a number", b'{"repo":"R","new_changeset":{"commit":"a","complete":1}}',
           "bad-field", b"1}"),
    failed("new_changeset that is a string", b'{"repo":"R","new_changeset":"a"}', "bad-field", b'"a"'),
    failed("a new_changeset of 70,000 bytes",
           b'{"repo":"R","new_changeset":{"commit":"a","x":"%s"}}' % (b"x" * 70000), "bad-field",
           b'{"commit'),
    failed("the producer's own error", rec('"content_error":"\\u001b[31m denied \\u009b"'),
           "content-error"),
    failed("without a text", rec('"content_error":true'), "content-error"),
    skipped("a changeset record without a commit", b'{"repo":"R","new_changeset":{"branch":"b"}}',
            "no-commit"),
    skipped("content that is null, and no file", rec('"content":null', "gone"), "no-content"),
    skipped("skip_index", rec('"content":"x","skip_index":true,"skip_reason":"s"'), "skip-index"),
    skipped("empty content", rec('"content":""'), "empty"),
    skipped("NUL in content", rec('"content":"a\\u0000b"'), "not-text"),
    skipped("base64 of what is no text", rec('"content_base64":"/w=="'), "not-text"),
    skipped("content of 1 MB and a byte", rec('"content":"%s"' % ("x" * 1048577)), "too-large"),
]

PATHS = [
    failed("no file", b"gone", "no-such-file"),
    failed("no file, in a record", b'{"repo":"R","path":"gone"}', "no-such-file"),
    failed("no file, as a JSON string", b'"gone"', "no-such-file"),
    failed("no file, quoted", b'"g\\303\\266ne"', "no-such-file"),
    failed("a list", b"[]", "no-such-file"),
    failed("a number", b"5", "no-such-file"),
    failed("control characters", b"a" + ESC + b"b", "no-such-file"),
    failed("DEL and C1 control characters", b"a\x7f\xc2\x9b31m\xc2\x85b", "no-such-file"),
    failed("a JSON string of control characters", b'"a\\u001b[31m\\u009b\\n"', "no-such-file"),
    failed("a byte order mark inside the input", b'\xef\xbb\xbf{"repo":"R","path":"ok"}', "no-such-file"),
    failed("NUL", b"a\0b", "bad-path", 1),
    failed("not UTF-8", b"caf\xe9", "bad-path", 3),
    failed("not UTF-8, with control characters", b"\x1b]0;\x07\xff\xfe", "bad-path", 5),
    failed("not UTF-8, quoted", b'"caf\\351"', "bad-path"),
    failed("5,000 bytes", b"a" * 5000, "bad-path"),
    failed("5,000 bytes in parts", b"a/" * 2500 + b"b", "bad-path"),
    failed("4,096 bytes, which no file can have", b"a" * 4096, "unreadable"),
    failed("above the root", b"../outside", "outside-root"),
    failed("above the root, later", b"sub/../../outside", "outside-root"),
    failed("above the root, in a record", b'{"repo":"R","path":"../outside"}', "outside-root"),
    failed("above the root, with content", rec('"content":"x"', "../outside"), "outside-root"),
    failed("above the root, a delete", rec('"op":"delete"', "sub/../../x"), "outside-root"),
    failed("above the root, of a rename", rec('"op":"rename","content":"x","old_path":"../x"'),
           "outside-root"),
    failed("absolute, elsewhere", b"/etc/passwd", "outside-root"),
    failed("absolute, above again", b"/../../etc/passwd", "outside-root"),
    failed("a reference above the root", rec('"content_ref":"../outside"'), "outside-root"),
    failed("an absolute reference", rec('"content_ref":"/etc/passwd"'), "outside-root"),
    failed("a link out of the root, on the way", b"out/secret", "outside-root"),
    failed("a link inside the root, on the way", b"in/f", "outside-root"),
    failed("a reference by a link", rec('"content_ref":"leak"'), "outside-root"),
    failed("a reference through a link", rec('"content_ref":"out/secret"'), "outside-root"),
    failed("a reference to nothing", rec('"content_ref":"gone"'), "no-such-file"),
    failed("a reference to a folder", rec('"content_ref":"sub"'), "is-a-directory"),
    failed("a folder", b"sub", "is-a-directory"),
    failed("a folder, as git lists it", b"sub/", "is-a-directory"),
    failed("a folder, in a record", b'{"repo":"R","op":"add","path":"sub/"}', "is-a-directory"),
    failed("a folder that is not there", b"newdir/", "is-a-directory"),
    failed("one whose content is null", b'{"repo":"R","path":"newdir/","content":null}', "is-a-directory"),
    failed("a file as a folder", b'{"repo":"R","path":"ok/","content":null}', "is-a-directory"),
    failed("a folder as a path of parts", b"sub/.", "is-a-directory"),
    failed("the root itself", b".", "bad-path"),
    failed("an arrow to nothing", b'{"repo":"R","path":"gone -> gone2"}', "no-such-file"),
    failed("an arrow out of the root", b'{"repo":"R","path":"gone -> ../outside"}', "outside-root"),
    failed("an arrow from outside", b'{"repo":"R","path":"../outside -> ok"}', "outside-root"),
    failed("an arrow to what is not UTF-8", rec('"op":"modify"', 'gone -> \\"\\\\377\\"'), "bad-path"),
    failed("an arrow to nowhere", b'{"repo":"R","path":"gone -> "}', "bad-path"),
    failed("a line of a path list with an arrow", b"good1 -> good2", "no-such-file"),
    failed("a FIFO", b"fifo", "unreadable"),
    failed("a socket", b"socket", "unreadable"),
    skipped("a symbolic link", b"leak", "symlink"),
    skipped("one in a record", b'{"repo":"R","path":"leak"}', "symlink"),
    skipped("one that leads nowhere", b"dangling", "symlink"),
    skipped("a folder with a repository", b"module/", "submodule"),
    skipped("an empty folder", b"hollow", "submodule"),
    skipped("an excluded file", b"sub/x.min.js", "excluded"),
    skipped("an empty file", b"empty", "empty"),
    skipped("a file that is no text", b"binary", "not-text"),
    skipped("a large file", b"large", "too-large"),
]

BAR = b"Detecting changes...   0% -:--:--"
PRODUCER = [
    skipped("mgit's bar", BAR, "not-a-change"),
    skipped("as it is drawn", b"Detecting changes..." + b" " * 40 + b"  0% -:--:--  ", "not-a-change"),
    skipped("at its end", b"Detecting changes... 100% 0:00:07", "not-a-change"),
    skipped("another text before it", b"Counting  42% 12:34:56", "not-a-change"),
    skipped("nothing found", b"No repositories found in the specified path.", "not-a-change"),
    failed("an error", b"Error during change detection: [Errno 13] \x1b[31m\xc2\x9b", "producer-error"),
    failed("stopped", b"Operation cancelled by user", "producer-error"),
    failed("like the bar: three digits too many", b"a 1000% -:--:--", "no-such-file"),
    failed("like the bar: no blank", b"a50% 0:00:00", "no-such-file"),
    failed("like the bar: text behind it", b"a 50% 0:00:00x", "no-such-file"),
    failed("like the bar: short time", b"a 50% 0:00", "no-such-file"),
    failed("like the bar: no number", b"a % -:--:--", "no-such-file"),
    failed("like the message", b"No repositories found in the specified path.txt", "no-such-file"),
    failed("like the error", b"Error during change detection.txt", "no-such-file"),
    failed("like the end", b"Operation cancelled by user.txt", "no-such-file"),
]

NAME_STATUS = [
    failed("no path", b"M\t", "no-path"),
    failed("one path of two", b"R100\told", "bad-form"),
    failed("two paths for one", b"D\told\tnew", "bad-form"),
    failed("a score without a letter", b"100\told", "no-such-file"),
    failed("a name badly quoted", b'D\t"a\\q"', "bad-path"),
    failed("a quote without its end", b'D\t"a', "bad-path"),
    failed("not UTF-8", b"D\tcaf\xe9", "bad-path", 5),
    failed("not UTF-8, the new one", b"R100\told\tn\xff", "bad-path", 10),
    failed("NUL", b"D\ta\0b", "bad-path", 3),
    failed("above the root", b"D\t../x", "outside-root"),
    failed("5,000 bytes", b"D\t" + b"a" * 5000, "bad-path"),
    skipped("an open merge", b"U\tok", "unmerged"),
    skipped("of a file that is not there", b"U\tf", "unmerged"),
]

FIXED = {
    "json": [failed("a path", b"gone", "bad-form"), failed("a name-status line", b"D\tx", "bad-form"),
             failed("an array", b"[1]", "bad-form"), failed("a broken record", b'{"a"', "bad-json", 4),
             failed("control characters", ESC, "bad-form"), skipped("the bar", BAR, "not-a-change")],
    "name-status": [failed("a path", b"gone", "bad-form"), failed("an unknown letter", b"X\tf", "bad-form"),
                    failed("a record", b'{"path":"p"}', "bad-form"),
                    failed("control characters", b"\x1b[31m\xff", "bad-form"),
                    skipped("the bar", BAR, "not-a-change")],
    "paths": [failed("a record is a name", b'{"path":"p"}', "no-such-file"),
              failed("and so is a name-status line", b"D\tx", "no-such-file"),
              skipped("the bar", BAR, "not-a-change")],
}


# Lines that could belong to any repository: they hold them all.
UNKNOWN = {"failed:" + code for code in (
    "bad-json", "bad-utf8", "bad-escape", "control-character", "nul-in-name", "duplicate-field", "too-deep",
    "bad-number", "producer-error", "line-too-long")}


def make_files(w):
    """What the rows above expect below the root, and beside it."""
    for path in ("ok", "good1", "good2", "sub/f", "sub/x.min.js", "module/f"):
        w.write_file("", path, "text of " + path)
    os.mkdir(os.path.join(w.root, "module", ".git"))
    os.mkdir(os.path.join(w.root, "hollow"))
    w.write_file("", "empty", "")
    w.write_file("", "large", "x" * 1048577)
    with open(os.path.join(w.root, "binary"), "wb") as f:
        f.write(b"a\0b")
    os.mkfifo(os.path.join(w.root, "fifo"))
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(os.path.join(w.root, "socket"))
    secret = os.path.join(w.dir, "elsewhere")
    os.mkdir(secret)
    with open(os.path.join(secret, "secret"), "w", encoding="utf-8") as f:
        f.write("a secret")
    shutil.copy(os.path.join(secret, "secret"), os.path.join(w.dir, "outside"))
    for name, target in (("out", secret), ("in", "sub"), ("leak", os.path.join(secret, "secret")),
                         ("dangling", "nowhere")):
        os.symlink(target, os.path.join(w.root, name))


def unsafe(text):
    """What a terminal might act on in text, newlines apart: control characters, and bytes that are no
    UTF-8.  Characters that only look strange, or turn the direction of writing, are shown, as git
    does without core.quotePath."""
    text = text if isinstance(text, bytes) else text.encode()
    try:
        return re.findall("[^\n -~\u00a0-\U0010ffff]", text.decode())
    except UnicodeDecodeError as e:
        return [str(e)]


def outcome(result):
    if not result:
        return None
    if result["status"] == "failed":
        return "failed:" + result["error"]["code"]
    return result["status"] + (":" + result["reason"] if "reason" in result else "")


def check_error(name, result, code, offset):
    error = result["error"]
    same(error.get("offset"), offset, "%s: the offset" % name)
    test(error["retryable"] == (code in RETRYABLE) and 0 < len(error["message"]) < 8192 and
         not unsafe(error["message"]), "%s: the message can be shown" % name, error)


def check_row(w, row, *options, good=("good1", "good2")):
    """The line between two good ones and before a changeset record, in a state of its own."""
    name, line, want, offset = row
    for f in os.listdir(w.dir):
        if f.startswith("state.tdb"):
            os.unlink(os.path.join(w.dir, f))
    with w.store.lock:
        w.store.by_name.clear()
    bad = want.startswith("failed")
    lines = [good[0], line, good[1]]
    if "--input-format" not in options:
        lines += [record("P1"), record("S1", "S")]
    ended = w.sync(lines, "--repo", "R", "--exclude", "*.min.js", *options)
    got = outcome(ended.of(2))
    same((ended.rc, sorted(r["line"] for r in ended.results), got),
         (int(bad), list(range(1, len(lines) + 1)), want), name)
    same((ended.status(1), ended.status(3)), ("completed",) * 2, "%s: the lines beside it" % name)
    same({p for _, p in w.documents()}, set(GOOD), "%s: nothing else is stored" % name)
    if len(lines) == 5:
        same((ended.status(4), w.position("R")), ("held", None) if bad else ("completed", "P1"),
             "%s: the changeset" % name)
        unknown = want in UNKNOWN or name.startswith("a repository")
        same((ended.status(5), unknown and "repo" in ended.of(2)), ("held" if unknown else "completed", False),
             "%s: that of another repository" % name)
    if bad and got == want:
        check_error(name, ended.of(2), want.split(":")[1], offset)
        test(" 1 failed" in ended.err, "%s: the summary counts it" % name, ended.err)
    same(unsafe(ended.out) + unsafe(ended.err), [], "%s: nothing reaches a terminal" % name)


GOOD = ["good1", "good2"]


def check_rows(w, rows, *options):
    make_files(w)
    for row in rows:
        check_row(w, row, *options)


def broken_json(w):
    check_rows(w, JSON)


def fields(w):
    check_rows(w, FIELDS)


def paths(w):
    check_rows(w, PATHS)


def producers(w):
    check_rows(w, PRODUCER)


def name_status(w):
    check_rows(w, NAME_STATUS)


def fixed_forms(w):
    make_files(w)
    for form, rows in FIXED.items():
        good = {"json": ['"good1"', '"good2"'], "paths": GOOD, "name-status": ["M\tgood1", "A\tgood2"]}
        for name, *row in rows:
            check_row(w, ("%s: %s" % (form, name), *row), "--input-format", form, good=good[form])


def all_in_one(w):
    """All of them in one run: none is lost, none stops another."""
    make_files(w)
    rows = [r for rows in (JSON, FIELDS, PRODUCER, NAME_STATUS, PATHS) for r in rows]
    lines = []
    for i, (_, line, _, _) in enumerate(rows):
        lines += [put("g%d" % i, "text %d" % i, "G"), line]
    ended = w.sync(lines, "--repo", "R", "--exclude", "*.min.js")
    same((ended.rc, sorted(r["line"] for r in ended.results)), (1, list(range(1, len(lines) + 1))),
         "one result for each of %d lines" % len(lines))
    same({ended.status(i) for i in range(1, len(lines), 2)}, {"completed"}, "the good ones are done")
    got = [outcome(ended.of(2 * i + 2)) for i in range(len(rows))]
    want = [r[2] for r in rows]
    # of the changes of one document that wait for each other only the last is done
    wrong = [(r[0], g) for r, g, x in zip(rows, got, want) if g not in (x, "superseded")]
    same(wrong, [], "each bad one ends as it does alone")
    same(unsafe(ended.out) + unsafe(ended.err), [], "nothing reaches a terminal")
    for args in (("--failed",), ("--failed", "--json"), ("--held",), ("--repos",)):
        rc, out = w.ask("status", *args)
        same((rc, unsafe(out)), (1, []), "nor from status " + " ".join(args))
    failures = find_list(json.loads(w.ask("status", "--failed", "--json")[1]), "failures")
    listed = {f["line"]: f["error"]["code"] for f in failures}
    codes = {2 * i + 2: x.split(":")[1] for i, x in enumerate(got) if x and x.startswith("failed")}
    same({n: c for n, c in listed.items() if codes.get(n) != c}, {}, "status lists them as they failed")
    test(len(listed) > 100, "all whose document has not failed again: %d" % len(listed))


def lengths(w):
    """A line of exactly --max-line bytes, and one of a byte more, with every end."""
    make_files(w)

    def line(n):
        head, tail = b'{"repo":"R","path":"p","content":"x","pad":"', b'"}'
        return head + b"y" * (n - len(head) - len(tail)) + tail

    for options, most in (((), 8 << 20), (("--max-line", "2000"), 2000)):
        for end in (b"\n", b"\r\n", b""):
            name = "%d bytes and %r" % (most, end)
            for n in (most, most + 1):
                text = b"good1\n" + line(n) + end + (b"good2\n" if end else b"")
                ended = w.sync(text, "--force", "--repo", "R", *options)
                good = ["completed"] * (2 if end else 1)
                want = "completed" if n == most else "failed:line-too-long"
                same(([outcome(ended.of(1))] + [outcome(ended.of(3))] * bool(end), outcome(ended.of(2)),
                      len(ended.results)), (good, want, len(good) + 1),
                     name if n == most else name + ", one more")
    ended = w.sync([deep(32)[:-1] + b',"content":"x"}',
                    rec('"content":"x",' + ",".join('"k%d":%d' % (i, i) for i in range(100000)))])
    same(ended.statuses(2).count("failed"), 0, "32 levels, and a hundred thousand keys")


CUT = [     # (name, options, the whole line, what a cut one may be taken for, by its length)
    ("a delete", (), b'{"repo":"R","op":"delete","path":"keep.txt"}', {}),
    ("a record with content", (), b'{"repo":"R","path":"new","content":"\xc3\xa9\\n\\u00e9"}', {}),
    ("a rename", (), b'{"repo":"R","op":"rename","old_path":"keep.txt","path":"n","content":"x"}', {}),
    ("a changeset record", (), b'{"repo":"R","new_changeset":{"commit":"P9"}}', {}),
    ("a path", (), b"sub/caf\xc3\xa9.txt", {}),
    ("a path whose start is a file", (), b"keep.txt", {4: "completed", 8: "unchanged"}),
    ("a path in a folder", (), b"sub/f", {5: "completed"}),
    ("a JSON string", (), b'"sub/f"', {7: "completed"}),
    ("a quoted name", (), b'"sub/caf\\303\\251.txt"', {}),
    ("a deleted file", (), b"D\tkeep.txt", {}),
    ("a renamed one", (), b"R100\tkeep.txt\tn", {}),
    ("a modified one", (), b"M\tsub/f", {}),
    ("the bar", (), BAR, {len(BAR): "skipped"}),
    ("a path with -z", ("-z", "--input-format", "paths"), b"sub/f", {5: "completed"}),
    ("a deleted file with -z", ("-z", "--input-format", "name-status"), b"D\0keep.txt", {}),
    ("a renamed one with -z", ("-z", "--input-format", "name-status"), b"R100\0keep.txt\0n", {}),
]


def cut_lines(w):
    """A producer that dies after any byte of a line: what was not said is not done."""
    w.write_file("", "keep", "another file")
    w.write_file("", "sub/f", "a file")
    w.write_file("", "keep.txt", "kept")
    ended = w.sync(["keep.txt", record("P0")], "--repo", "R")
    same((ended.rc, w.position("R")), (0, "P0"), "prepared")
    shutil.copy(w.state, w.state + ".before")
    with w.store.lock:
        before = {n: dict(c.records) for n, c in w.store.by_name.items()}
    for name, options, line, taken in CUT:
        wrong = []
        for n in range(len(line) + 1):
            shutil.copy(w.state + ".before", w.state)
            with w.store.lock:
                for c in w.store.by_name:
                    w.store.by_name[c].records = dict(before[c])
            got = cut_at(w, line[:n], options)
            whole_json = n == len(line) and line[:1] == b"{"
            if not whole_json and got != expected_of_cut(line, n, taken):
                wrong.append((n, got))
        same(wrong, [], "%s, cut at each of %d bytes" % (name, len(line)))


def cut_at(w, text, options):
    """(outcomes, exit status, what the store holds, position) of an input of this alone."""
    ended = w.sync(text, "--repo", "R", *options)
    outcomes = [outcome(r) for r in ended.results]
    return outcomes, ended.rc, {p for _, p in w.documents()}, w.position("R")


def expected_of_cut(line, n, taken):
    if n == 0:
        return [], 0, {"keep.txt"}, "P0"
    if taken.get(n) == "unchanged":
        return ["skipped:unchanged"], 0, {"keep.txt"}, "P0"
    if taken.get(n) == "skipped":
        return ["skipped:not-a-change"], 0, {"keep.txt"}, "P0"
    if taken.get(n) == "completed":
        path = line[:n].decode().strip('"')
        return ["completed"], 0, {"keep.txt", path}, "P0"
    return ["failed:cut-line"], 1, {"keep.txt"}, "P0"


def no_document(w):
    """A bad line whose path is no document's fails alone: no later line could ever name that document."""
    paths = [".", "..", "x/.", "x/..", "./x", "x//y", "/x", "x/", "a/./b", "gone -> ok"]
    for path in paths:
        ended = w.sync([dict(repo="R", path=path, size="x"), record("c1")])
        same((ended.rc, outcome(ended.of(1)), ended.of(1)["path"], ended.status(2)),
             (1, "failed:bad-field", path, "held"), "'%s' fails as it came" % path)
        listed = find_list(json.loads(w.ask("status", "--failed", "--json")[1]), "failures")
        same([f.get("path", "") for f in listed], [""], "'%s' is the name of no document" % path)
        ended = w.sync([record("c2")])
        same((ended.rc, w.position("R")), (0, "c2"), "'%s': a later block without it drops it" % path)
        shutil.rmtree(w.state, ignore_errors=True)
    for path in ("x", "...", ".x", "x/..y", "a/b. "):
        ended = w.sync([dict(repo="S", path=path, size="x")])
        listed = find_list(json.loads(w.ask("status", "--failed", "--json")[1]), "failures")
        test(path in [f.get("path") for f in listed], "'%s' is a document's" % path, listed)


def unmerged(w):
    """An open merge: the U lines are left out and told once; what git lists besides is taken."""
    w.write_file("", "f", "both sides")
    ended = w.sync(["U\tf", "M\tf", "U\tg", record("c1")], "--repo", "R")
    same((ended.rc, ended.statuses(4), w.documents()),
         (0, ["skipped:unmerged", "completed", "skipped:unmerged", "completed"], {("R", "f"): "both sides"}),
         "U lines are skipped")
    same(ended.err.count("unmerged (U)"), 1, "and said so, once")
    ended = w.sync(b"U\0f\0M\0f\0", "--repo", "R", "-z", "--input-format", "name-status")
    same(ended.statuses(2), ["skipped:unmerged", "skipped:unchanged"], "with -z")


def hopeless_root(w):
    """Twenty changes, none with a file: the run stops."""
    w.write_file("", "good1", "text")
    ended = w.sync(["gone%d" % i for i in range(30)])
    same((ended.rc, len(ended.results)), (78, 20), "20 without a file")
    test("--root" in ended.err and w.root in ended.err, "the message names the folder and the option",
         ended.err)
    for name, line in (("absolute paths elsewhere", "/elsewhere/%d"), ("paths above it", "../x%d"),
                       ("renames", "R100\t../x%d\t../y"),
                       ("changes of both kinds", '{"repo":"R","content_ref":"/elsewhere/x","path":"p%d"}')):
        lines = [line % i if i % 2 or "kinds" not in name else "gone%d" % i for i in range(30)]
        ended = w.sync(lines, "--new-run", "--no-retry")
        same((ended.rc, len(ended.results)), (78, 20), "20 %s" % name)
        test("--root" in ended.err and w.root in ended.err, "20 %s: the message" % name, ended.err)
    ended = w.sync(["/elsewhere/./x//y", "../a/../../b", "sub/../../x"], "--new-run", "--no-retry")
    same([r["path"] for r in ended.results], ["/elsewhere/./x//y", "../a/../../b", "sub/../../x"],
         "results keep such paths as they came")
    ended = w.sync(["gone%d" % i for i in range(19)] + ["good1"] + ["gone%d" % i for i in range(19, 30)],
                   "--no-retry")
    same((ended.rc, len(ended.results)), (1, 31), "not with one among them")


WINDOW = 1 << 20


def memory_of(w, line):
    """Peak of anonymous memory, in kB, once the line behind it is settled."""
    child = w.start("--connections", "1", "--batch-bytes", str(WINDOW))
    child.stdin.write(line + b"\n" + as_line(put("last", "text")) + b"\n")
    out = b""
    while b'"path":"last"' not in out:
        data = os.read(child.stdout.fileno(), 65536)
        if not data:
            break
        out += data
    with open("/proc/%d/status" % child.pid, encoding="ascii") as f:
        status = dict(x.split(":", 1) for x in f if ":" in x)
    child.stdin.close()
    child.stderr.read()
    child.wait()
    child.stdout.close()
    child.stderr.close()
    return int(status["VmHWM"].split()[0]) - int(status["RssFile"].split()[0])


def memory(w):
    """Three times the longest line and the window, whatever is in it."""
    with open(program(), "rb") as f:
        if b"__asan_init" in f.read():
            report.note("not with a sanitizer, which keeps freed memory")
            return
    if not os.path.exists("/proc/self/status"):
        report.note("not without /proc")
        return
    most = 8 << 20
    base = memory_of(w, as_line(put("small", "text")))
    for name, head, unit, tail in (
            ("text", '"content":"', "x", '"'),
            ("escapes", '"content":"', "\\u00e9", '"'),
            ("base64", '"content_base64":"', "AAAA", '"'),
            ("a vector", '"content":"x","vector":[1', ",1", "]"),
            ("an unknown field", '"content":"x","y":[[]', ",[]", "]"),
            ("unknown fields", '"content":"x"', ',"k":1', ""),
            ("metadata", '"content":"x","metadata":{"a":[0', ",0", "]}"),
            ("a changeset record", '"new_changeset":{"commit":"a","x":[0', ",0", "]}"),
            ("broken JSON", '"y":[0', ",0", "}"),
            ("a line too long", '"content":"' + "x" * most, "x", '"')):
        start, unit, end = b'{"repo":"R","path":"p",' + head.encode(), unit.encode(), tail.encode() + b"}"
        line = start + unit * ((most - len(start) - len(end)) // len(unit)) + end
        grown = memory_of(w, line) - base
        test(grown <= (3 * most + WINDOW) // 1024, "%s in 8 MiB takes %d kB" % (name, grown))


TESTS = [broken_json, fields, paths, producers, name_status, fixed_forms, all_in_one, lengths, cut_lines,
         no_document, unmerged, hopeless_root, memory]


if __name__ == "__main__":
    if os.access("/dev/shm", os.W_OK):      # hundreds of short runs, each with its syncs
        tempfile.tempdir = "/dev/shm"
    sys.exit(run_tests(TESTS))
