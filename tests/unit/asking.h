/* asking: what the tests of the drivers share: a store, two objects, answers made up. */
#ifndef LINESYNC_ASKING_H
#define LINESYNC_ASKING_H

#include <stdlib.h>
#include <string.h>

#include "../../src/alloc.h"
#include "../../src/driver.h"
#include "tap.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define ID0 "e417b55a-2ea2-5a2a-9306-c568b130e26b"
#define ID1 "02c8f33a-02dd-512e-81e3-64a0c03bb0dc"

static const char *const scopes[] = {
	"unknown", "ok", "object", "request", "attempt", "store", "opening", "auth", "run"
};

static float vector[2] = { 1.0f, -0.1f };
static struct object objects[2];
static struct ask_object asked[2];
static struct store store;

static inline void set_up_store(const char *driver, const char *url)
{
	char *why;

	store_release(&store);
	store.driver = driver_find(driver);
	if (store_url_parse(&store.url, url, &why) < 0)
		printf("Bail out! %s\n", why);
	store.collection = xstrdup("Code");
	memset(asked, 0, sizeof(asked));
	for (size_t i = 0; i < 2; i++) {
		asked[i].id = i ? ID1 : ID0;
		asked[i].object = &objects[i];
	}
}

static inline void make_objects(void)
{
	static char first[] = "say \"hi\"\n\tback\\slash caf\xc3\xa9 \x01/", second[] = "";

	objects[0].text = first;
	objects[0].text_len = sizeof(first) - 1;
	objects[0].vector = vector;
	objects[0].dim = 2;
	objects[0].props[0] = (struct prop){ "file_path", PROP_STR, "a\"b.c", 5, 0 };
	objects[0].props[1] = (struct prop){ "size_bytes", PROP_INT, NULL, 0, -9007199254740993 };
	objects[0].props[2] = (struct prop){ "truncated", PROP_BOOL, NULL, 0, 1 };
	objects[0].props[3] = (struct prop){ "charset", PROP_NULL, NULL, 0, 0 };
	objects[1] = objects[0];
	objects[1].text = second;
	objects[1].text_len = 0;
	objects[1].props[0] = (struct prop){ "file_path", PROP_STR, "n\0ul", 4, 0 };
	objects[1].props[2] = (struct prop){ "truncated", PROP_BOOL, NULL, 0, 0 };
}

/* What others than the store say with 200: gateways, proxies, other servers, nobody in particular. */
static const char *const strangers[] = {
	"", " ", "OK", "<!DOCTYPE html><p>Welcome", "null", "true", "\"ok\"", "[]", "[1]", "[{}]", "[null]",
	"{\"error\":{\"message\":\"upstream is down\",\"code\":503}}", "{\"error\":null}",
	"{\"error\":\"no\"}", "{\"errors\":[{\"code\":1000}]}", "{\"errors\":[]}",
	"{\"success\":false,\"errors\":[{\"code\":1000}]}", "{\"success\":true}",
	"{\"message\":\"no healthy upstream\"}", "{\"status\":\"maintenance\"}", "{\"status\":\"ok\"}",
	"{\"detail\":\"Not authenticated\"}", "{\"ids\":[\"a\"]}", "{\"id\":7}", "{\"result\":{}}", "{\"data\":[]}",
	"{\"data\":{}}", "{\"data\":{\"Get\":null}}", "{\"deleted\":-1}", "{\"deleted\":3}", "{\"deleted\":\"2\"}",
	"{\"deleted\":1.5}", "{\"deleted\":null}", "{\"deleted\":true}", "{\"version\":\"1.39.0\"}",
	"{\"hostname\":\"h\"}", "{\"a\":{}", "{}x", "{} {}", "{", "\xff",
};

/* The same answer with one member more, which is to be the last; NULL for what is no object.  Owned. */
static inline char *with_member(const char *body, const char *member)
{
	size_t n = strlen(body);

	if (*body != '{' || body[n - 1] != '}')
		return NULL;
	return xasprintf("%.*s%s%s}", (int)n - 1, body, n > 2 ? "," : "", member);
}

static inline const struct reply *answer(long status, const char *body)
{
	static struct reply r;

	buf_release(&r.body);
	r = (struct reply){ .end = HTTP_ANSWERED, .status = status, .retry_after_s = -1 };
	if (body)
		buf_adds(&r.body, body);
	return &r;
}

static inline void want_request(struct ask *a, const char *method, const char *url, const char *body,
			 const char *what)
{
	struct request r = { 0 };
	int built = store.driver->build(&store, a, &r);

	ok(built == 1 && !strcmp(r.method, method), "%s: %s", what, method);
	ok(built && !strcmp(r.url, url), "%s: %s", what, r.url ? r.url : "no URL");
	ok(built && !strcmp(r.body.data ? r.body.data : "", body), "%s: body", what);
	if (built && strcmp(r.body.data ? r.body.data : "", body))
		printf("# got  %s\n# want %s\n", r.body.data, body);
	request_release(&r);
}

static inline void want_end(struct ask *a, const char *what)
{
	struct request r = { 0 };

	ok(store.driver->build(&store, a, &r) == 0 && !r.url, "%s: nothing more to ask", what);
}

#endif
