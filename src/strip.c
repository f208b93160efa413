/* A walk over the bytes that knows only how deep it is and where a name, a value and a string begin;
 * whether it is JSON at all is for whoever reads what is left. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "decimal.h"
#include "strip.h"

#define NAME_MAX_LEN 31
#define NEST_MAX 64

struct strip {
	const char *const *names;
	enum {
		BEFORE,			/* nothing but blanks has come */
		THROUGH,		/* not an array, or behind its end: all passes */
		WALK,			/* in the array: passes, and is looked at */
		VALUE,			/* behind the colon of a name that is listed */
		WORD,			/* in such a value: number, true, false, null */
		INSIDE			/* in such a value: string, array, object */
	} state;
	size_t depth;			/* of open brackets, in the whole text */
	bool object;			/* the element at depth 2 is an object */
	bool name_next;			/* the next string there is a name */
	bool in_name, in_string, escaped;
	bool listed;			/* the name that came last */
	char name[NAME_MAX_LEN + 2];	/* one more than the longest: longer ones are never equal */
	size_t name_len;
	unsigned skipped;		/* of open brackets, in the value that is dropped */
	uint64_t curly;			/* which of them are '{': a bit for each, the innermost lowest */
	bool array, any;		/* it is an array; it is not empty */
	size_t commas;			/* between its elements */
};

struct strip *strip_new(const char *const *names)
{
	struct strip *s = xcalloc(1, sizeof(*s));

	s->names = names;
	return s;
}

void strip_free(struct strip *s)
{
	free(s);
}

static bool blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_listed(const struct strip *s)
{
	for (const char *const *n = s->names; *n; n++)
		if (strlen(*n) == s->name_len && !memcmp(*n, s->name, s->name_len))
			return true;
	return false;
}

/* One byte of a string, the closing quote included. */
static void in_string(struct strip *s, char c)
{
	if (!s->escaped && c == '"') {
		s->in_string = false;
		if (s->in_name)
			s->listed = is_listed(s);
		s->in_name = false;
		return;
	}
	s->escaped = !s->escaped && c == '\\';
	if (s->in_name && s->name_len < sizeof(s->name))
		s->name[s->name_len++] = c;
}

static void open_string(struct strip *s)
{
	s->in_string = true;
	s->in_name = s->depth == 2 && s->object && s->name_next;
	s->name_next = false;
	s->name_len = 0;
}

static void open_bracket(struct strip *s, char c)
{
	if (++s->depth == 2)
		s->object = s->name_next = c == '{';
	s->listed = false;
}

/* One byte outside what is dropped; it is kept. */
static void walk(struct strip *s, char c)
{
	if (s->in_string) {
		in_string(s, c);
		return;
	}
	switch (c) {
	case '"':
		open_string(s);
		break;
	case '[': case '{':
		open_bracket(s, c);
		break;
	case ']': case '}':
		if (--s->depth == 0)
			s->state = THROUGH;
		break;
	case ',':
		s->name_next = s->depth == 2;
		s->listed = false;
		break;
	case ':':
		if (s->depth == 2 && s->listed)
			s->state = VALUE;
		s->listed = false;
		break;
	}
}

/* The first byte of a value that is dropped.  False: there is no value, and c is kept. */
static bool value(struct strip *s, char c)
{
	if (c == ',' || c == '}' || c == ']') {
		s->state = WALK;
		return false;
	}
	s->array = c == '[';
	s->any = false;
	s->commas = 0;
	s->skipped = c == '[' || c == '{';
	s->curly = c == '{';
	s->in_string = c == '"';
	s->state = s->skipped || s->in_string ? INSIDE : WORD;
	return true;
}

static void end_value(struct strip *s, struct buf *out)
{
	buf_addf(out, "%zu", s->array && s->any ? s->commas + 1 : 0);
	s->state = WALK;
}

/* False: brackets that do not match, or too many of them.  c and all behind it then pass, so that
 * what is left is no JSON either. */
static bool nest(struct strip *s, char c)
{
	if (c == '[' || c == '{') {
		s->curly = s->curly << 1 | (c == '{');
		return ++s->skipped <= NEST_MAX;
	}
	if ((s->curly & 1) != (c == '}'))
		return false;
	s->curly >>= 1;
	s->skipped--;
	return true;
}

/* One byte of a value that is dropped.  Returns true if it is kept all the same. */
static bool inside(struct strip *s, char c, struct buf *out)
{
	if (s->in_string) {
		in_string(s, c);
		if (!s->in_string && !s->skipped)
			end_value(s, out);
		return false;
	}
	if (strchr("[]{}", c) && c && !nest(s, c)) {
		s->state = THROUGH;
		return true;
	}
	if (!s->skipped) {
		end_value(s, out);
		return false;
	}
	s->any |= (unsigned char)c > ' ';
	s->in_string = c == '"';
	s->commas += c == ',' && s->skipped == 1;
	return false;
}

/* Returns true if c is kept. */
static bool step(struct strip *s, char c, struct buf *out)
{
	switch (s->state) {
	case BEFORE:
		if (!blank(c)) {
			s->depth = 1;
			s->state = c == '[' ? WALK : THROUGH;
		}
		return true;
	case VALUE:
		if (blank(c))
			return true;
		if (value(s, c))
			return false;
		break;
	case WORD:
		if (!blank(c) && c != ',' && c != '}' && c != ']')
			return false;
		end_value(s, out);
		break;
	case INSIDE:
		return inside(s, c, out);
	default:
		break;
	}
	if (s->state == WALK)
		walk(s, c);
	return true;
}

/* How many of the n bytes, which are in a string, stand before its closing quote. */
static size_t string_run(struct strip *s, const char *p, size_t n)
{
	const char *at = p, *end = p + n, *quote, *b;
	bool odd;

	do {
		quote = memchr(at, '"', (size_t)(end - at));
		at = quote ? quote : end;
		for (b = at; b > p && b[-1] == '\\'; b--)
			;
		odd = (at - b) % 2 != (b == p && s->escaped);
	} while (quote && odd && ++at);
	s->escaped = odd;
	return (size_t)(at - p);
}

/* How many of the n bytes, which are dropped and in no string, are rows of numbers: eight at a time. */
static size_t number_run(struct strip *s, const char *p, size_t n)
{
	uint64_t w, comma, commas = 0;
	size_t i;

	for (i = 0; n - i >= sizeof(w); i += sizeof(w)) {
		memcpy(&w, p + i, sizeof(w));
		if (!decimal_only(w))
			break;
		comma = ((w ^ EACH(',')) + EACH(0x7f)) & EACH(0x80);	/* bytes that are none */
		commas += 8 - ((comma >> 7) * EACH(1) >> 56);
		s->any |= ((w + EACH(0x7f - ' ')) & EACH(0x80)) != 0;
	}
	if (s->skipped == 1)
		s->commas += commas;
	return i;
}

/* Bytes that only go on with what they are in; 0 if the next one may do more. */
static size_t run(struct strip *s, const char *p, size_t n, struct buf *out)
{
	size_t k = 0;

	if (s->in_string && !s->in_name)
		k = string_run(s, p, n);
	else if (s->state == INSIDE && !s->in_string)
		k = number_run(s, p, n);
	if (k && s->state == WALK)
		buf_add(out, p, k);
	return k;
}

void strip_feed(struct strip *s, const char *p, size_t n, struct buf *out)
{
	for (size_t i = 0; i < n; i++) {
		i += run(s, p + i, n - i, out);
		if (i == n)
			return;
		if (s->state == THROUGH) {
			buf_add(out, p + i, n - i);
			return;
		}
		if (step(s, p[i], out))
			buf_addc(out, p[i]);
	}
}
