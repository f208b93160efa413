#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "state_codec.h"

/* Reading with one sticky error, so that decoders are lists of fields. */
struct reader {
	const uint8_t *p;
	size_t left;
	bool bad;
};

static void put_u(struct buf *b, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		buf_addc(b, (char)(v | 0x80));
	buf_addc(b, (char)v);
}

static uint64_t get_u(struct reader *r)
{
	uint64_t v = 0;

	for (int shift = 0; shift < 64 && r->left > 0; shift += 7) {
		uint8_t c = *r->p++;

		r->left--;
		v |= (uint64_t)(c & 0x7f) << shift;
		if (!(c & 0x80))
			return v;
	}
	r->bad = true;
	return 0;
}

static uint32_t get_u32(struct reader *r)
{
	uint64_t v = get_u(r);

	if (v > UINT32_MAX)
		r->bad = true;
	return (uint32_t)v;
}

static uint16_t get_u16(struct reader *r)
{
	uint64_t v = get_u(r);

	if (v > UINT16_MAX)
		r->bad = true;
	return (uint16_t)v;
}

static uint8_t get_u8(struct reader *r)
{
	uint64_t v = get_u(r);

	if (v > UINT8_MAX)
		r->bad = true;
	return (uint8_t)v;
}

/* Times can lie before 1970 on a machine without a clock: zigzag. */
static void put_i(struct buf *b, int64_t v)
{
	put_u(b, (uint64_t)v << 1 ^ (uint64_t)(v < 0 ? -1 : 0));
}

static int64_t get_i(struct reader *r)
{
	uint64_t v = get_u(r);

	return (int64_t)(v >> 1 ^ (v & 1 ? UINT64_MAX : 0));
}

static void put_s(struct buf *b, const char *s)
{
	size_t n = s ? strlen(s) : 0;

	put_u(b, n);
	buf_add(b, s ? s : "", n);
}

/* Never NULL; a NUL inside means damage, since all our texts are C strings. */
static char *get_s(struct reader *r)
{
	uint64_t n = get_u(r);
	char *s;

	if (r->bad || n > r->left || memchr(r->p, '\0', n) != NULL) {
		r->bad = true;
		return xstrdup("");
	}
	s = xmemdup0(r->p, n);
	r->p += n;
	r->left -= n;
	return s;
}

static void put_raw(struct buf *b, const void *p, size_t n)
{
	buf_add(b, p, n);
}

static void get_raw(struct reader *r, void *out, size_t n)
{
	if (n > r->left) {
		r->bad = true;
		memset(out, 0, n);
		return;
	}
	memcpy(out, r->p, n);
	r->p += n;
	r->left -= n;
}

static void put_place(struct buf *b, struct place_in_run at)
{
	put_u(b, at.run);
	put_u(b, at.ord);
}

static struct place_in_run get_place(struct reader *r)
{
	struct place_in_run at;

	at.run = get_u32(r);
	at.ord = get_u32(r);
	return at;
}

static bool done(const struct reader *r)
{
	return !r->bad && r->left == 0;
}

const char *held_name(enum held_why w)
{
	switch (w) {
	case HELD_NOT_FROM_HERE:
		return "not-from-here";
	case HELD_TOO_MANY_DELETES:
		return "too-many-deletes";
	case HELD_INCOMPLETE:
		return "incomplete";
	case HELD_LINES:
		break;
	}
	return "lines";
}

const char *run_status_name(enum run_status s)
{
	switch (s) {
	case RUN_RUNNING:
		return "running";
	case RUN_INTERRUPTED:
		return "interrupted";
	case RUN_COMPLETED:
		return "completed";
	case RUN_FAILED:
		break;
	}
	return "failed";
}

void identity_encode(struct buf *b, const struct identity *v)
{
	put_raw(b, STATE_MAGIC, sizeof STATE_MAGIC - 1);
	put_u(b, v->layout);
	put_s(b, v->store);
	put_s(b, v->collection);
}

int identity_decode(struct identity *v, const uint8_t *p, size_t n)
{
	struct reader r = { p, n, false };
	char magic[sizeof STATE_MAGIC - 1];

	memset(v, 0, sizeof *v);
	get_raw(&r, magic, sizeof magic);
	if (r.bad || memcmp(magic, STATE_MAGIC, sizeof magic) != 0)
		return -1;
	v->layout = get_u32(&r);
	if (!r.bad && v->layout > STATE_LAYOUT)
		return 1;
	v->store = get_s(&r);
	v->collection = get_s(&r);
	if (done(&r) && v->layout >= 1)
		return 0;
	identity_release(v);
	return -1;
}

void identity_release(struct identity *v)
{
	free(v->store);
	free(v->collection);
	memset(v, 0, sizeof *v);
}

void head_encode(struct buf *b, const struct head *v)
{
	put_u(b, v->generation);
	put_u(b, v->root);
	put_u(b, v->next_page);
	put_u(b, v->next_run);
	put_u(b, v->present);
	put_u(b, v->marks);
	put_u(b, v->payload_bytes);
	put_u(b, v->collection_read);
	put_s(b, v->collection_id);
	put_s(b, v->embedder);
	put_u(b, v->dimension);
	put_s(b, v->embed_how);
	put_u(b, v->old_runs);
	for (int i = 0; i < 8; i++)
		put_u(b, v->old_counts[i]);
	put_u(b, v->old_objects);
	put_u(b, v->old_requests);
	put_u(b, v->whole_run);
	put_s(b, v->exclude);
	put_u(b, v->exclude_open);
}

int head_decode(struct head *v, const uint8_t *p, size_t n)
{
	struct reader r = { p, n, false };

	memset(v, 0, sizeof *v);
	v->generation = get_u(&r);
	v->root = get_u32(&r);
	v->next_page = get_u32(&r);
	v->next_run = get_u32(&r);
	v->present = get_u(&r);
	v->marks = get_u(&r);
	v->payload_bytes = get_u(&r);
	v->collection_read = get_u(&r) != 0;
	v->collection_id = get_s(&r);
	v->embedder = get_s(&r);
	v->dimension = get_u32(&r);
	v->embed_how = get_s(&r);
	v->old_runs = get_u(&r);
	for (int i = 0; i < 8; i++)
		v->old_counts[i] = get_u(&r);
	v->old_objects = get_u(&r);
	v->old_requests = get_u(&r);
	v->whole_run = r.left > 0 ? get_u32(&r) : 0;
	if (r.left > 0) {
		v->exclude = get_s(&r);
		v->exclude_open = get_u(&r) != 0;
	} else {
		v->exclude = xstrdup(EXCLUDE_UNKNOWN);
		v->exclude_open = true;
	}
	if (done(&r))
		return 0;
	head_release(v);
	return -1;
}

void head_release(struct head *v)
{
	free(v->collection_id);
	free(v->embedder);
	free(v->embed_how);
	free(v->exclude);
	memset(v, 0, sizeof *v);
}

void doc_encode(struct buf *b, const struct doc_state *v)
{
	put_u(b, v->flags);
	if (v->flags & DOC_KNOWN)
		put_raw(b, v->digest, SYNC_DIGEST_SIZE);
	put_u(b, v->chunks);
	put_place(b, v->last);
}

int doc_decode(struct doc_state *v, const uint8_t *p, size_t n)
{
	struct reader r = { p, n, false };

	memset(v, 0, sizeof *v);
	v->flags = get_u8(&r);
	if (v->flags & DOC_KNOWN)
		get_raw(&r, v->digest, SYNC_DIGEST_SIZE);
	v->chunks = get_u32(&r);
	v->last = get_place(&r);
	return done(&r) ? 0 : -1;
}

void mark_encode(struct buf *b, const struct mark *v)
{
	put_u(b, v->flags);
	put_raw(b, v->digest, SYNC_DIGEST_SIZE);
	put_u(b, v->chunks);
	put_u(b, v->count);
	put_place(b, v->line);
	put_i(b, v->since_s);
	put_u(b, v->uncommitted);
}

int mark_decode(struct mark *v, const uint8_t *p, size_t n)
{
	struct reader r = { p, n, false };

	memset(v, 0, sizeof *v);
	v->flags = get_u8(&r);
	get_raw(&r, v->digest, SYNC_DIGEST_SIZE);
	v->chunks = get_u32(&r);
	v->count = get_u32(&r);
	v->line = get_place(&r);
	v->since_s = get_i(&r);
	v->uncommitted = get_u(&r) != 0;
	return done(&r) ? 0 : -1;
}

void failure_encode(struct buf *b, const struct failure *v)
{
	put_place(b, v->line);
	put_place(b, v->hold);
	put_u(b, v->number);
	put_u(b, v->op);
	put_u(b, v->half);
	put_u(b, v->code);
	put_u(b, v->http);
	put_u(b, v->retries);
	put_i(b, v->first_s);
	put_i(b, v->last_s);
	put_u(b, v->payload);
	put_u(b, v->format);
	put_s(b, v->repo);
	put_s(b, v->path);
	put_s(b, v->message);
	put_s(b, v->root);
	put_s(b, v->folder);
	put_s(b, v->default_repo);
	put_s(b, v->namespace);
	put_u(b, v->default_uncommitted);
	put_u(b, v->digest);
}

int failure_decode(struct failure *v, const uint8_t *p, size_t n)
{
	struct reader r = { p, n, false };

	memset(v, 0, sizeof *v);
	v->line = get_place(&r);
	v->hold = get_place(&r);
	v->number = get_u(&r);
	v->op = get_u8(&r);
	v->half = get_u8(&r);
	v->code = get_u16(&r);
	v->http = get_u16(&r);
	v->retries = get_u32(&r);
	v->first_s = get_i(&r);
	v->last_s = get_i(&r);
	v->payload = get_u32(&r);
	v->format = get_u8(&r);
	v->repo = get_s(&r);
	v->path = get_s(&r);
	v->message = get_s(&r);
	v->root = get_s(&r);
	v->folder = get_s(&r);
	v->default_repo = get_s(&r);
	v->namespace = get_s(&r);
	v->default_uncommitted = r.left > 0 && get_u(&r) != 0;
	v->digest = r.left > 0 ? get_u(&r) : 0;
	if (done(&r) && v->code < ERR_COUNT && v->op <= OP_CHANGESET)
		return 0;
	failure_release(v);
	return -1;
}

void failure_release(struct failure *v)
{
	free(v->repo);
	free(v->path);
	free(v->message);
	free(v->root);
	free(v->folder);
	free(v->default_repo);
	free(v->namespace);
	memset(v, 0, sizeof *v);
}

enum { REPO_WHOLE = 1, REPO_HELD_WHOLE = 2 };

void repo_encode(struct buf *b, const struct repo_state *v)
{
	put_s(b, v->commit);
	put_s(b, v->changeset);
	put_place(b, v->position);
	put_i(b, v->position_s);
	put_s(b, v->held_commit);
	put_s(b, v->held_since);
	put_s(b, v->held_changeset);
	put_place(b, v->held);
	put_u(b, v->held_number);
	put_u(b, v->held_why);
	put_u(b, v->held_waiting);
	put_u(b, v->run);
	put_u(b, v->block);
	put_u(b, v->last_ord);
	put_u(b, v->ntails);
	for (int i = 0; i < v->ntails; i++) {
		put_u(b, v->tails[i].run);
		put_u(b, v->tails[i].from);
		put_u(b, v->tails[i].to);
	}
	put_u(b, v->failed);
	put_u(b, v->doubts);
	put_u(b, v->present);
	put_u(b, v->loose);
	put_u(b, v->unknown_run);
	put_u(b, (v->whole ? REPO_WHOLE : 0) | (v->held_whole ? REPO_HELD_WHOLE : 0));
	put_u(b, v->unknown_ord);
}

int repo_decode(struct repo_state *v, const uint8_t *p, size_t n)
{
	struct reader r = { p, n, false };
	uint8_t whole;

	memset(v, 0, sizeof *v);
	v->commit = get_s(&r);
	v->changeset = get_s(&r);
	v->position = get_place(&r);
	v->position_s = get_i(&r);
	v->held_commit = get_s(&r);
	v->held_since = get_s(&r);
	v->held_changeset = get_s(&r);
	v->held = get_place(&r);
	v->held_number = get_u(&r);
	v->held_why = get_u8(&r);
	v->held_waiting = get_u32(&r);
	v->run = get_u32(&r);
	v->block = get_u32(&r);
	v->last_ord = get_u32(&r);
	v->ntails = get_u8(&r);
	if (v->ntails > REPO_TAILS) {
		v->ntails = 0;
		r.bad = true;
	}
	for (int i = 0; i < v->ntails; i++) {
		v->tails[i].run = get_u32(&r);
		v->tails[i].from = get_u32(&r);
		v->tails[i].to = get_u32(&r);
	}
	v->failed = get_u(&r);
	v->doubts = get_u(&r);
	v->present = get_u(&r);
	v->loose = get_u(&r);
	v->unknown_run = get_u32(&r);
	whole = r.left > 0 ? get_u8(&r) : 0;
	v->whole = whole & REPO_WHOLE;
	v->held_whole = whole & REPO_HELD_WHOLE;
	v->unknown_ord = r.left > 0 ? get_u32(&r) : v->unknown_run != 0 ? UINT32_MAX : 0;
	if (done(&r))
		return 0;
	repo_release(v);
	return -1;
}

void repo_release(struct repo_state *v)
{
	free(v->commit);
	free(v->changeset);
	free(v->held_commit);
	free(v->held_since);
	free(v->held_changeset);
	memset(v, 0, sizeof *v);
}

void run_encode(struct buf *b, const struct run_state *v)
{
	put_u(b, v->number);
	put_s(b, v->id);
	put_u(b, v->status);
	put_i(b, v->start_s);
	put_i(b, v->update_s);
	put_i(b, v->end_s);
	put_i(b, v->start_file_ns);
	put_u(b, v->pid);
	put_s(b, v->host);
	put_s(b, v->source);
	put_s(b, v->settings);
	put_u(b, v->lines_owner);
	put_u(b, v->lines);
	put_u(b, v->nancestors);
	for (int i = 0; i < v->nancestors; i++) {
		put_u(b, v->ancestors[i].run);
		put_u(b, v->ancestors[i].cut);
	}
	for (int i = 0; i < 8; i++)
		put_u(b, v->counts[i]);
	put_u(b, v->unchanged);
	for (int i = 0; i < 8; i++)
		put_u(b, v->ops[i]);
	put_u(b, v->objects);
	put_u(b, v->deletes);
	put_u(b, v->bytes);
	put_u(b, v->requests);
	put_u(b, v->retried);
	put_u(b, v->input_bytes);
	put_u(b, v->input_size);
	put_u(b, v->unknown_failures);
	put_u(b, v->unknown_holding);
	put_u(b, v->unknown_top);
	put_u(b, v->good);
	put_u(b, v->stored);
	put_u(b, v->removed);
	put_i(b, v->part_s);
	put_i(b, v->before_s);
}

int run_decode(struct run_state *v, const uint8_t *p, size_t n)
{
	struct reader r = { p, n, false };

	memset(v, 0, sizeof *v);
	v->number = get_u32(&r);
	v->id = get_s(&r);
	v->status = get_u8(&r);
	v->start_s = get_i(&r);
	v->update_s = get_i(&r);
	v->end_s = get_i(&r);
	v->start_file_ns = get_i(&r);
	v->pid = get_u32(&r);
	v->host = get_s(&r);
	v->source = get_s(&r);
	v->settings = get_s(&r);
	v->lines_owner = get_u32(&r);
	v->lines = get_u32(&r);
	v->nancestors = get_u8(&r);
	if (v->nancestors > RUN_ANCESTORS) {
		v->nancestors = 0;
		r.bad = true;
	}
	for (int i = 0; i < v->nancestors; i++) {
		v->ancestors[i].run = get_u32(&r);
		v->ancestors[i].cut = get_u32(&r);
	}
	for (int i = 0; i < 8; i++)
		v->counts[i] = get_u(&r);
	v->unchanged = get_u(&r);
	for (int i = 0; i < 8; i++)
		v->ops[i] = get_u(&r);
	v->objects = get_u(&r);
	v->deletes = get_u(&r);
	v->bytes = get_u(&r);
	v->requests = get_u(&r);
	v->retried = get_u(&r);
	v->input_bytes = get_u(&r);
	v->input_size = get_u(&r);
	v->unknown_failures = get_u32(&r);
	v->unknown_holding = get_u32(&r);
	v->unknown_top = r.left > 0 ? get_u32(&r) : v->unknown_holding > 0 ? UINT32_MAX : 0;
	v->good = v->status == RUN_COMPLETED;
	v->part_s = v->start_s;
	if (r.left > 0) {
		v->good = get_u8(&r) != 0;
		v->stored = get_u(&r);
		v->removed = get_u(&r);
		v->part_s = get_i(&r);
		v->before_s = get_i(&r);
	}
	if (done(&r) && v->status >= RUN_RUNNING && v->status <= RUN_FAILED)
		return 0;
	run_release(v);
	return -1;
}

void run_release(struct run_state *v)
{
	free(v->id);
	free(v->host);
	free(v->source);
	free(v->settings);
	memset(v, 0, sizeof *v);
}

static void put_be(struct buf *b, uint32_t v)
{
	for (int shift = 24; shift >= 0; shift -= 8)
		buf_addc(b, (char)(v >> shift));
}

void key_repo(struct buf *b, const char *repo)
{
	buf_reset(b);
	buf_addc(b, 'c');
	buf_adds(b, repo);
}

void key_doc(struct buf *b, char kind, const char *repo, const char *path)
{
	buf_reset(b);
	buf_addc(b, kind);
	buf_add(b, repo, strlen(repo) + 1);
	buf_adds(b, path);
}

void key_repo_line(struct buf *b, const char *repo, struct place_in_run line)
{
	buf_reset(b);
	buf_addc(b, 'g');
	buf_add(b, repo, strlen(repo) + 1);
	put_be(b, line.run);
	put_be(b, line.ord);
}

void key_line(struct buf *b, char kind, struct place_in_run line)
{
	buf_reset(b);
	buf_addc(b, kind);
	put_be(b, line.run);
	put_be(b, line.ord);
}

void key_digest(struct buf *b, uint64_t digest, struct place_in_run line)
{
	buf_reset(b);
	buf_addc(b, 'h');
	put_be(b, (uint32_t)(digest >> 32));
	put_be(b, (uint32_t)digest);
	put_be(b, line.run);
	put_be(b, line.ord);
}

void key_run(struct buf *b, uint32_t run)
{
	buf_reset(b);
	buf_addc(b, 'r');
	put_be(b, run);
}

int key_split(const void *key, size_t n, char **repo, char **path)
{
	const char *k = key;
	const char *nul = n > 1 ? memchr(k + 1, '\0', n - 1) : NULL;

	if (nul == NULL || memchr(nul + 1, '\0', (size_t)(k + n - nul - 1)) != NULL)
		return -1;
	*repo = xmemdup0(k + 1, (size_t)(nul - k - 1));
	*path = xmemdup0(nul + 1, (size_t)(k + n - nul - 1));
	return 0;
}

uint32_t key_number(const void *p)
{
	const uint8_t *b = p;

	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

struct place_in_run key_place(const void *p)
{
	const uint8_t *b = p;

	return (struct place_in_run){ key_number(b), key_number(b + 4) };
}

int place_compare(struct place_in_run a, struct place_in_run b)
{
	if (a.run != b.run)
		return a.run < b.run ? -1 : 1;
	return (a.ord > b.ord) - (a.ord < b.ord);
}
