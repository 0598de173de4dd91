/* SPDX-License-Identifier: MIT
 *
 * position: the contents of all records of a stream, one after another, read from any byte on. A segment is found by its
 * position, a stretch by the index, and the stretch is read as a whole. The stream's lock is held to find, not to read.
 *
 * Damage: the positions on both sides of it stand on disk (the head of the next segment) or in the index. What is between is
 * unreadable, and so are its positions; a reader cannot get past it without asking for them.
 */
#include <assert.h>
#include <errno.h>

#include "banned.h"
#include "bytes.h"
#include "stream.h"
#include "stretch.h"

/* Stretches looked up at once: enough for a read of 128 KiB of small records. */
#define LOOK_STRETCHES 64
/* Holds any frame with its header, and a content of a chunk as a rule. */
#define LOOK_WINDOW (WAL_CHUNK + 4096)
static_assert(LOOK_WINDOW >= WAL_FRAME_BYTES + WAL_HEADER_MAX, "a frame with its header fits");

/* Some stretches of one segment, with what is needed to read them without the lock. */
struct look {
	struct wal_stream *stream;
	struct wal_segment *seg; /* pinned and counted; NULL: none of it can be read */
	bool unproven;           /* its index */
	uint64_t base;           /* position of the segment */
	uint64_t first_seq;      /* what is before it is trimmed */
	uint64_t end;            /* the position behind the last record that can be read */
	struct wal_point points[LOOK_STRETCHES + 1];
	size_t n; /* stretches: one less than points */
	struct wal_scan scan;
	struct wal_stretch stretch;
	uint8_t window[LOOK_WINDOW];
};

/* ---- finding ------------------------------------------------------------------------------------------ */

/* The last segment that begins at or before the position; the first one where none does. */
static int segment_at(struct wal_stream *stream, uint64_t pos, uint32_t flags, size_t *ret_i)
{
	struct wal_live *live = stream->live;
	size_t low = 0, high = live->n;

	while (high - low > 1) {
		size_t mid = low + (high - low) / 2;
		int r = wal_stream_load_pos_locked(stream, mid, flags);

		if (r < 0)
			return r;
		if (live->segs[mid]->pos <= pos)
			low = mid;
		else
			high = mid;
	}
	*ret_i = low;
	return wal_stream_load_pos_locked(stream, low, flags);
}

/* Where segment i ends: before the first record of the next one of which anything can be read. */
static int segment_end(struct wal_stream *stream, size_t i, uint32_t flags, struct wal_point *ret_end)
{
	struct wal_live *live = stream->live;
	struct wal_segment *seg = live->segs[i];
	size_t next = i + 1;
	int r;

	if (next == live->n) {
		*ret_end = (struct wal_point){ live->next, seg->size, seg->content };
		return 0;
	}
	r = wal_stream_load_pos_locked(stream, next, flags);
	if (r < 0)
		return r;
	ret_end->off = seg->size;
	ret_end->pos = live->segs[next]->pos - wal_min_u64(seg->pos, live->segs[next]->pos);
	while (live->segs[next]->headless)
		next++; /* the last one has a head */
	ret_end->seq = live->segs[next]->id.first;
	return 0;
}

/* Takes the stretches from the `count`th point of the segment on. */
static void take_points(struct look *look, const struct wal_segment *seg, size_t count, struct wal_point end)
{
	const struct wal_index *index = &seg->index;

	if (count == 0) {
		look->points[0] = (struct wal_point){ seg->id.first, WAL_HEAD_BYTES, 0 };
		count = index->n > 0 && index->points[0].off == WAL_HEAD_BYTES;
	} else {
		look->points[0] = index->points[count - 1];
	}
	look->n = 0;
	while (look->n < LOOK_STRETCHES && count < index->n)
		look->points[++look->n] = index->points[count++];
	if (look->n < LOOK_STRETCHES)
		look->points[++look->n] = end;
}

/* Looks at segment i, from the stretch on that has a position, or a number. Its position is known. */
static int look_locked(struct look *look, size_t i, const uint64_t *pos, uint64_t seq, uint32_t flags)
{
	struct wal_stream *stream = look->stream;
	struct wal_segment *seg = stream->live->segs[i];
	struct wal_point end;
	int r;

	look->base = seg->pos;
	look->first_seq = stream->slot.first_seq;
	look->end = stream->live->pos_visible;
	r = segment_end(stream, i, flags, &end);
	if (r < 0)
		return r;
	if (seg->headless) {
		look->n = 1;
		look->points[0] = (struct wal_point){ seg->id.first, WAL_HEAD_BYTES, 0 };
		look->points[1] = end;
		return 0;
	}
	if (flags & WAL_NOWAIT && (seg->fd < 0 || !seg->indexed))
		return -EAGAIN;
	r = wal_stream_pin_locked(stream, seg);
	if (r < 0)
		return r;
	r = wal_stream_load_segment_locked(stream, seg);
	if (r < 0) {
		wal_stream_unpin(seg);
		return r;
	}
	take_points(look, seg,
		    pos ? wal_index_count_pos(&seg->index, *pos - seg->pos) : wal_index_count_seq(&seg->index, seq),
		    end);
	wal_segment_ref(seg);
	look->seg = seg;
	look->unproven = seg->unproven;
	look->scan = (struct wal_scan){ .io = stream->store->io,
					.fd = seg->fd,
					.seed = seg->seed,
					.window = look->window,
					.window_cap = sizeof(look->window),
					.nowait = flags & WAL_NOWAIT };
	return 0;
}

static void look_init(struct look *look, struct wal_stream *stream)
{
	look->stream = stream; /* not all of it: it is large */
	look->seg = NULL;
	look->base = look->first_seq = look->end = 0;
	look->n = 0;
	look->scan.nowait = false;
}

static void look_fini(struct look *look)
{
	if (!look->seg)
		return;
	wal_stream_unpin(look->seg);
	wal_store_put_segment(look->stream->store, look->seg);
	look->seg = NULL;
}

/* Reads the kth stretch. `ahead`: how much of the file is wanted from its beginning on. -ESTALE: look again. */
static int look_read(struct look *look, size_t k, uint64_t ahead)
{
	struct wal_point from = look->points[k], to = look->points[k + 1];
	int r;

	if (!look->seg) {
		look->stretch.n = 1;
		look->stretch.parts[0] = (struct wal_part){ .n = to.seq - from.seq, .pos = from.pos, .damaged = true };
		look->stretch.parts[0].place.frame.seq = from.seq;
		look->stretch.parts[0].place.frame.content_len = to.pos - from.pos;
		return 0;
	}
	/* Of large contents nothing is read through the window. */
	if (to.off - from.off > LOOK_WINDOW)
		ahead = WAL_INDEX_STEP;
	look->scan.ahead = (size_t)wal_min_u64(ahead, sizeof(look->window));
	r = wal_stretch_read(&look->scan, from, to, &look->stretch);
	if (r != -ESTALE && (r < 0 || !look->stretch.damaged || !look->unproven))
		return r;
	if (look->scan.nowait)
		return -EAGAIN;
	r = wal_stream_prove_index(look->stream, look->seg, r == -ESTALE);
	return r < 0 ? r : -ESTALE;
}

/* ---- one place ---------------------------------------------------------------------------------------- */

/* Where the oldest record is in no segment, its file is gone: one byte before the others stands for it. */
static bool head_is_missing(const struct wal_stream *stream)
{
	return stream->slot.first_seq < stream->live->segs[0]->id.first && stream->live->segs[0]->pos > 0;
}

/* 1: *ret_pos is set. 0: it must be looked for in segment *ret_i. The lock is held. */
static int tell_locked(struct wal_stream *stream, uint64_t seq, uint32_t flags, size_t *ret_i, uint64_t *ret_pos)
{
	struct wal_live *live = stream->live;
	size_t count = wal_live_count(live, seq);
	int r;

	if (seq == 0 || seq > live->visible)
		return -ENOENT;
	if (seq == live->visible) {
		*ret_pos = live->pos_visible;
		return 1;
	}
	if (seq < stream->slot.first_seq)
		return -EIDRM;
	r = wal_stream_load_pos_locked(stream, count > 0 ? count - 1 : 0, flags);
	if (r < 0)
		return r;
	if (count == 0) {
		*ret_pos = live->segs[0]->pos - head_is_missing(stream);
		return 1;
	}
	if (live->segs[count - 1]->id.first == seq && !live->segs[count - 1]->headless) {
		*ret_pos = live->segs[count - 1]->pos;
		return 1;
	}
	while (count > 1 && live->segs[count - 1]->headless)
		count--; /* what has no head belongs to the one before, as a segment that is gone */
	*ret_i = count - 1;
	return wal_stream_load_pos_locked(stream, count - 1, flags);
}

static int try_tell(struct look *look, uint64_t seq, uint32_t flags, uint64_t *ret_pos)
{
	struct wal_stream *stream = look->stream;
	const struct wal_part *part;
	size_t i = 0;
	bool known;
	int r;

	r = wal_stream_lock_live(stream, flags);
	if (r < 0)
		return r;
	r = tell_locked(stream, seq, flags, &i, ret_pos);
	known = r == 1;
	if (r == 0)
		r = look_locked(look, i, NULL, seq, flags);
	pthread_mutex_unlock(&stream->lock);
	if (known)
		return 0;
	if (r == 0)
		r = look_read(look, 0, WAL_INDEX_STEP);
	if (r < 0)
		return r;
	part = wal_stretch_seq(&look->stretch, seq);
	if (!part)
		return -EBADMSG;
	*ret_pos = look->base + part->pos;
	if (seq > part->place.frame.seq) /* of those that cannot be told apart the first one has all */
		*ret_pos += part->place.frame.content_len;
	return 0;
}

int wal_tell(struct wal_stream *stream, uint64_t seq, uint32_t flags, uint64_t *ret_pos)
{
	struct look look;
	uint64_t pos = 0;
	int r = -ESTALE;

	for (int i = 0; i < 2 && r == -ESTALE; i++) {
		look_init(&look, stream);
		r = try_tell(&look, seq, flags, &pos);
		look_fini(&look);
	}
	if (r == 0)
		*ret_pos = pos;
	return r == -ESTALE ? -EBADMSG : r;
}

/* Looks at the place of a position. 1: done. 0: at the end. -ENODATA: nothing of it is in any segment; -EIDRM. */
static int look_at(struct look *look, uint64_t pos, uint32_t flags)
{
	struct wal_stream *stream = look->stream;
	size_t i;
	int r;

	r = wal_stream_lock_live(stream, flags);
	if (r < 0)
		return r;
	if (pos >= stream->live->pos_visible) {
		pthread_mutex_unlock(&stream->lock);
		return 0;
	}
	r = segment_at(stream, pos, flags, &i);
	if (r == 0 && pos < stream->live->segs[i]->pos) { /* the first one */
		look->first_seq = stream->slot.first_seq;
		r = head_is_missing(stream) && pos + 1 == stream->live->segs[i]->pos ? -ENODATA : -EIDRM;
	}
	if (r == 0)
		r = look_locked(look, i, &pos, 0, flags);
	pthread_mutex_unlock(&stream->lock);
	assert(r <= 0);
	return r < 0 ? r : 1;
}

static int try_locate(struct look *look, uint64_t pos, uint32_t flags, uint64_t *ret_seq, uint64_t *ret_off)
{
	const struct wal_part *part;
	int r = look_at(look, pos, flags);

	if (r == -ENODATA) {
		*ret_seq = look->first_seq;
		*ret_off = 0;
		return 0;
	}
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	r = look_read(look, 0, WAL_INDEX_STEP);
	if (r < 0)
		return r;
	part = wal_stretch_pos(&look->stretch, pos - look->base);
	if (!part)
		return -EBADMSG;
	*ret_seq = part->place.frame.seq;
	*ret_off = pos - look->base - part->pos;
	return part->place.frame.seq + part->n <= look->first_seq ? -EIDRM : 0;
}

int wal_locate(struct wal_stream *stream, uint64_t pos, uint32_t flags, uint64_t *ret_seq, uint64_t *ret_off)
{
	uint64_t seq = 0, off = 0;
	struct look look;
	int r = -ESTALE;

	for (int i = 0; i < 2 && r == -ESTALE; i++) {
		look_init(&look, stream);
		r = try_locate(&look, pos, flags, &seq, &off);
		look_fini(&look);
	}
	if (r == 0) {
		*ret_seq = seq;
		*ret_off = off;
	}
	return r == -ESTALE ? -EBADMSG : r;
}

/* ---- reading ------------------------------------------------------------------------------------------ */

/* Copies out of one part, from byte `off` of its content on. */
static ssize_t read_part(struct look *look, const struct wal_part *part, uint64_t off, uint8_t *buf, size_t len)
{
	const struct wal_place *place = &part->place;
	uint64_t content_len = place->frame.content_len;
	size_t skip = WAL_FRAME_BYTES + place->frame.header_len, whole = skip + (size_t)content_len;
	struct wal_scan *scan = &look->scan;
	const uint8_t *p;
	int r;

	if (part->place.frame.seq + part->n <= look->first_seq)
		return -EIDRM;
	if (part->damaged)
		return -EBADMSG;
	len = (size_t)wal_min_u64(len, content_len - off);
	if (content_len > WAL_CHUNK || whole > scan->window_cap) {
		struct wal_finder finder = { .io = scan->io, .fd = scan->fd, .seed = scan->seed, .size = UINT64_MAX };

		return wal_place_read(&finder, place, NULL, off, buf, len, scan->nowait);
	}
	r = wal_scan_bytes(scan, place->off, whole, &p);
	if (r < 0)
		return r == -ENODATA ? -EBADMSG : r;
	if (wal_record_content_sum(p + skip, (size_t)content_len, scan->seed) != place->frame.content_sum)
		return -EBADMSG;
	memcpy(buf, p + skip + off, len);
	return (ssize_t)len;
}

static ssize_t read_stretch(struct look *look, uint64_t pos, uint8_t *buf, size_t len)
{
	const struct wal_stretch *stretch = &look->stretch;
	size_t done = 0;

	for (size_t i = 0; i < stretch->n && done < len; i++) {
		const struct wal_part *part = &stretch->parts[i];
		uint64_t off = pos + done - part->pos;
		ssize_t n;

		if (off >= part->place.frame.content_len)
			continue;
		n = read_part(look, part, off, buf + done, len - done);
		if (n < 0 && look->seg)
			wal_stream_note_damage(look->stream, look->seg, part->place.off, part->place.frame.seq, (int)n);
		if (n < 0)
			return done > 0 ? (ssize_t)done : n;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

/* Reads from byte `pos` of the segment on, as far as the look reaches. At least one byte, or an error. */
static ssize_t read_look(struct look *look, uint64_t pos, uint8_t *buf, size_t len)
{
	size_t end = 1, done = 0;
	ssize_t n = 0;

	while (end < look->n && look->points[end].pos < pos + len)
		end++;
	for (size_t k = 0; k < end && done < len && n >= 0; k++) {
		uint64_t to = look->points[k + 1].pos;

		n = look_read(look, k, look->points[end].off - look->points[k].off);
		if (n == 0)
			n = read_stretch(look, pos + done, buf + done, len - done);
		if (n > 0)
			done += (size_t)n;
		if (pos + done < to) /* something in it could not be read */
			break;
	}
	return done > 0 ? (ssize_t)done : n < 0 ? n : -EBADMSG;
}

ssize_t wal_read_range(struct wal_stream *stream, uint64_t pos, void *buf, size_t len, uint32_t flags)
{
	bool again = true;
	struct look look;
	size_t done = 0;
	ssize_t n = 0;

	while (done < len) {
		look_init(&look, stream);
		n = look_at(&look, pos + done, flags);
		if (n == 1)
			n = read_look(&look, pos + done - look.base, (uint8_t *)buf + done,
				      (size_t)wal_min_u64(len - done, look.end - (pos + done)));
		look_fini(&look);
		if (n == -ESTALE && again) {
			again = false;
			continue;
		}
		if (n <= 0)
			break;
		again = true;
		done += (size_t)n;
	}
	if (done > 0)
		return (ssize_t)done;
	return n == -ENODATA || n == -ESTALE ? -EBADMSG : n;
}
