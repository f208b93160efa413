#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "alloc.h"
#include "blank.h"
#include "decimal.h"
#include "driver_json.h"
#include "json.h"
#include "json_tree.h"
#include "text.h"

#define SECRET_MAX 4096	/* of a body that was cut, so much of its end may be half a secret */
#define WORDS_MAX 400	/* bytes of a server's words that are looked at; fewer are kept */

void cleanup_json(json_object **o)
{
	json_object_put(*o);
}

/* Byte by byte, so that it is little-endian on every machine.  192 floats are whole groups of
 * three bytes: only the last piece is padded. */
void vector_base64(struct buf *b, const float *v, size_t n)
{
	unsigned char bytes[192 * 4];
	uint32_t u;

	buf_addc(b, '"');
	for (size_t at = 0, k; at < n; at += k) {
		k = n - at < 192 ? n - at : 192;
		for (size_t i = 0; i < k; i++) {
			memcpy(&u, v + at + i, 4);
			bytes[i * 4] = u & 0xff;
			bytes[i * 4 + 1] = u >> 8 & 0xff;
			bytes[i * 4 + 2] = u >> 16 & 0xff;
			bytes[i * 4 + 3] = u >> 24;
		}
		base64_encode(b, bytes, k * 4);
	}
	buf_addc(b, '"');
}

void vector_numbers(struct buf *b, const float *v, size_t n)
{
	char *to;

	buf_reserve(b, n * (DECIMAL_MAX + 1) + 2);
	to = b->data + b->len;
	*to++ = '[';
	for (size_t i = 0; i < n; i++) {
		if (i)
			*to++ = ',';
		to += decimal_write(to, v[i]);
	}
	*to++ = ']';
	*to = '\0';
	b->len = (size_t)(to - b->data);
}

void object_props(struct buf *b, bool *first, const struct object *o, bool nulls)
{
	for (size_t i = 0; i < OBJECT_PROPS; i++) {
		const struct prop *p = &o->props[i];

		if (!p->name || (p->type == PROP_NULL && !nulls))
			continue;
		json_name(b, first, p->name);
		switch (p->type) {
		case PROP_NULL: buf_add(b, "null", 4); break;
		case PROP_STR: json_str(b, p->s, p->n); break;
		case PROP_INT: buf_addf(b, "%lld", (long long)p->i); break;
		case PROP_BOOL: buf_adds(b, p->i ? "true" : "false"); break;
		}
	}
}

size_t object_props_size(const struct object *o)
{
	size_t n = 0;

	for (size_t i = 0; i < OBJECT_PROPS; i++) {
		const struct prop *p = &o->props[i];

		if (p->name)
			n += strlen(p->name) + 4 + (p->type == PROP_STR ? json_str_size(p->s, p->n) : 20);
	}
	return n;
}

void ask_verdict(struct ask *a, const struct verdict *v)
{
	a->verdict = *v;
	for (size_t i = 0; i < a->n; i++)
		a->objects[i].verdict = *v;
}

void verdict_say(struct verdict *v, const char *fmt, ...)
{
	autofree char *s = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	s = xcalloc((size_t)(n > 0 ? n : 0) + 1, 1);
	va_start(ap, fmt);
	vsnprintf(s, (size_t)(n > 0 ? n : 0) + 1, fmt, ap);
	va_end(ap);
	reply_text(v->text, sizeof(v->text), s, strlen(s));
}

json_object *answer_json(const struct reply *r)
{
	struct json_fault fault;

	if (!r->body.len || r->body.len >= INT_MAX ||
	    json_check(r->body.data, r->body.len, NULL, &fault) < 0)
		return NULL;
	return json_tree(r->body.data, r->body.len);
}

/* What gateways and proxies say with any status, and no store beside a success. */
bool answer_complains(json_object *o)
{
	static const char *const names[] = { "error", "errors", "message", "detail" };
	json_object *m = NULL;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (json_object_object_get_ex(o, names[i], &m) && m)
			return true;
	return json_object_object_get_ex(o, "success", &m) && !json_object_get_boolean(m);
}

json_object *answer_good(const struct reply *r)
{
	json_object *o = answer_json(r);

	if (!answer_complains(o))
		return o;
	json_object_put(o);
	return NULL;
}

bool answer_is_empty(const struct reply *r)
{
	for (size_t i = 0; i < r->body.len; i++)
		if (!strchr(" \t\r\n", r->body.data[i]))
			return false;
	return true;
}

json_object *answer_member(json_object *o, const char *name, json_type type)
{
	json_object *m = NULL;

	if (!json_object_is_type(o, json_type_object) ||
	    !json_object_object_get_ex(o, name, &m) || !json_object_is_type(m, type))
		return NULL;
	return m;
}

const char *answer_string(json_object *o, const char *const *names)
{
	for (; *names; names++)
		if (!json_object_is_type(o, json_type_object) ||
		    !json_object_object_get_ex(o, *names, &o))
			return NULL;
	return json_object_is_type(o, json_type_string) ? json_object_get_string(o) : NULL;
}

/* JSON's \u002B is "+" to people, and to whoever looks for a secret. */
static void add_unescaped(struct buf *out, const char *p, size_t n)
{
	unsigned char c;

	for (size_t i = 0; i < n; i++)
		if (n - i >= 6 && memcmp(p + i, "\\u00", 4) == 0 && hex_decode(&c, p + i + 4, 1) == 0 && c > 0x20 &&
		    c < 0x7f) {
			buf_addc(out, (char)c);
			i += 5;
		} else {
			buf_addc(out, p[i]);
		}
}

/* A page from a proxy is many lines: runs of blanks and controls become one blank.  Secrets are taken out
 * before it is cut: of half a secret nobody would know what it was. */
static char *squeeze(const char *p, size_t n)
{
	auto_buf struct buf plain = BUF_INIT, clean = BUF_INIT, out = BUF_INIT;

	add_unescaped(&plain, p, n < HTTP_ERROR_TEXT ? n : HTTP_ERROR_TEXT - SECRET_MAX);
	blank_text(&clean, plain.data, plain.len);
	p = clean.data;
	n = clean.len;
	for (size_t i = 0; i < n && out.len < WORDS_MAX; i++)
		if ((unsigned char)p[i] > 0x20)
			buf_addc(&out, p[i]);
		else if (out.len && out.data[out.len - 1] != ' ')
			buf_addc(&out, ' ');
	if (out.len && out.data[out.len - 1] == ' ')
		out.data[--out.len] = '\0';
	return buf_detach(&out);
}

/* {"message":…}, {"error":"…"}, {"error":{"message":…}}, {"error":[{"message":…}]}: NULL if none. */
static const char *told(json_object *o)
{
	static const char *const message[] = { "message", NULL }, *const error[] = { "error", NULL };
	json_object *e = NULL;
	const char *s = answer_string(o, message);

	if (s && *s)
		return s;
	s = answer_string(o, error);
	if (s && *s)
		return s;
	if (!json_object_is_type(o, json_type_object) || !json_object_object_get_ex(o, "error", &e))
		return NULL;
	if (json_object_is_type(e, json_type_array) && json_object_array_length(e) > 0)
		e = json_object_array_get_idx(e, 0);
	s = answer_string(e, message);
	return s && *s ? s : NULL;
}

char *answer_words(const struct reply *r)
{
	auto_json json_object *o = answer_json(r);
	const char *s = told(o);
	char *words = s ? squeeze(s, strlen(s)) : r->body.len ? squeeze(r->body.data, r->body.len) : NULL;

	if (words && *words)
		return words;
	free(words);
	return xasprintf("HTTP %ld without a text", r->status);
}

void answer_unclear(struct verdict *v, const struct reply *r, const char *store)
{
	autofree char *s = answer_words(r);

	v->scope = VERDICT_UNKNOWN;
	v->kept_nothing = false;
	verdict_say(v, "not an answer of %s's: %s", store, s);
}

bool answer_came(struct verdict *v, const struct reply *r)
{
	if (r->end == HTTP_NOT_SENT) {
		v->scope = r->untrusted ? VERDICT_RUN : VERDICT_STORE;
		v->kept_nothing = true;
		verdict_say(v, "%s%s", r->untrusted ? "not trusted (see --cacert): " : "", r->error);
	} else if (r->end == HTTP_LOST) {
		v->scope = VERDICT_ATTEMPT;
		verdict_say(v, "%s", r->error);
	}
	return r->end == HTTP_ANSWERED;
}

bool says_any(const char *text, const char *const *words)
{
	for (; *words; words++)
		for (const char *p = text; *p; p++)
			if (!strncasecmp(p, *words, strlen(*words)))
				return true;
	return false;
}

/* A rate is told of before money: who asks too often is often told that paying more would allow it. */
static enum spent spent_by(const char *words)
{
	static const char *const rate[] = {
		"rate limit", "ratelimit", "too many requests", "per minute", "try again in", "retry in", NULL
	};
	static const char *const money[] = {
		"budget", "billing", "payment", "credit", "insufficient balance", "insufficient funds",
		"insufficient_quota", "insufficient quota", NULL
	};
	static const char *const limit[] = { "quota", "limit reached", "exceeded your", NULL };

	return says_any(words, rate) ? SPENT_LIMIT : says_any(words, money) ? SPENT_MONEY :
	       says_any(words, limit) ? SPENT_LIMIT : SPENT_NOTHING;
}

static void unpaid(struct verdict *v, const char *words)
{
	v->scope = VERDICT_AUTH;
	v->advises = true;
	verdict_say(v, "a payment or a higher limit is due: %s", words);
}

/* OpenAI says 429 also of an account that is used up.  Words do not tell the two apart, its code does. */
static bool has_code_of_money(const struct reply *r)
{
	static const char *const codes[] = {
		"insufficient_quota", "billing_not_active", "billing_hard_limit_reached", NULL
	};
	static const char *const paths[][3] = { { "error", "code" }, { "error", "type" }, { "code" }, { "type" } };
	auto_json json_object *o = answer_json(r);

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		const char *s = answer_string(o, paths[i]);

		for (size_t k = 0; s && codes[k]; k++)
			if (!strcmp(s, codes[k]))
				return true;
	}
	return false;
}

bool answer_access(struct verdict *v, const struct reply *r)
{
	bool waits = r->retry_after_s >= 0 || r->rate_spent;
	autofree char *words = NULL;

	if (r->status != 401 && r->status != 402 && r->status != 403 && r->status != 429)
		return false;
	v->kept_nothing = true;
	if (!waits && (r->status == 402 || (r->status == 429 && has_code_of_money(r)))) {
		words = answer_words(r);
		unpaid(v, words);
	} else if (!waits && r->status != 429) {
		v->scope = VERDICT_AUTH;
	} else {
		v->scope = VERDICT_STORE;
	}
	return true;
}

void answer_refused(struct verdict *v, const struct ask *a, const char *words)
{
	enum spent spent = spent_by(words);

	v->kept_nothing = true;
	if (a->n) {
		v->scope = a->n > 1 ? VERDICT_REQUEST : VERDICT_OBJECT;
		v->spent = spent;
	} else if (spent == SPENT_MONEY) {
		unpaid(v, words);
	} else {
		v->scope = spent ? VERDICT_STORE : VERDICT_RUN;
	}
}

bool ask_has(const struct ask *a, const char *id)
{
	for (size_t i = 0; i < a->n; i++)
		if (!strcmp(a->objects[i].id, id))
			return true;
	return false;
}

/* Owned.  NULL for what is no string, and for one with a NUL inside: it was not stored from here. */
static char *whole_string(json_object *m)
{
	const char *s = json_object_is_type(m, json_type_string) ? json_object_get_string(m) : NULL;
	size_t n = s ? (size_t)json_object_get_string_len(m) : 0;

	return s && strlen(s) == n && utf8_check(s, n) == n ? xstrdup(s) : NULL;
}

static char *string_of(json_object *o, const char *name)
{
	return whole_string(answer_member(o, name, json_type_string));
}

void found_take(struct found *f, const char *id, size_t idlen, json_object *props)
{
	json_object *chunk = answer_member(props, "chunk_index", json_type_int);
	int64_t index = chunk ? json_object_get_int64(chunk) : -1;
	autofree char *digest = string_of(props, "sync_digest");

	*f = (struct found){ 0 };
	if (idlen < sizeof(f->id) && strlen(id) == idlen)
		memcpy(f->id, id, idlen);
	f->repo = string_of(props, "repository");
	f->path = string_of(props, "file_path");
	if (!f->repo || !f->path || index < 0 || index > UINT32_MAX ||
	    idlen != sizeof(f->id) - 1) {
		free(f->repo);
		free(f->path);
		f->repo = f->path = NULL;
		return;
	}
	f->chunk = (uint32_t)index;
	if (digest && strlen(digest) < sizeof(f->digest))
		memcpy(f->digest, digest, strlen(digest));
}

static int64_t line_of(json_object *props, const char *name)
{
	json_object *m = answer_member(props, name, json_type_int);
	int64_t n = m ? json_object_get_int64(m) : 0;

	return n > 0 ? n : 0;
}

void hit_take(struct hit *h, json_object *id, json_object *props, json_object *text,
	      json_object *distance)
{
	*h = (struct hit){ 0 };
	found_take(&h->found, json_object_get_string(id), (size_t)json_object_get_string_len(id), props);
	h->distance = json_object_get_double(distance);
	h->start_line = line_of(props, "start_line");
	h->end_line = line_of(props, "end_line");
	h->text = whole_string(text);
}
