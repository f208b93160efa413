#include "../../src/retry.h"
#include "tap.h"

/* The longest wait after so many failures in a row. */
static int64_t longest(unsigned failures, int64_t base, int64_t max)
{
	int64_t most = 0;

	for (uint64_t r = 0; r < 130000; r++) {
		int64_t w = retry_wait_ms(failures, base, max, r);

		if (w < 0)
			return -1;
		if (w > most)
			most = w;
	}
	return most;
}

static void test_doubles(void)
{
	ok(longest(1, 1000, 60000) == 1000, "at most the base after the first failure");
	ok(longest(2, 1000, 60000) == 2000 && longest(3, 1000, 60000) == 4000, "doubled with each");
	ok(longest(6, 1000, 60000) == 32000 && longest(7, 1000, 60000) == 60000, "up to the limit");
	ok(longest(4000000000u, 1000, 60000) == 60000, "and not beyond, after however many");
	ok(longest(0, 1000, 60000) == 1000, "no failure counts as one");
	ok(longest(3, 0, 60000) == 0, "a base of 0 never waits");
	ok(longest(3, 1000, 0) == 0 && longest(1, 1000, 300) == 300, "a limit below the base");
}

static void test_spread(void)
{
	int64_t sum = 0, w;
	int low = 0;

	for (uint64_t i = 1; i <= 10000; i++) {
		w = retry_wait_ms(4, 1000, 60000, i * 0x9e3779b97f4a7c15u);
		sum += w;
		low += w < 800;
	}
	ok(sum / 10000 > 3900 && sum / 10000 < 4100, "half the longest on average: %d", (int)(sum / 10000));
	ok(low > 900 && low < 1100, "spread evenly, down to nothing: %d of 10,000 in the first tenth", low);
}

static void test_extremes(void)
{
	int64_t w = retry_wait_ms(64, INT64_MAX / 2, INT64_MAX - 1, UINT64_MAX);

	ok(w >= 0, "no overflow near the end of the range");
	ok(retry_wait_ms(2, 1, INT64_MAX - 1, UINT64_MAX) >= 0, "nor with a great limit");
	ok(retry_wait_ms(200, 1, INT64_MAX - 1, UINT64_MAX - 1) >= 0, "after many failures");
}

int main(void)
{
	test_doubles();
	test_spread();
	test_extremes();
	return tap_done();
}
