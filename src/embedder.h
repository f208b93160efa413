/* embedder: how the collection's objects get their vectors.  It belongs to the state (spec section 3):
 * what a run does not name it takes from there, and another one stops the run, because two vector
 * spaces in one collection find nothing and nobody would notice. */
#ifndef LINESYNC_EMBEDDER_H
#define LINESYNC_EMBEDDER_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "chunk.h"
#include "driver.h"
#include "options.h"
#include "state.h"

enum embed_kind {
	EMBED_HASH,		/* from the words of the text, linesync-hash(7) */
	EMBED_URL,		/* by an embedding server */
	EMBED_STORE,		/* by the store's own vectoriser */
	EMBED_GIVEN		/* every line brings its vector */
};

struct embedder {
	enum embed_kind kind;
	size_t dimension;	/* 0: not known before the first vector */
	char *name;		/* owned: "hash-1:1024", "url:MODEL:384", "store:MODULE", "given:768", with
				 * "path", "prefix=TEXT" behind it: who it is, in state and digests; NULL
				 * before embedder_settle() on a new state */
	char *url, *model;	/* owned; EMBED_URL, else "" */
	char *prefix;		/* owned; put before what is embedded, "" if nothing is */
	bool path;		/* the path is put before the text */
	char *query_prefix, *query_model;	/* owned; the same for queries; "" model: the one above */
	struct chunking chunking;
	bool decided;		/* the state says so already: documents may have been embedded so */
};

/* Whether what --embed and its kin say can be meant: 0, 64 or 78 with the reason logged.  Before
 * anything is made. */
int embedder_check_options(const struct options *o);

/* Whether a store of this driver can do what --embed says: 0, or 78 with the reason logged.  Before
 * anything is made. */
int embedder_check_store(const struct options *o, const struct driver *d);

/* What state and options say, as far as they do before the collection was opened: sets *e.
 * 0, 64 or 78 with the reason logged.  state may be NULL. */
int embedder_choose(struct embedder *e, struct state *state, const struct options *o);
/* What the collection is to be opened with: store->embeds, store->must_embed. */
void embedder_prepare(const struct embedder *e, struct store *store, const struct options *o);
/* Now store is open, and server (EMBED_URL; else NULL) has said how long its vectors are: chooses where
 * neither state nor options did, and compares.  0, 64 or 78 with the reason logged. */
int embedder_settle(struct embedder *e, const struct state *state, const struct store *store,
		    const struct store *server, const struct options *o);
/* Without asking the store: what the above would settle for a collection that is not there yet. */
void embedder_foresee(struct embedder *e);
/* The first object decides, where nobody has: the vector that it brings (dim numbers; 0: none), or what
 * was chosen.  Says so, and keeps it in the state (NULL: does neither), whose commit is the caller's.  True
 * if e changed. */
bool embedder_decide(struct embedder *e, struct state *state, const struct store *store,
		     const struct options *o, size_t dim);
/* What every sync_digest names: embedder and chunking.  Owned. */
char *embedder_settings(const struct embedder *e);
/* What is embedded of a text, into *out where that is more than the text alone: prefix, path, text.
 * Returns where it is. */
const char *embedder_input(const struct embedder *e, const char *path, const char *text, size_t *len,
			   struct buf *out);
void embedder_release(struct embedder *e);

#endif
