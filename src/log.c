#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include "buf.h"
#include "text.h"

#include "log.h"

static enum log_level log_level = LOG_WARNING;
static void (*bar_clear)(void);
static struct buf *diverted;

void log_set_level(enum log_level level)
{
	log_level = level;
}

void log_bar_hook(void (*clear)(void))
{
	bar_clear = clear;
}

void log_divert(struct buf *to)
{
	diverted = to;
}

static void write_all(const char *p, size_t n)
{
	ssize_t put;

	while (n > 0) {
		put = write(STDERR_FILENO, p, n);
		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return;		/* nowhere left to complain */
		p += put;
		n -= (size_t)put;
	}
}

static void format(struct buf *text, const char *fmt, va_list ap)
{
	va_list again;
	int n;

	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (n > 0) {
		buf_reserve(text, (size_t)n);
		vsnprintf(text->data + text->len, (size_t)n + 1, fmt, ap);
		text->len += (size_t)n;
	}
}

/* One write a line, so that lines of several processes do not mix. */
static void emit(enum log_level level, const char *word, const char *fmt, va_list ap)
{
	auto_buf struct buf line = BUF_INIT;
	auto_buf struct buf text = BUF_INIT;
	int saved = errno;

	if (diverted != NULL && level <= LOG_WARNING) {
		if (diverted->len > 0)
			buf_adds(diverted, "; ");
		format(diverted, fmt, ap);
		errno = saved;
		return;
	}
	format(&text, fmt, ap);
	buf_adds(&line, "linesync: ");
	buf_adds(&line, word);
	text_printable(&line, text.data, text.len, SIZE_MAX);
	buf_addc(&line, '\n');
	if (bar_clear != NULL)
		bar_clear();
	write_all(line.data, line.len);
	errno = saved;
}

#define EMIT(level, word)                   \
	do {                                \
		va_list ap;                 \
		va_start(ap, fmt);          \
		emit(level, word, fmt, ap); \
		va_end(ap);                 \
	} while (0)

int log_err(const char *fmt, ...)
{
	EMIT(LOG_ERROR, "error: ");
	return -1;
}

void log_warn(const char *fmt, ...)
{
	if (log_level >= LOG_WARNING)
		EMIT(LOG_WARNING, "warning: ");
}

void log_info(const char *fmt, ...)
{
	if (log_level >= LOG_INFO)
		EMIT(LOG_INFO, "info: ");
}

void log_debug(const char *fmt, ...)
{
	if (log_level >= LOG_DEBUG)
		EMIT(LOG_DEBUG, "debug: ");
}

void log_note(const char *fmt, ...)
{
	EMIT(LOG_ERROR, "");
}
