/* results: one JSON object a line on standard output, as linesync-records(5) describes it.
 * A result is written into a buffer of its own while its commit is outstanding, and printed after. */
#ifndef LINESYNC_RESULTS_H
#define LINESYNC_RESULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "change.h"
#include "codes.h"

struct result {
	const char *run;		/* id */
	uint64_t line;			/* physical line */
	const char *repo, *path, *old_path;	/* NULL or "" where not known */
	enum change_op op;		/* OP_NONE: left out */
	enum status status;
	enum reason reason;		/* STATUS_SKIPPED */
	const char *planned;		/* --dry-run: "upsert", "delete", "skip"; then status is not printed */
	const char *id;			/* first object's id, NULL: none */
	uint32_t objects;		/* stored or deleted; left out when 0 */
	bool sent;			/* retries and ms are given */
	uint32_t retries;
	int64_t ms;
	enum error_code error;		/* STATUS_FAILED */
	long http;
	bool retryable;
	const char *message;
	bool has_offset;
	size_t offset;
	const char *changeset;		/* changeset record: its commit, NULL else */
	const char *held_why;		/* STATUS_HELD: "lines", ... */
	uint64_t waiting;
	bool resumed, retried;
	bool counted;			/* an earlier part of the run has counted it, and so it stays; not printed */
};

/* Appends r as one line with its newline.  Fields, in this order, those that apply: run, line, repo,
 * path, old_path, op, status, reason, action, id, objects, retries, ms, error{code, http, retryable,
 * offset, message}, changeset{commit}, why, waiting, resumed, retried. */
void result_write(struct buf *out, const struct result *r);

#endif
