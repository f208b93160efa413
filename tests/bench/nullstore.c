/* nullstore [-i] [-n COUNT] [-d MS] [-v DIMENSION] [-t] [PORT]: a Chroma, a Weaviate and an embedding
 * server that keep nothing, to measure what a client costs by itself.
 *
 * One thread, epoll, HTTP/1.1 with keep-alive and pipelining, on 127.0.0.1 only.  PORT 0 or none: a
 * free one; the port is printed on standard output.  It ends on SIGTERM; with -i also when standard
 * input, a pipe, is closed.
 *
 * heartbeat, pre-flight-checks and version are answered as Chroma does.  A collection is 404 until it
 * has been created, then it is there, and says that it holds 0 records; with -n it is there from the
 * start and says COUNT; what is asked for by id is there.  Of every other request the body, with a
 * length or chunked, is read and dropped, and the answer is 200 {}.
 *
 * Below /v1/ it is Weaviate: the class is what its creation said, and a batch is answered with the
 * whole of it, SUCCESS in each object, as linesync writes them.  And an embedding server: each text has
 * the same vector of DIMENSION numbers (384), as base64 where that is asked for; with -t always as
 * numbers, all 17 digits of them, as Python's json prints floats.
 *
 * With -d a batch is answered MS milliseconds late, those of several connections beside each other.
 *
 *     GET /_stats     {"requests":N,"upserts":N,"deletes":N,"others":N,"body_bytes":N,"reply_bytes":N,
 *                     "connections":N}
 *     POST /_reset    counters to 0, the collection gone
 *
 * Neither counts as a request. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HEAD_MAX 16384
#define READ_SIZE 262144
#define EVENTS 64

#define UUID "11111111-2222-4333-8444-555555555555"

enum phase { HEAD, LENGTH, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER };

struct text {
	char *data;
	size_t len, cap;
};

struct conn {
	int fd;
	struct conn *next_late;		/* in the list of batches that wait for their time */
	bool late;
	long long due;			/* ms */
	bool kept;			/* the body is wanted */
	struct text body;
	enum phase phase;
	size_t head_len;
	unsigned long long left;	/* of the body or of the chunk */
	bool blank;			/* TRAILER: nothing on this line so far */
	bool extension;			/* CHUNK_SIZE: behind the number */
	bool close;
	char what[512];			/* method and path of the request in hand */
	char head[HEAD_MAX + 1];
};

static struct {
	unsigned long long requests, upserts, deletes, others, body_bytes, reply_bytes, connections;
} stats;
static bool created;
static char count[24] = "0";
static char name[513] = "Bench";
static int delay_ms, poller;
static bool until_input_ends;
static struct conn *late;		/* in the order of their time */
static struct text class, reply;	/* class.len 0: there is none */
static struct {
	size_t dimension;
	bool only_numbers;
	struct text base64, numbers;	/* quotes and brackets included */
} vectors = { .dimension = 384 };

static void add(struct text *t, const char *p, size_t n)
{
	if (t->cap - t->len < n) {
		t->cap = (t->len + n) * 2;
		t->data = realloc(t->data, t->cap);
		if (!t->data)
			abort();
	}
	memcpy(t->data + t->len, p, n);
	t->len += n;
}

static void adds(struct text *t, const char *s)
{
	add(t, s, strlen(s));
}

static long long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Answers */

static bool send_all(int fd, const char *p, size_t n)
{
	struct timeval wait = { 10, 0 };

	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
	while (n > 0) {
		ssize_t k = send(fd, p, n, MSG_NOSIGNAL);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return false;
		p += k;
		n -= (size_t)k;
	}
	return true;
}

static bool answer_text(const struct conn *c, int status, const char *body, size_t len)
{
	char head[256];
	int n = snprintf(head, sizeof(head),
			 "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\n"
			 "Content-Length: %zu\r\n\r\n", status, status == 200 ? "OK" : "Not Found", len);

	stats.reply_bytes += len;
	return send_all(c->fd, head, (size_t)n) && send_all(c->fd, body, len);
}

static bool answer(const struct conn *c, int status, const char *body)
{
	return answer_text(c, status, body, strlen(body));
}

static bool answer_collection(const struct conn *c)
{
	char body[1200];

	snprintf(body, sizeof(body),
		 "{\"id\":\"" UUID "\",\"name\":\"%s\",\"configuration_json\":{\"hnsw\":"
		 "{\"space\":\"cosine\",\"ef_construction\":100,\"ef_search\":100,"
		 "\"max_neighbors\":16,\"resize_factor\":1.2,\"sync_threshold\":1000},"
		 "\"spann\":null,\"embedding_function\":null},\"metadata\":null,"
		 "\"dimension\":null,\"tenant\":\"default_tenant\","
		 "\"database\":\"default_database\",\"log_position\":0,\"version\":0}",
		 name);
	return answer(c, 200, body);
}

static bool answer_stats(const struct conn *c)
{
	char body[400];
	unsigned long long reply_bytes = stats.reply_bytes;
	bool sent;

	snprintf(body, sizeof(body),
		 "{\"requests\":%llu,\"upserts\":%llu,\"deletes\":%llu,\"others\":%llu,"
		 "\"body_bytes\":%llu,\"reply_bytes\":%llu,\"connections\":%llu}\n",
		 stats.requests, stats.upserts, stats.deletes, stats.others, stats.body_bytes,
		 stats.reply_bytes, stats.connections);
	sent = answer(c, 200, body);
	stats.reply_bytes = reply_bytes;
	return sent;
}

static bool ends(const char *s, const char *tail)
{
	size_t n = strlen(s), k = strlen(tail);

	return n >= k && !strcmp(s + n - k, tail);
}

/* The name of "GET .../collections/NAME", or NULL. */
static const char *asked_collection(const char *what)
{
	const char *p = strncmp(what, "GET ", 4) ? NULL : strstr(what, "/collections/");

	if (!p || strchr(p + 13, '/'))
		return NULL;
	return p + 13;
}

/* Objects asked for by id are all there, as linesync asks for them: "ids" comes first.  A listing is empty. */
static bool answer_get(struct conn *c)
{
	static const char first[] = "{\"ids\":[";
	const char *p = c->body.data + sizeof(first) - 1, *end;

	reply.len = 0;
	adds(&reply, first);
	if (c->body.len > sizeof(first) && !memcmp(c->body.data, first, sizeof(first) - 1)) {
		end = memchr(p, ']', (size_t)(c->body.data + c->body.len - p));
		add(&reply, p, end ? (size_t)(end - p) : 0);
	}
	adds(&reply, "],\"embeddings\":null,\"documents\":null,\"uris\":null,\"metadatas\":[],"
		     "\"include\":[\"metadatas\"]}");
	return answer_text(c, 200, reply.data, reply.len);
}

static bool answer_asked(const char *collection, const struct conn *c)
{
	snprintf(name, sizeof(name), "%.400s", collection);
	if (!created) {
		return answer(c, 404, "{\"error\":\"NotFoundError\","
				      "\"message\":\"Collection does not exist\"}");
	}
	return answer_collection(c);
}

/* The batch that was sent, each object with its verdict.  Where one ends and the next begins is found by
 * characters that cannot stand in a string. */
static bool answer_batch(struct conn *c)
{
	static const char first[] = "{\"objects\":[", between[] = "}},{\"class\":\"";
	static const char verdict[] = "},\"creationTimeUnix\":1700000000000,\"deprecations\":null,"
				      "\"lastUpdateTimeUnix\":1700000000000,"
				      "\"result\":{\"status\":\"SUCCESS\"}}";
	const char *p = c->body.data + sizeof(first) - 1, *end = c->body.data + c->body.len, *q;

	if (c->body.len < sizeof(first) + 4 || memcmp(c->body.data, first, sizeof(first) - 1) ||
	    memcmp(end - 4, "}}]}", 4))
		return answer(c, 422, "{\"error\":[{\"message\":\"not as linesync writes it\"}]}");
	reply.len = 0;
	adds(&reply, "[");
	while ((q = memmem(p, (size_t)(end - p), between, sizeof(between) - 1))) {
		add(&reply, p, (size_t)(q - p));
		adds(&reply, verdict);
		adds(&reply, ",");
		p = q + 3;
	}
	add(&reply, p, (size_t)(end - 4 - p));
	adds(&reply, verdict);
	adds(&reply, "]");
	return answer_text(c, 200, reply.data, reply.len);
}

/* How many strings the array "input" of the body has; it comes last but for "encoding_format". */
static size_t texts(const struct text *body)
{
	static const char input[] = "\"input\":[";
	const char *p = memmem(body->data, body->len, input, sizeof(input) - 1), *b;
	const char *end = body->data + body->len;
	size_t quotes = 0;

	for (p = p ? p + sizeof(input) - 1 : end; p < end && (*p != ']' || quotes % 2); p++) {
		p = quotes % 2 || *p == '"' ? memchr(p, '"', (size_t)(end - p)) : p;
		if (!p)
			break;
		for (b = p; *p == '"' && b[-1] == '\\'; b--)
			;
		quotes += *p == '"' && (p - b) % 2 == 0;
	}
	return quotes / 2;
}

static bool answer_embeddings(struct conn *c)
{
	static const char coded[] = "\"encoding_format\":\"base64\"";
	bool base64 = !vectors.only_numbers && memmem(c->body.data, c->body.len, coded, sizeof(coded) - 1);
	const struct text *v = base64 ? &vectors.base64 : &vectors.numbers;
	size_t n = texts(&c->body);
	char entry[96];

	reply.len = 0;
	adds(&reply, "{\"object\":\"list\",\"data\":[");
	for (size_t i = 0; i < n; i++) {
		snprintf(entry, sizeof(entry), "%s{\"object\":\"embedding\",\"index\":%zu,\"embedding\":",
			 i ? "," : "", i);
		adds(&reply, entry);
		add(&reply, v->data, v->len);
		adds(&reply, "}");
	}
	adds(&reply, "],\"model\":\"null\",\"usage\":{\"prompt_tokens\":1,\"total_tokens\":1}}");
	return answer_text(c, 200, reply.data, reply.len);
}

/* The index finds every id that the query names. */
static bool answer_check(struct conn *c)
{
	static const char list[] = "valueText:[";
	const char *p = memmem(c->body.data, c->body.len, list, sizeof(list) - 1);
	const char *end = c->body.data + c->body.len;
	const char *name_end = memmem(class.data + 10, class.len - 10, "\"", 1);
	bool any = false;

	reply.len = 0;
	adds(&reply, "{\"data\":{\"Get\":{\"");
	add(&reply, class.data + 10, (size_t)(name_end - class.data - 10));
	adds(&reply, "\":[");
	for (p = p ? p + sizeof(list) - 1 : end; end - p > 40 && p[1] == '"'; p += 41) {	/* \"ID\", */
		adds(&reply, any ? ",{\"_additional\":{\"id\":\"" : "{\"_additional\":{\"id\":\"");
		add(&reply, p + 2, 36);
		adds(&reply, "\"}}");
		any = true;
	}
	adds(&reply, "]}}}");
	return answer_text(c, 200, reply.data, reply.len);
}

/* True if it was put off. */
static bool put_off(struct conn *c)
{
	struct epoll_event ev = { .events = 0, .data.ptr = c };
	struct conn **p = &late;

	if (!delay_ms || c->late)
		return false;
	c->late = true;
	c->due = now_ms() + delay_ms;
	while (*p)
		p = &(*p)->next_late;
	c->next_late = NULL;
	*p = c;
	return epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &ev) == 0;
}

static bool answer_v1(struct conn *c)
{
	bool post = !strncmp(c->what, "POST ", 5);

	if (post && ends(c->what, "/batch/objects")) {
		if (put_off(c))
			return true;
		stats.upserts++;
		return answer_batch(c);
	}
	if (post && ends(c->what, "/embeddings"))
		return answer_embeddings(c);
	stats.others++;
	if (!strncmp(c->what, "DELETE /v1/objects/", 19))
		return send_all(c->fd, "HTTP/1.1 204 No Content\r\n\r\n", 27);
	if (post && ends(c->what, "/graphql") && class.len > 11)
		return answer_check(c);
	if (post && ends(c->what, "/schema")) {
		class.len = 0;
		add(&class, c->body.data, c->body.len);
		return answer_text(c, 200, class.data, class.len);
	}
	if (ends(c->what, "/meta"))
		return answer(c, 200, "{\"hostname\":\"http://[::]:8080\",\"modules\":{},\"version\":\"1.39.0\"}");
	if (ends(c->what, "/batch/objects"))
		return answer(c, 200, "{\"results\":{\"matches\":0,\"limit\":10000,\"successful\":0,"
				      "\"failed\":0,\"objects\":null}}");
	if (ends(c->what, "/shards"))
		return answer(c, 200, "[{\"name\":\"Null0Shard\",\"status\":\"READY\"}]");
	if (ends(c->what, "/ready"))
		return answer(c, 200, "");
	if (strstr(c->what, "/schema/"))
		return answer_text(c, class.len ? 200 : 404, class.data, class.len);
	return answer(c, 200, "{}");
}

/* Answers the request whose last byte was read. */
static bool request_done(struct conn *c)
{
	const char *collection = asked_collection(c->what);

	c->phase = HEAD;
	c->head_len = 0;
	if (ends(c->what, " /_stats"))
		return answer_stats(c);
	if (ends(c->what, " /_reset")) {
		memset(&stats, 0, sizeof(stats));
		created = false;
		class.len = 0;
		return answer(c, 200, "{}");
	}
	stats.requests += !c->late;
	if (strstr(c->what, " /v1/"))
		return answer_v1(c);
	if (ends(c->what, "/upsert")) {
		if (put_off(c))
			return true;
		stats.upserts++;
		return answer(c, 200, "{}");
	}
	if (ends(c->what, "/delete")) {
		stats.deletes++;
		return answer(c, 200, "{}");
	}
	stats.others++;
	if (ends(c->what, "/heartbeat"))
		return answer(c, 200, "{\"nanosecond heartbeat\":1700000000000000000}");
	if (ends(c->what, "/pre-flight-checks"))
		return answer(c, 200, "{\"max_batch_size\":5461,\"supports_base64_encoding\":true}");
	if (ends(c->what, "/version"))
		return answer(c, 200, "\"1.0.0\"");
	if (ends(c->what, "/count"))
		return answer(c, 200, count);
	if (ends(c->what, "/get"))
		return answer_get(c);
	if (!strncmp(c->what, "POST ", 5) && ends(c->what, "/collections")) {
		created = true;
		return answer_collection(c);
	}
	if (collection)
		return answer_asked(collection, c);
	return answer(c, 200, "{}");
}

/* Requests */

static const char *header(const char *head, const char *wanted)
{
	const char *p = strcasestr(head, wanted);

	return p ? p + strlen(wanted) + strspn(p + strlen(wanted), " \t") : NULL;
}

/* The head is whole, its end marked by a NUL. */
static bool head_done(struct conn *c)
{
	const char *length = header(c->head, "\r\nContent-Length:");
	const char *coding = header(c->head, "\r\nTransfer-Encoding:");
	const char *expect = header(c->head, "\r\nExpect:");
	const char *connection = header(c->head, "\r\nConnection:");
	size_t n = strcspn(c->head, " "), path = strcspn(c->head + n + 1, " ?\r");

	if (!c->head[n] || n + 1 + path >= sizeof(c->what))
		return false;
	memcpy(c->what, c->head, n + 1 + path);
	c->what[n + 1 + path] = '\0';
	c->kept = !strncmp(c->what, "POST /v1/", 9) || ends(c->what, "/get");
	c->body.len = 0;
	c->close = connection && !strncasecmp(connection, "close", 5);
	if (expect && !strncasecmp(expect, "100-", 4) &&
	    !send_all(c->fd, "HTTP/1.1 100 Continue\r\n\r\n", 25))
		return false;
	c->left = 0;
	if (coding && !strncasecmp(coding, "chunked", 7)) {
		c->phase = CHUNK_SIZE;
		return true;
	}
	c->left = length ? strtoull(length, NULL, 10) : 0;
	c->phase = LENGTH;
	return true;
}

/* Takes bytes of the head.  Returns how many, 0 if it is no good. */
static size_t feed_head(struct conn *c, const char *p, size_t n)
{
	size_t room = HEAD_MAX - c->head_len, from = c->head_len > 3 ? c->head_len - 3 : 0, used;
	char *end;

	if (n > room)
		n = room;
	if (!n)
		return 0;
	memcpy(c->head + c->head_len, p, n);
	end = memmem(c->head + from, c->head_len + n - from, "\r\n\r\n", 4);
	if (!end) {
		c->head_len += n;
		return n;
	}
	used = (size_t)(end + 4 - c->head) - c->head_len;
	*end = '\0';
	return head_done(c) ? used : 0;
}

static size_t feed_data(struct conn *c, const char *p, size_t n)
{
	if (n > c->left)
		n = (size_t)c->left;
	if (c->kept)
		add(&c->body, p, n);
	stats.body_bytes += n;
	c->left -= n;
	return n;
}

static bool feed_size(struct conn *c, char ch)
{
	unsigned digit;

	if (ch == '\n') {
		c->phase = c->left ? CHUNK_DATA : TRAILER;
		c->blank = true;
		c->extension = false;
		return true;
	}
	if (ch == ';' || ch == ' ' || ch == '\r')
		c->extension = true;
	if (c->extension)
		return true;
	if (ch >= '0' && ch <= '9')
		digit = (unsigned)(ch - '0');
	else if ((ch | 32) >= 'a' && (ch | 32) <= 'f')
		digit = (unsigned)((ch | 32) - 'a') + 10;
	else
		return false;
	c->left = c->left * 16 + digit;
	return true;
}

/* Whether the request has been read to its end. */
static bool whole(struct conn *c, char ch)
{
	if (ch == '\n') {
		if (c->blank)
			return true;
		c->blank = true;
	} else if (ch != '\r') {
		c->blank = false;
	}
	return false;
}

/* Takes what was read; false ends the connection. */
static bool feed(struct conn *c, const char *p, size_t n)
{
	size_t i = 0, used;

	for (;;) {
		if (c->phase == LENGTH && !c->left) {
			if (!request_done(c) || c->close)
				return false;
		} else if (i == n) {
			return true;
		} else if (c->phase == HEAD) {
			used = feed_head(c, p + i, n - i);
			if (!used)
				return false;
			i += used;
		} else if (c->phase == LENGTH) {
			i += feed_data(c, p + i, n - i);
		} else if (c->phase == CHUNK_SIZE) {
			if (!feed_size(c, p[i++]))
				return false;
		} else if (c->phase == CHUNK_DATA) {
			i += feed_data(c, p + i, n - i);
			if (!c->left)
				c->phase = CHUNK_END;
		} else if (c->phase == CHUNK_END) {
			if (p[i++] == '\n')
				c->phase = CHUNK_SIZE;
		} else if (whole(c, p[i++])) {
			if (!request_done(c) || c->close)
				return false;
		}
	}
}

/* Connections */

static void conn_free(struct conn *c)
{
	struct conn **p = &late;

	while (*p && *p != c)
		p = &(*p)->next_late;
	if (*p)
		*p = c->next_late;
	close(c->fd);
	free(c->body.data);
	free(c);
}

static void conn_serve(struct conn *c)
{
	static char buf[READ_SIZE];
	ssize_t n = recv(c->fd, buf, sizeof(buf), 0);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0 || !feed(c, buf, (size_t)n))
		conn_free(c);
}

/* Answers what was put off and is due.  Returns how long the next can wait, in ms; -1: there is none. */
static int serve_late(void)
{
	while (late && late->due <= now_ms()) {
		struct epoll_event ev = { .events = EPOLLIN, .data.ptr = late };
		struct conn *c = late;
		bool good = request_done(c);

		late = c->next_late;
		c->late = false;
		if (!good || epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &ev))
			conn_free(c);
	}
	return late ? (int)(late->due - now_ms() > 0 ? late->due - now_ms() : 0) : -1;
}

static void conn_accept(int listener)
{
	struct epoll_event ev = { .events = EPOLLIN };
	struct conn *c;
	int one = 1, fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c = calloc(1, sizeof(*c));
	if (!c) {
		close(fd);
		return;
	}
	c->fd = fd;
	ev.data.ptr = c;
	if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &ev)) {
		close(fd);
		free(c);
		return;
	}
	stats.connections++;
}

static int listen_on(int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	socklen_t len = sizeof(a);
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 128) ||
	    getsockname(fd, (struct sockaddr *)&a, &len)) {
		perror("nullstore: cannot listen");
		exit(1);
	}
	printf("%d\n", ntohs(a.sin_port));
	fflush(stdout);
	return fd;
}

static bool input_ended(void)
{
	char skipped[512];

	return read(STDIN_FILENO, skipped, sizeof(skipped)) == 0;
}

/* Of any dimension the first numbers are the same, some 0.05 in size. */
static void make_vectors(void)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	struct text bytes = { 0 };
	uint32_t u, seed = 1;
	char one[40];
	float f;

	for (size_t i = 0; i < vectors.dimension; i++) {
		seed = seed * 1664525 + 1013904223;
		f = (float)(int32_t)seed / 4294967296.0f / 10;
		memcpy(&u, &f, sizeof(u));
		add(&bytes, (char[]){ (char)u, (char)(u >> 8), (char)(u >> 16), (char)(u >> 24) }, 4);
		snprintf(one, sizeof(one), "%c%.17g", i ? ',' : '[', (double)f);
		adds(&vectors.numbers, one);
	}
	adds(&vectors.numbers, "]");
	adds(&vectors.base64, "\"");
	while (bytes.len % 3)
		add(&bytes, "", 1);
	for (size_t i = 0; i < bytes.len; i += 3) {
		u = (uint32_t)(unsigned char)bytes.data[i] << 16 |
		    (uint32_t)(unsigned char)bytes.data[i + 1] << 8 | (unsigned char)bytes.data[i + 2];
		for (int k = 18; k >= 0; k -= 6)
			add(&vectors.base64, &digits[u >> k & 63], 1);
	}
	for (size_t i = 0, pad = (3 - vectors.dimension * 4 % 3) % 3; i < pad; i++)
		vectors.base64.data[vectors.base64.len - 1 - i] = '=';
	adds(&vectors.base64, "\"");
	free(bytes.data);
}

static bool options(int argc, char **argv)
{
	int opt;

	while ((opt = getopt(argc, argv, "in:d:v:t")) != -1) {
		switch (opt) {
		case 'i': until_input_ends = true; break;
		case 'd': delay_ms = atoi(optarg); break;
		case 'v': vectors.dimension = strtoul(optarg, NULL, 10); break;
		case 't': vectors.only_numbers = true; break;
		case 'n':
			created = true;
			snprintf(count, sizeof(count), "%llu", strtoull(optarg, NULL, 10));
			break;
		default: return false;
		}
	}
	return argc - optind <= 1;
}

int main(int argc, char **argv)
{
	static char is_listener, is_input;
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = &is_listener }, found[EVENTS];
	int listener;

	if (!options(argc, argv)) {
		fprintf(stderr, "usage: nullstore [-i] [-n COUNT] [-d MS] [-v DIMENSION] [-t] [PORT]\n");
		return 64;
	}
	signal(SIGPIPE, SIG_IGN);
	make_vectors();
	poller = epoll_create1(EPOLL_CLOEXEC);
	listener = listen_on(optind < argc ? atoi(argv[optind]) : 0);
	epoll_ctl(poller, EPOLL_CTL_ADD, listener, &ev);
	ev.data.ptr = &is_input;
	if (until_input_ends && epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &ev)) {
		fprintf(stderr, "nullstore: -i needs a pipe as standard input\n");
		return 64;
	}
	for (;;) {
		int n = epoll_wait(poller, found, EVENTS, serve_late());

		for (int i = 0; i < n; i++) {
			if (found[i].data.ptr == &is_listener)
				conn_accept(listener);
			else if (found[i].data.ptr != &is_input)
				conn_serve(found[i].data.ptr);
			else if (input_ended())
				return 0;
		}
	}
}
