/* SPDX-License-Identifier: MIT
 *
 * An open file works on a copy: what is staged at the open (nothing with O_TRUNC), changed by writes and truncates as any
 * file is. A flush with changes stages the copy. A shell's first flush, before the data, so stages what O_TRUNC left:
 * nothing; which is what `: > append.hdr` is for.
 */
#include "hdrfile.h"

#include "attr.h"
#include "creation.h"
#include "opener.h"
#include "walfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

struct hdr_file {
	struct walfs_file file;
	pthread_mutex_t lock;
	struct walfs_staged_key key; /* immutable */
	char *data;                  /* guarded by lock; owned */
	size_t len;                  /* guarded by lock */
	bool changed;                /* guarded by lock */
};

static struct hdr_file *of(struct walfs_file *file)
{
	return (struct hdr_file *)file;
}

static void close_file(struct walfs *fs, struct hdr_file *file)
{
	walfs_user_give(file->file.user, WALFS_HELD, WAL_HEADER_MAX);
	walfs_file_remove(&fs->files, &file->file);
	pthread_mutex_destroy(&file->lock);
	free(file->data);
	free(file);
}

/* Makes the copy `len` long, with zeros where it grows. */
static int resize_locked(struct hdr_file *file, uint64_t len)
{
	if (len > WAL_HEADER_MAX)
		return -E2BIG;
	if (len > file->len) {
		char *data = realloc(file->data, len);
		if (!data)
			return -ENOMEM;
		memset(data + file->len, 0, len - file->len);
		file->data = data;
	}
	file->len = len;
	return 0;
}

static int hdr_read(struct walfs_call *call, struct walfs_file *base)
{
	struct hdr_file *file = of(base);
	size_t n = 0;
	pthread_mutex_lock(&file->lock);
	if (call->off < file->len) {
		n = file->len - call->off < call->size ? file->len - call->off : call->size;
		memcpy(call->scratch, file->data + call->off, n);
	}
	pthread_mutex_unlock(&file->lock);
	(void)fuse_reply_buf(call->req, call->scratch, n);
	return 0;
}

/* The number that the stream's next record will have. -EAGAIN. */
static int next_seq(struct walfs_call *call, uint64_t *ret_seq)
{
	struct walfs_inode *inode = walfs_inode_find(&call->fs->inodes, call->node.stream);
	struct wal_stat stat;
	int err = inode ? walfs_attr_stat_full(inode, call->wait, &stat) : -ESTALE;
	if (err == 0)
		*ret_seq = stat.next;
	return err;
}

/* Whose header a node stands for. */
static int node_key(struct walfs_call *call, struct walfs_staged_key *ret_key)
{
	struct walfs_staged_key key = { .stream = call->node.stream, .uid = call->node.uid };
	int err = call->node.kind == WALFS_NEXT_HDR ? next_seq(call, &key.seq) : 0;
	if (err == 0)
		*ret_key = key;
	return err;
}

static int hdr_write(struct walfs_call *call, struct walfs_file *base)
{
	struct hdr_file *file = of(base);
	uint64_t next = file->key.seq; /* 0: of append.hdr */
	int err = next > 0 ? next_seq(call, &next) : 0;
	if (err < 0)
		return err;
	if (next != file->key.seq)
		return -ESTALE; /* the record that it is for has come without it */
	pthread_mutex_lock(&file->lock);
	uint64_t off = call->fi.flags & O_APPEND ? file->len : call->off;
	uint64_t end;
	if (__builtin_add_overflow(off, call->size, &end) || end > WAL_HEADER_MAX)
		err = -E2BIG;
	if (err == 0 && end > file->len)
		err = resize_locked(file, end);
	if (err == 0)
		err = walfs_staged_check(&call->fs->staged, file->key, file->len);
	if (err == 0) {
		memcpy(file->data + off, call->data, call->size);
		file->changed = true;
	}
	pthread_mutex_unlock(&file->lock);
	if (err < 0)
		return err;
	(void)fuse_reply_write(call->req, call->size);
	return 0;
}

static int stage(struct walfs *fs, struct hdr_file *file)
{
	int err = 0;
	pthread_mutex_lock(&file->lock);
	if (file->changed)
		err = walfs_staged_put(&fs->staged, file->key, file->data, file->len);
	file->changed = false;
	pthread_mutex_unlock(&file->lock);
	return err;
}

static int hdr_flush(struct walfs_call *call, struct walfs_file *base)
{
	/* Half a header of a killed writer is as little wanted as half a record. */
	int err = 0;
	if (walfs_process_fate(walfs_call_pid(call)) != WALFS_FATE_KILLED)
		err = stage(call->fs, of(base));
	if (err < 0)
		return err;
	(void)fuse_reply_err(call->req, 0);
	return 0;
}

static int hdr_fsync(struct walfs_call *call, struct walfs_file *base)
{
	int err = stage(call->fs, of(base));
	if (err < 0)
		return err;
	(void)fuse_reply_err(call->req, 0);
	return 0;
}

static int reply_attr(struct walfs_call *call)
{
	struct stat st;
	struct walfs_inode *inode = walfs_inode_find(&call->fs->inodes, call->node.stream);
	int err = inode ? walfs_attr_get(call->fs, inode, &call->node, call->wait, &st) : -ESTALE;
	if (err < 0)
		return err;
	if (call->has_file)
		st.st_size = (off_t)call->size;
	(void)fuse_reply_attr(call->req, &st, walfs_attr_timeout(inode, call->node.kind));
	return 0;
}

static int hdr_truncate(struct walfs_call *call, struct walfs_file *base)
{
	struct hdr_file *file = of(base);
	pthread_mutex_lock(&file->lock);
	int err = resize_locked(file, call->size);
	if (err == 0)
		file->changed = true;
	pthread_mutex_unlock(&file->lock);
	return err < 0 ? err : reply_attr(call);
}

static int hdr_release(struct walfs_call *call, struct walfs_file *base)
{
	close_file(call->fs, of(base));
	(void)fuse_reply_err(call->req, 0);
	return 0;
}

static void hdr_attr(struct walfs_file *base, struct stat *st)
{
	struct hdr_file *file = of(base);
	pthread_mutex_lock(&file->lock);
	st->st_size = (off_t)file->len;
	pthread_mutex_unlock(&file->lock);
}

static void hdr_drop(struct walfs *fs, struct walfs_file *base, bool all_closed)
{
	(void)all_closed; /* staged headers end with the mount */
	close_file(fs, of(base));
}

static const struct walfs_file_ops hdr_ops = {
	.read = hdr_read,
	.write = hdr_write,
	.flush = hdr_flush,
	.fsync = hdr_fsync,
	.truncate = hdr_truncate,
	.release = hdr_release,
	.attr = hdr_attr,
	.drop = hdr_drop,
};

/* An open file for what is staged there; -ESTALE where nothing is, and something must be. */
static int hdr_new(struct walfs_call *call, struct walfs_staged_key key, bool must_be, struct hdr_file **ret_file)
{
	struct hdr_file *file = calloc(1, sizeof(*file));
	void *data = NULL;
	if (!file)
		return -ENOMEM;
	int err = walfs_user_take(call->user, WALFS_HELD, WAL_HEADER_MAX); /* what the copy can grow to */
	if (err < 0) {
		free(file);
		return err;
	}
	err = walfs_staged_copy(&call->fs->staged, key, &data, &file->len);
	if (err == 0 && must_be && file->len == 0)
		err = -ESTALE;
	if (err < 0) {
		walfs_user_give(call->user, WALFS_HELD, WAL_HEADER_MAX);
		free(file);
		return err;
	}
	file->data = data;
	file->key = key;
	if (call->fi.flags & O_TRUNC) {
		file->len = 0;
		file->changed = true;
	}
	pthread_mutex_init(&file->lock, NULL);
	walfs_file_add(call, &file->file, &hdr_ops);
	*ret_file = file;
	return 0;
}

int walfs_hdrfile_open(struct walfs_call *call)
{
	struct walfs_staged_key key = { 0 };
	struct hdr_file *file = NULL;
	int err = node_key(call, &key);
	if (err == 0)
		err = hdr_new(call, key, call->node.kind == WALFS_NEXT_HDR, &file);
	if (err != 0)
		return err;
	call->fi.fh = (uintptr_t)file;
	call->fi.direct_io = walfs_node_caching(call->node.kind)->direct_io;
	call->fi.noflush = (call->fi.flags & O_ACCMODE) == O_RDONLY;
	if (fuse_reply_open(call->req, &call->fi) < 0)
		close_file(call->fs, file); /* interrupted: no RELEASE will come */
	return 0;
}

int walfs_hdrfile_create(struct walfs_call *call, struct walfs_inode *inode, uint64_t seq)
{
	uint32_t uid = fuse_req_ctx(call->req)->uid;
	struct walfs_staged_key key = { .stream = inode->id, .uid = uid, .seq = seq };
	struct walfs_node node = { .kind = WALFS_NEXT_HDR, .stream = inode->id, .uid = uid };
	struct fuse_entry_param entry;
	struct hdr_file *file = NULL;
	int err = walfs_attr_entry(call->fs, inode, &node, false, call->wait, &entry);
	if (err == 0)
		err = hdr_new(call, key, false, &file);
	if (err != 0)
		return err;
	if (!walfs_creation_reply(call, inode, &node, &file->file, &entry))
		close_file(call->fs, file);
	return 0;
}

int walfs_hdrfile_truncate(struct walfs_call *call)
{
	struct walfs_staged *staged = &call->fs->staged;
	struct hdr_file copy = { 0 };
	void *data = NULL;
	int err = node_key(call, &copy.key);
	if (err == 0)
		err = walfs_staged_copy(staged, copy.key, &data, &copy.len);
	if (err < 0)
		return err;
	copy.data = data;
	err = resize_locked(&copy, call->size);
	if (err == 0)
		err = walfs_staged_put(staged, copy.key, copy.data, copy.len);
	free(copy.data);
	return err < 0 ? err : reply_attr(call);
}
