/* SPDX-License-Identifier: MIT
 *
 * at/TIME: the first record at or after a time, in all spellings; TIME.follow; and times that have none.
 */
#include "follower.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* Commit time of a record, in nanoseconds. */
static int64_t time_of(const struct mnt *m, unsigned seq)
{
	struct stat st;

	must(stat(mp(m, "s/%u", seq), &st));
	return (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
}

static void assert_target(const struct mnt *m, const char *name, const char *want)
{
	char target[300];
	struct stat st;
	long n = must(readlink(mp(m, "s/at/%s", name), target, sizeof(target) - 1));

	target[n] = '\0';
	if (strcmp(target, want) != 0)
		fail_msg("at/%s leads to %s, not %s", name, target, want);
	must(lstat(mp(m, "s/at/%s", name), &st));
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(st.st_size, n);
}

/* The record that at/@TIME leads to; 0 for none. */
static unsigned long at(const struct mnt *m, int64_t ns)
{
	char target[300];
	const char *path = mp(m, "s/at/@%" PRId64 ".%09" PRId64, ns / 1000000000, ns % 1000000000);
	ssize_t n = readlink(path, target, sizeof(target) - 1);

	if (n < 0) {
		assert_int_equal(errno, ENOENT);
		return 0;
	}
	target[n] = '\0';
	assert_true(strncmp(target, "../", 3) == 0 && n == 13);
	return strtoul(target + 3, NULL, 10);
}

/* A stream of n records, no two of which have the same time. */
static void make_times(const struct mnt *m, unsigned n)
{
	make_stream(m, "s");
	for (unsigned i = 1; i <= n; i++) {
		char text[32];

		(void)snprintf(text, sizeof(text), "record %u\n", i);
		append(m, "s", text);
		assert_true(i == 1 || time_of(m, i) > time_of(m, i - 1));
	}
}

static void the_first_at_or_after(void **state)
{
	enum { RECORDS = 200 };
	struct mnt *m = *state;

	make_times(m, RECORDS);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 1; i <= RECORDS; i++) {
			int64_t ns = time_of(m, i);

			assert_int_equal(at(m, ns), i);
			assert_int_equal(at(m, ns - 1), i);
			assert_int_equal(at(m, ns + 1), i < RECORDS ? i + 1 : 0);
		}
		assert_int_equal(at(m, 0), 1);
		mnt_restart(m, NULL);
	}
	for (unsigned i = 1; i < 50; i++)
		must(unlink(mp(m, "s/%u", i)));
	assert_int_equal(at(m, 0), 50);
	assert_file(mp(m, "s/at/@0"), BYTES("record 50\n"));
	assert_int_equal(at(m, time_of(m, 60)), 60);
}

static void spellings(void **state)
{
	static const char *const zones[] = { "UTC", "Asia/Kolkata", "America/New_York", "UTC+11" };
	struct mnt *m = *state;
	char name[64];

	make_times(m, 3);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(
			sh(m,
			   "export TZ=%s; for n in 1 2 3; do "
			   "for f in '+%%Y-%%m-%%dT%%H:%%M:%%S.%%N%%:z' '+%%Y-%%m-%%d %%H:%%M:%%S.%%N%%:z' @%%s.%%N; do "
			   "test \"$(readlink \"s/at/$(date -r s/$n \"+${f#+}\")\")\" = ../000000000$n || exit 1; "
			   "done; done",
			   zones[i]),
			0);
	}
	assert_target(m, "1970-01-01T00:00:00Z", "../0000000001");
	assert_target(m, "1969-12-31t23:59:60z", "../0000000001");
	assert_target(m, "0001-01-01 00:00:00+14:00", "../0000000001");
	assert_target(m, "@-5", "../0000000001");
	assert_target(m, "@-99999999999999999999.5", "../0000000001");
	assert_target(m, "@0.5", "../0000000001");
	(void)snprintf(name, sizeof(name), "@%" PRId64, time_of(m, 3) / 1000000000 + 3600);
	assert_absent(mp(m, "s/at/%s", name)); /* in an hour */
	assert_absent(mp(m, "s/at/9999-12-31T23:59:59Z"));
	assert_absent(mp(m, "s/at/@99999999999999999999999"));
	assert_file(mp(m, "s/at/@0"), BYTES("record 1\n"));
	assert_int_equal(sh(m, "cp s/at/@0 $T/x && test \"$(cat $T/x)\" = 'record 1'"), 0);
}

static void not_times(void **state)
{
	static const char *const names[] = {
		"x",      "yesterday", "@",     "1", "0000000001", "2026-11-23", "2026-02-30T00:00:00Z",
		"follow", "x.follow",  "@1.5.5"
	};
	static const char *const hidden[] = { ".git", ".follow", ".hidden" };
	struct mnt *m = *state;
	struct stat st;

	make_times(m, 1);
	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++)
		assert_errno(lstat(mp(m, "s/at/%s", names[i]), &st), EINVAL);
	for (unsigned i = 0; i < 3; i++)
		assert_absent(mp(m, "s/at/%s", hidden[i]));
	assert_int_equal(sh(m, "test ! -e s/at/x"), 0);
}

static void the_directory(void **state)
{
	struct mnt *m = *state;
	struct stat st, stream;
	char **names;
	size_t n;

	make_times(m, 2);
	must(stat(mp(m, "s/at"), &st));
	must(stat(mp(m, "s"), &stream));
	assert_true(S_ISDIR(st.st_mode));
	assert_int_equal(st.st_mode & 0777, stream.st_mode & 0555);
	assert_int_not_equal(st.st_ino, stream.st_ino);
	names = names_of(mp(m, "s/at"), &n);
	assert_int_equal(n, 0);
	names_free(names);
	names = names_of(mp(m, "s"), &n);
	assert_false(names_have(names, "at"));
	names_free(names);
	assert_errno(mkdir(mp(m, "s/at/@5"), 0777), EEXIST); /* there is a link of that name */
	assert_errno(mkdir(mp(m, "s/at/@99999999999"), 0777), EPERM);
	assert_errno(open(mp(m, "s/at/@99999999999"), O_WRONLY | O_CREAT, 0666), EPERM);
	assert_errno(unlink(mp(m, "s/at/@5")), EPERM);
	assert_errno(rename(mp(m, "s/at/@5"), mp(m, "s/at/@99999999999")), EPERM);
	assert_errno(rmdir(mp(m, "s/at")), EPERM);
	assert_errno(symlink("x", mp(m, "s/at/@99999999999")), EPERM);
	assert_int_equal(sh(m, "cd s/at && test \"$(cat @0)\" = 'record 1' && cd .. && test -e append"), 0);
	assert_int_equal(sh(m, "ls -la s/at > /dev/null && find s/at && grep -r x s/at; test $? = 1"), 0);
	make_stream(m, "empty");
	assert_absent(mp(m, "empty/at/@0"));
	assert_int_equal(sh(m, "rm -r s"), 0);
	assert_absent(mp(m, "s"));
}

static void follow_from(void **state)
{
	struct mnt *m = *state;
	char name[64];
	struct follower follower;

	make_times(m, 3);
	assert_target(m, "@0.follow", "../0000000001.follow");
	(void)snprintf(name, sizeof(name), "@%" PRId64 ".%09" PRId64 ".follow", time_of(m, 2) / 1000000000,
		       time_of(m, 2) % 1000000000);
	assert_target(m, name, "../0000000002.follow");
	follower = follower_start(m, "s/at/@0.follow");
	follower_gets(&follower, "record 1\nrecord 2\nrecord 3\n");
	append(m, "s", "record 4\n");
	follower_gets(&follower, "record 4\n");
	must(kill(follower.pid, SIGKILL));
	follower_ends(&follower, 128 + SIGKILL);
	/* Where there is no such record yet: from the next one on, which is not missed. */
	assert_target(m, "9999-12-31T23:59:59Z.follow", "../0000000005.follow");
	assert_int_equal(
		sh(m, "cd s; f=at/$(readlink \"at/@$(date -d 'tomorrow' +%%s).follow\"); echo record 5 >> append; "
		      "test \"$(head -c 9 $f)\" = 'record 5'"),
		0);
	make_stream(m, "empty");
	assert_int_equal(sh(m, "test \"$(readlink empty/at/@0.follow)\" = ../0000000001.follow"), 0);
	assert_int_equal(sh(m,
			    "echo x >> empty/append; head -c 45 \"s/at/@$(date -d 'yesterday 12:00' +%%s).follow\" | "
			    "tail -n 1 | grep -x 'record 5'"),
			 0);
}

/* Read one's own writes, and the clock of record and reader is the same. */
static void just_now(void **state)
{
	struct mnt *m = *state;

	make_stream(m, "s");
	for (unsigned i = 1; i <= 50; i++)
		assert_int_equal(sh(m,
				    "now=@$(date +%%s.%%N); echo %u | tee s/append > /dev/null; "
				    "test \"$(cat s/at/$now)\" = %u",
				    i, i),
				 0);
}

static double search_us(const struct mnt *m, const char *stream, unsigned long n)
{
	double best = 1e9;
	char target[300];

	for (unsigned i = 0; i < 200; i++) {
		struct stat st;
		double start;

		must(stat(mp(m, "%s/%lu", stream, 1 + i * 7919UL % n), &st));
		const char *path = mp(m, "%s/at/@%jd.%09ld", stream, (intmax_t)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);

		start = now_s();
		must(readlink(path, target, sizeof(target)));
		best = now_s() - start < best ? now_s() - start : best;
	}
	return best * 1e6;
}

/* It is a search: in a stream of 100,000 it takes little longer than in one of 100. */
static void long_streams(void **state)
{
	struct mnt *m = *state;
	double small, large;

	make_stream(m, "small");
	make_stream(m, "large");
	assert_int_equal(sh(m, "seq 100 | dd of=small/append.line bs=64k status=none && "
			       "seq 100000 | dd of=large/append.line bs=64k status=none"),
			 0);
	wait_record(m, "large", 100000);
	small = search_us(m, "small", 100);
	large = search_us(m, "large", 100000);
	tap_note("a search takes %.0f us in 100 records, %.0f us in 100,000", small, large);
	assert_true(large < 10 * small + 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MNT_TEST_RELAXED(the_first_at_or_after),
		MNT_TEST_RELAXED(spellings),
		MNT_TEST(not_times),
		MNT_TEST(the_directory),
		MNT_TEST(follow_from),
		MNT_TEST_RELAXED(just_now),
		MNT_TEST_RELAXED(long_streams),
	};

	return mnt_main("at", tests, sizeof(tests) / sizeof(*tests));
}
