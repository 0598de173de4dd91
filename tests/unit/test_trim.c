/* SPDX-License-Identifier: MIT
 *
 * Trim and retention: never early, by whole segments, and the space comes back.
 */
#include "kit.h"
#include "run.h"

static struct kit kit;
static struct wal_stream *stream;
static char path[512];

#define HOUR (3600 * SECOND)

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

/* n records of 964 bytes: two a segment, as 36 bytes are the frame's. A second passes before each. */
static void append_n(int n)
{
	char text[965];

	memset(text, 't', 964);
	text[964] = '\0';
	for (int i = 0; i < n; i++) {
		kit.clock.ns += SECOND;
		(void)kit_append(stream, text);
	}
}

static void trimmed(void **state)
{
	(void)state;
	append_n(20);
	assert_int_equal(wal_trim(stream, 22, 0), -EINVAL);
	assert_int_equal(wal_trim(stream, 8, 0), 0);
	assert_int_equal(wal_trim(stream, 5, 0), 0); /* already gone */
	assert_int_equal(kit_stat(stream).first, 8);
	assert_int_equal(kit_read_error(stream, 7), -EIDRM);
	assert_int_equal(kit_read_error(stream, 8), 964);
	assert_int_equal(wal_store_sync(kit.store), 0);
	assert_false(file_exists(kit_segment(&kit, "s", 1, path)));
	assert_int_equal(wal_trim(stream, 21, WAL_TRIM_DURABLE), 0);
	assert_int_equal(kit_stat(stream).first, 21);
	assert_int_equal(kit_stat(stream).next, 21);
	assert_int_equal(kit_stat(stream).bytes, 0);
	wal_stream_unref(stream);
	kit_reopen(&kit);
	stream = kit_stream(&kit, "s");
	assert_int_equal(kit_stat(stream).first, 21);
	assert_int_equal(kit_stat(stream).segments, 1);
	assert_int_equal(kit_append(stream, "next"), 21);
	assert_int_equal(kit_verify(&kit), 0);
}

static void set(struct wal_settings settings)
{
	assert_int_equal(wal_stream_set_settings(stream, &settings), 0);
}

static void by_records(void **state)
{
	(void)state;
	append_n(20);
	assert_int_equal(wal_retain(stream), 0);
	set((struct wal_settings){ .retention_records = 10 });
	assert_in_range(kit_stat(stream).first, 8, 11); /* ten stay at least */
	assert_int_equal(wal_retain(stream), 0);
	/* From now on nobody asks: a segment is full with a tenth. */
	for (uint64_t seq = 21; seq < 60; seq++) {
		append_n(1);
		assert_in_range(kit_stat(stream).first, seq > 22 ? seq - 11 : 8, seq - 9);
	}
}

static void by_bytes(void **state)
{
	(void)state;
	append_n(20);
	set((struct wal_settings){ .retention_bytes = 9640 });
	assert_in_range(kit_stat(stream).first, 7, 11);
	assert_int_equal(wal_store_sync(kit.store), 0);
	assert_false(file_exists(kit_segment(&kit, "s", 1, path)));
}

static void by_age(void **state)
{
	uint64_t first;

	(void)state;
	set((struct wal_settings){ .retention_age_ns = HOUR });
	append_n(10); /* seconds 1 to 10 */
	kit.clock.ns = CLOCK_START + HOUR;
	assert_int_equal(wal_retain(stream), 0);
	kit.clock.ns = CLOCK_START + HOUR + 6 * SECOND + 1;
	assert_true(wal_retain(stream) > 0);
	first = kit_stat(stream).first;
	assert_in_range(first, 4, 7);           /* record 7 is not old enough */
	kit.clock.ns = CLOCK_START - 10 * HOUR; /* the clock jumps back: nothing goes */
	assert_int_equal(wal_retain(stream), 0);
	assert_int_equal(kit_stat(stream).first, first);
	kit.clock.ns = CLOCK_START + 3 * HOUR;
	assert_true(wal_retain(stream) > 0); /* the last segment too */
	assert_int_equal(kit_stat(stream).first, 11);
	assert_int_equal(kit_append(stream, "next"), 11);
	assert_int_equal(wal_retain(stream), 0);
}

static void of_the_store(void **state)
{
	struct wal_settings settings = { .retention_records = 4 };

	(void)state;
	append_n(20);
	assert_int_equal(wal_store_set_settings(kit.store, &settings), 0);
	set((struct wal_settings){ .retention_records = WAL_FOREVER });
	assert_int_equal(wal_retain(stream), 0);
	set((struct wal_settings){ 0 });
	assert_in_range(kit_stat(stream).first, 14, 17);
}

/* What may only be added to keeps its records, however many segments are begun. */
static void append_only(void **state)
{
	(void)state;
	set((struct wal_settings){ .retention_records = 4 });
	append_n(4);
	wal_stream_unref(stream);
	kit_close(&kit);
	kit.opts.flags |= WAL_OPEN_NO_TRIM;
	kit_open(&kit);
	stream = kit_stream(&kit, "s");
	for (int i = 0; i < 20; i++)
		(void)kit_append(stream, "more");
	assert_int_equal(kit_stat(stream).first, 1);
	assert_int_equal(wal_retain(stream), -EPERM);
}

/* Waits until the keeper has removed something. */
static void wait_first(uint64_t low, uint64_t high)
{
	double deadline = deadline_after(20);

	while (kit_stat(stream).first < low)
		assert_true(deadline_pause(deadline));
	assert_in_range(kit_stat(stream).first, low, high);
}

static void by_the_keeper(void **state)
{
	struct wal_settings settings = { .retention_records = 4 };

	(void)state;
	append_n(20);
	assert_int_equal(wal_store_set_settings(kit.store, &settings), 0);
	wait_first(14, 17);
	settings = (struct wal_settings){ .retention_age_ns = 5 * SECOND };
	assert_int_equal(wal_store_set_settings(kit.store, &settings), 0);
	kit.clock.ns += HOUR;
	wait_first(21, 21);
}

/* Bytes are those of headers and contents, not those on disk: of ten bytes a record, 46 are on disk. */
static void small_records(void **state)
{
	(void)state;
	set((struct wal_settings){ .retention_bytes = 1000 });
	for (uint64_t seq = 1; seq <= 2000; seq++) {
		(void)kit_append(stream, "ten bytes.");
		assert_true(kit_stat(stream).first + 100 <= seq + 1 || kit_stat(stream).first == 1);
		assert_true(seq - kit_stat(stream).first <
			    100 + 22); /* two tenths: one that fills, one that is needed for a byte */
	}
}

/* Segments that come and go between two flushes hold no descriptors. */
static void fast_turnover(void **state)
{
	struct wal_store_stat stat;

	(void)state;
	set((struct wal_settings){ .retention_records = 4 });
	append_n(500);
	assert_int_equal(wal_store_stat(kit.store, &stat), 0);
	assert_true(stat.open_files < 20);
	assert_int_equal(wal_store_sync(kit.store), 0);
	assert_false(file_exists(kit_segment(&kit, "s", 400, path)));
}

static struct wal_io passed_on;
static ino_t last_segment;
static bool slot_synced;
static unsigned early;

static int noted_sync(const struct wal_io *io, int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	slot_synced |= st.st_ino == last_segment;
	return passed_on.fdatasync(io, fd);
}

static int noted_unlink(const struct wal_io *io, int dirfd, const char *name, bool dir)
{
	early += !slot_synced && strstr(name, ".seg");
	return passed_on.unlinkat(io, dirfd, name, dir);
}

/* A trim of a process that died is in memory alone: its segments go once it is on disk, as without the death. */
static void finished_later(void **state)
{
	uint64_t last = 20;
	struct stat st;

	(void)state;
	wal_stream_unref(stream);
	kit_close(&kit);
	kit.opts.flags |= WAL_OPEN_RELAXED;
	kit_open(&kit);
	stream = kit_stream(&kit, "s");
	append_n(20);
	wal_stream_unref(stream);
	kit_reopen(&kit);
	stream = kit_stream(&kit, "s");
	assert_int_equal(wal_trim(stream, 20, 0), 0);
	wal_stream_unref(stream);
	kit_crash(&kit);
	assert_true(file_exists(kit_segment(&kit, "s", 1, path)));
	kit_open(&kit);
	stream = kit_stream(&kit, "s");
	while (last > 1 && !file_exists(kit_segment(&kit, "s", last, path)))
		last--;
	assert_int_equal(stat(path, &st), 0);
	last_segment = st.st_ino;
	passed_on = kit.fault.io;
	kit.fault.io.fdatasync = noted_sync;
	kit.fault.io.unlinkat = noted_unlink;
	slot_synced = false;
	early = 0;
	assert_int_equal(kit_stat(stream).first, 20);
	assert_int_equal(wal_store_sync(kit.store), 0);
	assert_false(file_exists(kit_segment(&kit, "s", 1, path)));
	assert_int_equal(early, 0);
}

static struct test_clock elapsed;

static int64_t elapsed_now(void *arg)
{
	(void)arg;
	return atomic_load(&elapsed.ns);
}

static void pass(int64_t ns)
{
	elapsed.ns += ns;
	kit.clock.ns += ns;
}

/* Only time that passes makes records old. */
static void clock_jumps(void **state)
{
	(void)state;
	wal_stream_unref(stream);
	kit_close(&kit);
	kit.opts.elapsed_ns = elapsed_now;
	kit_open(&kit);
	stream = kit_stream(&kit, "s");
	set((struct wal_settings){ .retention_age_ns = HOUR });
	append_n(10);
	elapsed.ns += 10 * SECOND;
	kit.clock.ns += 24 * HOUR; /* a day ahead, at once */
	assert_int_equal(wal_retain(stream), 0);
	pass(HOUR / 2);
	assert_int_equal(wal_retain(stream), 0);
	kit.clock.ns -= 24 * HOUR; /* and right again */
	assert_int_equal(wal_retain(stream), 0);
	assert_int_equal(kit_stat(stream).first, 1);
	pass(HOUR / 2 - 20 * SECOND);
	assert_int_equal(wal_retain(stream), 0);
	pass(40 * SECOND);
	assert_true(wal_retain(stream) > 0);
	assert_int_equal(kit_stat(stream).first, 11);
	/* Back, and forth: what comes in between is as old as the time that passed since. */
	kit.clock.ns -= 10 * HOUR;
	assert_int_equal(wal_retain(stream), 0);
	append_n(1);
	kit.clock.ns += 10 * HOUR;
	assert_int_equal(wal_retain(stream), 0);
	pass(HOUR / 2);
	assert_int_equal(wal_retain(stream), 0);
	assert_int_equal(kit_stat(stream).first, 11);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(trimmed),      CASE(by_records),    CASE(by_bytes),       CASE(by_age),
		CASE(of_the_store), CASE(by_the_keeper), CASE(small_records),  CASE(fast_turnover),
		CASE(clock_jumps),  CASE(append_only),   CASE(finished_later),
	};

	return cmocka_run_group_tests_name("trim", tests, NULL, NULL);
}
