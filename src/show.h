/* show: tables, names and numbers for people, on standard output.  Texts from outside pass through
 * text_printable() on their way. */
#ifndef LINESYNC_SHOW_H
#define LINESYNC_SHOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "buf.h"

/* Prints s with what a terminal might act on as \xNN. */
void show_text(FILE *f, const char *s);

/* A table whose columns are as wide as their widest cell.  Start with a zeroed one and its columns;
 * it is held in memory until it is printed. */
struct table {
	int columns;		/* in each row */
	const char *right;	/* per column: 'r' is set to the right, else left; NULL: all left */
	struct buf cells;	/* each with its NUL, row after row */
};
void table_add(struct table *t, const char *cell);
void table_addf(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void table_print(FILE *f, const struct table *t, const char *indent);
void table_release(struct table *t);

/* Appends "12 s", "3 min 20 s", "2 h 5 min", "3 d 4 h"; below zero is taken for zero. */
void show_seconds(struct buf *out, int64_t s);
/* Appends "512 bytes", "1.5 kB", "20.0 MB": powers of 1000. */
void show_bytes(struct buf *out, uint64_t n);

/* Appends s as one word of a shell's command line. */
void show_word(struct buf *out, const char *s);

/* Appends a path (UTF-8) for a list with one on each line: as it is, or as git with core.quotePath=off
 * quotes it where it holds quotes, backslashes or what a terminal might act on. */
void show_path(struct buf *out, const char *path);
/* Prints it so with a newline; with nul as it is, with a NUL. */
void show_path_line(FILE *f, const char *path, bool nul);

/* Prints JSON so that a terminal acts on nothing in it; a program reads the same. */
void show_json_text(FILE *f, const struct buf *json);

#endif
