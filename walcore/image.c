/* SPDX-License-Identifier: MIT */
#include "image.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "banned.h"
#include "bytes.h"

static uint64_t entry_len(const struct wal_entry *entry)
{
	return wal_record_len(entry->header.len, entry->content.len);
}

/* A single record that is not small: its content stays where it is. */
static bool is_single(const struct wal_image *image)
{
	return image->req->n == 1 && image->len > sizeof(image->own);
}

int wal_image_init(struct wal_image *image, const struct wal_append *req, uint64_t len, uint64_t whole_max)
{
	image->req = req;
	image->len = len;
	image->whole = len <= whole_max || req->n == 1;
	image->n_spans = 0;
	image->last_frame = NULL;
	image->buf = image->own;
	image->cap = sizeof(image->own);
	if (is_single(image)) {
		image->cap = (size_t)(len - req->entries[0].content.len);
	} else if (image->whole) {
		image->cap = (size_t)wal_max_u64(len, image->cap);
	} else { /* at least one record at a time */
		image->cap = WAL_BATCH_PIECE;
		for (uint32_t i = 0; i < req->n; i++)
			image->cap = (size_t)wal_max_u64(entry_len(&req->entries[i]), image->cap);
	}
	if (image->cap > sizeof(image->own))
		image->buf = malloc(image->cap);
	return image->buf ? 0 : -ENOMEM;
}

void wal_image_fini(struct wal_image *image)
{
	if (image->buf != image->own)
		free(image->buf);
	image->buf = image->own;
}

static uint64_t content_sums(struct wal_span content, uint8_t *sums, uint64_t seed)
{
	size_t table_len = wal_record_sums_len(content.len), at = 0;

	if (table_len == 0)
		return wal_record_content_sum(content.base, content.len, seed);
	for (size_t off = 0; off < content.len; off += WAL_CHUNK, at += 8) {
		size_t len = (size_t)wal_min_u64(WAL_CHUNK, content.len - off);

		wal_put_le64(sums + at, wal_record_content_sum((const uint8_t *)content.base + off, len, seed));
	}
	assert(at == table_len);
	return wal_record_content_sum(sums, table_len, seed);
}

/* Frame and header of record i at p; its sums, if any, at `sums`. */
static void put_frame(const struct wal_append *req, uint32_t i, uint64_t seed, uint8_t *p, uint8_t *sums)
{
	const struct wal_entry *entry = &req->entries[i];
	struct wal_frame frame = { .seq = req->seq + i,
				   .time_ns = req->time_ns,
				   .content_len = entry->content.len,
				   .content_sum = content_sums(entry->content, sums, seed),
				   .header_len = (uint32_t)entry->header.len,
				   .more = i + 1 < req->n };

	wal_frame_encode(p, &frame, entry->header, seed);
	if (entry->header.len > 0)
		memcpy(p + WAL_FRAME_BYTES, entry->header.base, entry->header.len);
}

static int write_single(struct wal_image *image, uint64_t seed, const struct wal_io *io, int fd, uint64_t off)
{
	const struct wal_entry *entry = &image->req->entries[0];
	size_t front = WAL_FRAME_BYTES + entry->header.len;
	int r = 0;

	put_frame(image->req, 0, seed, image->buf, image->buf + front);
	image->last_frame = image->buf;
	image->spans[0] = (struct wal_span){ image->buf, front };
	image->spans[1] = entry->content;
	image->spans[2] = (struct wal_span){ image->buf + front, image->cap - front };
	image->n_spans = 3;
	for (size_t i = 0; i < image->n_spans && r == 0; i++) {
		if (image->spans[i].len > 0)
			r = wal_io_write(io, fd, image->spans[i].base, image->spans[i].len, off);
		off += image->spans[i].len;
	}
	return r;
}

/* Encodes records from *next on to buf + at, about a piece, as many as fit. Returns their length. */
static size_t gather(struct wal_image *image, uint64_t seed, size_t at, uint32_t *next)
{
	const struct wal_append *req = image->req;
	size_t used = 0;

	for (; *next < req->n && used < WAL_BATCH_PIECE; ++*next) {
		const struct wal_entry *entry = &req->entries[*next];
		size_t len = (size_t)entry_len(entry);
		uint8_t *p = image->buf + at + used, *content = p + WAL_FRAME_BYTES + entry->header.len;

		if (len > image->cap - at - used)
			break;
		if (entry->content.len > 0)
			memcpy(content, entry->content.base, entry->content.len);
		put_frame(req, *next, seed, p, content + entry->content.len);
		image->last_frame = p;
		used += len;
	}
	return used;
}

int wal_image_write(struct wal_image *image, uint64_t seed, const struct wal_io *io, int fd, uint64_t off)
{
	uint64_t done = 0;
	uint32_t next = 0;
	int r = 0;

	if (is_single(image))
		return write_single(image, seed, io, fd, off);
	while (next < image->req->n && r == 0) { /* each piece is written while it is in the processor's cache */
		size_t at = image->whole ? (size_t)done : 0, len = gather(image, seed, at, &next);

		assert(len > 0);
		r = wal_io_write(io, fd, image->buf + at, len, off + done);
		done += len;
	}
	assert(r < 0 || done == image->len);
	image->spans[0] = (struct wal_span){ image->buf, image->len };
	image->n_spans = 1;
	return r;
}
