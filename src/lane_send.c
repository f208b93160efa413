/* Time and sending: which request goes next, and when. */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "clock.h"
#include "lane_p.h"

#define LASTING_MS 1000		/* an acknowledged write waits no longer for the next: sooner than a
				 * server that was killed can be back unnoticed */

static bool any_aside(const struct lane *l)
{
	for (int k = 0; k < LANE_KINDS; k++)
		if (l->aside[k].n > 0)
			return true;
	return false;
}

/* When the oldest item of what is open has waited long enough. */
static int64_t open_due(const struct lane *l, int kind)
{
	return l->open[kind] != NULL ? l->open[kind]->since_ms + l->o.flush_ms : CLOCK_NEVER;
}

static void close_aged(struct lane *l, int64_t now)
{
	for (int k = 0; k < LANE_KINDS; k++)
		if (open_due(l, k) <= now)
			lane_close_open(l, (enum lane_kind)k);
}

static int connections_now(const struct lane *l)
{
	return l->first_done ? l->o.connections : 1;
}

static struct batch *take_ready(struct lane *l, int64_t now)
{
	struct batch **p = &l->ready, *b;

	while (*p != NULL && (*p)->not_before > now)
		p = &(*p)->next;
	b = *p;
	if (b != NULL) {
		*p = b->next;
		b->next = NULL;
	}
	return b;
}

/* What was set aside waits for a witness, and there is no better one. */
static bool wants_witness(const struct lane *l)
{
	return any_aside(l) && l->in_flight == 0 && !lane_any_open(l) && l->ready == NULL;
}

/* Nothing has succeeded since a failure, and all that could show a change waits for late attempts. */
static bool wants_probe(const struct lane *l)
{
	return l->away_since != 0 && l->held > 0 && l->in_flight == 0 && !lane_any_open(l);
}

/* When another write is to go, so that those acknowledged last. */
static int64_t lasting_due(const struct lane *l)
{
	const struct lane_item *oldest = l->lasting.first;

	if (oldest == NULL)
		return CLOCK_NEVER;
	for (const struct batch *b = l->flying; b != NULL; b = b->next)
		if (b->serial == 0 || b->serial > oldest->answered)
			return CLOCK_NEVER;
	if (l->flushed && l->in_flight == 0)
		return 0;
	return oldest->answered_ms + (l->o.flush_ms < LASTING_MS ? l->o.flush_ms : LASTING_MS);
}

/* What was closed, and else what is open and may fill no longer: where nothing can go, it fills on. */
static struct batch *take_next(struct lane *l, int64_t now)
{
	struct batch *b = take_ready(l, now);

	if (b != NULL)
		return b;
	if (lane_any_open(l) && lasting_due(l) <= now)
		lane_close_all(l);		/* better than a write for nothing */
	else
		close_aged(l, now);
	return take_ready(l, now);
}

/* When the smallest write is to go, if nothing else may. */
static int64_t touch_due(const struct lane *l)
{
	int64_t due = l->asks_word || wants_witness(l) || wants_probe(l) ? 0 : lasting_due(l);

	return due < l->touch_until ? l->touch_until : due;
}

static struct batch *witness(struct lane *l)
{
	struct batch *b = lane_batch_new(LANE_DELETE);

	b->witness = true;
	/* a provider that is away must not keep from lasting what is stored */
	b->blames = (wants_witness(l) && (!l->store->embeds || l->lasting.n == 0)) || l->asks_word;
	b->clears = l->asks_word;
	l->word_flies |= b->clears;
	l->asks_word = false;
	return b;
}

static struct batch *lookup(struct lane *l)
{
	struct batch *b = lane_batch_new(LANE_DELETE);

	b->looks_up = true;
	b->was = xstrdup(l->store->collection_id);
	l->asks_lookup = false;
	l->looking_up = true;
	return b;
}

static bool may_send(const struct lane *l, int64_t now)
{
	return l->stop == 0 && !l->looking_up && now >= l->pause_until && now >= l->rate_until &&
	       l->in_flight < connections_now(l);
}

struct batch *lane_next(struct lane *l)
{
	int64_t now = clock_ms();
	struct batch *b = NULL;

	if (!may_send(l, now))
		return NULL;
	if (l->asks_lookup)
		b = lookup(l);
	else if (!l->asks_word)
		b = take_next(l, now);
	if (b == NULL && touch_due(l) <= now)
		b = witness(l);
	if (b != NULL) {
		l->in_flight++;
		b->next = l->flying;
		l->flying = b;
	}
	return b;
}

static void landed(struct lane *l, struct batch *b)
{
	struct batch **p = &l->flying;

	while (*p != b)
		p = &(*p)->next;
	*p = b->next;
	b->next = NULL;
	l->in_flight--;
	l->word_flies &= !b->clears;
	l->looking_up &= !b->looks_up;
}

struct lane_item *batch_items(const struct batch *b)
{
	return b->items.first;
}

void lane_unsend(struct lane *l, struct batch *b)
{
	landed(l, b);
	l->asks_word |= b->clears;
	l->asks_lookup |= b->looks_up;
	if (b->witness || b->looks_up)
		lane_batch_free(b);
	else
		lane_queue_front(l, b);
}

static void fill_ask(struct batch *b)
{
	static const enum ask_kind kinds[LANE_KINDS] = { ASK_UPSERT, ASK_DELETE, ASK_EMBED };
	struct ask *a = &b->ask;
	size_t n = 0;

	ask_release(a);
	free(a->objects);
	memset(a, 0, sizeof *a);
	a->kind = b->looks_up ? ASK_LOOKUP : b->witness ? ASK_TOUCH : kinds[b->kind];
	a->blames = b->blames;
	a->objects = xcalloc(b->items.objects, sizeof *a->objects);
	for (struct lane_item *i = b->items.first; i != NULL; i = i->next) {
		if (i->kind == LANE_UPSERT)
			a->objects[n++] = (struct ask_object){ .id = i->object->id,
				.object = i->object, .again = i->again };
		if (i->kind == LANE_EMBED)
			a->objects[n++] = (struct ask_object){ .text = i->text, .len = i->text_len };
		for (uint32_t k = 0; i->kind == LANE_DELETE && k < i->nids; k++)
			a->objects[n++] = (struct ask_object){ .id = i->ids[k], .again = i->again };
	}
	a->n = n;
}

/* Sends the next request of the ask, or ends it when the driver has no more to ask. */
static void step(struct lane *l, struct batch *b, const struct reply *last)
{
	struct request r = { 0 };

	http_spare(l->http, &r.body);
	if (l->store->driver->build(l->store, &b->ask, &r) == 0) {
		http_spare(l->http, &r.body);
		landed(l, b);
		lane_conclude(l, b, last);
		return;
	}
	l->figures.requests++;
	l->figures.bytes += r.body.len;
	if (http_start(l->http, &r, b) != 0) {	/* the lane counts connections: not expected */
		request_release(&r);
		lane_unsend(l, b);
	}
}

void lane_send(struct lane *l, struct batch *b)
{
	int64_t now = clock_ms();

	fill_ask(b);
	b->lost = false;
	b->serial = ++l->sent;
	for (struct lane_item *i = b->items.first; i != NULL; i = i->next) {
		if (i->sent++ == 0)
			i->first_sent_ms = now;
		i->verdict = (struct verdict){ 0 };
	}
	if (l->o.rate > 0) {
		if (l->rate_until < now)
			l->rate_until = now;
		l->rate_owed += b->items.objects * 1000;
		l->rate_until += (int64_t)(l->rate_owed / l->o.rate);
		l->rate_owed %= l->o.rate;
	}
	step(l, b, NULL);
}

/* The batch of which an answer comes; NULL: it is one of somebody else's questions, which was given up. */
static struct batch *batch_of(const struct lane *l, const void *tag)
{
	struct batch *b = l->flying;

	while (b != NULL && b != tag)
		b = b->next;
	return b;
}

static void take_answer(struct lane *l, struct batch *b, const struct reply *r)
{
	b->lost |= r->end == HTTP_LOST || r->resent;
	lane_note_gone(l, b, r);
	l->store->driver->judge(l->store, &b->ask, r);
	step(l, b, r);
}

void lane_turn(struct lane *l)
{
	struct reply r;
	void *tag;

	while (http_next(l->http, &tag, &r) == 1) {
		struct batch *b = batch_of(l, tag);

		if (b != NULL)
			take_answer(l, b, &r);
		reply_release(&r);
	}
	lane_blame_rest(l);
}

int64_t lane_due(const struct lane *l)
{
	int64_t due = l->asks_lookup ? 0 : touch_due(l);
	int64_t wait = l->pause_until > l->rate_until ? l->pause_until : l->rate_until;

	if (l->stop != 0 || l->looking_up || l->in_flight >= connections_now(l))
		return CLOCK_NEVER;
	for (const struct batch *b = l->ready; b != NULL; b = b->next)
		if (b->not_before < due)
			due = b->not_before;
	for (int k = 0; k < LANE_KINDS; k++)
		if (open_due(l, k) < due)
			due = open_due(l, k);
	return due < wait ? wait : due;
}

bool lane_busy(const struct lane *l)
{
	return l->in_flight > l->looking_up;
}

bool lane_flying(const struct lane *l)
{
	return l->in_flight > 0;
}

bool lane_starved(const struct lane *l)
{
	int64_t now = clock_ms();

	for (const struct batch *b = l->ready; b != NULL; b = b->next)
		if (b->not_before <= now)
			return false;
	return l->in_flight < connections_now(l);
}
