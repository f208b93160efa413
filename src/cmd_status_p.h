/* cmd_status_p: the lists of `linesync status`. */
#ifndef LINESYNC_CMD_STATUS_P_H
#define LINESYNC_CMD_STATUS_P_H

#include "buf.h"
#include "show_state.h"

/* As text (json NULL), or a JSON array appended to *json, which may be printed and emptied on the way. */
void status_list_failed(struct look *l, struct buf *json);
void status_list_held(struct look *l, struct buf *json);
void status_list_repos(struct look *l, struct buf *json);

#endif
