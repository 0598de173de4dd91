/* SPDX-License-Identifier: MIT
 *
 * io_fault: the system calls of the engine with a fault in them. It passes everything on to wal_io_posix, counts the
 * calls of the kinds it is armed for, and does something else with the nth of them, once; or, with IO_STOP, from it on with
 * all: as when the process dies there, its writes before that being in the page cache.
 *
 * Syncs that pass are counted and not done.
 *
 * Threads: any; arming one at a time.
 */
#ifndef TESTS_SUPPORT_IO_FAULT_H
#define TESTS_SUPPORT_IO_FAULT_H

#include <pthread.h>

#include "io.h"

/* Kinds, a set. */
#define IO_WRITE 1u
#define IO_SYNC 2u   /* fdatasync, fsync, syncfs */
#define IO_CREATE 4u /* openat with O_CREAT, mkdirat */
#define IO_REMOVE 8u
#define IO_RENAME 16u
#define IO_SIZE 32u  /* ftruncate, fallocate */
#define IO_READ 64u  /* pread, getdents */
#define IO_OPEN 128u /* openat without O_CREAT */
#define IO_STAT 256u
#define IO_CHANGES (IO_WRITE | IO_SYNC | IO_CREATE | IO_REMOVE | IO_RENAME | IO_SIZE)

enum io_fault_mode {
	IO_FAIL = 1,   /* it fails with the code */
	IO_SHORT,      /* a write writes half, and what follows works */
	IO_SHORT_FAIL, /* a write writes half; the next call fails with the code */
	IO_TEAR,       /* a write writes half and fails; from then on as IO_STOP */
	IO_DROP,       /* it is not done and succeeds */
	IO_STOP,       /* it and all that follow fail with -EIO */
};

struct io_fault {
	struct wal_io io; /* give this to wal_opts */
	pthread_mutex_t lock;
	/* guarded by lock */
	enum io_fault_mode mode; /* 0: not armed */
	unsigned kinds;
	uint64_t at, count;
	int code;
	bool fired, stopped, fail_next;
	uint64_t syncs; /* IO_SYNC calls, armed or not */
};

void io_fault_init(struct io_fault *fault);
/* The nth call of these kinds from now on. code: a negative errno. */
void io_fault_arm(struct io_fault *fault, enum io_fault_mode mode, unsigned kinds, uint64_t nth, int code);
void io_fault_disarm(struct io_fault *fault);
/* As IO_STOP, now. */
void io_fault_stop(struct io_fault *fault);
bool io_fault_fired(struct io_fault *fault);
uint64_t io_fault_syncs(struct io_fault *fault);

#endif
