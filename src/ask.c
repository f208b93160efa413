#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <poll.h>
#include <string.h>

#include "ask.h"
#include "clock.h"
#include "log.h"
#include "retry.h"
#include "stop.h"

static int ask_reply(struct store *s, struct http *h, struct ask *a, int stop_fd, long *retry_after_s)
{
	struct request r = { 0 };
	struct reply reply;

	while (s->driver->build(s, a, &r) == 1) {
		if (http_once(h, &r, &reply, stop_fd) != 0)
			return -1;
		s->driver->judge(s, a, &reply);
		*retry_after_s = reply.retry_after_s;
		reply_release(&reply);
		memset(&r, 0, sizeof r);
	}
	return 0;
}

void asking_begin(struct asking *q, struct store *s, struct http *h, struct ask *a)
{
	*q = (struct asking){ .store = s, .http = h, .ask = a };
}

/* False: there is no more to ask. */
static bool send_next(struct asking *q)
{
	struct request r = { 0 };

	if (q->store->driver->build(q->store, q->ask, &r) != 1)
		return false;
	q->flying = http_start(q->http, &r, q->ask) == 0;
	if (!q->flying)
		request_release(&r);
	return q->flying;
}

bool asking_turn(struct asking *q)
{
	struct reply reply;
	void *tag;

	while (q->flying || send_next(q)) {
		if (!http_next(q->http, &tag, &reply))
			return true;
		if (tag == q->ask) {	/* else of one that was given up */
			q->flying = false;
			q->store->driver->judge(q->store, q->ask, &reply);
		}
		reply_release(&reply);
	}
	return false;
}

void asking_release(struct asking *q)
{
	memset(q, 0, sizeof *q);
}

static bool is_transient(enum verdict_scope scope)
{
	return scope == VERDICT_UNKNOWN || scope == VERDICT_ATTEMPT || scope == VERDICT_STORE;
}

static int final_status(const struct store *s, const struct verdict *v, const char *what)
{
	const char *why = v->text[0] ? v->text : "no clear answer", *role = s->driver->role;

	switch (v->scope) {
	case VERDICT_OK:
		return 0;
	case VERDICT_AUTH:
		log_err("cannot %s: the %s refuses access: %s%s%s", what, role, why,
			v->advises ? "" : "; give a valid key by ",
			v->advises ? "" : s->driver->key_option);
		return 77;
	case VERDICT_UNKNOWN:
	case VERDICT_ATTEMPT:
	case VERDICT_STORE:
		if (v->wrong_shape) {
			log_err("cannot %s: the %s at '%s' answers, but not as it should: %s; is %s right?", what,
				role, s->url.base, why, s->driver->url_option);
			return 78;
		}
		log_err("cannot %s: the %s at '%s' is away: %s; is it running, and %s right? the same command "
			"tries again", what, role, s->url.base, why, s->driver->url_option);
		return 75;
	default:
		log_err("cannot %s: %s", what, why);
		return 78;
	}
}

/* Between two attempts.  False: asked to stop. */
static bool pause_for(struct http *h, int64_t wait, int stop_fd, const char *what, const struct verdict *v)
{
	struct pollfd fds[2] = { { .fd = stop_fd, .events = POLLIN },
				 { .fd = stop_usr1_fd(), .events = POLLIN } };
	int64_t until = clock_ms() + wait;

	do {
		http_wait(h, fds, 2, until);
		if (fds[1].revents != 0 && stop_usr1())
			log_note("cannot %s yet: %s; trying again in %.1f s", what, v->text,
				 (double)(until - clock_ms()) / 1000);
	} while (fds[0].revents == 0 && clock_ms() < until);
	return fds[0].revents == 0;
}

struct ask_patience ask_patience_of(const struct options *o)
{
	return (struct ask_patience){ (int64_t)o->retry_wait_ms, (int64_t)o->retry_max_wait_ms,
				      (int64_t)o->give_up_ms };
}

/* 0: a->verdict is not transient, or nobody waits any longer; 75: asked to stop. */
static int ask_until(struct store *s, struct http *h, struct ask *a, const struct ask_patience *o,
		     const char *what, int stop_fd)
{
	int64_t start = clock_ms(), wait;
	struct ask fresh = *a;
	unsigned misfits = 0;

	for (unsigned failures = 1;; failures++) {
		long retry_after_s = -1;

		if (ask_reply(s, h, a, stop_fd, &retry_after_s) != 0)
			return 75;
		misfits = a->verdict.wrong_shape ? misfits + 1 : 0;
		if (!is_transient(a->verdict.scope) || o == NULL || misfits == SHAPE_ANSWERS ||
		    clock_ms() - start >= o->give_up_ms)
			return 0;
		wait = retry_wait_ms(failures, o->retry_wait_ms, o->retry_max_wait_ms, clock_random());
		if (retry_after_s > 0)
			wait = retry_after_s * 1000;
		log_info("cannot %s yet: %s; trying again in %.1f s", what, a->verdict.text,
			 (double)wait / 1000);
		if (!pause_for(h, wait, stop_fd, what, &a->verdict))
			return 75;
		ask_release(a);
		*a = fresh;
	}
}

int ask_patiently(struct store *s, struct http *h, struct ask *a, const struct ask_patience *o,
		  const char *what, int stop_fd)
{
	int status = ask_until(s, h, a, o, what, stop_fd);

	return status != 0 ? status : final_status(s, &a->verdict, what);
}

int ask_in_parts(struct store *s, struct http *h, struct ask *a, const struct ask_patience *o,
		 const char *what, int stop_fd)
{
	size_t half = a->n / 2;
	struct ask first = { .kind = a->kind, .objects = a->objects, .n = half };
	struct ask rest = { .kind = a->kind, .objects = a->objects + half, .n = a->n - half };
	int status = ask_until(s, h, a, o, what, stop_fd);

	if (status != 0)
		return status;
	if (half == 0 || a->verdict.scope != VERDICT_REQUEST)
		return final_status(s, &a->verdict, what);
	for (size_t i = 0; i < a->n; i++)
		a->objects[i].verdict = (struct verdict){ 0 };
	status = ask_in_parts(s, h, &first, o, what, stop_fd);
	return status != 0 ? status : ask_in_parts(s, h, &rest, o, what, stop_fd);
}
