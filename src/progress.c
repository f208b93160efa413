#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "buf.h"
#include "clock.h"
#include "log.h"
#include "text.h"

#include "progress.h"

#define DRAW_MS 100
#define PATH_MAX_SHOWN 4096

static bool on, drawn;
static int64_t started_ms, last_ms;

static void write_all(const char *p, size_t n)
{
	while (n > 0) {
		ssize_t put = write(STDERR_FILENO, p, n);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return;
		p += put;
		n -= (size_t)put;
	}
}

static bool on_terminal(void)
{
	const char *term = getenv("TERM");

	return isatty(STDERR_FILENO) && (term == NULL || strcmp(term, "dumb") != 0);
}

void progress_init(enum progress_kind kind, int64_t start_ms)
{
	on = kind == PROGRESS_ALWAYS || (kind == PROGRESS_AUTO && on_terminal());
	drawn = false;
	started_ms = start_ms;
	last_ms = start_ms - DRAW_MS;
	log_bar_hook(on ? progress_clear : NULL);
}

bool progress_on(void)
{
	return on;
}

int64_t progress_due(void)
{
	return on ? last_ms + DRAW_MS : CLOCK_NEVER;
}

void progress_clear(void)
{
	if (drawn)
		write_all("\r\033[K", 4);
	drawn = false;
}

static int terminal_columns(void)
{
	struct winsize w;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0)
		return w.ws_col;
	return 80;
}

/* Columns of the character that begins with byte c, rather one too many than one too few. */
static int columns_of(unsigned char c)
{
	return c < 0x80 || (c >= 0xc0 && c < 0xe0) ? 1 : c >= 0xe0 ? 2 : 0;
}

/* The end of a path says more than its beginning. */
static void add_end(struct buf *out, const struct buf *text, int columns)
{
	size_t i = text->len;
	int used = 0;

	for (size_t p = text->len; p > 0; p--) {
		used += columns_of((unsigned char)text->data[p - 1]);
		if (used > columns)
			break;
		if (((unsigned char)text->data[p - 1] & 0xc0) != 0x80)
			i = p - 1;
	}
	buf_add(out, text->data + i, text->len - i);
}

static void add_eta(struct buf *out, double left_s)
{
	uint64_t s = left_s < 0 ? 0 : left_s > 359999 ? 359999 : (uint64_t)left_s;

	buf_addf(out, ", %" PRIu64 ":%02" PRIu64 ":%02" PRIu64 " to go", s / 3600, s / 60 % 60, s % 60);
}

/* Lines count where their number is known; else the bytes of a file do. */
static void add_figures(struct buf *out, const struct progress_figures *f)
{
	double seconds = (double)(clock_ms() - started_ms) / 1000;
	uint64_t have = f->total_lines > 0 ? f->done : f->bytes;
	uint64_t total = f->total_lines > 0 ? f->total_lines : f->total_bytes;

	buf_addf(out, "%" PRIu64, f->done);
	if (f->total_lines > 0)
		buf_addf(out, " of %" PRIu64, f->total_lines);
	buf_adds(out, " lines");
	if (total > 0)
		buf_addf(out, " (%d%%)", have >= total ? 100 : (int)((double)have * 100 / (double)total));
	if (seconds > 0)
		buf_addf(out, ", %.0f/s", (double)f->done / seconds);
	if (seconds > 0 && have > 0 && total > have)
		add_eta(out, (double)(total - have) * seconds / (double)have);
	buf_addf(out, ", %" PRIu64 " failed, %" PRIu64 " in flight", f->failed, f->in_flight);
}

void progress_draw(const struct progress_figures *f)
{
	auto_buf struct buf line = BUF_INIT, path = BUF_INIT;
	int64_t now = clock_ms();
	int left;

	if (!on || now - last_ms < DRAW_MS)
		return;
	buf_addc(&line, '\r');
	add_figures(&line, f);
	left = terminal_columns() - (int)line.len;	/* the \r makes up for the last column */
	if (left < 0)
		line.len -= (size_t)-left;
	if (f->path != NULL && left > 8) {
		text_printable(&path, f->path, strlen(f->path), PATH_MAX_SHOWN);
		buf_adds(&line, ", ");
		add_end(&line, &path, left - 2);
	}
	buf_adds(&line, "\033[K");
	write_all(line.data, line.len);
	drawn = true;
	last_ms = now;
}

void progress_print(const struct progress_figures *f)
{
	auto_buf struct buf line = BUF_INIT;

	buf_addf(&line, "%s: ", f->phase);
	add_figures(&line, f);
	if (f->path != NULL)
		buf_addf(&line, ", at '%s'", f->path);
	log_note("%s", line.data);
}
