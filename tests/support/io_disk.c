/* SPDX-License-Identifier: MIT */
#include "io_disk_state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define ROOT 1

/* ---- calls --------------------------------------------------------------------------------------------- */

static struct io_disk *enter(const struct wal_io *io)
{
	struct io_disk *disk = io->arg;

	pthread_mutex_lock(&disk->lock);
	return disk;
}

static ssize_t leave(struct io_disk *disk, ssize_t r)
{
	pthread_mutex_unlock(&disk->lock);
	return r;
}

/* Tells the hook. Not 0: the call fails with it. */
static int tell(struct io_disk *disk, unsigned kind, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int tell(struct io_disk *disk, unsigned kind, const char *fmt, ...)
{
	struct io_disk_call call = { .n = ++disk->calls, .kind = kind, .ino = disk->syncing };
	va_list ap;
	int r;

	if (disk->off)
		return -EIO;
	if (!disk->hook)
		return 0;
	va_start(ap, fmt);
	(void)vsnprintf(call.what, sizeof(call.what), fmt, ap);
	va_end(ap);
	r = disk->hook(disk->arg, &call);
	return disk->off ? -EIO : r;
}

static struct disk_fd *get_fd(struct io_disk *disk, int fd)
{
	if (fd < DISK_FD_BASE || fd >= DISK_FD_BASE + DISK_FDS || !disk->fds[fd - DISK_FD_BASE].node)
		abort(); /* the engine used a descriptor that it has not */
	return &disk->fds[fd - DISK_FD_BASE];
}

/* The directory of the last component, which is copied to name; NULL with the error in *ret_r. */
static struct disk_node *walk(struct io_disk *disk, int dirfd, const char *path, char name[DISK_NAME_MAX], int *ret_r)
{
	struct disk_node *at = dirfd == AT_FDCWD ? disk_node(disk, ROOT) : get_fd(disk, dirfd)->node;

	for (;;) {
		size_t len = strcspn(path, "/");
		struct disk_entry *entry;

		if (!at->dir || len >= DISK_NAME_MAX || len == 0) {
			*ret_r = !at->dir ? -ENOTDIR : len == 0 ? -ENOENT : -ENAMETOOLONG;
			return NULL;
		}
		memcpy(name, path, len);
		name[len] = '\0';
		if (!path[len])
			return at;
		entry = disk_find(&at->names, name);
		if (!entry) {
			*ret_r = -ENOENT;
			return NULL;
		}
		at = disk_node(disk, entry->ino);
		path += len + 1;
	}
}

static struct disk_node *look(struct io_disk *disk, struct disk_node *dir, const char *name)
{
	struct disk_entry *entry;

	if (strcmp(name, ".") == 0)
		return dir;
	if (strcmp(name, "..") == 0)
		return disk_node(disk, dir->parent);
	entry = disk_find(&dir->names, name);
	return entry ? disk_node(disk, entry->ino) : NULL;
}

static int take_fd(struct io_disk *disk, struct disk_node *node)
{
	for (int i = 0; i < DISK_FDS; i++) {
		if (disk->fds[i].node)
			continue;
		disk->fds[i] = (struct disk_fd){ node, 0 };
		return DISK_FD_BASE + i;
	}
	return -EMFILE;
}

static struct disk_node *make_node(struct io_disk *disk, struct disk_node *dir, const char *name, bool is_dir,
				   mode_t mode)
{
	struct disk_node *node = disk_add_node(disk, is_dir);

	node->mode = mode;
	node->parent = dir->ino;
	disk_set_entry(&dir->names, name, node->ino, ++disk->cookie);
	disk_add_name_change(disk, DISK_LINK, node->ino, dir->ino, name);
	return node;
}

static void truncate_to(struct io_disk *disk, struct disk_node *node, uint64_t len)
{
	if (node->now.len != len)
		disk_add_change(disk, DISK_TRUNCATE, node->ino)->off = len;
	disk_bytes_set_len(&node->now, len);
}

static int disk_openat(const struct wal_io *io, int dirfd, const char *path, int flags, mode_t mode)
{
	struct io_disk *disk = enter(io);
	char name[DISK_NAME_MAX];
	int r = disk->off ? -EIO : 0;
	struct disk_node *dir = r < 0 ? NULL : walk(disk, dirfd, path, name, &r);
	struct disk_node *node = dir ? look(disk, dir, name) : NULL;

	if (!dir)
		return (int)leave(disk, r);
	if (!node && !(flags & O_CREAT))
		r = -ENOENT;
	else if (node && flags & O_CREAT && flags & O_EXCL)
		r = -EEXIST;
	else if (node && node->dir && (flags & O_ACCMODE) != O_RDONLY)
		r = -EISDIR;
	else if (node && !node->dir && flags & O_DIRECTORY)
		r = -ENOTDIR;
	else if (!node)
		r = tell(disk, IO_CREATE, "create %s", path);
	else if (flags & O_TRUNC)
		r = tell(disk, IO_CREATE, "empty %s", path);
	if (r == 0 && !node)
		node = make_node(disk, dir, name, false, mode);
	else if (r == 0 && flags & O_TRUNC)
		truncate_to(disk, node, 0);
	return (int)leave(disk, r < 0 ? r : take_fd(disk, node));
}

static int disk_close(const struct wal_io *io, int fd)
{
	struct io_disk *disk = enter(io);
	struct disk_fd *f = get_fd(disk, fd);

	if (f->node->locked_by == fd)
		f->node->locked_by = 0;
	f->node = NULL;
	return (int)leave(disk, 0);
}

static ssize_t disk_pread(const struct wal_io *io, int fd, void *buf, size_t len, uint64_t off, bool nowait)
{
	struct io_disk *disk = enter(io);
	const struct disk_bytes *bytes = &get_fd(disk, fd)->node->now;
	size_t n = off >= bytes->len ? 0 : bytes->len - (size_t)off;

	(void)nowait;
	if (disk->off)
		return leave(disk, -EIO);
	n = n < len ? n : len;
	if (n > 0)
		memcpy(buf, bytes->base + off, n);
	return leave(disk, (ssize_t)n);
}

static ssize_t disk_pwrite(const struct wal_io *io, int fd, const void *buf, size_t len, uint64_t off)
{
	struct io_disk *disk = enter(io);
	struct disk_node *node = get_fd(disk, fd)->node;
	struct disk_change *change;
	int r = tell(disk, IO_WRITE, "write file %llu at %llu, %zu bytes", (unsigned long long)node->ino,
		     (unsigned long long)off, len);

	if (r < 0)
		return leave(disk, r);
	change = disk_add_change(disk, DISK_WRITE, node->ino);
	change->off = off;
	change->len = len;
	change->bytes = disk_must(malloc(len + 1));
	memcpy(change->bytes, buf, len);
	disk_bytes_put(&node->now, off, buf, len);
	return leave(disk, (ssize_t)len);
}

static int disk_fsync(const struct wal_io *io, int fd)
{
	struct io_disk *disk = enter(io);
	struct disk_node *node = get_fd(disk, fd)->node;
	int r;

	disk->syncing = node->ino;
	r = tell(disk, IO_SYNC, "sync %s %llu", node->dir ? "directory" : "file", (unsigned long long)node->ino);
	disk->syncing = 0;
	if (r == 0)
		disk_sync_node(disk, node);
	else if (!disk->off)
		disk_fail_node(disk, node);
	return (int)leave(disk, r);
}

static int disk_syncfs(const struct wal_io *io, int fd)
{
	struct io_disk *disk = enter(io);
	int r = tell(disk, IO_SYNC, "sync all");

	(void)get_fd(disk, fd);
	for (size_t i = 0; r == 0 && i < disk->n_changes; i++) {
		disk_settle(disk, disk->changes[i]);
		disk_change_free(disk->changes[i]);
	}
	if (r == 0)
		disk->n_changes = 0;
	return (int)leave(disk, r);
}

static int disk_ftruncate(const struct wal_io *io, int fd, uint64_t len)
{
	struct io_disk *disk = enter(io);
	struct disk_node *node = get_fd(disk, fd)->node;
	int r = tell(disk, IO_SIZE, "cut file %llu to %llu bytes", (unsigned long long)node->ino,
		     (unsigned long long)len);

	if (r == 0)
		truncate_to(disk, node, len);
	return (int)leave(disk, r);
}

static int disk_fallocate(const struct wal_io *io, int fd, uint64_t off, uint64_t len)
{
	struct io_disk *disk = enter(io);
	int r = tell(disk, IO_SIZE, "take blocks for file %llu at %llu, %llu bytes",
		     (unsigned long long)get_fd(disk, fd)->node->ino, (unsigned long long)off, (unsigned long long)len);

	return (int)leave(disk, r); /* there are enough, and the size stays */
}

static void fill_stat(const struct disk_node *node, struct stat *ret)
{
	*ret = (struct stat){ .st_ino = node->ino,
			      .st_nlink = 1,
			      .st_mode = (node->dir ? S_IFDIR : S_IFREG) | node->mode,
			      .st_size = (off_t)node->now.len,
			      .st_blksize = 4096,
			      .st_blocks = (blkcnt_t)((node->now.len + 511) / 512),
			      .st_mtim = { .tv_sec = 1700000000 } };
}

static int disk_fstat(const struct wal_io *io, int fd, struct stat *ret)
{
	struct io_disk *disk = enter(io);

	fill_stat(get_fd(disk, fd)->node, ret);
	return (int)leave(disk, disk->off ? -EIO : 0);
}

static int disk_fstatat(const struct wal_io *io, int dirfd, const char *path, struct stat *ret)
{
	struct io_disk *disk = enter(io);
	char name[DISK_NAME_MAX];
	int r = disk->off ? -EIO : 0;
	struct disk_node *dir = r < 0 ? NULL : walk(disk, dirfd, path, name, &r);
	struct disk_node *node = dir ? look(disk, dir, name) : NULL;

	if (r == 0 && !node)
		r = -ENOENT;
	if (r == 0)
		fill_stat(node, ret);
	return (int)leave(disk, r);
}

static int disk_mkdirat(const struct wal_io *io, int dirfd, const char *path, mode_t mode)
{
	struct io_disk *disk = enter(io);
	char name[DISK_NAME_MAX];
	int r = disk->off ? -EIO : 0;
	struct disk_node *dir = r < 0 ? NULL : walk(disk, dirfd, path, name, &r);

	if (r == 0 && look(disk, dir, name))
		r = -EEXIST;
	if (r == 0)
		r = tell(disk, IO_CREATE, "make directory %s", path);
	if (r == 0 && dir)
		(void)make_node(disk, dir, name, true, mode);
	return (int)leave(disk, r);
}

static int disk_unlinkat(const struct wal_io *io, int dirfd, const char *path, bool is_dir)
{
	struct io_disk *disk = enter(io);
	char name[DISK_NAME_MAX];
	int r = disk->off ? -EIO : 0;
	struct disk_node *dir = r < 0 ? NULL : walk(disk, dirfd, path, name, &r);
	struct disk_node *node = dir ? look(disk, dir, name) : NULL;

	if (r == 0 && !node)
		r = -ENOENT;
	if (r == 0 && node->dir != is_dir)
		r = is_dir ? -ENOTDIR : -EISDIR;
	if (r == 0 && is_dir && node->names.n > 0)
		r = -ENOTEMPTY;
	if (r == 0)
		r = tell(disk, IO_REMOVE, "remove %s", path);
	if (r == 0) {
		disk_remove_entry(&dir->names, name, node->ino);
		disk_add_name_change(disk, DISK_UNLINK, node->ino, dir->ino, name);
	}
	return (int)leave(disk, r);
}

static int disk_renameat(const struct wal_io *io, int dirfd, const char *oldpath, const char *newpath, bool replace)
{
	struct io_disk *disk = enter(io);
	char name[DISK_NAME_MAX], name2[DISK_NAME_MAX];
	int r = disk->off ? -EIO : 0;
	struct disk_node *dir = r < 0 ? NULL : walk(disk, dirfd, oldpath, name, &r);
	struct disk_node *dir2 = r < 0 ? NULL : walk(disk, dirfd, newpath, name2, &r);
	struct disk_node *node = dir ? look(disk, dir, name) : NULL, *there = dir2 ? look(disk, dir2, name2) : NULL;
	struct disk_change *change;

	if (r == 0 && !node)
		r = -ENOENT;
	if (r == 0 && there && !replace)
		r = -EEXIST;
	if (r == 0 && there && (there->dir || node->dir))
		r = -EISDIR; /* more than the engine needs */
	if (r == 0)
		r = tell(disk, IO_RENAME, "rename %s to %s", oldpath, newpath);
	if (r < 0 || !node || !dir2)
		return (int)leave(disk, r);
	disk_add_name_change(disk, DISK_RENAME, node->ino, dir->ino, name);
	change = disk->changes[disk->n_changes - 1];
	change->dir2 = dir2->ino;
	(void)snprintf(change->name2, sizeof(change->name2), "%s", name2);
	disk_remove_entry(&dir->names, name, node->ino);
	disk_set_entry(&dir2->names, name2, node->ino, ++disk->cookie);
	node->parent = dir2->ino;
	return (int)leave(disk, 0);
}

struct dirent64_head { /* as getdents64(2) gives it */
	uint64_t ino;
	int64_t off;
	uint16_t reclen;
	uint8_t type;
	char name[];
};

static ssize_t disk_getdents(const struct wal_io *io, int fd, void *buf, size_t len)
{
	struct io_disk *disk = enter(io);
	struct disk_fd *f = get_fd(disk, fd);
	const struct disk_entries *names = &f->node->names;
	size_t used = 0;

	if (disk->off || !f->node->dir)
		return leave(disk, disk->off ? -EIO : -ENOTDIR);
	for (size_t i = 0; i < names->n; i++) {
		struct dirent64_head *d = (struct dirent64_head *)((char *)buf + used);
		size_t name_len = strlen(names->at[i].name) + 1, reclen = (19 + name_len + 7) / 8 * 8;

		if (names->at[i].cookie <= f->cookie)
			continue;
		if (reclen > len - used)
			break;
		d->ino = names->at[i].ino;
		d->off = (int64_t)names->at[i].cookie;
		d->reclen = (uint16_t)reclen;
		d->type = disk_node(disk, names->at[i].ino)->dir ? DT_DIR : DT_REG;
		memcpy((char *)d + 19, names->at[i].name, name_len);
		f->cookie = names->at[i].cookie;
		used += reclen;
	}
	return leave(disk, (ssize_t)used);
}

static int disk_seekdir(const struct wal_io *io, int fd, uint64_t cookie)
{
	struct io_disk *disk = enter(io);

	get_fd(disk, fd)->cookie = cookie;
	return (int)leave(disk, disk->off ? -EIO : 0);
}

static int disk_lock(const struct wal_io *io, int fd)
{
	struct io_disk *disk = enter(io);
	struct disk_node *node = get_fd(disk, fd)->node;
	int r = disk->off ? -EIO : node->locked_by && node->locked_by != fd ? -EBUSY : 0;

	if (r == 0)
		node->locked_by = fd;
	return (int)leave(disk, r);
}

static int disk_fstatvfs(const struct wal_io *io, int fd, struct statvfs *ret)
{
	struct io_disk *disk = enter(io);

	(void)get_fd(disk, fd);
	*ret = (struct statvfs){ .f_bsize = 4096,
				 .f_frsize = 4096,
				 .f_blocks = 1 << 24,
				 .f_bfree = 1 << 23,
				 .f_bavail = 1 << 23,
				 .f_files = 1 << 20,
				 .f_ffree = 1 << 19 };
	return (int)leave(disk, disk->off ? -EIO : 0);
}

/* ---- the disk ------------------------------------------------------------------------------------------ */

struct io_disk *io_disk_new(void)
{
	struct io_disk *disk = disk_must(calloc(1, sizeof(*disk)));
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&disk->lock, &attr);
	pthread_mutexattr_destroy(&attr);
	disk->io = (struct wal_io){ .arg = disk,
				    .openat = disk_openat,
				    .close = disk_close,
				    .pread = disk_pread,
				    .pwrite = disk_pwrite,
				    .fdatasync = disk_fsync,
				    .fsync = disk_fsync,
				    .syncfs = disk_syncfs,
				    .ftruncate = disk_ftruncate,
				    .fallocate = disk_fallocate,
				    .fstat = disk_fstat,
				    .fstatat = disk_fstatat,
				    .mkdirat = disk_mkdirat,
				    .unlinkat = disk_unlinkat,
				    .renameat = disk_renameat,
				    .getdents = disk_getdents,
				    .seekdir = disk_seekdir,
				    .lock = disk_lock,
				    .fstatvfs = disk_fstatvfs };
	disk_add_node(disk, true)->mode = 0755;
	disk_node(disk, ROOT)->parent = ROOT;
	return disk;
}

void io_disk_free(struct io_disk *disk)
{
	if (!disk)
		return;
	for (size_t i = 0; i < disk->n_nodes; i++)
		disk_drop_node(disk, i + 1);
	for (size_t i = 0; i < disk->n_changes; i++)
		disk_change_free(disk->changes[i]);
	free(disk->nodes);
	free(disk->changes);
	pthread_mutex_destroy(&disk->lock);
	free(disk);
}

const struct wal_io *io_disk_io(struct io_disk *disk)
{
	return &disk->io;
}

void io_disk_set_hook(struct io_disk *disk, io_disk_hook *hook, void *arg)
{
	pthread_mutex_lock(&disk->lock);
	disk->hook = hook;
	disk->arg = arg;
	pthread_mutex_unlock(&disk->lock);
}

void io_disk_off(struct io_disk *disk)
{
	pthread_mutex_lock(&disk->lock);
	disk->off = true;
	pthread_mutex_unlock(&disk->lock);
}

size_t io_disk_uncovered(struct io_disk *disk)
{
	size_t n;

	pthread_mutex_lock(&disk->lock);
	n = disk->n_changes;
	pthread_mutex_unlock(&disk->lock);
	return n;
}

uint64_t io_disk_ino(struct io_disk *disk, const char *path)
{
	struct stat st;

	return disk_fstatat(&disk->io, AT_FDCWD, path, &st) == 0 ? st.st_ino : 0;
}
