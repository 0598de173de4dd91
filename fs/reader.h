/* SPDX-License-Identifier: MIT
 *
 * A position in a stream, and reading on from it: the contents of the records, one after another. Invariant: no byte is
 * passed over unsaid. What was trimmed before it was read is -EPIPE once, a damaged record -EBADMSG once; reading then
 * goes on with what comes next.
 *
 * Threads: one at a time.
 */
#ifndef WALFS_READER_H
#define WALFS_READER_H

#include <stdbool.h>
#include <walcore/walcore.h>

struct walfs_reader {
	struct wal_stream *stream; /* borrowed */
	uint64_t seq, off;         /* the next byte is byte `off` of record `seq` */
	bool single;               /* a read gives bytes of one record alone */
};

/* Reads up to `size` bytes. 0: the end, the stream was removed. -ENOENT: nothing there yet; -EPIPE, -EBADMSG, -EIO as
 * above; -EINVAL: single, and the record is larger than `size`, which is not that of a piece of a larger read(2). With
 * WAL_NOWAIT -EAGAIN where the disk would have to be waited for, or much to be done; the position is then as before. */
ssize_t walfs_reader_read(struct walfs_reader *reader, void *buf, size_t size, uint32_t wait);

/* The rest of a read(2) that the kernel has cut: as above, but it ends, with 0, where that says anything but bytes, and
 * where single at the end of the record. */
ssize_t walfs_reader_read_on(struct walfs_reader *reader, void *buf, size_t size, uint32_t wait);

/* 1: walfs_reader_read would have something to say; 0: nothing there yet; -EAGAIN. Passes over empty records. */
int walfs_reader_ready(struct walfs_reader *reader, uint32_t wait);

#endif
