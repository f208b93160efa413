#!/bin/bash
# make check in a build with the address and undefined behaviour sanitizers: each of its programs is
# one test here.
. "${abs_top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh"

need autoreconf make
ok 'it builds' "$abs_top_srcdir/scripts/build" "$scratch/b" --enable-asan --enable-ubsan || done_testing
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0 UBSAN_OPTIONS=print_stacktrace=1
make -C b/build -j2 -k check >log 2>&1
is $? 0 'make check' || grep -vE '^(PASS|SKIP|#)' log | tail -n 40 | sed 's/^/# /'
for trs in $(cd b/build && find . -name '*.trs' | sort); do
	base=b/build/${trs%.trs}
	not_ok "${trs#./}" grep -E '^:test-result: (FAIL|ERROR|XPASS)' "$base.trs" ||
		grep -vE '^(ok|PASS:)' "$base.log" | tail -n 60 | sed 's/^/# /'
done
done_testing
