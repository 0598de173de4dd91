/* SPDX-License-Identifier: MIT
 *
 * read: records by number. The stream's lock is held to find the segment and the index point, not for reading. A
 * record that is open pins nothing but memory: its segment stays readable when it is trimmed, because the trim opens
 * the descriptor of a segment that somebody counts on.
 */
#include <assert.h>
#include <errno.h>

#include "banned.h"
#include "bytes.h"
#include "stream.h"

struct wal_record {
	struct wal_stream *stream;
	struct wal_segment *seg; /* counted */
	struct wal_place place;
	struct wal_info info;
	_Atomic(uint8_t *) sums; /* owned; of contents of more than a chunk */
};

static int range_check(const struct wal_stream *stream, uint64_t seq)
{
	if (seq >= stream->live->visible || seq == 0)
		return -ENOENT;
	return seq < stream->slot.first_seq ? -EIDRM : 0;
}

/* Sets up a finder for seq on a pinned segment. The lock is held. */
static int prepare(struct wal_stream *stream, uint64_t seq, uint32_t flags, struct wal_segment **ret_seg,
		   struct wal_finder *ret_finder)
{
	size_t count = wal_live_count(stream->live, seq);
	struct wal_segment *seg;
	int r;

	if (count == 0)
		return -EBADMSG; /* its segment file is gone */
	seg = stream->live->segs[count - 1];
	if (flags & WAL_NOWAIT && (seg->fd < 0 || !seg->indexed))
		return -EAGAIN;
	r = wal_stream_pin_locked(stream, seg);
	if (r < 0)
		return r == -ENOENT ? -EBADMSG : r;
	r = wal_stream_load_segment_locked(stream, seg);
	if (r < 0) {
		wal_stream_unpin(seg);
		return r;
	}
	*ret_finder = (struct wal_finder){
		.io = stream->store->io,
		.fd = seg->fd,
		.seed = seg->seed,
		.from = wal_index_before(&seg->index, seq, (struct wal_point){ seg->id.first, WAL_HEAD_BYTES, 0 }),
		.size = seg->size,
	};
	*ret_seg = seg;
	return 0;
}

void wal_stream_note_damage(struct wal_stream *stream, const struct wal_segment *seg, uint64_t off, uint64_t seq,
			    int code)
{
	char name[WAL_NAME_MAX + 1], file[WAL_SEGMENT_NAME_LEN];

	if (code != -EBADMSG && code != -EIO)
		return;
	pthread_mutex_lock(&stream->board.lock);
	memcpy(name, stream->name, sizeof(name));
	stream->board.damaged_reads += code == -EBADMSG;
	pthread_mutex_unlock(&stream->board.lock);
	wal_segment_name(seg->id.first, WAL_SUFFIX_SEGMENT, file);
	wal_store_note(stream->store, name, file, off, seq, 1, code,
		       code == -EIO ? "read failed" : "damaged record: checksum mismatch");
}

static void put_back(struct wal_stream *stream, struct wal_segment *seg)
{
	wal_stream_unpin(seg);
	wal_store_put_segment(stream->store, seg);
}

/* Finds a record; its segment comes back pinned and counted. -ESTALE: the index was wrong, try again. */
static int try_locate(struct wal_stream *stream, uint64_t seq, uint32_t flags, struct wal_segment **ret_seg,
		      struct wal_finder *ret_finder, struct wal_place *ret_place)
{
	struct wal_segment *seg = NULL;
	bool unproven = false;
	int r;

	r = wal_stream_lock_live(stream, flags);
	if (r < 0)
		return r;
	r = range_check(stream, seq);
	if (r == 0)
		r = prepare(stream, seq, flags, &seg, ret_finder);
	if (r == 0) {
		wal_segment_ref(seg);
		unproven = seg->unproven;
	}
	pthread_mutex_unlock(&stream->lock);
	if (r < 0)
		return r;
	r = wal_segment_find(ret_finder, seq, flags & WAL_NOWAIT, ret_place);
	if (r == -EBADMSG && unproven && wal_stream_prove_index(stream, seg, false) == 0)
		r = -ESTALE;
	if (r < 0) {
		wal_stream_note_damage(stream, seg, ret_finder->from.off, seq, r);
		put_back(stream, seg);
		return r;
	}
	*ret_seg = seg;
	return 0;
}

static int locate(struct wal_stream *stream, uint64_t seq, uint32_t flags, struct wal_segment **ret_seg,
		  struct wal_finder *ret_finder, struct wal_place *ret_place)
{
	int r = try_locate(stream, seq, flags, ret_seg, ret_finder, ret_place);

	if (r == -ESTALE) /* once: what is made from the records is not doubted */
		r = try_locate(stream, seq, flags, ret_seg, ret_finder, ret_place);
	return r == -ESTALE ? -EBADMSG : r;
}

static struct wal_info info_of(const struct wal_frame *frame)
{
	return (struct wal_info){ .seq = frame->seq,
				  .time_ns = frame->time_ns,
				  .content_len = frame->content_len,
				  .header_len = frame->header_len };
}

int wal_record_info(struct wal_stream *stream, uint64_t seq, uint32_t flags, struct wal_info *ret_info)
{
	struct wal_finder finder;
	struct wal_segment *seg;
	struct wal_place place;
	int r = locate(stream, seq, flags, &seg, &finder, &place);

	if (r < 0)
		return r;
	put_back(stream, seg);
	*ret_info = info_of(&place.frame);
	return 0;
}

ssize_t wal_read(struct wal_stream *stream, uint64_t seq, uint64_t off, void *buf, size_t len, uint32_t flags)
{
	struct wal_finder finder;
	struct wal_segment *seg;
	struct wal_place place;
	ssize_t r = locate(stream, seq, flags, &seg, &finder, &place);

	if (r < 0)
		return r;
	r = wal_place_read(&finder, &place, NULL, off, buf, len, flags & WAL_NOWAIT);
	if (r < 0)
		wal_stream_note_damage(stream, seg, place.off, seq, (int)r);
	put_back(stream, seg);
	return r;
}

ssize_t wal_read_header(struct wal_stream *stream, uint64_t seq, uint64_t off, void *buf, size_t len, uint32_t flags)
{
	struct wal_finder finder;
	struct wal_segment *seg;
	struct wal_place place;
	ssize_t r = locate(stream, seq, flags, &seg, &finder, &place);

	if (r < 0)
		return r;
	r = wal_place_read_header(&finder, &place, off, buf, len, flags & WAL_NOWAIT);
	if (r < 0)
		wal_stream_note_damage(stream, seg, place.off, seq, (int)r);
	put_back(stream, seg);
	return r;
}

int wal_record_open(struct wal_stream *stream, uint64_t seq, uint32_t flags, struct wal_record **ret_record)
{
	struct wal_record *record = calloc(1, sizeof(*record));
	struct wal_finder finder;
	int r;

	if (!record)
		return -ENOMEM;
	r = locate(stream, seq, flags, &record->seg, &finder, &record->place);
	if (r < 0) {
		free(record);
		return r;
	}
	atomic_fetch_add(&stream->pins, 1);
	wal_stream_unpin(record->seg);
	record->stream = wal_stream_ref(stream);
	record->info = info_of(&record->place.frame);
	*ret_record = record;
	return 0;
}

const struct wal_info *wal_record_get_info(const struct wal_record *record)
{
	return &record->info;
}

/* Pins the segment of an open record, and sets up a finder for it. */
static int record_pin(struct wal_record *record, uint32_t flags, struct wal_finder *ret_finder)
{
	struct wal_stream *stream = record->stream;
	int r = wal_stream_lock(stream, flags);

	if (r < 0)
		return r;
	if (flags & WAL_NOWAIT && record->seg->fd < 0)
		r = -EAGAIN;
	else
		r = wal_stream_pin_locked(stream, record->seg);
	pthread_mutex_unlock(&stream->lock);
	if (r < 0)
		return r;
	*ret_finder = (struct wal_finder){
		.io = stream->store->io, .fd = record->seg->fd, .seed = record->seg->seed, .size = UINT64_MAX
	};
	return 0;
}

static int record_sums(struct wal_record *record, const struct wal_finder *finder, uint32_t flags)
{
	uint64_t len = wal_record_sums_len(record->info.content_len);
	uint8_t *sums, *none = NULL;
	int r;

	if (len == 0 || record->sums)
		return 0;
	sums = malloc(len);
	r = sums ? wal_place_read_sums(finder, &record->place, sums, flags & WAL_NOWAIT) : -ENOMEM;
	if (r < 0 || !atomic_compare_exchange_strong(&record->sums, &none, sums)) /* or another reader was faster */
		free(sums);
	return r;
}

ssize_t wal_record_read(struct wal_record *record, uint64_t off, void *buf, size_t len, uint32_t flags)
{
	struct wal_finder finder;
	ssize_t r = record_pin(record, flags, &finder);

	if (r < 0)
		return r;
	r = record_sums(record, &finder, flags);
	if (r == 0)
		r = wal_place_read(&finder, &record->place, record->sums, off, buf, len, flags & WAL_NOWAIT);
	wal_stream_unpin(record->seg);
	if (r < 0)
		wal_stream_note_damage(record->stream, record->seg, record->place.off, record->info.seq, (int)r);
	return r;
}

ssize_t wal_record_read_header(struct wal_record *record, uint64_t off, void *buf, size_t len, uint32_t flags)
{
	struct wal_finder finder;
	ssize_t r = record_pin(record, flags, &finder);

	if (r < 0)
		return r;
	r = wal_place_read_header(&finder, &record->place, off, buf, len, flags & WAL_NOWAIT);
	wal_stream_unpin(record->seg);
	if (r < 0)
		wal_stream_note_damage(record->stream, record->seg, record->place.off, record->info.seq, (int)r);
	return r;
}

void wal_record_close(struct wal_record *record)
{
	if (!record)
		return;
	atomic_fetch_sub(&record->stream->pins, 1);
	wal_store_put_segment(record->stream->store, record->seg);
	wal_stream_unref(record->stream);
	free(record->sums);
	free(record);
}
