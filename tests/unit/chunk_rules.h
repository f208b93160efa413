/* chunk_rules: what chunk.h promises of the chunks of a text, looked at slowly and one by one. */
#ifndef LINESYNC_CHUNK_RULES_H
#define LINESYNC_CHUNK_RULES_H

#include <string.h>

#include "chunk.h"
#include "text.h"

struct chunk_rules {
	const char *text;
	size_t len;
	struct chunking how;
};

static inline bool rules_fit(const struct chunk_rules *r, size_t bytes, uint64_t lines)
{
	return (r->how.bytes == 0 || bytes <= r->how.bytes) && (r->how.lines == 0 || lines <= r->how.lines);
}

static inline bool rules_blank(char c)
{
	return c == ' ' || c == '\t';
}

static inline size_t rules_line_end(const struct chunk_rules *r, size_t at)
{
	while (at < r->len && r->text[at] != '\n')
		at++;
	return at < r->len ? at + 1 : at;
}

static inline const char *rules_of_one(const struct chunk_rules *r, const struct chunk *c)
{
	size_t end = c->start + c->len;

	if (c->len == 0 && r->len > 0)
		return "an empty chunk";
	if (c->start > r->len || c->len > r->len - c->start)
		return "beyond the text";
	if (!rules_fit(r, c->len, (uint64_t)c->last_line + 1 - c->first_line))
		return "over a limit";
	if (c->first_line != 1 + text_lines(r->text, c->start) -
	    (c->start > 0 && r->text[c->start - 1] != '\n'))
		return "the first line's number";
	if (c->last_line != text_lines(r->text, end))
		return "the last line's number";
	if (utf8_check(r->text + c->start, c->len) != c->len)
		return "not UTF-8";
	return NULL;
}

/* Of a chunk that does not end the text: as long as can be, and cut where it should be. */
static inline const char *rules_of_end(const struct chunk_rules *r, const struct chunk *c)
{
	size_t end = c->start + c->len, at, next = rules_line_end(r, end);

	if (r->text[end - 1] == '\n')
		return rules_fit(r, next - c->start, (uint64_t)c->last_line + 2 - c->first_line) ?
		       "the next line had room" : NULL;
	if (rules_line_end(r, c->start) != next || next - c->start <= r->how.bytes)
		return "cut in a line that is not long";
	if (r->text[end] == '\n' || (r->text[end] == '\r' && end + 1 < r->len && r->text[end + 1] == '\n'))
		return "cut before a line's end";
	if (rules_blank(r->text[end - 1]))
		return c->len > r->how.bytes / 2 ? NULL : "cut too early";
	for (at = c->start + r->how.bytes / 2; at < end; at++)
		if (rules_blank(r->text[at]))
			return "not cut at a blank";
	return c->len + 6 > r->how.bytes ? NULL : "a piece that is too short";
}

/* b follows a. */
static inline const char *rules_of_two(const struct chunk_rules *r, const struct chunk *a,
				       const struct chunk *b)
{
	size_t from = a->start + a->len, more = b->start - 1, next = rules_line_end(r, from);
	uint64_t kept = text_lines(r->text + b->start, from - b->start);
	bool half;

	if (b->start <= a->start || b->start > from || b->start + b->len <= from)
		return "does not follow the one before";
	half = r->how.bytes != 0 && from - b->start > r->how.bytes / 2;
	if (b->start < from && (kept > r->how.overlap || half || r->text[b->start - 1] != '\n' ||
				r->text[from - 1] != '\n'))
		return "repeats too much";
	if (r->text[from - 1] != '\n' || kept == r->how.overlap)
		return NULL;
	while (more > a->start && r->text[more - 1] != '\n')
		more--;
	half = r->how.bytes != 0 && from - more > r->how.bytes / 2;
	if (more > a->start && !half && rules_fit(r, next - more, kept + 2))
		return "repeats too little";
	return NULL;
}

/* NULL if all is well; else what is wrong, and in *n with which chunk.  text is valid UTF-8. */
static inline const char *chunk_rules_broken(const struct chunk_rules *r, uint32_t *n)
{
	struct chunk_walk w, again;
	struct chunk c = { 0 }, before, same;
	const char *why;

	chunk_begin(&w, r->text, r->len, &r->how);
	chunk_begin(&again, r->text, r->len, &r->how);
	for (*n = 0; before = c, chunk_next(&w, &c); ++*n) {
		if ((why = rules_of_one(r, &c)) != NULL)
			return why;
		if (*n == 0 && c.start != 0)
			return "the text's beginning is missing";
		if (*n > 0 && (why = rules_of_two(r, &before, &c)) != NULL)
			return why;
		if (c.start + c.len < r->len && (why = rules_of_end(r, &c)) != NULL)
			return why;
		if (!chunk_next(&again, &same) || memcmp(&c, &same, sizeof(c)) != 0)
			return "not the same each time";
	}
	if (*n == 0 || before.start + before.len != r->len)
		return "the text's end is missing";
	return chunk_count(r->text, r->len, &r->how) == *n ? NULL : "the count";
}

#endif
