#include <stdlib.h>
#include <string.h>

#include "exclude.h"
#include "tap.h"

static bool left_out(const char *patterns, const char *path)
{
	char copy[200], *list[10], *word;
	struct excludes *e, *again;
	char *text;
	size_t n = 0, last;
	bool folder, out;

	snprintf(copy, sizeof(copy), "%s", patterns);
	for (word = strtok_r(copy, " ", &text); word; word = strtok_r(NULL, " ", &text))
		list[n++] = word;
	list[n] = NULL;
	e = excludes_new((const char *const *)list);
	text = excludes_text(e);
	again = excludes_of_text(text);
	last = strlen(path) - 1;
	folder = path[last] == '/';
	word = strdup(path);
	word[last + !folder] = '\0';
	out = excludes_match(e, word, folder);
	if (excludes_match(again, word, folder) != out)
		abort();
	free(word);
	free(text);
	excludes_free(again);
	excludes_free(e);
	return out;
}

static void test_match(void)
{
	static const struct {
		const char *patterns, *path;
		bool out;
	} cases[] = {
		{ "node_modules", "node_modules/a/b.js", true },
		{ "node_modules", "x/node_modules/a", true },
		{ "node_modules", "node_modules", true },
		{ "node_modules", "my_node_modules/a", false },
		{ "node_modules/", "x/node_modules/a", true },
		{ "node_modules/", "x/node_modules", false },
		{ "node_modules/", "x/node_modules/", true },
		{ "*.log", "a.log", true },
		{ "*.log", "x/y/a.log", true },
		{ "*.log", "logs.log/a", true },
		{ "*.log", "a.log.txt", false },
		{ "/x/**", "x/a/b", true },
		{ "/x/**", "y/x/a", false },
		{ "/x", "x/a", true },
		{ "/x", "y/x", false },
		{ "./x/**", "x/a", true },
		{ "./x", "y/x", false },
		{ "a/b", "a/b/c", true },
		{ "a/b", "x/a/b", false },
		{ "a/b/", "a/b", false },
		{ "**/a/b", "x/a/b", true },
		{ "a/**/b", "a/x/y/b/c", true },
		{ "a/*", "a/b/c", true },
		{ "src/*.c", "src/x/a.c", false },
		{ "*.log !keep.log", "keep.log", false },
		{ "!keep.log *.log", "keep.log", true },
		{ "logs !logs/keep", "logs/keep", true },
		{ "logs/* !logs/keep", "logs/keep", false },
		{ "logs/* !logs/keep", "logs/keep/x", false },
		{ "logs/* !logs/keep", "logs/other/x", true },
		{ "!", "a", false },
		{ "\\!a", "!a", true },
		{ "#a#", "#a#", true },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ok(left_out(cases[i].patterns, cases[i].path) == cases[i].out, "'%s' %s '%s'", cases[i].patterns,
		   cases[i].out ? "leaves out" : "does not leave out", cases[i].path);
}

int main(void)
{
	struct excludes *none = excludes_new(NULL);
	char *text = excludes_text(none);

	test_match();
	ok(text[0] == '\0' && !excludes_match(none, "a", false), "no pattern");
	ok(exclude_fault("") && exclude_fault("/") && exclude_fault("!") && exclude_fault("./") && !exclude_fault("*") &&
	   !exclude_fault("!x") && !exclude_fault("x/"), "what names nothing");
	free(text);
	excludes_free(none);
	none = excludes_of_text("[1,\"a\"");
	ok(!excludes_match(none, "a", false), "a broken text is none");
	excludes_free(none);
	return tap_done();
}
