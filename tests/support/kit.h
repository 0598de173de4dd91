/* SPDX-License-Identifier: MIT
 *
 * kit: a store in a directory of its own, with all its calls and its clock in the test's hands, and the few calls that most
 * tests make on it. Each call ends the test where it fails.
 *
 * Threads: one at a time, but for kit_append, kit_put and kit_expect.
 */
#ifndef TESTS_SUPPORT_KIT_H
#define TESTS_SUPPORT_KIT_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <walcore/walcore.h>

#include "clock.h"
#include "io_fault.h"
#include "tmpdir.h"

struct kit {
	char dir[TMPDIR_MAX];
	struct wal_opts opts; /* for the next opening: to be changed by the test */
	struct test_clock clock;
	struct io_fault fault;
	struct wal_store *store; /* NULL: closed */
};

/* An empty directory, options with a small journal, an interval of an hour, the clock at CLOCK_START. Opened by kit_open. */
void kit_init(struct kit *kit);
void kit_fini(struct kit *kit); /* closes the store where it is open */
void kit_open(struct kit *kit);
void kit_close(struct kit *kit); /* without an error */
void kit_reopen(struct kit *kit);
/* The process dies here: nothing more reaches the files. Handles must have been given back. */
void kit_crash(struct kit *kit);

#define KEY(text) ((struct wal_span){ (text), strlen(text) })
/* Opens the stream, or makes it. Give it back with wal_stream_unref. */
struct wal_stream *kit_stream(struct kit *kit, const char *key);
/* Appends a text without a header; its number. */
uint64_t kit_append(struct wal_stream *stream, const char *text);
/* Appends one record; the result of wal_append. ret_seq may be NULL. */
int kit_put(struct wal_stream *stream, struct wal_span header, struct wal_span content, uint32_t flags,
	    uint64_t *ret_seq);
/* The record has this header and this content. */
void kit_expect(struct wal_stream *stream, uint64_t seq, struct wal_span header, struct wal_span content);
void kit_expect_text(struct wal_stream *stream, uint64_t seq, const char *text);
/* The error of reading the record. */
int kit_read_error(struct wal_stream *stream, uint64_t seq);
struct wal_stat kit_stat(struct wal_stream *stream);
/* Bytes that differ by seed and place. Free them. */
uint8_t *kit_bytes(size_t len, uint64_t seed);
/* Findings of wal_store_verify; those of a torn tail are not counted. */
uint64_t kit_verify(struct kit *kit);
/* The path of a segment file. */
const char *kit_segment(const struct kit *kit, const char *name, uint64_t first, char path[512]);
/* Number of troubles since open. */
uint64_t kit_troubles(struct kit *kit);

#endif
