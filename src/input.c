#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alloc.h"
#include "digest.h"
#include "input.h"
#include "json_span.h"

#define READ_MAX (64 * 1024)
#define TOO_LONG_KEPT 1024

/* Invariants: start <= scan <= end < cap; the bytes start..scan hold no terminator that ends the
 * record begun at start. */
struct input {
	int fd;
	size_t max;
	char sep;
	bool name_status;	/* records of several NUL-terminated fields */
	bool started, eof;
	char *data;		/* owned */
	size_t cap, start, scan, end;
	unsigned fields;	/* terminators still to come in the record at start; 0: not known */
	uint64_t number, bytes;
	size_t mark;		/* bytes of a byte order mark, counted with the first line */

	/* A line too long to hold, while it is passed over. */
	bool passing;
	uint64_t passed;
	struct digest digest;
	char kept[TOO_LONG_KEPT + 1];
};

struct input *input_new(int fd, size_t max, bool nul, bool name_status)
{
	struct input *in = xcalloc(1, sizeof(*in));

	in->fd = fd;
	in->max = max;
	in->sep = nul ? '\0' : '\n';
	in->name_status = nul && name_status;
	in->started = nul;
	in->cap = 2 * READ_MAX;
	if (in->cap > max + READ_MAX + 3)
		in->cap = max + READ_MAX + 3;
	in->data = xmalloc(in->cap);
	return in;
}

void input_free(struct input *in)
{
	if (!in)
		return;
	free(in->data);
	free(in);
}

uint64_t input_bytes(const struct input *in)
{
	return in->bytes;
}

/* False: too few bytes yet to tell whether a byte order mark stands here. */
static bool drop_mark(struct input *in)
{
	static const char mark[3] = { '\xef', '\xbb', '\xbf' };
	size_t n = in->end - in->start;

	if (n > sizeof(mark))
		n = sizeof(mark);
	if (memcmp(in->data + in->start, mark, n) == 0) {
		if (n < sizeof(mark) && !in->eof)
			return false;
		if (n == sizeof(mark)) {
			in->start += n;
			in->scan = in->start;
			in->mark = n;
		}
	}
	in->started = true;
	return true;
}

/* How many paths follow a field of n bytes that begins a record.  One that is too long by itself is
 * passed over before its end is seen, so it must be a record alone however the bytes arrive. */
static unsigned fields_after(const struct input *in, const char *status, size_t n)
{
	size_t i;

	if (n == 0 || n > in->max + 1 || status[0] < 'A' || status[0] > 'Z')
		return 0;
	for (i = 1; i < n; i++)
		if (status[i] < '0' || status[i] > '9')
			return 0;
	return status[0] == 'R' || status[0] == 'C' ? 2 : 1;
}

/* Offset of the terminator that ends the record, or -1 with scan moved to the end. */
static ptrdiff_t find_end(struct input *in)
{
	while (in->scan < in->end) {
		char *p = memchr(in->data + in->scan, in->sep, in->end - in->scan);

		if (!p)
			break;
		in->scan = p - in->data + 1;
		if (!in->name_status)
			return p - in->data;
		if (in->fields == 0 && !in->passing)
			in->fields = 1 + fields_after(in, in->data + in->start,
						      in->scan - 1 - in->start);
		if (in->fields <= 1)
			return p - in->data;
		in->fields--;
	}
	in->scan = in->end;
	return -1;
}

static void pass_over(struct input *in, size_t n)
{
	const char *p = in->data + in->start;

	if (!in->passing) {
		in->passing = true;
		in->passed = 0;
		digest_init(&in->digest);
	}
	if (in->passed < TOO_LONG_KEPT) {
		size_t room = TOO_LONG_KEPT - in->passed;

		memcpy(in->kept + in->passed, p, n < room ? n : room);
	}
	digest_add(&in->digest, p, n);
	in->passed += n;
	in->start += n;
}

static enum input_got give(struct input *in, struct line *line, size_t terminator)
{
	line->bytes += terminator + in->mark;
	in->start += terminator;
	if (in->scan < in->start)
		in->scan = in->start;
	in->bytes += line->bytes;
	in->mark = 0;
	in->fields = 0;
	line->number = ++in->number;
	return INPUT_LINE;
}

static enum input_got give_too_long(struct input *in, struct line *line, size_t rest,
				    size_t terminator)
{
	uint8_t sum[DIGEST_SIZE];
	int i;

	pass_over(in, rest);
	digest_done(&in->digest, sum);
	for (i = 0; i < 8; i++)
		line->digest = line->digest << 8 | sum[i];
	line->too_long = true;
	line->data = in->kept;
	line->n = in->passed < TOO_LONG_KEPT ? (size_t)in->passed : TOO_LONG_KEPT;
	in->kept[line->n] = '\0';
	line->bytes = in->passed;
	in->passing = false;
	return give(in, line, terminator);
}

/* len bytes from start on are a line, terminator bytes follow them (0 at the end of input). */
static enum input_got give_line(struct input *in, struct line *line, size_t len, size_t terminator)
{
	char *p = in->data + in->start;
	size_t n = len;

	if (terminator && in->sep == '\n' && n > 0 && p[n - 1] == '\r')
		n--;
	line->unterminated = terminator == 0;
	if (in->passing || n > in->max)
		return give_too_long(in, line, len, terminator);
	p[n] = '\0';
	line->data = p;
	line->n = n;
	line->digest = digest_64(p, n);
	line->bytes = len;
	in->start += len;
	return give(in, line, terminator);
}

enum input_got input_next(struct input *in, struct line *line)
{
	ptrdiff_t at;

	memset(line, 0, sizeof(*line));
	if (!in->started && !drop_mark(in))
		return INPUT_MORE;
	at = find_end(in);
	if (at >= 0)
		return give_line(in, line, at - in->start, 1);
	if (in->eof) {
		if (in->start == in->end && !in->passing)
			return INPUT_END;
		return give_line(in, line, in->end - in->start, 0);
	}
	/* One byte over max may be the CR of a line that just fits. */
	if (in->passing || in->end - in->start > in->max + 1)
		pass_over(in, in->end - in->start);
	return INPUT_MORE;
}

const char *input_peek(struct input *in, size_t *n, bool *ended)
{
	bool begun = in->started || drop_mark(in);

	*n = begun ? in->end - in->start : 0;
	*ended = in->eof;
	return in->data + in->start;
}

void input_pass_blank(struct input *in)
{
	size_t at;

	if (!in->started && !drop_mark(in))
		return;
	for (at = in->start; at < in->end; at++) {
		if (in->data[at] == in->sep) {
			in->bytes += at + 1 - in->start + in->mark;
			in->mark = 0;
			in->start = at + 1;
			in->number++;
		} else if (in->sep == '\0' || !json_is_blank(in->data[at])) {
			break;
		}
	}
	if (in->scan < in->start)
		in->scan = in->start;
}

static void make_room(struct input *in)
{
	/* A line of max bytes, its CR, one byte that proves it too long, and our NUL. */
	size_t limit = in->max + READ_MAX + 3;

	if (in->start == in->end) {
		in->start = in->scan = in->end = 0;
	} else if (in->start > 0 && in->cap - in->end <= READ_MAX) {
		memmove(in->data, in->data + in->start, in->end - in->start);
		in->end -= in->start;
		in->scan -= in->start;
		in->start = 0;
	}
	if (in->cap - in->end <= READ_MAX && in->cap < limit) {
		in->cap = in->cap < limit / 2 ? in->cap * 2 : limit;
		in->data = xrealloc(in->data, in->cap);
	}
}

int input_read(struct input *in)
{
	size_t room;
	ssize_t got;

	if (in->eof)
		return 0;
	make_room(in);
	room = in->cap - in->end - 1;
	if (room > READ_MAX)
		room = READ_MAX;
	got = read(in->fd, in->data + in->end, room);
	if (got < 0)
		return errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK ? 1 : -1;
	if (got == 0)
		in->eof = true;
	in->end += got;
	return got > 0;
}
