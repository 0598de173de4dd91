/* SPDX-License-Identifier: MIT
 *
 * space: reservations, and the store's figures. While there is much free space, a reservation is arithmetic over a figure that
 * is at most a tenth of a second old. Near the end it takes real blocks behind the stream's last record, so that the append
 * that follows cannot fail for want of them.
 */
#include <errno.h>

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
		*ret_avail = atomic_load(&store->space_avail);
		return 0;
	}
	r = store->io->fstatvfs(store->io, store->dirfd, &st);
	if (r < 0)
		return r;
	*ret_avail = (uint64_t)st.f_bavail * st.f_frsize;
	atomic_store(&store->space_avail, *ret_avail);
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

/* Takes blocks for all that is reserved in the stream, and some for frames. */
static int take_blocks(struct wal_stream *stream, uint64_t bytes, uint32_t flags)
{
	struct wal_segment *last;
	uint64_t want;
	int r;

	r = wal_stream_lock_live(stream, flags);
	if (r < 0)
		return r;
	last = wal_stream_last(stream);
	r = wal_stream_pin_locked(stream, last);
	if (r == 0) {
		want = reserved_of(stream) + bytes + 2 * (WAL_FRAME_BYTES + WAL_HEADER_MAX);
		r = stream->store->io->fallocate(stream->store->io, last->fd, last->size, want);
		if (r == -EOPNOTSUPP)
			r = 0; /* a file system without it: the append itself will tell */
		wal_stream_unpin(last);
	}
	pthread_mutex_unlock(&stream->lock);
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
	if (r > 0) {
		if (flags & WAL_NOWAIT)
			return -EAGAIN;
		r = take_blocks(stream, bytes, flags);
		if (r < 0)
			return r;
	}
	atomic_fetch_add(&store->reserved, bytes); /* first, so that no release takes off what was not added */
	pthread_mutex_lock(&stream->board.lock);
	stream->board.reserved += bytes;
	pthread_mutex_unlock(&stream->board.lock);
	return 0;
}

void wal_release(struct wal_stream *stream, uint64_t bytes)
{
	pthread_mutex_lock(&stream->board.lock);
	bytes = wal_min_u64(bytes, stream->board.reserved);
	stream->board.reserved -= bytes;
	pthread_mutex_unlock(&stream->board.lock);
	atomic_fetch_sub(&stream->store->reserved, bytes);
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
