/* SPDX-License-Identifier: MIT
 *
 * follower: processes that read follow, and what mount tests expect of them. Each call ends the test where it is not so.
 *
 * Threads: one at a time.
 */
#ifndef TESTS_SUPPORT_FOLLOWER_H
#define TESTS_SUPPORT_FOLLOWER_H

#include "files.h"

/* A process that reads a file and passes on what it gets. It exits with 0 at the end of the file, else with errno. */
struct follower {
	pid_t pid;
	int out;
};

struct follower follower_start(const struct mnt *m, const char *path);
/* The same for a file that is open; it stays the caller's too. */
struct follower follower_start_on(int fd);

/* The next bytes that the follower gets are these, within the deadline. */
void follower_gets(const struct follower *follower, const char *want);
/* No byte more comes; it ends with this status. */
void follower_ends(struct follower *follower, int code);

/* Does a line of .walfs/stats say this? */
bool stats_say(const struct mnt *m, const char *key, unsigned long value);
/* Waits until so many reads wait in the daemon. */
void wait_parked(const struct mnt *m, unsigned n);

/* Opens for reading. */
int open_follow(const struct mnt *m, const char *path, int flags);
/* One read gives exactly this. */
void assert_read(int fd, size_t size, const char *want);
/* Is there something to read within the time? By poll(2). */
bool polls(int fd, int ms);

/* The stream s of the records one, two and three, a line each. */
void make_three(const struct mnt *m);

#endif
