#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "driver_json.h"
#include "embed_hash.h"
#include "embedder.h"
#include "json.h"
#include "json_tree.h"
#include "log.h"
#include "text.h"

/* What a model of 512 tokens reads at once, of code.  tests/bench/semantic, 40 questions about kcat: the
 * right file was among the first three for so many of them, with so many vectors, and without overlap:
 *
 *      bytes     500   1000   1500   2500   4000
 *      found    0.55   0.40   0.55   0.28   0.40
 *      vectors   456    229    155    100     68 */
#define CHUNK_BYTES_DEFAULT 1500
#define MODEL_WITHOUT_SERVER \
	"--embed-model and --embed-query-model are for an embedding server: --embed URL"

void embedder_release(struct embedder *e)
{
	free(e->name);
	free(e->url);
	free(e->model);
	free(e->prefix);
	free(e->query_prefix);
	free(e->query_model);
	memset(e, 0, sizeof *e);
}

/* ---- what --embed says ---- */

static bool is_url(const char *s)
{
	return strncmp(s, "http://", 7) == 0 || strncmp(s, "https://", 8) == 0;
}

/* "hash", "hash:DIM": 0 with *dimension (0: not said), or -1. */
static int parse_hash(const char *spec, size_t *dimension)
{
	uint64_t n;

	*dimension = 0;
	if (strcmp(spec, "hash") == 0)
		return 0;
	/* vectors that came with the records may be longer than those that hash makes */
	if (strncmp(spec, "hash:", 5) != 0 || parse_uint(&n, spec + 5, 1, 65536) != 0)
		return -1;
	*dimension = (size_t)n;
	return 0;
}

static int usage(const char *text)
{
	log_err("%s", text);
	return 64;
}

static bool names_model(const struct options *o)
{
	return o->embed_model != NULL || o->embed_query_model != NULL;
}

static bool is_text(const char *s)
{
	return s != NULL && s[0] != '\0';
}

/* Something is to stand before what is embedded, which a store cannot do. */
static bool names_input(const struct options *o)
{
	return o->embed_path || is_text(o->embed_prefix) || is_text(o->embed_query_prefix);
}

static int check_store_options(const struct options *o)
{
	if (names_input(o))
		return usage("the collection's own vectoriser (--embed store) embeds the text as it is: "
			     "--embed-path, --embed-prefix and --embed-query-prefix are not for it");
	if (names_model(o))
		return usage(MODEL_WITHOUT_SERVER);
	return 0;
}

static bool is_store(const char *embed)
{
	return embed != NULL && strcmp(embed, "store") == 0;
}

static int check_server_options(const struct options *o)
{
	if (is_store(o->embed))
		return check_store_options(o);
	if (o->embed != NULL && !is_url(o->embed) && names_model(o))
		return usage(MODEL_WITHOUT_SERVER);
	return 0;
}

int embedder_check_store(const struct options *o, const struct driver *d)
{
	if (!is_store(o->embed) || d->vectorises)
		return 0;
	log_err("--embed store: a collection of '%s' has no vectoriser of its own; name another --embed", d->name);
	return 78;
}

/* Before anything else repeats it. */
static int check_url(const char *url)
{
	struct store_url u;
	char *why = NULL;

	if (store_url_parse_embedder(&u, url, &why) == 0) {
		store_url_release(&u);
		return 0;
	}
	log_err("--embed: %s", why);
	free(why);
	return 64;
}

int embedder_check_options(const struct options *o)
{
	size_t dimension;

	if (o->embed != NULL && is_url(o->embed) && check_url(o->embed) != 0)
		return 64;
	if (o->embed != NULL && !is_url(o->embed) && !is_store(o->embed) &&
	    parse_hash(o->embed, &dimension) != 0) {
		log_err("--embed '%s' is not known; there are 'hash', 'hash:DIM' with DIM from %d to %d, "
			"'store', and the URL of an embedding server", o->embed, EMBED_HASH_MIN,
			EMBED_HASH_MAX);
		return 78;
	}
	return check_server_options(o);
}

/* ---- to the state and back ---- */

/* The server's address as it is kept: in one spelling, and without a key. */
static char *canonical_url(const struct embedder *e)
{
	struct store_url u;
	char *why, *url;

	if (store_url_parse_embedder(&u, e->url, &why) != 0) {
		free(why);
		return xstrdup("");
	}
	url = xstrdup(u.canonical);
	store_url_release(&u);
	return url;
}

/* What the name does not say, as JSON. */
static void write_how(struct buf *b, const struct embedder *e)
{
	autofree char *chunks = chunking_name(&e->chunking), *url = canonical_url(e);
	bool first = true;

	buf_addc(b, '{');
	json_member_str(b, &first, "url", url, strlen(url));
	json_member_str(b, &first, "model", e->model, strlen(e->model));
	json_member_str(b, &first, "prefix", e->prefix, strlen(e->prefix));
	json_name(b, &first, "path");
	buf_adds(b, e->path ? "true" : "false");
	json_member_str(b, &first, "query_prefix", e->query_prefix, strlen(e->query_prefix));
	json_member_str(b, &first, "query_model", e->query_model, strlen(e->query_model));
	json_member_str(b, &first, "chunks", chunks, strlen(chunks));
	buf_addc(b, '}');
}

static void take_text(char **member, json_object *how, const char *name)
{
	const char *s = json_object_get_string(answer_member(how, name, json_type_string));

	free(*member);
	*member = xstrdup(s != NULL ? s : "");
}

static int read_how(struct embedder *e, const char *text)
{
	auto_json json_object *how = NULL;
	struct json_fault fault;
	const char *chunks;

	if (text[0] == '\0')
		text = "{\"chunks\":\"off\"}";
	if (json_check(text, strlen(text), NULL, &fault) == 0)
		how = json_tree(text, strlen(text));
	if (!json_object_is_type(how, json_type_object))
		return -1;
	take_text(&e->url, how, "url");
	take_text(&e->model, how, "model");
	take_text(&e->prefix, how, "prefix");
	take_text(&e->query_prefix, how, "query_prefix");
	take_text(&e->query_model, how, "query_model");
	e->path = json_object_get_boolean(answer_member(how, "path", json_type_boolean));
	chunks = json_object_get_string(answer_member(how, "chunks", json_type_string));
	return chunks != NULL ? chunking_parse(&e->chunking, chunks) : -1;
}

static enum embed_kind kind_of(const char *name)
{
	return strncmp(name, "url:", 4) == 0 ? EMBED_URL :
	       strncmp(name, "store:", 6) == 0 ? EMBED_STORE :
	       strncmp(name, "given:", 6) == 0 ? EMBED_GIVEN : EMBED_HASH;
}

/* Vectors of another version of the algorithm are another embedder's. */
static int check_version(const struct embedder *e, const struct state *state)
{
	if (e->kind != EMBED_HASH || strncmp(e->name, EMBED_HASH_NAME ":", sizeof(EMBED_HASH_NAME)) == 0)
		return 0;
	log_err("the collection was embedded with '%s', by another linesync; this one makes '%s' vectors, and "
		"two kinds in one collection find nothing: use another collection, or 'linesync forget --all "
		"--state %s' and feed everything", e->name, EMBED_HASH_NAME, state_path(state));
	return 78;
}

static int from_state(struct embedder *e, struct state *state)
{
	const struct head *h = state_head(state);

	e->decided = true;
	e->name = xstrdup(h->embedder);
	e->kind = kind_of(h->embedder);
	e->dimension = h->dimension;
	if (read_how(e, h->embed_how) != 0 || (e->kind == EMBED_URL && e->url[0] == '\0')) {
		log_err("the state '%s' does not say how its vectors are made; run 'linesync forget --all "
			"--state %s' and feed everything", state_path(state), state_path(state));
		return 78;
	}
	return check_version(e, state);
}

/* ---- choosing ---- */

static void make_name(struct embedder *e, const char *vectoriser)
{
	auto_buf struct buf b = BUF_INIT;

	switch (e->kind) {
	case EMBED_HASH: buf_addf(&b, EMBED_HASH_NAME ":%zu", e->dimension); break;
	case EMBED_URL: buf_addf(&b, "url:%s:%zu", e->model, e->dimension); break;
	case EMBED_STORE: buf_addf(&b, "store:%s", vectoriser); break;
	case EMBED_GIVEN: buf_addf(&b, "given:%zu", e->dimension); break;
	}
	if (e->path)
		buf_adds(&b, " path");
	if (e->prefix[0] != '\0')
		buf_addf(&b, " prefix=%s", e->prefix);
	free(e->name);
	e->name = buf_detach(&b);
}

static void set_text(char **member, const char *named)
{
	if (named == NULL && *member != NULL)
		return;
	free(*member);
	*member = xstrdup(named != NULL ? named : "");
}

/* What was named comes before what the state says, and that before the default. */
static int take_chunking(struct embedder *e, const struct options *o)
{
	const char *fault;

	if (!e->decided && (e->kind == EMBED_URL || e->kind == EMBED_STORE))
		e->chunking.bytes = CHUNK_BYTES_DEFAULT;
	options_chunking(o, &e->chunking);
	fault = chunking_fault(&e->chunking);
	if (fault == NULL)
		return 0;
	log_err("%s; what was not named is as the state says", fault);
	return 64;
}

/* was: the name of what the documents were embedded with. */
static int refuse_other(const char *was, const struct state *state, const char *option, const char *named)
{
	log_err("the collection was embedded with '%s', not %s '%s'; two kinds of vectors in one collection "
		"find nothing: use another collection, or 'linesync forget --all --state %s' and feed "
		"everything", was, option, named, state_path(state));
	return 78;
}

/* What is named must be what the state says; a server may have moved, and queries are free. */
static int compare(const struct embedder *e, const struct state *state, const struct options *o)
{
	size_t dimension = 0;
	enum embed_kind kind = e->kind;

	if (o->embed != NULL) {
		kind = is_url(o->embed) ? EMBED_URL : is_store(o->embed) ? EMBED_STORE : EMBED_HASH;
		if (kind == EMBED_HASH)
			parse_hash(o->embed, &dimension);
	}
	if (kind != e->kind || (dimension != 0 && dimension != e->dimension))
		return refuse_other(e->name, state, "--embed", o->embed);
	if (kind == EMBED_STORE)
		return check_store_options(o);
	if (o->embed_model != NULL && strcmp(o->embed_model, e->model) != 0)
		return refuse_other(e->name, state, "--embed-model", o->embed_model);
	if (o->embed_prefix != NULL && strcmp(o->embed_prefix, e->prefix) != 0)
		return refuse_other(e->name, state, "--embed-prefix", o->embed_prefix);
	if (o->embed_path && !e->path)
		return refuse_other(e->name, state, "--embed-path", "on");
	return 0;
}

/* Nothing has been embedded yet. */
static int from_options(struct embedder *e, const struct options *o)
{
	if (o->embed == NULL && names_model(o))
		return usage(MODEL_WITHOUT_SERVER);
	e->kind = o->embed == NULL ? EMBED_HASH : is_url(o->embed) ? EMBED_URL :
		  is_store(o->embed) ? EMBED_STORE : EMBED_HASH;
	if (o->embed != NULL && e->kind == EMBED_HASH)
		parse_hash(o->embed, &e->dimension);
	e->path = o->embed_path;
	set_text(&e->prefix, o->embed_prefix);
	set_text(&e->model, o->embed_model);
	return 0;
}

int embedder_choose(struct embedder *e, struct state *state, const struct options *o)
{
	int status;

	memset(e, 0, sizeof *e);
	if (state != NULL && state_head(state)->embedder[0] != '\0') {
		status = from_state(e, state);
		if (status == 0)
			status = compare(e, state, o);
	} else {
		status = from_options(e, o);
	}
	set_text(&e->url, o->embed != NULL && is_url(o->embed) ? o->embed : NULL);
	set_text(&e->query_prefix, o->embed_query_prefix);
	set_text(&e->query_model, o->embed_query_model);
	return status != 0 ? status : take_chunking(e, o);
}

/* Where something is to stand before the text, a new collection gets no vectoriser unless it is named. */
void embedder_prepare(const struct embedder *e, struct store *store, const struct options *o)
{
	store->must_embed = is_store(o->embed);
	store->embeds = e->kind == EMBED_STORE || (o->embed == NULL && !e->decided && !names_input(o));
}

/* Nobody has named one: the collection's own vectoriser, if it has one. */
static int settle_store(struct embedder *e, const struct store *store, const struct options *o)
{
	if (!e->decided && o->embed == NULL && store->vectoriser != NULL) {
		e->kind = EMBED_STORE;
		if (check_store_options(o) != 0 || take_chunking(e, o) != 0)
			return 64;
	}
	if (e->kind != EMBED_STORE)
		return 0;
	if (store->vectoriser == NULL) {
		log_err("--embed store: collection '%s' has no vectoriser of its own; name another --embed, or "
			"another collection", store->collection);
		return 78;
	}
	e->dimension = store->dimension;
	return 0;
}

static int check_dimension(const struct embedder *e, const struct store *store)
{
	if (e->kind == EMBED_STORE || store->dimension == 0 || e->dimension == 0 ||
	    e->dimension == store->dimension)
		return 0;
	if (e->kind == EMBED_HASH)
		log_err("collection '%s' has vectors of %zu numbers, not %zu; name --embed hash:%zu, or "
			"another collection", store->collection, store->dimension, e->dimension,
			store->dimension);
	else
		log_err("collection '%s' has vectors of %zu numbers, not %zu as '%s' makes; name the embedder "
			"that made them, or another collection", store->collection, store->dimension,
			e->dimension, e->kind == EMBED_URL ? e->url : e->name);
	return 78;
}

void embedder_foresee(struct embedder *e)
{
	if (e->kind == EMBED_HASH && e->dimension == 0)
		e->dimension = EMBED_HASH_DEFAULT;
}

int embedder_settle(struct embedder *e, const struct state *state, const struct store *store,
		    const struct store *server, const struct options *o)
{
	autofree char *was = e->decided ? xstrdup(e->name) : NULL;
	int status = settle_store(e, store, o);

	if (status != 0)
		return status;
	if (server != NULL)
		e->dimension = server->dimension;
	if (check_dimension(e, store) != 0)
		return 78;
	if (e->kind == EMBED_HASH && e->dimension == 0)
		e->dimension = store->dimension != 0 ? store->dimension : EMBED_HASH_DEFAULT;
	make_name(e, store->vectoriser);
	return was != NULL && strcmp(was, e->name) != 0 ?
	       refuse_other(was, state, "what is there now,", e->name) : 0;
}

static void keep(struct embedder *e, struct state *state, const struct store *store)
{
	struct head *h = state_head(state);
	auto_buf struct buf how = BUF_INIT;

	write_how(&how, e);
	repo_set_text(&h->embed_how, how.data);
	if (e->decided)
		return;
	repo_set_text(&h->embedder, e->name);
	h->dimension = (uint32_t)e->dimension;
	e->decided = true;
	if (e->dimension != 0)
		log_note("collection '%s': vectors of %zu numbers, embedder %s", store->collection,
			 e->dimension, e->name);
	else
		log_note("collection '%s': embedder %s", store->collection, e->name);
}

bool embedder_decide(struct embedder *e, struct state *state, const struct store *store,
		     const struct options *o, size_t dim)
{
	bool changed = false;

	if (dim != 0 && e->kind == EMBED_HASH && o->embed == NULL && !e->decided &&
	    (store->dimension == 0 || store->dimension == dim)) {
		e->kind = EMBED_GIVEN;
		e->dimension = dim;
		make_name(e, NULL);
		changed = true;
	}
	if (state != NULL)
		keep(e, state, store);
	return changed;
}

/* ---- using ---- */

char *embedder_settings(const struct embedder *e)
{
	return object_settings(e->name != NULL ? e->name : "", &e->chunking);
}

const char *embedder_input(const struct embedder *e, const char *path, const char *text, size_t *len,
			   struct buf *out)
{
	if (!e->path && e->prefix[0] == '\0')
		return text;
	buf_reset(out);
	buf_adds(out, e->prefix);
	if (e->path)
		buf_addf(out, "%s\n", path);
	buf_add(out, text, *len);
	*len = out->len;
	return out->data;
}
