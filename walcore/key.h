/* SPDX-License-Identifier: MIT
 *
 * key: what a key may be, and its spelling as a file name. Key and name are a bijection: wal_key_from_name
 * accepts exactly the names that wal_key_to_name gives (both are in the public header).
 * Threads: any.
 */
#ifndef WAL_KEY_H
#define WAL_KEY_H

#include <walcore/walcore.h>

/* 0, -EINVAL (empty, has a NUL, reserved) or -EMSGSIZE (its name is too long). */
int wal_key_check(struct wal_span key);

#endif
