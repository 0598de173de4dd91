/* SPDX-License-Identifier: MIT
 *
 * A commit that need not wait is submitted in the loop, and answered from wherever the engine says that it is done; one
 * that would wait runs in a worker. Either way the end is the same: the record is settled, the turn ends, the reply goes
 * out. The file can be closed by then: nothing of it is touched after the reply.
 */
#include "appender.h"

#include "attr.h"
#include "await.h"
#include "creation.h"
#include "line.h"
#include "msg.h"
#include "notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <utlist.h>

int walfs_appender_open(struct walfs_call *call, struct walfs_inode *inode, const struct walfs_node *node,
			const struct walfs_file_ops *ops, struct walfs_appender **ret_file)
{
	struct walfs *fs = call->fs;
	struct walfs_appender *file = calloc(1, sizeof(*file));
	if (!file)
		return -ENOMEM;
	file->fs = fs;
	file->inode = inode;
	file->kind = node->kind;
	file->ino = walfs_node_ino(node);
	walfs_turns_init(&file->turns);
	walfs_inode_ref(&fs->inodes, inode);
	walfs_opener_init(&file->opener, walfs_call_pid(call));
	file->stamp = walfs_staged_stamp(&fs->staged);
	walfs_pending_init(&file->pending, call->user);
	walfs_file_add(call, &file->file, ops);
	pthread_mutex_lock(&inode->lock);
	DL_APPEND2(inode->appends, file, other_prev, other_next);
	pthread_mutex_unlock(&inode->lock);
	*ret_file = file;
	return 0;
}

/* ---- answers ----------------------------------------------------------------------------------------- */

bool walfs_appender_has_record(const struct walfs_appender *file)
{
	return file->pending.len > 0 || file->msg != WALFS_MSG_NONE;
}

void walfs_appender_free_header(struct walfs_appender *file)
{
	walfs_user_give(file->file.user, WALFS_HELD, file->header_held);
	file->header_held = 0;
	free(file->header);
	file->header = NULL;
	file->header_len = 0;
}

void walfs_appender_end_record(struct walfs_appender *file)
{
	walfs_appender_free_header(file);
	file->msg = WALFS_MSG_NONE;
	walfs_opener_forget_writes(&file->opener);
	file->packet_begun = file->packet = file->durable = false;
	if (file->counted)
		atomic_fetch_sub(&file->inode->writing, 1);
	if (file->kind == WALFS_CREATION)
		walfs_creation_unwrite(file);
	file->counted = false;
}

void walfs_appender_drop(struct walfs_appender *file)
{
	walfs_pending_drop(&file->pending, file->inode->stream);
	walfs_appender_end_record(file);
}

void walfs_appender_close(struct walfs_appender *file)
{
	struct walfs *fs = file->fs;
	walfs_appender_drop(file);
	if (file->kind == WALFS_CREATION)
		walfs_creation_end(file);
	pthread_mutex_lock(&file->inode->lock);
	DL_DELETE2(file->inode->appends, file, other_prev, other_next);
	pthread_mutex_unlock(&file->inode->lock);
	walfs_file_remove(&fs->files, &file->file);
	walfs_inode_unref(&fs->inodes, file->inode);
	walfs_turns_fini(&file->turns);
	free(file);
}

static void reply_attr(struct walfs *fs, struct walfs_inode *inode, enum walfs_kind kind,
		       const struct walfs_answer *answer)
{
	struct stat st;
	struct walfs_node node = { .kind = kind, .stream = inode->id };
	int err = walfs_attr_get(fs, inode, &node, WAL_NOWAIT, &st);
	if (err < 0)
		walfs_reply_err(answer->req, err, answer->sense);
	else
		(void)fuse_reply_attr(answer->req, &st, walfs_attr_timeout(inode, kind));
}

int walfs_appender_finish(struct walfs_appender *file, const struct walfs_answer *given, int err)
{
	struct walfs_answer answer = *given;
	struct walfs *fs = file->fs;
	struct walfs_inode *inode = file->inode; /* the kernel keeps it until the reply */
	enum walfs_kind kind = file->kind;

	if (answer.kind == WALFS_ANSWER_RELEASE) {
		walfs_await_end(inode, &file->closing);
		walfs_appender_close(file);
		(void)fuse_reply_err(answer.req, 0); /* nobody waits for it */
		return 0;
	}
	walfs_turn_end(&file->turns);
	if (err < 0 && answer.partial > 0)
		(void)fuse_reply_write(answer.req, answer.partial);
	else if (err < 0)
		walfs_reply_err(answer.req, err, answer.sense);
	else if (answer.kind == WALFS_ANSWER_WRITE)
		(void)fuse_reply_write(answer.req, answer.written);
	else if (answer.kind == WALFS_ANSWER_ATTR)
		reply_attr(fs, inode, kind, &answer);
	else
		(void)fuse_reply_err(answer.req, 0);
	return 0;
}

struct walfs_answer walfs_answer_of(const struct walfs_call *call, enum walfs_answer_kind kind)
{
	return (struct walfs_answer){ .req = call->req, .kind = kind, .sense = call->sense, .written = call->size };
}

/* ---- commit ------------------------------------------------------------------------------------------ */

/* A full disk or a stream that was removed is the writer's to know; what stops a stream is the administrator's too. */
void walfs_appender_log_failure(const struct walfs_appender *file, int result)
{
	if (result == -ESTALE && file->expect && file->answer.kind != WALFS_ANSWER_RELEASE)
		return; /* he lost a race for the number, which is what it is for, and is told */
	bool ordinary = result == -EIDRM || result == -ENOSPC || result == -EDQUOT || result == -ESTALE;
	char key[WAL_KEY_MAX + 1], name[WAL_NAME_MAX + 1];
	int len = wal_stream_key(file->inode->stream, key);
	if (len < 0 || wal_key_to_name((struct wal_span){ key, (size_t)len }, name) < 0)
		return;
	walfs_log_client(file->fs->log, ordinary ? WALFS_LOG_INFO : WALFS_LOG_ERROR,
			 "record not committed stream=%s bytes=%llu reason=\"%s\"", name,
			 (unsigned long long)file->pending.len, wal_strerror(result));
}

static void settle(struct walfs_appender *file, int result)
{
	if (file->lines) {
		walfs_line_settle(file, result);
		return;
	}
	if (result < 0)
		walfs_appender_log_failure(file, result);
	walfs_pending_done(&file->pending, file->inode->stream, result);
	walfs_appender_end_record(file);
	if (result >= 0)
		walfs_notify_committed(file->fs, file->inode, file->kind);
}

static void commit_done(struct wal_append *req, int result)
{
	struct walfs_appender *file = req->arg;
	struct walfs *fs = file->fs;
	settle(file, result);
	(void)walfs_appender_finish(file, &file->answer, result);
	walfs_files_end(&fs->files);
}

void walfs_appender_request(struct walfs_appender *file, uint32_t flags)
{
	file->req = (struct wal_append){ .flags = flags, .expect = file->expect, .done = commit_done, .arg = file };
}

static void prepare(struct walfs_appender *file, uint32_t flags)
{
	struct wal_span header = { file->header, file->header_len };
	walfs_appender_request(file, flags);
	if (file->pending.len > 0) {
		walfs_pending_request(&file->pending, header, &file->entry, &file->req);
		return;
	}
	/* A message without an empty line is content, one without anything behind it is a header. */
	file->entry = (struct wal_entry){ 0 };
	if (file->msg == WALFS_MSG_HEAD)
		file->entry.content = header;
	else
		file->entry.header = header;
	file->req.entries = &file->entry;
	file->req.n = 1;
	file->req.flags |= WAL_APPEND_RESERVED;
	file->req.reserved_bytes = file->pending.reserved_bytes;
}

int walfs_appender_submit(struct walfs_call *call, struct walfs_appender *file, const struct walfs_answer *answer)
{
	struct wal_stream *stream = file->inode->stream;
	struct walfs *fs = file->fs;
	int result;

	file->answer = *answer;
	if (!(call->wait & WAL_NOWAIT)) {
		file->req.flags &= ~WAL_APPEND_NOWAIT;
		result = wal_append(stream, &file->req);
	} else {
		walfs_files_begin(&fs->files);
		file->req.flags |= WAL_APPEND_NOWAIT;
		result = wal_append_submit(stream, &file->req);
		if (result == 0)
			return 0; /* commit_done goes on, or is through with it already */
		walfs_files_end(&fs->files);
		if (result == -EAGAIN)
			return result;
	}
	settle(file, result < 0 ? result : 0);
	return walfs_appender_finish(file, &file->answer, result < 0 ? result : 0);
}

int walfs_appender_commit(struct walfs_call *call, struct walfs_appender *file, enum walfs_answer_kind kind,
			  uint32_t flags)
{
	struct walfs_answer answer = walfs_answer_of(call, kind);
	prepare(file, flags | (file->durable ? WAL_APPEND_DURABLE : 0));
	return walfs_appender_submit(call, file, &answer);
}

int walfs_appender_commit_now(struct walfs_appender *file, uint32_t flags)
{
	prepare(file, flags);
	int err = wal_append(file->inode->stream, &file->req);
	settle(file, err);
	return err;
}

/* ---- what is written --------------------------------------------------------------------------------- */

void walfs_appender_note(struct walfs_appender *file, pid_t pid, uint64_t owner)
{
	walfs_opener_note_write(&file->opener, pid, owner);
	if (!file->counted)
		atomic_fetch_add(&file->inode->writing, 1);
	file->counted = true;
}

void walfs_appender_note_writer(struct walfs_call *call, struct walfs_appender *file)
{
	walfs_appender_note(file, walfs_call_pid(call), call->fi.lock_owner);
	struct walfs_staged_key key = { .stream = file->inode->id,
					.uid = fuse_req_ctx(call->req)->uid,
					.seq = file->expect };
	if (!file->header_asked && (file->kind == WALFS_APPEND || file->kind == WALFS_CREATION))
		file->header_len = walfs_staged_take(&file->fs->staged, key, file->stamp, &file->header);
	file->header_asked = true;
}

int walfs_appender_place(struct walfs_call *call, struct walfs_appender *file)
{
	if (call->fi.flags & O_APPEND || call->off == file->end)
		return 0;
	if (call->off < file->end)
		return -ESPIPE;
	walfs_appender_note_writer(call, file);
	return walfs_appender_add(call, file, NULL, call->off - file->end);
}

int walfs_appender_add(struct walfs_call *call, struct walfs_appender *file, const void *data, uint64_t n)
{
	struct wal_span header = { file->header, file->header_len };
	int err = 0;
	if (file->kind == WALFS_APPEND_MSG)
		err = walfs_msg_add(call, file, data, n);
	else if (file->header_held < file->header_len) /* as long as it was staged, staged.c counted it */
		err = walfs_user_take(file->file.user, WALFS_HELD, file->header_len - file->header_held);
	if (err == 0 && file->kind != WALFS_APPEND_MSG) {
		file->header_held = file->header_len;
		err = walfs_pending_add(&file->pending, file->inode->stream, header, data, n, call->wait);
	}
	if (err == 0)
		file->end += n;
	return err;
}

int walfs_appender_spoil(struct walfs_call *call, struct walfs_appender *file, const struct walfs_answer *answer,
			 int err)
{
	if (file->pending.draft && (call->wait & WAL_NOWAIT))
		return -EAGAIN;
	bool wrote = file->opener.wrote;
	walfs_appender_drop(file);
	file->opener.wrote = wrote; /* it shall hear of it when it closes */
	file->spoiled = err;
	return walfs_appender_finish(file, answer, err);
}

/* Has the process another descriptor of this open file? Of its other opens of the same append (threads of a server, a
 * shell's /dev/stdout) descriptors look alike; but each has its position, and we know how many there are at ours. */
int walfs_appender_held(const struct walfs_appender *file, pid_t pid, unsigned look_max)
{
	uint64_t pos = atomic_load(&file->pos);
	struct walfs_sought sought = { .ino = file->ino, .look_max = look_max };
	struct walfs_appender *other;
	pthread_mutex_lock(&file->inode->lock);
	DL_FOREACH2(file->inode->appends, other, other_next)
	{
		if (other == file || other->ino != file->ino || other->opener.tgid != file->opener.tgid)
			continue;
		sought.pos = &pos;
		sought.others += atomic_load(&other->pos) == pos;
	}
	pthread_mutex_unlock(&file->inode->lock);
	return walfs_process_holds(pid, &sought);
}
