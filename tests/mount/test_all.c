/* SPDX-License-Identifier: MIT
 *
 * all: the concatenation of the records, of exact size, at any offset, with any tool; how it grows, and what trims and damage
 * do to it.
 */
#include "files.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>
#include <walcore/walcore.h>

#define MIB (1 << 20)

/* A stream of records of many lengths, some empty, some with a header, and their concatenation as $T/want. */
static void make_many(struct mnt *m)
{
	static const size_t lens[] = { 1, 0, 100, 4095, 4096, 0, 0, 65536, 65537, 3, MIB + 1, 17, 2 * MIB, 5 };
	struct wal_store *store;
	struct wal_stream *stream;
	char *buf = malloc(2 * MIB);
	int out = (int)must(open(tp(m, "want"), O_WRONLY | O_CREAT | O_TRUNC, 0644));

	assert_non_null(buf);
	make_stream(m, "s");
	mnt_stop(m);
	assert_int_equal(wal_store_open(m->store, &(struct wal_opts){ .flags = WAL_OPEN_RELAXED }, &store, NULL), 0);
	assert_int_equal(wal_stream_open(store, (struct wal_span){ "s", 1 }, &stream), 0);
	for (unsigned i = 0; i < 4 * sizeof(lens) / sizeof(*lens); i++) {
		size_t len = lens[i % (sizeof(lens) / sizeof(*lens))];
		struct wal_entry entry = { .content = { buf, len }, .header = { "header\n", i % 3 ? 0 : 7 } };

		fill_bytes(buf, len, i, 0);
		write_all(out, buf, len);
		assert_int_equal(wal_append(stream, &(struct wal_append){ .entries = &entry, .n = 1 }), 0);
	}
	wal_stream_unref(stream);
	assert_int_equal(wal_store_close(store), 0);
	must(close(out));
	free(buf);
	mnt_start(m, NULL);
}

static off_t size_of(const struct mnt *m, const char *path)
{
	struct stat st;

	must(stat(mp(m, "%s", path), &st));
	assert_true(S_ISREG(st.st_mode));
	assert_true(st.st_blocks * 512 >= st.st_size);
	return st.st_size;
}

static void any_offset(void **state)
{
	struct mnt *m = *state;
	char got[70000], *want;
	size_t len;
	int fd;

	make_many(m);
	want = slurp(tp(m, "want"), &len);
	assert_int_equal(size_of(m, "s/all"), len);
	assert_same_file(mp(m, "s/all"), tp(m, "want"));
	fd = (int)must(open(mp(m, "s/all"), O_RDONLY));
	for (size_t i = 0; i < 2000; i++) {
		size_t off = (i * 1299709) % len, n = (i * 7919) % sizeof(got);
		size_t left = len - off < n ? len - off : n;

		assert_int_equal(must(pread(fd, got, n, (off_t)off)), left);
		assert_memory_equal(got, want + off, left);
	}
	assert_int_equal(must(pread(fd, got, 10, (off_t)len)), 0);
	assert_int_equal(must(pread(fd, got, 10, (off_t)len + 5000000)), 0);
	assert_int_equal(must(pread(fd, got, 10, (off_t)INT64_MAX - 10)), 0);
	assert_int_equal(must(pread(fd, got, 10, (off_t)len - 3)), 3);
	assert_int_equal(must(lseek(fd, 0, SEEK_END)), len);
	assert_int_equal(must(lseek(fd, -100, SEEK_END)), len - 100);
	assert_int_equal(must(read(fd, got, 200)), 100);
	assert_memory_equal(got, want + len - 100, 100);
	must(close(fd));
	free(want);
}

/* No read ends early, though some of what it wants must come from the disk first. */
static void not_in_memory(void **state)
{
	struct mnt *m = *state;
	char *got = malloc(200000), *want;
	size_t len;

	assert_non_null(got);
	make_many(m);
	want = slurp(tp(m, "want"), &len);
	for (size_t size = 20000; size <= 200000; size += 20000) {
		int fd = (int)must(open(mp(m, "s/all"), O_RDONLY));

		assert_int_equal(
			sh(m,
			   "sync; for f in %s/s/*.seg; do dd of=$f oflag=nocache conv=notrunc,fdatasync count=0 "
			   "status=none || exit 1; done",
			   m->store),
			0);
		for (size_t off = 0; off < len; off += size) {
			size_t left = len - off < size ? len - off : size;

			if (off / size % 7 == 3) /* what was read ahead goes again */
				assert_int_equal(
					sh(m,
					   "for f in %s/s/*.seg; do dd if=$f iflag=nocache count=0 status=none; done",
					   m->store),
					0);
			assert_int_equal(must(read(fd, got, size)), left);
			assert_memory_equal(got, want + off, left);
		}
		must(close(fd));
	}
	free(got);
	free(want);
}

static void tools(void **state)
{
	/* Each writes $T/out, the whole of s/all; the last ones say themselves whether it is. */
	static const char *const ways[][2] = {
		{ "cat", "cat s/all > $T/out" },
		{ "cat", "cat < s/all | cat > $T/out" },
		{ "busybox", "busybox cat s/all > $T/out" },
		{ "cp", "cp s/all $T/out" },
		{ "cp", "cp --sparse=always s/all $T/out" },
		{ "busybox", "busybox cp s/all $T/out" },
		{ "dd", "dd if=s/all of=$T/out bs=777 status=none" },
		{ "dd", "dd if=s/all of=$T/out bs=3M iflag=direct status=none" },
		{ "dd", "dd if=s/all bs=1M skip=1 status=none | { head -c 1048576 s/all; cat; } > $T/out" },
		{ "tail", "tail -c +1 s/all > $T/out" },
		{ "tail", "{ head -c 5000000 s/all; tail -c +5000001 s/all; } > $T/out" },
		{ "tail", "n=$(stat -c %s s/all); { head -c $((n - 70001)) s/all; tail -c 70001 s/all; } > $T/out" },
		{ "split", "split -b 1000003 s/all $T/part. && cat $T/part.* > $T/out && rm $T/part.*" },
		{ "rsync", "rm -f $T/out; rsync s/all $T/out" },
		{ "tar", "tar -cf - s/all | tar -xOf - > $T/out" },
		{ "tar", "tar -cSf - s/all | tar -xOf - > $T/out" },
		{ "gzip", "gzip -c s/all | gzip -d > $T/out" },
		{ "perl", "perl -pe '' s/all > $T/out" },
		{ "python3", "python3 -c 'import shutil, sys; shutil.copyfile(*sys.argv[1:])' s/all $T/out" },
		{ "python3",
		  "python3 -c 'import sys; open(sys.argv[2], \"wb\").write(open(sys.argv[1], \"rb\").read())' s/all $T/out" },
		{ "node",
		  "node -e 'fs = require(\"fs\"); fs.writeFileSync(process.argv[2], fs.readFileSync(process.argv[1]))' "
		  "s/all $T/out" },
		{ "node", "node -e 'require(\"fs\").copyFileSync(process.argv[1], process.argv[2])' s/all $T/out" },
		{ "less", "less -f s/all > $T/out" },
		{ "cmp", "cmp s/all $T/want && cp $T/want $T/out" },
		{ "wc",
		  "test \"$(wc < s/all)\" = \"$(wc < $T/want)\" && test $(wc -c < s/all) = $(stat -c %s $T/want) && "
		  "cp $T/want $T/out" },
		{ "grep", "test $(grep -ac a s/all) = $(grep -ac a $T/want) && cp $T/want $T/out" },
		{ "rg", "test $(rg -ac a s/all) = $(rg -ac a $T/want) && cp $T/want $T/out" },
		{ "sha256sum", "test \"$(sha256sum < s/all)\" = \"$(sha256sum < $T/want)\" && cp $T/want $T/out" },
	};
	struct mnt *m = *state;

	make_many(m);
	for (unsigned i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
		if (!have_tool(ways[i][0])) {
			tap_note("%s is not installed: skipped %s", ways[i][0], ways[i][1]);
			continue;
		}
		if (sh(m, "rm -f $T/out; %s", ways[i][1]) != 0 || sh(m, "cmp $T/out $T/want") != 0)
			fail_msg("%s", ways[i][1]);
	}
}

static void sendfile_splice_mmap(void **state)
{
	struct mnt *m = *state;
	int in, out, ends[2];
	size_t len;
	char *want, *map;

	make_many(m);
	want = slurp(tp(m, "want"), &len);
	in = (int)must(open(mp(m, "s/all"), O_RDONLY));
	out = (int)must(open(tp(m, "out"), O_RDWR | O_CREAT, 0644));
	while (must(sendfile(out, in, NULL, 1 << 30)) > 0)
		;
	assert_same_file(tp(m, "out"), tp(m, "want"));
	must(ftruncate(out, 0));
	must(lseek(out, 0, SEEK_SET));
	must(pipe(ends));
	for (loff_t off = 0; (size_t)off < len;) {
		long n = must(splice(in, &off, ends[1], NULL, 65536, 0));

		assert_true(n > 0);
		while (n > 0)
			n -= must(splice(ends[0], NULL, out, NULL, (size_t)n, 0));
	}
	assert_same_file(tp(m, "out"), tp(m, "want"));
	/* A shared map of what is read past the page cache is refused, and tools then read. A private one works. */
	assert_ptr_equal(mmap(NULL, len, PROT_READ, MAP_SHARED, in, 0), MAP_FAILED);
	assert_int_equal(errno, ENODEV);
	map = mmap(NULL, len, PROT_READ, MAP_PRIVATE, in, 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	assert_memory_equal(map, want, len);
	must(munmap(map, len));
	/* What the page cache has kept does not hide what has come since. */
	for (unsigned i = 0; i < 50; i++) {
		char text[32], got[32];

		(void)snprintf(text, sizeof(text), "more %u\n", i);
		append(m, "s", text);
		int again = (int)must(open(mp(m, "s/all"), O_RDONLY));
		off_t off = size_of(m, "s/all") - (off_t)strlen(text);

		must(ftruncate(out, 0));
		must(lseek(out, 0, SEEK_SET));
		assert_int_equal(must(sendfile(out, again, &off, sizeof(got))), strlen(text));
		assert_int_equal(must(pread(out, got, sizeof(got), 0)), strlen(text));
		assert_memory_equal(got, text, strlen(text));
		must(close(again));
	}
	must(close(in));
	must(close(out));
	must(close(ends[0]));
	must(close(ends[1]));
	free(want);
}

static void growing(void **state)
{
	struct mnt *m = *state;
	struct stat st;
	char got[64];
	ino_t ino;
	int fd;

	make_stream(m, "s");
	assert_int_equal(size_of(m, "s/all"), 0);
	assert_file(mp(m, "s/all"), BYTES(""));
	fd = (int)must(open(mp(m, "s/all"), O_RDONLY));
	must(fstat(fd, &st));
	ino = st.st_ino;
	for (unsigned i = 0; i < 100; i++) {
		append(m, "s", "0123456789");
		must(fstat(fd, &st));
		assert_int_equal(st.st_size, 10 * (i + 1));
		assert_int_equal(st.st_ino, ino);
		assert_int_equal(must(read(fd, got, sizeof(got))), 10);
		assert_memory_equal(got, "0123456789", 10);
		assert_int_equal(must(read(fd, got, sizeof(got))), 0);
	}
	assert_int_equal(size_of(m, "s/all"), 1000);
	/* What was written by a way that close does not wait for is there. */
	assert_int_equal(sh(m, "for i in $(seq 30); do echo $i | tee s/append > /dev/null; "
			       "tail -n 1 s/all | grep -x \"\\(.*9\\)\\?$i\" > /dev/null || exit 1; done"),
			 0);
	must(close(fd));
	mnt_restart(m, NULL);
	must(stat(mp(m, "s/all"), &st));
	assert_int_equal(st.st_ino, ino);
}

/* Does the file have all of s/all by then? */
static bool has_all(const struct mnt *m, const char *path, double deadline)
{
	bool same;

	do {
		size_t len, out_len;
		char *all = slurp(mp(m, "s/all"), &len), *out = slurp(path, &out_len);

		same = len == out_len && memcmp(all, out, len) == 0;
		free(all);
		free(out);
	} while (!same && deadline_pause(deadline));
	return same;
}

static void tail_f(void **state)
{
	static const char *const tails[][2] = { { "tail", "tail -s 0.05 -f -n +1" },
						{ "busybox", "busybox tail -s 1 -f -n +1" },
						{ "tail", "tail -s 0.05 -F -n +1" } };
	struct mnt *m = *state;

	make_stream(m, "s");
	append(m, "s", "one\n");
	for (unsigned i = 0; i < 3; i++) {
		const char *out = tp(m, "out.%u", i);
		pid_t pid;

		if (!have_tool(tails[i][0])) {
			tap_note("%s is not installed: skipped %s", tails[i][0], tails[i][1]);
			continue;
		}
		put(out, O_WRONLY | O_CREAT, BYTES(""));
		pid = run_fork();
		if (pid == 0)
			_exit(sh(m, "exec %s s/all > %s 2> /dev/null", tails[i][1], out));
		for (unsigned k = 0; k < 3; k++) {
			if (!has_all(m, out, deadline_after(30)))
				fail_msg("%s does not follow", tails[i][1]);
			append(m, "s", "more\n");
		}
		(void)run_reap(pid, 0); /* the shell that it became is killed */
	}
}

static void trimmed(void **state)
{
	struct mnt *m = *state;
	struct stat st;
	char got[64];
	ino_t ino;
	int fd, again;

	make_stream(m, "s");
	for (unsigned i = 0; i < 4; i++)
		append(m, "s", (const char *const[]){ "one", "two", "three", "four" }[i]);
	fd = (int)must(open(mp(m, "s/all"), O_RDONLY));
	must(fstat(fd, &st));
	ino = st.st_ino;
	assert_int_equal(must(pread(fd, got, sizeof(got), 0)), 15);
	must(unlink(mp(m, "s/1")));
	must(unlink(mp(m, "s/2")));
	/* Where they stood there are never others. */
	assert_errno(pread(fd, got, 1, 0), ESTALE);
	assert_errno(pread(fd, got, 64, 5), ESTALE);
	assert_int_equal(must(pread(fd, got, 64, 6)), 9);
	assert_memory_equal(got, "threefour", 9);
	append(m, "s", "five");
	assert_int_equal(must(pread(fd, got, 64, 8)), 11);
	assert_memory_equal(got, "reefourfive", 11);
	must(fstat(fd, &st));
	assert_int_equal(st.st_size, 19);
	/* The name is another file now. */
	assert_int_equal(size_of(m, "s/all"), 13);
	assert_file(mp(m, "s/all"), BYTES("threefourfive"));
	must(stat(mp(m, "s/all"), &st));
	assert_int_not_equal(st.st_ino, ino);
	again = (int)must(open(mp(m, "s/all"), O_RDONLY));
	must(unlink(mp(m, "s/3")));
	assert_errno(read(again, got, 64), ESTALE);
	assert_int_equal(must(pread(again, got, 64, 5)), 8);
	assert_int_equal(must(pread(fd, got, 64, 11)), 8);
	assert_memory_equal(got, "fourfive", 8);
	must(unlink(mp(m, "s/4")));
	must(unlink(mp(m, "s/5")));
	assert_int_equal(size_of(m, "s/all"), 0);
	assert_int_equal(must(pread(fd, got, 64, 19)), 0);
	append(m, "s", "six");
	assert_file(mp(m, "s/all"), BYTES("six"));
	assert_int_equal(must(pread(fd, got, 64, 19)), 3);
	assert_int_equal(sh(m, "rm -r s"), 0);
	assert_errno(pread(fd, got, 64, 0), ESTALE);
	assert_absent(mp(m, "s/all"));
	must(close(fd));
	must(close(again));
}

/* Trims and appends while others look up, open and read: what they read is a piece of what was written, or ESTALE. */
static void trimmed_meanwhile(void **state)
{
	enum { RECORDS = 400 };
	struct mnt *m = *state;
	pid_t pid;

	make_stream(m, "s");
	pid = run_fork();
	if (pid == 0) {
		for (;;) {
			char got[16 * RECORDS + 1];
			int fd = open(mp(m, "s/all"), O_RDONLY);
			ssize_t n = fd < 0 ? -1 : read(fd, got, sizeof(got) - 1);

			/* The kernel looks up once more where the first record has gone before the open. */
			if (n < 0 && errno != ESTALE)
				_exit(2);
			for (ssize_t i = 0; i + 16 <= n; i += 16)
				if (got[i] != '<' || got[i + 15] != '>' ||
				    (i > 0 && strtol(got + i + 1, NULL, 10) != strtol(got + i - 15, NULL, 10) + 1))
					_exit(3);
			if (n >= 16 && strtol(got + (n & ~15) - 15, NULL, 10) == RECORDS)
				_exit(0);
			if (fd >= 0)
				(void)close(fd);
		}
	}
	for (unsigned i = 1; i <= RECORDS; i++) {
		char record[17];

		(void)snprintf(record, sizeof(record), "<%014u>", i);
		append(m, "s", record);
		if (i > 5)
			must(unlink(mp(m, "s/%u", i - 5)));
	}
	assert_int_equal(run_reap(pid, 30), 0);
}

static void damaged(void **state)
{
	struct mnt *m = *state;
	char got[64];
	int fd;

	make_stream(m, "s");
	append(m, "s", "one");
	append(m, "s", "<two>");
	append(m, "s", "three");
	mnt_stop(m);
	m->log_may_complain = true;
	m->verify_code = 1;
	flip_bit(m, "s", "<two>", 2);
	mnt_start(m, NULL);
	assert_int_equal(size_of(m, "s/all"), 13);
	fd = (int)must(open(mp(m, "s/all"), O_RDONLY));
	assert_int_equal(must(read(fd, got, 64)), 3);
	assert_errno(read(fd, got, 64), EIO);
	assert_errno(pread(fd, got, 1, 7), EIO);
	assert_int_equal(must(pread(fd, got, 64, 8)), 5);
	assert_memory_equal(got, "three", 5);
	must(close(fd));
	assert_int_equal(sh(m, "cat s/all > $T/out 2>/dev/null"), 1);
	assert_file(tp(m, "out"), BYTES("one"));
}

static void what_stat_says(void **state)
{
	struct mnt *m = *state;
	struct stat st, last;
	char **names;

	make_stream(m, "s");
	append(m, "s", "x");
	must(stat(mp(m, "s/all"), &st));
	must(stat(mp(m, "s/1"), &last));
	assert_int_equal(st.st_mode, last.st_mode);
	assert_memory_equal(&st.st_mtim, &last.st_mtim, sizeof(st.st_mtim));
	assert_int_not_equal(st.st_ino, last.st_ino);
	names = names_of(mp(m, "s"), NULL);
	assert_false(names_have(names, "all"));
	names_free(names);
	assert_errno(open(mp(m, "s/all"), O_WRONLY), EPERM);
	assert_errno(open(mp(m, "s/all"), O_RDWR), EPERM);
	assert_errno(truncate(mp(m, "s/all"), 0), EPERM);
	must(unlink(mp(m, "s/all"))); /* a fixed name: it stays */
	assert_file(mp(m, "s/all"), BYTES("x"));
	int fd = (int)must(open(mp(m, "s/all"), O_RDONLY));

	must(fsync(fd));
	must(close(fd));
}

static double read_us(int fd, off_t size)
{
	double best = 1e9;
	char got[100];

	for (unsigned i = 0; i < 300; i++) {
		double start = now_s();

		must(pread(fd, got, sizeof(got), (off_t)(i * 7919917UL % (unsigned long)size)));
		best = now_s() - start < best ? now_s() - start : best;
	}
	return best * 1e6;
}

static double cat_s(const struct mnt *m, const char *path)
{
	static char buf[131072];
	double best = 1e9;

	(void)m;
	for (unsigned i = 0; i < 5; i++) {
		int fd = (int)must(open(path, O_RDONLY));
		double start = now_s();

		while (must(read(fd, buf, sizeof(buf))) > 0)
			;
		best = now_s() - start < best ? now_s() - start : best;
		must(close(fd));
	}
	return best;
}

/* A seek takes the same in a stream of a million records as in one of a thousand; and reading is about as fast as of a file. */
static void speed(void **state)
{
	struct mnt *m = *state;
	double small_us, large_us, all, plain;
	int small, large;
	off_t size;

	make_stream(m, "small");
	make_stream(m, "large");
	assert_int_equal(
		sh(m, "seq -f %%099.0f 1000 | dd of=small/append.line bs=128k status=none && "
		      "seq -f %%099.0f 1000000 > $T/plain && dd if=$T/plain of=large/append.line bs=128k status=none"),
		0);
	size = size_of(m, "large/all");
	assert_int_equal(size, 100000000);
	small = (int)must(open(mp(m, "small/all"), O_RDONLY));
	large = (int)must(open(mp(m, "large/all"), O_RDONLY));
	small_us = read_us(small, size_of(m, "small/all"));
	large_us = read_us(large, size);
	tap_note("100 bytes anywhere: %.0f us in 1,000 records, %.0f us in 1,000,000", small_us, large_us);
	assert_true(large_us < 10 * small_us + 200);
	assert_same_file(mp(m, "large/all"), tp(m, "plain"));
	all = cat_s(m, mp(m, "large/all"));
	plain = cat_s(m, tp(m, "plain"));
	tap_note("cat of records of 100 bytes: %.0f MB/s, of a file %.0f MB/s: %.2f times", (double)size / 1e6 / all,
		 (double)size / 1e6 / plain, plain / all);
	assert_true(run_sanitized() || all < 30 * plain);
	must(close(small));
	must(close(large));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MNT_TEST(any_offset),      MNT_TEST(not_in_memory),
		MNT_TEST(tools),           MNT_TEST(sendfile_splice_mmap),
		MNT_TEST_RELAXED(growing), MNT_TEST(tail_f),
		MNT_TEST_RELAXED(trimmed), MNT_TEST_RELAXED(trimmed_meanwhile),
		MNT_TEST(damaged),         MNT_TEST(what_stat_says),
		MNT_TEST_RELAXED(speed),
	};

	return mnt_main("all", tests, sizeof(tests) / sizeof(*tests));
}
