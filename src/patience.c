#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/time.h>

#include "patience.h"

#define AGAIN_MS 100

volatile sig_atomic_t patience_over;

static void ring(int sig)
{
	(void)sig;
	patience_over = 1;
}

/* Without SA_RESTART: waiting is to end.  The mask may have been inherited from anywhere. */
static void listen_once(void)
{
	static bool done;
	struct sigaction a = { .sa_handler = ring };
	sigset_t alarm;

	if (done)
		return;
	done = true;
	sigemptyset(&a.sa_mask);
	sigaction(SIGALRM, &a, NULL);
	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	sigprocmask(SIG_UNBLOCK, &alarm, NULL);
}

static void set_timer(int64_t first_ms, int64_t again_ms)
{
	struct itimerval t = {
		.it_value = { first_ms / 1000, first_ms % 1000 * 1000 },
		.it_interval = { again_ms / 1000, again_ms % 1000 * 1000 },
	};

	setitimer(ITIMER_REAL, &t, NULL);
}

void patience_begin(int64_t ms)
{
	listen_once();
	patience_over = 0;
	set_timer(ms, AGAIN_MS);
}

void patience_end(void)
{
	int error = errno;

	set_timer(0, 0);
	errno = error;
}
