/* SPDX-License-Identifier: MIT
 *
 * flush: from the page cache to the disk, in the background. A flush of a stream takes note of what it has, syncs
 * its dirty files without a lock, and then moves the mark in its slot. A checkpoint flushes all dirty streams and then moves
 * the journal's tail. The keeper thread does both when they are due, and applies retention.
 *
 * Failure: a sync that fails stops its stream; it is not tried again. What the journal has of that stream is then all there is
 * of its newest records: the next checkpoint copies it to a file of its own (aside.h), and moves the tail for the
 * others. Where that fails too, or the store's own directory cannot be synced, the journal stops.
 */
#include <assert.h>
#include <errno.h>
#include <time.h>

#include "aside.h"
#include "banned.h"
#include "bytes.h"
#include "stream.h"

#define FLUSH_BATCH 256

struct flush {
	struct wal_stream *stream;
	struct wal_segment **segs; /* pinned and counted */
	size_t n, cap;
	bool entries;
	uint64_t mark_next, mark_off, mark_first;
	char name[WAL_NAME_MAX + 1];
	struct wal_segment **removed;
	size_t n_removed;
	int result;
};

struct set_aside {
	struct wal_store *store;
	struct wal_aside *asides;
};

static int flush_add(struct flush *flush, struct wal_segment *seg)
{
	if (flush->n == flush->cap) {
		size_t cap = flush->cap ? flush->cap * 2 : 4;
		struct wal_segment **segs = realloc(flush->segs, cap * sizeof(struct wal_segment *));

		if (!segs)
			return -ENOMEM;
		flush->segs = segs;
		flush->cap = cap;
	}
	wal_segment_ref(seg);
	atomic_fetch_add(&seg->users, 1);
	flush->segs[flush->n++] = seg;
	return 0;
}

/* Takes note of what is to be synced. 1: begun; 0: nothing is; -EROFS: a sync of it failed before. */
static int flush_begin(struct flush *flush, struct wal_stream *stream)
{
	struct wal_live *live;

	*flush = (struct flush){ .stream = stream };
	pthread_mutex_lock(&stream->lock);
	while (stream->flushing)
		pthread_cond_wait(&stream->cond, &stream->lock);
	live = stream->live;
	if (!live || stream->deleted || stream->unsynced) {
		int r = stream->unsynced ? -EROFS : 0;

		pthread_mutex_unlock(&stream->lock);
		return r;
	}
	stream->flushing = true;
	stream->slot_dirty = false;
	stream->marked_relaxed = false;
	for (size_t i = live->n; i-- > 0 && flush->result == 0;) {
		if (live->segs[i]->dirty && live->segs[i]->fd >= 0)
			flush->result = flush_add(flush, live->segs[i]);
		flush->entries |= live->segs[i]->entry_dirty;
	}
	for (size_t i = 0; i < flush->n; i++)
		flush->segs[i]->dirty = flush->segs[i]->entry_dirty = false;
	flush->mark_next = live->next;
	flush->mark_off = wal_stream_last(stream)->size;
	flush->mark_first = wal_stream_last(stream)->id.first;
	flush->removed = stream->removed;
	flush->n_removed = stream->n_removed;
	stream->removed = NULL;
	stream->n_removed = 0;
	memcpy(flush->name, stream->name, sizeof(flush->name));
	pthread_mutex_unlock(&stream->lock);
	return 1;
}

static void flush_sync(struct flush *flush)
{
	struct wal_store *store = flush->stream->store;
	int r = flush->result;
	uint64_t since;

	for (size_t i = flush->n; i-- > 0 && r == 0;) { /* oldest first: a later one is never ahead of it */
		since = wal_latency_now();
		r = store->io->fdatasync(store->io, flush->segs[i]->fd);
		wal_latency_add(&store->sync_latency, since);
	}
	if (r == 0 && flush->entries) {
		since = wal_latency_now();
		r = wal_io_sync_dir(store->io, store->dirfd, flush->name);
		/* Not even opened: no reason to stop the stream. */
		if ((r == -EMFILE || r == -ENFILE) && !store->ask_each) {
			r = store->io->syncfs(store->io, store->dirfd);
			if (r < 0)
				store->ask_each = true;
		}
		wal_latency_add(&store->sync_latency, since);
	}
	flush->result = r;
}

/* Segments whose trim is now on disk. */
static void unlink_removed(struct flush *flush)
{
	struct wal_store *store = flush->stream->store;
	char name[WAL_SEGMENT_NAME_LEN], path[WAL_PATH_MAX];

	for (size_t i = 0; i < flush->n_removed; i++) {
		for (int k = 0; k < 2; k++) {
			wal_segment_name(flush->removed[i]->id.first, k ? WAL_SUFFIX_INDEX : WAL_SUFFIX_SEGMENT, name);
			(void)snprintf(path, sizeof(path), "%s/%s", flush->name, name);
			/* One that stays is found again by the next recovery, below the oldest record. */
			(void)store->io->unlinkat(store->io, store->dirfd, path, false);
		}
		wal_store_put_segment(store, flush->removed[i]);
	}
	free(flush->removed);
}

/* For the next checkpoint to set aside. The stream's lock is held. */
static void mark_unsynced_locked(struct wal_stream *stream)
{
	struct wal_store *store = stream->store;

	stream->unsynced = true;
	atomic_fetch_add(&stream->refs, 1); /* the list's */
	pthread_mutex_lock(&store->dirty_lock);
	stream->unsynced_next = store->unsynced;
	store->unsynced = stream;
	pthread_mutex_unlock(&store->dirty_lock);
}

/* A segment that is on disk for the first time: the one before it knows it too, so that its loss would be seen. Not synced, as
 * the mark itself is not. */
static void tell_previous_locked(struct wal_stream *stream)
{
	struct wal_live *live = stream->live;
	struct wal_slot slot = stream->slot;
	struct wal_segment *seg;

	if (live->n < 2)
		return;
	seg = live->segs[live->n - 2];
	if (wal_stream_load_head_locked(stream, seg) < 0 || wal_stream_pin_locked(stream, seg) < 0)
		return;
	slot.id = seg->id;
	(void)wal_segment_write_slot(stream->store->io, seg->fd, &slot);
	wal_stream_unpin(seg);
}

static int flush_end(struct flush *flush)
{
	struct wal_stream *stream = flush->stream;
	struct wal_store *store = stream->store;

	if (flush->result == 0)
		unlink_removed(flush);
	pthread_mutex_lock(&stream->lock);
	if (flush->result == 0 && flush->n > 0 && flush->mark_first == wal_stream_last(stream)->id.first) {
		bool slot_dirty = stream->slot_dirty, dirty = wal_stream_last(stream)->dirty;
		bool first_time = stream->slot.mark_off < WAL_HEAD_BYTES;

		/* The mark itself is not synced: a lost one only means that less is known for certain. */
		stream->slot.mark_next = flush->mark_next;
		stream->slot.mark_off = flush->mark_off;
		if (wal_stream_write_slot_locked(stream) == 0) {
			stream->slot_dirty = slot_dirty;
			wal_stream_last(stream)->dirty = dirty;
			if (first_time)
				tell_previous_locked(stream);
		}
	} else if (flush->result == 0 && flush->n > 0) {
		stream->slot.mark_next = wal_max_u64(stream->slot.mark_next, flush->mark_next);
	}
	for (size_t i = 0; i < flush->n && flush->result == 0; i++)
		flush->segs[i]->unjournaled = false;
	if (flush->result < 0) {
		mark_unsynced_locked(stream);
		for (size_t i = 0; i < flush->n; i++)
			flush->segs[i]->dirty = true;
		for (size_t i = 0; i < flush->n_removed; i++)
			wal_store_put_segment(store, flush->removed[i]);
		free(flush->removed);
		wal_stream_stop_locked(stream, flush->result, "a segment could not be synced");
	}
	wal_stream_publish_locked(stream);
	stream->flushing = false;
	pthread_cond_broadcast(&stream->cond);
	pthread_mutex_unlock(&stream->lock);
	for (size_t i = 0; i < flush->n; i++) {
		wal_stream_unpin(flush->segs[i]);
		wal_store_put_segment(store, flush->segs[i]);
	}
	free(flush->segs);
	return flush->result;
}

int wal_store_sync_entries(struct wal_store *store)
{
	uint64_t since;
	int r = 0;

	pthread_mutex_lock(&store->entries_lock);
	if (atomic_load(&store->entries_failed)) {
		r = -EROFS;
	} else if (atomic_exchange(&store->entries_dirty, false)) {
		since = wal_latency_now();
		r = store->io->fsync(store->io, store->dirfd);
		wal_latency_add(&store->sync_latency, since);
		if (r < 0) {
			atomic_store(&store->entries_failed, true);
			wal_store_note(store, "", "", 0, 0, 0, r, "the store's directory could not be synced");
		}
	}
	pthread_mutex_unlock(&store->entries_lock);
	return r;
}

int wal_stream_flush(struct wal_stream *stream)
{
	struct flush flush;
	int r;

	r = wal_store_sync_entries(stream->store);
	if (r == 0)
		r = flush_begin(&flush, stream);
	if (r <= 0)
		return r;
	flush_sync(&flush);
	return flush_end(&flush);
}

/* What is above the mark may be in the page cache alone, where who wrote it was killed before he could sync it. Who reads it, or
 * appends behind it, relies on it from now on: so it is synced, with the names that lead to it. */
int wal_stream_sync_found_locked(struct wal_stream *stream)
{
	struct wal_store *store = stream->store;
	struct wal_live *live = stream->live;
	size_t i = live->n;
	int r = 0;

	if (store->rdonly || stream->stopped)
		return 0;
	if (live->next <= stream->slot.mark_next && stream->slot.mark_off >= WAL_HEAD_BYTES)
		return 0;
	while (r == 0 && i-- > 0) {
		r = wal_stream_pin_locked(stream, live->segs[i]);
		if (r < 0)
			break;
		r = store->io->fdatasync(store->io, live->segs[i]->fd);
		wal_stream_unpin(live->segs[i]);
		if (live->segs[i]->id.first <= stream->slot.mark_next)
			break;
	}
	if (r == 0)
		r = wal_io_sync_dir(store->io, store->dirfd, stream->name);
	if (r == 0)
		r = store->io->fsync(store->io, store->dirfd);
	if (r < 0 && r != -EMFILE && r != -ENFILE) /* with these, nothing was tried: the next use does */
		wal_stream_stop_locked(stream, r, "what was found could not be synced");
	return r;
}

/* Takes dirty streams off the list, up to a batch: any, or the relaxed ones. From then on they can be put on it again. */
static uint32_t take_dirty(struct wal_store *store, bool all, struct wal_stream *batch[FLUSH_BATCH])
{
	struct wal_stream **p;
	uint32_t n = 0;

	pthread_mutex_lock(&store->dirty_lock);
	for (p = &store->dirty; *p && n < FLUSH_BATCH;) {
		struct wal_stream *stream = *p;

		if (!all && !stream->relaxed_dirty) {
			p = &stream->dirty_next;
			continue;
		}
		*p = stream->dirty_next;
		stream->on_dirty = stream->relaxed_dirty = false;
		batch[n++] = stream;
	}
	store->n_dirty -= n;
	pthread_mutex_unlock(&store->dirty_lock);
	return n;
}

static int flush_batch(struct wal_store *store, struct wal_stream *const *batch, uint32_t taken, struct flush *flushes)
{
	bool together;
	uint64_t since;
	uint32_t n = 0;
	int r = 0, one;

	for (uint32_t i = 0; i < taken; i++) {
		if (flush_begin(&flushes[n], batch[i]) == 1)
			n++;
		else
			wal_stream_unref(batch[i]);
	}
	/* One syncfs for many. Where it fails, each file is asked, which tells whose error it was; from then on always, because
	 * an error is told once, and may have been that of a file of a later batch. */
	together = n >= WAL_SYNCFS_MIN && !store->ask_each;
	if (together) {
		since = wal_latency_now();
		together = store->io->syncfs(store->io, store->dirfd) == 0;
		if (!together)
			store->ask_each = true;
		wal_latency_add(&store->sync_latency, since);
	}
	for (uint32_t i = 0; i < n; i++) {
		struct wal_stream *stream = flushes[i].stream;

		if (!together)
			flush_sync(&flushes[i]);
		one = flush_end(&flushes[i]);
		r = r < 0 ? r : one;
		wal_stream_unref(stream);
	}
	return r;
}

static int collect(void *arg, const struct wal_journal_entry *entry, const uint8_t *payload)
{
	struct set_aside *set = arg;
	struct wal_aside *aside;

	HASH_FIND(hh, set->asides, &entry->stream_id, sizeof(uint64_t), aside);
	return aside ? wal_aside_add(aside, set->store, entry, payload) : 0;
}

/* Copies what the journal has of streams that could not be synced to files of their own. They are stopped, so that nothing of
 * them is added behind what is found here, but for a deletion, which removes the file. Where the tail is stuck anyway, the
 * journal stops with all that it has. */
static int set_aside(struct wal_store *store, int stuck)
{
	struct set_aside set = { .store = store };
	struct wal_stream *streams, *stream;
	int r = stuck;

	pthread_mutex_lock(&store->dirty_lock);
	streams = store->unsynced;
	store->unsynced = NULL;
	pthread_mutex_unlock(&store->dirty_lock);
	if (!streams)
		return r;
	pthread_mutex_lock(&store->aside_lock);
	for (stream = streams; stream && r == 0; stream = stream->unsynced_next)
		r = wal_aside_get(&set.asides, stream->id) ? wal_aside_hold(store, stream->id, -EIO) : -ENOMEM;
	if (r == 0)
		r = wal_journal_wait(&store->journal, wal_journal_head(&store->journal));
	if (r == 0)
		r = wal_journal_entries(&store->journal, collect, &set);
	if (r == 0)
		r = wal_asides_save(store, set.asides);
	pthread_mutex_unlock(&store->aside_lock);
	if (r < 0 && stuck == 0)
		wal_store_note(store, "", WAL_DIR_ASIDE, 0, 0, 0, r, "the journal's entries could not be set aside");
	wal_aside_free_all(&set.asides);
	while (streams) {
		stream = streams;
		streams = stream->unsynced_next;
		wal_stream_unref(stream);
	}
	return r;
}

void wal_store_name_begin(struct wal_store *store)
{
	pthread_mutex_lock(&store->dirty_lock);
	assert(!store->naming);
	store->naming = true;
	pthread_mutex_unlock(&store->dirty_lock);
}

void wal_store_name_end(struct wal_store *store)
{
	pthread_mutex_lock(&store->dirty_lock);
	store->naming = false;
	store->named++;
	pthread_cond_broadcast(&store->named_cond);
	pthread_mutex_unlock(&store->dirty_lock);
}

/* A rename or a deletion whose entry the checkpoint is about to pass: until the directory has changed its name, which the sync of
 * the entries then covers. */
static void wait_for_names(struct wal_store *store)
{
	uint64_t named;

	pthread_mutex_lock(&store->dirty_lock);
	named = store->named;
	while (store->naming && store->named == named)
		pthread_cond_wait(&store->named_cond, &store->dirty_lock);
	pthread_mutex_unlock(&store->dirty_lock);
}

static void set_checkpoint(struct wal_super *super, void *arg)
{
	super->checkpoint = *(const uint64_t *)arg;
}

int wal_store_flush(struct wal_store *store, bool all)
{
	struct flush *flushes = malloc(FLUSH_BATCH * sizeof(*flushes));
	struct wal_stream *batch[FLUSH_BATCH];
	uint64_t lsn = 0, since = wal_latency_now();
	uint32_t n;
	int r, one, stuck; /* stuck: why the tail must stay */

	if (!flushes)
		return -ENOMEM;
	pthread_mutex_lock(&store->flush_lock);
	if (all) {
		lsn = wal_journal_begin_checkpoint(&store->journal);
		wait_for_names(store);
	}
	r = stuck = wal_store_sync_entries(store);
	while ((n = take_dirty(store, all, batch)) > 0) {
		one = flush_batch(store, batch, n, flushes);
		r = r < 0 ? r : one;
	}
	if (all)
		stuck = set_aside(store, stuck);
	if (all && stuck == 0 && !wal_journal_failed(&store->journal)) {
		stuck = wal_store_write_state(store, set_checkpoint, &lsn);
		if (stuck == 0) {
			wal_journal_advance(&store->journal, lsn);
			wal_latency_add(&store->checkpoint_latency, since);
		}
	}
	if (all && stuck < 0)
		wal_journal_stop(&store->journal, stuck);
	pthread_mutex_unlock(&store->flush_lock);
	free(flushes);
	return r < 0 ? r : stuck;
}

static void deadline_in(struct timespec *ts, uint64_t ns)
{
	clock_gettime(CLOCK_MONOTONIC, ts);
	ns += (uint64_t)ts->tv_nsec;
	ts->tv_sec += (time_t)(ns / 1000000000);
	ts->tv_nsec = (long)(ns % 1000000000);
}

static uint64_t retention_period(struct wal_store *store)
{
	uint64_t ns;

	pthread_mutex_lock(&store->state_lock);
	ns = store->super.retention_ns;
	pthread_mutex_unlock(&store->state_lock);
	if (ns == 0 || store->opts.flags & WAL_OPEN_NO_TRIM)
		return 0;
	return wal_max_u64(ns / WAL_RETENTION_SHARE, WAL_RETENTION_PERIOD_MIN_NS);
}

/* Waits for a deadline or until *flag. The dirty lock is held. */
static void keeper_wait(struct wal_store *store, const struct timespec *deadline)
{
	while (!store->keeper_stop && !store->checkpoint_wanted && !store->retain_wanted)
		if (pthread_cond_timedwait(&store->keeper_cond, &store->dirty_lock, deadline) == ETIMEDOUT)
			return;
}

static void *keeper_main(void *arg)
{
	struct wal_store *store = arg;
	struct timespec deadline, retain;

	deadline_in(&retain, retention_period(store));
	pthread_mutex_lock(&store->dirty_lock);
	while (!store->keeper_stop) {
		bool all, due = false, retains;
		uint64_t period;

		if (store->relaxed_waits) {
			deadline_in(&deadline, store->opts.interval_ns);
			keeper_wait(store, &deadline);
		} else if (!store->checkpoint_wanted && !store->retain_wanted) {
			deadline_in(&deadline, (uint64_t)WAL_RETENTION_PERIOD_MIN_NS);
			(void)pthread_cond_timedwait(&store->keeper_cond, &store->dirty_lock, &deadline);
			if (store->relaxed_waits && !store->checkpoint_wanted)
				continue; /* woken by the first of them: now the interval begins */
		}
		all = store->checkpoint_wanted;
		retains = store->retain_wanted;
		due = all || store->relaxed_waits;
		store->checkpoint_wanted = store->relaxed_waits = store->retain_wanted = false;
		if (store->keeper_stop)
			break;
		pthread_mutex_unlock(&store->dirty_lock);
		if (due)
			(void)wal_store_flush(store, all); /* a failure stops the stream and is noted there */
		period = retention_period(store);
		clock_gettime(CLOCK_MONOTONIC, &deadline);
		if (retains || (period && deadline.tv_sec >= retain.tv_sec)) {
			wal_store_retain_all(store);
			deadline_in(&retain, period);
		}
		pthread_mutex_lock(&store->dirty_lock);
	}
	pthread_mutex_unlock(&store->dirty_lock);
	return NULL;
}

int wal_store_start_keeper(struct wal_store *store)
{
	int r = -pthread_create(&store->keeper, NULL, keeper_main, store);

	store->keeper_runs = r == 0;
	return r;
}

void wal_store_stop_keeper(struct wal_store *store)
{
	if (!store->keeper_runs)
		return;
	pthread_mutex_lock(&store->dirty_lock);
	store->keeper_stop = true;
	pthread_cond_signal(&store->keeper_cond);
	pthread_mutex_unlock(&store->dirty_lock);
	pthread_join(store->keeper, NULL);
	store->keeper_runs = false;
}

void wal_store_want_checkpoint(void *arg)
{
	struct wal_store *store = arg;

	pthread_mutex_lock(&store->dirty_lock);
	store->checkpoint_wanted = true;
	pthread_cond_signal(&store->keeper_cond);
	pthread_mutex_unlock(&store->dirty_lock);
}

void wal_store_want_retention(struct wal_store *store)
{
	pthread_mutex_lock(&store->dirty_lock);
	store->retain_wanted = true;
	pthread_cond_signal(&store->keeper_cond);
	pthread_mutex_unlock(&store->dirty_lock);
}

int wal_stream_sync(struct wal_stream *stream)
{
	struct wal_store *store = stream->store;
	bool dirty, durable;
	int r;

	if (store->rdonly)
		return 0;
	pthread_mutex_lock(&stream->lock);
	r = stream->deleted ? -EIDRM : stream->stopped ? -EROFS : 0;
	dirty = stream->live && (stream->marked_relaxed || stream->flushing);
	durable = stream->durable;
	pthread_mutex_unlock(&stream->lock);
	if (r < 0)
		return r;
	/* What is committed in a durable stream is durable. What is relaxed is in the segments alone; a flush that has been
	 * there need not have seen the stream's own name. */
	return dirty ? wal_stream_flush(stream) : durable ? 0 : wal_store_sync_entries(store);
}

int wal_store_sync(struct wal_store *store)
{
	int r;

	if (store->rdonly)
		return 0;
	r = wal_journal_wait(&store->journal, wal_journal_head(&store->journal));
	return r < 0 ? r : wal_store_flush(store, false);
}
