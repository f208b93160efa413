#!/bin/bash
# Random schedules of lines, faults and kills against a model of what must hold, on the mock of each
# store: see model.py.  LINESYNC_TEST_SCHEDULES (250) says how many for each, LINESYNC_TEST_SEED from which
# one on (1, so that two runs of the suite try the same ones; `random` for others each time).
. "${abs_top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh"

need python3
seed=${LINESYNC_TEST_SEED:-1}
[ "$seed" != random ] || seed=$((RANDOM * 32768 + RANDOM))
TMPDIR=$scratch python3 "$abs_top_srcdir/tests/long/model.py" ${verbose:+-v} \
	--count "${LINESYNC_TEST_SCHEDULES:-250}" --seed "$seed"
status=$?
finished=1
exit $status
