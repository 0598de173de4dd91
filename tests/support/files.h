/* SPDX-License-Identifier: MIT
 *
 * files: what mount tests do with files and what they expect of them. Each call ends the test where it is not so.
 *
 * Threads: one at a time.
 */
#ifndef TESTS_SUPPORT_FILES_H
#define TESTS_SUPPORT_FILES_H

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "mount.h"

struct bytes {
	const void *base;
	size_t len;
};
#define BYTES(literal) ((struct bytes){ literal, sizeof(literal) - 1 })

/* The call must fail with this errno. */
#define assert_errno(call, want) (errno = 0, expect_errno((long)(call), (want), #call))
void expect_errno(long got, int want, const char *call);

/* The call must not fail; its value. */
#define must(call) (errno = 0, expect_success((long)(call), #call))
long expect_success(long got, const char *call);

/* The whole file; with a NUL behind it. To be freed. */
char *slurp(const char *path, size_t *ret_len);
void assert_file(const char *path, struct bytes want);
void assert_same_file(const char *a, const char *b);
void assert_absent(const char *path);
/* Opens, writes all of it in one write, closes. */
void put(const char *path, int flags, struct bytes what);
void write_all(int fd, const void *base, size_t len);
/* A file of `len` bytes that differ by `seed`; no page of it is like another. */
void make_file(const char *path, uint64_t len, uint64_t seed);
void fill_bytes(void *buf, size_t len, uint64_t seed, uint64_t off);

/* Makes the stream, appends one record to it with one write. */
void make_stream(const struct mnt *m, const char *stream);
void append(const struct mnt *m, const char *stream, const char *text);

/* The number that the link names, 0 where there is none. */
uint64_t first_seq(const struct mnt *m, const char *stream);
uint64_t last_seq(const struct mnt *m, const char *stream);
/* Waits until record `seq` is there: some records are committed right after close(2), see DESIGN 3. */
void wait_record(const struct mnt *m, const char *stream, uint64_t seq);
/* The stream has exactly these records, numbered from 1: by the links, by the listing and by their bytes. */
void assert_records(const struct mnt *m, const char *stream, size_t n, const struct bytes *want);
/* The same for text. */
#define assert_texts(m, stream, ...)                                                      \
	do {                                                                              \
		const char *const texts_[] = { __VA_ARGS__ };                             \
		assert_text_records(m, stream, sizeof(texts_) / sizeof(*texts_), texts_); \
	} while (0)
void assert_text_records(const struct mnt *m, const char *stream, size_t n, const char *const *texts);
#define assert_no_records(m, stream) assert_records(m, stream, 0, NULL)

/* Flips a bit of the byte where `text` stands in a segment file of the stream, once, `skip` bytes behind its start. */
void flip_bit(const struct mnt *m, const char *stream, const char *text, size_t skip);

/* A figure of .walfs/stats. */
uint64_t figure(const struct mnt *m, const char *name);

/* The names in a directory in the order of readdir, without . and .., ended by NULL. Free with names_free. */
char **names_of(const char *dir, size_t *ret_n);
void names_free(char **names);
bool names_have(char *const *names, const char *name);

#endif
