/* stop: INT, TERM and HUP ask for an orderly end; a second one ends at once.  USR1 asks for a line
 * of progress.  SIGPIPE and SIGXFSZ are ignored: EPIPE and EFBIG say it. */
#ifndef LINESYNC_STOP_H
#define LINESYNC_STOP_H

#include <stdbool.h>

/* Installs the handlers (SA_RESTART unset) over two pipes.  0, or -1 with the reason logged. */
int stop_init(void);
int stop_fd(void);		/* readable for good once INT, TERM or HUP came; -1 before stop_init() */
int stop_signal(void);		/* the first of them that came, or 0 */
int stop_usr1_fd(void);		/* readable when USR1 came, until stop_usr1(); -1 before stop_init() */
bool stop_usr1(void);		/* whether USR1 came since the last call */
/* Restores the default action and dies by sig; does not return. */
void stop_die(int sig) __attribute__((noreturn));

#endif
