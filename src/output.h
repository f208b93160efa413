/* output: result lines to standard output, whole, only when poll allows, never changing the
 * descriptor's flags (it may be shared with the shell).
 *
 * A pipe that poll calls writable takes PIPE_BUF bytes without blocking, so at most that much is
 * written at once; a regular file takes 64 KiB. */
#ifndef LINESYNC_OUTPUT_H
#define LINESYNC_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

struct output;

#define OUTPUT_LIMIT (1 << 20)	/* committed results that may wait for a slow reader */

struct output *output_new(int fd);
void output_free(struct output *o);
void output_add(struct output *o, const char *p, size_t n);	/* copies whole lines */
size_t output_waiting(const struct output *o);
size_t output_lines(const struct output *o);	/* lines that wait, one that is partly written too */
bool output_full(const struct output *o);	/* waiting >= OUTPUT_LIMIT: send nothing new */
int output_fd(const struct output *o);		/* to poll for POLLOUT while output_waiting() > 0 */
/* Writes what fits without blocking; call when POLLOUT.  0, or -1 with errno (EPIPE: the reader is
 * gone), after which only output_free() is useful. */
int output_write(struct output *o);

#endif
