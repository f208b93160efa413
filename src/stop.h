/* stop: INT, TERM and HUP ask for an orderly end; a second one ends at once.  USR1 asks for a line
 * of progress.  SIGPIPE is ignored: EPIPE says it. */
#ifndef LINESYNC_STOP_H
#define LINESYNC_STOP_H

#include <stdbool.h>

/* Installs the handlers (SA_RESTART unset) over a self-pipe.  0, or -1 with the reason logged. */
int stop_init(void);
int stop_fd(void);		/* readable when a signal came: poll it, then stop_take() */
void stop_take(void);		/* empties the pipe */
int stop_signal(void);		/* the first of INT, TERM, HUP that came, or 0 */
bool stop_usr1(void);		/* true once per SIGUSR1 */
/* Restores the default action and dies by sig; does not return. */
void stop_die(int sig) __attribute__((noreturn));

#endif
