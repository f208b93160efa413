/* text: bytes and the ways in which people write them down.  Pure. */
#ifndef LINESYNC_TEXT_H
#define LINESYNC_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

/* A 64-bit word of which every byte is that: for steps of 8 bytes. */
#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* Offset of the first byte that is not valid UTF-8 by RFC 3629 (no overlong form, no surrogate,
 * nothing above U+10FFFF), or n if all n bytes are.  Runs 8 bytes a step while they are ASCII. */
size_t utf8_check(const void *p, size_t n);

/* Decodes standard base64 (RFC 4648 section 4, '=' padding required, no white space, unused bits
 * zero) and appends the bytes to out.  Returns 0, or -1 with nothing appended and, in *at, the
 * offset of the first byte that is wrong. */
int base64_decode(struct buf *out, const char *s, size_t n, size_t *at);
void base64_encode(struct buf *out, const void *p, size_t n);

/* Appends every byte but A-Z a-z 0-9 - . _ ~ as %XX in upper case (RFC 3986 unreserved). */
void percent_encode(struct buf *out, const void *p, size_t n);

/* git's C-quoted name, from its opening to its closing '"': \a \b \t \n \v \f \r \" \\ and three
 * octal digits (git quote.c).  s[0] must be '"'.  Appends the name to out and returns the number of
 * bytes read including both quotes, or 0 if it is not well formed (out unchanged). */
size_t cquote_decode(struct buf *out, const char *s, size_t n);

/* Lower-case hex.  hex_decode reads exactly n bytes from 2n digits of either case; 0 or -1. */
void hex_encode(char *out, const void *p, size_t n);	/* 2n digits and a NUL */
int hex_decode(void *out, const char *s, size_t n);

/* Whole number in decimal, all of s, min..max.  Returns 0, or -1 (empty, signs, blanks, overflow). */
int parse_uint(uint64_t *out, const char *s, uint64_t min, uint64_t max);

/* A number with an optional unit, all of s: bytes take k, m, g (x1024; "kb"/"KiB" too); durations
 * take ms, s, m, h, d and are given in milliseconds, a bare number meaning unit_ms each. */
int parse_bytes(uint64_t *out, const char *s, uint64_t min, uint64_t max);
int parse_duration_ms(uint64_t *out, const char *s, uint64_t unit_ms, uint64_t max_ms);

/* The code point at p, n > 0 bytes, and in *len its length; invalid UTF-8 is UINT32_MAX, of length 1. */
uint32_t text_code_point(const char *p, size_t n, size_t *len);
/* Whether a terminal might act on a code point rather than show it: below 0x20, 0x7f, C1 controls, what
 * turns the direction of others, separates lines, or is not seen at all; UINT32_MAX too.  Not the two
 * joiners of zero width, without which Persian, Hindi and emoji cannot be written. */
bool text_acts(uint32_t c);

/* Appends p with what a terminal might act on as
 * \xNN, at most max bytes of p, with "..." where it was cut (never inside a UTF-8 sequence). */
void text_printable(struct buf *out, const void *p, size_t n, size_t max);

/* Number of lines as an editor counts them: newlines, plus one for a last line without one. */
uint64_t text_lines(const char *p, size_t n);

/* How many of the n bytes (valid UTF-8) are the first lines, without the last one's newline: at most max
 * bytes, whole characters. */
size_t text_start(const char *p, size_t n, size_t lines, size_t max);

/* True if the whole path matches the pattern as git matches it: '*' and '?' take no '/', a '**' that is a
 * part by itself takes any number of parts, brackets know ranges and [:classes:], and what is not well
 * formed matches nothing. */
bool text_glob(const char *pattern, const char *path);

#endif
