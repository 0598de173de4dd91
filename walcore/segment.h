/* SPDX-License-Identifier: MIT
 *
 * segment: one file of a stream: its head, and records with dense numbers behind it. A segment is counted:
 * the stream holds one reference, and each open record or iterator one, so that a removed segment can be read to
 * its end. Its descriptor is opened when needed and may be closed whenever nobody uses it.
 *
 * Threads: fields are guarded by the lock of the stream, but for `users` and `refs` (atomic) and what never
 * changes. Reading through a pinned segment needs no lock.
 */
#ifndef WAL_SEGMENT_H
#define WAL_SEGMENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "head.h"
#include "index.h"
#include "io.h"
#include "record.h"

struct wal_segment {
	atomic_uint refs;
	atomic_uint users; /* pins: the descriptor must stay */
	struct wal_identity id;
	uint64_t seed;    /* of its sums */
	uint64_t size;    /* bytes in use: the next record begins here */
	uint64_t pos;     /* content bytes of all records of the stream before its first one, or WAL_POS_UNKNOWN */
	uint64_t content; /* content bytes in it; once it is indexed */
	struct wal_index index;
	int fd;           /* -1: closed */
	bool loaded;      /* id, size and seed are known */
	bool headless;    /* nothing of its head can be read: its records are damaged */
	bool indexed;     /* index is complete */
	bool saved;       /* and so is its file, as far as is known */
	bool unproven;    /* it is from a file: where it leads to damage, the records are asked */
	bool dirty;       /* has bytes that no sync covered */
	bool unjournaled; /* neither synced nor in the journal: what is journaled behind it needs its beginning there */
	bool entry_dirty; /* its directory entry was not synced */
	bool removed;     /* unlinked, or its stream deleted: the descriptor cannot be opened again */
};

struct wal_segment *wal_segment_new(uint64_t first); /* NULL: no memory */
void wal_segment_ref(struct wal_segment *seg);
/* True where it closed the descriptor with the last reference. NULL is allowed. */
bool wal_segment_unref(struct wal_segment *seg, const struct wal_io *io);

/* "00000000000000000042.seg", or with another suffix. */
#define WAL_SEGMENT_NAME_LEN 32
void wal_segment_name(uint64_t first, const char *suffix, char name[WAL_SEGMENT_NAME_LEN]);
/* 0 and the number, or -EINVAL where the name is not one of a segment. */
int wal_segment_parse_name(const char *name, uint64_t *ret_first);

/* Writes the head and both slots of a new segment to fd. */
int wal_segment_write_head(const struct wal_io *io, int fd, const struct wal_slot *slot);
int wal_segment_write_slot(const struct wal_io *io, int fd, const struct wal_slot *slot);
/* Reads both. -EBADMSG where no part is valid; -EPROTONOSUPPORT. A damaged first sector is made up for by a slot.
 * -ENODATA: its slots were never written (empty, or zeros). */
int wal_segment_read_head(const struct wal_io *io, int fd, struct wal_slot *ret_slot);

/* Finds record seq: through the index if there, else from the start. -EBADMSG where it is damaged; -EAGAIN. The
 * segment is pinned by the caller; `index` is the point to start from. */
struct wal_finder {
	const struct wal_io *io;
	int fd;
	uint64_t seed;
	struct wal_point from;
	uint64_t size; /* look no further */
};
int wal_segment_find(const struct wal_finder *finder, uint64_t seq, bool nowait, struct wal_place *ret_place);

/* Reads content or header of a place, checking sums. Return a count. sums: the table of chunk sums of this record,
 * already checked, or NULL. */
ssize_t wal_place_read(const struct wal_finder *finder, const struct wal_place *place, const uint8_t *sums,
		       uint64_t off, void *buf, size_t len, bool nowait);
ssize_t wal_place_read_header(const struct wal_finder *finder, const struct wal_place *place, uint64_t off, void *buf,
			      size_t len, bool nowait);
/* Reads and checks the table of chunk sums into buf of wal_record_sums_len bytes. */
int wal_place_read_sums(const struct wal_finder *finder, const struct wal_place *place, uint8_t *buf, bool nowait);

#endif
