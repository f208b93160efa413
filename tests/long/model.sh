#!/bin/bash
# Random schedules of lines, faults and kills against a model of what must hold: see model.py.
# LINESYNC_TEST_SECONDS (180) says how long, LINESYNC_TEST_SEED which ones.
. "${abs_top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh"

need python3
TMPDIR=$scratch python3 "$abs_top_srcdir/tests/long/model.py" ${verbose:+-v} \
	--seconds "${LINESYNC_TEST_SECONDS:-180}" ${LINESYNC_TEST_SEED:+--seed "$LINESYNC_TEST_SEED"}
status=$?
finished=1
exit $status
