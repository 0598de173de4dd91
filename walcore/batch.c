/* SPDX-License-Identifier: MIT
 *
 * batch: records that are too many, together, for an entry of the journal. They are written at the end of the stream's
 * segment, the segment is synced, and then the journal gets the commit: an entry for the last of them, which stands for all
 * below it. Nobody else appends to the stream meanwhile, so that no later record is durable before them.
 *
 * A crash before the commit is durable leaves what recovery sees anyway above the mark: a batch that is whole, and is kept, or
 * one that is not, and is cut from its beginning.
 */
#include <assert.h>
#include <errno.h>

#include "banned.h"
#include "stream.h"

int wal_append_lock(struct wal_stream *stream, uint32_t flags)
{
	int r;

	for (;;) {
		r = wal_stream_lock_live(stream, flags);
		if (r < 0 || !stream->batching)
			return r;
		if (!(flags & WAL_NOWAIT))
			pthread_cond_wait(&stream->cond, &stream->lock);
		pthread_mutex_unlock(&stream->lock);
		if (flags & WAL_NOWAIT)
			return -EAGAIN;
	}
}

/* Writes the records and keeps others from appending. */
static int begin(struct wal_stream *stream, struct wal_append *req, struct wal_image *image, uint64_t *reserved)
{
	int r = wal_append_lock(stream, 0);

	if (r < 0)
		return r;
	r = wal_append_allowed_locked(stream, req);
	if (r == 0)
		r = wal_append_write_locked(stream, req, image, reserved);
	if (r == 0) {
		req->stream = stream;
		stream->batching = true;
		stream->live->pending++;
	}
	pthread_mutex_unlock(&stream->lock);
	return r;
}

/* All is on disk, or not: hands the request to the journal, or stops the stream. */
static int end(struct wal_stream *stream, struct wal_append *req, const struct wal_image *image, int result,
	       uint64_t *reserved)
{
	const struct wal_entry *last = &req->entries[req->n - 1];
	struct wal_journal_entry entry = {
		.type = WAL_ENTRY_LARGE, .stream_id = stream->id, .seq = req->seq + req->n - 1, .n = 1
	};
	struct wal_span frame = { image->last_frame, WAL_FRAME_BYTES };
	struct wal_segment *seg;

	pthread_mutex_lock(&stream->lock);
	seg = wal_stream_last(stream); /* as before: nobody else appended */
	stream->batching = false;
	pthread_cond_broadcast(&stream->cond);
	if (result == 0) {
		entry.segment = seg->id.first;
		entry.off = seg->size - wal_record_len(last->header.len, last->content.len);
		req->priv[WAL_PRIV_LSN] = wal_journal_put(&stream->store->journal, &entry, &frame, 1, &stream->bound,
							  stream->name, req, reserved);
	} else {
		stream->live->pending--;
		wal_stream_stop_locked(stream, result, "a batch could not be synced");
	}
	pthread_mutex_unlock(&stream->lock);
	return result < 0 ? -EIO : 0;
}

int wal_batch_append(struct wal_stream *stream, struct wal_append *req, struct wal_image *image)
{
	struct wal_journal *journal = &stream->store->journal;
	uint64_t reserved = WAL_JOURNAL_EXTRA;
	int r;

	r = wal_journal_reserve(journal, reserved, false);
	if (r < 0)
		return r;
	r = begin(stream, req, image, &reserved);
	if (r == 0)
		r = end(stream, req, image, wal_stream_flush(stream), &reserved);
	wal_journal_unreserve(journal, reserved);
	return r;
}
