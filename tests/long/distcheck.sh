#!/bin/bash
# Is the release tarball whole?  make distcheck unpacks it read-only, builds it elsewhere, installs,
# uninstalls and cleans it.  The unit tests run there too; the others have been run already.
. "${abs_top_srcdir:-$(dirname "$0")/../..}/tests/lib.sh"

need autoreconf make
# distcheck finds the libraries and programs of the system, and the user's compiler settings
ok 'it builds' "$abs_top_srcdir/scripts/build" "$scratch/b" || done_testing
# shellcheck disable=SC2016  # for make to expand; linesync-small is what a test runs
make -C b/build -j2 distcheck TESTS='$(filter-out tests/linesync-small,$(check_PROGRAMS))' >log 2>&1
is $? 0 'make distcheck' || tail -n 60 log | sed 's/^/# /'
ok 'there is a tarball' test -s "$(echo b/build/linesync-*.tar.gz)"

# what a user gets: everything that git knows, but for what only a checkout needs
tar -tzf b/build/linesync-*.tar.gz | sed 's,^[^/]*/,,' | sort >in-tarball
# (scripts/test says what that is: it runs in a copy)
if [ -s "${LINESYNC_TEST_FILES-}" ]; then
	tr '\0' '\n' <"$LINESYNC_TEST_FILES" >in-git
else
	(cd "$abs_top_srcdir" && [ -e .git ] && git ls-files --cached --others --exclude-standard) >in-git
fi
if [ -s in-git ]; then
	grep -vE '^(\.gitignore|\.shellcheckrc)$' in-git | sort >wanted
	is "$(comm -23 wanted in-tarball)" '' 'nothing of the repository is left out'
else
	skip 'nothing of the repository is left out' 'this is no git checkout'
fi
done_testing
