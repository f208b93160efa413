/* scratch: a state in a folder of its own, for the tests that need one. */
#ifndef LINESYNC_SCRATCH_H
#define LINESYNC_SCRATCH_H

#include <stdio.h>
#include <unistd.h>

/* Removes the state at path, its lock, and dir, which then is empty. */
static inline void scratch_remove(const char *dir, const char *path)
{
	char lock[128];

	unlink(path);
	snprintf(lock, sizeof(lock), "%s.lock", path);
	unlink(lock);
	rmdir(dir);
}

#endif
