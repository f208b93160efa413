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
#include "blank.h"
#include "buf.h"
#include "cleanup.h"
#include "driver.h"
#include "driver_json.h"
#include "json.h"
#include "strip.h"
#include "text.h"

#define METRIC "cosine"
#define PAGE 1000
#define SAMPLE 10		/* objects that are looked at for the length of a vector */
#define NAME_MAX_LEN 255
#define WITNESS_TEXT "linesync"	/* embedded to see whether the provider of a vectoriser answers */
#define PROBE_WORDS "made by linesync to learn the default vectoriser; can be deleted"

/* ask.step.  ask.cursor counts within some of them. */
enum { STEP_END = -1 };
enum { READY_PORT, READY_VERSION };
enum {
	OPEN_CLASS,
	OPEN_PROBE,		/* a class without any setting tells the server's default vectoriser, */
	OPEN_PROBE_LOOK,	/* also one that was left behind; */
	OPEN_PROBE_REMOVE,	/* the collection itself must name it, to say what is vectorised */
	OPEN_CREATE,
	OPEN_HALF_LOOK,		/* a create that failed can leave a class without an index: */
	OPEN_HALF,
	OPEN_HALF_REMOVE,	/* every later write to it would fail */
	OPEN_PROPERTY,		/* count: which one; cursor: how many were added */
	OPEN_SHARDS,
	OPEN_SAMPLE
};
enum { UPSERT_REMOVE, UPSERT_WRITE, UPSERT_CHECK };	/* cursor: the next object to remove */
enum { DELETE_BATCH, DELETE_SINGLE };			/* cursor: rounds; the next object */
enum { FETCH_GET, FETCH_CHECK };			/* cursor: the next object */
enum { TOUCH_WRITE, TOUCH_SHARDS, TOUCH_EMBED };

/* Names */

static bool word_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static bool letter(char c)
{
	return word_char(c) && c != '_' && !(c >= '0' && c <= '9');
}

static char upper(char c)
{
	return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

/* A name like this one that Weaviate takes: each run of other characters is one '_'. */
static char *mended_name(const char *name)
{
	auto_buf struct buf b = BUF_INIT;

	for (; *name && b.len < NAME_MAX_LEN; name++)
		if (word_char(*name))
			buf_addc(&b, *name);
		else if (b.len && b.data[b.len - 1] != '_')
			buf_addc(&b, '_');
	while (b.len && b.data[b.len - 1] == '_')
		b.data[--b.len] = '\0';
	if (!b.len)
		return xstrdup("Code");
	if (!letter(b.data[0]))
		return xasprintf("C%.*s", NAME_MAX_LEN - 1, b.data);
	b.data[0] = upper(b.data[0]);
	return buf_detach(&b);
}

static int check_name(const char *name, char **changed, char **why)
{
	autofree char *mended = NULL;
	size_t n = strlen(name), i;

	*changed = NULL;
	*why = NULL;
	for (i = 0; i < n && word_char(name[i]); i++)
		;
	if (i == n && n && n <= NAME_MAX_LEN && letter(name[0])) {
		if (upper(name[0]) == name[0])
			return 0;
		*changed = xstrdup(name);
		(*changed)[0] = upper(name[0]);
		return 0;
	}
	mended = mended_name(name);
	*why = xasprintf("Weaviate wants a collection's name of at most %d letters, digits and '_', a "
			 "letter first; '%s' would do", NAME_MAX_LEN, mended);
	return -1;
}

/* The collection's shape */

enum tokens { NO_TOKENS, WHOLE, WORDS, NOT_INDEXED };

static const struct property {
	const char *name, *type;
	enum tokens tokens;
} properties[] = {
	{ "file_path", "text", WHOLE },
	{ "file_name", "text", WHOLE },
	{ "repository", "text", WHOLE },
	{ "content", "text", WORDS },
	{ "language", "text", WHOLE },
	{ "extension", "text", WHOLE },
	{ "mime_type", "text", WHOLE },
	{ "size_bytes", "int", NO_TOKENS },
	{ "line_count", "int", NO_TOKENS },
	{ "content_hash", "text", WHOLE },
	{ "truncated", "boolean", NO_TOKENS },
	{ "chunk_index", "int", NO_TOKENS },
	{ "chunk_count", "int", NO_TOKENS },
	{ "start_line", "int", NO_TOKENS },
	{ "end_line", "int", NO_TOKENS },
	{ "charset", "text", WHOLE },
	{ "synced_at", "date", NO_TOKENS },
	{ "metadata", "text", NOT_INDEXED },
	{ "sync_digest", "text", WHOLE },
};
#define PROPERTIES (sizeof(properties) / sizeof(properties[0]))

/* With a vectoriser, the content alone is what it reads. */
static void add_property(struct buf *b, const struct property *p, const char *vectoriser)
{
	buf_addf(b, "{\"name\":\"%s\",\"dataType\":[\"%s\"]", p->name, p->type);
	if (p->tokens == WHOLE)
		buf_adds(b, ",\"tokenization\":\"field\",\"indexSearchable\":false");
	else if (p->tokens == WORDS)
		buf_adds(b, ",\"tokenization\":\"word\"");
	else if (p->tokens == NOT_INDEXED)
		buf_adds(b, ",\"indexFilterable\":false,\"indexSearchable\":false");
	if (vectoriser) {
		buf_adds(b, ",\"moduleConfig\":{");
		json_cstr(b, vectoriser);
		buf_addf(b, ":{\"skip\":%s,\"vectorizePropertyName\":false}}",
			 p->tokens == WORDS ? "false" : "true");
	}
	buf_addc(b, '}');
}

static void add_class(struct buf *b, const struct store *s)
{
	buf_addf(b, "{\"class\":\"%s\",\"vectorizer\":", s->collection);
	json_cstr(b, s->vectoriser ? s->vectoriser : "none");
	if (s->vectoriser) {
		buf_adds(b, ",\"moduleConfig\":{");
		json_cstr(b, s->vectoriser);
		buf_adds(b, ":{\"vectorizeClassName\":false}}");
	}
	buf_adds(b, ",\"vectorIndexConfig\":{\"distance\":\"" METRIC "\"},\"properties\":[");
	for (size_t i = 0; i < PROPERTIES; i++) {
		if (i)
			buf_addc(b, ',');
		add_property(b, &properties[i], s->vectoriser);
	}
	buf_adds(b, "]}");
}

/* Requests */

static void call(struct request *r, const char *method, char *url)
{
	r->method = method;
	r->url = url;
}

static char *url_of(const struct store *s, const char *path)
{
	return xasprintf("%s/v1/%s", s->url.base, path);
}

static char *url_class(const struct store *s, const char *below)
{
	return xasprintf("%s/v1/schema/%s%s", s->url.base, s->collection, below);
}

static char *url_object(const struct store *s, const char *id, const char *query)
{
	return xasprintf("%s/v1/objects/%s/%s%s", s->url.base, s->collection, id, query);
}

static char *probe_name(const struct store *s)
{
	return xasprintf("%.230s_linesync_probe", s->collection);
}

static char *url_probe(const struct store *s)
{
	autofree char *name = probe_name(s);

	return xasprintf("%s/v1/schema/%s", s->url.base, name);
}

static void send_query(const struct store *s, struct request *r, const struct buf *query)
{
	call(r, "POST", url_of(s, "graphql"));
	buf_adds(&r->body, "{\"query\":");
	json_str(&r->body, query->data, query->len);
	buf_addc(&r->body, '}');
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
	send_query(s, r, &q);
}

static void build_batch_delete(const struct store *s, const struct ask *a, struct request *r)
{
	call(r, "DELETE", url_of(s, "batch/objects"));
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
	call(r, "POST", url_of(s, "batch/objects"));
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
			call(r, "DELETE", url_object(s, a->objects[a->cursor].id, ""));
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
	call(r, "DELETE", url_object(s, a->objects[a->cursor].id, ""));
	return 1;
}

static void build_open(const struct store *s, const struct ask *a, struct request *r)
{
	static const struct property *const all = properties;
	auto_buf struct buf q = BUF_INIT;
	autofree char *probe = probe_name(s);

	switch (a->step) {
	case OPEN_PROBE:
		call(r, "POST", url_of(s, "schema"));
		buf_addf(&r->body, "{\"class\":\"%s\",\"description\":\"" PROBE_WORDS "\"}", probe);
		break;
	case OPEN_PROBE_LOOK: call(r, "GET", url_probe(s)); break;
	case OPEN_PROBE_REMOVE: call(r, "DELETE", url_probe(s)); break;
	case OPEN_CREATE:
		call(r, "POST", url_of(s, "schema"));
		add_class(&r->body, s);
		break;
	case OPEN_HALF_REMOVE: call(r, "DELETE", url_class(s, "")); break;
	case OPEN_PROPERTY:
		call(r, "POST", url_class(s, "/properties"));
		add_property(&r->body, &all[a->count], s->vectoriser);
		break;
	case OPEN_HALF:
	case OPEN_SHARDS: call(r, "GET", url_class(s, "/shards")); break;
	case OPEN_SAMPLE:
		buf_addf(&q, "{Get{%s(limit:%d){_additional{vector}}}}", s->collection, SAMPLE);
		send_query(s, r, &q);
		break;
	default: call(r, "GET", url_class(s, "")); break;
	}
}

static void build_list(const struct store *s, const struct ask *a, struct request *r)
{
	auto_buf struct buf q = BUF_INIT;

	buf_addf(&q, "{Get{%s(limit:%d,after:", s->collection, PAGE);
	json_cstr(&q, a->after);
	buf_adds(&q, "){file_path repository chunk_index sync_digest _additional{id}}}}");
	send_query(s, r, &q);
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
	send_query(s, r, &q);
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
	send_query(s, r, &q);
}

static int build_fetch(const struct store *s, const struct ask *a, struct request *r)
{
	if (a->step == FETCH_CHECK)
		build_check(s, a, r);
	else if (a->cursor < a->n)
		call(r, "GET", url_object(s, a->objects[a->cursor].id, "?include=vector"));
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
	send_query(s, r, &q);
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
			call(r, "GET", url_class(s, "/shards"));
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

/* A collection has no id of its own, but the name of its first shard is made at random with it.  Where
 * shards may not be read, its name stands for it. */
static bool known_by_name(const struct store *s)
{
	return s->collection_id && !strcmp(s->collection_id, s->collection);
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
		call(r, "GET", url_of(s, a->step == READY_PORT ? ".well-known/ready" : "meta"));
		return 1;
	case ASK_OPEN:
		if (mute)
			break;
		build_open(s, a, r);
		return 1;
	case ASK_LOOKUP:
		call(r, "GET", url_class(s, known_by_name(s) ? "" : "/shards"));
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

/* Verdicts */

static void unclear(struct verdict *v, const struct reply *r)
{
	answer_unclear(v, r, "Weaviate");
}

static void set(struct verdict *v, enum verdict_scope scope, bool kept_nothing)
{
	v->scope = scope;
	v->kept_nothing = kept_nothing;
}

/* A shard that is read-only because disk or memory run short opens again by itself. */
static void judge_read_only(struct verdict *v, const struct store *s, const char *text)
{
	set(v, VERDICT_STORE, false);
	if (strstr(text, "by user"))
		verdict_say(v, "a shard was set read-only by a user: PUT %s/v1/schema/%s/shards/SHARD "
			    "{\"status\":\"READY\"}", s->url.base, s->collection);
}

/* What can go wrong in every write, in the words of an object's verdict or of the whole answer.
 * Returns false if it is none of that. */
static bool judge_trouble(struct verdict *v, const struct store *s, const char *text)
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
		set(v, VERDICT_STORE, false);
		verdict_say(v, "the server's disk is full; free space, then restart the server: %s", text);
	} else if (strstr(text, "not enough memory")) {
		set(v, VERDICT_ATTEMPT, strstr(text, "cannot process batch") != NULL);
	} else if (says_any(text, no_class)) {
		set(v, VERDICT_OPENING, true);
	} else if (says_any(text, no_index)) {
		set(v, VERDICT_OPENING, false);
	} else if (strstr(text, "usage limit exceeded")) {
		set(v, VERDICT_RUN, true);
	} else if (says_any(text, cut_off)) {
		set(v, VERDICT_ATTEMPT, false);
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

static void judge_status(struct verdict *v, const struct store *s, const struct ask *a,
			 const struct reply *r)
{
	autofree char *text = answer_words(r);

	verdict_say(v, "%s", text);
	if (judge_access(v, r, text))
		return;
	if (r->status >= 300 && r->status < 400) {
		v->scope = VERDICT_RUN;
		verdict_say(v, "the store redirects (HTTP %ld) to '%s'", r->status, r->location);
	} else if (r->status == 404)
		set(v, VERDICT_OPENING, true);
	else if (r->status == 425)
		set(v, VERDICT_STORE, true);
	else if (r->status == 502 || r->status == 503 || r->status == 504)
		v->scope = VERDICT_STORE;
	else if (r->status == 408 || r->status == 500 || r->status == 422) {
		if (judge_trouble(v, s, text))
			return;
		v->scope = VERDICT_ATTEMPT;
		if (r->status == 422)
			answer_refused(v, a, text);
	} else if (r->status == 400 && strstr(text, "i/o timeout"))
		set(v, VERDICT_ATTEMPT, true);	/* it reads a request for 30 s and no longer */
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
	set(v, VERDICT_ATTEMPT, true);
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

static void judge_failed(struct verdict *v, const struct store *s, const struct ask *a,
			 const char *text)
{
	static const char *const shape[] = { "Validate vector index", "no such prop", NULL };

	verdict_say(v, "%s", *text ? text : "Weaviate says FAILED, and not why");
	if (judge_provider(v, a, text) || judge_trouble(v, s, text))
		return;
	if (says_any(text, shape) || (!strncmp(text, "invalid ", 8) && strstr(text, " property "))) {
		set(v, VERDICT_OBJECT, true);
		v->wrong_shape = true;
	} else if (strstr(text, "insert to vector index") && strstr(text, "lengths don't match")) {
		/* The first vectors of a collection race for its dimension, and the losers are stored. */
		set(v, VERDICT_OBJECT, false);
		v->wrong_shape = true;
	} else {
		set(v, VERDICT_ATTEMPT, false);
	}
}

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

/* How many numbers the echo's vector has: strip.h leaves the count. */
static size_t echoed_vector(json_object *o)
{
	json_object *m = answer_member(o, "vector", json_type_int);

	if (m)
		return json_object_get_int64(m) > 0 ? (size_t)json_object_get_int64(m) : 0;
	m = answer_member(o, "vector", json_type_array);
	return m ? json_object_array_length(m) : 0;
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
	size_t n = echoed_vector(echo), want = o->vector ? o->dim : s->dimension;

	if (n && (n == want || !want)) {
		v->scope = VERDICT_OK;
		v->text[0] = '\0';
		if (!s->dimension)
			s->dimension = n;
		return;
	}
	set(v, VERDICT_ATTEMPT, false);
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
		judge_failed(v, s, a, text);
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

/* The ask as a whole says what is wrong with the first object that is not done. */
static void summarise(struct ask *a)
{
	a->verdict = (struct verdict){ .scope = VERDICT_OK, .http = 200 };
	for (size_t i = a->n; i-- > 0;)
		if (a->objects[i].verdict.scope != VERDICT_OK)
			a->verdict = a->objects[i].verdict;
}

/* Ends the ask: v is the verdict of all that is not settled yet. */
static void end_with(struct ask *a, const struct verdict *v)
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
		summarise(a);
	else
		a->verdict = *v;
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
	set(v, VERDICT_ATTEMPT, false);
	verdict_say(v, "the connection broke and the request was sent twice");
	end_with(a, v);
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
		unclear(v, r);
		end_with(a, v);
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
	summarise(a);
}

/* data.Get.Code: the list that a query gives.  NULL, with the verdict set, if it gives none; wrong_shape
 * where the vectors that it compares have different lengths. */
static json_object *query_list(struct verdict *v, const struct store *s, const struct ask *a,
			       json_object *o, const char *verb, const struct reply *r)
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
		unclear(v, r);
		return NULL;
	}
	say_end(v, "", text);
	v->wrong_shape = strstr(text, "lengths don't match") != NULL;
	if (strstr(text, "Cannot query field") && strstr(text, "ObjectsObj\""))
		v->scope = VERDICT_OPENING;
	else if (!judge_provider(v, a, text) && !judge_trouble(v, s, text))
		v->scope = says_any(text, wrong) ? VERDICT_RUN : VERDICT_ATTEMPT;
	return NULL;
}

static const char *additional_id(json_object *o)
{
	static const char *const id[] = { "_additional", "id", NULL };
	const char *s = answer_string(o, id);

	return s ? s : "";
}

/* The list of objects that a query gives, each with its id and at most as many as were asked for; NULL,
 * with the verdict set, if it gives none. */
static json_object *object_list(struct verdict *v, const struct store *s, const struct ask *a,
				json_object *o, size_t most, const struct reply *r)
{
	json_object *list = query_list(v, s, a, o, "Get", r);
	size_t n = list ? json_object_array_length(list) : 0;
	bool good = n <= most;

	for (size_t i = 0; good && i < n; i++)
		good = *additional_id(json_object_array_get_idx(list, i));
	if (good)
		return list;
	unclear(v, r);
	return NULL;
}

static bool list_has(json_object *list, const char *id)
{
	for (size_t i = 0; i < json_object_array_length(list); i++)
		if (!strcasecmp(additional_id(json_object_array_get_idx(list, i)), id))
			return true;
	return false;
}

static void judge_upsert_check(struct verdict *v, struct store *s, struct ask *a, const struct reply *r)
{
	auto_json json_object *o = answer_json(r);
	json_object *list = object_list(v, s, a, o, a->n, r);
	struct verdict lost = { .scope = VERDICT_ATTEMPT, .http = 200,
				.text = "stored, but the index does not find it" };

	if (!list) {
		v->wrong_shape = false;
		end_with(a, v);
		return;
	}
	for (size_t i = 0; i < a->n; i++)
		if (is_wanted(a, i) && !list_has(list, a->objects[i].id))
			a->objects[i].verdict = lost;
	a->step = STEP_END;
	summarise(a);
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
		summarise(a);
	}
}

static int64_t number_of(json_object *o, const char *name)
{
	json_object *m = answer_member(o, name, json_type_int);

	return m ? json_object_get_int64(m) : -1;
}

static bool is_true(json_object *o, const char *name)
{
	json_object *m = answer_member(o, name, json_type_boolean);

	return m && json_object_get_boolean(m);
}

static void judge_not_deleted(struct verdict *v, const struct store *s, json_object *results)
{
	json_object *list = answer_member(results, "objects", json_type_array);
	const char *text = list && json_object_array_length(list)
			   ? error_text(json_object_array_get_idx(list, 0)) : "";

	verdict_say(v, "%s", *text ? text : "Weaviate deleted less than it matched");
	if (!judge_trouble(v, s, text))
		v->scope = VERDICT_ATTEMPT;
}

/* What there is to ask from this step on. */
static void end_touch(struct verdict *v, const struct store *s, struct ask *a, int step)
{
	if (step == TOUCH_SHARDS || (a->blames && s->embeds && s->vectoriser))
		a->step = step;
	else
		end_with(a, v);
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

	if (matches < 0 || matches > most || done < 0 || done > matches || failed < 0 || is_true(o, "dryRun") ||
	    a->cursor > a->n) {
		unclear(v, r);
	} else if (done == matches && !failed) {
		v->scope = VERDICT_OK;
	} else if (done > 0 && a->kind == ASK_DELETE && !r->resent) {
		a->cursor++;
		return;
	} else {
		judge_not_deleted(v, s, results);
	}
	if (a->kind == ASK_TOUCH && v->scope == VERDICT_OK) {
		end_touch(v, s, a, known_by_name(s) ? TOUCH_EMBED : TOUCH_SHARDS);
		return;
	}
	if (v->scope != VERDICT_OK || !again) {
		end_with(a, v);
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
		unclear(v, r);
	} else {
		free(s->version);
		s->version = xstrdup(text);
		v->scope = VERDICT_OK;
	}
	end_with(a, v);
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
	json_object *list = object_list(v, s, a, o, n, r);

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
	end_with(a, v);
}

static void judge_count(struct verdict *v, const struct store *s, struct ask *a, const struct reply *r)
{
	auto_json json_object *o = answer_json(r);
	json_object *list = query_list(v, s, a, o, "Aggregate", r);
	json_object *first = list && json_object_array_length(list) == 1 ? json_object_array_get_idx(list, 0)
									 : NULL;
	int64_t n = number_of(answer_member(first, "meta", json_type_object), "count");

	if (list && n < 0) {
		unclear(v, r);
	} else if (n >= 0) {
		a->count = (uint64_t)n;
		v->scope = VERDICT_OK;
	}
	end_with(a, v);
}

/* In the order of their ids: what is not behind the last page would be read for ever. */
static bool in_order(json_object *list, const char *after)
{
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		const char *id = additional_id(json_object_array_get_idx(list, i));

		if (strlen(id) != 36 || strcmp(id, after) <= 0)
			return false;
		after = id;
	}
	return true;
}

static void judge_list(struct verdict *v, const struct store *s, struct ask *a, const struct reply *r)
{
	auto_json json_object *o = answer_json(r);
	json_object *list = object_list(v, s, a, o, PAGE, r);
	size_t n = list ? json_object_array_length(list) : 0;

	if (list && !in_order(list, a->after))
		unclear(v, r);
	else if (list) {
		a->found = xrealloc(a->found, (a->nfound + n) * sizeof(*a->found));
		for (size_t i = 0; i < n; i++) {
			json_object *one = json_object_array_get_idx(list, i);
			const char *id = additional_id(one);

			found_take(&a->found[a->nfound++], id, strlen(id), one);
			memcpy(a->after, id, sizeof(a->after));
		}
		a->end = n < PAGE;
		v->scope = VERDICT_OK;
	}
	end_with(a, v);
}

/* No object of that id, or what it holds. */
static void judge_fetched(struct verdict *v, struct store *s, struct ask *a, const struct reply *r)
{
	auto_json json_object *o = r->status == 200 ? answer_good(r) : NULL;
	const char *id = a->objects[a->cursor].id;

	if (r->status == 200) {
		if (!same_id(o, id)) {
			unclear(v, r);
			end_with(a, v);
			return;
		}
		a->found = xrealloc(a->found, (a->nfound + 1) * sizeof(*a->found));
		found_take(&a->found[a->nfound++], id, strlen(id),
			   answer_member(o, "properties", json_type_object));
		if (!s->dimension)
			s->dimension = echoed_vector(o);
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
	end_with(a, v);
}

static void judge_fetch_check(struct verdict *v, const struct store *s, struct ask *a,
			      const struct reply *r)
{
	auto_json json_object *o = answer_json(r);
	json_object *list = object_list(v, s, a, o, a->n, r);

	/* A vector of another length among them, and the index can be asked about none. */
	for (size_t i = 0; (list || v->wrong_shape) && i < a->nfound; i++)
		if (!list || !list_has(list, a->found[i].id))
			a->found[i].digest[0] = '\0';
	if (list || v->wrong_shape)
		*v = (struct verdict){ .scope = VERDICT_OK, .http = r->status };
	end_with(a, v);
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
	json_object *list = object_list(v, s, a, o, a->limit, r);
	bool good = list;

	for (size_t i = 0; good && i < json_object_array_length(list); i++)
		good = is_hit(json_object_array_get_idx(list, i));
	if (good) {
		take_hits(a, list);
		v->scope = VERDICT_OK;
	} else if (list) {
		unclear(v, r);
	} else if (v->wrong_shape) {
		v->scope = VERDICT_RUN;
	}
	end_with(a, v);
}

/* Opening */

static json_object *property_of(json_object *class, const char *name)
{
	json_object *list = answer_member(class, "properties", json_type_array);

	for (size_t i = 0; list && i < json_object_array_length(list); i++) {
		json_object *p = json_object_array_get_idx(list, i);
		json_object *m = answer_member(p, "name", json_type_string);

		if (m && !strcmp(json_object_get_string(m), name))
			return p;
	}
	return NULL;
}

static const char *text_of(json_object *o, const char *name)
{
	const char *const path[] = { name, NULL };
	const char *s = answer_string(o, path);

	return s ? s : "";
}

static const char *type_of(json_object *property)
{
	json_object *list = answer_member(property, "dataType", json_type_array);
	json_object *first = list && json_object_array_length(list) ? json_object_array_get_idx(list, 0)
								    : NULL;

	return json_object_is_type(first, json_type_string) ? json_object_get_string(first) : "";
}

/* False, with the reason said, if p is no property that linesync can use. */
static bool property_fits(struct verdict *v, const struct store *s, const struct property *want,
			  json_object *p)
{
	if (strstr(text_of(p, "description"), "auto-schema")) {
		verdict_say(v, "Weaviate guessed the properties of collection '%s' (auto-schema): delete it, "
			    "or name another; linesync makes it right", s->collection);
		return false;
	}
	if (strcmp(type_of(p), want->type)) {
		verdict_say(v, "property '%s' of collection '%s' is '%s', not '%s'; name another collection",
			    want->name, s->collection, type_of(p), want->type);
		return false;
	}
	if (want->tokens == WHOLE && strcmp(text_of(p, "tokenization"), "field")) {
		verdict_say(v, "property '%s' of collection '%s' has the tokenization '%s', not 'field'; "
			    "name another collection", want->name, s->collection,
			    text_of(p, "tokenization"));
		return false;
	}
	return true;
}

/* The first property that the class lacks, or PROPERTIES. */
static size_t missing_property(json_object *class)
{
	size_t i = 0;

	while (i < PROPERTIES && property_of(class, properties[i].name))
		i++;
	return i;
}

/* False, with the reason said, if linesync cannot use what is there. */
static bool class_fits(struct verdict *v, const struct store *s, json_object *class)
{
	json_object *index = answer_member(class, "vectorIndexConfig", json_type_object);
	json_object *named = answer_member(class, "vectorConfig", json_type_object);
	const char *metric = text_of(index, "distance");

	if (is_true(answer_member(class, "multiTenancyConfig", json_type_object), "enabled"))
		verdict_say(v, "collection '%s' has tenants, which linesync does not know; name another",
			    s->collection);
	else if (named && json_object_object_length(named))
		verdict_say(v, "collection '%s' has named vectors, which linesync does not know; name "
			    "another", s->collection);
	else if (is_true(index, "skip"))
		verdict_say(v, "collection '%s' has no vector index (skip); name another", s->collection);
	else if (strcmp(metric, METRIC))
		verdict_say(v, "collection '%s' has the metric '%s', not '%s'", s->collection,
			    *metric ? metric : "unknown", METRIC);
	else if (s->must_embed && !s->vectoriser)
		verdict_say(v, "collection '%s' has no vectoriser of its own (--embed store); name another "
			    "--embed, or another collection", s->collection);
	else {
		for (size_t i = 0; i < PROPERTIES; i++) {
			json_object *p = property_of(class, properties[i].name);

			if (p && !property_fits(v, s, &properties[i], p))
				return false;
		}
		return true;
	}
	return false;
}

static bool is_prefix(const char *s, const char *prefix)
{
	return !strncmp(s, prefix, strlen(prefix));
}

/* One that reads texts: others have no vector for a document. */
static void take_vectoriser(struct store *s, json_object *class)
{
	const char *name = text_of(class, "vectorizer");
	bool reads = is_prefix(name, "text2vec-") || is_prefix(name, "multi2vec-");

	free(s->vectoriser);
	s->vectoriser = reads ? xstrdup(name) : NULL;
}

/* The class as it is: used, given a property that it lacks, or refused. */
static void judge_class(struct verdict *v, struct store *s, struct ask *a, const struct reply *r)
{
	auto_json json_object *o = answer_good(r);
	size_t missing = missing_property(o);

	if (strcmp(text_of(o, "class"), s->collection)) {
		unclear(v, r);
		end_with(a, v);
		return;
	}
	take_vectoriser(s, o);
	s->dimension = 0;
	s->existed = a->step == OPEN_CLASS;
	v->scope = VERDICT_RUN;
	if (!class_fits(v, s, o)) {
		end_with(a, v);
	} else if (missing == PROPERTIES || a->look) {
		a->step = OPEN_SHARDS;
	} else if (a->create && a->cursor < 2 * PROPERTIES) {
		a->count = missing;
		a->step = OPEN_PROPERTY;
	} else {
		verdict_say(v, "collection '%s' has no property '%s', which linesync needs; name another",
			    s->collection, properties[missing].name);
		end_with(a, v);
	}
}

/* Only what reads text can be told to read the content alone. */
static void judge_probe(struct verdict *v, struct store *s, struct ask *a, const struct reply *r)
{
	auto_json json_object *o = answer_good(r);
	autofree char *name = probe_name(s);

	if (strcmp(text_of(o, "class"), name)) {
		unclear(v, r);
		end_with(a, v);
		return;
	}
	take_vectoriser(s, o);
	if (s->vectoriser && !is_prefix(s->vectoriser, "text2vec-")) {
		free(s->vectoriser);
		s->vectoriser = NULL;
	}
	a->step = a->step == OPEN_PROBE || !strcmp(text_of(o, "description"), PROBE_WORDS)
		  ? OPEN_PROBE_REMOVE : OPEN_CREATE;
}

/* The name that comes first, whatever their order; "" if there is none, or this is no list of shards.
 * Borrowed. */
static const char *first_shard(json_object *o)
{
	const char *first = "";

	for (size_t i = 0; json_object_is_type(o, json_type_array) && i < json_object_array_length(o); i++) {
		json_object *shard = json_object_array_get_idx(o, i);
		const char *name = text_of(shard, "name");

		if (!*name || !*text_of(shard, "status"))
			return "";
		if (!*first || strcmp(name, first) < 0)
			first = name;
	}
	return first;
}

/* A write that changes nothing succeeds on a read-only shard too, and where auto-schema has made a class
 * of the same name anew: the shards tell. */
static void judge_touched(struct verdict *v, const struct store *s, struct ask *a, const struct reply *r)
{
	auto_json json_object *o = answer_json(r);
	const char *first = first_shard(o);

	if (!*first) {
		unclear(v, r);
	} else if (strcmp(first, s->collection_id)) {
		v->scope = VERDICT_RUN;
		verdict_say(v, "collection '%s' was deleted and made anew since it was opened",
			    s->collection);
	} else {
		v->scope = VERDICT_OK;
		for (size_t i = 0; i < json_object_array_length(o); i++)
			if (!strcmp(text_of(json_object_array_get_idx(o, i), "status"), "READONLY")) {
				v->scope = VERDICT_STORE;
				verdict_say(v, "a shard is read-only: disk or memory short, or set so by a user "
					    "(PUT /v1/schema/%s/shards/SHARD {\"status\":\"READY\"})",
					    s->collection);
			}
	}
	if (v->scope == VERDICT_OK)
		end_touch(v, s, a, TOUCH_EMBED);
	else
		end_with(a, v);
}

static void judge_witness(struct verdict *v, const struct store *s, struct ask *a, const struct reply *r)
{
	auto_json json_object *o = answer_json(r);

	if (object_list(v, s, a, o, 1, r))
		v->scope = VERDICT_OK;
	end_with(a, v);
}

static void judge_shards(struct verdict *v, struct store *s, struct ask *a, const struct reply *r)
{
	auto_json json_object *o = answer_json(r);
	const char *first = first_shard(o);

	if (!*first) {
		unclear(v, r);
		end_with(a, v);
		return;
	}
	free(s->collection_id);
	s->collection_id = xstrdup(first);
	if (a->kind == ASK_OPEN && s->existed) {
		a->step = OPEN_SAMPLE;
		return;
	}
	v->scope = VERDICT_OK;
	end_with(a, v);
}

static void judge_sample(struct verdict *v, struct store *s, struct ask *a, const struct reply *r)
{
	auto_json json_object *o = answer_json(r);
	json_object *list = query_list(v, s, a, o, "Get", r);

	for (size_t i = 0; list && !s->dimension && i < json_object_array_length(list); i++)
		s->dimension = echoed_vector(answer_member(json_object_array_get_idx(list, i), "_additional",
							   json_type_object));
	if (list)
		v->scope = VERDICT_OK;
	end_with(a, v);
}

static bool is_named(const struct reply *r, const char *member, const char *name)
{
	auto_json json_object *o = answer_good(r);

	return !strcmp(text_of(o, member), name);
}

static void judge_removed_probe(struct verdict *v, struct ask *a, const struct reply *r)
{
	if (answer_is_empty(r)) {
		a->step = OPEN_CREATE;
		return;
	}
	unclear(v, r);
	end_with(a, v);
}

/* The class is looked at again for what else it lacks. */
static void judge_property(struct verdict *v, struct ask *a, const struct reply *r)
{
	if (is_named(r, "name", properties[a->count].name)) {
		a->cursor++;
		a->step = OPEN_CLASS;
		return;
	}
	unclear(v, r);
	end_with(a, v);
}

static void judge_open(struct verdict *v, struct store *s, struct ask *a, const struct reply *r)
{
	switch (a->step) {
	case OPEN_PROBE:
	case OPEN_PROBE_LOOK: judge_probe(v, s, a, r); break;
	case OPEN_PROBE_REMOVE: judge_removed_probe(v, a, r); break;
	case OPEN_HALF_LOOK: a->step = is_named(r, "class", s->collection) ? OPEN_HALF : STEP_END; break;
	case OPEN_HALF:		/* it has shards: another one made it meanwhile */
	case OPEN_HALF_REMOVE: a->step = STEP_END; break;
	case OPEN_PROPERTY: judge_property(v, a, r); break;
	case OPEN_SHARDS: judge_shards(v, s, a, r); break;
	case OPEN_SAMPLE: judge_sample(v, s, a, r); break;
	default: judge_class(v, s, a, r); break;
	}
}

static bool is_there_already(const struct reply *r)
{
	static const char *const words[] = { "already exists", "conflict for property", NULL };
	autofree char *text = answer_words(r);

	return r->status == 422 && says_any(text, words);
}

/* Answers that say where to go on.  False: it is a refusal. */
static bool open_goes_on(struct store *s, struct ask *a, const struct verdict *v, const struct reply *r)
{
	bool refused = r->status >= 400 && r->status < 500 && r->status != 401 && r->status != 402 &&
		       r->status != 429;

	if (v->scope == VERDICT_STORE)	/* it means "wait" */
		return false;
	switch (a->step) {
	case OPEN_CLASS:
		if (r->status != 404 || !a->create || a->cursor)
			return false;
		free(s->vectoriser);
		s->vectoriser = NULL;
		a->step = s->embeds ? OPEN_PROBE : OPEN_CREATE;
		return true;
	case OPEN_PROBE:
		/* Without its vectoriser a server is still a store. */
		if (refused)
			a->step = is_there_already(r) ? OPEN_PROBE_LOOK : OPEN_PROBE_REMOVE;
		return refused;
	case OPEN_PROBE_LOOK:
	case OPEN_PROBE_REMOVE:
		if (refused)
			a->step = OPEN_CREATE;
		return refused;
	case OPEN_CREATE:
	case OPEN_PROPERTY:
		if (!is_there_already(r))
			return false;
		a->cursor++;
		a->step = OPEN_CLASS;
		return true;
	case OPEN_SHARDS:
		if (r->status != 403)
			return false;
		free(s->collection_id);
		s->collection_id = xstrdup(s->collection);
		a->step = OPEN_SAMPLE;
		return true;
	}
	return false;
}

static void say_not_opened(struct verdict *v, const struct store *s, const struct ask *a,
			   const char *text)
{
	v->scope = VERDICT_RUN;
	if (a->kind == ASK_LOOKUP)
		verdict_say(v, "collection '%s' is gone", s->collection);
	else if (a->step == OPEN_CREATE)
		verdict_say(v, "cannot create collection '%s': %s", s->collection, text);
	else if (a->step == OPEN_PROPERTY)
		verdict_say(v, "cannot add property '%s' to collection '%s': %s", properties[a->count].name,
			    s->collection, text);
	else if (a->step == OPEN_SHARDS)
		verdict_say(v, "collection '%s' is half made, without an index; delete it on the server",
			    s->collection);
	else
		verdict_say(v, "cannot open collection '%s': %s", s->collection, text);
}

/* Finding and making the collection: what would spoil one request there spoils the run. */
static void judge_open_refused(struct verdict *v, struct store *s, struct ask *a, const struct reply *r)
{
	autofree char *text = NULL;

	if (a->kind == ASK_OPEN && open_goes_on(s, a, v, r)) {
		*v = (struct verdict){ 0 };
		return;
	}
	text = answer_words(r);
	if (a->step >= OPEN_HALF_LOOK && a->step <= OPEN_HALF_REMOVE) {
		/* The verdict of the create stands.  Nothing is removed for a 404 of somebody else's. */
		a->step = a->step == OPEN_HALF && r->status == 404 && strstr(text, "non-existing index")
			  ? OPEN_HALF_REMOVE : STEP_END;
		return;
	}
	if ((v->scope == VERDICT_OPENING || v->scope == VERDICT_RUN) && r->status >= 400)
		say_not_opened(v, s, a, text);
	if (a->kind == ASK_OPEN && a->step == OPEN_CREATE && v->scope == VERDICT_RUN && r->status == 422) {
		a->verdict = *v;
		a->step = OPEN_HALF_LOOK;
		return;
	}
	end_with(a, v);
}

/* The class by itself is enough where shards may not be read. */
static void judge_lookup(struct verdict *v, struct store *s, struct ask *a, const struct reply *r)
{
	auto_json json_object *o = NULL;

	if (!known_by_name(s)) {
		judge_shards(v, s, a, r);
		return;
	}
	o = answer_good(r);
	if (strcmp(text_of(o, "class"), s->collection))
		unclear(v, r);
	else
		v->scope = VERDICT_OK;
	end_with(a, v);
}

/* The ends of the paths */

static void judge_good(struct verdict *v, struct store *s, struct ask *a, const struct reply *r)
{
	switch (a->kind) {
	case ASK_READY: judge_ready(v, s, a, r); break;
	case ASK_OPEN: judge_open(v, s, a, r); break;
	case ASK_LOOKUP: judge_lookup(v, s, a, r); break;
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
	judge_status(v, s, a, r);
	if (a->kind == ASK_READY) {
		judge_ready_refused(v, s, r);
	} else if (a->kind == ASK_OPEN || a->kind == ASK_LOOKUP) {
		judge_open_refused(v, s, a, r);
		return;
	} else if (a->kind == ASK_UPSERT && a->step == UPSERT_CHECK &&
		   (v->scope == VERDICT_REQUEST || v->scope == VERDICT_OBJECT)) {
		v->scope = VERDICT_RUN;	/* not the objects' fault: no index can be asked at all */
	}
	end_with(a, v);
}

static void judge(struct store *s, struct ask *a, const struct reply *r)
{
	struct verdict v = { 0 };

	if (!answer_came(&v, r)) {
		end_with(a, &v);
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
	.check_name = check_name,
	.object_bytes = object_bytes,
	.build = build,
	.judge = judge,
};
