/* SPDX-License-Identifier: MIT
 *
 * stretch: the records between two points of an index, as a whole. Both points say where they stand in the contents, so that
 * damage between them moves nothing outside, and what is readable between them is found.
 * Threads: any.
 */
#ifndef WAL_STRETCH_H
#define WAL_STRETCH_H

#include "scan.h"

/* A record; or, damaged, n of them which cannot be told apart. */
struct wal_part {
	struct wal_place place; /* damaged: seq, content_len and off alone */
	uint64_t n;
	uint64_t pos; /* of its content, in the segment */
	bool damaged;
};

/* Records begin less than WAL_INDEX_STEP bytes behind the first; between any two there can be damage. */
#define WAL_STRETCH_PARTS (2 * (WAL_INDEX_STEP / WAL_FRAME_BYTES + 2))

struct wal_stretch {
	size_t n;
	bool damaged;                             /* some part is */
	struct wal_part parts[WAL_STRETCH_PARTS]; /* their numbers and positions run on from one to the next */
};

/* Reads the frames and headers between two points of the segment that the scan is in. Contents are not looked at. Records
 * whose frame says nothing credible count for what makes `to` right. -ESTALE: there is no damage, and yet the points do not
 * fit what is there: the index is wrong. -EAGAIN. */
int wal_stretch_read(struct wal_scan *scan, struct wal_point from, struct wal_point to,
		     struct wal_stretch *ret_stretch);

/* The part that has the record, or the byte; NULL where none has. */
const struct wal_part *wal_stretch_seq(const struct wal_stretch *stretch, uint64_t seq);
const struct wal_part *wal_stretch_pos(const struct wal_stretch *stretch, uint64_t pos);

#endif
