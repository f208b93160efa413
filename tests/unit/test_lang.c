#include <string.h>

#include "lang.h"
#include "tap.h"

static bool same(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

int main(void)
{
	static const struct {
		const char *path, *name, *mime;
	} cases[] = {
		{ "src/a.py", "Python", "text/x-python" },
		{ "a.PY", "Python", "text/x-python" },
		{ "lib/buf.c", "C", "text/x-csrc" },
		{ "lib/buf.h", "C", "text/x-chdr" },
		{ "x.ada", "Ada", "text/x-ada" },
		{ "x.zsh", "Shell", "text/x-shellscript" },
		{ "x.json", "JSON", "application/json" },
		{ "x.md", "Markdown", "text/markdown" },
		{ "x.yml", "YAML", "application/yaml" },
		{ "x.tar.ts", "TypeScript", "text/x-typescript" },
		{ "notes.txt", NULL, "text/plain" },
		{ "Makefile", "Makefile", "text/x-makefile" },
		{ "a/b/Makefile.am", "Makefile", "text/x-makefile" },
		{ "deploy/Dockerfile", "Dockerfile", "text/x-dockerfile" },
		{ "CMakeLists.txt", "CMake", "text/x-cmake" },
		{ ".bash_profile", "Shell", "text/x-shellscript" },
		{ "meson.build", "Meson", "text/x-meson" },
		{ "DOCKERFILE", NULL, NULL },
		{ "a.py/b", NULL, NULL },
		{ ".py", NULL, NULL },
		{ "x.", NULL, NULL },
		{ "", NULL, NULL },
		{ "dir/", NULL, NULL },
		{ "x.an-extension-nobody-has-seen", NULL, NULL },
		{ "x.fifteen-letters", NULL, NULL },
	};
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ok(same(lang_name(cases[i].path), cases[i].name), "language of '%s'",
		   cases[i].path);
		ok(same(lang_mime(cases[i].path), cases[i].mime), "media type of '%s'",
		   cases[i].path);
	}
	return tap_done();
}
