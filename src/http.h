/* http: requests in flight over libcurl's multi interface; the only includer of curl/curl.h.
 *
 * http_wait() is the only place in linesync that sleeps.  HTTP and HTTPS only, no redirects followed,
 * no netrc, NOSIGNAL, no Expect header, TLS verified, no hidden second attempt (a transfer that
 * libcurl repeats by itself on a dead kept-alive connection is reported in reply.resent). */
#ifndef LINESYNC_HTTP_H
#define LINESYNC_HTTP_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

struct http;
struct strip;

struct http_options {
	long connect_timeout_ms;	/* 0: 10,000 */
	long total_timeout_ms;		/* per request */
	long idle_s;			/* a kept connection idle for longer is not used again */
	size_t max_reply;		/* bytes of body read; a longer reply is HTTP_LOST "reply too long" */
	const char *cacert;		/* path or NULL */
	const char *const *headers;	/* NULL-terminated "Name: value" lines sent with each; no CR or LF */
	int connections;		/* at most this many at once */
	bool direct;			/* no proxy, whatever the environment says: the store is here */
};

/* Returns NULL with the reason logged (a header with a control character, no such cacert). */
struct http *http_new(const struct http_options *o);
/* Connections with options of their own that are waited for together with first's: http_wait() on
 * either wakes for both, and returns at once while either has an end to be taken by http_next().
 * Moving either moves both.  To be freed before first. */
struct http *http_beside(struct http *first, const struct http_options *o);
void http_free(struct http *h);		/* closes everything, requests in flight included */

struct request {
	const char *method;		/* static: "GET", "POST", "PUT", "DELETE" */
	char *url;			/* owned */
	struct buf body;		/* sent as application/json when method is not GET */
	long timeout_ms;		/* 0: the default of http_options */
	struct strip *strip;		/* owned, or NULL: the body of a 200 goes through it as it arrives */
};
void request_release(struct request *r);

enum http_end {
	HTTP_ANSWERED,			/* a whole reply came: status and body are good */
	HTTP_NOT_SENT,			/* no byte of the request left this machine */
	HTTP_LOST			/* some or all of it was sent, no whole answer came */
};

#define HTTP_ERROR_TEXT 65536	/* bytes kept of the body of an answer other than 2xx */

struct reply {
	enum http_end end;
	long status;			/* HTTP_ANSWERED */
	struct buf body;
	long retry_after_s;		/* from Retry-After, seconds or date, clamped to 0..300; -1: none */
	bool rate_spent;		/* a rate-limit header says that 0 are left for now */
	bool timed_out;			/* HTTP_LOST, HTTP_NOT_SENT: by a deadline of ours */
	bool untrusted;			/* HTTP_NOT_SENT: who answers there has no certificate that is trusted */
	bool fresh;			/* over a new connection where a kept one should have served: what
					 * answers may be another process than what answered before */
	bool resent;			/* libcurl sent it a second time on a new connection by itself: an
					 * earlier, unanswered copy may still arrive */
	char location[200];		/* printable target of a 3xx, else "" */
	char error[200];		/* printable: why, where end is not HTTP_ANSWERED */
	uint64_t sent_bytes, got_bytes;	/* bodies */
};
void reply_release(struct reply *r);
/* n bytes from outside into out[size], without the secrets that are known (blank.h), printable,
 * NUL-terminated, cut to fit at a whole character.  Every text of a server's goes through here. */
void reply_text(char *out, size_t size, const void *p, size_t n);

/* Exchanges *body, empty, with the memory of a body that has been sent, if any: for the next one, or to give
 * it back.  A body is as large as what waits to be sent; memory that comes and goes with each of them
 * costs page faults, or leaves holes that smaller things fill. */
void http_spare(struct http *h, struct buf *body);

/* Starts r, whose memory passes to h, under the caller's tag.  Returns 0, or -1 with nothing
 * started and r untouched if all connections are busy. */
int http_start(struct http *h, struct request *r, void *tag);

int http_busy(const struct http *h);	/* requests in flight */

/* Moves transfers without sleeping; takes one that has ended: 1 with *tag and *reply filled in (the
 * caller releases it), or 0 if none. */
int http_next(struct http *h, void **tag, struct reply *reply);

/* Sleeps until a transfer moves, one of fds is ready (revents filled in), or the monotonic clock
 * reaches deadline_ms (CLOCK_NEVER: no limit).  h may be NULL: plain poll.  At most 16 fds; negative
 * ones are passed over.  Returns 0; EINTR is 0. */
int http_wait(struct http *h, struct pollfd *fds, unsigned nfds, int64_t deadline_ms);

/* One request, waited for: for opening and commands.  stop_fd (or -1) readable gives up: -1.
 * Consumes r.  Returns 0 with *reply filled in; after -1 *reply is empty. */
int http_once(struct http *h, struct request *r, struct reply *reply, int stop_fd);

/* "libcurl 7.88.1 ..." for --version; static. */
const char *http_version(void);

#endif
