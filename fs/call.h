/* SPDX-License-Identifier: MIT
 *
 * One request of the kernel on its way through its handler, in the loop or in a worker. Invariant: a request gets exactly
 * one reply.
 *
 * A handler returns 0 when it replied, or when someone else will: it touches nothing of the call or of what the request
 * kept alive after the reply. It returns a negative error when nothing was replied: the caller then replies with it. With
 * `wait` WAL_NOWAIT, as in the loop, it returns -EAGAIN rather than wait for the disk, having done nothing that
 * a second run could not do again: the same handler then runs in a worker, with `wait` 0, on a copy of the call.
 *
 * Threads: a call is one thread's at a time.
 */
#ifndef WALFS_CALL_H
#define WALFS_CALL_H

#include "kernel.h"
#include "node.h"
#include "reply.h"
#include "worker.h"

#include <stdbool.h>
#include <sys/stat.h>

struct walfs;
struct walfs_call;
struct walfs_user;

typedef int walfs_handler(struct walfs_call *call);

struct walfs_call {
	struct walfs_job job; /* first: a job of a call is cast to it */
	struct walfs *fs;
	fuse_req_t req;
	walfs_handler *handler;
	enum walfs_sense sense;
	uint32_t wait; /* WAL_NOWAIT, or 0: may wait */
	void *scratch; /* WALFS_SCRATCH_BYTES, borrowed for the run of the handler */

	fuse_ino_t ino; /* and the node it stands for, for which walfs_call_start looks */
	struct walfs_node node;
	fuse_ino_t new_parent;
	const char *name, *new_name; /* borrowed; a copy of the call has copies */
	const void *data;            /* as name */
	size_t size;
	size_t held; /* of a copy: bytes of data that are taken from the user of the file */
	uint64_t off;
	uint32_t flags; /* rename */
	bool awaited;   /* await.c's: has waited, and until how many commits had ended */
	uint64_t await_n;
	struct walfs_user *user; /* open: whose file it will be */
	bool has_turn;           /* turn.c's */
	bool has_file;
	struct fuse_file_info fi;
	struct fuse_pollhandle *ph; /* poll; owned by the call, NULL: nobody waits */
	int to_set;                 /* setattr, and the values for it */
	mode_t mode;                /* mkdir too */
	uid_t uid;
	gid_t gid;
};

/* Runs the handler of a call that lies on the caller's stack, and sees to the reply. In a worker later where it must
 * wait, or at once to a worker with walfs_call_send, for what is known to wait. */
void walfs_call_run(struct walfs_call *call);
void walfs_call_send(struct walfs_call *call);

/* The calling thread; 0 where it cannot be seen. */
pid_t walfs_call_pid(const struct walfs_call *call);

/* A copy on the heap with copies of names and data; NULL: no memory, or no more for this user's data. Give it to walfs_call_send_copy or free it. */
struct walfs_call *walfs_call_copy(const struct walfs_call *call);
void walfs_call_send_copy(struct walfs_call *copy);
/* The error where there is no copy: -EDQUOT for data, -ENOMEM. */
int walfs_call_no_copy(const struct walfs_call *call);

#endif
