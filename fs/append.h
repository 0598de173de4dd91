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

struct walfs_appender;
struct walfs_inode;

/* A plain write(2) up to this size always comes as one request, from wherever in memory: the kernel splits at 256 pages. */
#define WALFS_PACKET_MAX (((size_t)1 << 20) - 4096)

/* An open append file of this node, by these rules. -EROFS, -EIDRM, -ENOMEM. Nothing is replied. */
int walfs_append_new(struct walfs_call *call, struct walfs_inode *inode, const struct walfs_node *node,
		     struct walfs_appender **ret_file);

/* A handler for OPEN. */
int walfs_append_open(struct walfs_call *call);

#endif
