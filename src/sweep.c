#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdlib.h>

#include "alloc.h"
#include "changeset.h"
#include "log.h"
#include "pipeline_p.h"

struct sweep {
	struct pending_record *record;	/* whose documents are being deleted; NULL: none */
	struct group *group;
	struct walk at;
	bool in_marks;
};

struct sweep *sweep_new(void)
{
	return xcalloc(1, sizeof(struct sweep));
}

void sweep_free(struct sweep *s)
{
	if (s == NULL)
		return;
	walk_release(&s->at);
	free(s);
}

bool sweep_going(const struct sweep *s)
{
	return s->record != NULL;
}

bool sweep_of(const struct sweep *s, const struct pending_record *r)
{
	return s->record == r;
}

/* Of what is absent already, the listing says that this is how it is in r: no later one must name it. */
static bool to_sweep(struct pipeline *p, const struct record *r, const char *path,
		     const struct doc_state *known, bool doubtful)
{
	const struct doc *d = work_doc_find(p->window, r->repo, path);

	if (!(known->flags & DOC_PRESENT) && !doubtful && !changeset_touched(p->state, r->repo, known))
		return false;
	if (known->last.run != 0 && (changeset_names(p->state, r, known->last) ||
				     state_own_ord(p->state, known->last) > r->at.ord))
		return false;
	return d == NULL || (d->active == NULL && d->next == NULL);
}

/* The next document of the repository, in order, that the records' lines do not list.  Documents come
 * first, then marks of documents that the state knows only by them.  *absent: the store holds nothing of
 * it. */
static bool sweep_next(struct pipeline *p, const struct record *r, struct walk *at, bool *in_marks,
		       bool *absent)
{
	struct doc_state known;
	struct mark m;

	while (!*in_marks && state_walk(p->state, 'd', r->repo, at)) {
		bool doubtful;

		if (doc_decode(&known, (const uint8_t *)at->value.data, at->value.len) != 0)
			continue;
		doubtful = state_mark_get(p->state, r->repo, at->path, &m) && (m.flags & MARK_DOUBT);
		*absent = !(known.flags & DOC_PRESENT) && !doubtful;
		if (to_sweep(p, r, at->path, &known, doubtful))
			return true;
	}
	if (!*in_marks) {
		walk_release(at);
		*in_marks = true;
	}
	*absent = false;
	while (state_walk(p->state, 'm', r->repo, at)) {
		if (mark_decode(&m, (const uint8_t *)at->value.data, at->value.len) == 0 &&
		    (m.flags & MARK_DOUBT) && !state_doc_get(p->state, r->repo, at->path, &known) &&
		    to_sweep(p, r, at->path, &known, true))
			return true;
	}
	return false;
}

/* How many documents it would delete; *any: something is to be done, if only with those that are absent. */
static uint64_t count(struct pipeline *p, const struct record *r, bool *any)
{
	struct walk at = { 0 };
	uint64_t n = 0;
	bool in_marks = false, absent;

	*any = false;
	for (; sweep_next(p, r, &at, &in_marks, &absent); *any = true)
		n += !absent;
	walk_release(&at);
	return n;
}

enum sweep_need sweep_begin(struct pipeline *p, struct group *g, struct pending_record *pr,
			    const struct record *r, uint64_t *waiting)
{
	uint64_t most = p->o->max_delete_given ? p->o->max_delete : state_repo(p->state, g->repo)->present / 2;
	uint64_t n;
	bool any;

	*waiting = 0;
	if (sweep_going(p->sweep))	/* its end has all of them judged: to count at each would be a square */
		return SWEEP_GOES;
	*waiting = n = count(p, r, &any);
	if (n > most) {
		log_warn("'%s' would lose %llu documents that its complete listing does not name; allow it "
			 "with --max-delete %llu", g->repo, (unsigned long long)n, (unsigned long long)n);
		return SWEEP_TOO_MANY;
	}
	if (!any)
		return SWEEP_NOT;
	p->sweep->record = pr;
	p->sweep->group = g;
	return SWEEP_GOES;
}

/* Failures of documents that a complete listing does not name are settled by it. */
static void supersede_unlisted(struct pipeline *p, const struct record *r)
{
	struct walk at = { 0 };
	struct failure f = { 0 };

	while (state_failure_walk(p->state, r->repo, &at, &f))
		if (f.path[0] != '\0' && state_own_ord(p->state, f.line) == 0)
			state_failure_del(p->state, r->repo, f.path);
	walk_release(&at);
}

static void delete_document(struct pipeline *p, const struct record *r, const char *path)
{
	struct work *w = work_new_delete(r->repo, path, r->at, r->number);

	w->half[0].hold.ord = 0;	/* before its record */
	task_line(p->tasks, w);
}

void sweep_turn(struct pipeline *p)
{
	struct sweep *s = p->sweep;
	struct record r;
	bool absent;

	record_fields(s->group, s->record, &r);
	if (sweep_next(p, &r, &s->at, &s->in_marks, &absent)) {
		delete_document(p, &r, s->at.path);
		return;
	}
	walk_release(&s->at);
	supersede_unlisted(p, &r);
	s->record->swept = true;
	s->record = NULL;
	s->in_marks = false;
	/* another one's sweep may wait for this to end */
	for (struct group *g = NULL; (g = work_group_next(p->window, g)) != NULL;)
		g->look = true;
}
