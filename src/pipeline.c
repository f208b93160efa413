/* How a line travels, and why a crash between any two steps is safe:
 *
 *  1. intake_line()      a line is read, counted, its digest recorded (in memory)      intake.c
 *  2. content_load()     what it asks for: its document, its text
 *  3. task_queue()       when no earlier line of its document is unsettled: compare;  task.c
 *                        nothing to do, or into a batch
 *  4. commit()           the batch's documents are marked "in flight", durable        here:
 *  5. lane_send()        the request                                                  settle_and_send()
 *  6. task_item_done()   the store's verdict on each object                           task.c
 *  7. commit()           lines, documents, changesets (records.c) that it settles, together with
 *                        step 4 of the next batch
 *  8. output_add()       results of what is durable now
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
#include "log.h"
#include "progress.h"
#include "results.h"
#include "stop.h"
#include "text.h"
#include "pipeline_p.h"

/* ---- commit and print: steps 4, 7 and 8 ---- */

void pipeline_count(struct pipeline *p, struct place_in_run at, enum status before, enum status now,
		    enum reason reason, enum change_op op)
{
	struct run_state *run = state_run(p->state);

	if (before != STATUS_NONE && at.run == run->number)
		run->counts[before]--;
	else
		run->ops[op]++;
	run->counts[now]++;
	if (now == STATUS_SKIPPED && reason == REASON_UNCHANGED)
		run->unchanged++;
}

static void mark_batch(struct pipeline *p, struct batch *b)
{
	int64_t now = clock_unix_s();

	for (struct lane_item *i = batch_items(b); i != NULL; i = i->next) {
		struct task *t = ((struct piece *)i->owner)->task;
		struct doc *d = t->doc;
		struct mark *m = &d->mark;
		uint32_t most = task_most_chunks(d);

		if (t->marked)
			continue;	/* before its first attempt, or with another chunk */
		t->marked = true;
		if (!d->has_mark)
			m->flags = 0;
		m->flags = (uint8_t)((m->flags & MARK_DOUBT) | (t->kind == LANE_DELETE ? MARK_DELETE : 0));
		memcpy(m->digest, t->digest, SYNC_DIGEST_SIZE);
		m->count = t->kind == LANE_UPSERT ? t->npieces : 0;
		m->chunks = most > m->count ? most : m->count;
		m->line = t->work->at;
		m->since_s = now;
		m->uncommitted = t->work->uncommitted;
		task_mark_put(p, d);
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
	outbox_release_to(p->outbox, p->parts.output);
	for (struct work *w = p->settled, *next; w != NULL; w = next) {
		next = w->done_next;
		work_free(w);
	}
	p->settled = NULL;
}

static bool commit_due(const struct pipeline *p)
{
	return outbox_due(p->outbox, clock_ms()) || state_dirty(p->state) >= STATE_DIRTY_MAX;
}

/* Steps 4, 5, 7 and 8 for what is ready now.  no_more: nothing new may be sent. */
static void settle_and_send(struct pipeline *p, bool no_more)
{
	struct batch *batches[64];
	int n = 0;

	while (!no_more && n < 64 && (batches[n] = lane_next(p->lane)) != NULL)
		mark_batch(p, batches[n++]);
	if (n > 0 || commit_due(p))
		commit(p);
	for (int i = 0; i < n; i++)
		lane_send(p->lane, batches[i]);
}

/* ---- the loop ---- */

/* While every connection is busy, a part of the next request is enough to have ready. */
static bool ahead_enough(const struct pipeline *p)
{
	return !lane_starved(p->lane) && lane_waiting(p->lane) >= p->max_ahead;
}

static bool room(const struct pipeline *p)
{
	return p->window_bytes < p->max_bytes && p->window_works < p->max_works && !ahead_enough(p) &&
	       !output_full(p->parts.output) && !lane_away(p->lane) &&
	       (p->embed_lane == NULL || !lane_away(p->embed_lane));
}

static bool all_taken(const struct pipeline *p)
{
	return p->sweeping == NULL && !excluded_going(p) && (p->halt != 0 || (p->eof && p->retries_done));
}

/* Takes what may be taken without waiting.  Returns true if input would have to be waited for. */
static bool take_some(struct pipeline *p)
{
	for (int n = 0; n < 1000 && p->stop_status == 0 && outbox_tally(p->outbox)->failed <= p->o->max_failures && room(p); n++) {
		struct line line;

		if (p->sweeping != NULL) {
			records_sweep_turn(p);
			continue;
		}
		if (excluded_going(p)) {
			excluded_turn(p);
			if (commit_due(p))
				commit(p);
			continue;
		}
		if (p->halt != 0)
			return false;
		if (!p->retries_done) {
			p->retries_done = p->o->no_retry || !intake_retry(p);
			continue;
		}
		if (p->eof)
			return false;
		if (p->has_first) {
			p->has_first = false;
			intake_line(p, &p->first);
			continue;
		}
		switch (input_next(p->parts.input, &line)) {
		case INPUT_LINE:
			intake_line(p, &line);
			break;
		case INPUT_MORE:
			return true;
		case INPUT_END:
			p->eof = true;
			if (p->matching && p->ord < p->recorded)
				intake_branch(p, p->ord + 1, 0);
			return false;
		}
		if (commit_due(p))
			commit(p);
	}
	return false;
}

static void show_progress(struct pipeline *p, bool asked)
{
	const struct tally *t = outbox_tally(p->outbox);
	struct progress_figures f = { 0 };

	for (int i = STATUS_COMPLETED; i <= STATUS_HELD; i++)
		f.done += t->counts[i];
	f.failed = t->counts[STATUS_FAILED];
	f.in_flight = p->window_works;
	f.total_lines = p->o->total;
	f.bytes = input_bytes(p->parts.input);
	f.total_bytes = p->parts.input_size;
	f.path = p->current[0] != '\0' ? p->current : NULL;
	if (asked)
		progress_print(&f);
	else if (progress_on() && clock_ms() >= progress_due())
		progress_draw(&f);
}

static int64_t earliest(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Sleeps until something can go on, or until limit. */
void pipeline_wait(struct pipeline *p, bool want_input, int64_t limit)
{
	bool prints = output_waiting(p->parts.output) > 0 && !p->output_gone;
	struct pollfd fds[4] = {
		{ .fd = want_input ? p->parts.input_fd : -1, .events = POLLIN },
		{ .fd = prints ? output_fd(p->parts.output) : -1, .events = POLLOUT },
		{ .fd = stop_signal() == 0 ? stop_fd() : -1, .events = POLLIN },
		{ .fd = stop_usr1_fd(), .events = POLLIN },
	};

	http_wait(p->parts.http, fds, 4, limit);
	if (fds[0].revents != 0 && input_read(p->parts.input) < 0 && p->stop_status == 0) {
		log_err("cannot read the input: %s", strerror(errno));
		p->stop_status = 66;
	}
	if (fds[1].revents != 0 && output_write(p->parts.output) != 0) {
		p->stop_status = errno == EPIPE ? 141 : 74;
		if (errno != EPIPE)
			log_err("cannot write results: %s", strerror(errno));
		p->output_gone = true;
	}
	if (fds[3].revents != 0 && stop_usr1())
		show_progress(p, true);
}

/* Before anything is sent of which the state could not take up what becomes of it. */
static void stop_if_full(struct pipeline *p)
{
	if (!state_full(p->state))
		return;
	log_err("state '%s' is full: nothing more is sent; 'linesync forget REPO --state %s' of a repository that "
		"is not needed makes room, or feed some repositories to another collection",
		state_path(p->state), state_path(p->state));
	p->stop_status = 74;
}

bool pipeline_must_stop(struct pipeline *p)
{
	if (stop_signal() != 0)
		return true;
	if (p->stop_status == 0)
		stop_if_full(p);
	if (p->stop_status == 0)
		p->stop_status = lane_stop(p->lane);
	if (p->stop_status == 0 && p->embed_lane != NULL)
		p->stop_status = lane_stop(p->embed_lane);
	if (p->stop_status == 0 && outbox_tally(p->outbox)->failed > p->o->max_failures) {
		log_err("more than %llu lines failed (--max-failures); the same command resumes",
			(unsigned long long)p->o->max_failures);
		p->stop_status = 1;
	}
	return p->stop_status != 0;
}

/* When the loop has something to do that nothing else wakes it for. */
static int64_t next_turn(struct pipeline *p)
{
	int64_t due = earliest(progress_due(), task_late_due(p));

	/* what may not be sent is no reason to wake up */
	if (!output_full(p->parts.output))
		due = earliest(due, lane_due(p->lane));
	if (!output_full(p->parts.output) && p->embed_lane != NULL)
		due = earliest(due, lane_due(p->embed_lane));
	return earliest(due, outbox_due_ms(p->outbox));
}

/* What needs no commit: nothing is stored by it. */
static void embed_turn(struct pipeline *p, bool no_more)
{
	struct batch *b;

	if (p->embed_lane == NULL)
		return;
	lane_turn(p->embed_lane);
	if (lane_starved(p->embed_lane) && (all_taken(p) || !room(p)))
		lane_flush(p->embed_lane);
	while (!no_more && (b = lane_next(p->embed_lane)) != NULL)
		lane_send(p->embed_lane, b);
}

/* Nothing more will fill what is open. */
static bool flushing_helps(const struct pipeline *p)
{
	return lane_starved(p->lane) && (all_taken(p) || !room(p)) &&
	       (p->embed_lane == NULL || lane_empty(p->embed_lane));
}

static void run_loop(struct pipeline *p)
{
	while (!pipeline_must_stop(p)) {
		bool want_input = take_some(p), more;

		lane_turn(p->lane);
		embed_turn(p, output_full(p->parts.output) || pipeline_must_stop(p));
		task_late_turn(p);
		records_judge(p, false);
		if (flushing_helps(p))
			lane_flush(p->lane);
		/* an answer that came with the signal must not lead to another request */
		settle_and_send(p, output_full(p->parts.output) || pipeline_must_stop(p));
		show_progress(p, false);
		if (pipeline_must_stop(p) || (all_taken(p) && p->window_works == 0))
			return;		/* to stop ends the waits of the lane: nothing would wake us */
		more = !want_input && room(p) && !all_taken(p);
		pipeline_wait(p, want_input && room(p), more ? 0 : next_turn(p));
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

/* On some stores what an earlier process got acknowledged, or never heard of, is sure to last only once a
 * later write is answered (I1): true if one was that went out when the attempt was over.  later_ms: when
 * the last such write went out; 0: none. */
static bool surely_lasts(struct pipeline *p, const struct doc *d, int64_t *later_ms)
{
	struct ask a = { .kind = ASK_TOUCH };
	int64_t now = clock_ms();
	bool answered;

	if (!p->parts.store->driver->lasts_after_next || (*later_ms != 0 && *later_ms >= d->late_until))
		return true;
	answered = ask_once(p->parts.store, p->parts.http, &a, stop_fd()) == 0 && a.verdict.scope == VERDICT_OK;
	ask_release(&a);
	if (answered)
		*later_ms = now;
	return answered;
}

/* Asks the store for every object that the document may have.  False if the answer is not clear. */
static bool fetch_doc(struct pipeline *p, struct doc *d, struct ask *a)
{
	uint32_t n = task_most_chunks(d) + 1;
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
	/* what an earlier line left open and this one did not replace stays where that line stands */
	if ((is_sent || !changeset_touched(p->state, d->repo, k)) &&
	    !state_later(p->state, k->last, d->mark.line))	/* a later line has only named it */
		k->last = d->mark.line;
	/* no record has closed what this was: the next one must name it */
	k->flags |= DOC_LOOSE | (d->mark.uncommitted ? DOC_UNCOMMITTED : 0);
	state_doc_put(p->state, d->repo, d->path, k);
	task_settle_mark(p, d);
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
	int64_t later_ms = 0;

	if (state_head(p->state)->marks == 0)
		return;
	while (!pipeline_must_stop(p) && state_walk(p->state, 'm', NULL, &at)) {
		struct doc *d = work_doc(p, at.repo, at.path);

		if (d->has_mark && (d->mark.flags & MARK_DOUBT) &&
		    !has_failure(p, d)) {
			while (clock_ms() < d->late_until && !pipeline_must_stop(p))
				pipeline_wait(p, false, d->late_until);
			if (!pipeline_must_stop(p) && surely_lasts(p, d, &later_ms))
				read_back_doc(p, d);
		} else if (d->has_mark && (d->mark.flags & MARK_SETTLED) && d->late_until <= clock_ms()) {
			task_mark_del(p, d);
		}
		work_doc_put(p, d);
		if (commit_due(p))
			commit(p);
	}
	walk_release(&at);
}

/* ---- begin and end ---- */

static char *reading_settings(const struct pipeline *p)
{
	const struct options *o = p->o;
	auto_buf struct buf b = BUF_INIT;

	buf_addf(&b, "format=%d%s repo=%s namespace=%s root=%s max-content=%llu force=%d", o->format,
		 o->nul ? "z" : "", o->repo ? o->repo : "", o->namespace ? o->namespace : "",
		 roots_path(p->parts.roots), (unsigned long long)o->max_content, o->force);
	if (o->uncommitted)
		buf_adds(&b, " uncommitted=1");
	for (int i = 0; o->exclude != NULL && o->exclude[i] != NULL; i++)
		buf_addf(&b, " exclude=%s", o->exclude[i]);
	return buf_detach(&b);
}

/* Whether the last run can go on, as far as its first line does not say otherwise: it did not finish,
 * and was read the same way. */
static bool resumable(struct pipeline *p, const char *settings, uint32_t *number)
{
	struct run_state last;
	bool yes = false, finished;

	*number = state_head(p->state)->next_run - 1;
	if (*number == 0 || state_run_get(p->state, *number, &last) != 0)
		return false;
	if (last.status == RUN_RUNNING || last.status == RUN_INTERRUPTED)
		yes = last.lines > 0 && !p->o->new_run && strcmp(last.settings, settings) == 0 &&
		      last.nancestors < RUN_ANCESTORS;
	if (!yes && last.lines > 0 && (last.status == RUN_RUNNING || last.status == RUN_INTERRUPTED))
		log_note("run %s did not finish; it stays interrupted and a new run begins, because %s",
			 last.id, p->o->new_run ? "of --new-run" :
			 last.nancestors == RUN_ANCESTORS ? "its input has changed too often" :
			 "the input is read in another way");
	if (!yes && last.status == RUN_RUNNING) {
		last.status = RUN_INTERRUPTED;
		last.end_s = last.update_s;
		state_run_put(p->state, &last);
	}
	finished = last.status == RUN_COMPLETED || last.status == RUN_FAILED;
	run_release(&last);
	if (finished)
		state_lines_drop(p->state, *number);
	return yes;
}

/* A run begins with its process: what listed its input may have done so while the lock or the store was
 * waited for. */
void pipeline_date_run(struct pipeline *p)
{
	p->run->start_file_ns = p->parts.start_file_ns;
	p->run->start_s = p->parts.start_file_ns / 1000000000;
}

static void begin_run(struct pipeline *p)
{
	char *settings = reading_settings(p);
	uint32_t number;

	if (resumable(p, settings, &number)) {
		p->run = state_run_continue(p->state, number);
		p->matching = true;
		p->recorded = p->run->lines;
		intake_first_line(p);
		if (p->matching)
			log_info("run %s is continued", p->run->id);
	} else {
		p->run = state_run_begin(p->state, p->parts.source, settings);
		p->run->input_size = p->parts.input_size;
		pipeline_date_run(p);
	}
	free(settings);
	state_marks_doubt(p->state);
	excluded_begin(p);
	commit(p);
}

/* Marks of documents of which the store has kept nothing: nothing is in doubt because of them. */
static void unmark_unsent(struct pipeline *p)
{
	for (int i = 0; i < GROUP_SLOTS; i++)
		for (struct group *g = p->groups[i]; g != NULL; g = g->chain)
			for (struct work *w = g->works; w != NULL; w = w->next)
				for (int k = 0; k < w->halves; k++) {
					struct task *t = &w->half[k];
					struct doc *d = t->doc;

					if (t->phase == TASK_LANE && t->marked && d->has_mark &&
					    !(d->mark.flags & (MARK_DOUBT | MARK_SETTLED)) &&
					    task_kept_nothing(t))
						task_mark_del(p, d);
				}
}

static void finish_in_flight(struct pipeline *p)
{
	int64_t until = clock_ms() + (int64_t)p->o->grace_ms;

	if (lane_busy(p->lane))
		log_info("stopping: waiting for requests in flight");
	while (lane_busy(p->lane) && clock_ms() < until) {
		pipeline_wait(p, false, until);
		lane_turn(p->lane);
		records_judge(p, false);
		settle_and_send(p, true);
	}
	unmark_unsent(p);
}

/* Held changesets of earlier runs too: whoever looks at the exit status wants to know of them.  Reads
 * what is committed. */
static void count_repos(struct pipeline *p, bool whole)
{
	struct walk at = { 0 };
	struct repo_state rs;

	while (state_walk_repos(p->state, &at)) {
		if (repo_decode(&rs, (const uint8_t *)at.value.data, at.value.len) != 0)
			continue;
		p->end->held += rs.held_commit[0] != '\0';
		p->end->unclosed += whole && changeset_unclosed(p->state, at.repo, &rs);
		repo_release(&rs);
	}
	walk_release(&at);
}

static void drain_output(struct pipeline *p)
{
	int64_t until = clock_ms() + (int64_t)p->o->grace_ms;

	while (output_waiting(p->parts.output) > 0 && !p->output_gone) {
		if (stop_signal() != 0 && clock_ms() >= until)
			return;
		pipeline_wait(p, false, stop_signal() != 0 ? until : CLOCK_NEVER);
	}
}

#define KEEP_DAYS 7

/* What nobody waits for any more is not kept for ever, and does not go without a word. */
static void drop_old(struct pipeline *p, bool clean)
{
	int64_t before = clock_unix_s() - KEEP_DAYS * 86400;
	uint64_t n = changeset_unknown_expire(p->state, before);

	if (n > 0)
		log_warn("%llu failed lines of no known repository are dropped: they are more than %d days old, and "
			 "nothing waited for them", (unsigned long long)n, KEEP_DAYS);
	if (clean)
		state_runs_drop(p->state, before);
}

/* A run has ended well only when its results are printed too: until then a resume prints them. */
static void end_run(struct pipeline *p)
{
	const struct tally *t = outbox_tally(p->outbox);
	bool clean = t->counts[STATUS_FAILED] == 0 && t->counts[STATUS_HELD] == 0;
	bool whole = !pipeline_must_stop(p);
	/* messages alone, more of them than cmd_sync.c waits for */
	bool idle = p->run->lines == 0 && p->run->retried == 0;

	if (whole && !excluded_end(p))
		clean = false;
	commit(p);
	count_repos(p, whole);
	drain_output(p);
	whole = whole && !pipeline_must_stop(p);
	clean = clean && p->end->held == 0;
	if (whole && !idle) {
		state_head(p->state)->whole_run = p->run->number;
		drop_old(p, clean);
	}
	state_run_end(p->state, !whole || idle ? RUN_INTERRUPTED : clean ? RUN_COMPLETED : RUN_FAILED);
	commit(p);
	if (whole)
		state_lines_drop(p->state, p->run->number);
	p->end->tally = *t;
	p->end->whole = whole;
	p->end->unsettled = whole ? 0 : intake_left(p);
	p->end->unprinted = output_lines(p->parts.output);
}

static size_t batch_size(const struct options *o, const struct store *s)
{
	const struct driver *d = s->driver;
	size_t own = s->embeds && d->embeds_batch_size ? d->embeds_batch_size : d->batch_size;
	size_t n = o->batch_size ? o->batch_size : own;

	return s->max_batch != 0 && s->max_batch < n ? s->max_batch : n;
}

static struct lane *embed_lane_new(struct pipeline *p, const struct lane_options *like)
{
	const struct driver *d = p->parts.server->driver;
	const struct options *o = p->o;
	struct lane_options lo = *like;

	lo.batch_size = o->embed_batch_size ? o->embed_batch_size : d->batch_size;
	lo.batch_bytes = o->embed_batch_bytes ? o->embed_batch_bytes : d->batch_bytes;
	lo.connections = o->embed_connections ? (int)o->embed_connections : d->connections;
	lo.late_ms = 0;
	lo.rate = 0;
	return lane_new(&lo, p->parts.server, p->parts.server_http, task_text_embedded, p);
}

static void pipeline_init(struct pipeline *p, const struct pipeline_parts *parts)
{
	const struct options *o = parts->options;
	const struct driver *d = parts->store->driver;
	struct lane_options lo = {
		.batch_size = batch_size(o, parts->store),
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
	size_t batches;

	p->parts = *parts;
	p->o = o;
	p->state = parts->state;
	p->outbox = outbox_new(o->results, (int64_t)o->flush_ms);
	p->lane = lane_new(&lo, parts->store, parts->http, task_item_done, p);
	p->late_ms = lo.late_ms;
	p->start_ms = clock_ms();
	/* in flight, one that fills, and as many that were answered and wait for the next write: where there is
	 * no room for them all, a connection has nothing to send until another's answer comes */
	batches = (size_t)lo.connections * (1 + d->lasts_after_next) + 1;
	p->max_bytes = batches * lo.batch_bytes;
	p->max_ahead = lo.batch_bytes / 4;
	p->max_works = batches * lo.batch_size + 64;
	p->change_options = (struct change_options){ o->format, o->nul, o->repo, o->namespace, o->uncommitted };
	clock_format(clock_unix_s(), p->synced_at);
	p->embedder = parts->embedder;
	p->settings = embedder_settings(p->embedder);
	if (parts->server != NULL)
		p->embed_lane = embed_lane_new(p, &lo);
}

static void free_groups(struct pipeline *p)
{
	for (int i = 0; i < GROUP_SLOTS; i++)
		for (struct group *g = p->groups[i], *next; g != NULL; g = next) {
			for (struct work *w = g->works, *wn; w != NULL; w = wn) {
				wn = w->next;
				p->end->unsettled += !w->internal && !w->retried;
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
			work_group_free(g);
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
	lane_free(p->embed_lane);
	free(p->settings);
	unknown_release(&p->unknown);
	outbox_free(p->outbox);
	failure_walk_release(&p->retry);
	walk_release(&p->sweep);
	excluded_release(p);
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
	if (p->stop_status == 0)
		p->stop_status = p->halt;
	if (!pipeline_must_stop(p))
		read_back(p);
	if (!pipeline_must_stop(p))
		records_judge(p, true);
	while (p->sweeping != NULL && !pipeline_must_stop(p)) {	/* sweeps that only the end could begin */
		run_loop(p);
		if (!pipeline_must_stop(p))
			records_judge(p, true);
	}
	if (pipeline_must_stop(p))
		finish_in_flight(p);
	end_run(p);
	end->signal = stop_signal();
	memcpy(end->run, p->run->id, strlen(p->run->id) + 1);
	status = p->stop_status;
	if (status == 0 && (end->tally.counts[STATUS_FAILED] > 0 || end->held > 0 || end->left_in > 0))
		status = 1;
	pipeline_release(p);
	free(p);
	return status;
}
