/* SPDX-License-Identifier: MIT
 *
 * Turns: requests on one open file run one after another, though some wait for the disk or for a commit. Invariants: they
 * run in the order in which they came; no lock is held while one runs.
 *
 * Threads: any.
 */
#ifndef WALFS_TURN_H
#define WALFS_TURN_H

#include "call.h"

struct walfs_turns {
	pthread_mutex_t lock;
	bool busy;                         /* guarded by lock: a request has its turn */
	struct walfs_call *waiting, *last; /* guarded by lock: linked by job.next; owned */
};

void walfs_turns_init(struct walfs_turns *turns);
void walfs_turns_fini(struct walfs_turns *turns);

/* Runs the step when it is the call's turn: now, or later in a worker. A step ends its turn with walfs_turn_end, maybe
 * after it returned; or it returns -EAGAIN in the loop, keeps its turn, and runs again in a worker. Returns 0, or
 * an
 * error: nothing happened. Data is refused where its user has too much that queues: -EDQUOT. */
int walfs_turn_take(struct walfs_turns *turns, struct walfs_call *call, int (*step)(struct walfs_call *call, void *arg),
		    void *arg);

/* To be called before the reply, which lets the next request come: the last one may take `turns` away with it. */
void walfs_turn_end(struct walfs_turns *turns);

#endif
