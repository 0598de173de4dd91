/* SPDX-License-Identifier: MIT
 *
 * The one place that includes libfuse, so that every file sees the same version of its interface. Invariant: no
 * other file defines FUSE_USE_VERSION.
 *
 * Threads: no state.
 */
#ifndef WALFS_KERNEL_H
#define WALFS_KERNEL_H

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

#endif
