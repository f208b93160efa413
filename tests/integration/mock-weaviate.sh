#!/bin/bash
# Does the mock store answer as a Weaviate does, and is it held to the store's description?  The results
# are those of tests/mock/test_weaviate.py, which by hand compares it with a real one too.
. "${abs_top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh"

need python3
python3 "$abs_top_srcdir/tests/mock/test_weaviate.py"
status=$?
finished=1
exit $status
