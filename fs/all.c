/* SPDX-License-Identifier: MIT
 *
 * Offset x of the file is position base + x of the stream, where base is the position of the node's record; the engine's
 * positions stay when the head is trimmed. The base of a record that is no more cannot be asked for, so the open files
 * of a stream are in a list, in which a stat finds it: the kernel does not say by which open file it asks.
 *
 * Direct I/O. Through the page cache a reader could see zeros: the kernel sets the new size of a grown file before it
 * drops the last page of the old one, which is zero behind the old end. Those who read by sendfile, splice or a private mmap go
 * through the page cache nevertheless; they get what there was when they asked for the size.
 */
#include "all.h"

#include "attr.h"
#include "walfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <utlist.h>

#define LOOP_BYTES (256 * 1024) /* a larger read takes the loop too long: a tenth of a millisecond each */

struct walfs_all {
	struct walfs_file file;
	struct walfs_inode *inode;     /* immutable; referenced */
	uint64_t seq;                  /* immutable: the first record */
	uint64_t base;                 /* immutable: its position */
	struct walfs_all *prev, *next; /* guarded by inode->lock */
};

static struct walfs_all *of(struct walfs_file *file)
{
	return (struct walfs_all *)file;
}

static void close_file(struct walfs *fs, struct walfs_all *file)
{
	struct walfs_inode *inode = file->inode;
	pthread_mutex_lock(&inode->lock);
	DL_DELETE(inode->alls, file);
	pthread_mutex_unlock(&inode->lock);
	walfs_file_remove(&fs->files, &file->file);
	walfs_inode_unref(&fs->inodes, inode);
	free(file);
}

static bool find_base(struct walfs_inode *inode, uint64_t seq, uint64_t *ret_base)
{
	struct walfs_all *file;
	pthread_mutex_lock(&inode->lock);
	DL_FOREACH(inode->alls, file)
		if (file->seq == seq)
			break;
	if (file)
		*ret_base = file->base;
	pthread_mutex_unlock(&inode->lock);
	return file;
}

int walfs_all_size(struct walfs_inode *inode, uint64_t seq, uint32_t wait, uint64_t *ret_size)
{
	struct wal_stat stat;
	uint64_t base = 0, end = 0;
	int err = walfs_attr_stat_full(inode, wait, &stat);
	if (err == 0 && !find_base(inode, seq, &base)) {
		err = wal_tell(inode->stream, seq, wait, &base);
		if (err == -EIDRM)
			return -ESTALE;
	}
	if (err == 0)
		err = wal_tell(inode->stream, stat.next, wait, &end);
	if (err < 0)
		return err;
	*ret_size = end - base;
	return 0;
}

/* Is this the end of what there is? False where that cannot be told without waiting. */
static bool is_end(struct wal_stream *stream, uint64_t pos)
{
	struct wal_stat stat;
	uint64_t end;
	return wal_stream_stat(stream, WAL_STAT_CHEAP, &stat) == 0 && stat.recovered &&
	       wal_tell(stream, stat.next, WAL_NOWAIT, &end) == 0 && end == pos;
}

static int all_read(struct walfs_call *call, struct walfs_file *base)
{
	struct walfs_all *file = of(base);
	size_t size = call->size < WALFS_SCRATCH_BYTES ? call->size : WALFS_SCRATCH_BYTES;
	uint64_t pos;
	if (size > LOOP_BYTES && (call->wait & WAL_NOWAIT))
		return -EAGAIN;
	if (__builtin_add_overflow(file->base, call->off, &pos))
		return -EINVAL;
	ssize_t n = wal_read_range(file->inode->stream, pos, call->scratch, size, call->wait);
	if (n < 0)
		return n == -EIDRM ? -ESTALE : (int)n;
	/* A short read in the middle of a file is taken for its end, by tar and by the page cache. */
	if ((size_t)n < size && (call->wait & WAL_NOWAIT) && !is_end(file->inode->stream, pos + (uint64_t)n))
		return -EAGAIN;
	(void)fuse_reply_buf(call->req, call->scratch, (size_t)n);
	return 0;
}

static int all_release(struct walfs_call *call, struct walfs_file *base)
{
	close_file(call->fs, of(base));
	(void)fuse_reply_err(call->req, 0);
	return 0;
}

static void all_drop(struct walfs *fs, struct walfs_file *base, bool all_closed)
{
	(void)all_closed;
	close_file(fs, of(base));
}

static const struct walfs_file_ops all_ops = {
	.read = all_read,
	.release = all_release,
	.drop = all_drop,
};

int walfs_all_open(struct walfs_call *call)
{
	struct walfs *fs = call->fs;
	struct walfs_inode *inode = walfs_inode_find(&fs->inodes, call->node.stream);
	uint64_t base;
	if (!inode)
		return -ESTALE;
	if ((call->fi.flags & O_ACCMODE) != O_RDONLY || (call->fi.flags & O_TRUNC))
		return -EPERM;
	int err = find_base(inode, call->node.seq, &base) ? 0
							  : wal_tell(inode->stream, call->node.seq, call->wait, &base);
	if (err < 0)
		return err == -EIDRM ? -ESTALE : err;
	struct walfs_all *file = calloc(1, sizeof(*file));
	if (!file)
		return -ENOMEM;
	file->inode = inode;
	file->seq = call->node.seq;
	file->base = base;
	walfs_inode_ref(&fs->inodes, inode);
	pthread_mutex_lock(&inode->lock);
	DL_APPEND(inode->alls, file);
	pthread_mutex_unlock(&inode->lock);
	walfs_file_add(call, &file->file, &all_ops);

	call->fi.fh = (uintptr_t)file;
	call->fi.direct_io = walfs_node_caching(call->node.kind)->direct_io;
	call->fi.noflush = 1;
	if (fuse_reply_open(call->req, &call->fi) < 0)
		close_file(fs, file); /* interrupted: no RELEASE will come */
	return 0;
}
