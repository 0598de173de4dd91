/* SPDX-License-Identifier: MIT
 *
 * The hand-over costs more than most answers (ops.c has the figures), so what need not wait is answered where it came in.
 */
#include "call.h"

#include "walfs.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static_assert(offsetof(struct walfs_call, job) == 0, "a job of a call is cast to it");

struct walfs_call *walfs_call_copy(const struct walfs_call *call)
{
	size_t name_len = call->name ? strlen(call->name) + 1 : 0;
	size_t new_name_len = call->new_name ? strlen(call->new_name) + 1 : 0;
	size_t data_len = call->data ? call->size : 0;
	struct walfs_user *user = call->has_file ? walfs_file_of(&call->fi)->user : NULL;
	size_t held = user ? data_len : 0;
	if (held > 0 && walfs_user_take(user, WALFS_HELD, held) < 0)
		return NULL;
	struct walfs_call *copy = malloc(sizeof(*copy) + name_len + new_name_len + data_len);
	if (!copy) {
		if (held > 0)
			walfs_user_give(user, WALFS_HELD, held);
		return NULL;
	}
	*copy = *call;
	copy->held = held;
	char *at = (char *)(copy + 1);
	if (call->name)
		copy->name = memcpy(at, call->name, name_len);
	at += name_len;
	if (call->new_name)
		copy->new_name = memcpy(at, call->new_name, new_name_len);
	at += new_name_len;
	if (call->data)
		copy->data = memcpy(at, call->data, data_len);
	return copy;
}

int walfs_call_no_copy(const struct walfs_call *call)
{
	return call->data ? -EDQUOT : -ENOMEM;
}

pid_t walfs_call_pid(const struct walfs_call *call)
{
	return call->fs->sees_processes ? fuse_req_ctx(call->req)->pid : 0;
}

static void run_in_worker(struct walfs_job *job, void *scratch)
{
	struct walfs_call *call = (struct walfs_call *)job;
	call->wait = 0;
	call->scratch = scratch;
	/* What runs is bounded by the number of threads; and after the reply the user may be gone. */
	if (call->held > 0)
		walfs_user_give(walfs_file_of(&call->fi)->user, WALFS_HELD, call->held);
	call->held = 0;
	fuse_req_t req = call->req;
	enum walfs_sense sense = call->sense;
	int err = call->handler(call);
	if (err < 0)
		walfs_reply_err(req, err, sense);
	free(call);
}

void walfs_call_send_copy(struct walfs_call *copy)
{
	/* Of what is done to an open file: who opened it. A RELEASE has no user of its own. */
	copy->job.uid = copy->has_file ? walfs_file_of(&copy->fi)->user->uid : fuse_req_ctx(copy->req)->uid;
	copy->job.run = run_in_worker;
	walfs_workers_give(copy->fs->workers, &copy->job);
}

void walfs_call_send(struct walfs_call *call)
{
	struct walfs_call *copy = walfs_call_copy(call);
	if (!copy) {
		if (call->user)
			walfs_user_leave(call->user);
		walfs_reply_err(call->req, walfs_call_no_copy(call), call->sense);
		return;
	}
	walfs_call_send_copy(copy);
}

void walfs_call_run(struct walfs_call *call)
{
	call->wait = WAL_NOWAIT;
	call->scratch = call->fs->scratch;
	int err = call->handler(call);
	if (err == -EAGAIN)
		walfs_call_send(call);
	else if (err < 0)
		walfs_reply_err(call->req, err, call->sense);
}
