#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "buf.h"
#include "chunk.h"
#include "chunk_rules.h"
#include "cleanup.h"
#include "tap.h"

/* Cuts text, and compares with want: "0+4 1-2, 4+2 3-3": start, bytes, first and last line. */
static bool cuts(const char *text, struct chunking how, const char *want)
{
	auto_buf struct buf got = BUF_INIT;
	struct chunk_walk w;
	struct chunk c;

	chunk_begin(&w, text, strlen(text), &how);
	while (chunk_next(&w, &c))
		buf_addf(&got, "%s%zu+%zu %lu-%lu", got.len ? ", " : "", c.start, c.len,
			 (unsigned long)c.first_line, (unsigned long)c.last_line);
	if (strcmp(got.data, want) == 0)
		return true;
	printf("# got %s\n", got.data);
	return false;
}

static void test_names(void)
{
	static const char *const good[] = { "off", "lines=40,overlap=5,bytes=1500",
		"lines=0,overlap=3,bytes=64", "lines=1,overlap=0,bytes=0",
		"lines=4294967295,overlap=4294967294,bytes=1073741824" };
	static const char *const bad[] = { "", "of", "offf", "lines=0,overlap=0,bytes=0",
		"lines=40,overlap=40,bytes=0", "lines=0,overlap=0,bytes=63",
		"lines=0,overlap=0,bytes=1073741825", "lines=4294967296,overlap=0,bytes=0",
		"lines=40,overlap=5,bytes=1500,", "lines=40,overlap=5,bytes=1500 ", "lines=40,overlap=5",
		"lines=40,overlap=5,", "lines=40 overlap=5 bytes=1500", "lines=,overlap=5,bytes=1500",
		"lines=-1,overlap=0,bytes=0", "lines=1x,overlap=0,bytes=0",
		"lines=00000000001,overlap=0,bytes=0" };
	struct chunking c;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		bool read = chunking_parse(&c, good[i]) == 0;
		autofree char *name = chunking_name(&c);

		ok(read && strcmp(name, good[i]) == 0, "there and back: %s", good[i]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ok(chunking_parse(&c, bad[i]) != 0, "no name: '%s'", bad[i]);
	c = (struct chunking){ 0, 5, 0 };
	autofree char *off = chunking_name(&c);
	ok(chunking_is_off(&c) && chunking_fault(&c) == NULL && strcmp(off, "off") == 0,
	   "an overlap alone is off");
	ok(chunking_fault(&(struct chunking){ 5, 5, 0 }) != NULL &&
	   chunking_fault(&(struct chunking){ 5, 4, 0 }) == NULL &&
	   chunking_fault(&(struct chunking){ 0, 5, 64 }) == NULL &&
	   chunking_fault(&(struct chunking){ 0, 0, 63 }) != NULL, "faults");
}

static void test_off(void)
{
	struct chunking off = { 0 };

	ok(cuts("a\nb\n", off, "0+4 1-2"), "off: one chunk");
	ok(cuts("a\nb", off, "0+3 1-2"), "a last line without its end");
	ok(cuts("\n", off, "0+1 1-1") && cuts("", off, "0+0 1-0"), "the shortest");
	ok(cuts("", (struct chunking){ 2, 1, 64 }, "0+0 1-0"), "an empty text is one chunk");
	ok(cuts("a\nb\n", (struct chunking){ 0, 5, 0 }, "0+4 1-2"), "an overlap alone does nothing");
}

static void test_lines(void)
{
	static const char five[] = "1\n2\n3\n4\n5\n";

	ok(cuts(five, (struct chunking){ 2, 0, 0 }, "0+4 1-2, 4+4 3-4, 8+2 5-5"), "two lines each");
	ok(cuts(five, (struct chunking){ 5, 0, 0 }, "0+10 1-5"), "all in one");
	ok(cuts(five, (struct chunking){ 3, 1, 0 }, "0+6 1-3, 4+6 3-5"),
	   "one is repeated, and nothing at the end");
	ok(cuts(five, (struct chunking){ 3, 2, 0 }, "0+6 1-3, 2+6 2-4, 4+6 3-5"), "two are");
	ok(cuts("1\n2\n3\n4", (struct chunking){ 3, 1, 0 }, "0+6 1-3, 4+3 3-4"), "no end of the last");
	ok(cuts("1\r\n2\r\n3\r4\r\n", (struct chunking){ 1, 0, 0 }, "0+3 1-1, 3+3 2-2, 6+5 3-3"),
	   "CRLF ends a line, CR does not");
}

/* Lines of 30 bytes, x is one of so many. */
#define X29 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X30 X29 "\n"

static void test_bytes(void)
{
	struct chunking how = { 0, 0, 64 };

	ok(cuts(X30 X30 X30, how, "0+60 1-2, 60+30 3-3"), "whole lines only");
	ok(cuts(X30 X30 "123\n", how, "0+64 1-3") && cuts(X30 X30 "1234\n", how, "0+60 1-2, 60+5 3-3"),
	   "up to the last byte");
	ok(cuts(X29 X29 X29, how, "0+64 1-1, 64+23 1-1"), "a long line, without a blank");
	ok(cuts("a\n" X29 X29 X29 "\nb\nc\n", how, "0+2 1-1, 2+64 2-2, 66+28 2-4"),
	   "its rest goes on with the lines that follow");
	ok(cuts(X29 " " X29 "\t" X29, how, "0+60 1-1, 60+29 1-1"), "after the last blank");
	ok(cuts(X29 " " X29 X29, how, "0+64 1-1, 64+24 1-1"), "not where much would be left out");
	ok(cuts(X29 X29 "123456\n", how, "0+63 1-1, 63+2 1-1") &&
	   cuts(X29 X29 "12345\r\n", how, "0+62 1-1, 62+3 1-1"), "a line's end does not stand alone");
	ok(cuts(X29 X29 "12345\xe2\x82\xac" X29, how, "0+63 1-1, 63+32 1-1") &&
	   cuts(X29 X29 "123\xf0\x9f\x98\x80" X29, how, "0+61 1-1, 61+33 1-1") &&
	   cuts(X29 X29 "1234\xc3\xbc" X29, how, "0+64 1-1, 64+29 1-1"), "between two characters");
}

static void test_both(void)
{
	ok(cuts(X30 X30 "1\n2\n", (struct chunking){ 3, 0, 64 }, "0+62 1-3, 62+2 4-4") &&
	   cuts("1\n2\n3\n" X30 X30, (struct chunking){ 4, 0, 64 }, "0+36 1-4, 36+30 5-5") &&
	   cuts(X30 X30 X30, (struct chunking){ 3, 0, 64 }, "0+60 1-2, 60+30 3-3"),
	   "whichever limit comes first");
	ok(cuts(X30 X30 X30, (struct chunking){ 0, 1, 64 }, "0+60 1-2, 30+60 2-3"), "a line is repeated");
	ok(cuts(X30 "123\n" X30 X30, (struct chunking){ 0, 2, 64 }, "0+64 1-3, 34+60 3-4"),
	   "fewer lines, where they would be over half of the bytes");
	ok(cuts(X30 X30 X29 "123456\n", (struct chunking){ 0, 1, 64 }, "0+60 1-2, 60+36 3-3"),
	   "none, where the next line would have no room");
	ok(cuts("1\n" X29 X29 X29 X30 "2\n3\n", (struct chunking){ 3, 1, 64 },
		"0+2 1-1, 2+64 2-2, 66+57 2-4"), "nothing of a long line");
	ok(cuts("1\n2\n" X29 X29 "xxx\n3\n", (struct chunking){ 3, 2, 64 }, "0+4 1-2, 2+64 2-3, 66+2 4-4"),
	   "fewer lines, where the next one has no room behind more");
}

/* Nobody should ask for these; they must end all the same. */
static void test_beyond_promise(void)
{
	static const char bytes[] = "\x80\x80\x80\x80\x80\x80\x80\x80";

	ok(cuts(bytes, (struct chunking){ 0, 0, 4 }, "0+4 1-1, 4+4 1-1"), "bytes that are no text");
	ok(cuts("1\n2\n3\n4\n", (struct chunking){ 2, 5, 0 }, "0+4 1-2, 2+4 2-3, 4+4 3-4"),
	   "more lines repeated than there may be");
	ok(cuts("1\r\n2", (struct chunking){ 0, 9, 1 }, "0+1 1-1, 1+1 1-1, 2+1 1-1, 3+1 2-2"),
	   "chunks too small for anything");
}

static uint32_t next_random(uint32_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 17;
	*x ^= *x << 5;
	return *x;
}

/* A text that has long lines, short ones and empty ones, in shares of its own. */
static void make_text(struct buf *b, uint32_t *x)
{
	static const char *const parts[] = { "\n", "\r\n", "word ", "a", "\t", "\xc3\xa9", "\xe2\x82\xac",
		"\xf0\x9f\x98\x80", "\r", "some_longer_name", "\n\n\n", X29 };
	uint32_t n = next_random(x) % 120, kinds = 1 + next_random(x) % 12, from = next_random(x) % 12;
	uint32_t many = next_random(x) % 40;

	buf_reset(b);
	while (n-- > 0) {
		const char *part = parts[(from + next_random(x) % kinds) % 12];

		for (uint32_t i = next_random(x) % 8 == 0 ? many : 1; i > 0; i--)
			buf_adds(b, part);
	}
}

static struct chunking make_chunking(uint32_t *x)
{
	struct chunking c = { 0 };

	if (next_random(x) % 3 > 0)
		c.lines = 1 + next_random(x) % 12;
	if (next_random(x) % 3 > 0)
		c.bytes = CHUNK_BYTES_MIN + next_random(x) % 200;
	if (next_random(x) % 3 > 0)
		c.overlap = next_random(x) % (c.lines ? c.lines : 12);
	return c;
}

static void test_rules(void)
{
	auto_buf struct buf b = BUF_INIT;
	uint32_t x = 2463534242u, n, most = 0, texts = 0;
	const char *why = NULL;

	while (why == NULL && texts < 20000) {
		make_text(&b, &x);
		struct chunk_rules r = { b.len ? b.data : "", b.len, make_chunking(&x) };
		autofree char *name = chunking_name(&r.how);

		why = chunk_rules_broken(&r, &n);
		most = n > most ? n : most;
		texts++;
		if (why != NULL)
			printf("# text %lu, %s, chunk %lu: %s\n", (unsigned long)texts, name,
			       (unsigned long)n, why);
	}
	ok(why == NULL, "%lu texts keep all rules", (unsigned long)texts);
	ok(most > 100, "some have many chunks (%lu)", (unsigned long)most);
}

/* The chunks put together, without what they repeat, are the text. */
static void test_together(void)
{
	auto_buf struct buf text = BUF_INIT, all = BUF_INIT;
	uint32_t x = 362436069u;
	bool same = true;

	for (int i = 0; i < 2000 && same; i++) {
		struct chunking how = make_chunking(&x);
		struct chunk_walk w;
		struct chunk c;

		how.overlap = 0;
		make_text(&text, &x);
		buf_reset(&all);
		chunk_begin(&w, text.data, text.len, &how);
		while (chunk_next(&w, &c))
			buf_add(&all, text.data + c.start, c.len);
		same = all.len == text.len && (all.len == 0 || memcmp(all.data, text.data, all.len) == 0);
	}
	ok(same, "chunks without overlap, put together, are the text");
}

/* Where the time were not in proportion to the length, these would not end today. */
static void test_long_texts(void)
{
	size_t n = 16 << 20, i;
	autofree char *text = xmalloc(n);

	memset(text, 'x', n);
	ok(chunk_count(text, n, &(struct chunking){ 40, 5, 64 }) == n / 64, "one long line");
	memset(text, '\n', n);
	ok(chunk_count(text, n, &(struct chunking){ 0, 1000, 64 }) == 1 + (n - 64) / 32,
	   "at most half of a chunk is repeated");
	ok(chunk_count(text, n, &(struct chunking){ 1000000, 999999, 0 }) == 1 + n - 1000000,
	   "a million lines, repeated but for one");
	ok(chunk_count(text, n, &(struct chunking){ 1, 0, 1 << 30 }) == n, "a chunk for each line");
	for (i = 100; i < n; i += 100)
		text[i] = 'x';
	memset(text + n / 2, 'x', n - n / 2);
	ok(chunk_count(text, n, &(struct chunking){ 1, 0, 0 }) > n / 3, "short lines, then a long one");
}

int main(void)
{
	test_names();
	test_off();
	test_lines();
	test_bytes();
	test_both();
	test_beyond_promise();
	test_rules();
	test_together();
	test_long_texts();
	return tap_done();
}
