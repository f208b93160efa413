#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "json.h"
#include "pipeline_p.h"

#define WORK_OVERHEAD 512	/* bytes that a line takes beside its texts, about */

static unsigned hash_text(unsigned h, const char *s)
{
	for (; *s != '\0'; s++)
		h = (h ^ (unsigned char)*s) * 16777619u;
	return h;
}

struct group *work_group(struct pipeline *p, const char *repo)
{
	struct group **slot = &p->groups[hash_text(2166136261u, repo) % GROUP_SLOTS];
	struct group *g = *slot;

	while (g != NULL && strcmp(g->repo, repo) != 0)
		g = g->chain;
	if (g == NULL) {
		g = xcalloc(1, sizeof *g);
		g->repo = xstrdup(repo);
		g->chain = *slot;
		*slot = g;
	}
	return g;
}

bool work_group_idle(const struct group *g)
{
	return g->works == NULL && g->ndocs == 0 && g->records == NULL && !g->look && !g->release &&
	       g->prior == NULL;
}

void work_group_free(struct group *g)
{
	free(g->prior);
	free(g->repo);
	free(g);
}

static struct doc **doc_slot(struct pipeline *p, const char *repo, const char *path)
{
	return &p->docs[hash_text(hash_text(2166136261u, repo) * 31, path) % DOC_SLOTS];
}

struct doc *work_doc_find(struct pipeline *p, const char *repo, const char *path)
{
	struct doc *d = *doc_slot(p, repo, path);

	while (d != NULL && (strcmp(d->path, path) != 0 || strcmp(d->repo, repo) != 0))
		d = d->chain;
	return d;
}

void work_doc_late(struct pipeline *p, struct doc *d)
{
	if (d->in_late)
		return;
	d->in_late = true;
	d->late_next = p->late;
	p->late = d;
}

struct doc *work_doc(struct pipeline *p, const char *repo, const char *path)
{
	struct doc *d = work_doc_find(p, repo, path);
	struct doc **slot;

	if (d != NULL)
		return d;
	d = xcalloc(1, sizeof *d);
	d->repo = xstrdup(repo);
	d->path = xstrdup(path);
	d->group = work_group(p, repo);
	d->group->ndocs++;
	state_doc_get(p->state, repo, path, &d->known);
	d->has_mark = state_mark_get(p->state, repo, path, &d->mark);
	if (d->has_mark)	/* an earlier run's: its attempts end --late after this run began */
		d->late_until = p->start_ms + p->late_ms;
	slot = doc_slot(p, repo, path);
	d->chain = *slot;
	*slot = d;
	return d;
}

/* A document is kept while tasks concern it, or an attempt for it is not over. */
void work_doc_put(struct pipeline *p, struct doc *d)
{
	struct doc **at;

	if (d->active != NULL || d->next != NULL || d->in_late)
		return;
	at = doc_slot(p, d->repo, d->path);
	while (*at != d)
		at = &(*at)->chain;
	*at = d->chain;
	d->group->ndocs--;
	free(d->repo);
	free(d->path);
	free(d);
}

/* ---- lines ---- */

void work_drop_pieces(struct task *t)
{
	for (uint32_t i = 0; i < t->npieces; i++) {
		object_free(t->pieces[i].object);
		free(t->pieces[i].input);
	}
	free(t->pieces);
	t->pieces = NULL;
	t->npieces = 0;
}

static void task_release(struct task *t)
{
	work_drop_pieces(t);
	free(t->deletion.item.ids);
	free(t->message);
}

void work_free(struct work *w)
{
	for (int i = 0; i < w->halves; i++)
		task_release(&w->half[i]);
	free(w->repo);
	free(w->path);
	free(w->old_path);
	free(w->payload);
	free(w->root);
	free(w->folder);
	free(w->default_repo);
	free(w->namespace);
	free(w);
}

static const struct object *only_object(const struct work *w)
{
	const struct task *t = &w->half[0];

	return t->npieces == 1 ? t->pieces[0].object : NULL;
}

void work_cut_payload(struct work *w, size_t at, size_t len)
{
	const struct object *o = only_object(w);

	/* the other half of a rename may fail when the object is gone */
	if (w->payload == NULL || w->op == OP_RENAME || o == NULL || len == 0 ||
	    !json_str_is(w->payload + at, len, o->text, o->text_len))
		return;
	w->payload_len -= len;
	memmove(w->payload + at, w->payload + at + len, w->payload_len - at);
	w->payload = xrealloc(w->payload, w->payload_len);
	w->text_at = at;
}

void work_payload(const struct work *w, struct buf *out)
{
	const struct object *o = only_object(w);

	if (w->text_at > 0 && o == NULL)	/* not expected: better none than another line */
		return;
	buf_reserve(out, w->payload_len + (w->text_at > 0 ? o->text_len + 2 : 0));
	buf_add(out, w->payload, w->text_at > 0 ? w->text_at - 1 : w->payload_len);
	if (w->text_at > 0) {
		json_str(out, o->text, o->text_len);
		buf_add(out, w->payload + w->text_at + 1, w->payload_len - w->text_at - 1);
	}
}

void work_enter(struct pipeline *p, struct work *w)
{
	w->group = work_group(p, w->repo);
	w->next = w->group->works;
	if (w->next != NULL)
		w->next->prev = w;
	w->group->works = w;
	w->size += WORK_OVERHEAD + w->payload_len;
	p->window_bytes += w->size;
	p->window_works++;
}

void work_leave(struct pipeline *p, struct work *w)
{
	if (w->prev != NULL)
		w->prev->next = w->next;
	else
		w->group->works = w->next;
	if (w->next != NULL)
		w->next->prev = w->prev;
	p->window_bytes -= w->size;
	p->window_works--;
	free(w->payload);
	w->payload = NULL;
	w->done_next = p->settled;
	p->settled = w;
}
