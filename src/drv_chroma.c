/* Chroma, HTTP API v2 (/api/v2); answers as seen from server 1.0.0, 1.4.4 and 1.5.9.
 *
 * What proves that Chroma itself took a request, and not a gateway before it that says 200 to anything:
 *
 *     heartbeat     {"nanosecond heartbeat":N}
 *     pre-flight    {"max_batch_size":N}, and where it is there "supports_base64_encoding" is a boolean
 *     collection    its "id", a UUID, beside the "name" that was asked for
 *     upsert        {} and nothing else: it has no member by which it could be told from others
 *     delete        {"deleted":N}, no more than were named; 1.0.0 says {}
 *     count         a bare number
 *     get, query    columns of equal length, no longer than asked for, of what belongs into them
 *
 * Members beside these may be what a later release adds, unless they tell of a failure (answer_good()).
 * All else is unclear: it is sent again, and charged to nobody as refused.
 *
 * Writes are all or nothing: Chroma checks a whole request before it stores any of it, and its
 * answer names no object.  So every object of a request shares one verdict.  An upsert merges into
 * what is stored: a property that is left out would keep its old value, so each is always sent.
 *
 * /api/v2/version answers "1.0.0" on every release, so the version is never known. */
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "buf.h"
#include "cleanup.h"
#include "driver.h"
#include "driver_json.h"
#include "json.h"
#include "text.h"

#define METRIC "cosine"
#define PAGE 1000

enum { STEP_FIRST, STEP_SECOND, STEP_END };

static bool alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static int check_name(const char *name, char **changed, char **why)
{
	size_t n = strlen(name), i;

	*changed = NULL;
	*why = NULL;
	for (i = 0; i < n; i++)
		if (!alnum(name[i]) && !strchr("._-", name[i]))
			break;
	if (i == n && n >= 3 && n <= 512 && alnum(name[0]) && alnum(name[n - 1]))
		return 0;
	*why = xasprintf("Chroma wants a collection's name of 3 to 512 letters, digits, '.', '_' "
			 "and '-', with a letter or digit at both ends");
	return -1;
}

/* Requests */

/* The address of the database's collections; store_url has already percent-encoded its path. */
static void url_collections(struct buf *out, const struct store *s)
{
	const char *path = *s->url.path ? s->url.path : "/default_tenant/default_database";
	const char *database = strchr(path + 1, '/');
	size_t tenant = database ? (size_t)(database - path) : strlen(path);

	buf_addf(out, "%s/api/v2/tenants%.*s/databases%s/collections", s->url.base, (int)tenant,
		 path, database ? database : "/default_database");
}

static char *url_by_name(const struct store *s)
{
	auto_buf struct buf out = BUF_INIT;

	url_collections(&out, s);
	buf_addc(&out, '/');
	percent_encode(&out, s->collection, strlen(s->collection));
	return buf_detach(&out);
}

static char *url_by_id(const struct store *s, const char *call)
{
	auto_buf struct buf out = BUF_INIT;

	url_collections(&out, s);
	buf_addc(&out, '/');
	percent_encode(&out, s->collection_id, strlen(s->collection_id));
	buf_addc(&out, '/');
	buf_adds(&out, call);
	return buf_detach(&out);
}

static void build_create(const struct store *s, struct request *r)
{
	auto_buf struct buf url = BUF_INIT;

	url_collections(&url, s);
	r->method = "POST";
	r->url = buf_detach(&url);
	buf_adds(&r->body, "{\"name\":");
	json_cstr(&r->body, s->collection);
	buf_adds(&r->body, ",\"get_or_create\":true,\"configuration\":"
			   "{\"hnsw\":{\"space\":\"" METRIC "\"}}}");
}

static void add_ids(struct buf *b, const struct ask *a)
{
	buf_adds(b, "{\"ids\":[");
	for (size_t i = 0; i < a->n; i++) {
		if (i)
			buf_addc(b, ',');
		json_cstr(b, a->objects[i].id);
	}
	buf_addc(b, ']');
}

/* The names of the four columns stand once in a request: the room left for numbers covers them. */
static size_t object_bytes(const struct store *s, const struct object *o)
{
	size_t n = sizeof(o->id) + 8 + json_str_size(o->text, o->text_len);

	n += s->base64 ? (o->dim * 4 + 2) / 3 * 4 + 2 : o->dim * 16 + 2;
	return n + object_props_size(o);
}

static size_t upsert_size(const struct store *s, const struct ask *a)
{
	size_t n = 0;

	for (size_t i = 0; i < a->n; i++)
		n += object_bytes(s, a->objects[i].object);
	return n;
}

static void add_vectors(const struct store *s, const struct ask *a, struct buf *b)
{
	for (size_t i = 0; i < a->n; i++) {
		const struct object *o = a->objects[i].object;

		if (i)
			buf_addc(b, ',');
		if (s->base64)
			vector_base64(b, o->vector, o->dim);
		else
			vector_numbers(b, o->vector, o->dim);
	}
}

static void build_upsert(const struct store *s, const struct ask *a, struct buf *b)
{
	buf_reserve(b, upsert_size(s, a));
	add_ids(b, a);
	buf_adds(b, ",\"embeddings\":[");
	add_vectors(s, a, b);
	buf_adds(b, "],\"documents\":[");
	for (size_t i = 0; i < a->n; i++) {
		if (i)
			buf_addc(b, ',');
		json_str(b, a->objects[i].object->text, a->objects[i].object->text_len);
	}
	buf_adds(b, "],\"metadatas\":[");
	for (size_t i = 0; i < a->n; i++) {
		bool first = true;

		buf_adds(b, i ? ",{" : "{");
		object_props(b, &first, a->objects[i].object, true);
		buf_addc(b, '}');
	}
	buf_adds(b, "]}");
}

/* A query's vectors are numbers even where upserts may bring base64. */
static void build_search(const struct ask *a, struct buf *b)
{
	buf_adds(b, "{\"query_embeddings\":[");
	vector_numbers(b, a->vector, a->dim);
	buf_addf(b, "],\"n_results\":%zu", a->limit);
	if (a->repo) {
		buf_adds(b, ",\"where\":{\"repository\":");
		json_cstr(b, a->repo);
		buf_addc(b, '}');
	}
	buf_adds(b, ",\"include\":[\"documents\",\"metadatas\",\"distances\"]}");
}

/* What goes to the collection itself, by its id. */
static void build_records(const struct store *s, const struct ask *a, struct request *r)
{
	r->method = "POST";
	switch (a->kind) {
	case ASK_UPSERT:
		r->url = url_by_id(s, "upsert");
		build_upsert(s, a, &r->body);
		break;
	case ASK_DELETE:
		r->url = url_by_id(s, "delete");
		add_ids(&r->body, a);
		buf_addc(&r->body, '}');
		break;
	case ASK_TOUCH:
		r->url = url_by_id(s, "delete");
		buf_adds(&r->body, "{\"ids\":[\"" NO_ID "\"]}");
		break;
	case ASK_LIST:
		r->url = url_by_id(s, "get");
		buf_addf(&r->body, "{\"limit\":%d,\"offset\":%llu,\"include\":[\"metadatas\"]}",
			 PAGE, (unsigned long long)a->cursor);
		break;
	case ASK_FETCH:
		r->url = url_by_id(s, "get");
		add_ids(&r->body, a);
		buf_adds(&r->body, ",\"include\":[\"metadatas\"]}");
		break;
	case ASK_SEARCH:
		r->url = url_by_id(s, "query");
		build_search(a, &r->body);
		break;
	case ASK_COUNT:
		if (a->n) {
			r->url = url_by_id(s, "get");
			add_ids(&r->body, a);
			buf_adds(&r->body, ",\"include\":[]}");
			break;
		}
		/* fall through */
	default:
		r->method = "GET";
		r->url = url_by_id(s, "count");
		break;
	}
}

static int build(const struct store *s, struct ask *a, struct request *r)
{
	static const struct verdict unopened = {
		.scope = VERDICT_OPENING, .kept_nothing = true,
		.text = "the collection's id is not known"
	};
	static const struct verdict no_vectoriser = {
		.scope = VERDICT_RUN, .kept_nothing = true,
		.text = "a Chroma server makes no vectors of its own"
	};

	if (a->step == STEP_END)
		return 0;
	r->method = "GET";
	switch (a->kind) {
	case ASK_READY:
		r->url = xasprintf("%s/api/v2/%s", s->url.base,
				   a->step == STEP_FIRST ? "heartbeat" : "pre-flight-checks");
		return 1;
	case ASK_OPEN:
	case ASK_LOOKUP:
		if (a->step == STEP_SECOND)
			build_create(s, r);
		else
			r->url = url_by_name(s);
		return 1;
	default:
		break;
	}
	if (!s->collection_id || (a->kind == ASK_SEARCH && !a->vector)) {
		ask_verdict(a, s->collection_id ? &no_vectoriser : &unopened);
		a->step = STEP_END;
		return 0;
	}
	build_records(s, a, r);
	return 1;
}

/* Verdicts */

static void judge_status(struct verdict *v, const struct ask *a, const struct reply *r)
{
	autofree char *text = answer_words(r);

	verdict_say(v, "%s", text);
	if (answer_access(v, r))
		return;
	switch (r->status) {
	case 404:
		v->scope = VERDICT_OPENING;
		v->kept_nothing = true;
		return;
	case 425:
		v->scope = VERDICT_STORE;
		v->kept_nothing = true;
		return;
	case 502: case 503: case 504:
		v->scope = VERDICT_STORE;
		return;
	case 408: case 500:
		/* With a full disk, Chroma answers 500 and has stored the batch. */
		v->scope = VERDICT_ATTEMPT;
		return;
	}
	if (r->status >= 400 && r->status < 500) {
		answer_refused(v, a, text);
		v->wrong_shape = strstr(text, "imension") != NULL;
	} else if (r->status >= 300 && r->status < 400) {
		v->scope = VERDICT_RUN;
		verdict_say(v, "the store redirects (HTTP %ld) to '%s'", r->status, r->location);
	}
}

/* The whole number of that name, or -1. */
static int64_t number_of(json_object *o, const char *name)
{
	json_object *m = answer_member(o, name, json_type_int);

	return m && json_object_get_int64(m) >= 0 ? json_object_get_int64(m) : -1;
}

static void judge_ready(struct verdict *v, struct store *s, struct ask *a, const struct reply *r)
{
	auto_json json_object *o = answer_good(r);
	json_object *base64 = NULL;
	int64_t most = number_of(o, "max_batch_size");

	if (a->step == STEP_FIRST) {
		if (number_of(o, "nanosecond heartbeat") < 0)
			answer_unclear(v, r, "Chroma");
		else
			a->step = STEP_SECOND;
		return;
	}
	json_object_object_get_ex(o, "supports_base64_encoding", &base64);
	if (most < 0 || (base64 && !json_object_is_type(base64, json_type_boolean))) {
		answer_unclear(v, r, "Chroma");
		return;
	}
	v->scope = VERDICT_OK;
	s->base64 = base64 && json_object_get_boolean(base64);
	s->max_batch = (size_t)most;
}

/* hnsw is null on a distributed Chroma, and both may be where only the schema says it. */
static const char *metric(json_object *o)
{
	static const char *const paths[][8] = {
		{ "configuration_json", "hnsw", "space" },
		{ "configuration_json", "spann", "space" },
		{ "schema", "keys", "#embedding", "float_list", "vector_index", "config", "space" },
		{ "schema", "defaults", "float_list", "vector_index", "config", "space" },
	};
	const char *s = NULL;

	for (size_t i = 0; !s && i < sizeof(paths) / sizeof(paths[0]); i++)
		s = answer_string(o, paths[i]);
	return s ? s : "unknown";
}

static bool is_uuid(const char *s)
{
	for (size_t i = 0; i < 36; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? s[i] != '-' : !s[i] || !strchr("0123456789abcdefABCDEF", s[i]))
			return false;
	}
	return !s[36];
}

/* The collection that was asked for: its dimension is null until something is written. */
static bool is_collection(const struct store *s, json_object *o)
{
	static const char *const id[] = { "id", NULL }, *const name[] = { "name", NULL };
	const char *has_id = answer_string(o, id), *has_name = answer_string(o, name);
	json_object *dim = NULL;

	json_object_object_get_ex(o, "dimension", &dim);
	return has_id && is_uuid(has_id) && has_name && !strcmp(has_name, s->collection) &&
	       (!dim || json_object_is_type(dim, json_type_int));
}

static void judge_collection(struct verdict *v, struct store *s, struct ask *a,
			     const struct reply *r)
{
	auto_json json_object *o = answer_good(r);
	json_object *id = answer_member(o, "id", json_type_string);
	json_object *dim = answer_member(o, "dimension", json_type_int);

	if (!is_collection(s, o)) {
		answer_unclear(v, r, "Chroma");
		return;
	}
	if (strcmp(metric(o), METRIC)) {
		v->scope = VERDICT_RUN;
		verdict_say(v, "collection '%s' has the metric '%s', not '%s'", s->collection, metric(o),
		    METRIC);
		return;
	}
	free(s->collection_id);
	s->collection_id = xstrdup(json_object_get_string(id));
	s->dimension = dim && json_object_get_int64(dim) > 0 ? (size_t)json_object_get_int64(dim) : 0;
	if (a->kind == ASK_OPEN)
		s->existed = a->step == STEP_FIRST;
	v->scope = VERDICT_OK;
}

/* Finding and making the collection: what would spoil one request there spoils the run. */
static void judge_open_refused(struct verdict *v, const struct store *s, struct ask *a,
			       const struct reply *r)
{
	const char *where = *s->url.path ? s->url.path : "/default_tenant/default_database";
	autofree char *text = answer_words(r);
	bool missing = r->status == 404 && a->step == STEP_FIRST;

	if (missing && a->kind == ASK_OPEN && a->create) {
		a->step = STEP_SECOND;
		*v = (struct verdict){ 0 };
		return;
	}
	if (v->scope != VERDICT_OPENING && v->scope != VERDICT_RUN)
		return;
	if (r->status >= 300 && r->status < 400)
		return;
	v->scope = VERDICT_RUN;
	if (missing && a->kind == ASK_LOOKUP)
		verdict_say(v, "collection '%s' is gone", s->collection);
	else if (a->step == STEP_FIRST)
		verdict_say(v, "cannot open collection '%s' in '%s': %s", s->collection, where + 1, text);
	else
		verdict_say(v, "cannot create collection '%s' in '%s': %s", s->collection, where + 1, text);
}

static void judge_ready_refused(struct verdict *v, struct store *s, struct ask *a,
				const struct reply *r)
{
	autofree char *text = NULL;

	if (v->scope != VERDICT_OPENING && v->scope != VERDICT_RUN)
		return;
	if (a->step == STEP_SECOND && r->status >= 400) {
		/* A server without this call works, with plain numbers. */
		s->base64 = false;
		s->max_batch = 0;
		v->scope = VERDICT_OK;
		v->text[0] = '\0';
	} else if (r->status >= 400) {
		text = answer_words(r);
		v->scope = VERDICT_RUN;
		verdict_say(v, "no Chroma with API v2 at '%s': %s", s->url.base, text);
	}
}

/* Chroma gives each id once, and leaves out what it does not have. */
static void judge_count_named(struct verdict *v, struct ask *a, const struct reply *r)
{
	auto_json json_object *o = answer_good(r);
	json_object *ids = answer_member(o, "ids", json_type_array);
	size_t n = ids ? json_object_array_length(ids) : 0;
	bool known = ids && n <= a->n;

	for (size_t i = 0; known && i < n; i++) {
		const char *id = json_object_get_string(json_object_array_get_idx(ids, i));

		known = id && ask_has(a, id);
	}
	if (!known) {
		answer_unclear(v, r, "Chroma");
		return;
	}
	a->count = n;
	v->scope = VERDICT_OK;
}

static void judge_count(struct verdict *v, struct ask *a, const struct reply *r)
{
	auto_json json_object *o = answer_json(r);

	if (!json_object_is_type(o, json_type_int) || json_object_get_int64(o) < 0) {
		answer_unclear(v, r, "Chroma");
		return;
	}
	a->count = (uint64_t)json_object_get_int64(o);
	v->scope = VERDICT_OK;
}

static bool all_of_type(json_object *array, json_type type, json_type or_type)
{
	for (size_t i = 0; i < json_object_array_length(array); i++) {
		json_type t = json_object_get_type(json_object_array_get_idx(array, i));

		if (t != type && t != or_type)
			return false;
	}
	return true;
}

static void judge_get(struct verdict *v, struct ask *a, const struct reply *r)
{
	auto_json json_object *o = answer_good(r);
	json_object *ids = answer_member(o, "ids", json_type_array);
	json_object *metas = answer_member(o, "metadatas", json_type_array);
	size_t n = ids ? json_object_array_length(ids) : 0;

	if (!ids || !metas || json_object_array_length(metas) != n ||
	    n > (a->kind == ASK_LIST ? PAGE : a->n) ||
	    !all_of_type(ids, json_type_string, json_type_string) ||
	    !all_of_type(metas, json_type_object, json_type_null)) {
		answer_unclear(v, r, "Chroma");
		return;
	}
	a->found = xrealloc(a->found, (a->nfound + n) * sizeof(*a->found));
	for (size_t i = 0; i < n; i++) {
		json_object *id = json_object_array_get_idx(ids, i);

		/* Chroma answers in its own order, and leaves out what it does not have. */
		if (a->kind == ASK_FETCH && !ask_has(a, json_object_get_string(id)))
			continue;
		found_take(&a->found[a->nfound++], json_object_get_string(id),
			   (size_t)json_object_get_string_len(id),
			   json_object_array_get_idx(metas, i));
	}
	if (a->kind == ASK_LIST) {
		a->cursor += n;
		a->end = n < PAGE;
	}
	v->scope = VERDICT_OK;
}

/* The column of that name for the one vector that was asked about: an array of n, or NULL. */
static json_object *column(json_object *o, const char *name, size_t n)
{
	json_object *all = answer_member(o, name, json_type_array), *one;

	if (!all || json_object_array_length(all) != 1)
		return NULL;
	one = json_object_array_get_idx(all, 0);
	return json_object_is_type(one, json_type_array) && json_object_array_length(one) == n ? one : NULL;
}

static size_t count_first(json_object *ids)
{
	json_object *first = ids && json_object_array_length(ids) == 1 ? json_object_array_get_idx(ids, 0)
								       : NULL;

	return json_object_is_type(first, json_type_array) ? json_object_array_length(first) : 0;
}

static void judge_search(struct verdict *v, struct ask *a, const struct reply *r)
{
	auto_json json_object *o = answer_good(r);
	size_t n = count_first(answer_member(o, "ids", json_type_array));
	json_object *ids = column(o, "ids", n), *metas = column(o, "metadatas", n);
	json_object *texts = column(o, "documents", n), *distances = column(o, "distances", n);

	if (!ids || !metas || !texts || !distances || n > a->limit ||
	    !all_of_type(ids, json_type_string, json_type_string) ||
	    !all_of_type(metas, json_type_object, json_type_null) ||
	    !all_of_type(texts, json_type_string, json_type_null) ||
	    !all_of_type(distances, json_type_double, json_type_int)) {
		answer_unclear(v, r, "Chroma");
		return;
	}
	a->hits = xcalloc(n, sizeof(*a->hits));
	for (size_t i = 0; i < n; i++)
		hit_take(&a->hits[i], json_object_array_get_idx(ids, i), json_object_array_get_idx(metas, i),
			 json_object_array_get_idx(texts, i), json_object_array_get_idx(distances, i));
	a->nhits = n;
	v->scope = VERDICT_OK;
}

static void judge_write(struct verdict *v, const struct ask *a, const struct reply *r)
{
	auto_json json_object *o = answer_good(r);
	bool bare = json_object_is_type(o, json_type_object) && json_object_object_length(o) == 0;
	int64_t deleted = a->kind == ASK_UPSERT ? -1 : number_of(o, "deleted");

	if (bare || (deleted >= 0 && (uint64_t)deleted <= (a->n ? a->n : 1)))
		v->scope = VERDICT_OK;
	else
		answer_unclear(v, r, "Chroma");
}

static void judge_good(struct verdict *v, struct store *s, struct ask *a, const struct reply *r)
{
	switch (a->kind) {
	case ASK_READY: judge_ready(v, s, a, r); break;
	case ASK_OPEN:
	case ASK_LOOKUP: judge_collection(v, s, a, r); break;
	case ASK_UPSERT:
	case ASK_DELETE:
	case ASK_TOUCH: judge_write(v, a, r); break;
	case ASK_COUNT:
		if (a->n)
			judge_count_named(v, a, r);
		else
			judge_count(v, a, r);
		break;
	case ASK_LIST:
	case ASK_FETCH: judge_get(v, a, r); break;
	case ASK_SEARCH: judge_search(v, a, r); break;
	default: break;
	}
}

static void judge_answer(struct verdict *v, struct store *s, struct ask *a, const struct reply *r)
{
	v->http = r->status;
	if (r->status == 200) {
		judge_good(v, s, a, r);
		return;
	}
	judge_status(v, a, r);
	if (a->kind == ASK_READY)
		judge_ready_refused(v, s, a, r);
	else if (a->kind == ASK_OPEN || a->kind == ASK_LOOKUP)
		judge_open_refused(v, s, a, r);
}

static void judge(struct store *s, struct ask *a, const struct reply *r)
{
	struct verdict v = { 0 };
	int step = a->step;

	if (answer_came(&v, r))
		judge_answer(&v, s, a, r);
	if (a->step == step)
		a->step = STEP_END;
	ask_verdict(a, &v);
}

const struct driver drv_chroma = {
	.name = "chroma",
	.role = "store",
	.example = "chroma:http://localhost:8000[/TENANT/DATABASE]",
	.key_names = { "CHROMA_TOKEN" },
	.key_header = "x-chroma-token: ",
	.url_option = "--store",
	.key_option = "--api-key-file",
	.batch_size = 250,
	.batch_bytes = 8 << 20,
	.connections = 1,
	.timeout_ms = 60000,
	.idle_s = 30,
	.late_s = 10,
	.again_is_upsert = true,
	.first_write_alone = true,
	.check_name = check_name,
	.object_bytes = object_bytes,
	.build = build,
	.judge = judge,
};
