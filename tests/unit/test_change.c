#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "change.h"
#include "tap.h"

static struct change_options options = { FORMAT_AUTO, false, NULL, NULL, false };
static struct change c;
static bool needs_file;

/* Parses from an allocation of exactly n bytes, so that a sanitizer sees what is read beyond. */
static void parse_n(const char *line, size_t n, bool cut)
{
	char *copy = malloc(n ? n : 1);

	memcpy(copy, line, n);
	change_release(&c);
	change_parse(&c, copy, n, cut, &needs_file, &options);
	free(copy);
}

static void parse(const char *line)
{
	parse_n(line, strlen(line), false);
}

static bool is(const char *got, const char *want)
{
	if (got && want && strcmp(got, want) == 0)
		return true;
	if (got == want)
		return true;
	printf("# got %s, want %s\n", got ? got : "NULL", want ? want : "NULL");
	return false;
}

static bool is_document(enum change_op op, const char *path)
{
	if (c.kind == CHANGE_BAD)
		printf("# %s: %s\n", error_name(c.error), c.message);
	return c.kind == CHANGE_DOCUMENT && c.op == op && is(c.path, path);
}

static bool is_bad(enum error_code error, const char *word)
{
	if (c.kind != CHANGE_BAD || c.error != error || !strstr(c.message, word)) {
		printf("# kind %d, %s: %s\n", c.kind,
		       c.kind == CHANGE_BAD ? error_name(c.error) : "", c.message ? c.message : "");
		return false;
	}
	return true;
}

static bool is_skip(enum reason reason)
{
	return c.kind == CHANGE_SKIP && c.reason == reason;
}

static void test_record(void)
{
	parse("{\"repo\":\"A\",\"op\":\"modify\",\"path\":\"src/a.py\",\"content\":\"x\\u0000y\\n\","
	      "\"size\":13,\"mime\":\"text/plain\",\"charset\":\"utf-8\",\"is_truncated\":true,"
	      "\"line_count\":4,\"uncommitted\":true,\"unknown\":[1,{}]}");
	ok(is_document(OP_MODIFY, "src/a.py") && c.is_json && !c.is_plain_path, "a record");
	ok(is(c.repo, "A") && c.repo_known, "its repository");
	ok(c.source == CONTENT_TEXT && c.text_len == 4 && memcmp(c.text, "x\0y\n", 5) == 0, "its text");
	ok(c.has_size && c.size == 13 && c.has_line_count && c.line_count == 4, "its numbers");
	ok(is(c.mime, "text/plain") && is(c.charset, "utf-8") && c.is_truncated && c.uncommitted,
	   "its properties");
	ok(change_carries_all(&c), "it carries all");
	parse(" \t{\"path\":\"a\",\"size_bytes\":0,\"mime_type\":\"m\",\"op\":\"update\"} \t");
	ok(is_document(OP_MODIFY, "a") && c.has_size && c.size == 0 && is(c.mime, "m"),
	   "the other names, blanks around");
	ok(c.source == CONTENT_FILE && !c.content_null && !change_carries_all(&c), "no content: the file");
	parse("{\"path\":\"a\",\"content\":null,\"repo\":null,\"op\":null,\"size\":null,\"mime\":null,"
	      "\"content_hash\":\"\",\"vector\":null,\"metadata\":null,\"skip_index\":null,"
	      "\"content_error\":\"\",\"new_changeset\":null,\"line_count\":null,\"charset\":\"\"}");
	ok(is_document(OP_MODIFY, "a") && c.content_null && c.source == CONTENT_FILE &&
	   !c.has_size && !c.mime && !c.charset && !c.content_hash && !c.content_error, "null and \"\" are absent");
	parse("{\"path\":\"a\",\"content\":\"\"}");
	ok(is_document(OP_MODIFY, "a") && c.source == CONTENT_TEXT && c.text_len == 0 && c.text,
	   "an empty document");
	parse("{\"path\":\"a\",\"content_base64\":\"AP8=\"}");
	ok(c.source == CONTENT_BYTES && c.text_len == 2 && memcmp(c.text, "\0\xff", 3) == 0, "base64");
	parse("{\"path\":\"a\",\"content_base64\":\"\"}");
	ok(is_document(OP_MODIFY, "a") && c.source == CONTENT_BYTES && c.text_len == 0 && c.text, "empty base64");
	parse("{\"path\":\"a\",\"content_base64\":null,\"content_ref\":\"r\"}");
	ok(c.source == CONTENT_REF, "null base64 is none");
	parse("{\"path\":\"a\",\"content_base64\":\"AP8\"}");
	ok(is_bad(ERR_BAD_BASE64, "content_base64") && is(c.path, "a"), "bad base64");
	parse("{\"path\":\"a\",\"content_ref\":\"refs/b\"}");
	ok(c.source == CONTENT_REF && is(c.text, "refs/b") && !change_carries_all(&c), "a reference");
	parse("{\"path\":\"a\",\"content_hash\":\"E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855\"}");
	ok(is(c.content_hash, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
	   "a hash in upper case");
	parse("{\"path\":\"a\",\"content_error\":true}");
	ok(is_document(OP_MODIFY, "a") && c.content_error && !c.error_text, "content_error true");
	parse("{\"path\":\"a\",\"content_error\":\"EACCES\"}");
	ok(c.content_error && is(c.error_text, "EACCES"), "content_error with a text");
	parse("{\"path\":\"a\",\"content_error\":false}");
	ok(!c.content_error, "content_error false");
	parse("{\"path\":\"a\",\"skip_index\":true,\"skip_reason\":\"vendor\"}");
	ok(c.skip_index && change_carries_all(&c), "skip_index");
	parse("{\"p\\u0061th\":\"esc\",\"op\":\"\\u0064elete\"}");
	ok(is_document(OP_DELETE, "esc") && change_carries_all(&c), "escaped names and values");
}

static void test_bad_fields(void)
{
	static const struct {
		const char *json, *word;
		enum error_code error;
	} rows[] = {
		{ "\"content\":5", "content ", ERR_BAD_FIELD },
		{ "\"content_base64\":[]", "content_base64", ERR_BAD_FIELD },
		{ "\"content_ref\":{}", "content_ref", ERR_BAD_FIELD },
		{ "\"content_ref\":\"a\\u0000b\"", "content_ref", ERR_BAD_FIELD },
		{ "\"content_hash\":\"abc\"", "content_hash", ERR_BAD_FIELD },
		{ "\"content_hash\":1", "content_hash", ERR_BAD_FIELD },
		{ "\"size\":\"1\"", "size", ERR_BAD_FIELD },
		{ "\"size\":1.5", "size is not a whole number", ERR_BAD_FIELD },
		{ "\"size\":10e-2", "size is not a whole number", ERR_BAD_FIELD },
		{ "\"size\":1e-400", "size is not a whole number", ERR_BAD_FIELD },
		{ "\"size\":-1.0", "size is out of range", ERR_BAD_FIELD },
		{ "\"size\":1e16", "size is out of range", ERR_BAD_FIELD },
		{ "\"size\":9007199254740992.0", "size is out of range", ERR_BAD_FIELD },
		{ "\"size\":0.9007199254740992e16", "size is out of range", ERR_BAD_FIELD },
		{ "\"size_bytes\":-1", "size", ERR_BAD_FIELD },
		{ "\"size_bytes\":99999999999999999999999", "size", ERR_BAD_FIELD },
		{ "\"size_bytes\":-99999999999999999999999", "size", ERR_BAD_FIELD },
		{ "\"line_count\":9007199254740992", "line_count", ERR_BAD_FIELD },
		{ "\"line_count\":true", "line_count", ERR_BAD_FIELD },
		{ "\"mime\":1", "mime", ERR_BAD_FIELD },
		{ "\"mime_type\":\"\\u0000\"", "mime", ERR_BAD_FIELD },
		{ "\"charset\":[]", "charset", ERR_BAD_FIELD },
		{ "\"is_truncated\":\"yes\"", "is_truncated", ERR_BAD_FIELD },
		{ "\"skip_index\":1", "skip_index", ERR_BAD_FIELD },
		{ "\"skip_reason\":1", "skip_reason", ERR_BAD_FIELD },
		{ "\"content_error\":1", "content_error", ERR_BAD_FIELD },
		{ "\"uncommitted\":\"x\"", "uncommitted", ERR_BAD_FIELD },
		{ "\"metadata\":[1]", "metadata", ERR_BAD_FIELD },
		{ "\"vector\":{}", "vector", ERR_BAD_FIELD },
		{ "\"new_changeset\":\"x\"", "new_changeset", ERR_BAD_FIELD },
		{ "\"op\":1", "op", ERR_BAD_FIELD },
		{ "\"op\":\"remove\"", "remove", ERR_BAD_OP },
		{ "\"op\":\"add\\u0000\"", "op", ERR_BAD_OP },
		{ "\"op\":\"rename\"", "old_path", ERR_BAD_FIELD },
		{ "\"op\":\"rename\",\"old_path\":\"x\\u0000\"", "NUL", ERR_BAD_PATH },
		{ "\"vector\":[]", "vector", ERR_BAD_VECTOR },
		{ "\"vector\":[0,0.0,1e-50]", "zero", ERR_BAD_VECTOR },
		{ "\"vector\":[1,\"2\"]", "element 1", ERR_BAD_VECTOR },
		{ "\"vector\":[1,null]", "element 1", ERR_BAD_VECTOR },
		{ "\"vector\":[1,1e39]", "element 1", ERR_BAD_VECTOR },
		{ "\"size\":1,\"size\":2", "", ERR_DUPLICATE_FIELD },
		{ "\"a\\u0000b\":1", "", ERR_NUL_IN_NAME },
		{ "\"x\":\"\\ud800\"", "", ERR_BAD_ESCAPE },
		{ "\"x\":NaN", "", ERR_BAD_JSON },
		{ "\"x\":'a'", "", ERR_BAD_JSON },
		{ "\"x\":\"\t\"", "", ERR_CONTROL_CHARACTER },
		{ "\"x\":\"\xc0\xaf\"", "", ERR_BAD_UTF8 },
	};
	char line[512];
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(line, sizeof(line), "{\"repo\":\"A\",\"path\":\"p\",%s}", rows[i].json);
		parse(line);
		ok(is_bad(rows[i].error, rows[i].word), "%s: %s", error_name(rows[i].error),
		   i + 6 < sizeof(rows) / sizeof(rows[0]) ? rows[i].json : "json");
		if (c.error == ERR_BAD_FIELD)
			ok(is(c.path, "p") && is(c.repo, "A") && c.repo_known, "and names its document");
	}
	parse("{\"size\":\"x\",\"repo\":5,\"path\":\"p\"}");
	ok(is_bad(ERR_BAD_FIELD, "size") && !c.repo_known, "repo of a wrong type is not known");
	parse("{\"repo\":\"a\\u0000b\",\"path\":\"p\"}");
	ok(is_bad(ERR_BAD_FIELD, "repo") && !c.repo_known, "repo with a NUL");
	parse("{\"repo\":\"A\"}");
	ok(is_bad(ERR_NO_PATH, "path") && c.repo_known && is(c.repo, "A"), "no path");
	parse("{\"path\":\"\"}");
	ok(is_bad(ERR_NO_PATH, "path"), "empty path");
	parse("{\"path\":7}");
	ok(is_bad(ERR_BAD_FIELD, "path"), "path of a wrong type");
	parse("{\"path\":\"a\\u0000b\"}");
	ok(is_bad(ERR_BAD_PATH, "NUL"), "NUL in a path");
	parse("{\"path\":\"a\\tb\\u001b[m\"}");
	ok(is_document(OP_MODIFY, "a\tb\x1b[m"), "control characters in a path");
	parse("{\"op\":\"\\u001b[31m\",\"path\":\"p\"}");
	ok(is_bad(ERR_BAD_OP, "\\x1b") && !strchr(c.message, '\x1b'), "messages are printable");
}

/* The names of unknown fields, with a blank after each; static. */
static const char *unknown_of(const char *line)
{
	static char names[400];
	size_t n = 0;

	change_release(&c);
	change_parse(&c, line, strlen(line), false, &needs_file, &options);
	for (size_t i = 0; i < c.nunknown; i++)
		n += (size_t)snprintf(names + n, sizeof(names) - n, "%.*s ", (int)c.unknown[i].n, c.unknown[i].p);
	names[n] = '\0';
	return names;
}

static void test_unknown_fields(void)
{
	static const struct {
		const char *theirs, *ours, *also;
	} rows[] = {
		{ "embedding", "vector", "\"vector\":[1]" }, { "text", "content", "\"content\":\"\"" },
		{ "body", "content", "\"content\":\"c\"" }, { "contents", "content", "\"content_base64\":\"YQ==\"" },
		{ "page_content", "content", "\"content_ref\":\"f\"" }, { "file", "path", "\"path\":\"q\"" },
	};
	char line[200];

	ok(is(unknown_of("{\"path\":\"a\",\"k\":1,\"\":null,\"content\":\"\",\"k\":2,\"l\":{\"m\":1}}"), "k  l "),
	   "each once, not those inside");
	ok(is(unknown_of("{\"line\":999,\"p\\u0061th\":\"a\",\"op\":null}"), ""), "those that are known");
	ok(is(unknown_of("{\"new_changeset\":{\"commit\":\"a\",\"odd\":1},\"text\":1}"), "text ") &&
	   c.kind == CHANGE_CHANGESET, "members of a changeset are kept");
	ok(is(unknown_of("{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1,\"g\":1,\"h\":1,\"i\":1}"),
	      "a b c d e f g h "), "the first ones");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *path = strcmp(rows[i].ours, "path") == 0 ? "op" : "path", *theirs = rows[i].theirs;

		snprintf(line, sizeof(line), "{\"repo\":\"A\",\"%s\":\"add\",\"%s\":[1]}", path, theirs);
		parse(line);
		ok(is_bad(ERR_MISSPELT_FIELD, theirs) && strstr(c.message, rows[i].ours) && is(c.repo, "A") &&
		   c.has_offset && strcmp(line + c.offset, "[1]}") == 0, "%s for %s", theirs, rows[i].ours);
		snprintf(line, sizeof(line), "{\"path\":\"p\",\"%s\":[1],%s}", theirs, rows[i].also);
		if (strcmp(path, "op") == 0)
			snprintf(line, sizeof(line), "{\"%s\":[1],%s}", theirs, rows[i].also);
		ok(strstr(unknown_of(line), theirs) != NULL, "%s beside it is unknown", theirs);
		ok(c.kind == CHANGE_DOCUMENT, "and nothing more");
		snprintf(line, sizeof(line), "{\"path\":\"p\",\"%s\":null}", theirs);
		parse(line);
		ok(is_document(OP_MODIFY, "p"), "null is not there");
		snprintf(line, sizeof(line), "{\"op\":\"delete\",\"path\":\"p\",\"%s\":\"x\"}", theirs);
		parse(line);
		ok(is_document(OP_DELETE, "p"), "of a delete nothing is stored");
	}
	parse("{\"op\":\"delete\",\"file\":\"p\"}");
	ok(is_bad(ERR_MISSPELT_FIELD, "file"), "which document is to be deleted matters");
	parse("{\"path\":\"a\",\"content\":null,\"text\":\"\"}");
	ok(is_bad(ERR_MISSPELT_FIELD, "text"), "an empty text, and null for ours");
	parse("{\"path\":\"a\",\"t\\u0065xt\":1}");
	ok(is_bad(ERR_MISSPELT_FIELD, "text"), "with an escape in its name");
	parse("{\"path\":5,\"embedding\":[1]}");
	ok(is_bad(ERR_BAD_FIELD, "path"), "a line that fails anyway only fails");
}

static void test_broken(void)
{
	parse("{\"repo\":\"A\",");
	ok(is_bad(ERR_BAD_JSON, "byte 12") && !c.repo_known && c.has_offset && c.offset == 12,
	   "broken JSON says where");
	parse_n("{\"repo\":\"A\",", 12, true);
	ok(is_bad(ERR_CUT_LINE, "") && !c.repo_known, "cut JSON");
	parse_n("{\"path\":\"a\"}", 12, true);
	ok(is_document(OP_MODIFY, "a") && !needs_file, "complete JSON without its newline");
	parse("{} {}");
	ok(is_bad(ERR_BAD_JSON, ""), "trailing text");
	parse("{}");
	ok(is_bad(ERR_NO_PATH, ""), "an empty object");
}

static void refused_at(const char *line, enum error_code error, size_t offset)
{
	parse(line);
	ok(c.kind == CHANGE_BAD && c.error == error && c.has_offset && c.offset == offset,
	   "%s at %zu (%d, %zu)", error_name(error), offset, c.has_offset, c.offset);
}

static void test_offsets(void)
{
	refused_at("{\"path\":\"a\", \"size\" : \"1\"}", ERR_BAD_FIELD, 22);
	refused_at("  {\"path\":\"a\",\"op\":\"remove\"}", ERR_BAD_OP, 19);
	refused_at("{\"path\":\"a\",\"content_base64\":\"AAA*\"}", ERR_BAD_BASE64, 33);
	refused_at("{\"path\":\"a\",\"content_base64\":\"AA\\/*\"}", ERR_BAD_BASE64, 29);
	refused_at("{\"path\":\"a\",\"vector\":[1, \"2\"]}", ERR_BAD_VECTOR, 25);
	refused_at("{\"path\":\"a\\u0000\"}", ERR_BAD_PATH, 8);
	refused_at("{\"new_changeset\":{\"commit\":\"a b\"}}", ERR_BAD_COMMIT, 27);
	refused_at("{\"repo\":5,\"path\":\"a\"}", ERR_BAD_FIELD, 8);
	refused_at("caf\xe9", ERR_BAD_PATH, 3);
	refused_at("R100\told\tn\xff", ERR_BAD_PATH, 10);
	parse("{\"path\":\"a\",\"op\":\"rename\"}");
	ok(is_bad(ERR_BAD_FIELD, "old_path") && !c.has_offset, "what is not there has no offset");
	parse_n("caf\xc3", 4, true);
	ok(is_bad(ERR_CUT_LINE, "") && !c.has_offset, "a path cut inside a character");
	parse_n("\"\\351\"", 6, true);
	ok(is_bad(ERR_CUT_LINE, ""), "a quoted one that no file can have");
}

static void test_depth(void)
{
	char line[256];
	size_t n, depth;

	for (depth = 31; depth <= 32; depth++) {
		n = (size_t)snprintf(line, sizeof(line), "{\"path\":\"a\",\"x\":");
		memset(line + n, '[', depth);
		line[n + depth] = '1';
		memset(line + n + depth + 1, ']', depth);
		memcpy(line + n + 2 * depth + 1, "}", 2);
		parse(line);
		ok(depth == 31 ? is_document(OP_MODIFY, "a") : is_bad(ERR_TOO_DEEP, ""),
		   "depth %zu", depth + 1);
	}
}

static void test_paths(void)
{
	static char longest[CHANGE_PATH_MAX + 2];

	parse("src/a.py");
	ok(is_document(OP_MODIFY, "src/a.py") && c.is_plain_path && !c.is_json && !needs_file &&
	   is(c.repo, "") && c.repo_known, "a plain path");
	parse_n("src/a.py", 8, true);
	ok(is_document(OP_MODIFY, "src/a.py") && needs_file, "cut, it needs its file");
	parse("\"src/json string.py\"");
	ok(is_document(OP_MODIFY, "src/json string.py") && !c.path_was_quoted, "a JSON string");
	parse_n("\"a\"", 3, true);
	ok(is_document(OP_MODIFY, "a") && !needs_file, "a JSON string without its newline");
	parse("\"caf\\303\\251 menu.txt\"");
	ok(is_document(OP_MODIFY, "caf\xc3\xa9 menu.txt") && c.path_was_quoted, "a C-quoted name");
	parse_n("\"\\303\\251\"", 10, true);
	ok(is_document(OP_MODIFY, "\xc3\xa9") && needs_file, "without its newline");
	parse("\"\\351\"");
	ok(is_bad(ERR_BAD_PATH, "UTF-8"), "a C-quoted name that is not UTF-8");
	parse("\"half quoted");
	ok(is_document(OP_MODIFY, "\"half quoted"), "a path that starts with a quote");
	parse("caf\xe9");
	ok(is_bad(ERR_BAD_PATH, "UTF-8"), "a path that is not UTF-8");
	parse_n("a\0b", 3, false);
	ok(is_bad(ERR_BAD_PATH, "NUL"), "NUL in a path line");
	parse("a -> b");
	ok(is_document(OP_MODIFY, "a -> b") && !c.path_may_be_arrow, "no arrows in path lines");
	memset(longest, 'a', CHANGE_PATH_MAX + 1);
	parse(longest);
	ok(is_bad(ERR_BAD_PATH, "4096"), "a path too long");
	longest[CHANGE_PATH_MAX] = '\0';
	parse(longest);
	ok(is_document(OP_MODIFY, longest), "the longest path");
}

static void test_json_paths(void)
{
	parse("{\"path\":\"\\\"caf\\\\303\\\\251 menu.txt\\\"\",\"op\":\"add\"}");
	ok(is_document(OP_ADD, "caf\xc3\xa9 menu.txt") && c.path_was_quoted, "C-quoted in a record");
	parse("{\"path\":\"src/old.py -> src/new.py\"}");
	ok(is_document(OP_MODIFY, "src/old.py -> src/new.py") && c.path_may_be_arrow, "an arrow");
	parse("{\"path\":\"a -> b\",\"content\":null}");
	ok(c.path_may_be_arrow, "an arrow beside null content");
	parse("{\"path\":\"a -> b\",\"content\":\"x\"}");
	ok(!c.path_may_be_arrow, "no arrow beside content");
	parse("{\"path\":\"\\\"a -> b\\\"\"}");
	ok(!c.path_may_be_arrow && is(c.path, "a -> b"), "no arrow inside quotes");
	parse("{\"path\":\"\\\"a\\\" -> \\\"b\\\"\"}");
	ok(c.path_may_be_arrow && is(c.path, "\"a\" -> \"b\""), "each side quoted");
	parse("{\"path\":\"a -> b\",\"op\":\"rename\"}");
	ok(c.path_may_be_arrow && c.op == OP_MODIFY, "a rename by arrow");
	parse("{\"path\":\"b\",\"op\":\"rename\",\"old_path\":\"\\\"\\\\303\\\\251\\\"\"}");
	ok(is_document(OP_RENAME, "b") && is(c.old_path, "\xc3\xa9"), "a rename");
	parse("{\"path\":\"b\",\"op\":\"modify\",\"old_path\":\"a\"}");
	ok(is_document(OP_MODIFY, "b") && !c.old_path, "old_path without a rename");
}

static void test_mgit(void)
{
	static const char *const no[] = {
		"Detecting changes...                                            0% -:--:--",
		"Detecting changes...                                            0% -:--:--     ",
		"Detecting changes... 100% 0:00:00", "42% 12:34:56", "x  7% 0:00:01\t",
		"No repositories found in the specified path.",
		"No repositories found in the specified path.  ", "", "   ", "\t",
	};
	static const char *const path[] = {
		"Detecting changes...", "0%", "-:--:--", "x0% -:--:--x", "1000% -:--:--",
		"a% -:--:--", "5% 1:2:3", "%-:--:--", "100% :00:00", "src/-:--:--", "a50% 0:00:00",
		"No repositories found in the specified path.txt", "Error.log", " -> ", "0:00:00",
		"1% 1-00:00", "% -:--:--",
	};
	size_t i;

	for (i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
		parse(no[i]);
		ok(is_skip(REASON_NOT_A_CHANGE) && change_carries_all(&c), "not a change: '%s'", no[i]);
	}
	for (i = 0; i < sizeof(path) / sizeof(path[0]); i++) {
		parse(path[i]);
		ok(is_document(OP_MODIFY, path[i]), "a path: '%s'", path[i]);
	}
	parse("Error during change detection: [Errno 13] Permission denied: 'x'");
	ok(is_bad(ERR_PRODUCER, "Errno 13") && !c.repo_known, "the producer's error");
	parse("Operation cancelled by user");
	ok(is_bad(ERR_PRODUCER, ""), "the producer was stopped");
}

static void test_name_status(void)
{
	parse("M\tsrc/a.py");
	ok(is_document(OP_MODIFY, "src/a.py") && !c.is_plain_path && !c.is_json, "M");
	parse("A\ta");
	ok(is_document(OP_ADD, "a"), "A");
	parse("T\ta");
	ok(is_document(OP_MODIFY, "a"), "T");
	parse("D\ta");
	ok(is_document(OP_DELETE, "a"), "D");
	parse("R100\told\tnew");
	ok(is_document(OP_RENAME, "new") && is(c.old_path, "old"), "R");
	parse("C075\told\tnew");
	ok(is_document(OP_ADD, "new") && !c.old_path, "C");
	parse("M050\ta");
	ok(is_document(OP_MODIFY, "a"), "M with its score");
	parse("R090\t\"a\\tb\"\t\"caf\\303\\251\"");
	ok(is_document(OP_RENAME, "caf\xc3\xa9") && is(c.old_path, "a\tb"), "quoted names");
	parse("M\t\"bad\\q\"");
	ok(is_bad(ERR_BAD_PATH, "quoted"), "a name badly quoted");
	parse("R100\told");
	ok(is_bad(ERR_BAD_FORM, "two paths"), "R with one path");
	parse("M\ta\tb");
	ok(is_bad(ERR_BAD_FORM, "one path"), "M with two paths");
	parse("M\ta\tb\tc\td");
	ok(is_bad(ERR_BAD_FORM, ""), "far too many fields");
	parse("M\t");
	ok(is_bad(ERR_NO_PATH, ""), "M without a path");
	parse_n("M\tsrc/a.p", 9, true);
	ok(is_bad(ERR_CUT_LINE, "") && c.repo_known, "cut name-status");
	parse("X\ta");
	ok(is_document(OP_MODIFY, "X\ta"), "an unknown letter is a path where the form is not fixed");
}

static void test_formats(void)
{
	options.format = FORMAT_NAME_STATUS;
	parse("X\ta");
	ok(is_bad(ERR_BAD_FORM, "X"), "name-status: unknown letter");
	parse("src/a.py");
	ok(is_bad(ERR_BAD_FORM, "name-status"), "name-status: a path");
	parse("{\"path\":\"a\"}");
	ok(is_bad(ERR_BAD_FORM, ""), "name-status: a record");
	parse("M\tx 0% -:--:--");
	ok(is_document(OP_MODIFY, "x 0% -:--:--"), "name-status: a name like a bar");
	options.format = FORMAT_PATHS;
	parse("M\ta");
	ok(is_document(OP_MODIFY, "M\ta"), "paths: a TAB in a name");
	parse("{x}");
	ok(is_document(OP_MODIFY, "{x}"), "paths: a name with a brace");
	parse("\"\\303\\251\"");
	ok(is_document(OP_MODIFY, "\xc3\xa9"), "paths: a C-quoted name");
	options.format = FORMAT_JSON;
	parse("src/a.py");
	ok(is_bad(ERR_BAD_FORM, "JSON") && !c.repo_known, "json: a path");
	parse("[1]");
	ok(is_bad(ERR_BAD_FORM, "JSON"), "json: an array");
	parse("\"a b\"");
	ok(is_document(OP_MODIFY, "a b"), "json: a string");
	parse("x 0% -:--:--");
	ok(is_skip(REASON_NOT_A_CHANGE), "json: the bar");
	parse("{");
	ok(is_bad(ERR_BAD_JSON, ""), "json: a broken record");
	options.format = FORMAT_AUTO;
}

static void test_nul(void)
{
	options.nul_terminated = true;
	options.format = FORMAT_PATHS;
	parse("\"a\\303\"");
	ok(is_document(OP_MODIFY, "\"a\\303\"") && !c.path_was_quoted, "-z: quotes are a part of the name");
	parse("x 0% -:--:--");
	ok(is_document(OP_MODIFY, "x 0% -:--:--"), "-z: no bar");
	parse("a\tb\nc");
	ok(is_document(OP_MODIFY, "a\tb\nc"), "-z: TAB and newline");
	parse_n("a", 1, true);
	ok(is_document(OP_MODIFY, "a") && needs_file, "-z: cut");
	parse("");
	ok(is_skip(REASON_NOT_A_CHANGE), "-z: empty");
	parse("  ");
	ok(is_document(OP_MODIFY, "  ") && !change_is_blank("  ", 2, &options), "-z: blanks are a name");
	options.format = FORMAT_NAME_STATUS;
	parse_n("M\0a\tb", 5, false);
	ok(is_document(OP_MODIFY, "a\tb"), "-z name-status: M");
	parse_n("R100\0\"o\"\0n", 10, false);
	ok(is_document(OP_RENAME, "n") && is(c.old_path, "\"o\""), "-z name-status: R");
	parse_n("C1\0o\0n", 6, false);
	ok(is_document(OP_ADD, "n"), "-z name-status: C");
	parse_n("R100\0o\0", 7, true);
	ok(is_bad(ERR_CUT_LINE, ""), "-z name-status: cut");
	parse("src/a");
	ok(is_bad(ERR_BAD_FORM, "src/a"), "-z name-status: no status");
	parse_n("X\0a", 3, false);
	ok(is_bad(ERR_BAD_FORM, "'X'"), "-z name-status: unknown letter");
	options.nul_terminated = false;
	options.format = FORMAT_AUTO;
}

static void test_repo(void)
{
	char line[1200];

	options.repo = "main";
	parse("a");
	ok(is(c.repo, "main"), "--repo");
	parse("{\"path\":\"a\",\"repo\":\"\"}");
	ok(is(c.repo, "main"), "--repo for an empty one");
	parse("{\"path\":\"a\",\"repo\":\"B\"}");
	ok(is(c.repo, "B"), "the record's own");
	options.namespace = "team";
	parse("{\"path\":\"a\",\"repo\":\"B\"}");
	ok(is(c.repo, "team/B"), "--namespace");
	parse("a");
	ok(is(c.repo, "team/main"), "--namespace and --repo");
	parse("{\"path\":\"a\",\"repo\":\"B");
	ok(!c.repo_known && is(c.repo, ""), "not for a record that could name another");
	options.repo = NULL;
	parse("a");
	ok(is(c.repo, "team"), "--namespace alone");
	options.namespace = NULL;
	snprintf(line, sizeof(line), "{\"path\":\"a\",\"repo\":\"%01100d\"}", 0);
	parse(line);
	ok(is_bad(ERR_BAD_FIELD, "repo") && !c.repo_known, "a repository's name too long");
}

/* Parses a record whose new_changeset has n bytes. */
static void changeset_of(size_t n)
{
	static const char head[] = "{\"commit\":\"a\",\"x\":\"";
	char *line = malloc(n + 64);
	int begin = snprintf(line, n + 64, "{\"new_changeset\":%s", head);

	memset(line + begin, 'x', n - (sizeof(head) - 1) - 2);
	memcpy(line + begin + n - (sizeof(head) - 1) - 2, "\"}}", 4);
	parse(line);
	free(line);
}

/* --uncommitted: of what does not say itself, in each form. */
static void test_uncommitted(void)
{
	static const char *const lines[] = { "{\"path\":\"a\",\"content\":\"x\"}", "{\"path\":\"a\",\"uncommitted\":null}",
		"{\"path\":\"a\",\"op\":\"delete\"}", "a", "\"a\"", "M\ta", "R100\ta\tb" };

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		parse(lines[i]);
		ok(c.kind == CHANGE_DOCUMENT && !c.uncommitted, "committed: %s", lines[i]);
		options.uncommitted = true;
		parse(lines[i]);
		ok(c.kind == CHANGE_DOCUMENT && c.uncommitted, "with --uncommitted not");
		options.uncommitted = false;
	}
	parse("{\"path\":\"a\",\"uncommitted\":true}");
	ok(c.uncommitted, "a line says so itself");
	options.uncommitted = true;
	parse("{\"path\":\"a\",\"uncommitted\":false}");
	ok(c.kind == CHANGE_DOCUMENT && !c.uncommitted, "or the contrary, whatever is said of the others");
	options.uncommitted = false;
}

static void test_changeset(void)
{
	parse("{\"repo\":\"A\", \"new_changeset\": {\"commit\": \"abc/1.0_x-y\", \"branch\":\"m\\u00e9\","
	      " \"since\":\"v1\", \"n\": 123456789012345678901234567890.10, \"complete\": true}, \"x\":1}");
	ok(c.kind == CHANGE_CHANGESET && c.op == OP_CHANGESET && is(c.repo, "A"), "a changeset");
	ok(is(c.commit, "abc/1.0_x-y") && is(c.since, "v1") && c.complete, "its members");
	ok(is(c.changeset, "{\"commit\":\"abc/1.0_x-y\",\"branch\":\"m\\u00e9\",\"since\":\"v1\","
	      "\"n\":123456789012345678901234567890.10,\"complete\":true}"), "kept whole");
	ok(change_carries_all(&c), "it carries all");
	parse("{\"new_change\\u0073et\":{ \"commit\":\"a\" }}");
	ok(c.kind == CHANGE_CHANGESET && is(c.changeset, "{\"commit\":\"a\"}"), "its name escaped");
	parse("{\"new_changeset\":{\"branch\":\"main\"}}");
	ok(is_skip(REASON_NO_COMMIT) && c.op == OP_CHANGESET, "no commit");
	parse("{\"new_changeset\":{\"commit\":null}}");
	ok(is_skip(REASON_NO_COMMIT), "a null commit");
	parse("{\"new_changeset\":{\"commit\":\"\"}}");
	ok(is_skip(REASON_NO_COMMIT), "an empty commit");
	parse("{\"new_changeset\":{\"commit\":\"-x\"}}");
	ok(is_bad(ERR_BAD_COMMIT, "-x") && c.repo_known, "a commit like an option");
	parse("{\"new_changeset\":{\"commit\":\"a b\"}}");
	ok(is_bad(ERR_BAD_COMMIT, "a b"), "a blank in a commit");
	parse("{\"new_changeset\":{\"commit\":\"a\",\"since\":\"$x\"}}");
	ok(is_bad(ERR_BAD_COMMIT, "$x"), "a bad since");
	parse("{\"new_changeset\":{\"commit\":\"a\",\"since\":\"\"}}");
	ok(c.kind == CHANGE_CHANGESET && is(c.since, ""), "an empty since says something: from nothing");
	parse("{\"new_changeset\":{\"commit\":\"a\",\"since\":null}}");
	ok(c.kind == CHANGE_CHANGESET && c.since == NULL, "null does not");
	parse("{\"new_changeset\":{\"commit\":7}}");
	ok(is_bad(ERR_BAD_FIELD, "commit"), "a commit of a wrong type");
	parse("{\"new_changeset\":{\"commit\":\"a\",\"complete\":1}}");
	ok(is_bad(ERR_BAD_FIELD, "complete"), "complete of a wrong type");
	changeset_of(65536);
	ok(c.kind == CHANGE_CHANGESET && strlen(c.changeset) == 65536, "the longest changeset");
	changeset_of(65537);
	ok(is_bad(ERR_BAD_FIELD, "65536"), "a longer one");
	parse("{\"new_changeset\":{\"commit\":\"a\",\"commit\":\"b\"}}");
	ok(is_bad(ERR_DUPLICATE_FIELD, ""), "two commits");
}

static void test_kept(void)
{
	parse("{\"path\":\"a\",\"content\":\"\\\\\\\"}{,\\\\\",\"metadata\" : { \"id\" : 18446744073709551617,"
	      " \"f\":1.50, \"s\":\"a b\\\\\\\" c\", \"o\" : [ 1 , {} ] } ,\"z\":0}");
	ok(is(c.metadata, "{\"id\":18446744073709551617,\"f\":1.50,\"s\":\"a b\\\\\\\" c\",\"o\":[1,{}]}"),
	   "metadata as it was spelled, compact");
	parse("{\"z\":{\"metadata\":{\"no\":1}},\"metadata\":{},\"path\":\"a\"}");
	ok(is(c.metadata, "{}"), "the member of the outermost object");
	parse("{\"metadata\":{\"a\":[1,2,3,\"4,5]6}7,\",10,11,12]},\"path\":\"a\"}");
	ok(is(c.metadata, "{\"a\":[1,2,3,\"4,5]6}7,\",10,11,12]}"), "text among numbers");
	parse("{\"path\":\"a\",\"vector\":[1,-2.5,1e-3]}");
	ok(c.nvector == 3 && c.vector[0] == 1.0f && c.vector[1] == -2.5f && c.vector[2] == 1e-3f,
	   "a vector");
	parse("{\"path\":\"a\",\"vector\":[88888888888888888888888,-1e2 , 0]}");
	ok(c.nvector == 3 && c.vector[0] == 88888888888888888888888.0f && c.vector[1] == -100.0f &&
	   c.vector[2] == 0.0f, "whole numbers beyond 64 bits in it");
}

static void test_many_numbers(size_t n, bool good)
{
	struct buf b = BUF_INIT;

	buf_adds(&b, "{\"path\":\"a\",\"vector\":[0");
	for (size_t i = 1; i < n; i++)
		buf_addf(&b, ",%zu", i);
	buf_adds(&b, "]}");
	parse(b.data);
	if (good)
		ok(c.nvector == n && c.vector[n - 1] == (float)(n - 1) && c.vector[1000] == 1000,
		   "%zu numbers", n);
	else
		ok(c.kind == CHANGE_BAD && c.error == ERR_BAD_VECTOR, "not %zu numbers", n);
	buf_release(&b);
}

/* JSON knows one kind of number. */
static void test_whole_numbers(void)
{
	static const struct {
		const char *text;
		int64_t value;
	} cases[] = {
		{ "0", 0 }, { "-0", 0 }, { "-0.0", 0 }, { "0.000", 0 }, { "0e7", 0 }, { "0e999999999999999999999", 0 },
		{ "1.0", 1 }, { "1e0", 1 }, { "1e3", 1000 }, { "1E+3", 1000 }, { "1.5e1", 15 }, { "10e-1", 1 },
		{ "0.001e3", 1 }, { "100e-2", 1 }, { "12.3400e2", 1234 }, { "9007199254740991", 9007199254740991 },
		{ "9007199254740991.000", 9007199254740991 }, { "9.007199254740991e15", 9007199254740991 },
		{ "90071992547409910e-1", 9007199254740991 },
	};
	char line[200];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(line, sizeof(line), "{\"path\":\"a\",\"size\":%s,\"line_count\":%s}", cases[i].text,
			 cases[i].text);
		parse(line);
		ok(is_document(OP_MODIFY, "a") && c.has_size && c.size == cases[i].value && c.has_line_count &&
		   c.line_count == cases[i].value, "%s is a whole number", cases[i].text);
	}
}

static void test_unmerged(void)
{
	parse("U\tsrc/a.c");
	ok(c.kind == CHANGE_SKIP && c.reason == REASON_UNMERGED && is(c.path, "src/a.c"), "U: an open merge");
	parse("U\t\"caf\\303\\251\"");
	ok(c.kind == CHANGE_SKIP && is(c.path, "caf\xc3\xa9"), "quoted");
	parse("U\t");
	ok(is_bad(ERR_NO_PATH, "path"), "U without a path");
	parse("U\ta\tb");
	ok(is_bad(ERR_BAD_FORM, "one path"), "U with two");
	options.nul_terminated = true;
	options.format = FORMAT_NAME_STATUS;
	parse_n("U\0a", 3, false);
	ok(c.kind == CHANGE_SKIP && c.reason == REASON_UNMERGED && is(c.path, "a"), "-z: U");
	parse_n("U\0a", 3, true);
	ok(is_bad(ERR_CUT_LINE, ""), "-z: cut");
	options.nul_terminated = false;
	options.format = FORMAT_AUTO;
}

int main(void)
{
	test_record();
	test_bad_fields();
	test_unknown_fields();
	test_broken();
	test_offsets();
	test_depth();
	test_paths();
	test_json_paths();
	test_mgit();
	test_name_status();
	test_formats();
	test_nul();
	test_repo();
	test_uncommitted();
	test_changeset();
	test_kept();
	test_many_numbers(65536, true);
	test_whole_numbers();
	test_unmerged();
	test_many_numbers(65537, false);
	ok(is(op_name(OP_RENAME), "rename") && !op_name(OP_NONE), "names of operations");
	change_release(&c);
	change_release(&c);
	return tap_done();
}
