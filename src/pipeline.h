/* pipeline: lines in, store and state changed, results out, in the order of steps that keeps the
 * promises (see the top of pipeline.c).
 *
 * A pipeline is fed by pipeline_run() from an input.  It borrows everything in struct pipeline_parts. */
#ifndef LINESYNC_PIPELINE_H
#define LINESYNC_PIPELINE_H

#include <stdbool.h>
#include <stdint.h>

#include "content.h"
#include "driver.h"
#include "embedder.h"
#include "http.h"
#include "input.h"
#include "lane.h"
#include "options.h"
#include "outbox.h"
#include "output.h"
#include "state.h"

struct pipeline_parts {
	const struct options *options;
	struct state *state;
	struct store *store;
	struct http *http;
	struct input *input;
	int input_fd;
	struct output *output;
	struct roots *roots;
	struct embedder *embedder;	/* settled; the first object may decide it */
	struct store *server;		/* of embeddings: EMBED_URL, else NULL */
	struct http *server_http;	/* beside http */
	uint64_t input_size;		/* bytes, 0: unknown */
	const char *source;		/* what the input is, for people */
	int64_t start_file_ns;		/* clock_file_ns() when this process began */
};

struct run_part {
	uint64_t stored, deleted;	/* documents */
	uint64_t unchanged;		/* lines */
	int64_t seconds;
};

struct pipeline_end {
	struct tally tally;
	uint64_t deleted, stored;	/* documents */
	struct run_part before;		/* by the earlier parts of the run, if one was continued */
	uint64_t held;			/* changesets that are held now, of earlier runs too */
	uint64_t left_in;		/* documents that --exclude names and that could not be deleted */
	bool whole;			/* all that was read is settled and printed */
	uint64_t unsettled;		/* lines read and not settled */
	uint64_t unprinted;		/* results of settled lines that could not be printed */
	uint64_t unclosed;		/* repositories with a position and lines after their last record */
	int signal;			/* that stopped it, 0 */
	char run[64];			/* id of the run */
};

/* Returns an exit status (spec section 7); *end is filled in whatever it is. */
int pipeline_run(const struct pipeline_parts *parts, struct pipeline_end *end);

#endif
