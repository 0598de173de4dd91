/* SPDX-License-Identifier: MIT
 *
 * Attributes: what stat(2) says of each kind of node. Invariant: st_size is exactly what can be read.
 *
 * Threads: any.
 */
#ifndef WALFS_ATTR_H
#define WALFS_ATTR_H

#include "walfs.h"

/* Attributes of any node. `inode` is the stream's entry, NULL for nodes of the store. `wait` as in struct walfs_call.
 * -ENOENT where the record (or the target of first or last) is not there, -EIDRM where it is no more; -EAGAIN. */
int walfs_attr_get(struct walfs *fs, struct walfs_inode *inode, const struct walfs_node *node, uint32_t wait,
		   struct stat *ret_st);

/* Attributes of a record or sidecar whose stream and record are known. */
void walfs_attr_record(const struct walfs *fs, const struct wal_stat *stat, const struct walfs_node *node,
		       const struct wal_info *info, struct stat *ret_st);

/* The same as an entry for fuse_reply_entry, with the timeouts of the kind; a name that is not `listed` gets none. */
int walfs_attr_entry(struct walfs *fs, struct walfs_inode *inode, const struct walfs_node *node, bool listed,
		     uint32_t wait, struct fuse_entry_param *ret_entry);
void walfs_attr_fill_entry(const struct stat *st, const struct walfs_node *node, bool listed,
			   struct fuse_entry_param *ret_entry);

/* A handler for GETATTR; also what a SETATTR that changes nothing is answered with. */
int walfs_attr_answer(struct walfs_call *call);

/* How long the kernel may keep the attributes of a node. */
double walfs_attr_timeout(const struct walfs_inode *inode, enum walfs_kind kind);

/* Figures of a stream with first and next in them: -EAGAIN where it must be recovered for that. */
int walfs_attr_stat_full(struct walfs_inode *inode, uint32_t wait, struct wal_stat *ret_stat);

/* Where a link leads to. Returns the length. -ENOENT for first and last of an empty stream; -EAGAIN. */
#define WALFS_TARGET_MAX (WALFS_NODE_NAME_MAX + 3)
int walfs_attr_target(struct walfs *fs, struct walfs_inode *inode, const struct walfs_node *node, uint32_t wait,
		      char target[WALFS_TARGET_MAX + 1]);

/* Who a stream is shown to belong to. */
uint32_t walfs_attr_uid(const struct walfs *fs, const struct wal_attr *attr);

#endif
