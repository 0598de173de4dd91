/* SPDX-License-Identifier: MIT */
#include "stretch.h"

#include <errno.h>

#include "banned.h"
#include "bounds.h"
#include "bytes.h"

static void add(struct wal_stretch *stretch, const struct wal_place *place, uint64_t pos)
{
	stretch->parts[stretch->n++] = (struct wal_part){ .place = *place, .n = 1, .pos = pos };
}

/* Something that is no record with the number that is due, at `at`: moves to the next that is, or to the end. */
static int add_damaged(struct wal_scan *scan, struct wal_stretch *stretch, struct wal_point at, uint64_t limit,
		       struct wal_point to, bool search)
{
	uint64_t len = to.pos - wal_min_u64(at.pos, to.pos);
	struct wal_part *part;
	int r = search ? wal_scan_resync(scan, limit) : 0;

	if (r < 0)
		return r;
	if (r == 0 || scan->seq >= to.seq) {
		scan->seq = to.seq;
		scan->off = to.off;
	} else {
		r = wal_scan_gap(scan, at, (struct wal_point){ scan->seq, scan->off, 0 }, &len);
		if (r < 0)
			return r;
	}
	part = &stretch->parts[stretch->n++];
	*part = (struct wal_part){ .n = scan->seq - at.seq, .pos = at.pos, .damaged = true };
	part->place.off = at.off;
	part->place.frame.seq = at.seq;
	part->place.frame.content_len = len;
	return 0;
}

/* Makes the parts end at `end`, not at `pos`: what is damaged is so much longer, or shorter. */
static int anchor(struct wal_stretch *stretch, uint64_t pos, uint64_t end)
{
	for (size_t i = stretch->n; i-- > 0 && pos != end;) {
		uint64_t *len = &stretch->parts[i].place.frame.content_len, old = *len;

		if (!stretch->parts[i].damaged)
			continue;
		*len = pos < end ? old + (end - pos) : old - wal_min_u64(old, pos - end);
		for (size_t k = i + 1; k < stretch->n; k++)
			stretch->parts[k].pos += *len - old; /* wraps where it is less */
		pos += *len - old;
	}
	return pos == end ? 0 : -ESTALE;
}

int wal_stretch_read(struct wal_scan *scan, struct wal_point from, struct wal_point to, struct wal_stretch *ret_stretch)
{
	uint64_t limit = from.off + WAL_INDEX_STEP, pos = from.pos;
	int r;

	ret_stretch->n = 0;
	ret_stretch->damaged = false;
	scan->off = from.off;
	scan->seq = from.seq;
	scan->end = to.off;
	while (scan->seq < to.seq) {
		struct wal_point at = { scan->seq, scan->off, pos };
		bool full = ret_stretch->n + 2 > WAL_STRETCH_PARTS;
		struct wal_place place;
		struct wal_span header;

		r = full ? 0 : wal_scan_next(scan, false, &place, &header);
		if (r == 1) {
			add(ret_stretch, &place, pos);
			pos += place.frame.content_len;
			continue;
		}
		if (r < 0 && r != -EBADMSG && r != -ENODATA)
			return r;
		r = add_damaged(scan, ret_stretch, at, limit, to, r < 0);
		if (r < 0)
			return r;
		pos += ret_stretch->parts[ret_stretch->n - 1].place.frame.content_len;
		ret_stretch->damaged = true;
	}
	if (!ret_stretch->damaged && scan->off != to.off)
		return -ESTALE;
	return anchor(ret_stretch, pos, to.pos);
}

const struct wal_part *wal_stretch_seq(const struct wal_stretch *stretch, uint64_t seq)
{
	for (size_t i = 0; i < stretch->n; i++)
		if (seq - stretch->parts[i].place.frame.seq < stretch->parts[i].n)
			return &stretch->parts[i];
	return NULL;
}

const struct wal_part *wal_stretch_pos(const struct wal_stretch *stretch, uint64_t pos)
{
	for (size_t i = 0; i < stretch->n; i++)
		if (pos - stretch->parts[i].pos < stretch->parts[i].place.frame.content_len)
			return &stretch->parts[i];
	return NULL;
}
