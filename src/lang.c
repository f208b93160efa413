#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "lang.h"

struct language {
	const char *key;	/* extension in lower case, or whole name */
	const char *name;	/* NULL: no language, only a media type */
	const char *mime;
};

/* Both tables are searched by halves: keep them in order of bytes. */
static const struct language extensions[] = {
	{ "ada", "Ada", "text/x-ada" },
	{ "adb", "Ada", "text/x-ada" },
	{ "adoc", "AsciiDoc", "text/asciidoc" },
	{ "ads", "Ada", "text/x-ada" },
	{ "asciidoc", "AsciiDoc", "text/asciidoc" },
	{ "asm", "Assembly", "text/x-asm" },
	{ "awk", "Awk", "text/x-awk" },
	{ "bash", "Shell", "text/x-shellscript" },
	{ "bat", "Batch", "text/x-bat" },
	{ "bib", "BibTeX", "text/x-bibtex" },
	{ "bzl", "Starlark", "text/x-python" },
	{ "c", "C", "text/x-csrc" },
	{ "cc", "C++", "text/x-c++src" },
	{ "cfg", "INI", "text/plain" },
	{ "cjs", "JavaScript", "text/javascript" },
	{ "clj", "Clojure", "text/x-clojure" },
	{ "cljc", "Clojure", "text/x-clojure" },
	{ "cljs", "Clojure", "text/x-clojure" },
	{ "cmake", "CMake", "text/x-cmake" },
	{ "cmd", "Batch", "text/x-bat" },
	{ "coffee", "CoffeeScript", "text/x-coffeescript" },
	{ "conf", NULL, "text/plain" },
	{ "cpp", "C++", "text/x-c++src" },
	{ "cs", "C#", "text/x-csharp" },
	{ "css", "CSS", "text/css" },
	{ "csv", "CSV", "text/csv" },
	{ "cu", "CUDA", "text/x-c++src" },
	{ "cxx", "C++", "text/x-c++src" },
	{ "d", "D", "text/x-dsrc" },
	{ "dart", "Dart", "text/x-dart" },
	{ "diff", "Diff", "text/x-diff" },
	{ "dts", "Devicetree", "text/plain" },
	{ "ebuild", "Shell", "text/x-shellscript" },
	{ "el", "Emacs Lisp", "text/x-emacs-lisp" },
	{ "elm", "Elm", "text/x-elm" },
	{ "erl", "Erlang", "text/x-erlang" },
	{ "ex", "Elixir", "text/x-elixir" },
	{ "exs", "Elixir", "text/x-elixir" },
	{ "f", "Fortran", "text/x-fortran" },
	{ "f90", "Fortran", "text/x-fortran" },
	{ "f95", "Fortran", "text/x-fortran" },
	{ "fish", "Shell", "text/x-shellscript" },
	{ "for", "Fortran", "text/x-fortran" },
	{ "fs", "F#", "text/x-fsharp" },
	{ "fsx", "F#", "text/x-fsharp" },
	{ "glsl", "GLSL", "text/plain" },
	{ "go", "Go", "text/x-go" },
	{ "gradle", "Groovy", "text/x-groovy" },
	{ "graphql", "GraphQL", "application/graphql" },
	{ "groovy", "Groovy", "text/x-groovy" },
	{ "h", "C", "text/x-chdr" },
	{ "hcl", "HCL", "text/plain" },
	{ "hh", "C++", "text/x-c++hdr" },
	{ "hpp", "C++", "text/x-c++hdr" },
	{ "hrl", "Erlang", "text/x-erlang" },
	{ "hs", "Haskell", "text/x-haskell" },
	{ "htm", "HTML", "text/html" },
	{ "html", "HTML", "text/html" },
	{ "hxx", "C++", "text/x-c++hdr" },
	{ "ini", "INI", "text/plain" },
	{ "ipynb", "Jupyter Notebook", "application/x-ipynb+json" },
	{ "java", "Java", "text/x-java" },
	{ "jl", "Julia", "text/x-julia" },
	{ "js", "JavaScript", "text/javascript" },
	{ "json", "JSON", "application/json" },
	{ "json5", "JSON", "application/json5" },
	{ "jsonc", "JSON", "application/json" },
	{ "jsonl", "JSON", "application/jsonl" },
	{ "jsx", "JavaScript", "text/javascript" },
	{ "kt", "Kotlin", "text/x-kotlin" },
	{ "kts", "Kotlin", "text/x-kotlin" },
	{ "less", "Less", "text/x-less" },
	{ "lhs", "Haskell", "text/x-literate-haskell" },
	{ "lisp", "Common Lisp", "text/x-common-lisp" },
	{ "log", NULL, "text/plain" },
	{ "lua", "Lua", "text/x-lua" },
	{ "m", "Objective-C", "text/x-objcsrc" },
	{ "m4", "M4", "text/x-m4" },
	{ "mak", "Makefile", "text/x-makefile" },
	{ "markdown", "Markdown", "text/markdown" },
	{ "md", "Markdown", "text/markdown" },
	{ "mdx", "Markdown", "text/markdown" },
	{ "mjs", "JavaScript", "text/javascript" },
	{ "mk", "Makefile", "text/x-makefile" },
	{ "ml", "OCaml", "text/x-ocaml" },
	{ "mli", "OCaml", "text/x-ocaml" },
	{ "mm", "Objective-C++", "text/x-objc++src" },
	{ "nim", "Nim", "text/x-nim" },
	{ "nix", "Nix", "text/x-nix" },
	{ "org", "Org", "text/org" },
	{ "pas", "Pascal", "text/x-pascal" },
	{ "patch", "Diff", "text/x-diff" },
	{ "php", "PHP", "text/x-php" },
	{ "pl", "Perl", "text/x-perl" },
	{ "pm", "Perl", "text/x-perl" },
	{ "po", "Gettext", "text/x-gettext-translation" },
	{ "pod", "Perl", "text/x-pod" },
	{ "pp", "Puppet", "text/plain" },
	{ "proto", "Protocol Buffers", "text/x-protobuf" },
	{ "ps1", "PowerShell", "text/x-powershell" },
	{ "psm1", "PowerShell", "text/x-powershell" },
	{ "py", "Python", "text/x-python" },
	{ "pyi", "Python", "text/x-python" },
	{ "pyw", "Python", "text/x-python" },
	{ "pyx", "Cython", "text/x-cython" },
	{ "r", "R", "text/x-r" },
	{ "rb", "Ruby", "text/x-ruby" },
	{ "rkt", "Racket", "text/x-racket" },
	{ "rmd", "R", "text/markdown" },
	{ "rs", "Rust", "text/rust" },
	{ "rst", "reStructuredText", "text/x-rst" },
	{ "s", "Assembly", "text/x-asm" },
	{ "sass", "Sass", "text/x-sass" },
	{ "sbt", "Scala", "text/x-scala" },
	{ "scala", "Scala", "text/x-scala" },
	{ "scm", "Scheme", "text/x-scheme" },
	{ "scss", "SCSS", "text/x-scss" },
	{ "sh", "Shell", "text/x-shellscript" },
	{ "sol", "Solidity", "text/plain" },
	{ "sql", "SQL", "application/sql" },
	{ "srt", NULL, "application/x-subrip" },
	{ "sv", "SystemVerilog", "text/x-systemverilog" },
	{ "svelte", "Svelte", "text/html" },
	{ "svg", "SVG", "image/svg+xml" },
	{ "swift", "Swift", "text/x-swift" },
	{ "tcl", "Tcl", "text/x-tcl" },
	{ "tex", "TeX", "text/x-tex" },
	{ "text", NULL, "text/plain" },
	{ "tf", "HCL", "text/plain" },
	{ "toml", "TOML", "application/toml" },
	{ "ts", "TypeScript", "text/x-typescript" },
	{ "tsv", "TSV", "text/tab-separated-values" },
	{ "tsx", "TypeScript", "text/x-typescript" },
	{ "txt", NULL, "text/plain" },
	{ "v", "Verilog", "text/x-verilog" },
	{ "vb", "Visual Basic", "text/x-vb" },
	{ "vhd", "VHDL", "text/x-vhdl" },
	{ "vhdl", "VHDL", "text/x-vhdl" },
	{ "vim", "Vim Script", "text/x-vim" },
	{ "vue", "Vue", "text/html" },
	{ "xhtml", "HTML", "application/xhtml+xml" },
	{ "xml", "XML", "application/xml" },
	{ "xsd", "XML", "application/xml" },
	{ "xsl", "XSLT", "application/xslt+xml" },
	{ "xslt", "XSLT", "application/xslt+xml" },
	{ "yaml", "YAML", "application/yaml" },
	{ "yml", "YAML", "application/yaml" },
	{ "zig", "Zig", "text/x-zig" },
	{ "zsh", "Shell", "text/x-shellscript" },
};

static const struct language names[] = {
	{ ".bash_profile", "Shell", "text/x-shellscript" },
	{ ".bashrc", "Shell", "text/x-shellscript" },
	{ ".gitattributes", NULL, "text/plain" },
	{ ".gitignore", NULL, "text/plain" },
	{ ".profile", "Shell", "text/x-shellscript" },
	{ ".vimrc", "Vim Script", "text/x-vim" },
	{ ".zshrc", "Shell", "text/x-shellscript" },
	{ "BUILD", "Starlark", "text/x-python" },
	{ "CMakeLists.txt", "CMake", "text/x-cmake" },
	{ "COPYING", NULL, "text/plain" },
	{ "Containerfile", "Dockerfile", "text/x-dockerfile" },
	{ "Dockerfile", "Dockerfile", "text/x-dockerfile" },
	{ "GNUmakefile", "Makefile", "text/x-makefile" },
	{ "Gemfile", "Ruby", "text/x-ruby" },
	{ "Jenkinsfile", "Groovy", "text/x-groovy" },
	{ "LICENSE", NULL, "text/plain" },
	{ "Makefile", "Makefile", "text/x-makefile" },
	{ "Makefile.am", "Makefile", "text/x-makefile" },
	{ "Makefile.in", "Makefile", "text/x-makefile" },
	{ "NEWS", NULL, "text/plain" },
	{ "PKGBUILD", "Shell", "text/x-shellscript" },
	{ "README", NULL, "text/plain" },
	{ "Rakefile", "Ruby", "text/x-ruby" },
	{ "Vagrantfile", "Ruby", "text/x-ruby" },
	{ "WORKSPACE", "Starlark", "text/x-python" },
	{ "configure.ac", "M4", "text/x-m4" },
	{ "go.mod", "Go Module", "text/plain" },
	{ "makefile", "Makefile", "text/x-makefile" },
	{ "meson.build", "Meson", "text/x-meson" },
};

static int compare(const void *key, const void *entry)
{
	return strcmp(key, ((const struct language *)entry)->key);
}

static const struct language *look_up(const char *path)
{
	const char *name = strrchr(path, '/'), *dot;
	const struct language *found;
	char lower[16];
	size_t i;

	name = name != NULL ? name + 1 : path;
	found = bsearch(name, names, sizeof(names) / sizeof(names[0]), sizeof(names[0]), compare);
	if (found != NULL)
		return found;
	dot = strrchr(name, '.');
	if (dot == NULL || dot == name || strlen(dot + 1) >= sizeof(lower))
		return NULL;
	for (i = 0; dot[i] != '\0'; i++) {
		lower[i] = dot[i + 1];
		if (lower[i] >= 'A' && lower[i] <= 'Z')
			lower[i] = (char)(lower[i] - 'A' + 'a');
	}
	return bsearch(lower, extensions, sizeof(extensions) / sizeof(extensions[0]),
		       sizeof(extensions[0]), compare);
}

const char *lang_name(const char *path)
{
	const struct language *found = look_up(path);

	return found != NULL ? found->name : NULL;
}

const char *lang_mime(const char *path)
{
	const struct language *found = look_up(path);

	return found != NULL ? found->mime : NULL;
}
