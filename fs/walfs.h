/* SPDX-License-Identifier: MIT
 *
 * One mount: what all handlers share. Invariant: set up before the loop starts and taken down after it ended; the
 * members keep their own locks.
 *
 * Threads: any.
 */
#ifndef WALFS_WALFS_H
#define WALFS_WALFS_H

#include "file.h"
#include "inode.h"
#include "kernel.h"
#include "log.h"
#include "meter.h"
#include "node.h"
#include "opts.h"
#include "pending.h"
#include "staged.h"
#include "user.h"
#include "worker.h"

#include <walcore/walcore.h>

struct walfs {
	const struct walfs_opts *opts; /* borrowed */
	struct walfs_log *log;         /* borrowed */
	struct wal_store *store;
	struct fuse_session *session;
	struct walfs_workers *workers;
	struct walfs_inodes inodes;
	struct walfs_files files;
	struct walfs_staged staged;
	struct walfs_users users;
	struct walfs_meter meter;
	atomic_uint tokens;              /* of nodes that are numbered by lookup: the last one given */
	void *scratch;                   /* WALFS_SCRATCH_BYTES of the loop's */
	_Atomic int64_t changed_ns;      /* the time of the root: the mount, or when a stream came or went */
	bool sees_processes;             /* /proc is that of our pid namespace */
	uint32_t uid, gid;               /* who owns the mount */
	void (*ready)(struct walfs *fs); /* called once, when the kernel has been answered */
	void *ready_arg;
};

#endif
