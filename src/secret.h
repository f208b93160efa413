/* secret: keys from files and the environment, never from options. */
#ifndef LINESYNC_SECRET_H
#define LINESYNC_SECRET_H

/* Finds a key, in this order: file (refused if others can read or write it, or over 4 KiB, or with
 * control characters; one trailing newline dropped), $CREDENTIALS_DIRECTORY/credential, then each of
 * the environment variables in names (NULL-terminated).  *out is owned by the caller, NULL if there
 * is none.  Returns 0, or -1 with the reason logged. */
int secret_find(char **out, const char *file, const char *credential, const char *const *names);
void secret_free(char *s);	/* wipes, then frees; NULL is fine */

#endif
