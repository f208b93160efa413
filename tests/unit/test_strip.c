#include <stdlib.h>
#include <string.h>

#include "../../src/alloc.h"
#include "../../src/buf.h"
#include "../../src/strip.h"
#include "tap.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define LONG "abcdefghijklmnopqrstuvwxyz01234"	/* 31 bytes */

static const char *const names[] = { "vector", "properties", LONG, NULL };

static const struct {
	const char *in, *out;	/* out NULL: as it came */
} examples[] = {
	{ "[{\"id\":\"a\",\"vector\":[1,2,3],\"properties\":{\"a\":[1,{}]},\"result\":{\"b\":2}}]",
	  "[{\"id\":\"a\",\"vector\":3,\"properties\":0,\"result\":{\"b\":2}}]" },
	{ "[{\"vector\":[]},{\"vector\":[ ]},{\"vector\":[7]},{\"vector\":[[1,2],[3,4]]}]",
	  "[{\"vector\":0},{\"vector\":0},{\"vector\":1},{\"vector\":2}]" },
	{ "[{\"vector\":null},{\"vector\":\"a,]b\"},{\"vector\":-1.5e3 },{\"vector\":true,\"x\":1}]",
	  "[{\"vector\":0},{\"vector\":0},{\"vector\":0 },{\"vector\":0,\"x\":1}]" },
	{ "[{\"vector\":[\"a,b\",\"]\",\"\\\"],\",\"\\\\\"]}]", "[{\"vector\":4}]" },
	/* more at a time than eight bytes of numbers, of a string */
	{ "[{\"vector\":[0.123456789,-0.25,3.0,1,2,3,4,5,6,7,8,9]},{\"vector\":[1234567890123456]}]",
	  "[{\"vector\":12},{\"vector\":1}]" },
	{ "[{\"vector\":[                  ]},{\"vector\":[\t\t\t\t\t\t\t\t\t\t1]}]", "[{\"vector\":0},{\"vector\":1}]" },
	{ "[{\"vector\":[[1,2,3,4,5,6,7],[10,20,30,40,50]]}]", "[{\"vector\":2}]" },
	{ "[{\"vector\":[1234567,\"1,2,3,4,5,6,7\",12345,\"\\\\\\\",]2,3\",10]}]", "[{\"vector\":5}]" },
	{ "[{\"id\":\"0123456789 \\\"vector\\\":[1]\",\"vector\":[1,2,3,4,5,6,7,8]}]",
	  "[{\"id\":\"0123456789 \\\"vector\\\":[1]\",\"vector\":8}]" },
	{ "[{\"properties\":{\"c\":\"} ] \\\" \\\\\"},\"id\":1}]", "[{\"properties\":0,\"id\":1}]" },
	{ "[{\"properties\":\"\"},{\"properties\":\"\\\\\",\"i\":0}]",
	  "[{\"properties\":0},{\"properties\":0,\"i\":0}]" },
	{ " \t\r\n[ { \"vector\" : [ 1 , 2 ] , \"id\" : \"vector\" } , { } ] ",
	  " \t\r\n[ { \"vector\" : 2 , \"id\" : \"vector\" } , { } ] " },
	{ "[{\"" LONG "\":[1,2]},{\"" LONG "5\":[1,2]},{\"" LONG "56\":1}]",
	  "[{\"" LONG "\":2},{\"" LONG "5\":[1,2]},{\"" LONG "56\":1}]" },
	/* only members of the elements, and only by their whole names */
	{ "[{\"result\":{\"vector\":[1]},\"a\":[{\"vector\":[1]}],\"vectors\":[1],\"vecto\":[1]}]", NULL },
	{ "[[\"vector\",[1,2]],[{\"vector\":[1,2]}]]", NULL },
	{ "[\"vector\",\"properties\",{\"a\":\"vector\",\"b\":[1]}]", NULL },
	{ "[{\"a\":\"\\\"vector\\\":[1]\",\"vec\\u0074or\":[1]}]", NULL },
	{ "[{\"x\":\"properties\",\"y\":{\"z\":1},\"w\":[1]}]", NULL },
	/* not such an array */
	{ "{\"vector\":[1,2,3]}", NULL },
	{ "{\"error\":[{\"message\":\"m\",\"vector\":[1]}]}", NULL },
	{ "", NULL }, { " ", NULL }, { "null", NULL }, { "[]", NULL }, { "\"[{\\\"vector\\\":[1]}]\"", NULL },
	{ "<html>[{\"vector\":[1]}]", NULL }, { "[]{\"vector\":[1]}", NULL },
	{ "[1][{\"vector\":[1]}]", NULL },
	/* what is broken stays broken */
	{ "[{\"vector\":[1,2", "[{\"vector\":" },
	{ "[{\"vector\":[1,2}}]", "[{\"vector\":}}]" },
	{ "[{\"properties\":{]}]", "[{\"properties\":]}]" },
	{ "[{\"vector\":,\"id\":1}]", NULL }, { "[{\"vector\":}]", NULL }, { "[{\"vector\":]", NULL },
	{ "[{\"vector\"[1,2]:[3]}]", NULL },
	{ "[{\"vector\",:[1,2]}]", NULL }, { "[{\"vector\"}:[1,2]]", NULL },
	{ "[{\"a\":\"vector\":[1,2]}]", NULL }, { "[[1,\"vector\":[1,2]]]", NULL },
	{ "[{\"vector\":[1,2]]", "[{\"vector\":2]" },
};

static const char *feed(struct buf *out, const char *in, size_t first, size_t piece)
{
	struct strip *s = strip_new(names);
	size_t n = strlen(in), at = first < n ? first : n;

	buf_reset(out);
	buf_add(out, "", 0);
	strip_feed(s, in, at, out);
	for (size_t k; at < n; at += k) {
		char *exact;

		k = n - at < piece ? n - at : piece;
		exact = xmemdup0(in + at, k);
		strip_feed(s, exact, k, out);
		free(exact);
	}
	strip_free(s);
	return out->data ? out->data : "";
}

static void test_examples(void)
{
	struct buf out = BUF_INIT;

	for (size_t i = 0; i < COUNT(examples); i++) {
		const char *want = examples[i].out ? examples[i].out : examples[i].in;
		size_t n = strlen(examples[i].in), bad = 0;

		for (size_t at = 0; at <= n; at++)
			bad += strcmp(feed(&out, examples[i].in, at, n ? n : 1), want) != 0;
		bad += strcmp(feed(&out, examples[i].in, 0, 1), want) != 0;
		ok(bad == 0 && out.len <= n, "%zu: wherever it is cut", i);
		if (bad)
			printf("# got  %s\n# want %s\n", feed(&out, examples[i].in, n, 1), want);
	}
	buf_release(&out);
}

/* Any prefix of what comes gives no more than itself, and more of it never takes back what was given. */
static void test_prefixes(void)
{
	struct buf out = BUF_INIT, longer = BUF_INIT;
	const char *in = examples[0].in;
	bool good = true;

	for (size_t n = 0; n < strlen(in); n++) {
		char *less = xmemdup0(in, n), *more = xmemdup0(in, n + 1);

		feed(&out, less, 0, 3);
		feed(&longer, more, 0, 5);
		good &= out.len <= n && longer.len >= out.len &&
			(!out.len || !memcmp(out.data, longer.data, out.len));
		free(less);
		free(more);
	}
	ok(good, "what was given is never taken back");
	buf_release(&out);
	buf_release(&longer);
}

static void test_deep(void)
{
	struct buf in = BUF_INIT, out = BUF_INIT;

	buf_adds(&in, "[{\"vector\":");
	for (int i = 0; i < 64; i++)
		buf_adds(&in, i % 2 ? "{" : "[");
	for (int i = 64; i-- > 0;)
		buf_adds(&in, i % 2 ? "}" : "]");
	buf_adds(&in, "}]");
	ok(!strcmp(feed(&out, in.data, 0, 7), "[{\"vector\":1}]"), "64 deep");
	buf_reset(&in);
	buf_adds(&in, "[{\"vector\":");
	for (int i = 0; i < 65; i++)
		buf_addc(&in, '[');
	for (int i = 0; i < 65; i++)
		buf_addc(&in, ']');
	buf_adds(&in, "}]");
	feed(&out, in.data, 0, 7);
	ok(strstr(out.data, "[{\"vector\":[]]]]]"), "65 deep is no JSON any more");
	buf_release(&in);
	buf_release(&out);
}

int main(void)
{
	strip_free(NULL);
	test_examples();
	test_prefixes();
	test_deep();
	return tap_done();
}
