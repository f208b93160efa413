#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alloc.h"
#include "buf.h"
#include "cleanup.h"
#include "clock.h"
#include "log.h"
#include "stop.h"

#include "lock.h"

#define POLL_MS 100	/* fcntl's own waiting has no time limit */

static int set_lock(int fd)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	return fcntl(fd, F_SETLK, &l);
}

/* Opened without waiting, whatever stands there: a fifo too. */
static int open_file(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);

	if (fd < 0 && errno == ELOOP)
		return log_err("lock '%s' is a symbolic link; remove it", path);
	if (fd < 0)
		return log_err("cannot make lock '%s': %s", path, strerror(errno));
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		return fd;
	close(fd);
	return log_err("lock '%s' is no plain file; remove it", path);
}

/* False if the file was removed or replaced meanwhile: others lock the new one. */
static bool still_there(int fd, const char *path)
{
	struct stat mine, there;

	return fstat(fd, &mine) == 0 && lstat(path, &there) == 0 &&
	       mine.st_dev == there.st_dev && mine.st_ino == there.st_ino;
}

/* For people only, so a full disk is no reason to fail. */
static void write_holder(int fd)
{
	auto_buf struct buf text = BUF_INIT;
	char host[256] = "", stamp[21];
	ssize_t n = -1;

	if (gethostname(host, sizeof(host) - 1) != 0 || host[0] == '\0')
		host[0] = '?';
	clock_format(clock_unix_s(), stamp);
	buf_addf(&text, "pid %ld, host %s, since %s\n", (long)getpid(), host, stamp);
	if (ftruncate(fd, 0) == 0)
		n = pwrite(fd, text.data, text.len, 0);
	(void)n;
}

/* Who holds it, as the file says; the system knows the process number better than the file, which
 * the holder writes only after it has the lock.  As lock_held(), with nothing logged. */
static int read_holder(int fd, char **holder)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	autofree char *pid = NULL;
	char text[512];
	ssize_t n;

	*holder = NULL;
	if (fcntl(fd, F_GETLK, &l) != 0)
		return -1;
	if (l.l_type == F_UNLCK)
		return 0;
	n = pread(fd, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	pid = l.l_pid > 0 ? xasprintf("pid %ld", (long)l.l_pid) : xstrdup("another machine or container");
	if (text[0] == '\0' || (l.l_pid > 0 && (strncmp(text, pid, strlen(pid)) != 0 ||
						 text[strlen(pid)] != ',')))
		*holder = xstrdup(pid);
	else
		*holder = xstrdup(text);
	return 1;
}

/* One attempt: a descriptor; -1 logged; -2 another process has it (*holder may be NULL). */
static int try_lock(const char *path, char **holder)
{
	for (;;) {
		int fd = open_file(path);

		if (fd < 0)
			return -1;
		if (set_lock(fd) == 0) {
			if (still_there(fd, path))
				return fd;
		} else if (errno == EACCES || errno == EAGAIN) {
			free(*holder);
			(void)read_holder(fd, holder);
			close(fd);
			return -2;
		} else {
			log_err("cannot lock '%s': %s", path, strerror(errno));
			close(fd);
			return -1;
		}
		close(fd);
	}
}

/* False when the time is up or a signal asks to stop. */
static bool wait_a_little(int64_t until_ms)
{
	struct pollfd p = { stop_fd(), POLLIN, 0 };
	int64_t left = until_ms - clock_ms();

	if (left <= 0 || stop_signal() != 0)
		return false;
	poll(&p, 1, (int)(left < POLL_MS ? left : POLL_MS));
	return stop_signal() == 0;
}

void lock_tell(const char *holder)
{
	log_err("another linesync works on this state (%s); try again later, or wait for it with --wait-lock "
		"SECONDS", holder != NULL ? holder : "who is not known");
}

int lock_take(const char *path, int64_t wait_ms)
{
	int64_t now = clock_ms();
	int64_t until = wait_ms > CLOCK_NEVER - now ? CLOCK_NEVER : now + wait_ms;
	autofree char *holder = NULL;
	int fd;

	while ((fd = try_lock(path, &holder)) == -2 && wait_a_little(until))
		;
	if (fd >= 0)
		write_holder(fd);
	if (fd == -2)
		lock_tell(holder);
	return fd;
}

int lock_held(const char *path, char **holder)
{
	autofd int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	int held;

	*holder = NULL;
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	held = fd >= 0 ? read_holder(fd, holder) : -1;
	if (held < 0)
		log_err("cannot look at lock '%s': %s", path, strerror(errno));
	return held;
}

/* Who waits for it looks whether the name still means the file that he has locked. */
void lock_remove(int fd, const char *path)
{
	if (still_there(fd, path))
		unlink(path);
}
