/* linesync check: would a sync begin?  Asks the store and reads the state, as a sync does first, and
 * says of each what is found and what to do.  Neither is changed: no collection and no state is made. */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alloc.h"
#include "ask.h"
#include "cleanup.h"
#include "collection.h"
#include "commands.h"
#include "connect.h"
#include "embedder.h"
#include "json.h"
#include "lock.h"
#include "log.h"
#include "show.h"
#include "text.h"

enum {
	ON_STORE, ON_AUTHORISED, ON_VERSION, ON_COLLECTION, ON_DIMENSION, ON_EMBEDDER, ON_STATE, ON_LOCK,
	CHECKS
};

static const char *const names[CHECKS] = {
	"store", "authorised", "version", "collection", "dimension", "embedder", "state", "lock"
};

/* In which a sync looks at them: the first bad one gives the status. */
static const int order[CHECKS] = {
	ON_LOCK, ON_STATE, ON_AUTHORISED, ON_STORE, ON_VERSION, ON_COLLECTION, ON_DIMENSION, ON_EMBEDDER
};

struct finding {
	enum { NOT_LOOKED, GOOD, BAD } what;
	int status;		/* BAD: what a sync would exit with; 1: it would go on */
	struct buf text;
};

struct check {
	const struct options *o;
	struct connection c;
	struct state *s;	/* NULL: there is none, or it cannot be read */
	char *file;		/* where it is, or would be */
	bool no_state;		/* there is none yet */
	enum { UNSEEN, MISSING, FOUND } collection;
	uint64_t objects;	/* FOUND: it holds */
	struct embedder embedder;	/* what a sync would embed with; name NULL: not known */
	struct connection server;
	char *holder;		/* who works on the state; NULL: nobody */
	struct finding findings[CHECKS];
};

/* ---- findings ---- */

/* Where to say what is well. */
static struct buf *good(struct check *k, int i)
{
	k->findings[i].what = GOOD;
	return &k->findings[i].text;
}

/* What is logged between these two is the finding's text, as a sync would have written it. */
static void begin(struct check *k, int i)
{
	buf_reset(&k->findings[i].text);
	log_divert(&k->findings[i].text);
}

/* True if all is well, and nothing is said yet. */
static bool end(struct check *k, int i, int status)
{
	struct finding *f = &k->findings[i];

	log_divert(NULL);
	if (status == 0 && f->text.len == 0)
		return true;
	f->what = BAD;
	f->status = status != 0 ? status : 1;
	return false;
}

/* Of what could not be looked at: why. */
static void pass_over(struct check *k, int i, const char *why)
{
	if (k->findings[i].what == NOT_LOOKED && k->findings[i].text.len == 0)
		buf_adds(&k->findings[i].text, why);
}

static int exit_status(const struct check *k)
{
	int status = 0;

	for (int i = 0; i < CHECKS; i++) {
		const struct finding *f = &k->findings[order[i]];

		if (f->what == BAD && status <= 1 && f->status > status)
			status = f->status;
	}
	return status;
}

/* ---- the store ---- */

static int ask_store(struct check *k, struct ask *a, const char *what)
{
	return ask_patiently(&k->c.store, k->c.http, a, NULL, what, -1);
}

/* Moves what is bad for want of a key, if it is that, to where it belongs. */
static bool refused(struct check *k, int i, const struct ask *a)
{
	if (a->verdict.scope != VERDICT_AUTH)
		return false;
	buf_reset(&k->findings[ON_AUTHORISED].text);
	buf_add(&k->findings[ON_AUTHORISED].text, k->findings[i].text.data, k->findings[i].text.len);
	end(k, ON_AUTHORISED, 77);
	buf_reset(&k->findings[i].text);
	k->findings[i].what = NOT_LOOKED;
	return true;
}

static bool look_at_store(struct check *k)
{
	struct ask ready = { .kind = ASK_READY };
	bool well;

	begin(k, ON_STORE);
	well = end(k, ON_STORE, ask_store(k, &ready, "reach the store"));
	if (well || refused(k, ON_STORE, &ready))
		buf_addf(good(k, ON_STORE), "'%s' answers", k->c.store.url.base);
	if (well)
		buf_adds(good(k, ON_VERSION), k->c.store.version != NULL ? k->c.store.version
									 : "the server does not tell it");
	ask_release(&ready);
	return well;
}

static void count_objects(struct check *k)
{
	struct ask count = { .kind = ASK_COUNT };

	begin(k, ON_COLLECTION);
	if (end(k, ON_COLLECTION, ask_store(k, &count, "count the collection's objects")))
		k->collection = FOUND;
	refused(k, ON_COLLECTION, &count);
	k->objects = count.count;
	ask_release(&count);
}

static void look_at_collection(struct check *k)
{
	struct ask look = { .kind = ASK_OPEN, .look = !k->o->no_create };
	bool well, missing;

	begin(k, ON_COLLECTION);
	well = end(k, ON_COLLECTION, ask_store(k, &look, "open the collection"));
	/* what drivers answer where there is none, and none is to be made */
	missing = look.verdict.scope == VERDICT_RUN && look.verdict.http == 404;
	if (well)
		count_objects(k);
	else if (missing && !k->o->no_create)
		k->collection = MISSING;
	refused(k, ON_COLLECTION, &look);
	if ((well || missing) && k->findings[ON_AUTHORISED].what == NOT_LOOKED)
		buf_adds(good(k, ON_AUTHORISED), k->c.header != NULL ? "the key is accepted"
								     : "no key is given, and none is wanted");
	if (k->c.store.dimension != 0)
		buf_addf(good(k, ON_DIMENSION), "vectors of %zu numbers", k->c.store.dimension);
	else if (k->collection != UNSEEN)
		buf_adds(good(k, ON_DIMENSION), "not fixed yet");
	ask_release(&look);
}

/* ---- the state ---- */

/* The folder that would hold it; of one that a sync would make, the nearest that is there. */
static char *folder_of(const char *file, bool made)
{
	char *folder = xstrdup(file), *slash;

	while ((slash = strrchr(folder, '/')) != NULL) {
		if (slash == folder) {
			folder[1] = '\0';
			return folder;
		}
		*slash = '\0';
		if (!made || access(folder, F_OK) == 0 || (errno != ENOENT && errno != ENOTDIR))
			return folder;
	}
	free(folder);
	return xstrdup(".");
}

static void look_for_room(struct check *k)
{
	autofree char *folder = folder_of(k->file, k->o->state == NULL);
	autofree char *inside = xasprintf("%s/.", folder);	/* no plain file has that */
	bool room;

	begin(k, ON_STATE);
	room = access(inside, W_OK | X_OK) == 0;
	if (!room)
		log_err("'%s' is not there and cannot be made; folder '%s': %s; name another with --state or "
			"--state-dir", k->file, folder, strerror(errno));
	if (end(k, ON_STATE, room ? 0 : 73))
		buf_addf(good(k, ON_STATE), "'%s' is not there yet; the first sync makes it", k->file);
}

/* Every record: state_failed() says whether that went well. */
static void read_all(struct state *s)
{
	static const char kinds[] = "dm";
	struct failure_walk at = { 0 };
	struct failure f = { 0 };
	struct run_state r = { 0 };

	for (size_t i = 0; kinds[i] != '\0'; i++) {
		struct walk w = { 0 };

		while (state_walk(s, kinds[i], NULL, &w))
			;
		walk_release(&w);
	}
	while (state_failure_next(s, &at, &f))
		;
	failure_walk_release(&at);
	while (state_run_above(s, r.number, &r))
		;
	run_release(&r);
}

static uint64_t count_repos(struct state *s)
{
	struct walk at = { 0 };
	uint64_t n = 0;

	while (state_walk_repos(s, &at))
		n++;
	walk_release(&at);
	return n;
}

static void look_at_state(struct check *k)
{
	unsigned long long documents, repos = 0;
	int status;

	begin(k, ON_STATE);
	status = k->s == NULL ? state_exists(k->file) : 0;
	if (status == 66) {
		k->no_state = true;
		look_for_room(k);
		return;
	}
	if (status == 0 && k->s == NULL)
		status = state_open_reader(&k->s, k->file);
	if (status == 0)
		status = state_belongs(k->s, k->c.store.url.canonical, k->c.store.collection);
	if (status == 0 && access(k->file, R_OK | W_OK) != 0) {
		log_err("cannot write state '%s': %s", k->file, strerror(errno));
		status = 74;
	}
	if (status == 0) {
		state_refresh(k->s);
		read_all(k->s);
		repos = count_repos(k->s);
		status = state_failed(k->s);
	}
	if (!end(k, ON_STATE, status)) {
		state_close(k->s);
		k->s = NULL;
		return;
	}
	documents = state_head(k->s)->present;
	buf_addf(good(k, ON_STATE), "'%s' holds %llu document%s of %llu %s", k->file, documents,
		 documents == 1 ? "" : "s", repos, repos == 1 ? "repository" : "repositories");
}

static void look_at_lock(struct check *k)
{
	int held;

	begin(k, ON_LOCK);
	held = state_locked(k->file, &k->holder);
	if (held > 0)
		lock_tell(k->holder);
	if (end(k, ON_LOCK, held == 0 ? 0 : held > 0 ? 75 : 74))
		buf_adds(good(k, ON_LOCK), "nobody works on the state");
}

/* ---- both ---- */

/* Of the collection, when it is known what the state says of it. */
static void tell_collection(struct check *k)
{
	struct buf *text;
	int status = 0;

	if (k->collection == UNSEEN)
		return;
	k->c.store.existed = k->collection == FOUND;
	begin(k, ON_COLLECTION);
	if (k->s != NULL)
		status = collection_compare(&k->c.store, k->c.http, k->s, k->objects, NULL, -1);
	if (k->s != NULL && state_failed(k->s) != 0)
		status = state_failed(k->s);
	if (!end(k, ON_COLLECTION, status))
		return;
	text = good(k, ON_COLLECTION);
	if (k->collection == FOUND)
		buf_addf(text, "'%s' holds %llu object%s", k->c.store.collection,
			 (unsigned long long)k->objects, k->objects == 1 ? "" : "s");
	else
		buf_addf(text, "'%s' is not there yet; the first sync makes it", k->c.store.collection);
}

/* A search by text shows whether the provider of the collection's vectoriser answers. */
static int try_vectoriser(struct check *k)
{
	struct ask a = { .kind = ASK_SEARCH, .text = "linesync" };
	int status = ask_store(k, &a, "let the collection's vectoriser embed a word");

	ask_release(&a);
	return status;
}

/* False: what the store's own vectoriser is, only the collection or the first sync tells. */
static bool settle_embedder(struct check *k, int *status)
{
	const struct store *server = NULL;
	struct embedder *e = &k->embedder;

	*status = embedder_check_store(k->o, k->c.store.driver);
	if (*status == 0)
		*status = embedder_choose(e, k->s, k->o);
	if (*status == 0 && e->kind == EMBED_STORE && k->collection != FOUND)
		return false;
	if (*status == 0 && e->kind == EMBED_URL) {
		*status = embedder_reach(&k->server, e, false, k->o, NULL, NULL, -1);
		server = &k->server.store;
	}
	if (*status == 0)
		*status = embedder_settle(e, k->s, &k->c.store, server, k->o);
	if (*status == 0 && e->kind == EMBED_STORE)
		*status = try_vectoriser(k);
	return true;
}

static const char *unless(const struct check *k)
{
	bool may_embed = k->collection != FOUND && k->c.store.driver->vectorises && k->c.store.embeds;

	if (k->o->embed != NULL || k->embedder.decided || k->embedder.kind != EMBED_HASH)
		return "";
	return may_embed ? ", unless the server has a vectoriser for new collections, or the first record brings "
			   "a vector" : ", unless the first record brings a vector";
}

static void look_at_embedder(struct check *k)
{
	bool settled;
	int status;

	if (k->s == NULL && !k->no_state)
		return;
	begin(k, ON_EMBEDDER);
	settled = settle_embedder(k, &status);
	embedder_prepare(&k->embedder, &k->c.store, k->o);
	if (!end(k, ON_EMBEDDER, status))
		return;
	if (settled)
		buf_addf(good(k, ON_EMBEDDER), "%s%s", k->embedder.name, unless(k));
	else if (k->collection == MISSING)
		buf_adds(good(k, ON_EMBEDDER), "store: the first sync asks whether the server has a vectoriser for "
			 "new collections");
}

/* ---- the report ---- */

static void print_text(const struct check *k)
{
	static const char *const words[] = { "-", "ok", "bad" };

	for (int i = 0; i < CHECKS; i++) {
		auto_buf struct buf line = BUF_INIT;
		const struct finding *f = &k->findings[i];

		buf_addf(&line, "%-4s %-11s ", words[f->what], names[i]);
		text_printable(&line, f->text.data, f->text.len, SIZE_MAX);
		buf_addc(&line, '\n');
		fwrite(line.data, 1, line.len, stdout);
	}
}

static void member_number(struct buf *json, bool *first, const char *name, bool known, uint64_t n)
{
	if (known) {
		json_member_int(json, first, name, (int64_t)n);
	} else {
		json_name(json, first, name);
		json_cstr(json, NULL);
	}
}

static void add_finding(struct buf *json, const struct finding *f, const char *name)
{
	bool first = true;

	buf_addc(json, '{');
	json_member_cstr(json, &first, "name", name);
	if (f->what == NOT_LOOKED) {
		json_name(json, &first, "ok");
		json_cstr(json, NULL);
	} else {
		json_member_bool(json, &first, "ok", f->what == GOOD);
	}
	json_member_str(json, &first, "text", f->text.data, f->text.len);
	buf_addc(json, '}');
}

static void print_json(const struct check *k, int status)
{
	auto_buf struct buf json = BUF_INIT;
	const struct store *s = &k->c.store;
	bool first = true;

	buf_addc(&json, '{');
	json_member_cstr(&json, &first, "store", s->url.canonical);
	json_member_cstr(&json, &first, "collection", s->collection);
	json_member_cstr(&json, &first, "state", k->file);
	json_member_cstr(&json, &first, "version", s->version);
	member_number(&json, &first, "objects", k->collection == FOUND, k->objects);
	member_number(&json, &first, "dimension", s->dimension != 0, s->dimension);
	json_member_cstr(&json, &first, "embedder", k->embedder.name);
	member_number(&json, &first, "documents", k->s != NULL, k->s != NULL ? state_head(k->s)->present : 0);
	json_member_cstr(&json, &first, "holder", k->holder);
	json_member_int(&json, &first, "status", status);
	json_name(&json, &first, "checks");
	for (int i = 0; i < CHECKS; i++) {
		buf_addc(&json, i == 0 ? '[' : ',');
		add_finding(&json, &k->findings[i], names[i]);
	}
	buf_adds(&json, "]}\n");
	show_json_text(stdout, &json);
}

static int print(struct check *k)
{
	int status;

	tell_collection(k);
	status = exit_status(k);
	for (int i = 0; i < CHECKS; i++)
		pass_over(k, i, "not looked at, because of what is bad");
	if (k->o->json)
		print_json(k, status);
	else
		print_text(k);
	return status;
}

/* ---- the command ---- */

/* What a sync would be about: what is named, else what the only state says. */
static int find_names(struct check *k)
{
	const struct options *o = k->o;
	const struct identity *id;
	int status = 0;

	if (o->collection != NULL && connection_has_store(o)) {
		status = connection_name(&k->c, o, NULL, o->collection);
		if (status == 0)
			k->file = command_state_of(o, &k->c.store, false);
		return status == 0 && k->file == NULL ? 73 : status;
	}
	k->file = command_state(o, &status);
	if (k->file != NULL)
		status = state_open_reader(&k->s, k->file);
	if (k->s == NULL)
		return status;
	id = state_identity(k->s);
	return connection_name(&k->c, o, o->store != NULL ? o->store : id->store,
			       o->collection != NULL ? o->collection : id->collection);
}

static int check(struct check *k)
{
	begin(k, ON_AUTHORISED);
	if (end(k, ON_AUTHORISED, connection_open(&k->c, k->o)) && look_at_store(k))
		look_at_collection(k);
	look_at_lock(k);
	look_at_state(k);
	look_at_embedder(k);
	return print(k);
}

int cmd_check(const struct options *o)
{
	struct check k = { .o = o };
	int status = embedder_check_options(o);

	if (status == 0)
		status = find_names(&k);
	if (status == 0)
		status = check(&k);
	connection_release(&k.c);
	state_close(k.s);
	free(k.file);
	embedder_release(&k.embedder);
	connection_release(&k.server);
	free(k.holder);
	for (int i = 0; i < CHECKS; i++)
		buf_release(&k.findings[i].text);
	return status;
}
