/* SPDX-License-Identifier: MIT
 *
 * A live stream is in the store's ring and holds a reference on itself there. Room for another is made by a
 * clock: the hand passes those that were used since it last came by, and gives up the first that is clean and idle;
 * where none is clean, all are flushed first.
 */
#include "stream.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include <time.h>

#include "banned.h"
#include "bytes.h"
#include "scan.h"
#include "settings.h"

void wal_stream_path(const struct wal_stream *stream, uint64_t first, const char *suffix, char *path, size_t size)
{
	char name[WAL_SEGMENT_NAME_LEN];

	wal_segment_name(first, suffix, name);
	(void)snprintf(path, size, "%s/%s", stream->name, name);
}

struct wal_segment *wal_stream_last(const struct wal_stream *stream)
{
	assert(stream->live->n > 0);
	return stream->live->segs[stream->live->n - 1];
}

int wal_live_add(struct wal_live *live, struct wal_segment *seg)
{
	if (live->n == live->cap) {
		size_t cap = live->cap ? live->cap * 2 : 2;
		struct wal_segment **segs = realloc(live->segs, cap * sizeof(struct wal_segment *));

		if (!segs)
			return -ENOMEM;
		live->segs = segs;
		live->cap = cap;
	}
	live->segs[live->n++] = seg;
	return 0;
}

static void close_file(struct wal_store *store, struct wal_segment *seg)
{
	if (seg->fd < 0)
		return;
	(void)store->io->close(store->io, seg->fd); /* clean: nothing can be lost by it */
	seg->fd = -1;
	atomic_fetch_sub(&store->open_files, 1);
}

void wal_live_free(struct wal_live *live, struct wal_store *store)
{
	if (!live)
		return;
	for (size_t i = 0; i < live->n; i++) {
		if (atomic_load(&live->segs[i]->refs) == 1)
			close_file(store, live->segs[i]);
		wal_store_put_segment(store, live->segs[i]);
	}
	free(live->segs);
	free(live);
}

void wal_stream_close_files_locked(struct wal_stream *stream, const struct wal_segment *keep)
{
	for (size_t i = 0; stream->live && i < stream->live->n; i++) {
		struct wal_segment *seg = stream->live->segs[i];

		if (seg != keep && seg->fd >= 0 && !seg->dirty && !seg->removed && atomic_load(&seg->users) == 0)
			close_file(stream->store, seg);
	}
}

/* Streams of which records or iterators are open stay live, however many, and would keep their files open. Of those that
 * nobody reads or syncs just now some are closed; each is opened again when it is needed. Called with the lock of a stream held, which
 * is passed over. */
static void close_some_files(struct wal_store *store)
{
	int goal = (int)(store->live_max + store->live_max / 2);

	pthread_mutex_lock(&store->live_lock);
	for (uint32_t i = 0; i < store->n_live && atomic_load(&store->open_files) > goal; i++) {
		struct wal_stream *stream = store->live;

		store->live = stream->ring_next;
		if (pthread_mutex_trylock(&stream->lock) != 0)
			continue;
		if (stream->live && stream->live->pending == 0)
			wal_stream_close_files_locked(stream, NULL);
		pthread_mutex_unlock(&stream->lock);
	}
	pthread_mutex_unlock(&store->live_lock);
}

int wal_stream_pin_locked(struct wal_stream *stream, struct wal_segment *seg)
{
	struct wal_store *store = stream->store;
	char path[WAL_PATH_MAX];
	int fd;

	if (seg->fd < 0) {
		if (seg->removed)
			return -EIDRM;
		if (stream->live && seg != wal_stream_last(stream)) /* two at a time: the last one and this one */
			wal_stream_close_files_locked(stream, wal_stream_last(stream));
		if (atomic_load(&store->open_files) >= (int)(2 * store->live_max))
			close_some_files(store);
		wal_stream_path(stream, seg->id.first, WAL_SUFFIX_SEGMENT, path, sizeof(path));
		fd = wal_io_open(store->io, store->dirfd, path, store->rdonly ? O_RDONLY : O_RDWR, 0);
		if (fd < 0)
			return fd;
		seg->fd = fd;
		atomic_fetch_add(&store->open_files, 1);
	}
	atomic_fetch_add(&seg->users, 1);
	return 0;
}

void wal_stream_unpin(struct wal_segment *seg)
{
	assert(atomic_load(&seg->users) > 0);
	atomic_fetch_sub(&seg->users, 1);
}

int wal_stream_remove_segment_locked(struct wal_stream *stream, struct wal_segment *seg)
{
	struct wal_segment **removed = realloc(stream->removed, (stream->n_removed + 1) * sizeof(*removed));

	if (!removed)
		return -ENOMEM;
	stream->removed = removed;
	removed[stream->n_removed++] = seg;
	/* Nobody else has it: nothing will be read or synced of it any more. */
	if (seg->fd >= 0 && atomic_load(&seg->refs) == 1 && atomic_load(&seg->users) == 0)
		close_file(stream->store, seg);
	return 0;
}

int wal_stream_write_slot_locked(struct wal_stream *stream)
{
	struct wal_segment *last = wal_stream_last(stream);
	int r;

	r = wal_stream_pin_locked(stream, last);
	if (r < 0)
		return r;
	stream->slot.gen++;
	stream->slot.id = last->id;
	r = wal_segment_write_slot(stream->store->io, last->fd, &stream->slot);
	wal_stream_unpin(last);
	if (r == 0) {
		last->dirty = true;
		stream->slot_dirty = true;
	}
	return r;
}

void wal_stream_mark_dirty_locked(struct wal_stream *stream, bool relaxed)
{
	struct wal_store *store = stream->store;

	pthread_mutex_lock(&store->dirty_lock);
	if (!stream->on_dirty) {
		atomic_fetch_add(&stream->refs, 1); /* the list's; given back by the flush */
		stream->on_dirty = true;
		stream->dirty_next = store->dirty;
		store->dirty = stream;
		store->n_dirty++;
	}
	if (relaxed && !stream->relaxed_dirty) {
		stream->relaxed_dirty = true;
		if (!store->relaxed_waits) {
			store->relaxed_waits = true;
			pthread_cond_signal(&store->keeper_cond);
		}
	}
	pthread_mutex_unlock(&store->dirty_lock);
}

void wal_stream_stop_locked(struct wal_stream *stream, int code, const char *reason)
{
	char file[WAL_SEGMENT_NAME_LEN] = "";

	if (stream->stopped)
		return;
	stream->stopped = code;
	wal_stream_publish_locked(stream);
	if (stream->live)
		wal_segment_name(wal_stream_last(stream)->id.first, WAL_SUFFIX_SEGMENT, file);
	wal_store_note(stream->store, stream->name, file, stream->live ? wal_stream_last(stream)->size : 0, 0, 0, code,
		       reason);
}

void wal_stream_apply_settings_locked(struct wal_stream *stream)
{
	struct wal_store *store = stream->store;
	const struct wal_settings *own = &stream->slot.settings;
	uint64_t durability;

	pthread_mutex_lock(&store->state_lock);
	durability = wal_settings_pick(own->durability, store->super.settings.durability,
				       store->opts.flags & WAL_OPEN_RELAXED ? WAL_DURABILITY_RELAXED
									    : WAL_DURABILITY_DURABLE);
	stream->limits = wal_limits_pick(own, &store->super.settings);
	pthread_mutex_unlock(&store->state_lock);
	stream->durable = durability == WAL_DURABILITY_DURABLE;
	wal_stream_publish_locked(stream);
}

/* Creates the file with its head. */
static int create_segment(struct wal_stream *stream, struct wal_segment *seg, const struct wal_slot *slot)
{
	struct wal_store *store = stream->store;
	char path[WAL_PATH_MAX];
	int fd, r;

	wal_stream_path(stream, slot->id.first, WAL_SUFFIX_SEGMENT, path, sizeof(path));
	fd = wal_io_open(store->io, store->dirfd, path, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd < 0)
		return fd;
	r = wal_segment_write_head(store->io, fd, slot);
	if (r < 0) {
		(void)store->io->close(store->io, fd);
		(void)store->io->unlinkat(store->io, store->dirfd, path, false);
		return r;
	}
	atomic_fetch_add(&store->open_files, 1);
	seg->fd = fd;
	return 0;
}

void wal_stream_save_index_locked(struct wal_stream *stream, struct wal_segment *seg, uint64_t next)
{
	struct wal_store *store = stream->store;
	char path[WAL_PATH_MAX];

	seg->saved = seg->index.n < WAL_INDEX_SAVE_MIN; /* as good as */
	if (seg->saved || store->rdonly)
		return;
	wal_stream_path(stream, seg->id.first, WAL_SUFFIX_INDEX, path, sizeof(path));
	/* A cache: without it the segment is scanned when it is next read. */
	seg->saved = wal_index_save(&seg->index, store->io, store->dirfd, path, seg->id.salt,
				    (struct wal_point){ next, seg->size, seg->content }) == 0;
}

void wal_stream_seal_locked(struct wal_stream *stream, struct wal_segment *seg)
{
	stream->live->bytes += seg->size - WAL_HEAD_BYTES;
	if (seg->indexed)
		wal_stream_save_index_locked(stream, seg, stream->live->next);
	wal_stream_drop_indexes_locked(stream, NULL);
}

void wal_stream_journal_segment_locked(struct wal_stream *stream, uint64_t *reserved)
{
	struct wal_segment *last = wal_stream_last(stream);
	struct wal_journal_entry entry = {
		.type = WAL_ENTRY_SEGMENT, .stream_id = stream->id, .seq = last->id.first, .segment = last->id.first
	};
	struct wal_slot slot = stream->slot;
	uint8_t sector[WAL_SECTOR];
	struct wal_span payload = { sector, sizeof(sector) };

	if (!last->unjournaled)
		return;
	slot.id = last->id;
	wal_slot_encode(sector, &slot);
	/* The record behind it is what is waited for. */
	(void)wal_journal_put(&stream->store->journal, &entry, &payload, 1, &stream->bound, stream->name, NULL,
			      reserved);
	last->unjournaled = false;
}

int wal_stream_rotate_locked(struct wal_stream *stream, uint64_t *reserved)
{
	struct wal_live *live = stream->live;
	struct wal_segment *seg = wal_segment_new(live->next);
	struct wal_slot slot = stream->slot;
	int r = -ENOMEM;

	if (!seg)
		return r;
	slot.gen++; /* never goes back in a stream: what replay finds in the journal may be older than what is here */
	slot.id = (struct wal_identity){ .stream_id = stream->id,
					 .first = live->next,
					 .created_ns = wal_store_now(stream->store),
					 .time_base = live->last_time,
					 .pos = live->pos_next };
	slot.mark_off = 0; /* nothing of it was synced yet */
	if (getrandom(&slot.id.salt, sizeof(slot.id.salt), 0) != sizeof(slot.id.salt))
		goto out;
	r = wal_live_add(live, seg);
	if (r < 0)
		goto out;
	r = create_segment(stream, seg, &slot);
	if (r < 0) {
		live->n--;
		goto out;
	}
	seg->id = slot.id;
	seg->seed = wal_record_seed(stream->id, slot.id.salt);
	seg->size = WAL_HEAD_BYTES;
	seg->pos = live->pos_next;
	seg->loaded = seg->indexed = seg->dirty = seg->entry_dirty = true;
	if (live->n > 1)
		wal_stream_seal_locked(stream, live->segs[live->n - 2]);
	stream->slot = slot;
	seg->unjournaled = true;
	wal_stream_mark_dirty_locked(stream, false);
	if (reserved)
		wal_stream_journal_segment_locked(stream, reserved);
	wal_space_move_locked(stream, live->n > 1 ? live->segs[live->n - 2] : NULL);
	return 0;
out:
	wal_store_put_segment(stream->store, seg);
	return r;
}

void wal_stream_join_ring(struct wal_stream *stream)
{
	struct wal_store *store = stream->store;

	pthread_mutex_lock(&store->live_lock);
	atomic_fetch_add(&stream->refs, 1);
	if (store->live) {
		stream->ring_next = store->live;
		stream->ring_prev = store->live->ring_prev;
		stream->ring_prev->ring_next = stream;
		stream->ring_next->ring_prev = stream;
	} else {
		stream->ring_next = stream->ring_prev = stream;
		store->live = stream;
	}
	store->n_live++;
	pthread_mutex_unlock(&store->live_lock);
}

static void ring_remove_locked(struct wal_stream *stream)
{
	struct wal_store *store = stream->store;

	if (store->live == stream)
		store->live = stream->ring_next == stream ? NULL : stream->ring_next;
	stream->ring_prev->ring_next = stream->ring_next;
	stream->ring_next->ring_prev = stream->ring_prev;
	stream->ring_next = stream->ring_prev = NULL;
	store->n_live--;
}

void wal_stream_leave_ring(struct wal_stream *stream)
{
	struct wal_store *store = stream->store;
	struct wal_live *live;
	bool was;

	pthread_mutex_lock(&stream->lock);
	live = stream->live;
	stream->live = NULL;
	pthread_mutex_unlock(&stream->lock);
	pthread_mutex_lock(&store->live_lock);
	was = stream->ring_next != NULL;
	if (was)
		ring_remove_locked(stream);
	pthread_mutex_unlock(&store->live_lock);
	wal_live_free(live, store);
	if (was)
		wal_stream_unref(stream);
}

/* TSan of clang 14 does not know pthread_mutex_clocklock, and takes what it guards for unguarded. The clock that can be set
 * is good enough for it. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define pthread_mutex_clocklock(mutex, clock, deadline) pthread_mutex_timedlock(mutex, deadline)
#define LOCK_CLOCK CLOCK_REALTIME
#endif
#endif
#ifndef LOCK_CLOCK
#define LOCK_CLOCK CLOCK_MONOTONIC
#endif

int wal_stream_lock(struct wal_stream *stream, uint32_t flags)
{
	struct timespec deadline;

	if (!(flags & WAL_NOWAIT)) {
		pthread_mutex_lock(&stream->lock);
		return 0;
	}
	if (pthread_mutex_trylock(&stream->lock) == 0)
		return 0;
	/* An append that is under way is worth waiting for, a recovery is not. */
	clock_gettime(LOCK_CLOCK, &deadline);
	deadline.tv_nsec += WAL_NOWAIT_LOCK_NS;
	if (deadline.tv_nsec >= 1000000000) {
		deadline.tv_nsec -= 1000000000;
		deadline.tv_sec++;
	}
	return pthread_mutex_clocklock(&stream->lock, LOCK_CLOCK, &deadline) == 0 ? 0 : -EAGAIN;
}

int wal_stream_lock_live(struct wal_stream *stream, uint32_t flags)
{
	int r;

	r = wal_stream_lock(stream, flags);
	if (r < 0)
		return r;
	if (!stream->live && !stream->deleted) {
		pthread_mutex_unlock(&stream->lock);
		if (flags & WAL_NOWAIT)
			return -EAGAIN;
		wal_store_make_room(stream->store);
		pthread_mutex_lock(&stream->lock);
	}
	if (stream->deleted) {
		pthread_mutex_unlock(&stream->lock);
		return -EIDRM;
	}
	atomic_store_explicit(&stream->used, true, memory_order_relaxed);
	if (stream->live)
		return 0;
	r = wal_stream_recover_locked(stream);
	if (r < 0) {
		wal_store_note(stream->store, stream->name, "", 0, 0, 0, r, "cannot be recovered");
		pthread_mutex_unlock(&stream->lock);
		return r;
	}
	wal_stream_join_ring(stream);
	return 0;
}

/* Clean, idle and not needed. */
static bool can_give_up(struct wal_stream *stream)
{
	bool dirty;

	pthread_mutex_lock(&stream->store->dirty_lock);
	dirty = stream->on_dirty;
	pthread_mutex_unlock(&stream->store->dirty_lock);
	if (dirty || stream->slot_dirty || stream->flushing || stream->n_removed > 0 || atomic_load(&stream->pins) > 0)
		return false;
	/* A dirty segment may be off the list already, with the flush that took it about to begin. */
	for (size_t i = 0; stream->live && i < stream->live->n; i++)
		if (stream->live->segs[i]->dirty || stream->live->segs[i]->entry_dirty)
			return false;
	return stream->live && stream->live->pending == 0;
}

/* One round of the clock. Returns a stream taken out of the ring, its live part in *ret_live, or NULL. */
static struct wal_stream *take_victim(struct wal_store *store, struct wal_live **ret_live)
{
	struct wal_stream *found = NULL;

	pthread_mutex_lock(&store->live_lock);
	for (uint32_t i = 0; i < 2 * store->n_live && !found; i++) {
		struct wal_stream *stream = store->live;

		store->live = stream->ring_next;
		if (atomic_exchange_explicit(&stream->used, false, memory_order_relaxed))
			continue;
		if (pthread_mutex_trylock(&stream->lock) != 0)
			continue;
		if (can_give_up(stream)) {
			*ret_live = stream->live;
			stream->live = NULL;
			ring_remove_locked(stream);
			found = stream;
		} else if (stream->live && stream->live->pending == 0) {
			wal_stream_close_files_locked(stream, NULL);
		}
		pthread_mutex_unlock(&stream->lock);
	}
	pthread_mutex_unlock(&store->live_lock);
	return found;
}

void wal_store_make_room(struct wal_store *store)
{
	uint32_t goal = store->live_max;
	bool flushed = false;

	for (;;) {
		struct wal_live *live = NULL;
		struct wal_stream *stream;
		uint32_t n;

		pthread_mutex_lock(&store->live_lock);
		n = store->n_live;
		pthread_mutex_unlock(&store->live_lock);
		if (n < goal)
			return;
		stream = take_victim(store, &live);
		if (stream) {
			wal_live_free(live, store);
			wal_stream_unref(stream);
			goal = store->live_max - store->live_max / 4; /* some at once, so that a flush serves many */
			continue;
		}
		if (flushed)
			return;                     /* all are in use: better too many than none */
		(void)wal_store_flush(store, true); /* a failure stops the stream and is noted there */
		flushed = true;
	}
}
