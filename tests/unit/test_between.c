/* SPDX-License-Identifier: MIT
 *
 * What another thread does between two steps of a call, at the one moment that matters: the call makes a system call there, and
 * that has the other one's turn in it.
 */
#include "contents.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>

#include "run.h"
#include "stream.h"

static struct kit kit;
static struct wal_io pass;   /* what the hooks pass on to */
static atomic_bool armed;    /* the next one is it */
static atomic_bool finished; /* the other thread is */
static int result;           /* and what it got */

static int setup(void **state)
{
	(void)state;
	kit_init(&kit);
	kit.opts.open_files_max = 16; /* eight live streams */
	pass = kit.fault.io;
	armed = finished = false;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	kit_fini(&kit);
	return 0;
}

static void make_streams(struct wal_store *store, const char *more)
{
	static const struct wal_attr attr = { 0, 0, 0700 };
	struct wal_stream *stream;
	char key[16];

	for (int i = 0; i < 12; i++) {
		(void)snprintf(key, sizeof(key), "%s%d", more, i);
		assert_int_equal(wal_stream_create(store, KEY(key), &attr, NULL, &stream), 0);
		(void)kit_append(stream, key);
		wal_stream_unref(stream);
	}
}

/* Uses so many other streams, clean ones, that one that is not in use is given up. */
static void use_streams(struct wal_store *store, const char *more)
{
	struct wal_stream *stream;
	uint64_t seq;
	char key[16];

	for (int i = 0; i < 12; i++) {
		(void)snprintf(key, sizeof(key), "%s%d", more, i);
		assert_int_equal(wal_stream_open(store, KEY(key), &stream), 0);
		assert_int_equal(wal_find_time(stream, 0, &seq), 0);
		wal_stream_unref(stream);
	}
}

/* Runs fn in a thread and waits for its end; not long: where it has to wait for this one, nothing tells. */
static pthread_t other_thread(void *(*fn)(void *arg), void *arg)
{
	double deadline = deadline_after(0.3);
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, fn, arg), 0);
	while (!finished && deadline_pause(deadline))
		;
	return thread;
}

/* ---- deletion ------------------------------------------------------------------------------------------- */

static struct wal_stream *deleted;
static int given_up_at_sync(const struct wal_io *io, int fd)
{
	if (atomic_exchange(&armed, false)) {
		use_streams(kit.store, "k");
		assert_null(deleted->live);
	}
	return pass.fdatasync(io, fd);
}

/* A stream is given up while its deletion goes to the journal. */
static void given_up_in_delete(void **state)
{
	(void)state;
	kit_open(&kit);
	make_streams(kit.store, "k");
	deleted = kit_stream(&kit, "s");
	(void)kit_append(deleted, "x");
	wal_stream_unref(deleted);
	kit_reopen(&kit);
	deleted = kit_stream(&kit, "s");
	kit.fault.io.fdatasync = given_up_at_sync;
	armed = true;
	assert_int_equal(wal_stream_delete(deleted, WAL_DELETE_RECORDS), 0);
	assert_false(armed);
	wal_stream_unref(deleted);
	assert_int_equal(wal_stream_open(kit.store, KEY("s"), &deleted), -ENOENT);
}

static void *open_deleted(void *arg)
{
	struct wal_stream *stream;

	(void)arg;
	result = wal_stream_open(kit.store, KEY("s"), &stream);
	finished = true;
	if (result == 0)
		wal_stream_unref(stream);
	return NULL;
}

static pthread_t opener;
static int opened_at_rename(const struct wal_io *io, int dirfd, const char *from, const char *to, bool replace)
{
	if (atomic_exchange(&armed, false))
		opener = other_thread(open_deleted, NULL);
	return pass.renameat(io, dirfd, from, to, replace);
}

/* A stream that is out of the table, and not yet in the trash, is not found again. */
static void opened_in_delete(void **state)
{
	(void)state;
	kit_open(&kit);
	deleted = kit_stream(&kit, "s");
	(void)kit_append(deleted, "x");
	kit.fault.io.renameat = opened_at_rename;
	armed = true;
	assert_int_equal(wal_stream_delete(deleted, WAL_DELETE_RECORDS), 0);
	assert_false(armed);
	pthread_join(opener, NULL);
	assert_int_equal(result, -ENOENT);
	wal_stream_unref(deleted);
	deleted = kit_stream(&kit, "s"); /* another one */
	assert_int_equal(kit_append(deleted, "y"), 1);
	wal_stream_unref(deleted);
}

static void *make_another(void *arg)
{
	struct wal_stream *stream = kit_stream(&kit, "another");

	(void)arg;
	(void)kit_append(stream, "x");
	wal_stream_unref(stream);
	finished = true;
	return NULL;
}

static bool waited;
static int made_at_removal(const struct wal_io *io, int dirfd, const char *path, bool dir)
{
	if (strncmp(path, ".walfs/trash/", 13) == 0 && atomic_exchange(&armed, false)) {
		opener = other_thread(make_another, NULL);
		waited = !finished;
	}
	return pass.unlinkat(io, dirfd, path, dir);
}

/* Nobody waits for the files of a deleted stream, which may be many. */
static void removal_of_files(void **state)
{
	(void)state;
	kit_open(&kit);
	deleted = kit_stream(&kit, "s");
	(void)kit_append(deleted, "x");
	kit.fault.io.unlinkat = made_at_removal;
	armed = true;
	assert_int_equal(wal_stream_delete(deleted, WAL_DELETE_RECORDS), 0);
	wal_stream_unref(deleted);
	assert_false(armed);
	pthread_join(opener, NULL);
	assert_false(waited);
}

/* ---- damage --------------------------------------------------------------------------------------------- */

static struct contents *contents;
static int last_read;
static ssize_t given_up_at_read(const struct wal_io *io, int fd, void *buf, size_t len, uint64_t off, bool nowait)
{
	struct wal_stream *stream = contents->stream;

	if (armed && pthread_mutex_trylock(&stream->lock) == 0) { /* found, and now it is read */
		pthread_mutex_unlock(&stream->lock);
		armed = false;
		use_streams(contents->kit.store, "k");
		assert_null(stream->live);
		last_read = kit_read_error(stream, contents->next - 1); /* recovered */
		assert_non_null(stream->live);
	}
	return pass.pread(io, fd, buf, len, off, nowait);
}

/* A stream is given up and recovered while a record of it turns out to be damaged. */
static void given_up_in_read(void **state)
{
	uint8_t byte = 0, old;
	char path[512];
	uint64_t off;

	(void)state;
	contents = contents_new(400000);
	contents_close(contents);
	contents->kit.opts.open_files_max = 16;
	contents_open(contents);
	while (contents->next < 1000)
		contents_append(contents, 10, 0, 990);
	make_streams(contents->kit.store, "k");
	for (int how = 0; how < 2; how++) {
		uint8_t buf[10];

		off = contents_off(contents, 50, path) + 3;
		file_read(path, off, &old, 1);
		byte = old ^ 1;
		contents_close(contents);
		file_write(path, off, &byte, 1);
		contents_open(contents);
		assert_int_equal(kit_read_error(contents->stream, 49), 990);
		pass = contents->kit.fault.io;
		contents->kit.fault.io.pread = given_up_at_read;
		armed = true;
		if (how == 0)
			assert_int_equal(kit_read_error(contents->stream, 50), -EBADMSG);
		else
			assert_int_equal(wal_read_range(contents->stream, contents->pos[50], buf, sizeof(buf), 0),
					 -EBADMSG);
		assert_false(armed);
		contents->kit.fault.io.pread = pass.pread;
		file_write(path, off, &old, 1);
	}
	contents_free(contents);
}

static struct wal_stream *relaxed[2];

static struct wal_stream *relaxed_stream(const char *key)
{
	static const struct wal_attr attr = { 0, 0, 0700 };
	static const struct wal_settings settings = { .durability = WAL_DURABILITY_RELAXED };
	struct wal_stream *stream;

	assert_int_equal(wal_stream_create(kit.store, KEY(key), &attr, &settings, &stream), 0);
	(void)kit_append(stream, key);
	return stream;
}

/* ---- large records -------------------------------------------------------------------------------------- */

static ino_t unsynced;
static void note_unsynced(int fd, bool synced)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	if (!synced)
		unsynced = st.st_ino;
	else if (st.st_ino == unsynced)
		unsynced = 0;
}

static ssize_t durable_at_write(const struct wal_io *io, int fd, const void *buf, size_t len, uint64_t off)
{
	static const struct wal_settings settings = { .durability = WAL_DURABILITY_DURABLE };

	if (len < WAL_CHUNK && off > WAL_CHUNK && armed) { /* the last piece of the draft */
		armed = false;
		note_unsynced(fd, false);
		assert_int_equal(wal_stream_set_settings(relaxed[0], &settings), 0);
	}
	return pass.pwrite(io, fd, buf, len, off);
}

static int noted_sync(const struct wal_io *io, int fd)
{
	note_unsynced(fd, true);
	return pass.fdatasync(io, fd);
}

/* A stream becomes durable when the content of a large record was written, and its commit was not. */
static void durable_in_draft(void **state)
{
	uint8_t *content = kit_bytes(100000, 1);

	(void)state;
	kit_open(&kit);
	relaxed[0] = relaxed_stream("s");
	for (uint64_t seq = 2; seq < 4; seq++) {
		struct wal_append req = { 0 };

		assert_int_equal(wal_draft_open(relaxed[0], KEY(""), &req.draft), 0);
		assert_int_equal(wal_draft_write(req.draft, content, 100000), 0);
		kit.fault.io.pwrite = durable_at_write;
		kit.fault.io.fdatasync = noted_sync;
		armed = seq == 2;
		assert_int_equal(wal_append(relaxed[0], &req), 0);
		assert_false(armed);
		assert_int_equal(unsynced, 0);
		kit_expect(relaxed[0], seq, KEY(""), (struct wal_span){ content, 100000 });
	}
	wal_stream_unref(relaxed[0]);
	free(content);
}

/* ---- the store's directory ------------------------------------------------------------------------------ */

static pthread_t syncer;
static unsigned dir_syncs;

static int made_at_sync(const struct wal_io *io, int fd)
{
	int r = pass.fsync(io, fd);

	dir_syncs += fd == kit.store->dirfd;
	if (fd == kit.store->dirfd && atomic_exchange(&armed, false))
		relaxed[1] = relaxed_stream("later");
	return r;
}

/* A flush has synced the store's directory, and then syncs a stream that was made since: its name is not on disk yet. */
static void made_in_flush(void **state)
{
	(void)state;
	kit_open(&kit);
	relaxed[0] = relaxed_stream("s");
	kit.fault.io.fsync = made_at_sync;
	dir_syncs = 0;
	armed = true;
	assert_int_equal(wal_store_sync(kit.store), 0);
	assert_false(armed);
	assert_int_equal(dir_syncs, 1);
	assert_int_equal(wal_stream_sync(relaxed[1]), 0);
	assert_int_equal(dir_syncs, 2);
	assert_int_equal(wal_stream_sync(relaxed[1]), 0);
	assert_int_equal(dir_syncs, 2);
	wal_stream_unref(relaxed[0]);
	wal_stream_unref(relaxed[1]);
}

static void *sync_other(void *arg)
{
	(void)arg;
	result = wal_stream_sync(relaxed[1]);
	finished = true;
	return NULL;
}

static bool too_early;
static int other_at_sync(const struct wal_io *io, int fd)
{
	if (fd == kit.store->dirfd && atomic_exchange(&armed, false)) {
		syncer = other_thread(sync_other, NULL);
		too_early = finished; /* nothing is on disk yet */
		return -EIO;
	}
	return pass.fsync(io, fd);
}

/* Who finds a sync of the store's directory under way gets what it gets. */
static void two_syncs(void **state)
{
	(void)state;
	kit_open(&kit);
	relaxed[0] = relaxed_stream("s");
	relaxed[1] = relaxed_stream("t");
	kit.fault.io.fsync = other_at_sync;
	armed = true;
	assert_int_equal(wal_stream_sync(relaxed[0]), -EIO);
	assert_false(armed);
	pthread_join(syncer, NULL);
	assert_false(too_early);
	assert_int_equal(result, -EROFS);
	wal_stream_unref(relaxed[0]);
	wal_stream_unref(relaxed[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(given_up_in_delete, setup, teardown),
		cmocka_unit_test_setup_teardown(opened_in_delete, setup, teardown),
		cmocka_unit_test_setup_teardown(removal_of_files, setup, teardown),
		cmocka_unit_test_setup_teardown(given_up_in_read, setup, teardown),
		cmocka_unit_test_setup_teardown(durable_in_draft, setup, teardown),
		cmocka_unit_test_setup_teardown(made_in_flush, setup, teardown),
		cmocka_unit_test_setup_teardown(two_syncs, setup, teardown),
	};

	return cmocka_run_group_tests_name("between", tests, NULL, NULL);
}
