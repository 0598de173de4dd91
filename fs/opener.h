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

#define WALFS_WRITERS_MAX 8

struct walfs_opener {
	pid_t tgid;     /* the process; 0: not to be seen from here (a foreign pid namespace) */
	uint64_t owner; /* its lock owner, once it is known */
	bool has_owner;

	/* Who wrote to the pending record. */
	bool wrote;                       /* the opener did */
	pid_t writers[WALFS_WRITERS_MAX]; /* who else */
	unsigned n_writers;               /* more than WALFS_WRITERS_MAX: they are not all known */
};

/* Is /proc that of our pid namespace? Without one, or with another's, every process is as one that cannot be seen. */
bool walfs_opener_sees_processes(void);

/* To be called during OPEN, while the thread `pid` waits for the answer. */
void walfs_opener_init(struct walfs_opener *opener, pid_t pid);

/* A thread writes. The first to write counts as the opener where that cannot be seen. */
void walfs_opener_note_write(struct walfs_opener *opener, pid_t pid, uint64_t owner);
void walfs_opener_forget_writes(struct walfs_opener *opener);

/* Is it the opener who closes? */
bool walfs_opener_closes(struct walfs_opener *opener, pid_t pid, uint64_t owner);

/* May others than the opener go on with the file `ino`: those who wrote, or its children? True where they cannot be seen.
 * A child whose parents are gone is not found. */
bool walfs_opener_others_hold(const struct walfs_opener *opener, pid_t pid, uint64_t ino);

enum walfs_fate {
	WALFS_FATE_UNKNOWN, /* not to be seen */
	WALFS_FATE_RUNNING,
	WALFS_FATE_EXITING, /* ends by itself: all its descriptors are being closed */
	WALFS_FATE_KILLED,  /* ends by a signal */
};

enum walfs_fate walfs_process_fate(pid_t pid);

/* Which descriptors to look for: of a file called `append...`, or by a number, with this inode
 * number. */
struct walfs_sought {
	uint64_t ino;
	const uint64_t *pos; /* borrowed: at this file position; NULL: at any */
	unsigned others;     /* so many of them are known to belong to other opens */
	unsigned look_max;   /* so many descriptors are looked at; 0: all */
};

/* Has the process such a descriptor, besides those of others? 1 or 0; -EAGAIN: it has more descriptors than were to be
 * looked at; other errors: not to be seen. */
int walfs_process_holds(pid_t pid, const struct walfs_sought *sought);

#endif
