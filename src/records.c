#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdlib.h>

#include "alloc.h"
#include "changeset.h"
#include "clock.h"
#include "pipeline_p.h"
#include "results.h"

#define RECORDS_MAX 256		/* undecided changeset records of one repository */

static void decide_record(struct pipeline *p, struct group *g, enum status status, enum held_why why,
			  uint64_t waiting)
{
	struct pending_record *pr = g->records;
	struct record rec;
	struct result r = { .run = state_run(p->state)->id, .line = pr->number, .repo = g->repo, .op = OP_CHANGESET,
		.status = status, .changeset = pr->commit, .waiting = waiting };

	bool closes = status == STATUS_COMPLETED || why == HELD_LINES;

	record_fields(g, pr, &rec);
	if (closes)
		changeset_closes(p->state, &rec);
	if (status == STATUS_COMPLETED) {
		changeset_advance(p->state, &rec);
	} else {
		changeset_hold(p->state, &rec, why, waiting);
		r.held_why = held_name(why);
	}
	changeset_close_block(p->state, g->repo, pr->at, closes);
	state_line_set(p->state, pr->at.ord, status, REASON_NONE);
	run_count(state_run(p->state), pr->at, pr->again ? pr->before : STATUS_NONE, REASON_NONE, status,
		  REASON_NONE, OP_CHANGESET);
	outbox_add(p->outbox, &r, false, clock_ms());
	g->records = pr->next;
	g->nrecords--;
	record_free(pr);
}

/* An unsettled line before the record. */
static bool stands_before(struct pipeline *p, const struct work *w, const struct record *r)
{
	for (int i = 0; i < w->halves; i++)
		if (w->half[i].phase != TASK_SETTLED && state_later(p->state, r->at, w->half[i].hold))
			return true;
	return w->open > 0 && state_later(p->state, r->at, w->at);
}

/* A later line that is not settled names a document which the listing does not: it goes first, or a
 * crash could leave that document behind the record. */
static bool has_unlisted(struct pipeline *p, const struct work *w, const struct record *r)
{
	for (int i = 0; i < w->halves; i++) {
		const struct doc *d = w->half[i].doc;

		if (d == NULL || w->half[i].phase == TASK_SETTLED ||
		    (!(d->known.flags & DOC_PRESENT) && !d->has_mark))
			continue;
		if (d->known.last.run == 0 ||
		    (!changeset_names(p->state, r, d->known.last) &&
		     state_own_ord(p->state, d->known.last) <= r->at.ord))
			return true;
	}
	return false;
}

static struct work *first_awaited(struct pipeline *p, struct work *from, const struct work *to,
				  const struct record *r, bool lists)
{
	struct work *w = from;

	while (w != to && !stands_before(p, w, r) && !(lists && has_unlisted(p, w, r)))
		w = w->next;
	return w != to ? w : NULL;
}

/* A line that the record waits for.  The one that was found last is asked first, then those behind it. */
static bool waits_for_line(struct pipeline *p, struct group *g, const struct record *r, bool lists)
{
	struct work *from = g->awaited != NULL ? g->awaited : g->works;

	g->awaited = first_awaited(p, from, NULL, r, lists);
	if (g->awaited == NULL)
		g->awaited = first_awaited(p, g->works, from, r, lists);
	return g->awaited != NULL;
}

/* One record of the state is asked, the one that was found to be in the way last: walks are for when it
 * is out of the way. */
static bool still_waits(struct pipeline *p, struct group *g, const struct record *r, bool lists)
{
	if (lists)
		return changeset_still_incomplete(p->state, r, &g->unlisted);
	return g->nrecords <= RECORDS_MAX && changeset_still_held(p->state, r, &g->holder);
}

/* Decides the first record if that can be: what the state says of it.  False: it waits. */
static bool decide(struct pipeline *p, struct group *g, const struct record *r, bool last)
{
	switch (changeset_look(p->state, r, &g->holder)) {
	case RECORD_ADVANCE:
		decide_record(p, g, STATUS_COMPLETED, HELD_LINES, 0);
		return true;
	case RECORD_NOT_FROM_HERE:
		decide_record(p, g, STATUS_HELD, HELD_NOT_FROM_HERE, 0);
		return true;
	case RECORD_HELD:
		if (!last && g->nrecords <= RECORDS_MAX)
			return false;
		decide_record(p, g, STATUS_HELD, HELD_LINES, changeset_waiting(p->state, r));
		return true;
	}
	return false;
}

/* Judges a repository's records in order, as far as they can be.  last: the input is read and all is
 * settled, so what cannot advance is held. */
static void judge_group(struct pipeline *p, struct group *g, bool last)
{
	while (g->records != NULL && !sweep_of(p->sweep, g->records)) {
		struct record r;
		uint64_t waiting;
		enum sweep_need need = SWEEP_NOT;
		bool lists;

		record_fields(g, g->records, &r);
		lists = g->records->complete && !g->records->swept && changeset_from_here(p->state, &r);
		if ((!last && still_waits(p, g, &r, lists)) || waits_for_line(p, g, &r, lists))
			return;
		if (lists && changeset_incomplete(p->state, &r, &g->unlisted)) {
			if (!last)
				return;
			decide_record(p, g, STATUS_HELD, HELD_INCOMPLETE, 0);
			continue;
		}
		if (lists)
			need = sweep_begin(p, g, g->records, &r, &waiting);
		if (need == SWEEP_GOES)
			return;
		if (need == SWEEP_TOO_MANY)
			decide_record(p, g, STATUS_HELD, HELD_TOO_MANY_DELETES, waiting);
		else if (!decide(p, g, &r, last))
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
	struct place_in_run at = rs->position;
	bool whole = rs->whole;
	char *before;

	if (rs->held_commit[0] == '\0' || state_own_ord(p->state, rs->held) != 0)
		return;
	before = xstrdup(rs->commit);
	if (!changeset_release_seen(p->state, g->repo, &g->held)) {
		g->recount = true;
		free(before);
		return;
	}
	if (g->prior == NULL) {	/* the input was made when that was the position */
		g->prior = before;
		g->prior_at = at;
		g->prior_whole = whole;
	} else {
		free(before);
	}
	rs = state_repo(p->state, g->repo);
	r.changeset = rs->commit;
	if (state_run_get(p->state, run, &older) == 0) {
		r.run = older.id;
		outbox_add(p->outbox, &r, false, clock_ms());
	}
	run_release(&older);
}

/* The number of what an earlier run's record waits for is told once nothing more changes it for a while. */
static void recount(struct pipeline *p, struct group *g)
{
	if (g->recount)
		changeset_recount(p->state, g->repo);
	g->recount = false;
}

void records_recount(struct pipeline *p)
{
	for (struct group *g = NULL; (g = work_group_next(p->window, g)) != NULL;)
		recount(p, g);
}

void records_judge(struct pipeline *p, bool last)
{
	for (struct group *g = work_group_next(p->window, NULL), *next; g != NULL; g = next) {
		next = work_group_next(p->window, g);
		if (g->release)
			release_held(p, g);
		g->release = false;
		if (g->look || last)
			judge_group(p, g, last);
		g->look = false;
		if (last || work_group_idle(g))
			recount(p, g);
		work_group_put(p->window, g);
	}
}
