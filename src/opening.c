#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <string.h>

#include "json_span.h"
#include "opening.h"
#include "text.h"

#define MESSAGE_MAX 4096	/* no producer's message is as long */
#define BINARY_MAX 512		/* of a binary, so many bytes tell */

#define FIRST(made, command) "the input is " made "; to make lines of it, put before linesync: " command

static const char array_advice[] = FIRST("one JSON array", "jq -c '.[]'");
static const char pretty_advice[] = FIRST("JSON over several lines", "jq -c .");
static const char utf16le_advice[] = FIRST("UTF-16", "iconv -f UTF-16LE -t UTF-8");
static const char utf16be_advice[] = FIRST("UTF-16", "iconv -f UTF-16BE -t UTF-8");
static const char nul_advice[] =
	"the input has NUL where a line would end; say -z with --input-format paths, or name-status";
static const char letters_advice[] =
	"the input has a NUL after each letter: if it is git's, say -z with --input-format paths, or name-status; if "
	"it is UTF-16, put before linesync: iconv -f UTF-16LE (or UTF-16BE) -t UTF-8";
static const char binary_advice[] =
	"the input is binary; linesync-records(5) says what linesync reads";

/* No line begins so: none of these is UTF-8 without control characters, but bzip2's, which is no name. */
static const struct magic {
	const char *bytes;
	size_t n;
	const char *advice;
} magics[] = {
	{ "\x1f\x8b", 2, FIRST("compressed by gzip", "zcat") },
	{ "\x28\xb5\x2f\xfd", 4, FIRST("compressed by zstd", "zstd -dc") },
	{ "BZh91AY&SY", 10, FIRST("compressed by bzip2", "bzcat") },
	{ "\xfd" "7zXZ\0", 6, FIRST("compressed by xz", "xzcat") },
	{ "\x04\x22\x4d\x18", 4, FIRST("compressed by lz4", "lz4 -dc") },
	{ "PK\x03\x04", 4, FIRST("a zip archive", "unzip -p FILE, with its name") },
	{ "\xff\xfe\0\0", 4, FIRST("UTF-32", "iconv -f UTF-32 -t UTF-8") },
	{ "\0\0\xfe\xff", 4, FIRST("UTF-32", "iconv -f UTF-32 -t UTF-8") },
	{ "\xff\xfe", 2, FIRST("UTF-16", "iconv -f UTF-16 -t UTF-8") },
	{ "\xfe\xff", 2, FIRST("UTF-16", "iconv -f UTF-16 -t UTF-8") },
};

/* The bytes from the beginning of a line on, as far as they have come. */
struct head {
	const char *p, *end;
	const char *line_end;	/* where its end stands; end: not there yet, or cut off */
	bool ended;
};

static enum opening judge_magic(const struct head *h, const char **advice)
{
	size_t n = (size_t)(h->end - h->p);
	enum opening found = OPENING_LINE;

	for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++) {
		const struct magic *m = &magics[i];

		if (memcmp(h->p, m->bytes, n < m->n ? n : m->n) != 0)
			continue;
		if (n >= m->n && found == OPENING_LINE) {
			*advice = m->advice;
			return OPENING_FOREIGN;
		}
		if (n < m->n && !h->ended)
			found = OPENING_MORE;
	}
	return found;
}

/* Latin letters in two bytes each: every other one is 0. */
static const char *utf16_advice(const struct head *h)
{
	const char *p = h->p;

	if (h->end - p < 4)
		return NULL;
	if (p[0] && !p[1] && p[2] && !p[3])
		return utf16le_advice;
	if (!p[0] && p[1] && !p[2] && p[3])
		return utf16be_advice;
	return NULL;
}

/* Fields that end with NUL: text, and none of them empty. */
static bool is_nul_list(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i] == '\0' && (i == 0 || p[i - 1] == '\0'))
			return false;
		if ((unsigned char)p[i] < 0x20 && p[i] != '\0' && p[i] != '\t')
			return false;
	}
	return true;
}

/* A NUL in a JSON line makes that line bad, and says nothing of the others. */
static enum opening judge_nul(const struct head *h, const char **advice)
{
	size_t held = (size_t)(h->end - h->p), line = (size_t)(h->line_end - h->p);
	size_t n = held < BINARY_MAX ? held : BINARY_MAX;
	bool text;

	*advice = utf16_advice(h);
	if (*advice != NULL) {		/* names of one letter with NUL between them look the same */
		if (memchr("{[\"", *h->p != '\0' ? h->p[0] : h->p[1], 3) == NULL)
			*advice = letters_advice;
		return OPENING_FOREIGN;
	}
	if (*h->p == '{' || *h->p == '"')
		return OPENING_LINE;
	text = utf8_check(h->p, line) == line;
	if (memchr(h->p, '\0', text && line < n ? line : n) == NULL)
		return OPENING_LINE;
	if (held < BINARY_MAX && h->line_end == h->end && !h->ended)
		return OPENING_MORE;
	*advice = text && is_nul_list(h->p, line < n ? line : n) ? nul_advice : binary_advice;
	return OPENING_FOREIGN;
}

/* A file can be called "[x]", "[[...slug]]" or "[" too. */
static enum opening judge_array(const struct head *h, const struct change_options *o, const char **advice)
{
	const char *p = json_skip_blanks(h->p + 1, h->end);
	bool found;

	if (p == h->end && !h->ended)
		return OPENING_MORE;
	if (p == h->end)
		found = false;
	else if (*p == ']' && p < h->line_end)	/* an empty one */
		found = json_skip_blanks(p + 1, h->line_end) == h->line_end;
	else
		found = *p == '{' || *p == '"' || (p > h->line_end && (*p == '[' || *p == ']'));
	if (!found && o->format != FORMAT_JSON)
		return OPENING_LINE;
	*advice = array_advice;
	return OPENING_FOREIGN;
}

/* A line that leaves open what it has begun, and goes on: a cut one hardly ends just there. */
static enum opening judge_pretty(const struct head *h, const char **advice)
{
	const char *last = h->line_end;

	while (json_is_blank(last[-1]))
		last--;
	if (h->line_end == h->end || memchr("{[,", last[-1], 3) == NULL)
		return OPENING_LINE;
	*advice = pretty_advice;
	return OPENING_FOREIGN;
}

static enum opening judge_kind(const struct head *h, const struct change_options *o, const char **advice)
{
	enum opening found = judge_magic(h, advice);

	if (found == OPENING_LINE && !o->nul_terminated)
		found = judge_nul(h, advice);
	if (found != OPENING_LINE || (o->format != FORMAT_AUTO && o->format != FORMAT_JSON))
		return found;
	if (*h->p == '[')
		return judge_array(h, o, advice);
	return *h->p == '{' ? judge_pretty(h, advice) : OPENING_LINE;
}

static bool is_message(const struct head *h, const struct change_options *o)
{
	struct change c;
	bool needs_file, message;

	if (*h->p == '{' || h->line_end - h->p > MESSAGE_MAX)
		return false;
	change_parse(&c, h->p, (size_t)(h->line_end - h->p), h->line_end == h->end, &needs_file, o);
	message = change_is_message(&c);
	change_release(&c);
	return message;
}

static const char *skip_blank(const char *p, const char *end, const struct change_options *o)
{
	if (!o->nul_terminated)
		return json_skip_blanks(p, end);
	while (p < end && *p == '\0')
		p++;
	return p;
}

enum opening opening_judge(const char *p, size_t n, bool ended, const struct change_options *o,
			   const char **advice)
{
	struct head h = { .p = p, .end = p + n, .ended = ended };

	if (n >= OPENING_MAX)
		ended = h.ended = true;		/* no more is waited for */
	for (;; h.p = h.line_end) {
		enum opening kind;

		h.p = skip_blank(h.p, h.end, o);
		if (h.p == h.end)
			return n >= OPENING_MAX ? OPENING_LINE : ended ? OPENING_IDLE : OPENING_MORE;
		h.line_end = memchr(h.p, o->nul_terminated ? '\0' : '\n', (size_t)(h.end - h.p));
		if (h.line_end == NULL)
			h.line_end = h.end;
		kind = judge_kind(&h, o, advice);
		if (kind != OPENING_LINE)
			return kind;
		if (h.line_end == h.end && !ended && h.end - h.p <= MESSAGE_MAX)
			return OPENING_MORE;
		if (!is_message(&h, o))
			return OPENING_LINE;
	}
}
