/* Any bytes as a line, in each form: what comes out must keep what change.h promises. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "change.h"
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

static void check(const struct change *c, bool needs_file, bool cut)
{
	CHECK(c->repo && (cut || !needs_file));
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
		break;
	}
}

/* The first byte chooses the options. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct change_options o = { FORMAT_AUTO, false, NULL, NULL };
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
	check(&c, needs_file, cut);
	change_carries_all(&c);
	change_release(&c);
	return 0;
}
