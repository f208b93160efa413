/* exclude: which paths --exclude leaves out: its patterns mean what they mean in a .gitignore.  Pure. */
#ifndef LINESYNC_EXCLUDE_H
#define LINESYNC_EXCLUDE_H

#include <stdbool.h>

struct excludes;

/* What is wrong with a pattern, for the end of a message; NULL: nothing.  Static. */
const char *exclude_fault(const char *pattern);

/* NULL-terminated patterns, or NULL.  Copies them. */
struct excludes *excludes_new(const char *const *patterns);
void excludes_free(struct excludes *e);

/* The last pattern that matches decides, folder by folder from the top; what is below a folder that is left
 * out cannot be taken back in.  path: a document's; folder: it ends like a folder's, its slash removed. */
bool excludes_match(const struct excludes *e, const char *path, bool folder);

/* The patterns as one JSON array, "" where there are none: owned, for the state; and back. */
char *excludes_text(const struct excludes *e);
struct excludes *excludes_of_text(const char *text);

#endif
