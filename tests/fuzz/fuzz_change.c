/* Any bytes as a line, in each form: what comes out must keep what change.h promises, and a record
 * says what json-c reads in it. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "change.h"
#include "json.h"
#include "opening.h"
#include "text.h"

#define CHECK(x)                                                                                   \
	do {                                                                                       \
		if (!(x))                                                                          \
			abort();                                                                   \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_printable(const char *s)
{
	CHECK(s && utf8_check(s, strlen(s)) == strlen(s));
	for (; *s; s++)
		CHECK((unsigned char)*s >= 0x20 && *s != 0x7f);
}

static void check_path(const char *path)
{
	CHECK(path && change_path_fault(path, strlen(path)) == NULL);
}

static void check(const struct change *c, size_t n, bool needs_file, bool cut)
{
	CHECK(c->repo && (cut || !needs_file));
	CHECK(c->nunknown <= CHANGE_UNKNOWN);
	switch (c->kind) {
	case CHANGE_DOCUMENT:
		check_path(c->path);
		CHECK(c->op != OP_NONE && c->op != OP_CHANGESET && c->repo_known);
		CHECK((c->op == OP_RENAME) == (c->old_path != NULL));
		CHECK((c->source == CONTENT_FILE) == (c->text == NULL));
		CHECK(!c->text || c->text[c->text_len] == '\0');
		CHECK((c->vector != NULL) == (c->nvector > 0));
		if (c->old_path)
			check_path(c->old_path);
		break;
	case CHANGE_CHANGESET:
		CHECK(c->commit && c->changeset && c->changeset[0] == '{');
		break;
	case CHANGE_SKIP:
		CHECK(c->reason == REASON_NOT_A_CHANGE || c->reason == REASON_NO_COMMIT);
		break;
	case CHANGE_BAD:
		CHECK(c->error != ERR_NONE && c->error < ERR_COUNT);
		check_printable(c->message);
		CHECK(!c->has_offset || c->offset <= n);
		break;
	}
}

static void same_text(struct json_object *v, const char *s, size_t n)
{
	CHECK(json_object_is_type(v, json_type_string));
	CHECK((size_t)json_object_get_string_len(v) == n);
	CHECK(memcmp(json_object_get_string(v), s, n) == 0);
}

static void same_vector(struct json_object *v, const struct change *c)
{
	struct json_object *e;
	int64_t whole;
	size_t i;

	CHECK(json_object_array_length(v) == c->nvector);
	for (i = 0; i < c->nvector; i++) {
		e = json_object_array_get_idx(v, i);
		whole = json_object_get_int64(e);
		/* json-c clamps integers beyond 64 bits */
		if (!json_object_is_type(e, json_type_int) || (whole < INT64_MAX && whole > INT64_MIN))
			CHECK((float)json_object_get_double(e) == c->vector[i]);
	}
}

static void same_record(struct json_object *o, const struct change *c)
{
	struct json_object *v;

	if (json_object_object_get_ex(o, "repo", &v) && json_object_is_type(v, json_type_string))
		CHECK(strstr(c->repo, json_object_get_string(v)));
	if (c->kind == CHANGE_CHANGESET) {
		CHECK(json_object_object_get_ex(o, "new_changeset", &v));
		CHECK(json_object_object_get_ex(v, "commit", &v));
		same_text(v, c->commit, strlen(c->commit));
		return;
	}
	if (c->source == CONTENT_TEXT) {
		CHECK(json_object_object_get_ex(o, "content", &v));
		same_text(v, c->text, c->text_len);
	}
	if (c->vector) {
		CHECK(json_object_object_get_ex(o, "vector", &v));
		same_vector(v, c);
	}
	CHECK(json_object_object_get_ex(o, "path", &v));
	if (!c->path_was_quoted)
		same_text(v, c->path, strlen(c->path));
	if (c->has_size && !json_object_object_get_ex(o, "size_bytes", NULL)) {
		CHECK(json_object_object_get_ex(o, "size", &v));
		CHECK(json_object_get_int64(v) == c->size);
	}
}

static void check_record(const struct change *c, const char *line, size_t n)
{
	struct json_tokener *tok = json_tokener_new_ex(JSON_MAX_DEPTH + 2);
	char *text = malloc(n + 1);
	struct json_object *o;

	CHECK(tok && text);
	memcpy(text, line, n);
	text[n] = '\0';
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT);
	o = json_tokener_parse_ex(tok, text, (int)n + 1);
	CHECK(json_tokener_get_error(tok) == json_tokener_success);
	same_record(o, c);
	json_object_put(o);
	json_tokener_free(tok);
	free(text);
}

/* The same bytes as the beginning of an input. */
static void check_opening(const char *p, size_t n, const struct change_options *o)
{
	const char *advice = NULL;
	enum opening whole = opening_judge(p, n, true, o, &advice), part;

	CHECK(whole != OPENING_MORE && (whole != OPENING_FOREIGN || advice));
	part = opening_judge(p, n, false, o, &advice);
	CHECK(part != OPENING_IDLE && (part == OPENING_MORE || part == whole));
}

/* The first byte chooses the options. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct change_options o = { FORMAT_AUTO, false, NULL, NULL, false };
	struct change c;
	bool needs_file, cut;

	if (size == 0)
		return 0;
	o.format = (enum input_format)(data[0] & 3);
	o.nul_terminated = data[0] & 4 && o.format >= FORMAT_PATHS;
	o.repo = data[0] & 8 ? "repo" : NULL;
	o.namespace = data[0] & 16 ? "team" : NULL;
	cut = data[0] & 32;
	change_parse(&c, (const char *)data + 1, size - 1, cut, &needs_file, &o);
	check(&c, size - 1, needs_file, cut);
	if (c.is_json && (c.kind == CHANGE_DOCUMENT || c.kind == CHANGE_CHANGESET))
		check_record(&c, (const char *)data + 1, size - 1);
	change_carries_all(&c);
	change_release(&c);
	check_opening((const char *)data + 1, size - 1, &o);
	return 0;
}
