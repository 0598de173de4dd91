/* SPDX-License-Identifier: MIT
 *
 * The bytes of a record that is not committed yet. Invariants: space for them is reserved or written before they are
 * accepted, so that a commit does not fail for want of space; what all of them hold in memory is bounded by the
 * budget.
 *
 * Threads: one at a time per pending; the budget any.
 */
#ifndef WALFS_PENDING_H
#define WALFS_PENDING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <walcore/walcore.h>

#define WALFS_PENDING_MEMORY_MAX ((size_t)1 << 20) /* of one record; a longer one goes to a draft */
#define WALFS_PENDING_BUDGET ((size_t)16 << 20)    /* of all; beyond it a record goes to a draft at once */

struct walfs_budget {
	atomic_size_t used_bytes;
};

struct walfs_pending {
	char *buf; /* owned */
	size_t cap;
	uint64_t len;            /* bytes accepted, wherever they are */
	uint64_t reserved_bytes; /* with wal_reserve */
	struct wal_draft *draft; /* owned; then buf is NULL */
};

/* Adds n bytes; zeros where data is NULL. `header` goes into the draft, should there be one. With WAL_NOWAIT -EAGAIN
 * where the disk is needed, with nothing done. On any other failure what was added before is still there. -EFBIG
 * over the stream's limit; -ENOSPC, -EDQUOT, -EROFS, -EIDRM, -ENOMEM. */
int walfs_pending_add(struct walfs_pending *pending, struct walfs_budget *budget, struct wal_stream *stream,
		      struct wal_span header, const void *data, uint64_t n, uint32_t flags);

/* Fills in the append that commits the bytes. They must stay until it is done. */
void walfs_pending_request(const struct walfs_pending *pending, struct wal_span header, struct wal_entry *entry,
			   struct wal_append *req);

/* The append was done with this result: with success the engine has given back the reservation and consumed the draft,
 * else that is done here. Empties. */
void walfs_pending_done(struct walfs_pending *pending, struct walfs_budget *budget, struct wal_stream *stream,
			int result);

/* Empties, and gives back the space. May wait for the disk where there is a draft. */
void walfs_pending_drop(struct walfs_pending *pending, struct walfs_budget *budget, struct wal_stream *stream);

#endif
