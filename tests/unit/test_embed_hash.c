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

/* Numbers made once by a second implementation, in another language: they hold on every machine. */
static void test_golden(void)
{
	static const char text[] = "static int parseHTTPHeader2(const char *line) "
				   "{ return line_parse(line); } // gr\xc3\xbc\xc3\x9f"
				   "e \xe2\x80\x9cx\xe2\x80\x9d";
	static const int32_t want[8] = { -256637600, -159813744, 0, 122288888,
					 -536394688, -232517936, 122288888, -830557184 };
	const float *v = embed(8, text, sizeof(text) - 1);
	int i;

	for (i = 0; i < 8; i++)
		ok(v[i] * (float)(1 << 30) == (float)want[i], "golden number %d", i);
	v = embed(8, "a", 1);
	ok(v[5] == -1 && length(v, 8) == 1, "one feature: one axis");
}

static void test_long_text(void)
{
	auto_buf struct buf text = BUF_INIT;
	const float *v;
	struct digest d;
	uint8_t sum[DIGEST_SIZE];
	char hex[65];
	int i;

	for (i = 0; i < 20000; i++)
		buf_addf(&text, "%d word%c\n", i * i, 'a' + i % 26);
	v = embed(384, text.data, text.len);
	digest_init(&d);
	for (i = 0; i < 384; i++) {
		uint32_t n = (uint32_t)(int32_t)(v[i] * (float)(1 << 30));
		uint8_t bytes[4] = { (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8),
				     (uint8_t)n };

		digest_add(&d, bytes, sizeof(bytes));
	}
	digest_done(&d, sum);
	hex_encode(hex, sum, sizeof(sum));
	ok(strcmp(hex, "a3628928577013837f0afc9052bdf8b5e477474d462546aa5b4dcf24a904e275") == 0,
	   "golden vector of %zu bytes", text.len);
}

static void test_no_feature(void)
{
	static const char *const cases[] = { "", " ", "  .,;\n", "\xe2\x80\x9c", "\xff\xfe" };
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
	ok(likeness("parse_http_header", "parseHTTPHeader") > 0.999, "case and underscore");
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
	test_long_text();
	test_no_feature();
	test_shape();
	test_many_features();
	return tap_done();
}
