/* SPDX-License-Identifier: MIT
 *
 * The node of a creation is in no directory: a lookup of its number finds nothing before the record is there, and then the
 * record. So its number is a token, given out here and nowhere else.
 *
 * A claim says who creates. A creator counts while it has bytes, which a close or its RELEASE will commit; one without
 * bytes counts while a process has it open, since its RELEASE can come some time after the last close, when many are under way,
 * and the next one must not be refused because of that. Where /proc does not tell, until the RELEASE.
 *
 * A look at /proc can miss a descriptor that is being moved, as shells do. So a claim that was taken over is over: its file
 * gets -ESTALE when it writes. Of those who may write there is one, therefore, and only an append can make its close
 * fail, of which a shell would not hear.
 */
#include "creation.h"

#include "append.h"
#include "attr.h"
#include "await.h"
#include "hdrfile.h"

#include <errno.h>
#include <fcntl.h>

/* Has a process the file open that was made by this one? Reads /proc: not for the loop. */
static bool is_held(const struct walfs_claim *claim)
{
	struct walfs_sought sought = { .ino = claim->ino };
	struct walfs_opener opener = { .tgid = claim->tgid };
	if (claim->tgid == 0)
		return true;
	int held = walfs_process_holds(claim->tgid, &sought);
	if (held != 0 && held != -ENOENT && held != -ESRCH)
		return true;
	return walfs_opener_others_hold(&opener, claim->tgid, claim->ino);
}

/* Takes the number. -EEXIST; -EAGAIN. */
static int claim(struct walfs_call *call, struct walfs_inode *inode, const struct walfs_claim *mine)
{
	pthread_mutex_lock(&inode->lock);
	struct walfs_claim other = inode->claim;
	if (other.seq != mine->seq)
		inode->claim = *mine;
	pthread_mutex_unlock(&inode->lock);
	if (other.seq != mine->seq)
		return 0;

	if (other.wrote)
		return -EEXIST;
	if (call->wait & WAL_NOWAIT)
		return -EAGAIN;
	if (is_held(&other))
		return -EEXIST;
	int err = 0;
	pthread_mutex_lock(&inode->lock);
	if (inode->claim.seq != mine->seq || (inode->claim.ino == other.ino && !inode->claim.wrote))
		inode->claim = *mine;
	else
		err = -EEXIST;
	pthread_mutex_unlock(&inode->lock);
	return err;
}

static void unclaim(struct walfs_inode *inode, uint64_t ino)
{
	pthread_mutex_lock(&inode->lock);
	if (inode->claim.ino == ino)
		inode->claim = (struct walfs_claim){ 0 };
	pthread_mutex_unlock(&inode->lock);
}

void walfs_creation_end(struct walfs_appender *file)
{
	unclaim(file->inode, file->ino);
}

void walfs_creation_unwrite(struct walfs_appender *file)
{
	struct walfs_inode *inode = file->inode;
	pthread_mutex_lock(&inode->lock);
	if (inode->claim.ino == file->ino)
		inode->claim.wrote = false;
	pthread_mutex_unlock(&inode->lock);
}

int walfs_creation_write(struct walfs_call *call, struct walfs_appender *file)
{
	struct walfs_inode *inode = file->inode;
	struct wal_stat stat;
	int err = walfs_attr_stat_full(inode, call->wait, &stat);
	if (err < 0)
		return err;
	if (stat.next > file->expect)
		return -ESTALE;
	pthread_mutex_lock(&inode->lock);
	if (inode->claim.seq == 0)
		inode->claim = (struct walfs_claim){ .seq = file->expect, .ino = file->ino, .tgid = file->opener.tgid };
	if (inode->claim.ino == file->ino)
		inode->claim.wrote = true;
	else
		err = -ESTALE;
	pthread_mutex_unlock(&inode->lock);
	return err;
}

/* ---- CREATE ------------------------------------------------------------------------------------------ */

static int check_seq(uint64_t seq, uint64_t next, int flags)
{
	if (seq > next)
		return -EINVAL;
	if (seq < next)
		return flags & O_EXCL ? -EEXIST : -EPERM;
	return 0;
}

static int create_record(struct walfs_call *call, struct walfs_inode *inode, uint64_t seq)
{
	struct walfs_node node = {
		.kind = WALFS_CREATION,
		.stream = inode->id,
		.token = atomic_fetch_add(&call->fs->tokens, 1) + 1,
	};
	struct walfs_claim mine = { .seq = seq, .ino = walfs_node_ino(&node) };
	struct walfs_opener opener;
	struct fuse_entry_param entry;
	struct walfs_appender *file;

	int err = walfs_attr_entry(call->fs, inode, &node, false, call->wait, &entry);
	if (err < 0)
		return err;
	walfs_opener_init(&opener, walfs_call_pid(call));
	mine.tgid = opener.tgid;
	err = claim(call, inode, &mine);
	if (err < 0)
		return err;
	err = walfs_append_new(call, inode, &node, &file);
	if (err < 0) {
		unclaim(inode, mine.ino);
		return err;
	}
	file->expect = seq;
	if (!walfs_creation_reply(call, inode, &node, &file->file, &entry))
		walfs_appender_close(file);
	return 0;
}

bool walfs_creation_reply(struct walfs_call *call, struct walfs_inode *inode, const struct walfs_node *node,
			  struct walfs_file *file, const struct fuse_entry_param *entry)
{
	struct walfs_inodes *inodes = &call->fs->inodes;
	uint64_t id = inode->id;
	call->fi.fh = (uintptr_t)file;
	call->fi.direct_io = walfs_node_caching(node->kind)->direct_io;
	call->fi.noflush = (call->fi.flags & O_ACCMODE) == O_RDONLY;
	walfs_inode_remember(inodes, inode, 1);
	if (fuse_reply_create(call->req, entry, &call->fi) == 0)
		return true;
	walfs_inode_forget(inodes, id, 1);
	return false;
}

int walfs_creation_create(struct walfs_call *call)
{
	struct walfs_inode *inode = walfs_inode_find(&call->fs->inodes, call->node.stream);
	struct walfs_node node;
	struct wal_stat stat;
	bool listed;

	if (call->node.kind != WALFS_STREAM)
		return -EPERM;
	if (!inode)
		return -ESTALE;
	int err = walfs_node_parse(&call->node, call->name, fuse_req_ctx(call->req)->uid, call->fs->opts->digits, &node,
				   &listed);
	if (err == -ENOENT || (err == 0 && node.kind != WALFS_RECORD && node.kind != WALFS_SIDECAR))
		return -EPERM;
	if (err == 0)
		err = wal_append_check(inode->stream);
	if (err < 0)
		return err;
	if (walfs_await_join(call, inode)) /* what a RELEASE commits has the number */
		return 0;
	err = walfs_attr_stat_full(inode, call->wait, &stat);
	if (err == 0)
		err = check_seq(node.seq, stat.next, call->fi.flags);
	if (err < 0)
		return err;
	return node.kind == WALFS_RECORD ? create_record(call, inode, node.seq)
					 : walfs_hdrfile_create(call, inode, node.seq);
}
