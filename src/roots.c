#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alloc.h"
#include "buf.h"
#include "cleanup.h"
#include "exclude.h"
#include "log.h"
#include "roots_p.h"

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

struct places {
	struct place **at;	/* owned; sorted by repo; room for ROOTS_KEPT or NULL */
	size_t n;
};

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

bool file_is_absent(int err)
{
	return err == ENOENT || err == ENOTDIR || err == ELOOP;
}

/* --- paths ------------------------------------------------------------------------------------ */

enum path_kind path_normalise(char *path, bool *folder)
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

const char *path_below(const char *path, const char *folder)
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

const char *root_below(const char *path, const struct root *root)
{
	const char *p = path_below(path, root->path + 1);

	return p ? p : path_below(path, root->given + 1);
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
	if (path_normalise(all + 1, &folder) == PATH_ABOVE)
		all[1] = '\0';
	return all;
}

/* 1 or 0; -1 with errno if that cannot be seen. */
static int holds_git(int dir)
{
	struct stat st;

	if (fstatat(dir, ".git", &st, AT_SYMLINK_NOFOLLOW) == 0)
		return 1;
	return file_is_absent(errno) ? 0 : -1;
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

void roots_forget_preset(struct roots *r)
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
	roots_forget_preset(r);
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

const struct content_options *roots_options(const struct roots *r)
{
	return r->o;
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
		f->found = file_is_absent(f->err) ? FOUND_NOTHING : FOUND_ERROR;
}

/* Opens the folder that holds the last part of rel, which is cut up on the way.  Returns it (the
 * root's own descriptor where there is but one part) with *last in rel, or -1 with *f filled in. */
static int open_parent(const struct root *root, char *rel, const char **last, struct file *f)
{
	int dir = root->fd, next;
	char *slash;

	memset(f, 0, sizeof(*f));
	f->err = dir < 0 ? root->err : ENOENT;
	f->found = file_is_absent(f->err) ? FOUND_NOTHING : FOUND_ERROR;
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

bool path_is_plain(const char *name)
{
	autofree char *copy = xstrdup(name);
	bool folder;

	return name[0] != '/' && path_normalise(copy, &folder) == PATH_FINE && !folder &&
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
	if (!path_is_plain(repo))
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

const char *roots_name(const struct roots *r, const char *repo)
{
	const char *rest;

	if (!r->o->namespace || !*r->o->namespace)
		return repo;
	rest = path_below(repo, r->o->namespace);
	return rest ? rest : repo;
}

static struct place *place_choose(struct roots *r, struct root *root, const char *repo)
{
	struct place *p = xcalloc(1, sizeof(*p));
	const char *name = roots_name(r, repo), *folder = NULL;
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

struct place *roots_place(struct roots *r, const char *repo)
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

	if (root->fd < 0 && !file_is_absent(root->err))
		root_try(root, path);
	return root;
}

int roots_preset(struct roots *r, const char *root, const char *repo, const char *folder)
{
	bool good = !*folder || path_is_plain(folder);
	struct place *p;

	roots_forget_preset(r);
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
		return file_is_absent(errno) ? 0 : -1;
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
		f->found = file_is_absent(f->err) ? FOUND_NOTHING : FOUND_ERROR;
	}
	return steady != 0;
}

void file_read(struct roots *r, const struct root *root, const char *folder,
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

void place_read(struct roots *r, const struct place *p, const char *path, struct file *f)
{
	if (p->folder) {
		file_read(r, p->root, p->folder, path, f);
		return;
	}
	memset(f, 0, sizeof(*f));
	f->err = p->err;
	f->found = p->err ? FOUND_ERROR : FOUND_NOTHING;
}

enum found place_look(struct roots *r, const struct place *p, const char *path, int *err)
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
		return file_is_absent(*err) ? FOUND_NOTHING : FOUND_ERROR;
	if (S_ISREG(st.st_mode))
		return FOUND_FILE;
	if (S_ISLNK(st.st_mode))
		return FOUND_LINK;
	return S_ISDIR(st.st_mode) ? FOUND_FOLDER : FOUND_SPECIAL;
}
