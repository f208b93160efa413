#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "change.h"
#include "content.h"
#include "log.h"
#include "roots_p.h"
#include "tap.h"
#include "text.h"

static char root[PATH_MAX];
static char parse_line[2 * PATH_MAX];
static const char *const exclude[] = { "*.min.js", "vendor/**", NULL };
static struct content_options co = { root, NULL, NULL, exclude, 100 };
static struct change_options options = { FORMAT_AUTO, false, NULL, NULL, false };
static struct roots *roots;
static struct change c;
static struct content k;
static bool keep_old;

static char *at(const char *path)
{
	static char full[2 * PATH_MAX];

	snprintf(full, sizeof(full), "%s/%s", root, path);
	return full;
}

static void put(const char *path, const char *text, size_t n)
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
	if (fd < 0 || write(fd, text, n) != (ssize_t)n)
		abort();
	close(fd);
}

static void puts_file(const char *path, const char *text)
{
	put(path, text, strlen(text));
}

static void link_to(const char *target, const char *path)
{
	if (symlink(target, at(path)) < 0)
		abort();
}

static void load_cut(const char *line, bool cut)
{
	bool needs_file;

	content_release(&k);
	change_release(&c);
	change_parse(&c, line, strlen(line), cut, &needs_file, &options);
	if (c.kind == CHANGE_BAD)
		printf("# %s\n", c.message);
	content_load(&k, &c, roots, needs_file, &keep_old);
}

static void load(const char *line)
{
	load_cut(line, false);
}

/* A record of repository A; more is its further members, with their comma. */
static void load_a(const char *path, const char *more)
{
	snprintf(parse_line, sizeof(parse_line), "{\"repo\":\"A\",\"path\":\"%s\"%s}", path, more);
	load(parse_line);
}

static bool explain(bool good)
{
	if (!good)
		printf("# got %d, %s, %s, %s, path %s, text %.40s\n", k.got,
		       k.got == CONTENT_SKIP ? reason_name(k.reason) : "",
		       k.got == CONTENT_FAIL ? error_name(k.error) : "", k.message ? k.message : "",
		       c.path ? c.path : "NULL", k.text ? k.text : "NULL");
	return good;
}

static bool got_text(const char *path, const char *text)
{
	return explain(k.got == CONTENT_OK && strcmp(c.path, path) == 0 && k.text &&
		       k.len == strlen(text) && memcmp(k.text, text, k.len + 1) == 0);
}

static bool got_skip(enum reason reason, bool deletes)
{
	return explain(k.got == CONTENT_SKIP && k.reason == reason && k.deletes == deletes && !k.text);
}

static bool got_fail(enum error_code error, const char *word)
{
	return explain(k.got == CONTENT_FAIL && k.error == error && strstr(k.message, word) && !k.text);
}

static void lay_out(void)
{
	const char *tmp = getenv("TMPDIR");
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int s;

	snprintf(root, sizeof(root), "%s/linesync-content.XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(root))
		abort();
	puts_file("secret/key", "outside\n");
	puts_file("root/A/.git/HEAD", "ref\n");
	puts_file("root/A/src/a.py", "import os\n");
	puts_file("root/A/old.py", "old\n");
	puts_file("root/A/x -> y", "literal\n");
	puts_file("root/A/caf\xc3\xa9 menu.txt", "cafe\n");
	puts_file("root/A/empty", "");
	put("root/A/nul.txt", "a\0b\n", 4);
	puts_file("root/A/latin1", "caf\xe9\n");
	puts_file("root/A/lib.min.js", "x\n");
	puts_file("root/A/vendor/v.c", "v\n");
	puts_file("root/A/newdir/z.py", "z\n");
	puts_file("root/A/nothing/", "");
	puts_file("root/A/sub/.git", "gitdir: x\n");
	puts_file("root/A/sub/f", "f\n");
	put("root/A/limit", "0123456789012345678901234567890123456789012345678901234567890123456789"
	    "012345678901234567890123456789", 100);
	put("root/A/over", "0123456789012345678901234567890123456789012345678901234567890123456789"
	    "012345678901234567890123456789x", 101);
	puts_file("root/plain/p", "plain\n");
	puts_file("root/group/deep/d", "deep\n");
	puts_file("root/top", "top\n");
	puts_file("root/refs/r.md", "ref\n");
	link_to("../../secret/key", "root/A/link");
	link_to("nowhere", "root/A/dangling");
	link_to("../../secret", "root/A/linkdir");
	link_to("src", "root/A/inner");
	link_to("../secret", "root/L");
	if (mkfifo(at("root/A/fifo"), 0600) < 0)
		abort();
	s = socket(AF_UNIX, SOCK_STREAM, 0);
	if (chdir(at("root/A")) < 0)
		abort();
	snprintf(sun.sun_path, sizeof(sun.sun_path), "socket");
	if (bind(s, (struct sockaddr *)&sun, sizeof(sun)) < 0)
		abort();
	close(s);
	snprintf(root + strlen(root), sizeof(root) - strlen(root), "/root");
}

static void test_files(void)
{
	char hex[2 * DIGEST_SIZE + 1];

	load_a("src/a.py", "");
	ok(got_text("src/a.py", "import os\n") && k.from_file && k.ctime_ns > 0, "a file");
	ok(strcmp(k.folder, "A") == 0 && strcmp(k.root, roots_path(roots)) == 0, "where it was");
	hex_encode(hex, k.sha256, sizeof(k.sha256));
	ok(strcmp(k.hash_hex, hex) == 0 && !k.truncated, "it has a hash");
	load_a("./src//x/../a.py", "");
	ok(got_text("src/a.py", "import os\n"), "a path by the letter");
	load_a("/nowhere/x", "");
	ok(got_fail(ERR_OUTSIDE_ROOT, "/nowhere/x"), "an absolute path elsewhere");
	load_a(at("A/src/a.py"), "");
	ok(got_text("src/a.py", "import os\n"), "an absolute path");
	load_a(at("A/src/../../plain/p"), "");
	ok(got_fail(ERR_OUTSIDE_ROOT, "plain/p"), "of another repository");
	load_a(at("AB"), "");
	ok(got_fail(ERR_OUTSIDE_ROOT, "AB"), "whose name begins like this one's");
	load_a(at("A"), "");
	ok(got_fail(ERR_BAD_PATH, "/root/A"), "of the repository itself");
	load_a("../plain/p", "");
	ok(got_fail(ERR_OUTSIDE_ROOT, "../plain/p"), "..");
	load_a("src/../../A/src/a.py", "");
	ok(got_fail(ERR_OUTSIDE_ROOT, ".."), ".. and back again");
	load_a(".", "");
	ok(got_fail(ERR_BAD_PATH, "'.'"), "the folder itself");
	load_a("caf\xc3\xa9 menu.txt", "");
	ok(got_text("caf\xc3\xa9 menu.txt", "cafe\n"), "not ASCII");
	load_a("missing", "");
	ok(got_fail(ERR_NO_SUCH_FILE, "missing") && !strstr(k.message, "name-status"), "no such file");
	load_a("src/a.py/x", "");
	ok(got_fail(ERR_NO_SUCH_FILE, "a.py/x"), "a file where a folder should be");
	load_a("missing", ",\"content\":null");
	ok(got_skip(REASON_NO_CONTENT, false), "no such file, and the producer had none");
	load_a("src/a.py", ",\"content\":null");
	ok(got_text("src/a.py", "import os\n"), "null content, and a file");
	load_a("fifo", "");
	ok(got_fail(ERR_UNREADABLE, "regular"), "a FIFO does not block");
	load_a("socket", "");
	ok(got_fail(ERR_UNREADABLE, "regular"), "a socket");
	load_a("a\\u001bb", "");
	ok(got_fail(ERR_NO_SUCH_FILE, "a\\x1bb"), "messages are printable");
}

static void test_skips(void)
{
	load_a("empty", "");
	ok(got_skip(REASON_EMPTY, true), "empty");
	load_a("nul.txt", "");
	ok(got_skip(REASON_NOT_TEXT, true), "NUL");
	load_a("latin1", "");
	ok(got_skip(REASON_NOT_TEXT, true), "not UTF-8");
	load_a("lib.min.js", "");
	ok(got_skip(REASON_EXCLUDED, true), "excluded");
	load_a("vendor/v.c", ",\"content\":\"x\"");
	ok(got_skip(REASON_EXCLUDED, true), "excluded with its content");
	load_a("limit", "");
	ok(k.got == CONTENT_OK && k.len == 100, "as large as may be");
	load_a("over", "");
	ok(got_skip(REASON_TOO_LARGE, true), "too large");
	load_a("link", "");
	ok(got_skip(REASON_SYMLINK, true), "a symbolic link");
	load_a("dangling", "");
	ok(got_skip(REASON_SYMLINK, true), "to nowhere");
	load_a("linkdir/key", "");
	ok(got_fail(ERR_OUTSIDE_ROOT, "symbolic link"), "through a link to the outside");
	load_a("inner/a.py", "");
	ok(got_fail(ERR_OUTSIDE_ROOT, "symbolic link"), "through a link that stays inside");
	load_a("linkdir", "");
	ok(got_skip(REASON_SYMLINK, true), "a link to a folder");
	load_a("newdir/", ",\"content\":null");
	ok(got_fail(ERR_IS_A_DIRECTORY, "showUntrackedFiles"), "a folder");
	load_a("newdir", "");
	ok(got_fail(ERR_IS_A_DIRECTORY, "showUntrackedFiles"), "a folder without its slash");
	load_a("newdir/", ",\"content\":\"x\"");
	ok(got_fail(ERR_IS_A_DIRECTORY, ""), "a folder with content");
	load_a("newdir/", ",\"op\":\"delete\"");
	ok(got_fail(ERR_IS_A_DIRECTORY, ""), "a folder to delete");
	load_a("gone/", "");
	ok(got_fail(ERR_IS_A_DIRECTORY, "gone/") && strcmp(c.path, "gone/") == 0, "a folder that is not there");
	load_a("gone/", ",\"content\":null");
	ok(got_fail(ERR_IS_A_DIRECTORY, "gone/"), "with content that is null");
	load_a("sub/", ",\"op\":\"delete\"");
	ok(k.got == CONTENT_OK && strcmp(c.path, "sub") == 0, "a submodule to delete");
	load_a("old.py/", "");
	ok(got_fail(ERR_IS_A_DIRECTORY, "old.py/"), "a file spelled as a folder");
	load_a("sub", "");
	ok(got_skip(REASON_SUBMODULE, true), "a submodule");
	load_a("sub/", "");
	ok(got_skip(REASON_SUBMODULE, true) && strcmp(c.path, "sub") == 0, "with its slash");
	load_a("nothing/", "");
	ok(got_skip(REASON_SUBMODULE, true), "an empty folder");
	load_a("x", ",\"skip_index\":true");
	ok(got_skip(REASON_SKIP_INDEX, true), "skip_index");
	load_a("x", ",\"content_error\":\"EIO\"");
	ok(got_fail(ERR_CONTENT, "EIO"), "content_error");
	load_a("x", ",\"op\":\"delete\",\"content_error\":\"EIO\",\"skip_index\":true");
	ok(k.got == CONTENT_OK && !k.text && !k.folder, "a delete needs nothing");
}

static void test_given(void)
{
	char more[512];

	load_a("new.py", ",\"content\":\"text\\n\"");
	ok(got_text("new.py", "text\n") && !k.from_file && !k.folder && !c.text, "content, moved");
	load_a("new.py", ",\"content\":\"\"");
	ok(got_skip(REASON_EMPTY, true), "empty content");
	load_a("new.py", ",\"content\":\"a\\u0000\"");
	ok(got_skip(REASON_NOT_TEXT, true), "NUL in content");
	load_a("new.py", ",\"content_base64\":\"/w==\"");
	ok(got_skip(REASON_NOT_TEXT, true), "bytes that are no text");
	load_a("new.py", ",\"content_base64\":\"YWIK\"");
	ok(got_text("new.py", "ab\n"), "bytes");
	snprintf(more, sizeof(more), ",\"content\":\"%0101d\"", 0);
	load_a("new.py", more);
	ok(got_skip(REASON_TOO_LARGE, true), "content too large");
	load_a("new.py", ",\"content\":\"t\",\"is_truncated\":true");
	ok(got_text("new.py", "t") && k.truncated, "is_truncated and no hash");
}

static void test_hash(void)
{
	uint8_t sum[DIGEST_SIZE];
	char hex[2 * DIGEST_SIZE + 1], more[512];

	digest_of("import os\n", 10, sum);
	hex_encode(hex, sum, sizeof(sum));
	snprintf(more, sizeof(more), ",\"content\":\"import os\\n\",\"content_hash\":\"%s\","
		 "\"is_truncated\":true", hex);
	load_a("elsewhere", more);
	ok(got_text("elsewhere", "import os\n") && !k.truncated && strcmp(k.hash_hex, hex) == 0,
	   "text that has its hash is whole, whatever is_truncated says");
	ok(memcmp(k.sha256, sum, sizeof(sum)) == 0 && !k.folder, "no file was looked for");
	snprintf(more, sizeof(more), ",\"content\":\"imp...\",\"content_hash\":\"%s\"", hex);
	load_a("src/a.py", more);
	ok(got_text("src/a.py", "import os\n") && !k.truncated && k.from_file &&
	   memcmp(k.sha256, sum, sizeof(sum)) == 0, "a sample: the file is the whole");
	load_a("old.py", more);
	ok(got_text("old.py", "imp...") && k.truncated && !k.from_file && strcmp(k.hash_hex, hex) == 0,
	   "a sample, and the file is another now");
	digest_of("imp...", 6, sum);
	ok(memcmp(k.sha256, sum, sizeof(sum)) == 0, "sha256 is that of the text");
	load_a("gone.py", more);
	ok(got_text("gone.py", "imp...") && k.truncated, "a sample, and no file");
	load_a("link", more);
	ok(got_skip(REASON_SYMLINK, true), "a sample of what a link shows");
	digest_of("caf\xe9\n", 5, sum);
	hex_encode(hex, sum, sizeof(sum));
	snprintf(more, sizeof(more), ",\"content\":\"caf\\ufffd\\n\",\"content_hash\":\"%s\"", hex);
	load_a("latin1", more);
	ok(got_skip(REASON_NOT_TEXT, true), "mended by the producer: the file is no text");
}

static void test_refs(void)
{
	char more[2 * PATH_MAX];

	load_a("doc.md", ",\"content_ref\":\"refs/r.md\"");
	ok(got_text("doc.md", "ref\n") && k.from_file, "a reference");
	load_a("doc.md", ",\"content_ref\":\"./refs/../refs//r.md\"");
	ok(got_text("doc.md", "ref\n"), "by the letter");
	snprintf(more, sizeof(more), ",\"content_ref\":\"%s\"", at("refs/r.md"));
	load_a("doc.md", more);
	ok(got_text("doc.md", "ref\n"), "an absolute one");
	load_a("doc.md", ",\"content_ref\":\"/etc/passwd\"");
	ok(got_fail(ERR_OUTSIDE_ROOT, "/etc/passwd"), "outside");
	load_a("doc.md", ",\"content_ref\":\"../secret/key\"");
	ok(got_fail(ERR_OUTSIDE_ROOT, "secret"), "above");
	load_a("doc.md", ",\"content_ref\":\"A/linkdir/key\"");
	ok(got_fail(ERR_OUTSIDE_ROOT, "symbolic link"), "through a link");
	load_a("doc.md", ",\"content_ref\":\"A/link\"");
	ok(got_fail(ERR_OUTSIDE_ROOT, "symbolic link"), "to a link");
	load_a("doc.md", ",\"content_ref\":\"refs/none\"");
	ok(got_fail(ERR_NO_SUCH_FILE, "refs/none"), "to nothing");
	load("{\"repo\":\"none\",\"path\":\"doc.md\",\"content_ref\":\"refs/none\"}");
	ok(got_fail(ERR_NO_SUCH_FILE, "refs/none") && k.folder && strcmp(k.folder, "none") == 0,
	   "of a repository without a folder: a retry begins at the same root");
	load_a("doc.md", ",\"content_ref\":\"refs\"");
	ok(got_fail(ERR_IS_A_DIRECTORY, "refs"), "to a folder");
	load_a("doc.md", ",\"content_ref\":\"refs/\"");
	ok(got_fail(ERR_IS_A_DIRECTORY, "refs/"), "with its slash");
	load_a("doc.md", ",\"content_ref\":\"A/nul.txt\"");
	ok(got_skip(REASON_NOT_TEXT, true), "to no text");
	load_a("doc.md", ",\"content_ref\":\"A/over\"");
	ok(got_skip(REASON_TOO_LARGE, true), "too large");
	load_a("doc.pdf", ",\"content_ref\":\"refs/none\",\"skip_index\":true");
	ok(got_skip(REASON_SKIP_INDEX, true), "skip_index reads nothing");
}

static void test_renames(void)
{
	load_a("gone.py -> src/a.py", "");
	ok(got_text("src/a.py", "import os\n") && c.op == OP_RENAME && !keep_old &&
	   strcmp(c.old_path, "gone.py") == 0, "an arrow is a rename");
	load_a("x -> y", "");
	ok(got_text("x -> y", "literal\n") && c.op == OP_MODIFY, "unless a file has that name");
	load_a("\\\"a -> b\\\" -> src/a.py", "");
	ok(got_text("src/a.py", "import os\n") && strcmp(c.old_path, "a -> b") == 0, "left side quoted");
	load_a("a -> \\\"caf\\\\303\\\\251 menu.txt\\\"", "");
	ok(got_text("caf\xc3\xa9 menu.txt", "cafe\n") && strcmp(c.old_path, "a") == 0, "right side quoted");
	load_a("a -> \\\"\\\\351\\\"", "");
	ok(got_fail(ERR_BAD_PATH, "UTF-8"), "a side that is not UTF-8");
	load_a(" -> b", "");
	ok(got_fail(ERR_BAD_PATH, "empty"), "an empty side");
	load_a("old.py -> src/a.py", "");
	ok(got_text("src/a.py", "import os\n") && c.op == OP_RENAME && keep_old,
	   "the old path is kept while a file is there");
	load_a("src/a.py", ",\"op\":\"rename\",\"old_path\":\"old.py\",\"content\":\"x\"");
	ok(got_text("src/a.py", "x") && !keep_old, "not beside content");
	load_a("src/a.py", ",\"op\":\"rename\",\"old_path\":\"newdir\"");
	ok(got_text("src/a.py", "import os\n") && !keep_old, "a folder there is no file");
	load_a("src/a.py", ",\"op\":\"rename\",\"old_path\":\"./src/a.py\",\"content\":\"x\"");
	ok(got_text("src/a.py", "x") && c.op == OP_MODIFY && !c.old_path,
	   "a rename to itself is no rename");
	load_a("src/a.py", ",\"op\":\"rename\",\"old_path\":\"../x\"");
	ok(got_fail(ERR_OUTSIDE_ROOT, "../x"), "an old path outside");
	load_a("src/a.py", ",\"op\":\"rename\",\"old_path\":\"newdir/\"");
	ok(got_fail(ERR_IS_A_DIRECTORY, "newdir"), "an old path that is a folder's");
	load_a("a -> missing", "");
	ok(got_fail(ERR_NO_SUCH_FILE, "missing") && c.op == OP_RENAME, "a rename to nothing");
	options.repo = "A";
	load("R100\told.py\tsrc/a.py");
	ok(got_text("src/a.py", "import os\n") && c.op == OP_RENAME && keep_old, "name-status");
	options.repo = NULL;
}

static void test_lines(void)
{
	options.repo = "A";
	load("missing");
	ok(got_fail(ERR_NO_SUCH_FILE, "--name-status"), "a plain path without a file");
	load_cut("src/a.py", true);
	ok(got_text("src/a.py", "import os\n"), "a cut line whose file is there");
	load_cut("src/a.p", true);
	ok(got_fail(ERR_CUT_LINE, "src/a.p"), "a cut line");
	load_cut("src", true);
	ok(got_fail(ERR_CUT_LINE, "src"), "cut before a slash");
	load_cut("src/", true);
	ok(got_fail(ERR_CUT_LINE, "src"), "cut after a slash");
	load_cut("lib.min.js", true);
	ok(got_skip(REASON_EXCLUDED, true), "cut and excluded");
	options.repo = NULL;
	load("{\"repo\":\"A\",\"new_changeset\":{\"commit\":\"x\"}}");
	ok(k.got == CONTENT_OK && !k.text, "a changeset has no content");
}

static bool folder_is(const char *repo, const char *want)
{
	const char *got = roots_place(roots, repo)->folder;

	if (got && want ? strcmp(got, want) == 0 : got == want)
		return true;
	printf("# %s: got %s\n", repo, got ? got : "NULL");
	return false;
}

static void reopen(const char *namespace, const char *repo)
{
	roots_free(roots);
	co.namespace = namespace;
	co.default_repo = repo;
	roots = roots_new(&co);
}

static void test_folders(void)
{
	ok(folder_is("A", "A"), "a folder with .git");
	ok(folder_is("plain", "plain"), "a folder without");
	ok(folder_is("group/deep", "group/deep"), "a folder in a folder");
	ok(folder_is("", ""), "no name: the root");
	ok(folder_is("none", NULL) && folder_is("none", NULL), "none, and again");
	ok(folder_is("L", NULL), "a symbolic link is none");
	ok(folder_is("..", NULL) && folder_is("A/..", NULL) && folder_is("/A", NULL) &&
	   folder_is("A/", NULL) && folder_is("./A", NULL), "names that are no names");
	load("{\"repo\":\"L\",\"path\":\"key\"}");
	ok(got_fail(ERR_OUTSIDE_ROOT, "symbolic link"), "and says so");
	load("{\"repo\":\"none\",\"path\":\"x\"}");
	ok(got_fail(ERR_NO_SUCH_FILE, "no folder"), "no folder");
	ok(k.folder && strcmp(k.folder, "none") == 0 && strcmp(k.root, roots_path(roots)) == 0,
	   "a retry begins at the same root");
	load("{\"repo\":\"none\",\"path\":\"x\",\"content\":\"y\"}");
	ok(got_text("x", "y"), "content needs none");
	snprintf(parse_line, sizeof(parse_line), "{\"repo\":\"none\",\"op\":\"delete\",\"path\":\"%s\"}",
		 at("none/x"));
	load(parse_line);
	ok(explain(k.got == CONTENT_OK && strcmp(c.path, "x") == 0), "a folder that is gone still tells");
	load("top");
	ok(got_text("top", "top\n"), "a file of the root");
	load(at("top"));
	ok(got_text("top", "top\n"), "by its absolute path");
	reopen("team", "none");
	ok(folder_is("team/none", ""), "--repo: the root");
	ok(folder_is("team/A", "A") && folder_is("team", "") && folder_is("teamA", NULL), "--namespace");
	puts_file(".git/HEAD", "x");
	reopen(NULL, NULL);
	ok(folder_is("A", "A") && folder_is("plain", "") && folder_is("none", ""), "a root with .git");
	reopen(NULL, NULL);
}

static void ask_others(int n, int first)
{
	for (int i = first; i < first + n; i++) {
		char name[32];

		snprintf(name, sizeof(name), "other%d", i);
		roots_place(roots, name);
	}
}

/* The root holds .git: a repository without a folder of its own is the root. */
static void test_kept_folders(void)
{
	bool kept = true;

	roots_place(roots, "late");
	puts_file("late/.git/HEAD", "x");
	ask_others(ROOTS_KEPT - 1, 0);
	ok(folder_is("late", ""), "chosen once, with as many others between as are kept");
	for (int i = 0; i < 5; i++) {
		ask_others(ROOTS_KEPT - 1, i * ROOTS_KEPT);
		kept &= folder_is("late", "");
	}
	ok(kept, "kept as long as it is asked for");
	ask_others(2 * ROOTS_KEPT, 0);
	ok(folder_is("late", "late"), "looked up again when it was long forgotten");
}

static int open_files(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* A failed line whose file was looked for below the nth other root, as a retry reads it. */
static bool read_below(int n)
{
	char there[PATH_MAX + 16], text[16];

	snprintf(there, sizeof(there), "%s.%d", root, n);
	snprintf(text, sizeof(text), "%d", n);
	roots_preset(roots, there, "A", "");
	load_a("f", "");
	return got_text("f", text) && strcmp(k.root, there) == 0;
}

/* Failed lines of many roots do not keep all of them open. */
static void test_many_roots(void)
{
	int before, most = 0;
	bool good = true;

	for (int n = 0; n < 200; n++) {
		char path[32], text[16];

		snprintf(path, sizeof(path), "../root.%d/f", n);
		snprintf(text, sizeof(text), "%d", n);
		puts_file(path, text);
	}
	before = open_files();
	for (int n = 0; n < 400; n++) {
		int opened;

		good = good && read_below(n % 200) && read_below(0);
		opened = open_files() - before;
		most = opened > most ? opened : most;
	}
	ok(good, "failed lines of 200 roots are read where they were");
	ok(most > 1 && most <= 16, "%d of them are open at a time", most);
	good = read_below(199);
	before = open_files();
	for (int n = 0; n < 50; n++)
		good = good && read_below(199 - n % 5);
	ok(good && open_files() == before, "those that come again stay open");
}

static void test_preset(void)
{
	char other[PATH_MAX];
	int i;

	snprintf(other, sizeof(other), "%s", at("group"));
	ok(roots_preset(roots, other, "A", "deep") == 0, "preset");
	load_a("d", "");
	ok(got_text("d", "deep\n") && strcmp(k.folder, "deep") == 0 && strcmp(k.root, other) == 0,
	   "the next line is read there");
	load_a("src/a.py", "");
	ok(got_text("src/a.py", "import os\n") && strcmp(k.folder, "A") == 0, "and no other");
	roots_preset(roots, other, "A", "deep");
	load("{\"repo\":\"plain\",\"path\":\"x\"}");
	load_a("src/a.py", "");
	ok(got_text("src/a.py", "import os\n"), "a line of another repository ends it too");
	roots_preset(roots, root, "A", "plain");
	load_a("p", "");
	ok(got_text("p", "plain\n"), "this run's root");
	if (freopen("/dev/null", "w", stderr) == NULL)
		abort();
	roots_preset(roots, root, "none", "none");
	snprintf(parse_line, sizeof(parse_line), "{\"repo\":\"none\",\"path\":\"%s\"}", at("x"));
	load(parse_line);
	ok(got_fail(ERR_NO_SUCH_FILE, "none") && strcmp(c.path, "x") == 0,
	   "an absolute path of a repository that still has no folder");
	roots_preset(roots, root, "A", "A");
	load_a(at("plain/p"), "");
	ok(got_fail(ERR_OUTSIDE_ROOT, "plain/p"), "not below a folder that is there");
	ok(roots_preset(roots, "/nowhere/at/all", "A", "") == -1, "a root that is gone");
	load_a("src/a.py", "");
	ok(got_fail(ERR_NO_SUCH_FILE, "/nowhere/at/all"), "has no file");
	ok(roots_preset(roots, root, "A", "../secret") == -1, "a folder outside");
	load_a("key", "");
	ok(got_fail(ERR_NO_SUCH_FILE, "no folder"), "is none");
	for (i = 0; i < 300; i++) {
		char name[32];

		snprintf(name, sizeof(name), "r%d", i * 7919 % 300);
		roots_place(roots, name);
	}
	ok(folder_is("r7", "") && folder_is("A", "A"), "many repositories");
	test_kept_folders();
	co.root = "/nowhere/at/all";
	ok(roots_new(&co) == NULL, "no root");
	roots_free(NULL);
}

static void test_relative_root(void)
{
	roots_free(roots);
	if (chdir(root) < 0)
		abort();
	co.root = "A/../plain/..";
	roots = roots_new(&co);
	ok(roots && strcmp(roots_path(roots), root) == 0, "a root relative to here");
	load_a("src/a.py", "");
	ok(got_text("src/a.py", "import os\n"), "is read");
	roots_free(roots);
	co.root = "/";
	roots = roots_new(&co);
	ok(roots && strcmp(roots_path(roots), "/") == 0, "the root of all");
	load(at("top"));
	ok(got_text(at("top") + 1, "top\n"), "has everything");
	roots_free(roots);
	/* --root may lead through a link, and absolute paths be spelled like it. */
	link_to("root", "../way");
	snprintf(root + strlen(root) - 4, 5, "way");
	co.root = root;
	roots = roots_new(&co);
	load_a(at("A/src/a.py"), "");
	ok(got_text("src/a.py", "import os\n"), "absolute paths as --root is spelled");
	roots_free(roots);
}

int main(void)
{
	char command[PATH_MAX + 32];

	lay_out();
	roots = roots_new(&co);
	test_files();
	test_skips();
	test_given();
	test_hash();
	test_refs();
	test_renames();
	test_lines();
	test_folders();
	test_many_roots();
	test_preset();
	test_relative_root();
	content_release(&k);
	change_release(&c);
	*strrchr(root, '/') = '\0';
	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	if (system(command) != 0)
		return 1;
	return tap_done();
}
