/* drv_weaviate_p: what the parts of the Weaviate driver share: drv_weaviate.c (the driver; records),
 * drv_weaviate_open.c (the collection), drv_weaviate_words.c (what both say and are told). */
#ifndef LINESYNC_DRV_WEAVIATE_P_H
#define LINESYNC_DRV_WEAVIATE_P_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "driver.h"

/* ask.step.  ask.cursor counts within some of them. */
enum { STEP_END = -1 };
enum { READY_PORT, READY_VERSION };
enum {
	OPEN_CLASS,
	OPEN_PROBE,		/* a class without any setting tells the server's default vectoriser, */
	OPEN_PROBE_LOOK,	/* also one that was left behind; */
	OPEN_PROBE_REMOVE,	/* the collection itself must name it, to say what is vectorised */
	OPEN_CREATE,
	OPEN_HALF_LOOK,		/* a create that failed can leave a class without an index: */
	OPEN_HALF,
	OPEN_HALF_REMOVE,	/* every later write to it would fail */
	OPEN_PROPERTY,		/* count: which one; cursor: how many were added */
	OPEN_SHARDS,
	OPEN_SAMPLE
};
enum { UPSERT_REMOVE, UPSERT_WRITE, UPSERT_CHECK };	/* cursor: the next object to remove */
enum { DELETE_BATCH, DELETE_SINGLE };			/* cursor: rounds; the next object */
enum { FETCH_GET, FETCH_CHECK };			/* cursor: the next object */
enum { TOUCH_WRITE, TOUCH_SHARDS, TOUCH_EMBED };

/* ---- drv_weaviate_words.c ---- */

/* Requests.  URLs are owned; the call takes its own over. */
void weaviate_call(struct request *r, const char *method, char *url);
char *weaviate_url(const struct store *s, const char *path);
char *weaviate_url_class(const struct store *s, const char *below);	/* of the collection: "", "/shards" */
void weaviate_send_query(const struct store *s, struct request *r, const struct buf *query);

void weaviate_unclear(struct verdict *v, const struct reply *r);
void weaviate_set(struct verdict *v, enum verdict_scope scope, bool kept_nothing);
/* An answer that is none of success, by its status and words. */
void weaviate_judge_status(struct verdict *v, const struct store *s, const struct ask *a, const struct reply *r);
/* What can go wrong in every write, in the words of an object's verdict or of the whole answer.  False: it is
 * none of that. */
bool weaviate_judge_trouble(struct verdict *v, const struct store *s, const char *text);
/* An object that FAILED, in these words. */
void weaviate_judge_failed(struct verdict *v, const struct store *s, const struct ask *a, const char *text);

/* The ask as a whole says what is wrong with the first object that is not done. */
void weaviate_summarise(struct ask *a);
/* Ends the ask: v is the verdict of all that is not settled yet. */
void weaviate_end(struct ask *a, const struct verdict *v);

/* Members of an answer: false, "" or 0 where they are not there.  Texts are borrowed. */
bool weaviate_is_true(json_object *o, const char *name);
const char *weaviate_text(json_object *o, const char *name);
const char *weaviate_additional_id(json_object *o);
/* How many numbers the vector in it has: strip.h leaves the count. */
size_t weaviate_vector_len(json_object *o);

/* data.VERB.CLASS: the list that a query gives.  NULL, with the verdict set, if it gives none; wrong_shape
 * where the vectors that it compares have different lengths. */
json_object *weaviate_query_list(struct verdict *v, const struct store *s, const struct ask *a, json_object *o,
				 const char *verb, const struct reply *r);
/* The same of objects, each with its id and at most as many as were asked for. */
json_object *weaviate_object_list(struct verdict *v, const struct store *s, const struct ask *a, json_object *o,
				  size_t most, const struct reply *r);

/* ---- drv_weaviate_open.c ---- */

int weaviate_check_name(const char *name, char **changed, char **why);	/* see driver.h */
void weaviate_build_open(const struct store *s, const struct ask *a, struct request *r);
void weaviate_judge_open(struct verdict *v, struct store *s, struct ask *a, const struct reply *r);
/* ASK_OPEN and ASK_LOOKUP: what would spoil one request there spoils the run. */
void weaviate_judge_open_refused(struct verdict *v, struct store *s, struct ask *a, const struct reply *r);
void weaviate_judge_lookup(struct verdict *v, struct store *s, struct ask *a, const struct reply *r);
/* A collection has no id of its own, but the name of its first shard is made at random with it.  Where
 * shards may not be read, its name stands for it. */
bool weaviate_known_by_name(const struct store *s);
/* The name that comes first, whatever their order; "" if there is none, or this is no list of shards.
 * Borrowed. */
const char *weaviate_first_shard(json_object *o);

#endif
