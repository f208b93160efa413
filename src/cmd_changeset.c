/* linesync changeset: positions, and what producers should list besides. */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alloc.h"
#include "changeset.h"
#include "cleanup.h"
#include "clock.h"
#include "commands.h"
#include "digest.h"
#include "json.h"
#include "log.h"
#include "show.h"
#include "text.h"

/* ---- files ---- */

static int write_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t put = write(fd, p, n);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return -1;
		p += put;
		n -= (size_t)put;
	}
	return 0;
}

/* The record as the producer gave it. */
static void record_text(struct buf *out, const struct repo_state *r)
{
	bool first = true;

	if (r->changeset[0] != '\0') {
		buf_adds(out, r->changeset);
	} else {
		buf_addc(out, '{');
		json_member_cstr(out, &first, "commit", r->commit);
		buf_addc(out, '}');
	}
	buf_addc(out, '\n');
}

/* Bytes of an encoded name, and of a digest, in a name that is made brief: 103 in all, which fits where
 * encryption leaves 143 of 255. */
enum { BRIEF_NAME = 60, BRIEF_DIGEST = 16 };

static int fill_file(const char *temporary, const struct buf *text)
{
	int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	bool bad;

	if (fd < 0)
		return -1;
	bad = write_all(fd, text->data, text->len) != 0;
	bad |= fsync(fd) != 0;
	bad |= close(fd) != 0;
	return bad ? -1 : 0;
}

/* DIR/REPO.changeset.  brief: where that is no name for the file system, its beginning, a '+', which stands
 * in no encoded name, and a digest of REPO, so that each name has a file of its own. */
static char *file_name(const char *dir, const char *repo, bool brief)
{
	auto_buf struct buf name = BUF_INIT;
	uint8_t digest[DIGEST_SIZE];
	char hex[2 * BRIEF_DIGEST + 1];
	int n = BRIEF_NAME;

	percent_encode(&name, repo, strlen(repo));
	if (!brief || name.len <= BRIEF_NAME)
		return xasprintf("%s/%s.changeset", dir, name.len == 0 ? "" : name.data);
	for (int i = 1; i <= 2; i++)		/* no half of a %XX */
		if (name.data[BRIEF_NAME - i] == '%')
			n = BRIEF_NAME - i;
	digest_of(repo, strlen(repo), digest);
	hex_encode(hex, digest, BRIEF_DIGEST);
	return xasprintf("%s/%.*s+%s.changeset", dir, n, name.data, hex);
}

/* Whole or not at all: a reader never sees half a file.  How long a name may be, only trying tells: what
 * pathconf(3) says is not what every file system takes. */
static int write_file(const char *dir, const char *repo, const struct repo_state *r)
{
	auto_buf struct buf text = BUF_INIT;
	autofree char *name = file_name(dir, repo, false);
	autofree char *brief = file_name(dir, repo, true);
	autofree char *temporary = xasprintf("%s/.linesync-%ld.tmp", dir, (long)getpid());

	record_text(&text, r);
	if (fill_file(temporary, &text) == 0 &&
	    (rename(temporary, name) == 0 || (errno == ENAMETOOLONG && rename(temporary, brief) == 0)))
		return 0;
	log_err("cannot write '%s': %s", name, strerror(errno));
	unlink(temporary);
	return 74;
}

/* ---- positions ---- */

/* With --whole a position that is as told counts as none. */
static bool has_position(const struct options *o, const struct repo_state *r)
{
	return r->commit[0] != '\0' && (r->whole || !o->whole);
}

static int no_position(const char *repo, const struct repo_state *r)
{
	if (r->commit[0] == '\0')
		log_err("repository '%s' has no position yet", repo);
	else
		log_err("repository '%s' stands at '%s' as told: no complete listing has filled that position", repo,
			r->commit);
	return 1;
}

static int print_one(const struct options *o, struct state *s)
{
	const char *repo = o->args[0];
	const struct repo_state *r = state_repo(s, repo);

	if (state_failed(s) != 0)
		return state_failed(s);
	if (!has_position(o, r))
		return no_position(repo, r);
	puts(r->commit);
	return o->dir != NULL ? write_file(o->dir, repo, r) : 0;
}

static int print_all(const struct options *o, struct state *s)
{
	struct table t = { .columns = 3 };
	struct walk at = { 0 };
	int status = 1;

	while (state_walk_repos(s, &at)) {
		struct repo_state r;
		char since[21];

		if (repo_decode(&r, (const uint8_t *)at.value.data, at.value.len) != 0)
			continue;
		if (has_position(o, &r)) {
			clock_format(r.position_s, since);
			table_add(&t, r.commit);
			table_add(&t, since);
			table_add(&t, at.repo);
			status = status == 1 ? 0 : status;
			if (o->dir != NULL && write_file(o->dir, at.repo, &r) != 0)
				status = 74;		/* the others are written all the same */
		}
		repo_release(&r);
	}
	if (state_failed(s) != 0)
		status = state_failed(s);
	else if (status == 1)
		log_err("no repository has a %sposition yet; a changeset record%s gives it one",
			o->whole ? "whole " : "", o->whole ? " that says \"complete\":true" : "");
	table_print(stdout, &t, "");
	table_release(&t);
	walk_release(&at);
	return status;
}

/* ---- what was touched ---- */

/* Three walks over one repository, by path: documents, failures, marks. */
struct source {
	char kind;
	bool more;
	struct walk at;
};

static void advance(struct state *s, const char *repo, struct source *src)
{
	src->more = state_walk(s, src->kind, repo, &src->at);
}

static bool touched(const struct options *o, struct state *s, const struct source *src)
{
	const char *repo = o->touched;
	const uint8_t *p = (const uint8_t *)src->at.value.data;
	struct doc_state d;
	struct mark m;

	switch (src->kind) {
	case 'd':
		return doc_decode(&d, p, src->at.value.len) == 0 &&
		       (!has_position(o, state_repo(s, repo)) || changeset_touched(s, repo, &d));
	case 'm':
		return mark_decode(&m, p, src->at.value.len) == 0 &&
		       ((m.flags & MARK_DOUBT) || !(m.flags & MARK_SETTLED));
	default:
		return true;
	}
}

/* The least path that a source stands at; NULL at the end.  Owned. */
static char *least_path(const struct source *from, size_t n)
{
	const char *least = NULL;

	for (size_t i = 0; i < n; i++)
		if (from[i].more && (least == NULL || strcmp(from[i].at.path, least) < 0))
			least = from[i].at.path;
	return xstrdup(least);
}

static int print_touched(const struct options *o, struct state *s)
{
	struct source from[] = { { .kind = 'd' }, { .kind = 'f' }, { .kind = 'm' } };
	size_t n = sizeof(from) / sizeof(from[0]);
	char *path;

	for (size_t i = 0; i < n; i++)
		advance(s, o->touched, &from[i]);
	for (; (path = least_path(from, n)) != NULL; free(path)) {
		bool print = false;

		for (size_t i = 0; i < n; i++)
			if (from[i].more && strcmp(from[i].at.path, path) == 0) {
				print |= touched(o, s, &from[i]) && state_failed(s) == 0;
				advance(s, o->touched, &from[i]);
			}
		if (print)
			show_path_line(stdout, path, o->nul);
	}
	for (size_t i = 0; i < n; i++)
		walk_release(&from[i].at);
	return state_failed(s);
}

int cmd_changeset(const struct options *o)
{
	autofree char *file = NULL;
	struct state *s;
	int status = 0;

	file = command_state(o, &status);
	if (file == NULL)
		return status == 66 ? 1 : status;
	status = state_open_reader(&s, file);
	if (status != 0)
		return status == 66 ? 1 : status;	/* nothing was synced yet: no position */
	state_refresh(s);
	if (o->touched != NULL)
		status = print_touched(o, s);
	else if (o->nargs > 0)
		status = print_one(o, s);
	else
		status = print_all(o, s);
	state_close(s);
	return status;
}
