/* work: what is in memory while it is not settled: lines (struct work), what each asks of a document
 * (struct task), and the documents concerned (struct doc).
 *
 * Invariants:
 *  1. Per document one task has its turn (doc.active) and at most one waits (doc.next); a task leaves
 *     only settled, or superseded by the one that takes its place.
 *  2. A superseded task hangs on the task that superseded it and is settled in the same commit: until
 *     then a crash must find its line unfinished, or a changeset could pass it.
 *  3. task.hold is the earliest place that the task stands for: its line's own, or of those that it
 *     superseded. */
#ifndef LINESYNC_WORK_H
#define LINESYNC_WORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "change.h"
#include "changeset.h"
#include "lane.h"
#include "offer.h"
#include "state.h"

struct window;
struct work;
struct group;

enum task_phase {
	TASK_SIBLING,		/* the other half of its rename goes first */
	TASK_TURN,		/* an earlier line of its document is not settled */
	TASK_LATE,		/* an older attempt for its document may still arrive */
	TASK_EMBED,		/* its texts are at the embedding server */
	TASK_LANE,		/* in a batch, in flight, or set aside */
	TASK_SETTLED
};

struct piece {			/* what a lane carries of a task: one object, or all the ids to delete */
	struct task *task;
	struct object *object;		/* owned; NULL for a delete */
	char *input;			/* owned; what is embedded, where it is more than the text */
	struct lane_item item;
	enum lane_end end;		/* once the lane has ended it */
};

struct task {
	struct work *work;
	struct doc *doc;
	enum lane_kind kind;
	uint8_t half;			/* HALF_NEW, HALF_OLD */
	enum task_phase phase;
	struct piece *pieces;		/* owned; LANE_UPSERT: npieces, the document's chunks in order */
	uint32_t npieces;
	uint32_t flying;		/* how many of its pieces the lane has not ended */
	struct piece deletion;		/* LANE_DELETE, and of what a stored document had beyond */
	uint8_t digest[SYNC_DIGEST_SIZE];
	enum reason skip;		/* a delete that stands for a skipped document: its reason */
	bool trims;			/* stored; now what the document had beyond is deleted */
	bool marked;			/* its document is marked "in flight" for it */
	bool alone;			/* it names no document for certain, and is settled */
	bool ready;			/* it is in task.c's list of those whose turn it is */
	unsigned sent;			/* most requests that one piece was part of */
	unsigned embed_sent;		/* the same, to the embedding server */
	int64_t first_sent_ms;		/* to either */
	enum status status;		/* once settled */
	enum reason reason;
	enum error_code error;
	long http;
	char *message;			/* owned */
	struct task *superseded;	/* list by ->also; those have none of their own */
	struct task *also;
	struct task *ready_next;
	struct place_in_run hold;	/* invariant 3 */
};

struct work {
	struct work *prev, *next;	/* the group's unsettled ones */
	struct work *done_next;		/* settled, freed after the commit */
	struct group *group;
	struct place_in_run at;
	int64_t since_ms;		/* when it was taken up: a batch closes when its oldest line is old */
	uint64_t number;		/* physical line */
	enum change_op op;
	char *repo, *path, *old_path;	/* owned */
	uint64_t digest;	/* of the line, as read now; 0: it was not */
	bool resumed, retried, internal, uncommitted;
	bool repo_known;		/* false: whose line it is cannot be told */
	bool left_out;			/* internal: a document that --exclude names goes (excluded.c) */
	enum status before;		/* that status */
	enum reason before_reason;
	struct task half[2];
	int halves, open;
	uint32_t retries_before;	/* of a retried failure */
	uint32_t objects;
	char *payload;			/* owned; the line as it came, up to 64 KiB: see work_payload() */
	size_t payload_len;
	size_t text_at;			/* where the text of its object was cut out of payload; 0: it is whole */
	char *root, *folder, *default_repo, *namespace;	/* owned; for a failure's record */
	uint8_t format;
	bool default_uncommitted;	/* --uncommitted; for a failure's record, too */
	bool has_offset;		/* of the byte where a bad line is wrong */
	size_t offset;
	size_t size;			/* bytes that count in the window */
	char id[37];
};

struct doc {
	struct doc *chain, *late_next;
	struct group *group;
	char *repo, *path;		/* owned */
	struct doc_state known;		/* zero: the state knows nothing of it */
	bool has_mark, in_late;
	struct mark mark;
	int64_t late_until;		/* monotonic; 0: every attempt is over */
	struct task *active, *next;
};

/* A changeset record that was read and not decided. */
struct pending_record {
	struct pending_record *next;
	struct place_in_run at;
	uint64_t number;
	char *commit, *since, *changeset;	/* owned */
	bool complete, swept, again;
	enum status before;
};

/* A repository with unsettled lines or undecided records: records_judge() frees it once it has nothing
 * that later lines could not find in the state, so that memory does not grow with the number of
 * repositories. */
struct group {
	struct group *chain;
	char *repo;			/* owned */
	struct work *works;
	size_t ndocs;			/* documents that point here */
	struct pending_record *records;	/* in order */
	size_t nrecords;
	bool look;			/* something was settled since its records were judged */
	struct work *awaited;		/* one of works: found last when a record waited for a line */
	struct watch holder, unlisted;	/* the same of what the state says: of the first of records */
	struct watch held;		/* of the record held by an earlier run */
	bool release;			/* something may have freed that one */
	bool recount;			/* something did, or not: how much it waits for is to be told anew */
	char *prior;			/* owned: the position before this run released a held record */
	struct place_in_run prior_at;
	bool prior_whole;
};

/* What is in memory.  Documents get what the state knows of them; attempts of earlier runs are over at
 * earlier_until_ms. */
struct window *window_new(struct state *s, int64_t earlier_until_ms);
/* With all that is left in it; returns how many lines of the input and records these were. */
uint64_t window_free(struct window *win);

size_t window_bytes(const struct window *win);		/* of unsettled lines, with what they bring along */
size_t window_works(const struct window *win);		/* how many */

struct group *work_group(struct window *win, const char *repo);
/* A walk over all groups, in no order: start with NULL; the one that was given last may be dropped. */
struct group *work_group_next(struct window *win, const struct group *g);
bool work_group_idle(const struct group *g);	/* nothing needs it */
/* Frees a group that nothing needs any more; another is left as it is. */
void work_group_put(struct window *win, struct group *g);

/* The document, with what the state knows of it; kept until work_doc_put() finds it unused: while tasks
 * concern it, or an attempt for it is not over. */
struct doc *work_doc(struct window *win, const char *repo, const char *path);
struct doc *work_doc_find(struct window *win, const char *repo, const char *path);	/* NULL: not in memory */
void work_doc_put(struct window *win, struct doc *d);
void work_doc_late(struct window *win, struct doc *d);	/* keep until its attempts are over */
/* The documents kept for that whose attempts are over at now_ms, as a list by ->late_next, and kept for it no
 * more: each is the caller's to put. */
struct doc *work_late_over(struct window *win, int64_t now_ms);
int64_t work_late_due(const struct window *win);	/* when the next are; CLOCK_NEVER: none */

/* What made a line what it is, for its failure's record. */
struct work_origin {
	const struct change_options *options;
	const struct content *content;	/* NULL: it names no file */
};
/* A line at `at`, the number-th of its input.  Takes the texts of *c. */
struct work *work_new(struct change *c, const struct work_origin *from, struct place_in_run at,
		      uint64_t number);
/* A delete that no line asks for: it has no result of its own. */
struct work *work_new_delete(const char *repo, const char *path, struct place_in_run at, uint64_t number);
/* Keeps the line as it came, unless it is too long. */
void work_keep_payload(struct work *w, const char *line, size_t n);
/* What it is to do: *of's texts and objects pass over. */
void work_take_offer(struct work *w, struct offer *of, const struct offer_maker *m);
struct task *work_add_half(struct work *w, enum lane_kind kind, uint8_t half);

void work_enter(struct window *win, struct work *w);	/* counts in the window from now on */
void work_leave(struct window *win, struct work *w);	/* settled: kept until work_committed() */
void work_committed(struct window *win);
void work_free(struct work *w);			/* one that never entered */
void work_drop_pieces(struct task *t);		/* its texts and vectors are not needed any more */
/* Cuts the text that the line's one object holds out of the payload, if it stands there between `at` and
 * at + len as json_str() writes it: the window would hold it twice. */
void work_cut_payload(struct work *w, size_t at, size_t len);
/* The line as it came, appended to *out: nothing if it was too long to keep. */
void work_payload(const struct work *w, struct buf *out);
/* What is judged of a record of g. */
void record_fields(const struct group *g, const struct pending_record *pr, struct record *r);
void record_free(struct pending_record *r);

#endif
