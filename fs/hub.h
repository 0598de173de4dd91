/* SPDX-License-Identifier: MIT
 *
 * Waiting for records of one stream, however many wait. Invariants: a waiter whose record has come is woken, in a worker;
 * the engine is asked for one thing, the next record of the stream, and its thread only hands that over.
 *
 * Threads: any, but for free.
 */
#ifndef WALFS_HUB_H
#define WALFS_HUB_H

#include <stdbool.h>
#include <stdint.h>

struct walfs;
struct walfs_hub;
struct walfs_inode;

enum walfs_waiting { WALFS_WAITS_NOT = 0, WALFS_WAITS, WALFS_WAITS_READY };

/* Embedded in what waits. It stays its owner's; it is in the hub from walfs_hub_wait until it is woken or leaves. */
struct walfs_waiter {
	/* Called with the hub's lock held: is it to be woken? Then it must last until wake has been called. */
	bool (*claim)(struct walfs_waiter *waiter);
	void (*wake)(struct walfs_waiter *waiter, void *scratch); /* as the run of a job */
	/* the hub's, guarded by its lock */
	struct walfs_waiter *prev, *next;
	uint64_t seq;
	enum walfs_waiting state;
};

/* The hub of a stream, made when it is first asked for and kept as long as the entry; NULL: no memory. */
struct walfs_hub *walfs_hub_of(struct walfs *fs, struct walfs_inode *inode);

/* Wakes the waiter once record `seq` is there, when the stream is removed, or where the engine cannot tell. */
void walfs_hub_wait(struct walfs_hub *hub, struct walfs_waiter *waiter, uint64_t seq);
void walfs_hub_leave(struct walfs_hub *hub, struct walfs_waiter *waiter);

/* Nobody may wait. NULL is allowed. */
void walfs_hub_free(struct walfs_hub *hub);

#endif
