/* SPDX-License-Identifier: MIT
 *
 * A call that finds another at work is copied and queued. It then runs in a worker, in which it may wait as long as it
 * likes; what comes meanwhile queues up behind it.
 */
#include "turn.h"

#include "walfs.h"

#include <assert.h>
#include <errno.h>

void walfs_turns_init(struct walfs_turns *turns)
{
	*turns = (struct walfs_turns){ 0 };
	pthread_mutex_init(&turns->lock, NULL);
}

void walfs_turns_fini(struct walfs_turns *turns)
{
	assert(!turns->waiting);
	pthread_mutex_destroy(&turns->lock);
}

static int queue_locked(struct walfs_turns *turns, const struct walfs_call *call)
{
	struct walfs_call *copy = walfs_call_copy(call);
	if (!copy)
		return walfs_call_no_copy(call);
	copy->has_turn = true;
	copy->job.next = NULL;
	if (turns->last)
		turns->last->job.next = &copy->job;
	else
		turns->waiting = copy;
	turns->last = copy;
	return 0;
}

int walfs_turn_take(struct walfs_turns *turns, struct walfs_call *call, int (*step)(struct walfs_call *call, void *arg),
		    void *arg)
{
	if (!call->has_turn) {
		int err = 0;
		pthread_mutex_lock(&turns->lock);
		bool busy = turns->busy;
		if (busy)
			err = queue_locked(turns, call);
		turns->busy = true;
		pthread_mutex_unlock(&turns->lock);
		if (busy)
			return err;
		call->has_turn = true;
	}

	int err = step(call, arg);
	if (err != -EAGAIN)
		return err;
	struct walfs_call *copy = walfs_call_copy(call);
	if (copy) {
		walfs_call_send_copy(copy);
		return 0;
	}
	if (call->data) {
		walfs_turn_end(turns);
		return walfs_call_no_copy(call);
	}
	call->wait = 0; /* no memory to wait elsewhere */
	return step(call, arg);
}

void walfs_turn_end(struct walfs_turns *turns)
{
	pthread_mutex_lock(&turns->lock);
	struct walfs_call *next = turns->waiting;
	if (next) {
		turns->waiting = (struct walfs_call *)next->job.next;
		if (!turns->waiting)
			turns->last = NULL;
	} else {
		turns->busy = false;
	}
	pthread_mutex_unlock(&turns->lock);
	if (next)
		walfs_call_send_copy(next);
}
