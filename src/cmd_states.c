/* linesync states: the state files in the state folder, and what is in them; removes those that are
 * named.  One that cannot be read is in the list, too. */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "alloc.h"
#include "cleanup.h"
#include "clock.h"
#include "commands.h"
#include "json.h"
#include "log.h"
#include "show.h"
#include "show_state.h"

/* A state file, and what is known of it. */
struct entry {
	const char *file;	/* borrowed */
	int status;		/* 0, or an exit status and */
	struct buf why;		/* why it cannot be read */
	struct look l;
	uint64_t bytes;
};

static void entry_init(struct entry *e, const struct options *o, const char *file)
{
	struct stat st;

	memset(e, 0, sizeof(*e));
	e->file = file;
	e->l.o = o;
	log_divert(&e->why);
	e->status = state_open_reader(&e->l.s, file);
	if (e->status == 0)
		e->status = look_at(&e->l);
	log_divert(NULL);
	if (lstat(file, &st) == 0)
		e->bytes = (uint64_t)st.st_size;
}

static void entry_release(struct entry *e)
{
	look_release(&e->l);
	buf_release(&e->why);
}

static void free_names(char **files, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(files[i]);
	free(files);
}

/* ---- the list ---- */

static const char *base_name(const char *file)
{
	const char *slash = strrchr(file, '/');

	return slash != NULL ? slash + 1 : file;
}

static void add_row(struct table *t, const struct entry *e)
{
	auto_buf struct buf size = BUF_INIT;
	const struct run_state *r = &e->l.run;
	const struct identity *id = e->status == 0 ? state_identity(e->l.s) : NULL;
	char when[21];

	table_add(t, base_name(e->file));
	table_add(t, id != NULL ? id->collection : "-");
	table_add(t, id != NULL ? id->store : "-");
	if (id != NULL)
		table_addf(t, "%" PRIu64, state_head(e->l.s)->present);
	else
		table_add(t, "-");
	clock_format(r->end_s != 0 ? r->end_s : r->update_s, when);
	table_add(t, e->l.has_run ? when : "-");
	table_add(t, e->l.has_run ? show_run_status(r, e->l.running) : id != NULL ? "none yet" : "cannot be read");
	show_bytes(&size, e->bytes);
	table_add(t, size.data);
}

static void print_object(const struct entry *e)
{
	auto_buf struct buf json = BUF_INIT;
	bool first = true, inner = true;

	buf_addc(&json, '{');
	if (e->status == 0)
		show_json_state(&json, &first, &e->l);
	else
		json_member_cstr(&json, &first, "state", e->file);
	json_member_int(&json, &first, "bytes", (int64_t)e->bytes);
	if (e->status != 0)
		json_member_str(&json, &first, "error", e->why.data, e->why.len);
	json_name(&json, &first, "run");
	if (e->l.has_run) {
		buf_addc(&json, '{');
		show_json_run(&json, &inner, &e->l.run, e->l.running);
		buf_addc(&json, '}');
	} else {
		json_cstr(&json, NULL);
	}
	buf_adds(&json, "}\n");
	fwrite(json.data, 1, json.len, stdout);
}

static int list(const struct options *o, char **files, size_t n)
{
	static const char *const heads[] = { "FILE", "COLLECTION", "STORE", "DOCUMENTS", "LAST RUN", "STATUS",
					     "SIZE" };
	struct table t = { .columns = 7, .right = "lllrllr" };
	int status = 0;

	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
		table_add(&t, heads[i]);
	for (size_t i = 0; i < n; i++) {
		struct entry e;

		entry_init(&e, o, files[i]);
		if (e.status != 0)
			log_err("%s", e.why.data);
		status = e.status > status ? e.status : status;
		if (o->json)
			print_object(&e);
		else
			add_row(&t, &e);
		entry_release(&e);
	}
	if (!o->json)
		table_print(stdout, &t, "");
	table_release(&t);
	return status;
}

static int list_folder(const struct options *o, const char *folder)
{
	char **files;
	size_t n;
	int status = state_list(&files, &n, folder);

	if (status == 0 && n == 0) {
		log_err("there is no state in '%s'", folder);
		status = 66;
	} else if (status == 0) {
		status = list(o, files, n);
	}
	free_names(files, n);
	return status;
}

/* ---- removing ---- */

static bool is_listed(const char *folder, const char *file)
{
	char **files;
	size_t n;
	bool found = false;

	state_list(&files, &n, folder);
	for (size_t i = 0; i < n; i++)
		found |= strcmp(files[i], file) == 0;
	free_names(files, n);
	return found;
}

/* Of a file elsewhere that cannot be read nobody knows whether it is a state. */
static int may_remove(const struct entry *e, const char *folder)
{
	if (e->status == 66) {
		log_err("there is no state '%s'; 'linesync states' lists them", e->file);
		return 66;
	}
	if (e->status == 0 || (e->status != 75 && is_listed(folder, e->file)))
		return 0;
	log_err("%s", e->why.data);
	if (e->status != 75)
		log_err("'%s' stays: only what can be read, or is in the state folder, is known to be a state",
			e->file);
	return e->status;
}

static void add_loss(struct buf *out, uint64_t n, const char *thing, const char *things)
{
	if (n > 0)
		buf_addf(out, "%s%" PRIu64 " %s", out->len > 0 ? ", " : "", n, n == 1 ? thing : things);
}

static void tell_loss(const struct entry *e)
{
	auto_buf struct buf lost = BUF_INIT;
	const struct identity *id = state_identity(e->l.s);
	const struct head *h = state_head(e->l.s);
	bool open = e->l.has_run && (e->l.run.status == RUN_RUNNING || e->l.run.status == RUN_INTERRUPTED);

	add_loss(&lost, h->present, "document", "documents");
	add_loss(&lost, e->l.repos, "repository", "repositories");
	add_loss(&lost, e->l.failed, "failed line", "failed lines");
	add_loss(&lost, e->l.held, "held changeset", "held changesets");
	add_loss(&lost, h->marks, "request that may still arrive", "requests that may still arrive");
	add_loss(&lost, open, "run that could go on", "");
	fputs("it knew of collection ", stdout);
	show_text(stdout, id->collection);
	fputs(" of ", stdout);
	show_text(stdout, id->store);
	printf(": %s\nthe collection is as it was; the next sync of it first reads what it holds, and sends "
	       "whatever it is fed\n", lost.len > 0 ? lost.data : "nothing");
}

static int remove_one(const struct options *o, const char *folder, const char *name)
{
	autofree char *file = strchr(name, '/') != NULL ? xstrdup(name) : xasprintf("%s/%s", folder, name);
	struct entry e;
	int status;

	entry_init(&e, o, file);
	status = may_remove(&e, folder);
	if (status == 0)
		status = state_remove(file, (int64_t)o->wait_lock_ms);
	if (status == 0) {
		fputs("removed ", stdout);
		show_text(stdout, file);
		putchar('\n');
	}
	if (status == 0 && e.status == 0) {
		tell_loss(&e);
	} else if (status == 0) {
		puts("what it knew could not be read");
	}
	entry_release(&e);
	return status;
}

int cmd_states(const struct options *o)
{
	autofree char *folder = state_folder(o->state_dir, false);
	int status = 0;

	if (folder == NULL)
		return 78;
	if (!o->remove)
		return list_folder(o, folder);
	for (int i = 0; i < o->nargs && status == 0; i++)
		status = remove_one(o, folder, o->args[i]);
	return status;
}
