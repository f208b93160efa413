#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../src/alloc.h"
#include "../../src/clock.h"
#include "../../src/connect.h"
#include "tap.h"

static char dir[] = "/tmp/linesync-test-XXXXXX";
static struct options o;
static struct connection c;

static void put(char path[64], const char *name, const char *text)
{
	FILE *f;

	snprintf(path, 64, "%s/%s", dir, name);
	f = fopen(path, "w");
	if (!f || fputs(text, f) < 0 || fclose(f) != 0 || chmod(path, 0600) < 0)
		printf("Bail out! cannot write a scratch file\n");
}

/* embedder_open() without letting it speak. */
static int try(const char *url, const char *model, struct http *beside)
{
	int saved = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY), status;

	connection_release(&c);
	dup2(null, STDERR_FILENO);
	status = embedder_open(&c, url, model, &o, beside);
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(null);
	return status;
}

static void want_key(const char *key, const char *what)
{
	int status = try("https://h/v1", NULL, NULL);

	ok(status == 0 && c.http && (key ? c.header && !strncmp(c.header, "Authorization: Bearer ", 22) &&
				     !strcmp(c.header + 22, key) : !c.header), "%s", what);
}

static void test_server(void)
{
	ok(try("http://127.0.0.1:8080/", "m", NULL) == 0 && c.store.driver == &drv_openai &&
	   !strcmp(c.store.url.base, "http://127.0.0.1:8080") && !strcmp(c.store.model, "m") &&
	   !c.store.dimension, "a server and its model");
	ok(try("http://127.0.0.1:8080", NULL, NULL) == 0 && !c.store.model, "a model need not be named");
	ok(try("localhost:8080", NULL, NULL) == 64, "no URL");
	ok(try("http://u:p@h/", NULL, NULL) == 64, "a password in it");
	o.cacert = "/nonexistent/ca";
	ok(try("https://h/", NULL, NULL) == 78, "no such certificates");
	o.cacert = NULL;
}

/* Nothing else would end the waiting. */
static void test_beside(void)
{
	struct http_options ho = { .total_timeout_ms = 1000, .max_reply = 1000, .connections = 1 };
	struct http *first = http_new(&ho);
	struct request r = { .method = "GET", .url = xstrdup("http://127.0.0.1:1/") };
	struct reply reply;
	void *tag = NULL;

	ok(first && try("http://localhost:1", NULL, first) == 0 && c.http && c.http != first &&
	   http_start(c.http, &r, &c) == 0, "connections of its own");
	while (http_next(c.http, &tag, &reply) == 0)
		http_wait(first, NULL, 0, CLOCK_NEVER);
	ok(tag == &c && reply.end == HTTP_NOT_SENT, "the store's are waited for together with them");
	reply_release(&reply);
	connection_release(&c);
	http_free(first);
}

static void test_keys(void)
{
	char file[64], credential[64];

	want_key(NULL, "no key");
	setenv("LINESYNC_API_KEY", "the-stores", 1);
	setenv("CHROMA_TOKEN", "the-stores", 1);
	want_key(NULL, "the store's key is not the embedder's");
	setenv("OPENAI_API_KEY", "openai", 1);
	want_key("openai", "OPENAI_API_KEY");
	setenv("LINESYNC_EMBED_API_KEY", "own", 1);
	want_key("own", "LINESYNC_EMBED_API_KEY before it");
	put(credential, "linesync-embed-key", "credential\n");
	setenv("CREDENTIALS_DIRECTORY", dir, 1);
	want_key("credential", "the credential before it");
	put(file, "file", "filed\n");
	o.embed_key_file = file;
	want_key("filed", "--embed-key-file before it");
	chmod(file, 0644);
	ok(try("https://h/v1", NULL, NULL) == 77, "a file that others can read");
	unlink(file);
	ok(try("https://h/v1", NULL, NULL) == 77, "a file that is not there");
	o.embed_key_file = NULL;
	unsetenv("CREDENTIALS_DIRECTORY");
	unlink(credential);
}

/* A key is in the environment. */
static void test_clear_text(void)
{
	ok(try("http://h:8080", NULL, NULL) == 77 && !c.header && !c.http, "no key in clear to another machine");
	ok(try("http://127.0.0.1:8080", NULL, NULL) == 0 && c.header, "but to this one");
	ok(try("https://h:8080", NULL, NULL) == 0 && c.header, "and over TLS");
	o.insecure_http = true;
	ok(try("http://h:8080", NULL, NULL) == 0 && c.header, "or with --insecure-http");
	o.insecure_http = false;
	unsetenv("OPENAI_API_KEY");
	unsetenv("LINESYNC_EMBED_API_KEY");
	ok(try("http://h:8080", NULL, NULL) == 0 && !c.header, "without a key there is nothing to hide");
}

/* connection_open() to a Weaviate at url, without letting it speak. */
static int try_store(const char *url)
{
	int saved = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY), status;
	char *store = xasprintf("weaviate:%s", url);

	connection_release(&c);
	dup2(null, STDERR_FILENO);
	status = connection_name(&c, &o, store, "Code");
	if (status == 0)
		status = connection_open(&c, &o);
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(null);
	free(store);
	return status;
}

static void test_headers(void)
{
	char first[64], second[64];
	const char *files[] = { first, second, NULL };

	put(first, "first", "X-Openai-Api-Key: k\n");
	put(second, "second", "X-A: a\nX-B: b\n");
	o.store_header_files = files;
	unsetenv("LINESYNC_API_KEY");
	ok(try_store("http://127.0.0.1:1") == 0 && !c.header && c.more && !strcmp(c.more[0], "X-Openai-Api-Key: k") &&
	   !strcmp(c.more[1], "X-A: a") && !strcmp(c.more[2], "X-B: b") && !c.more[3], "headers of two files");
	setenv("WEAVIATE_API_KEY", "key", 1);
	ok(try_store("https://h") == 0 && !strcmp(c.header, "Authorization: Bearer key") && c.more && c.http,
	   "beside the store's key");
	unsetenv("WEAVIATE_API_KEY");
	ok(try_store("http://h") == 77 && !c.http, "not in clear to another machine");
	o.insecure_http = true;
	ok(try_store("http://h") == 0, "but with --insecure-http");
	o.insecure_http = false;
	put(second, "second", "Authorization: Bearer x\n");
	ok(try_store("https://h") == 77 && !c.http, "not what carries the key");
	put(second, "second", "X-A: a\n");
	chmod(second, 0644);
	ok(try_store("https://h") == 77 && !c.http, "a file that others can read");
	unlink(second);
	ok(try_store("https://h") == 77, "a file that is not there");
	o.store_header_files = NULL;
	put(second, "linesync-store-headers", "X-C: c\n");
	setenv("CREDENTIALS_DIRECTORY", dir, 1);
	ok(try_store("https://h") == 0 && c.more && !strcmp(c.more[0], "X-C: c") && !c.more[1], "a credential");
	files[1] = NULL;
	o.store_header_files = files;
	ok(try_store("https://h") == 0 && c.more && !strcmp(c.more[0], "X-Openai-Api-Key: k") && !c.more[1],
	   "not beside a file that is named");
	o.store_header_files = NULL;
	unsetenv("CREDENTIALS_DIRECTORY");
	unlink(second);
	ok(try_store("http://h") == 0 && !c.more, "without any there is nothing to hide");
	unlink(first);
}

static void test_embed_headers(void)
{
	char first[64], second[64];
	const char *files[] = { first, second, NULL };

	put(first, "first", "api-key: k\n");
	put(second, "second", "X-A: a\n");
	o.embed_header_files = files;
	ok(try("https://h/openai/deployments/d/embeddings?api-version=1", NULL, NULL) == 0 && !c.header && c.more &&
	   !strcmp(c.more[0], "api-key: k") && !strcmp(c.more[1], "X-A: a") && !c.more[2] && c.http &&
	   !strcmp(c.store.url.path, "/openai/deployments/d/embeddings?api-version=1"), "an embedding server's headers");
	ok(try_store("https://h") == 0 && !c.more, "which are not the store's");
	setenv("OPENAI_API_KEY", "key", 1);
	ok(try("https://h", NULL, NULL) == 0 && !strcmp(c.header, "Authorization: Bearer key") && c.more, "beside its key");
	unsetenv("OPENAI_API_KEY");
	ok(try("http://h", NULL, NULL) == 77 && !c.http, "not in clear to another machine");
	ok(try("http://127.0.0.1:1", NULL, NULL) == 0, "but to this one");
	o.insecure_http = true;
	ok(try("http://h", NULL, NULL) == 0, "or with --insecure-http");
	o.insecure_http = false;
	put(second, "second", "authorization: Bearer x\n");
	ok(try("https://h", NULL, NULL) == 77 && !c.http, "not what carries the key");
	put(second, "second", "X-A: a\n");
	chmod(second, 0640);
	ok(try("https://h", NULL, NULL) == 77 && !c.http, "a file that others can read");
	unlink(second);
	ok(try("https://h", NULL, NULL) == 77, "a file that is not there");
	o.embed_header_files = NULL;
	put(second, "linesync-embed-headers", "X-C: c\n");
	setenv("CREDENTIALS_DIRECTORY", dir, 1);
	ok(try("https://h", NULL, NULL) == 0 && c.more && !strcmp(c.more[0], "X-C: c") && !c.more[1], "a credential");
	unsetenv("CREDENTIALS_DIRECTORY");
	ok(try("http://h", NULL, NULL) == 0 && !c.more, "without any there is nothing to hide");
	unlink(second);
	unlink(first);
}

int main(void)
{
	static const char *const variables[] = { "CREDENTIALS_DIRECTORY", "LINESYNC_API_KEY", "CHROMA_TOKEN",
						 "LINESYNC_EMBED_API_KEY", "OPENAI_API_KEY" };

	if (!mkdtemp(dir))
		return 77;
	for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
		unsetenv(variables[i]);
	test_server();
	test_beside();
	test_keys();
	test_clear_text();
	test_headers();
	test_embed_headers();
	connection_release(&c);
	rmdir(dir);
	return tap_done();
}
