#!/usr/bin/env python3
"""cases.py [-v] [NAME|FILE...] - the tests that are written as data, cases/NAME.case: feeds what each says, and
compares what comes of it.  cases/README has the format.  NAMEs: only these."""

import difflib
import glob
import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from casefile import LISTS, ORDERED, sections, steps  # noqa: E402
from harness import HERE, WATCHED, NoEnd, World, find_list, report  # noqa: E402

KILLS = {"at": "kill_request", "after": "kill_applied"}
SPECIAL = ["resumed", "retried"]    # of results: never passed over


# ---- a step is made ----

class Case:
    """A world with what the steps so far came to."""

    def __init__(self, w):
        self.w, self.runs = w, []
        self.ended = self.rc = self.printed = None

    def fill(self, text):
        """$ROOT, $DIR and $RUN1 are what they stand for."""
        text = text.replace("$ROOT", self.w.root).replace("$DIR", self.w.dir)
        return re.sub(r"\$RUN(\d+)", lambda m: self.runs[int(m.group(1)) - 1], text)

    def hide(self, value):
        """The opposite, in a value of JSON; a run's name alone is its number."""
        if isinstance(value, dict):
            return {k: self.hide(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self.hide(v) for v in value]
        if not isinstance(value, str):
            return value
        if value in self.runs:
            return self.runs.index(value) + 1
        for n, run in enumerate(self.runs, 1):
            value = value.replace(run, "$RUN%d" % n)
        return value.replace(self.w.root, "$ROOT").replace(self.w.dir, "$DIR")

    def prepare(self, s):
        """Returns what sync() is to have besides."""
        if s.name == "store":
            self.w.script(*s.json())
        elif s.name == "killed":
            if not re.fullmatch(r"(at|after) write [1-9]\d*", " ".join(s.words)):
                raise s.wrong("is 'killed at write N' or 'killed after write N'")
            return {KILLS[s.words[0]]: int(s.words[2])}
        elif s.name != "on":
            for name, value in [x for entry in s.json() for x in entry.items()]:
                (self.set_file if s.name == "files" else self.set_env)(name, value)
        return {}

    def set_file(self, name, value):
        name = os.path.join(self.w.root, self.fill(name))
        if os.path.lexists(name):
            os.unlink(name)
        if isinstance(value, dict):
            os.makedirs(os.path.dirname(name), exist_ok=True)
            os.symlink(self.fill(value["link"]), name)
        elif value is not None and name.endswith("/"):
            os.makedirs(name, exist_ok=True)
        elif value is not None:
            os.makedirs(os.path.dirname(name), exist_ok=True)
            with open(name, "wb") as f:    # \udc80 to \udcff are single bytes
                f.write(value.encode("utf-8", "surrogateescape"))

    def set_env(self, name, value):
        self.w.env.pop(name, None)
        if value is not None:
            self.w.env[name] = value

    def make(self, step):
        how = {}
        for s in step.before:
            how.update(self.prepare(s))
        words = [self.fill(x) for x in step.command.words]
        self.w.store.clear_log()
        if step.command.name == "run":
            self.rc, self.printed = self.w.ask(*words)
            return
        self.ended = self.w.sync(b"".join(self.fed(x) for x in step.command.lines), *words, **how)
        self.rc = self.ended.rc
        for r in sorted(self.ended.results, key=lambda r: not r.get("retried")):
            if r["run"] not in self.runs:
                self.runs.append(r["run"])
        if how:
            self.w.hung_up()

    def fed(self, line):
        """A line of input; one that begins with @ is a JSON string of bytes as they are."""
        line = self.fill(line)
        if line.startswith("@"):
            return json.loads(line[1:]).encode("utf-8", "surrogateescape")
        return line.encode() + b"\n"

    # ---- what came of it ----

    def got(self, s):
        """What there is of a section, as such a section would list it: (values, the case's own)."""
        if s.name == "exit":
            return [str(self.rc)], [" ".join(s.words)]
        if s.name in ("said", "unsaid", "printed"):
            text = self.printed if s.name == "printed" else self.ended.err
            want = [x for x in s.lines if (self.fill(x) in text) == (s.name != "unsaid")]
            return (s.lines if want == s.lines else self.hide(text).split("\n")), s.lines
        if s.name == "output":
            return [x for x in self.hide(self.printed).split("\n") if x.strip()], s.lines
        if s.name == "touched":
            rc, out = self.w.ask("changeset", "--touched", *s.words, "-z")
            got = out.split("\0")[:-1] if rc == 0 else ["exit %d" % rc]
            return [shown(x) for x in got], [shown(x) for x in s.json(str)]
        want, got = s.entries(), self.hide(getattr(self, "get_" + s.name)(s))
        if s.name in ORDERED and s.words not in ([], ["in", "order"]):
            raise s.wrong("'in order', or nothing")
        return likened(got, want, s.name), [shown(x) for x in want]

    def get_results(self, s):
        order = {run: n for n, run in enumerate(self.runs)}
        found = self.ended.results
        return found if s.words else sorted(found, key=lambda r: (order[r["run"]], r["line"]))

    def get_documents(self, _s):
        """All that the store holds."""
        found = [dict(meta, repo=meta.get("repository", "?"), path=meta.get("file_path", i), id=i,
                      content=text, vector=list(vector)) for i, meta, text, vector in self.w.store.objects()]
        return sorted(found, key=lambda d: (d["repo"], d["path"], d.get("chunk_index", 0)))

    def get_repos(self, _s):
        """As status tells of them; `changeset` is to say the same."""
        found = self.listed("repos", "--repos")
        return [dict(r, position=p if p == r.get("position") else "%s says changeset" % p)
                for r in found for p in [self.w.position(r["repo"])]]

    def get_sent(self, s):
        """Writes since the step began, an entry for each object."""
        with self.w.store.lock:
            log, names = list(self.w.store.log), dict(self.w.store.names)
        out = [dict(request=kind, repo=names.get(i, ("?", i))[0], path=names.get(i, ("?", i))[1]) for e in log
               for kind in [self.kind_of(e["kind"])] if kind for i in e["ids"]]
        return out if s.words else sorted(out, key=lambda x: (x["repo"], x["path"], x["request"]))

    def kind_of(self, kind):
        store = self.w.store
        return "upsert" if kind in store.upserts else "delete" if kind in store.deletes else None

    def listed(self, name, *options):
        rc, out = self.w.ask("status", *options, "--json")
        if rc not in (0, 1):
            raise NoEnd("status %s ends with %d" % (" ".join(options), rc))
        return find_list(json.loads(out), name)

    def get_failed(self, _s):
        return self.listed("failures", "--failed")

    def get_held(self, _s):
        return self.listed("changesets", "--held")

    def get_runs(self, _s):
        return self.listed("runs", "--runs")

    def get_status(self, _s):
        return [json.loads(self.w.ask("status", "--json")[1])]

    def get_exported(self, s):
        out = [json.loads(x) for x in self.w.ask("export")[1].splitlines()]
        return [x for x in out if x["type"] in s.words]


def likened(got, want, name):
    """What was got as text, of each entry the members that the case lists of it, and those that are never
    passed over."""
    members, always = LISTS[name], SPECIAL if name == "results" else []
    return [shown({**like(g, want[n]), **{k: g[k] for k in always if k in g}} if n < len(want) else
                  {k: g[k] for k in members + always if k in g}) for n, g in enumerate(got)]


def like(got, want):
    if isinstance(want, dict) and isinstance(got, dict):
        return {k: like(got.get(k), v) for k, v in want.items()}
    if isinstance(want, list) and isinstance(got, list) and len(want) == len(got):
        return [like(g, w) for g, w in zip(got, want)]
    return got


def shown(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


# ---- a case is run ----

def differences(case, step):
    """Of each section that came out in another way, a diff."""
    for s in step.expect:
        got, want = case.got(s)
        if got != want:
            yield "\n".join(["line %d, what '%s' expects (-) and what was got (+):" % (s.number, s.name)] +
                            list(difflib.unified_diff(want, got, lineterm="", n=99))[3:])


def run_case(w, text):
    """What is wrong, one text for each thing: the first step that fails ends the case."""
    case = Case(w)
    for step in steps(text):
        case.make(step)
        found = list(differences(case, step))
        if found:
            return found + ["linesync said: %s" % case.ended.err] * bool(case.ended)
    return []


def store_of(text):
    found = [s for s in sections(text) if s.name == "on"]
    if any(s.words[0:1] == [] or s.words[0] not in WATCHED for s in found) or len(found) > 1:
        raise found[0].wrong("is one of %s, once" % ", ".join(WATCHED))
    return found[0].words[0] if found else "chroma"


def run_file(path, verbose):
    name = os.path.basename(path)[:-len(".case")]
    with open(path, encoding="utf-8") as f:
        text = f.read()
    w = None
    try:
        steps(text)
        w = World(verbose, store_of(text))
        wrong = run_case(w, text)
        report.test(not wrong, name, *wrong)
    except Exception as e:    # the other cases say more
        report.test(False, "%s: %s: %s" % (name, type(e).__name__, e))
    finally:
        if w:
            w.close()


def main():
    given = [a for a in sys.argv[1:] if a != "-v"]
    folder = os.path.join(HERE, "cases")
    paths = [a if a.endswith(".case") else os.path.join(folder, a + ".case") for a in given]
    if not paths:
        paths = sorted(glob.glob(os.path.join(folder, "*.case")))
        report.test(paths, "there are cases")
    for path in paths:
        run_file(path, "-v" in sys.argv)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
