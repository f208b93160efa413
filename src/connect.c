#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "blank.h"
#include "cleanup.h"
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
	if (weaviate == NULL || weaviate[0] == '\0')
		return NULL;
	/* Weaviate's cloud names its clusters without a scheme */
	return xasprintf("weaviate:%s%s", strstr(weaviate, "://") == NULL ? "https://" : "", weaviate);
}

bool connection_has_store(const struct options *o)
{
	char *store = default_store(o);
	bool has = store != NULL;

	free(store);
	return has;
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

/* Where the key of a server is looked for, in this order; the driver's variables come last. */
struct key_source {
	const char *file, *credential, *variable;
};

/* 77, with the reason logged, if what is secret would travel in clear. */
static int check_clear(const struct connection *c, const char *what, bool insecure_http)
{
	if (c->store.url.tls || c->store.url.loopback || insecure_http)
		return 0;
	log_err("%s would travel to '%s' in clear; use https, or allow it with --insecure-http", what,
		c->store.url.base);
	return 77;
}

static int find_key(struct connection *c, const struct key_source *from, bool insecure_http)
{
	const struct driver *d = c->store.driver;
	const char *names[8] = { from->variable };
	char *key;
	int status;

	for (int i = 0; i < 3 && d->key_names[i] != NULL; i++)
		names[i + 1] = d->key_names[i];
	if (secret_find(&key, from->file, from->credential, names) != 0)
		return 77;
	if (key == NULL)
		return 0;
	status = check_clear(c, "the key", insecure_http);
	if (status == 0)
		c->header = xasprintf("%s%s", d->key_header, key);
	secret_free(key);
	return status;
}

/* Headers of the user's, such as the key of a vectoriser's provider.  what: for a message. */
static int find_headers(struct connection *c, const char **file, const char *credential, const char *what,
			bool insecure_http)
{
	const char *own = c->store.driver->key_header;

	do {
		if (secret_headers(&c->more, file != NULL ? *file++ : NULL, credential, own) != 0)
			return 77;
	} while (file != NULL && *file != NULL);
	return c->more != NULL ? check_clear(c, what, insecure_http) : 0;
}

/* NULL-terminated; the array is the caller's. */
static const char **all_headers(const struct connection *c)
{
	size_t n = 0, more = 0;
	const char **out;

	while (c->more != NULL && c->more[more] != NULL)
		more++;
	out = xcalloc(more + 2, sizeof *out);
	if (c->header != NULL)
		out[n++] = c->header;
	for (size_t i = 0; i < more; i++)
		out[n++] = c->more[i];
	return out;
}

/* beside: NULL, or connections whose waiting is shared. */
static int open_http(struct connection *c, uint64_t timeout_ms, uint64_t connections, const char *cacert,
		     struct http *beside)
{
	const struct driver *d = c->store.driver;
	autofree const char **headers = all_headers(c);
	struct http_options ho = {
		.total_timeout_ms = timeout_ms ? (long)timeout_ms : d->timeout_ms,
		.idle_s = d->idle_s,
		.max_reply = MAX_REPLY,
		.cacert = cacert,
		.headers = headers,
		.direct = c->store.url.loopback,	/* a proxy elsewhere would see the key */
		.connections = connections ? (int)connections : d->connections,
	};

	blank_know_proxies();
	c->http = beside != NULL ? http_beside(beside, &ho) : http_new(&ho);
	return c->http != NULL ? 0 : 78;
}

int connection_open(struct connection *c, const struct options *o)
{
	const struct key_source from = { o->api_key_file, "linesync-api-key", "LINESYNC_API_KEY" };
	int status = find_key(c, &from, o->insecure_http);

	if (status == 0)
		status = find_headers(c, o->store_header_files, "linesync-store-headers",
				      "the headers of --store-header-file", o->insecure_http);
	return status != 0 ? status : open_http(c, o->timeout_ms, o->connections, o->cacert, NULL);
}

int embedder_open(struct connection *c, const char *url, const char *model, const struct options *o,
		  struct http *beside)
{
	const struct key_source from = { o->embed_key_file, "linesync-embed-key", "LINESYNC_EMBED_API_KEY" };
	char *why = NULL;
	int status;

	if (store_url_parse_embedder(&c->store.url, url, &why) != 0) {
		log_err("--embed: %s", why);
		free(why);
		return 64;
	}
	c->store.driver = &drv_openai;
	c->store.model = xstrdup(model);
	status = find_key(c, &from, o->insecure_http);
	if (status == 0)
		status = find_headers(c, o->embed_header_files, "linesync-embed-headers",
				      "the headers of --embed-header-file", o->insecure_http);
	if (status != 0)
		return status;
	return open_http(c, o->embed_timeout_ms, o->embed_connections, o->cacert, beside);
}

int embedder_reach(struct connection *c, const struct embedder *e, bool query, const struct options *o,
		   struct http *beside, const struct ask_patience *patience, int stop_fd)
{
	struct ask ready = { .kind = ASK_READY };
	const char *model = query && e->query_model[0] != '\0' ? e->query_model : e->model;
	int status = embedder_open(c, e->url, model[0] != '\0' ? model : NULL, o, beside);

	c->store.dimension = e->dimension;
	if (status == 0)
		status = ask_patiently(&c->store, c->http, &ready, patience, "reach the embedding server",
				       stop_fd);
	ask_release(&ready);
	return status;
}

int connection_of_state(struct connection *c, const struct options *o, const struct state *s)
{
	const struct identity *id = state_identity(s);
	int status = connection_name(c, o, o->store != NULL ? o->store : id->store,
				     o->collection != NULL ? o->collection : id->collection);

	if (status == 0)
		status = state_belongs(s, c->store.url.canonical, c->store.collection);
	return status == 0 ? connection_open(c, o) : status;
}

void connection_release(struct connection *c)
{
	http_free(c->http);
	secret_free(c->header);
	secret_headers_free(c->more);
	store_release(&c->store);
	memset(c, 0, sizeof *c);
}
