/* SPDX-License-Identifier: MIT
 *
 * The command line and the mount options, one table of them. Invariant: what walfs_opts_parse accepts it either uses,
 * passes to libfuse, or knows to be harmless; anything else is an error in words.
 *
 * Threads: one at a time.
 */
#ifndef WALFS_OPTS_H
#define WALFS_OPTS_H

#include "kernel.h"

#include <stdbool.h>
#include <stdint.h>

#define WALFS_ID_UNSET UINT32_MAX

struct walfs_opts {
	char *store;      /* as given */
	char *mountpoint; /* as given */
	bool foreground, debug, help, version;
	bool relaxed, read_only, append_only;
	uint64_t interval_ns;  /* 0: the engine's */
	uint64_t max_record;   /* 0: the engine's */
	uint64_t user_pending; /* 0: user.c's */
	uint32_t user_files;   /* 0: user.c's */
	unsigned digits;
	uint32_t uid, gid; /* shown as the owner of everything, or WALFS_ID_UNSET */
	uint32_t umask;    /* bits that nothing shows */
	bool has_umask;
	char *fsname;            /* NULL: the store's path */
	struct fuse_args kernel; /* for libfuse: what was passed through */
	char problem[256];       /* why parsing failed */
};

/* -EINVAL with `problem` set. Give back with walfs_opts_fini, also after a failure. */
int walfs_opts_parse(struct walfs_opts *opts, int argc, char **argv);
void walfs_opts_fini(struct walfs_opts *opts);

extern const char walfs_opts_help[];

#endif
