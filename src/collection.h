/* collection: what must agree before a line is read: store, collection, state. */
#ifndef LINESYNC_COLLECTION_H
#define LINESYNC_COLLECTION_H

#include <stdbool.h>
#include <stddef.h>

#include "ask.h"
#include "options.h"
#include "state.h"

/* Finds or creates the collection and compares it with what the state says (spec section 4): 0, or an
 * exit status with the reason logged. */
int collection_open(struct store *store, struct http *http, struct state *state,
		    const struct options *o, int stop_fd);

/* Finds the collection for a command, which waits for no store: it is asked once, and never made.  0, or
 * an exit status with the reason logged. */
int collection_find(struct store *store, struct http *http);
/* Whether the collection, found or not, with so many objects, is the one that the state means, and holds at
 * least half of what the state knows, by a sample that is asked for (patience, stop_fd: as in ask.h): 0, or
 * 75, 77 or 78 with the reason logged.  Warns where it holds less than the state says. */
int collection_compare(struct store *store, struct http *http, struct state *state, uint64_t count,
		       const struct ask_patience *patience, int stop_fd);
/* False where the store's own id of the collection is not the one that the state has recorded. */
bool collection_is_same(const struct store *store, struct state *state);
/* Whether an object that was found is linesync's.  Others may use the same names of properties, but not
 * the same ids. */
bool collection_owns(const struct store *store, const struct found *f);

/* Reads the names of what the collection holds into the state, once for each state that begins on a
 * collection that is not empty.  Commits as it goes. */
int collection_read(struct store *store, struct http *http, struct state *state,
		    const struct options *o, int stop_fd);

#endif
