/* SPDX-License-Identifier: MIT
 *
 * The fork comes first, before threads and locks: the child opens the store, so that the lock names a process that lives.
 * The parent reads one byte from a pipe; the end of the file instead means that the child failed.
 */
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static void wait_and_exit(pid_t child, int fd)
{
	char byte;
	ssize_t n;
	int status;
	do
		n = read(fd, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		_exit(0);
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			_exit(1);
	_exit(WIFEXITED(status) && WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : 1);
}

int walfs_daemon_start(struct walfs_daemon *daemon)
{
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	pid_t pid = fork();
	if (pid < 0) {
		int err = -errno;
		close(fds[0]);
		close(fds[1]);
		return err;
	}
	if (pid > 0) {
		close(fds[1]);
		wait_and_exit(pid, fds[0]);
	}
	close(fds[0]);
	daemon->ready_fd = fds[1];
	(void)setsid(); /* cannot fail in a child that leads nothing */
	return chdir("/") < 0 ? -errno : 0;
}

void walfs_daemon_ready(struct walfs_daemon *daemon)
{
	if (daemon->ready_fd < 0)
		return;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		for (int fd = 0; fd <= 2; fd++)
			(void)dup2(null, fd);
		if (null > 2)
			close(null);
	}
	(void)!write(daemon->ready_fd, "", 1); /* if the parent is gone, so be it */
	close(daemon->ready_fd);
	daemon->ready_fd = -1;
}

void walfs_daemon_notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	if (!path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof(addr.sun_path))
		return;
	size_t len = strlen(path);
	memcpy(addr.sun_path, path, len);
	if (path[0] == '@')
		addr.sun_path[0] = '\0';
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	socklen_t addr_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	(void)sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&addr, addr_len); /* a courtesy */
	close(fd);
}
