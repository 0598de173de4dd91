/* SPDX-License-Identifier: MIT
 *
 * Directories are moved in three steps, so that no last name is in the way of another: found under any name, moved to the trash
 * or to a place of their own, and then to their last name.
 */
#include "target.h"

#include <errno.h>
#include <fcntl.h>

#include "banned.h"

struct wal_target_name {
	struct wal_target_name *next;
	char name[WAL_NAME_MAX + 1];
};

int wal_target_add_name(struct wal_target *target, const uint8_t *name, size_t len)
{
	struct wal_target_name *n;
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

struct wal_target *wal_target_find(struct wal_targets *targets, uint64_t id)
{
	struct wal_target *target;

	HASH_FIND(hh, targets->table, &id, sizeof(id), target);
	return target;
}

struct wal_target *wal_target_get(struct wal_targets *targets, uint64_t id)
{
	struct wal_target *target = wal_target_find(targets, id);

	if (target)
		return target;
	target = calloc(1, sizeof(*target));
	if (!target)
		return NULL;
	target->id = id;
	HASH_ADD(hh, targets->table, id, sizeof(id), target);
	return target;
}

void wal_target_give_up(struct wal_targets *targets, struct wal_target *target, int code, const char *reason)
{
	if (!target->failed)
		wal_store_note(targets->store, target->names ? target->names->name : "", WAL_FILE_JOURNAL, 0, 0, 0,
			       code, reason);
	target->failed = code;
}

struct wal_stream *wal_target_look_at(struct wal_targets *targets, const char *dir, int *ret_r)
{
	struct wal_stream *stream = calloc(1, sizeof(*stream));

	if (!stream) {
		*ret_r = -ENOMEM;
		return NULL;
	}
	stream->store = targets->store;
	(void)snprintf(stream->name, sizeof(stream->name), "%s", dir);
	*ret_r = wal_stream_load_state(stream);
	return stream;
}

static int try_dir(struct wal_targets *targets, struct wal_target *target, const char *dir)
{
	struct wal_stream *stream;
	int r;

	stream = wal_target_look_at(targets, dir, &r);
	if (r >= 0 && stream->id == target->id) {
		target->found = true;
		(void)snprintf(target->dir, sizeof(target->dir), "%s", dir);
	}
	free(stream);
	return r == -ENOMEM ? r : 0;
}

static void park_path(const struct wal_target *target, const char *parent, char path[64])
{
	(void)snprintf(path, 64, "%s/%llu", parent, (unsigned long long)target->id);
}

int wal_targets_find_dirs(struct wal_targets *targets)
{
	struct wal_target *target, *tmp;
	char park[64];
	int r;

	HASH_ITER(hh, targets->table, target, tmp) {
		if (target->failed)
			continue;
		park_path(target, WAL_DIR_REPLAY, park);
		r = try_dir(targets, target, park);
		for (struct wal_target_name *n = target->names; n && !target->found && r == 0; n = n->next)
			r = try_dir(targets, target, n->name);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Deleted ones to the trash, misnamed ones aside, so that no last name is in the way of another. */
void wal_targets_park_dirs(struct wal_targets *targets)
{
	struct wal_store *store = targets->store;
	struct wal_target *target, *tmp;
	char park[64];
	int r;

	HASH_ITER(hh, targets->table, target, tmp) {
		bool misnamed = target->names && strcmp(target->dir, target->names->name) != 0;

		if (target->failed || !target->found || (!target->deleted && !misnamed))
			continue;
		park_path(target, target->deleted ? WAL_DIR_TRASH : WAL_DIR_REPLAY, park);
		if (strcmp(park, target->dir) == 0)
			continue;
		r = store->io->renameat(store->io, store->dirfd, target->dir, park, false);
		if (r < 0)
			wal_target_give_up(targets, target, r, "its directory could not be moved");
		else
			(void)snprintf(target->dir, sizeof(target->dir), "%s", park);
	}
}

static int make_dir(struct wal_targets *targets, struct wal_target *target)
{
	struct wal_store *store = targets->store;
	char path[WAL_PATH_MAX], name[WAL_SEGMENT_NAME_LEN];
	struct wal_stream *stream;
	int fd, r;

	r = store->io->mkdirat(store->io, store->dirfd, target->names->name, 0700);
	if (r == -EEXIST) { /* an unfinished creation is filled; a stream is not touched */
		stream = wal_target_look_at(targets, target->names->name, &r);
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

static bool has_name(const struct wal_target *target, const char *name)
{
	for (const struct wal_target_name *n = target->names; n; n = n->next)
		if (strcmp(n->name, name) == 0)
			return true;
	return false;
}

/* What a power loss left of a deleted stream goes, where it has no head to be found by: of one that was never synced, and has its first
 * name, because before a rename a stream is synced; or of one whose files are gone already. */
static void clear_deleted(struct wal_targets *targets, const struct wal_target *target)
{
	struct wal_store *store = targets->store;
	const struct wal_target *other, *tmp;

	for (const struct wal_target_name *n = target->names; n; n = n->next) {
		struct wal_stream *stream;
		bool taken = false;
		int r;

		HASH_ITER(hh, targets->table, other, tmp)
			taken |= !other->deleted && has_name(other, n->name);
		if (taken) /* filled by the one that has the name now */
			continue;
		stream = wal_target_look_at(targets, n->name, &r);
		free(stream);
		if (r == -ENODATA) /* what stays is no stream either */
			(void)wal_io_remove_dir(store->io, store->dirfd, n->name);
	}
}

void wal_targets_name_dirs(struct wal_targets *targets)
{
	struct wal_store *store = targets->store;
	struct wal_target *target, *tmp;
	int r;

	HASH_ITER(hh, targets->table, target, tmp) {
		r = 0;
		if (target->deleted && !target->found)
			clear_deleted(targets, target);
		if (target->failed || target->deleted)
			continue;
		if (!target->names) {
			wal_target_give_up(targets, target, -EBADMSG,
					   "the journal has records of a stream without a name");
		} else if (!target->found && target->created) {
			r = make_dir(targets, target);
		} else if (!target->found && target->meant) {
			wal_target_give_up(targets, target, -ENOENT,
					   "the journal has records of a stream whose directory is gone");
		} else if (target->found && strcmp(target->dir, target->names->name) != 0) {
			r = store->io->renameat(store->io, store->dirfd, target->dir, target->names->name, false);
			if (r == 0)
				(void)snprintf(target->dir, sizeof(target->dir), "%s", target->names->name);
		}
		if (r < 0)
			wal_target_give_up(targets, target, r, "its directory could not be made, or not renamed");
	}
}

void wal_targets_fini(struct wal_targets *targets)
{
	struct wal_target *target, *tmp;

	HASH_ITER(hh, targets->table, target, tmp) {
		HASH_DEL(targets->table, target);
		while (target->names) {
			struct wal_target_name *next = target->names->next;

			free(target->names);
			target->names = next;
		}
		free(target);
	}
}
