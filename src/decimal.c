#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decimal.h"
#include "text.h"

/* A double has 29 bits more than a float.  So one product of it with a power of ten says a float's
 * first nine digits, and a few roundings of it cannot change the float that a number stands for, but
 * where that is nearly half way between two: the library settles what is too near, or too large or
 * small. */

#define TENS 22			/* 10^22 is the largest that a double holds exactly */
static const double tens[TENS + 1] = {
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17,
	1e18, 1e19, 1e20, 1e21, 1e22
};

/* Digits */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Are the 8 bytes at p digits?  They come in *w.  All have a high half of 3, also with 6 added. */
static bool eight_digits(const char *p, uint64_t *w)
{
	memcpy(w, p, sizeof(*w));
	return ((*w & EACH(0xf0)) | (((*w + EACH(6)) & EACH(0xf0)) >> 4)) == EACH(0x33);
}

/* Their number: neighbours are joined to numbers of two, of four, of eight digits (D. Lemire, "Quickly
 * parsing eight digits"). */
static uint64_t eight_value(uint64_t w)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	w = __builtin_bswap64(w);
#endif
	w -= EACH('0');
	w = w * 10 + (w >> 8);
	return ((w & 0xff000000ff) * (100 + (1000000ULL << 32)) +
		(w >> 16 & 0xff000000ff) * (1 + (10000ULL << 32))) >> 32;
}

const char *decimal_skip(const char *p, const char *end)
{
	uint64_t w;

	while (end - p >= 8 && eight_digits(p, &w))
		p += 8;
	while (p < end && is_digit(*p))
		p++;
	return p;
}

/* Writing */

#define WRITE_LEAST 1e-13	/* times tens[TENS] it has nine digits, or one more */
#define WRITE_BELOW 1e9
#define DIGITS 9		/* tell any two floats apart */
#define POINT_LEAST (-4)	/* smaller powers of ten are written with an exponent, as by %g */

/* digits * 10^exponent, of count digits. */
struct scaled {
	uint32_t digits;
	int count, exponent;
};

static uint32_t float_bits(float v)
{
	uint32_t u;

	memcpy(&u, &v, sizeof(u));
	return u;
}

static double power_of_two(int exponent)
{
	uint64_t u = (uint64_t)(exponent + 1023) << 52;
	double d;

	memcpy(&d, &u, sizeof(d));
	return d;
}

/* The shortest that is nearer to v, WRITE_LEAST to WRITE_BELOW, than half the way to the next float.
 * With nine digits that is so of any: half a unit of the last is at most a sixth of it. */
static struct scaled shorten(float v)
{
	int two = (int)(float_bits(v) >> 23) - 127;		/* its power of two, and the one of ten */
	int up = DIGITS - 1 - (two * 1233 >> 12);		/* that makes nine digits of it */
	double wanted = (double)v * tens[up], near;
	struct scaled s;

	if (wanted >= 1e9)
		wanted = (double)v * tens[--up];
	/* The lower neighbour of a power of two is half as near, but to none that comes here does that matter.
	 * The rest is for whoever rounds twice. */
	near = power_of_two(two - 24) * tens[up] * (1 - 1e-7);
	s = (struct scaled){ (uint32_t)(wanted + 0.5), DIGITS, -up };
	for (uint32_t unit = 10; unit <= 1000000000; unit *= 10) {
		uint32_t fewer = ((uint32_t)wanted + unit / 2) / unit;

		if (fabs((double)(fewer * unit) - wanted) >= near)
			break;
		s.digits = fewer;
		s.count--;
		s.exponent++;
	}
	s.count += !s.count;		/* nines that were rounded up */
	return s;
}

static char *zeros(char *to, int n)
{
	while (n-- > 0)
		*to++ = '0';
	return to;
}

static char *write_digits(char *to, struct scaled s)
{
	for (int i = s.count; i-- > 0; s.digits /= 10)
		to[i] = (char)('0' + s.digits % 10);
	return to + s.count;
}

/* With a point behind the first of them, unless that are all. */
static char *write_point(char *to, struct scaled s, int whole)
{
	char *end = write_digits(to + 1, s);

	memmove(to, to + 1, (size_t)whole);
	if (whole == s.count)
		return end - 1;
	to[whole] = '.';
	return end;
}

/* A negative one of at most two digits. */
static char *write_exponent(char *to, int n)
{
	*to++ = 'e';
	*to++ = '-';
	if (n >= 10)
		*to++ = (char)('0' + n / 10);
	*to++ = (char)('0' + n % 10);
	return to;
}

static char *write_scaled(char *to, struct scaled s)
{
	int whole = s.count + s.exponent;	/* digits before the point */

	if (whole - 1 < POINT_LEAST)
		return write_exponent(write_point(to, s, 1), 1 - whole);
	if (whole > 0 && whole < s.count)
		return write_point(to, s, whole);
	if (whole > 0)
		return zeros(write_digits(to, s), s.exponent);
	*to++ = '0';
	*to++ = '.';
	return write_digits(zeros(to, -whole), s);
}

size_t decimal_write(char *to, float v)
{
	char *at = to, text[DECIMAL_MAX + 1];
	float a = fabsf(v);

	if (a != 0 && !(a >= WRITE_LEAST && a < WRITE_BELOW)) {
		int n = snprintf(text, sizeof(text), "%.9g", (double)v);

		memcpy(to, text, (size_t)n);
		return (size_t)n;
	}
	if (signbit(v))
		*at++ = '-';
	if (a == 0)
		*at++ = '0';
	else
		at = write_scaled(at, shorten(a));
	return (size_t)(at - to);
}

/* Reading */

#define READ_DIGITS 19		/* that many always fit into 64 bits */
#define READ_LEAST 1.2e-38	/* smaller ones have fewer bits */
#define READ_MOST 3.4e38
#define HALF_WAY 0x10000000	/* between two floats, of the 29 bits that a double has more */
#define ROUNDINGS 8		/* more than all of them, in units of a double's last bit */

/* n * 10^exponent, n the first digits of a number: nothing of any weight is behind them. */
struct number {
	uint64_t n;
	int64_t exponent;
};

static const char *take_digits(const char *p, const char *end, uint64_t *n)
{
	uint64_t w;

	for (; end - p >= 8 && eight_digits(p, &w); p += 8)
		*n = *n * 100000000 + eight_value(w);
	for (; p < end && is_digit(*p); p++)
		*n = *n * 10 + (uint64_t)(*p - '0');
	return p;
}

/* The digits from p to end, of which so many are before a point, are more than fit. */
static void take_first(const char *p, const char *end, int64_t whole, struct number *d)
{
	int count = 0;

	d->n = 0;
	for (; p < end && count < READ_DIGITS; p++) {
		if (*p == '.')
			continue;
		d->n = d->n * 10 + (uint64_t)(*p - '0');
		count += d->n != 0;
		whole--;
	}
	d->exponent = whole;
}

/* The digits at p, and the point between them. */
static const char *take_number(const char *p, const char *end, struct number *d)
{
	const char *start = p, *point;

	d->n = 0;
	point = p = take_digits(p, end, &d->n);
	if (p < end && *p == '.')
		p = take_digits(p + 1, end, &d->n);
	d->exponent = p == point ? 0 : point + 1 - p;
	if (p - start - (p != point) > READ_DIGITS + (*start == '0'))
		take_first(start, p, point - start, d);
	return p;
}

/* One that is longer than any text stands still there. */
static const char *take_exponent(const char *p, struct number *d)
{
	bool negative = *p == '-';
	int64_t n = 0;

	if (negative || *p == '+')
		p++;
	for (; is_digit(*p); p++)
		if (n < INT64_MAX / 100)
			n = n * 10 + (*p - '0');
	d->exponent += negative ? -n : n;
	return p;
}

/* False if it is too large or small, or so near to half way between two floats that it might be on the
 * other side. */
static bool nearest(const struct number *number, float *v)
{
	double d = (double)number->n;
	uint64_t u, rest;

	if (number->exponent < -2 * TENS || number->exponent > TENS)
		return false;
	if (number->exponent < -TENS)
		d = d / tens[TENS] / tens[-number->exponent - TENS];
	else if (number->exponent < 0)
		d /= tens[-number->exponent];
	else
		d *= tens[number->exponent];
	if (!(d >= READ_LEAST && d <= READ_MOST))
		return false;
	memcpy(&u, &d, sizeof(u));
	rest = u & (2 * (uint64_t)HALF_WAY - 1);
	if (rest >= HALF_WAY - ROUNDINGS && rest <= HALF_WAY + ROUNDINGS)
		return false;
	*v = (float)d;
	return true;
}

/* The library's functions follow the locale: the program keeps to C's. */
const char *decimal_read(const char *p, const char *end, float *v)
{
	struct number d = { 0 };
	const char *start = p;
	bool negative = *p == '-';

	p = take_number(p + negative, end, &d);
	if (*p == 'e' || *p == 'E')
		p = take_exponent(p + 1, &d);
	if (d.n == 0)
		*v = negative ? -0.0f : 0.0f;
	else if (!nearest(&d, v))
		*v = strtof(start, NULL);
	else if (negative)
		*v = -*v;
	return p;
}
