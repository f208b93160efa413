/* decimal.c and json_floats() against the C library: any float there and back, any text of a number. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "decimal.h"
#include "json.h"
#include "json_span.h"

static void check_float(const uint8_t *data)
{
	char text[DECIMAL_MAX + 1];
	struct json_fault fault;
	float v, back;
	size_t n;

	memcpy(&v, data, sizeof(v));
	if (!isfinite(v))
		return;
	n = decimal_write(text, v);
	if (n > DECIMAL_MAX || json_check(text, n, NULL, &fault) < 0)
		abort();
	text[n] = '\0';
	back = strtof(text, NULL);
	if (memcmp(&back, &v, sizeof(v)) != 0)
		abort();
	if (*decimal_read(text, text + n + 1, &back) != '\0' || memcmp(&back, &v, sizeof(v)) != 0)
		abort();
}

/* The bytes as characters that numbers have. */
static void spell(char *text, const uint8_t *data, size_t n)
{
	static const char letters[] = "0123456789012345678900000-..e+E,";

	for (size_t i = 0; i < n; i++)
		text[i] = letters[data[i] % 32];
	text[n] = '\0';
}

/* An array as the library reads it: how many numbers, or 0 if any is too large or all are zero. */
static size_t library_floats(const char *p, float *out)
{
	bool any = false;
	char *end;
	size_t n = 0;

	do {
		out[n] = strtof(p + 1, &end);
		if (!isfinite(out[n]))
			return 0;
		any |= out[n++] != 0;
		p = end;
	} while (*p == ',');
	return any ? n : 0;
}

static void check_array(const char *text, size_t len)
{
	struct span array = { text, len };
	struct json_floats_fault f;
	struct json_fault fault;
	float *want, *got;
	size_t n = 0, count;

	if (json_check(text, len, NULL, &fault) < 0)
		return;
	want = malloc((len + 1) * sizeof(*want));
	if (want == NULL)
		return;
	count = len > 2 ? library_floats(text, want) : 0;
	got = json_floats(&array, len, &n, &f);
	if ((got != NULL) != (count > 0) || (got != NULL && (n != count || memcmp(got, want, n * sizeof(*got)) != 0)))
		abort();
	free(got);
	free(want);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char *text = malloc(n + 3);

	if (text == NULL)
		return 0;
	for (size_t i = 0; i + sizeof(float) <= n; i += sizeof(float))
		check_float(data + i);
	text[0] = '[';
	spell(text + 1, data, n);
	text[n + 1] = ']';
	text[n + 2] = '\0';
	check_array(text, n + 2);
	free(text);
	return 0;
}
