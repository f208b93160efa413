/* The batches: what is in them, how they fill, and how they are taken apart. */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "clock.h"
#include "lane_p.h"
#include "log.h"
#include "retry.h"

void lane_list_init(struct lane_list *l)
{
	l->first = NULL;
	l->last = &l->first;
	l->n = l->bytes = l->objects = 0;
}

size_t lane_item_objects(const struct lane_item *i)
{
	return i->kind == LANE_DELETE ? i->nids : 1;
}

void lane_list_add(struct lane_list *l, struct lane_item *i)
{
	i->next = NULL;
	*l->last = i;
	l->last = &i->next;
	l->n++;
	l->bytes += i->size;
	l->objects += lane_item_objects(i);
}

struct lane_item *lane_list_take(struct lane_list *l)
{
	struct lane_item *i = l->first;

	if (i == NULL)
		return NULL;
	l->first = i->next;
	if (l->first == NULL)
		l->last = &l->first;
	l->n--;
	l->bytes -= i->size;
	l->objects -= lane_item_objects(i);
	i->next = NULL;
	return i;
}

struct lane *lane_new(const struct lane_options *o, struct store *store, struct http *http,
		      void (*done)(void *ctx, struct lane_item *item, enum lane_end end), void *ctx)
{
	struct lane *l = xcalloc(1, sizeof *l);

	l->o = *o;
	l->store = store;
	l->http = http;
	l->done = done;
	l->ctx = ctx;
	for (int k = 0; k < LANE_KINDS; k++)
		lane_list_init(&l->aside[k]);
	lane_list_init(&l->suspects);
	lane_list_init(&l->lasting);
	l->word_successes = UINT64_MAX;
	l->first_done = !store->driver->first_write_alone || store->dimension != 0;
	return l;
}

struct batch *lane_batch_new(enum lane_kind kind)
{
	struct batch *b = xcalloc(1, sizeof *b);

	b->kind = kind;
	b->since_ms = CLOCK_NEVER;
	lane_list_init(&b->items);
	return b;
}

/* Items are the caller's, the parts of one are not. */
static void list_drop(struct lane_list *l)
{
	struct lane_item *i;

	while ((i = lane_list_take(l)) != NULL)
		if (i->whole != NULL)
			free(i);
}

void lane_batch_free(struct batch *b)
{
	if (b == NULL)
		return;
	list_drop(&b->items);
	ask_release(&b->ask);
	free(b->ask.objects);
	free(b->was);
	free(b);
}

void lane_free(struct lane *l)
{
	if (l == NULL)
		return;
	for (struct batch *b = l->ready, *next; b != NULL; b = next) {
		next = b->next;
		lane_batch_free(b);
	}
	for (struct batch *b = l->flying, *next; b != NULL; b = next) {
		next = b->next;
		lane_batch_free(b);
	}
	for (int k = 0; k < LANE_KINDS; k++) {
		lane_batch_free(l->open[k]);
		list_drop(&l->aside[k]);
	}
	list_drop(&l->suspects);
	list_drop(&l->lasting);
	free(l);
}

/* Where sending again is more than an upsert, an attempt that arrives in between would undo it. */
static bool must_wait(const struct lane *l, const struct lane_item *i)
{
	return !l->store->driver->again_is_upsert && i->lost_until > clock_ms();
}

static void hold_back(struct lane *l, struct batch *b)
{
	b->not_before = 0;
	for (struct lane_item *i = b->items.first; i != NULL; i = i->next)
		if (must_wait(l, i) && i->lost_until > b->not_before)
			b->not_before = i->lost_until;
}

static void queue_back(struct lane *l, struct batch *b)
{
	struct batch **p = &l->ready;

	hold_back(l, b);
	while (*p != NULL)
		p = &(*p)->next;
	b->next = NULL;
	*p = b;
}

void lane_queue_front(struct lane *l, struct batch *b)
{
	hold_back(l, b);
	b->next = l->ready;
	l->ready = b;
}

const struct verdict lane_all_well = { .scope = VERDICT_OK, .kept_nothing = true };

/* It is done when all are, and else takes the first verdict that is not.  It kept nothing only if that is so
 * of each: where one id was deleted, something is other than it was. */
void lane_merge_verdict(struct verdict *into, const struct verdict *v)
{
	bool kept = into->kept_nothing && v->kept_nothing && v->scope != VERDICT_OK;

	if (into->scope == VERDICT_OK)
		*into = *v;
	into->kept_nothing = kept;
}

/* A part with all the ids of a delete that nobody has cut yet. */
static struct lane_item *part_of(struct lane_item *whole)
{
	struct lane_item *part = xmalloc(sizeof *part);

	*part = *whole;
	part->whole = whole;
	whole->parts = 1;
	whole->end = LANE_DONE;
	whole->verdict = lane_all_well;
	whole->unclear = true;
	return part;
}

/* The first n ids of a part, as another part. */
static struct lane_item *cut_off(struct lane *l, struct lane_item *part, uint32_t n)
{
	struct lane_item *first = xmalloc(sizeof *first);
	size_t size = part->size / part->nids * n;

	*first = *part;
	first->nids = n;
	first->size = size;
	part->ids += n;
	part->nids -= n;
	part->size -= size;
	part->whole->parts++;
	l->held++;
	return first;
}

void lane_batch_of_one(struct lane *l, struct lane_item *i)
{
	struct batch *b = lane_batch_new(i->kind);

	lane_list_add(&b->items, i);
	queue_back(l, b);
}

void lane_close_open(struct lane *l, enum lane_kind kind)
{
	if (l->open[kind] == NULL)
		return;
	queue_back(l, l->open[kind]);
	l->open[kind] = NULL;
}

/* An item that would take a batch over its bytes or objects opens the next one. */
static bool fits(const struct lane *l, const struct batch *b, const struct lane_item *i)
{
	return b->items.bytes + i->size <= l->o.batch_bytes &&
	       b->items.objects + lane_item_objects(i) <= l->o.batch_size;
}

static void enter(struct lane *l, struct lane_item *item)
{
	struct batch *b = l->open[item->kind];

	if (must_wait(l, item)) {	/* others of its batch would wait with it */
		item->origin = ++l->next_origin;
		lane_batch_of_one(l, item);
		return;
	}
	if (b != NULL && !fits(l, b, item)) {
		lane_close_open(l, item->kind);
		b = NULL;
	}
	if (b == NULL) {
		b = l->open[item->kind] = lane_batch_new(item->kind);
		l->next_origin++;
	}
	item->origin = l->next_origin;
	lane_list_add(&b->items, item);
	if (item->since_ms < b->since_ms)
		b->since_ms = item->since_ms;
	if (b->items.objects >= l->o.batch_size || b->items.bytes >= l->o.batch_bytes)
		lane_close_open(l, item->kind);
}

/* So many of its ids go into one request. */
static uint32_t most_ids(const struct lane *l, const struct lane_item *i)
{
	size_t n = l->o.batch_bytes / (i->size / i->nids + 1);

	n = n < l->o.batch_size ? n : l->o.batch_size;
	return n == 0 ? 1 : n < i->nids ? (uint32_t)n : i->nids;
}

void lane_add(struct lane *l, struct lane_item *item)
{
	item->tries = item->sent = 0;
	item->outage = item->tried_again = item->unclear = false;
	item->whole = NULL;
	if (item->since_ms == 0)
		item->since_ms = clock_ms();
	l->held++;
	l->flushed = false;
	if (item->kind == LANE_DELETE && most_ids(l, item) < item->nids) {
		uint32_t most = most_ids(l, item);

		item = part_of(item);
		while (item->nids > most)
			enter(l, cut_off(l, item, most));
	}
	enter(l, item);
}

void lane_close_all(struct lane *l)
{
	for (int k = 0; k < LANE_KINDS; k++)
		lane_close_open(l, (enum lane_kind)k);
}

void lane_flush(struct lane *l)
{
	lane_close_all(l);
	l->flushed = true;
}

bool lane_any_open(const struct lane *l)
{
	for (int k = 0; k < LANE_KINDS; k++)
		if (l->open[k] != NULL)
			return true;
	return false;
}

/* Leaves with the whole what became of the part, which is gone then.  True if it was the last. */
static bool end_part(struct lane_item *part, enum lane_end end)
{
	struct lane_item *w = part->whole;

	if (w->verdict.scope == VERDICT_OK)
		w->end = end;
	part->verdict.kept_nothing &= !part->unclear;
	lane_merge_verdict(&w->verdict, &part->verdict);
	if (w->sent == 0 || part->first_sent_ms < w->first_sent_ms)
		w->first_sent_ms = part->first_sent_ms;
	w->sent = part->sent > w->sent ? part->sent : w->sent;
	w->tries = part->tries > w->tries ? part->tries : w->tries;
	w->lost_until = part->lost_until > w->lost_until ? part->lost_until : w->lost_until;
	free(part);
	if (--w->parts > 0)
		return false;
	w->unclear = !w->verdict.kept_nothing;
	return true;
}

void lane_finish(struct lane *l, struct lane_item *i, enum lane_end end)
{
	struct lane_item *whole = i->whole;

	if (end == LANE_DONE)
		*(i->kind == LANE_DELETE ? &l->figures.deletes : &l->figures.objects) += lane_item_objects(i);
	l->held--;
	if (whole == NULL)
		l->done(l->ctx, i, end);
	else if (end_part(i, end))
		l->done(l->ctx, whole, whole->end);
}

/* By items; a single one, of several ids, by these. */
void lane_halve(struct lane *l, struct batch *b)
{
	struct batch *second = lane_batch_new(b->kind), *first = lane_batch_new(b->kind);
	size_t half = b->items.n / 2;
	struct lane_item *i = b->items.first;

	if (half == 0) {
		i = lane_list_take(&b->items);
		i = i->whole != NULL ? i : part_of(i);
		lane_list_add(&first->items, cut_off(l, i, i->nids / 2));
		lane_list_add(&second->items, i);
	}
	while ((i = lane_list_take(&b->items)) != NULL)
		lane_list_add(first->items.n < half ? &first->items : &second->items, i);
	l->figures.halved++;
	lane_queue_front(l, second);
	lane_queue_front(l, first);
}

static struct batch *next_try(struct lane *l, struct batch *b)
{
	struct batch *again = lane_batch_new(b->kind);
	struct lane_item *i;

	again->tries = b->tries + 1;
	again->successes_before = b->tries == 0 ? l->successes : b->successes_before;
	while ((i = lane_list_take(&b->items)) != NULL)
		lane_list_add(&again->items, i);
	return again;
}

void lane_repeat(struct lane *l, struct batch *b)
{
	lane_queue_front(l, next_try(l, b));
}

/* Often enough: others go first now, or the smallest write, if there is no other.  Should one of them
 * succeed, something in this batch is to blame. */
void lane_repeat_behind(struct lane *l, struct batch *b)
{
	struct batch *again = next_try(l, b);

	queue_back(l, again);
	if (again->not_before <= l->pause_until)
		again->not_before = l->pause_until + 1;
}

/* What the store acknowledged, and may have lost since. */
void lane_send_again(struct lane *l, struct lane_list *items)
{
	struct batch *batch[LANE_KINDS] = { NULL };
	struct lane_item *i;

	while ((i = lane_list_take(items)) != NULL) {
		struct batch **b = &batch[i->kind];

		if (*b != NULL && !fits(l, *b, i)) {
			queue_back(l, *b);
			*b = NULL;
		}
		if (*b == NULL)
			*b = lane_batch_new(i->kind);
		i->again = true;
		lane_list_add(&(*b)->items, i);
	}
	for (int k = 0; k < LANE_KINDS; k++)
		if (batch[k] != NULL)
			queue_back(l, batch[k]);
}

bool lane_empty(const struct lane *l)
{
	return l->held == 0;
}

bool lane_away(const struct lane *l)
{
	return l->away_since != 0 && l->held > 0;
}

void lane_pause(struct lane *l, const struct verdict *v, const struct reply *r)
{
	/* it is in the verdict's words, mostly */
	const char *error = r != NULL && strstr(v->text, r->error) == NULL ? r->error : "";
	int64_t now = clock_ms();
	int64_t wait;

	l->failures_in_a_row++;
	wait = retry_wait_ms(l->failures_in_a_row, l->o.retry_wait_ms, l->o.retry_max_wait_ms,
			     clock_random());
	if (r != NULL && r->retry_after_s > 0)	/* 0 without end would be asking without end */
		wait = r->retry_after_s * 1000;
	if (l->away_since == 0)
		l->away_since = now;
	l->pause_until = now + wait;
	snprintf(l->away_why, sizeof l->away_why, "%s%s%s", v->text[0] ? v->text : "no clear answer",
		 error[0] ? ": " : "", error);
	log_info("%s: %s; attempt %u in a row failed, the next in %.1f s", l->store->driver->role, l->away_why,
		 l->failures_in_a_row, (double)wait / 1000);
}

static double seconds_to(int64_t until_ms)
{
	int64_t now = clock_ms();

	return until_ms > now ? (double)(until_ms - now) / 1000 : 0;
}

void lane_say_away(const struct lane *l, struct buf *out)
{
	buf_addf(out, "waiting for the %s: %s, again in %.1f s, giving up in %.0f s", l->store->driver->role,
		 l->away_why, seconds_to(l->pause_until), seconds_to(l->away_since + l->o.give_up_ms));
}

size_t lane_waiting(const struct lane *l)
{
	size_t n = 0;

	for (int k = 0; k < LANE_KINDS; k++)
		if (l->open[k] != NULL)
			n += l->open[k]->items.bytes;
	for (const struct batch *b = l->ready; b != NULL; b = b->next)
		n += b->items.bytes;
	return n;
}

const struct lane_figures *lane_figures(const struct lane *l)
{
	return &l->figures;
}

int lane_stop(const struct lane *l)
{
	return l->stop;
}
