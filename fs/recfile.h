/* SPDX-License-Identifier: MIT
 *
 * Records as files: N, its sidecar N.hdr, both in one as N.msg, and the links first and last. Invariant: a record that is open reads to its
 * end, whatever is trimmed meanwhile.
 *
 * Threads: any.
 */
#ifndef WALFS_RECFILE_H
#define WALFS_RECFILE_H

#include "call.h"
#include "file.h"
#include "inode.h"

#include <walcore/walcore.h>

int walfs_recfile_open(struct walfs_call *call);

/* Has the record a form as N.msg? Reads its header. -EILSEQ. */
int walfs_recfile_check(struct wal_stream *stream, const struct wal_info *info, uint32_t wait);

/* Attributes of an open record, and of one that was trimmed while somebody has it open: for that the kernel does not say
 * who asks. -EIDRM: nobody has. */
int walfs_recfile_attr(struct walfs *fs, struct walfs_file *file, struct stat *ret_st);
int walfs_recfile_attr_trimmed(struct walfs *fs, struct walfs_inode *inode, const struct walfs_node *node,
			       struct stat *ret_st);
int walfs_recfile_readlink(struct walfs_call *call);

#endif
