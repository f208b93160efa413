#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <string.h>

#include <nettle/sha1.h>

#include "text.h"

#include "digest.h"

/* Namespace for URLs, RFC 9562 section 6.6: 6ba7b811-9dad-11d1-80b4-00c04fd430c8. */
static const uint8_t namespace_url[16] = { 0x6b, 0xa7, 0xb8, 0x11, 0x9d, 0xad, 0x11, 0xd1,
					   0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8 };

void digest_init(struct digest *d)
{
	sha256_init(&d->ctx);
}

void digest_add(struct digest *d, const void *p, size_t n)
{
	if (n > 0)
		sha256_update(&d->ctx, n, p);
}

void digest_field(struct digest *d, const void *p, size_t n)
{
	uint8_t length[8];
	int i;

	for (i = 0; i < 8; i++)
		length[i] = (uint8_t)((uint64_t)n >> (56 - 8 * i));
	digest_add(d, length, sizeof(length));
	digest_add(d, p, n);
}

void digest_done(struct digest *d, uint8_t out[DIGEST_SIZE])
{
	sha256_digest(&d->ctx, DIGEST_SIZE, out);
}

void digest_of(const void *p, size_t n, uint8_t out[DIGEST_SIZE])
{
	struct digest d;

	digest_init(&d);
	digest_add(&d, p, n);
	digest_done(&d, out);
}

uint64_t digest_64(const void *p, size_t n)
{
	uint8_t sum[DIGEST_SIZE];
	uint64_t v = 0;
	int i;

	digest_of(p, n, sum);
	for (i = 0; i < 8; i++)
		v = v << 8 | sum[i];
	return v;
}

void uuid5_url(char out[37], const void *name, size_t n)
{
	static const uint8_t group[] = { 4, 2, 2, 2, 6 };
	struct sha1_ctx ctx;
	uint8_t sum[SHA1_DIGEST_SIZE], *from = sum;
	size_t i;

	sha1_init(&ctx);
	sha1_update(&ctx, sizeof(namespace_url), namespace_url);
	if (n > 0)
		sha1_update(&ctx, n, name);
	sha1_digest(&ctx, sizeof(sum), sum);
	sum[6] = (sum[6] & 0x0f) | 0x50;	/* version 5 */
	sum[8] = (sum[8] & 0x3f) | 0x80;	/* variant */
	for (i = 0; i < sizeof(group); i++) {
		hex_encode(out, from, group[i]);
		from += group[i];
		out += 2 * group[i];
		if (i + 1 < sizeof(group))
			*out++ = '-';
	}
}
