#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "digest.h"
#include "embed_hash.h"
#include "text.h"
#include "tap.h"

static float *embed(size_t dim, const char *text, size_t n)
{
	static float out[EMBED_HASH_MAX];

	memset(out, 0xff, sizeof(out));
	embed_hash(out, dim, text, n);
	return out;
}

static double length(const float *v, size_t dim)
{
	double sum = 0;
	size_t i;

	for (i = 0; i < dim; i++)
		sum += (double)v[i] * (double)v[i];
	return sqrt(sum);
}

/* The cosine of two texts, with the default dimension. */
static double likeness(const char *a, const char *b)
{
	float first[EMBED_HASH_DEFAULT];
	const float *second;
	double sum = 0;
	size_t i;

	memcpy(first, embed(EMBED_HASH_DEFAULT, a, strlen(a)), sizeof(first));
	second = embed(EMBED_HASH_DEFAULT, b, strlen(b));
	for (i = 0; i < EMBED_HASH_DEFAULT; i++)
		sum += (double)first[i] * (double)second[i];
	return sum;
}

/* The examples of linesync-hash(7), which a second implementation has made, in another language. */
static void test_golden(void)
{
	static const struct {
		const char *text;
		int32_t want[8];
	} cases[] = {
		{ "a", { 0, 0, 0, 0, -1073741824, 0, 0, 0 } },
		{ "parseHTTPHeader2", { -413283424, 413283424, -357913952, 413283424,
					292235520, 0, -546722560, 357913952 } },
		{ "parse_http_header_2", { -413283424, 413283424, -357913952, 413283424,
					   292235520, 0, -546722560, 357913952 } },
		{ "return 0;", { 0, 0, 573939136, 0, 0, 0, 702929024, 573939136 } },
		{ "gr\xc3\xbc\xc3\x9f" "e \xe2\x80\x9cx\xe2\x80\x9d",
		  { 421156192, -595604800, -297802400, -421156192, 0, 0, 0, -595604800 } },
		{ "The file, the file and THE FILE",
		  { -303638784, 0, 461415552, 623745984, 0, -303638784, -510012736, 326270048 } },
		{ "static int line_parse(const char *line);\n",
		  { 383769984, -191884992, 155444608, 691851136,
		    -456357600, -383769984, 332354560, 0 } },
		{ "...", { 1073741824, 0, 0, 0, 0, 0, 0, 0 } },
	};
	const float *v;
	size_t i, axis, good;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		v = embed(8, cases[i].text, strlen(cases[i].text));
		for (axis = good = 0; axis < 8; axis++)
			good += v[axis] * (float)(1 << 30) == (float)cases[i].want[axis];
		ok(good == 8, "golden vector %zu: %zu of 8 numbers", i, good);
	}
}

/* SHA-256 of the vector of 1024 numbers, as the manual page makes it. */
static bool has_digest(const struct buf *text, const char *want)
{
	const float *v = embed(1024, text->data, text->len);
	uint8_t sum[DIGEST_SIZE], bytes[4];
	struct digest d;
	char hex[65];
	uint32_t n;
	int i;

	digest_init(&d);
	for (i = 0; i < 1024; i++) {
		memcpy(&n, &v[i], sizeof(n));
		bytes[0] = n & 0xff;
		bytes[1] = n >> 8 & 0xff;
		bytes[2] = n >> 16 & 0xff;
		bytes[3] = n >> 24 & 0xff;
		digest_add(&d, bytes, sizeof(bytes));
	}
	digest_done(&d, sum);
	hex_encode(hex, sum, sizeof(sum));
	return strcmp(hex, want) == 0;
}

static void test_golden_digests(void)
{
	auto_buf struct buf numbers = BUF_INIT, names = BUF_INIT, letters = BUF_INIT;
	unsigned i;

	for (i = 0; i < 50000; i++)	/* more features than are counted at once */
		buf_addf(&numbers, "%u_word%c\n", i * i, (int)('a' + i % 26));
	for (i = 0; i < 3000; i++)
		buf_addf(&names, "get_Item%uOf(list_%u, HTTPServer)\n", i % 97, i % 31);
	for (i = 0; i < 2000; i++)
		buf_addf(&letters, "\xc3\xa9tat \xce\xbb%u \xe6\x96\x87\xe5\xad\x97\xe5\x88\x97%u\n", i % 7, i % 50);
	ok(has_digest(&numbers, "75f107a2e0e457c8424d97c7cc38297d8b163b05802173f5f8ff74593dd255b5"),
	   "golden digest of %zu bytes of numbers", numbers.len);
	ok(has_digest(&names, "a8f5670632c81c0b5bc5c44ebd4c7bd4bc89471d5e6e563fe54d913958097b11"),
	   "golden digest of %zu bytes of names", names.len);
	ok(has_digest(&letters, "ae103af705674755147653148f7e479938b85827f7e971d4dcdfdb1fa9da6305"),
	   "golden digest of %zu bytes of letters", letters.len);
}

static void test_no_feature(void)
{
	static const char *const cases[] = { "", " ", "  .,;\n", "___", "\xe2\x80\x9c", "\xff\xfe", "\xed\xa0\x80" };
	const float *v;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		v = embed(16, cases[i], strlen(cases[i]));
		ok(v[0] == 1 && length(v, 16) == 1, "no feature: axis 0, case %zu", i);
	}
}

static void test_shape(void)
{
	static const size_t dims[] = { EMBED_HASH_MIN, 100, EMBED_HASH_DEFAULT, EMBED_HASH_MAX };
	static const char text[] = "The quick brown fox jumps over the lazy dog";
	const float *v;
	size_t i;

	for (i = 0; i < sizeof(dims) / sizeof(dims[0]); i++) {
		v = embed(dims[i], text, sizeof(text) - 1);
		ok(fabs(length(v, dims[i]) - 1) < 1e-6, "unit length with %zu", dims[i]);
	}
	ok(likeness("parse_http_header", "parseHTTPHeader") > 0.99999, "case and underscore");
	ok(likeness("open the file", "close the file") > likeness("open the file", "sum of squares"),
	   "shared words are nearer");
}

/* More features than the table takes at once: random words, every second character a digit. */
static void test_many_features(void)
{
	auto_buf struct buf text = BUF_INIT;
	uint32_t r = 1;
	int i;

	for (i = 0; i < 400000; i++) {
		r = r * 1664525 + 1013904223;
		buf_addc(&text, "0123456789abcdef"[r >> 28]);
	}
	ok(fabs(length(embed(384, text.data, text.len), 384) - 1) < 1e-6, "many features");
}

int main(void)
{
	test_golden();
	test_golden_digests();
	test_no_feature();
	test_shape();
	test_many_features();
	return tap_done();
}
