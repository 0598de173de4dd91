/* SPDX-License-Identifier: MIT
 *
 * The next number: a file that is made under the number that the next record will have, and becomes that record or nothing.
 * Invariants: what it collects is committed with that number expected, so that whoever comes first has it, and the other
 * one is told; of one number there is one creator at a time; a creation is nobody's to find.
 *
 * Threads: any.
 */
#ifndef WALFS_CREATION_H
#define WALFS_CREATION_H

#include "appender.h"

/* CREATE: of the next number, or of its header (hdrfile.c). -EPERM any other name, or what exists; -EEXIST what exists,
 * with O_EXCL, or has a creator; -EINVAL a number further ahead. */
int walfs_creation_create(struct walfs_call *call);

/* Replies to a CREATE with the open file. False where nobody takes it: no RELEASE will come. */
bool walfs_creation_reply(struct walfs_call *call, struct walfs_inode *inode, const struct walfs_node *node,
			  struct walfs_file *file, const struct fuse_entry_param *entry);

/* Bytes of it come: from now on it is a creator even when no process holds it, for its RELEASE may be on its way. -ESTALE
 * where the number has gone to another record, or creator; -EAGAIN. And they are no more. */
int walfs_creation_write(struct walfs_call *call, struct walfs_appender *file);
void walfs_creation_unwrite(struct walfs_appender *file);

/* The file is being closed. */
void walfs_creation_end(struct walfs_appender *file);

#endif
