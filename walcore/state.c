/* SPDX-License-Identifier: MIT
 *
 * state: what a stream is set to and owned by, and its figures. A change is in the slot of the newest segment and in the
 * journal; in a durable stream it is durable when the call returns.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>

#include "banned.h"
#include "bytes.h"
#include "key.h"
#include "stream.h"

/* Writes the changed state to the slot and to the journal. */
int wal_stream_change_slot(struct wal_stream *stream, const struct wal_attr *attr, const struct wal_settings *settings)
{
	struct wal_store *store = stream->store;
	struct wal_journal_entry entry = { .type = WAL_ENTRY_SLOT, .stream_id = stream->id };
	uint64_t reserved = WAL_STATE_RESERVE, lsn = 0;
	uint8_t sector[WAL_SECTOR];
	struct wal_span payload = { sector, sizeof(sector) };
	struct wal_slot old;
	int r, tries = 0;
	bool durable;

	if (store->rdonly)
		return -EROFS;
	r = wal_journal_reserve(&store->journal, reserved, false);
	if (r < 0)
		return r;
again:
	r = wal_stream_lock_live(stream, 0);
	if (r < 0) {
		wal_journal_unreserve(&store->journal, reserved);
		return r;
	}
	if (stream->unsynced) { /* neither here nor in the journal would it last */
		pthread_mutex_unlock(&stream->lock);
		wal_journal_unreserve(&store->journal, reserved);
		return -EROFS;
	}
	if (settings && settings->durability != WAL_DURABILITY_RELAXED && stream->marked_relaxed && tries++ < 64) {
		/* What is relaxed must be on disk before the first journaled record behind it. */
		pthread_mutex_unlock(&stream->lock);
		r = wal_stream_sync(stream);
		if (r == 0)
			goto again;
		wal_journal_unreserve(&store->journal, reserved);
		return r;
	}
	old = stream->slot;
	durable = stream->durable;
	if (attr)
		stream->slot.attr = *attr;
	if (settings)
		stream->slot.settings = *settings;
	r = wal_stream_write_slot_locked(stream);
	if (r == 0) {
		wal_slot_encode(sector, &stream->slot);
		wal_stream_apply_settings_locked(stream);
		durable |= stream->durable;
		wal_stream_mark_dirty_locked(stream, !stream->durable);
		lsn = wal_journal_put(&store->journal, &entry, &payload, 1, &stream->bound, stream->name, NULL,
				      &reserved);
	} else {
		stream->slot.attr = old.attr;
		stream->slot.settings = old.settings;
	}
	pthread_mutex_unlock(&stream->lock);
	wal_journal_unreserve(&store->journal, reserved);
	return r == 0 && durable ? wal_journal_wait(&store->journal, lsn) : r;
}

int wal_stream_set_attr(struct wal_stream *stream, const struct wal_attr *attr)
{
	struct wal_attr masked = *attr;

	masked.mode &= 07777;
	return wal_stream_change_slot(stream, &masked, NULL);
}

int wal_stream_get_settings(struct wal_stream *stream, struct wal_settings *ret_settings)
{
	int r;

	pthread_mutex_lock(&stream->lock);
	r = stream->deleted ? -EIDRM : 0;
	if (r == 0)
		*ret_settings = stream->slot.settings;
	pthread_mutex_unlock(&stream->lock);
	return r;
}

static void note_retention(struct wal_super *super, void *arg)
{
	super->retention_ns = *(uint64_t *)arg;
}

/* The keeper looks at streams that nobody uses only where some stream was ever given an age. */
int wal_store_note_retention(struct wal_store *store, uint64_t age_ns)
{
	bool news;

	if (age_ns == 0 || age_ns == WAL_FOREVER)
		return 0;
	pthread_mutex_lock(&store->state_lock);
	news = store->super.retention_ns == 0 || age_ns < store->super.retention_ns;
	pthread_mutex_unlock(&store->state_lock);
	return news ? wal_store_write_state(store, note_retention, &age_ns) : 0;
}

int wal_stream_set_settings(struct wal_stream *stream, const struct wal_settings *settings)
{
	int r;

	if (stream->store->rdonly)
		return -EROFS;
	r = wal_store_note_retention(stream->store, settings->retention_age_ns);
	if (r == 0)
		r = wal_stream_change_slot(stream, NULL, settings);
	if (r == 0 && settings->durability != WAL_DURABILITY_RELAXED)
		r = wal_stream_sync(stream);
	if (r == 0)
		(void)wal_retain(stream); /* the setting stands: applied again with the next segment */
	return r;
}

int wal_stream_stat(struct wal_stream *stream, uint32_t flags, struct wal_stat *ret_stat)
{
	int r = 0;

	if (flags & WAL_STAT_CHEAP) {
		pthread_mutex_lock(&stream->lock);
		if (stream->deleted) {
			pthread_mutex_unlock(&stream->lock);
			return -EIDRM;
		}
	} else {
		r = wal_stream_lock_live(stream, flags);
	}
	if (r < 0)
		return r;
	*ret_stat = (struct wal_stat){ .id = stream->id,
				       .attr = stream->slot.attr,
				       .durable = stream->durable,
				       .stopped = stream->stopped,
				       .waits = stream->n_waits,
				       .last_time_ns = stream->file_time };
	if (stream->live) {
		struct wal_live *live = stream->live;
		uint64_t tail = wal_stream_last(stream)->size - WAL_HEAD_BYTES;
		uint64_t frames = (live->visible - wal_min_u64(live->segs[0]->id.first, live->visible)) *
				  (uint64_t)WAL_FRAME_BYTES;

		ret_stat->recovered = true;
		ret_stat->first = stream->slot.first_seq;
		ret_stat->next = live->visible;
		ret_stat->end_pos = live->pos_visible;
		ret_stat->synced = stream->durable ? live->visible : wal_min_u64(stream->slot.mark_next, live->visible);
		ret_stat->segments = (uint32_t)live->n;
		ret_stat->disk_bytes = live->bytes + tail + live->n * WAL_HEAD_BYTES;
		ret_stat->bytes = live->bytes + tail - wal_min_u64(frames, live->bytes + tail);
		ret_stat->damaged = live->damaged;
		ret_stat->created_ns = live->segs[0]->id.created_ns;
		ret_stat->last_time_ns = live->last_time;
		stream->file_time = live->last_time;
		if (ret_stat->first == ret_stat->next)
			ret_stat->bytes = 0;
	}
	pthread_mutex_unlock(&stream->lock);
	return 0;
}
