#include <string.h>

#include "opening.h"
#include "tap.h"

#define BAR "Detecting changes...   0% -:--:--   "

static const struct sample {
	const char *name, *p;
	size_t n;
	enum opening want;
	const char *advice;	/* a word of it */
	size_t at;		/* so many bytes are enough; 0: the end of the input is needed */
} samples[] = {
#define S(s) s, sizeof(s) - 1
	{ "nothing", S(""), OPENING_IDLE, NULL, 0 },
	{ "blank lines", S("\n \t\r\n  "), OPENING_IDLE, NULL, 0 },
	{ "a message", S(BAR "\n"), OPENING_IDLE, NULL, 0 },
	{ "a cut message", S("\n" BAR), OPENING_IDLE, NULL, 0 },
	{ "a path", S("src/a.c\n"), OPENING_LINE, NULL, 8 },
	{ "a path without its end", S("src/a.c"), OPENING_LINE, NULL, 0 },
	{ "a path after a message", S(BAR "\na\n"), OPENING_LINE, NULL, sizeof(BAR) + 2 },
	{ "a record", S("{\"path\":\"a\"}\n"), OPENING_LINE, NULL, 13 },
	{ "a record cut after a comma", S("{\"path\":\"a\","), OPENING_LINE, NULL, 0 },
	{ "a record that goes on", S("{\"path\":\"a\",\n"), OPENING_FOREIGN, "jq -c .", 13 },
	{ "a brace", S(" { \r\n"), OPENING_FOREIGN, "jq -c .", 5 },
	{ "NUL at the end of a record's line", S("{\"a\":1\0\n"), OPENING_LINE, NULL, 8 },
	{ "an array", S("[ {"), OPENING_FOREIGN, "jq -c '.[]'", 3 },
	{ "an empty array", S("[ ]\n"), OPENING_FOREIGN, "jq -c '.[]'", 3 },
	{ "an array on many lines", S("[\n["), OPENING_FOREIGN, "jq -c '.[]'", 3 },
	{ "a bracket as a path", S("[\na\n"), OPENING_LINE, NULL, 3 },
	{ "a bracket alone", S("[\n"), OPENING_LINE, NULL, 0 },
	{ "brackets in a path", S("[[x]]\n"), OPENING_LINE, NULL, 6 },
	{ "gzip", S("\x1f\x8b\x08"), OPENING_FOREIGN, "zcat", 2 },
	{ "zstd", S("\x28\xb5\x2f\xfd"), OPENING_FOREIGN, "zstd -dc", 4 },
	{ "bzip2", S("BZh91AY&SY"), OPENING_FOREIGN, "bzcat", 10 },
	{ "a path like bzip2's", S("BZh91AY\n"), OPENING_LINE, NULL, 8 },
	{ "xz", S("\xfd" "7zXZ\0"), OPENING_FOREIGN, "xzcat", 6 },
	{ "lz4", S("\x04\x22\x4d\x18"), OPENING_FOREIGN, "lz4", 4 },
	{ "zip", S("PK\x03\x04"), OPENING_FOREIGN, "unzip", 4 },
	{ "UTF-16", S("\xff\xfe{\0"), OPENING_FOREIGN, "-f UTF-16 ", 3 },
	{ "UTF-16 with the other mark", S("\xfe\xff\0{"), OPENING_FOREIGN, "-f UTF-16 ", 2 },
	{ "UTF-32", S("\xff\xfe\0\0{\0\0\0"), OPENING_FOREIGN, "UTF-32", 4 },
	{ "UTF-16 without a mark", S("{\0\"\0"), OPENING_FOREIGN, "UTF-16LE", 4 },
	{ "the other without a mark", S("\0{\0\""), OPENING_FOREIGN, "UTF-16BE", 4 },
	{ "names that end with NUL", S("a.c\0b.c\0"), OPENING_FOREIGN, "-z", 0 },
	{ "NUL in the first line", S("a.c\0b\nc"), OPENING_FOREIGN, "-z", 6 },
	{ "a binary", S("a\0\0\x01"), OPENING_FOREIGN, "binary", 0 },
#undef S
};

static enum opening judge(const struct sample *s, size_t n, bool ended, const char **advice)
{
	struct change_options o = { .format = FORMAT_AUTO };

	*advice = NULL;
	return opening_judge(s->p, n, ended, &o, advice);
}

/* However the bytes come: nothing is decided too early, and what is decided is right. */
static void test_samples(void)
{
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		const struct sample *s = &samples[i];
		const char *advice;
		enum opening got = OPENING_MORE;
		size_t n = 0;

		while (n <= s->n && (got = judge(s, n, false, &advice)) == OPENING_MORE)
			n++;
		if (s->at == 0)
			ok(got == OPENING_MORE, "%s: more is waited for", s->name);
		else
			ok(got == s->want && n == s->at, "%s: known after %zu bytes", s->name, n);
		got = judge(s, s->n, true, &advice);
		ok(got == s->want, "%s: at the end of the input", s->name);
		ok((advice != NULL) == (s->advice != NULL) && (!advice || strstr(advice, s->advice)),
		   "%s: the command: %s", s->name, advice ? advice : "none");
	}
}

/* No more than this is ever waited for. */
static void test_limits(void)
{
	static char data[OPENING_MAX];
	struct sample s = { .p = data };
	const char *advice;

	memset(data, 'x', sizeof(data));
	ok(judge(&s, 4096, false, &advice) == OPENING_MORE, "a message could be as long");
	ok(judge(&s, 4097, false, &advice) == OPENING_LINE, "no message is longer");
	for (size_t i = 0; i + sizeof(BAR) <= sizeof(data); i += sizeof(BAR))
		memcpy(data + i, BAR "\n", sizeof(BAR));
	memset(data + sizeof(data) / sizeof(BAR) * sizeof(BAR), '\n', sizeof(data) % sizeof(BAR));
	ok(judge(&s, OPENING_MAX - 1, false, &advice) == OPENING_MORE, "messages");
	ok(judge(&s, OPENING_MAX - 1, true, &advice) == OPENING_IDLE, "and nothing else");
	ok(judge(&s, OPENING_MAX, false, &advice) == OPENING_LINE, "so many messages are lines");
}

static void test_forms(void)
{
	struct change_options o = { .format = FORMAT_PATHS };
	const char *advice = NULL;

	ok(opening_judge("{\n", 2, true, &o, &advice) == OPENING_LINE, "a brace is a path where paths are fixed");
	ok(opening_judge("[{\n", 3, true, &o, &advice) == OPENING_LINE, "and so is an array");
	o.nul_terminated = true;
	ok(opening_judge("a\0b\0", 4, true, &o, &advice) == OPENING_LINE, "NUL is an end with -z");
	ok(opening_judge("\0\0", 2, true, &o, &advice) == OPENING_IDLE, "empty records are none");
	ok(opening_judge("\0\x1f\x8b", 3, true, &o, &advice) == OPENING_FOREIGN, "gzip is gzip");
	o = (struct change_options){ .format = FORMAT_JSON };
	ok(opening_judge("[1", 2, true, &o, &advice) == OPENING_FOREIGN, "where JSON is fixed, a bracket is an array");
}

int main(void)
{
	test_samples();
	test_limits();
	test_forms();
	return tap_done();
}
