#include <string.h>

#include "driver.h"

static const struct driver *const drivers[] = {
	&drv_chroma,
	&drv_weaviate,
	NULL
};

const struct driver *const *driver_all(void)
{
	return drivers;
}

const struct driver *driver_find(const char *name)
{
	for (const struct driver *const *d = drivers; *d; d++)
		if (!strcmp((*d)->name, name))
			return *d;
	return NULL;
}
