/* Against a server of our own on the loopback, one process a scenario. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../src/alloc.h"
#include "../../src/clock.h"
#include "../../src/http.h"
#include "../../src/strip.h"
#include "tap.h"

/* The server's side */

struct seen {
	char head[4096];
	size_t body;
};

static int accept_one(int lfd)
{
	int fd;

	do
		fd = accept(lfd, NULL, NULL);
	while (fd < 0 && errno == EINTR);
	return fd;
}

static size_t content_length(const char *head)
{
	for (const char *p = head; (p = strchr(p, '\n')); )
		if (!strncasecmp(++p, "content-length:", 15))
			return strtoul(p + 15, NULL, 10);
	return 0;
}

/* Reads one whole request; false at end of connection. */
static bool read_request(int fd, struct seen *s)
{
	static char piece[65536];
	size_t n = 0, want;
	char *end = NULL;
	ssize_t got;

	memset(s, 0, sizeof(*s));
	while (!end && n < sizeof(s->head) - 1) {
		got = read(fd, s->head + n, 1);
		if (got <= 0)
			return false;
		n += (size_t)got;
		end = strstr(s->head, "\r\n\r\n");
	}
	want = content_length(s->head);
	while (s->body < want) {
		got = read(fd, piece, want - s->body < sizeof(piece) ? want - s->body : sizeof(piece));
		if (got <= 0)
			return false;
		s->body += (size_t)got;
	}
	return true;
}

static void say(int fd, const char *text)
{
	size_t n = strlen(text);

	while (n) {
		ssize_t put = send(fd, text, n, MSG_NOSIGNAL);

		if (put <= 0)
			return;
		text += put;
		n -= (size_t)put;
	}
}

static void say_body(int fd, const char *body)
{
	char *all = xasprintf("HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(body),
			      body);

	say(fd, all);
	free(all);
}

static void reset(int fd)
{
	struct linger l = { 1, 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	close(fd);
}

static void nap(long ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&t, NULL);
}

/* Ends the connection as a good server does after refusing: the client's bytes are still read. */
static void drain(int fd)
{
	static char piece[65536];

	shutdown(fd, SHUT_WR);
	while (read(fd, piece, sizeof(piece)) > 0)
		;
	close(fd);
}

/* Setting up */

static int port;
static pid_t server;
static struct http *http;

static int listen_any(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 16) < 0 ||
	    getsockname(fd, (struct sockaddr *)&a, &n) < 0) {
		printf("Bail out! no loopback\n");
		exit(77);
	}
	port = ntohs(a.sin_port);
	return fd;
}

static void client(int connections, long timeout_ms)
{
	static const char *const headers[] = { "X-Test: yes", NULL };
	struct http_options o = { .total_timeout_ms = timeout_ms, .idle_s = 30,
				  .max_reply = 100000, .headers = headers,
				  .connections = connections };

	http_free(http);
	http = http_new(&o);
}

static void serve(void (*script)(int lfd))
{
	int lfd = listen_any();

	fflush(stdout);
	server = fork();
	if (server == 0) {
		script(lfd);
		_exit(0);
	}
	close(lfd);
	client(1, 60000);
}

static void serve_end(void)
{
	http_free(http);
	http = NULL;
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
}

static struct request request(const char *method, const char *path, const char *body)
{
	struct request r = { .method = method };

	r.url = xasprintf("http://127.0.0.1:%d%s", port, path);
	if (body)
		buf_adds(&r.body, body);
	return r;
}

static struct request post(void)
{
	return request("POST", "/p", "{\"a\":1}");
}

static void once(struct request r, struct reply *reply)
{
	if (http_once(http, &r, reply, -1) < 0)
		printf("# http_once gave up\n");
}

static bool body_is(const struct reply *r, const char *want)
{
	return r->body.len == strlen(want) && !memcmp(r->body.data ? r->body.data : "", want,
						      r->body.len);
}

/* What is sent */

static bool has(const struct seen *s, const char *line)
{
	for (const char *p = s->head; p; p = strchr(p, '\n'), p = p ? p + 1 : NULL)
		if (!strncasecmp(p, line, strlen(line)))
			return true;
	return false;
}

static void echo(int lfd)
{
	int connection = 0, fd;
	struct seen s;

	while ((fd = accept_one(lfd)) >= 0) {
		connection++;
		while (read_request(fd, &s)) {
			char *body = xasprintf("%.*s type=%d expect=%d encoding=%d test=%d body=%zu"
					       " conn=%d", (int)strcspn(s.head, "\r"), s.head,
					       has(&s, "Content-Type: application/json\r"),
					       has(&s, "Expect"), has(&s, "Accept-Encoding"),
					       has(&s, "X-Test: yes\r"), s.body, connection);

			say_body(fd, body);
			free(body);
		}
		close(fd);
	}
}

static void want_echo(struct request r, const char *want)
{
	size_t sent = r.body.len;
	struct reply reply;

	once(r, &reply);
	ok(reply.end == HTTP_ANSWERED && reply.status == 200 && body_is(&reply, want), "%s", want);
	if (!body_is(&reply, want))
		printf("# got %s, %s\n", reply.body.data ? reply.body.data : "", reply.error);
	ok(reply.sent_bytes == sent && reply.got_bytes == reply.body.len && !reply.resent &&
	   reply.retry_after_s == -1 && !*reply.location && !*reply.error, "its numbers");
	reply_release(&reply);
}

static void test_methods(void)
{
	struct request big = post();
	struct reply r;

	serve(echo);
	once(post(), &r);
	ok(!r.fresh, "the first connection stands for no other");
	reply_release(&r);
	once(post(), &r);
	ok(!r.fresh, "the next one has the same");
	reply_release(&r);
	want_echo(post(), "POST /p HTTP/1.1 type=1 expect=0 encoding=0 test=1 body=7 conn=1");
	want_echo(request("GET", "/g", NULL),
		  "GET /g HTTP/1.1 type=0 expect=0 encoding=0 test=1 body=0 conn=1");
	want_echo(request("PUT", "/u", "{}"),
		  "PUT /u HTTP/1.1 type=1 expect=0 encoding=0 test=1 body=2 conn=1");
	want_echo(request("DELETE", "/d", "[1]"),
		  "DELETE /d HTTP/1.1 type=1 expect=0 encoding=0 test=1 body=3 conn=1");
	want_echo(request("GET", "/g", NULL),
		  "GET /g HTTP/1.1 type=0 expect=0 encoding=0 test=1 body=0 conn=1");
	want_echo(request("POST", "/e", NULL),
		  "POST /e HTTP/1.1 type=1 expect=0 encoding=0 test=1 body=0 conn=1");
	request_release(&big);
	big = request("POST", "/b", NULL);
	for (int i = 0; i < 300000; i++)
		buf_add(&big.body, "0123456789", 10);
	want_echo(big, "POST /b HTTP/1.1 type=1 expect=0 encoding=0 test=1 body=3000000 conn=1");
	serve_end();
}

/* How it can end: one script answers by path. */

static void by_path(int lfd)
{
	struct seen s;
	int fd;

	while ((fd = accept_one(lfd)) >= 0) {
		if (!read_request(fd, &s)) {
			close(fd);
			continue;
		}
		if (has(&s, "POST /reset"))
			reset(fd);
		else if (has(&s, "POST /hang"))
			nap(60000);
		else {
			if (has(&s, "POST /partial"))
				say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"a\":");
			else if (has(&s, "POST /chunk"))
				say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
					"5\r\n{\"a\":\r\n");
			else if (has(&s, "POST /head"))
				say(fd, "HTTP/1.1 200 OK\r\nContent-");
			else if (has(&s, "POST /words"))
				say(fd, "hello, who is there?\n");
			else if (has(&s, "POST /long"))
				say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n");
			else if (has(&s, "POST /error"))
				say(fd, "HTTP/1.1 500 x\r\nContent-Length: 80000\r\n\r\n");
			for (int i = 0; i < 80 && has(&s, "POST /error"); i++)
				for (int k = 0; k < 20; k++)
					say(fd, "01234567890123456789012345678901234567890123456789");
			for (int i = 0; i < 200 && has(&s, "POST /long"); i++)
				for (int k = 0; k < 20; k++)
					say(fd, "01234567890123456789012345678901234567890123456789");
			close(fd);
		}
	}
}

static const struct {
	const char *path, *what;
} losses[] = {
	{ "/reset", "reset after the request" },
	{ "/close", "closed without an answer" },
	{ "/partial", "body cut" },
	{ "/chunk", "chunks cut" },
	{ "/head", "head cut" },
	{ "/words", "not HTTP at all" },
	{ "/long", "longer than the cap" },
};

static void test_losses(void)
{
	struct reply r;

	serve(by_path);
	for (size_t i = 0; i < sizeof(losses) / sizeof(losses[0]); i++) {
		once(request("POST", losses[i].path, "{}"), &r);
		ok(r.end == HTTP_LOST && !r.status && *r.error && !r.timed_out && !r.resent,
		   "%s: %s", losses[i].what, r.error);
		if (!strcmp(losses[i].path, "/long"))
			ok(strstr(r.error, "reply too long") && r.body.len <= 100000, "bounded");
		reply_release(&r);
	}
	once(request("POST", "/error", "{}"), &r);
	ok(r.end == HTTP_ANSWERED && r.status == 500 && r.got_bytes == 80000 && r.body.len == HTTP_ERROR_TEXT,
	   "the text of an error is an answer, and only its beginning is kept");
	reply_release(&r);
	serve_end();
}

/* An array of 2,000 elements, 210 kB, of which 40 kB are left without the vectors. */
static void answer_vectors(int fd, const char *status, const char *name)
{
	static const char piece[] = "0.123456789,0.123456789,0.123456789,0.123456789,"
				    "0.123456789,0.123456789,0.123456789";
	char *head = xasprintf("HTTP/1.1 %s\r\nConnection: close\r\n\r\n[", status);

	say(fd, head);
	free(head);
	for (int i = 0; i < 2000; i++) {
		char *one = xasprintf("%s{\"%s\":[%s],\"id\":%d}", i ? "," : "", name, piece, i % 10);

		say(fd, one);
		free(one);
	}
	say(fd, "]");
	drain(fd);
}

static void vectors(int lfd)
{
	struct seen s;
	int fd;

	while ((fd = accept_one(lfd)) >= 0) {
		if (!read_request(fd, &s))
			close(fd);
		else if (has(&s, "POST /endless"))
			for (;;)
				say(fd, "HTTP/1.1 200 OK\r\n\r\n[{\"vector\":[1,1,1,1,1,1,1,1");
		else
			answer_vectors(fd, has(&s, "POST /error") ? "500 x" : "200 OK",
				       has(&s, "POST /other") ? "sector" : "vector");
	}
}

static struct request stripped(const char *path, size_t bytes)
{
	static const char *const names[] = { "vector", NULL };
	struct request r = request("POST", path, NULL);

	r.strip = strip_new(names);
	while (r.body.len < bytes)
		buf_addc(&r.body, ' ');
	return r;
}

static void test_stripped(void)
{
	struct request unused = stripped("/", 0);
	struct reply r;

	serve(vectors);
	once(stripped("/", 40000), &r);
	ok(r.end == HTTP_ANSWERED && r.got_bytes > 200000 && r.body.len < 100000 &&
	   !strncmp(r.body.data, "[{\"vector\":7,\"id\":0},{\"vector\":7,\"id\":1}", 40) &&
	   !strcmp(r.body.data + r.body.len - 20, "{\"vector\":7,\"id\":9}]"),
	   "what nobody reads is not held, and does not count");
	reply_release(&r);
	once(stripped("/", 1000), &r);
	ok(r.end == HTTP_LOST && strstr(r.error, "reply too long"), "but no more comes than was sent");
	reply_release(&r);
	once(stripped("/other", 40000), &r);
	ok(r.end == HTTP_LOST && strstr(r.error, "reply too long"), "and what is held has its cap");
	reply_release(&r);
	once(stripped("/error", 40000), &r);
	ok(r.end == HTTP_LOST, "only a 200 is stripped");
	reply_release(&r);
	once(stripped("/endless", 40000), &r);
	ok(r.end == HTTP_LOST && strstr(r.error, "reply too long"), "an answer without end is ended");
	reply_release(&r);
	request_release(&unused);
	ok(!unused.strip, "a request that was not sent frees it");
	serve_end();
}

static void test_timeout(void)
{
	struct request q;
	struct reply r;
	int64_t began_ms;

	serve(by_path);
	q = request("POST", "/hang", "{}");
	q.timeout_ms = 150;
	began_ms = clock_ms();
	once(q, &r);
	ok(r.end == HTTP_LOST && r.timed_out && clock_ms() - began_ms >= 140,
	   "a hanging server is left at the request's own deadline: %s", r.error);
	reply_release(&r);
	client(1, 150);
	once(request("POST", "/hang", "{}"), &r);
	ok(r.end == HTTP_LOST && r.timed_out, "and at the general one");
	reply_release(&r);
	serve_end();
}

static void test_not_sent(void)
{
	struct reply r;
	struct request q;
	int lfd = listen_any();

	client(1, 60000);
	close(lfd);
	once(post(), &r);
	ok(r.end == HTTP_NOT_SENT && *r.error && !r.status && !r.resent, "refused: %s", r.error);
	reply_release(&r);
	q = (struct request){ .method = "GET", .url = xstrdup("file:///etc/passwd") };
	once(q, &r);
	ok(r.end == HTTP_NOT_SENT && !r.body.len, "no other scheme: %s", r.error);
	reply_release(&r);
	q = (struct request){ .method = "GET", .url = xstrdup("http://[::") };
	once(q, &r);
	ok(r.end == HTTP_NOT_SENT, "no address: %s", r.error);
	reply_release(&r);
	http_free(http);
	http = NULL;
}

/* TLS that fails before the request is one that was not sent. */
static void plain_words(int lfd)
{
	int fd;

	while ((fd = accept_one(lfd)) >= 0) {
		say(fd, "HTTP/1.1 400 no TLS here\r\n\r\n");
		close(fd);
	}
}

static void test_tls(void)
{
	struct reply r;
	struct request q = { .method = "POST" };

	serve(plain_words);
	q.url = xasprintf("https://127.0.0.1:%d/", port);
	buf_adds(&q.body, "{}");
	once(q, &r);
	ok(r.end == HTTP_NOT_SENT, "no handshake, nothing sent: %s", r.error);
	reply_release(&r);
	serve_end();
}

static void dribble(int lfd)
{
	static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow";
	struct seen s;
	char one[2] = "";
	int fd = accept_one(lfd);

	read_request(fd, &s);
	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		one[0] = text[i];
		say(fd, one);
		nap(2);
	}
	nap(60000);
}

static void test_slow(void)
{
	struct reply r;

	serve(dribble);
	once(post(), &r);
	ok(r.end == HTTP_ANSWERED && body_is(&r, "slow"), "byte by byte is an answer too");
	reply_release(&r);
	serve_end();
}

/* Heads */

struct head {
	const char *text;
	long status, retry;
	const char *location;
};

static const struct head heads[] = {
	{ "HTTP/1.1 503 x\r\nRetry-After: 7\r\n", 503, 7, "" },
	{ "HTTP/1.1 429 x\r\nretry-after:0\r\n", 429, 0, "" },
	{ "HTTP/1.1 503 x\r\nRetry-After:   300  \r\n", 503, 300, "" },
	{ "HTTP/1.1 503 x\r\nRetry-After: 301\r\n", 503, 300, "" },
	{ "HTTP/1.1 503 x\r\nRetry-After: 1000000000\r\n", 503, 300, "" },
	{ "HTTP/1.1 503 x\r\nRetry-After: 99999999999999999999999\r\n", 503, 300, "" },
	{ "HTTP/1.1 503 x\r\nRetry-After: -5\r\n", 503, -1, "" },
	{ "HTTP/1.1 503 x\r\nRetry-After: soon\r\n", 503, -1, "" },
	{ "HTTP/1.1 503 x\r\nRetry-After:\r\n", 503, -1, "" },
	{ "HTTP/1.1 503 x\r\nRetry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n", 503, 0, "" },
	{ "HTTP/1.1 503 x\r\nRetry-After: Fri, 31 Dec 2100 23:59:59 GMT\r\n", 503, 300, "" },
	{ "HTTP/1.1 503 x\r\n", 503, -1, "" },
	{ "HTTP/1.1 103 x\r\nRetry-After: 9\r\n\r\nHTTP/1.1 200 OK\r\n", 200, -1, "" },
	{ "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n", 200, -1, "" },
	{ "HTTP/1.1 301 x\r\nLocation: https://elsewhere.example/x?token=abc\r\n", 301, -1,
	  "https://elsewhere.example/x" },
	{ "HTTP/1.1 307 x\r\nLocation: /there\r\n", 307, -1, "/there" },
	{ "HTTP/1.1 302 x\r\n", 302, -1, "" },
	{ "HTTP/1.1 401 x\r\nWWW-Authenticate: Basic realm=\"x\"\r\n", 401, -1, "" },
};
#define HEADS (sizeof(heads) / sizeof(heads[0]))

/* Whether a head says that the rate is spent. */
static const struct {
	const char *text;
	bool spent;
} rates[] = {
	{ "X-RateLimit-Remaining: 0\r\n", true }, { "x-ratelimit-remaining:0\r\n", true },
	{ "RateLimit-Remaining:  0 \r\n", true }, { "X-Rate-Limit-Remaining: 00\r\n", true },
	{ "x-ratelimit-remaining-requests: 0\r\n", true }, { "x-ratelimit-remaining-tokens: 0\r\n", true },
	{ "x-ratelimit-remaining-requests: 9\r\nx-ratelimit-remaining-tokens: 0\r\n", true },
	{ "x-ratelimit-remaining: 0, 0;window=1\r\n", true },
	{ "RateLimit: limit=100, remaining=0, reset=5\r\n", true }, { "ratelimit: remaining=0\r\n", true },
	{ "RateLimit: \"minute\";r=0;t=30, \"day\";r=512;t=900\r\n", true },
	{ "RateLimit: \"minute\";r=7;t=30, \"day\"; r=0;t=900\r\n", true },
	{ "x-ratelimit-remaining: 1\r\n", false }, { "x-ratelimit-remaining: 10\r\n", false },
	{ "x-ratelimit-remaining: 0.5\r\n", false }, { "x-ratelimit-remaining:\r\n", false },
	{ "x-ratelimit-remaining: none\r\n", false }, { "x-ratelimit-limit: 0\r\n", false },
	{ "x-ratelimit-reset: 0\r\n", false }, { "RateLimit: limit=0, remaining=3, reset=0\r\n", false },
	{ "RateLimit: \"r=0x\";r=1\r\n", false }, { "RateLimit: r=\r\n", false }, { "RateLimit-Policy: r=0\r\n", false },
	{ "RateLimit:\r\n", false }, { "\r\nHTTP/1.1 403 x\r\n", false }, { "", false },
};
#define RATES (sizeof(rates) / sizeof(rates[0]))

static void say_rates(int lfd)
{
	struct seen s;
	int fd = accept_one(lfd);

	for (size_t i = 0; i < RATES && read_request(fd, &s); i++) {
		/* what a 103 says before it does not count */
		if (rates[i].text[0] == '\r')
			say(fd, "HTTP/1.1 103 x\r\nx-ratelimit-remaining: 0\r\n");
		else
			say(fd, "HTTP/1.1 403 x\r\n");
		say(fd, rates[i].text);
		say(fd, "Content-Length: 2\r\n\r\n{}");
	}
	nap(60000);
}

static void test_rates(void)
{
	struct reply r;

	serve(say_rates);
	for (size_t i = 0; i < RATES; i++) {
		once(post(), &r);
		ok(r.end == HTTP_ANSWERED && r.status == 403 && r.rate_spent == rates[i].spent, "rate %zu: %s", i,
		   r.rate_spent ? "spent" : "not spent");
		reply_release(&r);
	}
	serve_end();
}

static void say_heads(int lfd)
{
	struct seen s;
	int fd = accept_one(lfd);

	for (size_t i = 0; i < HEADS && read_request(fd, &s); i++) {
		say(fd, heads[i].text);
		say(fd, "Content-Length: 2\r\n\r\n{}");
	}
	nap(60000);
}

static void test_heads(void)
{
	struct reply r;

	serve(say_heads);
	for (size_t i = 0; i < HEADS; i++) {
		once(post(), &r);
		ok(r.end == HTTP_ANSWERED && r.status == heads[i].status && body_is(&r, "{}"),
		   "status %ld", heads[i].status);
		ok(r.retry_after_s == heads[i].retry, "retry after %ld", r.retry_after_s);
		ok(*heads[i].location ? strstr(r.location, heads[i].location) && !strchr(r.location, '?')
				      : !*r.location, "location '%s'", r.location);
		reply_release(&r);
	}
	serve_end();
}

/* A date some seconds ahead. */
static void date_ahead(int lfd)
{
	char date[64];
	time_t t = time(NULL) + 100;
	struct tm tm;
	struct seen s;
	int fd = accept_one(lfd);

	gmtime_r(&t, &tm);
	strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
	read_request(fd, &s);
	say(fd, "HTTP/1.1 503 x\r\nContent-Length: 0\r\nRetry-After: ");
	say(fd, date);
	say(fd, "\r\n\r\n");
	nap(60000);
}

static void test_date(void)
{
	struct reply r;

	serve(date_ahead);
	once(post(), &r);
	ok(r.status == 503 && r.retry_after_s >= 90 && r.retry_after_s <= 101,
	   "retry after a date: %ld s", r.retry_after_s);
	ok(r.end == HTTP_ANSWERED && !r.body.len, "an answer without a body");
	reply_release(&r);
	serve_end();
}

/* A refusal that comes before the body was sent, and the connection closed. */
static void too_large(int lfd)
{
	char piece[1000];
	int fd;

	while ((fd = accept_one(lfd)) >= 0) {
		if (read(fd, piece, sizeof(piece)) <= 0)
			_exit(0);
		say(fd, "HTTP/1.1 413 x\r\nContent-Length: 17\r\nConnection: close\r\n\r\n"
			"Payload too large");
		drain(fd);
	}
}

static void test_early_refusal(void)
{
	struct request q;
	struct reply r;

	serve(too_large);
	q = request("POST", "/", NULL);
	for (int i = 0; i < 2000000; i++)
		buf_add(&q.body, "0123456789", 10);
	once(q, &r);
	ok(r.end == HTTP_ANSWERED && r.status == 413 && body_is(&r, "Payload too large"),
	   "413 while sending: %ld %s", r.status, r.error);
	ok(r.sent_bytes < 20000000, "the rest is not sent");
	reply_release(&r);
	serve_end();
}

/* Kept-alive connections that die */

static void die_when_used(int lfd)
{
	struct seen s;
	int fd = accept_one(lfd);

	read_request(fd, &s);
	say_body(fd, "first");
	read_request(fd, &s);
	close(fd);
	fd = accept_one(lfd);
	read_request(fd, &s);
	say_body(fd, "second");
	nap(60000);
}

static void test_resent(void)
{
	struct reply r;

	serve(die_when_used);
	once(post(), &r);
	ok(body_is(&r, "first") && !r.resent, "first request");
	reply_release(&r);
	once(post(), &r);
	ok(r.end == HTTP_ANSWERED && body_is(&r, "second") && r.resent,
	   "a second copy, sent by libcurl itself, is reported");
	reply_release(&r);
	serve_end();
}

static void die_for_good(int lfd)
{
	struct seen s;
	int fd = accept_one(lfd);

	read_request(fd, &s);
	say_body(fd, "first");
	read_request(fd, &s);
	close(lfd);
	close(fd);
	nap(60000);
}

static void test_resent_refused(void)
{
	struct reply r;

	serve(die_for_good);
	once(post(), &r);
	reply_release(&r);
	once(post(), &r);
	ok(r.end == HTTP_LOST, "the first copy was sent, though the second was refused: %s", r.error);
	reply_release(&r);
	serve_end();
}

static void die_idle(int lfd)
{
	struct seen s;
	int fd;

	for (int i = 0; i < 2; i++) {
		fd = accept_one(lfd);
		read_request(fd, &s);
		say_body(fd, "x");
		close(fd);
	}
	nap(60000);
}

static void test_died_idle(void)
{
	struct reply r;

	serve(die_idle);
	once(post(), &r);
	reply_release(&r);
	nap(50);
	once(post(), &r);
	ok(r.end == HTTP_ANSWERED && !r.resent && r.fresh, "one that died idle is seen before it is used");
	reply_release(&r);
	serve_end();
}

/* Several at once */

static void second_first(int lfd)
{
	struct seen s;
	int a = accept_one(lfd), b = accept_one(lfd), one;

	read_request(a, &s);
	one = has(&s, "POST /1");
	read_request(b, &s);
	say_body(one ? b : a, "2");
	nap(50);
	say_body(one ? a : b, "1");
	nap(60000);
}

static void *wait_next(struct reply *r)
{
	int64_t deadline = clock_ms() + 600000;
	void *tag = NULL;

	while (!http_next(http, &tag, r) && clock_ms() < deadline)
		http_wait(http, NULL, 0, deadline);
	return tag;
}

static void test_two(void)
{
	struct request q1, q2, q3;
	struct reply r;
	struct buf spare = BUF_INIT;
	const char *memory;
	int tag1, tag2;

	serve(second_first);
	client(2, 60000);
	q1 = request("POST", "/1", "{}");
	q2 = request("POST", "/2", "{}");
	q3 = request("POST", "/3", "{}");
	buf_reserve(&q2.body, 1000);
	memory = q2.body.data;
	ok(http_busy(http) == 0, "idle");
	ok(http_start(http, &q1, &tag1) == 0 && !q1.url, "one");
	ok(http_start(http, &q2, &tag2) == 0, "two");
	ok(http_start(http, &q3, NULL) == -1 && q3.url && q3.body.len == 2, "no third");
	ok(http_busy(http) == 2, "busy");
	ok(wait_next(&r) == &tag2 && body_is(&r, "2"), "the second comes first");
	reply_release(&r);
	ok(http_busy(http) == 1, "one left");
	ok(wait_next(&r) == &tag1 && body_is(&r, "1"), "then the first");
	reply_release(&r);
	ok(http_busy(http) == 0, "idle again");
	http_spare(http, &spare);
	ok(spare.data == memory && spare.len == 0, "the memory of the larger body is there for the next");
	http_spare(http, &spare);
	ok(!spare.data, "and can be given back");
	ok(http_start(http, &q3, NULL) == 0, "now there is room");
	serve_end();
	ok(1, "freed with a request in flight");
}

/* A lookup while another request is in flight: each gets its own answer. */
static void test_once_among_others(void)
{
	struct request q;
	struct reply r;
	int tag;

	serve(second_first);
	client(2, 60000);
	q = request("POST", "/2", "{}");
	http_start(http, &q, &tag);
	once(request("POST", "/1", "{}"), &r);
	ok(body_is(&r, "1"), "http_once takes its own");
	reply_release(&r);
	ok(http_wait(http, NULL, 0, CLOCK_NEVER) == 0, "no sleep while an answer waits to be taken");
	ok(wait_next(&r) == &tag && body_is(&r, "2"), "and leaves the other's");
	reply_release(&r);
	serve_end();
}

/* Beside each other */

static struct http *second(int connections, long timeout_ms)
{
	static const char *const headers[] = { "X-Other: yes", NULL };
	struct http_options o = { .total_timeout_ms = timeout_ms, .idle_s = 30, .max_reply = 100000,
				  .headers = headers, .connections = connections };

	return http_beside(http, &o);
}

static void test_beside(void)
{
	struct request q1, q2;
	struct http *other;
	struct reply r = { 0 };
	int tag1, tag2;
	void *tag = NULL;

	serve(second_first);
	other = second(1, 5000);
	q1 = request("POST", "/1", "{}");
	q2 = request("POST", "/2", "{}");
	http_start(http, &q1, &tag1);
	http_start(other, &q2, &tag2);
	ok(http_busy(http) == 1 && http_busy(other) == 1, "each has a connection of its own");
	ok(wait_next(&r) == &tag1 && body_is(&r, "1"), "the first gives its own, though the other's came before");
	reply_release(&r);
	ok(http_wait(http, NULL, 0, CLOCK_NEVER) == 0 && http_wait(other, NULL, 0, CLOCK_NEVER) == 0,
	   "no sleep while the other's waits to be taken");
	ok(http_next(http, &tag, &r) == 0 && http_busy(other) == 1, "which the first does not give");
	ok(http_next(other, &tag, &r) == 1 && tag == &tag2 && body_is(&r, "2"), "and the other does");
	reply_release(&r);
	http_free(other);
	serve_end();
}

/* A wait on one wakes for the other, though it is idle itself. */
static void test_beside_wakes(struct http *waits, struct http *sends)
{
	int64_t deadline = clock_ms() + 600000;
	struct request q = request("POST", "/p", "{}");
	struct reply r = { 0 };
	int tag;
	void *got = NULL;

	http_start(sends, &q, &tag);
	while (!http_next(sends, &got, &r) && clock_ms() < deadline)
		http_wait(waits, NULL, 0, deadline);
	ok(got == &tag && r.end == HTTP_ANSWERED && clock_ms() < deadline, "it wakes");
	reply_release(&r);
}

static void test_beside_options(void)
{
	struct http *other;
	struct request q;
	struct reply r;

	serve(echo);
	other = second(1, 5000);
	q = request("POST", "/p", "{}");
	want_echo(request("GET", "/g", NULL),
		  "GET /g HTTP/1.1 type=0 expect=0 encoding=0 test=1 body=0 conn=1");
	http_once(other, &q, &r, -1);
	ok(body_is(&r, "POST /p HTTP/1.1 type=1 expect=0 encoding=0 test=0 body=2 conn=1"),
	   "headers of its own");
	reply_release(&r);
	test_beside_wakes(http, other);
	test_beside_wakes(other, http);
	http_free(other);
	want_echo(request("GET", "/g", NULL),
		  "GET /g HTTP/1.1 type=0 expect=0 encoding=0 test=1 body=0 conn=1");
	serve_end();
}

static void test_beside_ends(void)
{
	struct request q1, q2;
	struct http *other;
	struct reply r = { 0 };
	void *tag;

	serve(second_first);
	other = second(2, 5000);
	q1 = request("POST", "/1", "{}");
	q2 = request("POST", "/2", "{}");
	http_start(other, &q2, &q2);
	http_once(http, &q1, &r, -1);
	ok(body_is(&r, "1"), "http_once on one");
	reply_release(&r);
	ok(http_next(other, &tag, &r) == 1 && body_is(&r, "2"), "keeps what ended on the other meanwhile");
	reply_release(&r);
	q1 = request("POST", "/3", "{}");
	http_start(http, &q1, &q1);
	q2 = request("POST", "/4", "{}");
	http_start(other, &q2, &q2);
	http_free(other);
	ok(http_busy(http) == 1, "freed with a request in flight; the first's goes on");
	other = second(1, 50);
	q2 = request("POST", "/5", "{}");
	ok(http_once(other, &q2, &r, -1) == 0 && r.timed_out, "a timeout of its own");
	reply_release(&r);
	http_free(other);
	serve_end();
}

/* Waiting */

static void test_wait(struct http *h, const char *what)
{
	struct pollfd p[3];
	int64_t t;
	int fds[2];

	if (pipe(fds) < 0)
		return;
	p[0] = (struct pollfd){ fds[0], POLLIN, 0 };
	p[1] = (struct pollfd){ -1, POLLIN, 7 };
	p[2] = (struct pollfd){ fds[1], 0, 7 };
	t = clock_ms();
	ok(http_wait(h, p, 3, t + 60) == 0 && clock_ms() - t >= 59,
	   "%s: until the deadline", what);
	ok(!p[0].revents && !p[1].revents && !p[2].revents, "%s: nothing happened", what);
	ok(http_wait(h, p, 3, 0) == 0, "%s: a deadline that is over", what);
	ok(write(fds[1], "x", 1) == 1 && http_wait(h, p, 3, CLOCK_NEVER) == 0 &&
	   p[0].revents == POLLIN, "%s: readable", what);
	p[2].events = POLLOUT;
	p[0].events = 0;
	ok(http_wait(h, p, 3, CLOCK_NEVER) == 0 && p[2].revents == POLLOUT && !p[0].revents,
	   "%s: writable", what);
	close(fds[0]);
	p[0].fd = -1;
	p[2].events = 0;
	ok(http_wait(h, p, 3, clock_ms() + 2000) == 0 && p[2].revents & POLLERR,
	   "%s: the reader is gone", what);
	close(fds[1]);
}

static void on_alarm(int sig)
{
	(void)sig;
}

static void test_interrupted(struct http *h, const char *what)
{
	struct sigaction sa;
	int64_t t = clock_ms();

	memset(&sa, 0, sizeof(sa));
	sa.sa_handler = on_alarm;
	sigaction(SIGALRM, &sa, NULL);
	alarm(1);
	ok(http_wait(h, NULL, 0, t + 5000) == 0, "%s: a signal is no error", what);
	alarm(0);
}

static void test_waits(void)
{
	struct request q;

	test_wait(NULL, "plain");
	serve(by_path);
	test_wait(http, "idle");
	q = request("POST", "/hang", "{}");
	http_start(http, &q, NULL);
	for (int i = 0; i < 5; i++) {
		struct reply r;
		void *tag;

		http_next(http, &tag, &r);
		http_wait(http, NULL, 0, clock_ms() + 20);
	}
	test_wait(http, "busy");
	test_interrupted(NULL, "plain");
	serve_end();
}

static void test_stop(void)
{
	struct request q;
	struct reply r;
	int fds[2];

	if (pipe(fds) < 0)
		return;
	serve(by_path);
	q = request("POST", "/hang", "{}");
	ok(write(fds[1], "x", 1) == 1 && http_once(http, &q, &r, fds[0]) == -1 && !q.url &&
	   !http_busy(http), "a stop gives up at once");
	reply_release(&r);
	close(fds[0]);
	close(fds[1]);
	serve_end();
}

/* Options */

static void test_options(void)
{
	static const char *const broken[] = { "X-Key: secret\r\nX-More: 1", NULL };
	struct http_options o = { .connections = 1, .max_reply = 10, .headers = broken };

	ok(!http_new(&o), "a header with a line end is refused");
	o.headers = NULL;
	o.cacert = "/nonexistent/ca.pem";
	ok(!http_new(&o), "certificates that are not there");
	http_free(NULL);
	ok(!strncmp(http_version(), "libcurl ", 8), "%s", http_version());
}

static void test_text(void)
{
	char out[12];

	reply_text(out, sizeof(out), "short", 5);
	ok(!strcmp(out, "short"), "a short text stays");
	reply_text(out, sizeof(out), "", 0);
	ok(!strcmp(out, ""), "an empty one too");
	reply_text(out, sizeof(out), "a much longer text", 18);
	ok(!strcmp(out, "a much l..."), "a long one is cut: %s", out);
	reply_text(out, sizeof(out), "\x1b\x1b\x1b\x1b\x1b", 5);
	ok(!strncmp(out, "\\x1b\\x1b", 8) && strlen(out) < sizeof(out), "controls are shown: %s", out);
	reply_text(out, sizeof(out), "\x1b\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9", 9);
	ok(strlen(out) < sizeof(out), "never longer than its place: %s", out);
}

int main(void)
{
	static const char *const proxies[] = { "http_proxy", "https_proxy", "HTTPS_PROXY",
					       "all_proxy", "ALL_PROXY" };

	for (size_t i = 0; i < sizeof(proxies) / sizeof(proxies[0]); i++)
		unsetenv(proxies[i]);
	signal(SIGPIPE, SIG_IGN);
	test_options();
	test_text();
	test_methods();
	test_losses();
	test_stripped();
	test_timeout();
	test_not_sent();
	test_tls();
	test_slow();
	test_heads();
	test_rates();
	test_date();
	test_early_refusal();
	test_resent();
	test_resent_refused();
	test_died_idle();
	test_two();
	test_once_among_others();
	test_beside();
	test_beside_options();
	test_beside_ends();
	test_waits();
	test_stop();
	return tap_done();
}
