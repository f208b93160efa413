#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stddef.h>
#include <string.h>

#include "codes.h"

static const char *const status_names[] = {
	[STATUS_COMPLETED] = "completed",
	[STATUS_SKIPPED] = "skipped",
	[STATUS_FAILED] = "failed",
	[STATUS_SUPERSEDED] = "superseded",
	[STATUS_HELD] = "held",
};

static const char *const reason_names[REASON_COUNT] = {
	[REASON_UNCHANGED] = "unchanged",
	[REASON_EMPTY] = "empty",
	[REASON_NOT_TEXT] = "not-text",
	[REASON_EXCLUDED] = "excluded",
	[REASON_TOO_LARGE] = "too-large",
	[REASON_SYMLINK] = "symlink",
	[REASON_SUBMODULE] = "submodule",
	[REASON_SKIP_INDEX] = "skip-index",
	[REASON_NO_CONTENT] = "no-content",
	[REASON_NOT_A_CHANGE] = "not-a-change",
	[REASON_NO_COMMIT] = "no-commit",
	[REASON_ACCEPTED] = "accepted",
	[REASON_UNMERGED] = "unmerged",
};

static const struct {
	const char *name;
	bool retryable;
} errors[ERR_COUNT] = {
	[ERR_LINE_TOO_LONG] = { "line-too-long", false },
	[ERR_CUT_LINE] = { "cut-line", false },
	[ERR_BAD_JSON] = { "bad-json", false },
	[ERR_BAD_UTF8] = { "bad-utf8", false },
	[ERR_BAD_ESCAPE] = { "bad-escape", false },
	[ERR_CONTROL_CHARACTER] = { "control-character", false },
	[ERR_NUL_IN_NAME] = { "nul-in-name", false },
	[ERR_DUPLICATE_FIELD] = { "duplicate-field", false },
	[ERR_TOO_DEEP] = { "too-deep", false },
	[ERR_BAD_NUMBER] = { "bad-number", false },
	[ERR_BAD_FIELD] = { "bad-field", false },
	[ERR_BAD_OP] = { "bad-op", false },
	[ERR_NO_PATH] = { "no-path", false },
	[ERR_BAD_PATH] = { "bad-path", false },
	[ERR_BAD_BASE64] = { "bad-base64", false },
	[ERR_BAD_VECTOR] = { "bad-vector", false },
	[ERR_BAD_COMMIT] = { "bad-commit", false },
	[ERR_BAD_FORM] = { "bad-form", false },
	[ERR_PRODUCER] = { "producer-error", false },
	[ERR_CONTENT] = { "content-error", true },
	[ERR_NO_SUCH_FILE] = { "no-such-file", true },
	[ERR_IS_A_DIRECTORY] = { "is-a-directory", false },
	[ERR_OUTSIDE_ROOT] = { "outside-root", false },
	[ERR_UNREADABLE] = { "unreadable", true },
	[ERR_STORE_REJECTED] = { "store-rejected", true },
	[ERR_STORE_FAILED] = { "store-failed", true },
	[ERR_EMBED_REJECTED] = { "embed-rejected", true },
	[ERR_EMBED_FAILED] = { "embed-failed", true },
	[ERR_MISSPELT_FIELD] = { "misspelt-field", false },
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

const char *status_name(enum status s)
{
	return (size_t)s < COUNT(status_names) ? status_names[s] : NULL;
}

const char *reason_name(enum reason r)
{
	return (size_t)r < COUNT(reason_names) ? reason_names[r] : NULL;
}

const char *error_name(enum error_code e)
{
	return (size_t)e < COUNT(errors) ? errors[e].name : NULL;
}

bool is_unchanged(enum status s, enum reason r)
{
	return s == STATUS_SKIPPED && r == REASON_UNCHANGED;
}

bool error_retryable(enum error_code e)
{
	return (size_t)e < COUNT(errors) && errors[e].retryable;
}

enum error_code error_by_name(const char *name)
{
	size_t i;

	for (i = ERR_NONE + 1; name != NULL && i < COUNT(errors); i++)
		if (strcmp(errors[i].name, name) == 0)
			return (enum error_code)i;
	return ERR_BAD_JSON;
}
