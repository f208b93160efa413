/* decimal: floats as JSON numbers and back, exactly, at a fraction of what printf() and strtod() take.
 * Pure. */
#ifndef LINESYNC_DECIMAL_H
#define LINESYNC_DECIMAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text.h"

#define DECIMAL_MAX 15		/* most that decimal_write() writes */

/* Writes v, which is finite, with as few digits as bring it back, even by way of a double; no NUL.
 * Returns how many bytes. */
size_t decimal_write(char *to, float v);

/* Reads the number at p, spelled as JSON has it, with a byte that is in no number behind it before end, as
 * the nearest float: as strtof() does, infinity where none is near.  Returns what follows it. */
const char *decimal_read(const char *p, const char *end, float *v);

/* What follows the digits at p, of which there may be none. */
const char *decimal_skip(const char *p, const char *end);

/* Whether no byte of w is a quote or above '?': outside of strings in JSON they are digits, signs, points,
 * commas, colons and blanks. */
static inline bool decimal_only(uint64_t w)
{
	uint64_t quote = w ^ EACH('"');

	return (w & EACH(0xc0)) == 0 && ((quote - EACH(1)) & ~quote & EACH(0x80)) == 0;
}

#endif
