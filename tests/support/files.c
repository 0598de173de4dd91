/* SPDX-License-Identifier: MIT */
#include "files.h"

#include <dirent.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

void expect_errno(long got, int want, const char *call)
{
	int err = errno;

	if (got != -1)
		fail_msg("%s: %ld, not -1 (%s)", call, got, strerror(want));
	if (err != want)
		fail_msg("%s: %s, not %s", call, strerror(err), strerror(want));
}

long expect_success(long got, const char *call)
{
	if (got < 0)
		fail_msg("%s: %s", call, strerror(errno));
	return got;
}

char *slurp(const char *path, size_t *ret_len)
{
	size_t len = 0, size = 65536;
	char *buf = malloc(size);
	ssize_t n = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC), err;

	if (fd < 0)
		fail_msg("open %s: %s", path, strerror(errno));
	while (buf && (n = read(fd, buf + len, size - len - 1)) > 0) {
		len += (size_t)n;
		if (size - len < 4096)
			buf = realloc(buf, size *= 2);
	}
	err = errno;
	(void)close(fd);
	if (n < 0)
		fail_msg("read %s: %s", path, strerror(err));
	assert_non_null(buf);
	buf[len] = '\0';
	if (ret_len)
		*ret_len = len;
	return buf;
}

void assert_file(const char *path, struct bytes want)
{
	size_t len, at = 0;
	char *got = slurp(path, &len);
	const char *base = want.base;

	while (at < len && at < want.len && got[at] == base[at])
		at++;
	if (len != want.len || at < len)
		fail_msg("%s: %zu bytes, not %zu; the first %zu are as expected; there is '%.40s'", path, len, want.len,
			 at, got + at);
	free(got);
}

void assert_same_file(const char *a, const char *b)
{
	if (run_sh(0, "cmp '%s' '%s'", a, b) != 0)
		fail_msg("%s and %s differ", a, b);
}

void assert_absent(const char *path)
{
	struct stat st;

	assert_errno(lstat(path, &st), ENOENT);
}

void write_all(int fd, const void *base, size_t len)
{
	const char *p = base;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n <= 0)
			fail_msg("write of %zu bytes: %zd, %s", len, n, strerror(errno));
		p += n;
		len -= (size_t)n;
	}
}

void put(const char *path, int flags, struct bytes what)
{
	int fd = open(path, flags | O_CLOEXEC, 0666);

	if (fd < 0)
		fail_msg("open %s: %s", path, strerror(errno));
	if (what.len > 0)
		assert_int_equal(must(write(fd, what.base, what.len)), what.len);
	must(close(fd));
}

void fill_bytes(void *buf, size_t len, uint64_t seed, uint64_t off)
{
	unsigned char *p = buf;

	for (size_t i = 0; i < len; i++, off++) {
		uint64_t x = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15) + (off >> 3) * UINT64_C(0xbf58476d1ce4e5b9);

		x ^= x >> 29;
		x *= UINT64_C(0x94d049bb133111eb);
		p[i] = (unsigned char)(x >> (8 * (off & 7)));
	}
}

void make_file(const char *path, uint64_t len, uint64_t seed)
{
	enum { CHUNK = 1 << 20 };
	char *buf = malloc(CHUNK);
	int fd = (int)must(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));

	assert_non_null(buf);
	for (uint64_t off = 0; off < len;) {
		size_t n = len - off < CHUNK ? (size_t)(len - off) : CHUNK;

		/* The pattern is made once: what tells chunks apart is the number at the head of each page. */
		if (off == 0)
			fill_bytes(buf, CHUNK, seed, 0);
		for (size_t at = 0; at + 8 <= n; at += 4096)
			fill_bytes(buf + at, 8, seed + 1, off + at);
		write_all(fd, buf, n);
		off += n;
	}
	free(buf);
	must(close(fd));
}

void make_stream(const struct mnt *m, const char *stream)
{
	if (mkdir(mp(m, "%s", stream), 0755) < 0)
		fail_msg("mkdir %s: %s", stream, strerror(errno));
}

void append(const struct mnt *m, const char *stream, const char *text)
{
	put(mp(m, "%s/append", stream), O_WRONLY | O_APPEND, (struct bytes){ text, strlen(text) });
}

static uint64_t link_seq(const struct mnt *m, const char *stream, const char *name)
{
	char target[256], *end;
	ssize_t len = readlink(mp(m, "%s/%s", stream, name), target, sizeof(target) - 1);
	uint64_t seq;

	if (len < 0) {
		/* No record; but not: no stream, or nothing mounted. */
		if (errno != ENOENT || access(mp(m, "%s/append", stream), F_OK) < 0)
			fail_msg("readlink %s/%s: %s", stream, name, strerror(errno));
		return 0;
	}
	target[len] = '\0';
	seq = strtoull(target, &end, 10);
	if (seq == 0 || *end)
		fail_msg("%s/%s leads to '%s'", stream, name, target);
	return seq;
}

uint64_t first_seq(const struct mnt *m, const char *stream)
{
	return link_seq(m, stream, "first");
}

uint64_t last_seq(const struct mnt *m, const char *stream)
{
	return link_seq(m, stream, "last");
}

void wait_record(const struct mnt *m, const char *stream, uint64_t seq)
{
	double deadline = deadline_after(20);
	const char *path = mp(m, "%s/%" PRIu64, stream, seq);
	struct stat st;

	while (lstat(path, &st) < 0)
		if (errno != ENOENT || !deadline_pause(deadline))
			fail_msg("record %s/%" PRIu64 " does not come: %s", stream, seq, strerror(errno));
}

void assert_records(const struct mnt *m, const char *stream, size_t n, const struct bytes *want)
{
	size_t n_names, listed = 0;
	char **names;

	if (last_seq(m, stream) != n)
		fail_msg("%s has %" PRIu64 " records, not %zu", stream, last_seq(m, stream), n);
	assert_int_equal(first_seq(m, stream), n ? 1 : 0);
	for (size_t i = 0; i < n; i++)
		assert_file(mp(m, "%s/%zu", stream, i + 1), want[i]);
	assert_absent(mp(m, "%s/%zu", stream, n + 1));
	names = names_of(mp(m, "%s", stream), &n_names);
	for (size_t i = 0; i < n_names; i++) {
		char *end;

		if (strtoull(names[i], &end, 10) > 0 && !*end)
			listed++;
	}
	names_free(names);
	if (listed != n)
		fail_msg("%s lists %zu records, not %zu", stream, listed, n);
}

void assert_text_records(const struct mnt *m, const char *stream, size_t n, const char *const *texts)
{
	struct bytes want[64];

	assert_true(n <= 64);
	for (size_t i = 0; i < n; i++)
		want[i] = (struct bytes){ texts[i], strlen(texts[i]) };
	assert_records(m, stream, n, want);
}

uint64_t figure(const struct mnt *m, const char *name)
{
	char *text = slurp(mp(m, ".walfs/stats"), NULL), *at = text;
	uint64_t value = 0;

	while (*at && (strncmp(at, name, strlen(name)) != 0 || at[strlen(name)] != ' '))
		at += strcspn(at, "\n") + 1;
	if (!*at)
		fail_msg("no %s in stats", name);
	value = strtoull(at + strlen(name), NULL, 10);
	free(text);
	return value;
}

char **names_of(const char *dir, size_t *ret_n)
{
	size_t n = 0, size = 64;
	char **names = calloc(size, sizeof(*names));
	DIR *d = opendir(dir);
	struct dirent *ent;

	if (!d)
		fail_msg("opendir %s: %s", dir, strerror(errno));
	while (names && (errno = 0, ent = readdir(d))) {
		if (strcmp(ent->d_name, ".") == 0 || strcmp(ent->d_name, "..") == 0)
			continue;
		if (n + 2 > size)
			names = realloc(names, (size *= 2) * sizeof(*names));
		names[n++] = strdup(ent->d_name);
		names[n] = NULL;
	}
	if (errno)
		fail_msg("readdir %s: %s", dir, strerror(errno));
	(void)closedir(d);
	if (ret_n)
		*ret_n = n;
	return names;
}

void names_free(char **names)
{
	for (char **s = names; *s; s++)
		free(*s);
	free(names);
}

bool names_have(char *const *names, const char *name)
{
	for (; *names; names++)
		if (strcmp(*names, name) == 0)
			return true;
	return false;
}

void flip_bit(const struct mnt *m, const char *stream, const char *text, size_t skip)
{
	unsigned hits = 0;
	char pattern[512];
	glob_t found;

	(void)snprintf(pattern, sizeof(pattern), "%s/%s/*.seg", m->store, stream);
	assert_int_equal(glob(pattern, 0, NULL, &found), 0);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		size_t len;
		char *all = slurp(found.gl_pathv[i], &len), *hit;

		for (hit = all; (hit = memmem(hit, len - (size_t)(hit - all), text, strlen(text))); hit++) {
			int fd = (int)must(open(found.gl_pathv[i], O_WRONLY));
			char byte = (char)(hit[skip] ^ 0x10);

			assert_int_equal(must(pwrite(fd, &byte, 1, hit - all + (off_t)skip)), 1);
			must(close(fd));
			hits++;
		}
		free(all);
	}
	globfree(&found);
	if (hits != 1)
		fail_msg("'%s' stands %u times in %s, not once", text, hits, pattern);
}
