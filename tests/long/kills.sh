#!/bin/bash
# Killed at random moments and started again, with a real Chroma: sweep.py says how and what must hold.
#
#   --seed N    the moments and inputs of that seed
#   --kills N   so many (100)
words=()
rest=()
while [ $# -gt 0 ]; do
	case $1 in
	--seed | --kills) words+=("$1" "${2-}"); shift ;;
	*) rest+=("$1") ;;
	esac
	shift
done
set -- ${rest[@]+"${rest[@]}"}
. "${abs_top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh"

need python3
start_chroma
python3 "$abs_top_srcdir/tests/long/sweep.py" ${verbose:+-v} kills --store "$chroma_url" \
	${words[@]+"${words[@]}"}
status=$?
finished=1
exit $status
