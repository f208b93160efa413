#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "clock.h"
#include "doc.h"
#include "embed_hash.h"
#include "json.h"
#include "task.h"

struct tasks {
	struct task_parts p;
	struct lane *lane, *embed_lane;
	struct task *ready, **ready_end;	/* whose turn it is, in order */
	bool starting;			/* the list is being worked off */
	struct task_figures figures;
};

struct tasks *tasks_new(const struct task_parts *parts)
{
	struct tasks *ts = xcalloc(1, sizeof *ts);

	ts->p = *parts;
	ts->ready_end = &ts->ready;
	return ts;
}

void tasks_use(struct tasks *ts, struct lane *lane, struct lane *embed_lane)
{
	ts->lane = lane;
	ts->embed_lane = embed_lane;
}

void tasks_free(struct tasks *ts)
{
	if (ts == NULL)
		return;
	free(ts->figures.first_left_in);
	free(ts);
}

const struct task_figures *tasks_figures(const struct tasks *ts)
{
	return &ts->figures;
}

/* ---- settling ---- */

/* What a line of two halves came to. */
static const struct task *telling_half(const struct work *w, enum status *status, enum reason *reason)
{
	const struct task *a = &w->half[0], *b = w->halves > 1 ? &w->half[1] : NULL;

	*status = a->status;
	*reason = a->reason;
	if (b == NULL || a->status == STATUS_FAILED)
		return a;
	if (b->status == STATUS_FAILED) {
		*status = b->status;
		return b;
	}
	if (a->status == STATUS_SUPERSEDED && b->status == STATUS_SUPERSEDED)
		return a;
	if (a->status != STATUS_SKIPPED || (a->reason == REASON_UNCHANGED && b->status != STATUS_SKIPPED)) {
		*status = STATUS_COMPLETED;
		*reason = REASON_NONE;
	}
	return a;
}

static void fill_result(struct tasks *ts, struct work *w, const struct task *t, struct result *r,
			char run[64])
{
	const struct run_state *run_now = state_run(ts->p.state);
	struct run_state older = { 0 };

	*r = (struct result){ .run = run_now->id, .line = w->number, .repo = w->repo, .path = w->path,
		.old_path = w->old_path, .op = w->op, .objects = w->objects, .retried = w->retried,
		.error = t->error, .http = t->http,
		.message = t->message, .retryable = error_retryable(t->error),
		.has_offset = w->has_offset, .offset = w->offset };
	if (w->at.run != run_now->number && state_run_get(ts->p.state, w->at.run, &older) == 0) {
		size_t n = strlen(older.id);

		memcpy(run, older.id, n < 63 ? n + 1 : 63);
		run[63] = '\0';
		r->run = run;
		run_release(&older);
	}
	for (int i = 0; i < w->halves; i++) {
		const struct task *half = &w->half[i];

		if (half->sent == 0 && half->embed_sent == 0)
			continue;
		r->sent = true;
		r->retries += (half->sent > 0 ? half->sent - 1 : 0) +
			      (half->embed_sent > 0 ? half->embed_sent - 1 : 0);
		r->ms = clock_ms() - half->first_sent_ms;
		if (half->sent > 0)
			r->id = w->id[0] ? w->id : NULL;
	}
}

/* An earlier part of this run had done the line, and there was nothing to do again: it counts as it did. */
static bool counts_as_before(const struct work *w, enum status now, enum reason reason)
{
	return (w->before == STATUS_COMPLETED || w->before == STATUS_SKIPPED || w->before == STATUS_SUPERSEDED) &&
	       (now == STATUS_SUPERSEDED || is_unchanged(now, reason));
}

static void count_line(struct tasks *ts, const struct work *w, enum status status, enum reason reason)
{
	struct run_state *run = state_run(ts->p.state);

	if (w->retried) {
		run->retried++;
		return;
	}
	state_line_set(ts->p.state, w->at.ord, status, reason);
	run_count(run, w->at, w->before, w->before_reason, status, reason, w->op);
}

static void settle_line(struct tasks *ts, struct work *w)
{
	struct result r;
	char run[64];
	enum status status;
	enum reason reason;
	const struct task *t = telling_half(w, &status, &reason);

	w->group->look = true;
	w->group->release |= w->retried;	/* its last half may have been all that held a record */
	if (w->before == STATUS_FAILED && status != STATUS_FAILED)	/* done again, and well this time */
		state_failure_del_line(ts->p.state, w->repo, w->at);
	if (!w->internal) {
		fill_result(ts, w, t, &r, run);
		r.status = status;
		r.reason = reason;
		r.counted = counts_as_before(w, status, reason);
		if (!r.counted)
			count_line(ts, w, status, reason);
		outbox_add(ts->p.outbox, &r, r.sent, clock_ms());
	}
	work_leave(ts->p.window, w);
}

/* It is the task's turn, as soon as what is being settled is. */
static void make_ready(struct tasks *ts, struct task *t)
{
	t->ready = true;
	t->ready_next = NULL;
	*ts->ready_end = t;
	ts->ready_end = &t->ready_next;
}

static void start_next(struct tasks *ts, struct doc *d)
{
	if (d->active == NULL && d->next != NULL) {
		d->active = d->next;
		d->next = NULL;
		make_ready(ts, d->active);
	} else {
		work_doc_put(ts->p.window, d);
	}
}

static void left_in(struct tasks *ts, const struct task *t)
{
	if (ts->figures.first_left_in == NULL)
		ts->figures.first_left_in = xasprintf("'%s': %s", t->doc->path, t->message ? t->message : "");
	ts->figures.left_in++;
}

static void settle_half(struct tasks *ts, struct task *t)
{
	struct work *w = t->work;

	t->phase = TASK_SETTLED;
	t->ready = false;
	if (t->status == STATUS_FAILED && w->left_out)	/* no line's: the next run tries again */
		left_in(ts, t);
	else if (t->status == STATUS_FAILED)
		doc_put_failure(ts->p.state, w, t, true);
	work_drop_pieces(t);	/* after that: the payload may want their text */
	if (--w->open == 0)
		settle_line(ts, w);
	else if (w->halves > 1 && t == &w->half[0] && w->half[1].phase == TASK_SIBLING &&
		 w->half[1].doc->active == &w->half[1])
		make_ready(ts, &w->half[1]);
}

static struct task *oldest_first(struct task *newest)
{
	struct task *list = NULL;

	for (struct task *t; (t = newest) != NULL;) {
		newest = t->also;
		t->also = list;
		list = t;
	}
	return list;
}

/* The task that had its document's turn is settled, and so are those that it has superseded: the next one's
 * turn. */
static void settle_task(struct tasks *ts, struct task *t, enum status status, enum reason reason)
{
	struct doc *d = t->doc;
	struct task *superseded = oldest_first(t->superseded);

	t->status = status;
	t->reason = reason;
	t->superseded = NULL;
	d->active = NULL;
	for (struct task *s; (s = superseded) != NULL;) {
		superseded = s->also;
		s->status = STATUS_SUPERSEDED;
		settle_half(ts, s);
	}
	settle_half(ts, t);
	start_next(ts, d);
}

static void fail_task(struct tasks *ts, struct task *t, enum error_code error, long http,
		      const char *message)
{
	t->error = error;
	t->http = http;
	free(t->message);
	t->message = xstrdup(message);
	settle_task(ts, t, STATUS_FAILED, REASON_NONE);
}

static void start_ready(struct tasks *ts);

/* ---- verdicts: step 6 ---- */

static void lane_add_piece(struct tasks *ts, struct task *t, struct piece *piece)
{
	piece->task = t;
	piece->item.owner = piece;
	piece->item.since_ms = t->work->since_ms;
	/* its own mark is no doubt: what is deleted after a store was not under way */
	piece->item.again = t->doc->has_mark && (t->doc->mark.flags & MARK_DOUBT);
	t->phase = TASK_LANE;
	t->flying++;
	lane_add(ts->lane, &piece->item);
}

static void delete_chunks(struct tasks *ts, struct task *t, uint32_t from, uint32_t to)
{
	struct doc *d = t->doc;
	struct lane_item *i = &t->deletion.item;

	i->kind = LANE_DELETE;
	i->nids = to - from;
	i->ids = xcalloc(i->nids, sizeof *i->ids);
	for (uint32_t c = from; c < to; c++)
		object_id(i->ids[c - from], ts->p.store->collection, d->repo, d->path, c);
	i->size = (size_t)i->nids * 40;
	lane_add_piece(ts, t, &t->deletion);
}

static void stored(struct tasks *ts, struct task *t)
{
	doc_finish(ts->p.state, ts->p.window, t, DOC_PRESENT | DOC_KNOWN, t->digest, t->npieces);
	settle_task(ts, t, STATUS_COMPLETED, REASON_NONE);
}

static void deleted(struct tasks *ts, struct task *t)
{
	ts->figures.deleted++;
	state_run(ts->p.state)->removed++;
	t->work->objects += t->deletion.item.nids;
	doc_finish(ts->p.state, ts->p.window, t, DOC_ABSENT, NULL, 0);
	if (t->skip != REASON_NONE)
		settle_task(ts, t, STATUS_SKIPPED, t->skip);
	else
		settle_task(ts, t, STATUS_COMPLETED, REASON_NONE);
}

/* Every object is stored: what the document had beyond goes. */
static void trim(struct tasks *ts, struct task *t)
{
	uint32_t most = doc_most_chunks(t->doc);

	t->work->objects += t->npieces;
	ts->figures.stored++;
	state_run(ts->p.state)->stored++;
	t->trims = true;
	if (most > t->npieces)
		delete_chunks(ts, t, t->npieces, most);
	else
		stored(ts, t);
}

/* Pieces that were never sent left nothing behind either. */
static bool kept_nothing(const struct task *t)
{
	if (t->trims)
		return false;
	for (uint32_t i = 0; i < t->npieces; i++) {
		const struct lane_item *item = &t->pieces[i].item;

		if (item->sent > 0 && (item->unclear || !item->verdict.kept_nothing))
			return false;
	}
	return t->kind == LANE_UPSERT ||
	       (!t->deletion.item.unclear && t->deletion.item.verdict.kept_nothing);
}

static void failed(struct tasks *ts, struct task *t, const struct piece *first)
{
	doc_attempt_failed(ts->p.state, t->doc, kept_nothing(t));
	fail_task(ts, t, first->end == LANE_REFUSED ? ERR_STORE_REJECTED : ERR_STORE_FAILED,
		  first->item.verdict.http, first->item.verdict.text);
}

static const struct piece *first_failed(const struct task *t)
{
	if (t->kind == LANE_DELETE || t->trims)
		return t->deletion.end != LANE_DONE ? &t->deletion : NULL;
	for (uint32_t i = 0; i < t->npieces; i++)
		if (t->pieces[i].end != LANE_DONE)
			return &t->pieces[i];
	return NULL;
}

static void note_sent(struct task *t, unsigned *most, const struct lane_item *i)
{
	if (i->sent > *most)
		*most = i->sent;
	if (t->first_sent_ms == 0 || i->first_sent_ms < t->first_sent_ms)
		t->first_sent_ms = i->first_sent_ms;
}

void task_item_done(void *ctx, struct lane_item *i, enum lane_end end)
{
	struct tasks *ts = ctx;
	struct piece *piece = i->owner;
	struct task *t = piece->task;
	const struct piece *bad;

	piece->end = end;
	note_sent(t, &t->sent, i);
	doc_lost_until(t->doc, i->lost_until);
	if (--t->flying > 0)
		return;
	bad = first_failed(t);
	if (bad != NULL)
		failed(ts, t, bad);
	else if (t->kind == LANE_DELETE)
		deleted(ts, t);
	else if (t->trims)
		stored(ts, t);
	else
		trim(ts, t);
	start_ready(ts);
}

/* ---- a document's turn: step 3 ---- */

static struct version wanted(const struct task *t)
{
	return (struct version){ t->kind, t->digest, t->npieces, t->skip };
}

static bool is_there(const struct tasks *ts, const struct task *t)
{
	struct version v = wanted(t);

	return !ts->p.force && doc_is_unchanged(t->doc, &v);
}

static void settle_unchanged(struct tasks *ts, struct task *t)
{
	struct doc_state *k = &t->doc->known;
	uint8_t flags = k->flags & (DOC_PRESENT | DOC_KNOWN);

	flags = flags ? flags : DOC_ABSENT;
	if (doc_same_as_at_position(ts->p.state, t))
		flags |= DOC_SAME;
	doc_finish(ts->p.state, ts->p.window, t, flags, NULL, k->chunks);
	settle_task(ts, t, STATUS_SKIPPED, t->skip != REASON_NONE ? t->skip : REASON_UNCHANGED);
}

static void embed_by_hash(const struct embedder *e, const struct task *t, struct object *o)
{
	auto_buf struct buf b = BUF_INIT;
	size_t n = o->text_len;
	const char *input = embedder_input(e, t->doc->path, o->text, &n, &b);

	o->dim = e->dimension;
	o->vector = xmalloc(o->dim * sizeof *o->vector);
	embed_hash(o->vector, o->dim, input, n);
}

/* Sends its texts to the embedding server.  False: none needs that. */
static bool enter_embedding(struct tasks *ts, struct task *t)
{
	auto_buf struct buf b = BUF_INIT;

	if (ts->p.embedder->kind != EMBED_URL || t->pieces[0].object->vector != NULL)
		return false;
	t->phase = TASK_EMBED;
	t->flying = t->npieces;
	for (uint32_t i = 0; i < t->npieces; i++) {
		struct piece *piece = &t->pieces[i];
		struct lane_item *item = &piece->item;

		item->text_len = piece->object->text_len;
		item->text = embedder_input(ts->p.embedder, t->doc->path, piece->object->text, &item->text_len, &b);
		if (item->text != piece->object->text)
			item->text = piece->input = buf_detach(&b);
		item->kind = LANE_EMBED;
		item->size = json_str_size(item->text, item->text_len);
		item->owner = piece;
		item->since_ms = t->work->since_ms;
		piece->task = t;
		lane_add(ts->embed_lane, item);
	}
	return true;
}

static void enter_lane(struct tasks *ts, struct task *t)
{
	uint32_t most = doc_most_chunks(t->doc);

	if (t->kind == LANE_DELETE) {
		delete_chunks(ts, t, 0, most > 0 ? most : 1);
		return;
	}
	for (uint32_t i = 0; i < t->npieces; i++) {
		struct piece *piece = &t->pieces[i];

		if (piece->object->vector == NULL && ts->p.embedder->kind == EMBED_HASH)
			embed_by_hash(ts->p.embedder, t, piece->object);
		piece->item.kind = LANE_UPSERT;
		piece->item.object = piece->object;
		piece->item.size = ts->p.store->driver->object_bytes(ts->p.store, piece->object);
		lane_add_piece(ts, t, piece);
	}
}

/* All its texts have come back from the embedding server: on to the store, or failed, with nothing
 * sent there. */
void task_text_embedded(void *ctx, struct lane_item *i, enum lane_end end)
{
	struct tasks *ts = ctx;
	struct piece *piece = i->owner;
	struct task *t = piece->task;
	const struct piece *bad;

	piece->end = end;
	if (end == LANE_DONE) {
		piece->object->vector = i->vector;
		piece->object->dim = i->dim;
		i->vector = NULL;
	}
	free(piece->input);
	piece->input = NULL;
	i->text = NULL;
	note_sent(t, &t->embed_sent, i);
	if (--t->flying > 0)
		return;
	bad = first_failed(t);
	if (bad == NULL)
		enter_lane(ts, t);
	else
		fail_task(ts, t, bad->end == LANE_REFUSED ? ERR_EMBED_REJECTED : ERR_EMBED_FAILED,
			  bad->item.verdict.http, bad->item.verdict.text);
	start_ready(ts);
}

/* True while an attempt for another version of the document may still arrive. */
static bool must_wait(const struct tasks *ts, const struct task *t)
{
	const struct doc *d = t->doc;
	struct version v = wanted(t);

	if (!d->has_mark || d->late_until <= clock_ms())
		return false;
	return !(doc_asks_for(d, &v) && ts->p.store->driver->again_is_upsert);
}

static void start_task(struct tasks *ts, struct task *t)
{
	struct work *w = t->work;

	if (t->half == HALF_OLD && w->halves > 1 && w->half[0].phase != TASK_SETTLED) {
		t->phase = TASK_SIBLING;
		return;
	}
	if ((w->resumed || w->retried) && state_later(ts->p.state, t->doc->known.last, w->at)) {
		if (w->retried)
			state_failure_del(ts->p.state, t->doc->repo, t->doc->path);
		settle_task(ts, t, STATUS_SUPERSEDED, REASON_NONE);
	} else if (is_there(ts, t)) {
		settle_unchanged(ts, t);
	} else if (must_wait(ts, t)) {
		t->phase = TASK_LATE;
		work_doc_late(ts->p.window, t->doc);
	} else if (t->kind == LANE_DELETE || !enter_embedding(ts, t)) {
		enter_lane(ts, t);
	}
}

/* To start one may settle it, and that make others ready: a list, so that a chain of any length is no
 * recursion. */
static void start_ready(struct tasks *ts)
{
	if (ts->starting)
		return;
	ts->starting = true;
	for (struct task *t; (t = ts->ready) != NULL;) {
		ts->ready = t->ready_next;
		if (ts->ready == NULL)
			ts->ready_end = &ts->ready;
		if (t->ready) {
			t->ready = false;
			start_task(ts, t);
		}
	}
	ts->starting = false;
}

static void supersede(struct tasks *ts, struct task *old, struct task *by)
{
	old->also = old->superseded;
	old->superseded = NULL;
	old->ready = false;
	by->superseded = old;
	if (state_later(ts->p.state, by->hold, old->hold))
		by->hold = old->hold;
	/* its text is not needed any more; its line and place are */
	work_drop_pieces(old);
}

/* Step 3 begins: the task queues for its document. */
static void queue_task(struct tasks *ts, struct task *t)
{
	struct doc *d = t->doc;

	t->phase = TASK_TURN;
	if (d->next != NULL) {
		supersede(ts, d->next, t);
		d->next = t;
	} else if (d->active != NULL && d->active->phase != TASK_LANE && d->active->phase != TASK_EMBED) {
		supersede(ts, d->active, t);
		d->active = t;
		make_ready(ts, t);
	} else if (d->active != NULL) {
		d->next = t;
	} else {
		d->active = t;
		make_ready(ts, t);
	}
}

/* A half that was decided when the line was read.  A failure takes the place of an older one of its document,
 * but leaves what the store holds; what is left stays as it is. */
static void take_decided(struct tasks *ts, struct work *w, struct task *t)
{
	struct state *s = ts->p.state;

	w->open--;
	if (t->alone) {
		if (t->status == STATUS_FAILED)
			doc_put_failure(s, w, t, w->repo_known);
		return;
	}
	t->doc = work_doc(ts->p.window, w->repo, t->half == HALF_OLD ? w->old_path : w->path);
	if (t->status == STATUS_FAILED && w->resumed && state_later(s, t->doc->known.last, w->at))
		t->status = STATUS_SUPERSEDED;
	else if (t->status == STATUS_FAILED)
		doc_put_failure(s, w, t, true);
	else
		doc_leave(s, w, t->doc);
	work_doc_put(ts->p.window, t->doc);
	t->doc = NULL;
}

void task_line(struct tasks *ts, struct work *w)
{
	if (w->halves == 0) {
		struct task *t = work_add_half(w, LANE_UPSERT, HALF_NEW);

		t->alone = true;
		t->phase = TASK_SETTLED;
		t->status = STATUS_COMPLETED;
	}
	work_enter(ts->p.window, w);
	for (int i = 0; i < w->halves; i++) {
		struct task *t = &w->half[i];

		if (t->phase == TASK_SETTLED) {
			take_decided(ts, w, t);
			continue;
		}
		t->doc = work_doc(ts->p.window, w->repo, t->half == HALF_OLD ? w->old_path : w->path);
		queue_task(ts, t);
	}
	if (w->open == 0)
		settle_line(ts, w);
	start_ready(ts);
}

/* ---- turns that time gives, and marks ---- */

void tasks_late_turn(struct tasks *ts)
{
	struct doc *d = work_late_over(ts->p.window, clock_ms());

	for (struct doc *next; d != NULL; d = next) {
		next = d->late_next;
		doc_attempts_over(ts->p.state, d);
		if (d->active != NULL && d->active->phase == TASK_LATE)
			make_ready(ts, d->active);
		else
			work_doc_put(ts->p.window, d);
	}
	start_ready(ts);
}

void tasks_mark_batch(struct tasks *ts, struct batch *b)
{
	for (struct lane_item *i = batch_items(b); i != NULL; i = i->next)
		doc_sent(ts->p.state, ((struct piece *)i->owner)->task);
}

/* Marks of documents of which the store has kept nothing: nothing is in doubt because of them. */
static void unmark_unsent(struct tasks *ts, struct task *t)
{
	struct doc *d = t->doc;

	if (t->phase == TASK_LANE && t->marked && d->has_mark &&
	    !(d->mark.flags & (MARK_DOUBT | MARK_SETTLED)) && kept_nothing(t))
		doc_unmark(ts->p.state, d);
}

void tasks_unmark_unsent(struct tasks *ts)
{
	for (struct group *g = NULL; (g = work_group_next(ts->p.window, g)) != NULL;)
		for (struct work *w = g->works; w != NULL; w = w->next)
			for (int k = 0; k < w->halves; k++)
				unmark_unsent(ts, &w->half[k]);
}
