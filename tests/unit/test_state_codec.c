#include <stdlib.h>
#include <string.h>

#include "../../src/alloc.h"
#include "../../src/state_codec.h"
#include "tap.h"

static uint32_t seed = 1;

static uint32_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed;
}

/* The records seen from outside: bytes in, a struct, bytes out. */
union record {
	struct identity identity;
	struct head head;
	struct doc_state doc;
	struct mark mark;
	struct failure failure;
	struct repo_state repo;
	struct run_state run;
};

static int identity_in(union record *v, const uint8_t *p, size_t n) { return identity_decode(&v->identity, p, n); }
static void identity_out(struct buf *b, const union record *v) { identity_encode(b, &v->identity); }
static void identity_gone(union record *v) { identity_release(&v->identity); }
static int head_in(union record *v, const uint8_t *p, size_t n) { return head_decode(&v->head, p, n); }
static void head_out(struct buf *b, const union record *v) { head_encode(b, &v->head); }
static void head_gone(union record *v) { head_release(&v->head); }
static int doc_in(union record *v, const uint8_t *p, size_t n) { return doc_decode(&v->doc, p, n); }
static void doc_out(struct buf *b, const union record *v) { doc_encode(b, &v->doc); }
static int mark_in(union record *v, const uint8_t *p, size_t n) { return mark_decode(&v->mark, p, n); }
static void mark_out(struct buf *b, const union record *v) { mark_encode(b, &v->mark); }
static int failure_in(union record *v, const uint8_t *p, size_t n) { return failure_decode(&v->failure, p, n); }
static void failure_out(struct buf *b, const union record *v) { failure_encode(b, &v->failure); }
static void failure_gone(union record *v) { failure_release(&v->failure); }
static int repo_in(union record *v, const uint8_t *p, size_t n) { return repo_decode(&v->repo, p, n); }
static void repo_out(struct buf *b, const union record *v) { repo_encode(b, &v->repo); }
static void repo_gone(union record *v) { repo_release(&v->repo); }
static int run_in(union record *v, const uint8_t *p, size_t n) { return run_decode(&v->run, p, n); }
static void run_out(struct buf *b, const union record *v) { run_encode(b, &v->run); }
static void run_gone(union record *v) { run_release(&v->run); }
static void nothing(union record *v) { (void)v; }

struct kind {
	const char *name;
	int (*in)(union record *v, const uint8_t *p, size_t n);
	void (*out)(struct buf *b, const union record *v);
	void (*gone)(union record *v);
	int added;		/* fields at its end that layout 1 began without */
};
static const struct kind kinds[] = {
	{ "identity", identity_in, identity_out, identity_gone, 0 },
	{ "head", head_in, head_out, head_gone, 2 },
	{ "document", doc_in, doc_out, nothing, 0 },
	{ "mark", mark_in, mark_out, nothing, 0 },
	{ "failure", failure_in, failure_out, failure_gone, 2 },
	{ "repository", repo_in, repo_out, repo_gone, 2 },
	{ "run", run_in, run_out, run_gone, 2 },
};
enum { IDENTITY, HEAD, DOC, MARK, FAILURE, REPO, RUN, KINDS };

/* Bytes in memory of exactly their size, so that a sanitizer sees what reads past them. */
static int decode(const struct kind *k, union record *v, const void *p, size_t n)
{
	uint8_t *exact = malloc(n ? n : 1);
	int got;

	if (exact == NULL)
		exit(71);
	memcpy(exact, p, n);
	got = k->in(v, exact, n);
	free(exact);
	return got;
}

static bool round_trip(const struct kind *k, const struct buf *b, union record *v)
{
	auto_buf struct buf again = BUF_INIT;

	if (decode(k, v, b->data, b->len) != 0)
		return false;
	k->out(&again, v);
	return again.len == b->len && memcmp(again.data, b->data, b->len) == 0;
}

/* But where it ends before a field that was added later: such is what an older state holds. */
static bool cut_is_refused(const struct kind *k, const struct buf *b)
{
	int accepted = 0;
	union record v;

	for (size_t n = 0; n < b->len; n++)
		if (decode(k, &v, b->data, n) == 0) {
			accepted++;
			k->gone(&v);
		}
	return accepted == k->added;
}

static bool more_is_refused(const struct kind *k, const struct buf *b)
{
	auto_buf struct buf longer = BUF_INIT;
	union record v;

	buf_add(&longer, b->data, b->len);
	buf_addc(&longer, '\0');
	return decode(k, &v, longer.data, longer.len) != 0;
}

/* What is accepted must be written so that it reads the same. */
static bool changed_bytes(const struct kind *k, const struct buf *b)
{
	auto_buf struct buf bad = BUF_INIT;

	for (int i = 0; i < 4000; i++) {
		auto_buf struct buf out = BUF_INIT;
		union record v, w;

		buf_reset(&bad);
		buf_add(&bad, b->data, b->len);
		for (uint32_t n = 1 + next_random() % 3; n > 0; n--) {
			size_t at = next_random() % bad.len;

			if (next_random() % 2)
				bad.data[at] = (char)next_random();
			else
				bad.data[at] = (char)(bad.data[at] ^ 1 << next_random() % 8);
		}
		if (next_random() % 8 == 0)
			bad.len = next_random() % bad.len;
		if (decode(k, &v, bad.data, bad.len) != 0)
			continue;
		k->out(&out, &v);
		k->gone(&v);
		if (decode(k, &w, out.data, out.len) != 0)
			return false;
		k->gone(&w);
	}
	return true;
}

static void check(const struct kind *k, const union record *v, union record *got, const char *what)
{
	auto_buf struct buf b = BUF_INIT;

	k->out(&b, v);
	ok(round_trip(k, &b, got), "%s, %s: there and back", k->name, what);
	ok(cut_is_refused(k, &b) && more_is_refused(k, &b), "%s, %s: %zu bytes, cut or longer: refused",
	   k->name, what, b.len);
	ok(changed_bytes(k, &b), "%s, %s: changed bytes do no harm", k->name, what);
}

static char text[] = "caf\xc3\xa9 \"\x7f\x01", empty[] = "", id[] = "20261120T224219Z-1234-9f3c";
static char *long_text;

static void test_identity(void)
{
	union record v = { .identity = { STATE_LAYOUT, text, long_text } }, got;
	auto_buf struct buf b = BUF_INIT;

	check(&kinds[IDENTITY], &v, &got, "texts");
	ok(got.identity.layout == STATE_LAYOUT && strcmp(got.identity.store, text) == 0 &&
	   strcmp(got.identity.collection, long_text) == 0, "identity: what it says");
	identity_release(&got.identity);
	v.identity.layout = STATE_LAYOUT + 1;
	identity_encode(&b, &v.identity);
	ok(identity_decode(&got.identity, (uint8_t *)b.data, b.len) == 1, "a newer layout is told apart");
	buf_reset(&b);
	v.identity.layout = UINT32_MAX;
	identity_encode(&b, &v.identity);
	buf_adds(&b, "what only a later version knows");
	ok(identity_decode(&got.identity, (uint8_t *)b.data, b.len) == 1, "whatever follows in it");
	buf_reset(&b);
	v.identity.layout = 0;
	identity_encode(&b, &v.identity);
	ok(identity_decode(&got.identity, (uint8_t *)b.data, b.len) == -1, "layout 0 never was");
	ok(identity_decode(&got.identity, (const uint8_t *)"x", 1) == -1, "another magic");
}

static void test_head(void)
{
	union record v = { .head = { .generation = UINT64_MAX, .root = UINT32_MAX, .next_page = UINT32_MAX,
		.next_run = UINT32_MAX, .present = UINT64_MAX, .marks = UINT64_MAX,
		.payload_bytes = UINT64_MAX, .collection_read = true, .collection_id = id,
		.embedder = long_text, .dimension = UINT32_MAX, .old_runs = UINT64_MAX,
		.old_objects = UINT64_MAX, .old_requests = UINT64_MAX, .exclude = text, .exclude_open = true } }, zero = { .head = { .root = 0 } };
	auto_buf struct buf b = BUF_INIT;
	union record got;

	for (int i = 0; i < 8; i++)
		v.head.old_counts[i] = UINT64_MAX - (uint64_t)i;
	check(&kinds[HEAD], &v, &got, "greatest");
	ok(got.head.exclude_open && strcmp(got.head.exclude, text) == 0, "head: what --exclude named");
	ok(got.head.generation == UINT64_MAX && got.head.old_counts[7] == UINT64_MAX - 7 &&
	   got.head.dimension == UINT32_MAX && got.head.collection_read &&
	   strcmp(got.head.embedder, long_text) == 0, "head: what it says");
	head_release(&got.head);
	head_encode(&b, &zero.head);
	ok(head_decode(&got.head, (uint8_t *)b.data, b.len - 2) == 0 && got.head.exclude_open &&
	   strcmp(got.head.exclude, EXCLUDE_UNKNOWN) == 0, "of an older state: what --exclude named is not known");
	head_release(&got.head);
	check(&kinds[HEAD], &zero, &got, "zero");
	ok(got.head.embedder != NULL && got.head.embedder[0] == '\0', "a text that was NULL reads as empty");
	head_release(&got.head);
}

static void test_doc_and_mark(void)
{
	union record v = { .doc = { .flags = 0xff, .chunks = UINT32_MAX, .last = { UINT32_MAX, UINT32_MAX } } };
	union record got;

	memset(v.doc.digest, 0xfe, sizeof(v.doc.digest));
	check(&kinds[DOC], &v, &got, "greatest");
	ok(memcmp(&got.doc.digest, &v.doc.digest, SYNC_DIGEST_SIZE) == 0 && got.doc.last.ord == UINT32_MAX,
	   "document: what it says");
	v.doc.flags = DOC_ABSENT;
	check(&kinds[DOC], &v, &got, "absent");
	ok(got.doc.digest[0] == 0, "a digest is kept only where it is known");
	memset(&v, 0, sizeof(v));
	v.mark = (struct mark){ .flags = 7, .chunks = UINT32_MAX, .count = UINT32_MAX,
		.line = { UINT32_MAX, UINT32_MAX }, .since_s = INT64_MIN, .uncommitted = true };
	memset(v.mark.digest, 0x80, sizeof(v.mark.digest));
	check(&kinds[MARK], &v, &got, "long ago");
	ok(got.mark.since_s == INT64_MIN && got.mark.uncommitted && got.mark.flags == 7 &&
	   memcmp(&got.mark.digest, &v.mark.digest, SYNC_DIGEST_SIZE) == 0, "mark: what it says");
	v.mark.since_s = INT64_MAX;
	check(&kinds[MARK], &v, &got, "far ahead");
	ok(got.mark.since_s == INT64_MAX, "mark: when");
}

static void test_failure(void)
{
	union record v = { .failure = { .line = { UINT32_MAX, 1 }, .hold = { 3, UINT32_MAX }, .number = UINT64_MAX,
		.op = OP_CHANGESET, .half = 3, .code = ERR_COUNT - 1, .http = UINT16_MAX,
		.retries = UINT32_MAX, .first_s = INT64_MIN, .last_s = INT64_MAX, .payload = UINT32_MAX,
		.format = 0xff, .repo = text, .path = long_text, .message = text, .root = empty,
		.folder = text, .default_repo = empty, .namespace = text, .default_uncommitted = true,
		.digest = UINT64_MAX } }, got;
	auto_buf struct buf b = BUF_INIT;

	check(&kinds[FAILURE], &v, &got, "greatest");
	ok(got.failure.number == UINT64_MAX && got.failure.http == UINT16_MAX && got.failure.format == 0xff &&
	   strcmp(got.failure.path, long_text) == 0 && strcmp(got.failure.namespace, text) == 0 &&
	   got.failure.first_s == INT64_MIN && got.failure.hold.run == 3 && got.failure.default_uncommitted &&
	   got.failure.digest == UINT64_MAX, "failure: what it says");
	failure_release(&got.failure);
	failure_encode(&b, &v.failure);
	ok(failure_decode(&got.failure, (uint8_t *)b.data, b.len - 11) == 0 && !got.failure.default_uncommitted &&
	   strcmp(got.failure.namespace, text) == 0, "of an older state, which knows of no --uncommitted");
	failure_release(&got.failure);
	buf_reset(&b);
	v.failure.code = ERR_COUNT;
	failure_encode(&b, &v.failure);
	ok(failure_decode(&got.failure, (uint8_t *)b.data, b.len) == -1, "an error code that is not listed");
	buf_reset(&b);
	v.failure.code = ERR_NONE;
	v.failure.op = OP_CHANGESET + 1;
	failure_encode(&b, &v.failure);
	ok(failure_decode(&got.failure, (uint8_t *)b.data, b.len) == -1, "an operation that is not listed");
	failure_release(&got.failure);
}

/* A code that is an allowed one only in its last 16 bits. */
static void test_wide_code(void)
{
	auto_buf struct buf b = BUF_INIT;
	struct failure f;
	static const char head[] = "\1\1\1\1\1\1\1", tail[] = "\0\0\0\0\0\0\0\0\0\0\0\0\0";

	buf_add(&b, head, 7);
	buf_add(&b, "\1", 1);
	buf_add(&b, tail, 13);
	ok(failure_decode(&f, (uint8_t *)b.data, b.len) == 0 && f.code == 1, "a failure by hand");
	failure_release(&f);
	buf_reset(&b);
	buf_add(&b, head, 7);
	buf_add(&b, "\x81\x80\x04", 3);
	buf_add(&b, tail, 13);
	ok(failure_decode(&f, (uint8_t *)b.data, b.len) == -1, "code 65537 is not code 1");
}

static void test_repo(void)
{
	union record v = { .repo = { .commit = id, .changeset = long_text,
		.position = { UINT32_MAX, UINT32_MAX }, .position_s = INT64_MIN, .held_commit = text,
		.held_since = empty, .held_changeset = long_text, .held = { 1, UINT32_MAX },
		.held_number = UINT64_MAX, .held_why = HELD_TOO_MANY_DELETES, .held_waiting = UINT32_MAX,
		.run = UINT32_MAX, .block = UINT32_MAX, .last_ord = UINT32_MAX, .ntails = REPO_TAILS,
		.failed = UINT64_MAX, .doubts = UINT64_MAX, .present = UINT64_MAX, .loose = UINT64_MAX,
		.unknown_run = UINT32_MAX, .whole = true, .held_whole = true, .unknown_ord = 7 } }, got;
	auto_buf struct buf b = BUF_INIT;

	for (uint32_t i = 0; i < REPO_TAILS; i++)
		v.repo.tails[i] = (struct tail){ UINT32_MAX - i, i, UINT32_MAX };
	check(&kinds[REPO], &v, &got, "greatest");
	ok(memcmp(got.repo.tails, v.repo.tails, sizeof(v.repo.tails)) == 0 &&
	   strcmp(got.repo.held_changeset, long_text) == 0 && got.repo.held_why == HELD_TOO_MANY_DELETES &&
	   got.repo.unknown_run == UINT32_MAX && got.repo.loose == UINT64_MAX && got.repo.unknown_ord == 7,
	   "repository: what it says");
	ok(got.repo.whole && got.repo.held_whole, "repository: its position and its held record are whole");
	repo_release(&got.repo);
	repo_encode(&b, &v.repo);
	ok(repo_decode(&got.repo, (uint8_t *)b.data, b.len - 1) == 0 && got.repo.whole &&
	   got.repo.unknown_ord == UINT32_MAX, "of an older state: all lines of that run hold it");
	repo_release(&got.repo);
	ok(repo_decode(&got.repo, (uint8_t *)b.data, b.len - 2) == 0 && !got.repo.whole && !got.repo.held_whole &&
	   got.repo.unknown_run == UINT32_MAX, "of an older state, which does not say so: as told");
	repo_release(&got.repo);
	for (int flags = 0; flags < 4; flags++) {
		v.repo.whole = flags & 1;
		v.repo.held_whole = flags & 2;
		buf_reset(&b);
		repo_encode(&b, &v.repo);
		ok(repo_decode(&got.repo, (uint8_t *)b.data, b.len) == 0 && got.repo.whole == v.repo.whole &&
		   got.repo.held_whole == v.repo.held_whole, "each of the two by itself: %d", flags);
		repo_release(&got.repo);
	}
	buf_reset(&b);
	v.repo.ntails = 0;
	check(&kinds[REPO], &v, &got, "without tails");
	repo_release(&got.repo);
	memset(&v, 0, sizeof(v));
	repo_encode(&b, &v.repo);
	b.data[b.len - 8] = REPO_TAILS + 1;
	buf_reserve(&b, 60);
	while (b.len < 70)
		buf_addc(&b, '\0');
	ok(repo_decode(&got.repo, (uint8_t *)b.data, b.len) == -1, "more tails than there is room for");
}

static void test_run(void)
{
	union record v = { .run = { .number = UINT32_MAX, .id = id, .status = RUN_FAILED,
		.start_s = INT64_MIN, .update_s = -1, .end_s = INT64_MAX, .start_file_ns = INT64_MIN,
		.pid = UINT32_MAX, .host = text, .source = empty, .settings = long_text, .lines_owner = UINT32_MAX, .lines = UINT32_MAX,
		.nancestors = RUN_ANCESTORS, .unchanged = UINT64_MAX, .objects = UINT64_MAX,
		.deletes = UINT64_MAX, .bytes = UINT64_MAX, .requests = UINT64_MAX, .retried = UINT64_MAX,
		.input_bytes = UINT64_MAX, .input_size = UINT64_MAX, .unknown_failures = UINT32_MAX,
		.unknown_holding = UINT32_MAX, .unknown_top = 9, .good = true, .stored = UINT64_MAX,
		.removed = UINT64_MAX, .part_s = INT64_MIN, .before_s = INT64_MAX } }, got;
	auto_buf struct buf b = BUF_INIT;

	for (uint32_t i = 0; i < RUN_ANCESTORS; i++)
		v.run.ancestors[i] = (struct ancestor){ i + 1, UINT32_MAX - i };
	for (int i = 0; i < 8; i++)
		v.run.counts[i] = v.run.ops[i] = UINT64_MAX;
	check(&kinds[RUN], &v, &got, "greatest");
	ok(memcmp(got.run.ancestors, v.run.ancestors, sizeof(v.run.ancestors)) == 0 &&
	   got.run.update_s == -1 && strcmp(got.run.settings, long_text) == 0 &&
	   got.run.unknown_holding == UINT32_MAX && got.run.unknown_top == 9 && got.run.good &&
	   got.run.stored == UINT64_MAX && got.run.removed == UINT64_MAX && got.run.part_s == INT64_MIN &&
	   got.run.before_s == INT64_MAX, "run: what it says");
	run_release(&got.run);
	v.run.good = false;
	v.run.stored = v.run.removed = 1;
	v.run.part_s = v.run.before_s = 1;
	for (int status = RUN_COMPLETED; status <= RUN_FAILED; status++) {
		buf_reset(&b);
		v.run.status = (uint8_t)status;
		run_encode(&b, &v.run);
		ok(run_decode(&got.run, (uint8_t *)b.data, b.len - 5) == 0 &&
		   got.run.good == (status == RUN_COMPLETED) && got.run.stored == 0 && got.run.removed == 0 &&
		   got.run.part_s == INT64_MIN && got.run.before_s == 0,
		   "of an older state: one part, and only a completed one was good");
		run_release(&got.run);
	}
	ok(run_decode(&got.run, (uint8_t *)b.data, b.len - 6) == 0 && got.run.unknown_top == UINT32_MAX,
	   "of a yet older one: each of its lines may hold one");
	run_release(&got.run);
	for (int status = 0; status < 6; status++) {
		buf_reset(&b);
		v.run.status = (uint8_t)status;
		run_encode(&b, &v.run);
		ok((run_decode(&got.run, (uint8_t *)b.data, b.len) == 0) == (status >= 1 && status <= 4),
		   "run of status %d", status);
		run_release(&got.run);
	}
}

static void want_split(const char *key, size_t n, const char *repo, const char *path)
{
	char *r = NULL, *p = NULL;
	int got = key_split(key, n, &r, &p);

	if (repo == NULL)
		ok(got == -1 && r == NULL && p == NULL, "a key of %zu bytes is refused", n);
	else
		ok(got == 0 && strcmp(r, repo) == 0 && strcmp(p, path) == 0, "key of '%s' and '%s'", repo, path);
	free(r);
	free(p);
}

static void test_keys(void)
{
	auto_buf struct buf b = BUF_INIT, c = BUF_INIT;
	struct place_in_run at = { 0x01020304, 0xfffefdfc }, back;

	key_doc(&b, 'd', "team/Repo", "src/a.c");
	want_split(b.data, b.len, "team/Repo", "src/a.c");
	key_doc(&b, 'm', "", "");
	want_split(b.data, b.len, "", "");
	want_split("d", 1, NULL, NULL);
	want_split("", 0, NULL, NULL);
	want_split("drepo", 5, NULL, NULL);
	want_split("da\0b\0", 5, NULL, NULL);
	key_line(&b, 'o', at);
	back = key_place(b.data + 1);
	ok(b.len == 9 && place_compare(back, at) == 0 && back.ord == at.ord, "a line's key and back");
	key_repo_line(&b, "r", at);
	ok(b.len == 11 && memcmp(b.data, "gr\0\1\2\3\4\xff\xfe\xfd\xfc", 11) == 0, "a repository's line");
	key_repo(&b, "r");
	ok(b.len == 2 && memcmp(b.data, "cr", 2) == 0, "a repository");
	key_line(&b, 'o', (struct place_in_run){ 1, 256 });
	key_line(&c, 'o', (struct place_in_run){ 1, 255 });
	ok(memcmp(b.data, c.data, 9) > 0, "keys of lines are in their order");
	ok(place_compare((struct place_in_run){ 1, 9 }, (struct place_in_run){ 2, 1 }) < 0 &&
	   place_compare((struct place_in_run){ 2, 2 }, (struct place_in_run){ 2, 1 }) > 0 &&
	   place_compare(at, at) == 0, "by run, then by line");
}

static void test_names(void)
{
	ok(strcmp(held_name(HELD_LINES), "lines") == 0 &&
	   strcmp(held_name(HELD_NOT_FROM_HERE), "not-from-here") == 0 &&
	   strcmp(held_name(HELD_TOO_MANY_DELETES), "too-many-deletes") == 0, "why a record is held");
	ok(strcmp(run_status_name(RUN_RUNNING), "running") == 0 &&
	   strcmp(run_status_name(RUN_INTERRUPTED), "interrupted") == 0 &&
	   strcmp(run_status_name(RUN_COMPLETED), "completed") == 0 &&
	   strcmp(run_status_name(RUN_FAILED), "failed") == 0, "what became of a run");
}

int main(void)
{
	long_text = xcalloc(1, 300);
	memset(long_text, 'x', 299);
	test_identity();
	test_head();
	test_doc_and_mark();
	test_failure();
	test_wide_code();
	test_repo();
	test_run();
	test_keys();
	test_names();
	free(long_text);
	return tap_done();
}
