#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "changeset.h"
#include "clock.h"
#include "embed_hash.h"
#include "json.h"
#include "pipeline_p.h"
#include "results.h"

/* ---- settling ---- */

static bool in_doubt(const struct doc *d)
{
	return d->has_mark && !(d->mark.flags & MARK_SETTLED);
}

void task_mark_put(struct pipeline *p, struct doc *d)
{
	d->has_mark = true;
	state_mark_put(p->state, d->repo, d->path, &d->mark);
}

void task_mark_del(struct pipeline *p, struct doc *d)
{
	if (d->has_mark)
		state_mark_del(p->state, d->repo, d->path);
	d->has_mark = false;
}

/* A line has settled the document: an attempt that may still arrive only delays what comes. */
void task_settle_mark(struct pipeline *p, struct doc *d)
{
	if (!d->has_mark)
		return;
	if (d->mark.flags & MARK_DOUBT)
		d->group->release = true;
	if (d->late_until <= clock_ms()) {
		task_mark_del(p, d);
		return;
	}
	d->mark.flags = (uint8_t)((d->mark.flags & MARK_DELETE) | MARK_SETTLED);
	task_mark_put(p, d);
	work_doc_late(p, d);
}

/* A line that finished the document supersedes its failures, but not one of a later line. */
static void drop_failure(struct pipeline *p, struct doc *d, struct place_in_run at)
{
	struct failure f;

	if (state_repo(p->state, d->repo)->failed == 0 ||
	    !state_failure_get(p->state, d->repo, d->path, &f))
		return;
	if (!state_later(p->state, f.line, at)) {
		state_failure_del(p->state, d->repo, d->path);
		d->group->release = true;
	}
	failure_release(&f);
}

/* True while an earlier line of the input has the document: it is that one's to finish, also in an
 * invocation that goes on from here. */
static bool has_earlier_line(const struct doc *d)
{
	return (d->active != NULL && !d->active->work->retried) ||
	       (d->next != NULL && !d->next->work->retried);
}

/* The line names the document and carries no text of it: it stays as it is, a doubt included,
 * and counts as listed. */
void task_leave_doc(struct pipeline *p, struct work *w, struct doc *d)
{
	if (has_earlier_line(d)) {
		drop_failure(p, d, w->at);
		return;
	}
	if (d->known.flags == 0 && in_doubt(d)) {	/* or a complete listing would not find it named */
		d->known.flags = DOC_PRESENT;
		d->known.chunks = d->mark.chunks > 0 ? d->mark.chunks : 1;
	}
	if (d->known.flags != 0 && !state_later(p->state, d->known.last, w->at)) {
		d->known.last = w->at;
		d->known.flags &= (uint8_t)~DOC_SAME;	/* what the line's text was is not known */
		state_doc_put(p->state, d->repo, d->path, &d->known);
		if (!w->retried)
			changeset_line(p->state, d->repo, w->at);
	}
	drop_failure(p, d, w->at);
}

/* A document that --exclude names is gone.  No line has finished it, and it is not of what a position says. */
static void finish_left_out(struct pipeline *p, struct task *t)
{
	struct doc *d = t->doc;

	d->known.flags = DOC_ABSENT | DOC_EXCLUDED | DOC_SAME;
	d->known.chunks = 0;
	state_doc_put(p->state, d->repo, d->path, &d->known);
	drop_failure(p, d, t->work->at);
	task_settle_mark(p, d);
	d->group->release = true;
}

/* The task's line has finished the document: it holds what flags say, by that line. */
static void finish_doc(struct pipeline *p, struct task *t, uint8_t flags, const uint8_t *digest,
		       uint32_t chunks)
{
	struct doc *d = t->doc;
	struct work *w = t->work;

	if (w->left_out) {
		finish_left_out(p, t);
		return;
	}
	d->known.flags = flags;
	if (t->skip == REASON_EXCLUDED)	/* whatever its text is, and whenever it was read: none of it is kept */
		d->known.flags |= DOC_EXCLUDED;
	if (w->uncommitted && t->skip != REASON_EXCLUDED)	/* of a rename both halves: what is changed back has the old path again */
		d->known.flags |= DOC_UNCOMMITTED;
	if (w->retried && t->skip != REASON_EXCLUDED)
		d->known.flags |= DOC_LOOSE;
	if (digest != NULL)
		memcpy(d->known.digest, digest, SYNC_DIGEST_SIZE);
	d->known.chunks = chunks;
	if (!state_later(p->state, d->known.last, w->at))	/* a later line has only named it */
		d->known.last = w->at;
	state_doc_put(p->state, d->repo, d->path, &d->known);
	drop_failure(p, d, w->at);
	task_settle_mark(p, d);
	if (!w->retried)
		changeset_line(p->state, d->repo, w->at);
}

void task_put_failure(struct pipeline *p, struct work *w, const struct task *t, bool repo_known)
{
	struct failure f = { 0 }, other;
	struct place_in_run hold;
	auto_buf struct buf payload = BUF_INIT;

	f.line = w->at;
	f.hold = t != NULL ? t->hold : w->at;
	f.number = w->number;
	f.op = (uint8_t)w->op;
	f.half = t != NULL ? t->half : HALF_NEW;
	f.code = (uint16_t)(t != NULL ? t->error : w->half[0].error);
	f.http = (uint16_t)(t != NULL ? t->http : 0);
	f.retries = w->retries_before + (w->retried ? 1 : 0);
	f.first_s = f.last_s = clock_unix_s();
	f.format = w->format;
	f.repo = w->repo;
	f.path = t != NULL && t->doc != NULL ? t->doc->path : (char *)"";
	f.message = t != NULL && t->message ? t->message : w->half[0].message ? w->half[0].message : "";
	f.root = w->root;
	f.folder = w->folder;
	f.default_repo = w->default_repo;
	f.namespace = w->namespace;
	f.default_uncommitted = w->default_uncommitted;
	if (!repo_known) {
		f.digest = w->digest;
		changeset_unknown_again(p->state, &f);
	}
	if (f.path[0] == '\0' || !state_failure_get(p->state, f.repo, f.path, &other)) {
		work_payload(w, &payload);
		state_failure_put(p->state, &f, repo_known, payload.data, payload.len);
		return;
	}
	hold = state_later(p->state, f.hold, other.hold) ? other.hold : f.hold;
	if (state_later(p->state, other.line, f.line)) {	/* a later line of it has failed already */
		other.hold = hold;
		state_failure_payload(p->state, &other, &payload);
		state_failure_put(p->state, &other, true, payload.data, payload.len);
	} else {
		f.hold = hold;
		work_payload(w, &payload);
		state_failure_put(p->state, &f, repo_known, payload.data, payload.len);
	}
	failure_release(&other);
}

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

static void fill_result(struct pipeline *p, struct work *w, const struct task *t, struct result *r,
			char run[64])
{
	struct run_state older = { 0 };

	*r = (struct result){ .run = p->run->id, .line = w->number, .repo = w->repo, .path = w->path,
		.old_path = w->old_path, .op = w->op, .objects = w->objects, .retried = w->retried,
		.error = t->error, .http = t->http,
		.message = t->message, .retryable = error_retryable(t->error),
		.has_offset = w->has_offset, .offset = w->offset };
	if (w->at.run != p->run->number && state_run_get(p->state, w->at.run, &older) == 0) {
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

void task_settle_work(struct pipeline *p, struct work *w)
{
	struct result r;
	char run[64];
	enum status status;
	enum reason reason;
	const struct task *t = telling_half(w, &status, &reason);

	w->group->look = true;
	w->group->release |= w->retried;	/* its last half may have been all that held a record */
	if (w->before == STATUS_FAILED && status != STATUS_FAILED)	/* done again, and well this time */
		state_failure_del_line(p->state, w->repo, w->at);
	if (!w->internal) {
		if (!w->retried) {
			state_line_set(p->state, w->at.ord, status, reason);
			pipeline_count(p, w->at, w->before, status, reason, w->op);
		} else {
			state_run(p->state)->retried++;
		}
		fill_result(p, w, t, &r, run);
		r.status = status;
		r.reason = reason;
		outbox_add(p->outbox, &r, r.sent, clock_ms());
	}
	work_leave(p, w);
}

static void start_task(struct pipeline *p, struct task *t);

static void start_next(struct pipeline *p, struct doc *d)
{
	if (d->active == NULL && d->next != NULL) {
		d->active = d->next;
		d->next = NULL;
		start_task(p, d->active);	/* settles it at once, perhaps, and d is gone */
	} else {
		work_doc_put(p, d);
	}
}

static void settle_half(struct pipeline *p, struct task *t)
{
	struct work *w = t->work;

	t->phase = TASK_SETTLED;
	if (t->status == STATUS_FAILED && w->left_out)
		excluded_failed(p, t);
	else if (t->status == STATUS_FAILED)
		task_put_failure(p, w, t, true);
	work_drop_pieces(t);	/* after that: the payload may want their text */
	for (struct task *s = t->superseded, *also; s != NULL; s = also) {
		also = s->also;
		s->status = STATUS_SUPERSEDED;
		settle_half(p, s);
	}
	t->superseded = NULL;
	if (--w->open == 0) {
		task_settle_work(p, w);
	} else if (w->halves > 1 && t == &w->half[0] && w->half[1].phase == TASK_SIBLING &&
		   w->half[1].doc->active == &w->half[1]) {
		start_task(p, &w->half[1]);
	}
}

/* The task that had its document's turn is settled: the next one's turn. */
static void settle_task(struct pipeline *p, struct task *t, enum status status, enum reason reason)
{
	struct doc *d = t->doc;

	t->status = status;
	t->reason = reason;
	d->active = NULL;
	settle_half(p, t);
	start_next(p, d);
}

static void fail_task(struct pipeline *p, struct task *t, enum error_code error, long http,
		      const char *message)
{
	t->error = error;
	t->http = http;
	free(t->message);
	t->message = xstrdup(message);
	settle_task(p, t, STATUS_FAILED, REASON_NONE);
}

/* ---- verdicts: step 6 ---- */

static void lane_add_piece(struct pipeline *p, struct task *t, struct piece *piece)
{
	piece->task = t;
	piece->item.owner = piece;
	/* its own mark is no doubt: what is deleted after a store was not under way */
	piece->item.again = t->doc->has_mark && (t->doc->mark.flags & MARK_DOUBT);
	t->phase = TASK_LANE;
	t->flying++;
	lane_add(p->lane, &piece->item);
}

static void delete_chunks(struct pipeline *p, struct task *t, uint32_t from, uint32_t to)
{
	struct doc *d = t->doc;
	struct lane_item *i = &t->deletion.item;

	i->kind = LANE_DELETE;
	i->nids = to - from;
	i->ids = xcalloc(i->nids, sizeof *i->ids);
	for (uint32_t c = from; c < to; c++)
		object_id(i->ids[c - from], p->parts.store->collection, d->repo, d->path, c);
	i->size = (size_t)i->nids * 40;
	lane_add_piece(p, t, &t->deletion);
}

uint32_t task_most_chunks(const struct doc *d)
{
	uint32_t n = d->known.chunks;

	return d->has_mark && d->mark.chunks > n ? d->mark.chunks : n;
}

static void stored(struct pipeline *p, struct task *t)
{
	finish_doc(p, t, DOC_PRESENT | DOC_KNOWN, t->digest, t->npieces);
	settle_task(p, t, STATUS_COMPLETED, REASON_NONE);
}

static void deleted(struct pipeline *p, struct task *t)
{
	p->end->deleted++;
	t->work->objects += t->deletion.item.nids;
	finish_doc(p, t, DOC_ABSENT, NULL, 0);
	if (t->skip != REASON_NONE)
		settle_task(p, t, STATUS_SKIPPED, t->skip);
	else
		settle_task(p, t, STATUS_COMPLETED, REASON_NONE);
}

/* Every object is stored: what the document had beyond goes. */
static void trim(struct pipeline *p, struct task *t)
{
	uint32_t most = task_most_chunks(t->doc);

	t->work->objects += t->npieces;
	p->end->stored++;
	t->trims = true;
	if (most > t->npieces)
		delete_chunks(p, t, t->npieces, most);
	else
		stored(p, t);
}

/* Pieces that were never sent left nothing behind either. */
bool task_kept_nothing(const struct task *t)
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

static void failed(struct pipeline *p, struct task *t, const struct piece *first)
{
	struct doc *d = t->doc;

	if (task_kept_nothing(t) && !(d->mark.flags & MARK_DOUBT)) {
		task_mark_del(p, d);
	} else {
		d->mark.flags |= MARK_DOUBT;
		task_mark_put(p, d);
	}
	fail_task(p, t, first->end == LANE_REFUSED ? ERR_STORE_REJECTED : ERR_STORE_FAILED,
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
	struct pipeline *p = ctx;
	struct piece *piece = i->owner;
	struct task *t = piece->task;
	const struct piece *bad;

	piece->end = end;
	note_sent(t, &t->sent, i);
	if (i->lost_until > t->doc->late_until)
		t->doc->late_until = i->lost_until;
	if (--t->flying > 0)
		return;
	bad = first_failed(t);
	if (bad != NULL)
		failed(p, t, bad);
	else if (t->kind == LANE_DELETE)
		deleted(p, t);
	else if (t->trims)
		stored(p, t);
	else
		trim(p, t);
}

/* ---- a document's turn: step 3 ---- */

static bool same_version(const struct task *t)
{
	const struct mark *m = &t->doc->mark;

	if (t->kind == LANE_DELETE)
		return m->flags & MARK_DELETE;
	return !(m->flags & MARK_DELETE) && memcmp(m->digest, t->digest, SYNC_DIGEST_SIZE) == 0;
}

/* True if the state says that there is nothing to do (I8). */
static bool is_unchanged(const struct pipeline *p, const struct task *t)
{
	const struct doc_state *k = &t->doc->known;

	if (p->o->force || in_doubt(t->doc))
		return false;
	if (t->kind == LANE_DELETE)	/* a skipped document that no one stored needs no delete either */
		return (k->flags & DOC_ABSENT) || (t->skip != REASON_NONE && k->flags == 0);
	return (k->flags & DOC_PRESENT) && (k->flags & DOC_KNOWN) && k->chunks == t->npieces &&
	       memcmp(k->digest, t->digest, SYNC_DIGEST_SIZE) == 0;
}

/* A document that is as it was at the position stays so by a line that finds it unchanged; but not if
 * a record that stands before the line may still take the position to where the document was another. */
static bool same_as_at_position(struct pipeline *p, const struct task *t)
{
	const struct doc *d = t->doc;

	return !t->work->retried && d->group->records == NULL &&
	       state_repo(p->state, d->repo)->held_commit[0] == '\0' &&
	       !changeset_touched(p->state, d->repo, &d->known);
}

static void settle_unchanged(struct pipeline *p, struct task *t)
{
	struct doc_state *k = &t->doc->known;
	uint8_t flags = k->flags & (DOC_PRESENT | DOC_KNOWN);

	flags = flags ? flags : DOC_ABSENT;
	if (same_as_at_position(p, t))
		flags |= DOC_SAME;
	finish_doc(p, t, flags, NULL, k->chunks);
	settle_task(p, t, STATUS_SKIPPED, t->skip != REASON_NONE ? t->skip : REASON_UNCHANGED);
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
static bool enter_embedding(struct pipeline *p, struct task *t)
{
	auto_buf struct buf b = BUF_INIT;

	if (p->embedder->kind != EMBED_URL || t->pieces[0].object->vector != NULL)
		return false;
	t->phase = TASK_EMBED;
	t->flying = t->npieces;
	for (uint32_t i = 0; i < t->npieces; i++) {
		struct piece *piece = &t->pieces[i];
		struct lane_item *item = &piece->item;

		item->text_len = piece->object->text_len;
		item->text = embedder_input(p->embedder, t->doc->path, piece->object->text, &item->text_len, &b);
		if (item->text != piece->object->text)
			item->text = piece->input = buf_detach(&b);
		item->kind = LANE_EMBED;
		item->size = json_str_size(item->text, item->text_len);
		item->owner = piece;
		piece->task = t;
		lane_add(p->embed_lane, item);
	}
	return true;
}

static void enter_lane(struct pipeline *p, struct task *t)
{
	uint32_t most = task_most_chunks(t->doc);

	if (t->kind == LANE_DELETE) {
		delete_chunks(p, t, 0, most > 0 ? most : 1);
		return;
	}
	for (uint32_t i = 0; i < t->npieces; i++) {
		struct piece *piece = &t->pieces[i];

		if (piece->object->vector == NULL && p->embedder->kind == EMBED_HASH)
			embed_by_hash(p->embedder, t, piece->object);
		piece->item.kind = LANE_UPSERT;
		piece->item.object = piece->object;
		piece->item.size = p->parts.store->driver->object_bytes(p->parts.store, piece->object);
		lane_add_piece(p, t, piece);
	}
}

/* All its texts have come back from the embedding server: on to the store, or failed, with nothing
 * sent there. */
void task_text_embedded(void *ctx, struct lane_item *i, enum lane_end end)
{
	struct pipeline *p = ctx;
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
		enter_lane(p, t);
	else
		fail_task(p, t, bad->end == LANE_REFUSED ? ERR_EMBED_REJECTED : ERR_EMBED_FAILED,
			  bad->item.verdict.http, bad->item.verdict.text);
}

/* True while an attempt for another version of the document may still arrive. */
static bool must_wait(const struct pipeline *p, const struct task *t)
{
	const struct doc *d = t->doc;

	if (!d->has_mark || d->late_until <= clock_ms())
		return false;
	return !(same_version(t) && p->parts.store->driver->again_is_upsert);
}

static void start_task(struct pipeline *p, struct task *t)
{
	struct work *w = t->work;

	if (t->half == HALF_OLD && w->halves > 1 && w->half[0].phase != TASK_SETTLED) {
		t->phase = TASK_SIBLING;
		return;
	}
	if ((w->resumed || w->retried) && state_later(p->state, t->doc->known.last, w->at)) {
		if (w->retried)
			state_failure_del(p->state, t->doc->repo, t->doc->path);
		settle_task(p, t, STATUS_SUPERSEDED, REASON_NONE);
	} else if (is_unchanged(p, t)) {
		settle_unchanged(p, t);
	} else if (must_wait(p, t)) {
		t->phase = TASK_LATE;
		work_doc_late(p, t->doc);
	} else if (t->kind == LANE_DELETE || !enter_embedding(p, t)) {
		enter_lane(p, t);
	}
}

static void supersede(struct pipeline *p, struct task *old, struct task *by)
{
	old->also = by->superseded;
	by->superseded = old;
	if (state_later(p->state, by->hold, old->hold))
		by->hold = old->hold;
	/* its text is not needed any more; its line and place are */
	work_drop_pieces(old);
}

/* Step 3 begins: the task queues for its document. */
void task_queue(struct pipeline *p, struct task *t)
{
	struct doc *d = t->doc;

	t->phase = TASK_TURN;
	if (d->next != NULL) {
		supersede(p, d->next, t);
		d->next = t;
	} else if (d->active != NULL && d->active->phase != TASK_LANE && d->active->phase != TASK_EMBED) {
		supersede(p, d->active, t);
		d->active = t;
		start_task(p, t);
	} else if (d->active != NULL) {
		d->next = t;
	} else {
		d->active = t;
		start_task(p, t);
	}
}

/* Attempts that are over by now: who waited for that goes on, and marks of settled documents go. */
void task_late_turn(struct pipeline *p)
{
	int64_t now = clock_ms();
	struct doc *d, *keep = NULL, *over = NULL;

	for (struct doc *next; (d = p->late) != NULL; p->late = next) {
		struct doc **list = d->late_until <= now ? &over : &keep;

		next = d->late_next;
		d->late_next = *list;
		*list = d;
	}
	p->late = keep;
	for (struct doc *next; over != NULL; over = next) {
		d = over;
		next = d->late_next;
		d->in_late = false;
		if (d->has_mark && (d->mark.flags & MARK_SETTLED))
			task_mark_del(p, d);
		if (d->active != NULL && d->active->phase == TASK_LATE)
			start_task(p, d->active);
		else
			work_doc_put(p, d);
	}
}

int64_t task_late_due(const struct pipeline *p)
{
	int64_t due = CLOCK_NEVER;

	for (const struct doc *d = p->late; d != NULL; d = d->late_next)
		if (d->late_until < due)
			due = d->late_until;
	return due;
}
