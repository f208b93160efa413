#!/usr/bin/env python3
"""chroma.py [-v] - a git repository in a real Chroma server: see realstore.py.  The collection is read
over HTTP.

Where no server can be installed this is skipped, unless LINESYNC_TEST_STRICT is set."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import realstore  # noqa: E402


class Chroma(realstore.Chroma):
    needs = ("install",)

    def records(self, name):
        what = {"include": ["documents", "metadatas", "embeddings"], "limit": 10000}
        got = realstore.call("POST", "%s/%s/get" % (self.base, self.collection(name)["id"]), what)
        return {i: (d, {k: v for k, v in (m or {}).items() if v is not None}, e) for i, d, m, e in
                zip(got["ids"], got["documents"], got["metadatas"], got["embeddings"])}


if __name__ == "__main__":
    if Chroma.missing() and os.environ.get("LINESYNC_TEST_STRICT"):
        sys.exit("there is no Chroma server")
    sys.exit(realstore.main(Chroma))
