#!/bin/bash
# Schedules in which a document could end as something other than its last line says, or a changeset
# could be ahead of the store: each one a test of its own, in order.py.
. "${abs_top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh"

need python3
TMPDIR=$scratch python3 "$abs_top_srcdir/tests/integration/order.py" ${verbose:+-v}
status=$?
finished=1
exit $status
