/* SPDX-License-Identifier: MIT
 *
 * iter: record after record. The iterator keeps a window of the segment that it is in, so that a pass over
 * small records is a read of the file from end to end; each record is checked as it is passed.
 */
#include <errno.h>

#include "banned.h"
#include "bytes.h"
#include "scan.h"
#include "stream.h"

struct wal_iter {
	struct wal_stream *stream; /* counted */
	uint32_t flags;
	uint64_t seq;            /* the next one */
	struct wal_segment *seg; /* pinned and counted while the scan is in it */
	struct wal_scan scan;
	uint8_t *buf; /* owned: header and content of the current record */
	size_t buf_cap;
};

int wal_iter_open(struct wal_stream *stream, uint64_t seq, uint32_t flags, struct wal_iter **ret_iter)
{
	struct wal_iter *iter = calloc(1, sizeof(*iter));
	int r;

	if (!iter)
		return -ENOMEM;
	r = wal_stream_lock_live(stream, 0);
	if (r < 0) {
		free(iter);
		return r;
	}
	iter->seq = seq ? seq : stream->slot.first_seq;
	pthread_mutex_unlock(&stream->lock);
	atomic_fetch_add(&stream->pins, 1);
	iter->stream = wal_stream_ref(stream);
	iter->flags = flags;
	*ret_iter = iter;
	return 0;
}

static void leave_segment(struct wal_iter *iter)
{
	if (!iter->seg)
		return;
	wal_stream_unpin(iter->seg);
	wal_store_put_segment(iter->stream->store, iter->seg);
	iter->seg = NULL;
}

int wal_iter_seek(struct wal_iter *iter, uint64_t seq)
{
	leave_segment(iter);
	iter->seq = seq;
	return 0;
}

void wal_iter_close(struct wal_iter *iter)
{
	if (!iter)
		return;
	leave_segment(iter);
	wal_scan_fini(&iter->scan);
	atomic_fetch_sub(&iter->stream->pins, 1);
	wal_stream_unref(iter->stream);
	free(iter->buf);
	free(iter);
}

/* Enters the segment of iter->seq at the index point before it. The lock is held. */
static int enter_locked(struct wal_iter *iter)
{
	struct wal_stream *stream = iter->stream;
	struct wal_live *live = stream->live;
	size_t count = wal_live_count(live, iter->seq);
	struct wal_segment *seg;
	struct wal_point from;
	uint8_t *window;
	int r;

	if (count == 0)
		return -EBADMSG;
	seg = live->segs[count - 1];
	r = wal_stream_pin_locked(stream, seg);
	if (r < 0)
		return r;
	r = wal_stream_load_segment_locked(stream, seg);
	if (r < 0) {
		wal_stream_unpin(seg);
		return r;
	}
	wal_segment_ref(seg);
	from = wal_index_before(&seg->index, iter->seq, (struct wal_point){ seg->id.first, WAL_HEAD_BYTES, 0 });
	window = iter->scan.window ? iter->scan.window : malloc(WAL_WINDOW_BYTES);
	iter->scan = (struct wal_scan){ .io = stream->store->io,
					.fd = seg->fd,
					.seed = seg->seed,
					.off = from.off,
					.end = seg->size,
					.seq = from.seq,
					.window = window,
					.window_cap = WAL_WINDOW_BYTES,
					.ahead = WAL_WINDOW_BYTES };
	iter->seg = seg;
	return window ? 0 : -ENOMEM;
}

/* Makes the scan ready for iter->seq. 1: ready; 0: no such record yet; -EIDRM with iter->seq moved. */
static int prepare(struct wal_iter *iter)
{
	struct wal_stream *stream = iter->stream;
	struct wal_live *live;
	int r;

	r = wal_stream_lock_live(stream, 0);
	if (r < 0)
		return r;
	live = stream->live;
	if (iter->seq < stream->slot.first_seq) {
		leave_segment(iter);
		iter->seq = stream->slot.first_seq;
		r = -EIDRM;
	} else if (iter->seq >= live->visible) {
		r = 0;
	} else {
		if (iter->seg && iter->seg != wal_stream_last(stream) && iter->scan.off >= iter->seg->size)
			leave_segment(iter);
		r = iter->seg ? 0 : enter_locked(iter);
		if (r == 0) {
			if (iter->scan.end != iter->seg->size) { /* it grew: what the window has of its end is old */
				iter->scan.end = iter->seg->size;
				iter->scan.window_len = 0;
			}
			r = 1;
		}
	}
	pthread_mutex_unlock(&stream->lock);
	return r;
}

static int fill_view(struct wal_iter *iter, const struct wal_place *place, struct wal_span header,
		     struct wal_view *ret_view)
{
	struct wal_finder finder = {
		.io = iter->scan.io, .fd = iter->scan.fd, .seed = iter->scan.seed, .size = iter->scan.end
	};
	bool content = place->frame.content_len <= WAL_ITER_CONTENT_MAX;
	size_t need = header.len + (content ? (size_t)place->frame.content_len : 0);
	const uint8_t *p;
	ssize_t n;
	int r;

	if (place->frame.content_len <= WAL_CHUNK && need < WAL_WINDOW_BYTES / 2) {
		r = wal_scan_bytes(&iter->scan, place->off, WAL_FRAME_BYTES + need, &p);
		if (r < 0)
			return r == -ENODATA ? -EBADMSG : r;
		p += WAL_FRAME_BYTES;
		if (wal_record_content_sum(p + header.len, (size_t)place->frame.content_len, finder.seed) !=
		    place->frame.content_sum)
			return -EBADMSG;
		ret_view->header = (struct wal_span){ p, header.len };
		ret_view->content = (struct wal_span){ p + header.len, (size_t)place->frame.content_len };
		return 0;
	}
	if (need > iter->buf_cap) {
		uint8_t *buf = realloc(iter->buf, need);

		if (!buf)
			return -ENOMEM;
		iter->buf = buf;
		iter->buf_cap = need;
	}
	if (header.len > 0)
		memcpy(iter->buf, header.base, header.len);
	ret_view->header = (struct wal_span){ iter->buf, header.len };
	ret_view->content = (struct wal_span){ NULL, 0 };
	if (!content)
		return 0;
	n = wal_place_read(&finder, place, NULL, 0, iter->buf + header.len, (size_t)place->frame.content_len, false);
	if (n != (ssize_t)place->frame.content_len)
		return n < 0 ? (int)n : -EBADMSG;
	ret_view->content = (struct wal_span){ iter->buf + header.len, (size_t)n };
	return 0;
}

/* A damaged record: the next one is looked for by its own number, through the index. */
static int pass_damaged(struct wal_iter *iter, struct wal_view *ret_view)
{
	wal_stream_note_damage(iter->stream, iter->seg, iter->scan.off, iter->seq, -EBADMSG);
	*ret_view = (struct wal_view){ .info = { .seq = iter->seq } };
	iter->seq++;
	return -EBADMSG;
}

int wal_iter_next(struct wal_iter *iter, struct wal_view *ret_view)
{
	struct wal_place place;
	struct wal_span header;
	int r;

	r = prepare(iter);
	if (r == -EIDRM)
		*ret_view = (struct wal_view){ .info = { .seq = iter->seq } };
	if (r == -EBADMSG && !iter->seg) {
		*ret_view = (struct wal_view){ .info = { .seq = iter->seq++ } };
		return r;
	}
	if (r != 1)
		return r;
	for (;;) {
		if (iter->scan.seq > iter->seq)
			return pass_damaged(iter, ret_view);
		r = wal_scan_next(&iter->scan, false, &place, &header);
		if (r == 1 && place.frame.seq < iter->seq)
			continue;
		if (r == 1)
			break;
		if (r == -EBADMSG || r == -ENODATA || r == 0)
			r = wal_scan_resync(&iter->scan, UINT64_MAX);
		if (r < 0)
			return r;
		if (r == 0) { /* nothing more in this segment: all that should be there is damaged */
			iter->scan.seq = UINT64_MAX;
			r = pass_damaged(iter, ret_view);
			leave_segment(iter);
			return r;
		}
	}
	*ret_view = (struct wal_view){ .info = { .seq = place.frame.seq,
						 .time_ns = place.frame.time_ns,
						 .content_len = place.frame.content_len,
						 .header_len = place.frame.header_len } };
	if (!(iter->flags & WAL_ITER_INFO))
		r = fill_view(iter, &place, header, ret_view);
	else
		r = 0;
	if (r == -EBADMSG)
		return pass_damaged(iter, ret_view);
	if (r < 0)
		return r;
	iter->seq++;
	return 1;
}

/* The first record of which time is at or after: numbers and times grow together, so that halving finds it. */
int wal_find_time(struct wal_stream *stream, int64_t time_ns, uint64_t *ret_seq)
{
	uint64_t low, high;
	int r;

	r = wal_stream_lock_live(stream, 0);
	if (r < 0)
		return r;
	low = stream->slot.first_seq;
	high = stream->live->visible;
	pthread_mutex_unlock(&stream->lock);
	while (low < high) {
		uint64_t mid = low + (high - low) / 2, at = mid;
		struct wal_info info;

		do /* a damaged record has no time: the next one that has decides for it */
			r = wal_record_info(stream, at, 0, &info);
		while (r == -EBADMSG && ++at < high);
		if (r == -EIDRM)
			low = mid + 1;
		else if (r < 0 && r != -EBADMSG)
			return r;
		else if (r == 0 && info.time_ns < time_ns)
			low = at + 1;
		else
			high = mid;
	}
	r = wal_record_info(stream, low, 0, &(struct wal_info){ 0 });
	if (r == -ENOENT || r == -EIDRM)
		return -ENOENT;
	*ret_seq = low;
	return 0;
}
