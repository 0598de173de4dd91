/* SPDX-License-Identifier: MIT
 *
 * The frame: zeros never pass, nor does any changed bit, nor another number, stream or segment.
 */
#include "kit.h"

#include "record.h"

static const uint8_t header[] = "header";
static const struct wal_span header_span = { header, sizeof(header) };

static void frame_of(uint64_t seq, uint8_t out[WAL_FRAME_BYTES], uint64_t seed)
{
	struct wal_frame frame = { .seq = seq,
				   .time_ns = CLOCK_START,
				   .content_len = 123456,
				   .content_sum = 42,
				   .header_len = sizeof(header),
				   .more = true };

	wal_frame_encode(out, &frame, header_span, seed);
}

static int read_frame(const uint8_t in[WAL_FRAME_BYTES], uint64_t seq, uint64_t seed)
{
	struct wal_frame frame;
	int r = wal_frame_peek(in, seq, &frame);

	if (r < 0)
		return r;
	if (frame.header_len != sizeof(header) || frame.seq != seq)
		return -EBADMSG;
	return wal_frame_check(in, &frame, header_span, seed);
}

static void round_trip(void **state)
{
	static const uint64_t seqs[] = { 1, 2, UINT32_MAX, UINT64_C(1) << 32, (UINT64_C(1) << 40) + 5, INT64_MAX };
	uint8_t bytes[WAL_FRAME_BYTES];
	struct wal_frame frame;

	(void)state;
	for (size_t i = 0; i < sizeof(seqs) / sizeof(*seqs); i++) {
		frame_of(seqs[i], bytes, 7);
		assert_int_equal(read_frame(bytes, seqs[i], 7), 0);
		assert_int_equal(wal_frame_peek(bytes, seqs[i] - (seqs[i] > 1), &frame), 0);
		assert_int_equal(frame.seq, seqs[i]);
		assert_int_equal(frame.time_ns, CLOCK_START);
		assert_int_equal(frame.content_len, 123456);
		assert_int_equal(frame.content_sum, 42);
		assert_true(frame.more);
	}
}

static void zeros(void **state)
{
	static const uint8_t bytes[WAL_FRAME_BYTES];
	struct wal_frame frame;

	(void)state;
	assert_int_equal(wal_frame_peek(bytes, 1, &frame), -EBADMSG);
	assert_int_equal(wal_frame_peek(bytes, 0, &frame), -EBADMSG);
}

static void every_bit(void **state)
{
	uint8_t bytes[WAL_FRAME_BYTES];

	(void)state;
	frame_of(1000, bytes, 7);
	for (size_t bit = 0; bit < 8 * WAL_FRAME_BYTES; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(read_frame(bytes, 1000, 7), -EBADMSG);
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	assert_int_equal(read_frame(bytes, 1000, 7), 0);
}

static void elsewhere(void **state)
{
	uint8_t bytes[WAL_FRAME_BYTES], other[] = "headeR";
	struct wal_frame frame;

	(void)state;
	frame_of(1000, bytes, wal_record_seed(5, 99));
	assert_int_equal(read_frame(bytes, 1000, wal_record_seed(5, 99)), 0);
	assert_int_equal(read_frame(bytes, 1001, wal_record_seed(5, 99)), -EBADMSG);
	assert_int_equal(read_frame(bytes, 1000 + (UINT64_C(1) << 32), wal_record_seed(5, 99)), -EBADMSG);
	assert_int_equal(read_frame(bytes, 1000, wal_record_seed(6, 99)), -EBADMSG);
	assert_int_equal(read_frame(bytes, 1000, wal_record_seed(5, 98)), -EBADMSG);
	assert_int_equal(wal_frame_peek(bytes, 1000, &frame), 0);
	assert_int_equal(
		wal_frame_check(bytes, &frame, (struct wal_span){ other, sizeof(other) }, wal_record_seed(5, 99)),
		-EBADMSG);
}

static void lengths(void **state)
{
	(void)state;
	assert_int_equal(wal_record_sums_len(0), 0);
	assert_int_equal(wal_record_sums_len(65536), 0);
	assert_int_equal(wal_record_sums_len(65537), 16);
	assert_int_equal(wal_record_sums_len(3 * 65536), 24);
	assert_int_equal(wal_record_len(10, 65537), 36 + 10 + 65537 + 16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip), cmocka_unit_test(zeros),   cmocka_unit_test(every_bit),
		cmocka_unit_test(elsewhere),  cmocka_unit_test(lengths),
	};

	return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
