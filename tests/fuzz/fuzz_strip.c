/* However an answer is cut into pieces, the same is left of it, and never more than came; what is JSON
 * stays JSON. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "strip.h"

static const char *const names[] = { "vector", "properties", NULL };

/* In pieces of so many bytes, each in memory of its own. */
static void feed(struct buf *out, const uint8_t *data, size_t n, size_t piece)
{
	struct strip *s = strip_new(names);

	for (size_t at = 0, k; at < n; at += k) {
		char *exact;

		k = n - at < piece ? n - at : piece;
		exact = malloc(k);
		if (exact == NULL)
			abort();
		memcpy(exact, data + at, k);
		strip_feed(s, exact, k, out);
		free(exact);
	}
	strip_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const size_t pieces[] = { 1, 3, 8, 13, 61 };
	auto_buf struct buf whole = BUF_INIT, cut = BUF_INIT;
	struct json_fault fault;

	if (n == 0)
		return 0;
	feed(&whole, data, n, n);
	if (whole.len > n)
		abort();
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		buf_reset(&cut);
		feed(&cut, data, n, pieces[i]);
		if (cut.len != whole.len || (cut.len > 0 && memcmp(cut.data, whole.data, cut.len) != 0))
			abort();
	}
	if (json_check((const char *)data, n, NULL, &fault) == 0 &&
	    json_check(whole.data, whole.len, NULL, &fault) < 0)
		abort();
	return 0;
}
