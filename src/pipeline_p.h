/* pipeline_p: the parts of a pipeline, for those that work together in it.  Each part is opened only by its own
 * file; calls go down this list, and what comes back is a lane's callback (task.h) or a value:
 *
 *   pipeline.c    the order of steps, the loop with its phases, the commit
 *   run.c         begins, continues and ends a run
 *   intake.c      standard input: a line's place in the run, resumed, branched        three sources of lines,
 *   again.c       failures of earlier runs                                            each with a turn
 *   sweep.c       what a complete listing did not name
 *   excluded.c    what --exclude names and did not before
 *   records.c     judges changeset records
 *   readback.c    asks the store what documents in doubt are
 *   task.c, offer.c, doc.c, work.c, outbox.c, lane.c ... */
#ifndef LINESYNC_PIPELINE_P_H
#define LINESYNC_PIPELINE_P_H

#include "pipeline.h"
#include "changeset.h"
#include "offer.h"
#include "task.h"
#include "work.h"

struct pipeline {
	struct pipeline_parts parts;	/* borrowed */
	const struct options *o;
	struct state *state;
	/* owned */
	struct window *window;
	struct outbox *outbox;
	struct tasks *tasks;
	struct lane *lane;
	struct lane *embed_lane;	/* NULL: vectors need no server */
	struct offer_maker maker;
	struct intake *intake;
	struct again *again;
	struct sweep *sweep;
	struct excluded *excluded;	/* NULL: --exclude is as it was */
	struct readback *readback;
};

/* ---- run.c ---- */

/* Begins a run, or continues the last one: true, and its lines are to be compared with the input's. */
bool run_begin(struct pipeline *p);
/* The current run goes on in a new one that takes over its lines below cut; line is where it differs, 0: the
 * input has ended. */
void run_branch(struct pipeline *p, uint32_t cut, uint64_t line);
/* The first line has been seen; continued: the number of the run that was to go on, 0: none. */
void run_open(struct pipeline *p, uint32_t continued);
/* All is settled and printed (whole), or it was stopped.  The run's record says whether it is good.
 * Commits. */
void run_end(struct pipeline *p, bool whole);

/* ---- intake.c ---- */

struct intake *intake_new(struct pipeline *p);
void intake_free(struct intake *in);
/* The run's own lines are compared from now on with what was recorded; until intake_began() only lines are
 * read that ask for nothing. */
void intake_resume(struct pipeline *p);
bool intake_began(const struct intake *in);
/* Looks for the first line that asks for something, and keeps it for intake_turn(): if it is not the first of
 * the run that goes on, that run is given up before anything is tried again.  INPUT_MORE: to be called
 * again. */
enum input_got intake_first(struct pipeline *p);
/* Takes one line, if there is one. */
enum input_got intake_turn(struct pipeline *p);
bool intake_ended(const struct intake *in);	/* nothing more is to be read */
/* The exit status with which a line ends the run: at once (stop), or once those before it are settled
 * (halt); 0. */
int intake_stop(const struct intake *in);
int intake_halt(const struct intake *in);
uint64_t intake_left(struct pipeline *p);	/* lines read and not taken up; passes over them */
const char *intake_current(const struct intake *in);	/* path of the last document, cut; "" */

/* ---- again.c ---- */

struct again *again_new(void);
void again_free(struct again *a);
bool again_turn(struct pipeline *p);	/* offers one earlier failure; false: none left */
bool again_done(const struct again *a);	/* so it was said */

/* ---- sweep.c ---- */

enum sweep_need { SWEEP_NOT, SWEEP_GOES, SWEEP_TOO_MANY };

struct sweep *sweep_new(void);
void sweep_free(struct sweep *s);
bool sweep_going(const struct sweep *s);
/* True while the documents of this record are being deleted. */
bool sweep_of(const struct sweep *s, const struct pending_record *r);
void sweep_turn(struct pipeline *p);		/* one more document; at its end its record can be judged */
/* What a complete record, pr of g (r: its fields), asks for.  SWEEP_GOES: it has begun, or another one is to
 * end first.  *waiting: how many documents are too many. */
enum sweep_need sweep_begin(struct pipeline *p, struct group *g, struct pending_record *pr,
			    const struct record *r, uint64_t *waiting);

/* ---- records.c ---- */

/* last: the input is read and all is settled, so what cannot advance is held. */
void records_judge(struct pipeline *p, bool last);
void records_recount(struct pipeline *p);	/* what is left of it where a run stops */

/* ---- readback.c ---- */

struct readback *readback_new(void);
void readback_free(struct readback *b);
/* Goes on as far as it can without waiting; *until: when there is more to do, if nothing wakes it.  False:
 * all is done. */
bool readback_turn(struct pipeline *p, int64_t *until);

/* ---- excluded.c ---- */

void excluded_begin(struct pipeline *p);	/* a run begins: in its first commit */
bool excluded_going(const struct pipeline *p);
void excluded_turn(struct pipeline *p);		/* some more documents */
void excluded_end(struct pipeline *p);		/* all is settled */
void excluded_release(struct pipeline *p);

#endif
