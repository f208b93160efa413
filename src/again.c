#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "doc.h"
#include "pipeline_p.h"

struct again {
	struct failure_walk walk;
	bool done;
};

struct again *again_new(void)
{
	return xcalloc(1, sizeof(struct again));
}

void again_free(struct again *a)
{
	if (a == NULL)
		return;
	failure_walk_release(&a->walk);
	free(a);
}

static bool may_retry(const struct pipeline *p, const struct failure *f)
{
	return f->path[0] != '\0' && f->retries < p->o->max_rounds &&
	       error_retryable((enum error_code)f->code) && state_own_ord(p->state, f->line) == 0;
}

/* Which halves of a rename are tried again: both, as one line, where both have failed.  *unseen: of the
 * old one because it could not be seen whether its file is there. */
static int failed_halves(struct pipeline *p, const struct failure *f, bool *unseen)
{
	struct failure_walk at = { .at = f->line, .half = f->half };
	struct failure other = { 0 };
	int halves = f->half;

	*unseen = f->half == HALF_OLD && f->code == ERR_UNREADABLE;
	if (state_failure_next(p->state, &at, &other) && place_compare(other.line, f->line) == 0 &&
	    may_retry(p, &other)) {
		halves |= other.half;
		*unseen |= other.half == HALF_OLD && other.code == ERR_UNREADABLE;
		p->again->walk.half = other.half;	/* the walk goes on behind it */
	}
	failure_release(&other);
	failure_walk_release(&at);
	return halves;
}

/* Read again, the line names another document than when it failed (an arrow that was not seen to be one):
 * its failure goes with it. */
static void move_failure(struct pipeline *p, struct work *w, const struct failure *f)
{
	struct task t = { .work = w, .half = f->half, .hold = f->hold, .error = (enum error_code)f->code,
		.http = f->http, .message = f->message };

	if (!names_document(w->path) || strcmp(w->path, f->path) == 0 ||
	    (w->old_path != NULL && strcmp(w->old_path, f->path) == 0))
		return;
	t.doc = work_doc(p->window, w->repo, w->path);
	doc_put_failure(p->state, w, &t, true);
	work_doc_put(p->window, t.doc);
}

/* The halves to be done again.  An old one that failed at the store was to go, whatever file is there by
 * now (*keep_old); where it could not be seen whether one was, it was looked again. */
static int halves_again(struct pipeline *p, struct work *w, const struct failure *f, bool *keep_old)
{
	struct doc *d;
	bool unseen;
	int halves;

	if (f->op != OP_RENAME)
		return HALF_NEW | HALF_OLD;
	halves = failed_halves(p, f, &unseen);
	*keep_old &= unseen;
	if (*keep_old) {
		d = work_doc(p->window, w->repo, w->old_path);
		doc_leave(p->state, w, d);
		work_doc_put(p->window, d);
	}
	return halves;
}

/* By the listing of the line's own run. */
static bool newer_than_listed(struct pipeline *p, const struct failure *f, const struct change *c,
			      const struct content *k)
{
	int64_t start_ns = state_run(p->state)->start_file_ns;
	struct run_state r;

	if (state_run_get(p->state, f->line.run, &r) == 0) {
		start_ns = r.start_file_ns;
		run_release(&r);
	}
	return content_is_newer(c, k, start_ns);
}

/* The names go to the line, and are lent to the change while its offer is made: the failure's own document is
 * found by them before. */
static void take_document(struct pipeline *p, const struct failure *f, const struct work_origin *from,
			  struct change *c, struct content *k, const struct buf *payload, bool keep_old)
{
	struct work *w = work_new(c, from, f->line, f->number);
	struct offer of;
	int halves;

	w->retried = true;
	w->retries_before = f->retries;
	w->uncommitted |= newer_than_listed(p, f, c, k);
	work_keep_payload(w, payload->data, payload->len);
	move_failure(p, w, f);
	halves = halves_again(p, w, f, &keep_old);
	c->repo = w->repo;
	c->path = w->path;
	c->old_path = w->old_path;
	offer_make(&of, &p->maker, c, k, keep_old, halves);
	c->repo = c->path = c->old_path = NULL;
	work_take_offer(w, &of, &p->maker);
	work_cut_payload(w, c->written_at, c->written_len);
	offer_release(&of);
	task_line(p->tasks, w);
}

/* As it was read then: with the options of that run. */
static void take(struct pipeline *p, const struct failure *f, const struct buf *payload)
{
	struct change_options then = {
		.format = (enum input_format)(f->format & 0x7f), .nul_terminated = f->format & 0x80,
		.repo = f->default_repo[0] ? f->default_repo : NULL,
		.namespace = f->namespace[0] ? f->namespace : NULL,
		.uncommitted = f->default_uncommitted,
	};
	struct content k = { 0 };
	struct work_origin from = { &then, &k };
	struct change c;
	bool needs_file = false, keep_old = false;

	change_parse(&c, payload->data, payload->len, false, &needs_file, &then);
	if (c.kind == CHANGE_DOCUMENT) {
		if (f->root[0] != '\0')
			roots_preset(p->parts.roots, f->root, c.repo, f->folder);
		content_load(&k, &c, p->parts.roots, needs_file, &keep_old);
		take_document(p, f, &from, &c, &k, payload, keep_old);
	}
	change_release(&c);
	content_release(&k);
}

/* The next failure that may be tried again: into *f and *payload, released where there is none left. */
static bool next(struct pipeline *p, struct failure *f, struct buf *payload)
{
	struct failure_walk *walk = &p->again->walk;

	while (state_failure_next(p->state, walk, f)) {
		if (f->line.run >= state_run(p->state)->number)
			return false;
		if (walk->repo_known && may_retry(p, f) && state_failure_payload(p->state, f, payload))
			return true;
	}
	return false;
}

bool again_turn(struct pipeline *p)
{
	struct failure f = { 0 };
	auto_buf struct buf payload = BUF_INIT;

	if (!p->again->done && !p->o->no_retry && next(p, &f, &payload))
		take(p, &f, &payload);
	else
		p->again->done = true;
	failure_release(&f);
	return !p->again->done;
}

bool again_done(const struct again *a)
{
	return a->done;
}
