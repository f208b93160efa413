/* lock: one writer per state file, by a lock file of its own beside it.
 *
 * fcntl locks: gone when their process is, and a reader can ask who holds one without taking it. */
#ifndef LINESYNC_LOCK_H
#define LINESYNC_LOCK_H

#include <stdbool.h>
#include <stdint.h>

/* Takes the lock at path (made 0600 if missing; a symbolic link is refused), waiting up to wait_ms.
 * Writes pid, host and time into it.  Returns a descriptor to keep open (closing any other descriptor
 * of the file in this process would drop the lock), -1 with the reason logged if it cannot be made,
 * or -2 with the holder logged if another process has it. */
int lock_take(const char *path, int64_t wait_ms);

/* 1 if another process holds it, and *holder (owned) says who; 0 if nobody does, or there is no such
 * file; -1 with the reason logged if that cannot be told. */
int lock_held(const char *path, char **holder);

/* Removes the file of a lock that this process holds and is about to let go. */
void lock_remove(int fd, const char *path);

/* Logs that this holder (NULL: it is not known) keeps others out. */
void lock_tell(const char *holder);

#endif
