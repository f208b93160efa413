#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../src/alloc.h"
#include "../../src/changeset.h"
#include "scratch.h"
#include "tap.h"

static char dir[] = "/tmp/linesync-test-XXXXXX";
static char path[64];
static struct state *state;

/* The verdict, and how many stand in the way. */
static enum record_verdict judge(const struct record *r, uint64_t *waiting)
{
	struct watch w = { 0 };
	enum record_verdict v = changeset_look(state, r, &w);

	watch_release(&w);
	*waiting = v == RECORD_HELD ? changeset_waiting(state, r) : 0;
	return v;
}

/* ---- a run, told line by line ---- */

static void fresh(void)
{
	state_close(state);
	unlink(path);
	if (state_open(&state, path, "chroma:http://localhost:8000", "Code", 0) != 0) {
		printf("Bail out! cannot open the state\n");
		exit(99);
	}
	state_run_begin(state, "", "");
}

static void next_run(void)
{
	state_run_end(state, RUN_INTERRUPTED);
	state_commit(state);
	state_run_begin(state, "", "");
}

static uint32_t run_now(void)
{
	return state_run(state)->number;
}

static struct place_in_run here(uint32_t ord)
{
	return (struct place_in_run){ run_now(), ord };
}

static void set_doc(const char *repo, const char *name, struct place_in_run at, uint8_t flags)
{
	struct doc_state d = { .flags = flags, .chunks = 1, .last = at };

	state_doc_put(state, repo, name, &d);
}

/* Line ord of this run finished the document. */
static void line(const char *repo, uint32_t ord, const char *name)
{
	set_doc(repo, name, here(ord), DOC_PRESENT | DOC_KNOWN);
	state_failure_del(state, repo, name);
	changeset_line(state, repo, here(ord));
}

static void uncommitted(const char *repo, uint32_t ord, const char *name)
{
	set_doc(repo, name, here(ord), DOC_PRESENT | DOC_KNOWN | DOC_UNCOMMITTED);
	changeset_line(state, repo, here(ord));
}

/* A retry of a line of another run finished it. */
static void retried(const char *repo, uint32_t run, uint32_t ord, const char *name)
{
	set_doc(repo, name, (struct place_in_run){ run, ord }, DOC_PRESENT | DOC_KNOWN | DOC_LOOSE);
	state_failure_del(state, repo, name);
}

/* It stands for an earlier line too: one that it superseded, or an older failure. */
static void failed_for(const char *repo, uint32_t ord, const char *name, struct place_in_run hold)
{
	static char empty[] = "";
	struct failure f = { .line = here(ord), .hold = hold, .number = ord, .op = OP_MODIFY,
		.half = HALF_NEW, .code = ERR_STORE_REJECTED, .repo = (char *)(repo ? repo : ""),
		.path = (char *)name, .message = empty, .root = empty, .folder = empty,
		.default_repo = empty, .namespace = empty };

	state_failure_put(state, &f, repo != NULL, "", 0);
}

static void failed(const char *repo, uint32_t ord, const char *name)
{
	failed_for(repo, ord, name, here(ord));
}

static void doubt(const char *repo, const char *name, bool on)
{
	struct mark m = { .flags = MARK_DOUBT };

	if (on)
		state_mark_put(state, repo, name, &m);
	else
		state_mark_del(state, repo, name);
}

/* What holds the record on line ord, by reason and document: "failed a, open b"; NULL: only how many. */
static int holders(const char *repo, struct place_in_run at, struct buf *out)
{
	static const char *const names[] = { "failed", "unknown", "doubt", "uncommitted", "retried",
					     "left-out", "open" };
	struct record r = { .repo = repo, .at = at };
	struct holders all;
	struct holder by;
	int n = 0;

	for (changeset_holders(&all, state, &r); changeset_holder_next(&all, &by); n++)
		if (out != NULL)
			buf_addf(out, "%s%s%s%s", n > 0 ? ", " : "", names[by.why], by.path[0] ? " " : "", by.path);
	changeset_holders_release(&all);
	return n;
}

static int disagreed;		/* records that were held for so many, of which another number is told */

/* A record stands on line ord and is decided as the pipeline does: "advance", "held N" or
 * "not-from-here". */
static const char *decide(const char *repo, uint32_t ord, const char *commit, const char *since, bool complete)
{
	static char text[40];
	struct record r = { .repo = repo, .at = here(ord), .number = ord, .commit = commit, .since = since,
		.changeset = "{}", .complete = complete };
	uint64_t waiting;

	switch (judge(&r, &waiting)) {
	case RECORD_ADVANCE:
		changeset_closes(state, &r);
		changeset_advance(state, &r);
		changeset_close_block(state, repo, r.at, true);
		return "advance";
	case RECORD_HELD:
		changeset_closes(state, &r);
		changeset_hold(state, &r, HELD_LINES, waiting);
		changeset_close_block(state, repo, r.at, true);
		disagreed += holders(repo, r.at, NULL) != (int)waiting;
		snprintf(text, sizeof(text), "held %d", (int)waiting);
		return text;
	case RECORD_NOT_FROM_HERE:
		changeset_hold(state, &r, HELD_NOT_FROM_HERE, 0);
		changeset_close_block(state, repo, r.at, false);
		return "not-from-here";
	}
	return "?";
}

#define want_record(repo, ord, commit, since, want, ...)                                            \
	want_decision(repo, ord, commit, since, false, want, __VA_ARGS__)
#define want_complete(repo, ord, commit, since, want, ...)                                          \
	want_decision(repo, ord, commit, since, true, want, __VA_ARGS__)
#define want_decision(repo, ord, commit, since, complete, want, ...)                                \
	do {                                                                                       \
		const char *got_ = decide(repo, ord, commit, since, complete);                     \
		ok(strcmp(got_, want) == 0, __VA_ARGS__);                                          \
		if (strcmp(got_, want) != 0)                                                       \
			printf("# got %s, want %s\n", got_, want);                                 \
	} while (0)

static bool at(const char *repo, const char *commit)
{
	return strcmp(state_repo(state, repo)->commit, commit) == 0;
}

static bool holds(const char *repo, const char *commit)
{
	return strcmp(state_repo(state, repo)->held_commit, commit) == 0;
}

/* ---- lines ---- */

static void test_lines(void)
{
	fresh();
	want_record("A", 1, "c0", NULL, "advance", "a record without lines");
	line("A", 2, "x");
	line("A", 3, "y");
	want_record("A", 4, "c1", NULL, "advance", "every line is done");
	ok(at("A", "c1") && holds("A", "") && state_repo(state, "A")->position.ord == 4, "the position");
	failed("A", 5, "x");
	failed("B", 6, "x");
	want_record("A", 7, "c2", NULL, "held 1", "a failed line holds it");
	ok(at("A", "c1") && holds("A", "c2") && state_repo(state, "A")->held_waiting == 1, "the position stays");
	ok(!changeset_release(state, "A"), "nothing has changed: not released");
	failed("A", 8, "z");
	state_failure_del(state, "A", "x");
	ok(changeset_release(state, "A") && at("A", "c2") && holds("A", ""),
	   "released when it is settled; a failure after the record does not count");
	ok(!changeset_release(state, "A"), "nothing is held any more");
	want_record("A", 9, "c3", NULL, "held 1", "but it holds the next");
	next_run();
	want_record("A", 1, "c4", NULL, "held 1", "a failure of an earlier run holds it too");
	line("A", 2, "z");
	want_record("A", 3, "c5", NULL, "advance", "until the document comes again");
	ok(at("A", "c5") && holds("A", ""), "nothing is left held");
	want_record("B", 4, "d1", NULL, "held 1", "the other repository");
	ok(at("A", "c5") && at("B", ""), "repositories are apart");
}

static void test_superseded(void)
{
	fresh();
	line("A", 1, "x");
	failed_for("A", 4, "x", here(2));
	want_record("A", 3, "c1", NULL, "held 1", "a failed line after the record stands for one before it");
	line("A", 5, "x");
	ok(changeset_release(state, "A") && at("A", "c1"), "released when it is done");
	failed_for("A", 8, "y", here(7));
	want_record("A", 6, "c2", NULL, "advance", "one that stands for a line after it only");
}

static void test_doubt(void)
{
	fresh();
	line("A", 1, "x");
	doubt("A", "x", true);
	doubt("B", "x", true);
	want_record("A", 2, "c1", NULL, "held 1", "a document in doubt");
	doubt("B", "x", false);
	ok(!changeset_release(state, "A"), "another repository's doubt ends");
	doubt("A", "x", false);
	ok(changeset_release(state, "A") && at("A", "c1"), "its own ends");
}

static void test_holders(void)
{
	auto_buf struct buf told = BUF_INIT;
	struct mark way = { .flags = 0 }, settled = { .flags = MARK_SETTLED };

	fresh();
	failed("R", 1, "");
	failed("R", 2, "of the run before");
	line("R", 3, "tail");
	line("S", 4, "elsewhere");
	next_run();
	failed(NULL, 1, "");
	failed("R", 2, "");
	failed("S", 3, "elsewhere");
	doubt("R", "in doubt", true);
	doubt("S", "elsewhere", true);
	state_mark_put(state, "R", "on its way", &way);
	state_mark_put(state, "R", "settled", &settled);
	uncommitted("R", 4, "of no commit");
	line("R", 5, "named");
	retried("R", 1, 2, "retried");
	set_doc("R", "left out", (struct place_in_run){ 1, 1 }, DOC_ABSENT | DOC_EXCLUDED | DOC_LOOSE);
	set_doc("R", "unclosed", (struct place_in_run){ 1, 1 }, DOC_PRESENT | DOC_UNCOMMITTED);
	failed("R", 7, "after it");
	line("R", 8, "after it, too");
	holders("R", here(6), &told);
	ok(strcmp(told.data, "failed of the run before, failed, unknown, doubt in doubt, "
		  "left-out left out, retried retried, open tail, uncommitted unclosed") == 0,
	   "what holds a record, each with its reason: %s", told.data);
	want_record("R", 6, "P1", NULL, "held 8", "judged by the same");
}

static void test_newest_held(void)
{
	fresh();
	failed("A", 1, "x");
	want_record("A", 2, "c1", NULL, "held 1", "held");
	line("A", 3, "y");
	want_record("A", 4, "c2", "c1", "held 1", "the next, since the held one");
	ok(holds("A", "c2"), "the newest is kept");
	state_failure_del(state, "A", "x");
	ok(changeset_release(state, "A") && at("A", "c2"), "and released");
}

/* ---- since ---- */

static void test_since(void)
{
	fresh();
	want_record("A", 1, "c1", "c0", "not-from-here", "no position, and since says one");
	ok(holds("A", "c1") && state_repo(state, "A")->held_why == HELD_NOT_FROM_HERE, "it stays held");
	ok(!changeset_release(state, "A") && at("A", ""), "such a record is never released");
	want_record("A", 2, "c2", "c1", "not-from-here", "nor is it where another may begin");
	want_record("A", 3, "c3", "", "not-from-here", "an empty since is from nothing: who knows what else there is");
	want_complete("A", 3, "c3", "", "advance", "unless the listing is complete; the record is replaced");
	ok(at("A", "c3") && holds("A", ""), "nothing is held");
	want_record("A", 4, "c4", "c3", "advance", "since the position");
	want_record("A", 5, "c5", "c3", "not-from-here", "since the one before it");
	want_record("A", 6, "c6", "c4", "advance", "since the position again, with nothing in between");
	want_record("A", 7, "c7", "", "not-from-here", "an empty since where there is a position");
	ok(at("A", "c6"), "which stays");
	want_record("A", 8, "c8", NULL, "advance", "what does not say since when is believed");
}

static bool is_whole(const char *repo)
{
	return state_repo(state, repo)->whole;
}

static void test_whole(void)
{
	fresh();
	want_record("A", 1, "c1", NULL, "advance", "a record that says nothing");
	ok(!is_whole("A"), "is believed: as told");
	want_record("A", 2, "c2", "c1", "advance", "changes since a position as told");
	ok(!is_whole("A"), "make none whole");
	want_complete("A", 3, "c3", NULL, "advance", "a complete listing");
	ok(is_whole("A"), "does");
	want_record("A", 4, "c4", "c3", "advance", "changes since a whole one");
	ok(is_whole("A"), "keep it whole");
	want_record("A", 5, "c4", NULL, "advance", "a record that says nothing, of the same commit");
	ok(!is_whole("A"), "is as told all the same");
	want_complete("A", 6, "c6", "c4", "advance", "a complete listing since a position as told");
	ok(is_whole("A"), "is complete");
	want_complete("A", 7, "c7", "c5", "not-from-here", "one that is not from here");
	ok(is_whole("A") && at("A", "c6"), "changes nothing");
	want_record("A", 8, "c8", "", "not-from-here", "an empty since");
	ok(is_whole("A") && at("A", "c6"), "neither");
	state_commit(state);
	ok(is_whole("A") && !is_whole("B"), "it is kept, of each repository by itself");
	state_forget(state, "A");
	ok(!is_whole("A") && at("A", ""), "and forgotten with the position");
}

/* Of a record that is held for lines it is known what its position will be. */
static void test_whole_held(void)
{
	fresh();
	failed("A", 1, "x");
	want_complete("A", 2, "c1", NULL, "held 1", "a complete listing that waits");
	ok(!is_whole("A"), "there is no position yet");
	line("A", 3, "y");
	want_record("A", 4, "c2", "c1", "held 1", "changes since what is held");
	state_commit(state);
	line("A", 5, "x");
	ok(changeset_release(state, "A") && at("A", "c2") && is_whole("A"), "released: whole");
	failed("A", 6, "x");
	want_record("A", 7, "c3", "c2", "held 1", "changes since it wait");
	want_record("A", 8, "c4", NULL, "held 1", "and what says nothing takes their place");
	line("A", 9, "x");
	ok(changeset_release(state, "A") && at("A", "c4") && !is_whole("A"), "released: as told");
	want_complete("A", 10, "c5", NULL, "advance", "a complete listing");
	failed("A", 11, "x");
	want_record("A", 12, "c6", NULL, "held 1", "what says nothing waits");
	line("A", 13, "x");
	want_record("A", 14, "c7", "c5", "advance", "changes since the whole position");
	ok(is_whole("A") && holds("A", ""), "are from there, whatever waited meanwhile");
	failed("A", 15, "x");
	want_record("A", 16, "c8", NULL, "held 1", "what says nothing waits again");
	want_record("A", 17, "c9", "c8", "held 1", "and changes since that");
	line("A", 18, "x");
	ok(changeset_release(state, "A") && at("A", "c9") && !is_whole("A"), "as told, the one since the other");
}

/* The position when the run began, where the run has released a held record since: what was listed
 * began there. */
static void test_whole_prior(void)
{
	for (int whole = 0; whole < 2; whole++) {
		struct record r = { .repo = "A", .commit = "c3", .since = "c1", .changeset = "{}", .prior = "c1",
			.prior_whole = whole };
		uint64_t waiting;

		fresh();
		want_record("A", 1, "c2", NULL, "advance", "what a held record moved to");
		r.at = here(2);
		r.prior_at = here(1);
		ok(judge(&r, &waiting) == RECORD_ADVANCE, "changes since the one before");
		changeset_advance(state, &r);
		ok(is_whole("A") == whole, "whole as that was: %d", whole);
	}
}

/* The lines before a record that is not from here changed documents; no record has closed that. */
static void test_not_from_here_closes_nothing(void)
{
	fresh();
	want_record("A", 1, "c1", NULL, "advance", "a position");
	line("A", 2, "x");
	want_record("A", 3, "e2", "e1", "not-from-here", "lines that start elsewhere");
	line("A", 4, "y");
	want_record("A", 5, "c2", "c1", "held 1", "the next block does not name their document");
	next_run();
	line("A", 1, "y");
	want_record("A", 2, "c3", "c1", "held 1", "nor does one of the next run");
	next_run();
	line("A", 1, "x");
	line("A", 2, "y");
	want_record("A", 3, "c4", "c1", "advance", "one that names it does");
	fresh();
	want_record("A", 1, "c1", NULL, "advance", "a position");
	line("A", 2, "x");
	want_record("A", 3, "e2", "e1", "not-from-here", "lines that start elsewhere");
	line("A", 4, "x");
	want_record("A", 5, "c2", "c1", "advance", "the next block names their document");
}

/* A record since the position, while one is held that goes further: what the held one's block changed
 * and this one does not name was changed back. */
static void test_steps_back(void)
{
	fresh();
	want_record("A", 1, "c1", NULL, "advance", "a position");
	line("A", 2, "x");
	failed("A", 3, "y");
	want_record("A", 4, "c2", "c1", "held 1", "held");
	next_run();
	line("A", 1, "y");
	want_record("A", 2, "c3", "c1", "held 1", "a later run begins at the position and does not name x");
	next_run();
	line("A", 1, "x");
	line("A", 2, "y");
	want_record("A", 3, "c4", "c1", "advance", "one that names both");
	fresh();
	want_record("A", 1, "c1", NULL, "advance", "a position");
	line("A", 2, "x");
	failed("A", 3, "y");
	want_record("A", 4, "c2", "c1", "held 1", "held");
	line("A", 5, "y");
	want_record("A", 6, "c3", "c1", "held 1", "the same within one run");
	fresh();
	want_record("A", 1, "c1", NULL, "advance", "a position");
	line("A", 2, "x");
	failed("A", 3, "y");
	want_record("A", 4, "c2", "c1", "held 1", "held");
	line("A", 5, "y");
	want_record("A", 6, "c3", "c2", "advance", "since the held one: nothing steps back");
}

/* ---- what no record has closed ---- */

static void test_tail(void)
{
	fresh();
	line("A", 1, "x");
	want_record("A", 2, "c1", NULL, "advance", "a position");
	line("A", 3, "y");
	next_run();
	line("A", 1, "x");
	want_record("A", 2, "c2", "c1", "held 1", "a line of a run since given up, after its last record");
	next_run();
	line("A", 1, "y");
	want_record("A", 2, "c3", "c2", "advance", "until a block names the document");
	next_run();
	line("A", 1, "z");
	next_run();
	want_record("A", 1, "c4", "c3", "held 1", "a record without lines");
	ok(!changeset_release(state, "A"), "and it is not released by itself");
	line("A", 2, "z");
	want_record("A", 3, "c5", "c4", "advance", "z is named");
}

static void test_closed_is_no_tail(void)
{
	fresh();
	line("A", 1, "x");
	failed("A", 2, "y");
	want_record("A", 3, "c1", NULL, "held 1", "held");
	next_run();
	line("A", 1, "y");
	want_record("A", 2, "c2", "c1", "advance", "what the held record closed need not be named again");
	ok(at("A", "c2"), "the position");
}

static void test_many_tails(void)
{
	char name[16];

	fresh();
	want_record("A", 1, "c1", NULL, "advance", "a position");
	for (int i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "x%d", i);
		line("A", 5, name);
		next_run();
	}
	want_record("A", 1, "c2", "c1", "held 40", "40 runs given up, each with a document");
	for (uint32_t i = 0; i < 39; i++) {
		snprintf(name, sizeof(name), "x%d", (int)i);
		line("A", 2 + i, name);
	}
	want_record("A", 50, "c3", "c2", "held 1", "all but one named");
	line("A", 51, "x39");
	want_record("A", 52, "c4", "c3", "advance", "and the last");
}

static void test_branch(void)
{
	fresh();
	want_record("A", 1, "c1", NULL, "advance", "a position");
	line("A", 2, "x");
	line("A", 3, "y");
	line("A", 4, "z");
	for (uint32_t i = 1; i <= 4; i++)
		state_line_read(state, i, i, true);
	state_run_branch(state, 4);
	line("A", 4, "w");
	want_record("A", 5, "c2", "c1", "held 1", "beyond the difference the old run changed z");
	state_run_branch(state, 4);
	line("A", 4, "z");
	line("A", 5, "w");
	want_record("A", 6, "c2", "c1", "advance", "named; lines before the difference are the run's own");
	ok(at("A", "c2"), "the position");
}

static void test_given_up_twice(void)
{
	fresh();
	want_record("A", 1, "c1", NULL, "advance", "a position");
	line("A", 2, "x");
	line("A", 3, "y");
	want_record("A", 4, "c2", "c1", "advance", "another one, behind the next difference");
	line("A", 5, "z");
	for (uint32_t i = 1; i <= 6; i++)
		state_line_read(state, i, i, true);
	state_run_branch(state, 6);
	line("A", 6, "w");
	state_run_branch(state, 3);
	want_record("A", 3, "c3", "c2", "held 3", "what the run before the last had done from there on is open");
	line("A", 4, "w");
	line("A", 5, "y");
	line("A", 6, "z");
	want_record("A", 7, "c4", "c3", "advance", "until it is named");
	fresh();
	want_record("A", 1, "c1", NULL, "advance", "a position");
	line("A", 2, "x");
	for (uint32_t i = 1; i <= 2; i++)
		state_line_read(state, i, i, true);
	state_run_branch(state, 3);
	line("A", 3, "y");
	state_run_branch(state, 1);
	want_record("A", 1, "c2", "c1", "held 2", "from the first line on");
}

static void test_own_failures_after_branch(void)
{
	fresh();
	want_record("A", 1, "c1", NULL, "advance", "a position");
	failed("A", 2, "");
	failed("A", 3, "");
	state_line_read(state, 1, 1, true);
	state_run_branch(state, 3);
	want_record("A", 3, "c2", "c1", "held 1", "a line below the cut that named no document has failed");
	ok(state_repo(state, "A")->failed == 1, "the one beyond is superseded: the block was closed without it");
	next_run();
	ok(!changeset_release(state, "A") && at("A", "c1"), "and it still holds the record in a later run");
	want_record("A", 1, "c3", "c2", "advance", "whose own record supersedes it");
}

static void test_loose(void)
{
	fresh();
	failed("A", 1, "x");
	want_record("A", 2, "c1", NULL, "held 1", "held");
	next_run();
	retried("A", 1, 1, "x");
	ok(changeset_release(state, "A") && at("A", "c1"), "a retry of a line of its block releases it");
	ok(state_repo(state, "A")->loose == 0, "and it is closed by that");
	failed("A", 1, "y");
	next_run();
	retried("A", 2, 1, "y");
	want_record("A", 1, "c2", "c1", "held 1", "a retry of a line that no record closed");
	line("A", 2, "y");
	want_record("A", 3, "c3", "c2", "advance", "until a block names the document");
}

static void test_uncommitted(void)
{
	fresh();
	uncommitted("A", 1, "x");
	want_record("A", 2, "c1", NULL, "advance", "its own block closes");
	next_run();
	line("A", 1, "y");
	want_record("A", 2, "c2", "c1", "held 1", "but the document counts as changed since");
	next_run();
	uncommitted("A", 1, "x");
	want_record("A", 2, "c3", "c2", "advance", "a block that names it");
	next_run();
	want_record("A", 1, "c4", "c3", "held 1", "and again");
	line("A", 2, "x");
	want_record("A", 3, "c5", "c4", "advance", "a line without the field finishes it");
	next_run();
	want_record("A", 1, "c6", "c5", "advance", "for good");
}

/* What came after a held record, in its run or a later one, does not hold it: the next must name it. */
static void test_after_the_record(void)
{
	fresh();
	failed("A", 1, "x");
	want_record("A", 2, "c1", NULL, "held 1", "held");
	uncommitted("A", 3, "u");
	failed("A", 4, "y");
	next_run();
	line("A", 1, "z");
	next_run();
	line("A", 1, "w");
	retried("A", 1, 1, "x");
	retried("A", 1, 4, "y");
	ok(changeset_release(state, "A") && at("A", "c1"), "lines after a held record do not hold it");
	want_record("A", 2, "c2", "c1", "held 3", "but the next one, which does not name what they did");
	line("A", 3, "u");
	line("A", 4, "y");
	line("A", 5, "z");
	want_record("A", 6, "c3", "c2", "advance", "named, they do not");
}

/* ---- failed lines of no known repository ---- */

static void test_unknown(void)
{
	fresh();
	want_record("A", 1, "a1", NULL, "advance", "before it");
	failed(NULL, 2, "");
	want_record("A", 3, "a2", "a1", "held 1", "a broken line holds the records after it");
	want_record("B", 4, "b1", NULL, "held 1", "of every repository");
	ok(state_run(state)->unknown_holding == 2, "it holds two");
	next_run();
	want_record("C", 1, "c1", NULL, "advance", "of its own run only");
	want_record("A", 2, "a3", "a2", "advance", "a later run closes a block without it");
	ok(!changeset_release(state, "B") && at("B", ""), "it still holds the other");
	want_record("B", 3, "b2", "b1", "advance", "until that was closed too");
	ok(!changeset_release(state, "B"), "nothing is held");
	{
		struct failure_walk walk = { 0 };
		struct failure f = { 0 };

		ok(!state_failure_next(state, &walk, &f), "and the failure is superseded");
		failure_walk_release(&walk);
	}
}

/* The lines of no known repository that have failed: "run:ordinal", a bar where it holds a changeset, a
 * star where it counts. */
static bool unknowns_are(const char *want)
{
	static char text[200];
	struct failure_walk walk = { 0 };
	struct failure f = { 0 };
	size_t n = 0;

	text[0] = '\0';
	while (state_unknown_next(state, &walk, &f))
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%u:%u%s%s ", f.line.run, f.line.ord,
				      changeset_unknown_holds(state, &f) ? "|" : "",
				      changeset_unknown_counts(state, &f) ? "*" : "");
	failure_walk_release(&walk);
	if (strcmp(text, want) != 0)
		printf("# got %s, want %s\n", text, want);
	return strcmp(text, want) == 0;
}

/* The current run has read its input to the end. */
static void whole_run(void)
{
	state_head(state)->whole_run = state_run(state)->number;
	next_run();
}

static void test_unknown_left_over(void)
{
	fresh();
	failed(NULL, 1, "");
	want_record("A", 2, "a1", NULL, "held 1", "the first line holds A,");
	failed(NULL, 3, "");
	want_record("B", 4, "b1", NULL, "held 2", "two hold B,");
	failed(NULL, 5, "");
	ok(unknowns_are("1:1|* 1:3|* 1:5* "), "and the third none");
	whole_run();
	ok(unknowns_are("1:1|* 1:3|* 1:5* "), "a run that has not read its input to the end changes nothing");
	whole_run();
	ok(unknowns_are("1:1|* 1:3|* 1:5 "), "one that has: what holds nothing does not count");
	want_record("B", 1, "b2", "b1", "advance", "B is closed without them");
	ok(unknowns_are("1:1|* 1:5 "), "what held B alone is superseded");
	want_record("A", 2, "a2", "a1", "advance", "and so is A");
	ok(unknowns_are("1:5 "), "what held both is, too; what held none stays");
	failed(NULL, 3, "");
	state_head(state)->whole_run = state_run(state)->number;
	ok(unknowns_are("1:5 3:3* "), "a new one counts, also when its own run has ended");
	ok(changeset_unknown_expire(state, 0) == 0 && unknowns_are("1:5 3:3* "), "they are young");
	ok(changeset_unknown_expire(state, INT64_MAX) == 1 && unknowns_are("3:3* "), "old ones go, if they do not count");
}

/* In the order of the records that they hold. */
static void test_unknown_first_closed(void)
{
	fresh();
	failed(NULL, 1, "");
	want_record("A", 2, "a1", NULL, "held 1", "one line");
	want_record("B", 3, "b1", NULL, "held 1", "holds A and B");
	want_record("B", 4, "b2", "b1", "held 1", "and B again");
	ok(state_run(state)->unknown_holding == 2 && state_run(state)->unknown_top == 4, "two, up to the last record");
	whole_run();
	want_record("A", 1, "a2", "a1", "advance", "A is closed");
	ok(unknowns_are("1:1|* "), "it still holds B");
	state_forget(state, "B");
	whole_run();
	ok(unknowns_are("1:1 "), "which is forgotten: it holds none, and does not count after a whole run");
}

/* Lines that a run took over are its own: they hold its records. */
static void test_unknown_taken_over(void)
{
	fresh();
	failed(NULL, 1, "");
	want_record("A", 2, "a1", NULL, "held 1", "of the interrupted run");
	failed(NULL, 4, "");
	state_line_read(state, 1, 1, true);
	state_run_branch(state, 4);
	failed(NULL, 5, "");
	want_record("A", 6, "a2", "a1", "held 2", "held by its line and by the one that was taken over");
	ok(unknowns_are("1:1|* 1:4* 2:5|* "), "the one that was given up holds nothing");
	ok(state_repo(state, "A")->unknown_run == 2, "the new run holds it");
	whole_run();
	want_record("A", 1, "a3", "a2", "advance", "closed by a later run");
	ok(unknowns_are("1:4 "), "all that held it are superseded");
}

static void failed_of(uint32_t ord, uint64_t digest, int64_t first_s)
{
	struct failure f = { .line = here(ord), .hold = here(ord), .half = HALF_NEW, .code = ERR_BAD_JSON,
		.first_s = first_s, .repo = (char *)"", .path = (char *)"", .message = (char *)"",
		.root = (char *)"", .folder = (char *)"", .default_repo = (char *)"", .namespace = (char *)"",
		.digest = digest };

	changeset_unknown_again(state, &f);
	state_failure_put(state, &f, false, "x", 1);
}

/* The same line in each run. */
static void test_unknown_again(void)
{
	struct failure f = { 0 };

	fresh();
	failed_of(1, 77, 1000);
	want_record("A", 2, "a1", NULL, "held 1", "it holds A");
	failed_of(3, 77, 1000);
	failed_of(4, 78, 1000);
	ok(unknowns_are("1:1|* 1:3* 1:4* "), "twice in a run, and another");
	whole_run();
	failed_of(1, 77, 2000);
	ok(unknowns_are("1:1|* 1:4* 2:1* "), "again: once for all that hold nothing");
	ok(state_unknown_same(state, 77, here(0), &f) && f.line.run == 2 && f.first_s == 1000,
	   "since it failed the first time");
	ok(!state_unknown_same(state, 77, f.line, &f), "and no more of them");
	whole_run();
	failed_of(5, 77, 3000);
	failed_of(5, 77, 4000);
	ok(unknowns_are("1:1|* 1:4 3:5* "), "and again, also where a line is done twice");
	failed_of(6, 0, 4000);
	failed_of(7, 0, 4000);
	ok(unknowns_are("1:1|* 1:4 3:5* 3:6* 3:7* "), "without a digest each is kept");
	state_failure_del_line(state, "", (struct place_in_run){ 1, 4 });
	ok(!state_unknown_same(state, 78, (struct place_in_run){ 0, 0 }, &f), "what is gone is not found");
	failure_release(&f);
}

/* A record that is not decided yet, or does not close its block, supersedes nothing. */
static void test_closes_when_decided(void)
{
	struct record r = { .repo = "A", .number = 2, .commit = "a2", .since = "a0", .changeset = "{}" };
	struct failure_walk walk = { 0 };
	struct failure f = { 0 };
	uint64_t waiting;

	fresh();
	want_record("A", 1, "a0", NULL, "advance", "a position");
	want_record("A", 2, "a1", "a0", "advance", "the next");
	failed("A", 3, "");
	next_run();
	failed("A", 1, "x");
	r.at = here(2);
	r.since = "a1";
	ok(judge(&r, &waiting) == RECORD_HELD && waiting == 1, "held by its own line alone");
	ok(state_failure_next(state, &walk, &f) && f.line.run == 1, "the earlier one stays while it is undecided");
	r.since = "a0";
	r.prior = "a0";
	r.prior_at = (struct place_in_run){ 1, 1 };
	ok(judge(&r, &waiting) == RECORD_NOT_FROM_HERE, "and where the record does not count");
	failure_walk_release(&walk);
	memset(&walk, 0, sizeof(walk));
	ok(state_failure_next(state, &walk, &f) && f.line.run == 1, "it stays");
	r.since = "a1";
	changeset_closes(state, &r);
	failure_walk_release(&walk);
	memset(&walk, 0, sizeof(walk));
	ok(state_failure_next(state, &walk, &f) && f.line.run == 2, "it goes with the decision");
	failure_release(&f);
	failure_walk_release(&walk);
}

static void test_unknown_after(void)
{
	fresh();
	line("A", 1, "x");
	failed(NULL, 3, "");
	want_record("A", 2, "a1", NULL, "advance", "a broken line after the record");
	state_line_read(state, 1, 1, true);
	state_run_branch(state, 4);
	want_record("A", 4, "a2", "a1", "held 1", "after a difference it is the new run's own");
	state_run_branch(state, 3);
	want_record("A", 3, "a3", "a2", "advance", "beyond the difference it is not");
}

/* ---- which documents count as changed ---- */

static bool touched(const char *name)
{
	struct doc_state d;

	return state_doc_get(state, "A", name, &d) && changeset_touched(state, "A", &d);
}

static void test_touched(void)
{
	struct record r;

	fresh();
	line("A", 1, "x");
	uncommitted("A", 2, "u");
	ok(touched("x"), "without a position every document");
	want_record("A", 3, "c1", NULL, "advance", "a position");
	line("A", 4, "y");
	ok(!touched("x") && touched("y") && touched("u"), "then those changed since, and uncommitted ones");
	next_run();
	line("A", 1, "z");
	retried("A", 1, 2, "x");
	ok(touched("z") && touched("x"), "by a later run, by a retry");
	r = (struct record){ .repo = "A", .at = here(2), .commit = "c2", .changeset = "{}" };
	ok(changeset_names(state, &r, here(1)) && changeset_names(state, &r, here(2)) &&
	   !changeset_names(state, &r, here(3)) &&
	   !changeset_names(state, &r, (struct place_in_run){ 1, 1 }), "what a record's run names before it");
}

/* Random stories.  The store's version of each document is known, and so is the producer's: a record
 * that advances must find them the same for all documents. */
static uint32_t seed = 12345;

static uint32_t next_random(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed % n;
}

enum { DOCS = 5, COMMITS = 400 };
static int truth[COMMITS][DOCS];	/* the version of each document at each commit */
static int stored[DOCS];
static int tip;

static int commit_number(const char *commit)
{
	return commit[0] ? (int)strtol(commit + 1, NULL, 10) : 0;
}

/* The producer goes to a new commit: some documents change, or change back. */
static void new_commit(void)
{
	tip++;
	for (int d = 0; d < DOCS; d++) {
		truth[tip][d] = truth[tip - 1][d];
		if (next_random(3) == 0)
			truth[tip][d] = (int)next_random(3);
	}
}

static bool position_is_true(void)
{
	int p = commit_number(state_repo(state, "A")->commit);

	for (int d = 0; d < DOCS; d++) {
		char name[4] = { 'd', (char)('0' + d), '\0', '\0' };
		struct doc_state known;

		/* what was changed after the position may differ, if --touched names it */
		if (stored[d] != truth[p][d] && !(state_doc_get(state, "A", name, &known) &&
						  changeset_touched(state, "A", &known)))
			return false;
	}
	return true;
}

static void failed_again(uint32_t ord, const char *name)
{
	struct failure old;
	struct place_in_run hold = here(ord);

	if (state_failure_get(state, "A", name, &old)) {
		hold = old.hold;
		failure_release(&old);
	}
	failed_for("A", ord, name, hold);
}

/* Feeds the difference from commit `from` to the tip, with `lost` of its lines failing, as one block. */
static void feed(int from, uint32_t *ord, bool with_record, bool failing)
{
	for (int d = 0; d < DOCS; d++) {
		char name[4] = { 'd', (char)('0' + d), '\0', '\0' };

		if (truth[from][d] == truth[tip][d])
			continue;
		++*ord;
		if (failing && next_random(4) == 0) {
			failed_again(*ord, name);
		} else {
			line("A", *ord, name);
			stored[d] = truth[tip][d];
		}
	}
	if (with_record) {
		char commit[16], since[16];

		snprintf(commit, sizeof(commit), "c%d", tip);
		snprintf(since, sizeof(since), "c%d", from);
		decide("A", ++*ord, commit, since, false);
	}
}

/* Whatever the producer does next from the position, once its difference is fed and a record advances,
 * the store must be right; so every advance is checked against the truth. */
static void test_stories(void)
{
	int wrong = 0, advanced = 0;

	for (int story = 0; story < 40; story++) {
		uint32_t ord = 0;

		fresh();
		tip = 1;
		memset(stored, 0, sizeof(stored));
		memset(truth, 0, sizeof(truth));
		decide("A", ++ord, "c1", NULL, false);
		for (int step = 0; step < 30; step++) {
			struct repo_state *rs = state_repo(state, "A");
			int position = commit_number(rs->commit), held = commit_number(rs->held_commit);
			int before = position;

			new_commit();
			switch (next_random(8)) {
			case 0:		/* killed before its record; another input follows */
				feed(position, &ord, false, true);
				next_run();
				ord = 0;
				break;
			case 1:		/* from somewhere that is not the position */
				if (tip > 2)
					feed(1 + (int)next_random((uint32_t)tip - 1), &ord, true, true);
				break;
			case 2:		/* on from the held record */
				feed(held ? held : position, &ord, true, true);
				break;
			case 3:
				next_run();
				ord = 0;
				feed(position, &ord, true, true);
				break;
			default:
				feed(position, &ord, true, next_random(2) == 0);
			}
			if (next_random(3) == 0)
				changeset_release(state, "A");
			position = commit_number(state_repo(state, "A")->commit);
			if (position != before) {
				advanced++;
				wrong += !position_is_true();
			}
		}
	}
	ok(wrong == 0 && advanced > 100, "random stories: %d positions, %d of them wrong", advanced, wrong);
}

/* ---- a holder kept in sight ---- */

/* Something happens to a document, or to a line, of one of two repositories. */
static void random_event(uint32_t ord)
{
	const char *repo = next_random(4) == 0 ? "B" : "A";
	char name[4] = { 'd', (char)('a' + next_random(12)), '\0', '\0' };
	struct place_in_run older = { 1 + next_random(run_now()), 1 + next_random(40) };

	switch (next_random(12)) {
	case 0:
		failed(repo, ord, name);
		break;
	case 1:
		failed_for(repo, ord, name, older);
		break;
	case 2:
		failed(repo, ord, "");
		break;
	case 3:
		state_failure_del_line(state, repo, here(1 + next_random(ord)));
		break;
	case 4:
		failed(next_random(3) == 0 ? NULL : repo, ord, "");
		break;
	case 5:
		doubt(repo, name, next_random(2) == 0);
		break;
	case 6:
		uncommitted(repo, ord, name);
		break;
	case 7:
		retried(repo, older.run, older.ord, name);
		break;
	case 8:
		state_failure_del(state, repo, name);
		break;
	default:
		line(repo, ord, name);
		doubt(repo, name, false);
	}
}

static struct record random_record(uint32_t ord)
{
	static const char *const since[] = { NULL, NULL, NULL, "c1", "c2", "" };
	struct record r = { .repo = "A", .at = here(1 + next_random(ord)), .commit = "c9", .changeset = "{}",
		.since = since[next_random(6)], .complete = next_random(2) };

	if (next_random(4) == 0) {
		r.prior = "c2";
		r.prior_at = here(1);
	}
	return r;
}

/* What is in sight says the same as a walk over everything, of whatever record. */
static bool sights_agree(const struct record *r, struct watch *lines, struct watch *listing)
{
	struct watch nothing = { 0 };
	uint64_t waiting;
	bool still = changeset_still_held(state, r, lines);
	enum record_verdict seen = changeset_look(state, r, lines), all = judge(r, &waiting);
	bool still_open = changeset_still_incomplete(state, r, listing);
	bool open = changeset_incomplete(state, r, listing), open_all = changeset_incomplete(state, r, &nothing);

	watch_release(&nothing);
	return seen == all && (all == RECORD_HELD) == (waiting > 0) && !(still && all != RECORD_HELD) &&
	       open == open_all && !(still_open && !open_all);
}

static void test_in_sight_at_random(void)
{
	int wrong = 0, verdicts[3] = { 0 };

	for (int story = 0; story < 150; story++) {
		struct watch lines = { 0 }, listing = { 0 };
		struct record r;
		uint32_t ord = 1;
		uint64_t waiting;

		fresh();
		decide("A", ord, "c1", NULL, false);
		r = random_record(1);
		for (int step = 0; step < 60; step++) {
			random_event(++ord);
			if (next_random(10) == 0)
				r = random_record(ord);
			if (next_random(25) == 0)
				decide("A", ++ord, "c2", NULL, false);
			if (next_random(30) == 0) {
				if (next_random(2) == 0)
					next_run();
				else
					state_run_branch(state, ord / 2 + 1);
				ord = ord / 2 + 1;
				r = random_record(ord);
			}
			wrong += !sights_agree(&r, &lines, &listing);
			verdicts[judge(&r, &waiting)]++;
		}
		watch_release(&lines);
		watch_release(&listing);
	}
	ok(wrong == 0, "at random: what is in sight says what a walk over everything says (%d times not)", wrong);
	ok(verdicts[0] > 300 && verdicts[1] > 300 && verdicts[2] > 300, "of each verdict many: %d, %d, %d",
	   verdicts[0], verdicts[1], verdicts[2]);
}

#define MANY 600

static uint64_t steps_of_looks(const struct record *r, struct watch *w, int looks)
{
	uint64_t before = state_walked(state);

	while (looks-- > 0)
		if (!changeset_still_held(state, r, w))
			changeset_look(state, r, w);
	return state_walked(state) - before;
}

static void many_lines(uint32_t *ord, void (*one)(const char *repo, uint32_t ord, const char *name))
{
	char name[16];

	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "x%04d", i);
		one("A", ++*ord, name);
	}
}

/* All that is in the way goes, one by one, and each time it is looked twice. */
static uint64_t steps_until_free(const struct record *r, struct watch *w, bool backwards)
{
	uint64_t steps = 0;
	char name[16];

	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "x%04d", backwards ? MANY - 1 - i : i);
		line("A", r->at.ord, name);
		steps += steps_of_looks(r, w, 2);
	}
	return steps;
}

static void test_in_sight_costs(void)
{
	struct watch w = { 0 };
	struct record r;
	uint64_t steps;
	uint32_t ord = 0;

	for (int backwards = 0; backwards < 2; backwards++) {
		fresh();
		ord = 1;
		many_lines(&ord, line);
		decide("A", ++ord, "c1", NULL, false);
		uncommitted("A", ++ord, "y, behind them");
		next_run();
		r = (struct record){ .repo = "A", .at = here(1), .commit = "c2", .changeset = "{}" };
		ok(changeset_look(state, &r, &w) == RECORD_HELD, "held by one of %d documents", MANY);
		steps = steps_of_looks(&r, &w, 1000);
		ok(steps <= 1000, "as long as that holds, one record is read each time (%d of 1000)", (int)steps);
		state_doc_del(state, "A", "y, behind them");
		ok(changeset_look(state, &r, &w) == RECORD_ADVANCE, "free");
		ord = 0;
		r.at = here(MANY + 1);
		many_lines(&ord, failed);
		steps = steps_until_free(&r, &w, backwards);
		ok(steps <= 6 * MANY && changeset_look(state, &r, &w) == RECORD_ADVANCE,
		   "%d failures go, %s first: %d steps", MANY, backwards ? "the last" : "the first", (int)steps);
		watch_release(&w);
	}
}

/* An earlier run's record waits: it is asked often, and counted when it is to be told. */
static void test_released_in_sight(void)
{
	struct watch w = { 0 };
	uint32_t ord = 0;
	uint64_t before;

	fresh();
	many_lines(&ord, failed);
	want_record("A", ++ord, "c1", NULL, "held 600", "held by all of them");
	next_run();
	state_failure_del(state, "A", "x0000");
	state_failure_del(state, "A", "x0300");
	before = state_walked(state);
	for (int i = 0; i < 100; i++)
		if (changeset_release_seen(state, "A", &w))
			break;
	ok(state_walked(state) - before <= 100 && holds("A", "c1"), "asked a hundred times, not walked over");
	ok(state_repo(state, "A")->held_waiting == 600, "nor counted");
	changeset_recount(state, "A");
	ok(state_repo(state, "A")->held_waiting == 598, "until the number is to be told");
	for (int i = 0; i < MANY; i++) {
		char name[16];

		snprintf(name, sizeof(name), "x%04d", i);
		state_failure_del(state, "A", name);
	}
	ok(changeset_release_seen(state, "A", &w) && at("A", "c1") && holds("A", ""), "released with the last");
	changeset_recount(state, "A");
	ok(state_repo(state, "A")->held_waiting == 0, "nothing is held, and nothing counted");
	watch_release(&w);
}

int main(void)
{
	if (!mkdtemp(dir))
		return 77;
	snprintf(path, sizeof(path), "%s/s.tdb", dir);
	test_lines();
	test_superseded();
	test_doubt();
	test_holders();
	test_newest_held();
	test_since();
	test_whole();
	test_whole_held();
	test_whole_prior();
	test_not_from_here_closes_nothing();
	test_steps_back();
	test_tail();
	test_closed_is_no_tail();
	test_many_tails();
	test_branch();
	test_given_up_twice();
	test_own_failures_after_branch();
	test_loose();
	test_uncommitted();
	test_after_the_record();
	test_unknown();
	test_unknown_after();
	test_unknown_left_over();
	test_unknown_first_closed();
	test_unknown_taken_over();
	test_unknown_again();
	test_closes_when_decided();
	test_touched();
	test_stories();
	test_in_sight_at_random();
	test_in_sight_costs();
	test_released_in_sight();
	ok(disagreed == 0, "what is held for lines is held by as many as are told (%d are not)", disagreed);
	state_close(state);
	scratch_remove(dir, path);
	return tap_done();
}
