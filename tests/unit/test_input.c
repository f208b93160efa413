#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "digest.h"
#include "input.h"
#include "tap.h"

/* Every input is fed in pieces of each of these sizes: what comes out must not depend on it. */
static const size_t pieces[] = { 1, 2, 3, 5, 7, 64, 4096, 1 << 20 };

struct want {
	const char *data;
	size_t n;
	uint64_t bytes;
	bool too_long, unterminated;
};

struct feed {
	int fd[2];
	const char *p;
	size_t left, piece;
};

static void feed_some(struct feed *f)
{
	size_t n = f->left < f->piece ? f->left : f->piece;

	/* A pipe takes 64 KiB before it blocks. */
	if (n > 32768)
		n = 32768;
	if (n > 0 && write(f->fd[1], f->p, n) != (ssize_t)n)
		abort();
	f->p += n;
	f->left -= n;
	if (n == 0 && f->fd[1] >= 0) {
		close(f->fd[1]);
		f->fd[1] = -1;
	}
}

static bool same(const struct line *line, const struct want *w, uint64_t number)
{
	return line->n == w->n && memcmp(line->data, w->data, w->n) == 0 &&
	       line->data[w->n] == '\0' && line->bytes == w->bytes &&
	       line->too_long == w->too_long && line->unterminated == w->unterminated &&
	       line->number == number &&
	       (w->too_long || line->digest == digest_64(w->data, w->n));
}

static bool run(const char *p, size_t n, size_t piece, size_t max, bool nul, bool status,
		const struct want *want, size_t nwant, uint64_t *too_long_digest)
{
	struct feed f = { { -1, -1 }, p, n, piece };
	struct input *in;
	struct line line;
	size_t i = 0;
	uint64_t bytes = 0;
	bool good = true;
	enum input_got got;

	if (pipe(f.fd) < 0)
		abort();
	in = input_new(f.fd[0], max, nul, status);
	while ((got = input_next(in, &line)) != INPUT_END) {
		if (got == INPUT_MORE) {
			feed_some(&f);
			if (input_read(in) < 0)
				abort();
			continue;
		}
		good = good && i < nwant && same(&line, &want[i], i + 1);
		if (line.too_long)
			*too_long_digest = line.digest;
		bytes += line.bytes;
		i++;
	}
	good = good && i == nwant && input_bytes(in) == bytes;
	good = good && input_next(in, &line) == INPUT_END;
	input_free(in);
	close(f.fd[0]);
	if (f.fd[1] >= 0)
		close(f.fd[1]);
	return good;
}

static void check(const char *what, const char *p, size_t n, size_t max, bool nul, bool status,
		  const struct want *want, size_t nwant)
{
	bool good = true;
	uint64_t first = 0, other = 0;
	size_t i;

	for (i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		good = good && run(p, n, pieces[i], max, nul, status, want, nwant, i ? &other : &first);
		good = good && (i == 0 || first == other);
	}
	ok(good, "%s", what);
}

#define CHECK(what, text, max, nul, status, ...)                                                   \
	do {                                                                                       \
		static const struct want w_[] = { __VA_ARGS__ };                                   \
		check(what, text, sizeof(text) - 1, max, nul, status, w_,                          \
		      sizeof(w_) / sizeof(w_[0]));                                                 \
	} while (0)

static void test_lines(void)
{
	check("empty input", "", 0, 10, false, false, NULL, 0);
	CHECK("lines", "a\nbc\n\nd\n", 10, false, false, { "a", 1, 2, false, false },
	      { "bc", 2, 3, false, false }, { "", 0, 1, false, false }, { "d", 1, 2, false, false });
	CHECK("CRLF, a CR alone, two of them", "a\r\nb\rc\n\r\nd\r\r\n", 10, false, false,
	      { "a", 1, 3, false, false }, { "b\rc", 3, 4, false, false },
	      { "", 0, 2, false, false }, { "d\r", 2, 4, false, false });
	CHECK("no newline at the end", "a\nbc", 10, false, false, { "a", 1, 2, false, false },
	      { "bc", 2, 2, false, true });
	CHECK("NUL in a line", "a\0b\nc\n", 10, false, false, { "a\0b", 3, 4, false, false },
	      { "c", 1, 2, false, false });
	CHECK("byte order mark", "\xef\xbb\xbf" "a\n\xef\xbb\xbf" "b\n", 10, false, false,
	      { "a", 1, 5, false, false }, { "\xef\xbb\xbf" "b", 4, 5, false, false });
	CHECK("half a byte order mark", "\xef\xbb", 10, false, false,
	      { "\xef\xbb", 2, 2, false, true });
	check("only a byte order mark", "\xef\xbb\xbf", 3, 10, false, false, NULL, 0);
}

static void test_too_long(void)
{
	CHECK("exactly max, one more, and with CR", "abcd\nabcde\nabcd\r\nabcde\r\nx\n", 4, false, false,
	      { "abcd", 4, 5, false, false }, { "abcde", 5, 6, true, false },
	      { "abcd", 4, 6, false, false }, { "abcde\r", 6, 7, true, false },
	      { "x", 1, 2, false, false });
	CHECK("too long and cut", "x\nabcdefgh", 4, false, false, { "x", 1, 2, false, false },
	      { "abcdefgh", 8, 8, true, true });
}

static void test_large(void)
{
	size_t n = 700000, i;
	char *p = malloc(2 * n + 3);
	struct want want[2] = { { p, n, n + 1, false, false }, { p, n, n + 1, false, false } };
	struct want cut[2] = { { p, 1024, n + 1, true, false }, { p, 1024, n + 1, true, false } };
	uint64_t whole, digest[3] = { 0 };
	char head[1025];

	for (i = 0; i < n; i++)
		p[i] = (char)('a' + i % 23);
	whole = digest_64(p, n);
	memcpy(head, p, 1024);
	head[1024] = '\0';
	cut[0].data = cut[1].data = head;
	p[n] = '\n';
	memcpy(p + n + 1, p, n + 1);
	/* p is compared with its own newline, so want needs a copy that ends in NUL. */
	want[0].data = want[1].data = strndup(p, n);
	ok(run(p, 2 * n + 2, 1 << 20, n, false, false, want, 2, &digest[0]), "two large lines");
	ok(run(p, 2 * n + 2, 999, n, false, false, want, 2, &digest[0]), "and in small pieces");
	ok(run(p, 2 * n + 2, 1 << 20, n - 1, false, false, cut, 2, &digest[0]), "one byte too long");
	ok(run(p, 2 * n + 2, 1 << 20, 100, false, false, cut, 2, &digest[1]), "far too long");
	ok(run(p, 2 * n + 2, 777, 300000, false, false, cut, 2, &digest[2]), "in small pieces");
	ok(digest[0] == whole && digest[1] == whole && digest[2] == whole,
	   "the digest is that of all bytes");
	free((char *)want[0].data);
	free(p);
}

static void test_nul(void)
{
	CHECK("-z", "a\nb\0" "c\r\0\0" "d\0", 10, true, false, { "a\nb", 3, 4, false, false },
	      { "c\r", 2, 3, false, false }, { "", 0, 1, false, false },
	      { "d", 1, 2, false, false });
	CHECK("-z keeps what looks like a byte order mark", "\xef\xbb\xbf" "a\0", 10, true, false,
	      { "\xef\xbb\xbf" "a", 4, 5, false, false });
	CHECK("-z name-status", "M\0a\tb\0R100\0old\0new\0C75\0x\0y\0D\0z\0", 40, true, true,
	      { "M\0a\tb", 5, 6, false, false }, { "R100\0old\0new", 12, 13, false, false },
	      { "C75\0x\0y", 7, 8, false, false }, { "D\0z", 3, 4, false, false });
	CHECK("-z name-status, no status, then good again", "src/a\0M\0b\0", 40, true, true,
	      { "src/a", 5, 6, false, false }, { "M\0b", 3, 4, false, false });
	CHECK("-z name-status cut after the status", "M\0a\0R100\0old\0", 40, true, true,
	      { "M\0a", 3, 4, false, false }, { "R100\0old\0", 9, 9, false, true });
	CHECK("-z name-status too long", "M\0abcdefghijkl\0D\0z\0", 8, true, true,
	      { "M\0abcdefghijkl", 14, 15, true, false }, { "D\0z", 3, 4, false, false });
	CHECK("-z status itself too long", "abcdefghijkl\0D\0z\0", 8, true, true,
	      { "abcdefghijkl", 12, 13, true, false }, { "D\0z", 3, 4, false, false });
}

static void test_error(void)
{
	struct input *in = input_new(-1, 10, false, false);
	struct line line;

	ok(input_next(in, &line) == INPUT_MORE, "nothing there yet");
	ok(input_read(in) == -1, "a descriptor that cannot be read is an error");
	input_free(in);
	input_free(NULL);
}

/* Blank lines at the beginning, passed over as they come: what follows keeps its number and its bytes. */
static void test_blank(void)
{
	static const struct {
		const char *p;
		size_t n;
		bool nul;
		const char *line;
		uint64_t number;
	} all[] = {
#define S(s) s, sizeof(s) - 1
		{ S("\n \t\r\n\n  a\nb\n"), false, "  a", 4 },
		{ S("\xef\xbb\xbf\r\n\nb"), false, "b", 3 },
		{ S("\xef\xbb\xbf x\n"), false, " x", 1 },
		{ S("a\n\n"), false, "a", 1 },
		{ S("\0\0 \0"), true, " ", 3 },
		{ S("\xef\xbb\xbf\n \n"), false, NULL, 3 },
		{ S(""), false, NULL, 0 },
#undef S
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		for (size_t k = 0; k < sizeof(pieces) / sizeof(pieces[0]); k++) {
			struct feed f = { { -1, -1 }, all[i].p, all[i].n, pieces[k] };
			struct input *in;
			struct line line = { 0 };
			bool ended = false;
			size_t n = 0;

			if (pipe(f.fd) < 0)
				abort();
			in = input_new(f.fd[0], 100, all[i].nul, false);
			while (input_pass_blank(in), input_peek(in, &n, &ended), !ended) {
				feed_some(&f);
				if (input_read(in) < 0)
					abort();
			}
			if (all[i].line == NULL)
				ok(n == 0 && input_next(in, &line) == INPUT_END, "%zu: no line", i);
			else
				ok(input_next(in, &line) == INPUT_LINE && line.number == all[i].number &&
				   strcmp(line.data, all[i].line) == 0, "%zu: line %d", i, (int)all[i].number);
			while (input_next(in, &line) == INPUT_LINE)
				;
			ok(input_bytes(in) == all[i].n, "%zu: %d bytes were given out", i, (int)input_bytes(in));
			input_free(in);
			close(f.fd[0]);
		}
}

int main(void)
{
	test_blank();
	test_lines();
	test_too_long();
	test_large();
	test_nul();
	test_error();
	return tap_done();
}
