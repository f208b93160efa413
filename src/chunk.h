/* chunk: where a long text is cut.  Pure.  spec.md section 3.
 *
 * The same text and the same struct chunking give the same chunks, always: a document's objects are
 * told apart by their numbers alone.  Should the way of cutting ever change, chunking_name() must
 * say so, because it is part of the digest of what is stored. */
#ifndef LINESYNC_CHUNK_H
#define LINESYNC_CHUNK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHUNK_BYTES_MIN 64
#define CHUNK_BYTES_MAX (UINT32_C(1) << 30)

struct chunking {		/* without lines and bytes (zeroed): off, a text is one chunk */
	uint32_t lines;		/* most lines in a chunk; 0: no limit */
	uint32_t overlap;	/* lines that a chunk repeats of the one before; fewer than lines */
	uint32_t bytes;		/* most bytes in a chunk, from CHUNK_BYTES_MIN; 0: no limit */
};

bool chunking_is_off(const struct chunking *c);

/* What is wrong with it, as words about the --chunk options, or NULL.  Static. */
const char *chunking_fault(const struct chunking *c);

/* "off", or "lines=40,overlap=5,bytes=1500" with all three numbers; owned by the caller. */
char *chunking_name(const struct chunking *c);
/* Reads such a name back: 0, or -1 if it is none or names a faulty one. */
int chunking_parse(struct chunking *c, const char *name);

struct chunk {
	size_t start, len;		/* bytes of the text */
	uint32_t first_line, last_line;	/* from 1, of its first and its last byte */
};

struct chunk_walk {
	const char *text;	/* borrowed */
	size_t len;
	struct chunking how;
	struct chunk at;	/* the last one given; zero before the first */
	bool begun;
};

/* text: valid UTF-8, len bytes (no NUL needed), at most 4 GiB; how: without a fault. */
void chunk_begin(struct chunk_walk *w, const char *text, size_t len, const struct chunking *how);

/* The next chunk; false after the last.  There is at least one.  Only an empty text has an empty
 * one, of the lines 1 to 0.
 *
 * A chunk has as many whole lines as its limits allow, and begins with the last `overlap` lines of
 * the one before, or as many of them as leave room for the line that follows and are at most half of
 * `bytes` (or every chunk could be little more than the one before).  A line that is longer than
 * `bytes` is cut into chunks of its own, after a blank if there is one in the second half, else between
 * two characters; its last piece goes on with the lines that follow.  Nothing of such a line is
 * repeated.  A line's end, CRLF too, stays with the line.
 *
 * All calls for a text together take time in proportion to it. */
bool chunk_next(struct chunk_walk *w, struct chunk *c);

uint32_t chunk_count(const char *text, size_t len, const struct chunking *how);

/* No document is cut into more: each chunk takes memory, and one of many short lines could take all. */
#define CHUNKS_MAX 4096
/* Doubles the limits until that many chunks are enough.  Returns how many there are. */
uint32_t chunk_fit(struct chunking *how, const char *text, size_t len);

#endif
