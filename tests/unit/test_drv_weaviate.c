#include <stdlib.h>
#include <string.h>

#include "access_rules.h"
#include "asking.h"

#define URL "http://localhost:8080/v1/"
#define SHARD "ttBsLSzgNonZ"
#define SHARDS "[{\"name\":\"zz\",\"status\":\"READY\"},{\"name\":\"" SHARD "\",\"status\":\"READY\"}]"

static void set_up(void)
{
	set_up_store("weaviate", "weaviate:http://localhost:8080");
	store.collection_id = xstrdup(SHARD);
}

static void begin(struct ask *a, enum ask_kind kind, size_t n)
{
	memset(&asked[0].verdict, 0, sizeof(asked[0].verdict));
	memset(&asked[1].verdict, 0, sizeof(asked[1].verdict));
	*a = (struct ask){ .kind = kind, .objects = n ? asked : NULL, .n = n };
}

static void reply(struct ask *a, long status, const char *body)
{
	store.driver->judge(&store, a, answer(status, body));
}

/* One request of an ask, and what comes back.  body NULL: not looked at. */
struct turn {
	const char *method, *path, *body;
	long status;
	const char *answer;
};

static void play(struct ask *a, const struct turn *turns, size_t n, const char *what)
{
	for (size_t i = 0; i < n; i++) {
		struct request r = { 0 };
		int built = store.driver->build(&store, a, &r);
		char *url = xasprintf(URL "%s", turns[i].path);
		const char *body = r.body.data ? r.body.data : "";
		bool good = built == 1 && !strcmp(r.method, turns[i].method) && !strcmp(r.url, url) &&
			    (!turns[i].body || !strcmp(body, turns[i].body));

		ok(good, "%s, request %zu: %s %s", what, i, turns[i].method, turns[i].path);
		if (!good)
			printf("# got  %s %s %s\n# want %s\n", built ? r.method : "nothing",
			       r.url ? r.url : "", body, turns[i].body ? turns[i].body : "any body");
		request_release(&r);
		free(url);
		reply(a, turns[i].status, turns[i].answer);
	}
	want_end(a, what);
}

#define PLAY(a, turns, what) play(a, turns, COUNT(turns), what)

static bool verdict_is(const struct verdict *v, enum verdict_scope scope, bool kept_nothing)
{
	bool good = v->scope == scope && v->kept_nothing == kept_nothing &&
		    (scope == VERDICT_OK) == !*v->text;

	if (!good)
		printf("# got %s, kept %s, '%s'\n", scopes[v->scope], v->kept_nothing ? "nothing" : "maybe",
		       v->text);
	return good;
}

/* Golden requests */

#define NUMBERS "[1,-0.1]"
#define WRITE                                                                                     \
	"{\"objects\":[{\"class\":\"Code\",\"id\":\"" ID0 "\",\"vector\":" NUMBERS ","              \
	"\"properties\":{\"content\":\"say \\\"hi\\\"\\n\\tback\\\\slash caf\xc3\xa9 \\u0001/\","   \
	"\"file_path\":\"a\\\"b.c\",\"size_bytes\":-9007199254740993,\"truncated\":true}},"         \
	"{\"class\":\"Code\",\"id\":\"" ID1 "\",\"vector\":" NUMBERS ",\"properties\":{"            \
	"\"content\":\"\",\"file_path\":\"n\\u0000ul\",\"size_bytes\":-9007199254740993,"           \
	"\"truncated\":false}}]}"
#define DELETE_IDS(ids)                                                                           \
	"{\"match\":{\"class\":\"Code\",\"where\":{\"path\":[\"id\"],\"operator\":\"ContainsAny\"," \
	"\"valueTextArray\":[" ids "]}},\"output\":\"minimal\"}"
#define CHECK(ids, n)                                                                             \
	"{\"query\":\"{Get{Code(nearVector:{vector:[1,0]},where:{path:[\\\"id\\\"],operator:ContainsAny," \
	"valueText:[" ids "]},limit:" n "){_additional{id}}}}\"}"
#define Q0 "\\\"" ID0 "\\\""
#define Q1 "\\\"" ID1 "\\\""

#define ECHO(id, result) "{\"class\":\"Code\",\"id\":\"" id "\",\"vector\":2,\"properties\":0," \
			 "\"deprecations\":null,\"result\":" result "}"
#define SUCCESS "{\"status\":\"SUCCESS\"}"
#define FAILED(text) "{\"errors\":{\"error\":[{\"message\":\"" text "\"}]},\"status\":\"FAILED\"}"
#define BOTH "[" ECHO(ID0, SUCCESS) "," ECHO(ID1, SUCCESS) "]"
#define GET(list) "{\"data\":{\"Get\":{\"Code\":[" list "]}}}"
#define FOUND(id) "{\"_additional\":{\"id\":\"" id "\"}}"
#define DELETED(matches, done) "{\"match\":{},\"results\":{\"failed\":0,\"limit\":10000,"       \
			       "\"matches\":" matches ",\"objects\":null,\"successful\":" done "}}"
#define ERROR(text) "{\"error\":[{\"message\":\"" text "\"}]}"
#define ERRORS(text) "{\"data\":{\"Get\":{\"Code\":null}},\"errors\":[{\"message\":\"" text "\"}]}"

static void test_write(void)
{
	static const struct turn turns[] = { { "POST", "batch/objects", WRITE, 200, BOTH } };
	struct request r = { 0 };
	struct ask a;
	size_t bytes = 0;

	begin(&a, ASK_UPSERT, 2);
	for (size_t i = 0; i < 2; i++)
		bytes += store.driver->object_bytes(&store, &objects[i]);
	ok(bytes >= strlen(WRITE), "no longer than said");
	store.driver->build(&store, &a, &r);
	ok(r.strip, "the echo is stripped");
	request_release(&r);
	PLAY(&a, turns, "write");
	ok(verdict_is(&asked[0].verdict, VERDICT_OK, false) && verdict_is(&asked[1].verdict, VERDICT_OK, false) &&
	   verdict_is(&a.verdict, VERDICT_OK, false), "both are stored");
	ok(store.dimension == 2, "the dimension is known now");
}

/* What is sent again: single deletes, the write of all, and the index asked about those alone. */
static void test_again(void)
{
	static const struct turn turns[] = {
		{ "DELETE", "objects/Code/" ID1, "", 204, "" },
		{ "POST", "batch/objects", WRITE, 200, BOTH },
		{ "POST", "graphql", CHECK(Q1, "1"), 200, GET(FOUND(ID1)) },
	};
	static const struct turn both[] = {
		{ "DELETE", "objects/Code/" ID0, "", 204, "" },
		{ "DELETE", "objects/Code/" ID1, "", 404, "" },
		{ "POST", "batch/objects", WRITE, 200, BOTH },
		{ "POST", "graphql", CHECK(Q0 "," Q1, "2"), 200, GET(FOUND(ID1)) },
	};
	struct ask a;

	begin(&a, ASK_UPSERT, 2);
	asked[1].again = true;
	PLAY(&a, turns, "one again");
	ok(verdict_is(&asked[0].verdict, VERDICT_OK, false) && verdict_is(&asked[1].verdict, VERDICT_OK, false),
	   "the index finds it");
	begin(&a, ASK_UPSERT, 2);
	asked[0].again = true;
	PLAY(&a, both, "both again");
	ok(verdict_is(&asked[0].verdict, VERDICT_ATTEMPT, false) && strstr(asked[0].verdict.text, "index") &&
	   verdict_is(&asked[1].verdict, VERDICT_OK, false) && a.verdict.scope == VERDICT_ATTEMPT,
	   "what the index does not find is not done");
	asked[0].again = asked[1].again = false;
}

/* Where an answer within is lost, or is none: what is then said of an object that is sent again, and of
 * the one beside it. */
static const struct {
	int turns;		/* that went well before */
	long status;		/* 0: lost; -1: not sent; -2: 200 of a request that was sent twice */
	const char *answer;
	enum verdict_scope again, beside;
	bool again_kept_nothing, beside_kept_nothing;
} cuts[] = {
	{ 0, 0, "", VERDICT_ATTEMPT, VERDICT_ATTEMPT, false, false },
	{ 0, -1, "", VERDICT_STORE, VERDICT_STORE, true, true },
	{ 0, -2, "", VERDICT_ATTEMPT, VERDICT_ATTEMPT, false, false },
	{ 0, 500, "{\"error\":[{\"message\":\"could not delete object from vector repo: delete from "
	  "non-existing index for Code\"}]}", VERDICT_OPENING, VERDICT_OPENING, false, false },
	{ 0, 500, "{\"error\":[{\"message\":\"x: store is read-only due to: resource pressure\"}]}",
	  VERDICT_STORE, VERDICT_STORE, false, false },
	{ 0, 404, "{\"code\":404,\"message\":\"path was not found\"}", VERDICT_OPENING, VERDICT_OPENING,
	  true, true },
	{ 0, 200, "", VERDICT_UNKNOWN, VERDICT_UNKNOWN, false, false },
	{ 1, 0, "", VERDICT_ATTEMPT, VERDICT_ATTEMPT, false, false },
	{ 1, -1, "", VERDICT_STORE, VERDICT_STORE, true, true },
	{ 1, -2, BOTH, VERDICT_ATTEMPT, VERDICT_ATTEMPT, false, false },
	{ 2, 0, "", VERDICT_ATTEMPT, VERDICT_OK, false, false },
	{ 2, -1, "", VERDICT_STORE, VERDICT_OK, false, false },
	{ 2, 200, "", VERDICT_UNKNOWN, VERDICT_OK, false, false },
	{ 2, 200, GET(""), VERDICT_ATTEMPT, VERDICT_OK, false, false },
	{ 2, 200, "{\"data\":{\"Get\":{\"Code\":null}}}", VERDICT_UNKNOWN, VERDICT_OK, false, false },
	{ 2, 200, "{\"errors\":[{\"message\":\"Cannot query field \\\"Code\\\" on type "
	  "\\\"GetObjectsObj\\\".\"}]}", VERDICT_OPENING, VERDICT_OK, false, false },
	{ 2, 200, ERRORS("2 vs 3: vector lengths don't match"), VERDICT_ATTEMPT, VERDICT_OK, false, false },
	{ 2, 200, ERRORS("context deadline exceeded"), VERDICT_ATTEMPT, VERDICT_OK, false, false },
	{ 2, 422, "{\"error\":[{\"message\":\"graphql api is disabled\"}]}", VERDICT_RUN, VERDICT_OK, false,
	  false },
	{ 2, 401, "", VERDICT_AUTH, VERDICT_OK, false, false },
	{ 2, 503, "", VERDICT_STORE, VERDICT_OK, false, false },
};

static void lose(struct ask *a, long status, const char *body)
{
	struct reply r = { .retry_after_s = -1, .error = "gone" };

	if (status > 0) {
		reply(a, status, body);
		return;
	}
	r.end = status == 0 ? HTTP_LOST : status == -1 ? HTTP_NOT_SENT : HTTP_ANSWERED;
	r.status = status == -2 ? *body ? 200 : 204 : 0;
	r.resent = status == -2;
	buf_adds(&r.body, body);
	store.driver->judge(&store, a, &r);
	reply_release(&r);
}

static void next(struct ask *a)
{
	struct request r = { 0 };

	if (store.driver->build(&store, a, &r) != 1)
		printf("# nothing was asked\n");
	request_release(&r);
}

static void test_cuts(void)
{
	for (size_t i = 0; i < COUNT(cuts); i++) {
		struct ask a;

		begin(&a, ASK_UPSERT, 2);
		asked[0].again = true;
		next(&a);
		if (cuts[i].turns > 0) {
			reply(&a, 204, "");
			next(&a);
		}
		if (cuts[i].turns > 1) {
			reply(&a, 200, BOTH);
			next(&a);
		}
		lose(&a, cuts[i].status, cuts[i].answer);
		want_end(&a, "cut");
		ok(verdict_is(&asked[0].verdict, cuts[i].again, cuts[i].again_kept_nothing) &&
		   verdict_is(&asked[1].verdict, cuts[i].beside, cuts[i].beside_kept_nothing) &&
		   a.verdict.scope == cuts[i].again, "cut %zu", i);
		asked[0].again = false;
	}
}

/* Per object: what Weaviate says of it.  many, one: with another object beside it that is stored. */
static const struct {
	const char *text;
	enum verdict_scope many, one;
	bool kept_nothing, wrong_shape;
} failures[] = {
	{ "invalid integer property 'line_count' on class 'Code': requires an integer", VERDICT_OBJECT,
	  VERDICT_OBJECT, true, true },
	{ "invalid text property 'file_path' on class 'Code': not a string", VERDICT_OBJECT, VERDICT_OBJECT,
	  true, true },
	{ "no such prop with name 'newp' found in class 'Code' in the schema", VERDICT_OBJECT, VERDICT_OBJECT,
	  true, true },
	{ "Validate vector index for " ID0 ": new node has a vector with length 3. Existing nodes have "
	  "vectors with length 4: vector lengths don't match", VERDICT_OBJECT, VERDICT_OBJECT, true, true },
	{ "insert to vector index: insert doc id 0 to vector index: 4 vs 3: vector lengths don't match",
	  VERDICT_OBJECT, VERDICT_OBJECT, false, true },
	{ "insert to vector index: not enough memory", VERDICT_ATTEMPT, VERDICT_ATTEMPT, false, false },
	{ "insert to vector index: context canceled", VERDICT_ATTEMPT, VERDICT_ATTEMPT, false, false },
	{ "context deadline exceeded", VERDICT_ATTEMPT, VERDICT_ATTEMPT, false, false },
	{ "write /data/proplengths.tmp: no space left on device", VERDICT_STORE, VERDICT_STORE, false, false },
	{ "class 'Code' not present in schema", VERDICT_OPENING, VERDICT_OPENING, true, false },
	{ "could not find index for class Code. It might have been deleted in the meantime", VERDICT_OPENING,
	  VERDICT_OPENING, false, false },
	{ "auto-schema: create collection: class name Code already exists", VERDICT_OPENING, VERDICT_OPENING,
	  true, false },
	{ "usage limit exceeded: objects count limit of 30 reached", VERDICT_RUN, VERDICT_RUN, true, false },
	{ "something that nobody has seen", VERDICT_ATTEMPT, VERDICT_ATTEMPT, false, false },
	{ "", VERDICT_ATTEMPT, VERDICT_ATTEMPT, false, false },
	{ "update vector: connection to: OpenAI API failed with status: 429 error: rate limit",
	  VERDICT_STORE, VERDICT_STORE, true, false },
	{ "update vector: connection to: OpenAI API failed with status: 503", VERDICT_STORE, VERDICT_STORE, true,
	  false },
	{ "send POST request: Post \\\"http://x\\\": dial tcp 127.0.0.1:9: connect: connection refused", VERDICT_STORE,
	  VERDICT_STORE, true, false },
	{ "connection to: OpenAI API failed with status: 404 error: no such model", VERDICT_RUN, VERDICT_RUN,
	  true, false },
	{ "update vector: connection to: OpenAI API failed with status: 500", VERDICT_ATTEMPT,
	  VERDICT_ATTEMPT, true, false },
	{ "connection to: OpenAI API failed with status: 400 error: too long", VERDICT_REQUEST,
	  VERDICT_OBJECT, true, false },
	{ "connection to Ollama API failed with status 413", VERDICT_REQUEST, VERDICT_OBJECT, true, false },
	{ "connection to: OpenAI API failed with status: 401 error: bad key", VERDICT_RUN, VERDICT_RUN,
	  true, false },
	{ "failed to parse vectorization response (status 502): invalid character '<'", VERDICT_ATTEMPT,
	  VERDICT_ATTEMPT, true, false },
	{ "update vector: send POST request: Post \\\"http://x\\\": context deadline exceeded",
	  VERDICT_ATTEMPT, VERDICT_ATTEMPT, true, false },
	{ "vectorizer returned fewer vectors than requested", VERDICT_ATTEMPT, VERDICT_ATTEMPT, true, false },
	{ "panic occurred: runtime error: invalid memory address", VERDICT_ATTEMPT, VERDICT_ATTEMPT, true,
	  false },
	{ "API Key: no api key found neither in request header", VERDICT_RUN, VERDICT_RUN, true, false },
};

static void test_failures(void)
{
	for (size_t i = 0; i < 2 * COUNT(failures); i++) {
		size_t f = i / 2, n = 1 + i % 2;
		char *body = xasprintf(n > 1 ? "[" ECHO(ID0, FAILED("%s")) "," ECHO(ID1, SUCCESS) "]"
					     : "[" ECHO(ID0, FAILED("%s")) "]", failures[f].text);
		struct ask a;

		begin(&a, ASK_UPSERT, n);
		next(&a);
		reply(&a, 200, body);
		ok(verdict_is(&asked[0].verdict, n > 1 ? failures[f].many : failures[f].one,
			      failures[f].kept_nothing) &&
		   asked[0].verdict.wrong_shape == failures[f].wrong_shape && asked[0].verdict.http == 200 &&
		   (n < 2 || verdict_is(&asked[1].verdict, VERDICT_OK, false)), "FAILED of %zu, '%.50s'", n,
		   failures[f].text);
		want_end(&a, "FAILED");
		free(body);
	}
}

/* Of a read-only shard the first object alone is said to have failed. */
static void test_read_only(void)
{
	struct ask a;

	begin(&a, ASK_UPSERT, 2);
	next(&a);
	reply(&a, 200, "[" ECHO(ID0, SUCCESS) "," ECHO(ID1, FAILED("store is read-only due to: resource "
							       "pressure")) "]");
	ok(verdict_is(&asked[0].verdict, VERDICT_STORE, false) &&
	   verdict_is(&asked[1].verdict, VERDICT_STORE, false) && strstr(a.verdict.text, "resource pressure"),
	   "read-only: nothing counts as stored");
	begin(&a, ASK_UPSERT, 2);
	asked[1].again = true;
	next(&a);
	reply(&a, 204, "");
	next(&a);
	reply(&a, 200, "[" ECHO(ID0, FAILED("store is read-only due to: manually set by user")) ","
		       ECHO(ID1, SUCCESS) "]");
	ok(verdict_is(&asked[1].verdict, VERDICT_STORE, false) &&
	   strstr(a.verdict.text, "PUT http://localhost:8080/v1/schema/Code/shards/SHARD") &&
	   strstr(a.verdict.text, "READY"), "set by a user: %s", a.verdict.text);
	want_end(&a, "read-only");
	asked[1].again = false;
	begin(&a, ASK_UPSERT, 1);
	next(&a);
	reply(&a, 200, "[" ECHO(ID0, FAILED("write x: no space left on device")) "]");
	ok(strstr(a.verdict.text, "restart the server"), "full: %s", a.verdict.text);
}

/* A 200 that does not stand for each object. */
static const char *const echoes[] = {
	"", "null", "[]", "{}", "[{}]", "[{},{}]", "<html>", "[" ECHO(ID0, SUCCESS) "]",
	"[" ECHO(ID1, SUCCESS) "," ECHO(ID0, SUCCESS) "]",
	"[" ECHO(ID0, SUCCESS) "," ECHO(ID0, SUCCESS) "]",
	"[" ECHO(ID0, SUCCESS) "," ECHO(ID1, SUCCESS) "," ECHO(ID1, SUCCESS) "]",
	"[" ECHO(ID0, SUCCESS) "," ECHO(ID1 "0", SUCCESS) "]",
	"[" ECHO(ID0, SUCCESS) "," ECHO(ID1, SUCCESS), "[null,null]", "[[],[]]",
	"{\"objects\":" BOTH "}", BOTH BOTH, "{\"error\":[{\"message\":\"x\"}]}",
};

static const struct {
	const char *result;
	enum verdict_scope scope;
} results[] = {
	{ SUCCESS, VERDICT_OK }, { "null", VERDICT_UNKNOWN }, { "{}", VERDICT_UNKNOWN },
	{ "{\"status\":\"success\"}", VERDICT_UNKNOWN }, { "{\"status\":1}", VERDICT_UNKNOWN },
	{ "{\"status\":\"PENDING\"}", VERDICT_UNKNOWN },
	{ "{\"status\":\"SUCCESS\",\"errors\":{\"error\":[{\"message\":\"m\"}]}}", VERDICT_UNKNOWN },
	{ "{\"status\":\"SUCCESS\",\"errors\":null}", VERDICT_OK },
	{ "{\"status\":\"FAILED\"}", VERDICT_ATTEMPT }, { "[]", VERDICT_UNKNOWN },
};

static void test_echoes(void)
{
	struct ask a;

	for (size_t i = 0; i < COUNT(echoes); i++) {
		begin(&a, ASK_UPSERT, 2);
		next(&a);
		reply(&a, 200, echoes[i]);
		ok(verdict_is(&asked[0].verdict, VERDICT_UNKNOWN, false) &&
		   verdict_is(&asked[1].verdict, VERDICT_UNKNOWN, false), "echo %zu is no answer", i);
		want_end(&a, "echo");
	}
	for (size_t i = 0; i < COUNT(results); i++) {
		char *body = xasprintf("[" ECHO(ID0, "%s") "," ECHO(ID1, SUCCESS) "]", results[i].result);

		begin(&a, ASK_UPSERT, 2);
		next(&a);
		reply(&a, 200, body);
		ok(verdict_is(&asked[0].verdict, results[i].scope, false) &&
		   verdict_is(&asked[1].verdict, VERDICT_OK, false), "result %s", results[i].result);
		free(body);
	}
	begin(&a, ASK_UPSERT, 1);
	next(&a);
	reply(&a, 200, "[" ECHO("E417B55A-2EA2-5A2A-9306-C568B130E26B", SUCCESS) "]");
	ok(verdict_is(&asked[0].verdict, VERDICT_OK, false), "an id in capitals is the same");
}

#define VECTOR(v) "[{\"id\":\"" ID0 "\"" v ",\"result\":" SUCCESS "}]"

/* SUCCESS does not mean that there is a vector. */
static void test_vectors(void)
{
	static const struct {
		const char *body;
		size_t dimension;
		bool given, good;
	} rows[] = {
		{ VECTOR(",\"vector\":2"), 2, true, true }, { VECTOR(",\"vector\":2"), 0, true, true },
		{ VECTOR(",\"vector\":[1,2]"), 2, true, true }, { VECTOR(",\"vector\":3"), 3, true, false },
		{ VECTOR(",\"vector\":0"), 2, true, false }, { VECTOR(""), 2, true, false },
		{ VECTOR(",\"vector\":384"), 384, false, true }, { VECTOR(",\"vector\":384"), 0, false, true },
		{ VECTOR(",\"vector\":383"), 384, false, false }, { VECTOR(",\"vector\":0"), 0, false, false },
		{ VECTOR(""), 384, false, false }, { VECTOR(",\"vector\":null"), 0, false, false },
		{ VECTOR(",\"vector\":-1"), 0, false, false },
	};
	struct ask a;

	for (size_t i = 0; i < COUNT(rows); i++) {
		begin(&a, ASK_UPSERT, 1);
		store.dimension = rows[i].dimension;
		objects[0].vector = rows[i].given ? vector : NULL;
		next(&a);
		reply(&a, 200, rows[i].body);
		ok(verdict_is(&asked[0].verdict, rows[i].good ? VERDICT_OK : VERDICT_ATTEMPT, false),
		   "vector %zu: %s", i, asked[0].verdict.text);
	}
	store.dimension = 2;
	objects[0].vector = vector;
}

static void test_embedded(void)
{
	static const struct turn turns[] = {
		{ "POST", "batch/objects", "{\"objects\":[{\"class\":\"Code\",\"id\":\"" ID0 "\",\"properties\":"
		  "{\"content\":\"say \\\"hi\\\"\\n\\tback\\\\slash caf\xc3\xa9 \\u0001/\",\"file_path\":"
		  "\"a\\\"b.c\",\"size_bytes\":-9007199254740993,\"truncated\":true}}]}", 200,
		  "[" ECHO(ID0, SUCCESS) "]" },
	};
	struct ask a;

	objects[0].vector = NULL;
	begin(&a, ASK_UPSERT, 1);
	PLAY(&a, turns, "without a vector");
	ok(verdict_is(&a.verdict, VERDICT_OK, false), "the store embeds it");
	objects[0].vector = vector;
}

/* The table of answers, for the two writes.  many and one: with two objects, with one. */
static const struct {
	long status;
	const char *body;
	enum verdict_scope many, one;
	bool kept_nothing;
} table[] = {
	{ 200, "", VERDICT_UNKNOWN, VERDICT_UNKNOWN, false },
	{ 200, "<html>welcome", VERDICT_UNKNOWN, VERDICT_UNKNOWN, false },
	{ 201, "{}", VERDICT_UNKNOWN, VERDICT_UNKNOWN, false },
	{ 204, "", VERDICT_UNKNOWN, VERDICT_UNKNOWN, false },
	{ 301, "", VERDICT_RUN, VERDICT_RUN, false },
	{ 308, "", VERDICT_RUN, VERDICT_RUN, false },
	{ 400, "{\"code\":400,\"message\":\"parsing body body from \\\"\\\" failed, because invalid "
	       "character\"}", VERDICT_REQUEST, VERDICT_OBJECT, true },
	{ 400, "{\"code\":400,\"message\":\"parsing body body from \\\"\\\" failed, because read tcp "
	       "127.0.0.1:1->127.0.0.1:2: i/o timeout\"}", VERDICT_ATTEMPT, VERDICT_ATTEMPT, true },
	{ 401, "{\"code\":401,\"message\":\"unauthorized: invalid api key\"}", VERDICT_AUTH, VERDICT_AUTH,
	  true },
	{ 403, "{\"error\":[{\"message\":\"adminlist: authorization, forbidden action\"}]}", VERDICT_AUTH,
	  VERDICT_AUTH, true },
	{ 404, "{\"code\":404,\"message\":\"path x was not found\"}", VERDICT_OPENING, VERDICT_OPENING, true },
	{ 405, "", VERDICT_REQUEST, VERDICT_OBJECT, true },
	{ 408, "", VERDICT_ATTEMPT, VERDICT_ATTEMPT, false },
	{ 413, "too large", VERDICT_REQUEST, VERDICT_OBJECT, true },
	{ 415, "", VERDICT_REQUEST, VERDICT_OBJECT, true },
	{ 422, "{\"code\":601,\"message\":\"objects.0.id in body must be of type uuid\"}", VERDICT_REQUEST,
	  VERDICT_OBJECT, true },
	{ 422, "{\"error\":[{\"message\":\"validate: failed to get class: Code\"}]}", VERDICT_OPENING,
	  VERDICT_OPENING, true },
	{ 422, "{\"error\":[{\"message\":\"no graphql provider present, this is most likely because no schema is "
	       "present\"}]}", VERDICT_OPENING, VERDICT_OPENING, true },
	{ 425, "", VERDICT_STORE, VERDICT_STORE, true },
	{ 429, "slow down", VERDICT_STORE, VERDICT_STORE, true },
	{ 429, "{\"errorCode\":\"USAGE_LIMIT_EXCEEDED\",\"limit\":\"objects\",\"message\":\"full\","
	       "\"value\":30}", VERDICT_RUN, VERDICT_RUN, true },
	{ 500, "{\"error\":[{\"message\":\"batch objects: &fmt.wrapError{msg:\\\"cannot process batch: not "
	       "enough memory\\\"}\"}]}", VERDICT_ATTEMPT, VERDICT_ATTEMPT, true },
	{ 500, "{\"error\":[{\"message\":\"x: not enough memory\"}]}", VERDICT_ATTEMPT, VERDICT_ATTEMPT, false },
	{ 500, "{\"error\":[{\"message\":\"context deadline exceeded\"}]}", VERDICT_ATTEMPT, VERDICT_ATTEMPT,
	  false },
	{ 500, "{\"error\":[{\"message\":\"delete from non-existing index for Code\"}]}", VERDICT_OPENING,
	  VERDICT_OPENING, false },
	{ 500, "{\"error\":[{\"message\":\"store is read-only due to: manually set by user\"}]}",
	  VERDICT_STORE, VERDICT_STORE, false },
	{ 500, "", VERDICT_ATTEMPT, VERDICT_ATTEMPT, false },
	{ 501, "", VERDICT_UNKNOWN, VERDICT_UNKNOWN, false },
	{ 502, "<html>", VERDICT_STORE, VERDICT_STORE, false },
	{ 503, "", VERDICT_STORE, VERDICT_STORE, false },
	{ 504, "", VERDICT_STORE, VERDICT_STORE, false },
	{ 599, "", VERDICT_UNKNOWN, VERDICT_UNKNOWN, false },
};

static void test_table(enum ask_kind kind, size_t n)
{
	for (size_t i = 0; i < COUNT(table); i++) {
		enum verdict_scope want = n > 1 ? table[i].many : table[i].one;
		struct ask a;

		begin(&a, kind, n);
		next(&a);
		reply(&a, table[i].status, table[i].body);
		ok(verdict_is(&a.verdict, want, table[i].kept_nothing) &&
		   verdict_is(&asked[0].verdict, want, table[i].kept_nothing) &&
		   (n < 2 || verdict_is(&asked[1].verdict, want, table[i].kept_nothing)) &&
		   asked[0].verdict.http == table[i].status, "%s of %zu, %ld '%.40s'",
		   kind == ASK_UPSERT ? "upsert" : "delete", n, table[i].status, table[i].body);
		want_end(&a, "table");
	}
}

static void test_no_answer(void)
{
	struct ask a;

	begin(&a, ASK_UPSERT, 2);
	next(&a);
	lose(&a, -1, "");
	ok(verdict_is(&asked[1].verdict, VERDICT_STORE, true) && !strcmp(a.verdict.text, "gone"), "not sent");
	begin(&a, ASK_UPSERT, 2);
	next(&a);
	lose(&a, 0, "");
	ok(verdict_is(&asked[1].verdict, VERDICT_ATTEMPT, false), "lost");
	begin(&a, ASK_UPSERT, 2);
	next(&a);
	lose(&a, -2, BOTH);
	ok(verdict_is(&asked[1].verdict, VERDICT_ATTEMPT, false) && strstr(a.verdict.text, "sent twice"),
	   "sent twice: what was cut off the first time may never be indexed");
	begin(&a, ASK_DELETE, 2);
	next(&a);
	lose(&a, -2, DELETED("2", "2"));
	ok(verdict_is(&asked[1].verdict, VERDICT_OK, false), "a delete that was sent twice is done");
}

/* Deleting */

static void test_delete(void)
{
	static const struct turn turns[] = {
		{ "DELETE", "batch/objects", DELETE_IDS("\"" ID0 "\",\"" ID1 "\""), 200, DELETED("0", "0") },
	};
	static const struct turn rounds[] = {
		{ "DELETE", "batch/objects", DELETE_IDS("\"" ID0 "\",\"" ID1 "\""), 200, DELETED("2", "1") },
		{ "DELETE", "batch/objects", DELETE_IDS("\"" ID0 "\",\"" ID1 "\""), 200, DELETED("1", "1") },
	};
	static const struct turn again[] = {
		{ "DELETE", "batch/objects", DELETE_IDS("\"" ID0 "\""), 200, DELETED("1", "1") },
		{ "DELETE", "objects/Code/" ID1, "", 204, "" },
	};
	static const struct turn alone[] = {
		{ "DELETE", "objects/Code/" ID0, "", 404, "" },
		{ "DELETE", "objects/Code/" ID1, "", 204, "" },
	};
	struct ask a;

	begin(&a, ASK_DELETE, 2);
	PLAY(&a, turns, "delete");
	ok(verdict_is(&asked[0].verdict, VERDICT_OK, false) && verdict_is(&asked[1].verdict, VERDICT_OK, false),
	   "what is absent is deleted");
	begin(&a, ASK_DELETE, 2);
	PLAY(&a, rounds, "in rounds");
	ok(verdict_is(&asked[1].verdict, VERDICT_OK, false), "deleted in two rounds");
	begin(&a, ASK_DELETE, 2);
	asked[1].again = true;
	PLAY(&a, again, "one again");
	ok(verdict_is(&asked[0].verdict, VERDICT_OK, false) && verdict_is(&asked[1].verdict, VERDICT_OK, false) &&
	   verdict_is(&a.verdict, VERDICT_OK, false), "both deleted");
	begin(&a, ASK_DELETE, 2);
	asked[0].again = true;
	PLAY(&a, alone, "both again");
	ok(verdict_is(&asked[0].verdict, VERDICT_OK, false) && verdict_is(&asked[1].verdict, VERDICT_OK, false),
	   "one by one");
	begin(&a, ASK_DELETE, 2);
	asked[0].again = false;
	next(&a);
	reply(&a, 200, DELETED("1", "1"));
	next(&a);
	lose(&a, 0, "");
	want_end(&a, "the second is lost");
	ok(verdict_is(&asked[0].verdict, VERDICT_OK, false) &&
	   verdict_is(&asked[1].verdict, VERDICT_ATTEMPT, false) && a.verdict.scope == VERDICT_ATTEMPT,
	   "what was deleted before stays deleted");
	begin(&a, ASK_DELETE, 2);
	next(&a);
	lose(&a, -2, DELETED("1", "1"));
	want_end(&a, "the first was sent twice");
	ok(verdict_is(&asked[0].verdict, VERDICT_OK, false) && verdict_is(&asked[1].verdict, VERDICT_ATTEMPT, false),
	   "and nothing more is sent in that ask");
	asked[1].again = false;
}

static void test_not_deleted(void)
{
	static const struct {
		const char *body;
		enum verdict_scope scope;
	} rows[] = {
		{ "{\"results\":{\"matches\":2,\"successful\":0,\"failed\":1,\"objects\":[{\"errors\":{\"error\":"
		  "[{\"message\":\"store is read-only due to: manually set by user\"}]},\"status\":\"FAILED\"}]}}",
		  VERDICT_STORE },
		{ DELETED("2", "0"), VERDICT_ATTEMPT }, { DELETED("1", "2"), VERDICT_UNKNOWN },
		{ DELETED("-1", "-1"), VERDICT_UNKNOWN }, { DELETED("\"1\"", "1"), VERDICT_UNKNOWN },
		{ DELETED("3", "3"), VERDICT_UNKNOWN }, { DELETED("2", "2,\"failed\":-1"), VERDICT_UNKNOWN },
		{ "{\"results\":{}}", VERDICT_UNKNOWN }, { "{\"results\":null}", VERDICT_UNKNOWN },
		{ "{}", VERDICT_UNKNOWN }, { "[]", VERDICT_UNKNOWN }, { "", VERDICT_UNKNOWN },
	};
	struct ask a;

	for (size_t i = 0; i < COUNT(rows); i++) {
		begin(&a, ASK_DELETE, 2);
		next(&a);
		reply(&a, 200, rows[i].body);
		ok(verdict_is(&asked[0].verdict, rows[i].scope, false) &&
		   verdict_is(&asked[1].verdict, rows[i].scope, false), "not deleted %zu: %s", i, a.verdict.text);
		want_end(&a, "not deleted");
	}
	begin(&a, ASK_DELETE, 2);
	for (int i = 0; i < 10 && a.verdict.scope == VERDICT_UNKNOWN && !*a.verdict.text; i++) {
		next(&a);
		reply(&a, 200, DELETED("2", "1"));
	}
	want_end(&a, "more rounds than objects");
	ok(a.verdict.scope == VERDICT_UNKNOWN && *a.verdict.text, "that would be without end");
}

/* The witness of objects that failed: where the store embeds, its provider must answer as well. */
static void test_touch_embeds(void)
{
	static const struct turn turns[] = {
		{ "DELETE", "batch/objects", NULL, 200, DELETED("0", "0") },
		{ "GET", "schema/Code/shards", "", 200, SHARDS },
		{ "POST", "graphql", "{\"query\":\"{Get{Code(nearText:{concepts:[\\\"linesync\\\"]},limit:1)"
		  "{_additional{id}}}}\"}", 200, GET("") },
	};
	static const struct {
		const char *text;
		enum verdict_scope scope;
		const char *says;
	} rows[] = {
		{ "remote client vectorize: connection to: OpenAI API failed with status: 500", VERDICT_ATTEMPT, "500" },
		{ "remote client vectorize: connection to: OpenAI API failed with status: 503", VERDICT_STORE, "503" },
		{ "remote client vectorize: connection to: OpenAI API failed with status: 401 error: x",
		  VERDICT_RUN, "--store-header-file" },
		{ "explorer: get class: vectorize params: vectorize keywords: remote client vectorize: API Key: no api "
		  "key found neither in request header: X-Openai-Api-Key", VERDICT_RUN, "X-Openai-Api-Key" },
	};
	char *body;
	struct ask a;

	store.vectoriser = xstrdup("text2vec-openai");
	store.embeds = true;
	begin(&a, ASK_TOUCH, 0);
	play(&a, turns, 2, "a touch that blames nobody embeds nothing");
	begin(&a, ASK_TOUCH, 0);
	a.blames = true;
	PLAY(&a, turns, "a witness embeds a word");
	ok(verdict_is(&a.verdict, VERDICT_OK, false), "and is one");
	for (size_t i = 0; i < COUNT(rows); i++) {
		begin(&a, ASK_TOUCH, 0);
		a.blames = true;
		for (int k = 0; k < 2; k++) {
			next(&a);
			reply(&a, 200, turns[k].answer);
		}
		next(&a);
		body = xasprintf(ERRORS("%s"), rows[i].text);
		reply(&a, 200, body);
		ok(a.verdict.scope == rows[i].scope && strstr(a.verdict.text, rows[i].says), "no witness: %s",
		   a.verdict.text);
		want_end(&a, "no witness");
		free(body);
	}
	store.embeds = false;
	begin(&a, ASK_TOUCH, 0);
	a.blames = true;
	play(&a, turns, 2, "where vectors are given, none is embedded");
	set_up();
}

static void test_touch(void)
{
	static const struct turn named[] = {
		{ "DELETE", "batch/objects", NULL, 200, DELETED("0", "0") },
	};
	static const struct turn turns[] = {
		{ "DELETE", "batch/objects", DELETE_IDS("\"00000000-0000-5000-8000-000000000000\""), 200,
		  DELETED("0", "0") },
		{ "GET", "schema/Code/shards", "", 200, SHARDS },
	};
	static const struct {
		long status;
		const char *body;
		enum verdict_scope scope;
		const char *says;
	} rows[] = {
		{ 200, "[{\"name\":\"" SHARD "\",\"status\":\"READY\"},{\"name\":\"zz\",\"status\":\"READONLY\"}]",
		  VERDICT_STORE, "read-only" },
		{ 200, "[{\"name\":\"another\",\"status\":\"READY\"}]", VERDICT_RUN, "made anew" },
		{ 404, "{\"error\":[{\"message\":\"non-existing index for Code\"}]}", VERDICT_OPENING, "" },
		{ 200, "[]", VERDICT_UNKNOWN, "" }, { 200, "", VERDICT_UNKNOWN, "" }, { 503, "", VERDICT_STORE, "" },
	};
	struct ask a;

	begin(&a, ASK_TOUCH, 0);
	PLAY(&a, turns, "touch");
	ok(verdict_is(&a.verdict, VERDICT_OK, false), "touched");
	for (size_t i = 0; i < COUNT(rows); i++) {
		begin(&a, ASK_TOUCH, 0);
		next(&a);
		reply(&a, 200, DELETED("0", "0"));
		next(&a);
		reply(&a, rows[i].status, rows[i].body);
		ok(a.verdict.scope == rows[i].scope && strstr(a.verdict.text, rows[i].says),
		   "touch, shards %zu: %s", i, a.verdict.text);
		want_end(&a, "touch");
	}
	free(store.collection_id);
	store.collection_id = xstrdup("Code");
	begin(&a, ASK_TOUCH, 0);
	PLAY(&a, named, "touch, shards unknown");
	ok(verdict_is(&a.verdict, VERDICT_OK, false), "touched without a look at the shards");
	set_up();
	test_touch_embeds();
	for (size_t i = 0; i < COUNT(table); i++) {
		begin(&a, ASK_TOUCH, 0);
		next(&a);
		reply(&a, table[i].status, table[i].body);
		ok(a.verdict.scope == (table[i].one == VERDICT_OBJECT ? VERDICT_RUN : table[i].one),
		   "touch, %ld: %s", table[i].status, scopes[a.verdict.scope]);
		want_end(&a, "touch");
	}
}

/* Reading */

static const struct {
	const char *body;
	enum verdict_scope scope;
	uint64_t count;
} counts[] = {
	{ "{\"data\":{\"Aggregate\":{\"Code\":[{\"meta\":{\"count\":60}}]}}}", VERDICT_OK, 60 },
	{ "{\"data\":{\"Aggregate\":{\"Code\":[{\"meta\":{\"count\":0}}]}}}", VERDICT_OK, 0 },
	{ "{\"data\":{\"Aggregate\":{\"Code\":[{\"meta\":{\"count\":-1}}]}}}", VERDICT_UNKNOWN, 0 },
	{ "{\"data\":{\"Aggregate\":{\"Code\":[{\"meta\":{}}]}}}", VERDICT_UNKNOWN, 0 },
	{ "{\"data\":{\"Aggregate\":{\"Code\":[]}}}", VERDICT_UNKNOWN, 0 },
	{ "{\"data\":{\"Aggregate\":{\"Code\":null}},\"errors\":[{\"message\":\"tried to browse non-existing "
	  "index for Code\"}]}", VERDICT_OPENING, 0 },
	{ "{\"data\":{\"Aggregate\":{\"Code\":[{\"meta\":{\"count\":60}}]}},\"errors\":[{\"message\":\"half\"}]}",
	  VERDICT_ATTEMPT, 0 },
	{ "{\"errors\":[{\"message\":\"Cannot query field \\\"Code\\\" on type \\\"AggregateObjectsObj\\\".\"}]}",
	  VERDICT_OPENING, 0 },
	{ "{\"errors\":[{\"message\":\"Syntax Error\"}]}", VERDICT_RUN, 0 },
	{ "{\"errors\":[]}", VERDICT_UNKNOWN, 0 }, { "{\"errors\":[1]}", VERDICT_UNKNOWN, 0 },
	{ "{\"data\":null}", VERDICT_UNKNOWN, 0 }, { "", VERDICT_UNKNOWN, 0 }, { "7", VERDICT_UNKNOWN, 0 },
};

static void test_count(void)
{
	static const struct turn turns[] = {
		{ "POST", "graphql", "{\"query\":\"{Aggregate{Code{meta{count}}}}\"}", 200,
		  "{\"data\":{\"Aggregate\":{\"Code\":[{\"meta\":{\"count\":3}}]}}}" },
	};
	static const struct turn named[] = {
		{ "POST", "graphql", "{\"query\":\"{Get{Code(where:{path:[\\\"id\\\"],operator:ContainsAny,valueText:"
		  "[\\\"" ID0 "\\\",\\\"" ID1 "\\\"]},limit:2){_additional{id}}}}\"}", 200, GET(FOUND(ID1)) },
	};
#define NAMED(ids, n) "{\"query\":\"{Get{Code(where:{path:[\\\"id\\\"],operator:ContainsAny,valueText:[" ids \
		      "]},limit:" n "){_additional{id}}}}\"}"
	static const struct turn by_ones[] = {
		{ "POST", "graphql", NAMED(Q0 ",\\\"" ID1 "\\\"", "2"), 200,
		  "{\"errors\":[{\"message\":\"list class: search: query maximum results exceeded\"}]}" },
		{ "POST", "graphql", NAMED(Q0, "1"), 200, GET("") },
		{ "POST", "graphql", NAMED("\\\"" ID1 "\\\"", "1"), 200, GET(FOUND(ID1)) },
	};
	struct ask a;

	begin(&a, ASK_COUNT, 0);
	PLAY(&a, turns, "count");
	ok(verdict_is(&a.verdict, VERDICT_OK, false) && a.count == 3, "counted");
	begin(&a, ASK_COUNT, 2);
	PLAY(&a, named, "count of two");
	ok(verdict_is(&a.verdict, VERDICT_OK, false) && a.count == 1, "one of them is there");
	begin(&a, ASK_COUNT, 2);
	reply(&a, 200, GET(FOUND(ID1) "," FOUND(ID1)));
	ok(verdict_is(&a.verdict, VERDICT_OK, false) && a.count == 1, "one that is listed twice is one");
	begin(&a, ASK_COUNT, 2);
	reply(&a, 200, GET(FOUND(ID0) "," FOUND(ID1) "," FOUND(ID1)));
	ok(verdict_is(&a.verdict, VERDICT_UNKNOWN, false) && a.count == 0, "three for two are no answer");
	begin(&a, ASK_COUNT, 2);
	PLAY(&a, by_ones, "count where no two are given at once");
	ok(verdict_is(&a.verdict, VERDICT_OK, false) && a.count == 1, "counted one by one");
	for (size_t i = 0; i < COUNT(counts); i++) {
		begin(&a, ASK_COUNT, 0);
		reply(&a, 200, counts[i].body);
		ok(verdict_is(&a.verdict, counts[i].scope, false) && a.count == counts[i].count, "count %zu", i);
		want_end(&a, "count");
	}
}

#define OURS(id) "{\"_additional\":{\"id\":\"" id "\"},\"repository\":\"R\",\"file_path\":\"a/b\"," \
		 "\"chunk_index\":3,\"sync_digest\":\"00112233445566778899aabbccddeeff\"}"
#define LIST(after)                                                                              \
	"{\"query\":\"{Get{Code(limit:1000,after:\\\"" after "\\\"){file_path repository chunk_index " \
	"sync_digest _additional{id}}}}\"}"

static void test_list(void)
{
	static const struct turn turns[] = {
		{ "POST", "graphql", LIST(""), 200,
		  GET(OURS(ID1) ",{\"_additional\":{\"id\":\"" ID0 "\"},\"repository\":null,\"file_path\":null,"
		      "\"chunk_index\":null,\"sync_digest\":null}") },
	};
	static const struct turn more[] = { { "POST", "graphql", LIST(ID0), 200, GET("") } };
	static const char *const bad[] = {
		GET(OURS(ID0) "," OURS(ID1)), GET(OURS(ID1) "," OURS(ID1)), GET("{}"), GET("null"),
		GET(OURS("x")), GET("{\"_additional\":null}"), "", "{}", GET("1"),
	};
	struct ask a;

	begin(&a, ASK_LIST, 0);
	PLAY(&a, turns, "list");
	ok(a.verdict.scope == VERDICT_OK && a.nfound == 2 && a.end && !strcmp(a.after, ID0), "listed");
	ok(!strcmp(a.found[0].id, ID1) && !strcmp(a.found[0].repo, "R") && !strcmp(a.found[0].path, "a/b") &&
	   a.found[0].chunk == 3 && !strcmp(a.found[0].digest, "00112233445566778899aabbccddeeff"), "ours");
	ok(!strcmp(a.found[1].id, ID0) && !a.found[1].repo && !a.found[1].path, "and of others");
	ask_release(&a);
	begin(&a, ASK_LIST, 0);
	memcpy(a.after, ID0, sizeof(ID0));
	PLAY(&a, more, "the next page");
	ok(a.verdict.scope == VERDICT_OK && !a.nfound && a.end && !strcmp(a.after, ID0), "is empty");
	ask_release(&a);
	for (size_t i = 0; i < COUNT(bad); i++) {
		begin(&a, ASK_LIST, 0);
		reply(&a, 200, bad[i]);
		ok(a.verdict.scope == VERDICT_UNKNOWN && !a.nfound && !a.end && !*a.after, "no list %zu", i);
	}
	begin(&a, ASK_LIST, 0);
	memcpy(a.after, ID1, sizeof(ID1));
	reply(&a, 200, GET(OURS(ID1)));
	ok(a.verdict.scope == VERDICT_UNKNOWN && !a.nfound, "a cursor that does not move would read for ever");
}

static void test_full_page(void)
{
	struct buf b = BUF_INIT;
	struct ask a;

	buf_adds(&b, "{\"data\":{\"Get\":{\"Code\":[");
	for (int i = 0; i < 1000; i++)
		buf_addf(&b, "%s" FOUND("00000000-0000-5000-8000-%012d"), i ? "," : "", i);
	buf_adds(&b, "]}}}");
	begin(&a, ASK_LIST, 0);
	reply(&a, 200, b.data);
	ok(a.nfound == 1000 && !a.end && !strcmp(a.after, "00000000-0000-5000-8000-000000000999"),
	   "a full page is not the last");
	ask_release(&a);
	buf_release(&b);
}

#define OBJECT(id) "{\"class\":\"Code\",\"id\":\"" id "\",\"properties\":{\"repository\":\"R\","  \
		   "\"file_path\":\"a/b\",\"chunk_index\":3,\"content\":\"x\","                \
		   "\"sync_digest\":\"00112233445566778899aabbccddeeff\"},\"vector\":[1,2]}"

static void test_fetch(void)
{
	static const struct turn turns[] = {
		{ "GET", "objects/Code/" ID0 "?include=vector", "", 200, OBJECT(ID0) },
		{ "GET", "objects/Code/" ID1 "?include=vector", "", 200, OBJECT(ID1) },
		{ "POST", "graphql", CHECK(Q0 "," Q1, "2"), 200, GET(FOUND(ID1)) },
	};
	static const struct turn absent[] = {
		{ "GET", "objects/Code/" ID0 "?include=vector", "", 404, "" },
		{ "GET", "objects/Code/" ID1 "?include=vector", "", 404, "" },
	};
	static const struct turn bare[] = {
		{ "GET", "objects/Code/" ID0 "?include=vector", "", 200,
		  "{\"id\":\"" ID0 "\",\"properties\":{\"repository\":\"R\",\"file_path\":\"p\",\"chunk_index\":0,"
		  "\"sync_digest\":\"0011\"}}" },
		{ "GET", "objects/Code/" ID1 "?include=vector", "", 404, "" },
	};
	static const struct turn lengths[] = {
		{ "GET", "objects/Code/" ID0 "?include=vector", "", 200, OBJECT(ID0) },
		{ "GET", "objects/Code/" ID1 "?include=vector", "", 404, "" },
		{ "POST", "graphql", NULL, 200, ERRORS("explorer: 2 vs 3: vector lengths don't match") },
	};
	struct ask a;

	store.dimension = 0;
	begin(&a, ASK_FETCH, 2);
	PLAY(&a, turns, "fetch");
	ok(a.verdict.scope == VERDICT_OK && asked[1].verdict.scope == VERDICT_OK && a.nfound == 2 &&
	   !*a.found[0].digest && !strcmp(a.found[0].path, "a/b") && a.found[1].digest[0] == '0',
	   "what the index does not find has no digest");
	ask_release(&a);
	begin(&a, ASK_FETCH, 2);
	PLAY(&a, absent, "fetch what is absent");
	ok(a.verdict.scope == VERDICT_OK && !a.nfound, "nothing is there");
	store.dimension = 0;
	begin(&a, ASK_FETCH, 2);
	PLAY(&a, bare, "fetch without a vector");
	ok(a.verdict.scope == VERDICT_OK && a.nfound == 1 && !*a.found[0].digest, "no index can find it");
	ask_release(&a);
	begin(&a, ASK_FETCH, 2);
	PLAY(&a, lengths, "fetch with a vector of another length");
	ok(a.verdict.scope == VERDICT_OK && a.nfound == 1 && !*a.found[0].digest, "it is not proved to be found");
	ask_release(&a);
	store.dimension = 2;
}

static void test_not_fetched(void)
{
	static const struct {
		long status;
		const char *body;
		enum verdict_scope scope;
	} rows[] = {
		{ 200, "", VERDICT_UNKNOWN }, { 200, OBJECT(ID1), VERDICT_UNKNOWN }, { 200, "[]", VERDICT_UNKNOWN },
		{ 404, "<html>nothing here", VERDICT_OPENING }, { 500, "", VERDICT_ATTEMPT },
		{ 503, "", VERDICT_STORE }, { 401, "", VERDICT_AUTH }, { 0, "", VERDICT_ATTEMPT },
	};
	struct ask a;

	for (size_t i = 0; i < COUNT(rows); i++) {
		begin(&a, ASK_FETCH, 2);
		next(&a);
		lose(&a, rows[i].status, rows[i].body);
		ok(a.verdict.scope == rows[i].scope && asked[1].verdict.scope == rows[i].scope && !a.nfound,
		   "not fetched %zu: %s", i, scopes[a.verdict.scope]);
		want_end(&a, "not fetched");
	}
}

#define HIT(id, repo, distance)                                                                    \
	"{\"_additional\":{\"distance\":" distance ",\"id\":\"" id "\"},\"repository\":\"" repo "\","   \
	"\"file_path\":\"a/b\",\"chunk_index\":0,\"content\":\"text\",\"start_line\":1,\"end_line\":9," \
	"\"sync_digest\":\"00\"}"
#define ASKS "{file_path repository chunk_index sync_digest start_line end_line content " \
	     "_additional{id distance}}}}\"}"

static void test_search(void)
{
	static const struct turn turns[] = {
		{ "POST", "graphql", "{\"query\":\"{Get{Code(nearVector:{vector:" NUMBERS "},limit:3,where:{path:["
		  "\\\"repository\\\"],operator:Equal,valueText:\\\"R\\\\\\\"}\\\"})" ASKS, 200,
		  GET(HIT(ID0, "R\\\"}", "0.25") "," HIT(ID1, "R\\\"} ", "1") "," HIT(ID1, "R\\\"}", "1")) },
	};
	static const struct turn text[] = {
		{ "POST", "graphql", "{\"query\":\"{Get{Code(nearText:{concepts:[\\\"a \\\\\\\"b\\\\\\\"\\\\n\\\"]},"
		  "limit:3)" ASKS, 200, GET("{\"_additional\":{\"distance\":0.5,\"id\":\"" ID0 "\"},"
					   "\"content\":null}") },
	};
	static const struct turn embeds[] = {
		{ "POST", "graphql", "{\"query\":\"{Get{Code(nearText:{concepts:[\\\"x\\\"]},limit:1){_additional{id}}}}\"}",
		  200, GET(FOUND(ID0)) },
	};
	static const char *const bad[] = {
		GET("{}"), GET("null"), GET("{\"_additional\":{\"id\":\"" ID0 "\"}}"),
		GET("{\"_additional\":{\"id\":\"" ID0 "\",\"distance\":null}}"), "", "{}",
		GET(HIT(ID0, "R", "0") "," HIT(ID0, "R", "0") "," HIT(ID0, "R", "0") "," HIT(ID0, "R", "0")),
	};
	struct ask a;

	begin(&a, ASK_SEARCH, 0);
	a.vector = vector;
	a.dim = 2;
	a.limit = 3;
	a.repo = "R\"}";
	PLAY(&a, turns, "search");
	ok(a.verdict.scope == VERDICT_OK && a.nhits == 2 && a.hits[0].distance == 0.25 && a.hits[1].distance == 1 &&
	   !strcmp(a.hits[0].text, "text") && a.hits[0].start_line == 1 && a.hits[0].end_line == 9 &&
	   !strcmp(a.hits[0].found.path, "a/b"), "a repository's name is compared whole");
	ask_release(&a);
	begin(&a, ASK_SEARCH, 0);
	a.text = "a \"b\"\n";
	a.limit = 3;
	ok(store.driver->build(&store, &a, &(struct request){ 0 }) == 0 && a.verdict.scope == VERDICT_RUN,
	   "no vectoriser: %s", a.verdict.text);
	store.vectoriser = xstrdup("text2vec-ollama");
	begin(&a, ASK_SEARCH, 0);
	a.text = "a \"b\"\n";
	a.limit = 3;
	PLAY(&a, text, "search by text");
	ok(a.verdict.scope == VERDICT_OK && a.nhits == 1 && !a.hits[0].found.repo && !a.hits[0].text &&
	   !a.hits[0].start_line, "and others' objects are found too");
	ask_release(&a);
	for (size_t i = 0; i < COUNT(bad); i++) {
		begin(&a, ASK_SEARCH, 0);
		a.limit = 3;
		reply(&a, 200, bad[i]);
		ok(a.verdict.scope == VERDICT_UNKNOWN && !a.nhits && !a.hits, "no hits %zu", i);
	}
	begin(&a, ASK_SEARCH, 0);
	a.text = "x";
	PLAY(&a, embeds, "whether the store embeds a text");
	ok(a.verdict.scope == VERDICT_OK && !a.nhits, "it does");
	begin(&a, ASK_SEARCH, 0);
	a.limit = 3;
	reply(&a, 200, ERRORS("2 vs 3: vector lengths don't match"));
	ok(a.verdict.scope == VERDICT_RUN && strstr(a.verdict.text, "lengths"), "another length");
	set_up();
}

/* Opening */

#define PROP(name, type, more) "{\"name\":\"" name "\",\"dataType\":[\"" type "\"]" more "}"
#define TEXT(name) PROP(name, "text", ",\"tokenization\":\"field\",\"indexSearchable\":false")
#define PROPS_BEHIND_PATH                                                                          \
	TEXT("file_name") "," TEXT("repository") ","                                                \
	PROP("content", "text", ",\"tokenization\":\"word\"") "," TEXT("language") ","               \
	TEXT("extension") "," TEXT("mime_type") "," PROP("size_bytes", "int", "") ","                \
	PROP("line_count", "int", "") "," TEXT("content_hash") "," PROP("truncated", "boolean", "") "," \
	PROP("chunk_index", "int", "") "," PROP("chunk_count", "int", "") "," PROP("start_line", "int", "") "," \
	PROP("end_line", "int", "") "," TEXT("charset") "," PROP("synced_at", "date", "") ","         \
	PROP("metadata", "text", ",\"indexFilterable\":false,\"indexSearchable\":false") "," TEXT("sync_digest")
#define PROPS TEXT("file_path") "," PROPS_BEHIND_PATH
#define COSINE "\"vectorIndexConfig\":{\"distance\":\"cosine\"}"
#define CLASS(vectoriser, props) "{\"class\":\"Code\",\"vectorizer\":\"" vectoriser "\"," COSINE \
				 ",\"properties\":[" props "]}"
#define PROBED(vectoriser, more) "{\"class\":\"Code_linesync_probe\",\"vectorizer\":\"" vectoriser "\"" more "}"
#define SAMPLE "{\"query\":\"{Get{Code(limit:10){_additional{vector}}}}\"}"
#define PROBE "{\"class\":\"Code_linesync_probe\",\"description\":\"made by linesync to learn the default " \
	      "vectoriser; can be deleted\"}"

static void begin_open(struct ask *a, bool create)
{
	begin(a, ASK_OPEN, 0);
	a->create = create;
	free(store.collection_id);
	store.collection_id = NULL;
	store.dimension = 7;
	store.existed = false;
	store.embeds = false;
}

static bool opened(const struct ask *a, bool existed, size_t dimension, const char *vectoriser)
{
	return verdict_is(&a->verdict, VERDICT_OK, false) && store.collection_id &&
	       !strcmp(store.collection_id, SHARD) && store.existed == existed &&
	       store.dimension == dimension &&
	       (vectoriser ? store.vectoriser && !strcmp(store.vectoriser, vectoriser) : !store.vectoriser);
}

static void test_ready(void)
{
	static const struct turn turns[] = {
		{ "GET", ".well-known/ready", "", 200, "" },
		{ "GET", "meta", "", 200, "{\"hostname\":\"x\",\"version\":\"1.39.0\"}" },
	};
	static const struct {
		int step;
		long status;
		const char *body;
		enum verdict_scope scope;
		const char *says;
	} rows[] = {
		{ 0, 503, "", VERDICT_STORE, "503" }, { 0, 404, "page not found", VERDICT_RUN, "no Weaviate at" },
		{ 0, 301, "", VERDICT_RUN, "redirects" }, { 1, 200, "", VERDICT_UNKNOWN, "" },
		{ 1, 200, "{\"version\":7}", VERDICT_UNKNOWN, "" },
		{ 1, 401, "{\"code\":401,\"message\":\"anonymous access not enabled\"}", VERDICT_AUTH, "anonymous" },
		{ 1, 401, "{\"code\":401,\"message\":\"no authentication scheme is configured (API Key or OIDC), "
		  "but an 'Authorization' header was provided. Please configure an auth scheme or remove the header "
		  "for anonymous access\"}", VERDICT_AUTH, "remove the key" },
		{ 1, 404, "", VERDICT_RUN, "no Weaviate at" }, { 1, 500, "", VERDICT_ATTEMPT, "500" },
	};
	struct ask a;

	begin(&a, ASK_READY, 0);
	PLAY(&a, turns, "ready");
	ok(verdict_is(&a.verdict, VERDICT_OK, false) && !strcmp(store.version, "1.39.0"), "and its version");
	for (size_t i = 0; i < COUNT(rows); i++) {
		begin(&a, ASK_READY, 0);
		a.step = rows[i].step;
		reply(&a, rows[i].status, rows[i].body);
		ok(a.verdict.scope == rows[i].scope && strstr(a.verdict.text, rows[i].says), "not ready %zu: %s, %s",
		   i, scopes[a.verdict.scope], a.verdict.text);
		want_end(&a, "not ready");
	}
}

static void test_open(void)
{
	static const struct turn create[] = {
		{ "GET", "schema/Code", "", 404, "" },
		{ "POST", "schema", CLASS("none", PROPS), 200, CLASS("none", PROPS) },
		{ "GET", "schema/Code/shards", "", 200, SHARDS },
	};
	static const struct turn find[] = {
		{ "GET", "schema/Code", "", 200, CLASS("text2vec-ollama", PROPS) },
		{ "GET", "schema/Code/shards", "", 200, SHARDS },
		{ "POST", "graphql", SAMPLE, 200, GET("{\"_additional\":{\"vector\":[]}},"
						      "{\"_additional\":{\"vector\":[1,2,3]}}") },
	};
	static const struct turn looked[] = {
		{ "GET", "schema/Code", "", 200, CLASS("text2vec-ollama", PROPS_BEHIND_PATH) },
		{ "GET", "schema/Code/shards", "", 200, SHARDS },
		{ "POST", "graphql", SAMPLE, 200, GET("") },
	};
	static const struct turn race[] = {
		{ "GET", "schema/Code", "", 404, "" },
		{ "POST", "schema", NULL, 422, ERROR("class already exists") },
		{ "GET", "schema/Code", "", 200, CLASS("none", PROPS) },
		{ "GET", "schema/Code/shards", "", 403, "" },
		{ "POST", "graphql", SAMPLE, 200, GET("") },
	};
	static const struct turn ghost[] = {
		{ "GET", "schema/Code", "", 404, "" },
		{ "POST", "schema", NULL, 422, "{\"error\":[{\"message\":\"class name Code already exists\"}]}" },
		{ "GET", "schema/Code", "", 404, "" },
	};
	static const struct turn property[] = {
		{ "GET", "schema/Code", "", 200, CLASS("text2vec-ollama", PROPS_BEHIND_PATH) },
		{ "POST", "schema/Code/properties", PROP("file_path", "text", ",\"tokenization\":\"field\","
		  "\"indexSearchable\":false,\"moduleConfig\":{\"text2vec-ollama\":{\"skip\":true,"
		  "\"vectorizePropertyName\":false}}"), 200, TEXT("file_path") },
		{ "GET", "schema/Code", "", 200, CLASS("text2vec-ollama", PROPS) },
		{ "GET", "schema/Code/shards", "", 200, SHARDS },
		{ "POST", "graphql", SAMPLE, 200, GET("") },
	};
	struct ask a;

	begin_open(&a, true);
	PLAY(&a, create, "create");
	ok(opened(&a, false, 0, NULL), "created");
	begin_open(&a, false);
	PLAY(&a, find, "find");
	ok(opened(&a, true, 3, "text2vec-ollama"), "found, with its vectoriser and dimension");
	begin_open(&a, false);
	a.look = true;
	PLAY(&a, looked, "look at one without a property");
	ok(opened(&a, true, 0, "text2vec-ollama"), "which could be added");
	begin_open(&a, true);
	PLAY(&a, race, "made by another meanwhile");
	ok(verdict_is(&a.verdict, VERDICT_OK, false) && store.existed && !strcmp(store.collection_id, "Code"),
	   "its name stands for it where shards may not be read");
	begin_open(&a, true);
	PLAY(&a, ghost, "there and not there");
	ok(a.verdict.scope == VERDICT_RUN, "is not asked for without end");
	begin_open(&a, true);
	PLAY(&a, property, "made by hand");
	ok(opened(&a, true, 0, "text2vec-ollama"), "a property that it lacks is added");
	begin_open(&a, false);
	reply(&a, 200, CLASS("none", PROPS_BEHIND_PATH));
	ok(a.verdict.scope == VERDICT_RUN && strstr(a.verdict.text, "no property 'file_path'"),
	   "but not with --no-create: %s", a.verdict.text);
	want_end(&a, "with --no-create");
	set_up();
}

/* To say that the content alone is vectorised, the vectoriser must be named; its name is learned from a
 * class that is made for that. */
static void test_open_embedding(void)
{
	static const struct turn turns[] = {
		{ "GET", "schema/Code", "", 404, "" },
		{ "POST", "schema", PROBE, 200, PROBED("text2vec-openai", "") },
		{ "DELETE", "schema/Code_linesync_probe", "", 200, "" },
		{ "POST", "schema", NULL, 200, CLASS("text2vec-openai", PROPS) },
		{ "GET", "schema/Code/shards", "", 200, SHARDS },
	};
	static const struct turn none[] = {
		{ "GET", "schema/Code", "", 404, "" },
		{ "POST", "schema", PROBE, 422, "{\"error\":[{\"message\":\"class name Code_linesync_probe already "
		  "exists\"}]}" },
		{ "GET", "schema/Code_linesync_probe", "", 200, PROBED("none", ",\"description\":\"made by "
		  "linesync to learn the default vectoriser; can be deleted\"") },
		{ "DELETE", "schema/Code_linesync_probe", "", 200, "" },
		{ "POST", "schema", CLASS("none", PROPS), 200, CLASS("none", PROPS) },
		{ "GET", "schema/Code/shards", "", 200, SHARDS },
	};
	static const struct turn others[] = {
		{ "GET", "schema/Code", "", 404, "" },
		{ "POST", "schema", PROBE, 422, "{\"error\":[{\"message\":\"class already exists\"}]}" },
		{ "GET", "schema/Code_linesync_probe", "", 200, PROBED("img2vec-neural", "") },
		{ "POST", "schema", CLASS("none", PROPS), 200, CLASS("none", PROPS) },
		{ "GET", "schema/Code/shards", "", 200, SHARDS },
	};
	static const struct turn refused[] = {
		{ "GET", "schema/Code", "", 404, "" },
		{ "POST", "schema", PROBE, 422, "{\"error\":[{\"message\":\"module 'x': no such module\"}]}" },
		{ "DELETE", "schema/Code_linesync_probe", "", 403, "" },
		{ "POST", "schema", CLASS("none", PROPS), 200, CLASS("none", PROPS) },
		{ "GET", "schema/Code/shards", "", 200, SHARDS },
	};
	struct ask a;
	struct request r = { 0 };

	begin_open(&a, true);
	store.embeds = true;
	PLAY(&a, turns, "with the server's vectoriser");
	ok(opened(&a, false, 0, "text2vec-openai"), "created with a vectoriser");
	a.step = 4;	/* the create once more, to look at it */
	store.driver->build(&store, &a, &r);
	ok(strstr(r.body.data, "\"vectorizer\":\"text2vec-openai\",\"moduleConfig\":{\"text2vec-openai\":"
			       "{\"vectorizeClassName\":false}}") &&
	   strstr(r.body.data, "\"content\",\"dataType\":[\"text\"],\"tokenization\":\"word\",\"moduleConfig\":"
			       "{\"text2vec-openai\":{\"skip\":false,") &&
	   strstr(r.body.data, "\"size_bytes\",\"dataType\":[\"int\"],\"moduleConfig\":{\"text2vec-openai\":"
			       "{\"skip\":true,\"vectorizePropertyName\":false}}"), "that reads the content alone");
	request_release(&r);
	begin_open(&a, true);
	store.embeds = true;
	PLAY(&a, none, "a probe was left behind");
	ok(opened(&a, false, 0, NULL), "created without one");
	begin_open(&a, true);
	store.embeds = true;
	PLAY(&a, others, "somebody's own class has that name");
	ok(opened(&a, false, 0, NULL), "and is left alone");
	begin_open(&a, true);
	store.embeds = true;
	PLAY(&a, refused, "a server whose default does not work");
	ok(opened(&a, false, 0, NULL), "is a store all the same");
	set_up();
}

/* --embed store: where nothing embeds, nothing is made. */
static void test_open_must_embed(void)
{
	static const struct turn none[] = {
		{ "GET", "schema/Code", "", 404, "" },
		{ "POST", "schema", PROBE, 200, PROBED("none", "") },
		{ "DELETE", "schema/Code_linesync_probe", "", 200, "" },
	};
	static const struct turn refused[] = {
		{ "GET", "schema/Code", "", 404, "" },
		{ "POST", "schema", PROBE, 403, "{}" },
		{ "DELETE", "schema/Code_linesync_probe", "", 403, "" },
	};
	static const struct turn there[] = {
		{ "GET", "schema/Code", "", 200, CLASS("none", PROPS_BEHIND_PATH) },
	};
	static const struct turn images[] = {
		{ "GET", "schema/Code", "", 200, CLASS("img2vec-neural", PROPS) },
	};
	static const struct turn good[] = {
		{ "GET", "schema/Code", "", 404, "" },
		{ "POST", "schema", PROBE, 200, PROBED("text2vec-openai", "") },
		{ "DELETE", "schema/Code_linesync_probe", "", 200, "" },
		{ "POST", "schema", NULL, 200, CLASS("text2vec-openai", PROPS) },
		{ "GET", "schema/Code/shards", "", 200, SHARDS },
	};
	static const struct turn multi[] = {
		{ "GET", "schema/Code", "", 200, CLASS("multi2vec-clip", PROPS) },
		{ "GET", "schema/Code/shards", "", 200, SHARDS },
		{ "POST", "graphql", SAMPLE, 200, GET("") },
	};
	struct {
		const struct turn *turns;
		size_t n;
		const char *what;
	} bad[] = {
		{ none, COUNT(none), "no default" }, { refused, COUNT(refused), "no probe may be made" },
		{ there, COUNT(there), "a class without" }, { images, COUNT(images), "one that reads no texts" },
	};
	struct ask a;

	store.must_embed = true;
	for (size_t i = 0; i < COUNT(bad); i++) {
		begin_open(&a, true);
		store.embeds = true;
		play(&a, bad[i].turns, bad[i].n, bad[i].what);
		ok(a.verdict.scope == VERDICT_RUN && strstr(a.verdict.text, "--embed store"), "refused, %s: %s",
		   bad[i].what, a.verdict.text);
	}
	begin_open(&a, true);
	store.embeds = true;
	PLAY(&a, good, "one that embeds");
	ok(opened(&a, false, 0, "text2vec-openai"), "is made");
	begin_open(&a, true);
	store.embeds = true;
	PLAY(&a, multi, "one that reads texts as well");
	ok(opened(&a, true, 0, "multi2vec-clip"), "is used");
	store.must_embed = false;
	set_up();
}

/* A create that failed may have left a class without an index. */
static void test_half(void)
{
	static const char no[] = "{\"allowed\":null,\"error\":[{\"message\":\"create index: init shard: bad\"}]}";
	static const struct turn half[] = {
		{ "GET", "schema/Code", "", 404, "" },
		{ "POST", "schema", NULL, 422, no },
		{ "GET", "schema/Code", "", 200, CLASS("none", PROPS) },
		{ "GET", "schema/Code/shards", "", 404, ERROR("non-existing index for Code") },
		{ "DELETE", "schema/Code", "", 200, "" },
	};
	static const struct turn nothing[] = {
		{ "GET", "schema/Code", "", 404, "" },
		{ "POST", "schema", NULL, 422, no },
		{ "GET", "schema/Code", "", 404, "" },
	};
	static const struct turn others[] = {
		{ "GET", "schema/Code", "", 404, "" },
		{ "POST", "schema", NULL, 422, no },
		{ "GET", "schema/Code", "", 200, CLASS("none", PROPS) },
		{ "GET", "schema/Code/shards", "", 200, SHARDS },
	};
	static const struct turn unknown[] = {
		{ "GET", "schema/Code", "", 404, "" },
		{ "POST", "schema", NULL, 422, no },
		{ "GET", "schema/Code", "", 200, CLASS("none", PROPS) },
		{ "GET", "schema/Code/shards", "", 403, "" },
	};
	static const struct turn not_told[] = {
		{ "GET", "schema/Code", "", 404, "" },
		{ "POST", "schema", NULL, 422, no },
		{ "GET", "schema/Code", "", 200, CLASS("none", PROPS) },
		{ "GET", "schema/Code/shards", "", 404, "no such page" },
	};
	static const struct turn stranger[] = {
		{ "GET", "schema/Code", "", 404, "" },
		{ "POST", "schema", NULL, 422, no },
		{ "GET", "schema/Code", "", 200, "{\"message\":\"welcome\"}" },
	};
	struct ask a;

	begin_open(&a, true);
	PLAY(&a, unknown, "created, and its shards may not be read");
	ok(verdict_is(&a.verdict, VERDICT_RUN, true), "is left alone");
	begin_open(&a, true);
	PLAY(&a, not_told, "created, and a 404 that is not the store's");
	ok(verdict_is(&a.verdict, VERDICT_RUN, true), "deletes nothing");
	begin_open(&a, true);
	PLAY(&a, stranger, "not created, and no class is told of");
	ok(verdict_is(&a.verdict, VERDICT_RUN, true), "deletes nothing");
	begin_open(&a, true);
	PLAY(&a, half, "half created");
	ok(verdict_is(&a.verdict, VERDICT_RUN, true) && strstr(a.verdict.text, "create index: init shard: bad"),
	   "is deleted: %s", a.verdict.text);
	begin_open(&a, true);
	PLAY(&a, nothing, "not created");
	ok(verdict_is(&a.verdict, VERDICT_RUN, true), "nothing to delete");
	begin_open(&a, true);
	PLAY(&a, others, "created by another meanwhile");
	ok(verdict_is(&a.verdict, VERDICT_RUN, true), "is left alone");
}

static const struct {
	int step;
	bool create;
	long status;
	const char *body;
	enum verdict_scope scope;
	const char *says;
} openings[] = {
	{ 0, false, 404, "", VERDICT_RUN, "cannot open collection 'Code'" },
	{ 0, true, 401, "who?", VERDICT_AUTH, "who?" },
	{ 0, true, 403, "no", VERDICT_AUTH, "no" },
	{ 0, true, 500, "oh", VERDICT_ATTEMPT, "oh" },
	{ 0, true, 503, "later", VERDICT_STORE, "later" },
	{ 0, true, 301, "", VERDICT_RUN, "redirects" },
	{ 0, true, 200, "<html>", VERDICT_UNKNOWN, "<html>" },
	{ 0, true, 200, "{\"class\":\"Other\"}", VERDICT_UNKNOWN, "" },
	{ 4, true, 403, "no", VERDICT_AUTH, "no" },
	{ 4, true, 429, "{\"errorCode\":\"USAGE_LIMIT_EXCEEDED\",\"message\":\"full\"}", VERDICT_RUN,
	  "cannot create collection 'Code': full" },
	{ 4, true, 422, "{\"error\":[{\"message\":\"store is read-only due to: resource pressure\"}]}",
	  VERDICT_STORE, "resource pressure" },
	{ 4, true, 500, "", VERDICT_ATTEMPT, "" },
	{ 9, true, 404, "{\"error\":[{\"message\":\"cannot get shards status for a non-existing index\"}]}",
	  VERDICT_RUN, "half made" },
	{ 9, true, 200, "[]", VERDICT_UNKNOWN, "" },
	{ 9, true, 200, "{}", VERDICT_UNKNOWN, "" },
	{ 10, true, 200, "{}", VERDICT_UNKNOWN, "" },
	{ 0, true, 200, "{\"class\":\"Code\"," COSINE ",\"multiTenancyConfig\":{\"enabled\":true}}", VERDICT_RUN,
	  "tenants" },
	{ 0, true, 200, "{\"class\":\"Code\"," COSINE ",\"vectorConfig\":{\"a\":{}}}", VERDICT_RUN,
	  "named vectors" },
	{ 0, true, 200, "{\"class\":\"Code\",\"vectorIndexConfig\":{\"distance\":\"cosine\",\"skip\":true}}",
	  VERDICT_RUN, "skip" },
	{ 0, true, 200, "{\"class\":\"Code\",\"vectorIndexConfig\":{\"distance\":\"dot\"}}", VERDICT_RUN,
	  "'dot', not 'cosine'" },
	{ 0, true, 200, "{\"class\":\"Code\"}", VERDICT_RUN, "'unknown', not 'cosine'" },
	{ 0, true, 200, CLASS("none", PROP("file_path", "int", "")), VERDICT_RUN, "'int', not 'text'" },
	{ 0, true, 200, CLASS("none", PROP("file_path", "text", ",\"tokenization\":\"word\"")), VERDICT_RUN,
	  "'word', not 'field'" },
	{ 0, true, 200, CLASS("none", PROP("file_path", "text", ",\"tokenization\":\"word\",\"description\":\"This "
	  "property was generated by Weaviate's auto-schema feature on Fri\"")), VERDICT_RUN, "auto-schema" },
};

static void test_openings(void)
{
	struct ask a;

	for (size_t i = 0; i < COUNT(openings); i++) {
		begin_open(&a, openings[i].create);
		a.step = openings[i].step;
		store.existed = openings[i].step == 9;
		reply(&a, openings[i].status, openings[i].body);
		ok(a.verdict.scope == openings[i].scope && strstr(a.verdict.text, openings[i].says),
		   "opening %zu, %ld: %s, %s", i, openings[i].status, scopes[a.verdict.scope], a.verdict.text);
		want_end(&a, "opening");
	}
	set_up();
}

/* A 403 that means "wait" is neither a server without that right nor one whose shards are hidden. */
static void test_openings_wait(void)
{
	for (int step = 0; step <= 10; step++) {
		struct reply r = { .end = HTTP_ANSWERED, .status = 403, .retry_after_s = 1 };
		struct ask a;

		if (step >= 5 && step <= 7)	/* the verdict of the create stands */
			continue;
		begin_open(&a, true);
		a.step = step;
		store.driver->judge(&store, &a, &r);
		ok(verdict_is(&a.verdict, VERDICT_STORE, true), "opening, step %d: wait", step);
		want_end(&a, "wait");
	}
	set_up();
}

static void test_lookup(void)
{
	static const struct turn same[] = { { "GET", "schema/Code/shards", "", 200, SHARDS } };
	static const struct turn gone[] = {
		{ "GET", "schema/Code/shards", "", 404, "{\"error\":[{\"message\":\"non-existing index for Code: not "
		  "found\"}]}" },
	};
	static const struct turn other[] = { { "GET", "schema/Code/shards", "", 200, "[{\"name\":\"new\",\"status\":\"READY\"}]" } };
	static const struct turn named[] = { { "GET", "schema/Code", "", 200, CLASS("none", PROPS) } };
	struct ask a;

	begin(&a, ASK_LOOKUP, 0);
	PLAY(&a, same, "look up");
	ok(verdict_is(&a.verdict, VERDICT_OK, false) && !strcmp(store.collection_id, SHARD), "the same");
	begin(&a, ASK_LOOKUP, 0);
	PLAY(&a, other, "look up another");
	ok(a.verdict.scope == VERDICT_OK && !strcmp(store.collection_id, "new"), "its id tells");
	begin(&a, ASK_LOOKUP, 0);
	PLAY(&a, gone, "look up what is gone");
	ok(a.verdict.scope == VERDICT_RUN && strstr(a.verdict.text, "'Code' is gone"), "gone");
	free(store.collection_id);
	store.collection_id = xstrdup("Code");
	begin(&a, ASK_LOOKUP, 0);
	PLAY(&a, named, "look up by name");
	ok(verdict_is(&a.verdict, VERDICT_OK, false) && !strcmp(store.collection_id, "Code"), "still there");
	set_up();
}

static void test_unopened(void)
{
	struct ask a;

	free(store.collection_id);
	store.collection_id = NULL;
	begin(&a, ASK_UPSERT, 2);
	want_end(&a, "upsert before opening");
	ok(a.verdict.scope == VERDICT_OPENING && asked[1].verdict.kept_nothing, "it is to be opened");
	set_up();
}

/* Every prefix of a good answer: none may pass for the whole. */
static void test_cut_answers(void)
{
	static const struct {
		enum ask_kind kind;
		const char *whole;
	} rows[] = {
		{ ASK_UPSERT, BOTH }, { ASK_DELETE, DELETED("0", "0") }, { ASK_LIST, GET(OURS(ID0)) },
		{ ASK_COUNT, "{\"data\":{\"Aggregate\":{\"Code\":[{\"meta\":{\"count\":60}}]}}}" },
		{ ASK_FETCH, OBJECT(ID0) },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		bool good = true;

		for (size_t n = 0; n < strlen(rows[i].whole); n++) {
			char *cut = xmemdup0(rows[i].whole, n);
			struct ask a;

			begin(&a, rows[i].kind, rows[i].kind == ASK_COUNT || rows[i].kind == ASK_LIST ? 0 : 2);
			next(&a);
			reply(&a, 200, cut);
			good &= a.verdict.scope == VERDICT_UNKNOWN && *a.verdict.text && !a.nfound;
			ask_release(&a);
			free(cut);
		}
		ok(good, "a cut answer is never believed, %zu", i);
	}
}

/* What proves that Weaviate took a request, each kind at each of its steps; and what does not. */

static const struct {
	enum ask_kind kind;
	size_t n;		/* objects; ASK_SEARCH: hits that are wanted */
	int step;
	const char *good;
	bool empty;		/* nothing at all is the proof */
} proofs[] = {
	{ ASK_READY, 0, 0, "", true },
	{ ASK_READY, 0, 1, "{\"hostname\":\"http://h\",\"version\":\"1.39.0\"}", false },
	{ ASK_OPEN, 0, 0, CLASS("none", PROPS), false },
	{ ASK_OPEN, 0, 1, PROBED("text2vec-openai", ""), false },
	{ ASK_OPEN, 0, 2, PROBED("none", ""), false },
	{ ASK_OPEN, 0, 3, "", true },
	{ ASK_OPEN, 0, 4, CLASS("none", PROPS), false },
	{ ASK_OPEN, 0, 8, TEXT("file_path"), false },
	{ ASK_OPEN, 0, 9, SHARDS, false },
	{ ASK_OPEN, 0, 10, GET("{\"_additional\":{\"vector\":[1,2]}}"), false },
	{ ASK_LOOKUP, 0, 0, SHARDS, false },
	{ ASK_UPSERT, 2, 1, BOTH, false },
	{ ASK_UPSERT, 2, 2, GET(FOUND(ID0) "," FOUND(ID1)), false },
	{ ASK_DELETE, 2, 0, DELETED("2", "2"), false },
	{ ASK_DELETE, 2, 0, DELETED("0", "0"), false },
	{ ASK_TOUCH, 0, 0, DELETED("0", "0"), false },
	{ ASK_TOUCH, 0, 1, SHARDS, false },
	{ ASK_TOUCH, 0, 2, GET(FOUND(ID0)), false },
	{ ASK_COUNT, 0, 0, "{\"data\":{\"Aggregate\":{\"Code\":[{\"meta\":{\"count\":60}}]}}}", false },
	{ ASK_LIST, 0, 0, GET(FOUND(ID0)), false },
	{ ASK_FETCH, 2, 0, OBJECT(ID0), false },
	{ ASK_FETCH, 2, 1, GET(FOUND(ID0)), false },
	{ ASK_SEARCH, 3, 0, GET(HIT(ID0, "R", "0.5")), false },
	{ ASK_SEARCH, 0, 0, GET(FOUND(ID0)), false },
};

static void begin_proof(struct ask *a, size_t i)
{
	static struct found found;	/* FETCH: of the step before */

	begin(a, proofs[i].kind, proofs[i].kind == ASK_SEARCH ? 0 : proofs[i].n);
	if (proofs[i].kind == ASK_OPEN)
		begin_open(a, true);
	a->step = proofs[i].step;
	a->limit = proofs[i].kind == ASK_SEARCH ? proofs[i].n : 0;
	store.existed = true;
	for (size_t k = 0; k < 2; k++) {
		asked[k].again = proofs[i].kind == ASK_UPSERT;
		if (proofs[i].kind == ASK_UPSERT && proofs[i].step == 2)
			asked[k].verdict.scope = VERDICT_OK;
	}
	if (proofs[i].kind != ASK_FETCH || !proofs[i].step)
		return;
	found = (struct found){ .id = ID0, .digest = "00" };
	a->found = xmalloc(sizeof(found));
	*a->found = found;
	a->nfound = 1;
}

/* What the store is taken to have said: 'y' success or the next step, 'n' unclear, '?' anything else. */
static char believed(size_t i, const char *body)
{
	struct ask a;
	char said = '?';
	bool unclear = true;

	begin_proof(&a, i);
	reply(&a, 200, body);
	for (size_t k = 0; k < a.n && k < 2; k++)
		unclear &= asked[k].verdict.scope == VERDICT_UNKNOWN && !asked[k].verdict.kept_nothing;
	if (a.verdict.scope == VERDICT_OK || (a.step != -1 && !*a.verdict.text))
		said = 'y';
	else if (a.verdict.scope == VERDICT_UNKNOWN && *a.verdict.text && a.step == -1 && unclear && !a.nhits &&
		 !a.count && !a.end && (proofs[i].step == 1 || !a.nfound))
		said = 'n';
	ask_release(&a);
	return said;
}

static void test_proofs(void)
{
	for (size_t i = 0; i < COUNT(proofs); i++) {
		const char *good = proofs[i].good;

		ok(believed(i, good) == 'y', "proof %zu: %s", i, good);
		for (size_t k = 0; k < COUNT(strangers); k++) {
			bool same = proofs[i].empty && strspn(strangers[k], " ") == strlen(strangers[k]);

			if (!same && believed(i, strangers[k]) != 'n')
				ok(false, "proof %zu: not '%s'", i, strangers[k]);
		}
		for (size_t n = 0; n < strlen(good); n++) {
			char *cut = xmemdup0(good, n);

			if (believed(i, cut) != 'n')
				ok(false, "proof %zu: not '%s'", i, cut);
			free(cut);
		}
	}
	set_up();
}

static const struct {
	const char *member;
	char said;
} members[] = {
	{ "\"new_in_2\":{\"error\":1}", 'y' }, { "\"errors\":null", 'y' }, { "\"extensions\":{}", 'y' },
	{ "\"error\":[{\"message\":\"no\"}]", 'n' }, { "\"success\":false", 'n' }, { "\"message\":\"no\"", 'n' },
	{ "\"detail\":\"no\"", 'n' }, { "\"errors\":{}", 'n' }, { "\"errors\":\"no\"", 'n' },
};

static void test_members(void)
{
	for (size_t i = 0; i < COUNT(proofs); i++)
		for (size_t k = 0; k < COUNT(members); k++) {
			char *body = with_member(proofs[i].good, members[k].member);

			if (body)
				ok(believed(i, body) == members[k].said, "proof %zu with %s", i, members[k].member);
			free(body);
		}
	set_up();
}

static const struct {
	size_t proof;
	const char *body;
} near_misses[] = {
	{ 1, "{\"version\":\"1.39.0\"}" }, { 1, "{\"hostname\":\"h\",\"version\":\"latest\"}" },
	{ 2, CLASS("none", PROPS) "x" }, { 3, CLASS("text2vec-openai", PROPS) }, { 7, TEXT("file_name") },
	{ 8, "[{\"name\":\"a\"}]" }, { 8, "[{\"name\":\"a\",\"status\":\"READY\"},{}]" },
	{ 13, DELETED("3", "3") }, { 13, "{\"results\":{\"matches\":1,\"successful\":1}}" },
	{ 13, "{\"dryRun\":true,\"results\":{\"matches\":0,\"successful\":0,\"failed\":0}}" },
	{ 15, DELETED("2", "2") },
	{ 12, GET(FOUND(ID0) "," FOUND(ID1) "," FOUND(ID1)) }, { 12, GET("{}") },
	{ 17, GET(FOUND(ID0) "," FOUND(ID1)) }, { 17, GET("7") },
	{ 18, "{\"data\":{\"Aggregate\":{\"Code\":[{\"meta\":{\"count\":1}},{\"meta\":{\"count\":2}}]}}}" },
};

static void test_near_misses(void)
{
	for (size_t i = 0; i < COUNT(near_misses); i++)
		ok(believed(near_misses[i].proof, near_misses[i].body) == 'n', "no proof: %s",
		   near_misses[i].body);
	set_up();
}

/* One object is deleted by itself: 204, or 404 without a body, and nothing with 200. */
static void test_single_proofs(void)
{
	for (size_t i = 0; i < COUNT(strangers); i++) {
		struct ask a;

		begin(&a, ASK_DELETE, 1);
		asked[0].again = true;
		next(&a);
		reply(&a, 200, strangers[i]);
		ok(verdict_is(&asked[0].verdict, VERDICT_UNKNOWN, false), "a single delete, 200 '%s'", strangers[i]);
		begin(&a, ASK_UPSERT, 1);
		next(&a);
		reply(&a, 200, strangers[i]);
		ok(verdict_is(&asked[0].verdict, VERDICT_UNKNOWN, false), "the same before an upsert");
		asked[0].again = false;
	}
}

/* An echo says SUCCESS, and errors as well. */
static void test_mixed_echo(void)
{
	static const char *const errors[] = { "{}", "{\"error\":[]}", "\"no\"", "[1]" };

	for (size_t i = 0; i < COUNT(errors); i++) {
		char *body = xasprintf("[{\"class\":\"Code\",\"id\":\"" ID0 "\",\"vector\":[1,2],\"result\":{\"status\":"
				       "\"SUCCESS\",\"errors\":%s}}]", errors[i]);
		struct ask a;

		begin(&a, ASK_UPSERT, 1);
		next(&a);
		reply(&a, 200, body);
		ok(verdict_is(&asked[0].verdict, VERDICT_UNKNOWN, false), "SUCCESS, and errors: %s", errors[i]);
		free(body);
	}
}

/* Names */

static const struct {
	const char *name, *changed, *works;
} names[] = {
	{ "Code", NULL, NULL }, { "C", NULL, NULL }, { "C_9", NULL, NULL }, { "code", "Code", NULL },
	{ "", NULL, "'Code'" }, { "my-repo", NULL, "'My_repo'" }, { "1x", NULL, "'C1x'" }, { "_a", NULL, "'C_a'" },
	{ "a b/c", NULL, "'A_b_c'" }, { "caf\xc3\xa9", NULL, "'Caf'" }, { "caf\xc3\xa9s", NULL, "'Caf_s'" },
	{ "--", NULL, "'Code'" }, { "a\n", NULL, "'A'" }, { "a-_b", NULL, "'A__b'" },
};

static void test_names(void)
{
	const struct driver *d = driver_find("weaviate");
	char name[257], *changed, *why;

	for (size_t i = 0; i < COUNT(names); i++) {
		int r = d->check_name(names[i].name, &changed, &why);

		if (names[i].works)
			ok(r == -1 && !changed && why && strstr(why, names[i].works), "name %zu: %s", i,
			   why ? why : "");
		else
			ok(r == 0 && !why && (names[i].changed ? changed && !strcmp(changed, names[i].changed)
							       : !changed), "name %zu: %s", i, names[i].name);
		free(changed);
		free(why);
	}
	memset(name, 'A', 256);
	name[256] = '\0';
	ok(d->check_name(name, &changed, &why) == -1, "256 characters");
	free(why);
	name[0] = '1';
	ok(d->check_name(name, &changed, &why) == -1 && strstr(why, "'C1AAAA"), "and a digit");
	free(why);
	ok(d->check_name(name + 1, &changed, &why) == 0 && !changed, "255 characters");
}

static void test_driver(void)
{
	const struct driver *d = driver_find("weaviate");

	ok(d == &drv_weaviate && d->lasts_after_next && !d->again_is_upsert && d->first_write_alone &&
	   d->late_s == 60 && d->idle_s < 10 && d->timeout_ms > 60000, "what is particular");
	ok(!strcmp(d->key_header, "Authorization: Bearer ") && !strcmp(d->key_names[0], "WEAVIATE_API_KEY") &&
	   !strcmp(d->key_names[1], "WCD_API_KEY") && !d->key_names[2], "its keys");
}

int main(void)
{
	make_objects();
	set_up();
	test_driver();
	test_names();
	test_write();
	test_again();
	test_cuts();
	test_failures();
	test_read_only();
	test_echoes();
	test_vectors();
	test_embedded();
	test_table(ASK_UPSERT, 2);
	test_table(ASK_UPSERT, 1);
	test_table(ASK_DELETE, 2);
	test_table(ASK_DELETE, 1);
	test_access(&store, ASK_UPSERT, asked);
	test_access(&store, ASK_DELETE, asked);
	test_refusals(&store, ASK_UPSERT, asked);
	test_no_answer();
	test_delete();
	test_not_deleted();
	test_touch();
	test_count();
	test_list();
	test_full_page();
	test_fetch();
	test_not_fetched();
	test_search();
	test_ready();
	test_open();
	test_open_embedding();
	test_open_must_embed();
	test_half();
	test_openings();
	test_openings_wait();
	test_lookup();
	test_unopened();
	test_cut_answers();
	test_proofs();
	test_members();
	test_near_misses();
	test_single_proofs();
	test_mixed_echo();
	answer(0, NULL);
	store_release(&store);
	return tap_done();
}
