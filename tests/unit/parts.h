/* parts: a state of its own, lines as they come, and a lane that a test answers for; for the parts of a pipeline
 * that are tried without a process, a network or a clock that moves. */
#ifndef LINESYNC_PARTS_H
#define LINESYNC_PARTS_H

#include <stdlib.h>
#include <string.h>

#include "../../src/alloc.h"
#include "../../src/clock.h"
#include "../../src/content.h"
#include "../../src/doc.h"
#include "../../src/lane.h"
#include "../../src/task.h"
#include "scratch.h"
#include "tap.h"

#define LATE_MS 1000
#define DIM 8

static char parts_dir[] = "/tmp/linesync-test-XXXXXX", parts_path[64];
static struct options parts_options;
static struct content_options parts_content = { .max_content = 1 << 20 };
static struct roots *roots;
static struct state *state;
static struct window *window;
static struct outbox *outbox;
static struct tasks *tasks;
static struct embedder embedder;
static struct driver driver = { .name = "fake", .role = "store" };
static struct store store = { .driver = &driver, .collection = (char *)"Code" };
static struct offer_maker maker;
static uint32_t ord;		/* of the last line */

/* ---- the lane ---- */

static struct lane_item *given[64];	/* pieces that were given to it, in order; NULL: answered */
static int ngiven;

void lane_add(struct lane *l, struct lane_item *item)
{
	(void)l;
	given[ngiven++] = item;
}

struct lane_item *batch_items(const struct batch *b)
{
	return (struct lane_item *)(uintptr_t)b;
}

static inline size_t object_bytes(const struct store *s, const struct object *o)
{
	(void)s;
	return o->text_len;
}

/* How many pieces the lane has. */
static inline int flying(void)
{
	int n = 0;

	for (int i = 0; i < ngiven; i++)
		n += given[i] != NULL;
	return n;
}

/* The n-th piece that was given, from 0, goes out, and comes back so. */
static inline void answer(int n, enum lane_end end)
{
	struct lane_item *i = given[n];

	given[n] = NULL;
	i->next = NULL;
	tasks_mark_batch(tasks, (struct batch *)i);
	i->sent = 1;
	i->first_sent_ms = clock_ms();
	i->verdict.scope = end == LANE_DONE ? VERDICT_OK : VERDICT_OBJECT;
	i->verdict.kept_nothing = end == LANE_REFUSED;
	i->unclear = end == LANE_GAVE_UP;
	i->lost_until = end == LANE_GAVE_UP ? clock_ms() + LATE_MS : 0;
	task_item_done(tasks, i, end);
}

/* ---- begin and end ---- */

static inline void begin_process(void)
{
	window = window_new(state, clock_ms() + LATE_MS);
	outbox = outbox_new(RESULTS_ALL, 1000);
	tasks = tasks_new(&(struct task_parts){ state, window, outbox, &store, &embedder, false });
	tasks_use(tasks, NULL, NULL);
	ngiven = 0;
}

static inline void end_process(void)
{
	window_free(window);
	tasks_free(tasks);
	outbox_free(outbox);
	window = NULL;
}

/* What a commit does, and what is printed by it is gone. */
static inline void commit(void)
{
	struct output *out = output_new(-1);

	state_commit(state);
	outbox_release_to(outbox, out);
	work_committed(window);
	output_free(out);
}

static inline void begin_state(void)
{
	if (window != NULL)
		end_process();
	state_close(state);
	unlink(parts_path);
	if (state_open(&state, parts_path, "chroma:http://localhost:8000", "Code", 0) != 0) {
		printf("Bail out! cannot open the state\n");
		exit(99);
	}
	state_run_begin(state, "", "");
	ord = 0;
	begin_process();
}

static inline void parts_init(void)
{
	if (mkdtemp(parts_dir) == NULL)
		exit(99);
	snprintf(parts_path, sizeof parts_path, "%s/s.tdb", parts_dir);
	driver.object_bytes = object_bytes;
	parts_content.root = parts_dir;
	roots = roots_new(&parts_content);
	embedder = (struct embedder){ .kind = EMBED_HASH, .dimension = DIM, .prefix = (char *)"", .decided = true,
				      .name = (char *)"hash-1:8" };
	offer_maker_init(&maker, &embedder, NULL, &store, &parts_options);
	clock_test_set_ms(100000);
}

static inline int parts_done(void)
{
	end_process();
	state_close(state);
	offer_maker_release(&maker);
	roots_free(roots);
	scratch_remove(parts_dir, parts_path);
	return tap_done();
}

/* ---- lines ---- */

/* A line as it comes is offered. */
static inline void offer_line(const char *text, struct change *c, struct content *k, struct offer *of)
{
	static struct change_options as_is;
	bool needs_file, keep_old = false;

	memset(k, 0, sizeof *k);
	change_parse(c, text, strlen(text), false, &needs_file, &as_is);
	if (c->kind == CHANGE_DOCUMENT)
		content_load(k, c, roots, needs_file, &keep_old);
	offer_make(of, &maker, c, k, keep_old, HALF_NEW | HALF_OLD);
}

/* The next line of the run; returned while it lives. */
static inline struct work *line(const char *text)
{
	static struct change_options as_is;
	struct work_origin from = { &as_is, NULL };
	struct content k;
	struct change c;
	struct offer of;
	struct work *w;

	offer_line(text, &c, &k, &of);
	w = work_new(&c, &from, (struct place_in_run){ state_run(state)->number, ++ord }, ord);
	state_line_read(state, ord, ord, true);
	work_keep_payload(w, text, strlen(text));
	work_take_offer(w, &of, &maker);
	offer_release(&of);
	change_release(&c);
	content_release(&k);
	task_line(tasks, w);
	return w;
}

#define PUT(path, text) "{\"repo\":\"R\",\"path\":\"" path "\",\"content\":\"" text "\"}"
#define DEL(path) "{\"repo\":\"R\",\"path\":\"" path "\",\"op\":\"delete\"}"
#define MOVE(old, path, text) "{\"repo\":\"R\",\"op\":\"rename\",\"old_path\":\"" old "\",\"path\":\"" path \
			      "\",\"content\":\"" text "\"}"

/* What line n of the run has come to. */
static inline enum status status_of(uint32_t n)
{
	struct line_state l;

	return state_line_get(state, n, &l) ? l.status : STATUS_NONE;
}

#endif
