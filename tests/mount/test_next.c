/* SPDX-License-Identifier: MIT
 *
 * The next number: a file made under it becomes that record or nothing; and the header that was staged for it.
 */
#include "files.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define CREATE (O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC)

static int create(const struct mnt *m, const char *name, int flags)
{
	return open(mp(m, "s/%s", name), flags, 0666);
}

static void put_text(int fd, const char *text)
{
	assert_int_equal(must(write(fd, text, strlen(text))), strlen(text));
}

static void becomes_the_record(void **state)
{
	struct mnt *m = *state;
	struct stat st;
	char **names;
	int fd;

	make_stream(m, "s");
	fd = (int)must(create(m, "0000000001", CREATE));
	assert_absent(mp(m, "s/1"));
	put_text(fd, "one ");
	put_text(fd, "record");
	must(fstat(fd, &st));
	assert_int_equal(st.st_mode, S_IFREG | 0644);
	assert_int_equal(st.st_size, 0);
	/* It is nobody's to see, not even its creator's. */
	assert_absent(mp(m, "s/1"));
	assert_absent(mp(m, "s/0000000001"));
	assert_absent(mp(m, "s/1.hdr"));
	assert_no_records(m, "s");
	names = names_of(mp(m, "s"), NULL);
	assert_false(names_have(names, "0000000001"));
	names_free(names);
	must(close(fd));
	assert_texts(m, "s", "one record");

	/* Any padding; O_EXCL or not. */
	put(mp(m, "s/2"), O_WRONLY | O_CREAT, BYTES("2"));
	put(mp(m, "s/03"), O_WRONLY | O_CREAT | O_TRUNC, BYTES("3"));
	put(mp(m, "s/00000000000000000004"), CREATE | O_APPEND, BYTES("4"));
	put(mp(m, "s/5"), O_RDWR | O_CREAT, BYTES("5"));
	append(m, "s", "6");
	put(mp(m, "s/7"), CREATE, BYTES("7"));
	mnt_restart(m, NULL);
	put(mp(m, "s/8"), CREATE, BYTES("8"));
	assert_texts(m, "s", "one record", "2", "3", "4", "5", "6", "7", "8");
}

static void other_names(void **state)
{
	static const char *const never[] = {
		"x", "0", "00", "1x", "1.msg2", "append.txt", ".hidden", "s", "1.hdr.hdr"
	};
	struct mnt *m = *state;

	make_stream(m, "s");
	append(m, "s", "1");
	append(m, "s", "2");
	append(m, "s", "3");
	must(unlink(mp(m, "s/1")));
	for (unsigned i = 0; i < 2; i++) {
		int flags = i ? CREATE : CREATE & ~O_EXCL;

		assert_errno(create(m, "5", flags), EINVAL);
		assert_errno(create(m, "0000000100", flags), EINVAL);
		assert_errno(create(m, "5.hdr", flags), EINVAL);
		assert_errno(create(m, "3", flags), i ? EEXIST : EPERM);
		assert_errno(create(m, "0000000003", flags), i ? EEXIST : EPERM);
		assert_errno(create(m, "3.hdr", flags), i ? EEXIST : EPERM);
		/* A number that has gone is used all the same. */
		assert_errno(create(m, "1", flags), i ? EEXIST : EPERM);
		for (unsigned n = 0; n < sizeof(never) / sizeof(*never); n++)
			assert_errno(create(m, never[n], flags), EPERM);
	}
	assert_errno(mknod(mp(m, "s/4"), S_IFREG | 0644, 0), EPERM);
	assert_errno(mknod(mp(m, "s/4"), S_IFIFO | 0644, 0), EPERM);
	assert_errno(mkdir(mp(m, "s/4"), 0755), EPERM);
	assert_errno(symlink("3", mp(m, "s/4")), EPERM);
	assert_errno(link(mp(m, "s/3"), mp(m, "s/4")), EPERM);
	assert_errno(rename(mp(m, "s/3"), mp(m, "s/4")), EPERM);
	assert_errno(open(mp(m, ".walfs/1"), CREATE, 0666), EPERM);
	assert_errno(open(mp(m, "1"), CREATE, 0666), EPERM);
	assert_int_equal(last_seq(m, "s"), 3);
}

/* An open that wrote nothing makes no record, and the number is free at once for whoever comes next, though the kernel
 * tells of the last close some time later. */
static void empty_creations(void **state)
{
	struct mnt *m = *state;
	int fd;

	make_stream(m, "s");
	for (unsigned i = 0; i < 300; i++) {
		fd = (int)must(create(m, "1", CREATE));
		must(close(fd));
	}
	for (unsigned i = 0; i < 50; i++) {
		pid_t pid = run_fork();

		if (pid == 0)
			_exit(create(m, "1", CREATE) < 0);
		assert_int_equal(run_reap(pid, 20), 0);
	}
	must(close((int)must(open(mp(m, "s/1"), O_RDONLY | O_CREAT, 0666))));
	assert_no_records(m, "s");
	put(mp(m, "s/1"), CREATE, BYTES("x"));
	assert_texts(m, "s", "x");
}

/* The same while many RELEASEs are under way that take long; and who asks then sees what they commit. */
static void late_releases(void **state)
{
	enum { FILES = 60, LEN = 2 << 20 };
	struct mnt *m = *state;
	char *big = malloc(LEN);
	int fds[FILES], hold[2];
	char c;

	assert_non_null(big);
	memset(big, 'x', LEN);
	make_stream(m, "s");
	make_stream(m, "slow");
	must(pipe(hold));
	for (unsigned i = 0; i < FILES; i++)
		fds[i] = (int)must(open(mp(m, "slow/append"), O_WRONLY));
	pid_t pid = run_fork();
	if (pid == 0) { /* not the opener, so what it leaves is committed in RELEASEs */
		for (unsigned i = 0; i < FILES; i++)
			if (write(fds[i], big, LEN) != LEN)
				_exit(1);
		_exit(write(hold[1], "x", 1) != 1);
	}
	for (unsigned i = 0; i < FILES; i++)
		must(close(fds[i]));
	assert_int_equal(must(read(hold[0], &c, 1)), 1);
	assert_int_equal(run_reap(pid, 60), 0);
	assert_int_equal(last_seq(m, "slow"), FILES);
	for (unsigned i = 0; i < 100; i++)
		must(close((int)must(create(m, "1", CREATE))));
	put(mp(m, "s/1"), CREATE, BYTES("x"));
	assert_texts(m, "s", "x");
	assert_int_equal(last_seq(m, "slow"), FILES);
	must(close(hold[0]));
	must(close(hold[1]));
	free(big);
}

/* Who asks after a RELEASE that takes long sees what it commits, though shorter ones that came later overtake it. */
static void overtaken_release(void **state)
{
	enum { FILES = 300, LEN = 96 << 20 };
	struct mnt *m = *state;
	char *big = malloc(LEN);
	int fds[FILES], large, hold[2];
	struct stat st;
	char c;

	assert_non_null(big);
	memset(big, 'x', LEN);
	make_stream(m, "s");
	must(pipe(hold));
	large = (int)must(open(mp(m, "s/append"), O_WRONLY));
	for (unsigned i = 0; i < FILES; i++)
		fds[i] = (int)must(open(mp(m, "s/append"), O_WRONLY));
	pid_t pid = run_fork();
	if (pid == 0) { /* not the opener, so what it closes is committed in RELEASEs */
		write_all(large, big, LEN);
		must(close(large));
		must(write(hold[1], "x", 1));
		for (unsigned i = 0; i < FILES; i++)
			if (write(fds[i], "x", 1) != 1 || close(fds[i]) != 0)
				_exit(1);
		_exit(0);
	}
	must(close(large));
	for (unsigned i = 0; i < FILES; i++)
		must(close(fds[i]));
	assert_int_equal(must(read(hold[0], &c, 1)), 1);

	uint64_t seen = last_seq(m, "s"), seq = 1;

	assert_int_equal(run_reap(pid, 60), 0);
	assert_int_equal(last_seq(m, "s"), FILES + 1);
	for (; must(stat(mp(m, "s/%llu", (unsigned long long)seq), &st)) == 0 && st.st_size != LEN; seq++)
		;
	if (seen < seq)
		fail_msg("the newest was %llu while %llu was under way", (unsigned long long)seen,
			 (unsigned long long)seq);
	must(close(hold[0]));
	must(close(hold[1]));
	free(big);
}

/* While one has it open another gets EEXIST, with or without O_EXCL, but appends go on. */
static void one_creator(void **state)
{
	struct mnt *m = *state;
	int fd, copy;

	make_stream(m, "s");
	fd = (int)must(create(m, "1", CREATE));
	assert_errno(create(m, "1", CREATE), EEXIST);
	assert_errno(create(m, "0001", CREATE & ~O_EXCL), EEXIST);
	assert_int_equal(sh(m, "! (set -C; echo x > s/1) 2>$T/err && grep -q exists $T/err"), 0);
	copy = (int)must(dup(fd));
	must(close(fd));
	assert_errno(create(m, "1", CREATE), EEXIST); /* still open */
	put_text(copy, "first");
	assert_errno(create(m, "1", CREATE), EEXIST);
	must(close(copy));
	assert_texts(m, "s", "first");

	/* A child has it still, when its parent has closed it without a byte. */
	int hold[2];

	must(pipe(hold));
	fd = (int)must(create(m, "2", CREATE));
	pid_t pid = run_fork();
	if (pid == 0) {
		char c;

		_exit(close(hold[1]) == 0 && read(hold[0], &c, 1) == 1 && write(fd, "child", 5) == 5 ? 0 : 1);
	}
	must(close(fd));
	assert_errno(create(m, "2", CREATE), EEXIST);
	assert_int_equal(write(hold[1], "x", 1), 1);
	assert_int_equal(run_reap(pid, 20), 0);
	/* What it wrote is committed at the last close of all: until then nobody else can have the number. */
	wait_record(m, "s", 2);
	assert_errno(create(m, "2", CREATE), EEXIST);
	must(close(hold[0]));
	must(close(hold[1]));

	fd = (int)must(create(m, "3", CREATE));
	append(m, "s", "taken");
	must(close((int)must(create(m, "4", CREATE)))); /* who waits for 3 is not in the way of 4 */
	must(close(fd));
	assert_texts(m, "s", "first", "child", "taken");
}

static void gone_at_write(void **state)
{
	static const int flags[] = { 0, O_APPEND, O_DIRECT, O_DSYNC };
	struct mnt *m = *state;
	char name[16];

	make_stream(m, "s");
	for (unsigned i = 0; i < 4; i++) {
		(void)snprintf(name, sizeof(name), "%u", i + 1);
		int fd = (int)must(create(m, name, CREATE | flags[i]));

		append(m, "s", "append");
		assert_errno(write(fd, "late", 4), ESTALE);
		assert_errno(write(fd, "late", 4), ESTALE);
		assert_errno(fsync(fd), ESTALE);
		(void)close(fd);
	}
	/* With bytes from before, which are dropped. */
	int fd = (int)must(create(m, "5", CREATE));

	put_text(fd, "early");
	append(m, "s", "append");
	assert_errno(write(fd, "late", 4), ESTALE);
	assert_errno(close(fd), ESTALE);
	assert_texts(m, "s", "append", "append", "append", "append", "append");
	assert_int_equal(sh(m, "grep -q '^pending_memory_bytes *0$' .walfs/stats"), 0);
}

static void gone_at_close(void **state)
{
	struct mnt *m = *state;
	int fd;

	make_stream(m, "s");
	fd = (int)must(create(m, "1", CREATE));
	put_text(fd, "mine");
	append(m, "s", "theirs");
	assert_errno(close(fd), ESTALE);
	fd = (int)must(create(m, "2", CREATE));
	put_text(fd, "mine");
	append(m, "s", "theirs");
	assert_errno(fsync(fd), ESTALE);
	must(close(fd)); /* there is nothing left to fail */
	/* A large one, in a draft. */
	char *big = malloc(3 << 20);

	assert_non_null(big);
	memset(big, 'x', 3 << 20);
	fd = (int)must(create(m, "3", CREATE));
	write_all(fd, big, 3 << 20);
	append(m, "s", "theirs");
	assert_errno(close(fd), ESTALE);
	fd = (int)must(create(m, "4", CREATE));
	write_all(fd, big, 3 << 20);
	must(close(fd));
	assert_file(mp(m, "s/4"), (struct bytes){ big, 3 << 20 });
	free(big);
	mnt_restart(m, NULL);
	assert_int_equal(last_seq(m, "s"), 4);
	for (unsigned i = 1; i <= 3; i++)
		assert_file(mp(m, "s/%u", i), BYTES("theirs"));
}

/* fsync, a packet: committed within the call; what comes then has no number any more. */
static void commits_once(void **state)
{
	struct mnt *m = *state;
	int fd;

	make_stream(m, "s");
	fd = (int)must(create(m, "1", CREATE));
	put_text(fd, "by fsync");
	must(fsync(fd));
	assert_texts(m, "s", "by fsync");
	assert_errno(write(fd, "more", 4), ESTALE);
	assert_errno(close(fd), ESTALE);
	fd = (int)must(create(m, "2", CREATE | O_DIRECT));
	put_text(fd, "packet");
	assert_texts(m, "s", "by fsync", "packet");
	assert_errno(write(fd, "more", 4), ESTALE);
	(void)close(fd);
	fd = (int)must(create(m, "3", CREATE | O_DSYNC));
	put_text(fd, "durable");
	must(close(fd));
	assert_texts(m, "s", "by fsync", "packet", "durable");
}

static void killed_creators(void **state)
{
	static const int signals[] = { SIGKILL, SIGINT, SIGTERM, SIGPIPE, SIGHUP };
	struct mnt *m = *state;

	make_stream(m, "s");
	for (unsigned i = 0; i < 5; i++) {
		pid_t pid = run_fork();

		if (pid == 0) {
			int fd = create(m, "1", CREATE);

			if (write(fd, "half", 4) == 4)
				(void)raise(signals[i]);
			_exit(1);
		}
		assert_int_equal(run_reap(pid, 20), 128 + signals[i]);
		assert_no_records(m, "s");
	}
	put(mp(m, "s/1"), CREATE, BYTES("whole"));
	assert_texts(m, "s", "whole");
}

/* ---- N.hdr --------------------------------------------------------------------------------------------- */

static void staged_header(void **state)
{
	struct mnt *m = *state;
	struct stat st;
	int fd;

	make_stream(m, "s");
	assert_absent(mp(m, "s/1.hdr"));
	put(mp(m, "s/1.hdr"), O_WRONLY | O_CREAT | O_TRUNC, BYTES("first\n"));
	assert_file(mp(m, "s/1.hdr"), BYTES("first\n"));
	assert_file(mp(m, "s/0000000001.hdr"), BYTES("first\n"));
	must(stat(mp(m, "s/1.hdr"), &st));
	assert_int_equal(st.st_size, 6);
	assert_int_equal(st.st_mode, S_IFREG | 0644);
	assert_file(mp(m, "s/append.hdr"), BYTES(""));
	put(mp(m, "s/1.hdr"), O_WRONLY | O_APPEND, BYTES("more\n"));
	put(mp(m, "s/1"), CREATE, BYTES("one"));
	assert_file(mp(m, "s/1.hdr"), BYTES("first\nmore\n"));

	/* It is for the record that is made by its number, and append.hdr for the other. */
	put(mp(m, "s/2.hdr"), O_WRONLY | O_CREAT, BYTES("number"));
	put(mp(m, "s/append.hdr"), O_WRONLY, BYTES("append"));
	append(m, "s", "two");
	assert_file(mp(m, "s/2.hdr"), BYTES("append"));
	put(mp(m, "s/3"), CREATE, BYTES("three"));
	assert_file(mp(m, "s/3.hdr"), BYTES("")); /* that was for 2 */
	put(mp(m, "s/4.hdr"), O_WRONLY | O_CREAT, BYTES("number"));
	put(mp(m, "s/4"), CREATE, BYTES("four"));
	assert_file(mp(m, "s/4.hdr"), BYTES("number"));

	/* Emptied, or removed: there is none. One that was staged after the open is for nobody. */
	put(mp(m, "s/5.hdr"), O_WRONLY | O_CREAT, BYTES("x"));
	must(truncate(mp(m, "s/5.hdr"), 0));
	assert_absent(mp(m, "s/5.hdr"));
	put(mp(m, "s/5.hdr"), O_WRONLY | O_CREAT, BYTES("x"));
	must(unlink(mp(m, "s/5.hdr")));
	assert_absent(mp(m, "s/5.hdr"));
	fd = (int)must(create(m, "5", CREATE));
	put(mp(m, "s/5.hdr"), O_WRONLY | O_CREAT, BYTES("late"));
	put_text(fd, "five");
	must(close(fd));
	assert_file(mp(m, "s/5.hdr"), BYTES(""));

	/* Dropped with a record that is not committed. */
	put(mp(m, "s/6.hdr"), O_WRONLY | O_CREAT, BYTES("x"));
	fd = (int)must(create(m, "6", CREATE));
	put_text(fd, "mine");
	assert_absent(mp(m, "s/6.hdr")); /* taken */
	append(m, "s", "theirs");
	assert_errno(close(fd), ESTALE);
	assert_file(mp(m, "s/6.hdr"), BYTES(""));
	put(mp(m, "s/7"), CREATE, BYTES("seven"));
	assert_file(mp(m, "s/7.hdr"), BYTES(""));

	/* Too long; and too late. */
	static char big[65536];

	fd = (int)must(create(m, "8.hdr", CREATE & ~O_EXCL));
	assert_errno(write(fd, big, sizeof(big)), E2BIG);
	append(m, "s", "eight");
	assert_errno(write(fd, "x", 1), ESTALE);
	(void)close(fd);
	assert_file(mp(m, "s/8.hdr"), BYTES(""));
}

/* ---- users ----------------------------------------------------------------------------------------------- */

static int as_user(struct mnt *m, uid_t uid, const char *script)
{
	struct run r = {
		.argv = (const char *const[]){ "sh", "-c", script, NULL }, .dir = m->at, .uid = uid, .gid = uid
	};
	int code;

	run_cmd(&r);
	code = r.code;
	if (code != 0)
		tap_note("%s: %s", script, r.err);
	run_free(&r);
	return code;
}

/* Who may write append may create, and nobody else: both have the directory's mode. Headers are per user. */
static void users(void **state)
{
	struct mnt *m = *state;

	if (geteuid() != 0)
		skip_because("only root can act for other users");
	mnt_start(m, "allow_other");
	make_stream(m, "s");
	must(chmod(mp(m, "s"), 0777));
	must(chown(mp(m, "s"), 1001, 1001));
	assert_int_equal(
		as_user(m, 1002, "echo two > s/1.hdr && ! cat s/2.hdr 2>/dev/null && test \"$(cat s/1.hdr)\" = two"),
		0);
	assert_int_equal(
		as_user(m, 1001, "! cat s/1.hdr 2>/dev/null && (set -C; echo 1001 > s/1) && echo 1001 >> s/append"), 0);
	assert_file(mp(m, "s/1.hdr"), BYTES(""));
	assert_file(mp(m, "s/1"), BYTES("1001\n"));
	assert_int_equal(as_user(m, 1002, "echo two > s/3.hdr && (set -C; echo 1002 > s/3)"), 0);
	assert_file(mp(m, "s/3.hdr"), BYTES("two\n"));
	must(chmod(mp(m, "s"), 0755));
	assert_int_equal(
		as_user(m, 1002,
			"! echo x 2>/dev/null >> s/append && ! (echo x > s/4) 2>/dev/null && ! (echo x > s/4.hdr) 2>/dev/null"),
		0);
	assert_int_equal(as_user(m, 1001, "echo owner > s/4.hdr && (set -C; echo x > s/4)"), 0);
	must(chmod(mp(m, "s"), 0733)); /* may append, may not list */
	assert_int_equal(as_user(m, 1002, "(set -C; echo x > s/5) && echo y >> s/append && ! cat s/5 2>/dev/null"), 0);
	assert_int_equal(last_seq(m, "s"), 6);
}

/* ---- tools ----------------------------------------------------------------------------------------------- */

static void tools(void **state)
{
	struct mnt *m = *state;

	make_file(tp(m, "src"), 300000, 1);
	make_stream(m, "s");
	assert_int_equal(sh(m,
			    "cp $T/src s/1 && cp -p $T/src s/2 && cp -a $T/src s/3 && cp $T/src $T/m && mv $T/m s/4 &&"
			    "cat $T/src > s/5 && dd if=$T/src of=s/6 bs=1000 status=none && tee s/7 < $T/src >/dev/null"
			    "&& for i in 1 2 3 4 5 6 7; do cmp $T/src s/$i || exit 1; done"),
			 0);
	/* install sets the mode by name afterwards, of what is a record by then. */
	assert_int_equal(sh(m, "install $T/src s/8 2>$T/err; cmp $T/src s/8 && grep -q 'not permitted' $T/err"), 0);
	assert_int_equal(sh(m, "touch s/9 && test ! -e s/9 && test \"$(readlink s/last)\" = 0000000008"), 0);
	assert_int_equal(
		sh(m, "! echo x 2>/dev/null > s/8 && ! cp $T/src s/8 2>/dev/null && ! mv $T/src s/8 2>/dev/null"), 0);
	assert_int_equal(last_seq(m, "s"), 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MNT_TEST(becomes_the_record),
		MNT_TEST(other_names),
		MNT_TEST(empty_creations),
		MNT_TEST(late_releases),
		MNT_TEST(overtaken_release),
		MNT_TEST(one_creator),
		MNT_TEST(gone_at_write),
		MNT_TEST(gone_at_close),
		MNT_TEST_RELAXED(gone_at_close),
		MNT_TEST(commits_once),
		MNT_TEST(killed_creators),
		MNT_TEST(staged_header),
		MNT_TEST_BARE(users),
		MNT_TEST(tools),
	};

	return mnt_main("next", tests, sizeof(tests) / sizeof(*tests));
}
