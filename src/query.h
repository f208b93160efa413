/* query: a text to what a collection is asked with, embedded as its objects were. */
#ifndef LINESYNC_QUERY_H
#define LINESYNC_QUERY_H

#include <stddef.h>

#include "options.h"
#include "state.h"

/* Sets *vector (owned, *dim numbers) to that of the text, by the embedder that the state names; to NULL
 * where the store embeds the text itself.  An embedding server is asked once.  0, or an exit status with
 * the reason logged; 78 where nothing makes such a vector from a text. */
int query_vector(float **vector, size_t *dim, struct state *state, const char *text,
		 const struct options *o);

#endif
