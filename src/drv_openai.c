/* An embedding server that speaks OpenAI's POST /v1/embeddings, as OpenAI itself, llama.cpp, Ollama,
 * vLLM, text-embeddings-inference and others do (OpenAI's specification 2.3.0).
 *
 * It stores nothing, so whatever goes wrong, nothing was kept.  store.url is its endpoint, path and all;
 * the store that is embedded for has another struct store.
 *
 * An answer is read where it stands: 32 vectors of 1,536 numbers are a megabyte of text, and would be
 * 50,000 objects of json-c's.  It is proof only as a whole: "data", without an "error" beside it, with
 * as many vectors as there were texts, each told by its index.  Where an index stands twice or is not
 * one of the question, a server may have left out a text and counted on, and then every vector behind
 * it would be another text's.  An index that is left out is clear where all are (they stand in order),
 * or where it can only be the 0 that protobuf's JSON does not write.
 *
 * Whatever else comes with 200 is sent again.  What an embedding server answered, but not so, is of the
 * wrong shape: that does not heal.  What one text may be to blame for (NaN) is so of the word alone. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "alloc.h"
#include "buf.h"
#include "cleanup.h"
#include "driver.h"
#include "driver_json.h"
#include "json.h"
#include "json_span.h"
#include "text.h"

#define DIMENSION_MAX 65536
#define WORD "word"		/* the smallest text that every server takes */

enum { STEP_FIRST, STEP_SECOND, STEP_END };

/* Requests */

static size_t object_bytes(const struct store *s, const struct object *o)
{
	(void)s;
	return json_str_size(o->text, o->text_len) + 1;
}

static void build_embed(const struct store *s, const struct ask *a, bool base64, struct buf *b)
{
	size_t size = 128;

	for (size_t i = 0; i < a->n; i++)
		size += json_str_size(a->objects[i].text, a->objects[i].len) + 1;
	buf_reserve(b, size);
	buf_addc(b, '{');
	if (s->model) {
		buf_adds(b, "\"model\":");
		json_cstr(b, s->model);
		buf_addc(b, ',');
	}
	buf_adds(b, "\"input\":[");
	for (size_t i = 0; i < a->n; i++) {
		if (i)
			buf_addc(b, ',');
		json_str(b, a->objects[i].text, a->objects[i].len);
	}
	buf_adds(b, a->n ? "]" : "\"" WORD "\"]");
	/* numbers are what every server gives unasked; some refuse to be asked */
	buf_adds(b, base64 ? ",\"encoding_format\":\"base64\"}" : "}");
}

/* OpenAI refuses the whole request for an empty text, others make a vector of nothing. */
static bool any_empty(struct ask *a)
{
	struct verdict v = { .text = "an empty text has no vector" };

	for (size_t i = 0; i < a->n; i++) {
		if (a->objects[i].len)
			continue;
		answer_refused(&v, a, v.text);
		ask_verdict(a, &v);
		return true;
	}
	return false;
}

static int build(const struct store *s, struct ask *a, struct request *r)
{
	bool asked = a->kind == ASK_READY || a->kind == ASK_TOUCH || (a->kind == ASK_EMBED && a->n);

	if (!asked || a->step == STEP_END || any_empty(a))
		return 0;
	r->method = "POST";
	r->url = xasprintf("%s%s", s->url.base, s->url.path);
	build_embed(s, a, a->kind == ASK_READY ? a->step == STEP_FIRST : s->base64, &r->body);
	return 1;
}

/* Vectors */

static float *floats_of_base64(const struct span *string, size_t *n)
{
	const char *s = string->p + 1;
	size_t len = string->n - 2, at;
	auto_buf struct buf plain = BUF_INIT, bytes = BUF_INIT;
	float *out;

	if (memchr(s, '\\', len)) {	/* "\/" */
		json_unescape(&plain, s, len);
		s = plain.data;
		len = plain.len;
	}
	if (base64_decode(&bytes, s, len, &at) < 0 || bytes.len % 4)
		return NULL;
	*n = bytes.len / 4;
	out = xmalloc(bytes.len);
	for (size_t i = 0; i < *n; i++) {
		const unsigned char *p = (const unsigned char *)bytes.data + i * 4;
		uint32_t u = p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;

		memcpy(out + i, &u, 4);
	}
	return out;
}

static bool points_somewhere(const float *v, size_t n)
{
	bool any = false;

	for (size_t i = 0; i < n; i++) {
		if (!isfinite(v[i]))
			return false;
		any |= v[i] != 0;
	}
	return any;
}

/* The vector at e, as base64 or as numbers, whatever was asked for; NULL if it is none. */
static float *read_vector(struct store *s, const struct span *e, size_t *n)
{
	struct json_floats_fault fault;
	float *out = NULL;

	if (json_type_of(e) == JSON_ARRAY) {
		s->base64 = false;
		return json_floats(e, DIMENSION_MAX, n, &fault);
	}
	if (json_type_of(e) == JSON_STRING)
		out = floats_of_base64(e, n);
	if (out && (*n > DIMENSION_MAX || !points_somewhere(out, *n))) {
		free(out);
		out = NULL;
	}
	return out;
}

static void attempt(struct verdict *v, const char *text)
{
	v->scope = VERDICT_ATTEMPT;
	verdict_say(v, "%s", text);
}

static void take_vector(struct store *s, struct ask_object *o, const struct span *e)
{
	o->vector = read_vector(s, e, &o->dim);
	if (!o->vector) {
		attempt(&o->verdict, "a vector is no row of finite numbers, or all zero");
		return;
	}
	if (!s->dimension)
		s->dimension = o->dim;
	if (o->dim == s->dimension) {
		o->verdict.scope = VERDICT_OK;
		return;
	}
	o->verdict.scope = VERDICT_RUN;
	verdict_say(&o->verdict, "vectors of %zu numbers came, not of %zu: another model? (--embed-model)",
		    o->dim, s->dimension);
	free(o->vector);
	o->vector = NULL;
}

#define NO_INDEX SIZE_MAX

/* The place of one element of "data": its index below n, NO_INDEX if it has none, or n; *e becomes its
 * vector. */
static size_t read_entry(const struct span *entry, size_t n, struct span *e)
{
	const char *p = entry->p, *end = p + entry->n;
	struct json_member m;
	uint64_t index = NO_INDEX;

	e->p = NULL;
	if (json_type_of(entry) != JSON_OBJECT)
		return n;
	while (json_next_member(&p, end, &m)) {
		if (json_is_name(&m.name, "embedding")) {
			*e = m.value;
		} else if (json_is_name(&m.name, "index") && json_type_of(&m.value) != JSON_NULL) {
			autofree char *digits = xmemdup0(m.value.p, m.value.n);

			if (parse_uint(&index, digits, 0, n) < 0)
				index = n;
		}
	}
	return e->p ? (size_t)index : n;
}

/* How many elements data has, and how many of them no index. */
static size_t count_entries(const struct span *data, size_t n, size_t *bare)
{
	const char *p = data->p, *end = p + data->n;
	struct span entry, e;
	size_t count = 0;

	for (*bare = 0; json_next_element(&p, end, &entry); count++)
		*bare += read_entry(&entry, n, &e) == NO_INDEX;
	return count;
}

static void misfit(struct verdict *v, const char *fmt, size_t a, size_t b) __attribute__((format(printf, 2, 0)));

static void misfit(struct verdict *v, const char *fmt, size_t a, size_t b)
{
	v->scope = VERDICT_ATTEMPT;
	v->wrong_shape = true;
	verdict_say(v, fmt, a, b);
}

/* Puts the vectors into at[n] by their index.  Says in *v what is wrong unless there is one for each. */
static void place(struct verdict *v, struct span *at, size_t n, const struct span *data)
{
	const char *p = data->p, *end = p + data->n;
	size_t bare, count = count_entries(data, n, &bare), i;
	struct span entry, e;

	if (count != n) {
		misfit(v, "%zu vectors came for %zu texts", count, n);
		return;
	}
	if (bare > 1 && bare < n) {
		misfit(v, "%zu of %zu vectors do not tell their index", bare, n);
		return;
	}
	for (size_t k = 0; json_next_element(&p, end, &entry); k++) {
		i = read_entry(&entry, n, &e);
		if (i == NO_INDEX)
			i = bare == n ? k : 0;
		if (i >= n || at[i].p) {
			misfit(v, i < n ? "index %zu stands twice among %zu vectors"
					: "entry %zu of %zu has no vector, or an index that was not asked for",
			       i < n ? i : k, n);
			return;
		}
		at[i] = e;
	}
}

/* The last array "data" of the object from p on, which json_check() has passed.  Beside an error it is none. */
static bool find_data(const char *p, const char *end, struct span *data)
{
	struct json_member m;
	bool found = false, failed = false;

	while (json_next_member(&p, end, &m)) {
		if (json_is_name(&m.name, "data") && json_type_of(&m.value) == JSON_ARRAY) {
			*data = m.value;
			found = true;
		}
		failed |= json_is_name(&m.name, "error") && json_type_of(&m.value) != JSON_NULL;
	}
	return found && !failed;
}

/* Vectors, but as other calls and servers give them. */
static bool has_other_form(const char *p, const char *end)
{
	struct span all = { p, (size_t)(end - p) }, first;
	struct json_member m;
	bool vectors = false;

	if (*p == '[')
		return json_next_element(&p, end, &first) &&
		       json_type_of(&first) & (JSON_ARRAY | JSON_INT | JSON_NUMBER);
	while (json_type_of(&all) == JSON_OBJECT && json_next_member(&p, end, &m)) {
		if (json_is_name(&m.name, "error") && json_type_of(&m.value) != JSON_NULL)
			return false;
		vectors |= (json_is_name(&m.name, "data") || json_is_name(&m.name, "embedding") ||
			    json_is_name(&m.name, "embeddings")) &&
			   json_type_of(&m.value) & (JSON_ARRAY | JSON_OBJECT);
	}
	return vectors;
}

static void not_an_answer(struct verdict *v, const struct reply *r)
{
	autofree char *words = NULL;

	attempt(v, "not an answer of an embedding server");
	if (r->body.len > HTTP_ERROR_TEXT)
		return;
	words = answer_words(r);
	verdict_say(v, "not an answer of an embedding server: %s", words);
}

/* Finds the array of vectors in an answer of 200, or says in *v why there is none.  False: it is nothing
 * that an embedding server says. */
static bool read_answer(struct verdict *v, const struct reply *r, struct span *data)
{
	const char *p = r->body.len ? r->body.data : "", *end = p + r->body.len;
	const char *first = json_skip_blanks(p, end);
	struct json_fault fault;

	if (first == end || !strchr("{[", *first)) {
		not_an_answer(v, r);
		return false;
	}
	if (json_check(p, r->body.len, NULL, &fault) < 0) {	/* Python writes NaN */
		v->scope = VERDICT_ATTEMPT;
		verdict_say(v, "the answer is not valid JSON at byte %zu: %s", fault.offset, fault.what);
		return *first == '{';
	}
	if (*first == '{' && find_data(first, end, data))
		return true;
	if (has_other_form(first, end)) {
		attempt(v, "vectors in another form than OpenAI's /v1/embeddings gives them");
		v->wrong_shape = true;
		return true;
	}
	not_an_answer(v, r);
	return false;
}

/* A model that gives vectors of two lengths is of no use to any object. */
static void spread_wrong_model(struct ask_object *o, size_t n)
{
	const struct verdict *wrong = NULL;

	for (size_t i = 0; i < n; i++)
		if (o[i].verdict.scope == VERDICT_RUN)
			wrong = &o[i].verdict;
	for (size_t i = 0; wrong && i < n; i++)
		if (o[i].verdict.scope != VERDICT_OK)
			o[i].verdict = *wrong;
}

/* A 200: fills the n objects; *v is their common verdict, else the first that is not good.  False: it is
 * nothing that an embedding server says. */
static bool judge_vectors(struct verdict *v, struct store *s, struct ask_object *o, size_t n,
			  const struct reply *r)
{
	autofree struct span *at = xcalloc(n, sizeof(*at));
	struct span data = { 0 };
	bool known;

	v->scope = VERDICT_OK;
	known = read_answer(v, r, &data);
	if (v->scope == VERDICT_OK)
		place(v, at, n, &data);
	for (size_t i = 0; i < n; i++) {
		o[i].verdict = *v;
		if (at[i].p && v->scope == VERDICT_OK)
			take_vector(s, &o[i], &at[i]);
	}
	spread_wrong_model(o, n);
	for (size_t i = 0; i < n && v->scope == VERDICT_OK; i++)
		*v = o[i].verdict;
	return known;
}

/* Verdicts */

/* llama.cpp says 500 of a text that is longer than its batch, and OpenAI 429 of a request that alone is
 * more than its limit for a minute. */
static bool says_too_large(const char *text)
{
	static const char *const words[] = {
		"too large", "too long", "too many tokens", "maximum context", "context length",
		"context size", NULL
	};

	return says_any(text, words);
}

static bool says_no_model(const struct reply *r)
{
	static const char *const code[] = { "error", "code", NULL };
	auto_json json_object *o = answer_json(r);
	const char *s = answer_string(o, code);

	return s && !strcmp(s, "model_not_found");
}

static void unknown_model(struct verdict *v, const struct store *s, const char *words)
{
	v->scope = VERDICT_RUN;
	if (s->model)
		verdict_say(v, "no model '%s' at '%s%s' (--embed-model, --embed): %s", s->model, s->url.base,
			    s->url.path, words);
	else
		verdict_say(v, "no embeddings at '%s%s' (--embed; --embed-model): %s", s->url.base,
			    s->url.path, words);
}

/* Any other status than those that judge_status() knows. */
static void judge_refused(struct verdict *v, const struct store *s, const struct ask *a,
			  const struct reply *r, const char *words)
{
	if (r->status >= 300 && r->status < 400) {
		v->scope = VERDICT_RUN;
		verdict_say(v, "the embedding server redirects (HTTP %ld) to '%s'", r->status, r->location);
	} else if (r->status >= 400 && r->status < 500) {
		if (says_no_model(r))
			unknown_model(v, s, words);
		else
			answer_refused(v, a, words);
	} else if (r->status >= 500 && a->n && says_too_large(words)) {
		answer_refused(v, a, words);
	} else {
		v->scope = VERDICT_ATTEMPT;
	}
}

static void judge_status(struct verdict *v, const struct store *s, const struct ask *a,
			 const struct reply *r)
{
	autofree char *words = answer_words(r);

	verdict_say(v, "%s", words);
	if (answer_access(v, r)) {
		if (r->status == 429 && a->n > 1 && says_too_large(words))
			v->scope = VERDICT_REQUEST;
		return;
	}
	switch (r->status) {
	case 404:
		unknown_model(v, s, words);
		break;
	case 405: case 410: case 415: case 501:	/* it would say so to any text */
		v->scope = VERDICT_RUN;
		break;
	case 425: case 502: case 503: case 529:
		v->scope = VERDICT_STORE;
		break;
	case 408: case 424: case 504:	/* perhaps so many texts take it too long */
		v->scope = VERDICT_ATTEMPT;
		break;
	default:
		judge_refused(v, s, a, r, words);
	}
}

/* What of the first answer may be due to base64 alone: then numbers are asked for. */
static bool numbers_may_help(const struct verdict *v)
{
	return v->http == 200 || v->http == 500 || v->http == 501 ||
	       (v->http >= 400 && v->http < 500 && v->scope == VERDICT_RUN && v->http != 404);
}

static void judge_word(struct verdict *v, struct store *s, struct ask *a, const struct reply *r)
{
	struct ask_object word = { .text = WORD };

	if (a->kind == ASK_READY)
		s->base64 = a->step == STEP_FIRST;
	if (r->status == 200)
		v->wrong_shape = judge_vectors(v, s, &word, 1, r) && v->scope == VERDICT_ATTEMPT;
	else
		judge_status(v, s, a, r);
	free(word.vector);
	if (a->kind != ASK_READY || v->scope == VERDICT_OK)
		return;
	s->base64 = false;
	if (a->step == STEP_FIRST && numbers_may_help(v)) {
		a->step = STEP_SECOND;
		*v = (struct verdict){ .kept_nothing = true };
	}
}

/* What stands in the objects after judge_vectors() stays. */
static bool judge_embed(struct verdict *v, struct store *s, struct ask *a, const struct reply *r)
{
	if (r->status != 200) {
		judge_status(v, s, a, r);
		return false;
	}
	judge_vectors(v, s, a->objects, a->n, r);
	return true;
}

static void judge(struct store *s, struct ask *a, const struct reply *r)
{
	struct verdict v = { 0 };
	bool placed = false;
	int step = a->step;

	if (answer_came(&v, r)) {
		v.kept_nothing = true;
		v.http = r->status;
		if (a->kind == ASK_EMBED)
			placed = judge_embed(&v, s, a, r);
		else
			judge_word(&v, s, a, r);
	}
	v.kept_nothing = true;
	if (a->step == step)
		a->step = STEP_END;
	if (placed)
		a->verdict = v;
	else
		ask_verdict(a, &v);
}

/* The batch is what every server takes that is known: text-embeddings-inference has a limit of 32
 * texts and 2 MB.  Servers in Python and llama.cpp close a connection that was idle for 5 s. */
const struct driver drv_openai = {
	.name = "openai",
	.role = "embedding server",
	.example = "http://localhost:8080",
	.key_names = { "OPENAI_API_KEY" },
	.key_header = "Authorization: Bearer ",
	.url_option = "--embed",
	.key_option = "--embed-key-file",
	.batch_size = 32,
	.batch_bytes = 1500000,
	.connections = 1,
	.timeout_ms = 120000,
	.idle_s = 4,
	.late_s = 0,
	.again_is_upsert = true,
	.object_bytes = object_bytes,
	.build = build,
	.judge = judge,
};
