/* The lane against a driver and an http of the test's own: no network, and time moves by hand. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../src/alloc.h"
#include "../../src/clock.h"
#include "../../src/lane.h"
#include "../../src/log.h"
#include "tap.h"

#define ITEMS 64

/* What the store makes of an object, by its number. */
enum rule { FINE, REFUSED, SPOILS, CRASHES, WRONG_SHAPE, BUSY, MISFITS, SPENT };
static enum rule rules[ITEMS];

/* What it makes of every request instead, where it is not VERDICT_OK. */
static enum verdict_scope whole;
static enum verdict_scope touch_says;	/* the same of the smallest write alone */
static enum verdict_scope lookup_says;	/* and of a look-up */
static enum spent spent_as;		/* SPENT: the words of it */
static enum http_end end_with;
static bool resent, resent_once, fresh_once, touch_fails, touch_misfits, kept_nothing;
static int kill_after = -1;	/* so many requests are answered, then the store is killed */
static int steps;		/* requests of one ask */
static size_t takes;		/* objects in a request; more are too many */
static long retry_after = -1, status = 200;
static char collection_now[40];

/* What was sent: the numbers of each batch, "d" before those of a delete, "touch", "lookup". */
static char sent[4000];
static int requests;

/* What a store that can be killed has of an object: a write lasts once another comes. */
static enum { NOTHING, WRITTEN, LASTS } has[ITEMS];

static void kill_store(void)
{
	for (int n = 0; n < ITEMS; n++)
		if (has[n] == WRITTEN)
			has[n] = NOTHING;
}

/* ---- http ---- */

static struct {
	void *tag;
	struct request r;
} flying[16];
static int nflying, most_flying, held_back;	/* held_back: so many are not answered yet */

void http_spare(struct http *h, struct buf *body)
{
	(void)h;
	(void)body;
}

int http_start(struct http *h, struct request *r, void *tag)
{
	(void)h;
	if (nflying == 16)
		return -1;
	flying[nflying].r = *r;
	flying[nflying++].tag = tag;
	if (nflying > most_flying)
		most_flying = nflying;
	return 0;
}

int http_next(struct http *h, void **tag, struct reply *reply)
{
	(void)h;
	memset(reply, 0, sizeof(*reply));
	if (nflying <= held_back)
		return 0;
	*tag = flying[0].tag;
	request_release(&flying[0].r);
	memmove(flying, flying + 1, (size_t)--nflying * sizeof(flying[0]));
	reply->end = kill_after > 0 ? HTTP_ANSWERED : end_with;
	if (kill_after-- == 0)
		kill_store();
	reply->status = end_with == HTTP_ANSWERED ? status : 0;
	reply->resent = resent || resent_once;
	reply->fresh = fresh_once;
	resent_once = fresh_once = false;
	reply->retry_after_s = retry_after;
	return 1;
}

void request_release(struct request *r)
{
	free(r->url);
	buf_release(&r->body);
	memset(r, 0, sizeof(*r));
}

void reply_release(struct reply *r)
{
	buf_release(&r->body);
}

/* ---- the driver ---- */

static bool blames;	/* the last ask */
static enum ask_kind asked;	/* and its kind */

/* A text to embed is its number, too. */
static int number_of(const struct ask_object *o)
{
	return (int)strtol(o->id ? o->id : o->text, NULL, 10);
}

static int build(const struct store *s, struct ask *a, struct request *r)
{
	(void)s;
	asked = a->kind;
	if (a->step++ >= steps)
		return 0;
	r->method = "POST";
	r->url = xstrdup("/");
	buf_adds(&r->body, "1234567890");
	return 1;
}

static void judge_object(const struct ask *a, struct ask_object *o, bool spoilt, bool crashed, bool busy,
			 bool misfit)
{
	struct verdict *v = &o->verdict;
	enum rule rule = rules[number_of(o)];

	snprintf(v->text, sizeof(v->text), "said so");
	v->kept_nothing = kept_nothing;
	if (whole != VERDICT_OK)
		v->scope = whole;
	else if (end_with != HTTP_ANSWERED || crashed)
		v->scope = VERDICT_ATTEMPT;
	else if (busy)
		v->scope = VERDICT_STORE;
	else if (spoilt)
		v->scope = a->n > 1 ? VERDICT_REQUEST : VERDICT_OBJECT;
	else if (misfit)
		v->scope = VERDICT_ATTEMPT;
	else
		v->scope = rule == FINE ? VERDICT_OK : VERDICT_OBJECT;
	v->wrong_shape = misfit || (v->scope == VERDICT_OBJECT && rule == WRONG_SHAPE);
	if (a->kind == ASK_EMBED && v->scope == VERDICT_OK) {
		o->dim = o->len;
		o->vector = xcalloc(o->dim, sizeof(*o->vector));
		o->vector[0] = (float)number_of(o);
	}
}

static void write_all(const struct ask *a)
{
	bool together = a->kind != ASK_DELETE;

	for (size_t i = 0; i < a->n; i++)
		together |= !a->objects[i].again;
	for (int n = 0; n < ITEMS && together; n++)
		if (has[n] == WRITTEN)
			has[n] = LASTS;
	for (size_t i = 0; i < a->n; i++)
		if (a->objects[i].verdict.scope == VERDICT_OK)
			has[number_of(&a->objects[i])] = WRITTEN;
}

static void judge(struct store *s, struct ask *a, const struct reply *r)
{
	bool spoilt = false, spent = false, crashed = false, busy = false, misfit = false, ok = false;

	(void)r;
	if (a->kind == ASK_LOOKUP) {
		free(s->collection_id);
		s->collection_id = xstrdup(collection_now);
		a->verdict.scope = lookup_says;
		return;
	}
	spoilt = a->n > takes;
	blames = a->blames;
	if (a->kind == ASK_TOUCH)
		a->verdict.scope = whole != VERDICT_OK ? whole : touch_says != VERDICT_OK ? touch_says :
			touch_misfits ? VERDICT_ATTEMPT :
			touch_fails || end_with != HTTP_ANSWERED ? VERDICT_STORE : VERDICT_OK;
	a->verdict.wrong_shape = touch_misfits;
	for (size_t i = 0; i < a->n; i++) {
		spent |= rules[number_of(&a->objects[i])] == SPENT;
		spoilt |= spent || rules[number_of(&a->objects[i])] == SPOILS;
		crashed |= rules[number_of(&a->objects[i])] == CRASHES;
		busy |= rules[number_of(&a->objects[i])] == BUSY;
		misfit |= rules[number_of(&a->objects[i])] == MISFITS;
	}
	for (size_t i = 0; i < a->n; i++)
		judge_object(a, &a->objects[i], spoilt, crashed, busy, misfit);
	for (size_t i = 0; i < a->n; i++) {
		a->objects[i].verdict.spent = spent ? spent_as : SPENT_NOTHING;
		ok |= a->objects[i].verdict.scope == VERDICT_OK;
	}
	if (ok || a->verdict.scope == VERDICT_OK)
		write_all(a);
}

static struct driver driver = { .name = "test", .role = "store", .again_is_upsert = true,
	.build = build, .judge = judge };
const struct driver drv_chroma;		/* so that the linker takes no other */

/* ---- the lane ---- */

static struct lane *lane;
static struct store store = { .driver = &driver };
static struct lane_options options;
static struct object objects[ITEMS];
static struct lane_item items[ITEMS];
static char ids[ITEMS][16][37];
static int not_lasting;		/* done, and a kill would lose them */
static char ended[ITEMS];	/* 'd' done, 'r' refused, 'g' given up */
static int64_t now;
static int idle_turns;		/* the lane gave nothing, and said that it had something */

static void done(void *ctx, struct lane_item *item, enum lane_end end)
{
	int n = (int)(item - items);

	(void)ctx;
	not_lasting += end == LANE_DONE && has[n] != LASTS;
	ended[n] = ended[n] ? '!' : end == LANE_DONE ? 'd' : end == LANE_REFUSED ? 'r' : 'g';
}

static void set_time(int64_t ms)
{
	now = ms;
	clock_test_set_ms(ms);
}

static void drop_flying(void)
{
	while (nflying > 0) {
		request_release(&flying[--nflying].r);
		flying[nflying].tag = NULL;
	}
}

static void set_up(size_t batch_size)
{
	static char base[] = "http://test";

	drop_flying();
	lane_free(lane);
	memset(rules, 0, sizeof(rules));
	memset(ended, 0, sizeof(ended));
	memset(has, 0, sizeof(has));
	not_lasting = 0;
	memset(items, 0, sizeof(items));
	whole = touch_says = lookup_says = VERDICT_OK;
	end_with = HTTP_ANSWERED;
	resent = resent_once = fresh_once = touch_fails = touch_misfits = kept_nothing = false;
	steps = 1;
	takes = ITEMS;
	retry_after = -1;
	sent[0] = '\0';
	requests = most_flying = held_back = 0;
	driver.first_write_alone = false;
	driver.again_is_upsert = true;
	driver.lasts_after_next = false;
	status = 200;
	free(store.collection_id);
	store.collection_id = xstrdup("id");
	store.collection = base;
	store.url.base = base;
	snprintf(collection_now, sizeof(collection_now), "id");
	options = (struct lane_options){ .batch_size = batch_size, .batch_bytes = 1000, .connections = 2,
		.flush_ms = 1000, .retry_wait_ms = 1000, .retry_max_wait_ms = 60000, .give_up_ms = 300000,
		.late_ms = 10000, .max_retries = 3 };
	set_time(1000000);
	clock_test_seed(42);
	lane = NULL;
}

static void start(void)
{
	lane = lane_new(&options, &store, NULL, done, NULL);
}

static void add(int n)
{
	snprintf(objects[n].id, sizeof(objects[n].id), "%d", n);
	items[n].kind = LANE_UPSERT;
	items[n].object = &objects[n];
	if (items[n].size == 0)
		items[n].size = 10;
	lane_add(lane, &items[n]);
}

static void add_delete(int n, uint32_t nids)
{
	for (uint32_t k = 0; k < nids; k++)
		snprintf(ids[n][k], sizeof(ids[n][k]), "%d", n + (int)k);
	items[n].kind = LANE_DELETE;
	items[n].ids = ids[n];
	items[n].nids = nids;
	items[n].size = 40 * nids;
	lane_add(lane, &items[n]);
}

static void add_text(int n)
{
	snprintf(objects[n].id, sizeof(objects[n].id), "%d", n);
	items[n].kind = LANE_EMBED;
	items[n].text = objects[n].id;
	items[n].text_len = strlen(objects[n].id);
	items[n].size = 10;
	lane_add(lane, &items[n]);
}

static void add_to(int n)
{
	for (int i = 0; i < n; i++)
		add(i);
}

/* Its number; "d" before that of a delete, and of a part the numbers of its first and last id. */
static size_t name_item(char *out, size_t size, const struct lane_item *i)
{
	const char *d = i->kind == LANE_DELETE ? "d" : "";

	if (i->whole == NULL)
		return (size_t)snprintf(out, size, "%s%d", d, (int)(i - items));
	if (i->nids == 1)
		return (size_t)snprintf(out, size, "%s%s", d, i->ids[0]);
	return (size_t)snprintf(out, size, "%s%s-%s", d, i->ids[0], i->ids[i->nids - 1]);
}

/* Sends one batch that may go; false if none may. */
static bool send_one(void)
{
	struct batch *b = lane_next(lane);
	size_t at = strlen(sent);
	bool own;

	if (b == NULL)
		return false;
	own = batch_items(b) == NULL;
	for (struct lane_item *i = batch_items(b); i != NULL; i = i->next) {
		at += name_item(sent + at, sizeof(sent) - at, i);
		at += (size_t)snprintf(sent + at, sizeof(sent) - at, "%s", i->next ? "," : "");
	}
	requests++;
	lane_send(lane, b);
	snprintf(sent + at, sizeof(sent) - at, "%s ", !own ? "" : asked == ASK_LOOKUP ? "lookup" : "touch");
	return true;
}

static void send_all(void)
{
	while (send_one())
		;
	idle_turns += lane_due(lane) <= now;
}

/* Lets time pass until the lane is empty or stops, or for limit_ms.  Returns how long that took. */
static int64_t run(int64_t limit_ms)
{
	int64_t before = now;

	for (int i = 0; i < 10000; i++) {
		int64_t due;

		send_all();
		lane_turn(lane);
		if (lane_empty(lane) || lane_stop(lane) != 0)
			break;
		if (lane_busy(lane))
			continue;
		due = lane_due(lane);
		if (due == CLOCK_NEVER || due > before + limit_ms)
			break;
		set_time(due > now ? due : now);
	}
	return now - before;
}

static bool was_sent(const char *want)
{
	if (strcmp(sent, want) == 0)
		return true;
	printf("# sent: %s\n", sent);
	return false;
}

static bool ends(const char *want)
{
	if (strncmp(ended, want, strlen(want)) == 0)
		return true;
	printf("# ended: %.40s\n", ended);
	return false;
}

/* ---- batches ---- */

static void test_batches(void)
{
	set_up(3);
	start();
	ok(lane_empty(lane) && lane_next(lane) == NULL && lane_due(lane) == CLOCK_NEVER && lane_starved(lane),
	   "an empty lane");
	add_to(7);
	ok(!lane_empty(lane) && lane_due(lane) <= now, "full batches may go");
	send_all();
	ok(was_sent("0,1,2 3,4,5 ") && lane_busy(lane) && nflying == 2, "closed by count, in order");
	lane_turn(lane);
	ok(ends("dddddd") && !ended[6] && !lane_busy(lane), "acknowledged");
	ok(lane_next(lane) == NULL && lane_due(lane) == now + 1000, "the rest waits for its age");
	set_time(now + 999);
	ok(lane_next(lane) == NULL, "not yet");
	set_time(now + 1);
	ok(send_one() && was_sent("0,1,2 3,4,5 6 "), "old enough");
	lane_turn(lane);
	ok(ends("ddddddd") && lane_empty(lane) && lane_figures(lane)->requests == 3 &&
	   lane_figures(lane)->objects == 7 && lane_figures(lane)->bytes == 30, "all done, all counted");
	add(7);
	add_delete(8, 2);
	lane_flush(lane);
	run(0);
	ok(strstr(sent, "7 d8 ") && ends("ddddddddd") && lane_figures(lane)->deletes == 2,
	   "flushed; deletes go by themselves");
}

/* The age of a batch is that of its oldest item, which may have waited elsewhere before. */
static void test_age(void)
{
	set_up(100);
	start();
	add(0);
	ok(items[0].since_ms == now, "an item that nobody says more of waits since now");
	items[1].since_ms = now - 400;
	add(1);
	items[2].since_ms = now - 300;
	add(2);
	ok(!send_one() && lane_due(lane) == now + 600, "what waited before makes its batch older");
	set_time(now + 599);
	ok(!send_one(), "not yet");
	set_time(now + 1);
	ok(send_one() && was_sent("0,1,2 "), "old enough, all of it");
	lane_turn(lane);
	add(3);
	items[4].since_ms = now - 1000;
	add(4);
	ok(lane_due(lane) <= now && send_one() && was_sent("0,1,2 3,4 "), "one that comes too old takes the others along");
	lane_turn(lane);
	set_time(now + 5000);
	items[3].since_ms = now - 1000;
	add_delete(5, 1);
	add(3);
	send_all();
	ok(was_sent("0,1,2 3,4 3 "), "but not those of another kind");
}

/* Of things that come old one by one, batches are made while all connections are busy. */
static void test_age_while_busy(void)
{
	set_up(100);
	options.connections = 1;
	start();
	for (int i = 0; i < 4; i++) {
		items[i].since_ms = now - 5000;
		add(i);
		send_one();
		ok(i == 0 || lane_due(lane) == CLOCK_NEVER, "old, and nothing can go: %d", i);
	}
	lane_turn(lane);
	send_all();
	ok(was_sent("0 1,2,3 "), "they go together");
}

static void test_bytes(void)
{
	set_up(100);
	start();
	for (int i = 0; i < 5; i++)
		items[i].size = i == 3 ? 5000 : 400;
	add_to(5);
	lane_flush(lane);
	run(0);
	ok(was_sent("0,1 2 3 4 "), "closed by bytes; one that is too large goes alone");
}

static void test_unsend(void)
{
	struct batch *b;

	set_up(2);
	start();
	add_to(4);
	b = lane_next(lane);
	lane_unsend(lane, b);
	run(0);
	ok(was_sent("0,1 2,3 ") && items[0].sent == 1, "put back unsent: it keeps its place");
}

static void test_connections(void)
{
	set_up(1);
	options.connections = 3;
	start();
	add_to(8);
	run(0);
	ok(most_flying == 3 && ends("dddddddd"), "no more requests than connections");
	set_up(1);
	driver.first_write_alone = true;
	start();
	add_to(4);
	held_back = 1;
	send_all();
	ok(nflying == 1 && lane_due(lane) == CLOCK_NEVER, "where the first write goes alone");
	held_back = 0;
	lane_turn(lane);
	send_all();
	ok(nflying == 2, "others follow once it is stored");
	lane_turn(lane);
	set_up(1);
	driver.first_write_alone = true;
	store.dimension = 3;
	start();
	add_to(4);
	send_all();
	ok(nflying == 2, "not where the dimension is known");
	store.dimension = 0;
	lane_turn(lane);
}

static void test_rate(void)
{
	int64_t took;

	set_up(2);
	options.rate = 10;
	start();
	add_to(20);
	took = run(60000);
	ok(ends("dddddddddddddddddddd") && took >= 1700 && took <= 2000, "10 a second: 20 took %d ms", (int)took);
	set_up(1);
	options.rate = 1500;
	start();
	add_to(30);
	took = run(60000);
	ok(took >= 19 && took <= 21, "1,500 a second, one by one: 30 took %d ms", (int)took);
}

/* ---- who is to blame ---- */

static void test_refused_alone(void)
{
	set_up(4);
	start();
	rules[1] = REFUSED;
	add_to(4);
	run(0);
	ok(ends("drdd") && was_sent("0,1,2,3 ") && items[1].tries == 0, "one of a batch is refused alone");
}

static void test_halving(void)
{
	set_up(16);
	start();
	rules[11] = SPOILS;
	add_to(32);
	ok(run(0) == 0 && ends("dddddddddddrdddddddddddddddddddd"), "a request refused as a whole: found by halving");
	ok(requests <= 2 + 8 && lane_figures(lane)->halved == 4 && items[0].tries == 0 && items[11].tries == 0,
	   "in %d requests, charged to nobody", requests);
	ok(strstr(sent, "0,1,2,3,4,5,6,7 8,9,10,11,12,13,14,15 ") != NULL, "halves in order");
	set_up(8);
	start();
	for (int i = 0; i < 8; i++)
		rules[i] = SPOILS;
	add_to(8);
	run(0);
	ok(ends("rrrrrrrr") && requests == 15, "all of them bad");
}

static void test_crash(void)
{
	set_up(4);
	start();
	rules[2] = CRASHES;
	add_to(8);
	run(600000);
	ok(ends("ddgddddd") && lane_stop(lane) == 0, "one that makes the store fail is given up, the others are stored");
	ok(items[2].tries == 3 && items[2].unclear && items[2].again && items[0].tries == 0,
	   "after its retries; charged to it alone");
	ok(items[2].sent >= 5, "in %u requests", items[2].sent);
}

static void test_witness(void)
{
	set_up(1);
	start();
	rules[0] = CRASHES;
	add(0);
	run(200000);
	ok(ends("g") && lane_stop(lane) == 0, "alone: the driver's smallest write is the witness");
	ok(blames, "which is told so");
	ok(was_sent("0 0 0 0 touch "), "asked once, after the retries: the store did answer each");
	set_up(1);
	start();
	rules[0] = CRASHES;
	touch_fails = true;
	add(0);
	run(10000000);
	ok(!ended[0] && lane_stop(lane) == 75, "no witness: the store is away, nobody is charged");
	ok(lane_next(lane) == NULL && lane_due(lane) == CLOCK_NEVER, "and nothing more goes");
}

/* The last item is settled while a smallest write is on its way: that it fails stops nothing. */
static void test_witness_too_late(void)
{
	set_up(1);
	options.connections = 2;
	options.give_up_ms = 0;
	start();
	rules[0] = CRASHES;
	touch_fails = true;
	add(0);
	while (strstr(sent, "touch") == NULL) {
		lane_turn(lane);
		set_time(lane_due(lane) > now ? lane_due(lane) : now);
		send_one();
	}
	add(10);
	send_one();
	ok(nflying == 2, "another object goes beside it");
	flying[2] = flying[0];
	flying[0] = flying[1];
	flying[1] = flying[2];
	held_back = 1;
	lane_turn(lane);
	held_back = 0;
	ok(ended[0] == 'g' && ended[10] == 'd' && lane_empty(lane), "and decides first");
	lane_turn(lane);
	ok(lane_stop(lane) == 0, "nothing waits for the store that could be given up");
}

/* What is set aside, a smallest write that fails, and another object that decides: twice, hours apart. */
static void test_witness_fails_now_and_then(void)
{
	set_up(1);
	start();
	for (int i = 0; i < 2; i++) {
		sent[0] = '\0';
		rules[i] = CRASHES;
		touch_fails = true;
		add(i);
		while (strstr(sent, "touch") == NULL && lane_stop(lane) == 0) {
			send_one();
			lane_turn(lane);
			set_time(lane_due(lane));
		}
		add(10 + i);
		run(60000);
		ok(lane_stop(lane) == 0 && ended[i] == 'g' && ended[10 + i] == 'd',
		   "a smallest write that failed is forgotten with the trouble, time %d", i + 1);
		set_time(now + 36000000);
	}
}

static void test_witness_of_its_kind(void)
{
	set_up(1);
	options.connections = 1;
	start();
	rules[0] = CRASHES;
	add(0);
	for (int i = 0; i < 4; i++) {
		send_one();
		lane_turn(lane);
		set_time(now + 60000);
	}
	ok(was_sent("0 0 0 0 ") && !ended[0], "set aside");
	add_delete(1, 1);
	send_one();
	lane_turn(lane);
	ok(ended[1] == 'd' && !ended[0], "a delete is no witness for an upsert");
	add(2);
	send_one();
	lane_turn(lane);
	ok(ends("gdd"), "another upsert is");
}

static void test_set_aside_while_others_wait(void)
{
	set_up(2);
	options.max_retries = 0;
	start();
	rules[0] = CRASHES;
	add(0);
	lane_flush(lane);
	send_one();
	lane_turn(lane);
	set_time(now + 60000);
	add(1);
	ok(lane_next(lane) == NULL, "an open batch is a better witness than a touch");
	ok(lane_due(lane) > now, "it is waited for until it is old enough");
}

/* ---- the store is away ---- */

static void test_away(void)
{
	int64_t took;

	set_up(4);
	start();
	add_to(8);
	whole = VERDICT_STORE;
	ok(!lane_away(lane), "not away at first");
	took = run(10000000);
	ok(lane_stop(lane) == 75 && took >= 300000 && took < 300000 + 60000 && !ended[0] && lane_away(lane),
	   "away: stopped after %d s, nobody charged", (int)(took / 1000));
	ok(requests > 8 && requests < 60, "with %d attempts", requests);
	ok(items[0].tries == 0 && items[7].tries == 0, "none has used up a retry");
	set_up(4);
	start();
	add_to(8);
	whole = VERDICT_STORE;
	run(100000);
	ok(lane_away(lane) && lane_stop(lane) == 0, "away for a while");
	whole = VERDICT_OK;
	run(100000);
	ok(ends("dddddddd") && !lane_away(lane), "and back: all is stored");
	add(8);
	whole = VERDICT_STORE;
	lane_flush(lane);
	run(250000);
	ok(lane_stop(lane) == 0 && lane_away(lane), "the time to give up begins anew after a success");
	set_up(4);
	options.give_up_ms = 0;
	start();
	add_to(4);
	whole = VERDICT_STORE;
	ok(run(1000) == 0 && lane_stop(lane) == 75 && requests == 1, "--give-up 0: at once");
}

/* While nothing at all is stored nobody is charged: what was tried out meanwhile is tried again. */
static void test_nobody_is_charged(void)
{
	set_up(1);
	start();
	add(0);
	whole = VERDICT_STORE;
	run(200000);
	ok(lane_stop(lane) == 0 && !ended[0], "a single object, and a store that is away for a while");
	whole = VERDICT_OK;
	run(100000);
	ok(ends("d"), "it is stored when the store is back");
	set_up(1);
	start();
	add_to(3);
	end_with = HTTP_LOST;
	run(200000);
	ok(lane_stop(lane) == 0 && !ended[0], "requests that get no answer for a while");
	end_with = HTTP_ANSWERED;
	run(100000);
	ok(ends("ddd"), "they are stored when there are answers again");
}

static void test_lost(void)
{
	set_up(2);
	start();
	add_to(2);
	end_with = HTTP_LOST;
	send_all();
	lane_turn(lane);
	ok(items[0].again && items[0].unclear && items[0].lost_until == now + 10000,
	   "no answer: sent again, and it may still arrive");
	ok(lane_figures(lane)->halved == 1, "taken apart");
	end_with = HTTP_ANSWERED;
	run(100000);
	ok(ends("dd") && items[0].lost_until > 0, "stored; the late attempt is not forgotten");
	set_up(2);
	start();
	add_to(2);
	end_with = HTTP_NOT_SENT;
	kept_nothing = true;
	whole = VERDICT_STORE;
	send_all();
	lane_turn(lane);
	ok(!items[0].again && !items[0].unclear && items[0].lost_until == 0, "not sent: nothing is unclear");
	set_up(2);
	start();
	add_to(2);
	resent = true;
	run(0);
	ok(ends("dd") && items[0].lost_until == now + 10000, "sent twice by the library: one may still arrive");
}

static void test_backoff(void)
{
	int64_t waits[12], most = 0;
	bool bounded = true, spread = false;

	set_up(4);
	start();
	add_to(4);
	whole = VERDICT_STORE;
	for (int i = 0; i < 12; i++) {
		int64_t top = 1000;

		for (int k = 0; k < i && top < 60000; k++)
			top *= 2;
		send_one();
		lane_turn(lane);
		waits[i] = lane_due(lane) > now ? lane_due(lane) - now : 0;
		bounded &= waits[i] <= (top < 60000 ? top : 60000);
		spread |= i > 0 && waits[i] < waits[i - 1];
		most = waits[i] > most ? waits[i] : most;
		ok(lane_next(lane) == NULL || waits[i] == 0, "attempt %d: a pause of %d ms for all", i + 1, (int)waits[i]);
		set_time(now + waits[i]);
	}
	ok(bounded && spread && most > 10000, "growing, spread, and bounded");
	whole = VERDICT_OK;
	run(10);
	ok(ends("dddd"), "stored");
	add(4);
	whole = VERDICT_STORE;
	lane_flush(lane);
	send_one();
	lane_turn(lane);
	ok(lane_due(lane) <= now + 1000, "after a success it begins anew");
}

static void test_retry_after(void)
{
	set_up(4);
	start();
	add_to(4);
	whole = VERDICT_STORE;
	retry_after = 17;
	send_one();
	lane_turn(lane);
	ok(lane_due(lane) == now + 17000, "Retry-After is obeyed");
	set_time(now + 16999);
	ok(lane_next(lane) == NULL, "to the end");
	set_time(now + 1);
	retry_after = 0;
	send_one();
	lane_turn(lane);
	ok(lane_due(lane) > now, "0 is no pause: then it is the usual one");
	whole = VERDICT_OK;
	run(60000);
	ok(ends("dddd"), "stored");
}

/* A store that says 503 to whatever holds one certain object, while others are stored. */
static void test_tried_out(void)
{
	set_up(2);
	start();
	rules[2] = BUSY;
	add_to(6);
	run(10000000);
	ok(lane_stop(lane) == 0 && ends("ddgddd"), "always 503 for one object: given up, the others are stored");
}

/* ---- what stops the run ---- */

static void want_stop(enum verdict_scope scope, int want, const char *what)
{
	set_up(2);
	start();
	add_to(4);
	whole = scope;
	run(0);
	ok(lane_stop(lane) == want && !ended[0] && !ended[3] && lane_next(lane) == NULL, "%s: %d, nobody charged",
	   what, lane_stop(lane));
}

static void test_shape(void)
{
	set_up(2);
	options.connections = 1;
	start();
	for (int i = 0; i < 8; i++)
		rules[i] = WRONG_SHAPE;
	add_to(8);
	run(0);
	ok(lane_stop(lane) == 78 && !ended[0] && requests == 3, "three batches of the wrong shape: 78, nobody charged");
	set_up(2);
	start();
	rules[0] = rules[1] = rules[2] = rules[3] = WRONG_SHAPE;
	add_to(6);
	run(0);
	ok(lane_stop(lane) == 0 && ends("rrrrdd"), "two, and then one that fits: refused");
	set_up(2);
	start();
	rules[0] = rules[1] = rules[2] = WRONG_SHAPE;
	add_to(3);
	lane_flush(lane);
	run(0);
	ok(lane_stop(lane) == 0 && ends("rrr"), "two and no more: refused");
	set_up(2);
	start();
	rules[1] = rules[3] = rules[5] = rules[7] = WRONG_SHAPE;
	add_to(8);
	run(0);
	ok(lane_stop(lane) == 0 && ends("drdrdrdr"), "one of each batch: refused");
}

static void refuse_all(size_t batch_size, int n, enum rule rule)
{
	set_up(batch_size);
	options.connections = 1;
	start();
	for (int i = 0; i < n; i++)
		rules[i] = rule;
	add_to(n);
	lane_flush(lane);
}

/* Everything is refused: the witness is asked before more are charged than two batches hold. */
static void test_all_refused(void)
{
	refuse_all(2, 8, REFUSED);
	run(10000000);
	ok(ends("rrrrrrrr") && was_sent("0,1 2,3 4,5 touch 6,7 "), "the witness is taken: the objects are to blame");
	refuse_all(2, 8, REFUSED);
	touch_says = VERDICT_RUN;
	run(10000000);
	ok(lane_stop(lane) == 78 && ends("rrrr") && !ended[4] && was_sent("0,1 2,3 4,5 touch "),
	   "it is not: 78, and nobody else is charged");
	refuse_all(1, 8, REFUSED);
	touch_says = VERDICT_STORE;
	run(10000000);
	ok(lane_stop(lane) == 75 && ends("rr") && !ended[2] && strncmp(sent, "0 1 2 touch touch ", 18) == 0 && !strchr(sent, '3'),
	   "it is away: nothing else goes before it answers, 75");
	refuse_all(2, 8, REFUSED);
	touch_says = VERDICT_AUTH;
	run(10000000);
	ok(lane_stop(lane) == 77 && ends("rrrr") && !ended[4], "it may not: 77");
	refuse_all(1, 8, REFUSED);
	options.connections = 3;
	lane_free(lane);
	start();
	memset(ended, 0, sizeof(ended));
	sent[0] = '\0';
	add_to(8);
	touch_says = VERDICT_RUN;
	for (int i = 0; i < 3; i++) {
		send_one();
		send_one();
		lane_turn(lane);
	}
	ok(lane_stop(lane) == 78 && ends("rr") && !ended[2] && !ended[3] && strstr(sent, "touch"),
	   "what is refused while it is asked waits for it");
	refuse_all(2, 8, REFUSED);
	rules[3] = rules[7] = FINE;
	run(10000000);
	ok(ends("rrrdrrrd") && was_sent("0,1 2,3 4,5 6,7 "), "a success between them is a witness");
	refuse_all(4, 6, SPOILS);
	rules[0] = rules[4] = FINE;
	lane_unsend(lane, lane_next(lane));
	for (int i = 0; i < 7; i++) {
		send_one();
		lane_turn(lane);
	}
	ok(ends("drrr") && was_sent("0,1,2,3 0,1 0 1 2,3 2 3 "), "what stood in a batch with a success waits for nobody");
	refuse_all(2, 3, REFUSED);
	run(10000000);
	ok(ends("rrr") && was_sent("0,1 2 "), "a few are refused without one");
	refuse_all(1, 0, REFUSED);
	for (int i = 0; i < 5; i++) {
		rules[i] = REFUSED;
		add_delete(i, 1);
	}
	lane_flush(lane);
	run(10000000);
	ok(ends("rrrrr") && !strstr(sent, "touch"), "and so are deletes");
}

/* In words of a limit or a budget: the witness is asked at once. */
static void test_spent(void)
{
	static const struct {
		enum spent words;
		int status;
	} rows[] = { { SPENT_LIMIT, 75 }, { SPENT_MONEY, 77 } };

	for (size_t i = 0; i < 2; i++) {
		spent_as = rows[i].words;
		refuse_all(2, 8, SPENT);
		touch_says = spent_as == SPENT_MONEY ? VERDICT_AUTH : VERDICT_STORE;
		run(10000000);
		ok(lane_stop(lane) == rows[i].status && !ended[0] && strncmp(sent, "0,1 touch ", 10) == 0 &&
		   !strchr(sent, '2'), "the witness too: %d, and nobody is charged", rows[i].status);
		refuse_all(1, 1, SPENT);
		touch_says = spent_as == SPENT_MONEY ? VERDICT_AUTH : VERDICT_STORE;
		run(10000000);
		ok(lane_stop(lane) == rows[i].status && !ended[0], "also with one alone");
		refuse_all(2, 16, SPENT);
		run(10000000);
		ok(lane_stop(lane) == rows[i].status && !ended[0] && !ended[5] && !strstr(sent, "8,9") &&
		   strstr(strstr(sent, "touch") + 1, "touch") == NULL,
		   "a witness that is taken and every object refused for three batches: %d", rows[i].status);
		refuse_all(2, 16, SPENT);
		for (int n = 1; n < 16; n += 2)
			rules[n] = FINE;
		run(10000000);
		ok(lane_stop(lane) == 0 && ends("rdrdrdrdrdrdrdrd"), "words of one object's own: it fails by itself");
	}
	refuse_all(2, 4, SPENT);
	touch_says = VERDICT_STORE;
	send_all();
	lane_turn(lane);
	send_all();
	lane_turn(lane);
	ok(strcmp(sent, "0,1 touch ") == 0, "the witness waits for the limit");
	touch_says = VERDICT_OK;
	for (int n = 0; n < 4; n++)
		rules[n] = FINE;
	run(10000000);
	ok(lane_stop(lane) == 0 && ends("dddd"), "and when it is over, all goes on");
	refuse_all(1, 2, SPENT);
	lane_unsend(lane, lane_next(lane));
	send_one();
	lane_turn(lane);
	lane_unsend(lane, lane_next(lane));
	ok(send_one() && was_sent("0 touch "), "a witness that is put back is asked again");
	lane_turn(lane);
}

/* An answer that fits no object: the batch is taken apart, as after any other that is not good; but three
 * batches of it, or the witness, tell that it will not heal. */
static void test_misfit(void)
{
	set_up(2);
	start();
	for (int i = 0; i < 8; i++)
		rules[i] = MISFITS;
	add_to(8);
	run(10000000);
	ok(lane_stop(lane) == 78 && ends("") && !ended[0], "three batches in a row: 78, nobody is charged");
	ok(was_sent("0,1 2,3 2 3 0 1 4,5 6,7 "), "at the third, however they are taken apart");

	set_up(2);
	start();
	for (int i = 0; i < 8; i++)
		rules[i] = i % 2 ? FINE : MISFITS;
	add_to(8);
	lane_flush(lane);
	run(10000000);
	ok(lane_stop(lane) == 0 && ends("gdgdgdgd"), "a success between them: each by itself");

	set_up(1);
	start();
	rules[0] = MISFITS;
	touch_misfits = true;
	options.give_up_ms = 1 << 30;
	lane_free(lane);
	start();
	add(0);
	lane_flush(lane);
	run(10000000);
	ok(lane_stop(lane) == 78 && !ended[0], "few of them, and the witness does not fit either: 78");

	set_up(1);
	options.give_up_ms = 0;
	options.max_retries = 0;
	start();
	rules[0] = MISFITS;
	touch_misfits = true;
	add(0);
	lane_flush(lane);
	run(10000000);
	ok(lane_stop(lane) == 78 && !ended[0], "nor is it said to be away when it is given up");

	set_up(1);
	start();
	for (int i = 0; i < 6; i++)
		rules[i] = MISFITS;
	for (int i = 0; i < 3; i++) {
		add(i);
		lane_flush(lane);
		run(10000000);
	}
	ok(lane_stop(lane) == 0 && ends("ggg"), "the witness is a success too");
}

static void test_shape_of_two_batches(void)
{
	set_up(4);
	start();
	for (int i = 0; i < 8; i++)
		rules[i] = i % 4 == 1 ? SPOILS : WRONG_SHAPE;
	add_to(8);
	run(0);
	ok(lane_stop(lane) == 0, "two batches that were halved are still two");
}

/* One request that does not find the collection. */
static void miss(int connections)
{
	set_up(2);
	options.connections = connections;
	start();
	add_to(2 * connections);
	whole = VERDICT_OPENING;
	send_all();
}

static void test_lookup(void)
{
	miss(1);
	lane_turn(lane);
	whole = VERDICT_OK;
	run(0);
	ok(ends("dd") && lane_stop(lane) == 0 && was_sent("0,1 lookup 0,1 ") && items[0].tries == 0,
	   "not found, and found again under the same id: sent again");
	miss(2);
	snprintf(collection_now, sizeof(collection_now), "another");
	run(0);
	ok(lane_stop(lane) == 78 && !ended[0], "another collection in its place: 78");
	miss(1);
	run(0);
	ok(lane_stop(lane) == 78 && !ended[0] && was_sent("0,1 lookup 0,1 "), "not found again and again: 78");
	miss(1);
	lookup_says = VERDICT_RUN;
	run(0);
	ok(lane_stop(lane) == 78 && !ended[0], "gone: 78");
	miss(1);
	lookup_says = VERDICT_AUTH;
	run(0);
	ok(lane_stop(lane) == 77 && !ended[0], "no access: 77");
}

static void test_lookup_fails_for_now(void)
{
	miss(1);
	lane_turn(lane);
	lookup_says = VERDICT_STORE;
	send_one();
	lane_turn(lane);
	ok(lane_away(lane) && !send_one() && lane_due(lane) > now && lane_stop(lane) == 0,
	   "a store that cannot say so now is away: a pause");
	lookup_says = whole = VERDICT_OK;
	run(100000);
	ok(lane_stop(lane) == 0 && ends("dd") && was_sent("0,1 lookup 0,1 "), "and has not lost the collection");
	miss(1);
	lookup_says = VERDICT_STORE;
	run(10000000);
	ok(lane_stop(lane) == 75 && !ended[0], "a store that never can: 75");
}

/* It goes like any other request, and all is served meanwhile. */
static void test_lookup_beside(void)
{
	struct batch *b;

	miss(2);
	lane_turn(lane);
	b = lane_next(lane);
	lane_unsend(lane, b);
	ok(lane_due(lane) <= now, "put back, it is still to be asked");
	send_all();
	ok(was_sent("0,1 2,3 lookup ") && lane_due(lane) == CLOCK_NEVER, "two that miss the collection: one look-up, and nothing beside it");
	ok(!lane_busy(lane) && lane_flying(lane) && !lane_empty(lane), "who stops does not wait for it");
	whole = VERDICT_OK;
	lane_turn(lane);
	run(0);
	ok(ends("dddd") && lane_stop(lane) == 0, "then all goes on");
	miss(2);
	held_back = 1;
	lane_turn(lane);
	send_one();
	ok(was_sent("0,1 2,3 lookup ") && lane_busy(lane), "looked up while another is in flight");
	whole = VERDICT_OK;
	lane_turn(lane);
	ok(ended[2] == 'd' && !ended[0] && !send_one(), "whose answer is taken");
	held_back = 0;
	lane_turn(lane);
	run(0);
	ok(ends("dddd") && lane_stop(lane) == 0, "and the first is sent again");
	miss(2);
	held_back = 1;
	lane_turn(lane);
	send_one();
	lane_turn(lane);
	whole = VERDICT_OK;
	held_back = 0;
	lane_turn(lane);
	run(0);
	ok(ends("dddd") && lane_stop(lane) == 0 && strstr(strstr(sent, "lookup") + 1, "lookup") == NULL,
	   "one that misses it meanwhile is repeated, too");
}

/* ---- deletes of several ids ---- */

static void test_deletes(void)
{
	set_up(3);
	start();
	rules[11] = REFUSED;
	add_delete(10, 3);
	add_delete(20, 3);
	run(0);
	ok(ended[10] == 'r' && ended[20] == 'd' && lane_figures(lane)->deletes == 3,
	   "one id of several is refused: so is the item");
	set_up(4);
	start();
	add_delete(10, 3);
	add_delete(20, 3);
	lane_flush(lane);
	run(0);
	ok(was_sent("d10 d20 "), "ids count as objects of a batch");
}

/* More ids than go into one request. */
static void test_delete_cut(void)
{
	set_up(4);
	start();
	add_delete(20, 10);
	add_delete(40, 2);
	lane_flush(lane);
	send_one();
	lane_turn(lane);
	ok(!ended[20] && items[20].unclear, "a part of it is done: it is not");
	run(0);
	ok(was_sent("d20-23 d24-27 d28-29,d40 ") && ended[20] == 'd' && ended[40] == 'd' && lane_empty(lane) &&
	   lane_figures(lane)->deletes == 12, "cut by objects, done once all parts are");
	set_up(100);
	options.batch_bytes = 130;
	start();
	add_delete(20, 7);
	lane_flush(lane);
	run(0);
	ok(was_sent("d20-22 d23-25 d26 ") && ended[20] == 'd', "cut by bytes");
}

static void test_delete_halved(void)
{
	set_up(100);
	takes = 3;
	start();
	add_delete(10, 8);
	lane_flush(lane);
	ok(run(0) == 0 && ended[10] == 'd' && was_sent("d10 d10-13 d14-17 d14-15 d16-17 d10-11 d12-13 "),
	   "too many ids for the store: halved, and deleted");
	ok(items[10].tries == 0 && items[10].sent == 3 && lane_figures(lane)->deletes == 8 &&
	   lane_figures(lane)->halved == 3, "charged to nobody");
	set_up(100);
	rules[13] = SPOILS;
	kept_nothing = true;
	start();
	add_delete(10, 5);
	add_delete(30, 3);
	lane_flush(lane);
	run(0);
	ok(ended[10] == 'r' && ended[30] == 'd' && was_sent("d10,d30 d10 d30 d10-11 d12-14 d12 d13-14 d13 d14 "),
	   "one id spoils them all: found, and the item is refused once the others are deleted");
	ok(items[10].verdict.scope == VERDICT_OBJECT && items[10].unclear && !items[10].verdict.kept_nothing,
	   "with its verdict; it is not as it was");
	set_up(100);
	for (int n = 10; n < 14; n++)
		rules[n] = SPOILS;
	kept_nothing = true;
	start();
	add_delete(10, 4);
	lane_flush(lane);
	run(0);
	ok(ended[10] == 'r' && requests == 7 && !items[10].unclear && items[10].verdict.kept_nothing,
	   "where every id is refused, it is as it was");
	set_up(100);
	for (int n = 10; n < 14; n++)
		rules[n] = SPOILS;
	kept_nothing = true;
	start();
	add_delete(10, 4);
	lane_flush(lane);
	end_with = HTTP_LOST;
	send_one();
	lane_turn(lane);
	end_with = HTTP_ANSWERED;
	run(100000);
	ok(ended[10] == 'r' && items[10].unclear, "unless an attempt before that was lost");
	set_up(3);
	rules[10] = REFUSED;
	kept_nothing = true;
	start();
	add_delete(10, 3);
	run(0);
	ok(ended[10] == 'r' && items[10].unclear && !items[10].verdict.kept_nothing,
	   "nor is it where others of the same request were deleted");
}

/* Parts are blamed as other items are. */
static void test_delete_blame(void)
{
	set_up(100);
	rules[12] = CRASHES;
	start();
	add_delete(10, 4);
	lane_flush(lane);
	run(600000);
	ok(ended[10] == 'g' && items[10].tries == 3 && items[10].unclear && lane_figures(lane)->deletes == 3 &&
	   lane_stop(lane) == 0, "one id makes the store fail: given up after its retries, the others are deleted");
	ok(items[10].verdict.scope == VERDICT_ATTEMPT && items[10].sent >= 5, "in %u requests", items[10].sent);
	set_up(100);
	rules[12] = BUSY;
	start();
	add_delete(10, 4);
	add(1);
	lane_flush(lane);
	run(10000000);
	ok(ended[1] == 'd' && ended[10] == 'g' && lane_figures(lane)->deletes == 3 && lane_stop(lane) == 0,
	   "always 503 for one id of several: the same");
	set_up(2);
	rules[11] = CRASHES;
	rules[14] = REFUSED;
	start();
	add_delete(10, 6);
	lane_flush(lane);
	run(600000);
	ok(ended[10] == 'r' && items[10].verdict.scope == VERDICT_OBJECT && items[10].tries == 3,
	   "the first part that fails speaks for all");
	set_up(2);
	start();
	add_delete(10, 6);
	lane_flush(lane);
	whole = VERDICT_STORE;
	run(10000000);
	ok(lane_stop(lane) == 75 && !ended[10] && lane_away(lane), "a store that is away: nobody is charged");
}

/* ---- where sending again is more than an upsert ---- */

static void set_up_late(size_t batch_size)
{
	set_up(batch_size);
	driver.again_is_upsert = false;
	start();
}

/* Sends what may go and loses it. */
static void lose(void)
{
	end_with = HTTP_LOST;
	send_all();
	lane_turn(lane);
	end_with = HTTP_ANSWERED;
}

static void pass_pause(void)
{
	set_time(now + 1000);
}

static void test_late(void)
{
	int64_t over;

	set_up_late(2);
	add_to(2);
	lose();
	over = now + 10000;
	ok(items[0].lost_until == over && lane_figures(lane)->halved == 1, "no answer: taken apart");
	pass_pause();
	add(2);
	add(3);
	ok(!lane_starved(lane) && send_one() && was_sent("0,1 2,3 "), "others go before those that wait");
	lane_turn(lane);
	ok(!send_one() && lane_due(lane) == over && lane_starved(lane) && !lane_away(lane),
	   "the rest waits until the lost attempt is over");
	set_time(over - 1);
	ok(!send_one(), "to the end");
	set_time(over);
	send_all();
	lane_turn(lane);
	ok(was_sent("0,1 2,3 0 1 ") && ends("dddd") && items[0].again, "and is sent again then");

	set_up_late(2);
	add_to(2);
	whole = VERDICT_STORE;
	lose();
	whole = VERDICT_OK;
	ok(run(100000) == 10000 && strstr(sent, " 0,1 ") != NULL && ends("dd"), "a batch that is repeated waits too");

	set_up(2);
	start();
	add_to(2);
	lose();
	ok(run(100000) < 10000 && ends("dd"), "not where sending again is an upsert");
}

/* A gateway may answer by itself what it has passed on to the store. */
static void test_late_unclear(void)
{
	set_up_late(1);
	add(0);
	whole = VERDICT_UNKNOWN;
	send_all();
	lane_turn(lane);
	whole = VERDICT_OK;
	ok(!ended[0] && items[0].again && items[0].unclear && items[0].lost_until == now + 10000,
	   "an answer that the store would not give: the attempt is not over");
	run(100000);
	ok(strcmp(strrchr(sent, 't'), "touch 0 ") == 0 && ends("d") && now == 1010000, "sent again when it is");
	set_up_late(1);
	add(0);
	whole = VERDICT_ATTEMPT;
	send_all();
	lane_turn(lane);
	ok(items[0].again && !items[0].lost_until, "one of the store's own ends it");
}

static void test_late_item_alone(void)
{
	set_up_late(2);
	add(0);
	items[1].lost_until = now + 5000;
	add(1);
	add(2);
	ok(send_one() && was_sent("0,2 "), "an item that comes with a lost attempt holds nobody up");
	lane_turn(lane);
	run(100000);
	ok(was_sent("0,2 1 ") && now == 1005000 && ends("ddd"), "and goes when that is over");
	set_up_late(2);
	items[0].lost_until = now + 5000;
	add(0);
	items[1].lost_until = now + 7000;
	add(1);
	ok(lane_due(lane) == now + 5000, "the first that may go says when");
}

static void test_sent_twice(void)
{
	set_up_late(2);
	add_to(2);
	resent_once = true;
	send_all();
	lane_turn(lane);
	ok(!ended[0] && items[0].again && items[0].lost_until == now + 10000,
	   "sent twice by the library: its answer proves nothing");
	run(100000);
	ok(ends("dd") && now == 1010000, "sent again when the first can arrive no more");
	set_up_late(2);
	steps = 2;
	add_to(2);
	resent_once = true;
	send_all();
	lane_turn(lane);
	ok(!ended[0] && items[1].lost_until == now + 10000, "the first request of several, too");
	set_up(2);
	steps = 2;
	start();
	add_to(2);
	resent_once = true;
	run(0);
	ok(ends("dd") && items[0].lost_until == now + 10000, "where it is an upsert, the attempt is remembered");
}

/* ---- all that is held waits, and the store is away ---- */

static void test_probe(void)
{
	set_up_late(1);
	add(0);
	lose();
	ok(lane_away(lane) && !send_one() && lane_due(lane) > now && lane_due(lane) <= now + 1000,
	   "away: the probe waits for its pause");
	set_time(lane_due(lane));
	ok(send_one() && was_sent("0 touch ") && lane_next(lane) == NULL, "the smallest write is the probe");
	lane_turn(lane);
	ok(!lane_away(lane) && !ended[0] && !send_one() && lane_due(lane) == 1010000,
	   "its success ends the outage; it is not repeated");
	run(100000);
	ok(was_sent("0 touch 0 ") && ends("d"), "what waited goes in its time");

	set_up_late(1);
	options.late_ms = 100000000;
	lane_free(lane);
	start();
	add(0);
	lose();
	touch_fails = true;
	ok(run(10000000) >= 300000 && now < 1000000 + 360000 && lane_stop(lane) == 75 && requests > 5 &&
	   requests < 60 && !ended[0], "the time to give up runs from the first failure, %d requests", requests);

	set_up_late(1);
	add(0);
	lose();
	add(1);
	pass_pause();
	send_one();
	lane_turn(lane);
	ok(was_sent("0 1 ") && ends("") && ended[1] == 'd', "where something else may go, that is the probe");
}

/* A probe is no witness while others wait that would be a better one. */
static void test_probe_blames_nobody(void)
{
	set_up_late(1);
	options.max_retries = 1;
	options.connections = 1;
	lane_free(lane);
	start();
	rules[0] = CRASHES;
	add(0);
	for (int i = 0; i < 2; i++) {
		send_one();
		lane_turn(lane);
		set_time(now + 2000);
	}
	add(1);
	lose();
	set_time(now + 4000);
	ok(send_one() && was_sent("0 0 1 touch "), "one set aside, one that waits");
	lane_turn(lane);
	ok(!ended[0], "the probe does not blame");
	run(100000);
	ok(ends("gd"), "the one that waited does");
}

/* ---- where an acknowledged write lasts only after the next ---- */

static void set_up_lasting(size_t batch_size, int connections)
{
	set_up(batch_size);
	options.connections = connections;
	driver.again_is_upsert = false;
	driver.lasts_after_next = true;
	start();
}

/* Has so many of the requests in flight answered, the first of them first. */
static void answer(int n)
{
	held_back = nflying - n;
	lane_turn(lane);
	held_back = 0;
}

static void test_lasting(void)
{
	set_up_lasting(2, 1);
	add_to(2);
	send_all();
	answer(1);
	ok(!ended[0] && !lane_empty(lane) && !lane_busy(lane) && !lane_away(lane) && lane_starved(lane) &&
	   lane_figures(lane)->objects == 0, "acknowledged, and not done before the next write");
	ok(!send_one() && lane_due(lane) == now + 1000, "which is waited for");
	add(2);
	add(3);
	send_all();
	ok(!ended[0], "sent is not answered");
	answer(1);
	ok(ends("dd") && !ended[2] && lane_figures(lane)->objects == 2, "answered: what was before it is done");
	set_time(now + 999);
	ok(!send_one() && lane_due(lane) == now + 1, "nothing else comes");
	set_time(now + 1);
	ok(send_one() && was_sent("0,1 2,3 touch ") && lane_due(lane) == CLOCK_NEVER,
	   "the smallest write goes after the time of a flush");
	answer(1);
	ok(ends("dddd") && lane_empty(lane) && !send_one() && lane_due(lane) == CLOCK_NEVER, "and once");
	ok(lane_figures(lane)->objects == 4 && lane_figures(lane)->requests == 3, "counted");
}

static void test_lasting_flush(void)
{
	set_up_lasting(2, 2);
	add_to(3);
	lane_flush(lane);
	send_all();
	answer(1);
	lane_flush(lane);
	ok(!send_one(), "flushed: what is in flight is waited for");
	answer(1);
	lane_flush(lane);
	ok(!ended[0] && lane_due(lane) <= now && send_one() && was_sent("0,1 2 touch "), "then the smallest write goes at once");
	answer(1);
	ok(ends("ddd") && lane_empty(lane), "for all of them");
	set_up_lasting(2, 2);
	add_to(2);
	send_all();
	lane_flush(lane);
	add(2);
	answer(1);
	ok(!send_one(), "not where more has come since");
	set_up_lasting(2, 2);
	options.flush_ms = 60000;
	lane_free(lane);
	start();
	add_to(2);
	send_all();
	answer(1);
	ok(lane_due(lane) == now + 1000, "a long time of a flush is not waited for");
}

/* The write that proves was sent after the answer. */
static void test_lasting_order(void)
{
	set_up_lasting(1, 2);
	add_to(4);
	send_all();
	answer(1);
	ok(send_one() && was_sent("0 1 2 "), "three sent, the first answered before the third");
	answer(1);
	ok(!ended[0], "the second was sent before the first's answer: it proves nothing");
	answer(1);
	ok(ends("d") && !ended[1], "the third does, for the first alone");
	send_one();
	answer(1);
	ok(ends("ddd") && !ended[3], "the fourth for those before it");
}

static void test_lasting_beside(void)
{
	struct batch *b;

	set_up_lasting(1, 3);
	add_to(2);
	send_all();
	answer(1);
	ok(!send_one() && lane_due(lane) == now + 1000, "one in flight that proves nothing");
	pass_pause();
	b = lane_next(lane);
	ok(b != NULL && batch_items(b) == NULL && lane_next(lane) == NULL, "a touch is handed out once");
	lane_unsend(lane, b);
	ok(send_one() && was_sent("0 1 touch ") && !send_one() && lane_due(lane) == CLOCK_NEVER,
	   "one touch goes beside it, and one only");
	answer(1);
	answer(1);
	ok(ends("d") && !ended[1] && lane_due(lane) == now + 1000, "for what was answered before");
	add(2);
	pass_pause();
	ok(send_one() && strstr(sent, "touch 2 ") && !send_one(), "another write that goes makes a touch needless");
	set_up_lasting(2, 1);
	add_to(2);
	send_all();
	answer(1);
	set_time(now + 500);
	add(2);
	ok(!send_one() && lane_due(lane) == now + 500, "a batch that fills");
	set_time(now + 500);
	ok(send_one() && was_sent("0,1 2 "), "closes for it");
}

static void test_lasting_refused(void)
{
	set_up_lasting(2, 1);
	rules[1] = rules[2] = rules[3] = REFUSED;
	add_to(4);
	send_one();
	answer(1);
	ok(!ended[0] && ended[1] == 'r', "what is refused is refused at once");
	send_one();
	answer(1);
	ok(!ended[0] && ended[3] == 'r', "and proves nothing");
	lane_flush(lane);
	send_one();
	answer(1);
	ok(ends("drrr") && was_sent("0,1 2,3 touch "), "a touch does");
}

static void test_lasting_deletes(void)
{
	set_up_lasting(2, 1);
	add_delete(0, 1);
	lane_flush(lane);
	send_one();
	answer(1);
	ok(!ended[0] && lane_figures(lane)->deletes == 0, "a delete lasts after the next write, too");
	items[1].again = true;
	add_delete(1, 1);
	lane_flush(lane);
	send_one();
	answer(1);
	ok(!ended[0], "a delete that is sent again goes by itself: it proves nothing");
	add_delete(2, 2);
	send_one();
	answer(1);
	ok(ends("dd") && !ended[2] && lane_figures(lane)->deletes == 2, "another delete does");
}

static void test_lasting_away(void)
{
	set_up_lasting(1, 1);
	add(0);
	send_one();
	answer(1);
	touch_fails = true;
	lane_flush(lane);
	send_one();
	answer(1);
	ok(!ended[0] && lane_away(lane) && lane_due(lane) > now && !items[0].again, "the touch fails: it stays held");
	run(100000);
	ok(!ended[0] && requests > 3 && requests < 40, "with the usual pauses");
	touch_fails = false;
	run(100000);
	ok(ends("d") && !lane_away(lane) && items[0].sent == 1, "and is done when one is answered well");
	set_up_lasting(1, 1);
	add(0);
	send_one();
	answer(1);
	touch_fails = true;
	lane_flush(lane);
	run(10000000);
	ok(lane_stop(lane) == 75 && !ended[0] && !send_one(), "or stays unsettled when the run gives up");
}

/* A store that was killed and is back has lost what it acknowledged last. */
static void test_lasting_gone(void)
{
	set_up_lasting(2, 2);
	add_to(2);
	send_one();
	answer(1);
	lane_flush(lane);
	end_with = HTTP_NOT_SENT;
	send_one();
	answer(1);
	end_with = HTTP_ANSWERED;
	ok(!ended[0] && items[0].again && items[0].unclear && items[0].lost_until == 0,
	   "no store there before the next write: sent again");
	set_time(lane_due(lane));
	ok(now <= 1001000 && send_one() && was_sent("0,1 touch 0,1 "), "after a pause, with nothing else to wait for");
	answer(1);
	ok(!ended[0], "acknowledged anew");
	lane_flush(lane);
	run(0);
	ok(ends("dd") && items[0].sent == 2, "and done when a write follows that");
	set_up_lasting(1, 3);
	add_to(3);
	send_all();
	end_with = HTTP_LOST;
	answer(1);
	end_with = HTTP_ANSWERED;
	answer(2);
	ok(items[1].again && items[2].again && !ended[1],
	   "answers to what was sent before that may be of the store that is gone");
	for (int i = 0; i < 10; i++) {
		run(100000);
		lane_flush(lane);
	}
	ok(ends("ddd") && items[1].sent == 2, "they are sent again, too");
}

/* It is back before anything is asked of it: only the connection is another. */
static void test_lasting_fresh(void)
{
	set_up_lasting(1, 2);
	fresh_once = true;
	add(0);
	send_one();
	answer(1);
	ok(!items[0].again, "the first connection of all");
	add(1);
	send_one();
	fresh_once = true;
	answer(1);
	ok(!ended[0] && items[0].again && !items[1].again, "what was acknowledged over another one is sent again");
	for (int i = 0; i < 10; i++) {
		run(100000);
		lane_flush(lane);
	}
	ok(ends("dd") && items[0].sent == 2 && items[1].sent == 1, "and what came over the new one is not");
}

static void test_lasting_gateway(void)
{
	set_up_lasting(1, 1);
	add(0);
	send_one();
	answer(1);
	touch_fails = true;
	status = 429;
	lane_flush(lane);
	send_one();
	answer(1);
	ok(!items[0].again, "a store that says wait is there");
	set_time(lane_due(lane));
	status = 503;
	send_one();
	answer(1);
	ok(items[0].again, "one that is not ready may have been away");
}

/* A witness that embeds fails with the provider: it must not keep what is stored from lasting. */
static void test_lasting_embedded(void)
{
	set_up_lasting(1, 1);
	options.max_retries = 0;
	lane_free(lane);
	start();
	store.embeds = true;
	rules[1] = CRASHES;
	add_to(2);
	for (int i = 0; i < 2; i++) {
		send_one();
		answer(1);
	}
	set_time(now + 1000);
	send_one();
	answer(1);
	ok(!blames && ended[0] == 'd' && !ended[1], "a touch that blames nobody makes last what is stored");
	touch_fails = true;
	set_time(lane_due(lane));
	send_one();
	answer(1);
	ok(blames && !ended[1] && lane_stop(lane) == 0, "then goes the witness, which finds no provider");
	touch_fails = false;
	set_time(lane_due(lane));
	send_one();
	answer(1);
	ok(blames && ended[1] == 'g' && was_sent("0 1 touch touch touch "), "until it does");
	store.embeds = false;
}

static void test_lasting_with_others(void)
{
	set_up_lasting(1, 1);
	options.max_retries = 0;
	lane_free(lane);
	start();
	rules[1] = CRASHES;
	add_to(2);
	send_one();
	answer(1);
	send_one();
	answer(1);
	set_time(now + 1000);
	send_one();
	answer(1);
	ok(was_sent("0 1 touch ") && ends("dg"), "one touch is the witness and makes the other last");
	test_lasting_embedded();
	set_up_lasting(1, 2);
	rules[1] = WRONG_SHAPE;
	add_to(2);
	send_all();
	answer(2);
	ok(!ended[0] && ended[1] == 'r', "too few of the wrong shape are refused while another waits to last");
}

static void test_lasting_collection(void)
{
	set_up_lasting(1, 1);
	add(0);
	send_one();
	answer(1);
	lane_flush(lane);
	whole = VERDICT_OPENING;
	send_one();
	answer(1);
	whole = VERDICT_OK;
	ok(lane_stop(lane) == 0 && !ended[0], "a touch that does not find the collection has it looked up");
	lane_flush(lane);
	run(0);
	ok(ends("d"), "found under the same id: once more");
	set_up_lasting(1, 1);
	add(0);
	send_one();
	answer(1);
	lane_flush(lane);
	whole = VERDICT_OPENING;
	snprintf(collection_now, sizeof(collection_now), "another");
	send_one();
	answer(1);
	run(0);
	ok(lane_stop(lane) == 78 && !ended[0], "another in its place: 78");
}

/* An older attempt for one part holds up that part. */
static void test_delete_late(void)
{
	int64_t over;

	set_up_late(100);
	add_delete(10, 4);
	lane_flush(lane);
	lose();
	over = now + 10000;
	pass_pause();
	add(0);
	add(1);
	lane_flush(lane);
	send_all();
	lane_turn(lane);
	ok(was_sent("d10 0,1 ") && !ended[10], "no answer: its halves wait until the attempt is over, others do not");
	lane_flush(lane);
	run(over - now);
	ok(now == over && was_sent("d10 0,1 d10-11 d12-13 ") && ended[10] == 'd' && items[10].lost_until == over,
	   "and go then; the late attempt is not forgotten");
	set_up_late(2);
	items[10].lost_until = now + 5000;
	add_delete(10, 3);
	add(0);
	lane_flush(lane);
	send_all();
	lane_turn(lane);
	ok(was_sent("0 ") && run(100000) == 5000 && was_sent("0 d10-11 d12 ") && ended[10] == 'd',
	   "one that comes with a lost attempt waits with all its parts");
}

static void test_delete_lasting(void)
{
	set_up_lasting(2, 1);
	add_delete(10, 4);
	send_one();
	answer(1);
	ok(!ended[10] && lane_figures(lane)->deletes == 0, "a part is acknowledged");
	send_one();
	answer(1);
	ok(!ended[10] && lane_figures(lane)->deletes == 2, "it lasts when the next is, which does not yet");
	fresh_once = true;
	lane_flush(lane);
	send_one();
	answer(1);
	ok(!ended[10], "the store was killed and is back: what did not last is sent again");
	lane_flush(lane);
	run(100000);
	lane_flush(lane);
	run(100000);
	ok(ended[10] == 'd' && strstr(sent, "d10-11 d12-13 touch d12-13 ") == sent && items[10].sent == 2,
	   "and all of it is done once that lasts");
}

/* ---- texts to embed ---- */

/* Runs until the lane stops; true if it said want. */
static bool stops_saying(const char *want)
{
	static char said[1000];
	FILE *f = tmpfile();
	int saved = dup(STDERR_FILENO);
	size_t n;

	if (f == NULL || saved < 0)
		return false;
	dup2(fileno(f), STDERR_FILENO);
	run(10000000);
	dup2(saved, STDERR_FILENO);
	close(saved);
	rewind(f);
	n = fread(said, 1, sizeof(said) - 1, f);
	said[n] = '\0';
	fclose(f);
	if (lane_stop(lane) != 0 && strstr(said, want) != NULL)
		return true;
	printf("# said: %s\n", said);
	return false;
}

static const struct {
	enum verdict_scope scope;
	const char *role, *said;
} sayings[] = {
	{ VERDICT_AUTH, "store", "the store refuses access: said so; " },
	{ VERDICT_AUTH, "embedding server", "the embedding server refuses access: said so; " },
	{ VERDICT_STORE, "store", "the store at 'http://test' is away: " },
	{ VERDICT_STORE, "embedding server", "the embedding server at 'http://test' is away: " },
	{ VERDICT_RUN, "embedding server", "the embedding server cannot be used as configured: said so" },
};

static void test_sayings(void)
{
	for (size_t i = 0; i < sizeof(sayings) / sizeof(sayings[0]); i++) {
		set_up(2);
		driver.role = sayings[i].role;
		start();
		add_text(0);
		lane_flush(lane);
		whole = sayings[i].scope;
		ok(stops_saying(sayings[i].said), "%s", sayings[i].said);
	}
	set_up(1);
	driver.role = "embedding server";
	start();
	for (int n = 0; n < 4; n++) {
		rules[n] = WRONG_SHAPE;
		add_text(n);
	}
	ok(stops_saying("the embedding server refuses every object: said so; is it the right model?"),
	   "a model of another dimension");
	driver.role = "store";
}


static void test_embed(void)
{
	set_up(4);
	driver.role = "embedding server";
	start();
	rules[1] = REFUSED;
	rules[2] = SPOILS;
	rules[10] = CRASHES;
	for (int n = 8; n < 12; n++)
		add_text(n);
	for (int n = 0; n < 3; n++)
		add_text(n);
	lane_flush(lane);
	run(600000);
	ok(ends("drr") && ended[8] == 'd' && ended[9] == 'd' && ended[10] == 'g' && ended[11] == 'd',
	   "texts are refused, given up and embedded like objects");
	ok(items[8].dim == 1 && items[8].vector[0] == 8 && items[9].vector && items[9].vector[0] == 9 &&
	   items[11].dim == 2 && items[11].vector[0] == 11,
	   "each has the vector that was made of it");
	ok(items[1].vector == NULL && items[2].vector == NULL && items[10].vector == NULL,
	   "and what failed has none");
	ok(lane_figures(lane)->objects == 4 && lane_figures(lane)->deletes == 0, "counted");
	for (int n = 0; n < ITEMS; n++)
		free(items[n].vector);
	set_up(1);
	start();
	rules[0] = CRASHES;
	add_text(0);
	run(200000);
	ok(ends("g") && was_sent("0 0 0 0 touch "), "alone: the driver's smallest write is the witness");
	driver.role = "store";
}

static void test_embed_shape(void)
{
	set_up(2);
	options.connections = 1;
	start();
	for (int n = 0; n < 8; n++)
		rules[n] = n == 4 || n == 5 ? FINE : WRONG_SHAPE;
	for (int n = 0; n < 8; n++)
		add_text(n);
	run(0);
	ok(lane_stop(lane) == 0 && ends("rrrrddrr"), "vectors of another length, and then one that fits: refused");
	for (int n = 0; n < ITEMS; n++)
		free(items[n].vector);
}

/* As what the store makes of it says; of a delete, of any of its ids that is not deleted. */
static bool ended_well(int n)
{
	uint32_t ids_of = items[n].kind == LANE_DELETE ? items[n].nids : 1;
	bool fine = true, fits = false;

	for (uint32_t k = 0; k < ids_of; k++) {
		enum rule rule = rules[n + (int)k];

		fine &= rule == FINE;
		fits |= rule != FINE && ended[n] == (rule == CRASHES ? 'g' : 'r');
	}
	return fine ? ended[n] == 'd' : fits;
}

/* Random stores: every item ends once, and as it must. */
static void test_random(void)
{
	int wrong = 0;

	for (uint32_t round = 1; round <= 300; round++) {
		uint32_t x = round * 2654435761u;
		int n = 1 + (int)(x >> 8) % 40;

		set_up(1 + (x >> 16) % 10);
		options.connections = 1 + (int)(x >> 20) % 4;
		options.max_retries = 5 + (x >> 24) % 4;	/* more than what goes wrong by chance */
		options.give_up_ms = 100000000;
		driver.again_is_upsert = round % 2;
		driver.lasts_after_next = round % 3 == 0;
		start();
		for (int i = 0; i < n; i++) {
			x = x * 1664525 + 1013904223;
			rules[i] = (x >> 16) % 5 ? FINE : (enum rule)((x >> 20) % 4);
		}
		for (int i = 0; i < n; i += items[i].kind == LANE_DELETE ? (int)items[i].nids : 1) {
			x = x * 1664525 + 1013904223;
			if ((x >> 24) % 4 == 0)
				add_delete(i, 1 + (x >> 16) % (n - i < 7 ? (uint32_t)(n - i) : 7));
			else
				add(i);
		}
		lane_flush(lane);
		for (int k = 0; k < 5; k++) {
			x = x * 1664525 + 1013904223;
			whole = (x >> 16) % 3 ? VERDICT_OK : VERDICT_STORE;
			end_with = (x >> 20) % 4 ? HTTP_ANSWERED : HTTP_LOST;
			send_all();
			if (end_with == HTTP_LOST && nflying > 0)
				kill_after = (int)(x >> 12) % nflying;
			lane_turn(lane);
			kill_after = -1;
			set_time(now + (x >> 24) * 100);
		}
		whole = VERDICT_OK;
		end_with = HTTP_ANSWERED;
		run(50000000);
		wrong += driver.lasts_after_next && not_lasting > 0;
		wrong += !lane_empty(lane) || lane_stop(lane) != 0;
		for (int i = 0; i < n; i += items[i].kind == LANE_DELETE ? (int)items[i].nids : 1)
			wrong += !ended_well(i);
	}
	ok(idle_turns == 0, "a lane that has nothing to give does not say that it has");
	ok(wrong == 0, "300 random stores: every item ends once and as it must (%d)", wrong);
}

/* Over the same connections others ask, too, and may give up before they are answered. */
static void test_foreign_answer(void)
{
	struct request r = { .url = xstrdup("/") };
	int tag;

	set_up(1);
	start();
	add(0);
	send_all();
	ok(lane_flying(lane) && http_start(NULL, &r, &tag) == 0, "a question of somebody else's is in flight");
	lane_turn(lane);
	ok(ends("d") && !lane_flying(lane) && nflying == 0, "its answer is nobody's");
}

static void test_free_in_flight(void)
{
	set_up(1);
	start();
	add_to(4);
	add_delete(10, 8);
	send_all();
	ok(lane_busy(lane), "freed with requests in flight, and parts that wait");
}

int main(void)
{
	log_set_level(LOG_ERROR);
	test_batches();
	test_age();
	test_age_while_busy();
	test_bytes();
	test_unsend();
	test_connections();
	test_rate();
	test_refused_alone();
	test_halving();
	test_crash();
	test_witness();
	test_witness_too_late();
	test_witness_fails_now_and_then();
	test_witness_of_its_kind();
	test_set_aside_while_others_wait();
	test_away();
	test_nobody_is_charged();
	test_lost();
	test_backoff();
	test_retry_after();
	test_tried_out();
	want_stop(VERDICT_AUTH, 77, "no access");
	want_stop(VERDICT_RUN, 78, "wrong configuration");
	test_shape();
	test_shape_of_two_batches();
	test_misfit();
	test_all_refused();
	test_spent();
	test_lookup();
	test_lookup_fails_for_now();
	test_lookup_beside();
	test_deletes();
	test_delete_cut();
	test_delete_halved();
	test_delete_blame();
	test_delete_late();
	test_delete_lasting();
	test_late();
	test_late_unclear();
	test_late_item_alone();
	test_sent_twice();
	test_probe();
	test_probe_blames_nobody();
	test_lasting();
	test_lasting_flush();
	test_lasting_order();
	test_lasting_beside();
	test_lasting_refused();
	test_lasting_deletes();
	test_lasting_away();
	test_lasting_gone();
	test_lasting_fresh();
	test_lasting_gateway();
	test_lasting_with_others();
	test_lasting_collection();
	test_embed();
	test_embed_shape();
	test_sayings();
	test_random();
	test_foreign_answer();
	test_free_in_flight();
	drop_flying();
	lane_free(lane);
	free(store.collection_id);
	return tap_done();
}
