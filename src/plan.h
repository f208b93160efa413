/* plan: --dry-run: what a sync would do, line by line, without writing state or store. */
#ifndef LINESYNC_PLAN_H
#define LINESYNC_PLAN_H

#include "content.h"
#include "input.h"
#include "options.h"
#include "output.h"
#include "state.h"

/* state may be NULL: nothing was synced yet.  settings: embedder_settings().  Returns an exit status. */
int plan_run(const struct options *o, struct state *state, struct roots *roots, struct input *in,
	     int in_fd, struct output *out, const char *settings);

#endif
