#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "buf.h"
#include "cleanup.h"
#include "digest.h"
#include "lang.h"
#include "object.h"
#include "text.h"

enum prop_index {
	P_FILE_PATH, P_FILE_NAME, P_REPOSITORY, P_LANGUAGE, P_EXTENSION, P_MIME_TYPE,
	P_SIZE_BYTES, P_LINE_COUNT, P_CONTENT_HASH, P_TRUNCATED, P_CHUNK_INDEX, P_CHUNK_COUNT,
	P_START_LINE, P_END_LINE, P_CHARSET, P_SYNCED_AT, P_METADATA, P_SYNC_DIGEST,
	P_COUNT
};
_Static_assert(P_COUNT == OBJECT_PROPS, "one name for each property");

static const char *const prop_names[OBJECT_PROPS] = {
	"file_path", "file_name", "repository", "language", "extension", "mime_type",
	"size_bytes", "line_count", "content_hash", "truncated", "chunk_index", "chunk_count",
	"start_line", "end_line", "charset", "synced_at", "metadata", "sync_digest",
};

struct object_shared {
	uint32_t objects;	/* that still use it */
	char *text, *strings;	/* owned; strings: what props point to */
};

void object_id(char out[37], const char *collection, const char *repo, const char *path,
	       uint32_t chunk)
{
	auto_buf struct buf b = BUF_INIT;

	buf_reserve(&b, strlen(collection) + strlen(repo) + strlen(path) + 64);
	buf_adds(&b, "linesync:");
	percent_encode(&b, collection, strlen(collection));
	buf_addc(&b, '/');
	percent_encode(&b, repo, strlen(repo));
	buf_addc(&b, '/');
	percent_encode(&b, path, strlen(path));
	buf_addf(&b, "#%lu", (unsigned long)chunk);
	uuid5_url(out, b.data, b.len);
}

/* What the properties hold, whether the record said it or not: a record that adds nothing new must
 * have the digest of one that says less. */
static const char *mime_of(const struct change *c)
{
	return c->mime ? c->mime : lang_mime(c->path);
}

static int64_t size_of(const struct change *c, const struct content *k)
{
	return c->has_size ? c->size : (int64_t)k->len;
}

static int64_t lines_of(const struct change *c, const struct content *k)
{
	return c->has_line_count ? c->line_count : (int64_t)text_lines(k->text, k->len);
}

static void digest_string(struct digest *d, const char *s)
{
	/* Absent and "" are stored differently. */
	digest_field(d, s ? "s" : "", s ? 1 : 0);
	digest_field(d, s, s ? strlen(s) : 0);
}

static void put_be(uint8_t *p, uint64_t v, int n)
{
	while (n-- > 0) {
		p[n] = v & 0xff;
		v >>= 8;
	}
}

static void digest_number(struct digest *d, int64_t v)
{
	uint8_t b[8];

	put_be(b, (uint64_t)v, 8);
	digest_field(d, b, sizeof(b));
}

static void digest_vector(struct digest *d, const float *v, size_t n)
{
	uint8_t b[64 * sizeof(uint32_t)];
	uint32_t bits;
	size_t i, len = 0;

	digest_number(d, (int64_t)n);
	for (i = 0; i < n; i++) {
		memcpy(&bits, &v[i], sizeof(bits));
		put_be(b + len, bits, sizeof(bits));
		len += sizeof(bits);
		if (len == sizeof(b) || i + 1 == n) {
			digest_add(d, b, len);
			len = 0;
		}
	}
}

char *object_settings(const char *embedder, const struct chunking *how)
{
	autofree char *name = chunking_name(how);

	return xasprintf("%s chunks:%s", embedder, name);
}

void object_digest(uint8_t out[SYNC_DIGEST_SIZE], const struct change *c, const struct content *k,
		   const char *settings)
{
	uint8_t sum[DIGEST_SIZE];
	struct digest d;

	digest_init(&d);
	digest_string(&d, settings);
	/* The text's own hash stands for the text, which need not be hashed twice. */
	digest_field(&d, k->sha256, sizeof(k->sha256));
	digest_string(&d, k->hash_hex);
	digest_number(&d, k->truncated);
	digest_number(&d, size_of(c, k));
	digest_number(&d, lines_of(c, k));
	digest_string(&d, mime_of(c));
	digest_string(&d, c->charset);
	digest_string(&d, c->metadata);
	digest_vector(&d, c->vector, c->nvector);
	digest_done(&d, sum);
	memcpy(out, sum, SYNC_DIGEST_SIZE);
}

static void set_int(struct object *o, enum prop_index i, int64_t v)
{
	o->props[i].type = PROP_INT;
	o->props[i].i = v;
}

static void set_str(struct object *o, enum prop_index i, const char *s, size_t n)
{
	if (!s)
		return;
	o->props[i].type = PROP_STR;
	o->props[i].s = s;
	o->props[i].n = n;
}

/* Copies s to *at, which moves behind it. */
static void copy_str(struct object *o, enum prop_index i, const char *s, char **at)
{
	size_t n;

	if (!s)
		return;
	n = strlen(s);
	memcpy(*at, s, n + 1);
	set_str(o, i, *at, n);
	*at += n + 1;
}

/* In lower case and without its dot, for filters; none for ".gitignore" and "name.". */
static void copy_extension(struct object *o, char **at)
{
	const struct prop *name = &o->props[P_FILE_NAME];
	const char *dot = strrchr(name->s, '.');
	char *p;

	if (!dot || dot == name->s || !dot[1])
		return;
	p = *at;
	copy_str(o, P_EXTENSION, dot + 1, at);
	for (; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
}

static size_t length(const char *s)
{
	return s ? strlen(s) + 1 : 0;
}

static void copy_strings(struct object *o, const struct change *c, const struct content *k,
			 const uint8_t digest[SYNC_DIGEST_SIZE], const char *synced_at)
{
	char hex[2 * SYNC_DIGEST_SIZE + 1];
	const struct prop *path = &o->props[P_FILE_PATH];
	const char *slash;
	char *at;

	hex_encode(hex, digest, SYNC_DIGEST_SIZE);
	at = o->shared->strings = xmalloc(2 * length(c->path) + length(c->repo) + length(c->mime) +
					  length(c->charset) + length(c->metadata) +
					  length(k->hash_hex) + length(synced_at) + sizeof(hex));
	copy_str(o, P_FILE_PATH, c->path, &at);
	slash = strrchr(path->s, '/');
	set_str(o, P_FILE_NAME, slash ? slash + 1 : path->s,
		slash ? (size_t)(path->s + path->n - slash - 1) : path->n);
	copy_str(o, P_REPOSITORY, c->repo, &at);
	copy_extension(o, &at);
	copy_str(o, P_MIME_TYPE, c->mime, &at);
	copy_str(o, P_CHARSET, c->charset, &at);
	copy_str(o, P_METADATA, c->metadata, &at);
	copy_str(o, P_CONTENT_HASH, k->hash_hex, &at);
	copy_str(o, P_SYNCED_AT, synced_at, &at);
	copy_str(o, P_SYNC_DIGEST, hex, &at);
}

/* What all chunks have in common: an object that only place_chunk() has to finish. */
static struct object *object_of_document(const struct change *c, struct content *k,
					 const uint8_t digest[SYNC_DIGEST_SIZE], const char *synced_at)
{
	struct object *o = xcalloc(1, sizeof(*o));
	const char *s;
	int i;

	for (i = 0; i < OBJECT_PROPS; i++)
		o->props[i].name = prop_names[i];
	o->shared = xcalloc(1, sizeof(*o->shared));
	copy_strings(o, c, k, digest, synced_at);
	if (!c->mime && (s = lang_mime(c->path)))
		set_str(o, P_MIME_TYPE, s, strlen(s));
	if ((s = lang_name(c->path)))
		set_str(o, P_LANGUAGE, s, strlen(s));
	set_int(o, P_SIZE_BYTES, size_of(c, k));
	set_int(o, P_LINE_COUNT, lines_of(c, k));
	set_int(o, P_TRUNCATED, k->truncated);
	o->props[P_TRUNCATED].type = PROP_BOOL;
	o->shared->text = k->text;
	k->text = NULL;
	return o;
}

static void place_chunk(struct object *o, const struct chunk *chunk, uint32_t index)
{
	o->text = o->shared->text + chunk->start;
	o->text_len = chunk->len;
	o->shared->objects++;
	set_int(o, P_CHUNK_INDEX, index);
	set_int(o, P_START_LINE, chunk->first_line);
	set_int(o, P_END_LINE, chunk->last_line);
}

struct object **objects_new(const char *collection, struct change *c, struct content *k,
			    const uint8_t digest[SYNC_DIGEST_SIZE], const char *synced_at,
			    const struct chunking *how, uint32_t *n)
{
	struct chunking fit = { 0 };
	struct object **all, *first = object_of_document(c, k, digest, synced_at);
	struct chunk_walk w;
	struct chunk chunk;
	uint32_t i;

	if (!c->vector)
		fit = *how;
	*n = chunk_fit(&fit, first->shared->text, k->len);
	set_int(first, P_CHUNK_COUNT, *n);
	all = xcalloc(*n, sizeof(*all));
	chunk_begin(&w, first->shared->text, k->len, &fit);
	for (i = 0; i < *n && chunk_next(&w, &chunk); i++) {
		all[i] = first;
		if (i > 0) {
			all[i] = xmalloc(sizeof(*first));
			*all[i] = *first;
		}
		object_id(all[i]->id, collection, c->repo, c->path, i);
		place_chunk(all[i], &chunk, i);
	}
	first->vector = c->vector;
	first->dim = c->nvector;
	c->vector = NULL;
	c->nvector = 0;
	return all;
}

void object_free(struct object *o)
{
	if (!o)
		return;
	if (--o->shared->objects == 0) {
		free(o->shared->text);
		free(o->shared->strings);
		free(o->shared);
	}
	free(o->vector);
	free(o);
}
