#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "buf.h"
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

static const char *after_value(const char *p, const char *end)
{
	int depth = 0;

	while (p < end) {
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

/* Numbers are spelled as strtod() reads them, for the program keeps to the C locale. */
static bool fill(float *out, const struct span *array, struct json_floats_fault *f)
{
	const char *p = array->p, *end = p + array->n;
	bool any = false;
	struct span e;
	double d;

	for (f->n = 0; json_next_element(&p, end, &e); f->n++) {
		f->where = e.p;
		f->kind = JSON_FLOATS_TYPE;
		if (!(json_type_of(&e) & (JSON_INT | JSON_NUMBER)))
			return false;
		d = strtod(e.p, NULL);
		f->kind = JSON_FLOATS_RANGE;
		if (!isfinite(d) || fabs(d) > (double)FLT_MAX)
			return false;
		out[f->n] = (float)d;
		any |= out[f->n] != 0;
	}
	f->where = array->p;
	f->kind = JSON_FLOATS_ZERO;
	return any;
}

float *json_floats(const struct span *array, size_t max, size_t *n, struct json_floats_fault *fault)
{
	size_t count = count_elements(array);
	float *out;

	*fault = (struct json_floats_fault){ JSON_FLOATS_COUNT, count, array->p };
	if (count < 1 || count > max)
		return NULL;
	out = xmalloc(count * sizeof(*out));
	if (fill(out, array, fault)) {
		*n = count;
		return out;
	}
	free(out);
	return NULL;
}
