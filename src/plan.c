#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "clock.h"
#include "excluded.h"
#include "http.h"
#include "log.h"
#include "plan.h"
#include "results.h"
#include "stop.h"
#include "unknown.h"

struct plan {
	const struct options *o;
	struct state *state;
	struct roots *roots;
	struct output *out;
	const char *settings;
	struct change_options change;
	struct buf line;
	struct unknown unknown;
	bool failed;
	int halt;		/* exit status: the sync would stop at this line */
};

static bool unchanged(struct plan *p, const char *repo, const char *path, const uint8_t *digest,
		      bool deletes)
{
	struct doc_state d;
	struct mark m;

	if (p->state == NULL || p->o->force || !state_doc_get(p->state, repo, path, &d))
		return false;
	if (state_mark_get(p->state, repo, path, &m) && !(m.flags & MARK_SETTLED))
		return false;
	if (deletes)
		return d.flags & DOC_ABSENT;
	return (d.flags & DOC_KNOWN) && memcmp(d.digest, digest, SYNC_DIGEST_SIZE) == 0;
}

static void plan_document(struct plan *p, struct change *c, bool needs_file, struct result *r)
{
	struct content k = { 0 };
	bool keep_old = false;
	uint8_t digest[SYNC_DIGEST_SIZE];

	content_load(&k, c, p->roots, needs_file, &keep_old);
	r->path = c->path;
	r->old_path = c->old_path;
	r->op = c->op;
	if (k.got == CONTENT_FAIL || c->content_error || k.old_unseen != NULL) {
		r->status = STATUS_FAILED;
		r->error = k.got == CONTENT_FAIL ? k.error : c->content_error ? ERR_CONTENT : ERR_UNREADABLE;
		r->message = k.got == CONTENT_FAIL ? k.message :
			     c->content_error ? c->error_text : k.old_unseen;
		r->retryable = error_retryable(r->error);
		result_write(&p->line, r);
		p->failed = true;
	} else {
		bool deletes = c->op == OP_DELETE || (k.got == CONTENT_SKIP && k.deletes);

		if (k.got == CONTENT_OK && c->op != OP_DELETE)
			object_digest(digest, c, &k, p->settings);
		r->planned = deletes ? "delete" : "upsert";
		r->reason = k.got == CONTENT_SKIP ? k.reason : REASON_NONE;
		if ((k.got == CONTENT_SKIP && !k.deletes) ||
		    unchanged(p, c->repo, c->path, digest, deletes)) {
			/* of a rename the old document goes all the same */
			bool old_goes = c->op == OP_RENAME && !keep_old &&
					!unchanged(p, c->repo, c->old_path, NULL, true);

			r->planned = old_goes ? "delete" : "skip";
			r->reason = k.got == CONTENT_SKIP ? k.reason : old_goes ? REASON_NONE : REASON_UNCHANGED;
		}
		result_write(&p->line, r);
	}
	content_release(&k);
}

static void plan_line(struct plan *p, const struct line *line)
{
	struct change c = { 0 };
	bool needs_file = false;
	struct result r = { .run = "dry-run", .line = line->number };

	if (!line->too_long && change_is_blank(line->data, line->n, &p->change))
		return;
	if (line->too_long) {
		change_too_long(&c, p->o->max_line);
	} else {
		change_parse(&c, line->data, line->n, line->unterminated, &needs_file, &p->change);
	}
	if (p->o->results != RESULTS_PROBLEMS && c.error != ERR_MISSPELT_FIELD)
		unknown_tell(&p->unknown, &c, line->number);
	r.repo = c.repo;
	r.path = c.path;
	r.op = c.op;
	switch (c.kind) {
	case CHANGE_BAD:
		r.status = STATUS_FAILED;
		r.error = c.error;
		r.message = c.message;
		r.has_offset = c.has_offset;
		r.offset = c.offset;
		p->failed = true;
		if (c.error == ERR_MISSPELT_FIELD) {
			log_err("line %llu: %s", (unsigned long long)line->number, c.message);
			p->halt = 78;
		}
		break;
	case CHANGE_SKIP:
		r.planned = "skip";
		r.reason = c.reason;
		break;
	case CHANGE_CHANGESET:
		r.planned = "upsert";
		r.changeset = c.commit;
		break;
	case CHANGE_DOCUMENT:
		plan_document(p, &c, needs_file, &r);
		change_release(&c);
		return;
	}
	result_write(&p->line, &r);
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
static int plan_wait(struct plan *p, struct input *in, int in_fd, bool want_input)
{
	struct pollfd fds[3] = {
		{ .fd = want_input ? in_fd : -1, .events = POLLIN },
		{ .fd = output_waiting(p->out) > 0 ? output_fd(p->out) : -1, .events = POLLOUT },
		{ .fd = stop_fd(), .events = POLLIN },
	};

	http_wait(NULL, fds, 3, CLOCK_NEVER);
	if (fds[0].revents != 0 && input_read(in) < 0) {
		log_err("cannot read the input: %s", strerror(errno));
		return 66;
	}
	if (fds[1].revents != 0 && output_write(p->out) != 0) {
		if (errno == EPIPE)
			return 141;
		log_err("cannot write results: %s", strerror(errno));
		return 74;
	}
	return 0;
}

int plan_run(const struct options *o, struct state *state, struct roots *roots, struct input *in,
	     int in_fd, struct output *out, const char *settings)
{
	struct plan p = { .o = o, .state = state, .roots = roots, .out = out, .settings = settings,
		.change = { o->format, o->nul, o->repo, o->namespace, o->uncommitted } };
	enum input_got got = INPUT_MORE;
	struct line line;
	int status = 0;

	plan_excluded(state, roots_excludes(roots));
	while (status == 0 && stop_signal() == 0 && (got != INPUT_END || output_waiting(out) > 0)) {
		if (got != INPUT_END && !output_full(out))
			got = input_next(in, &line);
		if (got == INPUT_LINE && !output_full(out)) {
			plan_line(&p, &line);
			if (state == NULL || state_failed(state) == 0)
				output_add(out, p.line.data, p.line.len);
			else
				got = INPUT_END;	/* what is planned by now is printed */
			buf_reset(&p.line);
			if (p.halt != 0)
				got = INPUT_END;
		} else if (got != INPUT_END || output_waiting(out) > 0) {
			status = plan_wait(&p, in, in_fd, got == INPUT_MORE);
		}
	}
	buf_release(&p.line);
	unknown_release(&p.unknown);
	if (status == 0 && state != NULL)
		status = state_failed(state);
	return status != 0 ? status : p.halt != 0 ? p.halt : p.failed ? 1 : 0;
}
