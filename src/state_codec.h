/* state_codec: the records of the state file, struct to bytes and back.  Pure.
 *
 * Numbers are varints (7 bits a byte, low first) unless said otherwise; text is a varint length and
 * its bytes.  linesync-state(5) has the tables; STATE_LAYOUT is raised when one of them changes.
 *
 * Keys of the ordered map, by their first byte:
 *   'c' repo                      what is known of a repository    struct repo_state
 *   'd' repo NUL path             what the store holds             struct doc_state
 *   'f' repo NUL path             its last line failed             struct failure
 *   'g' repo NUL run ordinal      a failed line without document   struct failure
 *   'h' digest run ordinal        the 'u' record there is of a line with this digest; 8 bytes
 *   'm' repo NUL path             may be under way                 struct mark
 *   'o' run ordinal half          order of failures: value is the key of the 'f' record
 *   'u' run ordinal               a failed line of no known repository: struct failure
 * run and ordinal are 4 bytes, big endian; repo holds no NUL. */
#ifndef LINESYNC_STATE_CODEC_H
#define LINESYNC_STATE_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "change.h"
#include "codes.h"
#include "object.h"

#define STATE_LAYOUT 2		/* since 2 a state has its head from birth; 1 is still read */
#define STATE_MAGIC "linesync state\n"

/* A line's place: its run and, in it, its number among the lines that ask for something (blank lines
 * and producers' messages take no part).  Compared by run, then by ordinal. */
struct place_in_run {
	uint32_t run, ord;
};

struct identity {		/* who the state belongs to; KIND_IDENTITY */
	uint32_t layout;	/* as it was read; written is always STATE_LAYOUT */
	char *store;		/* canonical */
	char *collection;
};

struct head {			/* KIND_HEAD; changed by every commit */
	uint64_t generation;	/* commits so far: a reader looks whether it changed meanwhile */
	uint32_t root, next_page;
	uint32_t next_run;	/* the number that the next run gets, from 1 */
	uint64_t present;	/* documents that the store is known to hold */
	uint64_t marks;		/* 'm' records */
	uint64_t payload_bytes;	/* in KIND_PAYLOAD records */
	bool collection_read;	/* what the collection held before this state is recorded */
	char *collection_id;	/* the store's own id of it, "" if none */
	char *embedder;		/* "hash-1:1024"; "" until the first object decides */
	uint32_t dimension;	/* 0 until then, and where the store embeds */
	char *embed_how;	/* JSON: what embedder.c keeps beside the name; "" until then */
	uint64_t old_runs;	/* dropped ones: how many, and what they did */
	uint64_t old_counts[8];	/* by enum status */
	uint64_t old_objects, old_requests;
	uint32_t whole_run;	/* the last run that had a line and read its input to the end, 0 */
	char *exclude;		/* --exclude that the documents were last brought to match: excludes_text(),
				 * or EXCLUDE_UNKNOWN */
	bool exclude_open;	/* that, or documents found in the collection, is not done yet */
};
#define EXCLUDE_UNKNOWN "?"	/* of a state that is older than the field */

enum doc_flags {
	DOC_PRESENT = 1,	/* the store holds chunks objects of it */
	DOC_ABSENT = 2,		/* the store is known to hold nothing of it */
	DOC_KNOWN = 4,		/* present with this digest; else listed, contents unknown */
	DOC_UNCOMMITTED = 8,	/* its text is in no commit yet, or may be newer than its listing */
	DOC_LOOSE = 16,		/* last finished by a retry: no record has closed that */
	DOC_SAME = 32,		/* as it was at the position: the lines since then found it unchanged */
	DOC_EXCLUDED = 64	/* absent because --exclude named it */
};

struct doc_state {
	uint8_t flags;
	uint8_t digest[SYNC_DIGEST_SIZE];	/* stored only with DOC_KNOWN */
	uint32_t chunks;
	struct place_in_run last;	/* the line that last finished it; 0:0 if none did */
};

enum mark_flags {
	MARK_SETTLED = 1,	/* a line has settled the document since: the mark only delays */
	MARK_DELETE = 2,	/* what is under way is a delete; digest is not used */
	MARK_DOUBT = 4		/* in doubt, whatever becomes of the attempt under way: see state.h */
};

struct mark {
	uint8_t flags;
	uint8_t digest[SYNC_DIGEST_SIZE];
	uint32_t chunks;		/* the most that may stand */
	uint32_t count;			/* chunks of the version under way; 0 for a delete */
	struct place_in_run line;	/* whose content it is */
	int64_t since_s;		/* wall clock, for people */
	bool uncommitted;
};

enum { HALF_NEW = 1, HALF_OLD = 2 };	/* of a rename; a plain change is HALF_NEW */

struct failure {
	struct place_in_run line;
	struct place_in_run hold;	/* its own, or the earliest of a line whose place it took: of one
				 * that it superseded, of an older failure of the document.  Records
				 * after that are held back */
	uint64_t number;	/* its physical line, as results name it */
	uint8_t op;		/* enum change_op of the whole line */
	uint8_t half;
	uint16_t code;		/* enum error_code */
	uint16_t http;
	uint32_t retries;	/* runs that have tried it again */
	int64_t first_s, last_s;
	uint32_t payload;	/* bytes kept in KIND_PAYLOAD, 0: feed it again */
	uint8_t format;		/* enum input_format, | 0x80 for -z */
	char *repo, *path;	/* as shown; path "" where there is none */
	char *message;
	char *root, *folder;	/* where its file was looked for; "" if nowhere */
	char *default_repo, *namespace;	/* --repo and --namespace then */
	bool default_uncommitted;	/* --uncommitted then; older states know of none */
	uint64_t digest;	/* of the line, where its repository is not known; 0: not kept */
};

enum held_why { HELD_LINES = 1, HELD_NOT_FROM_HERE, HELD_TOO_MANY_DELETES, HELD_INCOMPLETE };
const char *held_name(enum held_why w);	/* "lines", ... "incomplete" */

struct tail {			/* lines of a run that no record closed: from <= ord, ord <= to */
	uint32_t run, from, to;
};
#define REPO_TAILS 16

struct repo_state {
	char *commit;			/* the position; "" if none */
	char *changeset;		/* its record, JSON */
	struct place_in_run position;	/* line of that record */
	int64_t position_s;
	char *held_commit;		/* newest held record; "" if none */
	char *held_since;		/* its since, "" if none */
	char *held_changeset;
	struct place_in_run held;
	uint64_t held_number;		/* physical line */
	uint8_t held_why;
	uint32_t held_waiting;
	uint32_t run;			/* the last run with a line of this repository */
	uint32_t block;			/* ordinal of its last record that closed a block, 0: none */
	uint32_t last_ord;		/* its highest ordinal that finished a document */
	struct tail tails[REPO_TAILS];
	uint8_t ntails;
	uint64_t failed;		/* 'f' and 'g' records */
	uint64_t doubts;		/* marks with MARK_DOUBT */
	uint64_t present;		/* documents that the store holds */
	uint64_t loose;			/* documents with DOC_LOOSE or DOC_UNCOMMITTED */
	uint32_t unknown_run;		/* run whose failed lines of unknown repository hold it, 0 */
	bool whole, held_whole;		/* spec invariant I3, of the position and of the held record's;
					 * older states do not say: as told */
	uint32_t unknown_ord;		/* of that run's lines those below hold it: its record's ordinal there */
};

enum run_status { RUN_RUNNING = 1, RUN_INTERRUPTED, RUN_COMPLETED, RUN_FAILED };
const char *run_status_name(enum run_status s);

struct ancestor {		/* lines below cut of an earlier run are this run's own */
	uint32_t run, cut;
};
#define RUN_ANCESTORS 16

struct run_state {
	uint32_t number;
	char *id;			/* "20261120T224219Z-1234-9f3c" */
	uint8_t status;
	int64_t start_s, update_s, end_s;
	int64_t start_file_ns;	/* clock_file_ns() when it began: files changed later are newer than listed */
	uint32_t pid;
	char *host, *source;
	char *settings;			/* reading settings, as text: equal text resumes */
	uint32_t lines_owner;		/* KIND_LINES are kept under this run's number */
	uint32_t lines;			/* highest ordinal recorded */
	struct ancestor ancestors[RUN_ANCESTORS];
	uint8_t nancestors;
	uint64_t counts[8];		/* results by enum status */
	uint64_t unchanged;		/* of the skipped ones */
	uint64_t ops[8];		/* by enum change_op */
	uint64_t objects, deletes, bytes, requests, retried;
	uint64_t input_bytes, input_size;	/* read so far; 0: unknown */
	uint32_t unknown_failures;	/* 'u' records of this run */
	uint32_t unknown_holding;	/* repositories that they hold */
	uint32_t unknown_top;		/* those of its own lines below this hold at least one; 0: none does */
	bool good;			/* its sync exits 0, as far as it has come; or what was not so was accepted */
	uint64_t stored, removed;	/* documents; older states do not say */
	int64_t part_s;			/* since when its present part is at work: start_s, until it is continued */
	int64_t before_s;		/* seconds that the parts before that took */
};

void identity_encode(struct buf *b, const struct identity *v);
int identity_decode(struct identity *v, const uint8_t *p, size_t n);	/* 0; -1 malformed; 1 newer layout */
void identity_release(struct identity *v);

/* Each decode starts from a zeroed *v, copies what it keeps, checks every length and returns 0, or
 * -1 with *v released.  Each release is safe on a zeroed struct. */
void head_encode(struct buf *b, const struct head *v);
int head_decode(struct head *v, const uint8_t *p, size_t n);
void head_release(struct head *v);
void doc_encode(struct buf *b, const struct doc_state *v);
int doc_decode(struct doc_state *v, const uint8_t *p, size_t n);
void mark_encode(struct buf *b, const struct mark *v);
int mark_decode(struct mark *v, const uint8_t *p, size_t n);
void failure_encode(struct buf *b, const struct failure *v);
int failure_decode(struct failure *v, const uint8_t *p, size_t n);
void failure_release(struct failure *v);
void repo_encode(struct buf *b, const struct repo_state *v);
int repo_decode(struct repo_state *v, const uint8_t *p, size_t n);
void repo_release(struct repo_state *v);
void run_encode(struct buf *b, const struct run_state *v);
int run_decode(struct run_state *v, const uint8_t *p, size_t n);
void run_release(struct run_state *v);

/* Keys, appended after a reset. */
void key_repo(struct buf *b, const char *repo);
void key_doc(struct buf *b, char kind, const char *repo, const char *path);	/* 'd', 'f', 'm' */
void key_repo_line(struct buf *b, const char *repo, struct place_in_run line);	/* 'g' */
void key_line(struct buf *b, char kind, struct place_in_run line);		/* 'u', or a prefix of 'o' */
void key_digest(struct buf *b, uint64_t digest, struct place_in_run line);	/* 'h' */
void key_run(struct buf *b, uint32_t run);					/* 'r' */
/* Splits a 'd', 'f' or 'm' key: 0, or -1 if it is malformed.  *repo and *path are owned. */
int key_split(const void *key, size_t n, char **repo, char **path);
struct place_in_run key_place(const void *p);	/* 8 bytes of run and ordinal */
uint32_t key_number(const void *p);		/* 4 of a run */

/* a before b: -1, 0, 1. */
int place_compare(struct place_in_run a, struct place_in_run b);

#endif
