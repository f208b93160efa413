/* What "not sent" may be said of.  libcurl sends a request a second time by itself when a kept-alive
 * connection turns out to be dead; the first copy may still arrive.  So requests are counted where
 * libcurl is about to issue one (CURLOPT_PREREQFUNCTION), and a request that was issued twice, or
 * over TLS, where bytes can be on their way uncounted, is never called unsent. */
#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "alloc.h"
#include "blank.h"
#include "clock.h"
#include "http.h"
#include "log.h"
#include "strip.h"
#include "text.h"

#define CONNECT_TIMEOUT_MS 10000
#define RETRY_AFTER_MAX_S 300
#define WAIT_MAX 16
#define ESCAPED 6		/* \u003c: what one byte can become in JSON */

enum conn_state { CONN_FREE, CONN_BUSY, CONN_DONE };

struct conn {
	struct http *http;		/* borrowed */
	CURL *easy;			/* owned; NULL until first used */
	enum conn_state state;
	struct request request;
	struct reply reply;
	void *tag;
	unsigned issued;		/* how often libcurl set out to send the request */
	size_t got;			/* bytes of its body */
	bool too_long;			/* the reply went over the cap */
	bool head_whole;		/* the empty line after the head has come */
	bool kept;			/* there should have been a kept connection for it */
	char error[CURL_ERROR_SIZE];
};

struct http {
	CURLM *multi;			/* the first's own; borrowed by those beside it */
	struct http *first;		/* itself, where it is the first */
	struct http *beside;		/* list of all that share multi, the first at its head */
	struct conn *conns;		/* owned; n of them */
	unsigned n;
	struct curl_slist *headers;		/* for GET */
	struct curl_slist *body_headers;	/* for the others */
	struct buf spare;		/* see http_spare() */
	long opened;			/* connections, ever */
	struct http_options o;		/* cacert and headers are not used after http_new() */
	char *cacert;			/* owned or NULL */
};

void request_release(struct request *r)
{
	free(r->url);
	r->url = NULL;
	buf_release(&r->body);
	strip_free(r->strip);
	r->strip = NULL;
}

void reply_release(struct reply *r)
{
	buf_release(&r->body);
}

void reply_text(char *out, size_t size, const void *p, size_t n)
{
	auto_buf struct buf b = BUF_INIT, clean = BUF_INIT;
	size_t len;

	blank_text(&clean, p, n);
	text_printable(&b, clean.data, clean.len, size - 4);	/* room for its "..." */
	len = b.len;
	if (len >= size)
		for (len = size - 1; len && ((unsigned char)b.data[len] & 0xc0) == 0x80; len--)
			;
	if (len)
		memcpy(out, b.data, len);
	out[len] = '\0';
}

/* libcurl says it with NULL; out of memory has one way to end (alloc.h). */
static void no_memory(void)
{
	free(xmalloc(SIZE_MAX));
}

/* Callbacks */

/* Most that may arrive.  Of what is stripped only the rest is held, but an answer that repeats the
 * request can be no longer than that with every byte escaped. */
static size_t most(const struct conn *c, bool stripped)
{
	size_t room = c->http->o.max_reply, sent = c->request.body.len;

	if (stripped)
		room = sent > (SIZE_MAX - room) / ESCAPED ? SIZE_MAX : room + sent * ESCAPED;
	return room;
}

static size_t on_body(char *p, size_t size, size_t n, void *data)
{
	struct conn *c = data;
	struct buf *body = &c->reply.body;
	size_t room = c->http->o.max_reply;
	long status = 0;
	bool stripped;

	n *= size;
	curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
	stripped = c->request.strip && status == 200;
	if (n > most(c, stripped) - c->got) {
		c->too_long = true;
		return 0;
	}
	c->got += n;
	if (stripped) {
		strip_feed(c->request.strip, p, n, body);
		c->too_long = body->len > room;
		return c->too_long ? 0 : n;
	}
	/* of what went wrong a person reads the beginning; a page of any length takes no more memory */
	if (status >= 300 && room > HTTP_ERROR_TEXT)
		room = HTTP_ERROR_TEXT;
	room -= body->len;
	buf_add(body, p, n < room ? n : room);
	return n;
}

/* Seconds, or a date; anything else (negative, words) is as if it were not there. */
static long retry_after(const char *s, size_t n)
{
	char value[64];
	uint64_t seconds;
	time_t date;

	while (n && (*s == ' ' || *s == '\t'))
		s++, n--;
	while (n && (unsigned char)s[n - 1] <= ' ')
		n--;
	if (!n || n >= sizeof(value))
		return -1;
	memcpy(value, s, n);
	value[n] = '\0';
	if (strspn(value, "0123456789") == n) {
		if (parse_uint(&seconds, value, 0, RETRY_AFTER_MAX_S) < 0)
			return RETRY_AFTER_MAX_S;
		return (long)seconds;
	}
	if (!strchr("MTWFSmtwfs", *value))
		return -1;
	date = curl_getdate(value, NULL);
	if (date == -1)
		return -1;
	if (date <= clock_unix_s())
		return 0;
	date -= clock_unix_s();
	return date > RETRY_AFTER_MAX_S ? RETRY_AFTER_MAX_S : (long)date;
}

/* Is the first word of s, up to blank, comma or semicolon, the number 0? */
static bool is_zero(const char *s, size_t n)
{
	size_t len = 0;

	while (n && (*s == ' ' || *s == '\t' || *s == '"'))
		s++, n--;
	while (len < n && !strchr(" \t\r\n,;\"", s[len]))
		len++;
	return len && strspn(s, "0") >= len;
}

/* limit=100, remaining=0, reset=5; or: "minute";r=0;t=30, "day";r=512 */
static bool any_zero_left(const char *s, size_t n)
{
	static const char *const names[] = { "remaining=", "r=" };
	const char *end = s + n;

	while (s < end) {
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
			size_t len = strlen(names[i]);

			if ((size_t)(end - s) > len && !strncasecmp(s, names[i], len) &&
			    is_zero(s + len, (size_t)(end - s) - len))
				return true;
		}
		while (s < end && !strchr(" \t,;", *s))
			s++;
		while (s < end && strchr(" \t,;", *s))
			s++;
	}
	return false;
}

/* Nobody has settled how these headers are called.  Each tells how many requests, texts or tokens are left
 * until some moment: RateLimit as its drafts have it, the others with what is counted behind their name. */
static bool says_spent(const char *p, size_t n)
{
	static const char *const names[] = {
		"x-ratelimit-remaining", "x-rate-limit-remaining", "ratelimit-remaining"
	};
	const char *colon = memchr(p, ':', n);
	size_t name = colon ? (size_t)(colon - p) : 0, rest = n - name - 1;

	if (name == strlen("ratelimit") && !strncasecmp(p, "ratelimit", name))
		return any_zero_left(colon + 1, rest);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (name >= strlen(names[i]) && !strncasecmp(p, names[i], strlen(names[i])))
			return is_zero(colon + 1, rest);
	return false;
}

static size_t on_header(char *p, size_t size, size_t n, void *data)
{
	static const char name[] = "Retry-After:";
	struct conn *c = data;

	n *= size;
	/* Each status line begins a new set: 1xx answers and a proxy's come first. */
	if (n >= 5 && !memcmp(p, "HTTP/", 5)) {
		c->reply.retry_after_s = -1;
		c->reply.rate_spent = false;
		c->head_whole = false;
	} else if (n && (*p == '\r' || *p == '\n')) {
		c->head_whole = true;
	} else if (n >= sizeof(name) - 1 && !strncasecmp(p, name, sizeof(name) - 1)) {
		c->reply.retry_after_s = retry_after(p + sizeof(name) - 1, n - sizeof(name) + 1);
	} else {
		c->reply.rate_spent |= says_spent(p, n);
	}
	return n;
}

#if LIBCURL_VERSION_NUM >= 0x075000
static int on_issue(void *data, char *ip, char *local_ip, int port, int local_port)
{
	struct conn *c = data;

	(void)ip;
	(void)local_ip;
	(void)port;
	(void)local_port;
	c->issued++;
	return CURL_PREREQFUNC_OK;
}
#endif

/* Setting up */

/* Without the count, a silent second sending could not be seen: then no connection is used twice. */
static void count_sendings(struct conn *c)
{
#if LIBCURL_VERSION_NUM >= 0x075000
	if (curl_easy_setopt(c->easy, CURLOPT_PREREQFUNCTION, on_issue) == CURLE_OK &&
	    curl_easy_setopt(c->easy, CURLOPT_PREREQDATA, c) == CURLE_OK)
		return;
#endif
	curl_easy_setopt(c->easy, CURLOPT_FRESH_CONNECT, 1L);
}

static void allow_protocols(CURL *e)
{
#if LIBCURL_VERSION_NUM >= 0x075500
	curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(e, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
#else
	curl_easy_setopt(e, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
	curl_easy_setopt(e, CURLOPT_REDIR_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
}

static void set_limits(CURL *e, const struct http_options *o)
{
	curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS,
			 o->connect_timeout_ms ? o->connect_timeout_ms : CONNECT_TIMEOUT_MS);
	if (o->idle_s > 0)
		curl_easy_setopt(e, CURLOPT_MAXAGE_CONN, o->idle_s);
}

static void conn_open(struct conn *c)
{
	CURL *e = curl_easy_init();

	if (!e)
		no_memory();
	c->easy = e;
	allow_protocols(e);
	set_limits(e, &c->http->o);
	count_sendings(c);
	curl_easy_setopt(e, CURLOPT_PRIVATE, c);
	curl_easy_setopt(e, CURLOPT_ERRORBUFFER, c->error);
	curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	if (c->http->o.direct)
		curl_easy_setopt(e, CURLOPT_NOPROXY, "*");
	/* HTTP/2 repeats refused streams by itself and shares one connection: nothing gained here. */
	curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(e, CURLOPT_HTTP09_ALLOWED, 0L);
	curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	curl_easy_setopt(e, CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE);
	curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(e, CURLOPT_USERAGENT, "linesync");
	curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(e, CURLOPT_WRITEDATA, c);
	curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(e, CURLOPT_HEADERDATA, c);
	if (c->http->cacert)
		curl_easy_setopt(e, CURLOPT_CAINFO, c->http->cacert);
}

static int global_init(void)
{
	static bool done;
	CURLcode r;

	if (done)
		return 0;
	r = curl_global_init(CURL_GLOBAL_DEFAULT);
	if (r != CURLE_OK)
		return log_err("cannot start libcurl: %s", curl_easy_strerror(r));
	done = true;
	return 0;
}

/* A header is never shown: it may carry a key. */
static int check_options(const struct http_options *o)
{
	for (const char *const *h = o->headers; h && *h; h++)
		for (const char *p = *h; *p; p++)
			if ((unsigned char)*p < 0x20 || *p == 0x7f)
				return log_err("header '%.*s' holds a control character",
					       (int)strcspn(*h, ":"), *h);
	if (o->cacert && access(o->cacert, R_OK) < 0)
		return log_err("cannot read certificates '%s': %s", o->cacert, strerror(errno));
	return 0;
}

static void add_header(struct curl_slist **list, const char *line)
{
	struct curl_slist *more = curl_slist_append(*list, line);

	if (!more)
		no_memory();
	*list = more;
}

static void make_headers(struct http *h, const char *const *lines)
{
	add_header(&h->headers, "Expect:");
	add_header(&h->body_headers, "Expect:");
	add_header(&h->body_headers, "Content-Type: application/json");
	for (; lines && *lines; lines++) {
		add_header(&h->headers, *lines);
		add_header(&h->body_headers, *lines);
	}
}

/* All that share the handle together keep so many connections. */
static void allow_kept(struct http *first)
{
	long n = 0;

	for (struct http *h = first; h; h = h->beside)
		n += (long)h->n;
	curl_multi_setopt(first->multi, CURLMOPT_MAXCONNECTS, n);
}

static struct http *make(const struct http_options *o)
{
	struct http *h;

	if (check_options(o) < 0 || global_init() < 0)
		return NULL;
	h = xcalloc(1, sizeof(*h));
	h->o = *o;
	h->cacert = xstrdup(o->cacert);
	h->n = o->connections > 0 ? (unsigned)o->connections : 1;
	h->conns = xcalloc(h->n, sizeof(*h->conns));
	for (unsigned i = 0; i < h->n; i++)
		h->conns[i].http = h;
	make_headers(h, o->headers);
	return h;
}

struct http *http_new(const struct http_options *o)
{
	struct http *h = make(o);

	if (!h)
		return NULL;
	h->first = h;
	h->multi = curl_multi_init();
	if (!h->multi)
		no_memory();
	allow_kept(h);
	return h;
}

struct http *http_beside(struct http *first, const struct http_options *o)
{
	struct http *h = make(o);

	if (!h)
		return NULL;
	h->first = first->first;
	h->multi = first->multi;
	h->beside = h->first->beside;
	h->first->beside = h;
	allow_kept(h->first);
	return h;
}

void http_spare(struct http *h, struct buf *body)
{
	struct buf spare = h->spare;

	h->spare = *body;
	*body = spare;
}

static void conn_reset(struct conn *c)
{
	if (c->state == CONN_BUSY)
		curl_multi_remove_handle(c->http->multi, c->easy);
	if (c->state != CONN_FREE) {
		if (c->request.body.cap > c->http->spare.cap)
			http_spare(c->http, &c->request.body);
		buf_reset(&c->http->spare);
		request_release(&c->request);
		reply_release(&c->reply);
	}
	c->state = CONN_FREE;
}

static void leave(struct http *h)
{
	struct http **p = &h->first->beside;

	if (h->first == h) {
		assert(!h->beside);
		curl_multi_cleanup(h->multi);
		return;
	}
	while (*p != h)
		p = &(*p)->beside;
	*p = h->beside;
	allow_kept(h->first);
}

void http_free(struct http *h)
{
	if (!h)
		return;
	for (unsigned i = 0; i < h->n; i++) {
		conn_reset(&h->conns[i]);
		curl_easy_cleanup(h->conns[i].easy);
	}
	leave(h);
	curl_slist_free_all(h->headers);
	curl_slist_free_all(h->body_headers);
	buf_release(&h->spare);
	free(h->cacert);
	free(h->conns);
	free(h);
}

static struct conn *any_in(const struct http *h, enum conn_state state)
{
	for (unsigned i = 0; i < h->n; i++)
		if (h->conns[i].state == state)
			return &h->conns[i];
	return NULL;
}

/* Also of those that share the handle; h may be NULL. */
static bool any_beside(const struct http *h, enum conn_state state)
{
	for (h = h ? h->first : NULL; h; h = h->beside)
		if (any_in(h, state))
			return true;
	return false;
}

/* Starting */

static void set_request(struct conn *c)
{
	const struct request *r = &c->request;
	bool get = !strcmp(r->method, "GET");
	bool post = !strcmp(r->method, "POST");

	curl_easy_setopt(c->easy, CURLOPT_URL, r->url);
	curl_easy_setopt(c->easy, CURLOPT_CUSTOMREQUEST, get || post ? NULL : r->method);
	if (get) {
		curl_easy_setopt(c->easy, CURLOPT_HTTPGET, 1L);
	} else {
		curl_easy_setopt(c->easy, CURLOPT_POST, 1L);
		curl_easy_setopt(c->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.len);
		curl_easy_setopt(c->easy, CURLOPT_POSTFIELDS, r->body.len ? r->body.data : "");
	}
	curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER,
			 get ? c->http->headers : c->http->body_headers);
	curl_easy_setopt(c->easy, CURLOPT_TIMEOUT_MS,
			 r->timeout_ms ? r->timeout_ms : c->http->o.total_timeout_ms);
}

static long busy(const struct http *h)
{
	long n = 0;

	for (unsigned i = 0; i < h->n; i++)
		n += h->conns[i].state == CONN_BUSY;
	return n;
}

static struct conn *conn_start(struct http *h, struct request *r, void *tag)
{
	struct conn *c = any_in(h, CONN_FREE);

	if (!c)
		return NULL;
	if (!c->easy)
		conn_open(c);
	c->request = *r;
	*r = (struct request){ 0 };
	c->reply = (struct reply){ .retry_after_s = -1 };
	c->tag = tag;
	c->issued = 0;
	c->got = 0;
	c->too_long = c->head_whole = false;
	c->error[0] = '\0';
	c->state = CONN_BUSY;
	c->kept = h->opened >= busy(h);
	set_request(c);
	if (curl_multi_add_handle(h->multi, c->easy) != CURLM_OK)
		no_memory();
	return c;
}

int http_start(struct http *h, struct request *r, void *tag)
{
	return conn_start(h, r, tag) ? 0 : -1;
}

int http_busy(const struct http *h)
{
	int n = 0;

	for (unsigned i = 0; i < h->n; i++)
		n += h->conns[i].state != CONN_FREE;
	return n;
}

/* Ending */

static bool nothing_sent(const struct conn *c)
{
	long bytes = 0;

	if (c->issued)
		return c->issued == 1 && strncasecmp(c->request.url, "https:", 6) &&
		       curl_easy_getinfo(c->easy, CURLINFO_REQUEST_SIZE, &bytes) == CURLE_OK &&
		       bytes == 0;
#if LIBCURL_VERSION_NUM >= 0x075000
	return true;
#else
	return curl_easy_getinfo(c->easy, CURLINFO_REQUEST_SIZE, &bytes) == CURLE_OK && bytes == 0;
#endif
}

/* A server that refuses a large body answers before it has read all and closes; libcurl then fails
 * at sending or receiving with the whole answer in hand. */
static bool answered(const struct conn *c, CURLcode result)
{
	curl_off_t length = -1;

	/* libcurl takes a head that was cut for a whole answer without a body. */
	if (c->reply.status < 200 || !c->head_whole)
		return false;
	if (result == CURLE_OK)
		return true;
	if (result != CURLE_SEND_ERROR && result != CURLE_RECV_ERROR)
		return false;
	curl_easy_getinfo(c->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
	return length >= 0 && (size_t)length == c->got;
}

static void explain(struct conn *c, CURLcode result)
{
	char limit[64];
	const char *s = *c->error ? c->error : curl_easy_strerror(result);

	if (result == CURLE_OK)
		s = "the answer ends within its head";
	if (c->too_long) {
		snprintf(limit, sizeof(limit), "reply too long (over %zu bytes)",
			 c->http->o.max_reply);
		s = limit;
	}
	reply_text(c->reply.error, sizeof(c->reply.error), s, strlen(s));
}

/* The target without its query, which may carry a token. */
static void note_location(struct conn *c)
{
	char *url = NULL;

	curl_easy_getinfo(c->easy, CURLINFO_REDIRECT_URL, &url);
	if (url)
		reply_text(c->reply.location, sizeof(c->reply.location), url, strcspn(url, "?#"));
}

static void conn_end(struct conn *c, CURLcode result)
{
	struct reply *r = &c->reply;
	curl_off_t sent = 0;
	long made = 0;

	curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &r->status);
	curl_easy_getinfo(c->easy, CURLINFO_NUM_CONNECTS, &made);
	curl_easy_getinfo(c->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
	r->sent_bytes = (uint64_t)sent;
	r->got_bytes = c->got;
	r->fresh = made > 0 && c->kept;
	c->http->opened += made;
	r->resent = c->issued > 1;
	if (answered(c, result)) {
		r->end = HTTP_ANSWERED;
		note_location(c);
	} else {
		r->end = nothing_sent(c) ? HTTP_NOT_SENT : HTTP_LOST;
		r->timed_out = result == CURLE_OPERATION_TIMEDOUT;
		r->untrusted = r->end == HTTP_NOT_SENT && result == CURLE_PEER_FAILED_VERIFICATION;
		r->status = 0;
		explain(c, result);
	}
	curl_multi_remove_handle(c->http->multi, c->easy);
	c->state = CONN_DONE;
}

/* libcurl itself has failed: what is in flight will never be answered. */
static void end_all(struct http *h, CURLMcode why)
{
	for (h = h->first; h; h = h->beside)
		for (unsigned i = 0; i < h->n; i++)
			if (h->conns[i].state == CONN_BUSY) {
				snprintf(h->conns[i].error, CURL_ERROR_SIZE, "%s",
					 curl_multi_strerror(why));
				conn_end(&h->conns[i], CURLE_FAILED_INIT);
			}
}

static void move(struct http *h)
{
	CURLMcode r;
	CURLMsg *m;
	char *c;
	int running, left;

	r = curl_multi_perform(h->multi, &running);
	while ((m = curl_multi_info_read(h->multi, &left))) {
		if (m->msg != CURLMSG_DONE)
			continue;
		/* The message dies when the handle is taken out. */
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &c);
		conn_end((struct conn *)(void *)c, m->data.result);
	}
	if (r != CURLM_OK)
		end_all(h, r);
}

static void conn_take(struct conn *c, struct reply *reply)
{
	*reply = c->reply;
	c->reply = (struct reply){ 0 };
	conn_reset(c);
}

int http_next(struct http *h, void **tag, struct reply *reply)
{
	struct conn *c = any_in(h, CONN_DONE);

	if (!c) {
		move(h);
		c = any_in(h, CONN_DONE);
	}
	if (!c)
		return 0;
	*tag = c->tag;
	conn_take(c, reply);
	return 1;
}

/* Waiting */

static int until(int64_t deadline_ms)
{
	int64_t left;

	if (deadline_ms == CLOCK_NEVER)
		return -1;
	left = deadline_ms - clock_ms();
	if (left <= 0)
		return 0;
	return left > INT_MAX ? INT_MAX : (int)left;
}

/* curl_multi_poll() reports no POLLHUP or POLLERR, so that the caller polls again for the truth. */
static void wait_moving(struct http *h, const struct pollfd *fds, unsigned nfds, int ms)
{
	struct curl_waitfd wait[WAIT_MAX];
	unsigned n = 0;

	assert(nfds <= WAIT_MAX);
	for (unsigned i = 0; i < nfds; i++) {
		if (fds[i].fd < 0)
			continue;
		wait[n].fd = fds[i].fd;
		wait[n].events = (short)((fds[i].events & POLLIN ? CURL_WAIT_POLLIN : 0) |
					 (fds[i].events & POLLOUT ? CURL_WAIT_POLLOUT : 0));
		wait[n++].revents = 0;
	}
	curl_multi_poll(h->multi, wait, n, ms < 0 ? 3600 * 1000 : ms, NULL);
}

static int wait_for(struct http *h, struct pollfd *fds, unsigned nfds, int ms)
{
	if (ms && any_beside(h, CONN_BUSY)) {
		wait_moving(h, fds, nfds, ms);
		ms = 0;
	}
	if (poll(fds, nfds, ms) >= 0)
		return 0;
	for (unsigned i = 0; i < nfds; i++)
		fds[i].revents = 0;
	if (errno == EINTR || errno == EAGAIN)
		return 0;
	return log_err("cannot wait for descriptors: %s", strerror(errno));
}

int http_wait(struct http *h, struct pollfd *fds, unsigned nfds, int64_t deadline_ms)
{
	return wait_for(h, fds, nfds, any_beside(h, CONN_DONE) ? 0 : until(deadline_ms));
}

int http_once(struct http *h, struct request *r, struct reply *reply, int stop_fd)
{
	struct pollfd stop = { stop_fd, POLLIN, 0 };
	struct conn *c = conn_start(h, r, NULL);

	*reply = (struct reply){ 0 };
	if (!c) {
		request_release(r);
		return -1;
	}
	for (;;) {
		move(h);
		if (c->state == CONN_DONE)
			break;
		if (wait_for(h, &stop, 1, -1) < 0 || stop.revents) {
			conn_reset(c);
			return -1;
		}
	}
	conn_take(c, reply);
	return 0;
}

const char *http_version(void)
{
	static char text[64];
	const char *s = curl_version();

	/* "libcurl/7.88.1 OpenSSL/..." */
	if (!strncmp(s, "libcurl/", 8))
		snprintf(text, sizeof(text), "libcurl %.*s", (int)strcspn(s + 8, " "), s + 8);
	else
		snprintf(text, sizeof(text), "%s", s);
	return text;
}
