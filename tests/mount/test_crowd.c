/* SPDX-License-Identifier: MIT
 *
 * Thousands of readers that wait at once: nobody else notices them, they take little memory, one append wakes them all,
 * and the removal of the stream ends them all.
 */
#include "follower.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum { READERS = 5000, ROUNDS = 300 };

/* What the readers have done; shared with the process that they are. */
struct crowd {
	atomic_uint woken, ended, wrong;
	char path[256];
};

static void *read_one(void *arg)
{
	struct crowd *crowd = arg;
	char buf[16];
	int fd = open(crowd->path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf));

	if (n == 5 && memcmp(buf, "wake\n", 5) == 0)
		atomic_fetch_add(&crowd->woken, 1);
	else
		atomic_fetch_add(&crowd->wrong, 1);
	if (fd >= 0 && read(fd, buf, sizeof(buf)) == 0)
		atomic_fetch_add(&crowd->ended, 1);
	else
		atomic_fetch_add(&crowd->wrong, 1);
	return NULL;
}

/* Never returns. Exits with 2 where the machine does not allow so many threads. */
static void be_crowd(struct crowd *crowd)
{
	pthread_t *threads = calloc(READERS, sizeof(*threads));
	pthread_attr_t attr;

	if (!threads || pthread_attr_init(&attr) != 0 || pthread_attr_setstacksize(&attr, 32768) != 0)
		_exit(1);
	for (unsigned i = 0; i < READERS; i++)
		if (pthread_create(&threads[i], &attr, read_one, crowd) != 0)
			_exit(2);
	for (unsigned i = 0; i < READERS; i++)
		(void)pthread_join(threads[i], NULL);
	_exit(0);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void list_it(const struct mnt *m)
{
	DIR *dir = opendir(mp(m, "s"));

	assert_non_null(dir);
	while (readdir(dir))
		;
	(void)closedir(dir);
}

static void read_it(const struct mnt *m)
{
	assert_file(mp(m, "s/1"), BYTES("one\n"));
}

static void append_elsewhere(const struct mnt *m)
{
	append(m, "other", "x\n");
}

/* The lower quarter: others use the machine, too. */
static double time_us(const struct mnt *m, void (*what)(const struct mnt *m))
{
	double times[ROUNDS];

	for (unsigned i = 0; i < ROUNDS; i++) {
		double start = now_s();

		what(m);
		times[i] = (now_s() - start) * 1e6;
	}
	qsort(times, ROUNDS, sizeof(*times), compare);
	return times[ROUNDS / 4];
}

static void wait_count(const atomic_uint *count, pid_t pid)
{
	double deadline = deadline_after(60);

	while (atomic_load(count) < READERS) {
		if (run_wait(pid, 0) != RUN_LATE)
			fail_msg("the readers are gone, %u of them were counted", atomic_load(count));
		if (!deadline_pause(deadline))
			fail_msg("%u of %d", atomic_load(count), READERS);
	}
}

static void five_thousand(void **state)
{
	static void (*const what[])(const struct mnt *m) = { list_it, read_it, append_elsewhere };
	static const char *const names[] = { "ls", "cat", "append to another stream" };
	struct mnt *m = *state;
	struct crowd *crowd = mmap(NULL, sizeof(*crowd), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct rlimit limit = { READERS + 100, READERS + 100 };
	double before[3];
	long rss, each;
	pid_t pid;

	assert_ptr_not_equal(crowd, MAP_FAILED);
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		skip_because("this user may not open %d files: %s", READERS + 100, strerror(errno));
	make_three(m);
	make_stream(m, "other");
	(void)snprintf(crowd->path, sizeof(crowd->path), "%s", mp(m, "s/new.follow"));
	for (unsigned i = 0; i < 3; i++)
		before[i] = time_us(m, what[i]);
	rss = mnt_memory_kib(m, "VmRSS");
	pid = run_fork();
	if (pid == 0)
		be_crowd(crowd);
	double deadline = deadline_after(60);

	while (!stats_say(m, "readers_parked", READERS)) {
		if (run_wait(pid, 0) == 2)
			skip_because("this machine does not allow %d threads", READERS);
		if (!deadline_pause(deadline))
			fail_msg("not all readers wait");
	}
	each = (mnt_memory_kib(m, "VmRSS") - rss) * 1024 / READERS;
	tap_note("a reader that waits takes %ld bytes of the daemon", each);
	assert_true(run_sanitized() || each < 3000);
	for (unsigned i = 0; i < 3; i++) {
		double now = time_us(m, what[i]);

		tap_note("%s: %.0f us, without the readers %.0f us: %.2f times", names[i], now, before[i],
			 now / before[i]);
		assert_true(now < 10 * before[i] + 5000); /* a microsecond for each reader */
	}

	double start = now_s();

	append(m, "s", "wake\n");
	tap_note("the append that woke them took %.0f us", (now_s() - start) * 1e6);
	wait_count(&crowd->woken, pid);
	tap_note("all had it after %.0f ms", (now_s() - start) * 1e3);
	wait_parked(m, READERS);
	assert_int_equal(sh(m, "rm -r s"), 0);
	wait_count(&crowd->ended, pid);
	assert_int_equal(run_reap(pid, 60), 0);
	assert_int_equal(atomic_load(&crowd->wrong), 0);
	wait_parked(m, 0);
	must(munmap(crowd, sizeof(*crowd)));
}

/* Killed all at once: the daemon forgets them. */
static void killed(void **state)
{
	struct mnt *m = *state;
	struct crowd *crowd = mmap(NULL, sizeof(*crowd), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct rlimit limit = { READERS + 100, READERS + 100 };
	pid_t pid;

	assert_ptr_not_equal(crowd, MAP_FAILED);
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		skip_because("this user may not open %d files: %s", READERS + 100, strerror(errno));
	make_three(m);
	(void)snprintf(crowd->path, sizeof(crowd->path), "%s", mp(m, "s/new.follow"));
	pid = run_fork();
	if (pid == 0)
		be_crowd(crowd);
	double deadline = deadline_after(60);

	while (!stats_say(m, "readers_parked", READERS)) {
		if (run_wait(pid, 0) == 2)
			skip_because("this machine does not allow %d threads", READERS);
		if (!deadline_pause(deadline))
			fail_msg("not all readers wait");
	}
	must(kill(pid, SIGKILL));
	assert_int_equal(run_reap(pid, 60), 128 + SIGKILL);
	wait_parked(m, 0);
	append(m, "s", "four\n");
	assert_file(mp(m, "s/4"), BYTES("four\n"));
	must(munmap(crowd, sizeof(*crowd)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MNT_TEST(five_thousand),
		MNT_TEST(killed),
	};

	return mnt_main("crowd", tests, sizeof(tests) / sizeof(*tests));
}
