/* SPDX-License-Identifier: MIT
 *
 * journal: the commit journal of a store, and group commit on it. One preallocated ring file. Entries are
 * gathered in memory; whoever waits first writes and syncs all that is gathered (it leads), while the next
 * group gathers. A position (lsn) counts bytes since the store was made; the ring holds tail..head.
 *
 * Invariant: what is below `durable` is on disk; an entry's segment bytes are in the page cache before the
 * entry is put, so a checkpoint up to `durable` needs only to sync the segments.
 *
 * Threads: any. Its lock comes after the lock of a stream.
 */
#ifndef WAL_JOURNAL_H
#define WAL_JOURNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "entry.h"
#include "io.h"
#include "latency.h"

struct wal_group {    /* what is gathered for one sync */
	uint8_t *mem; /* owned */
	size_t len;
	struct wal_append *reqs, **reqs_end; /* caller's, oldest first */
};

struct wal_journal {
	const struct wal_io *io;
	int fd;
	uint64_t size; /* of the ring */
	uint64_t seed;
	size_t cap;                                           /* of a group's memory */
	void (*complete)(struct wal_append *req, int result); /* for each request, no lock held */
	void (*need_space)(void *arg);                        /* the ring fills: a checkpoint is wanted. No lock held */
	void *arg;

	pthread_mutex_t lock;
	pthread_cond_t cond; /* durable, tail or failed changed; leadership is free */
	pthread_cond_t work; /* for the committer */
	/* guarded by lock */
	uint64_t head, durable, tail;
	uint64_t reserved;
	uint64_t gen; /* of names: each checkpoint begins one */
	struct wal_group group[2];
	int gathering;
	bool leading;
	bool submitted; /* somebody relies on the committer */
	bool stop;
	int failed; /* 0, or the negative errno that stopped it */
	bool committer_runs;
	pthread_t committer;
	uint64_t commits, full;     /* groups; how often room was waited for */
	struct wal_latency latency; /* of its syncs; not guarded */
};

/* position: where the ring begins and ends, after replay. Owns fd. -ENOMEM. */
int wal_journal_init(struct wal_journal *journal, const struct wal_io *io, int fd, uint64_t size, uint64_t position);
void wal_journal_fini(struct wal_journal *journal);

/* The largest payload of an entry. */
uint64_t wal_journal_payload_max(const struct wal_journal *journal);

/* Makes sure that `bytes` of entries can be put. Waits for a checkpoint where needed; nowait: -EAGAIN. -EROFS
 * after a failed sync. Give back what was not used. Not with a stream's lock held. */
int wal_journal_reserve(struct wal_journal *journal, uint64_t bytes, bool nowait);
void wal_journal_unreserve(struct wal_journal *journal, uint64_t bytes);

/* Puts an entry, out of a reservation, and returns the position after it. entry->lsn, len and payload_len are set here.
 * Where *bound is not the current generation, a BIND entry with `name` goes first. req, if any, is completed
 * when the entry is durable. `reserved` is reduced by what was used. */
uint64_t wal_journal_put(struct wal_journal *journal, struct wal_journal_entry *entry, const struct wal_span *payload,
			 size_t n_payload, uint64_t *bound, const char *name, struct wal_append *req,
			 uint64_t *reserved);

/* Returns when everything below lsn is durable: 0, -EIO (this sync failed), -EROFS (an earlier one). Leads
 * where nobody does. */
int wal_journal_wait(struct wal_journal *journal, uint64_t lsn);
/* Starts a commit by the committer thread, for requests that nobody waits for. */
int wal_journal_kick(struct wal_journal *journal);
uint64_t wal_journal_head(struct wal_journal *journal);
int wal_journal_failed(struct wal_journal *journal);
/* No more entries: a checkpoint failed, and what is in the ring must stay. */
void wal_journal_stop(struct wal_journal *journal, int code);

/* Begins a generation and returns the position that a checkpoint may advance to: all below it is durable. */
uint64_t wal_journal_begin_checkpoint(struct wal_journal *journal);
/* All below lsn is in the segments and on disk: its space is free. */
void wal_journal_advance(struct wal_journal *journal, uint64_t lsn);

/* Calls fn for each entry above the tail, which must not move meanwhile. -EBADMSG where the ring cannot be read that far. */
typedef int wal_journal_fn(void *arg, const struct wal_journal_entry *entry, const uint8_t *payload);
int wal_journal_entries(struct wal_journal *journal, wal_journal_fn *fn, void *arg);

/* Calls fn for each valid entry from lsn on, in order. Stops at the first that is not valid; that is the torn tail.
 * Returns 0 with the position behind the last, or what fn or the reading returned. */
int wal_journal_scan(const struct wal_io *io, int fd, uint64_t size, uint64_t seed, uint64_t lsn, wal_journal_fn *fn,
		     void *arg, uint64_t *ret_end);

#endif
