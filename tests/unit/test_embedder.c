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

/* What the state's head says of an embedder that somebody chose, of the length of its vectors, and of
 * the rest as JSON ("": nothing). */
static void chosen_so(const char *embedder, uint32_t dimension, const char *how)
{
	struct head *h = state_head(state);

	repo_set_text(&h->embedder, embedder);
	repo_set_text(&h->embed_how, how);
	h->dimension = dimension;
}

static void chosen(const char *embedder, uint32_t dimension)
{
	chosen_so(embedder, dimension, "");
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

/* ---- an embedding server ---- */

/* Of the chunking nothing is named. */
#define PLAIN .chunk_lines = -1, .chunk_overlap = -1, .chunk_bytes = -1
#define URL "http://localhost:8080"
#define MOVED "https://Elsewhere/v1/?api-version=1"
#define KEPT "https://elsewhere:443?api-version=1"	/* in one spelling, query and all */
#define HOW "{\"url\":\"" URL "\",\"model\":\"m\",\"prefix\":\"p: \",\"path\":true,\"query_prefix\":\"q: \"," \
	    "\"query_model\":\"qm\",\"chunks\":\"lines=0,overlap=0,bytes=1500\"}"
#define NAME "url:m:8 path prefix=p: "

/* What a sync comes to where the server's vectors have `made` numbers and the collection's `stored`:
 * 0 with e to release, or the exit status. */
static int settled(struct embedder *e, const struct options *o, size_t made, struct store *store)
{
	struct store server = { .dimension = made };
	int status = embedder_check_options(o);

	memset(e, 0, sizeof(*e));
	store->collection = dir;
	if (status == 0)
		status = embedder_choose(e, state, o);
	if (status == 0)
		status = embedder_settle(e, state, store, e->kind == EMBED_URL ? &server : NULL, o);
	if (status != 0)
		embedder_release(e);
	return status;
}

static void is_settled(const struct options *o, size_t made, struct store *store, int want,
		       const char *name, const char *why)
{
	struct embedder e;
	int got = settled(&e, o, made, store);
	bool good = got == want && (got != 0 || strcmp(e.name, name) == 0);

	ok(good, "%s: %d %s", why, want, name);
	if (!good)
		printf("# got: %d %s\n", got, got == 0 ? e.name : "");
	if (got == 0)
		embedder_release(&e);
}

static void test_server_chosen(void)
{
	struct options o = { PLAIN, .embed = URL };
	struct store store = { 0 };

	chosen("", 0);
	is_settled(&o, 384, &store, 0, "url::384", "a server that needs no name of a model");
	o = (struct options){ PLAIN, .embed = URL, .embed_model = "m", .embed_path = true, .embed_prefix = "p: " };
	is_settled(&o, 8, &store, 0, NAME, "model, path and prefix are part of who it is");
	store.dimension = 8;
	is_settled(&o, 8, &store, 0, NAME, "the collection's length");
	store.dimension = 9;
	is_settled(&o, 8, &store, 78, "", "another than the collection's");
	o = (struct options){ PLAIN, .embed_model = "m" };
	is_settled(&o, 0, &store, 64, "", "a model, and no server");
	o = (struct options){ PLAIN, .embed_query_model = "m" };
	is_settled(&o, 0, &store, 64, "", "a model for questions, and no server");
	o = (struct options){ PLAIN, .embed = URL "?key=x" };
	is_settled(&o, 8, &store, 64, "", "a key in its address");
	o = (struct options){ PLAIN, .embed = "http://h:0" };
	is_settled(&o, 8, &store, 64, "", "no address");
	o = (struct options){ PLAIN, .embed = "hash", .embed_model = "m" };
	is_settled(&o, 0, &store, 64, "", "a model for hash");
	o = (struct options){ PLAIN, .embed = "store", .embed_path = true };
	is_settled(&o, 0, &store, 64, "", "a path for the store's own");
}

static void test_server_known(void)
{
	static const struct options same[] = {
		{ PLAIN }, { PLAIN, .embed = URL }, { PLAIN, .embed = MOVED },
		{ PLAIN, .embed_model = "m" }, { PLAIN, .embed_prefix = "p: " },
		{ PLAIN, .embed_path = true }, { PLAIN, .embed_query_model = "x" },
		{ PLAIN, .embed_query_prefix = "x" },
		{ PLAIN, .embed = URL, .embed_model = "m", .embed_prefix = "p: ", .embed_path = true },
	};
	static const struct options other[] = {
		{ PLAIN, .embed = "hash" }, { PLAIN, .embed = "hash:8" }, { PLAIN, .embed = "store" },
		{ PLAIN, .embed_model = "n" },
		{ PLAIN, .embed_prefix = "p:" }, { PLAIN, .embed_prefix = "" },
		{ PLAIN, .embed = URL, .embed_model = "M" },
	};
	struct store store = { .dimension = 8 };
	size_t i;

	chosen_so(NAME, 8, HOW);
	for (i = 0; i < sizeof(same) / sizeof(same[0]); i++)
		is_settled(&same[i], 8, &store, 0, NAME, "the same server");
	for (i = 0; i < sizeof(other) / sizeof(other[0]); i++)
		is_settled(&other[i], 8, &store, 78, "", "another one");
	is_settled(&same[0], 9, &store, 78, "", "another length there now");
	chosen_so("url:m:8", 8, "{\"url\":\"" URL "\",\"model\":\"m\",\"chunks\":\"off\"}");
	is_settled(&same[5], 8, &store, 78, "", "the path where it was not");
}

static void test_what_the_state_keeps(void)
{
	struct options o = { PLAIN, .embed = MOVED, .embed_query_prefix = "other: " };
	struct store store = { .dimension = 8 };
	struct embedder e;

	chosen_so(NAME, 8, HOW);
	ok(settled(&e, &o, 8, &store) == 0 && strcmp(e.url, MOVED) == 0 && strcmp(e.model, "m") == 0 &&
	   strcmp(e.query_prefix, "other: ") == 0 && strcmp(e.query_model, "qm") == 0 &&
	   e.chunking.bytes == 1500 && e.decided, "what is named comes first, the rest from the state");
	ok(!embedder_decide(&e, state, &store, &o, 0), "nothing is to be decided");
	embedder_release(&e);
	o = (struct options){ PLAIN };
	ok(settled(&e, &o, 8, &store) == 0 && strcmp(e.url, KEPT) == 0 &&
	   strcmp(e.query_prefix, "other: ") == 0 && strcmp(e.query_model, "qm") == 0 &&
	   strcmp(e.prefix, "p: ") == 0 && e.path && strcmp(state_head(state)->embedder, NAME) == 0,
	   "and is kept there");
	embedder_release(&e);
}

static void test_malformed(void)
{
	static const char *const bad[] = {
		"x", "[]", "{", "null", "{}", "{\"chunks\":5}", "{\"chunks\":\"many\"}",
		"{\"chunks\":\"off\"}", "{\"url\":7,\"chunks\":\"off\"}"
	};
	struct options o = { PLAIN };
	struct store store = { 0 };
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		chosen_so("url::8", 8, bad[i]);
		is_settled(&o, 8, &store, 78, "", bad[i]);
	}
}

/* ---- the store's own, and vectors that come with the lines ---- */

static void test_store(void)
{
	struct options o = { PLAIN };
	struct store store = { .dimension = 512, .vectoriser = dir };
	struct embedder e;
	char name[64];

	snprintf(name, sizeof(name), "store:%s", dir);
	chosen("", 0);
	is_settled(&o, 0, &store, 0, name, "not named: the collection's own");
	ok(settled(&e, &o, 0, &store) == 0 && e.kind == EMBED_STORE && e.chunking.bytes == 1500 &&
	   e.dimension == 512, "with chunks");
	embedder_release(&e);
	o.embed = "hash";
	is_settled(&o, 0, &store, 0, "hash-1:512", "hash where that is named");
	o = (struct options){ PLAIN, .embed_prefix = "p: " };
	is_settled(&o, 0, &store, 64, "", "what the store's own cannot do is refused");
	o = (struct options){ PLAIN, .embed = "store" };
	is_settled(&o, 0, &store, 0, name, "named");
	chosen_so(name, 512, "{\"chunks\":\"off\"}");
	is_settled(&o, 0, &store, 0, name, "known");
	o.embed = NULL;
	is_settled(&o, 0, &store, 0, name, "known, and not named");
	o.embed = "hash";
	is_settled(&o, 0, &store, 78, "", "another");
	o.embed = NULL;
	store.vectoriser = path;
	is_settled(&o, 0, &store, 78, "", "another vectoriser in the collection");
	store.vectoriser = NULL;
	is_settled(&o, 0, &store, 78, "", "none any more");
	chosen("", 0);
	o.embed = "store";
	is_settled(&o, 0, &store, 78, "", "named, and there is none");
}

/* Who is in the state after a first line with a vector of dim numbers, of a collection of `stored`. */
static void is_decided(const char *asked, size_t stored, size_t dim, const char *want, bool changes)
{
	struct options o = { PLAIN, .embed = asked };
	struct store store = { .dimension = stored };
	struct embedder e;

	chosen("", 0);
	ok(settled(&e, &o, 8, &store) == 0 && embedder_decide(&e, state, &store, &o, dim) == changes &&
	   strcmp(e.name, want) == 0 && strcmp(state_head(state)->embedder, want) == 0 &&
	   state_head(state)->dimension == e.dimension && e.decided,
	   "asked %s, stored %zu, first vector %zu: %s", asked != NULL ? asked : "nothing", stored, dim, want);
	embedder_release(&e);
}

static void test_decided(void)
{
	struct options o = { PLAIN };
	struct store store = { .dimension = 768 };

	is_decided(NULL, 0, 0, "hash-1:1024", false);
	is_decided(NULL, 0, 768, "given:768", true);
	is_decided(NULL, 768, 768, "given:768", true);
	is_decided(NULL, 512, 768, "hash-1:512", false);
	is_decided("hash", 0, 768, "hash-1:1024", false);
	is_decided(URL, 0, 768, "url::8", false);
	chosen("given:768", 768);
	is_settled(&o, 0, &store, 0, "given:768", "known, and not named");
	o.embed = "hash:768";
	is_settled(&o, 0, &store, 78, "", "another");
	o.embed = URL;
	is_settled(&o, 768, &store, 78, "", "a server");
	o.embed = NULL;
	store.dimension = 512;
	is_settled(&o, 0, &store, 78, "", "another collection");
}

/* ---- chunking, and what is embedded ---- */

static void test_chunking(void)
{
	struct options o = { PLAIN, .embed = URL };
	struct store store = { 0 };
	struct embedder e;
	char *one, *two;

	chosen("", 0);
	ok(settled(&e, &o, 8, &store) == 0 && e.chunking.bytes == 1500 && e.chunking.lines == 0,
	   "on by default with a server");
	one = embedder_settings(&e);
	embedder_release(&e);
	o.embed = "hash";
	ok(settled(&e, &o, 8, &store) == 0 && e.chunking.bytes == 0 && e.chunking.lines == 0, "off with hash");
	embedder_release(&e);
	o = (struct options){ .embed = URL, .chunk_lines = -1, .chunk_overlap = -1, .chunk_bytes = 900 };
	ok(settled(&e, &o, 8, &store) == 0 && e.chunking.bytes == 900, "as named");
	two = embedder_settings(&e);
	ok(strcmp(one, two) != 0, "digests tell them apart");
	embedder_release(&e);
	free(one);
	free(two);
}

static void is_input(const struct embedder *e, const char *want, const char *why)
{
	auto_buf struct buf b = BUF_INIT;
	size_t n = 4;
	const char *got = embedder_input(e, "a/b", "text and more", &n, &b);

	ok(n == strlen(want) && memcmp(got, want, n) == 0, "%s", why);
}

static void test_input(void)
{
	struct embedder e = { .prefix = xstrdup("") };

	is_input(&e, "text", "the text alone");
	e.path = true;
	is_input(&e, "a/b\ntext", "the path before it");
	repo_set_text(&e.prefix, "p: ");
	is_input(&e, "p: a/b\ntext", "the prefix before that");
	e.path = false;
	is_input(&e, "p: text", "the prefix alone");
	embedder_release(&e);
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
	test_server_chosen();
	test_server_known();
	test_what_the_state_keeps();
	test_malformed();
	test_store();
	test_decided();
	test_chunking();
	test_input();
	state_close(state);
	scratch_remove(dir, path);
	return tap_done();
}
