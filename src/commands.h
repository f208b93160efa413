/* commands: each returns an exit status (linesync(1), EXIT STATUS). */
#ifndef LINESYNC_COMMANDS_H
#define LINESYNC_COMMANDS_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "driver.h"
#include "options.h"
#include "state.h"

int cmd_sync(const struct options *o);
int cmd_status(const struct options *o);
int cmd_changeset(const struct options *o);
int cmd_skip(const struct options *o);
int cmd_forget(const struct options *o);
int cmd_export(const struct options *o);
int cmd_search(const struct options *o);
int cmd_check(const struct options *o);
int cmd_states(const struct options *o);

/* The state file that the options name: --state, or the one of --store and --collection, or the only
 * one in the state folder.  Owned; NULL with the reason logged and *status set to an exit status. */
char *command_state(const struct options *o, int *status);

/* The state file of a store and its collection, which need not be there: --state, or one in the state
 * folder (create: which is made).  Owned; NULL with the reason logged. */
char *command_state_of(const struct options *o, const struct store *store, bool create);

/* All state files that the options may mean: one where they name it, else those in the state folder
 * whose store and collection are the given ones.  Returns how many (at least 1), *files and each name
 * are owned; 0 with the reason logged and *status set. */
size_t command_states(const struct options *o, char ***files, int *status);

/* Appends "linesync COMMAND", and where the options name a state, the --state option that finds the
 * same one from anywhere: the beginning of a command line to copy. */
void command_line(struct buf *out, const struct options *o, const char *command, const struct state *s);

/* The id of run number, or the number itself where the run was dropped: appended to *out. */
void command_run_name(struct buf *out, struct state *s, uint32_t number);

/* The same, borrowed until the next call: the last one is kept, because neighbours in a list mostly
 * share theirs.  Start with a zeroed one. */
struct run_names {
	uint32_t number;
	struct buf id;
};
const char *run_names_get(struct run_names *n, struct state *s, uint32_t number);
void run_names_release(struct run_names *n);

/* The number of the run that `name` (an id or a number) stands for; 0 if there is none. */
uint32_t command_run_number(struct state *s, const char *name);

/* False, with the reason logged, if the state knows no such repository. */
bool command_has_repo(struct state *s, const char *repo);

/* The newest run whose record is there: 0 and *r (the caller releases it), or -1 if there is none. */
int command_last_run(struct state *s, struct run_state *r);

#endif
