/* patience: a bounded wait in a library that waits without an end of its own.
 *
 * From patience_begin() on, SIGALRM interrupts what the process waits in (EINTR) once ms have passed, and
 * then again and again, so that none that comes between two waits is lost.  Not for waits within each
 * other, nor beside another use of SIGALRM. */
#ifndef LINESYNC_PATIENCE_H
#define LINESYNC_PATIENCE_H

#include <signal.h>
#include <stdint.h>

/* Not 0: the time that the last patience_begin() gave is over.  Only to be read. */
extern volatile sig_atomic_t patience_over;

void patience_begin(int64_t ms);
void patience_end(void);	/* leaves errno and patience_over as they are */

#endif
