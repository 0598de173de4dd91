/* SPDX-License-Identifier: MIT
 *
 * The streams that the kernel knows: one entry for a stream, whatever the number of its records. Invariant: an entry
 * lives while the kernel holds any node of the stream (all lookups of all its nodes are counted together) or an open
 * file refers to it; it holds one handle of the engine.
 *
 * Threads: any. An entry found by its id may be used without a reference while a request on one of its nodes is not yet
 * answered: the kernel keeps the node for that long.
 */
#ifndef WALFS_INODE_H
#define WALFS_INODE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uthash.h>
#include <walcore/walcore.h>

struct walfs_all;
struct walfs_appender;
struct walfs_closing;
struct record_file;
struct walfs_hub;
struct walfs_job;

/* Who makes the next record by its number: creation.c. */
struct walfs_claim {
	uint64_t seq; /* 0: nobody */
	uint64_t ino; /* of the file */
	pid_t tgid;
	bool wrote;
};

struct walfs_inode {
	uint64_t id;               /* immutable */
	struct wal_stream *stream; /* immutable; borrowed until the entry goes */
	atomic_uint given;         /* notify.c's: of which nodes the kernel may hold attributes */
	atomic_uint writing;       /* open files with uncommitted bytes: attr.c */

	pthread_mutex_t lock;
	struct walfs_appender *appends; /* appender.c's, guarded by lock: the open append files */
	struct record_file *records;    /* recfile.c's, guarded by lock: the open records */
	struct walfs_all *alls;         /* all.c's, guarded by lock: the open files of all */
	struct walfs_hub *hub;          /* hub.c's, guarded by lock; owned; NULL: nobody has waited yet */
	struct walfs_claim claim;       /* creation.c's, guarded by lock */
	struct walfs_job *awaiting;     /* await.c's, guarded by lock: calls that wait; owned */
	struct walfs_closing *closings; /* await.c's, guarded by lock: commits in a RELEASE, the oldest first */
	uint64_t n_begun;               /* await.c's, guarded by lock: of these, also those that have ended */

	/* inode.c's, guarded by its lock */
	uint64_t n_lookup;
	uint32_t n_ref;
	char *name; /* as last looked up; NULL when it has none any more */
	UT_hash_handle by_id, by_name;
};

struct walfs_inodes {
	pthread_mutex_t lock;
	struct walfs_inode *by_id;   /* guarded by lock */
	struct walfs_inode *by_name; /* guarded by lock */
};

void walfs_inodes_init(struct walfs_inodes *inodes);
void walfs_inodes_fini(struct walfs_inodes *inodes); /* gives all handles back */

/* NULL where the kernel does not know the stream. */
struct walfs_inode *walfs_inode_find(struct walfs_inodes *inodes, uint64_t id);

/* The entry of the stream with this name, counted as one lookup more. NULL where it is not known, though it may
 * exist. */
struct walfs_inode *walfs_inode_lookup(struct walfs_inodes *inodes, const char *name);

/* The same for a stream that the engine found. `stream` is owned, also on failure. -ENOMEM. */
int walfs_inode_insert(struct walfs_inodes *inodes, struct wal_stream *stream, const char *name,
		       struct walfs_inode **ret_inode);

/* Counts n lookups of nodes of the stream more, or less; with less the entry may be gone afterwards. */
void walfs_inode_remember(struct walfs_inodes *inodes, struct walfs_inode *inode, uint64_t n);
void walfs_inode_forget(struct walfs_inodes *inodes, uint64_t id, uint64_t n);

void walfs_inode_ref(struct walfs_inodes *inodes, struct walfs_inode *inode);
void walfs_inode_unref(struct walfs_inodes *inodes, struct walfs_inode *inode);

/* The stream has another name now, or none (NULL: deleted). */
void walfs_inode_rename(struct walfs_inodes *inodes, uint64_t id, const char *name);

#endif
