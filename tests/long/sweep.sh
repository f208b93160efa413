#!/bin/bash
# Killed at each system call of a name, and started again: sweep.py says how and what must hold.
#
#   --all                 every point; else every k-th, so that it takes a few minutes
#   --store NAME          only on the mock of chroma or weaviate
#   --point MODE:CALL:N   this one only, as a failure names it
words=()
rest=()
while [ $# -gt 0 ]; do
	case $1 in
	--all) words+=("$1") ;;
	--point | --store) words+=("$1" "${2-}"); shift ;;
	*) rest+=("$1") ;;
	esac
	shift
done
set -- ${rest[@]+"${rest[@]}"}
. "${abs_top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh"

need python3 strace
strace -o /dev/null true 2>/dev/null || skip_all 'strace may not trace here'
python3 "$abs_top_srcdir/tests/long/sweep.py" ${verbose:+-v} sweep ${words[@]+"${words[@]}"}
status=$?
finished=1
exit $status
