/* SPDX-License-Identifier: MIT
 *
 * io: the file I/O seam. Every system call of the engine that touches the disk goes through this table, so
 * that a test can fail, shorten, tear, drop or reorder any of them. wal_io_posix is the real one.
 *
 * Members return 0 or a count for success and a negative errno for failure. Paths are relative to dirfd.
 * Nothing follows a symbolic link in the last component. Threads: any.
 */
#ifndef WAL_IO_H
#define WAL_IO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <walcore/walcore.h>

struct wal_io {
	void *arg; /* the implementation's */
	int (*openat)(const struct wal_io *io, int dirfd, const char *path, int flags, mode_t mode);
	int (*close)(const struct wal_io *io, int fd);
	/* nowait: -EAGAIN where the bytes are not in memory; may be shorter than at rest */
	ssize_t (*pread)(const struct wal_io *io, int fd, void *buf, size_t len, uint64_t off, bool nowait);
	ssize_t (*pwrite)(const struct wal_io *io, int fd, const void *buf, size_t len, uint64_t off);
	int (*fdatasync)(const struct wal_io *io, int fd);
	int (*fsync)(const struct wal_io *io, int fd); /* of a directory: its entries */
	int (*syncfs)(const struct wal_io *io, int fd);
	int (*ftruncate)(const struct wal_io *io, int fd, uint64_t len);
	int (*fallocate)(const struct wal_io *io, int fd, uint64_t off, uint64_t len); /* keeps the size */
	int (*fstat)(const struct wal_io *io, int fd, struct stat *ret);
	int (*fstatat)(const struct wal_io *io, int dirfd, const char *path, struct stat *ret);
	int (*mkdirat)(const struct wal_io *io, int dirfd, const char *path, mode_t mode);
	int (*unlinkat)(const struct wal_io *io, int dirfd, const char *path, bool dir);
	/* without replace: -EEXIST where newpath is there */
	int (*renameat)(const struct wal_io *io, int dirfd, const char *oldpath, const char *newpath, bool replace);
	ssize_t (*getdents)(const struct wal_io *io, int fd, void *buf, size_t len); /* as getdents64(2) */
	int (*seekdir)(const struct wal_io *io, int fd, uint64_t cookie);
	int (*lock)(const struct wal_io *io, int fd); /* exclusive, for this process; -EBUSY */
	int (*fstatvfs)(const struct wal_io *io, int fd, struct statvfs *ret);
};

extern const struct wal_io wal_io_posix;

/* Reads until len bytes or the end of the file, over EINTR and short reads. Returns the count. */
ssize_t wal_io_read(const struct wal_io *io, int fd, void *buf, size_t len, uint64_t off, bool nowait);

/* Writes all of it or fails. */
int wal_io_write(const struct wal_io *io, int fd, const void *buf, size_t len, uint64_t off);

/* Opens, with O_CLOEXEC | O_NOFOLLOW added, over EINTR. */
int wal_io_open(const struct wal_io *io, int dirfd, const char *path, int flags, mode_t mode);

/* fsyncs the directory at path. */
int wal_io_sync_dir(const struct wal_io *io, int dirfd, const char *path);

/* Calls fn for each name in the directory at path but "." and "..", until it returns other than 0, which is then
 * returned. type is a DT_ constant. */
int wal_io_list(const struct wal_io *io, int dirfd, const char *path,
		int (*fn)(void *arg, const char *name, unsigned char type), void *arg);

/* Removes the directory at path and the plain files in it. -ENOENT is success. Does not descend. */
int wal_io_remove_dir(const struct wal_io *io, int dirfd, const char *path);

/* Returns 0 after making the directory, or where it exists already. */
int wal_io_ensure_dir(const struct wal_io *io, int dirfd, const char *path);

#endif
