/* Any bytes as input, read in pieces of two sizes: both must give the same lines, and all bytes. */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The source itself, reading from memory: with a pipe nearly all time went there. */
static ssize_t feed_read(int fd, void *p, size_t n);
#define read feed_read
#include "../../src/input.c"
#undef read

#define CHECK(x)                                                                                   \
	do {                                                                                       \
		if (!(x))                                                                          \
			abort();                                                                   \
	} while (0)

static struct {
	const uint8_t *p;
	size_t left, piece;
	bool interrupted;	/* each second time nothing comes */
	bool turn;
} feed;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static ssize_t feed_read(int fd, void *p, size_t n)
{
	CHECK(fd == -2);
	feed.turn = !feed.turn;
	if (feed.interrupted && feed.turn) {
		errno = EINTR;
		return -1;
	}
	if (n > feed.piece)
		n = feed.piece;
	if (n > feed.left)
		n = feed.left;
	memcpy(p, feed.p, n);
	feed.p += n;
	feed.left -= n;
	return (ssize_t)n;
}

/* FNV-1a; the digests of all lines would take most of the time. */
static void mix(uint64_t *sum, uint64_t v)
{
	*sum = (*sum ^ v) * UINT64_C(1099511628211);
}

static void check_line(const struct line *line, size_t max, bool nul, uint64_t *all)
{
	CHECK(line->data[line->n] == '\0');
	CHECK(line->too_long ? line->n <= 1024 && line->bytes > max : line->n <= max);
	CHECK(nul || !memchr(line->data, '\n', line->n));
	/* a second opinion on some; the digest stands for all bytes of the others */
	CHECK(line->too_long || line->number > 4 || line->digest == digest_64(line->data, line->n));
	mix(all, line->n);
	mix(all, line->number);
	mix(all, line->bytes);
	mix(all, line->digest);
	mix(all, line->too_long);
	mix(all, line->unterminated);
}

static uint64_t run(const uint8_t *data, size_t size, size_t piece, size_t max, bool nul, bool status)
{
	uint64_t all = 0;
	struct input *in;
	struct line line;
	enum input_got got;
	bool only_mark = !nul && size == 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0;

	feed.p = data;
	feed.left = size;
	feed.piece = piece;
	feed.interrupted = piece % 2;
	in = input_new(-2, max, nul, status);
	while ((got = input_next(in, &line)) != INPUT_END) {
		if (got == INPUT_LINE) {
			check_line(&line, max, nul, &all);
			continue;
		}
		CHECK(input_read(in) >= 0);
	}
	CHECK(input_bytes(in) == size || only_mark);
	input_free(in);
	return all;
}

/* The first two bytes choose the options and the size of the pieces. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t max, piece;
	bool nul, status;

	if (size < 2 || size > 32768)
		return 0;
	nul = data[0] & 1;
	status = data[0] & 2;
	max = 1 + (data[0] >> 2) * (data[0] & 4 ? 64u : 1u);
	piece = 1 + data[1];
	CHECK(run(data + 2, size - 2, 32768, max, nul, status) ==
	      run(data + 2, size - 2, piece, max, nul, status));
	return 0;
}
