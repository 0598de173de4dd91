/* SPDX-License-Identifier: MIT
 *
 * record: the bytes of a record. Pure: no I/O, no allocation. A frame is valid if and only if its sum matches
 * its own bytes, its header, its full number and the seed of its segment; so stale, moved, torn or zeroed
 * bytes never pass. Threads: any.
 */
#ifndef WAL_RECORD_H
#define WAL_RECORD_H

#include <stdbool.h>
#include <stdint.h>
#include <walcore/walcore.h>

#include "format.h"
#include "bounds.h"

struct wal_frame {
	uint64_t seq;
	int64_t time_ns;
	uint64_t content_len;
	uint64_t content_sum; /* of the content, or of the table of chunk sums */
	uint32_t header_len;
	bool more; /* the batch goes on with the next record */
};

/* Where a record is. */
struct wal_place {
	struct wal_frame frame;
	uint64_t off; /* of the frame */
};

/* What every sum of a segment starts from. */
uint64_t wal_record_seed(uint64_t stream_id, uint64_t salt);

/* Bytes of the table of chunk sums behind a content of this length. */
static inline uint64_t wal_record_sums_len(uint64_t content_len)
{
	return content_len > WAL_CHUNK ? (content_len + WAL_CHUNK - 1) / WAL_CHUNK * 8 : 0;
}

/* Bytes of the whole record. Both lengths come from a frame or passed the limits, so it cannot overflow. */
static inline uint64_t wal_record_len(uint64_t header_len, uint64_t content_len)
{
	return WAL_FRAME_BYTES + header_len + content_len + wal_record_sums_len(content_len);
}

/* The sum of one chunk, or of a content of at most one chunk, or of the table of sums. */
uint64_t wal_record_content_sum(const void *base, size_t len, uint64_t seed);

void wal_frame_encode(uint8_t out[WAL_FRAME_BYTES], const struct wal_frame *frame, struct wal_span header,
		      uint64_t seed);

/* Reads the fields, unchecked but for the type and the limits: -EBADMSG. The number is the one nearest to
 * seq_near, at or above it, that has the low 32 bits stored. */
int wal_frame_peek(const uint8_t in[WAL_FRAME_BYTES], uint64_t seq_near, struct wal_frame *ret_frame);

/* Checks the frame's sum with its header: 0 or -EBADMSG. */
int wal_frame_check(const uint8_t in[WAL_FRAME_BYTES], const struct wal_frame *frame, struct wal_span header,
		    uint64_t seed);

#endif
