/* What waits for the commit, and until when: the clock is a number here. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../src/clock.h"
#include "../../src/outbox.h"
#include "tap.h"

#define FLUSH 1000

static const struct result done = { .run = "r", .line = 1, .status = STATUS_COMPLETED };
static const struct result same = { .run = "r", .line = 2, .status = STATUS_SKIPPED, .reason = REASON_UNCHANGED };
static const struct result bad = { .run = "r", .line = 3, .status = STATUS_FAILED };
static const struct result again = { .run = "r", .line = 4, .status = STATUS_FAILED, .retried = true };
static const struct result held = { .run = "r", .line = 5, .status = STATUS_HELD };

/* How many lines the outbox gives to be printed. */
static size_t released(struct outbox *o)
{
	struct output *out = output_new(STDOUT_FILENO);
	size_t n;

	outbox_release_to(o, out);
	n = output_lines(out);
	output_free(out);
	return n;
}

/* Whatever is printed, the first line that waits says until when. */
static void test_due(enum results_kind which)
{
	struct outbox *o = outbox_new(which, FLUSH);

	ok(!outbox_due(o, 5) && outbox_due_ms(o) == CLOCK_NEVER, "%d: nothing waits", which);
	for (int64_t t = 100; t < 100 + FLUSH; t += 100) {
		outbox_add(o, &same, false, t);
		ok(outbox_due_ms(o) == 100 + FLUSH, "%d: a line at %d moves nothing", which, (int)t);
	}
	ok(!outbox_due(o, 99 + FLUSH) && outbox_due(o, 100 + FLUSH), "%d: due when the first is old enough", which);
	released(o);
	ok(outbox_due_ms(o) == CLOCK_NEVER, "%d: nothing waits after the commit", which);
	outbox_add(o, &same, false, 7000);
	ok(outbox_due_ms(o) == 7000 + FLUSH, "%d: the next one begins anew", which);
	outbox_add(o, &done, true, 7001);
	ok(outbox_due(o, 7001), "%d: what was asked for is due at once", which);
	released(o);
	outbox_add(o, &done, true, 8000);
	ok(outbox_due(o, 8000) && outbox_due_ms(o) <= 8000, "%d: alone too", which);
	outbox_free(o);
}

static void test_many(enum results_kind which)
{
	struct outbox *o = outbox_new(which, FLUSH);

	for (int i = 1; i < OUTBOX_RIDERS_MAX; i++)
		outbox_add(o, &same, false, 0);
	ok(!outbox_due(o, 1), "%d: one less than the most", which);
	outbox_add(o, &same, false, 0);
	ok(outbox_due(o, 1), "%d: the most", which);
	outbox_free(o);
}

static void test_bytes(void)
{
	struct outbox *o = outbox_new(RESULTS_ALL, FLUSH);
	char *text = malloc(OUTPUT_LIMIT / 4);
	struct result r = done;

	memset(text, 'x', OUTPUT_LIMIT / 4 - 1);
	text[OUTPUT_LIMIT / 4 - 1] = '\0';
	r.path = text;
	for (int i = 0; i < 3; i++)
		outbox_add(o, &r, false, 0);
	ok(!outbox_due(o, 1), "not full");
	outbox_add(o, &r, false, 0);
	ok(outbox_due(o, 1), "full of text");
	outbox_free(o);
	free(text);
}

static void test_wanted(void)
{
	static const struct { enum results_kind which; size_t printed; } table[] = {
		{ RESULTS_ALL, 5 }, { RESULTS_PROBLEMS, 3 }, { RESULTS_NONE, 0 },
	};

	for (int i = 0; i < 3; i++) {
		struct outbox *o = outbox_new(table[i].which, FLUSH);
		const struct tally *t = outbox_tally(o);

		outbox_add(o, &done, true, 0);
		outbox_add(o, &same, false, 0);
		outbox_add(o, &bad, false, 0);
		outbox_add(o, &again, false, 0);
		outbox_add(o, &held, false, 0);
		ok(released(o) == table[i].printed, "%d: as many as wanted are printed", i);
		ok(t->counts[STATUS_COMPLETED] == 1 && t->counts[STATUS_SKIPPED] == 1 && t->unchanged == 1 &&
		   t->counts[STATUS_FAILED] == 2 && t->failed == 1 && t->counts[STATUS_HELD] == 1 &&
		   t->resumed == 0, "%d: all are counted", i);
		outbox_tell(o, &bad);
		ok(t->counts[STATUS_FAILED] == 2 && outbox_due_ms(o) == CLOCK_NEVER, "%d: told, not counted", i);
		ok(released(o) == (table[i].printed > 0), "%d: and printed", i);
		outbox_free(o);
	}
}

int main(void)
{
	for (int which = RESULTS_ALL; which <= RESULTS_NONE; which++) {
		test_due((enum results_kind)which);
		test_many((enum results_kind)which);
	}
	test_bytes();
	test_wanted();
	return tap_done();
}
