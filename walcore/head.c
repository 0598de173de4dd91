/* SPDX-License-Identifier: MIT */
#include "head.h"

#include <errno.h>

#include "banned.h"
#include "bytes.h"
#include "checksum.h"
#include "bounds.h"

static void begin(uint8_t out[WAL_SECTOR], const char *magic)
{
	memset(out, 0, WAL_SECTOR);
	memcpy(out, magic, WAL_MAGIC_LEN);
}

static void seal(uint8_t out[WAL_SECTOR])
{
	wal_put_le64(out + WAL_SECTOR_SUM, wal_sum(out, WAL_SECTOR_SUM, 0));
}

static int check(const uint8_t in[WAL_SECTOR], const char *magic)
{
	if (memcmp(in, magic, WAL_MAGIC_LEN) != 0)
		return -EBADMSG;
	return wal_get_le64(in + WAL_SECTOR_SUM) == wal_sum(in, WAL_SECTOR_SUM, 0) ? 0 : -EBADMSG;
}

static void put_version(uint8_t out[WAL_SECTOR])
{
	wal_put_le16(out + WAL_HEAD_VERSION, WAL_FORMAT_VERSION);
}

/* A valid sector of another version is not damage: it is of a later release. */
static int check_version(const uint8_t in[WAL_SECTOR])
{
	if (wal_get_le16(in + WAL_HEAD_VERSION) != WAL_FORMAT_VERSION)
		return -EPROTONOSUPPORT;
	if (wal_get_le16(in + WAL_HEAD_INCOMPAT) != 0)
		return -EPROTONOSUPPORT;
	return wal_get_le16(in + WAL_HEAD_COMPAT) != 0;
}

static void put_settings(uint8_t *out, const struct wal_settings *settings)
{
	wal_put_le32(out, settings->durability);
	wal_put_le64(out + 8, settings->retention_age_ns);
	wal_put_le64(out + 16, settings->retention_bytes);
	wal_put_le64(out + 24, settings->retention_records);
	wal_put_le64(out + 32, settings->max_record);
}

static void get_settings(const uint8_t *in, struct wal_settings *ret)
{
	*ret = (struct wal_settings){
		.durability = wal_get_le32(in) % 3,
		.retention_age_ns = wal_get_le64(in + 8),
		.retention_bytes = wal_get_le64(in + 16),
		.retention_records = wal_get_le64(in + 24),
		.max_record = wal_get_le64(in + 32),
	};
	if (ret->max_record > WAL_CONTENT_MAX && ret->max_record != WAL_FOREVER)
		ret->max_record = WAL_CONTENT_MAX;
}

/* The position has a place of its own, in bytes that were reserved once: 0 is unknown, so it is stored plus 1. */
static void put_identity(uint8_t *out, uint8_t *pos_out, const struct wal_identity *id)
{
	wal_put_le64(pos_out, id->pos + 1);
	wal_put_le64(out, id->stream_id);
	wal_put_le64(out + 8, id->first);
	wal_put_le64(out + 16, id->salt);
	wal_put_le64(out + 24, (uint64_t)id->created_ns);
	wal_put_le64(out + 32, (uint64_t)id->time_base);
}

static void get_identity(const uint8_t *in, const uint8_t *pos_in, struct wal_identity *ret)
{
	*ret = (struct wal_identity){
		.stream_id = wal_get_le64(in),
		.first = wal_get_le64(in + 8),
		.salt = wal_get_le64(in + 16),
		.created_ns = (int64_t)wal_get_le64(in + 24),
		.time_base = (int64_t)wal_get_le64(in + 32),
		.pos = wal_get_le64(pos_in) - 1,
	};
}

static bool identity_ok(const struct wal_identity *id)
{
	return id->stream_id > 0 && id->stream_id <= WAL_STREAM_ID_MAX && id->first > 0 && id->first < INT64_MAX &&
	       (id->pos <= INT64_MAX || id->pos == WAL_POS_UNKNOWN);
}

void wal_marker_encode(uint8_t out[WAL_SECTOR], const struct wal_marker *marker)
{
	begin(out, WAL_STORE_MAGIC);
	put_version(out);
	memcpy(out + 16, marker->uuid, 16);
	wal_put_le64(out + 32, (uint64_t)marker->created_ns);
	wal_put_le64(out + 40, marker->journal_bytes);
	seal(out);
}

int wal_marker_decode(const uint8_t in[WAL_SECTOR], struct wal_marker *ret_marker)
{
	uint64_t journal_bytes = wal_get_le64(in + 40);
	int r = check(in, WAL_STORE_MAGIC);

	if (r < 0)
		return r;
	r = check_version(in);
	if (r < 0)
		return r;
	if (journal_bytes < WAL_JOURNAL_BYTES_MIN || journal_bytes > WAL_JOURNAL_BYTES_MAX || journal_bytes % 4096)
		return -EBADMSG;
	memcpy(ret_marker->uuid, in + 16, 16);
	ret_marker->created_ns = (int64_t)wal_get_le64(in + 32);
	ret_marker->journal_bytes = journal_bytes;
	return r;
}

void wal_super_encode(uint8_t out[WAL_SECTOR], const struct wal_super *super)
{
	begin(out, WAL_SLOT_MAGIC);
	wal_put_le64(out + 8, super->gen);
	wal_put_le64(out + 16, super->epoch);
	wal_put_le64(out + 24, super->checkpoint);
	wal_put_le64(out + 32, super->id_bound);
	wal_put_le64(out + 40, super->retention_ns);
	put_settings(out + 48, &super->settings);
	seal(out);
}

int wal_super_decode(const uint8_t in[WAL_SECTOR], struct wal_super *ret_super)
{
	int r = check(in, WAL_SLOT_MAGIC);

	if (r < 0)
		return r;
	ret_super->gen = wal_get_le64(in + 8);
	ret_super->epoch = wal_get_le64(in + 16);
	ret_super->checkpoint = wal_get_le64(in + 24);
	ret_super->id_bound = wal_get_le64(in + 32);
	ret_super->retention_ns = wal_get_le64(in + 40);
	get_settings(in + 48, &ret_super->settings);
	return 0;
}

void wal_segment_head_encode(uint8_t out[WAL_SECTOR], const struct wal_identity *id)
{
	assert(identity_ok(id));
	begin(out, WAL_SEGMENT_MAGIC);
	put_version(out);
	put_identity(out + 16, out + 56, id);
	seal(out);
}

int wal_segment_head_decode(const uint8_t in[WAL_SECTOR], struct wal_identity *ret_id)
{
	struct wal_identity id;
	int r = check(in, WAL_SEGMENT_MAGIC);

	if (r < 0)
		return r;
	r = check_version(in);
	if (r < 0)
		return r;
	get_identity(in + 16, in + 56, &id);
	if (!identity_ok(&id))
		return -EBADMSG;
	*ret_id = id;
	return r;
}

void wal_slot_encode(uint8_t out[WAL_SECTOR], const struct wal_slot *slot)
{
	assert(identity_ok(&slot->id));
	assert(slot->first_seq > 0);
	begin(out, WAL_SLOT_MAGIC);
	wal_put_le64(out + 8, slot->gen);
	put_identity(out + 16, out + 136, &slot->id);
	wal_put_le64(out + 56, slot->first_seq);
	wal_put_le64(out + 64, slot->mark_next);
	wal_put_le64(out + 72, slot->mark_off);
	wal_put_le32(out + 80, slot->attr.uid);
	wal_put_le32(out + 84, slot->attr.gid);
	wal_put_le32(out + 88, slot->attr.mode);
	put_settings(out + 96, &slot->settings);
	seal(out);
}

int wal_slot_decode(const uint8_t in[WAL_SECTOR], struct wal_slot *ret_slot)
{
	struct wal_slot slot;
	int r = check(in, WAL_SLOT_MAGIC);

	if (r < 0)
		return r;
	slot.gen = wal_get_le64(in + 8);
	get_identity(in + 16, in + 136, &slot.id);
	slot.first_seq = wal_get_le64(in + 56);
	slot.mark_next = wal_get_le64(in + 64);
	slot.mark_off = wal_get_le64(in + 72);
	slot.attr = (struct wal_attr){ wal_get_le32(in + 80), wal_get_le32(in + 84), wal_get_le32(in + 88) & 07777 };
	get_settings(in + 96, &slot.settings);
	if (!identity_ok(&slot.id) || slot.first_seq == 0 || slot.first_seq > INT64_MAX || slot.mark_off > INT64_MAX)
		return -EBADMSG;
	*ret_slot = slot;
	return 0;
}

int wal_slot_pick(const uint8_t in[WAL_HEAD_BYTES], struct wal_slot *ret_slot)
{
	struct wal_slot slot[2];
	int r0 = wal_slot_decode(in + WAL_SLOT_OFF(0), &slot[0]);
	int r1 = wal_slot_decode(in + WAL_SLOT_OFF(1), &slot[1]);

	if (r0 < 0 && r1 < 0)
		return r0;
	*ret_slot = r0 < 0 || (r1 == 0 && slot[1].gen > slot[0].gen) ? slot[1] : slot[0];
	return 0;
}

int wal_super_pick(const uint8_t in[WAL_HEAD_BYTES], struct wal_super *ret_super)
{
	struct wal_super super[2];
	int r0 = wal_super_decode(in + WAL_SLOT_OFF(0), &super[0]);
	int r1 = wal_super_decode(in + WAL_SLOT_OFF(1), &super[1]);

	if (r0 < 0 && r1 < 0)
		return r0;
	*ret_super = r0 < 0 || (r1 == 0 && super[1].gen > super[0].gen) ? super[1] : super[0];
	return 0;
}
