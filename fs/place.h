/* SPDX-License-Identifier: MIT
 *
 * Where the store and the mount point are. Invariant: neither lies in the other, since a daemon that asks its own mount
 * waits for itself; paths are absolute, since a daemon does not stay where it was started.
 *
 * Threads: one at a time.
 */
#ifndef WALFS_PLACE_H
#define WALFS_PLACE_H

#include <stddef.h>

struct walfs_place {
	char *store;      /* owned: absolute; a URL of another kind stays as it is */
	char *mountpoint; /* owned: absolute, without links */
};

/* Resolves both, having removed a mount at `mountpoint` whose daemon is dead. A negative error, said in `problem`. Give
 * back with walfs_place_fini, also after a failure. */
int walfs_place_find(struct walfs_place *place, const char *store, const char *mountpoint, char *problem, size_t size);
void walfs_place_fini(struct walfs_place *place);

#endif
