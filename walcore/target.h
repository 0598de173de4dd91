/* SPDX-License-Identifier: MIT
 *
 * target: a stream that the journal speaks of, while it is replayed: its names, and where its directory is.
 *
 * Invariant: one that failed is touched no more in this opening; what was to be done with it is kept (aside.h).
 *
 * Threads: at open, one.
 */
#ifndef WAL_TARGET_H
#define WAL_TARGET_H

#include "stream.h"

struct wal_target_name;

struct wal_target {
	UT_hash_handle hh;
	uint64_t id;
	struct wal_target_name *names; /* newest first */
	bool created, deleted, found;
	bool meant;           /* there is more of it than its name: else what was to follow did not reach the disk */
	int failed;           /* 0, or why nothing more is done with it */
	struct wal_slot slot; /* of the creation */
	char dir[WAL_NAME_MAX + 1]; /* where it is */
	uint64_t segment;           /* of the last record written here; 0: none */
	struct wal_point end;
};

struct wal_targets {
	struct wal_store *store;
	struct wal_target *table; /* by id; owned */
};

struct wal_target *wal_target_find(struct wal_targets *targets, uint64_t id);
/* Makes it where it is not there. NULL: no memory. */
struct wal_target *wal_target_get(struct wal_targets *targets, uint64_t id);
void wal_targets_fini(struct wal_targets *targets);
/* The newest name so far. -EBADMSG: it can be none; -ENOMEM. */
int wal_target_add_name(struct wal_target *target, const uint8_t *name, size_t len);
/* Notes that it failed, and why. */
void wal_target_give_up(struct wal_targets *targets, struct wal_target *target, int code, const char *reason);
/* Reads the state of the stream in a directory, owned. NULL: no memory. */
struct wal_stream *wal_target_look_at(struct wal_targets *targets, const char *dir, int *ret_r);

/* Looks for each under its names. -ENOMEM. */
int wal_targets_find_dirs(struct wal_targets *targets);
/* Deleted ones to the trash, misnamed ones out of the way. */
void wal_targets_park_dirs(struct wal_targets *targets);
/* Each gets its last name; made where it is not there. */
void wal_targets_name_dirs(struct wal_targets *targets);

#endif
