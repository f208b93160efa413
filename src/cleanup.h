/* cleanup: locals that free themselves when their scope ends.  To hand one over, set it to NULL. */
#ifndef LINESYNC_CLEANUP_H
#define LINESYNC_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

#define autofree __attribute__((cleanup(cleanup_free)))
#define autofd __attribute__((cleanup(cleanup_fd)))

#endif
