/* SPDX-License-Identifier: MIT
 *
 * Those who wait for a sync share one: fewer syncs than appends, and every record is there.
 */
#include "kit.h"

#include <pthread.h>
#include <unistd.h>

#define THREADS 16
#define EACH 100

static struct kit kit;

struct writer {
	pthread_t thread;
	struct wal_stream *stream;
	int number;
};

static void *write_all(void *arg)
{
	struct writer *writer = arg;
	char text[32];

	for (int i = 0; i < EACH; i++) {
		(void)snprintf(text, sizeof(text), "%d %d", writer->number, i);
		if (kit_put(writer->stream, (struct wal_span){ NULL, 0 }, KEY(text), 0, NULL) != 0)
			return arg;
	}
	return NULL;
}

/* Every text once, and each writer's in its order. */
static void check(struct wal_stream *stream, int *next_of)
{
	uint64_t next = kit_stat(stream).next;
	char text[32];

	for (uint64_t seq = 1; seq < next; seq++) {
		ssize_t len = wal_read(stream, seq, 0, text, sizeof(text) - 1, 0);
		int number, i;

		assert_true(len > 0);
		text[len] = '\0';
		assert_int_equal(sscanf(text, "%d %d", &number, &i), 2);
		assert_in_range(number, 0, THREADS - 1);
		assert_int_equal(i, next_of[number]++);
	}
}

/* A sync that takes some time, as that of a disk does. */
static int (*fast_sync)(const struct wal_io *io, int fd);
static int slow_sync(const struct wal_io *io, int fd)
{
	int r = fast_sync(io, fd);

	usleep(200);
	return r;
}

static void run(bool one_stream)
{
	struct writer writers[THREADS];
	struct wal_store_stat stat;
	int next_of[THREADS] = { 0 };
	uint64_t syncs;

	kit_init(&kit);
	kit.opts.journal_bytes = 1 << 20;
	fast_sync = kit.fault.io.fdatasync;
	kit.fault.io.fdatasync = slow_sync;
	kit_open(&kit);
	for (int i = 0; i < THREADS; i++) {
		char key[32];

		(void)snprintf(key, sizeof(key), "s%d", one_stream ? 0 : i);
		writers[i] = (struct writer){ .stream = kit_stream(&kit, key), .number = i };
	}
	syncs = io_fault_syncs(&kit.fault);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&writers[i].thread, NULL, write_all, &writers[i]), 0);
	for (int i = 0; i < THREADS; i++) {
		void *failed;

		assert_int_equal(pthread_join(writers[i].thread, &failed), 0);
		assert_null(failed);
	}
	assert_true(io_fault_syncs(&kit.fault) - syncs < THREADS * EACH / 2);
	assert_int_equal(wal_store_stat(kit.store, &stat), 0);
	assert_int_equal(stat.appends, THREADS * EACH);
	assert_true(stat.commits < THREADS * EACH / 2);
	for (int i = 0; i < THREADS; i++) {
		if (i == 0 || !one_stream)
			check(writers[i].stream, next_of);
		wal_stream_unref(writers[i].stream);
	}
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(next_of[i], EACH);
	assert_int_equal(kit_verify(&kit), 0);
	kit_fini(&kit);
}

static void one_stream(void **state)
{
	(void)state;
	run(true);
}

static void many_streams(void **state)
{
	(void)state;
	run(false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_stream),
		cmocka_unit_test(many_streams),
	};

	return cmocka_run_group_tests_name("group_commit", tests, NULL, NULL);
}
