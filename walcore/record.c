/* SPDX-License-Identifier: MIT
 *
 * Frame: sum u64 | content sum u64 | time i64 | number, low 32 bits | content length u40 | type and flags u8 |
 * header length u16; then the header, the content and, past one chunk, the table of chunk sums.
 */
#include "record.h"

#include <assert.h>
#include <errno.h>

#include "banned.h"
#include "bytes.h"
#include "checksum.h"

static_assert(WAL_HEADER_MAX <= UINT16_MAX, "the header length has 16 bits");
static_assert(WAL_CONTENT_MAX < UINT64_C(1) << 40, "the content length has 40 bits");

uint64_t wal_record_seed(uint64_t stream_id, uint64_t salt)
{
	uint8_t buf[16];

	wal_put_le64(buf, stream_id);
	wal_put_le64(buf + 8, salt);
	return wal_sum(buf, sizeof(buf), 0);
}

uint64_t wal_record_content_sum(const void *base, size_t len, uint64_t seed)
{
	return wal_sum(base, len, seed);
}

/* What the sum of a frame covers: the frame behind the sum, then the full number. */
#define SUMMED_BYTES (WAL_FRAME_BYTES - 8 + 8)

static uint64_t frame_sum(const uint8_t summed[SUMMED_BYTES], struct wal_span header, uint64_t seed)
{
	if (header.len > 0)
		seed = wal_sum(header.base, header.len, seed);
	return wal_sum(summed, SUMMED_BYTES, seed);
}

static inline void put_fields(uint8_t out[WAL_FRAME_BYTES - 8], const struct wal_frame *frame)
{
	wal_put_le64(out, frame->content_sum);
	wal_put_le64(out + 8, (uint64_t)frame->time_ns);
	wal_put_le32(out + 16, (uint32_t)frame->seq);
	wal_put_le32(out + 20, (uint32_t)frame->content_len);
	out[24] = (uint8_t)(frame->content_len >> 32);
	out[25] = (uint8_t)(WAL_FRAME_TYPE | (frame->more ? WAL_FRAME_MORE : 0));
	wal_put_le16(out + 26, (uint16_t)frame->header_len);
}

void wal_frame_encode(uint8_t out[WAL_FRAME_BYTES], const struct wal_frame *frame, struct wal_span header,
		      uint64_t seed)
{
	uint8_t summed[SUMMED_BYTES];

	assert(frame->header_len == header.len);
	assert(frame->header_len <= WAL_HEADER_MAX);
	assert(frame->content_len <= WAL_CONTENT_MAX);
	assert(frame->seq > 0);
	/* Twice, not copied: a copy of what was just stored piece by piece waits for the stores, longer than all the rest. */
	put_fields(out + 8, frame);
	put_fields(summed, frame);
	wal_put_le64(summed + WAL_FRAME_BYTES - 8, frame->seq);
	wal_put_le64(out, frame_sum(summed, header, seed));
}

int wal_frame_peek(const uint8_t in[WAL_FRAME_BYTES], uint64_t seq_near, struct wal_frame *ret_frame)
{
	uint64_t content_len = wal_get_le32(in + 28) | (uint64_t)in[32] << 32;
	uint32_t seq_low = wal_get_le32(in + 24);

	if ((in[33] & WAL_FRAME_TYPE_MASK) != WAL_FRAME_TYPE || content_len > WAL_CONTENT_MAX)
		return -EBADMSG;
	*ret_frame = (struct wal_frame){
		.seq = seq_near + (uint32_t)(seq_low - (uint32_t)seq_near),
		.time_ns = (int64_t)wal_get_le64(in + 16),
		.content_len = content_len,
		.content_sum = wal_get_le64(in + 8),
		.header_len = wal_get_le16(in + 34),
		.more = in[33] & WAL_FRAME_MORE,
	};
	return 0;
}

int wal_frame_check(const uint8_t in[WAL_FRAME_BYTES], const struct wal_frame *frame, struct wal_span header,
		    uint64_t seed)
{
	uint8_t summed[SUMMED_BYTES];

	assert(header.len == frame->header_len);
	memcpy(summed, in + 8, WAL_FRAME_BYTES - 8);
	wal_put_le64(summed + WAL_FRAME_BYTES - 8, frame->seq);
	return wal_get_le64(in) == frame_sum(summed, header, seed) ? 0 : -EBADMSG;
}
