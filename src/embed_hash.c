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

/* What is computed is specified in linesync-hash(7), for others to do the same; here is how.
 *
 * Words, identifiers and bigrams are counted by their hash, in a table of bounded size: a text with
 * more of them than it takes is read several times, for a part of the hashes each.  Trigrams, of which
 * there are the most, are nearly all of three letters a-z or three digits, and have a counter each.
 * All the rest is done in whole numbers, so that neither the processor's floating point nor the order
 * of addition shows; sqrt() is exact for what it is given (below 2^52). */

#define FNV_START UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME UINT64_C(0x100000001b3)
#define FOLD UINT64_C(0x9e3779b97f4a7c15)

#define SLOTS_MIN 256
#define SLOTS_MAX (1 << 18)	/* 3 MiB */
#define COUNT_MAX (1 << 24)
#define SUM_BITS 50

/* A count is kept as ONE times itself, plus the weight of its feature. */
enum weight { WEIGHT_TRIGRAM = 2, WEIGHT_BIGRAM = 3, WEIGHT_IDENTIFIER = 4, WEIGHT_WORD = 4 };
#define ONE 8

#define LETTER_TRIGRAMS (26 * 26 * 26)
#define TRIGRAMS (LETTER_TRIGRAMS + 1000)

enum class { OTHER, DIGIT, LOWER, UPPER };	/* in this order in classify() */

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

/* Counts of the trigrams of a-z and of digits, and which are not zero. */
static struct {
	uint32_t counts[TRIGRAMS];
	uint16_t seen[TRIGRAMS];
	size_t nseen;
} trigrams;


/* What goes on from word to word. */
struct scan {
	struct table *t;
	uint64_t identifier;	/* hash of its words so far, of which there are nwords */
	size_t nwords;
	uint64_t previous;	/* hash of a bigram that begins with the word before */
	bool has_previous;
};

/* fmix64 of MurmurHash3 (A. Appleby, public domain). */
static uint64_t mix(uint64_t h)
{
	h ^= h >> 33;
	h *= UINT64_C(0xff51afd7ed558ccd);
	h ^= h >> 33;
	h *= UINT64_C(0xc4ceb9fe1a85ec53);
	h ^= h >> 33;
	return h;
}

static uint64_t fold(uint64_t h, uint64_t value)
{
	return mix(h * FOLD + value);
}

/* Class, length and code point of the character at p, which is not ASCII. */
static enum class classify_utf8(const unsigned char *p, const unsigned char *end, size_t *len, uint32_t *u)
{
	size_t i;

	*len = 1;
	*u = 0;
	if (*p < 0xc2 || *p > 0xf4)
		return OTHER;
	*len = *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;
	if (end - p < (ptrdiff_t)*len || utf8_check(p, *len) < *len) {
		*len = 1;
		return OTHER;
	}
	*u = *p & (0x7fu >> *len);
	for (i = 1; i < *len; i++)
		*u = *u << 6 | (p[i] & 0x3f);
	if (*u < 0xc0 || *u == 0xd7 || *u == 0xf7 || (*u >= 0x2000 && *u <= 0x206f) ||
	    (*u >= 0x3000 && *u <= 0x303f))
		return OTHER;
	return LOWER;
}

/* Class, length and code point of the character at p, with A-Z in lower case. */
static inline enum class classify(const unsigned char *p, const unsigned char *end, size_t *len, uint32_t *u)
{
	static const char classes[] = "00000000000000000000000000000000"
				      "00000000000000001111111111000000"
				      "03333333333333333333333333300000"
				      "02222222222222222222222222200000";
	enum class class;

	if (*p >= 0x80)
		return classify_utf8(p, end, len, u);
	class = classes[*p] & 3;
	*len = 1;
	*u = *p + (class == UPPER ? 'a' - 'A' : 0);
	return class;
}

/* One more of the feature with this hash.  A full table takes no more: the caller looks. */
static void count_feature(struct table *t, uint64_t h, enum weight weight)
{
	size_t at;

	h = h != 0 ? h : 1;
	if ((h >> 1 & ((UINT64_C(1) << t->part_bits) - 1)) != t->part || t->used >= t->limit)
		return;
	at = (size_t)(h >> (1 + t->part_bits)) & (t->slots - 1);
	while (t->hashes[at] != h) {
		if (t->hashes[at] == 0) {
			t->hashes[at] = h;
			t->counts[at] = weight;
			t->used++;
			break;
		}
		at = (at + 1) & (t->slots - 1);
	}
	if (t->counts[at] / ONE < COUNT_MAX)
		t->counts[at] += ONE;
}

/* One more of the trigram with these code points, which are of one word. */
static void count_trigram(struct table *t, uint32_t x, uint32_t y, uint32_t z)
{
	size_t i;

	if ((x | y | z) >= 0x80) {
		count_feature(t, fold('t', (uint64_t)x << 42 | (uint64_t)y << 21 | z), WEIGHT_TRIGRAM);
		return;
	}
	if (t->part != 0)
		return;
	if (x <= '9')
		i = LETTER_TRIGRAMS + (x - '0') * 100 + (y - '0') * 10 + (z - '0');
	else
		i = (x - 'a') * 676 + (y - 'a') * 26 + (z - 'a');
	if (trigrams.counts[i] == 0)
		trigrams.seen[trigrams.nseen++] = (uint16_t)i;
	if (trigrams.counts[i] < COUNT_MAX)
		trigrams.counts[i]++;
}

static uint64_t ascii_trigram_hash(size_t i)
{
	uint64_t x, y, z;

	if (i >= LETTER_TRIGRAMS) {
		i -= LETTER_TRIGRAMS;
		x = '0' + i / 100, y = '0' + i / 10 % 10, z = '0' + i % 10;
	} else {
		x = 'a' + i / 676, y = 'a' + i / 26 % 26, z = 'a' + i % 26;
	}
	return fold('t', x << 42 | y << 21 | z);
}

/* Where the word that begins at p ends: "parseHTTPHeader2" is parse, HTTP, Header, 2. */
static const unsigned char *word_end(const unsigned char *p, const unsigned char *end)
{
	enum class class, first;
	size_t len, capitals;
	uint32_t u;

	first = class = classify(p, end, &len, &u);
	for (capitals = 0; class == UPPER; capitals++) {
		p += len;
		class = p < end ? classify(p, end, &len, &u) : OTHER;
	}
	if (capitals > 1)
		return class == LOWER ? p - 1 : p;
	if (first == UPPER)
		first = LOWER;
	while (class == first) {
		p += len;
		class = p < end ? classify(p, end, &len, &u) : OTHER;
	}
	return p;
}

/* Counts the trigrams of the word from p to end, and returns the hash of its bytes. */
static uint64_t read_word(struct table *t, const unsigned char *p, const unsigned char *end)
{
	uint32_t x = 0, y = 0, z;
	uint64_t h = FNV_START;
	size_t len, nchars = 0;

	for (; p < end; p += len) {
		classify(p, end, &len, &z);
		h = (h ^ (len == 1 ? z : *p)) * FNV_PRIME;
		for (size_t i = 1; i < len; i++)
			h = (h ^ p[i]) * FNV_PRIME;
		if (++nchars >= 3)
			count_trigram(t, x, y, z);
		x = y;
		y = z;
	}
	return h;
}

static void count_identifier(struct scan *s)
{
	if (s->nwords > 1)
		count_feature(s->t, s->identifier, WEIGHT_IDENTIFIER);
	s->nwords = 0;
	s->identifier = 'i';
}

static void count_word(struct scan *s, const unsigned char *p, const unsigned char *end)
{
	uint64_t word = read_word(s->t, p, end);

	count_feature(s->t, fold('w', word), WEIGHT_WORD);
	if (s->has_previous)
		count_feature(s->t, fold(s->previous, word), WEIGHT_BIGRAM);
	s->previous = fold('b', word);
	s->has_previous = true;
	s->identifier = fold(s->identifier, word);
	s->nwords++;
}

/* Counts the features of the text that belong to t's part.  False if they do not fit. */
static bool count_features(struct table *t, const unsigned char *p, const unsigned char *end)
{
	struct scan s = { .t = t, .identifier = 'i' };
	const unsigned char *word;
	size_t len;
	uint32_t u;

	while (p < end) {
		if (classify(p, end, &len, &u) == OTHER) {
			if (u != '_')
				count_identifier(&s);
			p += len;
			continue;
		}
		word = p;
		p = word_end(p, end);
		count_word(&s, word, p);
		if (t->used >= t->limit)
			return false;
	}
	count_identifier(&s);
	return t->used < t->limit;
}

/* Rounded down; v is below 2^52, where the double's root cannot round up to the next whole number. */
static int64_t root(int64_t v)
{
	return (int64_t)sqrt((double)v);
}

/* In units of 2^-12. */
static int64_t weight(enum weight w, uint32_t count)
{
	return count == 1 ? w << 12 : w * root((int64_t)count << 24);
}

static void add_feature(int64_t *sums, size_t dim, uint64_t h, int64_t value)
{
	sums[(h >> 32) * dim >> 32] += (h & 1) != 0 ? -value : value;
}

/* Adds what was counted to the sums. */
static void add_up(struct table *t, int64_t *sums, size_t dim)
{
	size_t i;

	for (i = 0; i < t->slots; i++) {
		if (t->hashes[i] != 0)
			add_feature(sums, dim, t->hashes[i], weight(t->counts[i] % ONE, t->counts[i] / ONE));
	}
	for (i = 0; i < trigrams.nseen; i++)
		add_feature(sums, dim, ascii_trigram_hash(trigrams.seen[i]),
			    weight(WEIGHT_TRIGRAM, trigrams.counts[trigrams.seen[i]]));
}

static void clear(struct table *t)
{
	memset(t->hashes, 0, t->slots * sizeof(*t->hashes));
	t->used = 0;
	while (trigrams.nseen > 0)
		trigrams.counts[trigrams.seen[--trigrams.nseen]] = 0;
}

/* Room for one feature a byte, which is more than all but the strangest texts have. */
static void prepare(struct table *t, size_t n)
{
	t->slots = SLOTS_MIN;
	while (t->slots < SLOTS_MAX && t->slots < n)
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

	prepare(t, n);
	for (t->part_bits = 0; !fits; t->part_bits++) {
		memset(sums, 0, dim * sizeof(*sums));
		fits = true;
		for (t->part = 0; fits && t->part >> t->part_bits == 0; t->part++) {
			clear(t);
			fits = count_features(t, p, p + n);
			if (fits)
				add_up(t, sums, dim);
		}
	}
}

/* Rounded down. */
static uint64_t root_of_any(uint64_t v)
{
	uint64_t r = 0, bit = UINT64_C(1) << 62;

	for (; bit != 0; bit >>= 2) {
		if (v >= r + bit) {
			v -= r + bit;
			r = (r >> 1) + bit;
		} else {
			r >>= 1;
		}
	}
	return r;
}

/* Replaces each by its root, below 2^25, and keeps its sign.  They are shifted first, so that the
 * largest has SUM_BITS bits.  Returns the sum of the squares. */
static uint64_t flatten(int64_t *sums, size_t dim, int64_t largest)
{
	int up = 0, down = 0;
	uint64_t squares = 0;
	int64_t v;
	size_t i;

	while (largest >> down >> SUM_BITS != 0)
		down++;
	while (down == 0 && largest << up >> (SUM_BITS - 1) == 0)
		up++;
	for (i = 0; i < dim; i++) {
		v = root((sums[i] < 0 ? -sums[i] : sums[i]) << up >> down);
		squares += (uint64_t)(v * v);
		sums[i] = sums[i] < 0 ? -v : v;
	}
	return squares;
}

static void scale(float *out, int64_t *sums, size_t dim)
{
	int64_t largest = 0, length, v;
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
	length = (int64_t)root_of_any(flatten(sums, dim, largest));
	for (i = 0; i < dim; i++)
		out[i] = (float)(sums[i] * (INT64_C(1) << 30) / length) / (float)(1 << 30);
}

void embed_hash(float *out, size_t dim, const char *text, size_t n)
{
	static int64_t sums[EMBED_HASH_MAX];

	sum_features(sums, dim, text, n);
	scale(out, sums, dim);
}
