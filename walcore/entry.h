/* SPDX-License-Identifier: MIT
 *
 * entry: the bytes of a journal entry. Pure. Valid if and only if its sum, seeded with the store's id and the
 * epoch, matches, and the position it names is the one where it was found; so what an earlier round of the
 * ring or an earlier opening left there never passes. Threads: any.
 */
#ifndef WAL_ENTRY_H
#define WAL_ENTRY_H

#include <stdint.h>
#include <walcore/walcore.h>

#include "format.h"

enum wal_entry_type {
	WAL_ENTRY_BIND = 1,   /* payload: name. The stream with this id has this name; before its first entry in a
				  generation */
	WAL_ENTRY_CREATE = 2, /* payload: slot sector, name */
	WAL_ENTRY_RENAME = 3, /* payload: new name */
	WAL_ENTRY_DELETE = 4,
	WAL_ENTRY_SLOT = 5, /* payload: slot sector. Owner, mode, settings, oldest record */
	WAL_ENTRY_SEGMENT =
		6, /* payload: slot sector. A segment was begun; off: number of a draft that became it, or 0 */
	WAL_ENTRY_APPEND = 7, /* payload: the records, as they are in the segment at off */
	WAL_ENTRY_LARGE = 8,  /* payload: the frame of a record whose content was synced before */
};
#define WAL_ENTRY_TYPE_MAX 8

struct wal_journal_entry {
	uint64_t lsn; /* position of its first byte since the store was made */
	uint32_t len; /* with padding */
	uint32_t payload_len;
	uint32_t n; /* records */
	uint8_t type;
	uint64_t stream_id;
	uint64_t seq;
	uint64_t segment; /* first number of the segment */
	uint64_t off;
};

/* Bytes of an entry with this much payload, padding included. */
static inline uint64_t wal_entry_len(uint64_t payload_len)
{
	return (WAL_ENTRY_BYTES + payload_len + WAL_ENTRY_ALIGN - 1) / WAL_ENTRY_ALIGN * WAL_ENTRY_ALIGN;
}

uint64_t wal_entry_seed(const uint8_t uuid[16], uint64_t epoch);

/* Completes an entry whose payload is in place behind its first WAL_ENTRY_BYTES: header, padding and sum. */
void wal_entry_seal(uint8_t *bytes, const struct wal_journal_entry *entry, uint64_t seed);

/* Reads the header: -EBADMSG where it can't be an entry at this position. Then check it with all its bytes. */
int wal_entry_peek(const uint8_t in[WAL_ENTRY_BYTES], uint64_t lsn, struct wal_journal_entry *ret_entry);
int wal_entry_check(const uint8_t *bytes, const struct wal_journal_entry *entry, uint64_t seed);

#endif
