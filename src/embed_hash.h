/* embed_hash: vectors without model and network, by signed feature hashing.  Lexical, not semantic.
 * Features: identifiers split at case changes, digits and underscores (lower-cased), bigrams of
 * neighbouring words, character trigrams of each word; each feature's count enters as 1 + ln(count);
 * its index and sign come from a 64-bit hash of its bytes; the sum is scaled to unit length.
 * Version 1, first form. */
#ifndef LINESYNC_EMBED_HASH_H
#define LINESYNC_EMBED_HASH_H

#include <stddef.h>

#define EMBED_HASH_MIN 8
#define EMBED_HASH_MAX 4096
#define EMBED_HASH_DEFAULT 384

/* Fills out[dim] (EMBED_HASH_MIN..EMBED_HASH_MAX) from n bytes of UTF-8.  The same text gives the
 * same numbers on every machine.  A text without any feature gets the unit vector of axis 0. */
void embed_hash(float *out, size_t dim, const char *text, size_t n);

#endif
