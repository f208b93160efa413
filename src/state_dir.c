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
#include "cleanup.h"
#include "digest.h"
#include "lock.h"
#include "log.h"
#include "state.h"
#include "statefile.h"
#include "text.h"

/* What is in a folder is no safer than the folder's own name.  0, or -1 with the reason logged. */
static int make_one(const char *path)
{
	if (mkdir(path, 0700) != 0)
		return errno == EEXIST ? 0 : log_err("cannot create folder '%s': %s", path, strerror(errno));
	if (statefile_sync_name(path) == 0)
		return 0;
	rmdir(path);
	return -1;
}

/* Makes the folder and what is missing above it, for this user alone. */
static int make_folder(char *path)
{
	struct stat st;

	for (char *p = path + 1;; p++) {
		char c = *p;

		if (c != '/' && c != '\0')
			continue;
		*p = '\0';
		if (make_one(path) != 0)
			return -1;
		*p = c;
		if (c == '\0')
			break;
	}
	if (lstat(path, &st) != 0)
		return log_err("cannot look at folder '%s': %s", path, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return log_err("'%s' is no folder (a symbolic link is not followed); name another with "
			       "--state-dir", path);
	return 0;
}

static char *default_folder(void)
{
	const char *systemd = getenv("STATE_DIRECTORY"), *xdg = getenv("XDG_STATE_HOME");
	const char *home = getenv("HOME");

	/* systemd lists several with ':' between; the first is the service's own */
	if (systemd != NULL && systemd[0] == '/')
		return xmemdup0(systemd, strcspn(systemd, ":"));
	if (geteuid() == 0)
		return xstrdup("/var/lib/linesync");
	if (xdg != NULL && xdg[0] == '/')
		return xasprintf("%s/linesync", xdg);
	if (home != NULL && home[0] == '/')
		return xasprintf("%s/.local/state/linesync", home);
	return NULL;
}

char *state_folder(const char *dir, bool create)
{
	char *folder = dir != NULL ? xstrdup(dir) : default_folder();

	if (folder == NULL) {
		log_err("there is no HOME to keep the state in; name a folder with --state-dir");
		return NULL;
	}
	for (size_t n = strlen(folder); n > 1 && folder[n - 1] == '/'; n--)
		folder[n - 1] = '\0';
	if (create && make_folder(folder) != 0) {
		free(folder);
		return NULL;
	}
	return folder;
}

/* The readable part of a name: what is safe in a file name, short. */
static void add_readable(struct buf *b, const char *s, size_t max)
{
	for (size_t n = 0; *s != '\0' && n < max; s++, n++) {
		bool safe = (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') ||
			    (*s >= '0' && *s <= '9') || *s == '.' || *s == '_';

		if (safe)
			buf_addc(b, *s);
		else if (b->len > 0 && b->data[b->len - 1] != '-')
			buf_addc(b, '-');
	}
}

char *state_file(const char *folder, const char *store, const char *collection)
{
	auto_buf struct buf name = BUF_INIT;
	struct digest d;
	uint8_t sum[DIGEST_SIZE];
	char hex[9];

	digest_init(&d);
	digest_field(&d, store, strlen(store));
	digest_field(&d, collection, strlen(collection));
	digest_done(&d, sum);
	hex_encode(hex, sum, 4);
	add_readable(&name, store, 60);
	buf_addc(&name, '-');
	add_readable(&name, collection, 60);
	return xasprintf("%s/%s-%s.tdb", folder, name.data, hex);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_state_name(const char *name)
{
	size_t n = strlen(name);

	return n > 4 && strcmp(name + n - 4, ".tdb") == 0;
}

static void add_file(char ***files, size_t *n, const char *folder, const char *name)
{
	*files = xrealloc(*files, (*n + 1) * sizeof **files);
	(*files)[(*n)++] = xasprintf("%s/%s", folder, name);
}

int state_list(char ***files, size_t *n, const char *folder)
{
	DIR *dir = opendir(folder);
	int why = dir == NULL ? errno : 0;
	struct dirent *e;

	*files = NULL;
	*n = 0;
	while (dir != NULL && (errno = 0, e = readdir(dir)) != NULL)
		if (is_state_name(e->d_name))
			add_file(files, n, folder, e->d_name);
	if (dir != NULL) {
		why = errno;
		closedir(dir);
	}
	if (*n > 0)
		qsort(*files, *n, sizeof **files, by_name);
	if (why == 0 || why == ENOENT)
		return 0;
	log_err("cannot read the state folder '%s': %s", folder, strerror(why));
	return 74;
}

static int remove_file(const char *path)
{
	if (unlink(path) == 0 || errno == ENOENT)
		return 0;
	log_err("cannot remove '%s': %s", path, strerror(errno));
	return 74;
}

/* The lock goes last, and while it is held: who waits for it sees that its file is another one. */
int state_remove(const char *path, int64_t wait_ms)
{
	autofree char *lock = xasprintf("%s.lock", path), *fresh = xasprintf("%s.new", path);
	int status, fd = lock_take(lock, wait_ms);

	if (fd < 0)
		return fd == -2 ? 75 : 73;
	status = remove_file(path);
	if (status == 0)
		status = remove_file(fresh);
	if (status == 0 && statefile_sync_name(path) != 0)
		status = 74;
	if (status == 0)
		status = remove_file(lock);
	close(fd);
	return status;
}
