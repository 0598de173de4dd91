/* SPDX-License-Identifier: MIT */
#include "power.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#define SEGMENTS_MAX 200
#define FILES_MAX 1000

static struct kit *kit;
static struct { /* by inode: a draft becomes a segment */
	ino_t ino;
	uint64_t len;
} synced[FILES_MAX];
static int n_synced;
static pthread_mutex_t synced_lock = PTHREAD_MUTEX_INITIALIZER; /* the store's threads sync, too */
static atomic_bool failing;
static int (*pass_on)(const struct wal_io *io, int fd);

static uint64_t synced_len(ino_t ino)
{
	uint64_t len = 0;

	pthread_mutex_lock(&synced_lock);
	for (int i = 0; i < n_synced; i++)
		if (synced[i].ino == ino)
			len = synced[i].len;
	pthread_mutex_unlock(&synced_lock);
	return len;
}

static void note(const struct stat *st)
{
	int i = 0;

	pthread_mutex_lock(&synced_lock);
	while (i < n_synced && synced[i].ino != st->st_ino)
		i++;
	assert_true(i < FILES_MAX);
	n_synced += i == n_synced;
	synced[i].ino = st->st_ino;
	synced[i].len = (uint64_t)st->st_size;
	pthread_mutex_unlock(&synced_lock);
}

static bool stat_segment(uint64_t first, struct stat *ret)
{
	char path[512];

	return stat(kit_segment(kit, "s", first, path), ret) == 0;
}

static int watch_sync(const struct wal_io *io, int fd)
{
	int r = pass_on(io, fd);
	struct stat st, seg;

	if (r < 0 || fstat(fd, &st) < 0)
		return r;
	for (uint64_t first = 1; failing && first < SEGMENTS_MAX; first++)
		if (stat_segment(first, &seg) && seg.st_ino == st.st_ino)
			return -EIO;
	note(&st);
	return 0;
}

void power_note(void)
{
	struct stat st;

	pthread_mutex_lock(&synced_lock);
	n_synced = 0;
	pthread_mutex_unlock(&synced_lock);
	for (uint64_t first = 1; first < SEGMENTS_MAX; first++)
		if (stat_segment(first, &st))
			note(&st);
}

static int (*pass_on_all)(const struct wal_io *io, int fd);
static int watch_syncfs(const struct wal_io *io, int fd)
{
	int r = pass_on_all(io, fd);
	struct stat st;

	for (uint64_t first = 1; r == 0 && first < SEGMENTS_MAX; first++) {
		if (!stat_segment(first, &st))
			continue;
		if (failing)
			return -EIO;
		note(&st);
	}
	return r;
}

/* The store is open: its threads may look at the table just then, and find the one or the other. */
__attribute__((no_sanitize("thread"))) void power_watch(struct kit *watched)
{
	kit = watched;
	failing = false;
	pass_on = kit->fault.io.fdatasync;
	kit->fault.io.fdatasync = watch_sync;
	pass_on_all = kit->fault.io.syncfs;
	kit->fault.io.syncfs = watch_syncfs;
	power_note();
}

uint64_t power_synced(uint64_t first)
{
	struct stat st;

	return stat_segment(first, &st) ? synced_len(st.st_ino) : 0;
}

void power_fail_syncs(bool fail)
{
	failing = fail;
}

void power_lose(void)
{
	char path[512];
	struct stat st;

	for (uint64_t first = 1; first < SEGMENTS_MAX; first++)
		if (stat_segment(first, &st) && (uint64_t)st.st_size > synced_len(st.st_ino))
			file_cut(kit_segment(kit, "s", first, path), synced_len(st.st_ino));
}

bool power_checkpoint(void)
{
	struct wal_store_stat before, now;
	uint8_t bytes[2000] = { 1 };
	struct wal_stream *other;
	bool done = false;
	int r;

	r = wal_stream_open(kit->store, KEY("other"), &other);
	if (r == -ENOENT)
		r = wal_stream_create(kit->store, KEY("other"), &(struct wal_attr){ 0, 0, 0700 }, NULL, &other);
	if (r < 0)
		return false;
	assert_int_equal(wal_store_stat(kit->store, &before), 0);
	while (r == 0 && !done) {
		r = kit_put(other, KEY(""), (struct wal_span){ bytes, sizeof(bytes) }, 0, NULL);
		assert_int_equal(wal_store_stat(kit->store, &now), 0);
		done = now.checkpoints >= before.checkpoints + 2; /* the second began after this did */
	}
	wal_stream_unref(other);
	return done;
}
