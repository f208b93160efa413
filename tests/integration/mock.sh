#!/bin/bash
# Does the mock store answer as a real Chroma does, and does its script work?  The results are those of
# tests/mock/test_mock.py, which compares the two.
. "${abs_top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh"

need python3
start_chroma
CHROMA_URL=$chroma_url python3 "$abs_top_srcdir/tests/mock/test_mock.py"
status=$?
finished=1
exit $status
