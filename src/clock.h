/* clock: the only source of time.  Waiting uses the monotonic clock; the wall clock is only ever
 * shown to people and stored for them, and orders nothing. */
#ifndef LINESYNC_CLOCK_H
#define LINESYNC_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#define CLOCK_NEVER INT64_MAX

int64_t clock_ms(void);				/* monotonic milliseconds */
int64_t clock_unix_s(void);			/* wall clock, seconds since 1970 */
int64_t clock_file_ns(void);			/* what the ctime of a file changed now would be */

/* Tests turn the hands: after this, clock_ms() answers what set_ms was given, until -1. */
void clock_test_set_ms(int64_t ms);

/* RFC 3339 in UTC, "2026-11-21T10:20:30Z", into out[21].  Years beyond 9999 are cut to 9999. */
void clock_format(int64_t unix_s, char out[21]);

/* Full-range random numbers for jitter and ids (getrandom); a test may fix the seed (0: real). */
uint64_t clock_random(void);
void clock_test_seed(uint64_t seed);

#endif
