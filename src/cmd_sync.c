#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alloc.h"
#include "clock.h"
#include "collection.h"
#include "commands.h"
#include "connect.h"
#include "embedder.h"
#include "http.h"
#include "log.h"
#include "opening.h"
#include "pipeline.h"
#include "plan.h"
#include "progress.h"
#include "results.h"
#include "stop.h"

struct sync {
	const struct options *o;
	struct connection c;
	struct state *state;
	struct content_options content;
	struct roots *roots;
	struct input *input;
	struct output *output;
	struct embedder embedder;
	struct connection server;	/* of embeddings, where there is one */
	struct change_options change;
	bool idle;			/* the input asks for nothing */
	int64_t start_ms, start_file_ns;
};

static int open_state(struct sync *s)
{
	char *path = command_state_of(s->o, &s->c.store, true);
	int status = 73;

	if (path != NULL)
		status = state_open(&s->state, path, s->c.store.url.canonical, s->c.store.collection,
				    (int64_t)s->o->wait_lock_ms);
	free(path);
	return status;
}

static int open_input(struct sync *s)
{
	const struct options *o = s->o;

	s->content = (struct content_options){ o->root, o->namespace, o->repo, o->exclude,
		(size_t)o->max_content };
	s->roots = roots_new(&s->content);
	if (s->roots == NULL)
		return 66;
	s->input = input_new(STDIN_FILENO, (size_t)o->max_line, o->nul, o->format == FORMAT_NAME_STATUS);
	s->output = output_new(STDOUT_FILENO);
	s->change = (struct change_options){ o->format, o->nul, o->repo, o->namespace, o->uncommitted };
	return 0;
}

/* ---- before anything is touched: what the input is ---- */

/* Sleeps until there is input, or (want_output) results can be printed.  0, or an exit status. */
static int wait_quietly(struct sync *s, bool want_input, bool want_output)
{
	struct pollfd fds[4] = {
		{ .fd = want_input ? STDIN_FILENO : -1, .events = POLLIN },
		{ .fd = want_output ? output_fd(s->output) : -1, .events = POLLOUT },
		{ .fd = stop_fd(), .events = POLLIN },
		{ .fd = stop_usr1_fd(), .events = POLLIN },
	};

	http_wait(NULL, fds, 4, CLOCK_NEVER);
	if (stop_signal() != 0)
		return 128 + stop_signal();
	if (fds[0].revents != 0 && input_read(s->input) < 0) {
		log_err("cannot read the input: %s", strerror(errno));
		return 66;
	}
	if (fds[1].revents != 0 && output_write(s->output) != 0) {
		if (errno == EPIPE)
			return 141;
		log_err("cannot write results: %s", strerror(errno));
		return 74;
	}
	if (fds[3].revents != 0 && stop_usr1())
		log_note("waiting for the first line of the input");
	return 0;
}

/* Waits for the first line that asks for something: an input without one leaves everything as it is. */
static int await_line(struct sync *s)
{
	const char *advice = NULL;
	int status = 0;

	while (status == 0) {
		const char *p;
		size_t n;
		bool ended;

		input_pass_blank(s->input);
		p = input_peek(s->input, &n, &ended);
		switch (opening_judge(p, n, ended, &s->change, &advice)) {
		case OPENING_MORE:
			status = wait_quietly(s, true, false);
			break;
		case OPENING_FOREIGN:
			log_err("%s", advice);
			return 64;
		case OPENING_IDLE:
			s->idle = true;
			return 0;
		case OPENING_LINE:
			return 0;
		}
	}
	return status;
}

/* A result for each message of the producer; there is no run that it could name. */
static int end_idle(struct sync *s)
{
	auto_buf struct buf results = BUF_INIT;
	struct line line;
	bool messages = false;
	int status = 0;

	while (input_next(s->input, &line) == INPUT_LINE) {
		struct result r = { .run = s->o->dry_run ? "dry-run" : "none", .line = line.number,
			.status = STATUS_SKIPPED, .reason = REASON_NOT_A_CHANGE,
			.planned = s->o->dry_run ? "skip" : NULL };

		if (change_is_blank(line.data, line.n, &s->change))
			continue;
		messages = true;
		if (s->o->results == RESULTS_ALL)
			result_write(&results, &r);
	}
	output_add(s->output, results.data, results.len);
	while (status == 0 && output_waiting(s->output) > 0)
		status = wait_quietly(s, false, true);
	if (s->o->results != RESULTS_PROBLEMS)
		log_note("the input %s: no run was begun, and nothing was tried",
			 messages ? "holds nothing but messages of its producer" : "has no line");
	return status;
}

static const char *input_name(uint64_t *size)
{
	struct stat st;

	*size = 0;
	if (fstat(STDIN_FILENO, &st) != 0)
		return "unknown";
	if (S_ISREG(st.st_mode))
		*size = (uint64_t)st.st_size;
	return S_ISREG(st.st_mode) ? "file" : S_ISFIFO(st.st_mode) ? "pipe" : "other";
}

static void add_left(struct buf *b, const struct pipeline_end *e)
{
	buf_addf(b, "; stopped with %llu lines read and not settled", (unsigned long long)e->unsettled);
	if (e->unprinted > 0)
		buf_addf(b, ", %llu results not printed", (unsigned long long)e->unprinted);
	buf_adds(b, ": the same command resumes");
}

static bool failures_wait(struct state *s)
{
	struct failure_walk at = { 0 };
	struct failure f = { 0 };
	bool any = state_failure_next(s, &at, &f);

	failure_release(&f);
	failure_walk_release(&at);
	return any;
}

static void add_next(struct buf *b, const struct sync *s, bool failed, bool held)
{
	bool waits = failed && failures_wait(s->state);

	if (failed && !waits)
		buf_adds(b, "; later lines superseded what failed");
	if (!waits && !held)
		return;
	buf_adds(b, "; see: ");
	command_line(b, s->o, waits ? "status --failed" : "status --held", s->state);
}

/* One line for whoever reads it later, with the command to type next: of the whole run, also where it was
 * continued.  Failed lines were tried again by this part. */
static void sum_up(const struct sync *s, const struct pipeline_end *e, int status)
{
	auto_buf struct buf b = BUF_INIT;
	uint64_t failed = e->tally.counts[STATUS_FAILED], held = e->held;

	if (status == 0 && e->signal == 0 && s->o->verbose == 0 && !isatty(STDERR_FILENO))
		return;
	buf_addf(&b, "run %s: %llu stored, %llu deleted, %llu unchanged, %llu failed, %llu held in %.1f s",
		 e->run, (unsigned long long)(e->before.stored + e->stored),
		 (unsigned long long)(e->before.deleted + e->deleted),
		 (unsigned long long)(e->before.unchanged + e->tally.unchanged), (unsigned long long)failed,
		 (unsigned long long)held,
		 (double)e->before.seconds + (double)(clock_ms() - s->start_ms) / 1000);
	if (e->unclosed > 0)
		buf_addf(&b, "; lines after the last changeset record of %llu %s, whose position stays",
			 (unsigned long long)e->unclosed,
			 e->unclosed == 1 ? "repository" : "repositories");
	if (!e->whole)
		add_left(&b, e);
	else
		add_next(&b, s, failed > 0, held > 0);
	log_note("%s", b.data);
}

static int run(struct sync *s)
{
	struct pipeline_parts parts = { .options = s->o, .state = s->state, .store = &s->c.store,
		.http = s->c.http, .input = s->input, .input_fd = STDIN_FILENO, .output = s->output,
		.roots = s->roots, .embedder = &s->embedder,
		.server = s->server.http != NULL ? &s->server.store : NULL, .server_http = s->server.http,
		.start_file_ns = s->start_file_ns };
	struct pipeline_end end;
	int status;

	parts.source = input_name(&parts.input_size);
	progress_init(s->o->progress, s->start_ms);
	status = pipeline_run(&parts, &end);
	progress_clear();
	sum_up(s, &end, status);
	return end.signal != 0 ? 128 + end.signal : status;
}

static int dry_run(struct sync *s)
{
	struct plan_parts parts = { .options = s->o, .roots = s->roots, .input = s->input,
		.input_fd = STDIN_FILENO, .output = s->output, .embedder = &s->embedder,
		.store = &s->c.store };
	char *path = command_state_of(s->o, &s->c.store, false);
	int status = path != NULL ? state_exists(path) : 66;

	if (status == 0)
		status = state_open_reader(&s->state, path);
	else if (status == 66)		/* planned as if it were made now */
		status = 0;
	free(path);
	if (s->state != NULL)
		status = state_belongs(s->state, s->c.store.url.canonical, s->c.store.collection);
	if (status == 0)
		status = embedder_choose(&s->embedder, s->state, s->o);
	if (status != 0)
		return status;
	embedder_foresee(&s->embedder);
	s->c.store.dimension = s->embedder.dimension;
	parts.state = s->state;
	return plan_run(&parts);
}

/* A collection that is another one than the state's has made it forget its embedder: chosen anew. */
static int open_embedder(struct sync *s)
{
	struct ask_patience patience = ask_patience_of(s->o);
	const struct store *server = NULL;
	int status = 0;

	embedder_release(&s->embedder);
	status = embedder_choose(&s->embedder, s->state, s->o);
	if (status == 0 && s->embedder.kind == EMBED_URL) {
		server = &s->server.store;
		status = embedder_reach(&s->server, &s->embedder, false, s->o, s->c.http, &patience, stop_fd());
	}
	if (status == 0)
		status = embedder_settle(&s->embedder, s->state, &s->c.store, server, s->o);
	s->c.store.embeds = s->embedder.kind == EMBED_STORE;
	return status;
}

static int prepare_and_run(struct sync *s)
{
	int status = connection_name(&s->c, s->o, NULL, s->o->collection);

	if (status == 0)
		status = embedder_check_options(s->o);
	if (status == 0)
		status = embedder_check_store(s->o, s->c.store.driver);
	if (status == 0)
		status = open_input(s);
	if (status == 0)
		status = await_line(s);
	if (status == 0 && s->idle)
		return end_idle(s);
	if (status == 0 && s->o->dry_run)
		return dry_run(s);
	if (status == 0)
		status = open_state(s);
	if (status == 0)
		status = connection_open(&s->c, s->o);
	if (status == 0)
		status = embedder_choose(&s->embedder, s->state, s->o);
	embedder_prepare(&s->embedder, &s->c.store, s->o);
	if (status == 0)
		status = collection_open(&s->c.store, s->c.http, s->state, s->o, stop_fd());
	if (status == 0)
		status = open_embedder(s);
	if (status == 0)
		status = state_settle(s->state);
	if (status == 0)
		status = collection_read(&s->c.store, s->c.http, s->state, s->o, stop_fd());
	if (status == 0)
		return run(s);
	if (stop_signal() != 0)
		log_note("stopped before a line was read; the same command begins again");
	return status;
}

static void release(struct sync *s)
{
	state_close(s->state);
	roots_free(s->roots);
	if (s->input != NULL)
		input_free(s->input);
	if (s->output != NULL)
		output_free(s->output);
	connection_release(&s->server);
	connection_release(&s->c);
	embedder_release(&s->embedder);
}

int cmd_sync(const struct options *o)
{
	struct sync s = { .o = o, .start_ms = clock_ms(), .start_file_ns = clock_file_ns() };
	int status;

	if (isatty(STDIN_FILENO)) {
		options_short_help(stderr);
		return 64;
	}
	if (stop_init() != 0)
		return 70;
	status = prepare_and_run(&s);
	if (stop_signal() != 0)
		status = 128 + stop_signal();
	release(&s);
	if (status == 141)
		stop_die(SIGPIPE);
	if (status > 128)
		stop_die(status - 128);
	return status;
}
