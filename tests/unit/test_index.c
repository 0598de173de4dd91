/* SPDX-License-Identifier: MIT
 *
 * The index: sparse, searched rightly, saved and loaded whole or not at all.
 */
#include "kit.h"

#include <fcntl.h>
#include <unistd.h>

#include "index.h"

static void searched(void **state)
{
	struct wal_index index = { 0 };
	struct wal_point start = { 1, 1536, 0 };

	(void)state;
	assert_int_equal(wal_index_before(&index, 50, start).seq, 1);
	for (uint64_t seq = 1; seq <= 1000; seq++)
		assert_int_equal(
			wal_index_note(&index, (struct wal_point){ seq, 1536 + (seq - 1) * 100, (seq - 1) * 64 }), 0);
	assert_in_range(index.n, 10, 30);
	for (uint64_t seq = 1; seq <= 1000; seq++) {
		struct wal_point point = wal_index_before(&index, seq, start);

		assert_true(point.seq <= seq && seq - point.seq < 50);
		assert_int_equal(point.off, 1536 + (point.seq - 1) * 100);
		assert_int_equal(point.pos, (point.seq - 1) * 64);
		assert_int_equal(wal_index_count_pos(&index, (seq - 1) * 64), wal_index_count_seq(&index, seq));
	}
	wal_index_fini(&index);
}

static void saved(void **state)
{
	struct wal_index index = { 0 }, got = { 0 };
	struct wal_point end = { 1001, 101536, 64000 }, got_end;
	char dir[TMPDIR_MAX], path[200];
	int dirfd;

	(void)state;
	tmpdir_make(dir);
	dirfd = open(dir, O_RDONLY | O_DIRECTORY);
	(void)snprintf(path, sizeof(path), "%s/i", dir);
	for (uint64_t seq = 1; seq <= 1000; seq++)
		assert_int_equal(
			wal_index_note(&index, (struct wal_point){ seq, 1536 + (seq - 1) * 100, (seq - 1) * 64 }), 0);
	assert_int_equal(wal_index_load(&got, &wal_io_posix, dirfd, "i", 7, &got_end), -ENOENT);
	assert_int_equal(wal_index_save(&index, &wal_io_posix, dirfd, "i", 7, end), 0);
	assert_int_equal(wal_index_load(&got, &wal_io_posix, dirfd, "i", 8, &got_end), -EBADMSG);
	for (uint64_t off = 0; off < file_size(path); off++) {
		if (off >= 10 && off < 16)
			continue; /* reserved */
		file_flip(path, off, 1);
		assert_int_equal(wal_index_load(&got, &wal_io_posix, dirfd, "i", 7, &got_end), -EBADMSG);
		file_flip(path, off, 1);
	}
	assert_null(got.points);
	assert_int_equal(wal_index_load(&got, &wal_io_posix, dirfd, "i", 7, &got_end), 0);
	assert_int_equal(got.n, index.n);
	assert_memory_equal(got.points, index.points, index.n * sizeof(*index.points));
	assert_int_equal(got_end.seq, 1001);
	assert_int_equal(got_end.off, 101536);
	assert_int_equal(got_end.pos, 64000);
	wal_index_fini(&got);
	file_cut(path, file_size(path) - 1);
	assert_int_equal(wal_index_load(&got, &wal_io_posix, dirfd, "i", 7, &got_end), -EBADMSG);
	wal_index_fini(&index);
	close(dirfd);
	tmpdir_remove(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(searched),
		cmocka_unit_test(saved),
	};

	return cmocka_run_group_tests_name("index", tests, NULL, NULL);
}
