/* SPDX-License-Identifier: MIT
 *
 * Appending: dense numbers, limits, batches, drafts, requests that complete later.
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
	kit_open(&kit);
	stream = kit_stream(&kit, "s");
	return 0;
}

static int setup_relaxed(void **state)
{
	(void)state;
	kit_init(&kit);
	kit.opts.flags |= WAL_OPEN_RELAXED;
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

static void reopen(void)
{
	wal_stream_unref(stream);
	kit_reopen(&kit);
	stream = kit_stream(&kit, "s");
}

static void dense(void **state)
{
	(void)state;
	for (uint64_t i = 1; i <= 50; i++) {
		assert_int_equal(kit_append(stream, i % 2 ? "odd" : ""), i);
		if (i % 20 == 0)
			reopen();
	}
	for (uint64_t i = 1; i <= 50; i++)
		kit_expect_text(stream, i, i % 2 ? "odd" : "");
	assert_int_equal(kit_stat(stream).first, 1);
	assert_int_equal(kit_stat(stream).next, 51);
}

static void expected(void **state)
{
	struct wal_entry entry = { none, KEY("x") };
	struct wal_append req = { .entries = &entry, .n = 1, .expect = 2 };

	(void)state;
	assert_int_equal(wal_append(stream, &req), -ESTALE);
	req.expect = 1;
	assert_int_equal(wal_append(stream, &req), 0);
	assert_int_equal(req.seq, 1);
	assert_int_equal(wal_append(stream, &req), -ESTALE);
	assert_int_equal(kit_stat(stream).next, 2);
}

static void limits(void **state)
{
	struct wal_settings settings = { .max_record = 1000 };
	uint8_t *bytes = kit_bytes(70000, 1);

	(void)state;
	assert_int_equal(kit_put(stream, (struct wal_span){ bytes, 65536 }, none, 0, NULL), -EMSGSIZE);
	assert_int_equal(kit_put(stream, (struct wal_span){ bytes, 65535 }, none, 0, NULL), 0);
	kit_expect(stream, 1, (struct wal_span){ bytes, 65535 }, none);
	assert_int_equal(wal_stream_set_settings(stream, &settings), 0);
	assert_int_equal(wal_max_record(stream), 1000);
	assert_int_equal(kit_put(stream, none, (struct wal_span){ bytes, 1001 }, 0, NULL), -EMSGSIZE);
	assert_int_equal(kit_put(stream, none, (struct wal_span){ bytes, 1000 }, 0, NULL), 0);
	reopen();
	kit_expect(stream, 1, (struct wal_span){ bytes, 65535 }, none);
	kit_expect(stream, 2, none, (struct wal_span){ bytes, 1000 });
	free(bytes);
}

static void large(void **state)
{
	static const size_t lens[] = { 65535, 65536, 65537, 131072, 1 << 20, (1 << 20) + 1 };
	uint8_t *bytes = kit_bytes((1 << 20) + 1, 1);

	(void)state;
	for (size_t i = 0; i < 6; i++) {
		uint64_t seq;

		assert_int_equal(kit_put(stream, KEY("head"), (struct wal_span){ bytes, lens[i] }, 0, &seq), 0);
		assert_int_equal(seq, i + 1);
	}
	for (int again = 0; again < 2; again++, reopen())
		for (size_t i = 0; i < 6; i++)
			kit_expect(stream, i + 1, KEY("head"), (struct wal_span){ bytes, lens[i] });
	assert_int_equal(kit_verify(&kit), 0);
	free(bytes);
}

static void draft(void **state)
{
	const size_t len = 10 << 20;
	uint8_t *bytes = kit_bytes(len, 1), *got = malloc(len);
	struct wal_append req = { 0 };

	(void)state;
	(void)kit_append(stream, "before");
	assert_int_equal(wal_draft_open(stream, KEY("head"), &req.draft), 0);
	for (size_t off = 0; off < len; off += 100000)
		assert_int_equal(wal_draft_write(req.draft, bytes + off, len - off < 100000 ? len - off : 100000), 0);
	assert_int_equal(wal_draft_len(req.draft), len);
	assert_int_equal(kit_stat(stream).next, 2);
	assert_int_equal(wal_append(stream, &req), 0);
	assert_int_equal(req.seq, 2);
	assert_int_equal(kit_append(stream, "after"), 3);
	assert_int_equal(wal_draft_open(stream, none, &req.draft), 0);
	assert_int_equal(wal_draft_write(req.draft, bytes, 70000), 0);
	wal_draft_abort(req.draft);
	assert_int_equal(wal_draft_open(stream, none, &req.draft), 0);
	req.expect = 9;
	assert_int_equal(wal_append(stream, &req), -ESTALE);
	wal_draft_abort(req.draft);
	reopen();
	assert_int_equal(kit_stat(stream).next, 4);
	assert_int_equal(wal_read(stream, 2, 0, got, len, 0), len);
	assert_memory_equal(got, bytes, len);
	kit_expect_text(stream, 1, "before");
	kit_expect_text(stream, 3, "after");
	free(got);
	free(bytes);
}

static void batch(void **state)
{
	struct wal_entry entries[60];
	struct wal_append req = { .entries = entries, .n = 60 };
	uint8_t *bytes = kit_bytes(70000, 3);

	(void)state;
	for (uint32_t i = 0; i < 60; i++)
		entries[i] = (struct wal_entry){ { bytes, i }, { bytes + i, i % 3 ? i : 0 } };
	assert_int_equal(wal_append(stream, &req), 0);
	assert_int_equal(req.seq, 1);
	entries[50].header.len = 65536;
	assert_int_equal(wal_append(stream, &req), -EMSGSIZE); /* and nothing of it is there */
	assert_int_equal(kit_stat(stream).next, 61);
	entries[50].header.len = 50;
	reopen();
	for (uint32_t i = 0; i < 60; i++)
		kit_expect(stream, i + 1, entries[i].header, entries[i].content);
	free(bytes);
}

/* The most records that there can be in a batch: more bytes than the journal has, all at once. */
static void batch_of_many(void **state)
{
	static struct wal_entry entries[WAL_BATCH_RECORDS_MAX + 1];
	struct wal_append req = { .entries = entries, .n = WAL_BATCH_RECORDS_MAX };
	uint8_t *bytes = kit_bytes(70000, 3);

	(void)state;
	(void)kit_append(stream, "before");
	for (uint32_t i = 0; i <= WAL_BATCH_RECORDS_MAX; i++)
		entries[i] = (struct wal_entry){ none, { bytes + i % 70000, 1 } };
	assert_int_equal(wal_append(stream, &req), 0);
	assert_int_equal(req.seq, 2);
	req.n++;
	assert_int_equal(wal_append(stream, &req), -EMSGSIZE);
	(void)kit_append(stream, "after");
	for (int round = 0; round < 2; round++) {
		assert_int_equal(kit_stat(stream).next, WAL_BATCH_RECORDS_MAX + 3);
		kit_expect_text(stream, 1, "before");
		for (uint32_t i = 0; i < WAL_BATCH_RECORDS_MAX; i += i < 5000 ? 1 : 4999)
			kit_expect(stream, i + 2, none, entries[i].content);
		kit_expect_text(stream, WAL_BATCH_RECORDS_MAX + 2, "after");
		reopen();
	}
	assert_int_equal(kit_verify(&kit), 0);
	free(bytes);
}

/* Bytes, not records, set the limit: 64 MiB with the frames. */
static void batch_of_bytes(void **state)
{
	uint8_t *bytes = kit_bytes(32 << 20, 3);
	struct wal_entry entries[2] = { { none, { bytes, 32 << 20 } }, { none, { bytes, 32 << 20 } } };
	struct wal_append req = { .entries = entries, .n = 2 };

	(void)state;
	assert_int_equal(wal_append(stream, &req), -EMSGSIZE);
	entries[1].content.len -= 72 + 1024 * 8;
	assert_int_equal(wal_append(stream, &req), 0);
	reopen();
	kit_expect(stream, 1, none, entries[0].content);
	kit_expect(stream, 2, none, entries[1].content);
	free(bytes);
}

struct writer {
	pthread_t thread;
	uint32_t n; /* records a request */
	uint8_t letter;
};

static void *write_batches(void *arg)
{
	static struct wal_entry entries[4][600];
	struct writer *writer = arg;
	uint8_t numbers[4];

	for (uint32_t i = 0; i < writer->n; i++)
		entries[writer->letter][i] = (struct wal_entry){ { &writer->letter, 1 }, { numbers, sizeof(numbers) } };
	for (uint32_t i = 0; i < 30; i++) {
		struct wal_append req = { .entries = entries[writer->letter], .n = writer->n };

		memcpy(numbers, &i, sizeof(i));
		if (wal_append(stream, &req) != 0)
			return arg;
	}
	return NULL;
}

/* Large and small ones at once: each whole, and each writer's in its order. */
static void batches_at_once(void **state)
{
	struct writer writers[4] = {
		{ .n = 600, .letter = 0 }, { .n = 1, .letter = 1 }, { .n = 500, .letter = 2 }, { .n = 7, .letter = 3 }
	};
	uint32_t seen[4] = { 0 };
	uint64_t seq = 1;

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&writers[i].thread, NULL, write_batches, &writers[i]), 0);
	for (int i = 0; i < 4; i++) {
		void *failed;

		assert_int_equal(pthread_join(writers[i].thread, &failed), 0);
		assert_null(failed);
	}
	wal_stream_unref(stream);
	kit_crash(&kit); /* so that the journal is replayed */
	kit_open(&kit);
	stream = kit_stream(&kit, "s");
	while (seq < kit_stat(stream).next) {
		uint8_t letter = 9;

		assert_int_equal(wal_read_header(stream, seq, 0, &letter, 1, 0), 1);
		assert_in_range(letter, 0, 3);
		for (uint32_t i = 0; i < writers[letter].n; i++, seq++)
			kit_expect(stream, seq, (struct wal_span){ &letter, 1 },
				   (struct wal_span){ &seen[letter], sizeof(uint32_t) });
		seen[letter]++;
	}
	for (int i = 0; i < 4; i++)
		assert_int_equal(seen[i], 30);
}

struct later {
	struct wal_append req;
	sem_t *sem;
	int result;
};

static void done(struct wal_append *req, int result)
{
	struct later *later = req->arg;

	later->result = result;
	sem_post(later->sem);
}

static void submitted(void **state)
{
	struct wal_entry entry = { none, KEY("later") };
	struct later later[200];
	sem_t sem;

	(void)state;
	sem_init(&sem, 0, 0);
	for (size_t i = 0; i < 200; i++) {
		int r;

		later[i] = (struct later){ .req = { .entries = &entry, .n = 1, .done = done },
					   .sem = &sem,
					   .result = 1 };
		later[i].req.arg = &later[i];
		r = wal_append_submit(stream, &later[i].req);
		assert_true(r == 0 || r == 1);
		if (r == 1) {
			later[i].result = 0;
			sem_post(&sem);
		}
	}
	for (size_t i = 0; i < 200; i++)
		while (sem_wait(&sem) != 0)
			;
	for (size_t i = 0; i < 200; i++) {
		assert_int_equal(later[i].result, 0);
		assert_int_equal(later[i].req.seq, i + 1);
		kit_expect_text(stream, i + 1, "later");
	}
	sem_destroy(&sem);
}

static void relaxed_then_durable(void **state)
{
	struct wal_settings settings = { .durability = WAL_DURABILITY_DURABLE };
	uint64_t syncs = io_fault_syncs(&kit.fault);

	(void)state;
	assert_false(kit_stat(stream).durable);
	for (int i = 0; i < 20; i++)
		(void)kit_append(stream, "relaxed");
	assert_in_range(io_fault_syncs(&kit.fault) - syncs, 0, 8); /* not one each */
	syncs = io_fault_syncs(&kit.fault);
	assert_int_equal(kit_put(stream, none, KEY("durable"), WAL_APPEND_DURABLE, NULL), 0);
	assert_true(io_fault_syncs(&kit.fault) > syncs);
	(void)kit_append(stream, "relaxed");
	assert_int_equal(wal_stream_set_settings(stream, &settings), 0);
	assert_true(kit_stat(stream).durable);
	syncs = io_fault_syncs(&kit.fault);
	(void)kit_append(stream, "durable");
	assert_true(io_fault_syncs(&kit.fault) > syncs);
}

/* A sync of the journal fails: -EIO for who waited, nothing visible, and no more until it is opened again. */
static void failed_sync(void **state)
{
	(void)state;
	(void)kit_append(stream, "one");
	io_fault_arm(&kit.fault, IO_FAIL, IO_SYNC, 1, -ENOSPC);
	assert_int_equal(kit_put(stream, none, KEY("two"), 0, NULL), -EIO);
	io_fault_disarm(&kit.fault);
	assert_int_equal(kit_stat(stream).next, 2);
	assert_int_equal(kit_read_error(stream, 2), -ENOENT);
	assert_int_equal(kit_put(stream, none, KEY("three"), 0, NULL), -EROFS);
	assert_int_equal(wal_append_check(stream), -EROFS);
	kit_expect_text(stream, 1, "one");
	assert_true(kit_troubles(&kit) > 0);
	wal_stream_unref(stream);
	(void)wal_store_close(kit.store);
	kit.store = NULL;
	kit_open(&kit);
	stream = kit_stream(&kit, "s");
	assert_in_range(kit_stat(stream).next, 2, 3);
	(void)kit_append(stream, "four");
}

/* A write fails for want of space: nothing happened, and later it goes on. */
static void no_space(void **state)
{
	(void)state;
	(void)kit_append(stream, "one");
	io_fault_arm(&kit.fault, IO_FAIL, IO_WRITE, 1, -ENOSPC);
	assert_int_equal(kit_put(stream, none, KEY("two"), 0, NULL), -ENOSPC);
	io_fault_disarm(&kit.fault);
	assert_int_equal(kit_append(stream, "three"), 2);
	kit_expect_text(stream, 2, "three");
	assert_int_equal(wal_reserve(stream, 1000, 0), 0);
	wal_release(stream, 1000);
	assert_int_equal(wal_reserve(stream, UINT64_C(1) << 43, 0), -ENOSPC);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(dense),           CASE(expected),
		CASE(limits),          CASE(large),
		CASE(draft),           CASE(batch),
		CASE(submitted),       cmocka_unit_test_setup_teardown(relaxed_then_durable, setup_relaxed, teardown),
		CASE(failed_sync),     CASE(no_space),
		CASE(batch_of_many),   CASE(batch_of_bytes),
		CASE(batches_at_once),
	};

	return cmocka_run_group_tests_name("append", tests, NULL, NULL);
}
