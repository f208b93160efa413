/* object: what is stored for a document: ids, properties, digest.  Pure.  spec.md section 3. */
#ifndef LINESYNC_OBJECT_H
#define LINESYNC_OBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "change.h"
#include "content.h"

#define SYNC_DIGEST_SIZE 16

/* UUIDv5 of "linesync:COLLECTION/REPO/PATH#CHUNK", each part percent-encoded. */
void object_id(char out[37], const char *collection, const char *repo, const char *path, uint32_t chunk);

enum prop_type { PROP_NULL, PROP_STR, PROP_INT, PROP_BOOL };
struct prop {
	const char *name;	/* static */
	enum prop_type type;
	const char *s;		/* PROP_STR: borrowed from the object, n bytes */
	size_t n;
	int64_t i;		/* PROP_INT, PROP_BOOL */
};
#define OBJECT_PROPS 18		/* all of section 3 but content, which is object.text */

/* One object to store.  A document without chunks is one object, chunk 0 of 1. */
struct object {
	char id[37];
	char *text;		/* owned; the property "content" */
	size_t text_len;
	float *vector;		/* owned; dim numbers */
	size_t dim;
	struct prop props[OBJECT_PROPS];	/* in fixed order; absent ones PROP_NULL */
	char *strings;		/* owned; backing store of props */
};

/* The digest of I8 over everything that is stored and comes from the input or the settings: text,
 * truncated, given vector, metadata, kept properties, chunking.  settings names embedder and
 * chunking, e.g. "hash-1:1024 chunks:off".  Before object_new(), which takes the text away. */
void object_digest(uint8_t out[SYNC_DIGEST_SIZE], const struct change *c, const struct content *k,
		   const char *settings);

/* Builds the one object of a document: moves k->text and c->vector (if given) into it; vector is
 * left NULL when none was given, for the embedder.  synced_at is RFC 3339. */
struct object *object_new(const char *collection, struct change *c, struct content *k,
			  const uint8_t digest[SYNC_DIGEST_SIZE], const char *synced_at);
void object_free(struct object *o);	/* NULL is fine */

#endif
