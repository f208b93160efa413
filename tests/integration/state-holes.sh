#!/bin/bash
# What can go wrong with the state file, provoked on the shipped program: commits that fail at each of
# their writes and syncs, also where TDB itself reports success; files that are not ours, cut or replaced;
# the first start killed at each step; two at once.  After each of them the run is resumed and must
# end as a clean one does.
. "${abs_top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh"

need strace python3
strace -o /dev/null true 2>/dev/null || skip_all 'strace may not trace here'
export ASAN_OPTIONS=detect_leaks=0   # a leak checker cannot work in a traced process

start_mock
state=$scratch/s.tdb
options=(--collection Code --batch-size 2 --connections 1 --flush-ms 100 --state "$state")

{
	for i in 1 2 3; do printf '{"repo":"A","path":"f%d","content":"text %d"}\n' $i $i; done
	printf '{"repo":"B","path":"f1","content":"another"}\n'
	printf '{"repo":"A","op":"delete","path":"f9"}\n'
	printf '{"repo":"A","new_changeset":{"commit":"a1"}}\n'
	printf '{"repo":"B","new_changeset":{"commit":"b1"}}\n'
} >in.jsonl
# judge FIRST SECOND: FIRST are the results of a run that ended badly, SECOND those of the one that resumed
# it.  Says what is wrong: a line without a result, one that was printed as done and is done again, a
# store that differs from the file clean.  Without FIRST it prints what the store holds, without what
# differs from run to run.  Then the store is emptied.
cat >judge.py <<'END'
import json, sys, urllib.request

url = sys.argv[1] + "/_mock/"
rows = []
for name, c in sorted(json.load(urllib.request.urlopen(url + "dump?settle=1")).items()):
    for i, r in sorted(c["records"].items()):
        r["metadata"].pop("synced_at", None)
        rows.append("%s %s %s\n" % (name, i, json.dumps(r, sort_keys=True)))
urllib.request.urlopen(urllib.request.Request(url + "reset", data=b"", method="POST")).read()
if len(sys.argv) == 2:
    sys.stdout.writelines(rows)
    sys.exit()
first, second = ({r["line"]: r for r in map(json.loads, open(f))} for f in sys.argv[2:])
if rows != open("clean").readlines():
    print("the store differs")
missing = set(range(1, len(open("in.jsonl").readlines()) + 1)) - set(second)
if missing:
    print("no result for", missing)
for n, r in first.items():
    now = second.get(n, {})
    known = now.get("resumed") and now.get("status") == r["status"] or now.get("reason") == "unchanged"
    if r["status"] in ("completed", "skipped") and not known and r.get("op") != "changeset":
        print("printed, but not durable:", r, now)
END
judge() { python3 judge.py "$mock_url" "$@"; }
positions() { "$LINESYNC" changeset --state "$state" 2>>"$err" | awk '{ print $1, $NF }'; }

# traced STRACE-OPTION...: a run under strace, without a state.  trace is what it did, out what it printed.
trace=$scratch/trace
traced() {
	rm -rf "$state"*
	rc=0
	# the shell itself would say that it was killed
	{
		timeout -k 5 "$RUN_LIMIT" strace -f -qq -o "$trace" "$@" "$LINESYNC" "${options[@]}" \
			<in.jsonl >"$out" 2>"$err" || rc=$?
	} 2>/dev/null
}

# resumes DESCRIPTION: the same input again.  One result, with details where something is wrong.
resumes() {
	local what=$1 wrong=''
	mv "$out" first
	run "${options[@]}" <in.jsonl
	[ "$rc" = 0 ] || wrong="exit status $rc"
	wrong+=$(judge first "$out" 2>&1)
	[ "$(positions)" = "$(cat clean.positions)" ] || wrong+=' positions differ'
	if [ -z "$wrong" ]; then
		pass "$what"
	else
		fail "$what"
		diag "$wrong"
		diag "$(cat "$err")"
	fi
}

# ---- a clean run ----

traced -e trace=pwrite64,fdatasync,fsync,openat,link,unlink,fallocate,ftruncate,write,fcntl,sendto,connect
is "$rc" 0 'a clean run'
judge >clean
positions >clean.positions
ok 'with positions' grep -q a1 clean.positions
is "$(wc -l <clean)" 4 'and what should be stored'
cp "$trace" clean.trace

# calls NAME [PATTERN]: how often NAME was called, up to the first line with PATTERN.
calls() { sed "/${2:-^\$}/q" clean.trace | grep -c " $1("; }

writes=$(calls pwrite64) syncs=$(calls fdatasync)
writes_before=$(calls pwrite64 ' link(') syncs_before=$(calls fdatasync ' link(')
ok "enough commits were seen: $((syncs / 4))" test "$syncs" -ge 28

# ---- commits that fail ----

# failing CALL ERROR N WANT: the Nth CALL fails once.
failing() {
	local call=$1 error=$2 n=$3 want=$4 after
	traced -e trace="$call,pwrite64" -e inject="$call:error=$error:when=$n"
	if [ "$rc" != "$want" ]; then
		fail "$call $n, $error: exit status $rc, not $want"
		diag "$(cat "$err")"
		return
	fi
	if [ "$want" = 74 ] && ! grep -q "linesync: error: state '$state': cannot" "$err"; then
		fail "$call $n, $error: the message does not say what failed"
		diag "$(cat "$err")"
		return
	fi
	# the two that TDB leaves half done: nothing more may be written
	if [ "$call" = fdatasync ] && [ "$want" = 74 ] && [ $((n % 4)) = 3 ]; then
		after=$(sed '1,/INJECTED/d' "$trace" | grep -c 'pwrite64(\|fdatasync(')
		if [ "$after" != 0 ]; then
			fail "$call $n, $error: something was written after the failure"
			return
		fi
	fi
	resumes "$call $n, $error: exit status $want, and resumed"
}

# The last 4 bytes of each commit: TDB reports success, and the next transaction takes it back.
last_steps=$(grep ' pwrite64(' clean.trace | grep -n '"\\0\\0\\0\\0", 4, ' | cut -d: -f1)
ok "last steps were among them: $(wc -w <<<"$last_steps")" test "$(wc -w <<<"$last_steps")" -ge 7

# all CALL: numbers of its calls to try: each, or by default those of the creation, of two commits in the
# middle and of the last one, with the last step of every commit.
all() {
	local n total before middle
	total=$(calls "$1") before=$(calls "$1" ' link(')
	middle=$(((before + total) / 2))
	for ((n = 1; n <= total; n++)); do
		if [ -n "${LINESYNC_TEST_LONG-}" ] || { [ $n -le "$before" ] && [ $((n % 3)) = 1 ]; } ||
			{ [ $n -ge $middle ] && [ $n -lt $((middle + 8)) ]; } || [ $n -gt $((total - 4)) ] ||
			{ [ "$1" = pwrite64 ] && grep -qx $n <<<"$last_steps"; } ||
			{ [ "$1" = fdatasync ] && [ $((n % 4)) = 3 ]; }; then
			echo $n
		fi
	done
}

# The first write is the lock file's, for people only.
for n in $(all pwrite64); do
	if [ "$n" = 1 ]; then want=0; elif [ "$n" -le "$writes_before" ]; then want=73; else want=74; fi
	failing pwrite64 EIO "$n" $want
done
for n in $(all fdatasync); do
	failing fdatasync EIO "$n" "$([ "$n" -le "$syncs_before" ] && echo 73 || echo 74)"
done

# A full disk stays full.
for ((n = writes_before + 1; n <= writes; n += 9)); do
	traced -e trace=pwrite64 -e inject="pwrite64:error=ENOSPC:when=$n+"
	if [ "$rc" = 74 ]; then
		resumes "no space from write $n on: exit status 74, and resumed"
	else
		fail "no space from write $n on: exit status $rc"
		diag "$(cat "$err")"
	fi
done
for call in fallocate ftruncate fsync link; do
	# ftruncate 1 is the lock file's
	traced -e trace=$call -e inject="$call:error=ENOSPC:when=$([ $call = ftruncate ] && echo 2 || echo 1)"
	if [ "$rc" = 73 ] || { [ "$rc" = 0 ] && [ $call = fallocate ]; }; then
		resumes "$call of the first start: no space, exit status $rc"
	else
		fail "$call of the first start: no space, exit status $rc"
		diag "$(cat "$err")"
	fi
done

# ---- the first start killed at each step ----

for call in openat pwrite64 fdatasync fsync link unlink fallocate ftruncate; do
	for ((n = 1; n <= $(calls $call ' sendto('); n++)); do
		[ $call != pwrite64 ] || [ $((n % 3)) = 0 ] || [ -n "${LINESYNC_TEST_LONG-}" ] || continue
		# what is opened before the lock is of no interest here
		if [ $call = openat ] && ! grep ' openat(' clean.trace | sed -n "${n}p" | grep -q 's\.tdb'; then
			continue
		fi
		traced -e trace=$call -e inject="$call:signal=KILL:when=$n"
		[ "$rc" = 137 ] || { fail "$call $n: not killed, $rc"; continue; }
		resumes "killed at $call $n, the next start works"
		[ ! -e "$state.new" ] || fail "killed at $call $n: something is left behind"
	done
done

# ---- files that are not a state ----

# refused WHAT: a sync and a status say so, 74, and leave the file as it is.
refused() {
	local what=$1 sum mode
	sum=$(sha256sum <"$state") mode=$(stat -c '%s %Y %i %h' "$state")
	run "${options[@]}" <in.jsonl
	is "$rc" 74 "$what: refused"
	like "$(cat "$err")" "linesync: error: state '$state' .*(move it away|another)" "$what: said so"
	is "$(wc -c <"$out")" 0 "$what: no result"
	run status --state "$state"
	is "$rc" 74 "$what: status refuses it too"
	is "$(sha256sum <"$state") $(stat -c '%s %Y %i %h' "$state")" "$sum $mode" "$what: the file is as it was"
	not_ok "$what: nothing new beside it" test -e "$state.new"
}

rm -rf "$state"*
printf 'my only copy of a letter\n' >"$state"
refused 'a text file'
: >"$state"
refused 'an empty file'
head -c 300000 /dev/urandom >"$state"
refused 'random bytes'
rm -f "$state"
mkdir "$state"
run "${options[@]}" <in.jsonl
is "$rc" 74 'a folder: refused'
rmdir "$state"
run "${options[@]}" <in.jsonl
is "$rc" 0 'a state'
mv "$state" real.tdb
ln -s real.tdb "$state"
sum=$(sha256sum <real.tdb)
run "${options[@]}" <in.jsonl
is "$rc" 74 'a symbolic link to a state: refused'
like "$(cat "$err")" 'is a symbolic link' 'and it is said why'
is "$(sha256sum <real.tdb)" "$sum" 'what it points to is as it was'
rm "$state"
size=$(stat -c %s real.tdb)
for at in 100 4096 40000 45000; do
	head -c "$at" real.tdb >"$state"
	refused "cut at $at"
done
# The rest may be free space of TDB's: then nothing is missing.
for at in "$((size / 2))" "$((size - 512))"; do
	head -c "$at" real.tdb >"$state"
	run "${options[@]}" <in.jsonl
	like "$rc" '^(0|74)$' "cut at $at of $size: $rc"
done
judge >now
same_file now clean 'the store is as before'

# ---- folders ----

rm -rf "$state"* folder
printf 'x\n' >folder
run --collection Code --state-dir "$scratch/folder" <in.jsonl
is "$rc" 73 'a file as --state-dir'
is "$(cat folder)" x 'is left alone'
rm folder
mkdir elsewhere
ln -s elsewhere folder
run --collection Code --state-dir "$scratch/folder" <in.jsonl
is "$rc" 73 'a symbolic link as --state-dir'
is "$(ls elsewhere)" '' 'and nothing is made behind it'
judge >/dev/null
run --collection Code --state-dir "$scratch/new/deep" <in.jsonl
is "$rc" 0 'folders that are missing are made'
is "$(stat -c %a new new/deep new/deep/*.tdb)" $'700\n700\n600' 'for this user alone'

# ---- cut under a running linesync ----

judge >/dev/null
rm -rf "$state"*
mkfifo feed
"$LINESYNC" "${options[@]}" <feed >"$out" 2>"$err" &
bg_pid=$!
started $bg_pid
exec 7>feed
head -n 4 in.jsonl >&7
wait_until "$RUN_LIMIT" grep -q '"line":4' "$out"
truncate -s 1000 "$state"
tail -n +5 in.jsonl >&7
exec 7>&-
wait_bg
is "$rc" 74 'cut under a running linesync: no signal, exit status 74'
like "$(cat "$err")" "state '$state'" 'and it is said'
refused 'what is left of it'
rm "$state"
: >"$out"
resumes 'moved away, everything fed again'

# ---- two at once ----

rm -rf "$state"*
"$LINESYNC" "${options[@]}" <feed >first.out 2>first.err &
bg_pid=$!
started $bg_pid
exec 7>feed
head -n 4 in.jsonl >&7
wait_until "$RUN_LIMIT" grep -q '"line":4' first.out
run "${options[@]}" <in.jsonl
is "$rc" 75 'a second one: exit status 75'
like "$(cat "$err")" "pid $bg_pid, host [^,]+, since 20[0-9-]+T[0-9:]+Z" 'it says who works'
run status --state "$state"
like "$(cat "$out" "$err")" 'running' 'status reads beside it'
sum=$(date +%s%N)
run "${options[@]}" --wait-lock 1 <in.jsonl
is "$rc" 75 'waiting for it in vain'
ok 'for as long as was asked' test $((($(date +%s%N) - sum) / 1000000)) -ge 1000
"$LINESYNC" "${options[@]}" --wait-lock 600 <in.jsonl >"$out" 2>"$err" 7>&- &
second=$!
started $second
sleep 0.3
ok 'another one waits' alive $second
tail -n +5 in.jsonl >&7
exec 7>&-
wait_bg
is "$rc" 0 'the first one ends'
rc=0
wait $second || rc=$?
is "$rc" 0 'then the second one has its turn'
judge >now
same_file now clean 'the store is right'

done_testing
