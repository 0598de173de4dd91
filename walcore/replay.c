/* SPDX-License-Identifier: MIT
 *
 * Two passes. The first learns which streams the journal speaks of: their names (a rename may or may not have
 * reached the disk), whether they were made or deleted. Then each is found by its id under any of its names, or made, or moved
 * to the trash, and gets its last name. The second pass writes segments, slots and records where they belong. One syncfs
 * makes it all durable; then the marks say so.
 *
 * Failure: what goes wrong with one stream is noted, and does not hold up the others. Its entries are set aside (aside.h), to be
 * replayed by the next opening, and the stream is stopped until then. What earlier openings or checkpoints set aside
 * is replayed before the journal.
 */
#include "replay.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>

#include "aside.h"
#include "banned.h"
#include "err.h"
#include "stream.h"
#include "target.h"

struct replay {
	struct wal_store *store;
	int journal_fd;
	uint64_t seed, end;
	struct wal_targets targets;
	struct wal_aside *asides; /* by id; of failed targets too, in the end */
	wal_journal_fn *step;     /* what is being done with each entry */
	int fd;                   /* the segment written to last, or -1 */
	uint64_t fd_id, fd_segment;
	uint64_t entries;
};

/* One step, for a target that has not failed. */
static int guarded(void *arg, const struct wal_journal_entry *entry, const uint8_t *payload)
{
	struct replay *replay = arg;
	struct wal_target *target = wal_target_find(&replay->targets, entry->stream_id);
	int r;

	replay->entries++;
	if (target && target->failed)
		return 0;
	r = replay->step(replay, entry, payload);
	if (r == 0 || r == -ENOMEM)
		return r;
	wal_target_give_up(&replay->targets, wal_target_find(&replay->targets, entry->stream_id), r,
			   "what the journal has of it could not be replayed");
	return 0;
}

/* Does the step with what was set aside, and then with the journal. */
static int each_entry(struct replay *replay, wal_journal_fn *step)
{
	struct wal_store *store = replay->store;
	struct wal_aside *aside, *tmp;
	int r = 0;

	replay->step = step;
	HASH_ITER(hh, replay->asides, aside, tmp) {
		r = wal_aside_each(aside, guarded, replay);
		if (r < 0)
			return r;
	}
	return wal_journal_scan(store->io, replay->journal_fd, store->marker.journal_bytes, replay->seed,
				store->super.checkpoint, guarded, replay, &replay->end);
}

static int learn(void *arg, const struct wal_journal_entry *entry, const uint8_t *payload)
{
	struct replay *replay = arg;
	struct wal_target *target = wal_target_get(&replay->targets, entry->stream_id);

	if (!target)
		return -ENOMEM;
	target->meant |= entry->type != WAL_ENTRY_BIND;
	switch (entry->type) {
	case WAL_ENTRY_BIND:
	case WAL_ENTRY_RENAME:
		return wal_target_add_name(target, payload, entry->payload_len);
	case WAL_ENTRY_CREATE:
		target->created = true;
		if (entry->payload_len <= WAL_SECTOR || wal_slot_decode(payload, &target->slot) < 0)
			return -EBADMSG;
		return wal_target_add_name(target, payload + WAL_SECTOR, entry->payload_len - WAL_SECTOR);
	case WAL_ENTRY_DELETE:
		target->deleted = true;
		return 0;
	default:
		return 0;
	}
}

static void drop_fd(struct replay *replay)
{
	if (replay->fd >= 0)
		(void)replay->store->io->close(replay->store->io, replay->fd); /* syncfs follows */
	replay->fd = -1;
}

/* Opens a segment of a stream; the one opened last stays open. */
static int open_segment(struct replay *replay, const struct wal_target *target, uint64_t first, int flags)
{
	struct wal_store *store = replay->store;
	char path[WAL_PATH_MAX], name[WAL_SEGMENT_NAME_LEN];

	if (replay->fd >= 0 && replay->fd_id == target->id && replay->fd_segment == first)
		return replay->fd;
	drop_fd(replay);
	wal_segment_name(first, WAL_SUFFIX_SEGMENT, name);
	(void)snprintf(path, sizeof(path), "%s/%s", target->dir, name);
	replay->fd = wal_io_open(store->io, store->dirfd, path, O_RDWR | flags, 0600);
	replay->fd_id = target->id;
	replay->fd_segment = first;
	return replay->fd;
}

/* The segment's file is there with that head, or becomes so. A newer one stays: of a draft that took the place of an empty segment. */
static int put_head(struct replay *replay, const struct wal_target *target, const struct wal_slot *slot)
{
	struct wal_store *store = replay->store;
	int fd = open_segment(replay, target, slot->id.first, O_CREAT);
	struct wal_slot there;
	int r;

	if (fd < 0)
		return fd;
	r = wal_segment_read_head(store->io, fd, &there);
	if (r >= 0 && (there.id.salt == slot->id.salt || there.gen >= slot->gen))
		return 0;
	if (r < 0 && r != -EBADMSG && r != -ENODATA)
		return r;
	return wal_segment_write_head(store->io, fd, slot);
}

/* A segment was begun, from its draft where it was one. */
static int apply_segment(struct replay *replay, struct wal_target *target, const struct wal_journal_entry *entry,
			 const uint8_t *payload)
{
	struct wal_store *store = replay->store;
	char from[64], to[WAL_PATH_MAX], name[WAL_SEGMENT_NAME_LEN];
	struct wal_slot slot;
	struct stat st;
	int r;

	if (entry->payload_len != WAL_SECTOR || wal_slot_decode(payload, &slot) < 0 ||
	    slot.id.first != entry->segment || slot.id.stream_id != target->id)
		return -EBADMSG;
	wal_segment_name(slot.id.first, WAL_SUFFIX_SEGMENT, name);
	(void)snprintf(to, sizeof(to), "%s/%s", target->dir, name);
	(void)snprintf(from, sizeof(from), "%s/%020llu", WAL_DIR_DRAFTS, (unsigned long long)entry->off);
	if (entry->off && store->io->fstatat(store->io, store->dirfd, from, &st) == 0) {
		drop_fd(replay);
		r = store->io->renameat(store->io, store->dirfd, from, to, true);
		if (r < 0)
			return r;
	}
	return put_head(replay, target, &slot);
}

static int apply_slot(struct replay *replay, struct wal_target *target, const struct wal_journal_entry *entry,
		      const uint8_t *payload)
{
	struct wal_store *store = replay->store;
	struct wal_slot slot, there;
	int fd, r;

	if (entry->payload_len != WAL_SECTOR || wal_slot_decode(payload, &slot) < 0)
		return -EBADMSG;
	fd = open_segment(replay, target, slot.id.first, 0);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd; /* trimmed since */
	r = wal_segment_read_head(store->io, fd, &there);
	if (r == -ENODATA)
		return 0; /* a segment of a relaxed stream, lost with the change */
	if (r < 0 || there.gen >= slot.gen)
		return r < 0 ? r : 0;
	slot.mark_next = there.mark_next;
	slot.mark_off = there.mark_off;
	return wal_segment_write_slot(store->io, fd, &slot);
}

/* A segment that is not there was trimmed, or is lost. */
static int check_trimmed(struct replay *replay, struct wal_target *target, const struct wal_journal_entry *entry)
{
	struct wal_stream *stream;
	char file[WAL_SEGMENT_NAME_LEN];
	int r;

	stream = wal_target_look_at(&replay->targets, target->dir, &r);
	if (!stream)
		return r;
	wal_segment_name(entry->segment, WAL_SUFFIX_SEGMENT, file);
	if (r < 0 || stream->slot.first_seq <= entry->seq)
		wal_store_note(replay->store, target->dir, file, 0, entry->seq, entry->n, -EBADMSG,
			       "the journal has records for a segment file that is gone");
	free(stream);
	return 0;
}

static int apply_records(struct replay *replay, struct wal_target *target, const struct wal_journal_entry *entry,
			 const uint8_t *payload)
{
	int fd = open_segment(replay, target, entry->segment, 0);
	uint64_t len = entry->payload_len;
	struct wal_frame frame;
	int r;

	if (fd < 0)
		return fd == -ENOENT ? check_trimmed(replay, target, entry) : fd;
	if (entry->off < WAL_HEAD_BYTES || entry->off > INT64_MAX - len)
		return -EBADMSG;
	r = wal_io_write(replay->store->io, fd, payload, len, entry->off);
	if (r < 0)
		return r;
	if (entry->type == WAL_ENTRY_LARGE) {
		if (len != WAL_FRAME_BYTES || wal_frame_peek(payload, entry->seq, &frame) < 0)
			return -EBADMSG;
		len = wal_record_len(frame.header_len, frame.content_len);
	}
	target->segment = entry->segment;
	target->end = (struct wal_point){ entry->seq + entry->n, entry->off + len, 0 };
	return 0;
}

static int apply(void *arg, const struct wal_journal_entry *entry, const uint8_t *payload)
{
	struct replay *replay = arg;
	struct wal_target *target = wal_target_find(&replay->targets, entry->stream_id);

	if (!target || !target->found || target->deleted)
		return 0;
	switch (entry->type) {
	case WAL_ENTRY_CREATE: /* it may have been found by a later segment, with the first one lost or torn */
		return put_head(replay, target, &target->slot);
	case WAL_ENTRY_SEGMENT:
		return apply_segment(replay, target, entry, payload);
	case WAL_ENTRY_SLOT:
		return apply_slot(replay, target, entry, payload);
	case WAL_ENTRY_APPEND:
	case WAL_ENTRY_LARGE:
		return apply_records(replay, target, entry, payload);
	default:
		return 0;
	}
}

/* Syncs the file that an entry is about, and once for each of a run of entries. */
static int sync_entry(void *arg, const struct wal_journal_entry *entry, const uint8_t *payload)
{
	struct replay *replay = arg;
	struct wal_target *target = wal_target_find(&replay->targets, entry->stream_id);
	bool same = replay->fd >= 0 && replay->fd_id == entry->stream_id && replay->fd_segment == entry->segment;
	int fd;

	(void)payload;
	if (same || !target || !target->found || target->deleted || entry->segment == 0)
		return 0;
	fd = open_segment(replay, target, entry->segment, 0);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd; /* trimmed since, or reported */
	return replay->store->io->fdatasync(replay->store->io, fd);
}

/* syncfs failed, and does not tell whose error it was. */
static int sync_each(struct replay *replay)
{
	struct wal_store *store = replay->store;
	struct wal_target *target, *tmp;
	int r;

	drop_fd(replay);
	r = each_entry(replay, sync_entry);
	HASH_ITER(hh, replay->targets.table, target, tmp) {
		int one = target->failed || !target->found ? 0 : wal_io_sync_dir(store->io, store->dirfd, target->dir);

		if (one < 0)
			wal_target_give_up(&replay->targets, target, one, "its directory could not be synced");
	}
	for (int i = 0; i < 3 && r == 0; i++) {
		static const char *const dirs[] = { ".", WAL_DIR_TRASH, WAL_DIR_REPLAY };

		r = wal_io_sync_dir(store->io, store->dirfd, dirs[i]);
	}
	return r;
}

static int write_mark(struct replay *replay, struct wal_target *target)
{
	struct wal_store *store = replay->store;
	struct wal_slot slot;
	int fd, r;

	fd = open_segment(replay, target, target->segment, 0);
	r = fd < 0 ? fd : wal_segment_read_head(store->io, fd, &slot);
	if (r < 0 || slot.mark_next >= target->end.seq)
		return r < 0 ? r : 0;
	slot.mark_next = target->end.seq;
	slot.mark_off = target->end.off;
	slot.gen++;
	return wal_segment_write_slot(store->io, fd, &slot);
}

/* All is on disk: the streams' newest segments say so. */
static void write_marks(struct replay *replay)
{
	struct wal_target *target, *tmp;

	HASH_ITER(hh, replay->targets.table, target, tmp) {
		int r = target->segment && !target->failed ? write_mark(replay, target) : 0;

		if (r < 0)
			wal_target_give_up(&replay->targets, target, r,
					   "the head of its newest segment could not be read, or not written");
	}
}

/* ---- aside ------------------------------------------------------------------------------------------- */

static int load_asides(struct replay *replay)
{
	struct wal_aside *aside, *tmp;
	struct wal_target *target;
	int r = wal_asides_load(replay->store, &replay->asides);

	if (r < 0)
		return r;
	HASH_ITER(hh, replay->asides, aside, tmp) {
		target = wal_target_get(&replay->targets, aside->id);
		if (!target)
			return -ENOMEM;
		target->failed = aside->damaged ? -EBADMSG : 0; /* noted already */
		replay->entries++;
	}
	return 0;
}

static int keep(void *arg, const struct wal_journal_entry *entry, const uint8_t *payload)
{
	struct replay *replay = arg;
	struct wal_target *target = wal_target_find(&replay->targets, entry->stream_id);
	struct wal_aside *aside;

	if (!target || !target->failed)
		return 0;
	aside = wal_aside_get(&replay->asides, entry->stream_id);
	return aside ? wal_aside_add(aside, replay->store, entry, payload) : -ENOMEM;
}

/* Keeps what the journal has of those that failed. */
static int keep_failed(struct replay *replay)
{
	struct wal_store *store = replay->store;
	struct wal_target *target, *tmp;
	bool any = false;
	int r = 0;

	HASH_ITER(hh, replay->targets.table, target, tmp) {
		if (!target->failed || r < 0)
			continue;
		any = true;
		r = wal_aside_hold(store, target->id, target->failed);
	}
	if (r == 0 && any)
		r = wal_journal_scan(store->io, replay->journal_fd, store->marker.journal_bytes, replay->seed,
				     store->super.checkpoint, keep, replay, &replay->end);
	return r == 0 && any ? wal_asides_save(store, replay->asides) : r;
}

/* Those that were replayed go, once the marks too are on disk. */
static int drop_replayed(struct replay *replay)
{
	struct wal_store *store = replay->store;
	struct wal_aside *aside, *tmp;
	bool synced = false;
	int r = 0;

	HASH_ITER(hh, replay->asides, aside, tmp) {
		struct wal_target *target = wal_target_find(&replay->targets, aside->id);

		if (target->failed || r < 0)
			continue;
		if (!synced)
			r = store->io->syncfs(store->io, store->dirfd);
		synced = true;
		if (r == 0)
			r = wal_aside_remove(store, aside->id);
	}
	return r;
}

static int put_in_place(struct replay *replay, const char **ret_what)
{
	struct wal_store *store = replay->store;
	int r;

	*ret_what = "find the journal's streams";
	r = wal_targets_find_dirs(&replay->targets);
	if (r < 0)
		return r;
	wal_targets_park_dirs(&replay->targets);
	wal_targets_name_dirs(&replay->targets);
	*ret_what = "replay the journal";
	r = each_entry(replay, apply);
	drop_fd(replay);
	if (r < 0)
		return r;
	*ret_what = "sync what was replayed";
	if (store->io->syncfs(store->io, store->dirfd) < 0)
		r = sync_each(replay);
	if (r < 0)
		return r;
	write_marks(replay);
	*ret_what = "set aside what could not be replayed";
	r = keep_failed(replay);
	return r < 0 ? r : drop_replayed(replay);
}

int wal_store_replay(struct wal_store *store, int journal_fd, uint64_t seed, uint64_t *ret_end, struct wal_err *err)
{
	struct replay replay = {
		.store = store, .targets = { store, NULL }, .fd = -1, .journal_fd = journal_fd, .seed = seed
	};
	const char *what = "read what was set aside";
	int r;

	r = load_asides(&replay);
	if (r == 0) {
		what = "read the journal";
		r = each_entry(&replay, learn);
	}
	if (r == 0 && replay.entries > 0)
		r = put_in_place(&replay, &what);
	if (r == 0 && replay.entries > 0)
		wal_store_trace(store, "replayed the journal: %u streams", HASH_COUNT(replay.targets.table));
	if (r == 0)
		*ret_end = replay.end;
	drop_fd(&replay);
	wal_aside_free_all(&replay.asides);
	wal_targets_fini(&replay.targets);
	return r < 0 ? wal_err_sys(err, r, "%s", what) : 0;
}
