/* SPDX-License-Identifier: MIT
 *
 * tmpdir: a directory of a test's own, and plain helpers on the files in it. Each call ends the test where it fails.
 *
 * Threads: one at a time.
 */
#ifndef TESTS_SUPPORT_TMPDIR_H
#define TESTS_SUPPORT_TMPDIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TMPDIR_MAX 128

/* Makes an empty directory below $TMPDIR or /tmp. Removed, with all in it, by tmpdir_remove. */
void tmpdir_make(char dir[TMPDIR_MAX]);
void tmpdir_remove(const char *dir);
/* Copies a tree of directories and plain files; `to` is made. */
void tmpdir_copy(const char *from, const char *to);
/* A number that changes when a name, a size or a byte below dir does; but for the file `but` (relative), or NULL. */
uint64_t tmpdir_digest(const char *dir, const char *but);

bool file_exists(const char *path);
uint64_t file_size(const char *path);
/* Bytes [off, off + len) of the file. */
void file_read(const char *path, uint64_t off, void *buf, size_t len);
void file_write(const char *path, uint64_t off, const void *buf, size_t len);
/* Changes the byte at off by xor. */
void file_flip(const char *path, uint64_t off, uint8_t mask);
void file_zero(const char *path, uint64_t off, uint64_t len);
void file_cut(const char *path, uint64_t len);

#endif
