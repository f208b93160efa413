/* roots_p: what content.c sees of roots.c: where a line's files are, and what stands there. */
#ifndef LINESYNC_ROOTS_P_H
#define LINESYNC_ROOTS_P_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "roots.h"

struct root {
	char *path;		/* owned; absolute, no symbolic link in it, "/" only for the root */
	char *given;		/* owned; absolute as --root spells it */
	int fd;			/* -1: cannot be opened, err says why */
	int err;
	int has_git;		/* -1: that could not be seen, it is looked again */
	struct root *next;
};

/* Where the documents of a repository are. */
struct place {
	char *repo;		/* owned */
	struct root *root;
	char *folder;		/* owned; below root, "" is the root itself; NULL: there is none */
	bool linked;		/* folder is NULL because a symbolic link stands in its place */
	int err;		/* folder is NULL because looking for it failed: nothing was chosen */
};

/* For the folder of a failed line, where looking for it failed: a retry chooses it. */
#define FOLDER_UNSEEN "."

enum found {
	FOUND_FILE,
	FOUND_NOTHING,
	FOUND_LINK,		/* the last part is a symbolic link */
	FOUND_LINK_ABOVE,	/* a part before the last is */
	FOUND_FOLDER,
	FOUND_SUBMODULE,	/* a folder that holds .git or nothing */
	FOUND_TOO_LARGE,
	FOUND_SPECIAL,		/* FIFO, socket, device */
	FOUND_ERROR		/* errno in err */
};

struct file {
	enum found found;
	int err;
	char *text;		/* owned; FOUND_FILE */
	size_t len;
	int64_t ctime_ns;	/* of what was found, 0: not looked at */
	bool unsteady;		/* it changed while it was read, twice */
};

/* ---- paths, by the letter: no link is looked at ---- */

enum path_kind { PATH_FINE, PATH_NOTHING, PATH_ABOVE };

/* Removes "//", "." and "..".  *folder: the path ends like a folder's.  A leading '/' goes too: the caller
 * knows whether there was one. */
enum path_kind path_normalise(char *path, bool *folder);
/* What follows folder in path, both normalised without a leading '/'; NULL if path is not below. */
const char *path_below(const char *path, const char *folder);
/* The same of a root, by either of its names. */
const char *root_below(const char *path, const struct root *root);
/* A repository's name as a path below ROOT: "a/../.." would leave it. */
bool path_is_plain(const char *name);

/* ---- where a repository is ---- */

const struct content_options *roots_options(const struct roots *r);
/* What was chosen for repo (spec section 2, Files), once, and is kept, see ROOTS_KEPT; or as roots_preset()
 * said.  Where it could not be seen, the next line looks again.  Borrowed until the next call for another
 * repository, or the next roots_preset(). */
struct place *roots_place(struct roots *r, const char *repo);
/* The repository's name without the namespace: a part of repo. */
const char *roots_name(const struct roots *r, const char *repo);
void roots_forget_preset(struct roots *r);	/* if there is one */

/* ---- what stands there ---- */

/* Whether an error of a look-up says that nothing is there.  All others say that it could not be seen:
 * whoever took them for an absence would choose another folder, or believe that a file was deleted. */
bool file_is_absent(int err);
/* Reads folder/path below root: *f is filled in, its text is the caller's where found is FOUND_FILE.  A file
 * that changed while it was read could be half old, half new: it is read once more. */
void file_read(struct roots *r, const struct root *root, const char *folder, const char *path, struct file *f);
/* The same in the place of a repository. */
void place_read(struct roots *r, const struct place *p, const char *path, struct file *f);
/* What stands at path, without opening it; folders are not told from submodules.  FOUND_ERROR: *err. */
enum found place_look(struct roots *r, const struct place *p, const char *path, int *err);

#endif
