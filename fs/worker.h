/* SPDX-License-Identifier: MIT
 *
 * A few threads that do what may wait for the disk, so that the loop does not. Invariants: the jobs of one user start in
 * the order in which they were given; users take turns, and none has more threads than are left for others; every job
 * given runs once, also during walfs_workers_close.
 *
 * Threads: any, but for close.
 */
#ifndef WALFS_WORKER_H
#define WALFS_WORKER_H

#include <stddef.h>
#include <stdint.h>

#define WALFS_SCRATCH_BYTES ((size_t)1 << 20) /* room for the largest read of the kernel */

/* Embedded in what is to be done. The job is the worker's from walfs_workers_give until run is called. */
struct walfs_job {
	/* `scratch` is WALFS_SCRATCH_BYTES of the thread's own, borrowed. */
	void (*run)(struct walfs_job *job, void *scratch);
	uint32_t uid; /* for whom */
	struct walfs_job *next;
	/* worker.c's: of the first job of a user in the queue. */
	struct walfs_job *last, *next_user;
};

struct walfs_workers;

/* No thread is started before there is a job. -ENOMEM. */
int walfs_workers_open(struct walfs_workers **ret_workers);

/* Runs what is left, ends the threads. NULL is allowed. */
void walfs_workers_close(struct walfs_workers *workers);

/* Never fails: where no thread can be started at all, the job runs in the caller. */
void walfs_workers_give(struct walfs_workers *workers, struct walfs_job *job);

/* Waits until no job is queued or running. */
void walfs_workers_drain(struct walfs_workers *workers);

#endif
