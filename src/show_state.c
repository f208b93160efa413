#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "changeset.h"
#include "cleanup.h"
#include "clock.h"
#include "commands.h"
#include "json.h"
#include "log.h"
#include "show.h"
#include "show_state.h"

#define FLUSH_BYTES 65536

/* ---- what there is to see ---- */

static void count_repos(struct look *l)
{
	struct walk at = { 0 };

	while (state_walk_repos(l->s, &at)) {
		struct repo_state r;

		if (repo_decode(&r, (const uint8_t *)at.value.data, at.value.len) != 0)
			continue;
		l->repos++;
		l->failed += r.failed;
		l->held += r.held_commit[0] != '\0';
		l->doubts += r.doubts;
		repo_release(&r);
	}
	walk_release(&at);
}

/* Those of no known repository; a run's own counter may be high, after `forget`. */
static void count_unknown(struct look *l)
{
	struct failure_walk at = { 0 };
	struct failure f = { 0 };

	while (state_unknown_next(l->s, &at, &f)) {
		bool counts = changeset_unknown_counts(l->s, &f);

		l->failed += counts;
		l->left_over += !counts;
	}
	failure_walk_release(&at);
}

/* Of those that did not end so, all were kept: a clean run drops older ones, never itself. */
static int64_t last_clean(struct state *s)
{
	struct run_state r = { .number = UINT32_MAX };
	int64_t end_s = 0;

	while (end_s == 0 && state_run_below(s, r.number, &r))
		if (r.status == RUN_COMPLETED)
			end_s = r.end_s;
	run_release(&r);
	return end_s;
}

/* The run that was asked for, or the newest. */
static void find_run(struct look *l)
{
	uint32_t number;

	if (l->o->run == NULL) {
		l->has_run = command_last_run(l->s, &l->run) == 0;
		return;
	}
	number = command_run_number(l->s, l->o->run);
	l->has_run = number != 0 && state_run_get(l->s, number, &l->run) == 0;
}

/* It may be a skip, or a sync that has not begun its run.  Without a host nobody knows: the number may
 * be that of another container's process as it is called here. */
bool show_works_on(const char *holder, const struct run_state *r)
{
	auto_buf struct buf own = BUF_INIT;

	if (holder == NULL || r->status != RUN_RUNNING)
		return false;
	buf_addf(&own, "pid %" PRIu32 ", host %s,", r->pid, r->host);
	return strstr(holder, ", host ") == NULL || strncmp(holder, own.data, own.len) == 0;
}

static int look_once(struct look *l)
{
	int held;

	l->clean_s = last_clean(l->s);
	count_repos(l);
	count_unknown(l);
	find_run(l);
	held = state_locked(state_path(l->s), &l->holder);
	l->running = l->has_run && show_works_on(l->holder, &l->run);
	return held < 0 ? 74 : 0;
}

static void look_again(struct look *l)
{
	run_release(&l->run);
	free(l->holder);
	l->holder = NULL;
	l->repos = l->failed = l->left_over = l->held = l->doubts = 0;
	l->clean_s = 0;
}

#define LOOK_MS 1000	/* of a state that does not rest so long, some figures are older than others */

/* All figures are of one moment: if a commit came in meanwhile, they are gathered again. */
int look_at(struct look *l)
{
	int64_t until = clock_ms() + LOOK_MS;
	uint64_t generation;
	int status;

	state_refresh(l->s);
	do {
		look_again(l);
		generation = state_head(l->s)->generation;
		status = look_once(l);
		state_refresh(l->s);
	} while (status == 0 && state_head(l->s)->generation != generation && clock_ms() < until);
	if (state_failed(l->s) != 0)
		return state_failed(l->s);
	if (status != 0)
		return status;
	if (l->has_run || l->o->run == NULL)
		return 0;
	log_err("there is no run '%s'; 'linesync status --runs' lists them", l->o->run);
	return 1;
}

void look_release(struct look *l)
{
	look_again(l);
	state_close(l->s);
}

/* A run that nobody works on any more did not end by itself. */
const char *show_run_status(const struct run_state *r, bool running)
{
	return run_status_name(r->status == RUN_RUNNING && !running ? RUN_INTERRUPTED
								     : (enum run_status)r->status);
}

/* ---- figures of a run ---- */

static uint64_t settled(const struct run_state *r)
{
	uint64_t n = 0;

	for (int i = STATUS_COMPLETED; i <= STATUS_HELD; i++)
		n += r->counts[i];
	return n;
}

int64_t show_run_seconds(const struct run_state *r, bool running)
{
	return run_seconds(r, running ? clock_unix_s() : 0);
}

double show_run_rate(const struct run_state *r, bool running)
{
	int64_t s = show_run_seconds(r, running);

	return (double)settled(r) / (double)(s > 0 ? s : 1);
}

double show_run_percent(const struct run_state *r)
{
	if (r->input_size == 0)
		return -1;
	if (r->input_bytes >= r->input_size)
		return 100;
	return (double)r->input_bytes * 100 / (double)r->input_size;
}

int64_t show_run_eta(const struct run_state *r)
{
	double percent = show_run_percent(r);

	if (percent <= 0 || percent >= 100)
		return -1;
	return (int64_t)((100 - percent) * (double)show_run_seconds(r, true) / percent);
}

/* ---- as JSON ---- */

void show_json_flush(struct buf *json)
{
	if (json->len < FLUSH_BYTES)
		return;
	show_json_text(stdout, json);
	buf_reset(json);
}

void show_json_time(struct buf *json, bool *first, const char *name, int64_t unix_s)
{
	char stamp[21];

	clock_format(unix_s, stamp);
	json_member_cstr(json, first, name, unix_s != 0 ? stamp : NULL);
}

void show_json_counts(struct buf *json, bool *first, const char *name, const uint64_t counts[8])
{
	bool inner = true;

	json_name(json, first, name);
	buf_addc(json, '{');
	for (int i = STATUS_COMPLETED; i <= STATUS_HELD; i++)
		json_member_int(json, &inner, status_name((enum status)i), (int64_t)counts[i]);
	buf_addc(json, '}');
}

static void json_ops(struct buf *json, bool *first, const struct run_state *r)
{
	bool inner = true;

	json_name(json, first, "ops");
	buf_addc(json, '{');
	for (int i = OP_ADD; i <= OP_CHANGESET; i++)
		json_member_int(json, &inner, op_name((enum change_op)i), (int64_t)r->ops[i]);
	buf_addc(json, '}');
}

static void json_pace(struct buf *json, bool *first, const struct run_state *r, bool running)
{
	json_member_int(json, first, "seconds", show_run_seconds(r, running));
	json_name(json, first, "rate");
	buf_addf(json, "%.1f", show_run_rate(r, running));
	if (show_run_percent(r) >= 0) {
		json_name(json, first, "percent");
		buf_addf(json, "%.1f", show_run_percent(r));
	}
	if (running && show_run_eta(r) >= 0)
		json_member_int(json, first, "eta", show_run_eta(r));
}

void show_json_run(struct buf *json, bool *first, const struct run_state *r, bool running)
{
	json_member_cstr(json, first, "run", r->id);
	json_member_int(json, first, "number", r->number);
	json_member_cstr(json, first, "status", show_run_status(r, running));
	show_json_time(json, first, "start", r->start_s);
	show_json_time(json, first, "update", r->update_s);
	show_json_time(json, first, "end", r->end_s);
	json_pace(json, first, r, running);
	json_member_int(json, first, "pid", r->pid);
	json_member_cstr(json, first, "host", r->host);
	json_member_cstr(json, first, "source", r->source);
	show_json_counts(json, first, "lines", r->counts);
	json_member_int(json, first, "unchanged", (int64_t)r->unchanged);
	json_ops(json, first, r);
	json_member_int(json, first, "objects", (int64_t)r->objects);
	json_member_int(json, first, "deletes", (int64_t)r->deletes);
	json_member_int(json, first, "bytes", (int64_t)r->bytes);
	json_member_int(json, first, "requests", (int64_t)r->requests);
	json_member_int(json, first, "retried", (int64_t)r->retried);
}

void show_json_state(struct buf *json, bool *first, const struct look *l)
{
	const struct identity *id = state_identity(l->s);

	json_member_cstr(json, first, "state", state_path(l->s));
	json_member_cstr(json, first, "store", id->store);
	json_member_cstr(json, first, "collection", id->collection);
	json_member_bool(json, first, "running", l->running);
	if (l->holder != NULL)
		json_member_cstr(json, first, "holder", l->holder);
	json_member_int(json, first, "documents", (int64_t)state_head(l->s)->present);
	json_member_int(json, first, "repositories", (int64_t)l->repos);
	json_member_int(json, first, "failed", (int64_t)l->failed);
	json_member_int(json, first, "left_over", (int64_t)l->left_over);
	json_member_int(json, first, "held", (int64_t)l->held);
	json_member_int(json, first, "in_doubt", (int64_t)l->doubts);
	show_json_time(json, first, "last_clean", l->clean_s);
}

static void json_error(struct buf *json, bool *first, const struct failure *f)
{
	bool inner = true;

	json_name(json, first, "error");
	buf_addc(json, '{');
	json_member_cstr(json, &inner, "code", error_name((enum error_code)f->code));
	if (f->http != 0)
		json_member_int(json, &inner, "http", f->http);
	json_member_bool(json, &inner, "retryable", error_retryable((enum error_code)f->code));
	json_member_cstr(json, &inner, "message", f->message);
	buf_addc(json, '}');
}

void show_json_given(struct buf *json, bool *first, const char *name, const char *s)
{
	if (s != NULL && s[0] != '\0')
		json_member_cstr(json, first, name, s);
}

void show_json_failure(struct buf *json, bool *first, const struct failure *f, const char *run)
{
	json_member_cstr(json, first, "run", run);
	json_member_int(json, first, "line", (int64_t)f->number);
	show_json_given(json, first, "repo", f->repo);
	show_json_given(json, first, "path", f->path);
	show_json_given(json, first, "op", op_name((enum change_op)f->op));
	json_error(json, first, f);
	json_member_int(json, first, "retries", f->retries);
	show_json_time(json, first, "first", f->first_s);
	show_json_time(json, first, "last", f->last_s);
	json_member_bool(json, first, "kept", f->payload > 0);
}

static void json_held(struct buf *json, bool *first, const struct repo_state *r)
{
	if (r->held_commit[0] == '\0')
		return;
	json_member_cstr(json, first, "held", r->held_commit);
	json_member_cstr(json, first, "why", held_name((enum held_why)r->held_why));
	json_member_int(json, first, "waiting", r->held_waiting);
	json_member_bool(json, first, "held_whole", r->held_whole);
}

void show_json_repo(struct buf *json, bool *first, const char *name, const struct repo_state *r)
{
	json_member_cstr(json, first, "repo", name);
	json_member_cstr(json, first, "position", r->commit[0] != '\0' ? r->commit : NULL);
	json_member_bool(json, first, "whole", r->whole);
	show_json_time(json, first, "since", r->position_s);
	json_held(json, first, r);
	json_member_int(json, first, "documents", (int64_t)r->present);
	json_member_int(json, first, "failed", (int64_t)r->failed);
	json_member_int(json, first, "in_doubt", (int64_t)r->doubts);
}
