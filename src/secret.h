/* secret: keys and headers from files and the environment, never from options.  What is found is known from
 * then on as what no text may repeat (blank.h). */
#ifndef LINESYNC_SECRET_H
#define LINESYNC_SECRET_H

/* Finds a key, in this order: file (refused if others can read or write it, or over 4 KiB, or with
 * control characters; one trailing newline dropped), $CREDENTIALS_DIRECTORY/credential, then each of
 * the environment variables in names (NULL-terminated).  *out is owned by the caller, NULL if there
 * is none.  Returns 0, or -1 with the reason logged. */
int secret_find(char **out, const char *file, const char *credential, const char *const *names);
void secret_free(char *s);	/* wipes, then frees; NULL is fine */

/* Appends the headers of a file to *list, NULL-terminated and owned, NULL at first: lines "Name: value",
 * blank ones aside.  file NULL: of $CREDENTIALS_DIRECTORY/credential, if there is that.  A file is refused
 * as a key's is, and if it is over 16 KiB, and so is a header that linesync sets itself, or that is own
 * ("Authorization: "; NULL: none), which carries a key of its own.  Returns 0, or -1 with the reason
 * logged; no value is ever shown. */
int secret_headers(char ***list, const char *file, const char *credential, const char *own);
void secret_headers_free(char **list);	/* wipes; NULL is fine */

#endif
