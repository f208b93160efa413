#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "changeset.h"
#include "cleanup.h"
#include "clock.h"
#include "log.h"

/* The run that a record stands in, as far as the state still knows it. */
static void load_run(struct state *s, uint32_t number, struct run_state *r)
{
	if (state_run_get(s, number, r) != 0)
		r->number = number;
}

/* What a complete listing deletes, its record's own line has done. */
static bool named_in(const struct run_state *run, const struct record *r, struct place_in_run last)
{
	uint32_t ord = run_own_ord(run, last);

	return ord != 0 && ord <= r->at.ord;
}

bool changeset_names(struct state *s, const struct record *r, struct place_in_run last)
{
	const struct run_state *now = state_run(s);
	struct run_state run;
	bool named;

	if (now != NULL && now->number == r->at.run)
		return named_in(now, r, last);
	load_run(s, r->at.run, &run);
	named = named_in(&run, r, last);
	run_release(&run);
	return named;
}

static bool in_tail(const struct repo_state *rs, struct place_in_run last)
{
	for (int i = 0; i < rs->ntails; i++) {
		const struct tail *t = &rs->tails[i];

		if (t->run == 0)	/* tails that were merged: all since the position */
			return place_compare(last, rs->position) > 0;
		if (t->run == last.run && last.ord >= t->from && last.ord <= t->to)
			return true;
	}
	return false;
}

/* A record that did not count (not-from-here) left its lines open, though they stand before r in its
 * run: what they changed is not named by r's block. */
static bool left_open(const struct repo_state *rs, struct place_in_run last)
{
	for (int i = 0; i < rs->ntails; i++)
		if (rs->tails[i].run == last.run && last.ord >= rs->tails[i].from &&
		    last.ord <= rs->tails[i].to)
			return true;
	return false;
}

/* The same for the lines up to a record that is held, where r steps back behind it. */
static bool stepped_over(const struct repo_state *rs, const struct run_state *run, struct place_in_run last)
{
	return run_own_ord(run, last) <= run_own_ord(run, rs->held);
}

/* What a line after r did is not passed by it: --touched names it, and the next record must. */
static bool comes_after(const struct run_state *run, const struct record *r, struct place_in_run last)
{
	uint32_t own = run_own_ord(run, last);

	return own != 0 ? own > r->at.ord : place_compare(last, r->at) > 0;
}

/* True if the document was changed after the position by something that no record has closed, or
 * that the record's `since` steps back behind, and the block does not name it. */
static bool is_open(const struct repo_state *rs, const struct run_state *run, const struct record *r,
		    const struct doc_state *d, bool steps_back, struct place_in_run base)
{
	if (d->last.run == 0)
		return false;
	if (named_in(run, r, d->last) && !left_open(rs, d->last) &&
	    !(steps_back && stepped_over(rs, run, d->last)))
		return false;
	if (comes_after(run, r, d->last))
		return false;
	if (d->flags & (DOC_LOOSE | DOC_UNCOMMITTED))
		return true;
	if (d->flags & DOC_SAME)
		return false;
	return in_tail(rs, d->last) || (steps_back && place_compare(d->last, base) > 0);
}

/* A record that says `since POSITION` while another one is held in between lists what changed since
 * the position: what the held one's block changed and this one does not name was changed back. */
static bool steps_back(const struct repo_state *rs, const struct record *r)
{
	return r->since != NULL && r->since[0] != '\0' && rs->held_commit[0] != '\0' &&
	       strcmp(r->since, rs->commit) == 0 && strcmp(r->since, rs->held_commit) != 0 &&
	       place_compare(rs->held, r->at) != 0;
}

static bool is_since(const struct record *r, const char *commit)
{
	return r->since != NULL && commit != NULL && commit[0] != '\0' && strcmp(r->since, commit) == 0;
}

static bool since_held(const struct repo_state *rs, const struct record *r)
{
	return rs->held_why == HELD_LINES && is_since(r, rs->held_commit);
}

static bool from_here(const struct repo_state *rs, const struct record *r)
{
	if (r->since == NULL)
		return true;
	if (r->since[0] == '\0')	/* "from nothing": what a script says that was told no position */
		return r->complete;
	return is_since(r, rs->commit) || since_held(rs, r);
}

/* ---- what holds a record ---- */

/* A line without a document of an earlier run: the record that closes a block without it is its end. */
static bool closed_by(const struct record *r, const struct run_state *run, const struct failure *f)
{
	return f->path[0] == '\0' && f->line.run < r->at.run && run_own_ord(run, f->line) == 0;
}

/* A failed line of the repository stands before the record, by the place that it holds. */
static bool fails_before(const struct record *r, const struct run_state *run, const struct failure *f)
{
	uint32_t own = run_own_ord(run, f->hold);

	if (strcmp(f->repo, r->repo) != 0 || closed_by(r, run, f))
		return false;
	return own != 0 ? own < r->at.ord : place_compare(f->hold, r->at) < 0;
}

/* Each looks at one record of its kind. */

static enum holder_walked failed_step(struct holders *h, struct holder *found)
{
	if (h->rs->failed == 0 || !state_failure_walk(h->s, h->r.repo, &h->at, &h->failure))
		return STEP_END;
	*found = (struct holder){ HOLDER_FAILED, h->failure.path, &h->failure };
	return fails_before(&h->r, &h->run, &h->failure) ? STEP_HOLDS : STEP_PASSED;
}

static uint32_t first_own_run(const struct run_state *run)
{
	uint32_t first = run->number;

	for (int i = 0; i < run->nancestors; i++)
		if (run->ancestors[i].run < first)
			first = run->ancestors[i].run;
	return first;
}

/* A failed line of no known repository before the record in its run. */
static enum holder_walked unknown_step(struct holders *h, struct holder *found)
{
	if (h->run.unknown_failures == 0 && h->run.nancestors == 0)
		return STEP_END;
	if (h->at.key.len == 0)
		state_unknown_seek(&h->at, first_own_run(&h->run));
	if (!state_failure_walk(h->s, NULL, &h->at, &h->failure))
		return STEP_END;
	*found = (struct holder){ HOLDER_UNKNOWN, h->failure.path, &h->failure };
	return named_in(&h->run, &h->r, h->failure.line) ? STEP_HOLDS : STEP_PASSED;
}

static enum holder_walked doubt_step(struct holders *h, struct holder *found)
{
	struct mark m;

	if (h->rs->doubts == 0 || !state_walk(h->s, 'm', h->r.repo, &h->at))
		return STEP_END;
	*found = (struct holder){ HOLDER_DOUBT, h->at.path, NULL };
	return mark_decode(&m, (const uint8_t *)h->at.value.data, h->at.value.len) == 0 &&
	       (m.flags & MARK_DOUBT) ? STEP_HOLDS : STEP_PASSED;
}

static enum holder_why why_open(const struct doc_state *d)
{
	if (d->flags & DOC_UNCOMMITTED)
		return HOLDER_UNCOMMITTED;
	if (d->flags & DOC_LOOSE)
		return d->flags & DOC_EXCLUDED ? HOLDER_LEFT_OUT : HOLDER_RETRIED;
	return HOLDER_OPEN;
}

static enum holder_walked open_step(struct holders *h, struct holder *found)
{
	struct doc_state d;

	if ((h->rs->loose == 0 && h->rs->ntails == 0 && !h->back) ||
	    !state_walk(h->s, 'd', h->r.repo, &h->at))
		return STEP_END;
	if (doc_decode(&d, (const uint8_t *)h->at.value.data, h->at.value.len) != 0 ||
	    !is_open(h->rs, &h->run, &h->r, &d, h->back, h->base))
		return STEP_PASSED;
	*found = (struct holder){ why_open(&d), h->at.path, NULL };
	return STEP_HOLDS;
}

static holder_step *const of_lines[] = { failed_step, unknown_step, doubt_step, open_step, NULL };

/* ---- what leaves it open whether a complete listing names a document ---- */

/* A line of the listing that failed: what it names may be there after all. */
static enum holder_walked own_failed_step(struct holders *h, struct holder *found)
{
	uint32_t ord;

	if (h->rs->failed == 0 || !state_failure_walk(h->s, h->r.repo, &h->at, &h->failure))
		return STEP_END;
	*found = (struct holder){ HOLDER_FAILED, h->failure.path, &h->failure };
	ord = state_own_ord(h->s, h->failure.line);
	return ord != 0 && ord < h->r.at.ord ? STEP_HOLDS : STEP_PASSED;
}

/* A document that was last finished by the part of an interrupted run that this run did not take over:
 * whether a line before that part names it too is not known, for what is done is not read again. */
static enum holder_walked given_up_step(struct holders *h, struct holder *found)
{
	struct doc_state d;

	if (state_run(h->s)->nancestors == 0 || !state_walk(h->s, 'd', h->r.repo, &h->at))
		return STEP_END;
	*found = (struct holder){ HOLDER_OPEN, h->at.path, NULL };
	return doc_decode(&d, (const uint8_t *)h->at.value.data, h->at.value.len) == 0 &&
	       state_given_up(h->s, d.last) ? STEP_HOLDS : STEP_PASSED;
}

static holder_step *const of_listing[] = { own_failed_step, unknown_step, given_up_step, NULL };

/* ---- the walk over it ---- */

static void begin_holders(struct holders *h, struct state *s, const struct record *r,
			  holder_step *const *steps)
{
	bool from_prior;

	*h = (struct holders){ .s = s, .rs = state_repo(s, r->repo), .r = *r, .steps = steps };
	load_run(s, r->at.run, &h->run);
	from_prior = !from_here(h->rs, r);
	h->back = from_prior || steps_back(h->rs, r);
	h->base = from_prior ? r->prior_at : h->rs->position;
}

void changeset_holders(struct holders *h, struct state *s, const struct record *r)
{
	begin_holders(h, s, r, of_lines);
}

static enum holder_walked one_step(struct holders *h, struct holder *found)
{
	enum holder_walked got = (*h->steps)(h, found);

	if (got == STEP_END) {
		walk_release(&h->at);
		h->steps++;
	}
	return got;
}

bool changeset_holder_next(struct holders *h, struct holder *found)
{
	while (*h->steps != NULL)
		if (one_step(h, found) == STEP_HOLDS)
			return true;
	return false;
}

void changeset_holders_release(struct holders *h)
{
	failure_release(&h->failure);
	walk_release(&h->at);
	run_release(&h->run);
}

uint64_t changeset_waiting(struct state *s, const struct record *r)
{
	struct holders h;
	struct holder one;
	uint64_t n = 0;

	for (changeset_holders(&h, s, r); changeset_holder_next(&h, &one);)
		n++;
	changeset_holders_release(&h);
	return n;
}

static bool any_unknown(struct state *s, const struct record *r)
{
	static holder_step *const steps[] = { unknown_step, NULL };
	struct holders h;
	struct holder one;
	bool any;

	begin_holders(&h, s, r, steps);
	any = changeset_holder_next(&h, &one);
	changeset_holders_release(&h);
	return any;
}

/* ---- a holder that is kept in sight ---- */

void watch_release(struct watch *w)
{
	walk_release(&w->at);
	memset(w, 0, sizeof *w);
}

/* Goes on with the very record that was found last. */
static void take_up(struct holders *h, struct watch *w)
{
	h->steps += w->stage;
	h->at = w->at;
	h->at.again = true;
}

static void put_down(struct holders *h, struct watch *w, holder_step *const *first)
{
	w->stage = (unsigned)(h->steps - first);
	w->at = h->at;
	memset(&h->at, 0, sizeof h->at);
	changeset_holders_release(h);
}

/* From where it stopped to the end; only a walk over all of it that finds nothing says that there is
 * nothing. */
static bool look(struct state *s, const struct record *r, struct watch *w, holder_step *const *steps)
{
	bool whole = w->stage == 0 && w->at.key.len == 0;
	struct holders h;
	struct holder one;

	begin_holders(&h, s, r, steps);
	take_up(&h, w);
	w->found = changeset_holder_next(&h, &one);
	if (!w->found && !whole) {
		h.steps = steps;
		w->found = changeset_holder_next(&h, &one);
	}
	if (!w->found)
		h.steps = steps;
	put_down(&h, w, steps);
	return w->found;
}

static bool still_found(struct state *s, const struct record *r, struct watch *w,
			holder_step *const *steps)
{
	struct holders h;
	struct holder one;

	if (!w->found)
		return false;
	begin_holders(&h, s, r, steps);
	take_up(&h, w);
	w->found = one_step(&h, &one) == STEP_HOLDS;
	put_down(&h, w, steps);
	return w->found;
}

bool changeset_incomplete(struct state *s, const struct record *r, struct watch *w)
{
	return look(s, r, w, of_listing);
}

bool changeset_still_incomplete(struct state *s, const struct record *r, struct watch *w)
{
	return still_found(s, r, w, of_listing);
}

bool changeset_still_held(struct state *s, const struct record *r, struct watch *w)
{
	return from_here(state_repo(s, r->repo), r) && still_found(s, r, w, of_lines);
}

/* Whether the position that r makes is one at which everything has been listed once, and each change
 * since: a listing says that it is complete, or begins where that was so. */
static bool makes_whole(const struct repo_state *rs, const struct record *r)
{
	return r->complete || r->whole || (rs->whole && is_since(r, rs->commit)) ||
	       (rs->held_whole && since_held(rs, r)) || (r->prior_whole && is_since(r, r->prior));
}

/* r waits for lines of no known repository before it in this run. */
static void hold_unknown(struct state *s, const struct record *r)
{
	struct run_state *run = state_run(s);
	struct repo_state *rs = state_repo(s, r->repo);
	uint32_t ord = state_own_ord(s, r->at);

	if (ord == 0)
		return;
	if (rs->unknown_run != run->number) {
		state_unknown_release(s, r->repo, false);	/* of a run that this one took over */
		rs->unknown_run = run->number;
		run->unknown_holding++;
	}
	if (rs->unknown_ord < ord)
		rs->unknown_ord = ord;
	if (run->unknown_top < ord)
		run->unknown_top = ord;
}

/* Runs that take a run's lines over follow it one by one. */
bool changeset_unknown_holds(struct state *s, const struct failure *f)
{
	bool holds = false, own = true;

	for (uint32_t n = f->line.run; own && !holds && n <= f->line.run + RUN_ANCESTORS; n++) {
		struct run_state run;
		uint32_t ord = 0;

		if (n < state_head(s)->next_run && state_run_get(s, n, &run) == 0) {
			ord = run_own_ord(&run, f->line);
			holds = ord != 0 && ord < run.unknown_top;
			own = ord != 0;
			run_release(&run);
		}
	}
	return holds;
}

bool changeset_unknown_counts(struct state *s, const struct failure *f)
{
	uint32_t whole = state_head(s)->whole_run;
	struct run_state run;
	bool own;

	if (f->line.run > whole)
		return true;
	load_run(s, whole, &run);
	own = run_own_ord(&run, f->line) != 0;
	run_release(&run);
	return own || changeset_unknown_holds(s, f);
}

void changeset_unknown_again(struct state *s, struct failure *f)
{
	struct failure old = { 0 };

	while (state_unknown_same(s, f->digest, old.line, &old)) {
		if (state_own_ord(s, old.line) != 0 || changeset_unknown_holds(s, &old))
			continue;
		if (old.first_s < f->first_s)
			f->first_s = old.first_s;
		state_failure_del_line(s, f->repo, old.line);
	}
	failure_release(&old);
}

uint64_t changeset_unknown_expire(struct state *s, int64_t before_unix_s)
{
	struct failure_walk at = { 0 };
	struct failure f = { 0 };
	uint64_t n = 0;

	while (state_unknown_next(s, &at, &f) && f.last_s < before_unix_s) {
		if (changeset_unknown_counts(s, &f))
			continue;
		state_failure_del_at(s, &at);
		n++;
		if (state_dirty(s) > STATE_DIRTY_MAX)
			state_commit(s);
	}
	failure_release(&f);
	failure_walk_release(&at);
	return n;
}

static struct repo_state *enter_run(struct state *s, const char *repo, uint32_t run);

bool changeset_from_here(struct state *s, const struct record *r)
{
	return from_here(state_repo(s, r->repo), r) || is_since(r, r->prior);
}

enum record_verdict changeset_look(struct state *s, const struct record *r, struct watch *w)
{
	if (state_run(s) != NULL)	/* what the last run left open is known from now on */
		enter_run(s, r->repo, state_run(s)->number);
	if (!changeset_from_here(s, r))
		return RECORD_NOT_FROM_HERE;
	if (!look(s, r, w, of_lines))
		return RECORD_ADVANCE;
	return from_here(state_repo(s, r->repo), r) ? RECORD_HELD : RECORD_NOT_FROM_HERE;
}

void changeset_closes(struct state *s, const struct record *r)
{
	uint32_t number = state_repo(s, r->repo)->unknown_run;
	struct run_state run;

	load_run(s, r->at.run, &run);
	if (number < r->at.run && run_own_ord(&run, (struct place_in_run){ number, 1 }) == 0)
		state_unknown_release(s, r->repo, true);
	state_failures_closed(s, r->repo, &run);
	run_release(&run);
	if (any_unknown(s, r))
		hold_unknown(s, r);
}

/* What a retry did has been closed by the record that now counts. */
static void tighten(struct state *s, const struct record *r)
{
	struct walk at = { 0 };
	struct doc_state d;
	struct run_state run;

	if (state_repo(s, r->repo)->loose == 0)
		return;
	load_run(s, r->at.run, &run);
	while (state_walk(s, 'd', r->repo, &at))
		if (doc_decode(&d, (const uint8_t *)at.value.data, at.value.len) == 0 &&
		    (d.flags & DOC_LOOSE) && named_in(&run, r, d.last)) {
			d.flags &= (uint8_t)~DOC_LOOSE;
			state_doc_put(s, at.repo, at.path, &d);
		}
	walk_release(&at);
	run_release(&run);
}

static void drop_held(struct repo_state *rs)
{
	repo_set_text(&rs->held_commit, "");
	repo_set_text(&rs->held_since, "");
	repo_set_text(&rs->held_changeset, "");
	rs->held = (struct place_in_run){ 0, 0 };
	rs->held_number = rs->held_waiting = 0;
	rs->held_why = 0;
	rs->held_whole = false;
}

/* The tails that r has closed go; lines after it stay open. */
static void drop_tails(struct state *s, struct repo_state *rs, const struct record *r)
{
	bool released = state_run(s) == NULL || r->at.run != state_run(s)->number;
	uint8_t n = 0;

	for (int i = 0; i < rs->ntails; i++) {
		struct tail t = rs->tails[i];

		if (t.run == 0 ? released : place_compare((struct place_in_run){ t.run, t.to }, r->at) > 0)
			rs->tails[n++] = t;
	}
	rs->ntails = n;
}

/* The position is believed, and nobody has filled it: a producer of differences alone has nothing to
 * list where nothing has changed. */
static void tell_unfilled(const struct repo_state *rs, const struct record *r)
{
	if (rs->present > 0 || makes_whole(rs, r) || strcmp(rs->commit, r->commit) == 0)
		return;
	log_warn("'%s' stands at '%s' because its record says so, and nothing of it is stored; what no line has "
		 "named is missing: list everything once, with \"complete\":true in the record, or with git-changes",
		 r->repo, r->commit);
}

void changeset_advance(struct state *s, const struct record *r)
{
	struct repo_state *rs;

	tighten(s, r);
	rs = state_repo(s, r->repo);
	tell_unfilled(rs, r);
	rs->whole = makes_whole(rs, r);
	repo_set_text(&rs->commit, r->commit);
	repo_set_text(&rs->changeset, r->changeset);
	rs->position = r->at;
	rs->position_s = clock_unix_s();
	drop_tails(s, rs, r);
	if (place_compare(rs->held, r->at) <= 0)
		drop_held(rs);
}

/* Too many: those of other runs become one that stands for all since the position, those of this run
 * one from the first to the last. */
static void merge_tails(struct repo_state *rs, uint32_t run)
{
	struct tail own = { run, UINT32_MAX, 0 };

	for (int i = 0; i < rs->ntails; i++) {
		const struct tail *t = &rs->tails[i];

		if (t->run == run && t->from < own.from)
			own.from = t->from;
		if (t->run == run && t->to > own.to)
			own.to = t->to;
	}
	rs->ntails = 0;
	if (own.from <= own.to)
		rs->tails[rs->ntails++] = own;
	rs->tails[rs->ntails++] = (struct tail){ 0, 0, UINT32_MAX };
}

static void add_tail(struct repo_state *rs, uint32_t run, uint32_t from, uint32_t to)
{
	if (from > to)
		return;
	for (int i = 0; i < rs->ntails; i++)	/* the same lines again, and more */
		if (rs->tails[i].run == run && rs->tails[i].from == from && rs->tails[i].to <= to) {
			rs->tails[i].to = to;
			return;
		}
	if (rs->ntails == REPO_TAILS)
		merge_tails(rs, run);
	rs->tails[rs->ntails++] = (struct tail){ run, from, to };
}

/* A record that steps back behind the held one takes its place: what that one closed is open again,
 * also when this one is looked at later. */
static void reopen(struct state *s, struct repo_state *rs, const struct record *r)
{
	if (!steps_back(rs, r))
		return;
	if (r->at.run - rs->position.run >= REPO_TAILS / 2) {
		merge_tails(rs, r->at.run);
		add_tail(rs, r->at.run, 1, rs->block);
		return;
	}
	for (uint32_t run = rs->position.run; run <= r->at.run; run++) {
		uint32_t cut = run_cut(state_run(s), run);
		uint32_t from = run == rs->position.run ? rs->position.ord + 1 : 1;

		add_tail(rs, run, from, cut == 0 ? UINT32_MAX : rs->block);
		if (cut != 0 && cut != UINT32_MAX)	/* what was given up where that run was cut */
			add_tail(rs, run, cut > from ? cut : from, UINT32_MAX);
	}
}

void changeset_hold(struct state *s, const struct record *r, enum held_why why, uint64_t waiting)
{
	struct repo_state *rs = state_repo(s, r->repo);

	reopen(s, rs, r);
	rs->held_whole = why == HELD_LINES && makes_whole(rs, r);
	repo_set_text(&rs->held_commit, r->commit);
	repo_set_text(&rs->held_since, r->since);
	repo_set_text(&rs->held_changeset, r->changeset);
	rs->held = r->at;
	rs->held_number = r->number;
	rs->held_why = (uint8_t)why;
	rs->held_waiting = waiting > UINT32_MAX ? UINT32_MAX : (uint32_t)waiting;
}

/* The held record, whose `since` was judged when it was held; its texts lie in what is to be replaced. */
static struct record held_record(struct state *s, const char *repo)
{
	const struct repo_state *rs = state_repo(s, repo);

	return (struct record){ .repo = repo, .at = rs->held, .number = rs->held_number,
		.commit = rs->held_commit, .changeset = rs->held_changeset, .whole = rs->held_whole };
}

static bool is_held(struct state *s, const char *repo)
{
	const struct repo_state *rs = state_repo(s, repo);

	return rs->held_commit[0] != '\0' && rs->held_why == HELD_LINES;
}

bool changeset_release_seen(struct state *s, const char *repo, struct watch *w)
{
	struct record r;
	autofree char *commit = NULL, *changeset = NULL;

	if (!is_held(s, repo))
		return false;
	r = held_record(s, repo);
	if (changeset_look(s, &r, w) != RECORD_ADVANCE)
		return false;
	r.commit = commit = xstrdup(r.commit);
	r.changeset = changeset = xstrdup(r.changeset);
	changeset_advance(s, &r);
	return true;
}

void changeset_recount(struct state *s, const char *repo)
{
	struct record r = held_record(s, repo);
	uint64_t n;

	if (!is_held(s, repo))
		return;
	n = changeset_waiting(s, &r);
	state_repo(s, repo)->held_waiting = n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

bool changeset_release(struct state *s, const char *repo)
{
	struct watch w = { 0 };
	bool released = changeset_release_seen(s, repo, &w);

	watch_release(&w);
	if (!released)
		changeset_recount(s, repo);
	return released;
}

/* The lines after the last record of the run that was last at work here, also those that it took over
 * from earlier runs: documents name the run that did them. */
static void add_open_lines(struct state *s, struct repo_state *rs)
{
	struct run_state run;

	load_run(s, rs->run, &run);
	for (int i = 0; i < run.nancestors; i++)
		add_tail(rs, run.ancestors[i].run, rs->block + 1, run.ancestors[i].cut - 1);
	add_tail(rs, rs->run, rs->block + 1, UINT32_MAX);
	run_release(&run);
}

/* The position stands on a line that was given up: lines before the cut, which are not done again, may
 * say of these documents what was true before.  They count as changed until a line finishes them, those
 * too that a line behind the position, up to `same`, found as they were at it. */
static void loosen(struct state *s, const char *repo, uint32_t run, uint32_t from, uint32_t to,
		   uint32_t same)
{
	struct walk at = { 0 };
	struct doc_state d;

	while (state_walk(s, 'd', repo, &at))
		if (doc_decode(&d, (const uint8_t *)at.value.data, at.value.len) == 0 &&
		    d.last.run == run && d.last.ord >= from &&
		    d.last.ord <= (d.flags & DOC_SAME ? same : to)) {
			d.flags = (uint8_t)((d.flags | DOC_LOOSE) & ~DOC_SAME);
			state_doc_put(s, at.repo, at.path, &d);
		}
	walk_release(&at);
}

/* Of a run that was cut at a difference, lines from the cut on changed the store and were taken back
 * from the input: those that it did itself, and those that it had taken over from earlier runs, whose
 * documents name these. */
static void give_up(struct state *s, const char *repo, struct repo_state *rs, uint32_t cut)
{
	struct run_state run;
	uint32_t position;

	load_run(s, rs->run, &run);
	position = run_own_ord(&run, rs->position);
	for (int i = 0; i <= run.nancestors; i++) {
		bool own = i == run.nancestors;
		uint32_t done_by = own ? rs->run : run.ancestors[i].run;
		uint32_t to = own ? UINT32_MAX : run.ancestors[i].cut - 1;
		uint32_t closed = position < to ? position : to;

		if (cut > 1 && closed >= cut)
			loosen(s, repo, done_by, cut, closed, to);
		add_tail(rs, done_by, closed >= cut ? closed + 1 : cut, to);
	}
	run_release(&run);
}

/* Lines of the run that was last at work here become a tail where no record closed them.  Of a run
 * that was cut at a difference, those below the cut are this run's own. */
static void leave_run(struct state *s, const char *repo, struct repo_state *rs)
{
	uint32_t cut = run_cut(state_run(s), rs->run);

	if (cut == 0) {
		if (rs->last_ord > rs->block)
			add_open_lines(s, rs);
		rs->block = rs->last_ord = 0;
		return;
	}
	if (rs->last_ord >= cut) {
		give_up(s, repo, rs, cut);
		rs->last_ord = cut - 1;
	}
	if (rs->block >= cut)	/* which record below the cut was the last is not known any more */
		rs->block = 0;
}

static struct repo_state *enter_run(struct state *s, const char *repo, uint32_t run)
{
	struct repo_state *rs = state_repo(s, repo);

	if (rs->run != run) {
		if (rs->run != 0)
			leave_run(s, repo, rs);
		rs->run = run;
	}
	return rs;
}

void changeset_line(struct state *s, const char *repo, struct place_in_run at)
{
	struct run_state *run = state_run(s);
	struct repo_state *rs = enter_run(s, repo, run->number);
	uint32_t ord = state_own_ord(s, at);

	if (ord > rs->last_ord)
		rs->last_ord = ord;
}

void changeset_close_block(struct state *s, const char *repo, struct place_in_run at, bool closes)
{
	struct repo_state *rs = enter_run(s, repo, state_run(s)->number);
	uint32_t ord = state_own_ord(s, at);

	if (ord == 0 || ord <= rs->block)
		return;
	if (!closes)
		add_tail(rs, rs->run, rs->block + 1, ord);
	rs->block = ord;
}

bool changeset_touched(struct state *s, const char *repo, const struct doc_state *d)
{
	const struct repo_state *rs = state_repo(s, repo);

	if (rs->commit[0] == '\0')
		return true;
	if (d->flags & (DOC_LOOSE | DOC_UNCOMMITTED))
		return true;
	return !(d->flags & DOC_SAME) && d->last.run != 0 && place_compare(d->last, rs->position) > 0;
}

bool changeset_unclosed(struct state *s, const char *repo, const struct repo_state *rs)
{
	uint32_t cut = run_cut(state_run(s), rs->run);
	uint32_t block = rs->block < cut ? rs->block : 0;

	if (rs->commit[0] == '\0')
		return false;
	if (rs->last_ord > block && rs->last_ord < cut)
		return true;
	return rs->failed > 0 && state_failed_after(s, repo, block);
}
