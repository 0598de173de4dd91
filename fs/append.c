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
 * A flush with nothing pending does nothing: every shell redirection sends one before the first write.
 *
 * Where /proc does not tell about the process (another pid namespace, no right), a flush before the data says that a
 * shell is at work, whose descriptors cannot be seen: the record then waits for the RELEASE. Else the close commits.
 *
 * A write that fails for want of space or over a limit spoils its record: the bytes before it are dropped, and every write
 * up to the end of the record, and the close, fail alike. Half a record would be worse than none.
 *
 * Requests on one open file take turns: a request that comes while another waits for the disk or for a commit queues
 * up and runs in a worker. The turn ends before the reply, since the reply lets the next request come.
 */
#include "append.h"

#include "attr.h"
#include "await.h"
#include "notify.h"
#include "opener.h"
#include "turn.h"
#include "walfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <utlist.h>

/* So many descriptors of a process are looked at in the loop; of one that has more, in a worker. */
#define LOOK_MAX_LOOP 64

enum answer_kind { ANSWER_DONE, ANSWER_WRITE, ANSWER_ATTR, ANSWER_RELEASE };

struct answer {
	fuse_req_t req;
	enum answer_kind kind;
	enum walfs_sense sense;
	size_t written;
};

struct append_file {
	struct walfs_file file;
	struct walfs *fs;          /* immutable */
	struct walfs_inode *inode; /* immutable, referenced */
	uint64_t ino;              /* immutable */

	struct append_file *other_prev, *other_next; /* guarded by inode->lock: the other opens of this append */
	atomic_uint_least64_t pos;                   /* the file position that the last write left */

	struct walfs_turns turns;

	/* Of the request that has its turn. */
	struct walfs_opener opener;
	uint64_t stamp;     /* of the open: headers staged before it may be taken */
	bool flushed_first; /* a flush came with nothing pending */
	bool header_asked;  /* the first write was, and took the staged header if there was one */
	bool packet;        /* the pending bytes are those of the WRITE that has its turn */
	bool counted;       /* in inode->writing */
	bool announced;     /* a commit in the RELEASE, to await.c */
	int spoiled;        /* the error that spoiled the record, or 0 */
	void *header;       /* owned */
	size_t header_len;
	uint64_t end; /* the file offset at which the next write belongs */
	struct walfs_pending pending;
	struct wal_append req;
	struct wal_entry entry;
	struct answer answer;
};

static struct append_file *of(struct walfs_file *file)
{
	return (struct append_file *)file;
}

/* ---- answers ------------------------------------------------------------------------------- */

static void free_header(struct append_file *file)
{
	free(file->header);
	file->header = NULL;
	file->header_len = 0;
}

/* The record that was pending is no more, whatever became of it. */
static void end_record(struct append_file *file)
{
	free_header(file);
	walfs_opener_forget_writes(&file->opener);
	file->packet = false;
	if (file->counted)
		atomic_fetch_sub(&file->inode->writing, 1);
	file->counted = false;
}

static void drop_record(struct append_file *file)
{
	walfs_pending_drop(&file->pending, file->inode->stream);
	end_record(file);
}

static void close_file(struct append_file *file)
{
	struct walfs *fs = file->fs;
	drop_record(file);
	pthread_mutex_lock(&file->inode->lock);
	DL_DELETE2(file->inode->appends, file, other_prev, other_next);
	pthread_mutex_unlock(&file->inode->lock);
	walfs_file_remove(&fs->files, &file->file);
	walfs_inode_unref(&fs->inodes, file->inode);
	walfs_turns_fini(&file->turns);
	free(file);
}

static void reply_attr(struct walfs *fs, struct walfs_inode *inode, const struct answer *answer)
{
	struct stat st;
	struct walfs_node node = { .kind = WALFS_APPEND, .stream = inode->id };
	int err = walfs_attr_get(fs, inode, &node, WAL_NOWAIT, &st);
	if (err < 0)
		walfs_reply_err(answer->req, err, answer->sense);
	else
		(void)fuse_reply_attr(answer->req, &st, walfs_attr_timeout(inode, WALFS_APPEND));
}

/* Ends the turn and replies. The file may be gone afterwards. */
static int finish(struct append_file *file, const struct answer *given, int err)
{
	struct answer answer = *given;
	struct walfs *fs = file->fs;
	struct walfs_inode *inode = file->inode; /* the kernel keeps it until the reply */

	if (answer.kind == ANSWER_RELEASE) {
		if (file->announced)
			walfs_await_end(inode);
		close_file(file);
		(void)fuse_reply_err(answer.req, 0); /* nobody waits for it */
		return 0;
	}
	walfs_turn_end(&file->turns);
	if (err < 0)
		walfs_reply_err(answer.req, err, answer.sense);
	else if (answer.kind == ANSWER_WRITE)
		(void)fuse_reply_write(answer.req, answer.written);
	else if (answer.kind == ANSWER_ATTR)
		reply_attr(fs, inode, &answer);
	else
		(void)fuse_reply_err(answer.req, 0);
	return 0;
}

static struct answer answer_of(const struct walfs_call *call, enum answer_kind kind)
{
	return (struct answer){ .req = call->req, .kind = kind, .sense = call->sense, .written = call->size };
}

/* ---- commit ------------------------------------------------------------------------------------------ */

/* A full disk or a stream that was removed is the writer's to know; what stops a stream is the administrator's too. */
static void log_failure(const struct append_file *file, int result)
{
	bool ordinary = result == -EIDRM || result == -ENOSPC || result == -EDQUOT || result == -ESTALE;
	char key[WAL_KEY_MAX + 1], name[WAL_NAME_MAX + 1];
	int len = wal_stream_key(file->inode->stream, key);
	if (len < 0 || wal_key_to_name((struct wal_span){ key, (size_t)len }, name) < 0)
		return;
	walfs_log_client(file->fs->log, ordinary ? WALFS_LOG_INFO : WALFS_LOG_ERROR,
			 "record not committed stream=%s bytes=%llu reason=\"%s\"", name,
			 (unsigned long long)file->pending.len, wal_strerror(result));
}

static void settle(struct append_file *file, int result)
{
	if (result < 0)
		log_failure(file, result);
	walfs_pending_done(&file->pending, file->inode->stream, result);
	end_record(file);
	if (result >= 0)
		walfs_notify_committed(file->fs, file->inode);
}

static void commit_done(struct wal_append *req, int result)
{
	struct append_file *file = req->arg;
	struct walfs *fs = file->fs;
	settle(file, result);
	(void)finish(file, &file->answer, result);
	walfs_files_end(&fs->files);
}

static void prepare(struct append_file *file, uint32_t flags)
{
	file->req = (struct wal_append){ .flags = flags, .done = commit_done, .arg = file };
	struct wal_span header = { file->header, file->header_len };
	walfs_pending_request(&file->pending, header, &file->entry, &file->req);
}

/* Commits what is pending; the answer follows. In the loop -EAGAIN where that would wait. */
static int commit(struct walfs_call *call, struct append_file *file, enum answer_kind kind, uint32_t flags)
{
	struct wal_stream *stream = file->inode->stream;
	struct walfs *fs = file->fs;
	int result;

	prepare(file, flags);
	file->answer = answer_of(call, kind);
	if (!(call->wait & WAL_NOWAIT)) {
		result = wal_append(stream, &file->req);
	} else {
		if (wal_append_waits(stream, &file->req))
			return -EAGAIN;
		walfs_files_begin(&fs->files);
		result = wal_append_submit(stream, &file->req);
		if (result == 0)
			return 0; /* commit_done goes on, or is through with it already */
		walfs_files_end(&fs->files);
	}
	settle(file, result < 0 ? result : 0);
	return finish(file, &file->answer, result < 0 ? result : 0);
}

/* ---- write ------------------------------------------------------------------------------------------- */

static void note_writer(struct walfs_call *call, struct append_file *file)
{
	walfs_opener_note_write(&file->opener, walfs_call_pid(call), call->fi.lock_owner);
	if (!file->counted)
		atomic_fetch_add(&file->inode->writing, 1);
	file->counted = true;
	if (!file->header_asked)
		file->header_len = walfs_staged_take(&file->fs->staged, file->inode->id, fuse_req_ctx(call->req)->uid,
						     file->stamp, &file->header);
	file->header_asked = true;
}

static int add(struct walfs_call *call, struct append_file *file, const void *data, uint64_t n)
{
	struct wal_span header = { file->header, file->header_len };
	int err = walfs_pending_add(&file->pending, file->inode->stream, header, data, n, call->wait);
	if (err == 0)
		file->end += n;
	return err;
}

/* Takes the bytes of a write in, and zeros for a hole before it. */
static int take_bytes(struct walfs_call *call, struct append_file *file)
{
	if (!(call->fi.flags & O_APPEND)) {
		if (call->off < file->end)
			return -ESPIPE;
		if (call->off > file->end) {
			int err = add(call, file, NULL, call->off - file->end);
			if (err < 0)
				return err;
		}
	}
	int err = add(call, file, call->data, call->size);
	if (err == 0)
		atomic_store(&file->pos, call->off + call->size);
	return err;
}

/* The record cannot become whole any more. Ends the turn; -EAGAIN where a draft is to be removed, which takes a while. */
static int spoil(struct walfs_call *call, struct append_file *file, const struct answer *answer, int err)
{
	if (file->pending.draft && (call->wait & WAL_NOWAIT))
		return -EAGAIN;
	bool wrote = file->opener.wrote;
	drop_record(file);
	file->opener.wrote = wrote; /* it shall hear of it when it closes */
	file->spoiled = err;
	return finish(file, answer, err);
}

/* O_DIRECT or O_SYNC set on a descriptor that wrote without: what came before is a record of its own. */
static int commit_before_packet(struct walfs_call *call, struct append_file *file)
{
	if (call->wait & WAL_NOWAIT)
		return -EAGAIN;
	prepare(file, 0);
	int err = wal_append(file->inode->stream, &file->req);
	settle(file, err);
	return err;
}

static int step_packet(struct walfs_call *call, struct append_file *file)
{
	struct answer answer = answer_of(call, ANSWER_WRITE);
	int err = 0;
	if (!file->packet) {
		if (call->size > WALFS_PACKET_MAX)
			return finish(file, &answer, -EMSGSIZE);
		if (file->pending.len > 0)
			err = commit_before_packet(call, file);
		if (err == 0) {
			note_writer(call, file);
			err = take_bytes(call, file);
		}
		if (err == -EAGAIN)
			return err;
		if (err < 0) {
			drop_record(file); /* nothing of this one; the next may fit */
			return finish(file, &answer, err);
		}
		file->packet = true;
	}
	return commit(call, file, ANSWER_WRITE, call->fi.flags & O_DSYNC ? WAL_APPEND_DURABLE : 0);
}

static int step_write(struct walfs_call *call, void *arg)
{
	struct append_file *file = arg;
	struct answer answer = answer_of(call, ANSWER_WRITE);
	if (file->spoiled)
		return finish(file, &answer, file->spoiled);
	if (call->fi.flags & (O_DIRECT | O_DSYNC)) {
		call->sense = WALFS_PACKET;
		return step_packet(call, file);
	}
	note_writer(call, file);
	int err = take_bytes(call, file);
	if (err == -EAGAIN)
		return err;
	if (err < 0 && err != -ESPIPE)
		return spoil(call, file, &answer, err);
	return finish(file, &answer, err);
}

/* An open file is a file of length `end`: it can be made longer, which writes zeros, and not shorter. Empty means
 * nothing, as with O_TRUNC. */
static int step_truncate(struct walfs_call *call, void *arg)
{
	struct append_file *file = arg;
	struct answer answer = answer_of(call, ANSWER_ATTR);
	if (call->size == 0 || call->size == file->end)
		return finish(file, &answer, 0);
	if (file->spoiled)
		return finish(file, &answer, file->spoiled);
	if (call->size < file->end)
		return finish(file, &answer, -ESPIPE);
	note_writer(call, file);
	int err = add(call, file, NULL, call->size - file->end);
	if (err == -EAGAIN)
		return err;
	return err < 0 ? spoil(call, file, &answer, err) : finish(file, &answer, 0);
}

/* ---- close and sync ---------------------------------------------------------------------------------- */

/* Has the process another descriptor of this open file? Of its other opens of the same append (threads of a server, a
 * shell's /dev/stdout) descriptors look alike; but each has its position, and we know how many there are at ours. */
static int opener_holds(const struct append_file *file, pid_t pid, unsigned look_max)
{
	uint64_t pos = atomic_load(&file->pos);
	struct walfs_sought sought = { .ino = file->ino, .look_max = look_max };
	struct append_file *other;
	pthread_mutex_lock(&file->inode->lock);
	DL_FOREACH2(file->inode->appends, other, other_next)
	{
		if (other == file || other->opener.tgid != file->opener.tgid)
			continue;
		sought.pos = &pos;
		sought.others += atomic_load(&other->pos) == pos;
	}
	pthread_mutex_unlock(&file->inode->lock);
	return walfs_process_holds(pid, &sought);
}

/* What a close by the opener means for the record: 1 commit, 0 not yet, -ECANCELED drop, -EAGAIN ask in a worker. */
static int judge_close(struct walfs_call *call, const struct append_file *file, pid_t pid)
{
	bool loop = call->wait & WAL_NOWAIT;
	enum walfs_fate fate = walfs_process_fate(pid);
	if (fate == WALFS_FATE_KILLED)
		return file->opener.wrote ? -ECANCELED : 0;
	if (fate == WALFS_FATE_RUNNING) {
		int held = opener_holds(file, pid, loop ? LOOK_MAX_LOOP : 0);
		if (held == -EAGAIN)
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
	struct append_file *file = arg;
	struct answer answer = answer_of(call, ANSWER_DONE);
	pid_t pid = walfs_call_pid(call);

	if (file->pending.len == 0 && !file->spoiled) {
		file->flushed_first = true;
		return finish(file, &answer, 0);
	}
	if (!walfs_opener_closes(&file->opener, pid, call->fi.lock_owner))
		return finish(file, &answer, 0);
	int verdict = judge_close(call, file, pid);
	if (verdict == 0)
		return finish(file, &answer, 0);
	if (verdict == -EAGAIN)
		return verdict;
	if (verdict == -ECANCELED || file->spoiled) {
		if (file->pending.draft && (call->wait & WAL_NOWAIT))
			return -EAGAIN;
		int err = verdict == -ECANCELED ? 0 : file->spoiled;
		drop_record(file);
		file->spoiled = 0;
		return finish(file, &answer, err);
	}
	return commit(call, file, ANSWER_DONE, 0);
}

static int step_fsync(struct walfs_call *call, void *arg)
{
	struct append_file *file = arg;
	struct answer answer = answer_of(call, ANSWER_DONE);
	if (file->spoiled) {
		int err = file->spoiled;
		drop_record(file);
		file->spoiled = 0;
		return finish(file, &answer, err);
	}
	if (file->pending.len > 0)
		return commit(call, file, ANSWER_DONE, WAL_APPEND_DURABLE);
	if (call->wait & WAL_NOWAIT)
		return -EAGAIN;
	return finish(file, &answer, wal_stream_sync(file->inode->stream));
}

static int step_release(struct walfs_call *call, void *arg)
{
	struct append_file *file = arg;
	struct answer answer = answer_of(call, ANSWER_RELEASE);
	if (file->pending.len > 0) {
		if (!file->announced)
			walfs_await_begin(file->inode);
		file->announced = true;
		return commit(call, file, ANSWER_RELEASE, 0);
	}
	return finish(file, &answer, 0);
}

/* ---- the handlers ------------------------------------------------------------------------------------ */

static int append_read(struct walfs_call *call, struct walfs_file *file)
{
	(void)file;
	(void)fuse_reply_buf(call->req, NULL, 0); /* `all` will be the file to read */
	return 0;
}

static int append_write(struct walfs_call *call, struct walfs_file *file)
{
	return walfs_turn_take(&of(file)->turns, call, step_write, of(file));
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
	struct append_file *file = of(base);
	(void)fs;
	struct walfs_sought sought = { .ino = file->ino };
	bool open = file->opener.tgid && walfs_process_holds(file->opener.tgid, &sought) > 0;
	if (all_closed && !open && file->pending.len > 0) {
		prepare(file, 0);
		settle(file, wal_append(file->inode->stream, &file->req));
	}
	close_file(file);
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

int walfs_append_open(struct walfs_call *call)
{
	struct walfs *fs = call->fs;
	struct walfs_inode *inode = walfs_inode_find(&fs->inodes, call->node.stream);
	bool reads = (call->fi.flags & O_ACCMODE) == O_RDONLY;
	if (!inode)
		return -ESTALE;
	if (!reads) {
		int err = wal_append_check(inode->stream);
		if (err < 0)
			return err;
	}
	struct append_file *file = calloc(1, sizeof(*file));
	if (!file)
		return -ENOMEM;
	file->fs = fs;
	file->inode = inode;
	file->ino = call->ino;
	walfs_turns_init(&file->turns);
	walfs_inode_ref(&fs->inodes, inode);
	walfs_opener_init(&file->opener, walfs_call_pid(call));
	file->stamp = walfs_staged_stamp(&fs->staged);
	walfs_pending_init(&file->pending, call->user);
	walfs_file_add(call, &file->file, &append_ops);
	pthread_mutex_lock(&inode->lock);
	DL_APPEND2(inode->appends, file, other_prev, other_next);
	pthread_mutex_unlock(&inode->lock);

	call->fi.fh = (uintptr_t)file;
	call->fi.direct_io = walfs_node_caching(WALFS_APPEND)->direct_io;
	call->fi.noflush = reads;
	if (fuse_reply_open(call->req, &call->fi) < 0)
		close_file(file); /* interrupted: no RELEASE will come */
	return 0;
}
