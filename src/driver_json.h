/* driver_json: what drivers share: vectors into requests, words and members out of answers. */
#ifndef LINESYNC_DRIVER_JSON_H
#define LINESYNC_DRIVER_JSON_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "cleanup.h"
#include "driver.h"

#define NO_ID "00000000-0000-5000-8000-000000000000"	/* no UUIDv5 of ours: deletes nothing */

void cleanup_json(json_object **o);
#define auto_json __attribute__((cleanup(cleanup_json)))

/* n numbers as base64 of little-endian floats, in quotes. */
void vector_base64(struct buf *b, const float *v, size_t n);
/* The same as a JSON array. */
void vector_numbers(struct buf *b, const float *v, size_t n);

/* The properties of an object as the members of a JSON object: open yet, so that more can follow, and
 * *first as json_name() has it.  nulls: those that are absent too. */
void object_props(struct buf *b, bool *first, const struct object *o, bool nulls);
size_t object_props_size(const struct object *o);	/* at most what it appends */

/* The ask's own verdict and that of each object. */
void ask_verdict(struct ask *a, const struct verdict *v);
/* Sets v's text, made printable. */
void verdict_say(struct verdict *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* False if no answer came: *v says why, and what that means for a write. */
bool answer_came(struct verdict *v, const struct reply *r);
/* The whole body as JSON, or NULL; also for null, which no answer is.  The caller puts it. */
json_object *answer_json(const struct reply *r);
/* The same of a 200 that is to be believed: NULL also for an object that tells of a failure, whatever it
 * holds besides.  Members that a later release of a store may add do no harm. */
json_object *answer_good(const struct reply *r);
bool answer_complains(json_object *o);	/* it tells of a failure */
/* Neither a body nor blanks: all that some calls answer. */
bool answer_is_empty(const struct reply *r);
/* The member of that name if it is of that type, else NULL.  o may be NULL.  Borrowed. */
json_object *answer_member(json_object *o, const char *name, json_type type);
/* The string at the end of a NULL-terminated path of names, or NULL.  Borrowed. */
const char *answer_string(json_object *o, const char *const *names);
/* The server's own words: message, error, or the body as plain text.  Owned. */
char *answer_words(const struct reply *r);
/* VERDICT_UNKNOWN: this is no answer that the store (by its name) would give. */
void answer_unclear(struct verdict *v, const struct reply *r, const char *store);

/* Access, how often and at what price: judged alike whoever answers.  401 and 403 stop the run, but where
 * a time or a rate-limit header comes with them they mean "wait", as 429 does; what has to be paid for
 * does not heal by waiting.  False: that status says nothing of it. */
bool answer_access(struct verdict *v, const struct reply *r);
/* A request is refused whole, with these words, before anything of it is stored: each object is to be tried
 * by itself; or, where it held none, nothing of the kind will succeed. */
void answer_refused(struct verdict *v, const struct ask *a, const char *words);
/* Does text hold one of the NULL-terminated words, in whatever case? */
bool says_any(const char *text, const char *const *words);

bool ask_has(const struct ask *a, const char *id);	/* one of its objects has that id */
/* A stored object from its id (of idlen bytes) and its properties.  Where it was made by others it has
 * neither repo nor path; an id that is longer than ours is left out, since it cannot be. */
void found_take(struct found *f, const char *id, size_t idlen, json_object *props);
/* The same with what a search tells besides.  id is a string, distance a number; text may be anything. */
void hit_take(struct hit *h, json_object *id, json_object *props, json_object *text,
	      json_object *distance);

#endif
