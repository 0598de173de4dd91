/* SPDX-License-Identifier: MIT
 *
 * Into the background, and telling who waits that the mount is there. Invariant: the process that the user started exits
 * when the mount can be used or has failed, with a status that says which; what went wrong has been said on its stderr.
 *
 * Threads: one at a time, before there are others.
 */
#ifndef WALFS_DAEMON_H
#define WALFS_DAEMON_H

struct walfs_daemon {
	int ready_fd; /* -1: nobody waits */
};

/* Forks. Returns in the child alone; the parent waits for walfs_daemon_ready and exits. A negative error when there was
 * no fork. */
int walfs_daemon_start(struct walfs_daemon *daemon);

/* Lets the waiting process go, and lets go of its terminal. */
void walfs_daemon_ready(struct walfs_daemon *daemon);

/* Tells the service manager, where there is one: one datagram to $NOTIFY_SOCKET. */
void walfs_daemon_notify(const char *state);

#endif
