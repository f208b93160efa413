/* show_state: a look at a state, and what it, its runs, failed lines and repositories are to people and
 * programs: what the commands that print them have in common. */
#ifndef LINESYNC_SHOW_STATE_H
#define LINESYNC_SHOW_STATE_H

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

/* Looks at l->s as l->o asks: 0, or an exit status with the reason logged, 1 where the run that was asked for
 * is not there.  The other closes it, too. */
int look_at(struct look *l);
void look_release(struct look *l);

/* True if who holds the lock ("pid 12, host a, since ..."; NULL: nobody) may be who works on r. */
bool show_works_on(const char *holder, const struct run_state *r);

/* Figures of a run; running: a process works on it. */
const char *show_run_status(const struct run_state *r, bool running);
int64_t show_run_seconds(const struct run_state *r, bool running);
double show_run_rate(const struct run_state *r, bool running);		/* lines a second */
double show_run_percent(const struct run_state *r);	/* of the input; negative where its size is not known */
int64_t show_run_eta(const struct run_state *r);	/* seconds, of one that runs; negative: not known */

/* Append JSON members: a time, null where there is none; a text, where there is one; lines by status; what is
 * known of a state, a run, a failed line (run: the id of its run), a repository. */
void show_json_time(struct buf *json, bool *first, const char *name, int64_t unix_s);
void show_json_given(struct buf *json, bool *first, const char *name, const char *s);
void show_json_counts(struct buf *json, bool *first, const char *name, const uint64_t counts[8]);
void show_json_state(struct buf *json, bool *first, const struct look *l);
void show_json_run(struct buf *json, bool *first, const struct run_state *r, bool running);
void show_json_failure(struct buf *json, bool *first, const struct failure *f, const char *run);
void show_json_repo(struct buf *json, bool *first, const char *name, const struct repo_state *r);

/* Prints what is in *json to standard output and empties it, if it is long. */
void show_json_flush(struct buf *json);

#endif
