# shellcheck shell=bash
# Shared by the shell tests; source it first:
#
#     #!/bin/bash
#     . "${abs_top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh"
#
#     start_mock
#     run --collection Code <input.jsonl
#     is "$rc" 0 'exit status'
#     ok 'one result' test "$(wc -l <"$out")" = 1
#     done_testing
#
# A test runs in a new empty folder, $scratch, which is removed at the end (kept with -k); all that
# was started with the functions below is ended by its process id, whatever happens.  Output is TAP.
# Options of every test: -k keep the folder, -v show what linesync says on standard error.
#
# Variables: LINESYNC (the program), abs_top_srcdir, abs_top_builddir.

set -u
exec </dev/null

test_name=$(basename "$0" .sh)
abs_top_srcdir=$(cd "${abs_top_srcdir:-$(dirname "${BASH_SOURCE[0]}")/..}" && pwd -P)
abs_top_builddir=$(cd "${abs_top_builddir:-$abs_top_srcdir}" && pwd -P)
LINESYNC=${LINESYNC:-$abs_top_builddir/linesync}
export LINESYNC abs_top_srcdir abs_top_builddir

keep_scratch='' verbose=''
while getopts kv opt; do
	case $opt in
	k) keep_scratch=1 ;;
	v) verbose=1 ;;
	*) echo "usage: $0 [-k] [-v]" >&2; exit 64 ;;
	esac
done

# Nothing of the user's: no settings, no state, no proxy.  Only the cache of scripts/chroma is shared.
export XDG_CACHE_HOME=${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}
for v in $(compgen -e); do
	case $v in
	LINESYNC | LINESYNC_TEST_* | LINESYNC_CONTRACTS) ;;
	LINESYNC_* | STATE_DIRECTORY | CREDENTIALS_DIRECTORY | WCD_* | WEAVIATE_* | QDRANT_* | CHROMA_* | \
		OPENAI_* | *_proxy | *_PROXY) unset "$v" ;;
	esac
done
export LC_ALL=C.UTF-8 TZ=UTC PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
export GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=test GIT_AUTHOR_EMAIL=test@example.org
export GIT_COMMITTER_NAME=test GIT_COMMITTER_EMAIL=test@example.org

# ---- results ----

tap_count=0
tap_failed=0

diag() { printf '%s\n' "$*" | sed 's/^/# /'; }

pass() { tap_count=$((tap_count + 1)); printf 'ok %d - %s\n' "$tap_count" "$*"; }

fail() {
	tap_count=$((tap_count + 1))
	tap_failed=$((tap_failed + 1))
	printf 'not ok %d - %s\n' "$tap_count" "$*"
	diag "at line ${BASH_LINENO[1]} of ${BASH_SOURCE[2]-$0}"
}

# ok DESCRIPTION COMMAND...: COMMAND succeeds; what it prints is shown only if it does not.
ok() {
	local description=$1 said status=0
	shift
	said=$("$@" 2>&1) || status=$?
	if [ $status = 0 ]; then pass "$description"; return 0; fi
	fail "$description"
	diag "status $status: $*"
	[ -z "$said" ] || diag "$said"
	return 1
}

# not_ok DESCRIPTION COMMAND...: COMMAND fails.
not_ok() {
	local description=$1 said
	shift
	if said=$("$@" 2>&1); then
		fail "$description"
		diag "succeeded: $*"
		[ -z "$said" ] || diag "$said"
		return 1
	fi
	pass "$description"
}

# is GOT WANT DESCRIPTION
is() {
	if [ "$1" = "$2" ]; then pass "$3"; return 0; fi
	fail "$3"
	diag "  got: '$1'"
	diag " want: '$2'"
	return 1
}

# like GOT REGEX DESCRIPTION: an extended regular expression.
like() {
	if [[ $1 =~ $2 ]]; then pass "$3"; return 0; fi
	fail "$3"
	diag "  got: '$1'"
	diag " want: /$2/"
	return 1
}

# same_file GOT WANT DESCRIPTION
same_file() {
	local difference
	if difference=$(diff -u "$2" "$1" 2>&1); then pass "$3"; return 0; fi
	fail "$3"
	diag "$(printf '%s\n' "$difference" | head -n 40)"
	return 1
}

# skip DESCRIPTION REASON: counts one test that could not be made.
skip() {
	tap_count=$((tap_count + 1))
	printf 'ok %d - %s # SKIP %s\n' "$tap_count" "$1" "$2"
}

# skip_all REASON: before the first test only.
skip_all() {
	printf '1..0 # SKIP %s\n' "$*"
	finished=1
	exit 0
}

# need COMMAND...: skips everything where one of them is missing.
need() {
	local c
	for c; do command -v "$c" >/dev/null 2>&1 || skip_all "$c is not there"; done
}

done_testing() {
	judge_mock
	printf '1..%d\n' "$tap_count"
	finished=1
	[ $tap_failed = 0 ]
	exit
}

# ---- the scratch folder, and the end ----

finished=''
started_pids=()
started_chromas=()

alive() { [ -n "$(tr '\0' ' ' 2>/dev/null <"/proc/$1/cmdline")" ]; } 2>/dev/null

# end_pid PID: TERM, after 30 seconds KILL; returns when it is gone.
end_pid() {
	local n=0
	disown "$1" 2>/dev/null   # else the shell reports its end
	kill -TERM "$1" 2>/dev/null || return 0
	while alive "$1"; do
		n=$((n + 1))
		[ $n -lt 600 ] || kill -KILL "$1" 2>/dev/null
		[ $n -lt 1200 ] || break
		sleep 0.05
	done
}

cleanup() {
	local status=$? p
	trap - EXIT
	# a child that was signalled before it became another program still has this trap
	[ "$BASHPID" = $$ ] || exit "$status"
	trap '' HUP INT TERM
	for p in ${started_pids[@]+"${started_pids[@]}"}; do end_pid "$p"; done
	for p in ${started_chromas[@]+"${started_chromas[@]}"}; do
		"$abs_top_srcdir/scripts/chroma" stop "$p" >/dev/null 2>&1
	done
	cd /
	if [ -n "$keep_scratch" ]; then
		diag "kept: $scratch"
	else
		chmod -R u+rwx "$scratch" 2>/dev/null
		rm -rf "$scratch"
	fi
	if [ -z "$finished" ]; then
		echo "Bail out! $test_name ended early"
		[ $status != 0 ] || status=99
	fi
	exit "$status"
}

scratch=$(mktemp -d "${TMPDIR:-/tmp}/linesync-$test_name.XXXXXX") || exit 99
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$scratch" || exit 99
export HOME=$scratch/home
mkdir "$HOME"
export LINESYNC_STATE_DIR=$scratch/state

# started PID: end it at the end of the test.  Returns when it has become the other program: signalled
# before, it would still have this shell's traps.
started() {
	local n=0
	started_pids+=("$1")
	while [ $n -lt 6000 ] && cmp -s "/proc/$$/cmdline" "/proc/$1/cmdline"; do
		n=$((n + 1))
		sleep 0.01
	done
}

# wait_until SECONDS COMMAND...: tries every 20 ms; fails when the time is over.
wait_until() {
	local seconds=$1 until
	shift
	until=$(($(date +%s%N) + seconds * 1000000000))
	until "$@" >/dev/null 2>&1; do
		[ "$(date +%s%N)" -lt $until ] || return 1
		sleep 0.02
	done
}

# ---- linesync ----

out=$scratch/out
err=$scratch/err
rc=0

# run ARGUMENT...: runs linesync with this shell's input redirection; afterwards rc is its exit status,
# and its output is in the files $out and $err.  More than RUN_LIMIT seconds are a failure of their own.
RUN_LIMIT=${RUN_LIMIT:-600}
run() {
	rc=0
	timeout -k 5 "$RUN_LIMIT" "$LINESYNC" "$@" >"$out" 2>"$err" || rc=$?
	[ $rc != 124 ] || diag "linesync $*: no end after $RUN_LIMIT s"
	[ -z "$verbose" ] || { diag "linesync $* -> $rc"; sed 's/^/# /' "$err"; }
}

# run_bg ARGUMENT...: the same in the background; its process is $bg_pid.  Input: redirect it.
run_bg() {
	"$LINESYNC" "$@" >"$out" 2>"$err" <&0 &
	bg_pid=$!
	started "$bg_pid"
}

# wait_bg: waits for it; rc is its exit status as a shell shows it.
wait_bg() { rc=0; wait "$bg_pid" || rc=$?; }

# ---- stores ----

# free_port: prints a port of the loopback interface that is free now.
free_port() {
	local port
	while :; do
		port=$((10000 + (RANDOM * 32768 + RANDOM) % 22000))
		(exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
	done
}

# start_mock ARGUMENT...: starts the scriptable store; sets mock_pid, mock_port, mock_url, and
# LINESYNC_STORE.  Its messages are in $scratch/mock.err.  --port PORT gives it a fixed port.
start_mock() {
	need python3
	local port_option=(--port 0) a
	for a; do [ "$a" != --port ] || port_option=(); done
	rm -f "$scratch/mock.out"
	python3 "$abs_top_srcdir/tests/mock/chroma.py" --contract ${port_option[@]+"${port_option[@]}"} "$@" \
		>"$scratch/mock.out" 2>>"$scratch/mock.err" </dev/null &
	mock_pid=$!
	started "$mock_pid"
	wait_until "$RUN_LIMIT" grep -q '^[0-9]' "$scratch/mock.out" || {
		sed 's/^/# /' "$scratch/mock.err"
		echo "Bail out! the mock store did not start"
		exit 99
	}
	mock_port=$(head -n 1 "$scratch/mock.out")
	mock_url=http://127.0.0.1:$mock_port
	export LINESYNC_STORE=chroma:$mock_url
}

stop_mock() { judge_mock; end_pid "$mock_pid"; }

# judge_mock: a test, if there is a mock and the store's description: was all as that says?
judge_mock() {
	[ -n "${mock_url-}" ] && alive "$mock_pid" || return 0
	local name='requests and answers are as the store describes them'
	if grep -q 'nothing is checked' "$scratch/mock.err"; then
		skip "$name" "$(head -n 1 "$scratch/mock.err")"
	else
		is "$(python3 -c 'import sys, urllib.request as u
print(u.urlopen(sys.argv[1] + "/_mock/violations").read().decode()[:1000])' "$mock_url")" '[]' "$name"
	fi
}

# start_chroma [NAME [PORT]]: starts a real Chroma with its data in $scratch/NAME (chroma); sets
# chroma_dir, chroma_url, and LINESYNC_STORE.  May be called again after stop_chroma.  Where none can
# be installed everything is skipped, unless LINESYNC_TEST_STRICT is set.
start_chroma() {
	chroma_dir=$scratch/${1:-chroma}
	if ! "$abs_top_srcdir/scripts/chroma" install >/dev/null 2>"$scratch/chroma.err"; then
		sed 's/^/# /' "$scratch/chroma.err"
		if [ -z "${LINESYNC_TEST_STRICT-}" ] && [ $tap_count = 0 ]; then
			skip_all 'there is no Chroma server'
		fi
		echo "Bail out! there is no Chroma server"
		exit 99
	fi
	started_chromas+=("$chroma_dir")
	chroma_url=$("$abs_top_srcdir/scripts/chroma" start "$chroma_dir" ${2+"$2"} 2>"$scratch/chroma.err") || {
		sed 's/^/# /' "$scratch/chroma.err"
		echo "Bail out! the Chroma server did not start"
		exit 99
	}
	export LINESYNC_STORE=chroma:$chroma_url
}

stop_chroma() { "$abs_top_srcdir/scripts/chroma" stop "$chroma_dir"; }
