/* SPDX-License-Identifier: MIT
 *
 * Finding a record: from the index point the frames' lengths are followed unchecked, in one read as a rule; only the
 * record that was looked for is checked. Where that fails the slow way, which checks every frame and searches for the
 * next valid one behind damage, decides what is damaged.
 */
#include "segment.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "banned.h"
#include "bytes.h"
#include "scan.h"

struct wal_segment *wal_segment_new(uint64_t first)
{
	struct wal_segment *seg = calloc(1, sizeof(*seg));

	if (!seg)
		return NULL;
	atomic_init(&seg->refs, 1);
	seg->id.first = first;
	seg->pos = seg->id.pos = WAL_POS_UNKNOWN;
	seg->fd = -1;
	return seg;
}

void wal_segment_ref(struct wal_segment *seg)
{
	atomic_fetch_add(&seg->refs, 1);
}

bool wal_segment_unref(struct wal_segment *seg, const struct wal_io *io)
{
	bool closed = false;

	if (!seg || atomic_fetch_sub(&seg->refs, 1) != 1)
		return false;
	if (seg->fd >= 0) {
		(void)io->close(io, seg->fd); /* what was written through it was synced, or its stream is gone */
		closed = true;
	}
	wal_index_fini(&seg->index);
	free(seg);
	return closed;
}

void wal_segment_name(uint64_t first, const char *suffix, char name[WAL_SEGMENT_NAME_LEN])
{
	(void)snprintf(name, WAL_SEGMENT_NAME_LEN, "%020" PRIu64 "%s", first, suffix);
}

int wal_segment_parse_name(const char *name, uint64_t *ret_first)
{
	uint64_t first = 0;

	for (int i = 0; i < WAL_SEQ_DIGITS; i++) {
		if (name[i] < '0' || name[i] > '9')
			return -EINVAL;
		if (__builtin_mul_overflow(first, UINT64_C(10), &first) ||
		    __builtin_add_overflow(first, (uint64_t)(name[i] - '0'), &first))
			return -EINVAL;
	}
	if (strcmp(name + WAL_SEQ_DIGITS, WAL_SUFFIX_SEGMENT) != 0 || first == 0 || first > INT64_MAX)
		return -EINVAL;
	*ret_first = first;
	return 0;
}

int wal_segment_write_head(const struct wal_io *io, int fd, const struct wal_slot *slot)
{
	struct wal_slot older = *slot;
	uint8_t buf[WAL_HEAD_BYTES] = { 0 };

	/* Both slots, so that zeros in both say that the head was never written. */
	older.gen--;
	wal_segment_head_encode(buf, &slot->id);
	wal_slot_encode(buf + WAL_SLOT_OFF(slot->gen & 1), slot);
	wal_slot_encode(buf + WAL_SLOT_OFF(older.gen & 1), &older);
	return wal_io_write(io, fd, buf, sizeof(buf), 0);
}

int wal_segment_write_slot(const struct wal_io *io, int fd, const struct wal_slot *slot)
{
	uint8_t buf[WAL_SECTOR];

	wal_slot_encode(buf, slot);
	return wal_io_write(io, fd, buf, sizeof(buf), WAL_SLOT_OFF(slot->gen & 1));
}

/* All but the position, which a slot written by an earlier library has not. */
static bool same_identity(const struct wal_identity *a, const struct wal_identity *b)
{
	return a->stream_id == b->stream_id && a->first == b->first && a->salt == b->salt &&
	       a->created_ns == b->created_ns && a->time_base == b->time_base;
}

static bool is_zero(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (p[i])
			return false;
	return true;
}

int wal_segment_read_head(const struct wal_io *io, int fd, struct wal_slot *ret_slot)
{
	uint8_t buf[WAL_HEAD_BYTES] = { 0 };
	struct wal_identity id;
	ssize_t n = wal_io_read(io, fd, buf, sizeof(buf), 0, false);
	int head, slot;

	if (n < 0)
		return (int)n;
	head = wal_segment_head_decode(buf, &id);
	if (head == -EPROTONOSUPPORT)
		return head;
	slot = wal_slot_pick(buf, ret_slot);
	if (slot == 0 && head >= 0) {
		if (!same_identity(&ret_slot->id, &id))
			return -EBADMSG;
		ret_slot->id = id;
	}
	if (slot == 0)
		return head > 0 ? 1 : 0;
	/* Neither slot: never written, or torn between sectors when it was. What is there and no sector of it is damage. */
	return is_zero(buf + WAL_SECTOR, 2 * WAL_SECTOR) && (head >= 0 || is_zero(buf, WAL_SECTOR)) ? -ENODATA
												    : -EBADMSG;
}

/* The slow way: every frame from the point on is checked. */
static int find_checked(const struct wal_finder *finder, uint64_t seq, struct wal_place *ret_place)
{
	struct wal_scan scan;
	struct wal_span header;
	int r;

	r = wal_scan_init(&scan, finder->io, finder->fd, finder->seed, finder->from, finder->size);
	while (r >= 0) {
		r = wal_scan_next(&scan, false, ret_place, &header);
		if (r == 1 && ret_place->frame.seq == seq)
			break;
		if (r == 1)
			continue;
		if (r == 0) /* the segment ends before it: what should be there is not */
			r = -EBADMSG;
		if (r != -EBADMSG && r != -ENODATA)
			break;
		r = wal_scan_resync(&scan, UINT64_MAX);
		if (r == 0 || (r == 1 && scan.seq > seq))
			r = -EBADMSG;
	}
	wal_scan_fini(&scan);
	return r < 0 ? r : 0;
}

static int check_place(const struct wal_finder *finder, const uint8_t frame[WAL_FRAME_BYTES],
		       const struct wal_place *place, bool nowait)
{
	uint8_t header[WAL_HEADER_MAX];
	size_t len = place->frame.header_len;
	ssize_t n = 0;

	if (len > 0)
		n = wal_io_read(finder->io, finder->fd, header, len, place->off + WAL_FRAME_BYTES, nowait);
	if (n < 0)
		return (int)n;
	if ((size_t)n < len)
		return -EBADMSG;
	return wal_frame_check(frame, &place->frame, (struct wal_span){ header, len }, finder->seed);
}

/* 0: found. 1: the lengths led nowhere. */
static int find_fast(const struct wal_finder *finder, uint64_t seq, bool nowait, struct wal_place *ret_place)
{
	uint8_t buf[WAL_INDEX_STEP + 4096];
	struct wal_place place = { .off = finder->from.off };
	uint64_t window = 0, at = finder->from.seq;
	ssize_t have = 0;
	const uint8_t *p;
	int r;

	for (;; at++) {
		if (place.off + WAL_FRAME_BYTES > finder->size)
			return 1;
		if (place.off < window || place.off + WAL_FRAME_BYTES > window + (uint64_t)have) {
			have = wal_io_read(finder->io, finder->fd, buf,
					   at == seq ? WAL_FRAME_BYTES
						     : (size_t)wal_min_u64(sizeof(buf), finder->size - place.off),
					   place.off, nowait);
			if (have < 0)
				return (int)have;
			if (have < WAL_FRAME_BYTES)
				return 1;
			window = place.off;
		}
		p = buf + (place.off - window);
		if (wal_frame_peek(p, at, &place.frame) < 0 || place.frame.seq != at)
			return 1;
		if (wal_record_len(place.frame.header_len, place.frame.content_len) > finder->size - place.off)
			return 1;
		if (at == seq)
			break;
		place.off += wal_record_len(place.frame.header_len, place.frame.content_len);
	}
	r = check_place(finder, p, &place, nowait);
	if (r == 0)
		*ret_place = place;
	return r == -EBADMSG ? 1 : r;
}

int wal_segment_find(const struct wal_finder *finder, uint64_t seq, bool nowait, struct wal_place *ret_place)
{
	int r;

	assert(seq >= finder->from.seq);
	r = find_fast(finder, seq, nowait, ret_place);
	if (r <= 0)
		return r;
	return nowait ? -EAGAIN : find_checked(finder, seq, ret_place);
}

int wal_place_read_sums(const struct wal_finder *finder, const struct wal_place *place, uint8_t *buf, bool nowait)
{
	uint64_t off = place->off + WAL_FRAME_BYTES + place->frame.header_len + place->frame.content_len;
	size_t len = wal_record_sums_len(place->frame.content_len);
	ssize_t n = wal_io_read(finder->io, finder->fd, buf, len, off, nowait);

	if (n < 0)
		return (int)n;
	if ((size_t)n < len)
		return -EBADMSG;
	return wal_record_content_sum(buf, len, finder->seed) == place->frame.content_sum ? 0 : -EBADMSG;
}

/* Reads the chunk at `start` whole, checks it, and copies out what is wanted of it. */
static ssize_t read_chunk(const struct wal_finder *finder, const struct wal_place *place, uint64_t sum, uint64_t start,
			  uint64_t off, uint8_t *buf, size_t len, bool nowait)
{
	uint64_t base = place->off + WAL_FRAME_BYTES + place->frame.header_len;
	size_t chunk_len = (size_t)wal_min_u64(WAL_CHUNK, place->frame.content_len - start);
	uint8_t tmp[WAL_CHUNK];
	bool direct = off == start && len >= chunk_len;
	uint8_t *to = direct ? buf : tmp;
	size_t skip = (size_t)(off - start), take = (size_t)wal_min_u64(len, chunk_len - skip);
	ssize_t n = wal_io_read(finder->io, finder->fd, to, chunk_len, base + start, nowait);

	if (n < 0)
		return n;
	if ((size_t)n < chunk_len || wal_record_content_sum(to, chunk_len, finder->seed) != sum)
		return -EBADMSG;
	if (!direct)
		memcpy(buf, tmp + skip, take);
	return (ssize_t)take;
}

ssize_t wal_place_read(const struct wal_finder *finder, const struct wal_place *place, const uint8_t *sums,
		       uint64_t off, void *buf, size_t len, bool nowait)
{
	uint64_t content_len = place->frame.content_len;
	uint8_t *own = NULL;
	size_t done = 0;
	ssize_t r = 0;

	if (off >= content_len || len == 0)
		return 0;
	len = (size_t)wal_min_u64(len, content_len - off);
	if (content_len > WAL_CHUNK && !sums) {
		own = malloc(wal_record_sums_len(content_len));
		r = own ? wal_place_read_sums(finder, place, own, nowait) : -ENOMEM;
		sums = own;
	}
	while (r >= 0 && done < len) {
		uint64_t at = off + done, start = at - at % WAL_CHUNK;
		uint64_t sum = sums ? wal_get_le64(sums + start / WAL_CHUNK * 8) : place->frame.content_sum;

		r = read_chunk(finder, place, sum, start, at, (uint8_t *)buf + done, len - done, nowait);
		if (r > 0)
			done += (size_t)r;
	}
	free(own);
	/* All or an error: a short count would be taken for the end of the record. */
	return r < 0 ? r : (ssize_t)done;
}

ssize_t wal_place_read_header(const struct wal_finder *finder, const struct wal_place *place, uint64_t off, void *buf,
			      size_t len, bool nowait)
{
	uint8_t tmp[WAL_FRAME_BYTES + WAL_HEADER_MAX];
	size_t all = WAL_FRAME_BYTES + place->frame.header_len;
	ssize_t n;

	if (off >= place->frame.header_len)
		return 0;
	n = wal_io_read(finder->io, finder->fd, tmp, all, place->off, nowait);
	if (n < 0)
		return n;
	if ((size_t)n < all ||
	    wal_frame_check(tmp, &place->frame, (struct wal_span){ tmp + WAL_FRAME_BYTES, place->frame.header_len },
			    finder->seed) < 0)
		return -EBADMSG;
	len = (size_t)wal_min_u64(len, place->frame.header_len - off);
	memcpy(buf, tmp + WAL_FRAME_BYTES + off, len);
	return (ssize_t)len;
}
