/* SPDX-License-Identifier: MIT
 *
 * From engine errors to the errno that a user sees. Invariant: no other file does this.
 *
 * Threads: any.
 */
#ifndef WALFS_REPLY_H
#define WALFS_REPLY_H

#include "kernel.h"

/* What the failed call was about; some errors of the engine mean different things to a user. */
enum walfs_sense {
	WALFS_READING = 0, /* finding, opening, reading: what is gone does not exist */
	WALFS_WRITING,     /* content: what is gone is stale, what is too long is too big a file */
	WALFS_PACKET,      /* a write that is a record of its own: what is too long is too long a message */
	WALFS_HEADING,     /* a header */
	WALFS_NAMING,      /* making and renaming streams */
};

/* The positive errno for a negative error of walcore or of fs. */
int walfs_errno(int err, enum walfs_sense sense);

/* Replies with that errno. The request is gone afterwards. */
void walfs_reply_err(fuse_req_t req, int err, enum walfs_sense sense);

#endif
