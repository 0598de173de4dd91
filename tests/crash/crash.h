/* SPDX-License-Identifier: MIT
 *
 * crash: the loops of the crash tests. A body is run again and again, each time with another call to the system going
 * wrong, until it runs without one that does; after each run the store is opened anew and held to its promise.
 */
#ifndef TESTS_CRASH_CRASH_H
#define TESTS_CRASH_CRASH_H

#include "promise.h"

struct crash {
	struct kit kit;
	struct promise promise;
	struct wal_stream *stream; /* "s", open in body; NULL where the store is closed */
	const struct crash_body *body;
	uint64_t n;        /* which run */
	bool faulty;       /* the process goes on after the fault */
	int code;          /* the fault's */
	uint64_t marks[8]; /* the body's own */
};

struct crash_body {
	const char *name;
	uint64_t segment_bytes;
	bool relaxed;
	bool closed;                         /* body begins with the store closed, after a crash */
	void (*before)(struct crash *crash); /* without a fault; may be NULL */
	void (*body)(struct crash *crash);   /* no call in it may be taken for granted */
	void (*find)(struct crash *crash);   /* after each opening, before "s" is opened; may be NULL */
	void (*after)(struct crash *crash);  /* more checks, on the store opened anew; may be NULL */
};

/* Stops at each call in turn, then tears each write. */
void crash_stop_loop(const struct crash_body *body);
/* Fails each call once: with EIO, ENOSPC, and a write cut short; the process goes on. */
void crash_fail_loop(const struct crash_body *body);

#endif
