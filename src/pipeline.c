/* How a line travels, and why a crash between any two steps is safe:
 *
 *  1. intake_turn()      a line is read, counted, its digest recorded (in memory)      intake.c
 *  2. content_load(), offer_make()   what it asks for: its document, its text         offer.c
 *  3. task_line()        when no earlier line of its document is unsettled: compare;  task.c
 *                        nothing to do, or into a batch
 *  4. commit()           the batch's documents are marked "in flight", durable        here:
 *  5. lane_send()        the request                                                  settle_and_send()
 *  6. task_item_done()   the store's verdict on each object                           task.c
 *  7. commit()           lines, documents, changesets (records.c) that it settles, together with
 *                        step 4 of the next batch
 *  8. outbox_release_to()  results of what is durable now                            outbox.c
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

#include "changeset.h"
#include "clock.h"
#include "log.h"
#include "progress.h"
#include "stop.h"
#include "pipeline_p.h"

enum phase {
	PHASE_FIRST,		/* is it the input of the run that goes on? */
	PHASE_READ,		/* lines from the input, earlier failures, sweeps */
	PHASE_READ_BACK,	/* documents in doubt that no line named */
	PHASE_STOP,		/* nothing new; what is in flight is waited for */
	PHASE_DRAIN,		/* all is decided; results are still to be printed */
	PHASE_END
};

struct loop {
	struct pipeline p;
	enum phase phase;
	bool was_read_back;
	bool want_input;		/* the turn has taken all that was there */
	int64_t until;			/* when the next turn is due, if nothing else calls for it */
	int64_t grace_until;		/* PHASE_STOP, PHASE_DRAIN */
	int status;			/* exit status that ends the run early, 0 */
	bool output_gone;		/* writing failed: what waits there is never printed */
	bool whole;			/* nothing was left undone, so far */
	uint32_t continued;		/* number of the run that was to go on, 0: none */
	struct run_part before;		/* what it had done */
	size_t max_bytes, max_works;	/* of the window */
	size_t max_ahead;		/* bytes of objects that wait while every connection is busy */
	struct lane_figures told;	/* what the run's record already counts */
	struct pipeline_end *end;
};

/* ---- commit and print: steps 4, 7 and 8 ---- */

/* As things stand, the sync exits 0: nothing of this invocation failed, nothing is held. */
static bool is_good(const struct loop *l)
{
	return l->status == 0 && intake_halt(l->p.intake) == 0 && stop_signal() == 0 &&
	       outbox_tally(l->p.outbox)->counts[STATUS_FAILED] == 0 && l->end->held == 0 &&
	       tasks_figures(l->p.tasks)->left_in == 0;
}

static void figures_to_run(struct loop *l)
{
	const struct lane_figures *f = lane_figures(l->p.lane), *told = &l->told;
	struct run_state *run = state_run(l->p.state);

	run->objects += f->objects - told->objects;
	run->deletes += f->deletes - told->deletes;
	run->bytes += f->bytes - told->bytes;
	run->requests += f->requests - told->requests;
	run->good = is_good(l);
	l->told = *f;
}

static void commit(struct loop *l)
{
	figures_to_run(l);
	state_commit(l->p.state);
	outbox_release_to(l->p.outbox, l->p.parts.output);
	work_committed(l->p.window);
}

static bool commit_due(const struct pipeline *p)
{
	return outbox_due(p->outbox, clock_ms()) || state_dirty(p->state) >= STATE_DIRTY_MAX;
}

/* Steps 4, 5, 7 and 8 for what is ready now.  no_more: nothing new may be sent. */
static void settle_and_send(struct loop *l, bool no_more)
{
	struct pipeline *p = &l->p;
	struct batch *batches[64];
	int n = 0;

	while (!no_more && n < 64 && (batches[n] = lane_next(p->lane)) != NULL)
		tasks_mark_batch(p->tasks, batches[n++]);
	if (n > 0 || commit_due(p))
		commit(l);
	for (int i = 0; i < n; i++)
		lane_send(p->lane, batches[i]);
}

/* ---- what ends a run early ---- */

/* Before anything is sent of which the state could not take up what becomes of it. */
static int full_status(struct state *s)
{
	if (!state_full(s))
		return 0;
	log_err("state '%s' is full: nothing more is sent; 'linesync forget REPO --state %s' of a repository that "
		"is not needed makes room, or feed some repositories to another collection",
		state_path(s), state_path(s));
	return 74;
}

static bool failed_too_often(const struct pipeline *p)
{
	return outbox_tally(p->outbox)->failed > p->o->max_failures;
}

static int failures_status(const struct pipeline *p)
{
	if (!failed_too_often(p))
		return 0;
	log_err("more than %llu lines failed (--max-failures); the same command resumes",
		(unsigned long long)p->o->max_failures);
	return 1;
}

static bool must_stop(struct loop *l)
{
	struct pipeline *p = &l->p;

	if (stop_signal() != 0)
		return true;
	if (l->status == 0)
		l->status = intake_stop(p->intake);
	if (l->status == 0)
		l->status = full_status(p->state);
	if (l->status == 0)
		l->status = lane_stop(p->lane);
	if (l->status == 0 && p->embed_lane != NULL)
		l->status = lane_stop(p->embed_lane);
	if (l->status == 0)
		l->status = failures_status(p);
	return l->status != 0;
}

/* ---- the end ---- */

/* Held changesets of earlier runs too: whoever looks at the exit status wants to know of them.  Reads
 * what is committed. */
static void count_repos(struct loop *l, bool whole)
{
	struct walk at = { 0 };
	struct repo_state rs;

	while (state_walk_repos(l->p.state, &at)) {
		if (repo_decode(&rs, (const uint8_t *)at.value.data, at.value.len) != 0)
			continue;
		l->end->held += rs.held_commit[0] != '\0';
		l->end->unclosed += whole && changeset_unclosed(l->p.state, at.repo, &rs);
		repo_release(&rs);
	}
	walk_release(&at);
}

/* Nothing more is done: what was is committed, and printed as the reader takes it. */
static void begin_drain(struct loop *l)
{
	records_recount(&l->p);
	l->whole = !must_stop(l);
	if (l->whole)
		excluded_end(&l->p);
	commit(l);
	count_repos(l, l->whole);
	l->grace_until = clock_ms() + (int64_t)l->p.o->grace_ms;
	l->phase = PHASE_DRAIN;
	l->until = 0;
}

/* The input is read, and all is settled: what can be judged now is.  That can begin a sweep. */
static void judge_last(struct loop *l)
{
	records_judge(&l->p, true);
	l->until = 0;
	if (sweep_going(l->p.sweep))
		l->phase = PHASE_READ;
	else
		begin_drain(l);
}

static void begin_stop(struct loop *l)
{
	l->phase = PHASE_STOP;
	l->until = 0;
	l->grace_until = clock_ms() + (int64_t)l->p.o->grace_ms;
	if (lane_busy(l->p.lane))
		log_info("stopping: waiting for requests in flight");
}

/* ---- reading ---- */

/* While every connection is busy, a part of the next request is enough to have ready. */
static bool ahead_enough(const struct loop *l)
{
	return !lane_starved(l->p.lane) && lane_waiting(l->p.lane) >= l->max_ahead;
}

static bool room(const struct loop *l)
{
	const struct pipeline *p = &l->p;

	return window_bytes(p->window) < l->max_bytes && window_works(p->window) < l->max_works &&
	       !ahead_enough(l) && !output_full(p->parts.output) && !lane_away(p->lane) &&
	       (p->embed_lane == NULL || !lane_away(p->embed_lane));
}

static bool all_taken(const struct pipeline *p)
{
	return !sweep_going(p->sweep) && !excluded_going(p) &&
	       (intake_halt(p->intake) != 0 || (intake_ended(p->intake) && again_done(p->again)));
}

/* One line from where the next one comes from; INPUT_END: from nowhere, INPUT_MORE: not yet. */
static enum input_got take_one(struct pipeline *p)
{
	if (sweep_going(p->sweep))
		sweep_turn(p);
	else if (excluded_going(p))
		excluded_turn(p);
	else if (intake_halt(p->intake) != 0)
		return INPUT_END;
	else if (!again_turn(p))
		return intake_ended(p->intake) ? INPUT_END : intake_turn(p);
	return INPUT_LINE;
}

/* Takes what may be taken without waiting.  Returns true if input would have to be waited for. */
static bool take_some(struct loop *l)
{
	enum input_got got = INPUT_LINE;

	for (int n = 0; n < 1000 && got == INPUT_LINE && room(l) && l->status == 0 &&
	     intake_stop(l->p.intake) == 0 && !failed_too_often(&l->p); n++) {
		got = take_one(&l->p);
		if (commit_due(&l->p))
			commit(l);
	}
	return got == INPUT_MORE;
}

/* What needs no commit: nothing is stored by it. */
static void embed_turn(struct loop *l, bool no_more)
{
	struct pipeline *p = &l->p;
	struct batch *b;

	if (p->embed_lane == NULL)
		return;
	lane_turn(p->embed_lane);
	if (lane_starved(p->embed_lane) && (all_taken(p) || !room(l)))
		lane_flush(p->embed_lane);
	while (!no_more && (b = lane_next(p->embed_lane)) != NULL)
		lane_send(p->embed_lane, b);
}

/* Nothing more will fill what is open. */
static bool flushing_helps(const struct loop *l)
{
	const struct pipeline *p = &l->p;

	return lane_starved(p->lane) && (all_taken(p) || !room(l)) &&
	       (p->embed_lane == NULL || lane_empty(p->embed_lane));
}

static int64_t earliest(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* When there is something to do that nothing else wakes us for. */
static int64_t next_turn(const struct pipeline *p)
{
	int64_t due = earliest(work_late_due(p->window), outbox_due_ms(p->outbox));

	/* what may not be sent is no reason to wake up */
	if (output_full(p->parts.output))
		return due;
	due = earliest(due, lane_due(p->lane));
	return p->embed_lane != NULL ? earliest(due, lane_due(p->embed_lane)) : due;
}

static void read_turn(struct loop *l)
{
	struct pipeline *p = &l->p;
	bool want_input = take_some(l), more;

	lane_turn(p->lane);
	embed_turn(l, output_full(p->parts.output) || must_stop(l));
	tasks_late_turn(p->tasks);
	records_judge(p, false);
	if (flushing_helps(l))
		lane_flush(p->lane);
	/* an answer that came with the signal must not lead to another request */
	settle_and_send(l, output_full(p->parts.output) || must_stop(l));
	if (must_stop(l))
		return;
	/* what is in flight still, such as a look-up, must not come back to who asks next */
	if (all_taken(p) && window_works(p->window) == 0 && !lane_flying(p->lane)) {
		if (l->status == 0)
			l->status = intake_halt(p->intake);
		if (l->status == 0 && !l->was_read_back)
			l->phase = PHASE_READ_BACK;
		else if (l->status == 0)
			judge_last(l);
		l->until = 0;
		return;
	}
	more = !want_input && room(l) && !all_taken(p);
	l->want_input = want_input && room(l);
	l->until = more ? 0 : next_turn(p);
}

/* ---- the other phases ---- */

static void begin_reading(struct loop *l)
{
	run_open(&l->p, l->continued);
	state_marks_doubt(l->p.state);
	excluded_begin(&l->p);
	commit(l);
	l->phase = PHASE_READ;
	l->until = 0;
}

static void first_turn(struct loop *l)
{
	l->want_input = intake_first(&l->p) == INPUT_MORE;
	if (!l->want_input)
		begin_reading(l);
}

/* An answer of the embedding server's that nobody takes would wake us again and again. */
static void take_embedded(struct pipeline *p)
{
	if (p->embed_lane != NULL)
		lane_turn(p->embed_lane);
}

static void read_back_turn(struct loop *l)
{
	bool more;

	take_embedded(&l->p);
	more = readback_turn(&l->p, &l->until);
	if (commit_due(&l->p))
		commit(l);
	if (more)
		return;
	l->was_read_back = true;
	judge_last(l);
}

static void stop_turn(struct loop *l)
{
	struct pipeline *p = &l->p;

	lane_turn(p->lane);
	take_embedded(p);
	records_judge(p, false);
	settle_and_send(l, true);
	l->until = l->grace_until;
	if (lane_busy(p->lane) && clock_ms() < l->grace_until)
		return;
	tasks_unmark_unsent(p->tasks);
	begin_drain(l);
}

static void drain_turn(struct loop *l)
{
	l->until = stop_signal() != 0 ? l->grace_until : CLOCK_NEVER;
	if (output_waiting(l->p.parts.output) == 0 || l->output_gone || clock_ms() >= l->until)
		l->phase = PHASE_END;
}

/* ---- the loop ---- */

/* What is being done, for people; *away has room for why nothing is. */
static const char *phase_name(const struct loop *l, struct buf *away)
{
	const struct pipeline *p = &l->p;
	const struct lane *waits = lane_away(p->lane) ? p->lane :
				   p->embed_lane != NULL && lane_away(p->embed_lane) ? p->embed_lane : NULL;

	switch (l->phase) {
	case PHASE_READ_BACK: return "reading back";
	case PHASE_STOP: return "stopping";
	case PHASE_DRAIN: return "printing";
	default: break;
	}
	if (waits != NULL) {
		lane_say_away(waits, away);
		return away->data;
	}
	if (sweep_going(p->sweep) || excluded_going(p))
		return "sweeping";
	if (l->phase == PHASE_READ && !again_done(p->again))
		return "retrying";
	return all_taken(p) ? "finishing" : "reading";
}

static void show_progress(struct loop *l, bool asked)
{
	const struct pipeline *p = &l->p;
	const struct tally *t = outbox_tally(p->outbox);
	auto_buf struct buf away = BUF_INIT;
	struct progress_figures f = { .phase = phase_name(l, &away), .failed = t->counts[STATUS_FAILED],
		.in_flight = window_works(p->window), .total_lines = p->o->total,
		.bytes = input_bytes(p->parts.input), .total_bytes = p->parts.input_size };

	for (int i = STATUS_COMPLETED; i <= STATUS_HELD; i++)
		f.done += t->counts[i];
	if (intake_current(p->intake)[0] != '\0')
		f.path = intake_current(p->intake);
	if (asked)
		progress_print(&f);
	else if (progress_on() && clock_ms() >= progress_due())
		progress_draw(&f);
}

/* Sleeps until something can go on: input (where it is wanted), output, an answer, a signal, the time. */
static void wait_for_more(struct loop *l)
{
	struct pipeline *p = &l->p;
	bool prints = output_waiting(p->parts.output) > 0 && !l->output_gone;
	struct pollfd fds[4] = {
		{ .fd = l->want_input ? p->parts.input_fd : -1, .events = POLLIN },
		{ .fd = prints ? output_fd(p->parts.output) : -1, .events = POLLOUT },
		{ .fd = stop_signal() == 0 ? stop_fd() : -1, .events = POLLIN },
		{ .fd = stop_usr1_fd(), .events = POLLIN },
	};

	/* what comes back once all is decided is nobody's */
	http_wait(l->phase == PHASE_DRAIN ? NULL : p->parts.http, fds, 4, earliest(l->until, progress_due()));
	if (fds[0].revents != 0 && input_read(p->parts.input) < 0 && l->status == 0) {
		log_err("cannot read the input: %s", strerror(errno));
		l->status = 66;
	}
	if (fds[1].revents != 0 && output_write(p->parts.output) != 0) {
		l->status = errno == EPIPE ? 141 : 74;
		if (errno != EPIPE)
			log_err("cannot write results: %s", strerror(errno));
		l->output_gone = true;
	}
	if (fds[3].revents != 0 && stop_usr1())
		show_progress(l, true);
}

static void take_turn(struct loop *l)
{
	l->want_input = false;
	l->until = CLOCK_NEVER;
	switch (l->phase) {
	case PHASE_FIRST: first_turn(l); break;
	case PHASE_READ: read_turn(l); break;
	case PHASE_READ_BACK: read_back_turn(l); break;
	case PHASE_STOP: stop_turn(l); break;
	case PHASE_DRAIN: drain_turn(l); break;
	case PHASE_END: break;
	}
}

static void run_loop(struct loop *l)
{
	while (l->phase != PHASE_END) {
		if (l->phase < PHASE_STOP && must_stop(l))
			begin_stop(l);
		take_turn(l);
		show_progress(l, false);
		if (l->phase < PHASE_STOP && must_stop(l))	/* to stop ends the waits of the lane: nothing would wake us */
			continue;
		if (l->phase != PHASE_END)
			wait_for_more(l);
	}
}

/* ---- begin and end ---- */

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
	return lane_new(&lo, p->parts.server, p->parts.server_http, task_text_embedded, p->tasks);
}

static struct lane_options lane_options_of(const struct pipeline_parts *parts)
{
	const struct options *o = parts->options;
	const struct driver *d = parts->store->driver;

	return (struct lane_options){
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
}

static void size_window(struct loop *l, const struct lane_options *lo)
{
	/* in flight, one that fills, and as many that were answered and wait for the next write: where there is
	 * no room for them all, a connection has nothing to send until another's answer comes */
	size_t batches = (size_t)lo->connections * (1 + l->p.parts.store->driver->lasts_after_next) + 1;

	l->max_bytes = batches * lo->batch_bytes;
	l->max_ahead = lo->batch_bytes / 4;
	l->max_works = batches * lo->batch_size + 64;
}

static void make_parts(struct loop *l, const struct pipeline_parts *parts)
{
	struct pipeline *p = &l->p;
	const struct options *o = parts->options;
	struct lane_options lo = lane_options_of(parts);

	p->parts = *parts;
	p->o = o;
	p->state = parts->state;
	p->window = window_new(p->state, clock_ms() + lo.late_ms);
	p->outbox = outbox_new(o->results, (int64_t)o->flush_ms);
	p->tasks = tasks_new(&(struct task_parts){ p->state, p->window, p->outbox, parts->store, parts->embedder,
						   o->force });
	p->lane = lane_new(&lo, parts->store, parts->http, task_item_done, p->tasks);
	if (parts->server != NULL)
		p->embed_lane = embed_lane_new(p, &lo);
	tasks_use(p->tasks, p->lane, p->embed_lane);
	offer_maker_init(&p->maker, parts->embedder, p->state, parts->store, o);
	p->intake = intake_new(p);
	p->again = again_new();
	p->sweep = sweep_new();
	p->readback = readback_new();
	size_window(l, &lo);
}

static void free_parts(struct loop *l)
{
	struct pipeline *p = &l->p;

	readback_free(p->readback);
	sweep_free(p->sweep);
	again_free(p->again);
	intake_free(p->intake);
	excluded_release(p);
	offer_maker_release(&p->maker);
	lane_free(p->lane);
	lane_free(p->embed_lane);
	l->end->unsettled += window_free(p->window);
	tasks_free(p->tasks);
	outbox_free(p->outbox);
}

static void fill_end(struct loop *l)
{
	struct pipeline *p = &l->p;
	struct pipeline_end *end = l->end;
	const struct task_figures *f = tasks_figures(p->tasks);
	const struct run_state *run = state_run(p->state);

	if (run->number == l->continued)
		end->before = l->before;
	end->tally = *outbox_tally(p->outbox);
	end->stored = f->stored;
	end->deleted = f->deleted;
	end->left_in = f->left_in;
	end->whole = l->whole;
	end->unsettled = l->whole ? 0 : intake_left(p);
	end->unprinted = output_lines(p->parts.output);
	end->signal = stop_signal();
	memcpy(end->run, run->id, strlen(run->id) + 1);
}

/* With a run that an earlier process left: what that did is the run's, too. */
static void go_on(struct loop *l)
{
	const struct run_state *r = state_run(l->p.state);

	l->continued = r->number;
	l->before = (struct run_part){ r->stored, r->removed, r->unchanged, r->before_s };
	intake_resume(&l->p);
}

int pipeline_run(const struct pipeline_parts *parts, struct pipeline_end *end)
{
	struct loop l = { .end = end };
	int status;

	memset(end, 0, sizeof *end);
	make_parts(&l, parts);
	if (run_begin(&l.p))
		go_on(&l);
	else
		begin_reading(&l);
	run_loop(&l);
	l.whole = l.whole && !must_stop(&l);
	figures_to_run(&l);
	run_end(&l.p, l.whole);
	fill_end(&l);
	status = l.status != 0 ? l.status : !is_good(&l);
	free_parts(&l);
	return status;
}
