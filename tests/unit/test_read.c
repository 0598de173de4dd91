/* SPDX-License-Identifier: MIT
 *
 * Reading by number, by iteration, by time; and waiting for what is not there yet.
 */
#include "kit.h"

#include <pthread.h>
#include <semaphore.h>

static struct kit kit;
static struct wal_stream *stream;
static const struct wal_span none = { NULL, 0 };

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

static void offsets(void **state)
{
	static const uint64_t offs[] = { 0, 1, 65535, 65536, 65537, 100000, 199999, 200000, 200001, UINT64_MAX };
	uint8_t *bytes = kit_bytes(200000, 2), *got = malloc(200000);
	struct wal_record *record;

	(void)state;
	assert_int_equal(kit_put(stream, KEY("header"), (struct wal_span){ bytes, 200000 }, 0, NULL), 0);
	assert_int_equal(wal_record_open(stream, 1, 0, &record), 0);
	assert_int_equal(wal_record_get_info(record)->content_len, 200000);
	for (size_t i = 0; i < sizeof(offs) / sizeof(*offs); i++) {
		uint64_t left = offs[i] < 200000 ? 200000 - offs[i] : 0, want = left < 70000 ? left : 70000;

		assert_int_equal(wal_read(stream, 1, offs[i], got, 70000, 0), want);
		if (want)
			assert_memory_equal(got, bytes + offs[i], want);
		assert_int_equal(wal_record_read(record, offs[i], got, 70000, 0), want);
		if (want)
			assert_memory_equal(got, bytes + offs[i], want);
	}
	assert_int_equal(wal_record_read_header(record, 2, got, 100, 0), 4);
	assert_memory_equal(got, "ader", 4);
	assert_int_equal(wal_read_header(stream, 1, 6, got, 100, 0), 0);
	wal_record_close(record);
	free(got);
	free(bytes);
}

static void not_there(void **state)
{
	struct wal_record *record;
	char buf[8];

	(void)state;
	assert_int_equal(kit_read_error(stream, 1), -ENOENT);
	for (int i = 0; i < 5; i++)
		(void)kit_append(stream, "text");
	assert_int_equal(wal_record_open(stream, 2, 0, &record), 0);
	assert_int_equal(wal_trim(stream, 4, WAL_TRIM_DURABLE), 0);
	assert_int_equal(kit_read_error(stream, 3), -EIDRM);
	assert_int_equal(kit_read_error(stream, 6), -ENOENT);
	assert_int_equal(wal_record_read(record, 0, buf, sizeof(buf), 0), 4);
	wal_record_close(record);
	kit_expect_text(stream, 4, "text");
}

static void iterated(void **state)
{
	struct wal_iter *iter;
	struct wal_view view;
	char path[512], text[200];

	(void)state;
	for (int i = 1; i <= 100; i++) {
		(void)snprintf(text, sizeof(text), "%0150d", i);
		assert_int_equal(kit_put(stream, KEY("head"), KEY(text), 0, NULL), 0);
	}
	assert_true(kit_stat(stream).segments > 3);
	assert_int_equal(wal_iter_open(stream, 0, 0, &iter), 0);
	for (uint64_t i = 1; i <= 100; i++) {
		(void)snprintf(text, sizeof(text), "%0150d", (int)i);
		assert_int_equal(wal_iter_next(iter, &view), 1);
		assert_int_equal(view.info.seq, i);
		assert_int_equal(view.header.len, 4);
		assert_int_equal(view.content.len, 150);
		assert_memory_equal(view.content.base, text, 150);
	}
	assert_int_equal(wal_iter_next(iter, &view), 0);
	(void)kit_append(stream, "new");
	assert_int_equal(wal_iter_next(iter, &view), 1);
	assert_int_equal(view.info.seq, 101);
	assert_int_equal(wal_iter_seek(iter, 3), 0);
	assert_int_equal(wal_iter_next(iter, &view), 1);
	assert_int_equal(view.info.seq, 3);
	assert_int_equal(wal_trim(stream, 60, 0), 0);
	assert_int_equal(wal_iter_next(iter, &view), -EIDRM);
	assert_int_equal(view.info.seq, 60);
	assert_int_equal(wal_iter_next(iter, &view), 1);
	assert_int_equal(view.info.seq, 60);
	wal_iter_close(iter);
	wal_stream_unref(stream);
	kit_reopen(&kit);
	stream = kit_stream(&kit, "s");
	/* The second record of the oldest segment left, and that one alone, is damaged. */
	uint64_t first = 61;
	while (!file_exists(kit_segment(&kit, "s", first, path)))
		first++;
	file_flip(path, 1536 + 190 + 100, 1);
	assert_int_equal(kit_read_error(stream, first + 1), -EBADMSG);
	assert_int_equal(kit_read_error(stream, first + 2), 150);
	assert_int_equal(wal_iter_open(stream, first, 0, &iter), 0);
	assert_int_equal(wal_iter_next(iter, &view), 1);
	assert_int_equal(wal_iter_next(iter, &view), -EBADMSG);
	assert_int_equal(view.info.seq, first + 1);
	assert_int_equal(wal_iter_next(iter, &view), 1);
	assert_int_equal(view.info.seq, first + 2);
	wal_iter_close(iter);
	assert_int_equal(kit_verify(&kit), 1);
}

static void by_time(void **state)
{
	struct wal_info info;
	int64_t last = 0;
	uint64_t seq;

	(void)state;
	for (int i = 0; i < 100; i++) { /* two forward, one back */
		kit.clock.ns = CLOCK_START + (i % 3 ? i * 1000 : (i - 30) * 1000);
		(void)kit_append(stream, "a record of some length, so that there are several segments of them");
		assert_int_equal(wal_record_info(stream, (uint64_t)i + 1, 0, &info), 0);
		assert_true(info.time_ns >= last);
		last = info.time_ns;
	}
	for (int i = 0; i < 100; i++) {
		int64_t time = CLOCK_START + i * 1000 - 500;
		int r = wal_find_time(stream, time, &seq);

		if (r == -ENOENT) {
			assert_true(time > last);
			continue;
		}
		assert_int_equal(r, 0);
		assert_int_equal(wal_record_info(stream, seq, 0, &info), 0);
		assert_true(info.time_ns >= time);
		if (seq > 1) {
			assert_int_equal(wal_record_info(stream, seq - 1, 0, &info), 0);
			assert_true(info.time_ns < time);
		}
	}
	assert_int_equal(wal_find_time(stream, last + 1, &seq), -ENOENT);
	kit.clock.ns = CLOCK_START - 5;
	wal_stream_unref(stream);
	kit_reopen(&kit);
	stream = kit_stream(&kit, "s");
	assert_int_equal(wal_record_info(stream, kit_append(stream, "x"), 0, &info), 0);
	assert_true(info.time_ns >= last);
}

static void *append_two(void *arg)
{
	(void)kit_append(arg, "one");
	(void)kit_append(arg, "two");
	return NULL;
}

static void told(struct wal_wait *wait, int result)
{
	*(int *)wait->arg = result;
}

static void waited(void **state)
{
	int result = 99;
	struct wal_wait wait = { .seq = 4, .done = told, .arg = &result };
	pthread_t thread;

	(void)state;
	assert_int_equal(wal_wait(stream, 1, 1000000), -ETIMEDOUT);
	assert_int_equal(pthread_create(&thread, NULL, append_two, stream), 0);
	assert_int_equal(wal_wait(stream, 2, 30 * SECOND), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(wal_wait(stream, 2, 0), 0);
	assert_int_equal(wal_wait_submit(stream, &wait), 0);
	(void)kit_append(stream, "three");
	assert_int_equal(result, 99);
	assert_int_equal(wal_wait_cancel(&wait), 0);
	assert_int_equal(wal_wait_submit(stream, &wait), 0);
	(void)kit_append(stream, "four");
	assert_int_equal(result, 0);
	assert_int_equal(wal_wait_cancel(&wait), -ENOENT);
	assert_int_equal(wal_wait_submit(stream, &wait), 1);
	wait.seq = 10;
	assert_int_equal(wal_wait_submit(stream, &wait), 0);
	assert_int_equal(wal_stream_delete(stream, WAL_DELETE_RECORDS), 0);
	assert_int_equal(result, -EIDRM);
	assert_int_equal(wal_wait(stream, 10, SECOND), -EIDRM);
}

/* A read that fails is an error, and no damage. */
static void read_faults(void **state)
{
	(void)state;
	(void)kit_append(stream, "text");
	io_fault_arm(&kit.fault, IO_FAIL, IO_READ, 1, -EIO);
	assert_int_equal(kit_read_error(stream, 1), -EIO);
	io_fault_disarm(&kit.fault);
	kit_expect(stream, 1, none, KEY("text"));
	wal_stream_unref(stream);
	kit_reopen(&kit);
	stream = kit_stream(&kit, "s");
	for (uint64_t n = 1; n < 50; n++) { /* recovery */
		int r;

		io_fault_arm(&kit.fault, IO_FAIL, IO_READ, n, -EIO);
		r = kit_read_error(stream, 1);
		assert_true(r == -EIO || r == 4);
		if (!io_fault_fired(&kit.fault))
			break;
	}
	io_fault_disarm(&kit.fault);
	kit_expect_text(stream, 1, "text");
	assert_int_equal(kit_append(stream, "more"), 2);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(offsets), CASE(not_there), CASE(iterated), CASE(by_time), CASE(waited), CASE(read_faults),
	};

	return cmocka_run_group_tests_name("read", tests, NULL, NULL);
}
