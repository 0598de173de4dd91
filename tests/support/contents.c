/* SPDX-License-Identifier: MIT */
#include "contents.h"

#include "record.h"

struct contents *contents_new(uint64_t segment_bytes)
{
	struct contents *contents = calloc(1, sizeof(*contents));

	assert_non_null(contents);
	contents->buf = malloc(CONTENTS_BUF);
	assert_non_null(contents->buf);
	contents->first = contents->next = 1;
	kit_init(&contents->kit);
	contents->kit.opts.segment_bytes = segment_bytes;
	contents_open(contents);
	return contents;
}

void contents_free(struct contents *contents)
{
	wal_stream_unref(contents->stream);
	kit_fini(&contents->kit);
	free(contents->buf);
	free(contents);
}

void contents_close(struct contents *contents)
{
	wal_stream_unref(contents->stream);
	contents->stream = NULL;
	kit_close(&contents->kit);
}

void contents_open(struct contents *contents)
{
	kit_open(&contents->kit);
	contents->stream = kit_stream(&contents->kit, "s");
}

uint64_t contents_draw(struct contents *contents, uint64_t below)
{
	contents->random = contents->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (contents->random >> 33) % below;
}

uint8_t contents_byte(uint64_t pos)
{
	return (uint8_t)(pos * UINT64_C(0x9e3779b97f4a7c15) >> 56);
}

uint64_t contents_begin(const struct contents *contents)
{
	return contents->pos[contents->first];
}

uint64_t contents_end(const struct contents *contents)
{
	return contents->pos[contents->next];
}

void contents_append(struct contents *contents, uint32_t n, uint32_t header_len, uint64_t len)
{
	uint32_t records = n ? n : 1;
	struct wal_entry *entries = calloc(records, sizeof(*entries));
	struct wal_append req = { .entries = n ? entries : NULL, .n = n };
	uint8_t *header = kit_bytes(header_len, 7);

	assert_non_null(entries);
	assert_true(records * len <= CONTENTS_BUF);
	assert_true(contents->next + records < CONTENTS_MAX);
	for (uint64_t i = 0; i < records * len; i++)
		contents->buf[i] = contents_byte(contents_end(contents) + i);
	for (uint32_t i = 0; i < records; i++) {
		entries[i].header = (struct wal_span){ header, header_len };
		entries[i].content = (struct wal_span){ contents->buf + i * len, len };
	}
	if (n == 0) {
		assert_int_equal(wal_draft_open(contents->stream, entries[0].header, &req.draft), 0);
		assert_int_equal(wal_draft_write(req.draft, contents->buf, len), 0);
	}
	assert_int_equal(wal_append(contents->stream, &req), 0);
	assert_int_equal(req.seq, contents->next);
	for (uint32_t i = 0; i < records; i++, contents->next++) {
		contents->header_len[contents->next] = (uint16_t)header_len;
		contents->pos[contents->next + 1] = contents->pos[contents->next] + len;
	}
	free(header);
	free(entries);
}

void contents_trim(struct contents *contents, uint64_t first)
{
	contents->first = first;
	assert_int_equal(wal_trim(contents->stream, first, 0), 0);
}

uint64_t contents_len(const struct contents *contents, uint64_t seq)
{
	return contents->pos[seq + 1] - contents->pos[seq];
}

uint64_t contents_off(const struct contents *contents, uint64_t seq, char path[512])
{
	uint64_t first = seq, off = WAL_HEAD_BYTES;

	while (!file_exists(kit_segment(&contents->kit, "s", first, path)))
		first--;
	for (; first < seq; first++)
		off += wal_record_len(contents->header_len[first], contents_len(contents, first));
	return off;
}

void contents_expect_bytes(const uint8_t *got, uint64_t pos, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (got[i] != contents_byte(pos + i))
			fail_msg("byte %llu of the contents is wrong", (unsigned long long)(pos + i));
}

void contents_expect_range(struct contents *contents, uint64_t pos, size_t len)
{
	uint64_t end = contents_end(contents);
	ssize_t n = wal_read_range(contents->stream, pos, contents->buf, len, 0);

	if (pos < contents_begin(contents) && len > 0) {
		assert_int_equal(n, -EIDRM);
		return;
	}
	assert_int_equal(n, pos >= end ? 0 : end - pos < len ? end - pos : len);
	contents_expect_bytes(contents->buf, pos, (size_t)n);
}

void contents_expect_place(struct contents *contents, uint64_t pos)
{
	uint64_t seq = 0, off = 0;
	int r = wal_locate(contents->stream, pos, 0, &seq, &off);

	if (pos < contents_begin(contents) || pos >= contents_end(contents)) {
		assert_int_equal(r, pos < contents_begin(contents) ? -EIDRM : -ENOENT);
		return;
	}
	assert_int_equal(r, 0);
	assert_in_range(seq, contents->first, contents->next - 1);
	assert_true(contents->pos[seq] <= pos && pos < contents->pos[seq + 1]);
	assert_int_equal(off, pos - contents->pos[seq]);
}

void contents_expect_tell(struct contents *contents, uint64_t seq)
{
	uint64_t pos = 0;
	int r = wal_tell(contents->stream, seq, 0, &pos);

	if (seq < contents->first || seq > contents->next) {
		assert_int_equal(r, seq > 0 && seq < contents->first ? -EIDRM : -ENOENT);
		return;
	}
	assert_int_equal(r, 0);
	assert_int_equal(pos, contents->pos[seq]);
}

void contents_expect_all(struct contents *contents, size_t piece)
{
	uint64_t pos = contents_begin(contents);

	for (; pos < contents_end(contents); pos += piece)
		contents_expect_range(contents, pos, piece);
	contents_expect_range(contents, contents_end(contents), piece);
	for (uint64_t seq = 0; seq <= contents->next + 1; seq++)
		contents_expect_tell(contents, seq);
	assert_int_equal(kit_stat(contents->stream).end_pos, contents_end(contents));
}
