/* state: the checkpoint file of one store and collection.
 *
 * Changes gather in memory until state_commit() makes all of them durable at once; a process that
 * ends before that has changed nothing.  Writers hold a lock of their own (lock.h); readers hold none
 * and call state_refresh() before each look.
 *
 * A document is in doubt when its mark has MARK_DOUBT: its request was found under way when a run
 * began, or failed without the driver knowing that nothing was stored.  A mark without MARK_DOUBT and
 * without MARK_SETTLED belongs to a request of this very process.
 *
 * What can go wrong while the state is open ends a writer's process, with status 74 (statefile.h).  A
 * reader's functions then give nothing more, and state_failed() says so. */
#ifndef LINESYNC_STATE_H
#define LINESYNC_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "state_codec.h"

struct state;

/* ---- where it is ---- */

/* The folder for state files: dir (--state-dir) or what spec section 6 lists.  Owned; NULL with the
 * reason logged (no HOME).  create: makes it, 0700. */
char *state_folder(const char *dir, bool create);

/* The file for a store and collection in that folder, e.g. FOLDER/chroma-localhost-8000-Code-1a2b3c4d.tdb.
 * Owned. */
char *state_file(const char *folder, const char *store, const char *collection);

/* All state files in a folder, sorted by name: *n of them, *files and each name are owned; none if there
 * is no such folder.  0, or 74 with the reason logged if it cannot be read. */
int state_list(char ***files, size_t *n, const char *folder);

/* Removes the state at path with its lock, and what was left of making it; waits up to wait_ms for who
 * works on it.  0, or 73, 74 or 75 with the reason logged. */
int state_remove(const char *path, int64_t wait_ms);

/* ---- open, commit, close ---- */

/* Opens for writing, under the lock.  Where there is no file, the state is in memory until
 * state_settle() or the first commit; closed before that, it leaves neither a file nor a lock file.
 * store and collection are what it must belong to.  wait_ms: how long to wait for another linesync.
 * Returns 0 and *s, or an exit status (73 cannot create, 74 unreadable or not ours, 75 locked, 78 belongs
 * to another collection) with the reason logged. */
int state_open(struct state **s, const char *path, const char *store, const char *collection,
	       int64_t wait_ms);
/* To be called once the store has answered, and collection and embedder are settled: makes the file of a
 * state that has none.  0, or 73 with the reason logged. */
int state_settle(struct state *s);
/* The same for a command that changes an existing state and takes it as it is (skip, forget): 66 if
 * there is none. */
int state_open_existing(struct state **s, const char *path, int64_t wait_ms);
/* Whether there is a file of that name: 0, 66, or 74 with the reason logged. */
int state_exists(const char *path);
/* For reading, without lock.  66 if there is none, 75 if a commit does not end. */
int state_open_reader(struct state **s, const char *path);
/* Reader: 0, or the exit status, 74 or 75, with the reason logged, because something could not be read.
 * Whatever says that something is not there is to be believed only while this is 0. */
int state_failed(const struct state *s);
/* 0 if the state is that of this store and collection; else 78 with the reason logged. */
int state_belongs(const struct state *s, const char *store, const char *collection);
void state_close(struct state *s);	/* NULL is fine; what was not committed is lost */

/* What one commit may hold, in bytes; when state_dirty() says more, it is time. */
#define STATE_DIRTY_MAX (1u << 20)

void state_commit(struct state *s);
size_t state_dirty(const struct state *s);		/* bytes that wait for a commit */
bool state_full(const struct state *s);	/* since the last commit: no new work may begin (statefile.h) */
uint64_t state_commits(const struct state *s);
/* Reader: from now on the newest commit is seen, also where the state was rewritten into another file; drops
 * borrowed pointers. */
void state_refresh(struct state *s);

const char *state_path(const struct state *s);
const struct identity *state_identity(const struct state *s);
struct head *state_head(struct state *s);		/* a writer may change it */

/* 1 while a sync holds the state's lock, and *holder (owned) says who: "pid 12, host a, since 2026-...";
 * 0, or -1 with the reason logged if that cannot be told. */
int state_locked(const char *path, char **holder);

/* ---- runs ---- */

/* Starts a run: fills number, id, start, pid, host; copies source and settings.  It is this state's
 * current run from then on; the lines of the one before are dropped, which may commit. */
struct run_state *state_run_begin(struct state *s, const char *source, const char *settings);
/* Makes run number the current one, as it is.  NULL if there is none. */
struct run_state *state_run_take_up(struct state *s, uint32_t number);
/* The same, and a part of it begins with this process. */
struct run_state *state_run_continue(struct state *s, uint32_t number);
/* Closes the current run as interrupted at ordinal cut and begins a new one that takes over its lines
 * below cut as its own (spec section 6, Resume: the first difference).  Only for a run with less than
 * RUN_ANCESTORS of them.  Cut at its first line, one that was continued
 * (and not committed since) was not: it ended when its last part did. */
struct run_state *state_run_branch(struct state *s, uint32_t cut);
struct run_state *state_run(struct state *s);		/* the current one; NULL if none */
/* A line at `at` is now `now`; before: what the run that it was read in has counted it as (STATUS_NONE: as
 * nothing). */
void run_count(struct run_state *run, struct place_in_run at, enum status before, enum reason before_reason,
	       enum status now, enum reason reason, enum change_op op);
/* Ends the current run.  Its lines are to be dropped after the commit, unless it was interrupted. */
void state_run_end(struct state *s, enum run_status status);
/* Drops the lines of a run that needs them no more, in several commits, the last lines first; one that
 * was cut short leaves run.lines above 0 and is called again when the next run begins. */
void state_lines_drop(struct state *s, uint32_t number);
/* Any run, decoded into *r (the caller releases it): 0, or -1 if there is none. */
int state_run_get(struct state *s, uint32_t number, struct run_state *r);
/* The next run above number (0: the first), or below it (UINT32_MAX: the last), whose record is there:
 * into *r, which is released first.  False, and *r is empty, if there is none.  A walk over all:
 *	struct run_state r = { 0 };
 *	while (state_run_above(s, r.number, &r)) */
bool state_run_above(struct state *s, uint32_t number, struct run_state *r);
bool state_run_below(struct state *s, uint32_t number, struct run_state *r);
void state_run_put(struct state *s, const struct run_state *r);	/* one that is not the current */
/* Drops finished runs that ended before unix_s and that no failure names. */
void state_runs_drop(struct state *s, int64_t before_unix_s);

/* If at is a line of the current run, or of an earlier run whose lines it took over: its ordinal,
 * else 0. */
uint32_t state_own_ord(struct state *s, struct place_in_run at);
/* True if at is a line of an earlier run whose lines the current one took over up to one before it. */
bool state_given_up(struct state *s, struct place_in_run at);
/* The lines of `run` that are r's own are those below this: UINT32_MAX for r itself, 0 for a run that
 * it took nothing over from. */
uint32_t run_cut(const struct run_state *r, uint32_t run);
/* A run on which nobody works any more is interrupted, since it last said something; others stay as they
 * are.  True if it was one. */
bool run_interrupt(struct run_state *r);
/* Seconds that its parts took; now_s: the present time while a process works on it, else 0. */
int64_t run_seconds(const struct run_state *r, int64_t now_s);
/* The same as state_own_ord for the lines of run r. */
uint32_t run_own_ord(const struct run_state *r, struct place_in_run at);
/* True if the line a comes later than b, seen from the current run. */
bool state_later(struct state *s, struct place_in_run a, struct place_in_run b);

/* ---- lines of the current run: 9 bytes each ---- */

struct line_state {
	uint64_t digest;
	enum status status;
	enum reason reason;
	bool own;		/* it carries everything itself */
};
/* Records that line ord (1, 2, 3 ...) was read; its status becomes STATUS_NONE.  Durable no later
 * than the status of any later line. */
void state_line_read(struct state *s, uint32_t ord, uint64_t digest, bool own);
bool state_line_get(struct state *s, uint32_t ord, struct line_state *l);	/* false: never read */
void state_line_set(struct state *s, uint32_t ord, enum status status, enum reason reason);

/* ---- documents and marks ---- */

bool state_doc_get(struct state *s, const char *repo, const char *path, struct doc_state *d);
/* Keeps the counters of head and repository right. */
void state_doc_put(struct state *s, const char *repo, const char *path, const struct doc_state *d);
void state_doc_del(struct state *s, const char *repo, const char *path);
bool state_mark_get(struct state *s, const char *repo, const char *path, struct mark *m);
void state_mark_put(struct state *s, const char *repo, const char *path, const struct mark *m);
void state_mark_del(struct state *s, const char *repo, const char *path);
/* Requests that were under way when the last process ended: their documents are in doubt.  To be called
 * before anything is judged; may commit. */
void state_marks_doubt(struct state *s);

/* Walks records of kind 'd', 'm' or 'f' in order, of one repository or (repo NULL) of all.  Start
 * with an empty *at and call until false; repo and path are borrowed from *at until the next call.
 * Records may be changed or deleted between calls. */
struct walk {
	struct buf key, value;	/* value: what the record's decode function takes */
	char *repo, *path;
	bool again;		/* the record at key, if it is there, is given once more first */
};
bool state_walk(struct state *s, char kind, const char *repo, struct walk *at);
void walk_release(struct walk *at);
uint64_t state_walked(const struct state *s);	/* steps of all walks until now, for those who count them */
/* A document's record by chance into *at, from all over the state; false where none is met: the state may
 * hold many other records. */
bool state_any_doc(struct state *s, struct walk *at);

/* ---- repositories ---- */

/* The record of a repository, made if there is none.  Borrowed until the next state_commit() or
 * state_refresh(); changes to it are part of the next commit (text members: replace with
 * repo_set_text). */
struct repo_state *state_repo(struct state *s, const char *repo);
void repo_set_text(char **member, const char *text);
/* Walks all repositories like state_walk; at->repo is the name. */
bool state_walk_repos(struct state *s, struct walk *at);

/* ---- failures ---- */

/* Records a failure with the line as it came (payload, n; kept up to 64 KiB, and 512 MiB in all).
 * With a path it takes the place of the document's older failure; without one it belongs to the line.
 * Either way it takes the place of what the same half of the same line left earlier.
 * repo_known false: a failure of no known repository.  f->retries and first_s are taken over from an
 * older failure of the same line. */
void state_failure_put(struct state *s, const struct failure *f, bool repo_known, const void *payload,
		       size_t n);
bool state_failure_get(struct state *s, const char *repo, const char *path, struct failure *f);
void state_failure_del(struct state *s, const char *repo, const char *path);
/* True if a line of repo after ordinal ord of the current run has failed. */
bool state_failed_after(struct state *s, const char *repo, uint32_t ord);

/* Walks all failures in order of run and ordinal.  Start with a zeroed *at.  *f is released and
 * refilled by each call; after false it is released.  Failures may be deleted between calls. */
struct failure_walk {
	struct place_in_run at;
	uint8_t half;
	bool repo_known;
	struct buf key, value;
};
bool state_failure_next(struct state *s, struct failure_walk *at, struct failure *f);
void failure_walk_release(struct failure_walk *at);
/* Walks the failures of one repository like state_walk: those of documents by path, then those of lines.
 * repo NULL: those of no known repository, by run and ordinal.  *f as state_failure_next gives it. */
bool state_failure_walk(struct state *s, const char *repo, struct walk *at, struct failure *f);
/* Puts *at before the failures of no known repository that are of `run` or later ones. */
void state_unknown_seek(struct walk *at, uint32_t run);
/* Deletes a failure that belongs to a line of repo alone, not to a document. */
void state_failure_del_line(struct state *s, const char *repo, struct place_in_run line);
/* Deletes the failure that state_failure_next gave last. */
void state_failure_del_at(struct state *s, const struct failure_walk *at);
/* The line as it came; false if it was not kept (f->payload is 0), or, for a reader, if a commit came in
 * between and it is settled by now.  Appended to *out after a reset. */
bool state_failure_payload(struct state *s, const struct failure *f, struct buf *out);

/* Deletes failures without document: of repo in runs before `run` whose lines are not its own (it closed
 * a block of repo without them). */
void state_failures_closed(struct state *s, const char *repo, const struct run_state *run);

/* The same as state_failure_next, of failures of no known repository alone. */
bool state_unknown_next(struct state *s, struct failure_walk *at, struct failure *f);
/* The first of them after `after` that is of a line with this digest; its *f as state_failure_next gives it. */
bool state_unknown_same(struct state *s, uint64_t digest, struct place_in_run after, struct failure *f);
/* Deletes those of run's own lines from ordinal `from` to the one before `to`. */
void state_unknown_del(struct state *s, const struct run_state *run, uint32_t from, uint32_t to);
/* The greatest unknown_ord of the repositories that such lines of `run` hold, 0 if there is none. */
uint32_t state_unknown_top(struct state *s, uint32_t run);
/* The repository is not held by such lines any more.  superseded: those that held no other go. */
void state_unknown_release(struct state *s, const char *repo, bool superseded);

/* ---- forget ---- */

/* Drops documents, failures and changesets of repo (NULL: all) and closes an open run with its lines;
 * marks stay, because what is under way may still arrive.  Commits as it goes. */
void state_forget(struct state *s, const char *repo);

/* Before objects are deleted outside a run: documents of repo (NULL: all) are present with contents
 * unknown, so that none is taken for unchanged, and the positions are dropped.  Commits. */
void state_unlearn(struct state *s, const char *repo);

#endif
