#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "connect.h"
#include "log.h"
#include "secret.h"

#define MAX_REPLY (64u << 20)

static int no_store(void)
{
	const struct driver *const *d = driver_all();

	log_err("no store is named; use --store or LINESYNC_STORE, in this form:");
	for (; *d != NULL; d++)
		log_note("  --store %s", (*d)->example);
	return 64;
}

/* --store, or what Weaviate's own tools read. */
static char *default_store(const struct options *o)
{
	const char *weaviate = getenv("WCD_URL");

	if (o->store != NULL)
		return xstrdup(o->store);
	if (weaviate == NULL || weaviate[0] == '\0')
		weaviate = getenv("WEAVIATE_URL");
	return weaviate != NULL && weaviate[0] != '\0' ? xasprintf("weaviate:%s", weaviate) : NULL;
}

int connection_name(struct connection *c, const struct options *o, const char *store_text,
		    const char *collection)
{
	char *text = store_text != NULL ? xstrdup(store_text) : default_store(o);
	char *why = NULL, *changed = NULL;
	struct store *s = &c->store;
	int bad;

	if (text == NULL)
		return no_store();
	bad = store_url_parse(&s->url, text, &why);
	free(text);
	if (bad == 0) {
		s->driver = driver_find(s->url.driver);
		if (s->driver == NULL) {
			log_err("there is no store '%s' in this linesync", s->url.driver);
			return no_store();
		}
		if (collection == NULL) {
			log_err("no collection is named; use --collection NAME or LINESYNC_COLLECTION");
			return 64;
		}
		bad = s->driver->check_name(collection, &changed, &why);
	}
	if (bad != 0) {
		log_err("%s", why);
		free(why);
		return 64;
	}
	if (changed != NULL)
		log_note("the store calls the collection '%s'", changed);
	s->collection = changed != NULL ? changed : xstrdup(collection);
	return 0;
}

static int find_key(struct connection *c, const struct options *o)
{
	const struct driver *d = c->store.driver;
	const char *names[8] = { "LINESYNC_API_KEY" };
	char *key;

	for (int i = 0; i < 3 && d->key_names[i] != NULL; i++)
		names[i + 1] = d->key_names[i];
	if (secret_find(&key, o->api_key_file, "linesync-api-key", names) != 0)
		return 77;
	if (key == NULL)
		return 0;
	if (!c->store.url.tls && !c->store.url.loopback && !o->insecure_http) {
		log_err("the key would travel to '%s' in clear; use https, or allow it with "
			"--insecure-http", c->store.url.base);
		secret_free(key);
		return 77;
	}
	c->header = xasprintf("%s%s", d->key_header, key);
	secret_free(key);
	return 0;
}

int connection_open(struct connection *c, const struct options *o)
{
	const struct driver *d = c->store.driver;
	const char *headers[2] = { NULL, NULL };
	struct http_options ho = {
		.total_timeout_ms = o->timeout_ms ? (long)o->timeout_ms : d->timeout_ms,
		.idle_s = d->idle_s,
		.max_reply = MAX_REPLY,
		.cacert = o->cacert,
		.headers = headers,
		.direct = c->store.url.loopback,	/* a proxy elsewhere would see the key */
		.connections = o->connections ? (int)o->connections : d->connections,
	};
	int status = find_key(c, o);

	if (status != 0)
		return status;
	headers[0] = c->header;
	c->http = http_new(&ho);
	return c->http != NULL ? 0 : 78;
}

void connection_release(struct connection *c)
{
	http_free(c->http);
	secret_free(c->header);
	store_release(&c->store);
	memset(c, 0, sizeof *c);
}
