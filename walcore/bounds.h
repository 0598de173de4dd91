/* SPDX-License-Identifier: MIT
 *
 * bounds: every limit of the engine that is not in the public header, each with its reason.
 */
#ifndef WAL_BOUNDS_H
#define WAL_BOUNDS_H

#include <stdint.h>
#include <walcore/walcore.h>

/* Segments: large enough that a full one costs nothing per record, small enough that a scan of one is short. */
#define WAL_SEGMENT_BYTES_DEFAULT (UINT64_C(64) << 20)
#define WAL_SEGMENT_BYTES_MIN (UINT64_C(4) << 10)

/* The journal: room for some 190,000 durable 100-byte records between checkpoints. */
#define WAL_JOURNAL_BYTES_DEFAULT (UINT64_C(32) << 20)
#define WAL_JOURNAL_BYTES_MIN (UINT64_C(64) << 10)
#define WAL_JOURNAL_BYTES_MAX (UINT64_C(1) << 30)
/* One entry takes at most an eighth of the ring, so that a few always fit while a checkpoint runs. */
#define WAL_JOURNAL_ENTRY_SHARE 8
/* A group is gathered in memory in a quarter of the ring; there are two such buffers, touched only as needed. */
#define WAL_JOURNAL_BUFFER_SHARE 4
/* A checkpoint begins when half of the ring is used: the other half is for those who append meanwhile. */
#define WAL_JOURNAL_CHECKPOINT_SHARE 2

/* Content of a record. */
#define WAL_MAX_RECORD_DEFAULT (UINT64_C(1) << 30)
/* Contents are checksummed by chunks, so that a piece of a large one can be read without reading it all. */
#define WAL_CHUNK (UINT64_C(64) << 10)

/* A batch is in one segment, and nobody else appends to its stream while it is written: a bound on both. */
#define WAL_BATCH_BYTES_MAX (UINT64_C(64) << 20)
/* It is encoded and written in pieces of about this size, which stay in the processor's cache. */
#define WAL_BATCH_PIECE (UINT64_C(128) << 10)

/* The index has a point about every so many bytes of a segment: one page to read for a record found by it. */
#define WAL_INDEX_STEP 4096
/* The position of the newest segment of a stream that has none: what comes before it does not fall below 0. */
#define WAL_POS_ORIGIN (UINT64_C(1) << 62)
/* No position that is found is larger, whatever the disk says, so that those that are written later fit their place. */
#define WAL_POS_MAX (3 * (UINT64_C(1) << 61))
/* Points of sealed segments kept in memory for each stream: 24 MiB, of some 4 GiB of records. */
#define WAL_INDEX_POINTS_KEPT (UINT32_C(1) << 20)
/* Below this many points a scan of the segment is as fast as reading an index file. */
#define WAL_INDEX_SAVE_MIN 64

/* An append up to this size is gathered on the stack, so that it is one system call and no allocation. */
#define WAL_GATHER_BYTES 16384
/* Scans read a segment through a window of this size; it holds any header with its frame. */
#define WAL_WINDOW_BYTES (256 * 1024)

#define WAL_OPEN_FILES_DEFAULT_MAX 4096
#define WAL_OPEN_FILES_MIN 16
/* Past this many unsynced files one syncfs is cheaper than a sync of each. */
#define WAL_SYNCFS_MIN 32

#define WAL_INTERVAL_DEFAULT_NS INT64_C(1000000000)
/* Ids are reserved on disk by so many; a crash wastes at most these. */
#define WAL_ID_RESERVE 1024

/* Damage reports kept; a store that is wholly broken must not fill the memory. */
#define WAL_TROUBLES_MAX 1024
/* Damaged ranges remembered per live stream; further ones are found again when they are read. */
#define WAL_DAMAGE_MAX 4096

/* Free space below which a reservation takes real blocks of the disk instead of trusting a figure. */
#define WAL_SPACE_LOW (UINT64_C(64) << 20)
/* How long a figure of free space is believed. */
#define WAL_SPACE_AGE_NS INT64_C(100000000)

/* A call that must not wait waits so long for a stream's lock: longer than any append in memory takes. */
#define WAL_NOWAIT_LOCK_NS 200000

/* Segments are removed when a tenth of the retention period is over, at the earliest each second. */
#define WAL_RETENTION_SHARE 10
#define WAL_RETENTION_PERIOD_MIN_NS INT64_C(1000000000)

#endif
