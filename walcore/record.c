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

/* The sum covers the frame behind the sum, the full number, and through the seed the header. */
static uint64_t frame_sum(const uint8_t frame[WAL_FRAME_BYTES], uint64_t seq, struct wal_span header, uint64_t seed)
{
	uint8_t buf[WAL_FRAME_BYTES];

	memcpy(buf, frame + 8, WAL_FRAME_BYTES - 8);
	wal_put_le64(buf + WAL_FRAME_BYTES - 8, seq);
	if (header.len > 0)
		seed = wal_sum(header.base, header.len, seed);
	return wal_sum(buf, sizeof(buf), seed);
}

void wal_frame_encode(uint8_t out[WAL_FRAME_BYTES], const struct wal_frame *frame, struct wal_span header,
		      uint64_t seed)
{
	assert(frame->header_len == header.len);
	assert(frame->header_len <= WAL_HEADER_MAX);
	assert(frame->content_len <= WAL_CONTENT_MAX);
	assert(frame->seq > 0);
	wal_put_le64(out + 8, frame->content_sum);
	wal_put_le64(out + 16, (uint64_t)frame->time_ns);
	wal_put_le32(out + 24, (uint32_t)frame->seq);
	wal_put_le32(out + 28, (uint32_t)frame->content_len);
	out[32] = (uint8_t)(frame->content_len >> 32);
	out[33] = (uint8_t)(WAL_FRAME_TYPE | (frame->more ? WAL_FRAME_MORE : 0));
	wal_put_le16(out + 34, (uint16_t)frame->header_len);
	wal_put_le64(out, frame_sum(out, frame->seq, header, seed));
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
	assert(header.len == frame->header_len);
	return wal_get_le64(in) == frame_sum(in, frame->seq, header, seed) ? 0 : -EBADMSG;
}
