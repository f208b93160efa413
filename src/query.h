/* query: a text to what a collection is asked with, embedded as its objects were. */
#ifndef LINESYNC_QUERY_H
#define LINESYNC_QUERY_H

#include <stddef.h>

#include "state.h"

/* Sets *vector (owned, *dim numbers) to that of the text, by the embedder that the state names; to NULL
 * where the store embeds the text itself.  0, or 78 with the reason logged: nothing makes such a vector
 * from a text. */
int query_vector(float **vector, size_t *dim, struct state *state, const char *text);

#endif
