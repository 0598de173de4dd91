/* SPDX-License-Identifier: MIT
 *
 * Opening a store: what is one, what is not, and what is said then.
 */
#include "kit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

static struct kit kit;

static int setup(void **state)
{
	(void)state;
	kit_init(&kit);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	kit_fini(&kit);
	return 0;
}

/* Opening fails with this code, and the text has this word. */
static void refused(const char *dir, uint32_t flags, int code, const char *word)
{
	struct wal_opts opts = kit.opts;
	struct wal_store *store = NULL;
	struct wal_err err = { 0 };

	opts.flags = flags;
	assert_int_equal(wal_store_open(dir, &opts, &store, &err), code);
	assert_null(store);
	assert_int_equal(err.code, code);
	if (!strstr(err.text, word))
		fail_msg("'%s' is not in '%s'", word, err.text);
}

static void made(void **state)
{
	char url[220], path[200];

	(void)state;
	refused(kit.dir, 0, -ENOENT, "empty");
	(void)snprintf(path, sizeof(path), "%s/sub", kit.dir);
	refused(path, 0, -ENOENT, "sub");
	refused(path, WAL_OPEN_RDONLY, -ENOENT, "sub");
	(void)snprintf(url, sizeof(url), "file:%s", path);
	assert_int_equal(wal_store_open(url, &kit.opts, &kit.store, NULL), 0);
	kit_close(&kit);
	assert_int_equal(wal_store_open(path, NULL, &kit.store, NULL), 0);
	kit_close(&kit);
}

static void foreign(void **state)
{
	char path[200];

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/lost+found", kit.dir);
	assert_int_equal(mkdir(path, 0700), 0); /* of a fresh file system */
	(void)snprintf(path, sizeof(path), "%s/letter.txt", kit.dir);
	close(open(path, O_WRONLY | O_CREAT, 0600));
	refused(kit.dir, WAL_OPEN_CREATE, -ENOTEMPTY, "letter.txt");
	refused(path, WAL_OPEN_CREATE, -ENOTDIR, "letter.txt");
	assert_int_equal(unlink(path), 0);
	kit_open(&kit);
}

static void in_use(void **state)
{
	struct wal_opts opts = kit.opts;
	struct wal_store *reader;
	struct wal_stream *stream;
	char pid[32];

	(void)state;
	kit.opts.holder = "the holder";
	kit_open(&kit);
	stream = kit_stream(&kit, "s");
	(void)kit_append(stream, "text");
	(void)snprintf(pid, sizeof(pid), "%ld", (long)getpid());
	refused(kit.dir, 0, -EBUSY, pid);
	refused(kit.dir, 0, -EBUSY, "the holder");
	opts.flags = WAL_OPEN_RDONLY;
	assert_int_equal(wal_store_open(kit.dir, &opts, &reader, NULL), 0);
	wal_stream_unref(stream);
	assert_int_equal(wal_stream_open(reader, KEY("s"), &stream), 0);
	kit_expect_text(stream, 1, "text");
	assert_int_equal(kit_put(stream, KEY(""), KEY("x"), 0, NULL), -EROFS);
	assert_int_equal(wal_trim(stream, 2, 0), -EROFS);
	assert_int_equal(wal_stream_delete(stream, WAL_DELETE_RECORDS), -EROFS);
	assert_int_equal(wal_stream_rename(stream, KEY("t")), -EROFS);
	assert_int_equal(wal_append_check(stream), -EROFS);
	wal_stream_unref(stream);
	assert_int_equal(wal_store_close(reader), 0);
}

static void reading_changes_nothing(void **state)
{
	struct wal_stream *stream;
	uint64_t before;

	(void)state;
	kit_open(&kit);
	stream = kit_stream(&kit, "s");
	(void)kit_append(stream, "text");
	wal_stream_unref(stream);
	kit_crash(&kit); /* with a journal to replay */
	before = tmpdir_digest(kit.dir, NULL);
	kit.opts.flags = WAL_OPEN_RDONLY;
	kit_open(&kit);
	stream = kit_stream(&kit, "s");
	kit_expect_text(stream, 1, "text");
	assert_int_equal(kit_verify(&kit), 0);
	wal_stream_unref(stream);
	kit_close(&kit);
	assert_int_equal(tmpdir_digest(kit.dir, NULL), before);
}

static void no_trim(void **state)
{
	struct wal_stream *stream;

	(void)state;
	kit.opts.flags |= WAL_OPEN_NO_TRIM;
	kit_open(&kit);
	stream = kit_stream(&kit, "s");
	(void)kit_append(stream, "text");
	assert_int_equal(wal_trim(stream, 2, 0), -EPERM);
	assert_int_equal(wal_retain(stream), -EPERM);
	assert_int_equal(wal_stream_delete(stream, WAL_DELETE_RECORDS), -EPERM);
	assert_int_equal(wal_stream_rename(stream, KEY("t")), -EPERM);
	wal_stream_unref(stream);
}

static void marker(void **state)
{
	char path[200];
	uint8_t sector[512];
	uint64_t sum;

	(void)state;
	kit_open(&kit);
	kit_close(&kit);
	(void)snprintf(path, sizeof(path), "%s/.walfs/store", kit.dir);
	file_flip(path, 700, 1); /* one slot: the other one does */
	kit_open(&kit);
	kit_close(&kit);
	file_flip(path, 20, 1);
	refused(kit.dir, WAL_OPEN_CREATE, -EBADMSG, ".walfs/store");
	file_flip(path, 20, 1);
	file_read(path, 0, sector, sizeof(sector));
	sector[8] = 2;
	sum = XXH3_64bits(sector, 504);
	memcpy(sector + 504, &sum, 8);
	file_write(path, 0, sector, sizeof(sector));
	refused(kit.dir, WAL_OPEN_CREATE, -EPROTONOSUPPORT, ".walfs/store");
	refused(kit.dir, WAL_OPEN_RDONLY, -EPROTONOSUPPORT, ".walfs/store");
	sector[8] = 1;
	sector[14] = 1; /* a compatible flag: to read is allowed */
	sum = XXH3_64bits(sector, 504);
	memcpy(sector + 504, &sum, 8);
	file_write(path, 0, sector, sizeof(sector));
	refused(kit.dir, 0, -EPROTONOSUPPORT, ".walfs/store");
	kit.opts.flags = WAL_OPEN_RDONLY;
	kit_open(&kit);
}

static void settings(void **state)
{
	struct wal_settings set = { .retention_records = 9, .max_record = 100 }, got;
	struct wal_stream *stream;

	(void)state;
	kit_open(&kit);
	stream = kit_stream(&kit, "s");
	assert_int_equal(wal_max_record(stream), 1 << 30);
	assert_int_equal(wal_store_set_settings(kit.store, &set), 0);
	assert_int_equal(wal_max_record(stream), 100);
	wal_stream_unref(stream);
	kit_crash(&kit);
	kit_open(&kit);
	assert_int_equal(wal_store_get_settings(kit.store, &got), 0);
	assert_memory_equal(&got, &set, sizeof(set));
}

static void figures(void **state)
{
	struct wal_stream *stream;
	struct wal_store_stat stat;
	struct wal_space space;

	(void)state;
	kit_open(&kit);
	stream = kit_stream(&kit, "s");
	for (int i = 0; i < 5; i++)
		(void)kit_append(stream, "12345");
	assert_int_equal(wal_store_stat(kit.store, &stat), 0);
	assert_int_equal(stat.appends, 5);
	assert_int_equal(stat.append_bytes, 25);
	assert_int_equal(stat.errors, 0);
	assert_int_equal(stat.streams_live, 1);
	assert_false(stat.degraded);
	assert_false(stat.read_only);
	assert_int_equal(wal_store_space(kit.store, &space), 0);
	assert_true(space.total > 0 && space.avail <= space.total && space.block > 0);
	wal_stream_unref(stream);
	assert_string_equal(wal_version(), WAL_VERSION_STRING);
	assert_true(strlen(wal_strerror(-EBADMSG)) > 5);
	assert_non_null(wal_strerror(-99999));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(made),    CASE(foreign), CASE(in_use),   CASE(reading_changes_nothing),
		CASE(no_trim), CASE(marker),  CASE(settings), CASE(figures),
	};

	return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
