#include <stdlib.h>
#include <string.h>

#include "text.h"
#include "tap.h"

static bool is(const struct buf *b, const char *want)
{
	return b->len == strlen(want) && memcmp(b->data, want, b->len) == 0;
}

static void test_utf8(void)
{
	static const struct {
		const char *text;
		size_t good;	/* SIZE_MAX: all of it */
	} cases[] = {
		{ "", SIZE_MAX },
		{ "plain", SIZE_MAX },
		{ "exactly 16 bytes", SIZE_MAX },
		{ "gr\xc3\xbc\xc3\x9f" "e \xe2\x82\xac \xf0\x9f\x98\x80", SIZE_MAX },
		{ "\xc2\x80", SIZE_MAX },
		{ "\xe0\xa0\x80", SIZE_MAX },
		{ "\xed\x9f\xbf\xee\x80\x80", SIZE_MAX },
		{ "\xf0\x90\x80\x80", SIZE_MAX },
		{ "\xf4\x8f\xbf\xbf", SIZE_MAX },
		{ "\x80", 0 },
		{ "\xbf", 0 },
		{ "a\xc0\xaf", 1 },
		{ "ab\xc1\xbf", 2 },
		{ "\xe0\x9f\xbf", 0 },
		{ "\xed\xa0\x80", 0 },
		{ "\xed\xbf\xbf", 0 },
		{ "\xf0\x8f\xbf\xbf", 0 },
		{ "\xf4\x90\x80\x80", 0 },
		{ "\xf5\x80\x80\x80", 0 },
		{ "\xff", 0 },
		{ "12345678\xc3", 8 },
		{ "1234567\xe2\x82", 7 },
		{ "1234567\xe2\x82\xac\xf0\x9f\x98", 10 },
		{ "12345678 12345678 1234567\xc3(", 25 },
		{ "\xc3\xbc\xc3", 2 },
		{ "\xe2\x28\xa1", 0 },
	};
	size_t i, n;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		n = strlen(cases[i].text);
		ok(utf8_check(cases[i].text, n) == (cases[i].good == SIZE_MAX ? n : cases[i].good),
		   "utf8 case %zu", i);
	}
	ok(utf8_check("a\0b", 3) == 3, "NUL is UTF-8");
}

static void test_base64(void)
{
	static const char *const good[][2] = {
		{ "", "" },
		{ "f", "Zg==" },
		{ "fo", "Zm8=" },
		{ "foo", "Zm9v" },
		{ "foob", "Zm9vYg==" },
		{ "fooba", "Zm9vYmE=" },
		{ "foobar", "Zm9vYmFy" },
		{ "\xfb\xff\xbf", "+/+/" },
	};
	static const struct {
		const char *text;
		size_t at;
	} bad[] = {
		{ "Z", 1 }, { "Zg", 2 }, { "Zg=", 3 }, { "Zm9", 3 }, { "Zm9vY", 5 },
		{ "=", 0 }, { "Z===", 1 }, { "====", 0 }, { "Zg=v", 3 }, { "Zm9v=", 4 },
		{ "Zg==Zg==", 2 }, { "Zm9v Zm9v", 4 }, { "Zm9v\nZm9v", 4 }, { "Zm9vYmF\n", 7 },
		{ "Zh==", 1 }, { "Zm9=", 2 }, { "Zm9vZm9=", 6 }, { "-_-_", 0 }, { "Zm9v\xff\xff\xff\xff", 4 },
		{ "Zm9vZg==\n", 6 },
	};
	size_t i, at;

	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		auto_buf struct buf b = BUF_INIT;

		base64_encode(&b, good[i][0], strlen(good[i][0]));
		ok(is(&b, good[i][1]), "encode to '%s'", good[i][1]);
		buf_reset(&b);
		ok(base64_decode(&b, good[i][1], strlen(good[i][1]), &at) == 0 &&
		   is(&b, good[i][0]), "decode '%s'", good[i][1]);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		auto_buf struct buf b = BUF_INIT;

		buf_adds(&b, "kept");
		at = 1000;
		ok(base64_decode(&b, bad[i].text, strlen(bad[i].text), &at) < 0 &&
		   at == bad[i].at && is(&b, "kept"), "bad base64 case %zu: at %zu", i, at);
	}
}

static void test_base64_all_bytes(void)
{
	auto_buf struct buf coded = BUF_INIT, plain = BUF_INIT;
	char bytes[256];
	size_t i, at;

	for (i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)i;
	for (i = 0; i <= sizeof(bytes); i++) {
		buf_reset(&coded);
		buf_reset(&plain);
		base64_encode(&coded, bytes, i);
		if (base64_decode(&plain, coded.data, coded.len, &at) < 0 || plain.len != i ||
		    memcmp(plain.data, bytes, i) != 0)
			break;
	}
	ok(i == sizeof(bytes) + 1, "every length up to 256 comes back");
}

static void test_percent(void)
{
	auto_buf struct buf b = BUF_INIT;

	percent_encode(&b, "src/caf\xc3\xa9 menu-._~A9.txt", 24);
	ok(is(&b, "src%2Fcaf%C3%A9%20menu-._~A9.txt"), "percent encoding: %s", b.data);
	buf_reset(&b);
	percent_encode(&b, "\0#%", 3);
	ok(is(&b, "%00%23%25"), "percent encoding of NUL, # and %%");
}

static void test_cquote(void)
{
	static const struct {
		const char *quoted;
		size_t used;	/* 0: not well formed */
		const char *want;
	} cases[] = {
		{ "\"\"", 2, "" },
		{ "\"a b\"", 5, "a b" },
		{ "\"caf\\303\\251.txt\"", 17, "caf\xc3\xa9.txt" },
		{ "\"\\a\\b\\t\\n\\v\\f\\r\\\"\\\\\"", 20, "\a\b\t\n\v\f\r\"\\" },
		{ "\"a\" -> \"b\"", 3, "a" },
		{ "\"\\377\"", 6, "\xff" },
		{ "\"", 0, "" },
		{ "\"a", 0, "" },
		{ "\"a\\\"", 0, "" },
		{ "\"\\400\"", 0, "" },
		{ "\"\\38\"", 0, "" },
		{ "\"\\1", 0, "" },
		{ "\"\\x41\"", 0, "" },
		{ "\"\\", 0, "" },
		{ "a\"", 0, "" },
		{ "", 0, "" },
	};
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		auto_buf struct buf b = BUF_INIT;

		buf_adds(&b, "");
		ok(cquote_decode(&b, cases[i].quoted, strlen(cases[i].quoted)) == cases[i].used &&
		   is(&b, cases[i].want), "C-quoted case %zu", i);
	}
}

static void test_hex(void)
{
	char out[9];
	unsigned char bytes[4] = { 0 };

	hex_encode(out, "\x00\x7f\x80\xff", 4);
	ok(strcmp(out, "007f80ff") == 0, "hex");
	ok(hex_decode(bytes, "007F80fF", 4) == 0 && memcmp(bytes, "\x00\x7f\x80\xff", 4) == 0,
	   "hex of either case");
	ok(hex_decode(bytes, "0g", 1) < 0, "no hex digit");
	ok(hex_decode(bytes, "", 1) < 0, "hex that ends too early");
	ok(hex_decode(bytes, "0", 1) < 0, "half a byte of hex");
	ok(hex_decode(bytes, "", 0) == 0, "no hex at all");
}

static void test_numbers(void)
{
	static const char *const bad[] = { "", " 1", "1 ", "+1", "-1", "0x10", "1e3", "11",
					   "18446744073709551616", "99999999999999999999999" };
	uint64_t v;
	size_t i;

	ok(parse_uint(&v, "10", 1, 10) == 0 && v == 10, "at the maximum");
	ok(parse_uint(&v, "0007", 1, 10) == 0 && v == 7, "leading zeros");
	ok(parse_uint(&v, "18446744073709551615", 0, UINT64_MAX) == 0 && v == UINT64_MAX,
	   "64 bits");
	ok(parse_uint(&v, "0", 1, 10) < 0, "below the minimum");
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ok(parse_uint(&v, bad[i], 0, 10) < 0, "no number: '%s'", bad[i]);
}

static void test_units(void)
{
	static const struct {
		const char *text;
		int64_t bytes, ms;	/* -1: refused; a bare number is seconds */
	} cases[] = {
		{ "0", 0, 0 },
		{ "12", 12, 12000 },
		{ "2k", 2048, -1 },
		{ "2K", 2048, -1 },
		{ "2kb", 2048, -1 },
		{ "2KiB", 2048, -1 },
		{ "3m", 3 << 20, 180000 },
		{ "3MB", 3 << 20, -1 },
		{ "1g", 1 << 30, -1 },
		{ "1GiB", 1 << 30, -1 },
		{ "1gi", -1, -1 },
		{ "1kbb", -1, -1 },
		{ "1 k", -1, -1 },
		{ "k", -1, -1 },
		{ "1b", -1, -1 },
		{ "250ms", -1, 250 },
		{ "10s", -1, 10000 },
		{ "26h", -1, 93600000 },
		{ "7d", -1, 604800000 },
		{ "1w", -1, -1 },
		{ "1.5s", -1, -1 },
		{ "", -1, -1 },
		{ "-1s", -1, -1 },
		{ "18014398509481985k", -1, -1 },
		{ "18446744073709551615d", -1, -1 },
	};
	uint64_t v;
	size_t i;
	int r;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		r = parse_bytes(&v, cases[i].text, 0, UINT64_MAX);
		ok(cases[i].bytes < 0 ? r < 0 : r == 0 && v == (uint64_t)cases[i].bytes,
		   "bytes '%s'", cases[i].text);
		r = parse_duration_ms(&v, cases[i].text, 1000, UINT64_MAX);
		ok(cases[i].ms < 0 ? r < 0 : r == 0 && v == (uint64_t)cases[i].ms,
		   "duration '%s'", cases[i].text);
	}
	ok(parse_bytes(&v, "1k", 1025, 2048) < 0, "bytes below the minimum");
	ok(parse_bytes(&v, "3k", 1025, 2048) < 0, "bytes above the maximum");
	ok(parse_duration_ms(&v, "2s", 1, 1999) < 0, "too long a time");
}

static void test_printable(void)
{
	static const struct {
		const char *text;
		size_t max;
		const char *want;
	} cases[] = {
		{ "plain", 100, "plain" },
		{ "gr\xc3\xbc\xc3\x9f" "e", 100, "gr\xc3\xbc\xc3\x9f" "e" },
		{ "a\x1b[31m\x7f\t\n", 100, "a\\x1b[31m\\x7f\\x09\\x0a" },
		{ "\xc2\x9b" "A\xc2\xa0", 100, "\\xc2\\x9b" "A\xc2\xa0" },
		{ "x\xff\xc3", 100, "x\\xff\\xc3" },
		{ "abcdef", 3, "abc..." },
		{ "abc", 3, "abc" },
		{ "a\xc3\xbc" "b", 2, "a..." },
		{ "a\xc3\xbc", 3, "a\xc3\xbc" },
		{ "abc", 0, "..." },
		{ "", 0, "" },
		{ "a\xe2\x80\xae" "b", 3, "a..." },
	};
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		auto_buf struct buf b = BUF_INIT;

		buf_adds(&b, "");
		text_printable(&b, cases[i].text, strlen(cases[i].text), cases[i].max);
		ok(is(&b, cases[i].want), "printable case %zu", i);
	}
}

static size_t encode(char out[4], uint32_t c)
{
	size_t len = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

	for (size_t i = len - 1; i > 0; i--, c >>= 6)
		out[i] = (char)(0x80 | (c & 0x3f));
	out[0] = (char)(len == 1 ? c : (0xf00U >> len & 0xff) | c);
	return len;
}

/* What Unicode calls Bidi_Control, and others that are not seen; and what looks like them and is. */
static void test_acts(void)
{
	static const uint32_t act[] = {
		0, 0x1b, 0x1f, 0x7f, 0x80, 0x9b, 0x9f, 0xad, 0x61c, 0x180e, 0x200b, 0x200e, 0x200f, 0x2028, 0x2029,
		0x202a, 0x202b, 0x202c, 0x202d, 0x202e, 0x2060, 0x2064, 0x2066, 0x2067, 0x2068, 0x2069, 0x206f,
		0xfeff, 0xfff9, 0xfffb, 0xe0001, 0xe0041, 0xe007f,
	};
	static const uint32_t show[] = {
		0x20, 0x7e, 0xa0, 0xac, 0xae, 0xe9, 0x61b, 0x61d, 0x180d, 0x200a, 0x200c, 0x200d, 0x2010, 0x2027,
		0x202f, 0x205f, 0x2070, 0x4e2d, 0xfefe, 0xff00, 0xfff8, 0xfffc, 0xfffd, 0x1f600, 0xdffff, 0xe0080,
		0x10ffff,
	};
	char s[4];
	size_t bad = 0, len, n;

	for (size_t i = 0; i < sizeof(act) / sizeof(act[0]); i++) {
		auto_buf struct buf b = BUF_INIT;

		n = encode(s, act[i]);
		text_printable(&b, s, n, 100);
		bad += text_code_point(s, n, &len) != act[i] || len != n || !text_acts(act[i]) || b.len != 4 * n ||
		       memcmp(b.data, "\\x", 2) != 0;
	}
	ok(!bad, "what a terminal might act on is shown as codes");
	for (size_t i = 0; i < sizeof(show) / sizeof(show[0]); i++) {
		auto_buf struct buf b = BUF_INIT;

		n = encode(s, show[i]);
		text_printable(&b, s, n, 100);
		bad += text_code_point(s, n, &len) != show[i] || len != n || text_acts(show[i]) || b.len != n;
	}
	ok(!bad, "the rest as it is");
	ok(text_code_point("\xe2\x80", 2, &len) == UINT32_MAX && len == 1 && text_acts(UINT32_MAX), "what is cut is no text");
}

static void test_lines(void)
{
	ok(text_lines("", 0) == 0, "no line");
	ok(text_lines("a", 1) == 1, "one without newline");
	ok(text_lines("a\n", 2) == 1, "one");
	ok(text_lines("a\nb", 3) == 2, "two, the last without newline");
	ok(text_lines("\n\n", 2) == 2, "two empty ones");
}

static size_t start(const char *text, size_t lines, size_t max)
{
	return text_start(text, strlen(text), lines, max);
}

static void test_start(void)
{
	ok(start("", 3, 9) == 0 && start("a", 0, 9) == 0, "no line");
	ok(start("a\nb", 3, 9) == 3 && start("a\nb\n", 3, 9) == 3, "fewer than asked for");
	ok(start("a\nb\nc", 3, 9) == 5 && start("a\nb\nc\n", 3, 9) == 5, "as many, with and without newline");
	ok(start("a\nb\nc\nd", 3, 9) == 5 && start("\n\n\n\n", 3, 9) == 2, "more");
	ok(start("abcdef", 3, 6) == 6 && start("abcdef", 3, 5) == 5 && start("abcdef", 3, 0) == 0, "cut");
	ok(start("ab\xc3\xa9", 3, 4) == 4 && start("ab\xc3\xa9", 3, 3) == 2, "a character of two bytes");
	ok(start("\xf0\x9f\x8d\xb5", 3, 4) == 4 && start("\xf0\x9f\x8d\xb5", 3, 3) == 0, "of four");
	ok(text_start("a\0b\nc", 5, 1, 9) == 3, "NUL is a character");
}

static void test_glob(void)
{
	static const struct {
		const char *pattern, *path;
		bool match;
	} cases[] = {
		{ "*.py", "a.py", true },
		{ "*.py", "src/a.py", false },
		{ "*.py", "a.pyc", false },
		{ "vendor", "vendor", true },
		{ "vendor", "src/vendor", false },
		{ "vendor", "vendor/a.c", false },
		{ "src*c", "src/a/b.c", false },
		{ "src*c", "src.c", true },
		{ "a?b", "a/b", false },
		{ "src/*.c", "src/a.c", true },
		{ "src/*.c", "src/x/a.c", false },
		{ "src/*.c", "lib/src/a.c", false },
		{ "src/?.c", "src/\xc3\xbc.c", false },
		{ "src/??.c", "src/\xc3\xbc.c", true },
		{ "src/?.c", "src//.c", false },
		{ "src/**", "src/a", true },
		{ "src/**", "src/a/b", true },
		{ "src/**", "src", false },
		{ "**/a.c", "a.c", true },
		{ "**/a.c", "x/y/a.c", true },
		{ "**/a.c", "x/ya.c", false },
		{ "**/node_modules/**", "node_modules/x.js", true },
		{ "**/node_modules/**", "a/b/node_modules/c/x.js", true },
		{ "**/node_modules/**", "a/my_node_modules/x.js", false },
		{ "a/**/b", "a/b", true },
		{ "a/**/b", "a/x/y/b", true },
		{ "a/**/b", "a/xb", false },
		{ "a/x**z", "a/x1/2/z", false },
		{ "a/x**z", "a/x12z", true },
		{ "a/**z", "a/x/z", false },
		{ "a/***/z", "a/x/y/z", true },
		{ "**/*a/b*c", "q/xa/bc/ya/b1c", true },
		{ "**/t*/x", "a/ts/y/tt/x", true },
		{ "[abc].txt", "b.txt", true },
		{ "[!abc].txt", "b.txt", false },
		{ "[^a-c].txt", "d.txt", true },
		{ "[a-c]?", "bz", true },
		{ "[]]", "]", true },
		{ "[\\]a]", "a", true },
		{ "[a-]", "-", true },
		{ "[ab", "[ab", false },
		{ "[[:alpha:]_]x", "_x", true },
		{ "[[:digit:]]", "7", true },
		{ "[![:digit:]]", "7", false },
		{ "[[:none:]]", "n", false },
		{ "[[:x]", "x", true },
		{ "[b-a]", "b", true },
		{ "a\\", "a\\", false },
		{ "a/[.-0]b", "a//b", false },
		{ "\\*.c", "*.c", true },
		{ "\\*.c", "a.c", false },
		{ "", "", true },
		{ "", "a", false },
		{ "*", "", true },
		{ "?", "", false },
	};
	char many[2001], text[2001];
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ok(text_glob(cases[i].pattern, cases[i].path) == cases[i].match,
		   "'%s' %s '%s'", cases[i].pattern, cases[i].match ? "matches" : "does not match",
		   cases[i].path);
	for (i = 0; i < sizeof(many) - 1; i++)
		many[i] = "a*"[i % 2];
	many[i] = '\0';
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 2] = 'b';
	text[sizeof(text) - 1] = '\0';
	many[sizeof(many) - 2] = 'c';
	ok(!text_glob(many, text), "a thousand stars end in time");
}

int main(void)
{
	test_utf8();
	test_base64();
	test_base64_all_bytes();
	test_percent();
	test_cquote();
	test_hex();
	test_numbers();
	test_units();
	test_printable();
	test_acts();
	test_lines();
	test_start();
	test_glob();
	return tap_done();
}
