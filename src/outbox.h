/* outbox: results that wait for the commit which makes them true, what they add up to, and when that commit
 * is due.  Knows neither state nor store: times are the caller's, from clock_ms(). */
#ifndef LINESYNC_OUTBOX_H
#define LINESYNC_OUTBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "options.h"
#include "output.h"
#include "results.h"

#define OUTBOX_RIDERS_MAX 5000	/* lines without a request that may wait for a commit */

struct tally {			/* of this invocation */
	uint64_t counts[8];		/* results, by enum status */
	uint64_t unchanged, resumed;	/* of them; unchanged: without those that the run had counted before */
	uint64_t failed;		/* of them, lines of this input: --max-failures */
};

struct outbox;

/* flush_ms: how long a result may wait that no request brought about. */
struct outbox *outbox_new(enum results_kind which, int64_t flush_ms);
void outbox_free(struct outbox *o);	/* NULL is fine */

/* r is counted, and printed after the next commit if it is of the kind that is wanted.  asked: a request to
 * the store settled it, and whoever waits for it should not wait longer: the commit is due. */
void outbox_add(struct outbox *o, const struct result *r, bool asked, int64_t now_ms);
/* r is printed and counts nowhere: the state knows nothing of it. */
void outbox_tell(struct outbox *o, const struct result *r);

bool outbox_due(const struct outbox *o, int64_t now_ms);
/* When it becomes due if nothing is added; CLOCK_NEVER: nothing waits. */
int64_t outbox_due_ms(const struct outbox *o);

/* The commit is durable: on to the reader. */
void outbox_release_to(struct outbox *o, struct output *out);

const struct tally *outbox_tally(const struct outbox *o);

#endif
