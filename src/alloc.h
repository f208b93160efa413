/* alloc: memory that is always there.
 *
 * linesync may be killed at any instruction without harm (spec invariant I5), so running out of
 * memory is handled the same way: one line on stderr and _exit(71), from one place.  None of these
 * returns NULL, and no caller checks. */
#ifndef LINESYNC_ALLOC_H
#define LINESYNC_ALLOC_H

#include <stddef.h>

void *xmalloc(size_t n);			/* n may be 0 */
void *xcalloc(size_t n, size_t size);		/* zeroed; overflow of n * size ends the process too */
void *xrealloc(void *p, size_t n);
char *xstrdup(const char *s);			/* s NULL gives NULL */
char *xmemdup0(const void *p, size_t n);	/* n bytes and a NUL after them */
/* Ends the process so: for a library that says that it got none. */
void alloc_failed(void) __attribute__((noreturn));
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
