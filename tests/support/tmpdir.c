/* SPDX-License-Identifier: MIT */
#include "tmpdir.h"

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include <cmocka.h>

void tmpdir_make(char dir[TMPDIR_MAX])
{
	const char *base = getenv("TMPDIR");

	(void)snprintf(dir, TMPDIR_MAX, "%.100s/walcore-XXXXXX", base && *base ? base : "/tmp");
	assert_non_null(mkdtemp(dir));
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

void tmpdir_remove(const char *dir)
{
	assert_int_equal(nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* nftw has no argument for its callback. */
static struct {
	const char *from, *to, *but;
	uint64_t digest;
} walk;

static void copy_file(const char *from, const char *to)
{
	static char buf[65536];
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	ssize_t n;

	assert_true(in >= 0 && out >= 0);
	while ((n = read(in, buf, sizeof(buf))) > 0)
		assert_int_equal(write(out, buf, (size_t)n), n);
	assert_int_equal(n, 0);
	close(in);
	close(out);
}

static int copy_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	char to[PATH_MAX];

	(void)st;
	(void)ftw;
	(void)snprintf(to, sizeof(to), "%s%s", walk.to, path + strlen(walk.from));
	if (flag == FTW_D)
		return mkdir(to, 0700);
	copy_file(path, to);
	return 0;
}

void tmpdir_copy(const char *from, const char *to)
{
	walk.from = from;
	walk.to = to;
	assert_int_equal(nftw(from, copy_one, 16, FTW_PHYS), 0);
}

static int digest_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	const char *name = path + strlen(walk.from) + (path[strlen(walk.from)] == '/');
	uint64_t sum = XXH3_64bits(name, strlen(name));
	char *bytes;

	(void)ftw;
	if (walk.but && strcmp(name, walk.but) == 0)
		return 0;
	if (flag == FTW_F) {
		bytes = malloc((size_t)st->st_size + 1);
		assert_non_null(bytes);
		file_read(path, 0, bytes, (size_t)st->st_size);
		sum = XXH3_64bits_withSeed(bytes, (size_t)st->st_size, sum);
		free(bytes);
	}
	walk.digest += sum; /* in any order */
	return 0;
}

uint64_t tmpdir_digest(const char *dir, const char *but)
{
	walk.from = dir;
	walk.but = but;
	walk.digest = 0;
	assert_int_equal(nftw(dir, digest_one, 16, FTW_PHYS), 0);
	return walk.digest;
}

bool file_exists(const char *path)
{
	return access(path, F_OK) == 0;
}

uint64_t file_size(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return (uint64_t)st.st_size;
}

void file_read(const char *path, uint64_t off, void *buf, size_t len)
{
	int fd = open(path, O_RDONLY);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, buf, len, (off_t)off), len);
	close(fd);
}

void file_write(const char *path, uint64_t off, const void *buf, size_t len)
{
	int fd = open(path, O_WRONLY);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, buf, len, (off_t)off), len);
	close(fd);
}

void file_flip(const char *path, uint64_t off, uint8_t mask)
{
	uint8_t byte;

	file_read(path, off, &byte, 1);
	byte ^= mask;
	file_write(path, off, &byte, 1);
}

void file_zero(const char *path, uint64_t off, uint64_t len)
{
	void *zeros = calloc(1, len + 1);

	assert_non_null(zeros);
	file_write(path, off, zeros, len);
	free(zeros);
}

void file_cut(const char *path, uint64_t len)
{
	assert_int_equal(truncate(path, (off_t)len), 0);
}
