/* SPDX-License-Identifier: MIT
 *
 * image: the bytes of a request to append, as they go to disk. What is small, or a batch, is gathered in one buffer, so that it
 * is one write; a single large content is written from where its caller has it; a batch that is too large to be held whole
 * is encoded and written piece by piece.
 *
 * Threads: one at a time. It borrows the request until fini.
 */
#ifndef WAL_IMAGE_H
#define WAL_IMAGE_H

#include "io.h"
#include "record.h"

struct wal_image {
	const struct wal_append *req; /* borrowed until fini */
	uint64_t len;                 /* of all records on disk */
	bool whole;                   /* after write, spans hold all of it */
	struct wal_span spans[3];
	size_t n_spans;
	const uint8_t *last_frame; /* after write: of the last record; borrowed until fini */
	uint8_t *buf;              /* own or owned */
	size_t cap;
	uint8_t own[WAL_GATHER_BYTES];
};

/* len: of all records on disk, as the caller has checked it. Up to whole_max it is held whole. -ENOMEM. */
int wal_image_init(struct wal_image *image, const struct wal_append *req, uint64_t len, uint64_t whole_max);
void wal_image_fini(struct wal_image *image);

/* Encodes with the number and the time that the request has by now, and writes at off. What it leaves after a failure is for
 * the caller to cut. May be called again. */
int wal_image_write(struct wal_image *image, uint64_t seed, const struct wal_io *io, int fd, uint64_t off);

#endif
