/* SPDX-License-Identifier: MIT
 *
 * Records leave from the head alone: rm, rm -r, rmdir, and what open files see of it.
 */
#include "files.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static void append_n(const struct mnt *m, const char *stream, unsigned n)
{
	char text[32];

	for (unsigned i = 1; i <= n; i++) {
		(void)snprintf(text, sizeof(text), "%u", i);
		append(m, stream, text);
	}
}

static void oldest_first(void **state)
{
	struct mnt *m = *state;

	make_stream(m, "s");
	append_n(m, "s", 5);
	assert_errno(unlink(mp(m, "s/2")), EPERM);
	assert_errno(unlink(mp(m, "s/5")), EPERM);
	assert_errno(unlink(mp(m, "s/0000000005")), EPERM);
	assert_errno(unlink(mp(m, "s/6")), ENOENT);
	must(unlink(mp(m, "s/0000000001")));
	must(unlink(mp(m, "s/02")));
	for (int again = 0; again < 2; again++) {
		assert_int_equal(first_seq(m, "s"), 3);
		assert_int_equal(last_seq(m, "s"), 5);
		assert_absent(mp(m, "s/1"));
		assert_absent(mp(m, "s/0000000002"));
		assert_absent(mp(m, "s/0000000002.hdr"));
		assert_errno(open(mp(m, "s/0000000002"), O_RDONLY), ENOENT);
		assert_errno(unlink(mp(m, "s/2")), ENOENT);
		assert_file(mp(m, "s/first"), BYTES("3"));
		assert_int_equal(sh(m, "test $(ls s/*[0-9] | wc -l) = 3"), 0);
		mnt_restart(m, NULL);
	}
	/* All of them: the stream is empty, but its numbers go on. */
	for (unsigned i = 3; i <= 5; i++)
		must(unlink(mp(m, "s/%u", i)));
	assert_int_equal(first_seq(m, "s"), 0);
	assert_int_equal(last_seq(m, "s"), 0);
	append(m, "s", "six");
	assert_file(mp(m, "s/6"), BYTES("six"));
	must(unlink(mp(m, "s/6")));
	mnt_restart(m, NULL);
	append(m, "s", "seven");
	assert_file(mp(m, "s/7"), BYTES("seven"));
	assert_int_equal(first_seq(m, "s"), 7);
}

static void other_names_stay(void **state)
{
	static const char *const names[] = { "append", "append.hdr", "first", "last",
					     ".stat",  ".config",    "1.hdr", "0000000002.hdr" };
	struct mnt *m = *state;

	make_stream(m, "s");
	put(mp(m, "s/append.hdr"), O_WRONLY | O_TRUNC, BYTES("h"));
	append_n(m, "s", 2);
	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
		struct stat st;

		if (unlink(mp(m, "s/%s", names[i])) < 0)
			fail_msg("unlink %s: %s", names[i], strerror(errno));
		if (lstat(mp(m, "s/%s", names[i]), &st) < 0)
			fail_msg("%s is gone", names[i]);
	}
	assert_errno(unlink(mp(m, "s/nothing")), ENOENT);
	assert_texts(m, "s", "1", "2");
	assert_file(mp(m, "s/1.hdr"), BYTES("h"));
	append(m, "s", "3");
	assert_texts(m, "s", "1", "2", "3");
}

static void an_open_record_stays(void **state)
{
	struct mnt *m = *state;
	char *buf = malloc(1 << 20), *got = malloc(1 << 20);
	ssize_t n = 0;
	int fd, direct;

	assert_true(buf && got);
	fill_bytes(buf, 1 << 20, 1, 0);
	make_stream(m, "s");
	put(mp(m, "s/append"), O_WRONLY, (struct bytes){ buf, 1 << 20 });
	append(m, "s", "two");
	fd = (int)must(open(mp(m, "s/1"), O_RDONLY));
	direct = (int)must(open(mp(m, "s/1"), O_RDONLY | O_DIRECT));
	assert_int_equal(must(read(fd, got, 10)), 10);
	must(unlink(mp(m, "s/1")));
	assert_errno(open(mp(m, "s/1"), O_RDONLY), ENOENT);
	while (n < 1 << 20) {
		long more = must(pread(n % 2 ? fd : direct, got + n, (size_t)((1 << 20) - n), n));

		assert_true(more > 0);
		n += more;
	}
	assert_memory_equal(got, buf, 1 << 20);
	must(unlink(mp(m, "s/2")));
	must(rmdir(mp(m, "s")));
	assert_int_equal(must(pread(fd, got, 100, 5000)), 100);
	assert_memory_equal(got, buf + 5000, 100);
	must(close(fd));
	must(close(direct));
	free(buf);
	free(got);
}

static void open_appends_after_rmdir(void **state)
{
	struct mnt *m = *state;
	int empty, pending;

	make_stream(m, "s");
	empty = (int)must(open(mp(m, "s/append"), O_WRONLY | O_APPEND));
	pending = (int)must(open(mp(m, "s/append"), O_WRONLY | O_APPEND));
	write_all(pending, "x", 1);
	must(rmdir(mp(m, "s")));
	assert_errno(write(empty, "y", 1), ESTALE);
	assert_errno(write(pending, "y", 1), ESTALE);
	(void)close(pending); /* was told */
	(void)close(empty);
	make_stream(m, "s");
	mnt_restart(m, NULL);
	assert_no_records(m, "s");
}

static void close_after_rmdir(void **state)
{
	struct mnt *m = *state;
	int fd;

	m->log_may_complain = true; /* of the record that was not committed */
	make_stream(m, "s");
	fd = (int)must(open(mp(m, "s/append"), O_WRONLY));
	write_all(fd, "x", 1);
	must(rmdir(mp(m, "s")));
	make_stream(m, "s");
	assert_errno(close(fd), ESTALE);
	assert_no_records(m, "s");
	append(m, "s", "a");
	assert_texts(m, "s", "a");
}

static void inode_order(void **state)
{
	struct mnt *m = *state;
	struct dirent *ent;
	ino_t before = 0;
	DIR *d;

	make_stream(m, "s");
	for (unsigned i = 0; i < 30; i++) {
		put(mp(m, "s/append.hdr"), O_WRONLY | O_TRUNC, BYTES("h"));
		append(m, "s", "x");
	}
	d = opendir(mp(m, "s"));
	assert_non_null(d);
	while ((ent = readdir(d))) {
		/* append.hdr is a node per user, apart from the others; that one of its unlinks comes last harms nothing. */
		if (strcmp(ent->d_name, ".") == 0 || strcmp(ent->d_name, "..") == 0 ||
		    strcmp(ent->d_name, "append.hdr") == 0)
			continue;
		if (ent->d_ino <= before)
			fail_msg("%s: inode %ju is listed behind %ju", ent->d_name, (uintmax_t)ent->d_ino,
				 (uintmax_t)before);
		before = ent->d_ino;
	}
	(void)closedir(d);
}

/* GNU rm sorts more than 10,000 names by inode. */
static void remove_recursively(void **state)
{
	struct mnt *m = *state;
	const char *walctl = getenv("WALCTL");

	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(run_sh(0, "seq 1 12000 | '%s' append -c -l -H header '%s' s%u > '%s'", walctl,
					m->store, i, tp(m, "numbers")),
				 0);
	mnt_start(m, NULL);
	assert_file(mp(m, "s0/12000.hdr"), BYTES("header"));
	assert_int_equal(sh(m, "rm -r s0"), 0);
	assert_absent(mp(m, "s0"));
	if (have_tool("busybox"))
		assert_int_equal(sh(m, "busybox rm -r s1"), 0);
	else
		tap_note("busybox is not installed: skipped its rm -r");
	if (have_tool("python3"))
		assert_int_equal(sh(m, "python3 -c 'import shutil; shutil.rmtree(\"s2\")'"), 0);
	else
		tap_note("python3 is not installed: skipped shutil.rmtree");
	mnt_restart(m, NULL);
	assert_absent(mp(m, "s0"));
}

static void remove_small(void **state)
{
	struct mnt *m = *state;

	make_stream(m, "s");
	make_stream(m, "t");
	make_stream(m, "empty");
	put(mp(m, "s/append.hdr"), O_WRONLY | O_TRUNC, BYTES("h"));
	append_n(m, "s", 20);
	append_n(m, "t", 3);
	assert_int_equal(sh(m, "rm -r empty s && test ! -e s && test ! -e empty"), 0);
	assert_int_equal(sh(m, "rm t/*[0-9] && rmdir t"), 0);
	assert_int_equal(sh(m, "test \"$(ls -A)\" = .walfs"), 0);
	/* Removing while somebody appends: rmdir then has to say so, or to have taken all. */
	make_stream(m, "s");
	append_n(m, "s", 3);
	assert_int_equal(sh(m, "rm s/1 && rm -f s/3; test ! -e s/1 && test -e s/3 && test -e s/2"), 0);
	assert_errno(rmdir(mp(m, "s")), ENOTEMPTY);
}

/* Space comes back: of a stream that is removed at once, of a trim by whole segments. */
static void space_comes_back(void **state)
{
	struct mnt *m = *state;
	char *before, *full, *after;

	make_stream(m, "s");
	before = sh_out(m, "du -s --apparent-size %s | cut -f1", m->store);
	assert_int_equal(sh(m, "for i in 1 2 3 4 5 6 7 8; do head -c 20000000 /dev/zero > s/append || exit 1; done"),
			 0);
	full = sh_out(m, "du -s --apparent-size %s | cut -f1", m->store);
	assert_true(strtol(full, NULL, 10) > strtol(before, NULL, 10) + 150000);
	free(full);
	assert_int_equal(sh(m, "for i in 1 2 3 4 5 6 7; do rm s/$i; done; sync; echo > .walfs/sync"), 0);
	for (double deadline = deadline_after(20);;) {
		after = sh_out(m, "du -s --apparent-size %s | cut -f1", m->store);
		if (strtol(after, NULL, 10) < strtol(before, NULL, 10) + 100000)
			break;
		if (!deadline_pause(deadline))
			fail_msg("%ld KiB are used with seven of eight 20 MB records removed", strtol(after, NULL, 10));
		free(after);
	}
	free(after);
	assert_int_equal(sh(m, "rm -r s"), 0);
	mnt_restart(m, NULL);
	after = sh_out(m, "du -s --apparent-size %s | cut -f1", m->store);
	assert_true(strtol(after, NULL, 10) < strtol(before, NULL, 10) + 2000);
	free(after);
	free(before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MNT_TEST(oldest_first),
		MNT_TEST(other_names_stay),
		MNT_TEST(an_open_record_stays),
		MNT_TEST(open_appends_after_rmdir),
		MNT_TEST(close_after_rmdir),
		MNT_TEST(inode_order),
		MNT_TEST_BARE(remove_recursively),
		MNT_TEST(remove_small),
		MNT_TEST(space_comes_back),
	};

	return mnt_main("remove", tests, sizeof(tests) / sizeof(*tests));
}
