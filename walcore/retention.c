/* SPDX-License-Identifier: MIT
 *
 * retention: records leave by whole segments, once newer ones alone fill what was asked for, or once the newest of the
 * segment is too old. A segment is closed when it holds a tenth of what is kept, so that at most so much too much stays.
 *
 * Limits of bytes and records are applied whenever a segment is closed, since only an append can exceed them; that of age by
 * the keeper, every tenth of it.
 *
 * The clock can jump, and records must not go for that: time is believed to pass no faster than a clock that counts what has
 * passed since the start of the machine. A forward jump so keeps records longer, until the store is opened again.
 */
#include <errno.h>
#include <time.h>

#include "banned.h"
#include "bytes.h"
#include "settings.h"
#include "stream.h"

/* ---- the clock ---------------------------------------------------------------------------------------- */

static int64_t elapsed_now(const struct wal_store *store, int64_t now)
{
	struct timespec ts;

	if (store->opts.elapsed_ns)
		return store->opts.elapsed_ns(store->opts.now_arg);
	if (store->opts.now_ns)
		return now;
	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t wal_store_retention_now(struct wal_store *store)
{
	int64_t now = wal_store_now(store), elapsed = elapsed_now(store, now), passed;

	pthread_mutex_lock(&store->state_lock);
	passed = elapsed - store->retain_elapsed_ns;
	if (store->retain_now_ns && now > store->retain_now_ns + passed)
		now = store->retain_now_ns + passed;
	store->retain_now_ns = now;
	store->retain_elapsed_ns = elapsed;
	pthread_mutex_unlock(&store->state_lock);
	return now;
}

/* ---- limits ------------------------------------------------------------------------------------------- */

struct wal_limits wal_limits_pick(const struct wal_settings *own, const struct wal_settings *store)
{
	return (struct wal_limits){
		.age_ns = wal_settings_pick(own->retention_age_ns, store->retention_age_ns, WAL_FOREVER),
		.bytes = wal_settings_pick(own->retention_bytes, store->retention_bytes, WAL_FOREVER),
		.records = wal_settings_pick(own->retention_records, store->retention_records, WAL_FOREVER),
	};
}

/* 0 for what is not past yet. Times from the disk may be any. */
static uint64_t age_of(int64_t time, int64_t now)
{
	return now > time ? (uint64_t)now - (uint64_t)time : 0;
}

bool wal_stream_has_share_locked(const struct wal_stream *stream, int64_t now)
{
	const struct wal_limits *limits = &stream->limits;
	const struct wal_segment *last = wal_stream_last(stream);
	uint64_t records = stream->live->next - last->id.first;

	return (limits->age_ns != WAL_FOREVER &&
		age_of(last->id.created_ns, now) >= limits->age_ns / WAL_RETENTION_SHARE) ||
	       (limits->bytes != WAL_FOREVER &&
		last->size - WAL_HEAD_BYTES - records * WAL_FRAME_BYTES >= limits->bytes / WAL_RETENTION_SHARE) ||
	       (limits->records != WAL_FOREVER && records >= limits->records / WAL_RETENTION_SHARE);
}

/* Header and content bytes in `size` bytes of a segment with `records` records: at least so many. */
static uint64_t payload_bytes(uint64_t size, uint64_t records)
{
	uint64_t other = records * WAL_FRAME_BYTES + size / (WAL_CHUNK / 16); /* the sums of chunks are 8 bytes each */

	return size - wal_min_u64(size, other);
}

/* May segment i go? Its newest record is the one before the next segment begins. */
static bool may_go(struct wal_stream *stream, size_t i, uint64_t newer_size, int64_t now)
{
	const struct wal_limits *limits = &stream->limits;
	struct wal_live *live = stream->live;
	const struct wal_identity *next = &live->segs[i + 1]->id;
	uint64_t newer = live->visible - next->first;

	if (next->first > live->visible)
		return false;
	if (newer >= limits->records || payload_bytes(newer_size, newer) >= limits->bytes)
		return true;
	return limits->age_ns != WAL_FOREVER && age_of(next->time_base, now) > limits->age_ns;
}

int wal_stream_retain_locked(struct wal_stream *stream)
{
	const struct wal_limits *limits = &stream->limits;
	struct wal_live *live = stream->live;
	struct wal_segment *last = wal_stream_last(stream);
	uint64_t first = 0, old, newer_size;
	int64_t now;
	int r;

	if (limits->age_ns == WAL_FOREVER && limits->bytes == WAL_FOREVER && limits->records == WAL_FOREVER)
		return 0;
	if (stream->store->opts.flags & WAL_OPEN_NO_TRIM)
		return 0;
	now = wal_store_retention_now(stream->store);
	/* A stream that is written no more: its last segment goes too, once all of it is too old. */
	if (limits->age_ns != WAL_FOREVER && live->pending == 0 && last->id.first < live->next &&
	    age_of(live->last_time, now) > limits->age_ns) {
		r = wal_stream_rotate_locked(stream, NULL);
		if (r < 0)
			return r;
	}
	newer_size = live->bytes + wal_stream_last(stream)->size - WAL_HEAD_BYTES;
	for (size_t i = 0; i + 1 < live->n; i++) {
		r = wal_stream_load_head_locked(stream, live->segs[i]);
		if (r == 0)
			r = wal_stream_load_head_locked(stream, live->segs[i + 1]);
		if (r < 0)
			break; /* damaged: it stays, and those behind it, until a trim */
		newer_size -= wal_min_u64(newer_size, live->segs[i]->size - WAL_HEAD_BYTES);
		if (!may_go(stream, i, newer_size, now))
			break;
		first = live->segs[i + 1]->id.first;
	}
	if (first == 0)
		return 0;
	old = stream->slot.first_seq;
	r = wal_stream_trim_locked(stream, first);
	atomic_fetch_add_explicit(&stream->store->retained, stream->slot.first_seq - old, memory_order_relaxed);
	return r;
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
	r = stream->unsynced ? -EROFS : wal_stream_retain_locked(stream); /* as in a trim */
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
