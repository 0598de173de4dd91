/* SPDX-License-Identifier: MIT
 *
 * Heads: every changed bit is seen, the newer one of two valid slots counts, another version is told from damage.
 */
#include "kit.h"

#include <xxhash.h>

#include "head.h"

static struct wal_slot slot_of(uint64_t gen)
{
	return (struct wal_slot){ .gen = gen,
				  .id = { 5, 100, 0x1234, CLOCK_START, CLOCK_START - 1, 0 },
				  .first_seq = 90 + gen,
				  .mark_next = 110,
				  .mark_off = 4000,
				  .attr = { 1, 2, 0750 },
				  .settings = { 2, 0, 1, 2, 3, 4 } };
}

static void round_trip(void **state)
{
	struct wal_slot slot = slot_of(7), got_slot = { 0 };
	struct wal_super super = { 1, 2, 3, 4, 5, { 1, 0, 9, 8, 7, 6 } }, got_super = { 0 };
	struct wal_marker marker = { "0123456789abcde", CLOCK_START, 65536 }, got_marker = { 0 };
	struct wal_identity got_id = { 0 };
	uint8_t sector[WAL_SECTOR], again[WAL_SECTOR];

	(void)state;
	wal_slot_encode(sector, &slot);
	assert_int_equal(wal_slot_decode(sector, &got_slot), 0);
	wal_slot_encode(again, &got_slot);
	assert_memory_equal(sector, again, sizeof(sector));
	assert_int_equal(got_slot.first_seq, slot.first_seq);
	assert_int_equal(got_slot.mark_off, slot.mark_off);
	assert_int_equal(got_slot.attr.mode, slot.attr.mode);
	wal_super_encode(sector, &super);
	assert_int_equal(wal_super_decode(sector, &got_super), 0);
	assert_memory_equal(&super, &got_super, sizeof(super));
	wal_marker_encode(sector, &marker);
	assert_int_equal(wal_marker_decode(sector, &got_marker), 0);
	assert_memory_equal(&marker, &got_marker, sizeof(marker));
	wal_segment_head_encode(sector, &slot.id);
	assert_int_equal(wal_segment_head_decode(sector, &got_id), 0);
	assert_memory_equal(&slot.id, &got_id, sizeof(got_id));
	assert_int_equal(wal_marker_decode(sector, &got_marker), -EBADMSG);
}

/* What a library wrote that knew of no positions has zeros in their place, and is not at 0. */
static void positions(void **state)
{
	static const uint64_t some[] = { 0, 1, 1 << 20, UINT64_C(1) << 62, WAL_POS_UNKNOWN };
	struct wal_slot slot = slot_of(7), got_slot = { 0 };
	uint8_t sector[WAL_SECTOR];
	struct wal_identity got_id;

	(void)state;
	for (size_t i = 0; i < sizeof(some) / sizeof(*some); i++) {
		slot.id.pos = some[i];
		wal_slot_encode(sector, &slot);
		assert_int_equal(wal_slot_decode(sector, &got_slot), 0);
		assert_true(got_slot.id.pos == some[i]);
		if (some[i] == WAL_POS_UNKNOWN)
			assert_memory_equal(sector + 136, (uint8_t[8]){ 0 }, 8);
		wal_segment_head_encode(sector, &slot.id);
		assert_int_equal(wal_segment_head_decode(sector, &got_id), 0);
		assert_true(got_id.pos == some[i]);
		if (some[i] == WAL_POS_UNKNOWN)
			assert_memory_equal(sector + 56, (uint8_t[8]){ 0 }, 8);
	}
}

static void every_bit(void **state)
{
	struct wal_slot slot = slot_of(7);
	uint8_t sector[WAL_SECTOR], head[WAL_SECTOR];
	struct wal_identity id;

	(void)state;
	wal_slot_encode(sector, &slot);
	wal_segment_head_encode(head, &slot.id);
	for (size_t bit = 0; bit < 8 * WAL_SECTOR; bit++) {
		uint8_t mask = (uint8_t)(1u << bit % 8);

		sector[bit / 8] ^= mask;
		head[bit / 8] ^= mask;
		assert_int_equal(wal_slot_decode(sector, &slot), -EBADMSG);
		assert_int_equal(wal_segment_head_decode(head, &id), -EBADMSG);
		sector[bit / 8] ^= mask;
		head[bit / 8] ^= mask;
	}
}

static void picking(void **state)
{
	struct wal_slot a = slot_of(8), b = slot_of(9), got;
	uint8_t head[WAL_HEAD_BYTES] = { 0 };

	(void)state;
	assert_int_equal(wal_slot_pick(head, &got), -EBADMSG);
	wal_slot_encode(head + WAL_SLOT_OFF(0), &a);
	assert_int_equal(wal_slot_pick(head, &got), 0);
	assert_int_equal(got.gen, 8);
	wal_slot_encode(head + WAL_SLOT_OFF(1), &b);
	assert_int_equal(wal_slot_pick(head, &got), 0);
	assert_int_equal(got.gen, 9);
	head[WAL_SLOT_OFF(1) + 100] ^= 1; /* a write that was torn */
	assert_int_equal(wal_slot_pick(head, &got), 0);
	assert_int_equal(got.gen, 8);
	assert_int_equal(got.first_seq, 98);
	head[WAL_SLOT_OFF(0) + 100] ^= 1;
	assert_int_equal(wal_slot_pick(head, &got), -EBADMSG);
}

/* With a sum that matches. */
static void set_and_seal(uint8_t sector[WAL_SECTOR], size_t off, uint8_t value)
{
	uint64_t sum;

	sector[off] = value;
	sum = XXH3_64bits(sector, WAL_SECTOR_SUM);
	memcpy(sector + WAL_SECTOR_SUM, &sum, 8);
}

static void versions(void **state)
{
	struct wal_marker marker = { "uuid", 1, 65536 };
	uint8_t sector[WAL_SECTOR];

	(void)state;
	wal_marker_encode(sector, &marker);
	set_and_seal(sector, WAL_HEAD_COMPAT, 1);
	assert_int_equal(wal_marker_decode(sector, &marker), 1);
	set_and_seal(sector, WAL_HEAD_INCOMPAT, 1);
	assert_int_equal(wal_marker_decode(sector, &marker), -EPROTONOSUPPORT);
	set_and_seal(sector, WAL_HEAD_INCOMPAT, 0);
	set_and_seal(sector, WAL_HEAD_VERSION, 2);
	assert_int_equal(wal_marker_decode(sector, &marker), -EPROTONOSUPPORT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip), cmocka_unit_test(positions), cmocka_unit_test(every_bit),
		cmocka_unit_test(picking),    cmocka_unit_test(versions),
	};

	return cmocka_run_group_tests_name("head", tests, NULL, NULL);
}
