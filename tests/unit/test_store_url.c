#include <stdlib.h>
#include <string.h>

#include "../../src/store_url.h"
#include "tap.h"

static const struct {
	const char *in, *driver, *base, *path, *canonical;
	bool loopback, tls;
} good[] = {
	{ "chroma:http://localhost:8000", "chroma", "http://localhost:8000", "",
	  "chroma:http://localhost:8000", true, false },
	{ "chroma:http://127.0.0.1:8000", "chroma", "http://127.0.0.1:8000", "",
	  "chroma:http://localhost:8000", true, false },
	{ "chroma:http://[::1]:8000/", "chroma", "http://[::1]:8000", "",
	  "chroma:http://localhost:8000", true, false },
	{ "chroma:http://[0:0:0:0:0:0:0:1]:8000//", "chroma", "http://[0:0:0:0:0:0:0:1]:8000", "",
	  "chroma:http://localhost:8000", true, false },
	{ "CHROMA:HTTP://LocalHost:08000", "chroma", "http://localhost:8000", "",
	  "chroma:http://localhost:8000", true, false },
	{ "chroma:http://127.8.9.10:1", "chroma", "http://127.8.9.10:1", "",
	  "chroma:http://127.8.9.10:1", true, false },
	{ "chroma:http://127.example.org", "chroma", "http://127.example.org:80", "",
	  "chroma:http://127.example.org:80", false, false },
	{ "chroma:http://localhost.example.org", "chroma", "http://localhost.example.org:80", "",
	  "chroma:http://localhost.example.org:80", false, false },
	{ "chroma:http://localhost.:80", "chroma", "http://localhost.:80", "",
	  "chroma:http://localhost:80", true, false },
	{ "chroma:https://Example.COM", "chroma", "https://example.com:443", "",
	  "chroma:https://example.com:443", false, true },
	{ "qdrant:http://[2001:DB8:0::5]:6333", "qdrant", "http://[2001:db8:0::5]:6333", "",
	  "qdrant:http://[2001:db8::5]:6333", false, false },
	{ "chroma:http://h:8000/t/d", "chroma", "http://h:8000", "/t/d",
	  "chroma:http://h:8000/t/d", false, false },
	{ "chroma:http://h:8000/my%20t/%64%c3%a9/", "chroma", "http://h:8000", "/my%20t/d%C3%A9",
	  "chroma:http://h:8000/my%20t/d%C3%A9", false, false },
	{ "chroma:http://h:8000/a@b/\xc3\xa9", "chroma", "http://h:8000", "/a%40b/%C3%A9",
	  "chroma:http://h:8000/a%40b/%C3%A9", false, false },
	{ "chroma:http://h:8000/default_tenant/default_database", "chroma", "http://h:8000",
	  "/default_tenant/default_database", "chroma:http://h:8000", false, false },
	/* behind a path */
	{ "chroma:https://h/vectors/api/v2", "chroma", "https://h:443/vectors", "",
	  "chroma:https://h:443/vectors/api/v2", false, true },
	{ "chroma:https://h/a/%62%20c/api/v2/t/d/", "chroma", "https://h:443/a/b%20c", "/t/d",
	  "chroma:https://h:443/a/b%20c/api/v2/t/d", false, true },
	{ "chroma:http://127.0.0.1:1/p/%61pi/v2/default_tenant/default_database", "chroma", "http://127.0.0.1:1/p",
	  "/default_tenant/default_database", "chroma:http://localhost:1/p/api/v2", true, false },
	{ "chroma:http://h:1/api/v2/", "chroma", "http://h:1", "", "chroma:http://h:1", false, false },
	{ "chroma:http://h:1/api/v2/t/d", "chroma", "http://h:1", "/t/d", "chroma:http://h:1/t/d", false, false },
	{ "chroma:http://h:1/api/v2/api/v2", "chroma", "http://h:1", "/api/v2", "chroma:http://h:1/api/v2/api/v2",
	  false, false },
	{ "chroma:http://h:1/p/api/v2/api/v2", "chroma", "http://h:1/p", "/api/v2",
	  "chroma:http://h:1/p/api/v2/api/v2", false, false },
	{ "chroma:http://h:1/xapi/v2", "chroma", "http://h:1", "/xapi/v2", "chroma:http://h:1/xapi/v2", false, false },
	{ "chroma:http://h:1/api/v20", "chroma", "http://h:1", "/api/v20", "chroma:http://h:1/api/v20", false, false },
};

static const struct {
	const char *in, *says;
} bad[] = {
	{ "", "DRIVER:URL" },
	{ "chroma", "DRIVER:URL" },
	{ "chroma:", "DRIVER:URL" },
	{ "http://localhost:8000", "DRIVER:URL" },
	{ ":http://localhost:8000", "DRIVER:URL" },
	{ "chroma:localhost:8000", "DRIVER:URL" },
	{ "chroma:ftp://localhost:8000", "DRIVER:URL" },
	{ "chroma:file:///etc/passwd", "DRIVER:URL" },
	{ "chroma:http://", "host" },
	{ "chroma:http://:8000", "host" },
	{ "chroma:http://-x:8000", "host" },
	{ "chroma:http://a..b:8000", "host" },
	{ "chroma:http://h%41st", "host" },
	{ "chroma:http://h\xc3\xa9", "host" },
	{ "chroma:http://[::1", "host" },
	{ "chroma:http://[::1%25lo]:80", "host" },
	{ "chroma:http://[zz]:80", "host" },
	{ "chroma:http://::1:80", "port" },
	{ "chroma:http://h:", "port" },
	{ "chroma:http://h:0", "port" },
	{ "chroma:http://h:65536", "port" },
	{ "chroma:http://h:80x", "port" },
	{ "chroma:http://h:+80", "port" },
	{ "chroma:http://u@h:80", "user name" },
	{ "chroma:http://u:hunter2@h:80/t/d", "user name" },
	{ "chroma:http://h:80?key=hunter2", "query" },
	{ "chroma:http://h:80/t/d#x", "fragment" },
	{ "chroma:http://h:80/t", "TENANT" },
	{ "chroma:http://h:80/t/d/e", "TENANT" },
	{ "chroma:http://h:80/p", "/api/v2" },
	{ "chroma:http://h:80/p/api/v2/t", "TENANT" },
	{ "chroma:http://h:80/p/api/v2/t/d/e", "TENANT" },
	{ "chroma:http://h:80/api/v2/tenants/t/databases/d", "TENANT" },
	{ "weaviate:http://h:80/p/api/v2", "a weaviate's URL ends after the port" },
	{ "chroma:http://h:80/t//d", "path" },
	{ "chroma:http://h:80/../d", "path" },
	{ "chroma:http://h:80/t/%2e", "path" },
	{ "chroma:http://h:80/t/a%2Fb", "path" },
	{ "chroma:http://h:80/t/a%00b", "path" },
	{ "chroma:http://h:80/t/a%0db", "path" },
	{ "chroma:http://h:80/t/a%4", "path" },
	{ "chroma:http://h:80/t/a%zz", "path" },
	{ "chroma:http://h:80/t/a%ff", "path" },
	{ "weaviate:http://h:80/v1", "a weaviate's URL ends after the port" },
	{ "chroma:http://h:80/t/a b", "blanks" },
	{ "chroma:http://h:80\r\nX: y", "control" },
	{ "chroma:http://h\\@x:80", "backslashes" },
	{ "chroma:http://h:80/t/\xff", "UTF-8" },
};

static void test_good(size_t i)
{
	struct store_url u;
	char *why = NULL;
	int r = store_url_parse(&u, good[i].in, &why);

	ok(r == 0 && !why, "'%s' is read", good[i].in);
	if (r == 0) {
		ok(!strcmp(u.driver, good[i].driver), "driver %s", u.driver);
		ok(!strcmp(u.base, good[i].base), "base %s", u.base);
		ok(!strcmp(u.path, good[i].path), "path '%s'", u.path);
		ok(!strcmp(u.canonical, good[i].canonical), "canonical %s", u.canonical);
		ok(u.loopback == good[i].loopback && u.tls == good[i].tls, "loopback and tls");
		store_url_release(&u);
	}
	store_url_release(&u);
	free(why);
}

/* What was written in canonical form is its own canonical form. */
static void test_again(size_t i)
{
	struct store_url u;
	char *why = NULL;

	ok(store_url_parse(&u, good[i].canonical, &why) == 0 &&
	   !strcmp(u.canonical, good[i].canonical), "'%s' stays", good[i].canonical);
	store_url_release(&u);
	free(why);
}

static void test_bad(size_t i)
{
	struct store_url u;
	char *why = NULL;
	int r = store_url_parse(&u, bad[i].in, &why);

	ok(r == -1 && why && strstr(why, bad[i].says), "refused: %zu, for '%s'", i, bad[i].says);
	ok(why && !strstr(why, "hunter2"), "no secret in the message");
	if (r == 0)
		store_url_release(&u);
	free(why);
}

/* Embedding servers */

static const struct {
	const char *in, *base, *path, *canonical;
	bool loopback;
} embedders[] = {
	{ "http://localhost:8080", "http://localhost:8080", "/v1/embeddings", "http://localhost:8080", true },
	{ "http://127.0.0.1:8080/", "http://127.0.0.1:8080", "/v1/embeddings", "http://127.0.0.1:8080", true },
	{ "http://[::1]:8080/v1", "http://[::1]:8080", "/v1/embeddings", "http://[::1]:8080", true },
	{ "HTTP://LocalHost:8080/v1/embeddings/", "http://localhost:8080", "/v1/embeddings",
	  "http://localhost:8080", true },
	{ "https://api.openai.com/v1", "https://api.openai.com:443", "/v1/embeddings",
	  "https://api.openai.com:443", false },
	{ "https://h/a/b", "https://h:443", "/a/b/v1/embeddings", "https://h:443/a/b", false },
	{ "https://h/a/v1/", "https://h:443", "/a/v1/embeddings", "https://h:443/a", false },
	{ "https://h/v1beta/openai/embeddings", "https://h:443", "/v1beta/openai/embeddings",
	  "https://h:443/v1beta/openai/embeddings", false },
	{ "https://h/embeddings", "https://h:443", "/embeddings", "https://h:443/embeddings", false },
	{ "http://h/%41%20b", "http://h:80", "/A%20b/v1/embeddings", "http://h:80/A%20b", false },
	{ "http://h/v1/v1", "http://h:80", "/v1/v1/embeddings", "http://h:80/v1/v1/embeddings", false },
	{ "http://h/embeddings/v1", "http://h:80", "/embeddings/v1/embeddings",
	  "http://h:80/embeddings/v1/embeddings", false },
	{ "http://h/xv1", "http://h:80", "/xv1/v1/embeddings", "http://h:80/xv1", false },
	/* Azure's form, and other queries */
	{ "https://x.openai.azure.com/openai/deployments/d/embeddings?api-version=2024-02-01",
	  "https://x.openai.azure.com:443", "/openai/deployments/d/embeddings?api-version=2024-02-01",
	  "https://x.openai.azure.com:443/openai/deployments/d/embeddings?api-version=2024-02-01", false },
	{ "https://H/v1/?a=b/embeddings", "https://h:443", "/v1/embeddings?a=b/embeddings",
	  "https://h:443?a=b/embeddings", false },
	{ "http://127.0.0.1:1?a=%7e%c3%a9+\xc3\xa9\"&b&&=", "http://127.0.0.1:1",
	  "/v1/embeddings?a=~%C3%A9+%C3%A9%22&b&&=", "http://127.0.0.1:1?a=~%C3%A9+%C3%A9%22&b&&=", true },
	{ "http://h/embeddings?", "http://h:80", "/embeddings", "http://h:80/embeddings", false },
	{ "http://h/v1?mo=%26%3D%2B?", "http://h:80", "/v1/embeddings?mo=%26%3D%2B?",
	  "http://h:80?mo=%26%3D%2B?", false },
};

static const struct {
	const char *in, *says;
} no_embedders[] = {
	{ "", "http://localhost:8080" }, { "hash", "http://localhost:8080" },
	{ "openai:http://h", "http://localhost:8080" }, { "ftp://h", "http://localhost:8080" },
	{ "http://", "host" }, { "http://h:0", "port" }, { "http://u:hunter2@h/v1", "user name" },
	{ "http://h/v1?key=hunter2", "'key' in the URL's query looks like a key" },
	{ "http://h/v1?a=b&Api_KEY=hunter2", "Api_KEY" }, { "http://h/v1?%6bey=hunter2", "'key'" },
	{ "http://h/v1?access_token=hunter2", "--embed-header-file" }, { "http://h/v1?SIG=hunter2", "SIG" },
	{ "http://h/v1?code=hunter2", "code" }, { "http://h/v1?a=%4", "well formed" },
	{ "http://h/v1?a=%zzhunter2", "well formed" }, { "http://h/v1?a=%0dX", "well formed" },
	{ "http://h/v1#x", "fragment" }, { "http://u:hunter2@h/v1?a=b", "user name" },
	{ "http://h/v1?a=b c", "blanks" }, { "hash?a=hunter2", "http://localhost:8080" }, { "http://h/a//b", "path" }, { "http://h/../v1", "path" },
	{ "http://h/a b", "blanks" },
};

static void want_embedder(size_t i, const char *in)
{
	struct store_url u;
	char *why = NULL;
	int r = store_url_parse_embedder(&u, in, &why);

	ok(r == 0 && !strcmp(u.driver, "openai") && !strcmp(u.base, embedders[i].base) &&
	   !strcmp(u.path, embedders[i].path) && !strcmp(u.canonical, embedders[i].canonical) &&
	   u.loopback == embedders[i].loopback, "embedder '%s': %s", in, r == 0 ? u.canonical : why);
	store_url_release(&u);
	free(why);
}

static void test_embedders(void)
{
	struct store_url u;
	char *why = NULL;

	for (size_t i = 0; i < sizeof(embedders) / sizeof(embedders[0]); i++) {
		want_embedder(i, embedders[i].in);
		ok(store_url_parse_embedder(&u, embedders[i].canonical, &why) == 0 &&
		   !strcmp(u.canonical, embedders[i].canonical) && !strcmp(u.path, embedders[i].path),
		   "'%s' stays", embedders[i].canonical);
		store_url_release(&u);
	}
	for (size_t i = 0; i < sizeof(no_embedders) / sizeof(no_embedders[0]); i++) {
		ok(store_url_parse_embedder(&u, no_embedders[i].in, &why) == -1 && why &&
		   strstr(why, no_embedders[i].says) && !strstr(why, "hunter2"), "no embedder: %zu, for '%s'",
		   i, no_embedders[i].says);
		free(why);
	}
}

int main(void)
{
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		test_good(i);
		test_again(i);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		test_bad(i);
	test_embedders();
	return tap_done();
}
