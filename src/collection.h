/* collection: what must agree before a line is read: store, collection, state, embedder. */
#ifndef LINESYNC_COLLECTION_H
#define LINESYNC_COLLECTION_H

#include <stddef.h>

#include "ask.h"
#include "options.h"
#include "state.h"

/* Finds or creates the collection and compares it with what the state says (spec section 4): 0, or an
 * exit status with the reason logged. */
int collection_open(struct store *store, struct http *http, struct state *state,
		    const struct options *o, int stop_fd);

/* Whether --embed is one that this linesync has: 0, or 78 with the reason logged.  Before anything is
 * made. */
int collection_check_embed(const struct options *o);

/* Chooses the embedder: what the state says, --embed, or the default.  *spec ("hash-1:1024") is owned.
 * 0, or 78 with the reason logged. */
int collection_embedder(char **spec, size_t *dimension, struct state *state, const struct store *store,
			const struct options *o);

/* Reads the names of what the collection holds into the state, once for each state that begins on a
 * collection that is not empty.  Commits as it goes. */
int collection_read(struct store *store, struct http *http, struct state *state,
		    const struct options *o, int stop_fd);

#endif
