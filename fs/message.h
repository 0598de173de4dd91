/* SPDX-License-Identifier: MIT
 *
 * A record with its header in one piece: header, empty line, content. Invariant: a record that has this form is got back
 * whole from it: its header ends with the newline before the first empty line, or with no header the message begins with
 * an empty line. Pure.
 *
 * Threads: any.
 */
#ifndef WALFS_MESSAGE_H
#define WALFS_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <walcore/walcore.h>

/* Has a record with this header the form? Not one with an empty line in it, or without a newline at its end: another
 * header would be read from the message. */
bool walfs_message_fits(struct wal_span header);

/* Where the first empty line of a text begins; `newline`: the text stands at the beginning, or behind a newline.
 * -ENOENT. */
ssize_t walfs_message_empty_line(const char *text, size_t len, bool newline);

#endif
