#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../src/alloc.h"
#include "../../src/state.h"
#include "../../src/statefile.h"
#include "tap.h"

static char dir[] = "/tmp/linesync-test-XXXXXX";
static char path[64], other[64];
static char said[512];		/* what a child wrote on standard error */

static char *slurp(const char *name, size_t *n)
{
	struct stat st;
	int fd = open(name, O_RDONLY | O_NONBLOCK);
	char *p = NULL;

	*n = 0;
	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
		p = xmalloc((size_t)st.st_size + 1);
		*n = (size_t)read(fd, p, (size_t)st.st_size);
	}
	close(fd);
	return p;
}

static void spill(const char *name, const void *p, size_t n)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || write(fd, p, n) != (ssize_t)n)
		printf("Bail out! cannot write '%s'\n", name);
	close(fd);
}

static bool same_as(const char *name, const void *p, size_t n)
{
	size_t m;
	char *q = slurp(name, &m);
	bool same = q != NULL && m == n && (n == 0 || memcmp(p, q, n) == 0);

	free(q);
	return same;
}

/* Runs f in another process: damage ends it with status 74.  Its standard error goes to said[].
 * Returns its exit status, or 256 and the signal that killed it. */
static int in_child(int (*f)(const char *), const char *name)
{
	int fds[2], status;
	ssize_t n, got = 0;
	pid_t pid;

	fflush(stdout);
	if (pipe(fds) != 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		dup2(fds[1], 2);
		close(fds[0]);
		close(fds[1]);
		_exit(f(name));
	}
	close(fds[1]);
	while ((n = read(fds[0], said + got, sizeof(said) - 1 - (size_t)got)) > 0)
		got += n;
	said[got] = '\0';
	close(fds[0]);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

/* Opens as the name's owner and reads all that the tests put there: 0, or 74. */
static int open_and_read(const char *name, bool write)
{
	struct statefile *f;
	size_t n;
	int status;

	switch (statefile_open(&f, name, write)) {
	case STATEFILE_ABSENT:
		return 66;
	case STATEFILE_REFUSED:
		return f == NULL ? 74 : 99;
	case STATEFILE_BUSY:
		return f == NULL ? 75 : 99;
	case STATEFILE_OK:
		break;
	}
	for (uint32_t i = 0; i < 40; i++)
		if (statefile_get(f, KIND_PAGE, i, 7, &n) == NULL)
			statefile_damaged(f, "one is missing");
	status = statefile_failed(f);
	statefile_close(f);
	return status;
}

static int as_writer(const char *name)
{
	return open_and_read(name, true);
}

static int as_reader(const char *name)
{
	return open_and_read(name, false);
}

static int opens_only(const char *name)
{
	struct statefile *f;
	enum statefile_open got = statefile_open(&f, name, true);

	statefile_close(f);
	return got == STATEFILE_OK ? 0 : got == STATEFILE_ABSENT ? 66 : 74;
}

/* A file that holds from birth an identity, and two other values: 0, or -1. */
static int create(const char *name, const void *identity, size_t n)
{
	struct statefile *f = statefile_new(name);
	int got;

	statefile_put(f, KIND_IDENTITY, 0, 0, identity, n);
	statefile_put(f, KIND_HEAD, 0, 0, "head", 4);
	statefile_put(f, KIND_RUN, 3, 0, "run", 3);
	got = statefile_create(f);
	statefile_close(f);
	return got;
}

/* One that is open at once, and can be written. */
static bool created_and_used(const char *name)
{
	struct statefile *f = statefile_new(name);
	size_t n;
	bool good;

	statefile_put(f, KIND_IDENTITY, 0, 0, "me", 2);
	statefile_put(f, KIND_HEAD, 0, 0, "one", 3);
	good = statefile_get(f, KIND_HEAD, 1, 1, &n) == NULL && access(name, F_OK) != 0 &&
	       statefile_create(f) == 0 && statefile_dirty(f) == 0;
	statefile_put(f, KIND_HEAD, 0, 0, "two", 3);
	statefile_commit(f);
	statefile_close(f);
	good = good && statefile_open(&f, name, true) == STATEFILE_OK;
	good = good && memcmp(statefile_get(f, KIND_HEAD, 0, 0, &n), "two", 3) == 0;
	statefile_close(f);
	return good;
}

static void test_create(void)
{
	struct statefile *f;
	struct stat st;
	size_t n;
	const uint8_t *p;
	char *before;

	ok(statefile_open(&f, path, true) == STATEFILE_ABSENT && f == NULL, "no file: absent");
	ok(access(path, F_OK) != 0, "and none was made");
	ok(create(path, "me", 2) == 0, "a new file");
	ok(stat(path, &st) == 0 && (st.st_mode & 07777) == 0600 && st.st_nlink == 1, "its mode, its one name");
	ok(access(other, F_OK) != 0, "no temporary file is left");
	before = slurp(path, &n);
	ok(in_child(opens_only, path) == 0 && same_as(path, before, n), "opening it changes nothing");
	ok(create(path, "you", 3) == -1 && same_as(path, before, n),
	   "creating it again is refused and changes nothing");
	free(before);
	ok(statefile_open(&f, path, true) == STATEFILE_OK, "opened");
	p = statefile_get(f, KIND_IDENTITY, 0, 0, &n);
	ok(p != NULL && n == 2 && memcmp(p, "me", 2) == 0, "it holds the identity");
	ok(statefile_get(f, KIND_HEAD, 0, 0, &n) != NULL && n == 4 &&
	   statefile_get(f, KIND_RUN, 3, 0, &n) != NULL && n == 3, "and what else it got");
	ok(statefile_get(f, KIND_RUN, 4, 0, &n) == NULL && n == 0, "and nothing else");
	ok(statefile_commits(f) == 0, "no commits");
	statefile_commit(f);
	ok(statefile_commits(f) == 0, "nothing to commit: none is made");
	statefile_close(f);
	spill(other, "left behind", 11);
	unlink(path);
	ok(create(path, "me", 2) == 0 && access(other, F_OK) != 0,
	   "a temporary file that was left is replaced");
	unlink(path);
	ok(created_and_used(path), "made, and written through the same handle");
	ok(link(path, other) == 0 && in_child(opens_only, path) == 0 && access(other, F_OK) != 0,
	   "whose creation was not finished: its second name goes");
}

static bool holds(struct statefile *f, uint32_t a, uint32_t b, const char *want)
{
	size_t n;
	const uint8_t *p = statefile_get(f, KIND_PAGE, a, b, &n);

	if (want == NULL)
		return p == NULL && n == 0;
	return p != NULL && n == strlen(want) && memcmp(p, want, n) == 0;
}

static void test_values(void)
{
	struct statefile *f, *second;
	uint8_t *p;
	size_t n, dirty;

	if (statefile_open(&f, path, true) != STATEFILE_OK)
		return;
	statefile_put(f, KIND_PAGE, 1, 2, "one", 3);
	statefile_put(f, KIND_PAGE, 2, 1, "", 0);
	statefile_put(f, KIND_RUN, 1, 2, "run", 3);
	ok(holds(f, 1, 2, "one") && holds(f, 2, 1, "") && holds(f, 2, 2, NULL), "values before a commit");
	dirty = statefile_dirty(f);
	statefile_put(f, KIND_PAGE, 1, 2, "one and more", 12);
	ok(statefile_dirty(f) == dirty + 9, "what waits is counted in bytes");
	p = statefile_edit(f, KIND_PAGE, 1, 2, &n);
	ok(p != NULL && n == 12 && statefile_edit(f, KIND_PAGE, 9, 9, &n) == NULL, "one to edit, one that is absent");
	p[0] = 'O';
	statefile_commit(f);
	ok(statefile_dirty(f) == 0 && statefile_commits(f) == 1, "committed");
	statefile_put(f, KIND_PAGE, 3, 3, "lost", 4);
	statefile_del(f, KIND_PAGE, 2, 1);
	ok(holds(f, 2, 1, NULL), "deleted before the commit");
	statefile_close(f);
	if (statefile_open(&f, path, true) != STATEFILE_OK)
		return;
	ok(holds(f, 1, 2, "One and more") && holds(f, 2, 1, "") && holds(f, 3, 3, NULL),
	   "after opening again: what was committed, and only that");
	p = statefile_edit(f, KIND_PAGE, 1, 2, &n);
	p[1] = 'N';
	statefile_del(f, KIND_PAGE, 2, 1);
	statefile_del(f, KIND_PAGE, 77, 1);
	statefile_commit(f);
	statefile_put(f, KIND_PAGE, 4, 4, "x", 1);
	statefile_del(f, KIND_PAGE, 4, 4);
	statefile_commit(f);
	statefile_close(f);
	if (statefile_open(&f, path, true) != STATEFILE_OK)
		return;
	ok(holds(f, 1, 2, "ONe and more") && holds(f, 2, 1, NULL) && holds(f, 4, 4, NULL),
	   "edited in place; deleted, also what never was there");
	ok(statefile_open(&second, path, true) == STATEFILE_REFUSED && second == NULL,
	   "a second handle in one process is refused");
	statefile_close(f);
	statefile_close(NULL);
}

static void test_many(void)
{
	static char big[30000];
	struct statefile *f;
	bool good = true;
	size_t n;

	if (statefile_open(&f, path, true) != STATEFILE_OK)
		return;
	for (uint32_t i = 0; i < 300; i++) {
		memset(big, (int)(i % 251), sizeof(big));
		statefile_put(f, KIND_PAYLOAD, i, i, big, i * 100);
		if (i % 50 == 49)
			statefile_commit(f);
	}
	for (uint32_t i = 0; i < 300; i++) {
		const uint8_t *p = statefile_get(f, KIND_PAYLOAD, i, i, &n);

		good &= p != NULL && n == i * 100 && (n == 0 || (p[0] == i % 251 && p[n - 1] == i % 251));
		statefile_trim(f);
	}
	ok(good, "more than the cache holds");
	for (uint32_t i = 0; i < 300; i++)
		statefile_del(f, KIND_PAYLOAD, i, i);
	statefile_commit(f);
	good = statefile_get(f, KIND_PAYLOAD, 299, 299, &n) == NULL;
	for (uint32_t i = 0; i < 40; i++) {
		memset(big, (int)i, 400);
		statefile_put(f, KIND_PAGE, i, 7, big, 400);
	}
	statefile_commit(f);
	statefile_close(f);
	ok(good && in_child(as_writer, path) == 0 && in_child(as_reader, path) == 0, "deleted; 40 others");
}

static void want_refused(const char *what)
{
	size_t n;
	char *before = slurp(other, &n);
	int writer = in_child(as_writer, other), reader = in_child(as_reader, other);

	ok(writer == 74 && reader == 74, "%s: refused (%d, %d)", what, writer, reader);
	ok(strstr(said, "linesync: error: state '") == said && strstr(said, "left as it is"),
	   "%s: said so", what);
	ok(before == NULL || same_as(other, before, n), "%s: the file is as it was", what);
	free(before);
}

static void test_foreign(void)
{
	static char junk[20000];
	char link_to[64];

	spill(other, "", 0);
	want_refused("an empty file");
	spill(other, "my letters, do not overwrite\n", 29);
	want_refused("a text");
	for (size_t i = 0; i < sizeof(junk); i++)
		junk[i] = (char)(i * 7919 >> 3);
	spill(other, junk, sizeof(junk));
	want_refused("20,000 bytes of something");
	memset(junk, 0, sizeof(junk));
	spill(other, junk, sizeof(junk));
	want_refused("zeros");
	memcpy(junk, "TDB file\n", 10);
	spill(other, junk, sizeof(junk));
	want_refused("a TDB's first bytes");
	unlink(other);
	ok(symlink(path, other) == 0, "a symbolic link");
	want_refused("a symbolic link");
	unlink(other);
	snprintf(link_to, sizeof(link_to), "%s/nowhere", dir);
	ok(symlink(link_to, other) == 0, "a symbolic link to nothing");
	want_refused("a symbolic link to nothing");
	ok(access(link_to, F_OK) != 0, "and nothing was made there");
	unlink(other);
	ok(mkdir(other, 0700) == 0, "a folder");
	want_refused("a folder");
	rmdir(other);
	ok(mkfifo(other, 0600) == 0, "a fifo");
	want_refused("a fifo");
	unlink(other);
}

/* A file of its own, small, with the 40 values. */
static char *small_file(size_t *n)
{
	struct statefile *f;
	static char page[400];

	unlink(path);
	if (create(path, "me", 2) != 0 || statefile_open(&f, path, true) != STATEFILE_OK) {
		printf("Bail out! cannot make '%s'\n", path);
		exit(99);
	}
	for (uint32_t i = 0; i < 40; i++) {
		memset(page, (int)i, sizeof(page));
		statefile_put(f, KIND_PAGE, i, 7, page, sizeof(page));
	}
	statefile_commit(f);
	statefile_close(f);
	return slurp(path, n);
}

/* Whatever is missing at its end: never a crash, never another byte, and never taken for whole. */
static void test_truncated(void)
{
	size_t n, cut = 0, refused = 0, unharmed = 0;
	char *whole = small_file(&n);
	int bad = 0;

	spill(other, whole, n);
	/* at each 512 bytes near both ends, at every 31st of them in between */
	for (size_t size = (n - 1) / 512 * 512; bad == 0; cut++) {
		int got = truncate(other, (off_t)size) == 0 ? in_child(as_writer, other) : -1;

		refused += got == 74 && said[0] != '\0';
		unharmed += got == 0;
		if ((got != 0 && got != 74) || !same_as(other, whole, size))
			bad = got ? got : -1;
		if (size == 0)
			break;
		size -= size > 60000 && size + 20000 < n ? 31 * 512 : 512;
	}
	ok(bad == 0 && refused + unharmed == cut + 1 && refused > cut / 2,
	   "truncated at each of %zu sizes: %zu refused, %zu lost only free space (%d)", cut + 1, refused,
	   unharmed, bad);
	unlink(other);
	free(whole);
}

/* All bytes but those that TDB itself does not need are covered by a checksum. */
static void test_flipped(void)
{
	size_t n, refused = 0, wrong = 0;
	char *whole = slurp(path, &n);
	int fd;

	spill(other, whole, n);
	for (size_t i = 0; i < 100; i++) {
		size_t at = i * 104729 % n;
		char c = (char)(whole[at] ^ 1 << i % 8);
		int got;

		fd = open(other, O_WRONLY);
		wrong += pwrite(fd, &c, 1, (off_t)at) != 1;
		close(fd);
		got = in_child(as_reader, other);
		refused += got == 74;
		wrong += got != 0 && got != 74;
		fd = open(other, O_WRONLY);
		wrong += pwrite(fd, whole + at, 1, (off_t)at) != 1;
		close(fd);
	}
	for (size_t at = 0; at + 400 < n; at++)		/* the middle of a value: 400 times 17 */
		if (whole[at] == 17 && whole[at + 399] == 17 && whole[at + 200] == 17) {
			char c = 16;

			fd = open(other, O_WRONLY);
			wrong += pwrite(fd, &c, 1, (off_t)at + 100) != 1;
			close(fd);
			ok(in_child(as_reader, other) == 74 && strstr(said, "checksum"), "one bit of a value: noticed");
			spill(other, whole, n);
			break;
		}
	ok(wrong == 0, "100 single bits flipped: %zu noticed, none crashed", refused);
	ok(same_as(other, whole, n), "and nothing else was changed");
	unlink(other);
	free(whole);
}

static int cut_while_open(const char *name)
{
	struct statefile *f;
	size_t n;

	if (statefile_open(&f, name, true) != STATEFILE_OK)
		return 1;
	if (truncate(name, 100) != 0)
		return 2;
	statefile_get(f, KIND_PAGE, 3, 7, &n);
	return 3;
}

static int cut_before_commit(const char *name)
{
	struct statefile *f;

	if (statefile_open(&f, name, true) != STATEFILE_OK)
		return 1;
	statefile_put(f, KIND_PAGE, 3, 7, "new", 3);
	if (truncate(name, 100) != 0)
		return 2;
	statefile_commit(f);
	return 3;
}

static void test_cut_while_open(void)
{
	size_t n;
	char *whole = slurp(path, &n);

	spill(other, whole, n);
	ok(in_child(cut_while_open, other) == 74 && said[0] != '\0', "truncated while it is open: 74, no signal");
	spill(other, whole, n);
	ok(in_child(cut_before_commit, other) == 74 && said[0] != '\0', "truncated before a commit: 74, no signal");
	unlink(other);
	free(whole);
}

static int as_state(const char *name)
{
	struct state *s;
	int status = state_open(&s, name, "chroma:http://localhost:8000", "Code", 0);

	state_close(s);
	return status;
}

static int as_state_reader(const char *name)
{
	struct state *s;
	int status = state_open_reader(&s, name);

	state_close(s);
	return status;
}

enum { WITH_HEAD = 1, WITH_RUN = 2 };

/* Makes the file of a state with this identity, and with what parts says. */
static void create_state(const char *name, const struct buf *identity, int parts)
{
	struct head h = { .next_run = 1, .next_page = 1 };
	struct statefile *f = statefile_new(name);
	auto_buf struct buf b = BUF_INIT;

	unlink(name);
	head_encode(&b, &h);
	statefile_put(f, KIND_IDENTITY, 0, 0, identity->data, identity->len);
	if (parts & WITH_HEAD)
		statefile_put(f, KIND_HEAD, 0, 0, b.data, b.len);
	if (parts & WITH_RUN)
		statefile_put(f, KIND_RUN, 1, 0, "run", 3);
	if (statefile_create(f) != 0)
		printf("Bail out! cannot create '%s'\n", name);
	statefile_close(f);
}

static void want_state(uint32_t layout, const char *magic, int parts, int status, const char *word,
		       const char *what)
{
	static char store[] = "chroma:http://localhost:8000", collection[] = "Code";
	struct identity id = { layout, store, collection };
	auto_buf struct buf b = BUF_INIT;
	size_t n;
	char *before;
	int got;

	identity_encode(&b, &id);
	memcpy(b.data, magic, strlen(magic));
	create_state(other, &b, parts);
	before = slurp(other, &n);
	got = in_child(as_state, other);
	ok(got == status && (status == 0 || strstr(said, word)), "%s: %d", what, got);
	got = in_child(as_state_reader, other);
	ok(got == status && (status == 0 || strstr(said, word)), "%s, reading: %d", what, got);
	ok(same_as(other, before, n), "%s: the file is as it was", what);
	free(before);
}

static void test_layouts(void)
{
	char lock[80];

	want_state(STATE_LAYOUT, "linesync", WITH_HEAD, 0, "", "this layout");
	want_state(STATE_LAYOUT, "linesync", 0, 74, "its head is missing", "without its head");
	want_state(1, "linesync", WITH_HEAD, 0, "", "layout 1");
	want_state(1, "linesync", 0, 0, "", "layout 1, just made: it got its head later");
	want_state(1, "linesync", WITH_RUN, 74, "its head is missing", "layout 1, a run and no head");
	want_state(0, "linesync", WITH_HEAD, 74, "no linesync state", "layout 0");
	want_state(STATE_LAYOUT + 1, "linesync", WITH_HEAD, 74, "newer linesync", "the next layout");
	want_state(UINT32_MAX, "linesync", WITH_HEAD, 74, "newer linesync", "a far layout");
	want_state(STATE_LAYOUT, "Linesync", WITH_HEAD, 74, "no linesync state", "another program's");
	snprintf(lock, sizeof(lock), "%s.lock", other);
	unlink(lock);
	unlink(other);
}

/* A reader sees each commit of a writer in another process, whole. */
static int write_often(const char *name)
{
	struct statefile *f;

	if (statefile_open(&f, name, true) != STATEFILE_OK)
		return 1;
	for (uint32_t i = 1; i <= 200; i++) {
		statefile_put(f, KIND_HEAD, 1, 1, &i, sizeof(i));
		statefile_put(f, KIND_HEAD, 2, 2, &i, sizeof(i));
		statefile_commit(f);
	}
	statefile_close(f);
	return 0;
}

static uint32_t head_number(struct statefile *f, uint32_t a)
{
	size_t n;
	uint32_t v = 0;
	const uint8_t *p = statefile_get(f, KIND_HEAD, a, a, &n);

	if (p != NULL && n == sizeof(v))
		memcpy(&v, p, n);
	return v;
}

static void test_reader(void)
{
	struct statefile *f;
	uint32_t last = 0, v;
	bool backwards = false;
	int status = -1;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0)
		_exit(write_often(path));
	if (statefile_open(&f, path, false) != STATEFILE_OK)
		return;
	do {
		statefile_refresh(f);
		v = head_number(f, 1);
		/* the second is read later, so it may be newer, never older */
		backwards |= v < last || head_number(f, 2) < v;
		last = v;
	} while (waitpid(pid, &status, WNOHANG) == 0);
	statefile_refresh(f);
	ok(!backwards && status == 0 && head_number(f, 1) == 200 && head_number(f, 2) == 200,
	   "a reader beside a writer");
	statefile_close(f);
}

int main(void)
{
	if (!mkdtemp(dir))
		return 77;
	snprintf(path, sizeof(path), "%s/t.tdb", dir);
	snprintf(other, sizeof(other), "%s/t.tdb.new", dir);
	test_create();
	test_values();
	test_many();
	snprintf(other, sizeof(other), "%s/other.tdb", dir);
	test_foreign();
	test_truncated();
	test_flipped();
	test_cut_while_open();
	test_layouts();
	test_reader();
	unlink(path);
	rmdir(dir);
	return tap_done();
}
