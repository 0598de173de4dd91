/* SPDX-License-Identifier: MIT
 *
 * Names: looking them up, making, removing and renaming streams, trimming by rm. Invariant: what would change the past
 * is refused, and what removes needs the stream's owner or root.
 *
 * Threads: any.
 */
#ifndef WALFS_DIR_H
#define WALFS_DIR_H

#include "call.h"

int walfs_dir_lookup(struct walfs_call *call);

/* These wait for the disk: for workers. */
int walfs_dir_mkdir(struct walfs_call *call);
int walfs_dir_rmdir(struct walfs_call *call);
int walfs_dir_unlink(struct walfs_call *call);
int walfs_dir_rename(struct walfs_call *call);

/* chmod and chown of a stream. */
int walfs_dir_set_attr(struct walfs_call *call);

#endif
