/* Changeset records judged without a process: lines that settle in every order, a state that is read a
 * little, and what is told. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../src/alloc.h"
#include "../../src/changeset.h"
#include "../../src/pipeline_p.h"
#include "scratch.h"
#include "tap.h"

#define LINES 1000

static char dir[] = "/tmp/linesync-test-XXXXXX";
static char path[64];
static struct pipeline p;
static struct options options;
static struct work *lines[LINES];	/* those that are not settled, by ordinal */

/* ---- a run, told line by line ---- */

static void close_all(void)
{
	if (p.window == NULL)
		return;
	window_free(p.window);
	sweep_free(p.sweep);
	outbox_free(p.outbox);
	state_close(p.state);
	memset(&p, 0, sizeof(p));
}

static void begin_run(void)
{
	state_run_begin(p.state, "", "");
	p.window = window_new(p.state, 0);
	for (uint32_t ord = 1; ord < LINES; ord++)
		state_line_read(p.state, ord, ord, true);
}

static void fresh(void)
{
	close_all();
	unlink(path);
	p.o = &options;
	p.sweep = sweep_new();
	p.outbox = outbox_new(RESULTS_ALL, 1000);
	if (state_open(&p.state, path, "chroma:http://localhost:8000", "Code", 0) != 0) {
		printf("Bail out! cannot open the state\n");
		exit(99);
	}
	begin_run();
}

static struct place_in_run here(uint32_t ord)
{
	return (struct place_in_run){ state_run(p.state)->number, ord };
}

/* A line is taken up; the store is asked. */
static void take_line(uint32_t ord)
{
	struct work *w = xcalloc(1, sizeof *w);

	w->repo = xstrdup("R");
	w->path = xasprintf("p%u", ord);
	w->at = here(ord);
	w->halves = w->open = 1;
	w->half[0].work = w;
	w->half[0].phase = TASK_LANE;
	w->half[0].hold = w->at;
	work_enter(p.window, w);
	lines[ord] = w;
}

static void settle_line(uint32_t ord)
{
	struct work *w = lines[ord];

	w->half[0].phase = TASK_SETTLED;
	w->open = 0;
	w->group->look = true;
	changeset_line(p.state, "R", w->at);
	work_leave(p.window, w);
	lines[ord] = NULL;
}

/* Line ord takes the place of an earlier one, which is settled with it. */
static void supersede(uint32_t earlier, uint32_t ord)
{
	lines[ord]->half[0].hold = here(earlier);
}

static const struct place_in_run earlier = { 1, 1 };

/* By a line of the first run. */
static void put_doc(const char *name, uint8_t flags)
{
	struct doc_state d = { .flags = DOC_PRESENT | DOC_KNOWN | flags, .chunks = 1, .last = earlier };

	state_doc_put(p.state, "R", name, &d);
}

static void fail_line(uint32_t ord, const char *name)
{
	static char empty[] = "", repo[] = "R";
	struct failure f = { .line = here(ord), .hold = here(ord), .number = ord, .op = OP_MODIFY,
		.half = HALF_NEW, .code = ERR_STORE_REJECTED, .repo = repo, .path = (char *)name,
		.message = empty, .root = empty, .folder = empty, .default_repo = empty, .namespace = empty };

	state_failure_put(p.state, &f, true, "", 0);
}

static void drop_failure(const char *name)
{
	state_failure_del(p.state, "R", name);
	work_group(p.window, "R")->look = true;
	work_group(p.window, "R")->release = true;
}

static void take_record(uint32_t ord, const char *commit, bool complete)
{
	struct group *g = work_group(p.window, "R");
	struct pending_record *r = xcalloc(1, sizeof *r), **at = &g->records;

	r->at = here(ord);
	r->number = ord;
	r->commit = xstrdup(commit);
	r->changeset = xstrdup("{}");
	r->complete = complete;
	while (*at != NULL)
		at = &(*at)->next;
	*at = r;
	g->nrecords++;
	g->look = true;
}

static const struct repo_state *repo(void)
{
	return state_repo(p.state, "R");
}

static bool at(const char *commit)
{
	return strcmp(repo()->commit, commit) == 0;
}

static bool holds(const char *commit, enum held_why why, uint32_t waiting)
{
	return strcmp(repo()->held_commit, commit) == 0 && repo()->held_why == (uint8_t)why &&
	       repo()->held_waiting == waiting;
}

static int groups(void)
{
	int n = 0;

	for (const struct group *g = NULL; (g = work_group_next(p.window, g)) != NULL;)
		n++;
	return n;
}

static uint64_t told(enum status status)
{
	return outbox_tally(p.outbox)->counts[status];
}

/* ---- lines before it ---- */

#define EVENTS 4

/* Lines 1, 2 and 4, a record on 5, lines 6 and 7; 7 has taken the place of 2, which is settled with it. */
static bool decided_in_time(const uint32_t *order)
{
	bool good;

	fresh();
	take_line(1);
	take_line(2);
	take_line(4);
	take_record(5, "c1", false);
	take_line(6);
	take_line(7);
	supersede(2, 7);
	records_judge(&p, false);
	good = at("");
	for (int i = 0; i < EVENTS; i++) {
		bool waits;

		settle_line(order[i]);
		if (order[i] == 7)
			settle_line(2);
		records_judge(&p, false);
		waits = lines[1] != NULL || lines[4] != NULL || lines[7] != NULL;
		good &= at(waits ? "" : "c1") && told(STATUS_COMPLETED) == !waits;
	}
	return good;
}

static void try_orders(uint32_t *order, int n, int *wrong, int *tried)
{
	if (n == 0) {
		++*tried;
		*wrong += !decided_in_time(order);
		return;
	}
	for (int i = 0; i < n; i++) {
		uint32_t one = order[i];

		order[i] = order[n - 1];
		order[n - 1] = one;
		try_orders(order, n - 1, wrong, tried);
		order[n - 1] = order[i];
		order[i] = one;
	}
}

static void test_every_order(void)
{
	uint32_t order[EVENTS] = { 1, 4, 6, 7 };
	int wrong = 0, tried = 0;

	try_orders(order, EVENTS, &wrong, &tried);
	ok(tried == 24 && wrong == 0, "decided with the last line that it waits for, in %d orders (%d wrong)",
	   tried, wrong);
}

/* Of several records each waits for its own lines, and for the record before it. */
static void test_in_order(void)
{
	fresh();
	take_line(1);
	take_record(2, "c1", false);
	take_line(3);
	take_record(4, "c2", false);
	settle_line(3);
	records_judge(&p, false);
	ok(at("") && told(STATUS_COMPLETED) == 0, "the second's line is settled, the first's is not");
	settle_line(1);
	records_judge(&p, false);
	ok(at("c2") && told(STATUS_COMPLETED) == 2, "then both are decided at once");
	ok(groups() == 0, "and nothing is kept");
}

/* Lines that are tried again come in between. */
static void test_out_of_order(void)
{
	const struct work *gone;

	fresh();
	take_line(9);
	take_line(1);
	take_record(5, "c1", false);
	records_judge(&p, false);
	take_line(2);
	gone = lines[1];
	settle_line(1);
	ok(work_group(p.window, "R")->awaited != gone, "a line that was settled is not looked at any more");
	work_committed(p.window);
	records_judge(&p, false);
	ok(at(""), "one that came meanwhile is waited for, too");
	settle_line(2);
	records_judge(&p, false);
	ok(at("c1"), "one behind the record is not");
}

/* ---- what the state says ---- */

#define MANY 500

static void many_documents(void)
{
	char name[16];

	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "x%04d", i);
		put_doc(name, 0);
	}
}

/* Lines after a record that waits settle, one in each turn: records of the state that this looks at. */
static uint64_t steps_of_turns(uint32_t from, uint32_t to)
{
	uint64_t before = state_walked(p.state);

	for (uint32_t ord = from; ord <= to; ord++) {
		take_line(ord);
		settle_line(ord);
		records_judge(&p, false);
		work_committed(p.window);
	}
	return state_walked(p.state) - before;
}

static void next_run(void)
{
	state_run_end(p.state, RUN_INTERRUPTED);
	state_commit(p.state);
	window_free(p.window);
	begin_run();
}

static void test_held_by_document(void)
{
	uint64_t steps;

	fresh();
	many_documents();
	put_doc("y, behind them", DOC_UNCOMMITTED);
	next_run();
	take_record(1, "c1", false);
	records_judge(&p, false);
	steps = steps_of_turns(2, 41);
	ok(steps <= 40 && at("") && told(STATUS_HELD) == 0,
	   "a document holds it: %d documents are not walked over in each turn (%d steps in 40)", MANY, (int)steps);
	put_doc("x0007", DOC_LOOSE);
	put_doc("z, behind all", DOC_LOOSE);
	records_judge(&p, true);
	ok(told(STATUS_HELD) == 1 && holds("c1", HELD_LINES, 3), "at the end it is held, and all are counted");
}

static void test_freed_by_document(void)
{
	fresh();
	many_documents();
	put_doc("y, behind them", DOC_UNCOMMITTED);
	put_doc("x0007", DOC_LOOSE);
	next_run();
	take_record(1, "c1", false);
	records_judge(&p, false);
	put_doc("x0007", 0);
	steps_of_turns(2, 3);
	ok(at(""), "one of two goes");
	put_doc("y, behind them", 0);
	steps_of_turns(4, 4);
	ok(at("c1") && told(STATUS_COMPLETED) == 1, "with the other it is free");
}

static void test_held_by_failures(void)
{
	char name[16];
	uint64_t steps;

	fresh();
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "x%04d", i);
		fail_line(1 + (uint32_t)i, name);
	}
	take_record(MANY + 1, "c1", false);
	records_judge(&p, false);
	steps = steps_of_turns(MANY + 2, MANY + 41);
	ok(steps <= 40 && at(""), "failures hold it: %d steps in 40 turns", (int)steps);
	records_judge(&p, true);
	ok(holds("c1", HELD_LINES, MANY), "at the end all are counted");
}

/* More of them than are kept wait no longer to be told. */
static void test_too_many(void)
{
	fresh();
	fail_line(1, "x");
	for (int i = 0; i < 300; i++)
		take_record(2, "c1", false);
	records_judge(&p, false);
	ok(told(STATUS_HELD) == 300 - 256 && holds("c1", HELD_LINES, 1), "300 records wait: %d are told",
	   (int)told(STATUS_HELD));
	records_judge(&p, true);
	ok(told(STATUS_HELD) == 300, "and at the end all");
}

/* ---- complete ---- */

static void test_failed_in_listing(void)
{
	uint64_t steps;

	fresh();
	many_documents();
	fail_line(2, "w");
	take_record(3, "c1", true);
	records_judge(&p, false);
	steps = steps_of_turns(4, 43);
	ok(steps <= 40 && at("") && told(STATUS_HELD) == 0, "a line of a complete listing failed: %d steps in 40 turns",
	   (int)steps);
	records_judge(&p, true);
	ok(holds("c1", HELD_INCOMPLETE, 0), "at the end it is held as incomplete");
	fresh();
	put_doc("w", 0);
	fail_line(2, "w");
	take_record(3, "c1", true);
	records_judge(&p, false);
	ok(at(""), "it may wait");
	drop_failure("w");
	records_judge(&p, false);
	ok(at("c1") && repo()->whole, "and is free when the line is done well");
}

/* ---- a record of an earlier run ---- */

static void test_released(void)
{
	fresh();
	put_doc("z", 0);
	fail_line(1, "x");
	fail_line(2, "y");
	fail_line(3, "z");
	take_record(4, "c1", false);
	records_judge(&p, true);
	ok(holds("c1", HELD_LINES, 3), "held by three");
	next_run();
	take_line(1);
	drop_failure("x");
	records_judge(&p, false);
	ok(holds("c1", HELD_LINES, 3), "one is tried again and does well: not counted while a line is under way");
	settle_line(1);
	drop_failure("y");
	records_judge(&p, false);
	ok(holds("c1", HELD_LINES, 1), "counted when nothing is");
	take_line(2);
	drop_failure("z");
	records_judge(&p, false);
	ok(at("c1") && repo()->held_commit[0] == '\0', "released with the last");
	settle_line(2);
}

static void test_counted_at_a_stop(void)
{
	fresh();
	fail_line(1, "x");
	fail_line(2, "y");
	take_record(3, "c1", false);
	records_judge(&p, true);
	next_run();
	take_line(1);
	drop_failure("x");
	records_judge(&p, false);
	ok(holds("c1", HELD_LINES, 2), "a run stops with a line under way");
	records_recount(&p);
	ok(holds("c1", HELD_LINES, 1), "what an earlier run's record waits for is counted");
	settle_line(1);
}

int main(void)
{
	if (!mkdtemp(dir))
		return 77;
	snprintf(path, sizeof(path), "%s/s.tdb", dir);
	test_every_order();
	test_in_order();
	test_out_of_order();
	test_held_by_document();
	test_freed_by_document();
	test_held_by_failures();
	test_too_many();
	test_failed_in_listing();
	test_released();
	test_counted_at_a_stop();
	close_all();
	scratch_remove(dir, path);
	return tap_done();
}
