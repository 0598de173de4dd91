/* SPDX-License-Identifier: MIT
 *
 * The append table of DESIGN 3 by system calls: when a record is committed, what is refused, and with which errno.
 */
#include "files.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (1 << 20)
#define APPEND "s/append"

static int open_append(const struct mnt *m, int flags)
{
	int fd = open(mp(m, APPEND), O_WRONLY | O_CLOEXEC | flags);

	if (fd < 0)
		fail_msg("open append: %s", strerror(errno));
	return fd;
}

static void put_text(int fd, const char *text)
{
	assert_int_equal(must(write(fd, text, strlen(text))), strlen(text));
}

static void commits_in_close(void **state)
{
	struct mnt *m = *state;
	int fd;

	make_stream(m, "s");
	fd = open_append(m, O_APPEND);
	put_text(fd, "one ");
	assert_no_records(m, "s");
	put_text(fd, "record");
	must(close(fd));
	assert_texts(m, "s", "one record");
	fd = open_append(m, O_TRUNC);
	put_text(fd, "two");
	must(close(fd));
	assert_texts(m, "s", "one record", "two");
}

static void empty_opens(void **state)
{
	struct mnt *m = *state;

	make_stream(m, "s");
	for (int i = 0; i < 3; i++)
		must(close(open_append(m, i == 1 ? O_TRUNC : i == 2 ? O_APPEND : 0)));
	must(close((int)must(open(mp(m, APPEND), O_RDWR))));
	must(close((int)must(open(mp(m, APPEND), O_RDONLY))));
	must(close((int)must(open(mp(m, APPEND), O_WRONLY | O_CREAT, 0666))));
	assert_errno(open(mp(m, APPEND), O_WRONLY | O_CREAT | O_EXCL, 0666), EEXIST);
	put(mp(m, APPEND), O_WRONLY, BYTES(""));
	must(truncate(mp(m, APPEND), 0));
	mnt_restart(m, NULL);
	assert_no_records(m, "s");
}

/* A flush before data, as a shell's redirection sends one, is nothing; and then another descriptor is left. */
static void duplicates(void **state)
{
	struct mnt *m = *state;
	int fd, copy;

	make_stream(m, "s");
	fd = open_append(m, 0);
	copy = (int)must(dup(fd));
	must(close(fd));
	assert_no_records(m, "s");
	put_text(copy, "a");
	fd = (int)must(dup(copy));
	must(close(copy));
	assert_no_records(m, "s");
	put_text(fd, "b");
	must(close(fd));
	assert_texts(m, "s", "ab");

	/* The same without a flush before the data: what `exec 3>>append; echo a >&3` does. */
	fd = open_append(m, O_APPEND);
	put_text(fd, "c");
	copy = (int)must(dup(fd));
	must(close(copy));
	assert_texts(m, "s", "ab");
	put_text(fd, "d");
	must(close(fd));
	assert_texts(m, "s", "ab", "cd");
}

static void children(void **state)
{
	struct mnt *m = *state;
	pid_t pid;
	int fd;

	make_stream(m, "s");
	fd = open_append(m, O_APPEND);
	for (int i = 0; i < 3; i++) {
		pid = run_fork();
		if (pid == 0)
			_exit(write(fd, "child ", 6) == 6 && close(fd) == 0 ? 0 : 1);
		assert_int_equal(run_reap(pid, 20), 0);
		assert_no_records(m, "s");
	}
	put_text(fd, "parent");
	must(close(fd));
	assert_texts(m, "s", "child child child parent");

	/* The opener closes without a byte of its own, the child writes later: at the last close of all. */
	int hold[2];

	must(pipe(hold));
	fd = open_append(m, O_APPEND);
	pid = run_fork();
	if (pid == 0) {
		char c;

		_exit(close(hold[1]) == 0 && read(hold[0], &c, 1) == 1 && write(fd, "late", 4) == 4 ? 0 : 1);
	}
	must(close(fd));
	assert_int_equal(last_seq(m, "s"), 1);
	assert_int_equal(write(hold[1], "x", 1), 1);
	assert_int_equal(run_reap(pid, 20), 0);
	must(close(hold[0]));
	must(close(hold[1]));
	wait_record(m, "s", 2);
	assert_texts(m, "s", "child child child parent", "late");
}

struct job {
	const char *path;
	int fd;
	const char *step; /* which call */
};

static void *do_job(void *arg)
{
	struct job *job = arg;

	if (strcmp(job->step, "open") == 0)
		job->fd = open(job->path, O_WRONLY | O_APPEND);
	else if (strcmp(job->step, "close") == 0)
		job->fd = close(job->fd);
	else if (write(job->fd, job->step, strlen(job->step)) != (ssize_t)strlen(job->step))
		job->fd = -1;
	return NULL;
}

static void threads(void **state)
{
	static const char *const steps[] = { "open", "in ", "three ", "threads", "close" };
	struct mnt *m = *state;
	struct job job = { .path = mp(m, APPEND), .fd = -1 };

	make_stream(m, "s");
	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		pthread_t thread;

		job.step = steps[i];
		assert_int_equal(pthread_create(&thread, NULL, do_job, &job), 0);
		assert_int_equal(pthread_join(thread, NULL), 0);
		assert_true(job.fd >= 0);
		if (strcmp(steps[i], "close") != 0)
			assert_no_records(m, "s");
	}
	assert_texts(m, "s", "in three threads");
}

static void fsync_ends_a_record(void **state)
{
	struct mnt *m = *state;
	int fd;

	make_stream(m, "s");
	fd = open_append(m, 0);
	must(fsync(fd));
	assert_no_records(m, "s");
	put_text(fd, "a");
	put_text(fd, "b");
	must(fsync(fd));
	assert_texts(m, "s", "ab");
	must(fsync(fd));
	put_text(fd, "c");
	must(fdatasync(fd));
	assert_texts(m, "s", "ab", "c");
	put_text(fd, "d");
	must(close(fd));
	assert_texts(m, "s", "ab", "c", "d");
	/* fsync of other files of the stream, and of its directory, is no commit but works. */
	fd = open_append(m, 0);
	put_text(fd, "pending");
	for (int i = 0; i < 4; i++) {
		static const char *const others[] = { "s", "s/1", "s/append", "s/.stat" };
		int other = (int)must(open(mp(m, "%s", others[i]), O_RDONLY));

		must(fsync(other));
		must(close(other));
	}
	assert_texts(m, "s", "ab", "c", "d");
	must(close(fd));
	assert_texts(m, "s", "ab", "c", "d", "pending");
}

static void one_write_one_record(struct mnt *m, int flags)
{
	const struct iovec three[3] = { { (char *)"x", 1 }, { (char *)"yy", 2 }, { (char *)"zzz", 3 } };
	int fd;

	make_stream(m, "s");
	fd = open_append(m, flags);
	put_text(fd, "a\n");
	assert_texts(m, "s", "a\n");
	put_text(fd, "b\nc\n");
	assert_texts(m, "s", "a\n", "b\nc\n");
	assert_int_equal(must(writev(fd, three, 3)), 6);
	assert_int_equal(must(write(fd, "", 0)), 0);
	must(fsync(fd));
	must(close(fd));
	assert_texts(m, "s", "a\n", "b\nc\n", "xyyzzz");
	mnt_restart(m, NULL);
	assert_texts(m, "s", "a\n", "b\nc\n", "xyyzzz");
}

static void direct(void **state)
{
	one_write_one_record(*state, O_DIRECT);
}

static void direct_append(void **state)
{
	one_write_one_record(*state, O_DIRECT | O_APPEND);
}

static void dsync(void **state)
{
	one_write_one_record(*state, O_DSYNC | O_APPEND);
}

static void osync(void **state)
{
	one_write_one_record(*state, O_SYNC);
}

/* What one request can carry is one record; a larger write is refused as a whole. */
static void largest_write(struct mnt *m, int flags)
{
	char *buf = aligned_alloc(4096, 4 * MIB);
	struct bytes want = { buf, MIB - 4096 };
	size_t lens[] = { MIB - 4095, MIB, MIB + 1, 3 * MIB };
	int fd;

	assert_non_null(buf);
	fill_bytes(buf, 4 * MIB, 3, 0);
	make_stream(m, "s");
	fd = open_append(m, flags);
	assert_int_equal(must(write(fd, buf, MIB - 4096)), MIB - 4096);
	assert_records(m, "s", 1, &want);
	for (size_t i = 0; i < sizeof(lens) / sizeof(*lens); i++)
		for (size_t skew = 0; skew < 4096; skew += 1365)
			assert_errno(write(fd, buf + skew, lens[i]), EMSGSIZE);
	assert_records(m, "s", 1, &want);
	/* From any alignment it arrives whole; the refused ones did not break the open. */
	for (size_t skew = 0; skew < 4096; skew += 585)
		assert_int_equal(must(write(fd, buf + skew, MIB - 4096)), MIB - 4096);
	must(close(fd));
	assert_int_equal(last_seq(m, "s"), 9);
	for (unsigned i = 1; i < 9; i++)
		assert_file(mp(m, "s/%u", i + 1), (struct bytes){ buf + 585 * (i - 1), MIB - 4096 });
	free(buf);
}

static void largest_direct(void **state)
{
	largest_write(*state, O_DIRECT);
}

static void largest_dsync(void **state)
{
	largest_write(*state, O_DSYNC | O_APPEND);
}

static void large_plain_writes(void **state)
{
	struct mnt *m = *state;
	char *buf = malloc(8 * MIB);
	struct bytes want[2] = { { buf, 3 * MIB }, { buf + 1, 7 * MIB } };

	assert_non_null(buf);
	fill_bytes(buf, 8 * MIB, 4, 0);
	make_stream(m, "s");
	put(mp(m, APPEND), O_WRONLY, want[0]);
	put(mp(m, APPEND), O_WRONLY | O_APPEND, want[1]);
	assert_records(m, "s", 2, want);
	free(buf);
}

static void vectors(void **state)
{
	struct mnt *m = *state;
	struct iovec iov[1000];
	char text[3001] = "";
	int fd;

	make_stream(m, "s");
	fill_bytes(text, 3000, 5, 0);
	for (int i = 0; i < 1000; i++)
		iov[i] = (struct iovec){ text + 3 * (ptrdiff_t)i, 3 };
	fd = open_append(m, O_APPEND);
	assert_int_equal(must(writev(fd, iov, 1000)), 3000);
	must(close(fd));
	fd = open_append(m, O_DIRECT);
	assert_int_equal(must(writev(fd, iov, 200)), 600);
	must(close(fd));
	assert_records(m, "s", 2, (struct bytes[]){ { text, 3000 }, { text, 600 } });
}

static void gaps_are_zeros(void **state)
{
	struct mnt *m = *state;
	int fd;

	make_stream(m, "s");
	fd = open_append(m, 0);
	assert_int_equal(must(pwrite(fd, "abc", 3, 0)), 3);
	assert_int_equal(must(pwrite(fd, "def", 3, 5)), 3);
	must(close(fd));
	fd = open_append(m, 0);
	put_text(fd, "ab");
	must(ftruncate(fd, 6));
	must(close(fd));
	fd = open_append(m, 0);
	assert_int_equal(must(lseek(fd, 4, SEEK_SET)), 4);
	put_text(fd, "ab");
	must(close(fd));
	assert_records(m, "s", 3, (struct bytes[]){ BYTES("abc\0\0def"), BYTES("ab\0\0\0\0"), BYTES("\0\0\0\0ab") });
}

/* After fsync the next record starts where the offset stands: that is no gap. */
static void offsets_run_on_after_fsync(void **state)
{
	struct mnt *m = *state;
	int fd;

	make_stream(m, "s");
	fd = open_append(m, 0);
	put_text(fd, "abc");
	must(fsync(fd));
	put_text(fd, "def");
	must(close(fd));
	fd = open_append(m, O_DIRECT);
	put_text(fd, "ghi");
	put_text(fd, "jkl");
	must(close(fd));
	assert_texts(m, "s", "abc", "def", "ghi", "jkl");
}

static void going_back(void **state)
{
	struct mnt *m = *state;
	uint64_t last;
	int fd;

	make_stream(m, "s");
	append(m, "s", "first");
	fd = open_append(m, 0);
	put_text(fd, "0123456789");
	assert_errno(pwrite(fd, "x", 1, 0), ESPIPE);
	assert_errno(pwrite(fd, "xyz", 3, 9), ESPIPE);
	if (lseek(fd, 0, SEEK_SET) == 0)
		assert_errno(write(fd, "x", 1), ESPIPE);
	else
		assert_int_equal(errno, ESPIPE);
	assert_int_equal(ftruncate(fd, 3), -1); /* that would drop seven bytes */
	(void)close(fd); /* the writer was told: the record may be there or not, but never another */
	last = last_seq(m, "s");
	assert_true(last == 1 || last == 2);
	if (last == 2)
		assert_file(mp(m, "s/2"), BYTES("0123456789"));
	/* With O_APPEND an offset means nothing. */
	fd = open_append(m, O_APPEND);
	put_text(fd, "ab");
	assert_int_equal(must(pwrite(fd, "cd", 2, 0)), 2);
	must(close(fd));
	assert_file(mp(m, "s/last"), BYTES("abcd"));
}

static void truncating_changes_nothing(void **state)
{
	struct mnt *m = *state;
	int fd;

	make_stream(m, "s");
	fd = open_append(m, O_APPEND);
	must(ftruncate(fd, 0));
	put_text(fd, "abc");
	must(ftruncate(fd, 0));
	must(truncate(mp(m, APPEND), 0));
	must(close(open_append(m, O_TRUNC)));
	put_text(fd, "def");
	must(close(fd));
	assert_texts(m, "s", "abcdef");
}

static void attributes_are_harmless(void **state)
{
	const struct timespec times[2] = { { .tv_sec = 1 }, { .tv_sec = 2 } };
	struct mnt *m = *state;
	struct stat before, after;
	int fd;

	make_stream(m, "s");
	append(m, "s", "a");
	must(stat(mp(m, APPEND), &before));
	must(chmod(mp(m, APPEND), 0));
	must(chown(mp(m, APPEND), 5, 5));
	must(utimensat(AT_FDCWD, mp(m, APPEND), times, 0));
	fd = open_append(m, 0);
	put_text(fd, "b");
	must(fchmod(fd, 0600));
	must(fchown(fd, 7, 7));
	must(futimens(fd, times));
	must(close(fd));
	assert_texts(m, "s", "a", "b");
	must(stat(mp(m, APPEND), &after));
	assert_int_equal(after.st_mode, before.st_mode);
	assert_int_equal(after.st_uid, before.st_uid);
	assert_true(after.st_mtim.tv_sec >= before.st_mtim.tv_sec);
}

/* Bytes of two opens never mix. */
static void opens_are_apart(void **state)
{
	struct mnt *m = *state;
	int fds[8];

	make_stream(m, "s");
	for (int i = 0; i < 8; i++)
		fds[i] = open_append(m, i % 2 ? O_APPEND : 0);
	for (int round = 0; round < 3; round++)
		for (int i = 0; i < 8; i++)
			assert_int_equal(must(write(fds[i], (char[]){ (char)('a' + i) }, 1)), 1);
	for (int i = 7; i >= 0; i--)
		must(close(fds[i]));
	assert_texts(m, "s", "hhh", "ggg", "fff", "eee", "ddd", "ccc", "bbb", "aaa");
}

/* Of a process with very many descriptors not all are looked at; its close commits all the same. */
static void many_descriptors(void **state)
{
	enum { MANY = 5000 };
	struct mnt *m = *state;
	struct rlimit limit = { MANY + 100, MANY + 100 };

	make_stream(m, "s");
	pid_t pid = run_fork();
	if (pid == 0) {
		int null = open("/dev/null", O_RDONLY);

		if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
			_exit(77);
		for (unsigned i = 0; i < MANY; i++)
			if (dup(null) < 0)
				_exit(1);
		for (unsigned i = 0; i < 3; i++) {
			int fd = open(mp(m, APPEND), O_WRONLY | O_APPEND);

			if (write(fd, "one", 3) != 3 || write(fd, "more", 4) != 4 || close(fd) != 0)
				_exit(2);
			if (access(mp(m, "s/%u", i + 1), F_OK) != 0)
				_exit(3);
		}
		_exit(0);
	}
	int code = run_reap(pid, 60);

	if (code == 77)
		skip_because("this user may not have %d descriptors", MANY);
	assert_int_equal(code, 0);
	assert_texts(m, "s", "onemore", "onemore", "onemore");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MNT_TEST(commits_in_close),
		MNT_TEST(empty_opens),
		MNT_TEST(duplicates),
		MNT_TEST(children),
		MNT_TEST(threads),
		MNT_TEST(fsync_ends_a_record),
		MNT_TEST(direct),
		MNT_TEST(direct_append),
		MNT_TEST(dsync),
		MNT_TEST(osync),
		MNT_TEST(largest_direct),
		MNT_TEST(largest_dsync),
		MNT_TEST(large_plain_writes),
		MNT_TEST(vectors),
		MNT_TEST(gaps_are_zeros),
		MNT_TEST(offsets_run_on_after_fsync),
		MNT_TEST(going_back),
		MNT_TEST(truncating_changes_nothing),
		MNT_TEST(attributes_are_harmless),
		MNT_TEST(opens_are_apart),
		MNT_TEST(many_descriptors),
	};

	return mnt_main("append", tests, sizeof(tests) / sizeof(*tests));
}
