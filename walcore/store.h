/* SPDX-License-Identifier: MIT
 *
 * store: one directory with all its streams: the marker and state, the lock, the table of stream handles, the
 * bound on what is open. 
 *
 * Lock order: names_lock -> birth_lock -> flush_lock -> (entries_lock | stream lock) -> store lock -> journal lock -> leaf locks (state_lock,
 * dirty_lock, live_lock, a stream's board, the troubles'). state_io_lock comes before the store lock. The store's lock, the
 * journal's and the leaf locks are never held across I/O, nor while a stream's is waited for. No lock is held across a callback.
 */
#ifndef WAL_STORE_H
#define WAL_STORE_H

#include <pthread.h>
#include <stdatomic.h>
#include <uthash.h>

#include "head.h"
#include "io.h"
#include "journal.h"
#include "latency.h"
#include "bounds.h"
#include "trouble.h"

struct wal_store {
	/* immutable after open */
	const struct wal_io *io;
	struct wal_opts opts; /* strings in it are not kept */
	int dirfd, state_fd, lock_fd;
	bool rdonly;
	atomic_bool ask_each; /* a syncfs failed: none is trusted any more; not immutable */
	uint32_t live_max;
	uint32_t index_points_kept;
	struct wal_marker marker;
	struct wal_journal journal;

	pthread_mutex_t names_lock; /* create, rename, delete: one at a time */
	pthread_mutex_t aside_lock; /* after all but leaf locks; the files of what is set aside */
	pthread_mutex_t birth_lock; /* after names_lock: a stream is made, or found on disk; never held across a sync */
	pthread_mutex_t flush_lock; /* one flush or checkpoint at a time */

	pthread_mutex_t lock;
	struct wal_stream *streams; /* by key; guarded by lock */
	struct wal_stream *by_id;   /* the same; guarded by lock */
	uint64_t n_streams;         /* guarded by lock */
	uint64_t names_gen;         /* renames and deletions so far; guarded by lock */

	pthread_mutex_t live_lock; /* a leaf, but for trying a stream's lock */
	struct wal_stream *live;   /* a ring of the live ones, clock hand here; guarded by live_lock */
	uint32_t n_live;           /* guarded by live_lock */

	pthread_mutex_t state_io_lock; /* one writer of the marker's slots; may be held across a sync */
	pthread_mutex_t state_lock;
	struct wal_super super;                   /* guarded by state_lock */
	uint64_t next_id;                         /* guarded by state_lock */
	int state_failed;                         /* guarded by state_lock */
	uint64_t draft_next;                      /* guarded by state_lock */
	struct wal_held *held;                    /* streams whose entries are set aside; guarded by state_lock */
	int64_t retain_now_ns, retain_elapsed_ns; /* retention.c's, guarded by state_lock */

	pthread_mutex_t dirty_lock;
	struct wal_stream *dirty;    /* list; guarded by dirty_lock */
	struct wal_stream *unsynced; /* to be set aside; guarded by dirty_lock */
	uint32_t n_dirty;            /* guarded by dirty_lock */
	bool checkpoint_wanted, retain_wanted, keeper_stop, keeper_runs, relaxed_waits; /* guarded by dirty_lock */
	bool naming; /* a name changes, and its entry is or will be in the journal; guarded by dirty_lock */
	pthread_cond_t keeper_cond;
	uint64_t named; /* such changes so far; guarded by dirty_lock */
	pthread_cond_t named_cond;
	pthread_t keeper;

	struct wal_troubles troubles;
	pthread_mutex_t entries_lock; /* after the flush lock; one sync of the store's directory at a time */
	atomic_bool entries_dirty;    /* names in the store's directory changed since its last sync */
	atomic_bool entries_failed;   /* that sync failed: the journal must keep what it has */
	atomic_int open_files;
	atomic_uint_fast64_t appends, append_bytes, reserved;
	struct wal_latency sync_latency, checkpoint_latency, recovery_latency; /* but for the journal's syncs */
	atomic_uint_fast64_t trimmed, retained, removed_segments;              /* records; records; files */
	atomic_uint_fast64_t waits;                                            /* that are not done */
	atomic_uint_fast64_t space_avail; /* as seen at space_ns, when append_bytes was space_bytes */
	atomic_uint_fast64_t space_bytes;
	atomic_int_fast64_t space_ns;
};

int64_t wal_store_now(const struct wal_store *store);
/* The time that retention believes it to be: never more ahead than time has passed. In retention.c. */
int64_t wal_store_retention_now(struct wal_store *store);
/* A trace line; nothing without a tracer. */
void wal_store_trace(const struct wal_store *store, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Notes a trouble and traces it. */
void wal_store_note(struct wal_store *store, const char *key, const char *file, uint64_t off, uint64_t seq, uint64_t n,
		    int code, const char *reason);

/* The next stream id, reserved on disk. -ENOSPC when all were used. */
int wal_store_next_id(struct wal_store *store, uint64_t *ret_id);
/* Writes the marker's next slot, as changed by `change`, durably. */
int wal_store_write_state(struct wal_store *store, void (*change)(struct wal_super *super, void *arg), void *arg);

#endif
