/* codes: the closed lists of words that results use, as linesync-records(5) documents them. */
#ifndef LINESYNC_CODES_H
#define LINESYNC_CODES_H

#include <stdbool.h>

enum status {			/* stored in 3 bits: at most 8, never renumbered */
	STATUS_NONE,		/* read, not decided */
	STATUS_COMPLETED,
	STATUS_SKIPPED,
	STATUS_FAILED,
	STATUS_SUPERSEDED,
	STATUS_HELD,
};

enum reason {			/* why skipped; stored in 4 bits: at most 16, never renumbered */
	REASON_NONE,
	REASON_UNCHANGED,	/* "unchanged": the store is known to hold it, or to hold nothing of it */
	REASON_EMPTY,		/* "empty" */
	REASON_NOT_TEXT,	/* "not-text" */
	REASON_EXCLUDED,	/* "excluded" */
	REASON_TOO_LARGE,	/* "too-large" */
	REASON_SYMLINK,		/* "symlink" */
	REASON_SUBMODULE,	/* "submodule" */
	REASON_SKIP_INDEX,	/* "skip-index" */
	REASON_NO_CONTENT,	/* "no-content" */
	REASON_NOT_A_CHANGE,	/* "not-a-change" */
	REASON_NO_COMMIT,	/* "no-commit" */
	REASON_ACCEPTED,	/* "accepted": by linesync skip */
	REASON_UNMERGED,	/* "unmerged": git's U, a file in an open merge */
	REASON_COUNT
};

enum error_code {		/* why failed; stored as a number: append only */
	ERR_NONE,
	ERR_LINE_TOO_LONG,	/* line-too-long */
	ERR_CUT_LINE,		/* cut-line */
	ERR_BAD_JSON,		/* bad-json: also too-deep, NaN, trailing text */
	ERR_BAD_UTF8,		/* bad-utf8 */
	ERR_BAD_ESCAPE,		/* bad-escape */
	ERR_CONTROL_CHARACTER,	/* control-character */
	ERR_NUL_IN_NAME,	/* nul-in-name */
	ERR_DUPLICATE_FIELD,	/* duplicate-field */
	ERR_TOO_DEEP,		/* too-deep */
	ERR_BAD_NUMBER,		/* bad-number */
	ERR_BAD_FIELD,		/* bad-field: wrong type or value of a named field */
	ERR_BAD_OP,		/* bad-op */
	ERR_NO_PATH,		/* no-path */
	ERR_BAD_PATH,		/* bad-path: not UTF-8, NUL, too long, empty part, "." or ".." */
	ERR_BAD_BASE64,		/* bad-base64 */
	ERR_BAD_VECTOR,		/* bad-vector */
	ERR_BAD_COMMIT,		/* bad-commit */
	ERR_BAD_FORM,		/* bad-form: not the form that --input-format fixes */
	ERR_PRODUCER,		/* producer-error */
	ERR_CONTENT,		/* content-error: the producer could not read the file; retryable */
	ERR_NO_SUCH_FILE,	/* no-such-file; retryable */
	ERR_IS_A_DIRECTORY,	/* is-a-directory: git has to list its files */
	ERR_OUTSIDE_ROOT,	/* outside-root */
	ERR_UNREADABLE,		/* unreadable: errno in the message; retryable */
	ERR_STORE_REJECTED,	/* store-rejected; retryable */
	ERR_STORE_FAILED,	/* store-failed: transient to the end, with a witness; retryable */
	ERR_EMBED_REJECTED,	/* embed-rejected: by the embedding server; retryable */
	ERR_EMBED_FAILED,	/* embed-failed: the same to the end, with a witness; retryable */
	ERR_MISSPELT_FIELD,	/* misspelt-field: stops the run, so it is in no state */
	ERR_COUNT
};

const char *status_name(enum status s);
const char *reason_name(enum reason r);		/* "unchanged" ... */
const char *error_name(enum error_code e);	/* "line-too-long" ... */
bool is_unchanged(enum status s, enum reason r);	/* the state said that there was nothing to do */
bool error_retryable(enum error_code e);
enum error_code error_by_name(const char *name);	/* ERR_BAD_JSON where the name is unknown */

#endif
