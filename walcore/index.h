/* SPDX-License-Identifier: MIT
 *
 * index: number -> offset for one segment, sparse: a point about every WAL_INDEX_STEP bytes. A cache: what it
 * says is checked against the record found there, and it is rebuilt from the segment when missing or wrong.
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
};

struct wal_index {
	struct wal_point *points;
	size_t n, cap;
};

void wal_index_fini(struct wal_index *index);

/* Takes note of a record where it is a step from the last point. Returns 0 or -ENOMEM; without the point a
 * search is longer, and still right. */
int wal_index_note(struct wal_index *index, uint64_t seq, uint64_t off);

/* The last point at or before seq, or `start`. */
struct wal_point wal_index_before(const struct wal_index *index, uint64_t seq, struct wal_point start);

/* Saves to, and loads from, the file at path. `end` and `size` say what the index covers: all numbers below end,
 * all bytes below size. Load: -EBADMSG or -ENOENT; *index is unchanged then. */
int wal_index_save(const struct wal_index *index, const struct wal_io *io, int dirfd, const char *path, uint64_t salt,
		   struct wal_point end);
int wal_index_load(struct wal_index *index, const struct wal_io *io, int dirfd, const char *path, uint64_t salt,
		   struct wal_point *ret_end);

#endif
