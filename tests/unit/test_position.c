/* SPDX-License-Identifier: MIT
 *
 * Positions: the contents of a stream's records, one after another, are what a model says: from any byte on, after trims,
 * in a store opened anew, with index files or without, while appends go on.
 */
#include "contents.h"

#include <dirent.h>
#include <pthread.h>
#include <unistd.h>
#include <xxhash.h>

#include "store.h"

static struct contents *c;

static int setup(void **state)
{
	(void)state;
	c = contents_new(1 << 20);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	contents_free(c);
	return 0;
}

static void reopen(void)
{
	contents_close(c);
	contents_open(c);
}

static uint64_t draw_len(void)
{
	switch (contents_draw(c, 20)) {
	case 0:
	case 1:
		return 0;
	case 2:
		return 60000 + contents_draw(c, 10000);
	case 3:
		return contents_draw(c, 8192);
	case 4:
		return contents_draw(c, 40) == 0 ? 1300000 : 65536;
	default:
		return contents_draw(c, 150);
	}
}

static uint32_t draw_header(void)
{
	if (contents_draw(c, 3))
		return 0;
	return contents_draw(c, 100) == 0 ? WAL_HEADER_MAX : (uint32_t)contents_draw(c, 300);
}

static void append_some(void)
{
	if (contents_draw(c, 60) == 0)
		contents_append(c, 0, draw_header(), contents_draw(c, 2) ? 1500000 : contents_draw(c, 1000));
	else if (contents_draw(c, 4) == 0)
		contents_append(c, 2 + (uint32_t)contents_draw(c, 60), draw_header() % 300, contents_draw(c, 200));
	else
		contents_append(c, 1, draw_header(), draw_len());
}

static void expect_some(int n)
{
	for (int i = 0; i < n; i++) {
		contents_expect_tell(c, contents_draw(c, c->next + 2));
		contents_expect_place(c, contents_draw(c, contents_end(c) + 2));
		contents_expect_range(c, contents_draw(c, contents_end(c) + 2),
				      1 + contents_draw(c, contents_draw(c, 3) ? 5000 : 300000));
	}
}

enum spoil { REMOVE, OLD_VERSION, FLIP, CUT };

/* Does something to all index files. Returns how many there were. */
static unsigned spoil_indexes(enum spoil how)
{
	char dir[200], path[512];
	struct dirent *entry;
	unsigned n = 0;
	DIR *d;

	(void)snprintf(dir, sizeof(dir), "%s/s", c->kit.dir);
	d = opendir(dir);
	assert_non_null(d);
	while ((entry = readdir(d))) {
		if (!strstr(entry->d_name, ".idx"))
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
		n++;
		if (how == REMOVE)
			assert_int_equal(unlink(path), 0);
		else if (how == OLD_VERSION)
			file_write(path, 8, "\1", 1);
		else if (how == FLIP)
			file_flip(path, 72 + 24 * contents_draw(c, 60) + 16, 1);
		else
			file_cut(path, file_size(path) - 1);
	}
	closedir(d);
	return n;
}

static void random_operations(uint64_t seed, uint64_t segment_bytes, int rounds)
{
	c->random = seed;
	c->kit.opts.segment_bytes = segment_bytes;
	reopen();
	for (int i = 0; i < rounds && c->next < CONTENTS_MAX - 2000; i++) {
		for (uint64_t n = contents_draw(c, 30); n > 0; n--)
			append_some();
		expect_some(6);
		if (contents_draw(c, 10) == 0 && c->next > c->first) {
			contents_trim(c, c->first + contents_draw(c, c->next - c->first) / 2);
			expect_some(4);
		}
		if (contents_draw(c, 12) == 0) {
			contents_close(c);
			if (contents_draw(c, 2))
				(void)spoil_indexes((enum spoil)contents_draw(c, 4));
			contents_open(c);
			expect_some(4);
		}
	}
	contents_expect_all(c, 100000);
	reopen();
	contents_expect_all(c, 777777);
	assert_int_equal(kit_verify(&c->kit), 0);
	assert_int_equal(kit_troubles(&c->kit), 0);
}

static void as_the_model(void **state)
{
	(void)state;
	random_operations(1, 65536, 200);
}

static void as_the_model_tiny(void **state)
{
	(void)state;
	random_operations(2, 4096, 100);
}

/* With memory for few indexes, they come and go. */
static void as_the_model_forgetful(void **state)
{
	(void)state;
	random_operations(4, 65536, 20);
	c->kit.store->index_points_kept = 40;
	for (int i = 0; i < 200; i++) {
		append_some();
		expect_some(3);
	}
	contents_expect_all(c, 50000);
	contents_close(c);
	c->kit.opts.segment_bytes = 600000;
	contents_open(c);
	c->kit.store->index_points_kept = 300;
	while (c->next < CONTENTS_MAX - 5000) {
		contents_append(c, 100, 3, contents_draw(c, 200));
		expect_some(1);
	}
	expect_some(100);
	contents_expect_all(c, 50000);
	assert_int_equal(kit_troubles(&c->kit), 0);
}

static void as_the_model_relaxed(void **state)
{
	(void)state;
	c->kit.opts.flags |= WAL_OPEN_RELAXED;
	random_operations(3, 1 << 20, 200);
}

/* Every byte of a few records, by each offset and length; and so after each trim. */
static void each_byte(void **state)
{
	static const uint64_t lens[] = { 0, 3, 0, 0, 1, 5, 0, 2, 0 };

	(void)state;
	contents_expect_range(c, 0, 10);
	contents_expect_place(c, 0);
	contents_expect_all(c, 10);
	for (size_t i = 0; i < sizeof(lens) / sizeof(*lens); i++)
		contents_append(c, 1, i % 2 ? 9 : 0, lens[i]);
	for (uint64_t first = 1; first <= c->next; first++) {
		contents_trim(c, first);
		for (uint64_t pos = 0; pos < contents_end(c) + 3; pos++) {
			contents_expect_place(c, pos);
			for (size_t len = 0; len < contents_end(c) + 3; len++)
				contents_expect_range(c, pos, len);
		}
		contents_expect_all(c, 3);
	}
	reopen();
	contents_append(c, 1, 0, 10);
	assert_int_equal(contents_end(c), 21);
	contents_expect_all(c, 4);
}

/* Index files of another version, damaged or gone: made anew, and saved so that it is done once. */
static void without_indexes(void **state)
{
	(void)state;
	for (int i = 0; i < 300; i++)
		contents_append(c, 50, 5, 200);
	contents_expect_all(c, 100000);
	for (int how = REMOVE; how <= CUT; how++) {
		unsigned n;

		contents_close(c);
		n = spoil_indexes((enum spoil)how);
		assert_true(n > 2);
		contents_open(c);
		contents_expect_all(c, 100000);
		contents_close(c);
		assert_int_equal(spoil_indexes(OLD_VERSION), n);
		contents_open(c);
		expect_some(50);
	}
	assert_int_equal(kit_troubles(&c->kit), 0);
}

static const char *index_path(uint64_t first, char path[512])
{
	(void)kit_segment(&c->kit, "s", first, path);
	memcpy(strstr(path, ".seg"), ".idx", 4);
	return path;
}

/* Index files that are whole, and have a wrong point. They must not be believed. */
static void wrong_index(void **state)
{
	char path[512];
	uint64_t len, salt, sum;
	uint8_t *file;

	(void)state;
	for (int i = 0; i < 120; i++)
		contents_append(c, 50, 5, 200);
	len = file_size(index_path(1, path));
	file = malloc(len);
	assert_non_null(file);
	for (int what = 0; what < 2; what++) {
		contents_close(c);
		file_read(path, 0, file, len);
		file[72 + 24 * 100 + 16 * what]--; /* the number, or the position */
		memcpy(&salt, file + 16, 8);
		sum = XXH3_64bits_withSeed(file + 72, len - 72, salt);
		memcpy(file + 56, &sum, 8);
		sum = XXH3_64bits_withSeed(file, 64, salt);
		memcpy(file + 64, &sum, 8);
		file_write(path, 0, file, len);
		for (uint64_t seq = 1700; seq < 1800; seq += 3) { /* the point is about there */
			contents_open(c);
			contents_expect_range(c, c->pos[seq], 200);
			contents_close(c);
			file_write(path, 0, file, len);
			contents_open(c);
			contents_expect_tell(c, seq);
			assert_int_equal(wal_read(c->stream, seq, 0, c->buf, 200, 0), 200);
			contents_expect_bytes(c->buf, c->pos[seq], 200);
			contents_close(c);
			file_write(path, 0, file, len);
		}
		contents_open(c);
		contents_expect_all(c, 100000);
	}
	assert_int_equal(kit_troubles(&c->kit), 0);
	free(file);
}

/* A power loss takes the newest segment, and makes a sealed one the last again: its index file goes. */
static void index_of_the_last(void **state)
{
	char path[512], index[512];

	(void)state;
	contents_close(c);
	c->kit.opts.flags |= WAL_OPEN_RELAXED;
	contents_open(c);
	for (int i = 0; i < 120; i++)
		contents_append(c, 50, 5, 200);
	assert_true(file_exists(index_path(1, index)));
	wal_stream_unref(c->stream);
	kit_crash(&c->kit);
	(void)kit_segment(&c->kit, "s", 1, path);
	file_cut(path, 1536 + 2000 * 241 + 100);
	for (uint64_t first = 2; first < 6000; first++)
		if (file_exists(kit_segment(&c->kit, "s", first, path)))
			assert_int_equal(unlink(path), 0);
	c->next = 2001;
	contents_open(c);
	contents_expect_all(c, 100000);
	assert_false(file_exists(index));
	for (int i = 0; i < 120; i++)
		contents_append(c, 50, 205, 0);
	contents_append(c, 1, 0, 100);
	contents_expect_all(c, 100000);
	reopen();
	contents_expect_all(c, 100000);
}

/* Makes all segments such as a library wrote that knew of no positions. */
static void strip_positions(void)
{
	char path[512];

	for (uint64_t first = 1; first <= c->next; first++) {
		uint8_t sector[512];

		if (!file_exists(kit_segment(&c->kit, "s", first, path)))
			continue;
		for (uint64_t off = 0; off < 1536; off += 512) {
			uint64_t sum;

			file_read(path, off, sector, sizeof(sector));
			memset(sector + (off ? 136 : 56), 0, 8);
			sum = XXH3_64bits_withSeed(sector, 504, 0);
			if (sector[0])
				memcpy(sector + 504, &sum, 8);
			file_write(path, off, sector, sizeof(sector));
		}
	}
}

static void expect_from(uint64_t origin)
{
	for (int i = 0; i < 300; i++) {
		uint64_t seq = c->first + contents_draw(c, c->next - c->first), len = contents_draw(c, 3000);
		uint64_t left, pos, got, off;

		left = contents_end(c) - c->pos[seq];
		assert_int_equal(wal_tell(c->stream, seq, 0, &pos), 0);
		assert_int_equal(pos - origin, c->pos[seq]);
		assert_int_equal(wal_read_range(c->stream, pos, c->buf, len, 0), left < len ? left : len);
		contents_expect_bytes(c->buf, c->pos[seq], left < len ? left : len);
		if (left == 0)
			continue;
		assert_int_equal(wal_locate(c->stream, pos, 0, &got, &off), 0);
		assert_int_equal(c->pos[got] + off, c->pos[seq]);
	}
	assert_int_equal(kit_stat(c->stream).end_pos - origin, contents_end(c));
}

/* A stream that was begun without positions has some all the same, and keeps them when there are new segments. */
static void begun_without(void **state)
{
	uint64_t origin;

	(void)state;
	c->kit.opts.segment_bytes = 20000;
	reopen();
	for (int i = 0; i < 200; i++)
		append_some();
	contents_trim(c, 5);
	contents_close(c);
	strip_positions();
	contents_open(c);
	assert_int_equal(wal_tell(c->stream, 5, 0, &origin), 0);
	origin -= c->pos[5];
	expect_from(origin);
	for (int i = 0; i < 3; i++) {
		reopen();
		expect_from(origin);
		for (int k = 0; k < 30; k++)
			append_some();
		expect_from(origin);
		contents_trim(c, c->first + 20);
		expect_from(origin);
	}
	reopen();
	expect_from(origin);
	assert_int_equal(kit_verify(&c->kit), 0);
	assert_int_equal(kit_troubles(&c->kit), 0);
}

/* A power loss tears a batch: it is cut from its beginning, and positions go on from there. */
static void torn_batch(void **state)
{
	char path[512];
	uint64_t off;

	(void)state;
	contents_close(c);
	c->kit.opts.flags |= WAL_OPEN_RELAXED;
	contents_open(c);
	contents_append(c, 10, 5, 200);
	contents_append(c, 10, 5, 200);
	wal_stream_unref(c->stream);
	kit_crash(&c->kit);
	off = contents_off(c, 17, path);
	file_cut(path, off + 100);
	c->next = 11;
	contents_open(c);
	contents_expect_all(c, 1000);
	for (int i = 0; i < 100; i++)
		contents_append(c, 100, 0, 120);
	contents_expect_all(c, 100000);
	reopen();
	contents_expect_all(c, 100000);
	assert_int_equal(kit_verify(&c->kit), 0);
}

/* A read that must not wait, where nth read of the disk would. */
static void must_wait(void **state)
{
	static const size_t len = 200000;
	uint64_t pos, seq, off;
	ssize_t got;

	(void)state;
	for (int i = 0; i < 40; i++)
		contents_append(c, 50, 5, 200);
	contents_append(c, 1, 5, 65536);
	contents_append(c, 0, 5, 300000);
	contents_append(c, 10, 0, 100);
	reopen();
	assert_int_equal(wal_read_range(c->stream, 0, c->buf, len, WAL_NOWAIT), -EAGAIN);
	assert_int_equal(wal_tell(c->stream, 1, WAL_NOWAIT, &pos), -EAGAIN);
	assert_int_equal(wal_locate(c->stream, 1, WAL_NOWAIT, &seq, &off), -EAGAIN);
	contents_expect_all(c, 100000);
	for (uint64_t from = 0; from < contents_end(c); from += len) {
		for (uint64_t n = 1;; n++) {
			io_fault_arm(&c->kit.fault, IO_FAIL, IO_READ, n, -EAGAIN);
			got = wal_read_range(c->stream, from, c->buf, len, WAL_NOWAIT);
			if (got > 0)
				contents_expect_bytes(c->buf, from, (size_t)got);
			else
				assert_int_equal(got, -EAGAIN);
			if (!io_fault_fired(&c->kit.fault))
				break;
		}
		io_fault_disarm(&c->kit.fault);
	}
	assert_int_equal(kit_troubles(&c->kit), 0);
}

struct tail {
	struct wal_stream *stream;
	uint64_t pos, end;
};

/* Reads as tail -f would, up to a position. */
static void *follow(void *arg)
{
	struct tail *tail = arg;
	static uint8_t got[50000];
	uint64_t told = 0, seq, off;

	while (tail->pos < tail->end) {
		ssize_t n = wal_read_range(tail->stream, tail->pos, got, sizeof(got), 0);

		if (n < 0)
			return tail;
		for (ssize_t i = 0; i < n; i++)
			if (got[i] != contents_byte(tail->pos + (uint64_t)i))
				return tail;
		if (n > 0 && (wal_locate(tail->stream, tail->pos, 0, &seq, &off) < 0 ||
			      wal_tell(tail->stream, seq, 0, &told) < 0 || told + off != tail->pos))
			return tail;
		tail->pos += (uint64_t)n;
	}
	return NULL;
}

static void while_appended(void **state)
{
	struct tail tail;
	pthread_t thread;
	void *failed;

	(void)state;
	c->kit.opts.segment_bytes = 100000;
	reopen();
	tail = (struct tail){ .stream = c->stream, .end = 3000000 };
	assert_int_equal(pthread_create(&thread, NULL, follow, &tail), 0);
	while (contents_end(c) < tail.end) {
		if (contents_draw(c, 4))
			contents_append(c, 1 + (uint32_t)contents_draw(c, 9), 3, contents_draw(c, 300));
		else
			contents_append(c, 1, 0, contents_draw(c, 90000));
	}
	assert_int_equal(pthread_join(thread, &failed), 0);
	assert_null(failed);
	contents_expect_all(c, 100000);
}

/* What was not acknowledged is not there, and has no position, though its bytes may be in the file. */
static void not_committed(void **state)
{
	uint64_t pos;

	(void)state;
	contents_append(c, 3, 2, 50);
	io_fault_arm(&c->kit.fault, IO_FAIL, IO_SYNC, 1, -EIO);
	assert_int_equal(kit_put(c->stream, KEY("h"), KEY("not there"), 0, NULL), -EIO);
	assert_true(io_fault_fired(&c->kit.fault));
	io_fault_disarm(&c->kit.fault);
	assert_int_equal(wal_tell(c->stream, 5, 0, &pos), -ENOENT);
	contents_expect_all(c, 1000);
	wal_stream_unref(c->stream);
	c->stream = NULL;
	(void)wal_store_close(c->kit.store); /* the journal has failed */
	c->kit.store = NULL;
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(each_byte),
		CASE(as_the_model),
		CASE(as_the_model_tiny),
		CASE(as_the_model_relaxed),
		CASE(as_the_model_forgetful),
		CASE(without_indexes),
		CASE(wrong_index),
		CASE(index_of_the_last),
		CASE(begun_without),
		CASE(torn_batch),
		CASE(must_wait),
		CASE(while_appended),
		CASE(not_committed),
	};

	return cmocka_run_group_tests_name("position", tests, NULL, NULL);
}
