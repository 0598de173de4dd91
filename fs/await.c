/* SPDX-License-Identifier: MIT
 *
 * The kernel queues the RELEASE before the process that closed returns to its program, and requests are read in order, as
 * long as there are no more RELEASEs than may be under way (ops.c asks for as many as there can be): what
 * that process or one that waited for it asks comes after. So it is enough to count. A call waits until as many commits
 * have ended as had begun when it came, and then runs again; it never waits twice.
 *
 * Without memory for its copy a call does not wait.
 */
#include "await.h"

bool walfs_await_join(struct walfs_call *call, struct walfs_inode *inode)
{
	if (call->awaited || atomic_load(&inode->n_begun) == atomic_load(&inode->n_ended))
		return false;
	call->awaited = true;
	struct walfs_call *copy = walfs_call_copy(call);
	if (!copy)
		return false;

	pthread_mutex_lock(&inode->lock);
	copy->await_n = atomic_load(&inode->n_begun);
	bool waits = copy->await_n != atomic_load(&inode->n_ended);
	if (waits) {
		copy->job.next = inode->awaiting;
		inode->awaiting = &copy->job;
	}
	pthread_mutex_unlock(&inode->lock);
	if (!waits)
		walfs_call_send_copy(copy);
	return true;
}

void walfs_await_begin(struct walfs_inode *inode)
{
	atomic_fetch_add(&inode->n_begun, 1);
}

void walfs_await_end(struct walfs_inode *inode)
{
	struct walfs_job *ready = NULL;
	pthread_mutex_lock(&inode->lock);
	uint64_t n_ended = atomic_fetch_add(&inode->n_ended, 1) + 1;
	struct walfs_job **at = &inode->awaiting;
	while (*at) {
		struct walfs_job *job = *at;
		if (((struct walfs_call *)job)->await_n <= n_ended) {
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
