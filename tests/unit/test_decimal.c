#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decimal.h"
#include "json.h"
#include "tap.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define MANY 1000000

static uint64_t state = 88172645463325252;	/* xorshift64 (G. Marsaglia) */

static uint64_t any(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static float of_bits(uint32_t u)
{
	float v;

	memcpy(&v, &u, sizeof(v));
	return v;
}

static bool same(float a, float b)
{
	return !memcmp(&a, &b, sizeof(a));
}

static const char *text_of(float v)
{
	static char text[DECIMAL_MAX + 2];
	size_t n;

	memset(text, '#', sizeof(text));
	n = decimal_write(text, v);
	if (n > DECIMAL_MAX || text[n] != '#')
		return "too long";
	text[n] = '\0';
	return text;
}

/* Valid JSON, brought back by strtof(), by a reader that knows only doubles, and by ours. */
static bool comes_back(float v)
{
	const char *text = text_of(v);
	struct json_fault fault;
	float read;

	return json_check(text, strlen(text), NULL, &fault) == 0 && same(strtof(text, NULL), v) &&
	       same((float)strtod(text, NULL), v) && *decimal_read(text, text + strlen(text) + 1, &read) == '\0' && same(read, v);
}

/* Both signs. */
static bool both_come_back(float v)
{
	if (comes_back(v) && comes_back(-v))
		return true;
	printf("# %.9g is written %s\n", (double)v, text_of(v));
	return false;
}

static void test_written(void)
{
	static const struct {
		float v;
		const char *text;
	} examples[] = {
		{ 0, "0" }, { -0.0f, "-0" }, { 1, "1" }, { -1, "-1" }, { 0.5f, "0.5" }, { 0.1f, "0.1" },
		{ -0.1f, "-0.1" }, { 10, "10" }, { 1234.5f, "1234.5" }, { 3.14159274f, "3.1415927" },
		{ 16777216, "16777216" }, { 123456784, "123456784" }, { 999999936, "999999940" },
		{ 1e8f, "100000000" }, { 0.0001f, "0.0001" }, { 0.00012345678f, "0.00012345678" },
		{ 0.00001f, "1e-5" }, { 1.2345e-7f, "1.2345e-7" }, { 1e-12f, "1e-12" },
		{ 0.333333343f, "0.33333334" }, { 1e-20f, "9.99999968e-21" }, { 1e9f, "1e+09" },
		{ FLT_MAX, "3.40282347e+38" }, { FLT_MIN, "1.17549435e-38" }, { FLT_TRUE_MIN, "1.40129846e-45" },
	};

	for (size_t i = 0; i < COUNT(examples); i++)
		ok(!strcmp(text_of(examples[i].v), examples[i].text), "%s is written as %s", examples[i].text,
		   text_of(examples[i].v));
}

static void test_come_back(void)
{
	bool good = true;
	size_t tried = 0;

	for (int e = -46; e <= 38; e++) {
		char text[8];
		float v;

		snprintf(text, sizeof(text), "1e%d", e);
		v = strtof(text, NULL);
		for (int i = 0; i < 3; i++)
			v = nextafterf(v, 0);
		for (int i = 0; i < 7; i++, v = nextafterf(v, INFINITY))
			good &= v > FLT_MAX || both_come_back(v);
	}
	ok(good, "powers of ten and their neighbours come back");
	for (uint32_t e = 0; e < 255; e++)
		for (int i = -3; i <= 3; i++)
			good &= (e << 23) + (uint32_t)i > 0x7f7fffff || both_come_back(of_bits((e << 23) + (uint32_t)i));
	ok(good, "powers of two and their neighbours, denormal ones, the largest");
	while (good && tried < MANY) {
		float v = of_bits((uint32_t)any() & 0x7fffffff);

		if (!isfinite(v))
			continue;
		tried++;
		good = both_come_back(v);
	}
	ok(good, "any %d bit patterns", MANY);
	for (tried = 0; good && tried < MANY; tried++)
		good = both_come_back((float)((double)(any() >> 11) / 9007199254740992.0));
	ok(good, "any %d between 0 and 1", MANY);
}

/* A float tells any six digits apart, but few so that who reads them as a double is sure of it too. */
static void test_short(void)
{
	unsigned longer = 0;

	for (int i = 0; i < MANY; i++) {
		char text[32];

		snprintf(text, sizeof(text), "%s%u.%03u%u", i % 2 ? "-" : "", (unsigned)(any() % 100),
			 (unsigned)(any() % 1000), (unsigned)(any() % 9) + 1);
		longer += strcmp(text_of(strtof(text, NULL)), text) != 0;
	}
	ok(longer <= MANY / 100000, "what was read from six digits is written with them (but for %u of %d)",
	   longer, MANY);
}

static bool read_as_strtof(const char *text)
{
	float read;
	const char *end = decimal_read(text, text + strlen(text), &read);

	if (*end == ',' && same(read, strtof(text, NULL)))
		return true;
	printf("# %s is read as %.9g\n", text, (double)read);
	return false;
}

static void test_read_examples(void)
{
	static const char *const examples[] = {
		"0", "-0", "0.0", "-0.000", "0e5", "0.0e-999999999999999999999", "1", "-1", "12.5e1", "1E2", "1e+2",
		"1e-2", "0.1", "0.30000001192092896", "1e22", "1e23", "1e-22", "1e-23", "1e-44", "1e-45", "1e-46",
		"3.4028234663852886e38", "3.4028235e38", "3.4028236e38", "340282356779733661637539395458142568447",
		"340282356779733661637539395458142568448", "1e39", "-1e39", "1e999999999999999999999",
		"1e-99999999999999999999", "1.1754943508222875e-38", "1.1754942e-38", "1.4e-45", "7e-46", "7.1e-46",
		/* half way between two floats, and a little beside it */
		"16777217", "16777219", "16777217.0000000000000000000000000001", "16777216.9999999999999999999999",
		"1.00000005960464477539062", "1.000000059604644775390625", "1.0000000596046447753906250000000001",
		"1.000000178813934326171875", "1.00000017881393432617187500000000000000000001",
		"123456789012345678901234567890e-10", "0.000000000000000000000000000000000000000000001234",
		"1234567890123456789", "12345678901234567890", "18446744073709551615", "18446744073709551616",
		"99999999999999999999", "0.99999999999999999999999999", "9999999999999999999.9999",
	};
	char text[128];

	for (size_t i = 0; i < COUNT(examples); i++) {
		snprintf(text, sizeof(text), "%s,", examples[i]);
		ok(read_as_strtof(text), "%s", examples[i]);
	}
}

/* More zeros than any exponent that is told by few bits. */
static void test_read_long(void)
{
	static char text[80100];
	static const size_t zeros[] = { 30, 1000, 32767, 40000, 70000 };
	bool good = true;

	for (size_t i = 0; i < COUNT(zeros); i++)
		for (int delta = -24; delta <= 24; delta++) {
			memset(text, '0', sizeof(text));
			text[0] = '7';
			snprintf(text + zeros[i], 20, "e-%d,", (int)zeros[i] + delta);
			good &= read_as_strtof(text);
			memcpy(text, "0.", 2);
			snprintf(text + zeros[i], 20, "7e%d,", (int)zeros[i] + delta);
			good &= read_as_strtof(text);
		}
	memset(text, '0', sizeof(text));
	text[0] = '7';
	snprintf(text + 40000, 20, "e-400000,");
	good &= read_as_strtof(text);
	snprintf(text + 70000, 20, "7e9,");
	memset(text, '7', 70000);
	text[3] = '.';
	ok(good && read_as_strtof(text), "long numbers");
}

static void test_read_any(void)
{
	bool good = true;
	char text[64];

	for (int i = 0; good && i < MANY; i++) {
		double d = (double)(any() >> 11) / 9007199254740992.0 * (i % 5 ? 1 : 1e9);
		int n = snprintf(text, sizeof(text), "%s%.*f", any() % 2 ? "-" : "", (int)(any() % 24), d);

		if (i % 3)
			n += snprintf(text + n, 8, "e%d", (int)(any() % 100) - 50);
		snprintf(text + n, 2, ",");
		good = read_as_strtof(text);
	}
	ok(good, "any decimals");
	for (int i = 0; good && i < MANY; i++) {
		float a = of_bits((uint32_t)any() & 0x7fffffff), b = nextafterf(a, 0);
		double d = ((double)a + (double)b) / 2;

		if (!isfinite(a))
			continue;
		if (i % 2)
			d = nextafter(d, i % 4 > 1 ? INFINITY : 0);
		snprintf(text, sizeof(text), "%.*g,", (int)(any() % 15) + 12, d);
		good = read_as_strtof(text);
	}
	ok(good, "any decimals near to half way between two floats");
}

int main(void)
{
	test_written();
	test_come_back();
	test_short();
	test_read_examples();
	test_read_long();
	test_read_any();
	return tap_done();
}
