/* plan: --dry-run: what a sync would do, line by line, without writing state or store. */
#ifndef LINESYNC_PLAN_H
#define LINESYNC_PLAN_H

#include "content.h"
#include "embedder.h"
#include "input.h"
#include "options.h"
#include "output.h"
#include "state.h"

struct plan_parts {		/* borrowed */
	const struct options *options;
	struct state *state;		/* a reader's; NULL: nothing was synced yet */
	struct roots *roots;
	struct input *input;
	int input_fd;
	struct output *output;
	struct embedder *embedder;	/* chosen, and foreseen where the store would have to be asked */
	const struct store *store;	/* not asked */
};

/* Each line is compared with what the state knows now, not with what earlier lines would have made of it.
 * Returns an exit status. */
int plan_run(const struct plan_parts *parts);

#endif
