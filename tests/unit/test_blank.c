#include <stdlib.h>
#include <string.h>

#include "../../src/blank.h"
#include "../../src/driver_json.h"
#include "tap.h"

static void want(const char *text, const char *want, const char *what)
{
	auto_buf struct buf b = BUF_INIT;

	blank_text(&b, text, strlen(text));
	ok(!strcmp(b.data ? b.data : "", want), "%s", what);
	if (strcmp(b.data ? b.data : "", want))
		printf("# got %s\n", b.data ? b.data : "");
}

static void test_key(void)
{
	want("key 'Sesame/7+x' may not", "key 'Sesame/7+x' may not", "nothing is known yet");
	blank_know(" Sesame/7+x  ");
	want("key 'Sesame/7+x' may not", "key '***' may not", "as it is, blanks around it left out");
	want("Sesame/7+xSesame/7+x", "******", "twice");
	want("Sesame/7+", "Sesame/7+", "not a part of it");
	want("", "", "of nothing");
	want("q=Sesame%2F7%2Bx&b=Sesame%2f7%2bx", "q=***&b=***", "percent-encoded");
	want("{\"k\":\"Sesame\\/7+x\"}", "{\"k\":\"***\"}", "as JSON may write a slash");
	want("U2VzYW1lLzcreA==", "***A==", "base64");		/* the last digit is not its own alone */
	want("dTpTZXNhbWUvNyt4", "dTp***", "base64 of 'u:KEY'");
	want("dXM6U2VzYW1lLzcreA==", "dXM6***A==", "base64 of 'us:KEY'");
	want("dXNlOlNlc2FtZS83K3g=", "dXNlOl***g=", "base64 of 'use:KEY'");
	blank_know("Sesame/7+x and more");
	want("Sesame/7+x and more", "***", "of two that begin alike the longer");
	blank_know("\xff\xfe\"?~");
	want("a \xff\xfe\"?~ b", "a *** b", "what is no UTF-8");
	want("\\ufffd //4iP34=", "\\ufffd ***4=", "base64");
	want("__4iP34=", "***4=", "base64 for URLs");
}

static void test_short(void)
{
	blank_know("abc");
	blank_know("e");
	blank_know("");
	blank_know("  x  ");
	want("abcdef there x", "abcdef there x", "of up to three bytes: nothing is blanked");
	blank_know("wxyz");
	want("a wxyz b", "a *** b", "of four");
}

static void test_header(void)
{
	blank_know_header("X-Openai-Api-Key: first-value");
	want("X-Openai-Api-Key: first-value", "X-Openai-Api-Key: ***", "a header's value, not its name");
	blank_know_header("Authorization: Bearer token-2");
	want("token 'token-2'", "token '***'", "what follows a scheme");
	want("Bearer token-2", "***", "and all of it");
	want("Bearer", "Bearer", "not the scheme");
	blank_know_header("Authorization: Basic bmFtZTpteSBwYXNz");
	want("name:my pass, my pass, name", "***, ***, name", "a name with its password, and that");
	blank_know_header("Authorization: Basic ?");
	want("Basic ?", "***", "one that is not base64");
}

static void test_proxies(void)
{
	setenv("https_proxy", "http://us%65r:p%40ssw0rd@proxy.example:3128/", 1);
	setenv("ALL_PROXY", "solo-token@proxy.example", 1);
	setenv("http_proxy", "http://proxy.example:3128/?q=other@where", 1);
	blank_know_proxies();
	want("'http://us%65r:p%40ssw0rd@proxy.example'", "'http://***@proxy.example'", "a proxy's user as it is named");
	want("user:p@ssw0rd, p@ssw0rd", "***, ***", "and as it is sent");
	want("solo-token", "***", "a user without a password");
	want("other@where proxy.example", "other@where proxy.example", "not what else the URL holds");
}

static const struct reply *answer(const char *before, const char *key)
{
	static struct reply r;

	buf_release(&r.body);
	r = (struct reply){ .end = HTTP_ANSWERED, .status = 500 };
	buf_adds(&r.body, before);
	buf_adds(&r.body, key);
	return &r;
}

/* Half a key is as good as one, and is not found any more. */
static void test_cut(void)
{
	static char key[1001], before[500];
	struct verdict v = { 0 };
	char location[40];
	size_t left = 0;

	for (size_t i = 0; i < sizeof(key) - 1; i++)
		key[i] = "0123456789abcdefghijklm"[i * i % 23];
	blank_know(key);
	for (size_t n = 0; n < sizeof(before); n += 7) {
		char *words;

		memset(before, '.', n);
		before[n] = '\0';
		words = answer_words(answer(before, key));
		left += strstr(words, "014") != NULL;
		free(words);
		verdict_say(&v, "%s%s", before, key);
		left += strstr(v.text, "014") != NULL;
	}
	ok(!left, "no part of it is left, wherever a text is cut");
	reply_text(location, sizeof(location), key, sizeof(key) - 1);
	ok(!strcmp(location, "***"), "nor in a small room");
}

int main(void)
{
	test_key();
	test_short();
	test_header();
	test_proxies();
	test_cut();
	return tap_done();
}
