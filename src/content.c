#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alloc.h"
#include "buf.h"
#include "cleanup.h"
#include "content.h"
#include "exclude.h"
#include "log.h"
#include "text.h"

/* glibc declares it under _XOPEN_SOURCE only, though POSIX.1-2008 has it. */
char *realpath(const char *restrict path, char *restrict resolved);

#if !defined(O_PATH) && defined(__O_PATH)	/* glibc declares it under _GNU_SOURCE only */
#define O_PATH __O_PATH
#endif
#ifdef O_PATH	/* asks for no read permission on the folders in between */
#define OPEN_FOLDER (O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
#else
#define OPEN_FOLDER (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
#endif

struct root {
	char *path;		/* owned; absolute, no symbolic link in it, "/" only for the root */
	char *given;		/* owned; absolute as --root spells it */
	int fd;			/* -1: cannot be opened, err says why */
	int err;
	int has_git;		/* -1: that could not be seen, it is looked again */
	struct root *next;
};

/* Where the documents of a repository are. */
struct place {
	char *repo;		/* owned */
	struct root *root;
	char *folder;		/* owned; below root, "" is the root itself; NULL: there is none */
	bool linked;		/* folder is NULL because a symbolic link stands in its place */
	int err;		/* folder is NULL because looking for it failed: nothing was chosen */
};

struct places {
	struct place **at;	/* owned; sorted by repo; room for ROOTS_KEPT or NULL */
	size_t n;
};

/* For the folder of a failed line, where looking for it failed: a retry chooses it. */
#define FOLDER_UNSEEN "."

/* Each is a descriptor: however many roots failed lines name, so many are open at a time. */
#define OTHERS_KEPT 16

/* Places are kept in two generations, so that memory does not grow with the number of repositories: when
 * the young one is full, it becomes the old one, and what no line has asked for since the last time goes. */
struct roots {
	const struct content_options *o;
	struct excludes *exclude;	/* owned */
	struct root *root;	/* ROOT */
	struct root *others;	/* those of presets, the last used first; at most OTHERS_KEPT */
	struct places young, old;
	struct place *last;	/* lines of one repository come together */
	struct place *unsure;	/* owned; the last one with err: the next line looks again */
	struct place preset;
	bool has_preset;
	struct buf rel;		/* scratch: a path below a root */
};

enum found {
	FOUND_FILE,
	FOUND_NOTHING,
	FOUND_LINK,		/* the last part is a symbolic link */
	FOUND_LINK_ABOVE,	/* a part before the last is */
	FOUND_FOLDER,
	FOUND_SUBMODULE,	/* a folder that holds .git or nothing */
	FOUND_TOO_LARGE,
	FOUND_SPECIAL,		/* FIFO, socket, device */
	FOUND_ERROR		/* errno in err */
};

struct file {
	enum found found;
	int err;
	char *text;		/* owned; FOUND_FILE */
	size_t len;
	int64_t ctime_ns;	/* of what was found, 0: not looked at */
	bool unsteady;		/* it changed while it was read, twice */
};

/* Whether an error of a look-up says that nothing is there.  All others say that it could not be seen:
 * whoever took them for an absence would choose another folder, or believe that a file was deleted. */
static bool says_absent(int err)
{
	return err == ENOENT || err == ENOTDIR || err == ELOOP;
}

/* --- paths ------------------------------------------------------------------------------------ */

enum lexical { PATH_FINE, PATH_NOTHING, PATH_ABOVE };

/* Removes "//", "." and "..", by the letter: no link is looked at.  *folder: the path ends like a
 * folder's.  A leading '/' goes too: the caller knows whether there was one. */
static enum lexical normalise(char *path, bool *folder)
{
	char *in = path, *out = path;

	*folder = false;
	while (*in) {
		size_t n = strcspn(in, "/");
		bool slash = in[n] == '/';

		if (n == 2 && in[0] == '.' && in[1] == '.') {
			if (out == path)
				return PATH_ABOVE;
			while (out > path && *--out != '/')
				;
			*folder = true;
		} else if (n == 1 && in[0] == '.') {
			*folder = true;
		} else if (n > 0) {
			if (out > path)
				*out++ = '/';
			memmove(out, in, n);
			out += n;
			*folder = slash;
		}
		in += n + slash;
	}
	*out = '\0';
	return out > path ? PATH_FINE : PATH_NOTHING;
}

/* What follows folder in path, both normalised without a leading '/'; NULL if path is not below. */
static const char *below(const char *path, const char *folder)
{
	size_t n = strlen(folder);

	if (n == 0)
		return path;
	if (strncmp(path, folder, n) != 0)
		return NULL;
	if (path[n] == '\0')
		return path + n;
	return path[n] == '/' ? path + n + 1 : NULL;
}

static const char *below_root(const char *path, const struct root *root)
{
	const char *p = below(path, root->path + 1);

	return p ? p : below(path, root->given + 1);
}

/* --- roots and folders ------------------------------------------------------------------------ */

/* NULL with errno where path is relative to a folder whose name cannot be had. */
static char *absolute(const char *path)
{
	autofree char *cwd = NULL;
	char *all;
	size_t size = 256;
	bool folder;

	if (path[0] == '/') {
		all = xstrdup(path);
	} else {
		do {
			size *= 2;
			cwd = xrealloc(cwd, size);
			errno = 0;
		} while (!getcwd(cwd, size) && errno == ERANGE);
		if (errno)
			return NULL;
		all = xasprintf("%s/%s", cwd, path);
	}
	if (normalise(all + 1, &folder) == PATH_ABOVE)
		all[1] = '\0';
	return all;
}

/* 1 or 0; -1 with errno if that cannot be seen. */
static int holds_git(int dir)
{
	struct stat st;

	if (fstatat(dir, ".git", &st, AT_SYMLINK_NOFOLLOW) == 0)
		return 1;
	return says_absent(errno) ? 0 : -1;
}

static void root_close(struct root *root, int err)
{
	if (root->fd >= 0)
		close(root->fd);
	root->fd = -1;
	root->err = err;
}

/* Opens its folder and finds its name.  Where that fails, only what path spells is known. */
static void root_try(struct root *root, const char *path)
{
	root->err = 0;
	root->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root->fd < 0)
		root->err = errno;
	free(root->path);
	root->path = root->fd < 0 ? NULL : realpath(path, NULL);
	if (root->fd >= 0 && !root->path)
		root_close(root, errno);
	root->has_git = root->fd < 0 ? 0 : holds_git(root->fd);
	if (!root->given)
		root->given = absolute(path);
	if (!root->path)
		root->path = xstrdup(root->given ? root->given : path);
	if (!root->given)
		root->given = xstrdup(root->path);
}

static struct root *root_open(const char *path)
{
	struct root *root = xcalloc(1, sizeof(*root));

	root_try(root, path);
	if (root->fd < 0)
		log_err("cannot open folder '%s': %s", path, strerror(root->err));
	return root;
}

static void root_free(struct root *root)
{
	root_close(root, 0);
	free(root->path);
	free(root->given);
	free(root);
}

struct roots *roots_new(const struct content_options *o)
{
	struct root *root = root_open(o->root && *o->root ? o->root : ".");
	struct roots *r;

	if (root->fd < 0) {
		root_free(root);
		return NULL;
	}
	r = xcalloc(1, sizeof(*r));
	r->o = o;
	r->root = root;
	r->exclude = excludes_new(o->exclude);
	return r;
}

static void forget_preset(struct roots *r)
{
	free(r->preset.repo);
	free(r->preset.folder);
	memset(&r->preset, 0, sizeof(r->preset));
	r->has_preset = false;
}

static void place_free(struct place *p)
{
	free(p->repo);
	free(p->folder);
	free(p);
}

static void places_release(struct places *g)
{
	for (size_t i = 0; i < g->n; i++)
		place_free(g->at[i]);
	free(g->at);
	*g = (struct places){ NULL, 0 };
}

void roots_free(struct roots *r)
{
	if (!r)
		return;
	places_release(&r->young);
	places_release(&r->old);
	root_free(r->root);
	for (struct root *root = r->others, *next; root; root = next) {
		next = root->next;
		root_free(root);
	}
	forget_preset(r);
	if (r->unsure)
		place_free(r->unsure);
	buf_release(&r->rel);
	excludes_free(r->exclude);
	free(r);
}

const char *roots_path(const struct roots *r)
{
	return r->root->path;
}

const struct excludes *roots_excludes(const struct roots *r)
{
	return r->exclude;
}

static void no_folder_on_the_way(int dir, const char *part, struct file *f)
{
	struct stat st;

	f->err = errno;
	if ((errno == ELOOP || errno == ENOTDIR) &&
	    fstatat(dir, part, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode))
		f->found = FOUND_LINK_ABOVE;
	else
		f->found = says_absent(f->err) ? FOUND_NOTHING : FOUND_ERROR;
}

/* Opens the folder that holds the last part of rel, which is cut up on the way.  Returns it (the
 * root's own descriptor where there is but one part) with *last in rel, or -1 with *f filled in. */
static int open_parent(const struct root *root, char *rel, const char **last, struct file *f)
{
	int dir = root->fd, next;
	char *slash;

	memset(f, 0, sizeof(*f));
	f->err = dir < 0 ? root->err : ENOENT;
	f->found = says_absent(f->err) ? FOUND_NOTHING : FOUND_ERROR;
	if (dir < 0)
		return -1;
	while ((slash = strchr(rel, '/'))) {
		*slash = '\0';
		next = openat(dir, rel, OPEN_FOLDER);
		if (next < 0)
			no_folder_on_the_way(dir, rel, f);
		if (dir != root->fd)
			close(dir);
		if (next < 0)
			return -1;
		dir = next;
		rel = slash + 1;
	}
	*last = rel;
	return dir;
}

static char *join(struct buf *rel, const char *folder, const char *path)
{
	buf_reset(rel);
	buf_adds(rel, folder);
	if (*folder && *path)
		buf_addc(rel, '/');
	buf_adds(rel, path);
	return rel->data;
}

/* A repository's name as a path below ROOT: "a/../.." would leave it. */
static bool is_plain_path(const char *name)
{
	autofree char *copy = xstrdup(name);
	bool folder;

	return name[0] != '/' && normalise(copy, &folder) == PATH_FINE && !folder &&
	       strcmp(copy, name) == 0;
}

/* Returns a descriptor of ROOT/repo, or -1: *err is 0 if there is none. */
static int open_folder(struct roots *r, const struct root *root, const char *repo, bool *linked, int *err)
{
	const char *last;
	struct file f;
	int dir, fd;

	*linked = false;
	*err = 0;
	if (!is_plain_path(repo))
		return -1;
	dir = open_parent(root, join(&r->rel, "", repo), &last, &f);
	if (dir >= 0) {
		fd = openat(dir, last, OPEN_FOLDER);
		if (fd < 0)
			no_folder_on_the_way(dir, last, &f);
		if (dir != root->fd)
			close(dir);
		if (fd >= 0)
			return fd;
	}
	*linked = f.found == FOUND_LINK_ABOVE;
	*err = f.found == FOUND_ERROR ? f.err : 0;
	return -1;
}

static const char *without_namespace(const struct roots *r, const char *repo)
{
	const char *rest;

	if (!r->o->namespace || !*r->o->namespace)
		return repo;
	rest = below(repo, r->o->namespace);
	return rest ? rest : repo;
}

static struct place *place_choose(struct roots *r, struct root *root, const char *repo)
{
	struct place *p = xcalloc(1, sizeof(*p));
	const char *name = without_namespace(r, repo), *folder = NULL;
	const char *given = r->o->default_repo;
	int fd = open_folder(r, root, name, &p->linked, &p->err), git = 0;

	if (fd >= 0 && (git = holds_git(fd)) < 0)
		p->err = errno;
	else if (!p->err && git == 0 && root->has_git < 0 && (root->has_git = holds_git(root->fd)) < 0)
		p->err = errno;
	if (p->err)
		folder = NULL;
	else if (git > 0)
		folder = name;
	else if (root->has_git)
		folder = "";
	else if (fd >= 0)
		folder = name;
	else if (!*name || (given && strcmp(name, given) == 0))
		folder = "";
	if (fd >= 0)
		close(fd);
	p->repo = xstrdup(repo);
	p->root = root;
	p->folder = xstrdup(folder);
	return p;
}

/* Where repo is or belongs; true if it is there. */
static bool places_find(const struct places *g, const char *repo, size_t *at)
{
	size_t low = 0, high = g->n, middle;
	int order;

	while (low < high) {
		middle = low + (high - low) / 2;
		order = strcmp(repo, g->at[middle]->repo);
		if (order == 0) {
			*at = middle;
			return true;
		}
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	*at = low;
	return false;
}

static struct place *places_take(struct places *g, size_t at)
{
	struct place *p = g->at[at];

	g->n--;
	memmove(g->at + at, g->at + at + 1, (g->n - at) * sizeof(p));
	return p;
}

static void keep_place(struct roots *r, struct place *p)
{
	struct places *g = &r->young;
	size_t at;

	if (g->n == ROOTS_KEPT) {
		places_release(&r->old);
		r->old = *g;
		*g = (struct places){ NULL, 0 };
	}
	if (!g->at)
		g->at = xmalloc(ROOTS_KEPT * sizeof(*g->at));
	places_find(g, p->repo, &at);
	memmove(g->at + at + 1, g->at + at, (g->n - at) * sizeof(p));
	g->at[at] = p;
	g->n++;
}

static struct place *place_of(struct roots *r, const char *repo)
{
	size_t at;

	if (r->has_preset && strcmp(r->preset.repo, repo) == 0)
		return &r->preset;
	if (r->last && strcmp(r->last->repo, repo) == 0)
		return r->last;
	if (places_find(&r->young, repo, &at))
		return r->last = r->young.at[at];
	if (places_find(&r->old, repo, &at)) {
		r->last = places_take(&r->old, at);
	} else {
		struct place *p = place_choose(r, r->root, repo);

		if (p->err) {
			if (r->unsure)
				place_free(r->unsure);
			return r->unsure = p;
		}
		r->last = p;
	}
	keep_place(r, r->last);
	return r->last;
}

const char *roots_folder(struct roots *r, const char *repo)
{
	bool has = r->has_preset;
	const char *folder;

	r->has_preset = false;
	folder = place_of(r, repo)->folder;
	r->has_preset = has;
	return folder;
}

static bool is_named(const struct root *root, const char *path)
{
	return strcmp(root->path, path) == 0 || strcmp(root->given, path) == 0;
}

/* The root of a failed line, which comes first from now on; the one that was not used for longest goes. */
static struct root *other_root(struct roots *r, const char *path)
{
	struct root **at = &r->others, *root;

	for (int n = 1; (root = *at) && !is_named(root, path); n++) {
		if (n == OTHERS_KEPT) {
			root_free(root);
			root = *at = NULL;
			break;
		}
		at = &root->next;
	}
	if (root)
		*at = root->next;
	else
		root = root_open(path);
	root->next = r->others;
	return r->others = root;
}

static struct root *root_find(struct roots *r, const char *path)
{
	struct root *root = is_named(r->root, path) ? r->root : other_root(r, path);

	if (root->fd < 0 && !says_absent(root->err))
		root_try(root, path);
	return root;
}

int roots_preset(struct roots *r, const char *root, const char *repo, const char *folder)
{
	bool good = !*folder || is_plain_path(folder);
	struct place *p;

	forget_preset(r);
	r->has_preset = true;
	if (strcmp(folder, FOLDER_UNSEEN) == 0) {
		p = place_choose(r, root_find(r, root), repo);
		r->preset = *p;
		free(p);
		return r->preset.root->fd < 0 ? -1 : 0;
	}
	r->preset.repo = xstrdup(repo);
	r->preset.root = root_find(r, root);
	if (!good)
		return log_err("'%s' is not a folder below '%s'", folder, root);
	r->preset.folder = xstrdup(folder);
	return r->preset.root->fd < 0 ? -1 : 0;
}

/* --- reading ---------------------------------------------------------------------------------- */

/* 1 or 0; -1 with errno if that cannot be seen. */
static int is_empty_folder(int fd)
{
	int copy = dup(fd), err;
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *e = NULL;

	if (!d) {
		err = errno;
		if (copy >= 0)
			close(copy);
		errno = err;
		return -1;
	}
	do
		errno = 0;
	while ((e = readdir(d)) && (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0));
	err = e ? 0 : errno;
	closedir(d);
	errno = err;
	return err ? -1 : !e;
}

/* A folder with .git in it, or nothing, is a submodule's. */
static void judge_folder(int fd, struct file *f)
{
	int is = holds_git(fd);

	if (is == 0)
		is = is_empty_folder(fd);
	f->err = errno;
	f->found = is < 0 ? FOUND_ERROR : is ? FOUND_SUBMODULE : FOUND_FOLDER;
}

/* Takes the whole file, which may grow or shrink meanwhile, up to one byte over max. */
static void read_all(int fd, size_t size, size_t max, struct file *f)
{
	size_t room = size + 1, len = 0;	/* one more: the end is seen without growing */
	char *p = xmalloc(room + 1);
	ssize_t got;

	for (;;) {
		if (len == room) {
			room = room < (max + 1) / 2 ? room * 2 : max + 1;
			p = xrealloc(p, room + 1);
		}
		got = read(fd, p + len, room - len);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		len += (size_t)got;
		if (len > max)
			break;
	}
	if (got < 0 || len > max) {
		f->err = errno;
		f->found = got < 0 ? FOUND_ERROR : FOUND_TOO_LARGE;
		free(p);
		return;
	}
	p[len] = '\0';
	f->found = FOUND_FILE;
	f->text = p;
	f->len = len;
}

static int64_t ctime_of(const struct stat *st)
{
	return (int64_t)st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec;
}

static void read_opened(int fd, size_t max, struct stat *st, struct file *f)
{
	if (fstat(fd, st) < 0) {
		f->err = errno;
		f->found = FOUND_ERROR;
	} else if (S_ISDIR(st->st_mode)) {
		judge_folder(fd, f);
	} else if (!S_ISREG(st->st_mode)) {
		f->found = FOUND_SPECIAL;
	} else if ((uintmax_t)st->st_size > max) {
		f->ctime_ns = ctime_of(st);
		f->found = FOUND_TOO_LARGE;
	} else {
		f->ctime_ns = ctime_of(st);
		read_all(fd, (size_t)st->st_size, max, f);
	}
}

/* Whether the file that was read is still what its name leads to, and as it was before: 1 or 0, or -1 with
 * errno.  Who writes it again within one tick of the file system's clock is not seen, but then it has changed
 * after the run began, which the caller sees by ctime_ns. */
static int is_steady(int dir, const char *name, int fd, const struct stat *before)
{
	struct stat now, named;

	if (fstat(fd, &now) < 0)
		return -1;
	if (fstatat(dir, name, &named, AT_SYMLINK_NOFOLLOW) < 0)
		return says_absent(errno) ? 0 : -1;
	return named.st_dev == now.st_dev && named.st_ino == now.st_ino && now.st_size == before->st_size &&
	       now.st_mtim.tv_sec == before->st_mtim.tv_sec && now.st_mtim.tv_nsec == before->st_mtim.tv_nsec &&
	       ctime_of(&now) == ctime_of(before);
}

/* Opens and reads name in dir once.  False: it changed meanwhile. */
static bool read_named(int dir, const char *name, size_t max, struct file *f)
{
	/* Without O_NONBLOCK a FIFO would wait for its writer. */
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;
	int steady = 1;

	free(f->text);
	memset(f, 0, sizeof(*f));
	f->err = errno;
	if (fd >= 0) {
		read_opened(fd, max, &st, f);
		if (f->found == FOUND_FILE || f->found == FOUND_TOO_LARGE)
			steady = is_steady(dir, name, fd, &st);
		if (steady < 0) {
			f->err = errno;
			f->found = FOUND_ERROR;
		}
		close(fd);
	} else if (f->err == ELOOP) {
		f->found = FOUND_LINK;
		if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			f->ctime_ns = ctime_of(&st);
	} else if (f->err == ENXIO || f->err == ENODEV) {
		f->found = FOUND_SPECIAL;
	} else {
		f->found = says_absent(f->err) ? FOUND_NOTHING : FOUND_ERROR;
	}
	return steady != 0;
}

/* Reads folder/path below root: *f is filled in, its text is the caller's where found is FOUND_FILE.  A file
 * that changed while it was read could be half old, half new: it is read once more. */
static void file_read(struct roots *r, const struct root *root, const char *folder,
		      const char *path, struct file *f)
{
	const char *last;
	int dir = open_parent(root, join(&r->rel, folder, path), &last, f);

	if (dir < 0)
		return;
	if (!read_named(dir, last, r->o->max_content, f))
		f->unsteady = !read_named(dir, last, r->o->max_content, f);
	if (dir != root->fd)
		close(dir);
	if (f->found != FOUND_FILE) {
		free(f->text);
		f->text = NULL;
	}
}

/* The same in the place of a repository. */
static void place_read(struct roots *r, const struct place *p, const char *path, struct file *f)
{
	if (p->folder) {
		file_read(r, p->root, p->folder, path, f);
		return;
	}
	memset(f, 0, sizeof(*f));
	f->err = p->err;
	f->found = p->err ? FOUND_ERROR : FOUND_NOTHING;
}

/* What stands at path, without opening it; folders are not told from submodules.  FOUND_ERROR: *err. */
static enum found file_look(struct roots *r, const struct place *p, const char *path, int *err)
{
	const char *last;
	struct stat st;
	struct file f;
	int dir;

	*err = p->err;
	if (!p->folder)
		return p->err ? FOUND_ERROR : FOUND_NOTHING;
	dir = open_parent(p->root, join(&r->rel, p->folder, path), &last, &f);
	*err = dir < 0 ? f.err : fstatat(dir, last, &st, AT_SYMLINK_NOFOLLOW) < 0 ? errno : 0;
	if (dir < 0)
		return f.found;
	if (dir != p->root->fd)
		close(dir);
	if (*err)
		return says_absent(*err) ? FOUND_NOTHING : FOUND_ERROR;
	if (S_ISREG(st.st_mode))
		return FOUND_FILE;
	if (S_ISLNK(st.st_mode))
		return FOUND_LINK;
	return S_ISDIR(st.st_mode) ? FOUND_FOLDER : FOUND_SPECIAL;
}

/* --- verdicts --------------------------------------------------------------------------------- */

/* Return -1, so that they can be returned. */
static int __attribute__((format(printf, 3, 4)))
fail(struct content *k, enum error_code error, const char *fmt, ...)
{
	auto_buf struct buf b = BUF_INIT;
	char text[2 * CHANGE_PATH_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	text_printable(&b, text, strlen(text), 2000);
	free(k->message);
	k->message = buf_detach(&b);
	k->got = CONTENT_FAIL;
	k->error = error;
	return -1;
}

static int skip(struct content *k, enum reason reason)
{
	k->got = CONTENT_SKIP;
	k->reason = reason;
	k->deletes = reason != REASON_NO_CONTENT;
	return -1;
}

/* Of a repository without a folder, its name stands for it: a retry has to begin at this root. */
static struct place *look_below(struct content *k, struct roots *r, const char *repo)
{
	struct place *p = place_of(r, repo);
	const char *name = without_namespace(r, repo);

	if (!k->root) {
		k->root = p->root->path;
		k->folder = xstrdup(p->folder ? p->folder : p->err ? FOLDER_UNSEEN :
				    is_plain_path(name) ? name : NULL);
	}
	return p;
}

static int fail_nothing(struct content *k, const struct change *c, const struct place *p,
			const char *path)
{
	autofree char *where = NULL;

	if (!p->folder && p->linked)
		return fail(k, ERR_OUTSIDE_ROOT, "'%s': the folder of repository '%s' is a symbolic "
			    "link, which is not followed", path, c->repo);
	if (!p->folder)
		return fail(k, ERR_NO_SUCH_FILE, "no file '%s': there is no folder for its "
			    "repository below '%s'", path, p->root->path);
	where = xasprintf("%s%s%s", p->root->path, *p->folder ? "/" : "", p->folder);
	if (c->is_plain_path)
		return fail(k, ERR_NO_SUCH_FILE, "no file '%s' below '%s'; if it was deleted, feed "
			    "what git diff --name-status prints", path, where);
	return fail(k, ERR_NO_SUCH_FILE, "no file '%s' below '%s'", path, where);
}

static int fail_unseen(struct content *k, const struct change *c, const struct place *p, const char *path,
		       int err)
{
	if (p->err)
		return fail(k, ERR_UNREADABLE, "'%s': cannot see which folder below '%s' is that of repository "
			    "'%s': %s", path, p->root->path, c->repo, strerror(err));
	return fail(k, ERR_UNREADABLE, "cannot read '%s': %s", path, strerror(err));
}

static int fail_folder(struct content *k, const char *path)
{
	return fail(k, ERR_IS_A_DIRECTORY, "'%s' is a folder; make git list the files in it: "
		    "git config status.showUntrackedFiles all", path);
}

static int fail_linked(struct content *k, const char *path)
{
	return fail(k, ERR_OUTSIDE_ROOT, "'%s' leads through a symbolic link, which is not "
		    "followed", path);
}

/* f is no file to take the text from: what that means for a document. */
static int judge_missing(struct content *k, const struct change *c, const struct place *p,
			 const char *path, const struct file *f)
{
	switch (f->found) {
	case FOUND_LINK:
		return skip(k, REASON_SYMLINK);
	case FOUND_LINK_ABOVE:
		return fail_linked(k, path);
	case FOUND_FOLDER:
		return fail_folder(k, path);
	case FOUND_SUBMODULE:
		return skip(k, REASON_SUBMODULE);
	case FOUND_TOO_LARGE:
		return skip(k, REASON_TOO_LARGE);
	case FOUND_ERROR:
		return fail_unseen(k, c, p, path, f->err);
	default:
		break;
	}
	/* The producer looked and did not carry it: neither can be blamed on this side. */
	if (c->content_null)
		return skip(k, REASON_NO_CONTENT);
	if (f->found == FOUND_SPECIAL)
		return fail(k, ERR_UNREADABLE, "'%s' is not a regular file", path);
	return fail_nothing(k, c, p, path);
}

/* --- making the paths good -------------------------------------------------------------------- */

static int outside(struct content *k, const char *path, const char *root)
{
	return fail(k, ERR_OUTSIDE_ROOT, "'%s' is not below '%s'", path, root);
}

/* An absolute path, given, normalised without its first '/', to one below the repository's folder.  NULL:
 * it has failed. */
static const char *relative(struct content *k, struct roots *r, const struct change *c, const char *given,
			    const char *path)
{
	struct place *p = look_below(k, r, c->repo);
	const char *rel = below_root(path, p->root);
	const char *folder = p->folder ? p->folder : without_namespace(r, c->repo), *deeper;
	bool absent;

	if (!rel) {
		outside(k, given, p->folder && *p->folder ? p->folder : p->root->path);
		return NULL;
	}
	if (p->err) {
		fail_unseen(k, c, p, given, p->err);
		return NULL;
	}
	deeper = below(rel, folder);
	if (deeper)
		return deeper;
	absent = !p->folder || faccessat(p->root->fd, folder, F_OK, 0) < 0;
	if (absent && (!p->folder || says_absent(errno)))	/* gone, or never there: its name still tells */
		return rel;
	if (absent)
		fail_unseen(k, c, p, given, errno);
	else
		outside(k, given, folder);
	return NULL;
}

/* Makes *path good.  Where it fails, *path is as it came: nothing else could be recognised in a result. */
static int fix_path(struct content *k, struct roots *r, const struct change *c, char **path, bool *folder)
{
	autofree char *given = xstrdup(*path);
	bool from_root = given[0] == '/';
	const char *rel = *path;
	enum lexical how = normalise(*path, folder);

	if (how == PATH_ABOVE)
		outside(k, given, from_root ? "/" : "the repository's folder");
	else if (from_root)
		rel = relative(k, r, c, given, *path);
	if (how != PATH_ABOVE && rel && !*rel)
		fail(k, ERR_BAD_PATH, "'%s' names no file", given);
	if (k->got == CONTENT_FAIL) {
		free(*path);
		*path = given;
		given = NULL;
		return -1;
	}
	memmove(*path, rel, strlen(rel) + 1);
	return 0;
}

/* One side of an arrow. */
static int unquote_side(struct content *k, const char *p, size_t n, char **out)
{
	auto_buf struct buf b = BUF_INIT;
	autofree char *name = xmemdup0(p, n);
	const char *fault;

	if (n == 0 || p[0] != '"' || cquote_decode(&b, p, n) != n) {
		buf_reset(&b);
		buf_add(&b, p, n);
	}
	fault = change_path_fault(b.data ? b.data : "", b.len);
	if (fault)
		return fail(k, ERR_BAD_PATH, "path '%s' %s", name, fault);
	*out = buf_detach(&b);
	return 0;
}

/* Where the arrow stands: behind a quoted name, else the first.  git quotes names with blanks in
 * them where it prints arrows, so no name in front holds one. */
static const char *find_arrow(const char *path)
{
	auto_buf struct buf b = BUF_INIT;
	size_t n = path[0] == '"' ? cquote_decode(&b, path, strlen(path)) : 0;

	if (n && strncmp(path + n, " -> ", 4) == 0)
		return path + n;
	return strstr(path, " -> ");
}

/* 1 or 0; -1: that cannot be seen, and k has failed. */
static int is_literal_name(struct content *k, struct change *c, struct roots *r)
{
	autofree char *copy = xstrdup(c->path);
	struct place *p = look_below(k, r, c->repo);
	struct content scratch;
	enum found found = FOUND_NOTHING;
	bool folder;
	int err;

	memset(&scratch, 0, sizeof(scratch));
	if (fix_path(&scratch, r, c, &copy, &folder) == 0)
		found = file_look(r, p, copy, &err);
	content_release(&scratch);
	if (found == FOUND_ERROR)
		return fail_unseen(k, c, p, c->path, err);
	return found == FOUND_FILE || found == FOUND_LINK;
}

static int split_arrow(struct content *k, struct change *c, struct roots *r)
{
	const char *arrow = find_arrow(c->path);
	autofree char *path = NULL;
	int literal = arrow ? is_literal_name(k, c, r) : 1;

	if (literal != 0)
		return literal < 0 ? -1 : 0;
	if (unquote_side(k, c->path, (size_t)(arrow - c->path), &c->old_path) < 0 ||
	    unquote_side(k, arrow + 4, strlen(arrow + 4), &path) < 0)
		return -1;
	free(c->path);
	c->path = path;
	path = NULL;
	c->op = OP_RENAME;
	return 0;
}

static int fix_paths(struct content *k, struct change *c, struct roots *r, bool *folder,
		     bool *keep_old)
{
	bool old_folder;
	struct place *p;
	enum found old;
	int err;

	if (c->path_may_be_arrow && split_arrow(k, c, r) < 0)
		return -1;
	if (fix_path(k, r, c, &c->path, folder) < 0)
		return -1;
	if (c->op != OP_RENAME)
		return 0;
	if (fix_path(k, r, c, &c->old_path, &old_folder) < 0)
		return -1;
	if (old_folder)
		return fail_folder(k, c->old_path);
	if (strcmp(c->path, c->old_path) == 0) {
		c->op = OP_MODIFY;
		free(c->old_path);
		c->old_path = NULL;
	} else if (c->source == CONTENT_FILE) {
		/* A swap of two names arrives as two renames: neither old path is free. */
		p = look_below(k, r, c->repo);
		old = file_look(r, p, c->old_path, &err);
		*keep_old = old == FOUND_FILE;
		if (old == FOUND_ERROR)
			k->old_unseen = xasprintf("cannot see whether there is a file '%s' still: %s",
						  c->old_path, strerror(err));
	}
	return 0;
}

/* --- the text --------------------------------------------------------------------------------- */

static bool is_hash(const uint8_t sum[DIGEST_SIZE], const char *hex)
{
	char own[2 * DIGEST_SIZE + 1];

	hex_encode(own, sum, DIGEST_SIZE);
	return memcmp(own, hex, sizeof(own)) == 0;
}

/* What was seen of the file says how new it is, also where it is no text to store. */
static void note_age(struct content *k, const struct file *f)
{
	k->ctime_ns = f->ctime_ns;
	k->unsteady = f->unsteady;
}

static void take_file(struct content *k, struct file *f)
{
	free(k->text);
	k->text = f->text;
	k->len = f->len;
	k->from_file = true;
	note_age(k, f);
	f->text = NULL;
}

/* The document's own file. */
static int load_file(struct content *k, struct change *c, struct roots *r)
{
	struct place *p = look_below(k, r, c->repo);
	struct file f;

	place_read(r, p, c->path, &f);
	if (f.found != FOUND_FILE) {
		note_age(k, &f);
		return judge_missing(k, c, p, c->path, &f);
	}
	take_file(k, &f);
	digest_of(k->text, k->len, k->sha256);
	return 0;
}

static int load_ref(struct content *k, struct change *c, struct roots *r)
{
	struct place *p = look_below(k, r, c->repo);
	autofree char *path = xstrdup(c->text);
	const char *rel = path;
	struct file f;
	bool folder;

	if (normalise(path, &folder) == PATH_ABOVE)
		return outside(k, c->text, p->root->path);
	if (c->text[0] == '/')
		rel = below_root(path, p->root);
	if (!rel)
		return outside(k, c->text, p->root->path);
	if (folder || !*rel)
		return fail(k, ERR_IS_A_DIRECTORY, "content_ref '%s' is a folder", c->text);
	file_read(r, p->root, "", rel, &f);
	if (f.found == FOUND_LINK)
		return fail_linked(k, c->text);
	if (f.found == FOUND_NOTHING)
		return fail(k, ERR_NO_SUCH_FILE, "content_ref: no file '%s' below '%s'", c->text,
			    p->root->path);
	if (f.found == FOUND_FOLDER || f.found == FOUND_SUBMODULE)
		return fail(k, ERR_IS_A_DIRECTORY, "content_ref '%s' is a folder", c->text);
	if (f.found == FOUND_ERROR)
		return fail(k, ERR_UNREADABLE, "cannot read '%s': %s", c->text, strerror(f.err));
	if (f.found != FOUND_FILE)
		return judge_missing(k, c, p, c->text, &f);
	take_file(k, &f);
	return 0;
}

/* The text given does not hash to content_hash, so it is a sample of the document: its own file is
 * the whole of it, if it is still the one that was hashed. */
static int complete_text(struct content *k, struct change *c, struct roots *r)
{
	struct place *p = look_below(k, r, c->repo);
	uint8_t sum[DIGEST_SIZE];
	struct file f;

	k->truncated = true;
	place_read(r, p, c->path, &f);
	if (f.found == FOUND_LINK) {
		note_age(k, &f);
		return skip(k, REASON_SYMLINK);
	}
	if (f.found == FOUND_ERROR)
		return fail_unseen(k, c, p, c->path, f.err);
	if (f.found != FOUND_FILE)
		return 0;
	digest_of(f.text, f.len, sum);
	if (is_hash(sum, c->content_hash)) {
		take_file(k, &f);
		memcpy(k->sha256, sum, sizeof(sum));
		k->truncated = false;
	}
	free(f.text);
	return 0;
}

static int load_given(struct content *k, struct change *c, struct roots *r)
{
	if (c->source == CONTENT_REF) {
		if (load_ref(k, c, r) < 0)
			return -1;
	} else {
		k->text = c->text;
		k->len = c->text_len;
		c->text = NULL;
		c->text_len = 0;
	}
	if (k->len > r->o->max_content)
		return skip(k, REASON_TOO_LARGE);
	digest_of(k->text, k->len, k->sha256);
	if (c->content_hash && !is_hash(k->sha256, c->content_hash))
		return complete_text(k, c, r);
	k->truncated = c->is_truncated && !c->content_hash;
	return 0;
}

static int judge_text(struct content *k, const struct change *c)
{
	if (k->len == 0)
		return skip(k, REASON_EMPTY);
	/* json_check() has seen to the UTF-8 of content. */
	if (memchr(k->text, '\0', k->len) ||
	    ((k->from_file || c->source != CONTENT_TEXT) && utf8_check(k->text, k->len) != k->len))
		return skip(k, REASON_NOT_TEXT);
	if (k->truncated && c->content_hash)
		memcpy(k->hash_hex, c->content_hash, sizeof(k->hash_hex));
	else
		hex_encode(k->hash_hex, k->sha256, sizeof(k->sha256));
	return 0;
}

/* The path ends like a folder's; path has lost its slash by now. */
static int load_folder(struct content *k, struct change *c, struct roots *r)
{
	struct place *p = look_below(k, r, c->repo);
	autofree char *shown = xasprintf("%s/", c->path);
	struct file f;

	place_read(r, p, c->path, &f);
	free(f.text);
	note_age(k, &f);
	if (f.found == FOUND_ERROR)
		return judge_missing(k, c, p, shown, &f);
	if (c->op == OP_DELETE && f.found == FOUND_SUBMODULE)
		return 0;
	if (c->op != OP_DELETE && (f.found == FOUND_SUBMODULE || f.found == FOUND_LINK ||
				   f.found == FOUND_LINK_ABOVE))
		return judge_missing(k, c, p, shown, &f);
	fail_folder(k, shown);	/* wherever it is fed: it may be there where it was listed */
	free(c->path);
	c->path = shown;
	shown = NULL;
	return -1;
}

/* The input ended with this path, without a newline.  Cut at a slash, it would name the folder of the file
 * that was meant. */
static int check_cut(struct content *k, struct change *c, struct roots *r, bool folder)
{
	struct place *p = look_below(k, r, c->repo);
	int err;
	enum found found = file_look(r, p, c->path, &err);

	if (found == FOUND_ERROR)
		return fail_unseen(k, c, p, c->path, err);
	if (!folder && (found == FOUND_FILE || found == FOUND_LINK))
		return 0;
	return fail(k, ERR_CUT_LINE, "the input ends inside this line, and there is no file '%s'", c->path);
}

static int load(struct content *k, struct change *c, struct roots *r, bool needs_file,
		bool *keep_old)
{
	bool folder = false, excluded;

	if (c->kind != CHANGE_DOCUMENT)
		return 0;
	if (fix_paths(k, c, r, &folder, keep_old) < 0)
		return -1;
	if (needs_file && check_cut(k, c, r, folder) < 0)
		return -1;
	excluded = c->op != OP_DELETE && excludes_match(r->exclude, c->path, folder);
	if (folder)
		return excluded ? skip(k, REASON_EXCLUDED) : load_folder(k, c, r);
	if (c->op == OP_DELETE)
		return 0;
	if (c->skip_index)
		return skip(k, REASON_SKIP_INDEX);
	if (excluded)
		return skip(k, REASON_EXCLUDED);
	if (c->content_error)
		return fail(k, ERR_CONTENT, "the producer could not read '%s': %s", c->path,
			    c->error_text ? c->error_text : "it does not say why");
	if ((c->source == CONTENT_FILE ? load_file(k, c, r) : load_given(k, c, r)) < 0)
		return -1;
	return judge_text(k, c);
}

void content_load(struct content *k, struct change *c, struct roots *r, bool needs_file,
		  bool *keep_old)
{
	memset(k, 0, sizeof(*k));
	*keep_old = false;
	if (load(k, c, r, needs_file, keep_old) < 0) {
		free(k->text);
		k->text = NULL;
		k->len = 0;
	}
	if (r->has_preset)
		forget_preset(r);
}

bool content_is_newer(const struct change *c, const struct content *k, int64_t start_ns)
{
	if (c->kind != CHANGE_DOCUMENT)
		return false;
	/* a file made for this line is no listing's */
	return k->unsteady || (k->ctime_ns > start_ns && k->ctime_ns != 0 && c->source != CONTENT_REF);
}

void content_release(struct content *k)
{
	free(k->message);
	free(k->old_unseen);
	free(k->text);
	free(k->folder);
	memset(k, 0, sizeof(*k));
}
