/* SPDX-License-Identifier: MIT
 *
 * A stream that cannot be synced, or not replayed, is set aside: the others go on, and nothing that was acknowledged is lost.
 */
#include "crash.h"
#include "power.h"

#include <limits.h>
#include <sys/stat.h>

static struct kit kit;
static struct promise promise;
static struct wal_stream *stream, *other;
static struct promise others;

static void open_both(void)
{
	kit_open(&kit);
	stream = kit_stream(&kit, "s");
	other = kit_stream(&kit, "o");
}

static void begin_with(uint64_t segment_bytes)
{
	kit_init(&kit);
	promise_init(&promise);
	promise_init(&others);
	kit.opts.segment_bytes = segment_bytes;
	open_both();
	power_watch(&kit);
}

static void begin(void)
{
	begin_with(8192);
}

static void put(struct promise *to, struct wal_stream *in, uint32_t n, uint64_t len)
{
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(promise_append(to, in, 1 + i % 2, 3, len, 0), 0);
}

static void close_both(bool crash)
{
	wal_stream_unref(stream);
	wal_stream_unref(other);
	if (crash) {
		kit_crash(&kit);
	} else {
		(void)wal_store_close(kit.store); /* it may well say what is wrong */
		kit.store = NULL;
	}
}

/* "s" has records that are in the journal, and in no segment for certain. */
static void begin_failing(void)
{
	begin();
	put(&promise, stream, 4, 300);
	put(&others, other, 4, 300);
	power_fail_syncs(true);
	put(&promise, stream, 5, 300);
	assert_true(power_checkpoint());
	power_fail_syncs(false);
}

static const char *aside_path(char path[512])
{
	(void)snprintf(path, 512, "%s/.walfs/aside/%llu", kit.dir, (unsigned long long)wal_stream_id(stream));
	return path;
}

static void end(void)
{
	char path[512];

	for (int i = 0; i < 2; i++) {
		open_both();
		assert_false(file_exists(aside_path(path)));
		promise_check(&promise, stream, true);
		promise_check(&others, other, true);
		assert_int_equal(kit_verify(&kit), 0);
		assert_int_equal(kit_troubles(&kit), 0);
		put(&promise, stream, 2, 100);
		promise_check(&promise, stream, true);
		close_both(false);
	}
	kit_fini(&kit);
}

static void others_go_on(void **state)
{
	static const struct wal_attr attr = { 1, 2, 0700 };

	(void)state;
	begin_failing();
	assert_int_equal(wal_append_check(stream), -EROFS);
	assert_int_equal(promise_append(&promise, stream, 1, 0, 100, 0), -EROFS);
	assert_int_equal(wal_stream_set_attr(stream, &attr), -EROFS);
	assert_int_equal(wal_stream_rename(stream, KEY("new")), -EROFS);
	assert_int_equal(wal_stream_sync(stream), -EROFS);
	assert_int_equal(kit_troubles(&kit), 1);
	promise_check(&promise, stream, false); /* all can be read still */
	for (int i = 0; i < 6; i++) {
		put(&others, other, 20, 900);
		assert_true(power_checkpoint());
	}
	close_both(true);
	power_lose();
	end();
}

static void closed_and_opened(void **state)
{
	(void)state;
	begin_failing();
	put(&others, other, 20, 900);
	close_both(false);
	power_lose();
	end();
}

/* The sync that fails is that of a close. */
static void set_aside_at_close(void **state)
{
	(void)state;
	begin();
	put(&promise, stream, 9, 300);
	put(&others, other, 4, 300);
	power_fail_syncs(true);
	close_both(false);
	power_fail_syncs(false);
	power_lose();
	end();
}

/* A handle that is given back and got again does not start the stream again. */
static void stays_stopped(void **state)
{
	(void)state;
	begin_failing();
	wal_stream_unref(stream);
	stream = kit_stream(&kit, "s");
	assert_int_equal(promise_append(&promise, stream, 1, 0, 100, 0), -EROFS);
	close_both(true);
	end();
}

static void removed(void **state)
{
	char path[512];

	(void)state;
	begin_failing();
	assert_true(file_exists(aside_path(path)));
	assert_int_equal(wal_stream_delete(stream, WAL_DELETE_RECORDS), 0);
	assert_false(file_exists(path));
	assert_true(power_checkpoint());
	close_both(true);
	kit_open(&kit);
	assert_int_equal(wal_stream_open(kit.store, KEY("s"), &stream), -ENOENT);
	assert_int_equal(kit_troubles(&kit), 0);
	kit_fini(&kit);
}

/* One syncfs for many fails, once, as the kernel tells it; whose error it was is only found by asking each. */
static int (*fault_syncfs)(const struct wal_io *io, int fd);
static unsigned syncfs_calls;
static int syncfs_fails_once(const struct wal_io *io, int fd)
{
	(void)fault_syncfs(io, fd);
	return syncfs_calls++ == 0 ? -EIO : 0;
}

static void among_many(void **state)
{
	struct wal_stream *many[300];

	(void)state;
	kit_init(&kit);
	promise_init(&promise);
	promise_init(&others);
	kit.opts.open_files_max = 700;
	kit.opts.journal_bytes = 1 << 20;
	open_both();
	power_watch(&kit);
	put(&promise, stream, 3, 300); /* the first to be dirty is the last to be flushed */
	for (int i = 0; i < 300; i++) {
		char key[32];

		(void)snprintf(key, sizeof(key), "many%d", i);
		many[i] = kit_stream(&kit, key);
		(void)kit_append(many[i], key);
	}
	syncfs_calls = 0;
	fault_syncfs = kit.fault.io.syncfs;
	kit.fault.io.syncfs = syncfs_fails_once;
	power_fail_syncs(true);
	assert_true(power_checkpoint());
	power_fail_syncs(false);
	assert_int_equal(syncfs_calls, 1);
	assert_int_equal(wal_append_check(stream), -EROFS);
	for (int i = 0; i < 300; i++) {
		assert_int_equal(wal_append_check(many[i]), 0);
		wal_stream_unref(many[i]);
	}
	kit.fault.io.syncfs = fault_syncfs;
	close_both(true);
	power_lose();
	end();
}

/* The journal cannot be set aside either: then it stops, with all that it has. */
static void not_even_aside(void **state)
{
	char path[512];

	(void)state;
	begin();
	put(&promise, stream, 4, 300);
	(void)snprintf(path, sizeof(path), "%s/.walfs/aside", kit.dir);
	assert_int_equal(remove(path), 0);
	power_fail_syncs(true);
	assert_false(power_checkpoint());
	power_fail_syncs(false);
	assert_int_equal(promise_append(&others, other, 1, 0, 100, 0), -EROFS);
	close_both(true);
	power_lose();
	end();
}

/* ---- at replay --------------------------------------------------------------------------------------- */

/* The segment of "s" cannot be opened: a directory has its name. */
static void hide_segment(bool hide)
{
	char path[512], away[600];

	(void)snprintf(away, sizeof(away), "%s.away", kit_segment(&kit, "s", 1, path));
	if (hide) {
		assert_int_equal(rename(path, away), 0);
		assert_int_equal(mkdir(path, 0700), 0);
	} else {
		assert_int_equal(remove(path), 0);
		assert_int_equal(rename(away, path), 0);
	}
}

static void opens_without(uint32_t times)
{
	char path[512];

	for (uint32_t i = 0; i < times; i++) {
		kit_open(&kit);
		assert_true(kit_troubles(&kit) > 0);
		other = kit_stream(&kit, "o");
		promise_check(&others, other, true);
		put(&others, other, 3, 300);
		assert_true(wal_stream_open(kit.store, KEY("s"), &stream) < 0);
		(void)snprintf(path, sizeof(path), "%s/.walfs/aside/1", kit.dir);
		assert_true(file_exists(path));
		stream = NULL;
		close_both(i % 2);
	}
}

static void not_replayed(void **state)
{
	(void)state;
	begin();
	assert_int_equal(wal_stream_id(stream), 1);
	put(&promise, stream, 4, 300);
	put(&others, other, 4, 300);
	close_both(true);
	power_lose();
	hide_segment(true);
	opens_without(3);
	hide_segment(false);
	end();
}

/* It was set aside, and then cannot be replayed. */
static void aside_not_replayed(void **state)
{
	(void)state;
	begin_failing();
	close_both(true);
	power_lose();
	hide_segment(true);
	opens_without(3);
	hide_segment(false);
	end();
}

/* syncfs fails when all was replayed; each file is asked, and one says no. */
static void not_synced(void **state)
{
	(void)state;
	begin();
	put(&promise, stream, 4, 300);
	put(&others, other, 4, 300);
	close_both(true);
	syncfs_calls = 0;
	fault_syncfs = kit.fault.io.syncfs;
	kit.fault.io.syncfs = syncfs_fails_once;
	power_fail_syncs(true);
	open_both();
	power_fail_syncs(false);
	kit.fault.io.syncfs = fault_syncfs;
	assert_int_equal(promise_append(&promise, stream, 1, 0, 100, 0), -EROFS);
	promise_check(&promise, stream, false);
	promise_check(&others, other, true);
	put(&others, other, 3, 300);
	close_both(true);
	power_lose();
	end();
}

static void flip(const char *path)
{
	uint8_t byte;

	file_read(path, 300, &byte, 1);
	byte ^= 4;
	file_write(path, 300, &byte, 1);
}

/* Records that a batch had synced, behind ones that are only in what was set aside: while that cannot be replayed, what looks torn
 * is not cut. */
static void batch_behind(void **state)
{
	uint8_t head[1536];
	char path[512], aside[512];

	(void)state;
	begin_with(0);
	put(&promise, stream, 4, 300);
	file_read(kit_segment(&kit, "s", 1, path), 0, head, sizeof(head));
	assert_int_equal(promise_append(&promise, stream, 60, 3, 100, 0), 0); /* past an eighth of the journal */
	power_fail_syncs(true);
	put(&promise, stream, 1, 300);
	assert_true(power_checkpoint());
	power_fail_syncs(false);
	aside_path(aside);
	close_both(true);
	file_write(path, 0, head, sizeof(head));
	file_zero(path, 1536 + 500, 300);
	flip(aside);
	open_both();
	assert_int_equal(kit_stat(stream).next, 2);
	assert_int_equal(promise_append(&promise, stream, 1, 0, 100, 0), -EROFS);
	close_both(true);
	flip(aside);
	end();
}

static void file_damaged(void **state)
{
	char path[512];

	(void)state;
	begin_failing();
	aside_path(path);
	close_both(true);
	flip(path);
	for (int i = 0; i < 2; i++) {
		open_both();
		assert_true(kit_troubles(&kit) > 0);
		assert_int_equal(promise_append(&promise, stream, 1, 0, 100, 0), -EROFS);
		promise_check(&promise, stream, false); /* no power was lost */
		put(&others, other, 3, 300);
		assert_true(file_exists(path));
		close_both(true);
	}
	flip(path);
	power_lose();
	end();
}

/* What can be seen of a stream that is aside may not be all there is: nothing of it leaves, and nothing is begun behind it. */
static void nothing_leaves(void **state)
{
	static const struct wal_settings settings = { .retention_age_ns = 3600 * (uint64_t)SECOND };
	char aside[512];
	uint64_t next;

	(void)state;
	begin();
	assert_int_equal(wal_stream_set_settings(stream, &settings), 0);
	put(&promise, stream, 4, 300);
	put(&others, other, 4, 300);
	assert_true(power_checkpoint());
	put(&promise, stream, 5, 300); /* a checkpoint that still goes on in the background may not fail on these */
	power_fail_syncs(true);
	assert_true(power_checkpoint());
	power_fail_syncs(false);
	assert_int_equal(wal_trim(stream, 3, 0), -EROFS);
	aside_path(aside);
	close_both(true);
	power_lose();
	flip(aside);
	open_both();
	next = kit_stat(stream).next;
	assert_true(next < promise.n);
	kit.clock.ns += 7200 * SECOND;
	assert_int_equal(wal_retain(stream), -EROFS);
	assert_int_equal(wal_trim(stream, next, 0), -EROFS);
	kit.clock.ns -= 7200 * SECOND;
	assert_int_equal(kit_stat(stream).first, 1);
	close_both(true);
	flip(aside);
	end();
}

/* With the stream goes what is damaged of it. */
static void damaged_removed(void **state)
{
	char path[512], bad[600];

	(void)state;
	begin_failing();
	(void)snprintf(bad, sizeof(bad), "%s.bad", aside_path(path));
	close_both(true);
	assert_int_equal(rename(path, bad), 0);
	open_both();
	assert_true(kit_troubles(&kit) > 0);
	assert_int_equal(wal_stream_delete(stream, WAL_DELETE_RECORDS), 0);
	assert_false(file_exists(bad));
	close_both(false);
	open_both();
	assert_int_equal(kit_troubles(&kit), 0);
	close_both(false);
	kit_fini(&kit);
}

/* The directory of "s" cannot be opened, for want of descriptors. */
static int (*fault_openat)(const struct wal_io *io, int dirfd, const char *path, int flags, mode_t mode);
static int none_left_from, none_left_to, opened; /* these openings of it */
static int none_left(const struct wal_io *io, int dirfd, const char *path, int flags, mode_t mode)
{
	if (strcmp(path, "s") == 0 && ++opened >= none_left_from && opened <= none_left_to)
		return -EMFILE;
	return fault_openat(io, dirfd, path, flags, mode);
}

static void no_descriptor(void **state)
{
	(void)state;
	begin();
	fault_openat = kit.fault.io.openat;
	opened = none_left_from = 0;
	none_left_to = INT_MAX;
	kit.fault.io.openat = none_left;
	put(&promise, stream, 40, 600); /* new segments */
	assert_true(power_checkpoint());
	kit.fault.io.openat = fault_openat;
	put(&promise, stream, 1, 100);
	put(&others, other, 1, 100);
	close_both(true);
	power_lose();
	for (int nth = 1; nth <= 6; nth++) { /* and in a recovery */
		kit.opts.flags |= WAL_OPEN_RELAXED;
		open_both();
		put(&promise, stream, 1, 100);
		close_both(true);
		kit_open(&kit);
		other = kit_stream(&kit, "o");
		opened = 0;
		none_left_from = none_left_to = nth;
		kit.fault.io.openat = none_left;
		if (wal_stream_open(kit.store, KEY("s"), &stream) == 0)
			(void)wal_find_time(stream, 0, &(uint64_t){ 0 });
		else
			stream = NULL;
		kit.fault.io.openat = fault_openat;
		if (!stream)
			stream = kit_stream(&kit, "s");
		put(&promise, stream, 1, 100);
		close_both(true);
	}
	end();
}

/* ---- stopped at every call --------------------------------------------------------------------------- */

static void crash_before(struct crash *crash)
{
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(promise_append(&crash->promise, crash->stream, 1 + i % 3, 0, 300, 0), 0);
	power_watch(&crash->kit);
}

/* Dies, and the power goes. */
static void crash_now(struct crash *crash)
{
	wal_stream_unref(crash->stream);
	crash->stream = NULL;
	io_fault_stop(&crash->kit.fault);
	(void)wal_store_close(crash->kit.store);
	crash->kit.store = NULL;
	power_lose();
}

static void crash_set_aside(struct crash *crash)
{
	power_fail_syncs(true);
	(void)promise_append(&crash->promise, crash->stream, 2, 0, 300, 0);
	(void)promise_append(&crash->promise, crash->stream, 0, 0, 70000, 0);
	(void)promise_append(&crash->promise, crash->stream, 1, 0, 300, 0);
	(void)power_checkpoint();
	(void)promise_append(&crash->promise, crash->stream, 1, 0, 300, 0);
	(void)power_checkpoint();
	power_fail_syncs(false);
	crash_now(crash);
}

static void crash_before_replay(struct crash *crash)
{
	crash_before(crash);
	crash_set_aside(crash);
	io_fault_disarm(&crash->kit.fault);
}

/* Opens, until it gets through; what was not synced is lost each time. */
static void crash_replay(struct crash *crash)
{
	struct kit *k = &crash->kit;

	for (uint64_t n = crash->n; wal_store_open(k->dir, &k->opts, &k->store, NULL) < 0; n++) {
		assert_true(io_fault_fired(&k->fault));
		if (crash->faulty)
			io_fault_disarm(&k->fault);
		else
			io_fault_arm(&k->fault, IO_STOP, IO_CHANGES, n + 1, -EIO);
		power_lose();
	}
	(void)wal_store_close(k->store);
	k->store = NULL;
}

static const struct crash_body bodies[] = {
	{ .name = "set aside", .segment_bytes = 4096, .before = crash_before, .body = crash_set_aside },
	{ .name = "replay aside", .segment_bytes = 4096, .before = crash_before_replay, .body = crash_replay },
};

static void set_aside_stop(void **state)
{
	(void)state;
	crash_stop_loop(&bodies[0]);
}

static void set_aside_fail(void **state)
{
	(void)state;
	crash_fail_loop(&bodies[0]);
}

static void replay_stop(void **state)
{
	(void)state;
	crash_stop_loop(&bodies[1]);
}

static void replay_fail(void **state)
{
	(void)state;
	crash_fail_loop(&bodies[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(others_go_on),
		cmocka_unit_test(closed_and_opened),
		cmocka_unit_test(set_aside_at_close),
		cmocka_unit_test(stays_stopped),
		cmocka_unit_test(removed),
		cmocka_unit_test(among_many),
		cmocka_unit_test(not_even_aside),
		cmocka_unit_test(not_replayed),
		cmocka_unit_test(aside_not_replayed),
		cmocka_unit_test(not_synced),
		cmocka_unit_test(batch_behind),
		cmocka_unit_test(file_damaged),
		cmocka_unit_test(nothing_leaves),
		cmocka_unit_test(damaged_removed),
		cmocka_unit_test(no_descriptor),
		cmocka_unit_test(set_aside_stop),
		cmocka_unit_test(set_aside_fail),
		cmocka_unit_test(replay_stop),
		cmocka_unit_test(replay_fail),
	};

	return cmocka_run_group_tests_name("crash_aside", tests, NULL, NULL);
}
