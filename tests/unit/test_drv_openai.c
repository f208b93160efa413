#include <stdlib.h>
#include <string.h>

#include "../../src/alloc.h"
#include "../../src/driver.h"
#include "../../src/driver_json.h"
#include "../../src/object.h"
#include "access_rules.h"
#include "tap.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define URL "http://localhost:8080/v1/embeddings"

static const char *const scopes[] = {
	"unknown", "ok", "object", "request", "attempt", "store", "opening", "auth", "run"
};

static struct ask_object asked[3];
static struct store store;
static struct ask ask;

static void set_up(const char *model, size_t dimension, bool base64)
{
	store_release(&store);
	store.driver = &drv_openai;
	store.url.base = xstrdup("http://localhost:8080");
	store.url.path = xstrdup("/v1/embeddings");
	store.model = xstrdup(model);
	store.dimension = dimension;
	store.base64 = base64;
}

static void new_ask(enum ask_kind kind, size_t n)
{
	static const char *const texts[] = { "one", "say \"two\"\n", "caf\xc3\xa9" };

	ask_release(&ask);
	memset(asked, 0, sizeof(asked));
	for (size_t i = 0; i < COUNT(asked); i++) {
		asked[i].text = texts[i];
		asked[i].len = strlen(texts[i]);
	}
	ask = (struct ask){ .kind = kind, .objects = n ? asked : NULL, .n = n };
}

static void judge(long status, const char *body)
{
	struct reply r = { .end = HTTP_ANSWERED, .status = status, .retry_after_s = -1 };

	buf_adds(&r.body, body);
	drv_openai.judge(&store, &ask, &r);
	reply_release(&r);
}

/* Requests */

static void want_request(const char *body, const char *what)
{
	struct request r = { 0 };
	int built = drv_openai.build(&store, &ask, &r);

	ok(built == 1 && !strcmp(r.method, "POST") && !strcmp(r.url, URL), "%s: POST", what);
	ok(built && !strcmp(r.body.data, body), "%s: body", what);
	if (built && strcmp(r.body.data, body))
		printf("# got  %s\n# want %s\n", r.body.data, body);
	request_release(&r);
}

static void want_end(const char *what)
{
	struct request r = { 0 };

	ok(drv_openai.build(&store, &ask, &r) == 0 && !r.url, "%s: nothing more to ask", what);
}

static void test_requests(void)
{
	struct object o = { .text = (char *)"say \"two\"\n", .text_len = 10 };

	set_up("m/\"1\"", 2, true);
	new_ask(ASK_EMBED, 3);
	want_request("{\"model\":\"m/\\\"1\\\"\",\"input\":[\"one\",\"say \\\"two\\\"\\n\",\"caf\xc3\xa9\"],"
		     "\"encoding_format\":\"base64\"}", "base64");
	set_up(NULL, 2, false);
	new_ask(ASK_EMBED, 1);
	want_request("{\"input\":[\"one\"]}", "numbers, no model");
	new_ask(ASK_TOUCH, 0);
	want_request("{\"input\":[\"word\"]}", "touch");
	ok(drv_openai.object_bytes(&store, &o) == strlen("\"say \\\"two\\\"\\n\","), "an object's bytes");
	new_ask(ASK_EMBED, 0);
	want_end("no texts");
	new_ask(ASK_UPSERT, 1);
	want_end("no store");
}

static void test_empty_text(void)
{
	set_up("m", 2, true);
	new_ask(ASK_EMBED, 3);
	asked[1].len = 0;
	want_end("an empty text");
	ok(asked[0].verdict.scope == VERDICT_REQUEST && asked[1].verdict.kept_nothing,
	   "among others is isolated");
	new_ask(ASK_EMBED, 1);
	asked[0].len = 0;
	want_end("an empty text alone");
	ok(asked[0].verdict.scope == VERDICT_OBJECT && strstr(asked[0].verdict.text, "empty"), "is refused");
}

/* Getting ready.  "AACAPwAAAEA=" is 1, 2. */

#define BASE64(i, v) "{\"object\":\"embedding\",\"index\":" i ",\"embedding\":\"" v "\"}"
#define ARRAY(i, v) "{\"object\":\"embedding\",\"index\":" i ",\"embedding\":[" v "]}"
#define LIST(entries) "{\"object\":\"list\",\"data\":[" entries "],\"model\":\"m\"}"
#define AS_BASE64 LIST(BASE64("0", "AACAPwAAAEA="))
#define AS_ARRAY LIST(ARRAY("0", "1,2"))
#define ASKS_BASE64 "{\"model\":\"m\",\"input\":[\"word\"],\"encoding_format\":\"base64\"}"
#define ASKS_NUMBERS "{\"model\":\"m\",\"input\":[\"word\"]}"

static const struct {
	long first;			/* the answer to base64 */
	const char *first_body;
	long second;			/* to numbers; 0: they are not asked for */
	const char *second_body;
	size_t dimension;		/* known before */
	enum verdict_scope scope;
	bool base64;
	const char *says;
} readiness[] = {
	{ 200, AS_BASE64, 0, NULL, 0, VERDICT_OK, true, "" },
	{ 200, AS_BASE64, 0, NULL, 2, VERDICT_OK, true, "" },
	{ 200, AS_ARRAY, 0, NULL, 0, VERDICT_OK, false, "" },
	{ 400, "{\"error\":{\"message\":\"encoding_format\"}}", 200, AS_ARRAY, 0, VERDICT_OK, false, "" },
	{ 422, "{\"detail\":[{\"loc\":[\"encoding_format\"]}]}", 200, AS_ARRAY, 2, VERDICT_OK, false, "" },
	{ 500, "oh", 200, AS_ARRAY, 0, VERDICT_OK, false, "" },
	{ 501, "", 200, AS_ARRAY, 0, VERDICT_OK, false, "" },
	{ 200, LIST(BASE64("0", "AACAPw")), 200, AS_ARRAY, 0, VERDICT_OK, false, "" },
	{ 200, LIST(BASE64("0", "AACAPwAAAEAAAAAA")), 200, AS_ARRAY, 2, VERDICT_OK, false, "" },
	{ 400, "x", 400, "{\"error\":{\"message\":\"you must provide a model\"}}", 0, VERDICT_RUN, false,
	  "provide a model" },
	{ 500, "x", 500, "still", 0, VERDICT_ATTEMPT, false, "still" },
	{ 500, "x", 500, "input is too large", 0, VERDICT_ATTEMPT, false, "too large" },
	{ 200, "<html>", 200, "<html>hello", 0, VERDICT_ATTEMPT, false, "hello" },
	{ 200, AS_ARRAY, 200, AS_ARRAY, 3, VERDICT_RUN, false, "of 2 numbers came, not of 3" },
	{ 200, LIST("{\"embedding\":[1,2]}"), 0, NULL, 0, VERDICT_OK, false, "" },
	{ 200, LIST(""), 200, LIST(""), 0, VERDICT_ATTEMPT, false, "0 vectors came for 1 texts" },
	{ 200, LIST(ARRAY("1", "1,2")), 200, LIST(ARRAY("1", "1,2")), 0, VERDICT_ATTEMPT, false, "index" },
	{ 404, "{\"error\":{\"message\":\"try pulling it\"}}", 0, NULL, 0, VERDICT_RUN, false, "--embed-model" },
	{ 401, "", 0, NULL, 0, VERDICT_AUTH, false, "401" },
	{ 403, "no", 0, NULL, 0, VERDICT_AUTH, false, "no" },
	{ 429, "slow", 0, NULL, 0, VERDICT_STORE, false, "slow" },
	{ 503, "loading model", 0, NULL, 0, VERDICT_STORE, false, "loading" },
	{ 504, "", 0, NULL, 0, VERDICT_ATTEMPT, false, "504" },
	{ 301, "", 0, NULL, 0, VERDICT_RUN, false, "redirects" },
};

static void test_ready(void)
{
	for (size_t i = 0; i < COUNT(readiness); i++) {
		set_up("m", readiness[i].dimension, false);
		new_ask(ASK_READY, 0);
		want_request(ASKS_BASE64, "ready");
		judge(readiness[i].first, readiness[i].first_body);
		if (readiness[i].second) {
			ok(ask.verdict.scope == VERDICT_UNKNOWN, "not ready by half");
			want_request(ASKS_NUMBERS, "ready, second");
			judge(readiness[i].second, readiness[i].second_body);
		}
		want_end("ready");
		ok(ask.verdict.scope == readiness[i].scope && store.base64 == readiness[i].base64 &&
		   strstr(ask.verdict.text, readiness[i].says), "ready %zu, %ld then %ld: %s, %s", i,
		   readiness[i].first, readiness[i].second, scopes[ask.verdict.scope], ask.verdict.text);
		if (ask.verdict.scope == VERDICT_OK)
			ok(store.dimension == 2 && !*ask.verdict.text, "and its dimension");
	}
}

/* The table of answers other than 200: the verdict with two texts, with one, of a touch. */
static const struct {
	long status;
	const char *body;
	enum verdict_scope many, one, touch;
} table[] = {
	{ 201, AS_ARRAY, VERDICT_ATTEMPT, VERDICT_ATTEMPT, VERDICT_ATTEMPT },
	{ 204, "", VERDICT_ATTEMPT, VERDICT_ATTEMPT, VERDICT_ATTEMPT },
	{ 302, "", VERDICT_RUN, VERDICT_RUN, VERDICT_RUN },
	{ 308, "", VERDICT_RUN, VERDICT_RUN, VERDICT_RUN },
	{ 400, "{\"error\":{\"message\":\"maximum context length is 8192 tokens\"}}", VERDICT_REQUEST,
	  VERDICT_OBJECT, VERDICT_RUN },
	{ 400, "{\"error\":{\"message\":\"no\",\"code\":\"model_not_found\"}}", VERDICT_RUN, VERDICT_RUN,
	  VERDICT_RUN },
	{ 401, "", VERDICT_AUTH, VERDICT_AUTH, VERDICT_AUTH },
	{ 402, "pay", VERDICT_AUTH, VERDICT_AUTH, VERDICT_AUTH },
	{ 403, "", VERDICT_AUTH, VERDICT_AUTH, VERDICT_AUTH },
	{ 404, "404 page not found", VERDICT_RUN, VERDICT_RUN, VERDICT_RUN },
	{ 405, "", VERDICT_RUN, VERDICT_RUN, VERDICT_RUN },
	{ 408, "", VERDICT_ATTEMPT, VERDICT_ATTEMPT, VERDICT_ATTEMPT },
	{ 409, "", VERDICT_REQUEST, VERDICT_OBJECT, VERDICT_RUN },
	{ 413, "Payload too large", VERDICT_REQUEST, VERDICT_OBJECT, VERDICT_RUN },
	{ 415, "", VERDICT_RUN, VERDICT_RUN, VERDICT_RUN },
	{ 422, "{\"error\":\"Input validation error\",\"error_type\":\"Validation\"}", VERDICT_REQUEST,
	  VERDICT_OBJECT, VERDICT_RUN },
	{ 424, "{\"error\":\"backend\"}", VERDICT_ATTEMPT, VERDICT_ATTEMPT, VERDICT_ATTEMPT },
	{ 425, "", VERDICT_STORE, VERDICT_STORE, VERDICT_STORE },
	{ 429, "{\"error\":\"Model is overloaded\"}", VERDICT_STORE, VERDICT_STORE, VERDICT_STORE },
	{ 429, "{\"error\":{\"message\":\"Request too large for m\"}}", VERDICT_REQUEST, VERDICT_STORE,
	  VERDICT_STORE },
	{ 500, "{\"error\":{\"message\":\"input (900 tokens) is too large to process. increase the physical "
	       "batch size\"}}", VERDICT_REQUEST, VERDICT_OBJECT, VERDICT_ATTEMPT },
	{ 500, "prompt is TOO LONG", VERDICT_REQUEST, VERDICT_OBJECT, VERDICT_ATTEMPT },
	{ 500, "This model's Maximum Context is 512", VERDICT_REQUEST, VERDICT_OBJECT, VERDICT_ATTEMPT },
	{ 500, "the request exceeds the available context size", VERDICT_REQUEST, VERDICT_OBJECT,
	  VERDICT_ATTEMPT },
	{ 500, "CUDA out of memory", VERDICT_ATTEMPT, VERDICT_ATTEMPT, VERDICT_ATTEMPT },
	{ 501, "", VERDICT_RUN, VERDICT_RUN, VERDICT_RUN },
	{ 502, "<html>", VERDICT_STORE, VERDICT_STORE, VERDICT_STORE },
	{ 503, "{\"error\":\"server busy\"}", VERDICT_STORE, VERDICT_STORE, VERDICT_STORE },
	{ 503, "queue is too long", VERDICT_STORE, VERDICT_STORE, VERDICT_STORE },
	{ 504, "", VERDICT_ATTEMPT, VERDICT_ATTEMPT, VERDICT_ATTEMPT },
	{ 507, "", VERDICT_ATTEMPT, VERDICT_ATTEMPT, VERDICT_ATTEMPT },
	{ 529, "", VERDICT_STORE, VERDICT_STORE, VERDICT_STORE },
};

static bool same(const struct verdict *v, size_t i, enum verdict_scope scope)
{
	return v->scope == scope && v->kept_nothing && !v->wrong_shape && v->http == table[i].status &&
	       *v->text;
}

static void test_table(size_t n)
{
	for (size_t i = 0; i < COUNT(table); i++) {
		enum verdict_scope want = n > 1 ? table[i].many : n ? table[i].one : table[i].touch;

		set_up("m", 2, true);
		new_ask(n ? ASK_EMBED : ASK_TOUCH, n);
		judge(table[i].status, table[i].body);
		ok(same(&ask.verdict, i, want) && (n < 1 || same(&asked[0].verdict, i, want)) &&
		   (n < 2 || same(&asked[1].verdict, i, want)), "%zu texts, %ld '%.40s': %s", n,
		   table[i].status, table[i].body, scopes[ask.verdict.scope]);
		ok(!asked[0].vector && !asked[1].vector, "and no vector");
		want_end("embed");
	}
}

static void test_unknown_model(void)
{
	set_up("nomic", 2, true);
	new_ask(ASK_EMBED, 2);
	judge(404, "{\"error\":{\"message\":\"model not found, try pulling it first\"}}");
	ok(!strcmp(asked[1].verdict.text, "no model 'nomic' at '" URL "' (--embed-model, --embed): "
		   "model not found, try pulling it first"), "unknown model: %s", asked[1].verdict.text);
	set_up(NULL, 2, true);
	new_ask(ASK_EMBED, 2);
	judge(404, "404 page not found");
	ok(!strcmp(asked[1].verdict.text, "no embeddings at '" URL "' (--embed; --embed-model): "
		   "404 page not found"), "unknown path: %s", asked[1].verdict.text);
}

static void test_no_answer(void)
{
	struct reply r = { .end = HTTP_NOT_SENT, .retry_after_s = -1, .error = "refused" };

	set_up("m", 2, true);
	new_ask(ASK_EMBED, 2);
	drv_openai.judge(&store, &ask, &r);
	ok(asked[1].verdict.scope == VERDICT_STORE && asked[1].verdict.kept_nothing &&
	   !strcmp(asked[1].verdict.text, "refused"), "not sent");
	r.untrusted = true;
	drv_openai.judge(&store, &ask, &r);
	ok(asked[1].verdict.scope == VERDICT_RUN, "not trusted");
	r = (struct reply){ .end = HTTP_LOST, .timed_out = true, .error = "timed out" };
	new_ask(ASK_EMBED, 2);
	drv_openai.judge(&store, &ask, &r);
	ok(asked[0].verdict.scope == VERDICT_ATTEMPT && asked[0].verdict.kept_nothing, "lost: nothing kept");
	want_end("lost");
	new_ask(ASK_READY, 0);
	drv_openai.judge(&store, &ask, &r);
	ok(ask.verdict.scope == VERDICT_ATTEMPT, "ready: lost");
	want_end("ready: lost");
}

/* Answers of 200 to three texts, of vectors of 2 numbers.  A letter for each text: its vector came
 * (a: 1,2; b: 3,4; c: 5,6), is unclear (u), or the run stops (r). */

#define A ARRAY("0", "1,2")
#define B ARRAY("1", "3,4")
#define C ARRAY("2", "5,6")
#define B64_A BASE64("0", "AACAPwAAAEA=")
#define B64_B BASE64("1", "AABAQAAAgEA=")
#define B64_C BASE64("2", "AACgQAAAwEA=")

static const struct {
	const char *body, *want, *what;
} answers[] = {
	{ LIST(A "," B "," C), "abc", "numbers" },
	{ LIST(B64_A "," B64_B "," B64_C), "abc", "base64" },
	{ LIST(B64_A "," B "," B64_C), "abc", "both" },
	{ LIST(C "," A "," B), "abc", "another order" },
	{ LIST(B64_B "," B64_C "," B64_A), "abc", "another order, base64" },
	{ LIST(" {\"embedding\" : [ 1 , 2.0e0 ] ,\n\"index\" :0} , " B "\t," C " "), "abc", "blanks" },
	{ LIST("{\"embedding\":[1,2],\"more\":[{\"index\":1}],\"index\":0}," B "," C), "abc", "more within" },
	{ LIST("{\"\\u0069ndex\":0,\"embedding\":[1,2]}," B "," C), "abc", "an escaped name" },
	{ LIST(A "," B "," BASE64("2", "AACgQAAAwEA\\u003d")), "abc", "escapes in base64" },
	{ "{\"data\":[" A "," B "," C "]}", "abc", "data alone" },
	{ LIST(A "," B), "uuu", "one too few" },
	{ LIST(A "," C), "uuu", "one missing within" },
	{ LIST(A "," B "," C "," ARRAY("3", "7,8")), "uuu", "one too many" },
	{ LIST(A "," B "," B), "uuu", "an index twice" },
	{ LIST(A "," B "," C "," C), "uuu", "one too many, an index twice" },
	{ LIST(A "," B "," ARRAY("3", "5,6")), "uuu", "an index that was not asked" },
	{ LIST(A "," B "," ARRAY("-1", "5,6")), "uuu", "a negative index" },
	{ LIST(A "," B "," ARRAY("2.0", "5,6")), "uuu", "an index that is no whole number" },
	{ LIST(A "," B "," ARRAY("\"2\"", "5,6")), "uuu", "an index in quotes" },
	{ LIST(A "," B "," ARRAY("18446744073709551618", "5,6")), "uuu", "an index beyond all" },
	{ LIST(A "," B ",{\"embedding\":[5,6]}"), "uuu", "no index, and it is not the first that is missing" },
	{ LIST("{\"embedding\":[1,2]}," B "," C), "abc", "no index where it is 0" },
	{ LIST(C ",{\"embedding\":[1,2]}," B), "abc", "the same, in another order" },
	{ LIST("{\"index\":null,\"embedding\":[1,2]}," C "," B), "abc", "null for an index of 0" },
	{ LIST("{\"embedding\":[1,2]},{\"embedding\":[3,4]},{\"embedding\":[5,6]}"), "abc", "no index at all" },
	{ LIST("{\"embedding\":[1,2]},{\"embedding\":[3,4]}," C), "uuu", "one index alone" },
	{ LIST("{\"embedding\":[1,2]},{\"embedding\":[3,4]}"), "uuu", "no index at all, one too few" },
	{ LIST("{\"embedding\":[1,2]}," C "," C), "uuu", "no index where it is 0, another twice" },
	{ LIST(A "," B ",{\"index\":2}"), "uuu", "no vector" },
	{ LIST(A "," B ",[5,6]"), "uuu", "an array for an object" },
	{ LIST(A "," B ",null"), "uuu", "null for an object" },
	{ LIST(""), "uuu", "nothing" },
	{ LIST(A "," ARRAY("1", "null,4") "," C), "auc", "null for a number" },
	{ LIST(A "," ARRAY("1", "\"3\",4") "," C), "auc", "text for a number" },
	{ LIST(A "," ARRAY("1", "[3,4]") "," C), "auc", "an array within" },
	{ LIST(A "," ARRAY("1", "1e39,4") "," C), "auc", "beyond a float" },
	{ LIST(A "," ARRAY("1", "0,-0.0") "," C), "auc", "all zero" },
	{ LIST(A "," ARRAY("1", "") "," C), "auc", "no numbers" },
	{ LIST(A ",{\"index\":1,\"embedding\":null}," C), "auc", "null for a vector" },
	{ LIST(A ",{\"index\":1,\"embedding\":{}}," C), "auc", "an object for a vector" },
	{ LIST(B64_A "," BASE64("1", "AADAfwAAgEA=") "," B64_C), "auc", "NaN in base64" },
	{ LIST(B64_A "," BASE64("1", "AACAfwAAgEA=") "," B64_C), "auc", "infinity in base64" },
	{ LIST(B64_A "," BASE64("1", "AAAAAAAAAIA=") "," B64_C), "auc", "all zero in base64" },
	{ LIST(B64_A "," BASE64("1", "AABAQAAAgE") "," B64_C), "auc", "cut base64" },
	{ LIST(B64_A "," BASE64("1", "AABAQAAAgA==") "," B64_C), "auc", "7 bytes of base64" },
	{ LIST(B64_A "," BASE64("1", "????") "," B64_C), "auc", "no base64" },
	{ LIST(B64_A "," BASE64("1", "") "," B64_C), "auc", "empty base64" },
	{ LIST(A "," ARRAY("1", "3,4,5") "," C), "arc", "a longer vector" },
	{ LIST(A "," ARRAY("1", "3") "," C), "arc", "a shorter vector" },
	{ LIST(A "," BASE64("1", "AABAQA==") "," C), "arc", "a shorter vector in base64" },
	{ LIST(ARRAY("0", "null,2") "," ARRAY("1", "3") "," C), "rrc", "a shorter one after an unclear one" },
	{ LIST(ARRAY("0", "1") "," ARRAY("1", "3") "," ARRAY("2", "5")), "rrr", "another model" },
	{ LIST(A "," ARRAY("1", "NaN,4") "," C), "uuu", "NaN, which is no JSON" },
	{ LIST(A "," B "," C) "x", "uuu", "more behind" },
	{ "{\"data\":[" A "," B "," C, "uuu", "cut" },
	{ "[" A "," B "," C "]", "uuu", "no object" },
	{ "{\"data\":{\"0\":[1,2]}}", "uuu", "data is no array" },
	{ "{\"embeddings\":[[1,2],[3,4],[5,6]]}", "uuu", "another server's answer" },
	{ "{\"error\":{\"message\":\"oh\"}}", "uuu", "an error with 200" },
	{ "{\"error\":{\"message\":\"oh\"},\"data\":[" A "," B "," C "]}", "uuu", "an error before vectors" },
	{ "{\"data\":[" A "," B "," C "],\"error\":\"oh\"}", "uuu", "an error behind vectors" },
	{ "{\"data\":[" A "," B "," C "],\"error\":null}", "abc", "no error" },
	{ "null", "uuu", "null" },
	{ "\"data\"", "uuu", "a string" },
	{ " ", "uuu", "a blank" },
	{ "", "uuu", "nothing at all" },
	{ "<html>welcome", "uuu", "a page" },
};

static char verdict_of(size_t i)
{
	static const float vectors[3][2] = { { 1, 2 }, { 3, 4 }, { 5, 6 } };
	const struct ask_object *o = &asked[i];

	if (!o->verdict.kept_nothing || o->verdict.http != 200 ||
	    (o->verdict.scope == VERDICT_OK) != !*o->verdict.text)
		return '?';
	if (o->verdict.scope == VERDICT_OK)
		return o->vector && o->dim == 2 && !memcmp(o->vector, vectors[i], 8) ? (char)('a' + i) : '!';
	if (o->vector)
		return '!';
	return o->verdict.scope == VERDICT_ATTEMPT ? 'u' : o->verdict.scope == VERDICT_RUN ? 'r' : '?';
}

static void test_answers(void)
{
	for (size_t i = 0; i < COUNT(answers); i++) {
		char got[4] = { 0 };

		set_up("m", 2, true);
		new_ask(ASK_EMBED, 3);
		judge(200, answers[i].body);
		for (size_t k = 0; k < 3; k++)
			got[k] = verdict_of(k);
		ok(!strcmp(got, answers[i].want), "%s: %s", answers[i].what, got);
		ok((ask.verdict.scope == VERDICT_OK) == !strcmp(got, "abc"), "and the whole");
		want_end("embed");
	}
}

/* What will not heal, and what may: of a batch, and of the word alone. */
static const struct {
	const char *body;		/* to three texts, the same to one where "one" is NULL */
	const char *one;
	bool many_shape, one_shape;
	const char *says;
} shapes[] = {
	{ LIST(A "," B), LIST(""), true, true, "2 vectors came for 3 texts" },
	{ LIST(A "," B "," B), LIST(A "," A), true, true, "index 1 stands twice among 3 vectors" },
	{ LIST(A "," B ",{\"index\":2}"), LIST("{\"index\":0}"), true, true,
	  "entry 2 of 3 has no vector, or an index that was not asked for" },
	{ LIST("{\"embedding\":[1,2]},{\"embedding\":[3,4]}," C), LIST("[1]"), true, true,
	  "2 of 3 vectors do not tell their index" },
	{ "{\"embeddings\":[[1,2],[3,4],[5,6]]}", NULL, true, true, "another form" },
	{ "{\"embedding\":[1,2]}", NULL, true, true, "another form" },
	{ "{\"data\":{\"0\":[1,2]}}", NULL, true, true, "another form" },
	{ "[[1,2],[3,4],[5,6]]", NULL, true, true, "another form" },
	{ "[1,2]", NULL, true, true, "another form" },
	{ LIST(A "," ARRAY("1", "0,0") "," C), LIST(ARRAY("0", "0,0")), false, true, "all zero" },
	{ LIST(A "," ARRAY("1", "null") "," C), LIST(ARRAY("0", "null")), false, true, "no row of finite" },
	{ LIST(A "," ARRAY("1", "NaN,1") "," C), LIST(ARRAY("0", "NaN,1")), false, true, "not valid JSON" },
	{ "{\"error\":{\"message\":\"oh\"}}", NULL, false, false, "oh" },
	{ "{\"error\":\"oh\",\"data\":[]}", NULL, false, false, "oh" },
	{ "{\"message\":\"no healthy upstream\"}", NULL, false, false, "no healthy" },
	{ "{\"data\":null}", NULL, false, false, "data" }, { "{}", NULL, false, false, "{}" },
	{ "[]", NULL, false, false, "[]" }, { "[{}]", NULL, false, false, "[{}]" },
	{ "<html>", NULL, false, false, "<html>" }, { "[[1,", NULL, false, false, "not valid JSON" },
	{ "", NULL, false, false, "HTTP 200 without a text" },
};

static bool of_shape(bool wrong, const char *says)
{
	return ask.verdict.scope == VERDICT_ATTEMPT && ask.verdict.wrong_shape == wrong && ask.verdict.kept_nothing &&
	       strstr(ask.verdict.text, says);
}

static void test_shapes(void)
{
	for (size_t i = 0; i < COUNT(shapes); i++) {
		const char *one = shapes[i].one ? shapes[i].one : shapes[i].body;

		set_up("m", 2, true);
		new_ask(ASK_EMBED, 3);
		judge(200, shapes[i].body);
		ok(of_shape(shapes[i].many_shape, shapes[i].says), "shape %zu: %s", i, ask.verdict.text);
		new_ask(ASK_TOUCH, 0);
		judge(200, one);
		ok(of_shape(shapes[i].one_shape, ""), "of the word: %s", ask.verdict.text);
		new_ask(ASK_READY, 0);
		ask.step = 1;
		judge(200, one);
		ok(of_shape(shapes[i].one_shape, ""), "at the start");
	}
}

static void test_words(void)
{
	set_up("m", 2, true);
	new_ask(ASK_EMBED, 1);
	judge(200, LIST(ARRAY("0", "NaN,2")));
	ok(!strcmp(asked[0].verdict.text, "the answer is not valid JSON at byte 70: not a JSON value"), "%s",
	   asked[0].verdict.text);
	judge(200, "{\"error\":{\"message\":\"oh\"}}");
	ok(!strcmp(asked[0].verdict.text, "not an answer of an embedding server: oh"), "%s",
	   asked[0].verdict.text);
	judge(200, "<html>\nwelcome");
	ok(!strcmp(asked[0].verdict.text, "not an answer of an embedding server: <html> welcome"), "%s",
	   asked[0].verdict.text);
}

static void test_wishes(void)
{
	set_up("m", 2, true);
	new_ask(ASK_EMBED, 1);
	judge(200, LIST(A));
	ok(asked[0].verdict.scope == VERDICT_OK && !store.base64, "who gives numbers is asked for them");
	new_ask(ASK_EMBED, 1);
	judge(200, LIST(B64_A));
	ok(asked[0].verdict.scope == VERDICT_OK && !store.base64, "and may give base64 all the same");
	set_up("m", 0, true);
	new_ask(ASK_EMBED, 3);
	judge(200, LIST(ARRAY("0", "1,2") "," ARRAY("1", "3,4,5") "," C));
	ok(store.dimension == 2 && asked[1].verdict.scope == VERDICT_RUN, "the first vector sets the dimension");
}

/* What the model's numbers are stays to the last bit; and a page of any size is not repeated. */
static void test_long_answers(void)
{
	static float v[1536];
	struct buf b = BUF_INIT;

	for (size_t i = 0; i < COUNT(v); i++)
		v[i] = (float)(i + 1) / 1537 * (i % 2 ? -1 : 1);
	for (int base64 = 0; base64 < 2; base64++) {
		set_up("m", 1536, true);
		new_ask(ASK_EMBED, 1);
		buf_reset(&b);
		buf_adds(&b, "{\"data\":[{\"index\":0,\"embedding\":");
		(base64 ? vector_base64 : vector_numbers)(&b, v, COUNT(v));
		buf_adds(&b, "}]}");
		judge(200, b.data);
		ok(asked[0].verdict.scope == VERDICT_OK && asked[0].dim == 1536 &&
		   !memcmp(asked[0].vector, v, sizeof(v)), "1536 numbers, %s", base64 ? "base64" : "as text");
	}
	buf_reset(&b);
	for (int i = 0; i < 20000; i++)
		buf_adds(&b, "page ");
	new_ask(ASK_EMBED, 1);
	judge(200, b.data);
	ok(!strcmp(asked[0].verdict.text, "not an answer of an embedding server"), "a long page");
	buf_release(&b);
}

int main(void)
{
	test_requests();
	test_empty_text();
	test_ready();
	test_table(2);
	test_table(1);
	test_table(0);
	test_unknown_model();
	set_up("m", 2, true);
	new_ask(ASK_EMBED, 2);
	test_access(&store, ASK_EMBED, asked);
	test_refusals(&store, ASK_EMBED, asked);
	test_no_answer();
	test_answers();
	test_shapes();
	test_words();
	test_wishes();
	test_long_answers();
	ask_release(&ask);
	store_release(&store);
	return tap_done();
}
