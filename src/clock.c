#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"

#define YEAR_0 INT64_C(-62167219200)		/* 0000-01-01T00:00:00Z */
#define YEAR_9999_END INT64_C(253402300799)	/* 9999-12-31T23:59:59Z */

static int64_t test_ms = -1;
static uint64_t test_seed;

int64_t clock_ms(void)
{
	struct timespec ts;

	if (test_ms >= 0)
		return test_ms;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t clock_unix_s(void)
{
	return (int64_t)time(NULL);
}

static int64_t in_ns(const struct timespec *ts)
{
	return (int64_t)ts->tv_sec * 1000000000 + ts->tv_nsec;
}

/* File systems stamp with the coarse clock, which lags behind by up to a tick; since Linux 6.13 with a
 * finer one where somebody has looked, and then never before such a stamp again.  So what a file made
 * now would bear is seen from a file made now. */
int64_t clock_file_ns(void)
{
	struct timespec ts;
	int64_t now;

#ifdef CLOCK_REALTIME_COARSE
	clock_gettime(CLOCK_REALTIME_COARSE, &ts);
#else
	clock_gettime(CLOCK_REALTIME, &ts);
#endif
	now = in_ns(&ts);
#ifdef MFD_CLOEXEC
	autofd int fd = memfd_create("linesync", MFD_CLOEXEC);
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0 && in_ns(&st.st_ctim) > now)
		now = in_ns(&st.st_ctim);
#endif
	return now;
}

void clock_test_set_ms(int64_t ms)
{
	test_ms = ms;
}

static char *put_number(char *p, int v, int digits, char after)
{
	int i;

	for (i = digits - 1; i >= 0; i--) {
		p[i] = (char)('0' + v % 10);
		v /= 10;
	}
	p[digits] = after;
	return p + digits + 1;
}

void clock_format(int64_t unix_s, char out[21])
{
	struct tm tm;
	time_t t;
	char *p = out;

	if (unix_s < YEAR_0)
		unix_s = YEAR_0;
	if (unix_s > YEAR_9999_END)
		unix_s = YEAR_9999_END;
	t = (time_t)unix_s;
	gmtime_r(&t, &tm);
	p = put_number(p, tm.tm_year + 1900, 4, '-');
	p = put_number(p, tm.tm_mon + 1, 2, '-');
	p = put_number(p, tm.tm_mday, 2, 'T');
	p = put_number(p, tm.tm_hour, 2, ':');
	p = put_number(p, tm.tm_min, 2, ':');
	p = put_number(p, tm.tm_sec, 2, 'Z');
	*p = '\0';
}

/* splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t splitmix(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

uint64_t clock_random(void)
{
	uint64_t r, mix;
	struct timespec ts;
	ssize_t n;

	if (test_seed != 0)
		return splitmix(&test_seed);
	do {
		n = getrandom(&r, sizeof(r), 0);
	} while (n < 0 && errno == EINTR);
	if (n == (ssize_t)sizeof(r))
		return r;
	/* A kernel or sandbox without it: good enough to tell runs apart, and no secret is made here. */
	clock_gettime(CLOCK_REALTIME, &ts);
	mix = (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
	mix ^= (uint64_t)getpid() << 40;
	return splitmix(&mix);
}

void clock_test_seed(uint64_t seed)
{
	test_seed = seed;
}
