#!/usr/bin/env python3
"""manual.py [-v] [NAME...] - the pages about formats, linesync-records(5) and linesync-state(5), against
the program: their lists against its tables, both ways; their examples; and a state file, which is read
here by what the page says alone, its tables of fields taken from the page itself.  NAMEs: only these."""

import hashlib
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import (COLLECTION, HERE, Ended, World, as_line, delete, from_file, put,  # noqa: E402
                     record, report, run_tests)

same, test = report.same, report.test
TOP = os.path.dirname(HERE)


def read(*path):
    with open(os.path.join(TOP, *path), encoding="utf-8") as f:
        return f.read()


# ---- pages ----


class Page:
    def __init__(self, name):
        self.lines = read("man", name).split("\n")

    def section(self, title):
        """The lines of a section or subsection, without those of subsections of a section."""
        for kind in (".Sh ", ".Ss "):
            if kind + title in self.lines:
                start = self.lines.index(kind + title) + 1
                end = start
                while end < len(self.lines) and self.lines[end][:4] not in (".Sh ", ".Ss "):
                    end += 1
                return self.lines[start:end]
        raise ValueError("the page has no section " + title)

    def items(self, title):
        """The words of each .It Li of a section."""
        return [[w for w in line[7:].split() if w != ","]
                for line in self.section(title) if line.startswith(".It Li ")]

    def words(self, title):
        return [w for item in self.items(title) for w in item if w != "*"]

    def item(self, title, name):
        """The text of an item, as lines."""
        lines = self.section(title)
        start = [i for i, x in enumerate(lines) if x.startswith(".It Li ") and name in x.split()][0]
        end = start + 1
        while not lines[end].startswith((".It", ".El")):
            end += 1
        return lines[start + 1:end]

    def table(self, title):
        """The rows of the section's .Bl -column, as lists of cells, without its heading."""
        rows, inside = [], False
        for line in self.section(title):
            if line.startswith(".Bl -column"):
                inside = True
            elif line == ".El":
                inside = False
            elif inside and line.startswith(".It "):
                rows.append([c.strip('"') for c in line[4:].split(" Ta ")])
            elif inside:
                rows[-1][-1] += " " + line
        return [r for r in rows if not r[0].startswith("Sy ")]

    def examples(self, title):
        """The .Bd -literal blocks of a section, as texts."""
        blocks, inside = [], False
        for line in self.section(title):
            if line.startswith(".Bd -literal"):
                inside = True
                blocks.append("")
            elif line == ".Ed":
                inside = False
            elif inside:
                blocks[-1] += line.replace("\\e", "\\") + "\n"
        return blocks


def marked(lines, macro=".Li "):
    """What .Li marks in lines of running text."""
    out = []
    for line in lines:
        if line.startswith(macro):
            out += [w for w in line[len(macro):].split() if w not in (",", ".", ";", ")", ":")]
    return out


RECORDS = Page("linesync-records.5")
STATE = Page("linesync-state.5")


# ---- linesync-records(5) against the program's tables ----


def table_of(source, start, pattern):
    """What pattern finds between start and the next line with a brace alone."""
    text = read("src", source)
    text = text[text.index(start):]
    return re.findall(pattern, text[:text.index("\n}")])


def lists(_w):
    codes = table_of("codes.c", "errors[ERR_COUNT]", r'\{ "([a-z0-9-]+)", (true|false) \}')
    same([(i[0], "true" if "*" in i else "false") for i in RECORDS.items("Error codes")], codes,
         "error codes, in this order, and which are tried again")
    order = re.findall(r"^\tERR_(\w+),", read("src", "codes.h"), re.M)
    same(re.findall(r'\[ERR_(\w+)\] = { "', read("src", "codes.c")), order[1:],
         "the order is that of their numbers")
    same(RECORDS.words("Reasons"), table_of("codes.c", "reason_names[REASON_COUNT]", r'"([a-z-]+)"'),
         "reasons")
    same(set(RECORDS.words("Statuses")),
         set(table_of("codes.c", "status_names[]", r'"([a-z]+)"')) | {"planned"}, "statuses")
    fields = [f for f in RECORDS.words("JSON objects") if f != "new_changeset"]
    fields += ["old_path"] * ("old_path" not in fields)
    also = marked(RECORDS.item("JSON objects", "size")) + marked(RECORDS.item("JSON objects", "skip_index"))
    known = table_of("change.c", "} fields[] = {", r'\{ "(\w+)", F_')
    same(set(fields + also) | {"new_changeset"}, set(known), "fields of a record")
    ops = marked(RECORDS.item("JSON objects", "op"))
    same(set(ops), set(table_of("change.c", "} ops[] = {", r'\{ "(\w+)", OP_')), "operations")
    same(set(RECORDS.words("Changeset records")),
         set(re.findall(r'"(\w+)"', read("src", "change.c").split("known[] = {")[1].split("}")[0]))
         - set(known), "members of a changeset record")


def result_fields(_w):
    text = read("src", "results.c")
    names = set(re.findall(r'(?:add_text|json_name|json_member_\w+)\(out, (?:&first|first|&inner), "(\w+)"', text))
    page = set(RECORDS.words("RESULTS"))
    inner = {w for item in ("error", "changeset") for w in marked(RECORDS.item("RESULTS", item))}
    same(page | inner, names, "fields of a result")
    same(marked(RECORDS.item("RESULTS", "action")), ["upsert", "delete", "skip"], "actions")
    held = re.findall(r'return "([a-z-]+)";', read("src", "state_codec.c").split("held_name(")[1].split("\n}")[0])
    same(set(marked(RECORDS.item("RESULTS", "why"))), set(held), "why a record is held")
    header = read("src", "results.h").split("those that apply:")[1].split("*/")[0]
    same(set(re.findall(r"\w+", header.replace("*", " "))), names, "as results.h lists them")


def other_fields(w):
    w.sync([put("a", "text")])
    same(RECORDS.words("SEARCH"), list(json.loads(w.ask("search", "text")[1])), "fields of what a search prints")
    said = json.loads(w.ask("check", "--json")[1])
    same(RECORDS.words("CHECK"), list(said), "fields of what check prints")
    same(marked(RECORDS.item("CHECK", "checks")), list(said["checks"][0]), "and of each check")
    broken = os.path.join(w.dir, "broken.tdb")
    with open(broken, "wb") as f:
        f.write(b"no state")
    both = [json.loads(x) for x in w.ask("states", "--json", "--state-dir", w.dir)[1].splitlines()]
    fields = [list(s) for s in sorted(both, key=lambda s: s["state"])]
    os.unlink(broken)
    same([n for n in RECORDS.words("STATES") if n not in ("holder", "error")], fields[1], "fields of a state")
    same(["state", "bytes", "error", "run"], fields[0], "of one that cannot be read")
    text = "\n".join(Page("linesync.1").lines).split("for each of:\n")[1].split("The line begins")[0]
    same(marked(text.split("\n")), [c["name"] for c in said["checks"]], "their names")


def plain(result):
    return {k: v for k, v in result.items() if k not in ("run", "ms")}


def examples(w):
    given, results = RECORDS.examples("EXAMPLES")
    w.write_file("", "src/e.py", "e")
    w.write_file("", "src/f.py", "f")
    os.mkdir(os.path.join(w.root, "app"))
    w.sync([delete("d.py", "app")])
    ended = w.sync(given.encode())
    same(len(ended.results), given.count("\n"), "a result for each line of the example")
    want = [json.loads(x) for x in re.sub(r"\n ", "", results).splitlines()]
    for r in want:
        got = ended.of(r["line"]) or {}
        same(plain(got), plain(r), "the result of line %d" % r["line"])
        same((list(got), [type(v) for v in got.values()]), (list(r), [type(v) for v in r.values()]),
             "its fields and their order")
    same((ended.status(5), ended.status(6)), ("completed",) * 2, "the lines without a result on the page")


def objects(w):
    w.sync([put("src/main.py", "text\n", "ServiceA", charset="utf-8", metadata={"k": 1})])
    text = "\n".join(RECORDS.section("OBJECTS"))
    with w.store.lock:
        [(ident, stored)] = list(list(w.store.by_name.values())[0].records.items())
    same([ident], re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}", text), "the id of the page's document")
    listed = text[text.index("it has the properties"):text.index("a digest of everything")]
    names = [x for x in marked(listed.split("\n")) if x != "null"]
    same(set(names), set(stored.metadata), "the properties")
    for name, value in re.findall(r"\n\.Li [\w ,]*?(\w+)\n\((\d)\)", listed):
        same(stored.metadata[name], int(value), "%s is %s" % (name, value))
    same(stored.metadata["content_hash"], hashlib.sha256(b"text\n").hexdigest(), "content_hash")
    w.sync([put("src/main.py", "text\n", "ServiceA")])
    with w.store.lock:
        [stored] = list(w.store.by_name.values())[0].records.values()
    same(set(names) - set(stored.metadata), {"charset", "metadata"}, "what is not known is null")


# ---- linesync-state(5): a reader made of its tables ----


class Bytes:
    """The types of ENCODING."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        if self.at + n > len(self.data):
            raise ValueError("a value ends too early")
        self.at += n
        return self.data[self.at - n:self.at]

    def number(self):
        v = shift = 0
        while True:
            byte = self.take(1)[0]
            v |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                return v

    def signed(self):
        v = self.number()
        return v // 2 if v % 2 == 0 else -(v // 2) - 1

    def text(self):
        data = self.take(self.number())
        if b"\0" in data:
            raise ValueError("NUL in a text")
        return data.decode()

    def digest(self):
        return self.take(16)

    def place(self):
        return self.number(), self.number()

    def flag(self):
        v = self.number()
        if v > 1:
            raise ValueError("a flag of %d" % v)
        return bool(v)

    def end(self):
        if self.at != len(self.data):
            raise ValueError("%d bytes are left over" % (len(self.data) - self.at))


def split_row(row):
    """(names, how many values, type, the rest of the text)"""
    names = [n.strip() for n in row[0].split(",")]
    m = re.match(r"(?:(\d+) )?(number|signed|text|digest|place|flag)s?\b(.*)", row[1])
    if not m:
        raise ValueError("no type in %r" % (row,))
    return names, int(m[1] or 1), m[2], m[3]


def decode(page_table, data):
    """The fields of a value by a table of the page."""
    b, out, rows = Bytes(data), {}, [split_row(r) for r in page_table]
    while rows:
        names, count, kind, rest = rows.pop(0)
        only = re.search(r"only with flag (\d+)", rest)
        if only and not out["flags"] & int(only[1]):
            continue
        if "of each follow" in rest:
            most = int(re.search(r"at most (\d+)", rest)[1])
            n = out[names[0]] = b.number()
            if n > most:
                raise ValueError("%s is %d" % (names[0], n))
            inner, count, kind, _ = rows.pop(0)
            out[names[0][1:]] = [[getattr(b, kind)() for _ in range(count)] for _ in range(n)]
            if len(inner) != count:
                raise ValueError("%s are %d" % (inner, count))
            continue
        values = [getattr(b, kind)() for _ in range(count)]
        if len(names) == count:
            out.update(zip(names, values))
        elif len(names) == 1:
            out[names[0]] = values
        else:
            raise ValueError("%s are %d" % (names, count))
    b.end()
    return out


def dump(path):
    """{key: data} of a TDB file, by tdbdump."""
    text = subprocess.run(["tdbdump", path], capture_output=True, check=True).stdout.decode("latin-1")

    def unquote(s):
        return re.sub(r"\\([0-9A-F]{2})", lambda m: chr(int(m[1], 16)), s).encode("latin-1")

    return {unquote(k): unquote(d) for k, d in
            re.findall(r'^key\(\d+\) = "(.*)"\ndata\(\d+\) = "(.*)"$', text, re.M)}


def values_of(path):
    """{(letter, A, B): content}, each checked as VALUES says."""
    out = {}
    for key, data in dump(path).items():
        letter, a, b = struct.unpack(">cII", key)
        if hashlib.sha256(key + data[8:]).digest()[:8] != data[:8]:
            raise ValueError("the checksum of %r is wrong" % key)
        out[letter.decode(), a, b] = data[8:]
    return out


def entries_of(page):
    b, key, out = Bytes(page), b"", []
    kind = b.take(1)[0]
    while b.at < len(page):
        shared, rest, length = b.number(), b.number(), b.number()
        key = key[:shared] + b.take(rest)
        out.append((key, b.take(length)))
    return kind, out


def walk(values, number, least, seen):
    """The entries of the map from a page on, with what the page says of pages."""
    seen.append(number)
    page = values["P", number, 0]
    kind, entries = entries_of(page)
    keys = [k for k, _ in entries]
    if keys != sorted(set(keys)) or len(page) > 4096 and len(entries) > 1 or not entries:
        raise ValueError("page %d is not in order" % number)
    if kind == 1:
        if keys[0] < least:
            raise ValueError("page %d holds less than it may" % number)
        return entries
    if kind != 2 or keys[0] != b"":
        raise ValueError("page %d is of kind %d" % (number, kind))
    return [e for k, v in entries for e in walk(values, struct.unpack(">I", v)[0], max(k, least), seen)]


def grammar():
    """{letter: (pattern of the key, names of its parts)} from the table of keys."""
    parts = {"repo": b"([^\0]*)", "NUL": b"\0", "path": b"([^\0]+)", "run": b"(....)", "ordinal": b"(....)",
             "half": b"(.)", "digest": b"(.{8})"}
    out = {}
    for key, _ in STATE.table("THE ORDERED MAP"):
        letter, *words = key.split()
        out[letter] = re.compile(letter.encode() + b"".join(parts[p] for p in words), re.S), \
            [p for p in words if p != "NUL"]
    return out


def read_map(values, head):
    """{letter: {parts of the key: value}}"""
    forms, out, seen = grammar(), {}, []
    for key, value in walk(values, head["root"], b"", seen) if head["root"] else []:
        pattern, names = forms[chr(key[0])]
        m = pattern.fullmatch(key)
        if not m:
            raise ValueError("the key %r is not as the page says" % key)
        name = tuple(int.from_bytes(g, "big") if n in ("run", "ordinal", "half", "digest") else g.decode()
                     for n, g in zip(names, m.groups()))
        out.setdefault(chr(key[0]), {})[name] = value
    same(sorted(seen), sorted(a for letter, a, _ in values if letter == "P"), "every page is in the map")
    return out


def make_state(w):
    """A state that holds one of everything: run 1 was clean, run 2 left a held record, run 3 was killed
    with a request under way."""
    w.write_file("R", "folder/f", "text")
    w.write_file("R", "old", "text of old")
    for i in range(300):
        w.write_file("R", "many/%03d" % i, "text %d" % i)
    first = w.sync([put("d", "D"), put("e", "E"), delete("gone")]
                   + [from_file("many/%03d" % i) for i in range(300)] + [record("P0", branch="main", complete=True)])
    same((first.rc, w.position("R")), (0, "P0"), "a clean run")
    held = w.sync([from_file("unseen"), record("Q1", since="P0")])
    same((held.rc, held.status(2)), (1, "held"), "one that leaves a record held")
    lines = [put("a", "A", uncommitted=True), from_file("missing"), from_file("folder/"), '{"broken',
             put("d", "D"), {"repo": "R", "op": "rename", "old_path": "old", "path": "nowhere"},
             record("P1", since="P0"), put("x", "X", "S"), put("z", "Z", "S")]
    w.script({"match": {"kind": "upsert", "content": "Z"}, "do": {"hang": True}})
    ended = killed_at_last(w, lines, 7)     # the record and the last line have no result
    return first, ended, lines


def killed_at_last(w, lines, results):
    """Feeds all lines but the last, waits for so many results, and kills while the last is sent."""
    sent = threading.Event()
    child = w.start("--no-retry")
    child.stdin.write(b"".join(as_line(x) + b"\n" for x in lines[:-1]))
    out = b""
    while out.count(b"\n") < results:
        out += os.read(child.stdout.fileno(), 65536) or b"no end\n" * results
    w.store.on_request = lambda _n, call: sent.set() if call.kind == "upsert" else None
    child.stdin.write(as_line(lines[-1]) + b"\n")
    test(sent.wait(600), "the last line is under way")
    w.store.on_request = None
    child.send_signal(signal.SIGKILL)
    child.stdin.close()
    ended = Ended(child.wait(), out, child.stderr.read().decode())
    child.stdout.close()
    child.stderr.close()
    w.hung_up()
    w.script()
    return ended


def check_head(w, values, tables):
    head = decode(STATE.table("Head"), values["H", 0, 0])
    b = Bytes(values["I", 0, 0])
    text = "\n".join(STATE.section("Identity"))
    magic = b"linesync state\n"
    same((b.take(15), b.number(), b.text(), b.text()),
         (magic, 2, w.env["LINESYNC_STORE"].replace("127.0.0.1", "localhost"), COLLECTION), "the identity")
    b.end()
    test("15 bytes" in text and "linesync state" in text, "and what the page says of it")
    test("layout 2" in "\n".join(STATE.section("DESCRIPTION")), "layout 2")
    with open(w.state, "rb") as f:
        hash_size = struct.unpack("=I", f.read(40)[36:])[0]
    test("with %d hash chains" % hash_size in " ".join(STATE.section("DESCRIPTION")), "the hash chains")
    with w.store.lock:
        collection_id = list(w.store.by_name.values())[0].id
    same((head["collection_id"], head["embedder"], head["dimension"], head["next_run"], head["collection_read"]),
         (collection_id, "hash-1:8", 8, 4, True), "the head")
    docs = [decode(tables["d"], v) for v in tables["map"]["d"].values()]
    same((head["present"], head["marks"]), (sum(d["flags"] & 1 for d in docs), len(tables["map"]["m"])),
         "what the head counts")
    same(head["payload_bytes"], sum(len(v) for (k, _, _), v in values.items() if k == "F"), "payloads in all")
    same(sorted(n for n, in tables["map"]["r"]), [0] + sorted(a for k, a, _ in values if k == "R"),
         "the runs that the map lists")
    test(head["next_page"] > max(a for k, a, _ in values if k == "P"), "next_page")
    return head


def check_documents(w, tables):
    docs = {k: decode(tables["d"], v) for k, v in tables["map"]["d"].items()}
    with w.store.lock:
        stored = {(r.metadata["repository"], r.metadata["file_path"]): r.metadata["sync_digest"]
                  for c in w.store.by_name.values() for r in c.records.values()}
    known = {k: d["digest"].hex() for k, d in docs.items() if d["flags"] & 4}
    same({k: v for k, v in known.items() if not stored.get(k, "").startswith(v)}, {},
         "the digests of %d documents are those of the objects" % len(known))
    same((docs["R", "gone"]["flags"], docs["R", "gone"]["chunks"]), (2, 0), "what is known to be absent")
    same((docs["R", "a"]["flags"] & 8, docs["R", "d"]["flags"], docs["R", "a"]["last"]), (8, 1 | 4, (3, 1)),
         "uncommitted, the flags, the last line")
    [(name, mark)] = [(k, decode(tables["m"], v)) for k, v in tables["map"]["m"].items()
                      if not decode(tables["m"], v)["flags"] & 1]
    same((name, mark["flags"], mark["count"], mark["line"], mark["uncommitted"]),
         (("S", "z"), 0, 1, (3, 9), False), "the mark of what is under way")


def check_failures(w, ended, lines, values, tables):
    rows = {}
    for kind in "fgu":
        for key, value in tables["map"].get(kind, {}).items():
            f = decode(tables["f"], value)
            rows[f["line"]] = f
            same(key[-2:], (f["repo"], f["path"]) if kind == "f" else f["line"], "the key of line %s" % (f["line"],))
            order = tables["map"]["o"][f["line"] + (f["half"],)]
            test(order[:1] == kind.encode(), "and its place in the order of failures")
    codes = RECORDS.words("Error codes")
    ops = {0: None}
    for n, name in re.findall(r"(\d) (\w+)", [r for r in tables["f"] if r[0] == "op"][0][1]):
        ops[int(n)] = name
    want = {r["line"]: r for r in ended.results if r["status"] == "failed"}
    same(sorted(rows), [(2, 1)] + [(3, n) for n in sorted(want)], "the failed lines")
    for n, r in want.items():
        f = rows[3, n]
        same((codes[f["code"] - 1], f["message"], f["number"], ops[f["op"]], f["repo"], f["path"]),
             (r["error"]["code"], r["error"]["message"], n, r.get("op"), r.get("repo", ""),
              r.get("path", "") if n != 3 else ""),     # a folder is no document
             "failure of line %d" % n)
        line = as_line(lines[n - 1])
        same((values["F", 3, n], f["payload"]), (line, len(line)), "and the line as it came")
    folder = rows[3, 2]
    same((folder["root"], folder["folder"], folder["format"], folder["http"], folder["retries"]),
         (w.root, "R", 0, 0, 0), "where its file was looked for")
    same((rows[3, 6]["half"], rows[3, 6]["default_uncommitted"]), (1, False), "the half of a rename")


def check_runs(first, ended, lines, values):
    table = STATE.table("Runs")
    runs = {a: decode(table, v) for (k, a, _), v in values.items() if k == "R"}
    words = dict(re.findall(r"(\d) (\w+)", [r for r in table if r[0] == "status"][0][1]))
    same({n: (r["number"], r["id"], words[str(r["status"])]) for n, r in runs.items()},
         {1: (1, first.results[0]["run"], "completed"), 2: (2, runs[2]["id"], "failed"),
          3: (3, ended.results[0]["run"], "running")}, "the runs")
    statuses = numbered("Statuses:")
    by = {}
    for r in first.results:
        by[r["status"]] = by.get(r["status"], 0) + 1
    same({statuses[i]: n for i, n in enumerate(runs[1]["counts"]) if n}, by, "lines by status")
    same((runs[1]["ops"], runs[1]["lines"], runs[1]["lines_owner"], runs[1]["objects"]),
         ([0, 0, 302, 1, 0, 1, 0, 0], 0, 1, 302), "by operation, and what it stored")
    same((runs[3]["unknown_failures"], runs[3]["nancestors"], runs[3]["end"]), (1, 0, 0), "the last run")
    test(0 < runs[2]["start"] <= runs[2]["update"] <= runs[2]["end"] < 2 ** 40, "times")
    same(runs[2]["began"] // 10 ** 9, runs[2]["start"], "also in nanoseconds")
    check_lines(ended, lines, values, runs[3], statuses)


def numbered(word):
    """{number: name} of the sentence that begins with word."""
    text = " ".join(STATE.section("Lines"))
    sentence = re.search(word + r" (.*?)\.( |$)", text)[1]
    return {int(n): name for n, name in re.findall(r"(\d+) ([a-z-]+)", sentence)}


def check_lines(ended, lines, values, run, statuses):
    chunks = {b: v for (k, a, b), v in values.items() if k == "L" and a == 3}
    same((list(chunks), len(chunks[0]) % 9, {a for k, a, _ in values if k == "L"}), ([0], 0, {3}),
         "lines of the run that can go on")
    reasons = numbered("Reasons:")
    same([reasons[i] for i in range(1, len(reasons))], RECORDS.words("Reasons"), "the numbers of reasons")
    same((statuses[1], statuses[5]), ("completed", "held"), "of statuses")
    for n in range(1, run["lines"] + 1):
        entry = chunks[0][9 * (n - 1):9 * n]
        line = as_line(lines[n - 1])
        r = ended.of(n)
        status = statuses[entry[8] & 7] if entry[8] & 7 else None
        same((entry[:8], status, reasons.get(entry[8] >> 3 & 15, None) if entry[8] >> 3 & 15 else None),
             (hashlib.sha256(line).digest()[:8], r and r["status"], r and r.get("reason")), "line %d" % n)
    same([chunks[0][9 * n + 8] >> 7 for n in range(3)], [1, 0, 0], "which carry their own content")


def check_repositories(tables):
    repos = {k[0]: decode(STATE.table("Repositories"), v) for k, v in tables["map"]["c"].items()}
    r = repos["R"]
    why = dict(re.findall(r"(\d) ([a-z-]+)", [x for x in STATE.table("Repositories") if x[0] == "held_why"][0][1]))
    same(set(why.values()), set(marked(RECORDS.item("RESULTS", "why"))), "why a record is held, as on the other page")
    same((r["commit"], json.loads(r["changeset"]), r["position"]),
         ("P0", {"commit": "P0", "branch": "main", "complete": True}, (1, 304)), "the position")
    same((r["held_commit"], r["held_since"], r["held"], r["held_number"], why[str(r["held_why"])]),
         ("Q1", "P0", (2, 2), 2, "lines"), "what is held")
    same((r["whole"], repos["S"]["whole"]), (1 | 2, 0), "it is whole, and what is held will be")
    same((r["run"], r["failed"], r["doubts"], r["present"], repos["S"]["commit"], repos["S"]["run"]),
         (3, 4, 0, sum(k[0] == "R" and decode(tables["d"], v)["flags"] & 1
                       for k, v in tables["map"]["d"].items()), "", 3), "its counters")


def state_file(w):
    if not shutil.which("tdbdump"):
        report.note("skipped: tdbdump (Debian's tdb-tools) is not there")
        return
    first, ended, lines = make_state(w)
    values = values_of(w.state)
    letters = [r[0] for r in STATE.table("VALUES")]
    same(sorted({k for k, _, _ in values} | {"S"}), sorted(letters),
         "values of every kind on the page, and no other; S is only in a large file")
    tables = {"d": STATE.table("Documents"), "m": STATE.table("Marks"), "f": STATE.table("Failures")}
    tables["map"] = read_map(values, decode(STATE.table("Head"), values["H", 0, 0]))
    same(sorted(tables["map"]), sorted(grammar()), "entries of every kind")
    check_head(w, values, tables)
    check_documents(w, tables)
    check_failures(w, ended, lines, values, tables)
    check_runs(first, ended, lines, values)
    check_repositories(tables)


def state_names(w):
    """FILES: the name in the state folder, and that of the lock."""
    folder = os.path.join(w.dir, "states")
    del w.env["LINESYNC_STATE"]
    w.sync([put("a", "A")], "--state-dir", folder)
    names = sorted(os.listdir(folder))
    store = w.env["LINESYNC_STORE"].replace("127.0.0.1", "localhost")
    of_both = b"".join(struct.pack(">Q", len(x)) + x.encode() for x in (store, COLLECTION))
    end = hashlib.sha256(of_both).hexdigest()[:8]
    test(len(names) == 2 and names[1] == names[0] + ".lock" and
         re.fullmatch(r"[A-Za-z0-9._-]+-%s-%s\.tdb" % (COLLECTION, end), names[0]), "STORE-COLLECTION-XXXXXXXX.tdb and its lock: %s" % names)


TESTS = [lists, result_fields, other_fields, examples, objects, state_file, state_names]


if __name__ == "__main__":
    sys.exit(run_tests(TESTS))
