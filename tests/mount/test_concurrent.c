/* SPDX-License-Identifier: MIT
 *
 * Many writers and readers at once: nothing is lost, torn or duplicated, and numbers have no holes.
 */
#include "files.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* The record of (who, which): its length and bytes follow from them. */
static size_t compose(char *buf, unsigned who, unsigned which)
{
	size_t len = (who * 7919 + which * 104729) % 5000;
	int head = snprintf(buf, 64, "%u %u %zu\n", who, which, len);

	fill_bytes(buf + head, len, who, which);
	return (size_t)head + len;
}

/* Every record of the stream is whole, and each (who, which) below the bounds is there once. */
static void check(const struct mnt *m, const char *stream, unsigned from, unsigned n_who, unsigned step,
		  unsigned n_which)
{
	unsigned *count = calloc((size_t)n_who * n_which, sizeof(*count)), who, which;
	uint64_t last = last_seq(m, stream), n = 0;
	char want[8192];

	assert_non_null(count);
	for (unsigned i = from; i < n_who; i += step)
		n += n_which;
	if (last != n)
		fail_msg("%s has %" PRIu64 " records, not %" PRIu64, stream, last, n);
	for (uint64_t seq = 1; seq <= last; seq++) {
		size_t len;
		char *got = slurp(mp(m, "%s/%" PRIu64, stream, seq), &len);

		if (sscanf(got, "%u %u ", &who, &which) != 2 || who >= n_who || which >= n_which || who % step != from)
			fail_msg("%s/%" PRIu64 " is nobody's: '%.40s'", stream, seq, got);
		if (len != compose(want, who, which) || memcmp(got, want, len) != 0)
			fail_msg("%s/%" PRIu64 " is torn", stream, seq);
		if (++count[(size_t)who * n_which + which] != 1)
			fail_msg("%s/%" PRIu64 " is there twice", stream, seq);
		free(got);
	}
	free(count);
}

static int write_one(const struct mnt *m, const char *stream, unsigned who, unsigned which, int flags)
{
	char buf[8192];
	size_t len = compose(buf, who, which);
	int fd = open(mp(m, "%s/append", stream), O_WRONLY | flags);

	/* In three pieces, where that is one record all the same. */
	for (size_t off = 0, n; off < len; off += n) {
		n = flags & (O_DIRECT | O_DSYNC) || off + 2000 > len ? len - off : 2000;
		if (fd < 0 || write(fd, buf + off, n) != (ssize_t)n)
			return 1;
	}
	return fd < 0 || close(fd) != 0;
}

static void wait_all(const pid_t *pids, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		int code = run_reap(pids[i], 100);

		if (code != 0)
			fail_msg("writer %u: exit status %d", i, code);
	}
}

static void thousand_writers(struct mnt *m)
{
	enum { N = 1000 };
	static pid_t pids[N];
	int gate[2];

	mnt_watchdog(200);
	make_stream(m, "s");
	must(pipe(gate));
	for (unsigned i = 0; i < N; i++) {
		pids[i] = run_fork();
		if (pids[i] == 0) {
			char c;

			/* All wait until the last is there and the gate is closed. */
			_exit(close(gate[1]) != 0 || read(gate[0], &c, 1) != 0 ||
			      write_one(m, "s", i, 0, i % 2 ? O_APPEND : 0));
		}
		assert_true(pids[i] > 0);
	}
	must(close(gate[0]));
	must(close(gate[1]));
	wait_all(pids, N);
	check(m, "s", 0, N, 1, 1);
	mnt_restart(m, NULL);
	check(m, "s", 0, N, 1, 1);
}

static void thousand_durable(void **state)
{
	thousand_writers(*state);
}

static void thousand_relaxed(void **state)
{
	thousand_writers(*state);
}

/* Sixteen processes, each of which writes to one of several streams, in every way there is. */
static void several_streams(void **state)
{
	enum { WHO = 16, WHICH = 200, STREAMS = 4 };
	static const int flags[] = { O_APPEND, 0, O_DIRECT, O_DSYNC | O_APPEND };
	struct mnt *m = *state;
	pid_t pids[WHO];
	char name[8];

	for (unsigned i = 0; i < STREAMS; i++) {
		(void)snprintf(name, sizeof(name), "s%u", i);
		make_stream(m, name);
	}
	for (unsigned i = 0; i < WHO; i++) {
		pids[i] = run_fork();
		if (pids[i] == 0) {
			int bad = 0;

			(void)snprintf(name, sizeof(name), "s%u", i % STREAMS);
			for (unsigned k = 0; k < WHICH && !bad; k++)
				bad = write_one(m, name, i, k, flags[(i / STREAMS + k) % 4]);
			_exit(bad);
		}
	}
	wait_all(pids, WHO);
	for (int again = 0; again < 2; again++) {
		for (unsigned i = 0; i < STREAMS; i++) {
			(void)snprintf(name, sizeof(name), "s%u", i);
			check(m, name, i, WHO, STREAMS, WHICH);
		}
		mnt_restart(m, NULL);
	}
}

static void shells_at_once(void **state)
{
	struct mnt *m = *state;

	make_stream(m, "s");
	assert_int_equal(
		sh(m,
		   "for w in 1 2 3 4 5 6 7 8; do ( for i in $(seq 50); do printf '%%s\\n%%s\\n' $w $i >> s/append || exit 1; "
		   "done ) & done; wait"),
		0);
	assert_int_equal(last_seq(m, "s"), 400);
	assert_int_equal(sh(m, "for f in s/*[0-9]; do paste -sd' ' $f; done | sort -u | wc -l | grep -qx 400"), 0);
}

struct reader {
	const struct mnt *m;
	volatile bool stop;
	unsigned rounds;
	const char *complaint;
};

/* Lists, follows `last` and reads while records come in: a listing has no hole and no name twice. */
static void *read_on(void *arg)
{
	struct reader *r = arg;
	uint64_t seen = 0;

	while (!r->stop && !r->complaint) {
		DIR *d = opendir(mp(r->m, "s"));
		struct dirent *ent;
		uint64_t before = 0;

		while (d && (ent = readdir(d))) {
			uint64_t seq = strtoull(ent->d_name, NULL, 10);

			if (seq > 0 && seq != before + 1)
				r->complaint = "a listing has a hole";
			if (seq > 0)
				before = seq;
		}
		if (!d || closedir(d) != 0)
			r->complaint = "the stream cannot be listed";
		if (before < seen)
			r->complaint = "a listing is shorter than one before";
		seen = before;
		r->rounds++;
	}
	return NULL;
}

static void readers_and_writers(void **state)
{
	enum { WHO = 6, WHICH = 150 };
	struct mnt *m = *state;
	struct reader r = { .m = m };
	pid_t pids[WHO];
	pthread_t thread;

	make_stream(m, "s");
	for (unsigned i = 0; i < WHO; i++) {
		pids[i] = run_fork();
		if (pids[i] == 0) {
			int bad = 0;

			for (unsigned k = 0; k < WHICH && !bad; k++) {
				uint64_t last;

				bad = write_one(m, "s", i, k, O_APPEND);
				last = last_seq(m, "s");
				free(slurp(mp(m, "s/%" PRIu64, last), NULL));
			}
			_exit(bad);
		}
	}
	assert_int_equal(pthread_create(&thread, NULL, read_on, &r), 0);
	for (unsigned i = 0; i < WHO; i++)
		if (run_reap(pids[i], 60) != 0)
			r.complaint = "a writer failed";
	r.stop = true;
	assert_int_equal(pthread_join(thread, NULL), 0);
	if (r.complaint)
		fail_msg("%s", r.complaint);
	tap_note("%u listings meanwhile", r.rounds);
	check(m, "s", 0, WHO, 1, WHICH);
}

/* Streams come and go while others write: nobody else's record is touched. */
static void streams_come_and_go(void **state)
{
	enum { WHO = 4, WHICH = 60 };
	struct mnt *m = *state;
	pid_t pids[WHO];

	make_stream(m, "s");
	for (unsigned i = 0; i < WHO; i++) {
		pids[i] = run_fork();
		if (pids[i] == 0) {
			char name[2][16];
			int bad = 0;

			(void)snprintf(name[0], 16, "x%u", i);
			(void)snprintf(name[1], 16, "y%u", i);
			for (unsigned k = 0; k < WHICH && !bad; k++)
				bad = mkdir(mp(m, "%s", name[0]), 0755) || write_one(m, name[0], 9, k, 0) ||
				      write_one(m, "s", i, k, 0) ||
				      rename(mp(m, "%s", name[0]), mp(m, "%s", name[1])) ||
				      unlink(mp(m, "%s/1", name[1])) || rmdir(mp(m, "%s", name[1]));
			_exit(bad);
		}
	}
	wait_all(pids, WHO);
	check(m, "s", 0, WHO, 1, WHICH);
	assert_int_equal(sh(m, "test \"$(ls)\" = s"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MNT_TEST(thousand_durable), MNT_TEST_RELAXED(thousand_relaxed), MNT_TEST(several_streams),
		MNT_TEST(shells_at_once),   MNT_TEST(readers_and_writers),      MNT_TEST(streams_come_and_go),
	};

	return mnt_main("concurrent", tests, sizeof(tests) / sizeof(*tests));
}
