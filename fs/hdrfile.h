/* SPDX-License-Identifier: MIT
 *
 * The file `append.hdr`: a user's own small file whose content is the header that his next record gets. Invariant: it is
 * staged in the close (and at fsync), whole; never half of it.
 *
 * Threads: any; the kernel serialises writes to one node.
 */
#ifndef WALFS_HDRFILE_H
#define WALFS_HDRFILE_H

#include "call.h"

int walfs_hdrfile_open(struct walfs_call *call);

/* truncate(2) by name. */
int walfs_hdrfile_truncate(struct walfs_call *call);

#endif
