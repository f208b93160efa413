/* Loaded before everything else (LD_PRELOAD), it makes one call of the C library fail:
 *   FAULT_CALL   malloc (and calloc, realloc, strdup), pread, fsync, folder (open() of one)
 *   FAULT_AT     which one of them after main() begins, from 1; 0: none
 *   FAULT_ERRNO  its errno; 0: half of what was asked for is read, and no error
 *   FAULT_ON     set: all of them from there on
 *   FAULT_COUNT  a file that gets the number of such calls when the program ends by exit() */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static void *(*real_malloc)(size_t), *(*real_calloc)(size_t, size_t), *(*real_realloc)(void *, size_t);
static void (*real_free)(void *);
static ssize_t (*real_pread)(int, void *, size_t, off64_t);
static int (*real_fsync)(int), (*real_open)(const char *, int, ...);
static const char *call = "";
static long seen, at;
static int error, on, started;
static char early[8192];		/* for dlsym(), before there is a malloc() */
static size_t early_used;

static void find(void)
{
	static int busy;

	if (busy || real_malloc != NULL)
		return;
	busy = 1;
	real_calloc = dlsym(RTLD_NEXT, "calloc");
	real_realloc = dlsym(RTLD_NEXT, "realloc");
	real_free = dlsym(RTLD_NEXT, "free");
	real_pread = dlsym(RTLD_NEXT, "pread64");
	real_fsync = dlsym(RTLD_NEXT, "fsync");
	real_open = dlsym(RTLD_NEXT, "open64");
	real_malloc = dlsym(RTLD_NEXT, "malloc");
	busy = 0;
}

__attribute__((constructor)) static void start(void)
{
	find();
	if (getenv("FAULT_CALL") == NULL)
		return;
	call = getenv("FAULT_CALL");
	at = atol(getenv("FAULT_AT"));
	error = atoi(getenv("FAULT_ERRNO"));
	on = getenv("FAULT_ON") != NULL;
	started = 1;
}

__attribute__((destructor)) static void stop(void)
{
	const char *name = getenv("FAULT_COUNT");
	char text[32];
	int fd, n;

	started = 0;
	if (name == NULL || (fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600)) < 0)
		return;
	n = snprintf(text, sizeof text, "%ld\n", seen);
	if (write(fd, text, (size_t)n) != n)
		_exit(99);
	close(fd);
}

static int fails(const char *which)
{
	long n;

	if (!started || strcmp(which, call) != 0)
		return 0;
	n = __sync_add_and_fetch(&seen, 1);
	if (at == 0 || n < at || (n > at && !on))
		return 0;
	errno = error;
	return 1;
}

static void *take_early(size_t n)
{
	void *p = early + early_used;

	early_used += (n + 15) & ~(size_t)15;
	return early_used <= sizeof early ? p : NULL;
}

static int is_early(const void *p)
{
	return (const char *)p >= early && (const char *)p < early + sizeof early;
}

void *malloc(size_t n)
{
	find();
	if (real_malloc == NULL)
		return take_early(n);
	return fails("malloc") ? NULL : real_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	find();
	if (real_malloc == NULL)
		return take_early(n * size);
	return fails("malloc") ? NULL : real_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	find();
	if (is_early(p)) {
		void *q = real_malloc(n);

		return q ? memcpy(q, p, n) : NULL;
	}
	return fails("malloc") ? NULL : real_realloc(p, n);
}

void free(void *p)
{
	if (!is_early(p) && real_free != NULL)
		real_free(p);
}

char *strdup(const char *s)
{
	size_t n = strlen(s) + 1;
	char *p = malloc(n);

	return p ? memcpy(p, s, n) : NULL;
}

static ssize_t faulty_pread(int fd, void *p, size_t n, off64_t offset)
{
	find();
	if (fails("pread")) {
		if (error != 0)
			return -1;
		n /= 2;
	}
	return real_pread(fd, p, n, offset);
}

ssize_t pread(int fd, void *p, size_t n, off_t offset)
{
	return faulty_pread(fd, p, n, offset);
}

ssize_t pread64(int fd, void *p, size_t n, off64_t offset)
{
	return faulty_pread(fd, p, n, offset);
}

int fsync(int fd)
{
	find();
	return fails("fsync") ? -1 : real_fsync(fd);
}

static int faulty_open(const char *path, int flags, mode_t mode)
{
	find();
	return (flags & O_DIRECTORY) && fails("folder") ? -1 : real_open(path, flags, mode);
}

int open(const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	if (flags & (O_CREAT | O_TMPFILE)) {
		va_start(ap, flags);
		mode = va_arg(ap, mode_t);
		va_end(ap);
	}
	return faulty_open(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	if (flags & (O_CREAT | O_TMPFILE)) {
		va_start(ap, flags);
		mode = va_arg(ap, mode_t);
		va_end(ap);
	}
	return faulty_open(path, flags, mode);
}
