#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "cleanup.h"
#include "clock.h"
#include "collection.h"
#include "log.h"
#include "text.h"

static int ask(struct store *store, struct http *http, struct ask *a, const struct options *o,
	       const char *what, int stop_fd)
{
	struct ask_patience p = ask_patience_of(o);

	return ask_patiently(store, http, a, &p, what, stop_fd);
}

static int count_objects(struct store *store, struct http *http, const struct options *o, int stop_fd,
			 uint64_t *count)
{
	struct ask a = { .kind = ASK_COUNT };
	int status = ask(store, http, &a, o, "count the collection's objects", stop_fd);

	*count = a.count;
	ask_release(&a);
	return status;
}

/* How many documents with these flags are in doubt. */
static uint64_t in_doubt(struct state *state, uint8_t flags)
{
	uint64_t n = 0;
	struct walk at = { 0 };
	struct doc_state d;
	struct mark m;

	if (state_head(state)->marks == 0)
		return 0;
	while (state_walk(state, 'm', NULL, &at))
		if (mark_decode(&m, (const uint8_t *)at.value.data, at.value.len) == 0 &&
		    !(m.flags & MARK_SETTLED) && state_doc_get(state, at.repo, at.path, &d) &&
		    (d.flags & flags) == flags)
			n++;
	walk_release(&at);
	return n;
}

/* Documents that the state says are there, but for those in doubt. */
static uint64_t surely_present(struct state *state)
{
	uint64_t n = state_head(state)->present;

	return n == 0 ? 0 : n - in_doubt(state, DOC_PRESENT);
}

/* Those of which it also knows what was stored: not accepted by skip, no killed forget --delete. */
static uint64_t surely_known(struct state *state)
{
	uint64_t n = 0;
	struct walk at = { 0 };
	struct doc_state d;

	while (state_walk(state, 'd', NULL, &at))
		if (doc_decode(&d, (const uint8_t *)at.value.data, at.value.len) == 0 &&
		    (d.flags & DOC_PRESENT) && (d.flags & DOC_KNOWN))
			n++;
	walk_release(&at);
	return n - in_doubt(state, DOC_PRESENT | DOC_KNOWN);
}

/* ---- are its objects there? ---- */

/* So many documents are looked for when a run begins, all where there are no more: as one request for their
 * number, 4 ms of a Weaviate and 3 ms of a Chroma with 5,000 objects.  Of a collection that lost 60 of 100
 * of its objects they show less than half at all but one start of 1,000, and of one that lost 40, more. */
#define SAMPLE 250
/* Records that are looked at to find them, among those of documents that are gone, of failures and marks. */
#define SAMPLE_TRIES (20 * SAMPLE)

struct sample {
	char ids[SAMPLE][37];
	struct ask_object objects[SAMPLE];
	size_t n;
};

static bool sampled(const struct sample *p, const char *id)
{
	for (size_t i = 0; i < p->n; i++)
		if (strcmp(p->ids[i], id) == 0)
			return true;
	return false;
}

/* Takes one object of a document that the state surely knows: any of its chunks, for those behind the first
 * can be gone alone. */
static void sample_add(struct sample *p, const struct store *store, struct state *state, const struct walk *at)
{
	char *id = p->ids[p->n];
	struct doc_state d;
	struct mark m;

	if (doc_decode(&d, (const uint8_t *)at->value.data, at->value.len) != 0 || !(d.flags & DOC_PRESENT) ||
	    !(d.flags & DOC_KNOWN) ||
	    (state_mark_get(state, at->repo, at->path, &m) && !(m.flags & MARK_SETTLED)))
		return;
	object_id(id, store->collection, at->repo, at->path,
		  d.chunks > 1 ? (uint32_t)(clock_random() % d.chunks) : 0);
	if (sampled(p, id))
		return;
	p->objects[p->n].id = id;
	p->n++;
}

static void sample_take(struct sample *p, const struct store *store, struct state *state)
{
	bool all = state_head(state)->present <= SAMPLE;
	struct walk at = { 0 };

	for (size_t tries = 0; p->n < SAMPLE && tries < SAMPLE_TRIES; tries++) {
		bool met = all ? state_walk(state, 'd', NULL, &at) : state_any_doc(state, &at);

		if (met)
			sample_add(p, store, state, &at);
		else if (all)
			break;
	}
	walk_release(&at);
}

/* How many of the sample the store has. */
static int sample_count(struct sample *p, struct store *store, struct http *http,
			const struct ask_patience *patience, int stop_fd, uint64_t *there)
{
	struct ask a = { .kind = ASK_COUNT, .objects = p->objects, .n = p->n };
	int status = 0;

	if (p->n > 0)
		status = ask_patiently(store, http, &a, patience, "count linesync's objects in the collection", stop_fd);
	*there = a.count;
	ask_release(&a);
	return status;
}

static void warn_lost(const struct store *store, struct state *state, uint64_t count)
{
	uint64_t known = surely_known(state);

	if (count < known)
		log_warn("collection '%s' holds %llu objects, but the state '%s' says that it holds %llu "
			 "documents: some are gone that linesync did not delete; to send them again, run "
			 "'linesync forget --all --state %s' and feed everything", store->collection,
			 (unsigned long long)count, state_path(state), (unsigned long long)known,
			 state_path(state));
}

bool collection_is_same(const struct store *store, struct state *state)
{
	const char *recorded = state_head(state)->collection_id;

	return recorded[0] == '\0' || store->collection_id == NULL ||
	       strcmp(recorded, store->collection_id) == 0;
}

/* The number of all objects says nothing where others keep theirs in the collection: ours are looked for. */
static int look_for_objects(struct store *store, struct http *http, struct state *state, uint64_t count,
			    unsigned long long present, const struct ask_patience *patience, int stop_fd)
{
	autofree struct sample *p = xcalloc(1, sizeof(*p));
	unsigned long long all = count, there, looked;
	uint64_t n = 0;
	int status;

	sample_take(p, store, state);
	status = sample_count(p, store, http, patience, stop_fd, &n);
	if (status != 0)
		return status;
	looked = p->n;
	there = n;
	if (there * 2 < looked) {
		log_err("collection '%s' holds %llu objects, and the state '%s' says that it holds %llu documents; but "
			"of %llu that were looked for only %llu are there; mend --store, or run 'linesync forget --all "
			"--state %s' and feed everything", store->collection, all, state_path(state), present, looked,
			there, state_path(state));
		return 78;
	}
	if (there < looked)
		log_warn("collection '%s' holds %llu objects, and the state '%s' says that it holds %llu documents; but "
			 "of %llu that were looked for %llu are gone that linesync did not delete; to send them again, "
			 "run 'linesync forget --all --state %s' and feed everything", store->collection, all,
			 state_path(state), present, looked, looked - there, state_path(state));
	else if (count < present)
		warn_lost(store, state, count);
	return 0;
}

int collection_compare(struct store *store, struct http *http, struct state *state, uint64_t count,
		       const struct ask_patience *patience, int stop_fd)
{
	uint64_t present = surely_present(state);
	bool other = !collection_is_same(store, state);

	if (present == 0)
		return 0;
	if (store->existed && !other && count > 0)
		return look_for_objects(store, http, state, count, present, patience, stop_fd);
	log_err("collection '%s' %s and holds %llu objects, but the state '%s' says that it holds %llu "
		"documents; mend --store, or run 'linesync forget --all --state %s' and feed everything",
		store->collection, !store->existed ? "is not there" : other ? "is another one" : "is empty",
		(unsigned long long)count, state_path(state), (unsigned long long)present,
		state_path(state));
	return 78;
}

static void remember(struct state *state, const struct store *store, uint64_t count)
{
	struct head *h = state_head(state);

	if (store->collection_id == NULL || strcmp(h->collection_id, store->collection_id) == 0)
		return;
	if (h->collection_id[0] != '\0') {	/* another one, and the state held nothing of the old */
		h->collection_read = false;
		h->dimension = 0;
		repo_set_text(&h->embedder, "");
		repo_set_text(&h->embed_how, "");
	}
	repo_set_text(&h->collection_id, store->collection_id);
	if (count == 0)
		h->collection_read = true;
}

int collection_open(struct store *store, struct http *http, struct state *state,
		    const struct options *o, int stop_fd)
{
	struct ask ready = { .kind = ASK_READY }, look = { .kind = ASK_OPEN, .create = false };
	const struct ask_patience patience = ask_patience_of(o);
	uint64_t count = 0;
	int status = ask(store, http, &ready, o, "reach the store", stop_fd);

	ask_release(&ready);
	if (status != 0)
		return status;
	/* a collection that the state knows is never made anew in silence */
	look.create = !o->no_create && surely_present(state) == 0;
	status = ask(store, http, &look, o, "open the collection", stop_fd);
	ask_release(&look);
	if (status == 78 && state_head(state)->present > 0)
		log_err("the state '%s' says that it holds %llu documents there; mend --store, or run "
			"'linesync forget --all --state %s' and feed everything", state_path(state),
			(unsigned long long)state_head(state)->present, state_path(state));
	if (status == 0 && store->existed)
		status = count_objects(store, http, o, stop_fd, &count);
	if (status == 0)
		status = collection_compare(store, http, state, count, &patience, stop_fd);
	if (status != 0)
		return status;
	if (!store->existed)
		log_note("collection '%s' was created (cosine distance)", store->collection);
	remember(state, store, count);
	return 0;
}

int collection_find(struct store *store, struct http *http)
{
	struct ask look = { .kind = ASK_OPEN };
	int status = ask_patiently(store, http, &look, NULL, "open the collection", -1);

	ask_release(&look);
	return status;
}

bool collection_owns(const struct store *store, const struct found *f)
{
	char id[37];

	if (f->repo == NULL || f->path == NULL)
		return false;
	object_id(id, store->collection, f->repo, f->path, f->chunk);
	return strcmp(id, f->id) == 0;
}

static void note_found(const struct store *store, struct state *state, const struct found *f)
{
	struct doc_state d;

	if (!collection_owns(store, f))
		return;
	if (state_doc_get(state, f->repo, f->path, &d)) {
		if ((d.flags & DOC_PRESENT) && d.chunks > f->chunk)
			return;
		if (!(d.flags & DOC_PRESENT))	/* known to be absent, and there: believe the store */
			d.flags = DOC_PRESENT;
	} else {
		d.flags = DOC_PRESENT;
	}
	d.flags &= (uint8_t)~DOC_KNOWN;
	d.chunks = f->chunk + 1;
	state_doc_put(state, f->repo, f->path, &d);
}

int collection_read(struct store *store, struct http *http, struct state *state,
		    const struct options *o, int stop_fd)
{
	struct ask a = { 0 };
	uint64_t seen = 0;
	int status = 0;
	bool end = state_head(state)->collection_read;

	while (!end && status == 0) {
		a.kind = ASK_LIST;
		a.step = 0;
		a.verdict = (struct verdict){ 0 };
		status = ask(store, http, &a, o, "read the collection", stop_fd);
		for (size_t i = 0; status == 0 && i < a.nfound; i++)
			note_found(store, state, &a.found[i]);
		seen += a.nfound;
		end = a.end;
		ask_release(&a);
		if (status == 0 && end) {
			state_head(state)->collection_read = true;
			state_head(state)->exclude_open = true;	/* what was found may match */
		}
		state_commit(state);
	}
	if (status == 0 && seen > 0)
		log_note("collection '%s' holds %llu objects already: %llu documents of linesync's, known "
			 "from now on", store->collection, (unsigned long long)seen,
			 (unsigned long long)state_head(state)->present);
	return status;
}
