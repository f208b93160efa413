/* blank: known secrets taken out of what others say.
 *
 * A server, or a proxy before it, may repeat in its answer the key that it was sent.  Whoever finds a
 * secret makes it known here, and every text from outside passes through blank_text() where it is taken
 * (http.h: reply_text(), and before that where a long text is cut), so that it is nowhere kept or shown.
 * Known is known until the process ends. */
#ifndef LINESYNC_BLANK_H
#define LINESYNC_BLANK_H

#include <stddef.h>

#include "buf.h"

/* Shorter ones are not looked for: they would be found in any text, and protect nothing. */
#define BLANK_MIN 4

/* A key; blanks around it do not count. */
void blank_know(const char *secret);
/* The value of a header, "Name: value"; of one with a scheme before it ("Bearer x") also what follows, and
 * of Basic the name with its password, and the password. */
void blank_know_header(const char *line);
/* User names and passwords of the proxies that the environment names, as libcurl reads it. */
void blank_know_proxies(void);

/* Appends the n bytes at p to out, with "***" for each known secret, also where it stands as JSON, percent
 * encoding or base64 (alone or within more) write it. */
void blank_text(struct buf *out, const void *p, size_t n);

#endif
