#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "doc.h"
#include "excluded.h"
#include "http.h"
#include "log.h"
#include "offer.h"
#include "plan.h"
#include "results.h"
#include "stop.h"
#include "unknown.h"

struct plan {
	struct plan_parts parts;
	const struct options *o;
	struct state *state;
	struct offer_maker maker;
	struct change_options change;
	struct buf line;
	struct unknown unknown;
	struct first_changes first;
	bool failed;
	int halt;		/* exit status: the sync would stop at this line */
};

/* What a half would come to. */
struct step {
	const char *action;	/* "upsert", "delete", "skip"; NULL: it fails */
	enum reason reason;
	const struct offer_half *half;
};

static void look_up(struct plan *p, const char *repo, const char *path, struct doc *d)
{
	memset(d, 0, sizeof *d);
	if (p->state == NULL)
		return;
	state_doc_get(p->state, repo, path, &d->known);
	d->has_mark = state_mark_get(p->state, repo, path, &d->mark);
}

static struct step plan_half(struct plan *p, const struct change *c, const struct offer_half *h)
{
	struct step s = { .half = h, .reason = h->reason };
	struct version v = { h->kind == OFFER_STORE ? LANE_UPSERT : LANE_DELETE, h->digest, h->n, h->reason };
	struct doc d;

	if (h->kind == OFFER_FAIL)
		return s;
	s.action = "skip";
	if (h->kind == OFFER_LEAVE || h->kind == OFFER_SKIP)
		return s;
	look_up(p, c->repo, h->half == HALF_OLD ? c->old_path : c->path, &d);
	if (p->o->force || !doc_is_unchanged(&d, &v))
		s.action = h->kind == OFFER_STORE ? "upsert" : "delete";
	else if (s.reason == REASON_NONE)
		s.reason = REASON_UNCHANGED;
	return s;
}

static bool skips(const struct step *s)
{
	return s->action != NULL && strcmp(s->action, "skip") == 0;
}

/* What tells of a line of two halves, as its result would. */
static struct step telling(const struct step *a, const struct step *b)
{
	struct step s = *a;

	if (a->action == NULL || b->action == NULL)
		return a->action == NULL ? *a : *b;
	if (skips(a) && !skips(b)) {	/* the old document goes all the same */
		s.action = b->action;
		s.reason = a->reason == REASON_UNCHANGED ? REASON_NONE : a->reason;
	}
	return s;
}

static void plan_offer(struct plan *p, const struct change *c, const struct offer *of, struct result *r)
{
	struct step s = plan_half(p, c, &of->half[0]);

	if (of->n > 1) {
		struct step old = plan_half(p, c, &of->half[1]);

		s = telling(&s, &old);
	}
	r->planned = s.action;
	r->reason = s.reason;
	if (s.action != NULL)
		return;
	r->status = STATUS_FAILED;
	r->error = s.half->error;
	r->message = s.half->message;
	r->retryable = error_retryable(r->error);
	p->failed = true;
}

/* The text is looked for, and an offer made, as a sync does. */
static void plan_change(struct plan *p, struct change *c, bool needs_file, struct result *r)
{
	struct content k = { 0 };
	struct offer of;
	bool keep_old = false;

	if (c->kind == CHANGE_DOCUMENT)
		content_load(&k, c, p->parts.roots, needs_file, &keep_old);
	offer_make(&of, &p->maker, c, &k, keep_old, HALF_NEW | HALF_OLD);
	if (!change_is_message(c))
		p->halt = first_changes_count(&p->first, &of, roots_path(p->parts.roots));
	r->path = c->path;	/* as it was found to be meant */
	r->old_path = c->old_path;
	r->op = c->op;
	plan_offer(p, c, &of, r);
	result_write(&p->line, r);
	offer_release(&of);
	content_release(&k);
}

static void plan_record(struct plan *p, const struct change *c, struct result *r)
{
	first_changes_count(&p->first, NULL, NULL);
	r->planned = "upsert";
	r->changeset = c->commit;
	result_write(&p->line, r);
}

static void halt_at(struct plan *p, const struct line *line, const struct change *c, struct result *r)
{
	log_err("line %llu: %s", (unsigned long long)line->number, c->message);
	r->status = STATUS_FAILED;
	r->error = c->error;
	r->message = c->message;
	result_write(&p->line, r);
	p->halt = 78;
}

static void plan_line(struct plan *p, const struct line *line)
{
	struct change c = { 0 };
	bool needs_file = false;
	struct result r = { .run = "dry-run", .line = line->number };

	if (!line->too_long && change_is_blank(line->data, line->n, &p->change))
		return;
	if (line->too_long)
		change_too_long(&c, p->o->max_line);
	else
		change_parse(&c, line->data, line->n, line->unterminated, &needs_file, &p->change);
	if (p->o->results != RESULTS_PROBLEMS && !change_is_misspelt(&c))
		unknown_tell(&p->unknown, &c, line->number);
	r.repo = c.repo;
	r.path = c.path;
	r.op = c.op;
	r.has_offset = c.has_offset;
	r.offset = c.offset;
	if (change_is_misspelt(&c))
		halt_at(p, line, &c, &r);
	else if (c.kind == CHANGE_CHANGESET)
		plan_record(p, &c, &r);
	else
		plan_change(p, &c, needs_file, &r);
	change_release(&c);
}

/* What --exclude would do to documents that no line names. */
static void plan_excluded(struct state *s, const struct excludes *e)
{
	struct excluded_walk w = { 0 };
	unsigned left = UINT_MAX;
	uint64_t n[EXCLUDED_COMES_BACK + 1] = { 0 };

	if (s == NULL || !excluded_differ(s, e))
		return;
	while (excluded_next(s, e, &w, &left))
		n[w.step]++;
	walk_release(&w.at);
	if (n[EXCLUDED_GOES] > 0)
		log_note("--exclude names %llu documents that are known: what the store holds of them would be deleted",
			 (unsigned long long)n[EXCLUDED_GOES]);
	if (n[EXCLUDED_COMES_BACK] > 0)
		log_note("--exclude does not name %llu documents any more that it left out: they would be waited for",
			 (unsigned long long)n[EXCLUDED_COMES_BACK]);
}

/* Waits for input, or for the reader of the results.  0, or an exit status. */
static int plan_wait(struct plan *p, bool want_input)
{
	struct output *out = p->parts.output;
	struct pollfd fds[3] = {
		{ .fd = want_input ? p->parts.input_fd : -1, .events = POLLIN },
		{ .fd = output_waiting(out) > 0 ? output_fd(out) : -1, .events = POLLOUT },
		{ .fd = stop_fd(), .events = POLLIN },
	};

	http_wait(NULL, fds, 3, CLOCK_NEVER);
	if (fds[0].revents != 0 && input_read(p->parts.input) < 0) {
		log_err("cannot read the input: %s", strerror(errno));
		return 66;
	}
	if (fds[1].revents != 0 && output_write(out) != 0) {
		if (errno == EPIPE)
			return 141;
		log_err("cannot write results: %s", strerror(errno));
		return 74;
	}
	return 0;
}

/* One line, if there is one and its result can be printed. */
static enum input_got plan_turn(struct plan *p)
{
	struct line line;
	enum input_got got = input_next(p->parts.input, &line);

	if (got != INPUT_LINE)
		return got;
	plan_line(p, &line);
	/* what is planned by now is printed */
	if (p->state != NULL && state_failed(p->state) != 0)
		got = INPUT_END;
	else
		output_add(p->parts.output, p->line.data, p->line.len);
	buf_reset(&p->line);
	return p->halt != 0 ? INPUT_END : got;
}

static int plan_all(struct plan *p)
{
	struct output *out = p->parts.output;
	enum input_got got = INPUT_LINE;
	int status = 0;

	while (status == 0 && stop_signal() == 0 && (got != INPUT_END || output_waiting(out) > 0)) {
		bool full = output_full(out);

		if (got != INPUT_END && !full)
			got = plan_turn(p);
		if (full || got == INPUT_MORE || (got == INPUT_END && output_waiting(out) > 0))
			status = plan_wait(p, got == INPUT_MORE && !full);
	}
	return status;
}

int plan_run(const struct plan_parts *parts)
{
	const struct options *o = parts->options;
	struct plan p = { .parts = *parts, .o = o, .state = parts->state,
		.change = { o->format, o->nul, o->repo, o->namespace, o->uncommitted } };
	int status;

	offer_maker_init(&p.maker, parts->embedder, NULL, parts->store, o);
	plan_excluded(p.state, roots_excludes(parts->roots));
	status = plan_all(&p);
	buf_release(&p.line);
	unknown_release(&p.unknown);
	offer_maker_release(&p.maker);
	if (status == 0 && p.state != NULL)
		status = state_failed(p.state);
	return status != 0 ? status : p.halt != 0 ? p.halt : p.failed ? 1 : 0;
}
