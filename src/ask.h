/* ask: one question to the store, waited for: for opening, reading and commands, while no batch is
 * under way. */
#ifndef LINESYNC_ASK_H
#define LINESYNC_ASK_H

#include "driver.h"
#include "http.h"
#include "options.h"

/* A question on its way, which the caller's loop moves and waits for: until the driver has no more to ask.  h
 * carries nothing else meanwhile. */
struct asking {
	struct store *store;
	struct http *http;
	struct ask *ask;
	bool flying;
};
/* a stays the caller's, and is to last until the end or asking_release(). */
void asking_begin(struct asking *q, struct store *s, struct http *h, struct ask *a);
/* Moves it: true while an answer is waited for (http_wait()), false once a->verdict is there. */
bool asking_turn(struct asking *q);
void asking_release(struct asking *q);	/* whatever comes back is nobody's */

struct ask_patience {
	int64_t retry_wait_ms, retry_max_wait_ms, give_up_ms;
};
struct ask_patience ask_patience_of(const struct options *o);

/* One that is waited for, again and again while the verdict is transient, until give_up_ms have passed; o
 * NULL: once, for a person who would rather be told than wait.  Returns 0 if
 * the store said yes; else an exit status (75 away or stopped, 77, 78) with the reason logged, saying
 * what was being done ("open the collection").  SIGUSR1 prints what it waits for. */
int ask_patiently(struct store *s, struct http *h, struct ask *a, const struct ask_patience *o,
		  const char *what, int stop_fd);

/* The same for writes of a->objects: where a request of several is refused as a whole, in halves.  The
 * verdicts are those of the objects. */
int ask_in_parts(struct store *s, struct http *h, struct ask *a, const struct ask_patience *o,
		 const char *what, int stop_fd);

#endif
