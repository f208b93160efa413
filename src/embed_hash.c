#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "text.h"

#include "embed_hash.h"

/* Version 1 in full.  Stored vectors depend on all of this, so a change is a new version.
 *
 * Letters are A-Z, a-z and every character from U+00C0 on but U+00D7, U+00F7, U+2000..U+206F and
 * U+3000..U+303F; only A-Z count as upper case.  A byte that is not UTF-8 is no letter.  Words are
 * the longest runs of digits, and the longest runs of letters cut before each upper-case letter
 * that follows one that is not, or that stands between an upper-case one and one that is not
 * ("parseHTTPHeader2": parse, http, header, 2).  A-Z are lower-cased.
 *
 * Each word W gives the feature "w" W; with the word V before it, "b" V " " W; and for each three
 * neighbouring characters XYZ of it, "t" XYZ.  The hash of a feature is FNV-1a with 64 bits over
 * its bytes, then the finaliser of MurmurHash3 (fmix64); zero becomes 1.  Its upper 32 bits, times
 * dim, divided by 2^32, give the index; its lowest bit set means minus.  Features with equal hashes
 * are one.
 *
 * The rest is done in whole numbers, so that neither the processor's floating point nor the order
 * of addition shows.  A count c (at most 2^24) weighs 1 + ln c in units of 2^-16, rounded; none of
 * these is nearer to a half than 3e-8, some 80 times what a log() that errs by one unit in the last
 * place puts in.  The sums are shifted until the largest has 26 bits and divided by the root of the
 * sum of their squares; the quotient, in units of 2^-30 and cut towards zero, becomes a float. */

#define FNV_START UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME UINT64_C(0x100000001b3)

#define SLOTS_MIN 256
#define SLOTS_MAX (1 << 18)	/* 3 MiB; a text with more features is counted in parts */
#define COUNT_MAX (1 << 24)
#define WEIGHT_ONE 65536
#define WEIGHTS 256		/* counts whose weight is kept */
#define SUM_BITS 26

enum letter { OTHER, DIGIT, LOWER, UPPER };

/* Counts by hash, with open addressing.  Empty between calls, and kept for the next. */
static struct table {
	uint64_t *hashes;	/* owned; 0: free */
	uint32_t *counts;	/* owned */
	size_t allocated;
	size_t slots;		/* in use for this text; a power of two */
	size_t used, limit;
	unsigned part_bits;	/* only hashes whose so many bits, above the lowest, ... */
	uint64_t part;		/* ... are this */
} table;

/* The word being read, and what is left of the one before. */
struct scan {
	struct table *t;
	const unsigned char *chars[3];	/* where the last three characters of the word began */
	size_t nchars;
	uint64_t word, bigram, next;	/* hashes of "w" W, "b" V " " W, and "b" W for the next one */
	bool has_previous;
	uint64_t previous;		/* hash of "b" V " " */
};

static uint64_t fnv(uint64_t h, unsigned char byte)
{
	return (h ^ byte) * FNV_PRIME;
}

/* fmix64 of MurmurHash3 (A. Appleby, public domain). */
static uint64_t finish(uint64_t h)
{
	h ^= h >> 33;
	h *= UINT64_C(0xff51afd7ed558ccd);
	h ^= h >> 33;
	h *= UINT64_C(0xc4ceb9fe1a85ec53);
	h ^= h >> 33;
	return h != 0 ? h : 1;
}

static unsigned char lower(unsigned char c)
{
	return c >= 'A' && c <= 'Z' ? (unsigned char)(c - 'A' + 'a') : c;
}

/* Class and length of the character at p. */
static enum letter classify(const unsigned char *p, const unsigned char *end, size_t *len)
{
	size_t i;
	uint32_t u;

	*len = 1;
	if (*p < 0x80) {
		if (*p >= 'a' && *p <= 'z')
			return LOWER;
		if (*p >= 'A' && *p <= 'Z')
			return UPPER;
		return *p >= '0' && *p <= '9' ? DIGIT : OTHER;
	}
	if (*p < 0xc2 || *p > 0xf4)
		return OTHER;
	*len = *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;
	if (end - p < (ptrdiff_t)*len || utf8_check(p, *len) < *len) {
		*len = 1;
		return OTHER;
	}
	u = *p & (0x7fu >> *len);
	for (i = 1; i < *len; i++)
		u = u << 6 | (p[i] & 0x3f);
	if (u < 0xc0 || u == 0xd7 || u == 0xf7 || (u >= 0x2000 && u <= 0x206f) ||
	    (u >= 0x3000 && u <= 0x303f))
		return OTHER;
	return LOWER;
}

/* One more of the feature with this hash.  A full table takes no more: the caller looks. */
static void count_feature(struct table *t, uint64_t h)
{
	size_t at;

	h = finish(h);
	if ((h >> 1 & ((UINT64_C(1) << t->part_bits) - 1)) != t->part || t->used >= t->limit)
		return;
	at = (size_t)(h >> (1 + t->part_bits)) & (t->slots - 1);
	while (t->hashes[at] != h) {
		if (t->hashes[at] == 0) {
			t->hashes[at] = h;
			t->used++;
			break;
		}
		at = (at + 1) & (t->slots - 1);
	}
	if (t->counts[at] < COUNT_MAX)
		t->counts[at]++;
}

static void word_begin(struct scan *s)
{
	s->nchars = 0;
	s->word = fnv(FNV_START, 'w');
	s->next = fnv(FNV_START, 'b');
	s->bigram = s->previous;
}

static void word_char(struct scan *s, const unsigned char *p, size_t len)
{
	const unsigned char *q;
	unsigned char c;
	uint64_t h;

	for (q = p; q < p + len; q++) {
		c = lower(*q);
		s->word = fnv(s->word, c);
		s->next = fnv(s->next, c);
		s->bigram = fnv(s->bigram, c);
	}
	s->chars[0] = s->chars[1];
	s->chars[1] = s->chars[2];
	s->chars[2] = p;
	if (++s->nchars < 3)
		return;
	h = fnv(FNV_START, 't');
	for (q = s->chars[0]; q < p + len; q++)
		h = fnv(h, lower(*q));
	count_feature(s->t, h);
}

static void word_end(struct scan *s)
{
	count_feature(s->t, s->word);
	if (s->has_previous)
		count_feature(s->t, s->bigram);
	s->previous = fnv(s->next, ' ');
	s->has_previous = true;
}

/* Counts the features of the text that belong to t's part.  False if they do not fit. */
static bool count_features(struct table *t, const unsigned char *p, const unsigned char *end)
{
	struct scan s = { .t = t };
	enum letter before = OTHER, class, after;
	size_t len, next_len = 0;
	bool new_word;

	after = p < end ? classify(p, end, &next_len) : OTHER;
	for (; p < end; p += len) {
		class = after;
		len = next_len;
		after = p + len < end ? classify(p + len, end, &next_len) : OTHER;
		if (class == UPPER)
			new_word = before != UPPER || after == LOWER;
		else
			new_word = before != class && !(class == LOWER && before == UPPER);
		if (new_word && before != OTHER) {
			word_end(&s);
			if (t->used >= t->limit)
				return false;
		}
		if (new_word && class != OTHER)
			word_begin(&s);
		if (class != OTHER)
			word_char(&s, p, len);
		before = class;
	}
	if (before != OTHER)
		word_end(&s);
	return t->used < t->limit;
}

static int64_t weight(uint32_t count)
{
	static int64_t kept[WEIGHTS];

	if (count >= WEIGHTS)
		return llround((1 + log(count)) * WEIGHT_ONE);
	if (kept[count] == 0)
		kept[count] = llround((1 + log(count)) * WEIGHT_ONE);
	return kept[count];
}

static void table_clear(struct table *t)
{
	memset(t->hashes, 0, t->slots * sizeof(*t->hashes));
	memset(t->counts, 0, t->slots * sizeof(*t->counts));
	t->used = 0;
}

/* Adds what was counted to the sums. */
static void add_up(const struct table *t, int64_t *sums, size_t dim)
{
	size_t i, axis;
	uint64_t h;

	for (i = 0; i < t->slots; i++) {
		h = t->hashes[i];
		if (h == 0)
			continue;
		axis = (size_t)((h >> 32) * dim >> 32);
		sums[axis] += (h & 1) != 0 ? -weight(t->counts[i]) : weight(t->counts[i]);
	}
}

/* Room for about two features a byte, which is more than all but the strangest texts have. */
static void table_prepare(struct table *t, size_t n)
{
	t->slots = SLOTS_MIN;
	while (t->slots < SLOTS_MAX && t->slots / 2 < n)
		t->slots *= 2;
	if (t->slots > t->allocated) {
		free(t->hashes);
		free(t->counts);
		t->hashes = xmalloc(t->slots * sizeof(*t->hashes));
		t->counts = xmalloc(t->slots * sizeof(*t->counts));
		t->allocated = t->slots;
	}
	t->limit = t->slots / 4 * 3;
}

/* Fills sums[dim].  Where the features are too many for the table, twice as many parts are tried:
 * the text is read once for each. */
static void sum_features(int64_t *sums, size_t dim, const char *text, size_t n)
{
	const unsigned char *p = (const unsigned char *)text;
	struct table *t = &table;
	bool fits = false;

	table_prepare(t, n);
	for (t->part_bits = 0; !fits; t->part_bits++) {
		memset(sums, 0, dim * sizeof(*sums));
		fits = true;
		for (t->part = 0; fits && t->part >> t->part_bits == 0; t->part++) {
			table_clear(t);
			fits = count_features(t, p, p + n);
			if (fits)
				add_up(t, sums, dim);
		}
	}
}

/* Rounded down. */
static uint64_t square_root(uint64_t v)
{
	uint64_t root = 0, bit = UINT64_C(1) << 62;

	for (; bit != 0; bit >>= 2) {
		if (v >= root + bit) {
			v -= root + bit;
			root = (root >> 1) + bit;
		} else {
			root >>= 1;
		}
	}
	return root;
}

/* sums[i] * 2^up / 2^down, towards zero: the sign needs no shifting. */
static int64_t shifted(int64_t v, int up, int down)
{
	int64_t magnitude = (v < 0 ? -v : v) * (INT64_C(1) << up) >> down;

	return v < 0 ? -magnitude : magnitude;
}

static void scale(float *out, const int64_t *sums, size_t dim)
{
	int64_t largest = 0, v;
	uint64_t squares = 0, root;
	int up = 0, down = 0;
	size_t i;

	for (i = 0; i < dim; i++) {
		v = sums[i] < 0 ? -sums[i] : sums[i];
		largest = v > largest ? v : largest;
	}
	if (largest == 0) {
		memset(out, 0, dim * sizeof(*out));
		out[0] = 1;
		return;
	}
	while (largest >> down >> SUM_BITS != 0)
		down++;
	while (down == 0 && largest << up >> (SUM_BITS - 1) == 0)
		up++;
	for (i = 0; i < dim; i++) {
		v = shifted(sums[i], up, down);
		squares += (uint64_t)(v * v);	/* 4096 squares of 26 bits: 64 bits */
	}
	root = square_root(squares);
	for (i = 0; i < dim; i++) {
		v = shifted(sums[i], up, down) * (INT64_C(1) << 30) / (int64_t)root;
		out[i] = (float)v / (float)(1 << 30);
	}
}

void embed_hash(float *out, size_t dim, const char *text, size_t n)
{
	static int64_t sums[EMBED_HASH_MAX];

	sum_features(sums, dim, text, n);
	scale(out, sums, dim);
}
