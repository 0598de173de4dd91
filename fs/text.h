/* SPDX-License-Identifier: MIT
 *
 * What the control files say: lines of `key value` or `key=value`, names that stay, figures that are now. Invariant: a
 * text ends with a newline, or is empty.
 *
 * Threads: any.
 */
#ifndef WALFS_TEXT_H
#define WALFS_TEXT_H

#include "walfs.h"

/* The text of STAT and CONFIG (with the stream's entry) and of the files of .walfs. Owned by the caller. -EAGAIN,
 * -ENOMEM, errors of the engine. */
int walfs_text_make(struct walfs *fs, struct walfs_inode *inode, enum walfs_kind kind, uint32_t wait, char **ret_text,
		    size_t *ret_len);

#endif
