/* SPDX-License-Identifier: MIT
 *
 * append: from a request to a record.
 *
 * Under the stream's lock the request gets its number and time, its bytes go to the last segment's page cache,
 * and it is visible at once in a relaxed stream; in a durable one it is put into the journal, and becomes visible when
 * the journal's sync has returned (wal_append_complete). In a relaxed stream with journaled appends under way a relaxed
 * one goes the same way, so that records become visible in order.
 *
 * Failure: a write that fails is cut off again, and nothing happened; where that fails too, the stream stops.
 */
#include <assert.h>
#include <errno.h>
#include <semaphore.h>

#include "banned.h"
#include "bytes.h"
#include "settings.h"
#include "stream.h"

/* Sizes alone; nothing of the stream but its limit. Sets the bytes on disk and of the caller. */
static int check_sizes(struct wal_stream *stream, const struct wal_append *req, uint64_t *ret_len,
		       uint64_t *ret_payload)
{
	uint64_t len = 0, payload = 0, max = wal_max_record(stream);

	if (req->n == 0 || req->n > WAL_BATCH_RECORDS_MAX)
		return req->n ? -EMSGSIZE : -EINVAL;
	for (uint32_t i = 0; i < req->n; i++) {
		const struct wal_entry *entry = &req->entries[i];

		if (entry->header.len > WAL_HEADER_MAX || entry->content.len > max)
			return -EMSGSIZE;
		payload += entry->header.len + entry->content.len;
		len += wal_record_len(entry->header.len, entry->content.len);
	}
	if (req->n > 1 && len > WAL_BATCH_BYTES_MAX)
		return -EMSGSIZE;
	*ret_len = len;
	*ret_payload = payload;
	return 0;
}

int wal_append_allowed_locked(const struct wal_stream *stream, const struct wal_append *req)
{
	if (stream->stopped)
		return -EROFS;
	if (req->expect && req->expect != stream->live->next)
		return -ESTALE;
	if (stream->live->next > INT64_MAX - WAL_BATCH_RECORDS_MAX)
		return -EOVERFLOW;
	return 0;
}

bool wal_append_journaled_locked(const struct wal_stream *stream)
{
	return stream->durable || (stream->live && stream->live->pending > 0);
}

static int prepare_segment(struct wal_stream *stream, uint64_t len, int64_t now, uint64_t *reserved)
{
	struct wal_segment *last = wal_stream_last(stream);
	int r;

	if (last->size > WAL_HEAD_BYTES &&
	    (last->size + len > stream->store->opts.segment_bytes || wal_stream_has_share_locked(stream, now))) {
		r = wal_stream_rotate_locked(stream, reserved);
		/* No space for another file: the space that was reserved is in this one, so go on here. */
		if (r < 0 && r != -ENOSPC && r != -EDQUOT)
			return r;
		if (r == 0)
			(void)wal_stream_retain_locked(stream); /* tried again with the next segment */
	}
	if (reserved)
		wal_stream_journal_segment_locked(stream, reserved);
	return wal_stream_pin_locked(stream, wal_stream_last(stream));
}

static int write_records(struct wal_stream *stream, struct wal_segment *seg, struct wal_image *image)
{
	const struct wal_io *io = stream->store->io;
	int r = wal_image_write(image, seg->seed, io, seg->fd, seg->size);

	if (r == 0)
		return 0;
	if (io->ftruncate(io, seg->fd, seg->size) < 0)
		wal_stream_stop_locked(stream, r, "a failed append could not be undone");
	wal_space_move_locked(stream, NULL); /* what others had reserved was cut off too */
	return r;
}

static void note_index(struct wal_live *live, struct wal_segment *seg, const struct wal_append *req)
{
	uint64_t off = seg->size;

	for (uint32_t i = 0; i < req->n; i++) {
		const struct wal_entry *entry = &req->entries[i];

		if (wal_index_note(&seg->index, (struct wal_point){ req->seq + i, off, seg->content }) < 0)
			seg->indexed = false; /* a point is missing: it is made anew when it is next read */
		off += wal_record_len(entry->header.len, entry->content.len);
		seg->content += entry->content.len;
		live->pos_next += entry->content.len;
	}
}

int wal_append_write_locked(struct wal_stream *stream, struct wal_append *req, struct wal_image *image,
			    uint64_t *reserved)
{
	struct wal_live *live = stream->live;
	int64_t now = wal_store_now(stream->store);
	struct wal_segment *seg;
	int r;

	r = prepare_segment(stream, image->len, now, reserved);
	if (r < 0)
		return r;
	seg = wal_stream_last(stream);
	req->seq = live->next;
	req->time_ns = now > live->last_time ? now : live->last_time;
	r = wal_space_spare_locked(stream, req, image->len);
	if (r == 0)
		r = write_records(stream, seg, image);
	if (r == 0) {
		bool was_dirty = seg->dirty;

		note_index(live, seg, req);
		req->priv[WAL_PRIV_POS] = live->pos_next;
		seg->size += image->len;
		seg->dirty = true;
		live->next += req->n;
		live->last_time = req->time_ns;
		if (!was_dirty || (!reserved && !stream->marked_relaxed)) {
			stream->marked_relaxed |= !reserved;
			wal_stream_mark_dirty_locked(stream, !reserved);
		}
	}
	wal_stream_unpin(seg);
	return r;
}

static int append_locked(struct wal_stream *stream, struct wal_append *req, struct wal_image *image, bool journaled,
			 uint64_t *reserved)
{
	struct wal_segment *seg;
	struct wal_journal_entry entry = { .type = WAL_ENTRY_APPEND, .stream_id = stream->id, .n = req->n };
	int r;

	r = wal_append_write_locked(stream, req, image, journaled ? reserved : NULL);
	if (r < 0 || !journaled)
		return r;
	assert(image->whole);
	seg = wal_stream_last(stream);
	entry.seq = req->seq;
	entry.segment = seg->id.first;
	entry.off = seg->size - image->len;
	req->priv[WAL_PRIV_LSN] = wal_journal_put(&stream->store->journal, &entry, image->spans, image->n_spans,
						  &stream->bound, stream->name, req, reserved);
	stream->live->pending++;
	return 0;
}

static void count(struct wal_store *store, const struct wal_append *req)
{
	atomic_fetch_add_explicit(&store->appends, req->draft ? 1 : req->n, memory_order_relaxed);
	atomic_fetch_add_explicit(&store->append_bytes, req->priv[WAL_PRIV_BYTES], memory_order_relaxed);
}

static void give_back_reserve(struct wal_stream *stream, const struct wal_append *req)
{
	if (req->flags & WAL_APPEND_RESERVED)
		wal_release(stream, req->reserved_bytes);
}

/* A draft that became a record is gone; the caller's, if it did not, stays the caller's. */
static void consume_draft(struct wal_append *req, bool success)
{
	if (!req->draft || !(success || req->priv[WAL_PRIV_OWN_DRAFT]))
		return;
	wal_draft_consume(req->draft);
	req->draft = NULL;
}

int wal_append_finish(struct wal_stream *stream, struct wal_append *req, bool durable)
{
	struct wal_wait *waits;

	if (durable) { /* the request may be completed from now on */
		pthread_mutex_unlock(&stream->lock);
		return 0;
	}
	stream->live->visible = stream->live->next;
	stream->live->pos_visible = stream->live->pos_next;
	waits = wal_stream_publish_records_locked(stream);
	pthread_mutex_unlock(&stream->lock);
	count(stream->store, req);
	wal_stream_tell_waits(waits, 0);
	return 1;
}

void wal_append_complete(struct wal_append *req, int result)
{
	struct wal_stream *stream = req->stream;
	struct wal_live *live;
	struct wal_wait *waits = NULL;

	pthread_mutex_lock(&stream->lock);
	live = stream->live; /* pending: it stayed live */
	assert(live->pending > 0);
	live->pending--;
	if (result == 0) {
		live->visible = wal_max_u64(live->visible, req->seq + (req->draft ? 1 : req->n));
		live->pos_visible = wal_max_u64(live->pos_visible, req->priv[WAL_PRIV_POS]);
		waits = wal_stream_publish_records_locked(stream);
	} else {
		wal_stream_stop_locked(stream, result, "the journal could not be synced");
	}
	pthread_mutex_unlock(&stream->lock);
	if (result == 0) {
		count(stream->store, req);
		give_back_reserve(stream, req);
	}
	consume_draft(req, result == 0);
	wal_stream_tell_waits(waits, 0);
	if (req->priv[WAL_PRIV_BLOCKING]) {
		req->priv[WAL_PRIV_RESULT] = (uint64_t)(int64_t)result;
		sem_post((sem_t *)(uintptr_t)req->priv[WAL_PRIV_SEM]);
	} else {
		req->done(req, result);
	}
}

/* As wal_append_submit, but leaves the commit of a journaled append to the caller. */
static int submit(struct wal_stream *stream, struct wal_append *req)
{
	struct wal_store *store = stream->store;
	bool nowait = req->flags & WAL_APPEND_NOWAIT, journaled;
	uint64_t len, reserved = 0, payload;
	struct wal_image image;
	int r;

	if (store->rdonly)
		return -EROFS;
	r = check_sizes(stream, req, &len, &payload);
	if (r < 0)
		return r;
	req->priv[WAL_PRIV_BYTES] = payload;
	r = wal_image_init(&image, req, len, wal_journal_payload_max(&store->journal));
	if (r < 0)
		return r;
again:
	r = wal_append_lock(stream, nowait ? WAL_NOWAIT : 0);
	if (r < 0)
		goto out;
	journaled = wal_append_journaled_locked(stream);
	if (journaled && reserved == 0) { /* room in the journal is waited for without the lock */
		pthread_mutex_unlock(&stream->lock);
		if (len > wal_journal_payload_max(&store->journal)) {
			r = nowait        ? -EAGAIN
			    : req->n == 1 ? wal_draft_append(stream, req)
					  : wal_batch_append(stream, req, &image);
			goto out;
		}
		reserved = wal_entry_len(len) + WAL_JOURNAL_EXTRA;
		r = wal_journal_reserve(&store->journal, reserved, nowait);
		if (r < 0) {
			reserved = 0;
			goto out;
		}
		goto again;
	}
	r = wal_append_allowed_locked(stream, req);
	if (r == 0 && nowait && !journaled && req->flags & WAL_APPEND_DURABLE)
		r = -EAGAIN; /* a sync of the segment would follow */
	if (r == 0) {
		req->stream = stream;
		r = append_locked(stream, req, &image, journaled, &reserved);
	}
	if (r < 0)
		pthread_mutex_unlock(&stream->lock);
	else
		r = wal_append_finish(stream, req, journaled);
out:
	wal_journal_unreserve(&store->journal, reserved);
	wal_image_fini(&image);
	return r;
}

static int submit_any(struct wal_stream *stream, struct wal_append *req)
{
	int r;

	req->priv[WAL_PRIV_OWN_DRAFT] = 0;
	if (req->draft && req->flags & WAL_APPEND_NOWAIT)
		return -EAGAIN;
	r = req->draft ? wal_draft_commit(stream, req) : submit(stream, req);
	if (r != 1)
		return r;
	if (req->flags & WAL_APPEND_DURABLE)
		r = wal_stream_sync(stream); /* relaxed: this one and all before it, by one sync of the segment */
	if (r >= 0)
		give_back_reserve(stream, req);
	consume_draft(req, r >= 0);
	return r < 0 ? r : 1;
}

int wal_append_submit(struct wal_stream *stream, struct wal_append *req)
{
	int r;

	assert(req->done);
	req->priv[WAL_PRIV_BLOCKING] = 0;
	r = submit_any(stream, req);
	if (r == 0)
		(void)wal_journal_kick(&stream->store->journal); /* no thread: the next waiter leads */
	return r;
}

int wal_append(struct wal_stream *stream, struct wal_append *req)
{
	sem_t sem;
	int r;

	(void)sem_init(&sem, 0, 0); /* cannot fail for 0 */
	req->priv[WAL_PRIV_BLOCKING] = 1;
	req->priv[WAL_PRIV_SEM] = (uint64_t)(uintptr_t)&sem;
	r = submit_any(stream, req);
	if (r == 0) {
		(void)wal_journal_wait(&stream->store->journal,
				       req->priv[WAL_PRIV_LSN]); /* the result is the request's */
		while (sem_wait(&sem) < 0)
			;
		r = (int)(int64_t)req->priv[WAL_PRIV_RESULT];
	}
	sem_destroy(&sem);
	return r < 0 ? r : 0;
}
