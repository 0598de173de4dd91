/* SPDX-License-Identifier: MIT
 *
 * Verify finds what is wrong, and changes nothing.
 */
#include "kit.h"

static struct kit kit;

static int setup(void **state)
{
	struct wal_stream *stream;

	(void)state;
	kit_init(&kit);
	kit.opts.segment_bytes = 4096;
	kit_open(&kit);
	stream = kit_stream(&kit, "s");
	for (int i = 0; i < 60; i++)
		(void)kit_append(
			stream,
			"some text to fill the segments with, of one hundred bytes or so, that is looked at again by all means");
	wal_stream_unref(stream);
	kit_close(&kit);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	kit_fini(&kit);
	return 0;
}

static struct wal_trouble last_found;

static void found(void *arg, const struct wal_trouble *trouble)
{
	(void)arg;
	last_found = *trouble; /* its strings are gone after this */
	assert_string_equal(trouble->key, "s");
	assert_true(strlen(trouble->reason) > 0);
}

static struct wal_verify look(void)
{
	struct wal_verify verify = { .found = found };
	uint64_t before = tmpdir_digest(kit.dir, NULL);

	assert_int_equal(wal_store_verify(kit.store, &verify), 0);
	assert_int_equal(tmpdir_digest(kit.dir, NULL), before);
	return verify;
}

static void whole(void **state)
{
	struct wal_verify verify;

	(void)state;
	kit_open(&kit);
	verify = look();
	assert_int_equal(verify.damaged, 0);
	assert_int_equal(verify.torn, 0);
	assert_int_equal(verify.streams, 1);
	assert_int_equal(verify.records, 60);
	assert_true(verify.segments > 2);
	assert_true(verify.bytes >= 6000);
}

/* Any byte of a record, in a sealed segment and in the newest. */
static void damaged(void **state)
{
	static const uint32_t flags[] = { 0, WAL_OPEN_RDONLY };
	char path[512];

	(void)state;
	kit_segment(&kit, "s", 1, path);
	for (uint64_t off = 1536; off < 1536 + 137; off += 23) {
		file_flip(path, off, 16);
		for (int i = 0; i < 2; i++) {
			kit.opts.flags = flags[i];
			kit_open(&kit);
			assert_true(look().damaged >= 1);
			assert_int_equal(last_found.code, -EBADMSG);
			assert_int_equal(last_found.seq, 1);
			assert_int_equal(last_found.off, 1536);
			kit_close(&kit);
		}
		file_flip(path, off, 16);
	}
	kit.opts.flags = 0;
	kit_open(&kit);
	assert_int_equal(look().damaged, 0);
}

static void torn_is_not_damaged(void **state)
{
	struct wal_settings relaxed = { .durability = WAL_DURABILITY_RELAXED };
	struct wal_stream *stream;
	struct wal_verify verify;
	char path[512];

	(void)state;
	kit.opts.segment_bytes = 0;
	kit_open(&kit);
	stream = kit_stream(&kit, "s");
	assert_int_equal(wal_stream_set_settings(stream, &relaxed), 0);
	wal_stream_unref(stream);
	kit_reopen(&kit);
	stream = kit_stream(&kit, "s");
	(void)kit_append(stream, "a record that will be torn");
	wal_stream_unref(stream);
	kit_crash(&kit);
	for (uint64_t first = 60; first > 0; first--)
		if (file_exists(kit_segment(&kit, "s", first, path)))
			break;
	file_cut(path, file_size(path) - 3);
	kit.opts.flags = WAL_OPEN_RDONLY;
	kit_open(&kit);
	verify = look();
	assert_int_equal(verify.damaged, 0);
	assert_int_equal(verify.torn, 1);
	assert_int_equal(verify.records, 60);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(whole),
		CASE(damaged),
		CASE(torn_is_not_damaged),
	};

	return cmocka_run_group_tests_name("verify", tests, NULL, NULL);
}
