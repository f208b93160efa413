/* buf: a growable run of bytes.  Always NUL-terminated once anything was added (the NUL is not
 * counted), so b.data can be given to functions that want a string.  Growth cannot fail (alloc.h);
 * whoever fills a buffer from outside bounds it before adding. */
#ifndef LINESYNC_BUF_H
#define LINESYNC_BUF_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
	char *data;	/* owned; NULL while nothing was ever added */
	size_t len;	/* bytes in use */
	size_t cap;	/* bytes allocated */
};

#define BUF_INIT { NULL, 0, 0 }

void buf_release(struct buf *b);		/* frees, back to BUF_INIT; safe twice */
void buf_reset(struct buf *b);			/* len = 0, memory kept */
void buf_cut(struct buf *b, size_t n);		/* keeps the first n bytes (n <= len) */
void buf_reserve(struct buf *b, size_t more);	/* room for more bytes without moving */
void buf_add(struct buf *b, const void *p, size_t n);
void buf_adds(struct buf *b, const char *s);
void buf_addc(struct buf *b, char c);
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_drop(struct buf *b, size_t n);		/* removes the first n bytes (n <= len) */
char *buf_detach(struct buf *b);		/* the string, now the caller's to free; "" if empty */

static inline void cleanup_buf(struct buf *b)
{
	buf_release(b);
}
#define auto_buf __attribute__((cleanup(cleanup_buf)))

#endif
