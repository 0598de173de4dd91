/* SPDX-License-Identifier: MIT
 *
 * Large records come back as they went in, and the daemon's memory stays flat.
 */
#include "files.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)
#define MEMORY_KIB (64 * 1024)

static void there_and_back(struct mnt *m, uint64_t len, const char *in, const char *out)
{
	struct stat st;

	mnt_watchdog(500);
	make_file(tp(m, "big"), len, 1);
	make_stream(m, "s");
	append(m, "s", "before");
	if (sh(m, "%s", in) != 0)
		fail_msg("%s", in);
	assert_int_equal(last_seq(m, "s"), 2);
	must(stat(mp(m, "s/2"), &st));
	assert_int_equal(st.st_size, len);
	append(m, "s", "after");
	if (sh(m, "%s", out) != 0)
		fail_msg("%s", out);
	mnt_memory_below(m, MEMORY_KIB);
	mnt_restart(m, NULL);
	if (sh(m, "%s", out) != 0)
		fail_msg("after a remount: %s", out);
	assert_file(mp(m, "s/1"), BYTES("before"));
	assert_file(mp(m, "s/3"), BYTES("after"));
	mnt_memory_below(m, MEMORY_KIB);
}

static void ten_mb(void **state)
{
	there_and_back(*state, 10 * MIB + 1, "cat $T/big > s/append", "cat s/2 | cmp - $T/big");
}

static void hundred_mb_by_cat(void **state)
{
	there_and_back(*state, 100 * MIB + 4711, "cat $T/big >> s/append", "cat s/2 | cmp - $T/big");
}

static void hundred_mb_by_cp(void **state)
{
	there_and_back(*state, 100 * MIB, "cp $T/big s/append", "cp s/2 $T/copy && cmp $T/big $T/copy && rm $T/copy");
}

static void one_gib(void **state)
{
	struct mnt *m = *state;
	struct statvfs fs;

	must(statvfs(m->root, &fs));
	if ((uint64_t)fs.f_bavail * fs.f_frsize < 4096 * MIB)
		skip_because("less than 4 GiB are free at %s", m->root);
	there_and_back(m, 1024 * MIB, "cp $T/big s/append", "cmp s/2 $T/big");
}

/* One byte more than a record may have, where there is no other limit: refused, and nothing is left. */
static void more_than_one_gib(void **state)
{
	struct mnt *m = *state;
	struct statvfs fs;

	must(statvfs(m->root, &fs));
	if ((uint64_t)fs.f_bavail * fs.f_frsize < 4096 * MIB)
		skip_because("less than 4 GiB are free at %s", m->root);
	mnt_watchdog(500);
	make_stream(m, "s");
	assert_int_not_equal(sh(m, "head -c 1073741825 /dev/zero 2>/dev/null | cat 2>/dev/null > s/append"), 0);
	append(m, "s", "small");
	assert_texts(m, "s", "small");
	mnt_memory_below(m, MEMORY_KIB);
}

/* Several at once: what they have pending is not held in memory. */
static void several_at_once(void **state)
{
	struct mnt *m = *state;

	mnt_watchdog(300);
	make_stream(m, "s");
	make_file(tp(m, "big"), 40 * MIB, 1);
	assert_int_equal(sh(m, "for i in 1 2 3 4 5 6; do cat $T/big > s/append & done; wait; "
			       "for i in 1 2 3 4 5 6; do cmp s/$i $T/big || exit 1; done"),
			 0);
	assert_int_equal(last_seq(m, "s"), 6);
	mnt_memory_below(m, MEMORY_KIB);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MNT_TEST(ten_mb),          MNT_TEST(hundred_mb_by_cat), MNT_TEST(hundred_mb_by_cp),
		MNT_TEST(several_at_once), MNT_TEST(one_gib),           MNT_TEST(more_than_one_gib),
	};

	return mnt_main("big", tests, sizeof(tests) / sizeof(*tests));
}
