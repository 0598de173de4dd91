/* SPDX-License-Identifier: MIT
 *
 * head: the first 1,536 bytes of the store's marker and of a segment: one sector that never changes, and two
 * slots that are written in turn, so that one valid slot is always there. Pure: no I/O. Threads: any.
 */
#ifndef WAL_HEAD_H
#define WAL_HEAD_H

#include <stdint.h>
#include <walcore/walcore.h>

#include "format.h"

/* What says which segment this is; it never changes. Kept in the first sector and again in each slot. */
struct wal_identity {
	uint64_t stream_id;
	uint64_t first; /* number of its first record */
	uint64_t salt;  /* random */
	int64_t created_ns;
	int64_t time_base; /* commit time of the record before `first`, or created_ns */
	uint64_t pos;      /* content bytes of all records before `first`, or WAL_POS_UNKNOWN */
};
/* Written by a library that did not know of positions yet. */
#define WAL_POS_UNKNOWN UINT64_MAX

/* The state of a stream, kept in its newest segment. */
struct wal_slot {
	uint64_t gen; /* the larger one of two valid slots counts */
	struct wal_identity id;
	uint64_t first_seq; /* the oldest record not trimmed */
	uint64_t mark_next; /* all records below this number are on disk ... */
	uint64_t mark_off;  /* ... and with them all bytes of this segment below this offset */
	struct wal_attr attr;
	struct wal_settings settings;
};

/* The state of a store. */
struct wal_super {
	uint64_t gen;
	uint64_t epoch;        /* counts openings for writing; seeds the journal's sums */
	uint64_t checkpoint;   /* journal position below which all is in the segments, on disk */
	uint64_t id_bound;     /* ids below this may have been given out */
	uint64_t retention_ns; /* the shortest retention by age that any stream ever had, or 0 */
	struct wal_settings settings;
};

struct wal_marker {
	uint8_t uuid[16];
	int64_t created_ns;
	uint64_t journal_bytes;
};

/* Encoders fill whole sectors. */
void wal_marker_encode(uint8_t out[WAL_SECTOR], const struct wal_marker *marker);
void wal_super_encode(uint8_t out[WAL_SECTOR], const struct wal_super *super);
void wal_segment_head_encode(uint8_t out[WAL_SECTOR], const struct wal_identity *id);
void wal_slot_encode(uint8_t out[WAL_SECTOR], const struct wal_slot *slot);

/* Decoders: -EBADMSG, -EPROTONOSUPPORT (version or incompatible flag); 1: an unknown compatible flag, which
 * allows reading only. */
int wal_marker_decode(const uint8_t in[WAL_SECTOR], struct wal_marker *ret_marker);
int wal_segment_head_decode(const uint8_t in[WAL_SECTOR], struct wal_identity *ret_id);
int wal_super_decode(const uint8_t in[WAL_SECTOR], struct wal_super *ret_super);
int wal_slot_decode(const uint8_t in[WAL_SECTOR], struct wal_slot *ret_slot);

/* The newest valid one of the two slots in the first WAL_HEAD_BYTES of a segment: 0 or -EBADMSG. */
int wal_slot_pick(const uint8_t in[WAL_HEAD_BYTES], struct wal_slot *ret_slot);
int wal_super_pick(const uint8_t in[WAL_HEAD_BYTES], struct wal_super *ret_super);

#endif
