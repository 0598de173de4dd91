/* SPDX-License-Identifier: MIT
 *
 * The POSIX table, and the few helpers that make a call exact: whole reads and writes, over EINTR.
 */
#include "io.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "banned.h"

static int posix_openat(const struct wal_io *io, int dirfd, const char *path, int flags, mode_t mode)
{
	int fd = openat(dirfd, path, flags, mode);

	(void)io;
	return fd < 0 ? -errno : fd;
}

static int posix_close(const struct wal_io *io, int fd)
{
	(void)io;
	return close(fd) < 0 ? -errno : 0;
}

static ssize_t posix_pread(const struct wal_io *io, int fd, void *buf, size_t len, uint64_t off, bool nowait)
{
	struct iovec iov = { buf, len };
	ssize_t n;

	(void)io;
	if (nowait) {
		n = preadv2(fd, &iov, 1, (off_t)off, RWF_NOWAIT);
		if (n >= 0 || errno != EOPNOTSUPP)
			return n < 0 ? -errno : n;
	}
	n = pread(fd, buf, len, (off_t)off);
	return n < 0 ? -errno : n;
}

static ssize_t posix_pwrite(const struct wal_io *io, int fd, const void *buf, size_t len, uint64_t off)
{
	ssize_t n = pwrite(fd, buf, len, (off_t)off);

	(void)io;
	return n < 0 ? -errno : n;
}

static int posix_fdatasync(const struct wal_io *io, int fd)
{
	(void)io;
	return fdatasync(fd) < 0 ? -errno : 0;
}

static int posix_fsync(const struct wal_io *io, int fd)
{
	(void)io;
	return fsync(fd) < 0 ? -errno : 0;
}

static int posix_syncfs(const struct wal_io *io, int fd)
{
	(void)io;
	return syncfs(fd) < 0 ? -errno : 0;
}

static int posix_ftruncate(const struct wal_io *io, int fd, uint64_t len)
{
	(void)io;
	return ftruncate(fd, (off_t)len) < 0 ? -errno : 0;
}

static int posix_fallocate_(const struct wal_io *io, int fd, uint64_t off, uint64_t len)
{
	(void)io;
	return fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len) < 0 ? -errno : 0;
}

static int posix_fstat(const struct wal_io *io, int fd, struct stat *ret)
{
	(void)io;
	return fstat(fd, ret) < 0 ? -errno : 0;
}

static int posix_fstatat(const struct wal_io *io, int dirfd, const char *path, struct stat *ret)
{
	(void)io;
	return fstatat(dirfd, path, ret, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int posix_mkdirat(const struct wal_io *io, int dirfd, const char *path, mode_t mode)
{
	(void)io;
	return mkdirat(dirfd, path, mode) < 0 ? -errno : 0;
}

static int posix_unlinkat(const struct wal_io *io, int dirfd, const char *path, bool dir)
{
	(void)io;
	return unlinkat(dirfd, path, dir ? AT_REMOVEDIR : 0) < 0 ? -errno : 0;
}

static int posix_renameat(const struct wal_io *io, int dirfd, const char *oldpath, const char *newpath, bool replace)
{
	struct stat st;

	(void)io;
	if (replace)
		return renameat(dirfd, oldpath, dirfd, newpath) < 0 ? -errno : 0;
	if (renameat2(dirfd, oldpath, dirfd, newpath, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	/* A file system without RENAME_NOREPLACE (NFS): we are the only writer, so looking first will do. */
	if (fstatat(dirfd, newpath, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return -EEXIST;
	return renameat(dirfd, oldpath, dirfd, newpath) < 0 ? -errno : 0;
}

static ssize_t posix_getdents(const struct wal_io *io, int fd, void *buf, size_t len)
{
	long n = syscall(SYS_getdents64, fd, buf, len);

	(void)io;
	return n < 0 ? -errno : (ssize_t)n;
}

static int posix_seekdir(const struct wal_io *io, int fd, uint64_t cookie)
{
	(void)io;
	return lseek(fd, (off_t)cookie, SEEK_SET) < 0 ? -errno : 0;
}

static int posix_lock(const struct wal_io *io, int fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	(void)io;
	if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
		return 0;
	return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
}

static int posix_fstatvfs(const struct wal_io *io, int fd, struct statvfs *ret)
{
	(void)io;
	return fstatvfs(fd, ret) < 0 ? -errno : 0;
}

const struct wal_io wal_io_posix = {
	.openat = posix_openat,
	.close = posix_close,
	.pread = posix_pread,
	.pwrite = posix_pwrite,
	.fdatasync = posix_fdatasync,
	.fsync = posix_fsync,
	.syncfs = posix_syncfs,
	.ftruncate = posix_ftruncate,
	.fallocate = posix_fallocate_,
	.fstat = posix_fstat,
	.fstatat = posix_fstatat,
	.mkdirat = posix_mkdirat,
	.unlinkat = posix_unlinkat,
	.renameat = posix_renameat,
	.getdents = posix_getdents,
	.seekdir = posix_seekdir,
	.lock = posix_lock,
	.fstatvfs = posix_fstatvfs,
};

ssize_t wal_io_read(const struct wal_io *io, int fd, void *buf, size_t len, uint64_t off, bool nowait)
{
	size_t done = 0;
	ssize_t n;

	while (done < len) {
		n = io->pread(io, fd, (char *)buf + done, len - done, off + done, nowait);
		if (n == -EINTR)
			continue;
		if (n < 0)
			return n;
		if (n == 0)
			break;
		assert((size_t)n <= len - done);
		done += (size_t)n;
	}
	return (ssize_t)done;
}

int wal_io_write(const struct wal_io *io, int fd, const void *buf, size_t len, uint64_t off)
{
	size_t done = 0;
	ssize_t n;

	while (done < len) {
		n = io->pwrite(io, fd, (const char *)buf + done, len - done, off + done);
		if (n == -EINTR)
			continue;
		if (n < 0)
			return (int)n;
		if (n == 0)
			return -EIO; /* cannot be, for a file; never loop on it */
		assert((size_t)n <= len - done);
		done += (size_t)n;
	}
	return 0;
}

int wal_io_open(const struct wal_io *io, int dirfd, const char *path, int flags, mode_t mode)
{
	int fd;

	do
		fd = io->openat(io, dirfd, path, flags | O_CLOEXEC | O_NOFOLLOW, mode);
	while (fd == -EINTR);
	return fd;
}

int wal_io_sync_dir(const struct wal_io *io, int dirfd, const char *path)
{
	int fd, r;

	fd = wal_io_open(io, dirfd, path, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return fd;
	r = io->fsync(io, fd);
	(void)io->close(io, fd); /* nothing was written through it */
	return r;
}

struct dirent64_head { /* as getdents64(2) gives it */
	uint64_t ino;
	int64_t off;
	uint16_t reclen;
	uint8_t type;
	char name[];
};

int wal_io_list(const struct wal_io *io, int dirfd, const char *path,
		int (*fn)(void *arg, const char *name, unsigned char type), void *arg)
{
	_Alignas(8) char buf[8192];
	ssize_t n;
	int fd, r = 0;

	fd = wal_io_open(io, dirfd, path, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return fd;
	while (r == 0) {
		n = io->getdents(io, fd, buf, sizeof(buf));
		if (n <= 0) {
			r = (int)n;
			break;
		}
		for (ssize_t at = 0; at < n && r == 0;) {
			const struct dirent64_head *d = (const struct dirent64_head *)(buf + at);

			at += d->reclen;
			if (strcmp(d->name, ".") != 0 && strcmp(d->name, "..") != 0)
				r = fn(arg, d->name, d->type);
		}
	}
	(void)io->close(io, fd); /* nothing was written through it */
	return r;
}

struct remove_ctx {
	const struct wal_io *io;
	int dirfd;
	const char *path;
};

static int remove_one(void *arg, const char *name, unsigned char type)
{
	struct remove_ctx *ctx = arg;
	char path[600];
	int r;

	(void)type;
	if ((size_t)snprintf(path, sizeof(path), "%s/%s", ctx->path, name) >= sizeof(path))
		return -ENAMETOOLONG;
	r = ctx->io->unlinkat(ctx->io, ctx->dirfd, path, false);
	return r == -ENOENT ? 0 : r;
}

int wal_io_remove_dir(const struct wal_io *io, int dirfd, const char *path)
{
	struct remove_ctx ctx = { io, dirfd, path };
	int r;

	r = wal_io_list(io, dirfd, path, remove_one, &ctx);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	r = io->unlinkat(io, dirfd, path, true);
	return r == -ENOENT ? 0 : r;
}

int wal_io_ensure_dir(const struct wal_io *io, int dirfd, const char *path)
{
	int r = io->mkdirat(io, dirfd, path, 0700);

	return r == -EEXIST ? 0 : r;
}
