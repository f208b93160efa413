/* linesync skip: a person accepts a failed line, or a document in doubt, as it is. */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "changeset.h"
#include "cleanup.h"
#include "commands.h"
#include "log.h"
#include "text.h"

struct skip {
	const struct options *o;
	struct state *s;
	struct buf said;	/* lines to print once it is durable */
};

/* True while a half of the line at `at` has a failure. */
static bool still_failed(struct state *s, struct place_in_run at)
{
	struct failure_walk walk = { .at = at };
	struct failure f = { 0 };
	bool found = state_failure_next(s, &walk, &f) && place_compare(f.line, at) == 0;

	failure_release(&f);
	failure_walk_release(&walk);
	return found;
}

/* A run counts the line under another status. */
static void count_line(struct state *s, uint32_t number, enum status was, enum status now)
{
	struct run_state *open = state_run(s), other = { 0 };
	struct run_state *r = open != NULL && open->number == number ? open : &other;

	if (r == &other && state_run_get(s, number, &other) != 0)
		return;
	if (r->counts[was] > 0) {
		r->counts[was]--;
		r->counts[now]++;
	}
	if (r == &other)
		state_run_put(s, &other);
	run_release(&other);
}

/* A line is settled after its run: it is counted so and, where its run is the newest and its lines are
 * still kept to be resumed, not done again. */
static void settle_line(struct state *s, struct place_in_run at, enum status was, enum status now,
			enum reason reason)
{
	struct line_state line;
	uint32_t ord = state_own_ord(s, at);

	count_line(s, at.run, was, now);
	if (ord != 0 && state_line_get(s, ord, &line) && line.status == was)
		state_line_set(s, ord, now, reason);
}

static void accept_line(struct state *s, struct place_in_run at)
{
	if (!still_failed(s, at))
		settle_line(s, at, STATUS_FAILED, STATUS_SKIPPED, REASON_ACCEPTED);
}

static void take_up_open_run(struct state *s)
{
	struct run_state last;

	if (command_last_run(s, &last) == 0 && last.lines > 0 &&
	    (last.status == RUN_INTERRUPTED || last.status == RUN_RUNNING))
		run_interrupt(state_run_take_up(s, last.number));
	run_release(&last);
}

/* A run's counter of failed lines whose repository is not known; state.c keeps that of the run that
 * is taken up. */
static void count_unknown_down(struct state *s, uint32_t number)
{
	struct run_state *open = state_run(s), r;

	if (open != NULL && open->number == number)
		return;
	if (state_run_get(s, number, &r) == 0 && r.unknown_failures > 0) {
		r.unknown_failures--;
		state_run_put(s, &r);
	}
	run_release(&r);
}

static void say(struct skip *k, const struct buf *line)
{
	text_printable(&k->said, line->data, line->len, SIZE_MAX);
	buf_addc(&k->said, '\n');
}

static void tell_accepted(struct skip *k, const struct failure *f)
{
	auto_buf struct buf line = BUF_INIT;

	buf_adds(&line, "accepted ");
	command_run_name(&line, k->s, f->line.run);
	buf_addf(&line, ":%" PRIu64, f->number);
	if (f->path[0] != '\0')
		buf_addf(&line, ", %s%s%s", f->repo, f->repo[0] != '\0' ? " " : "", f->path);
	buf_addf(&line, " (%s)", error_name((enum error_code)f->code));
	say(k, &line);
}

static void release(struct skip *k, const char *repo)
{
	struct place_in_run held = state_repo(k->s, repo)->held;
	bool moved = changeset_release(k->s, repo);
	const struct repo_state *r = state_repo(k->s, repo);
	const char *name = repo[0] != '\0' ? repo : "''";
	auto_buf struct buf line = BUF_INIT;

	if (moved) {
		settle_line(k->s, held, STATUS_HELD, STATUS_COMPLETED, REASON_NONE);
		buf_addf(&line, "the changeset of %s moved to %s", name, r->commit);
	} else if (r->held_commit[0] != '\0') {
		buf_addf(&line, "changeset %s of %s is still held; see ", r->held_commit, name);
		command_line(&line, k->o, "status", k->s);
		buf_adds(&line, " --held");
	} else {
		return;
	}
	say(k, &line);
}

/* A failed line of no known repository may have held any of them. */
static void release_all(struct skip *k)
{
	struct walk at = { 0 };
	struct repo_state r;

	while (state_walk_repos(k->s, &at)) {
		if (repo_decode(&r, (const uint8_t *)at.value.data, at.value.len) == 0 &&
		    r.held_commit[0] != '\0')
			release(k, at.repo);
		repo_release(&r);
	}
	walk_release(&at);
}

/* ---- what `status` makes of it ---- */

/* A repository's record as it is now; walks give those that were committed. */
static bool repo_waits(struct state *s, const char *repo)
{
	const struct repo_state *r = state_repo(s, repo);

	return r->failed > 0 || r->held_commit[0] != '\0';
}

static bool anything_waits(struct state *s)
{
	struct walk at = { 0 };
	struct failure_walk unknown = { 0 };
	struct failure f = { 0 };
	bool waits = state_head(s)->exclude_open;

	while (!waits && state_unknown_next(s, &unknown, &f))
		waits = changeset_unknown_counts(s, &f);
	while (!waits && state_walk_repos(s, &at))
		waits = repo_waits(s, at.repo);
	failure_release(&f);
	failure_walk_release(&unknown);
	walk_release(&at);
	return waits;
}

/* When all that had failed is accepted, and nothing is held, the last run ended as well as one could wish. */
static void make_good(struct state *s)
{
	struct run_state last;

	if (command_last_run(s, &last) == 0 && last.status == RUN_FAILED && !anything_waits(s)) {
		last.good = true;
		state_run_put(s, &last);
	}
	run_release(&last);
}

/* ---- RUN:LINE ---- */

/* Splits RUN:LINE; the run's number, or 0 with the reason logged. */
static uint32_t parse_line(struct state *s, const char *arg, uint64_t *line)
{
	const char *colon = strrchr(arg, ':');
	autofree char *run = NULL;
	uint32_t number;

	if (colon == NULL || parse_uint(line, colon + 1, 1, UINT64_MAX) != 0) {
		log_err("'%s' is no RUN:LINE; 'linesync status --failed' shows them", arg);
		return 0;
	}
	run = xmemdup0(arg, (size_t)(colon - arg));
	number = command_run_number(s, run);
	if (number == 0)
		log_err("there is no run '%s'; 'linesync status --runs' lists them", run);
	return number;
}

/* Both halves of a rename are one line, of one repository. */
static int skip_line(struct skip *k)
{
	struct failure_walk at = { 0 };
	struct failure f = { 0 };
	struct place_in_run place = { 0, 0 };
	autofree char *repo = NULL;
	uint64_t line;
	uint32_t number = parse_line(k->s, k->o->args[0], &line);

	if (number == 0)
		return 64;
	while (state_failure_next(k->s, &at, &f) && f.line.run <= number) {
		if (f.line.run != number || f.number != line)
			continue;
		place = f.line;
		tell_accepted(k, &f);
		state_failure_del_at(k->s, &at);
		if (!at.repo_known)
			count_unknown_down(k->s, number);
		else if (repo == NULL)
			repo = xstrdup(f.repo);
	}
	failure_release(&f);
	failure_walk_release(&at);
	if (place.run == 0) {
		log_err("'%s' is no failed line; 'linesync status --failed' shows them", k->o->args[0]);
		return 1;
	}
	accept_line(k->s, place);
	if (repo != NULL)
		release(k, repo);
	else
		release_all(k);
	return 0;
}

/* ---- --path ---- */

static bool in_doubt(const struct mark *m)
{
	return (m->flags & MARK_DOUBT) || !(m->flags & MARK_SETTLED);
}

/* What the store holds of it is as unknown as before: it is never "unchanged", and a delete is sent. */
static void forget_contents(struct state *s, const char *repo, const char *path, const struct mark *m)
{
	struct doc_state d;

	if (!state_doc_get(s, repo, path, &d))
		memset(&d, 0, sizeof(d));
	d.flags &= (uint8_t)~(DOC_KNOWN | DOC_ABSENT);
	d.flags |= DOC_PRESENT;
	if (d.chunks < m->chunks)
		d.chunks = m->chunks;
	if (d.chunks == 0)
		d.chunks = 1;
	state_doc_put(s, repo, path, &d);
}

static bool skip_doubt(struct skip *k, const char *repo, const char *path)
{
	auto_buf struct buf line = BUF_INIT;
	struct mark m;

	if (!state_mark_get(k->s, repo, path, &m) || !in_doubt(&m))
		return false;
	forget_contents(k->s, repo, path, &m);
	m.flags = (uint8_t)((m.flags & ~MARK_DOUBT) | MARK_SETTLED);
	state_mark_put(k->s, repo, path, &m);
	buf_addf(&line, "accepted what the store holds of %s", path);
	say(k, &line);
	return true;
}

static bool skip_failure(struct skip *k, const char *repo, const char *path)
{
	struct failure f;

	if (!state_failure_get(k->s, repo, path, &f))
		return false;
	tell_accepted(k, &f);
	state_failure_del(k->s, repo, path);
	accept_line(k->s, f.line);
	failure_release(&f);
	return true;
}

static int skip_path(struct skip *k)
{
	const char *repo = k->o->repo != NULL ? k->o->repo : "";
	bool failure = skip_failure(k, repo, k->o->path);
	bool doubt = skip_doubt(k, repo, k->o->path);

	if (!failure && !doubt) {
		log_err("document '%s' of repository '%s' has neither failed nor is it in doubt; --repo "
			"names its repository, with its namespace", k->o->path, repo);
		return 1;
	}
	release(k, repo);
	return 0;
}

/* ---- the command ---- */

int cmd_skip(const struct options *o)
{
	struct skip k = { .o = o };
	autofree char *file = NULL;
	int status = 0;

	file = command_state(o, &status);
	if (file == NULL)
		return status;
	status = state_open_existing(&k.s, file, (int64_t)o->wait_lock_ms);
	if (status != 0)
		return status;
	state_marks_doubt(k.s);
	take_up_open_run(k.s);
	status = o->path != NULL ? skip_path(&k) : skip_line(&k);
	if (status == 0) {
		make_good(k.s);
		state_commit(k.s);
		fputs(k.said.data, stdout);
	}
	buf_release(&k.said);
	state_close(k.s);
	return status;
}
