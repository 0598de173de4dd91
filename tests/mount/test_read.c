/* SPDX-License-Identifier: MIT
 *
 * Reading records by number, by link, by any padding, with any tool: exact bytes. And their attributes: sizes, times,
 * inode numbers.
 */
#include "files.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <time.h>
#include <unistd.h>

#define MIB (1 << 20)

static const size_t lens[] = { 1, 511, 512, 4095, 4096, 4097, 65535, 65536, 65537, 131072, MIB - 1, 3 * MIB + 17 };
enum { N_LENS = sizeof(lens) / sizeof(*lens) };

/* A stream of records of those lengths, and the same bytes as files in T. */
static void make_lengths(const struct mnt *m)
{
	make_stream(m, "s");
	for (unsigned i = 0; i < N_LENS; i++) {
		char *buf = malloc(lens[i]);

		assert_non_null(buf);
		fill_bytes(buf, lens[i], i, 0);
		put(tp(m, "%u", i + 1), O_WRONLY | O_CREAT, (struct bytes){ buf, lens[i] });
		put(mp(m, "s/append"), O_WRONLY, (struct bytes){ buf, lens[i] });
		free(buf);
	}
}

static void any_padding(void **state)
{
	static const char *const spelling[] = {
		"2", "02", "0002", "000000002", "0000000002", "000000000000002", "last"
	};
	static const char *const wrong[] = { "0",
					     "00",
					     "3",
					     "0000000003",
					     "-2",
					     "+2",
					     " 2",
					     "2 ",
					     "0x2",
					     "2.",
					     "2.0",
					     "two",
					     "99999999999999999999999",
					     "18446744073709551616",
					     "18446744073709551618" };
	struct mnt *m = *state;
	struct stat st, same;

	make_stream(m, "s");
	append(m, "s", "first");
	append(m, "s", "second");
	must(stat(mp(m, "s/2"), &same));
	for (unsigned i = 0; i < sizeof(spelling) / sizeof(*spelling); i++) {
		assert_file(mp(m, "s/%s", spelling[i]), BYTES("second"));
		must(stat(mp(m, "s/%s", spelling[i]), &st));
		assert_int_equal(st.st_ino, same.st_ino);
	}
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		assert_absent(mp(m, "s/%s", wrong[i]));
	assert_file(mp(m, "s/first"), BYTES("first"));
	assert_file(mp(m, "s/000000000000000000001.hdr"), BYTES(""));
}

/* Each of these copies s/N to $T/out, or prints whether it is right. */
static void every_tool(void **state)
{
	static const char *const ways[][2] = {
		{ "cat", "cat s/$N > $T/out" },
		{ "cp", "cp s/$N $T/out" },
		{ "cp", "cp -a s/$N $T/out" },
		{ "cp", "cp --sparse=always s/$N $T/out" },
		{ "busybox", "busybox cat s/$N > $T/out" },
		{ "busybox", "busybox cp s/$N $T/out" },
		{ "dd", "dd if=s/$N of=$T/out bs=777 status=none" },
		{ "dd", "dd if=s/$N of=$T/out bs=64k iflag=direct status=none" },
		{ "tail", "tail -c +1 s/$N > $T/out" },
		{ "head", "head -c $(stat -c %s s/$N) s/$N > $T/out" },
		{ "cat", "cat < s/$N | cat > $T/out" },
		{ "tar", "tar -cf - s/*$N | tar -xOf - > $T/out" },
		{ "tar", "tar -cSf - s/*$N | tar -xOf - > $T/out" },
		{ "rsync", "rm -f $T/out; rsync s/$N $T/out" },
		{ "python3", "python3 -c 'import shutil, sys; shutil.copyfile(*sys.argv[1:])' s/$N $T/out" },
		{ "python3",
		  "python3 -c 'import sys; open(sys.argv[2], \"wb\").write(open(sys.argv[1], \"rb\").read())' s/$N $T/out" },
		{ "perl", "perl -pe '' s/$N > $T/out" },
		{ "gzip", "gzip -c < s/$N | gzip -d > $T/out" },
		{ "mmap", "true" },
	};
	struct mnt *m = *state;

	make_lengths(m);
	for (unsigned i = 0; i < sizeof(ways) / sizeof(*ways) - 1; i++) {
		if (!have_tool(ways[i][0])) {
			tap_note("%s is not installed: skipped %s", ways[i][0], ways[i][1]);
			continue;
		}
		if (sh(m,
		       "for n in 1 2 3 4 5 6 7 8 9 10 11 12; do N=$(printf %%010d $n); { %s; } || exit 1; "
		       "cmp $T/out $T/$n || exit 1; rm -f $T/out; done",
		       ways[i][1]) != 0)
			fail_msg("%s", ways[i][1]);
	}
}

static void sendfile_splice_mmap(void **state)
{
	struct mnt *m = *state;

	make_lengths(m);
	for (unsigned i = 0; i < N_LENS; i++) {
		int in = (int)must(open(mp(m, "s/%u", i + 1), O_RDONLY)), out, ends[2];
		size_t left = lens[i];
		char *map;

		out = (int)must(open(tp(m, "out"), O_RDWR | O_CREAT | O_TRUNC, 0644));
		while (left > 0) {
			long n = must(sendfile(out, in, NULL, left));

			assert_true(n > 0);
			left -= (size_t)n;
		}
		assert_int_equal(sendfile(out, in, NULL, 4096), 0);
		assert_same_file(tp(m, "out"), tp(m, "%u", i + 1));
		must(ftruncate(out, 0));
		must(lseek(out, 0, SEEK_SET));
		must(pipe(ends));
		for (loff_t off = 0; (size_t)off < lens[i];) {
			long n = must(splice(in, &off, ends[1], NULL, 65536, 0));

			assert_true(n > 0);
			while (n > 0)
				n -= must(splice(ends[0], NULL, out, NULL, (size_t)n, 0));
		}
		must(close(ends[0]));
		must(close(ends[1]));
		assert_same_file(tp(m, "out"), tp(m, "%u", i + 1));
		map = mmap(NULL, lens[i], PROT_READ, MAP_SHARED, in, 0);
		assert_ptr_not_equal(map, MAP_FAILED);
		put(tp(m, "out"), O_WRONLY | O_TRUNC, (struct bytes){ map, lens[i] });
		must(munmap(map, lens[i]));
		assert_same_file(tp(m, "out"), tp(m, "%u", i + 1));
		must(close(in));
		must(close(out));
	}
}

/* Reads the record in pieces that grow; it must have these bytes and no others. */
static bool reads_whole(const char *path, const char *want, size_t len, size_t piece)
{
	char *got = malloc(len + 1);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t sum = 0;
	ssize_t n = 1;
	bool same;

	while (fd >= 0 && got && n > 0 && sum < len + 1) {
		n = read(fd, got + sum, len + 1 - sum < piece ? len + 1 - sum : piece);
		sum += n > 0 ? (size_t)n : 0;
		piece += piece < sum ? piece : 0;
	}
	same = n == 0 && sum == len && memcmp(got, want, len) == 0;
	if (!same)
		(void)fprintf(stderr, "%s: %zu bytes of %zu, the last read gave %zd\n", path, sum, len, n);
	if (fd >= 0)
		(void)close(fd);
	free(got);
	return same;
}

/* While the kernel reads ahead, and several do so at once on a busy machine, no read may end early. */
static void large_records_after_a_remount(void **state)
{
	enum { RECORDS = 12, READERS = 4, ROUNDS = 8, LEN = 3150439 };
	struct mnt *m = *state;
	char *want = malloc(LEN);
	pid_t pids[READERS];

	assert_non_null(want);
	fill_bytes(want, LEN, 8, 0);
	make_stream(m, "s");
	for (unsigned i = 0; i < RECORDS; i++)
		put(mp(m, "s/append"), O_WRONLY, (struct bytes){ want, LEN });
	for (unsigned round = 0; round < ROUNDS; round++) {
		mnt_restart(m, NULL);
		for (unsigned i = 0; i < READERS; i++) {
			pids[i] = run_fork();
			if (pids[i] != 0)
				continue;
			for (unsigned k = 0; k < RECORDS; k++)
				if (!reads_whole(mp(m, "s/%u", (k * (i + 1)) % RECORDS + 1), want, LEN,
						 10000 + 27768 * (size_t)i))
					_exit(1);
			_exit(0);
		}
		for (unsigned i = 0; i < READERS; i++)
			assert_int_equal(run_reap(pids[i], 60), 0);
	}
	free(want);
}

static void any_offset(void **state)
{
	struct mnt *m = *state;
	char *want, got[5000];
	int fd, direct;
	size_t len;

	make_lengths(m);
	want = slurp(tp(m, "12"), &len);
	fd = (int)must(open(mp(m, "s/12"), O_RDONLY));
	direct = (int)must(open(mp(m, "s/12"), O_RDONLY | O_DIRECT));
	for (size_t i = 0; i < 400; i++) {
		size_t off = (i * 104729) % len, n = (i * 7919) % sizeof(got);
		size_t left = len - off < n ? len - off : n;

		assert_int_equal(must(pread(i % 2 ? fd : direct, got, n, (off_t)off)), left);
		assert_memory_equal(got, want + off, left);
	}
	assert_int_equal(must(pread(fd, got, 10, (off_t)len)), 0);
	assert_int_equal(must(pread(fd, got, 10, (off_t)len + 100000)), 0);
	assert_int_equal(must(lseek(fd, 0, SEEK_END)), len);
	must(close(fd));
	must(close(direct));
	free(want);
}

static void whole_trees(void **state)
{
	struct mnt *m = *state;

	make_stream(m, "s");
	make_stream(m, "t u");
	put(mp(m, "s/append.hdr"), O_WRONLY | O_TRUNC, BYTES("header"));
	append(m, "s", "needle");
	append(m, "t u", "hay");
	append(m, "t u", "stack");
	assert_int_equal(
		sh(m, "cp -r . $T/copy && cmp s/1 $T/copy/s/0000000001 && cmp s/1.hdr $T/copy/s/0000000001.hdr && "
		      "test -e $T/copy/'t u'/0000000002"),
		0);
	assert_int_equal(sh(m, "tar -cf $T/all.tar s 't u' && mkdir $T/x && tar -xf $T/all.tar -C $T/x && "
			       "diff -r -x .walfs -x .stat . $T/x"),
			 0);
	assert_int_equal(sh(m, "test \"$(grep -rl needle .)\" = ./s/0000000001"), 0);
	assert_int_equal(sh(m, "test $(find . -type f -name '*[0-9]' | wc -l) = 3"), 0);
	assert_int_equal(sh(m, "find . -ls > /dev/null && du -s . > /dev/null && ls -lR . > /dev/null"), 0);
	assert_int_equal(sh(m, "cat s/*[0-9] 't u'/*[0-9] > $T/cat; test \"$(cat $T/cat)\" = needlehaystack"), 0);
	assert_text_records(m, "t u", 2, (const char *const[]){ "hay", "stack" });
	if (have_tool("rsync"))
		assert_int_equal(sh(m, "rsync -a . $T/synced && cmp s/1 $T/synced/s/0000000001"), 0);
	else
		tap_note("rsync is not installed: skipped rsync -a");
}

static void assert_size_exact(const struct mnt *m, const char *path)
{
	struct stat st;
	size_t len;

	free(slurp(mp(m, "%s", path), &len));
	must(stat(mp(m, "%s", path), &st));
	if ((size_t)st.st_size != len)
		fail_msg("%s: st_size %jd, %zu bytes can be read", path, (intmax_t)st.st_size, len);
}

static void sizes_and_blocks(void **state)
{
	static const char *const control[] = { "s/.stat",       "s/.config",    ".walfs/version",
					       ".walfs/status", ".walfs/stats", ".walfs/config",
					       "s/append.hdr",  "s/1.hdr",      "s/2.hdr" };
	struct mnt *m = *state;
	struct stat st;

	make_lengths(m);
	for (unsigned i = 0; i < N_LENS; i++) {
		must(stat(mp(m, "s/%u", i + 1), &st));
		assert_true(S_ISREG(st.st_mode));
		assert_int_equal(st.st_size, lens[i]);
		assert_true((size_t)st.st_blocks * 512 >= lens[i]);
		assert_true((size_t)st.st_blocks * 512 <= lens[i] + 65536);
		assert_true(st.st_nlink >= 1);
		assert_size_exact(m, mp(m, "s/%u", i + 1) + strlen(m->at) + 1);
	}
	put(mp(m, "s/append.hdr"), O_WRONLY | O_TRUNC, BYTES("staged"));
	for (unsigned i = 0; i < sizeof(control) / sizeof(*control); i++)
		assert_size_exact(m, control[i]);
	must(stat(mp(m, "s"), &st));
	assert_true(S_ISDIR(st.st_mode));
	must(lstat(mp(m, "s/last"), &st));
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(st.st_size, strlen("0000000012"));
	must(stat(mp(m, "s/append"), &st));
	assert_true(S_ISREG(st.st_mode));
}

static int64_t ns(struct timespec ts)
{
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static int64_t mtime_of(const struct mnt *m, const char *path)
{
	struct stat st;

	must(stat(mp(m, "%s", path), &st));
	return ns(st.st_mtim);
}

static void commit_times(void **state)
{
	struct mnt *m = *state;
	struct timespec before, after;
	int64_t times[10], mtime;

	make_stream(m, "s");
	for (unsigned i = 0; i < 10; i++) {
		char path[16];

		(void)clock_gettime(CLOCK_REALTIME, &before);
		append(m, "s", "x");
		(void)clock_gettime(CLOCK_REALTIME, &after);
		(void)snprintf(path, sizeof(path), "s/%u", i + 1);
		times[i] = mtime_of(m, path);
		/* A clock of the kernel's may lag by a tick. */
		assert_true(times[i] >= ns(before) - 20000000 && times[i] <= ns(after) + 20000000);
		assert_true(i == 0 || times[i] >= times[i - 1]);
		assert_int_equal(mtime_of(m, "s/last"), times[i]);
		assert_int_equal(mtime_of(m, "s"), times[i]);
		assert_int_equal(mtime_of(m, "s/append"), times[i]);
	}
	mnt_restart(m, NULL);
	mtime = mtime_of(m, "s"); /* not in use yet: about */
	assert_true(mtime >= times[0] - INT64_C(10000000000) && mtime <= times[9] + INT64_C(60000000000));
	assert_int_equal(mtime_of(m, "s/1"), times[0]);
	assert_int_equal(mtime_of(m, "s/10"), times[9]);
	assert_int_equal(sh(m, "test $(find s -name '*[0-9]' -newermt '-1 hour' | wc -l) = 10"), 0);
	append(m, "s", "y");
	assert_true(mtime_of(m, "s/11") >= times[9]);
}

struct seen {
	char path[64];
	ino_t ino;
};

/* Of all that is in the tree: path and inode number; readdir must say the same number as stat. */
static size_t collect(const struct mnt *m, const char *dir, struct seen *seen, size_t n)
{
	DIR *d = opendir(mp(m, "%s", dir));
	struct dirent *ent;

	assert_non_null(d);
	while ((ent = readdir(d))) {
		struct stat st;

		if (strcmp(ent->d_name, ".") == 0 || strcmp(ent->d_name, "..") == 0)
			continue;
		assert_true(n < 100);
		(void)snprintf(seen[n].path, sizeof(seen[n].path), "%.20s/%.40s", dir, ent->d_name);
		must(lstat(mp(m, "%s", seen[n].path), &st));
		seen[n].ino = st.st_ino;
		if (ent->d_ino != st.st_ino)
			fail_msg("%s: readdir says inode %ju, stat %ju", seen[n].path, (uintmax_t)ent->d_ino,
				 (uintmax_t)st.st_ino);
		assert_true(ent->d_type == DT_UNKNOWN || ent->d_type == IFTODT(st.st_mode));
		n++;
	}
	(void)closedir(d);
	return n;
}

static void inodes(void **state)
{
	struct mnt *m = *state;
	struct seen before[100], after[100];
	size_t n = 0, again = 0;

	for (unsigned i = 0; i < 3; i++) {
		static const char *const names[] = { "a", "b", "c" };

		make_stream(m, names[i]);
		for (unsigned k = 0; k < 3; k++) {
			put(mp(m, "%s/append.hdr", names[i]), O_WRONLY | O_TRUNC, BYTES("h"));
			append(m, names[i], "x");
		}
	}
	for (unsigned i = 0; i < 5; i++)
		n = collect(m, (const char *const[]){ ".", "a", "b", "c", ".walfs" }[i], before, n);
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < i; k++)
			if (before[i].ino == before[k].ino)
				fail_msg("%s and %s share inode %ju", before[i].path, before[k].path,
					 (uintmax_t)before[i].ino);
	mnt_restart(m, NULL);
	append(m, "b", "one more");
	assert_errno(unlink(mp(m, "b/4")), EPERM);
	for (unsigned i = 0; i < 5; i++)
		again = collect(m, (const char *const[]){ ".", "a", "b", "c", ".walfs" }[i], after, again);
	assert_int_equal(again, n + 1);
	for (size_t i = 0; i < n; i++) {
		size_t k = 0;

		while (k < again && strcmp(after[k].path, before[i].path) != 0)
			k++;
		if (k == again || after[k].ino != before[i].ino)
			fail_msg("%s: inode %ju is another after a remount", before[i].path, (uintmax_t)before[i].ino);
	}
}

static void read_your_writes(void **state)
{
	struct mnt *m = *state;
	char text[32];

	make_stream(m, "s");
	for (unsigned i = 1; i <= 300; i++) {
		(void)snprintf(text, sizeof(text), "record %u", i);
		assert_absent(mp(m, "s/%u", i)); /* a name that was not there must not be remembered */
		append(m, "s", text);
		assert_file(mp(m, "s/%u", i), (struct bytes){ text, strlen(text) });
		assert_file(mp(m, "s/last"), (struct bytes){ text, strlen(text) });
	}
	assert_int_equal(
		sh(m, "for i in $(seq 301 400); do echo $i >> s/append; test $(cat s/last) = $i || exit 1; done"), 0);
	assert_int_equal(sh(m, "for i in $(seq 401 430); do echo $i | tee s/append > /dev/null; "
			       "test \"$(cat s/$i)\" = $i || exit 1; done"),
			 0);
	assert_int_equal(last_seq(m, "s"), 430);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MNT_TEST(any_padding),
		MNT_TEST(every_tool),
		MNT_TEST(sendfile_splice_mmap),
		MNT_TEST(large_records_after_a_remount),
		MNT_TEST(any_offset),
		MNT_TEST(whole_trees),
		MNT_TEST(sizes_and_blocks),
		MNT_TEST(commit_times),
		MNT_TEST(inodes),
		MNT_TEST(read_your_writes),
	};

	return mnt_main("read", tests, sizeof(tests) / sizeof(*tests));
}
