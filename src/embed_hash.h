/* embed_hash: vectors without model and network, by signed feature hashing of words, identifiers,
 * bigrams and trigrams.  Lexical, not semantic.  linesync-hash(7) specifies every bit: stored vectors
 * depend on all of it, so a change there is a new version. */
#ifndef LINESYNC_EMBED_HASH_H
#define LINESYNC_EMBED_HASH_H

#include <stddef.h>

/* What a state calls these vectors, before ":DIM"; the number is the version of the algorithm. */
#define EMBED_HASH_NAME "hash-1"

#define EMBED_HASH_MIN 8
#define EMBED_HASH_MAX 4096
#define EMBED_HASH_DEFAULT 1024

/* Fills out[dim] (EMBED_HASH_MIN..EMBED_HASH_MAX) from n bytes of UTF-8.  The same text gives the
 * same numbers on every machine.  A text without any word gets the unit vector of axis 0. */
void embed_hash(float *out, size_t dim, const char *text, size_t n);

#endif
