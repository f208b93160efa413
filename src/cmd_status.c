/* linesync status: where the current or last run stands, all runs, totals. */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "clock.h"
#include "commands.h"
#include "json.h"
#include "log.h"
#include "show.h"

#include "cmd_status_p.h"

/* ---- the exit status ---- */

static bool too_old(const struct look *l)
{
	int64_t age = clock_unix_s() - l->clean_s;

	if (l->o->max_age_s == 0 || (l->clean_s != 0 && age <= (int64_t)l->o->max_age_s))
		return false;
	if (l->clean_s == 0) {
		log_note("no run of '%s' is known to have ended clean", state_path(l->s));
	} else {
		auto_buf struct buf text = BUF_INIT;

		show_seconds(&text, age);
		log_note("the last clean run of '%s' ended %s ago", state_path(l->s), text.data);
	}
	return true;
}

/* As the sync did exit, or would now. */
static int verdict(const struct look *l)
{
	bool killed = l->run.status == RUN_RUNNING && !l->running;

	return too_old(l) || (l->has_run && (killed || !l->run.good));
}

/* ---- as text ---- */

static void row_time(struct table *t, const char *label, int64_t unix_s)
{
	char stamp[21];

	clock_format(unix_s, stamp);
	table_add(t, label);
	table_add(t, stamp);
}

static void add_part(struct buf *out, uint64_t n, const char *what)
{
	if (n > 0)
		buf_addf(out, "%s%" PRIu64 " %s", out->len > 0 ? ", " : "", n, what);
}

/* "1 request", "2 requests". */
static void add_number(struct buf *out, uint64_t n, const char *thing)
{
	buf_addf(out, "%" PRIu64 " %s%s", n, thing, n == 1 ? "" : "s");
}

static void row_counts(struct table *t, const char *label, const uint64_t counts[8], uint64_t unchanged)
{
	auto_buf struct buf text = BUF_INIT;
	uint64_t all = 0;

	for (int i = STATUS_COMPLETED; i <= STATUS_HELD; i++) {
		all += counts[i];
		add_part(&text, counts[i], status_name((enum status)i));
		if (i == STATUS_SKIPPED && unchanged > 0)
			buf_addf(&text, " (%" PRIu64 " unchanged)", unchanged);
	}
	table_add(t, label);
	table_addf(t, "%" PRIu64 "%s%s", all, all > 0 ? ": " : "", all > 0 ? text.data : "");
}

static void row_ops(struct table *t, const struct run_state *r)
{
	auto_buf struct buf text = BUF_INIT;

	for (int i = OP_ADD; i <= OP_CHANGESET; i++)
		add_part(&text, r->ops[i], op_name((enum change_op)i));
	if (text.len == 0)
		return;
	table_add(t, "asked for");
	table_add(t, text.data);
}

static void row_sent(struct table *t, const struct run_state *r)
{
	auto_buf struct buf text = BUF_INIT;

	add_number(&text, r->objects, "object");
	buf_adds(&text, ", ");
	add_number(&text, r->deletes, "delete");
	buf_adds(&text, ", ");
	show_bytes(&text, r->bytes);
	buf_adds(&text, " in ");
	add_number(&text, r->requests, "request");
	table_add(t, "sent");
	table_add(t, text.data);
}

static void row_pace(struct table *t, const struct run_state *r, bool running)
{
	auto_buf struct buf text = BUF_INIT;
	double percent = show_run_percent(r);

	show_seconds(&text, show_run_seconds(r, running));
	buf_addf(&text, ", %.1f lines a second", show_run_rate(r, running));
	table_add(t, running ? "so far" : "took");
	table_add(t, text.data);
	if (percent < 0 || r->status == RUN_COMPLETED || r->status == RUN_FAILED)
		return;		/* it was read to its end */
	buf_reset(&text);
	buf_addf(&text, "%.0f%% of the input", percent);
	if (running && show_run_eta(r) >= 0) {
		buf_adds(&text, ", about ");
		show_seconds(&text, show_run_eta(r));
		buf_adds(&text, " to go");
	}
	table_add(t, "read");
	table_add(t, text.data);
}

static void rows_of_run(struct table *t, const struct look *l)
{
	const struct run_state *r = &l->run;

	table_add(t, "run");
	table_addf(t, "%s (number %" PRIu32 "), %s", r->id, r->number, show_run_status(r, l->running));
	table_add(t, "input");
	table_add(t, r->source);
	table_add(t, "by");
	table_addf(t, "pid %" PRIu32 ", host %s", r->pid, r->host);
	row_time(t, "started", r->start_s);
	row_pace(t, r, l->running);
	row_counts(t, "lines", r->counts, r->unchanged);
	row_ops(t, r);
	row_sent(t, r);
	if (r->retried > 0) {
		table_add(t, "tried again");
		table_addf(t, "%" PRIu64 " of the failed lines of earlier runs", r->retried);
	}
}

static void row_hint(struct table *t, const struct look *l, const char *label, uint64_t n,
		     const char *thing, const char *option)
{
	auto_buf struct buf text = BUF_INIT;

	table_add(t, label);
	if (n > 0) {
		add_number(&text, n, thing);
		buf_adds(&text, "; see ");
		command_line(&text, l->o, "status", l->s);
		buf_addf(&text, " %s", option);
	}
	table_add(t, n > 0 ? text.data : "none");
}

static void rows_of_state(struct table *t, const struct look *l)
{
	const struct identity *id = state_identity(l->s);
	auto_buf struct buf text = BUF_INIT;

	table_add(t, "state");
	table_add(t, state_path(l->s));
	table_add(t, "collection");
	buf_addf(&text, "%s of %s, ", id->collection, id->store);
	add_number(&text, state_head(l->s)->present, "document");
	buf_addf(&text, " in %" PRIu64 " %s", l->repos, l->repos == 1 ? "repository" : "repositories");
	table_add(t, text.data);
}

static void rows_of_trouble(struct table *t, const struct look *l)
{
	row_hint(t, l, "failed", l->failed, "line", "--failed");
	if (l->left_over > 0)
		row_hint(t, l, "left over", l->left_over, "line", "--failed");
	row_hint(t, l, "held", l->held, "changeset", "--held");
	if (l->doubts > 0) {
		auto_buf struct buf text = BUF_INIT;

		add_number(&text, l->doubts, "document");
		buf_adds(&text, " of which the store may hold another version");
		table_add(t, "in doubt");
		table_add(t, text.data);
	}
}

static void show_status(const struct look *l)
{
	struct table t = { .columns = 2 };

	rows_of_state(&t, l);
	if (l->has_run) {
		rows_of_run(&t, l);
	} else {
		table_add(&t, "run");
		table_add(&t, "none yet");
	}
	if (l->o->run == NULL)
		rows_of_trouble(&t, l);
	table_print(stdout, &t, "");
	table_release(&t);
}

static void show_runs(struct look *l)
{
	static const char *const heads[] = { "NUMBER", "RUN", "STATUS", "STARTED", "TOOK", "COMPLETED",
					     "SKIPPED", "FAILED", "SUPERSEDED", "HELD", "INPUT" };
	struct table t = { .columns = 11, .right = "rlllrrrrrrl" };
	struct run_state r = { 0 };

	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
		table_add(&t, heads[i]);
	while (state_run_above(l->s, r.number, &r)) {
		auto_buf struct buf took = BUF_INIT;
		bool running = l->running && r.number == l->run.number;
		char start[21];

		clock_format(r.start_s, start);
		show_seconds(&took, show_run_seconds(&r, running));
		table_addf(&t, "%" PRIu32, r.number);
		table_add(&t, r.id);
		table_add(&t, show_run_status(&r, running));
		table_add(&t, start);
		table_add(&t, took.data);
		for (int k = STATUS_COMPLETED; k <= STATUS_HELD; k++)
			table_addf(&t, "%" PRIu64, r.counts[k]);
		table_add(&t, r.source);
	}
	table_print(stdout, &t, "");
	if (state_head(l->s)->old_runs > 0)
		printf("%" PRIu64 " older runs were dropped; --summary counts them\n",
		       state_head(l->s)->old_runs);
	table_release(&t);
}

/* ---- totals ---- */

struct totals {
	uint64_t runs, by_status[RUN_FAILED + 1];
	uint64_t counts[8], objects, requests;
	int64_t first_s;
};

static void add_up(struct look *l, struct totals *sum)
{
	const struct head *h = state_head(l->s);
	struct run_state r = { 0 };

	sum->runs = h->old_runs;
	memcpy(sum->counts, h->old_counts, sizeof(sum->counts));
	sum->objects = h->old_objects;
	sum->requests = h->old_requests;
	while (state_run_above(l->s, r.number, &r)) {
		bool gone = r.status == RUN_RUNNING && !(l->running && r.number == l->run.number);

		sum->runs++;
		sum->by_status[gone ? RUN_INTERRUPTED : r.status]++;
		for (int k = 0; k < 8; k++)
			sum->counts[k] += r.counts[k];
		sum->objects += r.objects;
		sum->requests += r.requests;
		if (sum->first_s == 0)
			sum->first_s = r.start_s;
	}
}

static void show_summary(struct look *l)
{
	struct table t = { .columns = 2 };
	auto_buf struct buf runs = BUF_INIT, sent = BUF_INIT;
	struct totals sum = { 0 };

	add_up(l, &sum);
	rows_of_state(&t, l);
	for (int i = RUN_RUNNING; i <= RUN_FAILED; i++)
		add_part(&runs, sum.by_status[i], run_status_name((enum run_status)i));
	add_part(&runs, state_head(l->s)->old_runs, "dropped");
	table_add(&t, "runs");
	table_addf(&t, "%" PRIu64 "%s%s", sum.runs, runs.len > 0 ? ": " : "", runs.len > 0 ? runs.data : "");
	if (sum.first_s != 0)
		row_time(&t, "since", sum.first_s);
	if (l->clean_s != 0)
		row_time(&t, "last clean", l->clean_s);
	row_counts(&t, "lines", sum.counts, 0);
	table_add(&t, "sent");
	add_number(&sent, sum.objects, "object");
	buf_adds(&sent, " in ");
	add_number(&sent, sum.requests, "request");
	table_add(&t, sent.data);
	rows_of_trouble(&t, l);
	table_print(stdout, &t, "");
	table_release(&t);
}

/* ---- as JSON ---- */

static void json_run(struct buf *json, const struct run_state *r, bool running)
{
	bool first = true;

	buf_addc(json, '{');
	show_json_run(json, &first, r, running);
	buf_addc(json, '}');
}

static void json_runs(struct look *l, struct buf *json)
{
	struct run_state r = { 0 };
	bool any = false;

	buf_addc(json, '[');
	while (state_run_above(l->s, r.number, &r)) {
		if (any)
			buf_addc(json, ',');
		any = true;
		json_run(json, &r, l->running && r.number == l->run.number);
		show_json_flush(json);
	}
	buf_addc(json, ']');
}

static void json_summary(struct look *l, struct buf *json)
{
	struct totals sum = { 0 };
	bool first = true;

	add_up(l, &sum);
	buf_addc(json, '{');
	json_member_int(json, &first, "runs", (int64_t)sum.runs);
	for (int i = RUN_RUNNING; i <= RUN_FAILED; i++)
		json_member_int(json, &first, run_status_name((enum run_status)i), (int64_t)sum.by_status[i]);
	json_member_int(json, &first, "dropped", (int64_t)state_head(l->s)->old_runs);
	show_json_time(json, &first, "since", sum.first_s);
	show_json_counts(json, &first, "lines", sum.counts);
	json_member_int(json, &first, "objects", (int64_t)sum.objects);
	json_member_int(json, &first, "requests", (int64_t)sum.requests);
	buf_addc(json, '}');
}

static void json_list(struct look *l, struct buf *json, bool *first, const char *name,
		      void (*list)(struct look *, struct buf *))
{
	json_name(json, first, name);
	list(l, json);
}

static void show_json(struct look *l)
{
	auto_buf struct buf json = BUF_INIT;
	const struct options *o = l->o;
	bool first = true;

	buf_addc(&json, '{');
	show_json_state(&json, &first, l);
	if (o->summary) {
		json_list(l, &json, &first, "summary", json_summary);
	} else if (o->runs) {
		json_list(l, &json, &first, "runs", json_runs);
	} else if (o->failed) {
		json_list(l, &json, &first, "failures", status_list_failed);
	} else if (o->held) {
		json_list(l, &json, &first, "changesets", status_list_held);
	} else if (o->repos) {
		json_list(l, &json, &first, "repos", status_list_repos);
	} else {
		json_name(&json, &first, "run");
		if (l->has_run)
			json_run(&json, &l->run, l->running);
		else
			buf_adds(&json, "null");
	}
	buf_adds(&json, "}\n");
	show_json_text(stdout, &json);
}

/* ---- the command ---- */

static void show(struct look *l)
{
	const struct options *o = l->o;

	if (o->json)
		show_json(l);
	else if (o->summary)
		show_summary(l);
	else if (o->runs)
		show_runs(l);
	else if (o->failed)
		status_list_failed(l, NULL);
	else if (o->held)
		status_list_held(l, NULL);
	else if (o->repos)
		status_list_repos(l, NULL);
	else
		show_status(l);
}

static int status_of_file(const struct options *o, const char *file)
{
	struct look l = { .o = o };
	int status = state_open_reader(&l.s, file);

	if (status != 0)
		return status;
	status = look_at(&l);
	if (status == 0) {
		show(&l);
		status = state_failed(l.s) != 0 ? state_failed(l.s) : verdict(&l);
	}
	look_release(&l);
	return status;
}

int cmd_status(const struct options *o)
{
	char **files;
	int status = 0;
	size_t n = command_states(o, &files, &status);

	for (size_t i = 0; i < n; i++) {
		struct options one = *o;
		int got;

		if (n > 1)
			one.state = files[i];	/* so that commands to copy name it */
		if (i > 0 && !o->json)
			putchar('\n');
		if (n > 1 && (o->runs || o->failed || o->held || o->repos) && !o->json) {
			show_text(stdout, files[i]);
			fputs(":\n", stdout);
		}
		got = status_of_file(&one, files[i]);
		status = got > status ? got : status;
		free(files[i]);
	}
	free(files);
	return status;
}
