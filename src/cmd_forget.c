/* linesync forget: the state drops what it knows; the collection stays as it is, and the next sync
 * first reads what it holds. */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "commands.h"
#include "log.h"
#include "show.h"

static bool has_repo(struct state *s, const char *repo)
{
	struct walk at = { 0 };
	bool found = false;

	while (!found && state_walk_repos(s, &at))
		found = strcmp(at.repo, repo) == 0;
	walk_release(&at);
	return found;
}

static int forget(const struct options *o, struct state *s)
{
	const char *repo = o->all ? NULL : o->args[0];
	uint64_t documents;

	if (repo != NULL && !has_repo(s, repo)) {
		log_err("the state knows no repository '%s'; 'linesync status --repos' lists them", repo);
		return 1;
	}
	documents = repo != NULL ? state_repo(s, repo)->present : state_head(s)->present;
	state_forget(s, repo);
	printf("forgot %" PRIu64 " document%s of ", documents, documents == 1 ? "" : "s");
	show_text(stdout, repo != NULL ? repo : "all repositories");
	fputs(", with failures and changesets; the collection is as it was, and the next sync first "
	      "reads what it holds\n", stdout);
	return 0;
}

int cmd_forget(const struct options *o)
{
	autofree char *file = NULL;
	struct state *s;
	int status = 0;

	file = command_state(o, &status);
	if (file == NULL)
		return status;
	status = state_open_existing(&s, file, (int64_t)o->wait_lock_ms);
	if (status != 0)
		return status;
	status = forget(o, s);
	state_close(s);
	return status;
}
