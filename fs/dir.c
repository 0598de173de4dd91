/* SPDX-License-Identifier: MIT
 *
 * The root's names are keys, spelled by walcore; a name that is not the spelling of a key names nothing. All other names
 * are node.c's.
 */
#include "dir.h"

#include "at.h"
#include "attr.h"
#include "await.h"
#include "notify.h"
#include "walfs.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1u
#endif

static void touch_root(struct walfs *fs)
{
	struct timespec ts;
	struct walfs_node root = { .kind = WALFS_ROOT };
	clock_gettime(CLOCK_REALTIME, &ts);
	atomic_store(&fs->changed_ns, (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec);
	/* Attributes alone: needs no lock of the kernel's that the running request holds. */
	(void)fuse_lowlevel_notify_inval_inode(fs->session, walfs_node_id(&root), -1, 0);
}

/* ---- lookup ------------------------------------------------------------------------------------------ */

/* Finds a stream by its name in the root. The handle is the caller's. */
static int open_stream(struct walfs *fs, const char *name, struct wal_stream **ret_stream)
{
	char key[WAL_KEY_MAX + 1];
	int len = wal_key_from_name(name, key);
	if (len == -EMSGSIZE)
		return -ENAMETOOLONG;
	if (len < 0)
		return -ENOENT;
	return wal_stream_open(fs->store, (struct wal_span){ key, (size_t)len }, ret_stream);
}

/* Replies with the entry of a stream that has been counted as looked up. */
static int reply_stream(struct walfs_call *call, struct walfs_inode *inode)
{
	struct walfs_node node = { .kind = WALFS_STREAM, .stream = inode->id };
	struct fuse_entry_param entry;
	uint64_t id = inode->id;
	int err = walfs_attr_entry(call->fs, inode, &node, true, call->wait, &entry);
	if (err == 0) {
		if (fuse_reply_entry(call->req, &entry) < 0)
			walfs_inode_forget(&call->fs->inodes, id, 1);
		return 0;
	}
	walfs_inode_forget(&call->fs->inodes, id, 1);
	return err;
}

static int lookup_in_root(struct walfs_call *call)
{
	struct walfs *fs = call->fs;
	struct wal_stream *stream;
	struct walfs_inode *inode;

	if (strcmp(call->name, ".walfs") == 0) {
		struct walfs_node node = { .kind = WALFS_CONTROL_DIR };
		struct fuse_entry_param entry;
		int err = walfs_attr_entry(fs, NULL, &node, true, call->wait, &entry);
		if (err == 0)
			(void)fuse_reply_entry(call->req, &entry);
		return err;
	}
	inode = walfs_inode_lookup(&fs->inodes, call->name);
	if (inode)
		return reply_stream(call, inode);

	char key[WAL_KEY_MAX + 1];
	if (wal_key_from_name(call->name, key) == -EINVAL)
		return -ENOENT; /* .git, .hidden: at once */
	if (call->wait & WAL_NOWAIT)
		return -EAGAIN;
	int err = open_stream(fs, call->name, &stream);
	if (err == 0)
		err = walfs_inode_insert(&fs->inodes, stream, call->name, &inode);
	return err != 0 ? err : reply_stream(call, inode);
}

/* Whose answer depends on what the newest record is. */
static bool asks_for_newest(const struct walfs_node *node, int err)
{
	switch (node->kind) {
	case WALFS_ALL:
	case WALFS_FIRST:
	case WALFS_LAST:
	case WALFS_STAT:
		return true;
	case WALFS_RECORD:
	case WALFS_SIDECAR:
	case WALFS_MSG:
		return err == -ENOENT;
	default:
		return false;
	}
}

/* Is this the sidecar of the next record, for which the caller has staged a header? Then the node is made that of it. */
static int find_staged(struct walfs_call *call, struct walfs_inode *inode, struct walfs_node *node)
{
	struct walfs_staged_key key = { .stream = inode->id, .uid = fuse_req_ctx(call->req)->uid, .seq = node->seq };
	struct wal_stat stat;
	if (node->kind != WALFS_SIDECAR || walfs_staged_len(&call->fs->staged, key) == 0)
		return -ENOENT;
	int err = walfs_attr_stat_full(inode, call->wait, &stat);
	if (err < 0 || stat.next != node->seq)
		return err < 0 ? err : -ENOENT;
	*node = (struct walfs_node){
		.kind = WALFS_NEXT_HDR, .stream = inode->id, .seq = key.seq, .uid = (uint32_t)key.uid
	};
	return 0;
}

/* Makes `all` the node that begins at the oldest record there is, or at the first to come. */
static int find_oldest(struct walfs_call *call, struct walfs_inode *inode, struct walfs_node *node)
{
	struct wal_stat stat;
	int err = walfs_attr_stat_full(inode, call->wait, &stat);
	if (err < 0)
		return err;
	if (!walfs_node_fits(WALFS_ALL, stat.first))
		return -EOVERFLOW;
	node->seq = stat.first;
	return 0;
}

static void reply_entry(struct walfs_call *call, struct walfs_inode *inode, const struct fuse_entry_param *entry)
{
	uint64_t id = inode ? inode->id : 0;
	if (inode)
		walfs_inode_remember(&call->fs->inodes, inode, 1);
	if (fuse_reply_entry(call->req, entry) < 0 && inode)
		walfs_inode_forget(&call->fs->inodes, id, 1);
}

static int lookup_in_at(struct walfs_call *call, struct walfs_inode *inode)
{
	struct walfs_node node;
	struct fuse_entry_param entry;
	int err = walfs_at_parse(call, inode, &node);
	/* Any answer but an old record's depends on what the newest is. */
	if ((err == 0 || err == -ENOENT) && call->name[0] != '.' && walfs_await_join(call, inode))
		return 0;
	if (err == 0)
		err = walfs_attr_entry(call->fs, inode, &node, false, call->wait, &entry);
	if (err == 0)
		reply_entry(call, inode, &entry);
	return err;
}

int walfs_dir_lookup(struct walfs_call *call)
{
	struct walfs *fs = call->fs;
	struct walfs_inode *inode = NULL;
	struct walfs_node node;
	struct fuse_entry_param entry;
	bool listed;

	if (strlen(call->name) > WALFS_NODE_NAME_MAX)
		return -ENAMETOOLONG;
	if (call->node.kind == WALFS_ROOT)
		return lookup_in_root(call);
	if (call->node.stream) {
		inode = walfs_inode_find(&fs->inodes, call->node.stream);
		if (!inode)
			return -ESTALE;
	}
	if (call->node.kind == WALFS_AT)
		return lookup_in_at(call, inode);
	int err = walfs_node_parse(&call->node, call->name, fuse_req_ctx(call->req)->uid, fs->opts->digits, &node,
				   &listed);
	if (err < 0)
		return err;
	if (node.kind == WALFS_APPEND_LINE) /* a node of its own for each who opens it: node.c */
		node.token = atomic_fetch_add(&fs->tokens, 1) + 1;
	if (node.kind == WALFS_ALL)
		err = find_oldest(call, inode, &node);
	if (err == 0)
		err = walfs_attr_entry(fs, inode, &node, listed, call->wait, &entry);
	if (err != -EAGAIN && inode && asks_for_newest(&node, err) && walfs_await_join(call, inode))
		return 0;
	if (err == -ENOENT && inode) {
		err = find_staged(call, inode, &node);
		if (err == 0)
			err = walfs_attr_entry(fs, inode, &node, false, call->wait, &entry);
	}
	if (err < 0)
		return err;
	reply_entry(call, inode, &entry);
	return 0;
}

/* ---- streams ----------------------------------------------------------------------------------------- */

int walfs_dir_mkdir(struct walfs_call *call)
{
	struct walfs *fs = call->fs;
	const struct fuse_ctx *ctx = fuse_req_ctx(call->req);
	struct wal_attr attr = { .uid = ctx->uid, .gid = ctx->gid, .mode = call->mode & 07777 };
	struct wal_settings settings = { 0 };
	char key[WAL_KEY_MAX + 1];
	struct wal_stream *stream;
	struct walfs_inode *inode;

	if (call->node.kind != WALFS_ROOT)
		return -EPERM;
	if (strlen(call->name) > WAL_NAME_MAX)
		return -ENAMETOOLONG;
	int len = wal_key_from_name(call->name, key);
	if (len < 0)
		return len;
	int err = wal_stream_create(fs->store, (struct wal_span){ key, (size_t)len }, &attr, &settings, &stream);
	if (err < 0)
		return err;
	touch_root(fs);
	err = walfs_inode_insert(&fs->inodes, stream, call->name, &inode);
	return err != 0 ? err : reply_stream(call, inode);
}

/* May the caller remove from this stream, or rename it? As in a sticky directory. */
static int may_remove(struct walfs_call *call, struct wal_stream *stream)
{
	struct wal_stat stat;
	uint32_t uid = fuse_req_ctx(call->req)->uid;
	if (call->fs->opts->append_only)
		return -EPERM;
	int err = wal_stream_stat(stream, WAL_STAT_CHEAP, &stat);
	if (err < 0)
		return err;
	return uid == 0 || uid == walfs_attr_uid(call->fs, &stat.attr) ? 0 : -EPERM;
}

int walfs_dir_rmdir(struct walfs_call *call)
{
	struct walfs *fs = call->fs;
	struct wal_stream *stream;
	if (call->node.kind != WALFS_ROOT || strcmp(call->name, ".walfs") == 0)
		return -EPERM;
	int err = open_stream(fs, call->name, &stream);
	if (err < 0)
		return err;
	err = may_remove(call, stream);
	if (err == 0)
		err = wal_stream_delete(stream, 0);
	if (err == 0) {
		walfs_inode_rename(&fs->inodes, wal_stream_id(stream), NULL);
		touch_root(fs);
	}
	wal_stream_unref(stream);
	if (err < 0)
		return err;
	(void)fuse_reply_err(call->req, 0);
	return 0;
}

int walfs_dir_rename(struct walfs_call *call)
{
	struct walfs *fs = call->fs;
	struct wal_stream *stream;
	char key[WAL_KEY_MAX + 1];

	if (call->flags & ~RENAME_NOREPLACE)
		return -EINVAL;
	/* Never EXDEV: that would make mv copy, and then remove. */
	if (call->ino != call->new_parent || call->node.kind != WALFS_ROOT)
		return -EPERM;
	if (strcmp(call->name, ".walfs") == 0 || strcmp(call->new_name, ".walfs") == 0)
		return -EPERM;
	if (strlen(call->new_name) > WAL_NAME_MAX)
		return -ENAMETOOLONG;
	int len = wal_key_from_name(call->new_name, key);
	if (len < 0)
		return len;
	int err = open_stream(fs, call->name, &stream);
	if (err < 0)
		return err;
	err = may_remove(call, stream);
	if (err == 0)
		err = wal_stream_rename(stream, (struct wal_span){ key, (size_t)len });
	if (err == 0) {
		walfs_inode_rename(&fs->inodes, wal_stream_id(stream), call->new_name);
		touch_root(fs);
	}
	wal_stream_unref(stream);
	if (err < 0)
		return err;
	(void)fuse_reply_err(call->req, 0);
	return 0;
}

int walfs_dir_set_attr(struct walfs_call *call)
{
	struct walfs *fs = call->fs;
	struct walfs_inode *inode = walfs_inode_find(&fs->inodes, call->node.stream);
	struct wal_stat stat;
	struct stat st;

	if (!inode)
		return -ESTALE;
	if (fs->opts->append_only)
		return -EPERM;
	/* What the mount shows is not the stream's own. */
	if (((call->to_set & FUSE_SET_ATTR_UID) && fs->opts->uid != WALFS_ID_UNSET) ||
	    ((call->to_set & FUSE_SET_ATTR_GID) && fs->opts->gid != WALFS_ID_UNSET))
		return -EPERM;
	int err = wal_stream_stat(inode->stream, WAL_STAT_CHEAP, &stat);
	if (err < 0)
		return err;
	if (call->to_set & FUSE_SET_ATTR_UID)
		stat.attr.uid = call->uid;
	if (call->to_set & FUSE_SET_ATTR_GID)
		stat.attr.gid = call->gid;
	if (call->to_set & FUSE_SET_ATTR_MODE)
		stat.attr.mode = call->mode & 07777;
	err = wal_stream_set_attr(inode->stream, &stat.attr);
	if (err == 0)
		err = walfs_attr_get(fs, inode, &call->node, call->wait, &st);
	if (err < 0)
		return err;
	walfs_notify_mode(fs, inode);
	(void)fuse_reply_attr(call->req, &st, walfs_attr_timeout(inode, WALFS_STREAM));
	return 0;
}

/* ---- rm ---------------------------------------------------------------------------------------------- */

/* The oldest record goes, and only it. */
static int trim(struct walfs_call *call, struct walfs_inode *inode, uint64_t seq)
{
	struct wal_stat stat;
	int err = walfs_attr_stat_full(inode, call->wait, &stat);
	if (err < 0)
		return err;
	if (seq < stat.first || seq >= stat.next)
		return -ENOENT;
	if (seq != stat.first)
		return -EPERM;
	return wal_trim(inode->stream, seq + 1, 0);
}

int walfs_dir_unlink(struct walfs_call *call)
{
	struct walfs *fs = call->fs;
	struct walfs_node node;
	bool listed;

	if (call->node.kind != WALFS_STREAM)
		return -EPERM;
	struct walfs_inode *inode = walfs_inode_find(&fs->inodes, call->node.stream);
	if (!inode)
		return -ESTALE;
	int err = walfs_node_parse(&call->node, call->name, fuse_req_ctx(call->req)->uid, fs->opts->digits, &node,
				   &listed);
	bool staged = err == 0 && find_staged(call, inode, &node) == 0;
	if (staged) { /* one's own */
		struct walfs_staged_key key = { .stream = inode->id, .uid = node.uid, .seq = node.seq };
		err = walfs_staged_put(&fs->staged, key, NULL, 0);
	} else if (err == 0) {
		err = may_remove(call, inode->stream);
	}
	if (err == 0 && node.kind == WALFS_RECORD)
		err = trim(call, inode, node.seq);
	if (err < 0)
		return err;
	(void)fuse_reply_err(call->req, 0);
	return 0;
}
