/* connect: from --store and its key to a store that can be asked. */
#ifndef LINESYNC_CONNECT_H
#define LINESYNC_CONNECT_H

#include "driver.h"
#include "http.h"
#include "options.h"

struct connection {
	struct store store;
	struct http *http;	/* NULL until connection_open() */
	char *header;		/* owned; carries the key */
};

/* Fills in store.url, driver and collection from store_text (NULL: --store, LINESYNC_STORE, or the
 * variables of Weaviate's own tools) and collection (NULL: none is named).  0, or an exit status with
 * the reason logged. */
int connection_name(struct connection *c, const struct options *o, const char *store_text,
		    const char *collection);
/* Finds the key and sets up HTTP; no request is made yet.  0, 77 or 78 with the reason logged. */
int connection_open(struct connection *c, const struct options *o);
void connection_release(struct connection *c);

#endif
