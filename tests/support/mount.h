/* SPDX-License-Identifier: MIT
 *
 * mount: a store of its own for each test, the walfs daemon on it, and a clean end on every path. However a test ends
 * (passed, failed, killed), no mount, no daemon and no temporary file is left.
 *
 * The daemon runs in the foreground as a child; $WALFS names it, $WALCTL the tool that verifies the store at the end.
 *
 * Threads: one at a time.
 */
#ifndef TESTS_SUPPORT_MOUNT_H
#define TESTS_SUPPORT_MOUNT_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdbool.h>
#include <sys/types.h>

#include "run.h"

struct mnt {
	char root[160];  /* everything of the test is in here */
	char store[192]; /* the store's directory */
	char at[192];    /* the mount point */
	char tmp[192];   /* a place for other files */
	char log[192];   /* what the daemon said */
	pid_t daemon;    /* 0: none */
	bool started;    /* there has been one */
	/* What a test may change: */
	bool log_may_complain; /* it makes the daemon report errors: only crashes count in the log */
	int verify_code; /* what `walctl verify` must exit with at the end; -1: not asked, as before the first start */
};

/* Runs the tests and returns the exit status of the program. Prints a skip of all of them without /dev/fuse.
 * WALFS_TEST_FILTER chooses some by a pattern, WALFS_TEST_KEEP keeps the directories. */
int mnt_main(const char *name, const struct CMUnitTest *tests, size_t n);

/* Fixtures. mnt_setup mounts without options, mnt_setup_relaxed with -o relaxed, mnt_setup_bare not at all. Teardown
 * unmounts, requires exit status 0, reads the log, verifies the store and removes all. */
int mnt_setup(void **state);
int mnt_setup_relaxed(void **state);
int mnt_setup_bare(void **state);
int mnt_teardown(void **state);

#define MNT_TEST(f) cmocka_unit_test_setup_teardown(f, mnt_setup, mnt_teardown)
#define MNT_TEST_RELAXED(f) cmocka_unit_test_setup_teardown(f, mnt_setup_relaxed, mnt_teardown)
#define MNT_TEST_BARE(f) cmocka_unit_test_setup_teardown(f, mnt_setup_bare, mnt_teardown)

/* Mounts, with -o opts (or NULL), and waits until the mount is there. The test fails where it does not come. */
void mnt_start(struct mnt *m, const char *opts);
/* Unmounts; the daemon must exit with 0. */
void mnt_stop(struct mnt *m);
void mnt_restart(struct mnt *m, const char *opts);
/* Kills the daemon with SIGKILL. The dead mount stays. */
void mnt_kill(struct mnt *m);
/* `walctl verify` of the store must exit with `want`. */
void mnt_verify(struct mnt *m, int want);
/* Runs walfs in the foreground, where it must refuse: a status that is not 0 within the deadline. Returns what it said,
 * to be freed. */
char *mnt_refused(struct mnt *m, const char *store, const char *at, const char *opts);
/* Is something mounted there? */
bool mnt_is_mounted(const char *at);
/* A field of /proc/PID/status of the daemon, in KiB: "VmHWM", "VmRSS". */
long mnt_memory_kib(const struct mnt *m, const char *field);
/* Fails where the daemon ever used more than this; only notes it under a sanitizer. */
void mnt_memory_below(const struct mnt *m, long kib);
/* The time that one test may take in all; its daemon is killed then, so that nothing hangs. 120 s at first. */
void mnt_watchdog(double seconds);

/* A path below the mount point, or below m->tmp. The last sixteen stay valid. */
const char *mp(const struct mnt *m, const char *path, ...) __attribute__((format(printf, 2, 3)));
const char *tp(const struct mnt *m, const char *path, ...) __attribute__((format(printf, 2, 3)));

/* Runs a script in the mount point with $M (the mount point) and $T (m->tmp). Returns its exit status. */
int sh(struct mnt *m, const char *script, ...) __attribute__((format(printf, 2, 3)));
/* The same; it must exit with 0. Returns what it printed, to be freed. */
char *sh_out(struct mnt *m, const char *script, ...) __attribute__((format(printf, 2, 3)));
/* The same for any shell and status; `sh` is one of "bash", "dash", "busybox". */
int sh_with(struct mnt *m, const char *shell, const char *script);

#endif
