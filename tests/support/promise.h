/* SPDX-License-Identifier: MIT
 *
 * promise: what is checked after a crash. It remembers every record that was asked for and what the engine answered, and
 * holds the engine to it: what was acknowledged is there, unchanged, in order, under its number; nothing else is there
 * but what was asked for last and not answered; a batch is there whole or not at all; a number, once seen, keeps its record.
 *
 * Threads: one at a time.
 */
#ifndef TESTS_SUPPORT_PROMISE_H
#define TESTS_SUPPORT_PROMISE_H

#include "kit.h"

struct promise_ask { /* a record that was asked for */
	uint32_t header_len;
	uint64_t len;
	uint64_t seq;    /* 0: not acknowledged, nor seen after a crash */
	uint32_t batch;  /* which append it was part of */
	bool may_follow; /* not acknowledged, and yet others may come after it */
};

#define PROMISE_MAX 4096
struct promise {
	struct promise_ask asks[PROMISE_MAX];
	uint32_t n, batches;
	uint64_t trimmed;     /* records below it are gone for certain */
	uint64_t trimmed_may; /* records below it may be gone */
};

void promise_init(struct promise *promise);
/* Appends n records of this header and content length by one request (a draft where n is 0) and remembers them. */
int promise_append(struct promise *promise, struct wal_stream *stream, uint32_t n, uint32_t header_len, uint64_t len,
		   uint32_t flags);
int promise_trim(struct promise *promise, struct wal_stream *stream, uint64_t first, uint32_t flags);
/* Holds the stream to it. After a reopen (settled) what is there and was not acknowledged is from then on. */
void promise_check(struct promise *promise, struct wal_stream *stream, bool settled);

#endif
