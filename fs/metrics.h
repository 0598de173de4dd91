/* SPDX-License-Identifier: MIT
 *
 * .walfs/metrics: the figures of the mount in Prometheus' text format, version 0.0.4. Invariant: as long as the mount lasts the
 * text has the same lines.
 *
 * Threads: any.
 */
#ifndef WALFS_METRICS_H
#define WALFS_METRICS_H

#include "walfs.h"

#include <stdio.h>

/* -EAGAIN with WAL_NOWAIT: it asks the disk for its space. */
int walfs_metrics_put(FILE *out, struct walfs *fs, uint32_t wait);

#endif
