#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <string.h>

#include "json.h"

#include "results.h"

static void add_text(struct buf *out, bool *first, const char *name, const char *s)
{
	if (s != NULL && s[0] != '\0')
		json_member_cstr(out, first, name, s);
}

static void add_error(struct buf *out, bool *first, const struct result *r)
{
	bool inner = true;

	json_name(out, first, "error");
	buf_addc(out, '{');
	json_member_cstr(out, &inner, "code", error_name(r->error));
	if (r->http != 0)
		json_member_int(out, &inner, "http", r->http);
	json_member_bool(out, &inner, "retryable", r->retryable);
	if (r->has_offset)
		json_member_int(out, &inner, "offset", (int64_t)r->offset);
	json_member_cstr(out, &inner, "message", r->message != NULL ? r->message : "");
	buf_addc(out, '}');
}

static void add_what(struct buf *out, bool *first, const struct result *r)
{
	json_member_cstr(out, first, "run", r->run);
	json_member_int(out, first, "line", (int64_t)r->line);
	add_text(out, first, "repo", r->repo);
	add_text(out, first, "path", r->path);
	add_text(out, first, "old_path", r->old_path);
	add_text(out, first, "op", op_name(r->op));
}

static void add_status(struct buf *out, bool *first, const struct result *r)
{
	if (r->planned != NULL)
		json_member_cstr(out, first, "status", "planned");
	else
		json_member_cstr(out, first, "status", status_name(r->status));
	if (r->reason != REASON_NONE && (r->planned != NULL || r->status == STATUS_SKIPPED))
		json_member_cstr(out, first, "reason", reason_name(r->reason));
	add_text(out, first, "action", r->planned);
}

static void add_work(struct buf *out, bool *first, const struct result *r)
{
	add_text(out, first, "id", r->id);
	if (r->objects > 0)
		json_member_int(out, first, "objects", r->objects);
	if (r->sent) {
		json_member_int(out, first, "retries", r->retries);
		json_member_int(out, first, "ms", r->ms);
	}
}

static void add_changeset(struct buf *out, bool *first, const struct result *r)
{
	bool inner = true;

	json_name(out, first, "changeset");
	buf_addc(out, '{');
	json_member_cstr(out, &inner, "commit", r->changeset);
	buf_addc(out, '}');
}

static void write_plain(struct buf *out, const struct result *r)
{
	bool first = true;

	buf_addc(out, '{');
	add_what(out, &first, r);
	add_status(out, &first, r);
	add_work(out, &first, r);
	if (r->planned == NULL && r->status == STATUS_FAILED)
		add_error(out, &first, r);
	if (r->changeset != NULL)
		add_changeset(out, &first, r);
	if (r->planned == NULL && r->status == STATUS_HELD) {
		add_text(out, &first, "why", r->held_why);
		json_member_int(out, &first, "waiting", (int64_t)r->waiting);
	}
	if (r->resumed)
		json_member_bool(out, &first, "resumed", true);
	if (r->retried)
		json_member_bool(out, &first, "retried", true);
	buf_adds(out, "}\n");
}

void result_write(struct buf *out, const struct result *r)
{
	auto_buf struct buf line = BUF_INIT;

	write_plain(&line, r);
	json_printed(out, line.data);
}
