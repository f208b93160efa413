/* excluded: what a change of --exclude asks of documents that no line names.  The rule; excluded.c applies it
 * in a sync, plan.c counts by it. */
#ifndef LINESYNC_EXCLUDED_H
#define LINESYNC_EXCLUDED_H

#include "exclude.h"
#include "state.h"

enum excluded_step {
	EXCLUDED_NOTHING,
	EXCLUDED_GOES,		/* the store may hold it: it is deleted */
	EXCLUDED_STAYS_OUT,	/* absent, and nobody waits for it any more */
	EXCLUDED_COMES_BACK	/* left out, and not named any more: whoever lists it next must be waited for */
};

/* True if the documents are to be looked through: the patterns are others than the state knows of. */
bool excluded_differ(struct state *s, const struct excludes *e);

/* What is to become of a document; doubtful: it has a mark that is in doubt. */
enum excluded_step excluded_step(struct state *s, const struct excludes *e, const char *repo, const char *path,
				 const struct doc_state *d, bool doubtful);

/* Walks all documents for which there is a step, and then those that only a mark names.  Start with a zeroed
 * *at; *left looks at that many records, then returns false with *left 0. */
struct excluded_walk {
	struct walk at;
	struct doc_state doc;
	bool in_marks;
	enum excluded_step step;
};
bool excluded_next(struct state *s, const struct excludes *e, struct excluded_walk *w, unsigned *left);

#endif
