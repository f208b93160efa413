#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "alloc.h"
#include "cleanup.h"
#include "json.h"
#include "text.h"

#include "show.h"

void show_text(FILE *f, const char *s)
{
	auto_buf struct buf out = BUF_INIT;

	text_printable(&out, s, strlen(s), SIZE_MAX);
	if (out.len > 0)
		fwrite(out.data, 1, out.len, f);
}

void table_add(struct table *t, const char *cell)
{
	text_printable(&t->cells, cell, strlen(cell), SIZE_MAX);
	buf_addc(&t->cells, '\0');
}

void table_addf(struct table *t, const char *fmt, ...)
{
	autofree char *cell = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	cell = xcalloc((size_t)(n > 0 ? n : 0) + 1, 1);
	va_start(ap, fmt);
	vsnprintf(cell, (size_t)(n > 0 ? n : 0) + 1, fmt, ap);
	va_end(ap);
	table_add(t, cell);
}

/* Characters, which is what a terminal's columns are for most scripts. */
static int width_of(const char *s)
{
	int n = 0;

	for (; *s != '\0'; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static void print_cell(FILE *f, const char *cell, int width, bool right, bool last)
{
	int blanks = width - width_of(cell);

	if (right)
		fprintf(f, "%*s", blanks, "");
	fputs(cell, f);
	if (last)
		fputc('\n', f);
	else
		fprintf(f, "%*s", right ? 2 : blanks + 2, "");
}

void table_print(FILE *f, const struct table *t, const char *indent)
{
	const char *end = t->cells.data + t->cells.len;
	autofree int *width = xcalloc((size_t)t->columns, sizeof(*width));
	int i = 0;

	if (t->cells.len == 0)
		return;
	for (const char *c = t->cells.data; c < end; c += strlen(c) + 1, i = (i + 1) % t->columns)
		if (width[i] < width_of(c))
			width[i] = width_of(c);
	for (const char *c = t->cells.data; c < end; c += strlen(c) + 1, i = (i + 1) % t->columns) {
		if (i == 0)
			fputs(indent, f);
		print_cell(f, c, width[i], t->right != NULL && t->right[i] == 'r', i + 1 == t->columns);
	}
}

void table_release(struct table *t)
{
	buf_release(&t->cells);
}

void show_seconds(struct buf *out, int64_t s)
{
	if (s < 0)
		s = 0;
	if (s < 60)
		buf_addf(out, "%" PRId64 " s", s);
	else if (s < 3600)
		buf_addf(out, "%" PRId64 " min %" PRId64 " s", s / 60, s % 60);
	else if (s < 86400)
		buf_addf(out, "%" PRId64 " h %" PRId64 " min", s / 3600, s / 60 % 60);
	else
		buf_addf(out, "%" PRId64 " d %" PRId64 " h", s / 86400, s / 3600 % 24);
}

void show_bytes(struct buf *out, uint64_t n)
{
	static const char *const units[] = { "kB", "MB", "GB", "TB" };
	double v = (double)n / 1000;
	size_t u = 0;

	if (n < 1000) {
		buf_addf(out, "%" PRIu64 " bytes", n);
		return;
	}
	for (; v >= 999.95 && u + 1 < sizeof(units) / sizeof(units[0]); u++)
		v /= 1000;
	buf_addf(out, "%.1f %s", v, units[u]);
}

static const char plain_bytes[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._/:@%+=,";

/* True for what text_printable() would not pass as it is: a word must come out as it went in. */
static bool acts_on_terminal(const char *s)
{
	auto_buf struct buf out = BUF_INIT;

	text_printable(&out, s, strlen(s), SIZE_MAX);
	return out.len != strlen(s);
}

static void add_octal(struct buf *out, unsigned char c)
{
	buf_addf(out, "\\%03o", (unsigned)c);
}

void show_word(struct buf *out, const char *s)
{
	if (s[0] != '\0' && s[strspn(s, plain_bytes)] == '\0') {
		buf_adds(out, s);
	} else if (acts_on_terminal(s)) {	/* bash, ksh and zsh read this; POSIX since 2024 */
		buf_adds(out, "$'");
		for (; *s != '\0'; s++)
			if ((unsigned char)*s < 0x20 || (unsigned char)*s >= 0x7f || *s == '\'' || *s == '\\')
				add_octal(out, (unsigned char)*s);
			else
				buf_addc(out, *s);
		buf_addc(out, '\'');
	} else {
		buf_addc(out, '\'');
		for (; *s != '\0'; s++)
			if (*s == '\'')
				buf_adds(out, "'\\''");
			else
				buf_addc(out, *s);
		buf_addc(out, '\'');
	}
}

static const char *named_escape(unsigned char c)
{
	static const char *const low[] = { "\\a", "\\b", "\\t", "\\n", "\\v", "\\f", "\\r" };

	if (c >= 7 && c <= 13)
		return low[c - 7];
	return c == '"' ? "\\\"" : c == '\\' ? "\\\\" : NULL;
}

void show_path(struct buf *out, const char *path)
{
	if (strpbrk(path, "\"\\") == NULL && !acts_on_terminal(path)) {
		buf_adds(out, path);
		return;
	}
	buf_addc(out, '"');
	for (size_t len, left = strlen(path); left > 0; path += len, left -= len) {
		uint32_t c = text_code_point(path, left, &len);

		if (named_escape((unsigned char)*path) != NULL)
			buf_adds(out, named_escape((unsigned char)*path));
		else if (text_acts(c))
			for (size_t i = 0; i < len; i++)
				add_octal(out, (unsigned char)path[i]);
		else
			buf_add(out, path, len);
	}
	buf_addc(out, '"');
}

void show_json_text(FILE *f, const struct buf *json)
{
	auto_buf struct buf out = BUF_INIT;

	if (json->len == 0)
		return;
	json_printed(&out, json->data);
	fwrite(out.data, 1, out.len, f);
}

void show_path_line(FILE *f, const char *path, bool nul)
{
	auto_buf struct buf out = BUF_INIT;

	if (nul) {
		fwrite(path, 1, strlen(path) + 1, f);
		return;
	}
	show_path(&out, path);
	buf_addc(&out, '\n');
	fwrite(out.data, 1, out.len, f);
}
