/* SPDX-License-Identifier: MIT
 *
 * at/: every time is a name in it, and a link to the first record at or after that time; TIME.follow is one to the
 * follow file that begins there. Invariant: nothing is kept of it, each lookup is a search of its own.
 *
 * Threads: any.
 */
#ifndef WALFS_AT_H
#define WALFS_AT_H

#include "call.h"
#include "inode.h"

/* The node of call->name in at/. -ENOENT: no record is as young; -EINVAL: not a time; -EOVERFLOW; -EAGAIN: the disk is
 * needed, as always. */
int walfs_at_parse(struct walfs_call *call, struct walfs_inode *inode, struct walfs_node *ret_node);

#endif
