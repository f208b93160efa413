#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../src/output.h"
#include "tap.h"

/* Reads what is there without waiting. */
static size_t drain(int fd, char *p, size_t max)
{
	size_t n = 0;
	ssize_t got;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	while (n < max && (got = read(fd, p + n, max - n)) > 0)
		n += (size_t)got;
	return n;
}

static void add_lines(struct output *o, int from, int to)
{
	char line[200];

	for (int i = from; i < to; i++) {
		int n = snprintf(line, sizeof(line), "{\"line\":%d,\"text\":\"%0*d\"}\n", i,
				 20 + i % 100, i);
		output_add(o, line, (size_t)n);
	}
}

static bool lines_in_order(const char *p, size_t n, int to)
{
	const char *end = p + n;
	int i = 0, got;

	for (; p < end; i++) {
		if (sscanf(p, "{\"line\":%d,", &got) != 1 || got != i)
			return false;
		p = memchr(p, '\n', (size_t)(end - p));
		if (!p)
			return false;
		p++;
	}
	return i == to;
}

/* A slow reader: nothing blocks, nothing is lost, nothing changes its place. */
static void test_slow(int in, int out, const char *what)
{
	static char got[1 << 20];
	struct output *o = output_new(out);
	size_t n = 0, before;
	bool stuck = false;
	int flags = fcntl(out, F_GETFL), to = 0, r = 0;

	while (to < 3000) {
		add_lines(o, to, to + 100);
		to += 100;
		r |= output_write(o);
		stuck |= output_waiting(o) > 0;
	}
	ok(r == 0 && stuck, "%s: a full one does not block", what);
	before = output_waiting(o);
	ok(output_write(o) == 0 && output_waiting(o) == before, "%s: nothing fits", what);
	while (output_waiting(o)) {
		n += drain(in, got + n, sizeof(got) - n);
		if (output_write(o) < 0)
			break;
	}
	n += drain(in, got + n, sizeof(got) - n);
	ok(lines_in_order(got, n, to), "%s: %d lines in order", what, to);
	ok(fcntl(out, F_GETFL) == flags, "%s: flags untouched", what);
	output_free(o);
}

static void test_pipe(void)
{
	int fds[2];

	if (pipe(fds) < 0)
		return;
	test_slow(fds[0], fds[1], "pipe");
	close(fds[0]);
	close(fds[1]);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
		return;
	test_slow(fds[0], fds[1], "socket");
	close(fds[0]);
	close(fds[1]);
}

/* Pieces end at a line's end, so that another writer's lines stand between lines. */
static void test_pieces(void)
{
	char got[PIPE_BUF * 4];
	struct output *o;
	int fds[2];
	size_t n;

	if (pipe(fds) < 0)
		return;
	o = output_new(fds[1]);
	ok(output_fd(o) == fds[1] && output_waiting(o) == 0, "empty at start");
	ok(output_write(o) == 0, "nothing to write is fine");
	while (!output_waiting(o) || output_waiting(o) < 1 << 18)
		add_lines(o, 0, 100);
	ok(output_write(o) == 0 && output_waiting(o), "the pipe is full");
	for (int i = 0; i < 5; i++) {
		n = drain(fds[0], got, PIPE_BUF);
		if (n)
			output_write(o);
	}
	while ((n = drain(fds[0], got, sizeof(got))) == sizeof(got))
		;
	ok(n && got[n - 1] == '\n', "what is in a pipe ends with a whole line");
	output_free(o);
	close(fds[0]);
	close(fds[1]);
}

static void test_long_line(void)
{
	static char line[PIPE_BUF * 3], got[PIPE_BUF * 4];
	struct output *o;
	int fds[2];

	if (pipe(fds) < 0)
		return;
	memset(line, 'x', sizeof(line));
	line[sizeof(line) - 1] = '\n';
	o = output_new(fds[1]);
	output_add(o, line, sizeof(line));
	ok(output_write(o) == 0 && !output_waiting(o), "a line longer than PIPE_BUF goes out");
	ok(drain(fds[0], got, sizeof(got)) == sizeof(line) && !memcmp(got, line, sizeof(line)),
	   "and is whole");
	output_free(o);
	close(fds[0]);
	close(fds[1]);
}

static void test_file(void)
{
	char name[] = "/tmp/linesync-test-XXXXXX";
	static char got[1 << 20];
	int fd = mkstemp(name);
	struct output *o = output_new(fd);
	size_t n;

	unlink(name);
	add_lines(o, 0, 5000);
	ok(output_write(o) == 0 && !output_waiting(o), "a file takes all");
	lseek(fd, 0, SEEK_SET);
	n = drain(fd, got, sizeof(got));
	ok(lines_in_order(got, n, 5000), "and holds it");
	output_free(o);
	close(fd);
}

static void test_errors(void)
{
	struct output *o;
	int fds[2], fd, r, e;

	if (pipe(fds) < 0)
		return;
	o = output_new(fds[1]);
	close(fds[0]);
	output_add(o, "x\n", 2);
	r = output_write(o);
	e = errno;
	ok(r == -1 && e == EPIPE, "reader gone: EPIPE");
	output_free(o);
	close(fds[1]);
	fd = open("/dev/full", O_WRONLY);
	if (fd < 0)
		return;
	o = output_new(fd);
	output_add(o, "x\n", 2);
	r = output_write(o);
	e = errno;
	ok(r == -1 && e == ENOSPC, "full disk: ENOSPC");
	output_free(o);
	close(fd);
}

static void test_limit(void)
{
	static char line[4096];
	struct output *o = output_new(-1);

	memset(line, 'x', sizeof(line));
	line[sizeof(line) - 1] = '\n';
	for (int i = 0; i < OUTPUT_LIMIT / 4096 - 1; i++)
		output_add(o, line, sizeof(line));
	ok(!output_full(o), "not full below the limit");
	output_add(o, line, sizeof(line));
	ok(output_full(o), "full at the limit");
	ok(output_lines(o) == OUTPUT_LIMIT / 4096, "the lines that wait are counted");
	output_free(o);
	output_free(NULL);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	test_pipe();
	test_pieces();
	test_long_line();
	test_file();
	test_errors();
	test_limit();
	return tap_done();
}
