/* SPDX-License-Identifier: MIT
 *
 * append.line: each line is a record, the lines of one write are committed together within it, and the line that no newline
 * has ended is kept for the next write or the close.
 */
#include "files.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (1 << 20)
#define LINE "s/append.line"

static int open_line(const struct mnt *m, int flags)
{
	return (int)must(open(mp(m, LINE), O_WRONLY | O_CLOEXEC | flags));
}

static void put_text(int fd, const char *text)
{
	assert_int_equal(must(write(fd, text, strlen(text))), strlen(text));
}

/* Sets max_record of s. */
static void limit_records(const struct mnt *m, const char *setting)
{
	char text[64];
	int len = snprintf(text, sizeof(text), "max_record=%s\n", setting);

	put(mp(m, "s/.config"), O_WRONLY, (struct bytes){ text, (size_t)len });
}

static void lines_are_records(void **state)
{
	struct mnt *m = *state;
	int fd;

	make_stream(m, "s");
	fd = open_line(m, O_APPEND);
	put_text(fd, "one\n");
	assert_texts(m, "s", "one\n"); /* with the file open: within the write */
	put_text(fd, "two\nthree\n\n\nsix\n");
	assert_texts(m, "s", "one\n", "two\n", "three\n", "\n", "\n", "six\n");
	must(close(fd));
	fd = open_line(m, O_TRUNC);
	assert_int_equal(must(write(fd, "\0\n\r\n\xff\n", 6)), 6);
	must(close(fd));
	mnt_restart(m, NULL);
	assert_records(m, "s", 9,
		       (const struct bytes[]){ BYTES("one\n"), BYTES("two\n"), BYTES("three\n"), BYTES("\n"),
					       BYTES("\n"), BYTES("six\n"), BYTES("\0\n"), BYTES("\r\n"),
					       BYTES("\xff\n") });
}

static void unfinished_line(void **state)
{
	struct mnt *m = *state;
	int a, b;

	make_stream(m, "s");
	a = open_line(m, O_APPEND);
	b = open_line(m, 0);
	put_text(a, "a1 ");
	put_text(b, "b1 ");
	assert_no_records(m, "s");
	put_text(a, "a2 ");
	put_text(b, "b2\nb3\nb4 ");
	assert_texts(m, "s", "b1 b2\n", "b3\n");
	put_text(a, "\na3");
	assert_texts(m, "s", "b1 b2\n", "b3\n", "a1 a2 \n");
	must(close(b));
	assert_texts(m, "s", "b1 b2\n", "b3\n", "a1 a2 \n", "b4 ");
	must(close(a));
	assert_texts(m, "s", "b1 b2\n", "b3\n", "a1 a2 \n", "b4 ", "a3");
	assert_int_equal(figure(m, "pending_memory_bytes"), 0);

	/* Nothing written, or nothing left: no record. */
	must(close(open_line(m, O_TRUNC)));
	put(mp(m, LINE), O_WRONLY | O_CREAT, BYTES("whole\n"));
	mnt_restart(m, NULL);
	assert_texts(m, "s", "b1 b2\n", "b3\n", "a1 a2 \n", "b4 ", "a3", "whole\n");
}

/* An fsync makes the complete lines durable and leaves the unfinished one: it would tear it. */
static void fsync_keeps_the_unfinished(void **state)
{
	struct mnt *m = *state;
	int fd;

	make_stream(m, "s");
	fd = open_line(m, O_APPEND);
	put_text(fd, "one\nhalf ");
	must(fsync(fd));
	must(fdatasync(fd));
	assert_texts(m, "s", "one\n");
	put_text(fd, "line\n");
	must(close(fd));
	assert_texts(m, "s", "one\n", "half line\n");
}

/* What the daemon had acknowledged is there after it was killed: complete lines. */
static void complete_lines_survive(void **state)
{
	struct mnt *m = *state;
	int fd;

	make_stream(m, "s");
	fd = open_line(m, O_APPEND);
	put_text(fd, "one\ntwo\nhalf");
	mnt_kill(m);
	(void)close(fd);
	mnt_start(m, NULL);
	assert_texts(m, "s", "one\n", "two\n");
}

static void giant_lines(void **state)
{
	enum { PIECE = 100000, PIECES = 33 };
	struct mnt *m = *state;
	char *giant = malloc((size_t)PIECE * PIECES + 5), *half = malloc(700000);
	struct bytes want[7];
	int fd;

	assert_non_null(giant);
	assert_non_null(half);
	make_stream(m, "s");
	for (size_t i = 0; i < (size_t)PIECE * PIECES; i++)
		giant[i] = (char)('A' + i % 23);
	memcpy(giant + (size_t)PIECE * PIECES, "end\n", 5);
	memset(half, 'h', 700000);
	fd = open_line(m, O_APPEND);
	put_text(fd, "first\n");
	for (unsigned i = 0; i < PIECES; i++)
		write_all(fd, giant + (size_t)i * PIECE, PIECE);
	assert_texts(m, "s", "first\n");
	assert_int_equal(figure(m, "pending_memory_bytes"), 0); /* it is on the disk by now */
	put_text(fd, "end\nnext\n\nre");
	want[0] = BYTES("first\n");
	want[1] = (struct bytes){ giant, (size_t)PIECE * PIECES + 4 };
	want[2] = BYTES("next\n");
	want[3] = BYTES("\n");
	assert_records(m, "s", 4, want);
	put_text(fd, "st\n");
	want[4] = BYTES("rest\n");
	assert_records(m, "s", 5, want);

	/* One that passes a MiB with the write that completes it; and one that the close completes. */
	assert_int_equal(must(write(fd, half, 700000)), 700000);
	half[699999] = '\n';
	assert_int_equal(must(write(fd, half, 700000)), 700000);
	for (unsigned i = 0; i < PIECES; i++)
		write_all(fd, giant + (size_t)i * PIECE, PIECE);
	must(close(fd));
	assert_int_equal(last_seq(m, "s"), 7);
	want[6] = (struct bytes){ giant, (size_t)PIECE * PIECES };
	assert_file(mp(m, "s/7"), want[6]);
	mnt_restart(m, NULL);
	assert_file(mp(m, "s/7"), want[6]);
	assert_file(mp(m, "s/2"), want[1]);
	char *got = slurp(mp(m, "s/6"), NULL);
	assert_int_equal(strspn(got, "h"), 1399999);
	assert_string_equal(got + 1399999, "\n");
	free(got);
	free(giant);
	free(half);
}

/* A line over the limit is refused whole, and nothing else is: not as its parts, and not what comes after it. */
static void too_long(void **state)
{
	struct mnt *m = *state;
	char nine[] = "nine char";
	int fd;

	make_stream(m, "s");
	limit_records(m, "10");
	fd = open_line(m, O_APPEND);
	put_text(fd, "123456789\n");
	assert_errno(write(fd, "1234567890\n", 11), EFBIG);
	assert_errno(write(fd, "ok\n1234567890\nok\n", 17), EFBIG); /* none of the three */
	put_text(fd, "after\n");
	assert_texts(m, "s", "123456789\n", "after\n");

	/* In pieces: all up to its newline is refused. */
	put_text(fd, nine);
	assert_errno(write(fd, "more", 4), EFBIG);
	assert_errno(write(fd, "and more", 8), EFBIG);
	assert_errno(write(fd, "its end\nnext", 12), EFBIG); /* "next" was refused with it, and so is its end */
	assert_errno(write(fd, " end\n", 5), EFBIG);
	put_text(fd, "good\n");
	assert_texts(m, "s", "123456789\n", "after\n", "good\n");

	/* The rest of a write can be too long as well. */
	assert_errno(write(fd, "ok\n12345678901", 14), EFBIG);
	assert_errno(write(fd, "2\n", 2), EFBIG);
	put_text(fd, "last");
	must(close(fd));
	assert_texts(m, "s", "123456789\n", "after\n", "good\n", "last");

	/* Who leaves it at that hears of it in close(2). */
	fd = open_line(m, O_APPEND);
	assert_errno(write(fd, "12345678901", 11), EFBIG);
	assert_errno(close(fd), EFBIG);
	assert_texts(m, "s", "123456789\n", "after\n", "good\n", "last");
}

static void offsets(void **state)
{
	struct mnt *m = *state;
	int fd;

	make_stream(m, "s");
	fd = open_line(m, 0);
	assert_int_equal(must(pwrite(fd, "ab\ncd", 5, 0)), 5);
	assert_errno(pwrite(fd, "x\n", 2, 3), ESPIPE);
	assert_errno(pwrite(fd, "x\n", 2, 0), ESPIPE);
	assert_int_equal(must(pwrite(fd, "ef\ngh", 5, 8)), 5); /* a hole of three bytes */
	assert_int_equal(must(pwrite(fd, "ij\n", 3, 13)), 3);
	must(ftruncate(fd, 18)); /* two zeros more */
	assert_errno(ftruncate(fd, 17), ESPIPE);
	must(ftruncate(fd, 0));
	assert_int_equal(must(pwrite(fd, "\n", 1, 18)), 1);
	must(close(fd));
	assert_records(
		m, "s", 4,
		(const struct bytes[]){ BYTES("ab\n"), BYTES("cd\0\0\0ef\n"), BYTES("ghij\n"), BYTES("\0\0\n") });
	/* With O_APPEND they mean nothing. */
	fd = open_line(m, O_APPEND);
	assert_int_equal(must(pwrite(fd, "x\n", 2, 100)), 2);
	assert_int_equal(must(pwrite(fd, "y\n", 2, 0)), 2);
	must(close(fd));
	assert_file(mp(m, "s/5"), BYTES("x\n"));
	assert_file(mp(m, "s/6"), BYTES("y\n"));
	/* Without an open file there is nothing that could be extended. */
	must(truncate(mp(m, LINE), 0));
	assert_errno(truncate(mp(m, LINE), 1), EPERM);
	assert_int_equal(last_seq(m, "s"), 6);
}

/* O_DIRECT means nothing here: lines are lines. O_SYNC makes them durable. */
static void flags(void **state)
{
	struct mnt *m = *state;
	uint64_t syncs;
	int fd;

	make_stream(m, "s");
	fd = open_line(m, O_APPEND | O_DIRECT);
	put_text(fd, "a\nb\nc");
	put_text(fd, "d\n");
	must(close(fd));
	assert_texts(m, "s", "a\n", "b\n", "cd\n");
	fd = open_line(m, O_APPEND | O_DSYNC);
	syncs = figure(m, "syncs");
	put_text(fd, "e\nf\n");
	assert_true(figure(m, "syncs") > syncs);
	put_text(fd, "g");
	put_text(fd, "h\ni");
	put_text(fd, "j");
	syncs = figure(m, "syncs");
	must(close(fd));
	assert_true(figure(m, "syncs") > syncs);
	assert_texts(m, "s", "a\n", "b\n", "cd\n", "e\n", "f\n", "gh\n", "ij");
}

/* A staged header is append's, and waits for that. */
static void headers_do_not_apply(void **state)
{
	struct mnt *m = *state;

	make_stream(m, "s");
	put(mp(m, "s/append.hdr"), O_WRONLY | O_TRUNC, BYTES("h"));
	put(mp(m, LINE), O_WRONLY, BYTES("line\nhalf"));
	append(m, "s", "record");
	assert_texts(m, "s", "line\n", "half", "record");
	assert_file(mp(m, "s/1.hdr"), BYTES(""));
	assert_file(mp(m, "s/2.hdr"), BYTES(""));
	assert_file(mp(m, "s/3.hdr"), BYTES("h"));
}

/* Each lookup is another node, but stat shows one file, in its place; and what it commits shows in append's time. */
static void one_file_to_stat(void **state)
{
	struct mnt *m = *state;
	struct stat a, b, line, record;
	int fd;

	make_stream(m, "s");
	must(stat(mp(m, LINE), &a));
	fd = open_line(m, O_APPEND);
	must(fstat(fd, &b));
	assert_int_equal(a.st_ino, b.st_ino);
	assert_int_equal(a.st_mode, S_IFREG | 0644);
	for (unsigned i = 1; i <= 50; i++) {
		put_text(fd, "x\n");
		must(stat(mp(m, "s/append"), &a));
		must(stat(mp(m, "s"), &b));
		must(stat(mp(m, LINE), &line));
		must(stat(mp(m, "s/%u", i), &record));
		assert_memory_equal(&a.st_mtim, &record.st_mtim, sizeof(a.st_mtim));
		assert_memory_equal(&b.st_mtim, &record.st_mtim, sizeof(b.st_mtim));
		assert_memory_equal(&line.st_mtim, &record.st_mtim, sizeof(b.st_mtim));
	}
	must(close(fd));
}

/* A full disk: the write that does not fit changes nothing, and can be repeated when there is space. */
static void full_disk(void **state)
{
	struct mnt *m = *state;
	char *block = malloc(MIB / 2);
	unsigned n = 0;
	int fd;

	if (geteuid() != 0)
		skip_because("only root can mount a small disk");
	if (mount("tmpfs", m->store, "tmpfs", 0, "size=80M") < 0)
		skip_because("no tmpfs: %s", strerror(errno));
	assert_non_null(block);
	m->log_may_complain = true;
	mnt_start(m, NULL);
	make_stream(m, "s");
	for (unsigned i = 0; i < MIB / 2; i++)
		block[i] = i % 4096 == 4095 ? '\n' : 'x';
	fd = open_line(m, O_APPEND);
	put_text(fd, "half ");
	for (;;) {
		block[MIB / 2 - 1] = 'y'; /* each write leaves an unfinished line */
		if (write(fd, block, MIB / 2) < 0)
			break;
		assert_true(++n < 1000);
	}
	assert_int_equal(errno, ENOSPC);
	assert_true(n > 5);
	assert_int_equal(last_seq(m, "s"), n * 127);
	must(mount("tmpfs", m->store, "tmpfs", MS_REMOUNT, "size=100M"));
	assert_int_equal(must(write(fd, block, MIB / 2)), MIB / 2);
	must(close(fd));
	assert_int_equal(last_seq(m, "s"), (n + 1) * 127 + 1);
	for (unsigned i = 1; i <= n + 1; i++) {
		struct stat st;

		must(stat(mp(m, "s/%u", (i - 1) * 127 + 1), &st));
		assert_int_equal(st.st_size, i == 1 ? 4096 + 5 : 8192);
	}
	mnt_stop(m);
	mnt_verify(m, 0);
	must(umount2(m->store, 0));
	m->verify_code = -1;
	free(block);
}

static void killed_writer(void **state)
{
	struct mnt *m = *state;

	make_stream(m, "s");
	for (unsigned i = 0; i < 3; i++) {
		pid_t pid = run_fork();

		if (pid == 0) {
			int fd = open(mp(m, LINE), O_WRONLY | O_APPEND);

			if (write(fd, "whole\nhalf", 10) == 10)
				(void)raise(i == 0 ? SIGKILL : i == 1 ? SIGTERM : SIGINT);
			_exit(1);
		}
		assert_true(run_reap(pid, 20) > 128);
	}
	put(mp(m, LINE), O_WRONLY, BYTES("after"));
	assert_texts(m, "s", "whole\n", "whole\n", "whole\n", "after");
}

static void shells(void **state)
{
	static const char *const names[] = { "bash", "dash", "busybox" };
	struct mnt *m = *state;

	for (unsigned i = 0; i < 3; i++) {
		if (!have_tool(names[i])) {
			tap_note("%s is not installed: not tried", names[i]);
			continue;
		}
		make_stream(m, "s");
		assert_int_equal(sh_with(m, names[i],
					 "cd s\n"
					 "echo one >> append.line\n"
					 "printf 'two\\nthree\\nfour' > append.line\n"
					 "exec 3>> append.line; echo five >&3; echo six >&3; test -e 6\n"
					 "printf 'sev' >&3; /bin/echo en >&3; exec 3>&-\n"
					 "{ printf 'ei'; /bin/echo ght; printf nine; } >> append.line\n"
					 "printf 'ten\\n' | cat | tee -a append.line > /dev/null\n"
					 "seq 11 2000 >> append.line\n"),
				 0);
		assert_int_equal(last_seq(m, "s"), 2000);
		assert_int_equal(
			sh(m,
			   "{ printf 'one\\ntwo\\nthree\\nfourfive\\nsix\\nseven\\neight\\nnineten\\n'; seq 11 2000; } >$T/want;"
			   "cat s/*[0-9] | cmp - $T/want && test \"$(cat s/4)\" = four && test \"$(cat s/9)\" = nine"),
			0);
		assert_int_equal(sh(m, "rm -r s"), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MNT_TEST(lines_are_records),
		MNT_TEST(unfinished_line),
		MNT_TEST(fsync_keeps_the_unfinished),
		MNT_TEST(complete_lines_survive),
		MNT_TEST(giant_lines),
		MNT_TEST_RELAXED(giant_lines),
		MNT_TEST(too_long),
		MNT_TEST(offsets),
		MNT_TEST_RELAXED(flags),
		MNT_TEST(headers_do_not_apply),
		MNT_TEST(one_file_to_stat),
		MNT_TEST_BARE(full_disk),
		MNT_TEST(killed_writer),
		MNT_TEST_RELAXED(shells),
	};

	return mnt_main("line", tests, sizeof(tests) / sizeof(*tests));
}
