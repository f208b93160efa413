/* --exclude names other documents than it did when the state was last brought to match it.
 *
 * The patterns are put into the state as not done before the first document is touched, and as done when the
 * deletes of all are settled: a process that is killed in between, whatever patterns the next one has, leaves
 * documents that are marked as left out (DOC_EXCLUDED) and patterns that are not done, so the next one looks
 * through all of them again. */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "changeset.h"
#include "cleanup.h"
#include "excluded.h"
#include "log.h"
#include "pipeline_p.h"

#define AT_ONCE 100	/* records looked at before others have their turn */

struct excluded {
	struct excluded_walk walk;
	bool going;
	uint64_t gone, back;
};

/* ---- the rule ---- */

bool excluded_differ(struct state *s, const struct excludes *e)
{
	const struct head *h = state_head(s);
	autofree char *text = excludes_text(e);

	return h->exclude_open || strcmp(h->exclude, text) != 0;
}

enum excluded_step excluded_step(struct state *s, const struct excludes *e, const char *repo, const char *path,
				 const struct doc_state *d, bool doubtful)
{
	bool unknown = strcmp(state_head(s)->exclude, EXCLUDE_UNKNOWN) == 0;

	if (!excludes_match(e, path, false))
		return (d->flags & DOC_EXCLUDED) && !(d->flags & DOC_LOOSE) ? EXCLUDED_COMES_BACK : EXCLUDED_NOTHING;
	if ((d->flags & DOC_PRESENT) || doubtful)
		return EXCLUDED_GOES;
	if (!(d->flags & DOC_ABSENT) || ((d->flags & DOC_EXCLUDED) && (d->flags & DOC_SAME)))
		return EXCLUDED_NOTHING;
	return unknown || changeset_touched(s, repo, d) ? EXCLUDED_STAYS_OUT : EXCLUDED_NOTHING;
}

static bool next_document(struct state *s, const struct excludes *e, struct excluded_walk *w, unsigned *left)
{
	struct mark m;

	for (; *left > 0 && state_walk(s, 'd', NULL, &w->at); --*left) {
		bool doubtful;

		if (doc_decode(&w->doc, (const uint8_t *)w->at.value.data, w->at.value.len) != 0)
			continue;
		doubtful = state_mark_get(s, w->at.repo, w->at.path, &m) && (m.flags & MARK_DOUBT);
		w->step = excluded_step(s, e, w->at.repo, w->at.path, &w->doc, doubtful);
		if (w->step != EXCLUDED_NOTHING)
			return true;
	}
	return false;
}

bool excluded_next(struct state *s, const struct excludes *e, struct excluded_walk *w, unsigned *left)
{
	struct mark m;

	if (!w->in_marks) {
		if (next_document(s, e, w, left))
			return true;
		if (*left == 0)
			return false;
		walk_release(&w->at);
		w->in_marks = true;
	}
	w->step = EXCLUDED_GOES;
	for (; *left > 0 && state_walk(s, 'm', NULL, &w->at); --*left) {
		memset(&w->doc, 0, sizeof w->doc);
		if (mark_decode(&m, (const uint8_t *)w->at.value.data, w->at.value.len) == 0 &&
		    (m.flags & MARK_DOUBT) && excludes_match(e, w->at.path, false) &&
		    !state_doc_get(s, w->at.repo, w->at.path, &w->doc))
			return true;
	}
	return false;
}

/* ---- in a sync ---- */

void excluded_begin(struct pipeline *p)
{
	const struct excludes *e = roots_excludes(p->parts.roots);
	struct head *h = state_head(p->state);
	autofree char *text = excludes_text(e);

	if (!excluded_differ(p->state, e))
		return;
	p->excluded = xcalloc(1, sizeof *p->excluded);
	p->excluded->going = true;
	h->exclude_open = true;
	if (strcmp(h->exclude, EXCLUDE_UNKNOWN) != 0)	/* else that stays so until all is done */
		repo_set_text(&h->exclude, text);
}

bool excluded_going(const struct pipeline *p)
{
	return p->excluded != NULL && p->excluded->going;
}

/* The store may hold it: it goes, by no line. */
static void let_go(struct pipeline *p, const struct excluded_walk *at)
{
	struct work *w = work_new_delete(at->at.repo, at->at.path, at->doc.last, 0);

	w->left_out = true;
	w->half[0].skip = REASON_EXCLUDED;
	task_line(p->tasks, w);
}

static void tell(const struct excluded *x)
{
	if (x->gone > 0)
		log_note("--exclude names %llu documents that are known: what the store holds of them is deleted",
			 (unsigned long long)x->gone);
	if (x->back > 0)
		log_note("--exclude does not name %llu documents any more that it left out: they are stored when they "
			 "are listed, and no changeset passes them until then (git-changes lists them by itself; "
			 "'linesync changeset --touched REPO' names them for others, a complete listing has them "
			 "all)", (unsigned long long)x->back);
}

void excluded_turn(struct pipeline *p)
{
	struct excluded *x = p->excluded;
	struct excluded_walk *w = &x->walk;
	unsigned left = AT_ONCE;

	if (excluded_next(p->state, roots_excludes(p->parts.roots), w, &left)) {
		if (w->step == EXCLUDED_GOES) {
			x->gone++;
			let_go(p, w);
			return;
		}
		x->back += w->step == EXCLUDED_COMES_BACK;
		if (w->step == EXCLUDED_COMES_BACK)
			w->doc.flags = (uint8_t)((w->doc.flags | DOC_LOOSE) & ~DOC_SAME);
		else
			w->doc.flags = DOC_ABSENT | DOC_EXCLUDED | DOC_SAME;
		state_doc_put(p->state, w->at.repo, w->at.path, &w->doc);
	} else if (left > 0) {
		walk_release(&w->at);
		x->going = false;
		tell(x);
	}
}

/* What is left of them is no line's: the next run tries again, for the patterns stay not done. */
void excluded_end(struct pipeline *p)
{
	struct head *h = state_head(p->state);
	autofree char *text = excludes_text(roots_excludes(p->parts.roots));
	const struct task_figures *f = tasks_figures(p->tasks);

	if (p->excluded == NULL)
		return;
	if (f->left_in > 0) {
		log_err("%llu documents that --exclude names could not be deleted (%s); the next run tries again",
			(unsigned long long)f->left_in, f->first_left_in);
		return;
	}
	repo_set_text(&h->exclude, text);
	h->exclude_open = false;
}

void excluded_release(struct pipeline *p)
{
	if (p->excluded == NULL)
		return;
	walk_release(&p->excluded->walk.at);
	free(p->excluded);
}
