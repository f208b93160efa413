/* linesync status --failed, --held, --repos. */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <inttypes.h>
#include <stdlib.h>

#include "changeset.h"
#include "cleanup.h"
#include "clock.h"
#include "commands.h"
#include "json.h"
#include "show.h"

#include "cmd_status_p.h"

static const char *repo_name(const char *repo)
{
	return repo[0] != '\0' ? repo : "''";
}

/* ---- failed lines ---- */

/* The next object of an array. */
static void json_begin(struct buf *json, uint64_t before)
{
	buf_adds(json, before > 0 ? ",{" : "{");
}

/* Two lines each, since messages are long: where and what, then why. */
static void show_failure(const struct failure *f, const char *run)
{
	char last[21];

	clock_format(f->last_s, last);
	printf("%s:%" PRIu64 "  ", run, f->number);
	show_text(stdout, repo_name(f->repo));
	fputs("  ", stdout);
	show_text(stdout, f->path[0] != '\0' ? f->path : "(no document)");
	if (op_name((enum change_op)f->op) != NULL)
		printf("  (%s)", op_name((enum change_op)f->op));
	printf("\n    %s", error_name((enum error_code)f->code));
	if (f->http != 0)
		printf(", HTTP %u", (unsigned)f->http);
	printf(", tried again in %" PRIu32 " run%s, last %s: ", f->retries, f->retries == 1 ? "" : "s", last);
	show_text(stdout, f->message);
	putchar('\n');
}

void status_list_failed(struct look *l, struct buf *json)
{
	struct failure_walk at = { 0 };
	struct failure f = { 0 };
	struct run_names names = { 0 };
	uint64_t n = 0;

	if (json != NULL)
		buf_addc(json, '[');
	for (; state_failure_next(l->s, &at, &f); n++) {
		const char *run = run_names_get(&names, l->s, f.line.run);

		if (json == NULL) {
			show_failure(&f, run);
			continue;
		}
		json_begin(json, n);
		show_json_failure(json, &(bool){ true }, &f, run);
		buf_addc(json, '}');
		show_json_flush(json);
	}
	if (json != NULL)
		buf_addc(json, ']');
	else if (n == 0 && state_failed(l->s) == 0)
		fputs("no failed lines\n", stdout);
	failure_walk_release(&at);
	run_names_release(&names);
}

/* ---- repositories ---- */

static void table_repo(struct table *t, const char *name, const struct repo_state *r)
{
	char since[21];

	clock_format(r->position_s, since);
	table_add(t, repo_name(name));
	table_add(t, r->commit[0] != '\0' ? r->commit : "-");
	table_add(t, r->commit[0] == '\0' ? "-" : r->whole ? "whole" : "as told");
	table_add(t, r->commit[0] != '\0' ? since : "-");
	if (r->held_commit[0] != '\0')
		table_addf(t, "%s (%s)", r->held_commit, held_name((enum held_why)r->held_why));
	else
		table_add(t, "-");
	table_addf(t, "%" PRIu64, r->present);
	table_addf(t, "%" PRIu64, r->failed);
	table_addf(t, "%" PRIu64, r->doubts);
}

void status_list_repos(struct look *l, struct buf *json)
{
	static const char *const heads[] = { "REPOSITORY", "POSITION", "IT IS", "SINCE", "HELD", "DOCUMENTS",
					     "FAILED", "IN DOUBT" };
	struct table t = { .columns = 8, .right = "lllllrrr" };
	struct walk at = { 0 };
	uint64_t n = 0;

	if (json != NULL)
		buf_addc(json, '[');
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
		table_add(&t, heads[i]);
	for (; state_walk_repos(l->s, &at); n++) {
		struct repo_state r;

		if (repo_decode(&r, (const uint8_t *)at.value.data, at.value.len) != 0)
			continue;
		if (json == NULL) {
			table_repo(&t, at.repo, &r);
		} else {
			json_begin(json, n);
			show_json_repo(json, &(bool){ true }, at.repo, &r);
			buf_addc(json, '}');
			show_json_flush(json);
		}
		repo_release(&r);
	}
	if (json != NULL)
		buf_addc(json, ']');
	else
		table_print(stdout, &t, "");
	walk_release(&at);
	table_release(&t);
}

/* ---- held changesets ---- */

/* A changeset that waits. */
struct held {
	struct look *l;
	const char *repo;
	const struct repo_state *rs;
	struct run_names names;
	struct buf *json;
	uint64_t shown;
};

/* One thing that holds it: what (a line, a document, the record), why, what a person can do, and the
 * command for that. */
static void holder(struct held *h, const char *what, const char *path, const char *why,
		   const char *advice, const char *frees)
{
	if (state_failed(h->l->s) != 0)
		return;		/* why is not known */
	if (h->json != NULL) {
		bool first = true;

		json_begin(h->json, h->shown);
		json_member_cstr(h->json, &first, "by", what);
		show_json_given(h->json, &first, "path", path);
		json_member_cstr(h->json, &first, "reason", why);
		json_member_cstr(h->json, &first, "advice", advice);
		show_json_given(h->json, &first, "command", frees);
		buf_addc(h->json, '}');
		show_json_flush(h->json);
	} else {
		fputs("  ", stdout);
		show_text(stdout, what);
		if (path != NULL && path[0] != '\0') {
			fputs("  ", stdout);
			show_text(stdout, path);
		}
		fputs(": ", stdout);
		show_text(stdout, why);
		printf("; %s%s\n", advice, frees != NULL ? ":" : "");
		if (frees != NULL) {
			fputs("      ", stdout);
			show_text(stdout, frees);
			putchar('\n');
		}
	}
	h->shown++;
}

static void held_by_failure(struct held *h, const struct failure *f)
{
	auto_buf struct buf what = BUF_INIT, why = BUF_INIT, frees = BUF_INIT;
	bool again = error_retryable((enum error_code)f->code) && f->path[0] != '\0' && f->payload > 0;

	buf_addf(&what, "%s:%" PRIu64, run_names_get(&h->names, h->l->s, f->line.run), f->number);
	buf_addf(&why, "failed, %s", error_name((enum error_code)f->code));
	command_line(&frees, h->l->o, "skip", h->l->s);
	buf_addf(&frees, " %s", what.data);
	holder(h, what.data, f->path, why.data, again ? "the next sync tries it again, or accept it" :
	       "feed it again mended, or accept it", frees.data);
}

static void held_by_doubt(struct held *h, const char *path)
{
	auto_buf struct buf frees = BUF_INIT;

	command_line(&frees, h->l->o, "skip", h->l->s);
	buf_adds(&frees, " --repo ");
	show_word(&frees, h->repo);
	buf_adds(&frees, " --path ");
	show_word(&frees, path);
	holder(h, "a document", path, "in doubt, the store may hold another version of it",
	       "feed it again, or accept what is there", frees.data);
}

static void held_by_open(struct held *h, const char *path, const char *why)
{
	auto_buf struct buf frees = BUF_INIT;

	command_line(&frees, h->l->o, "changeset", h->l->s);
	buf_adds(&frees, " --touched ");
	show_word(&frees, h->repo);
	holder(h, "a document", path, why, "list it again before the next record, with all that this prints",
	       frees.data);
}

static void held_by_one(struct held *h, const struct holder *by)
{
	switch (by->why) {
	case HOLDER_FAILED:
	case HOLDER_UNKNOWN:
		held_by_failure(h, by->failure);
		break;
	case HOLDER_DOUBT:
		held_by_doubt(h, by->path);
		break;
	case HOLDER_UNCOMMITTED:
		held_by_open(h, by->path, "stored with text that is in no commit yet, or newer than its listing");
		break;
	case HOLDER_RETRIED:
		held_by_open(h, by->path, "stored by a retry after the position");
		break;
	case HOLDER_LEFT_OUT:
		held_by_open(h, by->path, "left out by --exclude, not named by it any more, and not listed since");
		break;
	case HOLDER_OPEN:
		held_by_open(h, by->path, "changed by lines that no record has closed");
		break;
	}
}

static void held_for_lines(struct held *h)
{
	struct record r = { .repo = h->repo, .at = h->rs->held };
	struct holders all;
	struct holder by;

	for (changeset_holders(&all, h->l->s, &r); changeset_holder_next(&all, &by);)
		held_by_one(h, &by);
	changeset_holders_release(&all);
}

static void held_not_from_here(struct held *h)
{
	const char *since = h->rs->held_since, *position = h->rs->commit;
	auto_buf struct buf why = BUF_INIT, frees = BUF_INIT;

	if (since[0] == '\0')
		buf_adds(&why, "its since is empty, which is from nothing, and it does not say that its listing is "
			 "complete: what did not change was never seen");
	else if (position[0] == '\0')
		buf_addf(&why, "it continues from '%s', and there is no position yet", since);
	else
		buf_addf(&why, "it continues from '%s', not from the position '%s': lines between them were never "
			 "seen", since, position);
	if (position[0] == '\0') {
		holder(h, "the record", NULL, why.data, "list all documents, and say \"complete\":true in the record",
		       NULL);
		return;
	}
	command_line(&frees, h->l->o, "changeset", h->l->s);
	buf_addc(&frees, ' ');
	show_word(&frees, h->repo);
	holder(h, "the record", NULL, why.data, "feed all changes since the position", frees.data);
}

static void held_by_itself(struct held *h)
{
	auto_buf struct buf why = BUF_INIT, frees = BUF_INIT;

	if (h->rs->held_why == HELD_INCOMPLETE) {
		holder(h, "the record", NULL, "a line of its complete listing failed, or it began with lines of an "
		       "interrupted run that went on in another way: nothing was deleted",
		       "feed a complete listing again", NULL);
		return;
	}
	if (h->rs->held_why == HELD_TOO_MANY_DELETES) {
		buf_addf(&why, "it would delete %" PRIu32 " documents, more than --max-delete allows",
			 h->rs->held_waiting);
		buf_addf(&frees, "feed the same input again with --max-delete %" PRIu32,
			 h->rs->held_waiting);
		holder(h, "the record", NULL, why.data, frees.data, NULL);
		return;
	}
	held_not_from_here(h);
}

static void begin_held(struct held *h)
{
	const char *run = run_names_get(&h->names, h->l->s, h->rs->held.run);
	bool first = true;

	if (h->json == NULL) {
		show_text(stdout, repo_name(h->repo));
		fputs(": changeset ", stdout);
		show_text(stdout, h->rs->held_commit);
		printf(" (%s:%" PRIu64 ") is held: %s\n", run, h->rs->held_number,
		       held_name((enum held_why)h->rs->held_why));
		return;
	}
	buf_addc(h->json, '{');
	json_member_cstr(h->json, &first, "repo", h->repo);
	json_member_cstr(h->json, &first, "commit", h->rs->held_commit);
	json_member_cstr(h->json, &first, "run", run);
	json_member_int(h->json, &first, "line", (int64_t)h->rs->held_number);
	json_member_cstr(h->json, &first, "why", held_name((enum held_why)h->rs->held_why));
	json_member_int(h->json, &first, "waiting", h->rs->held_waiting);
	json_name(h->json, &first, "holders");
	buf_addc(h->json, '[');
}

static void list_held(struct look *l, const char *repo, const struct repo_state *rs, struct buf *json)
{
	struct held h = { .l = l, .repo = repo, .rs = rs, .json = json };

	begin_held(&h);
	if (rs->held_why == HELD_LINES)
		held_for_lines(&h);
	else
		held_by_itself(&h);
	if (json != NULL)
		buf_adds(json, "]}");
	else if (h.shown == 0 && state_failed(l->s) == 0)	/* what later lines left open, the next sync finds */
		fputs("  nothing that is in the way by itself: feed what 'linesync changeset --touched' names, with a\n"
		      "  record behind it, as one input\n", stdout);
	run_names_release(&h.names);
}

void status_list_held(struct look *l, struct buf *json)
{
	struct walk at = { 0 };
	uint64_t n = 0;

	if (json != NULL)
		buf_addc(json, '[');
	while (state_walk_repos(l->s, &at)) {
		struct repo_state r;

		if (repo_decode(&r, (const uint8_t *)at.value.data, at.value.len) != 0)
			continue;
		if (r.held_commit[0] != '\0') {
			if (n++ > 0 && json != NULL)
				buf_addc(json, ',');
			list_held(l, at.repo, &r, json);
		}
		repo_release(&r);
	}
	if (json != NULL)
		buf_addc(json, ']');
	else if (n == 0 && state_failed(l->s) == 0)
		fputs("no changeset is held\n", stdout);
	walk_release(&at);
}
