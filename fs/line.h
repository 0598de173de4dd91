/* SPDX-License-Identifier: MIT
 *
 * append.line: each line is a record. Invariant: the complete lines of one write are committed together, or none of them
 * and the write fails; what is pending of the file is the line that no newline has ended yet.
 *
 * Threads: of the request that has its turn.
 */
#ifndef WALFS_LINE_H
#define WALFS_LINE_H

#include "appender.h"

/* A WRITE that has its turn: a step, as in turn.h. */
int walfs_line_write(struct walfs_call *call, struct walfs_appender *file);

/* The commit of the lines of a write is done. */
void walfs_line_settle(struct walfs_appender *file, int result);

#endif
