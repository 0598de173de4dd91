/* SPDX-License-Identifier: MIT */
#include "io_disk_state.h"

#include <stdlib.h>
#include <string.h>

void *disk_must(void *p)
{
	if (!p)
		abort(); /* a test without memory */
	return p;
}

/* ---- the pieces ---------------------------------------------------------------------------------------- */

struct disk_node *disk_node(const struct io_disk *disk, uint64_t ino)
{
	return disk->nodes[ino - 1];
}

struct disk_node *disk_add_node(struct io_disk *disk, bool dir)
{
	struct disk_node *node = disk_must(calloc(1, sizeof(*node)));

	if (disk->n_nodes == disk->cap_nodes) {
		disk->cap_nodes = disk->cap_nodes ? 2 * disk->cap_nodes : 32;
		disk->nodes = disk_must(realloc(disk->nodes, disk->cap_nodes * sizeof(*disk->nodes)));
	}
	node->dir = dir;
	disk->nodes[disk->n_nodes++] = node;
	node->ino = disk->n_nodes;
	return node;
}

void disk_drop_node(struct io_disk *disk, uint64_t ino)
{
	struct disk_node *node = disk->nodes[ino - 1];

	if (!node)
		return;
	disk->nodes[ino - 1] = NULL;
	free(node->now.base);
	free(node->medium.base);
	free(node->names.at);
	free(node->medium_names.at);
	free(node);
}

void disk_bytes_set_len(struct disk_bytes *bytes, size_t len)
{
	if (len > bytes->cap) {
		bytes->cap = len < 4096 ? 4096 : len + len / 2;
		bytes->base = disk_must(realloc(bytes->base, bytes->cap));
	}
	if (len > bytes->len)
		memset(bytes->base + bytes->len, 0, len - bytes->len);
	bytes->len = len;
}

void disk_bytes_put(struct disk_bytes *bytes, uint64_t off, const uint8_t *from, size_t len)
{
	if (len == 0)
		return;
	if (off + len > bytes->len)
		disk_bytes_set_len(bytes, off + len);
	memcpy(bytes->base + off, from, len);
}

struct disk_entry *disk_find(struct disk_entries *entries, const char *name)
{
	for (size_t i = 0; i < entries->n; i++)
		if (strcmp(entries->at[i].name, name) == 0)
			return &entries->at[i];
	return NULL;
}

void disk_set_entry(struct disk_entries *entries, const char *name, uint64_t ino, uint64_t cookie)
{
	struct disk_entry *entry = disk_find(entries, name);

	if (entry) {
		entry->ino = ino;
		return;
	}
	if (entries->n == entries->cap) {
		entries->cap = entries->cap ? 2 * entries->cap : 8;
		entries->at = disk_must(realloc(entries->at, entries->cap * sizeof(*entries->at)));
	}
	entry = &entries->at[entries->n++];
	*entry = (struct disk_entry){ .ino = ino, .cookie = cookie };
	(void)snprintf(entry->name, sizeof(entry->name), "%s", name);
}

void disk_remove_entry(struct disk_entries *entries, const char *name, uint64_t ino)
{
	struct disk_entry *entry = disk_find(entries, name);

	if (!entry || entry->ino != ino)
		return;
	memmove(entry, entry + 1, (size_t)(entries->at + entries->n - entry - 1) * sizeof(*entry));
	entries->n--;
}

void disk_settle(struct io_disk *disk, const struct disk_change *change)
{
	switch (change->kind) {
	case DISK_WRITE:
		disk_bytes_put(&disk_node(disk, change->ino)->medium, change->off, change->bytes, change->len);
		break;
	case DISK_TRUNCATE:
		disk_bytes_set_len(&disk_node(disk, change->ino)->medium, change->off);
		break;
	case DISK_LINK:
		disk_set_entry(&disk_node(disk, change->dir)->medium_names, change->name, change->ino, ++disk->cookie);
		break;
	case DISK_UNLINK:
		disk_remove_entry(&disk_node(disk, change->dir)->medium_names, change->name, change->ino);
		break;
	case DISK_RENAME:
		disk_set_entry(&disk_node(disk, change->dir2)->medium_names, change->name2, change->ino,
			       ++disk->cookie);
		disk_remove_entry(&disk_node(disk, change->dir)->medium_names, change->name, change->ino);
		break;
	}
}

void disk_change_free(struct disk_change *change)
{
	free(change->bytes);
	free(change);
}

struct disk_change *disk_add_change(struct io_disk *disk, enum disk_kind kind, uint64_t ino)
{
	struct disk_change *change = disk_must(calloc(1, sizeof(*change)));

	if (disk->n_changes == disk->cap_changes) {
		disk->cap_changes = disk->cap_changes ? 2 * disk->cap_changes : 64;
		disk->changes = disk_must(realloc(disk->changes, disk->cap_changes * sizeof(*disk->changes)));
	}
	disk->changes[disk->n_changes++] = change;
	change->kind = kind;
	change->ino = ino;
	change->call = disk->calls;
	return change;
}

void disk_add_name_change(struct io_disk *disk, enum disk_kind kind, uint64_t ino, uint64_t dir, const char *name)
{
	struct disk_change *change = disk_add_change(disk, kind, ino);

	change->dir = dir;
	(void)snprintf(change->name, sizeof(change->name), "%s", name);
}

/* ---- syncs --------------------------------------------------------------------------------------------- */

/* Puts on the medium what was chosen, in order, and forgets it. */
static void settle_chosen(struct io_disk *disk, const bool *chosen)
{
	size_t kept = 0;

	for (size_t i = 0; i < disk->n_changes; i++) {
		struct disk_change *change = disk->changes[i];

		if (chosen[i]) {
			disk_settle(disk, change);
			disk_change_free(change);
		} else {
			disk->changes[kept++] = change;
		}
	}
	disk->n_changes = kept;
}

static bool same_name(const struct disk_change *a, uint64_t dir, const char *name)
{
	return (a->dir == dir && strcmp(a->name, name) == 0) ||
	       (a->kind == DISK_RENAME && a->dir2 == dir && strcmp(a->name2, name) == 0);
}

/* The changes of names in the directory, those of the same names before them, and what is tied to them by a rename. */
static void choose_names(struct io_disk *disk, uint64_t dir, bool *chosen)
{
	for (size_t i = disk->n_changes; i-- > 0;) {
		struct disk_change *change = disk->changes[i];
		bool rename = change->kind == DISK_RENAME, needed = false;

		if (change->kind < DISK_LINK)
			continue;
		for (size_t j = i + 1; j < disk->n_changes && !needed; j++)
			needed = chosen[j] && disk->changes[j]->kind >= DISK_LINK &&
				 (same_name(disk->changes[j], change->dir, change->name) ||
				  (rename && same_name(disk->changes[j], change->dir2, change->name2)));
		chosen[i] = needed || change->dir == dir || (rename && change->dir2 == dir);
	}
}

/* A file that was renamed into this directory from another one is here now; whether it is gone there is open. */
static void split_renames(struct io_disk *disk, uint64_t dir)
{
	for (size_t i = 0; i < disk->n_changes; i++) {
		struct disk_change *change = disk->changes[i], *gone;

		if (change->kind != DISK_RENAME || change->dir2 != dir || change->dir == dir ||
		    disk_node(disk, change->ino)->dir)
			continue;
		gone = disk_add_change(disk, DISK_UNLINK, change->ino);
		memmove(disk->changes + i + 2, disk->changes + i + 1,
			(disk->n_changes - i - 2) * sizeof(*disk->changes));
		disk->changes[i + 1] = gone;
		gone->call = change->call;
		gone->dir = change->dir;
		memcpy(gone->name, change->name, sizeof(gone->name));
		change->kind = DISK_LINK;
		change->dir = change->dir2;
		memcpy(change->name, change->name2, sizeof(change->name));
	}
}

void disk_sync_node(struct io_disk *disk, struct disk_node *node)
{
	bool *chosen;

	if (node->dir)
		split_renames(disk, node->ino);
	chosen = disk_must(calloc(disk->n_changes + 1, sizeof(*chosen)));
	if (node->dir)
		choose_names(disk, node->ino, chosen);
	for (size_t i = 0; i < disk->n_changes && !node->dir; i++)
		chosen[i] = disk->changes[i]->kind < DISK_LINK && disk->changes[i]->ino == node->ino;
	settle_chosen(disk, chosen);
	free(chosen);
}

void disk_fail_node(struct io_disk *disk, const struct disk_node *node)
{
	size_t kept = 0;

	for (size_t i = 0; i < disk->n_changes; i++) {
		struct disk_change *change = disk->changes[i];

		if (change->kind >= DISK_LINK || change->ino != node->ino) {
			disk->changes[kept++] = change;
			continue;
		}
		if ((change->call + disk->calls) % 2)
			disk_settle(disk, change);
		disk_change_free(change);
	}
	disk->n_changes = kept;
}
