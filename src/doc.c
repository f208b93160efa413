#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <string.h>

#include "changeset.h"
#include "clock.h"
#include "doc.h"

bool doc_in_doubt(const struct doc *d)
{
	return d->has_mark && !(d->mark.flags & MARK_SETTLED);
}

uint32_t doc_most_chunks(const struct doc *d)
{
	uint32_t n = d->known.chunks;

	return d->has_mark && d->mark.chunks > n ? d->mark.chunks : n;
}

bool doc_is_unchanged(const struct doc *d, const struct version *v)
{
	const struct doc_state *k = &d->known;

	if (doc_in_doubt(d))
		return false;
	if (v->kind == LANE_DELETE)	/* a skipped document that no one stored needs no delete either */
		return (k->flags & DOC_ABSENT) || (v->skip != REASON_NONE && k->flags == 0);
	return (k->flags & DOC_PRESENT) && (k->flags & DOC_KNOWN) && k->chunks == v->npieces &&
	       memcmp(k->digest, v->digest, SYNC_DIGEST_SIZE) == 0;
}

bool doc_asks_for(const struct doc *d, const struct version *v)
{
	const struct mark *m = &d->mark;

	if (v->kind == LANE_DELETE)
		return m->flags & MARK_DELETE;
	return !(m->flags & MARK_DELETE) && memcmp(m->digest, v->digest, SYNC_DIGEST_SIZE) == 0;
}

/* ---- the mark ---- */

static void put_mark(struct state *s, struct doc *d)
{
	d->has_mark = true;
	state_mark_put(s, d->repo, d->path, &d->mark);
}

void doc_unmark(struct state *s, struct doc *d)
{
	if (d->has_mark)
		state_mark_del(s, d->repo, d->path);
	d->has_mark = false;
}

void doc_sent(struct state *s, struct task *t)
{
	struct doc *d = t->doc;
	struct mark *m = &d->mark;
	uint32_t most = doc_most_chunks(d);

	if (t->marked)
		return;		/* before its first attempt, or with another chunk */
	t->marked = true;
	if (!d->has_mark)
		m->flags = 0;
	m->flags = (uint8_t)((m->flags & MARK_DOUBT) | (t->kind == LANE_DELETE ? MARK_DELETE : 0));
	memcpy(m->digest, t->digest, SYNC_DIGEST_SIZE);
	m->count = t->kind == LANE_UPSERT ? t->npieces : 0;
	m->chunks = most > m->count ? most : m->count;
	m->line = t->work->at;
	m->since_s = clock_unix_s();
	m->uncommitted = t->work->uncommitted;
	put_mark(s, d);
}

void doc_attempt_failed(struct state *s, struct doc *d, bool kept_nothing)
{
	if (kept_nothing && !(d->mark.flags & MARK_DOUBT)) {
		doc_unmark(s, d);
	} else {
		d->mark.flags |= MARK_DOUBT;
		put_mark(s, d);
	}
}

/* A line has settled the document: an attempt that may still arrive only delays what comes. */
static void settle_mark(struct state *s, struct window *win, struct doc *d)
{
	if (!d->has_mark)
		return;
	if (d->mark.flags & MARK_DOUBT)
		d->group->release = true;
	if (d->late_until <= clock_ms()) {
		doc_unmark(s, d);
		return;
	}
	d->mark.flags = (uint8_t)((d->mark.flags & MARK_DELETE) | MARK_SETTLED);
	put_mark(s, d);
	work_doc_late(win, d);
}

void doc_attempts_over(struct state *s, struct doc *d)
{
	if (d->has_mark && (d->mark.flags & MARK_SETTLED))
		doc_unmark(s, d);
}

/* ---- what a line has done ---- */

/* A line that finished the document supersedes its failures, but not one of a later line. */
static void drop_failure(struct state *s, struct doc *d, struct place_in_run at)
{
	struct failure f;

	if (state_repo(s, d->repo)->failed == 0 ||
	    !state_failure_get(s, d->repo, d->path, &f))
		return;
	if (!state_later(s, f.line, at)) {
		state_failure_del(s, d->repo, d->path);
		d->group->release = true;
	}
	failure_release(&f);
}

/* A document that --exclude names is gone.  No line has finished it, and it is not of what a position says. */
static void finish_left_out(struct state *s, struct window *win, struct task *t)
{
	struct doc *d = t->doc;

	d->known.flags = DOC_ABSENT | DOC_EXCLUDED | DOC_SAME;
	d->known.chunks = 0;
	state_doc_put(s, d->repo, d->path, &d->known);
	drop_failure(s, d, t->work->at);
	settle_mark(s, win, d);
	d->group->release = true;
}

/* The task's line has finished the document: it holds what flags say, by that line. */
void doc_finish(struct state *s, struct window *win, struct task *t, uint8_t flags, const uint8_t *digest,
		uint32_t chunks)
{
	struct doc *d = t->doc;
	struct work *w = t->work;

	if (w->left_out) {
		finish_left_out(s, win, t);
		return;
	}
	d->known.flags = flags;
	if (t->skip == REASON_EXCLUDED)	/* whatever its text is, and whenever it was read: none of it is kept */
		d->known.flags |= DOC_EXCLUDED;
	/* of a rename both halves: what is changed back has the old path again */
	if (w->uncommitted && t->skip != REASON_EXCLUDED)
		d->known.flags |= DOC_UNCOMMITTED;
	if (w->retried && t->skip != REASON_EXCLUDED)
		d->known.flags |= DOC_LOOSE;
	if (digest != NULL)
		memcpy(d->known.digest, digest, SYNC_DIGEST_SIZE);
	d->known.chunks = chunks;
	if (!state_later(s, d->known.last, w->at))	/* a later line has only named it */
		d->known.last = w->at;
	state_doc_put(s, d->repo, d->path, &d->known);
	drop_failure(s, d, w->at);
	settle_mark(s, win, d);
	if (!w->retried)
		changeset_line(s, d->repo, w->at);
}

/* A document that is as it was at the position stays so by a line that finds it unchanged; but not if
 * a record that stands before the line may still take the position to where the document was another. */
bool doc_same_as_at_position(struct state *s, const struct task *t)
{
	const struct doc *d = t->doc;

	return !t->work->retried && d->group->records == NULL &&
	       state_repo(s, d->repo)->held_commit[0] == '\0' && !changeset_touched(s, d->repo, &d->known);
}

/* True while an earlier line of the input has the document: it is that one's to finish, also in an
 * invocation that goes on from here. */
static bool has_earlier_line(const struct doc *d)
{
	return (d->active != NULL && !d->active->work->retried) ||
	       (d->next != NULL && !d->next->work->retried);
}

void doc_leave(struct state *s, struct work *w, struct doc *d)
{
	if (has_earlier_line(d)) {
		drop_failure(s, d, w->at);
		return;
	}
	if (d->known.flags == 0 && doc_in_doubt(d)) {	/* or a complete listing would not find it named */
		d->known.flags = DOC_PRESENT;
		d->known.chunks = d->mark.chunks > 0 ? d->mark.chunks : 1;
	}
	if (d->known.flags != 0 && !state_later(s, d->known.last, w->at)) {
		d->known.last = w->at;
		d->known.flags &= (uint8_t)~DOC_SAME;	/* what the line's text was is not known */
		state_doc_put(s, d->repo, d->path, &d->known);
		if (!w->retried)
			changeset_line(s, d->repo, w->at);
	}
	drop_failure(s, d, w->at);
}

void doc_read_back(struct state *s, struct window *win, struct doc *d, bool is_sent)
{
	struct doc_state *k = &d->known;

	if (is_sent) {
		k->flags = d->mark.count > 0 ? DOC_PRESENT | DOC_KNOWN : DOC_ABSENT;
		memcpy(k->digest, d->mark.digest, SYNC_DIGEST_SIZE);
		k->chunks = d->mark.count;
	}
	/* what an earlier line left open and this one did not replace stays where that line stands */
	if ((is_sent || !changeset_touched(s, d->repo, k)) &&
	    !state_later(s, k->last, d->mark.line))	/* a later line has only named it */
		k->last = d->mark.line;
	/* no record has closed what this was: the next one must name it */
	k->flags |= DOC_LOOSE | (d->mark.uncommitted ? DOC_UNCOMMITTED : 0);
	state_doc_put(s, d->repo, d->path, k);
	settle_mark(s, win, d);
}

void doc_lost_until(struct doc *d, int64_t ms)
{
	if (ms > d->late_until)
		d->late_until = ms;
}

void doc_put_failure(struct state *s, struct work *w, const struct task *t, bool repo_known)
{
	struct failure f = { 0 }, other;
	struct place_in_run hold;
	auto_buf struct buf payload = BUF_INIT;

	f.line = w->at;
	f.hold = t->hold;
	f.number = w->number;
	f.op = (uint8_t)w->op;
	f.half = t->half;
	f.code = (uint16_t)t->error;
	f.http = (uint16_t)t->http;
	f.retries = w->retries_before + (w->retried ? 1 : 0);
	f.first_s = f.last_s = clock_unix_s();
	f.format = w->format;
	f.repo = w->repo;
	f.path = t->doc != NULL ? t->doc->path : (char *)"";
	f.message = t->message != NULL ? t->message : "";
	f.root = w->root;
	f.folder = w->folder;
	f.default_repo = w->default_repo;
	f.namespace = w->namespace;
	f.default_uncommitted = w->default_uncommitted;
	if (!repo_known) {
		f.digest = w->digest;
		changeset_unknown_again(s, &f);
	}
	if (f.path[0] == '\0' || !state_failure_get(s, f.repo, f.path, &other)) {
		work_payload(w, &payload);
		state_failure_put(s, &f, repo_known, payload.data, payload.len);
		return;
	}
	hold = state_later(s, f.hold, other.hold) ? other.hold : f.hold;
	if (state_later(s, other.line, f.line)) {	/* a later line of it has failed already */
		other.hold = hold;
		state_failure_payload(s, &other, &payload);
		state_failure_put(s, &other, true, payload.data, payload.len);
	} else {
		f.hold = hold;
		work_payload(w, &payload);
		state_failure_put(s, &f, repo_known, payload.data, payload.len);
	}
	failure_release(&other);
}
