#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "stop.h"

static int pipe_fds[2] = { -1, -1 };
static volatile sig_atomic_t first;
static volatile sig_atomic_t usr1;

void stop_die(int sig)
{
	struct sigaction sa;
	sigset_t set;

	memset(&sa, 0, sizeof(sa));
	sa.sa_handler = SIG_DFL;
	sigaction(sig, &sa, NULL);
	sigemptyset(&set);
	sigaddset(&set, sig);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	raise(sig);
	_exit(128 + sig);
}

static void on_signal(int sig)
{
	int saved = errno;
	ssize_t n;

	if (sig == SIGUSR1)
		usr1 = 1;
	else if (first)
		stop_die(sig);
	else
		first = sig;
	n = write(pipe_fds[1], "", 1);
	(void)n;	/* a full pipe is readable all the same */
	errno = saved;
}

static int make_pipe(void)
{
	if (pipe_fds[0] >= 0)
		return 0;
	if (pipe(pipe_fds) < 0)
		return log_err("cannot make a pipe: %s", strerror(errno));
	for (int i = 0; i < 2; i++)
		if (fcntl(pipe_fds[i], F_SETFD, FD_CLOEXEC) < 0 ||
		    fcntl(pipe_fds[i], F_SETFL, O_NONBLOCK) < 0)
			return log_err("cannot set up a pipe: %s", strerror(errno));
	return 0;
}

static int install(int sig)
{
	struct sigaction sa, old;

	if (sigaction(sig, NULL, &old) < 0)
		return -1;
	/* nohup and background shells give a signal that is ignored on purpose. */
	if (sig != SIGUSR1 && old.sa_handler == SIG_IGN)
		return 0;
	memset(&sa, 0, sizeof(sa));
	sa.sa_handler = on_signal;
	sigemptyset(&sa.sa_mask);
	return sigaction(sig, &sa, NULL);
}

int stop_init(void)
{
	static const int sigs[] = { SIGINT, SIGTERM, SIGHUP, SIGUSR1 };
	struct sigaction ignore;

	if (make_pipe() < 0)
		return -1;
	memset(&ignore, 0, sizeof(ignore));
	ignore.sa_handler = SIG_IGN;
	if (sigaction(SIGPIPE, &ignore, NULL) < 0)
		return log_err("cannot ignore SIGPIPE: %s", strerror(errno));
	for (size_t i = 0; i < sizeof(sigs) / sizeof(sigs[0]); i++)
		if (install(sigs[i]) < 0)
			return log_err("cannot catch signal %d: %s", sigs[i], strerror(errno));
	return 0;
}

int stop_fd(void)
{
	return pipe_fds[0];
}

void stop_take(void)
{
	char junk[64];
	ssize_t n;

	do
		n = read(pipe_fds[0], junk, sizeof(junk));
	while (n > 0 || (n < 0 && errno == EINTR));
}

int stop_signal(void)
{
	return first;
}

bool stop_usr1(void)
{
	bool came = usr1;

	usr1 = 0;
	return came;
}
