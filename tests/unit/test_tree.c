#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../src/alloc.h"
#include "../../src/tree.h"
#include "tap.h"

static char dir[] = "/tmp/linesync-test-XXXXXX";
static char path[64];
static struct statefile *file;
static struct tree tree;

/* What the tree should hold: a sorted array. */
struct pair {
	char *key;
	size_t klen;
	char *val;
	size_t vlen;
};
static struct pair *pairs;
static size_t npairs, room;

static uint64_t seed = 1;

static uint32_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 16);
}

static uint64_t by_chance(void)
{
	return (uint64_t)next_random() << 32 | next_random();
}

static int compare(const void *a, size_t an, const void *b, size_t bn)
{
	size_t n = an < bn ? an : bn;
	int c = n ? memcmp(a, b, n) : 0;

	return c ? c : (an > bn) - (an < bn);
}

/* The place of the first pair that is not below the key. */
static size_t place_of(const char *key, size_t klen, bool *found)
{
	size_t lo = 0, hi = npairs;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (compare(pairs[mid].key, pairs[mid].klen, key, klen) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	*found = lo < npairs && compare(pairs[lo].key, pairs[lo].klen, key, klen) == 0;
	return lo;
}

static void put(const char *key, size_t klen, const char *val, size_t vlen)
{
	bool found;
	size_t at = place_of(key, klen, &found);

	tree_put(&tree, key, klen, val, vlen);
	if (!found) {
		if (npairs == room) {
			room = room ? 2 * room : 64;
			pairs = xrealloc(pairs, room * sizeof(*pairs));
		}
		memmove(pairs + at + 1, pairs + at, (npairs - at) * sizeof(*pairs));
		npairs++;
		pairs[at].key = xmemdup0(key, klen);
		pairs[at].klen = klen;
	} else {
		free(pairs[at].val);
	}
	pairs[at].val = xmemdup0(val, vlen);
	pairs[at].vlen = vlen;
}

static bool del(const char *key, size_t klen)
{
	bool found;
	size_t at = place_of(key, klen, &found);

	if (tree_del(&tree, key, klen) != found)
		return false;
	if (found) {
		free(pairs[at].key);
		free(pairs[at].val);
		memmove(pairs + at, pairs + at + 1, (npairs - at - 1) * sizeof(*pairs));
		npairs--;
	}
	return true;
}

static void forget_pairs(void)
{
	for (size_t i = 0; i < npairs; i++) {
		free(pairs[i].key);
		free(pairs[i].val);
	}
	npairs = 0;
}

static bool gets(size_t i)
{
	auto_buf struct buf val = BUF_INIT;

	return tree_get(&tree, pairs[i].key, pairs[i].klen, &val) &&
	       compare(val.data, val.len, pairs[i].val, pairs[i].vlen) == 0;
}

static bool all_there(void)
{
	for (size_t i = 0; i < npairs; i++)
		if (!gets(i))
			return false;
	return true;
}

/* Walks from the first key, or from any bytes, to the end. */
static bool walks(const char *from, size_t n, bool or_equal)
{
	auto_buf struct buf after = BUF_INIT, key = BUF_INIT, val = BUF_INIT;
	bool found;
	size_t at = place_of(from, n, &found);

	if (found && !or_equal)
		at++;
	buf_add(&after, from, n);
	while (tree_next(&tree, after.data, after.len, or_equal, &key, &val)) {
		if (at == npairs || compare(key.data, key.len, pairs[at].key, pairs[at].klen) != 0 ||
		    compare(val.data, val.len, pairs[at].val, pairs[at].vlen) != 0)
			return false;
		at++;
		or_equal = false;
		buf_reset(&after);
		buf_add(&after, key.data, key.len);
	}
	return at == npairs;
}

/* Walks down from any bytes to the first key. */
static bool walks_down(const char *from, size_t n)
{
	auto_buf struct buf before = BUF_INIT, key = BUF_INIT, val = BUF_INIT;
	bool found;
	size_t at = place_of(from, n, &found);

	buf_add(&before, from, n);
	while (tree_prev(&tree, before.data, before.len, &key, &val)) {
		if (at-- == 0 || compare(key.data, key.len, pairs[at].key, pairs[at].klen) != 0 ||
		    compare(val.data, val.len, pairs[at].val, pairs[at].vlen) != 0)
			return false;
		buf_reset(&before);
		buf_add(&before, key.data, key.len);
	}
	return at == 0;
}

static bool walks_both_ways(void)
{
	return walks("", 0, true) && walks_down("\xff\xff\xff", 3);
}

/* Pages below no, or 0 if something is wrong with one.  *height is the greatest depth. */
static size_t check_below(uint32_t no, int depth, int *height)
{
	size_t n, pages = 1;
	const uint8_t *p = statefile_get(file, KIND_PAGE, no, 0, &n);

	if (p == NULL || n < 2 || tree_check_page(p, n) != 0)
		return 0;
	if (depth > *height)
		*height = depth;
	for (size_t at = 1, i = 0; p[0] == 2 && at < n; i++) {
		size_t field[3] = { 0, 0, 0 }, below;
		uint32_t child;

		for (int k = 0; k < 3; k++)
			for (int shift = 0;; shift += 7) {
				field[k] |= (size_t)(p[at] & 0x7f) << shift;
				if (!(p[at++] & 0x80))
					break;
			}
		if (i == 0 && field[0] + field[1] != 0)
			return 0;
		at += field[1];
		child = (uint32_t)p[at] << 24 | (uint32_t)p[at + 1] << 16 | (uint32_t)p[at + 2] << 8 |
			p[at + 3];
		at += field[2];
		below = check_below(child, depth + 1, height);
		if (below == 0)
			return 0;
		pages += below;
	}
	return pages;
}

static int height(void)
{
	int h = 0;

	return tree.root == 0 ? 0 : check_below(tree.root, 1, &h) ? h : -1;
}

static void reopen(void)
{
	statefile_commit(file);
	statefile_close(file);
	if (statefile_open(&file, path, true) != STATEFILE_OK)
		printf("Bail out! cannot open the file again\n");
	tree.file = file;
}

static void empty_tree(void)
{
	while (npairs > 0)
		if (!del(pairs[0].key, pairs[0].klen))
			break;
	forget_pairs();
}

static void test_empty(void)
{
	auto_buf struct buf key = BUF_INIT, val = BUF_INIT;

	ok(!tree_get(&tree, "a", 1, &val) && !tree_del(&tree, "a", 1) &&
	   !tree_next(&tree, "", 0, true, &key, &val) && !tree_any(&tree, by_chance, &key, &val) && tree.root == 0,
	   "an empty tree");
	put("a", 1, "", 0);
	ok(tree_get(&tree, "a", 1, &val) && val.len == 0, "an empty value is there");
	ok(!tree_get(&tree, "", 0, &val) && !tree_get(&tree, "aa", 2, &val) && !tree_get(&tree, "b", 1, &val),
	   "keys around it are not");
	put("a", 1, "x", 1);
	put("a\0", 2, "y", 1);
	ok(all_there() && walks_both_ways() && walks("a", 1, false) && walks_down("b", 1), "a key that goes on with a NUL");
	ok(del("a", 1) && all_there() && del("a\0", 2) && tree.root == 0, "deleted, the tree is empty again");
}

static size_t make_key(char *out, int style, uint32_t i)
{
	size_t n;

	switch (style) {
	case 0:		/* short */
		return (size_t)snprintf(out, 32, "%08u", i);
	case 1:		/* one long shared beginning */
		memset(out, 'p', 1500);
		return 1500 + (size_t)snprintf(out + 1500, 32, "%u", i);
	case 2:		/* folders */
		return (size_t)snprintf(out, 128, "repo%u/src/module%u/very/deep/folder/file%u.c", i % 3, i % 17, i);
	case 3:		/* few different bytes, any length: many are beginnings of others */
		n = 1 + next_random() % 12;
		for (size_t k = 0; k < n; k++)
			out[k] = (char)(next_random() % 3);
		return n;
	default:	/* up to 8,000 bytes, sharing most of them */
		n = 1 + next_random() % 8000;
		memset(out, 'k', n);
		out[next_random() % n] = (char)(next_random() % 256);
		return n;
	}
}

static void test_order(int style, const char *name, uint32_t n, int order, const char *how)
{
	static char key[8192], val[3000];
	bool good = true;
	int h;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t k = order == 0 ? i : order == 1 ? n - 1 - i : (uint32_t)((uint64_t)i * 7919 % n);
		size_t klen = make_key(key, style, k);
		size_t vlen = next_random() % 16 ? next_random() % 60 : next_random() % 3001;

		memset(val, (int)('a' + k % 26), vlen);
		put(key, klen, val, vlen);
	}
	h = height();
	reopen();
	good = all_there() && walks_both_ways() && height() == h;
	ok(good && h > 0 && h < 10, "%s, %s: %zu keys in %d levels", name, how, npairs, h);
}

/* From everywhere: each of ten parts has at least a third of its share, but where pages hold one or two
 * large entries beside others with many small ones. */
static void test_any(const char *name, size_t want)
{
	auto_buf struct buf key = BUF_INIT, val = BUF_INIT;
	size_t parts[10] = { 0 }, least = 4000;
	bool good = true, found;

	for (int i = 0; i < 4000 && good; i++) {
		size_t at;

		good = tree_any(&tree, by_chance, &key, &val);
		at = good ? place_of(key.data, key.len, &found) : 0;
		good = good && found && val.len == pairs[at].vlen && (!val.len || !memcmp(val.data, pairs[at].val, val.len));
		parts[good ? at * 10 / npairs : 0]++;
	}
	for (size_t i = 0; i < 10; i++)
		least = parts[i] < least ? parts[i] : least;
	ok(good && least >= want, "%s: drawn by chance from everywhere (at least %zu of 4,000 from each tenth)", name, least);
}

static void test_random(int style, const char *name, int steps)
{
	static char key[8192], val[3000];
	bool good = true;

	for (int i = 0; i < steps && good; i++) {
		uint32_t what = next_random() % 10;
		size_t klen, vlen;

		if (what < 5 || npairs == 0) {
			klen = make_key(key, style, next_random() % 2000);
			vlen = next_random() % 10 ? next_random() % 40 : next_random() % 3001;
			memset(val, (int)(next_random() % 256), vlen);
			put(key, klen, val, vlen);
		} else if (what < 8) {
			size_t at = next_random() % npairs;

			klen = pairs[at].klen;
			memcpy(key, pairs[at].key, klen);
			good = del(key, klen);
		} else if (what < 9) {
			good = gets(next_random() % npairs);
		} else {
			klen = make_key(key, style, next_random() % 2000);
			good = del(key, klen);
		}
		if (i % 1000 == 999) {
			klen = make_key(key, style, next_random() % 2000);
			good = good && walks(key, klen, next_random() % 2) && walks_down(key, klen) && height() >= 0;
			reopen();
		}
	}
	ok(good && all_there() && walks_both_ways() && height() >= 0, "%s: %d random steps", name, steps);
}

static void test_down_to_empty(const char *how, int order)
{
	bool good = true;
	size_t n = npairs;

	while (npairs > 0 && good) {
		size_t at = order == 0 ? 0 : order == 1 ? npairs - 1 : next_random() % npairs;
		struct pair p = pairs[at];
		char *key = xmemdup0(p.key, p.klen);

		good = del(key, p.klen);
		free(key);
		if (npairs % 500 == 0)
			good = good && height() >= 0 && walks_both_ways();
	}
	statefile_commit(file);
	ok(good && tree.root == 0, "%zu keys deleted %s: the tree is empty", n, how);
}

static void test_shrinks(void)
{
	char key[16];
	bool good = true;
	int before;

	for (uint32_t i = 0; i < 3000; i++)
		put(key, (size_t)snprintf(key, sizeof(key), "%08u", i), "v", 1);
	before = height();
	while (npairs > 1 && good) {
		memcpy(key, pairs[npairs / 2].key, 8);
		good = del(key, 8);
	}
	ok(good && before > 1 && height() == 1 && all_there(), "one key left: from %d levels to 1", before);
	empty_tree();
}

/* All page numbers that were given out are free again when the tree is empty. */
static void test_no_page_left(void)
{
	bool left = false;

	for (uint32_t no = 1; no < tree.next_page; no++) {
		size_t n;

		left |= statefile_get(file, KIND_PAGE, no, 0, &n) != NULL;
		statefile_trim(file);
	}
	ok(!left && tree.next_page > 100, "no page is left of %u", tree.next_page - 1);
}

/* Paths that differ only after 4,000 bytes and more: a page of separators must hold several. */
static void test_deep_paths(size_t shared)
{
	static char key[8192];
	bool good = true;

	memset(key, 'd', sizeof(key));
	for (uint32_t i = 0; i < 400; i++) {
		int n = snprintf(key + shared, 16, "%06u", i * 7919 % 400);

		put(key, shared + (size_t)n, "v", 1);
		key[shared + (size_t)n] = 'd';
	}
	good = all_there() && walks_both_ways();
	ok(good && height() > 0 && height() < 9, "400 keys that share %zu bytes: %d levels", shared, height());
	empty_tree();
	ok(tree.root == 0, "and they are deleted");
}

/* Each key shares 8,000 bytes with its like, and nothing with the others. */
static void test_long_and_different(void)
{
	static char key[8192];

	for (uint32_t i = 0; i < 600; i++) {
		memset(key, (int)('A' + i * 31 % 50), 8000);
		put(key, 8000 + (size_t)snprintf(key + 8000, 16, "%04u", i * 7 % 600), "v", 1);
	}
	ok(all_there() && walks_both_ways() && height() > 0 && height() < 9,
	   "600 keys of 8,000 bytes in 50 groups: %d levels", height());
	test_down_to_empty("at random", 2);
}

static void want_page(const char *p, size_t n, bool good, const char *what)
{
	ok((tree_check_page((const uint8_t *)p, n) == 0) == good, "page: %s", what);
}

static void test_check_page(void)
{
	want_page("", 0, false, "no byte");
	want_page("\1", 1, false, "no entry");
	want_page("\3\0\1\0a", 5, false, "unknown kind");
	want_page("\1\0\1\0a", 5, true, "a leaf of one entry");
	want_page("\1\0\1\0a\1\1\2bxy", 11, true, "two");
	want_page("\1\0\1\0a\2\1\0b", 9, false, "shares more than there is");
	want_page("\1\0\2\0a", 5, false, "key beyond the end");
	want_page("\1\0\1\1a", 5, false, "value beyond the end");
	want_page("\1\0\1", 3, false, "cut in its lengths");
	want_page("\1\x80\x80\x80\x80\0\1\0a", 9, false, "a length of five bytes");
	want_page("\1\xff\xff\xff\x7f\1\0a", 8, false, "a huge length");
	want_page("\2\0\0\4\0\0\0\1", 8, true, "an inner page");
	want_page("\2\0\0\3\0\0\1", 7, false, "an inner page with a short value");
}

/* Up to three bytes of a page become others, and its checksum fits; *was gets the page as it was.  False
 * if there is no such page. */
static bool spoil_page(uint32_t no, struct buf *was)
{
	size_t n;
	uint8_t *p = statefile_edit(file, KIND_PAGE, no, 0, &n);

	if (p == NULL)
		return false;
	buf_reset(was);
	buf_add(was, p, n);
	for (uint32_t i = 1 + next_random() % 3; i > 0; i--)
		p[next_random() % n] ^= (uint8_t)(1 + next_random() % 255);
	return true;
}

/* Looks everywhere in what is not to be believed.  What comes in a walk is above, or below, what came. */
static bool looks_everywhere(struct tree *t)
{
	auto_buf struct buf at = BUF_INIT, key = BUF_INIT, val = BUF_INIT;
	bool good = true;

	for (; good && tree_next(t, at.data, at.len, false, &key, &val); buf_add(&at, key.data, key.len)) {
		good = compare(key.data, key.len, at.data, at.len) > 0;
		buf_reset(&at);
	}
	buf_reset(&at);
	for (buf_add(&at, "\xff", 1); good && tree_prev(t, at.data, at.len, &key, &val);
	     buf_add(&at, key.data, key.len)) {
		good = compare(key.data, key.len, at.data, at.len) < 0;
		buf_reset(&at);
	}
	for (size_t i = 0; i < npairs; i += 7)
		(void)tree_get(t, pairs[i].key, pairs[i].klen, &val);
	return good;
}

/* A reader comes to an end, whatever the pages say. */
static void test_spoiled(void)
{
	auto_buf struct buf was = BUF_INIT;
	int spoiled = 0, noticed = 0;
	bool good = true;
	char key[8200];

	empty_tree();
	for (uint32_t i = 0; i < 1500; i++)
		put(key, make_key(key, 2, i * 7919 % 1500), "v", 1);
	reopen();
	for (int i = 0; i < 300 && good; i++) {
		struct tree t = { .root = tree.root, .next_page = tree.next_page, .reader = true };
		uint32_t no = i % 3 == 0 ? tree.root : 1 + next_random() % tree.next_page;

		if (!spoil_page(no, &was))
			continue;
		spoiled++;
		statefile_commit(file);
		statefile_close(file);
		if (statefile_open(&t.file, path, false) == STATEFILE_OK)
			good = looks_everywhere(&t);
		noticed += statefile_failed(t.file) != 0 || t.torn;
		statefile_close(t.file);
		good &= statefile_open(&file, path, true) == STATEFILE_OK;
		statefile_put(file, KIND_PAGE, no, 0, was.data, was.len);
	}
	tree.file = file;
	ok(good && all_there() && spoiled > 50 && noticed > 20, "%d pages spoiled one after the other: a reader comes to its end "
	   "(%d times it noticed)", spoiled, noticed);
}

int main(void)
{
	static const struct {
		const char *name;
		uint32_t n;
	} styles[] = {
		{ "short keys", 4000 }, { "a long shared beginning", 1500 }, { "folders", 4000 },
		{ "three letters", 2500 }, { "up to 8,000 bytes", 500 },
	};
	static const char *const orders[] = { "in order", "in reverse", "mixed" };

	if (!mkdtemp(dir))
		return 77;
	snprintf(path, sizeof(path), "%s/t.tdb", dir);
	file = statefile_new(path);
	statefile_put(file, KIND_IDENTITY, 0, 0, "id", 2);
	if (statefile_create(file) != 0)
		return 99;
	tree = (struct tree){ .file = file, .next_page = 1 };
	test_check_page();
	test_empty();
	for (int style = 0; style < 5; style++)
		for (int order = 0; order < 3; order++) {
			test_order(style, styles[style].name, styles[style].n, order, orders[order]);
			test_any(styles[style].name, style == 4 ? 10 : 133);
			test_down_to_empty(order == 0 ? "in order" : order == 1 ? "from the end" :
					   "at random", (order + style) % 3);
		}
	for (int style = 0; style < 5; style++)
		test_random(style, styles[style].name, style == 4 ? 1500 : 4000);
	empty_tree();
	test_deep_paths(2000);
	test_deep_paths(4085);
	test_deep_paths(8100);
	test_long_and_different();
	test_shrinks();
	test_no_page_left();
	test_spoiled();
	statefile_close(file);
	forget_pairs();
	free(pairs);
	unlink(path);
	rmdir(dir);
	return tap_done();
}
