/* SPDX-License-Identifier: MIT
 *
 * Reading one's own writes where close(2) does not wait: a RELEASE commits after the process has gone on. Invariant: a
 * question about the newest record of a stream that came after the RELEASE is answered after its commit. Only such
 * questions wait; a path walk, an append, a read of what is there never do.
 *
 * Threads: any.
 */
#ifndef WALFS_AWAIT_H
#define WALFS_AWAIT_H

#include "call.h"
#include "inode.h"

/* A RELEASE begins to commit, in the order in which the kernel sent it; and it has committed, or failed. */
void walfs_await_begin(struct walfs_inode *inode);
void walfs_await_end(struct walfs_inode *inode);

/* True where commits are under way that the call has to wait for: it is kept then and runs again in a worker, once. */
bool walfs_await_join(struct walfs_call *call, struct walfs_inode *inode);

#endif
