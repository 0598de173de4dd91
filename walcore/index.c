/* SPDX-License-Identifier: MIT
 *
 * The file: magic | version u16 | zero | salt of the segment u64 | end number u64 | end offset u64 | content bytes u64 |
 * points u64 | sum of all points u64 | sum of the bytes before it u64; then per point number, offset, position u64.
 */
#include "index.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>

#include "banned.h"
#include "bytes.h"
#include "checksum.h"
#include "format.h"
#include "bounds.h"

#define INDEX_HEAD 72
#define INDEX_POINT 24
/* A segment has at most so many points; a file that claims more is wrong. */
#define INDEX_POINTS_MAX (UINT64_C(1) << 24)

void wal_index_fini(struct wal_index *index)
{
	free(index->points);
	*index = (struct wal_index){ NULL, 0, 0 };
}

int wal_index_note(struct wal_index *index, struct wal_point point)
{
	if (index->n > 0 && point.off < index->points[index->n - 1].off + WAL_INDEX_STEP)
		return 0;
	if (index->n == index->cap) {
		size_t cap = index->cap ? index->cap * 2 : 4;
		struct wal_point *points = realloc(index->points, cap * sizeof(*points));

		if (!points)
			return -ENOMEM;
		index->points = points;
		index->cap = cap;
	}
	index->points[index->n++] = point;
	return 0;
}

size_t wal_index_count_seq(const struct wal_index *index, uint64_t seq)
{
	size_t low = 0, high = index->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (index->points[mid].seq <= seq)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

size_t wal_index_count_pos(const struct wal_index *index, uint64_t pos)
{
	size_t low = 0, high = index->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (index->points[mid].pos <= pos)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct wal_point wal_index_before(const struct wal_index *index, uint64_t seq, struct wal_point start)
{
	size_t n = wal_index_count_seq(index, seq);

	return n > 0 ? index->points[n - 1] : start;
}

static void put_points(uint8_t *out, const struct wal_index *index)
{
	for (size_t i = 0; i < index->n; i++, out += INDEX_POINT) {
		wal_put_le64(out, index->points[i].seq);
		wal_put_le64(out + 8, index->points[i].off);
		wal_put_le64(out + 16, index->points[i].pos);
	}
}

int wal_index_save(const struct wal_index *index, const struct wal_io *io, int dirfd, const char *path, uint64_t salt,
		   struct wal_point end)
{
	size_t len = INDEX_HEAD + index->n * INDEX_POINT;
	uint8_t *buf = calloc(1, len);
	int fd, r;

	if (!buf)
		return -ENOMEM;
	put_points(buf + INDEX_HEAD, index);
	memcpy(buf, WAL_INDEX_MAGIC, WAL_MAGIC_LEN);
	wal_put_le16(buf + 8, WAL_INDEX_VERSION);
	wal_put_le64(buf + 16, salt);
	wal_put_le64(buf + 24, end.seq);
	wal_put_le64(buf + 32, end.off);
	wal_put_le64(buf + 40, end.pos);
	wal_put_le64(buf + 48, index->n);
	wal_put_le64(buf + 56, wal_sum(buf + INDEX_HEAD, len - INDEX_HEAD, salt));
	wal_put_le64(buf + 64, wal_sum(buf, 64, salt));
	fd = wal_io_open(io, dirfd, path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	r = fd;
	if (fd >= 0) {
		r = wal_io_write(io, fd, buf, len, 0);
		(void)io->close(io, fd); /* a cache: what is lost is rebuilt */
		if (r < 0)
			(void)io->unlinkat(io, dirfd, path, false);
	}
	free(buf);
	return r < 0 ? r : 0;
}

static bool points_ok(const struct wal_index *index, struct wal_point end)
{
	struct wal_point last = { 0, WAL_HEAD_BYTES - 1, 0 };

	for (size_t i = 0; i < index->n; i++) {
		if (index->points[i].seq <= last.seq || index->points[i].off <= last.off ||
		    index->points[i].pos < last.pos)
			return false;
		last = index->points[i];
	}
	return last.seq < end.seq && last.off < end.off && last.pos <= end.pos;
}

static int load_fd(struct wal_index *out, const struct wal_io *io, int fd, uint64_t salt, struct wal_point *ret_end)
{
	uint8_t head[INDEX_HEAD];
	struct wal_point end;
	uint8_t *buf;
	size_t len;
	int r = -EBADMSG;

	if (wal_io_read(io, fd, head, sizeof(head), 0, false) != INDEX_HEAD)
		return -EBADMSG;
	if (memcmp(head, WAL_INDEX_MAGIC, WAL_MAGIC_LEN) != 0 || wal_get_le16(head + 8) != WAL_INDEX_VERSION ||
	    wal_get_le64(head + 16) != salt || wal_get_le64(head + 64) != wal_sum(head, 64, salt) ||
	    wal_get_le64(head + 48) > INDEX_POINTS_MAX)
		return -EBADMSG;
	end = (struct wal_point){ wal_get_le64(head + 24), wal_get_le64(head + 32), wal_get_le64(head + 40) };
	out->n = out->cap = wal_get_le64(head + 48);
	len = out->n * INDEX_POINT;
	buf = malloc(len + 1);
	out->points = malloc((out->n + 1) * sizeof(*out->points));
	if (!buf || !out->points) {
		r = -ENOMEM;
		goto out;
	}
	if (wal_io_read(io, fd, buf, len, INDEX_HEAD, false) != (ssize_t)len ||
	    wal_sum(buf, len, salt) != wal_get_le64(head + 56))
		goto out;
	for (size_t i = 0; i < out->n; i++)
		out->points[i] = (struct wal_point){ wal_get_le64(buf + i * INDEX_POINT),
						     wal_get_le64(buf + i * INDEX_POINT + 8),
						     wal_get_le64(buf + i * INDEX_POINT + 16) };
	if (!points_ok(out, end))
		goto out;
	*ret_end = end;
	r = 0;
out:
	free(buf);
	return r;
}

int wal_index_load(struct wal_index *index, const struct wal_io *io, int dirfd, const char *path, uint64_t salt,
		   struct wal_point *ret_end)
{
	struct wal_index out = { NULL, 0, 0 };
	int fd, r;

	fd = wal_io_open(io, dirfd, path, O_RDONLY, 0);
	if (fd < 0)
		return fd;
	r = load_fd(&out, io, fd, salt, ret_end);
	(void)io->close(io, fd); /* only read from */
	if (r < 0) {
		wal_index_fini(&out);
		return r;
	}
	wal_index_fini(index);
	*index = out;
	return 0;
}
