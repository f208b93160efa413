#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../src/clock.h"
#include "../../src/lock.h"
#include "../../src/stop.h"
#include "tap.h"

static char dir[] = "/tmp/linesync-test-XXXXXX";
static char path[64], other[64];

/* Another process that takes the lock and keeps it for so long (-1: until it is killed).  Returns when
 * it has it. */
static pid_t holder(int64_t ms)
{
	int fds[2];
	char c;
	pid_t pid;

	fflush(stdout);
	if (pipe(fds) != 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		int fd = lock_take(path, 0);

		if (write(fds[1], "x", 1) != 1 || fd < 0)
			_exit(1);
		if (ms < 0)
			pause();
		else
			usleep((useconds_t)ms * 1000);
		_exit(0);
	}
	close(fds[1]);
	if (read(fds[0], &c, 1) != 1)
		pid = -1;
	close(fds[0]);
	return pid;
}

static int end(pid_t pid, int sig)
{
	int status = 0;

	if (sig)
		kill(pid, sig);
	waitpid(pid, &status, 0);
	return status;
}

static void test_free(void)
{
	char *who = (char *)"";
	char text[128] = "", want[32];
	struct stat st;
	int fd, r;
	ssize_t n;

	ok(!lock_held(path, &who) && who == NULL && access(path, F_OK) != 0, "nobody holds a lock that is not there");
	fd = lock_take(path, 0);
	ok(fd >= 0 && stat(path, &st) == 0 && (st.st_mode & 07777) == 0600, "taken; the file is made, 0600");
	ok(fcntl(fd, F_GETFD) & FD_CLOEXEC, "not handed to programs that are started");
	n = pread(fd, text, sizeof(text) - 1, 0);
	snprintf(want, sizeof(want), "pid %ld, host ", (long)getpid());
	ok(n > 0 && strncmp(text, want, strlen(want)) == 0 && strstr(text, ", since 2") && text[n - 1] == '\n',
	   "it says who");
	close(fd);
	ok(!lock_held(path, &who) && who == NULL, "given back: nobody holds it, though its file stays");
	r = lock_take(path, 0);
	ok(r >= 0, "taken again");
	close(r);
}

static void test_held(void)
{
	char *who = NULL, want[32];
	pid_t pid = holder(-1);
	int64_t before;

	ok(lock_take(path, 0) == -2, "another process holds it");
	snprintf(want, sizeof(want), "pid %ld, host ", (long)pid);
	ok(lock_held(path, &who) && who && strncmp(who, want, strlen(want)) == 0, "by %s", who);
	free(who);
	before = clock_ms();
	ok(lock_take(path, 250) == -2 && clock_ms() - before >= 250,
	   "waited for as long as was allowed");
	kill(pid, SIGSTOP);
	ok(lock_take(path, 0) == -2 && lock_held(path, &who),
	   "a stopped holder keeps nobody waiting");
	free(who);
	end(pid, SIGKILL);
	pid = lock_take(path, 0);
	ok(pid >= 0, "a killed holder leaves it free");
	close(pid);
}

static void test_wait(void)
{
	pid_t pid = holder(300);
	int fd = lock_take(path, INT64_MAX);

	ok(fd >= 0, "had as soon as the holder ends");
	close(fd);
	end(pid, 0);
	pid = holder(200);
	fd = lock_take(path, INT64_MAX);
	ok(fd >= 0, "waiting without limit");
	close(fd);
	end(pid, 0);
}

/* What the file says is for people; who holds it the system knows. */
static void test_stale_text(void)
{
	char *who = NULL, want[32];
	pid_t pid = holder(-1);
	int fd;

	/* this process holds no lock on it, so that closing it loses none */
	fd = open(path, O_WRONLY | O_TRUNC);
	if (write(fd, "pid 1, host elsewhere, since long ago\n", 38) != 38)
		printf("Bail out! cannot write\n");
	close(fd);
	snprintf(want, sizeof(want), "pid %ld", (long)pid);
	ok(lock_held(path, &who) && who && strcmp(who, want) == 0, "a text of another process is not believed");
	free(who);
	fd = open(path, O_WRONLY | O_TRUNC);
	close(fd);
	ok(lock_held(path, &who) && who && strcmp(who, want) == 0, "an empty one: the number alone");
	free(who);
	end(pid, SIGKILL);
}

static void test_removed(void)
{
	pid_t pid = holder(-1);
	int fd;

	unlink(path);
	fd = lock_take(path, 0);
	ok(fd >= 0, "its file was removed: a new one is taken");
	close(fd);
	end(pid, SIGKILL);
}

static void test_odd_files(void)
{
	char *who;

	unlink(path);
	snprintf(other, sizeof(other), "%s/other", dir);
	ok(symlink(other, path) == 0 && lock_take(path, 0) == -1 && access(other, F_OK) != 0,
	   "a symbolic link is refused");
	ok(lock_held(path, &who) == -1 && who == NULL, "and whether anybody holds it is not known");
	unlink(path);
	ok(mkdir(path, 0700) == 0 && lock_take(path, 0) == -1, "a folder is refused");
	rmdir(path);
	ok(mkfifo(path, 0600) == 0 && lock_take(path, 0) == -1, "a fifo is refused, without waiting");
	ok(!lock_held(path, &who), "and asking does not wait either");
	unlink(path);
	snprintf(other, sizeof(other), "%s/no/such/lock", dir);
	ok(lock_take(other, 0) == -1, "no such folder");
}

/* Many start together: one has it. */
static void test_race(void)
{
	pid_t pids[12];
	int had = 0, go[2], tried[2], leave[2];
	char c;

	fflush(stdout);
	if (pipe(go) != 0 || pipe(tried) != 0 || pipe(leave) != 0)
		return;
	for (int i = 0; i < 12; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			int fd;

			close(go[1]);
			close(leave[1]);
			if (read(go[0], &c, 1) < 0)
				_exit(2);
			fd = lock_take(path, 0);
			if (write(tried[1], "x", 1) != 1 || read(leave[0], &c, 1) < 0)
				_exit(2);
			_exit(fd >= 0 ? 0 : fd == -2 ? 1 : 3);
		}
	}
	close(go[0]);
	close(go[1]);
	close(tried[1]);
	close(leave[0]);
	for (int i = 0; i < 12 && read(tried[0], &c, 1) == 1; i++)
		;			/* who has it keeps it until all have tried */
	close(tried[0]);
	close(leave[1]);
	for (int i = 0; i < 12; i++) {
		int status = end(pids[i], 0);

		had += WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 1 :
		       WIFEXITED(status) && WEXITSTATUS(status) == 1 ? 0 : 100;
	}
	ok(had == 1, "of twelve at once %d had it", had);
}

/* A signal that asks to stop ends the waiting. */
static void test_signal(void)
{
	pid_t pid = holder(-1), killer;
	int got;

	fflush(stdout);
	killer = fork();
	if (killer == 0) {
		usleep(200000);
		kill(getppid(), SIGTERM);
		_exit(0);
	}
	got = lock_take(path, INT64_MAX);
	ok(got == -2 && stop_signal() == SIGTERM, "TERM ends the waiting");
	end(killer, 0);
	end(pid, SIGKILL);
}

int main(void)
{
	if (!mkdtemp(dir) || stop_init() != 0)
		return 77;
	snprintf(path, sizeof(path), "%s/lock", dir);
	test_free();
	test_held();
	test_wait();
	test_stale_text();
	test_removed();
	test_odd_files();
	test_race();
	test_signal();
	unlink(path);
	rmdir(dir);
	return tap_done();
}
