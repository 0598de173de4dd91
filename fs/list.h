/* SPDX-License-Identifier: MIT
 *
 * Directory listings. Invariant: an offset names a place in the directory, not a count, so that a listing that goes on
 * after records were trimmed or added neither skips nor repeats one; and no listing takes memory for its entries.
 *
 * Threads: any; the kernel has one listing at a time per open directory.
 */
#ifndef WALFS_LIST_H
#define WALFS_LIST_H

#include "call.h"

int walfs_list_open(struct walfs_call *call);

/* READDIR and READDIRPLUS; for workers. */
int walfs_list_read(struct walfs_call *call);
int walfs_list_read_plus(struct walfs_call *call);

int walfs_list_release(struct walfs_call *call);

#endif
