/* SPDX-License-Identifier: MIT
 *
 * What one user can have, and that it is at nobody else's cost.
 */
#include "files.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum { OWNER = 12001, OTHER = 12002 };

static void start(struct mnt *m, const char *opts)
{
	char all[128];

	if (geteuid() != 0)
		skip_because("only root can act for other users");
	(void)snprintf(all, sizeof(all), "allow_other,umask=0%s%s", opts ? "," : "", opts ? opts : "");
	mnt_start(m, all);
	make_stream(m, "s");
	must(chmod(mp(m, "s"), 0777));
}

/* In a child: an answer that is not what it should be ends it. */
#define expect(condition)                                    \
	do {                                                 \
		if (!(condition)) {                          \
			printf("# line %d: %m\n", __LINE__); \
			(void)fflush(stdout);                \
			_exit(1);                            \
		}                                            \
	} while (0)

/* Runs it as the user, in the process of a child. */
#define AS(uid, ...)                                       \
	do {                                               \
		pid_t pid_ = run_fork_as((uid), (uid), 0); \
		if (pid_ == 0) {                           \
			__VA_ARGS__                        \
			_exit(0);                          \
		}                                          \
		assert_int_equal(run_reap(pid_, 60), 0);   \
	} while (0)

static uint64_t stat_of(const struct mnt *m, const char *key)
{
	char *text = slurp(mp(m, ".walfs/stats"), NULL), needle[64];
	const char *at;
	uint64_t value;

	(void)snprintf(needle, sizeof(needle), "\n%s ", key);
	at = strstr(text, needle);
	assert_non_null(at);
	value = strtoull(at + strlen(needle), NULL, 10);
	free(text);
	return value;
}

static void files(void **state)
{
	struct mnt *m = *state;

	start(m, "user_files=20");
	append(m, "s", "x");
	AS(OTHER, {
		int fds[20];
		double deadline = deadline_after(20);

		for (unsigned i = 0; i < 20; i++)
			expect((fds[i] = open(mp(m, i % 2 ? "s/append" : "s/1"), i % 2 ? O_WRONLY : O_RDONLY)) >= 0);
		for (unsigned i = 0; i < 3; i++) {
			expect(open(mp(m, "s/1"), O_RDONLY) < 0 && errno == EMFILE);
			expect(open(mp(m, "s/append"), O_WRONLY) < 0 && errno == EMFILE);
			expect(open(mp(m, "s"), O_RDONLY | O_DIRECTORY) < 0 && errno == EMFILE);
		}
		/* Others have theirs. */
		pid_t pid = fork();
		expect(pid >= 0);
		if (pid == 0)
			_exit(open(mp(m, "s/1"), O_RDONLY) < 0 && errno == EMFILE ? 0
										  : 1); /* the same user is no other */
		expect(run_reap(pid, 20) == 0);
		/* What is closed is free again, though the kernel tells it a moment later. */
		expect(close(fds[0]) == 0);
		while (open(mp(m, "s/1"), O_RDONLY) < 0)
			expect(errno == EMFILE && deadline_pause(deadline));
		expect(open(mp(m, "s/1"), O_RDONLY) < 0 && errno == EMFILE);
	});
	AS(OWNER, {
		for (unsigned i = 0; i < 20; i++)
			expect(open(mp(m, "s/1"), O_RDONLY) >= 0);
		expect(open(mp(m, "s/1"), O_RDONLY) < 0 && errno == EMFILE);
	});
	int fds[40];
	for (unsigned i = 0; i < 40; i++)
		fds[i] = (int)must(open(mp(m, "s/1"), O_RDONLY));
	for (unsigned i = 0; i < 40; i++)
		must(close(fds[i]));
}

static void pending(void **state)
{
	static char buf[3 << 20];
	struct mnt *m = *state;

	start(m, "user_pending=2M");
	AS(OTHER, {
		int a = open(mp(m, "s/append"), O_WRONLY);
		int b = open(mp(m, "s/append"), O_WRONLY);
		int c = open(mp(m, "s/append"), O_WRONLY);

		expect(write(a, buf, 900000) == 900000);
		expect(write(b, buf, 900000) == 900000);
		expect(write(c, buf, 900000) < 0 && errno == EDQUOT);
		expect(write(c, buf, 1) < 0 && errno == EDQUOT); /* it could not become whole */
		expect(write(b, buf, 100000) == 100000);
		expect(write(b, buf, 900000) < 0 && errno == EDQUOT);
		expect(close(b) < 0 && errno == EDQUOT);
		expect(close(c) < 0 && errno == EDQUOT);
		expect(write(a, buf, 900000) == 900000);
		expect(close(a) == 0);
		/* All is given back. */
		a = open(mp(m, "s/append"), O_WRONLY);
		expect(write(a, buf, 2 << 20) == 2 << 20);
		expect(write(a, buf, 1) < 0 && errno == EDQUOT);
		(void)close(a);
		a = open(mp(m, "s/append"), O_WRONLY);
		expect(ftruncate(a, 3 << 20) < 0 && errno == EDQUOT);
		(void)close(a);
	});
	assert_int_equal(last_seq(m, "s"), 1);
	assert_int_equal(stat_of(m, "pending_bytes"), 0);
	assert_int_equal(stat_of(m, "pending_drafts"), 0);
	put(mp(m, "s/append"), O_WRONLY, (struct bytes){ buf, sizeof(buf) }); /* root */
	assert_int_equal(last_seq(m, "s"), 2);
}

/* Two hundred records at once by one user: the memory for them is bounded, and another user's record is in memory. */
static void memory(void **state)
{
	static char buf[200000];
	struct mnt *m = *state;
	int go[2], done[2];
	pid_t pid;
	char c;

	start(m, NULL);
	must(pipe(go));
	must(pipe(done));
	pid = run_fork_as(OTHER, OTHER, 0);
	if (pid == 0) {
		int fds[200];

		for (unsigned i = 0; i < 200; i++) {
			expect((fds[i] = open(mp(m, "s/append"), O_WRONLY)) >= 0);
			expect(write(fds[i], buf, sizeof(buf)) == (ssize_t)sizeof(buf));
		}
		expect(write(done[1], "x", 1) == 1);
		expect(read(go[0], &c, 1) == 1);
		for (unsigned i = 0; i < 200; i++)
			expect(close(fds[i]) == 0);
		_exit(0);
	}
	must(read(done[0], &c, 1));
	assert_int_equal(stat_of(m, "pending_bytes"), 200 * sizeof(buf));
	uint64_t used = stat_of(m, "pending_memory_bytes"), drafts = stat_of(m, "pending_drafts");
	tap_note("%" PRIu64 " bytes in memory, %" PRIu64 " drafts", used, drafts);
	assert_true(used > 0 && used <= 8 << 20);
	assert_true(drafts > 100);
	AS(OWNER, {
		int fd = open(mp(m, "s/append"), O_WRONLY);

		expect(write(fd, buf, sizeof(buf)) == (ssize_t)sizeof(buf));
		expect(stat_of(m, "pending_drafts") == drafts);
		expect(stat_of(m, "pending_memory_bytes") > used);
		expect(close(fd) == 0);
	});
	assert_int_equal(last_seq(m, "s"), 1);
	must(write(go[1], "x", 1));
	assert_int_equal(run_reap(pid, 60), 0);
	assert_int_equal(last_seq(m, "s"), 201);
	mnt_memory_below(m, 64 * 1024);
	for (unsigned i = 0; i < 2; i++) {
		must(close(go[i]));
		must(close(done[i]));
	}
}

enum { QUEUERS = 300 };

/* The process does not run: it waits in its write. */
static void wait_asleep(pid_t pid)
{
	double deadline = deadline_after(60);
	char state = 'R', path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	do {
		FILE *f = fopen(path, "re");

		assert_non_null(f);
		assert_int_equal(fscanf(f, "%*d %*[^)]) %c", &state), 1);
		(void)fclose(f);
	} while (state == 'R' && deadline_pause(deadline));
}

/* Three hundred writes of 1 MiB come at once. What the daemon keeps of them is bounded: the rest is refused, and each record
 * is there whole or not at all. */
static void queue(void **state)
{
	struct mnt *m = *state;
	unsigned *n = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pids[QUEUERS];
	unsigned good = 0, refused = 0;
	size_t len = (1 << 20) - 4096;
	char *buf = malloc(len);
	double deadline;

	start(m, "relaxed");
	assert_ptr_not_equal(n, MAP_FAILED);
	fill_bytes(buf, len, 1, 0);
	for (unsigned i = 0; i < QUEUERS; i++) {
		pids[i] = run_fork_as(OTHER, OTHER, 0);
		if (pids[i] == 0) {
			int fd = open(mp(m, "s/append"), O_WRONLY);

			expect(fd >= 0 && write(fd, "0123456789", 10) == 10);
			__atomic_fetch_add(&n[0], 1, __ATOMIC_SEQ_CST);
			while (!__atomic_load_n(&n[1], __ATOMIC_SEQ_CST))
				(void)deadline_pause(deadline_after(60));
			__atomic_fetch_add(&n[2], 1, __ATOMIC_SEQ_CST);
			if (write(fd, buf, len) != (ssize_t)len || write(fd, buf, len) != (ssize_t)len) {
				expect(errno == EDQUOT);
				expect(close(fd) < 0 && errno == EDQUOT);
				_exit(10);
			}
			expect(close(fd) == 0);
			_exit(0);
		}
	}
	for (unsigned i = 0; i < 3; i += 2) {
		deadline = deadline_after(60);
		while (__atomic_load_n(&n[i], __ATOMIC_SEQ_CST) < QUEUERS)
			assert_true(deadline_pause(deadline));
		if (i == 0) {
			must(kill(m->daemon, SIGSTOP));
			__atomic_store_n(&n[1], 1, __ATOMIC_SEQ_CST);
		}
	}
	for (unsigned i = 0; i < QUEUERS; i++)
		wait_asleep(pids[i]);
	must(kill(m->daemon, SIGCONT));
	for (unsigned i = 0; i < QUEUERS; i++) {
		int code = run_reap(pids[i], 100);

		good += code == 0;
		refused += code == 10;
	}
	tap_note("%u records, %u refused, %ld KiB", good, refused, mnt_memory_kib(m, "VmHWM"));
	assert_int_equal(good + refused, QUEUERS);
	assert_true(good > 0);
	assert_int_equal(last_seq(m, "s"), good);
	mnt_memory_below(m, 220 * 1024);
	for (unsigned i = 1; i <= good; i++) {
		struct stat st;

		must(stat(mp(m, "s/%u", i), &st));
		assert_int_equal(st.st_size, 10 + 2 * len);
	}
	assert_int_equal(stat_of(m, "pending_bytes"), 0);
	(void)munmap(n, 4096);
	free(buf);
}

static void headers(void **state)
{
	static char buf[65535];
	struct mnt *m = *state;

	start(m, NULL);
	for (unsigned i = 0; i < 20; i++)
		make_stream(m, (const char *[]){ "a", "b", "c", "d", "e", "f", "g", "h", "i", "j",
						 "k", "l", "m", "n", "o", "p", "q", "r", "t", "u" }[i]);
	for (const char *s = "abcdefghijklmnopqrtu"; *s; s++)
		must(chmod(mp(m, "%c", *s), 0777));
	AS(OTHER, {
		const char *s = "abcdefghijklmnopqrtu";
		unsigned n = 0;
		int fd;

		for (; *s; s++, n++) {
			expect((fd = open(mp(m, "%c/append.hdr", *s), O_WRONLY | O_TRUNC)) >= 0);
			if (write(fd, buf, sizeof(buf)) != (ssize_t)sizeof(buf))
				break;
			expect(close(fd) == 0);
		}
		expect(n == 15 && errno == EDQUOT);
		expect((fd = open(mp(m, "a/append.hdr"), O_WRONLY | O_TRUNC)) >= 0 && close(fd) == 0);
		expect((fd = open(mp(m, "t/append.hdr"), O_WRONLY | O_TRUNC)) >= 0);
		expect(write(fd, buf, sizeof(buf)) == (ssize_t)sizeof(buf) && close(fd) == 0);
	});
	AS(OWNER, {
		int fd = open(mp(m, "a/append.hdr"), O_WRONLY | O_TRUNC);

		expect(write(fd, buf, sizeof(buf)) == (ssize_t)sizeof(buf) && close(fd) == 0);
	});
}

/* A hundred processes of one user write large records all the time. Another user works. */
static void slow_requests(void **state)
{
	static char buf[1 << 20];
	struct mnt *m = *state;
	pid_t pids[100];
	double worst = 0, sum = 0;

	start(m, NULL);
	for (unsigned i = 0; i < 100; i++) {
		pids[i] = run_fork_as(OTHER, OTHER, 0);
		if (pids[i] == 0)
			for (;;) {
				int fd = open(mp(m, "s/append"), O_WRONLY);

				for (unsigned k = 0; k < 2; k++)
					expect(write(fd, buf, sizeof(buf)) == (ssize_t)sizeof(buf));
				expect(fdatasync(fd) == 0 && close(fd) == 0);
			}
	}
	wait_record(m, "s", 50);
	for (unsigned i = 0; i < 20; i++) {
		double before = now_s(), took;

		AS(OWNER, {
			expect(mkdir(mp(m, "t"), 0700) == 0);
			int fd = open(mp(m, "t/append"), O_WRONLY);
			expect(write(fd, "x", 1) == 1 && close(fd) == 0);
			fd = open(mp(m, "t/1"), O_RDONLY);
			expect(read(fd, buf, 10) == 1 && close(fd) == 0);
			names_free(names_of(mp(m, "t"), NULL));
			expect(unlink(mp(m, "t/1")) == 0 && rmdir(mp(m, "t")) == 0);
		});
		took = now_s() - before;
		sum += took;
		worst = took > worst ? took : worst;
	}
	tap_note("mkdir, append, read, ls, rm, rmdir: %.0f ms, at most %.0f", sum / 20 * 1000, worst * 1000);
	for (unsigned i = 0; i < 100; i++) {
		(void)kill(pids[i], SIGKILL);
		(void)run_wait(pids[i], 30);
	}
	/* Six requests behind all those of a hundred others would take as many times as long as one of theirs. */
	assert_true(worst < 5 * deadline_scale());
}

/* The soft limit of open files does not bind the daemon. */
static void open_files(void **state)
{
	struct mnt *m = *state;
	struct rlimit before, low, now;

	must(getrlimit(RLIMIT_NOFILE, &before));
	low = (struct rlimit){ .rlim_cur = 64, .rlim_max = before.rlim_max };
	must(setrlimit(RLIMIT_NOFILE, &low));
	mnt_start(m, NULL);
	must(setrlimit(RLIMIT_NOFILE, &before));
	must(prlimit(m->daemon, RLIMIT_NOFILE, NULL, &now));
	assert_true(now.rlim_cur == before.rlim_max);
	assert_int_equal(
		sh(m,
		   "for i in $(seq 300); do mkdir s$i && echo x > s$i/append || exit 1; done; cat s*/1 | wc -l | grep -qx 300"),
		0);
}

/* A user who lists, reads and writes as much as he can at once, and then waits. Tells on `done`. */
static void take_all(const struct mnt *m, int done)
{
	static char buf[1 << 20];
	unsigned lists = 0, drafts = 0;

	for (unsigned i = 0; i < 150; i++) {
		DIR *dir = opendir(m->at);

		expect(dir && readdir(dir));
		lists++;
	}
	for (unsigned i = 1; i <= 200; i++) {
		int fd = open(mp(m, "s%u/1", i), O_RDONLY);

		expect(fd >= 0 && read(fd, buf, 1) == 1);
	}
	for (;;) {
		int fd = open(mp(m, "s1/append"), O_WRONLY);

		expect(fd >= 0);
		if (write(fd, buf, sizeof(buf)) < 0 || write(fd, buf, 10) < 0)
			break;
		drafts++;
	}
	expect(errno == EDQUOT && drafts > 8);
	printf("# %u listings, %u large records\n", lists, drafts);
	(void)fflush(stdout);
	expect(write(done, "x", 1) == 1);
	(void)pause();
	_exit(1);
}

/* What one user opens at once leaves open files of the daemon to others. */
static void descriptors(void **state)
{
	struct mnt *m = *state;
	char *walfs = strdup(getenv("WALFS"));
	int done[2];
	pid_t pid;
	char c;

	/* The daemon alone, and for good. */
	assert_int_equal(run_sh(0,
				"printf '#!/bin/sh\\nulimit -n 200 && exec \"%s\" \"$@\"\\n' > '%s' && chmod 755 '%s'",
				walfs, tp(m, "walfs"), tp(m, "walfs")),
			 0);
	must(setenv("WALFS", tp(m, "walfs"), 1));
	start(m, "relaxed");
	must(setenv("WALFS", walfs, 1));
	free(walfs);
	assert_int_equal(sh(m, "for i in $(seq 200); do mkdir -m 777 s$i && echo x > s$i/append || exit 1; done"), 0);
	must(pipe(done));
	pid = run_fork_as(OTHER, OTHER, 0);
	if (pid == 0)
		take_all(m, done[1]);
	must(close(done[1]));
	assert_int_equal(must(read(done[0], &c, 1)), 1);
	AS(OWNER, {
		static char big[3 << 20];
		size_t n;

		expect(mkdir(mp(m, "t"), 0700) == 0);
		put(mp(m, "t/append"), O_WRONLY, BYTES("x"));
		put(mp(m, "t/append"), O_WRONLY, (struct bytes){ big, sizeof(big) });
		assert_file(mp(m, "t/1"), BYTES("x"));
		names_free(names_of(m->at, &n));
		expect(n == 203);
		for (unsigned i = 1; i <= 200; i++)
			assert_file(mp(m, "s%u/1", i), BYTES("x\n"));
	});
	assert_file(mp(m, ".walfs/status"), BYTES("ok\n"));
	must(kill(pid, SIGKILL));
	assert_int_equal(run_wait(pid, 30), 128 + SIGKILL);
	must(close(done[0]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MNT_TEST_BARE(files),      MNT_TEST_BARE(pending),     MNT_TEST_BARE(memory),
		MNT_TEST_BARE(queue),      MNT_TEST_BARE(headers),     MNT_TEST_BARE(slow_requests),
		MNT_TEST_BARE(open_files), MNT_TEST_BARE(descriptors),
	};

	return mnt_main("limits", tests, sizeof(tests) / sizeof(*tests));
}
