/* SPDX-License-Identifier: MIT
 *
 * A hash table by stream, user and number, and one by user that counts what each has. Headers past their minute are removed when
 * they are met, and all of them when something is staged and they are many: there is no timer, and what lies around is
 * bounded anyway.
 */
#include "staged.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uthash.h>
#include <walcore/walcore.h>

#define LIFE_NS (INT64_C(60) * 1000 * 1000 * 1000)
#define USER_HEADERS_MAX 1024
#define USER_BYTES_MAX ((size_t)1 << 20)
#define BYTES_MAX ((size_t)8 << 20)
#define COST(len) (sizeof(struct staged_header) + (len)) /* so that many empty-ish ones count too */

struct staged_user {
	uint32_t uid;
	uint32_t n;
	size_t bytes;
	UT_hash_handle hh;
};

struct staged_header {
	struct walfs_staged_key key;
	uint64_t stamp;
	int64_t until_ns;
	size_t len;
	void *data; /* owned */
	UT_hash_handle hh;
};

static int64_t now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

void walfs_staged_init(struct walfs_staged *staged)
{
	*staged = (struct walfs_staged){ 0 };
	pthread_mutex_init(&staged->lock, NULL);
}

static struct staged_user *user_locked(struct walfs_staged *staged, uint32_t uid)
{
	struct staged_user *user = NULL;
	HASH_FIND(hh, staged->users, &uid, sizeof(uid), user);
	return user;
}

/* Takes the header out of the tables; it is the caller's to free. */
static void unlink_locked(struct walfs_staged *staged, struct staged_header *header)
{
	struct staged_user *user = user_locked(staged, (uint32_t)header->key.uid);
	HASH_DEL(staged->headers, header);
	staged->bytes -= COST(header->len);
	user->bytes -= COST(header->len);
	user->n--;
	if (user->n == 0) {
		HASH_DEL(staged->users, user);
		free(user);
	}
}

static void remove_locked(struct walfs_staged *staged, struct staged_header *header)
{
	unlink_locked(staged, header);
	free(header->data);
	free(header);
}

void walfs_staged_fini(struct walfs_staged *staged)
{
	while (staged->headers)
		remove_locked(staged, staged->headers);
	pthread_mutex_destroy(&staged->lock);
}

static struct staged_header *find_locked(struct walfs_staged *staged, struct walfs_staged_key key)
{
	struct staged_header *header = NULL;
	if (!staged->headers)
		return NULL;
	/* The key has no padding; the analyzer loses track in the hash. */
	/* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult) */
	HASH_FIND(hh, staged->headers, &key, sizeof(key), header);
	if (header && header->until_ns < now_ns()) {
		remove_locked(staged, header);
		return NULL;
	}
	return header;
}

/* uthash keeps the order of insertion: the oldest come first. */
static void expire_locked(struct walfs_staged *staged)
{
	int64_t now = now_ns();
	while (staged->headers && staged->headers->until_ns < now)
		remove_locked(staged, staged->headers);
}

static int check_locked(struct walfs_staged *staged, struct walfs_staged_key key, size_t len)
{
	if (len > WAL_HEADER_MAX)
		return -E2BIG;
	struct staged_header *old = find_locked(staged, key);
	struct staged_user *user = user_locked(staged, (uint32_t)key.uid);
	size_t old_cost = old ? COST(old->len) : 0;
	if (user && !old && user->n >= USER_HEADERS_MAX)
		return -EDQUOT;
	if ((user ? user->bytes : 0) - old_cost + COST(len) > USER_BYTES_MAX)
		return -EDQUOT;
	if (staged->bytes - old_cost + COST(len) > BYTES_MAX)
		return -ENOSPC;
	return 0;
}

int walfs_staged_check(struct walfs_staged *staged, struct walfs_staged_key key, size_t len)
{
	pthread_mutex_lock(&staged->lock);
	expire_locked(staged);
	int err = check_locked(staged, key, len);
	pthread_mutex_unlock(&staged->lock);
	return err;
}

static void insert_locked(struct walfs_staged *staged, struct staged_header *header, struct staged_user *fresh_user)
{
	struct staged_header *old = find_locked(staged, header->key);
	if (old)
		remove_locked(staged, old);
	struct staged_user *user = user_locked(staged, (uint32_t)header->key.uid);
	if (!user) {
		user = fresh_user;
		HASH_ADD(hh, staged->users, uid, sizeof(user->uid), user);
	} else {
		free(fresh_user);
	}
	HASH_ADD(hh, staged->headers, key, sizeof(header->key), header);
	header->stamp = ++staged->stamp;
	staged->bytes += COST(header->len);
	user->bytes += COST(header->len);
	user->n++;
}

int walfs_staged_put(struct walfs_staged *staged, struct walfs_staged_key key, const void *data, size_t len)
{
	struct staged_header *header = NULL;
	struct staged_user *user = NULL;
	int err = 0;

	if (len > 0) {
		header = calloc(1, sizeof(*header));
		user = calloc(1, sizeof(*user));
		void *copy = malloc(len);
		if (!header || !user || !copy) {
			free(header);
			free(user);
			free(copy);
			return -ENOMEM;
		}
		header->key = key;
		header->until_ns = now_ns() + LIFE_NS;
		header->len = len;
		header->data = memcpy(copy, data, len);
		user->uid = (uint32_t)key.uid;
	}

	pthread_mutex_lock(&staged->lock);
	expire_locked(staged);
	if (len == 0) {
		struct staged_header *old = find_locked(staged, key);
		if (old)
			remove_locked(staged, old);
	} else {
		err = check_locked(staged, key, len);
		if (err == 0)
			insert_locked(staged, header, user);
	}
	pthread_mutex_unlock(&staged->lock);

	if (err < 0) {
		free(header->data);
		free(header);
		free(user);
	}
	return err;
}

size_t walfs_staged_len(struct walfs_staged *staged, struct walfs_staged_key key)
{
	pthread_mutex_lock(&staged->lock);
	struct staged_header *header = find_locked(staged, key);
	size_t len = header ? header->len : 0;
	pthread_mutex_unlock(&staged->lock);
	return len;
}

int walfs_staged_copy(struct walfs_staged *staged, struct walfs_staged_key key, void **ret_data, size_t *ret_len)
{
	void *copy = NULL;
	size_t len = 0;
	int err = 0;
	pthread_mutex_lock(&staged->lock);
	struct staged_header *header = find_locked(staged, key);
	if (header) {
		len = header->len;
		copy = malloc(len);
		if (copy)
			memcpy(copy, header->data, len);
		else
			err = -ENOMEM;
	}
	pthread_mutex_unlock(&staged->lock);
	if (err == 0) {
		*ret_data = copy;
		*ret_len = len;
	}
	return err;
}

uint64_t walfs_staged_stamp(struct walfs_staged *staged)
{
	pthread_mutex_lock(&staged->lock);
	uint64_t stamp = ++staged->stamp;
	pthread_mutex_unlock(&staged->lock);
	return stamp;
}

size_t walfs_staged_take(struct walfs_staged *staged, struct walfs_staged_key key, uint64_t stamp, void **ret_data)
{
	size_t len = 0;
	pthread_mutex_lock(&staged->lock);
	struct staged_header *header = find_locked(staged, key);
	if (header && header->stamp < stamp)
		unlink_locked(staged, header);
	else
		header = NULL;
	pthread_mutex_unlock(&staged->lock);
	if (header) {
		len = header->len;
		*ret_data = header->data;
		free(header);
	}
	return len;
}
