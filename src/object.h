/* object: what is stored for a document: ids, properties, digest.  Pure.  spec.md section 3. */
#ifndef LINESYNC_OBJECT_H
#define LINESYNC_OBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "change.h"
#include "chunk.h"
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

/* One object to store: a chunk of a document, or all of it, which is chunk 0 of 1. */
struct object {
	char id[37];
	const char *text;	/* the property "content": text_len bytes, no NUL behind them */
	size_t text_len;
	float *vector;		/* owned; dim numbers */
	size_t dim;
	struct prop props[OBJECT_PROPS];	/* in fixed order; absent ones PROP_NULL */
	struct object_shared *shared;	/* behind text and props; goes with the document's last object */
};

/* Names the settings that the digest covers: "hash-1:1024 chunks:off"; owned by the caller. */
char *object_settings(const char *embedder, const struct chunking *how);

/* The digest of I8 over everything that is stored and comes from the input or the settings: text,
 * truncated, given vector, metadata, kept properties, chunking.  It is the document's: all its
 * chunks carry the same.  Before objects_new(), which takes the text away. */
void object_digest(uint8_t out[SYNC_DIGEST_SIZE], const struct change *c, const struct content *k,
		   const char *settings);

/* Builds the objects of a document, one for each chunk: an owned array of *n (at least one) objects,
 * each for object_free().  Takes k->text and c->vector (if given).  The chunks differ in id, text,
 * chunk_index, start_line and end_line; they share the memory of text and strings, so that each
 * takes less than 1 KB and its vector besides, whatever overlap and metadata are.
 *
 * vector is left NULL when none was given, for the embedder.  A given one speaks for the whole
 * document, which is then one object whatever `how` says.  synced_at is RFC 3339. */
struct object **objects_new(const char *collection, struct change *c, struct content *k,
			    const uint8_t digest[SYNC_DIGEST_SIZE], const char *synced_at,
			    const struct chunking *how, uint32_t *n);
void object_free(struct object *o);	/* NULL is fine */

#endif
