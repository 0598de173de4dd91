/* SPDX-License-Identifier: MIT
 *
 * Only attributes are ever invalidated, never pages and never names (offset -1). For these the kernel looks the inode up
 * and sets a mark; it takes no lock that a request of ours can hold and waits for no page, since directories and append
 * have none. So the notice may be written from within a handler, and is, before the reply: a notice that came from
 * another thread after the reply would leave a moment in which `echo x >> append; stat append` shows the old time.
 * An answer with old attributes that is on its way meanwhile is dropped by the kernel (its attr_version).
 *
 * append needs no notice after a commit: the kernel itself forgets its time and size after each WRITE, and while
 * bytes are written and not committed its attributes are given without a timeout (attr.c).
 */
#include "notify.h"

#include "walfs.h"

static void invalidate(struct walfs *fs, uint64_t stream, enum walfs_kind kind)
{
	struct walfs_node node = { .kind = kind, .stream = stream };
	if (!fs->session)
		return; /* unmounted */
	/* -ENOENT: the kernel does not hold it, which is as good. */
	(void)fuse_lowlevel_notify_inval_inode(fs->session, walfs_node_id(&node), -1, 0);
}

void walfs_notify_committed(struct walfs *fs, struct walfs_inode *inode)
{
	/* One notice for however many commits there were since the kernel last asked. */
	if (atomic_exchange(&inode->given, false))
		invalidate(fs, inode->id, WALFS_STREAM);
}

void walfs_notify_mode(struct walfs *fs, struct walfs_inode *inode)
{
	invalidate(fs, inode->id, WALFS_APPEND);
}
