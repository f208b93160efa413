/* doc: what memory and state know of a document (struct doc of work.h, whose `known`, `mark`, `has_mark` and
 * `late_until` only this file changes), and what becomes of that when a line finishes it, leaves it, fails, or
 * when its request went out.  Settles no line and sends nothing.
 *
 * A document is in doubt while the store may hold another version than the state says: its mark stands, and
 * no line has settled it since. */
#ifndef LINESYNC_DOC_H
#define LINESYNC_DOC_H

#include <stdbool.h>
#include <stdint.h>

#include "work.h"

bool doc_in_doubt(const struct doc *d);
/* How many chunks the store may hold of it, those in flight included. */
uint32_t doc_most_chunks(const struct doc *d);

/* What a line wants the document to be: absent, or npieces objects of this digest. */
struct version {
	enum lane_kind kind;
	const uint8_t *digest;
	uint32_t npieces;
	enum reason skip;	/* a delete that stands for a skipped document: why */
};
/* True if the state says that the store holds that (I8). */
bool doc_is_unchanged(const struct doc *d, const struct version *v);
/* True if a request of the document's is under way, or was lost, that asks for that. */
bool doc_asks_for(const struct doc *d, const struct version *v);

/* Step 4: a request for t is about to go out. */
void doc_sent(struct state *s, struct task *t);
/* What went out for t failed.  kept_nothing: the store is known to hold nothing of it. */
void doc_attempt_failed(struct state *s, struct doc *d, bool kept_nothing);
/* Nothing of what the mark says was ever sent. */
void doc_unmark(struct state *s, struct doc *d);
/* Its attempts are over: a mark that a line has settled goes. */
void doc_attempts_over(struct state *s, struct doc *d);

/* t's line has finished the document: it holds what flags (DOC_PRESENT ...) and digest say.  digest NULL: the
 * one that is known. */
void doc_finish(struct state *s, struct window *win, struct task *t, uint8_t flags, const uint8_t *digest,
		uint32_t chunks);
/* t's line found it as it is: is that how it was at its repository's position? */
bool doc_same_as_at_position(struct state *s, const struct task *t);
/* w names the document and carries no text of it: it stays as it is, a doubt included, and counts as
 * listed. */
void doc_leave(struct state *s, struct work *w, struct doc *d);
/* Its objects were read back from the store: they are what the mark says (is_sent), or what was known. */
void doc_read_back(struct state *s, struct window *win, struct doc *d, bool is_sent);

/* An attempt for it may still arrive until then. */
void doc_lost_until(struct doc *d, int64_t ms);

/* t of w has failed, at its document or (t->doc NULL) without one. */
void doc_put_failure(struct state *s, struct work *w, const struct task *t, bool repo_known);

#endif
