/* SPDX-License-Identifier: MIT
 *
 * Open files: what the kernel's handle numbers stand for. Invariant: every open file is in the list of its mount from
 * open to release, so that the end of the mount can close what the kernel did not.
 *
 * Threads: the list any; a file as its kind says.
 */
#ifndef WALFS_FILE_H
#define WALFS_FILE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct stat;
struct walfs;
struct walfs_call;
struct walfs_file;
struct walfs_user;
struct fuse_file_info;

/* What a kind of open file can do. The handlers follow call.h; NULL is the answer that ops.c has for it. */
struct walfs_file_ops {
	int (*read)(struct walfs_call *call, struct walfs_file *file);
	int (*write)(struct walfs_call *call, struct walfs_file *file);
	int (*flush)(struct walfs_call *call, struct walfs_file *file);
	int (*fsync)(struct walfs_call *call, struct walfs_file *file);
	int (*truncate)(struct walfs_call *call, struct walfs_file *file);
	/* NULL: always ready. Owns call->ph unless it returns an error. */
	int (*poll)(struct walfs_call *call, struct walfs_file *file);
	int (*release)(struct walfs_call *call, struct walfs_file *file);
	/* Corrects attributes by what only the open file knows. */
	void (*attr)(struct walfs_file *file, struct stat *st);
	/* The mount ends: answers requests that wait for what may never come, and lets none wait from now on. */
	void (*stop)(struct walfs_file *file);
	/* At the end of the mount, in the only thread left: closes the file. `all_closed`: no process can have it open. */
	void (*drop)(struct walfs *fs, struct walfs_file *file, bool all_closed);
};

/* The first member of every kind of open file. */
struct walfs_file {
	const struct walfs_file_ops *ops;
	struct walfs_user *user;        /* immutable: who opened it */
	struct walfs_file *prev, *next; /* guarded by the list's lock */
};

struct walfs_files {
	pthread_mutex_t lock;
	struct walfs_file *head; /* guarded by lock */
	uint64_t n;              /* guarded by lock */
	pthread_cond_t calm;     /* no commit is under way */
	uint64_t n_commits;      /* guarded by lock: submitted and not answered yet */
};

void walfs_files_init(struct walfs_files *files);
void walfs_files_fini(struct walfs_files *files);

/* For the open file of this call, which has its user. From remove on the user may be gone: what the file took of him is
 * to be given back before. */
void walfs_file_add(struct walfs_call *call, struct walfs_file *file, const struct walfs_file_ops *ops);
void walfs_file_remove(struct walfs_files *files, struct walfs_file *file);
uint64_t walfs_files_count(struct walfs_files *files);

/* A commit was submitted whose answer comes from another thread; and it came. The end waits for all of them. */
void walfs_files_begin(struct walfs_files *files);
void walfs_files_end(struct walfs_files *files);
void walfs_files_wait(struct walfs_files *files);

/* Stops every file. No request comes any more, but some may still be running. */
void walfs_files_stop(struct walfs_files *files);

/* Drops every file that is left. */
void walfs_files_drop(struct walfs *fs, bool all_closed);

/* Handle numbers. */
struct walfs_file *walfs_file_of(const struct fuse_file_info *fi);

#endif
