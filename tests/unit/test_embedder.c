#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alloc.h"
#include "embed_hash.h"
#include "embedder.h"
#include "scratch.h"
#include "tap.h"

static char dir[] = "/tmp/linesync-test-XXXXXX";
static char path[64];
static struct state *state;

/* What the state's head says of an embedder that somebody chose, and of the length of its vectors. */
static void chosen(const char *embedder, uint32_t dimension)
{
	struct head *h = state_head(state);

	free(h->embedder);
	h->embedder = xstrdup(embedder);
	h->dimension = dimension;
}

/* What is chosen where --embed is `asked` (may be NULL) and the collection has vectors of `stored`
 * numbers (0: not fixed).  NULL: refused. */
static const char *choice(const char *asked, size_t stored)
{
	static char got[64];
	struct store store = { .dimension = stored, .collection = dir };
	struct options o = { .embed = asked };
	struct embedder e;

	got[0] = '\0';
	if (embedder_choose(&e, state, &o) == 0 && embedder_settle(&e, state, &store, NULL, &o) == 0)
		snprintf(got, sizeof(got), "%s %zu", e.name, e.dimension);
	embedder_release(&e);
	return got[0] != '\0' ? got : NULL;
}

static void is_choice(const char *asked, size_t stored, const char *want)
{
	const char *got = choice(asked, stored);

	ok((got == NULL) == (want == NULL) && (got == NULL || strcmp(got, want) == 0),
	   "asked %s, stored %zu: %s", asked != NULL ? asked : "nothing", stored,
	   want != NULL ? want : "refused");
	if (got != NULL && want != NULL && strcmp(got, want) != 0)
		printf("# got: %s\n", got);
}

static void test_new_state(void)
{
	chosen("", 0);
	is_choice(NULL, 0, "hash-1:1024 1024");
	is_choice("hash", 0, "hash-1:1024 1024");
	is_choice("hash:8", 0, "hash-1:8 8");
	is_choice(NULL, 384, "hash-1:384 384");
	is_choice("hash", 384, "hash-1:384 384");
	is_choice("hash:8", 384, NULL);
}

static void test_known_state(void)
{
	chosen("hash-1:384", 384);
	is_choice(NULL, 0, "hash-1:384 384");
	is_choice("hash", 384, "hash-1:384 384");
	is_choice("hash:384", 384, "hash-1:384 384");
	is_choice("hash:8", 384, NULL);
}

static void test_another_version(void)
{
	static const char *const others[] = { "hash:384", "hash-0:384", "hash-2:384", "hash-10:384", "hash-1" };
	size_t i;

	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		chosen(others[i], 384);
		ok(choice(NULL, 384) == NULL && choice("hash:384", 384) == NULL && choice("hash", 0) == NULL,
		   "vectors of %s are not mixed with " EMBED_HASH_NAME, others[i]);
	}
}

int main(void)
{
	if (mkdtemp(dir) == NULL)
		return 99;
	snprintf(path, sizeof(path), "%s/state.tdb", dir);
	if (state_open(&state, path, "chroma:http://localhost:8000", "Code", 0) != 0)
		return 99;
	test_new_state();
	test_known_state();
	test_another_version();
	state_close(state);
	scratch_remove(dir, path);
	return tap_done();
}
