/* SPDX-License-Identifier: MIT
 *
 * Errors are counted in a fixed table, so that the metrics always have the same lines.
 */
#include "meter.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>

static const char *const op_names[WALFS_OPS] = {
	[WALFS_OP_LOOKUP] = "lookup",     [WALFS_OP_GETATTR] = "getattr", [WALFS_OP_SETATTR] = "setattr",
	[WALFS_OP_READLINK] = "readlink", [WALFS_OP_MKDIR] = "mkdir",     [WALFS_OP_RMDIR] = "rmdir",
	[WALFS_OP_UNLINK] = "unlink",     [WALFS_OP_RENAME] = "rename",   [WALFS_OP_CREATE] = "create",
	[WALFS_OP_OPEN] = "open",         [WALFS_OP_READ] = "read",       [WALFS_OP_WRITE] = "write",
	[WALFS_OP_FLUSH] = "flush",       [WALFS_OP_FSYNC] = "fsync",     [WALFS_OP_RELEASE] = "release",
	[WALFS_OP_OPENDIR] = "opendir",   [WALFS_OP_READDIR] = "readdir", [WALFS_OP_RELEASEDIR] = "releasedir",
	[WALFS_OP_POLL] = "poll",         [WALFS_OP_STATFS] = "statfs",
};

static const struct {
	int err;
	const char *name;
} errnos[] = {
	{ E2BIG, "E2BIG" },           { EAGAIN, "EAGAIN" },
	{ EBUSY, "EBUSY" },           { EDQUOT, "EDQUOT" },
	{ EEXIST, "EEXIST" },         { EFBIG, "EFBIG" },
	{ EILSEQ, "EILSEQ" },         { EINTR, "EINTR" },
	{ EINVAL, "EINVAL" },         { EIO, "EIO" },
	{ EISDIR, "EISDIR" },         { EMFILE, "EMFILE" },
	{ EMSGSIZE, "EMSGSIZE" },     { ENAMETOOLONG, "ENAMETOOLONG" },
	{ ENFILE, "ENFILE" },         { ENOENT, "ENOENT" },
	{ ENOMEM, "ENOMEM" },         { ENOSPC, "ENOSPC" },
	{ ENOTDIR, "ENOTDIR" },       { ENOTEMPTY, "ENOTEMPTY" },
	{ EOPNOTSUPP, "EOPNOTSUPP" }, { EOVERFLOW, "EOVERFLOW" },
	{ EPERM, "EPERM" },           { EPIPE, "EPIPE" },
	{ EROFS, "EROFS" },           { ESPIPE, "ESPIPE" },
	{ ESTALE, "ESTALE" },         { 0, "other" },
};

#define N_ERRNOS (sizeof(errnos) / sizeof(errnos[0]))
static_assert(N_ERRNOS <= WALFS_ERRNOS, "each has its counter");

void walfs_meter_error(struct walfs_meter *meter, int err)
{
	size_t i = 0;
	while (i < N_ERRNOS - 1 && errnos[i].err != err)
		i++;
	atomic_fetch_add_explicit(&meter->errors[i], 1, memory_order_relaxed);
}

const char *walfs_meter_op_name(enum walfs_op op)
{
	return op_names[op];
}

const char *walfs_meter_error_name(unsigned i)
{
	return i < N_ERRNOS ? errnos[i].name : NULL;
}
