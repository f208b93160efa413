#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "log.h"
#include "text.h"
#include "unknown.h"

#define NAME_MAX_BYTES 64

/* False: it was named before, or there are too many. */
static bool add(struct unknown *u, const struct span *name)
{
	auto_buf struct buf text = BUF_INIT;

	if (u->n == UNKNOWN_MAX)
		return false;
	text_printable(&text, name->p, name->n, NAME_MAX_BYTES);
	if (text.len == 0)
		buf_adds(&text, "");
	for (size_t i = 0; i < u->n; i++)
		if (strcmp(u->names[i], text.data) == 0)
			return false;
	u->names[u->n++] = buf_detach(&text);
	return true;
}

void unknown_tell(struct unknown *u, const struct change *c, uint64_t line)
{
	auto_buf struct buf list = BUF_INIT;

	for (size_t i = 0; i < c->nunknown; i++)
		if (add(u, &c->unknown[i]))
			buf_addf(&list, "%s'%s'", list.len > 0 ? ", " : "", u->names[u->n - 1]);
	if (list.len > 0)
		log_note("line %llu: no change has these fields, they are ignored: %s%s",
			 (unsigned long long)line, list.data,
			 u->n == UNKNOWN_MAX ? "; no more of them are named" : "");
}

void unknown_release(struct unknown *u)
{
	for (size_t i = 0; i < u->n; i++)
		free(u->names[i]);
	u->n = 0;
}
