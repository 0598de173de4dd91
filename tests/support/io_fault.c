/* SPDX-License-Identifier: MIT */
#include "io_fault.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

enum verdict { PASS, REFUSE, HALF, HALF_REFUSE, PRETEND };

/* What is to be done with this call; *ret_code with REFUSE. */
static enum verdict judge(const struct wal_io *io, unsigned kind, int *ret_code)
{
	struct io_fault *fault = io->arg;
	enum verdict verdict = PASS;

	pthread_mutex_lock(&fault->lock);
	*ret_code = fault->code;
	if (kind == IO_SYNC)
		fault->syncs++;
	if (fault->stopped) {
		*ret_code = -EIO;
		verdict = REFUSE;
	} else if (fault->fail_next && kind & IO_CHANGES) {
		fault->fail_next = false;
		verdict = REFUSE;
	} else if (fault->mode && !fault->fired && fault->kinds & kind && ++fault->count == fault->at) {
		fault->fired = true;
		switch (fault->mode) {
		case IO_FAIL:
			verdict = REFUSE;
			break;
		case IO_SHORT:
			verdict = kind == IO_WRITE ? HALF : PASS;
			break;
		case IO_SHORT_FAIL:
			verdict = kind == IO_WRITE ? HALF : PASS;
			fault->fail_next = kind == IO_WRITE;
			break;
		case IO_DROP:
			verdict = PRETEND;
			break;
		case IO_TEAR:
		case IO_STOP:
			verdict = fault->mode == IO_TEAR && kind == IO_WRITE ? HALF_REFUSE : REFUSE;
			fault->stopped = true;
			*ret_code = -EIO;
			break;
		}
	}
	pthread_mutex_unlock(&fault->lock);
	return verdict;
}

/* Passes a call on, or not; a dropped one has succeeded. */
#define PASS_ON(kind, call)                  \
	int code_;                           \
	switch (judge(io, (kind), &code_)) { \
	case PASS:                           \
	case HALF:                           \
		return wal_io_posix.call;    \
	case PRETEND:                        \
		return 0;                    \
	case REFUSE:                         \
	case HALF_REFUSE:                    \
		break;                       \
	}                                    \
	return code_

static int fault_openat(const struct wal_io *io, int dirfd, const char *path, int flags, mode_t mode)
{
	int code;
	enum verdict verdict = judge(io, flags & O_CREAT ? IO_CREATE : IO_OPEN, &code);

	return verdict == REFUSE || verdict == HALF_REFUSE ? code : wal_io_posix.openat(io, dirfd, path, flags, mode);
}

static int fault_close(const struct wal_io *io, int fd)
{
	return wal_io_posix.close(io, fd); /* a dead process closes too */
}

static ssize_t fault_pread(const struct wal_io *io, int fd, void *buf, size_t len, uint64_t off, bool nowait)
{
	PASS_ON(IO_READ, pread(io, fd, buf, len, off, nowait));
}

static ssize_t fault_pwrite(const struct wal_io *io, int fd, const void *buf, size_t len, uint64_t off)
{
	int code;

	switch (judge(io, IO_WRITE, &code)) {
	case PASS:
		return wal_io_posix.pwrite(io, fd, buf, len, off);
	case HALF:
		return wal_io_posix.pwrite(io, fd, buf, len > 1 ? len / 2 : len, off);
	case HALF_REFUSE:
		(void)wal_io_posix.pwrite(io, fd, buf, len / 2, off); /* whatever of it */
		return code;
	case PRETEND:
		return (ssize_t)len;
	case REFUSE:
		break;
	}
	return code;
}

/* Counted, and not done: it is the process that dies here, so nothing is lost that was not synced; and the disk is slow. */
static int fault_sync(const struct wal_io *io, int fd)
{
	int code;
	enum verdict verdict = judge(io, IO_SYNC, &code);

	(void)fd;
	return verdict == REFUSE || verdict == HALF_REFUSE ? code : 0;
}

static int fault_ftruncate(const struct wal_io *io, int fd, uint64_t len)
{
	PASS_ON(IO_SIZE, ftruncate(io, fd, len));
}

static int fault_fallocate(const struct wal_io *io, int fd, uint64_t off, uint64_t len)
{
	PASS_ON(IO_SIZE, fallocate(io, fd, off, len));
}

static int fault_fstat(const struct wal_io *io, int fd, struct stat *ret)
{
	int code;

	return judge(io, IO_STAT, &code) == REFUSE ? code : wal_io_posix.fstat(io, fd, ret);
}

static int fault_fstatat(const struct wal_io *io, int dirfd, const char *path, struct stat *ret)
{
	int code;

	return judge(io, IO_STAT, &code) == REFUSE ? code : wal_io_posix.fstatat(io, dirfd, path, ret);
}

static int fault_mkdirat(const struct wal_io *io, int dirfd, const char *path, mode_t mode)
{
	PASS_ON(IO_CREATE, mkdirat(io, dirfd, path, mode));
}

static int fault_unlinkat(const struct wal_io *io, int dirfd, const char *path, bool dir)
{
	PASS_ON(IO_REMOVE, unlinkat(io, dirfd, path, dir));
}

static int fault_renameat(const struct wal_io *io, int dirfd, const char *oldpath, const char *newpath, bool replace)
{
	PASS_ON(IO_RENAME, renameat(io, dirfd, oldpath, newpath, replace));
}

static ssize_t fault_getdents(const struct wal_io *io, int fd, void *buf, size_t len)
{
	PASS_ON(IO_READ, getdents(io, fd, buf, len));
}

void io_fault_init(struct io_fault *fault)
{
	memset(fault, 0, sizeof(*fault));
	pthread_mutex_init(&fault->lock, NULL);
	fault->io = wal_io_posix;
	fault->io.arg = fault;
	fault->io.openat = fault_openat;
	fault->io.close = fault_close;
	fault->io.pread = fault_pread;
	fault->io.pwrite = fault_pwrite;
	fault->io.fdatasync = fault_sync;
	fault->io.fsync = fault_sync;
	fault->io.syncfs = fault_sync;
	fault->io.ftruncate = fault_ftruncate;
	fault->io.fallocate = fault_fallocate;
	fault->io.fstat = fault_fstat;
	fault->io.fstatat = fault_fstatat;
	fault->io.mkdirat = fault_mkdirat;
	fault->io.unlinkat = fault_unlinkat;
	fault->io.renameat = fault_renameat;
	fault->io.getdents = fault_getdents;
}

void io_fault_arm(struct io_fault *fault, enum io_fault_mode mode, unsigned kinds, uint64_t nth, int code)
{
	pthread_mutex_lock(&fault->lock);
	fault->mode = mode;
	fault->kinds = kinds;
	fault->at = nth;
	fault->count = 0;
	fault->code = code;
	fault->fired = fault->stopped = fault->fail_next = false;
	pthread_mutex_unlock(&fault->lock);
}

void io_fault_disarm(struct io_fault *fault)
{
	io_fault_arm(fault, 0, 0, 0, 0);
}

void io_fault_stop(struct io_fault *fault)
{
	pthread_mutex_lock(&fault->lock);
	fault->stopped = true;
	pthread_mutex_unlock(&fault->lock);
}

bool io_fault_fired(struct io_fault *fault)
{
	bool fired;

	pthread_mutex_lock(&fault->lock);
	fired = fault->fired;
	pthread_mutex_unlock(&fault->lock);
	return fired;
}

uint64_t io_fault_syncs(struct io_fault *fault)
{
	uint64_t syncs;

	pthread_mutex_lock(&fault->lock);
	syncs = fault->syncs;
	pthread_mutex_unlock(&fault->lock);
	return syncs;
}
