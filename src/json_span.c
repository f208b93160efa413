#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "buf.h"
#include "decimal.h"
#include "json.h"
#include "json_span.h"

bool json_is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

const char *json_skip_blanks(const char *p, const char *end)
{
	while (p < end && json_is_blank(*p))
		p++;
	return p;
}

/* The text passed json_check(), so the closing quote is there. */
const char *json_after_string(const char *p, const char *end)
{
	const char *q = p, *b;

	do {
		q = memchr(q + 1, '"', (size_t)(end - q - 1));
		for (b = q; b[-1] == '\\'; b--)
			;
	} while ((q - b) % 2);
	return q + 1;
}

/* Past what neither ends an array or object nor begins anything in it, as rows of numbers. */
static const char *skip_numbers(const char *p, const char *end)
{
	uint64_t w;

	for (; end - p >= (ptrdiff_t)sizeof(w); p += sizeof(w)) {
		memcpy(&w, p, sizeof(w));
		if (!decimal_only(w))
			break;
	}
	return p;
}

static const char *after_value(const char *p, const char *end)
{
	int depth = 0;

	while (p < end) {
		if (depth > 0)
			p = skip_numbers(p, end - 1);
		switch (*p) {
		case '"':
			p = json_after_string(p, end);
			if (depth == 0)
				return p;
			continue;
		case '{':
		case '[':
			depth++;
			break;
		case '}':
		case ']':
			if (depth <= 1)
				return depth ? p + 1 : p;
			depth--;
			break;
		case ',':
			if (depth == 0)
				return p;
			break;
		}
		p++;
	}
	return end;
}

unsigned json_type_of(const struct span *value)
{
	switch (value->p[0]) {
	case '"':
		return JSON_STRING;
	case '{':
		return JSON_OBJECT;
	case '[':
		return JSON_ARRAY;
	case 't':
	case 'f':
		return JSON_BOOL;
	case 'n':
		return JSON_NULL;
	}
	for (size_t i = 0; i < value->n; i++)
		if (memchr(".eE", value->p[i], 3))
			return JSON_NUMBER;
	return JSON_INT;
}

/* What stands behind the e, kept far from overflow: no line has so many digits. */
static int64_t exponent_of(const char *p, const char *end)
{
	const int64_t most = INT64_C(1) << 40;
	bool negative = p < end && *p == '-';
	int64_t e = 0;

	for (p += p < end && (*p == '-' || *p == '+'); p < end; p++)
		e = e < most ? e * 10 + (*p - '0') : most;
	return negative ? -e : e;
}

/* out * 10 + digit, where that is at most max. */
static bool append_digit(int64_t *out, int digit, int64_t max)
{
	if (*out > (max - digit) / 10)
		return false;
	*out = *out * 10 + digit;
	return true;
}

enum json_whole json_whole(const struct span *number, int64_t max, int64_t *out)
{
	const char *end = number->p + number->n, *first = number->p + (number->p[0] == '-');
	const char *digits_end = first, *point, *p;
	int64_t before;		/* so many digits stand before the point, once it is moved */

	while (digits_end < end && *digits_end != 'e' && *digits_end != 'E')
		digits_end++;
	point = memchr(first, '.', (size_t)(digits_end - first));
	before = (point ? point : digits_end) - first;
	if (digits_end < end)
		before += exponent_of(digits_end + 1, end);
	*out = 0;
	for (p = first; p < digits_end; p++) {
		if (*p == '.')
			continue;
		if (before-- <= 0 && *p != '0')
			return JSON_NOT_WHOLE;
		if (before >= 0 && !append_digit(out, *p - '0', max))
			return JSON_WHOLE_RANGE;
	}
	for (; *out > 0 && before > 0; before--)
		if (!append_digit(out, 0, max))
			return JSON_WHOLE_RANGE;
	return number->p[0] == '-' && *out > 0 ? JSON_WHOLE_RANGE : JSON_WHOLE;
}

bool json_next_member(const char **p, const char *end, struct json_member *m)
{
	const char *key = memchr(*p, '"', (size_t)(end - *p)), *v;

	if (!key)
		return false;
	m->name.p = key + 1;
	v = json_after_string(key, end);
	m->name.n = (size_t)(v - key) - 2;
	v = json_skip_blanks(json_skip_blanks(v, end) + 1, end);
	*p = after_value(v, end);
	m->value.p = v;
	m->value.n = (size_t)(*p - v);
	while (json_is_blank(v[m->value.n - 1]))
		m->value.n--;
	return true;
}

bool json_next_element(const char **p, const char *end, struct span *e)
{
	const char *v = json_skip_blanks(*p + 1, end);

	if (v >= end || *v == ']')
		return false;
	*p = json_skip_blanks(after_value(v, end), end);
	e->p = v;
	e->n = (size_t)(*p - v);
	return true;
}

bool json_is_name(const struct span *name, const char *s)
{
	size_t n = strlen(s);
	auto_buf struct buf b = BUF_INIT;

	if (!memchr(name->p, '\\', name->n))
		return name->n == n && memcmp(name->p, s, n) == 0;
	json_unescape(&b, name->p, name->n);
	return b.len == n && memcmp(b.data, s, n) == 0;
}

static size_t count_elements(const struct span *array)
{
	const char *p = array->p, *end = p + array->n;
	struct span e;
	size_t n = 0;

	while (json_next_element(&p, end, &e))
		n++;
	return n;
}

/* True if all elements are numbers, at most max of them, and finite.  *out (owned) grows with them; *n is
 * how many there were. */
static bool read_numbers(const struct span *array, size_t max, float **out, size_t *n,
			 struct json_floats_fault *f)
{
	const char *p = array->p, *end = p + array->n;
	size_t room = 0;

	for (*n = 0;; ++*n) {
		p = json_skip_blanks(p + 1, end);
		f->where = p;
		f->kind = JSON_FLOATS_TYPE;
		if (*n == max || (*p != '-' && (*p < '0' || *p > '9')))
			return false;
		if (*n == room) {
			room = room ? room * 2 : 512;
			*out = xrealloc(*out, room * sizeof(**out));
		}
		p = json_skip_blanks(decimal_read(p, end, *out + *n), end);
		f->kind = JSON_FLOATS_RANGE;
		if (!isfinite((*out)[*n]))
			return false;
		if (*p == ']')
			break;
	}
	++*n;
	return true;
}

static bool any_not_zero(const float *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (v[i] != 0)
			return true;
	return false;
}

float *json_floats(const struct span *array, size_t max, size_t *n, struct json_floats_fault *fault)
{
	float *out = NULL;
	size_t count;

	if (read_numbers(array, max, &out, n, fault)) {
		if (any_not_zero(out, *n))
			return xrealloc(out, *n * sizeof(*out));
		*fault = (struct json_floats_fault){ JSON_FLOATS_ZERO, *n, array->p };
	} else {
		fault->n = *n;
		count = count_elements(array);
		if (count < 1 || count > max)
			*fault = (struct json_floats_fault){ JSON_FLOATS_COUNT, count, array->p };
	}
	free(out);
	return NULL;
}
