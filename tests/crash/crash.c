/* SPDX-License-Identifier: MIT */
#include "crash.h"

#define RUNS_MAX 4000

static void begin(struct crash *crash, const struct crash_body *body, uint64_t n)
{
	memset(crash, 0, sizeof(*crash));
	crash->body = body;
	crash->n = n;
	kit_init(&crash->kit);
	crash->kit.opts.segment_bytes = body->segment_bytes;
	if (body->relaxed)
		crash->kit.opts.flags |= WAL_OPEN_RELAXED;
	promise_init(&crash->promise);
	kit_open(&crash->kit);
	crash->stream = kit_stream(&crash->kit, "s");
	if (body->before)
		body->before(crash);
	if (body->closed && crash->stream) {
		wal_stream_unref(crash->stream);
		crash->stream = NULL;
		kit_crash(&crash->kit);
	}
}

static void hold(struct crash *crash)
{
	wal_stream_unref(crash->stream);
	kit_open(&crash->kit);
	if (crash->body->find)
		crash->body->find(crash);
	crash->stream = kit_stream(&crash->kit, "s");
	promise_check(&crash->promise, crash->stream, true);
}

/* After the crash: opened, checked; appended to, opened, checked again. */
static void check(struct crash *crash)
{
	struct kit *kit = &crash->kit;

	crash->stream = NULL;
	hold(crash);
	if (crash->body->after)
		crash->body->after(crash);
	assert_int_equal(promise_append(&crash->promise, crash->stream, 1, 3, 20, 0), 0);
	promise_check(&crash->promise, crash->stream, true);
	assert_int_equal(kit_verify(kit), 0);
	wal_stream_unref(crash->stream);
	crash->stream = NULL;
	kit_close(kit);
	hold(crash);
	assert_int_equal(kit_verify(kit), 0);
	assert_int_equal(kit_troubles(kit), 0);
	wal_stream_unref(crash->stream);
	kit_fini(kit);
}

static void say_run(const struct crash *crash, const char *what)
{
	if (getenv("CRASH_TALK"))
		print_message("# %s: %s at call %llu\n", crash->body->name, what, (unsigned long long)crash->n);
}

static void stop_with(const struct crash_body *body, enum io_fault_mode mode, unsigned kinds)
{
	static struct crash crash;
	bool fired = true;

	for (uint64_t n = 1; fired; n++) {
		assert_true(n < RUNS_MAX);
		begin(&crash, body, n);
		say_run(&crash, mode == IO_TEAR ? "tear" : "stop");
		io_fault_arm(&crash.kit.fault, mode, kinds, n, -EIO);
		body->body(&crash);
		fired = io_fault_fired(&crash.kit.fault);
		if (crash.stream)
			wal_stream_unref(crash.stream);
		kit_crash(&crash.kit);
		check(&crash);
	}
}

void crash_stop_loop(const struct crash_body *body)
{
	stop_with(body, IO_STOP, IO_CHANGES);
	stop_with(body, IO_TEAR, IO_WRITE);
}

static void fail_with(const struct crash_body *body, enum io_fault_mode mode, unsigned kinds, int code)
{
	static struct crash crash;
	bool fired = true;

	for (uint64_t n = 1; fired; n++) {
		assert_true(n < RUNS_MAX);
		begin(&crash, body, n);
		crash.faulty = true;
		crash.code = code;
		say_run(&crash, wal_strerror(code));
		io_fault_arm(&crash.kit.fault, mode, kinds, n, code);
		body->body(&crash);
		fired = io_fault_fired(&crash.kit.fault);
		io_fault_disarm(&crash.kit.fault);
		if (crash.stream)
			promise_check(&crash.promise, crash.stream, false);
		wal_stream_unref(crash.stream);
		if (crash.kit.store)
			(void)wal_store_close(crash.kit.store); /* what failed once may be said again */
		crash.kit.store = NULL;
		check(&crash);
	}
}

void crash_fail_loop(const struct crash_body *body)
{
	fail_with(body, IO_FAIL, IO_CHANGES, -EIO);
	fail_with(body, IO_FAIL, IO_CHANGES & ~IO_SYNC, -ENOSPC);
	fail_with(body, IO_SHORT, IO_WRITE, -EIO);
	fail_with(body, IO_SHORT_FAIL, IO_WRITE, -ENOSPC);
}
