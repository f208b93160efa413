#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <string.h>

#include "alloc.h"
#include "embed_hash.h"
#include "log.h"
#include "query.h"

static bool is_hash(const char *embedder)
{
	return strncmp(embedder, EMBED_HASH_NAME ":", sizeof(EMBED_HASH_NAME)) == 0;
}

int query_vector(float **vector, size_t *dim, struct state *state, const char *text)
{
	const struct head *h = state_head(state);

	*vector = NULL;
	*dim = h->dimension;
	if (h->dimension == 0) {
		log_err("the state '%s' does not say how the collection was embedded: nothing was stored yet, "
			"or everything was forgotten; the next sync decides it", state_path(state));
		return 78;
	}
	if (!is_hash(h->embedder)) {
		log_err("the collection was embedded with '%s', which this linesync cannot make from a text; "
			"search with the one that filled it", h->embedder);
		return 78;
	}
	if (h->dimension < EMBED_HASH_MIN || h->dimension > EMBED_HASH_MAX) {
		log_err("the collection's vectors, of %u numbers, came with its records; ask the store with a "
			"vector of their model", (unsigned)h->dimension);
		return 78;
	}
	*vector = xcalloc(h->dimension, sizeof(**vector));
	embed_hash(*vector, h->dimension, text, strlen(text));
	return 0;
}
