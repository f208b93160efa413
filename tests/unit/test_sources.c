/* The three sources of lines, with a buffer for an input: what each takes, and in which order of the run. */
#include <unistd.h>

#include "../../src/input.h"
#include "../../src/pipeline_p.h"
#include "parts.h"

static struct pipeline p;

static void give(const char *text)
{
	int fd[2];

	if (pipe(fd) != 0 || write(fd[1], text, strlen(text)) != (ssize_t)strlen(text))
		exit(99);
	close(fd[1]);
	p.parts.input = input_new(fd[0], 1 << 20, false, false);
	while (input_read(p.parts.input) == 1)
		;
	close(fd[0]);
}

/* Over the state as it is; the run is the test's. */
static void begin(const char *text)
{
	p = (struct pipeline){ .o = &parts_options, .state = state, .window = window, .outbox = outbox,
			       .tasks = tasks };
	p.parts = (struct pipeline_parts){ .options = &parts_options, .state = state, .store = &store,
					   .roots = roots, .embedder = &embedder };
	offer_maker_init(&p.maker, &embedder, NULL, &store, &parts_options);
	give(text);
	p.intake = intake_new(&p);
	p.again = again_new();
	p.sweep = sweep_new();
}

static void end(void)
{
	sweep_free(p.sweep);
	again_free(p.again);
	intake_free(p.intake);
	input_free(p.parts.input);
	offer_maker_release(&p.maker);
}

static int read_all(void)
{
	int n = 0;

	while (intake_turn(&p) == INPUT_LINE)
		n++;
	return n;
}

static void answer_all(void)
{
	for (int i = 0; i < ngiven; i++)
		if (given[i] != NULL)
			answer(i, LANE_DONE);
}

static uint64_t count(enum status s)
{
	return outbox_tally(outbox)->counts[s];
}

/* ---- the input ---- */

static void test_input(void)
{
	begin_state();
	begin(PUT("a", "A") "\n\nDetecting changes...   0% -:--:--\n" PUT("b", "") "\n{bad\n");
	ok(read_all() == 5 && intake_ended(p.intake), "five lines, one of them blank");
	ok(flying() == 1 && status_of(1) == STATUS_NONE && status_of(2) == STATUS_SKIPPED &&
	   status_of(3) == STATUS_FAILED, "three have a place in the run");
	ok(count(STATUS_SKIPPED) == 2 && count(STATUS_FAILED) == 1, "a message has a result and no place");
	ok(strcmp(intake_current(p.intake), "b") == 0, "the last document");
	end();
}

static void test_misspelt(void)
{
	begin_state();
	begin(PUT("a", "A") "\n{\"repo\":\"R\",\"path\":\"a\",\"embedding\":[1],\"content\":\"A\"}\n" PUT("b", "B") "\n");
	read_all();
	ok(intake_halt(p.intake) == 78 && intake_ended(p.intake), "a line that is not meant halts the input");
	ok(count(STATUS_FAILED) == 0 && flying() == 2, "and is charged to nobody");
	end();
}

static void test_hopeless(void)
{
	auto_buf struct buf text = BUF_INIT;

	for (int i = 0; i < 25; i++)
		buf_adds(&text, "{\"repo\":\"R\",\"path\":\"no\"}\n");
	begin_state();
	begin(text.data);
	for (int i = 0; i < 20 && intake_stop(p.intake) == 0; i++)
		ok(intake_turn(&p) == INPUT_LINE && (i < 19) == (intake_stop(p.intake) == 0), "line %d", i + 1);
	ok(intake_stop(p.intake) == 78, "twenty lines without a file");
	end();
}

/* A run that was interrupted goes on; what it has done is not read again. */
static void resume(const char *text)
{
	uint32_t number = state_run(state)->number;

	state_run_end(state, RUN_INTERRUPTED);
	commit();
	end();
	end_process();
	begin_process();
	state_run_continue(state, number);
	begin(text);
	intake_resume(&p);
	state_marks_doubt(state);
}

static void test_resumed(void)
{
	static const char text[] = PUT("a", "A") "\n" PUT("b", "B") "\n" PUT("c", "C") "\n";
	uint32_t number;

	begin_state();
	number = state_run(state)->number;
	begin(text);
	intake_turn(&p);
	intake_turn(&p);
	answer(0, LANE_DONE);
	resume(text);
	ok(intake_first(&p) == INPUT_LINE && intake_began(p.intake), "the first line is known");
	read_all();
	ok(outbox_tally(outbox)->resumed == 1, "the one that was done is told, not done");
	ok(state_run(state)->number == number && flying() == 2, "the others are taken up");
	answer_all();
	ok(status_of(2) == STATUS_COMPLETED && status_of(3) == STATUS_COMPLETED, "and done");
	end();
}

static void test_branched(void)
{
	uint32_t number;

	begin_state();
	number = state_run(state)->number;
	begin(PUT("a", "A") "\n" PUT("b", "B") "\n");
	read_all();
	answer_all();
	resume(PUT("a", "A") "\n" PUT("x", "X") "\n");
	intake_first(&p);
	read_all();
	ok(state_run(state)->number == number + 1 && state_run(state)->nancestors == 1, "another line: another run");
	ok(state_own_ord(state, (struct place_in_run){ number, 1 }) == 1 && flying() == 1,
	   "which takes over what stands before it");
	resume(PUT("y", "Y") "\n");
	intake_first(&p);
	ok(state_run(state)->number == number + 2 && state_own_ord(state, (struct place_in_run){ number, 1 }) == 0,
	   "another first line: nothing");
	end();
}

/* ---- failures of earlier runs ---- */

/* Whether a piece of the document has been with the lane and done. */
static bool tried(const char *path)
{
	struct failure f;
	bool failed = state_failure_get(state, "R", path, &f);

	failure_release(&f);
	return !failed;
}

static void test_again(void)
{
	begin_state();
	begin(PUT("a", "A") "\n" PUT("b", "B") "\n" MOVE("a", "c", "C") "\n{bad\n"
	      "{\"repo\":\"R\",\"path\":\"v\",\"content\":\"V\",\"vector\":[1]}\n");
	read_all();
	answer(0, LANE_GAVE_UP);
	answer(1, LANE_REFUSED);
	ok(status_of(1) == STATUS_FAILED && status_of(2) == STATUS_FAILED, "two fail");
	answer(2, LANE_GAVE_UP);
	clock_test_set_ms(clock_ms() + 2 * LATE_MS);
	tasks_late_turn(tasks);
	answer_all();
	state_run_end(state, RUN_FAILED);
	commit();
	end();
	end_process();
	begin_process();
	clock_test_set_ms(clock_ms() + 2 * LATE_MS);
	state_run_begin(state, "", "");
	begin(PUT("new", "N") "\n");
	parts_options.max_rounds = 10;
	intake_turn(&p);
	answer(0, LANE_GAVE_UP);
	while (again_turn(&p))
		;
	ok(again_done(p.again), "there is an end");
	answer_all();
	ok(state_run(state)->retried == 2, "what is worth it was tried again: %d", (int)state_run(state)->retried);
	ok(tried("b") && !tried("new") && !tried("v"), "not what this run has failed, nor what fails again for sure");
	ok(status_of(1) == STATUS_FAILED && state_run(state)->lines == 1, "they are lines of no input");
	end();
	begin("");
	parts_options.no_retry = true;
	ok(!again_turn(&p) && again_done(p.again), "--no-retry");
	parts_options.no_retry = false;
	end();
}

/* ---- what a complete listing did not name ---- */

static void test_sweep(void)
{
	struct group *g;
	struct record r;
	uint64_t waiting, walked;
	int turns = 0;

	begin_state();
	begin(PUT("a", "A") "\n" PUT("b", "B") "\n" PUT("c", "C") "\n");
	read_all();
	answer_all();
	state_run_end(state, RUN_COMPLETED);
	commit();
	end();
	state_run_begin(state, "", "");
	begin(PUT("b", "B") "\n{\"repo\":\"R\",\"new_changeset\":{\"commit\":\"c1\",\"complete\":true}}\n");
	read_all();
	g = work_group(window, "R");
	ok(g->records != NULL, "a record waits");
	record_fields(g, g->records, &r);
	ok(sweep_begin(&p, g, g->records, &r, &waiting) == SWEEP_TOO_MANY && waiting == 2, "two of three would go");
	parts_options.max_delete_given = true;
	parts_options.max_delete = 2;
	ok(sweep_begin(&p, g, g->records, &r, &waiting) == SWEEP_GOES && sweep_of(p.sweep, g->records), "allowed");
	walked = state_walked(state);
	ok(sweep_begin(&p, g, NULL, &r, &waiting) == SWEEP_GOES && !sweep_of(p.sweep, NULL) &&
	   state_walked(state) == walked, "another one waits for its end, and nothing is counted");
	for (ngiven = 0; sweep_going(p.sweep); turns++)
		sweep_turn(&p);
	ok(turns == 3 && ngiven == 2, "one document a turn, and an end");
	answer_all();
	ok(state_head(state)->present == 1 && count(STATUS_COMPLETED) == 3, "they go, and are no line's");
	ok(sweep_begin(&p, g, g->records, &r, &waiting) == SWEEP_NOT && waiting == 0, "nothing more is unnamed");
	parts_options.max_delete_given = false;
	end();
}

int main(void)
{
	parts_init();
	parts_options.max_line = 1 << 20;
	test_input();
	test_misspelt();
	test_hopeless();
	test_resumed();
	test_branched();
	test_again();
	test_sweep();
	return parts_done();
}
