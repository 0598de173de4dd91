/* SPDX-License-Identifier: MIT
 *
 * Users: who has files open, and how much of the daemon each of them takes. Invariants: an entry lives while its user
 * has an open file; what was taken is given back before the file is closed; nobody gets more than his limit, nor more of
 * a thing than is left of it for others.
 *
 * Threads: any.
 */
#ifndef WALFS_USER_H
#define WALFS_USER_H

#include <pthread.h>
#include <stdint.h>
#include <uthash.h>

enum walfs_thing {
	WALFS_FILES,    /* open files and directories */
	WALFS_PENDING,  /* bytes of records that are not committed, wherever they are */
	WALFS_DRAFTS,   /* of these, drafts: each is an open file of ours */
	WALFS_LISTINGS, /* of the root, that keep a file of ours open between reads */
	WALFS_MEMORY,   /* and bytes of buffers: pending.c */
	WALFS_HELD,     /* other memory that a user can make grow: texts, headers, writes that queue */
	WALFS_THINGS,
};

#define WALFS_MEMORY_BYTES ((uint64_t)16 << 20) /* of all users; who is beyond his share writes drafts */
#define WALFS_HELD_BYTES ((uint64_t)256 << 20)
#define WALFS_USER_FILES 16384

struct walfs_opts;
struct walfs_users;

struct walfs_user {
	struct walfs_users *users;  /* immutable */
	uint32_t uid;               /* immutable */
	uint64_t has[WALFS_THINGS]; /* guarded by users->lock */
	UT_hash_handle hh;
};

struct walfs_users {
	pthread_mutex_t lock;
	struct walfs_user *table;   /* guarded by lock */
	uint64_t all[WALFS_THINGS]; /* guarded by lock: what all users together have */
	/* What there is of it in all, and what one user but root and the owner of the mount may have; 0: any amount.
	 * Immutable. */
	uint64_t total[WALFS_THINGS], limit[WALFS_THINGS];
	uint32_t owner; /* immutable */
};

/* Takes the number of files that the process may open into account: raise it before. */
void walfs_users_init(struct walfs_users *users, const struct walfs_opts *opts);
void walfs_users_fini(struct walfs_users *users);

/* A file is going to be opened: the user's entry, with one file more. Give it back with walfs_user_leave. -EMFILE,
 * -ENOMEM. */
int walfs_user_enter(struct walfs_users *users, uint32_t uid, struct walfs_user **ret_user);
void walfs_user_leave(struct walfs_user *user);

/* Takes n more of a thing: -EDQUOT, and nothing is taken, where the user may not have so much. */
int walfs_user_take(struct walfs_user *user, enum walfs_thing thing, uint64_t n);
void walfs_user_give(struct walfs_user *user, enum walfs_thing thing, uint64_t n);

/* How much of a thing all users together have. */
uint64_t walfs_users_all(struct walfs_users *users, enum walfs_thing thing);

#endif
