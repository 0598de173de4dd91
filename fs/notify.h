/* SPDX-License-Identifier: MIT
 *
 * Telling the kernel that what it keeps is no longer so. Invariant: when the call that committed a record returns, no
 * stat of its stream gives an older time.
 *
 * Threads: any, handlers included.
 */
#ifndef WALFS_NOTIFY_H
#define WALFS_NOTIFY_H

#include "inode.h"
#include "node.h"

struct walfs;

/* The kernel is about to be given attributes of this node, which a commit after this makes old. */
void walfs_notify_given(struct walfs_inode *inode, enum walfs_kind kind);

/* A record was committed through a node of this kind: the times of the stream's directory and of the append files
 * changed. To be called before the reply. */
void walfs_notify_committed(struct walfs *fs, struct walfs_inode *inode, enum walfs_kind kind);

/* Owner or mode changed: those of append too, whose attributes the kernel keeps for a second. */
void walfs_notify_mode(struct walfs *fs, struct walfs_inode *inode);

#endif
