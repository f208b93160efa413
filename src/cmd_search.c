/* linesync search: the objects nearest to a text, embedded as the collection was.  One JSON object on
 * each line; on a terminal for people. */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ask.h"
#include "cleanup.h"
#include "collection.h"
#include "commands.h"
#include "connect.h"
#include "json.h"
#include "log.h"
#include "query.h"
#include "show.h"
#include "text.h"

#define SHOWN_LINES 3	/* of each text */
#define SHOWN_BYTES 400

struct search {
	const struct options *o;
	struct state *s;
	struct connection c;
	struct buf text;	/* what is searched for */
};

/* ---- hits ---- */

static void member_line(struct buf *json, bool *first, const char *name, int64_t line)
{
	if (line > 0) {
		json_member_int(json, first, name, line);
	} else {
		json_name(json, first, name);
		json_cstr(json, NULL);
	}
}

static void print_json(const struct hit *h, bool ours)
{
	auto_buf struct buf json = BUF_INIT;
	bool first = true;

	buf_addc(&json, '{');
	json_member_cstr(&json, &first, "repo", ours ? h->found.repo : NULL);
	json_member_cstr(&json, &first, "path", ours ? h->found.path : NULL);
	member_line(&json, &first, "start_line", ours ? h->start_line : 0);
	member_line(&json, &first, "end_line", ours ? h->end_line : 0);
	json_name(&json, &first, "distance");
	buf_addf(&json, "%.7g", h->distance);
	json_member_cstr(&json, &first, "id", h->found.id[0] != '\0' ? h->found.id : NULL);
	if (h->text != NULL)
		json_member_str(&json, &first, "text", h->text,
				text_start(h->text, strlen(h->text), SHOWN_LINES, SHOWN_BYTES));
	else
		json_member_cstr(&json, &first, "text", NULL);
	buf_adds(&json, "}\n");
	show_json_text(stdout, &json);
}

/* One line of a text, indented; its tabs become blanks, because code is full of them. */
static void add_line(struct buf *out, const char *line, size_t n)
{
	if (n > 0 && line[n - 1] == '\r')
		n--;
	buf_adds(out, "    ");
	for (size_t part; n > 0; line += part, n -= part) {
		const char *tab = memchr(line, '\t', n);

		part = tab != NULL ? (size_t)(tab - line) : n;
		text_printable(out, line, part, SIZE_MAX);
		if (tab != NULL) {
			buf_adds(out, "    ");
			part++;
		}
	}
	buf_addc(out, '\n');
}

static void add_lines(struct buf *out, const char *text)
{
	size_t left = text_start(text, strlen(text), SHOWN_LINES, SHOWN_BYTES);

	while (left > 0) {
		const char *newline = memchr(text, '\n', left);
		size_t n = newline != NULL ? (size_t)(newline - text) : left;

		add_line(out, text, n);
		n += newline != NULL;
		text += n;
		left -= n;
	}
}

static void print_shown(const struct hit *h, bool ours)
{
	auto_buf struct buf out = BUF_INIT;
	const char *what = ours ? h->found.path : h->found.id;

	/* rounding in the store can make it a hair less than nothing */
	buf_addf(&out, "%.4f  ", h->distance > 0 ? h->distance : 0);
	show_path(&out, what[0] != '\0' ? what : "an object");
	if (ours && h->start_line > 0)
		buf_addf(&out, ":%" PRId64 "-%" PRId64, h->start_line, h->end_line);
	buf_adds(&out, "  ");
	if (ours)
		text_printable(&out, h->found.repo, strlen(h->found.repo), SIZE_MAX);
	else
		buf_adds(&out, "(not linesync's)");
	buf_addc(&out, '\n');
	if (h->text != NULL)
		add_lines(&out, h->text);
	fwrite(out.data, 1, out.len, stdout);
}

/* How many were printed.  A store's filter may match more names than the one that is asked for. */
static size_t print_hits(const struct search *s, const struct ask *a)
{
	bool terminal = isatty(STDOUT_FILENO);
	size_t printed = 0;

	for (size_t i = 0; i < a->nhits; i++) {
		const struct hit *h = &a->hits[i];
		bool ours = collection_owns(&s->c.store, &h->found);

		if (a->repo != NULL && (!ours || strcmp(h->found.repo, a->repo) != 0))
			continue;
		if (terminal)
			print_shown(h, ours);
		else
			print_json(h, ours);
		printed++;
	}
	return printed;
}

/* ---- the command ---- */

static int join_words(struct buf *text, const struct options *o)
{
	for (int i = 0; i < o->nargs; i++) {
		if (i > 0)
			buf_addc(text, ' ');
		buf_adds(text, o->args[i]);
	}
	if (text->len == 0 || text->data[strspn(text->data, " \t\r\n")] == '\0') {
		log_err("'linesync search' takes a text to search for");
		return 64;
	}
	if (utf8_check(text->data, text->len) != text->len) {
		log_err("the text to search for is not valid UTF-8");
		return 64;
	}
	return 0;
}

static int open_collection(struct search *s)
{
	int status = connection_of_state(&s->c, s->o, s->s);

	if (status == 0)
		status = collection_find(&s->c.store, s->c.http);
	if (status == 0 && !collection_is_same(&s->c.store, s->s)) {
		log_err("collection '%s' is another one than the state '%s' was made with, and how it was embedded "
			"is not known", s->c.store.collection, state_path(s->s));
		status = 78;
	}
	return status;
}

static int search(struct search *s)
{
	struct ask a = { .kind = ASK_SEARCH, .text = s->text.data, .repo = s->o->repo,
			 .limit = (size_t)s->o->limit };
	autofree float *vector = NULL;
	int status;

	if (a.repo != NULL && !command_has_repo(s->s, a.repo))
		return 1;
	status = query_vector(&vector, &a.dim, s->s, a.text, s->o);
	a.vector = vector;
	s->c.store.embeds = vector == NULL;
	if (status == 0)
		status = open_collection(s);
	if (status == 0)
		status = ask_patiently(&s->c.store, s->c.http, &a, NULL, "search", -1);
	if (status == 0)
		status = print_hits(s, &a) > 0 ? 0 : 1;
	ask_release(&a);
	return status;
}

int cmd_search(const struct options *o)
{
	struct search s = { .o = o };
	autofree char *file = NULL;
	int status = join_words(&s.text, o);

	if (status == 0)
		file = command_state(o, &status);
	if (file != NULL)
		status = state_open_reader(&s.s, file);
	if (file != NULL && status == 0) {
		state_refresh(s.s);
		status = search(&s);
		if (state_failed(s.s) != 0)
			status = state_failed(s.s);
	}
	connection_release(&s.c);
	state_close(s.s);
	buf_release(&s.text);
	return status;
}
