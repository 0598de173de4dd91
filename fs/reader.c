/* SPDX-License-Identifier: MIT
 *
 * Empty records have nothing to read and are passed over: a read of nothing would be the end of the file. What cannot be
 * read is said by a read that has no bytes to give, so that none of those before it is held back.
 */
#include "reader.h"

#include "append.h"

#include <errno.h>

#define STEPS_MAX 64 /* records that are read one by one; of more the engine reads a range, and not in the loop */

static void next_record(struct walfs_reader *reader)
{
	reader->seq++;
	reader->off = 0;
}

/* The record cannot be read. Moves on behind what is said, unless it is the stream that cannot be read at all. */
static int pass(struct walfs_reader *reader, int err)
{
	struct wal_stat stat;
	if (err != -EIDRM && err != -EBADMSG && err != -EIO)
		return err;
	int stat_err = wal_stream_stat(reader->stream, 0, &stat);
	if (stat_err < 0)
		return stat_err == -EIDRM ? 0 : stat_err;
	if (err == -EIDRM) {
		reader->seq = stat.first;
		reader->off = 0;
		return -EPIPE;
	}
	next_record(reader);
	return err;
}

/* Moves to the next byte there is. 0, or the error that is there instead. Sets the length of its record. */
static int settle(struct walfs_reader *reader, uint32_t wait, uint64_t *ret_len)
{
	struct wal_info info;
	for (int steps = 0;; steps++) {
		if (steps >= STEPS_MAX && (wait & WAL_NOWAIT))
			return -EAGAIN;
		int err = wal_record_info(reader->stream, reader->seq, wait, &info);
		if (err < 0)
			return err;
		if (reader->off < info.content_len)
			break;
		next_record(reader);
	}
	*ret_len = info.content_len;
	return 0;
}

/* Bytes of one record, or the error that is there instead. */
static ssize_t read_single(struct walfs_reader *reader, void *buf, size_t size, uint32_t wait)
{
	uint64_t len;
	int err = settle(reader, wait, &len);
	if (err < 0)
		return err;
	/* Of a larger read the kernel sends pieces of 1 MiB, of which the first can be a page shorter. */
	if (reader->off == 0 && len > size && size < WALFS_PACKET_MAX)
		return -EINVAL;
	ssize_t n = wal_read(reader->stream, reader->seq, reader->off, buf, size, wait);
	if (n > 0)
		reader->off += (uint64_t)n;
	if (reader->off == len)
		next_record(reader);
	return n;
}

/* Passes over n bytes that have been read. */
static void pass_bytes(struct walfs_reader *reader, uint64_t n)
{
	struct wal_info info;
	while (wal_record_info(reader->stream, reader->seq, 0, &info) == 0 && info.content_len - reader->off <= n) {
		n -= info.content_len - reader->off;
		next_record(reader);
	}
	reader->off += n;
}

/* Bytes of as many records as fit, in one piece; to find out where that begins and ends takes as long as to read a few
 * records. Waits for the disk. Any error but -ENOENT: to be found out record by record. */
static ssize_t read_range(struct walfs_reader *reader, char *buf, size_t size)
{
	struct wal_stat stat;
	uint64_t pos = 0;
	int err = wal_stream_stat(reader->stream, 0, &stat); /* before the rest: at its end this is where to go on */
	if (err == 0)
		err = wal_tell(reader->stream, reader->seq, 0, &pos);
	if (err < 0)
		return err;
	pos += reader->off;
	ssize_t n = wal_read_range(reader->stream, pos, buf, size, 0);
	if (n < 0)
		return n;
	err = wal_locate(reader->stream, pos + (uint64_t)n, 0, &reader->seq, &reader->off);
	if (err == -ENOENT) { /* all that there is behind it is empty */
		reader->seq = stat.next;
		reader->off = 0;
	} else if (err < 0) {
		pass_bytes(reader, (uint64_t)n);
	}
	return n > 0 ? n : -ENOENT;
}

/* Bytes of as many records as fit, or the error that is there instead. */
static ssize_t read_many(struct walfs_reader *reader, char *buf, size_t size, uint32_t wait)
{
	size_t done = 0;
	for (int steps = 0; done < size; steps++) {
		ssize_t n = -EBADMSG;
		if (steps == STEPS_MAX && (wait & WAL_NOWAIT))
			return -EAGAIN;
		if (steps == STEPS_MAX)
			n = read_range(reader, buf + done, size - done);
		if (n > 0)
			return (ssize_t)done + n;
		if (n != -ENOENT)
			n = wal_read(reader->stream, reader->seq, reader->off, buf + done, size - done, wait);
		if (n < 0 && (done == 0 || n == -EAGAIN))
			return n;
		if (n < 0)
			break;
		if (n == 0)
			next_record(reader);
		reader->off += (uint64_t)n;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

static ssize_t read_some(struct walfs_reader *reader, void *buf, size_t size, uint32_t wait)
{
	struct walfs_reader before = *reader;
	ssize_t n = reader->single ? read_single(reader, buf, size, wait) : read_many(reader, buf, size, wait);
	if (n == -EAGAIN)
		*reader = before;
	return n;
}

ssize_t walfs_reader_read(struct walfs_reader *reader, void *buf, size_t size, uint32_t wait)
{
	ssize_t n = read_some(reader, buf, size, wait);
	return n < 0 && n != -EAGAIN ? pass(reader, (int)n) : n;
}

ssize_t walfs_reader_read_on(struct walfs_reader *reader, void *buf, size_t size, uint32_t wait)
{
	if (reader->single && reader->off == 0)
		return 0;
	ssize_t n = read_some(reader, buf, size, wait);
	return n < 0 && n != -EAGAIN ? 0 : n;
}

int walfs_reader_ready(struct walfs_reader *reader, uint32_t wait)
{
	uint64_t len;
	int err = settle(reader, wait, &len);
	if (err == -ENOENT)
		return 0;
	return err == -EAGAIN ? -EAGAIN : 1;
}
