#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "alloc.h"
#include "blank.h"
#include "cleanup.h"
#include "json.h"
#include "text.h"

#define IN_PLACE "***"

struct form {
	char *text;	/* owned */
	size_t len;
};

/* What to look for: the longest first, so that no part of one is left of it. */
static struct form *forms;
static size_t nforms;

/* ---- the ways in which a secret is written ---- */

static void add_form(const char *s, size_t n)
{
	size_t at = 0;

	if (n < BLANK_MIN)
		return;
	while (at < nforms && (forms[at].len > n || (forms[at].len == n && memcmp(forms[at].text, s, n) != 0)))
		at++;
	if (at < nforms && forms[at].len == n)
		return;
	forms = xrealloc(forms, (nforms + 1) * sizeof(*forms));
	memmove(forms + at + 1, forms + at, (nforms - at) * sizeof(*forms));
	forms[at] = (struct form){ xmemdup0(s, n), n };
	nforms++;
}

/* Also with the hexadecimal digits in lower case. */
static void add_percent(const char *s, size_t n)
{
	auto_buf struct buf b = BUF_INIT;

	percent_encode(&b, s, n);
	add_form(b.data, b.len);
	for (size_t i = 0; i < b.len; i++)
		if (b.data[i] == '%')
			for (size_t k = i + 1; k < i + 3; k++)
				if (b.data[k] >= 'A' && b.data[k] <= 'F')
					b.data[k] += 'a' - 'A';
	add_form(b.data, b.len);
}

/* Also with "\/", as PHP writes it. */
static void add_json(const char *s)
{
	auto_buf struct buf plain = BUF_INIT, slashes = BUF_INIT;

	json_cstr(&plain, s);
	add_form(plain.data + 1, plain.len - 2);
	for (size_t i = 1; i + 1 < plain.len; i++) {
		if (plain.data[i] == '/')
			buf_addc(&slashes, '\\');
		buf_addc(&slashes, plain.data[i]);
	}
	add_form(slashes.data, slashes.len);
}

static void add_both_alphabets(char *s, size_t n)
{
	add_form(s, n);
	for (size_t i = 0; i < n; i++)
		s[i] = s[i] == '+' ? '-' : s[i] == '/' ? '_' : s[i];
	add_form(s, n);
}

/* Within something longer, such as "user:KEY", it begins at one of three places in a group of three bytes.
 * Digits that also stand for a byte beside it are not its own. */
static void add_base64(const char *s, size_t n)
{
	for (size_t before = 0; before < 3; before++) {
		auto_buf struct buf bytes = BUF_INIT, digits = BUF_INIT;
		size_t first = (before * 8 + 5) / 6, end = (before + n) * 8 / 6;

		buf_add(&bytes, "\0\0", before);
		buf_add(&bytes, s, n);
		base64_encode(&digits, bytes.data, bytes.len);
		add_both_alphabets(digits.data + first, end - first);
	}
}

static void know(const char *s, size_t n)
{
	autofree char *text = NULL;

	while (n > 0 && *s == ' ')
		s++, n--;
	while (n > 0 && s[n - 1] == ' ')
		n--;
	if (n < BLANK_MIN)
		return;
	text = xmemdup0(s, n);
	add_form(text, n);
	add_percent(text, n);
	add_json(text);
	add_base64(text, n);
}

/* ---- secrets ---- */

void blank_know(const char *secret)
{
	know(secret, strlen(secret));
}

/* "user:password", or a name alone. */
static void know_user(const char *s, size_t n)
{
	const char *colon = memchr(s, ':', n);

	know(s, n);
	if (colon != NULL)
		know(colon + 1, n - (size_t)(colon + 1 - s));
}

void blank_know_header(const char *line)
{
	auto_buf struct buf user = BUF_INIT;
	const char *value = strchr(line, ':'), *rest;
	size_t at;

	value = value != NULL ? value + 1 : line;
	value += strspn(value, " ");
	blank_know(value);
	rest = strchr(value, ' ');
	if (rest == NULL)
		return;
	rest += strspn(rest, " ");
	blank_know(rest);
	if (strncasecmp(value, "Basic ", 6) == 0 && base64_decode(&user, rest, strcspn(rest, " "), &at) == 0 &&
	    user.len > 0)
		know_user(user.data, user.len);
}

/* n bytes with their %XX read, as libcurl reads them before it sends them. */
static void percent_decode(struct buf *out, const char *s, size_t n)
{
	unsigned char c;

	for (size_t i = 0; i < n; i++)
		if (s[i] == '%' && n - i >= 3 && hex_decode(&c, s + i + 1, 1) == 0) {
			buf_addc(out, (char)c);
			i += 2;
		} else {
			buf_addc(out, s[i]);
		}
}

static void know_proxy(const char *url)
{
	const char *host = strstr(url, "://"), *at = NULL;
	auto_buf struct buf user = BUF_INIT;
	size_t n;

	host = host != NULL ? host + 3 : url;
	n = strcspn(host, "/?#");
	for (size_t i = 0; i < n; i++)
		if (host[i] == '@')
			at = host + i;
	if (at == NULL)
		return;
	know_user(host, (size_t)(at - host));
	percent_decode(&user, host, (size_t)(at - host));
	know_user(user.data != NULL ? user.data : "", user.len);
}

void blank_know_proxies(void)
{
	static const char *const names[] = {
		"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *url = getenv(names[i]);

		if (url != NULL)
			know_proxy(url);
	}
}

/* ---- texts ---- */

/* The length of the secret that begins here, or 0. */
static size_t secret_at(const char *p, size_t n)
{
	for (size_t i = 0; i < nforms; i++)
		if (forms[i].len <= n && *p == forms[i].text[0] && memcmp(p, forms[i].text, forms[i].len) == 0)
			return forms[i].len;
	return 0;
}

void blank_text(struct buf *out, const void *p, size_t n)
{
	const char *s = p;
	size_t done = 0, len;

	for (size_t i = 0; i < n;) {
		len = secret_at(s + i, n - i);
		if (len == 0) {
			i++;
			continue;
		}
		buf_add(out, s + done, i - done);
		buf_adds(out, IN_PLACE);
		done = i += len;
	}
	buf_add(out, s + done, n - done);
}
