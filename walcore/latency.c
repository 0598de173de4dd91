/* SPDX-License-Identifier: MIT */
#include "latency.h"

#include <assert.h>
#include <time.h>

#include "banned.h"

static const uint64_t bounds[] = WAL_LATENCY_BOUNDS_NS;
static_assert(sizeof(bounds) / sizeof(*bounds) + 1 == WAL_LATENCY_BUCKETS, "one more for what is above the last bound");

uint64_t wal_latency_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

void wal_latency_add(struct wal_latency *latency, uint64_t since)
{
	uint64_t ns = wal_latency_now() - since;
	unsigned i = 0;

	while (i < WAL_LATENCY_BUCKETS - 1 && ns > bounds[i])
		i++;
	atomic_fetch_add_explicit(&latency->n[i], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&latency->sum_ns, ns, memory_order_relaxed);
}

uint64_t wal_latency_get(struct wal_latency *latency, struct wal_histogram *ret_histogram)
{
	uint64_t all = 0;

	for (unsigned i = 0; i < WAL_LATENCY_BUCKETS; i++) {
		ret_histogram->n[i] = atomic_load_explicit(&latency->n[i], memory_order_relaxed);
		all += ret_histogram->n[i];
	}
	ret_histogram->sum_ns = atomic_load_explicit(&latency->sum_ns, memory_order_relaxed);
	return all;
}
