#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "retry.h"

int64_t retry_wait_ms(unsigned failures, int64_t base_ms, int64_t max_ms, uint64_t random)
{
	int64_t top = base_ms;

	for (unsigned i = 1; i < failures && top < max_ms; i++)
		top = top > max_ms / 2 ? max_ms : top * 2;
	if (top > max_ms)
		top = max_ms;
	return top <= 0 ? 0 : (int64_t)(random % ((uint64_t)top + 1));
}
