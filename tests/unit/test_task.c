/* Turns, supersession and verdicts, with a lane that the test answers for. */
#include "parts.h"

static bool known(const char *path, uint8_t flags)
{
	struct doc_state d;

	return state_doc_get(state, "R", path, &d) && (d.flags & flags) == flags;
}

static bool has_failure(const char *path)
{
	struct failure f;
	bool yes = state_failure_get(state, "R", path, &f);

	failure_release(&f);
	return yes;
}

static void test_one(void)
{
	begin_state();
	line(PUT("a", "A"));
	ok(flying() == 1 && status_of(1) == STATUS_NONE, "a line is with the lane");
	answer(0, LANE_DONE);
	ok(status_of(1) == STATUS_COMPLETED && known("a", DOC_PRESENT | DOC_KNOWN), "and done when that has done it");
	line(PUT("a", "A"));
	ok(flying() == 0 && status_of(2) == STATUS_SKIPPED, "the same again is unchanged");
	line(DEL("a"));
	answer(1, LANE_DONE);
	ok(status_of(3) == STATUS_COMPLETED && known("a", DOC_ABSENT), "a delete");
	line(PUT("a", ""));
	ok(flying() == 0 && status_of(4) == STATUS_SKIPPED, "an empty one of what is not there asks for nothing");
	ok(window_works(window) == 0 && window_bytes(window) == 0, "nothing is left in the window");
}

static void test_turns(void)
{
	begin_state();
	line(PUT("a", "A"));
	line(PUT("a", "B"));
	line(PUT("a", "C"));
	line(PUT("b", "B"));
	ok(flying() == 2 && ngiven == 2, "one line of a document at a time");
	answer(0, LANE_DONE);
	ok(status_of(1) == STATUS_COMPLETED && ngiven == 3, "the next one's turn");
	ok(status_of(2) == STATUS_NONE, "one that was passed over waits for who passed it");
	answer(2, LANE_DONE);
	ok(status_of(2) == STATUS_SUPERSEDED && status_of(3) == STATUS_COMPLETED, "and is settled with it");
	answer(1, LANE_DONE);
	ok(status_of(4) == STATUS_COMPLETED, "another document's line is not held up");
}

/* Failing, the one that passed the others over takes their places: no changeset may pass them. */
static void test_failed(void)
{
	struct failure f;

	begin_state();
	line(PUT("a", "A"));
	line(PUT("a", "B"));
	line(PUT("a", "C"));
	answer(0, LANE_DONE);
	answer(1, LANE_REFUSED);
	ok(status_of(3) == STATUS_FAILED && status_of(2) == STATUS_SUPERSEDED, "a line fails");
	ok(state_failure_get(state, "R", "a", &f) && f.line.ord == 3 && f.hold.ord == 2, "and holds the place of both");
	failure_release(&f);
	ok(known("a", DOC_PRESENT) && state_head(state)->marks == 0, "the store has what was there, for certain");
	line(PUT("a", "D"));
	answer(2, LANE_DONE);
	ok(!has_failure("a"), "a later line that is done takes its failure away");
	line(PUT("a", "E"));
	answer(3, LANE_GAVE_UP);
	ok(has_failure("a") && state_head(state)->marks == 1, "an attempt that is lost leaves a doubt");
	line(PUT("a", "D"));
	ok(flying() == 0, "what was known is not taken for unchanged; the attempt may still arrive");
	clock_test_set_ms(clock_ms() + LATE_MS);
	tasks_late_turn(tasks);
	ok(flying() == 1, "when it is over, the line goes");
	answer(4, LANE_DONE);
	ok(status_of(6) == STATUS_COMPLETED && state_head(state)->marks == 0 && !has_failure("a"), "and settles it");
}

static void test_rename(void)
{
	begin_state();
	line(PUT("a", "A"));
	answer(0, LANE_DONE);
	line(MOVE("a", "b", "A"));
	ok(flying() == 1 && given[1]->kind == LANE_UPSERT, "the new document first");
	answer(1, LANE_DONE);
	ok(flying() == 1 && given[2]->kind == LANE_DELETE && status_of(2) == STATUS_NONE, "then the old one goes");
	answer(2, LANE_DONE);
	ok(status_of(2) == STATUS_COMPLETED && known("a", DOC_ABSENT) && known("b", DOC_PRESENT), "both are done");
	line(MOVE("b", "c", "C"));
	answer(3, LANE_REFUSED);
	answer(4, LANE_DONE);
	ok(status_of(3) == STATUS_FAILED && known("b", DOC_ABSENT) && has_failure("c"),
	   "the old one goes also where the new one failed");
}

/* Chains: each waits for the one before it. */
static void test_chain(void)
{
	char text[100];

	begin_state();
	line(PUT("d", "first"));
	for (int i = 0; i < 5000; i++) {
		snprintf(text, sizeof text, "{\"repo\":\"R\",\"path\":\"d\",\"content\":\"%d\"}", i);
		line(text);
	}
	ok(flying() == 1, "5,000 lines wait for one");
	answer(0, LANE_DONE);
	answer(1, LANE_DONE);
	ok(status_of(2) == STATUS_SUPERSEDED && status_of(5000) == STATUS_SUPERSEDED &&
	   status_of(5001) == STATUS_COMPLETED && window_works(window) == 0, "all are settled with the last");
}

static void test_decided(void)
{
	begin_state();
	line(PUT("a", "A"));
	answer(0, LANE_DONE);
	line("{\"repo\":\"R\",\"path\":\"a\",\"content\":null}");
	ok(status_of(2) == STATUS_SKIPPED && known("a", DOC_PRESENT | DOC_KNOWN), "a line without a text leaves it");
	line("{\"repo\":\"R\",\"path\":\"a\",\"vector\":[1,2],\"content\":\"A\"}");
	ok(status_of(3) == STATUS_FAILED && has_failure("a"), "one that cannot be has a failure");
	line("{bad");
	ok(status_of(4) == STATUS_FAILED && state_run(state)->unknown_failures == 1, "one of nobody, too");
	ok(outbox_tally(outbox)->counts[STATUS_FAILED] == 2, "both are told");
}

/* A process ends at any place: what the next one finds. */
static void test_killed(void)
{
	begin_state();
	line(PUT("a", "A"));
	answer(0, LANE_DONE);
	commit();
	line(PUT("a", "B"));
	given[1]->next = NULL;
	tasks_mark_batch(tasks, (struct batch *)given[1]);
	commit();
	end_process();	/* after step 4 */
	begin_process();
	state_marks_doubt(state);
	line(PUT("a", "A"));
	ok(ngiven == 0 || flying() == 1, "a document in doubt is not unchanged");
	clock_test_set_ms(clock_ms() + LATE_MS);
	tasks_late_turn(tasks);
	ok(flying() == 1, "and goes once the lost attempt is over");
	answer(0, LANE_DONE);
	ok(status_of(3) == STATUS_COMPLETED && state_head(state)->marks == 0, "which settles it");
}

/* Nothing more is sent: what the store cannot have is in no doubt. */
static void test_unsent(void)
{
	begin_state();
	line(PUT("a", "A"));
	given[0]->next = NULL;
	given[0]->verdict.kept_nothing = true;
	given[0]->sent = 1;
	tasks_mark_batch(tasks, (struct batch *)given[0]);
	ok(state_head(state)->marks == 1, "marked");
	tasks_unmark_unsent(tasks);
	ok(state_head(state)->marks == 0, "the store said that it kept nothing");
	line(PUT("b", "B"));
	given[1]->next = NULL;
	given[1]->sent = 1;
	tasks_mark_batch(tasks, (struct batch *)given[1]);
	tasks_unmark_unsent(tasks);
	ok(state_head(state)->marks == 1, "where it did not, the mark stays");
}

int main(void)
{
	parts_init();
	test_one();
	test_turns();
	test_failed();
	test_rename();
	test_chain();
	test_decided();
	test_killed();
	test_unsent();
	return parts_done();
}
