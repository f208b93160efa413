/* options: what the user asked for: command line, then LINESYNC_* variables, then defaults. */
#ifndef LINESYNC_OPTIONS_H
#define LINESYNC_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "change.h"
#include "chunk.h"

enum results_kind { RESULTS_ALL, RESULTS_PROBLEMS, RESULTS_NONE };
enum progress_kind { PROGRESS_AUTO, PROGRESS_ALWAYS, PROGRESS_NEVER };

struct options {
	const char *command;		/* "sync", "status" ...; static */
	char **args;			/* words after the command; owned array of words borrowed from
					 * argv, NULL-terminated */
	int nargs;

	/* where */
	const char *store;		/* --store; NULL: WCD_URL, WEAVIATE_URL, or an error */
	const char *collection;		/* --collection */
	const char *state;		/* --state FILE, or NULL */
	const char *state_dir;		/* --state-dir, or NULL */
	const char *api_key_file;	/* --api-key-file */
	const char **store_header_files;	/* --store-header-file, repeatable; as exclude */
	const char **embed_header_files;	/* --embed-header-file: the same */
	const char *cacert;		/* --cacert */
	bool insecure_http, no_create;

	/* reading */
	enum input_format format;	/* --input-format */
	bool nul;			/* -z */
	const char *repo;		/* --repo */
	const char *namespace;		/* --namespace */
	const char *root;		/* --root, default "." */
	bool uncommitted;		/* --uncommitted */
	const char **exclude;		/* --exclude, repeatable; NULL-terminated, owned; or NULL */
	uint64_t max_line;		/* 8 MiB */
	uint64_t max_content;		/* 1 MB = 1,000,000 */
	uint64_t total;			/* --total lines expected; 0: unknown */

	/* what is stored */
	const char *embed;		/* --embed: "hash", "hash:N", "store", a URL; NULL: not named */
	const char *embed_model;	/* --embed-model; the embed_* below: NULL or 0: not named */
	const char *embed_prefix;	/* --embed-prefix; may be "" */
	const char *embed_query_model, *embed_query_prefix;
	const char *embed_key_file;
	bool embed_path;		/* --embed-path */
	uint64_t embed_batch_size, embed_batch_bytes, embed_connections;	/* 0: the driver's */
	uint64_t embed_timeout_ms;						/* 0: the driver's */
	int64_t chunk_lines, chunk_overlap, chunk_bytes;	/* --chunk-*; -1: not named */

	/* how */
	uint64_t batch_size, batch_bytes, connections;	/* 0: the driver's */
	uint64_t flush_ms;		/* 1000 */
	uint64_t timeout_ms;		/* 0: the driver's */
	uint64_t retry_wait_ms, retry_max_wait_ms;	/* 1 s, 60 s */
	uint64_t max_retries;		/* 5 */
	uint64_t give_up_ms;		/* 5 min */
	int64_t late_ms;		/* --late; -1: the driver's */
	uint64_t max_failures;		/* 10,000 */
	uint64_t max_rounds;		/* 10 */
	bool max_delete_given;
	uint64_t max_delete;		/* documents; default half of them */
	uint64_t rate;			/* objects per second; 0: no limit */
	uint64_t grace_ms;		/* 10 s */
	uint64_t wait_lock_ms;		/* --wait-lock SECONDS */
	bool no_retry, force, dry_run, new_run;

	/* what is shown */
	enum results_kind results;	/* --results; -q is problems */
	enum progress_kind progress;
	int verbose;

	/* status, changeset, skip, forget, export, search, check, states */
	bool summary, runs, failed, held, repos, json;
	const char *run;		/* --run ID */
	uint64_t max_age_s;		/* --max-age; 0: not asked */
	const char *touched;		/* --touched REPO */
	const char *dir;		/* --dir */
	bool whole;			/* changeset --whole */
	const char *path;		/* skip --path */
	bool all;			/* forget --all */
	bool delete_objects;		/* forget --delete */
	bool documents;			/* export --documents */
	uint64_t limit;			/* search -n */
	bool remove;			/* states --remove */
};

/* Parses argv into *o.  Returns 0; or an exit status plus one (so that 0 stays "go on"): 1 after
 * --help or --version were printed, 65 (64 + 1) after a usage error was explained.  Strings are
 * borrowed from argv and the environment.  Call options_release() in each case. */
int options_parse(struct options *o, int argc, char **argv);
void options_release(struct options *o);

/* Puts what the user named of the chunking into *c, and leaves the rest as it is: what the state or
 * the embedder says.  The two together can be faulty, see chunking_fault(); each alone is not. */
void options_chunking(const struct options *o, struct chunking *c);

/* For a sync whose standard input is a terminal. */
void options_short_help(FILE *f);

/* Option i, from 0, as the table has it; false past the last.  For tests. */
struct option_info {
	const char *name;	/* static; without the dashes */
	char letter;		/* 0: none */
	const char *env;	/* static; NULL: none */
	bool takes_value;
};
bool options_info(size_t i, struct option_info *info);

#endif
