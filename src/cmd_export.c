/* linesync export: the state as JSON lines, failed lines as they came, what the store holds.  One
 * record is in memory at a time, and no lock is held while it is printed. */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alloc.h"
#include "cleanup.h"
#include "commands.h"
#include "json.h"
#include "log.h"
#include "show.h"
#include "show_state.h"
#include "text.h"

struct export {
	struct state *s;
	const char *repo;	/* only of this one; NULL: all */
	struct run_names names;
	struct buf json;	/* the record at hand */
	size_t at;		/* where it begins */
	bool first;		/* it has no member yet */
	int status;		/* that it ends with */
};

/* ---- records ---- */

static void begin(struct export *e, const char *type)
{
	e->at = e->json.len;
	buf_addc(&e->json, '{');
	e->first = true;
	json_member_cstr(&e->json, &e->first, "type", type);
}

/* One with a part that could not be read is none. */
static void end(struct export *e)
{
	if (state_failed(e->s) != 0) {
		buf_cut(&e->json, e->at);
		return;
	}
	buf_adds(&e->json, "}\n");
	show_json_flush(&e->json);
}

static bool can_go_on(void)
{
	return !ferror(stdout);
}

static void place(struct export *e, struct place_in_run at)
{
	if (at.run == 0)
		return;
	json_member_cstr(&e->json, &e->first, "run", run_names_get(&e->names, e->s, at.run));
	json_member_int(&e->json, &e->first, "ordinal", at.ord);
}

static void digest(struct export *e, const uint8_t *bytes)
{
	char hex[2 * SYNC_DIGEST_SIZE + 1];

	hex_encode(hex, bytes, SYNC_DIGEST_SIZE);
	json_member_cstr(&e->json, &e->first, "digest", hex);
}

static void flag(struct export *e, const char *name, bool set)
{
	if (set)
		json_member_bool(&e->json, &e->first, name, true);
}

static void state_record(struct export *e)
{
	const struct identity *id = state_identity(e->s);
	const struct head *h = state_head(e->s);

	begin(e, "state");
	json_member_int(&e->json, &e->first, "layout", id->layout);
	json_member_cstr(&e->json, &e->first, "store", id->store);
	json_member_cstr(&e->json, &e->first, "collection", id->collection);
	show_json_given(&e->json, &e->first, "collection_id", h->collection_id);
	json_member_bool(&e->json, &e->first, "collection_read", h->collection_read);
	show_json_given(&e->json, &e->first, "embedder", h->embedder);
	json_member_int(&e->json, &e->first, "dimension", h->dimension);
	json_member_int(&e->json, &e->first, "documents", (int64_t)h->present);
	json_member_int(&e->json, &e->first, "runs", (int64_t)h->next_run - 1);
	json_member_int(&e->json, &e->first, "dropped_runs", (int64_t)h->old_runs);
	end(e);
}

/* Whether a process works on it; if one did, it may have ended the run just now.  Where the lock does not
 * tell, that is logged, and the export is not all that it should be. */
static bool is_running(struct export *e, struct run_state *r)
{
	autofree char *holder = NULL;
	struct run_state now;

	if (r->status != RUN_RUNNING)
		return false;
	if (state_locked(state_path(e->s), &holder) < 0)
		e->status = 74;
	if (show_works_on(holder, r))
		return true;
	state_refresh(e->s);
	if (state_run_get(e->s, r->number, &now) == 0) {
		run_release(r);
		*r = now;
	}
	return false;
}

static void run_records(struct export *e)
{
	struct run_state r = { 0 };

	while (can_go_on() && state_run_above(e->s, r.number, &r)) {
		bool running = is_running(e, &r);

		begin(e, "run");
		show_json_run(&e->json, &e->first, &r, running);
		show_json_given(&e->json, &e->first, "settings", r.settings);
		end(e);
	}
	run_release(&r);
}

static void changeset(struct export *e, const char *name, const char *record)
{
	if (record[0] == '\0')
		return;
	json_name(&e->json, &e->first, name);
	json_printed(&e->json, record);
}

static void repo_records(struct export *e)
{
	struct walk at = { 0 };
	struct repo_state r;

	while (can_go_on() && state_walk_repos(e->s, &at)) {
		if ((e->repo != NULL && strcmp(at.repo, e->repo) != 0) ||
		    repo_decode(&r, (const uint8_t *)at.value.data, at.value.len) != 0)
			continue;
		begin(e, "repository");
		show_json_repo(&e->json, &e->first, at.repo, &r);
		changeset(e, "changeset", r.changeset);
		changeset(e, "held_changeset", r.held_changeset);
		end(e);
		repo_release(&r);
	}
	walk_release(&at);
}

static void document_record(struct export *e, const struct walk *at, const struct doc_state *d)
{
	begin(e, "document");
	json_member_cstr(&e->json, &e->first, "repo", at->repo);
	json_member_cstr(&e->json, &e->first, "path", at->path);
	if (d->flags & (DOC_PRESENT | DOC_ABSENT)) {
		json_member_bool(&e->json, &e->first, "stored", d->flags & DOC_PRESENT);
	} else {
		json_name(&e->json, &e->first, "stored");
		json_cstr(&e->json, NULL);
	}
	if (d->flags & DOC_PRESENT)
		json_member_int(&e->json, &e->first, "objects", d->chunks);
	if (d->flags & DOC_KNOWN)
		digest(e, d->digest);
	place(e, d->last);
	flag(e, "uncommitted", d->flags & DOC_UNCOMMITTED);
	flag(e, "retried", d->flags & DOC_LOOSE);
	flag(e, "excluded", d->flags & DOC_EXCLUDED);
	flag(e, "same", d->flags & DOC_SAME);
	end(e);
}

/* All that are known, or those that the store holds: as records, or (paths) their names alone. */
static void documents(struct export *e, bool stored, bool paths, bool nul)
{
	struct walk at = { 0 };
	struct doc_state d;

	while (can_go_on() && state_walk(e->s, 'd', e->repo, &at)) {
		if (doc_decode(&d, (const uint8_t *)at.value.data, at.value.len) != 0 ||
		    (stored && !(d.flags & DOC_PRESENT)))
			continue;
		if (paths)
			show_path_line(stdout, at.path, nul);
		else
			document_record(e, &at, &d);
	}
	walk_release(&at);
}

static void mark_records(struct export *e)
{
	struct walk at = { 0 };
	struct mark m;

	while (can_go_on() && state_walk(e->s, 'm', e->repo, &at)) {
		if (mark_decode(&m, (const uint8_t *)at.value.data, at.value.len) != 0)
			continue;
		begin(e, "mark");
		json_member_cstr(&e->json, &e->first, "repo", at.repo);
		json_member_cstr(&e->json, &e->first, "path", at.path);
		json_member_cstr(&e->json, &e->first, "action", m.flags & MARK_DELETE ? "delete" : "upsert");
		json_member_bool(&e->json, &e->first, "in_doubt", m.flags & MARK_DOUBT);
		json_member_bool(&e->json, &e->first, "settled", m.flags & MARK_SETTLED);
		json_member_int(&e->json, &e->first, "objects", m.chunks);
		if (!(m.flags & MARK_DELETE))
			digest(e, m.digest);
		place(e, m.line);
		show_json_time(&e->json, &e->first, "since", m.since_s);
		flag(e, "uncommitted", m.uncommitted);
		end(e);
	}
	walk_release(&at);
}

/* ---- failed lines ---- */

static bool failure_wanted(const struct export *e, const struct failure_walk *at,
			   const struct failure *f)
{
	return e->repo == NULL || (at->repo_known && strcmp(f->repo, e->repo) == 0);
}

#define FORMAT_Z 0x80		/* in failure.format: read with -z */

/* As --input-format names it; "" where it was told by line. */
static const char *format_name(uint8_t format)
{
	static const char *const names[] = {
		[FORMAT_AUTO] = "", [FORMAT_JSON] = "json", [FORMAT_PATHS] = "paths",
		[FORMAT_NAME_STATUS] = "name-status",
	};

	format &= (uint8_t)~FORMAT_Z;
	return format < sizeof(names) / sizeof(names[0]) ? names[format] : "";
}

static void failure_records(struct export *e)
{
	struct failure_walk at = { 0 };
	struct failure f = { 0 };

	while (can_go_on() && state_failure_next(e->s, &at, &f)) {
		if (!failure_wanted(e, &at, &f))
			continue;
		begin(e, "failure");
		show_json_failure(&e->json, &e->first, &f, run_names_get(&e->names, e->s, f.line.run));
		show_json_given(&e->json, &e->first, "half", f.half == HALF_OLD ? "old" : "");
		show_json_given(&e->json, &e->first, "input_format", format_name(f.format));
		flag(e, "null", f.format & FORMAT_Z);
		show_json_given(&e->json, &e->first, "default_repo", f.default_repo);
		show_json_given(&e->json, &e->first, "namespace", f.namespace);
		flag(e, "default_uncommitted", f.default_uncommitted);
		show_json_given(&e->json, &e->first, "root", f.root);
		show_json_given(&e->json, &e->first, "folder", f.folder);
		end(e);
	}
	failure_release(&f);
	failure_walk_release(&at);
}

/* Failed lines that are printed as they came. */
struct lines {
	bool nul, terminal;
	struct place_in_run last;	/* the newest one when this began */
	uint64_t not_kept, other_end;	/* left out; other_end: with NUL for newline, or the reverse */
	bool any, differ;		/* some were printed; they were not all read like the first: */
	bool uncommitted;
	uint8_t format;
	char *repo, *namespace;		/* owned; --repo and --namespace then */
};

/* Where lines end now: what `export --failed | linesync` fails again is not exported again. */
static struct place_in_run newest_line(struct export *e)
{
	struct place_in_run newest = { state_head(e->s)->next_run - 1, UINT32_MAX };
	struct run_state r;

	if (state_run_get(e->s, newest.run, &r) == 0 &&
	    (r.status == RUN_RUNNING || r.status == RUN_INTERRUPTED))
		newest.ord = r.lines;
	run_release(&r);
	return newest;
}

static void note_reading(struct lines *l, const struct failure *f)
{
	if (!l->any) {
		l->any = true;
		l->format = f->format;
		l->uncommitted = f->default_uncommitted;
		l->repo = xstrdup(f->default_repo);
		l->namespace = xstrdup(f->namespace);
	}
	l->differ |= l->format != f->format || l->uncommitted != f->default_uncommitted ||
		     strcmp(l->repo, f->default_repo) != 0 || strcmp(l->namespace, f->namespace) != 0;
}

static void print_line(const struct lines *l, const struct buf *line)
{
	auto_buf struct buf shown = BUF_INIT;

	if (l->terminal) {
		text_printable(&shown, line->data, line->len, SIZE_MAX);
		line = &shown;
	}
	fwrite(line->data, 1, line->len, stdout);
	putchar(l->nul && !l->terminal ? '\0' : '\n');
}

static void print_failed(struct export *e, struct lines *l, const struct failure *f)
{
	auto_buf struct buf line = BUF_INIT;

	if (f->payload == 0) {
		log_warn("%s:%" PRIu64 " was not kept (%s%s%s: %s); feed it again from where it came",
			 run_names_get(&e->names, e->s, f->line.run), f->number, f->repo,
			 f->repo[0] != '\0' && f->path[0] != '\0' ? " " : "", f->path,
			 error_name((enum error_code)f->code));
		l->not_kept++;
	} else if (l->nul != !!(f->format & FORMAT_Z)) {
		l->other_end++;
	} else if (state_failure_payload(e->s, f, &line)) {	/* not: it was settled just now */
		print_line(l, &line);
		note_reading(l, f);
	}
}

static void tell_lines(const struct lines *l)
{
	if (l->other_end > 0)
		log_warn("%" PRIu64 " failed line%s read with%s -z; 'linesync export --failed%s' prints %s",
			 l->other_end, l->other_end == 1 ? " was" : "s were", l->nul ? "out" : "",
			 l->nul ? "" : " -z", l->other_end == 1 ? "it" : "them");
	if (l->differ)
		log_warn("these lines were read with different --repo, --namespace, --input-format or --uncommitted, "
			 "which 'linesync export' shows; 'linesync export --failed REPO' prints those of one "
			 "repository");
}

static int failed_lines(struct export *e, bool nul)
{
	struct lines l = { .nul = nul, .terminal = isatty(STDOUT_FILENO), .last = newest_line(e) };
	struct failure_walk at = { 0 };
	struct failure f = { 0 };
	struct place_in_run before = { 0, 0 };

	while (can_go_on() && state_failure_next(e->s, &at, &f) && place_compare(f.line, l.last) <= 0) {
		/* both halves of a rename are one line */
		if (!failure_wanted(e, &at, &f) || place_compare(f.line, before) == 0)
			continue;
		before = f.line;
		print_failed(e, &l, &f);
	}
	tell_lines(&l);
	free(l.repo);
	free(l.namespace);
	failure_release(&f);
	failure_walk_release(&at);
	return l.not_kept > 0 || l.other_end > 0;
}

/* ---- the command ---- */

static int export(struct export *e, const struct options *o)
{
	if (o->failed) {
		e->status = failed_lines(e, o->nul);
	} else if (o->documents) {
		documents(e, true, e->repo != NULL, o->nul);
	} else {
		state_record(e);
		run_records(e);
		repo_records(e);
		documents(e, false, false, false);
		mark_records(e);
		failure_records(e);
	}
	show_json_text(stdout, &e->json);
	buf_release(&e->json);
	run_names_release(&e->names);
	return e->status;
}

int cmd_export(const struct options *o)
{
	struct export e = { .repo = o->nargs > 0 ? o->args[0] : NULL };
	autofree char *file = NULL;
	int status = 0;

	file = command_state(o, &status);
	if (file == NULL)
		return status;
	status = state_open_reader(&e.s, file);
	if (status != 0)
		return status;
	state_refresh(e.s);
	status = export(&e, o);
	if (state_failed(e.s) != 0)
		status = state_failed(e.s);
	state_close(e.s);
	return status;
}
