/* SPDX-License-Identifier: MIT
 *
 * clock: a clock that a test sets. Threads: any.
 */
#ifndef TESTS_SUPPORT_CLOCK_H
#define TESTS_SUPPORT_CLOCK_H

#include <stdatomic.h>
#include <stdint.h>

struct test_clock {
	_Atomic int64_t ns;
};

#define CLOCK_START INT64_C(1700000000000000000)
#define SECOND INT64_C(1000000000)

/* For wal_opts.now_ns, with now_arg the clock. */
static inline int64_t test_clock_now(void *arg)
{
	return atomic_load(&((struct test_clock *)arg)->ns);
}

#endif
