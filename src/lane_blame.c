/* What an answer means: who is to blame, what lasts, and when the run must stop. */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "lane_p.h"
#include "log.h"
#include "retry.h"

static void stop_with(struct lane *l, int status)
{
	if (l->stop == 0)
		l->stop = status;
}

static const char *role(const struct lane *l)
{
	return l->store->driver->role;
}

/* ---- who is to blame ---- */

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
	struct lane_list aside = l->aside[kind];
	struct lane_item *i;

	lane_list_init(&l->aside[kind]);
	if (aside.first == NULL)
		aside.last = &aside.first;
	while ((i = lane_list_take(&aside)) != NULL) {
		if (i->outage && i->successes_before + 1 >= l->successes) {
			i->outage = false;
			i->tried_again = true;
			lane_batch_of_one(l, i);
		} else {
			lane_finish(l, i, LANE_GAVE_UP);
		}
	}
}

static void blame_suspects(struct lane *l)
{
	struct lane_item *i;

	l->suspect_batches = 0;
	l->suspect_origin = 0;
	while ((i = lane_list_take(&l->suspects)) != NULL)
		lane_finish(l, i, LANE_REFUSED);
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
		lane_finish(l, i, LANE_REFUSED);
		return;
	}
	lane_list_add(&l->suspects, i);
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

/* answered: the store is there, and the fault may be the object's.  With --give-up 0 only a witness
 * that fails too then says that it is away. */
static void check_give_up(struct lane *l, const struct verdict *v, bool answered)
{
	/* where nothing is left that waits for the server, nothing is given up */
	if (l->stop != 0 || l->held == 0 || l->away_since == 0 || clock_ms() - l->away_since < l->o.give_up_ms ||
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

/* ---- what becomes of a batch ---- */

static void spread_verdicts(struct batch *b)
{
	const struct ask_object *o = b->ask.objects;

	for (struct lane_item *i = b->items.first; i != NULL; i = i->next) {
		i->verdict = lane_all_well;
		for (size_t k = 0; k < lane_item_objects(i); k++)
			lane_merge_verdict(&i->verdict, &o++->verdict);
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
		lane_batch_of_one(l, i);
	} else {
		lane_list_add(&l->aside[i->kind], i);
	}
}

/* The request as a whole failed for now: repeat it, or take it apart to find who is to blame. */
static void again_later(struct lane *l, struct batch *b, enum verdict_scope scope, const struct reply *r)
{
	bool tried_out = b->tries >= l->o.max_retries && l->successes > b->successes_before;
	struct verdict why = b->items.first->verdict;

	lane_pause(l, &why, r);
	if (is_misfit(b))
		count_misfit(l, &why);
	check_give_up(l, &why, scope != VERDICT_STORE && r != NULL && r->end == HTTP_ANSWERED);
	if (scope == VERDICT_STORE && b->items.objects == 1 && b->tries >= l->o.max_retries) {
		b->items.first->successes_before = b->successes_before;
		lane_list_add(&l->aside[b->kind], lane_list_take(&b->items));	/* the witness decides */
	} else if (scope == VERDICT_STORE && !tried_out && b->tries >= l->o.max_retries) {
		lane_repeat_behind(l, b);
	} else if (scope == VERDICT_STORE && !tried_out) {
		lane_repeat(l, b);
	} else if (b->items.objects > 1) {
		lane_halve(l, b);
	} else {
		retry_single(l, lane_list_take(&b->items));
	}
}

/* ---- what stops the run; the collection that is not there ---- */

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
		lane_pause(l, v, r);
		check_give_up(l, v, false);
		break;
	case VERDICT_AUTH:
		stops_run(l, v);
		break;
	default:
		stop_vanished(l);
	}
}

/* ---- what lasts ---- */

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
	if (l->stop != 0 || l->held == 0 || now - l->touch_failed_since < l->o.give_up_ms)
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
		lane_finish(l, lane_list_take(&l->lasting), LANE_DONE);
}

static void acknowledged(struct lane *l, const struct batch *b, struct lane_item *i,
			 struct lane_list *outlived)
{
	if (!l->store->driver->lasts_after_next) {
		lane_finish(l, i, LANE_DONE);
		return;
	}
	i->unclear = true;
	i->answered = l->sent;
	i->answered_ms = clock_ms();
	lane_list_add(b->serial <= l->gone ? outlived : &l->lasting, i);
}

/* ---- verdicts ---- */

static void refused(struct lane *l, struct lane_item *i)
{
	l->failures_in_a_row = 0;	/* a refusal is an answer: the store is there */
	l->pause_until = l->away_since = 0;
	if (i->verdict.wrong_shape ||
	    ((i->kind != LANE_DELETE || i->verdict.spent) && i->origin > l->good_origin))
		suspect(l, i);
	else			/* something of its batch has succeeded */
		lane_finish(l, i, LANE_REFUSED);
}

/* Items with a verdict of their own leave the batch; returns the scope that spoils the rest. */
static enum verdict_scope settle_items(struct lane *l, struct batch *b, const struct reply *r)
{
	enum verdict_scope rest = VERDICT_OK;
	struct lane_list left, outlived;
	struct lane_item *i;
	bool ok = false;

	lane_list_init(&left);
	lane_list_init(&outlived);
	while ((i = lane_list_take(&b->items)) != NULL) {
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
			lane_list_add(&left, i);
		}
	}
	if (ok) {
		blame_aside(l, b->kind);
		if (b->kind != LANE_DELETE)
			blame_suspects(l);
	}
	lane_send_again(l, &outlived);
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
		lane_pause(l, v, r);
		if (v->wrong_shape)
			count_misfit(l, v);
		check_give_up(l, v, false);
		if (l->store->driver->lasts_after_next)
			touch_failed(l, v);
	}
}

void lane_conclude(struct lane *l, struct batch *b, const struct reply *r)
{
	enum verdict_scope rest;

	if (b->witness || b->looks_up) {
		if (b->looks_up)
			conclude_lookup(l, b, r);
		else
			conclude_witness(l, b, r);
		lane_batch_free(b);
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
			lane_repeat(l, b);
		else if (rest == VERDICT_REQUEST && b->items.objects > 1) {
			ask_word(l, first);
			lane_halve(l, b);
		}
		else if (rest == VERDICT_REQUEST)	/* a driver says OBJECT then; so much for safety */
			lane_finish(l, lane_list_take(&b->items), LANE_REFUSED);
		else
			again_later(l, b, rest, r);
	}
	lane_batch_free(b);
}

static bool was_gone(const struct reply *r)
{
	return r->end != HTTP_ANSWERED || r->resent || (r->status >= 502 && r->status <= 504);
}

/* The store may have been killed and be back, without what it had acknowledged last.  It can be back
 * before the next request, which then differs only in that it needs a new connection. */
void lane_note_gone(struct lane *l, const struct batch *b, const struct reply *r)
{
	uint64_t gone = was_gone(r) ? l->sent : r->fresh ? b->serial - 1 : 0;

	if (gone == 0 || !l->store->driver->lasts_after_next)
		return;
	if (gone > l->gone)
		l->gone = gone;
	lane_send_again(l, &l->lasting);
}

/* All that is left was refused: too few batches to blame anything else. */
void lane_blame_rest(struct lane *l)
{
	if (l->suspects.n > 0 && l->suspects.n + l->lasting.n == l->held && l->stop == 0 && !l->asks_word &&
	    l->in_flight == 0)
		blame_suspects(l);
}
