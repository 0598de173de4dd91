/* SPDX-License-Identifier: MIT
 *
 * The power goes: what only the page cache had is lost. After durable appends, without a checkpoint, the segments lose their
 * records, or whole files and directories that were never synced are gone; replay brings back every acknowledged record.
 */
#include "crash.h"
#include "power.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

static struct kit kit;
static struct promise promise;
static struct wal_stream *stream;

static void begin(uint64_t segment_bytes)
{
	kit_init(&kit);
	promise_init(&promise);
	kit.opts.segment_bytes = segment_bytes;
	kit_open(&kit);
	stream = kit_stream(&kit, "s");
}

static void fill(uint32_t n, uint64_t len)
{
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(promise_append(&promise, stream, 1 + i % 2, i, len, 0), 0);
}

static void power_off(void)
{
	wal_stream_unref(stream);
	kit_crash(&kit);
}

static void end(void)
{
	for (int i = 0; i < 2; i++) {
		kit_open(&kit);
		stream = kit_stream(&kit, "s");
		promise_check(&promise, stream, true);
		assert_int_equal(kit_verify(&kit), 0);
		fill(1, 100);
		promise_check(&promise, stream, true);
		wal_stream_unref(stream);
		assert_int_equal(kit_troubles(&kit), 0);
		kit_close(&kit);
	}
	kit_fini(&kit);
}

/* What follows `keep` in the stream's segments from number `from` on: zeros, or cut off. */
static void lose_bytes(uint64_t from, uint64_t keep, bool zeros)
{
	char path[512];

	for (uint64_t first = from; first < 100; first++) {
		if (!file_exists(kit_segment(&kit, "s", first, path)) || file_size(path) <= keep)
			continue;
		if (zeros)
			file_zero(path, keep, file_size(path) - keep);
		else
			file_cut(path, keep);
	}
}

static void records_zeroed(void **state)
{
	(void)state;
	begin(0);
	fill(9, 300);
	power_off();
	lose_bytes(1, 1536, true);
	end();
}

static void records_cut(void **state)
{
	(void)state;
	begin(4096);
	fill(12, 700);
	power_off();
	lose_bytes(1, 1536, false);
	end();
}

/* The head too: its slot is in the journal. */
static void heads_lost(void **state)
{
	(void)state;
	begin(4096);
	fill(12, 700);
	power_off();
	lose_bytes(1, 0, false);
	end();
}

static void segments_gone(void **state)
{
	char path[512];

	(void)state;
	begin(4096);
	fill(6, 700);
	wal_stream_unref(stream);
	kit_reopen(&kit); /* a checkpoint */
	stream = kit_stream(&kit, "s");
	fill(8, 700);
	power_off();
	for (uint64_t first = 12; first < 100; first++)
		if (file_exists(kit_segment(&kit, "s", first, path)))
			assert_int_equal(remove(path), 0);
	end();
}

static void stream_gone(void **state)
{
	char path[512];

	(void)state;
	begin(0);
	fill(5, 200);
	power_off();
	(void)snprintf(path, sizeof(path), "%s/s", kit.dir);
	tmpdir_remove(path);
	end();
}

/* Lost again and again, with the replay stopped at each call in between. */
static void stopped_in_replay(void **state)
{
	bool opened = false;

	(void)state;
	begin(4096);
	fill(8, 700);
	power_off();
	for (uint64_t n = 1; !opened; n++) {
		struct wal_store *store = NULL;

		lose_bytes(1, 1536, n % 2);
		io_fault_arm(&kit.fault, IO_STOP, IO_CHANGES, n, -EIO);
		opened = wal_store_open(kit.dir, &kit.opts, &store, NULL) == 0;
		if (opened)
			(void)wal_store_close(store); /* it may be that only this is stopped */
		io_fault_disarm(&kit.fault);
	}
	end();
}

/* A large record was synced, but for the rename and the frame. */
static void draft_frame_lost(void **state)
{
	char path[512];

	(void)state;
	begin(0);
	fill(2, 100);
	assert_int_equal(promise_append(&promise, stream, 0, 7, 200000, 0), 0);
	power_off();
	file_zero(kit_segment(&kit, "s", 4, path), 0, 1536 + 36);
	end();
}

static void draft_not_renamed(void **state)
{
	char path[512], draft[512];

	(void)state;
	begin(0);
	fill(2, 100);
	assert_int_equal(promise_append(&promise, stream, 0, 7, 200000, 0), 0);
	power_off();
	(void)snprintf(draft, sizeof(draft), "%s/.walfs/drafts/%020llu", kit.dir, (2ull << 32) + 1); /* epoch 2 */
	assert_int_equal(rename(kit_segment(&kit, "s", 4, path), draft), 0);
	file_zero(draft, 0, 1536 + 36);
	end();
}

static void begin_noting(uint64_t segment_bytes)
{
	begin(segment_bytes);
	wal_stream_unref(stream);
	kit_close(&kit);
	power_watch(&kit);
	kit_open(&kit);
	stream = kit_stream(&kit, "s");
}

/* What a checkpoint has passed is on disk, in a segment that was begun by the first append since the one before, too. */
static void rotated_then_checkpoint(void **state)
{
	(void)state;
	begin_noting(4096);
	fill(2, 700);
	wal_stream_unref(stream);
	kit_close(&kit);
	power_note();
	kit_open(&kit);
	stream = kit_stream(&kit, "s");
	fill(1, 2000);
	power_checkpoint();
	fill(2, 100);
	power_off();
	power_lose();
	end();
}

/* A batch past an eighth of the journal is on disk when it is acknowledged; what comes behind it is in the journal. */
static void large_batch(void **state)
{
	(void)state;
	begin_noting(0);
	fill(2, 100);
	assert_int_equal(promise_append(&promise, stream, 60, 7, 400, 0), 0);
	fill(3, 100);
	power_off();
	assert_true(power_synced(1) > 60 * 400);
	power_lose();
	end();
}

/* The same, not committed: some of it reached the disk, and none of it is there. */
static void large_batch_torn(void **state)
{
	static const uint64_t torn_at[] = { 3000, 9000, 20000 };
	char path[512];

	(void)state;
	for (int i = 0; i < 3; i++) {
		begin_noting(0);
		fill(2, 100);
		io_fault_arm(&kit.fault, IO_STOP, IO_SYNC, 1, -EIO);
		assert_int_equal(promise_append(&promise, stream, 60, 7, 400, 0), -EIO);
		assert_int_equal(wal_append_check(stream), -EROFS);
		power_off();
		assert_true(file_size(kit_segment(&kit, "s", 1, path)) > 60 * 400);
		file_zero(path, torn_at[i], 500);
		end();
	}
}

static void attr_and_settings(void **state)
{
	static const struct wal_attr attr = { 5, 6, 0700 };
	static const struct wal_settings settings = { .retention_records = 5000 };
	uint8_t head[1536];
	char path[512];
	struct wal_settings got;

	(void)state;
	begin(0);
	fill(2, 100);
	wal_stream_unref(stream);
	kit_reopen(&kit);
	stream = kit_stream(&kit, "s");
	file_read(kit_segment(&kit, "s", 1, path), 0, head, sizeof(head));
	assert_int_equal(wal_stream_set_attr(stream, &attr), 0);
	assert_int_equal(wal_stream_set_settings(stream, &settings), 0);
	power_off();
	file_write(path, 0, head, sizeof(head)); /* the slot as it was */
	kit_open(&kit);
	stream = kit_stream(&kit, "s");
	assert_int_equal(kit_stat(stream).attr.uid, 5);
	assert_int_equal(wal_stream_get_settings(stream, &got), 0);
	assert_int_equal(got.retention_records, 5000);
	power_off();
	end();
}

static void rename_lost(void **state)
{
	char from[512], to[512];

	(void)state;
	begin(0);
	fill(2, 100);
	assert_int_equal(wal_stream_rename(stream, KEY("t")), 0);
	fill(2, 100);
	power_off();
	(void)snprintf(from, sizeof(from), "%s/t", kit.dir);
	(void)snprintf(to, sizeof(to), "%s/s", kit.dir);
	assert_int_equal(rename(from, to), 0);
	kit_open(&kit);
	assert_int_equal(wal_stream_open(kit.store, KEY("s"), &stream), -ENOENT);
	assert_int_equal(wal_stream_open(kit.store, KEY("t"), &stream), 0);
	assert_int_equal(wal_stream_rename(stream, KEY("s")), 0);
	power_off();
	end();
}

/* Two streams that changed names; neither rename reached the disk. */
static void names_swapped(void **state)
{
	char a[512], b[512], c[512];
	struct wal_stream *other;

	(void)state;
	begin(0);
	fill(3, 100);
	other = kit_stream(&kit, "o");
	(void)kit_append(other, "other");
	assert_int_equal(wal_stream_rename(stream, KEY("x")), 0);
	assert_int_equal(wal_stream_rename(other, KEY("s")), 0);
	assert_int_equal(wal_stream_rename(stream, KEY("o")), 0);
	wal_stream_unref(other);
	power_off();
	(void)snprintf(a, sizeof(a), "%s/s", kit.dir);
	(void)snprintf(b, sizeof(b), "%s/o", kit.dir);
	(void)snprintf(c, sizeof(c), "%s/c", kit.dir);
	assert_int_equal(rename(a, c) | rename(b, a) | rename(c, b), 0);
	kit_open(&kit);
	other = kit_stream(&kit, "s");
	kit_expect_text(other, 1, "other");
	assert_int_equal(wal_stream_delete(other, WAL_DELETE_RECORDS), 0);
	wal_stream_unref(other);
	stream = kit_stream(&kit, "o");
	assert_int_equal(wal_stream_rename(stream, KEY("s")), 0);
	power_off();
	end();
}

static void segment_of_trim_gone(void **state)
{
	char path[512];

	(void)state;
	begin(0);
	fill(4, 3000);
	wal_stream_unref(stream);
	kit_reopen(&kit);
	stream = kit_stream(&kit, "s");
	assert_int_equal(promise_trim(&promise, stream, 7, 0), 0);
	fill(2, 100);
	power_off();
	assert_int_equal(remove(kit_segment(&kit, "s", 7, path)), 0);
	promise.trimmed = 1; /* the trim was relaxed: it may be lost too */
	end();
}
/* A sync of the segment fails, its bytes are lost; the journal still has them. */
static void failed_sync_then_checkpoint(void **state)
{
	struct wal_stream *other;
	uint64_t synced;
	char path[512];

	(void)state;
	begin(0);
	fill(4, 300);
	wal_stream_unref(stream);
	kit_reopen(&kit);
	stream = kit_stream(&kit, "s");
	synced = file_size(kit_segment(&kit, "s", 1, path));
	fill(4, 300);
	io_fault_arm(&kit.fault, IO_FAIL, IO_SYNC, 1, -EIO); /* that of the segment */
	assert_int_equal(promise_trim(&promise, stream, 2, 0), 0);
	(void)wal_store_sync(kit.store); /* if the keeper was not there before */
	assert_true(io_fault_fired(&kit.fault));
	io_fault_disarm(&kit.fault);
	assert_int_equal(wal_append_check(stream), -EROFS);
	other = kit_stream(&kit, "other");
	for (int i = 0; i < 40; i++) {
		struct wal_span content = { (char[3000]){ 1 }, 3000 };

		(void)kit_put(other, (struct wal_span){ NULL, 0 }, content, 0, NULL);
	}
	wal_stream_unref(other);
	wal_stream_unref(stream);
	(void)wal_store_close(kit.store);
	kit.store = NULL;
	lose_bytes(1, synced, true);
	promise.trimmed = 1;
	end();
}

/* A checkpoint has its chance just before a directory changes its name; the change reaches the disk with the sync of the store's
 * directory alone. */
static struct wal_stream *filler;
static atomic_bool filling;
static void *fill_journal(void *arg)
{
	uint8_t bytes[2000] = { 1 };

	(void)arg;
	while (atomic_load(&filling))
		if (kit_put(filler, KEY(""), (struct wal_span){ bytes, sizeof(bytes) }, 0, NULL) < 0)
			break;
	return NULL;
}

static struct wal_io passed_on;
static char renamed_from[300], renamed_to[300];
static atomic_bool rename_waits;

static int late_rename(const struct wal_io *io, int dirfd, const char *from, const char *to, bool replace)
{
	struct wal_store_stat before, now;
	const struct timespec moment = { .tv_nsec = 1000000 };

	(void)io;
	(void)dirfd;
	(void)replace;
	(void)snprintf(renamed_from, sizeof(renamed_from), "%s/%s", kit.dir, from);
	(void)snprintf(renamed_to, sizeof(renamed_to), "%s/%s", kit.dir, to);
	assert_int_equal(wal_store_stat(kit.store, &before), 0);
	for (int i = 0; i < 300; i++) { /* two, or as it should be none: nothing tells that it does not come */
		assert_int_equal(wal_store_stat(kit.store, &now), 0);
		if (now.checkpoints >= before.checkpoints + 2)
			break;
		nanosleep(&moment, NULL);
	}
	atomic_store(&rename_waits, true);
	io_fault_stop(&kit.fault); /* the power goes when the call has returned: no later sync is of help */
	return 0;
}

static int renaming_fsync(const struct wal_io *io, int fd)
{
	int r = passed_on.fsync(io, fd);

	if (r == 0 && atomic_exchange(&rename_waits, false))
		assert_int_equal(rename(renamed_from, renamed_to), 0);
	return r;
}

/* It changes the table of calls while the store's threads use it: they find the one or the other. */
__attribute__((no_sanitize("thread"))) static void checkpoint_before_rename(bool delete)
{
	pthread_t thread;

	begin(0);
	fill(2, 100);
	filler = kit_stream(&kit, "filler");
	atomic_store(&filling, true);
	assert_int_equal(pthread_create(&thread, NULL, fill_journal, NULL), 0);
	passed_on = kit.fault.io;
	atomic_store(&rename_waits, false);
	kit.fault.io.renameat = late_rename;
	kit.fault.io.fsync = renaming_fsync;
	if (delete)
		assert_int_equal(wal_stream_delete(stream, WAL_DELETE_RECORDS), 0);
	else
		assert_int_equal(wal_stream_rename(stream, KEY("t")), 0);
	atomic_store(&filling, false);
	pthread_join(thread, NULL);
	kit.fault.io.renameat = passed_on.renameat;
	kit.fault.io.fsync = passed_on.fsync;
	wal_stream_unref(filler);
	power_off();
	kit_open(&kit);
	assert_int_equal(wal_stream_open(kit.store, KEY("s"), &stream), -ENOENT);
	if (!delete) {
		assert_int_equal(wal_stream_open(kit.store, KEY("t"), &stream), 0);
		promise_check(&promise, stream, true);
		wal_stream_unref(stream);
	}
	kit_fini(&kit);
}

static void checkpoint_in_delete(void **state)
{
	(void)state;
	checkpoint_before_rename(true);
}

static void checkpoint_in_rename(void **state)
{
	(void)state;
	checkpoint_before_rename(false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_zeroed),
		cmocka_unit_test(records_cut),

		cmocka_unit_test(heads_lost),
		cmocka_unit_test(segments_gone),
		cmocka_unit_test(stream_gone),
		cmocka_unit_test(stopped_in_replay),
		cmocka_unit_test(draft_frame_lost),
		cmocka_unit_test(draft_not_renamed),
		cmocka_unit_test(large_batch),
		cmocka_unit_test(rotated_then_checkpoint),
		cmocka_unit_test(large_batch_torn),
		cmocka_unit_test(attr_and_settings),
		cmocka_unit_test(rename_lost),
		cmocka_unit_test(names_swapped),
		cmocka_unit_test(segment_of_trim_gone),

		cmocka_unit_test(failed_sync_then_checkpoint),
		cmocka_unit_test(checkpoint_in_delete),
		cmocka_unit_test(checkpoint_in_rename),
	};

	return cmocka_run_group_tests_name("crash_power", tests, NULL, NULL);
}
