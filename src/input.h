/* input: bytes from a descriptor to bounded lines.
 *
 * Reads only when the caller says that the descriptor is readable, so it never blocks by itself.
 * A line longer than max is passed over without being held.  Memory: at most max + 64 KiB. */
#ifndef LINESYNC_INPUT_H
#define LINESYNC_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct input;

enum input_got {
	INPUT_LINE,		/* *line is filled in */
	INPUT_MORE,		/* no whole line yet: wait until readable, then input_read() */
	INPUT_END		/* everything has been given out */
};

struct line {
	const char *data;	/* borrowed until the next input_* call; n bytes and a NUL */
	size_t n;		/* without newline and without a CR before it; up to max */
	uint64_t number;	/* physical line, from 1; with -z the record's number */
	uint64_t bytes;		/* length in the input, terminator included */
	uint64_t digest;	/* first 8 bytes of SHA-256 of the n bytes; too_long lines: of all their
				 * bytes but the terminator, taken while passing over them */
	bool too_long;		/* data holds the first bytes only (at most 1024) */
	bool unterminated;	/* the input ended without a newline (or NUL, with -z) */
};

/* nul: records end with NUL (-z), nothing is removed from them.  name_status: with -z, one record is
 * a status field and its one or two paths, as git diff --name-status -z prints them: data holds the
 * fields with one NUL between each two of them (a path cannot hold one), so n bytes of data with
 * NULs inside are what change_parse() wants.  R and C with their digits take two paths, any other
 * letter one; a field that is no status (a letter and digits) is a record alone.  unterminated is
 * then also true for a record whose last fields are missing.  Without nul, a UTF-8 byte order mark
 * at the very start is dropped. */
struct input *input_new(int fd, size_t max, bool nul, bool name_status);
void input_free(struct input *in);

/* Before the first line is taken: passes over blank lines (with nul, empty records), as far as they have
 * come. */
void input_pass_blank(struct input *in);
/* What was read and not given out, from the beginning of a line on: *n bytes, borrowed until the next
 * input_* call.  ended: there is no more. */
const char *input_peek(struct input *in, size_t *n, bool *ended);

enum input_got input_next(struct input *in, struct line *line);

/* Reads once (at most 64 KiB).  Returns 1 if bytes came, 0 at end of input, -1 with errno (EINTR and
 * EAGAIN are 1: nothing came). */
int input_read(struct input *in);

uint64_t input_bytes(const struct input *in);	/* bytes given out so far */

#endif
