/* changeset: when a repository's position may move (spec invariant I3).  Rules over the state alone;
 * the pipeline adds what it has not settled yet. */
#ifndef LINESYNC_CHANGESET_H
#define LINESYNC_CHANGESET_H

#include <stdbool.h>
#include <stdint.h>

#include "state.h"

/* A changeset record to judge: the line it stands on, and what it says.  since NULL: not said; "":
 * from nothing, which only a complete record can say. */
struct record {
	const char *repo;
	struct place_in_run at;
	uint64_t number;		/* physical line */
	const char *commit, *since;
	const char *changeset;		/* JSON */
	bool complete;			/* its listing names all documents; the others are gone by now */
	bool whole;			/* it was found to make a whole position when it was held */
	const char *prior;		/* the position when this run began, where the run itself has
					 * released a held record since; NULL else */
	struct place_in_run prior_at;	/* its line */
	bool prior_whole;		/* it was whole */
};

enum record_verdict {
	RECORD_ADVANCE,
	RECORD_HELD,		/* for lines: changeset_waiting() says how many stand in its way */
	RECORD_NOT_FROM_HERE
};

/* True if r's `since` is where the repository stands: its position, a record held for lines, or
 * r->prior. */
bool changeset_from_here(struct state *s, const struct record *r);

/* What stands in a record's way, one by one, each with the reason. */
enum holder_why {
	HOLDER_FAILED,		/* a failed line of the repository */
	HOLDER_UNKNOWN,		/* a failed line of no known repository before it in its run */
	HOLDER_DOUBT,		/* a document in doubt */
	HOLDER_UNCOMMITTED,	/* documents changed after the position that no record closed, and that its block */
	HOLDER_RETRIED,		/* does not name: with text of no commit, by a retry, by --exclude that names it */
	HOLDER_LEFT_OUT,	/* no more, */
	HOLDER_OPEN		/* by lines */
};
struct holder {
	enum holder_why why;
	const char *path;		/* of the document; "" of a line without one */
	const struct failure *failure;	/* of a failed line, else NULL.  Both: until the next call */
};
struct holders;
enum holder_walked { STEP_HOLDS, STEP_PASSED, STEP_END };
typedef enum holder_walked holder_step(struct holders *h, struct holder *found);
struct holders {			/* not to be looked into */
	struct state *s;
	const struct repo_state *rs;
	struct record r;
	struct run_state run;
	holder_step *const *steps;	/* the kind that the walk is at, and those to come */
	struct failure failure;
	struct walk at;
	bool back;			/* r steps back behind what is held, to base */
	struct place_in_run base;
};
/* Begins a walk over what holds r, which may say nothing but repo and at: what is held for lines is judged
 * so.  The state must not change before the walk is released. */
void changeset_holders(struct holders *h, struct state *s, const struct record *r);
bool changeset_holder_next(struct holders *h, struct holder *found);
void changeset_holders_release(struct holders *h);

/* How many there are: a walk over all of them, for the number that is told. */
uint64_t changeset_waiting(struct state *s, const struct record *r);

/* One of what holds a record, kept in sight: as long as it holds, nobody walks over the others.  Begins
 * zeroed.  Where it has got to is of no matter to what is found: what it says, each look has seen in the
 * state as it is, of whatever record it is asked. */
struct watch {				/* not to be looked into */
	bool found;
	unsigned stage;
	struct walk at;
};
void watch_release(struct watch *w);
/* True if what the last look found still holds r, or stands aside for another that does: one record of the
 * state is read.  False says nothing. */
bool changeset_still_held(struct state *s, const struct record *r, struct watch *w);
/* What the state says of r: looks on from what the last look found until one holds r, and over all only where
 * none does.  Call when every earlier line of the repository is settled. */
enum record_verdict changeset_look(struct state *s, const struct record *r, struct watch *w);
/* The same two of what leaves it open whether the complete listing that r closes names a document: a line of
 * it that failed, or a document that was last finished by lines that this run did not take over. */
bool changeset_still_incomplete(struct state *s, const struct record *r, struct watch *w);
bool changeset_incomplete(struct state *s, const struct record *r, struct watch *w);

/* r is decided and closes its block, by advancing or for lines: failed lines without a document of earlier
 * runs, which the block came without, are superseded; those of no known repository where they held no
 * other.  Those of its own run hold it. */
void changeset_closes(struct state *s, const struct record *r);

/* Whether a failed line of no known repository holds a changeset. */
bool changeset_unknown_holds(struct state *s, const struct failure *f);
/* Whether it counts in exit statuses: it does not, where it holds none, once a later run with a line has read
 * its input to the end without it. */
bool changeset_unknown_counts(struct state *s, const struct failure *f);
/* f is one of the current run: it takes the place of those of earlier runs that are of the same line and hold
 * nothing, so that a line which fails in each run is listed once. */
void changeset_unknown_again(struct state *s, struct failure *f);
/* Drops those that do not count and were last tried before; returns how many.  May commit. */
uint64_t changeset_unknown_expire(struct state *s, int64_t before_unix_s);

/* Moves the position to r: a whole one, or as told.  Part of the next commit.  Says so where it is as
 * told and nothing is stored of the repository: what no line has named is missing. */
void changeset_advance(struct state *s, const struct record *r);
/* Records r as the newest held one. */
void changeset_hold(struct state *s, const struct record *r, enum held_why why, uint64_t waiting);

/* Looks again at a repository's held record, after something was settled; advances it if nothing
 * stands in its way any more.  True if it did. */
bool changeset_release(struct state *s, const char *repo);
/* The same, where it will be asked again: the number of what the record waits for stays as it was, until
 * changeset_recount(). */
bool changeset_release_seen(struct state *s, const char *repo, struct watch *w);
void changeset_recount(struct state *s, const char *repo);

/* A line of repo at `at` takes part in a run: notes which lines of an earlier run no record closed. */
void changeset_line(struct state *s, const char *repo, struct place_in_run at);
/* A record of repo was read at `at` and judged: it closes its block (closes false: it does not, as
 * not-from-here and too-many-deletes do not). */
void changeset_close_block(struct state *s, const char *repo, struct place_in_run at, bool closes);

/* True if lines of a repository that has a position, rs, stand after its last record in the current run
 * and have finished a document or failed. */
bool changeset_unclosed(struct state *s, const char *repo, const struct repo_state *rs);

/* True if the block that r closes names a document that was last finished by line last, or r itself
 * finished it. */
bool changeset_names(struct state *s, const struct record *r, struct place_in_run last);

/* True if a document counts as changed since its repository's position: for --touched. */
bool changeset_touched(struct state *s, const char *repo, const struct doc_state *d);

#endif
