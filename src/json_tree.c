#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "buf.h"
#include "json.h"
#include "json_span.h"

#include "json_tree.h"

static json_object *must(json_object *o)
{
	if (o == NULL)
		alloc_failed();
	return o;
}

static json_object *tree_of(const struct span *v);

static json_object *object_of(const struct span *v)
{
	json_object *o = must(json_object_new_object());
	auto_buf struct buf name = BUF_INIT;
	const char *p = v->p;
	struct json_member m;

	while (json_next_member(&p, v->p + v->n, &m)) {
		buf_reset(&name);
		buf_adds(&name, "");
		json_unescape(&name, m.name.p, m.name.n);
		if (json_object_object_add(o, name.data, tree_of(&m.value)) != 0)
			alloc_failed();
	}
	return o;
}

static json_object *array_of(const struct span *v)
{
	json_object *a = must(json_object_new_array());
	const char *p = v->p;
	struct span e;

	while (json_next_element(&p, v->p + v->n, &e))
		if (json_object_array_add(a, tree_of(&e)) != 0)
			alloc_failed();
	return a;
}

static json_object *string_of(const struct span *v)
{
	auto_buf struct buf b = BUF_INIT;

	buf_adds(&b, "");
	json_unescape(&b, v->p + 1, v->n - 2);
	return must(json_object_new_string_len(b.data, (int)b.len));
}

/* What is beyond its type stands at its end, as json-c has it. */
static json_object *integer_of(const struct span *v)
{
	int64_t n;

	errno = 0;
	n = strtoll(v->p, NULL, 10);
	if (errno == ERANGE && n > 0)
		return must(json_object_new_uint64(strtoull(v->p, NULL, 10)));
	return must(json_object_new_int64(n));
}

/* Its depth is that which json_check() allows.  Of an element blanks after it may be a part. */
static json_object *tree_of(const struct span *v)
{
	struct span s = *v;

	while (s.n > 1 && json_is_blank(s.p[s.n - 1]))
		s.n--;
	switch (json_type_of(&s)) {
	case JSON_OBJECT:
		return object_of(&s);
	case JSON_ARRAY:
		return array_of(&s);
	case JSON_STRING:
		return string_of(&s);
	case JSON_BOOL:
		return must(json_object_new_boolean(s.p[0] == 't'));
	case JSON_INT:
		return integer_of(&s);
	case JSON_NUMBER:
		return must(json_object_new_double(strtod(s.p, NULL)));
	default:
		return NULL;
	}
}

json_object *json_tree(const char *p, size_t n)
{
	const char *begin = json_skip_blanks(p, p + n);
	struct span v = { begin, n - (size_t)(begin - p) };

	return tree_of(&v);
}
