/* digest: SHA-256 and UUIDv5, over nettle.
 *
 * Why nettle and not libcrypto: Debian's libcurl, in each of its flavours, loads both already, so
 * neither adds a library to the process.  Nettle's contexts live on the stack and its calls cannot
 * fail; its fat build picks the processor's SHA instructions at run time. */
#ifndef LINESYNC_DIGEST_H
#define LINESYNC_DIGEST_H

#include <nettle/sha2.h>
#include <stddef.h>
#include <stdint.h>

#define DIGEST_SIZE 32

struct digest {
	struct sha256_ctx ctx;
};

void digest_init(struct digest *d);
void digest_add(struct digest *d, const void *p, size_t n);
/* Adds n as 8 bytes, big endian, then the bytes: fields of any length stay apart. */
void digest_field(struct digest *d, const void *p, size_t n);
void digest_done(struct digest *d, uint8_t out[DIGEST_SIZE]);

void digest_of(const void *p, size_t n, uint8_t out[DIGEST_SIZE]);
/* The first 8 bytes of SHA-256 as a big-endian number. */
uint64_t digest_64(const void *p, size_t n);

/* UUIDv5 (RFC 9562 section 5.5) of the URL namespace and n bytes of name: 36 characters and a NUL,
 * lower case. */
void uuid5_url(char out[37], const void *name, size_t n);

#endif
