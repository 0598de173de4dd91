/* SPDX-License-Identifier: MIT
 *
 * Headers: staged in append.hdr, taken by the next record, read back from N.hdr.
 */
#include "files.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define HDR "s/append.hdr"

static void stage(const struct mnt *m, const char *text)
{
	put(mp(m, HDR), O_WRONLY | O_TRUNC, (struct bytes){ text, strlen(text) });
}

static void assert_hdr(const struct mnt *m, unsigned seq, const char *want)
{
	size_t n = strlen(want);
	struct stat st;
	char name[32];
	char **names;

	assert_file(mp(m, "s/%u.hdr", seq), (struct bytes){ want, n });
	must(stat(mp(m, "s/%u.hdr", seq), &st));
	assert_int_equal(st.st_size, n);
	(void)snprintf(name, sizeof(name), "%010u.hdr", seq);
	assert_file(mp(m, "s/%s", name), (struct bytes){ want, n });
	names = names_of(mp(m, "s"), NULL);
	if (names_have(names, name) != (n > 0))
		fail_msg("%s is %slisted", name, n ? "not " : "");
	names_free(names);
}

static void staged_and_taken(void **state)
{
	struct mnt *m = *state;

	make_stream(m, "s");
	assert_file(mp(m, HDR), BYTES(""));
	stage(m, "type=paid\n");
	assert_file(mp(m, HDR), BYTES("type=paid\n"));
	append(m, "s", "a");
	assert_file(mp(m, HDR), BYTES(""));
	append(m, "s", "b");
	stage(m, "first");
	stage(m, "second");
	append(m, "s", "c");
	assert_texts(m, "s", "a", "b", "c");
	for (int i = 0; i < 2; i++) {
		assert_hdr(m, 1, "type=paid\n");
		assert_hdr(m, 2, "");
		assert_hdr(m, 3, "second");
		assert_absent(mp(m, "s/4.hdr"));
		mnt_restart(m, NULL);
	}
}

static void from_a_shell(void **state)
{
	struct mnt *m = *state;

	make_stream(m, "s");
	assert_int_equal(sh(m, "cd s; echo '{\"type\":\"paid\"}' > append.hdr; echo '{\"total\":42}' >> append"), 0);
	assert_int_equal(
		sh(m,
		   "cd s; printf 'a\\nb\\n' >> append.hdr; cat append.hdr | grep -c . | grep -qx 2; echo x >> append"),
		0);
	assert_int_equal(sh(m, "cd s; { echo c; /bin/echo d; } > append.hdr; sleep 0; cp $M/s/1 append"), 0);
	assert_int_equal(
		sh(m, "cd s; head -c 1000 /dev/zero | tee append.hdr > /dev/null; dd if=1 of=append status=none"), 0);
	assert_hdr(m, 1, "{\"type\":\"paid\"}\n");
	assert_hdr(m, 2, "a\nb\n");
	assert_hdr(m, 3, "c\nd\n");
	assert_file(mp(m, "s/4.hdr"), (struct bytes){ (char[1000]){ 0 }, 1000 });
	assert_texts(m, "s", "{\"total\":42}\n", "x\n", "{\"total\":42}\n", "{\"total\":42}\n");
}

/* Only an append that was opened after the header was staged takes it. */
static void opened_before(void **state)
{
	struct mnt *m = *state;
	int fd;

	make_stream(m, "s");
	fd = (int)must(open(mp(m, "s/append"), O_WRONLY));
	stage(m, "h");
	write_all(fd, "old", 3);
	must(close(fd));
	assert_hdr(m, 1, "");
	assert_file(mp(m, HDR), BYTES("h"));
	append(m, "s", "new");
	assert_hdr(m, 2, "h");
}

/* The first write takes it, not the open: of two that were opened the one that writes first. */
static void taken_by_the_first_write(void **state)
{
	struct mnt *m = *state;
	int a, b;

	make_stream(m, "s");
	stage(m, "h");
	a = (int)must(open(mp(m, "s/append"), O_WRONLY));
	b = (int)must(open(mp(m, "s/append"), O_WRONLY));
	must(close((int)must(open(mp(m, "s/append"), O_WRONLY)))); /* writes nothing, takes nothing */
	write_all(b, "b", 1);
	write_all(a, "a", 1);
	must(close(a));
	must(close(b));
	assert_texts(m, "s", "a", "b");
	assert_hdr(m, 1, "");
	assert_hdr(m, 2, "h");
}

/* A header is for one record, also where one open makes several. */
static void one_record_only(void **state)
{
	struct mnt *m = *state;
	int fd;

	make_stream(m, "s");
	stage(m, "h1");
	fd = (int)must(open(mp(m, "s/append"), O_WRONLY));
	write_all(fd, "a", 1);
	must(fsync(fd));
	write_all(fd, "b", 1);
	must(close(fd));
	stage(m, "h3");
	fd = (int)must(open(mp(m, "s/append"), O_WRONLY | O_DIRECT));
	write_all(fd, "c", 1);
	write_all(fd, "d", 1);
	must(close(fd));
	stage(m, "h5");
	fd = (int)must(open(mp(m, "s/append"), O_WRONLY | O_DSYNC | O_APPEND));
	write_all(fd, "e", 1);
	must(close(fd));
	assert_texts(m, "s", "a", "b", "c", "d", "e");
	assert_hdr(m, 1, "h1");
	assert_hdr(m, 2, "");
	assert_hdr(m, 3, "h3");
	assert_hdr(m, 4, "");
	assert_hdr(m, 5, "h5");
}

static void cleared(void **state)
{
	static const char *const ways[] = {
		": > append.hdr",
		"truncate -s 0 append.hdr",
		"cp /dev/null append.hdr",
		"> append.hdr",
	};
	struct mnt *m = *state;

	make_stream(m, "s");
	for (unsigned i = 0; i < 4; i++) {
		stage(m, "h");
		assert_int_equal(sh(m, "cd s; %s", ways[i]), 0);
		assert_file(mp(m, HDR), BYTES(""));
		append(m, "s", "x");
		assert_hdr(m, i + 1, "");
	}
	/* Emptying it does not take a header from a record that has it already. */
	stage(m, "kept");
	append(m, "s", "x");
	stage(m, "");
	assert_hdr(m, 5, "kept");
	stage(m, "gone with a restart");
	mnt_restart(m, NULL);
	assert_file(mp(m, HDR), BYTES(""));
	append(m, "s", "x");
	assert_hdr(m, 6, "");
}

/* One that is staged in vain: its record was not committed. */
static void dropped_with_its_record(void **state)
{
	struct mnt *m = *state;
	int fd;
	pid_t pid;

	make_stream(m, "s");
	stage(m, "h");
	pid = run_fork();
	if (pid == 0) {
		fd = open(mp(m, "s/append"), O_WRONLY);
		if (write(fd, "torn", 4) == 4)
			(void)raise(SIGKILL);
		_exit(1);
	}
	assert_int_equal(run_reap(pid, 20), 128 + SIGKILL);
	append(m, "s", "whole");
	assert_texts(m, "s", "whole");
	assert_hdr(m, 1, "");
}

static void sizes(void **state)
{
	struct mnt *m = *state;
	char *big = malloc(65537);
	int fd;

	assert_non_null(big);
	fill_bytes(big, 65537, 9, 0);
	make_stream(m, "s");
	put(mp(m, HDR), O_WRONLY | O_TRUNC, (struct bytes){ big, 65535 });
	assert_file(mp(m, HDR), (struct bytes){ big, 65535 });
	append(m, "s", "a");
	assert_file(mp(m, "s/1.hdr"), (struct bytes){ big, 65535 });
	/* Too large at once, and too large bit by bit. */
	fd = (int)must(open(mp(m, HDR), O_WRONLY | O_TRUNC));
	assert_errno(write(fd, big, 65536), E2BIG);
	(void)close(fd);
	assert_file(mp(m, HDR), BYTES(""));
	append(m, "s", "b");
	assert_hdr(m, 2, "");
	fd = (int)must(open(mp(m, HDR), O_WRONLY | O_TRUNC));
	assert_int_equal(must(write(fd, big, 65535)), 65535);
	assert_errno(write(fd, big, 1), E2BIG);
	(void)close(fd);
	assert_int_not_equal(sh(m, "head -c 70000 /dev/zero > s/append.hdr 2>/dev/null"), 0);
	stage(m, "");
	/* A header and a content that are both large; and one of a single byte. */
	put(mp(m, HDR), O_WRONLY | O_TRUNC, (struct bytes){ big, 65535 });
	put(mp(m, "s/append"), O_WRONLY, (struct bytes){ big, 65537 });
	stage(m, "x");
	append(m, "s", "c");
	mnt_restart(m, NULL);
	assert_file(mp(m, "s/3.hdr"), (struct bytes){ big, 65535 });
	assert_file(mp(m, "s/3"), (struct bytes){ big, 65537 });
	assert_hdr(m, 4, "x");
	free(big);
}

/* One header for each stream: what is staged for one is not for another. */
static void per_stream(void **state)
{
	struct mnt *m = *state;

	make_stream(m, "s");
	make_stream(m, "t");
	stage(m, "for s");
	append(m, "t", "t1");
	assert_file(mp(m, "t/1.hdr"), BYTES(""));
	append(m, "s", "s1");
	assert_hdr(m, 1, "for s");
}

static int as_user(struct mnt *m, uid_t uid, const char *script)
{
	struct run r = {
		.argv = (const char *const[]){ "sh", "-c", script, NULL }, .dir = m->at, .uid = uid, .gid = uid
	};
	int code;

	run_cmd(&r);
	code = r.code;
	if (r.err_len)
		tap_note("%s: %s", script, r.err);
	run_free(&r);
	return code;
}

static void per_user(void **state)
{
	struct mnt *m = *state;

	if (geteuid() != 0)
		skip_because("only root can act for other users");
	mnt_start(m, "allow_other");
	make_stream(m, "s");
	must(chmod(mp(m, "s"), 0777));
	assert_int_equal(as_user(m, 1001, "echo one > s/append.hdr"), 0);
	assert_int_equal(as_user(m, 1002, "test -z \"$(cat s/append.hdr)\" && echo two > s/append.hdr"), 0);
	assert_file(mp(m, HDR), BYTES(""));
	append(m, "s", "root");
	assert_int_equal(as_user(m, 1002, "test \"$(cat s/append.hdr)\" = two && echo b >> s/append"), 0);
	assert_int_equal(as_user(m, 1001, "test \"$(cat s/append.hdr)\" = one && echo a >> s/append"), 0);
	assert_texts(m, "s", "root", "b\n", "a\n");
	assert_hdr(m, 1, "");
	assert_hdr(m, 2, "two\n");
	assert_hdr(m, 3, "one\n");
}

static void sidecars_are_read_only(void **state)
{
	struct mnt *m = *state;

	make_stream(m, "s");
	stage(m, "h");
	append(m, "s", "a");
	append(m, "s", "b");
	assert_errno(open(mp(m, "s/1.hdr"), O_WRONLY), EPERM);
	assert_errno(open(mp(m, "s/2.hdr"), O_RDWR), EPERM);
	assert_errno(truncate(mp(m, "s/1.hdr"), 0), EPERM);
	assert_errno(rename(mp(m, "s/1.hdr"), mp(m, "s/2.hdr")), EPERM);
	assert_errno(link(mp(m, "s/1.hdr"), mp(m, "s/x")), EPERM);
	assert_hdr(m, 1, "h");
	must(unlink(mp(m, "s/1.hdr")));
	assert_hdr(m, 1, "h");
	assert_absent(mp(m, "s/x.hdr"));
	assert_absent(mp(m, "s/0.hdr"));
	assert_absent(mp(m, "s/first.hdr"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MNT_TEST(staged_and_taken),
		MNT_TEST(from_a_shell),
		MNT_TEST(opened_before),
		MNT_TEST(taken_by_the_first_write),
		MNT_TEST(one_record_only),
		MNT_TEST(cleared),
		MNT_TEST(dropped_with_its_record),
		MNT_TEST(sizes),
		MNT_TEST(per_stream),
		MNT_TEST_BARE(per_user),
		MNT_TEST(sidecars_are_read_only),
	};

	return mnt_main("headers", tests, sizeof(tests) / sizeof(*tests));
}
