/* task: one change of one document, from its turn to its end (steps 3 and 6), and the only place that settles
 * a line.  What goes out and comes back is a lane's; what becomes of the document is doc.c's. */
#ifndef LINESYNC_TASK_H
#define LINESYNC_TASK_H

#include "embedder.h"
#include "outbox.h"
#include "work.h"

struct tasks;

struct task_parts {		/* borrowed */
	struct state *state;
	struct window *window;
	struct outbox *outbox;
	const struct store *store;
	const struct embedder *embedder;	/* settled before the first object comes */
	bool force;			/* --force: nothing is unchanged */
};

struct task_figures {		/* of this invocation */
	uint64_t stored, deleted;	/* documents */
	uint64_t left_in;		/* that --exclude names and that could not be deleted */
	char *first_left_in;		/* owned; why, NULL if there is none */
};

struct tasks *tasks_new(const struct task_parts *parts);
/* Where pieces go; embed_lane NULL: their vectors need no server.  Before the first line. */
void tasks_use(struct tasks *ts, struct lane *lane, struct lane *embed_lane);
void tasks_free(struct tasks *ts);	/* NULL is fine */
const struct task_figures *tasks_figures(const struct tasks *ts);

/* Takes over a line whose halves say what is to be done (TASK_TURN), or how they have ended (TASK_SETTLED with
 * a status); one that is `alone` names no document.  A line without halves is done. */
void task_line(struct tasks *ts, struct work *w);

/* The lanes' callbacks; ctx is the struct tasks. */
void task_item_done(void *ctx, struct lane_item *i, enum lane_end end);
void task_text_embedded(void *ctx, struct lane_item *i, enum lane_end end);

/* Step 4: the batch's documents are marked; durable with the next commit. */
void tasks_mark_batch(struct tasks *ts, struct batch *b);
/* Attempts that are over by now: who waited for that goes on, and marks of settled documents go. */
void tasks_late_turn(struct tasks *ts);
/* Nothing more will be sent: marks of documents of which the store has kept nothing go. */
void tasks_unmark_unsent(struct tasks *ts);

#endif
