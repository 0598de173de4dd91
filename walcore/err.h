/* SPDX-License-Identifier: MIT
 *
 * err: what went wrong, in words. A wal_err is filled where the cause is known and wrapped on the way out, so
 * that it reads like a sentence: "open store '/srv/x': journal: superblock: checksum mismatch".
 * Threads: any.
 */
#ifndef WAL_ERR_H
#define WAL_ERR_H

#include <walcore/walcore.h>

#include "annotate.h"

/* Sets code and text, and returns code. err may be NULL. code is a negative errno. */
int wal_err_set(struct wal_err *err, int code, const char *fmt, ...) WAL_PRINTF(3, 4);

/* Sets code, and as text the words for code, after the context. */
int wal_err_sys(struct wal_err *err, int code, const char *fmt, ...) WAL_PRINTF(3, 4);

/* Puts "context: " before the text there is. Returns the code. */
int wal_err_wrap(struct wal_err *err, int code, const char *fmt, ...) WAL_PRINTF(3, 4);

#endif
