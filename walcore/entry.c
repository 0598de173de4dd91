/* SPDX-License-Identifier: MIT */
#include "entry.h"

#include <errno.h>

#include "banned.h"
#include "bytes.h"
#include "checksum.h"

uint64_t wal_entry_seed(const uint8_t uuid[16], uint64_t epoch)
{
	return wal_sum(uuid, 16, epoch);
}

void wal_entry_seal(uint8_t *bytes, const struct wal_journal_entry *entry, uint64_t seed)
{
	assert(entry->len == wal_entry_len(entry->payload_len));
	memset(bytes + WAL_ENTRY_BYTES + entry->payload_len, 0, entry->len - WAL_ENTRY_BYTES - entry->payload_len);
	wal_put_le64(bytes + 8, entry->lsn);
	wal_put_le32(bytes + 16, entry->len);
	wal_put_le32(bytes + 20, entry->type);
	wal_put_le64(bytes + 24, entry->stream_id);
	wal_put_le64(bytes + 32, entry->seq);
	wal_put_le64(bytes + 40, entry->segment);
	wal_put_le64(bytes + 48, entry->off);
	wal_put_le32(bytes + 56, entry->n);
	wal_put_le32(bytes + 60, entry->payload_len);
	wal_put_le64(bytes, wal_sum(bytes + 8, entry->len - 8, seed));
}

int wal_entry_peek(const uint8_t in[WAL_ENTRY_BYTES], uint64_t lsn, struct wal_journal_entry *ret_entry)
{
	struct wal_journal_entry entry = {
		.lsn = wal_get_le64(in + 8),
		.len = wal_get_le32(in + 16),
		.stream_id = wal_get_le64(in + 24),
		.seq = wal_get_le64(in + 32),
		.segment = wal_get_le64(in + 40),
		.off = wal_get_le64(in + 48),
		.n = wal_get_le32(in + 56),
		.payload_len = wal_get_le32(in + 60),
	};
	uint32_t type = wal_get_le32(in + 20);

	if (entry.lsn != lsn || type == 0 || type > WAL_ENTRY_TYPE_MAX)
		return -EBADMSG;
	if (entry.len != wal_entry_len(entry.payload_len))
		return -EBADMSG;
	if (entry.stream_id == 0 || entry.stream_id > WAL_STREAM_ID_MAX)
		return -EBADMSG;
	entry.type = (uint8_t)type;
	*ret_entry = entry;
	return 0;
}

int wal_entry_check(const uint8_t *bytes, const struct wal_journal_entry *entry, uint64_t seed)
{
	return wal_get_le64(bytes) == wal_sum(bytes + 8, entry->len - 8, seed) ? 0 : -EBADMSG;
}
