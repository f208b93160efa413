#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "embed_hash.h"
#include "query.h"
#include "scratch.h"
#include "tap.h"

static char dir[] = "/tmp/linesync-test-XXXXXX";
static char path[64];
static struct state *state;

/* What is made of a text where the state says this of the embedder. */
static int query(const char *embedder, uint32_t dimension, float **vector, size_t *dim)
{
	struct head *h = state_head(state);

	free(h->embedder);
	h->embedder = xstrdup(embedder);
	h->dimension = dimension;
	return query_vector(vector, dim, state, "read_line caf\xc3\xa9", &(struct options){ 0 });
}

static void test_hash(void)
{
	static const uint32_t dims[] = { EMBED_HASH_MIN, 384, EMBED_HASH_MAX };

	for (size_t i = 0; i < sizeof(dims) / sizeof(dims[0]); i++) {
		float *want = xcalloc(dims[i], sizeof(*want)), *got = NULL;
		size_t dim = 0;
		char name[32];

		snprintf(name, sizeof(name), EMBED_HASH_NAME ":%u", (unsigned)dims[i]);
		embed_hash(want, dims[i], "read_line caf\xc3\xa9", 15);
		ok(query(name, dims[i], &got, &dim) == 0 && dim == dims[i] && got != NULL &&
		   memcmp(got, want, dim * sizeof(*want)) == 0, "%s: the vector of a document of that text", name);
		free(got);
		free(want);
	}
}

static const struct {
	const char *embedder;
	uint32_t dimension;
	const char *what;
} refused[] = {
	{ "", 0, "nothing stored yet" },
	{ "hash-2:384", 384, "another version of the algorithm" },
	{ "hash-10:384", 384, "one whose number begins alike" },
	{ "hash:384", 384, "no version" },
	{ "hash-1", 384, "no dimension" },
	{ EMBED_HASH_NAME ":7", EMBED_HASH_MIN - 1, "shorter than this algorithm makes" },
	{ EMBED_HASH_NAME ":4097", EMBED_HASH_MAX + 1, "longer" },
};

static void test_refused(void)
{
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		float *vector = NULL;
		size_t dim;

		ok(query(refused[i].embedder, refused[i].dimension, &vector, &dim) == 78 && vector == NULL,
		   "refused: %s", refused[i].what);
		free(vector);
	}
}

int main(void)
{
	if (mkdtemp(dir) == NULL)
		return 99;
	snprintf(path, sizeof(path), "%s/state.tdb", dir);
	if (state_open(&state, path, "chroma:http://localhost:8000", "Code", 0) != 0)
		return 99;
	test_hash();
	test_refused();
	state_close(state);
	scratch_remove(dir, path);
	return tap_done();
}
