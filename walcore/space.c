/* SPDX-License-Identifier: MIT
 *
 * space: reservations, and the store's figures. While there is much free space, a reservation is arithmetic over a figure that
 * is at most a tenth of a second old. Near the end it takes real blocks behind the stream's last record, so that the append
 * that follows cannot fail for want of them.
 *
 * Invariant: while stream->taken is set, the last segment has blocks behind its end for all that is reserved in the stream.
 * What would take them away (a failed append that is cut off, another segment, an append that reserved nothing)
 * takes new ones first or right after. Blocks that nobody has reserved any more stay until they are used, or until
 * there is no space: then they are given back, and what was trimmed or deleted is waited for.
 */
#include <errno.h>
#include <stdlib.h>

#include "banned.h"
#include "bytes.h"
#include "stream.h"

static int refresh(struct wal_store *store, uint64_t *ret_avail)
{
	struct statvfs st;
	int64_t now = wal_store_now(store);
	int r;

	if (now - atomic_load(&store->space_ns) < WAL_SPACE_AGE_NS && now >= atomic_load(&store->space_ns) &&
	    atomic_load(&store->space_avail) > 2 * WAL_SPACE_LOW) {
		/* Less what was appended since; frames count as much as contents, which is more than they are as a rule. */
		uint64_t used = 2 * (atomic_load(&store->append_bytes) - atomic_load(&store->space_bytes));

		*ret_avail = atomic_load(&store->space_avail);
		*ret_avail -= wal_min_u64(used, *ret_avail);
		return 0;
	}
	r = store->io->fstatvfs(store->io, store->dirfd, &st);
	if (r < 0)
		return r;
	*ret_avail = (uint64_t)st.f_bavail * st.f_frsize;
	atomic_store(&store->space_avail, *ret_avail);
	atomic_store(&store->space_bytes, atomic_load(&store->append_bytes));
	atomic_store(&store->space_ns, now);
	return 0;
}

int wal_space_is_low(struct wal_store *store, uint64_t bytes)
{
	uint64_t avail = 0;
	int r = refresh(store, &avail);

	return r < 0 ? r : avail < atomic_load(&store->reserved) + bytes + WAL_SPACE_LOW;
}

static uint64_t reserved_of(struct wal_stream *stream)
{
	uint64_t reserved;

	pthread_mutex_lock(&stream->board.lock);
	reserved = stream->board.reserved;
	pthread_mutex_unlock(&stream->board.lock);
	return reserved;
}

static void add_reserved(struct wal_stream *stream, uint64_t bytes)
{
	pthread_mutex_lock(&stream->board.lock);
	stream->board.reserved += bytes;
	atomic_fetch_add(&stream->store->reserved, bytes);
	pthread_mutex_unlock(&stream->board.lock);
}

int wal_space_take_locked(struct wal_stream *stream, uint64_t bytes)
{
	struct wal_segment *last = wal_stream_last(stream);
	uint64_t want = reserved_of(stream) + bytes + 2 * (WAL_FRAME_BYTES + WAL_HEADER_MAX); /* some for frames */
	struct statvfs st;
	int r = stream->store->io->fstatvfs(stream->store->io, stream->store->dirfd, &st);

	/* A call that asks for more than there is takes all there is before it fails, and everybody else meanwhile has none. */
	if (r == 0 && bytes > (uint64_t)st.f_bfree * st.f_frsize)
		r = -ENOSPC;
	if (r == 0)
		r = wal_stream_pin_locked(stream, last);
	if (r < 0)
		return r;
	r = stream->store->io->fallocate(stream->store->io, last->fd, last->size, want);
	wal_stream_unpin(last);
	if (r == 0)
		atomic_store(&stream->taken, true);
	return r == -EOPNOTSUPP ? 0 : r; /* a file system without it: the append itself will tell */
}

/* Cuts off what is behind the end of a segment. */
static void give_back_locked(struct wal_stream *stream, struct wal_segment *seg)
{
	const struct wal_io *io = stream->store->io;

	if (wal_stream_pin_locked(stream, seg) < 0)
		return;
	(void)io->ftruncate(io, seg->fd, seg->size); /* the length that it has: no byte of it goes */
	wal_stream_unpin(seg);
}

void wal_space_move_locked(struct wal_stream *stream, struct wal_segment *old)
{
	if (!atomic_exchange(&stream->taken, false))
		return;
	if (old)
		give_back_locked(stream, old);
	if (reserved_of(stream) > 0)
		(void)wal_space_take_locked(stream, 0); /* where that fails, the append will tell */
}

int wal_space_spare_locked(struct wal_stream *stream, const struct wal_append *req, uint64_t len)
{
	uint64_t own = req->flags & WAL_APPEND_RESERVED ? req->reserved_bytes : 0;

	if (!atomic_load(&stream->taken) || reserved_of(stream) <= own || len <= own + WAL_HEADER_MAX)
		return 0;
	return wal_space_take_locked(stream, len - own);
}

/* Blocks that others took and nobody needs any more. */
static void give_back_others(struct wal_store *store)
{
	struct wal_stream **streams, *stream;
	uint32_t n = 0;

	pthread_mutex_lock(&store->live_lock);
	streams = malloc((store->n_live + 1) * sizeof(struct wal_stream *));
	for (uint32_t i = 0; streams && i < store->n_live; i++) {
		stream = store->live;
		store->live = stream->ring_next;
		if (atomic_load(&stream->taken))
			streams[n++] = wal_stream_ref(stream);
	}
	pthread_mutex_unlock(&store->live_lock);
	for (uint32_t i = 0; i < n; i++) {
		stream = streams[i];
		pthread_mutex_lock(&stream->lock);
		if (stream->live && reserved_of(stream) == 0 && !stream->deleted &&
		    atomic_exchange(&stream->taken, false))
			give_back_locked(stream, wal_stream_last(stream));
		pthread_mutex_unlock(&stream->lock);
		wal_stream_unref(stream);
	}
	free(streams);
}

/* Where there is no space: once more, when all has come back that can. */
static int reserve_blocks(struct wal_stream *stream, uint64_t bytes, uint32_t flags)
{
	struct wal_store *store = stream->store;
	int r = -ENOSPC;

	for (int i = 0; i < 2 && (r == -ENOSPC || r == -EDQUOT); i++) {
		if (i > 0) { /* what was trimmed goes with a flush; one that is under way may hold what was deleted */
			(void)wal_store_flush(store, false);
			give_back_others(store);
		}
		r = wal_stream_lock_live(stream, flags);
		if (r < 0)
			return r;
		r = wal_space_take_locked(stream, bytes);
		if (r == 0) /* with the lock held, so that another who reserves takes blocks for these too */
			add_reserved(stream, bytes);
		pthread_mutex_unlock(&stream->lock);
	}
	return r;
}

int wal_reserve(struct wal_stream *stream, uint64_t bytes, uint32_t flags)
{
	struct wal_store *store = stream->store;
	int r;

	r = wal_append_check(stream);
	if (r == 0)
		r = wal_space_is_low(store, bytes);
	if (r < 0)
		return r;
	if (r > 0)
		return flags & WAL_NOWAIT ? -EAGAIN : reserve_blocks(stream, bytes, flags);
	add_reserved(stream, bytes);
	return 0;
}

void wal_release(struct wal_stream *stream, uint64_t bytes)
{
	pthread_mutex_lock(&stream->board.lock);
	bytes = wal_min_u64(bytes, stream->board.reserved);
	stream->board.reserved -= bytes;
	atomic_fetch_sub(&stream->store->reserved, bytes);
	pthread_mutex_unlock(&stream->board.lock);
}

int wal_store_space(struct wal_store *store, struct wal_space *ret_space)
{
	struct statvfs st;
	int r = store->io->fstatvfs(store->io, store->dirfd, &st);

	if (r < 0)
		return r;
	*ret_space = (struct wal_space){ .total = (uint64_t)st.f_blocks * st.f_frsize,
					 .free = (uint64_t)st.f_bfree * st.f_frsize,
					 .avail = (uint64_t)st.f_bavail * st.f_frsize,
					 .files = st.f_files,
					 .files_free = st.f_ffree,
					 .block = (uint32_t)st.f_frsize };
	return 0;
}

int wal_store_troubles(struct wal_store *store, wal_trouble_fn *fn, void *arg)
{
	wal_troubles_tell(&store->troubles, fn, arg);
	return 0;
}

int wal_store_stat(struct wal_store *store, struct wal_store_stat *ret_stat)
{
	struct wal_store_stat stat = { .read_only = store->rdonly };

	pthread_mutex_lock(&store->lock);
	stat.handles = store->n_streams;
	pthread_mutex_unlock(&store->lock);
	pthread_mutex_lock(&store->live_lock);
	stat.streams_live = store->n_live;
	pthread_mutex_unlock(&store->live_lock);
	stat.open_files = (uint64_t)atomic_load(&store->open_files);
	stat.appends = atomic_load(&store->appends);
	stat.append_bytes = atomic_load(&store->append_bytes);
	stat.syncs = wal_latency_get(&store->sync_latency, &stat.sync_time);
	stat.checkpoints = wal_latency_get(&store->checkpoint_latency, &stat.checkpoint_time);
	stat.recoveries = wal_latency_get(&store->recovery_latency, &stat.recovery_time);
	stat.errors = wal_troubles_met(&store->troubles, &stat.damaged);
	stat.waits = atomic_load(&store->waits);
	stat.retained = atomic_load(&store->retained);
	stat.trimmed = wal_max_u64(atomic_load(&store->trimmed), stat.retained) - stat.retained;
	stat.removed_segments = atomic_load(&store->removed_segments);
	stat.degraded = stat.errors > 0;
	stat.journal_bytes = store->marker.journal_bytes;
	if (!store->rdonly) {
		pthread_mutex_lock(&store->journal.lock);
		stat.commits = store->journal.commits;
		stat.journal_full = store->journal.full;
		stat.journal_used = store->journal.head - store->journal.tail;
		stat.degraded |= store->journal.failed != 0;
		pthread_mutex_unlock(&store->journal.lock);
		stat.syncs += wal_latency_get(&store->journal.latency, &stat.commit_time);
	}
	*ret_stat = stat;
	return 0;
}
