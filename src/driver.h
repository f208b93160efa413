/* driver: the contract of a store's translator.
 *
 * A driver turns an ask into requests and judges replies, object by object.  It opens no socket,
 * reads no clock and keeps no state of its own: struct store holds what opening taught.  The lane
 * owns time, retries, halving, counting and the network.
 *
 * One ask can take several requests (paging, delete before sending again): build() and judge() are
 * called in turn until build() says that there is nothing more to ask.  Verdicts are preset to
 * VERDICT_UNKNOWN before the first build(); success must be proved for each object. */
#ifndef LINESYNC_DRIVER_H
#define LINESYNC_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http.h"
#include "object.h"
#include "store_url.h"

enum ask_kind {
	ASK_READY,	/* reachable, ready, which version */
	ASK_OPEN,	/* find or (create) make the collection; fills struct store */
	ASK_LOOKUP,	/* find it again by name after an OPENING verdict; never creates */
	ASK_UPSERT,
	ASK_DELETE,	/* by id; a missing object counts as deleted */
	ASK_TOUCH,	/* the smallest write that changes nothing: the witness */
	ASK_COUNT,	/* number of objects -> ask.count; with objects, how many of these are there, in one
			 * cheap request: one that a filter misses may be left out */
	ASK_LIST,	/* one page of names from ask.cursor on -> ask.found; cursor moves; done at end.
			 * The next page is another ask, begun at that cursor */
	ASK_FETCH,	/* objects by id -> ask.found, with sync_digest; "" where the store has the object and
			 * its search does not find it */
	ASK_SEARCH,	/* the nearest objects -> ask.hits, nearest first */
	ASK_EMBED	/* an embedding server: text -> vector of each object */
};

enum verdict_scope {
	VERDICT_UNKNOWN,	/* nothing proved: treated as VERDICT_ATTEMPT with kept_nothing false */
	VERDICT_OK,
	VERDICT_OBJECT,		/* this object is refused */
	VERDICT_REQUEST,	/* the request is refused as a whole: halve it, charged to nobody */
	VERDICT_ATTEMPT,	/* transient, may be this object's fault (500): try again */
	VERDICT_STORE,		/* transient, the store's state (429, 503, refused): back off */
	VERDICT_OPENING,	/* the collection is not where it was (404): look it up again */
	VERDICT_AUTH,		/* 401, 403: stop, 77 */
	VERDICT_RUN		/* configuration (redirect, wrong metric): stop, 78 */
};

#define SHAPE_ANSWERS 3		/* in a row, every object of the wrong shape: not the objects' fault */

enum spent {		/* words of a refusal */
	SPENT_NOTHING,
	SPENT_LIMIT,	/* a quota or a rate: the next hour or day brings more */
	SPENT_MONEY	/* a budget or an account: somebody has to pay, or to raise it */
};

struct verdict {
	enum verdict_scope scope;
	bool kept_nothing;	/* this attempt is known to have stored nothing of the object */
	bool wrong_shape;	/* VERDICT_OBJECT: refused for dimension or schema; VERDICT_ATTEMPT: answered, but
				 * so that no object gets anything of it.  Three in a row stop the run */
	enum spent spent;	/* VERDICT_OBJECT, VERDICT_REQUEST: it may be none of the objects' fault */
	bool advises;		/* text says what to do about it */
	long http;		/* status, 0 if none */
	char text[160];		/* the store's words, printable */
};

struct ask_object {
	const char *id;			/* 36 characters; NULL for ASK_EMBED */
	const struct object *object;	/* ASK_UPSERT; else NULL.  Without a vector: the store embeds it */
	bool again;			/* an earlier attempt may have arrived, or may yet */
	const char *text;		/* ASK_EMBED: len bytes, borrowed */
	size_t len;
	float *vector;			/* ASK_EMBED: dim finite numbers, where the verdict is VERDICT_OK;
					 * owned: whoever asked takes it over, or ask_release() frees it */
	size_t dim;
	struct verdict verdict;
};

struct found {			/* ASK_LIST, ASK_FETCH: one stored object */
	char id[37];
	char *repo, *path;	/* owned; NULL where the object is not linesync's */
	uint32_t chunk;
	char digest[33];	/* sync_digest in hex, "" if it has none */
};

struct hit {			/* ASK_SEARCH */
	struct found found;	/* repo NULL where the object is not linesync's */
	double distance;
	int64_t start_line, end_line;	/* 0: not known */
	char *text;		/* owned; NULL where there is none */
};

struct ask {
	enum ask_kind kind;
	struct ask_object *objects;	/* n of them, borrowed */
	size_t n;
	bool create;			/* ASK_OPEN */
	bool look;			/* ASK_OPEN: what could be added to the collection counts as there */
	struct verdict verdict;		/* for asks without objects, and what spoils the whole request */
	int step;			/* driver's cursor within the ask; 0 at start */
	uint64_t cursor;		/* ASK_LIST: where the next page begins, of stores that count */
	char after[37];			/* the same, of stores that go on behind an id; "" at first */
	bool end;			/* ASK_LIST: that was the last page */
	uint64_t count;			/* ASK_COUNT */
	struct found *found;		/* owned by the ask: ask_release() */
	size_t nfound;
	const float *vector;		/* ASK_SEARCH: dim numbers, borrowed; NULL: the store embeds text */
	size_t dim;
	const char *text;
	bool blames;			/* ASK_TOUCH: objects that failed are blamed if it succeeds: where the
					 * store embeds, it must embed a text too */
	const char *repo;		/* ASK_SEARCH: of this repository alone; NULL: of all */
	size_t limit;			/* ASK_SEARCH: at most so many; 0: only whether the store embeds text */
	struct hit *hits;		/* owned by the ask: ask_release() */
	size_t nhits;
};
void ask_release(struct ask *a);	/* frees found, hits and vectors; objects are the caller's */

struct store {
	const struct driver *driver;
	struct store_url url;
	char *collection;		/* owned */
	char *collection_id;		/* owned; NULL until known */
	char *version;			/* owned; NULL until known */
	size_t dimension;		/* 0: not fixed yet */
	bool existed;			/* ASK_OPEN found it: it was not made now */
	size_t max_batch;		/* what the server says it takes at once; 0: unknown */
	bool base64;			/* ASK_READY: it reads vectors as base64 of little-endian floats */
	bool embeds;			/* set before ASK_OPEN: objects come without vectors, the store makes
					 * them; a collection is made with its default vectoriser */
	bool must_embed;		/* the same: without a vectoriser ASK_OPEN makes nothing and ends with
					 * VERDICT_RUN */
	char *vectoriser;		/* owned; ASK_OPEN: the collection's own, NULL if it has none */
	char *model;			/* owned; an embedding server's model */
};
void store_release(struct store *s);

struct driver {
	const char *name;		/* "chroma" */
	const char *role;		/* in messages: "store", "embedding server" */
	const char *example;		/* "chroma:http://localhost:8000[/TENANT/DATABASE]" */
	const char *key_names[3];	/* environment variables for its key, NULL-terminated */
	const char *key_header;		/* "x-chroma-token: " */
	const char *url_option, *key_option;	/* by which users name server and key: "--store" ... */
	bool vectorises;		/* its collections can have vectorisers of their own */
	size_t batch_size, batch_bytes;
	size_t embeds_batch_size;	/* the same where the store embeds; 0: no other */
	int connections;
	long timeout_ms, idle_s;
	long late_s;			/* how long an unanswered request may still be applied */
	bool lasts_after_next;		/* an acknowledged write lasts only after the next one (I1) */
	bool again_is_upsert;		/* sending again is one upsert: need not wait for late attempts */
	bool first_write_alone;

	/* Checks a collection's name; *changed is NULL, or the name that the store would make of it
	 * (owned).  Returns 0, or -1 with *why (owned) saying what would work. */
	int (*check_name)(const char *collection, char **changed, char **why);
	/* Bytes, at most, that o adds to a request. */
	size_t (*object_bytes)(const struct store *s, const struct object *o);
	/* 1: send *r next (r was zeroed; filled in by the driver).  0: nothing more to ask. */
	int (*build)(const struct store *s, struct ask *a, struct request *r);
	/* Judges the reply to what build() last made; r->end may be any. */
	void (*judge)(struct store *s, struct ask *a, const struct reply *r);
};

extern const struct driver drv_chroma, drv_weaviate;
extern const struct driver drv_openai;	/* an embedding server: no store, not in the table */

const struct driver *driver_find(const char *name);	/* NULL if unknown */
const struct driver *const *driver_all(void);		/* NULL-terminated */

#endif
