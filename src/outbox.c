#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdlib.h>

#include "alloc.h"
#include "clock.h"
#include "outbox.h"

struct outbox {
	enum results_kind which;
	int64_t flush_ms;
	struct buf lines;	/* results as they will be printed */
	size_t riders;		/* results that no request brought about, printed or not */
	bool asked;		/* one that a request did */
	int64_t since_ms;	/* when the first of them came */
	struct tally tally;
};

struct outbox *outbox_new(enum results_kind which, int64_t flush_ms)
{
	struct outbox *o = xcalloc(1, sizeof *o);

	o->which = which;
	o->flush_ms = flush_ms;
	return o;
}

void outbox_free(struct outbox *o)
{
	if (o == NULL)
		return;
	buf_release(&o->lines);
	free(o);
}

static void count(struct tally *t, const struct result *r)
{
	t->counts[r->status]++;
	t->unchanged += is_unchanged(r->status, r->reason) && !r->counted;
	t->failed += r->status == STATUS_FAILED && !r->retried;
	t->resumed += r->resumed;
}

static bool is_wanted(const struct outbox *o, const struct result *r)
{
	if (o->which == RESULTS_PROBLEMS)
		return r->status == STATUS_FAILED || r->status == STATUS_HELD;
	return o->which == RESULTS_ALL;
}

void outbox_add(struct outbox *o, const struct result *r, bool asked, int64_t now_ms)
{
	/* what is not printed waits for its commit all the same */
	if (o->riders == 0 && !o->asked)
		o->since_ms = now_ms;
	if (asked)
		o->asked = true;
	else
		o->riders++;
	count(&o->tally, r);
	if (is_wanted(o, r))
		result_write(&o->lines, r);
}

void outbox_tell(struct outbox *o, const struct result *r)
{
	if (is_wanted(o, r))
		result_write(&o->lines, r);
}

bool outbox_due(const struct outbox *o, int64_t now_ms)
{
	return o->asked || o->riders >= OUTBOX_RIDERS_MAX || o->lines.len >= OUTPUT_LIMIT ||
	       now_ms >= outbox_due_ms(o);
}

int64_t outbox_due_ms(const struct outbox *o)
{
	if (o->riders == 0)
		return o->asked ? o->since_ms : CLOCK_NEVER;
	return o->since_ms + o->flush_ms;
}

void outbox_release_to(struct outbox *o, struct output *out)
{
	output_add(out, o->lines.data, o->lines.len);
	buf_reset(&o->lines);
	o->riders = 0;
	o->asked = false;
}

const struct tally *outbox_tally(const struct outbox *o)
{
	return &o->tally;
}
