/* store_url: --store DRIVER:URL to its canonical parts. */
#ifndef LINESYNC_STORE_URL_H
#define LINESYNC_STORE_URL_H

#include <stdbool.h>

struct store_url {
	char *driver;		/* owned: "chroma" */
	char *base;		/* owned: "http://localhost:8000", lower case, port always there; of a Chroma
				 * behind a path "https://example.com:443/path" */
	char *path;		/* owned: "" or "/tenant/database", no trailing slash; each part is
				 * percent-encoded, ready to stand in a URL; an embedder's query is its end */
	char *canonical;	/* owned: DRIVER:BASE PATH; 127.0.0.1, [::1] and localhost are "localhost" */
	bool loopback;		/* the host is this machine: a key may travel over plain http */
	bool tls;
};

/* Parses s.  Returns 0, or -1 with a message (owned by the caller) in *why.  User names in URLs,
 * queries, fragments, control characters and other schemes are refused.  base keeps the host as it
 * was given (127.0.0.1 stays), canonical does not.  What stands before the first /api/v2 of Chroma's path
 * is where its API is, what stands behind it, or all without one, tenant and database. */
int store_url_parse(struct store_url *u, const char *s, char **why);
/* The same for --embed: http(s)://HOST[:PORT][/PATH].  driver is "openai", and path the whole path of
 * the endpoint: /v1/embeddings is added to the one given, or what of it is missing at its end; one that
 * ends in /embeddings stays.  A query stays behind it; a parameter that is named like a key is refused,
 * without repeating it.  canonical is a URL too, in one spelling but with the host as it was given (a
 * server that moves is no other embedder), without /v1/embeddings at its end. */
int store_url_parse_embedder(struct store_url *u, const char *s, char **why);
void store_url_release(struct store_url *u);

#endif
