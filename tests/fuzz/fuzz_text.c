/* text.c against slow and simple second opinions, and against itself there and back. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

/* Decodes by the book: gathers the bits first, then asks whether they were allowed. */
static size_t naive_utf8(const uint8_t *p, size_t n)
{
	static const uint32_t least[] = { 0, 0x80, 0x800, 0x10000 };
	size_t i, more, k;
	uint32_t u;

	for (i = 0; i < n; i += more + 1) {
		if (p[i] < 0x80)
			more = 0, u = p[i];
		else if (p[i] >> 5 == 6)
			more = 1, u = p[i] & 31;
		else if (p[i] >> 4 == 14)
			more = 2, u = p[i] & 15;
		else if (p[i] >> 3 == 30)
			more = 3, u = p[i] & 7;
		else
			return i;
		for (k = 1; k <= more; k++) {
			if (i + k >= n || p[i + k] >> 6 != 2)
				return i;
			u = u << 6 | (p[i + k] & 63);
		}
		if (u < least[more] || u > 0x10ffff || (u >= 0xd800 && u <= 0xdfff))
			return i;
	}
	return n;
}

/* Tries every length for every star.  Neither brackets nor backslashes. */
static bool naive_glob(const char *start, const char *p, const char *s)
{
	bool wide, folders;
	const char *at = p;

	if (*p == '\0')
		return *s == '\0';
	if (*p != '*') {
		if (*s == '\0' || (*p == '?' ? *s == '/' : *p != *s))
			return false;
		return naive_glob(start, p + 1, s + 1);
	}
	while (*p == '*')
		p++;
	wide = p - at > 1 && (at == start || at[-1] == '/') && (*p == '\0' || *p == '/');
	folders = wide && *p == '/';
	if (folders)
		p++;
	for (at = s;; s++) {
		if ((!folders || s == at || s[-1] == '/') && naive_glob(start, p, s))
			return true;
		if (*s == '\0' || (!wide && *s == '/'))
			return false;
	}
}

/* Few letters, so that matches happen: the first byte says where the pattern ends. */
static void check_glob(const uint8_t *data, size_t n)
{
	static const char pattern_letters[] = "ab/*?*/*", path_letters[] = "ab/a/bab";
	char pattern[13], path[17];
	size_t i, np, ns;

	if (n < 2)
		return;
	np = data[0] % sizeof(pattern);
	for (i = 0; i < np && i + 1 < n; i++)
		pattern[i] = pattern_letters[data[i + 1] % 8];
	pattern[i] = '\0';
	for (ns = 0; ns + 1 < sizeof(path) && i + ns + 1 < n; ns++)
		path[ns] = path_letters[data[i + ns + 1] % 8];
	path[ns] = '\0';
	if (text_glob(pattern, path) != naive_glob(pattern, pattern, path))
		abort();
}

/* Any bytes at all, brackets included: only that it ends, and reads no further than it may. */
static void check_glob_bounds(const char *text, size_t n)
{
	size_t half = strlen(text);

	text_glob(text, half < n ? text + half + 1 : "a/b");
}

static void check_base64(const char *text, size_t n)
{
	auto_buf struct buf coded = BUF_INIT, plain = BUF_INIT;
	size_t at = 0;

	base64_encode(&coded, text, n);
	if (base64_decode(&plain, coded.data, coded.len, &at) < 0 || plain.len != n ||
	    memcmp(plain.data, text, n) != 0)
		abort();
	buf_reset(&coded);
	buf_reset(&plain);
	if (base64_decode(&plain, text, n, &at) < 0) {
		if (plain.len != 0 || at > n)
			abort();
		return;
	}
	base64_encode(&coded, plain.data, plain.len);
	if (coded.len != n || memcmp(coded.data, text, n) != 0)
		abort();
}

static void check_printable(const char *text, size_t n)
{
	auto_buf struct buf b = BUF_INIT;
	size_t i;

	text_printable(&b, text, n, n / 2);
	if (b.len > 0 && utf8_check(b.data, b.len) != b.len)
		abort();
	for (i = 0; i < b.len; i++)
		if ((unsigned char)b.data[i] < 0x20 || b.data[i] == 0x7f)
			abort();
}

static void check_rest(const char *text, size_t n)
{
	auto_buf struct buf b = BUF_INIT;
	auto_buf struct buf bytes = BUF_INIT;
	uint64_t v;

	buf_adds(&b, "x");
	if (cquote_decode(&b, text, n) > n || b.len > n + 1)
		abort();
	buf_reset(&b);
	buf_reserve(&b, 2 * n + 1);
	buf_reserve(&bytes, n + 1);
	hex_encode(b.data, text, n);
	if (hex_decode(bytes.data, b.data, n) < 0 || memcmp(bytes.data, text, n) != 0)
		abort();
	hex_decode(bytes.data, text, n / 2);
	percent_encode(&b, text, n);
	if (parse_uint(&v, text, 3, 1000) == 0 && (v < 3 || v > 1000))
		abort();
	if (parse_bytes(&v, text, 3, 100000) == 0 && (v < 3 || v > 100000))
		abort();
	if (parse_duration_ms(&v, text, 1000, 100000) == 0 && v > 100000)
		abort();
	if (text_lines(text, n) > n)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char *text = malloc(n + 1);

	if (text == NULL)
		return 0;
	if (n > 0)
		memcpy(text, data, n);
	text[n] = '\0';
	if (utf8_check(text, n) != naive_utf8((const uint8_t *)text, n))
		abort();
	check_base64(text, n);
	check_glob(data, n);
	check_glob_bounds(text, n);
	check_printable(text, n);
	check_rest(text, n);
	free(text);
	return 0;
}
