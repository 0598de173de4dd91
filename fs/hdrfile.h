/* SPDX-License-Identifier: MIT
 *
 * The file `append.hdr`: a user's own small file whose content is the header that his next record gets; and N.hdr of the next
 * number, the same for the record that he makes by it. Invariant: it is staged in the close (and at fsync), whole; never
 * half of it.
 *
 * Threads: any; the kernel serialises writes to one node.
 */
#ifndef WALFS_HDRFILE_H
#define WALFS_HDRFILE_H

#include "call.h"
#include "inode.h"

int walfs_hdrfile_open(struct walfs_call *call);

/* The same for the record that is made as number `seq`, the next one, by the same user: N.hdr. In a CREATE. */
int walfs_hdrfile_create(struct walfs_call *call, struct walfs_inode *inode, uint64_t seq);

/* truncate(2) by name. */
int walfs_hdrfile_truncate(struct walfs_call *call);

#endif
