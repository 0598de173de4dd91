/* SPDX-License-Identifier: MIT
 *
 * matrix: a table of ways to write, each run by each of some shells on a stream of its own, and the exact records that
 * each must leave. All cells share one mount; at the end that is mounted anew and all are looked at again, so that a
 * record that came too much, or late, is seen.
 *
 * A script has these variables: A (the stream's append), S (the stream's directory), T (a directory with files to
 * copy), M (the mount point, where it starts). The files: $T/a "alpha\n", $T/b "beta\n", $T/big (3 MB), $T/lines
 * (10,000 lines), $T/blocks (5 x 4096), $T/holes-head, -mid, -tail, -all (1 MiB and a few bytes, sparse).
 */
#ifndef TESTS_SUPPORT_MATRIX_H
#define TESTS_SUPPORT_MATRIX_H

#include <stdbool.h>
#include <stddef.h>

struct cell {
	const char *name;
	const char *script;
	const char *texts[6]; /* the records, ended by NULL */
	const char *file;     /* or: the records are this file of $T, */
	size_t block;         /* in pieces of so many bytes; 0: in one */
	const char *tool;     /* a command that it needs, or NULL */
	int code;             /* exit status of the script */
	bool later;           /* the record comes right after the last close, not in it */
};

/* Runs them all and returns the exit status of the program. */
int matrix_main(const char *name, const struct cell *cells, size_t n, const char *const *shells, size_t n_shells);

#endif
