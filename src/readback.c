/* Documents that the input did not name and that are in doubt: at its end the store is asked what they are. */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "ask.h"
#include "clock.h"
#include "doc.h"
#include "pipeline_p.h"
#include "text.h"

#define AT_ONCE 100	/* marks looked at before others have their turn */

enum readback_step {
	STEP_NEXT,		/* no document */
	STEP_LATE,		/* until its attempts are over */
	STEP_TOUCH,		/* a later write is on its way */
	STEP_FETCH		/* its objects are asked for */
};

struct readback {
	struct walk at;
	enum readback_step step;
	struct doc *doc;
	struct ask ask;
	struct asking asking;
	struct ask_object *objects;	/* owned; what is fetched, their ids in ids */
	char (*ids)[37];
	int64_t touched_ms;		/* when the touch on its way went out */
	int64_t later_ms;		/* when the last one went out that was answered, 0: none */
};

struct readback *readback_new(void)
{
	return xcalloc(1, sizeof(struct readback));
}

static void end_ask(struct readback *b)
{
	b->ask.objects = NULL;
	ask_release(&b->ask);
	asking_release(&b->asking);
	free(b->objects);
	free(b->ids);
	b->objects = NULL;
	b->ids = NULL;
}

void readback_free(struct readback *b)
{
	if (b == NULL)
		return;
	end_ask(b);
	walk_release(&b->at);
	free(b);
}

static bool has_failure(struct state *s, const struct doc *d)
{
	struct failure f;
	bool yes = state_failure_get(s, d->repo, d->path, &f);

	failure_release(&f);
	return yes;
}

/* The next document in doubt, *left marks on; marks that are over and settled go.  False: none is left, or
 * *left is 0. */
static bool next_doc(struct pipeline *p, unsigned *left)
{
	struct readback *b = p->readback;

	for (; *left > 0 && state_walk(p->state, 'm', NULL, &b->at); --*left) {
		struct doc *d = work_doc(p->window, b->at.repo, b->at.path);

		if (d->has_mark && (d->mark.flags & MARK_DOUBT) && !has_failure(p->state, d)) {
			b->doc = d;
			b->step = STEP_LATE;
			return true;
		}
		if (d->late_until <= clock_ms())
			doc_attempts_over(p->state, d);
		work_doc_put(p->window, d);
	}
	return false;
}

static void end_doc(struct pipeline *p)
{
	struct readback *b = p->readback;

	end_ask(b);
	work_doc_put(p->window, b->doc);
	b->doc = NULL;
	b->step = STEP_NEXT;
}

/* Asks for every object that the document may have, and one more. */
static void begin_fetch(struct pipeline *p)
{
	struct readback *b = p->readback;
	uint32_t n = doc_most_chunks(b->doc) + 1;

	end_ask(b);
	b->ids = xcalloc(n, sizeof *b->ids);
	b->objects = xcalloc(n, sizeof *b->objects);
	for (uint32_t c = 0; c < n; c++) {
		object_id(b->ids[c], p->parts.store->collection, b->doc->repo, b->doc->path, c);
		b->objects[c].id = b->ids[c];
	}
	b->ask = (struct ask){ .kind = ASK_FETCH, .objects = b->objects, .n = n };
	asking_begin(&b->asking, p->parts.store, p->parts.http, &b->ask);
	b->step = STEP_FETCH;
}

/* On some stores what an earlier process got acknowledged, or never heard of, is sure to last only once a
 * later write is answered (I1): one that goes out when the attempt is over. */
static void begin_asking(struct pipeline *p)
{
	struct readback *b = p->readback;

	if (!p->parts.store->driver->lasts_after_next ||
	    (b->later_ms != 0 && b->later_ms >= b->doc->late_until)) {
		begin_fetch(p);
		return;
	}
	b->touched_ms = clock_ms();
	b->ask = (struct ask){ .kind = ASK_TOUCH };
	asking_begin(&b->asking, p->parts.store, p->parts.http, &b->ask);
	b->step = STEP_TOUCH;
}

static bool reads_as(const struct ask *a, const uint8_t *digest, uint32_t count)
{
	char hex[2 * SYNC_DIGEST_SIZE + 1];

	hex_encode(hex, digest, SYNC_DIGEST_SIZE);
	if (a->nfound != count)
		return false;
	for (size_t i = 0; i < a->nfound; i++)
		if (a->found[i].chunk >= count || strcmp(a->found[i].digest, hex) != 0)
			return false;
	return true;
}

static void judge_fetched(struct pipeline *p)
{
	struct readback *b = p->readback;
	const struct doc_state *k = &b->doc->known;
	const struct mark *m = &b->doc->mark;
	bool is_sent, is_before;

	if (b->ask.verdict.scope != VERDICT_OK)
		return;
	is_sent = reads_as(&b->ask, m->digest, m->count);
	is_before = (k->flags & DOC_KNOWN) ? reads_as(&b->ask, k->digest, k->chunks) :
		    (k->flags & DOC_ABSENT) ? b->ask.nfound == 0 : false;
	if (is_sent || is_before)
		doc_read_back(p->state, p->window, b->doc, is_sent);
}

/* The answer is there.  What is not clear stays in doubt. */
static void take_answer(struct pipeline *p)
{
	struct readback *b = p->readback;

	if (b->step == STEP_TOUCH && b->ask.verdict.scope == VERDICT_OK) {
		b->later_ms = b->touched_ms;
		begin_fetch(p);
		return;
	}
	if (b->step == STEP_FETCH)
		judge_fetched(p);
	end_doc(p);
}

bool readback_turn(struct pipeline *p, int64_t *until)
{
	struct readback *b = p->readback;
	unsigned left = AT_ONCE;

	*until = CLOCK_NEVER;
	if (b->step == STEP_NEXT && state_head(p->state)->marks == 0)
		return false;
	for (;;) {
		if (b->step == STEP_NEXT && !next_doc(p, &left)) {
			*until = 0;
			return left == 0;
		}
		if (b->step == STEP_LATE && b->doc->late_until > clock_ms()) {
			*until = b->doc->late_until;
			return true;
		}
		if (b->step == STEP_LATE)
			begin_asking(p);
		if (asking_turn(&b->asking))
			return true;
		take_answer(p);
	}
}
