/* SPDX-License-Identifier: MIT
 *
 * Listing: which names, in which order, how padded; and that a hundred thousand or a million records need neither memory
 * nor time.
 */
#include "files.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#define MEMORY_KIB (64 * 1024)

static const char *const fixed[] = { "append", "append.line", "append.msg", "append.hdr",
				     ".stat",  ".config",     "first",      "last" };
enum { N_FIXED = sizeof(fixed) / sizeof(*fixed) };

static void assert_listing(const struct mnt *m, const char *stream, const char *const *records)
{
	char **names = names_of(mp(m, "%s", stream), NULL);
	size_t at = 0, n_fixed = 0;

	for (char **s = names; *s; s++) {
		bool is_fixed = false;

		for (unsigned i = 0; i < N_FIXED; i++)
			if (strcmp(*s, fixed[i]) == 0) {
				is_fixed = true;
				n_fixed++;
			}
		if (is_fixed && at > 0)
			fail_msg("%s is listed behind a record", *s);
		if (is_fixed)
			continue;
		if (!records[at] || strcmp(*s, records[at]) != 0)
			fail_msg("%s is listed where %s should be", *s, records[at] ? records[at] : "the end");
		at++;
	}
	if (records[at])
		fail_msg("%s is not listed", records[at]);
	assert_int_equal(n_fixed, at > 0 ? N_FIXED : N_FIXED - 2);
	names_free(names);
}

static void names_and_order(void **state)
{
	struct mnt *m = *state;
	struct stat st;

	make_stream(m, "s");
	assert_listing(m, "s", (const char *const[]){ NULL });
	assert_errno(lstat(mp(m, "s/first"), &st), ENOENT);
	assert_errno(lstat(mp(m, "s/last"), &st), ENOENT);
	for (unsigned i = 1; i <= 12; i++) {
		if (i == 2 || i == 11)
			put(mp(m, "s/append.hdr"), O_WRONLY | O_TRUNC, BYTES("h"));
		append(m, "s", "x");
	}
	for (int again = 0; again < 2; again++) {
		assert_listing(m, "s",
			       (const char *const[]){ "0000000001", "0000000002.hdr", "0000000002", "0000000003",
						      "0000000004", "0000000005", "0000000006", "0000000007",
						      "0000000008", "0000000009", "0000000010", "0000000011.hdr",
						      "0000000011", "0000000012", NULL });
		mnt_restart(m, NULL);
	}
	assert_int_equal(sh(m,
			    "cd s; test \"$(echo *[0-9])\" = '0000000001 0000000002 0000000003 0000000004 0000000005 "
			    "0000000006 0000000007 0000000008 0000000009 0000000010 0000000011 0000000012'"),
			 0);
	assert_int_equal(sh(m, "cd s; test \"$(readlink first) $(readlink last)\" = '0000000001 0000000012'"), 0);
}

static void padding(void **state)
{
	struct mnt *m = *state;

	mnt_start(m, "digits=0");
	make_stream(m, "s");
	for (unsigned i = 1; i <= 3; i++) {
		if (i == 3)
			put(mp(m, "s/append.hdr"), O_WRONLY | O_TRUNC, BYTES("h"));
		append(m, "s", "x");
	}
	assert_listing(m, "s", (const char *const[]){ "1", "2", "3.hdr", "3", NULL });
	assert_int_equal(sh(m, "test \"$(readlink s/last)\" = 3 && test -e s/0000000003"), 0);
	mnt_restart(m, "digits=4");
	assert_listing(m, "s", (const char *const[]){ "0001", "0002", "0003.hdr", "0003", NULL });
	assert_int_equal(sh(m, "test \"$(readlink s/last)\" = 0003 && test -e s/3.hdr"), 0);
	mnt_restart(m, "digits=1,relaxed");
	for (unsigned i = 4; i <= 12; i++)
		append(m, "s", "x");
	assert_listing(
		m, "s",
		(const char *const[]){ "1", "2", "3.hdr", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", NULL });
}

static void the_root(void **state)
{
	struct mnt *m = *state;
	char **names = names_of(m->at, NULL);

	assert_true(names_have(names, ".walfs") && !names[1]);
	names_free(names);
	names = names_of(mp(m, ".walfs"), NULL);
	for (unsigned i = 0; i < 5; i++)
		assert_true(
			names_have(names, (const char *const[]){ "version", "status", "stats", "config", "sync" }[i]));
	names_free(names);
	/* . and .. are what they are anywhere, and an unknown name is unknown. */
	make_stream(m, "s");
	assert_int_equal(
		sh(m, "test s/.. -ef . && test s/. -ef s && test .walfs/.. -ef . && ls -a s | grep -qx '\\.\\.'"), 0);
	assert_absent(mp(m, "nothing"));
	assert_absent(mp(m, "s/nothing"));
	assert_absent(mp(m, ".walfs/nothing"));
	assert_absent(mp(m, ".git"));
}

/* Many streams: each is listed once. */
static void many_streams(void **state)
{
	struct mnt *m = *state;

	assert_int_equal(sh(m, "seq -f 'stream-%%g' 1 2000 | xargs mkdir"), 0);
	assert_int_equal(sh(m, "ls > $T/got; seq -f 'stream-%%g' 1 2000 | LC_ALL=C sort > $T/want; "
			       "LC_ALL=C sort $T/got | cmp - $T/want"),
			 0);
	assert_int_equal(
		sh(m, "for i in 1 999 2000; do echo $i >> stream-$i/append; done; test $(cat stream-*/1 | wc -l) = 3"),
		0);
	assert_int_equal(
		sh(m, "rmdir stream-1*0; test $(ls | wc -l) = $(seq -f 'stream-%%g' 1 2000 | grep -vc 'stream-1.*0$')"),
		0);
}

/* A position in a directory is a record, not a count: it outlives a trim, and appends behind it are seen. */
static void positions(void **state)
{
	struct mnt *m = *state;
	struct dirent *ent;
	uint64_t want = 1;
	long here = 0;
	DIR *d;

	make_stream(m, "s");
	assert_int_equal(sh(m, "for i in $(seq 1500); do echo $i >> s/append; done"), 0);
	d = opendir(mp(m, "s"));
	assert_non_null(d);
	while ((ent = readdir(d))) {
		uint64_t seq = strtoull(ent->d_name, NULL, 10);

		if (seq == 0)
			continue;
		assert_int_equal(seq, want);
		want++;
		if (seq == 700)
			here = telldir(d);
	}
	assert_int_equal(want, 1501);
	assert_int_equal(
		sh(m, "for i in $(seq 300); do rm s/$i; done; for i in $(seq 100); do echo $i >> s/append; done"), 0);
	seekdir(d, here);
	for (want = 701; (ent = readdir(d)); want++)
		assert_int_equal(strtoull(ent->d_name, NULL, 10), want);
	assert_int_equal(want, 1601);
	rewinddir(d);
	for (want = 301; (ent = readdir(d));) {
		uint64_t seq = strtoull(ent->d_name, NULL, 10);

		if (seq > 0)
			assert_int_equal(seq, want++);
	}
	assert_int_equal(want, 1601);
	(void)closedir(d);
}

/* A stream of n short records, made while nothing is mounted. */
static void make_many(struct mnt *m, unsigned n)
{
	if (run_sh(0, "seq 1 %u | '%s' append -c -l '%s' many > '%s'", n, getenv("WALCTL"), m->store,
		   tp(m, "numbers")) != 0)
		fail_msg("walctl append -l");
}

static double timed(struct mnt *m, const char *script)
{
	double start = now_s(), took;

	if (sh(m, "%s", script) != 0)
		fail_msg("%s", script);
	took = now_s() - start;
	tap_note("%.2f s: %s", took, script);
	return took;
}

static void a_hundred_thousand(void **state)
{
	struct mnt *m = *state;

	make_many(m, 100000);
	mnt_start(m, NULL);
	(void)timed(m, "test $(ls -f many | grep -c '[0-9]$') = 100000");
	(void)timed(m, "test $(ls -l many | grep -c '^-.*[0-9]$') = 100000");
	(void)timed(m, "test $(find many -type f -name '*[0-9]' -size -2 | wc -l) = 100000");
	(void)timed(m, "ls -f many | grep '[0-9]$' > $T/got; seq -f %010.0f 1 100000 | cmp - $T/got");
	(void)timed(m, "find many -name '*[0-9]' -print0 | xargs -0 cat > $T/got; seq 1 100000 | cmp - $T/got");
	mnt_memory_below(m, MEMORY_KIB);
}

static void a_million(void **state)
{
	struct mnt *m = *state;
	double limit = 15 * deadline_scale();

	mnt_watchdog(400);
	make_many(m, 1000000);
	mnt_start(m, NULL);
	assert_true(timed(m, "test $(ls -f many | wc -l) -ge 1000000") < limit);
	assert_true(timed(m, "test $(ls -f many | wc -l) -ge 1000000") < limit);
	assert_true(timed(m, "test $(cat many/777777) = 777777 && test $(cat many/last) = 1000000") < limit);
	assert_true(timed(m, "echo x >> many/append; test $(cat many/1000001) = x") < limit);
	(void)timed(m, "ls -l many | wc -l");
	mnt_memory_below(m, MEMORY_KIB);
	assert_int_equal(mnt_memory_kib(m, "VmHWM") > 0, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MNT_TEST(names_and_order),      MNT_TEST_BARE(padding),      MNT_TEST(the_root),
		MNT_TEST_RELAXED(many_streams), MNT_TEST_RELAXED(positions), MNT_TEST_BARE(a_hundred_thousand),
		MNT_TEST_BARE(a_million),
	};

	return mnt_main("list", tests, sizeof(tests) / sizeof(*tests));
}
