/* SPDX-License-Identifier: MIT
 *
 * When does a record begin and end? An open of `append` collects what is written to it (pending.c), by whatever process
 * has a descriptor, and commits it
 *
 *   in a FLUSH, which is a close(2) that waits for our answer, when
 *     - bytes are pending, and it is the process that opened the file which closes (opener.c tells threads and processes
 *       apart), and
 *     - it does not end by a signal: what it has written itself is dropped then, for nobody finished it, and
 *     - it keeps no other descriptor of the file: a shell moves descriptors about, and each move is a close, and
 *     - it has itself written to the record; or else those who did have gone, and no child of it has a descriptor: so
 *       it is when dash, which opens before it forks, closes behind the program that it ran;
 *   in the RELEASE, after the last close of all, what is pending otherwise: of processes that outlive the opener;
 *   in an FSYNC, durably, and what is written then begins another record;
 *   in the WRITE itself with O_DIRECT (a packet) and with O_SYNC or O_DSYNC (a durable packet).
 *
 * append.line commits in each WRITE the lines that are complete by it (line.c). What is pending is the unfinished line, which
 * an end of the file finishes by the same rules, but no FSYNC: it would tear a line wherever a logger's buffer ends.
 *
 * A flush with nothing pending does nothing: every shell redirection sends one before the first write.
 *
 * Where /proc does not tell about the process (another pid namespace, no right), a flush before the data says that a
 * shell is at work, whose descriptors cannot be seen: the record then waits for the RELEASE. Else the close commits.
 *
 * A write that fails for want of space or over a limit spoils its record: the bytes before it are dropped, and every write
 * up to the end of the record, and the close, fail alike. Half a record would be worse than none.
 *
 * Requests on one open file take turns: a request that comes while another waits for the disk or for a commit queues
 * up and runs in a worker. How the record is collected and committed is appender.c's.
 */
#include "append.h"

#include "appender.h"
#include "await.h"
#include "creation.h"
#include "line.h"

#include <errno.h>
#include <fcntl.h>

/* So many descriptors of a process are looked at in the loop; of one that has more, in a worker, and of one that has very
 * many it is not to be seen which it holds: a close shall not take a worker for long. */
#define LOOK_MAX_LOOP 64
#define LOOK_MAX 1024

static struct walfs_appender *of(struct walfs_file *file)
{
	return (struct walfs_appender *)file;
}

/* ---- write ------------------------------------------------------------------------------------------- */

/* Takes the bytes of a write in, and zeros for a hole before it. */
static int take_bytes(struct walfs_call *call, struct walfs_appender *file)
{
	int err = walfs_appender_place(call, file);
	if (err == 0)
		err = walfs_appender_add(call, file, call->data, call->size);
	if (err == 0)
		atomic_store(&file->pos, call->off + call->size);
	return err;
}

/* O_DIRECT or O_SYNC set on a descriptor that wrote without: what came before is a record of its own. */
static int commit_before_packet(struct walfs_call *call, struct walfs_appender *file)
{
	if (call->wait & WAL_NOWAIT)
		return -EAGAIN;
	return walfs_appender_commit_now(file, 0);
}

static int step_packet(struct walfs_call *call, struct walfs_appender *file)
{
	struct walfs_answer answer = walfs_answer_of(call, WALFS_ANSWER_WRITE);
	int err = 0;
	if (!file->packet) {
		if (call->size > WALFS_PACKET_MAX)
			return walfs_appender_finish(file, &answer, -EMSGSIZE);
		if (walfs_appender_has_record(file) && !file->packet_begun)
			err = commit_before_packet(call, file);
		if (err == 0) {
			file->packet_begun = true;
			walfs_appender_note_writer(call, file);
			err = take_bytes(call, file);
		}
		if (err == -EAGAIN)
			return err;
		if (err < 0) {
			walfs_appender_drop(file); /* nothing of this one; the next may fit */
			return walfs_appender_finish(file, &answer, err);
		}
		file->packet = true;
	}
	return walfs_appender_commit(call, file, WALFS_ANSWER_WRITE, call->fi.flags & O_DSYNC ? WAL_APPEND_DURABLE : 0);
}

/* A write that could not even queue is lost, and with it the record of which it was to be a part. */
static void look_for_losses(struct walfs_appender *file)
{
	if (atomic_exchange(&file->lost, false) && !file->spoiled)
		file->spoiled = -EDQUOT;
}

static int step_write(struct walfs_call *call, void *arg)
{
	struct walfs_appender *file = arg;
	struct walfs_answer answer = walfs_answer_of(call, WALFS_ANSWER_WRITE);
	look_for_losses(file);
	if (file->kind == WALFS_APPEND_LINE)
		return walfs_line_write(call, file);
	if (file->spoiled)
		return walfs_appender_finish(file, &answer, file->spoiled);
	int err = file->kind == WALFS_CREATION ? walfs_creation_write(call, file) : 0;
	if (err < 0)
		return err == -EAGAIN ? err : walfs_appender_spoil(call, file, &answer, err);
	if (call->fi.flags & (O_DIRECT | O_DSYNC)) {
		call->sense = WALFS_PACKET;
		return step_packet(call, file);
	}
	walfs_appender_note_writer(call, file);
	err = take_bytes(call, file);
	if (err == -EAGAIN)
		return err;
	if (err < 0 && err != -ESPIPE)
		return walfs_appender_spoil(call, file, &answer, err);
	return walfs_appender_finish(file, &answer, err);
}

/* An open file is a file of length `end`: it can be made longer, which writes zeros, and not shorter. Empty means
 * nothing, as with O_TRUNC. */
static int step_truncate(struct walfs_call *call, void *arg)
{
	struct walfs_appender *file = arg;
	struct walfs_answer answer = walfs_answer_of(call, WALFS_ANSWER_ATTR);
	look_for_losses(file);
	if (call->size == 0 || call->size == file->end)
		return walfs_appender_finish(file, &answer, 0);
	if (file->spoiled)
		return walfs_appender_finish(file, &answer, file->spoiled);
	if (call->size < file->end)
		return walfs_appender_finish(file, &answer, -ESPIPE);
	int err = file->kind == WALFS_CREATION ? walfs_creation_write(call, file) : 0;
	if (err == 0) {
		walfs_appender_note_writer(call, file);
		err = walfs_appender_add(call, file, NULL, call->size - file->end);
	}
	if (err == -EAGAIN)
		return err;
	return err < 0 ? walfs_appender_spoil(call, file, &answer, err) : walfs_appender_finish(file, &answer, 0);
}

/* ---- close and sync ---------------------------------------------------------------------------------- */

/* What a close by the opener means for the record: 1 commit, 0 not yet, -ECANCELED drop, -EAGAIN ask in a worker. */
static int judge_close(struct walfs_call *call, const struct walfs_appender *file, pid_t pid)
{
	bool loop = call->wait & WAL_NOWAIT;
	enum walfs_fate fate = walfs_process_fate(pid);
	if (fate == WALFS_FATE_KILLED)
		return file->opener.wrote ? -ECANCELED : 0;
	if (fate == WALFS_FATE_RUNNING) {
		int held = walfs_appender_held(file, pid, loop ? LOOK_MAX_LOOP : LOOK_MAX);
		if (held == -EAGAIN && loop)
			return held;
		if (held < 0)
			fate = WALFS_FATE_UNKNOWN;
		else if (held)
			return 0;
	}
	if (fate == WALFS_FATE_UNKNOWN)
		return file->opener.wrote && !file->flushed_first;
	if (file->opener.wrote)
		return 1;
	return loop ? -EAGAIN : !walfs_opener_others_hold(&file->opener, pid, file->ino);
}

static int step_flush(struct walfs_call *call, void *arg)
{
	struct walfs_appender *file = arg;
	struct walfs_answer answer = walfs_answer_of(call, WALFS_ANSWER_DONE);
	pid_t pid = walfs_call_pid(call);
	look_for_losses(file);

	if (!walfs_appender_has_record(file) && !file->spoiled) {
		file->flushed_first = true;
		return walfs_appender_finish(file, &answer, 0);
	}
	if (!walfs_opener_closes(&file->opener, pid, call->fi.lock_owner))
		return walfs_appender_finish(file, &answer, 0);
	int verdict = judge_close(call, file, pid);
	if (verdict == 0)
		return walfs_appender_finish(file, &answer, 0);
	if (verdict == -EAGAIN)
		return verdict;
	if (verdict == -ECANCELED || file->spoiled) {
		if (file->pending.draft && (call->wait & WAL_NOWAIT))
			return -EAGAIN;
		int err = verdict == -ECANCELED ? 0 : file->spoiled;
		walfs_appender_drop(file);
		file->spoiled = 0;
		return walfs_appender_finish(file, &answer, err);
	}
	return walfs_appender_commit(call, file, WALFS_ANSWER_DONE, 0);
}

static int step_fsync(struct walfs_call *call, void *arg)
{
	struct walfs_appender *file = arg;
	struct walfs_answer answer = walfs_answer_of(call, WALFS_ANSWER_DONE);
	look_for_losses(file);
	bool unfinished = file->kind == WALFS_APPEND_LINE; /* what is pending there is no record yet */
	if (file->spoiled && !unfinished) {
		int err = file->spoiled;
		walfs_appender_drop(file);
		file->spoiled = 0;
		return walfs_appender_finish(file, &answer, err);
	}
	if (walfs_appender_has_record(file) && !unfinished)
		return walfs_appender_commit(call, file, WALFS_ANSWER_DONE, WAL_APPEND_DURABLE);
	if (call->wait & WAL_NOWAIT)
		return -EAGAIN;
	return walfs_appender_finish(file, &answer, wal_stream_sync(file->inode->stream));
}

static int step_release(struct walfs_call *call, void *arg)
{
	struct walfs_appender *file = arg;
	struct walfs_answer answer = walfs_answer_of(call, WALFS_ANSWER_RELEASE);
	look_for_losses(file);
	if (file->spoiled && file->pending.draft && (call->wait & WAL_NOWAIT))
		return -EAGAIN;
	if (walfs_appender_has_record(file) && !file->spoiled) {
		walfs_await_begin(file->inode, &file->closing);
		return walfs_appender_commit(call, file, WALFS_ANSWER_RELEASE, 0);
	}
	return walfs_appender_finish(file, &answer, 0);
}

/* ---- the handlers ------------------------------------------------------------------------------------ */

static int append_read(struct walfs_call *call, struct walfs_file *file)
{
	(void)file;
	(void)fuse_reply_buf(call->req, NULL, 0); /* `all` will be the file to read */
	return 0;
}

static int append_write(struct walfs_call *call, struct walfs_file *base)
{
	struct walfs_appender *file = of(base);
	bool is_part = file->kind != WALFS_APPEND_LINE && !(call->fi.flags & (O_DIRECT | O_DSYNC));
	int err = walfs_turn_take(&file->turns, call, step_write, file);
	if (err < 0 && is_part)
		atomic_store(&file->lost, true);
	return err;
}

static int append_flush(struct walfs_call *call, struct walfs_file *file)
{
	return walfs_turn_take(&of(file)->turns, call, step_flush, of(file));
}

static int append_fsync(struct walfs_call *call, struct walfs_file *file)
{
	return walfs_turn_take(&of(file)->turns, call, step_fsync, of(file));
}

static int append_truncate(struct walfs_call *call, struct walfs_file *file)
{
	return walfs_turn_take(&of(file)->turns, call, step_truncate, of(file));
}

static int append_release(struct walfs_call *call, struct walfs_file *file)
{
	return walfs_turn_take(&of(file)->turns, call, step_release, of(file));
}

/* The end of the mount. When it was unmounted, every process has closed the file, and a RELEASE that was still on its
 * way was lost: what it would have committed is committed here. */
static void append_drop(struct walfs *fs, struct walfs_file *base, bool all_closed)
{
	struct walfs_appender *file = of(base);
	(void)fs;
	struct walfs_sought sought = { .ino = file->ino };
	bool open = file->opener.tgid && walfs_process_holds(file->opener.tgid, &sought) > 0;
	if (all_closed && !open && walfs_appender_has_record(file))
		(void)walfs_appender_commit_now(file, 0); /* logged; there is nobody to tell */
	walfs_appender_close(file);
}

static const struct walfs_file_ops append_ops = {
	.read = append_read,
	.write = append_write,
	.flush = append_flush,
	.fsync = append_fsync,
	.truncate = append_truncate,
	.release = append_release,
	.drop = append_drop,
};

int walfs_append_new(struct walfs_call *call, struct walfs_inode *inode, const struct walfs_node *node,
		     struct walfs_appender **ret_file)
{
	bool reads = (call->fi.flags & O_ACCMODE) == O_RDONLY;
	int err = reads ? 0 : wal_append_check(inode->stream);
	return err < 0 ? err : walfs_appender_open(call, inode, node, &append_ops, ret_file);
}

int walfs_append_open(struct walfs_call *call)
{
	struct walfs_inode *inode = walfs_inode_find(&call->fs->inodes, call->node.stream);
	struct walfs_appender *file;
	if (!inode)
		return -ESTALE;
	int err = walfs_append_new(call, inode, &call->node, &file);
	if (err < 0)
		return err;
	call->fi.fh = (uintptr_t)file;
	call->fi.direct_io = walfs_node_caching(file->kind)->direct_io;
	call->fi.noflush = (call->fi.flags & O_ACCMODE) == O_RDONLY;
	if (fuse_reply_open(call->req, &call->fi) < 0)
		walfs_appender_close(file); /* interrupted: no RELEASE will come */
	return 0;
}
