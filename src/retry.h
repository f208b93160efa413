/* retry: how long to wait before the next attempt.  Pure. */
#ifndef LINESYNC_RETRY_H
#define LINESYNC_RETRY_H

#include <stdint.h>

/* Full jitter: a random time up to base_ms doubled with each failure in a row (1, 2, 3 ...), at most
 * max_ms; so that many clients of one store do not come back in step.  random: any 64 bits. */
int64_t retry_wait_ms(unsigned failures, int64_t base_ms, int64_t max_ms, uint64_t random);

#endif
