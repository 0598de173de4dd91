/* SPDX-License-Identifier: MIT
 *
 * io_disk_state: what an io_disk consists of; for io_disk.c, which has
 * the calls, and io_disk_crash.c, which has the power loss.
 */
#ifndef TESTS_SUPPORT_IO_DISK_STATE_H
#define TESTS_SUPPORT_IO_DISK_STATE_H

#include "io_disk.h"

#define DISK_NAME_MAX 48
#define DISK_FDS 256
#define DISK_FD_BASE 100000 /* not to be mixed up with the kernel's */

struct disk_bytes {
	uint8_t *base; /* owned */
	size_t len, cap;
};

struct disk_entry {
	char name[DISK_NAME_MAX];
	uint64_t ino;
	uint64_t cookie; /* grows; for getdents */
};

struct disk_entries {
	struct disk_entry *at; /* owned; by cookie */
	size_t n, cap;
};

struct disk_node {
	uint64_t ino;
	bool dir;
	mode_t mode;
	uint64_t parent; /* of a directory */
	int locked_by;   /* a descriptor, or 0 */
	struct disk_bytes now, medium;
	struct disk_entries names, medium_names;
};

enum disk_kind { DISK_WRITE, DISK_TRUNCATE, DISK_LINK, DISK_UNLINK, DISK_RENAME };

struct disk_change {
	enum disk_kind kind;
	uint64_t call;
	uint64_t ino; /* of the file; for names: what they lead to */
	/* data */
	uint64_t off; /* of a truncation: the size */
	size_t len;
	uint8_t *bytes; /* owned */
	/* names: made, removed; of a rename: from the first to the second */
	uint64_t dir, dir2;
	char name[DISK_NAME_MAX], name2[DISK_NAME_MAX];
};

struct disk_fd {
	struct disk_node *node; /* NULL: free */
	uint64_t cookie;
};

struct io_disk {
	struct wal_io io;
	pthread_mutex_t lock;     /* recursive; all below is guarded by it */
	struct disk_node **nodes; /* owned; by ino - 1; NULL: gone */
	size_t n_nodes, cap_nodes;
	struct disk_change **changes; /* owned; oldest first */
	size_t n_changes, cap_changes;
	struct disk_fd fds[DISK_FDS];
	uint64_t cookie, calls, syncing;
	bool off;
	io_disk_hook *hook;
	void *arg;
};

void *disk_must(void *p); /* not NULL */
struct disk_node *disk_node(const struct io_disk *disk, uint64_t ino);
struct disk_node *disk_add_node(struct io_disk *disk, bool dir);
void disk_drop_node(struct io_disk *disk, uint64_t ino);

void disk_bytes_set_len(struct disk_bytes *bytes, size_t len); /* zeros where it grows */
void disk_bytes_put(struct disk_bytes *bytes, uint64_t off, const uint8_t *from, size_t len);

struct disk_entry *disk_find(struct disk_entries *entries, const char *name);
void disk_set_entry(struct disk_entries *entries, const char *name, uint64_t ino, uint64_t cookie);
void disk_remove_entry(struct disk_entries *entries, const char *name, uint64_t ino); /* where it leads to ino */

/* Notes a change that no sync has covered. */
struct disk_change *disk_add_change(struct io_disk *disk, enum disk_kind kind, uint64_t ino);
void disk_add_name_change(struct io_disk *disk, enum disk_kind kind, uint64_t ino, uint64_t dir, const char *name);
/* Covers what a sync of the node covers. */
void disk_sync_node(struct io_disk *disk, struct disk_node *node);
/* A sync of the file failed: of each of its changes it is decided now. */
void disk_fail_node(struct io_disk *disk, const struct disk_node *node);
/* Puts a change on the medium, whole. */
void disk_settle(struct io_disk *disk, const struct disk_change *change);
void disk_change_free(struct disk_change *change);

#endif
