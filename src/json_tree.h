/* json_tree: json-c's objects of text that json_check() has passed.
 *
 * json-c (0.16) reads text without looking whether it got memory for it: a name that it cannot copy ends
 * in SIGSEGV, and a string can lose its end in silence.  What makes single objects does look, so it is
 * json_tree() that reads, and memory that is short ends the process as elsewhere (alloc.h). */
#ifndef LINESYNC_JSON_TREE_H
#define LINESYNC_JSON_TREE_H

#include <stddef.h>

#include <json-c/json.h>

/* The value in n bytes that json_check() has passed, with a NUL after them.  Owned; NULL stands for null. */
json_object *json_tree(const char *p, size_t n);

#endif
