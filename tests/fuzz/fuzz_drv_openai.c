/* Whatever an embedding server answers: a vector is taken only where it is whole, finite and of the
 * collection's dimension, and json-c finds as many in the answer; nothing is ever kept. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"
#include "driver_json.h"

enum { TEXTS = 3 };

static void check_vector(const struct ask_object *o, size_t dimension)
{
	bool any = false;

	if (o->vector == NULL || o->dim != dimension || o->dim == 0)
		abort();
	for (size_t i = 0; i < o->dim; i++) {
		if (!isfinite(o->vector[i]))
			abort();
		any |= o->vector[i] != 0;
	}
	if (!any)
		abort();
}

static void check_verdict(const struct verdict *v)
{
	if (!v->kept_nothing || v->scope == VERDICT_UNKNOWN || v->scope > VERDICT_RUN ||
	    memchr(v->text, '\0', sizeof(v->text)) == NULL || (v->scope == VERDICT_OK) != !*v->text)
		abort();
	for (const char *p = v->text; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			abort();
}

static void check_count(const struct reply *r, size_t n)
{
	auto_json json_object *o = answer_json(r);
	json_object *data = answer_member(o, "data", json_type_array);

	if (data == NULL || json_object_array_length(data) != n)
		abort();
}

static void check_embed(const struct ask *a, const struct store *s, const struct reply *r)
{
	size_t good = 0;

	for (size_t i = 0; i < a->n; i++) {
		check_verdict(&a->objects[i].verdict);
		if (a->objects[i].verdict.scope == VERDICT_OK) {
			check_vector(&a->objects[i], s->dimension);
			good++;
		} else if (a->objects[i].vector != NULL) {
			abort();
		}
	}
	if (good > 0 && r->status != 200)
		abort();
	if ((good == a->n) != (a->verdict.scope == VERDICT_OK))
		abort();
	if (good > 0)
		check_count(r, a->n);
}

static void run(enum ask_kind kind, size_t n, size_t dimension, const struct reply *r)
{
	struct store s = { .driver = &drv_openai, .dimension = dimension };
	struct ask_object objects[TEXTS] = { { 0 } };
	struct ask a = { .kind = kind, .objects = n ? objects : NULL, .n = n };

	drv_openai.judge(&s, &a, r);
	if (kind == ASK_EMBED)
		check_embed(&a, &s, r);
	else if (kind == ASK_TOUCH)
		check_verdict(&a.verdict);
	if (dimension != 0 && s.dimension != dimension)
		abort();
	ask_release(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const long statuses[] = { 200, 400, 404, 429, 500, 503, 204, 302 };
	struct reply r = { .end = HTTP_ANSWERED, .retry_after_s = -1, .status = 200 };

	if (size == 0)
		return 0;
	/* Most inputs begin with a brace, and are answers of 200. */
	if (data[0] < 8) {
		r.status = statuses[data[0]];
		data++;
		size--;
	}
	buf_add(&r.body, data, size);
	for (size_t n = 1; n <= TEXTS; n++) {
		run(ASK_EMBED, n, 2, &r);
		run(ASK_EMBED, n, 0, &r);
	}
	run(ASK_READY, 0, 0, &r);
	run(ASK_TOUCH, 0, 2, &r);
	reply_release(&r);
	return 0;
}
