#include <stdlib.h>
#include <string.h>

#include "digest.h"
#include "text.h"
#include "tap.h"

static void hex_of(const void *p, size_t n, char out[65])
{
	uint8_t sum[DIGEST_SIZE];

	digest_of(p, n, sum);
	hex_encode(out, sum, sizeof(sum));
}

static void test_sha256(void)
{
	static char million[1000000];
	char hex[65], again[65];
	uint8_t sum[DIGEST_SIZE];
	struct digest d;
	size_t i;

	hex_of(NULL, 0, hex);
	ok(strcmp(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855") == 0,
	   "SHA-256 of nothing");
	hex_of("abc", 3, hex);
	ok(strcmp(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad") == 0,
	   "SHA-256 of abc");
	memset(million, 'a', sizeof(million));
	hex_of(million, sizeof(million), hex);
	ok(strcmp(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0") == 0,
	   "SHA-256 of a million a (FIPS 180-2)");
	digest_init(&d);
	for (i = 0; i < sizeof(million); i += 1000)
		digest_add(&d, million + i, 1000);
	digest_done(&d, sum);
	hex_encode(again, sum, sizeof(sum));
	ok(strcmp(hex, again) == 0, "the same in pieces");
	ok(digest_64("abc", 3) == UINT64_C(0xba7816bf8f01cfea), "first 8 bytes as a number");
}

static void test_fields(void)
{
	static const char plain[] = "\0\0\0\0\0\0\0\3abc\0\0\0\0\0\0\0\0";
	uint8_t a[DIGEST_SIZE], b[DIGEST_SIZE];
	struct digest d;

	digest_init(&d);
	digest_field(&d, "abc", 3);
	digest_field(&d, NULL, 0);
	digest_done(&d, a);
	digest_of(plain, sizeof(plain) - 1, b);
	ok(memcmp(a, b, sizeof(a)) == 0, "length in 8 bytes, big endian, then the field");
	digest_init(&d);
	digest_field(&d, "ab", 2);
	digest_field(&d, "c", 1);
	digest_done(&d, b);
	ok(memcmp(a, b, sizeof(a)) != 0, "fields stay apart");
}

static void test_uuid(void)
{
	static const char *const cases[][2] = {
		{ "linesync:Code/ServiceA/src%2Fmain.py#0", "e417b55a-2ea2-5a2a-9306-c568b130e26b" },
		{ "linesync:Code/team%2FServiceA/caf%C3%A9%20menu.txt#3",
		  "02c8f33a-02dd-512e-81e3-64a0c03bb0dc" },
		{ "", "1b4db7eb-4057-5ddf-91e0-36dec72071f5" },
	};
	char out[37];
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uuid5_url(out, cases[i][0], strlen(cases[i][0]));
		ok(strcmp(out, cases[i][1]) == 0, "UUIDv5 of '%s'", cases[i][0]);
	}
}

int main(void)
{
	test_sha256();
	test_fields();
	test_uuid();
	return tap_done();
}
