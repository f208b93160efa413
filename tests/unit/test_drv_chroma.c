#include <stdlib.h>
#include <string.h>

#include "access_rules.h"
#include "asking.h"

#define UUID "2e586de9-54d1-4727-82e4-a13df1138a64"
#define DB "http://localhost:8000/api/v2/tenants/default_tenant/databases/default_database"

static void set_up(const char *url)
{
	set_up_store("chroma", url);
	store.collection_id = xstrdup(UUID);
}

/* Golden requests */

static void test_upsert_request(void)
{
	struct ask a = { .kind = ASK_UPSERT, .objects = asked, .n = 2 };
	static const char tail[] =
		",\"documents\":[\"say \\\"hi\\\"\\n\\tback\\\\slash caf\xc3\xa9 \\u0001/\",\"\"],"
		"\"metadatas\":[{\"file_path\":\"a\\\"b.c\",\"size_bytes\":-9007199254740993,"
		"\"truncated\":true,\"charset\":null},{\"file_path\":\"n\\u0000ul\","
		"\"size_bytes\":-9007199254740993,\"truncated\":false,\"charset\":null}]}";
	size_t bytes;
	char *want;

	want = xasprintf("{\"ids\":[\"" ID0 "\",\"" ID1 "\"],\"embeddings\":"
			 "[[1,-0.1],[1,-0.1]]%s", tail);
	want_request(&a, "POST", DB "/collections/" UUID "/upsert", want, "upsert, numbers");
	bytes = store.driver->object_bytes(&store, asked[0].object);
	ok(bytes > 200 && bytes + store.driver->object_bytes(&store, asked[1].object) > strlen(want),
	   "no longer than said");
	free(want);
	store.base64 = true;
	want = xasprintf("{\"ids\":[\"" ID0 "\",\"" ID1 "\"],\"embeddings\":"
			 "[\"AACAP83MzL0=\",\"AACAP83MzL0=\"]%s", tail);
	want_request(&a, "POST", DB "/collections/" UUID "/upsert", want, "upsert, base64");
	ok(store.driver->object_bytes(&store, asked[0].object) < bytes, "base64 is shorter");
	free(want);
	store.driver->judge(&store, &a, answer(200, "{}"));
	want_end(&a, "upsert");
}

/* A vector longer than one piece of the encoder: padding only at its very end. */
static void test_long_vector(void)
{
	static float v[500];
	struct object o = { .text = (char *)"", .vector = v, .dim = 500 };
	struct ask_object one = { .id = ID0, .object = &o };
	struct ask a = { .kind = ASK_UPSERT, .objects = &one, .n = 1 };
	struct request r = { 0 };
	const char *p, *end;

	store.base64 = true;
	v[191] = v[192] = v[499] = 1.0f;
	store.driver->build(&store, &a, &r);
	p = strstr(r.body.data, "embeddings\":[\"") + 14;
	end = strchr(p, '"');
	ok((size_t)(end - p) == (500 * 4 + 2) / 3 * 4, "base64 of 500 numbers has its length");
	ok(strcspn(p, "=") == (size_t)(end - p) - 1, "padded at the end only");
	ok(!strncmp(p + 1020, "AIA/AACAPwAA", 12), "no seam between pieces");
	request_release(&r);
}

static void test_record_requests(void)
{
	struct ask a = { .kind = ASK_DELETE, .objects = asked, .n = 2 };

	want_request(&a, "POST", DB "/collections/" UUID "/delete",
		     "{\"ids\":[\"" ID0 "\",\"" ID1 "\"]}", "delete");
	a = (struct ask){ .kind = ASK_TOUCH };
	want_request(&a, "POST", DB "/collections/" UUID "/delete",
		     "{\"ids\":[\"00000000-0000-5000-8000-000000000000\"]}", "touch");
	a = (struct ask){ .kind = ASK_COUNT };
	want_request(&a, "GET", DB "/collections/" UUID "/count", "", "count");
	a = (struct ask){ .kind = ASK_COUNT, .objects = asked, .n = 2 };
	want_request(&a, "POST", DB "/collections/" UUID "/get",
		     "{\"ids\":[\"" ID0 "\",\"" ID1 "\"],\"include\":[]}", "count of those named");
	a = (struct ask){ .kind = ASK_LIST, .cursor = 3000 };
	want_request(&a, "POST", DB "/collections/" UUID "/get",
		     "{\"limit\":1000,\"offset\":3000,\"include\":[\"metadatas\"]}", "list");
	a = (struct ask){ .kind = ASK_FETCH, .objects = asked, .n = 1 };
	want_request(&a, "POST", DB "/collections/" UUID "/get",
		     "{\"ids\":[\"" ID0 "\"],\"include\":[\"metadatas\"]}", "fetch");
}

static void test_search_request(void)
{
	struct ask a = { .kind = ASK_SEARCH, .vector = vector, .dim = 2, .limit = 10 };

	store.base64 = true;	/* a query takes numbers alone */
	want_request(&a, "POST", DB "/collections/" UUID "/query",
		     "{\"query_embeddings\":[[1,-0.1]],\"n_results\":10,"
		     "\"include\":[\"documents\",\"metadatas\",\"distances\"]}", "search");
	a.repo = "team/\"app\"";
	a.limit = 1;
	want_request(&a, "POST", DB "/collections/" UUID "/query",
		     "{\"query_embeddings\":[[1,-0.1]],\"n_results\":1,"
		     "\"where\":{\"repository\":\"team/\\\"app\\\"\"},"
		     "\"include\":[\"documents\",\"metadatas\",\"distances\"]}", "search in one repository");
	a = (struct ask){ .kind = ASK_SEARCH, .text = "words", .limit = 10 };
	want_end(&a, "search for a text");
	ok(a.verdict.scope == VERDICT_RUN && strstr(a.verdict.text, "no vectors"),
	   "a text without its vector: %s", a.verdict.text);
}

static void test_unopened(void)
{
	struct ask a = { .kind = ASK_UPSERT, .objects = asked, .n = 2 };

	free(store.collection_id);
	store.collection_id = NULL;
	want_end(&a, "upsert before opening");
	ok(a.verdict.scope == VERDICT_OPENING && asked[1].verdict.scope == VERDICT_OPENING &&
	   asked[1].verdict.kept_nothing, "and the collection is to be opened");
}

static void test_other_database(void)
{
	struct ask a = { .kind = ASK_OPEN };

	set_up("chroma:https://h/my%20tenant/d%c3%a9");
	free(store.collection);
	store.collection = xstrdup("a/b c");
	want_request(&a, "GET", "https://h:443/api/v2/tenants/my%20tenant/databases/d%C3%A9"
				"/collections/a%2Fb%20c", "", "another database");
}

/* Opening */

static void test_ready(void)
{
	struct ask a = { .kind = ASK_READY };

	want_request(&a, "GET", "http://localhost:8000/api/v2/heartbeat", "", "ready");
	store.driver->judge(&store, &a, answer(200, "{\"nanosecond heartbeat\":1795}"));
	ok(a.verdict.scope == VERDICT_UNKNOWN, "not ready by half");
	want_request(&a, "GET", "http://localhost:8000/api/v2/pre-flight-checks", "", "ready");
	store.driver->judge(&store, &a, answer(200, "{\"max_batch_size\":5461,"
						    "\"supports_base64_encoding\":true}"));
	ok(a.verdict.scope == VERDICT_OK && store.base64 && store.max_batch == 5461, "ready");
	want_end(&a, "ready");
	a = (struct ask){ .kind = ASK_READY, .step = 1 };
	store.driver->judge(&store, &a, answer(404, ""));
	ok(a.verdict.scope == VERDICT_OK && !store.base64 && !store.max_batch,
	   "a server without pre-flight checks is ready, with numbers");
}

static const struct {
	long status;
	const char *body;
	enum verdict_scope scope;
} heartbeats[] = {
	{ 200, "<html>hello</html>", VERDICT_UNKNOWN },
	{ 200, "{}", VERDICT_UNKNOWN },
	{ 200, "", VERDICT_UNKNOWN },
	{ 404, "404 page not found", VERDICT_RUN },
	{ 410, "{\"error\":\"Unimplemented\",\"message\":\"gone\"}", VERDICT_RUN },
	{ 301, "", VERDICT_RUN },
	{ 401, "", VERDICT_AUTH },
	{ 403, "", VERDICT_AUTH },
	{ 500, "", VERDICT_ATTEMPT },
	{ 503, "", VERDICT_STORE },
};

static void test_not_ready(void)
{
	for (size_t i = 0; i < COUNT(heartbeats); i++) {
		struct ask a = { .kind = ASK_READY };

		store.driver->judge(&store, &a, answer(heartbeats[i].status, heartbeats[i].body));
		ok(a.verdict.scope == heartbeats[i].scope && *a.verdict.text,
		   "heartbeat %ld '%s': %s", heartbeats[i].status, heartbeats[i].body,
		   scopes[a.verdict.scope]);
		want_end(&a, "heartbeat");
	}
}

#define COLLECTION(config, dim) \
	"{\"id\":\"" UUID "\",\"name\":\"Code\"," config ",\"dimension\":" dim "}"
#define HNSW(space) "\"configuration_json\":{\"hnsw\":{\"space\":\"" space "\"},\"spann\":null}"

static void forget_collection(void)
{
	free(store.collection_id);
	store.collection_id = NULL;
	store.dimension = 7;
	store.existed = false;
}

static void test_open(void)
{
	struct ask a = { .kind = ASK_OPEN, .create = true };

	forget_collection();
	want_request(&a, "GET", DB "/collections/Code", "", "open");
	store.driver->judge(&store, &a, answer(404, "{\"error\":\"NotFoundError\"}"));
	ok(a.verdict.scope == VERDICT_UNKNOWN && !*a.verdict.text, "missing: not yet open");
	want_request(&a, "POST", DB "/collections",
		     "{\"name\":\"Code\",\"get_or_create\":true,"
		     "\"configuration\":{\"hnsw\":{\"space\":\"cosine\"}}}", "create");
	store.driver->judge(&store, &a, answer(200, COLLECTION(HNSW("cosine"), "null")));
	ok(a.verdict.scope == VERDICT_OK && !strcmp(store.collection_id, UUID) &&
	   store.dimension == 0 && !store.existed, "created");
	want_end(&a, "open");
	forget_collection();
	a = (struct ask){ .kind = ASK_OPEN, .create = true };
	store.driver->judge(&store, &a, answer(200, COLLECTION(HNSW("cosine"), "384")));
	ok(a.verdict.scope == VERDICT_OK && store.dimension == 384 && store.existed, "found");
	want_end(&a, "open");
}

static const struct {
	const char *config;
	const char *metric;	/* NULL: cosine */
} metrics[] = {
	{ HNSW("cosine"), NULL },
	{ HNSW("l2"), "'l2'" },
	{ "\"configuration_json\":{\"hnsw\":null,\"spann\":{\"space\":\"cosine\"}}", NULL },
	{ "\"configuration_json\":{\"hnsw\":null,\"spann\":{\"space\":\"ip\"}}", "'ip'" },
	{ "\"configuration_json\":{},\"schema\":{\"keys\":{\"#embedding\":{\"float_list\":"
	  "{\"vector_index\":{\"config\":{\"space\":\"cosine\"}}}}}}", NULL },
	{ "\"schema\":{\"defaults\":{\"float_list\":"
	  "{\"vector_index\":{\"config\":{\"space\":\"l2\"}}}}}", "'l2'" },
	{ "\"configuration_json\":null", "'unknown'" },
	{ "\"configuration_json\":{\"hnsw\":{\"space\":1}}", "'unknown'" },
};

static void test_metrics(void)
{
	for (size_t i = 0; i < COUNT(metrics); i++) {
		struct ask a = { .kind = i % 2 ? ASK_LOOKUP : ASK_OPEN };
		char *body = xasprintf("{\"id\":\"" UUID "\",\"name\":\"Code\",%s,\"dimension\":3}",
				       metrics[i].config);

		forget_collection();
		store.driver->judge(&store, &a, answer(200, body));
		if (metrics[i].metric)
			ok(a.verdict.scope == VERDICT_RUN && !store.collection_id &&
			   strstr(a.verdict.text, metrics[i].metric) &&
			   strstr(a.verdict.text, "'cosine'"), "metric: %s", a.verdict.text);
		else
			ok(a.verdict.scope == VERDICT_OK && store.collection_id, "cosine %zu", i);
		free(body);
	}
}

static const struct {
	enum ask_kind kind;
	bool create;
	int step;
	long status;
	const char *body;
	enum verdict_scope scope;
	const char *says;
} openings[] = {
	{ ASK_OPEN, false, 0, 404, "{\"error\":\"E\",\"message\":\"Collection [Code] no\"}",
	  VERDICT_RUN, "'Code' in 'default_tenant/default_database': Collection" },
	{ ASK_OPEN, true, 1, 400, "{\"error\":\"E\",\"message\":\"Database [nodb] does not exist\"}",
	  VERDICT_RUN, "Database [nodb] does not exist" },
	{ ASK_OPEN, true, 1, 404, "{\"error\":\"E\",\"message\":\"Tenant [t] not found\"}",
	  VERDICT_RUN, "Tenant [t] not found" },
	{ ASK_OPEN, true, 1, 409, "", VERDICT_RUN, "409" },
	{ ASK_OPEN, true, 0, 400, "", VERDICT_RUN, "400" },
	{ ASK_OPEN, true, 0, 401, "who?", VERDICT_AUTH, "who?" },
	{ ASK_OPEN, true, 1, 403, "no", VERDICT_AUTH, "no" },
	{ ASK_OPEN, true, 0, 503, "later", VERDICT_STORE, "later" },
	{ ASK_OPEN, true, 1, 500, "oh", VERDICT_ATTEMPT, "oh" },
	{ ASK_OPEN, true, 0, 200, "<html>", VERDICT_UNKNOWN, "<html>" },
	{ ASK_OPEN, true, 0, 200, "{\"id\":7}", VERDICT_UNKNOWN, "" },
	{ ASK_OPEN, true, 0, 200, "{\"id\":\"\"}", VERDICT_UNKNOWN, "" },
	{ ASK_LOOKUP, true, 0, 404, "", VERDICT_RUN, "'Code' is gone" },
	{ ASK_LOOKUP, false, 0, 502, "x", VERDICT_STORE, "x" },
	{ ASK_LOOKUP, false, 0, 429, "x", VERDICT_STORE, "x" },
};

static void test_openings(void)
{
	for (size_t i = 0; i < COUNT(openings); i++) {
		struct ask a = { .kind = openings[i].kind, .create = openings[i].create,
				 .step = openings[i].step };

		store.driver->judge(&store, &a, answer(openings[i].status, openings[i].body));
		ok(a.verdict.scope == openings[i].scope && strstr(a.verdict.text, openings[i].says),
		   "opening %ld: %s, %s", openings[i].status, scopes[a.verdict.scope],
		   a.verdict.text);
		want_end(&a, "opening");
	}
}

/* The table of answers, for the two writes.  many and one: the verdict with two objects, with one. */
static const struct {
	long status;
	const char *body;
	enum verdict_scope many, one;
	bool kept_nothing, wrong_shape;
} table[] = {
	{ 200, " {}\n", VERDICT_OK, VERDICT_OK, false, false },
	{ 200, "", VERDICT_UNKNOWN, VERDICT_UNKNOWN, false, false },
	{ 200, "{", VERDICT_UNKNOWN, VERDICT_UNKNOWN, false, false },
	{ 200, "{}{}", VERDICT_UNKNOWN, VERDICT_UNKNOWN, false, false },
	{ 200, "{} x", VERDICT_UNKNOWN, VERDICT_UNKNOWN, false, false },
	{ 200, "{'a':1}", VERDICT_UNKNOWN, VERDICT_UNKNOWN, false, false },
	{ 200, "[]", VERDICT_UNKNOWN, VERDICT_UNKNOWN, false, false },
	{ 200, "null", VERDICT_UNKNOWN, VERDICT_UNKNOWN, false, false },
	{ 200, "true", VERDICT_UNKNOWN, VERDICT_UNKNOWN, false, false },
	{ 200, "<!DOCTYPE html><p>Welcome", VERDICT_UNKNOWN, VERDICT_UNKNOWN, false, false },
	{ 200, "{\"error\":\"InternalError\"}", VERDICT_UNKNOWN, VERDICT_UNKNOWN, false, false },
	{ 200, "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", VERDICT_UNKNOWN,
	  VERDICT_UNKNOWN, false, false },
	{ 201, "{}", VERDICT_UNKNOWN, VERDICT_UNKNOWN, false, false },
	{ 202, "{}", VERDICT_UNKNOWN, VERDICT_UNKNOWN, false, false },
	{ 204, "", VERDICT_UNKNOWN, VERDICT_UNKNOWN, false, false },
	{ 301, "", VERDICT_RUN, VERDICT_RUN, false, false },
	{ 302, "", VERDICT_RUN, VERDICT_RUN, false, false },
	{ 307, "", VERDICT_RUN, VERDICT_RUN, false, false },
	{ 308, "", VERDICT_RUN, VERDICT_RUN, false, false },
	{ 400, "{\"error\":\"InvalidArgumentError\",\"message\":\"Collection expecting embedding "
	       "with dimension of 3, got 2\"}", VERDICT_REQUEST, VERDICT_OBJECT, true, true },
	{ 400, "{\"error\":\"InvalidArgumentError\",\"message\":\"Inconsistent dimensions\"}",
	  VERDICT_REQUEST, VERDICT_OBJECT, true, true },
	{ 400, "Failed to parse", VERDICT_REQUEST, VERDICT_OBJECT, true, false },
	{ 401, "", VERDICT_AUTH, VERDICT_AUTH, true, false },
	{ 403, "", VERDICT_AUTH, VERDICT_AUTH, true, false },
	{ 404, "{\"error\":\"NotFoundError\"}", VERDICT_OPENING, VERDICT_OPENING, true, false },
	{ 405, "", VERDICT_REQUEST, VERDICT_OBJECT, true, false },
	{ 408, "", VERDICT_ATTEMPT, VERDICT_ATTEMPT, false, false },
	{ 409, "", VERDICT_REQUEST, VERDICT_OBJECT, true, false },
	{ 410, "", VERDICT_REQUEST, VERDICT_OBJECT, true, false },
	{ 413, "Payload too large", VERDICT_REQUEST, VERDICT_OBJECT, true, false },
	{ 415, "", VERDICT_REQUEST, VERDICT_OBJECT, true, false },
	{ 422, "{\"error\":\"ChromaError\",\"message\":\"data did not match\"}", VERDICT_REQUEST,
	  VERDICT_OBJECT, true, false },
	{ 425, "", VERDICT_STORE, VERDICT_STORE, true, false },
	{ 429, "You have been rate limited.", VERDICT_STORE, VERDICT_STORE, true, false },
	{ 500, "{\"error\":\"InternalError\",\"message\":\"Error in compaction: dimension\"}",
	  VERDICT_ATTEMPT, VERDICT_ATTEMPT, false, false },
	{ 501, "", VERDICT_UNKNOWN, VERDICT_UNKNOWN, false, false },
	{ 502, "<html>", VERDICT_STORE, VERDICT_STORE, false, false },
	{ 503, "{}", VERDICT_STORE, VERDICT_STORE, false, false },
	{ 504, "", VERDICT_STORE, VERDICT_STORE, false, false },
	{ 599, "", VERDICT_UNKNOWN, VERDICT_UNKNOWN, false, false },
};

static bool same(const struct verdict *v, size_t i, enum verdict_scope scope)
{
	return v->scope == scope && v->kept_nothing == table[i].kept_nothing &&
	       v->wrong_shape == table[i].wrong_shape && v->http == table[i].status &&
	       (scope == VERDICT_OK) == !*v->text;
}

static void test_table(enum ask_kind kind, size_t n)
{
	for (size_t i = 0; i < COUNT(table); i++) {
		struct ask a = { .kind = kind, .objects = asked, .n = n };
		enum verdict_scope want = n > 1 ? table[i].many : table[i].one;

		memset(&asked[0].verdict, 0, sizeof(asked[0].verdict));
		memset(&asked[1].verdict, 0, sizeof(asked[1].verdict));
		store.driver->judge(&store, &a, answer(table[i].status, table[i].body));
		ok(same(&a.verdict, i, want) && same(&asked[0].verdict, i, want) &&
		   (n < 2 || same(&asked[1].verdict, i, want)), "%s of %zu, %ld '%.30s': %s",
		   kind == ASK_UPSERT ? "upsert" : "delete", n, table[i].status, table[i].body,
		   scopes[a.verdict.scope]);
		want_end(&a, "write");
	}
}

static void test_touch(void)
{
	for (size_t i = 0; i < COUNT(table); i++) {
		struct ask a = { .kind = ASK_TOUCH };
		bool refused = table[i].one == VERDICT_OBJECT;

		store.driver->judge(&store, &a, answer(table[i].status, table[i].body));
		ok(a.verdict.scope == (refused ? VERDICT_RUN : table[i].one), "touch, %ld: %s",
		   table[i].status, scopes[a.verdict.scope]);
	}
}

static void test_no_answer(void)
{
	struct reply r = { .end = HTTP_NOT_SENT, .retry_after_s = -1, .error = "refused" };
	struct ask a = { .kind = ASK_UPSERT, .objects = asked, .n = 2 };

	store.driver->judge(&store, &a, &r);
	ok(asked[1].verdict.scope == VERDICT_STORE && asked[1].verdict.kept_nothing &&
	   !asked[1].verdict.http && !strcmp(a.verdict.text, "refused"), "not sent");
	want_end(&a, "not sent");
	a = (struct ask){ .kind = ASK_UPSERT, .objects = asked, .n = 2 };
	r.untrusted = true;
	store.driver->judge(&store, &a, &r);
	ok(asked[1].verdict.scope == VERDICT_RUN && asked[1].verdict.kept_nothing &&
	   strstr(a.verdict.text, "--cacert"), "not trusted: %s", a.verdict.text);
	a = (struct ask){ .kind = ASK_UPSERT, .objects = asked, .n = 2 };
	r.untrusted = false;
	r.end = HTTP_LOST;
	store.driver->judge(&store, &a, &r);
	ok(asked[1].verdict.scope == VERDICT_ATTEMPT && !asked[1].verdict.kept_nothing, "lost");
	r.resent = true;
	r.end = HTTP_ANSWERED;
	r.status = 200;
	buf_adds(&r.body, "{}");
	store.driver->judge(&store, &a, &r);
	ok(asked[1].verdict.scope == VERDICT_OK, "sent twice, answered: ok all the same");
	reply_release(&r);
}

static void test_redirect(void)
{
	struct ask a = { .kind = ASK_UPSERT, .objects = asked, .n = 1 };
	struct reply r = { .end = HTTP_ANSWERED, .status = 308,
			   .location = "https://elsewhere/" };

	store.driver->judge(&store, &a, &r);
	ok(a.verdict.scope == VERDICT_RUN && strstr(a.verdict.text, "https://elsewhere/"),
	   "a redirect names its target");
}

static void test_texts(void)
{
	struct ask a = { .kind = ASK_TOUCH };
	char body[4000];

	store.driver->judge(&store, &a, answer(500, "<html>\r\n\t<b>no\x1b[31m\x07 entry</b>\n"));
	ok(!strcmp(a.verdict.text, "<html> <b>no [31m entry</b>"), "text: %s", a.verdict.text);
	memset(body, 'x', sizeof(body) - 1);
	body[sizeof(body) - 1] = '\0';
	store.driver->judge(&store, &a, answer(500, body));
	ok(strlen(a.verdict.text) < sizeof(a.verdict.text) && strstr(a.verdict.text, "xxx..."),
	   "a long text is cut");
	for (size_t i = 0; i + 2 < sizeof(body); i += 2)
		memcpy(body + i, "\xc3\xa9", 2);
	body[sizeof(body) - 2] = '\0';
	store.driver->judge(&store, &a, answer(500, body));
	ok(strlen(a.verdict.text) < sizeof(a.verdict.text) && !strstr(a.verdict.text, "\\x"),
	   "and never inside a character");
	store.driver->judge(&store, &a, answer(500, "{\"error\":\"E\",\"message\":\"a\\u0007b\"}"));
	ok(!strcmp(a.verdict.text, "a b"), "controls in a message are not printed");
	store.driver->judge(&store, &a, answer(500, "{\"error\":\"E\"}"));
	ok(!strcmp(a.verdict.text, "E"), "error without message");
	store.driver->judge(&store, &a, answer(500, " \x01\r\n"));
	ok(!strcmp(a.verdict.text, "HTTP 500 without a text"), "nothing that could be shown");
}

/* Reading */

static const struct {
	const char *body;
	bool good;
	uint64_t count;
} counts[] = {
	{ "0", true, 0 }, { "3000", true, 3000 }, { " 7\n", true, 7 }, { "", false, 0 },
	{ "-1", false, 0 }, { "1.5", false, 0 }, { "\"3\"", false, 0 }, { "{}", false, 0 },
	{ "3 4", false, 0 }, { "NaN", false, 0 }, { "<html>", false, 0 }, { "null", false, 0 },
};

static void test_count(void)
{
	for (size_t i = 0; i < COUNT(counts); i++) {
		struct ask a = { .kind = ASK_COUNT };

		store.driver->judge(&store, &a, answer(200, counts[i].body));
		ok(a.verdict.scope == (counts[i].good ? VERDICT_OK : VERDICT_UNKNOWN) &&
		   a.count == counts[i].count, "count '%s'", counts[i].body);
		want_end(&a, "count");
	}
}

static const struct {
	const char *body;
	bool good;
	uint64_t count;
} named[] = {
	{ "{\"ids\":[]}", true, 0 }, { "{\"ids\":[\"" ID1 "\"],\"embeddings\":null}", true, 1 },
	{ "{\"ids\":[\"" ID1 "\",\"" ID0 "\"]}", true, 2 }, { "{\"ids\":[\"other\"]}", false, 0 },
	{ "{\"ids\":[\"" ID1 "\",\"" ID1 "\",\"" ID1 "\"]}", false, 0 }, { "{\"ids\":[null]}", false, 0 },
	{ "{\"ids\":{}}", false, 0 }, { "{\"error\":{}}", false, 0 }, { "2", false, 0 }, { "", false, 0 },
};

static void test_count_named(void)
{
	for (size_t i = 0; i < COUNT(named); i++) {
		struct ask a = { .kind = ASK_COUNT, .objects = asked, .n = 2 };

		store.driver->judge(&store, &a, answer(200, named[i].body));
		ok(a.verdict.scope == (named[i].good ? VERDICT_OK : VERDICT_UNKNOWN) &&
		   a.count == named[i].count, "count of two '%s'", named[i].body);
		want_end(&a, "count of two");
	}
}

#define META "{\"repository\":\"R\",\"file_path\":\"a/b\",\"chunk_index\":3," \
	     "\"sync_digest\":\"00112233445566778899aabbccddeeff\"}"

static void test_list(void)
{
	struct ask a = { .kind = ASK_LIST, .cursor = 1000 };

	store.driver->judge(&store, &a, answer(200,
		"{\"ids\":[\"" ID0 "\",\"foreign\",\"" ID1 "\",\"" ID1 "\",\"" ID1 "x\"],"
		"\"metadatas\":[" META ",null,{\"repository\":\"R\"},"
		"{\"repository\":\"R\",\"file_path\":\"n\\u0000\",\"chunk_index\":0}," META "]}"));
	ok(a.verdict.scope == VERDICT_OK && a.nfound == 5 && a.cursor == 1005 && a.end, "listed");
	ok(!strcmp(a.found[0].id, ID0) && !strcmp(a.found[0].repo, "R") &&
	   !strcmp(a.found[0].path, "a/b") && a.found[0].chunk == 3 &&
	   !strcmp(a.found[0].digest, "00112233445566778899aabbccddeeff"), "one of ours");
	ok(!strcmp(a.found[1].id, "foreign") && !a.found[1].repo && !a.found[1].path,
	   "one of others");
	ok(!a.found[2].repo && !a.found[2].path, "half a name is none");
	ok(!a.found[3].repo && !a.found[3].path, "nor is one with a NUL");
	ok(!*a.found[4].id && !a.found[4].repo, "an id that is too long is left out");
	want_end(&a, "list");
	ask_release(&a);
	ok(!a.found && !a.nfound, "released");
}

static void test_full_page(void)
{
	struct ask a = { .kind = ASK_LIST };
	struct buf b = BUF_INIT;

	buf_adds(&b, "{\"ids\":[");
	for (int i = 0; i < 1000; i++)
		buf_adds(&b, i ? ",\"" ID0 "\"" : "\"" ID0 "\"");
	buf_adds(&b, "],\"metadatas\":[");
	for (int i = 0; i < 1000; i++)
		buf_adds(&b, i ? "," META : META);
	buf_adds(&b, "]}");
	store.driver->judge(&store, &a, answer(200, b.data));
	ok(a.nfound == 1000 && a.cursor == 1000 && !a.end, "a full page is not the last");
	ask_release(&a);
	a = (struct ask){ .kind = ASK_LIST, .cursor = 1000 };
	store.driver->judge(&store, &a, answer(200, "{\"ids\":[],\"metadatas\":[]}"));
	ok(a.verdict.scope == VERDICT_OK && a.end && a.cursor == 1000 && !a.nfound, "an empty one is");
	ask_release(&a);
	buf_release(&b);
}

static void test_fetch(void)
{
	struct ask a = { .kind = ASK_FETCH, .objects = asked, .n = 2 };

	store.driver->judge(&store, &a, answer(200, "{\"ids\":[\"" UUID "\",\"" ID1 "\"],"
						    "\"metadatas\":[null," META "]}"));
	ok(a.verdict.scope == VERDICT_OK && asked[0].verdict.scope == VERDICT_OK && a.nfound == 1 &&
	   !strcmp(a.found[0].id, ID1), "fetched by id, what was not asked for is left out");
	ask_release(&a);
}

#define HITS(ids, metas, texts, distances) \
	"{\"ids\":[[" ids "]],\"embeddings\":null,\"documents\":[[" texts "]],\"uris\":null," \
	"\"metadatas\":[[" metas "]],\"distances\":[[" distances "]]," \
	"\"include\":[\"documents\",\"metadatas\",\"distances\"]}"
#define HIT_META "{\"repository\":\"R\",\"file_path\":\"a/b\",\"chunk_index\":1," \
		 "\"start_line\":41,\"end_line\":80}"

static void test_hits(void)
{
	struct ask a = { .kind = ASK_SEARCH, .vector = vector, .dim = 2, .limit = 4 };

	store.driver->judge(&store, &a, answer(200, HITS(
		"\"" ID0 "\",\"foreign\",\"" ID1 "\",\"" ID1 "x\"",
		HIT_META ",null,{\"start_line\":-1,\"end_line\":\"7\"}," HIT_META,
		"\"caf\u00e9\\n\",null,\"n\\u0000ul\",\"\"", "0.25,0.5,1,1.9999")));
	ok(a.verdict.scope == VERDICT_OK && a.nhits == 4, "four hits");
	if (a.nhits != 4)
		return;
	ok(!strcmp(a.hits[0].found.id, ID0) && !strcmp(a.hits[0].found.repo, "R") &&
	   !strcmp(a.hits[0].found.path, "a/b") && a.hits[0].found.chunk == 1 &&
	   a.hits[0].start_line == 41 && a.hits[0].end_line == 80 && a.hits[0].distance == 0.25 &&
	   !strcmp(a.hits[0].text, "caf\xc3\xa9\n"), "one of ours");
	ok(!strcmp(a.hits[1].found.id, "foreign") && !a.hits[1].found.repo && !a.hits[1].found.path &&
	   !a.hits[1].text && a.hits[1].start_line == 0 && a.hits[1].distance == 0.5, "one of others");
	ok(!a.hits[2].found.repo && !a.hits[2].text && a.hits[2].start_line == 0 &&
	   a.hits[2].end_line == 0 && a.hits[2].distance == 1, "what is no line, and no text");
	ok(!*a.hits[3].found.id && !a.hits[3].found.repo && a.hits[3].text && !*a.hits[3].text,
	   "an id that is too long, an empty text");
	want_end(&a, "search");
	ask_release(&a);
	ok(!a.hits && !a.nhits, "released");
	store.driver->judge(&store, &a, answer(200, HITS("", "", "", "")));
	ok(a.verdict.scope == VERDICT_OK && !a.nhits, "nothing found is an answer");
	ask_release(&a);
}

#define ONE "\"" ID0 "\""

static const char *const bad_hits[] = {
	HITS(ONE, "", "\"t\"", "1"), HITS(ONE, "null", "", "1"), HITS(ONE, "null", "\"t\"", ""),
	HITS(ONE, "null", "\"t\"", "null"), HITS(ONE, "null", "\"t\"", "\"1\""),
	HITS("7", "null", "\"t\"", "1"), HITS("null", "null", "\"t\"", "1"),
	HITS(ONE "," ONE "," ONE, "null,null,null", "null,null,null", "1,1,1"),	/* more than asked for */
	"{\"ids\":[],\"documents\":[],\"metadatas\":[],\"distances\":[]}",
	"{\"ids\":[[],[]],\"documents\":[[],[]],\"metadatas\":[[],[]],\"distances\":[[],[]]}",
	"{\"ids\":[[]],\"documents\":[[]],\"metadatas\":[[]],\"distances\":null}",
	"{\"ids\":[{}],\"documents\":[[]],\"metadatas\":[[]],\"distances\":[[]]}",
	"{\"ids\":[" ONE "],\"documents\":[\"t\"],\"metadatas\":[null],\"distances\":[1]}",
};

static void test_bad_hits(void)
{
	static const char whole[] = HITS(ONE, HIT_META, "\"t\"", "0.5");
	bool good = true;

	for (size_t i = 0; i < COUNT(bad_hits); i++) {
		struct ask a = { .kind = ASK_SEARCH, .vector = vector, .dim = 2, .limit = 2 };

		store.driver->judge(&store, &a, answer(200, bad_hits[i]));
		ok(a.verdict.scope == VERDICT_UNKNOWN && !a.nhits, "no answer to a search: %zu", i);
		ask_release(&a);
	}
	for (size_t n = 0; n < sizeof(whole) - 1; n++) {
		struct ask a = { .kind = ASK_SEARCH, .vector = vector, .dim = 2, .limit = 2 };
		char *cut = xmemdup0(whole, n);

		store.driver->judge(&store, &a, answer(200, cut));
		good &= a.verdict.scope == VERDICT_UNKNOWN && !a.nhits;
		ask_release(&a);
		free(cut);
	}
	ok(good, "a cut answer is never believed");
}

/* The verdicts of what is not answered by 200: those of a write without objects. */
static void test_search_refused(void)
{
	for (size_t i = 0; i < COUNT(table); i++) {
		struct ask a = { .kind = ASK_SEARCH, .vector = vector, .dim = 2, .limit = 2 };
		enum verdict_scope want = table[i].one == VERDICT_OBJECT ? VERDICT_RUN : table[i].one;

		if (table[i].status == 200)
			continue;
		store.driver->judge(&store, &a, answer(table[i].status, table[i].body));
		ok(a.verdict.scope == want && *a.verdict.text && !a.nhits, "search, %ld: %s", table[i].status,
		   scopes[a.verdict.scope]);
		want_end(&a, "search refused");
	}
}

static const char *const garbage[] = {
	"", "{", "{}", "[]", "null", "0", "\"x\"", "<html>", "{\"ids\":[]}", "{\"metadatas\":[]}",
	"{\"ids\":null,\"metadatas\":null}", "{\"ids\":[1],\"metadatas\":[null]}",
	"{\"ids\":[\"a\"],\"metadatas\":[]}", "{\"ids\":{},\"metadatas\":[]}",
	"{\"ids\":[null],\"metadatas\":[{}]}", "{\"ids\":[\"\xff\"],\"metadatas\":[{}]}",
	"{\"error\":\"x\",\"message\":7}", "\x1b[2J", "{\"ids\":[NaN],\"metadatas\":[{}]}",
};

static void test_garbage(void)
{
	for (size_t i = 0; i < COUNT(garbage); i++) {
		struct ask list = { .kind = ASK_LIST }, fetch = { .kind = ASK_FETCH,
								 .objects = asked, .n = 2 };
		struct ask search = { .kind = ASK_SEARCH, .limit = 2 };

		store.driver->judge(&store, &search, answer(200, garbage[i]));
		ok(search.verdict.scope == VERDICT_UNKNOWN && !search.nhits, "search: garbage %zu", i);
		store.driver->judge(&store, &list, answer(200, garbage[i]));
		store.driver->judge(&store, &fetch, answer(200, garbage[i]));
		ok(list.verdict.scope == VERDICT_UNKNOWN && !list.nfound && !list.end,
		   "list: garbage %zu", i);
		ok(fetch.verdict.scope == VERDICT_UNKNOWN && !fetch.nfound, "fetch: garbage %zu", i);
	}
}

/* Every prefix of a good answer: none may pass for the whole. */
static void test_cut(void)
{
	static const char whole[] = "{\"ids\":[\"" ID0 "\"],\"metadatas\":[" META "]}";
	bool good = true;

	for (size_t n = 0; n < sizeof(whole) - 1; n++) {
		struct ask a = { .kind = ASK_LIST };
		char *cut = xmemdup0(whole, n);

		store.driver->judge(&store, &a, answer(200, cut));
		good &= a.verdict.scope == VERDICT_UNKNOWN && !a.nfound;
		ask_release(&a);
		free(cut);
	}
	ok(good, "a cut answer is never believed");
}

static void test_nul_body(void)
{
	struct reply r = { .end = HTTP_ANSWERED, .status = 200 };
	struct ask a = { .kind = ASK_TOUCH };

	buf_add(&r.body, "{}\0{}", 5);
	store.driver->judge(&store, &a, &r);
	ok(a.verdict.scope == VERDICT_UNKNOWN, "a NUL does not end an answer");
	reply_release(&r);
}

/* What proves that Chroma took a request, each kind by itself; and what does not. */

static const struct {
	enum ask_kind kind;
	size_t n;
	int step;
	const char *good;
	bool bare;		/* a member that is not known is no proof */
} proofs[] = {
	{ ASK_READY, 0, 0, "{\"nanosecond heartbeat\":1796079899378479204}", false },
	{ ASK_READY, 0, 1, "{\"max_batch_size\":5461,\"supports_base64_encoding\":true}", false },
	{ ASK_READY, 0, 1, "{\"max_batch_size\":41666}", false },
	{ ASK_OPEN, 0, 0, COLLECTION(HNSW("cosine"), "384"), false },
	{ ASK_OPEN, 0, 1, COLLECTION(HNSW("cosine"), "null"), false },
	{ ASK_LOOKUP, 0, 0, COLLECTION(HNSW("cosine"), "null"), false },
	{ ASK_UPSERT, 2, 0, "{}", true },
	{ ASK_UPSERT, 1, 0, "{}", true },
	{ ASK_DELETE, 2, 0, "{\"deleted\":2}", false },
	{ ASK_DELETE, 2, 0, "{\"deleted\":0}", false },
	{ ASK_DELETE, 2, 0, "{}", true },
	{ ASK_TOUCH, 0, 0, "{\"deleted\":1}", false },
	{ ASK_TOUCH, 0, 0, "{}", true },
	{ ASK_COUNT, 0, 0, "7", false },
	{ ASK_LIST, 0, 0, "{\"ids\":[\"" ID0 "\"],\"embeddings\":null,\"documents\":null,\"uris\":null,"
			  "\"metadatas\":[" META "],\"include\":[\"metadatas\"]}", false },
	{ ASK_LIST, 0, 0, "{\"ids\":[],\"metadatas\":[]}", false },
	{ ASK_FETCH, 2, 0, "{\"ids\":[\"" ID1 "\"],\"metadatas\":[" META "]}", false },
	{ ASK_FETCH, 2, 0, "{\"ids\":[],\"metadatas\":[]}", false },
	{ ASK_SEARCH, 0, 0, HITS("\"" ID0 "\"", "null", "null", "0.5"), false },
};

/* What the store is taken to have said: 'y' success or the next step, 'n' unclear and nothing taken from
 * it, '?' anything else. */
static char believed(size_t i, const char *body)
{
	struct ask a = { .kind = proofs[i].kind, .objects = asked, .n = proofs[i].n, .step = proofs[i].step,
			 .vector = vector, .dim = 2, .limit = 2 };
	bool half = proofs[i].kind == ASK_READY && !proofs[i].step, none;
	char said = '?';

	set_up("chroma:http://localhost:8000");
	if (proofs[i].kind <= ASK_LOOKUP)
		forget_collection();
	store.driver->judge(&store, &a, answer(200, body));
	none = !a.nfound && !a.nhits && !a.count && !a.end &&
	       (proofs[i].kind > ASK_LOOKUP || !store.collection_id);
	if (a.verdict.scope == VERDICT_OK || (half && a.step == 1 && !*a.verdict.text))
		said = 'y';
	else if (a.verdict.scope == VERDICT_UNKNOWN && *a.verdict.text && !a.verdict.kept_nothing && none)
		said = 'n';
	for (size_t k = 0; k < a.n; k++)
		if (asked[k].verdict.scope != a.verdict.scope)
			said = '?';
	ask_release(&a);
	return said;
}

static void test_proofs(void)
{
	for (size_t i = 0; i < COUNT(proofs); i++) {
		ok(believed(i, proofs[i].good) == 'y', "proof %zu: %s", i, proofs[i].good);
		for (size_t k = 0; k < COUNT(strangers); k++)
			if (believed(i, strangers[k]) != 'n')
				ok(false, "proof %zu: not '%s'", i, strangers[k]);
		for (size_t n = 0; *proofs[i].good == '{' && n < strlen(proofs[i].good); n++) {
			char *cut = xmemdup0(proofs[i].good, n);

			if (believed(i, cut) != 'n')
				ok(false, "proof %zu: not '%s'", i, cut);
			free(cut);
		}
	}
}

static const struct {
	const char *member;
	char known, bare;
} members[] = {
	{ "\"new_in_2\":{\"error\":1}", 'y', 'n' }, { "\"warnings\":[]", 'y', 'n' },
	{ "\"error\":null", 'y', 'n' }, { "\"success\":true", 'y', 'n' }, { "\"error\":\"no\"", 'n', 'n' },
	{ "\"error\":{\"code\":503}", 'n', 'n' }, { "\"errors\":[{}]", 'n', 'n' },
	{ "\"success\":false", 'n', 'n' }, { "\"message\":\"partly\"", 'n', 'n' },
	{ "\"detail\":\"no\"", 'n', 'n' },
};

static void test_members(void)
{
	for (size_t i = 0; i < COUNT(proofs); i++)
		for (size_t k = 0; k < COUNT(members); k++) {
			char *body = with_member(proofs[i].good, members[k].member);

			if (body)
				ok(believed(i, body) == (proofs[i].bare ? members[k].bare : members[k].known),
				   "proof %zu with %s", i, members[k].member);
			free(body);
		}
}

static const struct {
	size_t proof;
	const char *body;
} near_misses[] = {
	{ 0, "{\"nanosecond heartbeat\":-1}" }, { 0, "{\"nanosecond heartbeat\":\"1\"}" },
	{ 1, "{\"max_batch_size\":-1}" }, { 1, "{\"supports_base64_encoding\":true}" },
	{ 1, "{\"max_batch_size\":100,\"supports_base64_encoding\":\"yes\"}" },
	{ 3, "{\"id\":\"" UUID "\",\"name\":\"Other\"," HNSW("cosine") "}" },
	{ 3, "{\"id\":\"" UUID "\"," HNSW("cosine") "}" },
	{ 3, "{\"id\":\"7\",\"name\":\"Code\"," HNSW("cosine") "}" },
	{ 3, "{\"id\":\"" UUID "0\",\"name\":\"Code\"," HNSW("cosine") "}" },
	{ 3, COLLECTION(HNSW("cosine"), "\"384\"") },
	{ 6, "{\"deleted\":2}" }, { 12, "{\"deleted\":2}" },
	{ 16, "{\"ids\":[\"a\",\"b\",\"c\"],\"metadatas\":[null,null,null]}" },
	{ 16, "{\"ids\":[\"a\"],\"metadatas\":[\"b\"]}" },
	{ 18, HITS("\"" ID0 "\"", "7", "null", "0.5") }, { 18, HITS("\"" ID0 "\"", "null", "7", "0.5") },
};

static void test_near_misses(void)
{
	for (size_t i = 0; i < COUNT(near_misses); i++)
		ok(believed(near_misses[i].proof, near_misses[i].body) == 'n', "no proof: %s",
		   near_misses[i].body);
}

/* Names */

static const struct {
	const char *name;
	bool good;
} names[] = {
	{ "Code", true }, { "abc", true }, { "a.b_c-d", true }, { "1x2", true }, { "ab", false },
	{ "", false }, { "_ab", false }, { "abc-", false }, { "a b", false }, { "a/b", false },
	{ "caf\xc3\xa9", false }, { "a\nb", false },
};

static void test_names(void)
{
	const struct driver *d = driver_find("chroma");
	char long_name[514], *changed, *why;

	for (size_t i = 0; i < COUNT(names); i++) {
		int r = d->check_name(names[i].name, &changed, &why);

		ok(names[i].good ? r == 0 && !changed && !why : r == -1 && why && !changed,
		   "name %zu", i);
		free(why);
	}
	memset(long_name, 'a', 513);
	long_name[513] = '\0';
	ok(d->check_name(long_name, &changed, &why) == -1, "513 characters");
	free(why);
	ok(d->check_name(long_name + 1, &changed, &why) == 0, "512 characters");
}

static void test_drivers(void)
{
	ok(driver_find("chroma") == &drv_chroma && !driver_find("nosuch") && !driver_find(""),
	   "drivers are found by name");
	ok(driver_all()[0] == &drv_chroma, "and listed");
	for (const struct driver *const *d = driver_all(); *d; d++)
		ok((*d)->batch_size && (*d)->batch_bytes && (*d)->connections && (*d)->timeout_ms &&
		   (*d)->idle_s && (*d)->check_name && (*d)->build && (*d)->judge && (*d)->key_header,
		   "%s is complete", (*d)->name);
}

int main(void)
{
	make_objects();
	set_up("chroma:http://localhost:8000");
	test_drivers();
	test_names();
	test_upsert_request();
	test_long_vector();
	test_record_requests();
	test_search_request();
	test_ready();
	test_not_ready();
	test_open();
	test_metrics();
	test_openings();
	set_up("chroma:http://localhost:8000");
	test_table(ASK_UPSERT, 2);
	test_table(ASK_UPSERT, 1);
	test_table(ASK_DELETE, 2);
	test_table(ASK_DELETE, 1);
	test_touch();
	test_access(&store, ASK_UPSERT, asked);
	test_access(&store, ASK_DELETE, asked);
	test_refusals(&store, ASK_UPSERT, asked);
	test_no_answer();
	test_redirect();
	test_texts();
	test_count();
	test_count_named();
	test_list();
	test_full_page();
	test_fetch();
	test_hits();
	test_bad_hits();
	test_search_refused();
	test_garbage();
	test_cut();
	test_nul_body();
	test_proofs();
	test_members();
	test_near_misses();
	set_up("chroma:http://localhost:8000");
	test_unopened();
	test_other_database();
	answer(0, NULL);
	store_release(&store);
	return tap_done();
}
