/* log: one line a message on standard error, "linesync: error: what failed".
 *
 * Word it: what failed first, lower case, subject in single quotes, no full stop, and what to do
 * next after a semicolon where there is something to do.  What a terminal might act on (text.h) is printed
 * as \xNN, so that nothing from outside reaches it raw.
 * While a progress bar is drawn (log_bar_hook), it is cleared before a message. */
#ifndef LINESYNC_LOG_H
#define LINESYNC_LOG_H

#include "buf.h"

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

/* Messages above this level are dropped; LOG_WARNING at start, -v makes it LOG_INFO, -vv DEBUG. */
void log_set_level(enum log_level level);

/* Called before each line is written, to clear what stands on the terminal line; NULL for none. */
void log_bar_hook(void (*clear)(void));

/* From now on errors, warnings and notes are appended to *to, with "; " between and as they are, instead
 * of being written: for a command that reports them in its own way.  NULL: written again. */
void log_divert(struct buf *to);

/* Returns -1, so that a caller can return it. */
int log_err(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A line without level word, whatever the level: summaries and answers for a person. */
void log_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
