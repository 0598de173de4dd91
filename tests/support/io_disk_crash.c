/* SPDX-License-Identifier: MIT
 *
 * The power goes. What is on the medium stays; each change that no sync covered meets a fate that the seed decides, in the order in
 * which they were made. The seed first picks a plan, so that the extremes are tried as well as the mixtures: each on its own dice;
 * only the first ones or only the last ones; all of one file or of none but it; all but one, one alone.
 */
#include "io_disk_state.h"

#include <stdlib.h>
#include <string.h>

#define SECTOR 512
#define PAGE 4096

enum fate { LOST, KEPT, TORN };
static const char *const fate_names[] = { "lost", "kept", "torn" };

enum plan { DICE, MOSTLY_KEPT, MOSTLY_LOST, FIRST_KEPT, LAST_KEPT, FILE_LOST, FILE_KEPT, ONE_LOST, ONE_KEPT, PLANS };

struct frozen { /* a name that stays as it is, because a change of it was lost */
	uint64_t dir;
	const char *name;
};

struct loss {
	struct io_disk *image;
	uint64_t seed, state;
	enum plan plan;
	size_t pick; /* the change, or where first ends and last begins */
	uint64_t pick_ino;
	bool grows; /* a lost write may leave its length */
	struct frozen *frozen;
	size_t n_frozen;
	FILE *log;
};

static uint64_t roll(struct loss *loss)
{
	uint64_t z = (loss->state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* True in n of 16 cases. */
static bool chance(struct loss *loss, unsigned n)
{
	return roll(loss) % 16 < n;
}

static enum fate dice(struct loss *loss, unsigned kept, unsigned torn)
{
	uint64_t n = roll(loss) % 16;

	return n < kept ? KEPT : n < kept + torn ? TORN : LOST;
}

static enum fate fate_of(struct loss *loss, size_t i, const struct disk_change *change)
{
	bool here = change->ino == loss->pick_ino || change->dir == loss->pick_ino;

	if (loss->seed < 2)
		return loss->seed ? KEPT : LOST;
	switch (loss->plan) {
	case MOSTLY_KEPT:
		return dice(loss, 13, 2);
	case MOSTLY_LOST:
		return dice(loss, 2, 2);
	case FIRST_KEPT:
		return i < loss->pick ? KEPT : i == loss->pick ? TORN : LOST;
	case LAST_KEPT:
		return i < loss->pick ? LOST : i == loss->pick ? TORN : KEPT;
	case FILE_LOST:
		return here ? LOST : KEPT;
	case FILE_KEPT:
		return here ? KEPT : LOST;
	case ONE_LOST:
		return i == loss->pick ? (chance(loss, 8) ? LOST : TORN) : KEPT;
	case ONE_KEPT:
		return i == loss->pick ? (chance(loss, 8) ? KEPT : TORN) : LOST;
	default:
		return dice(loss, 6, 4);
	}
}

/* Its pieces between the borders of sectors or pages: any of them, or the first ones, or the last ones. */
static void tear(struct loss *loss, const struct disk_change *change, struct disk_bytes *medium)
{
	size_t unit = chance(loss, 10) ? SECTOR : PAGE, len;
	uint64_t first = change->off / unit, n = (change->off + change->len - 1) / unit - first + 1;
	uint64_t how = roll(loss) % 3, at = roll(loss) % n, i = 0;

	for (size_t done = 0; done < change->len; done += len, i++) {
		uint64_t off = change->off + done;
		bool kept = how == 0 ? chance(loss, 8) : how == 1 ? i < at : i >= at;

		len = unit - (size_t)(off % unit);
		if (len > change->len - done)
			len = change->len - done;
		if (kept)
			disk_bytes_put(medium, off, change->bytes + done, len);
	}
	if (loss->log)
		(void)fprintf(loss->log, " by %zu (%s %llu of %llu)", unit,
			      how == 0   ? "any, not"
			      : how == 1 ? "the first"
					 : "from",
			      (unsigned long long)at, (unsigned long long)n);
}

static void lose_data(struct loss *loss, const struct disk_change *change, enum fate fate)
{
	struct disk_bytes *medium = &disk_node(loss->image, change->ino)->medium;

	if (fate == KEPT || (fate == TORN && change->kind == DISK_TRUNCATE)) {
		disk_settle(loss->image, change);
		return;
	}
	if (change->kind == DISK_TRUNCATE)
		return;
	if (fate == TORN && change->len > 0)
		tear(loss, change, medium);
	if (loss->grows && change->off + change->len > medium->len && chance(loss, 8)) {
		disk_bytes_set_len(medium, change->off + change->len);
		if (loss->log)
			(void)fputs(", length kept", loss->log);
	}
}

static void freeze(struct loss *loss, uint64_t dir, const char *name)
{
	loss->frozen[loss->n_frozen++] = (struct frozen){ dir, name };
}

static bool is_frozen(const struct loss *loss, uint64_t dir, const char *name)
{
	for (size_t i = 0; i < loss->n_frozen; i++)
		if (loss->frozen[i].dir == dir && strcmp(loss->frozen[i].name, name) == 0)
			return true;
	return false;
}

static void lose_name(struct loss *loss, const struct disk_change *change, enum fate fate)
{
	struct io_disk *image = loss->image;
	bool is_file = !disk_node(image, change->ino)->dir;

	if (change->kind != DISK_RENAME) {
		if (fate != LOST && !is_frozen(loss, change->dir, change->name))
			disk_settle(image, change);
		else
			freeze(loss, change->dir, change->name);
		return;
	}
	if (fate == LOST || is_frozen(loss, change->dir2, change->name2) ||
	    (is_frozen(loss, change->dir, change->name) && !is_file)) {
		freeze(loss, change->dir, change->name);
		freeze(loss, change->dir2, change->name2);
	} else if ((fate == TORN && is_file) || is_frozen(loss, change->dir, change->name)) {
		disk_set_entry(&disk_node(image, change->dir2)->medium_names, change->name2, change->ino,
			       ++image->cookie);
		freeze(loss, change->dir, change->name);
	} else {
		disk_settle(image, change);
	}
}

static void log_change(FILE *log, const struct disk_change *change, enum fate fate)
{
	(void)fprintf(log, "#   call %llu: ", (unsigned long long)change->call);
	switch (change->kind) {
	case DISK_WRITE:
		(void)fprintf(log, "write file %llu, %zu bytes at %llu", (unsigned long long)change->ino, change->len,
			      (unsigned long long)change->off);
		break;
	case DISK_TRUNCATE:
		(void)fprintf(log, "cut file %llu to %llu", (unsigned long long)change->ino,
			      (unsigned long long)change->off);
		break;
	case DISK_LINK:
	case DISK_UNLINK:
		(void)fprintf(log, "%s %llu:%s (%llu)", change->kind == DISK_LINK ? "make" : "remove",
			      (unsigned long long)change->dir, change->name, (unsigned long long)change->ino);
		break;
	case DISK_RENAME:
		(void)fprintf(log, "rename %llu:%s to %llu:%s (%llu)", (unsigned long long)change->dir, change->name,
			      (unsigned long long)change->dir2, change->name2, (unsigned long long)change->ino);
		break;
	}
	(void)fprintf(log, ": %s", fate_names[fate]);
}

static void copy_medium(struct io_disk *image, const struct io_disk *disk)
{
	for (size_t i = 0; i < disk->n_nodes; i++) {
		const struct disk_node *from = disk->nodes[i];
		struct disk_node *to;

		if (i == 0) { /* an image has its root */
			to = image->nodes[0];
		} else {
			to = disk_add_node(image, !from || from->dir);
		}
		if (!from)
			continue;
		to->mode = from->mode;
		to->parent = from->parent;
		disk_bytes_put(&to->medium, 0, from->medium.base, from->medium.len);
		for (size_t k = 0; k < from->medium_names.n; k++)
			disk_set_entry(&to->medium_names, from->medium_names.at[k].name, from->medium_names.at[k].ino,
				       from->medium_names.at[k].cookie);
	}
	image->cookie = disk->cookie;
}

/* What can be reached is there; the rest is dropped. */
static void mount_node(struct io_disk *image, struct disk_node *node, bool *seen)
{
	if (seen[node->ino - 1])
		return;
	seen[node->ino - 1] = true;
	disk_bytes_put(&node->now, 0, node->medium.base, node->medium.len);
	for (size_t i = 0; i < node->medium_names.n; i++) {
		const struct disk_entry *entry = &node->medium_names.at[i];

		disk_set_entry(&node->names, entry->name, entry->ino, entry->cookie);
		disk_node(image, entry->ino)->parent = node->ino;
		mount_node(image, disk_node(image, entry->ino), seen);
	}
}

static void mount_image(struct io_disk *image)
{
	bool *seen = calloc(image->n_nodes, sizeof(*seen));

	if (!seen)
		abort();
	mount_node(image, image->nodes[0], seen);
	for (size_t i = 0; i < image->n_nodes; i++)
		if (!seen[i])
			disk_drop_node(image, i + 1);
	free(seen);
}

struct io_disk *io_disk_crash(struct io_disk *disk, uint64_t seed, FILE *log)
{
	struct loss loss = { .image = io_disk_new(), .seed = seed, .state = seed, .log = log };

	pthread_mutex_lock(&disk->lock);
	loss.frozen = calloc(2 * disk->n_changes + 1, sizeof(*loss.frozen));
	if (!loss.frozen)
		abort();
	loss.plan = (enum plan)(roll(&loss) % PLANS);
	loss.pick = disk->n_changes ? roll(&loss) % disk->n_changes : 0;
	if (disk->n_changes)
		loss.pick_ino = disk->changes[loss.pick]->ino;
	loss.grows = seed > 1 && chance(&loss, 6);
	copy_medium(loss.image, disk);
	for (size_t i = 0; i < disk->n_changes; i++) {
		const struct disk_change *change = disk->changes[i];
		enum fate fate = fate_of(&loss, i, change);

		if (log)
			log_change(log, change, fate);
		if (change->kind < DISK_LINK)
			lose_data(&loss, change, fate);
		else
			lose_name(&loss, change, fate);
		if (log)
			(void)fputc('\n', log);
	}
	pthread_mutex_unlock(&disk->lock);
	free(loss.frozen);
	mount_image(loss.image);
	return loss.image;
}

static void copy_now(struct disk_node *to, const struct disk_node *from)
{
	disk_bytes_put(&to->now, 0, from->now.base, from->now.len);
	for (size_t i = 0; i < from->names.n; i++)
		disk_set_entry(&to->names, from->names.at[i].name, from->names.at[i].ino, from->names.at[i].cookie);
}

struct io_disk *io_disk_copy(struct io_disk *disk)
{
	struct io_disk *copy = io_disk_new();

	pthread_mutex_lock(&disk->lock);
	copy_medium(copy, disk);
	for (size_t i = 0; i < disk->n_nodes; i++)
		if (disk->nodes[i])
			copy_now(copy->nodes[i], disk->nodes[i]);
	for (size_t i = 0; i < disk->n_changes; i++) {
		const struct disk_change *from = disk->changes[i];
		struct disk_change *to = disk_add_change(copy, from->kind, from->ino);

		*to = *from;
		if (from->bytes) {
			to->bytes = disk_must(malloc(from->len + 1));
			memcpy(to->bytes, from->bytes, from->len);
		}
	}
	copy->calls = disk->calls;
	pthread_mutex_unlock(&disk->lock);
	return copy;
}

static void print_dir(const struct io_disk *disk, const struct disk_node *dir, FILE *to)
{
	for (size_t i = 0; i < dir->names.n; i++) {
		const struct disk_node *node = disk_node(disk, dir->names.at[i].ino);

		(void)fprintf(to, " %llu:%s(%llu", (unsigned long long)dir->ino, dir->names.at[i].name,
			      (unsigned long long)node->ino);
		if (!node->dir)
			(void)fprintf(to, ", %zu", node->now.len);
		(void)fputc(')', to);
		if (node->dir)
			print_dir(disk, node, to);
	}
}

void io_disk_print(struct io_disk *disk, FILE *to)
{
	pthread_mutex_lock(&disk->lock);
	(void)fputc('#', to);
	print_dir(disk, disk->nodes[0], to);
	(void)fputc('\n', to);
	pthread_mutex_unlock(&disk->lock);
}
