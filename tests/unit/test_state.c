#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../src/alloc.h"
#include "../../src/clock.h"
#include "../../src/state.h"
#include "../../src/statefile.h"
#include "scratch.h"
#include "tap.h"

#define STORE "chroma:http://localhost:8000"

static char dir[] = "/tmp/linesync-test-XXXXXX";
static char path[64];
static struct state *state;

/* What a look costs: libtdb reads through this one, by either of its names. */
static unsigned long preads;

ssize_t counted_pread(int fd, void *p, size_t n, off_t at) __asm__("pread");

ssize_t counted_pread(int fd, void *p, size_t n, off_t at)
{
	preads++;
	return syscall(SYS_pread64, fd, p, n, at);
}

ssize_t counted_pread64(int fd, void *p, size_t n, off_t at) __asm__("pread64")
	__attribute__((alias("pread")));

static void open_state(void)
{
	if (state_open(&state, path, STORE, "Code", 0) != 0) {
		printf("Bail out! cannot open the state\n");
		exit(99);
	}
}

static void reopen(void)
{
	state_commit(state);
	state_close(state);
	open_state();
}

/* A new, empty state. */
static void fresh(void)
{
	state_close(state);
	unlink(path);
	open_state();
	if (state_settle(state) != 0)
		printf("Bail out! cannot make the state\n");
}

static bool no_files_left(void)
{
	char lock[80];

	snprintf(lock, sizeof(lock), "%s.lock", path);
	return access(path, F_OK) != 0 && access(lock, F_OK) != 0;
}

static void test_open(void)
{
	struct state *second;
	struct stat st;

	ok(state_open_existing(&second, path, 0) == 66 && second == NULL, "no state to change: 66");
	ok(state_open_reader(&second, path) == 66 && second == NULL, "no state to read: 66");
	open_state();
	ok(access(path, F_OK) != 0, "in memory at first");
	state_close(state);
	ok(no_files_left(), "closed before it was settled: neither file nor lock is left");
	open_state();
	ok(state_settle(state) == 0 && state_settle(state) == 0, "settled");
	ok(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600, "made, 0600");
	ok(strcmp(state_identity(state)->store, STORE) == 0 &&
	   strcmp(state_identity(state)->collection, "Code") == 0 && strcmp(state_path(state), path) == 0,
	   "whose it is");
	ok(state_head(state)->next_run == 1 && state_head(state)->embedder[0] == '\0' &&
	   state_run(state) == NULL && !state_head(state)->collection_read, "an empty head");
	state_close(state);
	ok(state_open(&state, path, STORE, "Other", 0) == 78 && state == NULL, "another collection: 78");
	ok(state_open(&state, path, "chroma:http://elsewhere:8000", "Code", 0) == 78, "another store: 78");
	open_state();
	state_head(state)->dimension = 384;
	state_commit(state);
	ok(state_commits(state) == 1 && state_dirty(state) == 0, "one commit");
	state_commit(state);
	ok(state_commits(state) == 1, "nothing changed: no commit");
	state_close(state);
	state_close(NULL);
	ok(state_open_existing(&state, path, 0) == 0 && state_head(state)->dimension == 384,
	   "taken as it is");
	state_close(state);
	state = NULL;
}

static struct doc_state doc(uint8_t flags, uint32_t chunks, uint32_t run, uint32_t ord)
{
	struct doc_state d = { .flags = flags, .chunks = chunks, .last = { run, ord } };

	memset(d.digest, 0x5a, sizeof(d.digest));
	return d;
}

static void put_doc(const char *repo, const char *name, uint8_t flags, uint32_t run, uint32_t ord)
{
	struct doc_state d = doc(flags, 1, run, ord);

	state_doc_put(state, repo, name, &d);
}

static void test_documents(void)
{
	struct doc_state d;

	fresh();
	ok(!state_doc_get(state, "A", "x", &d) && d.flags == 0, "an unknown document");
	put_doc("A", "x", DOC_PRESENT | DOC_KNOWN, 1, 1);
	put_doc("A", "y", DOC_PRESENT | DOC_LOOSE | DOC_UNCOMMITTED, 1, 2);
	put_doc("B", "x", DOC_ABSENT | DOC_LOOSE, 1, 3);
	ok(state_head(state)->present == 2 && state_repo(state, "A")->present == 2 &&
	   state_repo(state, "B")->present == 0, "documents that the store holds are counted");
	ok(state_repo(state, "A")->loose == 1 && state_repo(state, "B")->loose == 1, "loose ones, once each");
	reopen();
	ok(state_doc_get(state, "A", "x", &d) && d.flags == (DOC_PRESENT | DOC_KNOWN) && d.digest[15] == 0x5a &&
	   d.chunks == 1 && d.last.run == 1 && d.last.ord == 1, "after opening again");
	put_doc("A", "y", DOC_PRESENT | DOC_KNOWN, 2, 1);
	put_doc("A", "x", DOC_ABSENT, 2, 2);
	put_doc("A", "x", DOC_ABSENT, 2, 3);
	ok(state_head(state)->present == 1 && state_repo(state, "A")->present == 1 &&
	   state_repo(state, "A")->loose == 0, "replaced: counted anew");
	state_doc_del(state, "A", "y");
	state_doc_del(state, "A", "y");
	state_doc_del(state, "B", "x");
	reopen();
	ok(state_head(state)->present == 0 && state_repo(state, "A")->present == 0 &&
	   state_repo(state, "B")->loose == 0 && !state_doc_get(state, "B", "x", &d), "deleted, once and twice");
	put_doc("", "x", DOC_PRESENT, 1, 1);
	put_doc("A", "B", DOC_PRESENT, 1, 1);
	put_doc("AB", "", DOC_PRESENT, 1, 1);
	ok(state_repo(state, "")->present == 1 && state_repo(state, "A")->present == 1 &&
	   state_repo(state, "AB")->present == 1 && !state_doc_get(state, "", "AB", &d),
	   "names that run together when written one after the other are apart");
}

static void test_marks(void)
{
	struct mark m = { .flags = 0, .chunks = 3, .count = 2, .line = { 1, 5 }, .since_s = 1234 }, got;

	fresh();
	ok(!state_mark_get(state, "A", "x", &got), "no mark");
	state_mark_put(state, "A", "x", &m);
	ok(state_head(state)->marks == 1 && state_repo(state, "A")->doubts == 0, "under way: no doubt yet");
	m.flags = MARK_DOUBT;
	state_mark_put(state, "A", "x", &m);
	state_mark_put(state, "A", "y", &m);
	reopen();
	ok(state_head(state)->marks == 2 && state_repo(state, "A")->doubts == 2, "two doubts");
	ok(state_mark_get(state, "A", "x", &got) && got.flags == MARK_DOUBT && got.chunks == 3 &&
	   got.count == 2 && got.line.ord == 5 && got.since_s == 1234, "what a mark says");
	m.flags = MARK_SETTLED;
	state_mark_put(state, "A", "x", &m);
	ok(state_head(state)->marks == 2 && state_repo(state, "A")->doubts == 1, "settled: it only delays");
	state_mark_del(state, "A", "x");
	state_mark_del(state, "A", "x");
	state_mark_del(state, "A", "y");
	reopen();
	ok(state_head(state)->marks == 0 && state_repo(state, "A")->doubts == 0 &&
	   !state_mark_get(state, "A", "y", &got), "none left");
}

static bool walk_is(char kind, const char *repo, const char *want)
{
	struct walk at = { 0 };
	auto_buf struct buf got = BUF_INIT;

	buf_adds(&got, "");
	while (state_walk(state, kind, repo, &at))
		buf_addf(&got, "%s:%s ", at.repo, at.path);
	walk_release(&at);
	if (strcmp(got.len ? got.data : "", want) == 0)
		return true;
	printf("# walked: %s\n", got.data);
	return false;
}

static void test_walks(void)
{
	struct walk at = { 0 };
	auto_buf struct buf names = BUF_INIT;
	struct mark m = { .flags = MARK_DOUBT };

	fresh();
	ok(walk_is('d', NULL, ""), "nothing to walk");
	put_doc("B", "z/1", DOC_PRESENT, 1, 1);
	put_doc("A", "b", DOC_PRESENT, 1, 2);
	put_doc("AA", "a", DOC_PRESENT, 1, 3);
	put_doc("A", "a", DOC_PRESENT, 1, 4);
	state_mark_put(state, "A", "m", &m);
	state_commit(state);
	ok(walk_is('d', NULL, "A:a A:b AA:a B:z/1 "), "all documents, by repository and path");
	ok(walk_is('d', "A", "A:a A:b ") && walk_is('d', "AA", "AA:a ") && walk_is('d', "C", ""),
	   "those of one repository");
	ok(walk_is('m', NULL, "A:m ") && walk_is('f', NULL, ""), "marks; failures");
	while (state_walk_repos(state, &at))
		buf_addf(&names, "%s ", at.repo);
	walk_release(&at);
	ok(strcmp(names.data, "A AA B ") == 0, "repositories");
	while (state_walk(state, 'd', NULL, &at))
		state_doc_del(state, at.repo, at.path);
	walk_release(&at);
	ok(walk_is('d', NULL, "") && state_head(state)->present == 0, "deleted while walking");
}

static struct failure failure(const char *repo, const char *name, uint32_t run, uint32_t ord, uint8_t half)
{
	static char empty[] = "", said[] = "no";
	struct failure f = { .line = { run, ord }, .hold = { run, ord }, .number = ord + 100, .op = OP_MODIFY,
		.half = half, .code = ERR_STORE_REJECTED, .http = 422, .first_s = 1000 + run,
		.last_s = 2000 + run, .repo = (char *)repo, .path = (char *)name, .message = said,
		.root = empty, .folder = empty, .default_repo = empty, .namespace = empty };

	return f;
}

static void fail(const char *repo, const char *name, uint32_t run, uint32_t ord, uint8_t half,
		 const char *payload)
{
	struct failure f = failure(repo ? repo : "", name, run, ord, half);

	state_failure_put(state, &f, repo != NULL, payload, payload ? strlen(payload) : 0);
}

static bool failures_are(const char *want)
{
	struct failure_walk at = { 0 };
	struct failure f = { 0 };
	auto_buf struct buf got = BUF_INIT;

	buf_adds(&got, "");
	while (state_failure_next(state, &at, &f))
		buf_addf(&got, "%u:%u.%u:%s:%s ", f.line.run, f.line.ord, f.half,
			 at.repo_known ? f.repo : "?", f.path);
	failure_walk_release(&at);
	if (strcmp(got.len ? got.data : "", want) == 0)
		return true;
	printf("# failures: %s\n", got.data);
	return false;
}

static bool payload_is(uint32_t run, uint32_t ord, const char *want)
{
	struct failure_walk at = { 0 };
	struct failure f = { 0 };
	auto_buf struct buf b = BUF_INIT;
	bool found = false;

	while (!found && state_failure_next(state, &at, &f))
		found = f.line.run == run && f.line.ord == ord && state_failure_payload(state, &f, &b);
	failure_release(&f);
	failure_walk_release(&at);
	if (want == NULL)
		return !found && b.len == 0;
	return found && b.len == strlen(want) && memcmp(b.data, want, b.len) == 0;
}

static void test_failures(void)
{
	struct failure f;

	fresh();
	state_run_begin(state, "", "");
	fail("A", "x", 1, 3, HALF_NEW, "line three");
	fail("A", "", 1, 2, HALF_NEW, "line two");
	fail(NULL, "", 1, 1, HALF_NEW, "broken");
	fail("B", "x", 1, 4, HALF_NEW, NULL);
	ok(failures_are("1:1.1:?: 1:2.1:A: 1:3.1:A:x 1:4.1:B:x "), "in order of run and line");
	ok(state_repo(state, "A")->failed == 2 && state_repo(state, "B")->failed == 1 &&
	   state_run(state)->unknown_failures == 1, "counted where they belong");
	reopen();
	state_run_continue(state, 1);
	ok(payload_is(1, 3, "line three") && payload_is(1, 1, "broken") && payload_is(1, 4, NULL) &&
	   state_head(state)->payload_bytes == 24, "the lines as they came");
	ok(state_failure_get(state, "A", "x", &f) && f.code == ERR_STORE_REJECTED && f.http == 422 &&
	   f.number == 103 && strcmp(f.message, "no") == 0 && f.payload == 10, "what a failure says");
	failure_release(&f);
	ok(!state_failure_get(state, "A", "y", &f) && !state_failure_get(state, "C", "x", &f), "no failure there");
	fail("A", "x", 2, 1, HALF_NEW, "newer");
	ok(failures_are("1:1.1:?: 1:2.1:A: 1:4.1:B:x 2:1.1:A:x ") && state_repo(state, "A")->failed == 2 &&
	   payload_is(1, 3, NULL) && payload_is(2, 1, "newer"), "a newer one takes the document's place");
	fail("A", "x", 2, 1, HALF_NEW, "newer");
	ok(state_repo(state, "A")->failed == 2 && state_head(state)->payload_bytes == 8 + 6 + 5,
	   "the same line again: counted once");
	state_failure_del(state, "A", "x");
	state_failure_del(state, "A", "x");
	state_failure_del(state, "C", "x");
	ok(failures_are("1:1.1:?: 1:2.1:A: 1:4.1:B:x ") && state_repo(state, "A")->failed == 1 &&
	   payload_is(2, 1, NULL), "deleted");
}

static bool walk_of_failures_is(const char *repo, const char *want)
{
	struct walk at = { 0 };
	struct failure f = { 0 };
	auto_buf struct buf got = BUF_INIT;

	buf_adds(&got, "");
	while (state_failure_walk(state, repo, &at, &f))
		buf_addf(&got, "%u:%u:%s ", f.line.run, f.line.ord, f.path);
	walk_release(&at);
	if (strcmp(got.data, want) == 0)
		return true;
	printf("# failures: %s\n", got.data);
	return false;
}

static void test_failures_by_repository(void)
{
	struct walk at = { 0 };
	struct failure f = { 0 };
	uint64_t walked;

	fresh();
	state_run_begin(state, "", "");
	fail("A", "y", 1, 3, HALF_NEW, NULL);
	fail("A", "x", 1, 4, HALF_NEW, NULL);
	fail("A", "", 1, 2, HALF_NEW, NULL);
	fail("A", "", 1, 1, HALF_NEW, NULL);
	fail("AB", "x", 1, 5, HALF_NEW, NULL);
	fail("", "x", 1, 6, HALF_NEW, NULL);
	fail("B", "", 1, 7, HALF_NEW, NULL);
	fail(NULL, "", 2, 1, HALF_NEW, NULL);
	fail(NULL, "", 1, 8, HALF_NEW, NULL);
	ok(walk_of_failures_is("A", "1:4:x 1:3:y 1:1: 1:2: "), "a repository's: documents by path, then lines");
	ok(walk_of_failures_is("AB", "1:5:x ") && walk_of_failures_is("", "1:6:x ") &&
	   walk_of_failures_is("B", "1:7: ") && walk_of_failures_is("C", ""), "and no other's");
	ok(walk_of_failures_is(NULL, "1:8: 2:1: "), "those of no known repository");
	walked = state_walked(state);
	while (state_failure_walk(state, "A", &at, &f) && f.path[0] != '\0')
		state_failure_del(state, "A", f.path);
	ok(f.line.ord == 1 && state_walked(state) - walked == 4, "deleted on the way: nothing is left out, or read twice");
	at.again = true;
	ok(state_failure_walk(state, "A", &at, &f) && f.line.ord == 1, "again: the same");
	ok(state_failure_walk(state, "A", &at, &f) && f.line.ord == 2, "once");
	state_failure_del_line(state, "A", (struct place_in_run){ 1, 2 });
	at.again = true;
	ok(!state_failure_walk(state, "A", &at, &f), "again, and it is gone");
	walk_release(&at);
	state_unknown_seek(&at, 2);
	ok(state_failure_walk(state, NULL, &at, &f) && f.line.run == 2 && !state_failure_walk(state, NULL, &at, &f),
	   "from a run on");
	walk_release(&at);
}

static void test_failures_of_a_line(void)
{
	struct failure_walk at = { 0 };
	struct failure f = { 0 };

	fresh();
	state_run_begin(state, "", "");
	fail("A", "new", 1, 7, HALF_NEW, "rename");
	fail("A", "old", 1, 7, HALF_OLD, "rename");
	ok(failures_are("1:7.1:A:new 1:7.2:A:old ") && state_head(state)->payload_bytes == 6,
	   "both halves of a rename share the line");
	state_failure_del(state, "A", "new");
	ok(failures_are("1:7.2:A:old ") && payload_is(1, 7, "rename"), "one half is left, and the line");
	while (state_failure_next(state, &at, &f))
		state_failure_del_at(state, &at);
	failure_walk_release(&at);
	ok(failures_are("") && payload_is(1, 7, NULL) && state_head(state)->payload_bytes == 0 &&
	   state_repo(state, "A")->failed == 0, "none left: no line");
	fail("A", "", 1, 8, HALF_NEW, "folder/");
	fail("A", "folder", 1, 8, HALF_NEW, "folder/");
	ok(failures_are("1:8.1:A:folder ") && state_repo(state, "A")->failed == 1 &&
	   state_head(state)->payload_bytes == 7,
	   "a line that failed without document, and now with one, has failed once");
	fail(NULL, "", 1, 8, HALF_NEW, "folder/");
	ok(failures_are("1:8.1:?: ") && state_repo(state, "A")->failed == 0 &&
	   state_run(state)->unknown_failures == 1, "and in no known repository");
	fail("A", "", 1, 8, HALF_NEW, "folder/");
	ok(failures_are("1:8.1:A: ") && state_run(state)->unknown_failures == 0, "and back");
}

static void test_payload_limits(void)
{
	static char big[65537];
	struct failure f = failure("A", "x", 1, 1, HALF_NEW), got;

	fresh();
	memset(big, 'p', sizeof(big));
	state_run_begin(state, "", "");
	state_failure_put(state, &f, true, big, 65536);
	ok(state_failure_get(state, "A", "x", &got) && got.payload == 65536 &&
	   state_head(state)->payload_bytes == 65536, "64 KiB are kept");
	failure_release(&got);
	state_failure_put(state, &f, true, big, 65537);
	ok(state_failure_get(state, "A", "x", &got) && got.payload == 0 && payload_is(1, 1, NULL) &&
	   state_head(state)->payload_bytes == 0, "a byte more is not");
	failure_release(&got);
	state_head(state)->payload_bytes = (512u << 20) - 100;
	state_failure_put(state, &f, true, big, 100);
	ok(payload_is(1, 1, NULL) == false && state_head(state)->payload_bytes == 512u << 20, "512 MiB in all");
	f.line.ord = 2;
	f.path = (char *)"y";
	state_failure_put(state, &f, true, big, 1);
	ok(state_failure_get(state, "A", "y", &got) && got.payload == 0 && payload_is(1, 2, NULL),
	   "beyond them only the failure itself");
	failure_release(&got);
}

static void test_failures_closed(void)
{
	struct run_state run = { .number = 3, .nancestors = 1, .ancestors = { { 2, 5 } } };

	fresh();
	state_run_begin(state, "", "");
	fail("A", "", 1, 1, HALF_NEW, "a");
	fail("A", "x", 1, 2, HALF_NEW, "b");
	fail("A", "", 2, 4, HALF_NEW, "c");
	fail("A", "", 2, 6, HALF_NEW, "d");
	fail("A", "", 3, 1, HALF_NEW, "e");
	fail("A", "", 4, 1, HALF_NEW, "f");
	fail("AB", "", 1, 3, HALF_NEW, "g");
	fail(NULL, "", 1, 4, HALF_NEW, "h");
	fail(NULL, "", 1, 5, HALF_NEW, "i");
	fail(NULL, "", 2, 5, HALF_NEW, "j");
	state_failures_closed(state, "A", &run);
	ok(failures_are("1:2.1:A:x 1:3.1:AB: 1:4.1:?: 1:5.1:?: 2:4.1:A: 2:5.1:?: 3:1.1:A: 4:1.1:A: ") &&
	   state_repo(state, "A")->failed == 4,
	   "a block closed: lines of earlier runs without document go, but the run's own stay");
	state_unknown_del(state, &run, 1, UINT32_MAX);
	ok(failures_are("1:2.1:A:x 1:3.1:AB: 1:4.1:?: 1:5.1:?: 2:4.1:A: 2:5.1:?: 3:1.1:A: 4:1.1:A: "),
	   "those of no known repository go with the run that they are of, but not from where it was cut");
	run.ancestors[0].cut = 6;
	state_unknown_del(state, &run, 5, 6);
	ok(failures_are("1:2.1:A:x 1:3.1:AB: 1:4.1:?: 1:5.1:?: 2:4.1:A: 3:1.1:A: 4:1.1:A: "), "one that was taken over");
	run = (struct run_state){ .number = 1 };
	state_unknown_del(state, &run, 4, 5);
	ok(failures_are("1:2.1:A:x 1:3.1:AB: 1:5.1:?: 2:4.1:A: 3:1.1:A: 4:1.1:A: "), "from one line to before another");
}

static void test_lines(void)
{
	struct line_state l;
	struct stat before, after;
	uint64_t commits;
	bool good = true;

	fresh();
	state_run_begin(state, "input", "settings");
	ok(!state_line_get(state, 1, &l), "no line was read");
	for (uint32_t i = 1; i <= 3000; i++)
		state_line_read(state, i, i * 0x123456789abcdefull, i % 2);
	state_line_set(state, 7, STATUS_HELD, REASON_NONE);
	state_line_set(state, 3000, STATUS_SKIPPED, REASON_ACCEPTED);
	state_line_set(state, 8, STATUS_SUPERSEDED, REASON_NONE);
	reopen();
	state_run_continue(state, 1);
	for (uint32_t i = 1; i <= 3000; i++)
		good = good && state_line_get(state, i, &l) && l.digest == i * 0x123456789abcdefull &&
			l.own == i % 2;
	ok(good && !state_line_get(state, 3001, &l), "3,000 lines and their digests");
	ok(state_line_get(state, 7, &l) && l.status == STATUS_HELD && l.reason == REASON_NONE &&
	   state_line_get(state, 3000, &l) && l.status == STATUS_SKIPPED && l.reason == REASON_ACCEPTED &&
	   state_line_get(state, 6, &l) && l.status == STATUS_NONE, "and what became of them");
	state_line_read(state, 7, 1, true);
	ok(state_line_get(state, 7, &l) && l.digest == 1 && l.status == STATUS_NONE, "read again");
	stat(path, &before);
	for (uint32_t i = 3001; i <= 203000; i++)
		state_line_read(state, i, i, true);
	state_commit(state);
	stat(path, &after);
	ok(after.st_size - before.st_size < 200000 * 12 + 2000000,
	   "200,000 more lines take %lld bytes", (long long)(after.st_size - before.st_size));
	state_run_end(state, RUN_COMPLETED);
	state_commit(state);
	commits = state_commits(state);
	state_lines_drop(state, 1);
	ok(!state_line_get(state, 1, &l) && !state_line_get(state, 203000, &l) && state_run(state)->lines == 0,
	   "dropped when the run ended well");
	ok(state_commits(state) - commits == 4, "in %d commits", (int)(state_commits(state) - commits));
}

/* True if no chunk of lines lies in the file under this run's number. */
static bool no_lines_of(uint32_t run)
{
	struct statefile *f;
	bool none = true;
	size_t n;

	state_close(state);
	if (statefile_open(&f, path, false) != STATEFILE_OK)
		return false;
	for (uint32_t chunk = 0; chunk < 10; chunk++)
		none = none && statefile_get(f, KIND_LINES, run, chunk, &n) == NULL;
	statefile_close(f);
	open_state();
	return none;
}

static void test_lines_are_dropped(void)
{
	struct line_state l;

	fresh();
	state_run_begin(state, "", "");
	for (uint32_t i = 1; i <= 2000; i++)
		state_line_read(state, i, i, true);
	state_commit(state);
	state_run_branch(state, 10);
	ok(state_line_get(state, 9, &l) && l.digest == 9 && !state_line_get(state, 10, &l),
	   "a branch takes over the lines below the cut");
	state_line_read(state, 10, 77, true);
	state_run_end(state, RUN_INTERRUPTED);
	reopen();
	state_run_continue(state, 2);
	ok(state_line_get(state, 10, &l) && l.digest == 77 && state_line_get(state, 1, &l) && l.digest == 1,
	   "and keeps them when it is interrupted");
	state_run_end(state, RUN_COMPLETED);
	state_commit(state);
	state_lines_drop(state, 2);
	ok(no_lines_of(1), "ended well: also those that only the first one had are gone");
	state_run_begin(state, "", "");
	state_line_read(state, 1, 1, true);
	state_run_end(state, RUN_INTERRUPTED);
	reopen();
	state_run_begin(state, "", "");
	state_commit(state);
	state_run_continue(state, 3);
	ok(!state_line_get(state, 1, &l), "another run begins: those of the one before have no more use");
}

static void test_runs(void)
{
	struct run_state r, *now;
	char first[64];

	fresh();
	ok(state_run_get(state, 1, &r) == -1 && state_run_continue(state, 1) == NULL, "no run");
	now = state_run_begin(state, "source", "format=auto");
	ok(now->number == 1 && now->status == RUN_RUNNING && now->pid == (uint32_t)getpid() &&
	   now->start_s > 1600000000 && strlen(now->id) > 20 && now->id[8] == 'T' && now->id[15] == 'Z' &&
	   now->host != NULL && strcmp(now->settings, "format=auto") == 0, "a run begins: %s", now->id);
	snprintf(first, sizeof(first), "%s", now->id);
	now->counts[STATUS_COMPLETED] = 5;
	now->objects = 6;
	now->requests = 7;
	ok(state_own_ord(state, (struct place_in_run){ 1, 9 }) == 9 &&
	   state_own_ord(state, (struct place_in_run){ 2, 9 }) == 0 &&
	   state_own_ord(state, (struct place_in_run){ 0, 9 }) == 0, "its own lines");
	reopen();
	ok(state_run(state) == NULL && state_own_ord(state, (struct place_in_run){ 1, 9 }) == 0, "no current run");
	ok(state_run_get(state, 1, &r) == 0 && strcmp(r.id, first) == 0 && r.counts[STATUS_COMPLETED] == 5,
	   "looked up");
	run_release(&r);
	now = state_run_continue(state, 1);
	ok(now != NULL && strcmp(now->id, first) == 0 && now->status == RUN_RUNNING, "continued");
	state_run_end(state, RUN_FAILED);
	state_commit(state);
	ok(state_run_get(state, 1, &r) == 0 && r.status == RUN_FAILED && r.end_s >= r.start_s, "ended");
	run_release(&r);
	state_run_begin(state, "", "");
	ok(state_run(state)->number == 2 && strcmp(state_run(state)->id, first) != 0, "the next number");
	fail("A", "x", 1, 1, HALF_NEW, NULL);
	state_commit(state);
	state_runs_drop(state, INT64_MAX);
	ok(state_run_get(state, 1, &r) == 0, "a run with a failure is not dropped");
	run_release(&r);
	state_failure_del(state, "A", "x");
	state_runs_drop(state, 1000);
	ok(state_run_get(state, 1, &r) == 0, "nor one that ended later");
	run_release(&r);
	state_runs_drop(state, INT64_MAX);
	reopen();
	ok(state_run_get(state, 1, &r) == -1 && state_run_get(state, 2, &r) == 0, "dropped, but for the current one");
	run_release(&r);
	ok(state_head(state)->old_runs == 1 && state_head(state)->old_counts[STATUS_COMPLETED] == 5 &&
	   state_head(state)->old_objects == 6 && state_head(state)->old_requests == 7, "its figures are kept");
}

/* The numbers of the runs that are there, downwards and upwards, as one text. */
static const char *runs_of(struct state *s)
{
	static char text[64];
	struct run_state r = { .number = UINT32_MAX };
	int n = 0;

	while (state_run_below(s, r.number, &r))
		n += snprintf(text + n, sizeof(text) - (size_t)n, "%u ", r.number);
	n += snprintf(text + n, sizeof(text) - (size_t)n, "|");
	while (state_run_above(s, r.number, &r))
		n += snprintf(text + n, sizeof(text) - (size_t)n, " %u", r.number);
	return text;
}

static void end_run(enum run_status status)
{
	state_run_end(state, status);
	state_commit(state);
}

/* What a sync and a status do with the runs of a state in which so many more are gone. */
static unsigned long reads_with_gone(uint32_t gone)
{
	struct state *reader;
	unsigned long before;

	fresh();
	state_run_begin(state, "", "");
	fail("A", "x", 1, 1, HALF_NEW, NULL);	/* it keeps the first */
	end_run(RUN_FAILED);
	if (gone > 0) {
		struct run_state newest = { .number = gone + 1, .status = RUN_COMPLETED, .end_s = 1 };

		state_head(state)->next_run += gone;
		state_run_put(state, &newest);	/* that one is always there; the list lacks it */
	}
	reopen();
	before = preads;
	state_run_begin(state, "", "");
	state_runs_drop(state, INT64_MAX);
	end_run(RUN_COMPLETED);
	state_close(state);
	state = NULL;
	if (state_open_reader(&reader, path) == 0)
		ok(strstr(runs_of(reader), " 1 | 1 ") != NULL, "with %u gone there are %s", gone, runs_of(reader));
	state_close(reader);
	before = preads - before;
	open_state();
	return before;
}

/* A few reads more or less, because hash chains differ. */
static void test_gone_runs(void)
{
	unsigned long none = reads_with_gone(0), some = reads_with_gone(2000), many = reads_with_gone(20000);

	ok(none > 100 && some < none + 20 && many < none + 20, "runs that are gone cost nothing: %lu reads with none, %lu with 2,000, "
	   "%lu with 20,000", none, some, many);
}

/* A record of each kind, which holds a byte that says nothing. */
static void put_page(struct statefile *f)
{
	static const char page[] = "\1\0\2\1cRx\0\4\1dR\0px\0\4\1fR\0px\0\4\1mR\0px";

	statefile_put(f, KIND_PAGE, 1, 0, page, sizeof(page) - 1);
}

static void put_bare_run(struct statefile *f, uint32_t number)
{
	auto_buf struct buf b = BUF_INIT;
	struct run_state r = { .number = number, .status = RUN_COMPLETED, .end_s = 1000 };

	run_encode(&b, &r);
	statefile_put(f, KIND_RUN, number, 0, b.data, b.len);
}

/* A state as it was before its runs were listed. */
static void make_unlisted(void)
{
	static char store[] = STORE, collection[] = "Code";
	auto_buf struct buf id = BUF_INIT, head = BUF_INIT;
	struct identity who = { 1, store, collection };
	struct head h = { .next_run = 7, .next_page = 1 };
	struct statefile *f = statefile_new(path);

	state_close(state);
	state = NULL;
	unlink(path);
	identity_encode(&id, &who);
	head_encode(&head, &h);
	statefile_put(f, KIND_IDENTITY, 0, 0, id.data, id.len);
	statefile_put(f, KIND_HEAD, 0, 0, head.data, head.len);
	put_bare_run(f, 2);
	put_bare_run(f, 5);
	put_bare_run(f, 6);
	if (statefile_create(f) != 0)
		printf("Bail out! cannot create '%s'\n", path);
	statefile_close(f);
}

/* Whatever is walked over: what does not parse is damage, not nothing. */
static void test_unparsable(void)
{
	struct statefile *f;
	struct state *reader;
	struct walk at = { 0 };
	struct head h = { .next_run = 7, .next_page = 2, .root = 1 };
	auto_buf struct buf head = BUF_INIT;

	make_unlisted();
	head_encode(&head, &h);
	if (statefile_open(&f, path, true) != STATEFILE_OK)
		return;
	statefile_put(f, KIND_HEAD, 0, 0, head.data, head.len);
	put_page(f);
	statefile_commit(f);
	statefile_close(f);
	for (const char *kind = "cdfm"; *kind != '\0'; kind++) {
		if (state_open_reader(&reader, path) != 0)
			return;
		ok(!(*kind == 'c' ? state_walk_repos(reader, &at) : state_walk(reader, *kind, NULL, &at)) &&
		   state_failed(reader) == 74, "a record that does not parse: %c", *kind);
		walk_release(&at);
		state_close(reader);
	}
}

static void test_unlisted_runs(void)
{
	struct state *reader;

	make_unlisted();
	ok(state_open_reader(&reader, path) == 0 && strcmp(runs_of(reader), "6 5 2 | 2 5 6") == 0,
	   "runs of an older state are searched");
	state_close(reader);
	open_state();
	ok(strcmp(runs_of(state), "6 5 2 | 2 5 6") == 0, "by a writer, too");
	state_run_begin(state, "", "");
	ok(strcmp(runs_of(state), "7 6 5 2 | 2 5 6 7") == 0, "and listed when the next one begins");
	reopen();
	ok(strcmp(runs_of(state), "7 6 5 2 | 2 5 6 7") == 0, "for good");
	state_run_begin(state, "", "");
	state_runs_drop(state, 1001);
	reopen();
	ok(strcmp(runs_of(state), "8 7 | 7 8") == 0, "dropped: listed no more");
}

/* The clock was wrong when the second ended; the third is old again. */
static void test_dropped_by_age(void)
{
	fresh();
	for (int64_t end_s = 1000; end_s < 1004; end_s++) {
		state_run_begin(state, "", "");
		state_run_end(state, RUN_COMPLETED);
		state_run(state)->end_s = end_s == 1001 ? 5000 : end_s;
		state_commit(state);
	}
	state_run_begin(state, "", "");
	state_runs_drop(state, 2000);
	ok(strcmp(runs_of(state), "5 2 | 2 5") == 0, "old ones are dropped, also behind one that is not: %s",
	   runs_of(state));
}

static void test_branches(void)
{
	struct run_state r, *now;
	struct place_in_run a = { 1, 4 }, b = { 1, 5 }, c = { 2, 5 }, d = { 2, 8 }, e = { 3, 8 };

	fresh();
	state_run_begin(state, "s", "format=json");
	for (uint32_t i = 1; i <= 6; i++)
		state_line_read(state, i, i, true);
	now = state_run_branch(state, 5);
	ok(now->number == 2 && now->lines == 4 && now->lines_owner == 1 && strcmp(now->settings, "format=json") == 0,
	   "a branch");
	ok(state_run_get(state, 1, &r) == 0 && r.status == RUN_INTERRUPTED && r.end_s != 0, "the old run is closed");
	run_release(&r);
	ok(state_own_ord(state, a) == 4 && state_own_ord(state, b) == 0 && state_own_ord(state, c) == 5,
	   "lines below the cut are its own");
	ok(state_later(state, c, a) && !state_later(state, a, c) && state_later(state, c, b) &&
	   !state_later(state, b, c), "which line is later");
	for (uint32_t i = 5; i <= 9; i++)
		state_line_read(state, i, i + 100, true);
	reopen();
	state_run_continue(state, 2);
	now = state_run_branch(state, 8);
	ok(now->number == 3 && now->nancestors == 2 && run_cut(now, 1) == 5 && run_cut(now, 2) == 8 &&
	   run_cut(now, 3) == UINT32_MAX && run_cut(now, 4) == 0, "a branch of a branch");
	ok(state_own_ord(state, a) == 4 && state_own_ord(state, c) == 5 && state_own_ord(state, d) == 0 &&
	   state_own_ord(state, e) == 8, "own lines of three runs");
	now = state_run_branch(state, 3);
	ok(run_cut(now, 1) == 3 && run_cut(now, 2) == 3 && run_cut(now, 3) == 3, "cut lower than before");
	while (now->nancestors < RUN_ANCESTORS)
		now = state_run_branch(state, 2);
	ok(run_cut(now, 1) == 2 && run_cut(now, now->number - 1) == 2 && now->lines_owner == 1,
	   "as many branches as a run may have");
	now = state_run_branch(state, 1);
	ok(now->nancestors == 1 && run_cut(now, now->number - 1) == 1 && run_cut(now, 1) == 0,
	   "from the first line on there is nothing to take over");
}

/* Run 1, which was at work from 1000 to 1007 on another machine, and was interrupted or killed. */
static void old_run(enum run_status status)
{
	struct run_state *r;

	fresh();
	r = state_run_begin(state, "s", "format=json");
	state_line_read(state, 1, 1, true);
	state_run_end(state, status);
	state_commit(state);
	r->start_s = r->part_s = 1000;
	r->update_s = 1007;
	r->end_s = status == RUN_RUNNING ? 0 : 1007;
	free(r->host);
	r->host = xstrdup("elsewhere");
	state_run_put(state, r);
	r->number = 0;		/* nothing of it is told by the commit */
	state_commit(state);
	reopen();
}

static void test_parts(void)
{
	for (int i = 0; i < 2; i++) {
		enum run_status status = i == 0 ? RUN_INTERRUPTED : RUN_RUNNING;
		const char *name = i == 0 ? "interrupted" : "killed";
		struct run_state *now, r;

		old_run(status);
		now = state_run_continue(state, 1);
		ok(now->end_s == 0 && now->start_s == 1000 && now->part_s > 1600000000 && now->before_s == 7,
		   "%s and continued: a part of it has ended, it has not", name);
		ok(now->status == RUN_RUNNING && now->pid == (uint32_t)getpid() && strcmp(now->host, "elsewhere") != 0,
		   "%s: it is another process's", name);
		ok(run_seconds(now, now->part_s + 5) == 12, "%s: it takes what its parts take", name);
		now->update_s = now->part_s + 3;
		ok(run_seconds(now, 0) == 10, "%s: as far as is known", name);

		old_run(status);
		state_run_continue(state, 1);
		now = state_run_branch(state, 1);
		state_commit(state);
		ok(now->before_s == 0 && now->part_s == now->start_s, "%s: a run that begins has no earlier part", name);
		ok(state_run_get(state, 1, &r) == 0 && r.status == RUN_INTERRUPTED && r.end_s == 1007 &&
		   run_seconds(&r, 0) == 7 && strcmp(r.host, "elsewhere") == 0,
		   "%s and given up at the first line: it ended when it did", name);
		run_release(&r);

		old_run(status);
		now = state_run_take_up(state, 1);
		ok(run_interrupt(now) == (status == RUN_RUNNING) && now->status == RUN_INTERRUPTED &&
		   now->end_s == 1007 && strcmp(now->host, "elsewhere") == 0, "%s: taken up as it is", name);
	}
}

static void test_forget(void)
{
	struct mark m = { .flags = MARK_DOUBT, .chunks = 2 };
	struct doc_state d;
	struct run_state r;
	struct line_state l;

	fresh();
	state_run_begin(state, "", "");
	state_head(state)->collection_read = true;
	state_head(state)->dimension = 384;
	repo_set_text(&state_head(state)->embedder, "hash-1:384");
	state_line_read(state, 1, 1, true);
	put_doc("A", "x", DOC_PRESENT | DOC_LOOSE, 1, 1);
	put_doc("B", "x", DOC_PRESENT, 1, 2);
	fail("A", "y", 1, 3, HALF_NEW, "yy");
	fail("B", "y", 1, 4, HALF_NEW, "zz");
	fail(NULL, "", 1, 5, HALF_NEW, "??");
	repo_set_text(&state_repo(state, "A")->commit, "c1");
	repo_set_text(&state_repo(state, "A")->held_commit, "c2");
	repo_set_text(&state_repo(state, "B")->commit, "c3");
	state_mark_put(state, "A", "x", &m);
	reopen();
	state_forget(state, "A");
	ok(!state_doc_get(state, "A", "x", &d) && state_doc_get(state, "B", "x", &d), "one repository's documents");
	ok(failures_are("1:4.1:B:y 1:5.1:?: ") && payload_is(1, 3, NULL), "its failures");
	ok(state_repo(state, "A")->commit[0] == '\0' && state_repo(state, "A")->held_commit[0] == '\0' &&
	   strcmp(state_repo(state, "B")->commit, "c3") == 0, "its changesets");
	ok(state_repo(state, "A")->present == 0 && state_repo(state, "A")->loose == 0 &&
	   state_repo(state, "A")->failed == 0 && state_repo(state, "A")->doubts == 1, "the counters follow");
	ok(state_mark_get(state, "A", "x", &m) && state_head(state)->marks == 1, "what is under way stays");
	ok(state_run_get(state, 1, &r) == 0 && r.status == RUN_INTERRUPTED && r.lines == 0, "the run is closed");
	run_release(&r);
	ok(!state_line_get(state, 1, &l), "with its lines");
	ok(!state_head(state)->collection_read && state_head(state)->dimension == 384,
	   "the collection is read again, and keeps its embedder");
	reopen();
	state_forget(state, NULL);
	reopen();
	ok(walk_is('d', NULL, "") && failures_are("") && state_head(state)->present == 0 &&
	   state_head(state)->payload_bytes == 0 && state_head(state)->dimension == 0 &&
	   state_head(state)->embedder[0] == '\0' && state_repo(state, "B")->commit[0] == '\0' &&
	   state_mark_get(state, "A", "x", &m), "everything");
}

/* Two documents, and a third that comes and goes, so that pages do too; the two always agree. */
static int write_often(void)
{
	static char name[2000];
	struct state *s;

	if (state_open(&s, path, STORE, "Code", 10000) != 0)
		return 1;
	memset(name, 'n', sizeof(name) - 1);
	for (uint32_t i = 1; i <= 300; i++) {
		struct doc_state d = doc(DOC_PRESENT, i, 1, i);

		state_doc_put(s, "A", "first", &d);
		state_doc_put(s, "Z", "last", &d);
		for (int k = 0; k < 8; k++) {
			name[0] = (char)('a' + k);
			if (i % 2)
				state_doc_put(s, "M", name, &d);
			else
				state_doc_del(s, "M", name);
		}
		state_commit(s);
	}
	state_close(s);
	return 0;
}

static int write_one(void)
{
	struct state *s;
	struct doc_state d = doc(DOC_PRESENT, 1, 1, 1);

	if (state_open(&s, path, STORE, "Code", 10000) != 0)
		return 1;
	state_doc_put(s, "A", "news", &d);
	state_commit(s);
	state_close(s);
	return 0;
}

static void test_reader(void)
{
	struct state *reader;
	struct doc_state d;
	int status = -1, seen = 0;
	bool good = true;
	uint32_t last = 0;
	pid_t pid, later;
	int go[2];
	char c;

	fresh();
	state_close(state);
	state = NULL;
	fflush(stdout);
	if (pipe(go) != 0)
		return;
	pid = fork();
	if (pid == 0)
		_exit(write_often());
	later = fork();		/* before the reader opens: an open TDB is not shared with children */
	if (later == 0)
		_exit(read(go[0], &c, 1) == 1 ? write_one() : 2);
	if (state_open_reader(&reader, path) != 0)
		return;
	do {
		struct walk at = { 0 };
		struct doc_state a, z;
		uint32_t n = 0;

		state_refresh(reader);
		if (!state_doc_get(reader, "A", "first", &a))
			continue;
		good = good && a.chunks >= last && state_doc_get(reader, "Z", "last", &z) &&
			z.chunks >= a.chunks;
		last = a.chunks;
		while (state_walk(reader, 'd', NULL, &at))
			n++;
		walk_release(&at);
		good = good && n >= 2 && n <= 10;
		seen++;
	} while (waitpid(pid, &status, WNOHANG) == 0);
	state_refresh(reader);
	ok(good && status == 0 && seen > 5, "a reader beside a writer is never led astray");
	state = reader;
	ok(walk_is('d', NULL, "A:first Z:last "), "and sees the last commit");
	if (!state_doc_get(reader, "A", "first", &d) || write(go[1], "x", 1) != 1)
		return;
	waitpid(later, &status, 0);
	close(go[0]);
	close(go[1]);
	ok(status == 0 && state_doc_get(reader, "A", "news", &d), "a commit since the last look is noticed");
	state = NULL;
	state_close(reader);
}

/* ---- a reader while the state is rewritten ---- */

static ino_t inode_of_state(void)
{
	struct stat st;

	return stat(path, &st) == 0 ? st.st_ino : 0;
}

/* Fills the state until it is given room by being rewritten, then adds one document more. */
static int write_much(void)
{
	static char payload[65536], empty[] = "", repo[] = "R";
	struct failure f = { .number = 1, .op = OP_MODIFY, .half = HALF_NEW, .code = ERR_STORE_REJECTED,
		.repo = repo, .message = empty, .root = empty, .folder = empty, .default_repo = empty,
		.namespace = empty };
	ino_t first = inode_of_state();
	struct state *s;

	if (state_open(&s, path, STORE, "Code", 10000) != 0)
		return 1;
	state_run_begin(s, "", "");
	for (uint32_t i = 1; i < 1000 && inode_of_state() == first; i++) {
		char name[16];

		snprintf(name, sizeof name, "%u", i);
		f.path = name;
		f.line = f.hold = (struct place_in_run){ 1, i };
		state_failure_put(s, &f, true, payload, sizeof payload);
		state_commit(s);
	}
	state_close(s);
	return inode_of_state() == first ? 2 : write_one();
}

static int open_files(void)
{
	int n = 0;

	for (int fd = 0; fd < 64; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* What a child does with the state; its exit status. */
static int in_child(int (*does)(void))
{
	int status = -1;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0)
		_exit(does());
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* A child of its own, because an open TDB is not shared with children: it reads before and after. */
static int read_beside(int (*does)(void))
{
	struct state *reader;
	struct doc_state d;
	int go[2], files, got;
	pid_t pid;
	char c;

	if (pipe(go) != 0)
		return 99;
	pid = fork();
	if (pid == 0) {
		close(go[1]);
		_exit(read(go[0], &c, 1) == 1 ? does() : 99);
	}
	if (state_open_reader(&reader, path) != 0 || state_doc_get(reader, "A", "news", &d))
		return 98;
	files = open_files();
	if (write(go[1], "x", 1) != 1 || waitpid(pid, &got, 0) != pid || got != 0)
		return 97;
	state_refresh(reader);
	got = state_failed(reader) != 0 ? state_failed(reader) : state_doc_get(reader, "A", "news", &d) ? 0 : 1;
	got = open_files() != files ? 96 : got;
	state_close(reader);
	return got;
}

static int read_beside_rewrite(void)
{
	return read_beside(write_much);
}

static char other[80];

static int move_other_there(void)
{
	return rename(other, path) == 0 ? 0 : 1;
}

static int remove_it(void)
{
	return unlink(path) == 0 ? 0 : 1;
}

static int read_beside_other(void)
{
	return read_beside(move_other_there);
}

static int read_beside_removal(void)
{
	return read_beside(remove_it);
}

static void fresh_and_closed(void)
{
	fresh();
	state_close(state);
	state = NULL;
}

static void test_reader_of_rewritten(void)
{
	struct state *s;
	int got;

	fresh_and_closed();
	got = in_child(read_beside_rewrite);
	ok(got == 0, "a reader sees what is committed after the state was rewritten (%d)", got);
	fresh_and_closed();
	got = in_child(read_beside_removal);
	ok(got == 1, "one whose state is removed goes on with what it was (%d)", got);
	fresh_and_closed();
	snprintf(other, sizeof other, "%s.other", path);
	if (state_open(&s, other, STORE, "Other", 0) != 0)
		return;
	state_run_begin(s, "", "");
	state_commit(s);
	state_close(s);
	got = in_child(read_beside_other);
	ok(got == 74, "the state of another collection in its place is refused (%d)", got);
	fresh_and_closed();
}

static void test_folders(void)
{
	char name[128], *got, **files;
	struct stat st;
	size_t n;

	snprintf(name, sizeof(name), "%s/a/b", dir);
	got = state_folder(name, true);
	ok(got && strcmp(got, name) == 0 && stat(name, &st) == 0 && (st.st_mode & 07777) == 0700,
	   "a folder and what is above it");
	free(got);
	snprintf(name, sizeof(name), "%s/a/b//", dir);
	got = state_folder(name, true);
	ok(got && got[strlen(got) - 1] == 'b', "slashes at the end");
	free(got);
	snprintf(name, sizeof(name), "%s/a/link", dir);
	ok(symlink("b", name) == 0 && state_folder(name, true) == NULL, "a symbolic link is refused");
	unlink(name);
	ok(state_folder(path, true) == NULL, "a file is refused");
	got = state_file("/f", "chroma:http://localhost:8000/t/d", "Code/../x");
	ok(got && strncmp(got, "/f/chroma-http-localhost-8000-t-d-Code-..-x-", 44) == 0 &&
	   strcmp(got + strlen(got) - 4, ".tdb") == 0, "a file's name: %s", got);
	free(got);
	setenv("STATE_DIRECTORY", "/one:/two", 1);
	got = state_folder(NULL, false);
	ok(got && strcmp(got, "/one") == 0, "systemd's folder");
	free(got);
	unsetenv("STATE_DIRECTORY");
	ok(state_list(&files, &n, dir) == 0 && n == 1 && strcmp(files[0], path) == 0, "the files in a folder");
	free(files[0]);
	free(files);
	ok(state_list(&files, &n, "/nonexistent") == 0 && n == 0 && files == NULL, "of a folder that is not there");
	ok(state_list(&files, &n, path) == 74 && n == 0, "one that is a file cannot be read");
	snprintf(name, sizeof(name), "%s/loop", dir);
	ok(symlink("loop", name) == 0 && state_list(&files, &n, name) == 74 && n == 0, "one that cannot be read: 74");
	unlink(name);
	snprintf(name, sizeof(name), "%s/a/b", dir);
	rmdir(name);
	snprintf(name, sizeof(name), "%s/a", dir);
	rmdir(name);
}

static void test_locked(void)
{
	char *holder;
	int fds[2];
	char c = 0;
	pid_t pid;

	ok(!state_locked(path, &holder) && holder == NULL, "nobody holds the state");
	if (pipe(fds) != 0)
		return;
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		struct state *s;
		int status = state_open(&s, path, STORE, "Code", 0);

		if (write(fds[1], "x", 1) != 1)
			_exit(1);
		pause();
		_exit(status);
	}
	if (read(fds[0], &c, 1) == 1)
		ok(state_locked(path, &holder) && holder && strstr(holder, ", since 2"), "held by %s", holder);
	free(holder);
	ok(state_open(&state, path, STORE, "Code", 0) == 75 && state_open_existing(&state, path, 0) == 75,
	   "a second writer: 75");
	ok(state_open_reader(&state, path) == 0, "a reader: welcome");
	state_close(state);
	state = NULL;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(fds[0]);
	close(fds[1]);
	ok(state_open(&state, path, STORE, "Code", 0) == 0, "the holder was killed: free");
}

static void test_failed_after(void)
{
	fresh();
	state_run_begin(state, "", "");
	fail("A", "x", 1, 3, HALF_NEW, "a");
	fail("AB", "", 1, 9, HALF_NEW, "b");
	ok(state_failed_after(state, "A", 2) && !state_failed_after(state, "A", 3), "a failure of a document");
	fail("A", "", 1, 5, HALF_NEW, "c");
	ok(state_failed_after(state, "A", 4) && !state_failed_after(state, "A", 5), "one without document");
	ok(!state_failed_after(state, "B", 0) && state_failed_after(state, "AB", 8), "each of its own repository");
	state_run_begin(state, "", "");
	ok(!state_failed_after(state, "A", 0), "not those of an earlier run");
}

/* What waits for a commit in memory is counted, however many repositories it is of. */
static void test_many_repositories(void)
{
	const int many = 3 * STATE_DIRTY_MAX / 1024;
	uint64_t commits;
	char name[32];

	fresh();
	for (int i = 0; i < many; i++) {
		snprintf(name, sizeof(name), "R%d", i);
		repo_set_text(&state_repo(state, name)->commit, "c1");
	}
	ok(state_dirty(state) >= STATE_DIRTY_MAX, "records of repositories count");
	state_commit(state);
	ok(state_dirty(state) == 0, "until they are committed");
	commits = state_commits(state);
	state_forget(state, NULL);
	ok(state_commits(state) - commits >= 3 && state_repo(state, name)->commit[0] == '\0',
	   "many are forgotten in several commits");
}

/* What is looked at in a state from which something was taken away. */
static int look_for_run(struct state *s)
{
	struct run_state r;

	return state_run_get(s, 1, &r) == 0 ? 0 : 1;
}

static int look_for_line(struct state *s)
{
	struct line_state l;

	return state_run_continue(s, 1) != NULL && state_line_get(s, 513, &l) ? 0 : 1;
}

static int read_line_again(struct state *s)
{
	if (state_run_continue(s, 1) != NULL)
		state_line_read(s, 514, 1, false);
	return 0;
}

static int look_for_payload(struct state *s)
{
	auto_buf struct buf b = BUF_INIT;
	struct failure f;

	return state_failure_get(s, "A", "x", &f) && state_failure_payload(s, &f, &b) ? 0 : 1;
}

static int look_for_document(struct state *s)
{
	struct doc_state d;

	return state_doc_get(s, "A", "x", &d) ? 0 : 1;
}

/* By its number: a reader may see an older list of runs, and only walks over them. */
static int look_for_older_run(struct state *s)
{
	return look_for_run(s);
}

/* In another process: opens the state and looks; its status. */
static int ends_with(int (*look)(struct state *), bool write)
{
	struct state *s;
	int status = 99;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		if (freopen("/dev/null", "w", stderr) == NULL)
			_exit(98);
		status = write ? state_open(&s, path, STORE, "Code", 0) : state_open_reader(&s, path);
		if (status != 0)
			_exit(status);
		status = look(s);
		_exit(state_failed(s) != 0 ? state_failed(s) : status);
	}
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 97;
}

static void without(enum statefile_kind kind, uint32_t a, uint32_t b, int (*look)(struct state *),
		    const char *what)
{
	struct statefile *f;
	int before = ends_with(look, true), write, read;
	uint8_t *copy;
	const uint8_t *p;
	size_t n;

	if (statefile_open(&f, path, true) != STATEFILE_OK || (p = statefile_get(f, kind, a, b, &n)) == NULL) {
		ok(false, "%s is there at first", what);
		return;
	}
	copy = (uint8_t *)xmemdup0(p, n);
	statefile_del(f, kind, a, b);
	statefile_commit(f);
	statefile_close(f);
	write = ends_with(look, true);
	/* these are a writer's */
	read = look == read_line_again || look == look_for_older_run ? 74 : ends_with(look, false);
	ok(before == 0 && write == 74 && read == 74, "%s is missing: 74 (%d, %d, %d)", what, before, write, read);
	if (statefile_open(&f, path, true) == STATEFILE_OK) {
		statefile_put(f, kind, a, b, copy, n);
		statefile_commit(f);
		statefile_close(f);
	}
	free(copy);
}

/* What the records say that there is, and what is there from birth, is not taken for what never was. */
static void test_missing(void)
{
	fresh();
	state_run_begin(state, "", "");
	for (uint32_t i = 1; i <= 600; i++)
		state_line_read(state, i, i, true);
	put_doc("A", "x", DOC_PRESENT | DOC_KNOWN, 1, 1);
	fail("A", "x", 1, 2, HALF_NEW, "as it came");
	state_commit(state);
	state_close(state);
	state = NULL;
	without(KIND_HEAD, 0, 0, look_for_run, "the head");
	without(KIND_RUN, 1, 0, look_for_run, "the newest run");
	without(KIND_LINES, 1, 1, look_for_line, "a chunk of lines");
	without(KIND_LINES, 1, 1, read_line_again, "a chunk of lines, for another in it,");
	without(KIND_PAYLOAD, 1, 2, look_for_payload, "a failed line");
	without(KIND_PAGE, 1, 0, look_for_document, "a page");
	open_state();
	state_run_begin(state, "", "");
	state_commit(state);
	state_close(state);
	state = NULL;
	without(KIND_RUN, 1, 0, look_for_older_run, "a run that was not dropped");
	without(KIND_IDENTITY, 0, 0, look_for_run, "the identity");	/* last: that is no state any more */
	unlink(path);
	open_state();
}

int main(void)
{
	if (!mkdtemp(dir))
		return 77;
	snprintf(path, sizeof(path), "%s/s.tdb", dir);
	test_open();
	test_documents();
	test_marks();
	test_walks();
	test_failures();
	test_failures_by_repository();
	test_failures_of_a_line();
	test_payload_limits();
	test_failures_closed();
	test_lines();
	test_lines_are_dropped();
	test_runs();
	test_gone_runs();
	test_unlisted_runs();
	test_unparsable();
	test_dropped_by_age();
	test_branches();
	test_parts();
	test_failed_after();
	test_many_repositories();
	test_forget();
	test_missing();
	test_reader();
	test_reader_of_rewritten();
	test_folders();
	test_locked();
	state_close(state);
	scratch_remove(dir, path);
	return tap_done();
}
