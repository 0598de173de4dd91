/* SPDX-License-Identifier: MIT */
#include "scan.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "banned.h"
#include "bytes.h"
#include "bounds.h"

int wal_scan_init(struct wal_scan *scan, const struct wal_io *io, int fd, uint64_t seed, struct wal_point from,
		  uint64_t end)
{
	*scan = (struct wal_scan){ .io = io,
				   .fd = fd,
				   .seed = seed,
				   .off = from.off,
				   .end = end,
				   .seq = from.seq,
				   .window_cap = WAL_WINDOW_BYTES,
				   .ahead = WAL_WINDOW_BYTES };
	scan->window = malloc(WAL_WINDOW_BYTES);
	return scan->window ? 0 : -ENOMEM;
}

void wal_scan_fini(struct wal_scan *scan)
{
	free(scan->window);
	scan->window = NULL;
}

int wal_scan_bytes(struct wal_scan *scan, uint64_t off, size_t len, const uint8_t **ret_bytes)
{
	ssize_t n;

	assert(len <= scan->window_cap);
	if (off < scan->window_off || off + len > scan->window_off + scan->window_len) {
		n = wal_io_read(scan->io, scan->fd, scan->window, len > scan->ahead ? len : scan->ahead, off,
				scan->nowait);
		if (n == -EAGAIN) /* all of it is not in memory: what is needed may be */
			n = wal_io_read(scan->io, scan->fd, scan->window, len, off, true);
		if (n < 0) {
			scan->window_len = 0;
			return (int)n;
		}
		scan->window_off = off;
		scan->window_len = (size_t)n;
	}
	if (off + len > scan->window_off + scan->window_len)
		return -ENODATA;
	*ret_bytes = scan->window + (off - scan->window_off);
	return 0;
}

/* Zeros from off to the end of the file: space that was taken but never written. */
static int only_zeros(struct wal_scan *scan)
{
	for (uint64_t off = scan->off; off < scan->end;) {
		size_t len = (size_t)wal_min_u64(scan->end - off, 65536);
		const uint8_t *p;
		int r = wal_scan_bytes(scan, off, len, &p);

		if (r < 0)
			return r;
		for (size_t i = 0; i < len; i++)
			if (p[i])
				return 0;
		off += len;
	}
	return 1;
}

/* 1 where all sums of a content match, 0 where not. Chunks go through the window one by one. */
static int content_ok(struct wal_scan *scan, const struct wal_place *place)
{
	uint64_t off = place->off + WAL_FRAME_BYTES + place->frame.header_len;
	uint64_t left = place->frame.content_len, at = 0;
	uint64_t table_len = wal_record_sums_len(left);
	const uint8_t *p;
	uint8_t *table;
	int r;

	if (table_len == 0) {
		r = wal_scan_bytes(scan, off, (size_t)left, &p);
		return r < 0 ? r : wal_record_content_sum(p, (size_t)left, scan->seed) == place->frame.content_sum;
	}
	table = malloc(table_len);
	if (!table)
		return -ENOMEM;
	r = (int)wal_io_read(scan->io, scan->fd, table, table_len, off + left, false);
	if (r >= 0)
		r = wal_record_content_sum(table, table_len, scan->seed) == place->frame.content_sum;
	for (; r == 1 && left > 0; at += 8) {
		size_t len = (size_t)wal_min_u64(left, WAL_CHUNK);

		r = wal_scan_bytes(scan, off, len, &p);
		if (r == 0)
			r = wal_record_content_sum(p, len, scan->seed) == wal_get_le64(table + at);
		off += len;
		left -= len;
	}
	free(table);
	return r;
}

/* Reads and checks a frame with its header at off. -ENODATA: does not fit before the end. */
static int frame_at(struct wal_scan *scan, uint64_t off, struct wal_place *ret_place, struct wal_span *ret_header)
{
	struct wal_place place = { .off = off };
	struct wal_span header;
	const uint8_t *p;
	int r;

	if (scan->end - off < WAL_FRAME_BYTES)
		return -ENODATA;
	r = wal_scan_bytes(scan, off, WAL_FRAME_BYTES, &p);
	if (r < 0)
		return r;
	r = wal_frame_peek(p, scan->seq, &place.frame);
	if (r < 0)
		return r;
	if (wal_record_len(place.frame.header_len, place.frame.content_len) > scan->end - off)
		return -ENODATA;
	r = wal_scan_bytes(scan, off, WAL_FRAME_BYTES + place.frame.header_len, &p);
	if (r < 0)
		return r;
	header = (struct wal_span){ p + WAL_FRAME_BYTES, place.frame.header_len };
	r = wal_frame_check(p, &place.frame, header, scan->seed);
	if (r < 0)
		return r;
	*ret_place = place;
	*ret_header = header;
	return 0;
}

int wal_scan_next(struct wal_scan *scan, bool content, struct wal_place *ret_place, struct wal_span *ret_header)
{
	struct wal_place place;
	struct wal_span header;
	int r, good = 1;

	if (scan->off >= scan->end)
		return 0;
	r = frame_at(scan, scan->off, &place, &header);
	if (r == 0 && place.frame.seq != scan->seq)
		r = -EBADMSG; /* valid, and out of order: it does not belong here */
	if (r == -EBADMSG || r == -ENODATA) {
		int zeros = only_zeros(scan);

		return zeros < 0 ? zeros : zeros ? 0 : r;
	}
	if (r < 0)
		return r;
	if (content) {
		good = content_ok(scan, &place);
		if (good < 0)
			return good;
		/* The window may have moved on: the header must be in it again. */
		r = frame_at(scan, scan->off, &place, &header);
		if (r < 0)
			return r;
	}
	scan->off += wal_record_len(place.frame.header_len, place.frame.content_len);
	scan->seq++;
	*ret_place = place;
	*ret_header = header;
	return good ? 1 : 2;
}

int wal_scan_resync(struct wal_scan *scan, uint64_t limit)
{
	struct wal_place place;
	struct wal_span header;
	uint64_t off;
	int r;

	for (off = scan->off + 1; off < limit && off + WAL_FRAME_BYTES <= scan->end; off++) {
		r = frame_at(scan, off, &place, &header);
		if (r == -EBADMSG || r == -ENODATA)
			continue;
		if (r < 0)
			return r;
		/* Records between here and there take a frame each: a number further ahead is not of this place. */
		if (place.frame.seq <= scan->seq ||
		    place.frame.seq - scan->seq > (off - scan->off) / WAL_FRAME_BYTES + 1)
			continue;
		scan->off = off;
		scan->seq = place.frame.seq;
		return 1;
	}
	return 0;
}

int wal_scan_gap(struct wal_scan *scan, struct wal_point from, struct wal_point to, uint64_t *ret_len)
{
	uint64_t n = to.seq - from.seq, room = to.off - from.off, len = 0;
	struct wal_frame frame;
	const uint8_t *p;
	int r;

	*ret_len = room / WAL_FRAME_BYTES > n ? room - n * WAL_FRAME_BYTES : 1;
	while (from.off + WAL_FRAME_BYTES <= to.off && from.seq < to.seq) {
		r = wal_scan_bytes(scan, from.off, WAL_FRAME_BYTES, &p);
		if (r < 0)
			return r == -ENODATA ? 0 : r;
		if (wal_frame_peek(p, from.seq, &frame) < 0 || frame.seq != from.seq)
			return 0;
		from.off += wal_record_len(frame.header_len, frame.content_len);
		from.seq++;
		len += frame.content_len;
	}
	if (from.off == to.off && from.seq == to.seq)
		*ret_len = len;
	return 0;
}
