#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "stop.h"

static int stop_pipe[2] = { -1, -1 };
static int usr1_pipe[2] = { -1, -1 };
static volatile sig_atomic_t first;

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

	if (sig != SIGUSR1 && first)
		stop_die(sig);
	if (sig != SIGUSR1)
		first = sig;
	n = write(sig == SIGUSR1 ? usr1_pipe[1] : stop_pipe[1], "", 1);
	(void)n;	/* a full pipe is readable all the same */
	errno = saved;
}

static int make_pipe(int fds[2])
{
	if (fds[0] >= 0)
		return 0;
	if (pipe(fds) < 0)
		return log_err("cannot make a pipe: %s", strerror(errno));
	for (int i = 0; i < 2; i++)
		if (fcntl(fds[i], F_SETFD, FD_CLOEXEC) < 0 || fcntl(fds[i], F_SETFL, O_NONBLOCK) < 0)
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

	if (make_pipe(stop_pipe) < 0 || make_pipe(usr1_pipe) < 0)
		return -1;
	memset(&ignore, 0, sizeof(ignore));
	ignore.sa_handler = SIG_IGN;
	/* Writing then fails, and that says on what; a limit of file sizes is as good as a full disk. */
	if (sigaction(SIGPIPE, &ignore, NULL) < 0 || sigaction(SIGXFSZ, &ignore, NULL) < 0)
		return log_err("cannot ignore SIGPIPE and SIGXFSZ: %s", strerror(errno));
	for (size_t i = 0; i < sizeof(sigs) / sizeof(sigs[0]); i++)
		if (install(sigs[i]) < 0)
			return log_err("cannot catch signal %d: %s", sigs[i], strerror(errno));
	return 0;
}

int stop_fd(void)
{
	return stop_pipe[0];
}

int stop_signal(void)
{
	return first;
}

int stop_usr1_fd(void)
{
	return usr1_pipe[0];
}

bool stop_usr1(void)
{
	char junk[64];
	bool came = false;
	ssize_t n;

	while ((n = read(usr1_pipe[0], junk, sizeof(junk))) > 0 || (n < 0 && errno == EINTR))
		came |= n > 0;
	return came;
}
