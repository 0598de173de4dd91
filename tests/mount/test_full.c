/* SPDX-License-Identifier: MIT
 *
 * A full disk: the write that does not fit says so, nothing partial appears, removing works, and appends go on when there
 * is space again. The disk is a small tmpfs.
 */
#include "files.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *filler(const struct mnt *m)
{
	static char path[1024];

	(void)snprintf(path, sizeof(path), "%s/.walfs/filler", m->store);
	return path;
}

static void small_disk(struct mnt *m, const char *size)
{
	char data[64];

	if (geteuid() != 0)
		skip_because("only root can mount a small disk");
	(void)snprintf(data, sizeof(data), "size=%s", size);
	if (mount("tmpfs", m->store, "tmpfs", 0, data) < 0)
		skip_because("no tmpfs: %s", strerror(errno));
	m->log_may_complain = true;
}

static void resize_disk(struct mnt *m, const char *size)
{
	char data[64];

	(void)snprintf(data, sizeof(data), "size=%s", size);
	must(mount("tmpfs", m->store, "tmpfs", MS_REMOUNT, data));
}

/* The store must be closed and looked at before its disk is gone. */
static void finish(struct mnt *m)
{
	mnt_stop(m);
	mnt_verify(m, 0);
	must(umount2(m->store, 0));
	m->verify_code = -1;
}

/* Fills the stream with records of `len` bytes until one is refused, in write(2). Those that were accepted must be there,
 * whole, and nothing else. Returns how many the stream has. */
static unsigned fill(struct mnt *m, const char *stream, size_t len, unsigned limit)
{
	unsigned old = (unsigned)last_seq(m, stream), n = old;
	char *buf = malloc(len);
	ssize_t got = 0;

	assert_non_null(buf);
	fill_bytes(buf, len, 7, 0);
	while (got >= 0) {
		int fd = (int)must(open(mp(m, "%s/append", stream), O_WRONLY));

		for (size_t off = 0; off < len && got >= 0; off += (size_t)got) {
			got = write(fd, buf + off, len - off > 100000 ? 100000 : len - off);
			if (got < 0)
				break;
		}
		if (got < 0) {
			assert_int_equal(errno, ENOSPC);
			(void)close(fd); /* the writer was told */
			break;
		}
		must(close(fd));
		if (++n - old > limit)
			fail_msg("%u records of %zu bytes and the disk is not full", n - old, len);
	}
	assert_int_equal(last_seq(m, stream), n);
	for (unsigned i = old + 1; i <= n; i++)
		assert_file(mp(m, "%s/%u", stream, i), (struct bytes){ buf, len });
	free(buf);
	return n;
}

static void large_records(void **state)
{
	struct mnt *m = *state;
	unsigned n;

	small_disk(m, "80m");
	mnt_start(m, NULL);
	make_stream(m, "s");
	n = fill(m, "s", 3 << 20, 30);
	assert_true(n >= 3);
	/* What tools say. */
	make_file(tp(m, "big"), 60 << 20, 1);
	assert_int_not_equal(sh(m, "cat $T/big > s/append 2>/dev/null"), 0);
	assert_int_not_equal(sh(m, "cp $T/big s/append 2>/dev/null"), 0);
	assert_int_not_equal(sh(m, "dd if=$T/big of=s/append bs=1M status=none 2>/dev/null"), 0);
	assert_int_not_equal(sh(m, "busybox cat $T/big > s/append 2>/dev/null"), 0);
	assert_int_equal(last_seq(m, "s"), n);
	mnt_restart(m, NULL);
	assert_int_equal(last_seq(m, "s"), n);
	assert_int_equal(sh(m, "cmp s/1 s/last"), 0);
	resize_disk(m, "200m");
	assert_int_equal(sh(m, "cat $T/big > s/append && cmp $T/big s/last"), 0);
	assert_int_equal(last_seq(m, "s"), n + 1);
	finish(m);
}

/* `echo` must say that its record does not fit: nobody looks at what close(2) says. */
static void small_records(struct mnt *m, const char *opts)
{
	static const char *const shells[] = { "bash", "dash", "busybox" };
	double deadline;
	unsigned n;

	small_disk(m, "48m");
	mnt_start(m, opts);
	make_stream(m, "s");
	make_stream(m, "t");
	assert_int_equal(sh(m, "for i in 1 2 3; do head -c 1000000 /dev/zero > t/append || exit 1; done"), 0);
	(void)fill(m, "s", 100000, 1000);
	n = fill(m, "s", 100, 20000);
	for (unsigned i = 0; i < 3; i++) {
		if (!have_tool(shells[i]))
			tap_note("%s is not installed: skipped its echo", shells[i]);
		else if (
			sh_with(m, shells[i],
				"text=$(head -c 1000 /dev/zero | tr '\\0' x); echo \"$text\" 2>/dev/null >> s/append") ==
			0)
			fail_msg("%s: echo to a full disk exits with 0", shells[i]);
	}
	assert_int_equal(last_seq(m, "s"), n);
	/* Removing works, and brings space for more. */
	must(unlink(mp(m, "s/1")));
	assert_int_equal(first_seq(m, "s"), 2);
	assert_int_equal(sh(m, "rm -r t"), 0);
	deadline = deadline_after(20);
	while (sh(m, "echo again 2>/dev/null >> s/append") != 0)
		if (!deadline_pause(deadline))
			fail_msg("no append goes after 3 MB were removed");
	assert_file(mp(m, "s/%u", n + 1), BYTES("again\n"));
	/* Full once more, and over a remount. */
	n = fill(m, "s", 100000, 1000);
	mnt_restart(m, opts);
	assert_int_equal(last_seq(m, "s"), n);
	assert_int_equal(first_seq(m, "s"), 2);
	resize_disk(m, "100m");
	append(m, "s", "space");
	assert_file(mp(m, "s/%u", n + 1), BYTES("space"));
	finish(m);
}

static void small_durable(void **state)
{
	small_records(*state, NULL);
}

static void small_relaxed(void **state)
{
	small_records(*state, "relaxed");
}

static void direct_writes(void **state)
{
	struct mnt *m = *state;
	char *buf = aligned_alloc(4096, 500000 / 4096 * 4096 + 4096);
	unsigned n = 0;
	int fd;

	assert_non_null(buf);
	fill_bytes(buf, 500000, 3, 0);
	small_disk(m, "48m");
	mnt_start(m, NULL);
	make_stream(m, "s");
	fd = (int)must(open(mp(m, "s/append"), O_WRONLY | O_DIRECT));
	while (write(fd, buf, 500000) == 500000)
		assert_true(++n < 200);
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(last_seq(m, "s"), n);
	resize_disk(m, "80m");
	assert_int_equal(must(write(fd, buf, 500000)), 500000);
	must(close(fd));
	assert_int_equal(last_seq(m, "s"), n + 1);
	for (unsigned i = 1; i <= n + 1; i++)
		assert_file(mp(m, "s/%u", i), (struct bytes){ buf, 500000 });
	free(buf);
	finish(m);
}

/* Pending bytes of several writers together do not fit: some are refused, those that were accepted go in. */
static void many_pending(void **state)
{
	struct mnt *m = *state;
	static char buf[500000];
	int fds[60];
	unsigned n = 0;

	fill_bytes(buf, sizeof(buf), 5, 0);
	small_disk(m, "48m");
	mnt_start(m, NULL);
	make_stream(m, "s");
	for (unsigned i = 0; i < 60; i++) {
		fds[i] = (int)must(open(mp(m, "s/append"), O_WRONLY));
		if (write(fds[i], buf, sizeof(buf)) != (ssize_t)sizeof(buf)) {
			assert_true(errno == ENOSPC || errno == EDQUOT);
			(void)close(fds[i]);
			fds[i] = -1;
		}
	}
	assert_no_records(m, "s");
	for (unsigned i = 0; i < 60; i++)
		if (fds[i] >= 0) {
			must(close(fds[i]));
			n++;
		}
	assert_true(n > 5 && n < 60);
	assert_int_equal(last_seq(m, "s"), n);
	for (unsigned i = 1; i <= n; i++)
		assert_file(mp(m, "s/%u", i), (struct bytes){ buf, sizeof(buf) });
	finish(m);
}

/* Somebody else takes all that is free on the disk. */
static void take_the_rest(struct mnt *m)
{
	static const char zeros[4096];
	int fd = (int)must(open(filler(m), O_WRONLY | O_CREAT | O_EXCL, 0600));

	while (write(fd, zeros, sizeof(zeros)) > 0)
		;
	assert_int_equal(errno, ENOSPC);
	must(close(fd));
}

static void give_the_rest(struct mnt *m)
{
	must(unlink(filler(m)));
}

/* What was accepted goes in, whatever others do before it is closed: a record that begins another segment file, writes that do
 * not fit, a neighbour who takes the rest of the disk. */
static void accepted_is_kept(void **state)
{
	struct mnt *m = *state;
	static char buf[500000];
	int fds[2], direct;

	fill_bytes(buf, sizeof(buf), 6, 0);
	small_disk(m, "48m");
	mnt_start(m, NULL);
	make_stream(m, "s");
	make_stream(m, "t");
	for (int i = 0; i < 2; i++) {
		fds[i] = (int)must(open(mp(m, "s/append"), O_WRONLY));
		assert_int_equal(write(fds[i], buf, sizeof(buf)), sizeof(buf));
	}
	assert_int_equal(sh(m, "head -c 3000000 /dev/zero > s/append"), 0);
	take_the_rest(m);
	direct = (int)must(open(mp(m, "s/append"), O_WRONLY | O_DIRECT));
	for (int i = 0; i < 4; i++) /* there may be some blocks left to the first */
		(void)write(direct, buf, sizeof(buf));
	assert_int_equal(write(direct, buf, sizeof(buf)), -1);
	assert_int_equal(errno, ENOSPC);
	must(close(direct));
	for (int i = 0; i < 2; i++)
		must(close(fds[i]));
	assert_file(mp(m, "s/last"), (struct bytes){ buf, sizeof(buf) });
	assert_file(mp(m, "s/%u", (unsigned)last_seq(m, "s") - 1), (struct bytes){ buf, sizeof(buf) });
	give_the_rest(m);
	finish(m);
}

/* It leaves no record; its blocks stay. */
static void killed_writer(const char *path, struct bytes what)
{
	pid_t pid = (pid_t)must(fork());
	int status;

	if (pid == 0) {
		int fd = open(path, O_WRONLY);

		if (fd < 0 || write(fd, what.base, what.len) != (ssize_t)what.len)
			_exit(1);
		(void)kill(getpid(), SIGKILL);
	}
	must(waitpid(pid, &status, 0));
	assert_true(WIFSIGNALED(status));
}

/* Blocks that were taken for what was never committed are there for another stream. */
static void given_up_is_free(void **state)
{
	struct mnt *m = *state;
	static char buf[500000];
	unsigned n = 0;

	small_disk(m, "48m");
	mnt_start(m, NULL);
	for (unsigned i = 0; i < 20; i++) {
		char key[16];

		(void)snprintf(key, sizeof(key), "s%u", i);
		make_stream(m, key);
		killed_writer(mp(m, "%s/append", key), (struct bytes){ buf, sizeof(buf) });
		assert_no_records(m, key);
	}
	make_stream(m, "t");
	for (; n < 60; n++) {
		int fd = (int)must(open(mp(m, "t/append"), O_WRONLY));

		if (write(fd, buf, sizeof(buf)) != (ssize_t)sizeof(buf)) {
			assert_int_equal(errno, ENOSPC);
			(void)close(fd);
			break;
		}
		must(close(fd));
	}
	assert_in_range(n, 28, 33); /* 16 MB */
	finish(m);
}

static void too_small_for_a_store(void **state)
{
	struct mnt *m = *state;
	char *said;

	small_disk(m, "1m");
	said = mnt_refused(m, m->store, m->at, NULL);
	tap_note("%s", said);
	if (!strcasestr(said, "space"))
		fail_msg("walfs does not say that there is no space: %s", said);
	free(said);
	resize_disk(m, "64m");
	mnt_start(m, NULL);
	make_stream(m, "s");
	append(m, "s", "a");
	assert_texts(m, "s", "a");
	finish(m);
}

/* Streams, names, modes and settings need space too; what is refused changes nothing, and nothing else is lost. */
static void everything_else(void **state)
{
	struct mnt *m = *state;
	unsigned n;

	small_disk(m, "48m");
	mnt_start(m, NULL);
	make_stream(m, "s");
	(void)fill(m, "s", 100000, 1000);
	n = fill(m, "s", 100, 20000);
	(void)sh(
		m,
		"for i in $(seq 200); do mkdir x$i 2>/dev/null || break; done; chmod 700 s 2>/dev/null; mv s t 2>/dev/null; "
		"test -e s || mv t s; echo durable=no 2>/dev/null > s/.config; echo h 2>/dev/null > s/append.hdr; : > s/append.hdr; true");
	assert_int_equal(last_seq(m, "s"), n);
	assert_int_equal(sh(m, "ls -l . s > /dev/null && cat s/.stat .walfs/* > /dev/null && df . > /dev/null"), 0);
	mnt_restart(m, NULL);
	assert_int_equal(last_seq(m, "s"), n);
	assert_int_equal(sh(m, "rmdir x* 2>/dev/null; rm -r s"), 0);
	make_stream(m, "s");
	append(m, "s", "a");
	assert_texts(m, "s", "a");
	finish(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MNT_TEST_BARE(large_records),   MNT_TEST_BARE(small_durable),    MNT_TEST_BARE(small_relaxed),
		MNT_TEST_BARE(direct_writes),   MNT_TEST_BARE(many_pending),     MNT_TEST_BARE(too_small_for_a_store),
		MNT_TEST_BARE(everything_else), MNT_TEST_BARE(accepted_is_kept), MNT_TEST_BARE(given_up_is_free),
	};

	return mnt_main("full", tests, sizeof(tests) / sizeof(*tests));
}
