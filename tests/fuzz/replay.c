/* replay: runs a fuzz target without a fuzzer, so that make check does.
 *
 *	fuzz_json [-n CHANGED] [FILE...]
 *
 * Feeds the target each FILE as it is, then CHANGED variants of it, made by a generator with a fixed
 * seed; without a FILE, those in corpus/NAME beside the sources (NAME is json for fuzz_json).  CHANGED
 * is 2000, or so many fewer that they are 40,000 in all.
 * Output is TAP, one result a file.  When the target aborts, the input that it got is left in the file
 * NAME.crash in the current folder, to be given as FILE with -n 0. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../unit/tap.h"

enum { FUZZ_INPUT = 65536, MAX_FILES = 1000, CHANGED = 2000, ALL_CHANGED = 40000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char crash_file[256];
static const uint8_t *current;
static size_t current_size;

static void on_crash(int sig)
{
	int fd = open(crash_file, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (fd >= 0 && write(fd, current, current_size) == (ssize_t)current_size)
		close(fd);
	signal(sig, SIG_DFL);
	raise(sig);
}

/* The target gets memory of exactly the right size, so that a sanitizer sees what reads past it. */
static void feed(const uint8_t *data, size_t size)
{
	uint8_t *exact = malloc(size ? size : 1);

	if (!exact)
		exit(71);
	memcpy(exact, data, size);
	current = exact;
	current_size = size;
	(void)LLVMFuzzerTestOneInput(exact, size);
	current_size = 0;
	free(exact);
}

static uint32_t next_random(uint32_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 17;
	*x ^= *x << 5;
	return *x;
}

/* Bytes that mean something to one of the parsers. */
static const uint8_t telling[] = "\0\t\n\r \"%+-./0:<>[]\\aeu{}\x7f\x80\xbf\xc0\xe0\xed\xf0\xff";

/* Changes the size bytes at p in 1 to 4 places; there is room for FUZZ_INPUT. Returns the new size. */
static size_t change_some(uint8_t *p, size_t size, uint32_t *x)
{
	uint32_t n = 1 + next_random(x) % 4;

	while (n-- > 0) {
		size_t at = size ? next_random(x) % size : 0;
		size_t len = 1 + next_random(x) % 16;

		switch (next_random(x) % 6) {
		case 0:		/* another byte */
			if (size)
				p[at] = (uint8_t)next_random(x);
			break;
		case 1:		/* one bit */
			if (size)
				p[at] ^= (uint8_t)(1u << next_random(x) % 8);
			break;
		case 2:		/* a telling one */
			if (size)
				p[at] = telling[next_random(x) % (sizeof(telling) - 1)];
			break;
		case 3:		/* some are lost */
			if (len > size - at)
				len = size - at;
			memmove(p + at, p + at + len, size - at - len);
			size -= len;
			break;
		case 4:		/* some come twice */
			if (len > size - at)
				len = size - at;
			if (size + len <= FUZZ_INPUT) {
				memmove(p + at + len, p + at, size - at);
				size += len;
			}
			break;
		default:	/* the end is lost */
			if (next_random(x) % 8 == 0)
				size = at;
			break;
		}
	}
	return size;
}

static void replay(const char *file, int changed)
{
	static uint8_t seed[FUZZ_INPUT], input[FUZZ_INPUT];
	uint32_t x = 2463534242u;
	const char *name = strrchr(file, '/');
	FILE *f = fopen(file, "rb");
	size_t size;
	int i;

	name = name ? name + 1 : file;
	if (!f) {
		ok(false, "cannot read %s", name);
		return;
	}
	size = fread(seed, 1, sizeof(seed), f);
	fclose(f);
	feed(seed, size);
	for (i = 0; i < changed; i++) {
		memcpy(input, seed, size);
		feed(input, change_some(input, size, &x));
	}
	ok(true, "%s, and %d variants", name, changed);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void replay_folder(const char *folder, int changed)
{
	static char *files[MAX_FILES];
	int n = 0, i;
	DIR *d = opendir(folder);
	struct dirent *e;

	while (d && n < MAX_FILES && (e = readdir(d))) {
		size_t room = strlen(folder) + strlen(e->d_name) + 2;

		if (e->d_name[0] == '.')
			continue;
		files[n] = malloc(room);
		if (!files[n])
			exit(71);
		snprintf(files[n++], room, "%s/%s", folder, e->d_name);
	}
	if (d)
		closedir(d);
	qsort(files, (size_t)n, sizeof(files[0]), by_name);
	ok(n > 0, "there are inputs in the corpus");
	if (changed < 0)
		changed = n > ALL_CHANGED / CHANGED ? ALL_CHANGED / n : CHANGED;
	for (i = 0; i < n; i++) {
		replay(files[i], changed);
		free(files[i]);
	}
}

int main(int argc, char **argv)
{
	const char *top = getenv("abs_top_srcdir");
	const char *name = strrchr(argv[0], '/');
	char folder[4096];
	int changed = -1, c;

	name = name ? name + 1 : argv[0];
	while ((c = getopt(argc, argv, "n:")) != -1) {
		if (c != 'n')
			return 64;
		changed = (int)strtol(optarg, NULL, 10);
	}
	snprintf(crash_file, sizeof(crash_file), "%s.crash", name);
	signal(SIGABRT, on_crash);
	signal(SIGSEGV, on_crash);
	signal(SIGBUS, on_crash);
	signal(SIGFPE, on_crash);
	if (optind < argc) {
		for (; optind < argc; optind++)
			replay(argv[optind], changed < 0 ? CHANGED : changed);
	} else {
		snprintf(folder, sizeof(folder), "%s/tests/fuzz/corpus/%s", top ? top : ".",
			strncmp(name, "fuzz_", 5) == 0 ? name + 5 : name);
		replay_folder(folder, changed);
	}
	return tap_done();
}
