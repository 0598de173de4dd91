/* SPDX-License-Identifier: MIT
 *
 * The operations of the mount: from libfuse's calls to handlers. Invariant: no logic here but what a kind of node can do
 * at all.
 *
 * Threads: the table is immutable; its functions are called by the loop.
 */
#ifndef WALFS_OPS_H
#define WALFS_OPS_H

#include "kernel.h"

extern const struct fuse_lowlevel_ops walfs_ops;

/* The largest WRITE, on which append.c's rule for packets rests. */
#define WALFS_MAX_WRITE (1u << 20)

#endif
