#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "clock.h"
#include "log.h"
#include "pipeline_p.h"
#include "results.h"
#include "unknown.h"

struct intake {
	struct change_options options;
	uint32_t ord;			/* of the last line taken */
	bool matching;			/* lines are compared with those of the run being resumed */
	bool began;			/* the first line that asks for something has been seen */
	uint32_t recorded;		/* how many lines that run has */
	bool eof;
	struct line first;		/* read to see whether it is the first of the last run */
	bool has_first;
	struct first_changes first_changes;
	bool unmerged_told;
	struct unknown unknown;
	int stop, halt;			/* exit statuses */
	char current[200];
};

struct intake *intake_new(struct pipeline *p)
{
	struct intake *in = xcalloc(1, sizeof *in);
	const struct options *o = p->o;

	in->options = (struct change_options){ o->format, o->nul, o->repo, o->namespace, o->uncommitted };
	in->began = true;
	return in;
}

void intake_free(struct intake *in)
{
	if (in == NULL)
		return;
	unknown_release(&in->unknown);
	free(in);
}

bool intake_began(const struct intake *in)
{
	return in->began;
}

bool intake_ended(const struct intake *in)
{
	return in->eof || in->halt != 0;
}

int intake_stop(const struct intake *in)
{
	return in->stop;
}

int intake_halt(const struct intake *in)
{
	return in->halt;
}

const char *intake_current(const struct intake *in)
{
	return in->current;
}

void intake_resume(struct pipeline *p)
{
	p->intake->matching = true;
	p->intake->began = false;
	p->intake->recorded = state_run(p->state)->lines;
}

/* ---- one line ---- */

static void take_record(struct pipeline *p, struct change *c, const struct line *line, bool again,
			enum status before)
{
	struct group *g = work_group(p->window, c->repo);
	struct pending_record *r = xcalloc(1, sizeof *r), **at = &g->records;

	r->at = (struct place_in_run){ state_run(p->state)->number, p->intake->ord };
	r->number = line->number;
	r->commit = c->commit;
	r->since = c->since;
	r->changeset = c->changeset;
	c->commit = c->since = c->changeset = NULL;
	r->complete = c->complete;
	r->again = again;
	r->before = before;
	while (*at != NULL)
		at = &(*at)->next;
	*at = r;
	first_changes_count(&p->intake->first_changes, NULL, NULL);
	g->nrecords++;
	g->look = true;
}

static void take_not_a_change(struct pipeline *p, const struct line *line)
{
	struct run_state *run = state_run(p->state);
	struct result r = { .run = run->id, .line = line->number, .status = STATUS_SKIPPED,
		.reason = REASON_NOT_A_CHANGE };

	if (!p->intake->matching)	/* an earlier invocation of this run has counted it */
		run_count(run, (struct place_in_run){ 0, 0 }, STATUS_NONE, REASON_NONE, r.status, r.reason, OP_NONE);
	outbox_add(p->outbox, &r, false, clock_ms());
}

/* A line that an earlier invocation of this run has finished, and that carries everything itself. */
static bool take_finished(struct pipeline *p, const struct line *line, const struct line_state *l)
{
	struct result r = { .run = state_run(p->state)->id, .line = line->number, .status = l->status,
		.reason = l->reason, .resumed = true, .counted = true };

	if (!l->own || (l->status != STATUS_COMPLETED && l->status != STATUS_SKIPPED &&
			l->status != STATUS_SUPERSEDED))
		return false;
	p->intake->ord++;
	first_changes_count(&p->intake->first_changes, NULL, NULL);
	outbox_add(p->outbox, &r, false, clock_ms());
	return true;
}

static bool is_blank(const struct intake *in, const struct line *line)
{
	return !line->too_long && change_is_blank(line->data, line->n, &in->options);
}

uint64_t intake_left(struct pipeline *p)
{
	struct line line;
	uint64_t n = p->intake->has_first;

	while (input_next(p->parts.input, &line) == INPUT_LINE)
		n += !is_blank(p->intake, &line);
	return n;
}

static void keep_current(struct intake *in, const char *path)
{
	size_t n;

	if (path == NULL)
		return;
	n = strnlen(path, sizeof in->current - 1);
	memcpy(in->current, path, n);
	in->current[n] = '\0';
}

static void tell_unmerged(struct intake *in, const struct line *line, const struct change *c)
{
	if (c->kind != CHANGE_SKIP || c->reason != REASON_UNMERGED || in->unmerged_told)
		return;
	in->unmerged_told = true;
	log_warn("line %llu: git lists '%s' as unmerged (U): a merge is open.  Such lines ask for nothing; what git "
		 "lists besides is taken as it is, conflict markers included", (unsigned long long)line->number,
		 c->path);
}

/* Asks for something, or is bad; *old: what the run that goes on knows of it, NULL if that does not have it. */
static void take_work(struct pipeline *p, const struct line *line, struct change *c, struct content *k,
		      bool keep_old, const struct line_state *old)
{
	struct intake *in = p->intake;
	const struct run_state *run = state_run(p->state);
	struct work_origin from = { &in->options, k };
	struct offer of;
	struct work *w;

	offer_make(&of, &p->maker, c, k, keep_old, HALF_NEW | HALF_OLD);
	in->stop = first_changes_count(&in->first_changes, &of, roots_path(p->parts.roots));
	tell_unmerged(in, line, c);
	keep_current(in, c->path);
	w = work_new(c, &from, (struct place_in_run){ run->number, in->ord }, line->number);
	w->uncommitted |= content_is_newer(c, k, run->start_file_ns);
	w->digest = line->digest;
	w->resumed = old != NULL;
	w->before = old != NULL ? old->status : STATUS_NONE;
	w->before_reason = old != NULL ? old->reason : REASON_NONE;
	work_keep_payload(w, line->data, line->too_long ? 0 : line->n);
	work_take_offer(w, &of, &p->maker);
	work_cut_payload(w, c->written_at, c->written_len);
	offer_release(&of);
	task_line(p->tasks, w);
}

/* ---- its place in the run ---- */

/* The first line that is not the recorded one: what follows it in the old run is given up. */
static void branch(struct pipeline *p, uint32_t cut, uint64_t number)
{
	p->intake->matching = false;
	p->intake->began = true;
	run_branch(p, cut, number);
}

/* Whether the run that goes on has this line at this place. */
static bool was_read(struct pipeline *p, const struct line *line, struct line_state *old)
{
	struct intake *in = p->intake;

	if (!in->matching)
		return false;
	if (in->ord > in->recorded) {
		in->matching = false;	/* past what was recorded: the run goes on */
		return false;
	}
	if (state_line_get(p->state, in->ord, old) && old->digest == line->digest)
		return true;
	branch(p, in->ord, line->number);
	return false;
}

/* A line that asks for something, or is bad: it gets a place in the run. */
static void take_change(struct pipeline *p, const struct line *line, struct change *c, bool needs_file)
{
	struct intake *in = p->intake;
	struct content k = { 0 };
	struct line_state old = { 0 };
	bool keep_old = false, again;

	in->ord++;
	again = was_read(p, line, &old);
	if (c->kind == CHANGE_DOCUMENT)
		content_load(&k, c, p->parts.roots, needs_file, &keep_old);
	if (!again)
		state_line_read(p->state, in->ord, line->digest, change_carries_all(c) && !k.from_file);
	if (c->kind == CHANGE_CHANGESET)
		take_record(p, c, line, again, old.status);
	else
		take_work(p, line, c, &k, keep_old, again ? &old : NULL);
	content_release(&k);
}

static void parse(struct pipeline *p, struct change *c, const struct line *line, bool *needs_file)
{
	*needs_file = false;
	if (!line->too_long) {
		change_parse(c, line->data, line->n, line->unterminated, needs_file, &p->intake->options);
		return;
	}
	change_too_long(c, p->o->max_line);
}

/* The line asks for what is not meant, and so do perhaps all that follow: those before it are settled, it
 * leaves no trace in the state, and whoever has mended the input goes on from there. */
static void halt_at(struct pipeline *p, const struct line *line, const struct change *c)
{
	struct result r = { .run = state_run(p->state)->id, .line = line->number, .repo = c->repo,
		.path = c->path, .op = c->op, .status = STATUS_FAILED, .error = c->error,
		.message = c->message, .has_offset = c->has_offset, .offset = c->offset };

	log_err("line %llu: %s; then feed all of it again", (unsigned long long)line->number, c->message);
	outbox_tell(p->outbox, &r);
	p->intake->halt = 78;
	p->intake->has_first = true;	/* read, and not settled */
}

static void take_line(struct pipeline *p, const struct line *line)
{
	struct intake *in = p->intake;
	struct change c;
	struct line_state l;
	bool needs_file;

	state_run(p->state)->input_bytes = input_bytes(p->parts.input);
	if (is_blank(in, line))
		return;
	if (in->matching && in->ord < in->recorded && state_line_get(p->state, in->ord + 1, &l) &&
	    l.digest == line->digest && take_finished(p, line, &l))
		return;
	parse(p, &c, line, &needs_file);
	if (p->o->results != RESULTS_PROBLEMS && !change_is_misspelt(&c))
		unknown_tell(&in->unknown, &c, line->number);
	if (change_is_misspelt(&c))
		halt_at(p, line, &c);
	else if (change_is_message(&c))
		take_not_a_change(p, line);
	else
		take_change(p, line, &c, needs_file);
	change_release(&c);
}

enum input_got intake_turn(struct pipeline *p)
{
	struct intake *in = p->intake;
	struct line line;
	enum input_got got;

	if (in->has_first) {
		in->has_first = false;
		take_line(p, &in->first);
		return INPUT_LINE;
	}
	got = input_next(p->parts.input, &line);
	if (got == INPUT_LINE)
		take_line(p, &line);
	in->eof = got == INPUT_END;
	if (in->eof && in->matching && in->ord < in->recorded)
		branch(p, in->ord + 1, 0);
	return got;
}

/* The first line: is it the one that the last run had?  False: it asks for nothing. */
static bool judge_first(struct pipeline *p)
{
	struct intake *in = p->intake;
	struct change c;
	struct line_state l;
	bool needs_file, message, misspelt;

	if (is_blank(in, &in->first))
		return false;
	in->has_first = in->began = true;
	if (state_line_get(p->state, 1, &l) && l.digest == in->first.digest)
		return true;
	parse(p, &c, &in->first, &needs_file);
	message = change_is_message(&c);
	misspelt = change_is_misspelt(&c);	/* the run that could go on is not given up for it */
	change_release(&c);
	if (message) {
		in->has_first = in->began = false;
		take_not_a_change(p, &in->first);
	} else if (!misspelt) {
		branch(p, 1, in->first.number);
	}
	return !message;
}

enum input_got intake_first(struct pipeline *p)
{
	struct intake *in = p->intake;
	enum input_got got;

	while (!in->began && (got = input_next(p->parts.input, &in->first)) != INPUT_MORE) {
		if (got == INPUT_LINE && !judge_first(p))
			continue;
		if (got == INPUT_END) {
			in->eof = true;
			branch(p, 1, 1);
		}
	}
	return in->began ? INPUT_LINE : INPUT_MORE;
}
