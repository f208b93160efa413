/* unknown: fields of records that no change has: each is named once, for a person. */
#ifndef LINESYNC_UNKNOWN_H
#define LINESYNC_UNKNOWN_H

#include <stddef.h>
#include <stdint.h>

#include "change.h"

#define UNKNOWN_MAX 16		/* names of one invocation; the rest is only counted on */

struct unknown {
	char *names[UNKNOWN_MAX];	/* owned, printable */
	size_t n;
};

/* Tells of c's unknown fields that were not named before; line: its number. */
void unknown_tell(struct unknown *u, const struct change *c, uint64_t line);
void unknown_release(struct unknown *u);

#endif
