#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alloc.h"
#include "buf.h"
#include "cleanup.h"
#include "options.h"

#include "tap.h"

#define MAX_WORDS 16

static struct options o;
static char *words[MAX_WORDS + 2];

static void forget_words(void)
{
	options_release(&o);
	for (size_t i = 0; words[i] != NULL; i++) {
		free(words[i]);
		words[i] = NULL;
	}
}

/* Parses the words of line, separated by blanks ("_" stands for an empty one), without letting it
 * speak; o holds the result until the next call. */
static int parse(const char *line)
{
	int argc = 0, saved = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY), result;

	forget_words();
	words[argc++] = xstrdup("linesync");
	for (size_t n; *line != '\0' && argc < MAX_WORDS; line += n + (line[n] == ' ')) {
		n = strcspn(line, " ");
		words[argc++] = n == 1 && line[0] == '_' ? xstrdup("") : xmemdup0(line, n);
	}
	dup2(null, STDERR_FILENO);
	result = options_parse(&o, argc, words);
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(null);
	return result;
}

static void test_defaults(void)
{
	ok(parse("") == 0 && strcmp(o.command, "sync") == 0, "no command is sync");
	ok(o.max_line == 8388608 && o.max_content == 1000000 && strcmp(o.root, ".") == 0, "reading");
	ok(o.flush_ms == 1000 && o.retry_wait_ms == 1000 && o.retry_max_wait_ms == 60000 &&
	   o.max_retries == 5 && o.give_up_ms == 300000 && o.grace_ms == 10000, "waits");
	ok(o.late_ms == -1 && o.batch_size == 0 && o.batch_bytes == 0 && o.connections == 0 &&
	   o.timeout_ms == 0, "left to the driver");
	ok(o.embed == NULL && o.embed_model == NULL && o.embed_prefix == NULL && !o.embed_path &&
	   o.embed_query_model == NULL && o.embed_query_prefix == NULL && o.embed_key_file == NULL &&
	   o.embed_batch_size == 0 && o.embed_batch_bytes == 0 && o.embed_connections == 0 &&
	   o.embed_timeout_ms == 0, "left to the state or the driver");
	ok(o.max_failures == 10000 && o.max_rounds == 10 && !o.max_delete_given && o.rate == 0, "limits");
	ok(o.results == RESULTS_ALL && o.progress == PROGRESS_AUTO && o.verbose == 0 &&
	   o.format == FORMAT_AUTO && o.exclude == NULL && o.nargs == 0, "the rest");
}

static void test_commands(void)
{
	ok(parse("status --runs") == 0 && strcmp(o.command, "status") == 0 && o.runs, "before its options");
	ok(parse("--runs status") == 0 && strcmp(o.command, "status") == 0 && o.runs, "after its options");
	ok(parse("-c X changeset A") == 0 && o.nargs == 1 && strcmp(o.args[0], "A") == 0 &&
	   o.args[1] == NULL && strcmp(o.collection, "X") == 0, "between, with an argument");
	ok(parse("changeset -- -A") == 0 && strcmp(o.args[0], "-A") == 0, "-- ends options");
	ok(parse("skip sync") == 0 && strcmp(o.args[0], "sync") == 0, "only the first word is a command");
	ok(parse("retry") == 65, "an unknown command");
	ok(parse("stat") == 65, "a command cut short");
	ok(parse("sync x") == 65 && parse("status x") == 65 && parse("changeset a b") == 65, "too many words");
	ok(parse("skip") == 65 && parse("skip 1:1 --path a") == 65 && parse("skip --path a") == 0,
	   "skip takes a line or a path");
	ok(parse("states") == 0 && parse("states --remove a b") == 0 && o.remove && o.nargs == 2 &&
	   parse("states --remove") == 65 && parse("states a") == 65 && parse("states --json --remove a") == 65,
	   "states lists, or removes what is named");
	ok(parse("states -c Code") == 65 && parse("states --state-dir d") == 0, "of a folder, not of a collection");
	ok(parse("forget") == 65 && parse("forget A --all") == 65 && parse("forget --all") == 0,
	   "forget takes a name or --all");
	ok(parse("search a b -n 3 c") == 0 && o.nargs == 3 && o.limit == 3 &&
	   parse("search a") == 0 && o.limit == 10, "search takes words");
	ok(parse("search a -n 0") == 65 && parse("search a -n 1001") == 65 && parse("-n 3") == 65,
	   "and how many to print");
	ok(parse("check --json --embed hash:8 --no-create") == 0 && o.json && o.no_create && parse("check a") == 65,
	   "check takes no word");
	ok(parse("--uncommitted") == 0 && o.uncommitted && parse("") == 0 && !o.uncommitted &&
	   parse("status --uncommitted") == 65, "--uncommitted is of a sync");
	ok(parse("changeset A --whole") == 0 && o.whole && parse("changeset --whole --touched A") == 0 && o.whole &&
	   parse("changeset --whole --dir d") == 0 && parse("--whole") == 65, "--whole of changeset");
	ok(parse("status --rate 1") == 65 && parse("--runs") == 65, "each command has its own options");
	ok(parse("status --runs --held") == 65 && parse("status --runs --json") == 0, "one view at a time");
}

static void test_spelling(void)
{
	ok(parse("--collection=X") == 0 && strcmp(o.collection, "X") == 0, "--name=value");
	ok(parse("--collection X") == 0 && strcmp(o.collection, "X") == 0, "--name value");
	ok(parse("-cX") == 0 && strcmp(o.collection, "X") == 0, "-nvalue");
	ok(parse("-vvq") == 0 && o.verbose == 2 && o.results == RESULTS_PROBLEMS, "letters together");
	ok(parse("--collection --repo") == 0 && strcmp(o.collection, "--repo") == 0,
	   "a value may begin with dashes");
	ok(parse("--collectio X") == 65 && parse("--coll=X") == 65 && parse("--verb") == 65,
	   "cut names, even where only one option begins so");
	ok(parse("--max 1") == 65 && parse("--nonsense") == 65 && parse("-x") == 65, "unknown names");
	ok(parse("--collection") == 65 && parse("-c") == 65 && parse("--quiet=1") == 65, "values");
	ok(parse("-c A -c B") == 0 && strcmp(o.collection, "B") == 0, "the last one counts");
	ok(parse("--exclude *.min.js --exclude vendor/**") == 0 && o.exclude != NULL &&
	   strcmp(o.exclude[0], "*.min.js") == 0 && strcmp(o.exclude[1], "vendor/**") == 0 &&
	   o.exclude[2] == NULL, "a list");
}

static void test_values(void)
{
	static const char *const bad[] = {
		"--batch-size 0", "--batch-size 100001", "--batch-size x", "--batch-size _",
		"--batch-size -1", "--batch-size +1", "--batch-size 1.5", "--batch-size 99999999999999999999",
		"--max-line 1", "--max-line 8q", "--timeout 0", "--timeout 2x", "--late -1", "--late 25h",
		"--results some", "--progress yes", "--input-format xml", "--collection _", "--root _",
		"--exclude _", "--repo \xff", "-z", "-z --input-format json", "changeset -z",
		"--embed-model _", "--embed-batch-size 0", "--embed-batch-bytes 1", "--embed-connections 65",
		"--embed-timeout 0", "--embed-path=1", "status --max-age 0", "changeset --touched A B", "changeset --touched A --dir d",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ok(parse(bad[i]) == 65, "refused (%zu)", i);
	ok(parse("--max-line 64k --batch-bytes 2m") == 0 && o.max_line == 65536 && o.batch_bytes == 2097152,
	   "bytes");
	ok(parse("--timeout 30 --give-up 2m --late 500ms --flush-ms 20 --wait-lock 0") == 0 &&
	   o.timeout_ms == 30000 && o.give_up_ms == 120000 && o.late_ms == 500 && o.flush_ms == 20 &&
	   o.wait_lock_ms == 0, "times");
	ok(parse("status --max-age 26h") == 0 && o.max_age_s == 93600, "an age");
	ok(parse("--max-delete 0") == 0 && o.max_delete_given && o.max_delete == 0, "no deletes at all");
	ok(parse("--results none --progress never --input-format name-status -z") == 0 &&
	   o.results == RESULTS_NONE && o.progress == PROGRESS_NEVER && o.nul &&
	   o.format == FORMAT_NAME_STATUS, "words");
	ok(parse("--embed http://h:1/v1 --embed-model m --embed-path --embed-prefix p: --embed-key-file k") == 0 &&
	   strcmp(o.embed, "http://h:1/v1") == 0 && strcmp(o.embed_model, "m") == 0 && o.embed_path &&
	   strcmp(o.embed_prefix, "p:") == 0 && strcmp(o.embed_key_file, "k") == 0, "an embedding server");
	ok(parse("--embed-prefix _ --embed-query-prefix _ --embed-query-model q") == 0 &&
	   o.embed_prefix != NULL && o.embed_prefix[0] == '\0' && o.embed_query_prefix[0] == '\0' &&
	   strcmp(o.embed_query_model, "q") == 0, "prefixes may be empty");
	ok(parse("--embed-batch-size 8 --embed-batch-bytes 64k --embed-connections 2 --embed-timeout 5m") == 0 &&
	   o.embed_batch_size == 8 && o.embed_batch_bytes == 65536 && o.embed_connections == 2 &&
	   o.embed_timeout_ms == 300000, "its requests");
	ok(parse("--repo _ --namespace _") == 0 && o.repo[0] == '\0' && o.namespace[0] == '\0',
	   "an empty repository");
}

/* Which of the three were named, and what they say over 40, 5, 1500. */
static bool chunking_is(int64_t lines, int64_t overlap, int64_t bytes, const char *over)
{
	struct chunking c = { 40, 5, 1500 };
	autofree char *name = (options_chunking(&o, &c), chunking_name(&c));

	return o.chunk_lines == lines && o.chunk_overlap == overlap && o.chunk_bytes == bytes &&
	       strcmp(name, over) == 0;
}

static void test_chunking(void)
{
	static const char *const bad[] = {
		"--chunk-lines 5 --chunk-overlap 5", "--chunk-lines 5 --chunk-overlap 6",
		"--chunk-lines -1", "--chunk-lines x", "--chunk-lines 4294967296", "--chunk-overlap _",
		"--chunk-bytes 1", "--chunk-bytes 63", "--chunk-bytes 2g", "status --chunk-lines 5",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ok(parse(bad[i]) == 65, "refused: %s", bad[i]);
	ok(parse("") == 0 && chunking_is(-1, -1, -1, "lines=40,overlap=5,bytes=1500"), "none is named");
	ok(parse("--chunk-lines 60 --chunk-overlap 10 --chunk-bytes 2k") == 0 &&
	   chunking_is(60, 10, 2048, "lines=60,overlap=10,bytes=2048"), "all three are");
	ok(parse("--chunk-lines 0") == 0 && chunking_is(0, -1, -1, "lines=0,overlap=5,bytes=1500") &&
	   parse("--chunk-overlap 0") == 0 && chunking_is(-1, 0, -1, "lines=40,overlap=0,bytes=1500") &&
	   parse("--chunk-bytes 0") == 0 && chunking_is(-1, -1, 0, "lines=40,overlap=5,bytes=0"),
	   "0 is named as well");
	ok(parse("--chunk-lines 0 --chunk-bytes 0") == 0 && chunking_is(0, -1, 0, "off"), "off");
	ok(parse("--chunk-lines 0 --chunk-bytes 0 --chunk-overlap 3") == 0 && chunking_is(0, 3, 0, "off"),
	   "off, whatever is to be repeated");
	ok(parse("--chunk-overlap 7") == 0 && chunking_is(-1, 7, -1, "lines=40,overlap=7,bytes=1500"),
	   "an overlap alone");
	setenv("LINESYNC_CHUNK_LINES", "30", 1);
	setenv("LINESYNC_CHUNK_OVERLAP", "4", 1);
	setenv("LINESYNC_CHUNK_BYTES", "64", 1);
	ok(parse("--chunk-bytes 1k") == 0 && chunking_is(30, 4, 1024, "lines=30,overlap=4,bytes=1024"),
	   "from the environment");
	ok(parse("--chunk-lines 4") == 65 && parse("--chunk-lines 0 --chunk-bytes 0") == 0,
	   "together with the command line");
	unsetenv("LINESYNC_CHUNK_LINES");
	unsetenv("LINESYNC_CHUNK_OVERLAP");
	unsetenv("LINESYNC_CHUNK_BYTES");
}

static void test_environment(void)
{
	setenv("LINESYNC_COLLECTION", "E", 1);
	setenv("LINESYNC_RATE", "9", 1);
	setenv("LINESYNC_FORCE", "yes", 1);
	setenv("LINESYNC_NO_RETRY", "0", 1);
	setenv("LINESYNC_EXCLUDE", "*.a::b/**", 1);
	setenv("LINESYNC_ROOT", "", 1);
	ok(parse("") == 0 && strcmp(o.collection, "E") == 0 && o.rate == 9 && o.force && !o.no_retry,
	   "read where the command line is silent");
	ok(o.exclude != NULL && strcmp(o.exclude[0], "*.a") == 0 && strcmp(o.exclude[1], "b/**") == 0 &&
	   o.exclude[2] == NULL, "a list has ':' between");
	ok(strcmp(o.root, ".") == 0, "an empty variable is none");
	ok(parse("-c C --rate 1 --exclude x") == 0 && strcmp(o.collection, "C") == 0 && o.rate == 1 &&
	   o.exclude[1] == NULL, "the command line wins");
	ok(parse("status") == 0 && strcmp(o.collection, "E") == 0 && o.rate == 0,
	   "a command reads the variables of its own options");
	setenv("LINESYNC_RATE", "many", 1);
	ok(parse("") == 65, "a bad value is a usage error");
	ok(parse("status") == 0, "unless the command does not take it");
	ok(parse("--rate 2") == 0 && o.rate == 2, "or the command line says better");
	unsetenv("LINESYNC_RATE");
	setenv("LINESYNC_FORCE", "maybe", 1);
	ok(parse("") == 65, "a flag takes yes and no");
	unsetenv("LINESYNC_FORCE");
	setenv("LINESYNC_RESULTS", "none", 1);
	ok(parse("-q") == 0 && o.results == RESULTS_PROBLEMS, "-q stands for --results");
	unsetenv("LINESYNC_RESULTS");
	unsetenv("LINESYNC_COLLECTION");
	unsetenv("LINESYNC_NO_RETRY");
	unsetenv("LINESYNC_EXCLUDE");
	unsetenv("LINESYNC_ROOT");
}

/* The table itself. */

static void test_table(void)
{
	struct option_info a, b;
	bool unique = true, env = true;

	for (size_t i = 0; options_info(i, &a); i++) {
		for (size_t k = 0; k < i && options_info(k, &b); k++)
			unique &= strcmp(a.name, b.name) != 0 && (a.letter == 0 || a.letter != b.letter);
		if (a.env == NULL)
			continue;
		auto_buf struct buf want = BUF_INIT;
		buf_adds(&want, "LINESYNC_");
		for (const char *c = a.name; *c != '\0'; c++)
			buf_addc(&want, *c == '-' ? '_' : (char)(*c >= 'a' && *c <= 'z' ? *c - 32 : *c));
		env &= strcmp(want.data, a.env) == 0;
	}
	ok(unique, "every name and every letter stands once");
	ok(env, "variables are called as their options");
}

static char *manual(void)
{
	const char *top = getenv("abs_top_srcdir");
	auto_buf struct buf name = BUF_INIT, text = BUF_INIT;
	char chunk[4096];
	size_t n;
	FILE *f;

	buf_addf(&name, "%s/man/linesync.1", top != NULL ? top : ".");
	f = fopen(name.data, "r");
	while (f != NULL && (n = fread(chunk, 1, sizeof(chunk), f)) > 0)
		buf_add(&text, chunk, n);
	if (f != NULL)
		fclose(f);
	return buf_detach(&text);
}

static void test_manual(void)
{
	char *text = manual();
	struct option_info a;

	for (size_t i = 0; options_info(i, &a); i++) {
		auto_buf struct buf item = BUF_INIT;

		if (a.letter != 0)
			buf_addf(&item, ".It Fl %c , Fl -%s", a.letter, a.name);
		else
			buf_addf(&item, ".It Fl -%s", a.name);
		buf_adds(&item, a.takes_value ? " Ar " : "\n");
		ok(strstr(text, item.data) != NULL, "linesync(1) describes --%s", a.name);
	}
	free(text);
}

/* Nothing of the user's own. */
static void clear_environment(void)
{
	struct option_info a;

	for (size_t i = 0; options_info(i, &a); i++)
		if (a.env != NULL)
			unsetenv(a.env);
}

int main(void)
{
	clear_environment();
	test_defaults();
	test_commands();
	test_spelling();
	test_values();
	test_chunking();
	test_environment();
	test_table();
	test_manual();
	forget_words();
	return tap_done();
}
