/* Whatever a store answers, in any of its driver's asks: each ends, what it says can be shown, and nothing
 * counts as stored, deleted or found that no answer of 200 or 204 spoke of.
 *
 * The first line says which: c (Chroma) or w (Weaviate); r ready, o open, l look up, u upsert, d delete,
 * t touch, c count, p list, f fetch, s search; then a, b (that object is sent again), c (create), e (the
 * store embeds).  Each line behind it is an answer: its status and its body; 0 for none, 1 for one of 200
 * to a request that was sent twice.  Then no answer comes any more. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "driver.h"
#include "text.h"

#define CHECK(x)                                                                                   \
	do {                                                                                       \
		if (!(x))                                                                          \
			abort();                                                                   \
	} while (0)
#define ID0 "e417b55a-2ea2-5a2a-9306-c568b130e26b"
#define ID1 "02c8f33a-02dd-512e-81e3-64a0c03bb0dc"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static float vector[2] = { 1, 2 };

static void check_verdict(const struct verdict *v)
{
	CHECK(v->scope <= VERDICT_RUN && memchr(v->text, '\0', sizeof(v->text)));
	CHECK((v->scope == VERDICT_OK) == !*v->text);
	CHECK(utf8_check(v->text, strlen(v->text)) == strlen(v->text));
	for (const char *p = v->text; *p; p++)
		CHECK((unsigned char)*p >= 0x20 && *p != 0x7f);
}

static void check_found(const struct found *f)
{
	CHECK(memchr(f->id, '\0', sizeof(f->id)) && memchr(f->digest, '\0', sizeof(f->digest)));
	CHECK(!f->repo == !f->path);
}

/* good: answers that a store gives where all went well. */
static void check(const struct ask *a, const struct store *s, int good)
{
	bool chroma = s->driver == &drv_chroma;

	check_verdict(&a->verdict);
	for (size_t i = 0; i < a->n; i++) {
		const struct ask_object *o = &a->objects[i];
		int least = chroma ? 1 : a->kind == ASK_UPSERT && o->again ? 3 : 1;

		check_verdict(&o->verdict);
		CHECK(o->verdict.scope != VERDICT_OK || good >= least || a->kind == ASK_FETCH);
		CHECK(a->verdict.scope != VERDICT_OK || o->verdict.scope == VERDICT_OK);
	}
	for (size_t i = 0; i < a->nfound; i++)
		check_found(&a->found[i]);
	for (size_t i = 0; i < a->nhits; i++)
		check_found(&a->hits[i].found);
	CHECK(a->nhits <= a->limit);
	CHECK(a->n || a->verdict.scope != VERDICT_OK || good >= 1);
	CHECK(a->kind != ASK_OPEN || a->verdict.scope != VERDICT_OK || s->collection_id);
}

/* The next line of the input into *r. */
static void next_answer(struct reply *r, const uint8_t **data, const uint8_t *end)
{
	const uint8_t *p = *data, *stop;

	*r = (struct reply){ .end = HTTP_LOST, .retry_after_s = -1, .error = "lost" };
	if (p >= end)
		return;
	stop = memchr(p, '\n', (size_t)(end - p));
	if (!stop)
		stop = end;
	for (; p < stop && *p >= '0' && *p <= '9' && r->status < 100; p++)
		r->status = r->status * 10 + (*p - '0');
	if (p < stop && *p == ' ')
		p++;
	r->resent = r->status == 1;
	if (r->resent)
		r->status = 200;
	if (r->status) {
		r->end = HTTP_ANSWERED;
		buf_add(&r->body, p, (size_t)(stop - p));
	}
	*data = stop + 1;
}

static void play(struct store *s, struct ask *a, const uint8_t *data, const uint8_t *end)
{
	int good = 0, lost = 0;

	for (;;) {
		struct request q = { 0 };
		struct reply r;

		if (s->driver->build(s, a, &q) == 0)
			break;
		CHECK(q.method && q.url && !lost);
		request_release(&q);
		next_answer(&r, &data, end);
		lost += r.end == HTTP_LOST;
		good += r.status == 200 || r.status == 204 || r.status == 404 || r.status == 403;
		s->driver->judge(s, a, &r);
		reply_release(&r);
	}
	check(a, s, good);
	CHECK(a->verdict.scope != VERDICT_UNKNOWN || *a->verdict.text);
}

static enum ask_kind kind_of(char c)
{
	static const char letters[] = "roludtcpfs";
	static const enum ask_kind kinds[] = { ASK_READY, ASK_OPEN, ASK_LOOKUP, ASK_UPSERT, ASK_DELETE,
					       ASK_TOUCH, ASK_COUNT, ASK_LIST, ASK_FETCH, ASK_SEARCH };
	const char *p = c ? strchr(letters, c) : NULL;

	return p ? kinds[p - letters] : ASK_UPSERT;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *line = memchr(data, '\n', size), *end = data + size;
	size_t head = line ? (size_t)(line - data) : size;
	bool embeds = memchr(data, 'e', head) != NULL;
	struct object object = { .text = (char *)"text", .text_len = 4, .vector = embeds ? NULL : vector,
				 .dim = embeds ? 0 : 2 };
	struct ask_object objects[2] = { { .id = ID0 }, { .id = ID1 } };
	struct store s = { .collection = xstrdup("Code"), .collection_id = xstrdup("ab"), .embeds = embeds };
	struct ask a = { .objects = objects, .limit = 2, .vector = vector, .dim = 2 };
	char *why;

	s.driver = size && data[0] == 'c' ? &drv_chroma : &drv_weaviate;
	store_url_parse(&s.url, s.driver == &drv_chroma ? "chroma:http://h:1" : "weaviate:http://h:1", &why);
	a.kind = kind_of(size > 1 ? (char)data[1] : 'u');
	if (a.kind == ASK_UPSERT || a.kind == ASK_DELETE || a.kind == ASK_FETCH)
		a.n = 2;
	for (size_t i = 2; i < head; i++) {
		objects[0].again |= data[i] == 'a';
		objects[1].again |= data[i] == 'b';
		a.create |= data[i] == 'c';
	}
	/* Chroma never gets an object without a vector */
	if (s.driver == &drv_chroma && !object.vector) {
		object.vector = vector;
		object.dim = 2;
	}
	objects[0].object = objects[1].object = a.kind == ASK_UPSERT ? &object : NULL;
	play(&s, &a, line ? line + 1 : end, end);
	ask_release(&a);
	store_release(&s);
	return 0;
}
