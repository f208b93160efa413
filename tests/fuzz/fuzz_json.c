/* What json_check() accepts, json-c must parse whole; what json_str() writes, both must read. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "codes.h"
#include "json.h"
#include "text.h"

static const char *const known[] = { "path", "repo", "a", "new_changeset", NULL };

/* Aborts unless json-c, strict, takes all n bytes (a NUL stands after them). */
static struct json_object *parse(const char *text, size_t n)
{
	struct json_tokener *tok = json_tokener_new_ex(JSON_MAX_DEPTH + 1);
	struct json_object *o;

	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	o = json_tokener_parse_ex(tok, text, (int)n + 1);
	if (json_tokener_get_error(tok) != json_tokener_success)
		abort();
	json_tokener_free(tok);
	return o;
}

static void check_fault(const struct json_fault *f, const char *text, size_t n)
{
	enum error_code code = error_by_name(f->code);

	if (f->offset > n || f->what[0] == '\0' || strcmp(error_name(code), f->code) != 0)
		abort();
	if (code == ERR_BAD_UTF8 && f->offset != utf8_check(text, n))
		abort();
	if (code == ERR_CONTROL_CHARACTER && (unsigned char)text[f->offset] >= 0x20)
		abort();
	if ((code == ERR_BAD_ESCAPE || code == ERR_NUL_IN_NAME) && text[f->offset] != '\\')
		abort();
	if (code == ERR_DUPLICATE_FIELD && text[f->offset] != '"')
		abort();
	if (code == ERR_TOO_DEEP && text[f->offset] != '[' && text[f->offset] != '{')
		abort();
}

static void check_text(const char *text, size_t n)
{
	struct json_fault f, g;
	int plain = json_check(text, n, NULL, &f);
	int strict = json_check(text, n, known, &g);

	if (plain < 0)
		check_fault(&f, text, n);
	if (strict < 0)
		check_fault(&g, text, n);
	if (strict == 0 && plain < 0)
		abort();
	if (strict < 0 && plain == 0 && strcmp(g.code, "duplicate-field") != 0)
		abort();
	if (plain == 0)
		json_object_put(parse(text, n));
}

static void check_writer(const char *text, size_t n)
{
	auto_buf struct buf b = BUF_INIT;
	struct json_object *o;
	struct json_fault f;

	json_str(&b, text, n);
	if (json_check(b.data, b.len, NULL, &f) < 0)
		abort();
	o = parse(b.data, b.len);
	if (utf8_check(text, n) == n &&
	    ((size_t)json_object_get_string_len(o) != n ||
	     memcmp(json_object_get_string(o), text, n) != 0))
		abort();
	json_object_put(o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char *text = malloc(n + 1);

	if (text == NULL)
		return 0;
	if (n > 0)
		memcpy(text, data, n);
	text[n] = '\0';
	check_text(text, n);
	check_writer(text, n);
	free(text);
	return 0;
}
