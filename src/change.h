/* change: one line of input, in any of its three forms, to what it asks for.  Pure: it opens no
 * file and knows no state.  spec.md section 2. */
#ifndef LINESYNC_CHANGE_H
#define LINESYNC_CHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codes.h"
#include "json_span.h"

enum input_format { FORMAT_AUTO, FORMAT_JSON, FORMAT_PATHS, FORMAT_NAME_STATUS };

enum change_op { OP_NONE, OP_ADD, OP_MODIFY, OP_DELETE, OP_RENAME, OP_CHANGESET };
const char *op_name(enum change_op op);		/* "add" ...; OP_NONE: NULL */

enum change_kind {
	CHANGE_DOCUMENT,	/* op, repo, path (old_path) are valid */
	CHANGE_CHANGESET,	/* repo, commit ... are valid */
	CHANGE_SKIP,		/* reason is REASON_NOT_A_CHANGE (blank lines too), REASON_NO_COMMIT or
				 * REASON_UNMERGED (with its path) */
	CHANGE_BAD		/* error, message, offset; repo, path as far as known */
};

enum content_source {
	CONTENT_FILE,		/* none of the three fields: the document's own file */
	CONTENT_TEXT,		/* content */
	CONTENT_BYTES,		/* content_base64, decoded */
	CONTENT_REF		/* content_ref: text holds the path as given */
};

#define CHANGE_UNKNOWN 8	/* names of fields that are told of one line */

struct change {
	enum change_kind kind;
	enum reason reason;	/* CHANGE_SKIP */
	enum change_op op;
	bool is_json;		/* an object; false for paths and name-status */
	bool is_plain_path;	/* a path alone on its line: whether it was deleted is not said */
	bool repo_known;	/* false only for CHANGE_BAD whose repository could not be read */
	char *repo;		/* owned; "" if none or not known; NAMESPACE/REPO already joined */
	char *path;		/* owned; as given, unquoted; NULL if none (content.c makes it relative) */
	char *old_path;		/* owned; for OP_RENAME */
	bool path_was_quoted;	/* path came C-quoted: " -> " in it is no arrow any more */
	bool path_may_be_arrow;	/* JSON without content, unquoted " -> " inside: content.c decides */

	enum content_source source;
	bool content_null;	/* content was there and null */
	char *text;		/* owned; content, decoded bytes, or the reference; NUL-terminated */
	size_t text_len;
	size_t written_at, written_len;	/* CONTENT_TEXT: where content stands in the line, between its quotes */
	char *content_hash;	/* owned; 64 lower-case hex digits, or NULL */
	bool has_size, has_line_count, is_truncated, skip_index, content_error, uncommitted;
	int64_t size, line_count;
	char *mime, *charset;	/* owned or NULL */
	char *error_text;	/* owned; the text of content_error, or NULL */
	float *vector;		/* owned; nvector finite numbers, or NULL */
	size_t nvector;
	char *metadata;		/* owned; one JSON object as compact text, or NULL */

	char *commit, *since;	/* owned; CHANGE_CHANGESET; since NULL: not said, "": from nothing */
	bool complete;
	char *changeset;	/* owned; new_changeset whole, as compact JSON text */

	struct span unknown[CHANGE_UNKNOWN];	/* names of fields that no change has, each once, as they
						 * stand in the line; the first ones */
	size_t nunknown;

	enum error_code error;	/* CHANGE_BAD */
	char *message;		/* owned; for a person, printable, names the field */
	bool has_offset;
	size_t offset;		/* byte in the line, from 0 */
};

struct change_options {
	enum input_format format;
	bool nul_terminated;	/* -z: no C-quoting, a record's fields are separated by NUL (input.h);
				 * FORMAT_PATHS or FORMAT_NAME_STATUS only */
	const char *repo;	/* --repo or NULL */
	const char *namespace;	/* --namespace or NULL */
	bool uncommitted;	/* --uncommitted: of changes that do not say themselves */
};

/* Reads n bytes of one line (without its newline; a CR before it is removed by input.c) into *c.
 * last_without_newline: the input ended here without a newline: complete JSON is accepted, for a
 * path *needs_file is set (it is accepted only if its file exists, else cut-line), anything else is
 * CHANGE_BAD cut-line.  Never fails: what cannot be read is CHANGE_BAD.  The caller frees with
 * change_release(). */
void change_parse(struct change *c, const char *line, size_t n, bool last_without_newline,
		  bool *needs_file, const struct change_options *o);
bool change_is_message(const struct change *c);	/* of the producer's: it asks for nothing */
bool change_is_misspelt(const struct change *c);	/* it asks for what is not meant: nothing is taken from here on */
/* A line of more than max bytes, of which none is there. */
void change_too_long(struct change *c, uint64_t max);
void change_release(struct change *c);

/* True if n bytes of a line are no change and no message either, and have no result.  With -z only
 * 0 bytes are: a file can be called " ". */
bool change_is_blank(const char *line, size_t n, const struct change_options *o);

#define CHANGE_PATH_MAX 4096	/* bytes in a path */

/* What is wrong with n bytes as a path ("is not UTF-8"), for the end of a message; NULL if they
 * could be one: 1..CHANGE_PATH_MAX bytes of UTF-8 without NUL.  Static. */
const char *change_path_fault(const char *p, size_t n);

/* True if a line that carries everything itself need not be done again when it was finished:
 * content, content_base64, delete, changeset, skip_index, or a line that is bad or skipped
 * by itself (spec section 6, Resume). */
bool change_carries_all(const struct change *c);

#endif
