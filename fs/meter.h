/* SPDX-License-Identifier: MIT
 *
 * What the daemon counts of its own work, for .walfs/metrics. Invariant: counters only grow; a gauge is what it is now.
 *
 * Threads: any.
 */
#ifndef WALFS_METER_H
#define WALFS_METER_H

#include <stdatomic.h>
#include <stdint.h>

enum walfs_op {
	WALFS_OP_LOOKUP,
	WALFS_OP_GETATTR,
	WALFS_OP_SETATTR,
	WALFS_OP_READLINK,
	WALFS_OP_MKDIR,
	WALFS_OP_RMDIR,
	WALFS_OP_UNLINK,
	WALFS_OP_RENAME,
	WALFS_OP_CREATE, /* mknod, symlink and link too */
	WALFS_OP_OPEN,
	WALFS_OP_READ,
	WALFS_OP_WRITE,
	WALFS_OP_FLUSH,
	WALFS_OP_FSYNC,
	WALFS_OP_RELEASE,
	WALFS_OP_OPENDIR,
	WALFS_OP_READDIR,
	WALFS_OP_RELEASEDIR,
	WALFS_OP_POLL,
	WALFS_OP_STATFS,
	WALFS_OPS,
};

#define WALFS_ERRNOS 32 /* those that are counted apart, and the rest */

struct walfs_meter {
	atomic_uint_least64_t requests[WALFS_OPS];
	atomic_uint_least64_t errors[WALFS_ERRNOS];
	atomic_uint_least64_t parked; /* readers that wait for a record: a gauge */
	int64_t started_ns;           /* immutable */
};

static inline void walfs_meter_request(struct walfs_meter *meter, enum walfs_op op)
{
	atomic_fetch_add_explicit(&meter->requests[op], 1, memory_order_relaxed);
}

/* A request was answered with this errno. */
void walfs_meter_error(struct walfs_meter *meter, int err);

/* As labels of metrics. The names of errnos from 0 on; NULL behind the last, which is "other". */
const char *walfs_meter_op_name(enum walfs_op op);
const char *walfs_meter_error_name(unsigned i);

#endif
