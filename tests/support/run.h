/* SPDX-License-Identifier: MIT
 *
 * run: child processes of a test, each with a deadline. Nothing that a test starts outlives it: children die
 * with the test program, and a late command is killed with its process group.
 *
 * Threads: one at a time.
 */
#ifndef TESTS_SUPPORT_RUN_H
#define TESTS_SUPPORT_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define RUN_LATE (-2) /* `code` of a command that was killed at its deadline */

/* One command. Zero it first; only argv is needed. */
struct run {
	/* in */
	const char *const *argv;
	const char *dir;        /* working directory, or NULL */
	const char *const *env; /* NAME=value to add, ended by NULL; or NULL */
	uid_t uid;              /* with gid: run as this user; 0 stays as it is */
	gid_t gid;
	double deadline_s; /* 0: 60 s. Scaled, see deadline_scale */
	/* out */
	int code;        /* exit status, 128 + signal, or RUN_LATE */
	char *out, *err; /* NUL-terminated too; free with run_free */
	size_t out_len, err_len;
};

/* Runs it to its end. A late command is killed and reported in `code`. */
void run_cmd(struct run *r);
void run_free(struct run *r);

/* Runs /bin/sh -c TEXT and returns the exit status. What it printed is shown where the status is not `want`. */
int run_sh(int want, const char *text, ...) __attribute__((format(printf, 2, 3)));

/* fork(2) whose child dies with this program. The child must end by _exit. */
pid_t run_fork(void);

/* The same as another user, with `group` (unless 0) as the only supplementary group. Root's to call. */
pid_t run_fork_as(uid_t uid, gid_t gid, gid_t group);

/* Waits for the child: its exit status, 128 + signal, or RUN_LATE (it is still there then). */
int run_wait(pid_t pid, double deadline_s);
/* The same; a late child is killed. */
int run_reap(pid_t pid, double deadline_s);

/* How much slower than usual things may be: WALFS_TEST_SCALE, and six times that under a sanitizer. */
double deadline_scale(void);
/* Seconds since some point, and a deadline on that clock. */
double now_s(void);
double deadline_after(double seconds);
/* Waits a moment (1 ms, then longer) before a condition is looked at again. False: the deadline has passed. */
bool deadline_pause(double deadline);

bool run_sanitized(void);

/* Is the command in PATH? */
bool have_tool(const char *name);
/* Ends the test as skipped, saying why, where a command is missing. */
#define need_tool(name)                                            \
	do {                                                       \
		if (!have_tool(name))                              \
			skip_because("%s is not installed", name); \
	} while (0)
/* Prints the reason as a TAP comment. The test is then skipped. */
#define skip_because(...)                       \
	do {                                    \
		tap_note("skip: " __VA_ARGS__); \
		skip();                         \
	} while (0)

/* A TAP comment. */
void tap_note(const char *text, ...) __attribute__((format(printf, 1, 2)));

#endif
