/* SPDX-License-Identifier: MIT
 *
 * Points in time as a person writes them: RFC 3339, or seconds since 1970. Pure.
 *
 * Threads: any.
 */
#ifndef WALFS_WHEN_H
#define WALFS_WHEN_H

#include <stddef.h>
#include <stdint.h>

/* Reads `2026-11-23T12:00:00Z` (T, t or a space; a fraction; Z, z, +01:00; second 60) or `@1795435200` (a sign, a
 * fraction) of exactly len characters: *ret_ns is the first nanosecond at or after that. A time before there are any is
 * INT64_MIN. -EINVAL: not a time; -ERANGE: after all times. */
int walfs_when_parse(const char *text, size_t len, int64_t *ret_ns);

#endif
