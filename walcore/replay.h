/* SPDX-License-Identifier: MIT
 *
 * replay: what the journal holds above its checkpoint is put in place when a store is opened. Idempotent: a crash in it is
 * mended by doing it again. Threads: at open, one.
 */
#ifndef WAL_REPLAY_H
#define WAL_REPLAY_H

#include "store.h"

/* Replays from super.checkpoint on; afterwards all of it is in the segments and on disk. */
int wal_store_replay(struct wal_store *store, int journal_fd, uint64_t seed, uint64_t *ret_end, struct wal_err *err);

#endif
