/* SPDX-License-Identifier: MIT */
#include "follower.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

static void pass_on(int in, int out)
{
	char buf[65536];
	ssize_t n;

	while ((n = read(in, buf, sizeof(buf))) > 0)
		if (write(out, buf, (size_t)n) != n)
			_exit(255);
	_exit(n < 0 ? errno : 0);
}

struct follower follower_start_on(int fd)
{
	struct follower follower;
	int ends[2];

	must(pipe(ends));
	follower.pid = run_fork();
	if (follower.pid == 0)
		pass_on(fd, ends[1]);
	must(close(ends[1]));
	follower.out = ends[0];
	return follower;
}

struct follower follower_start(const struct mnt *m, const char *path)
{
	int fd = (int)must(open(mp(m, "%s", path), O_RDONLY));
	struct follower follower = follower_start_on(fd);

	must(close(fd));
	return follower;
}

void follower_gets(const struct follower *follower, const char *want)
{
	size_t len = strlen(want), at = 0;
	double deadline = deadline_after(20);
	char got[256] = "";

	assert_true(len < sizeof(got));
	while (at < len) {
		struct pollfd pfd = { .fd = follower->out, .events = POLLIN };

		if (now_s() > deadline)
			fail_msg("after '%s' nothing came for '%s'", got, want + at);
		if (poll(&pfd, 1, 100) <= 0)
			continue;
		long n = must(read(follower->out, got + at, len - at));

		if (n == 0)
			fail_msg("after '%s' it ended, before '%s'", got, want + at);
		at += (size_t)n;
	}
	assert_string_equal(got, want);
}

void follower_ends(struct follower *follower, int code)
{
	char byte;

	assert_int_equal(run_reap(follower->pid, 20), code);
	assert_int_equal(must(read(follower->out, &byte, 1)), 0);
	must(close(follower->out));
}

bool stats_say(const struct mnt *m, const char *key, unsigned long value)
{
	char *stats = slurp(mp(m, ".walfs/stats"), NULL), *line = stats;
	size_t len = strlen(key);
	bool say = false;

	for (; line && !say; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
		say = strncmp(line, key, len) == 0 && line[len] == ' ' && strtoul(line + len, NULL, 10) == value;
	free(stats);
	return say;
}

void wait_parked(const struct mnt *m, unsigned n)
{
	double deadline = deadline_after(20);

	while (!stats_say(m, "readers_parked", n))
		if (!deadline_pause(deadline))
			fail_msg("not %u reads wait", n);
}

int open_follow(const struct mnt *m, const char *path, int flags)
{
	return (int)must(open(mp(m, "%s", path), O_RDONLY | O_CLOEXEC | flags));
}

void assert_read(int fd, size_t size, const char *want)
{
	char *got = malloc(size + 1);
	long n;

	assert_non_null(got);
	n = must(read(fd, got, size));
	got[n] = '\0';
	assert_int_equal(n, strlen(want));
	assert_string_equal(got, want);
	free(got);
}

void make_three(const struct mnt *m)
{
	make_stream(m, "s");
	append(m, "s", "one\n");
	append(m, "s", "two\n");
	append(m, "s", "three\n");
}

bool polls(int fd, int ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	return must(poll(&pfd, 1, ms)) == 1 && pfd.revents & POLLIN;
}
