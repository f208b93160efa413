/* Begins and ends a run. */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdlib.h>
#include <string.h>

#include "changeset.h"
#include "cleanup.h"
#include "clock.h"
#include "log.h"
#include "pipeline_p.h"

#define KEEP_DAYS 7

static char *reading_settings(const struct pipeline *p)
{
	const struct options *o = p->o;
	auto_buf struct buf b = BUF_INIT;

	buf_addf(&b, "format=%d%s repo=%s namespace=%s root=%s max-content=%llu force=%d", o->format,
		 o->nul ? "z" : "", o->repo ? o->repo : "", o->namespace ? o->namespace : "",
		 roots_path(p->parts.roots), (unsigned long long)o->max_content, o->force);
	if (o->uncommitted)
		buf_adds(&b, " uncommitted=1");
	for (int i = 0; o->exclude != NULL && o->exclude[i] != NULL; i++)
		buf_addf(&b, " exclude=%s", o->exclude[i]);
	return buf_detach(&b);
}

/* Whether the last run can go on, as far as its first line does not say otherwise: it did not finish,
 * and was read the same way. */
static bool resumable(struct pipeline *p, const char *settings, uint32_t *number)
{
	struct run_state last;
	bool yes = false, finished;

	*number = state_head(p->state)->next_run - 1;
	if (*number == 0 || state_run_get(p->state, *number, &last) != 0)
		return false;
	if (last.status == RUN_RUNNING || last.status == RUN_INTERRUPTED)
		yes = last.lines > 0 && !p->o->new_run && strcmp(last.settings, settings) == 0 &&
		      last.nancestors < RUN_ANCESTORS;
	if (!yes && last.lines > 0 && (last.status == RUN_RUNNING || last.status == RUN_INTERRUPTED))
		log_note("run %s did not finish; it stays interrupted and a new run begins, because %s",
			 last.id, p->o->new_run ? "of --new-run" :
			 last.nancestors == RUN_ANCESTORS ? "its input has changed too often" :
			 "the input is read in another way");
	if (!yes && run_interrupt(&last))
		state_run_put(p->state, &last);
	finished = last.status == RUN_COMPLETED || last.status == RUN_FAILED;
	run_release(&last);
	if (finished)
		state_lines_drop(p->state, *number);
	return yes;
}

/* A run begins with its process: what listed its input may have done so while the lock or the store was
 * waited for. */
static void date_run(struct pipeline *p)
{
	struct run_state *run = state_run(p->state);

	run->start_file_ns = p->parts.start_file_ns;
	run->start_s = run->part_s = p->parts.start_file_ns / 1000000000;
}

bool run_begin(struct pipeline *p)
{
	autofree char *settings = reading_settings(p);
	uint32_t number;

	if (resumable(p, settings, &number)) {
		state_run_continue(p->state, number);
		return true;
	}
	state_run_begin(p->state, p->parts.source, settings);
	date_run(p);
	return false;
}

void run_open(struct pipeline *p, uint32_t continued)
{
	struct run_state *run = state_run(p->state);

	run->input_size = p->parts.input_size;
	repo_set_text(&run->source, p->parts.source);
	if (run->number != continued)
		return;
	run->part_s = p->parts.start_file_ns / 1000000000;
	log_info("run %s is continued", run->id);
}

void run_branch(struct pipeline *p, uint32_t cut, uint64_t line)
{
	const char *id = state_run(p->state)->id;

	if (cut == 1)
		log_note("run %s did not finish and this input does not begin like its own; it stays "
			 "interrupted and a new run begins", id);
	else if (line == 0)
		log_note("the input ends before what run %s had read does; that run stays interrupted", id);
	else
		log_note("line %llu is not what run %s had read there; that run stays interrupted and a new "
			 "one goes on from here", (unsigned long long)line, id);
	state_run_branch(p->state, cut);
	date_run(p);
}

/* What nobody waits for any more is not kept for ever, and does not go without a word. */
static void drop_old(struct pipeline *p, bool clean)
{
	int64_t before = clock_unix_s() - KEEP_DAYS * 86400;
	uint64_t n = changeset_unknown_expire(p->state, before);

	if (n > 0)
		log_warn("%llu failed lines of no known repository are dropped: they are more than %d days old, and "
			 "nothing waited for them", (unsigned long long)n, KEEP_DAYS);
	if (clean)
		state_runs_drop(p->state, before);
}

/* A run has ended well only when its results are printed too: until then a resume prints them. */
void run_end(struct pipeline *p, bool whole)
{
	struct run_state *run = state_run(p->state);
	uint32_t number = run->number;
	/* messages alone, more of them than cmd_sync.c waits for */
	bool idle = run->lines == 0 && run->retried == 0;

	if (whole && !idle) {
		state_head(p->state)->whole_run = number;
		drop_old(p, run->good);
	}
	state_run_end(p->state, !whole || idle ? RUN_INTERRUPTED : run->good ? RUN_COMPLETED : RUN_FAILED);
	state_commit(p->state);
	if (whole)
		state_lines_drop(p->state, number);
}
