/* SPDX-License-Identifier: MIT
 *
 * The file `append`: what is written between its open and its close becomes a record. Invariant: the rules for where a
 * record begins, ends and is committed (DESIGN section 3) stand in append.c and nowhere else.
 *
 * Threads: any; requests on one open file take turns.
 */
#ifndef WALFS_APPEND_H
#define WALFS_APPEND_H

#include "call.h"

/* A plain write(2) up to this size always comes as one request, from wherever in memory: the kernel splits at 256 pages. */
#define WALFS_PACKET_MAX (((size_t)1 << 20) - 4096)

/* A handler for OPEN. */
int walfs_append_open(struct walfs_call *call);

#endif
