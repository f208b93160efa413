/* lane: requests of batches to one server, a store or one that embeds: fills, closes by count, bytes
 * or age, sends, halves, backs off, and says of every item how it ended.
 *
 * The caller commits "in flight" between lane_next() and lane_send(); the lane never sends a batch
 * that was not handed out like that, repeats and halves included.
 *
 * Blame needs a witness (spec section 5): an item that fails again and again is given up only once
 * another of its kind has succeeded since its last attempt, or the store's smallest write has.  While
 * nothing succeeds, the store is away, and after give_up_ms the lane asks to stop.
 *
 * A delete of many ids is cut where they are more than go into a request, and halved like a batch where
 * one with all of them is refused or fails.  Its parts travel as items of the lane's own, with the owner
 * of the whole, which has ended when all of them have: done only if all are.
 *
 * Where the store does not know the collection any more, it is looked up by its name, by a request like any
 * other, while nothing else is sent; found to be the same, all goes on, and else the lane asks to stop.
 *
 * Where sending again is more than an upsert (driver.again_is_upsert), an item whose attempt was lost
 * waits until that attempt can arrive no more; others go on.  Where all that is held waits so and the
 * store is away, its smallest write is the probe.
 *
 * Where an acknowledged write lasts only after the next one (driver.lasts_after_next), an item is done
 * when a write that was sent after its answer has been answered well too; where nothing else goes out,
 * the smallest write does.  If the store is not there to answer in between, it may have been killed and
 * have lost what it acknowledged: that is sent again. */
#ifndef LINESYNC_LANE_H
#define LINESYNC_LANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "driver.h"
#include "http.h"

enum lane_kind { LANE_UPSERT, LANE_DELETE, LANE_EMBED, LANE_KINDS };

enum lane_end {
	LANE_DONE,		/* the store acknowledged it, and it lasts */
	LANE_REFUSED,		/* rejected by itself */
	LANE_GAVE_UP		/* transient to the end, with a witness */
};

struct lane_item {
	/* the caller's */
	enum lane_kind kind;
	struct object *object;		/* LANE_UPSERT, borrowed */
	char (*ids)[37];		/* LANE_DELETE: nids of them, any number, borrowed */
	uint32_t nids;
	const char *text;		/* LANE_EMBED: text_len bytes, borrowed */
	size_t text_len;
	size_t size;			/* bytes, about */
	int64_t since_ms;		/* since when its line waits; 0: the lane sets it to now.  An item that
					 * goes on to another lane keeps it, and with it its age */
	bool again;			/* an earlier attempt may have arrived */
	void *owner;

	/* the lane's, readable when it is done */
	struct verdict verdict;		/* of the last attempt */
	float *vector;			/* LANE_EMBED, LANE_DONE: dim numbers, whoever takes them frees them */
	size_t dim;
	unsigned tries;			/* attempts that were charged to it */
	unsigned sent;			/* requests that it was part of */
	bool unclear;			/* an attempt ended without the store known to have kept nothing; also
					 * while an item that was cut has not ended */
	int64_t lost_until;		/* until then an unanswered attempt may still be applied; 0: none */
	int64_t first_sent_ms;
	int64_t answered_ms;		/* when it was acknowledged, and how many batches had been sent */
	uint64_t answered;
	struct lane_item *next;
	uint64_t origin;		/* the batch that it was first part of */
	uint64_t successes_before;	/* of the lane, when it first failed by itself */
	bool outage, tried_again;	/* see blame_aside() */
	struct lane_item *whole;	/* a part of a delete: the item that was cut; else NULL */
	uint32_t parts;			/* of an item that was cut, how many have not ended */
	enum lane_end end;		/* and how the first of them that failed did */
};

struct lane_options {
	size_t batch_size, batch_bytes;
	int connections;
	int64_t flush_ms, retry_wait_ms, retry_max_wait_ms, give_up_ms, late_ms;
	unsigned max_retries;
	uint64_t rate;			/* objects per second; 0: no limit */
};

struct lane_figures {
	uint64_t requests, bytes, halved;
	uint64_t objects, deletes;	/* done: upserts or texts, and ids */
};

struct lane;
struct batch;

/* done is called from lane_turn() and lane_send(), once for each item, in the order of verdicts. */
struct lane *lane_new(const struct lane_options *o, struct store *store, struct http *http,
		      void (*done)(void *ctx, struct lane_item *item, enum lane_end end), void *ctx);
void lane_free(struct lane *l);		/* while the items that it holds are there still */

void lane_add(struct lane *l, struct lane_item *item);
void lane_flush(struct lane *l);	/* closes what is open: no more is coming soon */

/* A batch that may go now, or NULL: none is closed, all connections are busy, or the lane pauses. */
struct batch *lane_next(struct lane *l);
/* A list by ->next; NULL where the request is the lane's own. */
struct lane_item *batch_items(const struct batch *b);
void lane_send(struct lane *l, struct batch *b);
void lane_unsend(struct lane *l, struct batch *b);	/* puts it back, unsent */

void lane_turn(struct lane *l);		/* takes verdicts */
int64_t lane_due(const struct lane *l);	/* when lane_next() may have more without a verdict */
bool lane_busy(const struct lane *l);	/* requests in flight that change or embed something */
bool lane_flying(const struct lane *l);	/* requests in flight of any kind */
bool lane_empty(const struct lane *l);	/* holds no item */
bool lane_away(const struct lane *l);	/* nothing has succeeded since a failure: stop reading */
/* While it is away: "waiting for the store: REASON, again in 1.5 s, giving up in 240 s", appended. */
void lane_say_away(const struct lane *l, struct buf *out);
bool lane_starved(const struct lane *l);	/* nothing closed that may go: flushing would help */
size_t lane_waiting(const struct lane *l);	/* bytes of items that are in no request yet */
const struct lane_figures *lane_figures(const struct lane *l);

/* 0, or the exit status with which the run must stop (75, 77, 78), the reason logged once. */
int lane_stop(const struct lane *l);

#endif
