/* SPDX-License-Identifier: MIT
 *
 * A damaged segment: the record that was hit reads as EIO, keeps its number, and is reported; all others are as they were.
 */
#include "files.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static void assert_eio(const struct mnt *m, const char *path)
{
	char buf[200000];
	ssize_t n = 1;
	int fd = open(mp(m, "%s", path), O_RDONLY);

	if (fd >= 0) {
		while (n > 0)
			n = read(fd, buf, sizeof(buf));
		if (n == 0)
			fail_msg("%s can be read to its end", path);
	}
	assert_int_equal(errno, EIO);
	if (fd >= 0)
		(void)close(fd);
}

/* Streams s and t of ten records, s with some headers; unmounted. */
static void make(struct mnt *m)
{
	char text[64];

	for (unsigned s = 0; s < 2; s++) {
		make_stream(m, s ? "t" : "s");
		for (unsigned i = 1; i <= 10; i++) {
			(void)snprintf(text, sizeof(text), "header %u of %u", i, s);
			if (i % 2)
				put(mp(m, "%s/append.hdr", s ? "t" : "s"), O_WRONLY | O_TRUNC,
				    (struct bytes){ text, strlen(text) });
			(void)snprintf(text, sizeof(text), "<content %u of %u>", i, s);
			append(m, s ? "t" : "s", text);
		}
	}
	mnt_stop(m);
	m->log_may_complain = true;
	m->verify_code = 1;
}

static void assert_good(const struct mnt *m, const char *stream, unsigned from, unsigned to)
{
	char text[64];

	for (unsigned i = from; i <= to; i++) {
		(void)snprintf(text, sizeof(text), "<content %u of %u>", i, strcmp(stream, "t") == 0);
		assert_file(mp(m, "%s/%u", stream, i), (struct bytes){ text, strlen(text) });
		(void)snprintf(text, sizeof(text), "header %u of %u", i, strcmp(stream, "t") == 0);
		assert_file(mp(m, "%s/%u.hdr", stream, i), (struct bytes){ text, i % 2 ? strlen(text) : 0 });
	}
}

static void assert_degraded(struct mnt *m)
{
	if (sh(m,
	       "head -1 .walfs/status | grep -q '^degraded' && grep -q '\\bs\\b' .walfs/status && grep -q '[.]seg' .walfs/status") !=
	    0)
		fail_msg(".walfs/status does not tell: %s", slurp(mp(m, ".walfs/status"), NULL));
}

static void in_the_middle(void **state)
{
	struct mnt *m = *state;

	make(m);
	flip_bit(m, "s", "<content 5 of 0>", 3);
	mnt_verify(m, 1);
	mnt_start(m, NULL);
	assert_int_equal(sh(m, "head -1 .walfs/status | grep -qE '^(ok|degraded)'"), 0);
	for (int again = 0; again < 2; again++) {
		assert_good(m, "s", 1, 4);
		assert_eio(m, "s/5");
		assert_eio(m, "s/0000000005");
		assert_good(m, "s", 6, 10);
		assert_good(m, "t", 1, 10);
		assert_degraded(m);
		assert_int_equal(sh(m, "test $(ls -f s | grep -cx '[0-9]*') = %d", 10 + again), 0);
		append(m, "s", "goes on");
		assert_file(mp(m, "s/%d", 11 + again), BYTES("goes on"));
		mnt_restart(m, NULL);
	}
	/* It leaves as any other: at the head. */
	assert_errno(unlink(mp(m, "s/5")), EPERM);
	assert_int_equal(sh(m, "for i in 1 2 3 4 5 6; do rm s/$i || exit 1; done"), 0);
	assert_good(m, "s", 7, 10);
	assert_int_equal(first_seq(m, "s"), 7);
	assert_int_equal(sh(m, "rm -r s"), 0);
	mnt_stop(m);
	m->verify_code = 0; /* it is gone */
}

static void the_last(void **state)
{
	struct mnt *m = *state;

	make(m);
	flip_bit(m, "s", "<content 10 of 0>", 9);
	mnt_start(m, NULL);
	assert_good(m, "s", 1, 9);
	assert_eio(m, "s/10");
	assert_eio(m, "s/last");
	assert_int_equal(last_seq(m, "s"), 10);
	append(m, "s", "goes on");
	assert_file(mp(m, "s/11"), BYTES("goes on"));
	mnt_restart(m, NULL);
	assert_eio(m, "s/10");
	assert_degraded(m);
	assert_file(mp(m, "s/11"), BYTES("goes on"));
	assert_good(m, "t", 1, 10);
}

static void a_header(void **state)
{
	struct mnt *m = *state;

	make(m);
	flip_bit(m, "s", "header 3 of 0", 0);
	mnt_start(m, NULL);
	assert_eio(m, "s/3.hdr");
	assert_good(m, "s", 1, 2);
	assert_good(m, "s", 4, 10);
	assert_degraded(m);
	assert_int_equal(last_seq(m, "s"), 10);
}

/* A piece of a large record: never are wrong bytes handed out. */
static void a_large_record(void **state)
{
	struct mnt *m = *state;
	char *buf = malloc(3000000), *got = malloc(3000000);
	ssize_t n, sum = 0;
	int fd;

	assert_true(buf && got);
	fill_bytes(buf, 3000000, 1, 0);
	memcpy(buf + 2000000, "<a unique text>", 15);
	make_stream(m, "s");
	append(m, "s", "before");
	put(mp(m, "s/append"), O_WRONLY, (struct bytes){ buf, 3000000 });
	append(m, "s", "after");
	mnt_stop(m);
	flip_bit(m, "s", "<a unique text>", 7);
	m->log_may_complain = true;
	m->verify_code = 1;
	mnt_start(m, NULL);
	fd = open(mp(m, "s/2"), O_RDONLY);
	if (fd >= 0) {
		while ((n = read(fd, got + sum, (size_t)(3000000 - sum))) > 0)
			sum += n;
		assert_int_equal(n, -1);
		assert_true(sum <= 2000007);
		assert_memory_equal(got, buf, (size_t)sum);
	}
	assert_int_equal(errno, EIO);
	if (fd >= 0)
		(void)close(fd);
	assert_int_not_equal(sh(m, "cp s/2 $T/copy 2>/dev/null"), 0);
	assert_int_not_equal(sh(m, "cat s/2 > /dev/null 2>/dev/null"), 0);
	assert_file(mp(m, "s/1"), BYTES("before"));
	assert_file(mp(m, "s/3"), BYTES("after"));
	assert_degraded(m);
	free(buf);
	free(got);
}

/* The segment ends early: what is left can be read, what is missing is not silently forgotten. */
static void a_cut_segment(void **state)
{
	struct mnt *m = *state;

	make(m);
	assert_int_equal(
		run_sh(0,
		       "f=$(ls '%s'/s/*.seg) && n=$(grep -abo '<content 8 of 0>' $f | cut -d: -f1) && truncate -s $((n + 4)) $f",
		       m->store),
		0);
	mnt_verify(m, 1);
	mnt_start(m, NULL);
	assert_good(m, "s", 1, 7);
	assert_eio(m, "s/8");
	assert_good(m, "t", 1, 10);
	append(m, "s", "goes on");
	assert_file(mp(m, "s/last"), BYTES("goes on"));
	assert_degraded(m);
}

/* A segment that is gone altogether, and one that belongs to another stream. */
static void a_missing_segment(void **state)
{
	struct mnt *m = *state;

	make(m);
	assert_int_equal(run_sh(0, "rm '%s'/s/*.seg", m->store), 0);
	mnt_start(m, NULL);
	assert_good(m, "t", 1, 10);
	(void)sh(
		m,
		"ls -l s > /dev/null 2>&1; cat s/1 s/10 > /dev/null 2>&1; cat s/.stat > /dev/null 2>&1; echo x >> s/append 2>/dev/null");
	assert_int_not_equal(sh(m, "grep -qx '<content 1 of 1>' s/1 2>/dev/null"), 0);
	assert_good(m, "t", 1, 10);
	m->verify_code = -1;
}

static void another_streams_segment(void **state)
{
	struct mnt *m = *state;

	make(m);
	assert_int_equal(run_sh(0, "cd '%s' && for f in t/*.seg; do cp $f s/${f#t/}; done", m->store), 0);
	mnt_verify(m, 1);
	mnt_start(m, NULL);
	assert_good(m, "t", 1, 10);
	assert_int_not_equal(sh(m, "cat s/1 2>/dev/null"), 0);
	assert_int_not_equal(sh(m, "cat s/10 2>/dev/null"), 0);
	assert_int_equal(
		sh(m, "head -1 .walfs/status | grep -q '^degraded' && grep -q '\\bs\\b.*another stream' .walfs/status"),
		0);
}

static void zeroed_blocks(void **state)
{
	struct mnt *m = *state;

	make(m);
	assert_int_equal(run_sh(0,
				"f=$(ls '%s'/s/*.seg) && a=$(grep -abo '<content 4 of 0>' $f | cut -d: -f1) && "
				"b=$(grep -abo '<content 6 of 0>' $f | cut -d: -f1) && "
				"dd if=/dev/zero of=$f bs=1 seek=$a count=$((b - a)) conv=notrunc status=none",
				m->store),
			 0);
	mnt_start(m, NULL);
	assert_good(m, "s", 1, 3);
	assert_eio(m, "s/4");
	assert_eio(m, "s/5");
	assert_eio(m, "s/6");
	assert_good(m, "s", 7, 10);
	assert_int_equal(last_seq(m, "s"), 10);
	assert_degraded(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MNT_TEST(in_the_middle),           MNT_TEST(the_last),      MNT_TEST(a_header),
		MNT_TEST(a_large_record),          MNT_TEST(a_cut_segment), MNT_TEST(a_missing_segment),
		MNT_TEST(another_streams_segment), MNT_TEST(zeroed_blocks),
	};

	return mnt_main("damage", tests, sizeof(tests) / sizeof(*tests));
}
