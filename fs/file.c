/* SPDX-License-Identifier: MIT
 *
 * A doubly linked list and a lock; nothing walks it but the end of the mount.
 */
#include "file.h"

#include "call.h"
#include "walfs.h"

#include <utlist.h>

void walfs_files_init(struct walfs_files *files)
{
	*files = (struct walfs_files){ 0 };
	pthread_mutex_init(&files->lock, NULL);
	pthread_cond_init(&files->calm, NULL);
}

void walfs_files_fini(struct walfs_files *files)
{
	pthread_cond_destroy(&files->calm);
	pthread_mutex_destroy(&files->lock);
}

void walfs_file_add(struct walfs_call *call, struct walfs_file *file, const struct walfs_file_ops *ops)
{
	struct walfs_files *files = &call->fs->files;
	file->ops = ops;
	file->user = call->user;
	pthread_mutex_lock(&files->lock);
	DL_APPEND(files->head, file);
	files->n++;
	pthread_mutex_unlock(&files->lock);
}

void walfs_file_remove(struct walfs_files *files, struct walfs_file *file)
{
	pthread_mutex_lock(&files->lock);
	DL_DELETE(files->head, file);
	files->n--;
	pthread_mutex_unlock(&files->lock);
	walfs_user_leave(file->user);
}

uint64_t walfs_files_count(struct walfs_files *files)
{
	pthread_mutex_lock(&files->lock);
	uint64_t n = files->n;
	pthread_mutex_unlock(&files->lock);
	return n;
}

void walfs_files_begin(struct walfs_files *files)
{
	pthread_mutex_lock(&files->lock);
	files->n_commits++;
	pthread_mutex_unlock(&files->lock);
}

void walfs_files_end(struct walfs_files *files)
{
	pthread_mutex_lock(&files->lock);
	if (--files->n_commits == 0)
		pthread_cond_broadcast(&files->calm);
	pthread_mutex_unlock(&files->lock);
}

void walfs_files_wait(struct walfs_files *files)
{
	pthread_mutex_lock(&files->lock);
	while (files->n_commits > 0)
		pthread_cond_wait(&files->calm, &files->lock);
	pthread_mutex_unlock(&files->lock);
}

/* With the lock held: what is released meanwhile must wait, and no file's stop comes back here. */
void walfs_files_stop(struct walfs_files *files)
{
	struct walfs_file *file;
	pthread_mutex_lock(&files->lock);
	DL_FOREACH(files->head, file)
		if (file->ops->stop)
			file->ops->stop(file);
	pthread_mutex_unlock(&files->lock);
}

void walfs_files_drop(struct walfs *fs, bool all_closed)
{
	while (fs->files.head)
		fs->files.head->ops->drop(fs, fs->files.head, all_closed);
}

struct walfs_file *walfs_file_of(const struct fuse_file_info *fi)
{
	return (struct walfs_file *)(uintptr_t)fi->fh;
}
