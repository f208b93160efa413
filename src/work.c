#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "clock.h"
#include "json.h"
#include "work.h"

#define PAYLOAD_MAX 65536
#define DOC_SLOTS 4096
#define GROUP_SLOTS 256

struct window {
	struct state *state;
	int64_t earlier_until_ms;
	struct doc *docs[DOC_SLOTS];
	struct doc *late;		/* list by late_next */
	struct group *groups[GROUP_SLOTS];
	struct work *settled;		/* list by done_next */
	size_t bytes, works;
};

static unsigned hash_text(unsigned h, const char *s)
{
	for (; *s != '\0'; s++)
		h = (h ^ (unsigned char)*s) * 16777619u;
	return h;
}

static size_t group_slot(const char *repo)
{
	return hash_text(2166136261u, repo) % GROUP_SLOTS;
}

struct group *work_group(struct window *win, const char *repo)
{
	struct group **slot = &win->groups[group_slot(repo)];
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

struct group *work_group_next(struct window *win, const struct group *g)
{
	size_t i = g != NULL ? group_slot(g->repo) : 0;

	if (g != NULL && g->chain != NULL)
		return g->chain;
	for (i += g != NULL; i < GROUP_SLOTS; i++)
		if (win->groups[i] != NULL)
			return win->groups[i];
	return NULL;
}

static void group_free(struct group *g)
{
	watch_release(&g->holder);
	watch_release(&g->unlisted);
	watch_release(&g->held);
	free(g->prior);
	free(g->repo);
	free(g);
}

bool work_group_idle(const struct group *g)
{
	return g->works == NULL && g->ndocs == 0 && g->records == NULL && !g->look && !g->release &&
	       g->prior == NULL;
}

void work_group_put(struct window *win, struct group *g)
{
	struct group **at = &win->groups[group_slot(g->repo)];

	if (!work_group_idle(g))
		return;
	while (*at != g)
		at = &(*at)->chain;
	*at = g->chain;
	group_free(g);
}

static struct doc **doc_slot(struct window *win, const char *repo, const char *path)
{
	return &win->docs[hash_text(hash_text(2166136261u, repo) * 31, path) % DOC_SLOTS];
}

struct doc *work_doc_find(struct window *win, const char *repo, const char *path)
{
	struct doc *d = *doc_slot(win, repo, path);

	while (d != NULL && (strcmp(d->path, path) != 0 || strcmp(d->repo, repo) != 0))
		d = d->chain;
	return d;
}

void work_doc_late(struct window *win, struct doc *d)
{
	if (d->in_late)
		return;
	d->in_late = true;
	d->late_next = win->late;
	win->late = d;
}

struct doc *work_doc(struct window *win, const char *repo, const char *path)
{
	struct doc *d = work_doc_find(win, repo, path);
	struct doc **slot;

	if (d != NULL)
		return d;
	d = xcalloc(1, sizeof *d);
	d->repo = xstrdup(repo);
	d->path = xstrdup(path);
	d->group = work_group(win, repo);
	d->group->ndocs++;
	state_doc_get(win->state, repo, path, &d->known);
	d->has_mark = state_mark_get(win->state, repo, path, &d->mark);
	if (d->has_mark)	/* an earlier run's: its attempts end --late after this run began */
		d->late_until = win->earlier_until_ms;
	slot = doc_slot(win, repo, path);
	d->chain = *slot;
	*slot = d;
	return d;
}

static void doc_free(struct doc *d)
{
	free(d->repo);
	free(d->path);
	free(d);
}

void work_doc_put(struct window *win, struct doc *d)
{
	struct doc **at;

	if (d->active != NULL || d->next != NULL || d->in_late)
		return;
	at = doc_slot(win, d->repo, d->path);
	while (*at != d)
		at = &(*at)->chain;
	*at = d->chain;
	d->group->ndocs--;
	doc_free(d);
}

struct doc *work_late_over(struct window *win, int64_t now_ms)
{
	struct doc *d, *keep = NULL, *over = NULL;

	for (struct doc *next; (d = win->late) != NULL; win->late = next) {
		struct doc **list = d->late_until <= now_ms ? &over : &keep;

		d->in_late = list == &keep;
		next = d->late_next;
		d->late_next = *list;
		*list = d;
	}
	win->late = keep;
	return over;
}

int64_t work_late_due(const struct window *win)
{
	int64_t due = CLOCK_NEVER;

	for (const struct doc *d = win->late; d != NULL; d = d->late_next)
		if (d->late_until < due)
			due = d->late_until;
	return due;
}

/* ---- lines ---- */

void work_drop_pieces(struct task *t)
{
	for (uint32_t i = 0; i < t->npieces; i++) {
		object_free(t->pieces[i].object);
		free(t->pieces[i].input);
	}
	free(t->pieces);
	t->pieces = NULL;
	t->npieces = 0;
}

static void task_release(struct task *t)
{
	work_drop_pieces(t);
	free(t->deletion.item.ids);
	free(t->message);
}

void work_free(struct work *w)
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

static const struct object *only_object(const struct work *w)
{
	const struct task *t = &w->half[0];

	return t->npieces == 1 ? t->pieces[0].object : NULL;
}

void work_cut_payload(struct work *w, size_t at, size_t len)
{
	const struct object *o = only_object(w);

	/* the other half of a rename may fail when the object is gone */
	if (w->payload == NULL || w->op == OP_RENAME || o == NULL || len == 0 ||
	    !json_str_is(w->payload + at, len, o->text, o->text_len))
		return;
	w->payload_len -= len;
	memmove(w->payload + at, w->payload + at + len, w->payload_len - at);
	w->payload = xrealloc(w->payload, w->payload_len);
	w->text_at = at;
}

void work_payload(const struct work *w, struct buf *out)
{
	const struct object *o = only_object(w);

	if (w->text_at > 0 && o == NULL)	/* not expected: better none than another line */
		return;
	buf_reserve(out, w->payload_len + (w->text_at > 0 ? o->text_len + 2 : 0));
	buf_add(out, w->payload, w->text_at > 0 ? w->text_at - 1 : w->payload_len);
	if (w->text_at > 0) {
		json_str(out, o->text, o->text_len);
		buf_add(out, w->payload + w->text_at + 1, w->payload_len - w->text_at - 1);
	}
}

struct work *work_new(struct change *c, const struct work_origin *from, struct place_in_run at,
		      uint64_t number)
{
	struct work *w = xcalloc(1, sizeof *w);
	const struct change_options *o = from->options;
	const struct content *k = from->content;

	w->at = at;
	w->since_ms = clock_ms();
	w->number = number;
	w->op = c->op;
	w->repo = c->repo != NULL ? c->repo : xstrdup("");
	w->path = c->path;
	w->old_path = c->old_path;
	c->repo = c->path = c->old_path = NULL;
	w->has_offset = c->has_offset;
	w->offset = c->offset;
	w->uncommitted = c->uncommitted;
	if (k != NULL) {
		w->folder = xstrdup(k->folder);
		w->root = xstrdup(k->folder != NULL ? k->root : NULL);
	}
	w->default_repo = xstrdup(o->repo);
	w->namespace = xstrdup(o->namespace);
	w->default_uncommitted = o->uncommitted;
	w->format = (uint8_t)(o->format | (o->nul_terminated ? 0x80 : 0));
	return w;
}

void work_keep_payload(struct work *w, const char *line, size_t n)
{
	if (n == 0 || n > PAYLOAD_MAX || w->payload != NULL)
		return;
	w->payload = xmemdup0(line, n);
	w->payload_len = n;
}

struct task *work_add_half(struct work *w, enum lane_kind kind, uint8_t half)
{
	struct task *t = &w->half[w->halves++];

	t->work = w;
	t->kind = kind;
	t->half = half;
	t->phase = TASK_TURN;
	t->hold = w->at;
	w->open++;
	return t;
}

struct work *work_new_delete(const char *repo, const char *path, struct place_in_run at, uint64_t number)
{
	struct change c = { .op = OP_DELETE, .repo = xstrdup(repo), .path = xstrdup(path) };
	struct change_options none = { 0 };
	struct work_origin from = { &none, NULL };
	struct work *w = work_new(&c, &from, at, number);

	w->internal = true;
	work_add_half(w, LANE_DELETE, HALF_NEW);
	return w;
}

static void take_objects(struct work *w, struct task *t, struct offer_half *h, size_t dimension)
{
	memcpy(t->digest, h->digest, sizeof t->digest);
	memcpy(w->id, h->objects[0]->id, sizeof w->id);
	t->npieces = h->n;
	t->pieces = xcalloc(h->n, sizeof *t->pieces);
	for (uint32_t i = 0; i < h->n; i++) {
		t->pieces[i].object = h->objects[i];
		w->size += h->objects[i]->text_len + dimension * sizeof(float) + sizeof *h->objects[i] +
			   sizeof *t->pieces;
	}
	free(h->objects);
	h->objects = NULL;
}

static void take_settled(struct work *w, struct offer_half *h)
{
	struct task *t = work_add_half(w, h->half == HALF_OLD ? LANE_DELETE : LANE_UPSERT, h->half);

	t->phase = TASK_SETTLED;
	t->status = h->kind == OFFER_FAIL ? STATUS_FAILED : STATUS_SKIPPED;
	t->reason = h->reason;
	t->error = h->error;
	t->message = h->message;
	t->alone = h->alone;
	h->message = NULL;
}

void work_take_offer(struct work *w, struct offer *of, const struct offer_maker *m)
{
	w->repo_known = of->repo_known;
	for (int i = 0; i < of->n; i++) {
		struct offer_half *h = &of->half[i];

		if (h->kind == OFFER_STORE) {
			take_objects(w, work_add_half(w, LANE_UPSERT, h->half), h, m->embedder->dimension);
		} else if (h->kind == OFFER_DELETE) {
			work_add_half(w, LANE_DELETE, h->half)->skip = h->reason;
			if (h->half == HALF_NEW)
				object_id(w->id, m->store->collection, w->repo, w->path, 0);
		} else {
			take_settled(w, h);
		}
	}
}

/* What malloc() takes for a text of n bytes. */
static size_t text_size(size_t n)
{
	return n > 0 ? n + 32 : 0;
}

static size_t string_size(const char *s)
{
	return s != NULL ? text_size(strlen(s) + 1) : 0;
}

/* Bytes that a line takes beside its objects, with its share of documents that only it names. */
static size_t size_of(const struct work *w)
{
	size_t n = sizeof *w + text_size(w->payload_len) + string_size(w->repo) + string_size(w->path) +
		   string_size(w->old_path) + string_size(w->root) + string_size(w->folder) +
		   string_size(w->default_repo) + string_size(w->namespace);

	return n + (size_t)w->halves * (sizeof(struct doc) + string_size(w->repo) + string_size(w->path));
}

void work_enter(struct window *win, struct work *w)
{
	w->group = work_group(win, w->repo);
	w->next = w->group->works;
	if (w->next != NULL)
		w->next->prev = w;
	w->group->works = w;
	w->size += size_of(w);
	win->bytes += w->size;
	win->works++;
}

void work_leave(struct window *win, struct work *w)
{
	if (w->group->awaited == w)
		w->group->awaited = w->next;
	if (w->prev != NULL)
		w->prev->next = w->next;
	else
		w->group->works = w->next;
	if (w->next != NULL)
		w->next->prev = w->prev;
	win->bytes -= w->size;
	win->works--;
	free(w->payload);
	w->payload = NULL;
	w->done_next = win->settled;
	win->settled = w;
}

#ifdef CHECK_INVARIANTS

/* The unsettled tasks that a document's task stands for, itself among them. */
static size_t stands_for(const struct task *t)
{
	size_t n = t != NULL;

	assert(t == NULL || t->phase != TASK_SETTLED);
	for (const struct task *s = t != NULL ? t->superseded : NULL; s != NULL; s = s->also, n++)
		assert(s->phase != TASK_SETTLED && s->superseded == NULL && !s->ready);
	return n;
}

/* What work.h says of all that is in memory. */
static void check(const struct window *win)
{
	size_t bytes = 0, works = 0, open = 0, reached = 0, docs = 0, pointed = 0;

	for (const struct group *g = NULL; (g = work_group_next((struct window *)(uintptr_t)win, g)) != NULL;) {
		pointed += g->ndocs;
		for (const struct work *w = g->works; w != NULL; w = w->next, works++) {
			bytes += w->size;
			assert(w->group == g && w->open > 0);
			for (int i = 0; i < w->halves; i++)
				open += w->half[i].phase != TASK_SETTLED && w->half[i].doc != NULL;
		}
	}
	for (int i = 0; i < DOC_SLOTS; i++)
		for (const struct doc *d = win->docs[i]; d != NULL; d = d->chain, docs++) {
			assert(d->next == NULL || d->active != NULL);
			assert(d->active == NULL || (d->active->doc == d && (d->next == NULL || d->next->doc == d)));
			reached += stands_for(d->active) + stands_for(d->next);
		}
	assert(bytes == win->bytes && works == win->works && open == reached && docs == pointed);
}

#else

static void check(const struct window *win)
{
	(void)win;
}

#endif

void work_committed(struct window *win)
{
	check(win);
	for (struct work *w; (w = win->settled) != NULL;) {
		win->settled = w->done_next;
		work_free(w);
	}
}

/* ---- the whole ---- */

struct window *window_new(struct state *s, int64_t earlier_until_ms)
{
	struct window *win = xcalloc(1, sizeof *win);

	win->state = s;
	win->earlier_until_ms = earlier_until_ms;
	return win;
}

size_t window_bytes(const struct window *win)
{
	return win->bytes;
}

size_t window_works(const struct window *win)
{
	return win->works;
}

void record_fields(const struct group *g, const struct pending_record *pr, struct record *r)
{
	*r = (struct record){ .repo = g->repo, .at = pr->at, .number = pr->number, .commit = pr->commit,
		.since = pr->since, .changeset = pr->changeset, .complete = pr->complete,
		.prior = g->prior, .prior_at = g->prior_at, .prior_whole = g->prior_whole };
}

void record_free(struct pending_record *r)
{
	free(r->commit);
	free(r->since);
	free(r->changeset);
	free(r);
}

/* Returns how many lines of the input it had. */
static uint64_t empty_group(struct group *g)
{
	uint64_t n = 0;

	for (struct work *w; (w = g->works) != NULL; g->works = w->next, work_free(w))
		n += !w->internal && !w->retried;
	for (struct pending_record *r; (r = g->records) != NULL; n++) {
		g->records = r->next;
		record_free(r);
	}
	return n;
}

uint64_t window_free(struct window *win)
{
	uint64_t left = 0;

	work_committed(win);
	for (int i = 0; i < DOC_SLOTS; i++)
		for (struct doc *d; (d = win->docs[i]) != NULL;) {
			win->docs[i] = d->chain;
			doc_free(d);
		}
	for (int i = 0; i < GROUP_SLOTS; i++)
		for (struct group *g; (g = win->groups[i]) != NULL;) {
			win->groups[i] = g->chain;
			left += empty_group(g);
			group_free(g);
		}
	free(win);
	return left;
}
