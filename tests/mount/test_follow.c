/* SPDX-License-Identifier: MIT
 *
 * follow, N.follow, new.follow: where each begins, when a read waits, and how one learns that it need not.
 */
#include "follower.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static void where_it_begins(void **state)
{
	static const char *const ways[][2] = {
		{ "s/follow", "one\ntwo\nthree\n" }, { "s/1.follow", "one\ntwo\nthree\n" },
		{ "s/2.follow", "two\nthree\n" },    { "s/0000000003.follow", "three\n" },
		{ "s/0000000004.follow", "" },       { "s/new.follow", "" },
	};
	enum { N = sizeof(ways) / sizeof(*ways) };
	struct mnt *m = *state;
	struct follower readers[N], ahead;
	int fds[N];

	make_three(m);
	for (unsigned i = 0; i < N; i++) {
		readers[i] = follower_start(m, ways[i][0]);
		fds[i] = open_follow(m, ways[i][0], O_NONBLOCK);
	}
	ahead = follower_start(m, "s/6.follow");
	wait_parked(m, N + 1);
	append(m, "s", "four\n");
	for (unsigned i = 0; i < N; i++) {
		char want[64];

		follower_gets(&readers[i], ways[i][1]);
		follower_gets(&readers[i], "four\n");
		/* The place of new.follow is that of its open. */
		(void)snprintf(want, sizeof(want), "%sfour\n", ways[i][1]);
		assert_read(fds[i], 4096, want);
		must(close(fds[i]));
	}
	append(m, "s", "five\n");
	append(m, "s", "six\n");
	for (unsigned i = 0; i < N; i++)
		follower_gets(&readers[i], "five\nsix\n");
	follower_gets(&ahead, "six\n"); /* not a byte before */
	must(unlink(mp(m, "s/1")));
	fds[0] = open_follow(m, "s/follow", O_NONBLOCK);
	assert_read(fds[0], 4096, "two\nthree\nfour\nfive\nsix\n"); /* the oldest there is: no gap to tell of */
	must(close(fds[0]));
	assert_absent(mp(m, "s/0.follow"));
	assert_absent(mp(m, "s/x.follow"));
	assert_absent(mp(m, "s/old.follow"));
	for (unsigned i = 0; i < N; i++) {
		must(kill(readers[i].pid, SIGKILL));
		follower_ends(&readers[i], 128 + SIGKILL);
	}
	must(kill(ahead.pid, SIGINT));
	follower_ends(&ahead, 128 + SIGINT);
	wait_parked(m, 0);
}

static void what_stat_says(void **state)
{
	static const char *const names[] = { "s/follow", "s/7.follow", "s/new.follow" };
	struct mnt *m = *state;
	struct stat st;
	char **listed;

	make_three(m);
	listed = names_of(mp(m, "s"), NULL);
	for (unsigned i = 0; i < 3; i++) {
		must(stat(mp(m, "%s", names[i]), &st));
		assert_true(S_ISREG(st.st_mode));
		assert_int_equal(st.st_mode & 0777, 0444);
		assert_true(st.st_size == (off_t)1 << 62);
		assert_false(names_have(listed, names[i] + 2));
		assert_errno(open(mp(m, "%s", names[i]), O_WRONLY), EPERM);
		assert_errno(open(mp(m, "%s", names[i]), O_RDWR | O_APPEND), EPERM);
		assert_errno(open(mp(m, "%s", names[i]), O_RDONLY | O_TRUNC), EPERM);
		assert_errno(truncate(mp(m, "%s", names[i]), 0), EPERM);
	}
	names_free(listed);
	must(unlink(mp(m, "s/follow"))); /* a fixed name: it stays */
	must(stat(mp(m, "s/follow"), &st));
	make_stream(m, "empty");
	must(stat(mp(m, "empty/follow"), &st));
	int fd = open_follow(m, "empty/follow", O_NONBLOCK);

	assert_errno(read(fd, &st, sizeof(st)), EAGAIN);
	append(m, "empty", "x");
	assert_read(fd, 10, "x");
	assert_errno(lseek(fd, 0, SEEK_CUR), ESPIPE);
	assert_errno(pread(fd, &st, 1, 0), ESPIPE);
	must(close(fd));
}

static void nonblocking(void **state)
{
	struct mnt *m = *state;
	char buf[16];
	int fd, flags;

	make_three(m);
	fd = open_follow(m, "s/3.follow", 0);
	flags = (int)must(fcntl(fd, F_GETFL));
	must(fcntl(fd, F_SETFL, flags | O_NONBLOCK));
	assert_read(fd, 4, "thre");
	assert_read(fd, 100, "e\n");
	for (unsigned i = 0; i < 3; i++)
		assert_errno(read(fd, buf, sizeof(buf)), EAGAIN);
	append(m, "s", "four\n");
	assert_read(fd, 100, "four\n");
	assert_errno(read(fd, buf, sizeof(buf)), EAGAIN);
	must(close(fd));
	/* One that must not wait is not held up by one that does. */
	fd = open_follow(m, "s/new.follow", 0);
	struct follower reader = follower_start_on(fd);

	wait_parked(m, 1);
	must(fcntl(fd, F_SETFL, O_NONBLOCK)); /* of the open file, but the other's read is under way */
	for (unsigned i = 0; i < 100; i++)
		assert_errno(read(fd, buf, sizeof(buf)), EAGAIN);
	append(m, "s", "five\n");
	follower_gets(&reader, "five\n");
	follower_ends(&reader, EAGAIN);
	must(close(fd));
}

static void on_alarm(int sig)
{
	(void)sig;
}

static void interrupts(void **state)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGKILL, SIGHUP };
	struct mnt *m = *state;
	struct follower readers[4];
	char buf[16];
	int fd;

	make_three(m);
	for (unsigned i = 0; i < 4; i++)
		readers[i] = follower_start(m, "s/new.follow");
	wait_parked(m, 4);
	for (unsigned i = 0; i < 4; i++) {
		must(kill(readers[i].pid, signals[i]));
		follower_ends(&readers[i], 128 + signals[i]);
	}
	wait_parked(m, 0);
	/* A signal that is caught. */
	fd = open_follow(m, "s/new.follow", 0);
	for (unsigned i = 0; i < 20; i++) {
		struct sigaction action = { .sa_handler = on_alarm };
		struct timeval soon = { .tv_usec = 1 + (suseconds_t)i * 500 };

		must(sigaction(SIGALRM, &action, NULL));
		must(setitimer(ITIMER_REAL,
			       &(struct itimerval){ .it_value = soon, .it_interval = { .tv_usec = 50000 } }, NULL));
		assert_errno(read(fd, buf, sizeof(buf)), EINTR);
		must(setitimer(ITIMER_REAL, &(struct itimerval){ .it_value = { 0 } }, NULL));
	}
	append(m, "s", "four\n");
	assert_read(fd, 100, "four\n");
	must(close(fd));
	wait_parked(m, 0);
}

static bool selects(int fd, int ms)
{
	fd_set set;
	struct timeval time = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

	FD_ZERO(&set);
	FD_SET(fd, &set);
	return must(select(fd + 1, &set, NULL, NULL, &time)) == 1 && FD_ISSET(fd, &set);
}

static bool epolls(int fd, int ms)
{
	struct epoll_event event = { .events = EPOLLIN }, got;
	int epoll = (int)must(epoll_create1(EPOLL_CLOEXEC));
	bool ready;

	must(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
	ready = must(epoll_wait(epoll, &got, 1, ms)) == 1 && got.events & EPOLLIN;
	must(close(epoll));
	return ready;
}

static void polling(void **state)
{
	static bool (*const ways[])(int fd, int ms) = { polls, selects, epolls };
	struct mnt *m = *state;
	char text[32];
	pid_t pid;
	int fd, other;

	make_stream(m, "s");
	fd = open_follow(m, "s/follow", 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_false(ways[i](fd, 0));
		assert_false(ways[i](fd, 20));
		(void)snprintf(text, sizeof(text), "text %u", i);
		append(m, "s", text);
		assert_true(ways[i](fd, 0));
		assert_true(ways[i](fd, 10000));
		assert_read(fd, 3, "tex");
		assert_true(ways[i](fd, 0)); /* the rest */
		assert_read(fd, 100, text + 3);
		assert_false(ways[i](fd, 0));
		/* One that waits is told. */
		pid = run_fork();
		if (pid == 0) {
			other = open_follow(m, "s/new.follow", 0);
			_exit(!polls(fd, 60000) || !ways[i](other, 60000) || now_s() <= 0);
		}
		for (unsigned k = 0; k < 3; k++)
			assert_false(ways[i](fd, 5));
		append(m, "s", "a");
		/* That one may have opened new.follow after the first. */
		double deadline = deadline_after(20);

		while (waitpid(pid, NULL, WNOHANG) == 0) {
			assert_true(now_s() < deadline);
			append(m, "s", "b");
			(void)deadline_pause(deadline);
		}
		do
			must(read(fd, text, 1));
		while (ways[i](fd, 0));
	}
	/* All other files are ready at any time. */
	other = (int)must(open(mp(m, "s/1"), O_RDONLY));
	assert_true(polls(other, 0));
	must(close(other));
	other = (int)must(open(mp(m, "s/append"), O_WRONLY));
	assert_int_equal(must(poll(&(struct pollfd){ .fd = other, .events = POLLOUT }, 1, 0)), 1);
	must(close(other));
	must(close(fd));
}

/* What poll promises, a read that must not wait keeps: no read comes back empty-handed, and no poll sleeps over data. */
static void poll_and_read(void **state)
{
	enum { N = 2000 };
	struct mnt *m = *state;
	char buf[64];
	unsigned n = 0;
	int fd;
	pid_t pid;

	make_stream(m, "s");
	fd = open_follow(m, "s/follow", O_NONBLOCK);
	pid = run_fork();
	if (pid == 0) {
		int out = (int)must(open(mp(m, "s/append"), O_WRONLY | O_DIRECT));

		for (unsigned i = 0; i < N; i++)
			if (write(out, "x", 1) != 1)
				_exit(1);
		_exit(0);
	}
	while (n < N) {
		assert_true(epolls(fd, 20000));
		long got = must(read(fd, buf, sizeof(buf)));

		assert_true(got > 0);
		n += (unsigned)got;
	}
	assert_int_equal(run_reap(pid, 20), 0);
	assert_int_equal(n, N);
	must(close(fd));
}

/* Of those that share an open file one waits in poll while another takes what comes: the one is told all the same. */
static void poll_beside_a_reader(void **state)
{
	struct mnt *m = *state;
	char buf[64];
	int fd;
	pid_t taker, poller;

	make_stream(m, "s");
	fd = open_follow(m, "s/follow", O_NONBLOCK);
	for (unsigned i = 0; i < 20; i++) {
		taker = run_fork();
		if (taker == 0)
			for (;;)
				(void)!read(fd, buf, sizeof(buf));
		poller = run_fork();
		if (poller == 0)
			for (;;) {
				double until = now_s() + 20;

				/* When the time is up poll looks once more, and finds what it was not told of. */
				if (!polls(fd, 20000) || now_s() > until)
					_exit(1);
				long n = read(fd, buf, sizeof(buf));

				if (n > 0 && memchr(buf, 'z', (size_t)n))
					_exit(0);
			}
		for (unsigned j = 0; j < 50; j++)
			append(m, "s", "x");
		must(kill(taker, SIGKILL));
		assert_int_equal(run_reap(taker, 20), 128 + SIGKILL);
		append(m, "s", "z");
		assert_int_equal(run_reap(poller, 60), 0);
	}
	must(close(fd));
}

/* What a tail in the background and a pipe do in a script. */
static void scripts(void **state)
{
	struct mnt *m = *state;

	make_three(m);
	/* A pipeline that reads from now on, as it is there before the first record. */
	assert_int_equal(sh(m,
			    "exec 3< s/new.follow; for i in 1 2 3; do echo $i >> s/append; done; head -c 6 <&3 > $T/x; "
			    "test \"$(cat $T/x | tr '\\n' .)\" = 1.2.3."),
			 0);
	/* What was written in a way that close does not wait for is not new any more. */
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(sh(m, "echo x | tee s/append > /dev/null; exec 3< s/new.follow; echo y >> s/append; "
				       "test \"$(head -c 2 <&3)\" = y"),
				 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MNT_TEST(where_it_begins),
		MNT_TEST(what_stat_says),
		MNT_TEST(nonblocking),
		MNT_TEST(interrupts),
		MNT_TEST(polling),
		MNT_TEST(poll_and_read),
		MNT_TEST_RELAXED(poll_beside_a_reader),
		MNT_TEST_RELAXED(scripts),
	};

	return mnt_main("follow", tests, sizeof(tests) / sizeof(*tests));
}
