/* chunk.c by its rules.  The first three bytes choose the chunking, the rest is the text. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "chunk.h"
#include "../unit/chunk_rules.h"
#include "cleanup.h"

static void check_name(const uint8_t *data, size_t n)
{
	autofree char *given = calloc(1, n + 1), *name = NULL;
	struct chunking c, again;

	if (given == NULL)
		return;
	if (n > 0)
		memcpy(given, data, n);
	if (chunking_parse(&c, given) != 0)
		return;
	name = chunking_name(&c);
	if (chunking_fault(&c) != NULL || chunking_parse(&again, name) != 0 ||
	    c.lines != again.lines || c.overlap != again.overlap || c.bytes != again.bytes)
		abort();
}

/* Bytes that are no text: only that it goes on, to the end, and reads no further. */
static void check_bounds(const struct chunk_rules *r)
{
	struct chunk_walk w;
	struct chunk c;
	size_t end = 0;

	chunk_begin(&w, r->text, r->len, &r->how);
	while (chunk_next(&w, &c)) {
		if (c.start > end || c.start + c.len <= end || c.start + c.len > r->len)
			abort();
		end = c.start + c.len;
	}
	if (end != r->len)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct chunk_rules r;
	uint32_t chunk;

	check_name(data, n);
	if (n < 4)
		return 0;
	r = (struct chunk_rules){ (const char *)data + 3, n - 3, { 0 } };
	r.how.lines = data[0] % 32;
	r.how.overlap = r.how.lines != 0 ? data[1] % r.how.lines : data[1];
	r.how.bytes = data[2] < 64 ? 0 : data[2];
	if (utf8_check(r.text, r.len) != r.len)
		check_bounds(&r);
	else if (chunk_rules_broken(&r, &chunk) != NULL)
		abort();
	return 0;
}
