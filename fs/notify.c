/* SPDX-License-Identifier: MIT
 *
 * Only attributes are ever invalidated, never pages and never names (offset -1). For these the kernel looks the inode up
 * and sets a mark; it takes no lock that a request of ours can hold and waits for no page, since directories and append
 * have none. So the notice may be written from within a handler, and is, before the reply: a notice that came from
 * another thread after the reply would leave a moment in which `echo x >> append; stat append` shows the old time.
 * An answer with old attributes that is on its way meanwhile is dropped by the kernel (its attr_version).
 *
 * append needs no notice after a commit through itself: the kernel forgets its time and size after each WRITE, and while
 * bytes are written and not committed its attributes are given without a timeout (attr.c). append.msg likewise; of
 * append.line and what else is numbered by lookup nothing is kept.
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

/* Whose attributes the kernel keeps, and show the time of the newest record. */
static const enum walfs_kind timed[] = { WALFS_STREAM, WALFS_APPEND, WALFS_APPEND_MSG };
#define N_TIMED (sizeof(timed) / sizeof(timed[0]))

void walfs_notify_given(struct walfs_inode *inode, enum walfs_kind kind)
{
	for (size_t i = 0; i < N_TIMED; i++)
		if (timed[i] == kind)
			atomic_fetch_or(&inode->given, 1u << kind);
}

void walfs_notify_committed(struct walfs *fs, struct walfs_inode *inode, enum walfs_kind kind)
{
	/* One notice for however many commits there were since the kernel last asked. */
	unsigned given = atomic_exchange(&inode->given, 0);
	for (size_t i = 0; i < N_TIMED; i++)
		if ((given & 1u << timed[i]) && timed[i] != kind)
			invalidate(fs, inode->id, timed[i]);
}

void walfs_notify_mode(struct walfs *fs, struct walfs_inode *inode)
{
	invalidate(fs, inode->id, WALFS_APPEND);
	invalidate(fs, inode->id, WALFS_APPEND_MSG);
}
