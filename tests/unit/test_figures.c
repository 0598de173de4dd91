/* SPDX-License-Identifier: MIT
 *
 * The figures of a store and of a stream count what happened, and no more.
 */
#include "kit.h"

static struct kit kit;
static struct wal_stream *stream;

static int setup(void **state)
{
	(void)state;
	kit_init(&kit);
	kit.opts.segment_bytes = 4096;
	kit_open(&kit);
	stream = kit_stream(&kit, "s");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	wal_stream_unref(stream);
	kit_fini(&kit);
	return 0;
}

static struct wal_store_stat store_stat(void)
{
	struct wal_store_stat stat;

	assert_int_equal(wal_store_stat(kit.store, &stat), 0);
	return stat;
}

static void reopen(void)
{
	wal_stream_unref(stream);
	kit_reopen(&kit);
	stream = kit_stream(&kit, "s");
}

static void append(int n)
{
	while (n-- > 0)
		(void)kit_append(stream, "a record of some length, so that there are several segments of them");
}

static uint64_t all(const struct wal_histogram *histogram)
{
	uint64_t n = 0;

	for (int i = 0; i < WAL_LATENCY_BUCKETS; i++)
		n += histogram->n[i];
	return n;
}

static void times(void **state)
{
	struct wal_store_stat before = store_stat(), after;

	(void)state;
	append(20);
	after = store_stat();
	assert_int_equal(all(&after.commit_time) - all(&before.commit_time), 20);
	assert_true(after.commit_time.sum_ns > before.commit_time.sum_ns);
	assert_int_equal(all(&after.commit_time) + all(&after.sync_time), after.syncs);
	assert_int_equal(all(&after.checkpoint_time), after.checkpoints);
	assert_int_equal(all(&after.recovery_time), 0);
	assert_int_equal(after.appends, 20);
	reopen();
	assert_int_equal(store_stat().recoveries, 0);
	kit_expect_text(stream, 1, "a record of some length, so that there are several segments of them");
	after = store_stat();
	assert_int_equal(after.recoveries, 1);
	assert_int_equal(all(&after.recovery_time), 1);
	assert_true(after.recovery_time.sum_ns > 0);
}

/* The journal of this store is so small that appends overtake its checkpoints. */
static void journal(void **state)
{
	struct wal_store_stat stat;
	char text[4001];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	do {
		(void)kit_append(stream, text);
		stat = store_stat();
		assert_true(stat.appends < 20000);
		assert_true(stat.journal_used <= stat.journal_bytes);
	} while (stat.journal_full == 0 || stat.checkpoints == 0);
	assert_int_equal(all(&stat.checkpoint_time), stat.checkpoints);
	assert_true(all(&stat.sync_time) > stat.checkpoints);
}

static void told(struct wal_wait *wait, int result)
{
	*(int *)wait->arg = result;
}

static void waits(void **state)
{
	int result[3] = { 9, 9, 9 };
	struct wal_wait wait[3];

	(void)state;
	for (int i = 0; i < 3; i++) {
		wait[i] = (struct wal_wait){ .seq = (uint64_t)i + 1, .done = told, .arg = &result[i] };
		assert_int_equal(wal_wait_submit(stream, &wait[i]), 0);
	}
	assert_int_equal(store_stat().waits, 3);
	assert_int_equal(kit_stat(stream).waits, 3);
	append(1);
	assert_int_equal(store_stat().waits, 2);
	assert_int_equal(wal_wait_cancel(&wait[1]), 0);
	assert_int_equal(store_stat().waits, 1);
	assert_int_equal(kit_stat(stream).waits, 1);
	assert_int_equal(wal_wait(stream, 9, 1000), -ETIMEDOUT);
	assert_int_equal(store_stat().waits, 1);
	assert_int_equal(wal_stream_delete(stream, WAL_DELETE_RECORDS), 0);
	assert_int_equal(result[2], -EIDRM);
	assert_int_equal(store_stat().waits, 0);
}

static void removed(void **state)
{
	struct wal_settings settings = { .retention_records = 50 };
	struct wal_store_stat stat;
	uint32_t segments;
	uint64_t disk;

	(void)state;
	append(200);
	segments = kit_stat(stream).segments;
	assert_int_equal(wal_trim(stream, 100, 0), 0);
	stat = store_stat();
	assert_int_equal(stat.trimmed, 99);
	assert_int_equal(stat.retained, 0);
	assert_int_equal(stat.removed_segments, segments - kit_stat(stream).segments);
	assert_true(stat.removed_segments > 0);
	assert_int_equal(wal_stream_set_settings(stream, &settings), 0);
	assert_true(wal_retain(stream) >= 0); /* it may have been applied already */
	stat = store_stat();
	assert_int_equal(stat.trimmed, 99);
	assert_int_equal(stat.retained, kit_stat(stream).first - 100);
	assert_int_equal(stat.removed_segments, segments - kit_stat(stream).segments);
	/* What a trim took of segments that were never read is gone from the figures, too. */
	settings.retention_records = 0;
	assert_int_equal(wal_stream_set_settings(stream, &settings), 0);
	append(500);
	reopen();
	assert_int_equal(wal_trim(stream, 600, WAL_TRIM_DURABLE), 0);
	disk = kit_stat(stream).disk_bytes;
	reopen();
	assert_int_equal(kit_stat(stream).disk_bytes, disk);
}

static void errors(void **state)
{
	struct wal_store_stat stat;
	char path[512];

	(void)state;
	append(100);
	reopen();
	file_flip(kit_segment(&kit, "s", 1, path), 1536 + 40, 1);
	assert_int_equal(kit_read_error(stream, 1), -EBADMSG);
	assert_int_equal(kit_read_error(stream, 1), -EBADMSG);
	assert_int_equal(kit_stat(stream).damaged, 2); /* as often as it was met */
	stat = store_stat();
	assert_int_equal(stat.errors, 1);
	assert_int_equal(stat.damaged, 1);
	assert_true(stat.degraded);
	io_fault_arm(&kit.fault, IO_FAIL, IO_READ, 1, -EIO);
	assert_int_equal(kit_read_error(stream, 50), -EIO);
	io_fault_disarm(&kit.fault);
	stat = store_stat();
	assert_int_equal(stat.errors, 2);
	assert_int_equal(stat.damaged, 1);
}

static void synced(void **state)
{
	struct wal_settings settings = { .durability = WAL_DURABILITY_RELAXED };

	(void)state;
	append(3);
	assert_int_equal(kit_stat(stream).synced, 4);
	assert_int_equal(wal_stream_set_settings(stream, &settings), 0);
	assert_int_equal(wal_stream_sync(stream), 0);
	append(3);
	assert_in_range(kit_stat(stream).synced, 1, 4);
	assert_int_equal(wal_stream_sync(stream), 0);
	assert_int_equal(kit_stat(stream).synced, 7);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(times), CASE(journal), CASE(waits), CASE(removed), CASE(errors), CASE(synced),
	};

	return cmocka_run_group_tests_name("figures", tests, NULL, NULL);
}
