/* SPDX-License-Identifier: MIT
 *
 * Stop at every call while records are appended, in every way there is.
 */
#include "crash.h"

static void put_one(struct crash *crash)
{
	assert_int_equal(promise_append(&crash->promise, crash->stream, 1, 0, 40, 0), 0);
}

static void durable(struct crash *crash)
{
	for (uint32_t i = 0; i < 6; i++)
		(void)promise_append(&crash->promise, crash->stream, 1, i * 10, 30 + i * 300, 0);
}

static void relaxed(struct crash *crash)
{
	for (uint32_t i = 0; i < 6; i++)
		(void)promise_append(&crash->promise, crash->stream, 1, i, 30 + i * 3000, 0);
	(void)wal_store_sync(crash->kit.store);
	(void)promise_append(&crash->promise, crash->stream, 1, 9, 20000, 0);
	(void)promise_append(&crash->promise, crash->stream, 1, 9, 200, WAL_APPEND_DURABLE);
	(void)promise_append(&crash->promise, crash->stream, 1, 9, 70000, 0);
	(void)wal_stream_sync(crash->stream);
}

static void batch(struct crash *crash)
{
	for (uint32_t i = 1; i < 6; i++)
		(void)promise_append(&crash->promise, crash->stream, i * 3, i, 25, 0);
	(void)promise_append(&crash->promise, crash->stream, 4, 0, 900, 0);
	(void)promise_append(&crash->promise, crash->stream, 1, 0, 900, 0);
}

static void rotate(struct crash *crash)
{
	for (uint32_t i = 0; i < 12; i++)
		(void)promise_append(&crash->promise, crash->stream, 1 + i % 3, 0, 700, 0);
}

static void draft(struct crash *crash)
{
	(void)promise_append(&crash->promise, crash->stream, 0, 5, 150000, 0);
	(void)promise_append(&crash->promise, crash->stream, 1, 5, 50, 0);
	(void)promise_append(&crash->promise, crash->stream, 1, 5, 9000, 0); /* past an eighth of the journal */
	(void)promise_append(&crash->promise, crash->stream, 0, 5, 70000, 0);
	(void)promise_append(&crash->promise, crash->stream, 0, 0, 100, 0);
	(void)promise_append(&crash->promise, crash->stream, 1, 5, 60, 0);
}

/* Batches past an eighth of the journal, alone and among others. */
static void large_batch(struct crash *crash)
{
	(void)promise_append(&crash->promise, crash->stream, 40, 3, 300, 0);
	(void)promise_append(&crash->promise, crash->stream, 2, 3, 70000, 0);
	(void)promise_append(&crash->promise, crash->stream, 1, 5, 50, 0);
	(void)promise_append(&crash->promise, crash->stream, 3, 5, 50, 0);
	(void)promise_append(&crash->promise, crash->stream, 60, 0, 200, WAL_APPEND_DURABLE);
	(void)promise_append(&crash->promise, crash->stream, 60, 0, 200, 0);
	(void)promise_append(&crash->promise, crash->stream, 0, 0, 100, 0);
	(void)promise_append(&crash->promise, crash->stream, 1, 5, 60, 0);
}

static const struct crash_body bodies[] = {
	{ .name = "durable", .before = put_one, .body = durable },
	{ .name = "relaxed", .relaxed = true, .before = put_one, .body = relaxed },
	{ .name = "batch", .before = put_one, .body = batch },
	{ .name = "batch, relaxed", .relaxed = true, .before = put_one, .body = batch },
	{ .name = "rotate", .segment_bytes = 4096, .before = put_one, .body = rotate },
	{ .name = "rotate, relaxed", .segment_bytes = 4096, .relaxed = true, .before = put_one, .body = rotate },
	{ .name = "draft", .before = put_one, .body = draft },
	{ .name = "draft in an empty stream", .body = draft },
	{ .name = "draft, relaxed", .relaxed = true, .before = put_one, .body = draft },
	{ .name = "large batch", .before = put_one, .body = large_batch },
	{ .name = "large batch in an empty stream", .segment_bytes = 16384, .body = large_batch },
	{ .name = "large batch, relaxed", .relaxed = true, .before = put_one, .body = large_batch },
};

#define CASE(name, i)                         \
	static void name##_stop(void **state) \
	{                                     \
		(void)state;                  \
		crash_stop_loop(&bodies[i]);  \
	}                                     \
	static void name##_fail(void **state) \
	{                                     \
		(void)state;                  \
		crash_fail_loop(&bodies[i]);  \
	}
CASE(durable, 0)
CASE(relaxed, 1)
CASE(batch, 2)
CASE(batch_relaxed, 3)
CASE(rotate, 4)
CASE(rotate_relaxed, 5)
CASE(draft, 6)
CASE(draft_empty, 7)
CASE(draft_relaxed, 8)
CASE(large_batch, 9)
CASE(large_batch_empty, 10)
CASE(large_batch_relaxed, 11)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(durable_stop),
		cmocka_unit_test(durable_fail),
		cmocka_unit_test(relaxed_stop),
		cmocka_unit_test(relaxed_fail),
		cmocka_unit_test(batch_stop),
		cmocka_unit_test(batch_fail),
		cmocka_unit_test(batch_relaxed_stop),
		cmocka_unit_test(batch_relaxed_fail),
		cmocka_unit_test(rotate_stop),
		cmocka_unit_test(rotate_fail),
		cmocka_unit_test(rotate_relaxed_stop),
		cmocka_unit_test(rotate_relaxed_fail),
		cmocka_unit_test(draft_stop),
		cmocka_unit_test(draft_fail),
		cmocka_unit_test(draft_empty_stop),
		cmocka_unit_test(draft_empty_fail),
		cmocka_unit_test(draft_relaxed_stop),
		cmocka_unit_test(draft_relaxed_fail),
		cmocka_unit_test(large_batch_stop),
		cmocka_unit_test(large_batch_fail),
		cmocka_unit_test(large_batch_empty_stop),
		cmocka_unit_test(large_batch_empty_fail),
		cmocka_unit_test(large_batch_relaxed_stop),
		cmocka_unit_test(large_batch_relaxed_fail),
	};

	return cmocka_run_group_tests_name("crash_append", tests, NULL, NULL);
}
