/* tree: an ordered map of byte strings in pages of a state file (a B+ tree).
 *
 * Keys of one repository and folder lie beside each other, so a batch touches few pages, and a page
 * stores of each key only what differs from the key before it.  Layout of a page (linesync-state(5)):
 *   byte 0: 1 leaf, 2 inner; then entries in ascending order of their keys (memcmp, shorter first):
 *   varint bytes shared with the key before, varint bytes that follow, varint length of the value,
 *   the bytes that follow, the value.  In an inner page the value is a page number (4 bytes, big
 *   endian) and the key the least that its page may hold; the first entry's key is empty.
 * Invariants: every page but the root holds at least one entry; a leaf of more than one entry and an
 * inner page of more than seven are cut when a put leaves them above TREE_PAGE bytes; page numbers are
 * never used twice. */
#ifndef LINESYNC_TREE_H
#define LINESYNC_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "statefile.h"

#define TREE_PAGE 4096
#define TREE_KEY_MAX 8192

/* The two numbers are the caller's to keep in the state file with each commit. */
struct tree {
	struct statefile *file;	/* borrowed */
	uint32_t root;		/* page number; 0: the tree is empty */
	uint32_t next_page;	/* the next number to give out, from 1 */
	bool reader;		/* another process may commit between two pages that are read */
	bool torn;		/* reader: a page was missing, so the answer counts for nothing */
};

/* The value of a key (1..TREE_KEY_MAX bytes), appended to *val after a reset.  True if found. */
bool tree_get(struct tree *t, const void *key, size_t klen, struct buf *val);

void tree_put(struct tree *t, const void *key, size_t klen, const void *val, size_t vlen);
bool tree_del(struct tree *t, const void *key, size_t klen);	/* true if it was there */

/* The least key above `after` (alen bytes; with or_equal also that key itself) into *key, its value
 * into *val.  False at the end. */
bool tree_next(struct tree *t, const void *after, size_t alen, bool or_equal, struct buf *key,
	       struct buf *val);
/* The same downwards: the greatest key below `before`. */
bool tree_prev(struct tree *t, const void *before, size_t blen, struct buf *key, struct buf *val);

/* An entry by chance, as chance() says: each page below an inner one is as likely as the next, and each entry
 * of a leaf.  Into *key and *val; false if there is none. */
bool tree_any(struct tree *t, uint64_t (*chance)(void), struct buf *key, struct buf *val);

/* Checks one page's bytes without following it: 0, or -1 if it is malformed.  Pure, for fuzzing. */
int tree_check_page(const uint8_t *p, size_t n);

#endif
