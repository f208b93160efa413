#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "object.h"
#include "tap.h"
#include "text.h"

static struct change c;
static struct content k;

static void make(const char *line, const char *text)
{
	struct change_options o = { FORMAT_AUTO, false, NULL, NULL, false };
	bool needs_file;

	content_release(&k);
	change_release(&c);
	change_parse(&c, line, strlen(line), false, &needs_file, &o);
	k.got = CONTENT_OK;
	k.text = xstrdup(text);
	k.len = strlen(text);
	digest_of(k.text, k.len, k.sha256);
	hex_encode(k.hash_hex, k.sha256, sizeof(k.sha256));
}

static bool str_is(const struct prop *p, const char *name, const char *want)
{
	if (strcmp(p->name, name) != 0)
		return false;
	if (!want)
		return p->type == PROP_NULL;
	return p->type == PROP_STR && p->n == strlen(want) && memcmp(p->s, want, p->n) == 0;
}

static bool int_is(const struct prop *p, const char *name, int64_t want)
{
	return strcmp(p->name, name) == 0 && p->type == PROP_INT && p->i == want;
}

static void test_ids(void)
{
	char id[37];

	object_id(id, "Code", "ServiceA", "src/main.py", 0);
	ok(strcmp(id, "e417b55a-2ea2-5a2a-9306-c568b130e26b") == 0, "an id: %s", id);
	object_id(id, "Code", "team/ServiceA", "caf\xc3\xa9 menu.txt", 3);
	ok(strcmp(id, "02c8f33a-02dd-512e-81e3-64a0c03bb0dc") == 0, "an id with escapes: %s", id);
}

/* The one object of a document that is not cut. */
static struct object *uncut(const uint8_t digest[SYNC_DIGEST_SIZE], const char *synced_at)
{
	static const struct chunking off;
	uint32_t n;
	struct object **all = objects_new("Code", &c, &k, digest, synced_at, &off, &n), *o = all[0];

	ok(n == 1, "one object");
	free(all);
	return o;
}

static void test_full(void)
{
	uint8_t digest[SYNC_DIGEST_SIZE] = { 0xab, 0xcd };
	struct object *o;
	struct prop *p;

	make("{\"repo\":\"A\",\"path\":\"src/Main.PY\",\"size\":99,\"mime\":\"text/x\",\"charset\":\"utf-8\","
	     "\"line_count\":7,\"metadata\":{\"a\":1},\"vector\":[1,2]}", "a\nb\nc");
	o = uncut(digest, "2026-11-21T10:20:30Z");
	p = o->props;
	ok(strlen(o->id) == 36 && o->text_len == 5 && strcmp(o->text, "a\nb\nc") == 0 && !k.text,
	   "the text, moved");
	ok(o->dim == 2 && o->vector[1] == 2 && !c.vector, "the vector, moved");
	ok(str_is(&p[0], "file_path", "src/Main.PY") && str_is(&p[1], "file_name", "Main.PY") &&
	   str_is(&p[2], "repository", "A"), "names");
	ok(p[3].type == PROP_STR && strcmp(p[3].name, "language") == 0, "language");
	ok(str_is(&p[4], "extension", "py") && str_is(&p[5], "mime_type", "text/x"), "kinds");
	ok(int_is(&p[6], "size_bytes", 99) && int_is(&p[7], "line_count", 7), "the record's numbers");
	ok(str_is(&p[8], "content_hash", k.hash_hex), "hash");
	ok(strcmp(p[9].name, "truncated") == 0 && p[9].type == PROP_BOOL && p[9].i == 0, "truncated");
	ok(int_is(&p[10], "chunk_index", 0) && int_is(&p[11], "chunk_count", 1) &&
	   int_is(&p[12], "start_line", 1) && int_is(&p[13], "end_line", 3), "chunk");
	ok(str_is(&p[14], "charset", "utf-8") && str_is(&p[15], "synced_at", "2026-11-21T10:20:30Z") &&
	   str_is(&p[16], "metadata", "{\"a\":1}"), "the rest");
	ok(str_is(&p[17], "sync_digest", "abcd0000000000000000000000000000"), "digest");
	object_free(o);
}

static void test_sparse(void)
{
	uint8_t digest[SYNC_DIGEST_SIZE] = { 0 };
	static const char *const none[] = { ".gitignore", "Makefile2", "a.d/name", "name." };
	struct object *o;
	size_t i;

	for (i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		make(none[i], "x\n");
		o = uncut(digest, "t");
		ok(str_is(&o->props[4], "extension", NULL), "no extension: %s", none[i]);
		ok(str_is(&o->props[2], "repository", "") && str_is(&o->props[14], "charset", NULL) &&
		   str_is(&o->props[16], "metadata", NULL) && int_is(&o->props[6], "size_bytes", 2) &&
		   int_is(&o->props[7], "line_count", 1) && !o->vector && o->dim == 0, "what is absent");
		object_free(o);
	}
	make("dir.x/a.py", "x\n");
	o = uncut(digest, "t");
	ok(o->props[5].type == PROP_STR && str_is(&o->props[1], "file_name", "a.py"), "a known type");
	object_free(o);
	object_free(NULL);
}

static bool text_is(const struct object *o, const char *want)
{
	return o->text_len == strlen(want) && memcmp(o->text, want, o->text_len) == 0;
}

static void test_chunks(void)
{
	uint8_t digest[SYNC_DIGEST_SIZE] = { 1 };
	static const char *const texts[] = { "a\nb\n", "b\nc\n", "c\nd" };
	struct object **all;
	uint32_t n = 0, i, prop;
	bool same = true;
	char id[37];

	make("{\"repo\":\"team/ServiceA\",\"path\":\"caf\xc3\xa9 menu.txt\",\"metadata\":{\"a\":1}}",
	     "a\nb\nc\nd");
	all = objects_new("Code", &c, &k, digest, "t", &(struct chunking){ 2, 1, 0 }, &n);
	ok(n == 3 && !k.text, "a document of three chunks");
	for (i = 0; i < n; i++) {
		struct prop *p = all[i]->props;

		object_id(id, "Code", "team/ServiceA", "caf\xc3\xa9 menu.txt", i);
		ok(strcmp(all[i]->id, id) == 0 && text_is(all[i], texts[i]) && !all[i]->vector,
		   "chunk %lu: id and text", (unsigned long)i);
		ok(int_is(&p[10], "chunk_index", i) && int_is(&p[11], "chunk_count", 3) &&
		   int_is(&p[12], "start_line", i + 1) && int_is(&p[13], "end_line", i + 2), "its place");
		for (prop = 0; prop < OBJECT_PROPS; prop++)
			same &= prop == 10 || prop == 12 || prop == 13 ||
				memcmp(&p[prop], &all[0]->props[prop], sizeof(p[prop])) == 0;
	}
	ok(same && int_is(&all[2]->props[6], "size_bytes", 7) && int_is(&all[2]->props[7], "line_count", 4) &&
	   str_is(&all[2]->props[8], "content_hash", k.hash_hex), "all else is the document's");
	object_free(all[1]);
	object_free(all[0]);
	ok(text_is(all[2], texts[2]) && str_is(&all[2]->props[16], "metadata", "{\"a\":1}"),
	   "one lives on without the others");
	object_free(all[2]);
	free(all);
}

static void test_vector_is_whole(void)
{
	uint8_t digest[SYNC_DIGEST_SIZE] = { 1 };
	struct object **all;
	uint32_t n = 0;

	make("{\"path\":\"a\",\"vector\":[1,2]}", "a\nb\nc\nd");
	all = objects_new("Code", &c, &k, digest, "t", &(struct chunking){ 2, 1, 0 }, &n);
	ok(n == 1 && text_is(all[0], "a\nb\nc\nd") && all[0]->dim == 2 && all[0]->vector[1] == 2 &&
	   int_is(&all[0]->props[11], "chunk_count", 1) && int_is(&all[0]->props[13], "end_line", 4),
	   "a document that brings its vector is not cut");
	object_free(all[0]);
	free(all);
}

static void test_settings(void)
{
	char *off = object_settings("hash-1:1024", &(struct chunking){ 0 });
	char *on = object_settings("e5:384", &(struct chunking){ 40, 5, 1500 });

	ok(strcmp(off, "hash-1:1024 chunks:off") == 0 &&
	   strcmp(on, "e5:384 chunks:lines=40,overlap=5,bytes=1500") == 0, "settings");
	free(off);
	free(on);
}

static void digest_line(uint8_t out[SYNC_DIGEST_SIZE], const char *line, const char *text,
			bool truncated, const char *settings)
{
	make(line, text);
	k.truncated = truncated;
	object_digest(out, &c, &k, settings);
}

static void test_digest(void)
{
	static const struct {
		const char *line, *text, *settings;
		bool truncated;
	} rows[] = {
		{ "a.py", "x", "s", false },
		{ "a.py", "y", "s", false },
		{ "a.py", "x", "s", true },
		{ "a.py", "x", "s2", false },
		{ "a.c", "x", "s", false },
		{ "{\"path\":\"a.py\",\"charset\":\"x\"}", "x", "s", false },
		{ "{\"path\":\"a.py\",\"mime\":\"x\"}", "x", "s", false },
		{ "{\"path\":\"a.py\",\"size\":2}", "x", "s", false },
		{ "{\"path\":\"a.py\",\"line_count\":0}", "x", "s", false },
		{ "{\"path\":\"a.py\",\"metadata\":{}}", "x", "s", false },
		{ "{\"path\":\"a.py\",\"vector\":[1]}", "x", "s", false },
		{ "{\"path\":\"a.py\",\"vector\":[2]}", "x", "s", false },
		{ "{\"path\":\"a.py\",\"vector\":[1,2]}", "x", "s", false },
	};
	enum { N = sizeof(rows) / sizeof(rows[0]) };
	uint8_t d[N][SYNC_DIGEST_SIZE], again[SYNC_DIGEST_SIZE];
	size_t i, j;
	bool differ = true;

	for (i = 0; i < N; i++)
		digest_line(d[i], rows[i].line, rows[i].text, rows[i].truncated, rows[i].settings);
	for (i = 0; i < N; i++)
		for (j = 0; j < i; j++)
			differ = differ && memcmp(d[i], d[j], sizeof(d[i])) != 0;
	ok(differ, "whatever is stored is in the digest");
	digest_line(again, "{\"path\":\"a.py\",\"size\":1,\"line_count\":1}", "x", false, "s");
	ok(memcmp(d[0], again, sizeof(again)) == 0, "numbers that say nothing new change nothing");
}

static void test_long_vector(void)
{
	uint8_t a[SYNC_DIGEST_SIZE], b[SYNC_DIGEST_SIZE];
	size_t i;

	make("a", "x");
	c.nvector = 200;
	c.vector = xcalloc(c.nvector, sizeof(*c.vector));
	for (i = 0; i < c.nvector; i++)
		c.vector[i] = (float)i;
	object_digest(a, &c, &k, "s");
	c.vector[199] = 0;
	object_digest(b, &c, &k, "s");
	ok(memcmp(a, b, sizeof(a)) != 0, "a long vector to its end");
}

/* One of many short lines: as many chunks as are allowed, and nothing of it is missing. */
static void test_many_lines(void)
{
	struct change line = { .repo = (char *)"R", .path = (char *)"a" };
	struct chunking how = { 1, 0, 0 };
	struct content lines = { .len = 2000000 };
	struct object **all;
	uint32_t n, i;
	size_t sum = 0, at = 0;
	uint8_t digest[SYNC_DIGEST_SIZE] = { 0 };

	lines.text = xmalloc(lines.len + 1);
	memset(lines.text, '\n', lines.len);
	lines.text[lines.len] = '\0';
	all = objects_new("Code", &line, &lines, digest, "2026-01-01T00:00:00Z", &how, &n);
	for (i = 0; i < n; i++) {
		at += all[i]->text == all[0]->text + sum;
		sum += all[i]->text_len;
	}
	ok(n <= CHUNKS_MAX && n > CHUNKS_MAX / 2 && sum == 2000000 && at == n, "many short lines: %u chunks", n);
	for (i = 0; i < n; i++)
		object_free(all[i]);
	free(all);
}

int main(void)
{
	test_ids();
	test_full();
	test_sparse();
	test_chunks();
	test_many_lines();
	test_vector_is_whole();
	test_settings();
	test_digest();
	test_long_vector();
	content_release(&k);
	change_release(&c);
	return tap_done();
}
