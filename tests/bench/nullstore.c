/* nullstore [-i] [-n COUNT] [PORT]: a Chroma that keeps nothing, to measure what a client costs by itself.
 *
 * One thread, epoll, HTTP/1.1 with keep-alive and pipelining, on 127.0.0.1 only.  PORT 0 or none: a
 * free one; the port is printed on standard output.  It ends on SIGTERM; with -i also when standard
 * input, a pipe, is closed.
 *
 * heartbeat, pre-flight-checks and version are answered as Chroma does.  A collection is 404 until it
 * has been created, then it is there, and says that it holds 0 records; with -n it is there from the
 * start and says COUNT.  Of every other request the body, with a length or chunked, is read and
 * dropped, and the answer is 200 {}.
 *
 *     GET /_stats     {"requests":N,"upserts":N,"deletes":N,"others":N,"body_bytes":N,"connections":N}
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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_MAX 16384
#define READ_SIZE 262144
#define EVENTS 64

#define UUID "11111111-2222-4333-8444-555555555555"

enum phase { HEAD, LENGTH, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER };

struct conn {
	int fd;
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
	unsigned long long requests, upserts, deletes, others, body_bytes, connections;
} stats;
static bool created;
static char count[24] = "0";
static char name[513] = "Bench";

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

static bool answer(const struct conn *c, int status, const char *body)
{
	char out[2048];
	int n = snprintf(out, sizeof(out),
			 "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\n"
			 "Content-Length: %zu\r\n\r\n%s",
			 status, status == 200 ? "OK" : "Not Found", strlen(body), body);

	return send_all(c->fd, out, (size_t)n);
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
	char body[320];

	snprintf(body, sizeof(body),
		 "{\"requests\":%llu,\"upserts\":%llu,\"deletes\":%llu,\"others\":%llu,"
		 "\"body_bytes\":%llu,\"connections\":%llu}\n",
		 stats.requests, stats.upserts, stats.deletes, stats.others, stats.body_bytes,
		 stats.connections);
	return answer(c, 200, body);
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

static bool answer_asked(const char *collection, const struct conn *c)
{
	snprintf(name, sizeof(name), "%.400s", collection);
	if (!created) {
		return answer(c, 404, "{\"error\":\"NotFoundError\","
				      "\"message\":\"Collection does not exist\"}");
	}
	return answer_collection(c);
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
		return answer(c, 200, "{}");
	}
	stats.requests++;
	if (ends(c->what, "/upsert")) {
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
		return answer(c, 200, "{\"ids\":[],\"embeddings\":null,\"documents\":null,"
				      "\"uris\":null,\"metadatas\":[],\"include\":[\"metadatas\"]}");
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

static size_t feed_data(struct conn *c, size_t n)
{
	if (n > c->left)
		n = (size_t)c->left;
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
			i += feed_data(c, n - i);
		} else if (c->phase == CHUNK_SIZE) {
			if (!feed_size(c, p[i++]))
				return false;
		} else if (c->phase == CHUNK_DATA) {
			i += feed_data(c, n - i);
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

static void conn_serve(struct conn *c)
{
	static char buf[READ_SIZE];
	ssize_t n = recv(c->fd, buf, sizeof(buf), 0);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0 || !feed(c, buf, (size_t)n)) {
		close(c->fd);
		free(c);
	}
}

static void conn_accept(int listener, int ep)
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
	if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev)) {
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

int main(int argc, char **argv)
{
	static char is_listener, is_input;
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = &is_listener }, found[EVENTS];
	int opt, listener, ep = epoll_create1(EPOLL_CLOEXEC);
	bool input = false;

	while ((opt = getopt(argc, argv, "in:")) == 'i' || opt == 'n') {
		if (opt == 'i') {
			input = true;
			continue;
		}
		created = true;
		snprintf(count, sizeof(count), "%llu", strtoull(optarg, NULL, 10));
	}
	if (opt != -1 || argc - optind > 1) {
		fprintf(stderr, "usage: nullstore [-i] [-n COUNT] [PORT]\n");
		return 64;
	}
	signal(SIGPIPE, SIG_IGN);
	listener = listen_on(optind < argc ? atoi(argv[optind]) : 0);
	epoll_ctl(ep, EPOLL_CTL_ADD, listener, &ev);
	ev.data.ptr = &is_input;
	if (input && epoll_ctl(ep, EPOLL_CTL_ADD, STDIN_FILENO, &ev)) {
		fprintf(stderr, "nullstore: -i needs a pipe as standard input\n");
		return 64;
	}
	for (;;) {
		int n = epoll_wait(ep, found, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			if (found[i].data.ptr == &is_listener)
				conn_accept(listener, ep);
			else if (found[i].data.ptr != &is_input)
				conn_serve(found[i].data.ptr);
			else if (input_ended())
				return 0;
		}
	}
}
