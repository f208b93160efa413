/* Which state file a command means, and the names of runs in it. */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "cleanup.h"
#include "driver.h"
#include "log.h"
#include "show.h"
#include "store_url.h"
#include "text.h"

#include "commands.h"

static void free_files(char **files, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(files[i]);
	free(files);
}

/* --store as the state names it.  Owned, or NULL with the reason logged. */
static char *canonical_store(const char *store, const struct driver **driver)
{
	struct store_url u;
	autofree char *why = NULL;
	char *canonical;

	if (store_url_parse(&u, store, &why) != 0) {
		log_err("%s", why);
		return NULL;
	}
	*driver = driver_find(u.driver);
	canonical = u.canonical;
	u.canonical = NULL;
	store_url_release(&u);
	return canonical;
}

/* The collection under the name that the store makes of it. */
static char *stored_collection(const struct driver *driver, const char *collection)
{
	char *changed = NULL;
	autofree char *why = NULL;

	if (driver != NULL && driver->check_name(collection, &changed, &why) == 0 && changed != NULL)
		return changed;
	return xstrdup(collection);
}

/* What cannot be read may be the one that is meant: whoever opens it says why, and that there is no such
 * state is not said. */
static bool may_be_of(const char *file, const char *store, const char *collection)
{
	auto_buf struct buf why = BUF_INIT;
	const struct identity *id;
	struct state *s;
	bool match;
	int status;

	log_divert(&why);
	status = state_open_reader(&s, file);
	log_divert(NULL);
	if (status != 0)
		return status != 66;
	id = state_identity(s);
	match = (store == NULL || strcmp(id->store, store) == 0) &&
		(collection == NULL || strcmp(id->collection, collection) == 0);
	state_close(s);
	return match;
}

/* Keeps the files that may belong to store and collection (NULL: any). */
static size_t keep_matching(char **files, size_t n, const char *store, const char *collection)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		if ((store == NULL && collection == NULL) || may_be_of(files[i], store, collection))
			files[kept++] = files[i];
		else
			free(files[i]);
	}
	return kept;
}

static size_t one_file(char ***files, char *file)
{
	*files = xcalloc(1, sizeof(**files));
	(*files)[0] = file;
	return 1;
}

static size_t find_files(char ***files, const struct options *o, const char *folder, const char *store,
			 int *status)
{
	size_t n;

	*status = state_list(files, &n, folder);
	if (*status != 0) {
		free_files(*files, n);
		*files = NULL;
		return 0;
	}
	n = keep_matching(*files, n, store, o->collection);
	if (n > 0)
		return n;
	free_files(*files, 0);
	*files = NULL;
	if (store != NULL || o->collection != NULL)
		log_err("there is no state of that collection in '%s'; nothing was synced with it yet, or "
			"--state-dir names another folder", folder);
	else
		log_err("there is no state in '%s'; nothing was synced yet, or --state-dir names another "
			"folder", folder);
	*status = 66;
	return 0;
}

size_t command_states(const struct options *o, char ***files, int *status)
{
	autofree char *folder = NULL, *store = NULL, *collection = NULL;
	const struct driver *driver = NULL;

	*files = NULL;
	if (o->state != NULL)
		return one_file(files, xstrdup(o->state));
	if (o->store != NULL && (store = canonical_store(o->store, &driver)) == NULL) {
		*status = 64;
		return 0;
	}
	folder = state_folder(o->state_dir, false);
	if (folder == NULL) {
		*status = 78;
		return 0;
	}
	if (store == NULL || o->collection == NULL)
		return find_files(files, o, folder, store, status);
	collection = stored_collection(driver, o->collection);
	return one_file(files, state_file(folder, store, collection));
}

char *command_state_of(const struct options *o, const struct store *store, bool create)
{
	autofree char *folder = NULL;

	if (o->state != NULL)
		return xstrdup(o->state);
	folder = state_folder(o->state_dir, create);
	return folder != NULL ? state_file(folder, store->url.canonical, store->collection) : NULL;
}

static void tell_choice(char **files, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct state *s;

		if (state_open_reader(&s, files[i]) != 0)
			continue;
		log_note("  --state %s: collection '%s' of %s", files[i], state_identity(s)->collection,
			 state_identity(s)->store);
		state_close(s);
	}
}

char *command_state(const struct options *o, int *status)
{
	char **files, *file = NULL;
	size_t n = command_states(o, &files, status);

	if (n == 1) {
		file = files[0];
		files[0] = NULL;
	} else if (n > 1) {
		log_err("there are %zu states; name one with --collection or --state, or remove those that are not "
			"wanted with 'linesync states --remove':", n);
		tell_choice(files, n);
		*status = 64;
	}
	free_files(files, n);
	return file;
}

void command_line(struct buf *out, const struct options *o, const char *command, const struct state *s)
{
	autofree char *absolute = NULL;

	buf_addf(out, "linesync %s", command);
	if (o->state == NULL && o->state_dir == NULL && o->store == NULL && o->collection == NULL)
		return;
	absolute = realpath(state_path(s), NULL);
	buf_adds(out, " --state ");
	show_word(out, absolute != NULL ? absolute : state_path(s));
}

void command_run_name(struct buf *out, struct state *s, uint32_t number)
{
	struct run_state r;

	if (state_run_get(s, number, &r) == 0)
		buf_adds(out, r.id);
	else
		buf_addf(out, "%" PRIu32, number);
	run_release(&r);
}

const char *run_names_get(struct run_names *n, struct state *s, uint32_t number)
{
	if (n->id.len == 0 || n->number != number) {
		buf_reset(&n->id);
		command_run_name(&n->id, s, number);
		n->number = number;
	}
	return n->id.data;
}

void run_names_release(struct run_names *n)
{
	buf_release(&n->id);
}

uint32_t command_run_number(struct state *s, const char *name)
{
	struct run_state r = { .number = UINT32_MAX };
	uint64_t number;

	if (parse_uint(&number, name, 1, UINT32_MAX) == 0)
		return number < state_head(s)->next_run ? (uint32_t)number : 0;
	while (state_run_below(s, r.number, &r) && strcmp(r.id, name) != 0)
		;
	number = r.number;
	run_release(&r);
	return (uint32_t)number;
}

bool command_has_repo(struct state *s, const char *repo)
{
	struct walk at = { 0 };
	bool found = false;

	while (!found && state_walk_repos(s, &at))
		found = strcmp(at.repo, repo) == 0;
	walk_release(&at);
	if (!found && state_failed(s) == 0)
		log_err("the state knows no repository '%s'; 'linesync status --repos' lists them", repo);
	return found;
}

int command_last_run(struct state *s, struct run_state *r)
{
	memset(r, 0, sizeof(*r));
	return state_run_below(s, UINT32_MAX, r) ? 0 : -1;
}
