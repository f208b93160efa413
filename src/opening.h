/* opening: what an input is, from its first bytes, before anything is touched because of it.  Pure.
 *
 * Of another kind is what would give a failed line for each of its bytes: one JSON value over many lines,
 * something compressed, UTF-16, records that end with NUL, a binary.  Only the beginning is judged: what
 * stands further on is a line, and fails as one. */
#ifndef LINESYNC_OPENING_H
#define LINESYNC_OPENING_H

#include <stdbool.h>
#include <stddef.h>

#include "change.h"

enum opening {
	OPENING_MORE,		/* too few bytes to tell */
	OPENING_LINE,		/* a line that asks for something, or is bad */
	OPENING_IDLE,		/* it has ended: nothing but blank lines and producers' messages */
	OPENING_FOREIGN		/* of another kind: *advice */
};

#define OPENING_MAX 65536	/* of so many bytes a line is taken for granted, whatever they are */

/* Judges the first n bytes, less a byte order mark; ended: there are no more.  *advice: what the input is,
 * and the command that makes lines of it; static. */
enum opening opening_judge(const char *p, size_t n, bool ended, const struct change_options *o,
			   const char **advice);

#endif
