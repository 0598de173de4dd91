/* SPDX-License-Identifier: MIT */
#include "kit.h"

#include <xxhash.h>

void kit_init(struct kit *kit)
{
	memset(kit, 0, sizeof(*kit));
	tmpdir_make(kit->dir);
	io_fault_init(&kit->fault);
	kit->clock.ns = CLOCK_START;
	kit->opts.flags = WAL_OPEN_CREATE;
	kit->opts.interval_ns = 3600 * (uint64_t)SECOND;
	kit->opts.journal_bytes = 64 * 1024;
	kit->opts.now_ns = test_clock_now;
	kit->opts.now_arg = &kit->clock;
	kit->opts.io = &kit->fault.io;
}

void kit_fini(struct kit *kit)
{
	io_fault_disarm(&kit->fault);
	if (kit->store)
		(void)wal_store_close(kit->store); /* the test is over */
	kit->store = NULL;
	tmpdir_remove(kit->dir);
}

void kit_open(struct kit *kit)
{
	struct wal_err err = { 0 };
	int r;

	assert_null(kit->store);
	r = wal_store_open(kit->dir, &kit->opts, &kit->store, &err);
	if (r < 0)
		print_error("%s\n", err.text);
	assert_int_equal(r, 0);
}

void kit_close(struct kit *kit)
{
	int r = wal_store_close(kit->store);

	kit->store = NULL;
	assert_int_equal(r, 0);
}

void kit_reopen(struct kit *kit)
{
	kit_close(kit);
	kit_open(kit);
}

void kit_crash(struct kit *kit)
{
	io_fault_stop(&kit->fault);
	if (kit->store)
		(void)wal_store_close(kit->store); /* nothing of it gets through */
	kit->store = NULL;
	io_fault_disarm(&kit->fault);
}

struct wal_stream *kit_stream(struct kit *kit, const char *key)
{
	static const struct wal_attr attr = { 1000, 100, 0750 };
	struct wal_stream *stream;
	int r = wal_stream_open(kit->store, KEY(key), &stream);

	if (r == -ENOENT)
		r = wal_stream_create(kit->store, KEY(key), &attr, NULL, &stream);
	assert_int_equal(r, 0);
	return stream;
}

int kit_put(struct wal_stream *stream, struct wal_span header, struct wal_span content, uint32_t flags,
	    uint64_t *ret_seq)
{
	struct wal_entry entry = { header, content };
	struct wal_append req = { .entries = &entry, .n = 1, .flags = flags };
	int r = wal_append(stream, &req);

	if (r == 0 && ret_seq)
		*ret_seq = req.seq;
	return r;
}

uint64_t kit_append(struct wal_stream *stream, const char *text)
{
	uint64_t seq = 0;

	assert_int_equal(kit_put(stream, (struct wal_span){ NULL, 0 }, KEY(text), 0, &seq), 0);
	return seq;
}

void kit_expect(struct wal_stream *stream, uint64_t seq, struct wal_span header, struct wal_span content)
{
	uint8_t *buf = malloc(content.len + header.len + 1);
	struct wal_info info;

	assert_non_null(buf);
	assert_int_equal(wal_record_info(stream, seq, 0, &info), 0);
	assert_int_equal(info.seq, seq);
	assert_int_equal(info.header_len, header.len);
	assert_int_equal(info.content_len, content.len);
	assert_int_equal(wal_read(stream, seq, 0, buf, content.len + 1, 0), content.len);
	if (content.len)
		assert_memory_equal(buf, content.base, content.len);
	assert_int_equal(wal_read_header(stream, seq, 0, buf, header.len + 1, 0), header.len);
	if (header.len)
		assert_memory_equal(buf, header.base, header.len);
	free(buf);
}

void kit_expect_text(struct wal_stream *stream, uint64_t seq, const char *text)
{
	kit_expect(stream, seq, (struct wal_span){ NULL, 0 }, KEY(text));
}

int kit_read_error(struct wal_stream *stream, uint64_t seq)
{
	static char buf[4 << 20];

	return (int)wal_read(stream, seq, 0, buf, sizeof(buf), 0);
}

struct wal_stat kit_stat(struct wal_stream *stream)
{
	struct wal_stat stat;

	assert_int_equal(wal_stream_stat(stream, 0, &stat), 0);
	return stat;
}

uint8_t *kit_bytes(size_t len, uint64_t seed)
{
	uint8_t *bytes = malloc(len + 8);

	assert_non_null(bytes);
	for (size_t i = 0; i < len; i += 8) {
		uint64_t at = i, v = XXH3_64bits_withSeed(&at, 8, seed);

		memcpy(bytes + i, &v, 8);
	}
	return bytes;
}

static void print_trouble(void *arg, const struct wal_trouble *t)
{
	(void)arg;
	print_message("# found: %s/%s at %llu, record %llu: %s\n", t->key, t->file, (unsigned long long)t->off,
		      (unsigned long long)t->seq, t->reason);
}

uint64_t kit_verify(struct kit *kit)
{
	struct wal_verify verify = { .found = print_trouble };

	assert_int_equal(wal_store_verify(kit->store, &verify), 0);
	return verify.damaged;
}

const char *kit_segment(const struct kit *kit, const char *name, uint64_t first, char path[512])
{
	(void)snprintf(path, 512, "%s/%s/%020llu.seg", kit->dir, name, (unsigned long long)first);
	return path;
}

static void count_trouble(void *arg, const struct wal_trouble *trouble)
{
	(void)trouble;
	++*(uint64_t *)arg;
}

uint64_t kit_troubles(struct kit *kit)
{
	uint64_t n = 0;

	assert_int_equal(wal_store_troubles(kit->store, count_trouble, &n), 0);
	return n;
}
