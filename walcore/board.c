/* SPDX-License-Identifier: MIT
 *
 * board: what is known of a stream to those who must not wait for its lock: its figures, its settings, and who waits for its
 * records. The figures of a stream that was put out of memory still hold: nothing changes it before it is recovered.
 */
#include <errno.h>

#include "banned.h"
#include "bytes.h"
#include "settings.h"
#include "stream.h"

static void put_live(struct wal_stream *stream, struct wal_stat *stat)
{
	const struct wal_live *live = stream->live;
	uint64_t tail = wal_stream_last(stream)->size - WAL_HEAD_BYTES;
	uint64_t frames = (live->visible - wal_min_u64(live->segs[0]->id.first, live->visible)) * WAL_FRAME_BYTES;

	stat->recovered = true;
	stat->first = stream->slot.first_seq;
	stat->next = live->visible;
	stat->end_pos = live->pos_visible;
	stat->synced = stream->durable ? live->visible : wal_min_u64(stream->slot.mark_next, live->visible);
	stat->segments = (uint32_t)live->n;
	stat->disk_bytes = live->bytes + tail + live->n * WAL_HEAD_BYTES;
	stat->bytes = stat->first == stat->next ? 0 : live->bytes + tail - wal_min_u64(frames, live->bytes + tail);
	stat->damaged = live->damaged;
	stat->created_ns = live->segs[0]->id.created_ns;
	stat->last_time_ns = live->last_time;
}

/* The board's lock is held. */
static void put(struct wal_stream *stream)
{
	struct wal_stat *stat = &stream->board.stat;

	stat->id = stream->id;
	stat->attr = stream->slot.attr;
	stat->durable = stream->durable;
	stat->stopped = stream->stopped;
	if (stream->live)
		put_live(stream, stat);
	else if (!stat->recovered)
		stat->last_time_ns = stream->file_time;
	stream->board.settings = stream->slot.settings;
}

void wal_stream_publish_locked(struct wal_stream *stream)
{
	pthread_mutex_lock(&stream->board.lock);
	put(stream);
	pthread_mutex_unlock(&stream->board.lock);
}

/* Takes the waits for numbers below `next`. The board's lock is held. */
static struct wal_wait *take_waits(struct wal_stream *stream, uint64_t next)
{
	struct wal_wait *taken = NULL, *wait, *following;

	for (wait = stream->board.waits; wait; wait = following) {
		following = wait->next;
		if (wait->seq >= next)
			continue;
		*wait->prev = following;
		if (following)
			following->prev = wait->prev;
		wait->prev = NULL;
		wait->next = taken;
		taken = wait;
		stream->board.n_waits--;
		atomic_fetch_sub_explicit(&stream->store->waits, 1, memory_order_relaxed);
	}
	return taken;
}

struct wal_wait *wal_stream_publish_records_locked(struct wal_stream *stream)
{
	struct wal_wait *taken;

	pthread_mutex_lock(&stream->board.lock);
	put(stream);
	taken = take_waits(stream, stream->live->visible);
	pthread_mutex_unlock(&stream->board.lock);
	return taken;
}

struct wal_wait *wal_stream_take_waits(struct wal_stream *stream)
{
	struct wal_wait *taken;

	pthread_mutex_lock(&stream->board.lock);
	taken = take_waits(stream, UINT64_MAX);
	pthread_mutex_unlock(&stream->board.lock);
	return taken;
}

void wal_stream_tell_waits(struct wal_wait *waits, int result)
{
	while (waits) {
		struct wal_wait *next = waits->next; /* the wait is its caller's again once told */

		waits->done(waits, result);
		waits = next;
	}
}

/* ---- asked for ---------------------------------------------------------------------------------------- */

int wal_stream_stat(struct wal_stream *stream, uint32_t flags, struct wal_stat *ret_stat)
{
	struct wal_board *board = &stream->board;
	struct wal_stat stat;
	int r;

	if (stream->deleted)
		return -EIDRM;
	for (;;) {
		pthread_mutex_lock(&board->lock);
		stat = board->stat;
		stat.damaged += board->damaged_reads;
		stat.waits = board->n_waits;
		pthread_mutex_unlock(&board->lock);
		if (stat.recovered || flags & WAL_STAT_CHEAP)
			break;
		r = wal_stream_lock_live(stream, flags);
		if (r < 0)
			return r;
		pthread_mutex_unlock(&stream->lock);
	}
	*ret_stat = stat;
	return 0;
}

int wal_stream_get_settings(struct wal_stream *stream, struct wal_settings *ret_settings)
{
	if (stream->deleted)
		return -EIDRM;
	pthread_mutex_lock(&stream->board.lock);
	*ret_settings = stream->board.settings;
	pthread_mutex_unlock(&stream->board.lock);
	return 0;
}

int wal_append_check(struct wal_stream *stream)
{
	bool stopped, durable;

	if (stream->store->rdonly)
		return -EROFS;
	if (stream->deleted)
		return -EIDRM;
	pthread_mutex_lock(&stream->board.lock);
	stopped = stream->board.stat.stopped;
	durable = stream->board.stat.durable;
	pthread_mutex_unlock(&stream->board.lock);
	return stopped || (durable && wal_journal_failed(&stream->store->journal)) ? -EROFS : 0;
}

uint64_t wal_max_record(struct wal_stream *stream)
{
	struct wal_store *store = stream->store;
	uint64_t own, max;

	pthread_mutex_lock(&stream->board.lock);
	own = stream->board.settings.max_record;
	pthread_mutex_unlock(&stream->board.lock);
	pthread_mutex_lock(&store->state_lock);
	max = wal_settings_pick(own, store->opts.max_record,
				wal_settings_pick(store->super.settings.max_record, 0, WAL_MAX_RECORD_DEFAULT));
	pthread_mutex_unlock(&store->state_lock);
	return wal_min_u64(max, WAL_CONTENT_MAX);
}
