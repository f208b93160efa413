/* pipeline_p: what the parts of the pipeline share: work.c (lines and documents in memory), intake.c
 * (steps 1 and 2), task.c (steps 3 and 6), records.c (changesets), pipeline.c (the order of steps,
 * commits, the loop). */
#ifndef LINESYNC_PIPELINE_P_H
#define LINESYNC_PIPELINE_P_H

#include "pipeline.h"
#include "results.h"
#include "unknown.h"
#include "work.h"

#define DOC_SLOTS 4096
#define GROUP_SLOTS 256

struct pipeline {
	struct pipeline_parts parts;
	const struct options *o;
	struct state *state;
	struct lane *lane;
	struct lane *embed_lane;	/* NULL: vectors need no server */
	struct run_state *run;
	struct change_options change_options;
	struct doc *docs[DOC_SLOTS];
	struct doc *late;		/* list by late_next: marks that are not over yet */
	struct group *groups[GROUP_SLOTS];
	struct work *settled;		/* to free after the commit */
	struct outbox *outbox;		/* results that wait for the commit */
	size_t window_bytes, window_works;	/* in use */
	size_t max_bytes, max_works;
	size_t max_ahead;		/* bytes of objects that wait while every connection is busy */
	uint32_t ord;			/* of the last line taken */
	bool matching;			/* lines are compared with those of the run being resumed */
	uint32_t recorded;		/* how many lines that run has */
	bool eof;
	struct failure_walk retry;
	bool retries_done;
	struct pending_record *sweeping;	/* complete: true: its documents are being deleted */
	struct group *sweep_group;
	struct excluded *excluded;	/* owned; --exclude names others than the state knows of; NULL */
	struct walk sweep;
	bool sweep_in_marks;
	struct lane_figures told;	/* what the run's record already counts */
	struct line first;		/* read to see whether it is the first of the last run */
	bool has_first;
	int64_t start_ms, late_ms;
	uint64_t changes_seen, hopeless_seen;
	bool unmerged_told;
	int stop_status;		/* exit status that ends the run early, 0 */
	int halt;			/* the same, once the lines taken so far are settled */
	struct unknown unknown;
	bool output_gone;		/* writing failed: what waits there is never printed */
	char synced_at[21];
	char current[200];		/* path of the last document taken, cut: for people */
	struct embedder *embedder;
	bool embedder_kept;		/* in the state, by this run */
	char *settings;			/* owned; embedder_settings() */
	struct pipeline_end *end;
};

/* ---- work.c ---- */

struct group *work_group(struct pipeline *p, const char *repo);
bool work_group_idle(const struct group *g);	/* nothing needs it */
void work_group_free(struct group *g);
/* The document, with what the state knows of it; kept until work_doc_put() finds it unused. */
struct doc *work_doc(struct pipeline *p, const char *repo, const char *path);
struct doc *work_doc_find(struct pipeline *p, const char *repo, const char *path);
void work_doc_put(struct pipeline *p, struct doc *d);
void work_doc_late(struct pipeline *p, struct doc *d);	/* keep until its attempts are over */
void work_enter(struct pipeline *p, struct work *w);	/* counts in the window from now on */
void work_leave(struct pipeline *p, struct work *w);	/* settled: freed after the next commit */
void work_free(struct work *w);
void work_drop_pieces(struct task *t);		/* its texts and vectors are not needed any more */
/* Cuts the text that the line's one object holds out of the payload, if it stands there between `at` and
 * at + len as json_str() writes it: the window would hold it twice. */
void work_cut_payload(struct work *w, size_t at, size_t len);
/* The line as it came, appended to *out: nothing if it was too long to keep. */
void work_payload(const struct work *w, struct buf *out);

/* ---- task.c ---- */

void task_queue(struct pipeline *p, struct task *t);	/* step 3 begins */
void task_item_done(void *ctx, struct lane_item *i, enum lane_end end);
void task_text_embedded(void *ctx, struct lane_item *i, enum lane_end end);
bool task_kept_nothing(const struct task *t);	/* what was sent of it left nothing in the store */
void task_settle_work(struct pipeline *p, struct work *w);
void task_leave_doc(struct pipeline *p, struct work *w, struct doc *d);
void task_put_failure(struct pipeline *p, struct work *w, const struct task *t, bool repo_known);
void task_settle_mark(struct pipeline *p, struct doc *d);
void task_mark_put(struct pipeline *p, struct doc *d);
void task_mark_del(struct pipeline *p, struct doc *d);
uint32_t task_most_chunks(const struct doc *d);		/* that may stand, in flight ones included */
void task_late_turn(struct pipeline *p);		/* attempts that are over by now */
int64_t task_late_due(const struct pipeline *p);

/* ---- intake.c ---- */

void intake_line(struct pipeline *p, const struct line *line);
bool intake_retry(struct pipeline *p);		/* offers one earlier failure; false: none left */
void intake_first_line(struct pipeline *p);
void intake_branch(struct pipeline *p, uint32_t cut, uint64_t number);
uint64_t intake_left(struct pipeline *p);	/* lines read and not taken up; passes over them */
struct work *intake_work(struct pipeline *p, struct change *c, const struct content *k,
		      struct place_in_run at, uint64_t number);
void intake_add_delete(struct pipeline *p, struct work *w, uint8_t half, enum reason skip);

/* ---- records.c ---- */

void records_judge(struct pipeline *p, bool last);
void records_sweep_turn(struct pipeline *p);

/* ---- excluded.c ---- */

void excluded_begin(struct pipeline *p);	/* a run begins: in its first commit */
bool excluded_going(const struct pipeline *p);
void excluded_turn(struct pipeline *p);		/* some more documents */
void excluded_failed(struct pipeline *p, const struct task *t);
bool excluded_end(struct pipeline *p);		/* all is settled; false: something is still to go */
void excluded_release(struct pipeline *p);

/* ---- pipeline.c ---- */

/* A line at `at` is now `now`; before: as the run that it was read in has counted it. */
void pipeline_count(struct pipeline *p, struct place_in_run at, enum status before, enum status now,
		    enum reason reason, enum change_op op);
void pipeline_date_run(struct pipeline *p);	/* the run has begun with this process */
bool pipeline_must_stop(struct pipeline *p);
void pipeline_wait(struct pipeline *p, bool want_input, int64_t limit);

#endif
