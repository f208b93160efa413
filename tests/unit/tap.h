/* tap: just enough of the Test Anything Protocol for one program per module.
 *
 *	ok(strcmp(got, want) == 0, "name of %s", want);
 *	return tap_done();
 */
#ifndef LINESYNC_TAP_H
#define LINESYNC_TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

static int tap_count, tap_failed;

/* One result.  The description is printf-like and must not contain a newline. */
static inline __attribute__((format(printf, 2, 3))) void tap_ok(bool good, const char *fmt, ...)
{
	va_list ap;

	printf("%sok %d - ", good ? "" : "not ", ++tap_count);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
	if (!good)
		tap_failed++;
}

/* Prints the plan; returns what main() should return: nonzero when anything failed. */
static inline int tap_done(void)
{
	printf("1..%d\n", tap_count);
	return tap_failed > 0 || fflush(stdout) != 0;
}

/* As tap_ok(), and says on standard output where it failed. */
#define ok(cond, ...)                                                              \
	do {                                                                       \
		bool tap_good_ = (cond);                                           \
		tap_ok(tap_good_, __VA_ARGS__);                                    \
		if (!tap_good_)                                                    \
			printf("# %s:%d: %s\n", __FILE__, __LINE__, #cond);        \
	} while (0)

#endif
