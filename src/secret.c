#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alloc.h"
#include "cleanup.h"
#include "log.h"
#include "secret.h"

#define SECRET_MAX 4096

static void wipe(void *p, size_t n)
{
	volatile char *v = p;

	/* volatile: a plain memset before free() may be optimised away. */
	while (n--)
		*v++ = 0;
}

void secret_free(char *s)
{
	if (!s)
		return;
	wipe(s, strlen(s));
	free(s);
}

static bool printable(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
			return false;
	return true;
}

static int read_all(int fd, char *p, size_t max, size_t *n)
{
	ssize_t got;

	for (*n = 0; *n < max; *n += (size_t)got) {
		got = read(fd, p + *n, max - *n);
		if (got < 0 && errno == EINTR)
			got = 0;
		else if (got < 0)
			return -1;
		else if (!got)
			break;
	}
	return 0;
}

/* Room for one byte above the limit and a newline shows that a file is too long. */
static int take(char **out, int fd, const char *path)
{
	char p[SECRET_MAX + 2];
	size_t n;
	int r = -1;

	if (read_all(fd, p, sizeof(p), &n) < 0) {
		log_err("cannot read key file '%s': %s", path, strerror(errno));
		goto end;
	}
	if (n && p[n - 1] == '\n')
		n--;
	if (!n)
		log_err("key file '%s' is empty", path);
	else if (n > SECRET_MAX)
		log_err("key file '%s' is longer than %d bytes", path, SECRET_MAX);
	else if (!printable(p, n))
		log_err("key file '%s' holds control characters; it must be one line", path);
	else {
		*out = xmemdup0(p, n);
		r = 0;
	}
end:
	wipe(p, sizeof(p));
	return r;
}

static int from_file(char **out, const char *path)
{
	autofd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return log_err("cannot open key file '%s': %s", path, strerror(errno));
	if (st.st_mode & (S_IRWXG | S_IRWXO))
		return log_err("key file '%s' is open to others (mode %03o); run chmod 600 on it",
			       path, (unsigned)(st.st_mode & 0777));
	return take(out, fd, path);
}

/* No look at the mode: the service manager grants access by ACL, which shows as group bits. */
static int from_credential(char **out, const char *name)
{
	const char *dir = getenv("CREDENTIALS_DIRECTORY");
	autofree char *path = NULL;
	autofd int fd = -1;

	if (!name || !dir || !*dir)
		return 0;
	path = xasprintf("%s/%s", dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return log_err("cannot open credential '%s': %s", path, strerror(errno));
	return take(out, fd, path);
}

static int from_environment(char **out, const char *const *names)
{
	const char *s;

	for (; names && *names; names++) {
		s = getenv(*names);
		if (!s || !*s)
			continue;
		if (!printable(s, strlen(s)))
			return log_err("the key in $%s holds control characters", *names);
		*out = xstrdup(s);
		return 0;
	}
	return 0;
}

int secret_find(char **out, const char *file, const char *credential, const char *const *names)
{
	*out = NULL;
	if (file)
		return from_file(out, file);
	if (from_credential(out, credential) < 0)
		return -1;
	return *out ? 0 : from_environment(out, names);
}
