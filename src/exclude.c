#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "buf.h"
#include "cleanup.h"
#include "exclude.h"
#include "json.h"
#include "json_span.h"
#include "text.h"

struct pattern {
	char *given;		/* owned */
	char *glob;		/* owned; without what the rest says */
	bool negated;		/* "!": takes back in */
	bool folder;		/* "/" at its end: matches folders alone */
	bool anywhere;		/* no "/" inside: matches the last part of the path */
};

struct excludes {
	struct pattern *patterns;	/* owned */
	size_t n;
};

/* What is matched, between the "!" and the "/" that only say how: its start and *n bytes. */
static const char *core(const char *pattern, size_t *n)
{
	pattern += pattern[0] == '!';
	if (strncmp(pattern, "./", 2) == 0)	/* git never sees it in a path, and so matches nothing */
		pattern++;
	*n = strlen(pattern);
	*n -= *n > 0 && pattern[*n - 1] == '/';
	return pattern;
}

const char *exclude_fault(const char *pattern)
{
	size_t n;

	core(pattern, &n);
	return n == 0 ? "names nothing" : NULL;
}

static void add(struct excludes *e, const char *given)
{
	struct pattern *p;
	const char *glob;
	size_t n;

	e->patterns = xrealloc(e->patterns, (e->n + 1) * sizeof(*e->patterns));
	p = &e->patterns[e->n++];
	glob = core(given, &n);
	p->given = xstrdup(given);
	p->negated = given[0] == '!';
	p->folder = glob[n] == '/';
	p->anywhere = memchr(glob, '/', n) == NULL;
	p->glob = xmemdup0(glob + (glob[0] == '/'), n - (glob[0] == '/' && n > 0));
}

struct excludes *excludes_new(const char *const *patterns)
{
	struct excludes *e = xcalloc(1, sizeof(*e));

	for (; patterns != NULL && *patterns != NULL; patterns++)
		add(e, *patterns);
	return e;
}

void excludes_free(struct excludes *e)
{
	if (e == NULL)
		return;
	for (size_t i = 0; i < e->n; i++) {
		free(e->patterns[i].given);
		free(e->patterns[i].glob);
	}
	free(e->patterns);
	free(e);
}

/* What the patterns say of one file or folder, whatever they say of those above it. */
static bool leaves_out(const struct excludes *e, const char *path, bool folder)
{
	const char *slash = strrchr(path, '/');

	for (size_t i = e->n; i-- > 0;) {
		const struct pattern *p = &e->patterns[i];

		if ((folder || !p->folder) && text_glob(p->glob, p->anywhere && slash ? slash + 1 : path))
			return !p->negated;
	}
	return false;
}

bool excludes_match(const struct excludes *e, const char *path, bool folder)
{
	autofree char *part = NULL;

	if (e->n == 0)
		return false;
	part = xstrdup(path);
	for (char *slash = part; (slash = strchr(slash, '/')) != NULL; *slash++ = '/') {
		*slash = '\0';
		if (leaves_out(e, part, true))
			return true;
	}
	return leaves_out(e, part, folder);
}

char *excludes_text(const struct excludes *e)
{
	struct buf b = BUF_INIT;

	buf_adds(&b, e->n > 0 ? "[" : "");
	for (size_t i = 0; i < e->n; i++) {
		if (i > 0)
			buf_addc(&b, ',');
		json_str(&b, e->patterns[i].given, strlen(e->patterns[i].given));
	}
	buf_adds(&b, e->n > 0 ? "]" : "");
	return buf_detach(&b);
}

struct excludes *excludes_of_text(const char *text)
{
	struct excludes *e = xcalloc(1, sizeof(*e));
	const char *p = text, *end = text + strlen(text);
	struct json_fault fault;
	struct span s;

	if (text[0] != '[' || json_check(text, strlen(text), NULL, &fault) < 0)
		return e;
	while (json_next_element(&p, end, &s)) {
		auto_buf struct buf b = BUF_INIT;

		while (s.n > 0 && json_is_blank(s.p[s.n - 1]))
			s.n--;
		if (json_type_of(&s) != JSON_STRING)
			continue;
		json_unescape(&b, s.p + 1, s.n - 2);
		add(e, b.data != NULL ? b.data : "");
	}
	return e;
}
