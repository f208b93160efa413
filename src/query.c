#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <string.h>

#include "alloc.h"
#include "ask.h"
#include "cleanup.h"
#include "connect.h"
#include "embed_hash.h"
#include "embedder.h"
#include "log.h"
#include "query.h"

static int by_hash(float **vector, const struct embedder *e, const char *input, size_t n)
{
	if (e->dimension < EMBED_HASH_MIN || e->dimension > EMBED_HASH_MAX) {
		log_err("the collection's vectors, of %zu numbers, came with its records; ask the store with a "
			"vector of their model", e->dimension);
		return 78;
	}
	*vector = xcalloc(e->dimension, sizeof(**vector));
	embed_hash(*vector, e->dimension, input, n);
	return 0;
}

static int by_server(float **vector, struct embedder *e, const char *input, size_t n,
		     const struct options *o)
{
	struct connection c = { 0 };
	struct ask_object object = { .text = input, .len = n };
	struct ask a = { .kind = ASK_EMBED, .objects = &object, .n = 1 };
	int status = embedder_reach(&c, e, true, o, NULL, NULL, -1);

	if (status == 0)
		status = ask_patiently(&c.store, c.http, &a, NULL, "embed the text", -1);
	if (status == 0) {
		*vector = object.vector;
		object.vector = NULL;
	}
	ask_release(&a);
	connection_release(&c);
	return status;
}

static int embed_query(float **vector, struct embedder *e, const char *text, const struct options *o)
{
	autofree char *input = xasprintf("%s%s", e->query_prefix, text);

	switch (e->kind) {
	case EMBED_HASH:
		return by_hash(vector, e, input, strlen(input));
	case EMBED_URL:
		return by_server(vector, e, input, strlen(input), o);
	case EMBED_STORE:
		return 0;
	case EMBED_GIVEN:
		break;
	}
	log_err("the collection's vectors, of %zu numbers, came with its records; ask the store with a vector of "
		"their model", e->dimension);
	return 78;
}

int query_vector(float **vector, size_t *dim, struct state *state, const char *text,
		 const struct options *o)
{
	struct embedder e;
	int status;

	*vector = NULL;
	*dim = 0;
	if (state_head(state)->embedder[0] == '\0') {
		log_err("the state '%s' does not say how the collection was embedded: nothing was stored yet, "
			"or everything was forgotten; the next sync decides it", state_path(state));
		return 78;
	}
	status = embedder_choose(&e, state, o);
	if (status == 0)
		status = embed_query(vector, &e, text, o);
	*dim = e.dimension;
	embedder_release(&e);
	return status;
}
