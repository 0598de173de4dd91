/* SPDX-License-Identifier: MIT
 *
 * aside: journal entries of one stream in a file of their own, .walfs/aside/ID, so that the journal can go on without the
 * stream: its segments could not be synced, or its entries could not be replayed. The next opening replays them before the
 * journal's own. They are not in the stream's directory, which may be what cannot be synced, and where an opening would
 * have to look into every stream for them.
 *
 * Invariant: an entry is in the journal's ring, or in a complete and synced file here, until what it says is on disk.
 *
 * Threads: any for the held ones; else one at a time per object, and with the flush lock held or at open.
 */
#ifndef WAL_ASIDE_H
#define WAL_ASIDE_H

#include "store.h"

struct wal_aside {
	UT_hash_handle hh; /* by id */
	uint64_t id;       /* of the stream */
	uint8_t *bytes;    /* owned: entries, one after another */
	size_t len, cap;
	uint64_t end;  /* position behind the last one; entries below it are here */
	bool saved;    /* the file has all of them */
	bool file_bad; /* there is a file, and it is damaged */
	bool damaged;  /* that one, or an earlier one */
};

/* The one of this stream in the table; made where it is not there. NULL: no memory. */
struct wal_aside *wal_aside_get(struct wal_aside **asides, uint64_t id);
void wal_aside_free_all(struct wal_aside **asides);
/* Copies an entry; one that is there already is passed. -ENOMEM. */
int wal_aside_add(struct wal_aside *aside, const struct wal_store *store, const struct wal_journal_entry *entry,
		  const uint8_t *payload);
/* Calls fn for each entry, until it returns other than 0. */
int wal_aside_each(const struct wal_aside *aside, wal_journal_fn *fn, void *arg);

/* Reads all that there are. A damaged one has no entries. */
int wal_asides_load(struct wal_store *store, struct wal_aside **ret_asides);
/* Writes those that are not saved, durably. One that was damaged is kept under another name. */
int wal_asides_save(struct wal_store *store, struct wal_aside *asides);
/* Removes one, durably, and what is damaged of it. 0 where there is none. */
int wal_aside_remove(struct wal_store *store, uint64_t id);

/* Streams whose entries are aside stay stopped until the store is opened again. -ENOMEM. */
int wal_aside_hold(struct wal_store *store, uint64_t id, int code);
/* Why, or 0. */
int wal_aside_held(struct wal_store *store, uint64_t id);
void wal_aside_fini(struct wal_store *store);

#endif
