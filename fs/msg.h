/* SPDX-License-Identifier: MIT
 *
 * append.msg: header, empty line, content (message.h). Invariant: no byte is taken for content before it is known where the
 * header ends, or that there is none.
 *
 * Threads: of the request that has its turn.
 */
#ifndef WALFS_MSG_H
#define WALFS_MSG_H

#include "appender.h"

/* Adds n bytes to the message; zeros where data is NULL. -E2BIG where its header is too long, else as
 * walfs_pending_add. */
int walfs_msg_add(struct walfs_call *call, struct walfs_appender *file, const char *data, uint64_t n);

#endif
