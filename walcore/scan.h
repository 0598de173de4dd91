/* SPDX-License-Identifier: MIT
 *
 * scan: walks the records of a segment file in order, checking each. It never guesses: what is not valid
 * is reported with its offset, and resync searches for the next frame that is.
 * Threads: one at a time.
 */
#ifndef WAL_SCAN_H
#define WAL_SCAN_H

#include "index.h"
#include "io.h"
#include "record.h"

struct wal_scan {
	const struct wal_io *io;
	int fd;
	uint64_t seed;
	uint64_t off;    /* the next record begins here */
	uint64_t end;    /* look no further */
	uint64_t seq;    /* its number */
	uint8_t *window; /* owned where init made it */
	uint64_t window_off;
	size_t window_len;
	size_t window_cap; /* what is asked for at once must fit */
	size_t ahead;      /* fill it so far at a time */
	bool nowait;       /* -EAGAIN rather than wait for the disk */
};

/* -ENOMEM. Fini takes what init made, or zeros. */
int wal_scan_init(struct wal_scan *scan, const struct wal_io *io, int fd, uint64_t seed, struct wal_point from,
		  uint64_t end);
void wal_scan_fini(struct wal_scan *scan);

/* 1: a valid record, and the scan has passed it. `ret_header` is borrowed until the next call. 0: the end, or nothing but
 * zeros from here on. -EBADMSG: something else that is no valid record with the expected number; the scan stays.
 * -ENODATA: as that, and what its frame says does not fit before the end. Others: the read failed.
 * With content, that is read and checked too; a record with a valid frame and a wrong content is 2, and passed. */
int wal_scan_next(struct wal_scan *scan, bool content, struct wal_place *ret_place, struct wal_span *ret_header);

/* The window's bytes at off where len of them can be had (at most window_cap), else a negative errno. */
int wal_scan_bytes(struct wal_scan *scan, uint64_t off, size_t len, const uint8_t **ret_bytes);

/* Moves to the next valid frame behind off and before `limit`, with a number above the expected one. 1, 0 where there is
 * none, or an error. */
int wal_scan_resync(struct wal_scan *scan, uint64_t limit);

/* How much content the damaged records from.seq..to.seq - 1 had, that fill the bytes from.off..to.off - 1: what their
 * frames say where the lengths lead exactly there; else what there is room for, and at least 1. */
int wal_scan_gap(struct wal_scan *scan, struct wal_point from, struct wal_point to, uint64_t *ret_len);

#endif
