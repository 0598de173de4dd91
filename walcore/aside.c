/* SPDX-License-Identifier: MIT
 *
 * A file is written under a name of its own, synced, and renamed; then the directory is synced. So it is there whole or not
 * at all, and what is wrong with one is damage. It goes when what it holds was replayed and synced, before anything else is
 * done with the store: an old one that came back would undo a rename or a deletion.
 */
#include "aside.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "banned.h"
#include "bytes.h"
#include "checksum.h"

#define SUFFIX_NEW ".new"
#define SUFFIX_BAD ".bad"

struct wal_held {
	UT_hash_handle hh;
	uint64_t id;
	int code;
};

static void aside_path(uint64_t id, const char *suffix, char path[64])
{
	(void)snprintf(path, 64, "%s/%" PRIu64 "%s", WAL_DIR_ASIDE, id, suffix);
}

struct wal_aside *wal_aside_get(struct wal_aside **asides, uint64_t id)
{
	struct wal_aside *aside;

	HASH_FIND(hh, *asides, &id, sizeof(id), aside);
	if (aside)
		return aside;
	aside = calloc(1, sizeof(*aside));
	if (!aside)
		return NULL;
	aside->id = id;
	aside->saved = true;
	HASH_ADD(hh, *asides, id, sizeof(id), aside);
	return aside;
}

void wal_aside_free_all(struct wal_aside **asides)
{
	struct wal_aside *aside, *tmp;

	HASH_ITER(hh, *asides, aside, tmp) {
		HASH_DEL(*asides, aside);
		free(aside->bytes);
		free(aside);
	}
}

static uint64_t seed_of(const struct wal_store *store, uint64_t id)
{
	return wal_entry_seed(store->marker.uuid, id);
}

int wal_aside_add(struct wal_aside *aside, const struct wal_store *store, const struct wal_journal_entry *entry,
		  const uint8_t *payload)
{
	size_t need = aside->len + entry->len, cap = aside->cap ? aside->cap : 4096;
	uint8_t *bytes;

	assert(entry->stream_id == aside->id);
	if (entry->lsn < aside->end)
		return 0;
	while (cap < need)
		cap *= 2;
	if (cap != aside->cap) {
		bytes = realloc(aside->bytes, cap);
		if (!bytes)
			return -ENOMEM;
		aside->bytes = bytes;
		aside->cap = cap;
	}
	bytes = aside->bytes + aside->len;
	if (entry->payload_len > 0)
		memcpy(bytes + WAL_ENTRY_BYTES, payload, entry->payload_len);
	wal_entry_seal(bytes, entry, seed_of(store, aside->id));
	aside->len = need;
	aside->end = entry->lsn + entry->len;
	aside->saved = false;
	return 0;
}

/* The entry at `at`, which begins below len. */
static int entry_at(const struct wal_aside *aside, size_t at, struct wal_journal_entry *ret_entry)
{
	const uint8_t *bytes = aside->bytes + at;
	int r;

	if (aside->len - at < WAL_ENTRY_BYTES)
		return -EBADMSG;
	r = wal_entry_peek(bytes, wal_get_le64(bytes + 8), ret_entry);
	if (r == 0 && (ret_entry->len > aside->len - at || ret_entry->stream_id != aside->id))
		r = -EBADMSG;
	return r;
}

int wal_aside_each(const struct wal_aside *aside, wal_journal_fn *fn, void *arg)
{
	struct wal_journal_entry entry;
	int r = 0;

	for (size_t at = 0; at < aside->len && r == 0; at += entry.len) {
		r = entry_at(aside, at, &entry);
		assert(r == 0); /* made or checked here */
		r = fn(arg, &entry, aside->bytes + at + WAL_ENTRY_BYTES);
	}
	return r;
}

/* ---- files ------------------------------------------------------------------------------------------- */

static int check_entries(struct wal_aside *aside, uint64_t seed)
{
	struct wal_journal_entry entry;
	int r;

	for (size_t at = 0; at < aside->len; at += entry.len) {
		r = entry_at(aside, at, &entry);
		if (r == 0 && entry.lsn < aside->end)
			r = -EBADMSG;
		if (r == 0)
			r = wal_entry_check(aside->bytes + at, &entry, seed);
		if (r < 0)
			return r;
		aside->end = entry.lsn + entry.len;
	}
	return 0;
}

static int read_entries(const struct wal_store *store, struct wal_aside *aside, int fd, uint64_t size)
{
	uint64_t seed = seed_of(store, aside->id);
	uint8_t head[WAL_ASIDE_HEAD] = { 0 };
	ssize_t n = wal_io_read(store->io, fd, head, sizeof(head), 0, false);

	if (n < 0)
		return (int)n;
	if (size < sizeof(head) || memcmp(head, WAL_ASIDE_MAGIC, WAL_MAGIC_LEN) != 0 ||
	    wal_get_le64(head + 56) != wal_sum(head, 56, seed) || wal_get_le64(head + 32) != aside->id ||
	    wal_get_le64(head + 40) != size - sizeof(head))
		return -EBADMSG;
	if (wal_get_le16(head + WAL_HEAD_VERSION) != WAL_FORMAT_VERSION || wal_get_le16(head + WAL_HEAD_INCOMPAT))
		return -EPROTONOSUPPORT;
	aside->len = aside->cap = (size_t)(size - sizeof(head));
	aside->bytes = malloc(aside->cap + 1);
	if (!aside->bytes)
		return -ENOMEM;
	n = wal_io_read(store->io, fd, aside->bytes, aside->len, sizeof(head), false);
	if (n < 0)
		return (int)n;
	return (size_t)n == aside->len ? check_entries(aside, seed) : -EBADMSG;
}

static int load_file(struct wal_store *store, struct wal_aside *aside)
{
	char path[64];
	struct stat st;
	int fd, r;

	aside_path(aside->id, "", path);
	fd = wal_io_open(store->io, store->dirfd, path, O_RDONLY, 0);
	if (fd < 0)
		return fd;
	r = store->io->fstat(store->io, fd, &st);
	if (r == 0)
		r = read_entries(store, aside, fd, (uint64_t)st.st_size);
	(void)store->io->close(store->io, fd); /* only read from */
	if (r != -EBADMSG)
		return r;
	wal_store_note(store, "", path, 0, 0, 0, r, "the journal entries that were set aside are damaged");
	free(aside->bytes);
	aside->bytes = NULL;
	aside->len = aside->cap = 0;
	aside->end = 0;
	aside->file_bad = aside->damaged = true;
	return 0;
}

struct loading {
	struct wal_store *store;
	struct wal_aside *asides;
};

static int load_one(void *arg, const char *name, unsigned char type)
{
	struct loading *loading = arg;
	struct wal_store *store = loading->store;
	struct wal_aside *aside;
	char path[64], *end;
	uint64_t id;

	(void)type;
	if (*name < '1' || *name > '9')
		return 0; /* somebody's file: not ours to judge */
	errno = 0;
	id = strtoull(name, &end, 10);
	if (id > WAL_STREAM_ID_MAX)
		return 0;
	if (strcmp(end, SUFFIX_NEW) == 0) { /* never completed: the journal still has it all */
		aside_path(id, SUFFIX_NEW, path);
		(void)store->io->unlinkat(store->io, store->dirfd, path, false);
		return 0;
	}
	if (*end && strcmp(end, SUFFIX_BAD) != 0)
		return 0;
	aside = wal_aside_get(&loading->asides, id);
	if (!aside)
		return -ENOMEM;
	if (!*end)
		return load_file(store, aside);
	aside_path(id, SUFFIX_BAD, path);
	wal_store_note(store, "", path, 0, 0, 0, -EBADMSG, "the journal entries that were set aside are damaged");
	aside->damaged = true;
	return 0;
}

int wal_asides_load(struct wal_store *store, struct wal_aside **ret_asides)
{
	struct loading loading = { .store = store };
	int r = wal_io_list(store->io, store->dirfd, WAL_DIR_ASIDE, load_one, &loading);

	if (r < 0)
		wal_aside_free_all(&loading.asides);
	else
		*ret_asides = loading.asides;
	return r;
}

static int save_file(struct wal_store *store, const struct wal_aside *aside)
{
	uint8_t head[WAL_ASIDE_HEAD] = { 0 };
	char path[64], to[64];
	int fd, r = 0;

	memcpy(head, WAL_ASIDE_MAGIC, WAL_MAGIC_LEN);
	wal_put_le16(head + WAL_HEAD_VERSION, WAL_FORMAT_VERSION);
	memcpy(head + WAL_HEAD_BODY, store->marker.uuid, sizeof(store->marker.uuid));
	wal_put_le64(head + 32, aside->id);
	wal_put_le64(head + 40, aside->len);
	wal_put_le64(head + 56, wal_sum(head, 56, seed_of(store, aside->id)));
	aside_path(aside->id, "", to);
	if (aside->file_bad) {
		aside_path(aside->id, SUFFIX_BAD, path);
		r = store->io->renameat(store->io, store->dirfd, to, path, true);
		if (r < 0)
			return r;
	}
	aside_path(aside->id, SUFFIX_NEW, path);
	fd = wal_io_open(store->io, store->dirfd, path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0)
		return fd;
	r = wal_io_write(store->io, fd, head, sizeof(head), 0);
	if (r == 0)
		r = wal_io_write(store->io, fd, aside->bytes, aside->len, sizeof(head));
	if (r == 0)
		r = store->io->fsync(store->io, fd);
	(void)store->io->close(store->io, fd); /* synced, or thrown away */
	if (r == 0)
		r = store->io->renameat(store->io, store->dirfd, path, to, true);
	return r;
}

int wal_asides_save(struct wal_store *store, struct wal_aside *asides)
{
	struct wal_aside *aside, *tmp;
	bool any = false;
	int r;

	HASH_ITER(hh, asides, aside, tmp) {
		if (aside->saved)
			continue;
		r = save_file(store, aside);
		if (r < 0)
			return r;
		aside->saved = any = true;
	}
	return any ? wal_io_sync_dir(store->io, store->dirfd, WAL_DIR_ASIDE) : 0;
}

int wal_aside_remove(struct wal_store *store, uint64_t id)
{
	static const char *const suffixes[] = { "", SUFFIX_BAD };
	bool any = false;
	char path[64];

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(*suffixes); i++) {
		int r;

		aside_path(id, suffixes[i], path);
		r = store->io->unlinkat(store->io, store->dirfd, path, false);
		if (r < 0 && r != -ENOENT)
			return r;
		any |= r == 0;
	}
	return any ? wal_io_sync_dir(store->io, store->dirfd, WAL_DIR_ASIDE) : 0;
}

/* ---- held -------------------------------------------------------------------------------------------- */

int wal_aside_hold(struct wal_store *store, uint64_t id, int code)
{
	struct wal_held *held, *found;

	assert(code < 0);
	held = calloc(1, sizeof(*held));
	if (!held)
		return -ENOMEM;
	held->id = id;
	held->code = code;
	pthread_mutex_lock(&store->state_lock);
	HASH_FIND(hh, store->held, &id, sizeof(id), found);
	if (!found)
		HASH_ADD(hh, store->held, id, sizeof(id), held);
	pthread_mutex_unlock(&store->state_lock);
	if (found)
		free(held);
	return 0;
}

int wal_aside_held(struct wal_store *store, uint64_t id)
{
	struct wal_held *found;
	int code;

	pthread_mutex_lock(&store->state_lock);
	HASH_FIND(hh, store->held, &id, sizeof(id), found);
	code = found ? found->code : 0;
	pthread_mutex_unlock(&store->state_lock);
	return code;
}

void wal_aside_fini(struct wal_store *store)
{
	struct wal_held *held, *tmp;

	HASH_ITER(hh, store->held, held, tmp) {
		HASH_DEL(store->held, held);
		free(held);
	}
}
