/* SPDX-License-Identifier: MIT
 *
 * The bytes of a record that is not committed yet. Invariants: space for them is reserved or written before they are
 * accepted, so that a commit does not fail for want of space; all of it is taken from the user who opened the file
 * (user.h), and what is in memory is bounded thereby.
 *
 * Threads: one at a time per pending.
 */
#ifndef WALFS_PENDING_H
#define WALFS_PENDING_H

#include "user.h"

#include <stdbool.h>
#include <walcore/walcore.h>

#define WALFS_PENDING_MEMORY_MAX ((size_t)1 << 20) /* of one record; a longer one goes to a draft */

struct walfs_pending {
	struct walfs_user *user; /* borrowed until the file is closed */
	char *buf;               /* owned */
	size_t cap;
	uint64_t len;            /* bytes accepted, wherever they are */
	uint64_t reserved_bytes; /* with wal_reserve */
	struct wal_draft *draft; /* owned; then buf is NULL */
};

void walfs_pending_init(struct walfs_pending *pending, struct walfs_user *user);

/* Adds n bytes; zeros where data is NULL. `header` goes into the draft, should there be one. With WAL_NOWAIT -EAGAIN
 * where the disk is needed, with nothing done. On any other failure what was added before is still there. -EFBIG
 * over the stream's limit; -EDQUOT over the user's, or the disk's; -ENOSPC, -EROFS, -EIDRM, -ENOMEM. */
int walfs_pending_add(struct walfs_pending *pending, struct wal_stream *stream, struct wal_span header,
		      const void *data, uint64_t n, uint32_t flags);

/* Space for what is not added yet, or not to the content, but will be in the record. Reserve: as walfs_pending_add.
 * Unreserve: no more than was reserved since the last draft began. */
int walfs_pending_reserve(struct walfs_pending *pending, struct wal_stream *stream, uint64_t n, uint32_t flags);
void walfs_pending_unreserve(struct walfs_pending *pending, struct wal_stream *stream, uint64_t n);

/* Takes back what was added beyond `len`, of bytes that are in memory. */
void walfs_pending_cut(struct walfs_pending *pending, struct wal_stream *stream, uint64_t len);

/* Fills in the append that commits the bytes. They must stay until it is done. */
void walfs_pending_request(const struct walfs_pending *pending, struct wal_span header, struct wal_entry *entry,
			   struct wal_append *req);

/* The append was done with this result: with success the engine has given back the reservation and consumed the draft,
 * else that is done here. Empties. */
void walfs_pending_done(struct walfs_pending *pending, struct wal_stream *stream, int result);

/* Empties, and gives back the space. May wait for the disk where there is a draft. */
void walfs_pending_drop(struct walfs_pending *pending, struct wal_stream *stream);

#endif
