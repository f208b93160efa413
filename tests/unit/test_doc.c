/* A document as a table: what was known of it, what happens, what is known then. */
#include "parts.h"

enum event { FINISHED, FINISHED_UNCOMMITTED, FINISHED_AGAIN, FINISHED_SAME, EXCLUDED, LEFT_OUT, LEFT, READ_SENT,
	     READ_BEFORE };

static const struct row {
	const char *name;
	uint8_t flags;			/* before; 0: nothing is known */
	int mark;			/* before; -1: none */
	enum event event;
	uint8_t then;			/* flags after */
	int mark_then;			/* -1: none */
} table[] = {
	{ "new, stored", 0, -1, FINISHED, DOC_PRESENT | DOC_KNOWN, -1 },
	{ "known, stored", DOC_PRESENT | DOC_KNOWN, -1, FINISHED, DOC_PRESENT | DOC_KNOWN, -1 },
	{ "absent, stored", DOC_ABSENT, -1, FINISHED, DOC_PRESENT | DOC_KNOWN, -1 },
	{ "loose, stored", DOC_PRESENT | DOC_LOOSE, -1, FINISHED, DOC_PRESENT | DOC_KNOWN, -1 },
	{ "in flight, stored", DOC_ABSENT, 0, FINISHED, DOC_PRESENT | DOC_KNOWN, -1 },
	{ "in doubt, stored", DOC_ABSENT, MARK_DOUBT, FINISHED, DOC_PRESENT | DOC_KNOWN, -1 },
	{ "of a working tree", 0, -1, FINISHED_UNCOMMITTED, DOC_PRESENT | DOC_KNOWN | DOC_UNCOMMITTED, -1 },
	{ "by a retry", 0, -1, FINISHED_AGAIN, DOC_PRESENT | DOC_KNOWN | DOC_LOOSE, -1 },
	{ "as at the position", DOC_PRESENT | DOC_KNOWN, -1, FINISHED_SAME, DOC_PRESENT | DOC_KNOWN | DOC_SAME, -1 },
	{ "excluded", DOC_PRESENT | DOC_KNOWN, -1, EXCLUDED, DOC_ABSENT | DOC_EXCLUDED, -1 },
	{ "let go by --exclude", DOC_PRESENT | DOC_KNOWN, -1, LEFT_OUT, DOC_ABSENT | DOC_EXCLUDED | DOC_SAME, -1 },
	{ "left, known", DOC_PRESENT | DOC_KNOWN | DOC_SAME, -1, LEFT, DOC_PRESENT | DOC_KNOWN, -1 },
	{ "left, unknown", 0, -1, LEFT, 0, -1 },
	{ "left, in doubt", 0, MARK_DOUBT, LEFT, DOC_PRESENT, MARK_DOUBT },
	{ "left, absent", DOC_ABSENT, -1, LEFT, DOC_ABSENT, -1 },
	{ "read back, the new", DOC_PRESENT | DOC_KNOWN, MARK_DOUBT, READ_SENT, DOC_PRESENT | DOC_KNOWN | DOC_LOOSE, -1 },
	{ "read back, the old", DOC_ABSENT, MARK_DOUBT, READ_BEFORE, DOC_ABSENT | DOC_LOOSE, -1 },
};

static struct doc *before(const struct row *r)
{
	struct doc_state d = { .flags = r->flags, .chunks = 1, .last = { 1, 1 } };
	struct mark m = { .flags = (uint8_t)(r->mark > 0 ? r->mark : 0), .count = 1, .chunks = 1, .line = { 1, 2 } };
	struct doc *doc;

	begin_state();
	ord = 9;
	if (r->flags != 0)
		state_doc_put(state, "R", "d", &d);
	if (r->mark >= 0)
		state_mark_put(state, "R", "d", &m);
	clock_test_set_ms(clock_ms() + LATE_MS);	/* attempts of earlier processes are over */
	doc = work_doc(window, "R", "d");
	doc->late_until = 0;
	return doc;
}

static void happen(const struct row *r, struct doc *d)
{
	static const uint8_t digest[SYNC_DIGEST_SIZE] = { 7 };
	struct group *g = work_group(window, "R");
	struct work w = { .at = { 1, 9 }, .repo = (char *)"R", .path = (char *)"d", .group = g };
	struct task *t = work_add_half(&w, LANE_UPSERT, HALF_NEW);
	uint8_t stored = DOC_PRESENT | DOC_KNOWN;

	t->doc = d;
	w.uncommitted = r->event == FINISHED_UNCOMMITTED;
	w.retried = r->event == FINISHED_AGAIN;
	w.left_out = r->event == LEFT_OUT;
	t->skip = r->event == EXCLUDED ? REASON_EXCLUDED : REASON_NONE;
	switch (r->event) {
	case FINISHED_SAME: stored |= DOC_SAME; /* fallthrough */
	case FINISHED:
	case FINISHED_UNCOMMITTED:
	case FINISHED_AGAIN: doc_finish(state, window, t, stored, digest, 1); break;
	case EXCLUDED:
	case LEFT_OUT: doc_finish(state, window, t, DOC_ABSENT, NULL, 0); break;
	case LEFT: doc_leave(state, &w, d); break;
	case READ_SENT: doc_read_back(state, window, d, true); break;
	case READ_BEFORE: doc_read_back(state, window, d, false); break;
	}
}

static void test_table(void)
{
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		const struct row *r = &table[i];
		struct doc *d = before(r);
		struct doc_state k = { 0 };
		struct mark m;
		int mark = -1;

		happen(r, d);
		state_doc_get(state, "R", "d", &k);
		if (state_mark_get(state, "R", "d", &m))
			mark = m.flags;
		ok(k.flags == r->then && d->known.flags == r->then, "%s: flags %d, not %d", r->name, k.flags, r->then);
		ok(mark == r->mark_then && d->has_mark == (mark >= 0), "%s: mark %d", r->name, mark);
	}
}

/* Whether the state says that there is nothing to do. */
static void test_unchanged(void)
{
	static const uint8_t one[SYNC_DIGEST_SIZE] = { 1 }, two[SYNC_DIGEST_SIZE] = { 2 };
	static const struct version put = { LANE_UPSERT, one, 1, REASON_NONE }, more = { LANE_UPSERT, one, 2, REASON_NONE },
		other = { LANE_UPSERT, two, 1, REASON_NONE }, gone = { LANE_DELETE, NULL, 0, REASON_NONE },
		empty = { LANE_DELETE, NULL, 0, REASON_EMPTY };
	struct doc d = { .known = { .flags = DOC_PRESENT | DOC_KNOWN, .chunks = 1, .digest = { 1 } } };

	ok(doc_is_unchanged(&d, &put), "the same");
	ok(!doc_is_unchanged(&d, &more) && !doc_is_unchanged(&d, &other) && !doc_is_unchanged(&d, &gone), "not the same");
	d.has_mark = true;
	ok(!doc_is_unchanged(&d, &put) && doc_in_doubt(&d), "under way");
	d.mark.flags = MARK_SETTLED;
	ok(doc_is_unchanged(&d, &put) && !doc_in_doubt(&d), "settled since");
	d.known.flags = DOC_PRESENT;
	ok(!doc_is_unchanged(&d, &put), "its text is not known");
	d.known.flags = DOC_ABSENT;
	ok(!doc_is_unchanged(&d, &put) && doc_is_unchanged(&d, &gone) && doc_is_unchanged(&d, &empty), "absent");
	d.known.flags = 0;
	ok(!doc_is_unchanged(&d, &gone) && doc_is_unchanged(&d, &empty), "never heard of");
}

/* An attempt that failed: in doubt, unless the store is known to have kept nothing. */
static void test_unsettled(void)
{
	struct doc *d;

	begin_state();
	line(PUT("d", "D"));
	d = work_doc_find(window, "R", "d");
	doc_sent(state, d->active);
	ok(d->has_mark && !(d->mark.flags & MARK_DOUBT) && doc_most_chunks(d) == 1, "in flight");
	doc_attempt_failed(state, d, true);
	ok(!d->has_mark && state_head(state)->marks == 0, "kept nothing");
	d->active->marked = false;
	doc_sent(state, d->active);
	doc_attempt_failed(state, d, false);
	ok(d->has_mark && (d->mark.flags & MARK_DOUBT), "perhaps kept");
	doc_attempt_failed(state, d, true);
	ok(d->has_mark && (d->mark.flags & MARK_DOUBT), "an older doubt stays, whatever the next attempt left");
}

int main(void)
{
	parts_init();
	test_table();
	test_unchanged();
	test_unsettled();
	return parts_done();
}
