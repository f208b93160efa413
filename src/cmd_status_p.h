/* cmd_status_p: what the halves of `linesync status` share, and records as JSON members, which
 * `linesync export` prints as well. */
#ifndef LINESYNC_CMD_STATUS_P_H
#define LINESYNC_CMD_STATUS_P_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "options.h"
#include "state.h"

/* One look at one state. */
struct look {
	const struct options *o;
	struct state *s;
	bool has_run, running;
	struct run_state run;		/* the one asked for, or the newest */
	char *holder;			/* owned; who holds the lock, or NULL */
	uint64_t repos, failed, held, doubts;	/* of all repositories; failed: with those of none that count */
	uint64_t left_over;			/* failed lines of no known repository that do not */
	int64_t clean_s;		/* end of the last clean run, 0: none is known */
};

/* Looks at l->s: 0, or an exit status with the reason logged, 1 where the run that was asked for is not
 * there.  The other closes it, too. */
int status_look(struct look *l);
void status_look_release(struct look *l);

/* How a run stands; running: a process works on it. */
const char *status_of_run(const struct run_state *r, bool running);

/* The lists: text (json NULL), or a JSON array appended to *json, which may be printed and emptied on
 * the way. */
void status_list_failed(struct look *l, struct buf *json);
void status_list_held(struct look *l, struct buf *json);
void status_list_repos(struct look *l, struct buf *json);

/* Prints what is in *json to standard output and empties it, if it is long. */
void status_flush(struct buf *json);

/* True if who holds the lock ("pid 12, host a, since ..."; NULL: nobody) may be who works on r. */
bool status_works_on(const char *holder, const struct run_state *r);

/* Append JSON members: a time, null where there is none; a text, where there is one; what is known of
 * a state, a run, a failed line (run: the id of its run), a repository. */
void status_json_time(struct buf *json, bool *first, const char *name, int64_t unix_s);
void status_json_text(struct buf *json, bool *first, const char *name, const char *s);
void status_json_state(struct buf *json, bool *first, const struct look *l);
void status_json_run(struct buf *json, bool *first, const struct run_state *r, bool running);
void status_json_failure(struct buf *json, bool *first, const struct failure *f, const char *run);
void status_json_repo(struct buf *json, bool *first, const char *name, const struct repo_state *r);

#endif
