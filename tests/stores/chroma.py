#!/usr/bin/env python3
"""chroma.py [-v] - a git repository in a real Chroma server, and the fixtures, read by Chroma's own
client: see realstore.py.  Where either cannot be installed this is skipped."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import realstore  # noqa: E402

if __name__ == "__main__":
    sys.exit(realstore.main(realstore.Chroma, realstore.fixtures, realstore.chunks))
