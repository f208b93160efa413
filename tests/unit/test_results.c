#include <json-c/json.h>
#include <string.h>

#include "results.h"

#include "tap.h"

static struct result plain(void)
{
	struct result r = { .run = "20261120T224219Z-1-abcd", .line = 7, .repo = "ServiceA",
			    .path = "src/a.py", .op = OP_MODIFY, .status = STATUS_COMPLETED };

	return r;
}

#define START "{\"run\":\"20261120T224219Z-1-abcd\",\"line\":7,"
#define WHAT START "\"repo\":\"ServiceA\",\"path\":\"src/a.py\",\"op\":\"modify\","

static void is(const struct result *r, const char *want, const char *what)
{
	auto_buf struct buf out = BUF_INIT;

	result_write(&out, r);
	ok(strcmp(out.data, want) == 0, "%s", what);
	if (strcmp(out.data, want) != 0)
		printf("#  got: %s# want: %s", out.data, want);
}

static void test_completed(void)
{
	struct result r = plain();

	r.id = "e417b55a-2ea2-5a2a-9306-c568b130e26b";
	r.objects = 1;
	r.sent = true;
	r.ms = 41;
	is(&r, WHAT "\"status\":\"completed\",\"id\":\"e417b55a-2ea2-5a2a-9306-c568b130e26b\","
	   "\"objects\":1,\"retries\":0,\"ms\":41}\n", "completed");
	r = plain();
	r.op = OP_RENAME;
	r.old_path = "b.py";
	r.resumed = true;
	is(&r, START "\"repo\":\"ServiceA\",\"path\":\"src/a.py\",\"old_path\":\"b.py\",\"op\":\"rename\","
	   "\"status\":\"completed\",\"resumed\":true}\n", "a rename, resumed, without a request");
}

static void test_skipped(void)
{
	struct result r = plain();

	r.status = STATUS_SKIPPED;
	r.reason = REASON_UNCHANGED;
	is(&r, WHAT "\"status\":\"skipped\",\"reason\":\"unchanged\"}\n", "skipped");
	r.status = STATUS_COMPLETED;
	is(&r, WHAT "\"status\":\"completed\"}\n", "a reason belongs to what is skipped");
	r.status = STATUS_SUPERSEDED;
	is(&r, WHAT "\"status\":\"superseded\"}\n", "superseded");
}

static void test_failed(void)
{
	struct result r = plain();

	r.status = STATUS_FAILED;
	r.sent = true;
	r.retries = 3;
	r.error = ERR_STORE_REJECTED;
	r.http = 422;
	r.retryable = true;
	r.message = "no \"such\" thing\n";
	is(&r, WHAT "\"status\":\"failed\",\"retries\":3,\"ms\":0,\"error\":{\"code\":\"store-rejected\","
	   "\"http\":422,\"retryable\":true,\"message\":\"no \\\"such\\\" thing\\n\"}}\n",
	   "refused by the store");
	r = (struct result){ .run = "r", .line = 1, .status = STATUS_FAILED, .error = ERR_BAD_JSON,
			     .message = "cut", .has_offset = true, .offset = 12, .retried = true };
	is(&r, "{\"run\":\"r\",\"line\":1,\"status\":\"failed\",\"error\":{\"code\":\"bad-json\","
	   "\"retryable\":false,\"offset\":12,\"message\":\"cut\"},\"retried\":true}\n",
	   "a line that could not be read names no document");
}

static void test_changeset(void)
{
	struct result r = plain();

	r.path = NULL;
	r.op = OP_CHANGESET;
	r.changeset = "abc";
	is(&r, START "\"repo\":\"ServiceA\",\"op\":\"changeset\",\"status\":\"completed\","
	   "\"changeset\":{\"commit\":\"abc\"}}\n", "a changeset");
	r.status = STATUS_HELD;
	r.held_why = "lines";
	r.waiting = 3;
	is(&r, START "\"repo\":\"ServiceA\",\"op\":\"changeset\",\"status\":\"held\","
	   "\"changeset\":{\"commit\":\"abc\"},\"why\":\"lines\",\"waiting\":3}\n", "held");
}

static void test_planned(void)
{
	struct result r = plain();

	r.planned = "upsert";
	is(&r, WHAT "\"status\":\"planned\",\"action\":\"upsert\"}\n", "planned");
	r.planned = "skip";
	r.reason = REASON_TOO_LARGE;
	is(&r, WHAT "\"status\":\"planned\",\"reason\":\"too-large\",\"action\":\"skip\"}\n",
	   "planned to skip, with the reason");
}

/* Whatever a name holds, the line is one line of valid JSON. */
static void test_names(void)
{
	static const char *const names[] = { "a\nb", "\"", "\\", "\x1b[31m", "\xff\xfe", "caf\xc3\xa9",
					     "\xed\xa0\x80", "\x7f", "a/b" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		auto_buf struct buf out = BUF_INIT;
		struct result r = plain();
		struct json_object *o;

		r.repo = r.path = names[i];
		result_write(&out, &r);
		o = json_tokener_parse(out.data);
		ok(o != NULL && memchr(out.data, '\n', out.len) == out.data + out.len - 1,
		   "name %zu: one line of JSON", i);
		json_object_put(o);
	}
}

/* Every word of the closed lists, so that none prints as null. */
static void test_words(void)
{
	auto_buf struct buf out = BUF_INIT;
	struct result r = plain();

	for (int i = REASON_NONE + 1; i < REASON_COUNT; i++) {
		r.status = STATUS_SKIPPED;
		r.reason = (enum reason)i;
		result_write(&out, &r);
	}
	for (int i = ERR_NONE + 1; i < ERR_COUNT; i++) {
		r.status = STATUS_FAILED;
		r.error = (enum error_code)i;
		r.message = "m";
		result_write(&out, &r);
	}
	ok(strstr(out.data, "null") == NULL, "every reason and every code has a word");
}

int main(void)
{
	test_completed();
	test_skipped();
	test_failed();
	test_changeset();
	test_planned();
	test_names();
	test_words();
	return tap_done();
}
