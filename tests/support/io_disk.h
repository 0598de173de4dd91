/* SPDX-License-Identifier: MIT
 *
 * io_disk: a disk in memory behind the engine's system calls, and what a power loss leaves of it. Files, directories and
 * descriptors behave as the kernel's. Behind what the calls show there is a second state, the medium: what is certain to be there
 * after a power loss. Between the two are the changes, oldest first, that no sync has covered yet.
 *
 * What is promised about them is as little as can be:
 *   - fdatasync and fsync of a file cover its data and its size, and nothing else: not its name. fsync of a directory covers the
 *     names in it, and not what they lead to. syncfs covers everything.
 *   - A write that is not covered is there, or not, or torn: in sectors of 512 bytes or pages of 4,096, each there or not; whatever
 *     became of others before and after it. It may have made the file longer and left zeros. A truncation is there or not.
 *   - A name that was made or removed is there or not. A name's changes come in order: it is as it was at some time.
 *   - A rename is there or not; for a file also halfway, with both names. It never loses both: nothing could be built on that.
 *
 * Each call that changes something, or syncs, is told to the hook before it is done: the place to stop, to fail it, or to see what
 * a power loss would leave just then.
 *
 * Threads: any; the hook is called with the disk's lock held, and may use the disk.
 */
#ifndef TESTS_SUPPORT_IO_DISK_H
#define TESTS_SUPPORT_IO_DISK_H

#include <stdio.h>

#include "io_fault.h" /* for the kinds */

struct io_disk;

struct io_disk_call {  /* borrowed */
	uint64_t n;    /* which one of the disk's; from 1 */
	unsigned kind; /* one of IO_CHANGES */
	uint64_t ino;  /* of what is synced; 0: of other calls */
	char what[96]; /* for people */
};
/* 0, or the error that the call is to fail with. After a sync of a file that failed, what it was to cover is there or not,
 * once and for all: no later sync covers it. */
typedef int io_disk_hook(void *arg, const struct io_disk_call *call);

/* An empty one; its root is the working directory, so that a store can be opened at "store". Owned by the caller. */
struct io_disk *io_disk_new(void);
void io_disk_free(struct io_disk *disk);
/* For wal_opts; valid as long as the disk. */
const struct wal_io *io_disk_io(struct io_disk *disk);
void io_disk_set_hook(struct io_disk *disk, io_disk_hook *hook, void *arg);
/* From now on every call but close fails with -EIO. */
void io_disk_off(struct io_disk *disk);
/* What a power loss leaves, as a disk of its own, with all on the medium. Seed 0: nothing that was not covered; 1: all of it; another
 * one decides on each change. log: tells what became of each; or NULL. */
struct io_disk *io_disk_crash(struct io_disk *disk, uint64_t seed, FILE *log);
/* The same once more: what is left when only the process dies, and nothing of the page cache is lost. */
struct io_disk *io_disk_copy(struct io_disk *disk);
/* Tells what files there are. */
void io_disk_print(struct io_disk *disk, FILE *to);
/* What the path leads to; 0: nothing. */
uint64_t io_disk_ino(struct io_disk *disk, const char *path);
/* Changes that no sync has covered. */
size_t io_disk_uncovered(struct io_disk *disk);

#endif
