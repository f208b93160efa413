/* statefile: one TDB file of checksummed values, and a cache over it; the only includer of tdb.h.
 *
 * A value is named by its kind and two numbers.  Changes gather in memory; statefile_commit() makes
 * all of them durable at once, or ends the process.  Rules that TDB's sharp edges make necessary:
 *  1. A commit counts only if it returned 0 and TDB logged no error during it: its last step can
 *     fail in silence and be rolled back by the next transaction.
 *  2. After a failed commit nothing is written or closed, only _exit(74): closing would make a half
 *     done commit permanent; leaving lets the next opener roll it back.
 *  3. A file is made under another name, what it must hold from birth committed and synced, and then
 *     linked to its own name; it is opened without O_CREAT, because TDB overwrites whatever is not a
 *     TDB.  A name that may not be on disk is not used.
 *  4. Each value carries a checksum over key and value: tdb_check is no judge of damage.
 *  5. NOMMAP: a mapped file that someone truncates kills the process by SIGBUS.
 *  6. A file that must grow does so by being rewritten into a fresh one with free space in it, which
 *     takes the old one's name: TDB grows a file by a quarter in one transaction, and holds all of
 *     that in memory (measured: 25 MB at a file of 100 MB).
 *  7. Where TDB cannot read or hold a key it says "no such record": that is believed only if it logged
 *     nothing.  Damage is what was read and is wrong; memory that is short ends the process with 71,
 *     any other errno with 74 and what to do about it. */
#ifndef LINESYNC_STATEFILE_H
#define LINESYNC_STATEFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct statefile;

enum statefile_kind {		/* first byte of a TDB key; then the two numbers, big endian */
	KIND_IDENTITY = 'I',	/* 0, 0 */
	KIND_HEAD = 'H',	/* 0, 0 */
	KIND_PAGE = 'P',	/* page number, 0: the ordered map, see tree.h */
	KIND_RUN = 'R',		/* run number, 0 */
	KIND_LINES = 'L',	/* number of the lines' owner, chunk */
	KIND_PAYLOAD = 'F',	/* run, ordinal: a failed line as it came */
	KIND_ROOM = 'S'		/* 0, 0: free bytes in the file, about (8 bytes, big endian), and 1 if it is
				 * full, else 0; rule 6 */
};

enum statefile_open {
	STATEFILE_OK,
	STATEFILE_ABSENT,
	STATEFILE_REFUSED,	/* not ours, damaged, no permission: the reason is logged */
	STATEFILE_BUSY		/* reader: waited in vain for a commit's end, which is logged */
};

/* A state that is in memory alone until statefile_create(), or the first commit, which ends the process
 * with 73 where that cannot be done: what is put into it is what the file will hold
 * from birth. */
struct statefile *statefile_new(const char *path);

/* Makes the file of such a state, with all that was put into it.  The caller holds the lock.  Returns 0,
 * or -1 with the reason logged and no file left; an existing file at path is never touched. */
int statefile_create(struct statefile *f);

/* Syncs the folder that path is in: 0, or -1 with the reason logged, and then the name is not to be
 * used. */
int statefile_sync_name(const char *path);

/* Opens path.  A writer must hold the lock.  A reader (write false) keeps no lock between calls and
 * sees the newest commit after statefile_refresh(); a commit that is under way it waits for, up to
 * STATEFILE_WAIT_MS in each call. */
#define STATEFILE_WAIT_MS 5000
enum statefile_open statefile_open(struct statefile **f, const char *path, bool write);

/* Closes; uncommitted changes are lost.  NULL is fine. */
void statefile_close(struct statefile *f);

/* The value, or NULL if there is none (*n is 0 then); whoever knows that there must be one calls
 * statefile_damaged().  Borrowed until the value is changed or the next statefile_commit(),
 * statefile_trim() or statefile_refresh().  A value that fails its checksum, or cannot be read, ends
 * a writer's process (rule 7); a reader is given nothing, then and from then on. */
const uint8_t *statefile_get(struct statefile *f, enum statefile_kind kind, uint32_t a, uint32_t b,
			     size_t *n);

/* Replaces or removes a value, in memory.  Copies p. */
void statefile_put(struct statefile *f, enum statefile_kind kind, uint32_t a, uint32_t b,
		   const void *p, size_t n);
void statefile_del(struct statefile *f, enum statefile_kind kind, uint32_t a, uint32_t b);

/* Like statefile_get, for changing n bytes (or fewer) in place; counts as changed. */
uint8_t *statefile_edit(struct statefile *f, enum statefile_kind kind, uint32_t a, uint32_t b,
			size_t *n);

/* True if it holds nothing but an identity. */
bool statefile_is_empty(struct statefile *f);

size_t statefile_dirty(const struct statefile *f);	/* bytes that wait for a commit */

/* All changes since the last commit, durable.  Returns only if they are, and if the file is still the one
 * that this process last committed, with the head that it then left: who removed the lock has let others
 * in. */
void statefile_commit(struct statefile *f);

/* True once the last commits found no room for more than settles what is under way; what then goes beyond
 * the limit (3.5 GB) ends the process with 74. */
bool statefile_full(const struct statefile *f);

/* Drops the oldest unchanged values from memory down to the cache's limit (2 MiB). */
void statefile_trim(struct statefile *f);

/* Reader: drops everything held, so that the next get sees the newest commit, also where that is in a file
 * which has taken the old one's name since (rule 6).  True if it has.  A name that is gone takes nothing
 * away: what was committed before is still there. */
bool statefile_refresh(struct statefile *f);

/* Reader: the same for one value. */
void statefile_refresh_value(struct statefile *f, enum statefile_kind kind, uint32_t a, uint32_t b);

uint64_t statefile_commits(const struct statefile *f);	/* since it was opened */

/* What was read is wrong, or what must be there is not; what is a few words.  Ends a writer's process with
 * status 74.  A reader's gets give nothing from then on. */
void statefile_damaged(struct statefile *f, const char *what);

/* Reader: 0, or the status to end with, because something could not be read, which is logged: 74, or 75
 * where a commit does not end.  What was given before is as it was. */
int statefile_failed(const struct statefile *f);

#endif
