/* SPDX-License-Identifier: MIT
 *
 * load: what recovery did not read of a stream's older segments, when it is needed: the head, the index, the position.
 *
 * A segment's position stands in its head. A segment made by a library that did not write it yet has the next one's less its
 * own content; the last one of such a stream is at WAL_POS_ORIGIN, so that what comes before it never falls below 0.
 *
 * Damage does not move what is not damaged: a scan that meets it guesses how much content was there, and what it counted behind
 * it is then put right by the position of the next segment.
 */
#include <assert.h>
#include <errno.h>

#include "banned.h"
#include "bytes.h"
#include "scan.h"
#include "stream.h"

size_t wal_live_count(const struct wal_live *live, uint64_t seq)
{
	size_t low = 0, high = live->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (live->segs[mid]->id.first <= seq)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bool has_segment(const struct wal_live *live, const struct wal_segment *seg)
{
	size_t count = wal_live_count(live, seg->id.first);

	return count > 0 && live->segs[count - 1] == seg;
}

static size_t place_of(const struct wal_live *live, const struct wal_segment *seg)
{
	assert(has_segment(live, seg));
	return wal_live_count(live, seg->id.first) - 1;
}

static int note(struct wal_stream *stream, const struct wal_segment *seg, int code, const char *reason)
{
	char file[WAL_SEGMENT_NAME_LEN];

	wal_segment_name(seg->id.first, WAL_SUFFIX_SEGMENT, file);
	if (code == -EBADMSG || code == -EIO)
		wal_store_note(stream->store, stream->name, file, 0, seg->id.first, 0, code, reason);
	return code;
}

int wal_stream_load_head_locked(struct wal_stream *stream, struct wal_segment *seg)
{
	struct wal_store *store = stream->store;
	struct wal_slot slot = { .gen = 0 };
	struct stat st = { .st_size = 0 };
	int r;

	if (seg->loaded || seg->headless)
		return seg->headless ? -EBADMSG : 0;
	r = wal_stream_pin_locked(stream, seg);
	if (r == 0) {
		r = wal_segment_read_head(store->io, seg->fd, &slot);
		if (r >= 0 && (slot.id.first != seg->id.first || slot.id.stream_id != stream->id))
			r = -EBADMSG;
		if (r >= 0)
			r = store->io->fstat(store->io, seg->fd, &st);
		wal_stream_unpin(seg);
	}
	if (r == -EBADMSG || r == -ENODATA || r == -ENOENT) {
		seg->headless = true;
		r = -EBADMSG;
	}
	if (r < 0)
		return note(stream, seg, r, "its head cannot be read");
	seg->id = slot.id;
	seg->seed = wal_record_seed(stream->id, slot.id.salt);
	seg->size = (uint64_t)st.st_size;
	seg->pos = slot.id.pos;
	seg->loaded = true;
	return 0;
}

/* What a scan met that was no record. */
struct gaps {
	bool any;
	size_t first, last; /* points noted before the first one, and before the last one */
	uint64_t start;     /* where the last one begins */
};

static int pass_gap(struct wal_scan *scan, struct wal_point from, struct wal_point to, const struct wal_index *index,
		    struct gaps *gaps, uint64_t *pos)
{
	uint64_t len;
	int r = wal_scan_gap(scan, from, to, &len);

	if (r < 0)
		return r;
	gaps->last = index->n;
	if (!gaps->any)
		gaps->first = index->n;
	gaps->any = true;
	gaps->start = *pos;
	*pos += len;
	return 0;
}

/* Walks over a segment. Damage does not stop it: what lies behind it is indexed again. */
static int scan_points(struct wal_scan *scan, struct wal_index *index, struct wal_point end, struct gaps *gaps,
		       uint64_t *ret_content)
{
	struct wal_place place;
	struct wal_span header;
	uint64_t pos = 0;
	bool more = true;
	int r;

	while (more) {
		struct wal_point from;

		r = wal_scan_next(scan, false, &place, &header);
		if (r == 1) {
			r = wal_index_note(index, (struct wal_point){ place.frame.seq, place.off, pos });
			if (r < 0)
				return r;
			pos += place.frame.content_len;
			continue;
		}
		from = (struct wal_point){ scan->seq, scan->off, 0 };
		if (r == -EBADMSG || r == -ENODATA)
			r = wal_scan_resync(scan, UINT64_MAX);
		if (r < 0)
			return r;
		if (r == 0)
			scan->seq = wal_max_u64(end.seq, from.seq);
		if (r == 0)
			scan->off = end.off;
		more = r > 0;
		if (scan->seq > from.seq)
			r = pass_gap(scan, from, (struct wal_point){ scan->seq, scan->off, 0 }, index, gaps, &pos);
		if (r < 0)
			return r;
	}
	*ret_content = pos;
	return 0;
}

/* The content is known to be `total`, not what was counted: the last gap has the difference. */
static void anchor(struct wal_index *index, const struct gaps *gaps, uint64_t counted, uint64_t total)
{
	uint64_t tail, begin;

	if (!gaps->any)
		return;
	tail = gaps->last < index->n ? counted - index->points[gaps->last].pos : 0;
	begin = wal_min_u64(wal_max_u64(gaps->start, total - wal_min_u64(tail, total)), total);
	for (size_t i = index->n; i-- > gaps->last;)
		index->points[i].pos = wal_min_u64(begin + (index->points[i].pos - index->points[gaps->last].pos),
						   total);
	for (size_t i = gaps->first; i < gaps->last; i++)
		index->points[i].pos = wal_min_u64(index->points[i].pos, begin);
}

/* The content of segment i by the positions, where they are known. */
static bool content_known(struct wal_stream *stream, size_t i, uint64_t *ret_content)
{
	struct wal_live *live = stream->live;

	if (i + 1 == live->n) {
		*ret_content = live->segs[i]->content; /* as recovered, and counted since */
		return true;
	}
	if (live->segs[i]->pos == WAL_POS_UNKNOWN || wal_stream_load_pos_locked(stream, i + 1, 0) < 0)
		return false;
	*ret_content = live->segs[i + 1]->pos - wal_min_u64(live->segs[i]->pos, live->segs[i + 1]->pos);
	return true;
}

/* Makes the index from the records. Where there is damage an old one is kept, if it may be (keep): it knew what was there. */
static int reindex_locked(struct wal_stream *stream, struct wal_segment *seg, bool keep)
{
	size_t i = place_of(stream->live, seg);
	bool last = i + 1 == stream->live->n;
	struct wal_point from = { seg->id.first, WAL_HEAD_BYTES, 0 };
	struct wal_point end = { last ? stream->live->next : stream->live->segs[i + 1]->id.first, seg->size, 0 };
	struct wal_index index = { NULL, 0, 0 };
	struct gaps gaps = { .any = false };
	uint64_t counted = 0, total;
	struct wal_scan scan;
	int r;

	r = wal_scan_init(&scan, stream->store->io, seg->fd, seg->seed, from, seg->size);
	if (r == 0)
		r = scan_points(&scan, &index, end, &gaps, &counted);
	wal_scan_fini(&scan);
	if (r < 0) {
		wal_index_fini(&index);
		return r;
	}
	seg->unproven = false;
	if (keep && seg->indexed && gaps.any) {
		wal_index_fini(&index);
		return 0;
	}
	total = counted;
	if ((gaps.any || last) && content_known(stream, i, &total))
		anchor(&index, &gaps, counted, total);
	wal_index_fini(&seg->index);
	seg->index = index;
	seg->content = total;
	seg->indexed = true;
	/* So that it need not be done again; not where there is damage, which may have been known better before. */
	if (!last && !gaps.any)
		wal_stream_save_index_locked(stream, seg, end.seq);
	wal_stream_drop_indexes_locked(stream, seg);
	return 0;
}

void wal_stream_drop_indexes_locked(struct wal_stream *stream, const struct wal_segment *keep)
{
	struct wal_live *live = stream->live;
	uint64_t points = 0;

	for (size_t i = 0; i + 1 < live->n; i++)
		points += live->segs[i]->index.n;
	for (size_t i = 0; i + 1 < live->n && points > stream->store->index_points_kept; i++) {
		struct wal_segment *seg = live->segs[i];

		if (seg == keep || !seg->saved)
			continue;
		points -= seg->index.n;
		wal_index_fini(&seg->index);
		seg->indexed = false;
	}
}

int wal_stream_load_segment_locked(struct wal_stream *stream, struct wal_segment *seg)
{
	struct wal_store *store = stream->store;
	struct wal_live *live = stream->live;
	char path[WAL_PATH_MAX];
	struct wal_point end;
	size_t i;
	int r;

	if (seg->loaded && seg->indexed)
		return 0;
	r = wal_stream_load_head_locked(stream, seg);
	if (r < 0)
		return r;
	i = place_of(live, seg);
	wal_stream_path(stream, seg->id.first, WAL_SUFFIX_INDEX, path, sizeof(path));
	r = i + 1 < live->n ? wal_index_load(&seg->index, store->io, store->dirfd, path, seg->id.salt, &end) : -ENOENT;
	if (r < 0 || end.off != seg->size)
		return note(stream, seg, reindex_locked(stream, seg, false), "its records cannot be read");
	seg->content = end.pos +
		       (end.seq < live->segs[i + 1]->id.first); /* what is missing behind it counts for something */
	seg->indexed = seg->unproven = seg->saved = true;
	wal_stream_drop_indexes_locked(stream, seg);
	return 0;
}

int wal_stream_prove_index(struct wal_stream *stream, struct wal_segment *seg, bool wrong)
{
	int r = 0;

	pthread_mutex_lock(&stream->lock);
	/* Where the stream was given up and recovered meanwhile, this segment is none of its any more. */
	if (stream->live && has_segment(stream->live, seg) && seg->loaded && (wrong || seg->unproven))
		r = reindex_locked(stream, seg, !wrong);
	pthread_mutex_unlock(&stream->lock);
	return r;
}

int wal_stream_load_pos_locked(struct wal_stream *stream, size_t i, uint32_t flags)
{
	struct wal_live *live = stream->live;
	size_t j = i;
	int r;

	for (;; j++) { /* up to the first that has one: the last has */
		struct wal_segment *seg = live->segs[j];

		if (seg->pos == WAL_POS_UNKNOWN && !seg->loaded && !seg->headless) {
			r = flags & WAL_NOWAIT ? -EAGAIN : wal_stream_load_head_locked(stream, seg);
			if (r < 0 && r != -EBADMSG)
				return r;
		}
		if (seg->pos != WAL_POS_UNKNOWN)
			break;
	}
	while (j-- > i) {
		struct wal_segment *seg = live->segs[j], *next = live->segs[j + 1];
		uint64_t content = (j == 0 || next->id.pos == WAL_POS_UNKNOWN) && next->pos > 0;

		if (!seg->headless) {
			if (flags & WAL_NOWAIT && !seg->indexed)
				return -EAGAIN;
			r = wal_stream_pin_locked(stream, seg);
			if (r < 0)
				return r;
			r = wal_stream_load_segment_locked(stream, seg);
			wal_stream_unpin(seg);
			if (r < 0)
				return r;
			content = seg->content;
		}
		seg->pos = next->pos - wal_min_u64(content, next->pos);
	}
	return 0;
}
