/* SPDX-License-Identifier: MIT */
#include "promise.h"

#define TAG_LEN 16

void promise_init(struct promise *promise)
{
	memset(promise, 0, sizeof(*promise));
	promise->trimmed = promise->trimmed_may = 1;
}

/* Header and content of the i-th one; both begin with the number of the ask where there is room. */
static uint8_t *make(const struct promise *promise, uint32_t i, struct wal_entry *ret_entry)
{
	const struct promise_ask *ask = &promise->asks[i];
	uint8_t *bytes = kit_bytes(ask->header_len + ask->len, i + 1);

	assert_true(ask->len >= sizeof(i));
	memcpy(bytes + ask->header_len, &i, sizeof(i));
	ret_entry->header = (struct wal_span){ bytes, ask->header_len };
	ret_entry->content = (struct wal_span){ bytes + ask->header_len, ask->len };
	return bytes;
}

static int append_draft(struct wal_stream *stream, const struct wal_entry *entry, struct wal_append *req)
{
	const uint8_t *base = entry->content.base;
	int r = wal_draft_open(stream, entry->header, &req->draft);

	for (size_t off = 0; r == 0 && off < entry->content.len; off += 50000) {
		size_t left = entry->content.len - off;

		r = wal_draft_write(req->draft, base + off, left < 50000 ? left : 50000);
	}
	if (r == 0)
		r = wal_append(stream, req);
	if (r < 0)
		wal_draft_abort(req->draft);
	return r;
}

int promise_append(struct promise *promise, struct wal_stream *stream, uint32_t n, uint32_t header_len, uint64_t len,
		   uint32_t flags)
{
	uint32_t first = promise->n, count = n ? n : 1;
	struct wal_entry entries[64];
	struct wal_append req = { .entries = n ? entries : NULL, .n = n, .flags = flags };
	uint8_t *bytes[64];
	int r;

	assert_true(count <= 64 && first + count <= PROMISE_MAX);
	for (uint32_t i = 0; i < count; i++) {
		promise->asks[promise->n++] = (struct promise_ask){ header_len, len, 0, promise->batches,
								    flags & WAL_APPEND_DURABLE };
		bytes[i] = make(promise, first + i, &entries[i]);
	}
	promise->batches++;
	r = n ? wal_append(stream, &req) : append_draft(stream, &entries[0], &req);
	for (uint32_t i = 0; i < count; i++) {
		if (r == 0)
			promise->asks[first + i].seq = req.seq + i;
		free(bytes[i]);
	}
	return r;
}

int promise_trim(struct promise *promise, struct wal_stream *stream, uint64_t first, uint32_t flags)
{
	int r;

	if (first > promise->trimmed_may)
		promise->trimmed_may = first;
	r = wal_trim(stream, first, flags);
	if (r == 0)
		promise->trimmed = first;
	return r;
}

static void check_bytes(const struct promise *promise, struct wal_stream *stream, uint64_t seq, uint32_t i)
{
	struct wal_entry entry;
	uint8_t *bytes = make(promise, i, &entry);

	kit_expect(stream, seq, entry.header, entry.content);
	free(bytes);
}

/* The batch of ask i begins with record seq: all of it is there. */
static void check_batch(const struct promise *promise, uint32_t i, uint64_t seq, uint64_t next, uint64_t first)
{
	uint32_t begin = i, end = i;

	while (begin > 0 && promise->asks[begin - 1].batch == promise->asks[i].batch)
		begin--;
	while (end < promise->n && promise->asks[end].batch == promise->asks[i].batch)
		end++;
	assert_true(seq - first >= i - begin || first > 1); /* but for what a trim took */
	assert_true(seq + (end - i) <= next);
}

void promise_check(struct promise *promise, struct wal_stream *stream, bool settled)
{
	struct wal_stat stat = kit_stat(stream);
	uint64_t acked_max = 0, acked_n = 0, found = 0;
	uint32_t last = 0;

	assert_in_range(stat.first, promise->trimmed, promise->trimmed_may);
	assert_int_equal(stat.damaged, 0);
	for (uint32_t i = 0; i < promise->n; i++) {
		uint64_t seq = promise->asks[i].seq;

		if (seq > acked_max)
			acked_max = seq;
		acked_n += seq >= stat.first;
	}
	assert_true(stat.next > acked_max);
	for (uint64_t seq = stat.first; seq < stat.next; seq++) {
		struct promise_ask *ask;
		uint32_t i;

		assert_int_equal(wal_read(stream, seq, 0, &i, sizeof(i), 0), sizeof(i));
		assert_true(i < promise->n);
		assert_true(seq == stat.first || i > last); /* in order, none twice */
		last = i;
		ask = &promise->asks[i];
		check_bytes(promise, stream, seq, i);
		check_batch(promise, i, seq, stat.next, stat.first);
		if (ask->seq) {
			assert_int_equal(ask->seq, seq);
			found++;
		} else {
			assert_true(seq > acked_max || ask->may_follow);
			if (settled)
				ask->seq = seq;
		}
	}
	assert_int_equal(found, acked_n);
	for (uint32_t i = 0; settled && i < promise->n; i++) /* what is not there now must never come */
		if (!promise->asks[i].seq)
			promise->asks[i].may_follow = false;
}
