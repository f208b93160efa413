/* Opening a collection of Weaviate's: its name, its shape, finding and making it. */
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "buf.h"
#include "cleanup.h"
#include "driver.h"
#include "driver_json.h"
#include "drv_weaviate_p.h"
#include "json.h"

#define METRIC "cosine"
#define SAMPLE 10		/* objects that are looked at for the length of a vector */
#define NAME_MAX_LEN 255
#define PROBE_WORDS "made by linesync to learn the default vectoriser; can be deleted"

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

int weaviate_check_name(const char *name, char **changed, char **why)
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

static char *probe_name(const struct store *s)
{
	return xasprintf("%.230s_linesync_probe", s->collection);
}

static char *url_probe(const struct store *s)
{
	autofree char *name = probe_name(s);

	return xasprintf("%s/v1/schema/%s", s->url.base, name);
}

void weaviate_build_open(const struct store *s, const struct ask *a, struct request *r)
{
	static const struct property *const all = properties;
	auto_buf struct buf q = BUF_INIT;
	autofree char *probe = probe_name(s);

	switch (a->step) {
	case OPEN_PROBE:
		weaviate_call(r, "POST", weaviate_url(s, "schema"));
		buf_addf(&r->body, "{\"class\":\"%s\",\"description\":\"" PROBE_WORDS "\"}", probe);
		break;
	case OPEN_PROBE_LOOK: weaviate_call(r, "GET", url_probe(s)); break;
	case OPEN_PROBE_REMOVE: weaviate_call(r, "DELETE", url_probe(s)); break;
	case OPEN_CREATE:
		weaviate_call(r, "POST", weaviate_url(s, "schema"));
		add_class(&r->body, s);
		break;
	case OPEN_HALF_REMOVE: weaviate_call(r, "DELETE", weaviate_url_class(s, "")); break;
	case OPEN_PROPERTY:
		weaviate_call(r, "POST", weaviate_url_class(s, "/properties"));
		add_property(&r->body, &all[a->count], s->vectoriser);
		break;
	case OPEN_HALF:
	case OPEN_SHARDS: weaviate_call(r, "GET", weaviate_url_class(s, "/shards")); break;
	case OPEN_SAMPLE:
		buf_addf(&q, "{Get{%s(limit:%d){_additional{vector}}}}", s->collection, SAMPLE);
		weaviate_send_query(s, r, &q);
		break;
	default: weaviate_call(r, "GET", weaviate_url_class(s, "")); break;
	}
}

/* Verdicts */

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
	if (strstr(weaviate_text(p, "description"), "auto-schema")) {
		verdict_say(v, "Weaviate guessed the properties of collection '%s' (auto-schema): delete it, "
			    "or name another; linesync makes it right", s->collection);
		return false;
	}
	if (strcmp(type_of(p), want->type)) {
		verdict_say(v, "property '%s' of collection '%s' is '%s', not '%s'; name another collection",
			    want->name, s->collection, type_of(p), want->type);
		return false;
	}
	if (want->tokens == WHOLE && strcmp(weaviate_text(p, "tokenization"), "field")) {
		verdict_say(v, "property '%s' of collection '%s' has the tokenization '%s', not 'field'; "
			    "name another collection", want->name, s->collection,
			    weaviate_text(p, "tokenization"));
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
	const char *metric = weaviate_text(index, "distance");

	if (weaviate_is_true(answer_member(class, "multiTenancyConfig", json_type_object), "enabled"))
		verdict_say(v, "collection '%s' has tenants, which linesync does not know; name another",
			    s->collection);
	else if (named && json_object_object_length(named))
		verdict_say(v, "collection '%s' has named vectors, which linesync does not know; name "
			    "another", s->collection);
	else if (weaviate_is_true(index, "skip"))
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
	const char *name = weaviate_text(class, "vectorizer");
	bool reads = is_prefix(name, "text2vec-") || is_prefix(name, "multi2vec-");

	free(s->vectoriser);
	s->vectoriser = reads ? xstrdup(name) : NULL;
}

/* The class as it is: used, given a property that it lacks, or refused. */
static void judge_class(struct verdict *v, struct store *s, struct ask *a, const struct reply *r)
{
	auto_json json_object *o = answer_good(r);
	size_t missing = missing_property(o);

	if (strcmp(weaviate_text(o, "class"), s->collection)) {
		weaviate_unclear(v, r);
		weaviate_end(a, v);
		return;
	}
	take_vectoriser(s, o);
	s->dimension = 0;
	s->existed = a->step == OPEN_CLASS;
	v->scope = VERDICT_RUN;
	if (!class_fits(v, s, o)) {
		weaviate_end(a, v);
	} else if (missing == PROPERTIES || a->look) {
		a->step = OPEN_SHARDS;
	} else if (a->create && a->cursor < 2 * PROPERTIES) {
		a->count = missing;
		a->step = OPEN_PROPERTY;
	} else {
		verdict_say(v, "collection '%s' has no property '%s', which linesync needs; name another",
			    s->collection, properties[missing].name);
		weaviate_end(a, v);
	}
}

/* Only what reads text can be told to read the content alone. */
static void judge_probe(struct verdict *v, struct store *s, struct ask *a, const struct reply *r)
{
	auto_json json_object *o = answer_good(r);
	autofree char *name = probe_name(s);

	if (strcmp(weaviate_text(o, "class"), name)) {
		weaviate_unclear(v, r);
		weaviate_end(a, v);
		return;
	}
	take_vectoriser(s, o);
	if (s->vectoriser && !is_prefix(s->vectoriser, "text2vec-")) {
		free(s->vectoriser);
		s->vectoriser = NULL;
	}
	a->step = a->step == OPEN_PROBE || !strcmp(weaviate_text(o, "description"), PROBE_WORDS)
		  ? OPEN_PROBE_REMOVE : OPEN_CREATE;
}

const char *weaviate_first_shard(json_object *o)
{
	const char *first = "";

	for (size_t i = 0; json_object_is_type(o, json_type_array) && i < json_object_array_length(o); i++) {
		json_object *shard = json_object_array_get_idx(o, i);
		const char *name = weaviate_text(shard, "name");

		if (!*name || !*weaviate_text(shard, "status"))
			return "";
		if (!*first || strcmp(name, first) < 0)
			first = name;
	}
	return first;
}

static void judge_shards(struct verdict *v, struct store *s, struct ask *a, const struct reply *r)
{
	auto_json json_object *o = answer_json(r);
	const char *first = weaviate_first_shard(o);

	if (!*first) {
		weaviate_unclear(v, r);
		weaviate_end(a, v);
		return;
	}
	free(s->collection_id);
	s->collection_id = xstrdup(first);
	if (a->kind == ASK_OPEN && s->existed) {
		a->step = OPEN_SAMPLE;
		return;
	}
	v->scope = VERDICT_OK;
	weaviate_end(a, v);
}

static void judge_sample(struct verdict *v, struct store *s, struct ask *a, const struct reply *r)
{
	auto_json json_object *o = answer_json(r);
	json_object *list = weaviate_query_list(v, s, a, o, "Get", r);

	for (size_t i = 0; list && !s->dimension && i < json_object_array_length(list); i++) {
		json_object *one = json_object_array_get_idx(list, i);

		s->dimension = weaviate_vector_len(answer_member(one, "_additional", json_type_object));
	}
	if (list)
		v->scope = VERDICT_OK;
	weaviate_end(a, v);
}

static bool is_named(const struct reply *r, const char *member, const char *name)
{
	auto_json json_object *o = answer_good(r);

	return !strcmp(weaviate_text(o, member), name);
}

static void judge_removed_probe(struct verdict *v, struct ask *a, const struct reply *r)
{
	if (answer_is_empty(r)) {
		a->step = OPEN_CREATE;
		return;
	}
	weaviate_unclear(v, r);
	weaviate_end(a, v);
}

/* The class is looked at again for what else it lacks. */
static void judge_property(struct verdict *v, struct ask *a, const struct reply *r)
{
	if (is_named(r, "name", properties[a->count].name)) {
		a->cursor++;
		a->step = OPEN_CLASS;
		return;
	}
	weaviate_unclear(v, r);
	weaviate_end(a, v);
}

void weaviate_judge_open(struct verdict *v, struct store *s, struct ask *a, const struct reply *r)
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

void weaviate_judge_open_refused(struct verdict *v, struct store *s, struct ask *a, const struct reply *r)
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
	weaviate_end(a, v);
}

bool weaviate_known_by_name(const struct store *s)
{
	return s->collection_id && !strcmp(s->collection_id, s->collection);
}

/* The class by itself is enough where shards may not be read. */
void weaviate_judge_lookup(struct verdict *v, struct store *s, struct ask *a, const struct reply *r)
{
	auto_json json_object *o = NULL;

	if (!weaviate_known_by_name(s)) {
		judge_shards(v, s, a, r);
		return;
	}
	o = answer_good(r);
	if (strcmp(weaviate_text(o, "class"), s->collection))
		weaviate_unclear(v, r);
	else
		v->scope = VERDICT_OK;
	weaviate_end(a, v);
}
