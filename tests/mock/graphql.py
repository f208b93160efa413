"""graphql.py - reads the few forms of GraphQL queries that a mock store answers.

parse("{Get{Code(limit:1){path _additional{id}}}}") is a list of Field.  What is no GraphQL raises
Wrong; what is GraphQL and not known here (variables, fragments, directives) raises Unknown."""

import json
import re


class Wrong(Exception):
    """A query that no server would take; at: the offset in the text."""

    def __init__(self, text, at):
        super().__init__(text)
        self.at = at


class Unknown(Exception):
    """A query that this reader does not know, and a server may."""


class Name(str):
    """A word that stands without quotes: an enum value."""


class Field:
    def __init__(self, name, at):
        self.name = self.label = name    # label: what the answer calls it
        self.at = at
        self.arguments, self.places = {}, {}    # by name: the value, where it begins
        self.fields = None               # None: no selection


TOKEN = re.compile(r'''[\s,\ufeff]*(?:\#[^\n]*[\s,]*)*(?:
    (?P<block>""")|(?P<string>"(?:[^"\\\n]|\\.)*")|
    (?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|(?P<name>[_A-Za-z][_0-9A-Za-z]*)|
    (?P<unknown>\.\.\.|\$|@)|(?P<mark>[{}()\[\]:!=|])|(?P<end>\Z))''', re.X)


class Reader:
    def __init__(self, text):
        self.text, self.at = text, 0
        self.step()

    def step(self):
        """Takes the next token into kind, token and begin."""
        found = TOKEN.match(self.text, self.at)
        if not found:
            raise Wrong("Unexpected character", self.at)
        self.kind, self.token = found.lastgroup, found[found.lastgroup]
        self.begin, self.at = found.start(found.lastgroup), found.end()
        if self.kind in ("block", "unknown"):
            raise Unknown(self.token)

    def take(self, mark):
        if self.token != mark or self.kind == "string":
            raise Wrong("Unexpected EOF" if self.kind == "end" else
                        "Expected %s, found %s" % (mark, self.token), self.begin)
        self.step()

    def name(self):
        if self.kind != "name":
            raise Wrong("Unexpected EOF" if self.kind == "end" else
                        "Expected Name, found %s" % self.token, self.begin)
        name = self.token
        self.step()
        return name

    def document(self):
        if self.kind == "name":
            if self.token != "query":
                raise Unknown(self.token)
            self.step()
            if self.kind == "name":
                self.step()
            if self.token == "(":
                raise Unknown("variables")
        fields = self.selection()
        if self.kind != "end":
            raise Unknown("more than one operation")
        return fields

    def selection(self):
        self.take("{")
        fields = []
        while self.token != "}":
            fields.append(self.field())
        self.take("}")
        return fields

    def field(self):
        at = self.begin
        field = Field(self.name(), at)
        if self.token == ":":
            self.step()
            field.name = self.name()
        if self.token == "(":
            self.step()
            while self.token != ")":
                at = self.begin
                name = self.name()
                self.take(":")
                field.places.setdefault(name, at)
                if name in field.arguments:
                    raise Wrong("There can be only one argument named \"%s\"." % name, at)
                field.arguments[name] = self.value()
            self.take(")")
        if self.token == "{":
            field.fields = self.selection()
        return field

    def value(self):
        kind, token = self.kind, self.token
        if kind == "string":
            self.step()
            return json.loads(token, strict=False)
        if kind == "number":
            self.step()
            return float(token) if re.search(r"[.eE]", token) else int(token)
        if kind == "name":
            self.step()
            return {"true": True, "false": False, "null": None}.get(token, Name(token))
        if token == "[":
            self.step()
            out = []
            while self.token != "]":
                out.append(self.value())
            self.take("]")
            return out
        self.take("{")
        out = {}
        while self.token != "}":
            name = self.name()
            self.take(":")
            out[name] = self.value()
        self.take("}")
        return out


def parse(text):
    return Reader(text).document()
