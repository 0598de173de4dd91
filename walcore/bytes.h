/* SPDX-License-Identifier: MIT
 *
 * bytes: little-endian get and put, and arithmetic on lengths from disk that cannot overflow.
 */
#ifndef WAL_BYTES_H
#define WAL_BYTES_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t wal_get_le16(const uint8_t *p)
{
	return (uint16_t)(p[0] | (uint16_t)p[1] << 8);
}

static inline uint32_t wal_get_le32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t wal_get_le64(const uint8_t *p)
{
	return (uint64_t)wal_get_le32(p) | (uint64_t)wal_get_le32(p + 4) << 32;
}

static inline void wal_put_le16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static inline void wal_put_le32(uint8_t *p, uint32_t v)
{
	wal_put_le16(p, (uint16_t)v);
	wal_put_le16(p + 2, (uint16_t)(v >> 16));
}

static inline void wal_put_le64(uint8_t *p, uint64_t v)
{
	wal_put_le32(p, (uint32_t)v);
	wal_put_le32(p + 4, (uint32_t)(v >> 32));
}

/* False, and *ret unchanged, where the result does not fit. */
static inline bool wal_add_u64(uint64_t a, uint64_t b, uint64_t *ret)
{
	uint64_t sum;

	if (__builtin_add_overflow(a, b, &sum))
		return false;
	*ret = sum;
	return true;
}

static inline uint64_t wal_min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t wal_max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

#endif
