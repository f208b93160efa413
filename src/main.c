/* linesync: picks the command, turns what it returns into the exit status. */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "log.h"
#include "options.h"

static const struct {
	const char *name;
	int (*run)(const struct options *o);
} commands[] = {
	{ "sync", cmd_sync },
	{ "status", cmd_status },
	{ "changeset", cmd_changeset },
	{ "skip", cmd_skip },
	{ "forget", cmd_forget },
	{ "export", cmd_export },
	{ "search", cmd_search },
	{ "check", cmd_check },
	{ "states", cmd_states },
};

static int run(const struct options *o)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(commands[i].name, o->command) == 0)
			return commands[i].run(o);
	log_err("command '%s' is in no table", o->command);
	return 70;
}

/* A descriptor that the caller closed would become the state file's, and messages would be written
 * into it.  What takes its place fails as a closed one does: it is open for the other direction. */
static void keep_standard_descriptors(void)
{
	static const int modes[] = { O_WRONLY, O_RDONLY, O_RDONLY };

	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", modes[fd]) != fd)
			_exit(70);
}

/* What stdio still held may not fit on the disk. */
static int close_stdout(int status)
{
	int failed = ferror(stdout);

	if (fclose(stdout) == 0 && !failed)
		return status;
	log_err("cannot write standard output%s%s", errno != 0 ? ": " : "",
		errno != 0 ? strerror(errno) : "");
	return status > 1 ? status : 74;
}

int main(int argc, char **argv)
{
	struct options o;
	int status;

	keep_standard_descriptors();
	status = options_parse(&o, argc, argv);
	if (status != 0) {
		status--;
	} else {
		if (o.verbose > 0)
			log_set_level(o.verbose > 1 ? LOG_DEBUG : LOG_INFO);
		status = run(&o);
	}
	options_release(&o);
	errno = 0;
	return close_stdout(status);
}
