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

static void record_fields(const struct group *g, const struct pending_record *pr, struct record *r)
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
	struct result r = { .run = p->run->id, .line = pr->number, .repo = g->repo, .op = OP_CHANGESET,
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
	pipeline_count(p, pr->at, pr->again ? pr->before : STATUS_NONE, status, REASON_NONE, OP_CHANGESET);
	outbox_add(p->outbox, &r, false, clock_ms());
	g->records = pr->next;
	g->nrecords--;
	free(pr->commit);
	free(pr->since);
	free(pr->changeset);
	free(pr);
}

static bool own_failures(struct pipeline *p, const struct record *r);
static bool perhaps_listed(struct pipeline *p, const struct record *r);
static bool sweep_needed(struct pipeline *p, struct group *g, uint64_t *waiting, bool *too_many);

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
	while (g->records != NULL && p->sweeping != g->records) {
		struct record r;
		uint64_t waiting;
		enum record_verdict v;
		bool too_many = false;

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
			if (unlisted_busy(p, g, &r) || sweep_needed(p, g, &waiting, &too_many))
				return;
		}
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

/* Of what is absent already, the listing says that this is how it is in r: no later one must name it. */
static bool to_sweep(struct pipeline *p, const struct record *r, const char *path,
		     const struct doc_state *known, bool doubtful)
{
	const struct doc *d = work_doc_find(p, r->repo, path);

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

	if (p->run->nancestors == 0)
		return false;
	while (!found && state_walk(p->state, 'd', r->repo, &at))
		found = doc_decode(&d, (const uint8_t *)at.value.data, at.value.len) == 0 &&
			state_given_up(p->state, d.last);
	walk_release(&at);
	return found;
}

static bool sweep_needed(struct pipeline *p, struct group *g, uint64_t *waiting, bool *too_many)
{
	struct walk at = { 0 };
	struct record r;
	uint64_t n = 0, most = state_repo(p->state, g->repo)->present / 2;
	bool in_marks = false, any = false, absent;

	record_fields(g, g->records, &r);
	for (; sweep_next(p, &r, &at, &in_marks, &absent); any = true)
		n += !absent;
	walk_release(&at);
	if (p->o->max_delete_given)
		most = p->o->max_delete;
	*waiting = n;
	*too_many = n > most;
	if (*too_many)
		log_warn("'%s' would lose %llu documents that its complete listing does not name; allow it "
			 "with --max-delete %llu", g->repo, (unsigned long long)n, (unsigned long long)n);
	if (!any || *too_many || p->sweeping != NULL)
		return any && !*too_many;
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
void records_sweep_turn(struct pipeline *p)
{
	struct record r;
	struct work *w;
	struct change c = { .op = OP_DELETE };
	bool absent;

	record_fields(p->sweep_group, p->sweeping, &r);
	if (sweep_next(p, &r, &p->sweep, &p->sweep_in_marks, &absent)) {
		c.repo = xstrdup(r.repo);
		c.path = xstrdup(p->sweep.path);
		w = intake_work(p, &c, NULL, r.at, r.number);
		w->internal = true;
		intake_add_delete(p, w, HALF_NEW, REASON_NONE);
		w->half[0].hold.ord = 0;	/* before its record */
		work_enter(p, w);
		w->half[0].doc = work_doc(p, w->repo, w->path);
		task_queue(p, &w->half[0]);
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

void records_judge(struct pipeline *p, bool last)
{
	for (int i = 0; i < GROUP_SLOTS; i++)
		for (struct group **at = &p->groups[i], *g; (g = *at) != NULL;) {
			if (g->release)
				release_held(p, g);
			g->release = false;
			if (g->look || last)
				judge_group(p, g, last);
			g->look = false;
			if (!work_group_idle(g)) {
				at = &g->chain;
				continue;
			}
			*at = g->chain;
			work_group_free(g);
		}
}
