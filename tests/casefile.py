"""casefile.py - the files cases/NAME.case as steps: what cases/README says of their form, and every mistake in
one is an error."""

import json
import shlex

PREPARE = {"on", "files", "env", "store", "killed"}
STEPS = {"sync", "run"}
ORDERED = {"results", "sent"}       # as they came, where the case says "in order"
LISTS = {"results": ["run", "line", "repo", "path", "op", "old_path", "status", "reason", "why", "waiting",
                     "error"],
         "documents": ["repo", "path", "content"], "repos": ["repo", "position", "held", "why", "waiting"],
         "failed": ["run", "line", "repo", "path", "op", "error", "retries"],
         "held": ["repo", "commit", "why", "waiting", "holders"], "sent": ["request", "repo", "path"],
         "runs": ["run", "status"], "status": ["failed", "left_over", "held"],
         "exported": ["type", "repo", "path"]}
OPTIONAL = {"retried", "resumed", "changeset", "uncommitted", "default_uncommitted", "language", "charset",
            "mime_type", "metadata"}    # may be listed as null, as may be those above: is to be absent
TEXTS = {"said", "unsaid", "output", "printed", "touched"}
EXPECT = {"exit", *LISTS, *TEXTS}
ARGUMENTS = {"on", "killed", "sync", "run", "exit", "touched", "exported", *ORDERED}    # take words
ALONE = {"run", "exit", "on", "killed"}     # sections of their first line alone
FULL = {"files", "env", "said", "unsaid", "printed"}    # sections that say nothing without lines


class Wrong(Exception):
    """A mistake in a case: what, and where."""


# ---- a file becomes steps ----

class Section:
    def __init__(self, number, name, words):
        self.number, self.name, self.words, self.lines = number, name, words, []

    def wrong(self, why):
        return Wrong("line %d, '%s': %s" % (self.number, self.name, why))

    def json(self, kind=dict):
        """Its lines, each a JSON value of this kind."""
        try:
            values = [json.loads(line) for line in self.lines]
        except ValueError as e:
            raise self.wrong("not JSON: %s" % e) from e
        if not all(isinstance(v, kind) for v in values):
            raise self.wrong("each line is to be a JSON %s" % ("object" if kind is dict else "string"))
        return values

    def entries(self):
        """What a list of results and the like expects; a member that there cannot be is no expectation."""
        values = self.json()
        for member in [m for v in values for m in v if v[m] is None]:
            if member not in OPTIONAL | set(LISTS[self.name]):
                raise self.wrong("'%s' is no name of a member" % member)
        if not all(values):
            raise self.wrong("an entry without members compares nothing")
        return values


def sections(text):
    """What stands below each line '== NAME WORDS', without comments and blank lines."""
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("== "):
            name, *words = shlex.split(line[3:]) or [""]
            found.append(Section(number, name, words))
            if name not in PREPARE | STEPS | EXPECT:
                raise found[-1].wrong("there is no such section")
            if words and name not in ARGUMENTS:
                raise found[-1].wrong("takes no words")
        elif line.strip() and not line.startswith("#"):
            if not found:
                raise Wrong("line %d: a line before the first section" % number)
            if found[-1].name in ALONE:
                raise found[-1].wrong("no lines can stand below it")
            found[-1].lines.append(line)
    for s in found:
        if s.name in FULL and not s.lines:
            raise s.wrong("is empty")
        if s.name in LISTS:
            s.entries()
    return found


class Step:
    """One command, what is done before it, and what is expected after it."""

    def __init__(self):
        self.before, self.command, self.expect = [], None, []


def steps(text):
    all_steps, step = [], Step()
    for s in sections(text):
        if s.name in EXPECT:
            if not step.command:
                raise s.wrong("stands before any 'sync' or 'run'")
            if [s.name, s.words] in [[x.name, x.words] for x in step.expect]:
                raise s.wrong("stands here twice")
            step.expect.append(s)
            continue
        if step.command:
            all_steps.append(checked(step))
            step = Step()
        if s.name in STEPS:
            step.command = s
        else:
            step.before.append(s)
    if not step.command:
        raise Wrong("nothing stands behind the last step, or there is none")
    return all_steps + [checked(step)]


def checked(step):
    """Each command is to say how it ends, and a sync what it prints."""
    have = {s.name for s in step.expect}
    killed = any(s.name == "killed" for s in step.before)
    if "exit" not in have:
        raise step.command.wrong("without its 'exit'")
    if step.command.name == "sync" and "results" not in have and not killed:
        raise step.command.wrong("without its 'results'")
    only = {"sync": {"output", "printed"}, "run": {"results", "said", "unsaid", "sent"}}[step.command.name]
    if have & only or (killed and step.command.name == "run"):
        raise step.command.wrong("cannot have '%s'" % "', '".join(have & only or ["killed"]))
    return step
