/* lang: language and media type by file name.  Pure. */
#ifndef LINESYNC_LANG_H
#define LINESYNC_LANG_H

/* "Python", "C", "Shell" ... by extension or whole name (Makefile, Dockerfile), case-insensitive in
 * the extension; NULL if unknown.  Static. */
const char *lang_name(const char *path);
const char *lang_mime(const char *path);	/* "text/x-python" ...; NULL if unknown */

#endif
