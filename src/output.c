#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alloc.h"
#include "buf.h"
#include "output.h"

#define FILE_CHUNK 65536

struct output {
	int fd;
	bool is_socket;
	size_t chunk;		/* most bytes that one write may carry */
	struct buf wait;
	size_t at;		/* written already, of wait */
};

struct output *output_new(int fd)
{
	struct output *o = xcalloc(1, sizeof(*o));
	struct stat st;

	o->fd = fd;
	o->chunk = PIPE_BUF;
	if (fstat(fd, &st) == 0) {
		o->is_socket = S_ISSOCK(st.st_mode);
		if (S_ISREG(st.st_mode))
			o->chunk = FILE_CHUNK;
	}
	return o;
}

void output_free(struct output *o)
{
	if (!o)
		return;
	buf_release(&o->wait);
	free(o);
}

void output_add(struct output *o, const char *p, size_t n)
{
	/* Moved only once half is written, so that a slow reader costs no quadratic copying. */
	if (o->at > o->wait.len / 2) {
		buf_drop(&o->wait, o->at);
		o->at = 0;
	}
	buf_add(&o->wait, p, n);
}

size_t output_waiting(const struct output *o)
{
	return o->wait.len - o->at;
}

size_t output_lines(const struct output *o)
{
	size_t n = 0;

	for (size_t i = o->at; i < o->wait.len; i++)
		n += o->wait.data[i] == '\n';
	return n;
}

bool output_full(const struct output *o)
{
	return output_waiting(o) >= OUTPUT_LIMIT;
}

int output_fd(const struct output *o)
{
	return o->fd;
}

/* Ends at a line's end where it can: a pipe takes PIPE_BUF bytes as one, so lines of several
 * writers do not mix. */
static size_t next_chunk(const struct output *o)
{
	const char *p = o->wait.data + o->at;
	size_t left = output_waiting(o), n;

	if (left <= o->chunk)
		return left;
	for (n = o->chunk; n && p[n - 1] != '\n'; n--)
		;
	return n ? n : o->chunk;
}

static ssize_t put(const struct output *o, const char *p, size_t n)
{
#ifdef MSG_DONTWAIT
	/* A writable socket may have less room than PIPE_BUF. */
	if (o->is_socket)
		return send(o->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
#endif
	return write(o->fd, p, n);
}

static bool writable(int fd)
{
	struct pollfd p = { fd, POLLOUT, 0 };

	/* POLLERR and POLLHUP count: the write then says what is wrong. */
	return poll(&p, 1, 0) == 1;
}

int output_write(struct output *o)
{
	ssize_t n;

	while (output_waiting(o) && writable(o->fd)) {
		n = put(o, o->wait.data + o->at, next_chunk(o));
		if (n < 0)
			return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : -1;
		o->at += (size_t)n;
	}
	if (!output_waiting(o)) {
		buf_reset(&o->wait);
		o->at = 0;
	}
	return 0;
}
