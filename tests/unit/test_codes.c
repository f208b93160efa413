#include <string.h>

#include "codes.h"
#include "tap.h"

static void test_names(void)
{
	int i;

	ok(status_name(STATUS_NONE) == NULL, "no status has no name");
	ok(strcmp(status_name(STATUS_COMPLETED), "completed") == 0, "completed");
	ok(strcmp(status_name(STATUS_HELD), "held") == 0, "held");
	ok(status_name((enum status)7) == NULL, "status from a damaged value");
	ok(reason_name(REASON_NONE) == NULL, "no reason has no name");
	for (i = REASON_NONE + 1; i < REASON_COUNT; i++)
		ok(reason_name((enum reason)i) != NULL, "reason %d has a name", i);
	ok(strcmp(reason_name(REASON_ACCEPTED), "accepted") == 0, "accepted");
	ok(reason_name(REASON_COUNT) == NULL, "reason out of range");
}

static void test_errors(void)
{
	int i;

	ok(error_name(ERR_NONE) == NULL, "no error has no name");
	ok(error_name(ERR_COUNT) == NULL, "error out of range");
	for (i = ERR_NONE + 1; i < ERR_COUNT; i++)
		ok(error_name((enum error_code)i) != NULL &&
		   error_by_name(error_name((enum error_code)i)) == (enum error_code)i,
		   "error %d to its name and back", i);
	ok(error_by_name("no such word") == ERR_BAD_JSON, "unknown name");
	ok(error_by_name(NULL) == ERR_BAD_JSON, "no name");
}

static void test_retryable(void)
{
	static const enum error_code again[] = {
		ERR_CONTENT, ERR_NO_SUCH_FILE,
		ERR_UNREADABLE, ERR_STORE_REJECTED, ERR_STORE_FAILED, ERR_EMBED_REJECTED, ERR_EMBED_FAILED,
	};
	const size_t n = sizeof(again) / sizeof(again[0]);
	size_t i, count = 0;

	for (i = 0; i < n; i++)
		ok(error_retryable(again[i]), "%s is retryable", error_name(again[i]));
	for (i = 0; i < ERR_COUNT; i++)
		count += error_retryable((enum error_code)i);
	ok(count == n, "nothing else is");
	ok(!error_retryable(ERR_COUNT), "out of range is not");
}

int main(void)
{
	test_names();
	test_errors();
	test_retryable();
	return tap_done();
}
