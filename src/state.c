#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alloc.h"
#include "cleanup.h"
#include "clock.h"
#include "lock.h"
#include "log.h"
#include "state.h"
#include "statefile.h"
#include "tree.h"

#define CHUNK_LINES 512
#define LINE_BYTES 9
#define DROP_CHUNKS 128		/* in one commit: TDB holds what a transaction touches in memory */
#define PAYLOAD_MAX 65536
#define PAYLOADS_MAX (512ull << 20)
#define YOUNG_RUNS 64		/* that are looked at, when old ones are dropped */
#define REPO_SLOTS 64
#define REPO_BYTES 1024		/* that a repository's record takes in memory, about */

struct repo_entry {		/* a repository's record in memory until the next commit */
	struct repo_entry *next;
	char *name;
	struct repo_state state;
};

struct state {
	char *path;
	int lock_fd;
	struct statefile *file;
	struct tree tree;
	struct identity identity;
	struct head head;
	bool has_run, write, changed;	/* changed: head or run need writing */
	bool unborn;			/* there is no file yet */
	struct run_state run;
	struct repo_entry *repos[REPO_SLOTS];
	size_t nrepos;
	struct buf key, value;		/* scratch */
	uint64_t walked;
};

/* ---- open, commit, close ---- */

static void new_head(struct head *h)
{
	h->next_run = 1;
	h->next_page = 1;
	h->collection_id = xstrdup("");
	h->embedder = xstrdup("");
	repo_set_text(&h->embed_how, "");
	repo_set_text(&h->exclude, "");
}

/* The head as it lies in the file.  NULL in a state of layout 1 that nothing was ever put into: that one
 * got its first head with its first commit, which a reader may see come. */
static const uint8_t *head_bytes(struct state *s, size_t *n)
{
	const uint8_t *p = statefile_get(s->file, KIND_HEAD, 0, 0, n);

	if (p != NULL || (s->identity.layout == 1 && statefile_is_empty(s->file)))
		return p;
	statefile_refresh_value(s->file, KIND_HEAD, 0, 0);
	p = statefile_get(s->file, KIND_HEAD, 0, 0, n);
	if (p == NULL)
		statefile_damaged(s->file, "its head is missing");
	return p;
}

/* Of a head that cannot be read a reader keeps the one that it had. */
static void load_head(struct state *s)
{
	struct head now = { 0 };
	size_t n;
	const uint8_t *p = head_bytes(s, &n);

	if (p == NULL)
		new_head(&now);
	else if (head_decode(&now, p, n) != 0)
		statefile_damaged(s->file, "its head does not parse");
	if (statefile_failed(s->file) == 0) {
		head_release(&s->head);
		s->head = now;
	} else {
		head_release(&now);
	}
	s->tree.file = s->file;
	s->tree.root = s->head.root;
	s->tree.next_page = s->head.next_page;
	s->tree.reader = !s->write;
	s->tree.torn = false;
}

static int load_identity(struct state *s)
{
	size_t n;
	const uint8_t *p = statefile_get(s->file, KIND_IDENTITY, 0, 0, &n);
	int got = identity_decode(&s->identity, p, n);

	if (got == 0)
		return 0;
	if (got > 0)
		log_err("state '%s' was written by a newer linesync (layout %u, this one reads %d); "
			"use that one", s->path, s->identity.layout, STATE_LAYOUT);
	else
		log_err("state '%s' is no linesync state; it is left as it is: name another with --state",
			s->path);
	return 74;
}

static int load(struct state *s)
{
	int status = load_identity(s);

	if (status != 0)
		return status;
	load_head(s);
	return statefile_failed(s->file);
}

static void tell_absent(const char *path)
{
	log_err("there is no state '%s'; nothing was synced with it yet", path);
}

int state_exists(const char *path)
{
	struct stat st;

	if (lstat(path, &st) == 0)
		return 0;
	if (errno == ENOENT || errno == ENOTDIR)
		return 66;
	log_err("cannot look at state '%s': %s", path, strerror(errno));
	return 74;
}

static void put_identity(struct state *s)
{
	buf_reset(&s->value);
	identity_encode(&s->value, &s->identity);
	statefile_put(s->file, KIND_IDENTITY, 0, 0, s->value.data, s->value.len);
}

static void put_head(struct state *s)
{
	buf_reset(&s->value);
	head_encode(&s->value, &s->head);
	statefile_put(s->file, KIND_HEAD, 0, 0, s->value.data, s->value.len);
}

/* A state that knows nothing yet: identity and head, which are never missing.  In memory, until it is
 * sure that there is something to know. */
static void make_new(struct state *s, const char *store, const char *collection)
{
	s->file = statefile_new(s->path);
	s->unborn = true;
	s->identity = (struct identity){ STATE_LAYOUT, xstrdup(store), xstrdup(collection) };
	put_identity(s);
	new_head(&s->head);
	put_head(s);
	load_head(s);
}

int state_settle(struct state *s)
{
	if (!s->unborn)
		return 0;
	put_head(s);
	if (statefile_create(s->file) != 0)
		return 73;
	s->unborn = s->changed = false;
	return 0;
}

static int open_file(struct state *s, bool create, const char *store, const char *collection)
{
	enum statefile_open got = statefile_open(&s->file, s->path, s->write);

	if (got == STATEFILE_ABSENT && create) {
		make_new(s, store, collection);
		return 0;
	}
	if (got == STATEFILE_ABSENT) {
		tell_absent(s->path);
		return 66;
	}
	return got == STATEFILE_OK ? load(s) : got == STATEFILE_BUSY ? 75 : 74;
}

static char *lock_name(const char *path)
{
	return xasprintf("%s.lock", path);
}

static int take_lock(struct state *s, int64_t wait_ms)
{
	autofree char *name = lock_name(s->path);

	s->lock_fd = lock_take(name, wait_ms);
	return s->lock_fd >= 0 ? 0 : s->lock_fd == -2 ? 75 : 73;
}

static struct state *state_new(const char *path, bool write)
{
	struct state *s = xcalloc(1, sizeof *s);

	s->path = xstrdup(path);
	s->lock_fd = -1;
	s->write = write;
	return s;
}

static int opened(struct state **out, struct state *s, int status)
{
	*out = status == 0 ? s : NULL;
	if (status != 0)
		state_close(s);
	return status;
}

int state_belongs(const struct state *s, const char *store, const char *collection)
{
	if (strcmp(s->identity.store, store) == 0 && strcmp(s->identity.collection, collection) == 0)
		return 0;
	log_err("state '%s' belongs to collection '%s' of %s, not to '%s' of %s; name another with --state",
		s->path, s->identity.collection, s->identity.store, collection, store);
	return 78;
}

int state_open(struct state **out, const char *path, const char *store, const char *collection,
	       int64_t wait_ms)
{
	struct state *s = state_new(path, true);
	int status = take_lock(s, wait_ms);

	if (status == 0)
		status = open_file(s, true, store, collection);
	if (status == 0)
		status = state_belongs(s, store, collection);
	return opened(out, s, status);
}

int state_open_existing(struct state **out, const char *path, int64_t wait_ms)
{
	struct state *s = state_new(path, true);
	int status = state_exists(path);

	if (status == 0)	/* no lock file beside what is not there */
		status = take_lock(s, wait_ms);
	if (status == 0)
		status = open_file(s, false, NULL, NULL);
	else if (status == 66)
		tell_absent(path);
	return opened(out, s, status);
}

int state_open_reader(struct state **out, const char *path)
{
	struct state *s = state_new(path, false);

	return opened(out, s, open_file(s, false, NULL, NULL));
}

int state_failed(const struct state *s)
{
	return statefile_failed(s->file);
}

static void drop_repos(struct state *s)
{
	for (int i = 0; i < REPO_SLOTS; i++) {
		for (struct repo_entry *e = s->repos[i], *next; e != NULL; e = next) {
			next = e->next;
			free(e->name);
			repo_release(&e->state);
			free(e);
		}
		s->repos[i] = NULL;
	}
	s->nrepos = 0;
}

void state_close(struct state *s)
{
	if (s == NULL)
		return;
	drop_repos(s);
	statefile_close(s->file);
	identity_release(&s->identity);
	head_release(&s->head);
	run_release(&s->run);
	buf_release(&s->key);
	buf_release(&s->value);
	if (s->lock_fd >= 0 && s->unborn) {	/* no state, no lock file */
		autofree char *name = lock_name(s->path);

		lock_remove(s->lock_fd, name);
	}
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	free(s->path);
	free(s);
}

static void write_repos(struct state *s)
{
	for (int i = 0; i < REPO_SLOTS; i++)
		for (struct repo_entry *e = s->repos[i]; e != NULL; e = e->next) {
			key_repo(&s->key, e->name);
			buf_reset(&s->value);
			repo_encode(&s->value, &e->state);
			tree_put(&s->tree, s->key.data, s->key.len, s->value.data, s->value.len);
		}
	drop_repos(s);
}

void state_commit(struct state *s)
{
	if (s->nrepos == 0 && !s->changed && statefile_dirty(s->file) == 0)
		return;
	s->unborn = false;	/* or the process ends */
	write_repos(s);
	if (s->has_run) {
		s->run.update_s = clock_unix_s();
		state_run_put(s, &s->run);
	}
	s->head.root = s->tree.root;
	s->head.next_page = s->tree.next_page;
	s->head.generation++;
	put_head(s);
	if (s->identity.layout != STATE_LAYOUT) {	/* with a head it is of this layout */
		s->identity.layout = STATE_LAYOUT;
		put_identity(s);
	}
	statefile_commit(s->file);
	s->changed = false;
}

size_t state_dirty(const struct state *s)
{
	return statefile_dirty(s->file) + s->nrepos * REPO_BYTES;
}

bool state_full(const struct state *s)
{
	return statefile_full(s->file);
}

uint64_t state_commits(const struct state *s)
{
	return statefile_commits(s->file);
}

/* Reader: the file that has taken the old one's name is still this state, and not one that was moved there. */
static void same_identity(struct state *s)
{
	struct identity now;
	size_t n;
	const uint8_t *p = statefile_get(s->file, KIND_IDENTITY, 0, 0, &n);

	if (statefile_failed(s->file) != 0)
		return;
	if (identity_decode(&now, p, n) == 0 && strcmp(now.store, s->identity.store) == 0 &&
	    strcmp(now.collection, s->identity.collection) == 0)
		s->identity.layout = now.layout;
	else
		statefile_damaged(s->file, "another state has taken its place");
	identity_release(&now);
}

void state_refresh(struct state *s)
{
	drop_repos(s);
	if (statefile_refresh(s->file))
		same_identity(s);
	load_head(s);
}

const char *state_path(const struct state *s)
{
	return s->path;
}

const struct identity *state_identity(const struct state *s)
{
	return &s->identity;
}

struct head *state_head(struct state *s)
{
	s->changed = s->write;
	return &s->head;
}

int state_locked(const char *path, char **holder)
{
	char *name = lock_name(path);
	int held = lock_held(name, holder);

	free(name);
	return held;
}

/* A reader's look spans several values; if a commit came in between, it is done again.  What was read
 * under one head belongs to its commit, and is kept for the next look. */
static bool reader_again(struct state *s)
{
	struct head now;
	const uint8_t *p;
	size_t n;
	bool changed;

	if (s->write)
		return false;
	statefile_trim(s->file);
	statefile_refresh_value(s->file, KIND_HEAD, 0, 0);
	p = head_bytes(s, &n);
	if (p == NULL)		/* no commit yet, or it cannot be read */
		return false;
	if (head_decode(&now, p, n) != 0) {
		statefile_damaged(s->file, "its head does not parse");
		return false;
	}
	changed = now.generation != s->head.generation;
	head_release(&now);
	if (changed)
		state_refresh(s);
	else if (s->tree.torn)
		statefile_damaged(s->file, "a page is missing");
	return changed;
}

/* False, so that it can be returned. */
static bool damaged(struct state *s, const char *what)
{
	statefile_damaged(s->file, what);
	return false;
}

/* For what was looked for and must be there: damage, unless a commit came in between (then it may be gone
 * by now, and is not there). */
static void must_be(struct state *s, const char *missing)
{
	if (!reader_again(s))
		statefile_damaged(s->file, missing);
}

static bool get(struct state *s, const struct buf *key, struct buf *value)
{
	bool found;

	do {
		found = tree_get(&s->tree, key->data, key->len, value);
	} while (reader_again(s));
	return found;
}

static void put(struct state *s)
{
	tree_put(&s->tree, s->key.data, s->key.len, s->value.data, s->value.len);
}

/* ---- runs ---- */

static char *run_id(int64_t now)
{
	char stamp[21];
	char compact[17];
	size_t n = 0;

	clock_format(now, stamp);
	for (const char *c = stamp; *c != '\0' && n < sizeof compact - 1; c++)
		if (*c != '-' && *c != ':')
			compact[n++] = *c;
	compact[n] = '\0';
	return xasprintf("%s-%ld-%04x", compact, (long)getpid(), (unsigned)(clock_random() & 0xffff));
}

/* The ordered map lists the runs whose records are there, so that nothing looks at those that are gone;
 * as run 0 it lists that it lists them all.  States that are older than that do not. */
static bool are_listed(struct state *s)
{
	key_run(&s->key, 0);
	return get(s, &s->key, &s->value);
}

static void list_run(struct state *s, uint32_t number)
{
	key_run(&s->key, number);
	buf_reset(&s->value);
	put(s);
}

static bool is_kept(struct state *s, uint32_t number)
{
	size_t n;

	statefile_trim(s->file);
	return statefile_get(s->file, KIND_RUN, number, 0, &n) != NULL;
}

static void list_runs(struct state *s)
{
	if (are_listed(s))
		return;
	for (uint32_t i = 1; i < s->head.next_run; i++)
		if (is_kept(s, i))
			list_run(s, i);
	list_run(s, 0);
}

/* Who works on r from now on. */
static void sign_run(struct run_state *r)
{
	char host[256] = "";

	gethostname(host, sizeof host - 1);
	free(r->host);
	r->host = xstrdup(host);
	r->pid = (uint32_t)getpid();
	r->status = RUN_RUNNING;
	r->good = true;
	r->part_s = r->update_s = clock_unix_s();
	r->end_s = 0;
}

static struct run_state *new_run(struct state *s, const char *source, const char *settings)
{
	struct run_state *r = &s->run;

	run_release(r);
	r->number = s->head.next_run++;
	sign_run(r);
	r->start_s = r->part_s;
	r->id = run_id(r->start_s);
	r->source = xstrdup(source);
	r->settings = xstrdup(settings);
	r->lines_owner = r->number;
	list_runs(s);
	list_run(s, r->number);
	s->has_run = s->changed = true;
	return r;
}

struct run_state *state_run_begin(struct state *s, const char *source, const char *settings)
{
	/* only the last run can be continued: its lines have no more use */
	if (s->head.next_run > 1)
		state_lines_drop(s, s->head.next_run - 1);
	return new_run(s, source, settings);
}

struct run_state *state_run_take_up(struct state *s, uint32_t number)
{
	run_release(&s->run);
	s->has_run = state_run_get(s, number, &s->run) == 0;
	if (!s->has_run)
		return NULL;
	s->changed = true;
	return &s->run;
}

bool run_interrupt(struct run_state *r)
{
	if (r->status != RUN_RUNNING)
		return false;
	r->status = RUN_INTERRUPTED;
	r->end_s = r->update_s;
	r->good = false;
	return true;
}

int64_t run_seconds(const struct run_state *r, int64_t now_s)
{
	int64_t end = now_s != 0 ? now_s : r->end_s != 0 ? r->end_s : r->update_s;

	return r->before_s + (end > r->part_s ? end - r->part_s : 0);
}

struct run_state *state_run_continue(struct state *s, uint32_t number)
{
	struct run_state *r = state_run_take_up(s, number);

	if (r == NULL)
		return NULL;
	r->before_s = run_seconds(r, 0);
	sign_run(r);
	return r;
}

/* The current run as it was before this process took it up, if it has committed nothing since. */
static void as_left(struct state *s, struct run_state *r)
{
	struct run_state left;
	size_t n;
	const uint8_t *p = statefile_get(s->file, KIND_RUN, r->number, 0, &n);

	if (p == NULL || run_decode(&left, p, n) != 0)
		return;
	run_release(r);
	*r = left;
}

struct run_state *state_run_branch(struct state *s, uint32_t cut)
{
	struct run_state old = s->run;
	struct run_state *r;

	old.update_s = clock_unix_s();
	if (cut == 1)
		as_left(s, &old);
	run_interrupt(&old);
	state_run_put(s, &old);
	memset(&s->run, 0, sizeof s->run);
	r = new_run(s, old.source, old.settings);
	r->lines_owner = old.lines_owner;
	r->lines = cut - 1;
	r->input_size = old.input_size;
	/* of a run that differs from its first line on, nothing is taken over */
	for (int i = 0; cut > 1 && i < old.nancestors && i < RUN_ANCESTORS - 1; i++) {
		struct ancestor a = old.ancestors[i];

		a.cut = a.cut < cut ? a.cut : cut;
		r->ancestors[r->nancestors++] = a;
	}
	r->ancestors[r->nancestors++] = (struct ancestor){ old.number, cut };
	run_release(&old);
	return r;
}

struct run_state *state_run(struct state *s)
{
	if (!s->has_run)
		return NULL;
	s->changed = s->write;
	return &s->run;
}

/* Chunks of lines that are kept under a run's number: more than r has lines, if it took them over from
 * a run that had read on. */
static uint32_t count_chunks(struct state *s, const struct run_state *r)
{
	uint32_t c = r->lines / CHUNK_LINES;
	size_t n;

	while (statefile_get(s->file, KIND_LINES, r->lines_owner, c, &n) != NULL) {
		statefile_trim(s->file);
		c++;
	}
	return c;
}

void state_lines_drop(struct state *s, uint32_t number)
{
	struct run_state r;

	if (state_run_get(s, number, &r) != 0)
		return;
	r.lines = count_chunks(s, &r) * CHUNK_LINES;
	while (r.lines > 0) {
		uint32_t chunk = (r.lines - 1) / CHUNK_LINES;
		uint32_t least = chunk < DROP_CHUNKS ? 0 : chunk - DROP_CHUNKS + 1;

		for (uint32_t c = least; c <= chunk; c++)
			statefile_del(s->file, KIND_LINES, r.lines_owner, c);
		r.lines = least * CHUNK_LINES;
		if (s->has_run && number == s->run.number)
			s->run.lines = r.lines;
		state_run_put(s, &r);
		state_commit(s);
	}
	run_release(&r);
}

void run_count(struct run_state *run, struct place_in_run at, enum status before, enum reason before_reason,
	       enum status now, enum reason reason, enum change_op op)
{
	if (before != STATUS_NONE && at.run == run->number) {
		run->counts[before]--;
		run->unchanged -= is_unchanged(before, before_reason);
	} else {
		run->ops[op]++;
	}
	run->counts[now]++;
	run->unchanged += is_unchanged(now, reason);
}

void state_run_end(struct state *s, enum run_status status)
{
	s->run.status = (uint8_t)status;
	s->run.end_s = clock_unix_s();
	s->changed = true;
}

static bool is_listed(struct state *s, uint32_t number)
{
	auto_buf struct buf key = BUF_INIT, value = BUF_INIT;

	key_run(&key, number);
	return get(s, &key, &value);
}

int state_run_get(struct state *s, uint32_t number, struct run_state *r)
{
	size_t n;
	const uint8_t *p;

	if (s->has_run && s->write && number == s->run.number && &s->run != r) {
		buf_reset(&s->value);
		run_encode(&s->value, &s->run);
		return run_decode(r, (const uint8_t *)s->value.data, s->value.len);
	}
	p = statefile_get(s->file, KIND_RUN, number, 0, &n);
	if (p == NULL) {
		/* the newest is never dropped, older ones with their place in the list (of which a reader
		 * may have seen an older one: see run_beside()) */
		if (number != 0 && (number == s->head.next_run - 1 || (s->write && is_listed(s, number))))
			must_be(s, "a run is missing");
		memset(r, 0, sizeof *r);
		return -1;
	}
	if (run_decode(r, p, n) == 0)
		return 0;
	statefile_damaged(s->file, "a run does not parse");
	return -1;
}

void state_run_put(struct state *s, const struct run_state *r)
{
	buf_reset(&s->value);
	run_encode(&s->value, r);
	statefile_put(s->file, KIND_RUN, r->number, 0, s->value.data, s->value.len);
	s->changed = true;
}

/* The number of the run that is listed next above `from`, or below it; 0 at the end. */
static uint32_t listed_run(struct state *s, uint32_t from, bool up)
{
	auto_buf struct buf key = BUF_INIT;
	bool found;

	key_run(&s->key, from);
	found = up ? tree_next(&s->tree, s->key.data, s->key.len, false, &key, &s->value)
		   : tree_prev(&s->tree, s->key.data, s->key.len, &key, &s->value);
	return found && key.len == s->key.len && key.data[0] == 'r' ? key_number(key.data + 1) : 0;
}

/* The same of a state that does not list them. */
static uint32_t searched_run(struct state *s, uint32_t from, bool up)
{
	uint32_t end = s->head.next_run, i = !up && from > end ? end : from;

	while (statefile_failed(s->file) == 0 && (i = up ? i + 1 : i - 1) > 0 && i < end)
		if (is_kept(s, i))
			return i;
	return 0;
}

static bool run_beside(struct state *s, uint32_t from, bool up, struct run_state *r)
{
	uint32_t number;
	bool torn;

	do {
		run_release(r);
		number = are_listed(s) ? listed_run(s, from, up) : searched_run(s, from, up);
		torn = number != 0 && state_run_get(s, number, r) != 0;
	} while (reader_again(s));
	if (torn)
		return damaged(s, "a run is missing");
	return number != 0;
}

bool state_run_above(struct state *s, uint32_t number, struct run_state *r)
{
	return run_beside(s, number, true, r);
}

bool state_run_below(struct state *s, uint32_t number, struct run_state *r)
{
	return run_beside(s, number, false, r);
}

static bool failures_of_run(struct state *s, uint32_t run)
{
	struct failure_walk at = { .at = { run, 0 } };
	struct failure f = { 0 };
	bool found = state_failure_next(s, &at, &f) && f.line.run == run;

	failure_release(&f);
	failure_walk_release(&at);
	return found;
}

static void drop_run(struct state *s, const struct run_state *r)
{
	s->head.old_runs++;
	for (int k = 0; k < 8; k++)
		s->head.old_counts[k] += r->counts[k];
	s->head.old_objects += r->objects;
	s->head.old_requests += r->requests;
	statefile_del(s->file, KIND_RUN, r->number, 0);
	key_run(&s->key, r->number);
	tree_del(&s->tree, s->key.data, s->key.len);
}

/* The oldest come first, so behind a few that are too young there are no others to drop; more than one,
 * because the clock may have been wrong for a while. */
void state_runs_drop(struct state *s, int64_t before_unix_s)
{
	struct run_state r = { 0 };
	int young = 0;

	list_runs(s);
	while (young < YOUNG_RUNS && state_run_above(s, r.number, &r)) {
		if (r.end_s == 0 || r.end_s >= before_unix_s)
			young++;
		else if (r.status != RUN_RUNNING && r.number != s->run.number && r.unknown_holding == 0 &&
			 !failures_of_run(s, r.number))
			drop_run(s, &r);
	}
	run_release(&r);
}

uint32_t run_cut(const struct run_state *r, uint32_t run)
{
	if (run == r->number)
		return UINT32_MAX;
	for (int i = 0; i < r->nancestors; i++)
		if (r->ancestors[i].run == run)
			return r->ancestors[i].cut;
	return 0;
}

uint32_t run_own_ord(const struct run_state *r, struct place_in_run at)
{
	return at.run != 0 && at.ord < run_cut(r, at.run) ? at.ord : 0;
}

uint32_t state_own_ord(struct state *s, struct place_in_run at)
{
	return s->has_run ? run_own_ord(&s->run, at) : 0;
}

bool state_given_up(struct state *s, struct place_in_run at)
{
	uint32_t cut = s->has_run ? run_cut(&s->run, at.run) : 0;

	return cut > 0 && at.ord >= cut;
}

bool state_later(struct state *s, struct place_in_run a, struct place_in_run b)
{
	uint32_t mine = state_own_ord(s, a), other = state_own_ord(s, b);

	if (mine != 0 && other != 0)
		return mine > other;
	return place_compare(a, b) > 0;
}

/* ---- lines ---- */

/* Where line ord stands; NULL if there is none yet.  Those that the run says to have must be there. */
static uint8_t *line_at(struct state *s, uint32_t ord, bool change)
{
	uint32_t chunk = (ord - 1) / CHUNK_LINES;
	size_t at = (ord - 1) % CHUNK_LINES * LINE_BYTES, n;
	uint8_t *p;

	if (change)
		p = statefile_edit(s->file, KIND_LINES, s->run.lines_owner, chunk, &n);
	else
		p = (uint8_t *)statefile_get(s->file, KIND_LINES, s->run.lines_owner, chunk, &n);
	if (p != NULL && at + LINE_BYTES <= n)
		return p + at;
	if (p != NULL || s->run.lines > chunk * CHUNK_LINES)
		statefile_damaged(s->file, "lines of a run are missing");
	return NULL;
}

void state_line_read(struct state *s, uint32_t ord, uint64_t digest, bool own)
{
	uint32_t chunk = (ord - 1) / CHUNK_LINES;
	uint8_t *p = line_at(s, ord, true);

	if (p == NULL) {
		/* whole chunks: a chunk that grew with each line would be copied for each */
		static const uint8_t zero[CHUNK_LINES * LINE_BYTES];

		statefile_put(s->file, KIND_LINES, s->run.lines_owner, chunk, zero, sizeof zero);
		p = line_at(s, ord, true);
	}
	for (int i = 0; i < 8; i++)
		p[i] = (uint8_t)(digest >> (56 - 8 * i));
	p[8] = own ? 0x80 : 0;
	if (ord > s->run.lines)
		s->run.lines = ord;
}

bool state_line_get(struct state *s, uint32_t ord, struct line_state *l)
{
	const uint8_t *p = ord <= s->run.lines ? line_at(s, ord, false) : NULL;

	if (p == NULL)
		return false;
	l->digest = 0;
	for (int i = 0; i < 8; i++)
		l->digest = l->digest << 8 | p[i];
	l->own = p[8] & 0x80;
	l->status = (enum status)(p[8] & 7);
	l->reason = (enum reason)(p[8] >> 3 & 15);
	return true;
}

void state_line_set(struct state *s, uint32_t ord, enum status status, enum reason reason)
{
	uint8_t *p = line_at(s, ord, true);

	if (p == NULL) {
		statefile_damaged(s->file, "a line is missing");
		return;
	}
	p[8] = (uint8_t)((p[8] & 0x80) | ((unsigned)reason & 15) << 3 | ((unsigned)status & 7));
}

/* ---- documents and marks ---- */

bool state_doc_get(struct state *s, const char *repo, const char *path, struct doc_state *d)
{
	memset(d, 0, sizeof *d);
	key_doc(&s->key, 'd', repo, path);
	if (!get(s, &s->key, &s->value))
		return false;
	return doc_decode(d, (const uint8_t *)s->value.data, s->value.len) == 0 ||
	       damaged(s, "a document does not parse");
}

static void count_doc(struct state *s, const char *repo, uint8_t flags, int by)
{
	struct repo_state *r = state_repo(s, repo);

	if (flags & DOC_PRESENT) {
		s->head.present += (uint64_t)by;
		r->present += (uint64_t)by;
	}
	if (flags & (DOC_LOOSE | DOC_UNCOMMITTED))
		r->loose += (uint64_t)by;
}

void state_doc_put(struct state *s, const char *repo, const char *path, const struct doc_state *d)
{
	struct doc_state old;

	if (state_doc_get(s, repo, path, &old))
		count_doc(s, repo, old.flags, -1);
	count_doc(s, repo, d->flags, 1);
	key_doc(&s->key, 'd', repo, path);
	buf_reset(&s->value);
	doc_encode(&s->value, d);
	put(s);
}

void state_doc_del(struct state *s, const char *repo, const char *path)
{
	struct doc_state old;

	if (!state_doc_get(s, repo, path, &old))
		return;
	count_doc(s, repo, old.flags, -1);
	key_doc(&s->key, 'd', repo, path);
	tree_del(&s->tree, s->key.data, s->key.len);
}

bool state_mark_get(struct state *s, const char *repo, const char *path, struct mark *m)
{
	memset(m, 0, sizeof *m);
	if (s->head.marks == 0)
		return false;
	key_doc(&s->key, 'm', repo, path);
	if (!get(s, &s->key, &s->value))
		return false;
	return mark_decode(m, (const uint8_t *)s->value.data, s->value.len) == 0 ||
	       damaged(s, "a mark does not parse");
}

static void count_mark(struct state *s, const char *repo, const struct mark *m, int by)
{
	s->head.marks += (uint64_t)by;
	if (m->flags & MARK_DOUBT)
		state_repo(s, repo)->doubts += (uint64_t)by;
}

void state_mark_put(struct state *s, const char *repo, const char *path, const struct mark *m)
{
	struct mark old;

	if (state_mark_get(s, repo, path, &old))
		count_mark(s, repo, &old, -1);
	count_mark(s, repo, m, 1);
	key_doc(&s->key, 'm', repo, path);
	buf_reset(&s->value);
	mark_encode(&s->value, m);
	put(s);
}

void state_mark_del(struct state *s, const char *repo, const char *path)
{
	struct mark old;

	if (!state_mark_get(s, repo, path, &old))
		return;
	count_mark(s, repo, &old, -1);
	key_doc(&s->key, 'm', repo, path);
	tree_del(&s->tree, s->key.data, s->key.len);
}

/* The record after at->key whose key begins with prefix, into *at. */
static bool walk_next(struct state *s, struct walk *at, const struct buf *prefix)
{
	struct buf *key = &s->key;
	bool found, first = at->key.len == 0;

	s->walked++;
	do {
		const struct buf *from = first ? prefix : &at->key;

		found = tree_next(&s->tree, from->data, from->len, first || at->again, key, &at->value);
	} while (reader_again(s));
	at->again = false;
	if (!found || key->len < prefix->len || memcmp(key->data, prefix->data, prefix->len) != 0)
		return false;
	buf_reset(&at->key);
	buf_add(&at->key, key->data, key->len);
	return true;
}

/* Whoever walks may leave out what does not concern him, not what does not parse. */
static bool parses(char kind, const struct buf *value)
{
	const uint8_t *p = (const uint8_t *)value->data;
	struct repo_state r;
	struct doc_state d;
	struct failure f;
	struct mark m;

	switch (kind) {
	case 'c':
		if (repo_decode(&r, p, value->len) != 0)
			return false;
		repo_release(&r);
		return true;
	case 'd':
		return doc_decode(&d, p, value->len) == 0;
	case 'f':
		if (failure_decode(&f, p, value->len) != 0)
			return false;
		failure_release(&f);
		return true;
	default:
		return mark_decode(&m, p, value->len) == 0;
	}
}

bool state_walk(struct state *s, char kind, const char *repo, struct walk *at)
{
	auto_buf struct buf prefix = BUF_INIT;

	buf_addc(&prefix, kind);
	if (repo != NULL)
		buf_add(&prefix, repo, strlen(repo) + 1);
	free(at->repo);
	free(at->path);
	at->repo = at->path = NULL;
	if (!walk_next(s, at, &prefix))
		return false;
	if (key_split(at->key.data, at->key.len, &at->repo, &at->path) != 0)
		return damaged(s, "a key does not parse");
	return parses(kind, &at->value) || damaged(s, "a record does not parse");
}

uint64_t state_walked(const struct state *s)
{
	return s->walked;
}

bool state_any_doc(struct state *s, struct walk *at)
{
	bool found;

	free(at->repo);
	free(at->path);
	at->repo = at->path = NULL;
	do {
		found = tree_any(&s->tree, clock_random, &s->key, &at->value);
	} while (reader_again(s));
	if (!found || s->key.len == 0 || s->key.data[0] != 'd')
		return false;
	if (key_split(s->key.data, s->key.len, &at->repo, &at->path) != 0)
		return damaged(s, "a key does not parse");
	return parses('d', &at->value) || damaged(s, "a record does not parse");
}

void walk_release(struct walk *at)
{
	buf_release(&at->key);
	buf_release(&at->value);
	free(at->repo);
	free(at->path);
	memset(at, 0, sizeof *at);
}

void state_marks_doubt(struct state *s)
{
	struct walk at = { 0 };
	struct mark m;

	if (s->head.marks == 0)
		return;
	while (state_walk(s, 'm', NULL, &at)) {
		if (mark_decode(&m, (const uint8_t *)at.value.data, at.value.len) != 0 ||
		    (m.flags & (MARK_SETTLED | MARK_DOUBT)))
			continue;
		m.flags |= MARK_DOUBT;
		state_mark_put(s, at.repo, at.path, &m);
		if (state_dirty(s) > STATE_DIRTY_MAX)
			state_commit(s);
	}
	walk_release(&at);
}

/* ---- repositories ---- */

static void repo_load(struct state *s, struct repo_entry *e)
{
	struct repo_state *r = &e->state;

	key_repo(&s->key, e->name);
	if (get(s, &s->key, &s->value)) {
		if (repo_decode(r, (const uint8_t *)s->value.data, s->value.len) == 0)
			return;
		statefile_damaged(s->file, "a repository does not parse");
	}
	r->commit = xstrdup("");
	r->changeset = xstrdup("");
	r->held_commit = xstrdup("");
	r->held_since = xstrdup("");
	r->held_changeset = xstrdup("");
}

/* NULL: it was not looked at since the last commit. */
static struct repo_entry *repo_find(struct state *s, const char *repo, unsigned *slot)
{
	unsigned h = 5381;
	struct repo_entry *e;

	for (const char *c = repo; *c != '\0'; c++)
		h = h * 33 + (unsigned char)*c;
	*slot = h % REPO_SLOTS;
	for (e = s->repos[*slot]; e != NULL; e = e->next)
		if (strcmp(e->name, repo) == 0)
			return e;
	return NULL;
}

struct repo_state *state_repo(struct state *s, const char *repo)
{
	unsigned h;
	struct repo_entry *e = repo_find(s, repo, &h);

	if (e != NULL)
		return &e->state;
	e = xcalloc(1, sizeof *e);
	e->name = xstrdup(repo);
	repo_load(s, e);
	e->next = s->repos[h];
	s->repos[h] = e;
	s->nrepos++;
	return &e->state;
}

void repo_set_text(char **member, const char *text)
{
	char *copy = xstrdup(text != NULL ? text : "");

	free(*member);
	*member = copy;
}

bool state_walk_repos(struct state *s, struct walk *at)
{
	auto_buf struct buf prefix = BUF_INIT;

	buf_addc(&prefix, 'c');
	free(at->repo);
	at->repo = NULL;
	if (!walk_next(s, at, &prefix))
		return false;
	at->repo = xmemdup0(at->key.data + 1, at->key.len - 1);
	return parses('c', &at->value) || damaged(s, "a repository does not parse");
}

/* ---- failures ---- */

static bool has_document(const struct failure *f)
{
	return f->path != NULL && f->path[0] != '\0';
}

static void failure_key(struct state *s, const struct failure *f, bool repo_known)
{
	if (!repo_known)
		key_line(&s->key, 'u', f->line);
	else if (has_document(f))
		key_doc(&s->key, 'f', f->repo, f->path);
	else
		key_repo_line(&s->key, f->repo, f->line);
}

static void order_key(struct buf *b, struct place_in_run line, uint8_t half)
{
	key_line(b, 'o', line);
	buf_addc(b, (char)half);
}

static void payload_del(struct state *s, struct place_in_run line)
{
	size_t n;

	statefile_get(s->file, KIND_PAYLOAD, line.run, line.ord, &n);
	if (n == 0)
		return;
	s->head.payload_bytes -= n < s->head.payload_bytes ? n : s->head.payload_bytes;
	statefile_del(s->file, KIND_PAYLOAD, line.run, line.ord);
}

/* True if another half of the same line has failed too: they share one payload. */
static bool line_has_failure(struct state *s, struct place_in_run line)
{
	auto_buf struct buf prefix = BUF_INIT, key = BUF_INIT, val = BUF_INIT;

	key_line(&prefix, 'o', line);
	return tree_next(&s->tree, prefix.data, prefix.len, true, &key, &val) &&
	       key.len > prefix.len && memcmp(key.data, prefix.data, prefix.len) == 0;
}

/* Deletes the record under `key` with all that belongs to it. */
static bool failure_del_key(struct state *s, const struct buf *key, struct failure *old)
{
	auto_buf struct buf order = BUF_INIT, value = BUF_INIT;

	memset(old, 0, sizeof *old);
	if (!tree_get(&s->tree, key->data, key->len, &value))
		return false;
	if (failure_decode(old, (const uint8_t *)value.data, value.len) != 0)
		statefile_damaged(s->file, "a failure does not parse");
	order_key(&order, old->line, old->half);
	if (key->data[0] == 'u') {
		key_digest(&s->key, old->digest, old->line);
		if (old->digest != 0)
			tree_del(&s->tree, s->key.data, s->key.len);
		if (old->line.run == s->run.number && s->has_run && s->run.unknown_failures > 0)
			s->run.unknown_failures--;
	} else {
		state_repo(s, old->repo)->failed--;
	}
	tree_del(&s->tree, key->data, key->len);
	tree_del(&s->tree, order.data, order.len);
	if (!line_has_failure(s, old->line))
		payload_del(s, old->line);
	return true;
}

static void count_unknown(struct state *s, const struct failure *f)
{
	if (s->has_run)
		s->run.unknown_failures++;
	if (f->digest == 0)
		return;
	key_digest(&s->key, f->digest, f->line);
	tree_put(&s->tree, s->key.data, s->key.len, "", 0);
}

void state_failure_put(struct state *s, const struct failure *f, bool repo_known, const void *payload,
		       size_t n)
{
	auto_buf struct buf key = BUF_INIT, order = BUF_INIT;
	struct failure new = *f, old;

	failure_key(s, f, repo_known);
	buf_add(&key, s->key.data, s->key.len);
	if (failure_del_key(s, &key, &old)) {
		if (place_compare(old.line, f->line) == 0)
			new.first_s = old.first_s;
		failure_release(&old);
	}
	order_key(&order, f->line, f->half);
	if (tree_get(&s->tree, order.data, order.len, &s->value) &&
	    (s->value.len != key.len || memcmp(s->value.data, key.data, key.len) != 0)) {
		auto_buf struct buf stale = BUF_INIT;

		buf_add(&stale, s->value.data, s->value.len);
		if (failure_del_key(s, &stale, &old)) {
			new.first_s = old.first_s;
			failure_release(&old);
		}
	}
	new.payload = 0;
	if (n > 0 && n <= PAYLOAD_MAX && s->head.payload_bytes + n <= PAYLOADS_MAX) {
		payload_del(s, f->line);
		new.payload = (uint32_t)n;
		statefile_put(s->file, KIND_PAYLOAD, f->line.run, f->line.ord, payload, n);
		s->head.payload_bytes += n;
	}
	if (repo_known)
		state_repo(s, f->repo)->failed++;
	else
		count_unknown(s, f);
	buf_reset(&s->value);
	failure_encode(&s->value, &new);
	tree_put(&s->tree, key.data, key.len, s->value.data, s->value.len);
	tree_put(&s->tree, order.data, order.len, key.data, key.len);
	s->changed = true;
}

bool state_failure_get(struct state *s, const char *repo, const char *path, struct failure *f)
{
	memset(f, 0, sizeof *f);
	key_doc(&s->key, 'f', repo, path);
	if (!get(s, &s->key, &s->value))
		return false;
	return failure_decode(f, (const uint8_t *)s->value.data, s->value.len) == 0 ||
	       damaged(s, "a failure does not parse");
}

void state_failure_del(struct state *s, const char *repo, const char *path)
{
	auto_buf struct buf key = BUF_INIT;
	struct failure old;

	if (state_repo(s, repo)->failed == 0)
		return;
	key_doc(&key, 'f', repo, path);
	if (failure_del_key(s, &key, &old))
		failure_release(&old);
}

static bool is_after(const struct state *s, struct place_in_run at, uint32_t ord)
{
	return s->has_run && at.run == s->run.number && at.ord > ord;
}

bool state_failed_after(struct state *s, const char *repo, uint32_t ord)
{
	auto_buf struct buf from = BUF_INIT, key = BUF_INIT, value = BUF_INIT;
	struct walk at = { 0 };
	struct failure f;
	bool found;

	/* of those without a document the key holds the place */
	key_repo_line(&from, repo, (struct place_in_run){ s->run.number, ord });
	found = tree_next(&s->tree, from.data, from.len, false, &key, &value) && key.len == from.len &&
		memcmp(key.data, from.data, from.len - 8) == 0 &&
		is_after(s, key_place(key.data + key.len - 8), ord);
	while (!found && state_walk(s, 'f', repo, &at)) {
		if (failure_decode(&f, (const uint8_t *)at.value.data, at.value.len) != 0)
			continue;
		found = is_after(s, f.line, ord);
		failure_release(&f);
	}
	walk_release(&at);
	return found;
}

bool state_failure_next(struct state *s, struct failure_walk *at, struct failure *f)
{
	auto_buf struct buf from = BUF_INIT, order = BUF_INIT;
	bool found, whole;

	failure_release(f);
	order_key(&from, at->at, at->half);
	do {
		found = tree_next(&s->tree, from.data, from.len, false, &order, &at->key) &&
			order.len == 10 && order.data[0] == 'o';
		whole = !found || tree_get(&s->tree, at->key.data, at->key.len, &at->value);
	} while (reader_again(s));
	if (!whole)
		return damaged(s, "a failed line is missing");
	if (!found)
		return false;
	if (failure_decode(f, (const uint8_t *)at->value.data, at->value.len) != 0)
		return damaged(s, "a failure does not parse");
	at->at = key_place(order.data + 1);
	at->half = (uint8_t)order.data[9];
	at->repo_known = at->key.data[0] != 'u';
	return true;
}

void failure_walk_release(struct failure_walk *at)
{
	buf_release(&at->key);
	buf_release(&at->value);
	memset(at, 0, sizeof *at);
}

bool state_failure_walk(struct state *s, const char *repo, struct walk *at, struct failure *f)
{
	const char *kinds = repo == NULL ? "u" : at->key.len > 0 && at->key.data[0] == 'g' ? "g" : "fg";
	bool found = false;

	failure_release(f);
	for (; !found && *kinds != '\0'; kinds++) {
		auto_buf struct buf prefix = BUF_INIT;

		buf_addc(&prefix, *kinds);
		if (repo != NULL)
			buf_add(&prefix, repo, strlen(repo) + 1);
		if (at->key.len > 0 && at->key.data[0] != *kinds)
			buf_reset(&at->key);
		found = walk_next(s, at, &prefix);
	}
	if (!found)
		return false;
	return failure_decode(f, (const uint8_t *)at->value.data, at->value.len) == 0 ||
	       damaged(s, "a failure does not parse");
}

void state_unknown_seek(struct walk *at, uint32_t run)
{
	key_line(&at->key, 'u', (struct place_in_run){ run, 0 });
}

void state_failure_del_line(struct state *s, const char *repo, struct place_in_run line)
{
	auto_buf struct buf key = BUF_INIT;
	struct failure old;

	key_repo_line(&key, repo, line);
	if (failure_del_key(s, &key, &old))
		failure_release(&old);
	key_line(&key, 'u', line);
	if (failure_del_key(s, &key, &old))
		failure_release(&old);
}

void state_failure_del_at(struct state *s, const struct failure_walk *at)
{
	struct failure old;

	if (failure_del_key(s, &at->key, &old))
		failure_release(&old);
}

bool state_failure_payload(struct state *s, const struct failure *f, struct buf *out)
{
	size_t n = 0;
	const uint8_t *p = NULL;

	buf_reset(out);
	if (f->payload > 0)
		p = statefile_get(s->file, KIND_PAYLOAD, f->line.run, f->line.ord, &n);
	if (f->payload > 0 && n != f->payload) {
		must_be(s, "a failed line is missing");
		return false;
	}
	if (n > 0)
		buf_add(out, p, n);
	return n > 0;
}

void state_failures_closed(struct state *s, const char *repo, const struct run_state *run)
{
	auto_buf struct buf prefix = BUF_INIT, key = BUF_INIT, value = BUF_INIT;

	if (state_repo(s, repo)->failed == 0)
		return;
	buf_addc(&prefix, 'g');
	buf_add(&prefix, repo, strlen(repo) + 1);
	while (tree_next(&s->tree, prefix.data, prefix.len, true, &key, &value) &&
	       key.len == strlen(repo) + 10 && memcmp(key.data, prefix.data, strlen(repo) + 2) == 0) {
		struct place_in_run at = key_place(key.data + strlen(repo) + 2);
		struct failure old;

		if (at.run >= run->number)
			return;
		if (run_own_ord(run, at) == 0 && failure_del_key(s, &key, &old))
			failure_release(&old);
		buf_reset(&prefix);
		buf_add(&prefix, key.data, key.len);
		buf_addc(&prefix, '\0');
	}
}

/* ---- failed lines of no known repository ---- */

bool state_unknown_next(struct state *s, struct failure_walk *at, struct failure *f)
{
	auto_buf struct buf from = BUF_INIT, key = BUF_INIT;
	bool found;

	failure_release(f);
	key_line(&from, 'u', at->at);
	do {
		found = tree_next(&s->tree, from.data, from.len, false, &key, &at->value) &&
			key.len == 9 && key.data[0] == 'u';
	} while (reader_again(s));
	if (!found)
		return false;
	if (failure_decode(f, (const uint8_t *)at->value.data, at->value.len) != 0)
		statefile_damaged(s->file, "a failure does not parse");
	buf_reset(&at->key);
	buf_add(&at->key, key.data, key.len);
	at->at = f->line;
	at->half = f->half;
	at->repo_known = false;
	return true;
}

bool state_unknown_same(struct state *s, uint64_t digest, struct place_in_run after, struct failure *f)
{
	auto_buf struct buf from = BUF_INIT, key = BUF_INIT, value = BUF_INIT;

	failure_release(f);
	key_digest(&from, digest, after);
	if (!tree_next(&s->tree, from.data, from.len, false, &key, &value) || key.len != from.len ||
	    memcmp(key.data, from.data, 9) != 0)
		return false;
	key_line(&s->key, 'u', key_place(key.data + 9));
	if (!tree_get(&s->tree, s->key.data, s->key.len, &value) ||
	    failure_decode(f, (const uint8_t *)value.data, value.len) != 0)
		statefile_damaged(s->file, "a failure is missing or does not parse");
	return true;
}

static void unknown_del_of(struct state *s, uint32_t run, uint32_t from, uint32_t to)
{
	struct failure_walk at = { .at = { run, from > 0 ? from - 1 : 0 } };
	struct failure f = { 0 };

	while (state_unknown_next(s, &at, &f) && f.line.run == run && f.line.ord < to)
		state_failure_del_at(s, &at);
	failure_release(&f);
	failure_walk_release(&at);
}

void state_unknown_del(struct state *s, const struct run_state *run, uint32_t from, uint32_t to)
{
	for (int i = 0; i < run->nancestors; i++) {
		uint32_t cut = run->ancestors[i].cut;

		unknown_del_of(s, run->ancestors[i].run, from, to < cut ? to : cut);
	}
	unknown_del_of(s, run->number, from, to);
}

uint32_t state_unknown_top(struct state *s, uint32_t run)
{
	struct walk at = { 0 };
	uint32_t top = 0;

	while (state_walk_repos(s, &at)) {
		unsigned slot;
		const struct repo_entry *e = repo_find(s, at.repo, &slot);
		struct repo_state r = { 0 };
		const struct repo_state *now = &r;

		if (e != NULL)		/* it may have changed since the last commit */
			now = &e->state;
		else if (repo_decode(&r, (const uint8_t *)at.value.data, at.value.len) != 0)
			statefile_damaged(s->file, "a repository does not parse");
		if (now->unknown_run == run && now->unknown_ord > top)
			top = now->unknown_ord;
		repo_release(&r);
	}
	walk_release(&at);
	return top;
}

void state_unknown_release(struct state *s, const char *repo, bool superseded)
{
	struct repo_state *rs = state_repo(s, repo);
	uint32_t number = rs->unknown_run, top = rs->unknown_ord, left = 0;
	struct run_state old;

	if (number == 0)
		return;
	rs->unknown_run = rs->unknown_ord = 0;
	if (state_run_get(s, number, &old) != 0)
		old.number = number;
	if (old.unknown_holding > 1)
		left = top < old.unknown_top ? old.unknown_top : state_unknown_top(s, number);
	old.unknown_holding -= old.unknown_holding > 0;
	old.unknown_top = left;
	if (old.id != NULL)
		state_run_put(s, &old);
	if (superseded && left < top)
		state_unknown_del(s, &old, left, top);
	run_release(&old);
}

/* ---- forget ---- */

static void forget_docs(struct state *s, const char *repo)
{
	struct walk at = { 0 };

	while (state_walk(s, 'd', repo, &at)) {
		state_doc_del(s, at.repo, at.path);
		if (state_dirty(s) > STATE_DIRTY_MAX)
			state_commit(s);
	}
	walk_release(&at);
}

static void forget_failures(struct state *s, const char *repo)
{
	struct failure_walk at = { 0 };
	struct failure f = { 0 };

	while (state_failure_next(s, &at, &f)) {
		if (repo == NULL || (at.repo_known && strcmp(f.repo, repo) == 0))
			state_failure_del_at(s, &at);
		if (state_dirty(s) > STATE_DIRTY_MAX)
			state_commit(s);
	}
	failure_walk_release(&at);
}

/* What is kept of a repository: the counters that its marks and other records still stand for. */
static void forget_repo(struct state *s, const char *repo)
{
	struct repo_state *r = state_repo(s, repo);
	uint64_t doubts = r->doubts, failed = r->failed, present = r->present, loose = r->loose;

	state_unknown_release(s, repo, false);
	repo_release(r);
	repo_set_text(&r->commit, "");
	repo_set_text(&r->changeset, "");
	repo_set_text(&r->held_commit, "");
	repo_set_text(&r->held_since, "");
	repo_set_text(&r->held_changeset, "");
	r->doubts = doubts;
	r->failed = failed;
	r->present = present;
	r->loose = loose;
}

static void forget_repos(struct state *s, const char *repo)
{
	struct walk at = { 0 };

	while (state_walk_repos(s, &at)) {
		if (repo == NULL || strcmp(at.repo, repo) == 0)
			forget_repo(s, at.repo);
		if (state_dirty(s) > STATE_DIRTY_MAX)
			state_commit(s);
	}
	walk_release(&at);
}

static void close_last_run(struct state *s)
{
	uint32_t last = s->head.next_run - 1;

	struct run_state r;

	if (last == 0 || state_run_get(s, last, &r) != 0)
		return;
	if (run_interrupt(&r))
		state_run_put(s, &r);
	run_release(&r);
	state_lines_drop(s, last);
}

void state_unlearn(struct state *s, const char *repo)
{
	struct walk at = { 0 };
	struct doc_state d;

	close_last_run(s);
	while (state_walk(s, 'd', repo, &at)) {
		if (doc_decode(&d, (const uint8_t *)at.value.data, at.value.len) != 0)
			continue;
		d.flags &= (uint8_t)~DOC_KNOWN;
		state_doc_put(s, at.repo, at.path, &d);
		if (state_dirty(s) > STATE_DIRTY_MAX)
			state_commit(s);
	}
	walk_release(&at);
	forget_repos(s, repo);
	s->changed = true;
	state_commit(s);
}

/* Forgotten repositories of which nothing is left: their records, as they were committed. */
static void drop_empty_repos(struct state *s, const char *repo)
{
	struct walk at = { 0 };
	struct repo_state r;

	while (state_walk_repos(s, &at)) {
		if ((repo != NULL && strcmp(at.repo, repo) != 0) ||
		    repo_decode(&r, (const uint8_t *)at.value.data, at.value.len) != 0)
			continue;
		if (r.present == 0 && r.failed == 0 && r.doubts == 0 && r.loose == 0)
			tree_del(&s->tree, at.key.data, at.key.len);
		repo_release(&r);
		if (state_dirty(s) > STATE_DIRTY_MAX)
			state_commit(s);
	}
	walk_release(&at);
}

/* The collection is to be read again first of all: a crash in between leaves documents unknown that
 * are about to be listed, never known ones that are not. */
void state_forget(struct state *s, const char *repo)
{
	close_last_run(s);
	s->head.collection_read = false;
	s->changed = true;
	forget_repos(s, repo);
	state_commit(s);
	forget_docs(s, repo);
	forget_failures(s, repo);
	if (repo == NULL) {
		s->head.dimension = 0;
		free(s->head.embedder);
		s->head.embedder = xstrdup("");
		repo_set_text(&s->head.embed_how, "");
	}
	s->changed = true;
	state_commit(s);
	drop_empty_repos(s, repo);
	s->changed = true;
	state_commit(s);
}
