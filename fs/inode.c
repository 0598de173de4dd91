/* SPDX-License-Identifier: MIT
 *
 * Two hash tables over the same entries: by id for every request, by name so that a lookup of a known stream is answered
 * without asking the engine, which might have to read the disk. A name is only a hint: the store has one writer, us, and
 * a rename or a removal corrects it here. Where memory for a name is wanting the entry goes without.
 */
#include "inode.h"

#include "hub.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void walfs_inodes_init(struct walfs_inodes *inodes)
{
	*inodes = (struct walfs_inodes){ 0 };
	pthread_mutex_init(&inodes->lock, NULL);
}

static void drop_name_locked(struct walfs_inodes *inodes, struct walfs_inode *inode)
{
	if (!inode->name)
		return;
	HASH_DELETE(by_name, inodes->by_name, inode);
	free(inode->name);
	inode->name = NULL;
}

static void set_name_locked(struct walfs_inodes *inodes, struct walfs_inode *inode, const char *name)
{
	struct walfs_inode *other = NULL;
	if (inode->name && name && strcmp(inode->name, name) == 0)
		return;
	drop_name_locked(inodes, inode);
	if (!name)
		return;
	HASH_FIND(by_name, inodes->by_name, name, strlen(name), other);
	if (other)
		drop_name_locked(inodes, other);
	inode->name = strdup(name);
	if (inode->name)
		HASH_ADD_KEYPTR(by_name, inodes->by_name, inode->name, strlen(inode->name), inode);
}

/* Takes an entry out that nothing refers to any more. Returns it, to be freed without the lock. */
static struct walfs_inode *reap_locked(struct walfs_inodes *inodes, struct walfs_inode *inode)
{
	if (inode->n_lookup > 0 || inode->n_ref > 0)
		return NULL;
	drop_name_locked(inodes, inode);
	HASH_DELETE(by_id, inodes->by_id, inode);
	return inode;
}

static void free_inode(struct walfs_inode *inode)
{
	if (!inode)
		return;
	walfs_hub_free(inode->hub);
	wal_stream_unref(inode->stream);
	pthread_mutex_destroy(&inode->lock);
	free(inode);
}

void walfs_inodes_fini(struct walfs_inodes *inodes)
{
	struct walfs_inode *inode, *next;
	HASH_ITER(by_id, inodes->by_id, inode, next) {
		drop_name_locked(inodes, inode);
		HASH_DELETE(by_id, inodes->by_id, inode);
		free_inode(inode);
	}
	pthread_mutex_destroy(&inodes->lock);
}

static struct walfs_inode *find_locked(struct walfs_inodes *inodes, uint64_t id)
{
	struct walfs_inode *inode = NULL;
	HASH_FIND(by_id, inodes->by_id, &id, sizeof(id), inode);
	return inode;
}

struct walfs_inode *walfs_inode_find(struct walfs_inodes *inodes, uint64_t id)
{
	pthread_mutex_lock(&inodes->lock);
	struct walfs_inode *inode = find_locked(inodes, id);
	pthread_mutex_unlock(&inodes->lock);
	return inode;
}

struct walfs_inode *walfs_inode_lookup(struct walfs_inodes *inodes, const char *name)
{
	struct walfs_inode *inode = NULL;
	pthread_mutex_lock(&inodes->lock);
	HASH_FIND(by_name, inodes->by_name, name, strlen(name), inode);
	if (inode)
		inode->n_lookup++;
	pthread_mutex_unlock(&inodes->lock);
	return inode;
}

int walfs_inode_insert(struct walfs_inodes *inodes, struct wal_stream *stream, const char *name,
		       struct walfs_inode **ret_inode)
{
	struct walfs_inode *fresh = calloc(1, sizeof(*fresh));
	if (!fresh) {
		wal_stream_unref(stream);
		return -ENOMEM;
	}
	fresh->id = wal_stream_id(stream);
	fresh->stream = stream;
	pthread_mutex_init(&fresh->lock, NULL);

	pthread_mutex_lock(&inodes->lock);
	struct walfs_inode *inode = find_locked(inodes, fresh->id);
	if (!inode) {
		inode = fresh;
		fresh = NULL;
		HASH_ADD(by_id, inodes->by_id, id, sizeof(inode->id), inode);
	}
	set_name_locked(inodes, inode, name);
	inode->n_lookup++;
	pthread_mutex_unlock(&inodes->lock);

	free_inode(fresh);
	*ret_inode = inode;
	return 0;
}

void walfs_inode_remember(struct walfs_inodes *inodes, struct walfs_inode *inode, uint64_t n)
{
	pthread_mutex_lock(&inodes->lock);
	inode->n_lookup += n;
	pthread_mutex_unlock(&inodes->lock);
}

void walfs_inode_forget(struct walfs_inodes *inodes, uint64_t id, uint64_t n)
{
	struct walfs_inode *gone = NULL;
	pthread_mutex_lock(&inodes->lock);
	struct walfs_inode *inode = find_locked(inodes, id);
	if (inode) {
		/* The kernel's count, not ours: checked, not asserted. */
		inode->n_lookup -= n < inode->n_lookup ? n : inode->n_lookup;
		gone = reap_locked(inodes, inode);
	}
	pthread_mutex_unlock(&inodes->lock);
	free_inode(gone);
}

void walfs_inode_ref(struct walfs_inodes *inodes, struct walfs_inode *inode)
{
	pthread_mutex_lock(&inodes->lock);
	inode->n_ref++;
	pthread_mutex_unlock(&inodes->lock);
}

void walfs_inode_unref(struct walfs_inodes *inodes, struct walfs_inode *inode)
{
	pthread_mutex_lock(&inodes->lock);
	assert(inode->n_ref > 0);
	inode->n_ref--;
	struct walfs_inode *gone = reap_locked(inodes, inode);
	pthread_mutex_unlock(&inodes->lock);
	free_inode(gone);
}

void walfs_inode_rename(struct walfs_inodes *inodes, uint64_t id, const char *name)
{
	pthread_mutex_lock(&inodes->lock);
	struct walfs_inode *inode = find_locked(inodes, id);
	if (inode)
		set_name_locked(inodes, inode, name);
	pthread_mutex_unlock(&inodes->lock);
}
