/* SPDX-License-Identifier: MIT
 *
 * The control files: .stat and .config of a stream, and what is in .walfs. Invariant: a write is applied whole, in that
 * write, or not at all; an open file reads as what it was when it was opened.
 *
 * Threads: any.
 */
#ifndef WALFS_CONTROL_H
#define WALFS_CONTROL_H

#include "call.h"

int walfs_control_open(struct walfs_call *call);

#endif
