#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <tdb.h>

#include "alloc.h"
#include "cleanup.h"
#include "digest.h"
#include "lock.h"
#include "log.h"
#include "patience.h"
#include "statefile.h"

#define CACHE_LIMIT (2u << 20)
#define CHECKSUM_SIZE 8
#define KEY_SIZE 9
#define SLOTS 1024		/* hash chains of the cache; a batch touches a few hundred values */
/* From this size on the file is given room by rewriting it (rule 6 of the header). */
#define GROW_FROM (8u << 20)
#define NOT_ON_DISK SIZE_MAX
#define FILE_WARN (1u << 30)
/* How large a file may become: TDB's offsets end at 4 GiB, and a commit needs room of its own.  Tests are
 * built with less. */
#ifndef STATEFILE_LIMIT
#define STATEFILE_LIMIT 3758096384u
#endif
/* New work ends here; the rest is for what is under way then. */
#define FILE_FULL (STATEFILE_LIMIT - STATEFILE_LIMIT / 16)
#define ROOM_LEAST (STATEFILE_LIMIT / 32)	/* with less of it below FILE_FULL a file is full */

/* Measured with this encoding at 100,000 documents (some 3,000 values, 4 s of CPU for the run): 1,009
 * and 100,003 chains make no difference beyond noise; a mapped file saves 0.2 s and takes 33 MB
 * instead of 18.  10,007 is TDB's good size up to 100,000 values, three million documents. */
#define HASH_SIZE 10007

struct value {
	struct value *chain;		/* next in its slot */
	struct value *newer, *older;	/* in the order of use */
	enum statefile_kind kind;
	uint32_t a, b;
	bool dirty, removed;
	uint8_t *data;			/* owned; NULL: removed */
	size_t n, cap;
	size_t on_disk;			/* its size there, as far as known; NOT_ON_DISK */
};

/* What TDB logged as an error since this was cleared. */
struct trouble {
	bool logged;
	int error;			/* errno at the first of them; 0: it was no system call */
};

struct statefile {
	struct tdb_context *tdb;	/* NULL while the state is in memory alone */
	char *path;
	bool write, warned;
	bool full;			/* no room for new work */
	int failed;			/* reader: see statefile_failed() */
	struct trouble trouble;
	bool has_head;			/* as this process last found or committed it */
	uint8_t head[CHECKSUM_SIZE];
	struct value *slots[SLOTS];
	struct value *newest, *oldest;
	size_t held, dirty;
	int64_t room;			/* bytes that TDB can give out without growing the file, about */
	bool room_known, room_failed;
	bool rewritten;			/* by this process: it is as small as can be, or was then */
	uint64_t commits;
};

static void tdb_log(struct tdb_context *tdb, enum tdb_debug_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void tdb_log(struct tdb_context *tdb, enum tdb_debug_level level, const char *fmt, ...)
{
	struct trouble *t = tdb_get_logging_private(tdb);
	int error = errno;
	char text[256];
	size_t n;
	va_list ap;

	if ((level == TDB_DEBUG_FATAL || level == TDB_DEBUG_ERROR) && !t->logged) {
		t->logged = true;
		t->error = error;
	}
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	n = strlen(text);
	while (n > 0 && text[n - 1] == '\n')
		text[--n] = '\0';
	log_debug("tdb: %s", text);
	errno = error;
}

/* Before each call of TDB's whose answer counts. */
static void clear_trouble(struct trouble *t)
{
	*t = (struct trouble){ 0 };
	errno = 0;
}

/* The errno of what just failed in TDB, 0 where no system call did: then the bytes are wrong. */
static int cause_of(const struct trouble *t, struct tdb_context *tdb)
{
	int error = t->logged ? t->error : errno;

	/* TDB says so also where it could not make a file larger */
	return error == 0 && tdb != NULL && tdb_error(tdb) == TDB_ERR_OOM ? ENOMEM : error;
}

static struct tdb_context *open_tdb(const char *path, int flags, struct trouble *t)
{
	struct tdb_logging_context logging = { tdb_log, t };

	clear_trouble(t);
	return tdb_open_ex(path, HASH_SIZE, TDB_NOMMAP | TDB_DISALLOW_NESTING, flags | O_CLOEXEC, 0600,
			   &logging, NULL);
}

static void make_key(uint8_t key[KEY_SIZE], enum statefile_kind kind, uint32_t a, uint32_t b)
{
	key[0] = (uint8_t)kind;
	for (int i = 0; i < 4; i++) {
		key[1 + i] = (uint8_t)(a >> (24 - 8 * i));
		key[5 + i] = (uint8_t)(b >> (24 - 8 * i));
	}
}

static void checksum(uint8_t out[CHECKSUM_SIZE], const uint8_t key[KEY_SIZE], const void *p, size_t n)
{
	uint8_t full[DIGEST_SIZE];
	struct digest d;

	digest_init(&d);
	digest_add(&d, key, KEY_SIZE);
	digest_add(&d, p, n);
	digest_done(&d, full);
	memcpy(out, full, CHECKSUM_SIZE);
}

/* Only a writer in a transaction calls this. */
static int store_value(struct tdb_context *tdb, enum statefile_kind kind, uint32_t a, uint32_t b,
		       const uint8_t *p, size_t n)
{
	uint8_t key[KEY_SIZE], sum[CHECKSUM_SIZE];
	TDB_DATA k = { key, KEY_SIZE };
	TDB_DATA parts[2];

	make_key(key, kind, a, b);
	checksum(sum, key, p, n);
	parts[0].dptr = sum;
	parts[0].dsize = CHECKSUM_SIZE;
	parts[1].dptr = (unsigned char *)p;
	parts[1].dsize = n;
	return tdb_storev(tdb, k, parts, 2, TDB_REPLACE);
}

/* EINVAL: this file system has no such thing as syncing a folder, so there is nothing to wait for. */
static int sync_fd(int fd)
{
	return fsync(fd) == 0 || errno == EINVAL ? 0 : -1;
}

static int sync_file(const char *path)
{
	autofd int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 || fsync(fd) != 0 ? -1 : 0;
}

/* The folder that holds path, to be synced. */
static int open_folder(const char *path)
{
	autofree char *folder = xstrdup(path);
	char *slash = strrchr(folder, '/');

	if (slash != NULL)
		slash[slash == folder ? 1 : 0] = '\0';
	return open(slash != NULL ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int cannot_sync_name(const char *path)
{
	return log_err("cannot sync the folder of '%s': %s%s; a power cut could undo what was done there, so "
		       "it does not count", path, strerror(errno),
		       errno == EACCES ? " (who writes in it must be able to read it too)" : "");
}

int statefile_sync_name(const char *path)
{
	autofd int fd = open_folder(path);

	return fd >= 0 && sync_fd(fd) == 0 ? 0 : cannot_sync_name(path);
}

/* ---- what ends the process ---- */

/* A writer must not go on (rule 2). */
static void fail(struct statefile *f, int status)
{
	if (f->write)
		_exit(status);
	f->failed = status;
}

int statefile_failed(const struct statefile *f)
{
	return f->failed;
}

void statefile_damaged(struct statefile *f, const char *what)
{
	if (f->failed != 0)
		return;		/* what follows from that is no news */
	log_err("state '%s' is damaged (%s); it is left as it is: move it away and feed everything, "
		"or restore a copy", f->path, what);
	fail(f, 74);
}

/* What to do about an errno that says nothing of what the file holds. */
static const char *remedy(int error)
{
	switch (error) {
	case EMFILE:
	case ENFILE:
		return "close some, or raise the limit";
	case EACCES:
	case EPERM:
	case EROFS:
		return "run linesync as the user who may write it";
	case ENOLCK:
	case EDEADLK:
		return "its file system must offer locks";
	case EBUSY:
		return "it is in use";
	case ELOOP:
	case ENAMETOOLONG:
	case ENOTDIR:
		return "name another path with --state or --state-dir";
	default:
		return "nothing is known to be wrong with what it holds: mend the disk or file system, and "
		       "the same command goes on";
	}
}

/* It could not be read, which says nothing of what it holds. */
static void unreadable(struct statefile *f, int error)
{
	if (error == ENOMEM)
		alloc_failed();
	log_err("cannot read state '%s': %s; %s", f->path, strerror(error), remedy(error));
	fail(f, 74);
}

/* Reader: a commit does not end. */
static void busy(struct statefile *f)
{
	autofree char *lock = xasprintf("%s.lock", f->path), *holder = NULL;

	if (lock_held(lock, &holder) <= 0)
		holder = xstrdup("who is not known");
	log_err("state '%s': another linesync (%s) has been within a commit for %d s; is it stopped, or its disk "
		"slow? try again later", f->path, holder, STATEFILE_WAIT_MS / 1000);
	fail(f, 75);
}

/* ---- open ---- */

/* Whoever made or rewrote the file may have been killed before its name was on disk and its temporary one
 * gone. */
static int finish_creation(const char *path)
{
	autofree char *temp = xasprintf("%s.new", path);

	if (statefile_sync_name(path) != 0)
		return -1;
	unlink(temp);
	return 0;
}

static enum statefile_open refuse(const char *path, const char *why)
{
	log_err("state '%s' %s; it is left as it is: move it away, or name another with --state",
		path, why);
	return STATEFILE_REFUSED;
}

static enum statefile_open cannot_open(const char *path, int error)
{
	if (error == ENOMEM)
		alloc_failed();
	log_err("cannot open state '%s': %s; %s", path, strerror(error), remedy(error));
	return STATEFILE_REFUSED;
}

/* TDB says EIO of a header that is wrong and of one that it could not read, so it is read here too. */
static enum statefile_open look_inside(const char *path)
{
	static const char food[] = "TDB file\n";
	autofd int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	char begin[sizeof food];
	size_t got = 0;
	ssize_t n = 0;

	if (fd < 0)
		return cannot_open(path, errno);
	while (got < sizeof begin && (n = pread(fd, begin + got, sizeof begin - got, (off_t)got)) > 0)
		got += (size_t)n;
	if (n < 0)
		return cannot_open(path, errno);
	if (got < sizeof begin || memcmp(begin, food, sizeof food) != 0)
		return refuse(path, "is no linesync state");
	return STATEFILE_OK;
}

/* What stands at path is looked at before TDB sees it. */
static enum statefile_open look(const char *path)
{
	struct stat st;

	if (lstat(path, &st) != 0)
		return errno == ENOENT || errno == ENOTDIR ? STATEFILE_ABSENT : cannot_open(path, errno);
	if (S_ISLNK(st.st_mode))
		return refuse(path, "is a symbolic link");
	if (!S_ISREG(st.st_mode))
		return refuse(path, "is not a file");
	return look_inside(path);
}

/* TDB waits for the end of a commit by a lock on the first byte, and goes on waiting when a signal comes.
 * So a reader waits for that lock here.  Locks are the process's: TDB then has it at once, and as it keeps
 * none once it has opened, nothing is lost when this descriptor is closed.  -1 where TDB is to say what is
 * wrong, -2 if it takes too long. */
static int wait_to_open(const char *path)
{
	struct flock first = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1 };
	int fd = open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC), got;

	if (fd < 0)
		return -1;
	patience_begin(STATEFILE_WAIT_MS);
	do {
		got = fcntl(fd, F_SETLKW, &first);
	} while (got != 0 && errno == EINTR && !patience_over);
	patience_end();
	if (got == 0 || errno != EINTR)
		return fd;
	close(fd);
	return -2;
}

static struct tdb_context *open_in_turn(struct statefile *f, int flags)
{
	struct tdb_context *tdb;
	int fd = f->write || flags == O_RDONLY ? -1 : wait_to_open(f->path), error;

	if (fd == -2) {
		busy(f);
		return NULL;
	}
	tdb = open_tdb(f->path, flags, &f->trouble);
	error = errno;
	if (fd >= 0)
		close(fd);
	if (tdb != NULL && !f->write)
		tdb_setalarm_sigptr(tdb, &patience_over);
	errno = error;
	return tdb;
}

/* Opens what look() has seen.  What is wrong in the bytes is so each time, and EIO may be just that: it
 * is tried again before it is called damage. */
static enum statefile_open open_seen(struct statefile *f)
{
	bool read_only = false;
	int error = 0;

	for (int tries = 0; tries < 3; tries++) {
		f->tdb = open_in_turn(f, read_only ? O_RDONLY : O_RDWR);
		if (f->tdb != NULL)
			return STATEFILE_OK;
		if (f->failed != 0)
			return STATEFILE_BUSY;
		error = errno;
		if ((error == EACCES || error == EROFS) && !f->write && !read_only)
			read_only = true;
		else if (error != 0 && error != EIO && error != EINVAL)
			return cannot_open(f->path, error);
	}
	if (read_only) {
		log_err("state '%s' cannot be read as it is, with no permission to write it: a linesync may "
			"have been killed in a commit, which the next one that may write mends", f->path);
		return STATEFILE_REFUSED;
	}
	if (f->trouble.error != 0)	/* by a system call, each time */
		return cannot_open(f->path, f->trouble.error);
	return refuse(f->path, "is damaged, or no linesync state");
}

static bool read_head(struct statefile *f, uint8_t sum[CHECKSUM_SIZE]);

static struct statefile *new_statefile(const char *path, bool write)
{
	struct statefile *f = xcalloc(1, sizeof *f);

	f->path = xstrdup(path);
	f->write = write;
	return f;
}

struct statefile *statefile_new(const char *path)
{
	return new_statefile(path, true);
}

enum statefile_open statefile_open(struct statefile **out, const char *path, bool write)
{
	enum statefile_open found = look(path);
	struct statefile *f;
	size_t n;

	*out = NULL;
	if (found != STATEFILE_OK)
		return found;
	f = new_statefile(path, write);
	found = open_seen(f);
	if (found == STATEFILE_OK && statefile_get(f, KIND_IDENTITY, 0, 0, &n) == NULL)
		found = f->failed == 75 ? STATEFILE_BUSY : f->failed != 0 ? STATEFILE_REFUSED :
			refuse(path, "is damaged, or no linesync state");
	if (found == STATEFILE_OK && write && finish_creation(path) != 0)
		found = STATEFILE_REFUSED;
	if (found == STATEFILE_OK && write)
		f->has_head = read_head(f, f->head);
	if (found == STATEFILE_OK)
		*out = f;
	else
		statefile_close(f);
	return found;
}

static void free_value(struct value *v)
{
	free(v->data);
	free(v);
}

void statefile_close(struct statefile *f)
{
	if (f == NULL)
		return;
	for (struct value *v = f->newest, *next; v != NULL; v = next) {
		next = v->older;
		free_value(v);
	}
	if (f->tdb != NULL)
		tdb_close(f->tdb);
	free(f->path);
	free(f);
}

static unsigned slot_of(enum statefile_kind kind, uint32_t a, uint32_t b)
{
	uint32_t h = (uint32_t)kind * 2654435761u ^ a * 2246822519u ^ b * 3266489917u;

	return (h ^ h >> 15) % SLOTS;
}

static void list_remove(struct statefile *f, struct value *v)
{
	*(v->newer ? &v->newer->older : &f->newest) = v->older;
	*(v->older ? &v->older->newer : &f->oldest) = v->newer;
}

static void list_push(struct statefile *f, struct value *v)
{
	v->newer = NULL;
	v->older = f->newest;
	if (f->newest != NULL)
		f->newest->newer = v;
	else
		f->oldest = v;
	f->newest = v;
}

static void forget(struct statefile *f, struct value *v)
{
	struct value **p = &f->slots[slot_of(v->kind, v->a, v->b)];

	while (*p != v)
		p = &(*p)->chain;
	*p = v->chain;
	list_remove(f, v);
	f->held -= v->n + sizeof *v;
	free_value(v);
}

/* A reader does not wait for ever for who commits. */
static void begin_read(struct statefile *f)
{
	clear_trouble(&f->trouble);
	if (!f->write)
		patience_begin(STATEFILE_WAIT_MS);
}

static void end_read(struct statefile *f)
{
	if (!f->write)
		patience_end();
}

/* What TDB could not do; final: what is wrong is so each time. */
static void read_failed(struct statefile *f, bool final)
{
	int error = cause_of(&f->trouble, f->tdb);

	if (!f->write && patience_over)
		busy(f);
	else if (error != 0)
		unreadable(f, error);
	else if (final)
		statefile_damaged(f, tdb_errorstr(f->tdb));
}

/* Rule 7 of the header: "there is none" is believed only if TDB logged nothing.  A read that came back
 * short leaves no errno, as wrong bytes do: those are wrong the second time too. */
static bool fetch(struct statefile *f, TDB_DATA key, TDB_DATA *got)
{
	for (int tries = 0; f->failed == 0; tries++) {
		begin_read(f);
		*got = tdb_fetch(f->tdb, key);
		end_read(f);
		if (got->dptr != NULL)
			return true;
		if (!f->trouble.logged && tdb_error(f->tdb) == TDB_ERR_NOEXIST)
			return false;
		read_failed(f, tries > 0);
	}
	return false;
}

/* Reads a value from TDB into v; v->data stays NULL if there is none. */
static void load(struct statefile *f, struct value *v)
{
	uint8_t key[KEY_SIZE], sum[CHECKSUM_SIZE];
	TDB_DATA k = { key, KEY_SIZE };
	TDB_DATA got;

	make_key(key, v->kind, v->a, v->b);
	if (f->tdb == NULL || !fetch(f, k, &got))
		return;
	if (got.dsize >= CHECKSUM_SIZE)
		checksum(sum, key, got.dptr + CHECKSUM_SIZE, got.dsize - CHECKSUM_SIZE);
	if (got.dsize < CHECKSUM_SIZE || memcmp(sum, got.dptr, CHECKSUM_SIZE) != 0) {
		free(got.dptr);
		statefile_damaged(f, "a checksum is wrong");
		return;
	}
	v->n = v->on_disk = got.dsize - CHECKSUM_SIZE;
	v->cap = got.dsize;
	memmove(got.dptr, got.dptr + CHECKSUM_SIZE, v->n);
	v->data = got.dptr;
}

/* The checksum of the head as it lies in the file now, not in memory; inside a transaction: as the
 * transaction finds it.  False if there is none. */
static bool read_head(struct statefile *f, uint8_t sum[CHECKSUM_SIZE])
{
	uint8_t key[KEY_SIZE];
	TDB_DATA k = { key, KEY_SIZE };
	TDB_DATA got;

	make_key(key, KIND_HEAD, 0, 0);
	if (!fetch(f, k, &got))
		return false;
	if (got.dsize < CHECKSUM_SIZE)
		statefile_damaged(f, "a checksum is wrong");
	memcpy(sum, got.dptr, CHECKSUM_SIZE);
	free(got.dptr);
	return true;
}

static int is_other(struct tdb_context *tdb, TDB_DATA key, TDB_DATA data, void *found)
{
	(void)tdb;
	(void)data;
	*(bool *)found |= key.dsize != KEY_SIZE || (key.dptr[0] != KIND_IDENTITY && key.dptr[0] != KIND_ROOM);
	return *(bool *)found ? 1 : 0;
}

bool statefile_is_empty(struct statefile *f)
{
	bool found = false;
	int got;

	if (f->tdb == NULL)
		return f->dirty == 0;
	if (f->failed != 0)
		return false;
	begin_read(f);
	got = tdb_traverse_read(f->tdb, is_other, &found);
	end_read(f);
	if (got < 0 || f->trouble.logged)
		read_failed(f, true);
	return !found && f->failed == 0;
}

static struct value *find(struct statefile *f, enum statefile_kind kind, uint32_t a, uint32_t b)
{
	struct value *v = f->slots[slot_of(kind, a, b)];

	while (v != NULL && (v->kind != kind || v->a != a || v->b != b))
		v = v->chain;
	if (v != NULL) {
		list_remove(f, v);
		list_push(f, v);
	}
	return v;
}

static struct value *new_value(enum statefile_kind kind, uint32_t a, uint32_t b)
{
	struct value *v = xcalloc(1, sizeof *v);

	v->kind = kind;
	v->a = a;
	v->b = b;
	v->on_disk = NOT_ON_DISK;
	return v;
}

static void hold(struct statefile *f, struct value *v)
{
	struct value **slot = &f->slots[slot_of(v->kind, v->a, v->b)];

	v->chain = *slot;
	*slot = v;
	f->held += v->n + sizeof *v;
	list_push(f, v);
}

/* What there is, or NULL.  That there is none is not held: it is asked for once, mostly. */
static struct value *find_or_load(struct statefile *f, enum statefile_kind kind, uint32_t a, uint32_t b)
{
	struct value *v = f->failed == 0 ? find(f, kind, a, b) : NULL;

	if (v != NULL)
		return v->data != NULL ? v : NULL;
	if (f->failed != 0)
		return NULL;
	v = new_value(kind, a, b);
	load(f, v);
	if (v->data == NULL) {
		free_value(v);
		return NULL;
	}
	hold(f, v);
	return v;
}

/* For a new content, whatever there was. */
static struct value *find_or_make(struct statefile *f, enum statefile_kind kind, uint32_t a, uint32_t b)
{
	struct value *v = find(f, kind, a, b);

	if (v == NULL) {
		v = new_value(kind, a, b);
		hold(f, v);
	}
	return v;
}

const uint8_t *statefile_get(struct statefile *f, enum statefile_kind kind, uint32_t a, uint32_t b,
			     size_t *n)
{
	struct value *v = find_or_load(f, kind, a, b);

	*n = v != NULL ? v->n : 0;
	return v != NULL ? v->data : NULL;
}

static void mark_dirty(struct statefile *f, struct value *v)
{
	if (!v->dirty)
		f->dirty += v->n + sizeof *v;
	v->dirty = true;
}

static void set_size(struct statefile *f, struct value *v, size_t n)
{
	f->held += n - v->n;
	if (v->dirty)
		f->dirty += n - v->n;
	v->n = n;
}

void statefile_put(struct statefile *f, enum statefile_kind kind, uint32_t a, uint32_t b,
		   const void *p, size_t n)
{
	struct value *v = find_or_make(f, kind, a, b);

	if (v->data == NULL || v->cap < n + 1) {
		v->cap = n + n / 4 + 1;
		v->data = xrealloc(v->data, v->cap);
	}
	set_size(f, v, n);
	memmove(v->data, p, n);
	v->removed = false;
	mark_dirty(f, v);
}

uint8_t *statefile_edit(struct statefile *f, enum statefile_kind kind, uint32_t a, uint32_t b,
			size_t *n)
{
	struct value *v = find_or_load(f, kind, a, b);

	*n = v != NULL ? v->n : 0;
	if (v == NULL)
		return NULL;
	mark_dirty(f, v);
	return v->data;
}

void statefile_del(struct statefile *f, enum statefile_kind kind, uint32_t a, uint32_t b)
{
	struct value *v = find_or_make(f, kind, a, b);

	free(v->data);
	v->data = NULL;
	v->cap = 0;
	set_size(f, v, 0);
	v->removed = true;
	mark_dirty(f, v);
}

size_t statefile_dirty(const struct statefile *f)
{
	return f->dirty;
}

static int write_value(struct statefile *f, const struct value *v)
{
	uint8_t key[KEY_SIZE];
	TDB_DATA k = { key, KEY_SIZE };

	if (!v->removed)
		return store_value(f->tdb, v->kind, v->a, v->b, v->data, v->n);
	make_key(key, v->kind, v->a, v->b);
	if (tdb_delete(f->tdb, k) != 0 && tdb_error(f->tdb) != TDB_ERR_NOEXIST)
		return -1;
	return 0;
}

static int write_dirty(struct statefile *f)
{
	for (const struct value *v = f->oldest; v != NULL; v = v->newer)
		if (v->dirty && write_value(f, v) != 0)
			return -1;
	return 0;
}

/* Rule 2 of the header: what TDB may have half done is left to the next opener to undo. */
static _Noreturn void commit_failed(struct statefile *f, const char *step, int e)
{
	if (e == ENOMEM)
		alloc_failed();
	log_err("state '%s': cannot %s: %s%s%s; nothing after the last printed result counts, the same "
		"command resumes once this is mended (disk full? failing?)", f->path, step,
		tdb_errorstr(f->tdb), e ? ": " : "", e ? strerror(e) : "");
	_exit(74);
}

/* The next commit must find the head that this one has left. */
static void remember_head(struct statefile *f, const struct value *v)
{
	uint8_t key[KEY_SIZE];

	make_key(key, KIND_HEAD, 0, 0);
	f->has_head = !v->removed;
	if (f->has_head)
		checksum(f->head, key, v->data, v->n);
}

static void all_clean(struct statefile *f)
{
	for (struct value *v = f->oldest, *next; v != NULL; v = next) {
		next = v->newer;
		if (v->dirty)
			v->on_disk = v->n;
		if (v->dirty && v->kind == KIND_HEAD && v->a == 0 && v->b == 0)
			remember_head(f, v);
		v->dirty = false;
		if (v->removed)
			forget(f, v);
	}
	f->dirty = 0;
}

/* ---- creation ---- */

/* Two transactions: a power cut during the very first one of a TDB can leave a file that does not open,
 * so one is made before the one that counts (with another value: storing the same again writes
 * nothing). */
static int write_new(struct statefile *f)
{
	if (tdb_transaction_start(f->tdb) != 0 ||
	    store_value(f->tdb, KIND_IDENTITY, 0, 0, (const uint8_t *)"", 0) != 0 ||
	    tdb_transaction_commit(f->tdb) != 0)
		return -1;
	return tdb_transaction_start(f->tdb) != 0 || write_dirty(f) != 0 || f->trouble.logged ||
	       tdb_transaction_commit(f->tdb) != 0 || f->trouble.logged ? -1 : 0;
}

static int new_file_failed(const char *temp, int error)
{
	unlink(temp);
	if (error == ENOMEM)
		alloc_failed();
	return log_err("cannot write state '%s': %s; is the disk full?", temp, strerror(error != 0 ? error : EIO));
}

/* An empty file of this name, and no other. */
static int make_file(const char *name)
{
	int fd;

	if (unlink(name) != 0 && errno != ENOENT)
		return -1;
	fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	return fd < 0 ? -1 : close(fd);
}

/* The file under its temporary name, whole and on disk. */
static int fill_new(struct statefile *f, const char *temp)
{
	int bad;

	if (make_file(temp) != 0)
		return log_err("cannot create '%s': %s", temp, strerror(errno));
	f->tdb = open_tdb(temp, O_RDWR | O_CREAT, &f->trouble);
	if (f->tdb == NULL)
		return new_file_failed(temp, cause_of(&f->trouble, NULL));
	clear_trouble(&f->trouble);
	bad = write_new(f);
	if (bad)
		new_file_failed(temp, cause_of(&f->trouble, f->tdb));
	tdb_close(f->tdb);
	f->tdb = NULL;
	if (!bad && sync_file(temp) != 0)
		bad = log_err("cannot sync '%s': %s", temp, strerror(errno));
	return bad ? -1 : 0;
}

/* link(2) leaves alone what may be there already; where a file system has none, the lock keeps others
 * away. */
static int give_name(const char *temp, const char *path)
{
	struct stat st;

	if (link(temp, path) == 0)
		return 0;
	if ((errno == EPERM || errno == EOPNOTSUPP || errno == ENOSYS) && lstat(path, &st) != 0 &&
	    errno == ENOENT && rename(temp, path) == 0)
		return 0;
	return log_err("cannot create state '%s': %s", path, strerror(errno));
}

int statefile_create(struct statefile *f)
{
	autofree char *temp = xasprintf("%s.new", f->path);
	autofd int folder = open_folder(f->path);
	int bad;

	if (folder < 0)
		return cannot_sync_name(f->path);
	bad = fill_new(f, temp) != 0 || give_name(temp, f->path) != 0;
	if (!bad && sync_fd(folder) != 0) {
		bad = cannot_sync_name(f->path);
		unlink(f->path);
	}
	unlink(temp);
	if (bad || open_seen(f) != STATEFILE_OK)
		return -1;
	all_clean(f);
	return 0;
}

/* ---- whose file it is ---- */

/* Nothing of what this process has in memory may go into a state that another one works on. */
static _Noreturn void taken_over(struct statefile *f, const char *what)
{
	log_err("state '%s' %s while this linesync worked on it; was '%s.lock' removed? Nothing after the "
		"last printed result counts; run the same command again, and leave the lock file where it is",
		f->path, what, f->path);
	_exit(74);
}

static void check_name(struct statefile *f)
{
	struct stat mine, there;

	if (fstat(tdb_fd(f->tdb), &mine) != 0)
		commit_failed(f, "look at it", errno);
	if (lstat(f->path, &there) != 0) {
		if (errno == ENOENT || errno == ENOTDIR)
			taken_over(f, "was moved away or removed");
		commit_failed(f, "look at it", errno);
	}
	if (mine.st_dev != there.st_dev || mine.st_ino != there.st_ino)
		taken_over(f, "was replaced by another file");
}

/* In a transaction, which keeps others away: the file is as this process left it. */
static void check_ours(struct statefile *f)
{
	uint8_t head[CHECKSUM_SIZE];
	bool has_head;

	check_name(f);
	has_head = read_head(f, head);
	if (has_head != f->has_head || (has_head && memcmp(head, f->head, CHECKSUM_SIZE) != 0))
		taken_over(f, "was changed by another process");
}

static void start_transaction(struct statefile *f)
{
	clear_trouble(&f->trouble);
	if (tdb_transaction_start(f->tdb) != 0 || f->trouble.logged)
		commit_failed(f, "start a transaction", cause_of(&f->trouble, f->tdb));
	check_ours(f);
}

/* ---- room ---- */

static void check_size(struct statefile *f)
{
	size_t size = tdb_map_size(f->tdb);

	if (size > STATEFILE_LIMIT) {
		log_err("state '%s' is full (%zu MB): nothing after the last printed result counts; 'linesync "
			"forget' makes room", f->path, size >> 20);
		_exit(74);
	}
	if (size > FILE_WARN && !f->warned) {
		f->warned = true;
		log_warn("state '%s' has grown to %zu MB; it can have %u", f->path, size >> 20,
			 STATEFILE_LIMIT >> 20);
	}
}

/* TDB allocates a quarter more than it is asked for, and its own header and trailer. */
static int64_t space_of(size_t n)
{
	return (int64_t)((n + CHECKSUM_SIZE + KEY_SIZE) * 5 / 4 + 40);
}

/* What the commit at hand takes from the free space, or (negative) gives back.  The hole that a value
 * leaves when it moves counts a quarter: not every later one fits in.  Counted whole, TDB grew the file
 * by itself at 50 MB, in memory; counted half, now and then at 24 MB. */
static int64_t space_needed(const struct statefile *f)
{
	int64_t need = 0;

	for (const struct value *v = f->oldest; v != NULL; v = v->newer) {
		if (!v->dirty)
			continue;
		if (v->on_disk == NOT_ON_DISK && !v->removed)
			need += space_of(v->n);
		else if (v->on_disk != NOT_ON_DISK && v->removed)
			need -= space_of(v->on_disk);
		else if (v->on_disk != NOT_ON_DISK && v->n > v->on_disk + v->on_disk / 4)
			need += space_of(v->n) - space_of(v->on_disk) / 4;
	}
	return need;
}

static int copy_value(struct tdb_context *from, TDB_DATA key, TDB_DATA data, void *to)
{
	(void)from;
	if (key.dsize == KEY_SIZE && key.dptr[0] == KIND_ROOM)	/* written anew */
		return 0;
	return tdb_store(to, key, data, TDB_INSERT);
}

static int count_value(struct tdb_context *tdb, TDB_DATA key, TDB_DATA data, void *sum)
{
	(void)tdb;
	(void)key;
	*(int64_t *)sum += space_of(data.dsize);
	return 0;
}

/* A file that is surely below limit when TDB has grown it, by a tenth above 100 MiB, else by a quarter: its
 * first commit does, for what undoes it. */
static int64_t fitting(int64_t limit)
{
	return limit > 128 << 20 ? limit / 8 * 7 : limit / 4 * 3;
}

/* How much of the room that is wanted a file with so many bytes of values gets.  Where too little of it
 * leaves the file short of full, it is as much as there can be, for what is under way. */
static int64_t plan_room(struct statefile *f, int64_t used, int64_t want)
{
	int64_t room = fitting(FILE_FULL) - used;

	f->full = room < want && room < ROOM_LEAST;
	if (f->full)
		room = fitting(STATEFILE_LIMIT) - used;
	return room > want ? want : room > 0 ? room : 0;
}

/* Lets a new file grow by so many bytes at once, by a value that is not kept: one of more than 100 KiB
 * makes TDB grow it by twice the space that the value takes. */
static int grow_new(struct tdb_context *tdb, int64_t bytes)
{
	static uint8_t zeros[1 << 18];
	uint8_t name[KEY_SIZE];
	TDB_DATA key = { name, KEY_SIZE };
	size_t n = (size_t)(bytes * 2 / 5) / sizeof zeros + 1;
	TDB_DATA *parts = xcalloc(n, sizeof *parts);
	int bad;

	for (size_t i = 0; i < n; i++)
		parts[i] = (TDB_DATA){ zeros, sizeof zeros };
	make_key(name, (enum statefile_kind)'Z', 0, 0);
	bad = tdb_storev(tdb, key, parts, (int)n, TDB_INSERT) != 0 || tdb_delete(tdb, key) != 0;
	free(parts);
	return bad ? -1 : 0;
}

/* A 16th more than is counted on: small pieces of free space find no use. */
static int write_copy(struct statefile *f, const char *temp, int64_t want)
{
	struct trouble trouble;
	struct tdb_context *copy;
	int64_t used = 0, room;
	int bad;

	clear_trouble(&f->trouble);
	if (tdb_traverse_read(f->tdb, count_value, &used) < 0 || make_file(temp) != 0)
		return -1;
	copy = open_tdb(temp, O_RDWR | O_CREAT, &trouble);
	if (copy == NULL)
		return -1;
	used += (int64_t)tdb_map_size(copy) + used / 16;
	room = plan_room(f, used, want);
	bad = grow_new(copy, used + room) != 0 || tdb_traverse_read(f->tdb, copy_value, copy) < 0 ||
	      f->trouble.logged || trouble.logged;
	f->room = room - room / 16;
	bad |= tdb_close(copy) != 0;
	return bad ? -1 : sync_file(temp);
}

/* From the rename on the new file is the state, or the process ends: what is written into one that has no
 * name is gone.  So the folder is opened first.  -1: the old one is still in its place. */
static int take_place(struct statefile *f, const char *temp)
{
	autofd int folder = open_folder(f->path);
	struct tdb_context *fresh;

	if (folder < 0)
		return -1;
	if (rename(temp, f->path) != 0) {
		int error = errno;

		check_name(f);		/* some network file systems say so of what they did */
		errno = error;
		return -1;
	}
	if (sync_fd(folder) != 0)
		commit_failed(f, "sync its folder", errno);
	fresh = open_tdb(f->path, O_RDWR, &f->trouble);
	if (fresh == NULL)
		commit_failed(f, "open what was just written", cause_of(&f->trouble, NULL));
	tdb_close(f->tdb);
	f->tdb = fresh;
	return 0;
}

/* Writes everything into a fresh file with room to spare and puts it in the place of the old one.  A
 * crash leaves one of the two, whole.  Failing is no loss: TDB then grows the file by itself.  The
 * transaction, which changes nothing, keeps those away who would commit to the old one meanwhile. */
static void rewrite(struct statefile *f, int64_t need)
{
	autofree char *temp = xasprintf("%s.new", f->path);
	int64_t want = (int64_t)(tdb_map_size(f->tdb) / 2), room = f->room;

	if (want < need * 2)
		want = need * 2;
	f->rewritten = true;
	start_transaction(f);
	if (write_copy(f, temp, want) == 0 && take_place(f, temp) == 0) {
		log_debug("state '%s' rewritten, %zu bytes, %lld of them free%s", f->path,
			  (size_t)tdb_map_size(f->tdb), (long long)f->room, f->full ? ": it is full" : "");
		return;
	}
	log_info("state '%s': cannot rewrite it with more room: %s", f->path, strerror(errno));
	unlink(temp);
	f->room = room;
	f->room_failed = true;
	if (tdb_transaction_cancel(f->tdb) != 0)
		commit_failed(f, "end a transaction", errno);
}

/* 8 bytes, and since a file can be full, one that says so. */
static void load_room(struct statefile *f)
{
	size_t n;
	const uint8_t *p = statefile_get(f, KIND_ROOM, 0, 0, &n);

	f->room_known = true;
	for (size_t i = 0; i < 8 && n >= 8; i++)
		f->room = f->room << 8 | p[i];
	f->full = n > 8 && p[8] != 0;
}

static void save_room(struct statefile *f)
{
	uint8_t p[9];

	for (int i = 0; i < 8; i++)
		p[i] = (uint8_t)((uint64_t)f->room >> (56 - 8 * i));
	p[8] = f->full;
	statefile_put(f, KIND_ROOM, 0, 0, p, sizeof p);
}

/* A file that is full stays so until much of it was given back. */
static void keep_room(struct statefile *f)
{
	int64_t need;

	if (!f->room_known)
		load_room(f);
	need = space_needed(f) + space_of(9);
	if (f->full && f->room >= 3 * (int64_t)ROOM_LEAST)
		f->full = false;
	if (!f->room_failed && (need > f->room || (tdb_map_size(f->tdb) > FILE_FULL && !f->rewritten)))
		rewrite(f, need);
	if (tdb_map_size(f->tdb) > FILE_FULL)
		f->full = true;
	f->room = need < f->room ? f->room - need : 0;
	save_room(f);
}

void statefile_commit(struct statefile *f)
{
	if (f->dirty == 0)
		return;
	if (f->tdb == NULL) {
		if (statefile_create(f) != 0)
			_exit(73);
		f->commits++;
		return;
	}
	if (tdb_map_size(f->tdb) >= GROW_FROM)
		keep_room(f);
	check_size(f);
	start_transaction(f);
	/* a value that TDB could not find for an error would stand there twice */
	if (write_dirty(f) != 0 || f->trouble.logged)
		commit_failed(f, "write", cause_of(&f->trouble, f->tdb));
	if (tdb_transaction_commit(f->tdb) != 0 || f->trouble.logged)
		commit_failed(f, "commit", cause_of(&f->trouble, f->tdb));
	check_name(f);
	all_clean(f);
	f->commits++;
	statefile_trim(f);
}

bool statefile_full(const struct statefile *f)
{
	return f->full;
}

void statefile_trim(struct statefile *f)
{
	for (struct value *v = f->oldest, *next; v != NULL && f->held > CACHE_LIMIT; v = next) {
		next = v->newer;
		if (!v->dirty)
			forget(f, v);
	}
}

/* Whether its name is another file's by now. */
static bool is_renewed(const struct statefile *f)
{
	struct stat mine, there;

	return f->tdb != NULL && fstat(tdb_fd(f->tdb), &mine) == 0 && lstat(f->path, &there) == 0 &&
	       (mine.st_dev != there.st_dev || mine.st_ino != there.st_ino);
}

/* The old one is closed last: until then no other file can get its number. */
static void open_anew(struct statefile *f)
{
	struct tdb_context *old = f->tdb;
	enum statefile_open got = look(f->path);

	if (got == STATEFILE_OK)
		got = open_seen(f);
	if (got == STATEFILE_OK) {
		tdb_close(old);
		return;
	}
	f->tdb = old;
	if (got == STATEFILE_REFUSED)
		fail(f, 74);
}

bool statefile_refresh(struct statefile *f)
{
	bool renewed = !f->write && f->failed == 0 && is_renewed(f);

	while (f->oldest != NULL)
		forget(f, f->oldest);
	f->dirty = 0;
	if (renewed)
		open_anew(f);
	return renewed;
}

void statefile_refresh_value(struct statefile *f, enum statefile_kind kind, uint32_t a, uint32_t b)
{
	struct value *v = find(f, kind, a, b);

	if (v != NULL)
		forget(f, v);
}

uint64_t statefile_commits(const struct statefile *f)
{
	return f->commits;
}
