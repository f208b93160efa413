/* What lines ask for, as a table. */
#include "parts.h"

static const struct {
	const char *line;
	const char *offers;	/* of its halves: kind, half, error or reason; "!": names no document */
} table[] = {
	{ PUT("a", "A"), "store new" },
	{ PUT("a", ""), "delete new empty" },
	{ DEL("a"), "delete new" },
	{ "{\"repo\":\"R\",\"path\":\"a\",\"content\":null}", "leave new no-content" },
	{ "{\"repo\":\"R\",\"path\":\"a\",\"content_error\":\"slow\"}", "fail new content-error" },
	{ "{\"repo\":\"R\",\"path\":\"a\",\"content\":\"A\",\"skip_index\":true}", "delete new skip-index" },
	{ "{\"repo\":\"R\",\"path\":\"a\",\"content\":\"A\",\"vector\":[1,2]}", "fail new bad-vector" },
	{ "{\"repo\":\"R\",\"path\":\"a\",\"content\":\"A\",\"vector\":[1,2,3,4,5,6,7,8]}", "store new" },
	{ "{\"repo\":\"R\",\"path\":\"gone\"}", "fail new no-such-file" },
	{ "{\"repo\":\"R\",\"path\":\"../a\",\"content\":\"A\"}", "fail new! outside-root" },
	{ "{\"repo\":\"R\",\"path\":\"a\",\"op\":\"chmod\"}", "fail new bad-op" },
	{ "{\"repo\":\"R\",\"path\":\"a\",\"new_path\":7,\"content\":7}", "fail new bad-field" },
	{ "{bad", "fail new! bad-json" },
	{ "Detecting changes...   0% -:--:--", "skip new! not-a-change" },
	{ MOVE("a", "b", "B"), "store new, delete old" },
	{ MOVE("a", "b", ""), "delete new empty, delete old" },
	{ "{\"repo\":\"R\",\"op\":\"rename\",\"old_path\":\"a\",\"path\":\"b\",\"content\":null}",
	  "leave new no-content, delete old" },
	{ "{\"repo\":\"R\",\"op\":\"rename\",\"old_path\":\"a\",\"path\":\"gone\"}", "fail new no-such-file, delete old" },
	{ "{\"repo\":\"R\",\"op\":\"rename\",\"old_path\":\"a\",\"path\":\"b\",\"content\":\"B\",\"vector\":[1]}",
	  "fail new bad-vector, delete old" },
};

static void tell(struct buf *b, const struct offer *of)
{
	static const char *const kinds[] = { "store", "delete", "leave", "skip", "fail" };

	for (int i = 0; i < of->n; i++) {
		const struct offer_half *h = &of->half[i];

		buf_addf(b, "%s%s %s%s", i > 0 ? ", " : "", kinds[h->kind], h->half == HALF_NEW ? "new" : "old",
			 h->alone ? "!" : "");
		if (h->kind == OFFER_FAIL)
			buf_addf(b, " %s", error_name(h->error));
		else if (h->reason != REASON_NONE)
			buf_addf(b, " %s", reason_name(h->reason));
	}
}

static void test_table(void)
{
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		auto_buf struct buf got = BUF_INIT;
		struct change c;
		struct content k;
		struct offer of;

		offer_line(table[i].line, &c, &k, &of);
		tell(&got, &of);
		ok(got.len > 0 && strcmp(got.data, table[i].offers) == 0, "%s: %s", table[i].line, got.len ? got.data : "");
		offer_release(&of);
		change_release(&c);
		content_release(&k);
	}
}

/* None of the first twenty changes has a file. */
static void test_first_changes(void)
{
	struct offer bad = { .hopeless = true }, good = { 0 };
	struct first_changes f = { 0 };
	int status = 0;

	for (int i = 0; i < 19; i++)
		status |= first_changes_count(&f, &bad, "/nowhere");
	ok(status == 0, "nineteen say nothing yet");
	ok(first_changes_count(&f, &bad, "/nowhere") == 78, "the twentieth does");
	f = (struct first_changes){ 0 };
	first_changes_count(&f, &good, "/nowhere");
	for (int i = 0; i < 40; i++)
		status |= first_changes_count(&f, &bad, "/nowhere");
	ok(status == 0, "one that had a file is enough");
	f = (struct first_changes){ 0 };
	first_changes_count(&f, NULL, NULL);
	for (int i = 0; i < 40; i++)
		status |= first_changes_count(&f, &bad, "/nowhere");
	ok(status == 0, "so is one that asks for none");
}

int main(void)
{
	parts_init();
	begin_state();
	test_table();
	test_first_changes();
	return parts_done();
}
