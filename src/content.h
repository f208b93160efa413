/* content: the text of a document, from its record or from a file below a root.
 *
 * Nothing outside the root is ever read, whatever "..", symbolic links or content_ref say: every
 * path is opened part by part with openat(O_NOFOLLOW) from the root's descriptor. */
#ifndef LINESYNC_CONTENT_H
#define LINESYNC_CONTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "change.h"
#include "digest.h"

/* So many repositories at least keep the folder that was chosen for them; one that was not asked for
 * while others, so many, were is looked up again. */
#define ROOTS_KEPT 4096

struct roots;			/* ROOT and the folder chosen for each repository in this run */

struct content_options {
	const char *root;		/* --root */
	const char *namespace;		/* removed from a repository's name to find its folder */
	const char *default_repo;	/* --repo: its repository may be ROOT itself */
	const char *const *exclude;	/* NULL-terminated patterns */
	size_t max_content;		/* --max-content, bytes */
};

/* Opens ROOT.  Returns NULL with the reason logged.  Keeps pointers into *o, which must outlive it. */
struct roots *roots_new(const struct content_options *o);
void roots_free(struct roots *r);

/* The folder chosen for repo (spec section 2, Files): relative to ROOT ("" is ROOT itself), or NULL
 * if there is none, or if that could not be seen: then the next line looks again.  Chosen once and kept, see ROOTS_KEPT.  Borrowed until the next call for another
 * repository. */
const char *roots_folder(struct roots *r, const char *repo);
/* For the next content_load() only: looks for the files of repo in folder below root (absolute), as
 * was chosen when a failed line was first read, so that a retry reads the same file.  Other lines of
 * that repository keep the choice of this run.  Another root is opened beside this one, and kept open
 * while few others are asked for.  Copies its arguments.  Returns 0, or -1 if root cannot be opened or
 * folder is none (logged when it is opened): that content_load() then finds no file. */
int roots_preset(struct roots *r, const char *root, const char *repo, const char *folder);
const char *roots_path(const struct roots *r);	/* ROOT, absolute, without a trailing slash */

/* What --exclude names in this run. */
const struct excludes *roots_excludes(const struct roots *r);

enum content_got { CONTENT_OK, CONTENT_SKIP, CONTENT_FAIL };

struct content {
	enum content_got got;
	enum reason reason;		/* CONTENT_SKIP */
	bool deletes;			/* CONTENT_SKIP: what the store holds of it must go */
	enum error_code error;		/* CONTENT_FAIL */
	char *message;			/* owned; CONTENT_FAIL, for a person */
	char *text;			/* owned; CONTENT_OK: valid UTF-8, may be moved out of the change */
	size_t len;
	uint8_t sha256[DIGEST_SIZE];	/* of text */
	bool truncated;			/* the text is known to be a part of the document */
	char hash_hex[65];		/* content_hash to store: of the whole document */
	bool from_file;			/* read from disk: a resumed line reads it again */
	int64_t ctime_ns;		/* of the file that was looked at, 0 if none */
	bool unsteady;			/* it changed while it was read, and again when it was read once more */
	char *folder;			/* owned; what roots_folder() gave, NULL if no file was looked for; the
					 * repository's name where it has none; "." where that could not be
					 * seen.  All are for roots_preset() */
	const char *root;		/* ROOT that folder is below; borrowed until the next roots_preset() */
	char *old_unseen;		/* owned; of a rename: why it could not be seen whether its old path
					 * still has a file, for a person; else NULL */
};

/* Step 2 of the order: makes c->path (and old_path) relative to the repository's folder, unquotes
 * and splits mgit's "old -> new" (which can turn c into a rename), and finds the text.  May move
 * c->text into k->text.  For OP_DELETE and changesets only the paths are made good.
 *
 * Sets *keep_old for a rename without content whose old path still has a file.  needs_file is what
 * change_parse() said.  c->path may be replaced.  Where the path itself is bad, got is CONTENT_FAIL.
 * A rename of a path to itself becomes OP_MODIFY.
 * The caller frees with content_release(). */
void content_load(struct content *k, struct change *c, struct roots *r, bool needs_file, bool *keep_old);
/* True if the text comes from a file that changed after start_ns (clock_file_ns()), when its listing was made,
 * or while it was read: it may hold more than the listing knew. */
bool content_is_newer(const struct change *c, const struct content *k, int64_t start_ns);
void content_release(struct content *k);

#endif
