/* SPDX-License-Identifier: MIT
 *
 * Everything in a stream derives owner and mode from the stream's directory. A stat of a directory or of append is asked
 * for with every path walk, so it never recovers a stream; first, last and .stat do, in a worker.
 */
#include "attr.h"

#include "all.h"
#include "follow.h"
#include "notify.h"
#include "recfile.h"
#include "text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES 512
#define IO_BYTES 4096

uint32_t walfs_attr_uid(const struct walfs *fs, const struct wal_attr *attr)
{
	return fs->opts->uid != WALFS_ID_UNSET ? fs->opts->uid : attr->uid;
}

static uint32_t attr_gid(const struct walfs *fs, const struct wal_attr *attr)
{
	return fs->opts->gid != WALFS_ID_UNSET ? fs->opts->gid : attr->gid;
}

static struct timespec to_timespec(int64_t ns)
{
	struct timespec ts = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };
	if (ts.tv_nsec < 0) {
		ts.tv_sec--;
		ts.tv_nsec += 1000000000;
	}
	return ts;
}

static void fill(const struct walfs *fs, const struct walfs_node *node, uint32_t mode, uint64_t size, int64_t time_ns,
		 struct stat *ret_st)
{
	struct timespec ts = to_timespec(time_ns);
	*ret_st = (struct stat){
		.st_ino = walfs_node_ino(node),
		.st_mode = mode & ~fs->opts->umask,
		.st_nlink = walfs_kind_is_dir(node->kind) ? 2 : 1,
		.st_uid = fs->uid,
		.st_gid = fs->gid,
		.st_size = (off_t)size,
		.st_blksize = IO_BYTES,
		.st_blocks = (blkcnt_t)((size + BLOCK_BYTES - 1) / BLOCK_BYTES),
		.st_atim = ts,
		.st_mtim = ts,
		.st_ctim = ts,
	};
	if (walfs_kind_is_link(node->kind))
		ret_st->st_mode = S_IFLNK | 0777;
}

static void fill_in_stream(const struct walfs *fs, const struct wal_stat *stat, const struct walfs_node *node,
			   uint32_t mode, uint64_t size, int64_t time_ns, struct stat *ret_st)
{
	fill(fs, node, mode, size, time_ns, ret_st);
	ret_st->st_uid = walfs_attr_uid(fs, &stat->attr);
	ret_st->st_gid = attr_gid(fs, &stat->attr);
}

void walfs_attr_record(const struct walfs *fs, const struct wal_stat *stat, const struct walfs_node *node,
		       const struct wal_info *info, struct stat *ret_st)
{
	uint64_t size = node->kind == WALFS_SIDECAR ? info->header_len : info->content_len;
	if (node->kind == WALFS_MSG)
		size += info->header_len + 1;
	fill_in_stream(fs, stat, node, S_IFREG | (stat->attr.mode & 0444), size, info->time_ns, ret_st);
}

int walfs_attr_stat_full(struct walfs_inode *inode, uint32_t wait, struct wal_stat *ret_stat)
{
	struct wal_stat stat;
	int err = wal_stream_stat(inode->stream, WAL_STAT_CHEAP, &stat);
	if (err < 0)
		return err;
	if (!stat.recovered) {
		if (wait & WAL_NOWAIT)
			return -EAGAIN;
		err = wal_stream_stat(inode->stream, 0, &stat);
		if (err < 0)
			return err;
	}
	*ret_stat = stat;
	return 0;
}

/* The record that a link leads to. -ENOENT in an empty stream; -EAGAIN. */
static int find_target(struct walfs_inode *inode, const struct walfs_node *node, uint32_t wait, uint64_t *ret_seq)
{
	struct wal_stat stat;
	if (node->kind == WALFS_AT_LINK || node->kind == WALFS_AT_FOLLOW) {
		*ret_seq = node->seq;
		return 0;
	}
	int err = walfs_attr_stat_full(inode, wait, &stat);
	if (err < 0)
		return err;
	if (stat.first == stat.next)
		return -ENOENT;
	*ret_seq = node->kind == WALFS_FIRST ? stat.first : stat.next - 1;
	return 0;
}

int walfs_attr_target(struct walfs *fs, struct walfs_inode *inode, const struct walfs_node *node, uint32_t wait,
		      char target[WALFS_TARGET_MAX + 1])
{
	static const char up[] = "../";
	struct walfs_node to = { .kind = WALFS_RECORD, .stream = node->stream };
	bool in_at = node->kind == WALFS_AT_LINK || node->kind == WALFS_AT_FOLLOW;
	size_t len = in_at ? sizeof(up) - 1 : 0;
	if (node->kind == WALFS_AT_FOLLOW)
		to.kind = WALFS_FROM;
	int err = find_target(inode, node, wait, &to.seq);
	if (err < 0)
		return err;
	memcpy(target, up, len);
	return (int)len + walfs_node_name(&to, fs->opts->digits, target + len);
}

static int get_record(struct walfs *fs, struct walfs_inode *inode, const struct walfs_node *node,
		      const struct wal_stat *stat, uint32_t wait, struct stat *ret_st)
{
	struct wal_info info = { 0 };
	int err = wal_record_info(inode->stream, node->seq, wait, &info);
	/* A damaged record has a name, so that rm can remove it; opening it is what fails. */
	if (err == 0 && node->kind == WALFS_MSG)
		err = walfs_recfile_check(inode->stream, &info, wait);
	if (err < 0 && (err != -EBADMSG || node->kind == WALFS_MSG))
		return err;
	walfs_attr_record(fs, stat, node, &info, ret_st);
	return 0;
}

static int get_link(struct walfs *fs, struct walfs_inode *inode, const struct walfs_node *node,
		    const struct wal_stat *stat, uint32_t wait, struct stat *ret_st)
{
	char target[WALFS_TARGET_MAX + 1];
	int len = walfs_attr_target(fs, inode, node, wait, target);
	if (len < 0)
		return len;
	fill_in_stream(fs, stat, node, 0, (uint64_t)len, stat->last_time_ns, ret_st);
	return 0;
}

static int text_size(struct walfs *fs, struct walfs_inode *inode, enum walfs_kind kind, uint32_t wait,
		     uint64_t *ret_size)
{
	char *text;
	size_t len;
	int err = walfs_text_make(fs, inode, kind, wait, &text, &len);
	if (err < 0)
		return err;
	free(text);
	*ret_size = len;
	return 0;
}

/* Of a header that is staged, for the next record written to append, or for that of the next number. */
static int staged_size(struct walfs *fs, struct walfs_inode *inode, const struct walfs_node *node, uint32_t wait,
		       uint64_t *ret_size)
{
	struct walfs_staged_key key = { .stream = node->stream, .uid = node->uid };
	struct wal_stat stat = { 0 };
	int err = node->kind == WALFS_NEXT_HDR ? walfs_attr_stat_full(inode, wait, &stat) : 0;
	if (err < 0)
		return err;
	key.seq = stat.next;
	*ret_size = walfs_staged_len(&fs->staged, key);
	return 0;
}

static int get_in_stream(struct walfs *fs, struct walfs_inode *inode, const struct walfs_node *node, uint32_t wait,
			 struct stat *ret_st)
{
	struct wal_stat stat;
	uint64_t size = 0;

	/* Before the figures are taken: a commit after this tells the kernel. */
	walfs_notify_given(inode, node->kind);
	int err = wal_stream_stat(inode->stream, WAL_STAT_CHEAP, &stat);
	if (err < 0)
		return err;
	uint32_t mode = stat.attr.mode;

	switch (node->kind) {
	case WALFS_STREAM:
		mode = S_IFDIR | mode;
		break;
	case WALFS_APPEND:
	case WALFS_APPEND_LINE:
	case WALFS_APPEND_MSG:
	case WALFS_CREATION:
		mode = S_IFREG | (mode & 0666);
		break;
	case WALFS_APPEND_HDR:
	case WALFS_NEXT_HDR:
		mode = S_IFREG | (mode & 0666);
		err = staged_size(fs, inode, node, wait, &size);
		break;
	case WALFS_FIRST:
	case WALFS_LAST:
	case WALFS_AT_LINK:
	case WALFS_AT_FOLLOW:
		return get_link(fs, inode, node, &stat, wait, ret_st);
	case WALFS_STAT:
		mode = S_IFREG | (mode & 0444);
		err = text_size(fs, inode, node->kind, wait, &size);
		break;
	case WALFS_CONFIG:
		mode = S_IFREG | (mode & 0644);
		err = text_size(fs, inode, node->kind, wait, &size);
		break;
	case WALFS_ALL:
		mode = S_IFREG | (mode & 0444);
		err = walfs_all_size(inode, node->seq, wait, &size);
		break;
	case WALFS_AT:
		mode = S_IFDIR | (mode & 0555);
		break;
	case WALFS_FOLLOW:
	case WALFS_NEW_FOLLOW:
	case WALFS_FROM:
		mode = S_IFREG | (mode & 0444);
		size = WALFS_FOLLOW_SIZE;
		break;
	case WALFS_RECORD:
	case WALFS_SIDECAR:
	case WALFS_MSG:
		return get_record(fs, inode, node, &stat, wait, ret_st);
	default:
		return -ENOENT;
	}
	if (err < 0)
		return err;
	fill_in_stream(fs, &stat, node, mode, size, stat.last_time_ns, ret_st);
	return 0;
}

static int get_in_store(struct walfs *fs, const struct walfs_node *node, uint32_t wait, struct stat *ret_st)
{
	uint64_t size = 0;
	uint32_t mode;

	switch (node->kind) {
	case WALFS_ROOT:
		/* Who gives a umask says with it who may make streams; without one it is the mount's owner. */
		mode = S_IFDIR | (fs->opts->has_umask ? 01777 : 0755);
		break;
	case WALFS_CONTROL_DIR:
		mode = S_IFDIR | 0555;
		break;
	case WALFS_STORE_CONFIG:
	case WALFS_SYNC:
		mode = S_IFREG | 0644;
		break;
	default:
		mode = S_IFREG | 0444;
		break;
	}
	if (!walfs_kind_is_dir(node->kind)) {
		int err = text_size(fs, NULL, node->kind, wait, &size);
		if (err < 0)
			return err;
	}
	fill(fs, node, mode, size, atomic_load(&fs->changed_ns), ret_st);
	return 0;
}

int walfs_attr_get(struct walfs *fs, struct walfs_inode *inode, const struct walfs_node *node, uint32_t wait,
		   struct stat *ret_st)
{
	if (inode)
		return get_in_stream(fs, inode, node, wait, ret_st);
	return node->stream ? -ESTALE : get_in_store(fs, node, wait, ret_st);
}

double walfs_attr_timeout(const struct walfs_inode *inode, enum walfs_kind kind)
{
	/* The time of append changes when what is being written is committed: not to be kept until then. */
	if ((kind == WALFS_APPEND || kind == WALFS_APPEND_MSG) && inode && atomic_load(&inode->writing) > 0)
		return 0.0;
	return walfs_node_caching(kind)->attr_s;
}

void walfs_attr_fill_entry(const struct stat *st, const struct walfs_node *node, bool listed,
			   struct fuse_entry_param *ret_entry)
{
	const struct walfs_caching *caching = walfs_node_caching(node->kind);
	*ret_entry = (struct fuse_entry_param){
		.ino = walfs_node_id(node),
		.generation = 1,
		.attr = *st,
		.attr_timeout = caching->attr_s,
		.entry_timeout = listed ? caching->entry_s : 0.0,
	};
}

int walfs_attr_entry(struct walfs *fs, struct walfs_inode *inode, const struct walfs_node *node, bool listed,
		     uint32_t wait, struct fuse_entry_param *ret_entry)
{
	struct stat st;
	int err = walfs_attr_get(fs, inode, node, wait, &st);
	if (err < 0)
		return err;
	walfs_attr_fill_entry(&st, node, listed, ret_entry);
	ret_entry->attr_timeout = walfs_attr_timeout(inode, node->kind);
	return 0;
}

int walfs_attr_answer(struct walfs_call *call)
{
	struct walfs *fs = call->fs;
	struct walfs_inode *inode = NULL;
	struct stat st;
	int err;
	if (call->node.stream) {
		inode = walfs_inode_find(&fs->inodes, call->node.stream);
		if (!inode)
			return -ESTALE;
	}
	struct walfs_file *file = call->has_file ? walfs_file_of(&call->fi) : NULL;
	enum walfs_kind kind = call->node.kind;
	if (file && (kind == WALFS_RECORD || kind == WALFS_SIDECAR || kind == WALFS_MSG))
		err = walfs_recfile_attr(fs, file, &st);
	else
		err = walfs_attr_get(fs, inode, &call->node, call->wait, &st);
	if (err == -EIDRM && inode)
		err = walfs_recfile_attr_trimmed(fs, inode, &call->node, &st);
	if (err < 0)
		return err;
	if (file && file->ops->attr)
		file->ops->attr(file, &st);
	(void)fuse_reply_attr(call->req, &st, walfs_attr_timeout(inode, call->node.kind));
	return 0;
}
