/* SPDX-License-Identifier: MIT
 *
 * Up to 1 MiB the bytes are in a buffer that grows by doubling, and their space is reserved in the stream. A longer record,
 * or any record while the user has his share of memory, becomes a draft of the engine: what is in the buffer is written to it, the
 * buffer and the reservation are given back, and what follows is written straight on. So a record of 1 GiB takes no
 * memory to speak of, and the disk's space is not counted twice.
 */
#include "pending.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CAP_MIN ((size_t)512)

static const char zeros[64 * 1024];

void walfs_pending_init(struct walfs_pending *pending, struct walfs_user *user)
{
	*pending = (struct walfs_pending){ .user = user };
}

static void free_buf(struct walfs_pending *pending)
{
	if (pending->buf)
		walfs_user_give(pending->user, WALFS_MEMORY, pending->cap);
	free(pending->buf);
	pending->buf = NULL;
	pending->cap = 0;
}

/* Makes room for `len` bytes in memory. False where they shall not be in memory. */
static bool grow(struct walfs_pending *pending, uint64_t len)
{
	if (pending->draft || len > WALFS_PENDING_MEMORY_MAX)
		return false;
	size_t cap = pending->cap ? pending->cap : CAP_MIN;
	while (cap < len)
		cap *= 2;
	if (cap == pending->cap)
		return true;
	if (walfs_user_take(pending->user, WALFS_MEMORY, cap - pending->cap) < 0)
		return false;
	char *buf = realloc(pending->buf, cap);
	if (!buf) {
		walfs_user_give(pending->user, WALFS_MEMORY, cap - pending->cap);
		return false;
	}
	pending->buf = buf;
	pending->cap = cap;
	return true;
}

static int add_to_memory(struct walfs_pending *pending, struct wal_stream *stream, const void *data, uint64_t n,
			 uint32_t flags)
{
	int err = wal_reserve(stream, n, flags);
	if (err < 0)
		return err;
	pending->reserved_bytes += n;
	if (data)
		memcpy(pending->buf + pending->len, data, n);
	else
		memset(pending->buf + pending->len, 0, n);
	pending->len += n;
	return 0;
}

static int start_draft(struct walfs_pending *pending, struct wal_stream *stream, struct wal_span header)
{
	struct wal_draft *draft = NULL;
	int err = walfs_user_take(pending->user, WALFS_DRAFTS, 1);
	if (err < 0)
		return err;
	err = wal_draft_open(stream, header, &draft);
	if (err == 0 && pending->len > 0)
		err = wal_draft_write(draft, pending->buf, pending->len);
	if (err < 0) {
		wal_draft_abort(draft);
		walfs_user_give(pending->user, WALFS_DRAFTS, 1);
		return err;
	}
	pending->draft = draft;
	free_buf(pending);
	wal_release(stream, pending->reserved_bytes);
	pending->reserved_bytes = 0;
	return 0;
}

static int add_to_draft(struct walfs_pending *pending, const void *data, uint64_t n)
{
	while (n > 0) {
		size_t piece = data || n < sizeof(zeros) ? n : sizeof(zeros);
		int err = wal_draft_write(pending->draft, data ? data : zeros, piece);
		if (err < 0)
			return err;
		pending->len += piece;
		n -= piece;
	}
	return 0;
}

static int add(struct walfs_pending *pending, struct wal_stream *stream, struct wal_span header, const void *data,
	       uint64_t n, uint32_t flags)
{
	if (grow(pending, pending->len + n))
		return add_to_memory(pending, stream, data, n, flags);
	if (flags & WAL_NOWAIT)
		return -EAGAIN;
	if (!pending->draft) {
		int err = start_draft(pending, stream, header);
		if (err < 0)
			return err;
	}
	return add_to_draft(pending, data, n);
}

int walfs_pending_reserve(struct walfs_pending *pending, struct wal_stream *stream, uint64_t n, uint32_t flags)
{
	int err = wal_reserve(stream, n, flags);
	if (err == 0)
		pending->reserved_bytes += n;
	return err;
}

void walfs_pending_unreserve(struct walfs_pending *pending, struct wal_stream *stream, uint64_t n)
{
	assert(n <= pending->reserved_bytes);
	wal_release(stream, n);
	pending->reserved_bytes -= n;
}

void walfs_pending_cut(struct walfs_pending *pending, struct wal_stream *stream, uint64_t len)
{
	uint64_t n = pending->len - len;
	assert(!pending->draft && len <= pending->len);
	walfs_pending_unreserve(pending, stream, n);
	walfs_user_give(pending->user, WALFS_PENDING, n);
	pending->len = len;
}

int walfs_pending_add(struct walfs_pending *pending, struct wal_stream *stream, struct wal_span header,
		      const void *data, uint64_t n, uint32_t flags)
{
	uint64_t len, before = pending->len;
	if (__builtin_add_overflow(before, n, &len) || len > wal_max_record(stream))
		return -EFBIG;
	if (n == 0)
		return 0;
	int err = walfs_user_take(pending->user, WALFS_PENDING, n);
	if (err < 0)
		return err;
	err = add(pending, stream, header, data, n, flags);
	walfs_user_give(pending->user, WALFS_PENDING, len - pending->len); /* what was not accepted */
	return err;
}

void walfs_pending_request(const struct walfs_pending *pending, struct wal_span header, struct wal_entry *entry,
			   struct wal_append *req)
{
	assert(pending->len > 0);
	if (pending->draft) {
		req->draft = pending->draft;
		return;
	}
	*entry = (struct wal_entry){ .header = header, .content = { pending->buf, pending->len } };
	req->entries = entry;
	req->n = 1;
	req->flags |= WAL_APPEND_RESERVED;
	req->reserved_bytes = pending->reserved_bytes;
}

void walfs_pending_done(struct walfs_pending *pending, struct wal_stream *stream, int result)
{
	if (result < 0 && pending->reserved_bytes > 0)
		wal_release(stream, pending->reserved_bytes);
	if (result < 0)
		wal_draft_abort(pending->draft);
	if (pending->draft)
		walfs_user_give(pending->user, WALFS_DRAFTS, 1);
	walfs_user_give(pending->user, WALFS_PENDING, pending->len);
	free_buf(pending);
	walfs_pending_init(pending, pending->user);
}

void walfs_pending_drop(struct walfs_pending *pending, struct wal_stream *stream)
{
	walfs_pending_done(pending, stream, -ECANCELED);
}
