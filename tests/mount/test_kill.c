/* SPDX-License-Identifier: MIT
 *
 * Killed in mid-record: a writer leaves nothing. Killed at any moment: the daemon keeps every record whose writer got
 * success, once and whole.
 */
#include "files.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- writers ------------------------------------------------------------------------------------------- */

/* A child that opens append, writes, says so, and waits to be killed. With `flags`, as open(2). */
static pid_t half_writer(const struct mnt *m, const char *text, int flags)
{
	int ready[2];
	pid_t pid;
	char c;

	must(pipe(ready));
	pid = run_fork();
	if (pid == 0) {
		int fd = open(mp(m, "s/append"), O_WRONLY | flags);

		(void)setrlimit(RLIMIT_CORE, &(struct rlimit){ 0 });
		if (fd < 0 || write(fd, text, strlen(text)) < 0 || write(ready[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			(void)pause();
	}
	must(close(ready[1]));
	assert_int_equal(must(read(ready[0], &c, 1)), 1);
	must(close(ready[0]));
	return pid;
}

static void killed_writers(void **state)
{
	static const int signals[] = { SIGKILL, SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGQUIT };
	struct mnt *m = *state;
	char text[32];

	make_stream(m, "s");
	for (unsigned i = 0; i < sizeof(signals) / sizeof(*signals); i++) {
		pid_t pid = half_writer(m, "half", i % 2 ? O_APPEND : 0);

		must(kill(pid, signals[i]));
		assert_int_equal(run_reap(pid, 20), 128 + signals[i]);
		(void)snprintf(text, sizeof(text), "after %d", signals[i]);
		append(m, "s", text);
		assert_int_equal(last_seq(m, "s"), i + 1);
		assert_file(mp(m, "s/last"), (struct bytes){ text, strlen(text) });
	}
	mnt_restart(m, NULL);
	assert_texts(m, "s", "after 9", "after 2", "after 15", "after 1", "after 10", "after 3");
}

/* A large record that is killed half-way leaves nothing and its space comes back. */
static void killed_large_writer(void **state)
{
	struct mnt *m = *state;
	char *big = malloc(20 << 20);
	pid_t pid;
	int hold[2];
	char c;

	assert_non_null(big);
	memset(big, 'x', 20 << 20);
	make_stream(m, "s");
	append(m, "s", "before");
	must(pipe(hold));
	pid = run_fork();
	if (pid == 0) {
		int fd = open(mp(m, "s/append"), O_WRONLY);

		if (write(fd, big, 20 << 20) == 20 << 20 && write(hold[1], "x", 1) == 1)
			(void)pause();
		_exit(1);
	}
	assert_int_equal(must(read(hold[0], &c, 1)), 1);
	must(kill(pid, SIGKILL));
	assert_int_equal(run_reap(pid, 20), 128 + SIGKILL);
	append(m, "s", "after");
	mnt_restart(m, NULL);
	assert_texts(m, "s", "before", "after");
	assert_int_equal(sh(m, "test $(du -sk --apparent-size %s | cut -f1) -lt 50000", m->store), 0);
	free(big);
	must(close(hold[0]));
	must(close(hold[1]));
}

/* What was committed by fsync before is there; what was pending is not. */
static void killed_after_fsync(void **state)
{
	struct mnt *m = *state;
	pid_t pid;

	make_stream(m, "s");
	pid = run_fork();
	if (pid == 0) {
		int fd = open(mp(m, "s/append"), O_WRONLY);

		if (write(fd, "kept", 4) == 4 && fsync(fd) == 0 && write(fd, "lost", 4) == 4)
			(void)raise(SIGKILL);
		_exit(1);
	}
	assert_int_equal(run_reap(pid, 20), 128 + SIGKILL);
	/* Where a write is a record nothing is ever pending. */
	pid = half_writer(m, "direct", O_DIRECT);
	must(kill(pid, SIGKILL));
	assert_int_equal(run_reap(pid, 20), 128 + SIGKILL);
	append(m, "s", "next");
	mnt_restart(m, NULL);
	assert_texts(m, "s", "kept", "direct", "next");
}

/* An exit is an end like any other, whatever its status. */
static void exit_commits(void **state)
{
	static const int statuses[] = { 0, 1, 3, 9, 15, 127, 128, 130, 137, 255 };
	struct mnt *m = *state;

	make_stream(m, "s");
	for (unsigned i = 0; i < sizeof(statuses) / sizeof(*statuses); i++) {
		pid_t pid = run_fork();

		if (pid == 0) {
			int fd = open(mp(m, "s/append"), O_WRONLY | O_APPEND);

			_exit(write(fd, "whole", 5) == 5 ? statuses[i] : 99);
		}
		assert_int_equal(run_reap(pid, 20), statuses[i]);
		assert_file(mp(m, "s/%u", i + 1), BYTES("whole"));
	}
	assert_int_equal(last_seq(m, "s"), sizeof(statuses) / sizeof(*statuses));
}

static void killed_shells(void **state)
{
	static const char *const shells[] = { "bash", "dash", "busybox sh" };
	struct mnt *m = *state;
	unsigned n = 0;

	make_stream(m, "s");
	for (unsigned i = 0; i < 3; i++) {
		static const char *const signals[] = { "KILL", "INT", "TERM" };

		if (i == 2 && !have_tool("busybox")) {
			tap_note("busybox is not installed: skipped its shell");
			continue;
		}
		for (unsigned k = 0; k < 3; k++) {
			(void)sh(m,
				 "%s -c 'exec >> s/append; echo half; echo more; kill -%s $$; echo never' 2>/dev/null",
				 shells[i], signals[k]);
			append(m, "s", "whole");
			n++;
			assert_int_equal(last_seq(m, "s"), n);
			assert_file(mp(m, "s/last"), BYTES("whole"));
		}
	}
	mnt_restart(m, NULL);
	assert_int_equal(last_seq(m, "s"), n);
}

/* ---- the daemon ----------------------------------------------------------------------------------------- */

enum { WRITERS = 6, ROUNDS = 20, STREAMS = 2 };

/* Shared with the writers: the last record of each whose commit was reported as done. */
struct acks {
	volatile uint64_t done[WRITERS];
	volatile uint64_t tried[WRITERS];
};

/* The record `iter` of a writer: a first line that names it, then bytes that it determines. */
static size_t compose(char *buf, unsigned writer, uint64_t iter)
{
	/* Up to 8 KB mostly, now and then over the 64 KiB that fit the journal. */
	size_t len = iter % 50 == 49 ? 70000 + (size_t)(iter % 7) * 10000 : (size_t)(iter * 2654435761u) % 8000;
	int head = snprintf(buf, 100, "writer %u record %" PRIu64 " of %zu bytes\n", writer, iter, len);

	fill_bytes(buf + head, len, writer, iter);
	return (size_t)head + len;
}

static _Noreturn void write_for_ever(const struct mnt *m, struct acks *acks, unsigned writer)
{
	static char buf[256 * 1024];
	const char *path = mp(m, "s%u/append", writer % STREAMS);

	for (uint64_t iter = acks->done[writer] + 1;; iter++) {
		size_t len = compose(buf, writer, iter);
		int fd = open(path, O_WRONLY | (writer % 3 == 2 ? O_DIRECT : O_APPEND));

		if (fd < 0)
			_exit(0);
		acks->tried[writer] = iter;
		if (write(fd, buf, len) != (ssize_t)len)
			_exit(0);
		if (writer % 3 == 2) /* it is committed by now */
			acks->done[writer] = iter;
		if (close(fd) != 0)
			_exit(0);
		acks->done[writer] = iter;
	}
}

/* Reads the records of a stream from `*from` on: whole, and each writer's in order, without a gap. */
static void check_stream(const struct mnt *m, unsigned stream, uint64_t *from, uint64_t *seen)
{
	static char want[256 * 1024];
	char name[8];
	uint64_t last;

	(void)snprintf(name, sizeof(name), "s%u", stream);
	last = last_seq(m, name);
	for (; *from <= last; ++*from) {
		size_t len, want_len;
		char *got = slurp(mp(m, "%s/%" PRIu64, name, *from), &len);
		unsigned writer;
		uint64_t iter;

		if (sscanf(got, "writer %u record %" SCNu64, &writer, &iter) != 2 || writer >= WRITERS ||
		    writer % STREAMS != stream)
			fail_msg("%s/%" PRIu64 " is nobody's: '%.60s'", name, *from, got);
		want_len = compose(want, writer, iter);
		if (len != want_len || memcmp(got, want, len) != 0)
			fail_msg("%s/%" PRIu64 " is not what writer %u wrote as %" PRIu64, name, *from, writer, iter);
		if (iter != seen[writer] + 1)
			fail_msg("%s/%" PRIu64 ": writer %u's record %" PRIu64 " follows its %" PRIu64, name, *from,
				 writer, iter, seen[writer]);
		seen[writer] = iter;
		free(got);
	}
}

static void one_round(struct mnt *m, struct acks *acks, const char *opts)
{
	pid_t pids[WRITERS];
	struct timespec ts = { 0 };
	unsigned r = 0;

	for (unsigned i = 0; i < WRITERS; i++) {
		pids[i] = run_fork();
		if (pids[i] == 0)
			write_for_ever(m, acks, i);
	}
	(void)!getrandom(&r, sizeof(r), 0);
	ts.tv_nsec = 20000000 + r % 250000000; /* not to wait for something: the moment is the random thing */
	(void)nanosleep(&ts, NULL);
	mnt_kill(m);
	for (unsigned i = 0; i < WRITERS; i++)
		assert_int_equal(run_reap(pids[i], 30), 0);
	mnt_start(m, opts);
}

static void kill_daemon(struct mnt *m, const char *opts)
{
	struct acks *acks = mmap(NULL, sizeof(*acks), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t from[STREAMS] = { 1, 1 }, seen[WRITERS] = { 0 };

	assert_ptr_not_equal(acks, MAP_FAILED);
	mnt_watchdog(300);
	mnt_start(m, opts);
	for (unsigned i = 0; i < STREAMS; i++)
		make_stream(m, i ? "s1" : "s0");
	for (unsigned round = 0; round < ROUNDS; round++) {
		one_round(m, acks, opts);
		for (unsigned i = 0; i < STREAMS; i++)
			check_stream(m, i, &from[i], seen);
		for (unsigned i = 0; i < WRITERS; i++) {
			if (seen[i] < acks->done[i] || seen[i] > acks->tried[i])
				fail_msg("round %u: writer %u has %" PRIu64 " records, %" PRIu64
					 " acknowledged, %" PRIu64 " tried",
					 round, i, seen[i], acks->done[i], acks->tried[i]);
			acks->done[i] = seen[i]; /* one that was not acknowledged may be there, whole */
		}
	}
	tap_note("%" PRIu64 " records in %u rounds", from[0] + from[1] - 2, ROUNDS);
	assert_true(from[0] + from[1] > ROUNDS);
	/* All of it once more, from the start. */
	mnt_restart(m, opts);
	memset(seen, 0, sizeof(seen));
	from[0] = from[1] = 1;
	for (unsigned i = 0; i < STREAMS; i++)
		check_stream(m, i, &from[i], seen);
	must(munmap(acks, sizeof(*acks)));
}

static void kill_daemon_durable(void **state)
{
	kill_daemon(*state, NULL);
}

static void kill_daemon_relaxed(void **state)
{
	kill_daemon(*state, "relaxed");
}

/* Whatever changes the store is there after it was reported: streams, names, modes, settings, trims. */
static void kill_after_changes(void **state)
{
	struct mnt *m = *state;
	struct stat st;

	for (int i = 0; i < 2; i++) {
		make_stream(m, "a");
		make_stream(m, "b");
		append(m, "a", "1");
		append(m, "a", "2");
		append(m, "a", "3");
		must(unlink(mp(m, "a/1")));
		must(rename(mp(m, "a"), mp(m, "c")));
		must(rmdir(mp(m, "b")));
		must(chmod(mp(m, "c"), 0705));
		put(mp(m, "c/.config"), O_WRONLY, BYTES("retention.records=12345\n"));
		mnt_kill(m);
		mnt_start(m, i ? NULL : "relaxed");
		assert_absent(mp(m, "a"));
		assert_absent(mp(m, "b"));
		must(stat(mp(m, "c"), &st));
		assert_int_equal(st.st_mode & 07777, 0705);
		assert_int_equal(sh(m, "grep -qx retention.records=12345 c/.config"), 0);
		assert_int_equal(last_seq(m, "c"), 3);
		assert_file(mp(m, "c/3"), BYTES("3"));
		assert_int_equal(first_seq(m, "c"), 2); /* no power was lost */
		assert_int_equal(sh(m, "rm -r c"), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MNT_TEST(killed_writers),
		MNT_TEST(killed_large_writer),
		MNT_TEST(killed_after_fsync),
		MNT_TEST(exit_commits),
		MNT_TEST(killed_shells),
		MNT_TEST_BARE(kill_daemon_durable),
		MNT_TEST_BARE(kill_daemon_relaxed),
		MNT_TEST(kill_after_changes),
	};

	return mnt_main("kill", tests, sizeof(tests) / sizeof(*tests));
}
