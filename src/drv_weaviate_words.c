/* The words in which Weaviate is asked, and what those mean in which it answers. */
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "blank.h"
#include "buf.h"
#include "cleanup.h"
#include "driver.h"
#include "driver_json.h"
#include "drv_weaviate_p.h"
#include "json.h"

/* Requests */

void weaviate_call(struct request *r, const char *method, char *url)
{
	r->method = method;
	r->url = url;
}

char *weaviate_url(const struct store *s, const char *path)
{
	return xasprintf("%s/v1/%s", s->url.base, path);
}

char *weaviate_url_class(const struct store *s, const char *below)
{
	return xasprintf("%s/v1/schema/%s%s", s->url.base, s->collection, below);
}

void weaviate_send_query(const struct store *s, struct request *r, const struct buf *query)
{
	weaviate_call(r, "POST", weaviate_url(s, "graphql"));
	buf_adds(&r->body, "{\"query\":");
	json_str(&r->body, query->data, query->len);
	buf_addc(&r->body, '}');
}

/* Verdicts */

void weaviate_unclear(struct verdict *v, const struct reply *r)
{
	answer_unclear(v, r, "Weaviate");
}

void weaviate_set(struct verdict *v, enum verdict_scope scope, bool kept_nothing)
{
	v->scope = scope;
	v->kept_nothing = kept_nothing;
}

/* A shard that is read-only because disk or memory run short opens again by itself. */
static void judge_read_only(struct verdict *v, const struct store *s, const char *text)
{
	weaviate_set(v, VERDICT_STORE, false);
	if (strstr(text, "by user"))
		verdict_say(v, "a shard was set read-only by a user: PUT %s/v1/schema/%s/shards/SHARD "
			    "{\"status\":\"READY\"}", s->url.base, s->collection);
}

bool weaviate_judge_trouble(struct verdict *v, const struct store *s, const char *text)
{
	static const char *const no_class[] = {
		"not present in schema", "failed to get class", "auto-schema: create collection",
		"no graphql provider present", NULL	/* where there is no class at all */
	};
	static const char *const no_index[] = { "non-existing index", "could not find index", NULL };
	static const char *const cut_off[] = { "context canceled", "context deadline exceeded", NULL };

	if (strstr(text, "read-only")) {
		judge_read_only(v, s, text);
	} else if (strstr(text, "no space left on device")) {
		/* Ready, and its shards too, but no write succeeds until it is started anew. */
		weaviate_set(v, VERDICT_STORE, false);
		verdict_say(v, "the server's disk is full; free space, then restart the server: %s", text);
	} else if (strstr(text, "not enough memory")) {
		weaviate_set(v, VERDICT_ATTEMPT, strstr(text, "cannot process batch") != NULL);
	} else if (says_any(text, no_class)) {
		weaviate_set(v, VERDICT_OPENING, true);
	} else if (says_any(text, no_index)) {
		weaviate_set(v, VERDICT_OPENING, false);
	} else if (strstr(text, "usage limit exceeded")) {
		weaviate_set(v, VERDICT_RUN, true);
	} else if (says_any(text, cut_off)) {
		weaviate_set(v, VERDICT_ATTEMPT, false);
	} else {
		return false;
	}
	return true;
}

static bool is_quota(const struct reply *r)
{
	auto_json json_object *o = answer_json(r);

	return answer_member(o, "errorCode", json_type_string) != NULL;
}

/* True if the status is one of access, of quota or of price. */
static bool judge_access(struct verdict *v, const struct reply *r, const char *text)
{
	if (!answer_access(v, r))
		return false;
	if (v->scope == VERDICT_AUTH && strstr(text, "no authentication scheme")) {
		v->advises = true;
		verdict_say(v, "this server has no authentication and refuses any key: remove the key");
	}
	if (r->status == 429 && is_quota(r))
		v->scope = VERDICT_RUN;
	return true;
}

void weaviate_judge_status(struct verdict *v, const struct store *s, const struct ask *a, const struct reply *r)
{
	autofree char *text = answer_words(r);

	verdict_say(v, "%s", text);
	if (judge_access(v, r, text))
		return;
	if (r->status >= 300 && r->status < 400) {
		v->scope = VERDICT_RUN;
		verdict_say(v, "the store redirects (HTTP %ld) to '%s'", r->status, r->location);
	} else if (r->status == 404)
		weaviate_set(v, VERDICT_OPENING, true);
	else if (r->status == 425)
		weaviate_set(v, VERDICT_STORE, true);
	else if (r->status == 502 || r->status == 503 || r->status == 504)
		v->scope = VERDICT_STORE;
	else if (r->status == 408 || r->status == 500 || r->status == 422) {
		if (weaviate_judge_trouble(v, s, text))
			return;
		v->scope = VERDICT_ATTEMPT;
		if (r->status == 422)
			answer_refused(v, a, text);
	} else if (r->status == 400 && strstr(text, "i/o timeout"))
		weaviate_set(v, VERDICT_ATTEMPT, true);	/* it reads a request for 30 s and no longer */
	else if (r->status >= 400 && r->status < 500)
		answer_refused(v, a, text);
}

/* The cause is what a message of Go's ends with. */
static void say_end(struct verdict *v, const char *first, const char *text)
{
	size_t room = sizeof(v->text) - 8 - strlen(first);
	auto_buf struct buf clean = BUF_INIT;
	const char *p;

	blank_text(&clean, text, strlen(text));	/* what is cut in two is not found any more */
	text = clean.len ? clean.data : "";
	p = clean.len > room ? text + clean.len - room : text;
	while (p > text && ((unsigned char)*p & 0xc0) == 0x80)
		p++;
	verdict_say(v, "%s%s%s", first, p > text ? "..." : "", p);
}

void weaviate_summarise(struct ask *a)
{
	a->verdict = (struct verdict){ .scope = VERDICT_OK, .http = 200 };
	for (size_t i = a->n; i-- > 0;)
		if (a->objects[i].verdict.scope != VERDICT_OK)
			a->verdict = a->objects[i].verdict;
}

void weaviate_end(struct ask *a, const struct verdict *v)
{
	bool checking = a->kind == ASK_UPSERT && a->step == UPSERT_CHECK;

	for (size_t i = 0; i < a->n; i++) {
		struct ask_object *o = &a->objects[i];

		if (checking ? o->again && o->verdict.scope == VERDICT_OK
			     : o->verdict.scope == VERDICT_UNKNOWN)
			o->verdict = *v;
		/* What is looked for in the index was stored before. */
		if (checking && o->again)
			o->verdict.kept_nothing = false;
	}
	a->step = STEP_END;
	if (a->n)
		weaviate_summarise(a);
	else
		a->verdict = *v;
}

/* An object's verdict */

/* The number behind the first "status", as in "failed with status: 429", or 0. */
static int provider_status(const char *text)
{
	const char *p = strstr(text, "status");
	int n = 0;

	if (!p)
		return 0;
	p += strlen("status");
	p += strspn(p, ": ");
	for (int i = 0; i < 3 && *p >= '0' && *p <= '9'; i++)
		n = n * 10 + (*p++ - '0');
	return n;
}

/* The vectoriser's provider failed: before anything was stored.  Its refusal of one text is told of
 * all that were sent to it together; so is what one text makes of it (500, no answer). */
static bool judge_provider(struct verdict *v, const struct ask *a, const char *text)
{
	static const char *const words[] = {
		"failed with status", "vectorization response", "send POST request",
		"fewer vectors than requested", "no api key found", "panic occurred", NULL
	};
	static const char *const nobody[] = { "connection refused", "no such host", NULL };
	int status = provider_status(text);

	if (!says_any(text, words))
		return false;
	weaviate_set(v, VERDICT_ATTEMPT, true);
	if (strstr(text, "no api key found") || status == 401 || status == 403) {
		v->scope = VERDICT_RUN;
		say_end(v, "the provider's key (--store-header-file): ", text);
	} else if (status == 404)
		v->scope = VERDICT_RUN;
	else if (status == 429 || status == 503 || says_any(text, nobody))
		v->scope = VERDICT_STORE;
	else if (status >= 400 && status < 500 && status != 408 && status != 425)
		answer_refused(v, a, text);
	return true;
}

void weaviate_judge_failed(struct verdict *v, const struct store *s, const struct ask *a, const char *text)
{
	static const char *const shape[] = { "Validate vector index", "no such prop", NULL };

	verdict_say(v, "%s", *text ? text : "Weaviate says FAILED, and not why");
	if (judge_provider(v, a, text) || weaviate_judge_trouble(v, s, text))
		return;
	if (says_any(text, shape) || (!strncmp(text, "invalid ", 8) && strstr(text, " property "))) {
		weaviate_set(v, VERDICT_OBJECT, true);
		v->wrong_shape = true;
	} else if (strstr(text, "insert to vector index") && strstr(text, "lengths don't match")) {
		/* The first vectors of a collection race for its dimension, and the losers are stored. */
		weaviate_set(v, VERDICT_OBJECT, false);
		v->wrong_shape = true;
	} else {
		weaviate_set(v, VERDICT_ATTEMPT, false);
	}
}

/* What a query gives */

bool weaviate_is_true(json_object *o, const char *name)
{
	json_object *m = answer_member(o, name, json_type_boolean);

	return m && json_object_get_boolean(m);
}

const char *weaviate_text(json_object *o, const char *name)
{
	const char *const path[] = { name, NULL };
	const char *s = answer_string(o, path);

	return s ? s : "";
}

size_t weaviate_vector_len(json_object *o)
{
	json_object *m = answer_member(o, "vector", json_type_int);

	if (m)
		return json_object_get_int64(m) > 0 ? (size_t)json_object_get_int64(m) : 0;
	m = answer_member(o, "vector", json_type_array);
	return m ? json_object_array_length(m) : 0;
}

json_object *weaviate_query_list(struct verdict *v, const struct store *s, const struct ask *a, json_object *o,
				 const char *verb, const struct reply *r)
{
	static const char *const message[] = { "message", NULL };
	static const char *const wrong[] = {
		"Cannot query field", "Unknown argument", "Syntax Error", NULL
	};
	json_object *errors = answer_member(o, "errors", json_type_array);
	json_object *list = answer_member(answer_member(answer_member(o, "data", json_type_object), verb,
							json_type_object), s->collection, json_type_array);
	const char *text;

	if (list && !answer_complains(o))
		return list;
	text = errors && json_object_array_length(errors)
	       ? answer_string(json_object_array_get_idx(errors, 0), message) : NULL;
	if (!text) {
		weaviate_unclear(v, r);
		return NULL;
	}
	say_end(v, "", text);
	v->wrong_shape = strstr(text, "lengths don't match") != NULL;
	if (strstr(text, "Cannot query field") && strstr(text, "ObjectsObj\""))
		v->scope = VERDICT_OPENING;
	else if (!judge_provider(v, a, text) && !weaviate_judge_trouble(v, s, text))
		v->scope = says_any(text, wrong) ? VERDICT_RUN : VERDICT_ATTEMPT;
	return NULL;
}

const char *weaviate_additional_id(json_object *o)
{
	static const char *const id[] = { "_additional", "id", NULL };
	const char *s = answer_string(o, id);

	return s ? s : "";
}

json_object *weaviate_object_list(struct verdict *v, const struct store *s, const struct ask *a, json_object *o,
				  size_t most, const struct reply *r)
{
	json_object *list = weaviate_query_list(v, s, a, o, "Get", r);
	size_t n = list ? json_object_array_length(list) : 0;
	bool good = n <= most;

	for (size_t i = 0; good && i < n; i++)
		good = *weaviate_additional_id(json_object_array_get_idx(list, i));
	if (good)
		return list;
	weaviate_unclear(v, r);
	return NULL;
}
