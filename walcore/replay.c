/* SPDX-License-Identifier: MIT
 *
 * Two passes. The first learns which streams the journal speaks of: their names (a rename may or may not have
 * reached the disk), whether they were made or deleted. Then each is found by its id under any of its names, or made, or moved
 * to the trash, and gets its last name. The second pass writes segments, slots and records where they belong. One syncfs
 * makes it all durable; then the marks say so.
 */
#include "replay.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>

#include "banned.h"
#include "err.h"
#include "stream.h"

struct name {
	struct name *next;
	char name[WAL_NAME_MAX + 1];
};

struct target {
	UT_hash_handle hh;
	uint64_t id;
	struct name *names; /* newest first */
	bool created, deleted, found;
	struct wal_slot slot;       /* of the creation */
	char dir[WAL_NAME_MAX + 1]; /* where it is */
	uint64_t segment;           /* of the last record written here; 0: none */
	struct wal_point end;
};

struct replay {
	struct wal_store *store;
	struct target *targets;
	int fd; /* the segment written to last, or -1 */
	uint64_t fd_id, fd_segment;
	uint64_t entries;
};

static int add_name(struct target *target, const uint8_t *name, size_t len)
{
	struct name *n;
	char key[WAL_KEY_MAX + 1];

	if (len == 0 || len > WAL_NAME_MAX || memchr(name, 0, len))
		return -EBADMSG;
	n = calloc(1, sizeof(*n));
	if (!n)
		return -ENOMEM;
	memcpy(n->name, name, len);
	if (wal_key_from_name(n->name, key) < 0) { /* a valid sum and no valid name: never a path */
		free(n);
		return -EBADMSG;
	}
	n->next = target->names;
	target->names = n;
	return 0;
}

static int learn(void *arg, const struct wal_journal_entry *entry, const uint8_t *payload)
{
	struct replay *replay = arg;
	struct target *target;

	replay->entries++;
	HASH_FIND(hh, replay->targets, &entry->stream_id, sizeof(uint64_t), target);
	if (!target) {
		target = calloc(1, sizeof(*target));
		if (!target)
			return -ENOMEM;
		target->id = entry->stream_id;
		HASH_ADD(hh, replay->targets, id, sizeof(uint64_t), target);
	}
	switch (entry->type) {
	case WAL_ENTRY_BIND:
	case WAL_ENTRY_RENAME:
		return add_name(target, payload, entry->payload_len);
	case WAL_ENTRY_CREATE:
		target->created = true;
		if (entry->payload_len <= WAL_SECTOR || wal_slot_decode(payload, &target->slot) < 0)
			return -EBADMSG;
		return add_name(target, payload + WAL_SECTOR, entry->payload_len - WAL_SECTOR);
	case WAL_ENTRY_DELETE:
		target->deleted = true;
		return 0;
	default:
		return 0;
	}
}

static struct wal_stream *look_at(struct replay *replay, const char *dir, int *ret_r)
{
	struct wal_stream *stream = calloc(1, sizeof(*stream));

	if (!stream) {
		*ret_r = -ENOMEM;
		return NULL;
	}
	stream->store = replay->store;
	(void)snprintf(stream->name, sizeof(stream->name), "%s", dir);
	*ret_r = wal_stream_load_state(stream);
	return stream;
}

static int try_dir(struct replay *replay, struct target *target, const char *dir)
{
	struct wal_stream *stream;
	int r;

	stream = look_at(replay, dir, &r);
	if (r >= 0 && stream->id == target->id) {
		target->found = true;
		(void)snprintf(target->dir, sizeof(target->dir), "%s", dir);
	}
	free(stream);
	return r == -ENOMEM ? r : 0;
}

static void park_path(const struct target *target, const char *parent, char path[64])
{
	(void)snprintf(path, 64, "%s/%llu", parent, (unsigned long long)target->id);
}

static int find_dirs(struct replay *replay)
{
	struct target *target, *tmp;
	char park[64];
	int r;

	HASH_ITER(hh, replay->targets, target, tmp) {
		park_path(target, WAL_DIR_REPLAY, park);
		r = try_dir(replay, target, park);
		for (struct name *n = target->names; n && !target->found && r == 0; n = n->next)
			r = try_dir(replay, target, n->name);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Deleted ones to the trash, misnamed ones aside, so that no last name is in the way of another. */
static int park_dirs(struct replay *replay)
{
	struct wal_store *store = replay->store;
	struct target *target, *tmp;
	char park[64];
	int r;

	HASH_ITER(hh, replay->targets, target, tmp) {
		bool misnamed = target->names && strcmp(target->dir, target->names->name) != 0;

		if (!target->found || (!target->deleted && !misnamed))
			continue;
		park_path(target, target->deleted ? WAL_DIR_TRASH : WAL_DIR_REPLAY, park);
		if (strcmp(park, target->dir) == 0)
			continue;
		r = store->io->renameat(store->io, store->dirfd, target->dir, park, false);
		if (r < 0)
			return r;
		(void)snprintf(target->dir, sizeof(target->dir), "%s", park);
	}
	return 0;
}

static int make_dir(struct replay *replay, struct target *target)
{
	struct wal_store *store = replay->store;
	char path[WAL_PATH_MAX], name[WAL_SEGMENT_NAME_LEN];
	struct wal_stream *stream;
	int fd, r;

	r = store->io->mkdirat(store->io, store->dirfd, target->names->name, 0700);
	if (r == -EEXIST) { /* an unfinished creation is filled; a stream is not touched */
		stream = look_at(replay, target->names->name, &r);
		free(stream);
		/* -EBADMSG: no file there has a valid head, so that none can be another stream's; the journal has them. */
		r = r == -ENODATA || r == -EBADMSG ? 0 : r < 0 ? r : -EEXIST;
	}
	if (r < 0)
		return r;
	(void)snprintf(target->dir, sizeof(target->dir), "%s", target->names->name);
	wal_segment_name(target->slot.id.first, WAL_SUFFIX_SEGMENT, name);
	(void)snprintf(path, sizeof(path), "%s/%s", target->dir, name);
	fd = wal_io_open(store->io, store->dirfd, path, O_RDWR | O_CREAT, 0600);
	if (fd < 0)
		return fd;
	r = wal_segment_write_head(store->io, fd, &target->slot);
	(void)store->io->close(store->io, fd); /* syncfs follows */
	target->found = r == 0;
	return r;
}

static int name_dirs(struct replay *replay)
{
	struct wal_store *store = replay->store;
	struct target *target, *tmp;
	int r = 0;

	HASH_ITER(hh, replay->targets, target, tmp) {
		if (target->deleted)
			continue;
		if (!target->names) {
			wal_store_note(store, "", WAL_FILE_JOURNAL, 0, 0, 0, -EBADMSG,
				       "the journal has records of a stream without a name");
			continue;
		}
		if (!target->found && target->created) {
			r = make_dir(replay, target);
		} else if (!target->found) {
			wal_store_note(store, target->names->name, WAL_FILE_JOURNAL, 0, 0, 0, -ENOENT,
				       "the journal has records of a stream whose directory is gone");
		} else if (strcmp(target->dir, target->names->name) != 0) {
			r = store->io->renameat(store->io, store->dirfd, target->dir, target->names->name, false);
			(void)snprintf(target->dir, sizeof(target->dir), "%s", target->names->name);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static void drop_fd(struct replay *replay)
{
	if (replay->fd >= 0)
		(void)replay->store->io->close(replay->store->io, replay->fd); /* syncfs follows */
	replay->fd = -1;
}

/* Opens a segment of a stream; the one opened last stays open. */
static int open_segment(struct replay *replay, const struct target *target, uint64_t first, int flags)
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

/* A segment was begun: its file is there with that head, or becomes so, from its draft where it was one. */
static int apply_segment(struct replay *replay, struct target *target, const struct wal_journal_entry *entry,
			 const uint8_t *payload)
{
	struct wal_store *store = replay->store;
	char from[64], to[WAL_PATH_MAX], name[WAL_SEGMENT_NAME_LEN];
	struct wal_slot slot, there;
	struct stat st;
	int fd, r;

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
	fd = open_segment(replay, target, slot.id.first, O_CREAT);
	if (fd < 0)
		return fd;
	r = wal_segment_read_head(store->io, fd, &there);
	if (r >= 0 && there.id.salt == slot.id.salt)
		return 0;
	if (r < 0 && r != -EBADMSG && r != -ENODATA)
		return r;
	return wal_segment_write_head(store->io, fd, &slot);
}

static int apply_slot(struct replay *replay, struct target *target, const struct wal_journal_entry *entry,
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
	if (r < 0 || there.gen >= slot.gen)
		return r < 0 ? r : 0;
	slot.mark_next = there.mark_next;
	slot.mark_off = there.mark_off;
	return wal_segment_write_slot(store->io, fd, &slot);
}

/* A segment that is not there was trimmed, or is lost. */
static int check_trimmed(struct replay *replay, struct target *target, const struct wal_journal_entry *entry)
{
	struct wal_stream *stream;
	char file[WAL_SEGMENT_NAME_LEN];
	int r;

	stream = look_at(replay, target->dir, &r);
	if (!stream)
		return r;
	wal_segment_name(entry->segment, WAL_SUFFIX_SEGMENT, file);
	if (r < 0 || stream->slot.first_seq <= entry->seq)
		wal_store_note(replay->store, target->dir, file, 0, entry->seq, entry->n, -EBADMSG,
			       "the journal has records for a segment file that is gone");
	free(stream);
	return 0;
}

static int apply_records(struct replay *replay, struct target *target, const struct wal_journal_entry *entry,
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
	struct target *target;

	HASH_FIND(hh, replay->targets, &entry->stream_id, sizeof(uint64_t), target);
	if (!target || !target->found || target->deleted)
		return 0;
	switch (entry->type) {
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

/* All is on disk: the streams' newest segments say so. */
static int write_marks(struct replay *replay)
{
	struct wal_store *store = replay->store;
	struct target *target, *tmp;
	struct wal_slot slot;
	int fd, r;

	HASH_ITER(hh, replay->targets, target, tmp) {
		if (!target->segment)
			continue;
		fd = open_segment(replay, target, target->segment, 0);
		r = fd < 0 ? fd : wal_segment_read_head(store->io, fd, &slot);
		if (r == -EBADMSG)
			continue; /* the use of the stream will say so */
		if (r < 0)
			return r;
		if (slot.mark_next >= target->end.seq)
			continue;
		slot.mark_next = target->end.seq;
		slot.mark_off = target->end.off;
		slot.gen++;
		r = wal_segment_write_slot(store->io, fd, &slot);
		if (r < 0)
			return r;
	}
	return 0;
}

static void replay_fini(struct replay *replay)
{
	struct target *target, *tmp;

	drop_fd(replay);
	HASH_ITER(hh, replay->targets, target, tmp) {
		HASH_DEL(replay->targets, target);
		while (target->names) {
			struct name *next = target->names->next;

			free(target->names);
			target->names = next;
		}
		free(target);
	}
}

int wal_store_replay(struct wal_store *store, int journal_fd, uint64_t seed, uint64_t *ret_end, struct wal_err *err)
{
	struct replay replay = { .store = store, .fd = -1 };
	uint64_t size = store->marker.journal_bytes, from = store->super.checkpoint, end = from;
	const char *what = "read the journal";
	int r;

	r = wal_journal_scan(store->io, journal_fd, size, seed, from, learn, &replay, &end);
	if (r < 0 || replay.entries == 0)
		goto out;
	what = "find the journal's streams";
	r = find_dirs(&replay);
	if (r == 0)
		r = park_dirs(&replay);
	if (r == 0)
		r = name_dirs(&replay);
	if (r < 0)
		goto out;
	what = "replay the journal";
	r = wal_journal_scan(store->io, journal_fd, size, seed, from, apply, &replay, &end);
	if (r < 0)
		goto out;
	drop_fd(&replay);
	what = "sync what was replayed";
	r = store->io->syncfs(store->io, store->dirfd);
	if (r == 0)
		r = write_marks(&replay);
	if (r == 0)
		wal_store_trace(store, "replayed %llu journal entries of %u streams",
				(unsigned long long)replay.entries, HASH_COUNT(replay.targets));
out:
	replay_fini(&replay);
	if (r < 0)
		return wal_err_sys(err, r, "%s", what);
	*ret_end = end;
	return 0;
}
