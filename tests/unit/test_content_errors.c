/* test_content_errors: what a look-up that fails is taken for, and a file that changes while it is read.
 * The linker hands the calls of roots.c and content.c to the wrappers here (--wrap, in Makefile.am). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "change.h"
#include "content.h"
#include "log.h"
#include "tap.h"
#include "text.h"

enum call { NO_CALL, OPEN, OPENAT, FSTATAT, FSTAT, FACCESSAT, READ, READDIR };

/* The call that fails, or that something else comes before, from the skip-th on. */
static struct {
	enum call call;
	const char *name;	/* only of this one; NULL: any */
	int err, skip, seen;
	void (*meanwhile)(void);
} fault;

static char root[PATH_MAX];
static struct content_options co = { root, NULL, NULL, NULL, 1000 };
static struct change_options options = { FORMAT_AUTO, false, NULL, NULL, false };
static struct roots *roots;
static struct change c;
static struct content k;
static bool keep_old;

static bool fails(enum call call, const char *name)
{
	void (*meanwhile)(void) = fault.meanwhile;

	if (fault.call != call || (fault.name && strcmp(name, fault.name) != 0) || fault.seen++ < fault.skip)
		return false;
	if (meanwhile) {
		fault.meanwhile = NULL;		/* it calls the wrappers too */
		meanwhile();
		fault.meanwhile = meanwhile;
	}
	errno = fault.err;
	return fault.err != 0;
}

/* glibc's names of the calls that know of large files. */
#ifdef __GLIBC__
#define LARGE "64"
#else
#define LARGE ""
#endif
#define WRAPPED(type, name, large, ...)                              \
	type real_##name(__VA_ARGS__) __asm__("__real_" #name large); \
	type wrap_##name(__VA_ARGS__) __asm__("__wrap_" #name large)

WRAPPED(int, open, LARGE, const char *, int, ...);
WRAPPED(int, openat, LARGE, int, const char *, int, ...);
WRAPPED(int, fstatat, LARGE, int, const char *, struct stat *, int);
WRAPPED(int, fstat, LARGE, int, struct stat *);
WRAPPED(struct dirent *, readdir, LARGE, DIR *);
WRAPPED(int, faccessat, "", int, const char *, int, int);
WRAPPED(ssize_t, read, "", int, void *, size_t);

int wrap_open(const char *name, int flags, ...)
{
	va_list ap;
	int mode;

	va_start(ap, flags);
	mode = flags & O_CREAT ? va_arg(ap, int) : 0;
	va_end(ap);
	return fails(OPEN, name) ? -1 : real_open(name, flags, mode);
}

int wrap_openat(int dir, const char *name, int flags, ...)
{
	return fails(OPENAT, name) ? -1 : real_openat(dir, name, flags);
}

int wrap_fstatat(int dir, const char *name, struct stat *st, int flags)
{
	return fails(FSTATAT, name) ? -1 : real_fstatat(dir, name, st, flags);
}

int wrap_fstat(int fd, struct stat *st)
{
	return fails(FSTAT, "") ? -1 : real_fstat(fd, st);
}

int wrap_faccessat(int dir, const char *name, int mode, int flags)
{
	return fails(FACCESSAT, name) ? -1 : real_faccessat(dir, name, mode, flags);
}

ssize_t wrap_read(int fd, void *p, size_t n)
{
	return fails(READ, "") ? -1 : real_read(fd, p, n);
}

struct dirent *wrap_readdir(DIR *d)
{
	return fails(READDIR, "") ? NULL : real_readdir(d);
}

static char *at(const char *path)
{
	static char full[2 * PATH_MAX];

	snprintf(full, sizeof(full), "%s/%s", root, path);
	return full;
}

static void put(const char *path, const char *text)
{
	char *full = at(path), *slash;
	int fd;

	for (slash = full + strlen(root) + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
		*slash = '\0';
		mkdir(full, 0700);
	}
	if (full[strlen(full) - 1] == '/')
		return;
	fd = open(full, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		abort();
	close(fd);
}

static void reopen(void)
{
	roots_free(roots);
	roots = roots_new(&co);
}

static void load(const char *line, bool cut)
{
	bool needs_file;

	content_release(&k);
	change_release(&c);
	change_parse(&c, line, strlen(line), cut, &needs_file, &options);
	fault.seen = 0;
	content_load(&k, &c, roots, needs_file, &keep_old);
}

static void no_fault(void)
{
	memset(&fault, 0, sizeof(fault));
}

static void lay_out(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(root, sizeof(root), "%s/linesync-errors.XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(root))
		abort();
	put(".git/HEAD", "ref\n");
	put("README.md", "of ROOT\n");
	put("svc/.git/HEAD", "ref\n");
	put("svc/README.md", "of svc\n");
	put("svc/src/a", "a\n");
	put("svc/old", "old\n");
	put("svc/x -> y", "literal\n");
	put("svc/src/x -> y", "literal\n");
	put("svc/mod/.git/HEAD", "ref\n");
	put("svc/hollow/", "");
	put("refs/r", "ref\n");
}

#define SVC(more) "{\"repo\":\"svc\"," more "}"
#define HASH "0000000000000000000000000000000000000000000000000000000000000000"

static const struct {
	enum call call;
	const char *name;
	const char *line;
	bool cut;
	const char *what;
} rows[] = {
	{ OPENAT, "svc", SVC("\"path\":\"README.md\""), false, "the repository's folder" },
	{ FSTATAT, ".git", SVC("\"path\":\"README.md\""), false, "whether it holds .git" },
	{ OPENAT, "README.md", SVC("\"path\":\"README.md\""), false, "the file" },
	{ OPENAT, "src", SVC("\"path\":\"src/a\""), false, "a folder on its way" },
	{ FSTAT, NULL, SVC("\"path\":\"README.md\""), false, "what it is" },
	{ READ, NULL, SVC("\"path\":\"README.md\""), false, "its text" },
	{ OPENAT, "README.md", SVC("\"path\":\"README.md\",\"content\":null"), false,
	  "a file that the producer did not carry" },
	{ OPENAT, "svc", SVC("\"path\":\"README.md\",\"content\":null"), false, "the folder of such a one" },
	{ OPENAT, "README.md", SVC("\"path\":\"README.md\",\"content\":\"of\",\"content_hash\":\"" HASH "\""), false,
	  "the whole of a sample" },
	{ OPENAT, "svc", SVC("\"path\":\"README.md\",\"content\":\"of\",\"content_hash\":\"" HASH "\""), false,
	  "the folder for the whole of a sample" },
	{ OPENAT, "refs", SVC("\"path\":\"p\",\"content_ref\":\"refs/r\""), false, "the folder of a reference" },
	{ OPENAT, "r", SVC("\"path\":\"p\",\"content_ref\":\"refs/r\""), false, "a reference" },
	{ FSTATAT, "x -> y", SVC("\"path\":\"x -> y\""), false, "a name that may be an arrow" },
	{ OPENAT, "src", SVC("\"path\":\"src/x -> y\""), false, "a folder on its way" },
	{ OPENAT, "svc", SVC("\"path\":\"x -> y\""), false, "its repository's folder" },
	{ OPENAT, "mod", SVC("\"path\":\"mod/\""), false, "a folder" },
	{ FSTATAT, ".git", SVC("\"path\":\"mod/\""), false, "whether a folder holds .git" },
	{ READDIR, NULL, SVC("\"path\":\"hollow/\""), false, "whether a folder is empty" },
	{ OPENAT, "mod", SVC("\"path\":\"mod/\",\"op\":\"delete\""), false, "a folder to delete" },
	{ OPENAT, "mod", SVC("\"path\":\"mod\",\"content\":null"), false, "what may be a submodule" },
	{ FSTATAT, "README.md", "README.md", true, "the file of a cut line" },
	{ FSTATAT, "README.md", SVC("\"path\":\"README.md\""), false, "whether it is the same still" },
};

static bool is_unreadable(int err)
{
	bool good = k.got == CONTENT_FAIL && k.error == ERR_UNREADABLE && error_retryable(k.error) && !k.text &&
		    strstr(k.message, strerror(err));

	if (!good)
		printf("# got %d, %s, %s, text %s\n", k.got, k.got == CONTENT_FAIL ? error_name(k.error) : "",
		       k.message ? k.message : "", k.text ? k.text : "NULL");
	return good && fault.seen > 0;
}

/* Every errno but the three that say "not there". */
static void test_errors(void)
{
	static const int errs[] = { EACCES, EPERM, EIO, EMFILE, ENFILE, ENOMEM, ESTALE, ENAMETOOLONG, EOVERFLOW };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool good = true;

		options.repo = rows[i].cut ? "svc" : NULL;
		for (size_t e = 0; e < sizeof(errs) / sizeof(errs[0]); e++) {
			no_fault();
			reopen();
			fault.call = rows[i].call;
			fault.name = rows[i].name;
			fault.err = errs[e];
			load(rows[i].line, rows[i].cut);
			good = good && is_unreadable(errs[e]);
			no_fault();
			load(rows[i].line, rows[i].cut);
			good = good && (k.got != CONTENT_FAIL || k.error != ERR_UNREADABLE);
			good = good && (!k.text || !strstr(k.text, "ROOT"));
		}
		ok(good, "unreadable, and looked at again by the next line: %s", rows[i].what);
	}
	options.repo = NULL;
}

static void test_absent(void)
{
	static const int errs[] = { ENOENT, ENOTDIR, ELOOP };

	for (size_t e = 0; e < sizeof(errs) / sizeof(errs[0]); e++) {
		no_fault();
		reopen();
		fault.call = OPENAT;
		fault.name = "svc";
		fault.err = errs[e];
		load(SVC("\"path\":\"README.md\""), false);
		ok(k.got == CONTENT_OK && strcmp(k.text, "of ROOT\n") == 0, "absent: %s", strerror(errs[e]));
	}
}

static void test_rename(void)
{
	no_fault();
	reopen();
	fault.call = FSTATAT;
	fault.name = "old";
	fault.err = EIO;
	load(SVC("\"op\":\"rename\",\"old_path\":\"old\",\"path\":\"README.md\""), false);
	ok(k.got == CONTENT_OK && !keep_old && k.old_unseen && strstr(k.old_unseen, strerror(EIO)) &&
	   strstr(k.old_unseen, "'old'"), "whether the old path of a rename still has a file");
	no_fault();
	load(SVC("\"op\":\"rename\",\"old_path\":\"old\",\"path\":\"README.md\""), false);
	ok(k.got == CONTENT_OK && keep_old && !k.old_unseen, "it has");
}

static void test_root(void)
{
	char line[3 * PATH_MAX];

	no_fault();
	fault.call = FSTATAT;
	fault.name = ".git";
	fault.err = EMFILE;
	reopen();
	load("{\"repo\":\"none\",\"path\":\"README.md\"}", false);
	ok(is_unreadable(EMFILE), "whether ROOT is a repository");
	ok(k.folder && strcmp(k.root, roots_path(roots)) == 0, "a retry begins at the same root");
	snprintf(line, sizeof(line), "%s", k.folder);
	no_fault();
	ok(roots_preset(roots, root, "none", line) == 0, "and chooses there");
	load("{\"repo\":\"none\",\"path\":\"README.md\"}", false);
	ok(k.got == CONTENT_OK && strcmp(k.text, "of ROOT\n") == 0 && k.folder[0] == '\0', "what is to be seen by then");
	fault.call = OPEN;
	fault.err = EMFILE;
	ok(roots_preset(roots, at("svc"), "svc", "") == -1, "the root of a retry");
	load(SVC("\"path\":\"README.md\""), false);
	ok(k.got == CONTENT_FAIL && k.error == ERR_UNREADABLE && strstr(k.message, strerror(EMFILE)), "its file");
	no_fault();
	roots_preset(roots, at("svc"), "svc", "");
	load(SVC("\"path\":\"README.md\""), false);
	ok(k.got == CONTENT_OK && strcmp(k.text, "of svc\n") == 0, "opened again by the next retry");
	fault.call = FACCESSAT;
	fault.err = EIO;
	snprintf(line, sizeof(line), SVC("\"path\":\"%s\""), at("README.md"));
	load(line, false);
	ok(is_unreadable(EIO), "whether the folder is there that an absolute path is not below");
	no_fault();
	reopen();
	fault.call = OPENAT;
	fault.name = "svc";
	fault.err = EACCES;
	snprintf(line, sizeof(line), SVC("\"path\":\"%s\""), at("svc/README.md"));
	load(line, false);
	ok(is_unreadable(EACCES) && strcmp(c.path, at("svc/README.md")) == 0, "the folder of an absolute path");
	no_fault();
	fault.call = OPEN;
	fault.err = EMFILE;
	if (freopen("/dev/null", "w", stderr) == NULL)
		abort();
	ok(!roots_new(&co), "ROOT itself");
	no_fault();
}

/* ---- a file that changes while it is read ---- */

static int times;	/* so many reads find it changed */

static bool once_more(void)
{
	return times > 0 && times-- > 0;
}

static void grow(void)
{
	char text[64];

	if (once_more()) {
		snprintf(text, sizeof(text), "grown, %d to come", times);
		put("svc/f", text);
	}
}

static void replace(void)
{
	char from[2 * PATH_MAX];

	if (!once_more())
		return;
	put("svc/g", "new\n");
	snprintf(from, sizeof(from), "%s", at("svc/g"));
	if (rename(from, at("svc/f")) < 0)
		abort();
}

/* As large as it was: only its times tell. */
static void rewrite(void)
{
	struct timespec at_2001[2] = { { 1000000000, 0 }, { 1000000000, 0 } };
	int fd;

	if (!once_more())
		return;
	fd = open(at("svc/f"), O_WRONLY);
	if (fd < 0 || pwrite(fd, "new", 3, 0) != 3 || futimens(fd, at_2001) < 0)
		abort();
	close(fd);
}

static void restore_mtime(void)
{
	struct timespec before[2] = { { 1000000000, 0 }, { 1000000000, 0 } };

	if (times == 0)
		return;
	rewrite();
	if (utimensat(AT_FDCWD, at("svc/f"), before, 0) < 0)
		abort();
}

static void take_away(void)
{
	if (once_more())
		unlink(at("svc/f"));
}

static void become_large(void)
{
	char text[1200];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	if (once_more())
		put("svc/f", text);
}

static void become_link(void)
{
	if (once_more() && (unlink(at("svc/f")) < 0 || symlink("old", at("svc/f")) < 0))
		abort();
}

/* Waits until a change would give the file another time than it has. */
static void let_clock_go_on(void)
{
	struct stat st, now;

	if (stat(at("svc/f"), &st) < 0)
		abort();
	do {
		put("clock", "");
		if (stat(at("clock"), &now) < 0)
			abort();
	} while (st.st_ctim.tv_sec == now.st_ctim.tv_sec && st.st_ctim.tv_nsec == now.st_ctim.tv_nsec);
}

static void load_changing(void (*meanwhile)(void), int n, const char *line)
{
	struct timespec at_2001[2] = { { 1000000000, 0 }, { 1000000000, 0 } };

	no_fault();
	unlink(at("svc/f"));
	put("svc/f", "old\n");
	if (utimensat(AT_FDCWD, at("svc/f"), at_2001, 0) < 0)
		abort();
	let_clock_go_on();
	fault.call = READ;
	fault.skip = 1;		/* it has given what was there before */
	fault.meanwhile = meanwhile;
	times = n;
	load(line, false);
	no_fault();
}

static bool got_text(const char *text, bool unsteady)
{
	bool good = k.got == CONTENT_OK && strcmp(k.text, text) == 0 && k.unsteady == unsteady;

	if (!good)
		printf("# got %d, text %s, unsteady %d, %s\n", k.got, k.text ? k.text : "NULL", k.unsteady,
		       k.message ? k.message : "");
	return good;
}

static void test_changing(void)
{
	static const char line[] = SVC("\"path\":\"f\"");

	reopen();
	load_changing(NULL, 0, line);
	ok(got_text("old\n", false), "a file that does not change");
	load_changing(grow, 1, line);
	ok(got_text("grown, 0 to come", false), "one that grows is read once more");
	load_changing(replace, 1, line);
	ok(got_text("new\n", false), "one that another takes the place of");
	load_changing(rewrite, 1, line);
	ok(got_text("new\n", false), "one that is written over");
	load_changing(restore_mtime, 1, line);
	ok(got_text("new\n", false), "one whose own time is put back");
	load_changing(grow, 100, line);
	ok(k.got == CONTENT_OK && k.unsteady && times > 90, "one that changes all the time: read twice, and said so");
	load_changing(replace, 100, line);
	ok(got_text("new\n", true), "one that is replaced all the time");
	load_changing(take_away, 1, line);
	ok(k.got == CONTENT_FAIL && k.error == ERR_NO_SUCH_FILE && !k.unsteady, "one that is taken away");
	load_changing(become_large, 1, line);
	ok(k.got == CONTENT_SKIP && k.reason == REASON_TOO_LARGE && k.ctime_ns > 0, "one that becomes too large");
	load_changing(become_link, 1, line);
	ok(k.got == CONTENT_SKIP && k.reason == REASON_SYMLINK && k.ctime_ns > 0, "one that becomes a link");
	load_changing(grow, 100, SVC("\"path\":\"p\",\"content_ref\":\"svc/f\""));
	ok(k.got == CONTENT_OK && k.unsteady, "a reference to one that changes all the time");
	load_changing(NULL, 0, line);
	fault.call = FSTAT;
	fault.err = EIO;
	fault.skip = 1;
	load(line, false);
	ok(is_unreadable(EIO), "one that cannot be looked at again");
	no_fault();
}

int main(void)
{
	char command[PATH_MAX + 32];

	lay_out();
	test_errors();
	test_absent();
	test_rename();
	test_changing();
	test_root();
	roots_free(roots);
	content_release(&k);
	change_release(&c);
	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	if (system(command) != 0)
		return 1;
	return tap_done();
}
