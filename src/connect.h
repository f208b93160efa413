/* connect: from --store or --embed and a key to a server that can be asked. */
#ifndef LINESYNC_CONNECT_H
#define LINESYNC_CONNECT_H

#include "ask.h"
#include "driver.h"
#include "embedder.h"
#include "http.h"
#include "options.h"
#include "state.h"

struct connection {
	struct store store;
	struct http *http;	/* NULL until it is open */
	char *header;		/* owned; carries the key */
	char **more;		/* owned; --store-header-file, --embed-header-file: also sent with each request */
};

/* Whether a store is named, by --store or a variable. */
bool connection_has_store(const struct options *o);
/* Fills in store.url, driver and collection from store_text (NULL: --store, LINESYNC_STORE, or the
 * variables of Weaviate's own tools) and collection (NULL: none is named).  0, or an exit status with
 * the reason logged. */
int connection_name(struct connection *c, const struct options *o, const char *store_text,
		    const char *collection);
/* Finds the key and further headers and sets up HTTP; no request is made yet.  0, 77 or 78 with the
 * reason logged. */
int connection_open(struct connection *c, const struct options *o);
/* The same for the embedding server at url, that of --embed or as the state has it; model may be NULL.
 * beside: the store's connections, whose waiting is shared and that are to be released later, or NULL.
 * store.dimension is set by its first answer, or before by who knows what it must be.  *c comes zeroed, and
 * is to be released whatever is returned: 0, 64, 77 or 78 with the reason logged. */
int embedder_open(struct connection *c, const char *url, const char *model, const struct options *o,
		  struct http *beside);
/* Opens the server that e names, for texts or (query) for questions, and asks it until it has said how long
 * its vectors are; patience and stop_fd as in ask.h.  *c as above; 0, or an exit status with the reason
 * logged. */
int embedder_reach(struct connection *c, const struct embedder *e, bool query, const struct options *o,
		   struct http *beside, const struct ask_patience *patience, int stop_fd);
/* Both at once, for a command that works on what a state belongs to: --store and --collection may be
 * left out, and must be the state's where they are given. */
int connection_of_state(struct connection *c, const struct options *o, const struct state *s);
void connection_release(struct connection *c);

#endif
