#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "clock.h"
#include "embed_hash.h"
#include "log.h"
#include "pipeline_p.h"
#include "results.h"

#define PAYLOAD_MAX 65536
#define HOPELESS_LINES 20	/* so many changes without a file below it, and no other: --root is wrong */

struct work *intake_work(struct pipeline *p, struct change *c, const struct content *k,
			 struct place_in_run at, uint64_t number)
{
	struct work *w = xcalloc(1, sizeof *w);

	w->at = at;
	w->number = number;
	w->op = c->op;
	if (c->path != NULL) {
		size_t n = strnlen(c->path, sizeof p->current - 1);

		memcpy(p->current, c->path, n);
		p->current[n] = '\0';
	}
	w->repo = c->repo != NULL ? c->repo : xstrdup("");
	w->path = c->path;
	w->old_path = c->old_path;
	c->repo = c->path = c->old_path = NULL;
	w->has_offset = c->has_offset;
	w->offset = c->offset;
	w->uncommitted = c->uncommitted;
	if (k != NULL) {
		w->folder = xstrdup(k->folder);
		w->root = xstrdup(k->folder != NULL ? k->root : NULL);
	}
	w->default_repo = xstrdup(p->change_options.repo);
	w->namespace = xstrdup(p->change_options.namespace);
	w->default_uncommitted = p->change_options.uncommitted;
	w->format = (uint8_t)(p->change_options.format | (p->change_options.nul_terminated ? 0x80 : 0));
	return w;
}

static void keep_payload(struct work *w, const char *line, size_t n)
{
	if (n == 0 || n > PAYLOAD_MAX || w->payload != NULL)
		return;
	w->payload = xmemdup0(line, n);
	w->payload_len = n;
}

static struct task *work_add_half(struct work *w, enum lane_kind kind, uint8_t half)
{
	struct task *t = &w->half[w->halves++];

	t->work = w;
	t->kind = kind;
	t->half = half;
	t->hold = w->at;
	w->open++;
	return t;
}

/* A line that is settled without a document: bad, or skipped by itself. */
static void settle_alone(struct pipeline *p, struct work *w, enum status status, enum reason reason,
			 bool repo_known)
{
	struct task *t = work_add_half(w, LANE_UPSERT, HALF_NEW);

	t->status = status;
	t->reason = reason;
	t->phase = TASK_SETTLED;
	work_enter(p, w);
	if (status == STATUS_FAILED)
		task_put_failure(p, w, NULL, repo_known);
	w->open = 0;
	task_settle_work(p, w);
}

/* A line whose document stays as it is (no-content). */
static void settle_left_doc(struct pipeline *p, struct work *w, enum reason reason)
{
	struct doc *d = work_doc(p, w->repo, w->path);

	task_leave_doc(p, w, d);
	work_doc_put(p, d);
	settle_alone(p, w, STATUS_SKIPPED, reason, true);
}

/* A failed line whose document is known: earlier lines of it come first, and a failure takes the
 * place of an older one, but leaves what the store holds. */
static void settle_failed_doc(struct pipeline *p, struct work *w)
{
	struct task *t = &w->half[0];

	t->doc = work_doc(p, w->repo, w->path);
	work_enter(p, w);
	t->phase = TASK_SETTLED;
	if (w->resumed && state_later(p->state, t->doc->known.last, w->at)) {
		t->status = STATUS_SUPERSEDED;
	} else {
		t->status = STATUS_FAILED;
		task_put_failure(p, w, t, true);
	}
	work_doc_put(p, t->doc);
	t->doc = NULL;
	w->open = 0;
	task_settle_work(p, w);
}

/* A line can be bad before its path was made good: only one that is good as it stands names a
 * document for certain. */
static bool names_document(const char *path)
{
	size_t n;

	if (path == NULL || change_path_fault(path, strlen(path)) != NULL)
		return false;
	for (;; path += n + 1) {
		n = strcspn(path, "/");
		if (n == 0 || (path[0] == '.' && (n == 1 || (n == 2 && path[1] == '.'))))
			return false;
		if (path[n] == '\0')
			return true;
	}
}

/* Bad before it was looked whether a file has this name, or whether it is a rename. */
static bool may_be_arrow(const struct change *c, const char *path)
{
	return c->is_json && !c->path_was_quoted && path != NULL && strstr(path, " -> ") != NULL;
}

static void take_bad(struct pipeline *p, struct work *w, enum error_code error, char **message,
		     bool repo_known, bool arrow)
{
	w->half[0].error = error;
	w->half[0].message = *message;
	*message = NULL;
	if (repo_known && !arrow && names_document(w->path) && error != ERR_IS_A_DIRECTORY &&
	    error != ERR_OUTSIDE_ROOT && error != ERR_BAD_PATH) {
		work_add_half(w, LANE_UPSERT, HALF_NEW);
		settle_failed_doc(p, w);
	} else {
		settle_alone(p, w, STATUS_FAILED, REASON_NONE, repo_known);
	}
}

/* A file that changed after the line's own run began, or while it was read, may hold more than the listing
 * knew. */
static bool newer_than_listed(const struct pipeline *p, const struct work *w, const struct change *c,
			      const struct content *k)
{
	int64_t start_ns = p->run->start_file_ns;
	struct run_state r;

	if (k->unsteady)
		return true;
	if (k->ctime_ns == 0 || c->source == CONTENT_REF)	/* a file made for this line is no listing's */
		return false;
	if (w->retried && state_run_get(p->state, w->at.run, &r) == 0) {
		start_ns = r.start_file_ns;
		run_release(&r);
	}
	return k->ctime_ns > start_ns;
}

static void add_upsert(struct pipeline *p, struct work *w, struct change *c, struct content *k)
{
	struct task *t = work_add_half(w, LANE_UPSERT, HALF_NEW);
	struct object **objects;

	/* the names that work_new took over are lent back: they are part of what is stored */
	c->repo = w->repo;
	c->path = w->path;
	object_digest(t->digest, c, k, p->settings);
	objects = objects_new(p->parts.store->collection, c, k, t->digest, p->synced_at,
			      &p->embedder->chunking, &t->npieces);
	c->repo = c->path = NULL;
	memcpy(w->id, objects[0]->id, sizeof w->id);
	t->pieces = xcalloc(t->npieces, sizeof *t->pieces);
	for (uint32_t i = 0; i < t->npieces; i++) {
		t->pieces[i].object = objects[i];
		w->size += objects[i]->text_len + p->embedder->dimension * sizeof(float) + sizeof *objects[i] +
			   sizeof *t->pieces;
	}
	free(objects);
	work_cut_payload(w, c->written_at, c->written_len);
}

void intake_add_delete(struct pipeline *p, struct work *w, uint8_t half, enum reason skip)
{
	struct task *t = work_add_half(w, LANE_DELETE, half);

	t->skip = skip;
	if (half == HALF_NEW)
		object_id(w->id, p->parts.store->collection, w->repo, w->path, 0);
}

/* The first object of a run settles what nobody has chosen. */
static void decide_embedder(struct pipeline *p, const struct change *c)
{
	if (p->embedder_kept)
		return;
	p->embedder_kept = true;
	if (!embedder_decide(p->embedder, p->state, p->parts.store, p->o, c->vector ? c->nvector : 0))
		return;
	free(p->settings);
	p->settings = embedder_settings(p->embedder);
}

static bool wrong_vector(const struct pipeline *p, const struct change *c, char **why)
{
	const struct embedder *e = p->embedder;
	size_t dimension = e->kind == EMBED_STORE ? p->parts.store->dimension : e->dimension;

	if (c->vector == NULL && e->kind == EMBED_GIVEN) {
		*why = xasprintf("the collection's vectors came with their lines: this line must bring its own, "
				 "of %zu numbers", dimension);
		return true;
	}
	if (c->vector == NULL && e->kind == EMBED_HASH &&
	    (dimension < EMBED_HASH_MIN || dimension > EMBED_HASH_MAX)) {
		*why = xasprintf("the collection's vectors have %zu numbers, and --embed hash makes %d to %d: "
				 "the line must bring its vector", dimension, EMBED_HASH_MIN,
				 EMBED_HASH_MAX);
		return true;
	}
	if (c->vector == NULL || c->nvector == dimension || dimension == 0)
		return false;
	*why = xasprintf("the vector has %zu numbers, the collection's have %zu", c->nvector,
			 dimension);
	return true;
}

/* What is wrong with the new half of a change, if anything: *message is the caller's to give away. */
static enum error_code new_half_error(struct pipeline *p, const struct work *w, struct change *c,
				      struct content *k, char ***message, char **why)
{
	*message = &k->message;
	if (k->got == CONTENT_FAIL)
		return k->error;
	*message = &c->error_text;
	if (c->content_error && !(k->got == CONTENT_SKIP && k->deletes))	/* what is left out needs no text */
		return ERR_CONTENT;
	*message = why;
	if (k->got != CONTENT_OK || w->op == OP_DELETE)
		return ERR_NONE;
	decide_embedder(p, c);
	return wrong_vector(p, c, why) ? ERR_BAD_VECTOR : ERR_NONE;
}

/* A half of a rename failed or was left out while it was read: the other one is done all the same. */
static void add_settled_half(struct work *w, uint8_t half, enum status status, enum reason reason,
			     enum error_code error, char **message)
{
	struct task *t = work_add_half(w, half == HALF_OLD ? LANE_DELETE : LANE_UPSERT, half);

	t->status = status;
	t->reason = reason;
	t->error = error;
	if (message != NULL) {
		t->message = *message;
		*message = NULL;
	}
	t->phase = TASK_SETTLED;
	w->open--;
}

/* Adds what is to be done for the new path.  False: the line is settled by that already. */
static bool add_new_half(struct pipeline *p, struct work *w, struct change *c, struct content *k,
			 bool old_goes)
{
	char **message, *why = NULL;
	enum error_code error = new_half_error(p, w, c, k, &message, &why);

	p->hopeless_seen += !w->retried && (error == ERR_NO_SUCH_FILE || error == ERR_OUTSIDE_ROOT);
	if (error != ERR_NONE && (!old_goes || !names_document(w->path) || error == ERR_IS_A_DIRECTORY)) {
		take_bad(p, w, error, message, true, false);
		return false;
	}
	if (k->got == CONTENT_SKIP && !k->deletes && !old_goes) {
		settle_left_doc(p, w, k->reason);
		return false;
	}
	if (error != ERR_NONE)
		add_settled_half(w, HALF_NEW, STATUS_FAILED, REASON_NONE, error, message);
	else if (k->got == CONTENT_SKIP && !k->deletes)
		add_settled_half(w, HALF_NEW, STATUS_SKIPPED, k->reason, ERR_NONE, NULL);
	else if (w->op == OP_DELETE || k->got == CONTENT_SKIP)
		intake_add_delete(p, w, HALF_NEW, w->op == OP_DELETE ? REASON_NONE : k->reason);
	else
		add_upsert(p, w, c, k);
	return true;
}

static void queue_half(struct pipeline *p, struct work *w, struct task *t)
{
	t->doc = work_doc(p, w->repo, t->half == HALF_OLD ? w->old_path : w->path);
	if (t->phase != TASK_SETTLED) {
		task_queue(p, t);
		return;
	}
	if (t->status == STATUS_FAILED && w->resumed &&
	    state_later(p->state, t->doc->known.last, w->at))
		t->status = STATUS_SUPERSEDED;
	else if (t->status == STATUS_FAILED)
		task_put_failure(p, w, t, true);
	else
		task_leave_doc(p, w, t->doc);
	work_doc_put(p, t->doc);
	t->doc = NULL;
}

/* A change of a document, read and resolved: makes its halves and queues them.  halves: which of a
 * rename's are to be done (a retry has only the failed one). */
static void take_document(struct pipeline *p, struct work *w, struct change *c, struct content *k,
			  bool keep_old, int halves)
{
	bool old_goes = w->op == OP_RENAME && (halves & HALF_OLD) && !keep_old &&
			names_document(w->old_path);
	bool all_settled;

	w->uncommitted |= newer_than_listed(p, w, c, k);
	if ((halves & HALF_NEW) && !add_new_half(p, w, c, k, old_goes))
		return;
	if (old_goes && k->old_unseen != NULL)
		add_settled_half(w, HALF_OLD, STATUS_FAILED, REASON_NONE, ERR_UNREADABLE, &k->old_unseen);
	else if (old_goes)
		intake_add_delete(p, w, HALF_OLD, REASON_NONE);
	if (w->halves == 0) {
		settle_alone(p, w, STATUS_COMPLETED, REASON_NONE, true);
		return;
	}
	work_enter(p, w);
	for (int i = 0; i < w->halves; i++)
		if (w->half[i].phase != TASK_SETTLED)
			w->half[i].phase = TASK_TURN;
	all_settled = w->open == 0;
	/* the last may settle and free the line */
	for (int i = 0, n = w->halves; i < n; i++)
		queue_half(p, w, &w->half[i]);
	if (all_settled)
		task_settle_work(p, w);
}

static void take_record(struct pipeline *p, struct change *c, const struct line *line, bool again,
			enum status before)
{
	struct group *g = work_group(p, c->repo);
	struct pending_record *r = xcalloc(1, sizeof *r), **at = &g->records;

	r->at = (struct place_in_run){ p->run->number, p->ord };
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
	g->nrecords++;
	g->look = true;
}

static void take_not_a_change(struct pipeline *p, const struct line *line, enum reason reason)
{
	struct result r = { .run = p->run->id, .line = line->number, .status = STATUS_SKIPPED,
		.reason = reason };

	if (!p->matching)	/* an earlier invocation of this run has counted it */
		pipeline_count(p, (struct place_in_run){ 0, 0 }, STATUS_NONE, STATUS_SKIPPED, reason,
			       OP_NONE);
	outbox_add(p->outbox, &r, false, clock_ms());
}

static void take_skipped(struct pipeline *p, struct work *w, enum reason reason)
{
	if (reason == REASON_UNMERGED && !p->unmerged_told)
		log_warn("line %llu: git lists '%s' as unmerged (U): a merge is open.  Such lines ask for nothing; what "
			 "git lists besides is taken as it is, conflict markers included",
			 (unsigned long long)w->number, w->path);
	p->unmerged_told |= reason == REASON_UNMERGED;
	settle_alone(p, w, STATUS_SKIPPED, reason, true);
}

static void set_ord(struct pipeline *p)
{
	p->ord++;
	p->changes_seen++;
}

/* The first line that is not the recorded one: what follows it in the old run is given up. */
void intake_branch(struct pipeline *p, uint32_t cut, uint64_t number)
{
	p->matching = false;
	if (cut == 1)
		log_note("run %s did not finish and this input does not begin like its own; it stays "
			 "interrupted and a new run begins", p->run->id);
	else if (number == 0)
		log_note("the input ends before what run %s had read does; that run stays interrupted",
			 p->run->id);
	else
		log_note("line %llu is not what run %s had read there; that run stays interrupted and a new "
			 "one goes on from here", (unsigned long long)number, p->run->id);
	p->run = state_run_branch(p->state, cut);
	pipeline_date_run(p);
}

/* A line that an earlier invocation of this run has finished, and that carries everything itself. */
static bool take_finished(struct pipeline *p, const struct line *line, const struct line_state *l)
{
	struct result r = { .run = p->run->id, .line = line->number, .status = l->status,
		.reason = l->reason, .resumed = true };

	if (!l->own || (l->status != STATUS_COMPLETED && l->status != STATUS_SKIPPED &&
			l->status != STATUS_SUPERSEDED))
		return false;
	p->ord++;
	p->changes_seen++;
	outbox_add(p->outbox, &r, false, clock_ms());
	return true;
}

static bool is_blank(const struct pipeline *p, const struct line *line)
{
	return !line->too_long && change_is_blank(line->data, line->n, &p->change_options);
}

uint64_t intake_left(struct pipeline *p)
{
	struct line line;
	uint64_t n = p->has_first;

	while (input_next(p->parts.input, &line) == INPUT_LINE)
		n += !is_blank(p, &line);
	return n;
}

static void parse(struct pipeline *p, struct change *c, const struct line *line, bool *needs_file)
{
	*needs_file = false;
	if (!line->too_long) {
		change_parse(c, line->data, line->n, line->unterminated, needs_file, &p->change_options);
		return;
	}
	memset(c, 0, sizeof *c);
	c->kind = CHANGE_BAD;
	c->error = ERR_LINE_TOO_LONG;
	c->message = xasprintf("the line has more than %llu bytes; raise --max-line",
			       (unsigned long long)p->o->max_line);
}

/* A line that asks for something, or is bad: it gets a place in the run. */
static void take_change(struct pipeline *p, const struct line *line, struct change *c, bool needs_file)
{
	struct content k = { 0 };
	struct line_state old = { 0 };
	bool keep_old = false, again = false;
	struct work *w;

	set_ord(p);
	if (p->matching) {
		again = p->ord <= p->recorded && state_line_get(p->state, p->ord, &old) &&
			old.digest == line->digest;
		if (!again && p->ord <= p->recorded)
			intake_branch(p, p->ord, line->number);
		else if (!again)
			p->matching = false;	/* past what was recorded: the run goes on */
	}
	if (c->kind == CHANGE_DOCUMENT)
		content_load(&k, c, p->parts.roots, needs_file, &keep_old);
	if (!again)
		state_line_read(p->state, p->ord, line->digest, change_carries_all(c) && !k.from_file);
	if (c->kind == CHANGE_CHANGESET) {
		take_record(p, c, line, again, old.status);
	} else {
		bool repo_known = c->kind != CHANGE_BAD || c->repo_known;

		w = intake_work(p, c, &k, (struct place_in_run){ p->run->number, p->ord }, line->number);
		w->digest = line->digest;
		w->resumed = w->again = again;
		w->again = again && old.status != STATUS_NONE;
		w->before = again ? old.status : STATUS_NONE;
		keep_payload(w, line->data, line->too_long ? 0 : line->n);
		if (c->kind == CHANGE_BAD)
			take_bad(p, w, c->error, &c->message, repo_known, may_be_arrow(c, w->path));
		else if (c->kind == CHANGE_SKIP)
			take_skipped(p, w, c->reason);
		else
			take_document(p, w, c, &k, keep_old, HALF_NEW | HALF_OLD);
	}
	content_release(&k);
}

/* The line asks for what is not meant, and so do perhaps all that follow: those before it are settled, it
 * leaves no trace in the state, and whoever has mended the input goes on from there. */
static void halt_at(struct pipeline *p, const struct line *line, const struct change *c)
{
	struct result r = { .run = p->run->id, .line = line->number, .repo = c->repo, .path = c->path,
		.op = c->op, .status = STATUS_FAILED, .error = c->error, .message = c->message,
		.has_offset = c->has_offset, .offset = c->offset };

	log_err("line %llu: %s; then feed all of it again", (unsigned long long)line->number, c->message);
	outbox_tell(p->outbox, &r);
	p->halt = 78;
	p->has_first = true;	/* read, and not settled */
}

static bool is_misspelt(const struct change *c)
{
	return c->kind == CHANGE_BAD && c->error == ERR_MISSPELT_FIELD;
}

void intake_line(struct pipeline *p, const struct line *line)
{
	struct change c;
	struct line_state l;
	bool needs_file;

	state_run(p->state)->input_bytes = input_bytes(p->parts.input);
	if (is_blank(p, line))
		return;
	if (p->matching && p->ord < p->recorded && state_line_get(p->state, p->ord + 1, &l) &&
	    l.digest == line->digest && take_finished(p, line, &l))
		return;
	parse(p, &c, line, &needs_file);
	if (p->o->results != RESULTS_PROBLEMS && !is_misspelt(&c))
		unknown_tell(&p->unknown, &c, line->number);
	if (is_misspelt(&c))
		halt_at(p, line, &c);
	else if (c.kind == CHANGE_SKIP && c.reason == REASON_NOT_A_CHANGE)
		take_not_a_change(p, line, c.reason);
	else
		take_change(p, line, &c, needs_file);
	change_release(&c);
	if (p->hopeless_seen == HOPELESS_LINES && p->changes_seen == HOPELESS_LINES && p->stop_status == 0) {
		log_err("none of the first %d changes has a file below '%s'; is --root right?",
			HOPELESS_LINES, roots_path(p->parts.roots));
		p->stop_status = 78;
	}
}

/* Waits for the first line that asks for something and keeps it for take_some(): if it is not the
 * first of the run that goes on, that run is given up before anything is tried again. */
void intake_first_line(struct pipeline *p)
{
	struct change c;
	struct line_state l;
	bool needs_file, message, misspelt;

	while (!pipeline_must_stop(p)) {
		switch (input_next(p->parts.input, &p->first)) {
		case INPUT_MORE:
			pipeline_wait(p, true, CLOCK_NEVER);
			continue;
		case INPUT_END:
			p->eof = true;
			intake_branch(p, 1, 1);
			return;
		case INPUT_LINE:
			break;
		}
		if (is_blank(p, &p->first))
			continue;
		p->has_first = true;
		if (state_line_get(p->state, 1, &l) && l.digest == p->first.digest)
			return;
		parse(p, &c, &p->first, &needs_file);
		message = c.kind == CHANGE_SKIP && c.reason == REASON_NOT_A_CHANGE;
		misspelt = is_misspelt(&c);
		change_release(&c);
		if (misspelt)		/* the run that could go on is not given up for it */
			return;
		if (!message) {
			intake_branch(p, 1, p->first.number);
			return;
		}
		p->has_first = false;
		take_not_a_change(p, &p->first, REASON_NOT_A_CHANGE);
	}
}

/* ---- retries of earlier runs' failures ---- */

static bool may_retry(const struct pipeline *p, const struct failure *f)
{
	return f->path[0] != '\0' && f->retries < p->o->max_rounds &&
	       error_retryable((enum error_code)f->code) && state_own_ord(p->state, f->line) == 0;
}

/* Which halves of a rename are tried again: both, as one line, where both have failed.  *unseen: of the
 * old one because it could not be seen whether its file is there. */
static int failed_halves(struct pipeline *p, const struct failure *f, bool *unseen)
{
	struct failure_walk at = { .at = f->line, .half = f->half };
	struct failure other = { 0 };
	int halves = f->half;

	*unseen = f->half == HALF_OLD && f->code == ERR_UNREADABLE;
	if (state_failure_next(p->state, &at, &other) && place_compare(other.line, f->line) == 0 &&
	    may_retry(p, &other)) {
		halves |= other.half;
		*unseen |= other.half == HALF_OLD && other.code == ERR_UNREADABLE;
		p->retry.half = other.half;	/* the walk goes on behind it */
	}
	failure_release(&other);
	failure_walk_release(&at);
	return halves;
}

/* Read again, the line names another document than when it failed (an arrow that was not seen to be one):
 * its failure goes with it. */
static void move_failure(struct pipeline *p, struct work *w, const struct failure *f)
{
	struct task t = { .work = w, .half = f->half, .hold = f->hold, .error = (enum error_code)f->code,
		.http = f->http, .message = f->message };

	if (!names_document(w->path) || strcmp(w->path, f->path) == 0 ||
	    (w->old_path != NULL && strcmp(w->old_path, f->path) == 0))
		return;
	t.doc = work_doc(p, w->repo, w->path);
	task_put_failure(p, w, &t, true);
	work_doc_put(p, t.doc);
}

/* The halves to be done again.  An old one that failed at the store was to go, whatever file is there by
 * now (*keep_old); where it could not be seen whether one was, it was looked again. */
static int halves_again(struct pipeline *p, struct work *w, const struct failure *f, bool *keep_old)
{
	struct doc *d;
	bool unseen;
	int halves;

	if (f->op != OP_RENAME)
		return HALF_NEW | HALF_OLD;
	halves = failed_halves(p, f, &unseen);
	*keep_old &= unseen;
	if (*keep_old) {
		d = work_doc(p, w->repo, w->old_path);
		task_leave_doc(p, w, d);
		work_doc_put(p, d);
	}
	return halves;
}

static void take_retry(struct pipeline *p, const struct failure *f, const struct buf *payload)
{
	struct change_options mine = p->change_options;
	struct change c;
	struct content k = { 0 };
	bool needs_file = false, keep_old = false;
	struct work *w;
	int halves;

	p->change_options.format = (enum input_format)(f->format & 0x7f);
	p->change_options.nul_terminated = f->format & 0x80;
	p->change_options.repo = f->default_repo[0] ? f->default_repo : NULL;
	p->change_options.namespace = f->namespace[0] ? f->namespace : NULL;
	p->change_options.uncommitted = f->default_uncommitted;
	change_parse(&c, payload->data, payload->len, false, &needs_file, &p->change_options);
	if (c.kind == CHANGE_DOCUMENT) {
		if (f->root[0] != '\0')
			roots_preset(p->parts.roots, f->root, c.repo, f->folder);
		content_load(&k, &c, p->parts.roots, needs_file, &keep_old);
		w = intake_work(p, &c, &k, f->line, f->number);
		w->retried = true;
		w->retries_before = f->retries;
		keep_payload(w, payload->data, payload->len);
		move_failure(p, w, f);
		halves = halves_again(p, w, f, &keep_old);
		take_document(p, w, &c, &k, keep_old, halves);
	}
	p->change_options = mine;
	change_release(&c);
	content_release(&k);
}

/* Offers the next failure that may be tried again.  False when there is none left. */
bool intake_retry(struct pipeline *p)
{
	struct failure f = { 0 };
	auto_buf struct buf payload = BUF_INIT;
	bool offered = false;

	while (!offered && state_failure_next(p->state, &p->retry, &f)) {
		if (f.line.run >= p->run->number) {
			failure_release(&f);
			return false;
		}
		if (!p->retry.repo_known || !may_retry(p, &f) ||
		    !state_failure_payload(p->state, &f, &payload))
			continue;
		take_retry(p, &f, &payload);
		offered = true;
	}
	failure_release(&f);
	return offered;
}
