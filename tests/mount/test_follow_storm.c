/* SPDX-License-Identifier: MIT
 *
 * Readers of follow in all ways at once, interrupted, stopped and killed, while records come and go and streams are removed:
 * the daemon goes on, forgets those who are gone, and ends when it is told to. What a reader gets is looked at elsewhere;
 * here a sanitizer has most to say.
 */
#include "follower.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { READERS = 24 };

static void ignore(int sig)
{
	(void)sig;
}

static bool once_in(unsigned *seed, unsigned n)
{
	return (unsigned)rand_r(seed) % n == 0;
}

/* Does something with the open file. Whatever comes of it is right. */
static void use(int fd, unsigned *seed)
{
	static char buf[3 << 20];
	static const size_t sizes[] = { 1, 100, 65536, sizeof(buf) };

	if (once_in(seed, 3)) {
		struct pollfd pfd = { .fd = fd, .events = POLLIN };

		(void)poll(&pfd, 1, rand_r(seed) % 10);
	} else if (once_in(seed, 10)) {
		struct epoll_event event = { .events = EPOLLIN };
		int epoll = epoll_create1(EPOLL_CLOEXEC);

		(void)epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
		(void)epoll_wait(epoll, &event, 1, rand_r(seed) % 5);
		(void)close(epoll);
	} else {
		(void)!read(fd, buf, sizes[rand_r(seed) % 4]);
	}
}

static void read_for_ever(const struct mnt *m, unsigned seed, int ready)
{
	static const char *const names[] = { "follow", "new.follow", "3.follow", "at/@0.follow", "all" };
	static const int flags[] = { 0, 0, O_NONBLOCK, O_DIRECT };
	struct sigaction action = { .sa_handler = ignore };

	(void)sigaction(SIGUSR1, &action, NULL);
	if (write(ready, "", 1) != 1)
		_exit(1);
	for (;;) {
		int fd = open(mp(m, "%s/%s", once_in(&seed, 2) ? "s" : "t", names[rand_r(&seed) % 5]),
			      O_RDONLY | O_CLOEXEC | flags[rand_r(&seed) % 4]);

		for (int i = rand_r(&seed) % 100; fd >= 0 && i > 0; i--)
			use(fd, &seed);
		if (fd >= 0)
			(void)close(fd);
	}
}

/* Returns when it may be tormented. */
static pid_t start_one(const struct mnt *m, unsigned seed)
{
	int ready[2];
	pid_t pid;
	char c;

	must(pipe2(ready, O_CLOEXEC));
	pid = run_fork();
	if (pid == 0)
		read_for_ever(m, seed, ready[1]);
	assert_int_equal(must(read(ready[0], &c, 1)), 1);
	must(close(ready[0]));
	must(close(ready[1]));
	return pid;
}

/* Appends, trims, removes, and torments the readers for that long. */
static void storm(struct mnt *m, pid_t pids[READERS], double seconds)
{
	static const int signals[] = { SIGUSR1, SIGUSR1, SIGSTOP, SIGCONT, SIGCONT, SIGKILL };
	static char buf[300000];
	static const size_t sizes[] = { 1, 100, 5000, sizeof(buf) };
	double deadline = deadline_after(seconds);
	unsigned seed = 1, n = 0;
	int out;

	make_three(m);
	make_stream(m, "t");
	out = (int)must(open(mp(m, "s/append"), O_WRONLY | O_DIRECT));
	for (unsigned i = 0; i < READERS; i++)
		pids[i] = start_one(m, i);
	for (; now_s() < deadline; n++) {
		unsigned i = (unsigned)rand_r(&seed) % READERS;
		size_t size = sizes[rand_r(&seed) % 4];

		assert_int_equal(must(write(out, buf, size)), size);
		if (once_in(&seed, 20)) {
			int sig = signals[rand_r(&seed) % 6];

			must(kill(pids[i], sig));
			if (sig == SIGKILL) {
				assert_int_equal(run_reap(pids[i], 20), 128 + SIGKILL);
				pids[i] = start_one(m, n);
			}
		}
		if (once_in(&seed, 30))
			must(unlink(mp(m, "s/%u", (unsigned)first_seq(m, "s"))));
		if (once_in(&seed, 100)) {
			must(rmdir(mp(m, "t")));
			make_stream(m, "t");
		}
	}
	must(close(out));
	tap_note("%u rounds", n);
}

static void the_daemon_goes_on(void **state)
{
	struct mnt *m = *state;
	pid_t pids[READERS];

	storm(m, pids, 4);
	for (unsigned i = 0; i < READERS; i++) {
		must(kill(pids[i], SIGKILL));
		assert_int_equal(run_reap(pids[i], 20), 128 + SIGKILL);
	}
	wait_parked(m, 0);
	append(m, "s", "the end");
	assert_file(mp(m, "s/last"), BYTES("the end"));
}

static void the_daemon_ends(void **state)
{
	struct mnt *m = *state;
	pid_t pids[READERS];

	storm(m, pids, 1);
	must(kill(m->daemon, SIGTERM));
	assert_int_equal(run_reap(m->daemon, 60), 0);
	m->daemon = 0;
	for (unsigned i = 0; i < READERS; i++) {
		must(kill(pids[i], SIGKILL));
		assert_int_equal(run_reap(pids[i], 20), 128 + SIGKILL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MNT_TEST_RELAXED(the_daemon_goes_on),
		MNT_TEST_RELAXED(the_daemon_ends),
	};

	return mnt_main("follow_storm", tests, sizeof(tests) / sizeof(*tests));
}
