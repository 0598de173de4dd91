/* SPDX-License-Identifier: MIT
 *
 * manage: streams as a whole: made, found, renamed, deleted, owned, set.
 *
 * Order of things, so that a crash between any two leaves what replay can finish: a creation makes the directory
 * and then its entry (replay makes what is missing); a rename and a deletion are durable in the journal before the directory
 * changes its name (replay finds the stream under either name, by its id).
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>

#include "aside.h"
#include "banned.h"
#include "bytes.h"
#include "key.h"
#include "stream.h"

static struct wal_stream *stream_new(struct wal_store *store, struct wal_span key, const char *name)
{
	struct wal_stream *stream = calloc(1, sizeof(*stream));

	if (!stream)
		return NULL;
	stream->store = store;
	atomic_init(&stream->refs, 1);
	memcpy(stream->key, key.base, key.len);
	stream->key_len = key.len;
	memcpy(stream->name, name, strlen(name) + 1);
	pthread_mutex_init(&stream->lock, NULL);
	pthread_mutex_init(&stream->board.lock, NULL);
	pthread_cond_init(&stream->cond, NULL);
	return stream;
}

static void stream_free(struct wal_stream *stream)
{
	assert(!stream->live);
	for (size_t i = 0; i < stream->n_removed; i++)
		wal_store_put_segment(stream->store, stream->removed[i]);
	free(stream->removed);
	pthread_cond_destroy(&stream->cond);
	pthread_mutex_destroy(&stream->board.lock);
	pthread_mutex_destroy(&stream->lock);
	free(stream);
}

struct wal_stream *wal_stream_ref(struct wal_stream *stream)
{
	atomic_fetch_add(&stream->refs, 1);
	return stream;
}

void wal_stream_unref(struct wal_stream *stream)
{
	struct wal_store *store;
	struct wal_stream *found = NULL;

	if (!stream)
		return;
	store = stream->store;
	pthread_mutex_lock(&store->lock); /* so that nobody finds it in the table at its last moment */
	if (atomic_fetch_sub(&stream->refs, 1) != 1) {
		pthread_mutex_unlock(&store->lock);
		return;
	}
	HASH_FIND(hh, store->streams, stream->key, stream->key_len, found);
	if (found == stream)
		HASH_DEL(store->streams, stream);
	if (stream->in_table) {
		HASH_DELETE(hh_id, store->by_id, stream);
		store->n_streams--;
	}
	pthread_mutex_unlock(&store->lock);
	stream_free(stream);
}

uint64_t wal_stream_id(const struct wal_stream *stream)
{
	return stream->id;
}

int wal_stream_key(struct wal_stream *stream, char key[WAL_KEY_MAX + 1])
{
	struct wal_store *store = stream->store;
	int len;

	pthread_mutex_lock(&store->lock);
	len = (int)stream->key_len;
	memcpy(key, stream->key, stream->key_len);
	key[len] = '\0';
	pthread_mutex_unlock(&store->lock);
	return len;
}

/* Puts a new handle into the table: 0, or 1 and the handle that got there first. -EAGAIN: names changed meanwhile, look again.
 * -EBADMSG: another key has this id, so one of the two is a copy of files that belong to the other. */
static int table_add(struct wal_stream *stream, uint64_t names_gen, struct wal_stream **ret_stream)
{
	struct wal_store *store = stream->store;
	struct wal_stream *found = NULL;
	int r = 0;

	pthread_mutex_lock(&store->lock);
	HASH_FIND(hh, store->streams, stream->key, stream->key_len, found);
	if (found) {
		atomic_fetch_add(&found->refs, 1);
		*ret_stream = found;
		r = 1;
		goto out;
	}
	HASH_FIND(hh_id, store->by_id, &stream->id, sizeof(stream->id), found);
	if (store->names_gen != names_gen) {
		r = -EAGAIN;
	} else if (found && !found->deleted) {
		r = -EBADMSG;
	} else {
		HASH_ADD(hh, store->streams, key, stream->key_len, stream);
		HASH_ADD(hh_id, store->by_id, id, sizeof(stream->id), stream);
		stream->in_table = true;
		store->n_streams++;
		*ret_stream = stream;
	}
out:
	pthread_mutex_unlock(&store->lock);
	return r;
}

/* Makes the directory a stream: its first segment, its entry. The name is not in the table yet. */
static int give_birth(struct wal_stream *stream, uint64_t *reserved, uint64_t *ret_lsn)
{
	struct wal_store *store = stream->store;
	struct wal_journal_entry entry = { .type = WAL_ENTRY_CREATE };
	uint8_t sector[WAL_SECTOR];
	struct wal_span payload[2] = { { sector, sizeof(sector) }, { stream->name, strlen(stream->name) } };
	int r;

	pthread_mutex_lock(&stream->lock);
	stream->live = calloc(1, sizeof(*stream->live));
	r = stream->live ? 0 : -ENOMEM;
	if (r == 0) {
		stream->live->next = stream->live->visible = 1;
		stream->live->last_time = wal_store_now(store);
		stream->slot.first_seq = stream->slot.mark_next = 1;
		stream->slot.gen = 1;
		r = wal_stream_rotate_locked(stream, NULL);
	}
	if (r == 0) {
		wal_slot_encode(sector, &stream->slot);
		wal_stream_last(stream)->unjournaled = false; /* its CREATE entry is as good */
		stream->file_time = stream->live->last_time;
		entry.stream_id = stream->id;
		wal_stream_apply_settings_locked(stream);
		atomic_store(&store->entries_dirty, true);
		wal_stream_mark_dirty_locked(stream, !stream->durable);
		*ret_lsn = wal_journal_put(&store->journal, &entry, payload, 2, &stream->bound, stream->name, NULL,
					   reserved);
	} else if (stream->live) {
		wal_live_free(stream->live, store);
		stream->live = NULL;
	}
	pthread_mutex_unlock(&stream->lock);
	if (r == 0)
		wal_stream_join_ring(stream);
	return r;
}

static void note_foreign(struct wal_stream *stream)
{
	char file[WAL_SEGMENT_NAME_LEN];

	wal_segment_name(stream->slot.id.first, WAL_SUFFIX_SEGMENT, file);
	wal_store_note(stream->store, stream->name, file, 0, 0, 0, -EBADMSG, "it belongs to another stream");
}

int wal_stream_open(struct wal_store *store, struct wal_span key, struct wal_stream **ret_stream)
{
	struct wal_stream *stream, *found = NULL;
	char name[WAL_NAME_MAX + 1];
	uint64_t gen;
	int r, added;

	r = wal_key_to_name(key, name);
	if (r < 0)
		return r;
	for (;;) {
		pthread_mutex_lock(&store->lock);
		HASH_FIND(hh, store->streams, key.base, key.len, found);
		if (found)
			atomic_fetch_add(&found->refs, 1);
		gen = store->names_gen;
		pthread_mutex_unlock(&store->lock);
		if (found)
			break;
		stream = stream_new(store, key, name);
		if (!stream)
			return -ENOMEM;
		pthread_mutex_lock(&store->birth_lock);
		r = wal_stream_load_state(stream);
		stream->stopped = r < 0 ? 0 : wal_aside_held(store, stream->id);
		stream->unsynced = stream->stopped != 0;
		if (r == 0)
			wal_stream_apply_settings_locked(stream); /* nobody else has it yet */
		added = r < 0 ? r : table_add(stream, gen, &found);
		pthread_mutex_unlock(&store->birth_lock);
		if (r < 0) { /* an unfinished creation is no stream; creating it again finishes it */
			if (r == -ENODATA && wal_stream_has_bytes(stream) > 0)
				wal_store_trace(store, "stream %s: its segments have no head: it is not there", name);
			else if (r != -ENOENT && r != -ENODATA)
				wal_store_note(store, name, "", 0, 0, 0, r, "its state cannot be read");
			stream_free(stream);
			return r == -ENODATA ? -ENOENT : r;
		}
		r = added;
		if (r == -EBADMSG)
			note_foreign(stream);
		if (r != 0)
			stream_free(stream);
		if (r < 0 && r != -EAGAIN)
			return r;
		if (r >= 0)
			break;
	}
	*ret_stream = found;
	return 0;
}

static int clear_unfinished(void *arg, const char *name, unsigned char type)
{
	const struct wal_stream *stream = arg;
	struct wal_store *store = stream->store;
	char path[600];
	int r;

	(void)type;
	(void)snprintf(path, sizeof(path), "%s/%s", stream->name, name);
	r = store->io->unlinkat(store->io, store->dirfd, path, false);
	return r == -ENOENT ? 0 : r;
}

/* Makes the directory. 0, or -EEXIST where it is a stream already. One that an unfinished creation left is used, without what is in
 * it: segments that were never written. One whose segments lost their heads is put away. */
static int make_directory(struct wal_stream *stream)
{
	struct wal_store *store = stream->store;
	int r = store->io->mkdirat(store->io, store->dirfd, stream->name, 0700);
	uint64_t id;

	if (r != -EEXIST)
		return r;
	id = stream->id;
	r = wal_stream_load_state(stream);
	stream->id = id;
	if (r != -ENODATA)
		return -EEXIST;
	r = wal_stream_has_bytes(stream);
	if (r != 0)
		return r < 0 ? r : wal_stream_put_away(stream);
	return wal_io_list(store->io, store->dirfd, stream->name, clear_unfinished, stream);
}

int wal_stream_create(struct wal_store *store, struct wal_span key, const struct wal_attr *attr,
		      const struct wal_settings *settings, struct wal_stream **ret_stream)
{
	struct wal_stream *stream, *found = NULL;
	char name[WAL_NAME_MAX + 1];
	uint64_t lsn = 0, gen, reserved = WAL_STATE_RESERVE;
	int r;

	r = wal_key_to_name(key, name);
	if (r < 0)
		return r;
	if (store->rdonly)
		return -EROFS;
	wal_store_make_room(store);
	stream = stream_new(store, key, name);
	if (!stream)
		return -ENOMEM;
	r = wal_store_next_id(store, &stream->id);
	if (r == 0)
		r = wal_journal_reserve(&store->journal, reserved, false);
	if (r < 0) {
		stream_free(stream);
		return r;
	}
	pthread_mutex_lock(&store->names_lock);
	pthread_mutex_lock(&store->birth_lock);
	pthread_mutex_lock(&store->lock);
	HASH_FIND(hh, store->streams, key.base, key.len, found);
	gen = store->names_gen;
	pthread_mutex_unlock(&store->lock);
	r = found ? -EEXIST : make_directory(stream);
	if (r == 0) {
		memset(&stream->slot, 0, sizeof(stream->slot));
		stream->slot.attr = *attr;
		stream->slot.attr.mode &= 07777;
		if (settings)
			stream->slot.settings = *settings;
		r = give_birth(stream, &reserved, &lsn);
		if (r < 0)
			(void)wal_io_remove_dir(store->io, store->dirfd, name); /* unfinished is no stream anyway */
	}
	if (r == 0) {
		r = table_add(stream, gen, &found);
		assert(r == 0); /* nobody else can have made, found or renamed one under this name */
	}
	pthread_mutex_unlock(&store->birth_lock);
	pthread_mutex_unlock(&store->names_lock);
	wal_journal_unreserve(&store->journal, reserved);
	if (r < 0) {
		stream_free(stream);
		return r;
	}
	if (stream->durable)
		r = wal_journal_wait(&store->journal, lsn);
	if (r < 0) {
		wal_stream_unref(stream);
		return r;
	}
	*ret_stream = stream;
	return 0;
}

/* ---- names ------------------------------------------------------------------------------------------- */

/* Waits until neither a flush, nor a large batch, nor a journaled append is under way; live and locked on success. */
static int lock_idle(struct wal_stream *stream)
{
	struct wal_journal *journal = &stream->store->journal;
	int r;

	for (;;) {
		r = wal_stream_lock_live(stream, 0);
		if (r < 0)
			return r;
		while (stream->flushing || stream->batching)
			pthread_cond_wait(&stream->cond, &stream->lock);
		if (stream->deleted || !stream->live) {
			pthread_mutex_unlock(&stream->lock);
			continue;
		}
		if (stream->live->pending == 0)
			return 0;
		pthread_mutex_unlock(&stream->lock);
		(void)wal_journal_wait(journal, wal_journal_head(journal)); /* a failure stops the stream */
	}
}

static int journal_name(struct wal_stream *stream, uint8_t type, const char *name, uint64_t *reserved)
{
	struct wal_journal *journal = &stream->store->journal;
	struct wal_journal_entry entry = { .type = type, .stream_id = stream->id };
	struct wal_span payload = { name, name ? strlen(name) : 0 };
	uint64_t lsn;

	lsn = wal_journal_put(journal, &entry, &payload, 1, &stream->bound, stream->name, NULL, reserved);
	return wal_journal_wait(journal, lsn);
}

/* Both directory and table take the new name. The stream is idle, and names_lock is held. Who looks for the new name meanwhile
 * waits for birth_lock; who has the old one in the table gets the stream. */
static int take_name(struct wal_stream *stream, struct wal_span key, const char *name, uint64_t *reserved)
{
	struct wal_store *store = stream->store;
	struct wal_journal_entry entry = { .type = WAL_ENTRY_RENAME, .stream_id = stream->id };
	struct wal_span payload = { name, strlen(name) };
	int r;

	pthread_mutex_lock(&store->birth_lock);
	pthread_mutex_lock(&stream->lock);
	while (stream->flushing) /* it uses the old name */
		pthread_cond_wait(&stream->cond, &stream->lock);
	/* What is set aside has the name of now. */
	r = stream->unsynced ? -EROFS : store->io->renameat(store->io, store->dirfd, stream->name, name, false);
	if (r == 0) {
		pthread_mutex_lock(&stream->board.lock);
		memcpy(stream->name, name, strlen(name) + 1);
		pthread_mutex_unlock(&stream->board.lock);
		stream->bound = 0;
		atomic_store(&store->entries_dirty, true);
		wal_stream_mark_dirty_locked(stream, true);
		/* Again: an append may have bound the old name behind the first one. */
		(void)wal_journal_put(&store->journal, &entry, &payload, 1, &stream->bound, name, NULL, reserved);
	}
	pthread_mutex_unlock(&stream->lock);
	if (r == 0) {
		pthread_mutex_lock(&store->lock);
		HASH_DEL(store->streams, stream);
		memcpy(stream->key, key.base, key.len);
		stream->key[key.len] = '\0';
		stream->key_len = key.len;
		HASH_ADD(hh, store->streams, key, stream->key_len, stream);
		store->names_gen++;
		pthread_mutex_unlock(&store->lock);
	}
	pthread_mutex_unlock(&store->birth_lock);
	return r;
}

int wal_stream_rename(struct wal_stream *stream, struct wal_span new_key)
{
	struct wal_store *store = stream->store;
	uint64_t reserved = 2 * WAL_STATE_RESERVE;
	char name[WAL_NAME_MAX + 1];
	struct stat st;
	bool synced;
	int r;

	r = wal_key_to_name(new_key, name);
	if (r < 0)
		return r;
	if (store->rdonly)
		return -EROFS;
	if (store->opts.flags & WAL_OPEN_NO_TRIM)
		return -EPERM;
	r = wal_journal_reserve(&store->journal, reserved, false);
	if (r < 0)
		return r;
	pthread_mutex_lock(&store->names_lock);
	r = lock_idle(stream);
	if (r < 0)
		goto out;
	synced = stream->slot.mark_off >= WAL_HEAD_BYTES;
	pthread_mutex_unlock(&stream->lock);
	if (strcmp(stream->name, name) == 0) /* only changed under names_lock */
		goto out;
	if (!synced) /* so that replay can tell by its head which one a directory is, under whatever name */
		r = wal_stream_flush(stream);
	if (r == 0)
		r = store->io->fstatat(store->io, store->dirfd, name, &st) == 0 ? -EEXIST : 0;
	if (r < 0)
		goto out;
	wal_store_name_begin(store);
	r = journal_name(stream, WAL_ENTRY_RENAME, name, &reserved);
	if (r < 0)
		goto named;
	r = take_name(stream, new_key, name, &reserved);
	/* The journal must not say what did not happen. Where even that fails, the next opening decides by what it finds. */
	if (r < 0 && journal_name(stream, WAL_ENTRY_RENAME, stream->name, &reserved) < 0)
		wal_journal_stop(&store->journal, r);
named:
	wal_store_name_end(store);
out:
	pthread_mutex_unlock(&store->names_lock);
	wal_journal_unreserve(&store->journal, reserved);
	return r;
}

/* Entries that were set aside would make a deleted stream again. */
static int remove_aside(struct wal_stream *stream)
{
	struct wal_store *store = stream->store;
	bool unsynced;
	int r;

	pthread_mutex_lock(&stream->lock);
	unsynced = stream->unsynced;
	pthread_mutex_unlock(&stream->lock);
	if (!unsynced)
		return 0;
	pthread_mutex_lock(&store->aside_lock); /* not while a checkpoint sets them aside */
	r = wal_aside_remove(store, stream->id);
	pthread_mutex_unlock(&store->aside_lock);
	if (r < 0) /* the deletion in the journal must stay */
		wal_journal_stop(&store->journal, r);
	return r;
}

/* The stream is no more: its name, its live part; its files are in the trash. Open records keep their descriptors. */
static int bury(struct wal_stream *stream, const char *trash)
{
	struct wal_store *store = stream->store;
	struct wal_live *live;
	int r;

	pthread_mutex_lock(&store->birth_lock); /* it is in the table and on disk, or in neither */
	pthread_mutex_lock(&store->lock);
	HASH_DEL(store->streams, stream);
	store->names_gen++;
	pthread_mutex_unlock(&store->lock);
	pthread_mutex_lock(&stream->lock);
	live = stream->live; /* NULL: it was given up since, nobody having a record of it open */
	for (size_t i = 0; live && i < live->n; i++) {
		if (atomic_load(&live->segs[i]->refs) > 1 && wal_stream_pin_locked(stream, live->segs[i]) == 0)
			wal_stream_unpin(live->segs[i]);
		live->segs[i]->removed = true;
	}
	pthread_mutex_unlock(&stream->lock);
	r = store->io->renameat(store->io, store->dirfd, stream->name, trash, false);
	pthread_mutex_unlock(&store->birth_lock);
	if (r < 0) {
		wal_store_note(store, stream->name, "", 0, 0, 0, r, "a deleted stream could not be moved to the trash");
		/* The next opening finishes it, from the journal, which must keep its entry until then. */
		wal_journal_stop(&store->journal, r);
	}
	atomic_store(&store->entries_dirty, true);
	wal_stream_leave_ring(stream);
	return r < 0 ? r : remove_aside(stream);
}

int wal_stream_delete(struct wal_stream *stream, uint32_t flags)
{
	struct wal_store *store = stream->store;
	uint64_t reserved = WAL_STATE_RESERVE;
	struct wal_wait *waits = NULL;
	char trash[64];
	int r;

	if (store->rdonly)
		return -EROFS;
	if (store->opts.flags & WAL_OPEN_NO_TRIM)
		return -EPERM;
	r = wal_journal_reserve(&store->journal, reserved, false);
	if (r < 0)
		return r;
	(void)snprintf(trash, sizeof(trash), "%s/%llu", WAL_DIR_TRASH, (unsigned long long)stream->id);
	pthread_mutex_lock(&store->names_lock);
	r = lock_idle(stream);
	if (r < 0)
		goto out;
	if (!(flags & WAL_DELETE_RECORDS) && stream->live->visible > stream->slot.first_seq)
		r = -ENOTEMPTY;
	else
		stream->deleted = true;
	pthread_mutex_unlock(&stream->lock);
	if (r < 0)
		goto out;
	wal_store_name_begin(store);
	r = journal_name(stream, WAL_ENTRY_DELETE, NULL, &reserved);
	if (r < 0)
		stream->deleted = false;
	else
		waits = wal_stream_take_waits(stream);
	if (r == 0)
		r = bury(stream, trash);
	wal_store_name_end(store);
out:
	pthread_mutex_unlock(&store->names_lock);
	wal_journal_unreserve(&store->journal, reserved);
	wal_stream_tell_waits(waits, -EIDRM);
	/* They can be many, and nobody waits for them. What stays is removed at the next opening. */
	if (r == 0)
		(void)wal_io_remove_dir(store->io, store->dirfd, trash);
	return r;
}
