/* strip: JSON with less in it, while it arrives: members of the objects in the outermost array whose
 * values nobody reads are replaced, so that an answer which repeats all that was sent is never held.
 *
 * In: [{"id":"…","vector":[1,2,3],"properties":{…},"result":{…}}, …]
 * Out: the same with "vector":3 (how many elements the array had) and "properties":0.  What is not
 * such an array passes as it is.  Never more comes out than went in. */
#ifndef LINESYNC_STRIP_H
#define LINESYNC_STRIP_H

#include <stddef.h>

#include "buf.h"

struct strip;

/* names: NULL-terminated, static; at most 31 bytes each. */
struct strip *strip_new(const char *const *names);
void strip_free(struct strip *s);	/* NULL is fine */
/* Takes the next n bytes and appends to *out what is left of them. */
void strip_feed(struct strip *s, const char *p, size_t n, struct buf *out);

#endif
