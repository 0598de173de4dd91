/* SPDX-License-Identifier: MIT
 *
 * Staged headers: for each stream and user the header that the user's next record shall have. Invariants: a header is
 * taken once, by an `append` that was opened after it was staged; it is forgotten after a minute; their number and size
 * are bounded, per user and in all.
 *
 * Threads: any.
 */
#ifndef WALFS_STAGED_H
#define WALFS_STAGED_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

struct staged_header;
struct staged_user;

/* Whose header it is, and for which record. 64 bits each: no padding in a hash key. */
struct walfs_staged_key {
	uint64_t stream;
	uint64_t uid;
	uint64_t seq; /* the record's number, of N.hdr; 0: the next one written to append */
};

struct walfs_staged {
	pthread_mutex_t lock;
	struct staged_header *headers; /* guarded by lock */
	struct staged_user *users;     /* guarded by lock */
	uint64_t stamp;                /* guarded by lock: counts what is staged and what is opened */
	size_t bytes;                  /* guarded by lock: of all */
};

void walfs_staged_init(struct walfs_staged *staged);
void walfs_staged_fini(struct walfs_staged *staged);

/* Stages a copy of data in place of what was there; nothing where len is 0. -E2BIG, -EDQUOT (too much of this user),
 * -ENOSPC (too much of all), -ENOMEM: what was there then stays. */
int walfs_staged_put(struct walfs_staged *staged, struct walfs_staged_key key, const void *data, size_t len);

/* Would walfs_staged_put be refused? The same errors. */
int walfs_staged_check(struct walfs_staged *staged, struct walfs_staged_key key, size_t len);

/* The length of what is staged, and a copy of it in *ret_data (owned by the caller; NULL where the length is 0). */
size_t walfs_staged_len(struct walfs_staged *staged, struct walfs_staged_key key);
int walfs_staged_copy(struct walfs_staged *staged, struct walfs_staged_key key, void **ret_data, size_t *ret_len);

/* A point in the order of stagings and openings. */
uint64_t walfs_staged_stamp(struct walfs_staged *staged);

/* Takes out what was staged before `stamp`. Returns the length, and the bytes in *ret_data (owned by the caller);
 * 0 where there is none. */
size_t walfs_staged_take(struct walfs_staged *staged, struct walfs_staged_key key, uint64_t stamp, void **ret_data);

#endif
