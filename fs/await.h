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

/* The commit of a RELEASE, embedded in the file that is closed. */
struct walfs_closing {
	struct walfs_closing *prev, *next; /* guarded by the lock of the inode */
	uint64_t n;                        /* 0: has not begun, or has ended; it is the so many-th of the stream */
};

/* It begins, in the order in which the kernel sent it, unless it has already; and it is over, or failed, if it had begun. */
void walfs_await_begin(struct walfs_inode *inode, struct walfs_closing *closing);
void walfs_await_end(struct walfs_inode *inode, struct walfs_closing *closing);

/* True where commits are under way that the call has to wait for: it is kept then and runs again in a worker, once. */
bool walfs_await_join(struct walfs_call *call, struct walfs_inode *inode);

#endif
