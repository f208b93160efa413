#include <stdlib.h>

#include "driver.h"

void store_release(struct store *s)
{
	store_url_release(&s->url);
	free(s->collection);
	free(s->collection_id);
	free(s->version);
	free(s->vectoriser);
	free(s->model);
	*s = (struct store){ 0 };
}

void ask_release(struct ask *a)
{
	for (size_t i = 0; i < a->nfound; i++) {
		free(a->found[i].repo);
		free(a->found[i].path);
	}
	for (size_t i = 0; i < a->nhits; i++) {
		free(a->hits[i].found.repo);
		free(a->hits[i].found.path);
		free(a->hits[i].text);
	}
	for (size_t i = 0; a->kind == ASK_EMBED && i < a->n; i++) {
		free(a->objects[i].vector);
		a->objects[i].vector = NULL;
	}
	free(a->found);
	free(a->hits);
	a->found = NULL;
	a->hits = NULL;
	a->nfound = a->nhits = 0;
}
