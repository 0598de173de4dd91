/* SPDX-License-Identifier: MIT
 *
 * follow, N.follow, new.follow: the contents of the records, and then those to come. Invariants: a read that has nothing to
 * give is kept, without a thread, and is answered when a record comes, when its reader is interrupted, when the stream is
 * removed or when the mount ends; of one open file each byte is read once, whoever reads.
 *
 * Threads: any.
 */
#ifndef WALFS_FOLLOW_H
#define WALFS_FOLLOW_H

#include "call.h"

/* What stat(2) says: more than will ever come, so that nobody stops early; no more, so that sums of it do not overflow. */
#define WALFS_FOLLOW_SIZE ((uint64_t)1 << 62)

/* What a read that waits takes of its user's WALFS_HELD: our part and libfuse's. */
#define WALFS_FOLLOW_READ_BYTES 512

/* A handler for OPEN. */
int walfs_follow_open(struct walfs_call *call);

#endif
