/* SPDX-License-Identifier: MIT
 *
 * stream: one key: its identity and state, and while it is in use (live) its segments and numbers. A handle is
 * light and counted; the live part is made by recovery at first use, and given up when many are live.
 *
 * Invariants: next >= visible >= first_seq; records below `visible` can be read; records visible..next-1 wait for the
 * journal (`pending` of them). The last segment is the one that is appended to and whose slot is the state.
 *
 * Threads: fields are guarded by the stream's lock unless they say otherwise.
 */
#ifndef WAL_STREAM_H
#define WAL_STREAM_H

#include "image.h"
#include "segment.h"
#include "store.h"

struct wal_live {
	struct wal_segment **segs; /* oldest first; at least one */
	size_t n, cap;
	uint64_t next, visible;
	uint64_t pos_next, pos_visible; /* positions of these two */
	int64_t last_time;              /* commit time of the newest record */
	uint64_t pending;
	uint64_t bytes; /* of all segments but the last */
	uint64_t damaged;
};

/* What retention leaves; WAL_FOREVER: no limit. */
struct wal_limits {
	uint64_t age_ns, bytes, records;
};

/* What can be asked for, and waited for, without the stream's lock, which may be held across I/O. Whoever changes what stands
 * here writes it anew before he gives the stream's lock back. */
struct wal_board {
	pthread_mutex_t lock; /* a leaf */
	/* guarded by it */
	struct wal_stat
		stat; /* but for damaged_reads and n_waits; recovered: it was once, and nothing has changed since */
	struct wal_settings settings;
	uint64_t damaged_reads;
	struct wal_wait *waits;
	uint64_t n_waits;
	uint64_t reserved;
};

struct wal_stream {
	struct wal_store *store;
	atomic_uint refs;
	/* guarded by the store's lock */
	UT_hash_handle hh, hh_id;
	bool in_table; /* by id */
	char key[WAL_KEY_MAX + 1];
	size_t key_len;
	/* guarded by the store's live_lock */
	struct wal_stream *ring_next, *ring_prev; /* of live ones; NULL: not in it */

	pthread_mutex_t lock;
	pthread_cond_t cond;         /* flushing or batching ended */
	char name[WAL_NAME_MAX + 1]; /* changed with the board's lock, too */
	uint64_t id;                 /* immutable */
	struct wal_slot slot;
	int64_t file_time; /* of the newest segment file, seen at open */
	struct wal_live *live;
	struct wal_segment **removed; /* trimmed away; unlinked once the slot that says so is on disk */
	size_t n_removed;
	uint64_t bound;   /* generation in which the journal knows the name */
	atomic_uint pins; /* open records, iterators, drafts */
	atomic_bool used; /* for the clock */
	atomic_bool
		taken; /* blocks for what is reserved are behind the end of the last segment; changed with the lock held */
	struct wal_limits limits; /* effective */
	bool durable;             /* effective */
	atomic_bool deleted;      /* set with the lock held */
	bool flushing;
	bool batching; /* a large batch is being synced: nobody else appends */
	bool unsynced; /* a sync of it failed, or its entries are aside: nothing of it is synced or changed any more */
	bool slot_dirty;
	bool marked_relaxed; /* told the dirty list that it is relaxed */
	int stopped;         /* 0, or why */

	struct wal_board board;

	/* guarded by the store's dirty_lock */
	struct wal_stream *dirty_next, *unsynced_next;
	bool on_dirty, relaxed_dirty;
};

/* Gives a reference back, and counts the descriptor that may be closed by it. */
static inline void wal_store_put_segment(struct wal_store *store, struct wal_segment *seg)
{
	if (wal_segment_unref(seg, store->io))
		atomic_fetch_sub(&store->open_files, 1);
}

/* stream.c */
/* Locks a stream that is live, recovering it where needed. -EIDRM, -EAGAIN (flags: WAL_NOWAIT), or the error of
 * the recovery; nothing is locked then. */
int wal_stream_lock_live(struct wal_stream *stream, uint32_t flags);
/* Locks it as it is. With WAL_NOWAIT -EAGAIN where somebody has had it for a while. */
int wal_stream_lock(struct wal_stream *stream, uint32_t flags);
struct wal_segment *wal_stream_last(const struct wal_stream *stream);
/* Opens the segment's descriptor where needed and keeps it open until unpinned. */
int wal_stream_pin_locked(struct wal_stream *stream, struct wal_segment *seg);
void wal_stream_unpin(struct wal_segment *seg);
/* Takes a segment out of use, to be unlinked at the next flush. Its reference is taken over. */
int wal_stream_remove_segment_locked(struct wal_stream *stream, struct wal_segment *seg);
int wal_live_add(struct wal_live *live, struct wal_segment *seg);
void wal_stream_path(const struct wal_stream *stream, uint64_t first, const char *suffix, char *path, size_t size);
#define WAL_PATH_MAX (WAL_NAME_MAX + WAL_SEGMENT_NAME_LEN + 2)
/* Puts the last segment's beginning into the journal, where it is not there and not on disk. */
void wal_stream_journal_segment_locked(struct wal_stream *stream, uint64_t *reserved);
/* Makes the segment of the next number the last one. */
int wal_stream_rotate_locked(struct wal_stream *stream, uint64_t *reserved);
/* Writes the slot to the last segment (page cache). */
int wal_stream_write_slot_locked(struct wal_stream *stream);
/* Puts it on the store's list of those to be flushed. Before the entry goes to the journal: a checkpoint that passes the entry
 * must find the stream there. */
void wal_stream_mark_dirty_locked(struct wal_stream *stream, bool relaxed);
/* board.c */
/* Writes the board anew. */
void wal_stream_publish_locked(struct wal_stream *stream);
/* As that, there being new records. Takes the waits that have what they wait for, to be told once the lock is given back. */
struct wal_wait *wal_stream_publish_records_locked(struct wal_stream *stream);
/* Takes all waits of a deleted stream. */
struct wal_wait *wal_stream_take_waits(struct wal_stream *stream);
void wal_stream_tell_waits(struct wal_wait *waits, int result);
void wal_stream_stop_locked(struct wal_stream *stream, int code, const char *reason);
void wal_live_free(struct wal_live *live, struct wal_store *store);
/* Into and out of the ring of live ones; leaving frees the live part. No lock held (joining: the stream's may be). */
void wal_stream_join_ring(struct wal_stream *stream);
void wal_stream_leave_ring(struct wal_stream *stream);
/* Gives up live parts until there is room for another. No lock held. */
void wal_store_make_room(struct wal_store *store);
/* Closes what can be closed of a stream's descriptors; all but `keep`. */
void wal_stream_close_files_locked(struct wal_stream *stream, const struct wal_segment *keep);
void wal_stream_apply_settings_locked(struct wal_stream *stream);

/* Saves a complete index of a segment that ends before number `next`. */
void wal_stream_save_index_locked(struct wal_stream *stream, struct wal_segment *seg, uint64_t next);
/* A segment gets no more records: its bytes are counted, its index saved. It is not in `live` yet as the last one. */
void wal_stream_seal_locked(struct wal_stream *stream, struct wal_segment *seg);

/* load.c */
/* How many segments begin at or before a number: it is in the last of them, or nowhere. */
size_t wal_live_count(const struct wal_live *live, uint64_t seq);
/* Reads a head. -EBADMSG where it cannot be read, which is remembered. */
int wal_stream_load_head_locked(struct wal_stream *stream, struct wal_segment *seg);
/* Reads what recovery did not read of a pinned segment: its identity, size and index. */
int wal_stream_load_segment_locked(struct wal_stream *stream, struct wal_segment *seg);
/* The index led to damage, or (wrong) to what is no damage and yet does not fit: it is made anew from the records where they
 * know better. Once it was, there is nothing more to be done. The segment is pinned and counted; no lock held. */
int wal_stream_prove_index(struct wal_stream *stream, struct wal_segment *seg, bool wrong);
/* Where indexes of too many sealed segments are in memory, those go that can be read again, but for that of `keep`. */
void wal_stream_drop_indexes_locked(struct wal_stream *stream, const struct wal_segment *keep);
/* Makes sure that the position of segment i is known. -EAGAIN with WAL_NOWAIT where something must be read for it. */
int wal_stream_load_pos_locked(struct wal_stream *stream, size_t i, uint32_t flags);

/* read.c */
/* Something in a pinned segment could not be read. Nothing is noted but for damage and failed reads. */
void wal_stream_note_damage(struct wal_stream *stream, const struct wal_segment *seg, uint64_t off, uint64_t seq,
			    int code);

/* lost.c */
/* Of a directory without a head: does it have more than an unfinished creation leaves? 1, 0, or an error. */
int wal_stream_has_bytes(const struct wal_stream *stream);
/* Keeps its files in .walfs/lost, and makes it anew, empty. */
int wal_stream_put_away(struct wal_stream *stream);

/* trim.c */
/* Makes `first` the oldest record. Returns the number of segments that went. */
int wal_stream_trim_locked(struct wal_stream *stream, uint64_t first);

/* retention.c */
struct wal_limits wal_limits_pick(const struct wal_settings *own, const struct wal_settings *store);
/* Does the last segment hold a tenth of what retention leaves? */
bool wal_stream_has_share_locked(const struct wal_stream *stream, int64_t now);
/* Applies retention now. Returns the number of segments that went. */
int wal_stream_retain_locked(struct wal_stream *stream);

/* recovery.c */
/* Makes stream->live. The lock is held. */
int wal_stream_recover_locked(struct wal_stream *stream);

/* flush.c */
/* Syncs what is unsynced of a stream, and marks it so. No lock held. */
int wal_stream_flush(struct wal_stream *stream);
/* After a recovery: what may be in the page cache alone is synced. Stops the stream where that fails. */
int wal_stream_sync_found_locked(struct wal_stream *stream);
/* Returns when the store's directory is on disk as it was at the call: a sync that is under way is waited for. */
int wal_store_sync_entries(struct wal_store *store);
/* Flushes the dirty ones: all, or those that are relaxed; then moves the journal's tail where all were. */
int wal_store_flush(struct wal_store *store, bool all);
/* Before the entry of a rename or a deletion is put, and after the change: in between no checkpoint passes the entry. One at a
 * time, with names_lock held; what flushes must not be waited for. */
void wal_store_name_begin(struct wal_store *store);
void wal_store_name_end(struct wal_store *store);
int wal_store_start_keeper(struct wal_store *store);
void wal_store_stop_keeper(struct wal_store *store);
void wal_store_want_checkpoint(void *store);
/* Retention shall be applied to all streams soon. */
void wal_store_want_retention(struct wal_store *store);

/* append.c */
void wal_append_complete(struct wal_append *req, int result);
/* Are blocks to be taken for `bytes` more, because the disk is nearly full? 1 or 0, or an error. */
int wal_space_is_low(struct wal_store *store, uint64_t bytes);
/* space.c: takes blocks behind the last record for all that is reserved and for `bytes` more. */
int wal_space_take_locked(struct wal_stream *stream, uint64_t bytes);
/* The last segment is another one now, or has been cut: what was taken is taken there. old: the one before, or NULL. */
void wal_space_move_locked(struct wal_stream *stream, struct wal_segment *old);
/* Before `len` bytes of a request are written: leaves others what was taken for them. -ENOSPC, -EDQUOT. */
int wal_space_spare_locked(struct wal_stream *stream, const struct wal_append *req, uint64_t len);
/* May a record of this content length be appended now? Checks all but the sizes. */
int wal_append_allowed_locked(const struct wal_stream *stream, const struct wal_append *req);
/* Writes the records at the end of the last segment, or of a new one, with the next numbers. reserved: the journal's, where
 * their commit goes there; else NULL. */
int wal_append_write_locked(struct wal_stream *stream, struct wal_append *req, struct wal_image *image,
			    uint64_t *reserved);
/* Makes req visible, or hands it to the journal; then unlocks and tells who waits. Returns as wal_append_submit. */
int wal_append_finish(struct wal_stream *stream, struct wal_append *req, bool durable);
bool wal_append_journaled_locked(const struct wal_stream *stream);
/* Space of the entries that can go before an append's own. */
#define WAL_JOURNAL_EXTRA (4 * (WAL_ENTRY_BYTES + WAL_SECTOR + WAL_NAME_MAX + WAL_ENTRY_ALIGN))

/* What the library keeps in a request's priv. */
enum {
	WAL_PRIV_BLOCKING,
	WAL_PRIV_SEM,
	WAL_PRIV_RESULT,
	WAL_PRIV_LSN,
	WAL_PRIV_BYTES,
	WAL_PRIV_OWN_DRAFT,
	WAL_PRIV_POS
};

/* batch.c */
/* wal_stream_lock_live for those who append: waits for a large batch that is under way, too. */
int wal_append_lock(struct wal_stream *stream, uint32_t flags);
/* A batch too large for the journal. Returns as wal_append_submit, but never 1. Waits for the disk. */
int wal_batch_append(struct wal_stream *stream, struct wal_append *req, struct wal_image *image);

/* draft.c */
/* The draft has become a record. */
void wal_draft_consume(struct wal_draft *draft);
int wal_draft_commit(struct wal_stream *stream, struct wal_append *req);
/* A record too large for the journal, through a draft of our own. */
int wal_draft_append(struct wal_stream *stream, struct wal_append *req);

/* Enough for one journal entry with a slot and a name, and what may go before it. */
#define WAL_STATE_RESERVE (WAL_ENTRY_BYTES + WAL_SECTOR + WAL_NAME_MAX + WAL_ENTRY_ALIGN + WAL_JOURNAL_EXTRA)

/* state.c */
/* Reads the state of the stream whose directory is stream->name. -ENOENT: none; -ENODATA: an unfinished creation. */
int wal_stream_load_state(struct wal_stream *stream);
int wal_stream_change_slot(struct wal_stream *stream, const struct wal_attr *attr, const struct wal_settings *settings);
int wal_store_note_retention(struct wal_store *store, uint64_t age_ns);

/* read.c */
/* Something in a pinned segment could not be read. Nothing is noted but for damage and failed reads. */
void wal_stream_note_damage(struct wal_stream *stream, const struct wal_segment *seg, uint64_t off, uint64_t seq,
			    int code);

/* trim.c */
void wal_store_retain_all(struct wal_store *store);

#endif
