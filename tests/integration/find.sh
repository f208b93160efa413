#!/bin/bash
# Does a search in a real Chroma with three lines of a file find that file?  tests/bench/find asks, about
# linesync's own sources.  Two thirds of what linesync-hash(7) says is enough here.
. "${abs_top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh"

need python3
start_chroma

# the sources alone: no build, no history
mkdir sources
for d in README.md src man scripts tests; do cp -r "$abs_top_srcdir/$d" sources/; done
rm -rf sources/tests/fuzz/corpus

found() { # found pieces|whole SHARE,...: at least these of each kind of query
	python3 "$abs_top_srcdir/tests/bench/find" -u "$chroma_url" -d 1024 -k "$1" -a "$2" sources
}

ok 'pieces are found' found pieces 0.61,0.59,0.55,0.43
ok 'whole files are found' found whole 0.60,0.57,0.53,0.42

done_testing
