#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "clock.h"
#include "embed_hash.h"
#include "log.h"
#include "offer.h"
#include "state.h"

#define HOPELESS_CHANGES 20

static struct offer_half *add_half(struct offer *of, enum offer_kind kind, uint8_t half, enum reason reason)
{
	struct offer_half *h = &of->half[of->n++];

	h->kind = kind;
	h->half = half;
	h->reason = reason;
	return h;
}

/* *message passes over. */
static struct offer_half *add_failed(struct offer *of, uint8_t half, enum error_code error, char **message)
{
	struct offer_half *h = add_half(of, OFFER_FAIL, half, REASON_NONE);

	h->error = error;
	h->message = *message;
	*message = NULL;
	return h;
}

bool names_document(const char *path)
{
	size_t n;

	if (path == NULL || change_path_fault(path, strlen(path)) != NULL)
		return false;
	for (;; path += n + 1) {
		n = strcspn(path, "/");
		if (n == 0 || (path[0] == '.' && (n == 1 || (n == 2 && path[1] == '.'))))
			return false;
		if (path[n] == '\0')
			return true;
	}
}

/* Bad before it was looked whether a file has this name, or whether it is a rename. */
static bool may_be_arrow(const struct change *c)
{
	return c->kind == CHANGE_BAD && c->is_json && !c->path_was_quoted && c->path != NULL &&
	       strstr(c->path, " -> ") != NULL;
}

/* The whole line has failed. */
static void offer_bad(struct offer *of, const struct change *c, enum error_code error, char **message)
{
	struct offer_half *h = add_failed(of, HALF_NEW, error, message);

	h->alone = !of->repo_known || may_be_arrow(c) || !names_document(c->path) ||
		   error == ERR_IS_A_DIRECTORY || error == ERR_OUTSIDE_ROOT || error == ERR_BAD_PATH;
}

/* ---- what makes them ---- */

void offer_maker_init(struct offer_maker *m, struct embedder *e, struct state *s, const struct store *store,
		      const struct options *o)
{
	*m = (struct offer_maker){ .embedder = e, .state = s, .store = store, .options = o,
				   .settings = embedder_settings(e) };
	clock_format(clock_unix_s(), m->synced_at);
}

void offer_maker_release(struct offer_maker *m)
{
	free(m->settings);
	m->settings = NULL;
}

/* The first object of a run settles what nobody has chosen. */
static void see_object(struct offer_maker *m, const struct change *c)
{
	if (m->seen)
		return;
	m->seen = true;
	if (!embedder_decide(m->embedder, m->state, m->store, m->options, c->vector ? c->nvector : 0))
		return;
	free(m->settings);
	m->settings = embedder_settings(m->embedder);
}

/* ---- the new half ---- */

static bool wrong_vector(struct offer_maker *m, const struct change *c, char **why)
{
	const struct embedder *e = m->embedder;
	size_t dimension = e->kind == EMBED_STORE ? m->store->dimension : e->dimension;

	if (c->vector == NULL && e->kind == EMBED_GIVEN) {
		*why = xasprintf("the collection's vectors came with their lines: this line must bring its own, "
				 "of %zu numbers", dimension);
		return true;
	}
	if (c->vector == NULL && e->kind == EMBED_HASH &&
	    (dimension < EMBED_HASH_MIN || dimension > EMBED_HASH_MAX)) {
		*why = xasprintf("the collection's vectors have %zu numbers, and --embed hash makes %d to %d: "
				 "the line must bring its vector", dimension, EMBED_HASH_MIN,
				 EMBED_HASH_MAX);
		return true;
	}
	if (c->vector == NULL || c->nvector == dimension || dimension == 0)
		return false;
	*why = xasprintf("the vector has %zu numbers, the collection's have %zu", c->nvector,
			 dimension);
	return true;
}

static bool brings_object(const struct change *c, const struct content *k)
{
	return k->got == CONTENT_OK && c->op != OP_DELETE && !c->content_error;
}

/* What is wrong with the new half of a change, if anything: *message is the caller's to give away. */
static enum error_code new_half_error(struct offer_maker *m, struct change *c, struct content *k,
				      char ***message, char **why)
{
	*message = &k->message;
	if (k->got == CONTENT_FAIL)
		return k->error;
	*message = &c->error_text;
	if (c->content_error && !(k->got == CONTENT_SKIP && k->deletes))	/* what is left out needs no text */
		return ERR_CONTENT;
	*message = why;
	if (!brings_object(c, k))
		return ERR_NONE;
	see_object(m, c);
	return wrong_vector(m, c, why) ? ERR_BAD_VECTOR : ERR_NONE;
}

static void add_store(struct offer *of, struct offer_maker *m, struct change *c, struct content *k)
{
	struct offer_half *h = add_half(of, OFFER_STORE, HALF_NEW, REASON_NONE);

	object_digest(h->digest, c, k, m->settings);
	h->objects = objects_new(m->store->collection, c, k, h->digest, m->synced_at, &m->embedder->chunking,
				 &h->n);
}

/* False: that is all there is of the line. */
static bool add_new_half(struct offer *of, struct offer_maker *m, struct change *c, struct content *k,
			 bool old_goes)
{
	char **message, *why = NULL;
	enum error_code error = new_half_error(m, c, k, &message, &why);

	of->hopeless = error == ERR_NO_SUCH_FILE || error == ERR_OUTSIDE_ROOT;
	if (error != ERR_NONE && (!old_goes || !names_document(c->path) || error == ERR_IS_A_DIRECTORY)) {
		offer_bad(of, c, error, message);
		return false;
	}
	if (error != ERR_NONE)
		add_failed(of, HALF_NEW, error, message);
	else if (k->got == CONTENT_SKIP && !k->deletes)
		add_half(of, OFFER_LEAVE, HALF_NEW, k->reason);
	else if (c->op == OP_DELETE || k->got == CONTENT_SKIP)
		add_half(of, OFFER_DELETE, HALF_NEW, c->op == OP_DELETE ? REASON_NONE : k->reason);
	else
		add_store(of, m, c, k);
	return true;
}

/* ---- both ---- */

static void offer_document(struct offer *of, struct offer_maker *m, struct change *c, struct content *k,
			   bool keep_old, int halves)
{
	bool old_goes = c->op == OP_RENAME && (halves & HALF_OLD) && !keep_old && names_document(c->old_path);

	if ((halves & HALF_NEW) && !add_new_half(of, m, c, k, old_goes))
		return;
	if (old_goes && k->old_unseen != NULL)
		add_failed(of, HALF_OLD, ERR_UNREADABLE, &k->old_unseen);
	else if (old_goes)
		add_half(of, OFFER_DELETE, HALF_OLD, REASON_NONE);
}

void offer_make(struct offer *of, struct offer_maker *m, struct change *c, struct content *k,
		bool keep_old, int halves)
{
	memset(of, 0, sizeof *of);
	of->repo_known = c->kind != CHANGE_BAD || c->repo_known;
	if (c->kind == CHANGE_BAD)
		offer_bad(of, c, c->error, &c->message);
	else if (c->kind == CHANGE_SKIP)
		add_half(of, OFFER_SKIP, HALF_NEW, c->reason)->alone = true;
	else
		offer_document(of, m, c, k, keep_old, halves);
}

int first_changes_count(struct first_changes *f, const struct offer *of, const char *root)
{
	if (f->seen >= HOPELESS_CHANGES)
		return 0;
	f->seen++;
	f->hopeless += of != NULL && of->hopeless;
	if (f->hopeless < HOPELESS_CHANGES)
		return 0;
	log_err("none of the first %d changes has a file below '%s'; is --root right?", HOPELESS_CHANGES, root);
	return 78;
}

void offer_release(struct offer *of)
{
	for (int i = 0; i < of->n; i++) {
		struct offer_half *h = &of->half[i];

		for (uint32_t n = 0; h->objects != NULL && n < h->n; n++)
			object_free(h->objects[n]);
		free(h->objects);
		free(h->message);
	}
	memset(of, 0, sizeof *of);
}
