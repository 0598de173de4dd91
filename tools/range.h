/* SPDX-License-Identifier: MIT
 *
 * range: records as the arguments of walctl name them: N, N-M, N-, first, last; from <= to, and both are at least 1.
 * Threads: any.
 */
#ifndef WALCTL_RANGE_H
#define WALCTL_RANGE_H

#include "cli.h"

struct cli_range {
	uint64_t from, to; /* record numbers, both included */
};

/* All records that there are; from is behind to where there is none. */
struct cli_range cli_range_all(const struct wal_stat *stat);

/* Reads one argument. `stat` says what first and last are. Returns an exit status, having said what is wrong. */
int cli_range_parse(const struct cli *cli, const char *text, const struct wal_stat *stat, struct cli_range *ret_range);

#endif
