/* SPDX-License-Identifier: MIT
 *
 * A stream whose segments lost their heads: they are kept, and not in the way of a new one.
 */
#include "kit.h"

static const struct wal_attr attr = { .mode = 0755 };
static char path[512];

static void heads_zeroed(void **state)
{
	struct wal_stream *stream;
	uint64_t size;
	struct kit kit;

	(void)state;
	kit_init(&kit);
	kit_open(&kit);
	stream = kit_stream(&kit, "s");
	for (int i = 0; i < 50; i++)
		(void)kit_append(stream, "worth keeping");
	wal_stream_unref(stream);
	kit_close(&kit);
	size = file_size(kit_segment(&kit, "s", 1, path));
	file_zero(path, 0, 1536);
	kit_open(&kit);
	assert_int_equal(wal_stream_open(kit.store, KEY("s"), &stream), -ENOENT);
	assert_int_equal(wal_stream_create(kit.store, KEY("s"), &attr, NULL, &stream), 0);
	assert_int_equal(kit_append(stream, "new"), 1);
	(void)snprintf(path, sizeof(path), "%s/.walfs/lost/%llu/00000000000000000001.seg", kit.dir,
		       (unsigned long long)wal_stream_id(stream));
	assert_int_equal(file_size(path), size);
	wal_stream_unref(stream);
	kit_reopen(&kit);
	assert_int_equal(file_size(path), size);
	stream = kit_stream(&kit, "s");
	kit_expect_text(stream, 1, "new");
	wal_stream_unref(stream);
	kit_fini(&kit);
}

/* What was never more than a head is no loss. */
static void never_written(void **state)
{
	struct wal_stream *stream;
	struct kit kit;

	(void)state;
	kit_init(&kit);
	kit_open(&kit);
	stream = kit_stream(&kit, "s");
	wal_stream_unref(stream);
	kit_close(&kit);
	(void)kit_segment(&kit, "s", 1, path);
	file_zero(path, 0, file_size(path));
	kit_open(&kit);
	assert_int_equal(wal_stream_open(kit.store, KEY("s"), &stream), -ENOENT);
	assert_int_equal(wal_stream_create(kit.store, KEY("s"), &attr, NULL, &stream), 0);
	assert_int_equal(kit_append(stream, "new"), 1);
	wal_stream_unref(stream);
	(void)snprintf(path, sizeof(path), "%s/.walfs/lost", kit.dir);
	assert_false(file_exists(path));
	kit_fini(&kit);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(heads_zeroed),
		cmocka_unit_test(never_written),
	};

	return cmocka_run_group_tests_name("lost", tests, NULL, NULL);
}
