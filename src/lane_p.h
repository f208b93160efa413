/* lane_p: what lane.c (batches), lane_send.c (time and sending) and lane_blame.c (what answers mean)
 * share. */
#ifndef LINESYNC_LANE_P_H
#define LINESYNC_LANE_P_H

#include "lane.h"

struct lane_list {
	struct lane_item *first, **last;
	size_t n, bytes, objects;
};

struct batch {
	struct batch *next;
	enum lane_kind kind;
	bool witness;			/* no items: the driver's smallest write */
	bool blames;			/* a witness: its success is held against what was set aside */
	bool clears;			/* and against what was refused */
	bool looks_up;			/* no items: the collection is looked up by its name */
	char *was;			/* owned; its id before that */
	struct lane_list items;
	int64_t since_ms;		/* since when the oldest of them waits */
	unsigned tries;
	uint64_t successes_before;	/* of the lane when it first failed */
	int64_t not_before;		/* until then an earlier attempt may arrive */
	bool lost;			/* a request of this attempt may still arrive */
	struct ask ask;
	uint64_t serial;		/* of lane.sent; 0: not sent yet */
};

struct lane {
	struct lane_options o;
	struct store *store;
	struct http *http;
	void (*done)(void *ctx, struct lane_item *item, enum lane_end end);
	void *ctx;
	struct batch *open[LANE_KINDS];
	struct batch *ready;		/* closed, in order */
	struct batch *flying;		/* handed out by lane_next(), by ->next */
	struct lane_list aside[LANE_KINDS];	/* tried out: waiting for a witness */
	struct lane_list suspects;		/* refused, and perhaps all is: waiting for a success or a third batch */
	uint64_t suspect_origin;
	uint64_t good_origin;		/* the last batch of which an object was taken */
	unsigned suspect_batches;
	bool asks_word, word_flies;	/* the witness goes next, or has gone: is everything refused? */
	uint64_t word_successes;	/* lane.successes when it last answered that well */
	unsigned misfits;		/* answers in a row that fit no object: see count_misfit() */
	struct lane_list lasting;		/* acknowledged: waiting for a later write, in order of answers */
	uint64_t gone;			/* lane.sent when the store was last not there to answer: what was
					 * sent until then may have been answered before it went */
	bool flushed;			/* nothing was added since lane_flush() */
	unsigned touch_failures;	/* of the smallest write in a row, whatever else succeeds meanwhile */
	int64_t touch_failed_since, touch_until;
	int in_flight;
	size_t held;			/* items in the lane */
	unsigned failures_in_a_row;
	int64_t pause_until, away_since, rate_until;
	char away_why[400];		/* since away_since: the last failure, for people */
	uint64_t rate_owed;		/* thousandths of objects, less than one ms */
	uint64_t successes, next_origin;
	bool first_done;
	uint64_t sent;			/* batches, ever */
	bool asks_lookup, looking_up;	/* the collection is to be looked up, or is being: nothing else goes */
	uint64_t looked_up;		/* of the batches, when it was found again since the last success; 0: it
					 * was not */
	int stop;
	struct lane_figures figures;
};

/* ---- lane.c ---- */

void lane_list_init(struct lane_list *l);
void lane_list_add(struct lane_list *l, struct lane_item *i);
struct lane_item *lane_list_take(struct lane_list *l);	/* the first, or NULL */
size_t lane_item_objects(const struct lane_item *i);

struct batch *lane_batch_new(enum lane_kind kind);
void lane_batch_free(struct batch *b);
void lane_queue_front(struct lane *l, struct batch *b);
void lane_batch_of_one(struct lane *l, struct lane_item *i);	/* to the end of the queue */
bool lane_any_open(const struct lane *l);
void lane_close_open(struct lane *l, enum lane_kind kind);
void lane_close_all(struct lane *l);

/* What a verdict of several ids begins with, and one more of them. */
extern const struct verdict lane_all_well;
void lane_merge_verdict(struct verdict *into, const struct verdict *v);
void lane_finish(struct lane *l, struct lane_item *i, enum lane_end end);	/* it leaves the lane */

/* The items of b, which is left empty, once more: in two halves, first of all, or behind the others. */
void lane_halve(struct lane *l, struct batch *b);
void lane_repeat(struct lane *l, struct batch *b);
void lane_repeat_behind(struct lane *l, struct batch *b);
void lane_send_again(struct lane *l, struct lane_list *items);

/* After a failure nothing is sent for a while: longer each time, or as long as r (or NULL) asks for. */
void lane_pause(struct lane *l, const struct verdict *v, const struct reply *r);

/* ---- lane_blame.c ---- */

/* The ask of b, which is in flight no more, has come to its end with r (NULL: nothing was asked).
 * Frees b. */
void lane_conclude(struct lane *l, struct batch *b, const struct reply *r);
void lane_note_gone(struct lane *l, const struct batch *b, const struct reply *r);	/* before its verdict */
void lane_blame_rest(struct lane *l);	/* after the verdicts of a turn */

#endif
