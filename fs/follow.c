/* SPDX-License-Identifier: MIT
 *
 * Reads of an open file queue up, and whoever makes the file busy answers them in order until none is left, or the first has
 * to wait: then all wait (but those that must not), the file stands in its stream's hub, and nobody is busy with it. A
 * record wakes the file, in a worker, which makes it busy again. A wake that finds the file busy leaves a mark, so that
 * who is about to let reads wait looks once more.
 *
 * The kernel sends a RELEASE when all reads are answered, which can be before the one who answered the last has let go of the
 * file: who lets go of a released file frees it.
 *
 * A read(2) of more than 1 MiB comes as several READs, each sent when the one before came back full. As the file has no
 * position (FOPEN_STREAM, which also keeps the kernel from letting one reader wait for the other), their offsets tell
 * them from the first: they end with what there is.
 *
 * READs without a lock owner fill the page cache, for sendfile, splice and mmap, which would wait there until a whole
 * page had come. EINVAL makes sendfile(2)'s users fall back to read(2).
 */
#include "follow.h"

#include "attr.h"
#include "await.h"
#include "hub.h"
#include "reader.h"
#include "walfs.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <utlist.h>

struct follow_read {
	struct follow_read *prev, *next;
	fuse_req_t req;
	size_t size;
	bool single;   /* O_DIRECT: one record */
	bool goes_on;  /* a later piece of a larger read(2) */
	bool nonblock; /* gets -EAGAIN rather than wait */
};

struct follow_file {
	struct walfs_file file;
	struct walfs_job job; /* of whom the file keeps busy, to go on in a worker */
	struct walfs_waiter waiter;
	struct walfs *fs;
	struct walfs_inode *inode;  /* immutable; referenced */
	struct walfs_hub *hub;      /* immutable; the inode's */
	uint32_t uid;               /* immutable: whom it counts for */
	struct walfs_reader reader; /* of whom the file keeps busy */
	pthread_mutex_t lock;
	struct follow_read *reads;  /* guarded by lock; owned: in order, but the one that is being answered */
	struct fuse_pollhandle *ph; /* guarded by lock; owned: who polls is to be told */
	struct walfs_job *polls;    /* guarded by lock; owned: calls that came while it was busy */
	bool busy;                  /* guarded by lock */
	bool woken;                 /* guarded by lock: while busy, there may be a new record */
	bool released;              /* guarded by lock: who is busy frees it */
	bool ended;                 /* guarded by lock: nobody may wait any more */
};

static struct follow_file *of(struct walfs_file *file)
{
	return (struct follow_file *)file;
}

static struct follow_file *of_waiter(struct walfs_waiter *waiter)
{
	return (struct follow_file *)((char *)waiter - offsetof(struct follow_file, waiter));
}

static void free_file(struct follow_file *file)
{
	struct walfs *fs = file->fs;
	assert(!file->reads);
	walfs_file_remove(&fs->files, &file->file);
	walfs_inode_unref(&fs->inodes, file->inode);
	if (file->ph)
		fuse_pollhandle_destroy(file->ph);
	pthread_mutex_destroy(&file->lock);
	free(file);
}

/* ---- answers ----------------------------------------------------------------------------------------- */

/* Answers with n bytes of buf, or an error, and frees the read. The file may be gone afterwards, unless the caller keeps
 * it busy. */
static void answer(struct walfs *fs, struct walfs_user *user, struct follow_read *read, const void *buf, ssize_t n)
{
	fuse_req_t req = read->req;
	free(read);
	walfs_user_give(user, WALFS_HELD, WALFS_FOLLOW_READ_BYTES);
	atomic_fetch_sub(&fs->meter.parked, 1);
	if (n == -EAGAIN)
		(void)fuse_reply_err(req, EAGAIN); /* here it is one that the client asked for */
	else if (n < 0)
		walfs_reply_err(req, (int)n, WALFS_READING);
	else
		(void)fuse_reply_buf(req, buf, (size_t)n);
}

/* What a read that must not wait gets where there is nothing. */
static ssize_t nothing(const struct follow_read *read)
{
	return read->goes_on ? 0 : -EAGAIN;
}

static void tell_poll(struct fuse_pollhandle *ph)
{
	if (!ph)
		return;
	(void)fuse_lowlevel_notify_poll(ph); /* who does not wait any more needs no word */
	fuse_pollhandle_destroy(ph);
}

/* Takes the mark away. A wake comes once: who polls is to be told now, by the caller. */
static struct fuse_pollhandle *take_woken_locked(struct follow_file *file)
{
	struct fuse_pollhandle *ph = file->woken ? file->ph : NULL;
	if (ph)
		file->ph = NULL;
	file->woken = false;
	return ph;
}

/* Lets go of the file, and with this of the right to touch it. Releases the lock. */
static void let_go_locked(struct follow_file *file)
{
	struct walfs_job *polls = file->polls;
	bool released = file->released;
	file->polls = NULL;
	file->busy = false;
	pthread_mutex_unlock(&file->lock);
	while (polls) {
		struct walfs_job *poll = polls;
		polls = poll->next;
		walfs_call_send_copy((struct walfs_call *)poll);
	}
	if (released)
		free_file(file);
}

/* The next read to answer. NULL: none, and the file is let go. */
static struct follow_read *next_read(struct follow_file *file)
{
	pthread_mutex_lock(&file->lock);
	struct follow_read *read = file->reads;
	struct fuse_pollhandle *ph = take_woken_locked(file);
	if (read) {
		DL_DELETE(file->reads, read);
		pthread_mutex_unlock(&file->lock);
	} else {
		let_go_locked(file);
	}
	tell_poll(ph);
	return read;
}

static void put_back(struct follow_file *file, struct follow_read *read)
{
	pthread_mutex_lock(&file->lock);
	DL_PREPEND(file->reads, read);
	pthread_mutex_unlock(&file->lock);
}

/* ---- waiting ----------------------------------------------------------------------------------------- */

static void on_interrupt(fuse_req_t req, void *data)
{
	struct follow_file *file = data;
	struct follow_read *read;
	struct walfs_user *user = file->file.user;
	struct walfs *fs = file->fs;
	pthread_mutex_lock(&file->lock);
	DL_FOREACH(file->reads, read)
		if (read->req == req)
			break;
	if (read)
		DL_DELETE(file->reads, read);
	pthread_mutex_unlock(&file->lock);
	/* One that is being answered is answered, or finds out when it is to wait. */
	if (read)
		answer(fs, user, read, NULL, -EINTR);
}

/* Takes those out of the queue that must not wait. */
static struct follow_read *take_nonblocking_locked(struct follow_file *file)
{
	struct follow_read *taken = NULL, *read, *next;
	DL_FOREACH_SAFE(file->reads, read, next)
	{
		if (!read->nonblock && !read->goes_on)
			continue;
		DL_DELETE(file->reads, read);
		DL_APPEND(taken, read);
	}
	return taken;
}

/* There is nothing for this read. True: it waits, and the file is let go. False: it has been answered, or goes on. */
static bool let_wait(struct follow_file *file, struct follow_read *read)
{
	struct walfs *fs = file->fs;
	struct walfs_user *user = file->file.user;
	int err = 0;

	if (read->nonblock || read->goes_on) {
		answer(fs, user, read, NULL, nothing(read));
		return false;
	}
	/* Not yet in the queue, so that the call is harmless where it comes at once. */
	fuse_req_interrupt_func(read->req, on_interrupt, file);
	walfs_hub_wait(file->hub, &file->waiter, file->reader.seq);

	pthread_mutex_lock(&file->lock);
	if (file->ended)
		err = -ENOTCONN;
	else if (fuse_req_interrupted(read->req))
		err = -EINTR;
	if (err == 0)
		DL_PREPEND(file->reads, read);
	if (err < 0 || file->woken) {
		pthread_mutex_unlock(&file->lock);
		if (err == -ENOTCONN)
			walfs_hub_leave(file->hub, &file->waiter); /* follow_stop may have been here before us */
		if (err < 0)
			answer(fs, user, read, NULL, err);
		return false;
	}
	struct follow_read *others = take_nonblocking_locked(file);
	let_go_locked(file);
	while (others) {
		struct follow_read *other = others;
		DL_DELETE(others, other);
		answer(fs, user, other, NULL, nothing(other));
	}
	return true;
}

/* ---- reading ----------------------------------------------------------------------------------------- */

static void serve_on(struct walfs_job *job, void *scratch);

/* Answers reads. The caller keeps the file busy, and no longer afterwards. */
static void serve(struct follow_file *file, uint32_t wait, void *scratch)
{
	struct follow_read *read;
	while ((read = next_read(file))) {
		size_t size = read->size < WALFS_SCRATCH_BYTES ? read->size : WALFS_SCRATCH_BYTES;
		file->reader.single = read->single;
		ssize_t n = read->goes_on ? walfs_reader_read_on(&file->reader, scratch, size, wait)
					  : walfs_reader_read(&file->reader, scratch, size, wait);
		if (n == -EAGAIN) {
			put_back(file, read);
			file->job.run = serve_on;
			file->job.uid = file->file.user->uid;
			walfs_workers_give(file->fs->workers, &file->job);
			return;
		}
		if (n != -ENOENT)
			answer(file->fs, file->file.user, read, scratch, n);
		else if (let_wait(file, read))
			return;
	}
}

static void serve_on(struct walfs_job *job, void *scratch)
{
	serve((struct follow_file *)((char *)job - offsetof(struct follow_file, job)), 0, scratch);
}

static int follow_read(struct walfs_call *call, struct walfs_file *base)
{
	struct follow_file *file = of(base);
	if (call->fi.lock_owner == 0)
		return -EINVAL;
	int err = walfs_user_take(base->user, WALFS_HELD, WALFS_FOLLOW_READ_BYTES);
	if (err < 0)
		return err;
	struct follow_read *read = malloc(sizeof(*read));
	if (!read) {
		walfs_user_give(base->user, WALFS_HELD, WALFS_FOLLOW_READ_BYTES);
		return -ENOMEM;
	}
	atomic_fetch_add(&call->fs->meter.parked, 1);
	*read = (struct follow_read){ .req = call->req,
				      .size = call->size,
				      .single = call->fi.flags & O_DIRECT,
				      .goes_on = call->off > 0,
				      .nonblock = call->fi.flags & O_NONBLOCK };
	pthread_mutex_lock(&file->lock);
	DL_APPEND(file->reads, read);
	bool mine = !file->busy;
	file->busy = true;
	pthread_mutex_unlock(&file->lock);
	if (mine)
		serve(file, call->wait, call->scratch);
	return 0;
}

/* ---- waking ------------------------------------------------------------------------------------------ */

static bool claim(struct walfs_waiter *waiter)
{
	struct follow_file *file = of_waiter(waiter);
	pthread_mutex_lock(&file->lock);
	bool mine = !file->busy;
	if (mine)
		file->busy = true;
	else
		file->woken = true;
	pthread_mutex_unlock(&file->lock);
	return mine;
}

static void wake(struct walfs_waiter *waiter, void *scratch)
{
	struct follow_file *file = of_waiter(waiter);
	pthread_mutex_lock(&file->lock);
	struct fuse_pollhandle *ph = file->ph;
	file->ph = NULL;
	pthread_mutex_unlock(&file->lock);
	tell_poll(ph);
	serve(file, 0, scratch);
}

/* True: the file is the caller's now, or with *ret_err the call failed. False: the call runs again when it is let go. */
static bool take_for_poll(struct walfs_call *call, struct follow_file *file, int *ret_err)
{
	struct walfs_call *copy = NULL;
	pthread_mutex_lock(&file->lock);
	if (file->busy) {
		copy = walfs_call_copy(call);
		*ret_err = copy ? 0 : -ENOMEM;
		if (copy) {
			copy->job.next = file->polls;
			file->polls = &copy->job;
		}
	} else {
		*ret_err = 0;
		file->busy = true;
		file->woken = false;
	}
	pthread_mutex_unlock(&file->lock);
	return !copy;
}

/* The file waits for what comes next, and who polls is told then. False: something has come already. */
static bool let_poll_wait(struct walfs_call *call, struct follow_file *file)
{
	walfs_hub_wait(file->hub, &file->waiter, file->reader.seq);
	pthread_mutex_lock(&file->lock);
	bool ended = file->ended, waits = !file->woken;
	struct fuse_pollhandle *ph = take_woken_locked(file);
	if (waits && call->ph) {
		if (file->ph)
			fuse_pollhandle_destroy(file->ph); /* of the same open file: one word is for all */
		file->ph = call->ph;
		call->ph = NULL;
	}
	pthread_mutex_unlock(&file->lock);
	if (ended)
		walfs_hub_leave(file->hub, &file->waiter); /* follow_stop may have been here before us */
	tell_poll(ph);
	return waits || ended;
}

static int follow_poll(struct walfs_call *call, struct walfs_file *base)
{
	struct follow_file *file = of(base);
	unsigned events = 0;
	int err, ready;

	if (!take_for_poll(call, file, &err))
		return 0;
	if (err < 0)
		return err;
	do
		ready = walfs_reader_ready(&file->reader, call->wait);
	while (ready == 0 && !let_poll_wait(call, file));
	if (ready > 0)
		events = POLLIN | POLLRDNORM;
	serve(file, call->wait, call->scratch); /* reads that have come meanwhile */
	if (ready == -EAGAIN)
		return -EAGAIN;
	if (call->ph)
		fuse_pollhandle_destroy(call->ph);
	(void)fuse_reply_poll(call->req, events);
	return 0;
}

/* ---- opening and closing ----------------------------------------------------------------------------- */

static int follow_release(struct walfs_call *call, struct walfs_file *base)
{
	struct follow_file *file = of(base);
	walfs_hub_leave(file->hub, &file->waiter);
	pthread_mutex_lock(&file->lock);
	bool busy = file->busy;
	file->released = true;
	pthread_mutex_unlock(&file->lock);
	if (!busy)
		free_file(file);
	(void)fuse_reply_err(call->req, 0);
	return 0;
}

/* The mount ends: nobody waits any more. */
static void follow_stop(struct walfs_file *base)
{
	struct follow_file *file = of(base);
	pthread_mutex_lock(&file->lock);
	struct follow_read *reads = file->busy ? NULL : file->reads; /* who is busy answers them */
	if (reads)
		file->reads = NULL;
	file->ended = true;
	pthread_mutex_unlock(&file->lock);
	walfs_hub_leave(file->hub, &file->waiter);
	while (reads) {
		struct follow_read *read = reads;
		DL_DELETE(reads, read);
		answer(file->fs, file->file.user, read, NULL, -ENOTCONN);
	}
}

static void follow_drop(struct walfs *fs, struct walfs_file *base, bool all_closed)
{
	(void)fs;
	(void)all_closed;
	free_file(of(base));
}

static const struct walfs_file_ops follow_ops = {
	.read = follow_read,
	.poll = follow_poll,
	.release = follow_release,
	.stop = follow_stop,
	.drop = follow_drop,
};

/* libfuse has no word for FOPEN_STREAM; the answer is the kernel's own struct. */
static int reply_open(struct walfs_call *call, struct follow_file *file)
{
	struct fuse_open_out out = {
		.fh = (uintptr_t)file,
		.open_flags = FOPEN_DIRECT_IO | FOPEN_NONSEEKABLE | FOPEN_STREAM | FOPEN_NOFLUSH,
	};
	return fuse_reply_buf(call->req, (const char *)&out, sizeof(out));
}

/* Where reading begins. -ENOENT, -EIDRM, -EAGAIN. */
static int find_start(struct walfs_call *call, struct walfs_inode *inode, uint64_t *ret_seq)
{
	struct wal_stat stat;
	if (call->node.kind == WALFS_FROM) {
		*ret_seq = call->node.seq;
		return 0;
	}
	int err = walfs_attr_stat_full(inode, call->wait, &stat);
	if (err < 0)
		return err;
	*ret_seq = call->node.kind == WALFS_NEW_FOLLOW ? stat.next : stat.first;
	return 0;
}

int walfs_follow_open(struct walfs_call *call)
{
	struct walfs *fs = call->fs;
	struct walfs_inode *inode = walfs_inode_find(&fs->inodes, call->node.stream);
	uint64_t seq;
	if (!inode)
		return -ESTALE;
	if ((call->fi.flags & O_ACCMODE) != O_RDONLY || (call->fi.flags & O_TRUNC))
		return -EPERM;
	int err = find_start(call, inode, &seq);
	if (err < 0)
		return err;
	if (call->node.kind == WALFS_NEW_FOLLOW && walfs_await_join(call, inode))
		return 0;
	struct follow_file *file = calloc(1, sizeof(*file));
	if (file)
		file->hub = walfs_hub_of(fs, inode);
	if (!file || !file->hub) {
		free(file);
		return -ENOMEM;
	}
	file->waiter = (struct walfs_waiter){ .claim = claim, .wake = wake };
	file->fs = fs;
	file->inode = inode;
	file->reader = (struct walfs_reader){ .stream = inode->stream, .seq = seq };
	pthread_mutex_init(&file->lock, NULL);
	walfs_inode_ref(&fs->inodes, inode);
	walfs_file_add(call, &file->file, &follow_ops);
	if (reply_open(call, file) < 0)
		free_file(file); /* interrupted: no RELEASE will come */
	return 0;
}
