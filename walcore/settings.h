/* SPDX-License-Identifier: MIT
 *
 * settings: what a stream or a store is set to, as values and as key=value text (the calls are in the public
 * header). A setting of 0 defers to the next level: stream, store, built in.
 * Threads: any.
 */
#ifndef WAL_SETTINGS_H
#define WAL_SETTINGS_H

#include <walcore/walcore.h>

/* The first of the three that is not 0. */
uint64_t wal_settings_pick(uint64_t stream, uint64_t store, uint64_t built_in);

#endif
