/* SPDX-License-Identifier: MIT
 *
 * all: the contents of all records as one file. Invariants: it begins at the record that was the oldest when its name was
 * looked up, which is what its node is, and from then on only grows; each of its bytes is that byte for good, or
 * cannot be read: trimmed (ESTALE) or damaged (EIO).
 *
 * Threads: any.
 */
#ifndef WALFS_ALL_H
#define WALFS_ALL_H

#include "call.h"
#include "inode.h"

/* A handler for OPEN. -ESTALE where the first record was trimmed since the lookup: the kernel then looks up again. */
int walfs_all_open(struct walfs_call *call);

/* How many bytes there are from record `seq` on. -ESTALE: it was trimmed, and nobody has the file open; -EAGAIN. */
int walfs_all_size(struct walfs_inode *inode, uint64_t seq, uint32_t wait, uint64_t *ret_size);

#endif
