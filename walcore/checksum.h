/* SPDX-License-Identifier: MIT
 *
 * checksum: XXH3, 64 bit (github.com/Cyan4973/xxHash), the only checksum of the format.
 */
#ifndef WAL_CHECKSUM_H
#define WAL_CHECKSUM_H

#define XXH_INLINE_ALL
#include <stdint.h>
#include <xxhash.h>

static inline uint64_t wal_sum(const void *base, size_t len, uint64_t seed)
{
	return XXH3_64bits_withSeed(base, len, seed);
}

#endif
