/* roots: ROOT, the folder below it in which each repository's documents are, and the files in there.
 *
 * Nothing outside the root is ever read, whatever "..", symbolic links or content_ref say: every
 * path is opened part by part with openat(O_NOFOLLOW) from the root's descriptor. */
#ifndef LINESYNC_ROOTS_H
#define LINESYNC_ROOTS_H

#include <stddef.h>

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

/* For the next content_load() only: looks for the files of repo in folder below root (absolute), as
 * was chosen when a failed line was first read, so that a retry reads the same file.  Other lines of
 * that repository keep the choice of this run.  Another root is opened beside this one, and kept open
 * while few others are asked for.  Copies its arguments.  Returns 0, or -1 if root cannot be opened or
 * folder is none (logged when it is opened): that content_load() then finds no file. */
int roots_preset(struct roots *r, const char *root, const char *repo, const char *folder);
const char *roots_path(const struct roots *r);	/* ROOT, absolute, without a trailing slash */

/* What --exclude names in this run. */
const struct excludes *roots_excludes(const struct roots *r);

#endif
