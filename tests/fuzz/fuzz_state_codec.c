/* Every record of the state file, its keys and its pages: no bytes may do harm, and what is accepted
 * reads the same when it was written again.  The first byte chooses. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "state_codec.h"
#include "tree.h"

static void same(const struct buf *a, const struct buf *b)
{
	if (a->len != b->len || (a->len > 0 && memcmp(a->data, b->data, a->len) != 0))
		abort();
}

/* Reads a record of one kind, writes it, reads that and writes it again. */
#define CHECK(type, decode, encode, release)                                                        \
	do {                                                                                       \
		struct type v, w;                                                                  \
		if (decode(&v, data, n) != 0)                                                      \
			break;                                                                     \
		encode(&once, &v);                                                                 \
		release(&v);                                                                       \
		if (decode(&w, (const uint8_t *)once.data, once.len) != 0)                         \
			abort();                                                                   \
		encode(&twice, &w);                                                                \
		release(&w);                                                                       \
		same(&once, &twice);                                                               \
	} while (0)

static void nothing(void *v)
{
	(void)v;
}

static void check_key(const uint8_t *data, size_t n)
{
	auto_buf struct buf again = BUF_INIT;
	char *repo, *path;

	if (key_split(data, n, &repo, &path) != 0)
		return;
	key_doc(&again, (char)data[0], repo, path);
	if (again.len != n || memcmp(again.data, data, n) != 0)
		abort();
	free(repo);
	free(path);
}

static void check_place(const uint8_t *data, size_t n)
{
	auto_buf struct buf again = BUF_INIT;

	if (n < 8)
		return;
	key_line(&again, 'o', key_place(data));
	if (again.len != 9 || memcmp(again.data + 1, data, 8) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	auto_buf struct buf once = BUF_INIT, twice = BUF_INIT;
	uint8_t kind;

	if (n == 0)
		return 0;
	kind = *data++ % 10;
	n--;
	switch (kind) {
	case 0: CHECK(identity, identity_decode, identity_encode, identity_release); break;
	case 1: CHECK(head, head_decode, head_encode, head_release); break;
	case 2: CHECK(doc_state, doc_decode, doc_encode, nothing); break;
	case 3: CHECK(mark, mark_decode, mark_encode, nothing); break;
	case 4: CHECK(failure, failure_decode, failure_encode, failure_release); break;
	case 5: CHECK(repo_state, repo_decode, repo_encode, repo_release); break;
	case 6: CHECK(run_state, run_decode, run_encode, run_release); break;
	case 7: check_key(data, n); break;
	case 8: check_place(data, n); break;
	case 9: (void)tree_check_page(data, n); break;
	}
	return 0;
}
