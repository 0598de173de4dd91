/* SPDX-License-Identifier: MIT
 *
 * Stop at every call of checkpoints, of replay, and of what changes streams as a whole.
 */
#include "crash.h"

static void checkpoint(struct crash *crash)
{
	for (uint32_t i = 0; i < 14; i++)
		(void)promise_append(&crash->promise, crash->stream, 1, 0, 3500, 0);
	(void)wal_store_sync(crash->kit.store);
	wal_stream_unref(crash->stream);
	crash->stream = NULL;
	(void)wal_store_close(crash->kit.store); /* a checkpoint in any case */
	crash->kit.store = NULL;
}

static void checkpoint_going_on(struct crash *crash)
{
	for (uint32_t i = 0; i < 24; i++)
		(void)promise_append(&crash->promise, crash->stream, 1, 0, 3500, 0);
}

static void some(struct crash *crash)
{
	for (uint32_t i = 0; i < 8; i++)
		assert_int_equal(promise_append(&crash->promise, crash->stream, 1 + i % 3, 0, 600, 0), 0);
}

/* Opens; where it stops, opens again, stopping one call later, until it gets through. */
static void replay(struct crash *crash)
{
	struct kit *kit = &crash->kit;

	for (uint64_t n = crash->n; wal_store_open(kit->dir, &kit->opts, &kit->store, NULL) < 0; n++) {
		if (!io_fault_fired(&kit->fault))
			fail_msg("it does not open, and nothing went wrong");
		if (crash->faulty)
			io_fault_disarm(&kit->fault);
		else
			io_fault_arm(&kit->fault, IO_STOP, IO_CHANGES, n + 1, -EIO);
	}
	if (wal_stream_open(kit->store, KEY("s"), &crash->stream) < 0)
		crash->stream = NULL;
	if (crash->stream && promise_append(&crash->promise, crash->stream, 1, 0, 100, 0) == -EROFS) {
		/* Its entries were set aside: the next opening has them. */
		assert_true(crash->faulty && kit_troubles(kit) > 0);
		wal_stream_unref(crash->stream);
		crash->stream = NULL;
	}
}

static void lose_and_replay(struct crash *crash)
{
	char path[512];

	for (uint64_t first = 1; first < 20; first++)
		if (file_exists(kit_segment(&crash->kit, "s", first, path)))
			file_cut(path, 1536);
	replay(crash);
}

static void trim(struct crash *crash)
{
	(void)promise_trim(&crash->promise, crash->stream, 3, 0);
	(void)wal_store_sync(crash->kit.store);
	(void)promise_append(&crash->promise, crash->stream, 1, 0, 600, 0);
	(void)promise_trim(&crash->promise, crash->stream, 9, WAL_TRIM_DURABLE);
	(void)promise_append(&crash->promise, crash->stream, 1, 0, 600, 0);
	(void)promise_trim(&crash->promise, crash->stream, kit_stat(crash->stream).next, 0);
	(void)wal_store_sync(crash->kit.store);
	(void)promise_append(&crash->promise, crash->stream, 1, 0, 600, 0);
}

/* marks[i]: 0 not asked for, 1 asked for, 2 acknowledged; marks[4]: the id. */
static void create(struct crash *crash)
{
	static const struct wal_attr attr = { 7, 8, 0711 };
	static const struct wal_settings settings = { .retention_records = 77 };
	struct wal_stream *stream = NULL;

	crash->marks[0] = 1;
	if (wal_stream_create(crash->kit.store, KEY("new"), &attr, &settings, &stream) < 0)
		return;
	crash->marks[0] = 2;
	crash->marks[4] = wal_stream_id(stream);
	crash->marks[1] = 1;
	if (kit_put(stream, KEY("h"), KEY("first"), 0, NULL) == 0)
		crash->marks[1] = 2;
	wal_stream_unref(stream);
}

static void created(struct crash *crash)
{
	static const struct wal_attr attr = { 7, 8, 0711 };
	struct wal_stream *stream = NULL;
	struct wal_settings settings;
	int r = wal_stream_open(crash->kit.store, KEY("new"), &stream);

	assert_true(r == 0 || r == -ENOENT);
	assert_true(r == 0 || crash->marks[0] != 2);
	if (r == -ENOENT) { /* and it can be made */
		assert_int_equal(wal_stream_create(crash->kit.store, KEY("new"), &attr, NULL, &stream), 0);
	} else {
		assert_true(crash->marks[0]);
		assert_int_equal(kit_stat(stream).attr.uid, 7);
		assert_int_equal(kit_stat(stream).attr.mode, 0711);
		assert_int_equal(wal_stream_get_settings(stream, &settings), 0);
		assert_int_equal(settings.retention_records, 77);
	}
	assert_true(crash->marks[4] == 0 || wal_stream_id(stream) == crash->marks[4]);
	if (crash->marks[1] == 2 || kit_stat(stream).next == 2)
		kit_expect(stream, 1, KEY("h"), KEY("first"));
	assert_in_range(kit_stat(stream).next, 1 + (crash->marks[1] == 2), 1 + (crash->marks[1] > 0));
	(void)kit_append(stream, "later");
	wal_stream_unref(stream);
}

static void rename_it(struct crash *crash)
{
	(void)promise_append(&crash->promise, crash->stream, 1, 0, 100, 0);
	crash->marks[0] = 1;
	if (wal_stream_rename(crash->stream, KEY("t")) == 0)
		crash->marks[0] = 2;
	(void)promise_append(&crash->promise, crash->stream, 1, 0, 100, 0);
	if (crash->marks[0] != 2)
		return;
	crash->marks[1] = 1;
	if (wal_stream_rename(crash->stream, KEY("s")) == 0)
		crash->marks[1] = 2;
	(void)promise_append(&crash->promise, crash->stream, 1, 0, 100, 0);
}

/* Found under the one name that it can have; named "s" again for the checks that follow. */
static void find_renamed(struct crash *crash)
{
	struct wal_stream *s = NULL, *t = NULL;
	int rs = wal_stream_open(crash->kit.store, KEY("s"), &s), rt = wal_stream_open(crash->kit.store, KEY("t"), &t);

	assert_true((rs == 0) != (rt == 0));
	if (crash->marks[0] == 2 && crash->marks[1] == 0)
		assert_int_equal(rt, 0);
	if (crash->marks[0] == 0 || crash->marks[1] == 2)
		assert_int_equal(rs, 0);
	if (rt == 0)
		assert_int_equal(wal_stream_rename(t, KEY("s")), 0);
	crash->marks[0] = 0;
	crash->marks[1] = 0;
	wal_stream_unref(s);
	wal_stream_unref(t);
}

static void make_other(struct crash *crash)
{
	struct wal_stream *other = kit_stream(&crash->kit, "other");

	crash->marks[4] = wal_stream_id(other);
	(void)kit_append(other, "one");
	(void)kit_append(other, "two");
	wal_stream_unref(other);
	some(crash);
}

static void delete_it(struct crash *crash)
{
	struct wal_stream *other = NULL;

	if (wal_stream_open(crash->kit.store, KEY("other"), &other) < 0)
		return;
	crash->marks[0] = 1;
	if (wal_stream_delete(other, WAL_DELETE_RECORDS) == 0)
		crash->marks[0] = 2;
	wal_stream_unref(other);
	if (crash->marks[0] == 2 &&
	    wal_stream_create(crash->kit.store, KEY("other"), &(struct wal_attr){ 0, 0, 0700 }, NULL, &other) == 0) {
		crash->marks[1] = wal_stream_id(other);
		wal_stream_unref(other);
	}
	(void)promise_append(&crash->promise, crash->stream, 1, 0, 100, 0);
}

static void deleted(struct crash *crash)
{
	struct wal_stream *other = NULL;
	int r = wal_stream_open(crash->kit.store, KEY("other"), &other);

	assert_true(r == 0 || r == -ENOENT);
	if (crash->marks[0] == 0)
		assert_int_equal(r, 0);
	if (crash->marks[1])
		assert_int_equal(r, 0);
	if (r == 0 && wal_stream_id(other) == crash->marks[4]) {
		assert_int_not_equal(crash->marks[0], 2);
		kit_expect_text(other, 1, "one");
		kit_expect_text(other, 2, "two");
	} else if (r == 0) {
		assert_int_equal(kit_stat(other).next, 1);
	}
	wal_stream_unref(other);
}

static void settings(struct crash *crash)
{
	for (uint32_t i = 1; i <= 4; i++) {
		struct wal_attr attr = { i, i, 0700 + i };
		struct wal_settings set = { .retention_records = 100 * i };

		if (wal_stream_set_attr(crash->stream, &attr) == 0)
			crash->marks[0] = i;
		if (wal_stream_set_settings(crash->stream, &set) == 0)
			crash->marks[1] = i;
		set.retention_records = 1000 * i;
		if (wal_store_set_settings(crash->kit.store, &set) == 0)
			crash->marks[2] = i;
		(void)promise_append(&crash->promise, crash->stream, 1, 0, 100, 0);
	}
}

static void settled(struct crash *crash)
{
	struct wal_attr attr = kit_stat(crash->stream).attr;
	struct wal_settings set;

	if (crash->marks[0])
		assert_true(attr.uid >= crash->marks[0]);
	assert_true(attr.uid > 4 || (attr.uid == attr.gid && attr.mode == 0700 + attr.uid));
	assert_int_equal(wal_stream_get_settings(crash->stream, &set), 0);
	assert_true(set.retention_records >= 100 * crash->marks[1]);
	assert_int_equal(wal_store_get_settings(crash->kit.store, &set), 0);
	assert_true(set.retention_records >= 1000 * crash->marks[2]);
}

static const struct crash_body bodies[] = {
	{ .name = "checkpoint", .body = checkpoint },
	{ .name = "checkpoint while it goes on", .body = checkpoint_going_on },
	{ .name = "replay", .closed = true, .segment_bytes = 4096, .before = some, .body = replay },
	{ .name = "lose and replay", .closed = true, .segment_bytes = 4096, .before = some, .body = lose_and_replay },
	{ .name = "trim", .segment_bytes = 4096, .before = some, .body = trim },
	{ .name = "create", .before = some, .body = create, .after = created },
	{ .name = "rename", .before = some, .body = rename_it, .find = find_renamed },
	{ .name = "delete", .before = make_other, .body = delete_it, .after = deleted },
	{ .name = "settings", .before = some, .body = settings, .after = settled },
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
CASE(checkpoint, 0)
CASE(going_on, 1)
CASE(replay, 2)
CASE(lose, 3)
CASE(trim, 4)
CASE(create, 5)
CASE(rename, 6)
CASE(delete, 7)
CASE(settings, 8)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(checkpoint_stop), cmocka_unit_test(checkpoint_fail), cmocka_unit_test(going_on_stop),
		cmocka_unit_test(going_on_fail),   cmocka_unit_test(replay_stop),     cmocka_unit_test(replay_fail),
		cmocka_unit_test(lose_stop),       cmocka_unit_test(lose_fail),       cmocka_unit_test(trim_stop),
		cmocka_unit_test(trim_fail),       cmocka_unit_test(create_stop),     cmocka_unit_test(create_fail),
		cmocka_unit_test(rename_stop),     cmocka_unit_test(rename_fail),     cmocka_unit_test(delete_stop),
		cmocka_unit_test(delete_fail),     cmocka_unit_test(settings_stop),   cmocka_unit_test(settings_fail),
	};

	return cmocka_run_group_tests_name("crash_state", tests, NULL, NULL);
}
