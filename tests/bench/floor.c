/* floor URL STATE.tdb BATCH CONNECTIONS: the least that a program like linesync can do.
 *
 * Reads change records from standard input; parses each line with json-c; takes the SHA-256 of its
 * content; copies the content's JSON token, as it stands, into a batch; POSTs each batch of BATCH
 * records to URL over CONNECTIONS kept-alive connections; marks the lines of an acknowledged batch in
 * a bitmap and commits it to STATE.tdb (made anew) in one transaction; then prints one result for each
 * of them.  No checks, no retries, no vectors, nothing that a user would miss: a yardstick for CPU time
 * in the same run on the same machine.  A summary is printed on standard error.
 *
 * Exit status: 0; 1 if a request failed; 64 usage; 74 no state. */
#define _GNU_SOURCE
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <nettle/sha2.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <tdb.h>
#include <unistd.h>

#define READ_SIZE 65536
#define MAX_CONNECTIONS 64
#define CHUNK_LINES 8192	/* lines of one bitmap record */
#define CHUNK_BYTES (CHUNK_LINES / 8)
#define HASH_SIZE 1009

static void *must(void *p)
{
	if (!p) {
		fputs("floor: out of memory\n", stderr);
		exit(71);
	}
	return p;
}

/* Input: whole lines out of a buffer that grows to the longest of them */

struct input {
	char *data;
	size_t cap, start, end, seen;	/* a line begins at start; no newline before seen */
};

/* The next line, NUL in place of its newline, or NULL at the end.  A last line without a newline is
 * not counted. */
static char *next_line(struct input *in, size_t *len)
{
	for (;;) {
		char *line = in->data + in->start, *nl = NULL;
		ssize_t n;

		if (in->end > in->seen)
			nl = memchr(in->data + in->seen, '\n', in->end - in->seen);
		if (nl) {
			*nl = '\0';
			*len = (size_t)(nl - line);
			in->start = in->seen = (size_t)(nl + 1 - in->data);
			return line;
		}
		if (in->start) {
			memmove(in->data, line, in->end - in->start);
			in->end -= in->start;
			in->start = 0;
		}
		in->seen = in->end;
		if (in->cap - in->end < READ_SIZE) {
			in->cap = in->cap ? in->cap * 2 : 4 * READ_SIZE;
			in->data = must(realloc(in->data, in->cap));
		}
		n = read(STDIN_FILENO, in->data + in->end, in->cap - in->end);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return NULL;
		in->end += (size_t)n;
	}
}

/* The quote that ends the string whose first character is at p. */
static const char *string_end(const char *p, const char *end)
{
	const char *first = p;

	while ((p = memchr(p, '"', (size_t)(end - p)))) {
		const char *q = p;

		while (q > first && q[-1] == '\\')
			q--;
		if ((p - q) % 2 == 0)
			return p;
		p++;
	}
	return NULL;
}

/* The token of the member "content", quotes included, in a line as mgit writes it; NULL if none. */
static const char *content_token(const char *line, size_t len, size_t *token_len)
{
	const char *p = line, *end = line + len, *close;
	bool is_content;

	while ((p = memchr(p, '"', (size_t)(end - p)))) {
		close = string_end(p + 1, end);
		if (!close)
			return NULL;
		is_content = close - p == 8 && !memcmp(p + 1, "content", 7) && close[1] == ':' &&
			     close[2] == '"';
		p = close + 1;
		if (!is_content)
			continue;
		close = string_end(p + 2, end);
		if (!close)
			return NULL;
		*token_len = (size_t)(close + 1 - (p + 1));
		return p + 1;
	}
	return NULL;
}

/* State: a bitmap of the lines that are done */

static struct tdb_context *tdb;
static unsigned char *bitmap;
static size_t bitmap_size;
static uint64_t done_lines;
static unsigned long records, commits, requests, failed;

static void mark(uint64_t line)
{
	size_t at = (size_t)(line / 8), size = (at / CHUNK_BYTES + 1) * CHUNK_BYTES;

	if (size > bitmap_size) {
		size *= 2;
		bitmap = must(realloc(bitmap, size));
		memset(bitmap + bitmap_size, 0, size - bitmap_size);
		bitmap_size = size;
	}
	bitmap[at] = (unsigned char)(bitmap[at] | 1u << (line % 8));
}

static void store(void *key, size_t key_len, void *value, size_t value_len)
{
	TDB_DATA k = { key, key_len }, v = { value, value_len };

	if (tdb_store(tdb, k, v, TDB_REPLACE)) {
		fprintf(stderr, "floor: %s\n", tdb_errorstr(tdb));
		exit(74);
	}
}

/* One transaction: the chunks that lines (in order) touch, and the counter. */
static void commit_lines(const uint64_t *lines, size_t n)
{
	unsigned char key[9] = { 'C' };

	if (tdb_transaction_start(tdb))
		exit(74);
	for (size_t i = 0; i < n; i++) {
		uint64_t chunk = lines[i] / CHUNK_LINES;

		mark(lines[i]);
		if (i + 1 < n && lines[i + 1] / CHUNK_LINES == chunk)
			continue;
		for (int b = 0; b < 8; b++)
			key[1 + b] = (unsigned char)(chunk >> (56 - 8 * b));
		store(key, sizeof(key), bitmap + chunk * CHUNK_BYTES, CHUNK_BYTES);
	}
	done_lines += n;
	store((char[]){ 'R' }, 1, &done_lines, sizeof(done_lines));
	if (tdb_transaction_commit(tdb)) {
		fprintf(stderr, "floor: %s\n", tdb_errorstr(tdb));
		exit(74);
	}
	commits++;
}

/* Batches, one for each connection */

struct batch {
	CURL *easy;
	char *body;
	size_t len, cap;
	uint64_t *lines;
	size_t n;
};

static CURLM *multi;
static struct batch batches[MAX_CONNECTIONS];
static size_t batch_size;
static int connections, in_flight;

static void add(struct batch *b, const char *s, size_t n)
{
	if (b->cap - b->len < n) {
		b->cap = (b->len + n) * 5 / 4 + 4096;
		b->body = must(realloc(b->body, b->cap));
	}
	memcpy(b->body + b->len, s, n);
	b->len += n;
}

static void add_text(struct batch *b, const char *s)
{
	add(b, s, strlen(s));
}

static void add_digest(struct batch *b, const uint8_t *digest)
{
	static const char hex[] = "0123456789abcdef";
	char text[2 * SHA256_DIGEST_SIZE];

	for (size_t i = 0; i < SHA256_DIGEST_SIZE; i++) {
		text[2 * i] = hex[digest[i] >> 4];
		text[2 * i + 1] = hex[digest[i] & 15];
	}
	add_text(b, ",\"sync_digest\":\"");
	add(b, text, sizeof(text));
	add_text(b, "\"");
}

static void add_record(struct batch *b, struct json_object *o, const char *line, size_t len)
{
	static const char *const copied[] = { "repo", "path", "content_hash", "mime_type" };
	uint8_t digest[SHA256_DIGEST_SIZE];
	struct json_object *member;
	struct sha256_ctx sha;
	const char *s;
	size_t n;

	add_text(b, b->n ? ",{\"id\":\"" : "{\"id\":\"");
	add_text(b, "00000000-0000-5000-8000-000000000000\"");
	for (size_t i = 0; i < sizeof(copied) / sizeof(copied[0]); i++) {
		if (!json_object_object_get_ex(o, copied[i], &member) || !member)
			continue;
		s = json_object_to_json_string_length(
			member, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &n);
		add_text(b, ",\"");
		add_text(b, copied[i]);
		add_text(b, "\":");
		add(b, s, n);
	}
	s = content_token(line, len, &n);
	if (s && json_object_object_get_ex(o, "content", &member)) {
		sha256_init(&sha);
		sha256_update(&sha, (size_t)json_object_get_string_len(member),
			      (const uint8_t *)json_object_get_string(member));
		sha256_digest(&sha, sizeof(digest), digest);
		add_digest(b, digest);
		add_text(b, ",\"content\":");
		add(b, s, n);
	}
	add_text(b, "}");
}

static void settle(struct batch *b)
{
	commit_lines(b->lines, b->n);
	for (size_t i = 0; i < b->n; i++)
		printf("{\"line\":%llu,\"status\":\"completed\"}\n",
		       (unsigned long long)b->lines[i] + 1);
	b->n = b->len = 0;
}

/* Moves transfers, and settles those that have ended; sleeps only if none has and wait is set. */
static void turn(bool wait)
{
	int running, left;
	bool ended = false;
	CURLMsg *msg;

	curl_multi_perform(multi, &running);
	while ((msg = curl_multi_info_read(multi, &left))) {
		CURLcode result = msg->data.result;
		CURL *easy = msg->easy_handle;
		char *private = NULL;
		long status = 0;

		curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
		curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private);
		curl_multi_remove_handle(multi, easy);
		if (result || status != 200)
			failed++;
		settle((struct batch *)private);
		in_flight--;
		ended = true;
	}
	if (wait && !ended)
		curl_multi_poll(multi, NULL, 0, 1000, NULL);
}

static struct batch *free_batch(void)
{
	for (;;) {
		for (int i = 0; i < connections; i++)
			if (!batches[i].n)
				return &batches[i];
		turn(true);
	}
}

static void post(struct batch *b)
{
	add_text(b, "]}");
	curl_easy_setopt(b->easy, CURLOPT_POSTFIELDS, b->body);
	curl_easy_setopt(b->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)b->len);
	curl_multi_add_handle(multi, b->easy);
	in_flight++;
	requests++;
	turn(false);
}

static void run(void)
{
	struct json_tokener *tokener = must(json_tokener_new());
	struct input in = { 0 };
	struct batch *b = NULL;
	char *line;
	size_t len;

	for (uint64_t number = 0; (line = next_line(&in, &len)); number++) {
		struct json_object *o;

		json_tokener_reset(tokener);
		o = json_tokener_parse_ex(tokener, line, (int)len + 1);
		if (!b) {
			b = free_batch();
			add_text(b, "{\"objects\":[");
		}
		add_record(b, o, line, len);
		json_object_put(o);
		b->lines[b->n++] = number;
		records++;
		if (b->n == batch_size) {
			post(b);
			b = NULL;
		}
	}
	if (b)
		post(b);
	while (in_flight)
		turn(true);
	json_tokener_free(tokener);
	free(in.data);
}

static size_t drop(char *p, size_t size, size_t n, void *arg)
{
	(void)p;
	(void)arg;
	return size * n;
}

static struct curl_slist *setup(const char *url)
{
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");

	curl_global_init(CURL_GLOBAL_DEFAULT);
	multi = must(curl_multi_init());
	headers = must(curl_slist_append(headers, "Expect:"));
	for (int i = 0; i < connections; i++) {
		struct batch *b = &batches[i];

		b->easy = must(curl_easy_init());
		b->lines = must(calloc(batch_size, sizeof(*b->lines)));
		curl_easy_setopt(b->easy, CURLOPT_URL, url);
		curl_easy_setopt(b->easy, CURLOPT_HTTPHEADER, headers);
		curl_easy_setopt(b->easy, CURLOPT_WRITEFUNCTION, drop);
		curl_easy_setopt(b->easy, CURLOPT_PRIVATE, (char *)b);
		curl_easy_setopt(b->easy, CURLOPT_NOSIGNAL, 1L);
	}
	return headers;
}

static void teardown(struct curl_slist *headers)
{
	for (int i = 0; i < connections; i++) {
		curl_easy_cleanup(batches[i].easy);
		free(batches[i].lines);
		free(batches[i].body);
	}
	curl_multi_cleanup(multi);
	curl_slist_free_all(headers);
	curl_global_cleanup();
	tdb_close(tdb);
	free(bitmap);
}

int main(int argc, char **argv)
{
	static char out[65536];
	struct curl_slist *headers;
	struct rusage u;

	if (argc == 5) {
		batch_size = (size_t)strtoul(argv[3], NULL, 10);
		connections = atoi(argv[4]);
	}
	if (!batch_size || connections < 1 || connections > MAX_CONNECTIONS) {
		fprintf(stderr, "usage: floor URL STATE.tdb BATCH CONNECTIONS\n");
		return 64;
	}
	tdb = tdb_open(argv[2], HASH_SIZE, TDB_DEFAULT, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (!tdb) {
		perror(argv[2]);
		return 74;
	}
	setvbuf(stdout, out, _IOFBF, sizeof(out));
	headers = setup(argv[1]);
	run();
	fflush(stdout);
	getrusage(RUSAGE_SELF, &u);
	fprintf(stderr, "floor records=%lu commits=%lu requests=%lu failed=%lu cpu=%.3f\n", records,
		commits, requests, failed,
		(double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
			(double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6);
	teardown(headers);
	return failed ? 1 : 0;
}
