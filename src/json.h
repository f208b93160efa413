/* json: what json-c does not do.
 *
 * json-c (0.16) accepts overlong UTF-8, encoded and escaped lone surrogates, raw control
 * characters, NaN, Infinity and single quotes, cuts names at NUL and keeps the last of duplicate
 * names in silence, even in its strict mode.  So text passes json_check() first, and json-c then only
 * ever sees what every version of it reads alike.  Lines of input do not reach it at all: change.c
 * takes the members that it knows, where json-c would make an object, ten times as large as its
 * text, of every value in the line. */
#ifndef LINESYNC_JSON_H
#define LINESYNC_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

#define JSON_MAX_DEPTH 32

struct json_fault {
	const char *code;	/* static: "bad-utf8", "bad-json", "bad-escape" (lone surrogate),
				 * "control-character", "nul-in-name", "duplicate-field", "too-deep",
				 * "bad-number" (beyond a double) */
	const char *what;	/* static: a few words for a person */
	size_t offset;		/* of the byte where it shows, from 0 */
};

/* Checks n bytes as one RFC 8259 value with blanks around it, nothing after it: UTF-8 by RFC 3629,
 * no raw byte below 0x20 in strings, escapes whole and surrogates paired, no \u0000 in names, no
 * literal but true, false, null, numbers by the grammar, arrays and objects at most JSON_MAX_DEPTH
 * deep.  known is a NULL-terminated list of names that may stand only once among the members of the
 * outermost object and of its member new_changeset (compared after unescaping), or NULL.  p need
 * not be NUL-terminated.  Returns 0, or -1 with *f filled in. */
int json_check(const char *p, size_t n, const char *const *known, struct json_fault *f);

/* Appends what the n bytes between the quotes of a string stand for, that json_check() has passed. */
void json_unescape(struct buf *out, const char *s, size_t n);

/* Appends s as a JSON string with its quotes.  s must be valid UTF-8 or it is mended: each wrong
 * byte becomes U+FFFD.  NUL and control characters, also DEL and U+0080 to U+009F, are escaped, for what
 * we write may be shown on a terminal; '/' is not. */
void json_str(struct buf *out, const char *s, size_t n);
void json_cstr(struct buf *out, const char *s);		/* s NULL: null */
size_t json_str_size(const char *s, size_t n);		/* what json_str() appends; s is valid UTF-8 */
/* True if that is, between its quotes, exactly the `size` bytes at written. */
bool json_str_is(const char *written, size_t size, const char *s, size_t n);
/* Appends JSON that json_check() would pass as it is, but with what a terminal might act on escaped. */
void json_printed(struct buf *out, const char *value);

/* Appends name as a member: a comma unless *first (which it clears), the quoted name and a colon.
 * name is a C string that needs no escaping. */
void json_name(struct buf *out, bool *first, const char *name);
void json_member_str(struct buf *out, bool *first, const char *name, const char *s, size_t n);
void json_member_cstr(struct buf *out, bool *first, const char *name, const char *s);
void json_member_int(struct buf *out, bool *first, const char *name, int64_t v);
void json_member_bool(struct buf *out, bool *first, const char *name, bool v);

#endif
