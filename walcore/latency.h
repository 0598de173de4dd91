/* SPDX-License-Identifier: MIT
 *
 * latency: how long calls that wait for the disk took, by fixed buckets, for who operates a store. Time is that of a clock
 * that nothing sets, not the store's. Threads: any.
 */
#ifndef WAL_LATENCY_H
#define WAL_LATENCY_H

#include <stdatomic.h>
#include <walcore/walcore.h>

struct wal_latency {
	atomic_uint_fast64_t n[WAL_LATENCY_BUCKETS], sum_ns;
};

uint64_t wal_latency_now(void);
/* Counts one that began at `since`. */
void wal_latency_add(struct wal_latency *latency, uint64_t since);
/* Adds what was counted. Returns how many. */
uint64_t wal_latency_get(struct wal_latency *latency, struct wal_histogram *ret_histogram);

#endif
