/* content: the text of a document, from its record or from a file below a root. */
#ifndef LINESYNC_CONTENT_H
#define LINESYNC_CONTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "change.h"
#include "digest.h"
#include "roots.h"

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
	char *folder;			/* owned; that of the repository, below root, NULL if no file was looked
					 * for; the repository's name where it has none; "." where that could
					 * not be seen.  All are for roots_preset() */
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
