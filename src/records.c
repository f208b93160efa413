#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "changeset.h"
#include "clock.h"
#include "log.h"
#include "pipeline_p.h"
#include "results.h"

#define RECORDS_MAX 256		/* undecided changeset records of one repository */

static bool works_before(const struct group *g, struct place_in_run at, struct state *s)
{
	for (const struct work *w = g->works; w != NULL; w = w->next) {
		for (int i = 0; i < w->halves; i++) {
			if (w->half[i].phase != TASK_SETTLED && state_later(s, at, w->half[i].hold))
				return true;
		}
		if (w->open > 0 && state_later(s, at, w->at))
			return true;
	}
	return false;
}

void record_fields(const struct group *g, const struct pending_record *pr, struct record *r)
{
	*r = (struct record){ .repo = g->repo, .at = pr->at, .number = pr->number, .commit = pr->commit,
		.since = pr->since, .changeset = pr->changeset, .complete = pr->complete,
		.prior = g->prior, .prior_at = g->prior_at, .prior_whole = g->prior_whole };
}

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

static bool own_failures(struct pipeline *p, const struct record *r);
static bool perhaps_listed(struct pipeline *p, const struct record *r);

/* A later line that is not settled names a document which the listing does not: it goes first, or a
 * crash could leave that document behind the record. */
static bool unlisted_busy(struct pipeline *p, const struct group *g, const struct record *r)
{
	for (const struct work *w = g->works; w != NULL; w = w->next)
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

/* Judges a repository's records in order, as far as they can be.  last: the input is read and all is
 * settled, so what cannot advance is held. */
static void judge_group(struct pipeline *p, struct group *g, bool last)
{
	while (g->records != NULL && !sweep_of(p->sweep, g->records)) {
		struct record r;
		uint64_t waiting;
		enum record_verdict v;
		enum sweep_need need = SWEEP_NOT;

		if (works_before(g, g->records->at, p->state))
			return;
		record_fields(g, g->records, &r);
		if (g->records->complete && !g->records->swept && changeset_from_here(p->state, &r)) {
			if (own_failures(p, &r) || perhaps_listed(p, &r)) {
				if (!last)
					return;
				decide_record(p, g, STATUS_HELD, HELD_INCOMPLETE, 0);
				continue;
			}
			if (unlisted_busy(p, g, &r))
				return;
			need = sweep_begin(p, g, g->records, &r, &waiting);
			if (need == SWEEP_GOES)
				return;
		}
		v = need == SWEEP_TOO_MANY ? RECORD_HELD : changeset_judge(p->state, &r, &waiting);
		if (need == SWEEP_TOO_MANY)
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
	struct place_in_run at = rs->position;
	bool whole = rs->whole;
	char *before;

	if (rs->held_commit[0] == '\0' || state_own_ord(p->state, rs->held) != 0)
		return;
	before = xstrdup(rs->commit);
	if (!changeset_release(p->state, g->repo)) {
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

/* ---- complete: true ---- */

/* Failures in the listing itself stop the sweep: what they name may be there after all. */
static bool own_failures(struct pipeline *p, const struct record *r)
{
	struct failure_walk at = { 0 };
	struct failure f = { 0 };
	bool found = false;

	while (!found && state_failure_next(p->state, &at, &f)) {
		uint32_t ord = state_own_ord(p->state, f.line);

		found = ord != 0 && ord < r->at.ord &&
			(!at.repo_known || strcmp(f.repo, r->repo) == 0);
	}
	failure_release(&f);
	failure_walk_release(&at);
	return found;
}

/* So does a document that was last finished by the part of an interrupted run that this run did not take
 * over: whether a line before that part names it too is not known, for what is done is not read again. */
static bool perhaps_listed(struct pipeline *p, const struct record *r)
{
	struct walk at = { 0 };
	struct doc_state d;
	bool found = false;

	if (state_run(p->state)->nancestors == 0)
		return false;
	while (!found && state_walk(p->state, 'd', r->repo, &at))
		found = doc_decode(&d, (const uint8_t *)at.value.data, at.value.len) == 0 &&
			state_given_up(p->state, d.last);
	walk_release(&at);
	return found;
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
		work_group_put(p->window, g);
	}
}
