/* SPDX-License-Identifier: MIT */
#include "loss.h"
#include "run.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define DEPTH_MAX 4
#define SEEDS_SHORT 12
#define SEEDS_LONG 300

struct loss {
	const struct loss_body *body;
	struct session *session;
	uint32_t seeds;
	uint64_t only_call, only_seed; /* 0: all */
	uint64_t states, calls;
	uint64_t last_call;
	bool broken;
	struct ledger ledgers[DEPTH_MAX + 2]; /* one for each loss that came upon another */
};

/* An opening after a power loss, and when the next one comes. */
struct opening {
	struct loss *loss;
	struct session session;
	uint64_t seed, calls, at;
	int depth;
	bool ok;
};

static uint64_t mix(uint64_t a, uint64_t b)
{
	uint64_t z = a * UINT64_C(0x9e3779b97f4a7c15) + b + UINT64_C(0x632be59bd9b4e019);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static bool lose(struct loss *loss, struct session *s, const struct io_disk_call *call, uint64_t seed, int depth);

/* The power goes again, in the middle of what follows an opening. */
static int again(void *arg, const struct io_disk_call *call)
{
	struct opening *o = arg;

	if (++o->calls != o->at || !session_ok(&o->session))
		return 0;
	o->ok = lose(o->loss, &o->session, call, mix(o->seed, o->at), o->depth + 1);
	o->session.dead = true;
	io_disk_off(o->session.disk);
	return -1;
}

/* It goes on: each stream takes records, and keeps them. */
static void go_on(const struct loss *loss, struct session *s, uint64_t seed)
{
	if (loss->body->fits && s->ledger->n_streams > 0 && s->handles[0]) {
		(void)ledger_append(s, 0, 1, 0, LOSS_CONTENT, 0);
		return;
	}
	for (uint32_t i = 0; i < s->ledger->n_streams && session_ok(s); i++) {
		if (!s->handles[i])
			continue;
		(void)ledger_append(s, i, 1 + seed % 3, seed % 20, 20 + (uint32_t)(seed >> 8) % 900, 0);
		(void)ledger_append(s, i, 1, 0, 30, seed % 5 ? 0 : WAL_APPEND_DURABLE);
	}
}

/* Now and then it is only the process that dies: the page cache stays, and what is lost is lost later. */
static bool only_killed(uint64_t seed)
{
	return seed > 1 && mix(seed, 4) % 8 == 0;
}

/* Opens what a power loss left, and holds it to the ledger. */
static bool open_after(struct loss *loss, struct io_disk *image, struct ledger *ledger, uint64_t seed, int depth)
{
	struct opening o = { .loss = loss, .seed = seed, .depth = depth, .ok = true };
	struct session *s = &o.session;

	session_init(s, image, ledger);
	s->killed = only_killed(seed);
	s->opts.segment_bytes = loss->session->opts.segment_bytes;
	s->opts.flags = loss->session->opts.flags;
	s->clock_ns = __atomic_load_n(&loss->session->clock_ns, __ATOMIC_RELAXED); /* writers look at it, too */
	if (depth < DEPTH_MAX && mix(seed, 1) % 3)
		o.at = 1 + mix(seed, 2) % (mix(seed, 3) % 2 ? 8 : 60);
	io_disk_set_hook(image, again, &o);
	session_open(s);
	ledger_hold(s);
	go_on(loss, s, seed);
	ledger_hold_clean(s);
	session_close(s);
	if (session_ok(s))
		session_open(s);
	s->killed = false;
	ledger_hold(s);
	ledger_hold_clean(s);
	session_close(s);
	if (s->why[0]) {
		(void)fprintf(stderr, "# loss: %s: after %d power losses: %s\n", loss->body->name, depth, s->why);
		o.ok = false;
	}
	return o.ok;
}

/* The power is lost in this session, before this call. */
static bool lose(struct loss *loss, struct session *s, const struct io_disk_call *call, uint64_t seed, int depth)
{
	struct ledger *ledger = &loss->ledgers[depth];
	struct io_disk *image = only_killed(seed) ? io_disk_copy(s->disk) : io_disk_crash(s->disk, seed, NULL);
	bool ok;

	pthread_mutex_lock(&s->lock);
	ledger_copy(ledger, s->ledger);
	pthread_mutex_unlock(&s->lock);
	loss->states++;
	ok = open_after(loss, image, ledger, seed, depth);
	io_disk_free(image);
	if (!ok && only_killed(seed)) {
		(void)fprintf(stderr,
			      "# and before, %d, the process was killed before call %llu (%s), with seed %llu\n", depth,
			      (unsigned long long)call->n, call->what, (unsigned long long)seed);
	} else if (!ok) {
		(void)fprintf(stderr, "# power loss %d came before call %llu (%s), with seed %llu:\n", depth,
			      (unsigned long long)call->n, call->what, (unsigned long long)seed);
		image = io_disk_crash(s->disk, seed, stderr);
		io_disk_print(image, stderr);
		io_disk_free(image);
	}
	return ok;
}

static int before_call(void *arg, const struct io_disk_call *call)
{
	struct loss *loss = arg;

	loss->calls++;
	loss->last_call = call->n;
	if (loss->only_call && call->n != loss->only_call)
		return call->ino && call->ino == loss->session->fail_ino ? -EIO : 0;
	if (loss->only_seed)
		loss->broken |= !lose(loss, loss->session, call, loss->only_seed, 1);
	for (uint32_t k = 0; k < loss->seeds && !loss->broken && !loss->only_seed; k++) {
		uint64_t seed = k < 2 ? k : mix(call->n, k) | 2;

		loss->broken = !lose(loss, loss->session, call, seed, 1);
	}
	return call->ino && call->ino == loss->session->fail_ino ? -EIO : 0;
}

static uint64_t setting(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text && text[0] ? strtoull(text, NULL, 10) : otherwise;
}

static uint64_t all_states, all_calls;

void loss_tell(void)
{
	print_message("# in all: %llu states after %llu calls\n", (unsigned long long)all_states,
		      (unsigned long long)all_calls);
}

void loss_walk(const struct loss_body *body)
{
	struct loss *loss = calloc(1, sizeof(*loss));
	struct ledger *ledger = calloc(1, sizeof(*ledger));
	struct io_disk *disk = io_disk_new();
	struct session s;
	bool broken;

	assert_true(loss && ledger);
	*loss = (struct loss){ .body = body, .session = &s };
	loss->seeds = (uint32_t)setting("LOSS_SEEDS", setting("LOSS_LONG", 0) ? SEEDS_LONG
						      : body->seeds           ? body->seeds
									      : SEEDS_SHORT);
	if (run_sanitized() && !setting("LOSS_SEEDS", 0) && !setting("LOSS_LONG", 0)) /* slower, and the same states */
		loss->seeds = (loss->seeds + 3) / 4;
	loss->only_call = setting("LOSS_CALL", 0);
	loss->only_seed = setting("LOSS_SEED", 0);
	ledger_init(ledger);
	session_init(&s, disk, ledger);
	s.live = body->live;
	if (body->segment_bytes)
		s.opts.segment_bytes = body->segment_bytes;
	if (body->relaxed)
		s.opts.flags |= WAL_OPEN_RELAXED;
	io_disk_set_hook(disk, before_call, loss);
	session_open(&s);
	body->body(&s);
	session_close(&s);
	(void)before_call(loss, &(struct io_disk_call){ .n = loss->last_call + 1, .what = "the end" });
	broken = loss->broken || !session_ok(&s);
	if (s.why[0])
		(void)fprintf(stderr, "# loss: %s: without a power loss: %s\n", body->name, s.why);
	print_message("# %s: %llu states after %llu calls\n", body->name, (unsigned long long)loss->states,
		      (unsigned long long)loss->calls);
	all_states += loss->states;
	all_calls += loss->calls;
	io_disk_free(disk);
	free(ledger);
	free(loss);
	assert_false(broken);
}
