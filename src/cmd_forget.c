/* linesync forget: the state drops what it knows; the collection stays as it is, and the next sync
 * first reads what it holds.  With --delete the objects go first. */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ask.h"
#include "cleanup.h"
#include "collection.h"
#include "commands.h"
#include "connect.h"
#include "log.h"
#include "object.h"
#include "show.h"

#define ERASE_IDS 250		/* objects in one request */

struct erasing {
	const struct options *o;
	struct state *s;
	struct connection c;
	char ids[ERASE_IDS][37];
	size_t n;
	uint64_t objects;
};

static int erase_batch(struct erasing *e)
{
	struct ask_object objects[ERASE_IDS] = { 0 };
	struct ask a = { .kind = ASK_DELETE, .objects = objects, .n = e->n };
	struct ask_patience p = { (int64_t)e->o->retry_wait_ms, (int64_t)e->o->retry_max_wait_ms,
				  (int64_t)e->o->give_up_ms };
	int status;

	for (size_t i = 0; i < e->n; i++)
		objects[i] = (struct ask_object){ .id = e->ids[i], .again = true };
	if (e->n == 0)
		return 0;
	status = ask_in_parts(&e->c.store, e->c.http, &a, &p, "delete objects", -1);
	for (size_t i = 0; status == 0 && i < e->n; i++)
		if (objects[i].verdict.scope != VERDICT_OK)
			status = 75;
	e->objects += e->n;
	e->n = 0;
	return status;
}

static int erase_document(struct erasing *e, const char *repo, const char *path, uint32_t chunks)
{
	int status = 0;

	for (uint32_t c = 0; c < (chunks > 0 ? chunks : 1) && status == 0; c++) {
		object_id(e->ids[e->n++], e->c.store.collection, repo, path, c);
		if (e->n == ERASE_IDS)
			status = erase_batch(e);
	}
	return status;
}

/* Documents and what may be under way for others.  Marks stay: a late attempt may still arrive. */
static int erase_walk(struct erasing *e, const char *repo)
{
	struct walk at = { 0 };
	struct doc_state d;
	struct mark m;
	int status = 0;

	while (status == 0 && state_walk(e->s, 'd', repo, &at))
		if (doc_decode(&d, (const uint8_t *)at.value.data, at.value.len) == 0 &&
		    (d.flags & DOC_PRESENT))
			status = erase_document(e, at.repo, at.path, d.chunks);
	walk_release(&at);
	while (status == 0 && state_walk(e->s, 'm', repo, &at))
		if (mark_decode(&m, (const uint8_t *)at.value.data, at.value.len) == 0)
			status = erase_document(e, at.repo, at.path, m.chunks);
	walk_release(&at);
	return status != 0 ? status : erase_batch(e);
}

/* From the first request on the state must not say that the documents are there: a crash in between
 * leaves documents that are read from the collection again, none that is taken for stored. */
static int erase(const struct options *o, struct state *s, const char *repo)
{
	struct erasing e = { .o = o, .s = s };
	int status = connection_of_state(&e.c, o, s);

	if (status == 0)
		status = collection_find(&e.c.store, e.c.http);
	if (status == 0) {
		state_unlearn(s, repo);
		status = erase_walk(&e, repo);
	}
	if (status == 0)
		printf("deleted %" PRIu64 " object%s\n", e.objects, e.objects == 1 ? "" : "s");
	connection_release(&e.c);
	return status;
}

static int forget(const struct options *o, struct state *s)
{
	const char *repo = o->all ? NULL : o->args[0];
	uint64_t documents;
	int status;

	if (repo != NULL && !command_has_repo(s, repo))
		return 1;
	documents = repo != NULL ? state_repo(s, repo)->present : state_head(s)->present;
	status = o->delete_objects ? erase(o, s, repo) : 0;
	if (status != 0)
		return status;
	state_forget(s, repo);
	printf("forgot %" PRIu64 " document%s of ", documents, documents == 1 ? "" : "s");
	show_text(stdout, repo == NULL ? "all repositories" : repo[0] != '\0' ? repo : "''");
	printf(", with failures and changesets; the collection %s, and the next sync first reads what it "
	       "holds\n", o->delete_objects ? "lost their objects" : "is as it was");
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
