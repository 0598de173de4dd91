/* SPDX-License-Identifier: MIT
 *
 * Each operation fills in a call and lets it run: in the loop if it can be answered at once, else in a worker. What is
 * known to wait goes to a worker straight away.
 *
 * Measured here (2 cores, busy; a write of 100 B to an open file, the lower quarter of 25 runs): answered in the loop 4 us,
 * through libfuse's pool of threads 20, handed to a worker 64. Open, write and close in a relaxed stream 28 us, of which
 * 11 are opener.c's look into /proc and 3 the notice of notify.c.
 *
 * No operation is in the table that would only say no, where the kernel has the same answer: access (the kernel checks),
 * xattr (ENOSYS is remembered), locks (local), lseek.
 */
#include "ops.h"

#include "all.h"
#include "append.h"
#include "attr.h"
#include "call.h"
#include "control.h"
#include "creation.h"
#include "dir.h"
#include "follow.h"
#include "hdrfile.h"
#include "list.h"
#include "recfile.h"
#include "walfs.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>

static_assert(WALFS_MAX_WRITE <= WALFS_SCRATCH_BYTES, "a read may be as large as a write");
static_assert(WALFS_PACKET_MAX == WALFS_MAX_WRITE - 4096, "the kernel splits at a page less");

/* A call for a node; false where there is no such node, and then the reply has been sent. */
static bool start(struct walfs_call *call, enum walfs_op op, fuse_req_t req, fuse_ino_t ino, walfs_handler *handler)
{
	*call = (struct walfs_call){ .fs = fuse_req_userdata(req), .req = req, .ino = ino, .handler = handler };
	walfs_meter_request(&call->fs->meter, op);
	int err = walfs_node_from_id(ino, &call->node);
	if (err < 0)
		walfs_reply_err(req, err, WALFS_READING);
	return err == 0;
}

/* What a write to a node of this kind is about. */
static enum walfs_sense sense_of(enum walfs_kind kind)
{
	return kind == WALFS_APPEND_HDR || kind == WALFS_NEXT_HDR ? WALFS_HEADING : WALFS_WRITING;
}

static void use_file(struct walfs_call *call, const struct fuse_file_info *fi)
{
	call->has_file = true;
	call->fi = *fi;
}

/* ---- the mount --------------------------------------------------------------------------------------- */

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	struct walfs *fs = userdata;
	conn->max_write = WALFS_MAX_WRITE;
	/* Of RELEASEs more than this are kept back by the kernel, behind whatever comes then: await.c counts on their order. */
	conn->max_background = UINT16_MAX;
	/* The kernel's own. Beyond it nobody's file is read ahead, so that many readers do not fill the queue for others. */
	conn->congestion_threshold = 9;
	conn->want &= ~(unsigned)FUSE_CAP_WRITEBACK_CACHE;
	conn->want |= conn->capable & (FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO);
	if (fs->ready)
		fs->ready(fs);
}

static int do_statfs(struct walfs_call *call)
{
	struct wal_space space;
	if (call->wait & WAL_NOWAIT)
		return -EAGAIN;
	int err = wal_store_space(call->fs->store, &space);
	if (err < 0)
		return err;
	uint64_t block = space.block ? space.block : 4096;
	struct statvfs st = {
		.f_bsize = block,
		.f_frsize = block,
		.f_blocks = space.total / block,
		.f_bfree = space.free / block,
		.f_bavail = space.avail / block,
		.f_files = space.files,
		.f_ffree = space.files_free,
		.f_favail = space.files_free,
		.f_namemax = WALFS_NODE_NAME_MAX,
	};
	(void)fuse_reply_statfs(call->req, &st);
	return 0;
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct walfs_call call;
	(void)ino; /* 0 for some callers */
	if (start(&call, WALFS_OP_STATFS, req, FUSE_ROOT_ID, do_statfs))
		walfs_call_send(&call);
}

/* ---- names ------------------------------------------------------------------------------------------- */

static bool start_name(struct walfs_call *call, enum walfs_op op, fuse_req_t req, fuse_ino_t parent, const char *name,
		       walfs_handler *handler)
{
	if (!start(call, op, req, parent, handler))
		return false;
	if (!walfs_kind_is_dir(call->node.kind)) {
		walfs_reply_err(req, -ENOTDIR, WALFS_READING);
		return false;
	}
	call->name = name;
	return true;
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct walfs_call call;
	if (start_name(&call, WALFS_OP_LOOKUP, req, parent, name, walfs_dir_lookup))
		walfs_call_run(&call);
}

static void forget_one(struct walfs *fs, fuse_ino_t ino, uint64_t n)
{
	uint64_t stream = walfs_node_stream(ino);
	if (stream)
		walfs_inode_forget(&fs->inodes, stream, n);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	forget_one(fuse_req_userdata(req), ino, n);
	fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		forget_one(fuse_req_userdata(req), forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct walfs_call call;
	if (!start_name(&call, WALFS_OP_MKDIR, req, parent, name, walfs_dir_mkdir))
		return;
	call.sense = WALFS_NAMING;
	call.mode = mode;
	walfs_call_send(&call);
}

static void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct walfs_call call;
	if (start_name(&call, WALFS_OP_RMDIR, req, parent, name, walfs_dir_rmdir))
		walfs_call_send(&call);
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct walfs_call call;
	if (start_name(&call, WALFS_OP_UNLINK, req, parent, name, walfs_dir_unlink))
		walfs_call_send(&call);
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent, const char *new_name,
		      unsigned flags)
{
	struct walfs_call call;
	if (!start_name(&call, WALFS_OP_RENAME, req, parent, name, walfs_dir_rename))
		return;
	call.sense = WALFS_NAMING;
	call.new_parent = new_parent;
	call.new_name = new_name;
	call.flags = flags;
	walfs_call_send(&call);
}

/* Nothing can be made but streams and the next record, which takes an open file. */
static void refuse_to_make(fuse_req_t req)
{
	walfs_meter_request(&((struct walfs *)fuse_req_userdata(req))->meter, WALFS_OP_CREATE);
	walfs_reply_err(req, -EPERM, WALFS_NAMING);
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	(void)parent;
	(void)name;
	(void)mode;
	(void)rdev;
	refuse_to_make(req);
}

static void op_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
	(void)link;
	(void)parent;
	(void)name;
	refuse_to_make(req);
}

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char *new_name)
{
	(void)ino;
	(void)new_parent;
	(void)new_name;
	refuse_to_make(req);
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct walfs_call call;
	if (start(&call, WALFS_OP_READLINK, req, ino, walfs_recfile_readlink))
		walfs_call_run(&call);
}

/* ---- attributes -------------------------------------------------------------------------------------- */

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct walfs_call call;
	if (!start(&call, WALFS_OP_GETATTR, req, ino, walfs_attr_answer))
		return;
	if (fi && fi->fh && !walfs_kind_is_dir(call.node.kind))
		use_file(&call, fi);
	walfs_call_run(&call);
}

#define SETS_OWNER (FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)

/* truncate: of append and append.hdr their files know what it means; control files take any for none. */
static int set_size(struct walfs_call *call)
{
	struct walfs_file *file = call->has_file ? walfs_file_of(&call->fi) : NULL;
	if (file && file->ops->truncate)
		return file->ops->truncate(call, file);
	if (call->node.kind == WALFS_APPEND_HDR || call->node.kind == WALFS_NEXT_HDR)
		return walfs_hdrfile_truncate(call);
	if (call->size != 0)
		return -EPERM; /* there is no open file that the zeros could belong to */
	return walfs_attr_answer(call);
}

static int do_setattr(struct walfs_call *call)
{
	switch (call->node.kind) {
	case WALFS_STREAM:
		if (call->to_set & SETS_OWNER)
			return walfs_dir_set_attr(call);
		return walfs_attr_answer(call);
	case WALFS_APPEND:
	case WALFS_APPEND_LINE:
	case WALFS_APPEND_MSG:
	case WALFS_CREATION:
	case WALFS_APPEND_HDR:
	case WALFS_NEXT_HDR:
		/* Harmless, so that cp -p, touch and rsync can do what they do to any file. */
		return call->to_set & FUSE_SET_ATTR_SIZE ? set_size(call) : walfs_attr_answer(call);
	case WALFS_CONFIG:
	case WALFS_STORE_CONFIG:
	case WALFS_SYNC:
	case WALFS_ROOT:
		return call->to_set & SETS_OWNER ? -EPERM : walfs_attr_answer(call);
	default:
		return -EPERM;
	}
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
	struct walfs_call call;
	if (!start(&call, WALFS_OP_SETATTR, req, ino, do_setattr))
		return;
	call.sense = sense_of(call.node.kind);
	if (fi && fi->fh)
		use_file(&call, fi);
	call.to_set = to_set;
	call.mode = attr->st_mode;
	call.uid = attr->st_uid;
	call.gid = attr->st_gid;
	call.size = (size_t)attr->st_size;
	if (call.node.kind == WALFS_STREAM && (to_set & SETS_OWNER))
		walfs_call_send(&call);
	else
		walfs_call_run(&call);
}

/* ---- files ------------------------------------------------------------------------------------------- */

static int open_kind(struct walfs_call *call)
{
	switch (call->node.kind) {
	case WALFS_APPEND:
	case WALFS_APPEND_LINE:
	case WALFS_APPEND_MSG:
		return walfs_append_open(call);
	case WALFS_CREATION: /* by /dev/stdout or the like: it has its one creator */
		return -EPERM;
	case WALFS_APPEND_HDR:
	case WALFS_NEXT_HDR:
		return walfs_hdrfile_open(call);
	case WALFS_RECORD:
	case WALFS_SIDECAR:
	case WALFS_MSG:
		return walfs_recfile_open(call);
	case WALFS_FOLLOW:
	case WALFS_NEW_FOLLOW:
	case WALFS_FROM:
		return walfs_follow_open(call);
	case WALFS_ALL:
		return walfs_all_open(call);
	default:
		return walfs_control_open(call);
	}
}

/* An open file is somebody's from the start, and what it takes is taken from him. */
static int open_as(struct walfs_call *call, walfs_handler *open)
{
	struct walfs_users *users = &call->fs->users;
	struct walfs_user *user = call->user; /* where it runs again */
	int err = user ? 0 : walfs_user_enter(users, fuse_req_ctx(call->req)->uid, &user);
	if (err < 0)
		return err;
	call->user = user;
	err = open(call);
	if (err < 0 && (err != -EAGAIN || !(call->wait & WAL_NOWAIT)))
		walfs_user_leave(user); /* it does not run again */
	return err;
}

static int do_open(struct walfs_call *call)
{
	return open_as(call, open_kind);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct walfs_call call;
	if (!start(&call, WALFS_OP_OPEN, req, ino, do_open))
		return;
	call.fi = *fi; /* no file yet */
	walfs_call_run(&call);
}

static int do_create(struct walfs_call *call)
{
	return open_as(call, walfs_creation_create);
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	struct walfs_call call;
	(void)mode; /* the stream's directory says who may do what */
	if (!start_name(&call, WALFS_OP_CREATE, req, parent, name, do_create))
		return;
	call.sense = WALFS_WRITING;
	call.fi = *fi; /* no file yet */
	walfs_call_run(&call);
}

static int do_read(struct walfs_call *call)
{
	struct walfs_file *file = walfs_file_of(&call->fi);
	return file->ops->read ? file->ops->read(call, file) : -EPERM;
}

static int do_write(struct walfs_call *call)
{
	struct walfs_file *file = walfs_file_of(&call->fi);
	return file->ops->write ? file->ops->write(call, file) : -EPERM;
}

static int do_flush(struct walfs_call *call)
{
	struct walfs_file *file = walfs_file_of(&call->fi);
	if (file->ops->flush)
		return file->ops->flush(call, file);
	(void)fuse_reply_err(call->req,
			     0); /* never ENOSYS: the kernel would ask for none any more, not even append's */
	return 0;
}

/* Of a file that has nothing of its own to sync: the records of its stream, or of all. */
static int sync_records(struct walfs_call *call)
{
	struct walfs_inode *inode = NULL;
	if (call->wait & WAL_NOWAIT)
		return -EAGAIN;
	if (call->node.stream) {
		inode = walfs_inode_find(&call->fs->inodes, call->node.stream);
		if (!inode)
			return -ESTALE;
	}
	int err = inode ? wal_stream_sync(inode->stream) : wal_store_sync(call->fs->store);
	if (err < 0)
		return err;
	(void)fuse_reply_err(call->req, 0);
	return 0;
}

static int do_fsync(struct walfs_call *call)
{
	struct walfs_file *file = walfs_file_of(&call->fi);
	return file->ops->fsync ? file->ops->fsync(call, file) : sync_records(call);
}

static int do_release(struct walfs_call *call)
{
	struct walfs_file *file = walfs_file_of(&call->fi);
	return file->ops->release(call, file);
}

static void run_on_file(enum walfs_op op, fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
			walfs_handler *handler)
{
	struct walfs_call call;
	if (!start(&call, op, req, ino, handler))
		return;
	use_file(&call, fi);
	call.sense = sense_of(call.node.kind);
	walfs_call_run(&call);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct walfs_call call;
	if (!start(&call, WALFS_OP_READ, req, ino, do_read))
		return;
	use_file(&call, fi);
	call.size = size;
	call.off = (uint64_t)off;
	walfs_call_run(&call);
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct walfs_call call;
	if (!start(&call, WALFS_OP_WRITE, req, ino, do_write))
		return;
	use_file(&call, fi);
	call.sense = sense_of(call.node.kind);
	call.data = buf;
	call.size = size;
	call.off = (uint64_t)off;
	walfs_call_run(&call);
}

static int do_poll(struct walfs_call *call)
{
	struct walfs_file *file = walfs_file_of(&call->fi);
	if (file->ops->poll)
		return file->ops->poll(call, file);
	/* What the kernel says of a file that has no poll; ENOSYS would mean that none has. */
	if (call->ph)
		fuse_pollhandle_destroy(call->ph);
	(void)fuse_reply_poll(call->req, POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM);
	return 0;
}

static void op_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct fuse_pollhandle *ph)
{
	struct walfs_call call;
	if (!start(&call, WALFS_OP_POLL, req, ino, do_poll)) {
		if (ph)
			fuse_pollhandle_destroy(ph);
		return;
	}
	use_file(&call, fi);
	call.ph = ph;
	walfs_call_run(&call);
}

static void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	run_on_file(WALFS_OP_FLUSH, req, ino, fi, do_flush);
}

static void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)datasync; /* a record is data */
	run_on_file(WALFS_OP_FSYNC, req, ino, fi, do_fsync);
}

static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	run_on_file(WALFS_OP_RELEASE, req, ino, fi, do_release);
}

/* ---- directories ------------------------------------------------------------------------------------- */

static int do_opendir(struct walfs_call *call)
{
	return open_as(call, walfs_list_open);
}

static void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct walfs_call call;
	if (!start(&call, WALFS_OP_OPENDIR, req, ino, do_opendir))
		return;
	call.fi = *fi;
	walfs_call_run(&call);
}

static void send_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi,
			 walfs_handler *handler)
{
	struct walfs_call call;
	if (!start(&call, WALFS_OP_READDIR, req, ino, handler))
		return;
	use_file(&call, fi);
	call.size = size;
	call.off = (uint64_t)off;
	walfs_call_send(&call);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	send_readdir(req, ino, size, off, fi, walfs_list_read);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	send_readdir(req, ino, size, off, fi, walfs_list_read_plus);
}

static void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	run_on_file(WALFS_OP_RELEASEDIR, req, ino, fi, walfs_list_release);
}

static void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)datasync;
	run_on_file(WALFS_OP_FSYNC, req, ino, fi, sync_records);
}

const struct fuse_lowlevel_ops walfs_ops = {
	.init = op_init,
	.statfs = op_statfs,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.mkdir = op_mkdir,
	.rmdir = op_rmdir,
	.unlink = op_unlink,
	.rename = op_rename,
	.create = op_create,
	.mknod = op_mknod,
	.symlink = op_symlink,
	.link = op_link,
	.readlink = op_readlink,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.open = op_open,
	.read = op_read,
	.write = op_write,
	.poll = op_poll,
	.flush = op_flush,
	.fsync = op_fsync,
	.release = op_release,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.releasedir = op_releasedir,
	.fsyncdir = op_fsyncdir,
};
