/* progress: where a sync stands, on standard error: a bar on a terminal, a line on SIGUSR1. */
#ifndef LINESYNC_PROGRESS_H
#define LINESYNC_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "options.h"

struct progress_figures {
	const char *phase;			/* what is being done: "reading" */
	uint64_t done, failed, in_flight;	/* lines */
	uint64_t total_lines;			/* --total; 0: unknown */
	uint64_t bytes, total_bytes;		/* of the input; total 0: unknown */
	const char *path;			/* what is being worked on; NULL: nothing; printed escaped */
};

/* kind AUTO draws only when standard error is a terminal.  start_ms: clock_ms() at the start. */
void progress_init(enum progress_kind kind, int64_t start_ms);
bool progress_on(void);
int64_t progress_due(void);	/* when the bar wants to be drawn again; CLOCK_NEVER if it is off */
void progress_draw(const struct progress_figures *f);	/* at most ten times a second, one line */
void progress_clear(void);
void progress_print(const struct progress_figures *f);	/* a whole line, for SIGUSR1 */

#endif
