/* SPDX-License-Identifier: MIT
 *
 * One job for a stream does it all: it asks for the number of the next record, wakes those who wait for an older one, and then
 * has the engine tell it of that next one. A commit so costs the committing thread one call, and the job as many looks as
 * there are waiters. After BATCH of them the job goes to the end of the queue, so that a crowd at one stream does not keep
 * the workers from everything else.
 *
 * Nothing is lost between a look and a wait: who waits for what is older than what the engine was asked for has the job
 * look again.
 */
#include "hub.h"

#include "attr.h"
#include "walfs.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <utlist.h>

#define BATCH 64
#define NOBODY UINT32_MAX /* those who wait may be several: all hubs together take turns as one user */

struct walfs_hub {
	struct walfs_job job; /* first: the job is cast to its hub */
	struct walfs *fs;
	struct walfs_inode *inode; /* referenced while armed, and again while queued */
	pthread_mutex_t lock;
	pthread_cond_t told;          /* armed has become false */
	struct walfs_waiter *waiting; /* guarded by lock */
	struct walfs_waiter *ready;   /* guarded by lock: to be woken */
	bool queued;                  /* guarded by lock: the job is given, or runs */
	bool again;                   /* guarded by lock: there is more for it to look at */
	bool armed;                   /* guarded by lock: the engine has `wait` */
	struct wal_wait wait;         /* the job's while not armed */
};

static_assert(offsetof(struct walfs_hub, job) == 0, "a job of a hub is cast to it");

static void run(struct walfs_job *job, void *scratch);

struct walfs_hub *walfs_hub_of(struct walfs *fs, struct walfs_inode *inode)
{
	pthread_mutex_lock(&inode->lock);
	struct walfs_hub *hub = inode->hub;
	if (!hub && (hub = calloc(1, sizeof(*hub)))) {
		hub->job.run = run;
		hub->job.uid = NOBODY;
		hub->fs = fs;
		hub->inode = inode;
		pthread_mutex_init(&hub->lock, NULL);
		pthread_cond_init(&hub->told, NULL);
		inode->hub = hub;
	}
	pthread_mutex_unlock(&inode->lock);
	return hub;
}

void walfs_hub_free(struct walfs_hub *hub)
{
	if (!hub)
		return;
	assert(!hub->armed && !hub->queued && !hub->waiting && !hub->ready);
	pthread_cond_destroy(&hub->told);
	pthread_mutex_destroy(&hub->lock);
	free(hub);
}

/* The job shall look. True where it must be given for that, with the lock released: a worker that cannot be started is
 * the giver. */
static bool ask_locked(struct walfs_hub *hub)
{
	hub->again = true;
	if (hub->queued)
		return false;
	hub->queued = true;
	walfs_inode_ref(&hub->fs->inodes, hub->inode);
	return true;
}

static void take_out_locked(struct walfs_hub *hub, struct walfs_waiter *waiter)
{
	if (waiter->state == WALFS_WAITS)
		DL_DELETE(hub->waiting, waiter);
	else if (waiter->state == WALFS_WAITS_READY)
		DL_DELETE(hub->ready, waiter);
	waiter->state = WALFS_WAITS_NOT;
}

void walfs_hub_wait(struct walfs_hub *hub, struct walfs_waiter *waiter, uint64_t seq)
{
	pthread_mutex_lock(&hub->lock);
	take_out_locked(hub, waiter);
	waiter->seq = seq;
	waiter->state = WALFS_WAITS;
	DL_APPEND(hub->waiting, waiter);
	bool give = (!hub->armed || hub->wait.seq > seq) && ask_locked(hub);
	pthread_mutex_unlock(&hub->lock);
	if (give)
		walfs_workers_give(hub->fs->workers, &hub->job);
}

void walfs_hub_leave(struct walfs_hub *hub, struct walfs_waiter *waiter)
{
	pthread_mutex_lock(&hub->lock);
	take_out_locked(hub, waiter);
	bool give = hub->armed && !hub->waiting && !hub->ready && ask_locked(hub);
	pthread_mutex_unlock(&hub->lock);
	if (give)
		walfs_workers_give(hub->fs->workers, &hub->job);
}

/* ---- the job ----------------------------------------------------------------------------------------- */

/* The engine's thread, perhaps one that commits. */
static void told(struct wal_wait *wait, int result)
{
	struct walfs_hub *hub = wait->arg;
	struct walfs_inodes *inodes = &hub->fs->inodes;
	struct walfs_inode *inode = hub->inode;
	(void)result; /* the job asks anew */
	pthread_mutex_lock(&hub->lock);
	hub->armed = false;
	bool give = ask_locked(hub);
	pthread_cond_signal(&hub->told);
	pthread_mutex_unlock(&hub->lock);
	if (give)
		walfs_workers_give(hub->fs->workers, &hub->job);
	walfs_inode_unref(inodes, inode);
}

/* Asks the engine to tell when record `seq` is there. */
static void arm_locked(struct walfs_hub *hub, uint64_t seq)
{
	hub->wait = (struct wal_wait){ .seq = seq, .done = told, .arg = hub };
	hub->armed = true;
	walfs_inode_ref(&hub->fs->inodes, hub->inode);
	pthread_mutex_unlock(&hub->lock);
	int r = wal_wait_submit(hub->inode->stream, &hub->wait);
	pthread_mutex_lock(&hub->lock);
	if (r == 0)
		return; /* from here on, or for some time already, it is told's */
	hub->armed = false;
	hub->again = true; /* there already; or an error, which the next look meets too */
	walfs_inode_unref(&hub->fs->inodes, hub->inode);
}

static void disarm_locked(struct walfs_hub *hub)
{
	pthread_mutex_unlock(&hub->lock);
	int r = wal_wait_cancel(&hub->wait);
	pthread_mutex_lock(&hub->lock);
	if (r == 0) {
		hub->armed = false;
		walfs_inode_unref(&hub->fs->inodes, hub->inode);
	}
	while (hub->armed) /* told is being called */
		pthread_cond_wait(&hub->told, &hub->lock);
}

/* Finds out who is to be woken. False where there is nobody and nothing left to do: the job is over. */
static bool look(struct walfs_hub *hub)
{
	struct wal_stat stat = { 0 };
	struct walfs_waiter *waiter, *next;

	pthread_mutex_lock(&hub->lock);
	hub->again = false;
	pthread_mutex_unlock(&hub->lock);
	bool known = walfs_attr_stat_full(hub->inode, 0, &stat) == 0;

	pthread_mutex_lock(&hub->lock);
	DL_FOREACH_SAFE(hub->waiting, waiter, next)
	{
		if (known && waiter->seq >= stat.next)
			continue;
		DL_DELETE(hub->waiting, waiter);
		DL_APPEND(hub->ready, waiter);
		waiter->state = WALFS_WAITS_READY;
	}
	if (!hub->ready && hub->waiting && !hub->armed)
		arm_locked(hub, stat.next);
	else if (!hub->ready && !hub->waiting && hub->armed)
		disarm_locked(hub);
	bool more = hub->ready || hub->again;
	hub->queued = more;
	pthread_mutex_unlock(&hub->lock);
	return more;
}

/* The next one to be woken, NULL where there is none. */
static struct walfs_waiter *pop(struct walfs_hub *hub)
{
	struct walfs_waiter *waiter;
	pthread_mutex_lock(&hub->lock);
	do {
		waiter = hub->ready;
		if (waiter)
			take_out_locked(hub, waiter);
	} while (waiter && !waiter->claim(waiter));
	pthread_mutex_unlock(&hub->lock);
	return waiter;
}

static void run(struct walfs_job *job, void *scratch)
{
	struct walfs_hub *hub = (struct walfs_hub *)job;
	struct walfs_inodes *inodes = &hub->fs->inodes;
	struct walfs_inode *inode = hub->inode;
	for (int i = 0; i < BATCH; i++) {
		struct walfs_waiter *waiter = pop(hub);
		if (waiter) {
			waiter->wake(waiter, scratch);
		} else if (!look(hub)) {
			walfs_inode_unref(inodes, inode);
			return;
		}
	}
	walfs_workers_give(hub->fs->workers, job);
}
