#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <string.h>

#include "alloc.h"
#include "chunk.h"
#include "text.h"

/* ---- how ---- */

bool chunking_is_off(const struct chunking *c)
{
	return c->lines == 0 && c->bytes == 0;
}

const char *chunking_fault(const struct chunking *c)
{
	_Static_assert(CHUNK_BYTES_MIN == 64, "as the message says");
	if (c->bytes != 0 && (c->bytes < CHUNK_BYTES_MIN || c->bytes > CHUNK_BYTES_MAX))
		return "--chunk-bytes must be 0 (no limit) or from 64 to 1g";
	if (c->lines != 0 && c->overlap >= c->lines)
		return "--chunk-overlap must be less than --chunk-lines";
	return NULL;
}

char *chunking_name(const struct chunking *c)
{
	if (chunking_is_off(c))
		return xstrdup("off");
	return xasprintf("lines=%lu,overlap=%lu,bytes=%lu", (unsigned long)c->lines,
			 (unsigned long)c->overlap, (unsigned long)c->bytes);
}

/* Reads "KEY=NUMBER" at *s, which moves behind it and the comma that follows. */
static int parse_number(uint32_t *out, const char **s, const char *key)
{
	size_t nkey = strlen(key), n;
	char digits[11];
	uint64_t v;

	if (strncmp(*s, key, nkey) != 0)
		return -1;
	*s += nkey;
	n = strcspn(*s, ",");
	if (n >= sizeof(digits))
		return -1;
	memcpy(digits, *s, n);
	digits[n] = '\0';
	if (parse_uint(&v, digits, 0, UINT32_MAX) != 0)
		return -1;
	*out = (uint32_t)v;
	*s += n + ((*s)[n] == ',');
	return 0;
}

int chunking_parse(struct chunking *c, const char *name)
{
	memset(c, 0, sizeof(*c));
	if (strcmp(name, "off") == 0)
		return 0;
	if (parse_number(&c->lines, &name, "lines=") != 0 ||
	    parse_number(&c->overlap, &name, "overlap=") != 0 ||
	    parse_number(&c->bytes, &name, "bytes=") != 0 || name[0] != '\0' || name[-1] == ',')
		return -1;
	return chunking_is_off(c) || chunking_fault(c) != NULL ? -1 : 0;
}

/* ---- where ---- */

void chunk_begin(struct chunk_walk *w, const char *text, size_t len, const struct chunking *how)
{
	*w = (struct chunk_walk){ .text = text, .len = len, .how = *how };
}

static bool fits(const struct chunk_walk *w, size_t bytes, uint32_t lines)
{
	return (w->how.bytes == 0 || bytes <= w->how.bytes) &&
	       (w->how.lines == 0 || lines <= w->how.lines);
}

/* Where the line goes on to from `at`, its end included.  It is followed only until it is known to
 * have more bytes than a chunk may: a long one, looked at once for each piece, would take long. */
static size_t line_end(const struct chunk_walk *w, size_t at)
{
	size_t most = w->len - at;
	const char *newline;

	if (w->how.bytes != 0 && most > w->how.bytes)
		most = (size_t)w->how.bytes + 1;
	newline = memchr(w->text + at, '\n', most);
	return newline != NULL ? (size_t)(newline - w->text) + 1 : at + most;
}

/* True between two bytes of a character or of CRLF, and where the line has nothing left but its end. */
static bool is_inseparable(const struct chunk_walk *w, size_t at)
{
	const char *p = w->text + at;

	return ((unsigned char)*p & 0xc0) == 0x80 || *p == '\n' ||
	       (*p == '\r' && at + 1 < w->len && p[1] == '\n');
}

/* Where to cut the line that has more than how.bytes bytes from start on. */
static size_t cut_inside(const struct chunk_walk *w, size_t start)
{
	size_t most = start + w->how.bytes, end = most, at;

	while (end > start && is_inseparable(w, end))
		end--;
	for (at = end; at > start + w->how.bytes / 2; at--)
		if (w->text[at - 1] == ' ' || w->text[at - 1] == '\t')
			return at;
	return end > start ? end : most;	/* the latter only if the text is not UTF-8 */
}

/* True if the line before `at` is not at its end there. */
static bool is_inside_line(const struct chunk_walk *w, size_t at)
{
	return at > 0 && w->text[at - 1] != '\n';
}

/* Moves w->at from the last chunk to where the next one begins: at `from`, or in the last lines
 * before it.  Goes forward from the old beginning, so that all moves together read the text once. */
static void move_start(struct chunk_walk *w, size_t from)
{
	struct chunk *c = &w->at;
	uint32_t next_line = c->last_line + 1;
	size_t next_end = line_end(w, from);
	bool inside = is_inside_line(w, from);

	if (from == 0 || inside || w->how.overlap == 0) {
		c->first_line = inside ? c->last_line : next_line;
		c->start = from;
		return;
	}
	do {	/* at least one line is left out, so that another one may follow */
		c->start = line_end(w, c->start);
		c->first_line++;
	} while (c->start < from &&
		 (next_line - c->first_line > w->how.overlap ||
		  (w->how.bytes != 0 && (from - c->start > w->how.bytes / 2 ||
					 next_end - c->start > w->how.bytes))));
}

/* Ends the chunk that begins with w->at.start and has to have something of what follows `from`. */
static void fill(struct chunk_walk *w, size_t from)
{
	struct chunk *c = &w->at;
	uint32_t line = is_inside_line(w, from) ? c->last_line : c->last_line + 1;
	size_t end = from, next;

	while (end < w->len) {
		next = line_end(w, end);
		if (!fits(w, next - c->start, line - c->first_line + 1))
			break;
		end = next;
		c->last_line = line++;
	}
	if (end == from && from < w->len) {
		end = cut_inside(w, from);
		c->last_line = line;
	}
	c->len = end - c->start;
}

bool chunk_next(struct chunk_walk *w, struct chunk *c)
{
	size_t from = w->at.start + w->at.len;

	if (w->begun && from == w->len)
		return false;
	w->begun = true;
	move_start(w, from);
	fill(w, from);
	*c = w->at;
	return true;
}

uint32_t chunk_count(const char *text, size_t len, const struct chunking *how)
{
	struct chunk_walk w;
	struct chunk c;
	uint32_t n = 0;

	chunk_begin(&w, text, len, how);
	while (chunk_next(&w, &c))
		n++;
	return n;
}

static uint32_t twice(uint32_t limit, uint32_t most)
{
	return limit > most / 2 ? most : 2 * limit;
}

uint32_t chunk_fit(struct chunking *how, const char *text, size_t len)
{
	uint32_t n;

	while ((n = chunk_count(text, len, how)) > CHUNKS_MAX) {
		how->lines = twice(how->lines, UINT32_MAX);
		how->bytes = twice(how->bytes, CHUNK_BYTES_MAX);
	}
	return n;
}
