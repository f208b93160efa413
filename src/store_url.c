/* What Chroma means where no tenant and database are named (the only store with a path). */
#define CHROMA_DEFAULTS "/default_tenant/default_database"
#define CHROMA_API "/api/v2"	/* where its API begins, behind a prefix */
#define EMBEDDINGS "/v1/embeddings"	/* where a URL does not say otherwise */

/* The canonical form names a store in its checkpoint file: two spellings of one address must meet
 * in the same file, or documents would be stored by two states that do not know of each other. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "alloc.h"
#include "buf.h"
#include "cleanup.h"
#include "store_url.h"
#include "text.h"

struct host {
	char *given;		/* owned; lower case, brackets included */
	char *canonical;	/* owned */
	bool loopback;
};

static int refuse(char **why, char *text)
{
	*why = text;
	return -1;
}

static void lower(char *s)
{
	for (; *s; s++)
		if (*s >= 'A' && *s <= 'Z')
			*s += 'a' - 'A';
}

/* Refused before anything is taken apart, so that a message never repeats a password. */
static int check_bytes(const char *s, char **why)
{
	const char *slashes = strstr(s, "//");

	for (const char *p = s; *p; p++)
		if ((unsigned char)*p <= 0x20 || *p == 0x7f || *p == '\\')
			return refuse(why, xstrdup("a URL holds no blanks, backslashes or control "
						   "characters"));
	if (utf8_check(s, strlen(s)) != strlen(s))
		return refuse(why, xstrdup("the URL is not valid UTF-8"));
	if (slashes && memchr(slashes + 2, '@', strcspn(slashes + 2, "/?#")))
		return refuse(why, xstrdup("the URL holds a user name; give a key in a "
					   "file or in the environment"));
	if (strchr(s, '#'))
		return refuse(why, xstrdup("the URL holds a fragment ('#'), which is never sent"));
	return 0;
}

/* The query may be a key: it is not repeated. */
static int no_query(const char *s, char **why)
{
	if (strchr(s, '?'))
		return refuse(why, xstrdup("a store's URL has no query ('?')"));
	return 0;
}

static const char *scheme_end(const char *s, bool *tls)
{
	*tls = !strncasecmp(s, "https://", 8);
	if (*tls)
		return s + 8;
	return strncasecmp(s, "http://", 7) ? NULL : s + 7;
}

static bool parse_ipv6(struct host *h)
{
	size_t n = strlen(h->given);
	char text[INET6_ADDRSTRLEN];
	autofree char *bare = NULL;
	struct in6_addr a;

	if (n < 4 || h->given[n - 1] != ']')
		return false;
	bare = xmemdup0(h->given + 1, n - 2);
	if (inet_pton(AF_INET6, bare, &a) != 1)
		return false;
	h->loopback = IN6_IS_ADDR_LOOPBACK(&a);
	if (h->loopback)
		h->canonical = xstrdup("localhost");
	else if (inet_ntop(AF_INET6, &a, text, sizeof(text)))
		h->canonical = xasprintf("[%s]", text);
	return h->canonical != NULL;
}

static bool name_ok(const char *s)
{
	static const char set[] = "abcdefghijklmnopqrstuvwxyz0123456789._-";

	return *s && *s != '.' && *s != '-' && !strstr(s, "..") && s[strspn(s, set)] == '\0';
}

static bool parse_host(struct host *h)
{
	struct in_addr a;
	size_t n;

	if (h->given[0] == '[')
		return parse_ipv6(h);
	if (!name_ok(h->given))
		return false;
	n = strlen(h->given);
	h->canonical = xmemdup0(h->given, h->given[n - 1] == '.' ? n - 1 : n);
	/* Only what inet_pton reads is an address: "127.example.org" is another machine. */
	if (inet_pton(AF_INET, h->canonical, &a) == 1)
		h->loopback = ntohl(a.s_addr) >> 24 == 127;
	else
		h->loopback = !strcmp(h->canonical, "localhost");
	if (!strcmp(h->canonical, "127.0.0.1")) {
		free(h->canonical);
		h->canonical = xstrdup("localhost");
	}
	return true;
}

/* n bytes of HOST[:PORT]. */
static int parse_authority(struct store_url *u, struct host *h, const char *s, size_t n,
			   uint64_t *port, char **why)
{
	autofree char *all = xmemdup0(s, n);
	char *name_end = *all == '[' ? strchr(all, ']') : all;
	char *colon = name_end ? strchr(name_end, ':') : NULL;

	*port = u->tls ? 443 : 80;
	if (colon) {
		*colon = '\0';
		if (parse_uint(port, colon + 1, 1, 65535) < 0)
			return refuse(why, xasprintf("'%s' is no port (1 to 65535)", colon + 1));
	}
	lower(all);
	h->given = xstrdup(all);
	if (!parse_host(h))
		return refuse(why, xasprintf("'%s' is no host name or address", all));
	return 0;
}

/* Appends n bytes of one path segment, %XX read and everything but unreserved bytes written as
 * %XX again.  0, or -1 if it is not well formed. */
static int add_segment(struct buf *out, const char *s, size_t n)
{
	auto_buf struct buf plain = BUF_INIT;
	unsigned char c;

	for (size_t i = 0; i < n; i++) {
		c = (unsigned char)s[i];
		if (c == '%') {
			if (n - i < 3 || hex_decode(&c, s + i + 1, 1) < 0)
				return -1;
			i += 2;
			if (c < 0x20 || c == 0x7f || c == '/')
				return -1;
		}
		buf_addc(&plain, (char)c);
	}
	if (!plain.len || !strcmp(plain.data, ".") || !strcmp(plain.data, "..") ||
	    utf8_check(plain.data, plain.len) != plain.len)
		return -1;
	buf_addc(out, '/');
	percent_encode(out, plain.data, plain.len);
	return 0;
}

static int parse_path(struct store_url *u, const char *s, int *segments, char **why)
{
	auto_buf struct buf out = BUF_INIT;
	size_t n = strlen(s), len;

	*segments = 0;

	while (n && s[n - 1] == '/')
		n--;
	for (size_t i = 0; i < n; i += len, ++*segments) {
		i++;
		for (len = 0; i + len < n && s[i + len] != '/'; len++)
			;
		if (add_segment(&out, s + i, len) < 0)
			return refuse(why, xasprintf("'%s' is no path of a URL", s));
	}
	u->path = buf_detach(&out);
	return 0;
}

static int parse_rest(struct store_url *u, struct host *h, const char *authority, int *segments,
		      uint64_t *port, char **why)
{
	size_t n = strcspn(authority, "/");

	if (parse_authority(u, h, authority, n, port, why) < 0 ||
	    parse_path(u, authority + n, segments, why) < 0)
		return -1;
	u->loopback = h->loopback;
	u->base = xasprintf("%s://%s:%u", u->tls ? "https" : "http", h->given, (unsigned)*port);
	return 0;
}

/* Where whole segments of path are those of part, the first time; NULL: nowhere. */
static char *find_segments(char *path, const char *part)
{
	size_t n = strlen(part);

	for (char *p = path; (p = strstr(p, part)); p++)
		if (p[n] == '\0' || p[n] == '/')
			return p;
	return NULL;
}

/* PREFIX/api/v2[/TENANT/DATABASE], [/TENANT/DATABASE]: the prefix goes to base.  *canonical: how the whole
 * path is written, which is owned. */
static int split_chroma(struct store_url *u, int segments, char **canonical, char **why)
{
	char *api = find_segments(u->path, CHROMA_API), *given = u->path;
	const char *rest = api ? api + strlen(CHROMA_API) : given;
	autofree char *prefix = xmemdup0(given, api ? (size_t)(api - given) : 0), *base = NULL;
	bool defaults = *rest == '\0' || strcmp(rest, CHROMA_DEFAULTS) == 0, marked;

	for (const char *p = given; p < rest; p++)
		segments -= *p == '/';
	if (segments != 0 && segments != 2)
		return refuse(why, xasprintf("Chroma's URL ends after the port or with /TENANT/DATABASE, not with "
					     "'%s'; behind a path of a proxy, write '/PATH" CHROMA_API
					     "' before these", rest));
	base = u->base;
	u->path = xstrdup(rest);
	u->base = xasprintf("%s%s", base, prefix);
	marked = *prefix || strcmp(rest, CHROMA_API) == 0;	/* these could be tenant and database */
	*canonical = xasprintf("%s%s%s", prefix, marked ? CHROMA_API : "", defaults ? "" : rest);
	free(given);
	return 0;
}

static int parse_store(struct store_url *u, struct host *h, const char *s, char **why)
{
	const char *colon = strchr(s, ':'), *authority;
	autofree char *path = NULL;
	uint64_t port;
	int segments;

	authority = colon ? scheme_end(colon + 1, &u->tls) : NULL;
	if (!authority || colon == s)
		return refuse(why, xasprintf("store '%s' is not DRIVER:URL, as in "
					     "chroma:http://localhost:8000", s));
	u->driver = xmemdup0(s, (size_t)(colon - s));
	lower(u->driver);
	if (no_query(s, why) < 0 || parse_rest(u, h, authority, &segments, &port, why) < 0)
		return -1;
	if (segments != 0 && strcmp(u->driver, "chroma") != 0)
		return refuse(why, xasprintf("a %s's URL ends after the port, not with '%s'", u->driver,
					     u->path));
	if (segments != 0 && split_chroma(u, segments, &path, why) < 0)
		return -1;
	u->canonical = xasprintf("%s:%s://%s:%u%s", u->driver, u->tls ? "https" : "http",
				 h->canonical, (unsigned)port, path ? path : "");
	return 0;
}

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), k = strlen(end);

	return n >= k && strcmp(s + n - k, end) == 0;
}

static char *endpoint(const char *path)
{
	return xasprintf("%s%s", path, ends_with(path, "/embeddings") ? "" :
			 ends_with(path, "/v1") ? "/embeddings" : EMBEDDINGS);
}

/* The shortest path with the endpoint of u. */
static char *shortest(const struct store_url *u)
{
	autofree char *again = NULL;
	char *path = xstrdup(u->path);

	if (!ends_with(path, EMBEDDINGS))
		return path;
	path[strlen(path) - strlen(EMBEDDINGS)] = '\0';
	again = endpoint(path);		/* of /v1/v1/embeddings, /v1 would be another's */
	if (strcmp(again, u->path) == 0)
		return path;
	free(path);
	return xstrdup(u->path);
}

/* Whether a parameter of this name carries a key, by what such parameters are called. */
static bool names_secret(const char *name)
{
	static const char *const parts[] = { "key", "token", "secret", "passw", "credential", "signature", "auth" };
	static const char *const wholes[] = { "sig", "code", "pwd" };

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (strcasestr(name, parts[i]))
			return true;
	for (size_t i = 0; i < sizeof(wholes) / sizeof(wholes[0]); i++)
		if (!strcasecmp(name, wholes[i]))
			return true;
	return false;
}

/* Appends a query, '+', '=' and '&' as they are (they have meanings), what need not be escaped unescaped,
 * and what must be escaped.  0, or -1 if it is not well formed. */
static int add_query(struct buf *out, const char *s)
{
	static const char plain[] = "!$&'()*+,;=:@/?-._~";

	for (; *s; s++) {
		unsigned char c = (unsigned char)*s, read;
		bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');

		if (c == '%') {
			if (!s[1] || !s[2] || hex_decode(&read, s + 1, 1) < 0 || read < 0x20 || read == 0x7f)
				return -1;
			percent_encode(out, &read, 1);
			s += 2;
		} else if (alnum || strchr(plain, c)) {
			buf_addc(out, (char)c);
		} else {
			percent_encode(out, s, 1);
		}
	}
	return 0;
}

/* NULL for none.  What is kept in a state and shown must be no key. */
static int parse_query(char **query, const char *s, char **why)
{
	auto_buf struct buf out = BUF_INIT;
	size_t n, name;

	*query = NULL;
	if (!*s)
		return 0;
	if (add_query(&out, s) < 0)
		return refuse(why, xstrdup("the URL's query is not well formed"));
	for (const char *p = out.data; *p; p += n + (p[n] == '&')) {
		autofree char *text = NULL;

		n = strcspn(p, "&");
		name = strcspn(p, "&=");
		text = xmemdup0(p, name);
		if (names_secret(text))
			return refuse(why, xasprintf("'%s' in the URL's query looks like a key, which would be kept and "
						     "shown; servers take one in a header, too: --embed-key-file, "
						     "--embed-header-file", text));
	}
	*query = buf_detach(&out);
	return 0;
}

static int parse_embedder(struct store_url *u, struct host *h, const char *s, char **why)
{
	autofree char *before = xmemdup0(s, strcspn(s, "?")), *query = NULL;
	autofree char *given = NULL, *whole = NULL, *path = NULL;
	const char *authority = scheme_end(before, &u->tls), *asked;
	int segments;
	uint64_t port;

	if (!authority)
		return refuse(why, xasprintf("'%s' is no URL of an embedding server, as is "
					     "http://localhost:8080", before));
	u->driver = xstrdup("openai");
	if (parse_query(&query, s + strlen(before) + (s[strlen(before)] == '?'), why) < 0 ||
	    parse_rest(u, h, authority, &segments, &port, why) < 0)
		return -1;
	given = u->path;
	u->path = endpoint(given);
	path = shortest(u);
	asked = query ? "?" : "";
	u->canonical = xasprintf("%s%s%s%s", u->base, path, asked, query ? query : "");
	whole = u->path;
	u->path = xasprintf("%s%s%s", whole, asked, query ? query : "");
	return 0;
}

static int parse(struct store_url *u, const char *s, char **why,
		 int (*form)(struct store_url *u, struct host *h, const char *s, char **why))
{
	struct host h = { NULL, NULL, false };
	int r;

	*u = (struct store_url){ 0 };
	*why = NULL;
	r = check_bytes(s, why) < 0 ? -1 : form(u, &h, s, why);
	free(h.given);
	free(h.canonical);
	if (r < 0)
		store_url_release(u);
	return r;
}

int store_url_parse(struct store_url *u, const char *s, char **why)
{
	return parse(u, s, why, parse_store);
}

int store_url_parse_embedder(struct store_url *u, const char *s, char **why)
{
	return parse(u, s, why, parse_embedder);
}

void store_url_release(struct store_url *u)
{
	free(u->driver);
	free(u->base);
	free(u->path);
	free(u->canonical);
	*u = (struct store_url){ 0 };
}
