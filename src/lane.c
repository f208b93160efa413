#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "clock.h"
#include "lane.h"
#include "log.h"
#include "retry.h"

#define LASTING_MS 1000		/* an acknowledged write waits no longer for the next: sooner than a
				 * server that was killed can be back unnoticed */

struct list {
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
	struct list items;
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
	struct list aside[LANE_KINDS];	/* tried out: waiting for a witness */
	struct list suspects;		/* refused, and perhaps all is: waiting for a success or a third batch */
	uint64_t suspect_origin;
	uint64_t good_origin;		/* the last batch of which an object was taken */
	unsigned suspect_batches;
	bool asks_word, word_flies;	/* the witness goes next, or has gone: is everything refused? */
	uint64_t word_successes;	/* lane.successes when it last answered that well */
	unsigned misfits;		/* answers in a row that fit no object: see count_misfit() */
	struct list lasting;		/* acknowledged: waiting for a later write, in order of answers */
	uint64_t gone;			/* lane.sent when the store was last not there to answer: what was
					 * sent until then may have been answered before it went */
	bool flushed;			/* nothing was added since lane_flush() */
	unsigned touch_failures;	/* of the smallest write in a row, whatever else succeeds meanwhile */
	int64_t touch_failed_since, touch_until;
	int in_flight;
	size_t held;			/* items in the lane */
	unsigned failures_in_a_row;
	int64_t pause_until, away_since, rate_until;
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

static void list_init(struct list *l)
{
	l->first = NULL;
	l->last = &l->first;
	l->n = l->bytes = l->objects = 0;
}

static size_t item_objects(const struct lane_item *i)
{
	return i->kind == LANE_DELETE ? i->nids : 1;
}

static void list_add(struct list *l, struct lane_item *i)
{
	i->next = NULL;
	*l->last = i;
	l->last = &i->next;
	l->n++;
	l->bytes += i->size;
	l->objects += item_objects(i);
}

static struct lane_item *list_take(struct list *l)
{
	struct lane_item *i = l->first;

	if (i == NULL)
		return NULL;
	l->first = i->next;
	if (l->first == NULL)
		l->last = &l->first;
	l->n--;
	l->bytes -= i->size;
	l->objects -= item_objects(i);
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
		list_init(&l->aside[k]);
	list_init(&l->suspects);
	list_init(&l->lasting);
	l->word_successes = UINT64_MAX;
	l->first_done = !store->driver->first_write_alone || store->dimension != 0;
	return l;
}

static struct batch *batch_new(enum lane_kind kind)
{
	struct batch *b = xcalloc(1, sizeof *b);

	b->kind = kind;
	b->since_ms = CLOCK_NEVER;
	list_init(&b->items);
	return b;
}

/* Items are the caller's, the parts of one are not. */
static void list_drop(struct list *l)
{
	struct lane_item *i;

	while ((i = list_take(l)) != NULL)
		if (i->whole != NULL)
			free(i);
}

static void batch_free(struct batch *b)
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
		batch_free(b);
	}
	for (struct batch *b = l->flying, *next; b != NULL; b = next) {
		next = b->next;
		batch_free(b);
	}
	for (int k = 0; k < LANE_KINDS; k++) {
		batch_free(l->open[k]);
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

static void queue_front(struct lane *l, struct batch *b)
{
	hold_back(l, b);
	b->next = l->ready;
	l->ready = b;
}

/* What a verdict of several ids begins with. */
static const struct verdict all_well = { .scope = VERDICT_OK, .kept_nothing = true };

/* It is done when all are, and else takes the first verdict that is not.  It kept nothing only if that is so
 * of each: where one id was deleted, something is other than it was. */
static void merge_verdict(struct verdict *into, const struct verdict *v)
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
	whole->verdict = all_well;
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

static void batch_of_one(struct lane *l, struct lane_item *i)
{
	struct batch *b = batch_new(i->kind);

	list_add(&b->items, i);
	queue_back(l, b);
}

static void close_open(struct lane *l, enum lane_kind kind)
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
	       b->items.objects + item_objects(i) <= l->o.batch_size;
}

static void enter(struct lane *l, struct lane_item *item)
{
	struct batch *b = l->open[item->kind];

	if (must_wait(l, item)) {	/* others of its batch would wait with it */
		item->origin = ++l->next_origin;
		batch_of_one(l, item);
		return;
	}
	if (b != NULL && !fits(l, b, item)) {
		close_open(l, item->kind);
		b = NULL;
	}
	if (b == NULL) {
		b = l->open[item->kind] = batch_new(item->kind);
		l->next_origin++;
	}
	item->origin = l->next_origin;
	list_add(&b->items, item);
	if (item->since_ms < b->since_ms)
		b->since_ms = item->since_ms;
	if (b->items.objects >= l->o.batch_size || b->items.bytes >= l->o.batch_bytes)
		close_open(l, item->kind);
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

static void close_all(struct lane *l)
{
	for (int k = 0; k < LANE_KINDS; k++)
		close_open(l, (enum lane_kind)k);
}

void lane_flush(struct lane *l)
{
	close_all(l);
	l->flushed = true;
}

static bool any_open(const struct lane *l)
{
	for (int k = 0; k < LANE_KINDS; k++)
		if (l->open[k] != NULL)
			return true;
	return false;
}

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
			close_open(l, (enum lane_kind)k);
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
	return any_aside(l) && l->in_flight == 0 && !any_open(l) && l->ready == NULL;
}

/* Nothing has succeeded since a failure, and all that could show a change waits for late attempts. */
static bool wants_probe(const struct lane *l)
{
	return l->away_since != 0 && l->held > 0 && l->in_flight == 0 && !any_open(l);
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
	if (any_open(l) && lasting_due(l) <= now)
		close_all(l);		/* better than a write for nothing */
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
	struct batch *b = batch_new(LANE_DELETE);

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
	struct batch *b = batch_new(LANE_DELETE);

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
		batch_free(b);
	else
		queue_front(l, b);
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

/* Leaves with the whole what became of the part, which is gone then.  True if it was the last. */
static bool end_part(struct lane_item *part, enum lane_end end)
{
	struct lane_item *w = part->whole;

	if (w->verdict.scope == VERDICT_OK)
		w->end = end;
	part->verdict.kept_nothing &= !part->unclear;
	merge_verdict(&w->verdict, &part->verdict);
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

static void finish(struct lane *l, struct lane_item *i, enum lane_end end)
{
	struct lane_item *whole = i->whole;

	if (end == LANE_DONE)
		*(i->kind == LANE_DELETE ? &l->figures.deletes : &l->figures.objects) += item_objects(i);
	l->held--;
	if (whole == NULL)
		l->done(l->ctx, i, end);
	else if (end_part(i, end))
		l->done(l->ctx, whole, whole->end);
}

static void conclude(struct lane *l, struct batch *b, const struct reply *r);

/* Sends the next request of the ask, or ends it when the driver has no more to ask. */
static void step(struct lane *l, struct batch *b, const struct reply *last)
{
	struct request r = { 0 };

	http_spare(l->http, &r.body);
	if (l->store->driver->build(l->store, &b->ask, &r) == 0) {
		http_spare(l->http, &r.body);
		conclude(l, b, last);
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

static void stop_with(struct lane *l, int status)
{
	if (l->stop == 0)
		l->stop = status;
}

/* ---- what an answer means ---- */

static const char *role(const struct lane *l)
{
	return l->store->driver->role;
}

static void succeeded(struct lane *l)
{
	l->successes++;
	l->misfits = 0;
	l->failures_in_a_row = 0;
	l->pause_until = l->away_since = 0;
	l->looked_up = 0;
}

/* A success of their kind since their last attempt: what was set aside is to blame itself.  But what
 * failed only while nothing at all was stored is tried once more first: then the store was away. */
static void blame_aside(struct lane *l, enum lane_kind kind)
{
	struct list aside = l->aside[kind];
	struct lane_item *i;

	list_init(&l->aside[kind]);
	if (aside.first == NULL)
		aside.last = &aside.first;
	while ((i = list_take(&aside)) != NULL) {
		if (i->outage && i->successes_before + 1 >= l->successes) {
			i->outage = false;
			i->tried_again = true;
			batch_of_one(l, i);
		} else {
			finish(l, i, LANE_GAVE_UP);
		}
	}
}

static void blame_suspects(struct lane *l)
{
	struct lane_item *i;

	l->suspect_batches = 0;
	l->suspect_origin = 0;
	while ((i = list_take(&l->suspects)) != NULL)
		finish(l, i, LANE_REFUSED);
}

/* All that was refused since the last success is not the objects' fault: says so, with what of it lasts. */
static void stop_refusing(struct lane *l, const struct lane_item *i)
{
	const struct verdict *v = &i->verdict;

	if (v->wrong_shape) {
		log_err("the %s refuses every object: %s; is it the right %s?", role(l), v->text,
			i->kind == LANE_EMBED ? "model" : "collection, embedder and dimension");
		stop_with(l, 78);
	} else if (v->spent == SPENT_MONEY) {
		log_err("the %s refuses every object until somebody pays or raises a budget: %s; nothing is lost, "
			"the same command resumes then", role(l), v->text);
		stop_with(l, 77);
	} else {
		log_err("the %s refuses every object, for a limit that time may lift: %s; nothing is lost, the same "
			"command resumes then", role(l), v->text);
		stop_with(l, 75);
	}
}

/* Words of a limit or a budget: the witness tells whether it holds for everything.  Once between two
 * successes is enough. */
static void ask_word(struct lane *l, const struct verdict *v)
{
	if (v->spent && l->word_successes != l->successes)
		l->asks_word = true;
}

/* Refused, alone.  The third batch in a row of which nothing else became stops the run, where shape or
 * words say that the objects are not to blame, and nobody is charged.  Else the first two are, and from
 * the third on the witness is asked first. */
static void suspect(struct lane *l, struct lane_item *i)
{
	const struct verdict *v = &i->verdict;
	bool telling = v->wrong_shape || v->spent;

	/* halves of two batches may alternate: only a batch begun later counts anew */
	if (i->origin > l->suspect_origin) {
		l->suspect_origin = i->origin;
		l->suspect_batches++;
	}
	if (!telling && l->suspect_batches < SHAPE_ANSWERS && !l->asks_word && !l->word_flies) {
		finish(l, i, LANE_REFUSED);
		return;
	}
	list_add(&l->suspects, i);
	ask_word(l, v);
	if (l->suspect_batches < SHAPE_ANSWERS || l->stop != 0)
		return;
	if (telling) {
		stop_refusing(l, i);
	} else {
		l->asks_word = true;
		l->suspect_batches = 0;
	}
}

static void stop_misfit(struct lane *l, const struct verdict *v)
{
	if (l->stop != 0)
		return;
	log_err("the %s at '%s' answers, but not as it should: %s; is %s right? nothing is lost, the same command "
		"resumes", role(l), l->store->url.base, v->text, l->store->driver->url_option);
	stop_with(l, 78);
}

static void count_misfit(struct lane *l, const struct verdict *v)
{
	if (++l->misfits >= SHAPE_ANSWERS)
		stop_misfit(l, v);
}

/* None of it fits.  What is taken apart or tried again counts once. */
static bool is_misfit(const struct batch *b)
{
	const struct lane_item *i = b->items.first;

	while (i != NULL && i->sent == 1 && i->verdict.wrong_shape)
		i = i->next;
	return i == NULL;
}

static void pause_lane(struct lane *l, const struct verdict *v, const struct reply *r)
{
	int64_t now = clock_ms();
	int64_t wait;

	l->failures_in_a_row++;
	l->figures.failures++;
	wait = retry_wait_ms(l->failures_in_a_row, l->o.retry_wait_ms, l->o.retry_max_wait_ms,
			     clock_random());
	if (r != NULL && r->retry_after_s > 0)	/* 0 without end would be asking without end */
		wait = r->retry_after_s * 1000;
	if (l->away_since == 0)
		l->away_since = now;
	l->pause_until = now + wait;
	log_info("%s: %s%s%s; attempt %u in a row failed, the next in %.1f s", role(l),
		 v->text[0] ? v->text : "no clear answer", r != NULL && r->error[0] ? ": " : "",
		 r != NULL ? r->error : "", l->failures_in_a_row, (double)wait / 1000);
}

/* answered: the store is there, and the fault may be the object's.  With --give-up 0 only a witness
 * that fails too then says that it is away. */
static void check_give_up(struct lane *l, const struct verdict *v, bool answered)
{
	if (l->stop != 0 || l->away_since == 0 || clock_ms() - l->away_since < l->o.give_up_ms ||
	    (answered && l->o.give_up_ms == 0))
		return;
	if (v->wrong_shape) {
		stop_misfit(l, v);
		return;
	}
	log_err("the %s at '%s' is away: %s; nothing is lost, the same command resumes", role(l),
		l->store->url.base, v->text[0] ? v->text : "no clear answer");
	stop_with(l, 75);
}

static void spread_verdicts(struct batch *b)
{
	const struct ask_object *o = b->ask.objects;

	for (struct lane_item *i = b->items.first; i != NULL; i = i->next) {
		i->verdict = all_well;
		for (size_t k = 0; k < item_objects(i); k++)
			merge_verdict(&i->verdict, &o++->verdict);
	}
}

/* What an embedding server made of the texts passes to their items. */
static void take_vectors(struct batch *b)
{
	struct ask_object *o = b->ask.objects;

	for (struct lane_item *i = b->items.first; i != NULL; i = i->next, o++) {
		if (o->verdict.scope != VERDICT_OK)
			continue;
		i->vector = o->vector;
		i->dim = o->dim;
		o->vector = NULL;
	}
}

/* What the attempt leaves behind at an item that it did not prove done. */
static void note_attempt(struct lane *l, struct lane_item *i, const struct reply *r, bool lost)
{
	/* what the connection sent twice by itself was sent again by mere repeating */
	if (lost && !l->store->driver->again_is_upsert && i->verdict.scope == VERDICT_OK) {
		i->verdict.scope = VERDICT_ATTEMPT;
		snprintf(i->verdict.text, sizeof i->verdict.text, "it may have been sent twice");
	}
	if ((r == NULL || r->end != HTTP_ANSWERED || i->verdict.scope == VERDICT_STORE) && !i->tried_again)
		i->outage = true;
	/* who gave an answer that the store would not give may have passed the request on to it */
	if (lost || i->verdict.scope == VERDICT_UNKNOWN)
		i->lost_until = clock_ms() + l->o.late_ms;
	if (i->verdict.scope != VERDICT_OK && (lost || !i->verdict.kept_nothing)) {
		i->unclear = true;
		i->again = true;
	}
}

static void retry_single(struct lane *l, struct lane_item *i)
{
	if (i->tries == 0)
		i->successes_before = l->successes;
	if (i->tries < l->o.max_retries) {
		i->tries++;
		batch_of_one(l, i);
	} else {
		list_add(&l->aside[i->kind], i);
	}
}

/* By items; a single one, of several ids, by these. */
static void halve(struct lane *l, struct batch *b)
{
	struct batch *second = batch_new(b->kind), *first = batch_new(b->kind);
	size_t half = b->items.n / 2;
	struct lane_item *i = b->items.first;

	if (half == 0) {
		i = list_take(&b->items);
		i = i->whole != NULL ? i : part_of(i);
		list_add(&first->items, cut_off(l, i, i->nids / 2));
		list_add(&second->items, i);
	}
	while ((i = list_take(&b->items)) != NULL)
		list_add(first->items.n < half ? &first->items : &second->items, i);
	l->figures.halved++;
	queue_front(l, second);
	queue_front(l, first);
}

static struct batch *next_try(struct lane *l, struct batch *b)
{
	struct batch *again = batch_new(b->kind);
	struct lane_item *i;

	again->tries = b->tries + 1;
	again->successes_before = b->tries == 0 ? l->successes : b->successes_before;
	while ((i = list_take(&b->items)) != NULL)
		list_add(&again->items, i);
	return again;
}

static void repeat(struct lane *l, struct batch *b)
{
	queue_front(l, next_try(l, b));
}

/* Often enough: others go first now, or the smallest write, if there is no other.  Should one of them
 * succeed, something in this batch is to blame. */
static void repeat_behind(struct lane *l, struct batch *b)
{
	struct batch *again = next_try(l, b);

	queue_back(l, again);
	if (again->not_before <= l->pause_until)
		again->not_before = l->pause_until + 1;
}

/* The request as a whole failed for now: repeat it, or take it apart to find who is to blame. */
static void again_later(struct lane *l, struct batch *b, enum verdict_scope scope, const struct reply *r)
{
	bool tried_out = b->tries >= l->o.max_retries && l->successes > b->successes_before;
	struct verdict why = b->items.first->verdict;

	pause_lane(l, &why, r);
	if (is_misfit(b))
		count_misfit(l, &why);
	check_give_up(l, &why, scope != VERDICT_STORE && r != NULL && r->end == HTTP_ANSWERED);
	if (scope == VERDICT_STORE && b->items.objects == 1 && b->tries >= l->o.max_retries) {
		b->items.first->successes_before = b->successes_before;
		list_add(&l->aside[b->kind], list_take(&b->items));	/* the witness decides */
	} else if (scope == VERDICT_STORE && !tried_out && b->tries >= l->o.max_retries) {
		repeat_behind(l, b);
	} else if (scope == VERDICT_STORE && !tried_out) {
		repeat(l, b);
	} else if (b->items.objects > 1) {
		halve(l, b);
	} else {
		retry_single(l, list_take(&b->items));
	}
}

static bool stops_run(struct lane *l, const struct verdict *v)
{
	if (v->scope == VERDICT_AUTH) {
		log_err("the %s refuses access: %s%s%s", role(l), v->text,
			v->advises ? "" : "; give a valid key by ",
			v->advises ? "" : l->store->driver->key_option);
		stop_with(l, 77);
		return true;
	}
	if (v->scope == VERDICT_RUN) {
		log_err("the %s cannot be used as configured: %s", role(l), v->text);
		stop_with(l, 78);
		return true;
	}
	return false;
}

static void stop_vanished(struct lane *l)
{
	if (l->stop != 0)
		return;
	log_err("collection '%s' vanished from the store during the run; mend --store, or run "
		"'linesync forget --all --collection %s' and feed everything", l->store->collection,
		l->store->collection);
	stop_with(l, 78);
}

/* The store says that the collection is not there.  Once it is looked up by its name; what was sent before
 * that is just repeated. */
static void miss_collection(struct lane *l, const struct batch *b)
{
	if (l->looking_up || b->serial <= l->looked_up)
		return;
	if (l->looked_up != 0)
		stop_vanished(l);
	else
		l->asks_lookup = true;
}

/* Only the very collection that was opened will do. */
static void conclude_lookup(struct lane *l, const struct batch *b, const struct reply *r)
{
	const struct verdict *v = &b->ask.verdict;
	const char *id = l->store->collection_id;

	switch (v->scope) {
	case VERDICT_OK:
		if (b->was != NULL && id != NULL && strcmp(b->was, id) == 0)
			l->looked_up = l->sent;
		else
			stop_vanished(l);
		break;
	case VERDICT_UNKNOWN:
	case VERDICT_ATTEMPT:
	case VERDICT_STORE:
		pause_lane(l, v, r);
		check_give_up(l, v, false);
		break;
	case VERDICT_AUTH:
		stops_run(l, v);
		break;
	default:
		stop_vanished(l);
	}
}

/* Deletes sent again go one by one, which need not make an earlier batch last. */
static bool is_batch_write(const struct lane_item *i)
{
	return i->kind != LANE_DELETE || !i->again;
}

static void touch_succeeded(struct lane *l)
{
	l->touch_failures = 0;
	l->touch_failed_since = l->touch_until = 0;
}

/* A server can take objects and not the smallest write: each object that is sent again meanwhile succeeds,
 * and nothing is ever known to last. */
static void touch_failed(struct lane *l, const struct verdict *v)
{
	int64_t now = clock_ms();

	if (l->touch_failures++ == 0)
		l->touch_failed_since = now;
	else			/* the first time, the pause of all requests is enough */
		l->touch_until = now + retry_wait_ms(l->touch_failures, l->o.retry_wait_ms,
						     l->o.retry_max_wait_ms, clock_random());
	if (l->stop != 0 || now - l->touch_failed_since < l->o.give_up_ms)
		return;
	log_err("the %s at '%s' takes objects, but not the small write after them that makes them last: %s; does "
		"a proxy refuse DELETE? the same command resumes", role(l), l->store->url.base,
		v->text[0] ? v->text : "no clear answer");
	stop_with(l, 75);
}

/* A later write was answered: what was acknowledged before it was sent will last. */
static void prove(struct lane *l, const struct batch *later)
{
	if (l->lasting.first != NULL && l->lasting.first->answered < later->serial)
		touch_succeeded(l);
	while (l->lasting.first != NULL && l->lasting.first->answered < later->serial)
		finish(l, list_take(&l->lasting), LANE_DONE);
}

/* What the store acknowledged, and may have lost since. */
static void send_again(struct lane *l, struct list *items)
{
	struct batch *batch[LANE_KINDS] = { NULL };
	struct lane_item *i;

	while ((i = list_take(items)) != NULL) {
		struct batch **b = &batch[i->kind];

		if (*b != NULL && !fits(l, *b, i)) {
			queue_back(l, *b);
			*b = NULL;
		}
		if (*b == NULL)
			*b = batch_new(i->kind);
		i->again = true;
		list_add(&(*b)->items, i);
	}
	for (int k = 0; k < LANE_KINDS; k++)
		if (batch[k] != NULL)
			queue_back(l, batch[k]);
}

static void acknowledged(struct lane *l, const struct batch *b, struct lane_item *i,
			 struct list *outlived)
{
	if (!l->store->driver->lasts_after_next) {
		finish(l, i, LANE_DONE);
		return;
	}
	i->unclear = true;
	i->answered = l->sent;
	i->answered_ms = clock_ms();
	list_add(b->serial <= l->gone ? outlived : &l->lasting, i);
}

static void refused(struct lane *l, struct lane_item *i)
{
	l->failures_in_a_row = 0;	/* a refusal is an answer: the store is there */
	l->pause_until = l->away_since = 0;
	if (i->verdict.wrong_shape ||
	    ((i->kind != LANE_DELETE || i->verdict.spent) && i->origin > l->good_origin))
		suspect(l, i);
	else			/* something of its batch has succeeded */
		finish(l, i, LANE_REFUSED);
}

/* Items with a verdict of their own leave the batch; returns the scope that spoils the rest. */
static enum verdict_scope settle_items(struct lane *l, struct batch *b, const struct reply *r)
{
	enum verdict_scope rest = VERDICT_OK;
	struct list left, outlived;
	struct lane_item *i;
	bool ok = false;

	list_init(&left);
	list_init(&outlived);
	while ((i = list_take(&b->items)) != NULL) {
		note_attempt(l, i, r, b->lost);
		if (i->verdict.scope == VERDICT_OK) {
			if (!ok)
				succeeded(l);
			ok = l->first_done = true;
			if (i->kind != LANE_DELETE && i->origin > l->good_origin)
				l->good_origin = i->origin;
			if (is_batch_write(i))
				prove(l, b);
			acknowledged(l, b, i, &outlived);
		} else if (i->verdict.scope == VERDICT_OBJECT) {
			refused(l, i);
		} else {
			rest = i->verdict.scope;
			list_add(&left, i);
		}
	}
	if (ok) {
		blame_aside(l, b->kind);
		if (b->kind != LANE_DELETE)
			blame_suspects(l);
	}
	send_again(l, &outlived);
	b->items = left;
	if (left.first == NULL)
		b->items.last = &b->items.first;
	return rest;
}

static void conclude_witness(struct lane *l, const struct batch *b, const struct reply *r)
{
	const struct verdict *v = &b->ask.verdict;

	l->asks_word |= b->clears && v->scope != VERDICT_OK;
	if (v->scope == VERDICT_OK) {
		succeeded(l);
		touch_succeeded(l);
		prove(l, b);
		for (int k = 0; k < LANE_KINDS && b->blames; k++)
			blame_aside(l, (enum lane_kind)k);
		if (b->clears) {
			blame_suspects(l);
			l->word_successes = l->successes;
		}
	} else if (v->scope == VERDICT_OPENING) {
		miss_collection(l, b);
	} else if (!stops_run(l, v)) {
		pause_lane(l, v, r);
		if (v->wrong_shape)
			count_misfit(l, v);
		check_give_up(l, v, false);
		if (l->store->driver->lasts_after_next)
			touch_failed(l, v);
	}
}

static void conclude(struct lane *l, struct batch *b, const struct reply *r)
{
	enum verdict_scope rest;

	landed(l, b);
	if (b->witness || b->looks_up) {
		if (b->looks_up)
			conclude_lookup(l, b, r);
		else
			conclude_witness(l, b, r);
		batch_free(b);
		return;
	}
	spread_verdicts(b);
	if (b->kind == LANE_EMBED)
		take_vectors(b);
	rest = settle_items(l, b, r);
	if (b->items.n > 0) {
		const struct verdict *first = &b->items.first->verdict;
		bool stops = stops_run(l, first);

		if (!stops && rest == VERDICT_OPENING)
			miss_collection(l, b);
		if (stops || rest == VERDICT_OPENING)
			repeat(l, b);
		else if (rest == VERDICT_REQUEST && b->items.objects > 1) {
			ask_word(l, first);
			halve(l, b);
		}
		else if (rest == VERDICT_REQUEST)	/* a driver says OBJECT then; so much for safety */
			finish(l, list_take(&b->items), LANE_REFUSED);
		else
			again_later(l, b, rest, r);
	}
	batch_free(b);
}

static bool was_gone(const struct reply *r)
{
	return r->end != HTTP_ANSWERED || r->resent || (r->status >= 502 && r->status <= 504);
}

/* The store may have been killed and be back, without what it had acknowledged last.  It can be back
 * before the next request, which then differs only in that it needs a new connection. */
static void note_gone(struct lane *l, const struct batch *b, const struct reply *r)
{
	uint64_t gone = was_gone(r) ? l->sent : r->fresh ? b->serial - 1 : 0;

	if (gone == 0 || !l->store->driver->lasts_after_next)
		return;
	if (gone > l->gone)
		l->gone = gone;
	send_again(l, &l->lasting);
}

void lane_turn(struct lane *l)
{
	struct reply r;
	void *tag;

	while (http_next(l->http, &tag, &r) == 1) {
		struct batch *b = tag;

		b->lost |= r.end == HTTP_LOST || r.resent;
		note_gone(l, b, &r);
		l->store->driver->judge(l->store, &b->ask, &r);
		step(l, b, &r);
		reply_release(&r);
	}
	/* all that is left was refused: too few batches to blame anything else */
	if (l->suspects.n > 0 && l->suspects.n + l->lasting.n == l->held && l->stop == 0 && !l->asks_word &&
	    l->in_flight == 0)
		blame_suspects(l);
}

int64_t lane_due(const struct lane *l)
{
	int64_t due = l->asks_lookup ? 0 : touch_due(l), wait = l->pause_until > l->rate_until ? l->pause_until : l->rate_until;

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

bool lane_empty(const struct lane *l)
{
	return l->held == 0;
}

bool lane_away(const struct lane *l)
{
	return l->away_since != 0 && l->held > 0;
}

bool lane_starved(const struct lane *l)
{
	int64_t now = clock_ms();

	for (const struct batch *b = l->ready; b != NULL; b = b->next)
		if (b->not_before <= now)
			return false;
	return l->in_flight < connections_now(l);
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
