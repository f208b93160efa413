#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alloc.h"
#include "buf.h"
#include "cleanup.h"
#include "content.h"
#include "exclude.h"
#include "roots_p.h"
#include "text.h"

/* --- verdicts --------------------------------------------------------------------------------- */

/* Return -1, so that they can be returned. */
static int __attribute__((format(printf, 3, 4)))
fail(struct content *k, enum error_code error, const char *fmt, ...)
{
	auto_buf struct buf b = BUF_INIT;
	char text[2 * CHANGE_PATH_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	text_printable(&b, text, strlen(text), 2000);
	free(k->message);
	k->message = buf_detach(&b);
	k->got = CONTENT_FAIL;
	k->error = error;
	return -1;
}

static int skip(struct content *k, enum reason reason)
{
	k->got = CONTENT_SKIP;
	k->reason = reason;
	k->deletes = reason != REASON_NO_CONTENT;
	return -1;
}

/* Of a repository without a folder, its name stands for it: a retry has to begin at this root. */
static struct place *look_below(struct content *k, struct roots *r, const char *repo)
{
	struct place *p = roots_place(r, repo);
	const char *name = roots_name(r, repo);

	if (!k->root) {
		k->root = p->root->path;
		k->folder = xstrdup(p->folder ? p->folder : p->err ? FOLDER_UNSEEN :
				    path_is_plain(name) ? name : NULL);
	}
	return p;
}

static int fail_nothing(struct content *k, const struct change *c, const struct place *p,
			const char *path)
{
	autofree char *where = NULL;

	if (!p->folder && p->linked)
		return fail(k, ERR_OUTSIDE_ROOT, "'%s': the folder of repository '%s' is a symbolic "
			    "link, which is not followed", path, c->repo);
	if (!p->folder)
		return fail(k, ERR_NO_SUCH_FILE, "no file '%s': there is no folder for its "
			    "repository below '%s'", path, p->root->path);
	where = xasprintf("%s%s%s", p->root->path, *p->folder ? "/" : "", p->folder);
	if (c->is_plain_path)
		return fail(k, ERR_NO_SUCH_FILE, "no file '%s' below '%s'; if it was deleted, feed "
			    "what git diff --name-status prints", path, where);
	return fail(k, ERR_NO_SUCH_FILE, "no file '%s' below '%s'", path, where);
}

static int fail_unseen(struct content *k, const struct change *c, const struct place *p, const char *path,
		       int err)
{
	if (p->err)
		return fail(k, ERR_UNREADABLE, "'%s': cannot see which folder below '%s' is that of repository "
			    "'%s': %s", path, p->root->path, c->repo, strerror(err));
	return fail(k, ERR_UNREADABLE, "cannot read '%s': %s", path, strerror(err));
}

static int fail_folder(struct content *k, const char *path)
{
	return fail(k, ERR_IS_A_DIRECTORY, "'%s' is a folder; make git list the files in it: "
		    "git config status.showUntrackedFiles all", path);
}

static int fail_linked(struct content *k, const char *path)
{
	return fail(k, ERR_OUTSIDE_ROOT, "'%s' leads through a symbolic link, which is not "
		    "followed", path);
}

/* f is no file to take the text from: what that means for a document. */
static int judge_missing(struct content *k, const struct change *c, const struct place *p,
			 const char *path, const struct file *f)
{
	switch (f->found) {
	case FOUND_LINK:
		return skip(k, REASON_SYMLINK);
	case FOUND_LINK_ABOVE:
		return fail_linked(k, path);
	case FOUND_FOLDER:
		return fail_folder(k, path);
	case FOUND_SUBMODULE:
		return skip(k, REASON_SUBMODULE);
	case FOUND_TOO_LARGE:
		return skip(k, REASON_TOO_LARGE);
	case FOUND_ERROR:
		return fail_unseen(k, c, p, path, f->err);
	default:
		break;
	}
	/* The producer looked and did not carry it: neither can be blamed on this side. */
	if (c->content_null)
		return skip(k, REASON_NO_CONTENT);
	if (f->found == FOUND_SPECIAL)
		return fail(k, ERR_UNREADABLE, "'%s' is not a regular file", path);
	return fail_nothing(k, c, p, path);
}

/* --- making the paths good -------------------------------------------------------------------- */

static int outside(struct content *k, const char *path, const char *root)
{
	return fail(k, ERR_OUTSIDE_ROOT, "'%s' is not below '%s'", path, root);
}

/* An absolute path, given, normalised without its first '/', to one below the repository's folder.  NULL:
 * it has failed. */
static const char *relative(struct content *k, struct roots *r, const struct change *c, const char *given,
			    const char *path)
{
	struct place *p = look_below(k, r, c->repo);
	const char *rel = root_below(path, p->root);
	const char *folder = p->folder ? p->folder : roots_name(r, c->repo), *deeper;
	bool absent;

	if (!rel) {
		outside(k, given, p->folder && *p->folder ? p->folder : p->root->path);
		return NULL;
	}
	if (p->err) {
		fail_unseen(k, c, p, given, p->err);
		return NULL;
	}
	deeper = path_below(rel, folder);
	if (deeper)
		return deeper;
	absent = !p->folder || faccessat(p->root->fd, folder, F_OK, 0) < 0;
	if (absent && (!p->folder || file_is_absent(errno)))	/* gone, or never there: its name still tells */
		return rel;
	if (absent)
		fail_unseen(k, c, p, given, errno);
	else
		outside(k, given, folder);
	return NULL;
}

/* Makes *path good.  Where it fails, *path is as it came: nothing else could be recognised in a result. */
static int fix_path(struct content *k, struct roots *r, const struct change *c, char **path, bool *folder)
{
	autofree char *given = xstrdup(*path);
	bool from_root = given[0] == '/';
	const char *rel = *path;
	enum path_kind how = path_normalise(*path, folder);

	if (how == PATH_ABOVE)
		outside(k, given, from_root ? "/" : "the repository's folder");
	else if (from_root)
		rel = relative(k, r, c, given, *path);
	if (how != PATH_ABOVE && rel && !*rel)
		fail(k, ERR_BAD_PATH, "'%s' names no file", given);
	if (k->got == CONTENT_FAIL) {
		free(*path);
		*path = given;
		given = NULL;
		return -1;
	}
	memmove(*path, rel, strlen(rel) + 1);
	return 0;
}

/* One side of an arrow. */
static int unquote_side(struct content *k, const char *p, size_t n, char **out)
{
	auto_buf struct buf b = BUF_INIT;
	autofree char *name = xmemdup0(p, n);
	const char *fault;

	if (n == 0 || p[0] != '"' || cquote_decode(&b, p, n) != n) {
		buf_reset(&b);
		buf_add(&b, p, n);
	}
	fault = change_path_fault(b.data ? b.data : "", b.len);
	if (fault)
		return fail(k, ERR_BAD_PATH, "path '%s' %s", name, fault);
	*out = buf_detach(&b);
	return 0;
}

/* Where the arrow stands: behind a quoted name, else the first.  git quotes names with blanks in
 * them where it prints arrows, so no name in front holds one. */
static const char *find_arrow(const char *path)
{
	auto_buf struct buf b = BUF_INIT;
	size_t n = path[0] == '"' ? cquote_decode(&b, path, strlen(path)) : 0;

	if (n && strncmp(path + n, " -> ", 4) == 0)
		return path + n;
	return strstr(path, " -> ");
}

/* 1 or 0; -1: that cannot be seen, and k has failed. */
static int is_literal_name(struct content *k, struct change *c, struct roots *r)
{
	autofree char *copy = xstrdup(c->path);
	struct place *p = look_below(k, r, c->repo);
	struct content scratch;
	enum found found = FOUND_NOTHING;
	bool folder;
	int err;

	memset(&scratch, 0, sizeof(scratch));
	if (fix_path(&scratch, r, c, &copy, &folder) == 0)
		found = place_look(r, p, copy, &err);
	content_release(&scratch);
	if (found == FOUND_ERROR)
		return fail_unseen(k, c, p, c->path, err);
	return found == FOUND_FILE || found == FOUND_LINK;
}

static int split_arrow(struct content *k, struct change *c, struct roots *r)
{
	const char *arrow = find_arrow(c->path);
	autofree char *path = NULL;
	int literal = arrow ? is_literal_name(k, c, r) : 1;

	if (literal != 0)
		return literal < 0 ? -1 : 0;
	if (unquote_side(k, c->path, (size_t)(arrow - c->path), &c->old_path) < 0 ||
	    unquote_side(k, arrow + 4, strlen(arrow + 4), &path) < 0)
		return -1;
	free(c->path);
	c->path = path;
	path = NULL;
	c->op = OP_RENAME;
	return 0;
}

static int fix_paths(struct content *k, struct change *c, struct roots *r, bool *folder,
		     bool *keep_old)
{
	bool old_folder;
	struct place *p;
	enum found old;
	int err;

	if (c->path_may_be_arrow && split_arrow(k, c, r) < 0)
		return -1;
	if (fix_path(k, r, c, &c->path, folder) < 0)
		return -1;
	if (c->op != OP_RENAME)
		return 0;
	if (fix_path(k, r, c, &c->old_path, &old_folder) < 0)
		return -1;
	if (old_folder)
		return fail_folder(k, c->old_path);
	if (strcmp(c->path, c->old_path) == 0) {
		c->op = OP_MODIFY;
		free(c->old_path);
		c->old_path = NULL;
	} else if (c->source == CONTENT_FILE) {
		/* A swap of two names arrives as two renames: neither old path is free. */
		p = look_below(k, r, c->repo);
		old = place_look(r, p, c->old_path, &err);
		*keep_old = old == FOUND_FILE;
		if (old == FOUND_ERROR)
			k->old_unseen = xasprintf("cannot see whether there is a file '%s' still: %s",
						  c->old_path, strerror(err));
	}
	return 0;
}

/* --- the text --------------------------------------------------------------------------------- */

static bool is_hash(const uint8_t sum[DIGEST_SIZE], const char *hex)
{
	char own[2 * DIGEST_SIZE + 1];

	hex_encode(own, sum, DIGEST_SIZE);
	return memcmp(own, hex, sizeof(own)) == 0;
}

/* What was seen of the file says how new it is, also where it is no text to store. */
static void note_age(struct content *k, const struct file *f)
{
	k->ctime_ns = f->ctime_ns;
	k->unsteady = f->unsteady;
}

static void take_file(struct content *k, struct file *f)
{
	free(k->text);
	k->text = f->text;
	k->len = f->len;
	k->from_file = true;
	note_age(k, f);
	f->text = NULL;
}

/* The document's own file. */
static int load_file(struct content *k, struct change *c, struct roots *r)
{
	struct place *p = look_below(k, r, c->repo);
	struct file f;

	place_read(r, p, c->path, &f);
	if (f.found != FOUND_FILE) {
		note_age(k, &f);
		return judge_missing(k, c, p, c->path, &f);
	}
	take_file(k, &f);
	digest_of(k->text, k->len, k->sha256);
	return 0;
}

static int load_ref(struct content *k, struct change *c, struct roots *r)
{
	struct place *p = look_below(k, r, c->repo);
	autofree char *path = xstrdup(c->text);
	const char *rel = path;
	struct file f;
	bool folder;

	if (path_normalise(path, &folder) == PATH_ABOVE)
		return outside(k, c->text, p->root->path);
	if (c->text[0] == '/')
		rel = root_below(path, p->root);
	if (!rel)
		return outside(k, c->text, p->root->path);
	if (folder || !*rel)
		return fail(k, ERR_IS_A_DIRECTORY, "content_ref '%s' is a folder", c->text);
	file_read(r, p->root, "", rel, &f);
	if (f.found == FOUND_LINK)
		return fail_linked(k, c->text);
	if (f.found == FOUND_NOTHING)
		return fail(k, ERR_NO_SUCH_FILE, "content_ref: no file '%s' below '%s'", c->text,
			    p->root->path);
	if (f.found == FOUND_FOLDER || f.found == FOUND_SUBMODULE)
		return fail(k, ERR_IS_A_DIRECTORY, "content_ref '%s' is a folder", c->text);
	if (f.found == FOUND_ERROR)
		return fail(k, ERR_UNREADABLE, "cannot read '%s': %s", c->text, strerror(f.err));
	if (f.found != FOUND_FILE)
		return judge_missing(k, c, p, c->text, &f);
	take_file(k, &f);
	return 0;
}

/* The text given does not hash to content_hash, so it is a sample of the document: its own file is
 * the whole of it, if it is still the one that was hashed. */
static int complete_text(struct content *k, struct change *c, struct roots *r)
{
	struct place *p = look_below(k, r, c->repo);
	uint8_t sum[DIGEST_SIZE];
	struct file f;

	k->truncated = true;
	place_read(r, p, c->path, &f);
	if (f.found == FOUND_LINK) {
		note_age(k, &f);
		return skip(k, REASON_SYMLINK);
	}
	if (f.found == FOUND_ERROR)
		return fail_unseen(k, c, p, c->path, f.err);
	if (f.found != FOUND_FILE)
		return 0;
	digest_of(f.text, f.len, sum);
	if (is_hash(sum, c->content_hash)) {
		take_file(k, &f);
		memcpy(k->sha256, sum, sizeof(sum));
		k->truncated = false;
	}
	free(f.text);
	return 0;
}

static int load_given(struct content *k, struct change *c, struct roots *r)
{
	if (c->source == CONTENT_REF) {
		if (load_ref(k, c, r) < 0)
			return -1;
	} else {
		k->text = c->text;
		k->len = c->text_len;
		c->text = NULL;
		c->text_len = 0;
	}
	if (k->len > roots_options(r)->max_content)
		return skip(k, REASON_TOO_LARGE);
	digest_of(k->text, k->len, k->sha256);
	if (c->content_hash && !is_hash(k->sha256, c->content_hash))
		return complete_text(k, c, r);
	k->truncated = c->is_truncated && !c->content_hash;
	return 0;
}

static int judge_text(struct content *k, const struct change *c)
{
	if (k->len == 0)
		return skip(k, REASON_EMPTY);
	/* json_check() has seen to the UTF-8 of content. */
	if (memchr(k->text, '\0', k->len) ||
	    ((k->from_file || c->source != CONTENT_TEXT) && utf8_check(k->text, k->len) != k->len))
		return skip(k, REASON_NOT_TEXT);
	if (k->truncated && c->content_hash)
		memcpy(k->hash_hex, c->content_hash, sizeof(k->hash_hex));
	else
		hex_encode(k->hash_hex, k->sha256, sizeof(k->sha256));
	return 0;
}

/* The path ends like a folder's; path has lost its slash by now. */
static int load_folder(struct content *k, struct change *c, struct roots *r)
{
	struct place *p = look_below(k, r, c->repo);
	autofree char *shown = xasprintf("%s/", c->path);
	struct file f;

	place_read(r, p, c->path, &f);
	free(f.text);
	note_age(k, &f);
	if (f.found == FOUND_ERROR)
		return judge_missing(k, c, p, shown, &f);
	if (c->op == OP_DELETE && f.found == FOUND_SUBMODULE)
		return 0;
	if (c->op != OP_DELETE && (f.found == FOUND_SUBMODULE || f.found == FOUND_LINK ||
				   f.found == FOUND_LINK_ABOVE))
		return judge_missing(k, c, p, shown, &f);
	fail_folder(k, shown);	/* wherever it is fed: it may be there where it was listed */
	free(c->path);
	c->path = shown;
	shown = NULL;
	return -1;
}

/* The input ended with this path, without a newline.  Cut at a slash, it would name the folder of the file
 * that was meant. */
static int check_cut(struct content *k, struct change *c, struct roots *r, bool folder)
{
	struct place *p = look_below(k, r, c->repo);
	int err;
	enum found found = place_look(r, p, c->path, &err);

	if (found == FOUND_ERROR)
		return fail_unseen(k, c, p, c->path, err);
	if (!folder && (found == FOUND_FILE || found == FOUND_LINK))
		return 0;
	return fail(k, ERR_CUT_LINE, "the input ends inside this line, and there is no file '%s'", c->path);
}

static int load(struct content *k, struct change *c, struct roots *r, bool needs_file,
		bool *keep_old)
{
	bool folder = false, excluded;

	if (c->kind != CHANGE_DOCUMENT)
		return 0;
	if (fix_paths(k, c, r, &folder, keep_old) < 0)
		return -1;
	if (needs_file && check_cut(k, c, r, folder) < 0)
		return -1;
	excluded = c->op != OP_DELETE && excludes_match(roots_excludes(r), c->path, folder);
	if (folder)
		return excluded ? skip(k, REASON_EXCLUDED) : load_folder(k, c, r);
	if (c->op == OP_DELETE)
		return 0;
	if (c->skip_index)
		return skip(k, REASON_SKIP_INDEX);
	if (excluded)
		return skip(k, REASON_EXCLUDED);
	if (c->content_error)
		return fail(k, ERR_CONTENT, "the producer could not read '%s': %s", c->path,
			    c->error_text ? c->error_text : "it does not say why");
	if ((c->source == CONTENT_FILE ? load_file(k, c, r) : load_given(k, c, r)) < 0)
		return -1;
	return judge_text(k, c);
}

void content_load(struct content *k, struct change *c, struct roots *r, bool needs_file,
		  bool *keep_old)
{
	memset(k, 0, sizeof(*k));
	*keep_old = false;
	if (load(k, c, r, needs_file, keep_old) < 0) {
		free(k->text);
		k->text = NULL;
		k->len = 0;
	}
	roots_forget_preset(r);
}

bool content_is_newer(const struct change *c, const struct content *k, int64_t start_ns)
{
	if (c->kind != CHANGE_DOCUMENT)
		return false;
	/* a file made for this line is no listing's */
	return k->unsteady || (k->ctime_ns > start_ns && k->ctime_ns != 0 && c->source != CONTENT_REF);
}

void content_release(struct content *k)
{
	free(k->message);
	free(k->old_unseen);
	free(k->text);
	free(k->folder);
	memset(k, 0, sizeof(*k));
}
