#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alloc.h"
#include "blank.h"
#include "cleanup.h"
#include "log.h"
#include "secret.h"

#define SECRET_MAX 4096
#define HEADERS_MAX 16384

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
		blank_know(*out);
		r = 0;
	}
end:
	wipe(p, sizeof(p));
	return r;
}

/* A descriptor, or -1 with the reason logged.  what: "key" or "header". */
static int open_private(const char *path, const char *what)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		log_err("cannot open %s file '%s': %s", what, path, strerror(errno));
	} else if (st.st_mode & (S_IRWXG | S_IRWXO)) {
		log_err("%s file '%s' is open to others (mode %03o); run chmod 600 on it", what, path,
			(unsigned)(st.st_mode & 0777));
	} else {
		return fd;
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

static int from_file(char **out, const char *path)
{
	autofd int fd = open_private(path, "key");

	return fd < 0 ? -1 : take(out, fd, path);
}

/* A descriptor, and its path, which is the caller's; -1 with errno 0: there is none, else the reason is
 * logged.  No look at the mode: the service manager grants access by ACL, which shows as group bits. */
static int open_credential(char **path, const char *name)
{
	const char *dir = getenv("CREDENTIALS_DIRECTORY");
	int fd;

	*path = NULL;
	errno = 0;
	if (!name || !dir || !*dir)
		return -1;
	*path = xasprintf("%s/%s", dir, name);
	fd = open(*path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0 && errno == ENOENT) {
		errno = 0;
	} else if (fd < 0) {
		log_err("cannot open credential '%s': %s", *path, strerror(errno));
		errno = EIO;
	}
	return fd;
}

static int from_credential(char **out, const char *name)
{
	autofree char *path = NULL;
	autofd int fd = open_credential(&path, name);

	if (fd < 0)
		return errno ? -1 : 0;
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
		blank_know(*out);
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

/* ---- headers ---- */

/* The length of a header's name (RFC 9110), which ends at the colon; 0 if it has none. */
static size_t name_length(const char *line, size_t n)
{
	static const char others[] = "!#$%&'*+-.^_`|~";
	size_t i = 0;

	while (i < n && ((line[i] >= 'a' && line[i] <= 'z') || (line[i] >= 'A' && line[i] <= 'Z') ||
			 (line[i] >= '0' && line[i] <= '9') || (line[i] && strchr(others, line[i]))))
		i++;
	return i < n && line[i] == ':' ? i : 0;
}

static bool is_name(const char *line, size_t n, const char *name)
{
	return strncasecmp(line, name, n) == 0 && (name[n] == '\0' || name[n] == ':');
}

/* What frames the request, and belongs to one connection. */
static bool is_reserved(const char *line, size_t n)
{
	static const char *const names[] = {
		"Host", "Content-Length", "Content-Type", "Content-Encoding", "Transfer-Encoding", "TE",
		"Trailer", "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "Upgrade",
		"Expect", "Accept-Encoding", "HTTP2-Settings", NULL
	};

	for (size_t i = 0; names[i]; i++)
		if (is_name(line, n, names[i]))
			return true;
	return false;
}

static void headers_add(char ***list, char *header)
{
	size_t n = 0;

	while (*list && (*list)[n])
		n++;
	*list = xrealloc(*list, (n + 2) * sizeof(**list));
	(*list)[n] = header;
	(*list)[n + 1] = NULL;
}

/* One line of n bytes, which may be blank; a newline or NUL follows.  NULL, or what is wrong with it. */
static const char *take_header(char ***list, const char *line, size_t n, const char *own)
{
	size_t name = name_length(line, n), at = name + 1;
	char *header;

	if (strspn(line, " ") >= n)
		return NULL;
	if (!printable(line, n))
		return "holds control characters";
	if (name == 0)
		return "is no header, as in 'Name: value'";
	if (is_reserved(line, name))
		return "names a header that linesync sets itself";
	if (own && is_name(line, name, own))
		return "names the header that carries the key, which has a file of its own (--api-key-file, "
		       "--embed-key-file)";
	while (at < n && line[at] == ' ')
		at++;
	while (n > at && line[n - 1] == ' ')
		n--;
	if (at == n)
		return "names a header without a value";
	header = xasprintf("%.*s: %.*s", (int)name, line, (int)(n - at), line + at);
	blank_know_header(header);
	headers_add(list, header);
	return NULL;
}

static int take_headers(char ***list, const char *text, const char *file, const char *own)
{
	for (int line = 1; *text; line++) {
		size_t n = strcspn(text, "\n");
		const char *why = take_header(list, text, n, own);

		if (why)
			return log_err("line %d of header file '%s' %s", line, file, why);
		text += n + (text[n] == '\n');
	}
	return 0;
}

static int read_headers(char ***list, int fd, const char *file, const char *own)
{
	char p[HEADERS_MAX + 1];
	size_t n;
	int r = -1;

	if (read_all(fd, p, sizeof(p), &n) < 0) {
		log_err("cannot read header file '%s': %s", file, strerror(errno));
	} else if (n > HEADERS_MAX) {
		log_err("header file '%s' is longer than %d bytes", file, HEADERS_MAX);
	} else if (memchr(p, '\0', n)) {
		log_err("header file '%s' holds control characters", file);
	} else {
		p[n] = '\0';
		r = take_headers(list, p, file, own);
	}
	wipe(p, sizeof(p));
	return r;
}

int secret_headers(char ***list, const char *file, const char *credential, const char *own)
{
	autofree char *path = NULL;
	autofd int fd = -1;

	if (file) {
		fd = open_private(file, "header");
		return fd < 0 ? -1 : read_headers(list, fd, file, own);
	}
	fd = open_credential(&path, credential);
	if (fd < 0)
		return errno ? -1 : 0;
	return read_headers(list, fd, path, own);
}

void secret_headers_free(char **list)
{
	for (char **h = list; h && *h; h++)
		secret_free(*h);
	free(list);
}
