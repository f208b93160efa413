#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "buf.h"
#include "cleanup.h"
#include "exclude.h"
#include "http.h"
#include "log.h"
#include "text.h"

#include "options.h"

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "unknown"
#endif
#ifndef TDB_VERSION
#define TDB_VERSION "unknown"
#endif
#ifndef NETTLE_VERSION
#define NETTLE_VERSION "unknown"
#endif

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define USAGE 64
#define DAY_MS UINT64_C(86400000)
#define NO_LIMIT (UINT64_C(1) << 53)

/* ---- the tables ---- */

enum {
	SYNC = 1, STATUS = 2, CHANGESET = 4, SKIP = 8, FORGET = 16, EXPORT = 32, SEARCH = 64,
	CHECK = 128, STATES = 256,
	WRITERS = SYNC | SKIP | FORGET,
	STORED = SYNC | FORGET | SEARCH | CHECK,	/* those that ask the store */
	OF_ONE = SYNC | STATUS | CHANGESET | SKIP | FORGET | EXPORT | SEARCH | CHECK,	/* collection */
	ALL = OF_ONE | STATES
};

static const struct command {
	const char *name;
	unsigned bit;
	const char *synopsis;	/* what follows the options */
	int max_args;
	const char *help;
} commands[] = {
	{ "sync", SYNC, "", 0, "make a collection match the changes on standard input (the default)" },
	{ "status", STATUS, "", 0, "tell where the current or last run stands, what failed, what is held" },
	{ "changeset", CHANGESET, " [REPO]", 1, "print the position of a repository, or of all" },
	{ "skip", SKIP, " {RUN:LINE | --path PATH}", 1,
	  "accept a failed line or a document in doubt; what it held is released" },
	{ "forget", FORGET, " {REPO | --all}", 1,
	  "drop what the state knows of a repository; the collection stays as it is" },
	{ "export", EXPORT, " [REPO]", 1,
	  "print the state as JSON lines, failed lines as they came, or the documents" },
	{ "search", SEARCH, " TEXT...", INT_MAX, "print the objects nearest to a text" },
	{ "check", CHECK, "", 0, "tell whether a sync could begin, and what to do where it could not" },
	{ "states", STATES, " [--remove FILE...]", INT_MAX, "list the checkpoint files, or remove some" },
};

enum kind {
	KIND_FLAG,		/* bool */
	KIND_COUNT,		/* int, one more each time */
	KIND_STRING,		/* UTF-8, not empty */
	KIND_EMPTY_STRING,	/* UTF-8 */
	KIND_FILE,		/* any bytes, not empty */
	KIND_LIST,		/* may be given again; in the environment, separated by ':' */
	KIND_NUMBER,		/* uint64_t, min..max, as are the next three */
	KIND_BYTES,
	KIND_MS,		/* a time, in ms; a bare number means `unit` ms each */
	KIND_SECONDS,		/* a time, in seconds */
	KIND_ENUM,		/* one of words */
	KIND_SET,		/* no value: the enum becomes max */
	KIND_HELP, KIND_VERSION
};

enum group { WHERE, READING, STORING, PACE, SHOWING, ASKING, PROGRAM };

static const char *const group_titles[] = {
	[WHERE] = "Where",
	[READING] = "Reading",
	[STORING] = "What is stored",
	[PACE] = "Batches, retries, limits",
	[SHOWING] = "What is shown",
	[ASKING] = "Of single commands",
	[PROGRAM] = "Program",
};

struct word {
	const char *name;
	unsigned value;
};

static const struct word format_words[] = {
	{ "json", FORMAT_JSON }, { "paths", FORMAT_PATHS }, { "name-status", FORMAT_NAME_STATUS },
	{ NULL, 0 }
};
static const struct word results_words[] = {
	{ "all", RESULTS_ALL }, { "problems", RESULTS_PROBLEMS }, { "none", RESULTS_NONE }, { NULL, 0 }
};
static const struct word progress_words[] = {
	{ "auto", PROGRESS_AUTO }, { "always", PROGRESS_ALWAYS }, { "never", PROGRESS_NEVER },
	{ NULL, 0 }
};

struct row {
	const char *name;
	char letter;
	enum kind kind;
	enum group group;
	size_t offset;			/* of its target in struct options */
	const char *value;		/* its name in help; NULL: takes none */
	uint64_t min, max, unit;
	const struct word *words;
	const char *env;		/* NULL: cannot be set in the environment */
	unsigned commands;
	const char *help;
};

#define AT(member) offsetof(struct options, member)
#define TEXT(name, letter, kind, group, member, value, env, cmds, help) \
	{ name, letter, kind, group, AT(member), value, 0, 0, 0, NULL, env, cmds, help }
#define FLAG(name, letter, group, member, env, cmds, help) \
	{ name, letter, KIND_FLAG, group, AT(member), NULL, 0, 0, 0, NULL, env, cmds, help }
#define NUMBER(name, group, member, min, max, env, help) \
	{ name, 0, KIND_NUMBER, group, AT(member), "N", min, max, 0, NULL, env, SYNC, help }
#define BYTES(name, group, member, min, max, env, help) \
	{ name, 0, KIND_BYTES, group, AT(member), "BYTES", min, max, 0, NULL, env, SYNC, help }
#define TIME(name, group, member, min, max, unit, env, cmds, help) \
	{ name, 0, KIND_MS, group, AT(member), (unit) == 1 ? "MS" : "SECONDS", min, max, unit, NULL, \
	  env, cmds, help }
#define WORDS(name, group, member, words, value, env, cmds, help) \
	{ name, 0, KIND_ENUM, group, AT(member), value, 0, 0, 0, words, env, cmds, help }

static const struct row rows[] = {
	TEXT("store", 0, KIND_STRING, WHERE, store, "DRIVER:URL", "LINESYNC_STORE", OF_ONE,
	     "the store, such as chroma:http://localhost:8000"),
	TEXT("collection", 'c', KIND_STRING, WHERE, collection, "NAME", "LINESYNC_COLLECTION", OF_ONE,
	     "the collection in it"),
	TEXT("state", 0, KIND_FILE, WHERE, state, "FILE", "LINESYNC_STATE", OF_ONE,
	     "the checkpoint file (default: one of its own for each collection)"),
	TEXT("state-dir", 0, KIND_FILE, WHERE, state_dir, "DIR", "LINESYNC_STATE_DIR", ALL,
	     "the folder for checkpoint files"),
	TEXT("api-key-file", 0, KIND_FILE, WHERE, api_key_file, "FILE", "LINESYNC_API_KEY_FILE", STORED,
	     "the key for the store; others must not be able to read it"),
	TEXT("store-header-file", 0, KIND_LIST, WHERE, store_header_files, "FILE", "LINESYNC_STORE_HEADER_FILE",
	     STORED, "'Name: value' lines to send with each request to the store, such as a provider's key"),
	TEXT("embed-key-file", 0, KIND_FILE, WHERE, embed_key_file, "FILE", "LINESYNC_EMBED_KEY_FILE",
	     SYNC | CHECK | SEARCH,
	     "the key for the embedding server; others must not be able to read it"),
	TEXT("embed-header-file", 0, KIND_LIST, WHERE, embed_header_files, "FILE", "LINESYNC_EMBED_HEADER_FILE",
	     SYNC | CHECK | SEARCH, "'Name: value' lines to send with each request to the embedding server"),
	TEXT("cacert", 0, KIND_FILE, WHERE, cacert, "FILE", "LINESYNC_CACERT", STORED,
	     "certificates to trust, in PEM form"),
	FLAG("insecure-http", 0, WHERE, insecure_http, "LINESYNC_INSECURE_HTTP", STORED,
	     "send a key over plain http to another machine"),
	FLAG("no-create", 0, WHERE, no_create, "LINESYNC_NO_CREATE", SYNC | CHECK,
	     "refuse to make a collection that is not there"),
	TIME("wait-lock", WHERE, wait_lock_ms, 0, 7 * DAY_MS, 1000, "LINESYNC_WAIT_LOCK", WRITERS | STATES,
	     "wait so long for another linesync to end (0)"),

	WORDS("input-format", READING, format, format_words, "FORM", "LINESYNC_INPUT_FORMAT", SYNC,
	      "json, paths or name-status (default: told line by line)"),
	FLAG("null", 'z', READING, nul, NULL, SYNC | CHANGESET | EXPORT,
	     "names end with NUL, not newline: as git prints with -z; also for what is printed"),
	TEXT("repo", 0, KIND_EMPTY_STRING, READING, repo, "NAME", "LINESYNC_REPO",
	     SYNC | SKIP | SEARCH,
	     "the repository of lines that name none; of --path; the one to search in"),
	TEXT("namespace", 0, KIND_EMPTY_STRING, READING, namespace, "NAME", "LINESYNC_NAMESPACE", SYNC,
	     "put in front of each repository's name"),
	TEXT("root", 0, KIND_FILE, READING, root, "DIR", "LINESYNC_ROOT", SYNC,
	     "where the files are (.); nothing outside is ever read"),
	FLAG("uncommitted", 0, READING, uncommitted, "LINESYNC_UNCOMMITTED", SYNC,
	     "the texts are in no commit, where a line does not say: as mgit lists them"),
	TEXT("exclude", 0, KIND_LIST, READING, exclude, "GLOB", "LINESYNC_EXCLUDE", SYNC,
	     "leave these paths out; may be given again"),
	BYTES("max-line", READING, max_line, 1024, UINT64_C(1) << 30, "LINESYNC_MAX_LINE",
	      "a longer line fails (8m)"),
	BYTES("max-content", READING, max_content, 1, UINT64_C(1) << 30, "LINESYNC_MAX_CONTENT",
	      "a longer document is left out (1000000)"),
	NUMBER("total", READING, total, 0, NO_LIMIT, "LINESYNC_TOTAL",
	       "lines to expect, for the progress bar"),
	FLAG("new-run", 0, READING, new_run, "LINESYNC_NEW_RUN", SYNC,
	     "do not continue a run that was interrupted"),
	FLAG("no-retry", 0, READING, no_retry, "LINESYNC_NO_RETRY", SYNC,
	     "leave the failed lines of earlier runs alone"),
	FLAG("force", 0, READING, force, "LINESYNC_FORCE", SYNC,
	     "send documents that did not change, too"),
	FLAG("dry-run", 0, READING, dry_run, "LINESYNC_DRY_RUN", SYNC,
	     "print what would happen; write neither state nor store"),

	TEXT("embed", 0, KIND_STRING, STORING, embed, "HOW", "LINESYNC_EMBED", SYNC | CHECK,
	     "URL of an embedding server, hash[:DIMENSION] (hash:1024), or store: its own vectoriser"),
	TEXT("embed-model", 0, KIND_STRING, STORING, embed_model, "NAME", "LINESYNC_EMBED_MODEL", SYNC | CHECK,
	     "the model that the embedding server is asked for"),
	FLAG("embed-path", 0, STORING, embed_path, "LINESYNC_EMBED_PATH", SYNC | CHECK,
	     "put the path before the text that is embedded"),
	TEXT("embed-prefix", 0, KIND_EMPTY_STRING, STORING, embed_prefix, "TEXT", "LINESYNC_EMBED_PREFIX",
	     SYNC | CHECK,
	     "put this before what is embedded, such as 'passage: '"),
	TEXT("embed-query-model", 0, KIND_STRING, STORING, embed_query_model, "NAME",
	     "LINESYNC_EMBED_QUERY_MODEL", SYNC | SEARCH, "the model for questions (default: the same)"),
	TEXT("embed-query-prefix", 0, KIND_EMPTY_STRING, STORING, embed_query_prefix, "TEXT",
	     "LINESYNC_EMBED_QUERY_PREFIX", SYNC | SEARCH, "put this before a question, such as 'query: '"),
	NUMBER("chunk-lines", STORING, chunk_lines, 0, UINT32_MAX, "LINESYNC_CHUNK_LINES",
	       "cut documents into chunks of so many lines (0: no limit)"),
	NUMBER("chunk-overlap", STORING, chunk_overlap, 0, UINT32_MAX, "LINESYNC_CHUNK_OVERLAP",
	       "lines that a chunk repeats of the one before"),
	BYTES("chunk-bytes", STORING, chunk_bytes, 0, CHUNK_BYTES_MAX, "LINESYNC_CHUNK_BYTES",
	      "most bytes in a chunk (0: no limit)"),

	NUMBER("batch-size", PACE, batch_size, 1, 100000, "LINESYNC_BATCH_SIZE",
	       "most objects in one request (default: the store's)"),
	BYTES("batch-bytes", PACE, batch_bytes, 1024, UINT64_C(1) << 30, "LINESYNC_BATCH_BYTES",
	      "most bytes in one request (default: the store's)"),
	NUMBER("connections", PACE, connections, 1, 64, "LINESYNC_CONNECTIONS",
	       "requests under way at once (default: the store's)"),
	TIME("flush-ms", PACE, flush_ms, 1, 3600000, 1, "LINESYNC_FLUSH_MS", SYNC,
	     "a line waits no longer for its batch to fill (1000)"),
	NUMBER("embed-batch-size", PACE, embed_batch_size, 1, 100000, "LINESYNC_EMBED_BATCH_SIZE",
	       "most texts in one request to the embedding server (32)"),
	BYTES("embed-batch-bytes", PACE, embed_batch_bytes, 1024, UINT64_C(1) << 30,
	      "LINESYNC_EMBED_BATCH_BYTES", "most bytes in one request to the embedding server (1500000)"),
	NUMBER("embed-connections", PACE, embed_connections, 1, 64, "LINESYNC_EMBED_CONNECTIONS",
	       "requests to the embedding server under way at once (1)"),
	NUMBER("rate", PACE, rate, 0, 1000000000, "LINESYNC_RATE",
	       "most objects a second (0: no limit)"),
	TIME("timeout", PACE, timeout_ms, 1, DAY_MS, 1000, "LINESYNC_TIMEOUT", STORED,
	     "for one request (default: the store's)"),
	TIME("embed-timeout", PACE, embed_timeout_ms, 1, DAY_MS, 1000, "LINESYNC_EMBED_TIMEOUT",
	     SYNC | CHECK | SEARCH,
	     "for one request to the embedding server (120)"),
	TIME("retry-wait", PACE, retry_wait_ms, 1, DAY_MS, 1000, "LINESYNC_RETRY_WAIT", SYNC,
	     "first pause after trouble, doubled each time (1)"),
	TIME("retry-max-wait", PACE, retry_max_wait_ms, 1, DAY_MS, 1000, "LINESYNC_RETRY_MAX_WAIT", SYNC,
	     "longest pause (60)"),
	NUMBER("max-retries", PACE, max_retries, 0, 1000, "LINESYNC_MAX_RETRIES",
	       "attempts for an object while others succeed (5)"),
	TIME("give-up", PACE, give_up_ms, 0, 7 * DAY_MS, 1000, "LINESYNC_GIVE_UP", SYNC,
	     "stop when the store was away so long (5m)"),
	TIME("late", PACE, late_ms, 0, DAY_MS, 1000, "LINESYNC_LATE", SYNC,
	     "an unanswered request may still arrive so late (default: the store's)"),
	TIME("grace", PACE, grace_ms, 0, 3600000, 1000, "LINESYNC_GRACE", SYNC,
	     "after a signal, wait so long for requests under way (10)"),
	NUMBER("max-failures", PACE, max_failures, 1, NO_LIMIT, "LINESYNC_MAX_FAILURES",
	       "stop after so many failed lines (10000)"),
	NUMBER("max-rounds", PACE, max_rounds, 0, 1000000, "LINESYNC_MAX_ROUNDS",
	       "try a failed line again in so many later runs (10)"),
	NUMBER("max-delete", PACE, max_delete, 0, NO_LIMIT, "LINESYNC_MAX_DELETE",
	       "most documents that a complete list may delete (half of them)"),

	WORDS("results", SHOWING, results, results_words, "WHICH", "LINESYNC_RESULTS", SYNC,
	      "all, problems or none of the result lines (all)"),
	{ "quiet", 'q', KIND_SET, SHOWING, AT(results), NULL, 0, RESULTS_PROBLEMS, 0, NULL, NULL, SYNC,
	  "the same as --results problems" },
	WORDS("progress", SHOWING, progress, progress_words, "WHEN", "LINESYNC_PROGRESS", SYNC,
	      "auto, always or never (auto: on a terminal)"),
	{ "verbose", 'v', KIND_COUNT, SHOWING, AT(verbose), NULL, 0, 3, 0, NULL, "LINESYNC_VERBOSE", ALL,
	  "say more on standard error; twice: much more" },

	FLAG("summary", 0, ASKING, summary, NULL, STATUS, "all runs and totals"),
	FLAG("runs", 0, ASKING, runs, NULL, STATUS, "a table of the runs"),
	FLAG("failed", 0, ASKING, failed, NULL, STATUS | EXPORT,
	     "the failed lines: status: with error and retries; export: as they came"),
	FLAG("held", 0, ASKING, held, NULL, STATUS,
	     "which line or document holds each changeset, and what frees it"),
	FLAG("repos", 0, ASKING, repos, NULL, STATUS, "the repositories: position, held, documents, failed"),
	TEXT("run", 0, KIND_STRING, ASKING, run, "RUN", NULL, STATUS, "this run, by its id or number"),
	FLAG("json", 0, ASKING, json, NULL, STATUS | CHECK | STATES, "as JSON, one object for each state"),
	{ "max-age", 0, KIND_SECONDS, ASKING, AT(max_age_s), "TIME", 1000, 36525 * DAY_MS, 1000, NULL,
	  NULL, STATUS, "exit 1 if the last clean run is older, such as 26h" },
	TEXT("touched", 0, KIND_EMPTY_STRING, ASKING, touched, "REPO", NULL, CHANGESET,
	     "print the paths that a producer should list as well"),
	FLAG("whole", 0, ASKING, whole, NULL, CHANGESET,
	     "count only a position at which everything has been listed once"),
	TEXT("dir", 0, KIND_FILE, ASKING, dir, "DIR", NULL, CHANGESET,
	     "also write a file REPO.changeset for each position"),
	TEXT("path", 0, KIND_STRING, ASKING, path, "PATH", NULL, SKIP,
	     "the document to accept, of --repo"),
	FLAG("documents", 0, ASKING, documents, NULL, EXPORT,
	     "what the store holds; of a REPO: the paths alone"),
	{ "limit", 'n', KIND_NUMBER, ASKING, AT(limit), "N", 1, 1000, 0, NULL, NULL, SEARCH,
	  "most objects to print (10)" },
	FLAG("all", 0, ASKING, all, NULL, FORGET, "all repositories"),
	FLAG("delete", 0, ASKING, delete_objects, NULL, FORGET, "delete their objects in the store, too"),
	FLAG("remove", 0, ASKING, remove, NULL, STATES, "remove these files, by the names that it lists"),

	{ "help", 'h', KIND_HELP, PROGRAM, 0, NULL, 0, 0, 0, NULL, NULL, ALL, "print this and exit" },
	{ "version", 'V', KIND_VERSION, PROGRAM, 0, NULL, 0, 0, 0, NULL, NULL, ALL,
	  "print the versions of linesync and its libraries, and exit" },
};

bool options_info(size_t i, struct option_info *info)
{
	if (i >= COUNT(rows))
		return false;
	info->name = rows[i].name;
	info->letter = rows[i].letter;
	info->env = rows[i].env;
	info->takes_value = rows[i].value != NULL;
	return true;
}

/* ---- help and version ---- */

static const char *command_name(unsigned bit)
{
	for (size_t i = 0; i < COUNT(commands); i++)
		if (commands[i].bit == bit)
			return commands[i].name;
	return NULL;
}

static void print_row(FILE *f, const struct row *r, bool whose)
{
	const char *of = whose && r->group == ASKING ? command_name(r->commands) : NULL;
	auto_buf struct buf left = BUF_INIT;

	if (r->letter != 0)
		buf_addf(&left, "  -%c, --%s", r->letter, r->name);
	else
		buf_addf(&left, "      --%s", r->name);
	if (r->value != NULL)
		buf_addf(&left, " %s", r->value);
	fprintf(f, "%-31s %s%s%s\n", left.data, of != NULL ? of : "", of != NULL ? ": " : "", r->help);
}

static void print_options(FILE *f, unsigned commands_bits)
{
	for (size_t g = 0; g < COUNT(group_titles); g++) {
		bool titled = false;

		for (size_t i = 0; i < COUNT(rows); i++) {
			if (rows[i].group != g || !(rows[i].commands & commands_bits))
				continue;
			if (!titled)
				fprintf(f, "\n%s:\n", group_titles[g]);
			titled = true;
			print_row(f, &rows[i], commands_bits == ALL);
		}
	}
}

static const char help_end[] =
	"\nSizes take k, m, g (1024 each); times take ms, s, m, h, d.  Options that are settings can\n"
	"stand in the environment: --batch-size as LINESYNC_BATCH_SIZE, and so on.\n"
	"Exit status: 0 all well; 1 lines failed or changesets held; 64 usage; 66 no input; 70 internal;\n"
	"71 memory; 73 cannot create, 74 cannot read or write; 75 try again later; 77 not authorised;\n"
	"78 configuration.  See linesync(1).\n";

static void print_help(const struct command *c)
{
	if (c != NULL) {
		printf("usage: linesync %s [OPTION...]%s\n%s\n", c->name, c->synopsis, c->help);
		print_options(stdout, c->bit);
	} else {
		printf("usage: linesync [COMMAND] [OPTION...] [ARGUMENT]\n"
		       "Makes a collection of a vector store match the changes on standard input.\n"
		       "\nCommands (linesync COMMAND --help tells more):\n");
		for (size_t i = 0; i < COUNT(commands); i++)
			printf("  %-27s %s\n", commands[i].name, commands[i].help);
		print_options(stdout, ALL);
	}
	fputs(help_end, stdout);
}

void options_short_help(FILE *f)
{
	fputs("usage: PRODUCER | linesync --store DRIVER:URL --collection NAME [OPTION...]\n"
	      "\n"
	      "linesync reads change records from standard input, one a line:\n"
	      "  mgit diff . | linesync --collection Code --uncommitted\n"
	      "  git diff --name-status A B | linesync --collection Code --repo ServiceA\n"
	      "Other commands: ", f);
	for (size_t i = 1; i < COUNT(commands); i++)
		fprintf(f, "%s%s", commands[i].name, i + 1 < COUNT(commands) ? ", " : ".\n");
	fputs("'linesync --help' lists all options.\n", f);
}

static void print_version(void)
{
	printf("linesync %s\n", PACKAGE_VERSION);
	printf("json-c %s\n%s\ntdb %s\nnettle %s\n", json_c_version(), http_version(), TDB_VERSION,
	       NETTLE_VERSION);
	printf("Copyright (c) 2026 the linesync authors; MIT License, without any warranty\n");
}

/* ---- one value ---- */

/* How a message names where a value came from: "--rate" or "LINESYNC_RATE". */
struct source {
	const struct row *row;
	bool from_env;
};

static int refuse(struct source from, const char *value, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static int refuse(struct source from, const char *value, const char *fmt, ...)
{
	char why[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	return log_err("%s%s: '%s' %s", from.from_env ? "" : "--",
		       from.from_env ? from.row->env : from.row->name, value, why);
}

static int set_text(struct options *o, struct source from, const char *value)
{
	const struct row *r = from.row;
	const char **target = (const char **)((char *)o + r->offset);

	if (value[0] == '\0' && r->kind != KIND_EMPTY_STRING)
		return refuse(from, value, "is empty");
	if (r->kind != KIND_FILE && utf8_check(value, strlen(value)) != strlen(value))
		return refuse(from, value, "is not valid UTF-8");
	*target = value;
	return 0;
}

static void list_add(const char ***list, const char *p, size_t n)
{
	size_t have = 0;

	while (*list != NULL && (*list)[have] != NULL)
		have++;
	*list = xrealloc(*list, (have + 2) * sizeof(**list));
	(*list)[have] = xmemdup0(p, n);
	(*list)[have + 1] = NULL;
}

static int set_list(struct options *o, struct source from, const char *value)
{
	const char ***target = (const char ***)((char *)o + from.row->offset);

	if (!from.from_env) {
		if (value[0] == '\0')
			return refuse(from, value, "is empty");
		list_add(target, value, strlen(value));
		return 0;
	}
	for (size_t n; *value != '\0'; value += n + (value[n] != '\0')) {
		n = strcspn(value, ":");
		if (n > 0)
			list_add(target, value, n);
	}
	return 0;
}

static int set_number(struct options *o, struct source from, const char *value)
{
	const struct row *r = from.row;
	uint64_t *target = (uint64_t *)((char *)o + r->offset);
	uint64_t v = 0;

	switch (r->kind) {
	case KIND_NUMBER:
		if (parse_uint(&v, value, r->min, r->max) != 0)
			return refuse(from, value, "is no whole number from %" PRIu64 " to %" PRIu64,
				      r->min, r->max);
		break;
	case KIND_BYTES:
		if (parse_bytes(&v, value, r->min, r->max) != 0)
			return refuse(from, value, "is no number of bytes such as 64k or 8m, from %" PRIu64
				      " to %" PRIu64, r->min, r->max);
		break;
	default:
		if (parse_duration_ms(&v, value, r->unit, r->max) != 0 || v < r->min)
			return refuse(from, value, "is no time such as 500ms, 30s, 5m or 26h, from %"
				      PRIu64 " ms to %" PRIu64 " s", r->min, r->max / 1000);
		if (r->kind == KIND_SECONDS)
			v /= 1000;
	}
	*target = v;
	o->max_delete_given |= r->offset == AT(max_delete);
	return 0;
}

static int set_enum(struct options *o, struct source from, const char *value)
{
	auto_buf struct buf known = BUF_INIT;

	for (const struct word *w = from.row->words; w->name != NULL; w++) {
		if (strcmp(w->name, value) == 0) {
			*(unsigned *)((char *)o + from.row->offset) = w->value;
			return 0;
		}
		buf_addf(&known, "%s%s", known.len > 0 ? ", " : "", w->name);
	}
	return refuse(from, value, "is none of: %s", known.data);
}

/* A flag in the environment has a value, on the command line it has none (NULL). */
static int set_flag(struct options *o, struct source from, const char *value)
{
	static const struct word words[] = {
		{ "1", true }, { "true", true }, { "yes", true }, { "on", true },
		{ "0", false }, { "false", false }, { "no", false }, { "off", false },
	};
	bool *target = (bool *)((char *)o + from.row->offset);

	if (value == NULL) {
		*target = true;
		return 0;
	}
	for (size_t i = 0; i < COUNT(words); i++)
		if (strcmp(words[i].name, value) == 0) {
			*target = words[i].value;
			return 0;
		}
	return refuse(from, value, "is none of: 1, true, yes, on, 0, false, no, off");
}

static int set_count(struct options *o, struct source from, const char *value)
{
	int *target = (int *)((char *)o + from.row->offset);
	uint64_t v;

	if (value == NULL) {
		*target += *target < (int)from.row->max;
		return 0;
	}
	if (parse_uint(&v, value, from.row->min, from.row->max) != 0)
		return refuse(from, value, "is no whole number from %" PRIu64 " to %" PRIu64,
			      from.row->min, from.row->max);
	*target = (int)v;
	return 0;
}

static int set(struct options *o, struct source from, const char *value)
{
	switch (from.row->kind) {
	case KIND_FLAG:
		return set_flag(o, from, value);
	case KIND_COUNT:
		return set_count(o, from, value);
	case KIND_STRING:
	case KIND_EMPTY_STRING:
	case KIND_FILE:
		return set_text(o, from, value);
	case KIND_LIST:
		return set_list(o, from, value);
	case KIND_NUMBER:
	case KIND_BYTES:
	case KIND_MS:
	case KIND_SECONDS:
		return set_number(o, from, value);
	case KIND_ENUM:
		return set_enum(o, from, value);
	case KIND_SET:
		*(unsigned *)((char *)o + from.row->offset) = (unsigned)from.row->max;
		break;
	case KIND_HELP:
	case KIND_VERSION:
		break;
	}
	return 0;
}

/* ---- the command line ---- */

struct given {			/* one option as it stood */
	const struct row *row;
	const char *value;
};

struct scan {			/* the command line, taken apart */
	struct given *given;
	size_t ngiven;
	char **words;		/* what is no option; owned array, borrowed words */
	int nwords;
	bool help, version;
};

static void make_getopt_tables(char letters[], struct option longs[])
{
	size_t n = 0, i;

	letters[n++] = '-';	/* words come in their order, as option 1 */
	letters[n++] = ':';	/* errors are told here */
	for (i = 0; i < COUNT(rows); i++) {
		if (rows[i].letter != 0) {
			letters[n++] = rows[i].letter;
			if (rows[i].value != NULL)
				letters[n++] = ':';
		}
		longs[i] = (struct option){ rows[i].name, rows[i].value != NULL, NULL,
					    (int)(256 + i) };
	}
	letters[n] = '\0';
	longs[i] = (struct option){ NULL, 0, NULL, 0 };
}

static const struct row *row_of(int c)
{
	if (c >= 256)
		return &rows[c - 256];
	for (size_t i = 0; i < COUNT(rows); i++)
		if (rows[i].letter == c)
			return &rows[i];
	return NULL;
}

/* The word of the command line that holds the option just read. */
static const char *typed_word(char **argv, const char *value)
{
	return value != NULL && value == argv[optind - 1] ? argv[optind - 2] : argv[optind - 1];
}

/* getopt_long takes any unique beginning for the whole name; a script that used one would break
 * when an option is added. */
static bool spelled_out(const char *word, const struct row *r)
{
	size_t n = strlen(r->name);

	return strncmp(word, "--", 2) == 0 && strncmp(word + 2, r->name, n) == 0 &&
	       (word[2 + n] == '\0' || word[2 + n] == '=');
}

static int unknown_option(const char *word)
{
	size_t n = strcspn(word, "=");

	for (size_t i = 0; i < COUNT(rows) && n > 2; i++)
		if (strncmp(rows[i].name, word + 2, n - 2) == 0) {
			if (rows[i].name[n - 2] == '\0')
				return log_err("option '--%s' takes no value", rows[i].name);
			return log_err("unknown option '%.*s'; options are spelled in full, such as '--%s'",
				       (int)n, word, rows[i].name);
		}
	return log_err("unknown option '%.*s'; 'linesync --help' lists all", (int)n, word);
}

static int bad_option(int c, char **argv)
{
	const char *word = argv[optind - 1];
	const struct row *r = optopt != 0 ? row_of(optopt) : NULL;

	if (c == ':' && r != NULL && (optopt < 256 || spelled_out(word, r)))
		return log_err("option '--%s' needs a value: %s", r->name, r->value);
	if (strncmp(word, "--", 2) == 0)
		return unknown_option(word);
	return log_err("unknown option '-%c'; 'linesync --help' lists all", optopt);
}

static int scan_option(struct scan *s, int c, char **argv)
{
	const struct row *r = row_of(c);

	if (c == '?' || c == ':')
		return bad_option(c, argv);
	if (c >= 256 && !spelled_out(typed_word(argv, optarg), r))
		return unknown_option(typed_word(argv, optarg));
	s->help |= r->kind == KIND_HELP;
	s->version |= r->kind == KIND_VERSION;
	s->given[s->ngiven++] = (struct given){ r, optarg };
	return 0;
}

static int scan(struct scan *s, int argc, char **argv)
{
	char letters[2 * COUNT(rows) + 3];
	struct option longs[COUNT(rows) + 1];
	int c;

	make_getopt_tables(letters, longs);
	/* a letter for each byte at most: -vvq are three options in one word */
	size_t most = 1;
	for (int i = 1; i < argc; i++)
		most += strlen(argv[i]) + 1;
	s->given = xcalloc(most, sizeof(*s->given));
	s->words = xcalloc((size_t)argc + 1, sizeof(*s->words));
	optind = 0;		/* begins anew, in the C libraries of Linux */
	opterr = 0;
	while (optopt = 0, (c = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
		if (c == 1)
			s->words[s->nwords++] = optarg;
		else if (scan_option(s, c, argv) != 0)
			return -1;
	}
	while (optind < argc)	/* after -- */
		s->words[s->nwords++] = argv[optind++];
	return 0;
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < COUNT(commands); i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

static int unknown_command(const char *name)
{
	auto_buf struct buf known = BUF_INIT;

	for (size_t i = 0; i < COUNT(commands); i++)
		buf_addf(&known, "%s%s", i > 0 ? ", " : "", commands[i].name);
	return log_err("unknown command '%s'; there are: %s", name, known.data);
}

static void defaults(struct options *o)
{
	memset(o, 0, sizeof(*o));
	o->root = ".";
	o->max_line = UINT64_C(8) << 20;
	o->max_content = 1000000;
	o->flush_ms = 1000;
	o->retry_wait_ms = 1000;
	o->retry_max_wait_ms = 60000;
	o->max_retries = 5;
	o->give_up_ms = 300000;
	o->late_ms = -1;
	o->chunk_lines = o->chunk_overlap = o->chunk_bytes = -1;
	o->max_failures = 10000;
	o->max_rounds = 10;
	o->grace_ms = 10000;
	o->limit = 10;
}

static bool is_given(const struct scan *s, const struct row *r)
{
	for (size_t i = 0; i < s->ngiven; i++)
		if (s->given[i].row->offset == r->offset)
			return true;
	return false;
}

/* What the environment says where the command line is silent.  An empty variable is none. */
static int apply_environment(struct options *o, const struct scan *s, unsigned command)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct row *r = &rows[i];
		const char *value = r->env != NULL ? getenv(r->env) : NULL;

		if (value == NULL || value[0] == '\0' || !(r->commands & command) || is_given(s, r))
			continue;
		if (set(o, (struct source){ r, true }, value) != 0)
			return -1;
	}
	return 0;
}

static int apply_given(struct options *o, const struct scan *s, const struct command *command)
{
	for (size_t i = 0; i < s->ngiven; i++) {
		const struct row *r = s->given[i].row;

		if (!(r->commands & command->bit))
			return log_err("'linesync %s' has no option '--%s'; 'linesync %s --help' lists "
				       "those it has", command->name, r->name, command->name);
		if (set(o, (struct source){ r, false }, s->given[i].value) != 0)
			return -1;
	}
	return 0;
}

void options_chunking(const struct options *o, struct chunking *c)
{
	if (o->chunk_lines >= 0)
		c->lines = (uint32_t)o->chunk_lines;
	if (o->chunk_overlap >= 0)
		c->overlap = (uint32_t)o->chunk_overlap;
	if (o->chunk_bytes >= 0)
		c->bytes = (uint32_t)o->chunk_bytes;
}

static int check_chunking(const struct options *o)
{
	struct chunking c = { 0 };
	autofree char *name = NULL;
	const char *fault;

	options_chunking(o, &c);
	fault = chunking_fault(&c);
	if (fault == NULL)
		return 0;
	name = chunking_name(&c);
	return log_err("%s: %s", fault, name);
}

/* What no single option shows. */
static int check(const struct options *o, const struct command *command)
{
	const char *fault;

	if (o->nargs > command->max_args)
		return log_err("'%s' is more than 'linesync %s' takes; 'linesync %s --help' shows what "
			       "it does", o->args[command->max_args], command->name, command->name);
	if (command->bit == SYNC && o->nul && o->format != FORMAT_PATHS && o->format != FORMAT_NAME_STATUS)
		return log_err("-z needs --input-format paths or name-status");
	if (o->summary + o->runs + o->failed + o->held + o->repos + (o->run != NULL) > 1)
		return log_err("--summary, --runs, --failed, --held, --repos and --run do not go together");
	if (command->bit == SKIP && (o->nargs > 0) == (o->path != NULL))
		return log_err("'linesync skip' takes either RUN:LINE, as 'linesync status --failed' shows "
			       "it, or --path PATH");
	if (command->bit == FORGET && (o->nargs > 0) == o->all)
		return log_err("'linesync forget' takes either the name of a repository or --all");
	if (command->bit == STATES && (o->nargs > 0) != o->remove)
		return log_err("'linesync states' lists them; 'linesync states --remove FILE...' removes some");
	if (command->bit == STATES && o->remove && o->json)
		return log_err("--json and --remove do not go together");
	if (command->bit == CHANGESET && o->touched != NULL && (o->nargs > 0 || o->dir != NULL))
		return log_err("--touched REPO goes with neither another REPO nor --dir");
	if (command->bit == CHANGESET && o->nul && o->touched == NULL)
		return log_err("-z needs --touched REPO");
	if (o->failed && o->documents)
		return log_err("--failed and --documents do not go together");
	if (command->bit == EXPORT && o->nul && !o->failed && !(o->documents && o->nargs > 0))
		return log_err("-z needs --failed, or --documents REPO");
	for (int i = 0; o->exclude != NULL && o->exclude[i] != NULL; i++)
		if ((fault = exclude_fault(o->exclude[i])) != NULL)
			return log_err("--exclude '%s' %s", o->exclude[i], fault);
	return check_chunking(o);
}

static int parse(struct options *o, struct scan *s, int argc, char **argv)
{
	const struct command *command = NULL;

	if (scan(s, argc, argv) != 0)
		return USAGE + 1;
	if (s->nwords > 0 && (command = find_command(s->words[0])) == NULL) {
		unknown_command(s->words[0]);
		return USAGE + 1;
	}
	if (s->help || s->version) {
		if (s->help)
			print_help(command);
		else
			print_version();
		return 1;
	}
	o->args = s->words;
	o->nargs = s->nwords;
	if (command != NULL) {
		o->nargs--;
		memmove(o->args, o->args + 1, ((size_t)o->nargs + 1) * sizeof(*o->args));
	} else {
		command = &commands[0];
	}
	s->words = NULL;
	o->command = command->name;
	if (apply_given(o, s, command) != 0 || apply_environment(o, s, command->bit) != 0 ||
	    check(o, command) != 0)
		return USAGE + 1;
	return 0;
}

int options_parse(struct options *o, int argc, char **argv)
{
	struct scan s = { 0 };
	int result;

	defaults(o);
	result = parse(o, &s, argc, argv);
	free(s.given);
	free(s.words);
	return result;
}

static void list_free(const char **list)
{
	for (size_t i = 0; list != NULL && list[i] != NULL; i++)
		free((char *)list[i]);
	free(list);
}

void options_release(struct options *o)
{
	list_free(o->exclude);
	list_free(o->store_header_files);
	list_free(o->embed_header_files);
	free(o->args);
	memset(o, 0, sizeof(*o));
}
