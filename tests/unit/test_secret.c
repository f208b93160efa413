#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../src/secret.h"
#include "tap.h"

static char dir[] = "/tmp/linesync-test-XXXXXX";
static char path[64];
static const char *const names[] = { "LINESYNC_TEST_KEY", "LINESYNC_TEST_OTHER", NULL };

static void put(const char *name, const char *data, size_t n, mode_t mode)
{
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (fd < 0 || write(fd, data, n) != (ssize_t)n || fchmod(fd, mode) < 0)
		printf("Bail out! cannot write a scratch file\n");
	close(fd);
}

static void want_file(const char *data, size_t n, mode_t mode, const char *want, const char *what)
{
	char *got = NULL;
	int r;

	put("key", data, n, mode);
	r = secret_find(&got, path, NULL, names);
	ok(want ? r == 0 && got && !strcmp(got, want) : r == -1 && !got, "file: %s", what);
	secret_free(got);
}

static void test_files(void)
{
	static char big[5000];

	memset(big, 'k', sizeof(big));
	want_file("abc\n", 4, 0600, "abc", "newline dropped");
	want_file("abc", 3, 0400, "abc", "without newline");
	want_file("a b ", 4, 0600, "a b ", "blanks kept");
	want_file("abc\n\n", 5, 0600, NULL, "two newlines");
	want_file("abc\r\n", 5, 0600, NULL, "carriage return");
	want_file("a\0c", 3, 0600, NULL, "NUL");
	want_file("a\x7f", 2, 0600, NULL, "DEL");
	want_file("", 0, 0600, NULL, "empty");
	want_file("\n", 1, 0600, NULL, "only a newline");
	want_file("abc", 3, 0640, NULL, "group may read");
	want_file("abc", 3, 0604, NULL, "others may read");
	want_file("abc", 3, 0602, NULL, "others may write");
	want_file(big, 4097, 0600, NULL, "too long");
	want_file(big, 5000, 0600, NULL, "much too long");
	big[4096] = '\n';
	put("key", big, 4097, 0600);
	big[4096] = '\0';
	want_file(big, 4096, 0600, big, "just short enough");
}

static void test_missing_file(void)
{
	char *got = NULL;

	setenv("LINESYNC_TEST_KEY", "fromenv", 1);
	snprintf(path, sizeof(path), "%s/none", dir);
	ok(secret_find(&got, path, NULL, names) == -1 && !got,
	   "a file that was named and is missing is no reason to look elsewhere");
	ok(secret_find(&got, dir, NULL, names) == -1 && !got, "a folder");
	unsetenv("LINESYNC_TEST_KEY");
}

static void want(const char *credential, const char *value, const char *what)
{
	char *got = NULL;
	int r = secret_find(&got, NULL, credential, names);

	ok(r == 0 && (value ? got && !strcmp(got, value) : !got), "%s", what);
	secret_free(got);
}

static void test_order(void)
{
	char *got = NULL;

	want("cred", NULL, "nothing anywhere");
	setenv("LINESYNC_TEST_OTHER", "second", 1);
	want("cred", "second", "second variable");
	setenv("LINESYNC_TEST_KEY", "", 1);
	want("cred", "second", "an empty variable is none");
	setenv("LINESYNC_TEST_KEY", "first", 1);
	want(NULL, "first", "first variable");
	setenv("CREDENTIALS_DIRECTORY", dir, 1);
	want("cred", "first", "no such credential");
	put("cred", "credential\n", 11, 0440);
	want("cred", "credential", "credential before the environment, whatever its mode");
	want(NULL, "first", "no credential asked for");
	put("cred", "a\nb", 3, 0600);
	ok(secret_find(&got, NULL, "cred", names) == -1 && !got, "a bad credential is an error");
	unsetenv("CREDENTIALS_DIRECTORY");
	setenv("LINESYNC_TEST_KEY", "a\nb", 1);
	ok(secret_find(&got, NULL, "cred", names) == -1 && !got, "a bad variable is an error");
	unsetenv("LINESYNC_TEST_KEY");
	unsetenv("LINESYNC_TEST_OTHER");
	ok(secret_find(&got, NULL, NULL, NULL) == 0 && !got, "no names at all");
	secret_free(NULL);
}

static char **headers;

static bool takes(const char *text, size_t n, mode_t mode)
{
	put("headers", text, n, mode);
	return secret_headers(&headers, path, "cred", "Authorization: ") == 0;
}

static size_t counted(void)
{
	size_t n = 0;

	while (headers && headers[n])
		n++;
	return n;
}

static void want_headers(const char *text, size_t want, const char *what)
{
	bool good = takes(text, strlen(text), 0600);

	ok(want ? good && counted() == want : !good, "headers: %s", what);
	secret_headers_free(headers);
	headers = NULL;
}

static void test_headers(void)
{
	static const char *const reserved[] = {
		"Host", "content-length", "CONTENT-TYPE", "Transfer-Encoding", "Connection", "Expect",
		"Accept-Encoding", "Authorization", "authorization", "Proxy-Authorization", "Upgrade", "TE",
	};
	static char big[16386];
	char line[64];

	ok(takes("X-Openai-Api-Key:  a b: c \n\n   \nX-2:v", 37, 0600) && counted() == 2 &&
	   !strcmp(headers[0], "X-Openai-Api-Key: a b: c") && !strcmp(headers[1], "X-2: v"),
	   "headers: names and values, blanks around them left out");
	ok(takes("X-3: w\n", 7, 0400) && counted() == 3 && !strcmp(headers[2], "X-3: w"),
	   "headers: another file adds to them");
	secret_headers_free(headers);
	headers = NULL;
	for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
		snprintf(line, sizeof(line), "%s: x\n", reserved[i]);
		want_headers(line, 0, reserved[i]);
	}
	want_headers("X-Hosts: x\nHos: x\nAuthorization-2: x\n", 3, "names like them");
	want_headers("no header\n", 0, "no colon");
	want_headers(": x\n", 0, "no name");
	want_headers(" X: x\n", 0, "a continued line");
	want_headers("X Y: x\n", 0, "a blank in the name");
	want_headers("X\xc3\xa4: x\n", 0, "a letter that no name has");
	want_headers("X:\n", 0, "no value");
	want_headers("X:  \n", 0, "a blank value");
	want_headers("X: a\r\n", 0, "a carriage return");
	want_headers("X: a\tb\n", 0, "a tab");
	want_headers("X: a\nY\n", 0, "one bad line among good ones");
	ok(!takes("X: a\0b\n", 7, 0600) && !takes("X: a\n\0", 6, 0600), "headers: NUL");
	ok(!takes("X: a\n", 5, 0640) && !takes("X: a\n", 5, 0604) && !takes("X: a\n", 5, 0602),
	   "headers: of a file that others can read or write");
	memset(big, 'k', sizeof(big));
	memcpy(big, "X: ", 3);
	ok(takes(big, 16384, 0600) && !takes(big, 16385, 0600) && strlen(headers[0]) == 16384,
	   "headers: at most 16 KiB");
	secret_headers_free(headers);
	headers = NULL;
	snprintf(path, sizeof(path), "%s/none", dir);
	ok(secret_headers(&headers, path, "cred", NULL) == -1 && secret_headers(&headers, dir, NULL, NULL) == -1 && !headers,
	   "headers: no such file, a folder");
	put("headers", "Authorization: x\n", 17, 0600);
	ok(secret_headers(&headers, path, NULL, "x-chroma-token: ") == 0 && counted() == 1,
	   "headers: the key's header is another store's");
	secret_headers_free(headers);
	headers = NULL;
	unlink(path);
	ok(secret_headers(&headers, NULL, "cred", NULL) == 0 && !headers, "headers: no credentials at all");
	setenv("CREDENTIALS_DIRECTORY", dir, 1);
	ok(secret_headers(&headers, NULL, "none", NULL) == 0 && !headers, "headers: no such credential");
	put("cred", "X: y\n", 5, 0440);
	ok(secret_headers(&headers, NULL, "cred", NULL) == 0 && counted() == 1 && !strcmp(headers[0], "X: y"),
	   "headers: a credential, whatever its mode");
	secret_headers_free(headers);
	headers = NULL;
	put("cred", "Host: y\n", 8, 0600);
	ok(secret_headers(&headers, NULL, "cred", NULL) == -1 && !headers, "headers: a bad one");
	unsetenv("CREDENTIALS_DIRECTORY");
}

int main(void)
{
	if (!mkdtemp(dir))
		return 77;
	unsetenv("CREDENTIALS_DIRECTORY");
	unsetenv("LINESYNC_TEST_KEY");
	unsetenv("LINESYNC_TEST_OTHER");
	test_files();
	test_missing_file();
	test_order();
	test_headers();
	snprintf(path, sizeof(path), "%s/key", dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/cred", dir);
	unlink(path);
	rmdir(dir);
	return tap_done();
}
