/* offer: what a line asks for, decided from its change and its content: what each half of it is to do.  A sync
 * and its --dry-run take the same offers.  Settles no line, and asks nobody. */
#ifndef LINESYNC_OFFER_H
#define LINESYNC_OFFER_H

#include <stdbool.h>
#include <stdint.h>

#include "change.h"
#include "content.h"
#include "driver.h"
#include "embedder.h"
#include "object.h"

enum offer_kind {
	OFFER_STORE,
	OFFER_DELETE,		/* for the line, or for its reason: why nothing is stored of it */
	OFFER_LEAVE,		/* the document stays as it is, and counts as named */
	OFFER_SKIP,		/* no document is concerned */
	OFFER_FAIL
};

struct offer_half {
	enum offer_kind kind;
	uint8_t half;			/* HALF_NEW, HALF_OLD */
	bool alone;			/* OFFER_FAIL, OFFER_SKIP: names no document for certain */
	enum reason reason;
	enum error_code error;		/* OFFER_FAIL */
	char *message;			/* owned; OFFER_FAIL */
	struct object **objects;	/* owned; OFFER_STORE: the document's n chunks in order */
	uint32_t n;
	uint8_t digest[SYNC_DIGEST_SIZE];
};

struct offer {
	struct offer_half half[2];	/* the first one of HALF_NEW, where there is one */
	int n;				/* 0: nothing is left to do */
	bool repo_known;		/* whose line it is */
	bool hopeless;			/* there is no such file below the root */
};

/* What turns changes into offers.  The embedder takes note of the first object, which can settle it. */
struct offer_maker {
	struct embedder *embedder;	/* borrowed, as all but settings */
	struct state *state;		/* that keeps what was settled; NULL: nothing is kept, nothing said */
	const struct store *store;	/* its collection, and the dimension that it has */
	const struct options *options;
	char synced_at[21];
	char *settings;			/* owned; embedder_settings() */
	bool seen;			/* the first object */
};
void offer_maker_init(struct offer_maker *m, struct embedder *e, struct state *s, const struct store *store,
		      const struct options *o);
void offer_maker_release(struct offer_maker *m);

/* *c is a document with its content *k, or CHANGE_BAD or CHANGE_SKIP (k then is not looked at).  halves: which
 * of a rename's are to be done; keep_old: its old document stays.  Texts of *c and *k may be taken over. */
void offer_make(struct offer *of, struct offer_maker *m, struct change *c, struct content *k, bool keep_old,
		int halves);
void offer_release(struct offer *of);

/* The first changes of an input: none of them has a file, and --root is wrong. */
struct first_changes {
	unsigned seen, hopeless;
};
/* Counts one more (of NULL: it asks for no file).  78 with the reason logged, else 0. */
int first_changes_count(struct first_changes *f, const struct offer *of, const char *root);

/* True if a path as it stands names a document for certain: a line can be bad before its path was made good. */
bool names_document(const char *path);

#endif
