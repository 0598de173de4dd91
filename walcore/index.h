/* SPDX-License-Identifier: MIT
 *
 * index: number -> offset and position for one segment, sparse: the first record is a point, and each that begins
 * WAL_INDEX_STEP bytes or more after the last point. What lies between two points is a stretch. A cache: what it says is
 * checked against the records found there, and it is rebuilt from the segment when missing or wrong.
 * Threads: guarded by the lock of the stream.
 */
#ifndef WAL_INDEX_H
#define WAL_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "io.h"

struct wal_point {
	uint64_t seq;
	uint64_t off;
	uint64_t pos; /* content bytes of the records before it in its segment */
};

struct wal_index {
	struct wal_point *points;
	size_t n, cap;
};

void wal_index_fini(struct wal_index *index);

/* Takes note of a record where it is a step from the last point. Returns 0 or -ENOMEM: the index is then not complete. */
int wal_index_note(struct wal_index *index, struct wal_point point);

/* The last point at or before seq, or `start`. */
struct wal_point wal_index_before(const struct wal_index *index, uint64_t seq, struct wal_point start);

/* How many points are at or before a number, or a position. */
size_t wal_index_count_seq(const struct wal_index *index, uint64_t seq);
size_t wal_index_count_pos(const struct wal_index *index, uint64_t pos);

/* Saves to, and loads from, the file at path. `end` says what the index covers: all numbers below end.seq, all bytes
 * below end.off, with end.pos bytes of content. Load: -EBADMSG or -ENOENT; *index is unchanged then. */
int wal_index_save(const struct wal_index *index, const struct wal_io *io, int dirfd, const char *path, uint64_t salt,
		   struct wal_point end);
int wal_index_load(struct wal_index *index, const struct wal_io *io, int dirfd, const char *path, uint64_t salt,
		   struct wal_point *ret_end);

#endif
