/* SPDX-License-Identifier: MIT
 *
 * golden: what the frozen stores hold. Never change it: a new version gets what it needs besides.
 */
#ifndef TESTS_GOLDEN_GOLDEN_H
#define TESTS_GOLDEN_GOLDEN_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <walcore/walcore.h>

#define GOLDEN_START INT64_C(1600000000123456789)
#define GOLDEN_STREAMS 2

struct golden_stream {
	const char *key;
	const char *name;
	uint64_t first, next;
	uint64_t large; /* the record of 70,000 bytes, or 0 */
	struct wal_attr attr;
	struct wal_settings settings;
};

static const struct golden_stream golden_streams[GOLDEN_STREAMS] = {
	{ "orders", "orders", 11, 41, 0, { 1000, 100, 0750 }, { .retention_records = 1000000, .max_record = 1 << 20 } },
	{ "a/b%", "a%2Fb%25", 1, 8, 5, { 0, 0, 0700 }, { .durability = WAL_DURABILITY_RELAXED } },
};

static inline int64_t golden_time(const struct golden_stream *stream, uint64_t seq)
{
	return GOLDEN_START + (int64_t)(seq * 1000000007 + (uint64_t)(stream - golden_streams) * 500);
}

static inline size_t golden_len(const struct golden_stream *stream, uint64_t seq)
{
	return seq == stream->large ? 70000 : seq * 131 % 700;
}

/* Freed by golden_free. */
static inline void golden_record(const struct golden_stream *stream, uint64_t seq, struct wal_span *ret_header,
				 struct wal_span *ret_content)
{
	size_t header_len = stream->large ? 0 : seq % 40, len = golden_len(stream, seq);
	uint8_t *header = malloc(header_len + 1), *content = malloc(len + 1);

	for (size_t i = 0; i < header_len; i++)
		header[i] = (uint8_t)(seq + i * 3);
	for (size_t i = 0; i < len; i++)
		content[i] = (uint8_t)(seq * 7 + i + i / 251);
	*ret_header = (struct wal_span){ header, header_len };
	*ret_content = (struct wal_span){ content, len };
}

static inline void golden_free(struct wal_span *header, struct wal_span *content)
{
	free((void *)(uintptr_t)header->base);
	free((void *)(uintptr_t)content->base);
}

#endif
