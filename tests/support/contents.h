/* SPDX-License-Identifier: MIT
 *
 * contents: a stream of which each byte of content is made from where it stands in the contents, so that a model needs the
 * lengths alone, and a byte in the wrong place is seen. Each call ends the test where it fails.
 *
 * Threads: one at a time.
 */
#ifndef TESTS_SUPPORT_CONTENTS_H
#define TESTS_SUPPORT_CONTENTS_H

#include "kit.h"

#define CONTENTS_MAX 20000
#define CONTENTS_BUF (4u << 20)

struct contents {
	struct kit kit;
	struct wal_stream *stream; /* "s" */
	uint64_t first, next;
	uint64_t pos[CONTENTS_MAX + 2]; /* of each record, and of the next one */
	uint16_t header_len[CONTENTS_MAX + 2];
	uint64_t random;
	uint8_t *buf; /* CONTENTS_BUF bytes, for the test too */
};

/* A store and an empty stream. Freed by contents_free. */
struct contents *contents_new(uint64_t segment_bytes);
void contents_free(struct contents *contents);
/* Closes the store and opens it again, with what kit.opts says then. */
void contents_close(struct contents *contents);
void contents_open(struct contents *contents);

/* A number below `below`, the same in every run. */
uint64_t contents_draw(struct contents *contents, uint64_t below);
uint8_t contents_byte(uint64_t pos);
/* Appends n records of these lengths by one request, or one by a draft where n is 0. */
void contents_append(struct contents *contents, uint32_t n, uint32_t header_len, uint64_t len);
void contents_trim(struct contents *contents, uint64_t first);

/* The positions of the first byte that is left, and behind the last. */
uint64_t contents_begin(const struct contents *contents);
uint64_t contents_end(const struct contents *contents);

/* Where the record is: the path of its segment, and the offset of its frame. */
uint64_t contents_off(const struct contents *contents, uint64_t seq, char path[512]);
uint64_t contents_len(const struct contents *contents, uint64_t seq); /* of its content */

/* What wal_read_range, wal_locate and wal_tell say is what the model says. */
void contents_expect_bytes(const uint8_t *got, uint64_t pos, size_t len);
void contents_expect_range(struct contents *contents, uint64_t pos, size_t len);
void contents_expect_place(struct contents *contents, uint64_t pos);
void contents_expect_tell(struct contents *contents, uint64_t seq);
/* All bytes in pieces of this length; and then each number. */
void contents_expect_all(struct contents *contents, size_t piece);

#endif
