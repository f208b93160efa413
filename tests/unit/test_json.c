#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "text.h"
#include "tap.h"

static const char *const known[] = { "path", "repo", "commit", "new_changeset", NULL };

static void accepts(const char *text, size_t n)
{
	struct json_fault f = { "", "", 0 };
	int r = json_check(text, n, known, &f);

	ok(r == 0, "accepts case of %zu bytes%s%s", n, r < 0 ? ": " : "", r < 0 ? f.code : "");
}

static void refuses(const char *text, size_t n, const char *code, size_t offset)
{
	struct json_fault f = { "", "", 0 };
	char *exact = malloc(n + 1);	/* so that a sanitizer sees a read too far */
	int r;

	memcpy(exact + 1, text, n);
	r = json_check(exact + 1, n, known, &f);
	ok(r < 0 && strcmp(f.code, code) == 0 && f.offset == offset && f.what[0] != '\0',
	   "%s at %zu: got %s at %zu", code, offset, f.code, f.offset);
	free(exact);
}

#define YES(text) accepts(text, sizeof(text) - 1)
#define NO(text, code, offset) refuses(text, sizeof(text) - 1, code, offset)

static void test_values(void)
{
	YES("{}");
	YES(" \t\r\n[] \n");
	YES("\"a\"");
	YES("true");
	YES("false");
	YES("null");
	YES("0");
	YES("-0");
	YES("-0.5e-10");
	YES("1E+2");
	YES("[1, 2.5 ,\"x\",null , {\"a\" : [ ] }]");
	YES("{\"path\":\"a\",\"content\":\"b\\n\\u00fc\\\"\\\\\\/\\b\\f\\r\\t\"}");
	YES("\"\\ud83d\\ude00\\u0000\"");
	YES("\"\\uD83D\\uDE00 gr\xc3\xbc\xc3\x9f" "e\x7f\"");
	YES("\"a long string without anything to see, then a quote \\\" and on\"");
}

static void test_grammar(void)
{
	NO("", "bad-json", 0);
	NO("  ", "bad-json", 2);
	NO("\xef\xbb\xbf{}", "bad-json", 0);
	NO("{} x", "bad-json", 3);
	NO("{}\0", "bad-json", 2);
	NO("{", "bad-json", 1);
	NO("{\"a\"", "bad-json", 4);
	NO("{\"a\":", "bad-json", 5);
	NO("{\"a\":1", "bad-json", 6);
	NO("{\"a\":1,}", "bad-json", 7);
	NO("{\"a\" 1}", "bad-json", 5);
	NO("{\"a\":}", "bad-json", 5);
	NO("{a:1}", "bad-json", 1);
	NO("{'a':1}", "bad-json", 1);
	NO("['a']", "bad-json", 1);
	NO("[1,]", "bad-json", 3);
	NO("[1 2]", "bad-json", 3);
	NO("[1", "bad-json", 2);
	NO("[}", "bad-json", 1);
	NO("]", "bad-json", 0);
	NO("NaN", "bad-json", 0);
	NO("-Infinity", "bad-json", 1);
	NO("[Infinity]", "bad-json", 1);
	NO("nul", "bad-json", 3);
	NO("nulx", "bad-json", 3);
	NO("True", "bad-json", 0);
	NO("truefalse", "bad-json", 4);
	NO("/* c */1", "bad-json", 0);
	NO("\"abc", "bad-json", 4);
	NO("\"abc\\", "bad-json", 5);
	NO("\"abc\\u12", "bad-json", 8);
	NO("\"\\ud83d", "bad-json", 7);
	NO("\"\\ud83d\\", "bad-json", 8);
	NO("\"\\ud83d\\ude", "bad-json", 11);
}

static void test_strings(void)
{
	NO("\"a\nb\"", "control-character", 2);
	NO("\"long enough to be stepped over\x1f\"", "control-character", 31);
	NO("\"\0\"", "control-character", 1);
	NO("{\"a\tb\":1}", "control-character", 3);
	NO("\"a\\qb\"", "bad-escape", 2);
	NO("\"\\u12g4\"", "bad-escape", 1);
	NO("\"\\u12\"", "bad-escape", 1);
	NO("\"\\U0041\"", "bad-escape", 1);
	NO("\"x\\ud800\"", "bad-escape", 2);
	NO("\"\\ud800 \\udc00\"", "bad-escape", 1);
	NO("\"\\ud800\\n\"", "bad-escape", 1);
	NO("\"\\ud800\\ud800\\udc00\"", "bad-escape", 1);
	NO("\"\\ud800\\u0041\"", "bad-escape", 1);
	NO("\"abc\\udc00\"", "bad-escape", 4);
	NO("{\"a\\u0000b\":1}", "nul-in-name", 3);
	NO("[{\"\\u0000\":1}]", "nul-in-name", 3);
	YES("[{\"a\":\"\\u0000\"}]");
	NO("\"\xc0\xaf\"", "bad-utf8", 1);
	NO("\"12345678\xed\xa0\x80\"", "bad-utf8", 9);
	NO("{\"\xff\":1}", "bad-utf8", 2);
	NO("\"\xc3\"", "bad-utf8", 1);
}

static void test_duplicates(void)
{
	struct json_fault f;

	NO("{\"path\":1,\"path\":2}", "duplicate-field", 10);
	NO("{\"path\":1,\"p\\u0061th\":2}", "duplicate-field", 10);
	NO("{\"\\u0070ath\":1, \"path\":2}", "duplicate-field", 16);
	NO("{\"new_changeset\":{\"commit\":1,\"commit\":2}}", "duplicate-field", 29);
	NO("{\"new\\u005fchangeset\":{\"commit\":1,\"commit\":2}}", "duplicate-field", 34);
	NO("{\"new_changeset\":1,\"new_changeset\":{}}", "duplicate-field", 19);
	YES("{\"commit\":1,\"new_changeset\":{\"commit\":2}}");
	YES("{\"other\":1,\"other\":2}");
	YES("{\"pat\":1,\"path\":1,\"paths\":1,\"\":1,\"\":2}");
	YES("{\"metadata\":{\"path\":1,\"path\":2},\"path\":3}");
	YES("{\"new_changeset\":{\"x\":{\"path\":1,\"path\":2}}}");
	YES("{\"a\":{\"new_changeset\":{\"path\":1,\"path\":2}}}");
	YES("[{\"path\":1,\"path\":2}]");
	YES("{\"p\\u00e4th\":1,\"p\\u20acth\":1,\"p\\ud83d\\ude00th\":1}");
	ok(json_check("{\"path\":1,\"path\":2}", 19, NULL, &f) == 0, "no list, no duplicates");
}

static void test_depth(void)
{
	char text[2 * JSON_MAX_DEPTH + 2];

	memset(text, '[', JSON_MAX_DEPTH);
	memset(text + JSON_MAX_DEPTH, ']', JSON_MAX_DEPTH);
	accepts(text, 2 * JSON_MAX_DEPTH);
	memset(text, '[', JSON_MAX_DEPTH + 1);
	memset(text + JSON_MAX_DEPTH + 1, ']', JSON_MAX_DEPTH + 1);
	refuses(text, 2 * JSON_MAX_DEPTH + 2, "too-deep", JSON_MAX_DEPTH);
	NO("{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[{", "too-deep", 36);
}

/* The limit is where rounding to nearest gives infinity: 2^1024 - 2^970. */
#define LIMIT_308 \
	"1797693134862315807937289714053034150799341327100378269361737789804449682927647509466490" \
	"1797758720709633028641669288791094655554785194040263065748867150582068190890200070838367" \
	"6273854845817711531764475730270069855571366959622842914819860834936475292719074168444365" \
	"51070434271155969950809304288017790417449779"

static void test_numbers(void)
{
	char zeros[800];

	NO("01", "bad-json", 1);
	NO("-", "bad-json", 1);
	NO("-a", "bad-json", 1);
	NO("+1", "bad-json", 0);
	NO(".5", "bad-json", 0);
	NO("1.", "bad-json", 2);
	NO("1.e5", "bad-json", 2);
	NO("1e", "bad-json", 2);
	NO("1e+", "bad-json", 3);
	NO("0x10", "bad-json", 1);
	YES("1e308");
	YES("1.7976931348623157e308");
	YES("1.7976931348623158e308");
	NO("[1.7976931348623159e308]", "bad-number", 1);
	NO("[2e308]", "bad-number", 1);
	NO("-1e309", "bad-number", 0);
	NO("1E+99999999999999999999999", "bad-number", 0);
	YES("1e-99999999999999999999999");
	YES("0e99999999999999999999999");
	YES("0.000e400");
	YES("0.0000000001e318");
	NO("0.0000000001e319", "bad-number", 0);
	YES("123456789012345678901234567890");
	NO(LIMIT_308 "2", "bad-number", 0);
	NO("-" LIMIT_308 "2.0", "bad-number", 0);
	NO(LIMIT_308 ".2e1", "bad-number", 0);
	NO("0." LIMIT_308 "2e309", "bad-number", 0);
	NO(LIMIT_308 "9", "bad-number", 0);
	YES(LIMIT_308 "1");
	YES(LIMIT_308 "1.999");
	YES(LIMIT_308 ".19e1");
	YES(LIMIT_308);
	memset(zeros, '0', sizeof(zeros));
	zeros[0] = '1';
	refuses(zeros, sizeof(zeros), "bad-number", 0);
	accepts(zeros, 309);
	memcpy(zeros + 795, "e-700", 5);
	accepts(zeros, sizeof(zeros));
}

static void test_string_writer(void)
{
	static const struct {
		const char *text;
		size_t n;
		const char *want;
	} cases[] = {
		{ "", 0, "\"\"" },
		{ "plain /text/", 12, "\"plain /text/\"" },
		{ "a\"b\\c", 5, "\"a\\\"b\\\\c\"" },
		{ "\b\t\n\f\r", 5, "\"\\b\\t\\n\\f\\r\"" },
		{ "\0\x01\x0b\x0e\x1f\x7f", 6, "\"\\u0000\\u0001\\u000b\\u000e\\u001f\\u007f\"" },
		{ "\xc2\x80" "abcdefgh\xc2\x9f\xc2\xa0\xc2\xbf\xc3\x80", 18,
		  "\"\\u0080abcdefgh\\u009f\xc2\xa0\xc2\xbf\xc3\x80\"" },
		{ "gr\xc3\xbc\xc3\x9f" "e", 7, "\"gr\xc3\xbc\xc3\x9f" "e\"" },
		{ "a\xff" "b\xc3", 4, "\"a\xef\xbf\xbd" "b\xef\xbf\xbd\"" },
		{ "\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
		{ "eight by eight by\neight", 23, "\"eight by eight by\\neight\"" },
	};
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		auto_buf struct buf b = BUF_INIT;

		json_str(&b, cases[i].text, cases[i].n);
		ok(b.len == strlen(cases[i].want) && strcmp(b.data, cases[i].want) == 0,
		   "string case %zu: %s", i, b.data);
		if (utf8_check(cases[i].text, cases[i].n) != cases[i].n)
			continue;
		ok(json_str_size(cases[i].text, cases[i].n) == b.len, "and its length");
		ok(json_str_is(b.data + 1, b.len - 2, cases[i].text, cases[i].n), "known as its own");
		ok(!json_str_is(b.data + 1, b.len - 1, cases[i].text, cases[i].n), "not with more behind it");
		for (size_t k = 1; k + 1 < b.len; k++) {
			ok(!json_str_is(b.data + 1, k - 1, cases[i].text, cases[i].n), "cut at %zu", k);
			b.data[k] ^= 1;
			ok(!json_str_is(b.data + 1, b.len - 2, cases[i].text, cases[i].n), "another at %zu", k);
			b.data[k] ^= 1;
		}
	}
}

static void test_members(void)
{
	auto_buf struct buf b = BUF_INIT;
	bool first = true;

	json_member_str(&b, &first, "a", "x\ny", 3);
	json_member_cstr(&b, &first, "b", "z");
	json_member_cstr(&b, &first, "c", NULL);
	json_member_int(&b, &first, "d", INT64_MIN);
	json_member_bool(&b, &first, "e", true);
	json_member_bool(&b, &first, "f", false);
	json_name(&b, &first, "g");
	json_cstr(&b, NULL);
	ok(strcmp(b.data, "\"a\":\"x\\ny\",\"b\":\"z\",\"c\":null,\"d\":-9223372036854775808,"
			  "\"e\":true,\"f\":false,\"g\":null") == 0, "members: %s", b.data);
	ok(!first, "no longer first");
}

int main(void)
{
	test_values();
	test_grammar();
	test_strings();
	test_duplicates();
	test_depth();
	test_numbers();
	test_string_writer();
	test_members();
	return tap_done();
}
