/* SPDX-License-Identifier: MIT
 *
 * Offsets. In a stream and in .walfs: 1 is behind ".", 2 is behind "..", and behind an entry it is one more than its
 * place (walfs_node_local), so that the same record always has the same offset. In the root: 1, 2, 3 behind ".", ".." and
 * ".walfs", then the engine's cookies plus ROOT_COOKIE_BASE.
 *
 * A stream's listing ends at the record that was to come next when it began, or was sought: a busy writer must not keep
 * `ls` from ending.
 */
#include "list.h"

#include "attr.h"
#include "await.h"
#include "walfs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ROOT_COOKIE_BASE 4

struct list_file {
	struct walfs_file file;
	struct walfs_node node;    /* immutable */
	struct walfs_inode *inode; /* immutable; referenced; NULL for root and .walfs */
	struct wal_iter *iter;     /* owned */
	uint64_t next_seq;         /* what the iterator gives next, about */
	uint64_t end_seq;          /* where this listing ends */
	uint64_t next_off;         /* where the kernel goes on, unless somebody seeks */
	struct wal_keys *keys;     /* owned */
	bool keeps_keys;           /* between reads */
	uint64_t keys_off;         /* the offset at which the keys are */
};

/* One reply under construction. */
struct listing {
	struct walfs_call *call;
	struct list_file *file;
	bool plus;
	char *buf;
	size_t used, size;
};

static struct list_file *of(const struct walfs_call *call)
{
	return (struct list_file *)walfs_file_of(&call->fi);
}

/* Adds an entry. False where it does not fit. */
static bool put(struct listing *list, const char *name, const struct fuse_entry_param *entry, uint64_t off)
{
	fuse_req_t req = list->call->req;
	char *at = list->buf + list->used;
	size_t room = list->size - list->used;
	size_t need = list->plus ? fuse_add_direntry_plus(req, at, room, name, entry, (off_t)off)
				 : fuse_add_direntry(req, at, room, name, &entry->attr, (off_t)off);
	if (need > room)
		return false;
	list->used += need;
	return true;
}

/* Adds an entry of which only number and type are told: in READDIRPLUS number 0 says that there is no more. */
static bool put_bare(struct listing *list, const char *name, uint64_t id, mode_t type, uint64_t off)
{
	struct fuse_entry_param entry = { .attr = { .st_ino = id, .st_mode = type } };
	return put(list, name, &entry, off);
}

/* Adds an entry that the kernel may remember, and so counts as looked up. */
static bool put_full(struct listing *list, struct walfs_inode *inode, const struct walfs_node *node,
		     const struct stat *st, uint64_t off)
{
	char name[WALFS_NODE_NAME_MAX + 1];
	struct fuse_entry_param entry;
	(void)walfs_node_name(node, list->call->fs->opts->digits, name); /* only its length is returned */
	walfs_attr_fill_entry(st, node, true, &entry);
	entry.attr_timeout = walfs_attr_timeout(inode, node->kind);
	if (!put(list, name, &entry, off))
		return false;
	if (list->plus && inode)
		walfs_inode_remember(&list->call->fs->inodes, inode, 1);
	return true;
}

static bool put_dots(struct listing *list, uint64_t *off)
{
	uint64_t id = list->call->ino;
	if (*off == 0) {
		if (!put_bare(list, ".", id, S_IFDIR, 1))
			return false;
		*off = 1;
	}
	if (*off == 1) {
		/* From a stream it is the root, and from the root the kernel knows better. */
		if (!put_bare(list, "..", FUSE_ROOT_ID, S_IFDIR, 2))
			return false;
		*off = 2;
	}
	return true;
}

/* ---- fixed names ------------------------------------------------------------------------------------- */

/* Returns 1 when there is room for more, 0 when the buffer is full, or an error. */
static int put_fixed(struct listing *list, uint64_t *off)
{
	struct walfs_call *call = list->call;
	struct walfs_inode *inode = list->file->inode;
	struct walfs_node node;
	uint32_t uid = fuse_req_ctx(call->req)->uid;

	while (*off < WALFS_KIND_FIXED && walfs_node_fixed(&list->file->node, uid, *off, &node)) {
		struct stat st;
		uint64_t next = walfs_node_local(&node) + 1;
		int err = walfs_attr_get(call->fs, inode, &node, call->wait, &st);
		if (err < 0 && err != -ENOENT)
			return err;
		/* first and last are not there in an empty stream. */
		if (err == 0 && !put_full(list, inode, &node, &st, next))
			return 0;
		*off = next;
	}
	if (*off < WALFS_KIND_FIXED)
		*off = WALFS_KIND_FIXED;
	return 1;
}

/* ---- records ----------------------------------------------------------------------------------------- */

static int put_record(struct listing *list, const struct wal_stat *stat, const struct wal_info *info, bool damaged,
		      uint64_t *off)
{
	struct list_file *file = list->file;
	for (int i = 0; i < 2; i++) {
		struct walfs_node node = {
			.kind = i == 0 ? WALFS_SIDECAR : WALFS_RECORD,
			.stream = file->node.stream,
			.seq = info->seq,
		};
		uint64_t place = walfs_node_local(&node);
		if (place < *off || (i == 0 && info->header_len == 0))
			continue;
		struct stat st;
		bool fits;
		walfs_attr_record(list->call->fs, stat, &node, info, &st);
		if (damaged) {
			char name[WALFS_NODE_NAME_MAX + 1];
			(void)walfs_node_name(&node, list->call->fs->opts->digits, name); /* only its length */
			fits = put_bare(list, name, st.st_ino, S_IFREG, place + 1);
		} else {
			fits = put_full(list, file->inode, &node, &st, place + 1);
		}
		if (!fits)
			return 0;
		*off = place + 1;
	}
	return 1;
}

/* Brings the iterator to where the listing stands. */
static int seek_records(struct list_file *file, uint64_t seq)
{
	int err = 0;
	if (!file->iter)
		err = wal_iter_open(file->inode->stream, seq, WAL_ITER_INFO, &file->iter);
	else if (file->next_seq != seq)
		err = wal_iter_seek(file->iter, seq);
	if (err == 0)
		file->next_seq = seq;
	return err;
}

static int put_records(struct listing *list, uint64_t *off)
{
	struct list_file *file = list->file;
	struct wal_stat stat;
	bool sidecar_passed;

	int err = walfs_attr_stat_full(file->inode, 0, &stat);
	if (err < 0)
		return err;
	if (file->end_seq == 0)
		file->end_seq = stat.next;
	uint64_t seq = walfs_node_local_seq(*off, &sidecar_passed);
	if (seq < stat.first)
		seq = stat.first;
	if (seq >= file->end_seq)
		return 1;
	err = seek_records(file, seq);
	while (err == 0) {
		struct wal_view view = { 0 };
		int got = wal_iter_next(file->iter, &view);
		if (got == -EIDRM) { /* a trim overtook us: the iterator goes on behind it */
			file->next_seq = view.info.seq;
			continue;
		}
		if (got == 0 || (got < 0 && got != -EBADMSG))
			return got < 0 ? got : 1;
		file->next_seq = view.info.seq + 1;
		if (view.info.seq >= file->end_seq)
			return 1;
		if (!walfs_node_fits(WALFS_RECORD, view.info.seq))
			return -EOVERFLOW;
		if (got == -EBADMSG)
			view.info = (struct wal_info){ .seq = view.info.seq };
		if (put_record(list, &stat, &view.info, got == -EBADMSG, off) == 0) {
			file->next_seq = 0; /* to be looked at again */
			return 0;
		}
	}
	return err;
}

/* ---- the root ---------------------------------------------------------------------------------------- */

/* Adds the stream with this key. 1, 0 where the buffer is full. One that went meanwhile is passed over. */
static int put_stream(struct listing *list, struct wal_span key, uint64_t off)
{
	struct walfs *fs = list->call->fs;
	struct wal_stream *stream;
	struct walfs_inode *inode;
	char name[WAL_NAME_MAX + 1];

	if (wal_key_to_name(key, name) < 0 || wal_stream_open(fs->store, key, &stream) < 0)
		return 1;
	struct walfs_node node = { .kind = WALFS_STREAM, .stream = wal_stream_id(stream) };
	if (!list->plus) {
		wal_stream_unref(stream);
		return put_bare(list, name, walfs_node_id(&node), S_IFDIR, off);
	}
	struct fuse_entry_param entry;
	int err = walfs_inode_insert(&fs->inodes, stream, name, &inode);
	if (err < 0)
		return put_bare(list, name, walfs_node_id(&node), S_IFDIR, off);
	err = walfs_attr_entry(fs, inode, &node, true, 0, &entry);
	bool fits = err < 0 || put(list, name, &entry, off);
	if (err < 0 || !fits)
		walfs_inode_forget(&fs->inodes, node.stream, 1);
	return fits;
}

static int put_root(struct listing *list, uint64_t *off)
{
	struct walfs *fs = list->call->fs;
	struct list_file *file = list->file;
	int err = 0;

	if (*off == 2) {
		struct walfs_node node = { .kind = WALFS_CONTROL_DIR };
		struct stat st;
		err = walfs_attr_get(fs, NULL, &node, 0, &st);
		if (err < 0)
			return err;
		if (!put_full(list, NULL, &node, &st, ROOT_COOKIE_BASE))
			return 0;
		*off = ROOT_COOKIE_BASE;
	}
	if (!file->keys)
		err = wal_keys_open(fs->store, &file->keys);
	if (err == 0 && file->keys_off != *off)
		err = wal_keys_seek(file->keys, *off - ROOT_COOKIE_BASE);
	while (err == 0) {
		struct wal_span key;
		uint64_t cookie;
		int got = wal_keys_next(file->keys, &key, &cookie);
		if (got <= 0)
			return got < 0 ? got : 1;
		file->keys_off = 0; /* between two places until this entry is in */
		if (put_stream(list, key, cookie + ROOT_COOKIE_BASE) == 0)
			return 0;
		*off = cookie + ROOT_COOKIE_BASE;
		file->keys_off = *off;
	}
	return err;
}

/* A list of keys holds a file open. Who has his share of these opens it anew with each read. */
static void keep_or_close_keys(struct list_file *file)
{
	if (!file->keys || file->keeps_keys)
		return;
	file->keeps_keys = walfs_user_take(file->file.user, WALFS_LISTINGS, 1) == 0;
	if (file->keeps_keys)
		return;
	wal_keys_close(file->keys);
	file->keys = NULL;
	file->keys_off = 0;
}

/* ---- handlers ---------------------------------------------------------------------------------------- */

static int fill_from(struct listing *list, uint64_t *off)
{
	struct list_file *file = list->file;
	if (!put_dots(list, off))
		return 0;
	if (file->node.kind == WALFS_AT)
		return 1; /* every time is in it: none is listed */
	if (file->node.kind == WALFS_ROOT)
		return put_root(list, off);
	int more = put_fixed(list, off);
	if (more == 1 && file->inode)
		more = put_records(list, off);
	return more;
}

static int fill(struct listing *list)
{
	uint64_t off = list->call->off;
	struct list_file *file = list->file;
	if (off == 0 || off != file->next_off)
		file->end_seq = 0; /* rewound, or sought: a new listing */
	int more = fill_from(list, &off);
	file->next_off = off;
	return more;
}

static int read_list(struct walfs_call *call, bool plus)
{
	if (call->wait & WAL_NOWAIT)
		return -EAGAIN;
	if (call->off == 0 && of(call)->inode && walfs_await_join(call, of(call)->inode))
		return 0;
	struct listing list = {
		.call = call,
		.file = of(call),
		.plus = plus,
		.buf = call->scratch,
		.size = call->size < WALFS_SCRATCH_BYTES ? call->size : WALFS_SCRATCH_BYTES,
	};
	int err = fill(&list);
	keep_or_close_keys(list.file);
	/* What is in the buffer is counted as looked up: an error must wait for the next call. */
	if (err < 0 && list.used == 0)
		return err;
	(void)fuse_reply_buf(call->req, list.buf, list.used);
	return 0;
}

int walfs_list_read(struct walfs_call *call)
{
	return read_list(call, false);
}

int walfs_list_read_plus(struct walfs_call *call)
{
	return read_list(call, true);
}

static void close_file(struct walfs *fs, struct list_file *file)
{
	if (file->keeps_keys)
		walfs_user_give(file->file.user, WALFS_LISTINGS, 1);
	walfs_file_remove(&fs->files, &file->file);
	wal_iter_close(file->iter);
	if (file->keys)
		wal_keys_close(file->keys);
	if (file->inode)
		walfs_inode_unref(&fs->inodes, file->inode);
	free(file);
}

static void list_drop(struct walfs *fs, struct walfs_file *file, bool all_closed)
{
	(void)all_closed;
	close_file(fs, (struct list_file *)file);
}

static const struct walfs_file_ops list_ops = { .drop = list_drop };

int walfs_list_open(struct walfs_call *call)
{
	struct walfs *fs = call->fs;
	struct walfs_inode *inode = NULL;
	if (call->node.stream) {
		inode = walfs_inode_find(&fs->inodes, call->node.stream);
		if (!inode)
			return -ESTALE;
	}
	struct list_file *file = calloc(1, sizeof(*file));
	if (!file)
		return -ENOMEM;
	file->node = call->node;
	file->inode = inode;
	if (inode)
		walfs_inode_ref(&fs->inodes, inode);
	walfs_file_add(call, &file->file, &list_ops);
	call->fi.fh = (uintptr_t)file;
	if (fuse_reply_open(call->req, &call->fi) < 0)
		close_file(fs, file); /* interrupted: no RELEASEDIR will come */
	return 0;
}

int walfs_list_release(struct walfs_call *call)
{
	close_file(call->fs, of(call));
	(void)fuse_reply_err(call->req, 0);
	return 0;
}
