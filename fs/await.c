/* SPDX-License-Identifier: MIT
 *
 * The kernel queues the RELEASE before the process that closed returns to its program, and requests are read in order, as
 * long as there are no more RELEASEs than may be under way (ops.c asks for as many as there can be): what
 * that process or one that waited for it asks comes after. So it is enough to number them. A call waits until all commits have
 * ended that had begun when it came, and then runs again; it never waits twice.
 *
 * Without memory for its copy a call does not wait.
 */
#include "await.h"

#include <utlist.h>

/* Are the first n commits over? The oldest of those that are not stands first, and a later one may overtake it. */
static bool is_over_locked(const struct walfs_inode *inode, uint64_t n)
{
	return !inode->closings || inode->closings->n > n;
}

bool walfs_await_join(struct walfs_call *call, struct walfs_inode *inode)
{
	pthread_mutex_lock(&inode->lock);
	bool waits = !call->awaited && inode->closings;
	struct walfs_call *copy = waits ? walfs_call_copy(call) : NULL;
	if (copy) {
		copy->awaited = true;
		copy->await_n = inode->n_begun;
		copy->job.next = inode->awaiting;
		inode->awaiting = &copy->job;
	}
	pthread_mutex_unlock(&inode->lock);
	return copy;
}

void walfs_await_begin(struct walfs_inode *inode, struct walfs_closing *closing)
{
	if (closing->n > 0)
		return;
	pthread_mutex_lock(&inode->lock);
	closing->n = ++inode->n_begun;
	DL_APPEND(inode->closings, closing);
	pthread_mutex_unlock(&inode->lock);
}

void walfs_await_end(struct walfs_inode *inode, struct walfs_closing *closing)
{
	struct walfs_job *ready = NULL;
	if (closing->n == 0)
		return;
	pthread_mutex_lock(&inode->lock);
	DL_DELETE(inode->closings, closing);
	closing->n = 0;
	struct walfs_job **at = &inode->awaiting;
	while (*at) {
		struct walfs_job *job = *at;
		if (is_over_locked(inode, ((struct walfs_call *)job)->await_n)) {
			*at = job->next;
			job->next = ready;
			ready = job;
		} else {
			at = &job->next;
		}
	}
	pthread_mutex_unlock(&inode->lock);

	while (ready) {
		struct walfs_job *job = ready;
		ready = job->next;
		walfs_call_send_copy((struct walfs_call *)job);
	}
}
