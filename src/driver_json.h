/* driver_json: what drivers share: vectors into requests, words and members out of answers. */
#ifndef LINESYNC_DRIVER_JSON_H
#define LINESYNC_DRIVER_JSON_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "cleanup.h"
#include "driver.h"

void cleanup_json(json_object **o);
#define auto_json __attribute__((cleanup(cleanup_json)))

/* n numbers as base64 of little-endian floats, in quotes. */
void vector_base64(struct buf *b, const float *v, size_t n);
/* The same as a JSON array. */
void vector_numbers(struct buf *b, const float *v, size_t n);

/* The ask's own verdict and that of each object. */
void ask_verdict(struct ask *a, const struct verdict *v);
/* Sets v's text, made printable. */
void verdict_say(struct verdict *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* False if no answer came: *v says why, and what that means for a write. */
bool answer_came(struct verdict *v, const struct reply *r);
/* The whole body as JSON, or NULL; also for null, which no answer is.  The caller puts it. */
json_object *answer_json(const struct reply *r);
/* The member of that name if it is of that type, else NULL.  o may be NULL.  Borrowed. */
json_object *answer_member(json_object *o, const char *name, json_type type);
/* The string at the end of a NULL-terminated path of names, or NULL.  Borrowed. */
const char *answer_string(json_object *o, const char *const *names);
/* The server's own words: message, error, or the body as plain text.  Owned. */
char *answer_words(const struct reply *r);

#endif
