#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "buf.h"
#include "change.h"
#include "cleanup.h"
#include "json.h"
#include "json_span.h"
#include "text.h"

#define REPO_MAX 1024
#define VECTOR_MAX 65536
#define CHANGESET_MAX 65536	/* the state reads it with its repository, again and again */
#define NUMBER_MAX INT64_C(9007199254740991)	/* Weaviate rounds integers beyond 2^53 */

enum field {
	F_REPO, F_OP, F_PATH, F_OLD_PATH, F_CONTENT, F_CONTENT_BASE64, F_CONTENT_REF,
	F_CONTENT_HASH, F_SIZE, F_MIME, F_CHARSET, F_IS_TRUNCATED, F_LINE_COUNT, F_SKIP_INDEX,
	F_SKIP_REASON, F_CONTENT_ERROR, F_UNCOMMITTED, F_VECTOR, F_METADATA, F_NEW_CHANGESET,
	F_COUNT
};

static const struct field_name {
	const char *name;
	enum field field;
	unsigned types;
	const char *type_name;
} fields[] = {
	{ "repo", F_REPO, JSON_STRING, "a string" },
	{ "op", F_OP, JSON_STRING, "a string" },
	{ "path", F_PATH, JSON_STRING, "a string" },
	{ "old_path", F_OLD_PATH, JSON_STRING, "a string" },
	{ "content", F_CONTENT, JSON_STRING, "a string" },
	{ "content_base64", F_CONTENT_BASE64, JSON_STRING, "a string" },
	{ "content_ref", F_CONTENT_REF, JSON_STRING, "a string" },
	{ "content_hash", F_CONTENT_HASH, JSON_STRING, "a string" },
	{ "content_error", F_CONTENT_ERROR, JSON_STRING | JSON_BOOL, "a string or a boolean" },
	{ "size", F_SIZE, JSON_INT | JSON_NUMBER, "a number" },
	{ "size_bytes", F_SIZE, JSON_INT | JSON_NUMBER, "a number" },
	{ "line_count", F_LINE_COUNT, JSON_INT | JSON_NUMBER, "a number" },
	{ "mime", F_MIME, JSON_STRING, "a string" },
	{ "mime_type", F_MIME, JSON_STRING, "a string" },
	{ "charset", F_CHARSET, JSON_STRING, "a string" },
	{ "is_truncated", F_IS_TRUNCATED, JSON_BOOL, "a boolean" },
	{ "skip_index", F_SKIP_INDEX, JSON_BOOL, "a boolean" },
	{ "skip_reason", F_SKIP_REASON, JSON_STRING, "a string" },
	{ "uncommitted", F_UNCOMMITTED, JSON_BOOL, "a boolean" },
	{ "vector", F_VECTOR, JSON_ARRAY, "an array" },
	{ "metadata", F_METADATA, JSON_OBJECT, "an object" },
	{ "new_changeset", F_NEW_CHANGESET, JSON_OBJECT, "an object" },
};
#define NFIELDS (sizeof(fields) / sizeof(fields[0]))

/* For json_check(): the names above, and those of new_changeset. */
static const char *const known[] = {
	"repo", "op", "path", "old_path", "content", "content_base64", "content_ref",
	"content_hash", "content_error", "size", "size_bytes", "line_count", "mime", "mime_type",
	"charset", "is_truncated", "skip_index", "skip_reason", "uncommitted", "vector",
	"metadata", "new_changeset", "commit", "branch", "parent", "since", "tree_hash",
	"timestamp", "complete", NULL
};

/* Fields that no change has and that are to be expected all the same: of programs that number lines. */
static const char *const also[] = { "line" };

/* What other programs call a field of ours.  Where ours is missing, to pass over theirs would store another
 * text, or a vector made up in place of the one that was given. */
static const struct {
	const char *name;
	enum field means;
	const char *ours;
} misspelt[] = {
	{ "embedding", F_VECTOR, "vector" },
	{ "text", F_CONTENT, "content" },
	{ "body", F_CONTENT, "content" },
	{ "contents", F_CONTENT, "content" },
	{ "page_content", F_CONTENT, "content" },
	{ "file", F_PATH, "path" },
};
#define NMISSPELT (sizeof(misspelt) / sizeof(misspelt[0]))

/* A record by field: each value as it stands in the line, where null, absent and (but for content and
 * content_base64, an empty document) "" have no p. */
struct record {
	const char *line;
	struct span v[F_COUNT];
	const struct field_name *bad_type;	/* the first field of a wrong type, or NULL */
	const char *bad_type_at;
	bool bad_repo;
	const char *misspelt_at[NMISSPELT];	/* values of such fields, NULL: not there */
	const char *reading;	/* value being read: what is wrong is wrong here; NULL: nowhere */
};

const char *op_name(enum change_op op)
{
	static const char *const names[] = {
		[OP_ADD] = "add", [OP_MODIFY] = "modify", [OP_DELETE] = "delete",
		[OP_RENAME] = "rename", [OP_CHANGESET] = "changeset",
	};

	return (size_t)op < sizeof(names) / sizeof(names[0]) ? names[op] : NULL;
}

bool change_is_message(const struct change *c)
{
	return c->kind == CHANGE_SKIP && c->reason == REASON_NOT_A_CHANGE;
}

bool change_is_misspelt(const struct change *c)
{
	return c->kind == CHANGE_BAD && c->error == ERR_MISSPELT_FIELD;
}

void change_too_long(struct change *c, uint64_t max)
{
	memset(c, 0, sizeof *c);
	c->kind = CHANGE_BAD;
	c->error = ERR_LINE_TOO_LONG;
	c->message = xasprintf("the line has more than %llu bytes; raise --max-line", (unsigned long long)max);
}

void change_release(struct change *c)
{
	free(c->repo);
	free(c->path);
	free(c->old_path);
	free(c->text);
	free(c->content_hash);
	free(c->mime);
	free(c->charset);
	free(c->error_text);
	free(c->vector);
	free(c->metadata);
	free(c->commit);
	free(c->since);
	free(c->changeset);
	free(c->message);
	memset(c, 0, sizeof(*c));
}

bool change_carries_all(const struct change *c)
{
	if (c->kind != CHANGE_DOCUMENT)
		return true;
	return c->op == OP_DELETE || c->skip_index || c->content_error ||
	       c->source == CONTENT_TEXT || c->source == CONTENT_BYTES;
}

const char *change_path_fault(const char *p, size_t n)
{
	if (n == 0)
		return "is empty";
	if (n > CHANGE_PATH_MAX)
		return "is longer than 4096 bytes";
	if (memchr(p, '\0', n))
		return "holds a NUL";
	if (utf8_check(p, n) != n)
		return "is not UTF-8";
	return NULL;
}

/* Returns -1, so that it can be returned. */
static int __attribute__((format(printf, 3, 4)))
bad(struct change *c, enum error_code code, const char *fmt, ...)
{
	auto_buf struct buf b = BUF_INIT;
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	text_printable(&b, text, strlen(text), sizeof(text));
	free(c->message);
	c->message = buf_detach(&b);
	c->kind = CHANGE_BAD;
	c->error = code;
	return -1;
}

static int bad_quoting(struct change *c, enum error_code code, const char *what,
		       const char *p, size_t n)
{
	return bad(c, code, "%s: '%.*s%s'", what, n < 200 ? (int)n : 200, p, n > 200 ? "..." : "");
}

static int bad_cut(struct change *c)
{
	c->has_offset = false;
	return bad(c, ERR_CUT_LINE, "the input ends inside this line");
}

static int skip(struct change *c)
{
	c->kind = CHANGE_SKIP;
	c->reason = REASON_NOT_A_CHANGE;
	c->op = OP_NONE;
	return -1;
}

static bool is_digit(char ch)
{
	return ch >= '0' && ch <= '9';
}

/* --- what mgit prints beside its records ------------------------------------------------------ */

/* mgit (0.13) prints everything for people on standard output as well, through a library that draws
 * "Detecting changes... <bar>  42% 0:00:07"; on a pipe the bar is blank, only the last state is
 * drawn, and the time left is "-:--:--" or H:MM:SS.  The words before the bar belong to mgit and the
 * bar to the library, so the end of the line is what tells it: blank, 1-3 digits, "% ", a time. */
static bool is_progress_bar(const char *p, size_t n)
{
	const char *s = p + n;
	size_t digits;

	if (n < 10 || s[-3] != ':' || s[-6] != ':')
		return false;
	s -= 7;
	if (*s == '-') {
		if (memcmp(s, "-:--:--", 7) != 0)
			return false;
	} else {
		if (!is_digit(s[0]) || !is_digit(s[2]) || !is_digit(s[3]) || !is_digit(s[5]) ||
		    !is_digit(s[6]))
			return false;
		while (s > p && is_digit(s[-1]))
			s--;
	}
	if (s - p < 3 || s[-1] != ' ' || s[-2] != '%')
		return false;
	s -= 2;
	for (digits = 0; s > p && is_digit(s[-1]) && digits < 4; digits++)
		s--;
	return digits >= 1 && digits <= 3 && (s == p || s[-1] == ' ');
}

static bool is_text(const char *p, size_t n, const char *s)
{
	return n == strlen(s) && memcmp(p, s, n) == 0;
}

static bool starts_with(const char *p, size_t n, const char *s)
{
	return n >= strlen(s) && memcmp(p, s, strlen(s)) == 0;
}

/* 0: the line is none of mgit's messages.  They are compared whole, or from their start up to what
 * varies, so that no likely file name is taken for one. */
static int parse_mgit(struct change *c, const char *p, size_t n)
{
	while (n > 0 && json_is_blank(p[n - 1]))
		n--;
	if (is_progress_bar(p, n) ||
	    is_text(p, n, "No repositories found in the specified path."))
		return skip(c);
	if (starts_with(p, n, "Error during change detection: ") ||
	    is_text(p, n, "Operation cancelled by user")) {
		c->repo_known = false;
		return bad_quoting(c, ERR_PRODUCER, "the producer failed", p, n);
	}
	return 0;
}

/* --- paths and name-status -------------------------------------------------------------------- */

static int bad_path(struct change *c, const char *name, const char *p, size_t n, const char *fault)
{
	if (n == 0)
		return bad(c, ERR_NO_PATH, "%s is empty", name);
	return bad_quoting(c, ERR_BAD_PATH, fault, p, n);
}

static void note_bad_byte(struct change *c, const char *p, size_t n)
{
	const char *nul = memchr(p, '\0', n);

	c->offset = nul ? (size_t)(nul - p) : utf8_check(p, n);
	c->has_offset = c->offset < n;
}

/* Takes n bytes as a path; unquote: a whole git C-quoted name is undone.  What is wrong is noted as an
 * offset from p. */
static int take_path(struct change *c, char **out, const char *name, const char *p, size_t n,
		     bool unquote, bool *quoted)
{
	auto_buf struct buf b = BUF_INIT;
	autofree char *what = NULL;
	const char *fault;

	if (unquote && n > 1 && p[0] == '"' && cquote_decode(&b, p, n) == n) {
		if (quoted)
			*quoted = true;
		if (!b.data)
			buf_adds(&b, "");
		p = b.data;
		n = b.len;
	}
	fault = change_path_fault(p, n);
	if (fault) {
		if (p != b.data)
			note_bad_byte(c, p, n);
		what = xasprintf("%s %s", name, fault);
		return bad_path(c, name, p, n, what);
	}
	free(*out);
	*out = p == b.data ? buf_detach(&b) : xmemdup0(p, n);
	return 0;
}

/* What the string at s stands for: owned, *n bytes and a NUL. */
static char *unescaped(const struct span *s, size_t *n)
{
	struct buf b = BUF_INIT;

	json_unescape(&b, s->p + 1, s->n - 2);
	*n = b.len;
	return buf_detach(&b);
}

/* 1: it was a JSON string. */
static int take_json_string(struct change *c, const char *p, size_t n, int *result)
{
	struct span s = { p, n };
	autofree char *path = NULL;
	struct json_fault f;

	if (json_check(p, n, NULL, &f) < 0)
		return 0;
	for (; json_is_blank(*s.p); s.p++)
		s.n--;
	for (; json_is_blank(s.p[s.n - 1]); s.n--)
		;
	path = unescaped(&s, &n);
	*result = take_path(c, &c->path, "path", path, n, false, NULL);
	c->has_offset = false;
	return 1;
}

static void parse_path(struct change *c, const char *p, size_t n, bool cut, bool *needs_file,
		       bool literal)
{
	int result;

	c->op = OP_MODIFY;
	c->is_plain_path = true;
	if (!literal && p[0] == '"' && take_json_string(c, p, n, &result))
		return;
	*needs_file = cut;
	if (take_path(c, &c->path, "path", p, n, !literal, &c->path_was_quoted) < 0 && cut)
		bad_cut(c);
}

/* Splits at sep into at most max spans; more fields than that give max + 1. */
static int split(struct span *s, int max, const char *p, size_t n, char sep)
{
	const char *end = p + n, *next;
	int count = 0;

	for (;; p = next + 1) {
		next = memchr(p, sep, (size_t)(end - p));
		if (count == max)
			return max + 1;
		s[count].p = p;
		s[count++].n = (size_t)((next ? next : end) - p);
		if (!next)
			return count;
	}
}

/* A letter of git's name-status with its digits, if it has any (R100, M075). */
static bool is_status(const char *p, size_t n)
{
	size_t i;

	if (n == 0 || n > 4 || !memchr("AMDTRCU", p[0], 7))
		return false;
	for (i = 1; i < n; i++)
		if (!is_digit(p[i]))
			return false;
	return true;
}

static bool looks_name_status(const char *p, size_t n)
{
	const char *tab = memchr(p, '\t', n < 5 ? n : 5);

	return tab && is_status(p, (size_t)(tab - p));
}

static enum change_op status_op(char letter)
{
	switch (letter) {
	case 'A':
	case 'C':	/* a copy leaves the old file alone */
		return OP_ADD;
	case 'D':
		return OP_DELETE;
	case 'R':
		return OP_RENAME;
	default:
		return OP_MODIFY;
	}
}

static int take_status_path(struct change *c, char **out, const char *name, const char *line,
			    const struct span *s, bool literal, bool *quoted)
{
	bool q = false;

	if (take_path(c, out, name, s->p, s->n, !literal, &q) < 0) {
		c->offset += (size_t)(s->p - line);
		return -1;
	}
	/* git quotes every name that holds a quote. */
	if (!literal && !q && s->p[0] == '"')
		return bad_quoting(c, ERR_BAD_PATH, "quoted name is not well formed", s->p, s->n);
	if (quoted)
		*quoted = q;
	return 0;
}

static int parse_name_status(struct change *c, const char *p, size_t n, bool cut, bool nul)
{
	struct span s[3];
	int want, got = split(s, 3, p, n, nul ? '\0' : '\t');

	if (cut)
		return bad_cut(c);
	if (!is_status(s[0].p, s[0].n))
		return bad_quoting(c, ERR_BAD_FORM, "not a name-status line (A, M, D, T, R or C, "
				   "then a TAB and the path)", p, nul ? s[0].n : n);
	want = s[0].p[0] == 'R' || s[0].p[0] == 'C' ? 3 : 2;
	if (got != want)
		return bad(c, ERR_BAD_FORM, "name-status line: %c takes %s", s[0].p[0],
			   want == 3 ? "two paths" : "one path");
	if (s[0].p[0] == 'U') {	/* what git has of it, it lists by another letter as well */
		c->reason = REASON_UNMERGED;
		c->kind = CHANGE_SKIP;
		return take_status_path(c, &c->path, "path", p, &s[1], nul, NULL);
	}
	c->op = status_op(s[0].p[0]);
	if (c->op == OP_RENAME &&
	    take_status_path(c, &c->old_path, "old path", p, &s[1], nul, NULL) < 0)
		return -1;
	return take_status_path(c, &c->path, "path", p, &s[want - 1], nul, &c->path_was_quoted);
}

/* --- JSON records ----------------------------------------------------------------------------- */

/* An object as compact text. */
static char *compact(const struct span *object)
{
	const char *p = object->p, *end = p + object->n, *q;
	struct buf b = BUF_INIT;

	buf_reserve(&b, object->n);
	for (; p < end; p = q) {
		q = p + 1;
		if (*p == '"')
			q = json_after_string(p, end);
		if (!json_is_blank(*p))
			buf_add(&b, p, (size_t)(q - p));
	}
	return buf_detach(&b);
}

static const struct field_name *find_field(const struct span *name)
{
	bool escaped = memchr(name->p, '\\', name->n) != NULL;
	size_t i;

	for (i = 0; i < NFIELDS; i++)
		if ((escaped || (name->n > 0 && fields[i].name[0] == name->p[0])) &&
		    json_is_name(name, fields[i].name))
			return &fields[i];
	return NULL;
}

static void sort_field(struct change *c, struct record *r, const struct field_name *f,
		       const struct span *v)
{
	unsigned type = json_type_of(v);

	if (type == JSON_NULL) {
		if (f->field == F_CONTENT)
			c->content_null = true;
	} else if (type == JSON_STRING && v->n == 2 && f->field != F_CONTENT &&
		   f->field != F_CONTENT_BASE64) {
		return;
	} else if (f->types & type) {
		r->v[f->field] = *v;
	} else {
		r->bad_repo |= f->field == F_REPO;
		if (!r->bad_type) {
			r->bad_type = f;
			r->bad_type_at = v->p;
		}
	}
}

static bool is_noted(const struct change *c, const struct span *name)
{
	for (size_t i = 0; i < c->nunknown; i++)
		if (c->unknown[i].n == name->n && memcmp(c->unknown[i].p, name->p, name->n) == 0)
			return true;
	return false;
}

static void note_unknown(struct change *c, struct record *r, const struct json_member *m)
{
	for (size_t i = 0; i < sizeof(also) / sizeof(also[0]); i++)
		if (json_is_name(&m->name, also[i]))
			return;
	for (size_t i = 0; i < NMISSPELT; i++)
		if (json_is_name(&m->name, misspelt[i].name) && json_type_of(&m->value) != JSON_NULL)
			r->misspelt_at[i] = m->value.p;
	if (c->nunknown < CHANGE_UNKNOWN && !is_noted(c, &m->name))
		c->unknown[c->nunknown++] = m->name;
}

static void sort_fields(struct change *c, struct record *r, const char *p, const char *end)
{
	const struct field_name *f;
	struct json_member m;

	while (json_next_member(&p, end, &m)) {
		f = find_field(&m.name);
		if (f)
			sort_field(c, r, f, &m.value);
		else
			note_unknown(c, r, &m);
	}
}

/* The field's value, or NULL: what is found wrong from now on is wrong there. */
static const struct span *value(struct record *r, enum field field)
{
	r->reading = r->v[field].p;
	return r->reading ? &r->v[field] : NULL;
}

static int take_string(struct change *c, struct record *r, enum field field, const char *name,
		       char **out)
{
	const struct span *v = value(r, field);
	size_t n;

	if (!v)
		return 0;
	*out = unescaped(v, &n);
	if (memchr(*out, '\0', n))
		return bad(c, ERR_BAD_FIELD, "%s holds a NUL", name);
	return 0;
}

/* One that is not kept. */
static int check_string(struct change *c, struct record *r, enum field field, const char *name)
{
	autofree char *unused = NULL;

	return take_string(c, r, field, name, &unused);
}

static char *join_repo(const struct change_options *o, const char *repo)
{
	if (!o->namespace || !*o->namespace)
		return xstrdup(repo);
	if (!*repo)
		return xstrdup(o->namespace);
	return xasprintf("%s/%s", o->namespace, repo);
}

static int take_repo(struct change *c, struct record *r, const struct change_options *o)
{
	autofree char *repo = NULL;

	if (r->bad_repo)
		c->repo_known = false;
	if (!r->v[F_REPO].p)
		return 0;
	c->repo_known = false;
	if (take_string(c, r, F_REPO, "repo", &repo) < 0)
		return -1;
	if (strlen(repo) > REPO_MAX)
		return bad(c, ERR_BAD_FIELD, "repo is longer than %d bytes", REPO_MAX);
	free(c->repo);
	c->repo = join_repo(o, repo);
	c->repo_known = true;
	return 0;
}

static int take_json_path(struct change *c, const struct span *v, const char *name, char **out,
			  bool *quoted)
{
	size_t n;
	autofree char *path = unescaped(v, &n);
	int result = take_path(c, out, name, path, n, true, quoted);

	c->has_offset = false;	/* not of the line */
	return result;
}

/* A bad record's result names its document all the same, where it can. */
static void note_path(struct change *c, const struct record *r)
{
	if (r->v[F_PATH].p)
		take_json_path(c, &r->v[F_PATH], "path", &c->path, &c->path_was_quoted);
}

static int take_op(struct change *c, struct record *r)
{
	static const struct {
		const char *name;
		enum change_op op;
	} ops[] = {
		{ "add", OP_ADD }, { "modify", OP_MODIFY }, { "update", OP_MODIFY },
		{ "delete", OP_DELETE }, { "rename", OP_RENAME },
	};
	const struct span *v = value(r, F_OP);
	autofree char *s = NULL;
	size_t n, i;

	c->op = OP_MODIFY;
	if (!v)
		return 0;
	s = unescaped(v, &n);
	for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		if (is_text(s, n, ops[i].name)) {
			c->op = ops[i].op;
			return 0;
		}
	}
	c->op = OP_NONE;
	note_path(c, r);
	return bad_quoting(c, ERR_BAD_OP, "op is none of add, modify, update, delete, rename",
			   s, n);
}

static bool is_missing(const struct record *r, enum field field)
{
	if (field == F_CONTENT && (r->v[F_CONTENT_BASE64].p || r->v[F_CONTENT_REF].p))
		return false;
	return !r->v[field].p;
}

/* Nothing of a delete is stored. */
static int check_spelling(struct change *c, struct record *r)
{
	for (size_t i = 0; i < NMISSPELT; i++) {
		const char *name = misspelt[i].name, *ours = misspelt[i].ours;

		if (!r->misspelt_at[i] || !is_missing(r, misspelt[i].means) ||
		    (c->op == OP_DELETE && misspelt[i].means != F_PATH))
			continue;
		note_path(c, r);
		r->reading = r->misspelt_at[i];
		/* lines that have it right stay as they are */
		return bad(c, ERR_MISSPELT_FIELD, "there is '%s' and no '%s', and no change has such a field: "
			   "rename it (jq -c 'if has(\"%s\") and .%s == null then .%s = .%s | del(.%s) else . end') "
			   "or take it out (jq -c 'del(.%s)')",
			   name, ours, name, ours, ours, name, name, name);
	}
	return 0;
}

static int take_paths(struct change *c, struct record *r)
{
	const struct span *v = value(r, F_PATH);
	bool arrow;

	if (!v)
		return bad(c, ERR_NO_PATH, "there is no path");
	if (take_json_path(c, v, "path", &c->path, &c->path_was_quoted) < 0)
		return -1;
	arrow = !c->path_was_quoted && !r->v[F_CONTENT].p && !r->v[F_CONTENT_BASE64].p &&
		!r->v[F_CONTENT_REF].p && strstr(c->path, " -> ");
	if (c->op != OP_RENAME) {
		c->path_may_be_arrow = arrow && c->op != OP_DELETE;
		return 0;
	}
	v = value(r, F_OLD_PATH);
	if (v)
		return take_json_path(c, v, "old_path", &c->old_path, NULL);
	if (!arrow)
		return bad(c, ERR_BAD_FIELD, "a rename needs old_path");
	c->op = OP_MODIFY;
	c->path_may_be_arrow = true;
	return 0;
}

static int take_number(struct change *c, struct record *r, enum field field, const char *name,
		       bool *has, int64_t *out)
{
	const struct span *v = value(r, field);

	if (!v)
		return 0;
	switch (json_whole(v, NUMBER_MAX, out)) {
	case JSON_NOT_WHOLE:
		return bad(c, ERR_BAD_FIELD, "%s is not a whole number", name);
	case JSON_WHOLE_RANGE:
		return bad(c, ERR_BAD_FIELD, "%s is out of range", name);
	default:
		*has = true;
		return 0;
	}
}

static int take_hash(struct change *c, struct record *r)
{
	const struct span *v = value(r, F_CONTENT_HASH);
	autofree char *hex = NULL;
	uint8_t sum[32];
	size_t n;

	if (!v)
		return 0;
	hex = unescaped(v, &n);
	if (n != 2 * sizeof(sum) || hex_decode(sum, hex, sizeof(sum)) < 0)
		return bad(c, ERR_BAD_FIELD, "content_hash is not a SHA-256 in 64 hex digits");
	c->content_hash = xmalloc(65);
	hex_encode(c->content_hash, sum, sizeof(sum));
	return 0;
}

static int take_base64(struct change *c, struct record *r, const struct span *v)
{
	auto_buf struct buf b = BUF_INIT;
	size_t n, at = 0;
	autofree char *s = unescaped(v, &n);

	if (base64_decode(&b, s, n, &at) < 0) {
		if (n == v->n - 2)
			r->reading = v->p + 1 + at;
		return bad(c, ERR_BAD_BASE64, "content_base64 is wrong at its byte %zu", at);
	}
	c->source = CONTENT_BYTES;
	c->text_len = b.len;
	c->text = buf_detach(&b);
	return 0;
}

static int take_content(struct change *c, struct record *r)
{
	const struct span *v = value(r, F_CONTENT);
	const char *fault;

	if (v) {
		c->source = CONTENT_TEXT;
		c->text = unescaped(v, &c->text_len);
		c->written_at = (size_t)(v->p + 1 - r->line);
		c->written_len = v->n - 2;
		return 0;
	}
	v = value(r, F_CONTENT_BASE64);
	if (v)
		return take_base64(c, r, v);
	v = value(r, F_CONTENT_REF);
	if (!v)
		return 0;
	c->source = CONTENT_REF;
	c->text = unescaped(v, &c->text_len);
	fault = change_path_fault(c->text, c->text_len);
	return fault ? bad(c, ERR_BAD_FIELD, "content_ref %s", fault) : 0;
}

static int take_content_error(struct change *c, struct record *r)
{
	const struct span *v = value(r, F_CONTENT_ERROR);

	if (!v)
		return 0;
	c->content_error = v->p[0] != 'f';
	if (json_type_of(v) == JSON_BOOL)
		return 0;
	return take_string(c, r, F_CONTENT_ERROR, "content_error", &c->error_text);
}

static int bad_vector(struct change *c, const struct json_floats_fault *f)
{
	switch (f->kind) {
	case JSON_FLOATS_COUNT:
		return bad(c, ERR_BAD_VECTOR, "vector has %zu numbers, not 1 to %d", f->n, VECTOR_MAX);
	case JSON_FLOATS_TYPE:
		return bad(c, ERR_BAD_VECTOR, "vector: element %zu is not a number", f->n);
	case JSON_FLOATS_RANGE:
		return bad(c, ERR_BAD_VECTOR, "vector: element %zu is beyond a float", f->n);
	default:
		return bad(c, ERR_BAD_VECTOR, "vector is all zero and points nowhere");
	}
}

static int take_vector(struct change *c, struct record *r)
{
	const struct span *v = value(r, F_VECTOR);
	struct json_floats_fault f;

	if (!v)
		return 0;
	c->vector = json_floats(v, VECTOR_MAX, &c->nvector, &f);
	if (c->vector)
		return 0;
	r->reading = f.where;
	return bad_vector(c, &f);
}

static bool take_bool(const struct record *r, enum field field)
{
	return r->v[field].p && r->v[field].p[0] == 't';
}

static int take_document(struct change *c, struct record *r)
{
	c->is_truncated = take_bool(r, F_IS_TRUNCATED);
	c->skip_index = take_bool(r, F_SKIP_INDEX);
	if (r->v[F_UNCOMMITTED].p)
		c->uncommitted = take_bool(r, F_UNCOMMITTED);
	if (take_paths(c, r) < 0 || take_hash(c, r) < 0 ||
	    take_number(c, r, F_SIZE, "size", &c->has_size, &c->size) < 0 ||
	    take_number(c, r, F_LINE_COUNT, "line_count", &c->has_line_count, &c->line_count) < 0 ||
	    take_string(c, r, F_MIME, "mime", &c->mime) < 0 ||
	    take_string(c, r, F_CHARSET, "charset", &c->charset) < 0 ||
	    check_string(c, r, F_SKIP_REASON, "skip_reason") < 0 ||
	    take_content_error(c, r) < 0 || take_vector(c, r) < 0)
		return -1;
	if (r->v[F_METADATA].p)
		c->metadata = compact(&r->v[F_METADATA]);
	return take_content(c, r);
}

static bool is_commit(const char *s, size_t n)
{
	size_t i;

	if (n < 1 || n > 128)
		return false;
	for (i = 0; i < n; i++) {
		if ((s[i] >= 'A' && s[i] <= 'Z') || (s[i] >= 'a' && s[i] <= 'z') || is_digit(s[i]))
			continue;
		if (i == 0 || !memchr("._/-", s[i], 4))
			return false;
	}
	return true;
}

/* *out stays NULL where the member is absent or null, and where it is "", which may_be_empty allows as
 * a value of its own. */
static int take_commit(struct change *c, const struct json_member *m, const char *name, char **out,
		       bool may_be_empty)
{
	autofree char *s = NULL;
	size_t n;

	if (!json_is_name(&m->name, name) || json_type_of(&m->value) == JSON_NULL)
		return 0;
	if (json_type_of(&m->value) != JSON_STRING)
		return bad(c, ERR_BAD_FIELD, "new_changeset.%s is not a string", name);
	s = unescaped(&m->value, &n);
	if (n == 0 && !may_be_empty)
		return 0;
	if (n > 0 && !is_commit(s, n))
		return bad_quoting(c, ERR_BAD_COMMIT,
				   "no name of a commit ([A-Za-z0-9][A-Za-z0-9._/-]{0,127})", s, n);
	*out = xmemdup0(s, n);
	return 0;
}

static int take_complete(struct change *c, const struct json_member *m)
{
	unsigned type = json_type_of(&m->value);

	if (!json_is_name(&m->name, "complete") || type == JSON_NULL)
		return 0;
	if (type != JSON_BOOL)
		return bad(c, ERR_BAD_FIELD, "new_changeset.complete is not a boolean");
	c->complete = m->value.p[0] == 't';
	return 0;
}

static int take_changeset(struct change *c, struct record *r)
{
	const struct span *o = value(r, F_NEW_CHANGESET);
	const char *p = o->p + 1, *end = o->p + o->n;
	struct json_member m;

	c->op = OP_CHANGESET;
	c->kind = CHANGE_CHANGESET;
	if (o->n > CHANGESET_MAX)
		return bad(c, ERR_BAD_FIELD, "new_changeset is longer than %d bytes", CHANGESET_MAX);
	while (json_next_member(&p, end, &m)) {
		r->reading = m.value.p;
		if (take_commit(c, &m, "commit", &c->commit, false) < 0 ||
		    take_commit(c, &m, "since", &c->since, true) < 0 || take_complete(c, &m) < 0)
			return -1;
	}
	c->changeset = compact(o);
	if (!c->commit) {
		c->kind = CHANGE_SKIP;
		c->reason = REASON_NO_COMMIT;
	}
	return 0;
}

static int bad_json(struct change *c, const struct json_fault *f)
{
	c->has_offset = true;
	c->offset = f->offset;
	return bad(c, error_by_name(f->code), "not valid JSON at byte %zu: %s", f->offset, f->what);
}

static int take_record(struct change *c, struct record *r, const struct change_options *o)
{
	if (take_repo(c, r, o) < 0)
		return -1;
	if (r->bad_type) {
		note_path(c, r);
		r->reading = r->bad_type_at;
		return bad(c, ERR_BAD_FIELD, "%s is not %s", r->bad_type->name,
			   r->bad_type->type_name);
	}
	if (r->v[F_NEW_CHANGESET].p)
		return take_changeset(c, r);
	if (take_op(c, r) < 0 || check_spelling(c, r) < 0)
		return -1;
	return take_document(c, r);
}

static int parse_record(struct change *c, const char *line, size_t n, bool cut,
			const struct change_options *o)
{
	struct record r;
	struct json_fault f;

	c->is_json = true;
	if (json_check(line, n, known, &f) < 0) {
		c->repo_known = false;
		if (cut)
			return bad_cut(c);
		return bad_json(c, &f);
	}
	memset(&r, 0, sizeof(r));
	r.line = line;
	sort_fields(c, &r, json_skip_blanks(line, line + n) + 1, line + n);
	if (take_record(c, &r, o) == 0)
		return 0;
	c->has_offset = r.reading != NULL;
	c->offset = r.reading ? (size_t)(r.reading - line) : 0;
	return -1;
}

/* --- telling the forms apart ------------------------------------------------------------------ */

static int parse_as_json(struct change *c, const char *line, size_t n, bool cut,
			 const struct change_options *o)
{
	const char *p = json_skip_blanks(line, line + n);
	int result;

	if (p < line + n && *p == '{')
		return parse_record(c, line, n, cut, o);
	c->op = OP_MODIFY;
	c->is_plain_path = true;
	if (p < line + n && *p == '"' && take_json_string(c, line, n, &result))
		return result;
	c->is_plain_path = false;
	c->op = OP_NONE;
	if (parse_mgit(c, line, n) < 0)
		return -1;
	c->repo_known = false;
	if (cut)
		return bad_cut(c);
	return bad_quoting(c, ERR_BAD_FORM, "neither a JSON object nor a JSON string", line, n);
}

static void parse_nul(struct change *c, const char *line, size_t n, bool cut, bool *needs_file,
		      const struct change_options *o)
{
	if (o->format == FORMAT_NAME_STATUS)
		parse_name_status(c, line, n, cut, true);
	else
		parse_path(c, line, n, cut, needs_file, true);
}

static void parse_auto(struct change *c, const char *line, size_t n, bool cut, bool *needs_file,
		       const struct change_options *o)
{
	const char *p = json_skip_blanks(line, line + n);

	if (*p == '{')
		parse_record(c, line, n, cut, o);
	else if (looks_name_status(line, n))
		parse_name_status(c, line, n, cut, false);
	else if (parse_mgit(c, line, n) == 0)
		parse_path(c, line, n, cut, needs_file, false);
}

bool change_is_blank(const char *line, size_t n, const struct change_options *o)
{
	return n == 0 || (!o->nul_terminated && json_skip_blanks(line, line + n) == line + n);
}

void change_parse(struct change *c, const char *line, size_t n, bool last_without_newline,
		  bool *needs_file, const struct change_options *o)
{
	bool cut = last_without_newline;

	memset(c, 0, sizeof(*c));
	*needs_file = false;
	c->kind = CHANGE_DOCUMENT;
	c->repo = join_repo(o, o->repo ? o->repo : "");
	c->repo_known = true;
	c->uncommitted = o->uncommitted;
	if (change_is_blank(line, n, o))
		skip(c);
	else if (o->nul_terminated)
		parse_nul(c, line, n, cut, needs_file, o);
	else if (o->format == FORMAT_JSON)
		parse_as_json(c, line, n, cut, o);
	else if (o->format == FORMAT_PATHS && parse_mgit(c, line, n) == 0)
		parse_path(c, line, n, cut, needs_file, false);
	else if (o->format == FORMAT_NAME_STATUS && (looks_name_status(line, n) ||
						     parse_mgit(c, line, n) == 0))
		parse_name_status(c, line, n, cut, false);
	else if (o->format == FORMAT_AUTO)
		parse_auto(c, line, n, cut, needs_file, o);
	if (!c->repo_known)
		c->repo[0] = '\0';
}
