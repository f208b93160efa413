#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <string.h>

#include "tree.h"

#define LEAF 1
#define INNER 2
#define MAX_HEIGHT 16
#define INNER_LEAST 4		/* entries of an inner page that comes from a split */

/* One entry of a page as it lies there. */
struct entry {
	size_t at, end;			/* offsets of its first byte and of what follows it */
	size_t shared;			/* bytes of the key before that this key begins with */
	const uint8_t *suffix;
	size_t suffix_len;
	const uint8_t *val;
	size_t val_len;
};

static bool get_varint(const uint8_t *p, size_t n, size_t *at, size_t *out)
{
	size_t v = 0;

	for (int shift = 0; shift < 28; shift += 7) {
		if (*at >= n)
			return false;
		v |= (size_t)(p[*at] & 0x7f) << shift;
		if (!(p[(*at)++] & 0x80)) {
			*out = v;
			return true;
		}
	}
	return false;
}

static void add_varint(struct buf *b, size_t v)
{
	for (; v >= 0x80; v >>= 7)
		buf_addc(b, (char)(v | 0x80));
	buf_addc(b, (char)v);
}

static inline bool read_entry(const uint8_t *p, size_t n, size_t at, struct entry *e)
{
	e->at = at;
	if (n - at >= 3 && ((p[at] | p[at + 1] | p[at + 2]) & 0x80) == 0) {	/* nearly all */
		e->shared = p[at];
		e->suffix_len = p[at + 1];
		e->val_len = p[at + 2];
		at += 3;
	} else if (!get_varint(p, n, &at, &e->shared) || !get_varint(p, n, &at, &e->suffix_len) ||
		   !get_varint(p, n, &at, &e->val_len)) {
		return false;
	}
	if (e->suffix_len > n - at || e->val_len > n - at - e->suffix_len)
		return false;
	e->suffix = p + at;
	e->val = e->suffix + e->suffix_len;
	e->end = at + e->suffix_len + e->val_len;
	return true;
}

int tree_check_page(const uint8_t *p, size_t n)
{
	size_t klen = 0;
	struct entry e;

	if (n < 2 || (p[0] != LEAF && p[0] != INNER))
		return -1;
	for (size_t at = 1; at < n; at = e.end) {
		if (!read_entry(p, n, at, &e) || e.shared > klen ||
		    e.shared + e.suffix_len > TREE_KEY_MAX || (p[0] == INNER && e.val_len != 4))
			return -1;
		klen = e.shared + e.suffix_len;
	}
	return 0;
}

static const uint8_t *page(struct tree *t, uint32_t no, size_t *n)
{
	static const uint8_t nothing[1] = { LEAF };
	const uint8_t *p = statefile_get(t->file, KIND_PAGE, no, 0, n);

	if (p != NULL && *n >= 2 && (p[0] == LEAF || p[0] == INNER))
		return p;
	if (p == NULL && t->reader)
		t->torn = true;
	else
		statefile_damaged(t->file, p == NULL ? "a page is missing" : "a page does not parse");
	*n = sizeof nothing;
	return nothing;
}

/* Whether a reader's answer counts.  After damage what goes on here finds pages without entries, and comes
 * to its end. */
static bool is_well(const struct tree *t)
{
	return statefile_failed(t->file) == 0;
}

static inline void next_entry(struct tree *t, const uint8_t *p, size_t n, size_t at, struct entry *e)
{
	if (read_entry(p, n, at, e))
		return;
	statefile_damaged(t->file, "a page does not parse");
	*e = (struct entry){ .at = at, .end = n, .suffix = p, .val = p };
}

/* Where a key stands in a page.  Only lengths of common beginnings are carried along: a key that
 * shares more with its predecessor than the predecessor shares with ours is on the same side. */
struct place {
	bool found;		/* e is the key itself */
	bool at_end;		/* the key is above all entries; e is not valid */
	struct entry e;		/* else: the first entry that is not below the key */
	size_t lcp_before;	/* bytes that the key shares with the entry before e */
	size_t lcp_here;	/* bytes that it shares with e */
	bool has_before;
	struct entry before;	/* the last entry below the key */
};

static void locate(struct tree *t, const uint8_t *p, size_t n, const uint8_t *key, size_t klen,
		   struct place *pl)
{
	size_t lcp = 0;

	memset(pl, 0, sizeof *pl);
	for (size_t at = 1; at < n; at = pl->e.end) {
		struct entry *e = &pl->e;
		size_t i = lcp, k = 0;

		next_entry(t, p, n, at, e);
		if (e->shared < lcp) {
			pl->lcp_before = lcp;
			pl->lcp_here = e->shared;
			return;
		}
		if (e->shared == lcp) {
			while (k < e->suffix_len && i < klen && e->suffix[k] == key[i])
				k++, i++;
			if (k == e->suffix_len && i == klen)
				pl->found = true;
			if (pl->found || i == klen || (k < e->suffix_len && e->suffix[k] > key[i])) {
				pl->lcp_before = lcp;
				pl->lcp_here = i;
				return;
			}
			lcp = i;
		}
		pl->has_before = true;
		pl->before = *e;
	}
	pl->at_end = true;
	pl->lcp_before = lcp;
}

static uint32_t child_of(struct tree *t, const struct entry *e)
{
	if (e->val_len != 4) {
		statefile_damaged(t->file, "an inner page does not parse");
		return 0;	/* no page has that number */
	}
	return (uint32_t)e->val[0] << 24 | (uint32_t)e->val[1] << 16 | (uint32_t)e->val[2] << 8 | e->val[3];
}

/* The page below an inner page that covers key, and where its own entry stands (0 if none does). */
static uint32_t step_down(struct tree *t, const uint8_t *p, size_t n, const uint8_t *key, size_t klen,
			  size_t *at)
{
	struct place pl;
	const struct entry *e;

	locate(t, p, n, key, klen, &pl);
	e = pl.found ? &pl.e : &pl.before;
	*at = 0;
	if (!pl.found && !pl.has_before) {
		statefile_damaged(t->file, "an inner page has no first entry");
		return 0;
	}
	*at = e->at;
	return child_of(t, e);
}

/* Fills path[] with the pages from the root to the leaf that covers key; returns how many. */
static int descend(struct tree *t, const uint8_t *key, size_t klen, uint32_t path[MAX_HEIGHT])
{
	uint32_t no = t->root;
	size_t n, at;

	for (int depth = 0; depth < MAX_HEIGHT; depth++) {
		const uint8_t *p = page(t, no, &n);

		path[depth] = no;
		if (p[0] == LEAF)
			return depth + 1;
		no = step_down(t, p, n, key, klen, &at);
	}
	statefile_damaged(t->file, "the tree is too deep");
	return MAX_HEIGHT;
}

bool tree_get(struct tree *t, const void *key, size_t klen, struct buf *val)
{
	uint32_t path[MAX_HEIGHT];
	struct place pl;
	const uint8_t *p;
	size_t n;

	buf_reset(val);
	if (t->root == 0)
		return false;
	p = page(t, path[descend(t, key, klen, path) - 1], &n);
	locate(t, p, n, key, klen, &pl);
	if (!pl.found || !is_well(t))
		return false;
	buf_add(val, pl.e.val, pl.e.val_len);
	return true;
}

static void add_entry(struct buf *b, size_t shared, const void *suffix, size_t suffix_len,
		      const void *val, size_t vlen)
{
	add_varint(b, shared);
	add_varint(b, suffix_len);
	add_varint(b, vlen);
	buf_add(b, suffix, suffix_len);
	buf_add(b, val, vlen);
}

/* The page with key = val put in, into *out; *at_end tells that it became the last entry. */
static void page_with(struct tree *t, struct buf *out, const uint8_t *p, size_t n, const uint8_t *key,
		      size_t klen, const void *val, size_t vlen, bool *at_end)
{
	struct place pl;
	size_t skip;

	locate(t, p, n, key, klen, &pl);
	*at_end = pl.at_end;
	if (pl.at_end) {
		buf_add(out, p, n);
		add_entry(out, pl.lcp_before, key + pl.lcp_before, klen - pl.lcp_before, val, vlen);
		return;
	}
	buf_add(out, p, pl.e.at);
	if (pl.found) {
		add_entry(out, pl.e.shared, pl.e.suffix, pl.e.suffix_len, val, vlen);
	} else {
		add_entry(out, pl.lcp_before, key + pl.lcp_before, klen - pl.lcp_before, val, vlen);
		skip = pl.lcp_here - pl.e.shared;
		add_entry(out, pl.lcp_here, pl.e.suffix + skip, pl.e.suffix_len - skip, pl.e.val,
			  pl.e.val_len);
	}
	buf_add(out, p + pl.e.end, n - pl.e.end);
}

static uint32_t new_page(struct tree *t, const void *p, size_t n)
{
	uint32_t no = t->next_page++;

	statefile_put(t->file, KIND_PAGE, no, 0, p, n);
	return no;
}

static void put_at(struct tree *t, uint32_t path[], int depth, const uint8_t *key, size_t klen,
		   const void *val, size_t vlen);

static size_t count_entries(struct tree *t, const uint8_t *p, size_t n)
{
	size_t count = 0;
	struct entry e;

	for (size_t at = 1; at < n; at = e.end, count++)
		next_entry(t, p, n, at, &e);
	return count;
}

/* Inner pages of fewer entries stay whole, whatever their size: pages that each keep one or two long
 * keys would make a tree of any height. */
static bool is_too_large(struct tree *t, const uint8_t *p, size_t n)
{
	if (n <= TREE_PAGE)
		return false;
	return count_entries(t, p, n) >= (p[0] == INNER ? 2 * INNER_LEAST : 2);
}

/* The root had to split: a new root above it and its new neighbour. */
static void grow(struct tree *t, const uint8_t *sep, size_t seplen, uint32_t right)
{
	auto_buf struct buf b = BUF_INIT;
	uint8_t left_be[4], right_be[4];

	for (int i = 0; i < 4; i++) {
		left_be[i] = (uint8_t)(t->root >> (24 - 8 * i));
		right_be[i] = (uint8_t)(right >> (24 - 8 * i));
	}
	buf_addc(&b, INNER);
	add_entry(&b, 0, "", 0, left_be, 4);
	add_entry(&b, 0, sep, seplen, right_be, 4);
	t->root = new_page(t, b.data, b.len);
}

/* Where a page that became too large is cut: before its last entry if that is the new one (keys that
 * come in order then leave full pages behind), else near the middle; but with at least `least` entries
 * on each side.  The whole key of the first entry after the cut goes to *key, and how much of it the
 * entry before shares is in *first. */
static size_t cut_point(struct tree *t, const uint8_t *p, size_t n, bool before_last, size_t least,
			struct buf *key, struct entry *first)
{
	size_t at = 1, count = count_entries(t, p, n);

	for (size_t i = 0;; i++) {
		next_entry(t, p, n, at, first);
		key->len = first->shared;
		buf_add(key, first->suffix, first->suffix_len);
		if (i >= least && (i + least >= count || (!before_last && at >= n / 2)))
			return at;
		at = first->end;
	}
}

static void split(struct tree *t, uint32_t path[], int depth, const uint8_t *p, size_t n, bool at_end)
{
	auto_buf struct buf key = BUF_INIT, right = BUF_INIT;
	struct entry first;
	bool inner = p[0] == INNER;
	size_t at = cut_point(t, p, n, at_end, inner ? INNER_LEAST : 1, &key, &first);
	size_t seplen = inner ? key.len : first.shared + 1;
	uint32_t no;
	uint8_t be[4];

	buf_addc(&right, (char)p[0]);
	if (inner)
		add_entry(&right, 0, "", 0, first.val, first.val_len);
	else
		add_entry(&right, 0, key.data, key.len, first.val, first.val_len);
	/* in an inner page the first key became empty, so the second shares nothing with it */
	if (inner && first.end < n) {
		struct entry second;
		auto_buf struct buf whole = BUF_INIT;

		next_entry(t, p, n, first.end, &second);
		buf_add(&whole, key.data, second.shared);
		buf_add(&whole, second.suffix, second.suffix_len);
		add_entry(&right, 0, whole.data, whole.len, second.val, second.val_len);
		buf_add(&right, p + second.end, n - second.end);
	} else {
		buf_add(&right, p + first.end, n - first.end);
	}
	no = new_page(t, right.data, right.len);
	statefile_put(t->file, KIND_PAGE, path[depth], 0, p, at);
	if (depth == 0) {
		grow(t, (const uint8_t *)key.data, seplen, no);
		return;
	}
	for (int i = 0; i < 4; i++)
		be[i] = (uint8_t)(no >> (24 - 8 * i));
	put_at(t, path, depth - 1, (const uint8_t *)key.data, seplen, be, 4);
}

/* Puts an entry into the page path[depth]; path above it is valid. */
static void put_at(struct tree *t, uint32_t path[], int depth, const uint8_t *key, size_t klen,
		   const void *val, size_t vlen)
{
	auto_buf struct buf b = BUF_INIT;
	bool at_end;
	size_t n;
	const uint8_t *p = page(t, path[depth], &n);

	buf_reserve(&b, n + klen + vlen + 16);
	page_with(t, &b, p, n, key, klen, val, vlen, &at_end);
	if (is_too_large(t, (const uint8_t *)b.data, b.len))
		split(t, path, depth, (const uint8_t *)b.data, b.len, at_end);
	else
		statefile_put(t->file, KIND_PAGE, path[depth], 0, b.data, b.len);
}

void tree_put(struct tree *t, const void *key, size_t klen, const void *val, size_t vlen)
{
	uint32_t path[MAX_HEIGHT];

	if (t->root == 0) {
		auto_buf struct buf b = BUF_INIT;

		buf_addc(&b, LEAF);
		add_entry(&b, 0, key, klen, val, vlen);
		t->root = new_page(t, b.data, b.len);
		return;
	}
	put_at(t, path, descend(t, key, klen, path) - 1, key, klen, val, vlen);
}

/* Removes the entry at e from a page's bytes, into *out.  The entry after it takes over what it
 * shared with the one removed. */
static void page_without(struct tree *t, struct buf *out, const uint8_t *p, size_t n,
			 const struct entry *e)
{
	struct entry next;

	buf_add(out, p, e->at);
	if (e->end == n)
		return;
	next_entry(t, p, n, e->end, &next);
	if (e->at == 1 && p[0] == INNER) {
		add_entry(out, 0, "", 0, next.val, next.val_len);
		/* the one after shared bytes with a key that is empty now */
		if (next.end < n) {
			struct entry third;
			auto_buf struct buf whole = BUF_INIT;

			next_entry(t, p, n, next.end, &third);
			buf_add(&whole, next.suffix, next.suffix_len);
			whole.len = third.shared;
			buf_add(&whole, third.suffix, third.suffix_len);
			add_entry(out, 0, whole.data, whole.len, third.val, third.val_len);
			buf_add(out, p + third.end, n - third.end);
		}
		return;
	}
	if (next.shared > e->shared) {
		auto_buf struct buf suffix = BUF_INIT;

		buf_add(&suffix, e->suffix, next.shared - e->shared);
		buf_add(&suffix, next.suffix, next.suffix_len);
		add_entry(out, e->shared, suffix.data, suffix.len, next.val, next.val_len);
	} else {
		add_entry(out, next.shared, next.suffix, next.suffix_len, next.val, next.val_len);
	}
	buf_add(out, p + next.end, n - next.end);
}

/* Writes the page path[depth] without its entry e; an empty page leaves its parent too. */
static void remove_at(struct tree *t, uint32_t path[], int depth, const uint8_t *p, size_t n,
		      const struct entry *e, const uint8_t *key, size_t klen)
{
	auto_buf struct buf b = BUF_INIT;

	page_without(t, &b, p, n, e);
	if (b.len > 1) {
		statefile_put(t->file, KIND_PAGE, path[depth], 0, b.data, b.len);
		return;
	}
	statefile_del(t->file, KIND_PAGE, path[depth], 0);
	if (depth == 0) {
		t->root = 0;
	} else {
		const uint8_t *up;
		struct entry above;
		size_t un, at;

		up = page(t, path[depth - 1], &un);
		step_down(t, up, un, key, klen, &at);
		next_entry(t, up, un, at, &above);
		remove_at(t, path, depth - 1, up, un, &above, key, klen);
	}
}

/* A root with a single page below it is not needed. */
static void shrink(struct tree *t)
{
	while (t->root != 0) {
		struct entry only;
		size_t n;
		const uint8_t *p = page(t, t->root, &n);
		uint32_t old = t->root;

		if (p[0] == LEAF)
			return;
		next_entry(t, p, n, 1, &only);
		if (only.end != n)
			return;
		t->root = child_of(t, &only);
		statefile_del(t->file, KIND_PAGE, old, 0);
	}
}

bool tree_del(struct tree *t, const void *key, size_t klen)
{
	uint32_t path[MAX_HEIGHT];
	struct place pl;
	const uint8_t *p;
	int depth;
	size_t n;

	if (t->root == 0)
		return false;
	depth = descend(t, key, klen, path) - 1;
	p = page(t, path[depth], &n);
	locate(t, p, n, key, klen, &pl);
	if (!pl.found)
		return false;
	remove_at(t, path, depth, p, n, &pl.e, key, klen);
	shrink(t);
	return true;
}

/* From the key before it in its page to the entry's own. */
static void make_whole(struct tree *t, const struct entry *e, struct buf *key)
{
	if (e->shared > key->len) {
		statefile_damaged(t->file, "a page does not parse");
		return;
	}
	key->len = e->shared;
	buf_add(key, e->suffix, e->suffix_len);
}

/* The first entry of the page that is above `after`, whole, or false if the page has none. */
static bool next_in_page(struct tree *t, const uint8_t *p, size_t n, const uint8_t *after, size_t alen,
			 bool or_equal, struct buf *key, struct buf *val)
{
	struct entry e;

	key->len = 0;
	for (size_t at = 1; at < n; at = e.end) {
		size_t common;
		int c;

		next_entry(t, p, n, at, &e);
		make_whole(t, &e, key);
		common = key->len < alen ? key->len : alen;
		c = common ? memcmp(key->data, after, common) : 0;
		if (c == 0)
			c = (key->len > alen) - (key->len < alen);
		if (c > 0 || (c == 0 && or_equal)) {
			buf_reset(val);
			buf_add(val, e.val, e.val_len);
			return true;
		}
	}
	return false;
}

static bool next_below(struct tree *t, uint32_t no, const uint8_t *after, size_t alen, bool or_equal,
		       struct buf *key, struct buf *val, int depth)
{
	size_t n, at;
	const uint8_t *p = page(t, no, &n);
	struct entry e;

	if (p[0] == LEAF)
		return next_in_page(t, p, n, after, alen, or_equal, key, val);
	if (depth >= MAX_HEIGHT) {
		statefile_damaged(t->file, "the tree is too deep");
		return false;
	}
	step_down(t, p, n, after, alen, &at);
	for (; at != 0 && at < n; at = e.end) {
		next_entry(t, p, n, at, &e);
		if (next_below(t, child_of(t, &e), after, alen, or_equal, key, val, depth + 1))
			return true;
	}
	return false;
}

bool tree_next(struct tree *t, const void *after, size_t alen, bool or_equal, struct buf *key,
	       struct buf *val)
{
	if (t->root == 0)
		return false;
	statefile_trim(t->file);
	return next_below(t, t->root, after, alen, or_equal, key, val, 0) && is_well(t);
}

/* The last entry of the page that is below `before`, whole, or false if the page has none. */
static bool prev_in_page(struct tree *t, const uint8_t *p, size_t n, const uint8_t *before, size_t blen,
			 struct buf *key, struct buf *val)
{
	struct place pl;
	struct entry e;

	key->len = 0;
	locate(t, p, n, before, blen, &pl);
	if (!pl.has_before)
		return false;
	for (size_t at = 1; at <= pl.before.at; at = e.end) {
		next_entry(t, p, n, at, &e);
		make_whole(t, &e, key);
	}
	buf_reset(val);
	buf_add(val, e.val, e.val_len);
	return true;
}

/* Where the entry before the one at `at` stands; 0 if that is the first. */
static size_t entry_before(struct tree *t, const uint8_t *p, size_t n, size_t at)
{
	size_t before = 0;
	struct entry e;

	for (size_t i = 1; i < at; i = e.end) {
		next_entry(t, p, n, i, &e);
		before = i;
	}
	return before;
}

static bool prev_below(struct tree *t, uint32_t no, const uint8_t *before, size_t blen, struct buf *key,
		       struct buf *val, int depth)
{
	size_t n, at;
	const uint8_t *p = page(t, no, &n);
	struct entry e;

	if (p[0] == LEAF)
		return prev_in_page(t, p, n, before, blen, key, val);
	if (depth >= MAX_HEIGHT) {
		statefile_damaged(t->file, "the tree is too deep");
		return false;
	}
	step_down(t, p, n, before, blen, &at);
	for (; at != 0; at = entry_before(t, p, n, at)) {
		next_entry(t, p, n, at, &e);
		if (prev_below(t, child_of(t, &e), before, blen, key, val, depth + 1))
			return true;
	}
	return false;
}

bool tree_prev(struct tree *t, const void *before, size_t blen, struct buf *key, struct buf *val)
{
	if (t->root == 0)
		return false;
	statefile_trim(t->file);
	return prev_below(t, t->root, before, blen, key, val, 0) && is_well(t);
}

/* The entry number i of a page, its key whole into *key. */
static void take_entry(struct tree *t, const uint8_t *p, size_t n, uint64_t i, struct entry *e, struct buf *key)
{
	size_t at = 1;

	key->len = 0;
	do {
		next_entry(t, p, n, at, e);
		make_whole(t, e, key);
		at = e->end;
	} while (i-- > 0);
}

bool tree_any(struct tree *t, uint64_t (*chance)(void), struct buf *key, struct buf *val)
{
	uint32_t no = t->root;

	if (no == 0)
		return false;
	statefile_trim(t->file);
	for (int depth = 0; depth <= MAX_HEIGHT; depth++) {
		size_t n, count;
		const uint8_t *p = page(t, no, &n);
		struct entry e;

		count = count_entries(t, p, n);
		if (count == 0)		/* torn */
			return false;
		take_entry(t, p, n, chance() % count, &e, key);
		if (p[0] == LEAF) {
			buf_reset(val);
			buf_add(val, e.val, e.val_len);
			return is_well(t);
		}
		no = child_of(t, &e);
	}
	statefile_damaged(t->file, "the tree is too deep");
	return false;
}
