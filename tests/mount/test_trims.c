/* SPDX-License-Identifier: MIT
 *
 * Records that go while they are looked at, by rm and by retention: what is open is read to its end, what is gone cannot be
 * opened under any name, and everything that counts records agrees.
 */
#include "follower.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define MIB (1 << 20)

static void wait_gone(const struct mnt *m, const char *path)
{
	double deadline = deadline_after(60);

	while (access(mp(m, "%s", path), F_OK) == 0)
		if (!deadline_pause(deadline))
			fail_msg("%s is still there", path);
}

/* One of $M/s/N, open, of which a byte has been read, and the same bytes. */
struct open_record {
	int fd;
	char *want;
	size_t len;
};

static struct open_record open_one(const struct mnt *m, const char *path)
{
	struct open_record record;
	char byte;

	record.want = slurp(mp(m, "%s", path), &record.len);
	record.fd = (int)must(open(mp(m, "%s", path), O_RDONLY));
	assert_int_equal(must(read(record.fd, &byte, 1)), 1);
	assert_int_equal(byte, record.want[0]);
	return record;
}

static void read_to_end(struct open_record *record)
{
	char *got = malloc(record->len + 1);
	size_t at = 1;
	struct stat st;
	long n;

	assert_non_null(got);
	got[0] = record->want[0];
	must(fstat(record->fd, &st));
	assert_int_equal(st.st_size, record->len);
	while ((n = must(read(record->fd, got + at, record->len + 1 - at))) > 0)
		at += (size_t)n;
	assert_int_equal(at, record->len);
	assert_memory_equal(got, record->want, record->len);
	assert_int_equal(must(pread(record->fd, got, 1, (off_t)record->len - 1)), 1);
	must(close(record->fd));
	free(record->want);
	free(got);
}

static void read_to_the_end(void **state)
{
	static const char *const paths[] = { "s/1", "s/0000000001", "s/1.hdr", "s/1.msg", "s/2" };
	enum { N = sizeof(paths) / sizeof(*paths) };
	struct mnt *m = *state;
	struct open_record records[2 * N];
	double deadline;

	make_stream(m, "s");
	for (unsigned i = 0; i < 3; i++) {
		put(mp(m, "s/append.hdr"), O_WRONLY | O_TRUNC, BYTES("a header\n"));
		make_file(tp(m, "content"), 3 * MIB + i, i);
		assert_int_equal(sh(m, "cat $T/content > s/append"), 0);
	}
	for (unsigned i = 0; i < 2 * N; i++)
		records[i] = open_one(m, paths[i % N]);
	put(mp(m, "s/.config"), O_WRONLY, BYTES("retention.age=1s\n"));
	wait_gone(m, "s/3");
	for (unsigned i = 0; i < N; i++)
		read_to_end(&records[i]);
	/* The others when the kernel does not know their attributes any more, and the space has been given back. */
	deadline = deadline_after(1.5);
	while (deadline_pause(deadline)) {
		struct stat st;

		for (unsigned i = N; i < 2 * N; i++) {
			must(fstat(records[i].fd, &st));
			assert_int_equal(st.st_size, records[i].len);
		}
	}
	assert_int_equal(sh(m, "echo x > .walfs/sync"), 0);
	assert_int_equal(sh(m, "rm -r s"), 0);
	for (unsigned i = N; i < 2 * N; i++)
		read_to_end(&records[i]);
}

static void gone_under_all_names(void **state)
{
	static const char *const names[] = { "0000000001",     "1",    "001", "0000000001.hdr", "1.hdr",
					     "0000000001.msg", "1.msg" };
	enum { N = sizeof(names) / sizeof(*names) };
	struct mnt *m = *state;

	for (unsigned by_age = 0; by_age < 2; by_age++) {
		make_stream(m, "s");
		put(mp(m, "s/append.hdr"), O_WRONLY | O_TRUNC, BYTES("a header\n"));
		append(m, "s", "one");
		append(m, "s", "two");
		for (unsigned round = 0; round < 3; round++)
			for (unsigned i = 0; i < N; i++)
				free(slurp(mp(m, "s/%s", names[i]), NULL)); /* the kernel knows them all */
		free(slurp(mp(m, "s/first"), NULL));
		if (by_age) {
			int fd;

			put(mp(m, "s/.config"), O_WRONLY, BYTES("retention.age=1s\n"));
			double deadline = deadline_after(60);

			/* Looked at by its listed name all the time. */
			while ((fd = open(mp(m, "s/0000000001"), O_RDONLY)) >= 0) {
				must(close(fd));
				if (!deadline_pause(deadline))
					fail_msg("record 1 does not expire");
			}
		} else {
			must(unlink(mp(m, "s/1")));
		}
		for (unsigned i = 0; i < N; i++)
			assert_errno(open(mp(m, "s/%s", names[i]), O_RDONLY), ENOENT);
		assert_int_equal(sh(m, "rm -r s"), 0);
	}
}

/* The numbers that a listing shows: ascending, and without a hole but that of records that went meanwhile. */
static void assert_dense(const struct mnt *m, unsigned long *ret_first, unsigned long *ret_last)
{
	DIR *dir = opendir(mp(m, "s"));
	unsigned long seq, before = 0;
	struct dirent *ent;

	assert_non_null(dir);
	*ret_first = 0;
	while ((ent = readdir(dir))) {
		if (ent->d_name[0] < '0' || ent->d_name[0] > '9')
			continue;
		seq = strtoul(ent->d_name, NULL, 10);
		if (before == 0)
			*ret_first = seq;
		else if (seq <= before || (seq != before + 1 && access(mp(m, "s/%lu", seq - 1), F_OK) == 0))
			fail_msg("the listing shows %lu behind %lu", seq, before);
		before = seq;
	}
	*ret_last = before;
	(void)closedir(dir);
}

/* Retention by records while a writer writes: all that looks at the stream agrees with itself. */
static void while_it_moves(void **state)
{
	enum { RECORDS = 1500 };
	struct mnt *m = *state;
	unsigned long first, last, first_max = 0;
	char buf[65536];
	unsigned broken = 0, next = 1;
	pid_t pid;
	int fd;

	make_stream(m, "s");
	put(mp(m, "s/.config"), O_WRONLY, BYTES("retention.records=20\n"));
	fd = open_follow(m, "s/follow", O_DIRECT);
	pid = run_fork();
	if (pid == 0) {
		int out = open(mp(m, "s/append"), O_WRONLY | O_DIRECT);

		for (unsigned i = 1; i <= RECORDS; i++) {
			int n = snprintf(buf, sizeof(buf), "%-20000u\n", i);

			if (write(out, buf, (size_t)n) != n)
				_exit(1);
		}
		_exit(0);
	}
	while (next <= RECORDS) {
		ssize_t n = read(fd, buf, sizeof(buf));

		if (n < 0) {
			assert_int_equal(errno, EPIPE);
			broken++;
			continue;
		}
		assert_int_equal(n, 20001);
		/* None is missing, unless it was said. */
		assert_true(broken ? strtoul(buf, NULL, 10) >= next : strtoul(buf, NULL, 10) == next);
		broken = 0;
		next = (unsigned)strtoul(buf, NULL, 10) + 1;
		if (next % 50 == 0) {
			assert_dense(m, &first, &last);
			assert_true(first >= first_max && last >= next - 1); /* the oldest goes while it is listed */
			first_max = first;
			assert_true(first_seq(m, "s") >= first && last_seq(m, "s") >= last);
		}
	}
	assert_int_equal(run_reap(pid, 60), 0);
	must(close(fd));
	assert_dense(m, &first, &last);
	assert_int_equal(last, RECORDS);
	assert_true(first > 1 && first <= RECORDS - 19);
	assert_int_equal(
		sh(m, "test $(readlink s/at/@0) = ../%010lu && test $(readlink s/first) = %010lu", first, first), 0);
	assert_int_equal(sh(m, "cat s/*[0-9] | cmp - s/all"), 0);
	assert_int_equal(sh(m, "head -c $(stat -c %%s s/all) s/follow | cmp - s/all"), 0);
	for (unsigned long seq = first > 5 ? first - 5 : 1; seq < first; seq++)
		assert_absent(mp(m, "s/%lu", seq));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MNT_TEST_RELAXED(read_to_the_end),
		MNT_TEST_RELAXED(gone_under_all_names),
		MNT_TEST_RELAXED(while_it_moves),
	};

	return mnt_main("trims", tests, sizeof(tests) / sizeof(*tests));
}
