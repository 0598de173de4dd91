/* SPDX-License-Identifier: MIT
 *
 * follow, N.follow, new.follow: what a read gives, when it waits, what ends the wait.
 */
#include "files.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include <walcore/walcore.h>

#define MIB (1 << 20)

/* A process that reads a file and passes on what it gets. It exits with 0 at the end of the file, else with errno. */
struct reader {
	pid_t pid;
	int out;
};

static void pass_on(int in, int out)
{
	char buf[65536];
	ssize_t n;

	while ((n = read(in, buf, sizeof(buf))) > 0)
		if (write(out, buf, (size_t)n) != n)
			_exit(255);
	_exit(n < 0 ? errno : 0);
}

static struct reader start_reader_on(int fd)
{
	struct reader reader;
	int ends[2];

	must(pipe(ends));
	reader.pid = run_fork();
	if (reader.pid == 0)
		pass_on(fd, ends[1]);
	must(close(ends[1]));
	reader.out = ends[0];
	return reader;
}

static struct reader start_reader(const struct mnt *m, const char *path)
{
	int fd = (int)must(open(mp(m, "%s", path), O_RDONLY));
	struct reader reader = start_reader_on(fd);

	must(close(fd));
	return reader;
}

/* The next bytes that the reader gets are these, within the deadline. */
static void expect(const struct reader *reader, const char *want)
{
	size_t len = strlen(want), at = 0;
	double deadline = deadline_after(20);
	char got[256] = "";

	assert_true(len < sizeof(got));
	while (at < len) {
		struct pollfd pfd = { .fd = reader->out, .events = POLLIN };

		if (now_s() > deadline)
			fail_msg("after '%s' nothing came for '%s'", got, want + at);
		if (poll(&pfd, 1, 100) <= 0)
			continue;
		long n = must(read(reader->out, got + at, len - at));

		if (n == 0)
			fail_msg("after '%s' it ended, before '%s'", got, want + at);
		at += (size_t)n;
	}
	assert_string_equal(got, want);
}

/* No byte more comes; it ends like this. */
static void expect_end(struct reader *reader, int code)
{
	char byte;

	assert_int_equal(run_reap(reader->pid, 20), code);
	assert_int_equal(must(read(reader->out, &byte, 1)), 0);
	must(close(reader->out));
}

static bool stats_say(const struct mnt *m, const char *line)
{
	char *stats = slurp(mp(m, ".walfs/stats"), NULL);
	bool say = strstr(stats, line);

	free(stats);
	return say;
}

/* Waits until so many reads wait in the daemon. */
static void wait_parked(const struct mnt *m, unsigned n)
{
	double deadline = deadline_after(20);
	char want[64];

	(void)snprintf(want, sizeof(want), "\nreaders_parked %u\n", n);
	while (!stats_say(m, want))
		if (!deadline_pause(deadline))
			fail_msg("not%s", want);
}

/* Waits until the tool waits in read(2), or, as busybox sh does, in poll(2) with all of it put out. */
static void wait_tool(const struct mnt *m)
{
	double deadline = deadline_after(20);
	struct stat st;

	while (!stats_say(m, "\nreaders_parked 1\n") && (stat(tp(m, "out"), &st) < 0 || st.st_size < 14))
		if (!deadline_pause(deadline))
			fail_msg("the tool does not wait");
}

static int open_follow(const struct mnt *m, const char *path, int flags)
{
	return (int)must(open(mp(m, "%s", path), O_RDONLY | O_CLOEXEC | flags));
}

static void assert_read(int fd, size_t size, const char *want)
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

static void make_three(const struct mnt *m)
{
	make_stream(m, "s");
	append(m, "s", "one\n");
	append(m, "s", "two\n");
	append(m, "s", "three\n");
}

static void where_it_begins(void **state)
{
	static const char *const ways[][2] = {
		{ "s/follow", "one\ntwo\nthree\n" }, { "s/1.follow", "one\ntwo\nthree\n" },
		{ "s/2.follow", "two\nthree\n" },    { "s/0000000003.follow", "three\n" },
		{ "s/0000000004.follow", "" },       { "s/new.follow", "" },
	};
	enum { N = sizeof(ways) / sizeof(*ways) };
	struct mnt *m = *state;
	struct reader readers[N], ahead;
	int fds[N];

	make_three(m);
	for (unsigned i = 0; i < N; i++) {
		readers[i] = start_reader(m, ways[i][0]);
		fds[i] = open_follow(m, ways[i][0], O_NONBLOCK);
	}
	ahead = start_reader(m, "s/6.follow");
	wait_parked(m, N + 1);
	append(m, "s", "four\n");
	for (unsigned i = 0; i < N; i++) {
		char want[64];

		expect(&readers[i], ways[i][1]);
		expect(&readers[i], "four\n");
		/* The place of new.follow is that of its open. */
		(void)snprintf(want, sizeof(want), "%sfour\n", ways[i][1]);
		assert_read(fds[i], 4096, want);
		must(close(fds[i]));
	}
	append(m, "s", "five\n");
	append(m, "s", "six\n");
	for (unsigned i = 0; i < N; i++)
		expect(&readers[i], "five\nsix\n");
	expect(&ahead, "six\n"); /* not a byte before */
	must(unlink(mp(m, "s/1")));
	fds[0] = open_follow(m, "s/follow", O_NONBLOCK);
	assert_read(fds[0], 4096, "two\nthree\nfour\nfive\nsix\n"); /* the oldest there is: no gap to tell of */
	must(close(fds[0]));
	assert_absent(mp(m, "s/0.follow"));
	assert_absent(mp(m, "s/x.follow"));
	assert_absent(mp(m, "s/old.follow"));
	for (unsigned i = 0; i < N; i++) {
		must(kill(readers[i].pid, SIGKILL));
		expect_end(&readers[i], 128 + SIGKILL);
	}
	must(kill(ahead.pid, SIGINT));
	expect_end(&ahead, 128 + SIGINT);
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
	struct reader reader = start_reader_on(fd);

	wait_parked(m, 1);
	must(fcntl(fd, F_SETFL, O_NONBLOCK)); /* of the open file, but the other's read is under way */
	for (unsigned i = 0; i < 100; i++)
		assert_errno(read(fd, buf, sizeof(buf)), EAGAIN);
	append(m, "s", "five\n");
	expect(&reader, "five\n");
	expect_end(&reader, EAGAIN);
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
	struct reader readers[4];
	char buf[16];
	int fd;

	make_three(m);
	for (unsigned i = 0; i < 4; i++)
		readers[i] = start_reader(m, "s/new.follow");
	wait_parked(m, 4);
	for (unsigned i = 0; i < 4; i++) {
		must(kill(readers[i].pid, signals[i]));
		expect_end(&readers[i], 128 + signals[i]);
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

static bool polls(int fd, int ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	return must(poll(&pfd, 1, ms)) == 1 && pfd.revents & POLLIN;
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

static void one_record_a_read(void **state)
{
	struct mnt *m = *state;
	size_t big_len = 3 * MIB + 17;
	char *big = malloc(big_len), *got = malloc(4 * MIB), buf[16];
	int fd;

	assert_true(big && got);
	fill_bytes(big, big_len, 1, 0);
	make_three(m);
	fd = open_follow(m, "s/follow", O_DIRECT);
	assert_read(fd, 4096, "one\n");
	assert_read(fd, 4, "two\n");
	assert_errno(read(fd, buf, 5), EINVAL); /* "three\n" does not fit; nothing is lost */
	assert_errno(read(fd, buf, 1), EINVAL);
	assert_read(fd, 6, "three\n");
	append(m, "s", "four\n");
	append(m, "s", "five\n");
	assert_read(fd, 2 * MIB, "four\n");
	must(fcntl(fd, F_SETFL, 0));
	assert_read(fd, 2, "fi");
	must(fcntl(fd, F_SETFL, O_DIRECT | O_NONBLOCK));
	assert_read(fd, 2, "ve"); /* a rest is given as it is asked for */
	assert_read(fd, 2, "\n");
	assert_errno(read(fd, buf, sizeof(buf)), EAGAIN);
	/* Larger than the pieces in which the kernel asks. */
	put(mp(m, "s/append"), O_WRONLY, (struct bytes){ big, big_len });
	append(m, "s", "end\n");
	assert_errno(read(fd, buf, sizeof(buf)), EINVAL);
	assert_int_equal(must(read(fd, got, big_len + 1)), big_len);
	assert_memory_equal(got, big, big_len);
	assert_read(fd, 4096, "end\n");
	/* One that is cut all the same: the rest comes, and no other with it. */
	put(mp(m, "s/append"), O_WRONLY, (struct bytes){ big, big_len });
	append(m, "s", "end\n");
	assert_int_equal(must(read(fd, got, 2 * MIB)), 2 * MIB);
	assert_int_equal(must(read(fd, got + 2 * MIB, 2 * MIB)), big_len - 2 * MIB);
	assert_memory_equal(got, big, big_len);
	assert_read(fd, 4096, "end\n");
	must(close(fd));
	put(tp(m, "two"), O_WRONLY | O_CREAT, BYTES("two\nthree\n"));
	assert_int_equal(sh(m, "dd if=s/2.follow iflag=direct bs=4k count=2 status=none | cmp - $T/two"), 0);
	free(big);
	free(got);
}

/* A read(2) is cut by the kernel into pieces: it ends with what there is, in whichever of them that is. */
static void large_reads(void **state)
{
	static const size_t lens[] = { 100, MIB - 4096, MIB, MIB + 1, 2 * MIB, 3 * MIB - 1 };
	struct mnt *m = *state;
	char *want = malloc(4 * MIB), *got = malloc(4 * MIB + 4096);
	int fd;

	assert_true(want && got);
	make_stream(m, "s");
	fd = open_follow(m, "s/follow", 0);
	for (unsigned i = 0; i < sizeof(lens) / sizeof(*lens); i++) {
		for (size_t skew = 0; skew < 4096; skew += 1365) {
			fill_bytes(want, lens[i], i, 0);
			put(mp(m, "s/append"), O_WRONLY, (struct bytes){ want, lens[i] });
			assert_int_equal(must(read(fd, got + skew, 4 * MIB)), lens[i]);
			assert_memory_equal(got + skew, want, lens[i]);
		}
	}
	/* Many small ones. */
	assert_int_equal(
		sh(m,
		   "seq 100000 > $T/seq; head -c 65536 $T/seq > s/append; tail -c +65537 $T/seq | "
		   "while read -r line; do echo $line; done | dd of=s/append oflag=direct bs=100 iflag=fullblock status=none"),
		0);
	assert_int_equal(sh(m, "n=$(stat -c %%s $T/seq); head -c $n s/%lu.follow | cmp - $T/seq",
			    4 * sizeof(lens) / sizeof(*lens) + 1),
			 0);
	must(close(fd));
	free(want);
	free(got);
}

static void overtaken(void **state)
{
	struct mnt *m = *state;
	char buf[16];
	int fd, ahead, behind;

	make_three(m);
	append(m, "s", "four\n");
	fd = open_follow(m, "s/follow", O_NONBLOCK);
	behind = open_follow(m, "s/2.follow", O_NONBLOCK);
	ahead = open_follow(m, "s/4.follow", O_NONBLOCK);
	assert_read(fd, 2, "on");
	must(unlink(mp(m, "s/1")));
	must(unlink(mp(m, "s/2")));
	assert_errno(read(fd, buf, sizeof(buf)), EPIPE);
	assert_read(fd, 100, "three\nfour\n");
	assert_errno(read(fd, buf, sizeof(buf)), EAGAIN);
	assert_true(polls(behind, 0));
	assert_errno(read(behind, buf, sizeof(buf)), EPIPE);
	assert_read(behind, 100, "three\nfour\n");
	assert_read(ahead, 100, "four\n");
	must(close(behind));
	/* One that begins at what is no more is told so. */
	behind = open_follow(m, "s/1.follow", O_NONBLOCK);
	assert_errno(read(behind, buf, sizeof(buf)), EPIPE);
	assert_read(behind, 100, "three\nfour\n");
	must(close(behind));
	/* Reading has caught up: what goes then is no loss. */
	must(unlink(mp(m, "s/3")));
	must(unlink(mp(m, "s/4")));
	assert_errno(read(fd, buf, sizeof(buf)), EAGAIN);
	append(m, "s", "five\n");
	assert_read(fd, 100, "five\n");
	must(close(fd));
	must(close(ahead));
}

static void retention_overtakes(void **state)
{
	struct mnt *m = *state;
	char buf[100];
	double deadline = deadline_after(60);
	int fd;

	make_three(m);
	fd = open_follow(m, "s/follow", 0);
	struct reader reader = start_reader(m, "s/new.follow");

	assert_read(fd, 2, "on");
	put(mp(m, "s/.config"), O_WRONLY, BYTES("retention.age=1s\n"));
	while (access(mp(m, "s/1"), F_OK) == 0)
		if (!deadline_pause(deadline))
			fail_msg("retention has not removed record 1");
	put(mp(m, "s/.config"), O_WRONLY, BYTES("retention.age=none\n"));
	append(m, "s", "four\n");
	expect(&reader, "four\n"); /* it had caught up */
	assert_errno(read(fd, buf, sizeof(buf)), EPIPE);
	assert_read(fd, sizeof(buf), "four\n");
	must(close(fd));
	must(kill(reader.pid, SIGKILL));
	expect_end(&reader, 128 + SIGKILL);
}

static void empty_records(void **state)
{
	struct mnt *m = *state;
	struct wal_store *store;
	struct wal_stream *stream;
	struct wal_entry entries[3] = { 0 };
	int fd;

	make_three(m);
	mnt_stop(m);
	assert_int_equal(wal_store_open(m->store, &(struct wal_opts){ 0 }, &store, NULL), 0);
	assert_int_equal(wal_stream_open(store, (struct wal_span){ "s", 1 }, &stream), 0);
	for (unsigned i = 0; i < 1000; i++) {
		struct wal_append req = { .entries = entries, .n = i == 500 ? 3 : 1 };

		entries[1].content = (struct wal_span){ "x", i == 500 };
		assert_int_equal(wal_append(stream, &req), 0);
	}
	wal_stream_unref(stream);
	assert_int_equal(wal_store_close(store), 0);
	mnt_start(m, NULL);
	fd = open_follow(m, "s/3.follow", O_DIRECT | O_NONBLOCK);
	assert_read(fd, 100, "three\n");
	assert_true(polls(fd, 0));
	assert_read(fd, 100, "x");
	assert_false(polls(fd, 0));
	assert_errno(read(fd, &entries, 1), EAGAIN);
	append(m, "s", "end\n");
	assert_read(fd, 100, "end\n");
	must(close(fd));
	fd = open_follow(m, "s/3.follow", O_NONBLOCK);
	assert_read(fd, 100, "three\nxend\n");
	assert_errno(read(fd, &entries, 1), EAGAIN);
	must(close(fd));
}

static void damaged(void **state)
{
	struct mnt *m = *state;
	char buf[100];
	int fd;

	make_stream(m, "s");
	append(m, "s", "one\n");
	append(m, "s", "<two>\n");
	append(m, "s", "three\n");
	append(m, "s", "four\n");
	mnt_stop(m);
	m->log_may_complain = true;
	m->verify_code = 1;
	flip_bit(m, "s", "<two>", 2);
	mnt_start(m, NULL);
	for (unsigned i = 0; i < 2; i++) {
		fd = open_follow(m, "s/follow", O_NONBLOCK | (i ? O_DIRECT : 0));
		assert_read(fd, 100, "one\n");
		assert_errno(read(fd, buf, sizeof(buf)), EIO);
		assert_read(fd, 100, i ? "three\n" : "three\nfour\n");
		must(close(fd));
	}
	fd = open_follow(m, "s/2.follow", 0);
	assert_true(polls(fd, 0));
	assert_errno(read(fd, buf, sizeof(buf)), EIO);
	assert_read(fd, 6, "three\n");
	must(close(fd));
}

static void removed(void **state)
{
	struct mnt *m = *state;
	struct reader readers[3];
	char byte;
	int fd, idle;

	make_three(m);
	for (unsigned i = 0; i < 3; i++)
		readers[i] = start_reader(m, i ? "s/4.follow" : "s/follow");
	fd = open_follow(m, "s/new.follow", 0);
	idle = open_follow(m, "s/follow", 0);
	assert_read(idle, 3, "one");
	expect(&readers[0], "one\ntwo\nthree\n");
	wait_parked(m, 3);
	assert_false(polls(fd, 0));
	assert_int_equal(sh(m, "rm -r s"), 0);
	for (unsigned i = 0; i < 3; i++)
		expect_end(&readers[i], 0);
	assert_true(polls(fd, 0));
	assert_int_equal(must(read(fd, &byte, 1)), 0);
	assert_int_equal(must(read(fd, &byte, 1)), 0);
	assert_int_equal(must(read(idle, &byte, 1)), 0);
	must(close(fd));
	must(close(idle));
	/* Another one of that name is another stream. */
	make_three(m);
	must(rename(mp(m, "s"), mp(m, "t")));
	readers[0] = start_reader(m, "t/follow");
	expect(&readers[0], "one\ntwo\nthree\n");
	must(rename(mp(m, "t"), mp(m, "u"))); /* it goes with the stream */
	append(m, "u", "four\n");
	expect(&readers[0], "four\n");
	must(kill(readers[0].pid, SIGKILL));
	expect_end(&readers[0], 128 + SIGKILL);
}

static void the_daemon_ends(void **state)
{
	struct mnt *m = *state;
	struct reader readers[8];
	char byte;
	int fd;

	make_three(m);
	for (unsigned i = 0; i < 8; i++)
		readers[i] = start_reader(m, "s/new.follow");
	fd = open_follow(m, "s/new.follow", 0);
	assert_false(polls(fd, 0));
	wait_parked(m, 8);
	must(kill(m->daemon, SIGTERM));
	for (unsigned i = 0; i < 8; i++)
		expect_end(&readers[i], ENOTCONN);
	assert_int_equal(run_reap(m->daemon, 20), 0);
	m->daemon = 0;
	assert_errno(read(fd, &byte, 1), ENOTCONN);
	must(close(fd));
	mnt_start(m, NULL);
	/* A busy mount is not unmounted; a lazy unmount leaves the open file its reader. */
	readers[0] = start_reader(m, "s/new.follow");
	wait_parked(m, 1);
	assert_int_not_equal(run_sh(32, "cd / && umount %s 2>/dev/null", m->at), 0);
	append(m, "s", "four\n");
	expect(&readers[0], "four\n");
	wait_parked(m, 1);
	must(kill(readers[0].pid, SIGKILL));
	expect_end(&readers[0], 128 + SIGKILL);
}

/* Of one open file each byte is read once. */
static void shared(void **state)
{
	enum { READERS = 6, RECORDS = 3000 };
	struct mnt *m = *state;
	bool seen[RECORDS] = { false };
	pid_t pids[READERS];
	int fd, ends[2];
	unsigned n = 0;

	make_stream(m, "s");
	fd = open_follow(m, "s/follow", O_DIRECT);
	must(pipe(ends));
	for (unsigned i = 0; i < READERS; i++) {
		pids[i] = run_fork();
		while (pids[i] == 0) {
			char buf[16];
			ssize_t got = read(fd, buf, sizeof(buf));

			if (got <= 0 || write(ends[1], buf, (size_t)got) != got)
				_exit(got == 0 ? 0 : 1);
		}
	}
	must(close(ends[1]));
	wait_parked(m, READERS);
	int out = (int)must(open(mp(m, "s/append"), O_WRONLY | O_DIRECT));

	for (unsigned i = 0; i < RECORDS; i++) {
		char text[9];

		(void)snprintf(text, sizeof(text), "%07u\n", i);
		assert_int_equal(must(write(out, text, 8)), 8);
	}
	must(close(out));
	while (n < RECORDS) {
		char text[9] = "";
		unsigned i;

		assert_int_equal(must(read(ends[0], text, 8)), 8);
		i = (unsigned)strtoul(text, NULL, 10);
		assert_true(i < RECORDS && !seen[i]);
		seen[i] = true;
		n++;
	}
	wait_parked(m, READERS);
	assert_int_equal(sh(m, "rm -r s"), 0);
	for (unsigned i = 0; i < READERS; i++)
		assert_int_equal(run_reap(pids[i], 20), 0);
	must(close(ends[0]));
	must(close(fd));
}

static void page_cache_reads(void **state)
{
	struct mnt *m = *state;
	int fd, out, ends[2];

	make_three(m);
	fd = open_follow(m, "s/follow", 0);
	out = (int)must(open(tp(m, "out"), O_RDWR | O_CREAT, 0644));
	must(pipe(ends));
	assert_errno(sendfile(out, fd, NULL, 4096), EINVAL);
	assert_errno(sendfile(out, fd, NULL, (size_t)1 << 30), EINVAL);
	assert_errno(splice(fd, NULL, ends[1], NULL, 4096, 0), EINVAL);
	assert_ptr_equal(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0), MAP_FAILED);
	assert_int_equal(errno, ENODEV);
	assert_read(fd, 100, "one\ntwo\nthree\n"); /* none of that took a byte away */
	must(close(fd));
	must(close(out));
	must(close(ends[0]));
	must(close(ends[1]));
}

static void tools(void **state)
{
	/* Each must give the three lines. Those that stop by themselves show an exit status of 0; the others read on, and
	 * are ended by the removal of the stream. */
	static const struct {
		const char *tool, *script;
		bool ends;
	} ways[] = {
		{ "cat", "cat $S/follow", false },
		{ "cat", "cat < $S/follow | cat", false },
		{ "busybox", "busybox cat $S/follow", false },
		{ "dd", "dd if=$S/follow bs=64k status=none", false },
		{ "dd", "dd if=$S/follow bs=64k count=3 iflag=direct status=none", true },
		{ "dd", "dd if=$S/follow bs=1M iflag=direct status=none", false },
		{ "head", "head -c 14 $S/follow", true },
		{ "head", "cat $S/follow | head -n 3", false },      /* cat learns of it when it next writes */
		{ "head", "head -n 3 $S/follow 2>/dev/null", true }, /* it complains that it cannot seek back */
		{ "busybox", "busybox head -n 3 $S/follow", true },
		{ "tail", "tail -n +1 $S/follow", false },
		{ "tail", "tail -c +1 $S/follow || cat $S/follow", false }, /* refuses: it wants to seek */
		{ "busybox", "busybox tail -n +1 $S/follow", false },
		{ "tee", "tee < $S/follow", false },
		{ "grep", "grep --line-buffered . $S/follow", false },
		{ "sed", "sed -u '' $S/follow", false },
		{ "sed", "sed 3q $S/follow", true },
		{ "awk", "awk '{ print }' $S/follow", false },
		{ "perl", "perl -ne 'print; exit if $. == 3' $S/follow", true },
		{ "perl", "perl -pe '' $S/follow", false },
		{ "python3",
		  "python3 -c 'import shutil, sys; shutil.copyfile(sys.argv[1], sys.argv[2])' $S/follow $T/py; cat $T/py",
		  false },
		{ "python3",
		  "python3 -c 'import shutil, sys; shutil.copyfileobj(open(sys.argv[1]), sys.stdout)' $S/follow",
		  false },
		{ "python3",
		  "python3 -c 'import sys, itertools\nfor l in itertools.islice(open(sys.argv[1]), 3): print(l, end=\"\")' "
		  "$S/follow",
		  true },
		{ "node", "node -e 'require(\"fs\").createReadStream(process.argv[1]).pipe(process.stdout)' $S/follow",
		  false },
		{ "cp", "cp $S/follow $T/cp; cat $T/cp", false },
		{ "busybox", "busybox cp $S/follow $T/bcp; cat $T/bcp", false },
		{ "bash", "bash -c 'while read -r l; do echo $l; done < '$S/follow", false },
		{ "bash", "bash -c '{ read -r a; read -r b; cat; } < '$S'/follow | { echo one; echo two; cat; }'",
		  false },
		{ "dash", "dash -c 'while read -r l; do echo $l; done < '$S/follow", false },
		{ "busybox", "busybox sh -c 'while read -r l; do echo $l; done < '$S/follow", false },
		{ "socat", "socat -u OPEN:$S/follow STDOUT", false },
		{ "wc", "wc -l < $S/follow | grep -x 3 > /dev/null && printf 'one\\ntwo\\nthree\\n'", false },
	};
	struct mnt *m = *state;

	for (unsigned i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
		pid_t pid;

		if (!have_tool(ways[i].tool)) {
			tap_note("%s is not installed: skipped %s", ways[i].tool, ways[i].script);
			continue;
		}
		make_three(m);
		(void)unlink(tp(m, "out"));
		pid = run_fork();
		if (pid == 0)
			_exit(sh(m, "S=s; { %s; } > $T/out", ways[i].script));
		if (!ways[i].ends) {
			wait_tool(m);
			assert_int_equal(sh(m, "rm -r s"), 0);
		}
		if (run_reap(pid, 20) != 0)
			fail_msg("%s", ways[i].script);
		assert_file(tp(m, "out"), BYTES("one\ntwo\nthree\n"));
		if (ways[i].ends)
			assert_int_equal(sh(m, "rm -r s"), 0);
	}
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
		MNT_TEST(one_record_a_read),
		MNT_TEST_RELAXED(large_reads),
		MNT_TEST(overtaken),
		MNT_TEST_RELAXED(retention_overtakes),
		MNT_TEST(empty_records),
		MNT_TEST(damaged),
		MNT_TEST(removed),
		MNT_TEST(the_daemon_ends),
		MNT_TEST_RELAXED(shared),
		MNT_TEST(page_cache_reads),
		MNT_TEST(tools),
		MNT_TEST_RELAXED(scripts),
	};

	return mnt_main("follow", tests, sizeof(tests) / sizeof(*tests));
}
