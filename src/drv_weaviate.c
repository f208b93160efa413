/* Weaviate, REST v1, and GraphQL where only that selects properties; answers as seen from 1.39.0.
 *
 * What proves that Weaviate itself took a request, and not a gateway before it that says 200 to anything:
 *
 *     ready           nothing at all: the version has to be told as well, beside the "hostname"
 *     class           its "class"; a property its "name"; shards a list, each with its "name"
 *     batch           the objects in their order, each with its "id" and "result"
 *     batch delete    "matches", "successful" and "failed", which agree, no more than were named, no "dryRun"
 *     single delete   204; 404 without a body, which its description knows and 1.39 does not say
 *     object          its "id"; 404 without a body
 *     query           data.VERB.CLASS, a list, and no "errors"; of objects each with its id, no more of them
 *                     than asked for
 *     class removed   nothing at all
 *
 * Members beside these may be what a later release adds, unless they tell of a failure (answer_good()).
 * All else is unclear: it is sent again, and charged to nobody as refused.
 *
 * Even so a 200 means little: each object has a verdict of its own in the echo, and one that says SUCCESS
 * may be stored without ever being found by a search.  That happens to whatever is written over an attempt
 * that was cut off, because an equal vector is not indexed twice.  So what is sent again is deleted
 * first, one by one (a batch delete does not see every stored object), and counts only when the index
 * finds it.
 *
 * Ids are always lower case: a batch delete with another spelling deletes nothing and says 200. */
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "alloc.h"
#include "buf.h"
#include "cleanup.h"
#include "driver.h"
#include "driver_json.h"
#include "drv_weaviate_p.h"
#include "json.h"
#include "strip.h"

#define PAGE 1000
#define WITNESS_TEXT "linesync"	/* embedded to see whether the provider of a vectoriser answers */

/* Requests */

static char *url_object(const struct store *s, const char *id, const char *query)
{
	return xasprintf("%s/v1/objects/%s/%s%s", s->url.base, s->collection, id, query);
}

/* How many named objects a request may count: all, unless that was more than the server gives at once. */
static size_t count_at_once(const struct ask *a)
{
	return a->limit ? a->limit : a->n;
}

static bool is_wanted(const struct ask *a, size_t i)
{
	switch (a->kind) {
	case ASK_DELETE: return !a->objects[i].again;
	case ASK_UPSERT: return a->objects[i].again && a->objects[i].verdict.scope == VERDICT_OK;
	case ASK_COUNT: return i >= a->cursor && i - a->cursor < count_at_once(a);
	default: return true;
	}
}

/* The ids that the request at hand is about, and how many they are. */
static size_t add_ids(struct buf *b, const struct ask *a)
{
	size_t n = 0;

	buf_addc(b, '[');
	for (size_t i = 0; i < a->n; i++) {
		if (!is_wanted(a, i))
			continue;
		if (n++)
			buf_addc(b, ',');
		json_cstr(b, a->objects[i].id);
	}
	buf_addc(b, ']');
	return n;
}

/* Which of the ids the index finds: any vector does, since all that are found are asked for. */
static void build_check(const struct store *s, const struct ask *a, struct request *r)
{
	auto_buf struct buf q = BUF_INIT;
	size_t n;

	buf_addf(&q, "{Get{%s(nearVector:{vector:[1", s->collection);
	for (size_t i = 1; i < s->dimension; i++)
		buf_add(&q, ",0", 2);
	buf_adds(&q, "]},where:{path:[\"id\"],operator:ContainsAny,valueText:");
	n = add_ids(&q, a);
	buf_addf(&q, "},limit:%zu){_additional{id}}}}", n);
	weaviate_send_query(s, r, &q);
}

static void build_batch_delete(const struct store *s, const struct ask *a, struct request *r)
{
	weaviate_call(r, "DELETE", weaviate_url(s, "batch/objects"));
	buf_addf(&r->body, "{\"match\":{\"class\":\"%s\",\"where\":{\"path\":[\"id\"],"
			   "\"operator\":\"ContainsAny\",\"valueTextArray\":", s->collection);
	if (a->kind == ASK_TOUCH)
		buf_adds(&r->body, "[\"" NO_ID "\"]");
	else
		add_ids(&r->body, a);
	buf_adds(&r->body, "}},\"output\":\"minimal\"}");
}

/* The room left for numbers covers the names and quotes around an object. */
static size_t object_bytes(const struct store *s, const struct object *o)
{
	return strlen(s->collection) + sizeof(o->id) + 64 + json_str_size(o->text, o->text_len) +
	       o->dim * 16 + object_props_size(o);
}

static void add_object(const struct store *s, const struct ask_object *ao, struct buf *b)
{
	const struct object *o = ao->object;
	bool first = true;

	buf_addf(b, "{\"class\":\"%s\",\"id\":", s->collection);
	json_cstr(b, ao->id);
	if (o->vector) {
		buf_adds(b, ",\"vector\":");
		vector_numbers(b, o->vector, o->dim);
	}
	buf_adds(b, ",\"properties\":{");
	json_member_str(b, &first, "content", o->text, o->text_len);
	object_props(b, &first, o, false);
	buf_adds(b, "}}");
}

static void build_write(const struct store *s, const struct ask *a, struct request *r)
{
	static const char *const unread[] = { "vector", "vectors", "properties", NULL };
	size_t size = 0;

	for (size_t i = 0; i < a->n; i++)
		size += object_bytes(s, a->objects[i].object);
	weaviate_call(r, "POST", weaviate_url(s, "batch/objects"));
	buf_reserve(&r->body, size);
	buf_adds(&r->body, "{\"objects\":[");
	for (size_t i = 0; i < a->n; i++) {
		if (i)
			buf_addc(&r->body, ',');
		add_object(s, &a->objects[i], &r->body);
	}
	buf_adds(&r->body, "]}");
	r->strip = strip_new(unread);
}

/* The first object at or behind i that is sent again; n if there is none. */
static size_t next_again(const struct ask *a, size_t i)
{
	while (i < a->n && !a->objects[i].again)
		i++;
	return i;
}

static int build_upsert(const struct store *s, struct ask *a, struct request *r)
{
	if (a->step == UPSERT_REMOVE) {
		a->cursor = next_again(a, a->cursor);
		if (a->cursor < a->n) {
			weaviate_call(r, "DELETE", url_object(s, a->objects[a->cursor].id, ""));
			return 1;
		}
		a->step = UPSERT_WRITE;
	}
	if (a->step == UPSERT_WRITE)
		build_write(s, a, r);
	else
		build_check(s, a, r);
	return 1;
}

static bool all_again(const struct ask *a)
{
	for (size_t i = 0; i < a->n; i++)
		if (!a->objects[i].again)
			return false;
	return true;
}

static int build_delete(const struct store *s, struct ask *a, struct request *r)
{
	if (a->step == DELETE_BATCH && !all_again(a)) {
		build_batch_delete(s, a, r);
		return 1;
	}
	if (a->step == DELETE_BATCH) {
		a->step = DELETE_SINGLE;
		a->cursor = 0;
	}
	a->cursor = next_again(a, a->cursor);
	if (a->cursor == a->n) {
		a->step = STEP_END;
		return 0;
	}
	weaviate_call(r, "DELETE", url_object(s, a->objects[a->cursor].id, ""));
	return 1;
}

static void build_list(const struct store *s, const struct ask *a, struct request *r)
{
	auto_buf struct buf q = BUF_INIT;

	buf_addf(&q, "{Get{%s(limit:%d,after:", s->collection, PAGE);
	json_cstr(&q, a->after);
	buf_adds(&q, "){file_path repository chunk_index sync_digest _additional{id}}}}");
	weaviate_send_query(s, r, &q);
}

/* A JSON string, as json_str() writes it, is a GraphQL string too. */
static void add_near_text(struct buf *q, const char *text)
{
	buf_adds(q, "nearText:{concepts:[");
	json_cstr(q, text);
	buf_addc(q, ']');
}

/* No write is needed to make the provider embed. */
static void build_witness(const struct store *s, const char *text, struct request *r)
{
	auto_buf struct buf q = BUF_INIT;

	buf_addf(&q, "{Get{%s(", s->collection);
	add_near_text(&q, text);
	buf_adds(&q, "},limit:1){_additional{id}}}}");
	weaviate_send_query(s, r, &q);
}

static void build_search(const struct store *s, const struct ask *a, struct request *r)
{
	auto_buf struct buf q = BUF_INIT;

	buf_addf(&q, "{Get{%s(", s->collection);
	if (a->vector) {
		buf_adds(&q, "nearVector:{vector:");
		vector_numbers(&q, a->vector, a->dim);
	} else {
		add_near_text(&q, a->text);
	}
	buf_addf(&q, "},limit:%zu", a->limit);
	if (a->repo) {
		buf_adds(&q, ",where:{path:[\"repository\"],operator:Equal,valueText:");
		json_cstr(&q, a->repo);
		buf_addc(&q, '}');
	}
	buf_adds(&q, "){file_path repository chunk_index sync_digest start_line end_line content "
		     "_additional{id distance}}}}");
	weaviate_send_query(s, r, &q);
}

static int build_fetch(const struct store *s, const struct ask *a, struct request *r)
{
	if (a->step == FETCH_CHECK)
		build_check(s, a, r);
	else if (a->cursor < a->n)
		weaviate_call(r, "GET", url_object(s, a->objects[a->cursor].id, "?include=vector"));
	else
		return 0;
	return 1;
}

/* Those with a name are asked for one by one: an aggregate with a filter counts an object for each time that
 * it was written while the server died, for ever (Weaviate 1.39: 275 of 256). */
static void build_count(const struct store *s, const struct ask *a, struct request *r)
{
	auto_buf struct buf q = BUF_INIT;
	size_t n;

	if (a->n) {
		buf_addf(&q, "{Get{%s(where:{path:[\"id\"],operator:ContainsAny,valueText:", s->collection);
		n = add_ids(&q, a);
		buf_addf(&q, "},limit:%zu){_additional{id}}}}", n);
	} else {
		buf_addf(&q, "{Aggregate{%s{meta{count}}}}", s->collection);
	}
	weaviate_send_query(s, r, &q);
}

static int build_records(const struct store *s, struct ask *a, struct request *r)
{
	switch (a->kind) {
	case ASK_UPSERT: return build_upsert(s, a, r);
	case ASK_DELETE: return build_delete(s, a, r);
	case ASK_FETCH: return build_fetch(s, a, r);
	case ASK_TOUCH:
		if (a->step == TOUCH_WRITE)
			build_batch_delete(s, a, r);
		else if (a->step == TOUCH_SHARDS)
			weaviate_call(r, "GET", weaviate_url_class(s, "/shards"));
		else
			build_witness(s, WITNESS_TEXT, r);
		break;
	case ASK_LIST: build_list(s, a, r); break;
	case ASK_SEARCH:
		if (a->limit)
			build_search(s, a, r);
		else
			build_witness(s, a->text, r);
		break;
	default:
		build_count(s, a, r);
		break;
	}
	return 1;
}

static int build(const struct store *s, struct ask *a, struct request *r)
{
	static const struct verdict unopened = {
		.scope = VERDICT_OPENING, .kept_nothing = true,
		.text = "the collection was not opened"
	};
	static const struct verdict no_vectoriser = {
		.scope = VERDICT_RUN, .kept_nothing = true,
		.text = "the collection has no vectoriser of its own"
	};
	static const struct verdict no_default = {
		.scope = VERDICT_RUN, .kept_nothing = true,
		.text = "the server has no vectoriser that a new collection would get (--embed store); name "
			"another --embed"
	};
	bool mute = !s->vectoriser &&
		    ((a->kind == ASK_SEARCH && !a->vector) ||
		     (a->kind == ASK_OPEN && a->step == OPEN_CREATE && s->must_embed));

	if (a->step == STEP_END)
		return 0;
	switch (a->kind) {
	case ASK_READY:
		weaviate_call(r, "GET", weaviate_url(s, a->step == READY_PORT ? ".well-known/ready" : "meta"));
		return 1;
	case ASK_OPEN:
		if (mute)
			break;
		weaviate_build_open(s, a, r);
		return 1;
	case ASK_LOOKUP:
		weaviate_call(r, "GET", weaviate_url_class(s, weaviate_known_by_name(s) ? "" : "/shards"));
		return 1;
	default:
		break;
	}
	if (!s->collection_id || mute) {
		ask_verdict(a, mute && a->kind == ASK_OPEN ? &no_default : mute ? &no_vectoriser : &unopened);
		a->step = STEP_END;
		return 0;
	}
	return build_records(s, a, r);
}

/* An object's verdict */

/* {"error":[{"message":"…"}]} below what: ""  if there is none.  Borrowed. */
static const char *error_text(json_object *o)
{
	static const char *const message[] = { "message", NULL };
	json_object *list = answer_member(answer_member(o, "errors", json_type_object), "error",
					  json_type_array);
	const char *s = list && json_object_array_length(list)
			? answer_string(json_object_array_get_idx(list, 0), message) : NULL;

	return s ? s : "";
}

static bool same_id(json_object *o, const char *id)
{
	json_object *m = answer_member(o, "id", json_type_string);

	return m && (size_t)json_object_get_string_len(m) == strlen(id) &&
	       !strcasecmp(json_object_get_string(m), id);
}

/* SUCCESS, but an empty vector from the provider, or none at all, is SUCCESS too. */
static void judge_stored(struct verdict *v, struct store *s, const struct object *o, json_object *echo)
{
	size_t n = weaviate_vector_len(echo), want = o->vector ? o->dim : s->dimension;

	if (n && (n == want || !want)) {
		v->scope = VERDICT_OK;
		v->text[0] = '\0';
		if (!s->dimension)
			s->dimension = n;
		return;
	}
	weaviate_set(v, VERDICT_ATTEMPT, false);
	if (n)
		verdict_say(v, "stored with a vector of %zu numbers, not %zu", n, want);
	else
		verdict_say(v, "stored without a vector%s", o->vector ? "" : ": the vectoriser gave none");
}

static void judge_echo(struct store *s, struct ask *a, size_t i, json_object *echo)
{
	static const char *const path[] = { "result", "status", NULL };
	struct verdict *v = &a->objects[i].verdict;
	json_object *result = answer_member(echo, "result", json_type_object);
	json_object *errors = NULL;
	const char *status = answer_string(echo, path), *text = error_text(result);

	json_object_object_get_ex(result, "errors", &errors);
	*v = (struct verdict){ .http = 200 };
	if (status && !strcmp(status, "SUCCESS") && !errors)
		judge_stored(v, s, a->objects[i].object, echo);
	else if (status && !strcmp(status, "FAILED"))
		weaviate_judge_failed(v, s, a, text);
	else
		verdict_say(v, "Weaviate says neither SUCCESS nor FAILED");
}

/* Of a read-only shard only the first object is told to have failed, and the rest to be stored. */
static const struct verdict *read_only(const struct ask *a)
{
	for (size_t i = 0; i < a->n; i++)
		if (strstr(a->objects[i].verdict.text, "read-only"))
			return &a->objects[i].verdict;
	return NULL;
}

static bool echo_fits(json_object *o, const struct ask *a)
{
	if (!json_object_is_type(o, json_type_array) || json_object_array_length(o) != a->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (!same_id(json_object_array_get_idx(o, i), a->objects[i].id))
			return false;
	return true;
}

static bool any_to_check(const struct ask *a)
{
	for (size_t i = 0; i < a->n; i++)
		if (is_wanted(a, i))
			return true;
	return false;
}

/* True if the answer does not stand for the one request that was meant: libcurl found its connection
 * dead and sent it again, and the first copy may have been cut off half done, or come late. */
static bool sent_twice(struct ask *a, struct verdict *v, const struct reply *r)
{
	if (!r->resent)
		return false;
	weaviate_set(v, VERDICT_ATTEMPT, false);
	verdict_say(v, "the connection broke and the request was sent twice");
	weaviate_end(a, v);
	return true;
}

static void judge_write(struct verdict *v, struct store *s, struct ask *a, const struct reply *r)
{
	auto_json json_object *o = answer_json(r);
	const struct verdict *locked;
	struct verdict all;

	if (sent_twice(a, v, r))
		return;
	if (!echo_fits(o, a)) {
		weaviate_unclear(v, r);
		weaviate_end(a, v);
		return;
	}
	for (size_t i = 0; i < a->n; i++)
		judge_echo(s, a, i, json_object_array_get_idx(o, i));
	locked = read_only(a);
	if (locked) {
		all = *locked;
		ask_verdict(a, &all);
	}
	a->step = any_to_check(a) ? UPSERT_CHECK : STEP_END;
	weaviate_summarise(a);
}

static bool list_has(json_object *list, const char *id)
{
	for (size_t i = 0; i < json_object_array_length(list); i++)
		if (!strcasecmp(weaviate_additional_id(json_object_array_get_idx(list, i)), id))
			return true;
	return false;
}

static void judge_upsert_check(struct verdict *v, struct store *s, struct ask *a, const struct reply *r)
{
	auto_json json_object *o = answer_json(r);
	json_object *list = weaviate_object_list(v, s, a, o, a->n, r);
	struct verdict lost = { .scope = VERDICT_ATTEMPT, .http = 200,
				.text = "stored, but the index does not find it" };

	if (!list) {
		v->wrong_shape = false;
		weaviate_end(a, v);
		return;
	}
	for (size_t i = 0; i < a->n; i++)
		if (is_wanted(a, i) && !list_has(list, a->objects[i].id))
			a->objects[i].verdict = lost;
	a->step = STEP_END;
	weaviate_summarise(a);
}

/* A missing object is as good as deleted. */
static void judge_removed(struct verdict *v, struct ask *a, const struct reply *r)
{
	if (sent_twice(a, v, r))
		return;
	if (a->kind == ASK_DELETE)
		a->objects[a->cursor].verdict = (struct verdict){ .scope = VERDICT_OK, .http = r->status };
	a->cursor++;
	if (a->kind == ASK_DELETE && next_again(a, a->cursor) == a->n) {
		a->step = STEP_END;
		weaviate_summarise(a);
	}
}

static int64_t number_of(json_object *o, const char *name)
{
	json_object *m = answer_member(o, name, json_type_int);

	return m ? json_object_get_int64(m) : -1;
}

static void judge_not_deleted(struct verdict *v, const struct store *s, json_object *results)
{
	json_object *list = answer_member(results, "objects", json_type_array);
	const char *text = list && json_object_array_length(list)
			   ? error_text(json_object_array_get_idx(list, 0)) : "";

	verdict_say(v, "%s", *text ? text : "Weaviate deleted less than it matched");
	if (!weaviate_judge_trouble(v, s, text))
		v->scope = VERDICT_ATTEMPT;
}

/* What there is to ask from this step on. */
static void end_touch(struct verdict *v, const struct store *s, struct ask *a, int step)
{
	if (step == TOUCH_SHARDS || (a->blames && s->embeds && s->vectoriser))
		a->step = step;
	else
		weaviate_end(a, v);
}

/* At most 10,000 are deleted at once: the rest is asked for again while that helps. */
static void judge_batch_delete(struct verdict *v, const struct store *s, struct ask *a,
			       const struct reply *r)
{
	auto_json json_object *o = answer_good(r);
	json_object *results = answer_member(o, "results", json_type_object);
	int64_t matches = number_of(results, "matches"), done = number_of(results, "successful");
	int64_t failed = number_of(results, "failed"), most = a->n ? (int64_t)a->n : 1;
	bool again = next_again(a, 0) < a->n;

	if (matches < 0 || matches > most || done < 0 || done > matches || failed < 0 ||
	    weaviate_is_true(o, "dryRun") || a->cursor > a->n) {
		weaviate_unclear(v, r);
	} else if (done == matches && !failed) {
		v->scope = VERDICT_OK;
	} else if (done > 0 && a->kind == ASK_DELETE && !r->resent) {
		a->cursor++;
		return;
	} else {
		judge_not_deleted(v, s, results);
	}
	if (a->kind == ASK_TOUCH && v->scope == VERDICT_OK) {
		end_touch(v, s, a, weaviate_known_by_name(s) ? TOUCH_EMBED : TOUCH_SHARDS);
		return;
	}
	if (v->scope != VERDICT_OK || !again) {
		weaviate_end(a, v);
		return;
	}
	for (size_t i = 0; i < a->n; i++)
		if (!a->objects[i].again)
			a->objects[i].verdict = *v;
	a->step = DELETE_SINGLE;
	a->cursor = 0;
	sent_twice(a, v, r);
}

/* Reading */

static void judge_ready(struct verdict *v, struct store *s, struct ask *a, const struct reply *r)
{
	static const char *const version[] = { "version", NULL }, *const host[] = { "hostname", NULL };
	auto_json json_object *o = NULL;
	const char *text;

	if (a->step == READY_PORT && answer_is_empty(r)) {
		a->step = READY_VERSION;
		return;
	}
	o = a->step == READY_VERSION ? answer_good(r) : NULL;
	text = answer_string(o, version);
	if (!text || *text < '0' || *text > '9' || !answer_string(o, host)) {
		weaviate_unclear(v, r);
	} else {
		free(s->version);
		s->version = xstrdup(text);
		v->scope = VERDICT_OK;
	}
	weaviate_end(a, v);
}

static void judge_ready_refused(struct verdict *v, const struct store *s, const struct reply *r)
{
	autofree char *text = NULL;

	if ((v->scope != VERDICT_OPENING && v->scope != VERDICT_RUN) || r->status < 400)
		return;
	text = answer_words(r);
	v->scope = VERDICT_RUN;
	verdict_say(v, "no Weaviate at '%s': %s", s->url.base, text);
}

static void judge_count_named(struct verdict *v, const struct store *s, struct ask *a, const struct reply *r)
{
	auto_json json_object *o = answer_json(r);
	size_t n = count_at_once(a);
	json_object *list = weaviate_object_list(v, s, a, o, n, r);

	if (!list && n > 1 && strstr(v->text, "query maximum results exceeded")) {
		a->limit = (n + 1) / 2;
		return;
	}
	for (size_t i = 0; list && i < a->n; i++)
		a->count += is_wanted(a, i) && list_has(list, a->objects[i].id);
	a->cursor += n;
	if (list && a->cursor < a->n)
		return;
	if (list)
		v->scope = VERDICT_OK;
	weaviate_end(a, v);
}

static void judge_count(struct verdict *v, const struct store *s, struct ask *a, const struct reply *r)
{
	auto_json json_object *o = answer_json(r);
	json_object *list = weaviate_query_list(v, s, a, o, "Aggregate", r);
	json_object *first = list && json_object_array_length(list) == 1 ? json_object_array_get_idx(list, 0)
									 : NULL;
	int64_t n = number_of(answer_member(first, "meta", json_type_object), "count");

	if (list && n < 0) {
		weaviate_unclear(v, r);
	} else if (n >= 0) {
		a->count = (uint64_t)n;
		v->scope = VERDICT_OK;
	}
	weaviate_end(a, v);
}

/* In the order of their ids: what is not behind the last page would be read for ever. */
static bool in_order(json_object *list, const char *after)
{
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		const char *id = weaviate_additional_id(json_object_array_get_idx(list, i));

		if (strlen(id) != 36 || strcmp(id, after) <= 0)
			return false;
		after = id;
	}
	return true;
}

static void judge_list(struct verdict *v, const struct store *s, struct ask *a, const struct reply *r)
{
	auto_json json_object *o = answer_json(r);
	json_object *list = weaviate_object_list(v, s, a, o, PAGE, r);
	size_t n = list ? json_object_array_length(list) : 0;

	if (list && !in_order(list, a->after))
		weaviate_unclear(v, r);
	else if (list) {
		a->found = xrealloc(a->found, (a->nfound + n) * sizeof(*a->found));
		for (size_t i = 0; i < n; i++) {
			json_object *one = json_object_array_get_idx(list, i);
			const char *id = weaviate_additional_id(one);

			found_take(&a->found[a->nfound++], id, strlen(id), one);
			memcpy(a->after, id, sizeof(a->after));
		}
		a->end = n < PAGE;
		v->scope = VERDICT_OK;
	}
	weaviate_end(a, v);
}

/* No object of that id, or what it holds. */
static void judge_fetched(struct verdict *v, struct store *s, struct ask *a, const struct reply *r)
{
	auto_json json_object *o = r->status == 200 ? answer_good(r) : NULL;
	const char *id = a->objects[a->cursor].id;

	if (r->status == 200) {
		if (!same_id(o, id)) {
			weaviate_unclear(v, r);
			weaviate_end(a, v);
			return;
		}
		a->found = xrealloc(a->found, (a->nfound + 1) * sizeof(*a->found));
		found_take(&a->found[a->nfound++], id, strlen(id),
			   answer_member(o, "properties", json_type_object));
		if (!s->dimension)
			s->dimension = weaviate_vector_len(o);
	}
	if (++a->cursor < a->n)
		return;
	if (a->nfound && s->dimension) {
		a->step = FETCH_CHECK;
		return;
	}
	for (size_t i = 0; i < a->nfound; i++)
		a->found[i].digest[0] = '\0';
	v->scope = VERDICT_OK;
	weaviate_end(a, v);
}

static void judge_fetch_check(struct verdict *v, const struct store *s, struct ask *a,
			      const struct reply *r)
{
	auto_json json_object *o = answer_json(r);
	json_object *list = weaviate_object_list(v, s, a, o, a->n, r);

	/* A vector of another length among them, and the index can be asked about none. */
	for (size_t i = 0; (list || v->wrong_shape) && i < a->nfound; i++)
		if (!list || !list_has(list, a->found[i].id))
			a->found[i].digest[0] = '\0';
	if (list || v->wrong_shape)
		*v = (struct verdict){ .scope = VERDICT_OK, .http = r->status };
	weaviate_end(a, v);
}

static bool is_hit(json_object *o)
{
	json_object *more = answer_member(o, "_additional", json_type_object);

	return answer_member(more, "id", json_type_string) &&
	       (answer_member(more, "distance", json_type_double) ||
		answer_member(more, "distance", json_type_int));
}

/* The filter trims blanks: what it finds of another repository is left out. */
static void take_hits(struct ask *a, json_object *list)
{
	size_t n = json_object_array_length(list);

	a->hits = xcalloc(n, sizeof(*a->hits));
	for (size_t i = 0; i < n; i++) {
		json_object *o = json_object_array_get_idx(list, i), *more, *m[3] = { NULL };
		struct hit *h = &a->hits[a->nhits];

		json_object_object_get_ex(o, "_additional", &more);
		json_object_object_get_ex(more, "id", &m[0]);
		json_object_object_get_ex(o, "content", &m[1]);
		json_object_object_get_ex(more, "distance", &m[2]);
		hit_take(h, m[0], o, m[1], m[2]);
		if (!a->repo || (h->found.repo && !strcmp(h->found.repo, a->repo))) {
			a->nhits++;
			continue;
		}
		free(h->found.repo);
		free(h->found.path);
		free(h->text);
	}
}

static void judge_search(struct verdict *v, const struct store *s, struct ask *a, const struct reply *r)
{
	auto_json json_object *o = answer_json(r);
	json_object *list = weaviate_object_list(v, s, a, o, a->limit, r);
	bool good = list;

	for (size_t i = 0; good && i < json_object_array_length(list); i++)
		good = is_hit(json_object_array_get_idx(list, i));
	if (good) {
		take_hits(a, list);
		v->scope = VERDICT_OK;
	} else if (list) {
		weaviate_unclear(v, r);
	} else if (v->wrong_shape) {
		v->scope = VERDICT_RUN;
	}
	weaviate_end(a, v);
}

/* A write that changes nothing succeeds on a read-only shard too, and where auto-schema has made a class
 * of the same name anew: the shards tell. */
static void judge_touched(struct verdict *v, const struct store *s, struct ask *a, const struct reply *r)
{
	auto_json json_object *o = answer_json(r);
	const char *first = weaviate_first_shard(o);

	if (!*first) {
		weaviate_unclear(v, r);
	} else if (strcmp(first, s->collection_id)) {
		v->scope = VERDICT_RUN;
		verdict_say(v, "collection '%s' was deleted and made anew since it was opened",
			    s->collection);
	} else {
		v->scope = VERDICT_OK;
		for (size_t i = 0; i < json_object_array_length(o); i++)
			if (!strcmp(weaviate_text(json_object_array_get_idx(o, i), "status"), "READONLY")) {
				v->scope = VERDICT_STORE;
				verdict_say(v, "a shard is read-only: disk or memory short, or set so by a user "
					    "(PUT /v1/schema/%s/shards/SHARD {\"status\":\"READY\"})",
					    s->collection);
			}
	}
	if (v->scope == VERDICT_OK)
		end_touch(v, s, a, TOUCH_EMBED);
	else
		weaviate_end(a, v);
}

static void judge_witness(struct verdict *v, const struct store *s, struct ask *a, const struct reply *r)
{
	auto_json json_object *o = answer_json(r);

	if (weaviate_object_list(v, s, a, o, 1, r))
		v->scope = VERDICT_OK;
	weaviate_end(a, v);
}

/* The ends of the paths */

static void judge_good(struct verdict *v, struct store *s, struct ask *a, const struct reply *r)
{
	switch (a->kind) {
	case ASK_READY: judge_ready(v, s, a, r); break;
	case ASK_OPEN: weaviate_judge_open(v, s, a, r); break;
	case ASK_LOOKUP: weaviate_judge_lookup(v, s, a, r); break;
	case ASK_UPSERT:
		if (a->step == UPSERT_WRITE)
			judge_write(v, s, a, r);
		else
			judge_upsert_check(v, s, a, r);
		break;
	case ASK_DELETE: judge_batch_delete(v, s, a, r); break;
	case ASK_TOUCH:
		if (a->step == TOUCH_WRITE)
			judge_batch_delete(v, s, a, r);
		else if (a->step == TOUCH_SHARDS)
			judge_touched(v, s, a, r);
		else
			judge_witness(v, s, a, r);
		break;
	case ASK_COUNT:
		if (a->n)
			judge_count_named(v, s, a, r);
		else
			judge_count(v, s, a, r);
		break;
	case ASK_LIST: judge_list(v, s, a, r); break;
	case ASK_FETCH:
		if (a->step == FETCH_GET)
			judge_fetched(v, s, a, r);
		else
			judge_fetch_check(v, s, a, r);
		break;
	case ASK_SEARCH:
		if (a->limit)
			judge_search(v, s, a, r);
		else
			judge_witness(v, s, a, r);
		break;
	default: break;
	}
}

/* One object is deleted by itself: 204, also for an absent one. */
static bool removes_one(const struct ask *a)
{
	return (a->kind == ASK_UPSERT && a->step == UPSERT_REMOVE) ||
	       (a->kind == ASK_DELETE && a->step == DELETE_SINGLE);
}

/* There is no such object; any other 404 has a body. */
static bool is_absent(const struct reply *r)
{
	return r->status == 404 && !r->body.len;
}

static void judge_bad(struct verdict *v, struct store *s, struct ask *a, const struct reply *r)
{
	weaviate_judge_status(v, s, a, r);
	if (a->kind == ASK_READY) {
		judge_ready_refused(v, s, r);
	} else if (a->kind == ASK_OPEN || a->kind == ASK_LOOKUP) {
		weaviate_judge_open_refused(v, s, a, r);
		return;
	} else if (a->kind == ASK_UPSERT && a->step == UPSERT_CHECK &&
		   (v->scope == VERDICT_REQUEST || v->scope == VERDICT_OBJECT)) {
		v->scope = VERDICT_RUN;	/* not the objects' fault: no index can be asked at all */
	}
	weaviate_end(a, v);
}

static void judge(struct store *s, struct ask *a, const struct reply *r)
{
	struct verdict v = { 0 };

	if (!answer_came(&v, r)) {
		weaviate_end(a, &v);
		return;
	}
	v.http = r->status;
	if (removes_one(a) && (r->status == 204 || is_absent(r)))
		judge_removed(&v, a, r);
	else if (a->kind == ASK_FETCH && a->step == FETCH_GET && is_absent(r))
		judge_fetched(&v, s, a, r);
	else if (r->status == 200 && !removes_one(a))
		judge_good(&v, s, a, r);
	else
		judge_bad(&v, s, a, r);
}

const struct driver drv_weaviate = {
	.name = "weaviate",
	.role = "store",
	.example = "weaviate:http://localhost:8080",
	.key_names = { "WEAVIATE_API_KEY", "WCD_API_KEY" },
	.key_header = "Authorization: Bearer ",
	.url_option = "--store",
	.key_option = "--api-key-file",
	.vectorises = true,
	.batch_size = 100,
	.embeds_batch_size = 32,	/* the provider can be asked for one text after another */
	.batch_bytes = 4 << 20,
	.connections = 2,
	.timeout_ms = 120000,	/* it works on when nobody waits, and hanging up is what does harm */
	.idle_s = 8,		/* it closes at 10 */
	.late_s = 60,
	.lasts_after_next = true,
	.again_is_upsert = false,
	.first_write_alone = true,
	.check_name = weaviate_check_name,
	.object_bytes = object_bytes,
	.build = build,
	.judge = judge,
};
