#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <string.h>

#include "text.h"

#define HIGH_BITS UINT64_C(0x8080808080808080)

/* Length of the well-formed sequence at p (n > 0 bytes), or 0: RFC 3629 section 4. */
static size_t utf8_sequence(const unsigned char *p, size_t n)
{
	unsigned char low = 0x80, high = 0xbf;	/* what the second byte may be */
	size_t len, i;

	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (n < len)
		return 0;
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	if (p[1] < low || p[1] > high)
		return 0;
	for (i = 2; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return len;
}

size_t utf8_check(const void *p, size_t n)
{
	const unsigned char *s = p;
	size_t at = 0, len;
	uint64_t word;

	while (at < n) {
		while (n - at >= sizeof(word)) {
			memcpy(&word, s + at, sizeof(word));
			if ((word & HIGH_BITS) != 0)
				break;
			at += sizeof(word);
		}
		while (at < n && s[at] < 0x80)
			at++;
		while (at < n && s[at] >= 0x80) {
			len = utf8_sequence(s + at, n - at);
			if (len == 0)
				return at;
			at += len;
		}
	}
	return n;
}

static const char base64_digits[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#define NO_DIGIT 0x80

static const unsigned char base64_values[256] = {
#define X NO_DIGIT
	X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X,
	X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X,
	X, X, X, X, X, X, X, X, X, X, X, 62, X, X, X, 63,
	52, 53, 54, 55, 56, 57, 58, 59, 60, 61, X, X, X, X, X, X,
	X, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,
	15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, X, X, X, X, X,
	X, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40,
	41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, X, X, X, X, X,
	X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X,
	X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X,
	X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X,
	X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X,
	X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X,
	X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X,
	X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X,
	X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X,
#undef X
};

/* The 1 to 4 bytes that end the text: two or three digits, padded to four.  Writes to *to and
 * returns how many bytes it made, or -1 with *at the wrong one. */
static int base64_tail(unsigned char *to, const unsigned char *s, size_t n, size_t *at)
{
	unsigned char v[4] = { 0, 0, 0, 0 };
	size_t digits = 0, i;

	while (digits < n && base64_values[s[digits]] != NO_DIGIT) {
		v[digits] = base64_values[s[digits]];
		digits++;
	}
	*at = digits;
	if (digits < 2)
		return -1;
	for (i = digits; i < n; i++, ++*at)
		if (s[i] != '=')
			return -1;
	if (n < 4)
		return -1;
	*at = digits - 1;	/* the digit with bits that stand for nothing */
	if ((digits == 2 && (v[1] & 0x0f) != 0) || (digits == 3 && (v[2] & 0x03) != 0))
		return -1;
	to[0] = (unsigned char)(v[0] << 2 | v[1] >> 4);
	to[1] = (unsigned char)(v[1] << 4 | v[2] >> 2);
	to[2] = (unsigned char)(v[2] << 6 | v[3]);
	return (int)digits - 1;
}

int base64_decode(struct buf *out, const char *s, size_t n, size_t *at)
{
	const unsigned char *from = (const unsigned char *)s, *p = from;
	unsigned char *to, a, b, c, d;
	size_t left = n, wrong;
	int tail = 0;

	buf_reserve(out, n / 4 * 3 + 3);
	to = (unsigned char *)out->data + out->len;
	for (; left > 4; left -= 4, p += 4, to += 3) {
		a = base64_values[p[0]];
		b = base64_values[p[1]];
		c = base64_values[p[2]];
		d = base64_values[p[3]];
		if (((a | b | c | d) & NO_DIGIT) != 0) {
			for (wrong = 0; base64_values[p[wrong]] != NO_DIGIT; wrong++)
				continue;
			*at = (size_t)(p - from) + wrong;
			goto bad;
		}
		to[0] = (unsigned char)(a << 2 | b >> 4);
		to[1] = (unsigned char)(b << 4 | c >> 2);
		to[2] = (unsigned char)(c << 6 | d);
	}
	if (left > 0)
		tail = base64_tail(to, p, left, &wrong);
	if (tail < 0) {
		*at = (size_t)(p - from) + wrong;
		goto bad;
	}
	out->len = (size_t)((char *)to - out->data) + (size_t)tail;
	out->data[out->len] = '\0';
	return 0;
bad:
	out->data[out->len] = '\0';
	return -1;
}

void base64_encode(struct buf *out, const void *p, size_t n)
{
	const unsigned char *s = p;
	unsigned char last[3] = { 0, 0, 0 };
	char *to;

	buf_reserve(out, (n / 3 + 1) * 4);
	to = out->data + out->len;
	for (; n >= 3; n -= 3, s += 3) {
		*to++ = base64_digits[s[0] >> 2];
		*to++ = base64_digits[(s[0] & 3) << 4 | s[1] >> 4];
		*to++ = base64_digits[(s[1] & 15) << 2 | s[2] >> 6];
		*to++ = base64_digits[s[2] & 63];
	}
	if (n > 0) {
		memcpy(last, s, n);
		*to++ = base64_digits[last[0] >> 2];
		*to++ = base64_digits[(last[0] & 3) << 4 | last[1] >> 4];
		*to++ = n == 2 ? base64_digits[(last[1] & 15) << 2] : '=';
		*to++ = '=';
	}
	*to = '\0';
	out->len = (size_t)(to - out->data);
}

/* isalpha() and its family ask the locale. */
static bool is_digit(unsigned char c)
{
	return c >= '0' && c <= '9';
}

static bool is_alpha(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static char ascii_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

void percent_encode(struct buf *out, const void *p, size_t n)
{
	static const char hex[] = "0123456789ABCDEF";
	const unsigned char *s = p;
	size_t i;

	buf_reserve(out, n);
	for (i = 0; i < n; i++) {
		if (is_alpha(s[i]) || is_digit(s[i]) || s[i] == '-' || s[i] == '.' ||
		    s[i] == '_' || s[i] == '~') {
			buf_addc(out, (char)s[i]);
			continue;
		}
		buf_addc(out, '%');
		buf_addc(out, hex[s[i] >> 4]);
		buf_addc(out, hex[s[i] & 15]);
	}
}

/* What stands after a backslash: stores the byte and returns the characters read, or 0. */
static size_t cquote_escape(char *c, const char *s, size_t n)
{
	static const char letters[] = "abtnvfr\"\\";
	static const char bytes[] = "\a\b\t\n\v\f\r\"\\";
	const char *found;

	if (n == 0)
		return 0;
	if (s[0] != '\0' && (found = strchr(letters, s[0])) != NULL) {
		*c = bytes[found - letters];
		return 1;
	}
	if (n < 3 || s[0] < '0' || s[0] > '3' || s[1] < '0' || s[1] > '7' || s[2] < '0' ||
	    s[2] > '7')
		return 0;
	*c = (char)((s[0] - '0') << 6 | (s[1] - '0') << 3 | (s[2] - '0'));
	return 3;
}

size_t cquote_decode(struct buf *out, const char *s, size_t n)
{
	size_t start = out->len, i = 1, used;
	char c;

	if (n < 2 || s[0] != '"')
		return 0;
	buf_reserve(out, n);
	while (i < n) {
		c = s[i++];
		if (c == '"')
			return i;
		if (c == '\\') {
			used = cquote_escape(&c, s + i, n - i);
			if (used == 0)
				break;
			i += used;
		}
		buf_addc(out, c);
	}
	out->len = start;
	out->data[start] = '\0';
	return 0;
}

void hex_encode(char *out, const void *p, size_t n)
{
	static const char hex[] = "0123456789abcdef";
	const unsigned char *s = p;
	size_t i;

	for (i = 0; i < n; i++) {
		*out++ = hex[s[i] >> 4];
		*out++ = hex[s[i] & 15];
	}
	*out = '\0';
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = ascii_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int hex_decode(void *out, const char *s, size_t n)
{
	unsigned char *to = out;
	size_t i;
	int high, low;

	for (i = 0; i < n; i++) {
		high = hex_value(s[2 * i]);
		low = high >= 0 ? hex_value(s[2 * i + 1]) : -1;
		if (low < 0)
			return -1;
		to[i] = (unsigned char)(high << 4 | low);
	}
	return 0;
}

/* Reads the digits at s into *out.  Returns the first character after them, or NULL (no digit, or
 * more than 64 bits). */
static const char *read_digits(uint64_t *out, const char *s)
{
	uint64_t v = 0;
	unsigned digit;

	if (!is_digit((unsigned char)*s))
		return NULL;
	for (; is_digit((unsigned char)*s); s++) {
		digit = (unsigned)(*s - '0');
		if (v > (UINT64_MAX - digit) / 10)
			return NULL;
		v = v * 10 + digit;
	}
	*out = v;
	return s;
}

static int scaled(uint64_t *out, uint64_t v, uint64_t unit, uint64_t min, uint64_t max)
{
	if (unit > 0 && v > UINT64_MAX / unit)
		return -1;
	v *= unit;
	if (v < min || v > max)
		return -1;
	*out = v;
	return 0;
}

int parse_uint(uint64_t *out, const char *s, uint64_t min, uint64_t max)
{
	uint64_t v;

	s = read_digits(&v, s);
	if (s == NULL || *s != '\0')
		return -1;
	return scaled(out, v, 1, min, max);
}

int parse_bytes(uint64_t *out, const char *s, uint64_t min, uint64_t max)
{
	uint64_t v, unit = 1;

	s = read_digits(&v, s);
	if (s == NULL)
		return -1;
	switch (ascii_lower(*s)) {
	case 'g':
		unit *= 1024;
		/* fall through */
	case 'm':
		unit *= 1024;
		/* fall through */
	case 'k':
		unit *= 1024;
		s++;
		if (ascii_lower(s[0]) == 'i' && ascii_lower(s[1]) == 'b')
			s += 2;
		else if (ascii_lower(s[0]) == 'b')
			s++;
		break;
	default:
		break;
	}
	return *s == '\0' ? scaled(out, v, unit, min, max) : -1;
}

int parse_duration_ms(uint64_t *out, const char *s, uint64_t unit_ms, uint64_t max_ms)
{
	static const struct {
		const char *name;
		uint64_t ms;
	} units[] = {
		{ "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "d", 86400000 },
	};
	uint64_t v;
	size_t i;

	s = read_digits(&v, s);
	if (s == NULL)
		return -1;
	if (*s == '\0')
		return scaled(out, v, unit_ms, 0, max_ms);
	for (i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strcmp(s, units[i].name) == 0)
			return scaled(out, v, units[i].ms, 0, max_ms);
	return -1;
}

static void add_escaped(struct buf *out, const unsigned char *p, size_t n)
{
	char hex[3];

	for (; n > 0; n--, p++) {
		hex_encode(hex, p, 1);
		buf_add(out, "\\x", 2);
		buf_add(out, hex, 2);
	}
}

uint32_t text_code_point(const char *p, size_t n, size_t *len)
{
	static const unsigned char first_bits[] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
	const unsigned char *s = (const unsigned char *)p;
	uint32_t c;

	*len = utf8_sequence(s, n);
	if (*len == 0) {
		*len = 1;
		return UINT32_MAX;
	}
	c = s[0] & first_bits[*len];
	for (size_t i = 1; i < *len; i++)
		c = c << 6 | (s[i] & 0x3f);
	return c;
}

/* Unicode 15: the controls (Cc), the separators of lines and paragraphs, and of the format characters (Cf)
 * and what else is to be ignored those that order, hide or mark others.  In ascending order. */
bool text_acts(uint32_t c)
{
	static const uint32_t ranges[][2] = {
		{ 0x00, 0x1f }, { 0x7f, 0x9f },
		{ 0xad, 0xad },		/* soft hyphen */
		{ 0x61c, 0x61c },	/* Arabic letter mark */
		{ 0x180e, 0x180e },	/* Mongolian vowel separator */
		{ 0x200b, 0x200b },	/* zero width space */
		{ 0x200e, 0x200f },	/* left-to-right and right-to-left mark */
		{ 0x2028, 0x202e },	/* separators; embeddings and overrides */
		{ 0x2060, 0x206f },	/* word joiner, invisible operators; isolates; deprecated ones */
		{ 0xfeff, 0xfeff },	/* byte order mark */
		{ 0xfff9, 0xfffb },	/* annotations */
		{ 0xe0000, 0xe007f },	/* tags */
		{ UINT32_MAX, UINT32_MAX },
	};

	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]) && c >= ranges[i][0]; i++)
		if (c <= ranges[i][1])
			return true;
	return false;
}

void text_printable(struct buf *out, const void *p, size_t n, size_t max)
{
	const char *s = p;
	size_t i, len;

	for (i = 0; i < n; i += len) {
		uint32_t c = text_code_point(s + i, n - i, &len);

		if (i + len > max) {
			buf_add(out, "...", 3);
			return;
		}
		if (text_acts(c))
			add_escaped(out, (const unsigned char *)s + i, len);
		else
			buf_add(out, s + i, len);
	}
}

size_t text_start(const char *p, size_t n, size_t lines, size_t max)
{
	const char *newline;
	size_t end = 0;

	for (; lines > 0 && end < n; lines--) {
		newline = memchr(p + end, '\n', n - end);
		end = (newline != NULL ? (size_t)(newline - p) : n) + 1;
	}
	end = end > 0 ? end - 1 : 0;
	if (end <= max)
		return end;
	while (max > 0 && ((unsigned char)p[max] & 0xc0) == 0x80)
		max--;
	return max;
}

uint64_t text_lines(const char *p, size_t n)
{
	const char *end = p + n, *newline;
	uint64_t lines = 0;

	while (p < end) {
		lines++;
		newline = memchr(p, '\n', (size_t)(end - p));
		if (newline == NULL)
			break;
		p = newline + 1;
	}
	return lines;
}

static bool is_space(unsigned char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_punct(unsigned char c)
{
	return c > ' ' && c < 0x7f && !is_alpha(c) && !is_digit(c);
}

/* [:name:] at p: sets *in where c is one and returns what follows it, or NULL if it is none. */
static const char *glob_class(const char *p, unsigned char c, bool *in)
{
	static const char *const names[] = { "alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower",
		"print", "punct", "space", "upper", "xdigit" };
	const bool is[] = { is_alpha(c) || is_digit(c), is_alpha(c), c == ' ' || c == '\t', c < 0x20 || c == 0x7f,
		is_digit(c), c > ' ' && c < 0x7f, c >= 'a' && c <= 'z', c >= ' ' && c < 0x7f, is_punct(c),
		is_space(c), c >= 'A' && c <= 'Z', c < 0x80 && hex_value((char)c) >= 0 };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		size_t n = strlen(names[i]);

		if (strncmp(p + 2, names[i], n) == 0 && p[n + 2] == ':' && p[n + 3] == ']') {
			*in |= is[i];
			return p + n + 4;
		}
	}
	return NULL;
}

/* The bracket expression at p ('['): sets *in to whether c is a member and returns what follows it,
 * or NULL if it has no end or a class that there is not: such a pattern matches nothing. */
static const char *glob_bracket(const char *p, unsigned char c, bool *in)
{
	bool negated = false, found = false;
	unsigned char low, high;
	const char *first, *end;

	p++;
	if (*p == '!' || *p == '^') {
		negated = true;
		p++;
	}
	for (first = p; *p != '\0' && (*p != ']' || p == first);) {
		end = p[0] == '[' && p[1] == ':' ? strchr(p + 2, ']') : NULL;
		if (end != NULL && end > p + 2 && end[-1] == ':') {
			p = glob_class(p, c, &found);
			if (p == NULL)
				return NULL;
			continue;
		}
		if (*p == '\\' && *++p == '\0')
			return NULL;
		low = high = (unsigned char)*p++;
		if (*p == '-' && p[1] != ']' && p[1] != '\0') {
			p++;
			if (*p == '\\' && *++p == '\0')
				return NULL;
			high = (unsigned char)*p++;
		}
		if ((c >= low && c <= high) || c == low)
			found = true;
	}
	*in = found != negated;
	return *p == ']' ? p + 1 : NULL;
}

/* Matches one pattern element that is no star against the text at *s.  Moves both on, or returns
 * false. */
static bool glob_one(const char **pattern, const char **text)
{
	const char *p = *pattern, *s = *text;
	bool in = true;

	if (*s == '\0' || *p == '\0')
		return false;
	if (*p == '?') {
		in = *s != '/';
		p++;
	} else if (*p == '[') {
		p = glob_bracket(p, (unsigned char)*s, &in);
		if (p == NULL || *s == '/')
			return false;
	} else {
		if (*p == '\\')
			p++;
		in = *p++ == *s;
	}
	if (!in)
		return false;
	*pattern = p;
	*text = s + 1;
	return true;
}

/* A place to come back to when what follows a star does not fit. */
struct glob_retry {
	const char *pattern;	/* after the star; NULL: none yet */
	const char *text;	/* what the star has taken ends here */
	bool folders;		/* a "**" and its slash: takes whole parts, or nothing */
};

/* Lets a star that crosses slashes take a little more.  False when there is no more. */
static bool glob_widen(struct glob_retry *r)
{
	if (r->pattern == NULL || *r->text == '\0')
		return false;
	if (!r->folders) {
		r->text++;
		return true;
	}
	r->text = strchr(r->text, '/');
	if (r->text == NULL) {
		r->pattern = NULL;
		return false;
	}
	r->text++;
	return true;
}

/* Coming back to the last star of each kind is enough: an earlier one could only give it a later
 * start, which it reaches by itself.  So the time is bounded by pattern times text. */
bool text_glob(const char *pattern, const char *path)
{
	struct glob_retry wide = { NULL, NULL, false }, narrow = { NULL, NULL, false };
	const char *p = pattern, *s = path;

	for (;;) {
		if (*p == '*') {
			const char *end = p + strspn(p, "*");
			bool part = (p == pattern || p[-1] == '/') && (*end == '/' || *end == '\0');

			if (end - p > 1 && part) {
				wide.folders = *end == '/';
				wide.pattern = p = end + wide.folders;
				wide.text = s;
				narrow.pattern = NULL;
			} else {
				narrow.pattern = p = end;
				narrow.text = s;
			}
		} else if (*p == '\0' && *s == '\0') {
			return true;
		} else if (!glob_one(&p, &s)) {
			if (narrow.pattern != NULL && *narrow.text != '\0' && *narrow.text != '/') {
				p = narrow.pattern;
				s = ++narrow.text;
				continue;
			}
			if (!glob_widen(&wide))
				return false;
			narrow.pattern = NULL;
			p = wide.pattern;
			s = wide.text;
		}
	}
}
