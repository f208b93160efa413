#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "progress.h"

#include "tap.h"

/* Standard error is a file during these tests; what was written is read back from it. */
static int file = -1;
static char text[4096];

static const char *said(void)
{
	ssize_t n = pread(file, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	if (ftruncate(file, 0) != 0)
		text[0] = '\0';
	lseek(file, 0, SEEK_SET);
	return text;
}

static void test_off(void)
{
	struct progress_figures f = { .phase = "reading", .done = 1 };

	progress_init(PROGRESS_AUTO, 0);
	ok(!progress_on() && progress_due() == CLOCK_NEVER, "no terminal, no bar");
	progress_draw(&f);
	ok(said()[0] == '\0', "nothing is drawn");
	progress_print(&f);
	ok(strncmp(said(), "linesync: reading: 1 lines", 26) == 0, "SIGUSR1 prints all the same");
	progress_init(PROGRESS_NEVER, 0);
	ok(!progress_on(), "never");
}

static void test_figures(void)
{
	struct progress_figures f = { .done = 250, .failed = 2, .in_flight = 30, .total_lines = 1000,
				      .path = "a\x1b.py" };

	clock_test_set_ms(10000);
	progress_init(PROGRESS_ALWAYS, 0);
	ok(progress_on() && progress_due() <= 10000, "drawn at once");
	progress_draw(&f);
	ok(strcmp(said(), "\r250 of 1000 lines (25%), 25/s, 0:00:30 to go, 2 failed, 30 in flight, "
		  "a\\x1b.py\033[K") == 0, "a bar with a known total");
	progress_draw(&f);
	ok(said()[0] == '\0', "not again within a tenth of a second");
	ok(progress_due() == 10100, "but then");
	clock_test_set_ms(10100);
	f.path = "a/very/long/path/that/does/not/fit/on/a/line/of/eighty/columns/caf\xc3\xa9.py";
	progress_draw(&f);
	said();
	ok(strlen(text) < 80 + 6 && strstr(text, "caf\xc3\xa9.py\033[K") != NULL, "the end of a path is kept");
	clock_test_set_ms(10200);
	f = (struct progress_figures){ .done = 10, .bytes = 500, .total_bytes = 1000 };
	progress_draw(&f);
	ok(strstr(said(), "10 lines (50%), 1/s, 0:00:10 to go") != NULL, "of a file's bytes");
}

static void test_messages(void)
{
	struct progress_figures f = { .done = 1 };

	clock_test_set_ms(20000);
	progress_draw(&f);
	said();
	log_note("hello");
	ok(strcmp(said(), "\r\033[Klinesync: hello\n") == 0, "a message clears the bar first");
	log_note("again");
	ok(strcmp(said(), "linesync: again\n") == 0, "once");
	progress_clear();
	ok(said()[0] == '\0', "there is nothing left to clear");
}

int main(void)
{
	char name[] = "/tmp/linesync-progress-XXXXXX";

	file = mkstemp(name);
	if (file < 0 || unlink(name) != 0)
		return 99;
	dup2(file, STDERR_FILENO);
	test_off();
	test_figures();
	test_messages();
	return tap_done();
}
