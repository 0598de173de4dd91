/* SPDX-License-Identifier: MIT
 *
 * The text is made at the open and kept until the release, so that its length is the st_size that an fstat gives, and
 * that reading it in pieces gives one text. Writes go straight to the engine; offsets mean nothing.
 */
#include "control.h"

#include "attr.h"
#include "text.h"
#include "walfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

struct control_file {
	struct walfs_file file;
	enum walfs_kind kind;      /* immutable */
	struct walfs_inode *inode; /* immutable, referenced; NULL for files of .walfs */
	char *text;                /* immutable; owned */
	size_t len;                /* immutable */
};

static struct control_file *of(struct walfs_file *file)
{
	return (struct control_file *)file;
}

static void close_file(struct walfs *fs, struct control_file *file)
{
	walfs_user_give(file->file.user, WALFS_HELD, file->len);
	walfs_file_remove(&fs->files, &file->file);
	if (file->inode)
		walfs_inode_unref(&fs->inodes, file->inode);
	free(file->text);
	free(file);
}

static int control_read(struct walfs_call *call, struct walfs_file *base)
{
	struct control_file *file = of(base);
	size_t off = call->off < file->len ? call->off : file->len;
	size_t n = file->len - off < call->size ? file->len - off : call->size;
	(void)fuse_reply_buf(call->req, file->text + off, n);
	return 0;
}

static int change_settings(struct walfs_call *call, struct control_file *file)
{
	struct walfs *fs = call->fs;
	struct wal_settings settings;
	struct wal_err problem = { 0 };
	int err = file->inode ? wal_stream_get_settings(file->inode->stream, &settings)
			      : wal_store_get_settings(fs->store, &settings);
	if (err < 0)
		return err;
	err = wal_settings_parse(&settings, call->data, call->size, &problem);
	if (err < 0) {
		walfs_log_client(fs->log, WALFS_LOG_INFO, "settings refused uid=%u reason=\"%s\"",
				 (unsigned)fuse_req_ctx(call->req)->uid, problem.text);
		return err;
	}
	return file->inode ? wal_stream_set_settings(file->inode->stream, &settings)
			   : wal_store_set_settings(fs->store, &settings);
}

static int control_write(struct walfs_call *call, struct walfs_file *base)
{
	struct control_file *file = of(base);
	int err;
	if (call->wait & WAL_NOWAIT)
		return -EAGAIN;
	if (file->kind == WALFS_SYNC)
		err = wal_store_sync(call->fs->store);
	else
		err = change_settings(call, file);
	if (err < 0)
		return err;
	(void)fuse_reply_write(call->req, call->size);
	return 0;
}

static int control_flush(struct walfs_call *call, struct walfs_file *base)
{
	(void)base;
	(void)fuse_reply_err(call->req, 0);
	return 0;
}

static int control_release(struct walfs_call *call, struct walfs_file *base)
{
	close_file(call->fs, of(base));
	(void)fuse_reply_err(call->req, 0);
	return 0;
}

static void control_attr(struct walfs_file *base, struct stat *st)
{
	st->st_size = (off_t)of(base)->len;
}

static void control_drop(struct walfs *fs, struct walfs_file *base, bool all_closed)
{
	(void)all_closed;
	close_file(fs, of(base));
}

/* No truncate: ops.c takes any for none. */
static const struct walfs_file_ops control_ops = {
	.read = control_read,
	.write = control_write,
	.flush = control_flush,
	.release = control_release,
	.attr = control_attr,
	.drop = control_drop,
};

static bool is_writable(enum walfs_kind kind)
{
	return kind == WALFS_CONFIG || kind == WALFS_STORE_CONFIG || kind == WALFS_SYNC;
}

int walfs_control_open(struct walfs_call *call)
{
	struct walfs *fs = call->fs;
	bool reads = (call->fi.flags & O_ACCMODE) == O_RDONLY;
	if (!reads && !is_writable(call->node.kind))
		return -EPERM;
	struct walfs_inode *inode = NULL;
	if (call->node.stream) {
		inode = walfs_inode_find(&fs->inodes, call->node.stream);
		if (!inode)
			return -ESTALE;
	}
	struct control_file *file = calloc(1, sizeof(*file));
	if (!file)
		return -ENOMEM;
	int err = walfs_text_make(fs, inode, call->node.kind, call->wait, &file->text, &file->len);
	if (err == 0) {
		err = walfs_user_take(call->user, WALFS_HELD, file->len);
		if (err < 0)
			free(file->text);
	}
	if (err < 0) {
		free(file);
		return err;
	}
	file->kind = call->node.kind;
	file->inode = inode;
	if (inode)
		walfs_inode_ref(&fs->inodes, inode);
	walfs_file_add(call, &file->file, &control_ops);

	call->fi.fh = (uintptr_t)file;
	call->fi.direct_io = walfs_node_caching(call->node.kind)->direct_io;
	call->fi.noflush = 1;
	if (fuse_reply_open(call->req, &call->fi) < 0)
		close_file(fs, file); /* interrupted: no RELEASE will come */
	return 0;
}
