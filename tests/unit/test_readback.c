/* Documents in doubt are asked for; the store is the test's, and nothing is waited for. */
#include "../../src/http.h"
#include "../../src/pipeline_p.h"
#include "parts.h"

static struct pipeline p;

/* ---- the store ---- */

static enum { TOLD_NEW, TOLD_OLD, TOLD_NOTHING, UNCLEAR } says;
static bool touch_fails;
static void *flying_tag;		/* of the request on its way, NULL: none */
static bool answered;			/* it may come back */
static int touches, fetches, asked;	/* asked: requests of the ask at hand */

int __wrap_http_start(struct http *h, struct request *r, void *tag);
int __wrap_http_next(struct http *h, void **tag, struct reply *reply);

int __wrap_http_start(struct http *h, struct request *r, void *tag)
{
	(void)h;
	(void)r;
	flying_tag = tag;
	return 0;
}

int __wrap_http_next(struct http *h, void **tag, struct reply *reply)
{
	(void)h;
	if (flying_tag == NULL || !answered)
		return 0;
	*tag = flying_tag;
	flying_tag = NULL;
	memset(reply, 0, sizeof *reply);
	return 1;
}

static int build(const struct store *s, struct ask *a, struct request *r)
{
	(void)s;
	(void)r;
	if (a->step++ > 0)
		return 0;
	touches += a->kind == ASK_TOUCH;
	fetches += a->kind == ASK_FETCH;
	asked = (int)a->n;
	return 1;
}

static void judge(struct store *s, struct ask *a, const struct reply *r)
{
	(void)s;
	(void)r;
	a->verdict.scope = says == UNCLEAR || (a->kind == ASK_TOUCH && touch_fails) ? VERDICT_ATTEMPT : VERDICT_OK;
	if (a->kind != ASK_FETCH || says == UNCLEAR || says == TOLD_NOTHING)
		return;
	a->found = xcalloc(1, sizeof *a->found);
	a->nfound = 1;
	memset(a->found[0].digest, '0', sizeof a->found[0].digest - 1);
	a->found[0].digest[1] = says == TOLD_NEW ? '2' : '1';
}

/* ---- documents ---- */

static void in_doubt(const char *path, uint8_t flags)
{
	struct doc_state d = { .flags = DOC_PRESENT | DOC_KNOWN, .chunks = 1, .digest = { 1 }, .last = { 1, 1 } };
	struct mark m = { .flags = flags, .count = 1, .chunks = 1, .digest = { 2 }, .line = { 1, 2 } };

	state_doc_put(state, "R", path, &d);
	state_mark_put(state, "R", path, &m);
}

static void begin(void)
{
	begin_state();
	p = (struct pipeline){ .state = state, .window = window, .parts = { .store = &store } };
	p.readback = readback_new();
	touches = fetches = 0;
	answered = true;
	touch_fails = driver.lasts_after_next = false;
	flying_tag = NULL;
}

static uint8_t known_digest(const char *path)
{
	struct doc_state d = { 0 };

	state_doc_get(state, "R", path, &d);
	return d.digest[0];
}

static void attempts_over(void)
{
	clock_test_set_ms(clock_ms() + LATE_MS);
}

static void test_none(void)
{
	int64_t until;

	begin();
	ok(!readback_turn(&p, &until) && fetches == 0, "nothing is in doubt, nobody is asked");
	readback_free(p.readback);
}

static void test_answers(void)
{
	static const struct { int says; uint64_t marks; uint8_t digest; const char *name; } table[] = {
		{ TOLD_NEW, 0, 2, "what was sent is there" }, { TOLD_OLD, 0, 1, "what was before is there" },
		{ TOLD_NOTHING, 1, 1, "neither is there" }, { UNCLEAR, 1, 1, "no clear answer" },
	};

	for (int i = 0; i < 4; i++) {
		int64_t until;

		begin();
		says = table[i].says;
		in_doubt("d", MARK_DOUBT);
		ok(readback_turn(&p, &until) && until == clock_ms() + LATE_MS && fetches == 0,
		   "%s: attempts of the last process are waited for", table[i].name);
		attempts_over();
		ok(!readback_turn(&p, &until) && fetches == 1 && asked == 2, "%s: every object and one more is asked for",
		   table[i].name);
		ok(state_head(state)->marks == table[i].marks && known_digest("d") == table[i].digest,
		   "%s: %d marks, digest %d", table[i].name, (int)state_head(state)->marks, known_digest("d"));
		readback_free(p.readback);
	}
}

/* An answer that is not there yet holds nothing up. */
static void test_waits(void)
{
	int64_t until;

	begin();
	says = TOLD_NEW;
	in_doubt("a", MARK_DOUBT);
	in_doubt("b", MARK_DOUBT);
	attempts_over();
	answered = false;
	ok(readback_turn(&p, &until) && until == CLOCK_NEVER && readback_turn(&p, &until) && fetches == 1,
	   "one question at a time, and the caller goes on");
	answered = true;
	ok(!readback_turn(&p, &until) && fetches == 2 && state_head(state)->marks == 0, "then the next");
	readback_free(p.readback);
}

/* Where a write lasts only after the next one, one goes first, that goes out when the attempts are over. */
static void test_lasts(void)
{
	int64_t until;

	begin();
	says = TOLD_NEW;
	driver.lasts_after_next = true;
	in_doubt("a", MARK_DOUBT);
	in_doubt("b", MARK_DOUBT);
	attempts_over();
	ok(!readback_turn(&p, &until) && touches == 1 && fetches == 2, "one touch is enough for both");
	readback_free(p.readback);
	begin();
	driver.lasts_after_next = touch_fails = true;
	in_doubt("a", MARK_DOUBT);
	attempts_over();
	ok(!readback_turn(&p, &until) && touches == 1 && fetches == 0 && state_head(state)->marks == 1,
	   "where it fails, the doubt stays");
	readback_free(p.readback);
}

/* Others' marks. */
static void test_settled(void)
{
	int64_t until;

	begin();
	in_doubt("a", MARK_SETTLED);
	attempts_over();
	ok(!readback_turn(&p, &until) && fetches == 0 && state_head(state)->marks == 0,
	   "a mark that a line has settled goes when its attempts are over");
	readback_free(p.readback);
}

/* More marks than are looked at in a turn. */
static void test_many(void)
{
	int64_t until;
	char path[20];
	int turns = 1;

	begin();
	for (int i = 0; i < 1000; i++) {
		snprintf(path, sizeof path, "%d", i);
		in_doubt(path, MARK_SETTLED);
	}
	attempts_over();
	for (; readback_turn(&p, &until); turns++)
		if (until != 0)
			break;
	ok(turns == 11 && state_head(state)->marks == 0, "others have their turn in between: %d", turns);
	readback_free(p.readback);
}

int main(void)
{
	parts_init();
	driver.build = build;
	driver.judge = judge;
	test_none();
	test_answers();
	test_waits();
	test_lasts();
	test_settled();
	test_many();
	return parts_done();
}
