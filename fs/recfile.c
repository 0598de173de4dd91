/* SPDX-License-Identifier: MIT
 *
 * A record never changes, so the kernel may keep its pages from one open to the next (keep_cache). The open itself always
 * comes here, and so a record that was trimmed cannot be opened, whatever is cached.
 */
#include "recfile.h"

#include "attr.h"
#include "message.h"
#include "walfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <utlist.h>

struct record_file {
	struct walfs_file file;
	struct wal_record *record;       /* immutable; owned */
	struct walfs_inode *inode;       /* immutable; referenced */
	struct walfs_node node;          /* immutable: a RECORD, SIDECAR or MSG */
	struct record_file *prev, *next; /* guarded by inode->lock */
};

static struct record_file *of(struct walfs_file *file)
{
	return (struct record_file *)file;
}

static void close_file(struct walfs *fs, struct record_file *file)
{
	pthread_mutex_lock(&file->inode->lock);
	DL_DELETE(file->inode->records, file);
	pthread_mutex_unlock(&file->inode->lock);
	walfs_file_remove(&fs->files, &file->file);
	wal_record_close(file->record);
	walfs_inode_unref(&fs->inodes, file->inode);
	free(file);
}

/* Header, empty line, content: from `off` on as much as there is, up to `size`. */
static ssize_t read_message(struct wal_record *record, uint64_t off, char *buf, size_t size, uint32_t wait)
{
	uint32_t header_len = wal_record_get_info(record)->header_len;
	size_t done = 0;
	ssize_t n;

	if (off < header_len) {
		n = wal_record_read_header(record, off, buf, size, wait);
		if (n < 0)
			return n;
		done = (size_t)n;
	}
	if (done < size && off + done == header_len)
		buf[done++] = '\n';
	if (done < size) {
		n = wal_record_read(record, off + done - header_len - 1, buf + done, size - done, wait);
		if (n < 0)
			return n;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

static int record_read(struct walfs_call *call, struct walfs_file *base)
{
	struct record_file *file = of(base);
	size_t size = call->size < WALFS_SCRATCH_BYTES ? call->size : WALFS_SCRATCH_BYTES;
	ssize_t n;
	if (file->node.kind == WALFS_MSG)
		n = read_message(file->record, call->off, call->scratch, size, call->wait);
	else if (file->node.kind == WALFS_SIDECAR)
		n = wal_record_read_header(file->record, call->off, call->scratch, size, call->wait);
	else
		n = wal_record_read(file->record, call->off, call->scratch, size, call->wait);
	if (n < 0)
		return (int)n;
	(void)fuse_reply_buf(call->req, call->scratch, (size_t)n);
	return 0;
}

static int record_release(struct walfs_call *call, struct walfs_file *base)
{
	close_file(call->fs, of(base));
	(void)fuse_reply_err(call->req, 0);
	return 0;
}

static void record_drop(struct walfs *fs, struct walfs_file *base, bool all_closed)
{
	(void)all_closed;
	close_file(fs, of(base));
}

static const struct walfs_file_ops record_ops = {
	.read = record_read,
	.release = record_release,
	.drop = record_drop,
};

int walfs_recfile_check(struct wal_stream *stream, const struct wal_info *info, uint32_t wait)
{
	if (info->header_len == 0)
		return 0;
	char *header = malloc(info->header_len);
	if (!header)
		return -ENOMEM;
	ssize_t n = wal_read_header(stream, info->seq, 0, header, info->header_len, wait);
	int err = n < 0 ? (int)n : 0;
	if (n >= 0 && !walfs_message_fits((struct wal_span){ header, (size_t)n }))
		err = -EILSEQ;
	free(header);
	return err;
}

int walfs_recfile_open(struct walfs_call *call)
{
	struct walfs *fs = call->fs;
	struct walfs_inode *inode = walfs_inode_find(&fs->inodes, call->node.stream);
	struct wal_record *record;
	if (!inode)
		return -ESTALE;
	/* Root comes past the mode. */
	if ((call->fi.flags & O_ACCMODE) != O_RDONLY || (call->fi.flags & O_TRUNC))
		return -EPERM;
	int err = wal_record_open(inode->stream, call->node.seq, call->wait, &record);
	if (err < 0)
		return err;
	if (call->node.kind == WALFS_MSG)
		err = walfs_recfile_check(inode->stream, wal_record_get_info(record), call->wait);
	if (err < 0) {
		wal_record_close(record);
		return err;
	}
	struct record_file *file = calloc(1, sizeof(*file));
	if (!file) {
		wal_record_close(record);
		return -ENOMEM;
	}
	file->record = record;
	file->inode = inode;
	file->node = call->node;
	walfs_inode_ref(&fs->inodes, inode);
	pthread_mutex_lock(&inode->lock);
	DL_APPEND(inode->records, file);
	pthread_mutex_unlock(&inode->lock);
	walfs_file_add(call, &file->file, &record_ops);

	call->fi.fh = (uintptr_t)file;
	call->fi.keep_cache = walfs_node_caching(call->node.kind)->keep_cache;
	call->fi.noflush = 1;
	if (fuse_reply_open(call->req, &call->fi) < 0)
		close_file(fs, file); /* interrupted: no RELEASE will come */
	return 0;
}

/* Of its stream, which may be gone too. */
static int stat_stream(struct walfs *fs, struct walfs_inode *inode, struct wal_stat *ret_stat)
{
	int err = wal_stream_stat(inode->stream, WAL_STAT_CHEAP, ret_stat);
	if (err == -EIDRM)
		*ret_stat = (struct wal_stat){ .attr = { .uid = fs->uid, .gid = fs->gid, .mode = 0444 } };
	return err == -EIDRM ? 0 : err;
}

int walfs_recfile_attr(struct walfs *fs, struct walfs_file *base, struct stat *ret_st)
{
	struct record_file *file = of(base);
	struct wal_stat stat;
	int err = stat_stream(fs, file->inode, &stat);
	if (err == 0)
		walfs_attr_record(fs, &stat, &file->node, wal_record_get_info(file->record), ret_st);
	return err;
}

int walfs_recfile_attr_trimmed(struct walfs *fs, struct walfs_inode *inode, const struct walfs_node *node,
			       struct stat *ret_st)
{
	struct wal_stat stat;
	struct record_file *file;
	int err = stat_stream(fs, inode, &stat);
	if (err < 0)
		return err;
	pthread_mutex_lock(&inode->lock);
	DL_FOREACH(inode->records, file)
		if (file->node.seq == node->seq && file->node.kind == node->kind)
			break;
	if (file)
		walfs_attr_record(fs, &stat, node, wal_record_get_info(file->record), ret_st);
	pthread_mutex_unlock(&inode->lock);
	return file ? 0 : -EIDRM;
}

int walfs_recfile_readlink(struct walfs_call *call)
{
	struct walfs *fs = call->fs;
	struct walfs_inode *inode = walfs_inode_find(&fs->inodes, call->node.stream);
	char target[WALFS_TARGET_MAX + 1];
	if (!inode || !walfs_kind_is_link(call->node.kind))
		return -EINVAL;
	int err = walfs_attr_target(fs, inode, &call->node, call->wait, target);
	if (err < 0)
		return err;
	(void)fuse_reply_readlink(call->req, target);
	return 0;
}
