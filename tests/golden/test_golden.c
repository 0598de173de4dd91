/* SPDX-License-Identifier: MIT
 *
 * Every frozen store is read, byte for byte, appended to, and read again; by a copy, so that it stays as it is.
 */
#include "kit.h"

#include "golden.h"

static void check_stream(struct wal_stream *stream, const struct golden_stream *want)
{
	struct wal_stat stat = kit_stat(stream);
	struct wal_settings settings;

	assert_int_equal(stat.first, want->first);
	assert_int_equal(stat.next, want->next);
	assert_int_equal(stat.damaged, 0);
	assert_int_equal(stat.attr.uid, want->attr.uid);
	assert_int_equal(stat.attr.gid, want->attr.gid);
	assert_int_equal(stat.attr.mode, want->attr.mode);
	assert_int_equal(stat.last_time_ns, golden_time(want, want->next - 1));
	assert_int_equal(wal_stream_get_settings(stream, &settings), 0);
	assert_memory_equal(&settings, &want->settings, sizeof(settings));
	for (uint64_t seq = want->first; seq < want->next; seq++) {
		struct wal_span header, content;
		struct wal_info info;

		golden_record(want, seq, &header, &content);
		kit_expect(stream, seq, header, content);
		assert_int_equal(wal_record_info(stream, seq, 0, &info), 0);
		assert_int_equal(info.time_ns, golden_time(want, seq));
		golden_free(&header, &content);
	}
}

static void check_store(struct kit *kit)
{
	for (size_t i = 0; i < GOLDEN_STREAMS; i++) {
		struct wal_stream *stream;

		assert_int_equal(wal_stream_open(kit->store, KEY(golden_streams[i].key), &stream), 0);
		assert_int_equal(wal_stream_id(stream), i + 1);
		check_stream(stream, &golden_streams[i]);
		wal_stream_unref(stream);
	}
	assert_int_equal(kit_verify(kit), 0);
	assert_int_equal(kit_troubles(kit), 0);
}

static void read_and_written(void **state)
{
	const char *version = *state;
	struct wal_stream *stream;
	char from[512];
	struct kit kit;

	assert_non_null(getenv("GOLDEN"));
	(void)snprintf(from, sizeof(from), "%s/%s", getenv("GOLDEN"), version);
	kit_init(&kit);
	tmpdir_remove(kit.dir);
	tmpdir_copy(from, kit.dir);
	kit.opts.flags = WAL_OPEN_RDONLY;
	kit_open(&kit);
	check_store(&kit);
	kit_close(&kit);
	kit.opts.flags = 0;
	kit_open(&kit);
	check_store(&kit);
	kit_reopen(&kit);
	check_store(&kit);
	stream = kit_stream(&kit, "orders");
	assert_int_equal(kit_append(stream, "a new one"), 41);
	wal_stream_unref(stream);
	kit_reopen(&kit);
	stream = kit_stream(&kit, "orders");
	kit_expect_text(stream, 41, "a new one");
	wal_stream_unref(stream);
	kit_fini(&kit);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_prestate(read_and_written, (char[]){ "v1" }),
	};

	return cmocka_run_group_tests_name("golden", tests, NULL, NULL);
}
