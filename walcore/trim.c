/* SPDX-License-Identifier: MIT
 *
 * trim: what leaves at the head. The stream's slot says which record is the oldest; a segment that has none left is
 * unlinked by the flush that has put that slot on disk.
 */
#include <errno.h>

#include "banned.h"
#include "bytes.h"
#include "stream.h"

/* Takes whole segments below first_seq out of use. An open record keeps its segment's descriptor. */
static int drop_segments_locked(struct wal_stream *stream)
{
	struct wal_live *live = stream->live;
	size_t gone = 0;
	int r = 0;

	while (gone + 1 < live->n && live->segs[gone + 1]->id.first <= stream->slot.first_seq) {
		struct wal_segment *seg = live->segs[gone];

		if (atomic_load(&seg->refs) > 1 && wal_stream_pin_locked(stream, seg) == 0)
			wal_stream_unpin(seg);
		r = wal_stream_remove_segment_locked(stream, seg);
		if (r < 0)
			break;
		seg->removed = true;
		live->bytes -= wal_min_u64(live->bytes, seg->size - wal_min_u64(seg->size, WAL_HEAD_BYTES));
		gone++;
	}
	atomic_fetch_add_explicit(&stream->store->removed_segments, gone, memory_order_relaxed);
	memmove(live->segs, live->segs + gone, (live->n - gone) * sizeof(struct wal_segment *));
	live->n -= gone;
	return r < 0 ? r : (int)gone;
}

int wal_stream_trim_locked(struct wal_stream *stream, uint64_t first)
{
	struct wal_live *live = stream->live;
	struct wal_segment *last = wal_stream_last(stream);
	uint64_t old = stream->slot.first_seq;
	int r;

	if (first <= old)
		return 0;
	stream->slot.first_seq = first;
	/* All is trimmed: a new segment, so that this one can go. Where there is no space for it, it stays. */
	if (first == live->next && live->pending == 0 && last->size > WAL_HEAD_BYTES + WAL_INDEX_STEP)
		(void)wal_stream_rotate_locked(stream, NULL);
	r = wal_stream_write_slot_locked(stream);
	if (r < 0) {
		stream->slot.first_seq = old;
		wal_stream_publish_locked(stream);
		return r;
	}
	stream->marked_relaxed = true;
	wal_stream_mark_dirty_locked(stream, true);
	atomic_fetch_add_explicit(&stream->store->trimmed, first - old, memory_order_relaxed);
	r = drop_segments_locked(stream);
	wal_stream_publish_locked(stream);
	return r;
}

int wal_trim(struct wal_stream *stream, uint64_t first, uint32_t flags)
{
	int r;

	if (stream->store->rdonly)
		return -EROFS;
	if (stream->store->opts.flags & WAL_OPEN_NO_TRIM)
		return -EPERM;
	r = wal_stream_lock_live(stream, 0);
	if (r < 0)
		return r;
	if (stream->unsynced) /* it may have more records than can be seen: they are set aside */
		r = -EROFS;
	else
		r = first > stream->live->visible ? -EINVAL : wal_stream_trim_locked(stream, first);
	pthread_mutex_unlock(&stream->lock);
	if (r >= 0 && flags & WAL_TRIM_DURABLE)
		r = wal_stream_flush(stream);
	return r < 0 ? r : 0;
}
