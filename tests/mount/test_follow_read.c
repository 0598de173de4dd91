/* SPDX-License-Identifier: MIT
 *
 * What a read of follow gives: one record or many, large ones and empty ones, and errors that come once.
 */
#include "follower.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>
#include <walcore/walcore.h>

#define MIB (1 << 20)

static void one_record_a_read(void **state)
{
	struct mnt *m = *state;
	size_t big_len = 3 * MIB + 17;
	char *big = malloc(big_len), *got = malloc(4 * MIB), buf[16];
	int fd;

	assert_true(big && got);
	fill_bytes(big, big_len, 1, 0);
	make_three(m);
	fd = open_follow(m, "s/follow", O_DIRECT);
	assert_read(fd, 4096, "one\n");
	assert_read(fd, 4, "two\n");
	assert_errno(read(fd, buf, 5), EINVAL); /* "three\n" does not fit; nothing is lost */
	assert_errno(read(fd, buf, 1), EINVAL);
	assert_read(fd, 6, "three\n");
	append(m, "s", "four\n");
	append(m, "s", "five\n");
	assert_read(fd, 2 * MIB, "four\n");
	must(fcntl(fd, F_SETFL, 0));
	assert_read(fd, 2, "fi");
	must(fcntl(fd, F_SETFL, O_DIRECT | O_NONBLOCK));
	assert_read(fd, 2, "ve"); /* a rest is given as it is asked for */
	assert_read(fd, 2, "\n");
	assert_errno(read(fd, buf, sizeof(buf)), EAGAIN);
	/* Larger than the pieces in which the kernel asks. */
	put(mp(m, "s/append"), O_WRONLY, (struct bytes){ big, big_len });
	append(m, "s", "end\n");
	assert_errno(read(fd, buf, sizeof(buf)), EINVAL);
	assert_int_equal(must(read(fd, got, big_len + 1)), big_len);
	assert_memory_equal(got, big, big_len);
	assert_read(fd, 4096, "end\n");
	/* One that is cut all the same: the rest comes, and no other with it. */
	put(mp(m, "s/append"), O_WRONLY, (struct bytes){ big, big_len });
	append(m, "s", "end\n");
	assert_int_equal(must(read(fd, got, 2 * MIB)), 2 * MIB);
	assert_int_equal(must(read(fd, got + 2 * MIB, 2 * MIB)), big_len - 2 * MIB);
	assert_memory_equal(got, big, big_len);
	assert_read(fd, 4096, "end\n");
	must(close(fd));
	put(tp(m, "two"), O_WRONLY | O_CREAT, BYTES("two\nthree\n"));
	assert_int_equal(sh(m, "dd if=s/2.follow iflag=direct bs=4k count=2 status=none | cmp - $T/two"), 0);
	free(big);
	free(got);
}

/* A read(2) is cut by the kernel into pieces: it ends with what there is, in whichever of them that is. */
static void large_reads(void **state)
{
	static const size_t lens[] = { 100, MIB - 4096, MIB, MIB + 1, 2 * MIB, 3 * MIB - 1 };
	struct mnt *m = *state;
	char *want = malloc(4 * MIB), *got = malloc(4 * MIB + 4096);
	int fd;

	assert_true(want && got);
	make_stream(m, "s");
	fd = open_follow(m, "s/follow", 0);
	for (unsigned i = 0; i < sizeof(lens) / sizeof(*lens); i++) {
		for (size_t skew = 0; skew < 4096; skew += 1365) {
			fill_bytes(want, lens[i], i, 0);
			put(mp(m, "s/append"), O_WRONLY, (struct bytes){ want, lens[i] });
			assert_int_equal(must(read(fd, got + skew, 4 * MIB)), lens[i]);
			assert_memory_equal(got + skew, want, lens[i]);
		}
	}
	/* Many small ones. */
	assert_int_equal(
		sh(m,
		   "seq 100000 > $T/seq; head -c 65536 $T/seq > s/append; tail -c +65537 $T/seq | "
		   "while read -r line; do echo $line; done | dd of=s/append oflag=direct bs=100 iflag=fullblock status=none"),
		0);
	assert_int_equal(sh(m, "n=$(stat -c %%s $T/seq); head -c $n s/%lu.follow | cmp - $T/seq",
			    4 * sizeof(lens) / sizeof(*lens) + 1),
			 0);
	must(close(fd));
	free(want);
	free(got);
}

static void overtaken(void **state)
{
	struct mnt *m = *state;
	char buf[16];
	int fd, ahead, behind;

	make_three(m);
	append(m, "s", "four\n");
	fd = open_follow(m, "s/follow", O_NONBLOCK);
	behind = open_follow(m, "s/2.follow", O_NONBLOCK);
	ahead = open_follow(m, "s/4.follow", O_NONBLOCK);
	assert_read(fd, 2, "on");
	must(unlink(mp(m, "s/1")));
	must(unlink(mp(m, "s/2")));
	assert_errno(read(fd, buf, sizeof(buf)), EPIPE);
	assert_read(fd, 100, "three\nfour\n");
	assert_errno(read(fd, buf, sizeof(buf)), EAGAIN);
	assert_true(polls(behind, 0));
	assert_errno(read(behind, buf, sizeof(buf)), EPIPE);
	assert_read(behind, 100, "three\nfour\n");
	assert_read(ahead, 100, "four\n");
	must(close(behind));
	/* One that begins at what is no more is told so. */
	behind = open_follow(m, "s/1.follow", O_NONBLOCK);
	assert_errno(read(behind, buf, sizeof(buf)), EPIPE);
	assert_read(behind, 100, "three\nfour\n");
	must(close(behind));
	/* Reading has caught up: what goes then is no loss. */
	must(unlink(mp(m, "s/3")));
	must(unlink(mp(m, "s/4")));
	assert_errno(read(fd, buf, sizeof(buf)), EAGAIN);
	append(m, "s", "five\n");
	assert_read(fd, 100, "five\n");
	must(close(fd));
	must(close(ahead));
}

static void retention_overtakes(void **state)
{
	struct mnt *m = *state;
	char buf[100];
	double deadline = deadline_after(60);
	int fd;

	make_three(m);
	fd = open_follow(m, "s/follow", 0);
	struct follower reader = follower_start(m, "s/new.follow");

	assert_read(fd, 2, "on");
	put(mp(m, "s/.config"), O_WRONLY, BYTES("retention.age=1s\n"));
	while (access(mp(m, "s/1"), F_OK) == 0)
		if (!deadline_pause(deadline))
			fail_msg("retention has not removed record 1");
	put(mp(m, "s/.config"), O_WRONLY, BYTES("retention.age=none\n"));
	append(m, "s", "four\n");
	follower_gets(&reader, "four\n"); /* it had caught up */
	assert_errno(read(fd, buf, sizeof(buf)), EPIPE);
	assert_read(fd, sizeof(buf), "four\n");
	must(close(fd));
	must(kill(reader.pid, SIGKILL));
	follower_ends(&reader, 128 + SIGKILL);
}

static void empty_records(void **state)
{
	struct mnt *m = *state;
	struct wal_store *store;
	struct wal_stream *stream;
	struct wal_entry entries[3] = { 0 };
	int fd;

	make_three(m);
	mnt_stop(m);
	assert_int_equal(wal_store_open(m->store, &(struct wal_opts){ 0 }, &store, NULL), 0);
	assert_int_equal(wal_stream_open(store, (struct wal_span){ "s", 1 }, &stream), 0);
	for (unsigned i = 0; i < 1000; i++) {
		struct wal_append req = { .entries = entries, .n = i == 500 ? 3 : 1 };

		entries[1].content = (struct wal_span){ "x", i == 500 };
		assert_int_equal(wal_append(stream, &req), 0);
	}
	wal_stream_unref(stream);
	assert_int_equal(wal_store_close(store), 0);
	mnt_start(m, NULL);
	fd = open_follow(m, "s/3.follow", O_DIRECT | O_NONBLOCK);
	assert_read(fd, 100, "three\n");
	assert_true(polls(fd, 0));
	assert_read(fd, 100, "x");
	assert_false(polls(fd, 0));
	assert_errno(read(fd, &entries, 1), EAGAIN);
	append(m, "s", "end\n");
	assert_read(fd, 100, "end\n");
	must(close(fd));
	fd = open_follow(m, "s/3.follow", O_NONBLOCK);
	assert_read(fd, 100, "three\nxend\n");
	assert_errno(read(fd, &entries, 1), EAGAIN);
	must(close(fd));
}

static void damaged(void **state)
{
	struct mnt *m = *state;
	char buf[100];
	int fd;

	make_stream(m, "s");
	append(m, "s", "one\n");
	append(m, "s", "<two>\n");
	append(m, "s", "three\n");
	append(m, "s", "four\n");
	mnt_stop(m);
	m->log_may_complain = true;
	m->verify_code = 1;
	flip_bit(m, "s", "<two>", 2);
	mnt_start(m, NULL);
	for (unsigned i = 0; i < 2; i++) {
		fd = open_follow(m, "s/follow", O_NONBLOCK | (i ? O_DIRECT : 0));
		assert_read(fd, 100, "one\n");
		assert_errno(read(fd, buf, sizeof(buf)), EIO);
		assert_read(fd, 100, i ? "three\n" : "three\nfour\n");
		must(close(fd));
	}
	fd = open_follow(m, "s/2.follow", 0);
	assert_true(polls(fd, 0));
	assert_errno(read(fd, buf, sizeof(buf)), EIO);
	assert_read(fd, 6, "three\n");
	must(close(fd));
}

/* Of one open file each byte is read once. */
static void shared(void **state)
{
	enum { READERS = 6, RECORDS = 3000 };
	struct mnt *m = *state;
	bool seen[RECORDS] = { false };
	pid_t pids[READERS];
	int fd, ends[2];
	unsigned n = 0;

	make_stream(m, "s");
	fd = open_follow(m, "s/follow", O_DIRECT);
	must(pipe(ends));
	for (unsigned i = 0; i < READERS; i++) {
		pids[i] = run_fork();
		while (pids[i] == 0) {
			char buf[16];
			ssize_t got = read(fd, buf, sizeof(buf));

			if (got <= 0 || write(ends[1], buf, (size_t)got) != got)
				_exit(got == 0 ? 0 : 1);
		}
	}
	must(close(ends[1]));
	wait_parked(m, READERS);
	int out = (int)must(open(mp(m, "s/append"), O_WRONLY | O_DIRECT));

	for (unsigned i = 0; i < RECORDS; i++) {
		char text[9];

		(void)snprintf(text, sizeof(text), "%07u\n", i);
		assert_int_equal(must(write(out, text, 8)), 8);
	}
	must(close(out));
	while (n < RECORDS) {
		char text[9] = "";
		unsigned i;

		assert_int_equal(must(read(ends[0], text, 8)), 8);
		i = (unsigned)strtoul(text, NULL, 10);
		assert_true(i < RECORDS && !seen[i]);
		seen[i] = true;
		n++;
	}
	wait_parked(m, READERS);
	assert_int_equal(sh(m, "rm -r s"), 0);
	for (unsigned i = 0; i < READERS; i++)
		assert_int_equal(run_reap(pids[i], 20), 0);
	must(close(ends[0]));
	must(close(fd));
}

static void page_cache_reads(void **state)
{
	struct mnt *m = *state;
	int fd, out, ends[2];

	make_three(m);
	fd = open_follow(m, "s/follow", 0);
	out = (int)must(open(tp(m, "out"), O_RDWR | O_CREAT, 0644));
	must(pipe(ends));
	assert_errno(sendfile(out, fd, NULL, 4096), EINVAL);
	assert_errno(sendfile(out, fd, NULL, (size_t)1 << 30), EINVAL);
	assert_errno(splice(fd, NULL, ends[1], NULL, 4096, 0), EINVAL);
	assert_ptr_equal(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0), MAP_FAILED);
	assert_int_equal(errno, ENODEV);
	assert_read(fd, 100, "one\ntwo\nthree\n"); /* none of that took a byte away */
	must(close(fd));
	must(close(out));
	must(close(ends[0]));
	must(close(ends[1]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MNT_TEST(one_record_a_read), MNT_TEST_RELAXED(large_reads),
		MNT_TEST(overtaken),         MNT_TEST_RELAXED(retention_overtakes),
		MNT_TEST(empty_records),     MNT_TEST(damaged),
		MNT_TEST_RELAXED(shared),    MNT_TEST(page_cache_reads),
	};

	return mnt_main("follow_read", tests, sizeof(tests) / sizeof(*tests));
}
