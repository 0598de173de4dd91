/* SPDX-License-Identifier: MIT
 *
 * Two rules, and both are one comparison.
 *
 *   A limit: files and uncommitted bytes cost little each, but their sum must have an end. Root and the owner of the
 *   mount have none, as with quotas elsewhere: they could end the daemon as well.
 *
 *   A share: of what is scarce (memory, open files of the daemon) one more is given to a user only while he has no more than
 *   is left. So one user alone gets half of it, the next a quarter at least, and whoever comes finds something: nobody
 *   has to be told in advance how many users there will be.
 */
#include "user.h"

#include "opts.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include <walcore/walcore.h>

#define MAX_RECORD_DEFAULT ((uint64_t)1 << 30) /* the engine's */
#define RECORDS_PENDING 4                      /* of the largest size: what a user may have pending unless set */
#define NOFILE_DEFAULT 1024
/* Of our open files the engine takes half; one in so many may be drafts, and listings. Each takes some 64 KiB, too. */
#define DRAFTS_PART 4
#define LISTINGS_PART 8
#define DRAFTS_MAX 4096

static uint64_t open_files_max(void)
{
	struct rlimit limit = { .rlim_cur = NOFILE_DEFAULT };
	(void)getrlimit(RLIMIT_NOFILE, &limit); /* keeps the guess where it fails */
	return limit.rlim_cur < DRAFTS_MAX * DRAFTS_PART ? limit.rlim_cur : DRAFTS_MAX * DRAFTS_PART;
}

void walfs_users_init(struct walfs_users *users, const struct walfs_opts *opts)
{
	uint64_t max_record = opts->max_record ? opts->max_record : MAX_RECORD_DEFAULT;
	if (max_record > WAL_CONTENT_MAX)
		max_record = WAL_CONTENT_MAX;
	*users = (struct walfs_users){
		.total = { [WALFS_MEMORY] = WALFS_MEMORY_BYTES,
			   [WALFS_HELD] = WALFS_HELD_BYTES,
			   [WALFS_DRAFTS] = open_files_max() / DRAFTS_PART,
			   [WALFS_LISTINGS] = open_files_max() / LISTINGS_PART },
		.limit = { [WALFS_FILES] = opts->user_files ? opts->user_files : WALFS_USER_FILES,
			   [WALFS_PENDING] = opts->user_pending ? opts->user_pending : RECORDS_PENDING * max_record },
		.owner = geteuid(),
	};
	pthread_mutex_init(&users->lock, NULL);
}

void walfs_users_fini(struct walfs_users *users)
{
	pthread_mutex_destroy(&users->lock);
}

static bool may_have_locked(const struct walfs_user *user, enum walfs_thing thing, uint64_t n)
{
	const struct walfs_users *users = user->users;
	uint64_t total = users->total[thing], limit = users->limit[thing], has, all;
	if (__builtin_add_overflow(user->has[thing], n, &has) || __builtin_add_overflow(users->all[thing], n, &all))
		return false;
	if (limit > 0 && has > limit && user->uid != 0 && user->uid != users->owner)
		return false;
	return total == 0 || (all <= total && has <= total - all);
}

int walfs_user_take(struct walfs_user *user, enum walfs_thing thing, uint64_t n)
{
	struct walfs_users *users = user->users;
	pthread_mutex_lock(&users->lock);
	bool may = may_have_locked(user, thing, n);
	if (may) {
		user->has[thing] += n;
		users->all[thing] += n;
	}
	pthread_mutex_unlock(&users->lock);
	return may ? 0 : -EDQUOT;
}

static void give_locked(struct walfs_user *user, enum walfs_thing thing, uint64_t n)
{
	user->has[thing] -= n;
	user->users->all[thing] -= n;
}

void walfs_user_give(struct walfs_user *user, enum walfs_thing thing, uint64_t n)
{
	struct walfs_users *users = user->users;
	pthread_mutex_lock(&users->lock);
	give_locked(user, thing, n);
	pthread_mutex_unlock(&users->lock);
}

int walfs_user_enter(struct walfs_users *users, uint32_t uid, struct walfs_user **ret_user)
{
	struct walfs_user *user = NULL;
	int err = 0;
	pthread_mutex_lock(&users->lock);
	HASH_FIND(hh, users->table, &uid, sizeof(uid), user);
	if (!user) {
		user = calloc(1, sizeof(*user));
		if (user) {
			user->users = users;
			user->uid = uid;
			HASH_ADD(hh, users->table, uid, sizeof(user->uid), user);
		}
	}
	if (!user)
		err = -ENOMEM;
	else if (!may_have_locked(user, WALFS_FILES, 1))
		err = -EMFILE;
	if (err == 0) {
		user->has[WALFS_FILES]++;
		users->all[WALFS_FILES]++;
		*ret_user = user;
	}
	pthread_mutex_unlock(&users->lock);
	return err;
}

void walfs_user_leave(struct walfs_user *user)
{
	struct walfs_users *users = user->users;
	pthread_mutex_lock(&users->lock);
	give_locked(user, WALFS_FILES, 1);
	if (user->has[WALFS_FILES] == 0) {
		HASH_DEL(users->table, user);
		free(user);
	}
	pthread_mutex_unlock(&users->lock);
}

uint64_t walfs_users_all(struct walfs_users *users, enum walfs_thing thing)
{
	pthread_mutex_lock(&users->lock);
	uint64_t n = users->all[thing];
	pthread_mutex_unlock(&users->lock);
	return n;
}
