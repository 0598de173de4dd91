/* SPDX-License-Identifier: MIT
 *
 * trim: what leaves at the head, by a call or by retention. The stream's slot says which record is the oldest; a segment
 * that has none left is unlinked by the flush that has put that slot on disk.
 */
#include <errno.h>

#include "banned.h"
#include "bytes.h"
#include "settings.h"
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
		if (seg->loaded)
			live->bytes -= wal_min_u64(live->bytes, seg->size - WAL_HEAD_BYTES);
		gone++;
	}
	memmove(live->segs, live->segs + gone, (live->n - gone) * sizeof(struct wal_segment *));
	live->n -= gone;
	return r < 0 ? r : (int)gone;
}

/* The rest of a trim once first_seq is set. Returns the number of segments that went. */
static int trim_locked(struct wal_stream *stream, uint64_t first)
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
		return r;
	}
	stream->marked_relaxed = true;
	wal_stream_mark_dirty_locked(stream, true);
	return drop_segments_locked(stream);
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
	r = first > stream->live->visible ? -EINVAL : trim_locked(stream, first);
	pthread_mutex_unlock(&stream->lock);
	if (r >= 0 && flags & WAL_TRIM_DURABLE)
		r = wal_stream_flush(stream);
	return r < 0 ? r : 0;
}

/* ---- retention --------------------------------------------------------------------------------------- */

struct limits {
	uint64_t age_ns, bytes, records;
};

static struct limits limits_of(struct wal_stream *stream)
{
	const struct wal_settings *own = &stream->slot.settings;
	struct wal_settings store;
	struct limits limits;

	pthread_mutex_lock(&stream->store->state_lock);
	store = stream->store->super.settings;
	pthread_mutex_unlock(&stream->store->state_lock);
	limits.age_ns = wal_settings_pick(own->retention_age_ns, store.retention_age_ns, WAL_FOREVER);
	limits.bytes = wal_settings_pick(own->retention_bytes, store.retention_bytes, WAL_FOREVER);
	limits.records = wal_settings_pick(own->retention_records, store.retention_records, WAL_FOREVER);
	return limits;
}

/* May the oldest segment go? Its newest record is the one before the next segment begins. */
static bool may_go(struct wal_stream *stream, size_t i, const struct limits *limits, uint64_t newer_bytes, int64_t now)
{
	struct wal_live *live = stream->live;
	uint64_t newer = live->visible - live->segs[i + 1]->id.first;

	if (live->segs[i + 1]->id.first > live->visible)
		return false;
	if (newer >= limits->records || newer_bytes >= limits->bytes)
		return true;
	if (limits->age_ns == WAL_FOREVER)
		return false;
	return now > live->segs[i + 1]->id.time_base &&
	       (uint64_t)(now - live->segs[i + 1]->id.time_base) > limits->age_ns;
}

static int load_identity_locked(struct wal_stream *stream, struct wal_segment *seg)
{
	struct wal_slot slot;
	struct stat st;
	int r;

	if (seg->loaded)
		return 0;
	r = wal_stream_pin_locked(stream, seg);
	if (r < 0)
		return r;
	r = wal_segment_read_head(stream->store->io, seg->fd, &slot);
	if (r >= 0)
		r = stream->store->io->fstat(stream->store->io, seg->fd, &st);
	if (r >= 0) {
		seg->id = slot.id;
		seg->seed = wal_record_seed(stream->id, slot.id.salt);
		seg->size = (uint64_t)st.st_size;
		seg->loaded = true;
	}
	wal_stream_unpin(seg);
	return r < 0 ? r : 0;
}

static int retain_locked(struct wal_stream *stream)
{
	struct wal_live *live = stream->live;
	struct limits limits = limits_of(stream);
	int64_t now = wal_store_now(stream->store);
	uint64_t first = 0, newer_bytes;
	struct wal_segment *last = wal_stream_last(stream);
	int r;

	if (limits.age_ns == WAL_FOREVER && limits.bytes == WAL_FOREVER && limits.records == WAL_FOREVER)
		return 0;
	/* A stream that is written no more: its last segment goes too, once all of it is too old. */
	if (limits.age_ns != WAL_FOREVER && live->pending == 0 && last->id.first < live->next &&
	    now > live->last_time && (uint64_t)(now - live->last_time) > limits.age_ns) {
		r = wal_stream_rotate_locked(stream, NULL);
		if (r < 0)
			return r;
	}
	newer_bytes = live->bytes + wal_stream_last(stream)->size - WAL_HEAD_BYTES;
	for (size_t i = 0; i + 1 < live->n; i++) {
		r = load_identity_locked(stream, live->segs[i]);
		if (r == 0)
			r = load_identity_locked(stream, live->segs[i + 1]);
		if (r < 0)
			break; /* damaged: it stays, and those behind it, until a trim */
		newer_bytes -= wal_min_u64(newer_bytes, live->segs[i]->size - WAL_HEAD_BYTES);
		if (!may_go(stream, i, &limits, newer_bytes, now))
			break;
		first = live->segs[i + 1]->id.first;
	}
	return first ? trim_locked(stream, first) : 0;
}

int wal_retain(struct wal_stream *stream)
{
	int r;

	if (stream->store->rdonly)
		return -EROFS;
	if (stream->store->opts.flags & WAL_OPEN_NO_TRIM)
		return -EPERM;
	r = wal_stream_lock_live(stream, 0);
	if (r < 0)
		return r;
	r = retain_locked(stream);
	pthread_mutex_unlock(&stream->lock);
	return r;
}

void wal_store_retain_all(struct wal_store *store)
{
	struct wal_stream *stream;
	struct wal_keys *keys;
	struct wal_span key;
	uint64_t cookie;

	if (wal_keys_open(store, &keys) < 0)
		return; /* tried again a period later */
	while (wal_keys_next(keys, &key, &cookie) == 1) {
		if (wal_stream_open(store, key, &stream) < 0)
			continue;
		(void)wal_retain(stream); /* as above */
		wal_stream_unref(stream);
	}
	wal_keys_close(keys);
}
