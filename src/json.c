#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "decimal.h"
#include "text.h"

#include "json.h"

#define KNOWN_MAX 256

/* Where a value stands, as far as duplicate names matter. */
enum place { PLACE_TOP, PLACE_CHANGESET, PLACE_INSIDE };

struct check {
	const unsigned char *start, *p, *end;
	const char *const *known;	/* borrowed or NULL */
	struct json_fault *fault;
};

static int fail(struct check *c, const char *code, const char *what, const unsigned char *where)
{
	c->fault->code = code;
	c->fault->what = what;
	c->fault->offset = (size_t)(where - c->start);
	return -1;
}

static int fail_json(struct check *c, const char *what)
{
	return fail(c, "bad-json", c->p < c->end ? what : "the text ends too early", c->p);
}

static void skip_blanks(struct check *c)
{
	while (c->p < c->end &&
	       (*c->p == ' ' || *c->p == '\t' || *c->p == '\n' || *c->p == '\r'))
		c->p++;
}

/* The first of '"', '\' and bytes below 0x20 from p on, or end; with terminal also of DEL and the byte
 * that begins U+0080 to U+00BF.  The trick for a zero byte is from "Bit Twiddling Hacks" (S. E.
 * Anderson): borrows only go up, so the lowest hit is exact. */
static inline const unsigned char *find_byte(const unsigned char *p, const unsigned char *end,
					     bool terminal)
{
	uint64_t w, quote, slash, del, c2, hit;

	for (; end - p >= (ptrdiff_t)sizeof(w); p += sizeof(w)) {
		memcpy(&w, p, sizeof(w));
		quote = w ^ EACH('"');
		slash = w ^ EACH('\\');
		hit = ((w - EACH(0x20)) & ~w) | ((quote - EACH(1)) & ~quote) |
		      ((slash - EACH(1)) & ~slash);
		if (terminal) {
			del = w ^ EACH(0x7f);
			c2 = w ^ EACH(0xc2);
			hit |= ((del - EACH(1)) & ~del) | ((c2 - EACH(1)) & ~c2);
		}
		hit &= EACH(0x80);
		if (hit == 0)
			continue;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
		return p + __builtin_ctzll(hit) / 8;
#else
		break;
#endif
	}
	while (p < end && *p >= 0x20 && *p != '"' && *p != '\\' &&
	       (!terminal || (*p != 0x7f && *p != 0xc2)))
		p++;
	return p;
}

static const unsigned char *find_special(const unsigned char *p, const unsigned char *end)
{
	return find_byte(p, end, false);
}

/* Four hex digits at c->p.  Returns their value, or -1 with the fault set; escape is where the
 * whole escape began. */
static int32_t check_hex4(struct check *c, const unsigned char *escape)
{
	unsigned char pair[2];

	if (c->end - c->p < 4) {
		/* Cut, unless a wrong character stands before the end. */
		for (; c->p < c->end; c->p++)
			if (strchr("0123456789abcdefABCDEF", *c->p) == NULL || *c->p == '\0')
				return fail(c, "bad-escape", "\\u without four hex digits", escape);
		return fail_json(c, "");
	}
	if (hex_decode(pair, (const char *)c->p, 2) < 0)
		return fail(c, "bad-escape", "\\u without four hex digits", escape);
	c->p += 4;
	return pair[0] << 8 | pair[1];
}

/* What stands after a backslash, but for u. */
static const unsigned char escapes[256] = {
	['"'] = '"', ['\\'] = '\\', ['/'] = '/', ['b'] = '\b',
	['f'] = '\f', ['n'] = '\n', ['r'] = '\r', ['t'] = '\t',
};

/* The escape at c->p.  Stores the character that it stands for. */
static int check_escape(struct check *c, uint32_t *character)
{
	const unsigned char *escape = c->p++;
	int32_t high, low;

	if (c->p == c->end)
		return fail_json(c, "");
	if (*c->p != 'u') {
		*character = escapes[*c->p];
		if (*character == 0)
			return fail(c, "bad-escape", "unknown escape", escape);
		c->p++;
		return 0;
	}
	c->p++;
	high = check_hex4(c, escape);
	if (high < 0)
		return -1;
	*character = (uint32_t)high;
	if (high < 0xd800 || high > 0xdfff)
		return 0;
	if (high >= 0xdc00)
		return fail(c, "bad-escape", "lone low surrogate", escape);
	if (c->p == c->end || (*c->p == '\\' && c->end - c->p == 1)) {
		c->p = c->end;
		return fail_json(c, "");
	}
	if (c->p[0] != '\\' || c->p[1] != 'u')
		return fail(c, "bad-escape", "lone high surrogate", escape);
	c->p += 2;
	low = check_hex4(c, c->p - 2);
	if (low < 0)
		return -1;
	if (low < 0xdc00 || low > 0xdfff)
		return fail(c, "bad-escape", "lone high surrogate", escape);
	*character = 0x10000 + ((uint32_t)(high - 0xd800) << 10) + (uint32_t)(low - 0xdc00);
	return 0;
}

/* The string at c->p ('"').  Where name is set no NUL may be in it.  Tells whether any escape was
 * met. */
static int check_string(struct check *c, bool name, bool *escaped)
{
	const unsigned char *escape;
	uint32_t character;

	*escaped = false;
	for (c->p++;;) {
		c->p = find_special(c->p, c->end);
		if (c->p == c->end)
			return fail_json(c, "");
		if (*c->p == '"')
			break;
		if (*c->p != '\\')
			return fail(c, "control-character", "control character in a string", c->p);
		escape = c->p;
		if (check_escape(c, &character) < 0)
			return -1;
		if (name && character == 0)
			return fail(c, "nul-in-name", "NUL in a name", escape);
		*escaped = true;
	}
	c->p++;
	return 0;
}

void json_unescape(struct buf *out, const char *s, size_t n)
{
	const unsigned char *p = (const unsigned char *)s, *end = p + n, *run;
	struct json_fault unused;
	struct check c = { p, p, end, NULL, &unused };
	uint32_t u;

	buf_reserve(out, n);
	while (c.p < end) {
		run = c.p;
		c.p = find_special(c.p, end);
		buf_add(out, run, (size_t)(c.p - run));
		if (c.p == end || check_escape(&c, &u) < 0)
			return;
		if (u < 0x80) {
			buf_addc(out, (char)u);
			continue;
		}
		if (u >= 0x10000) {
			buf_addc(out, (char)(0xf0 | u >> 18));
			buf_addc(out, (char)(0x80 | (u >> 12 & 0x3f)));
		} else if (u >= 0x800) {
			buf_addc(out, (char)(0xe0 | u >> 12));
		}
		if (u >= 0x800)
			buf_addc(out, (char)(0x80 | (u >> 6 & 0x3f)));
		else
			buf_addc(out, (char)(0xc0 | u >> 6));
		buf_addc(out, (char)(0x80 | (u & 0x3f)));
	}
}

/* Index of the name in c->known, or -1. */
static int find_known(const struct check *c, const char *name, size_t n)
{
	int i;

	for (i = 0; c->known[i] != NULL; i++) {
		assert(i < KNOWN_MAX);
		if (c->known[i][0] == name[0] && strncmp(c->known[i], name, n) == 0 &&
		    c->known[i][n] == '\0')
			return i;
	}
	return -1;
}

/* The name at c->p, in an object at place.  *inside becomes the place of its value. */
static int check_name(struct check *c, enum place place, uint64_t *seen, enum place *inside)
{
	static const char changeset[] = "new_changeset";
	auto_buf struct buf plain = BUF_INIT;
	const unsigned char *quote = c->p;
	const char *name;
	bool escaped;
	size_t n;
	int i;

	if (check_string(c, true, &escaped) < 0)
		return -1;
	*inside = PLACE_INSIDE;
	if (c->known == NULL || place == PLACE_INSIDE)
		return 0;
	name = (const char *)quote + 1;
	n = (size_t)(c->p - quote) - 2;
	if (escaped) {
		json_unescape(&plain, name, n);
		name = plain.data;
		n = plain.len;
	}
	if (n == 0)
		return 0;
	if (place == PLACE_TOP && n == sizeof(changeset) - 1 && memcmp(name, changeset, n) == 0)
		*inside = PLACE_CHANGESET;
	i = find_known(c, name, n);
	if (i < 0)
		return 0;
	if ((seen[i / 64] >> (i % 64) & 1) != 0)
		return fail(c, "duplicate-field", "a field stands twice", quote);
	seen[i / 64] |= UINT64_C(1) << (i % 64);
	return 0;
}

/* DBL_MAX and half a unit in its last place (2^1024 - 2^970): from here on, rounding gives
 * infinity. */
static const char too_large[] =
	"1797693134862315807937289714053034150799341327100378269361737789804449682927647509466490"
	"1797758720709633028641669288791094655554785194040263065748867150582068190890200070838367"
	"6273854845817711531764475730270069855571366959622842914819860834936475292719074168444365"
	"510704342711559699508093042880177904174497792";

/* The digits from p to end, first of them not 0, perhaps with a point between, are the start of a
 * number with as many places before the point as too_large has: does it reach that? */
static bool reaches_limit(const unsigned char *p, const unsigned char *end)
{
	const char *limit = too_large;

	for (; p < end && *limit != '\0'; p++) {
		if (*p == '.')
			continue;
		if (*p != (unsigned char)*limit)
			return *p > (unsigned char)*limit;
		limit++;
	}
	for (; *limit != '\0'; limit++)
		if (*limit != '0')
			return false;
	return true;
}

static void skip_digits(struct check *c)
{
	c->p = (const unsigned char *)decimal_skip((const char *)c->p, (const char *)c->end);
}

/* One digit or more. */
static int check_digits(struct check *c)
{
	const unsigned char *first = c->p;

	skip_digits(c);
	return c->p > first ? 0 : fail_json(c, "a number without digits");
}

/* The exponent at c->p, if any; far beyond any use it stands still. */
static int check_exponent(struct check *c, int64_t *exponent)
{
	const int64_t limit = INT64_C(1) << 60;
	const unsigned char *p;
	bool negative = false;

	*exponent = 0;
	if (c->p == c->end || (*c->p != 'e' && *c->p != 'E'))
		return 0;
	c->p++;
	if (c->p < c->end && (*c->p == '+' || *c->p == '-'))
		negative = *c->p++ == '-';
	p = c->p;
	if (check_digits(c) < 0)
		return -1;
	for (; p < c->p; p++)
		if (*exponent < limit / 10)
			*exponent = *exponent * 10 + (*p - '0');
	if (negative)
		*exponent = -*exponent;
	return 0;
}

static int check_number(struct check *c)
{
	const unsigned char *number = c->p, *whole, *point, *digits_end, *first;
	int64_t exponent, places;

	if (*c->p == '-')
		c->p++;
	whole = c->p;
	if (c->p < c->end && *c->p == '0')
		c->p++;
	else if (check_digits(c) < 0)
		return -1;
	point = c->p;
	if (c->p < c->end && *c->p == '.') {
		c->p++;
		if (check_digits(c) < 0)
			return -1;
	}
	digits_end = c->p;
	if (check_exponent(c, &exponent) < 0)
		return -1;
	if (exponent <= 0 && point - whole < 300)
		return 0;
	for (first = whole; first < digits_end && (*first == '0' || *first == '.');)
		first++;
	if (first == digits_end)
		return 0;
	/* Decimal places before the point; not positive for 0.0x. */
	places = first < point ? point - first : point + 1 - first;
	places += exponent;
	if (places > (int64_t)sizeof(too_large) - 1 ||
	    (places == (int64_t)sizeof(too_large) - 1 && reaches_limit(first, digits_end)))
		return fail(c, "bad-number", "a number too large for a double", number);
	return 0;
}

static int check_literal(struct check *c, const char *word)
{
	for (; *word != '\0'; word++, c->p++)
		if (c->p == c->end || *c->p != (unsigned char)*word)
			return fail_json(c, "not a JSON value");
	return 0;
}

static int check_value(struct check *c, enum place place, int depth);

static int check_object(struct check *c, enum place place, int depth)
{
	uint64_t seen[KNOWN_MAX / 64] = { 0 };
	enum place inside;

	c->p++;
	skip_blanks(c);
	if (c->p < c->end && *c->p == '}') {
		c->p++;
		return 0;
	}
	for (;;) {
		if (c->p == c->end || *c->p != '"')
			return fail_json(c, "a name in double quotes should stand here");
		if (check_name(c, place, seen, &inside) < 0)
			return -1;
		skip_blanks(c);
		if (c->p == c->end || *c->p != ':')
			return fail_json(c, "a colon should stand here");
		c->p++;
		skip_blanks(c);
		if (check_value(c, inside, depth) < 0)
			return -1;
		skip_blanks(c);
		if (c->p == c->end || (*c->p != ',' && *c->p != '}'))
			return fail_json(c, "a comma or closing brace should stand here");
		if (*c->p++ == '}')
			return 0;
		skip_blanks(c);
	}
}

static int check_array(struct check *c, int depth)
{
	c->p++;
	skip_blanks(c);
	if (c->p < c->end && *c->p == ']') {
		c->p++;
		return 0;
	}
	for (;;) {
		if (check_value(c, PLACE_INSIDE, depth) < 0)
			return -1;
		skip_blanks(c);
		if (c->p == c->end || (*c->p != ',' && *c->p != ']'))
			return fail_json(c, "a comma or closing bracket should stand here");
		if (*c->p++ == ']')
			return 0;
		skip_blanks(c);
	}
}

/* The value at c->p, inside depth arrays and objects: recursion ends at JSON_MAX_DEPTH. */
static int check_value(struct check *c, enum place place, int depth)
{
	bool escaped;

	if (c->p == c->end)
		return fail_json(c, "");
	switch (*c->p) {
	case '{':
	case '[':
		if (depth == JSON_MAX_DEPTH)
			return fail(c, "too-deep", "arrays and objects nest too deep", c->p);
		return *c->p == '{' ? check_object(c, place, depth + 1) : check_array(c, depth + 1);
	case '"':
		return check_string(c, false, &escaped);
	case 't':
		return check_literal(c, "true");
	case 'f':
		return check_literal(c, "false");
	case 'n':
		return check_literal(c, "null");
	case '-': case '0': case '1': case '2': case '3': case '4':
	case '5': case '6': case '7': case '8': case '9':
		return check_number(c);
	default:
		return fail_json(c, "not a JSON value");
	}
}

int json_check(const char *p, size_t n, const char *const *known, struct json_fault *f)
{
	const unsigned char *s = (const unsigned char *)p;
	struct check c = { s, s, s + n, known, f };
	size_t good = utf8_check(p, n);

	if (good < n)
		return fail(&c, "bad-utf8", "not valid UTF-8", s + good);
	skip_blanks(&c);
	if (check_value(&c, PLACE_TOP, 0) < 0)
		return -1;
	skip_blanks(&c);
	if (c.p < c.end)
		return fail_json(&c, "text after the value");
	return 0;
}

/* Writes the escape for c to the 6 bytes at to.  Returns its length. */
static size_t put_escape(char *to, unsigned char c)
{
	static const char hex[] = "0123456789abcdef", letters[] = "btn\0fr";
	char letter = '\0';

	to[0] = '\\';
	if (c == '"' || c == '\\')
		letter = (char)c;
	else if (c >= '\b' && c <= '\r')
		letter = letters[c - '\b'];
	to[1] = letter;
	if (letter != '\0')
		return 2;
	memcpy(to + 1, "u00", 3);
	to[4] = hex[c >> 4];
	to[5] = hex[c & 15];
	return 6;
}

/* The first byte from p on that json_str() escapes, or end. */
static const unsigned char *find_escaped(const unsigned char *p, const unsigned char *end)
{
	for (p = find_byte(p, end, true); p < end && *p == 0xc2 && p[1] >= 0xa0;)
		p = find_byte(p + 2, end, true);
	return p;
}

/* Appends n bytes of valid UTF-8, escaped; the buffer is without its NUL meanwhile. */
static void add_escaped(struct buf *out, const unsigned char *p, size_t n)
{
	const unsigned char *end = p + n, *run;
	size_t len;

	while (p < end) {
		p = find_escaped(run = p, end);
		len = (size_t)(p - run);
		if (out->cap - out->len < len + 7)
			buf_reserve(out, len + 7);
		memcpy(out->data + out->len, run, len);
		out->len += len;
		if (p == end)
			break;
		p += *p == 0xc2;
		out->len += put_escape(out->data + out->len, *p++);
	}
}

void json_str(struct buf *out, const char *s, size_t n)
{
	size_t good;

	buf_reserve(out, n + n / 16 + 2);
	buf_addc(out, '"');
	while (n > 0) {
		good = utf8_check(s, n);
		add_escaped(out, (const unsigned char *)s, good);
		if (good < n) {
			buf_add(out, "\xef\xbf\xbd", 3);
			good++;
		}
		s += good;
		n -= good;
	}
	buf_addc(out, '"');
}

size_t json_str_size(const char *s, size_t n)
{
	const unsigned char *p = (const unsigned char *)s, *end = p + n;
	char escape[6];
	size_t size = n + 2;

	while ((p = find_byte(p, end, true)) < end) {
		if (*p == 0xc2 && p[1] >= 0xa0) {
			p += 2;
			continue;
		}
		size -= *p == 0xc2;
		p += *p == 0xc2;
		size += put_escape(escape, *p++) - 1;
	}
	return size;
}

bool json_str_is(const char *written, size_t size, const char *s, size_t n)
{
	const unsigned char *p = (const unsigned char *)s, *end = p + n, *run;
	const char *written_end = written + size;
	char escape[6];
	size_t len;

	while (p < end) {
		p = find_escaped(run = p, end);
		len = (size_t)(p - run);
		if (len > (size_t)(written_end - written) || memcmp(written, run, len) != 0)
			return false;
		written += len;
		if (p == end)
			break;
		p += *p == 0xc2;
		len = put_escape(escape, *p++);
		if (len > (size_t)(written_end - written) || memcmp(written, escape, len) != 0)
			return false;
		written += len;
	}
	return written == written_end;
}

void json_printed(struct buf *out, const char *value)
{
	const char *run = value, *p = value, *end = value + strlen(value);
	size_t len;

	for (; p < end; p += len) {
		uint32_t c = text_code_point(p, (size_t)(end - p), &len);

		if (c < 0x7f || !text_acts(c))
			continue;
		buf_add(out, run, (size_t)(p - run));
		run = p + len;
		if (c >= 0x10000)
			buf_addf(out, "\\u%04x\\u%04x", 0xd7c0 + (unsigned)(c >> 10), 0xdc00 + (unsigned)(c & 0x3ff));
		else
			buf_addf(out, "\\u%04x", (unsigned)c);
	}
	buf_add(out, run, (size_t)(end - run));
}

void json_cstr(struct buf *out, const char *s)
{
	if (s == NULL)
		buf_add(out, "null", 4);
	else
		json_str(out, s, strlen(s));
}

void json_name(struct buf *out, bool *first, const char *name)
{
	if (*first)
		buf_addc(out, '"');
	else
		buf_add(out, ",\"", 2);
	*first = false;
	buf_adds(out, name);
	buf_add(out, "\":", 2);
}

void json_member_str(struct buf *out, bool *first, const char *name, const char *s, size_t n)
{
	json_name(out, first, name);
	json_str(out, s, n);
}

void json_member_cstr(struct buf *out, bool *first, const char *name, const char *s)
{
	json_name(out, first, name);
	json_cstr(out, s);
}

void json_member_int(struct buf *out, bool *first, const char *name, int64_t v)
{
	json_name(out, first, name);
	buf_addf(out, "%" PRId64, v);
}

void json_member_bool(struct buf *out, bool *first, const char *name, bool v)
{
	json_name(out, first, name);
	buf_adds(out, v ? "true" : "false");
}
