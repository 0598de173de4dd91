/* SPDX-License-Identifier: MIT
 *
 * Who opened a file, whether a request comes from the same process, and what that process is about. Invariant: nothing
 * here asks the mount itself (no stat of a path that may lie in it), which would wait for us.
 *
 * Threads: one at a time per opener.
 */
#ifndef WALFS_OPENER_H
#define WALFS_OPENER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct walfs_opener {
	pid_t tgid;     /* the process; 0: not to be seen from here (a foreign pid namespace) */
	uint64_t owner; /* its lock owner, once it is known */
	bool has_owner;
};

/* To be called during OPEN, while the thread `pid` waits for the answer. */
void walfs_opener_init(struct walfs_opener *opener, pid_t pid);

/* Is it the opener who writes? The first to write counts as the opener where it cannot be seen. */
bool walfs_opener_writes(struct walfs_opener *opener, pid_t pid, uint64_t owner);

/* Is it the opener who closes? */
bool walfs_opener_closes(struct walfs_opener *opener, pid_t pid, uint64_t owner);

enum walfs_fate {
	WALFS_FATE_UNKNOWN, /* not to be seen */
	WALFS_FATE_RUNNING,
	WALFS_FATE_EXITING, /* ends by itself: all its descriptors are being closed */
	WALFS_FATE_KILLED,  /* ends by a signal */
};

enum walfs_fate walfs_process_fate(pid_t pid);

/* Has the process a descriptor of a file called `append...` with this inode number? 1 or 0; -EAGAIN: it has more than
 * `look_max` descriptors, and none of those looked at is it; other errors: not to be seen. */
int walfs_process_holds(pid_t pid, uint64_t ino, unsigned look_max);

/* Have the descendants of the process such a descriptor? 1 or 0; a negative error: not to be seen, or too many. A child
 * whose parents are gone is not found. */
int walfs_process_heirs_hold(pid_t pid, uint64_t ino);

/* Is there no such process any more, or only its remains? */
bool walfs_process_is_gone(pid_t pid);

#endif
