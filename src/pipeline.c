/* How a line travels, and why a crash between any two steps is safe:
 *
 *  1. take_line()     a line is read, counted, its digest recorded (in memory)
 *  2. content_load()  what it asks for: its document, its text
 *  3. start_task()    when no earlier line of its document is unsettled: compare; nothing to do, or
 *                     into a batch
 *  4. commit          the batch's documents are marked "in flight", durable       } one transaction,
 *  5. lane_send()     the request                                                 } see turn()
 *  6. item_done()     the store's verdict on each object
 *  7. commit          lines, documents, changesets that it settles, together with step 4 of the
 *                     next batch
 *  8. print           results of what is durable now
 *
 * A crash up to 3: nothing has happened; the line is read again.  After 4 to 6: the store may hold the
 * old or the new, and the mark says so: the document is in doubt, is never taken for unchanged, and
 * holds its changeset until a line finishes it.  After 7: it is done; a resume prints what 8 could not.
 *
 * Settled lines stay in memory until the commit that makes them durable; a superseded line is settled
 * only together with the one that superseded it (work.h, invariant 2). */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "ask.h"
#include "changeset.h"
#include "clock.h"
#include "embed_hash.h"
#include "log.h"
#include "pipeline.h"
#include "progress.h"
#include "results.h"
#include "stop.h"
#include "text.h"
#include "work.h"

#define DOC_SLOTS 4096
#define GROUP_SLOTS 256
#define RIDERS_MAX 5000		/* lines without a request that may wait for a commit */
#define DIRTY_MAX (1u << 20)	/* bytes of state that may */
#define RECORDS_MAX 256		/* undecided changeset records of one repository */
#define PAYLOAD_MAX 65536
#define WORK_OVERHEAD 512	/* bytes that a line takes beside its texts, about */
#define HOPELESS_LINES 20	/* so many changes without a file, and no other: --root is wrong */

struct pipeline {
	struct pipeline_parts parts;
	const struct options *o;
	struct state *state;
	struct lane *lane;
	struct run_state *run;
	struct change_options change_options;
	struct doc *docs[DOC_SLOTS];
	struct doc *late;		/* list by late_next: marks that are not over yet */
	struct group *groups[GROUP_SLOTS];
	struct work *settled;		/* to free after the commit */
	struct buf fresh;		/* results that wait for the commit */
	size_t riders;			/* of them, lines that needed no request */
	bool verdicts;			/* of them, lines that a request settled */
	int64_t oldest_fresh;		/* since when the first of them waits */
	size_t window_bytes, window_works;	/* in use */
	size_t max_bytes, max_works;
	uint32_t ord;			/* of the last line taken */
	bool matching;			/* lines are compared with those of the run being resumed */
	uint32_t recorded;		/* how many lines that run has */
	bool eof, reading_done;
	struct failure_walk retry;
	bool retries_done;
	struct pending_record *sweeping;	/* complete: true: its documents are being deleted */
	struct group *sweep_group;
	struct walk sweep;
	bool sweep_in_marks;
	struct lane_figures told;	/* what the run's record already counts */
	struct line first;		/* read to see whether it is the first of the last run */
	bool has_first;
	int64_t start_ms, late_ms, run_start_ns;
	uint64_t changes_seen, no_file_seen, failed;
	int stop_status;		/* exit status that ends the run early, 0 */
	char synced_at[21];
	char *embedder, *settings;	/* owned: "hash:384"; the same with the chunking, for digests */
	struct pipeline_end *end;
};

/* ---- tables of documents and repositories ---- */

static unsigned hash_text(unsigned h, const char *s)
{
	for (; *s != '\0'; s++)
		h = (h ^ (unsigned char)*s) * 16777619u;
	return h;
}

static struct group *group_get(struct pipeline *p, const char *repo)
{
	struct group **slot = &p->groups[hash_text(2166136261u, repo) % GROUP_SLOTS];
	struct group *g = *slot;

	while (g != NULL && strcmp(g->repo, repo) != 0)
		g = g->chain;
	if (g == NULL) {
		g = xcalloc(1, sizeof *g);
		g->repo = xstrdup(repo);
		g->chain = *slot;
		*slot = g;
	}
	return g;
}

static struct doc **doc_slot(struct pipeline *p, const char *repo, const char *path)
{
	return &p->docs[hash_text(hash_text(2166136261u, repo) * 31, path) % DOC_SLOTS];
}

static struct doc *doc_find(struct pipeline *p, const char *repo, const char *path)
{
	struct doc *d = *doc_slot(p, repo, path);

	while (d != NULL && (strcmp(d->path, path) != 0 || strcmp(d->repo, repo) != 0))
		d = d->chain;
	return d;
}

static void doc_late(struct pipeline *p, struct doc *d)
{
	if (d->in_late)
		return;
	d->in_late = true;
	d->late_next = p->late;
	p->late = d;
}

static struct doc *doc_get(struct pipeline *p, const char *repo, const char *path)
{
	struct doc *d = doc_find(p, repo, path);
	struct doc **slot;

	if (d != NULL)
		return d;
	d = xcalloc(1, sizeof *d);
	d->repo = xstrdup(repo);
	d->path = xstrdup(path);
	d->group = group_get(p, repo);
	state_doc_get(p->state, repo, path, &d->known);
	d->has_mark = state_mark_get(p->state, repo, path, &d->mark);
	if (d->has_mark)	/* an earlier run's: its attempts end --late after this run began */
		d->late_until = p->start_ms + p->late_ms;
	slot = doc_slot(p, repo, path);
	d->chain = *slot;
	*slot = d;
	return d;
}

/* A document is kept while tasks concern it, or an attempt for it is not over. */
static void doc_put(struct pipeline *p, struct doc *d)
{
	struct doc **at;

	if (d->active != NULL || d->next != NULL || d->in_late)
		return;
	at = doc_slot(p, d->repo, d->path);
	while (*at != d)
		at = &(*at)->chain;
	*at = d->chain;
	free(d->repo);
	free(d->path);
	free(d);
}

/* ---- lines ---- */

static void task_release(struct task *t)
{
	object_free(t->object);
	free(t->item.ids);
	free(t->message);
}

static void work_free(struct work *w)
{
	for (int i = 0; i < w->halves; i++)
		task_release(&w->half[i]);
	free(w->repo);
	free(w->path);
	free(w->old_path);
	free(w->payload);
	free(w->root);
	free(w->folder);
	free(w->default_repo);
	free(w->namespace);
	free(w);
}

static void work_enter(struct pipeline *p, struct work *w)
{
	w->group = group_get(p, w->repo);
	w->next = w->group->works;
	if (w->next != NULL)
		w->next->prev = w;
	w->group->works = w;
	w->size += WORK_OVERHEAD + w->payload_len;
	p->window_bytes += w->size;
	p->window_works++;
}

static void work_leave(struct pipeline *p, struct work *w)
{
	if (w->prev != NULL)
		w->prev->next = w->next;
	else
		w->group->works = w->next;
	if (w->next != NULL)
		w->next->prev = w->prev;
	p->window_bytes -= w->size;
	p->window_works--;
	free(w->payload);
	w->payload = NULL;
	w->done_next = p->settled;
	p->settled = w;
}

static void fresh_result(struct pipeline *p, const struct result *r, bool rider)
{
	if (p->fresh.len == 0)
		p->oldest_fresh = clock_ms();
	if (rider)
		p->riders++;
	else
		p->verdicts = true;
	p->end->counts[r->status]++;
	if (r->status == STATUS_SKIPPED && r->reason == REASON_UNCHANGED)
		p->end->unchanged++;
	if (r->status == STATUS_FAILED)
		p->failed++;
	if (r->resumed)
		p->end->resumed++;
	if (p->o->results == RESULTS_NONE ||
	    (p->o->results == RESULTS_PROBLEMS && r->status != STATUS_FAILED && r->status != STATUS_HELD))
		return;
	result_write(&p->fresh, r);
}

static void count_line(struct pipeline *p, enum status before, enum status now, enum reason reason,
		       enum change_op op)
{
	struct run_state *run = state_run(p->state);

	if (before != STATUS_NONE)
		run->counts[before]--;
	else
		run->ops[op]++;
	run->counts[now]++;
	if (now == STATUS_SKIPPED && reason == REASON_UNCHANGED)
		run->unchanged++;
}

/* ---- settling ---- */

static bool in_doubt(const struct doc *d)
{
	return d->has_mark && !(d->mark.flags & MARK_SETTLED);
}

static void mark_put(struct pipeline *p, struct doc *d)
{
	d->has_mark = true;
	state_mark_put(p->state, d->repo, d->path, &d->mark);
}

static void mark_del(struct pipeline *p, struct doc *d)
{
	if (d->has_mark)
		state_mark_del(p->state, d->repo, d->path);
	d->has_mark = false;
}

/* A line has settled the document: an attempt that may still arrive only delays what comes. */
static void settle_mark(struct pipeline *p, struct doc *d)
{
	if (!d->has_mark)
		return;
	if (d->mark.flags & MARK_DOUBT)
		d->group->release = true;
	if (d->late_until <= clock_ms()) {
		mark_del(p, d);
		return;
	}
	d->mark.flags = (uint8_t)((d->mark.flags & MARK_DELETE) | MARK_SETTLED);
	mark_put(p, d);
	doc_late(p, d);
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

/* The task's line has finished the document: it holds what flags say, by that line. */
static void finish_doc(struct pipeline *p, struct task *t, uint8_t flags, const uint8_t *digest,
		       uint32_t chunks)
{
	struct doc *d = t->doc;
	struct work *w = t->work;

	d->known.flags = flags;
	if (w->uncommitted && t->half == HALF_NEW)
		d->known.flags |= DOC_UNCOMMITTED;
	if (w->retried)
		d->known.flags |= DOC_LOOSE;
	if (digest != NULL)
		memcpy(d->known.digest, digest, SYNC_DIGEST_SIZE);
	d->known.chunks = chunks;
	d->known.last = w->at;
	state_doc_put(p->state, d->repo, d->path, &d->known);
	drop_failure(p, d, w->at);
	settle_mark(p, d);
	if (!w->retried)
		changeset_line(p->state, d->repo, w->at);
}

static void put_failure(struct pipeline *p, struct work *w, const struct task *t, bool repo_known)
{
	struct failure f = { 0 }, other;
	bool newer = false;	/* a later line of the document has failed already */

	f.line = w->at;
	f.hold = t != NULL ? t->hold : w->at.ord;
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
	if (f.path[0] != '\0' && state_failure_get(p->state, f.repo, f.path, &other)) {
		newer = state_later(p->state, other.line, f.line);
		failure_release(&other);
	}
	if (!newer)
		state_failure_put(p->state, &f, repo_known, w->payload, w->payload_len);
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
	if (a->status != STATUS_SKIPPED || (a->reason == REASON_UNCHANGED && b->status == STATUS_COMPLETED)) {
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
		.message = t->message, .retryable = error_retryable(t->error) };
	if (w->at.run != p->run->number && state_run_get(p->state, w->at.run, &older) == 0) {
		size_t n = strlen(older.id);

		memcpy(run, older.id, n < 63 ? n + 1 : 63);
		run[63] = '\0';
		r->run = run;
		run_release(&older);
	}
	for (int i = 0; i < w->halves; i++)
		if (w->half[i].item.sent > 0) {
			r->sent = true;
			r->retries += w->half[i].item.sent - 1;
			r->id = w->id[0] ? w->id : NULL;
			r->ms = clock_ms() - w->half[i].item.first_sent_ms;
		}
}

static void settle_work(struct pipeline *p, struct work *w)
{
	struct result r;
	char run[64];
	enum status status;
	enum reason reason;
	const struct task *t = telling_half(w, &status, &reason);

	w->group->look = true;
	if (!w->internal) {
		if (!w->retried) {
			state_line_set(p->state, w->at.ord, status, reason);
			count_line(p, w->before, status, reason, w->op);
		} else {
			state_run(p->state)->retried++;
		}
		fill_result(p, w, t, &r, run);
		r.status = status;
		r.reason = reason;
		fresh_result(p, &r, !r.sent);
	}
	work_leave(p, w);
}

static void start_task(struct pipeline *p, struct task *t);

static void start_next(struct pipeline *p, struct doc *d)
{
	while (d->active == NULL && d->next != NULL) {
		d->active = d->next;
		d->next = NULL;
		start_task(p, d->active);
	}
	doc_put(p, d);
}

static void settle_half(struct pipeline *p, struct task *t)
{
	struct work *w = t->work;

	t->phase = TASK_SETTLED;
	object_free(t->object);
	t->object = NULL;
	if (t->status == STATUS_FAILED)
		put_failure(p, w, t, true);
	for (struct task *s = t->superseded, *also; s != NULL; s = also) {
		also = s->also;
		s->status = STATUS_SUPERSEDED;
		settle_half(p, s);
	}
	t->superseded = NULL;
	if (--w->open == 0) {
		settle_work(p, w);
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

static void delete_chunks(struct pipeline *p, struct task *t, uint32_t from, uint32_t to)
{
	struct doc *d = t->doc;
	struct lane_item *i = &t->item;

	free(i->ids);
	i->kind = LANE_DELETE;
	i->object = NULL;
	i->nids = to - from;
	i->ids = xcalloc(i->nids, sizeof *i->ids);
	for (uint32_t c = from; c < to; c++)
		object_id(i->ids[c - from], p->parts.store->collection, d->repo, d->path, c);
	i->size = (size_t)i->nids * 40;
	i->again = in_doubt(d);
	i->owner = t;
	i->unclear = false;
	t->phase = TASK_LANE;
	lane_add(p->lane, i);
}

static uint32_t most_chunks(const struct doc *d)
{
	uint32_t n = d->known.chunks;

	return d->has_mark && d->mark.chunks > n ? d->mark.chunks : n;
}

static void item_stored(struct pipeline *p, struct task *t)
{
	uint32_t most = most_chunks(t->doc);

	if (t->kind == LANE_UPSERT && !t->trims) {
		t->work->objects++;
		p->end->stored++;
		if (most > 1) {
			t->trims = true;
			delete_chunks(p, t, 1, most);
			return;
		}
	}
	if (t->kind == LANE_UPSERT) {
		finish_doc(p, t, DOC_PRESENT | DOC_KNOWN, t->digest, 1);
		settle_task(p, t, STATUS_COMPLETED, REASON_NONE);
		return;
	}
	p->end->deleted++;
	t->work->objects += t->item.nids;
	finish_doc(p, t, DOC_ABSENT, NULL, 0);
	if (t->skip != REASON_NONE)
		settle_task(p, t, STATUS_SKIPPED, t->skip);
	else
		settle_task(p, t, STATUS_COMPLETED, REASON_NONE);
}

static void item_failed(struct pipeline *p, struct task *t, enum lane_end end)
{
	struct lane_item *i = &t->item;
	struct doc *d = t->doc;
	bool kept_nothing = !i->unclear && i->verdict.kept_nothing && !t->trims;

	if (kept_nothing && !(d->mark.flags & MARK_DOUBT)) {
		mark_del(p, d);
	} else {
		d->mark.flags |= MARK_DOUBT;
		mark_put(p, d);
	}
	fail_task(p, t, end == LANE_REFUSED ? ERR_STORE_REJECTED : ERR_STORE_FAILED, i->verdict.http,
		  i->verdict.text);
}

static void item_done(void *ctx, struct lane_item *i, enum lane_end end)
{
	struct pipeline *p = ctx;
	struct task *t = i->owner;

	if (i->lost_until > t->doc->late_until)
		t->doc->late_until = i->lost_until;
	if (end == LANE_DONE)
		item_stored(p, t);
	else
		item_failed(p, t, end);
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
	return (k->flags & DOC_PRESENT) && (k->flags & DOC_KNOWN) && k->chunks == 1 &&
	       memcmp(k->digest, t->digest, SYNC_DIGEST_SIZE) == 0;
}

static void settle_unchanged(struct pipeline *p, struct task *t)
{
	struct doc_state *k = &t->doc->known;
	uint8_t flags = k->flags & (DOC_PRESENT | DOC_KNOWN);

	finish_doc(p, t, flags ? flags : DOC_ABSENT, NULL, k->chunks);
	settle_task(p, t, STATUS_SKIPPED, t->skip != REASON_NONE ? t->skip : REASON_UNCHANGED);
}

static void embed(struct pipeline *p, struct object *o)
{
	if (o->vector != NULL)
		return;
	o->dim = p->parts.dimension;
	o->vector = xmalloc(o->dim * sizeof *o->vector);
	embed_hash(o->vector, o->dim, o->text, o->text_len);
}

static void enter_lane(struct pipeline *p, struct task *t)
{
	struct doc *d = t->doc;
	struct lane_item *i = &t->item;
	uint32_t most = most_chunks(d);

	if (t->kind == LANE_DELETE) {
		delete_chunks(p, t, 0, most > 0 ? most : 1);
		return;
	}
	embed(p, t->object);
	i->kind = LANE_UPSERT;
	i->object = t->object;
	i->size = object_size(t->object);
	i->again = in_doubt(d);
	i->owner = t;
	t->phase = TASK_LANE;
	lane_add(p->lane, i);
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
		doc_late(p, t->doc);
	} else {
		enter_lane(p, t);
	}
}

static void supersede(struct task *old, struct task *by)
{
	old->also = by->superseded;
	by->superseded = old;
	if (old->hold < by->hold)
		by->hold = old->hold;
	/* its text is not needed any more; its line and place are */
	object_free(old->object);
	old->object = NULL;
}

/* Step 3 begins: the task queues for its document. */
static void queue_task(struct pipeline *p, struct task *t)
{
	struct doc *d = t->doc;

	t->phase = TASK_TURN;
	if (d->next != NULL) {
		supersede(d->next, t);
		d->next = t;
	} else if (d->active != NULL && d->active->phase != TASK_LANE) {
		supersede(d->active, t);
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
static void late_turn(struct pipeline *p)
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
			mark_del(p, d);
		if (d->active != NULL && d->active->phase == TASK_LATE)
			start_task(p, d->active);
		else
			doc_put(p, d);
	}
}

static int64_t late_due(const struct pipeline *p)
{
	int64_t due = CLOCK_NEVER;

	for (const struct doc *d = p->late; d != NULL; d = d->late_next)
		if (d->late_until < due)
			due = d->late_until;
	return due;
}

/* ---- taking lines: steps 1 and 2 ---- */

static struct work *work_new(struct pipeline *p, struct change *c, const struct content *k,
			     struct place_in_run at, uint64_t number)
{
	struct work *w = xcalloc(1, sizeof *w);

	w->at = at;
	w->number = number;
	w->op = c->op;
	w->repo = c->repo != NULL ? c->repo : xstrdup("");
	w->path = c->path;
	w->old_path = c->old_path;
	c->repo = c->path = c->old_path = NULL;
	w->start_ms = clock_ms();
	w->uncommitted = c->uncommitted;
	if (k != NULL) {
		w->folder = xstrdup(k->folder);
		w->root = xstrdup(k->folder != NULL ? k->root : NULL);
	}
	w->default_repo = xstrdup(p->change_options.repo);
	w->namespace = xstrdup(p->change_options.namespace);
	w->format = (uint8_t)(p->change_options.format | (p->change_options.nul_terminated ? 0x80 : 0));
	return w;
}

static void keep_payload(struct work *w, const char *line, size_t n)
{
	if (n == 0 || n > PAYLOAD_MAX || w->payload != NULL)
		return;
	w->payload = xmemdup0(line, n);
	w->payload_len = n;
}

static struct task *add_half(struct work *w, enum lane_kind kind, uint8_t half)
{
	struct task *t = &w->half[w->halves++];

	t->work = w;
	t->kind = kind;
	t->half = half;
	t->hold = w->at.ord;
	w->open++;
	return t;
}

/* A line that is settled without a document: bad, or skipped by itself. */
static void settle_alone(struct pipeline *p, struct work *w, enum status status, enum reason reason,
			 bool repo_known)
{
	struct task *t = add_half(w, LANE_UPSERT, HALF_NEW);

	t->status = status;
	t->reason = reason;
	t->phase = TASK_SETTLED;
	work_enter(p, w);
	if (status == STATUS_FAILED)
		put_failure(p, w, NULL, repo_known);
	w->open = 0;
	settle_work(p, w);
}

/* A failed line whose document is known: earlier lines of it come first, and a failure takes the
 * place of an older one, but leaves what the store holds. */
static void settle_failed_doc(struct pipeline *p, struct work *w)
{
	struct task *t = &w->half[0];

	t->doc = doc_get(p, w->repo, w->path);
	work_enter(p, w);
	t->phase = TASK_SETTLED;
	if (w->resumed && state_later(p->state, t->doc->known.last, w->at)) {
		t->status = STATUS_SUPERSEDED;
	} else {
		t->status = STATUS_FAILED;
		put_failure(p, w, t, true);
	}
	doc_put(p, t->doc);
	t->doc = NULL;
	w->open = 0;
	settle_work(p, w);
}

static void take_bad(struct pipeline *p, struct work *w, enum error_code error, char **message,
		     bool repo_known)
{
	w->half[0].error = error;
	w->half[0].message = *message;
	*message = NULL;
	if (error == ERR_NO_SUCH_FILE)
		p->no_file_seen++;
	if (repo_known && w->path != NULL && w->path[0] != '\0' && error_retryable(error) &&
	    error != ERR_IS_A_DIRECTORY) {
		add_half(w, LANE_UPSERT, HALF_NEW);
		settle_failed_doc(p, w);
	} else {
		settle_alone(p, w, STATUS_FAILED, REASON_NONE, repo_known);
	}
}

static bool newer_than_listed(const struct pipeline *p, const struct work *w, const struct content *k)
{
	struct run_state r;
	int64_t start_s;

	if (!k->from_file)
		return false;
	if (!w->retried && p->run_start_ns != 0)
		return k->ctime_ns > p->run_start_ns;
	if (!w->retried || state_run_get(p->state, w->at.run, &r) != 0)
		return k->ctime_ns / 1000000000 > p->run->start_s;
	start_s = r.start_s;
	run_release(&r);
	return k->ctime_ns / 1000000000 > start_s;
}

static void add_upsert(struct pipeline *p, struct work *w, struct change *c, struct content *k)
{
	struct task *t = add_half(w, LANE_UPSERT, HALF_NEW);

	/* the names that work_new took over are lent back: they are part of what is stored */
	c->repo = w->repo;
	c->path = w->path;
	object_digest(t->digest, c, k, p->settings);
	t->object = object_new(p->parts.store->collection, c, k, t->digest, p->synced_at);
	c->repo = c->path = NULL;
	memcpy(w->id, t->object->id, sizeof w->id);
	w->size += t->object->text_len + p->parts.dimension * sizeof(float);
}

static void add_delete(struct pipeline *p, struct work *w, uint8_t half, enum reason skip)
{
	struct task *t = add_half(w, LANE_DELETE, half);

	t->skip = skip;
	if (half == HALF_NEW)
		object_id(w->id, p->parts.store->collection, w->repo, w->path, 0);
}

static void set_embedder(struct pipeline *p, char *embedder)
{
	free(p->embedder);
	free(p->settings);
	p->embedder = embedder;
	p->settings = xasprintf("%s chunks:off", embedder);
}

/* The first object decides, where neither the user nor the collection has: the vector that it brings,
 * or the embedder's default. */
static void decide_dimension(struct pipeline *p, const struct change *c)
{
	struct head *h = state_head(p->state);

	if (h->dimension != 0)
		return;
	if (c->vector != NULL && p->o->embed == NULL && p->parts.store->dimension == 0) {
		p->parts.dimension = c->nvector;
		set_embedder(p, xasprintf("hash:%zu", c->nvector));
	}
	free(h->embedder);
	h->embedder = xstrdup(p->embedder);
	h->dimension = (uint32_t)p->parts.dimension;
	log_info("collection '%s': vectors of %zu numbers, embedder %s", p->parts.store->collection,
		 p->parts.dimension, p->embedder);
}

static bool wrong_vector(const struct pipeline *p, const struct change *c, char **why)
{
	if (c->vector == NULL || c->nvector == p->parts.dimension)
		return false;
	*why = xasprintf("the vector has %zu numbers, the collection's have %zu", c->nvector,
			 p->parts.dimension);
	return true;
}

/* A change of a document, read and resolved: makes its halves and queues them.  halves: which of a
 * rename's are to be done (a retry has only the failed one). */
static void take_document(struct pipeline *p, struct work *w, struct change *c, struct content *k,
			  bool keep_old, int halves)
{
	char *why = NULL;

	if (k->got == CONTENT_FAIL || c->content_error) {
		take_bad(p, w, k->got == CONTENT_FAIL ? k->error : ERR_CONTENT,
			 k->got == CONTENT_FAIL ? &k->message : &c->error_text, true);
		return;
	}
	if (k->got == CONTENT_OK && w->op != OP_DELETE)
		decide_dimension(p, c);
	if (k->got == CONTENT_OK && w->op != OP_DELETE && wrong_vector(p, c, &why)) {
		take_bad(p, w, ERR_BAD_VECTOR, &why, true);
		return;
	}
	if (k->got == CONTENT_SKIP && !k->deletes) {
		settle_alone(p, w, STATUS_SKIPPED, k->reason, true);
		return;
	}
	w->uncommitted |= newer_than_listed(p, w, k);
	if ((halves & HALF_NEW) && w->op == OP_DELETE)
		add_delete(p, w, HALF_NEW, REASON_NONE);
	else if ((halves & HALF_NEW) && k->got == CONTENT_SKIP)
		add_delete(p, w, HALF_NEW, k->reason);
	else if (halves & HALF_NEW)
		add_upsert(p, w, c, k);
	if (w->op == OP_RENAME && (halves & HALF_OLD) && !keep_old)
		add_delete(p, w, HALF_OLD, REASON_NONE);
	if (w->halves == 0) {
		settle_alone(p, w, STATUS_COMPLETED, REASON_NONE, true);
		return;
	}
	work_enter(p, w);
	for (int i = 0; i < w->halves; i++) {
		struct task *t = &w->half[i];

		t->doc = doc_get(p, w->repo, t->half == HALF_OLD ? w->old_path : w->path);
	}
	/* both are known before the first may settle and free the line */
	for (int i = 0, n = w->halves; i < n; i++)
		queue_task(p, &w->half[i]);
}

static void take_record(struct pipeline *p, struct change *c, const struct line *line, bool again,
			enum status before)
{
	struct group *g = group_get(p, c->repo);
	struct pending_record *r = xcalloc(1, sizeof *r), **at = &g->records;

	r->at = (struct place_in_run){ p->run->number, p->ord };
	r->number = line->number;
	r->commit = c->commit;
	r->since = c->since;
	r->changeset = c->changeset;
	c->commit = c->since = c->changeset = NULL;
	r->complete = c->complete;
	r->again = again;
	r->before = before;
	while (*at != NULL)
		at = &(*at)->next;
	*at = r;
	g->nrecords++;
	g->look = true;
	g->lines_open = false;
}

static void take_not_a_change(struct pipeline *p, const struct line *line, enum reason reason)
{
	struct result r = { .run = p->run->id, .line = line->number, .status = STATUS_SKIPPED,
		.reason = reason };

	if (!p->matching)	/* an earlier invocation of this run has counted it */
		count_line(p, STATUS_NONE, STATUS_SKIPPED, reason, OP_NONE);
	fresh_result(p, &r, true);
}

static void set_ord(struct pipeline *p)
{
	p->ord++;
	p->changes_seen++;
}

/* The first line that is not the recorded one: what follows it in the old run is given up. */
static void branch(struct pipeline *p, uint32_t cut, uint64_t number)
{
	p->matching = false;
	if (cut == 1)
		log_note("run %s did not finish and this input does not begin like its own; it stays "
			 "interrupted and a new run begins", p->run->id);
	else
		log_note("line %llu is not what run %s had read there; that run stays interrupted and a new "
			 "one goes on from here", (unsigned long long)number, p->run->id);
	p->run = state_run_branch(p->state, cut);
}

/* A line that an earlier invocation of this run has finished, and that carries everything itself. */
static bool take_finished(struct pipeline *p, const struct line *line, const struct line_state *l)
{
	struct result r = { .run = p->run->id, .line = line->number, .status = l->status,
		.reason = l->reason, .resumed = true };

	if (!l->own || (l->status != STATUS_COMPLETED && l->status != STATUS_SKIPPED &&
			l->status != STATUS_SUPERSEDED))
		return false;
	p->ord++;
	p->changes_seen++;
	fresh_result(p, &r, true);
	return true;
}

static bool is_blank(const struct line *line)
{
	for (size_t i = 0; i < line->n; i++)
		if (line->data[i] != ' ' && line->data[i] != '\t')
			return false;
	return !line->too_long;
}

static void parse(struct pipeline *p, struct change *c, const struct line *line, bool *needs_file)
{
	*needs_file = false;
	if (!line->too_long) {
		change_parse(c, line->data, line->n, line->unterminated, needs_file, &p->change_options);
		return;
	}
	memset(c, 0, sizeof *c);
	c->kind = CHANGE_BAD;
	c->error = ERR_LINE_TOO_LONG;
	c->message = xasprintf("the line has more than %llu bytes; raise --max-line",
			       (unsigned long long)p->o->max_line);
}

/* A line that asks for something, or is bad: it gets a place in the run. */
static void take_change(struct pipeline *p, const struct line *line, struct change *c, bool needs_file)
{
	struct content k = { 0 };
	struct line_state old = { 0 };
	bool keep_old = false, again = false;
	struct work *w;

	set_ord(p);
	if (p->matching) {
		again = p->ord <= p->recorded && state_line_get(p->state, p->ord, &old) &&
			old.digest == line->digest;
		if (!again && p->ord <= p->recorded)
			branch(p, p->ord, line->number);
		else if (!again)
			p->matching = false;	/* past what was recorded: the run goes on */
	}
	if (c->kind == CHANGE_DOCUMENT)
		content_load(&k, c, p->parts.roots, needs_file, &keep_old);
	if (!again)
		state_line_read(p->state, p->ord, line->digest, change_carries_all(c) && !k.from_file);
	if (c->kind == CHANGE_CHANGESET) {
		take_record(p, c, line, again, old.status);
	} else {
		bool repo_known = c->kind != CHANGE_BAD || c->repo_known;

		w = work_new(p, c, &k, (struct place_in_run){ p->run->number, p->ord }, line->number);
		w->resumed = w->again = again;
		w->again = again && old.status != STATUS_NONE;
		w->before = again ? old.status : STATUS_NONE;
		keep_payload(w, line->data, line->too_long ? 0 : line->n);
		if (repo_known)
			group_get(p, w->repo)->lines_open = true;
		if (c->kind == CHANGE_BAD)
			take_bad(p, w, c->error, &c->message, repo_known);
		else if (c->kind == CHANGE_SKIP)
			settle_alone(p, w, STATUS_SKIPPED, c->reason, true);
		else
			take_document(p, w, c, &k, keep_old, HALF_NEW | HALF_OLD);
	}
	content_release(&k);
}

static void take_line(struct pipeline *p, const struct line *line)
{
	struct change c;
	struct line_state l;
	bool needs_file;

	state_run(p->state)->input_bytes = input_bytes(p->parts.input);
	if (is_blank(line))
		return;
	if (p->matching && p->ord < p->recorded && state_line_get(p->state, p->ord + 1, &l) &&
	    l.digest == line->digest && take_finished(p, line, &l))
		return;
	parse(p, &c, line, &needs_file);
	if (c.kind == CHANGE_SKIP && c.reason == REASON_NOT_A_CHANGE)
		take_not_a_change(p, line, c.reason);
	else
		take_change(p, line, &c, needs_file);
	change_release(&c);
	if (p->no_file_seen == HOPELESS_LINES && p->changes_seen == HOPELESS_LINES && p->stop_status == 0) {
		log_err("none of the first %d changes has a file below '%s'; is --root right?",
			HOPELESS_LINES, roots_path(p->parts.roots));
		p->stop_status = 78;
	}
}

/* ---- retries of earlier runs' failures ---- */

static void take_retry(struct pipeline *p, const struct failure *f, const struct buf *payload)
{
	struct change_options mine = p->change_options;
	struct change c;
	struct content k = { 0 };
	bool needs_file = false, keep_old = false;
	struct work *w;

	p->change_options.format = (enum input_format)(f->format & 0x7f);
	p->change_options.nul_terminated = f->format & 0x80;
	p->change_options.repo = f->default_repo[0] ? f->default_repo : NULL;
	p->change_options.namespace = f->namespace[0] ? f->namespace : NULL;
	change_parse(&c, payload->data, payload->len, false, &needs_file, &p->change_options);
	if (c.kind == CHANGE_DOCUMENT) {
		if (f->root[0] != '\0')
			roots_preset(p->parts.roots, f->root, c.repo, f->folder);
		content_load(&k, &c, p->parts.roots, needs_file, &keep_old);
		w = work_new(p, &c, &k, f->line, f->number);
		w->retried = true;
		w->retries_before = f->retries;
		keep_payload(w, payload->data, payload->len);
		take_document(p, w, &c, &k, keep_old, f->op == OP_RENAME ? f->half : HALF_NEW | HALF_OLD);
	}
	p->change_options = mine;
	change_release(&c);
	content_release(&k);
}

/* Offers the next failure that may be tried again.  False when there is none left. */
static bool retry_next(struct pipeline *p)
{
	struct failure f = { 0 };
	auto_buf struct buf payload = BUF_INIT;
	bool offered = false;

	while (!offered && state_failure_next(p->state, &p->retry, &f)) {
		if (f.line.run >= p->run->number) {
			failure_release(&f);
			return false;
		}
		if (!p->retry.repo_known || f.path[0] == '\0' || f.retries >= p->o->max_rounds ||
		    !error_retryable((enum error_code)f.code) || state_own_ord(p->state, f.line) != 0 ||
		    !state_failure_payload(p->state, f.line, &payload))
			continue;
		take_retry(p, &f, &payload);
		offered = true;
	}
	failure_release(&f);
	return offered;
}

/* ---- changeset records ---- */

static bool works_before(const struct group *g, struct place_in_run at, struct state *s)
{
	for (const struct work *w = g->works; w != NULL; w = w->next) {
		for (int i = 0; i < w->halves; i++) {
			struct place_in_run hold = { w->at.run, w->half[i].hold };

			if (w->half[i].phase != TASK_SETTLED && state_later(s, at, hold))
				return true;
		}
		if (w->open > 0 && state_later(s, at, w->at))
			return true;
	}
	return false;
}

static void record_fields(const struct group *g, const struct pending_record *pr, struct record *r)
{
	*r = (struct record){ .repo = g->repo, .at = pr->at, .number = pr->number, .commit = pr->commit,
		.since = pr->since, .changeset = pr->changeset };
}

static void decide_record(struct pipeline *p, struct group *g, enum status status, enum held_why why,
			  uint64_t waiting)
{
	struct pending_record *pr = g->records;
	struct record rec;
	struct result r = { .run = p->run->id, .line = pr->number, .repo = g->repo, .op = OP_CHANGESET,
		.status = status, .changeset = pr->commit, .waiting = waiting };

	record_fields(g, pr, &rec);
	if (status == STATUS_COMPLETED) {
		changeset_advance(p->state, &rec);
	} else {
		changeset_hold(p->state, &rec, why, waiting);
		r.held_why = held_name(why);
	}
	changeset_close_block(p->state, g->repo, pr->at, status == STATUS_COMPLETED || why == HELD_LINES);
	state_line_set(p->state, pr->at.ord, status, REASON_NONE);
	count_line(p, pr->again ? pr->before : STATUS_NONE, status, REASON_NONE, OP_CHANGESET);
	fresh_result(p, &r, true);
	g->records = pr->next;
	g->nrecords--;
	free(pr->commit);
	free(pr->since);
	free(pr->changeset);
	free(pr);
}

static bool sweep_needed(struct pipeline *p, struct group *g, uint64_t *waiting, bool *too_many);

/* Judges a repository's records in order, as far as they can be.  last: the input is read and all is
 * settled, so what cannot advance is held. */
static void judge_group(struct pipeline *p, struct group *g, bool last)
{
	while (g->records != NULL && p->sweeping != g->records) {
		struct record r;
		uint64_t waiting;
		enum record_verdict v;
		bool too_many = false;

		if (works_before(g, g->records->at, p->state))
			return;
		record_fields(g, g->records, &r);
		if (g->records->complete && !g->records->swept && sweep_needed(p, g, &waiting, &too_many))
			return;
		v = too_many ? RECORD_HELD : changeset_judge(p->state, &r, &waiting);
		if (too_many)
			decide_record(p, g, STATUS_HELD, HELD_TOO_MANY_DELETES, waiting);
		else if (v == RECORD_ADVANCE)
			decide_record(p, g, STATUS_COMPLETED, HELD_LINES, 0);
		else if (v == RECORD_NOT_FROM_HERE)
			decide_record(p, g, STATUS_HELD, HELD_NOT_FROM_HERE, 0);
		else if (last || g->nrecords > RECORDS_MAX)
			decide_record(p, g, STATUS_HELD, HELD_LINES, waiting);
		else
			return;
	}
}

/* A record that an earlier run left held may be free now. */
static void release_held(struct pipeline *p, struct group *g)
{
	struct repo_state *rs = state_repo(p->state, g->repo);
	struct run_state older;
	struct result r = { .repo = g->repo, .op = OP_CHANGESET, .status = STATUS_COMPLETED,
		.line = rs->held_number, .retried = true };
	uint32_t run = rs->held.run;

	if (rs->held_commit[0] == '\0' || state_own_ord(p->state, rs->held) != 0 ||
	    !changeset_release(p->state, g->repo))
		return;
	rs = state_repo(p->state, g->repo);
	r.changeset = rs->commit;
	if (state_run_get(p->state, run, &older) == 0) {
		r.run = older.id;
		fresh_result(p, &r, true);
	}
	run_release(&older);
}

/* ---- complete: true ---- */

static bool to_sweep(struct pipeline *p, const struct record *r, const char *path,
		     const struct doc_state *known, bool doubtful)
{
	const struct doc *d = doc_find(p, r->repo, path);

	if (!(known->flags & DOC_PRESENT) && !doubtful)
		return false;
	if (known->last.run != 0 && (changeset_names(p->state, r, known->last) ||
				     state_own_ord(p->state, known->last) > r->at.ord))
		return false;
	return d == NULL || (d->active == NULL && d->next == NULL);
}

/* The next document of the repository, in order, that the records' lines do not list.  Documents come
 * first, then marks of documents that the state knows only by them. */
static bool sweep_next(struct pipeline *p, const struct record *r, struct walk *at, bool *in_marks)
{
	struct doc_state known;
	struct mark m;

	while (!*in_marks && state_walk(p->state, 'd', r->repo, at)) {
		bool doubtful;

		if (doc_decode(&known, (const uint8_t *)at->value.data, at->value.len) != 0)
			continue;
		doubtful = state_mark_get(p->state, r->repo, at->path, &m) && (m.flags & MARK_DOUBT);
		if (to_sweep(p, r, at->path, &known, doubtful))
			return true;
	}
	if (!*in_marks) {
		walk_release(at);
		*in_marks = true;
	}
	while (state_walk(p->state, 'm', r->repo, at)) {
		if (mark_decode(&m, (const uint8_t *)at->value.data, at->value.len) == 0 &&
		    (m.flags & MARK_DOUBT) && !state_doc_get(p->state, r->repo, at->path, &known) &&
		    to_sweep(p, r, at->path, &known, true))
			return true;
	}
	return false;
}

/* Failures in this very input stop the sweep: what they name may be there after all. */
static bool own_failures(struct pipeline *p, const struct group *g)
{
	struct failure_walk at = { 0 };
	struct failure f = { 0 };
	bool found = false;

	while (!found && state_failure_next(p->state, &at, &f))
		found = state_own_ord(p->state, f.line) != 0 &&
			(!at.repo_known || strcmp(f.repo, g->repo) == 0);
	failure_release(&f);
	failure_walk_release(&at);
	return found;
}

static bool sweep_needed(struct pipeline *p, struct group *g, uint64_t *waiting, bool *too_many)
{
	struct walk at = { 0 };
	struct record r;
	uint64_t n = 0, most = state_repo(p->state, g->repo)->present / 2;
	bool in_marks = false;

	record_fields(g, g->records, &r);
	if (own_failures(p, g))
		return false;
	while (sweep_next(p, &r, &at, &in_marks))
		n++;
	walk_release(&at);
	if (p->o->max_delete_given)
		most = p->o->max_delete;
	*waiting = n;
	*too_many = n > most;
	if (*too_many)
		log_warn("'%s' would lose %llu documents that its complete listing does not name; allow it "
			 "with --max-delete %llu", g->repo, (unsigned long long)n, (unsigned long long)n);
	if (n == 0 || *too_many || p->sweeping != NULL)
		return n != 0 && !*too_many;
	p->sweeping = g->records;
	p->sweep_group = g;
	return true;
}

/* Failures of documents that a complete listing does not name are settled by it. */
static void supersede_unlisted(struct pipeline *p, const struct record *r)
{
	struct failure_walk at = { 0 };
	struct failure f = { 0 };

	while (state_failure_next(p->state, &at, &f))
		if (at.repo_known && f.path[0] != '\0' && strcmp(f.repo, r->repo) == 0 &&
		    state_own_ord(p->state, f.line) == 0)
			state_failure_del_at(p->state, &at);
	failure_walk_release(&at);
}

/* Deletes one more document of the sweep; at its end its record can be judged. */
static void sweep_turn(struct pipeline *p)
{
	struct record r;
	struct work *w;
	struct change c = { .op = OP_DELETE };

	record_fields(p->sweep_group, p->sweeping, &r);
	if (sweep_next(p, &r, &p->sweep, &p->sweep_in_marks)) {
		c.repo = xstrdup(r.repo);
		c.path = xstrdup(p->sweep.path);
		w = work_new(p, &c, NULL, r.at, r.number);
		w->internal = true;
		add_delete(p, w, HALF_NEW, REASON_NONE);
		w->half[0].hold = 0;
		work_enter(p, w);
		w->half[0].doc = doc_get(p, w->repo, w->path);
		queue_task(p, &w->half[0]);
		return;
	}
	walk_release(&p->sweep);
	supersede_unlisted(p, &r);
	p->sweeping->swept = true;
	p->sweeping = NULL;
	p->sweep_in_marks = false;
	for (int i = 0; i < GROUP_SLOTS; i++)	/* another one's sweep may wait for this to end */
		for (struct group *g = p->groups[i]; g != NULL; g = g->chain)
			g->look = true;
}

static void judge_all(struct pipeline *p, bool last)
{
	for (int i = 0; i < GROUP_SLOTS; i++)
		for (struct group **at = &p->groups[i], *g; (g = *at) != NULL;) {
			if (g->release)
				release_held(p, g);
			g->release = false;
			if (g->look || last)
				judge_group(p, g, last);
			g->look = false;
			at = &g->chain;
		}
}

/* ---- commit and print: steps 4, 7 and 8 ---- */

static void mark_batch(struct pipeline *p, struct batch *b)
{
	int64_t now = clock_unix_s();

	for (struct lane_item *i = batch_items(b); i != NULL; i = i->next) {
		struct task *t = i->owner;
		struct doc *d = t->doc;
		struct mark *m = &d->mark;
		uint32_t most = most_chunks(d);

		if (i->sent > 0)
			continue;	/* marked before its first attempt */
		if (!d->has_mark)
			m->flags = 0;
		m->flags = (uint8_t)((m->flags & MARK_DOUBT) | (t->kind == LANE_DELETE ? MARK_DELETE : 0));
		memcpy(m->digest, t->digest, SYNC_DIGEST_SIZE);
		m->count = t->kind == LANE_UPSERT ? 1 : 0;
		m->chunks = most > m->count ? most : m->count;
		m->line = t->work->at;
		m->since_s = now;
		m->uncommitted = t->work->uncommitted;
		mark_put(p, d);
	}
}

static void figures_to_run(struct pipeline *p)
{
	const struct lane_figures *f = lane_figures(p->lane), *told = &p->told;
	struct run_state *run = state_run(p->state);

	run->objects += f->objects - told->objects;
	run->deletes += f->deletes - told->deletes;
	run->bytes += f->bytes - told->bytes;
	run->requests += f->requests - told->requests;
	p->told = *f;
}

static void commit(struct pipeline *p)
{
	figures_to_run(p);
	state_commit(p->state);
	p->run = state_run(p->state);
	output_add(p->parts.output, p->fresh.data, p->fresh.len);
	buf_reset(&p->fresh);
	p->riders = 0;
	p->verdicts = false;
	for (struct work *w = p->settled, *next; w != NULL; w = next) {
		next = w->done_next;
		work_free(w);
	}
	p->settled = NULL;
}

static bool rider_commit_due(const struct pipeline *p)
{
	return p->riders >= RIDERS_MAX || state_dirty(p->state) >= DIRTY_MAX ||
	       (p->riders > 0 && clock_ms() - p->oldest_fresh >= (int64_t)p->o->flush_ms) ||
	       p->fresh.len >= OUTPUT_LIMIT;
}

/* Steps 4, 5, 7 and 8 for what is ready now.  no_more: nothing new may be sent. */
static void settle_and_send(struct pipeline *p, bool no_more)
{
	struct batch *batches[64];
	int n = 0;

	while (!no_more && n < 64 && (batches[n] = lane_next(p->lane)) != NULL)
		mark_batch(p, batches[n++]);
	if (n > 0 || p->verdicts || rider_commit_due(p))
		commit(p);
	for (int i = 0; i < n; i++)
		lane_send(p->lane, batches[i]);
}

/* ---- the loop ---- */

static bool room(const struct pipeline *p)
{
	return p->window_bytes < p->max_bytes && p->window_works < p->max_works &&
	       !output_full(p->parts.output) && !lane_away(p->lane);
}

static bool all_taken(const struct pipeline *p)
{
	return p->eof && p->retries_done && p->sweeping == NULL;
}

/* Takes what may be taken without waiting.  Returns true if input would have to be waited for. */
static bool take_some(struct pipeline *p)
{
	for (int n = 0; n < 1000 && p->stop_status == 0 && room(p); n++) {
		struct line line;

		if (p->sweeping != NULL) {
			sweep_turn(p);
			continue;
		}
		if (!p->retries_done) {
			p->retries_done = p->o->no_retry || !retry_next(p);
			continue;
		}
		if (p->eof)
			return false;
		if (p->has_first) {
			p->has_first = false;
			take_line(p, &p->first);
			continue;
		}
		switch (input_next(p->parts.input, &line)) {
		case INPUT_LINE:
			take_line(p, &line);
			break;
		case INPUT_MORE:
			return true;
		case INPUT_END:
			p->eof = true;
			if (p->matching && p->ord < p->recorded)
				branch(p, p->ord + 1, p->ord + 1);
			return false;
		}
		if (rider_commit_due(p))
			commit(p);
	}
	return false;
}

static void show_progress(struct pipeline *p, bool asked)
{
	struct progress_figures f = { 0 };

	for (int i = STATUS_COMPLETED; i <= STATUS_HELD; i++)
		f.done += p->end->counts[i];
	f.failed = p->end->counts[STATUS_FAILED];
	f.in_flight = p->window_works;
	f.total_lines = p->o->total;
	f.bytes = input_bytes(p->parts.input);
	f.total_bytes = p->parts.input_size;
	if (asked)
		progress_print(&f);
	else if (progress_on() && clock_ms() >= progress_due())
		progress_draw(&f);
}

static int64_t earliest(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Sleeps until something can go on. */
static void wait_for_more(struct pipeline *p, bool want_input, int64_t limit)
{
	struct pollfd fds[3] = {
		{ .fd = want_input ? p->parts.input_fd : -1, .events = POLLIN },
		{ .fd = output_waiting(p->parts.output) > 0 ? output_fd(p->parts.output) : -1,
		  .events = POLLOUT },
		{ .fd = stop_fd(), .events = POLLIN },
	};
	int64_t due = earliest(earliest(lane_due(p->lane), late_due(p)), earliest(progress_due(), limit));

	if (p->riders > 0)
		due = earliest(due, p->oldest_fresh + (int64_t)p->o->flush_ms);
	http_wait(p->parts.http, fds, 3, due);
	if (fds[0].revents != 0 && input_read(p->parts.input) < 0 && p->stop_status == 0) {
		log_err("cannot read the input: %s", strerror(errno));
		p->stop_status = 66;
	}
	if (fds[1].revents != 0 && output_write(p->parts.output) != 0) {
		if (errno != EPIPE)
			log_err("cannot write results: %s", strerror(errno));
		p->stop_status = errno == EPIPE ? -1 : 74;
	}
	if (fds[2].revents != 0) {
		stop_take();
		if (stop_usr1())
			show_progress(p, true);
	}
}

static bool must_stop(struct pipeline *p)
{
	if (stop_signal() != 0)
		return true;
	if (p->stop_status == 0)
		p->stop_status = lane_stop(p->lane);
	if (p->stop_status == 0 && p->failed > p->o->max_failures) {
		log_err("more than %llu lines failed (--max-failures)",
			(unsigned long long)p->o->max_failures);
		p->stop_status = 1;
	}
	return p->stop_status != 0;
}

static void run_loop(struct pipeline *p)
{
	while (!must_stop(p)) {
		bool want_input = take_some(p), more;

		lane_turn(p->lane);
		late_turn(p);
		judge_all(p, false);
		if (lane_starved(p->lane) && (all_taken(p) || !room(p)))
			lane_flush(p->lane);	/* nothing more will fill what is open */
		settle_and_send(p, output_full(p->parts.output));
		show_progress(p, false);
		if (all_taken(p) && p->window_works == 0)
			return;
		more = !want_input && room(p) && !all_taken(p);
		wait_for_more(p, want_input && room(p), more ? 0 : CLOCK_NEVER);
	}
}

/* ---- documents that the input did not name: read back at its end ---- */

static bool reads_as(const struct ask *a, const char *hex, uint32_t count)
{
	if (a->nfound != count)
		return false;
	for (size_t i = 0; i < a->nfound; i++)
		if (a->found[i].chunk >= count || strcmp(a->found[i].digest, hex) != 0)
			return false;
	return true;
}

/* Asks the store for every object that the document may have.  False if the answer is not clear. */
static bool fetch_doc(struct pipeline *p, struct doc *d, struct ask *a)
{
	uint32_t n = most_chunks(d) + 1;
	char (*ids)[37] = xcalloc(n, sizeof *ids);
	struct ask_object *objects = xcalloc(n, sizeof *objects);
	int got;

	*a = (struct ask){ .kind = ASK_FETCH, .objects = objects, .n = n };
	for (uint32_t c = 0; c < n; c++) {
		object_id(ids[c], p->parts.store->collection, d->repo, d->path, c);
		objects[c].id = ids[c];
	}
	got = ask_once(p->parts.store, p->parts.http, a, stop_fd());
	a->objects = NULL;
	free(ids);
	free(objects);
	return got == 0 && a->verdict.scope == VERDICT_OK;
}

static void read_back_doc(struct pipeline *p, struct doc *d)
{
	struct doc_state *k = &d->known;
	struct ask a;
	char sent[2 * SYNC_DIGEST_SIZE + 1], before[2 * SYNC_DIGEST_SIZE + 1];
	bool is_sent, is_before;

	if (!fetch_doc(p, d, &a)) {
		ask_release(&a);
		return;
	}
	hex_encode(sent, d->mark.digest, SYNC_DIGEST_SIZE);
	hex_encode(before, k->digest, SYNC_DIGEST_SIZE);
	is_sent = reads_as(&a, sent, d->mark.count);
	is_before = (k->flags & DOC_KNOWN) ? reads_as(&a, before, k->chunks) :
		    (k->flags & DOC_ABSENT) ? a.nfound == 0 : false;
	ask_release(&a);
	if (!is_sent && !is_before)
		return;
	if (is_sent) {
		k->flags = d->mark.count > 0 ? DOC_PRESENT | DOC_KNOWN : DOC_ABSENT;
		memcpy(k->digest, d->mark.digest, SYNC_DIGEST_SIZE);
		k->chunks = d->mark.count;
	}
	/* no record has closed what this was: the next one must name it */
	k->flags |= DOC_LOOSE | (d->mark.uncommitted ? DOC_UNCOMMITTED : 0);
	k->last = d->mark.line;
	state_doc_put(p->state, d->repo, d->path, k);
	settle_mark(p, d);
}

static bool has_failure(struct pipeline *p, const struct doc *d)
{
	struct failure f;
	bool yes = state_failure_get(p->state, d->repo, d->path, &f);

	failure_release(&f);
	return yes;
}

/* Marks that stand at the end: those over and settled go, those in doubt are read back. */
static void read_back(struct pipeline *p)
{
	struct walk at = { 0 };

	if (state_head(p->state)->marks == 0)
		return;
	while (!must_stop(p) && state_walk(p->state, 'm', NULL, &at)) {
		struct doc *d = doc_get(p, at.repo, at.path);

		if (d->has_mark && (d->mark.flags & MARK_DOUBT) &&
		    !has_failure(p, d)) {
			while (clock_ms() < d->late_until && !must_stop(p))
				wait_for_more(p, false, d->late_until);
			if (!must_stop(p))
				read_back_doc(p, d);
		} else if (d->has_mark && (d->mark.flags & MARK_SETTLED) && d->late_until <= clock_ms()) {
			mark_del(p, d);
		}
		doc_put(p, d);
		if (rider_commit_due(p))
			commit(p);
	}
	walk_release(&at);
}

/* ---- begin and end ---- */

/* Requests that were under way when the last process ended: their documents are in doubt. */
static void doubt_marks(struct pipeline *p)
{
	struct walk at = { 0 };
	struct mark m;

	if (state_head(p->state)->marks == 0)
		return;
	while (state_walk(p->state, 'm', NULL, &at)) {
		if (mark_decode(&m, (const uint8_t *)at.value.data, at.value.len) != 0 ||
		    (m.flags & (MARK_SETTLED | MARK_DOUBT)))
			continue;
		m.flags |= MARK_DOUBT;
		state_mark_put(p->state, at.repo, at.path, &m);
		if (state_dirty(p->state) > DIRTY_MAX)
			state_commit(p->state);
	}
	walk_release(&at);
}

static char *reading_settings(const struct pipeline *p)
{
	const struct options *o = p->o;
	auto_buf struct buf b = BUF_INIT;

	buf_addf(&b, "format=%d%s repo=%s namespace=%s root=%s max-content=%llu force=%d", o->format,
		 o->nul ? "z" : "", o->repo ? o->repo : "", o->namespace ? o->namespace : "",
		 roots_path(p->parts.roots), (unsigned long long)o->max_content, o->force);
	for (int i = 0; o->exclude != NULL && o->exclude[i] != NULL; i++)
		buf_addf(&b, " exclude=%s", o->exclude[i]);
	return buf_detach(&b);
}

/* Whether the last run can go on, as far as its first line does not say otherwise: it did not finish,
 * and was read the same way. */
static bool resumable(struct pipeline *p, const char *settings, uint32_t *number)
{
	struct run_state last;
	bool yes = false;

	*number = state_head(p->state)->next_run - 1;
	if (*number == 0 || state_run_get(p->state, *number, &last) != 0)
		return false;
	if (last.status == RUN_RUNNING || last.status == RUN_INTERRUPTED)
		yes = last.lines > 0 && !p->o->new_run && strcmp(last.settings, settings) == 0;
	if (!yes && last.status == RUN_RUNNING) {
		last.status = RUN_INTERRUPTED;
		last.end_s = last.update_s;
		state_run_put(p->state, &last);
	}
	run_release(&last);
	return yes;
}

/* Waits for the first line that asks for something and keeps it for take_some(): if it is not the
 * first of the run that goes on, that run is given up before anything is tried again. */
static void look_at_first_line(struct pipeline *p)
{
	struct change c;
	struct line_state l;
	bool needs_file, message;

	while (!must_stop(p)) {
		switch (input_next(p->parts.input, &p->first)) {
		case INPUT_MORE:
			wait_for_more(p, true, CLOCK_NEVER);
			continue;
		case INPUT_END:
			p->eof = true;
			branch(p, 1, 1);
			return;
		case INPUT_LINE:
			break;
		}
		if (is_blank(&p->first))
			continue;
		p->has_first = true;
		if (state_line_get(p->state, 1, &l) && l.digest == p->first.digest)
			return;
		parse(p, &c, &p->first, &needs_file);
		message = c.kind == CHANGE_SKIP && c.reason == REASON_NOT_A_CHANGE;
		change_release(&c);
		if (!message) {
			branch(p, 1, p->first.number);
			return;
		}
		p->has_first = false;
		take_not_a_change(p, &p->first, REASON_NOT_A_CHANGE);
	}
}

static void begin_run(struct pipeline *p)
{
	char *settings = reading_settings(p);
	uint32_t number;

	if (resumable(p, settings, &number)) {
		p->run = state_run_continue(p->state, number);
		p->matching = true;
		p->recorded = p->run->lines;
		look_at_first_line(p);
		if (p->matching)
			log_info("run %s is continued", p->run->id);
		else
			p->run_start_ns = clock_file_ns();
	} else {
		p->run = state_run_begin(p->state, p->parts.source, settings);
		p->run->input_size = p->parts.input_size;
		p->run_start_ns = clock_file_ns();
	}
	free(settings);
	doubt_marks(p);
	commit(p);
}

/* Marks of batches that never left: nothing is in doubt because of them. */
static void unmark_unsent(struct pipeline *p)
{
	for (int i = 0; i < GROUP_SLOTS; i++)
		for (struct group *g = p->groups[i]; g != NULL; g = g->chain)
			for (struct work *w = g->works; w != NULL; w = w->next)
				for (int k = 0; k < w->halves; k++) {
					struct task *t = &w->half[k];
					struct doc *d = t->doc;

					if (t->phase == TASK_LANE && d->has_mark && t->item.sent > 0 &&
					    !(d->mark.flags & (MARK_DOUBT | MARK_SETTLED)) &&
					    !t->item.unclear && t->item.verdict.kept_nothing)
						mark_del(p, d);
				}
}

static void finish_in_flight(struct pipeline *p)
{
	int64_t until = clock_ms() + (int64_t)p->o->grace_ms;

	if (lane_busy(p->lane))
		log_info("stopping: waiting for requests in flight");
	while (lane_busy(p->lane) && clock_ms() < until) {
		wait_for_more(p, false, until);
		lane_turn(p->lane);
		judge_all(p, false);
		settle_and_send(p, true);
	}
	unmark_unsent(p);
}

static void count_unclosed(struct pipeline *p)
{
	for (int i = 0; i < GROUP_SLOTS; i++)
		for (struct group *g = p->groups[i]; g != NULL; g = g->chain)
			if (g->lines_open && state_repo(p->state, g->repo)->commit[0] != '\0')
				p->end->unclosed++;
}

/* Failed lines of no known repository that hold nothing are superseded by a run that read its whole
 * input without them. */
static void drop_unknown(struct pipeline *p)
{
	struct failure_walk at = { 0 };
	struct failure f = { 0 };
	struct run_state r;

	while (state_failure_next(p->state, &at, &f)) {
		bool holds;

		if (at.repo_known || state_own_ord(p->state, f.line) != 0)
			continue;
		holds = state_run_get(p->state, f.line.run, &r) == 0 && r.unknown_holding > 0;
		run_release(&r);
		if (!holds)
			state_failure_del_at(p->state, &at);
	}
	failure_walk_release(&at);
}

static void drain_output(struct pipeline *p)
{
	int64_t until = clock_ms() + (int64_t)p->o->grace_ms;

	while (output_waiting(p->parts.output) > 0 && p->stop_status != -1 && p->stop_status != 74) {
		if (stop_signal() != 0 && clock_ms() >= until)
			return;
		wait_for_more(p, false, stop_signal() != 0 ? until : CLOCK_NEVER);
	}
}

#define KEEP_RUNS_S (7 * 86400)

static void end_run(struct pipeline *p, bool whole)
{
	bool clean = p->end->counts[STATUS_FAILED] == 0 && p->end->counts[STATUS_HELD] == 0;

	if (whole) {
		drop_unknown(p);
		count_unclosed(p);
		if (clean)
			state_runs_drop(p->state, clock_unix_s() - KEEP_RUNS_S);
	}
	state_run_end(p->state, !whole ? RUN_INTERRUPTED : clean ? RUN_COMPLETED : RUN_FAILED);
	commit(p);
	drain_output(p);
}

static void pipeline_init(struct pipeline *p, const struct pipeline_parts *parts)
{
	const struct options *o = parts->options;
	const struct driver *d = parts->store->driver;
	struct lane_options lo = {
		.batch_size = o->batch_size ? o->batch_size : d->batch_size,
		.batch_bytes = o->batch_bytes ? o->batch_bytes : d->batch_bytes,
		.connections = o->connections ? (int)o->connections : d->connections,
		.flush_ms = (int64_t)o->flush_ms,
		.retry_wait_ms = (int64_t)o->retry_wait_ms,
		.retry_max_wait_ms = (int64_t)o->retry_max_wait_ms,
		.give_up_ms = (int64_t)o->give_up_ms,
		.late_ms = o->late_ms >= 0 ? o->late_ms : (int64_t)d->late_s * 1000,
		.max_retries = (unsigned)o->max_retries,
		.rate = o->rate,
	};

	p->parts = *parts;
	p->o = o;
	p->state = parts->state;
	p->lane = lane_new(&lo, parts->store, parts->http, item_done, p);
	p->late_ms = lo.late_ms;
	p->start_ms = clock_ms();
	p->max_bytes = (size_t)(lo.connections + 1) * lo.batch_bytes;
	p->max_works = (size_t)(lo.connections + 2) * lo.batch_size + 64;
	p->change_options = (struct change_options){ o->format, o->nul, o->repo, o->namespace };
	clock_format(clock_unix_s(), p->synced_at);
	set_embedder(p, xstrdup(parts->embedder));
}

static void free_groups(struct pipeline *p)
{
	for (int i = 0; i < GROUP_SLOTS; i++)
		for (struct group *g = p->groups[i], *next; g != NULL; g = next) {
			for (struct work *w = g->works, *wn; w != NULL; w = wn) {
				wn = w->next;
				p->end->unsettled += !w->internal;
				work_free(w);
			}
			for (struct pending_record *r = g->records, *rn; r != NULL; r = rn) {
				rn = r->next;
				p->end->unsettled++;
				free(r->commit);
				free(r->since);
				free(r->changeset);
				free(r);
			}
			next = g->chain;
			free(g->repo);
			free(g);
		}
}

static void pipeline_release(struct pipeline *p)
{
	free_groups(p);
	for (int i = 0; i < DOC_SLOTS; i++)
		for (struct doc *d = p->docs[i], *next; d != NULL; d = next) {
			next = d->chain;
			free(d->repo);
			free(d->path);
			free(d);
		}
	lane_free(p->lane);
	free(p->embedder);
	free(p->settings);
	buf_release(&p->fresh);
	failure_walk_release(&p->retry);
	walk_release(&p->sweep);
}

int pipeline_run(const struct pipeline_parts *parts, struct pipeline_end *end)
{
	struct pipeline *p = xcalloc(1, sizeof *p);
	int status;

	memset(end, 0, sizeof *end);
	p->end = end;
	pipeline_init(p, parts);
	begin_run(p);
	run_loop(p);
	if (!must_stop(p))
		read_back(p);
	if (!must_stop(p))
		judge_all(p, true);
	else
		finish_in_flight(p);
	end_run(p, !must_stop(p));
	end->signal = stop_signal();
	memcpy(end->run, p->run->id, strlen(p->run->id) + 1);
	status = p->stop_status == -1 ? 141 : p->stop_status;
	if (status == 0 && (end->counts[STATUS_FAILED] > 0 || end->counts[STATUS_HELD] > 0))
		status = 1;
	pipeline_release(p);
	free(p);
	return status;
}
