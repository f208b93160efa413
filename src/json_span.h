/* json_span: values in text that json_check() has passed, taken from where they stand: no object is made
 * of each, which would be ten times as large as its text. */
#ifndef LINESYNC_JSON_SPAN_H
#define LINESYNC_JSON_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct span {		/* n bytes, borrowed */
	const char *p;
	size_t n;
};

struct json_member {
	struct span name;	/* between its quotes */
	struct span value;	/* without blanks around it */
};

enum {
	JSON_NULL = 1, JSON_BOOL = 2, JSON_INT = 4, JSON_NUMBER = 8, JSON_STRING = 16, JSON_ARRAY = 32,
	JSON_OBJECT = 64
};

bool json_is_blank(char c);
const char *json_skip_blanks(const char *p, const char *end);
/* p is at an opening quote: what follows the closing one. */
const char *json_after_string(const char *p, const char *end);

/* One of the above.  A number with a point or an exponent is no JSON_INT. */
unsigned json_type_of(const struct span *value);
/* Moves *p, which begins at the '{', on to the next member; false at the end of the object. */
bool json_next_member(const char **p, const char *end, struct json_member *m);
/* The same with '[' and elements; an element may have blanks after it. */
bool json_next_element(const char **p, const char *end, struct span *e);
/* Is that a member's name?  Escapes in it are read. */
bool json_is_name(const struct span *name, const char *s);

enum json_whole { JSON_WHOLE, JSON_NOT_WHOLE, JSON_WHOLE_RANGE };
/* The number as a whole one of 0 to max: how it is written does not count, 1.0 and 1e3 are, 1.5 is not. */
enum json_whole json_whole(const struct span *number, int64_t max, int64_t *out);

struct json_floats_fault {
	enum { JSON_FLOATS_COUNT, JSON_FLOATS_TYPE, JSON_FLOATS_RANGE, JSON_FLOATS_ZERO } kind;
	size_t n;		/* JSON_FLOATS_COUNT: how many there are; TYPE, RANGE: which, from 0 */
	const char *where;	/* it shows */
};

/* The 1 to max numbers of an array, finite and not all zero.  Returns them (owned) and *n, or NULL and
 * *fault. */
float *json_floats(const struct span *array, size_t max, size_t *n, struct json_floats_fault *fault);

#endif
