/* SPDX-License-Identifier: MIT
 *
 * Streams as a whole: made, found, renamed, deleted, owned, set; and very many of them.
 */
#include "kit.h"

#include <sys/resource.h>

#include "run.h"

static struct kit kit;
static const struct wal_attr attr = { 1000, 100, 0750 };

static int setup(void **state)
{
	(void)state;
	kit_init(&kit);
	kit_open(&kit);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	kit_fini(&kit);
	return 0;
}

static int find(const char *key)
{
	struct wal_stream *stream;
	int r = wal_stream_open(kit.store, KEY(key), &stream);

	if (r == 0)
		wal_stream_unref(stream);
	return r;
}

static void made(void **state)
{
	struct wal_settings settings = { .retention_records = 7 }, got;
	struct wal_stream *stream, *again;
	char key[WAL_KEY_MAX + 1];

	(void)state;
	assert_int_equal(find("a/b"), -ENOENT);
	assert_int_equal(wal_stream_create(kit.store, KEY("a/b"), &attr, &settings, &stream), 0);
	assert_int_equal(wal_stream_create(kit.store, KEY("a/b"), &attr, NULL, &again), -EEXIST);
	assert_int_equal(wal_stream_create(kit.store, KEY(""), &attr, NULL, &again), -EINVAL);
	assert_int_equal(wal_stream_open(kit.store, KEY("a/b"), &again), 0);
	assert_int_equal(wal_stream_id(again), wal_stream_id(stream));
	wal_stream_unref(again);
	for (int i = 0; i < 3; i++) {
		struct wal_stat stat = kit_stat(stream);

		assert_int_equal(stat.id, wal_stream_id(stream));
		assert_int_equal(stat.attr.uid, 1000);
		assert_int_equal(stat.attr.gid, 100);
		assert_int_equal(stat.attr.mode, 0750);
		assert_int_equal(stat.first, 1);
		assert_int_equal(stat.next, 1);
		assert_true(stat.durable && !stat.stopped);
		assert_int_equal(wal_stream_get_settings(stream, &got), 0);
		assert_memory_equal(&got, &settings, sizeof(got));
		assert_int_equal(wal_stream_key(stream, key), 3);
		assert_string_equal(key, "a/b");
		wal_stream_unref(stream);
		if (i == 0)
			kit_reopen(&kit);
		else
			kit_crash(&kit), kit_open(&kit);
		assert_int_equal(wal_stream_open(kit.store, KEY("a/b"), &stream), 0);
	}
	wal_stream_unref(stream);
}

static void owned(void **state)
{
	struct wal_stream *stream = kit_stream(&kit, "s");
	struct wal_attr other = { 1, 2, 0700 };
	struct wal_stat stat;

	(void)state;
	assert_int_equal(wal_stream_set_attr(stream, &other), 0);
	wal_stream_unref(stream);
	kit_crash(&kit);
	kit_open(&kit);
	stream = kit_stream(&kit, "s");
	assert_int_equal(wal_stream_stat(stream, WAL_STAT_CHEAP, &stat), 0);
	assert_false(stat.recovered);
	assert_int_equal(stat.attr.uid, 1);
	assert_int_equal(stat.attr.mode, 0700);
	wal_stream_unref(stream);
}

static void renamed(void **state)
{
	struct wal_stream *stream = kit_stream(&kit, "old"), *other = kit_stream(&kit, "other");
	uint64_t id = wal_stream_id(stream);
	char key[WAL_KEY_MAX + 1];

	(void)state;
	(void)kit_append(stream, "one");
	assert_int_equal(wal_stream_rename(stream, KEY("other")), -EEXIST);
	assert_int_equal(wal_stream_rename(stream, KEY("old")), 0);
	assert_int_equal(wal_stream_rename(stream, KEY("new")), 0);
	wal_stream_key(stream, key);
	assert_string_equal(key, "new");
	assert_int_equal(kit_append(stream, "two"), 2);
	assert_int_equal(find("old"), -ENOENT);
	wal_stream_unref(stream);
	wal_stream_unref(other);
	kit_reopen(&kit);
	stream = kit_stream(&kit, "new");
	assert_int_equal(wal_stream_id(stream), id);
	kit_expect_text(stream, 2, "two");
	other = kit_stream(&kit, "old"); /* another one now */
	assert_int_not_equal(wal_stream_id(other), id);
	wal_stream_unref(other);
	wal_stream_unref(stream);
}

static void deleted(void **state)
{
	struct wal_stream *stream = kit_stream(&kit, "s"), *again;
	uint64_t id = wal_stream_id(stream);
	struct wal_record *record;
	struct wal_stat stat;
	char buf[10];

	(void)state;
	(void)kit_append(stream, "text");
	assert_int_equal(wal_stream_delete(stream, 0), -ENOTEMPTY);
	assert_int_equal(wal_record_open(stream, 1, 0, &record), 0);
	assert_int_equal(wal_stream_delete(stream, WAL_DELETE_RECORDS), 0);
	assert_int_equal(wal_record_read(record, 0, buf, sizeof(buf), 0), 4);
	assert_memory_equal(buf, "text", 4);
	wal_record_close(record);
	assert_int_equal(kit_put(stream, KEY(""), KEY("x"), 0, NULL), -EIDRM);
	assert_int_equal(kit_read_error(stream, 1), -EIDRM);
	assert_int_equal(wal_stream_stat(stream, 0, &stat), -EIDRM);
	assert_int_equal(wal_trim(stream, 2, 0), -EIDRM);
	assert_int_equal(wal_stream_delete(stream, 0), -EIDRM);
	assert_int_equal(wal_append_check(stream), -EIDRM);
	assert_int_equal(find("s"), -ENOENT);
	again = kit_stream(&kit, "s");
	assert_true(wal_stream_id(again) > id);
	assert_int_equal(kit_stat(again).next, 1);
	assert_int_equal(wal_stream_delete(again, 0), 0); /* empty */
	id = wal_stream_id(again);
	wal_stream_unref(again);
	wal_stream_unref(stream);
	for (int i = 0; i < 3; i++) { /* ids are not used again, whatever happens */
		if (i == 1)
			kit_reopen(&kit);
		else if (i == 2)
			kit_crash(&kit), kit_open(&kit);
		stream = kit_stream(&kit, "s");
		assert_true(wal_stream_id(stream) > id);
		id = wal_stream_id(stream);
		assert_int_equal(wal_stream_delete(stream, 0), 0);
		wal_stream_unref(stream);
	}
}

#define MANY 20000

static long rss_kib(void)
{
	long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%*d %ld", &pages), 1);
	fclose(f);
	return pages * 4;
}

static void many(void **state)
{
	struct rlimit was, limit;
	struct wal_stream *stream;
	struct wal_keys *keys;
	struct wal_span key;
	uint64_t cookie, n = 0;
	long before = rss_kib();
	char name[32];

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	limit = (struct rlimit){ 256, was.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	kit_close(&kit);
	kit.opts.flags |= WAL_OPEN_RELAXED;
	kit.opts.journal_bytes = 0;
	kit_open(&kit);
	for (int i = 0; i < MANY; i++) {
		(void)snprintf(name, sizeof(name), "stream-%d", i);
		stream = kit_stream(&kit, name);
		assert_int_equal(kit_append(stream, name), 1);
		wal_stream_unref(stream);
	}
	assert_int_equal(wal_keys_open(kit.store, &keys), 0);
	while (wal_keys_next(keys, &key, &cookie) == 1)
		n++;
	wal_keys_close(keys);
	assert_int_equal(n, MANY);
	for (int i = 0; i < MANY; i += 7) {
		(void)snprintf(name, sizeof(name), "stream-%d", i);
		stream = kit_stream(&kit, name);
		kit_expect_text(stream, 1, name);
		wal_stream_unref(stream);
	}
	if (!run_sanitized())
		assert_in_range(rss_kib() - before, 0, 64 * 1024);
	kit_close(&kit);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(made), CASE(owned), CASE(renamed), CASE(deleted), CASE(many),
	};

	return cmocka_run_group_tests_name("stream", tests, NULL, NULL);
}
