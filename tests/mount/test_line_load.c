/* SPDX-License-Identifier: MIT
 *
 * append.line under load: writers that share syncs, large writes and many lines, and what is left of them when the daemon
 * is killed.
 */
#include "files.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define MIB (1 << 20)
#define LINE "s/append.line"

static int open_line(const struct mnt *m, int flags)
{
	return (int)must(open(mp(m, LINE), O_WRONLY | O_CLOEXEC | flags));
}

/* Eight durable writers of one stream, each of which opened append.line itself: the kernel does not serialise them, and a
 * commit serves several. */
static void writers_share_syncs(void **state)
{
	enum { WRITERS = 8, EACH = 300 };
	struct mnt *m = *state;
	pid_t pids[WRITERS];
	uint64_t commits, syncs;
	char text[64];
	int gate[2];

	make_stream(m, "s");
	must(pipe(gate));
	for (unsigned i = 0; i < WRITERS; i++) {
		pids[i] = run_fork();
		if (pids[i] == 0) {
			int fd = open(mp(m, LINE), O_WRONLY | O_APPEND);
			char c;

			if (fd < 0 || close(gate[1]) != 0 || read(gate[0], &c, 1) != 0)
				_exit(1);
			for (unsigned k = 0; k < EACH; k++) {
				int len = snprintf(text, sizeof(text), "writer %u line %u\n", i, k);

				if (write(fd, text, (size_t)len) != len)
					_exit(2);
			}
			_exit(0);
		}
	}
	must(close(gate[0]));
	commits = figure(m, "commits");
	syncs = figure(m, "syncs");
	must(close(gate[1]));
	for (unsigned i = 0; i < WRITERS; i++)
		assert_int_equal(run_reap(pids[i], 60), 0);
	commits = figure(m, "commits") - commits;
	syncs = figure(m, "syncs") - syncs;
	tap_note("%u durable writes by %u writers: %" PRIu64 " commits, %" PRIu64 " syncs", WRITERS * EACH, WRITERS,
		 commits, syncs);
	assert_int_equal(last_seq(m, "s"), WRITERS * EACH);
	assert_true(commits < WRITERS * EACH / 2);
	/* Each is there once, and each writer's are in its order. */
	assert_int_equal(sh(m,
			    "cat s/*[0-9] | sort -s -k2,2n > $T/got;"
			    "for i in 0 1 2 3 4 5 6 7; do seq -f \"writer $i line %%g\" 0 %u; done | cmp - $T/got",
			    EACH - 1),
			 0);
}

/* Many lines in one write: one batch, and as fast as memory rather than a lookup per line. */
static void large_writes(void **state)
{
	enum { BLOCK = 128 * 1024, N = 400 };
	struct mnt *m = *state;
	char *block = malloc(BLOCK);
	double start, took;
	int fd;

	assert_non_null(block);
	make_stream(m, "s");
	for (unsigned i = 0; i < BLOCK; i++)
		block[i] = i % 100 == 99 ? '\n' : (char)('a' + i % 26);
	fd = open_line(m, O_APPEND);
	start = now_s();
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(must(write(fd, block, BLOCK)), BLOCK);
	took = now_s() - start;
	must(close(fd));
	tap_note("128 KiB writes of 100-byte lines: %.0f MB/s", (double)BLOCK * N / took / 1e6);
	assert_true(took < 20 * deadline_scale()); /* no measure: the note is that */
	assert_int_equal(last_seq(m, "s"), (uint64_t)N * (BLOCK / 100) + 1);
	FILE *want = fopen(tp(m, "want"), "we");

	assert_non_null(want);
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(fwrite(block, 1, BLOCK, want), BLOCK);
	assert_int_equal(fclose(want), 0);
	assert_same_file(mp(m, "s/all"), tp(m, "want"));
	free(block);
}

/* The largest write that comes whole, of the shortest lines there are: one batch, whatever it takes. */
static void shortest_lines(void **state)
{
	enum { LEN = MIB - 4096 };
	struct mnt *m = *state;
	char *block = malloc(LEN);
	int fd;

	assert_non_null(block);
	make_stream(m, "s");
	memset(block, '\n', LEN);
	fd = open_line(m, O_APPEND);
	write_all(fd, "x", 1);
	assert_int_equal(must(write(fd, block, LEN)), LEN);
	assert_int_equal(last_seq(m, "s"), LEN);
	assert_file(mp(m, "s/1"), BYTES("x\n"));
	assert_file(mp(m, "s/2"), BYTES("\n"));
	assert_file(mp(m, "s/%u", LEN), BYTES("\n"));
	must(close(fd));
	mnt_restart(m, NULL);
	assert_int_equal(last_seq(m, "s"), LEN);
	mnt_memory_below(m, 128 * 1024);
	free(block);
}

/* One writer of batches, until the daemon is gone. Says in *done how many were acknowledged. */
static void write_batches(const struct mnt *m, unsigned lines, volatile unsigned *done, unsigned from)
{
	char text[8192];
	int fd = open(mp(m, LINE), O_WRONLY | O_APPEND);

	for (unsigned n = from; fd >= 0; n++) {
		size_t len = 0;

		for (unsigned i = 0; i < lines; i++)
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%u %u\n", n, i);
		if (write(fd, text, len) != (ssize_t)len)
			break;
		*done = n + 1;
	}
	_exit(0);
}

/* The lines of a write become visible together, and of one that the end of the daemon interrupted there are all or none. */
static void all_or_none(void **state)
{
	enum { LINES = 300, ROUNDS = 8 };
	struct mnt *m = *state;
	volatile unsigned *done = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(done != MAP_FAILED);
	mnt_watchdog(200);
	make_stream(m, "s");
	for (unsigned round = 0; round < ROUNDS; round++) {
		uint64_t last = last_seq(m, "s");
		double deadline = deadline_after(20);
		unsigned from = (unsigned)(last / LINES);
		pid_t pid = run_fork();

		if (pid == 0)
			write_batches(m, LINES, done, from);
		for (unsigned looks = 0; *done < from + 5 || looks < 200; looks++) {
			last = last_seq(m, "s");
			if (last % LINES != 0)
				fail_msg("%" PRIu64 " records, %u a write", last, LINES);
			if (*done < from + 5 && !deadline_pause(deadline))
				fail_msg("no batch comes");
		}
		mnt_kill(m);
		assert_int_equal(run_reap(pid, 20), 0);
		mnt_start(m, NULL);
		last = last_seq(m, "s");
		if (last % LINES != 0 || last < (uint64_t)*done * LINES)
			fail_msg("%" PRIu64 " records, of %u acknowledged batches of %u", last, *done, LINES);
	}
	tap_note("%u batches acknowledged in %u rounds", *done, ROUNDS);
	/* Each batch is there once, in order. */
	assert_int_equal(sh(m, "seq 0 %u | awk '{ for (i = 0; i < %u; i++) print $1, i }' | cmp - s/all",
			    (unsigned)(last_seq(m, "s") / LINES) - 1, LINES),
			 0);
	(void)munmap((void *)done, 4096);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MNT_TEST(writers_share_syncs),    MNT_TEST_RELAXED(large_writes), MNT_TEST(shortest_lines),
		MNT_TEST_RELAXED(shortest_lines), MNT_TEST(all_or_none),          MNT_TEST_RELAXED(all_or_none),
	};

	return mnt_main("line_load", tests, sizeof(tests) / sizeof(*tests));
}
