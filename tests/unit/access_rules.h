/* access_rules: what 401, 402, 403 and 429 mean, and refusals in words of a budget: the same whoever answers. */
#ifndef LINESYNC_ACCESS_RULES_H
#define LINESYNC_ACCESS_RULES_H

#include "../../src/driver.h"
#include "tap.h"

#define BUDGET "{\"error\":{\"message\":\"Budget has been exceeded! Current cost: 10.2, Max budget: 10\"," \
	       "\"type\":\"budget_exceeded\",\"code\":\"400\"}}"
#define RATE "{\"error\":{\"message\":\"Rate limit reached on requests per min. Please try again in 20s. You can " \
	     "increase your limit by adding a payment method to your account\"}}"
#define UNPAID(code) "{\"error\":{\"message\":\"You exceeded your current quota, please check your plan and " \
		     "billing details.\",\"type\":\"x\",\"code\":\"" code "\"}}"

static const struct {
	long status, retry_after;
	bool rate_spent;
	const char *body;
	enum verdict_scope scope;
	bool advises;
} access_rules[] = {
	{ 401, -1, false, "", VERDICT_AUTH, false },
	{ 403, -1, false, "", VERDICT_AUTH, false },
	{ 403, -1, false, "rate limit exceeded", VERDICT_AUTH, false },	/* a header is what tells */
	{ 401, 30, false, "", VERDICT_STORE, false },
	{ 403, 30, false, "", VERDICT_STORE, false },
	{ 403, 0, false, "", VERDICT_STORE, false },
	{ 401, -1, true, "", VERDICT_STORE, false },
	{ 403, -1, true, "no", VERDICT_STORE, false },
	{ 402, -1, false, "Insufficient Balance", VERDICT_AUTH, true },
	{ 402, 30, false, "", VERDICT_STORE, false },
	{ 429, -1, false, "", VERDICT_STORE, false },
	{ 429, -1, false, RATE, VERDICT_STORE, false },
	{ 429, -1, false, UNPAID("rate_limit_exceeded"), VERDICT_STORE, false },
	{ 429, -1, false, UNPAID("insufficient_quota"), VERDICT_AUTH, true },
	{ 429, -1, false, "{\"type\":\"billing_not_active\"}", VERDICT_AUTH, true },
	{ 429, 20, false, UNPAID("insufficient_quota"), VERDICT_STORE, false },
};

/* The words of a 400: of three objects, and of none. */
static const struct {
	const char *body;
	enum spent spent;
	enum verdict_scope none;
} refusal_rules[] = {
	{ "no", SPENT_NOTHING, VERDICT_RUN },
	{ "maximum context length is 8192 tokens", SPENT_NOTHING, VERDICT_RUN },
	{ BUDGET, SPENT_MONEY, VERDICT_AUTH },
	{ "Your credit balance is too low", SPENT_MONEY, VERDICT_AUTH },
	{ "INSUFFICIENT FUNDS", SPENT_MONEY, VERDICT_AUTH },
	{ "Please update your billing", SPENT_MONEY, VERDICT_AUTH },
	{ RATE, SPENT_LIMIT, VERDICT_STORE },
	{ "Quota exceeded for this project", SPENT_LIMIT, VERDICT_STORE },
	{ "you have exceeded your daily allowance", SPENT_LIMIT, VERDICT_STORE },
	{ "Monthly limit reached", SPENT_LIMIT, VERDICT_STORE },
};

/* s: open, as an ask of any kind finds it.  objects: two for writing. */
static inline void test_access(struct store *s, enum ask_kind write, struct ask_object *objects)
{
	for (size_t i = 0; i < sizeof(access_rules) / sizeof(access_rules[0]); i++)
		for (int k = 0; k < 3; k++) {
			struct ask a = { .kind = k == 2 ? ASK_READY : k ? ASK_TOUCH : write,
					 .objects = k ? NULL : objects, .n = k ? 0 : 2 };
			struct reply r = { .end = HTTP_ANSWERED, .status = access_rules[i].status,
					   .retry_after_s = access_rules[i].retry_after,
					   .rate_spent = access_rules[i].rate_spent };
			struct request q = { 0 };

			objects[0].verdict = objects[1].verdict = (struct verdict){ 0 };
			buf_adds(&r.body, access_rules[i].body);
			s->driver->build(s, &a, &q);
			request_release(&q);
			s->driver->judge(s, &a, &r);
			ok(a.verdict.scope == access_rules[i].scope && a.verdict.advises == access_rules[i].advises &&
			   a.verdict.kept_nothing && *a.verdict.text &&
			   (!a.n || objects[1].verdict.scope == access_rules[i].scope), "%ld, rule %zu: %s",
			   access_rules[i].status, i, a.verdict.text);
			reply_release(&r);
		}
}

static inline void test_refusals(struct store *s, enum ask_kind write, struct ask_object *objects)
{
	for (size_t i = 0; i < sizeof(refusal_rules) / sizeof(refusal_rules[0]); i++)
		for (size_t n = 0; n < 3; n++) {
			enum verdict_scope want = n == 2 ? VERDICT_REQUEST : n ? VERDICT_OBJECT : refusal_rules[i].none;
			struct ask a = { .kind = n ? write : ASK_TOUCH, .objects = objects, .n = n };
			struct reply r = { .end = HTTP_ANSWERED, .status = 400, .retry_after_s = -1 };
			struct request q = { 0 };

			objects[0].verdict = objects[1].verdict = (struct verdict){ 0 };
			buf_adds(&r.body, refusal_rules[i].body);
			s->driver->build(s, &a, &q);
			request_release(&q);
			s->driver->judge(s, &a, &r);
			ok(a.verdict.scope == want && a.verdict.kept_nothing && !a.verdict.wrong_shape &&
			   a.verdict.spent == (n ? refusal_rules[i].spent : SPENT_NOTHING) &&
			   a.verdict.advises == (want == VERDICT_AUTH) && *a.verdict.text, "400 to %zu, '%.50s'", n,
			   refusal_rules[i].body);
			reply_release(&r);
		}
}

#endif
